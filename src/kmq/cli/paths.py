"""From names on the command line to files that are read, and claims on those to be written."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kmq.cli import pipes
from kmq.cli.console import UsageError
from kmq.errors import InputError
from kmq.streams import file_system

PICTURE_SUFFIXES = frozenset(
    f".{kind}"
    for kinds in (
        ("avif", "bmp", "dib", "gif", "ico", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        ("pcx", "pgm", "png", "pnm", "ppm", "qoi", "sgi", "tga", "tif", "tiff", "webp"),
    )
    for kind in kinds
)
"""Suffixes of pictures in a folder; a file that is named counts whatever its suffix."""


class Source(NamedTuple):
    """A file to read.

    Attributes:
        path: the file.
        place: its path within the folder or pattern that it was found by, or its name.
        fault: why it is a folder that cannot be looked into, and not a file.
    """

    path: Path
    place: Path
    fault: OSError | None = None

    def file(self) -> Path:
        """Return the path of the file.

        Raises:
            OSError: it is a folder that cannot be read.
        """
        if self.fault is not None:
            raise self.fault
        return self.path


def find(names: Sequence[str], suffixes: frozenset[str]) -> list[Source]:
    """Replace folders by all files below them with one of `suffixes`, and patterns by what matches.

    A pipe is replaced by a file with what comes through it. Files come in the order named, those
    of a folder or pattern sorted (9 before 10), each once; hidden ones are left out. A name that
    exists is never a pattern; a name that matches nothing is kept, to be reported as missing, and
    so is a folder that cannot be looked into. Of several folders each keeps its name in the places
    of its files.

    Raises:
        UsageError: a folder or a pattern holds no file of that kind, or a name is empty.
        InputError: no file can have such a name.
        UsageError, InputError, OSError: see `pipes.source`.
    """
    distinct: dict[Path, Source] = {}
    for name in names:
        if not name:
            raise UsageError("a file name is empty; the current folder is .")
        for source in _find_one(name, suffixes, alone=len(names) == 1):
            distinct.setdefault(identity(source.path), source)
    return list(distinct.values())


def _find_one(name: str, suffixes: frozenset[str], *, alone: bool) -> list[Source]:
    if pipes.is_pipe(name):
        path = pipes.source(name)
        return [Source(path, Path(path.name))]
    if os.path.isdir(name):
        faults: dict[Path, OSError] = {}
        files = sorted([*_below(name, suffixes, faults), *faults], key=_order)
        if not files:
            raise UsageError(f"folder {name} contains no {_kinds(suffixes)} files")
        above = Path() if alone else Path(os.path.basename(os.path.abspath(name)))
        return [Source(file, above / file.relative_to(name), faults.get(file)) for file in files]
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", name) and is_missing(name):
        raise UsageError(f"{name} is not a file; the number of colours is -k {name}")
    if os.path.lexists(name) or not glob.has_magic(name):
        return [Source(Path(name), Path(Path(name).name))]
    files = sorted(map(Path, glob.glob(name, recursive=True)), key=_order)
    root = _fixed_part(name)
    sources = [Source(file, file.relative_to(root)) for file in files if _may_be_file(file)]
    if not sources:
        raise UsageError(f"no file matches {name}")
    return sources


def urls(names: Sequence[str], suffixes: frozenset[str]) -> list[str]:
    """Replace URLs of folders by those of all files below them, and patterns by what matches.

    Raises:
        UsageError: a folder or a pattern holds no file of that kind.
        MissingExtraError, InputError, OSError: see `kmq.streams.file_system`.
    """
    distinct: dict[str, None] = {}
    for name in names:
        system, path = file_system(name)
        if glob.has_magic(path):
            found = system.glob(path)
        elif system.isdir(path):
            found = [file for file in system.find(path) if Path(file).suffix.lower() in suffixes]
        else:
            found = [path]
        if not found:
            raise UsageError(f"there is no {_kinds(suffixes)} file at {name}")
        distinct |= dict.fromkeys(map(system.unstrip_protocol, sorted(found)))
    return list(distinct)


def _order(path: Path) -> tuple[list[list[str | int]], Path]:
    """Return what paths are sorted by: numbers by what they count, so that 9 stands before 10."""
    parts: list[list[str | int]] = []
    for part in path.parts:
        texts = re.split("([0-9]+)", part)  # every other one a number
        parts.append([int(text) if place % 2 else text for place, text in enumerate(texts)])
    return parts, path


def is_missing(name: str) -> bool:
    """Whether a name is that of nothing that exists, and not a pattern or pipe either."""
    return not (os.path.lexists(name) or glob.has_magic(name) or pipes.is_pipe(name))


def _below(
    folder: str, suffixes: frozenset[str], out_faults: dict[Path, OSError]
) -> Iterator[Path]:
    """Yield the files of one of these kinds in a folder and in those below it.

    Of folders that cannot be looked into, note why.
    """

    def note(fault: OSError) -> None:
        out_faults[Path(fault.filename)] = fault

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in suffixes and not name.startswith(".") and _may_be_file(path):
                yield path


def _may_be_file(path: Path) -> bool:
    """Whether there is a file; if that cannot be told, whoever opens it will hear why."""
    try:
        return path.is_file()
    except OSError:
        return True


def _fixed_part(pattern: str) -> Path:
    """Return the folder that all matches of a pattern are in."""
    parts = Path(pattern).parts
    n_fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:n_fixed])


def _kinds(suffixes: frozenset[str]) -> str:
    return "picture" if len(suffixes) > 1 else "".join(suffixes)


def names_several(names: Sequence[str]) -> bool:
    """Whether these names may stand for several files, however many they turn out to be."""
    return len(names) > 1 or any(
        os.path.isdir(name) or (glob.has_magic(name) and not os.path.lexists(name))
        for name in names
    )


def identity(path: Path) -> Path:
    """Return the one path of a file that may have several."""
    return Path(os.path.normcase(os.path.realpath(path)))


def claim(target: Path, *, force: bool, source: Path | None = None) -> None:
    """Make sure that `target` may be written, and that its folder is there.

    Raises:
        InputError: it exists and `force` is not set, or it is `source` by another name, or one
            of its folders is a file.
    """
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is also an input, which is never overwritten")
    if os.path.lexists(target) and not force:
        raise InputError(f"{target} exists already; --force overwrites it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{target} cannot be made: {error.filename} is not a folder") from error
