"""Nearest centroids by products with points in the lanes: what `kmq.kernels.screening` works on.

It is for labels alone: a point's distance to its centroid is not computed. With few channels the
kernel takes two thirds of the time of differences, and with many more than that of
`kmq.stages.palette.products`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.differences import channels_of, grouped
from kmq.stages.palette.products import aligned, products_of

_FASTER = {
    # bytes of vectors, of numbers: least and most channels, least channels of all centroids
    (64, 4): (4, 12, 256),
    (64, 8): (4, 8, 128),
    (256, 4): (4, 12, 256),
    (256, 8): (4, 15, 128),
}
"""Where screening is faster, by ``benchmarks/points.py products``."""

_FEWEST_POINTS = 8192
"""Points from which on centroids take little time to prepare beside them."""

_SAMPLE = 512
"""Points that say how many have to be compared again."""

_MOST_AGAIN = 0.15
"""What share of them may be."""


class Screening(NamedTuple):
    """Centroids as the kernel wants them: see there."""

    groups: Array
    heights: Array
    centroids: Array
    shift: Array
    bounds: Array


def is_faster(n: int, k: int, d: int, dtype: np.dtype[Any]) -> bool:
    """Return whether screening takes the least time on this machine, if few near ties are left."""
    from kmq.kernels._lanes import LANE_BYTES
    from kmq.kernels.screening import MOST_CENTROIDS

    fewest, most, fewest_compared = _FASTER[LANE_BYTES, dtype.itemsize]
    is_few = k <= MOST_CENTROIDS and fewest <= d <= most
    return is_few and n >= _FEWEST_POINTS and k * d >= fewest_compared


def labeller_of(points: Array, centroids: Array) -> Callable[[Array, Array], int] | None:
    """Return what writes labels of points, flat, and returns how many had to be compared again;
    None if they are too many among a sample of `points` (n, d)."""
    from kmq.kernels.screening import label_by_screening

    (k, d), dtype = centroids.shape, points.dtype
    products = products_of(centroids, dtype)
    whole = np.zeros((k, d + d % 2), np.int16)
    with np.errstate(all="ignore"):  # the kernel sees it by the bounds
        shifted = centroids.astype(dtype).astype(np.float64) - products.shift
        whole[:, :d] = np.rint(shifted * products.bounds[1])
    groups, channels = grouped(centroids, dtype), channels_of(d)
    _, heights, _, shift, bounds = products
    made = Screening(groups, heights, whole.reshape(-1), shift, bounds)

    def label(points: Array, out_labels: Array) -> int:
        return int(label_by_screening(channels, d, points, *made, _scratch_of(made), out_labels))

    sample = np.ascontiguousarray(points[:: -(-len(points) // _SAMPLE)])
    n_again = label(sample.reshape(-1), np.empty(len(sample), np.int32))
    return label if n_again <= _MOST_AGAIN * len(sample) else None


def _scratch_of(made: Screening) -> tuple[Array, ...]:
    """Return the buffers of the kernel."""
    from kmq.kernels._lanes import LANE_BYTES
    from kmq.kernels.nearest import block_size

    d, k, dtype = made.shift.size, made.heights.size, made.shift.dtype
    size = block_size(d, dtype.itemsize)
    return (
        aligned(d * size, dtype),
        aligned((d + d % 2) * size, np.dtype(np.int16)),
        np.empty(k, np.int32),
        np.arange(k, dtype=np.int32),
        *np.empty((3, size), np.int32),
        aligned(d * LANE_BYTES // dtype.itemsize, dtype),
    )
