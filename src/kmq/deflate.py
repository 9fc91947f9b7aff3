"""Raw deflate streams (RFC 1951) within bounds, for palettes, strips and metadata."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from kmq.errors import FormatError, LimitError

MOST_EXPANSION = 1032
"""Bytes that one byte of a deflate stream can become: a match of 258 costs at least 2 bits."""


_PIECE = 1 << 11  # deflated bytes that are inflated at a time: to 2 MiB at most


def deflate(content: bytes, level: int = 9) -> bytes:
    """Compress to one raw deflate stream."""
    return deflate_pieces([content], level)


def deflate_pieces(pieces: Iterable[bytes], level: int = 9) -> bytes:
    """Compress what comes piece by piece to one raw deflate stream."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, 9)
    deflated = [stream.compress(piece) for piece in pieces]
    return b"".join([*deflated, stream.flush()])


def inflate(deflated: bytes | memoryview, limit: int) -> bytes:
    """Decompress one raw deflate stream of up to `limit` bytes.

    Raises:
        FormatError: it is damaged, does not end, or is followed by something.
        LimitError: more than `limit` bytes come out.
        MemoryError: there is none for the window.
    """
    stream = zlib.decompressobj(-15)
    try:
        # One byte more than allowed: it shows a stream that goes on, and lets one that does not
        # reach the mark of its end.
        content = stream.decompress(deflated, limit + 1)
    except zlib.error as error:
        if str(error).startswith("Error -4 "):  # Z_MEM_ERROR, of a window that comes late
            raise MemoryError from error
        raise FormatError(f"the deflated bytes are damaged: {error}") from error
    if len(content) > limit:
        raise LimitError(f"the deflated bytes inflate to more than {limit}")
    if not stream.eof:
        raise FormatError("the deflated bytes end too early")
    if stream.unused_data:
        raise FormatError(f"{len(stream.unused_data)} bytes follow the end of the deflated ones")
    return content


def inflate_exactly(deflated: bytes | memoryview, size: int) -> bytes:
    """Decompress one raw deflate stream that must hold exactly `size` bytes.

    Raises:
        FormatError: as `inflate` does, or it holds more or fewer bytes.
    """
    _check_size(deflated, size)
    try:
        content = inflate(deflated, size)
    except LimitError as error:
        raise FormatError(f"the deflated bytes hold more than {size}") from error
    if len(content) < size:
        raise FormatError(f"the deflated bytes hold {len(content)}, not {size}")
    return content


def inflate_pieces(deflated: memoryview, size: int) -> Iterator[bytes]:
    """Decompress one raw deflate stream that must hold exactly `size` bytes, piece by piece.

    Raises:
        FormatError: as `inflate_exactly` does, some of it when the last piece has been taken.
    """
    _check_size(deflated, size)
    stream = zlib.decompressobj(-15)
    missing = size
    for start in range(0, len(deflated), _PIECE):
        if stream.eof:
            raise FormatError(f"{len(deflated) - start} bytes follow the end of the deflated ones")
        try:
            content = stream.decompress(deflated[start : start + _PIECE], missing + 1)
        except zlib.error as error:
            raise FormatError(f"the deflated bytes are damaged: {error}") from error
        if len(content) > missing:
            raise FormatError(f"the deflated bytes hold more than {size}")
        missing -= len(content)
        yield content
    if not stream.eof:
        raise FormatError("the deflated bytes end too early")
    if stream.unused_data:
        raise FormatError(f"{len(stream.unused_data)} bytes follow the end of the deflated ones")
    if missing:
        raise FormatError(f"the deflated bytes hold {size - missing}, not {size}")


def _check_size(deflated: bytes | memoryview, size: int) -> None:
    if len(deflated) * MOST_EXPANSION < size:
        raise FormatError(f"{len(deflated)} deflated bytes cannot hold {size}")
