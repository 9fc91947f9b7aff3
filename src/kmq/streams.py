"""Files that callers name by a path or hand over open."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOENT
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeGuard, cast

from kmq.atomic import replacing
from kmq.errors import InputError, KmqError, MissingExtraError


class WritableFile(Protocol):
    """A file object to write to: all it needs."""

    def write(self, content: bytes, /) -> Any:
        """Take bytes; return how many were taken, or None for all of them."""


Source: TypeAlias = "str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview"
Target: TypeAlias = "str | os.PathLike[str] | WritableFile"


def is_path(file: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a file is named and not open.

    Raises:
        InputError: no file can have such a name.
    """
    if not isinstance(file, str | os.PathLike):
        return False
    check_name(file)
    return True


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise InputError for a name that no file can have."""
    try:
        has_null = b"\0" in os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InputError(
            f"the file name {os.fspath(path)!r} has a character that names cannot have here"
        ) from error
    if has_null:
        raise InputError(f"the file name {os.fspath(path)!r} has a null character in it")


def is_url(file: Any) -> TypeGuard[str]:
    """Whether a file is named by a URL, as of an object store: ``s3://bucket/photo.png``."""
    return isinstance(file, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", file) is not None


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL and the path in it.

    Raises:
        MissingExtraError: fsspec, or what it needs for this kind of URL, is not installed.
        InputError: fsspec knows no such kind.
        OSError: the archive that the URL leads into cannot be read.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(
            f"{url} is a URL, which needs fsspec: pip install fsspec"
        ) from error
    with naming_url(url):
        try:
            system, path = url_to_fs(url)
        except ImportError as error:
            raise MissingExtraError(f"{url} cannot be opened: {error}") from error
        except ValueError as error:
            raise InputError(f"{url} cannot be opened: {error}") from error
    return system, path


@contextmanager
def naming_url(url: str) -> Iterator[None]:
    """Turn what a file system of fsspec raises, which may be anything, into OSErrors with the URL.

    Raises:
        OSError: the block failed; FileNotFoundError if there is no such file.
    """
    try:
        yield
    except (KmqError, MemoryError):
        raise
    except FileNotFoundError as error:  # most of them name a path alone
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), url) from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise OSError(error.errno, error.strerror, url) from error
        told = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{url} cannot be used: {told}") from error


def downloaded(url: str) -> io.BytesIO:
    """Return the content of a URL.

    Raises:
        MissingExtraError, InputError: see `file_system`.
        OSError: it cannot be read.
    """
    system, path = file_system(url)
    with naming_url(url):
        return io.BytesIO(system.cat_file(path))


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Open a path or URL and close it again, or hand on a file object; bytes are a file's content.

    Raises:
        TypeError: it is none of these, or a file object open for text.
        OSError: the file cannot be opened.
    """
    if is_url(source):
        yield downloaded(source)
    elif is_path(source):
        with open(source, "rb") as stream:
            yield stream
    elif isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif hasattr(source, "read"):
        refuse_text(source, "source")
        yield cast(BinaryIO, source)
    else:
        raise TypeError(
            f"source is {type(source).__name__}; it must be a path, a file object, or bytes"
        )


def refuse_text(file: Any, name: str) -> None:
    """Raise TypeError for a file object that is open for text."""
    if isinstance(file, io.TextIOBase):
        raise TypeError(f"{name} is a file object open for text; open it in binary mode")


@contextmanager
def written(target: Target) -> Iterator[WritableFile]:
    """Open a path for a file that appears whole or not at all, or hand on a file object.

    Raises:
        TypeError: it is neither.
        OSError: the file cannot be written.
    """
    check_target(target)
    if is_path(target):
        with replacing(target) as stream:
            yield stream
    else:
        yield cast(WritableFile, target)


def check_target(target: Any) -> None:
    """Raise TypeError unless this is a path or can be written to, and InputError for a URL."""
    if is_url(target):
        raise InputError(f"target is the URL {target}; kmq writes to files and file objects alone")
    if not is_path(target) and not hasattr(target, "write"):
        raise TypeError(
            f"target is {type(target).__name__}; it must be a path or a file object, and it comes "
            "before the picture"
        )
    refuse_text(target, "target")


def write_all(stream: WritableFile, pieces: Sequence[bytes]) -> None:
    """Write pieces to a file object, which may take a part of each at a time."""
    for piece in pieces:
        rest = piece
        while rest:
            taken = stream.write(rest)
            if not isinstance(taken, int):  # files say how much they took, other objects may not
                break
            rest = rest[taken:]
