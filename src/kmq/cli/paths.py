"""From what the command line names to pairs of a file to read and a file to write."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from kmq.cli import pipes
from kmq.cli.console import UsageError
from kmq.errors import InputError

PICTURE_SUFFIXES = frozenset(
    f".{kind}"
    for kinds in (
        ("avif", "bmp", "dib", "gif", "ico", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        ("pcx", "pgm", "png", "pnm", "ppm", "qoi", "sgi", "tga", "tif", "tiff", "webp"),
    )
    for kind in kinds
)
"""What counts as a picture in a folder; a file that is named counts whatever its suffix."""


def expand(names: Sequence[str], suffixes: frozenset[str]) -> list[Path]:
    """Replace folders by their files with one of `suffixes`, and patterns by what matches them.

    A pipe is replaced by a file with what comes through it. Files come in the order named, those
    of a folder or pattern sorted, each once. A name that exists is never a pattern; a name that
    matches nothing is kept, to be reported as missing.

    Raises:
        UsageError: a folder or a pattern holds no file of that kind, or a name is empty.
        UsageError, InputError, OSError: see `pipes.source`.
    """
    found: dict[Path, Path] = {}
    for name in names:
        if not name:
            raise UsageError("a name is empty; the folder one is in is .")
        for path in _expand_one(name, suffixes):
            found.setdefault(_identity(path), path)
    return list(found.values())


def _expand_one(name: str, suffixes: frozenset[str]) -> list[Path]:
    if pipes.is_pipe(name):
        return [pipes.source(name)]
    path = Path(name)
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_kind(file, suffixes)]
        if not files:
            raise UsageError(f"folder {name} holds no {_kinds(suffixes)} file")
        return sorted(files)
    if os.path.lexists(path) or not glob.has_magic(name):
        return [path]
    matches = sorted(Path(match) for match in glob.glob(name, recursive=True))
    files = [match for match in matches if match.is_file()]
    if not files:
        raise UsageError(f"no file matches {name}")
    return files


def _is_kind(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")


def _kinds(suffixes: frozenset[str]) -> str:
    return "picture" if len(suffixes) > 1 else "".join(suffixes)


def names_several(names: Sequence[str]) -> bool:
    """Whether these names may stand for several files, however many they turn out to be."""
    return len(names) > 1 or any(
        Path(name).is_dir() or (glob.has_magic(name) and not os.path.lexists(name))
        for name in names
    )


def plan(
    sources: Sequence[Path], output: str | None, suffix: str, *, into_folder: bool
) -> list[tuple[Path, Path]]:
    """Pair each source with its target: beside it, in folder `output`, or the file `output`.

    What came through a pipe has nothing beside it: it goes to standard output.

    Args:
        sources: files to read.
        output: value of ``-o``.
        suffix: of the targets, where `output` names none.
        into_folder: whether `output` is a folder even for a single source.

    Raises:
        UsageError: two sources have one target, a target is one of the sources, or `output` is a
            file for several sources.
    """
    folder = None if output is None else _as_folder(output, into_folder or len(sources) > 1)
    jobs = []
    for source in sources:
        if output is not None and folder is None:
            target = pipes.target(output, suffix)
        elif output is None and pipes.is_piped(source):
            target = pipes.target(pipes.STANDARD, suffix)
        else:
            target = (folder or source.parent) / (source.stem + suffix)
        jobs.append((source, target))
    _refuse_clashes(jobs)
    return jobs


def _as_folder(output: str, several: bool) -> Path | None:
    """Return `output` if it is a folder, there or to be made, and None if it is a file."""
    if not output:
        raise UsageError("-o is empty; the folder one is in is .")
    if pipes.is_pipe(output):
        if several:
            raise UsageError(f"-o {output} takes one file; for several pictures name a folder")
        return None
    path = Path(output)
    if path.is_dir() or output.endswith((os.sep, "/")):
        return path
    if not several:
        return None
    if path.exists() or path.suffix:
        raise UsageError(f"-o {output} is one file; for several pictures name a folder, {output}/")
    return path


def _refuse_clashes(jobs: Sequence[tuple[Path, Path]]) -> None:
    sources = {_identity(source): source for source, _ in jobs}
    source_of: dict[Path, Path] = {}
    for source, target in jobs:
        identity = _identity(target)
        if identity in sources:
            raise UsageError(f"{target} would overwrite a file that is to be read; name another -o")
        if identity in source_of:
            raise UsageError(f"{source_of[identity]} and {source} would both become {target}")
        source_of[identity] = source


def _identity(path: Path) -> Path:
    return Path(os.path.normcase(os.path.realpath(path)))


def claim(target: Path, *, force: bool, source: Path | None = None) -> None:
    """Make sure that `target` may be written, and that its folder is there.

    Raises:
        InputError: it exists and `force` is not set, or it is `source` by another name, or a
            folder that it is to be in is a file.
    """
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the picture itself, which is never overwritten")
    if os.path.lexists(target) and not force:
        raise InputError(f"{target} exists already; --force overwrites it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{target} cannot be made: {error.filename} is no folder") from error
