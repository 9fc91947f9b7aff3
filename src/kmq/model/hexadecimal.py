"""Colours ↔ hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.model.pixel_format import PixelFormat, of_shape

_HEX_DIGITS = {3: (3, 1), 4: (4, 1), 6: (3, 2), 8: (4, 2), 12: (3, 4), 16: (4, 4)}
"""Digits of a colour → samples, and digits of each."""


def parse_hex(text: str) -> tuple[int, ...] | None:
    """Return the samples of a colour in hexadecimal, in 8 bits up to 8 digits and in 16 above.

    3 or 4 digits stand for twice as many, as in CSS. None if it is no such colour.
    """
    digits = text.removeprefix("#")
    shape = _HEX_DIGITS.get(len(digits))
    if shape is None or not re.fullmatch("[0-9a-fA-F]+", digits):
        return None
    n_samples, n_digits = shape
    if n_digits == 1:
        digits, n_digits = "".join(2 * digit for digit in digits), 2
    return tuple(
        int(digits[start : start + n_digits], 16)
        for start in range(0, n_samples * n_digits, n_digits)
    )


def format_hex(color: Sequence[int], pixel_format: PixelFormat) -> str:
    """Write samples in hexadecimal, as `parse_hex` reads them if there are three or four."""
    if pixel_format.depth > 8:
        return "".join(f"{sample:04x}" for sample in color)
    return bytes(color).hex()


def of_hex(colors: Sequence[str], *, alpha_first: bool = False) -> tuple[Array, PixelFormat]:
    """Return colours in hexadecimal; alpha or 16 bits in one gives them to all."""
    parsed, deep = [], []
    for text in colors:
        samples = parse_hex(text)
        if samples is None:
            raise InputError(
                f"{text[:40]!r} is not a colour: kmq reads rrggbb and rrggbbaa in hexadecimal, "
                "or twice as many digits for 16 bits"
            )
        if alpha_first and len(samples) == 4:
            samples = (*samples[1:], samples[0])
        parsed.append(samples)
        deep.append(len(text.removeprefix("#")) > 8)
    depth = 16 if any(deep) else 8
    channels = max(map(len, parsed))
    top = (1 << depth) - 1
    colors_of_all = np.full((len(parsed), channels), top, np.uint16)
    for row, samples, is_deep in zip(colors_of_all, parsed, deep, strict=True):
        row[: len(samples)] = [
            sample * (257 if depth == 16 and not is_deep else 1) for sample in samples
        ]
    pixel_format = of_shape(channels, depth)
    return colors_of_all.astype(pixel_format.dtype), pixel_format
