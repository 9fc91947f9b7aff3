"""Histograms ↔ the bytes of a .kmqhist file, which docs/palettes.md describes.

Keys are Morton keys (`kmq.stages.histogram`), ascending. Their differences and the counts are
small numbers, so each is stored as planes of bytes, of which most are nearly all zero, deflated.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np

from kmq.deflate import deflate, inflate_exactly
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model import MAX_HISTOGRAM_COLORS, PixelFormat

Array = np.ndarray[Any, Any]

SIGNATURE = b"\x89KMH\r\n\x1a\n"
"""As a .kmq file's and PNG's: shows damage done by treating it as text."""

_VERSION = 1
_HEAD = struct.Struct("<BBQ")  # version, code of the pixel format, colours
_CHECKSUM = struct.Struct("<I")
_COUNT_BYTES = 8
_LEVEL = 6  # of deflate: 9 takes twice as long for 1 %


def pack(keys: Array, counts: Array, pixel_format: PixelFormat) -> bytes:
    """Return a file of (m,) keys and their counts."""
    differences = np.diff(keys.astype(np.uint64), prepend=np.uint64(0))
    planes = [
        _planes(differences, _key_bytes(pixel_format)),
        _planes(counts.astype(np.uint64), _COUNT_BYTES),
    ]
    body = SIGNATURE + _HEAD.pack(_VERSION, pixel_format.code, len(keys))
    body += deflate(b"".join(planes), _LEVEL)
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(file: BinaryIO) -> tuple[Array, Array, PixelFormat]:
    """Return (m,) uint64 keys, their counts (m,) int64 and the pixel format.

    Raises:
        FormatError: the file is no histogram or damaged, was written by a newer kmq
            (NewerFormatError), or holds more colours than a histogram does (LimitError).
    """
    head = file.read(len(SIGNATURE) + _HEAD.size)
    if not head.startswith(SIGNATURE):
        raise FormatError("this is no .kmqhist file: it does not begin with the signature of one")
    rest = file.read()
    if len(head) < len(SIGNATURE) + _HEAD.size or len(rest) < _CHECKSUM.size:
        raise FormatError("the histogram ends too early")
    version, code, n_colors = _HEAD.unpack_from(head, len(SIGNATURE))
    if version != _VERSION:
        raise NewerFormatError(
            f"this histogram needs a newer kmq: it has version {version}, and this kmq knows 1"
        )
    deflated = memoryview(rest)[: -_CHECKSUM.size]
    if zlib.crc32(deflated, zlib.crc32(head)) != _CHECKSUM.unpack(rest[-_CHECKSUM.size :])[0]:
        raise FormatError("the histogram is damaged: its checksum does not agree")
    pixel_format = next((known for known in PixelFormat if known.code == code), None)
    if pixel_format is None:
        raise NewerFormatError(f"this histogram needs a newer kmq: it has pixel format {code}")
    if n_colors > MAX_HISTOGRAM_COLORS:
        raise LimitError(
            f"the histogram has {n_colors} colours; kmq reads up to {MAX_HISTOGRAM_COLORS}"
        )
    return *_numbers(deflated, n_colors, pixel_format), pixel_format


def _numbers(deflated: memoryview, n_colors: int, pixel_format: PixelFormat) -> tuple[Array, Array]:
    """Return keys and counts that a histogram can have, or raise FormatError."""
    key_bytes = _key_bytes(pixel_format)
    if n_colors == 0:
        raise FormatError("the histogram has no colours")
    content = inflate_exactly(deflated, n_colors * (key_bytes + _COUNT_BYTES))
    differences = _of_planes(content[: n_colors * key_bytes], n_colors)
    counts = _of_planes(content[n_colors * key_bytes :], n_colors)
    keys = differences.cumsum(dtype=np.uint64)
    if not differences[1:].all() or (keys[1:] < keys[:-1]).any() or keys[-1] > _last_key(key_bytes):
        raise FormatError("the histogram is damaged: its colours do not ascend")
    if pixel_format is PixelFormat.BILEVEL and keys[-1] > 1:
        raise FormatError("the histogram is damaged: it is 1-bit and has a sample above 1")
    total = counts.astype(np.float64).sum()
    if not counts.all() or total >= 2.0**62:
        raise FormatError("the histogram is damaged: a count is 0, or they are too many together")
    return keys, counts.astype(np.int64)


def _last_key(key_bytes: int) -> np.uint64:
    return np.uint64((1 << 8 * key_bytes) - 1)


def _key_bytes(pixel_format: PixelFormat) -> int:
    return pixel_format.dtype.itemsize * pixel_format.channels


def _planes(numbers: Array, n_bytes: int) -> bytes:
    """Return the lowest bytes of (m,) uint64 numbers, then the next ones, …"""
    stored = numbers.astype("<u8").view(np.uint8).reshape(-1, 8)
    return stored.T[:n_bytes].tobytes()


def _of_planes(planes: bytes, n_numbers: int) -> Array:
    """Undo `_planes`."""
    stored = np.zeros((n_numbers, 8), np.uint8)
    rows = np.frombuffer(planes, np.uint8).reshape(-1, n_numbers)
    stored[:, : len(rows)] = rows.T
    return stored.view("<u8")[:, 0].astype(np.uint64)
