"""Palettes as bytes: the methods of chunk P, described in FORMAT.md.

A chunk names its method in its first byte. A method is one entry of `PALETTE_METHODS`; a new one is
a new entry, and files that use it ask older readers for a newer kmq.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kmq.deflate import deflate, inflate_exactly
from kmq.errors import FormatError, NewerFormatError
from kmq.model.arrays import Array
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import palette_tree


class PaletteMethod(NamedTuple):
    """One way to code a palette.

    Attributes:
        encode: (k, channels) uint8 or uint16 → bytes, or None for a palette it is not for.
        decode: bytes, k, pixel format → (k, channels); raises FormatError.
    """

    encode: Callable[[Array], bytes | None]
    decode: Callable[[bytes, int, PixelFormat], Array]


def encode_palette(palette: Array) -> bytes:
    """Return the payload of chunk P: whichever method is shortest, the lowest of equals."""
    coded = ((code, method.encode(palette)) for code, method in PALETTE_METHODS.items())
    return min((bytes([code]) + entries for code, entries in coded if entries is not None), key=len)


def decode_palette(payload: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    """Return the (k, channels) palette of a payload of chunk P.

    Raises:
        FormatError: it is damaged, or its method is unknown.
    """
    if not payload:
        raise FormatError("the palette has no method")
    method = PALETTE_METHODS.get(payload[0])
    if method is None:
        raise NewerFormatError(
            f"this file needs a newer kmq: its palette is coded by method {payload[0]}"
        )
    palette = method.decode(payload[1:], n_colors, pixel_format)
    if palette.max() > pixel_format.max_value:
        raise FormatError(
            f"the palette has a sample of {palette.max()}; "
            f"pixel format {pixel_format.label} goes up to {pixel_format.max_value}"
        )
    return palette


def _encode_plain(palette: Array) -> bytes:
    return palette.astype(palette.dtype.newbyteorder("<")).tobytes()


def _decode_plain(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    size = n_colors * pixel_format.channels * pixel_format.dtype.itemsize
    if len(coded) != size:
        raise FormatError(f"the palette has {len(coded)} bytes; its colours need {size}")
    samples = np.frombuffer(coded, pixel_format.dtype.newbyteorder("<"))
    return samples.astype(pixel_format.dtype).reshape(n_colors, pixel_format.channels)


def _encode_differences(palette: Array) -> bytes:
    rows = np.diff(palette, axis=0, prepend=palette.dtype.type(0)).T
    planes = rows.astype(palette.dtype.newbyteorder(">"), order="C").view(np.uint8)
    split = planes.reshape(palette.shape[1], len(palette), palette.dtype.itemsize)
    return deflate(split.transpose(0, 2, 1).tobytes())


def _decode_differences(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    dtype, channels = pixel_format.dtype, pixel_format.channels
    content = inflate_exactly(coded, n_colors * channels * dtype.itemsize)
    split = np.frombuffer(content, np.uint8).reshape(channels, dtype.itemsize, n_colors)
    planes = np.ascontiguousarray(split.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    rows = planes.reshape(channels, n_colors).astype(dtype)
    return np.ascontiguousarray(np.cumsum(rows, axis=1, dtype=dtype).T)  # wraps, as it should


def _decode_tree(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    return palette_tree.decode(coded, n_colors, pixel_format.channels, pixel_format.dtype)


PALETTE_METHODS = {
    0: PaletteMethod(_encode_plain, _decode_plain),
    1: PaletteMethod(_encode_differences, _decode_differences),
    2: PaletteMethod(palette_tree.encode, _decode_tree),
}
"""Code in the first byte of chunk P → method."""
