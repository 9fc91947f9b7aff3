"""k-means on weighted points (n, d), float32 or float64: starts, Lloyd's rounds, final labels.

The steps are those of Lloyd (1982): assign each point to its nearest centroid, move each centroid
to the weighted mean of its points, until no centroid moves. Work is cut into chunks that depend on
the number of points alone, and their sums are added in chunk order, so the result does not depend
on the number of threads; sums of whole numbers below 2^53 are exact besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Literal, get_args

import numpy as np

from kmq import exact
from kmq.model.arrays import Array, EqualByFields
from kmq.model.choices import Progress
from kmq.stages.palette import differences, grid, products
from kmq.stages.palette.bounded import Rounds
from kmq.threads import run_chunks

Init = Literal["k-means++", "random", "var-part"]
INITS: tuple[Init, ...] = get_args(Init)

Algorithm = Literal["lloyd", "naive"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
"""The rounds by the fast kernels, and by plain NumPy, to check the others by."""

MAX_STARTS, MAX_ROUNDS = 10_000, 1_000_000
"""Starts, and rounds from each, that callers may ask for at most."""

DEFAULT_ROUNDS, DEFAULT_TOLERANCE = 300, 1e-4
"""When rounds end unless callers say so: as in scikit-learn."""

_CHUNK_WORK = 1 << 23
"""Channels compared in a chunk at least: about 0.1 ms of work."""

_POINT_WORK = 64
"""What a point costs besides, in channels compared."""

_CHUNK_POINTS = 512
"""Points of a chunk at least, so that adding its sums to the others costs little."""

_MOST_CHUNKS = 64

_SORTED_ERRORS = 1024
"""Points sorted by error at first, to refill empty clusters from."""

_NO_WEIGHTS = np.empty(0)
_NO_LABELS = np.empty(0, np.int32)
_NO_SUMS = np.empty((0, 0))

_GREEDY_COLORS = 1024
"""Most centroids that k-means++ chooses greedily, among several trials each."""

_SUM_BUDGET = 1 << 22
"""Numbers in the sums of all chunks together at most (32 MiB), so that a large k has few chunks."""


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


def nearest(
    points: Array, centroids: Array, n_threads: int, out_labels: Array, out_distances: Array
) -> None:
    """Write the label of each point and, unless `out_distances` is empty, its squared distance."""
    _assign(points, _NO_WEIGHTS, centroids, n_threads, out_labels, out_distances, _NO_SUMS)


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
    assign_and_sum = _naive_assign_and_sum if algorithm == "naive" else _assign_and_sum
    counted = weights if (weights != 1).any() else _NO_WEIGHTS

    def plain(centroids: Array) -> Array:
        return assign_and_sum(points, counted, centroids, _NO_LABELS, n_threads)[0]

    rounds = None
    if algorithm == "lloyd":
        parts = _parts(points, len(start))
        rounds = Rounds(points, counted, len(start), parts, n_threads, plain, max_iter)

    def farthest(centroids: Array, count: int) -> tuple[Array, Array, Array]:
        labels, chosen = _farthest(points, weights, centroids, count, n_threads)
        return points[chosen], weights[chosen], labels[chosen]

    sums_of = rounds.sums if rounds else plain
    centroids, n_iter, converged = lloyd(start, sums_of, farthest, max_iter, tol, progress)
    ended = rounds.end(centroids) if rounds else None
    if ended:
        labels, inertia = ended
    else:
        labels = np.empty(len(points), np.int32)
        _, inertia = assign_and_sum(points, counted, centroids, labels, n_threads)
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
        empty = np.flatnonzero(sums[:, -1] == 0)
        if len(empty):
            _refill(sums, empty, *farthest(centroids, len(empty)))
        moved = _means(sums, centroids)
        converged = float(np.square(moved - centroids).sum()) <= tol
        centroids = moved
        if progress is not None:
            progress("k-means", n_iter / max_iter)
    return centroids, n_iter, converged


def best_of(
    points: Array,
    weights: Array,
    k: int,
    init: str | Array,
    *,
    seeds: Sequence[int],
    max_iter: int,
    tol: float,
    n_threads: int,
    progress: Progress | None = None,
    algorithm: str = "lloyd",
) -> KMeansResult:
    """Run k-means from one start for each seed, or from `init` if it needs none; keep the best.

    `tol` is relative here: to the mean variance of the channels.
    """
    fits = fits_from(
        points,
        weights,
        starts(points, weights, k, init, seeds),
        len(_distinct_seeds(init, seeds)),
        max_iter=max_iter,
        tol=tol,
        n_threads=n_threads,
        progress=progress,
        algorithm=algorithm,
    )
    return min(fits, key=attrgetter("inertia"))


def fits_from(
    points: Array,
    weights: Array,
    starts: Iterable[Array],
    n_starts: int,
    *,
    max_iter: int,
    tol: float,
    n_threads: int,
    progress: Progress | None = None,
    algorithm: str = "lloyd",
) -> Iterator[KMeansResult]:
    """Yield where k-means ends from each of the starts (k, d); `tol` is as for `best_of`."""
    limit = tol * mean_variance(points, weights) if tol else 0.0
    for attempt, start in enumerate(starts):
        yield kmeans(
            points,
            weights,
            start,
            max_iter=max_iter,
            tol=limit,
            n_threads=n_threads,
            progress=_share(progress, attempt, n_starts),
            algorithm=algorithm,
        )


def accumulate(points: Array, labels: Array, weights: Array, k: int, n_threads: int) -> Array:
    """Return the sums (k, d + 1) of weight · (x, 1) by label; empty weights are all 1."""
    from kmq.kernels.nearest import accumulate as add

    d = points.shape[1]
    n_chunks = _n_chunks(len(points), d, k * (d + 1))
    size = -(-len(points) // n_chunks)
    channels = differences.channels_of(d)
    sums = np.zeros((n_chunks, k, d + 1))

    def work(chunk: int) -> None:
        part = slice(chunk * size, (chunk + 1) * size)
        flat_sums = sums[chunk].reshape(-1)
        add(channels, d, points[part].reshape(-1), labels[part], weights[part], flat_sums)

    run_chunks(work, n_chunks, n_threads)
    return exact.added(sums)


def starts(
    points: Array, weights: Array, k: int, init: str | Array, seeds: Sequence[int]
) -> Iterator[Array]:
    """Yield a start (k, d) for each seed, or just one where none is needed.

    One at a time: there may be thousands, of many centroids.
    """
    for seed in _distinct_seeds(init, seeds):
        yield start_centroids(points, weights, k, init, seed) if isinstance(init, str) else init


def _distinct_seeds(init: str | Array, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seeds that make starts of their own."""
    return seeds if isinstance(init, str) and init != "var-part" else seeds[:1]


