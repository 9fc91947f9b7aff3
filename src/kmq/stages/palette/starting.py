"""Where k-means starts, and the best of several starts.

Up to MOST_GREEDY centroids start by greedy k-means++, which goes through all points for each of
them. More start by k-means‖ (Bahmani et al. 2012, "Scalable k-means++"): several draws give a few
times as many points, weighted by the points that are nearest to them, and of these greedy k-means++
and some rounds make the start. That takes a fraction of the time, and a start is as good.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, get_args

import numpy as np

from kmq import exact
from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.stages.palette import draws
from kmq.stages.palette.assigning import nearest
from kmq.stages.palette.clustering import KMeansResult, kmeans
from kmq.stages.palette.moments import moments
from kmq.stages.palette.products import aligned
from kmq.threads import run_chunks

Init = Literal["k-means++", "k-means||", "random", "var-part"]
INITS: tuple[Init, ...] = get_args(Init)

MOST_GREEDY = 1000
"""Most centroids that "k-means++" chooses from all points; beyond, it is "k-means||"."""

DRAWS = 5
"""Times that k-means‖ draws: after five, its authors see no more gain."""

_OVERSAMPLING = 1
"""Points of a draw for each centroid: twice as many take twice as long for starts 2 to 10 % better,
and for the same inertia after ten rounds."""

_DRAWN_POINTS = 1 << 16
"""Points that are drawn from at a time."""

_POLISHING = 20
"""Rounds of k-means on the points drawn."""

_GREEDY_COLORS = 1024
"""Most centroids that k-means++ on the bins of a picture chooses greedily."""

_thread = threading.local()
"""A generator of each thread, which is seeded anew for each start."""

_SHARED_WORK = 1 << 20
"""Channels that a thread compares in a step of k-means++ at least: twice what waking it takes."""


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
        starts(points, weights, k, init, seeds, n_threads),
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
    limit = tol * moments(points, weights).variance() if tol else 0.0
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


def starts(
    points: Array, weights: Array, k: int, init: str | Array, seeds: Sequence[int], n_threads: int
) -> Iterator[Array]:
    """Yield a start (k, d) for each seed, or just one where none is needed.

    One at a time: there may be thousands, of many centroids.
    """
    for seed in _distinct_seeds(init, seeds):
        if isinstance(init, str):
            yield start_centroids(points, weights, k, init, seed, n_threads)
        else:
            yield init


def start_centroids(
    points: Array, weights: Array, k: int, init: str, seed: int, n_threads: int = 1
) -> Array:
    """Return k starting centroids (k, d) float64 by the method `init`, one of INITS."""
    if init == "random":
        return _random_start(points, weights, k, seed)
    if init == "var-part":
        return _split_start(points, weights, k)
    if init == "k-means||" or k > MOST_GREEDY:
        return _oversampled_start(points, weights, k, seed, n_threads)
    return plus_plus(points, weights, k, seed, n_threads)


def _random_start(points: Array, weights: Array, k: int, seed: int) -> Array:
    """Choose k points, each next one with probability in proportion to its weight."""
    random = np.random.RandomState(seed)
    shares = weights / weights.sum()
    heavy = int(np.count_nonzero(shares))
    chosen = random.choice(len(points), min(k, heavy), replace=False, p=shares)
    return points[np.resize(chosen, k)].astype(np.float64)


def _oversampled_start(points: Array, weights: Array, k: int, seed: int, n_threads: int) -> Array:
    n = len(points)
    parts = [slice(at, at + _DRAWN_POINTS) for at in range(0, n, _DRAWN_POINTS)]
    labels, new_labels = np.zeros((2, n), np.int32)
    distances, new_distances = np.ones((2, n), points.dtype)
    drawn = points[:0]
    for draw in range(DRAWS):
        new = _drawn(points, weights, distances, parts, _OVERSAMPLING * k, (seed, draw), n_threads)
        if len(new) == 0:
            break
        nearest(points, new.astype(np.float64), n_threads, new_labels, new_distances)
        nearer = new_distances < distances if draw else np.ones(n, bool)
        np.copyto(distances, new_distances, where=nearer)
        np.copyto(labels, new_labels + np.int32(len(drawn)), where=nearer)
        drawn = np.concatenate([drawn, new])
    shares = np.bincount(labels, weights, len(drawn))
    return reduced(drawn, shares, k, seed, n_threads)


def _drawn(
    points: Array,
    weights: Array,
    values: Array,
    parts: list[slice],
    count: int,
    seed: tuple[int, int],
    n_threads: int,
) -> Array:
    """Draw from parts of the points: so many with probability in proportion to weight · value."""
    chosen = [draws.chosen(points[:0], weights[:0], values[:0])] * len(parts)

    def work(number: int) -> None:
        part = parts[number]
        chosen[number] = draws.drawn(
            points[part], weights[part], values[part], count, (*seed, number)
        )

    run_chunks(work, len(parts), n_threads)
    return draws.largest(draws.joined(chosen), count).points


def reduced(points: Array, weights: Array, k: int, seed: int, n_threads: int) -> Array:
    """Return k starting centroids (k, d) float64 for all points, by those that k-means‖ drew.

    `weights` are those of the points that are nearest to each. Where fewer than k have any, they
    are repeated.
    """
    points, weights = points[weights > 0], weights[weights > 0]
    if len(points) < k:
        return np.resize(points, (k, points.shape[1])).astype(np.float64)
    start = plus_plus(points, weights, k, seed, n_threads, most_greedy=k)
    return kmeans(
        points, weights, start, max_iter=_POLISHING, tol=0.0, n_threads=n_threads
    ).centroids


def plus_plus(
    points: Array,
    weights: Array,
    k: int,
    seed: int,
    n_threads: int,
    most_greedy: int = _GREEDY_COLORS,
) -> Array:
    """Return k of the points (k, d), as float64, by k-means++, greedy up to `most_greedy`."""
    from kmq.kernels.start import compare, kmeans_plus_plus, propose

    # As many trials as scikit-learn takes, for the same quality of start; the more centroids there
    # are, the less one of them matters and the more a trial costs.
    trials = 2 + int(exact.log2_of(k) / exact.LOG2_OF_E) if k <= most_greedy else 1
    d = points.shape[1]
    tiled = _tiled(points, weights)
    buffers, chosen = _buffers(tiled, d, trials, points.dtype), np.empty(k, np.int64)
    state, potentials, _, _, groups = buffers
    uniforms = _uniforms(seed, k, trials)
    n_blocks = len(potentials)
    n_shares = min(n_threads, len(points) * d * trials // _SHARED_WORK, n_blocks)
    if n_shares < 2:
        kmeans_plus_plus(d, tiled, uniforms, *buffers, chosen)
        return points[chosen].astype(np.float64)
    bounds = [n_blocks * share // n_shares for share in range(n_shares + 1)]
    states = [(*state[:2], np.empty_like(state[2])) for _ in range(n_shares)]
    for step in range(-1, k + 1):
        if step >= 0:
            propose(d, step, tiled, uniforms, *buffers, chosen)
        if step < k:
            is_chosen = step < 1 or trials == 1
            counts = step + is_chosen, 0 if is_chosen else trials

            def work(share: int, counts: tuple[int, int] = counts) -> None:
                part = bounds[share], bounds[share + 1]
                compare(d, *part, *counts, tiled, chosen, groups, states[share], potentials)

            run_chunks(work, n_shares, n_threads)
    return points[chosen].astype(np.float64)


def _tiled(points: Array, weights: Array) -> tuple[Array, Array]:
    """Return points as tiles (tiles, d, lanes), flat, and their weights, filled up with 0."""
    from kmq.kernels._lanes import LANE_BYTES
    from kmq.kernels.start import SUMS

    n, d = points.shape
    lanes = LANE_BYTES // points.dtype.itemsize
    size = max(lanes, len(SUMS))
    padded = -(-n // size) * size
    tiles, all_weights = aligned(padded * d, points.dtype), np.zeros(padded)
    views = tiles.reshape(-1, d, lanes)
    whole = n // lanes
    views[:whole] = points[: whole * lanes].reshape(-1, lanes, d).transpose(0, 2, 1)
    views[whole:] = points[-1][:, None]  # no new point, which could overflow where none does
    if whole < len(views):
        views[whole, :, : n - whole * lanes] = points[whole * lanes :].T
    all_weights[:n] = weights
    return tiles, all_weights


def _buffers(
    tiled: tuple[Array, Array], d: int, trials: int, dtype: np.dtype[Any]
) -> tuple[Any, ...]:
    """Return the scratch of `kmq.kernels.start.kmeans_plus_plus`."""
    from kmq.kernels._rows import GROUP
    from kmq.kernels.start import BLOCK

    n = len(tiled[1])
    n_blocks, n_groups = -(-n // BLOCK), -(-trials // GROUP)
    distances = np.empty(n_groups * GROUP * BLOCK, dtype)
    return (
        (np.ones(n, dtype), np.zeros(n_blocks, np.int64), distances),
        np.empty((n_blocks, trials)),
        (np.empty(n_blocks), np.empty(BLOCK)),
        np.empty(trials, np.int64),
        np.full(n_groups * GROUP * d, np.inf, dtype),
    )


@lru_cache(maxsize=8)
def _uniforms(seed: int, k: int, trials: int) -> Array:
    """Return numbers (k, trials) in [0, 1); a generator takes longer to make than a small start."""
    if not hasattr(_thread, "random"):
        _thread.random = np.random.RandomState()
    _thread.random.seed(seed)
    uniforms: Array = _thread.random.random_sample((k, trials))
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


def _distinct_seeds(init: str | Array, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seeds that make starts of their own."""
    return seeds if isinstance(init, str) and init != "var-part" else seeds[:1]


def _share(progress: Progress | None, attempt: int, n_attempts: int) -> Progress | None:
    """Return a progress that fills the attempt's share of the whole."""
    if progress is None or n_attempts == 1:
        return progress
    return lambda stage, fraction: progress(stage, (attempt + fraction) / n_attempts)
