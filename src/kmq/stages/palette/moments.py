"""The mean and variance of weighted points, a block at a time, so that no copy of them is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmq.model.arrays import Array

_BLOCK = 1 << 15
"""Numbers of a block: 256 KiB in float64, which stay in the cache with what is computed of them."""


@dataclass(frozen=True)
class Moments:
    """How many rows there are, their weight, mean (d,) and summed squared deviations (d,)."""

    n_rows: int
    weight: float
    mean: Array
    deviations: Array

    def variance(self) -> float:
        """Return the weighted variance of each channel, averaged over the channels."""
        return float(self.deviations.mean() / self.weight)


def moments(points: Array, weights: Array) -> Moments:
    """Return the moments of points (n, d) with weights (n,), empty where all are 1."""
    n, d = points.shape
    size = max(1, min(n, _BLOCK // d))
    scratch = np.empty((size, d))
    if (weights == 1).all():
        weights = weights[:0]
    parts = [slice(at, at + size) for at in range(0, max(1, n), size)]
    return added([_of_block(points[part], weights[part], scratch) for part in parts])


def added(parts: Sequence[Moments]) -> Moments:
    """Add up moments, in their order (Chan, Golub & LeVeque 1983, equation 2.1)."""
    total = parts[0]
    for part in parts[1:]:
        weight = total.weight + part.weight
        share = part.weight / weight if weight else 0.0
        step = part.mean - total.mean
        total = Moments(
            total.n_rows + part.n_rows,
            weight,
            total.mean + share * step,
            total.deviations + part.deviations + np.square(step) * (total.weight * share),
        )
    return total


def _of_block(points: Array, weights: Array, scratch: Array) -> Moments:
    """Return the moments of some points; new memory for each block would take longer than they."""
    # Sums, not matrix products: those of a BLAS depend on the machine.
    # All in one type: NumPy converts within an operation by buffers, and dies where there is no
    # memory for those.
    n, d = points.shape
    column, total = weights[:, None], float(weights.sum()) if weights.size else float(n)
    if total == 0:
        return Moments(n, 0.0, np.zeros(d), np.zeros(d))
    wide, scratch = points.astype(np.float64, copy=False), scratch[:n]
    mean = (np.multiply(column, wide, scratch) if weights.size else wide).sum(axis=0) / total
    np.subtract(wide, mean, scratch)
    np.square(scratch, scratch)
    if weights.size:
        scratch *= column
    return Moments(n, total, mean, scratch.sum(axis=0))
