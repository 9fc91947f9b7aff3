"""The parser of all sub-commands, and the exit codes of their errors."""

from __future__ import annotations

import argparse
import os
import shlex
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from kmq import __version__
from kmq.cli import pipes, warmup
from kmq.cli.console import (
    EXIT_CODES,
    FAILED,
    FAILURES,
    MISUSED,
    UsageError,
    complain,
    reason,
)
from kmq.cli.usage import Parser, hint

_COMMANDS = (
    *("encode", "decode", "animate", "palette", "info", "compare", "curve", "report", "view"),
    *("demo", "warmup"),
)
_VERBOSE = (["--version", "-v"], ["--version", "--verbose"])

_DESCRIPTION = "Reduce pictures to a palette of few colours, and store them in small files."
_EPILOG = f"""\
examples:
  kmq demo                            make a picture, encode it, write a page about it
  kmq encode photo.png -k 64          write photo.kmq
  kmq decode photo.kmq -o again.png   back to a picture
  kmq compare photo.png photo.kmq     what it cost
  kmq curve photo.png                 the error for each number of colours
  kmq report photo.png                a page that shows all of this
  kmq animate clip.gif -o small.gif   fewer colours, without flicker
  kmq view photo.kmq                  its pixels and palette in the browser

For a file name, - means standard input or output; pipes and <(...) work, too, and so do URLs such
as s3://bucket/photo.png (pip install fsspec). Results go to standard output and messages to
standard error. When a file goes to standard output, everything else goes to standard error.

`kmq COMMAND --help` says more.

{EXIT_CODES}"""


def run(argv: Sequence[str]) -> int:
    """Run the command line `argv` and return its exit code."""
    try:
        arguments = _parsed(argv or ["--help"])
        arguments.command_line = shlex.join(["kmq", *argv])
    except SystemExit as stop:  # argparse has said all there is to say
        return stop.code if isinstance(stop.code, int) else MISUSED
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)  # of each file, and not of the first alone
        warnings.showwarning = lambda message, *_: complain(f"warning: {message}")
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        with pipes.attended(), warmup.announcing():
            code: int = arguments.run(arguments)
    except UsageError as error:
        complain(f"{error} (see kmq {arguments.command} --help)")
        return MISUSED
    except BrokenPipeError:
        raise  # and is not told of
    except FAILURES as error:
        complain(reason(error))
        return FAILED
    return code


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    if list(argv) in _VERBOSE:
        return argparse.Namespace(command=argv[0], run=import_module("kmq.cli.system").run)
    parser = Parser(
        prog="kmq",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"kmq {__version__}",
        help="show the version; with -v also those of libraries, and the kernels in use",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    first = argv[0]
    for command in [first] if first in _COMMANDS else _COMMANDS:
        import_module(f"kmq.cli.{command}").add(commands)  # others would take time to import
    if first == "help":
        return parser.parse_args([*argv[1:2], "--help"])
    options = ("-h", "--help", "--version")
    if first not in (*commands.choices, *options):
        _refuse(parser, argv, [*commands.choices, *options])
    return parser.parse_args(argv)


def _refuse(parser: Parser, argv: Sequence[str], known: Sequence[str]) -> NoReturn:
    """Say what is meant, most likely, by a first word that is neither command nor option."""
    first = argv[0]
    if os.path.lexists(first):
        does = "decode" if first.endswith(".kmq") else "encode"
        parser.error(f"{first} is a file; did you mean kmq {does} {shlex.join(argv)}?")
    kind = "option" if first.startswith("-") else "command"
    parser.error(f"there is no {kind} {first}{hint(first, known)}")
