"""Opaque, translucent and transparent colours, and which entries each kind may have."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from kmq.model.arrays import Array
from kmq.model.pixel_format import PixelFormat


class Kind(IntEnum):
    """What a colour is by its alpha; the numbers are those that arrays and kernels hold, uint8."""

    TRANSLUCENT = 0
    OPAQUE = 1
    TRANSPARENT = 2


TRANSLUCENT, OPAQUE, TRANSPARENT = Kind.TRANSLUCENT, Kind.OPAQUE, Kind.TRANSPARENT

ALLOWED = np.array([[True, True, True], [False, True, False], [False, False, True]])
"""Whether colours of a kind (row) may have entries of a kind (column): opaque ones stay opaque,
transparent ones transparent, and others may have what is nearest."""
ALLOWED.flags.writeable = False


def kinds(colors: Array, pixel_format: PixelFormat) -> Array:
    """Return the kinds (…) uint8 of colours (…, channels): without alpha, all are opaque."""
    if not pixel_format.has_alpha:
        return np.full(colors.shape[:-1], OPAQUE, np.uint8)
    alpha = colors[..., -1]
    kinds: Array = (alpha == pixel_format.max_value) * np.uint8(OPAQUE)
    kinds |= (alpha == 0) * np.uint8(TRANSPARENT)
    return kinds


def allowed_entries(kind: Kind, entry_kinds: Array) -> Array:
    """Return the numbers (n,) int64 of the entries, of kinds (k,), that colours of a kind may have.

    They may have all of them where no entry is such as they need.
    """
    allowed = np.flatnonzero(ALLOWED[kind][entry_kinds])
    return allowed if len(allowed) else np.arange(len(entry_kinds))


def cleared(colors: Array, pixel_format: PixelFormat) -> Array:
    """Return C-ordered colours (…, channels) with all samples 0 where they are transparent.

    It is a copy only where one of them shows a colour.
    """
    if not pixel_format.has_alpha:
        return colors
    packed = colors.view(f"u{colors.shape[-1] * colors.itemsize}")[..., 0]
    transparent = colors[..., -1] == 0
    if not packed[transparent].any():
        return colors
    blank = np.where(transparent, packed.dtype.type(0), packed)
    return blank.view(colors.dtype).reshape(colors.shape)
