"""Breathing k-means on threads, for many centroids: the same as `kmq.kernels.search.breathe`.

There a round takes so long that threads are worth waking. They find labels; what is added up by
label takes a tenth of that, and is added in the order of the points.
"""

from __future__ import annotations

import math

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.effort import Breaths, SearchEffort
from kmq.stages.palette.points import Points, Workspace
from kmq.stages.palette.rounds import MOMENTUM, Rounds


class _Clusters(Rounds):
    """Up to `rows` clusters of points of one kind, the first `n_fixed` centroids of which stay."""

    def __init__(self, points: Points, rows: int, n_fixed: int, n_threads: int):
        super().__init__(points, rows, n_threads)
        room = Workspace(points, rows)
        self._n_fixed, self._losses, self._cut = n_fixed, room.measured[3][0], room.cut
        self._distances, self._seconds = np.empty((2, len(points.weights)), np.float32)

    def settle(self, centroids: Array, max_rounds: int, patience: float) -> None:
        """Do as `kmq.kernels.search.lloyd`."""
        self.velocity[:] = 0
        before = -math.inf
        for _ in range(max_rounds):
            explained = self.run(centroids, self._n_fixed, MOMENTUM)
            if explained < before:  # overshot: go on without momentum
                self.velocity[:] = 0
            elif explained - before <= patience * (self._points.squares - explained):
                break
            before = explained
        if max_rounds:
            self.end_on_means(centroids)

    def measure(self, centroids: Array, *, losses: bool) -> float:
        """Return the inertia, and have what `split`, or with losses `drop`, goes by."""
        from kmq.kernels.search import measure_by_label

        points, squares, sums = self._points, self._cut[0], self._cut[1][0]
        seconds = self._seconds if losses else self._seconds[:0]
        self.label(centroids, self._distances, seconds)
        for zeroed in (self._losses, squares, sums):
            zeroed[:] = 0
        inertia = measure_by_label(
            points.channels,
            points.columns,
            points.weights,
            centroids,
            self.labels,
            self._distances,
            seconds,
            self._losses,
            squares,
            sums,
        )
        return float(inertia)

    def split(self, k: int, n_new: int, centroids: Array) -> int:
        """Cut those of k clusters that gain most in two; return how many were cut."""
        from kmq.kernels.search import split

        points = self._points
        return int(
            split(
                points.channels,
                points.columns,
                points.weights,
                0,
                self.labels,
                k,
                self._n_fixed,
                n_new,
                *self._cut,
                centroids,
            )
        )

    def drop(self, k: int, n_gone: int, centroids: Array) -> None:
        """Take out those of k centroids that are missed least."""
        from kmq.kernels.search import drop

        _, _, axes, _, gains, flags = self._cut
        channels, losses, labels = self._points.channels, self._losses, self.labels
        drop(
            channels,
            k,
            self._n_fixed,
            n_gone,
            np.nan,
            losses,
            gains,
            axes,
            flags,
            labels,
            centroids,
        )


def breathe(
    points: Points,
    start: Array,
    n_fixed: int,
    effort: SearchEffort,
    breaths: Breaths,
    n_threads: int,
) -> tuple[float, Array]:
    """Return the inertia and the centroids (k, d) after breathing from `start`, on points of one
    kind."""
    k, d = start.shape
    breath, last, repeat_below = breaths
    clusters = _Clusters(points, k + breath, n_fixed, n_threads)
    centroids = np.empty((k + breath, d))
    centroids[:k] = start
    clusters.settle(centroids[:k], effort.start_rounds, effort.patience)
    inertia, best = math.inf, centroids[:k]
    while True:
        now = clusters.measure(centroids[:k], losses=False)
        if now > inertia * repeat_below:
            breath = breath // 2 if breath // 2 >= last else 0
        if now < inertia:
            inertia, best = now, centroids[:k].copy()
        elif breath:
            centroids[:k] = best
            clusters.measure(centroids[:k], losses=False)
        added = clusters.split(k, breath, centroids) if breath else 0
        if not added:
            return inertia, best
        clusters.settle(centroids[: k + added], effort.rounds, effort.patience)
        clusters.measure(centroids[: k + added], losses=True)
        clusters.drop(k + added, added, centroids)
        clusters.settle(centroids[:k], effort.rounds, effort.patience)
