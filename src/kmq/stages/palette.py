"""Histogram → palette: a search on coarse bins of the colours, then rounds on all of them.

Bins are cubes of colour space with the mean and weight of the colours in them. A few thousand of
them carry nearly all of the optimisation, so there it is cheap to go on past the first local
optimum: breathing k-means finds better palettes than the best of ten k-means++ starts, with no
random start at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kmq.model import ColorHistogram, Progress
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]
_MAX_ROUNDS = 1000
"""Rounds on all colours at most when only a tolerance is given."""

_MOMENTUM_ROUNDS = 100
"""Rounds after which momentum has done its part, and centroids may come to rest."""

_TOLERANCE = 1e-4
"""Tolerance where none is given: the one scikit-learn has."""

_MAX_CHUNKS = 16
"""Parts that the rounds on all colours are cut into: enough for threads to even out."""


@dataclass(frozen=True)
class Effort:
    """How long the search goes on.

    Attributes:
        bins: fewest bins, where there are so many colours.
        bins_per_color: fewest bins for each palette entry.
        breath: the search adds and drops k / breath centroids at first; 0 does not search.
        start_rounds: rounds on the bins from the start, at most.
        rounds: rounds on the bins after each change, at most.
        patience: share of the inertia that a round on the bins must gain for another to follow.
        final_rounds: rounds on all colours.
    """

    bins: int
    bins_per_color: int
    breath: int
    start_rounds: int
    rounds: int
    patience: float
    final_rounds: int


EFFORTS = {
    "fast": Effort(3072, 8, 0, 30, 0, 1e-3, 4),
    "balanced": Effort(4096, 16, 16, 60, 5, 1e-3, 10),
    "best": Effort(16384, 64, 4, 200, 20, 1e-4, 100),
}

_MOMENTUM = 0.6
"""Share of a centroid's last move that is added to the next: halves the rounds at k = 64 and 256.
Over-relaxation by 1.5 and 1.8 gained less, 0.8 overshoots."""


@dataclass(frozen=True)
class Fit:
    """Where the search ended: centroids (k, d) float64, rounds on all colours, whether settled."""

    centroids: Array
    n_iter: int
    converged: bool


@dataclass(frozen=True)
class _Points:
    """Weighted points in Morton order as the kernels want them.

    Attributes:
        columns: (d, n) float32.
        weights: (n,) float64.
        low: (blocks, d) float32, the least corner of each block's box.
        high: (blocks, d) float32, the other.
    """

    columns: Array
    weights: Array
    low: Array
    high: Array

    @property
    def channels(self) -> tuple[int, ...]:
        """A tuple as long as there are channels, for kernels to unroll their loops by."""
        return (0,) * len(self.columns)


def fit(
    histogram: ColorHistogram,
    keys: Array,
    k: int,
    effort: Effort,
    *,
    max_iter: int | None,
    tol: float | None,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Return up to `k` centroids for the colours, whose Morton keys are `keys` (m,).

    The rounds on all colours end after `max_iter`, or once they have settled to `tol` (the sum of
    the squared moves of all centroids, relative to the mean variance of the channels); None leaves
    either to `effort`.
    """
    colors = _points(_columns(histogram), histogram.counts.astype(np.float64))
    bins = _bins(histogram, keys, colors, max(effort.bins, effort.bins_per_color * k))
    centroids = _search(bins, k, effort)
    if progress is not None:
        progress("search", 1.0)
    if max_iter is None:
        max_iter = effort.final_rounds if tol is None else _MAX_ROUNDS
    limit = (_TOLERANCE if tol is None else tol) * _mean_variance(bins)
    return _settle(colors, centroids, max_iter, limit, n_threads, progress)


def assign(histogram: ColorHistogram, palette: Array, n_threads: int) -> tuple[Array, Array]:
    """Return the nearest entry of `palette` for each colour (int32), and the squared distance.

    Ties go to the lowest index.
    """
    from kmq.kernels.search import assign_blocks

    points = _points(_columns(histogram), np.empty(0))
    labels = np.empty(len(histogram.colors), np.int32)
    distances = np.empty(len(labels), np.float32)
    centroids = palette.astype(np.float64)
    parts = _parts(points)

    def work(part: int) -> None:
        assign_blocks(
            points.channels,
            points.columns,
            *parts[part],
            points.low,
            points.high,
            centroids,
            len(centroids),
            _buffers(points, len(centroids)),
            labels,
            distances,
        )

    run_chunks(work, len(parts), n_threads)
    return labels, distances


def _columns(histogram: ColorHistogram) -> Array:
    return np.ascontiguousarray(histogram.colors.T, dtype=np.float32)


