"""Histograms ↔ the bytes of a .kmqhist file, which docs/palettes.md describes.

Keys are Morton keys (`kmq.stages.histogram.counting`), ascending. Their differences and the
counts are small numbers, so each is stored as planes of bytes, deflated: most are nearly all zero.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from kmq.buffers import Unsealed
from kmq.deflate import deflate_pieces, inflate_pieces
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model import alpha
from kmq.model.arrays import Array
from kmq.model.histogram import MAX_HISTOGRAM_COLORS
from kmq.model.pixel_format import PixelFormat

SIGNATURE = b"\x89KMH\r\n\x1a\n"
"""As a .kmq file's and PNG's: shows damage done by treating it as text."""

_VERSION = 1
_HEAD = struct.Struct("<BBQ")  # version, code of the pixel format, colours
_CHECKSUM = struct.Struct("<I")
_COUNT_BYTES = 8
_LEVEL = 6  # of deflate: 9 takes twice as long for 1 %
_BLOCK = 1 << 18  # numbers of a plane at a time


def pack(keys: Array, counts: Array, pixel_format: PixelFormat) -> bytes:
    """Return a file of (m,) keys and their counts. Other memory does not grow with m."""
    n_bytes = _key_bytes(pixel_format)
    head = SIGNATURE + _HEAD.pack(_VERSION, pixel_format.code, len(keys))
    body = head + deflate_pieces(_planes(keys, counts, n_bytes), _LEVEL)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(
    file: BinaryIO,
    key_type: Callable[[PixelFormat], np.dtype[Any]],
    colors_of: Callable[[Array, PixelFormat], Array],
) -> tuple[Array, Array, PixelFormat]:
    """Return (m, channels) colours, their counts (m,) int64 and the pixel format.

    It takes the memory of both, or of the keys and the colours, whichever is more; besides the
    file's own bytes and some megabytes. `colors_of` makes colours of (m,) keys of that type.

    Raises:
        FormatError: the file is no histogram or damaged, was written by a newer kmq
            (NewerFormatError), or holds more colours than a histogram does (LimitError).
    """
    head = file.read(len(SIGNATURE) + _HEAD.size)
    if not head.startswith(SIGNATURE):
        raise FormatError("not a .kmqhist file: it does not begin with the signature of one")
    rest = file.read()
    if len(head) < len(SIGNATURE) + _HEAD.size or len(rest) < _CHECKSUM.size:
        raise FormatError("the histogram ends too early")
    version, code, n_colors = _HEAD.unpack_from(head, len(SIGNATURE))
    deflated = memoryview(rest)[: -_CHECKSUM.size]
    if zlib.crc32(deflated, zlib.crc32(head)) != _CHECKSUM.unpack(rest[-_CHECKSUM.size :])[0]:
        raise FormatError("the histogram is damaged: its checksum does not agree")
    if version > _VERSION:
        raise NewerFormatError(
            f"this histogram needs a newer kmq: it has version {version}, and this kmq knows 1"
        )
    if version < _VERSION:
        raise FormatError(f"the version is {version}; versions start at {_VERSION}")
    pixel_format = next((known for known in PixelFormat if known.code == code), None)
    if pixel_format is None:
        raise NewerFormatError(f"this histogram needs a newer kmq: it has pixel format {code}")
    if n_colors > MAX_HISTOGRAM_COLORS:
        raise LimitError(
            f"the histogram has {n_colors} colours; kmq reads up to {MAX_HISTOGRAM_COLORS}"
        )
    if n_colors == 0:
        raise FormatError("the histogram has no colours")
    n_bytes = _key_bytes(pixel_format)
    pieces = inflate_pieces(deflated, n_colors * (n_bytes + _COUNT_BYTES))
    planes = _PlaneReader(pieces, n_colors)
    keys = _read_keys(planes, np.zeros(n_colors, key_type(pixel_format)), pixel_format)
    colors = colors_of(keys, pixel_format)
    del keys
    if alpha.cleared(colors, pixel_format) is not colors:
        raise FormatError("the histogram is damaged: a fully transparent colour is not all 0")
    return colors, _read_counts(planes, n_colors), pixel_format


def _read_keys(planes: _PlaneReader, keys: Array, pixel_format: PixelFormat) -> Array:
    """Fill keys that are 0 with those of a histogram, or raise FormatError."""
    n_bytes = _key_bytes(pixel_format)
    planes.fill(keys, n_bytes)
    np.cumsum(keys, dtype=keys.dtype, out=keys)  # may wrap, and then goes down
    if (keys[1:] <= keys[:-1]).any() or int(keys[-1]) >> 8 * n_bytes:
        raise FormatError("the histogram is damaged: its colours do not ascend")
    if pixel_format is PixelFormat.BILEVEL and keys[-1] > 1:
        raise FormatError("the histogram is damaged: it is 1-bit and has a sample above 1")
    return keys


def _read_counts(planes: _PlaneReader, n_colors: int) -> Array:
    """Return counts that a histogram can have, or raise FormatError."""
    unsealed = Unsealed((n_colors,), np.dtype(np.uint64))
    planes.fill(unsealed.array, _COUNT_BYTES)
    planes.finish()
    counts = unsealed.seal()
    if not counts.all() or counts.sum(dtype=np.float64) >= 2.0**62:
        raise FormatError(
            "the histogram is damaged: a count is 0, or the counts sum to 2^62 or more"
        )
    return counts.view(np.int64)


def _key_bytes(pixel_format: PixelFormat) -> int:
    return pixel_format.dtype.itemsize * pixel_format.channels


def _planes(keys: Array, counts: Array, n_bytes: int) -> Iterator[bytes]:
    """Yield the lowest bytes of the differences of (m,) keys, then the next ones, …; then counts.

    The differences are taken once for each of their bytes, a block at a time.
    """
    for number in range(n_bytes):
        last = keys.dtype.type(0)
        for start in range(0, len(keys), _BLOCK):
            block = keys[start : start + _BLOCK]
            yield _plane(np.diff(block, prepend=last), number)
            last = block[-1]
    for number in range(_COUNT_BYTES):
        for start in range(0, len(counts), _BLOCK):
            yield _plane(counts[start : start + _BLOCK], number)


def _plane(numbers: Array, number: int) -> bytes:
    """Return byte `number` of each number, from the lowest."""
    stored = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return stored.view(np.uint8)[number :: numbers.itemsize].tobytes()


class _PlaneReader:
    """Takes planes of bytes, each `n_numbers` long, off pieces that do not end where they do."""

    def __init__(self, pieces: Iterator[bytes], n_numbers: int):
        self._pieces = pieces
        self._n_numbers = n_numbers
        self._piece = np.empty(0, np.uint8)

    def fill(self, out_numbers: Array, n_planes: int) -> None:
        """Set the lowest byte of each number that is 0, then the next one, …"""
        swap = sys.byteorder == "big"
        stored = out_numbers.view(np.uint8).reshape(self._n_numbers, -1)[:, :: -1 if swap else 1]
        for number in range(n_planes):
            done = 0
            while done < self._n_numbers:
                if not self._piece.size:
                    self._piece = np.frombuffer(next(self._pieces), np.uint8)
                part = self._piece[: self._n_numbers - done]
                stored[done : done + part.size, number] = part
                self._piece = self._piece[part.size :]
                done += part.size

    def finish(self) -> None:
        """Raise FormatError if there is more, or the pieces do not end well."""
        for _ in self._pieces:
            pass
