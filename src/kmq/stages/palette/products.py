"""Nearest centroids by products: what `kmq.kernels.nearest.assign_by_products` works on.

Of |x - c|² = |x|² - 2 x·c + |c|² only the score |c|²/2 - x·c matters to who is nearest. It takes
one operation a channel, where differences take two. But it rounds otherwise, so near ties could go
to another centroid. How far it can be off is known:

Let m be a shift, u half the distance from 1 to the next float, r ≥ |x - m|, and C ≥ |c - m| for all
centroids. Both differences are rounded once a channel, which moves a score by up to u (r + C)². A
sum of d products and |c|²/2 is off by up to (d + 2) u (C² + r C). And the squared distance that is
to decide, Σ (x - c)² in floats, is itself off by up to (d + 2) u of its value. A centroid whose
score is above the least by twice the first two and all of the last is certainly not the nearest:
its squared distance is the greater one in floats, too. All others are compared by differences.
Where numbers underflow each operation adds half the least float; where they overflow, bounds are
infinite or not a number, and all centroids are compared.

The shift to the middle of the centroids keeps r and C small where points lie far from the origin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kmq.model.arrays import Array

_FEWEST = {
    # bytes of vectors, of numbers: channels, channels of all centroids
    (64, 4): (12, 384),
    (64, 8): (9, 128),
    (256, 4): (128, 2048),
    (256, 8): (32, 512),
}
"""From how many on products are faster, by ``benchmarks/points.py products``. The processor with
vectors of 512 bits subtracts while it multiplies."""

_BLOCK = 96
"""Points of a block at most."""

_BLOCK_NUMBERS = 1 << 17
"""Scores of a block, and numbers of its points, at most: for L2."""

_CACHE_LINE = 64


class Products(NamedTuple):
    """Centroids as the kernel wants them: see there.

    Attributes:
        centroids: (k, d), flat.
        heights: half the squares of centroids less the shift.
        panels: (panels, d, lanes) of centroids less the shift, flat.
        shift: (d,) the middle of the centroids.
        bounds: radius C, and what the errors of products, inputs and distances are multiplied by,
            and the error of numbers that underflow.
    """

    centroids: Array
    heights: Array
    panels: Array
    shift: Array
    bounds: Array


def are_faster(k: int, d: int, dtype: np.dtype[Any]) -> bool:
    """Return whether products take less time than differences on this machine."""
    from kmq.kernels._lanes import LANE_BYTES

    fewest_channels, fewest_compared = _FEWEST[LANE_BYTES, dtype.itemsize]
    return d >= fewest_channels and k * d >= fewest_compared


def products_of(centroids: Array, dtype: np.dtype[Any]) -> Products:
    """Return centroids (k, d), compared as floats of `dtype`, as the kernel wants them."""
    from kmq.kernels._lanes import PANEL_BYTES

    k, d = centroids.shape
    lanes = PANEL_BYTES // dtype.itemsize
    width = -(-k // lanes) * lanes
    heights, panels = aligned(width, dtype), aligned(width * d, dtype)
    rows = centroids.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # the kernel sees it by the bounds
        shift = rows.mean(axis=0, dtype=np.float64).astype(dtype)
        shifted = np.zeros((width, d), dtype)
        np.subtract(rows, shift, out=shifted[:k])
        squares = np.square(shifted[:k], dtype=np.float64).sum(axis=1)
        heights[:k], heights[k:] = squares / 2, np.inf
        panels.reshape(-1, d, lanes)[:] = shifted.reshape(-1, lanes, d).transpose(0, 2, 1)
        unit = np.finfo(dtype).eps / 2
        bounds = [
            1.01 * np.sqrt(squares.max()),
            4 * (d + 2) * unit,
            4 * unit,
            1.2 * (d + 2) * unit,
            8 * (d + 2) * np.finfo(dtype).smallest_subnormal,
        ]
        return Products(rows.reshape(-1), heights, panels, shift, np.array(bounds, dtype))


def scratch_of(made: Products, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Return the buffers of the kernel."""
    from kmq.kernels._products import ROWS

    d, width = made.shift.size, made.heights.size
    size = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(width, d)) // ROWS) * ROWS
    return (
        aligned(size * d, dtype),
        np.empty(size, dtype),
        aligned(size * width, dtype),
        np.empty(size, np.int32),
    )


def aligned(count: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros that start a line of the cache: vectors across two lines took a fifth longer."""
    zeros = np.zeros(count + _CACHE_LINE // dtype.itemsize, dtype)
    skipped = -zeros.ctypes.data % _CACHE_LINE // dtype.itemsize
    return zeros[skipped : skipped + count]
