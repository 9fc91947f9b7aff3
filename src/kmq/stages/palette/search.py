"""Histogram → palette: a search on coarse bins of the colours, then rounds on all of them.

Bins are cubes of colour space with the mean and weight of the colours in them. A few thousand of
them carry nearly all of the optimisation, so there it is cheap to go on past the first local
optimum: breathing k-means finds better palettes than the best of ten k-means++ starts, with no
random start at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kmq.lazily import computed_once
from kmq.model.choices import Progress
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]
_MAX_ROUNDS = 1000
"""Rounds on all colours at most when only a tolerance is given."""

MOMENTUM_ROUNDS = 100
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
        starts: starts that are searched from; the best result is kept.
        breath: the search adds and drops k / breath centroids at first; with 0, none.
        start_rounds: rounds on the bins from the start, at most.
        rounds: rounds on the bins after each change, at most.
        patience: share of the inertia that a round on the bins must gain for another to follow.
        final_rounds: rounds on all colours for 256 centroids, unless the caller says so.
    """

    bins: int
    bins_per_color: int
    starts: int
    breath: int
    start_rounds: int
    rounds: int
    patience: float
    final_rounds: int

    def enough_bins(self, k: int) -> int:
        """Return the fewest bins to search for k colours on."""
        return max(self.bins, self.bins_per_color * k)

    def enough_rounds(self, k: int) -> int:
        """Return the most rounds on all colours: half as many for a quarter of the centroids, which
        are as near to rest after those."""
        return math.ceil(self.final_rounds * min(1, math.sqrt(k / 256)))


EFFORTS = {
    "fast": Effort(3072, 16, 1, 16, 20, 3, 2e-3, 5),
    "balanced": Effort(4096, 16, 1, 16, 60, 5, 1e-3, 10),
    "best": Effort(16384, 64, 8, 8, 60, 10, 3e-4, 200),
}

GROWTH = Effort(4096, 64, 1, 16, 60, 5, 1e-3, 0)
"""How `grow` bins and settles: with 16 bins a colour it would be 12 % off at k = 256, not 3 %."""

_COLOR_BLOCK, _BIN_BLOCK = 256, 128
"""Points whose box is bounded at once. Smaller blocks make smaller boxes, which counts more among
bins, since they lie farther apart; but each block has its centroids to choose."""

MOMENTUM = 0.6
"""Share of a centroid's last move that is added to the next: halves the rounds at k = 64 and 256.
Over-relaxation by 1.5 and 1.8 gained less, 0.8 overshoots."""


@dataclass(frozen=True)
class Fit:
    """Where the search ended: centroids (k, d) float64, rounds on all colours, whether settled.

    `opaque` (k,) bool says which centroids are for opaque colours, where that was settled.
    """

    centroids: Array
    n_iter: int
    converged: bool
    opaque: Array | None = None


