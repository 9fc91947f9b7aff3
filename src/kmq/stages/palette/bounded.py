"""Rounds of Lloyd's algorithm that keep bounds of distances, while that saves time.

Labels and sums are those of plain rounds, to the bit: see `kmq.kernels.bounded`.

Where it costs little to compare a point with all centroids, it has one bound. Elsewhere, it has a
bound for each group of centroids.

The first round with bounds takes up to four times as long as a plain one. So rounds are plain until
a look at a sample of points says that bounds will pay for it: see `Costs`. A fit is taken to last
half as long again as it has lasted, up to its limit. It may end sooner, when moves that go on
shrinking as they did in the last round are as short as if a single point changed its cluster: then
half of these rounds count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette import assigning, products
from kmq.stages.palette.differences import channels_of, grouped, operations_of
from kmq.stages.palette.labelling import Labelling
from kmq.stages.palette.products import aligned
from kmq.stages.palette.sums import Sums
from kmq.threads import run_chunks

LEAST_WORK = 1 << 21
"""Least channels compared in a round for bounds to be worth their arrays."""

_CHEAP = 500
"""Operations on registers to compare a point with all centroids, up to which it has one bound: it
takes as many to look at bounds of groups, and at the few points here and there that are left."""

_MOST_GROUPS = 2
"""Groups for each channel at most: their bounds take memory, and time to read."""

_SAMPLE = 64
"""Points of the sample."""

_LOOK_SHARE = 0.035
"""What share of the time of the rounds so far all looks may take."""

_MOVES_AHEAD = 3
"""Rounds with moves as long as the last ones that a point should withstand to count as spared."""

_GROUP = 16
"""Centroids of a group, as the kernel has them."""

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

    `labelling` labels points without bounds. `plain` returns sums where these are not exact, and
    adds while points are at hand. Memory: five numbers per point, and one for each group.
    """

    def __init__(
        self,
        points: Array,
        weights: Array,
        k: int,
        parts: list[slice],
        n_threads: int,
        labelling: Labelling,
        plain: PlainRound,
        max_iter: int,
    ):
        self._points, self._weights, self._n_threads = points, weights, n_threads
        self._parts, self._labelling, self._plain = parts, labelling, plain
        n, d = points.shape
        self._k = k
        self._rows = self._before = np.empty((0, d), points.dtype)
        self._totals = np.zeros(k)
        self._begun = False
        operations = operations_of(k, d, points.dtype)
        self._by_groups = operations > _CHEAP and k <= _GROUP * _MOST_GROUPS * d
        fits = self._by_groups or not products.are_faster(n, k, d, points.dtype)
        self._is_worth = n * k * d >= LEAST_WORK and k > 1 and fits
        self._sums = Sums(points, weights, k, parts, n_threads)
        self._labels = np.zeros(n, np.int32)
        self._costs = _costs(n, k, d, points.dtype, self._by_groups, self._sums.are_exact)
        self._done, self._most, self._look, self._n_looks = 0, max_iter, 2, 0

    def sums(self, centroids: Array) -> Array:
        """Return the sums (k, d + 1) of weight · (x, 1) of the points nearest to each centroid."""
        earlier, self._before = self._before, self._rows
        self._rows = centroids.astype(self._points.dtype)
        self._done += 1
        if not self._begun and not (self._is_worth and self._should_begin(earlier)):
            self._labelling.begin_round(self._labels)
            if not (self._sums.are_exact or self._labelling.is_sorted):
                return self._plain(centroids)
            self._labelling.label(centroids, self._labels)
            return self._sums.by(self._labels)
        spared = self._round(_moves(self._before, self._rows))
        if self._begun and not self._costs_now().gain(1 - spared) > 0:
            self._begun, self._look = False, self._done * 3 // 2
        else:
            self._begun = True
        return self._sums.by(self._labels)

    def end(self, centroids: Array) -> tuple[Array, float]:
        """Return labels of the points and inertia."""
        before, self._rows = self._rows, centroids.astype(self._points.dtype)
        has_moved = (before != self._rows).any()
        if self._begun and has_moved:
            self._round(_moves(before, self._rows))
        elif has_moved or not self._sums.are_exact:
            self._labelling.label(centroids, self._labels)
        return self._labels, assigning.inertia(
            self._points, self._labels, self._weights, self._rows, self._n_threads
        )

    def _costs_now(self) -> Costs:
        """Return what rounds take, plain ones as they have turned out."""
        return self._costs._replace(plain=min(self._costs.plain, self._labelling.cost))

    def _should_begin(self, earlier: Array) -> bool:
        """Return whether bounds will pay; look at the sample now and then. `earlier` are the
        centroids of two rounds ago.

        The round that is being done counts among those to come.
        """
        past, costs = self._done - 1, self._costs_now()
        rounds = min(past / 2, self._most - past)
        spent = past * len(self._points) * costs.plain
        takes_long = (self._n_looks + 1) * costs.look > _LOOK_SHARE * spent
        if past < self._look or takes_long or not costs.pay(rounds, 0.0):
            return False
        self._look, self._n_looks = past + 1 + past // 2, self._n_looks + 1
        with np.errstate(over="ignore", invalid="ignore"):
            moves = _moves(self._before, self._rows)
            share, distance = self._expected(_MOVES_AHEAD * moves)
            moved = float(_moves(earlier, self._before).sum()), float(moves.sum())
        left = _rounds_left(*moved, distance * self._k / len(self._points))
        return costs.pay(min(rounds, left / 2), share)

    def _expected(self, moves: Array) -> tuple[float, float]:
        """Return the share of the work that bounds leave after such moves, and how far points are
        from their centroids, in the sample."""
        from kmq.kernels.bounded import write_distances

        sample = np.ascontiguousarray(self._points[:: -(-len(self._points) // _SAMPLE)])
        distances = np.empty((len(sample), self._k))
        d = sample.shape[1]
        write_distances(d, sample.reshape(-1), self._rows.reshape(-1), distances.reshape(-1))
        labels = distances.argmin(axis=1)
        own = distances[np.arange(len(sample)), labels]
        others = moves if self._by_groups else moves.max()
        as_near = ~(distances - others > (own + moves[labels])[:, None])
        counts = np.count_nonzero(as_near, axis=1)
        n_groups = -(-self._k // _GROUP) if self._by_groups else 1
        compared = np.where(counts > 1, np.minimum(counts, n_groups), 0)
        return float(compared.mean() / n_groups), float(own.mean())

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
            counts[chunk] = work(part, thresholds)

        run_chunks(chunk_work, len(self._parts), self._n_threads)
        n_groups = self._groups.n_groups if self._by_groups else 1
        return 1 - sum(counts) / (len(self._points) * n_groups)

    def _begin(self) -> None:
        n, d = self._points.shape
        if not hasattr(self, "_gaps"):
            self._pending = np.empty(n, np.int32)
            self._gaps = np.empty(n, np.float32)
            self._slack = _slack(d, self._points.dtype)
            if self._by_groups:
                self._groups = _Groups(self._k, n)
        self._totals = np.zeros(self._k)
        self._gaps[:] = -np.inf
        if self._by_groups:
            self._groups.form(self._rows)

    def _kernel(self) -> Callable[..., int]:
        from kmq.kernels._lanes import LANE_BYTES
        from kmq.kernels.bounded import round_by_differences

        d, dtype = self._points.shape[1], self._points.dtype
        lanes = LANE_BYTES // dtype.itemsize
        groups = grouped(self._rows, dtype)
        channels = channels_of(d) if d <= _MOST_UNROLLED else ()

        def work(part: slice, thresholds: Array) -> int:
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
                    groups,
                    self._totals,
                    thresholds,
                    self._slack,
                    buffers,
                    self._labels[part],
                    self._gaps[part],
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

        def work(part: slice, thresholds: Array) -> int:
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

    def __init__(self, k: int, n: int):
        self.size, self.n_groups = _GROUP, -(-k // _GROUP)
        self.group_of = np.empty(k + 1, np.int32)
        self.reaches = np.empty(n, np.float32)
        self.bounds = np.empty(n * self.n_groups + self.size, np.float32)

    def form(self, rows: Array) -> None:
        """Group centroids (k, d), and begin with bounds that say nothing."""
        k = len(rows)
        self.order = np.full(self.n_groups * self.size, k, np.int32)
        for group, labels in enumerate(_neighbours(rows.astype(np.float64), self.size)):
            self.order[group * self.size :][: len(labels)] = labels
        self.group_of[self.order] = np.arange(len(self.order)) // self.size
        self.totals, self.drifts = np.zeros(self.n_groups), np.zeros(k)
        self.reaches.fill(np.inf)
        self.bounds.fill(-np.inf)

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


class Costs(NamedTuple):
    """What rounds take, in operations on registers a point: some 0.1 ns.

    Attributes:
        plain: a plain round.
        idle: a round with bounds that compares nothing.
        comparing: what it takes more to compare all points with all centroids.
        beginning: what the first round with bounds takes besides.
        look: what a look at the sample takes, in operations.
    """

    plain: float
    idle: float
    comparing: float
    beginning: float
    look: float

    def gain(self, share: float) -> float:
        """Return what a round gains by bounds that leave a share of the work."""
        return self.plain - self.idle - share * self.comparing

    def pay(self, rounds: float, share: float) -> bool:
        """Return whether bounds will pay that begin now and leave a share of the work later."""
        return (rounds - 1) * self.gain(share) + self.gain(1) > self.beginning


def _costs(n: int, k: int, d: int, dtype: np.dtype[Any], by_groups: bool, exact: bool) -> Costs:
    """Return what rounds take. Constants are measured: benchmarks of plain rounds agree within a
    fifth, with AVX-512 and without."""
    from kmq.kernels._lanes import LANE_BYTES

    operations = operations_of(k, d, dtype)
    plain = assigning.cost_of(n, k, d, dtype)
    look = 1.5e6 + _SAMPLE * k * (80 + d)
    if not by_groups:
        idle = 6 if exact else 25 + d * dtype.itemsize / 2  # all are added up anew
        return Costs(plain, idle, 1.25 * operations + 3 * d + 45, 10, look)
    # Eight rows of 16 lanes are more than fit in registers without AVX-512.
    each, n_groups = 1.3 if LANE_BYTES > 64 else 2.0, -(-k // _GROUP)
    comparing = each * operations + 20 * dtype.itemsize * n_groups
    idle = 120 + 20 * min(8, d * dtype.itemsize // 64)  # lines of the cache, which come late
    return Costs(plain, idle, comparing, 5e5 * n_groups / n, look)


def _rounds_left(before: float, now: float, step: float) -> float:
    """Return in how many rounds moves are down to a step, if they go on shrinking as they did."""
    if not 0 < step < now < before:
        return math.inf if now > step else 0.0
    return math.log(now / step) / math.log(before / now)


def _moves(before: Array, after: Array) -> Array:
    """Return how far each centroid has moved, at most."""
    from kmq.kernels.bounded import write_moves

    k, d = after.shape
    moves = np.empty(k)
    write_moves(d, before.reshape(-1), after.reshape(-1), moves)
    moves *= 1 + (d + 8) * np.finfo(np.float64).eps
    return moves


def _shrinkage(moves: Array) -> Array:
    """Return by how much the gap of points of each centroid can have shrunk, at most: by its move
    and the largest of all others'."""
    second, first = np.partition(moves, -2)[-2:]
    shrinkage: Array = moves + np.where(moves == first, second, first)
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