def start_centroids(points: Array, weights: Array, k: int, init: str, seed: int) -> Array:
    """Return k starting centroids (k, d) float64 by the method `init`, one of INITS."""
    if init == "random":
        return _random_start(points, weights, k, seed)
    if init == "var-part":
        return _split_start(points, weights, k)
    return _plus_plus_start(points, weights, k, seed)


def mean_variance(points: Array, weights: Array) -> float:
    """Return the weighted variance of each channel, averaged over the channels."""
    # Sums, not matrix products: those of a BLAS depend on the machine.
    # All in one type: NumPy converts within an operation by buffers, and dies where there is no
    # memory for those.
    points, total, column = points.astype(np.float64, copy=False), weights.sum(), weights[:, None]
    mean = (column * points).sum(axis=0) / total
    return float((column * np.square(points - mean)).sum(axis=0).mean() / total)


def _random_start(points: Array, weights: Array, k: int, seed: int) -> Array:
    """Choose k points, each next one with probability in proportion to its weight."""
    random = np.random.RandomState(seed)
    shares = weights / weights.sum()
    heavy = int(np.count_nonzero(shares))
    chosen = random.choice(len(points), min(k, heavy), replace=False, p=shares)
    return points[np.resize(chosen, k)].astype(np.float64)


def _plus_plus_start(points: Array, weights: Array, k: int, seed: int) -> Array:
    from kmq.kernels.start import LANES, kmeans_plus_plus

    n = len(points)
    # As many trials as scikit-learn takes, for the same quality of start; the more centroids there
    # are, the less one of them matters and the more a trial costs.
    trials = 2 + int(exact.log2_of(k) / exact.LOG2_OF_E) if k <= _GREEDY_COLORS else 1
    uniforms = _uniforms(seed, k, trials)
    columns = np.ascontiguousarray(points.T)
    chosen = np.empty(k, np.int64)
    kmeans_plus_plus(
        columns,
        weights,
        uniforms,
        np.empty(LANES),
        np.empty(n),
        *(np.empty(n, points.dtype) for _ in range(3)),
        chosen,
    )
    return points[chosen].astype(np.float64)


@lru_cache(maxsize=8)
def _uniforms(seed: int, k: int, trials: int) -> Array:
    """Return numbers (k, trials) in [0, 1); a generator takes longer to make than a small start."""
    uniforms = np.random.RandomState(seed).random_sample((k, trials))
    uniforms.flags.writeable = False
    return uniforms


def _split_start(points: Array, weights: Array, k: int) -> Array:
    from kmq.kernels.start import split_by_variance

    means = np.empty((k, points.shape[1]))
    count = split_by_variance(
        points,
        weights,
        np.arange(len(points)),
        np.empty((k, 2), np.int64),
        *np.empty((2, k), np.int64),
        np.empty(k),
        means,
    )
    means[count:] = means[0]
    return means


