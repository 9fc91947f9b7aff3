"""What is said of a command line that cannot be parsed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser with a usage of one line, which names the nearest of its options.

    A sub-command's parser complains of its own options; argparse would leave that to the whole
    command's, which knows none of them.
    """

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument; those without a name in front stand in the usage."""
        action = super().add_argument(*names, **options)
        if not action.option_strings:
            several = " ..." if action.nargs == "+" else ""
            self.usage = f"{self.usage or f'{self.prog} [OPTION ...]'} {action.metavar}{several}"
        return action

    def parse_known_args(  # type: ignore[override]  # argparse's overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and leave nothing unknown."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed, []

    def _refuse(self, unknown: list[str]) -> NoReturn:
        options = [text.partition("=")[0] for text in unknown if text.startswith("-")]
        if not options:
            self.error(f"{unknown[0]} is one file too many")
        self.error(
            f"there is no option {options[0]}{hint(options[0], self._option_string_actions)}"
        )

    def error(self, message: str) -> NoReturn:
        """Say what is wrong after the usage, and where to read more."""
        super().error(f"{message} (see {self.prog} --help)")


def hint(name: str, known: Iterable[str]) -> str:
    """Return a question after the name that was meant, if there is one like it."""
    nearest = get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
