"""Rounds of k-means on all points, on threads."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette.effort import PAIRED_COLORS, Stopping
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


class BlockLabelling:
    """Labels of points, found on threads for up to `rows` centroids at a time.

    Attributes:
        labels: (n,) int32, of the centroids asked for last; at first 0.
    """

    def __init__(self, points: Points, rows: int, n_threads: int):
        self._points, self._n_threads = points, n_threads
        self._parts, self._buffers = parts_of(points), Buffers(points, rows)
        self.labels = np.zeros(len(points.weights), np.int32)

    def label(self, centroids: Array, distances: Array, seconds: Array) -> None:
        """Find the nearest of centroids (k, d) float64 that each point may have.

        Write its squared distance, and that of the second nearest, to (n,) float32 unless empty.
        Ties go to the lowest index.
        """
        from kmq.kernels.search import assign_blocks

        points, labels = self._points, self.labels
        n_nearest = (0, 0) if len(seconds) else (0,)
        before = labels[: 0 if points.n_opaque else len(labels)]

        def work(part: int) -> None:
            taken = self._buffers.take()
            assign_blocks(
                points.channels,
                points.columns,
                points.n_opaque,
                *self._parts[part],
                points.low,
                points.high,
                centroids,
                len(centroids),
                n_nearest,
                before,
                taken,
                np.empty(points.block, np.float32),
                labels,
                distances,
                seconds,
            )
            self._buffers.give(taken)

        run_chunks(work, len(self._parts), self._n_threads)


class Rounds(BlockLabelling):
    """Rounds of Lloyd's algorithm, for up to `rows` centroids.

    Each part of the points has its own sums. Where those are as large as the points, there are
    labels first, on threads, and then one set of sums.
    """

    def __init__(self, points: Points, rows: int, n_threads: int):
        super().__init__(points, rows, n_threads)
        d = len(points.columns)
        self._is_shared = rows >= PAIRED_COLORS
        n_sums = 1 if self._is_shared else len(self._parts)
        self._sums = np.empty((n_sums, len(points.kinds), rows, d + 1))
        self.velocity = np.zeros((rows, d))

    def run(self, centroids: Array, n_fixed: int, momentum: float) -> float:
        """Move the centroids (k, d) but for those that are fixed; return by how much
        Σ weight · |x|² exceeds the inertia, about."""
        from kmq.kernels.search import move, sum_by_label

        points = self._points
        self._sums[:] = 0
        if self._is_shared:
            empty = np.empty(0, np.float32)
            self.label(centroids, empty, empty)
            sums = self._sums[0]
            sum_by_label(
                points.channels, points.columns, points.weights, points.n_opaque, self.labels, sums
            )
        else:
            sums = self._sum_parts(centroids)
        if points.n_opaque:  # of all points, and of opaque ones
            sums[0] += sums[1]
        self._moved = points.channels, sums, len(centroids), n_fixed
        return float(move(*self._moved, momentum, centroids, self.velocity))

    def end_on_means(self, centroids: Array) -> None:
        """Take back what momentum added to the last move."""
        from kmq.kernels.search import move

        move(*self._moved, 0.0, centroids, self.velocity)

    def _sum_parts(self, centroids: Array) -> Array:
        """Return the sums of all points, added up part by part."""
        from kmq.kernels.search import sum_blocks

        points = self._points

        def work(part: int) -> None:
            taken = self._buffers.take()
            sum_blocks(
                points.channels,
                points.columns,
                points.weights,
                points.n_opaque,
                *self._parts[part],
                points.low,
                points.high,
                centroids,
                len(centroids),
                self.labels,
                taken,
                self._sums[part],
            )
            self._buffers.give(taken)

        run_chunks(work, len(self._parts), self._n_threads)
        sums = np.zeros(self._sums.shape[1:])
        for added in self._sums:
            sums += added
        return sums


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
