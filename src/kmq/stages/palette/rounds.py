"""Rounds of k-means on all points, on threads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette.effort import Stopping
from kmq.stages.palette.points import Buffers, Points, parts_of
from kmq.threads import run_chunks

MOMENTUM = 0.6
"""Share of a centroid's last move that is added to the next: halves the rounds at k = 64 and 256.
Over-relaxation by 1.5 and 1.8 gained less, 0.8 overshoots."""

_MOMENTUM_ROUNDS = 100
"""Rounds after which momentum has done its part, and centroids may come to rest."""


class Fit(NamedTuple):
    """Where the search ended: centroids (k, d) float64, rounds on all colours, whether settled.

    `opaque` (k,) bool says which centroids are for opaque colours, where that was settled.
    """

    centroids: Array
    n_iter: int
    converged: bool
    opaque: Array | None = None


class Rounds:
    """Rounds of Lloyd's algorithm, for up to `rows` centroids."""

    def __init__(self, points: Points, rows: int, n_threads: int):
        self._points, self._n_threads = points, n_threads
        self._chunks, self._buffers = parts_of(points), Buffers(points, rows)
        d = len(points.columns)
        self._sums = np.empty((len(self._chunks), len(points.kinds), rows, d + 1))
        self._labels = np.zeros(len(points.weights), np.int32)
        self.velocity = np.zeros((rows, d))

    def run(self, centroids: Array, n_fixed: int, momentum: float) -> float:
        """Move the centroids (k, d) but for those that are fixed; return by how much
        Σ weight · |x|² exceeds the inertia, about."""
        from kmq.kernels.search import move, sum_blocks

        points, k = self._points, len(centroids)
        self._sums[:] = 0

        def work(chunk: int) -> None:
            taken = self._buffers.take()
            sum_blocks(
                points.channels,
                points.columns,
                points.weights,
                points.n_opaque,
                *self._chunks[chunk],
                points.low,
                points.high,
                centroids,
                k,
                self._labels,
                taken,
                self._sums[chunk],
            )
            self._buffers.give(taken)

        run_chunks(work, len(self._chunks), self._n_threads)
        sums = np.zeros(self._sums.shape[1:])
        for added in self._sums:
            sums += added
        if points.n_opaque:  # of all points, and of opaque ones
            sums[0] += sums[1]
        return float(move(points.channels, sums, k, n_fixed, momentum, centroids, self.velocity))


def settle(
    points: Points,
    start: Array,
    n_fixed: int,
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds on all points from `start` (k, d); its first `n_fixed` rows stay as they are.

    Rounds have momentum until it overshoots or there is no time for it.
    """
    max_rounds, limit = stopping.max_rounds, stopping.tol * points.mean_variance
    centroids = start.copy()
    rounds = Rounds(points, len(start), n_threads)
    momentum, explained = MOMENTUM, -math.inf
    n_iter, converged = 0, False
    while n_iter < max_rounds and not converged:
        n_iter += 1
        if n_iter in (max_rounds, _MOMENTUM_ROUNDS):
            momentum = 0.0
        before = centroids.copy()
        now = rounds.run(centroids, n_fixed, momentum)
        if now < explained:
            momentum = 0.0
        explained = now
        if progress is not None:
            progress("k-means", n_iter / max_rounds)
        converged = float(np.square(centroids - before).sum()) <= limit
    opaque = points.are_opaque(centroids) if points.n_opaque else None
    return Fit(centroids, n_iter, converged, opaque)
