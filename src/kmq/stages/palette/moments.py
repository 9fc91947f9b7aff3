"""The mean and variance of weighted points, a block at a time, so that no copy of them is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmq.model.arrays import Array

_BLOCK = 1 << 17
"""Numbers of a block: 1 MiB in float64, which stays in the cache."""


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
    size = max(1, _BLOCK // points.shape[1])
    parts = [slice(at, at + size) for at in range(0, max(1, len(points)), size)]
    return added([_of_block(points[part], weights[part]) for part in parts])


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


def _of_block(points: Array, weights: Array) -> Moments:
    # Sums, not matrix products: those of a BLAS depend on the machine.
    # All in one type: NumPy converts within an operation by buffers, and dies where there is no
    # memory for those.
    wide = points.astype(np.float64, copy=False)
    column = (weights if weights.size else np.ones(len(points)))[:, None]
    total = float(column.sum())
    if total == 0:
        return Moments(len(points), 0.0, np.zeros(points.shape[1]), np.zeros(points.shape[1]))
    mean = (column * wide).sum(axis=0) / total
    return Moments(len(points), total, mean, (column * np.square(wide - mean)).sum(axis=0))
