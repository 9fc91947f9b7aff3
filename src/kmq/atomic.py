"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of the one at `path` when the block ends well.

    If the block raises, the new file goes and the old one stays. A link stays one, and what it
    points to is replaced; an existing file's permissions are kept. The file may be read and sought
    while it is written, unless `path` is a device or pipe, which is written to directly.

    Raises:
        OSError: the file cannot be written; `filename` is `path`.
    """
    old = _status(path)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with _naming(path), open(path, "wb") as file:
            yield file
        return
    place = os.path.realpath(path)
    beside = os.path.join(os.path.dirname(place), f".kmq-{os.urandom(8).hex()}")
    try:
        with _naming(path, beside):
            with open(beside, "x+b") as file:
                yield file
            if old is not None:
                os.chmod(beside, stat.S_IMODE(old.st_mode))
            os.replace(beside, place)
    except BaseException:
        with suppress(OSError):  # none was made
            os.unlink(beside)
        raise


@contextmanager
def _naming(path: str | os.PathLike[str], beside: str | None = None) -> Iterator[None]:
    """Say of an OSError that it is about the file at `path`, unless it is about another one.

    Errors of writing, such as that of a full disk, name none; those of the file that is written
    beside it name that.
    """
    try:
        yield
    except OSError as error:
        names_none = error.filename is None and error.errno is not None
        if names_none or (beside is not None and error.filename == beside):
            error.filename = os.fspath(path)
            del error.filename2  # of a renaming: the same file
        raise


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what the system says of the file that a path leads to, or None if there is none."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
