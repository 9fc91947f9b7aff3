"""Labels of points by one set of centroids after another, in the rounds of a fit.

With few channels, points are sorted once so that neighbours come together, where that pays within
as many rounds again as a fit has lasted: see `kmq.stages.palette.ordered`.
"""

from __future__ import annotations

import math

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette import assigning
from kmq.stages.palette.grid import Grids
from kmq.stages.palette.ordered import Ordered

_MOST_CHANNELS = 4
"""Channels up to which neighbours have few centroids in common: with eight, blocks of sorted points
are left with most of 64."""

_LEAST_POINTS = 1 << 14
"""Points at least to be sorted."""

_SORTING = 55
"""What it takes to sort points: operations on registers a point, some 0.1 ns."""

_SORTING_SERIAL = 0.2
"""What share of that a single thread does."""

_ORDERED, _CANDIDATE = 13, 1.65
"""What a round takes on sorted points, and that for each centroid that they are compared with."""

_FEWEST_ROUNDS = 4
"""Rounds that a fit is taken to last at least."""


class Labelling:
    """Labels of points (n, d) in rounds with k centroids, `max_iter` at most.

    Attributes:
        cost: what a round takes, in operations on registers a point.
        is_sorted: whether points have been sorted.
    """

    def __init__(self, points: Array, k: int, n_threads: int, max_iter: int):
        self._points, self._n_threads = points, n_threads
        self._k, self._max_iter, self._done = k, max_iter, 0
        n, d = points.shape
        self.cost = self._by_all = assigning.cost_of(n, k, d, points.dtype)
        self._ordered: Ordered | None = None
        self._grids = Grids()
        self._may_sort = _LEAST_POINTS <= n < 2**31 and 1 < d <= _MOST_CHANNELS

    @property
    def is_sorted(self) -> bool:  # noqa: D102  # see above
        return self._ordered is not None

    def begin_round(self, labels: Array) -> None:
        """Sort the points if that pays; `labels` (n,) int32 are scratch."""
        self._done += 1
        if self._ordered is None and self._may_sort and self._would_pay():
            self._ordered = Ordered(self._points, labels)

    def label(self, centroids: Array, out_labels: Array) -> None:
        """Write the label of each point."""
        compared = math.inf
        if self._ordered is not None:
            compared = self._ordered.label(centroids, self._n_threads, out_labels)
            self.cost = self._cost(compared)
            if self.cost > self._by_all:
                self._ordered, self._may_sort, self.cost = None, False, self._by_all
        if compared == math.inf:
            nothing = np.empty(0, self._points.dtype)
            assigning.nearest(
                self._points, centroids, self._n_threads, out_labels, nothing, self._grids
            )

    def _would_pay(self) -> bool:
        """Return whether sorting pays in the rounds that are likely to come."""
        d = len(self._points.T)
        usual = 2 ** (d - 1) * (self._k / 64) ** 0.7  # of 200,000 normal points, about
        rounds = min(max(_FEWEST_ROUNDS, self._done), self._max_iter + 2 - self._done)
        gain = self._by_all - self._cost(usual)
        wait = 1 + _SORTING_SERIAL * (self._n_threads - 1)
        return bool(rounds * gain > wait * _SORTING)

    def _cost(self, compared: float) -> float:
        """Return what a round takes where sorted points are compared with so many centroids."""
        return _ORDERED + _CANDIDATE * compared * math.sqrt(self._points.dtype.itemsize / 4)
