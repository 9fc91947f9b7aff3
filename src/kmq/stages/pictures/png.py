"""PNG files with a palette, as small as deflate makes them.

Indices take 1, 2, 4 or 8 bits. oxipng of the extra ``png`` deflates better than zlib; it changes
nothing but filters and deflated bytes. Without it zlib does the work.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kmq.model import alpha
from kmq.model.arrays import Array, looked_up
from kmq.model.choices import Effort
from kmq.model.image import IndexedImage

MOST_COLORS = 256

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _COLOR_TYPE = 24, 25  # where they stand in a file
_INDEXED = 3
_LUMINANCE = np.array([299, 587, 114])
_ROWS_BYTES = 1 << 20  # of rows that are packed at a time
_ZOPFLI_ROUNDS = 5


def encode(image: IndexedImage, effort: Effort) -> bytes:
    """Return a PNG without metadata of an RGB or RGBA image of up to 256 colours, as it is."""
    least_alphas = int(image.pixel_format.has_alpha)  # so that readers see that there is alpha
    return packed(_written(image.palette, image.indices, least_alphas, effort), effort)


def encode_reordered(image: IndexedImage, effort: Effort) -> bytes:
    """Return the same with the entries in the order that makes it smallest, of a few.

    Entries that are not opaque come first, so that they alone take a byte of alpha.
    """
    return min((_in_order(image, order, effort) for order in _orders(image, effort)), key=len)


def packed(png: bytes, effort: Effort) -> bytes:
    """Return a PNG without metadata with smaller filters and deflated bytes, if oxipng is there."""
    oxipng = _packer(effort)
    if oxipng is None:
        return png
    kind, ways = oxipng.RowFilter, oxipng.Deflaters
    filters = [kind.NoOp, kind.Bigrams, kind.BigEnt, kind.Entropy, kind.MinSum]
    bits, color_type = png[_BITS], png[_COLOR_TYPE]
    if effort != "best" and color_type == _INDEXED and bits == 8:
        filters = filters[:1]  # the others help few colours
    smaller: bytes = oxipng.optimize_from_memory(
        png,
        level=2,
        filter=filters,
        deflate=ways.zopfli(_ZOPFLI_ROUNDS) if effort == "best" else ways.libdeflater(12),
        bit_depth_reduction=False,
        color_type_reduction=False,
        palette_reduction=False,
        grayscale_reduction=False,
    )
    return min(smaller, png, key=len)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _packer(effort: Effort) -> Any:
    """Return oxipng, or None if it is not there or takes too long."""
    if effort == "fast":
        return None
    try:
        return importlib.import_module("oxipng")
    except ImportError:
        return None


def _orders(image: IndexedImage, effort: Effort) -> list[Array]:
    """Return orders of the entries that may make a file small: by luminance, share, as they are."""
    palette, number = image.palette, np.arange(image.n_colors)
    is_opaque = alpha.kinds(palette, image.pixel_format) == alpha.OPAQUE
    keys = [np.sum(palette[:, :3] * _LUMINANCE, axis=1)]
    if effort != "fast":
        keys += [-image.counts, number]
    return [np.lexsort((number, key, is_opaque)) for key in keys]


def _in_order(image: IndexedImage, order: Array, effort: Effort) -> bytes:
    places = np.empty((len(order), 1), np.uint8)
    places[order, 0] = np.arange(len(order))
    indices = looked_up(places, image.indices)[:, :, 0]
    return packed(_written(image.palette[order], indices, 0, effort), effort)


def _written(palette: Array, indices: Array, least_alphas: int, effort: Effort) -> bytes:
    """Return a PNG by zlib, quickly if it is packed afterwards."""
    height, width = indices.shape
    bits = next(bits for bits in (1, 2, 4, 8) if len(palette) <= 1 << bits)
    chunks = [
        chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, _INDEXED, 0, 0, 0)),
        chunk(b"PLTE", palette[:, :3].tobytes()),
    ]
    if palette.shape[1] == 4:
        seen_through = np.flatnonzero(palette[:, 3] < 255)
        n_alphas = int(seen_through[-1]) + 1 if len(seen_through) else least_alphas
        if n_alphas:
            chunks.append(chunk(b"tRNS", palette[:n_alphas, 3].tobytes()))
    stream = zlib.compressobj(9 if _packer(effort) is None else 1, zlib.DEFLATED, 15, 9)
    deflated = [stream.compress(rows) for rows in _rows(indices, bits)]
    chunks.append(chunk(b"IDAT", b"".join([*deflated, stream.flush()])))
    return b"".join([_SIGNATURE, *chunks, chunk(b"IEND", b"")])


def _rows(indices: Array, bits: int) -> Iterator[bytes]:
    """Yield rows of packed indices, each behind the byte that says that it has no filter."""
    height, width = indices.shape
    n_together = 8 // bits
    n_bytes = -(-width // n_together)
    n_rows = max(1, _ROWS_BYTES // n_bytes)
    for top in range(0, height, n_rows):
        part = indices[top : top + n_rows]
        rows = np.zeros((len(part), 1 + n_bytes), np.uint8)
        for place in range(n_together):
            column = part[:, place::n_together]
            rows[:, 1 : 1 + column.shape[1]] |= column << (8 - bits * (place + 1))
        yield rows.tobytes()
