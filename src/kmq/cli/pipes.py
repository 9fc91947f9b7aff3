"""Pipes: ``-``, descriptors, named pipes and devices; and single files that URLs name.

A file stands in for each of them, so that all else deals with files alone: what comes through a
pipe is copied into a file before the work, and a pipe is given a file that is complete after it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from kmq.cli.console import SPOKEN, Options, UsageError
from kmq.cli.urls import File, Url
from kmq.errors import InputError
from kmq.streams import check_name, file_system, is_url

STANDARD = "-"

_STDIN, _STDOUT = 0, 1
_FILE_NAMES = {_STDIN: "stdin", _STDOUT: "stdout"}
_TITLES = {_STDIN: "standard input", _STDOUT: "standard output"}
_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")

_MOST_BYTES = 1 << 32  # no file of as many pixels as kmq accepts needs more
_BLOCK = 1 << 20

_TEXT = frozenset([".gpl", ".hex", ".html", ".json", ".pal", ".svg", ".txt"])
"""Suffixes of files that a terminal can show."""

Pipe = int | str
"""A descriptor's number, the path of a named pipe or device, or a URL."""


@dataclass
class _Pipes:
    """The pipes of one command, and what stands in for them.

    Attributes:
        stack: temporary files, removed in the end.
        stdout: standard output, wherever `sys.stdout` leads meanwhile.
        sources: files with what came through a pipe.
        targets: folders of the files that go into a pipe.
    """

    stack: ExitStack
    stdout: TextIO
    sources: dict[Pipe, Path] = field(default_factory=dict)
    targets: dict[Pipe, Path] = field(default_factory=dict)

    def stand_in(self, pipe: Pipe, suffix: str) -> Path:
        """Return the path of a file that stands in for a pipe, in a folder of its own."""
        from tempfile import TemporaryDirectory

        place = Path(self.stack.enter_context(TemporaryDirectory(prefix="kmq-")))
        name = Path(_file_name(pipe))
        SPOKEN[str(place / name.stem)] = _title(pipe)
        return place / (name.stem + (name.suffix or suffix))


_attended: _Pipes | None = None


@contextmanager
def attended() -> Iterator[None]:
    """Let `source` and `target` stand for pipes meanwhile; at the end fill those to write to.

    Raises:
        OSError: a pipe cannot be written to; BrokenPipeError if nobody reads it any more.
    """
    global _attended
    SPOKEN.clear()  # now, since what went wrong is told of after the end
    with ExitStack() as stack:
        _attended = pipes = _Pipes(stack, sys.stdout)
        try:
            yield
            for pipe, place in pipes.targets.items():
                for file in place.iterdir():  # none if it could not be made
                    _fill(pipe, file)
        finally:
            for pipe in pipes.targets:
                _release(pipe)
            sys.stdout = pipes.stdout
            _attended = None


def add_format_option(parser: Options, formats: Sequence[str], default: str) -> None:
    """Add ``--format``, which says what a file without a suffix is."""
    parser.add_argument(
        "--format",
        choices=formats,
        help=f"kind of file to write where OUT has no suffix, as with - (default: {default})",
    )


def is_pipe(name: str) -> bool:
    """Whether a name stands for what has no end or cannot be replaced: ``-``, a pipe, a device.

    Raises:
        InputError: no file can have such a name.
    """
    check_name(name)
    if is_url(name):  # as a path it would be that of a folder here, s3:/bucket
        return False
    if name == STANDARD or _descriptor(name) is not None:
        return True
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_piped(source: File) -> bool:
    """Whether a file stands in for a pipe that was read."""
    return _attended is not None and source in _attended.sources.values()


def are_used() -> bool:
    """Whether anything comes or goes through a pipe."""
    named = [*_current().sources, *_current().targets]
    return not all(isinstance(pipe, Url) for pipe in named)


def url_at(file: File) -> Url | None:
    """Return a URL, or that which a file to write stands in for, or None for another file."""
    if isinstance(file, Url):
        return file
    targets = {} if _attended is None else _attended.targets  # none on a worker of a cluster
    for pipe, place in targets.items():
        if isinstance(pipe, Url) and place == file.parent:
            return pipe.with_name(file.name)
    return None


def source(name: str) -> Path:
    """Return the file to read: that of this name, or one with all that comes through the pipe.

    A URL is read as well.

    Raises:
        UsageError: the pipe is a terminal, or is named twice.
        InputError: standard input is closed, or more than 4 GiB come.
        OSError: the pipe cannot be read.
    """
    if is_url(name):
        return _fetched(Url(name))
    if not is_pipe(name):
        return Path(name)
    pipes, pipe = _current(), _pipe(name, _STDIN)
    if _is_device(pipe) and not _is_terminal(pipe):  # it may never end, and can be read in parts
        return Path(name)
    if pipe in pipes.sources:
        raise UsageError(f"{_title(pipe)} is named twice; it can be read once")
    copy = pipes.stand_in(pipe, "")
    with _opened(pipe, "rb") as stream:
        if stream.isatty():
            raise UsageError(f"{_title(pipe)} is a terminal; name a file, or pipe one into kmq")
        with copy.open("xb") as file:
            _copy(stream, file, _title(pipe))
    pipes.sources[pipe] = copy
    return copy


