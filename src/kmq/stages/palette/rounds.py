"""Rounds of k-means on points of one kind, or of two: opaque points have opaque centroids.

The last coordinate of opaque centroids stays that of opaque points: with it given, the mean of the
others is still what is nearest to all. A centroid is opaque as long as it has opaque points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette.effort import Stopping
from kmq.stages.palette.points import PointSet, buffers_of, parts_of
from kmq.threads import run_chunks

MOMENTUM = 0.6
"""Share of a centroid's last move that is added to the next: halves the rounds at k = 64 and 256.
Over-relaxation by 1.5 and 1.8 gained less, 0.8 overshoots."""

_MOMENTUM_ROUNDS = 100
"""Rounds after which momentum has done its part, and centroids may come to rest."""


@dataclass(frozen=True)
class Fit:
    """Where the search ended: centroids (k, d) float64, rounds on all colours, whether settled.

    `opaque` (k,) bool says which centroids are for opaque colours, where that was settled.
    """

    centroids: Array
    n_iter: int
    converged: bool
    opaque: Array | None = None


@dataclass
class Clusters:
    """Centroids (k, d) float64 and which of them are opaque (k,); the first `n_fixed` are given."""

    centroids: Array
    opaque: Array
    n_fixed: int

    @classmethod
    def of(cls, points: PointSet, centroids: Array, n_fixed: int) -> Clusters:
        """Return a copy of centroids for these points."""
        return cls(centroids.copy(), points.are_opaque(centroids), n_fixed)

    @property
    def free_opaque(self) -> Array:
        """Which are opaque and move."""
        free = self.opaque.copy()
        free[: self.n_fixed] = False
        return free

    def for_parts(self, points: PointSet) -> list[tuple[Any, Array]]:
        """Return for each part of the points which centroids it may have, and these."""
        every = (slice(None), self.centroids)
        if not points.is_divided:
            return [every]
        return [(self.opaque, np.ascontiguousarray(self.centroids[self.opaque])), every]


class Rounds:
    """Rounds of Lloyd's algorithm, for up to `rows` centroids."""

    def __init__(self, points: PointSet, rows: int, n_threads: int):
        self._points, self._n_threads = points, n_threads
        self._chunks = [
            (number, *blocks, buffers_of(part, rows))
            for number, part in enumerate(points.parts)
            for blocks in parts_of(part)
        ]
        d = len(points.columns)
        self._sums = np.empty((len(self._chunks), rows, d + 1))
        self.velocity = np.zeros((rows, d))

    def run(self, clusters: Clusters, momentum: float) -> float:
        """Move the centroids; return by how much Σ weight · |x|² exceeds the inertia, about.

        Opaque centroids that are left without opaque points are free to be translucent.
        """
        from kmq.kernels.search import move, sum_blocks

        points, centroids, n_fixed = self._points, clusters.centroids, clusters.n_fixed
        k, d = centroids.shape
        choices = clusters.for_parts(points)
        self._sums[:] = 0

        def work(chunk: int) -> None:
            number, first, last, buffers = self._chunks[chunk]
            part, rows = points.parts[number], choices[number][1]
            sum_blocks(
                part.channels,
                part.columns,
                part.weights,
                first,
                last,
                part.low,
                part.high,
                rows,
                len(rows),
                buffers,
                self._sums[chunk],
            )

        run_chunks(work, len(self._chunks), self._n_threads)
        sums = np.zeros((len(points.parts), k, d + 1))
        for (number, *_), added in zip(self._chunks, self._sums, strict=True):
            which, rows = choices[number]
            sums[number, which] += added[: len(rows)]
        total = sums[-1]
        if points.is_divided:
            total += sums[0]
            clusters.opaque[n_fixed:] &= sums[0, n_fixed:, d] > 0
        channels, velocity = points.parts[0].channels, self.velocity[:k]
        explained = float(move(channels, total, k, n_fixed, momentum, centroids, velocity))
        if not points.is_divided:
            return explained
        are_opaque = clusters.free_opaque
        centroids[are_opaque, -1] = points.opaque
        weights = total[are_opaque, d]
        off = weights * np.square(total[are_opaque, d - 1] / weights - points.opaque)
        return explained - math.fsum(off)  # in an order that no machine changes


def settle(
    points: PointSet,
    start: Array,
    n_fixed: int,
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds on all points from `start` (k, d), the first `n_fixed` of which stay as they are.

    They have momentum until it overshoots or there is no time for it.
    """
    max_rounds, limit = stopping.max_rounds, stopping.tol * points.mean_variance
    clusters = Clusters.of(points, start, n_fixed)
    rounds = Rounds(points, len(start), n_threads)
    momentum, explained = MOMENTUM, -math.inf
    n_iter, converged = 0, False
    while n_iter < max_rounds and not converged:
        n_iter += 1
        if n_iter in (max_rounds, _MOMENTUM_ROUNDS):
            momentum = 0.0
        before = clusters.centroids.copy()
        now = rounds.run(clusters, momentum)
        if now < explained:
            momentum = 0.0
        explained = now
        if progress is not None:
            progress("k-means", n_iter / max_rounds)
        converged = float(np.square(clusters.centroids - before).sum()) <= limit
    opaque = clusters.opaque if points.is_divided else None
    return Fit(clusters.centroids, n_iter, converged, opaque)