def _points(columns: Array, weights: Array) -> _Points:
    from kmq.kernels.search import BLOCK, bound_blocks

    low = np.empty((-(-columns.shape[1] // BLOCK), len(columns)), np.float32)
    high = np.empty_like(low)
    bound_blocks(columns, low, high)
    return _Points(columns, weights, low, high)


def _bins(histogram: ColorHistogram, keys: Array, colors: _Points, enough: int) -> _Points:
    """Return the means and weights of the coarsest cubes that are `enough`, or the colours.

    Colours come in Morton order, so the cubes of side 2^level are runs of keys.
    """
    from kmq.kernels.histogram import count_differences, fill_cubes

    channels = histogram.pixel_format.channels
    differences = np.zeros(64, np.int64)
    count_differences(keys, differences)
    # How many cubes of side 2^level there are: keys that differ in a bit of that level or above.
    cubes = 1 + differences[::-1].cumsum()[::-1][::channels]
    level = int(np.flatnonzero(cubes >= min(enough, len(keys)))[-1])
    if level == 0:
        return colors
    columns = np.empty((channels, cubes[level]), np.float32)
    weights = np.empty(cubes[level])
    shift = keys.dtype.type(level * channels)
    fill_cubes(keys, shift, colors.columns, colors.weights, columns, weights)
    return _points(columns, weights)


def _search(points: _Points, k: int, effort: Effort) -> Array:
    """Return k centroids: split by variance, then breathe."""
    from kmq.kernels.search import BLOCK, breathe
    from kmq.kernels.start import split_by_variance

    d, n = points.columns.shape
    breath = min(k, max(1, k // effort.breath)) if effort.breath else 0
    rows = k + breath
    centroids = np.empty((rows, d))
    n_starts = split_by_variance(
        np.ascontiguousarray(points.columns.T),
        points.weights,
        np.arange(n),
        np.empty((k, 2), np.int64),
        np.empty(k, np.int64),
        np.empty(k),
        centroids[:k],
    )
    k = min(k, n_starts)
    total = float((points.weights * np.square(points.columns, dtype=np.float64)).sum())
    best = np.empty((k, d))
    breathe(
        points.channels,
        points.columns,
        points.weights,
        points.low,
        points.high,
        k,
        breath,
        effort.start_rounds,
        effort.rounds,
        effort.patience,
        total,
        _MOMENTUM,
        _buffers(points, rows),
        np.empty(BLOCK, np.float32),
        np.empty(n, np.int32),
        np.empty(rows),
        np.empty(rows),
        np.empty((rows, d)),
        np.empty((rows, d + 1)),
        np.empty(rows, np.int64),
        np.empty((rows, d + 1)),
        np.empty(rows, np.bool_),
        np.empty(rows, np.bool_),
        np.empty((rows, d)),
        centroids,
        best,
    )
    return best


def _mean_variance(points: _Points) -> float:
    total = points.weights.sum()
    means = points.columns @ points.weights / total
    return float((np.square(points.columns - means[:, None]) @ points.weights).mean() / total)


def _settle(
    points: _Points,
    start: Array,
    max_rounds: int,
    tol: float,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds on all points, with momentum until it overshoots or there is no time for it."""
    from kmq.kernels.search import move, sum_blocks

    centroids = start.copy()
    k, d = centroids.shape
    velocity = np.zeros((k, d))
    parts = _parts(points)
    sums = np.empty((len(parts), k, d + 1))
    buffers = [_buffers(points, k) for _ in parts]
    explained = -np.inf
    converged = False
    n_iter = 0

    def work(part: int) -> None:
        sum_blocks(
            points.channels,
            points.columns,
            points.weights,
            *parts[part],
            points.low,
            points.high,
            centroids,
            k,
            buffers[part],
            sums[part],
        )

    momentum = _MOMENTUM
    while n_iter < max_rounds and not converged:
        n_iter += 1
        if n_iter in (max_rounds, _MOMENTUM_ROUNDS):
            momentum = 0.0
        sums[:] = 0
        run_chunks(work, len(parts), n_threads)
        for other in sums[1:]:
            sums[0] += other
        before = centroids.copy()
        now = move(points.channels, sums[0], k, momentum, centroids, velocity)
        if now < explained:
            momentum = 0.0
        explained = now
        if progress is not None:
            progress("k-means", n_iter / max_rounds)
        converged = float(np.square(centroids - before).sum()) <= tol
    return Fit(centroids, n_iter, converged)


def _parts(points: _Points) -> list[tuple[int, int]]:
    """Return (first, last) blocks of parts of even size, which the input alone decides."""
    n_blocks = len(points.low)
    n_parts = max(1, min(_MAX_CHUNKS, n_blocks // 32))
    bounds = [n_blocks * part // n_parts for part in range(n_parts + 1)]
    return list(pairwise(bounds))


def _buffers(points: _Points, k: int) -> tuple[Array, ...]:
    """Return what the kernels choose, compare and label in."""
    from kmq.kernels.search import BLOCK, buffer_rows

    rows, d = buffer_rows(k), len(points.columns)
    return (
        np.empty((d, rows), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows, np.float32),
        np.empty((rows, d), np.float32),
        np.empty(rows, np.int32),
        np.empty(BLOCK, np.float32),
        np.empty(BLOCK, np.int32),
    )
