"""The message about a command line that cannot be parsed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, cast


class Parser(argparse.ArgumentParser):
    """A parser with a usage of one line, which names the nearest of its options.

    A sub-command's parser complains of its own options; argparse would leave that to the whole
    command's, which knows none of them. Files may be named before and after any option.
    """

    _files: str | None = None
    """Name of the argument that takes several files."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add an argument; those without a name in front stand in the usage."""
        action = super().add_argument(*names, **options)
        if not action.option_strings:
            several = " ..." if action.nargs == "+" else ""
            self._files = action.dest if several else self._files
            self.usage = f"{self.usage or f'{self.prog} [OPTION ...]'} {action.metavar}{several}"
        return action

    def parse_known_args(  # type: ignore[override]  # argparse's overloads say no more than this
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and leave nothing unknown."""
        parsed, unknown = super().parse_known_args(args, namespace)
        options, files = _told_apart(unknown)
        if options:
            name = options[0].partition("=")[0]
            self.error(f"there is no option {name}{hint(name, self._option_string_actions)}")
        if files and self._files is None:
            self.error(f"{files[0]} is one file too many")
        if files:
            getattr(parsed, cast(str, self._files)).extend(files)
        return parsed, []

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse would go on as if it had been read where it cannot be."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        """Say what is wrong after the usage, and where to read more."""
        message = message.replace("ignored explicit argument", "takes no value, but is given")
        super().error(f"{message} (see {self.prog} --help)")


def _told_apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Return options and files; after ``--`` all are files."""
    end = words.index("--") if "--" in words else len(words)
    options = [word for word in words[:end] if word.startswith("-") and word != "-"]
    files = [word for word in words[:end] if not word.startswith("-") or word == "-"]
    return options, files + words[end + 1 :]


_ELSEWHERE = {
    "-k": ("-n", "-c", "--ncolors", "--num-colors", "--n-colors", "--max-colours"),
    "-o": ("-d", "--out-dir", "--output-dir", "--outdir", "--dest"),
    "--dither": ("--floyd", "--floyd-steinberg", "--dithering", "--diffusion"),
    "--effort": ("--speed", "-s", "--optimize", "-O", "--level"),
    "--ext": ("--suffix", "--extension"),
    "--force": ("--overwrite", "-y"),
    "--jobs": ("-j", "--parallel", "--workers", "-P"),
    "--strip": ("--strip-metadata", "--no-metadata"),
    "--lambda": ("--rate", "--lam"),
    "--size": ("--max-size", "--target-size", "--filesize"),
    "--version": ("-V", "version"),
}
"""What other programs call the options, by the name that they have here."""


def hint(name: str, known: Iterable[str]) -> str:
    """Return a question after the name that was meant, if there is one like it."""
    from difflib import get_close_matches  # rarely wanted, and slow to import

    known = list(known)
    meant = [ours for ours, theirs in _ELSEWHERE.items() if name in theirs and ours in known]
    meant += get_close_matches(name, known, n=1)
    return f"; did you mean {meant[0]}?" if meant else ""
