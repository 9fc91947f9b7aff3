"""The best clusters of numbers, for any k: one channel alone has an optimum that can be found.

Sorted numbers have clusters that are intervals, so dynamic programming finds the best ones (Wang &
Song 2011). The least cost is convex in k. So a price for each cluster gives a best number of them,
with one shortest path in O(n log n) (`kmq.kernels.intervals`), and a few prices lead to the k that
is wanted. Where many k have the same price, two of the paths are joined (Aggarwal, Schieber &
Tokuyama 1994). Memory is O(n), however many clusters there are.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from kmq import exact
from kmq.lazily import computed_once
from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette.assigning import nearest
from kmq.stages.palette.clustering import KMeansResult

_PIECES = 1 << 16
"""Most pieces that the range of sites is cut into; each looks up its nearest site."""

_SURE_TURN = 3
"""Which of four turns does not guess: guesses alone may come nearer very slowly."""

_MANY, _ROUGH = 1 << 14, 1 << 12
"""Least numbers for a first guess from groups of them, and how many groups."""

_NO_SITES = np.empty(0)


class _Clusters(NamedTuple):
    """The best centers of their number.

    Attributes:
        centers: (k,) float64, ascending, the fixed ones among them, from the origin of the line.
        cost: Σ weight · squared distance to the nearest.
        price: a price of a center for which they are best.
    """

    centers: Array
    cost: float
    price: float

    @property
    def n_centers(self) -> int:
        """How many centers there are."""
        return len(self.centers)


class Line:
    """Weighted numbers, and the best centers of them.

    Args:
        values: (n,) float64.
        weights: (n,) float64; those with 0 take no part.
        sites: (m,) float64: what centers may be; any numbers if empty.
        fixed: (f,) float64: what must be centers.
    """

    def __init__(
        self, values: Array, weights: Array, sites: Array = _NO_SITES, fixed: Array = _NO_SITES
    ):
        from kmq.kernels.intervals import add_up

        values, weights = _distinct(values, weights)
        sites, fixed = np.unique(sites), np.unique(fixed)
        n = len(values)
        self._origin = _exact_origin(values)
        self._sites, self._fixed = sites - self._origin, fixed - self._origin
        self._places = np.searchsorted(values, fixed, side="right")
        self._sums = np.empty((n + 1, 6))
        add_up(values - self._origin, weights, self._sums)
        pieces = min(_PIECES, 4 * len(sites))
        self._scale = (pieces - 1) / (sites[-1] - sites[0]) if len(sites) > 1 else 0.0
        edges = self._sites[:1] + np.arange(pieces) / (self._scale or 1.0)
        below = np.searchsorted(self._sites, edges) - 2  # one more than need be, for rounding
        self._grid = np.maximum(below, 0).astype(np.int32)
        self._scratch = (
            np.empty(n + 1),
            np.empty(n + 1, np.int32),
            np.empty((n + 1, 2), np.int32),
            np.empty(len(fixed) + 1, np.int64),
        )
        self._values, self._weights = values, weights
        self._known = [self._fewest(), self._most()]
        """Clusters that some price leads to, the fewest first."""

    def cost(self, k: int) -> float:
        """Return Σ weight · squared distance to the nearest of the best `k` centers."""
        return self._best(k).cost

    def centers(self, k: int) -> Array:
        """Return the best `k` centers but for the fixed ones, ascending, or fewer where more gain
        nothing; there must be room for the fixed ones."""
        centers = self._best(k).centers
        free: Array = centers[~np.isin(centers, self._fixed)] + self._origin
        return free

    def _best(self, k: int) -> _Clusters:
        for turn in itertools.count():
            place = bisect_left(self._known, k, key=attrgetter("n_centers"))
            if place == len(self._known):
                return self._known[-1]
            more = self._known[place]
            if more.n_centers == k or place == 0:
                return more
            fewer = self._known[place - 1]
            guess = None if turn % 4 == _SURE_TURN else self._guess(fewer, more, k, turn)
            # If no price is in between, then this is the price of all that are in between.
            sure = (fewer.cost - more.cost) / (more.n_centers - fewer.n_centers)
            found = self._shortest(sure if guess is None else guess)
            if fewer.n_centers < found.n_centers < more.n_centers:
                self._known.insert(place, found)
            elif guess is None:
                return _joined(fewer, more, k, sure)
            elif found.n_centers == fewer.n_centers:  # it is known for a price nearer to k's
                self._known[place - 1] = found
            elif found.n_centers == more.n_centers:
                self._known[place] = found
        raise AssertionError  # pragma: no cover  # the loop has no end

    def _guess(self, fewer: _Clusters, more: _Clusters, k: int, turn: int) -> float | None:
        """Return a price that may lead to k centers, if there is a good guess."""
        if turn == 0 and self._rough is not None and more.n_centers > 2 * k:
            return self._rough._best(k).price
        if (
            more.price > 0
            and more.n_centers <= 2 * k <= 4 * fewer.n_centers
            and fewer.n_centers > 1
        ):
            counts = exact.log2(np.array([fewer.n_centers, k, more.n_centers], np.float64))
            prices = exact.log2(np.array([fewer.price, more.price]))
            share = (counts[1] - counts[0]) / (counts[2] - counts[0])
            return float(exact.exp2(prices[0] + share * (prices[1] - prices[0])))
        for near, beyond in ((more, k - 1), (fewer, k + 1)):
            # The cost of many centers falls with the square of their number (Panter & Dite 1951).
            if (
                near.price > 0
                and beyond > 0
                and max(near.n_centers, k) <= 2 * min(near.n_centers, k)
            ):
                ratio = near.n_centers / beyond
                return near.price * ratio * ratio * ratio
        return None

    @computed_once
    def _rough(self) -> Line | None:
        """The line with neighbours taken together, if there are many numbers."""
        n = len(self._values)
        if n < _MANY:
            return None
        groups = np.arange(n) * _ROUGH // n
        weights = np.bincount(groups, self._weights)
        return Line(np.bincount(groups, self._weights * self._values) / weights, weights)

    def _fewest(self) -> _Clusters:
        """Return the clusters with the fewest centers: one, or the fixed ones."""
        if not len(self._fixed):
            return self._shortest(0.0, self._sums[[0, -1]])
        ends = np.concatenate([self._values[[0, -1]] - self._origin, self._fixed])
        span = float(ends.max() - ends.min())
        return self._shortest(2 * float(self._weights.sum()) * span * span)

    def _most(self) -> _Clusters:
        """Return the clusters with the most centers that gain something."""
        if len(self._sites) or len(self._fixed):
            return self._shortest(0.0)
        return _Clusters(self._values - self._origin, 0.0, 0.0)

    def _shortest(self, price: float, sums: Array | None = None) -> _Clusters:
        """Return the clusters that are best if each costs a price."""
        from kmq.kernels.intervals import shortest_path

        free, cost = np.empty(len(self._sums)), np.empty(1)
        count = shortest_path(
            self._sums if sums is None else sums,
            self._sites,
            self._grid,
            self._scale,
            self._fixed,
            self._places,
            price,
            *self._scratch,
            free,
            cost,
        )
        centers = np.unique(np.concatenate([free[:count], self._fixed]))
        return _Clusters(centers, float(cost[0]), price)


def optimum(
    points: Array, weights: Array, k: int, n_threads: int, progress: Progress | None = None
) -> KMeansResult:
    """Return the best clusters of points (n, 1)."""
    centers = Line(points[:, 0].astype(np.float64), weights).centers(k)
    centroids = centers[np.minimum(np.arange(k), len(centers) - 1), None]
    labels, distances = np.empty(len(points), np.int32), np.empty(len(points), points.dtype)
    nearest(points, centroids, n_threads, labels, distances)
    if progress is not None:
        progress("k-means", 1.0)
    return KMeansResult(centroids, labels, float((weights * distances).sum()), 1, True)


def _joined(fewer: _Clusters, more: _Clusters, k: int, price: float) -> _Clusters:
    """Return `k` centers, some of either, where both are best for the same price.

    The first centers are of `more`. From where one of its gaps lies within one of `fewer`, and as
    many are left as are wanted, the others are of `fewer`. By the quadrangle inequality that is as
    good.
    """
    added = k - fewer.n_centers
    within = more.centers[added : added + fewer.n_centers] <= fewer.centers
    place = int(np.argmax(within)) if within.any() else fewer.n_centers
    centers = np.concatenate([more.centers[: place + added], fewer.centers[place:]])
    return _Clusters(centers, fewer.cost - price * added, price)


def _exact_origin(values: Array) -> float:
    """Return a number among the values, from which all have fewer digits; 0 if some lose any."""
    origin = float(values[len(values) // 2])
    shifted = values - origin
    shift = shifted - values
    lost = (values - (shifted - shift)) - (origin + shift)  # what rounding leaves out
    return 0.0 if lost.any() else origin


def _distinct(values: Array, weights: Array) -> tuple[Array, Array]:
    """Return the distinct values that have weight, ascending, and their weights."""
    some = weights > 0
    if not some.all():
        values, weights = values[some], weights[some]
    if (weights == weights[0]).all():  # sorted without positions, which is many times as fast
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts * weights[0]
    distinct, numbers = np.unique(values, return_inverse=True)
    return distinct, np.bincount(numbers, weights)
