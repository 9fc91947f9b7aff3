"""From names on the command line to files that are read, and claims on those to be written."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kmq.cli import pipes
from kmq.cli.console import UsageError
from kmq.cli.urls import File, Url
from kmq.errors import InputError
from kmq.streams import file_system, is_url

PICTURE_SUFFIXES = frozenset(
    f".{kind}"
    for kinds in (
        ("avif", "bmp", "dib", "gif", "ico", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        ("pcx", "pgm", "png", "pnm", "ppm", "qoi", "sgi", "tga", "tif", "tiff", "webp"),
    )
    for kind in kinds
)
"""Suffixes of pictures in a folder; a file that is named counts whatever its suffix."""

_FILE_SUFFIXES = PICTURE_SUFFIXES | {".kmq", ".kmqhist", ".npy"}
"""Suffixes of URLs that need not be looked up to know that they name files."""


class Source(NamedTuple):
    """A file to read.

    Attributes:
        path: the file, or its URL.
        place: its path within the folder or pattern that it was found by, or its name.
        fault: why it is a folder that cannot be looked into, and not a file.
    """

    path: File
    place: Path
    fault: OSError | None = None

    def file(self) -> File:
        """Return the path of the file, or its URL.

        Raises:
            OSError: it is a folder that cannot be read.
        """
        if self.fault is not None:
            raise self.fault
        return self.path


def find(names: Sequence[str], suffixes: frozenset[str]) -> list[Source]:
    """Replace folders by all files below them with one of `suffixes`, and patterns by what matches.

    A pipe is replaced by a file with what comes through it; URLs stay URLs. Files come in the order
    named, those of a folder or pattern sorted (9 before 10), each once; hidden ones are left out. A
    name that exists is never a pattern; a name that matches nothing is kept, to be reported as
    missing, and so is a folder that cannot be looked into. Of several folders each keeps its name
    in the places of its files.

    Raises:
        UsageError: a folder or a pattern holds no file of that kind, or a name is empty.
        InputError: no file can have such a name.
        UsageError, InputError, OSError: see `pipes.source` and `kmq.streams.file_system`.
        MissingExtraError: see `kmq.streams.file_system`.
    """
    distinct: dict[Hashable, Source] = {}
    for name in names:
        if not name:
            raise UsageError("a file name is empty; the current folder is .")
        for source in _find_one(name, suffixes, alone=len(names) == 1):
            distinct.setdefault(identity(source.path), source)
    return list(distinct.values())


def _find_one(name: str, suffixes: frozenset[str], *, alone: bool) -> list[Source]:
    if is_url(name):
        return _find_at(Url(name), suffixes, alone=alone)
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


def _find_at(url: Url, suffixes: frozenset[str], *, alone: bool) -> list[Source]:
    file_system(url)  # so that what is not installed is not said of each file
    if url.is_pattern():
        sources = [Source(*match) for match in url.matches()]
        missing = f"no file matches {url}"
    elif _is_folder(url):
        above = Path() if alone else Path(url.name)
        files = ((file, place) for file, place in url.below() if file.suffix.lower() in suffixes)
        sources = [Source(file, above / place) for file, place in files]
        missing = f"folder {url} contains no {_kinds(suffixes)} files"
    else:
        return [Source(url, Path(url.name))]
    if not sources:
        raise UsageError(missing)
    return sorted(sources, key=lambda source: _order(source.place))


def _is_folder(url: Url) -> bool:
    """Whether a URL names a folder; where its spelling tells, nothing is asked."""
    return url.endswith("/") or (url.suffix.lower() not in _FILE_SUFFIXES and url.is_folder())


def _order(path: Path) -> tuple[list[list[str | int]], Path]:
    """Return what paths are sorted by: numbers by what they count, so that 9 stands before 10."""
    parts: list[list[str | int]] = []
    for part in path.parts:
        texts = re.split("([0-9]+)", part)  # every other one a number
        parts.append([int(text) if place % 2 else text for place, text in enumerate(texts)])
    return parts, path


def is_missing(name: str) -> bool:
    """Whether a name is that of nothing that exists, and not a pattern or pipe either."""
    if is_url(name):
        return not (Url(name).is_pattern() or Url(name).exists())
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
    return len(names) > 1 or any(map(_names_several, names))


def _names_several(name: str) -> bool:
    if is_url(name):
        return Url(name).is_pattern() or _is_folder(Url(name))
    return os.path.isdir(name) or (glob.has_magic(name) and not os.path.lexists(name))


def named(name: str) -> File:
    """Return the path or URL that a name is."""
    return Url(name) if is_url(name) else Path(name)


def absolute(file: File) -> File:
    """Return what names the file from any folder."""
    return file if isinstance(file, Url) else file.absolute()


def as_given(text: str, *files: File) -> str:
    """Return a text about files with the names that were given in place of `absolute` ones."""
    for file in files:
        text = text.replace(str(absolute(file)), str(file))
    return text


def identity(file: File) -> Hashable:
    """Return the one name of a file that may have several."""
    name = file.identity() if isinstance(file, Url) else file
    return Path(os.path.normcase(os.path.realpath(name))) if isinstance(name, Path) else name


def exists(file: File) -> bool:
    """Whether there is a file or folder, or a URL's that the path stands in for."""
    url = pipes.url_at(file)
    return os.path.lexists(file) if url is None else url.exists()


def claim(target: File, *, force: bool, source: File | None = None) -> None:
    """Make sure that `target` may be written, and that its folder is there.

    Raises:
        InputError: it exists and `force` is not set, or it is `source` by another name, or one
            of its folders is a file.
    """
    if source is not None and _are_same(target, source):
        raise InputError(f"{target} is also an input, which is never overwritten")
    if not force and exists(target):
        raise InputError(f"{target} exists already; --force overwrites it")
    if isinstance(target, Url):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{target} cannot be made: {error.filename} is not a folder") from error


def _are_same(target: File, source: File) -> bool:
    target = pipes.url_at(target) or target
    if isinstance(target, Url) or isinstance(source, Url):
        return identity(target) == identity(source)
    return target.exists() and source.exists() and target.samefile(source)
