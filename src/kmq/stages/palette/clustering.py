"""k-means on weighted points (n, d), float32 or float64: Lloyd's rounds and final labels.

The steps are those of Lloyd (1982): assign each point to its nearest centroid, move each centroid
to the weighted mean of its points, until no centroid moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kmq.model.arrays import Array, EqualByFields
from kmq.model.choices import Progress
from kmq.stages.palette import assigning
from kmq.stages.palette.bounded import Rounds
from kmq.stages.palette.labelling import Labelling

Algorithm = Literal["lloyd", "naive"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
"""The rounds by the fast kernels, and by plain NumPy, to check the others by."""

MAX_STARTS, MAX_ROUNDS = 10_000, 1_000_000
"""Starts, and rounds from each, that callers may ask for at most."""

DEFAULT_ROUNDS, DEFAULT_TOLERANCE = 300, 1e-4
"""When rounds end unless callers say so: as in scikit-learn."""

_SORTED_ERRORS = 1024
"""Points sorted by error at first, to refill empty clusters from."""

_NO_WEIGHTS = np.empty(0)
_NO_LABELS = np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class KMeansResult(EqualByFields):
    """Where k-means ended.

    Attributes:
        centroids: (k, d) float64; float32 from `kmq.kmeans`, if the points were computed in that.
        labels: (n,) int32, the nearest of `centroids` for each point, ties to the lowest index.
        inertia: Σ weight · squared distance to the nearest centroid.
        n_iter: rounds of Lloyd's algorithm.
        converged: whether the last round moved the centroids by no more than the tolerance.

    >>> result = kmq.kmeans([[0, 0], [0, 2], [10, 0], [10, 2]], 2, init=[[0, 0], [9, 0]])
    >>> result.labels.tolist(), result.inertia, result.n_iter, result.converged
    ([0, 0, 1, 1], 4.0, 2, True)
    """

    centroids: Array
    labels: Array
    inertia: float
    n_iter: int
    converged: bool

    def __repr__(self) -> str:
        """One line: clusters, points, inertia and rounds."""
        rounds = f"{self.n_iter} round{'' if self.n_iter == 1 else 's'}"
        return (
            f"<kmq.KMeansResult {len(self.centroids)} clusters of {len(self.labels)} points, "
            f"inertia {self.inertia:.6g}, {rounds}{'' if self.converged else ', not converged'}>"
        )


def kmeans(
    points: Array,
    weights: Array,
    start: Array,
    *,
    max_iter: int,
    tol: float,
    n_threads: int,
    progress: Progress | None = None,
    algorithm: str = "lloyd",
) -> KMeansResult:
    """Run Lloyd's algorithm, one of ALGORITHMS, from the centroids `start` (k, d).

    `tol` is the sum of the squared moves of all centroids up to which a round counts as converged.
    Centroids that no point is nearest to move to the points that add most to the inertia, and those
    no longer count for the clusters they were in.
    """
    counted = weights if (weights != 1).any() else _NO_WEIGHTS

    def plain(centroids: Array) -> Array:
        return assigning.assign_and_sum(points, counted, centroids, _NO_LABELS, n_threads)[0]

    rounds: Rounds | _NaiveRounds = _NaiveRounds(points, counted)
    if algorithm == "lloyd":
        k, parts = len(start), assigning.parts_of(points, len(start))
        labelling = Labelling(points, k, n_threads, max_iter)
        rounds = Rounds(points, counted, k, parts, n_threads, labelling, plain, max_iter)

    def farthest(centroids: Array, count: int) -> tuple[Array, Array, Array]:
        labels, chosen = _farthest(points, weights, centroids, count, n_threads)
        return points[chosen], weights[chosen], labels[chosen]

    centroids, n_iter, converged = lloyd(start, rounds.sums, farthest, max_iter, tol, progress)
    labels, inertia = rounds.end(centroids)
    return KMeansResult(centroids, labels, inertia, n_iter, converged)


def lloyd(
    start: Array,
    sums_of: Callable[[Array], Array],
    farthest: Callable[[Array, int], tuple[Array, Array, Array]],
    max_iter: int,
    tol: float,
    progress: Progress | None = None,
) -> tuple[Array, int, bool]:
    """Run rounds from the centroids `start` (k, d), wherever the points are.

    Args:
        start: where to begin.
        sums_of: returns the sums (k, d + 1) of weight · (x, 1) by nearest centroid.
        farthest: returns the points, weights and labels of so many that add most to the inertia.
        max_iter: rounds at most.
        tol: see `kmeans`.
        progress: see `kmeans`.

    Returns:
        Centroids (k, d) float64, the number of rounds, and whether they converged.
    """
    centroids, n_iter, converged = start.astype(np.float64), 0, False
    while n_iter < max_iter and not converged:
        n_iter += 1
        sums = sums_of(centroids)
        if np.count_nonzero(sums[:, -1]) < len(sums):
            empty = np.flatnonzero(sums[:, -1] == 0)
            _refill(sums, empty, *farthest(centroids, len(empty)))
        moved = _means(sums, centroids)
        centroids -= moved  # in place, and squared so: each new array took as long
        converged = float(np.square(centroids, out=centroids).sum()) <= tol
        centroids = moved
        if progress is not None:
            progress("k-means", n_iter / max_iter)
    return centroids, n_iter, converged


class _NaiveRounds:
    """Rounds in float64 by plain NumPy; empty `weights` count each point once."""

    def __init__(self, points: Array, weights: Array):
        self._points, self._weights = points, weights

    def sums(self, centroids: Array) -> Array:
        """Return the sums (k, d + 1) of weight · (x, 1) of the points nearest to each centroid."""
        return assigning.naive_assign_and_sum(self._points, self._weights, centroids)[0]

    def end(self, centroids: Array) -> tuple[Array, float]:
        """Return labels of the points and inertia."""
        return assigning.naive_assign_and_sum(self._points, self._weights, centroids)[1:]


def _means(sums: Array, centroids: Array) -> Array:
    """Return the weighted means, and the old centroid where a cluster has no weight."""
    weights = sums[:, -1:]
    if np.count_nonzero(weights) == len(weights):  # as nearly always
        return sums[:, :-1] / weights
    return np.divide(sums[:, :-1], weights, out=centroids.copy(), where=weights > 0)


def _refill(sums: Array, empty: Array, points: Array, weights: Array, labels: Array) -> None:
    """Move points (m, d) of the clusters `labels` to clusters that are empty, one to each, in the
    `sums` (k, d + 1) of weight · (x, 1)."""
    for place, point, weight, label in zip(empty, points, weights, labels, strict=False):
        share = np.append(point.astype(np.float64), 1.0) * weight
        sums[place] = share
        sums[label] -= share
        if sums[label, -1] <= 0:
            sums[label] = 0


def _farthest(
    points: Array, weights: Array, centroids: Array, count: int, n_threads: int
) -> tuple[Array, list[int]]:
    """Return the labels, and the places of up to `count` points that add most to the inertia, no
    two of them equal.

    Points that already lie on a centroid are no use: with fewer distinct points than centroids,
    there are not as many.
    """
    labels, distances = np.empty(len(points), np.int32), np.empty(len(points), points.dtype)
    assigning.nearest(points, centroids, n_threads, labels, distances)
    chosen: dict[tuple[float, ...], int] = {}
    for index in _farthest_first(distances * weights):
        if len(chosen) == count:
            break
        chosen.setdefault(tuple(points[index].tolist()), index)
    return labels, [*chosen.values()]


def _farthest_first(errors: Array) -> Iterator[int]:
    """Yield the indices of errors above 0, the largest first, ties to the lowest index.

    They are sorted a part at a time, because few are ever asked for.
    """
    n, count, done = len(errors), 0, 0
    while count < n:
        count = min(n, max(_SORTED_ERRORS, 32 * count))
        floor = np.partition(errors, n - count)[n - count]
        top = np.flatnonzero((errors >= floor) & (errors > 0))
        top = top[np.argsort(-errors[top], kind="stable")]
        yield from top[done:]
        done = len(top)