@dataclass(frozen=True)
class Points:
    """Weighted points in Morton order as the kernels want them.

    Attributes:
        columns: (d, n) float32.
        weights: (n,) float64.
        block: points of a block.
        low: (blocks, d) float32, the least corner of each block's box.
        high: (blocks, d) float32, the other.
    """

    columns: Array
    weights: Array
    block: int
    low: Array
    high: Array

    @property
    def channels(self) -> tuple[int, ...]:
        """A tuple as long as there are channels, for kernels to unroll their loops by."""
        return (0,) * len(self.columns)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What most kernels take first."""
        return self.channels, self.columns, self.weights, self.low, self.high

    @computed_once
    def total_weight(self) -> float:
        """Σ weight."""
        return float(self.weights.sum())

    @computed_once
    def moments(self) -> tuple[Array, Array]:
        """Σ weight · x and Σ weight · x² of each channel."""
        from kmq.kernels.search import LANES, moments

        sums, squares = np.empty(len(self.columns)), np.empty(len(self.columns))
        moments(self.columns, self.weights, np.empty((2, LANES)), sums, squares)
        return sums, squares

    @property
    def squares(self) -> float:
        """Σ weight · |x|²."""
        return float(self.moments[1].sum())

    @property
    def mean_variance(self) -> float:
        """The variance of each channel, averaged over the channels."""
        sums, squares = self.moments
        return float((squares / self.total_weight - (sums / self.total_weight) ** 2).mean())


def points_of(columns: Array, weights: Array) -> Points:
    """Return colours, in Morton order, as points: columns (d, m) float32, weights (m,) float64."""
    return _points(columns, weights, _COLOR_BLOCK)


def bins_of(points: Points, keys: Array, enough: int) -> Points:
    """Return the means and weights of the coarsest boxes of colours that are enough.

    The points are in the order of their Morton keys `keys` (m,), so a box, all colours whose keys
    agree but for so many bits, is a run of them. Boxes are cubes, or two or more of them side by
    side. If there are no more than `enough` points, they are returned as they are.
    """
    from kmq.kernels.histogram import fill_boxes

    n_bits, n_boxes = _coarsest(keys, enough)
    if n_bits == 0:
        return points
    columns = np.empty((len(points.columns), n_boxes), np.float32)
    weights = np.empty(n_boxes)
    shift = keys.dtype.type(n_bits)
    fill_boxes(keys, shift, points.columns, points.weights, columns, weights)
    return _points(columns, weights, _BIN_BLOCK)


def boxes_of(keys: Array, enough: int) -> Array:
    """Return in which of the coarsest boxes that are enough each colour is: (m,) int32, from 0."""
    n_bits, _ = _coarsest(keys, enough)
    boxes = keys >> keys.dtype.type(n_bits)
    numbers = np.zeros(len(keys), np.int32)
    np.cumsum(boxes[1:] != boxes[:-1], out=numbers[1:])
    return numbers


def _coarsest(keys: Array, enough: int) -> tuple[int, int]:
    """Return how many bits of the keys to leave out for the coarsest boxes that are enough, and how
    many boxes there are then."""
    from kmq.kernels.histogram import count_differences

    differences = np.zeros(64, np.int64)
    count_differences(keys, differences)
    # How many boxes there are when so many bits are left out: keys that differ in another.
    n_boxes = 1 + differences[::-1].cumsum()[::-1]
    n_bits = int(np.flatnonzero(n_boxes >= min(enough, len(keys)))[-1])
    return n_bits, int(n_boxes[n_bits])


def grow(points: Points, keys: Array, fixed: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, squared error per pixel) for k = 1, 2, 3 … and on in steps of a quarter.

    `fixed` (0 or 1, d) is a centroid that must be there, and stays as it is, from k = 2 on.

    One incremental pass: the clusters that gain most are cut in two, and a few rounds follow. It
    stops at `max_colors` or where no cluster can be cut. The error is that of the bins' own means
    and of the colours within the bins, a few per cent above what a search for that k finds.
    """
    from kmq.kernels.search import lloyd, measure, split

    k, n_fixed = 1, 0
    centroids = (points.moments[0] / points.total_weight)[None]
    while True:
        n_new = min(max(1, k // 4), max_colors - k)
        bins = bins_of(points, keys, GROWTH.enough_bins(k + n_new))
        room = Workspace(bins, k + n_new)
        grown = np.empty((k + n_new, len(bins.columns)))
        grown[:k] = centroids
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
        lloyd(
            *bins.arguments,
            k,
            n_fixed,
            GROWTH.rounds,
            GROWTH.patience,
            bins.squares,
            MOMENTUM,
            room.buffers,
            room.sums,
            grown,
            room.velocity,
        )
        centroids = grown[:k]


def search(
    points: Points, starts: list[Array], n_fixed: int, effort: Effort, n_threads: int
) -> Array:
    """Return the best centroids (k, d) float64 that breathing finds from the `starts` (k, d).

    The first `n_fixed` of each start stay as they are.
    """
    results: list[tuple[float, Array]] = [(np.inf, starts[0])] * len(starts)

    def work(attempt: int) -> None:
        results[attempt] = _breathe(points, starts[attempt], n_fixed, effort)

    run_chunks(work, len(starts), n_threads)
    return min(results, key=lambda result: result[0])[1]


@dataclass(frozen=True)
class Stopping:
    """When rounds on all points end: after `max_rounds`, or once the squared moves of all centroids
    sum to at most `tol` × the mean variance of the channels."""

    max_rounds: int
    tol: float

    @classmethod
    def of(cls, max_iter: int | None, tol: float | None, effort: Effort, k: int) -> Stopping:
        """Take what the caller says; None leaves it to `effort`."""
        if max_iter is None:
            max_iter = effort.enough_rounds(k) if tol is None else _MAX_ROUNDS
        return cls(max_iter, _TOLERANCE if tol is None else tol)


def settle(
    points: Points,
    start: Array,
    n_fixed: int,
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds on all points from `start` (k, d), the first `n_fixed` of which stay as they are.

    They have momentum until it overshoots or there is no time for it.
    """
    from kmq.kernels.search import move, sum_blocks

    centroids = start.copy()
    k, d = centroids.shape
    velocity = np.zeros((k, d))
    parts = parts_of(points)
    sums = np.empty((len(parts), k, d + 1))
    buffers = [buffers_of(points, k) for _ in parts]
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

    max_rounds, limit = stopping.max_rounds, stopping.tol * points.mean_variance
    momentum = MOMENTUM
    while n_iter < max_rounds and not converged:
        n_iter += 1
        if n_iter in (max_rounds, MOMENTUM_ROUNDS):
            momentum = 0.0
        sums[:] = 0
        run_chunks(work, len(parts), n_threads)
        for other in sums[1:]:
            sums[0] += other
        before = centroids.copy()
        now = move(points.channels, sums[0], k, n_fixed, momentum, centroids, velocity)
        if now < explained:
            momentum = 0.0
        explained = now
        if progress is not None:
            progress("k-means", n_iter / max_rounds)
        converged = float(np.square(centroids - before).sum()) <= limit
    return Fit(centroids, n_iter, converged)


def assign(points: Points, centroids: Array, n_threads: int) -> tuple[Array, Array]:
    """Return the nearest of `centroids` (k, d) float64 for each point (int32), and its distance.

    Distances are squared, float32. Ties go to the lowest index.
    """
    from kmq.kernels.search import assign_blocks

    labels = np.empty(points.columns.shape[1], np.int32)
    distances = np.empty(len(labels), np.float32)
    parts = parts_of(points)

    def work(part: int) -> None:
        assign_blocks(
            points.channels,
            points.columns,
            *parts[part],
            points.low,
            points.high,
            centroids,
            len(centroids),
            buffers_of(points, len(centroids)),
            labels,
            distances,
        )

    run_chunks(work, len(parts), n_threads)
    return labels, distances


def _points(columns: Array, weights: Array, block: int) -> Points:
    from kmq.kernels.search import bound_blocks

    low = np.empty((-(-columns.shape[1] // block), len(columns)), np.float32)
    high = np.empty_like(low)
    bound_blocks(columns, block, low, high)
    return Points(columns, weights, block, low, high)


def _breathe(points: Points, start: Array, n_fixed: int, effort: Effort) -> tuple[float, Array]:
    """Return the inertia and the centroids after breathing from `start`."""
    from kmq.kernels.search import breathe

    k, d = start.shape
    breath = max(2, k // effort.breath) if effort.breath else 0
    room = Workspace(points, k + breath)
    centroids = np.empty((k + breath, d))
    centroids[:k] = start
    best = np.empty((k, d))
    inertia = breathe(
        *points.arguments,
        k,
        n_fixed,
        breath,
        effort.start_rounds,
        effort.rounds,
        effort.patience,
        points.squares,
        MOMENTUM,
        *room.measured,
        *room.cut[2:],
        np.empty(k + breath, np.bool_),
        np.empty(k + breath, np.bool_),
        room.velocity,
        centroids,
        best,
    )
    return inertia, best


class Workspace:
    """What the kernels measure and cut up to `rows` clusters of `points` in."""

    def __init__(self, points: Points, rows: int):
        d = len(points.columns)
        self.buffers = buffers_of(points, rows)
        self.labels = np.empty(len(points.weights), np.int32)
        self.sums = np.empty((rows, d + 1))
        self.velocity = np.empty((rows, d))
        squares = np.empty((rows, d))
        seconds, losses = np.empty(points.block, np.float32), np.empty(rows)
        self.measured = (self.buffers, seconds, self.labels, losses, squares, self.sums)
        axes, halves, gains = np.empty(rows, np.int64), np.empty((rows, d + 1)), np.empty(rows)
        self.cut = (squares, self.sums, axes, halves, gains)


def parts_of(points: Points) -> list[tuple[int, int]]:
    """Return (first, last) blocks of parts of even size, which the input alone decides."""
    n_blocks = len(points.low)
    n_parts = max(1, min(_MAX_CHUNKS, n_blocks // 32))
    bounds = [n_blocks * part // n_parts for part in range(n_parts + 1)]
    return list(pairwise(bounds))


def buffers_of(points: Points, k: int) -> tuple[Array, ...]:
    """Return what the kernels choose, compare and label in."""
    from kmq.kernels.search import buffer_rows

    rows, d = buffer_rows(k), len(points.columns)
    return (
        np.empty((d, rows), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows, np.float32),
        np.empty((rows, d), np.float32),
        np.empty(rows, np.int32),
        np.empty(points.block, np.float32),
        np.empty(points.block, np.int32),
    )