def _fetched(url: Url) -> Path:
    sources = _current().sources
    if url not in sources:
        copy = _current().stand_in(url, "")
        url.fetch(copy)
        sources[url] = copy
    return sources[url]


def target(name: str, suffix: str, chosen: str | None = None) -> Path:
    """Return the file to write: that of this name, or one that goes into the pipe at the end.

    That for a URL is copied there at the end.

    If the pipe is standard output, it belongs to the file: meanwhile messages go to standard error.

    Args:
        name: a file or pipe.
        suffix: the kind of file that goes into a pipe whose name has no suffix.
        chosen: value of ``--format``, which takes its place.

    Raises:
        UsageError: `name` has a suffix, and a format is chosen; or the pipe is a terminal that
            cannot show the file, or is named twice; or the URL is one to read alone.
        InputError: standard output is closed.
        OSError: there is no such descriptor.
    """
    check_format(name, chosen)
    if is_url(name):
        url = writable(name)
        file = _current().stand_in(url, "")
        _current().targets[url] = file.parent
        return file
    if not is_pipe(name):
        return Path(name)
    pipes, pipe = _current(), _pipe(name, _STDOUT)
    if pipe in pipes.targets:
        raise UsageError(f"{_title(pipe)} is named twice; it takes one file")
    file = pipes.stand_in(pipe, f".{chosen}" if chosen else suffix)
    if file.suffix.lower() not in _TEXT and _is_terminal(pipe):
        raise UsageError(f"{_title(pipe)} is a terminal; name a file, or pipe it into a program")
    pipes.targets[pipe] = file.parent
    if pipe == _STDOUT:
        sys.stdout = sys.stderr
    return file


def check_format(name: str, chosen: str | None) -> None:
    """Raise UsageError if a format is chosen for a file whose suffix says it."""
    if chosen is not None and Path(name).suffix:
        raise UsageError(
            f"-o {name} and --format {chosen} are both given; the suffix says the kind"
        )


def writable(name: str) -> Url:
    """Return the URL of a file or folder to write.

    Raises:
        UsageError: it is one to read alone.
        MissingExtraError, InputError, OSError: see `kmq.streams.file_system`.
    """
    if Url(name).is_read_only:
        raise UsageError(f"-o {name}: kmq writes neither to web servers nor into archives")
    file_system(name)  # before the work
    return Url(name)


def _current() -> _Pipes:
    assert _attended is not None  # noqa: S101  # `main` sees to it
    return _attended


def _descriptor(name: str) -> int | None:
    """Return the number of the descriptor that a path leads to, if it is of that kind."""
    match = _NUMBERED.fullmatch(name)
    return int(match[1]) if match else _DESCRIPTORS.get(name)


def _pipe(name: str, standard: int) -> Pipe:
    """Return what a name stands for, which has several names."""
    number = standard if name == STANDARD else _descriptor(name)
    return os.path.realpath(name) if number is None else number


def _file_name(pipe: Pipe) -> str:
    """Return the name of the file that stands in for a pipe."""
    if isinstance(pipe, int):
        return _FILE_NAMES.get(pipe, str(pipe))
    return pipe.name if isinstance(pipe, Url) else pipe


def _title(pipe: Pipe) -> str:
    return _TITLES.get(pipe, f"/dev/fd/{pipe}") if isinstance(pipe, int) else pipe


@contextmanager
def _opened(pipe: Pipe, mode: str) -> Iterator[Any]:
    """Open a pipe, and name it in what the system says about it; the standard ones stay open."""
    if (sys.stdin if pipe == _STDIN else sys.__stdout__) is None and pipe in _TITLES:
        raise InputError(f"{_title(pipe)} is closed")
    try:
        if pipe in _TITLES:
            stream = sys.stdin if pipe == _STDIN else _current().stdout
            yield stream.buffer
        else:
            with open(os.dup(pipe) if isinstance(pipe, int) else pipe, mode) as stream:
                yield stream
    except OSError as error:
        error.filename = error.filename or _title(pipe)
        raise


def _is_device(pipe: Pipe) -> bool:
    return isinstance(pipe, str) and stat.S_ISCHR(os.stat(pipe).st_mode)


def _is_terminal(pipe: Pipe) -> bool:
    if isinstance(pipe, str) and not _is_device(pipe):
        return False  # and opening it would wait for a reader
    with _opened(pipe, "wb") as stream:
        return bool(stream.isatty())


def _copy(stream: BinaryIO, file: BinaryIO, title: str) -> None:
    left = _MOST_BYTES
    while block := stream.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise InputError(f"{title} holds more than the {_MOST_BYTES:,} bytes kmq reads")
        file.write(block)


def _release(pipe: Pipe) -> None:
    """Let a reader of a named pipe that waits for a writer see that nothing comes any more."""
    if isinstance(pipe, str) and not isinstance(pipe, Url) and os.name == "posix":
        with suppress(OSError):  # nobody waits
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def _fill(pipe: Pipe, file: Path) -> None:
    if isinstance(pipe, Url):
        pipe.with_name(file.name).put(file)
        return
    with file.open("rb") as content, _opened(pipe, "wb") as stream:
        shutil.copyfileobj(content, stream, _BLOCK)
        stream.flush()
