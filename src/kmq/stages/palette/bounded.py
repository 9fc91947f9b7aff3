"""Rounds of Lloyd's algorithm that keep bounds of distances, while that saves time.

Labels and sums are those of plain rounds, to the bit: see `kmq.kernels.bounded`. Sums of whole
numbers are exact, so only points with a new label change them; others are added anew, in order.

Where it costs little to compare a point with all centroids, it has one bound. Rounds are plain as
long as centroids move far, and few points would be spared. Elsewhere, a point has a bound for each
group of centroids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette import products
from kmq.stages.palette.differences import channels_of, grouped
from kmq.stages.palette.products import aligned
from kmq.threads import run_chunks

LEAST_WORK = 1 << 21
"""Least channels compared in a round for bounds to be worth their arrays."""

_LEAST_GROUPED = 8
"""How many times as many for bounds of groups."""

_CHEAP = 500
"""Operations on registers to compare a point with all centroids, up to which it has one bound: it
takes as many to look at bounds of groups, and at the few points here and there that are left."""

_MOST_GROUPS = 2
"""Groups for each channel at most: their bounds take memory, and time to read."""

_PLAIN_ROUNDS = 2
"""Plain rounds before the first one with bounds, at least: centroids move far at first."""

_SMALL_MOVES = 0.15
"""How much gaps may shrink in a round for bounds to begin, in distances between neighbouring
centroids. The first round with bounds takes up to twice as long as a plain one."""

_GROUP = 16
"""Centroids of a group, as the kernel has them."""

_SAMPLE = 16
"""Centroids whose neighbours are looked for."""

_BLOCK = 512
"""Points whose groups are listed at a time at most."""

_BLOCK_NUMBERS = 1 << 17
"""Numbers of these points at most: for L2."""

_UP = 1 + 4 * np.finfo(np.float64).eps
"""What sums of moves are multiplied by to be rounded up."""

_MOST_UNROLLED = 4
"""Most channels that the kernel unrolls."""

PlainRound = Callable[[Array], Array]


class Rounds:
    """Rounds on points (n, d), each of `parts` by itself; empty `weights` count each once.

    `plain` does one without bounds. Memory: three numbers per point, and one for each group.
    """

    def __init__(
        self,
        points: Array,
        weights: Array,
        k: int,
        parts: list[slice],
        n_threads: int,
        plain: PlainRound,
    ):
        self._points, self._weights, self._n_threads = points, weights, n_threads
        self._parts, self._plain = parts, plain
        n, d = points.shape
        self._k = k
        self._small, self._patience = _SMALL_MOVES, _PLAIN_ROUNDS
        self._rows, self._totals = np.empty((0, d), points.dtype), np.zeros(k)
        self._spacing = 0.0
        self._begun = False
        operations = _operations(k, d, points.dtype)
        self._by_groups = operations > _CHEAP and k <= _GROUP * _MOST_GROUPS * d
        self._wait = 1 if self._by_groups else _PLAIN_ROUNDS
        self._enough = _fewest_spared(operations, d, self._by_groups)
        fits = self._by_groups or not products.are_faster(k, d, points.dtype)
        least = LEAST_WORK * (_LEAST_GROUPED if self._by_groups else 1)
        self._is_worth = n * k * d >= least and k > 1 and fits

    def sums(self, centroids: Array) -> Array:
        """Return the sums (k, d + 1) of weight · (x, 1) of the points nearest to each centroid."""
        if not self._is_worth:
            return self._plain(centroids)
        before, self._rows = self._rows, centroids.astype(self._points.dtype)
        moves = _moves(before, self._rows) if len(before) else np.full(self._k, np.inf)
        if not self._begun:
            self._wait -= 1
            if self._wait >= 0 or not self._are_small(moves):
                return self._plain(centroids)
        spared = self._round(moves)
        if self._begun and spared < self._enough:
            self._begun, self._wait = False, self._patience
            self._small /= 2
            self._patience *= 2
        else:
            self._begun = True
        total: Array = self._sums[0].copy()
        for part in self._sums[1:]:
            total += part
        return total

    def end(self, centroids: Array) -> tuple[Array, float] | None:
        """Return labels of the points and inertia; None if there are no bounds to know them by."""
        if not self._begun:
            return None
        from kmq.kernels.bounded import inertia

        before, self._rows = self._rows, centroids.astype(self._points.dtype)
        if (before != self._rows).any():
            self._round(_moves(before, self._rows))
        rows, inertias = self._rows.reshape(-1), [0.0] * len(self._parts)

        def chunk_work(chunk: int) -> None:
            part = self._parts[chunk]
            points, labels = self._points[part].reshape(-1), self._labels[part]
            inertias[chunk] = inertia(len(self._rows.T), points, self._weights[part], rows, labels)

        run_chunks(chunk_work, len(self._parts), self._n_threads)
        return self._labels, sum(inertias)

    def _are_small(self, moves: Array) -> bool:
        if self._by_groups:
            return True
        if self._spacing == 0:
            self._spacing = _spacing(self._rows)
        return bool(_shrinkage(moves).max() <= self._small * self._spacing)

    def _round(self, moves: Array) -> float:
        """Bring bounds, labels and sums up to date; return the share of work that was spared."""
        if self._begun:
            self._totals = (self._totals + _shrinkage(moves)) * _UP
        else:
            self._begin()
        thresholds = _above(self._totals)
        work = self._group_kernel(moves) if self._by_groups else self._kernel()
        counts = [0] * len(self._parts)

        def chunk_work(chunk: int) -> None:
            part = self._parts[chunk]
            counts[chunk] = work(part, thresholds, self._sums[chunk].reshape(-1))

        run_chunks(chunk_work, len(self._parts), self._n_threads)
        n_groups = self._groups.n_groups if self._by_groups else 1
        return 1 - sum(counts) / (len(self._points) * n_groups)

    def _begin(self) -> None:
        n, d = self._points.shape
        if not hasattr(self, "_labels"):
            self._labels, self._pending = np.zeros((2, n), np.int32)
            self._gaps = np.empty(n, np.float32)
            self._sums = np.empty((len(self._parts), self._k, d + 1))
            self._whole = _are_whole(self._points, self._weights)
            self._slack = _slack(d, self._points.dtype)
        self._totals = np.zeros(self._k)
        self._gaps[:] = -np.inf
        if self._by_groups:
            self._groups = _Groups(self._rows, n)

    def _kernel(self) -> Callable[..., int]:
        from kmq.kernels._lanes import LANE_BYTES
        from kmq.kernels.bounded import round_by_differences

        d, dtype = self._points.shape[1], self._points.dtype
        lanes = LANE_BYTES // dtype.itemsize
        groups = grouped(self._rows, dtype)
        channels = channels_of(d) if d <= _MOST_UNROLLED else ()

        def work(part: slice, thresholds: Array, sums: Array) -> int:
            found = np.empty(lanes, np.int32)
            buffers = (
                aligned(d * lanes, dtype),
                aligned(2 * lanes, dtype),
                found,
                self._pending[part],
            )
            return int(
                round_by_differences(
                    channels,
                    d,
                    self._points[part].reshape(-1),
                    self._weights[part],
                    groups,
                    self._totals,
                    thresholds,
                    self._slack,
                    buffers,
                    self._labels[part],
                    self._gaps[part],
                    self._begun and self._whole,
                    sums,
                )
            )

        return work

    def _group_kernel(self, moves: Array) -> Callable[..., int]:
        from kmq.kernels.bounded import round_by_groups

        d, dtype = self._points.shape[1], self._points.dtype
        groups = self._groups
        if self._begun:
            groups.move(moves)
        rows, panels, limits = self._rows.reshape(-1), groups.panels(self._rows), groups.limits()
        block = max(1, min(_BLOCK, _BLOCK_NUMBERS // d) // groups.size) * groups.size

        def work(part: slice, thresholds: Array, sums: Array) -> int:
            buffers = (
                self._pending[part],
                np.empty(block, np.int32),
                np.empty(block * groups.n_groups, np.int32),
                np.empty(groups.n_groups, np.int32),
                np.empty(block, np.int32),
                np.empty(block, np.float32),
                np.empty(block),
                *np.empty((4, block), dtype),
                aligned(groups.size**2, dtype),
            )
            return int(
                round_by_groups(
                    d,
                    self._points[part].reshape(-1),
                    self._weights[part],
                    rows,
                    panels,
                    groups.order,
                    groups.group_of,
                    limits,
                    groups.totals,
                    self._totals,
                    groups.drifts,
                    thresholds,
                    self._slack,
                    buffers,
                    self._labels[part],
                    self._gaps[part],
                    groups.reaches[part],
                    groups.bounds[part.start * groups.n_groups :],
                    self._begun and self._whole,
                    sums,
                )
            )

        return work


class _Groups:
    """Groups of neighbouring centroids, and a bound of each of n points for each of them.

    Attributes:
        order: labels in the order of the groups, ascending in each; what fills up groups is k.
        group_of: the group of each label.
        totals: what the moves of the farthest mover have added up to, for each group.
        drifts: what the moves of each centroid have added up to.
        reaches, bounds: see `kmq.kernels.bounded.round_by_groups`.
    """

    def __init__(self, rows: Array, n: int):
        k, self.size = len(rows), _GROUP
        self.n_groups = -(-k // self.size)
        self.order = np.full(self.n_groups * self.size, k, np.int32)
        for group, labels in enumerate(_neighbours(rows.astype(np.float64), self.size)):
            self.order[group * self.size :][: len(labels)] = labels
        self.group_of = np.empty(k + 1, np.int32)
        self.group_of[self.order] = np.arange(len(self.order)) // self.size
        self.totals, self.drifts = np.zeros(self.n_groups), np.zeros(k)
        self.reaches = np.full(n, np.inf, np.float32)
        self.bounds = np.full(n * self.n_groups + self.size, -np.inf, np.float32)

    def move(self, moves: Array) -> None:
        """Add moves (k,) of centroids to the totals."""
        most = np.append(moves, 0.0)[self.order].reshape(-1, self.size).max(axis=1)
        self.totals = (self.totals + most) * _UP
        self.drifts = (self.drifts + moves) * _UP

    def limits(self) -> Array:
        """Return the totals rounded up, filled up to be read by the vector."""
        return np.append(_above(self.totals), np.full(self.size, -np.inf, np.float32))

    def panels(self, rows: Array) -> Array:
        """Return centroids (k, d) as the kernel wants them: (groups, d, size), flat."""
        k, d = rows.shape
        panels = np.full((len(self.order), d), np.inf, rows.dtype)
        real = self.order < k
        panels[real] = rows[self.order[real]]
        return panels.reshape(-1, self.size, d).transpose(0, 2, 1).ravel()


def _neighbours(rows: Array, size: int) -> list[Array]:
    """Return labels of neighbouring centroids in groups of `size`, but for the last group.

    Centroids are cut in two by which of two far ones is nearer, again and again.
    """
    groups = []
    rest = [np.arange(len(rows))]
    while rest:
        labels = rest.pop()
        if len(labels) <= size:
            groups.append(np.sort(labels))
            continue
        some = rows[labels] - rows[labels].mean(axis=0)
        one = some[np.argmax(np.square(some).sum(axis=1))]
        other = some[np.argmax(np.square(some - one).sum(axis=1))]
        labels = labels[np.argsort((some * (one - other)).sum(axis=1), kind="stable")]
        half = -(-len(labels) // size) // 2 * size
        rest += [labels[half:], labels[:half]]
    return groups


def _operations(k: int, d: int, dtype: np.dtype[Any]) -> float:
    """Return the operations on registers to compare a point with all centroids."""
    from kmq.kernels._lanes import LANE_BYTES

    numbers = (64 if LANE_BYTES > 64 else 32) // dtype.itemsize
    return k * (2 * d + 3) / numbers


def _fewest_spared(operations: float, d: int, by_groups: bool) -> float:
    """Return the share of the comparisons that must be spared for bounds to gain.

    In operations on registers a point: comparing takes a quarter more with bounds, and points that
    are picked one by one cost more.
    """
    if by_groups:
        return 1 - (operations - 300) / (1.3 * operations)
    picked = operations * 1.25 + 20 + 3 * d
    return 1.05 - (operations + d) / picked


def _spacing(rows: Array) -> float:
    """Return how far centroids are from the nearest other one: the mean of a sample."""
    some = rows[:: -(-len(rows) // _SAMPLE)].astype(np.float64)
    nearest = []
    for row in some:
        distances = np.square(rows - row).sum(axis=1)
        nearest.append(np.sqrt(distances[distances > 0].min(initial=np.inf)))
    return float(np.mean(nearest))


def _moves(before: Array, after: Array) -> Array:
    """Return how far each centroid has moved, at most."""
    d = before.shape[1]
    moves: Array = np.sqrt(np.square(after.astype(np.float64) - before).sum(axis=1))
    moves *= 1 + (d + 8) * np.finfo(np.float64).eps
    return moves


def _shrinkage(moves: Array) -> Array:
    """Return by how much the gap of points of each centroid can have shrunk, at most: by its move
    and the largest of all others'."""
    farthest = int(np.argmax(moves))
    others = np.full(len(moves), moves[farthest])
    others[farthest] = np.delete(moves, farthest).max()
    shrinkage: Array = moves + others
    return shrinkage


def _above(totals: Array) -> Array:
    """Return numbers rounded up to float32."""
    with np.errstate(over="ignore"):
        rounded: Array = np.nextafter(totals.astype(np.float32), np.float32(np.inf))
    return rounded


def _slack(d: int, dtype: np.dtype[Any]) -> Array:
    """Return what distances are rounded by: see `kmq.kernels.bounded`."""
    info = np.finfo(dtype)
    unit = float(info.eps) / 2
    tiny = np.sqrt(8 * (d + 2) * float(info.smallest_subnormal))
    greatest = np.sqrt(float(info.max)) * 0.99
    return np.array([1 + 4 * (d + 2) * unit, tiny, greatest])


def _are_whole(points: Array, weights: Array) -> bool:
    """Return whether sums of points are whole numbers below 2^53, exact in any order."""
    from kmq.kernels.bounded import greatest_whole

    weight = greatest_whole(weights) if weights.size else 1.0
    return bool(greatest_whole(points.reshape(-1)) * weight * len(points) < 2**53)
