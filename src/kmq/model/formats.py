"""Colours of one pixel format as those of another, where nothing is lost by it."""

from __future__ import annotations

import numpy as np

from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.model.pixel_format import PixelFormat, of_shape


def _parts(pixel_format: PixelFormat) -> tuple[int, bool, int]:
    """Return channels but for alpha, whether there is alpha, and bits per sample."""
    has_alpha = pixel_format.has_alpha
    return pixel_format.channels - has_alpha, has_alpha, pixel_format.depth


def of_array(colors: Array) -> PixelFormat:
    """Return what (n, 1 to 4) whole numbers are, as far as an array tells: uint16 has 16 bits."""
    if colors.dtype == np.bool_ and colors.shape[1] == 1:
        return PixelFormat.BILEVEL
    depth = 16 if colors.dtype == np.uint16 else 8
    return of_shape(colors.shape[1], depth)


def without_alpha(pixel_format: PixelFormat) -> PixelFormat:
    """Return the same pixel format but for alpha."""
    if not pixel_format.has_alpha:
        return pixel_format
    return of_shape(pixel_format.channels - 1, pixel_format.depth)


def common_format(first: PixelFormat, second: PixelFormat) -> PixelFormat:
    """Return the least pixel format that holds all colours of both.

    Raises:
        InputError: one of them is CMYK, which only CMYK holds.
    """
    if first is second:
        return first
    if PixelFormat.CMYK32 in (first, second):
        other = second if first is PixelFormat.CMYK32 else first
        raise InputError(
            f"CMYK and {other.label} have no pixel format in common: convert one of them first"
        )
    pairs = zip(_parts(first), _parts(second), strict=True)
    n_plain, has_alpha, depth = (max(pair) for pair in pairs)
    if (n_plain, has_alpha, depth) != (1, False, 1):
        depth = max(depth, 8)
    return of_shape(int(n_plain) + int(has_alpha), int(depth))


def converted(colors: Array, source: PixelFormat, target: PixelFormat) -> Array:
    """Return (n, channels) colours of `source` as those of `target`.

    Grey becomes RGB of three equal samples, no alpha becomes opaque, depths are scaled so that
    white stays white; and back where it was so. Morton order is kept.

    Raises:
        InputError: `target` has not all of the colours; the message names the first it has not.
    """
    if source is target:
        return colors
    if PixelFormat.CMYK32 in (source, target):
        raise InputError(f"{source.label} colours cannot become pixel format {target.label}")
    plain, alpha = colors, np.full((len(colors), 1), source.max_value, colors.dtype)
    if source.has_alpha:
        plain, alpha = colors[:, :-1], colors[:, -1:]
        if not target.has_alpha:
            _refuse(alpha[:, 0] != source.max_value, colors, target, "it is not opaque")
    n_plain = target.channels - target.has_alpha
    if plain.shape[1] == 1:
        plain = np.repeat(plain, n_plain, axis=1)
    elif n_plain == 1:
        _refuse((plain != plain[:, :1]).any(axis=1), colors, target, "it is not grey")
        plain = plain[:, :1]
    chosen = np.hstack([plain, alpha]) if target.has_alpha else plain
    if target.depth >= source.depth:
        scaled = chosen.astype(target.dtype) * target.dtype.type(
            target.max_value // source.max_value
        )
    else:
        step = source.max_value // target.max_value
        between = (chosen % step != 0).any(axis=1)
        _refuse(between, colors, target, f"{target.depth} bits per sample do not hold it")
        scaled = (chosen // step).astype(target.dtype)
    return np.ascontiguousarray(scaled)


def _refuse(wrong: Array, colors: Array, target: PixelFormat, why: str) -> None:
    """Raise InputError for the first colour that is wrong, if there is one."""
    if wrong.any():
        color = tuple(colors[np.argmax(wrong)].tolist())
        raise InputError(f"colour {color} does not fit pixel format {target.label}: {why}")
