"""The command ``kmq``: one module a sub-command, each with `add` (its options) and a `run`.

Lines of results go to stdout, all else to stderr. Whatever is slow to import is imported by the
command that needs it, so that ``kmq --help`` and ``kmq info`` answer at once.
"""

from __future__ import annotations

import gc
import os
import sys

from kmq import __version__

TYPE_CHECKING = False  # as in `kmq`
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

INTERRUPTED, CUT_OFF = 130, 141  # as shells report an end by SIGINT, SIGPIPE: 128 + its number
UNWRITABLE = 1  # as of any output


def process() -> int:
    """Do what the process ``kmq`` is for, and return its exit code."""
    # Imports make some 70,000 objects that stay; to look through them again and again would take a
    # tenth of the time of a small picture.
    gc.set_threshold(100_000)
    # kmq multiplies no matrices. NumPy's library for that would start a thread on each core, and
    # each would spin for a while: a fifth of what importing NumPy takes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = main()
    gc.freeze()  # nothing is left to collect where all memory is given back at once
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default the process's own) and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for good
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal cannot show is no reason to fail.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("kmq: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        code = CUT_OFF
    except OSError as error:
        print(f"kmq: {error.strerror}: standard output", file=sys.stderr)
        code = UNWRITABLE
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    return code


def _run(argv: Sequence[str]) -> int:
    if list(argv) == ["--version"]:  # most of what a parser takes is to import it
        print(f"kmq {__version__}")
        return 0
    # Imports take long enough to be interrupted. NumPy's are nested so deeply that Python, if it
    # began them further down, would ask for and give back a piece of its stack with each call.
    import numpy  # noqa: F401

    from kmq.cli.command import run

    return run(argv)


def _let_go(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere if it cannot be written; Python would complain."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
