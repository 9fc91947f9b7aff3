"""Plain PNG files without Pillow, which would take longer to import than they take to read.

They have samples of 8 bits and no palette, interlacing or text, and are not large. Any other file
is left to Pillow: a damaged one, too, so that Pillow says what is wrong.
"""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import numpy as np

from kmq import color_tags
from kmq.model.arrays import Array
from kmq.model.file_info import Limits, check_pixels
from kmq.model.image import Pixels
from kmq.model.pixel_format import of_samples
from kmq.stages.pictures.arrays import pixels_of
from kmq.stages.pictures.metadata import info_metadata

_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_HEAD_BYTES = 33  # with what is in IHDR, and its checksum
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # of colour types: grey, RGB, and these with alpha

_MOST_BYTES = 1 << 22
"""Of samples: they are in memory twice, and Pillow's import hardly counts where there are more."""


def read(file: IO[bytes], limits: Limits) -> Pixels | None:
    """Return what is in a PNG file, or None where Pillow has to read it.

    Raises:
        InputError: it has more pixels than the limits allow.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or not head.startswith(_HEAD):
        return None
    width, height, bits, color_type, *ways = struct.unpack_from(">2I5B", head, len(_HEAD))
    channels = _CHANNELS.get(color_type)
    if bits != 8 or channels is None or any(ways) or 0 in (width, height):
        return None
    is_large = height * (1 + width * channels) > _MOST_BYTES
    if is_large or not _is_sound(b"IHDR", head[16:29], head[29:]):
        return None
    check_pixels(limits, width, height)
    filtered = np.zeros((height, 1 + width * channels), np.uint8)
    info = _fill(file, filtered)
    samples = None if info is None else _unfiltered(filtered, channels)
    if info is None or samples is None:
        return None
    samples = samples.reshape(height, width, channels)
    return pixels_of(samples, of_samples(samples.dtype, channels), info_metadata(info))


def _fill(file: IO[bytes], out_filtered: Array) -> dict[str, Any] | None:
    """Fill rows with their bytes; return what the other chunks say, or None where Pillow reads."""
    info: dict[str, Any] = {}
    room = out_filtered.data.cast("B")
    inflater, has_begun = zlib.decompressobj(), False
    while len(start := file.read(8)) == 8:
        size, name = int.from_bytes(start[:4], "big"), start[4:]
        if size > _MOST_BYTES:
            return None
        content = file.read(size)
        if not _is_sound(name, content, file.read(4)):
            return None
        if name == b"IEND":
            is_whole = not room and inflater.eof and not inflater.unused_data
            return info if is_whole else None
        if name == b"IDAT":
            has_begun = True
            try:
                piece = inflater.decompress(content, len(room) + 1)
            except zlib.error:
                return None
            if len(piece) > len(room) or inflater.unconsumed_tail:
                return None
            room[: len(piece)] = piece
            room = room[len(piece) :]
        else:
            said = None if has_begun else _said(name, content)
            if said is None:
                return None
            info |= said
    return None


def _is_sound(name: bytes, content: bytes, checksum: bytes) -> bool:
    return zlib.crc32(content, zlib.crc32(name)).to_bytes(4, "big") == checksum


def _said(name: bytes, content: bytes) -> dict[str, Any] | None:
    """Return what a chunk says under Pillow's keys, or None of one that is not known here."""
    match name, len(content):
        case b"sRGB", 1:
            return {"srgb": content[0]}
        case b"gAMA", 4:
            return {"gamma": int.from_bytes(content, "big") / color_tags.UNIT}
        case b"cHRM", 32:
            places = struct.unpack(">8I", content)
            return {"chromaticity": tuple(place / color_tags.UNIT for place in places)}
        case b"pHYs", 9:
            across, down, unit = struct.unpack(">2IB", content)
            return {"dpi": (across * 0.0254, down * 0.0254)} if unit == 1 else {}
    return None


def _unfiltered(filtered: Array, n_channels: int) -> Array | None:
    """Return rows of samples, or None where a filter is not known."""
    from kmq.kernels.png import unfilter

    height, stride = filtered.shape
    rows = np.empty((height, stride - 1), np.uint8)
    return rows if unfilter(filtered, n_channels, rows) else None
