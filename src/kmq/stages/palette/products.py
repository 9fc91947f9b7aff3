"""Nearest centroids by products: what `kmq.kernels.nearest.assign_by_products` works on.

Of |x - c|² = |x|² - 2 x·c + |c|² only the score |c|²/2 - x·c matters to who is nearest. In whole
numbers of 16 bits a processor makes twice as many products at a time as in float32, and where
differences take two operations a channel, products take one. But near ties could go to another
centroid. How far a score can be off is known:

Let m be a shift, r ≥ |x - m| for all points x of a block, and R ≥ |c - m| for all centroids c. Let
whole numbers X be a (x - m) rounded, and C be b (c - m) rounded. Each is off by up to 1/2, a little
more for what floats have lost before, so vectors are off by e ≤ 0.51 √d. By the inequality of
Cauchy and Schwarz X·C is off from a b (x - m)·(c - m) by up to e b R + (a r + e) e. And the squared
distance that is to decide, Σ (x - c)² in floats, is itself off by up to (d + 2) u of its value, u
half the distance from 1 to the next float. A centroid whose score is above the least by twice the
first and all of the second is certainly not the nearest: its squared distance is the greater one in
floats, too. All others are compared by differences. Scales a and b are such that no score reaches
2^31. Where numbers underflow each operation adds half the least float; where squares could
overflow, or nothing is certain, all centroids are compared.

The shift to the middle of the centroids keeps r and R small where points lie far from the origin.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kmq.model.arrays import Array

_FEWEST = {
    # bytes of vectors, of numbers: channels, channels of all centroids, those compared in a round
    (64, 4): (12, 512, 1 << 19),
    (64, 8): (8, 288, 1 << 18),
    (256, 4): (16, 1024, 1 << 21),
    (256, 8): (16, 512, 1 << 20),
}
"""From how many on products are faster, by ``benchmarks/points.py products``: to prepare them takes
as long as a whole round of few points."""

_SAMPLE = 8
"""Centroids, about, whose neighbours say whether points can be certain."""

_NEAR = 8
"""Margins up to half the squared distance of centroids that are near ties of many points."""

_BLOCK = 96
"""Points of a block at most."""

_BLOCK_NUMBERS = 1 << 17
"""Scores of a block, and numbers of its points, at most: for L2."""

_PAIRS = 256
"""Pairs of points and candidates that are collected: a multiple of those that the kernel compares
at a time."""

_CACHE_LINE = 64


class Products(NamedTuple):
    """Centroids as the kernel wants them: see there.

    Attributes:
        centroids: (k, d), flat.
        heights: (k,) half the squares of centroids less the shift, float64.
        panels: whole numbers of 16 bits, flat: centroids less the shift, scaled.
        shift: (d,) the middle of the centroids.
        bounds: radius R, what centroids are multiplied by, twice how far vectors can be off by
            rounding to whole numbers, relative and absolute errors of squared distances, what
            squares may lose by underflow, and the greatest square that is taken.
    """

    centroids: Array
    heights: Array
    panels: Array
    shift: Array
    bounds: Array


def are_faster(n: int, k: int, d: int, dtype: np.dtype[Any]) -> bool:
    """Return whether products take less time than differences on this machine."""
    from kmq.kernels._lanes import LANE_BYTES

    fewest_channels, fewest, fewest_compared = _FEWEST[LANE_BYTES, dtype.itemsize]
    return d >= fewest_channels and k * d >= fewest and n * k * d >= fewest_compared


def products_of(centroids: Array, dtype: np.dtype[Any]) -> Products:
    """Return centroids (k, d), compared as floats of `dtype`, as the kernel wants them."""
    from kmq.kernels._lanes import PANEL_BYTES
    from kmq.kernels._products import prepare

    k, d = centroids.shape
    rows, info = centroids.astype(dtype).reshape(-1), np.finfo(dtype)
    floor = d * float(info.tiny)
    error = 1.2 * (d + 2) * info.eps / 2
    tiny = 8 * (d + 2) * float(info.smallest_subnormal)
    largest = 0.9 * float(info.max)
    bounds = np.array([0, 0, 1.02 * math.sqrt(d), error, tiny, floor, largest])
    lanes = PANEL_BYTES // 4
    panels = aligned(-(-k // lanes) * lanes * (d + d % 2), np.dtype(np.int16))
    shift, heights = np.empty(d, dtype), np.empty(k)
    prepare(d, rows, shift, heights, panels, bounds)
    return Products(rows, heights, panels, shift, bounds)


def are_certain(made: Products) -> bool:
    """Return whether most points can be certain by products, or else have few near ties: not where
    many centroids are close together beside the distance to others."""
    from kmq.kernels._products import MOST, count_near

    (k, d), (radius, _, rounding, *_) = (made.heights.size, made.shift.size), made.bounds
    margin = _NEAR * 2 * rounding * radius**2 / MOST
    step = -(-k // _SAMPLE)
    n_near = count_near(d, made.centroids, made.shift, made.heights, margin, step)
    return bool(n_near <= max(0, d - 12) / 320 * k * -(-k // step))


def scratch_of(made: Products, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Return the buffers of the kernel."""
    from kmq.kernels._lanes import PANEL_BYTES
    from kmq.kernels._products import GREATEST, ROWS, TWO_EIGHTS

    d, lanes = made.shift.size, PANEL_BYTES // 4
    width = -(-made.heights.size // lanes) * lanes
    size = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(width, d)) // ROWS) * ROWS
    integers = np.dtype(np.int32)
    heights = aligned(width, integers)
    heights.fill(GREATEST)
    return (
        aligned(size * (d + d % 2), np.dtype(np.int16)),
        heights,
        aligned(size * width, integers),
        *np.empty((2, size), np.int32),
        *np.zeros((2, _PAIRS), np.int32),
        np.zeros(TWO_EIGHTS, dtype),
        np.empty(size, dtype),
    )


def aligned(count: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros that start a line of the cache: vectors across two lines took a fifth longer."""
    zeros = np.zeros(count + _CACHE_LINE // dtype.itemsize, dtype)
    skipped = -zeros.__array_interface__["data"][0] % _CACHE_LINE // dtype.itemsize
    return zeros[skipped : skipped + count]
