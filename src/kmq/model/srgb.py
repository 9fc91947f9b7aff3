"""sRGB samples ↔ light, and what cones take in of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kmq import exact
from kmq.model.arrays import Array

XYB_CONES = np.array(
    [
        [0.3, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.5518098665095536],
    ]
)
"""Share of red, green and blue light that the three kinds of cones of XYB take in (ISO/IEC 18181-1,
the opsin absorbance)."""

XYB_BIAS = 0.0037930732552754493
"""Light that is added to what each takes in, where white has 1."""


@lru_cache(maxsize=4)  # one for each depth
def table(top: int) -> Array:
    """Return the light in 0 … 1 of sRGB samples 0 … `top`, (top + 1,) float64."""
    return decode(np.arange(top + 1) / top)


def decode(encoded: Array) -> Array:
    """Return light in 0 … 1 of sRGB samples in 0 … 1 (IEC 61966-2-1)."""
    return np.where(
        encoded <= 0.04045, encoded / 12.92, exact.power((encoded + 0.055) / 1.055, 2.4)
    )


def encode(light: Array) -> Array:
    """Return sRGB samples in 0 … 1 of light; samples out of gamut are clipped."""
    inside = np.clip(light, 0, 1)
    return np.where(
        inside <= 0.0031308, inside * 12.92, 1.055 * exact.power(inside, 1 / 2.4) - 0.055
    )
