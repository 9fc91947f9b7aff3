"""The search for a palette: breathing k-means, plain k-means, and growth cluster by cluster.

Points to search on are mostly bins: cubes of colour space with the mean and weight of the colours
in them. A few thousand of them carry nearly all of the optimisation, so there it is cheap to go on
past the first local optimum: breathing k-means finds better palettes than the best of ten k-means++
starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette import breathing, starting
from kmq.stages.palette.effort import GROWTH, PAIRED_COLORS, SearchEffort, Stopping
from kmq.stages.palette.points import Points, Workspace, bins_of
from kmq.stages.palette.rounds import MOMENTUM, BlockLabelling, Fit, settle
from kmq.threads import run_chunks

_LEAST_BREATH = (2, 4)
"""Centroids added and dropped at first at least, for points of one kind and of two: with 2 there,
entries that ought to be of the other kind stay more often."""


def grow(points: Points, keys: Array, fixed: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, squared error per pixel) for k = 1, 2, 3 … and on in steps of a quarter.

    `keys` (n,) are the points' Morton keys. `fixed` (0 or 1, d) is a centroid that must be there,
    and stays as it is, from k = 2 on.

    One incremental pass: the clusters that gain most are cut in two, and a few rounds follow. It
    stops at `max_colors` or where no cluster can be cut. The error is that of the bins' own means
    and of the colours within the bins, a few per cent above what a search for that k finds.
    """
    from kmq.kernels.search import measure, release, split

    k, n_fixed = 1, 0
    centroids = (points.moments[0] / points.total_weight)[None]
    if points.n_opaque:
        centroids[0, -1] = points.opaque
    while True:
        n_new = min(max(1, k // 4), max_colors - k)
        bins = bins_of(points, keys, GROWTH.enough_bins(k + n_new))
        room = Workspace(bins, k + n_new)
        grown = np.empty((k + n_new, len(bins.columns)))
        grown[:k] = centroids
        inertia = measure(*bins.arguments, grown, k, *room.measured)
        if points.n_opaque and release(
            bins.channels, bins.columns, bins.n_opaque, k, n_fixed, *room.released, grown
        ):
            _lloyd(bins, room, k, n_fixed, grown)
            inertia = measure(*bins.arguments, grown, k, *room.measured)
        yield k, (inertia + points.squares - bins.squares) / points.total_weight
        added = 0
        if n_new > 0 and len(fixed) > n_fixed:
            added = n_fixed = 1
            grown[0], grown[1] = fixed[0], centroids[0]
        elif n_new > 0:
            added = split(
                bins.channels,
                bins.columns,
                bins.weights,
                bins.n_opaque,
                room.labels,
                k,
                n_fixed,
                n_new,
                *room.cut,
                grown,
            )
        if added == 0:
            return
        k += added
        _lloyd(bins, room, k, n_fixed, grown)
        centroids = grown[:k]


def _lloyd(bins: Points, room: Workspace, k: int, n_fixed: int, centroids: Array) -> None:
    """Run the rounds of `grow`."""
    from kmq.kernels.search import lloyd

    lloyd(
        *bins.arguments,
        k,
        n_fixed,
        GROWTH.rounds,
        GROWTH.patience,
        bins.squares,
        MOMENTUM,
        room.labels,
        room.buffers,
        room.sums,
        centroids,
        room.velocity,
    )


def search(
    points: Points,
    starts: Sequence[Callable[[], Array]],
    n_fixed: int,
    effort: SearchEffort,
    n_threads: int,
) -> Array:
    """Return the best centroids (k, d) float64 that breathing finds from the `starts`.

    Each is called for its (k, d) centroids. The first `n_fixed` centroids stay as they are.
    """
    results: list[tuple[float, Array]] = [(np.inf, np.empty((0, 0)))] * len(starts)

    def work(attempt: int) -> None:
        results[attempt] = _breathe(points, starts[attempt](), n_fixed, effort, n_threads)

    run_chunks(work, len(starts), n_threads)
    return min(results, key=lambda result: result[0])[1]


def plain(
    points: Points,
    k: int,
    init: str | Array,
    seeds: Sequence[int],
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run plain k-means from one start for each seed, or from `init` if it needs none; keep the
    best, as `starting.best_of` does."""
    if points.n_opaque:
        given = init if isinstance(init, str) else points.lifted(init)
        starts = starting.starts(points.rows, points.weights, k, given, seeds, n_threads)
        return best_settled(points, starts, stopping, n_threads, progress)
    clustered = starting.best_of(
        points.rows,
        points.weights,
        k,
        init,
        seeds=seeds,
        max_iter=stopping.max_rounds,
        tol=stopping.tol,
        n_threads=n_threads,
        progress=progress,
    )
    return Fit(clustered.centroids, clustered.n_iter, clustered.converged)


def best_settled(
    points: Points,
    starts: Iterator[Array],
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds from each of the `starts` (k, d) among `points.rows`, and return the best."""
    none = np.empty((0, len(points.columns)))
    fits = (
        settle(points, points.start(none, start), 0, stopping, n_threads, progress)
        for start in starts
    )
    return min(fits, key=lambda fit: _inertia_of(points, fit.centroids, n_threads))


def _inertia_of(points: Points, centroids: Array, n_threads: int) -> float:
    """Return Σ weight · squared distance to the nearest centroid that a point may have."""
    _, distances = assign(points, centroids, n_threads)
    return float((distances * points.weights).sum())


def assign(points: Points, centroids: Array, n_threads: int) -> tuple[Array, Array]:
    """Return the nearest of `centroids` (k, d) float64 that each point may have (int32), and its
    distance.

    Distances are squared, float32. Ties go to the lowest index.
    """
    labelling = BlockLabelling(points, len(centroids), n_threads)
    distances = np.empty(len(points.weights), np.float32)
    labelling.label(centroids, distances, distances[:0])
    return labelling.labels, distances


def are_used(labels: Array, k: int) -> Array:
    """Return (k,) bool: which of k centroids are the label of some point."""
    from kmq.kernels.search import find_used

    used = np.zeros(k, np.bool_)
    find_used(labels, used)
    return used


def _breathe(
    points: Points, start: Array, n_fixed: int, effort: SearchEffort, n_threads: int
) -> tuple[float, Array]:
    """Return the inertia and the centroids after breathing."""
    from kmq.kernels.search import breathe

    k, d = start.shape
    kind = len(points.kinds) - 1
    breaths = effort.breaths(k, len(points.weights), _LEAST_BREATH[kind])
    if k >= PAIRED_COLORS and not points.n_opaque:
        return breathing.breathe(points, start, n_fixed, effort, breaths, n_threads)
    room = Workspace(points, k + breaths.first)
    centroids = np.empty((k + breaths.first, d))
    centroids[:k] = start
    best = np.empty((k, d))
    inertia = breathe(
        *points.arguments,
        k,
        n_fixed,
        *breaths,
        effort.start_rounds,
        effort.rounds,
        effort.patience,
        points.squares,
        MOMENTUM,
        *room.measured,
        *room.cut[2:],
        room.velocity,
        centroids,
        best,
    )
    return inertia, best