def _assign_and_sum(
    points: Array, weights: Array, centroids: Array, out_labels: Array, n_threads: int
) -> tuple[Array, float]:
    """Return the sums (k, d + 1) of weight · (x, 1) by label.

    Unless `out_labels` is empty, write labels and return the inertia too.
    """
    k, d = centroids.shape
    sums = np.empty((len(_parts(points, k)), k, d + 1))
    inertia = _assign(
        points, weights, centroids, n_threads, out_labels, np.empty(0, points.dtype), sums
    )
    return exact.added(sums), inertia


def _assign(
    points: Array,
    weights: Array,
    centroids: Array,
    n_threads: int,
    out_labels: Array,
    out_distances: Array,
    out_sums: Array,
) -> float:
    """Run the kernel over chunks of the points, each with its own one of `out_sums`."""
    parts = _parts(points, len(centroids))
    assign = _assigner(points, centroids)
    inertias = [0.0] * len(parts)

    def work(chunk: int) -> None:
        part = parts[chunk]
        sums = out_sums[chunk] if len(out_sums) else _NO_SUMS
        sums.fill(0)
        inertias[chunk] = assign(
            points[part].reshape(-1),
            weights[part],
            out_labels[part],
            out_distances[part],
            sums.reshape(-1),
        )

    run_chunks(work, len(parts), n_threads)
    return sum(inertias)


def _assigner(points: Array, centroids: Array) -> Callable[..., float]:
    """Return the kernel that is fastest for these points and centroids, to call with points and
    weights, and with labels, distances and sums to write."""
    from kmq.kernels.grid import assign_by_grid
    from kmq.kernels.nearest import assign, assign_by_products

    (k, d), dtype = centroids.shape, points.dtype
    made_grid = grid.grid_of(points, centroids)
    if made_grid is not None:
        channels, shift, *cells = made_grid

        def by_grid(points: Array, weights: Array, *out: Array) -> float:
            scratch = grid.scratch_of(dtype)
            return float(assign_by_grid(channels, shift, points, weights, *cells, scratch, *out))

        return by_grid
    if products.are_faster(k, d, dtype):
        made = products.products_of(centroids, dtype)

        def by_products(points: Array, weights: Array, *out: Array) -> float:
            scratch = products.scratch_of(made, dtype)
            return float(assign_by_products(d, points, weights, *made, scratch, *out))

        return by_products
    groups, channels = differences.grouped(centroids, dtype), differences.channels_of(d)

    def by_differences(points: Array, weights: Array, *out: Array) -> float:
        return float(
            assign(channels, d, points, weights, groups, *differences.scratch_of(d, dtype), *out)
        )

    return by_differences


def _naive_assign_and_sum(
    points: Array, weights: Array, centroids: Array, out_labels: Array, n_threads: int
) -> tuple[Array, float]:
    """Do as `_assign_and_sum` in float64, one centroid after another, on one thread."""
    least, labels = np.full(len(points), np.inf), np.zeros(len(points), np.int32)
    for label, centroid in enumerate(centroids.astype(points.dtype).astype(np.float64)):
        distances = np.square(points - centroid).sum(axis=1)
        nearer = distances < least
        least[nearer] = distances[nearer]
        labels[nearer] = label
    if out_labels.size:
        out_labels[:] = labels
    weights = weights if weights.size else np.ones(len(points))
    columns = [*(weights * channel for channel in points.T), weights]
    sums = np.array([np.bincount(labels, column, len(centroids)) for column in columns]).T
    return sums, float((weights * least).sum())


def _parts(points: Array, k: int) -> list[slice]:
    """Return the chunks that the points are cut into for rounds."""
    n, d = points.shape
    n_chunks = _n_chunks(n, k * d, k * (d + 1))
    size = -(-n // n_chunks)
    return [slice(chunk * size, (chunk + 1) * size) for chunk in range(n_chunks)]


def _share(progress: Progress | None, attempt: int, n_attempts: int) -> Progress | None:
    """Return a progress that fills the attempt's share of the whole."""
    if progress is None or n_attempts == 1:
        return progress
    return lambda stage, fraction: progress(stage, (attempt + fraction) / n_attempts)


def _means(sums: Array, centroids: Array) -> Array:
    """Return the weighted means, and the old centroid where a cluster has no weight."""
    weights = sums[:, -1:]
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
    nearest(points, centroids, n_threads, labels, distances)
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


def _n_chunks(n_points: int, compared: int, summed: int) -> int:
    """Return how many chunks to cut points into: each is compared with so many channels of
    centroids, and each chunk has so many numbers in its sums."""
    work = n_points * (compared + _POINT_WORK)
    enough = min(_MOST_CHUNKS, work // _CHUNK_WORK, n_points // _CHUNK_POINTS)
    return max(1, min(enough, _SUM_BUDGET // summed))
