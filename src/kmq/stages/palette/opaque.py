"""Histogram → palette where some colours are opaque, and some are not: opaque ones must stay so.

An opaque colour may only have an opaque entry, a translucent colour any. Under this constraint the
search is that of `palette`: bins, breathing k-means, rounds on all colours. Rounds label opaque
colours among opaque centroids alone, whose last coordinate stays that of opaque colours: with it
given, the mean of the others is still what is nearest to all. A centroid is opaque if it has opaque
colours, so cutting and dropping clusters settles how many entries are opaque, and so does letting
go of those where a few opaque colours hold many that are not.

docs/SEARCH.md has what was tried instead, and its figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmq.lazily import computed_once
from kmq.model.choices import Progress
from kmq.stages.palette import search as one_kind
from kmq.stages.palette.search import Effort, Fit, Points, Stopping
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]


_LEAST_BREATH = 4
"""Centroids added and dropped at first at least: with 2, as where all are opaque, entries that
ought to be on the other side stay more often."""


@dataclass(frozen=True)
class Mixed:
    """Opaque points and others, at least one of each, both in Morton order.

    The last coordinate of all opaque ones is the same, and larger than that of the others.
    """

    solid: Points
    others: Points
    solid_keys: Array
    other_keys: Array

    @classmethod
    def of(cls, points: Points, keys: Array, solid: Array) -> Mixed:
        """Divide points and their keys; `solid` (m,) bool says which are opaque."""
        parts = [
            one_kind.points_of(np.ascontiguousarray(points.columns[:, own]), points.weights[own])
            for own in (solid, ~solid)
        ]
        return cls(parts[0], parts[1], keys[solid], keys[~solid])

    def bins(self, enough: int) -> Mixed:
        """Return enough bins for either part."""
        return Mixed(
            one_kind.bins_of(self.solid, self.solid_keys, enough),
            one_kind.bins_of(self.others, self.other_keys, enough),
            self.solid_keys,
            self.other_keys,
        )

    @computed_once
    def columns(self) -> Array:
        """(d, n) float32: the opaque points, then the others."""
        return np.concatenate([self.solid.columns, self.others.columns], axis=1)

    @computed_once
    def weights(self) -> Array:
        """(n,) float64, in the same order."""
        return np.concatenate([self.solid.weights, self.others.weights])

    @property
    def top(self) -> float:
        """The last coordinate of what is opaque."""
        return float(self.solid.columns[-1, 0])

    @property
    def total_weight(self) -> float:
        """Σ weight."""
        return self.solid.total_weight + self.others.total_weight

    @property
    def squares(self) -> float:
        """Σ weight · |x|²."""
        return self.solid.squares + self.others.squares

    @property
    def mean_variance(self) -> float:
        """The variance of each channel, averaged over the channels."""
        sums = self.solid.moments[0] + self.others.moments[0]
        squares = self.solid.moments[1] + self.others.moments[1]
        return float((squares / self.total_weight - (sums / self.total_weight) ** 2).mean())

    @computed_once
    def lifted(self) -> Array:
        """(n, d) float32 rows, the opaque ones so far off that no cluster has both for long."""
        return np.ascontiguousarray(self.lift(self.columns.T), dtype=np.float32)

    def lift(self, rows: Array) -> Array:
        """Return (n, d) rows with those that are opaque as far off as `lifted` has them."""
        least = min(self.solid.total_weight, self.others.total_weight)
        # Even the fewest cost more in the wrong cluster than all colours in a single one.
        apart = math.sqrt(self.mean_variance * rows.shape[1] * self.total_weight / least)
        lifted = rows.copy()
        lifted[_are_opaque(self, rows), -1] += 4 * apart
        return lifted


@dataclass
class _Entries:
    """Centroids (k, d) float64 and which of them are opaque (k,); the first `n_fixed` are given."""

    centroids: Array
    opaque: Array
    n_fixed: int

    def copy(self) -> _Entries:
        return _Entries(self.centroids.copy(), self.opaque.copy(), self.n_fixed)

    @property
    def free_opaque(self) -> Array:
        """Which are opaque and move."""
        free = self.opaque.copy()
        free[: self.n_fixed] = False
        return free


def start(points: Mixed, fixed: Array, lifted: Array) -> Array:
    """Return centroids (k, d): the fixed ones, then those found for the `lifted` rows, let down."""
    found = lifted.copy()
    own = found[:, -1] > (points.top + points.lifted[0, -1]) / 2
    if not own.any() and not _are_opaque(points, fixed).any():
        found[0, :-1] = points.solid.moments[0][:-1] / points.solid.total_weight
        own[0] = True
    found[own, -1] = points.top
    found[~own, -1] = np.minimum(found[~own, -1], np.nextafter(np.float32(points.top), 0))
    return np.concatenate([fixed, found])


def grow(points: Mixed, fixed: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, squared error per pixel) for growing k, as `search.grow` does."""
    growth = one_kind.GROWTH
    mean = (points.solid.moments[0] + points.others.moments[0]) / points.total_weight
    mean[-1] = points.top
    entries = _Entries(mean[None], np.ones(1, np.bool_), 0)
    rounds = 0
    while True:
        k = len(entries.centroids)
        n_new = min(max(1, k // 4), max_colors - k)
        bins = points.bins(growth.enough_bins(k + n_new))
        found = _rest(bins, entries, rounds, growth.patience)
        yield k, (found.inertia + points.squares - bins.squares) / points.total_weight
        if n_new > 0 and len(fixed) > entries.n_fixed:
            centroids = np.concatenate([fixed, entries.centroids])
            entries = _entries(points, centroids, len(fixed))
        elif n_new > 0:
            entries = _split(bins, entries, found, n_new)
        if len(entries.centroids) == k:
            return
        rounds = growth.rounds


def search(
    points: Mixed, starts: list[Array], n_fixed: int, effort: Effort, n_threads: int
) -> Array:
    """Return the best centroids (k, d) that breathing finds, as `search.search` does."""
    results: list[tuple[float, Array]] = [(np.inf, starts[0])] * len(starts)

    def work(attempt: int) -> None:
        results[attempt] = _breathe(points, _entries(points, starts[attempt], n_fixed), effort)

    run_chunks(work, len(starts), n_threads)
    return min(results, key=lambda result: result[0])[1]


def settle(
    points: Mixed,
    start: Array,
    n_fixed: int,
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds on all points from `start` (k, d), as `search.settle` does."""
    max_rounds, limit = stopping.max_rounds, stopping.tol * points.mean_variance
    entries = _entries(points, start, n_fixed)
    rounds = _Rounds(points, len(start), n_threads)
    momentum, explained = one_kind.MOMENTUM, -math.inf
    n_iter, converged = 0, False
    while n_iter < max_rounds and not converged:
        n_iter += 1
        if n_iter in (max_rounds, one_kind.MOMENTUM_ROUNDS):
            momentum = 0.0
        before = entries.centroids.copy()
        now = rounds.run(entries, momentum)
        if now < explained:
            momentum = 0.0
        explained = now
        if progress is not None:
            progress("k-means", n_iter / max_rounds)
        converged = float(np.square(entries.centroids - before).sum()) <= limit
    return Fit(entries.centroids, n_iter, converged, entries.opaque)


def plain(
    points: Mixed,
    starts: Iterator[Array],
    stopping: Stopping,
    n_threads: int,
    progress: Progress | None,
) -> Fit:
    """Run rounds from each of the lifted `starts` (k, d) and return the best."""
    none = np.empty((0, len(points.columns)))
    fits = (
        settle(points, start(points, none, lifted), 0, stopping, n_threads, progress)
        for lifted in starts
    )
    return min(fits, key=lambda fit: _measure(points, _entries(points, fit.centroids, 0)).inertia)


def _entries(points: Mixed, centroids: Array, n_fixed: int) -> _Entries:
    return _Entries(centroids.copy(), _are_opaque(points, centroids), n_fixed)


def _are_opaque(points: Mixed, centroids: Array) -> Array:
    held: Array = centroids[:, -1].astype(np.float32) == points.top
    return held


class _Rounds:
    """Rounds of Lloyd's algorithm under the constraint, for up to `rows` centroids."""

    def __init__(self, points: Mixed, rows: int, n_threads: int):
        self._points, self._n_threads = points, n_threads
        self._chunks = [
            (part, *blocks, one_kind.buffers_of(part, rows))
            for part in (points.solid, points.others)
            for blocks in one_kind.parts_of(part)
        ]
        d = len(points.columns)
        self._sums = np.empty((len(self._chunks), rows, d + 1))
        self.velocity = np.zeros((rows, d))

    def run(self, entries: _Entries, momentum: float) -> float:
        """Move the centroids; return by how much Σ weight · |x|² exceeds the inertia, about.

        Opaque centroids that are left without opaque points are free to be translucent.
        """
        from kmq.kernels.search import move, sum_blocks

        points, centroids = self._points, entries.centroids
        k, d = centroids.shape
        ids = np.flatnonzero(entries.opaque)
        opaque = np.ascontiguousarray(centroids[ids])
        self._sums[:] = 0

        def work(chunk: int) -> None:
            part, first, last, buffers = self._chunks[chunk]
            own = opaque if part is points.solid else centroids
            sum_blocks(
                part.channels,
                part.columns,
                part.weights,
                first,
                last,
                part.low,
                part.high,
                own,
                len(own),
                buffers,
                self._sums[chunk],
            )

        run_chunks(work, len(self._chunks), self._n_threads)
        of_solid, sums = np.zeros((k, d + 1)), np.zeros((k, d + 1))
        for (part, *_), found in zip(self._chunks, self._sums, strict=True):
            if part is points.solid:
                of_solid[ids] += found[: len(ids)]
            else:
                sums += found[:k]
        sums += of_solid
        entries.opaque[entries.n_fixed :] &= of_solid[entries.n_fixed :, d] > 0
        explained = move(
            points.solid.channels, sums, k, entries.n_fixed, momentum, centroids, self.velocity[:k]
        )
        held = entries.free_opaque
        centroids[held, -1] = points.top
        weights = sums[held, d]
        off = weights * np.square(sums[held, d - 1] / weights - points.top)
        return float(explained - math.fsum(off))  # in an order that no machine changes


def _lloyd(points: Mixed, entries: _Entries, max_rounds: int, patience: float) -> None:
    """Run rounds until one lowers the inertia by less than `patience` of it, and end on means."""
    if max_rounds == 0:
        return
    rounds = _Rounds(points, len(entries.centroids), 1)
    before, total = -math.inf, points.squares
    for _ in range(max_rounds):
        explained = rounds.run(entries, one_kind.MOMENTUM)
        if explained < before:  # overshot: go on without momentum
            rounds.velocity[:] = 0
        elif explained - before <= patience * (total - explained):
            break
        before = explained
    rounds.run(entries, 0.0)


@dataclass(frozen=True)
class _Measured:
    """What `kernels.search.measure` writes, of both parts together, and of opaque points alone."""

    inertia: float
    labels: Array
    losses: Array
    squares: Array
    sums: Array
    solid_losses: Array
    solid_sums: Array


def _measure(points: Mixed, entries: _Entries) -> _Measured:
    """Assign each point and measure each cluster."""
    from kmq.kernels.search import measure

    k, d = entries.centroids.shape
    inertia, labels = 0.0, []
    losses, squares, sums = np.zeros(k), np.zeros((k, d)), np.zeros((k, d + 1))
    for part, ids in (
        (points.solid, np.flatnonzero(entries.opaque)),
        (points.others, np.arange(k)),
    ):
        room = one_kind.Workspace(part, len(ids))
        own = np.ascontiguousarray(entries.centroids[ids])
        inertia += measure(*part.arguments, own, len(ids), *room.measured)
        _, _, own_labels, own_losses, own_squares, own_sums = room.measured
        labels.append(ids[own_labels])
        losses[ids] += own_losses
        squares[ids] += own_squares
        sums[ids] += own_sums
        if part is points.solid:
            solid_losses, solid_sums = losses.copy(), sums.copy()
    return _Measured(
        inertia, np.concatenate(labels), losses, squares, sums, solid_losses, solid_sums
    )


def _rest(points: Mixed, entries: _Entries, max_rounds: int, patience: float) -> _Measured:
    """Run rounds, let go of what should not be opaque, and measure."""
    _lloyd(points, entries, max_rounds, patience)
    found = _measure(points, entries)
    if _release(points, entries, found):
        _lloyd(points, entries, max_rounds, patience)
        found = _measure(points, entries)
    return found


def _release(points: Mixed, entries: _Entries, found: _Measured) -> bool:
    """Make entries translucent where that gains more than their opaque points lose, which go to
    the second nearest opaque entries; these stay. Return whether there were any."""
    d = len(points.columns)
    held = np.flatnonzero(entries.free_opaque & (found.sums[:, d] > found.solid_sums[:, d]))
    weights = found.sums[held, d]
    off = weights * np.square(found.sums[held, d - 1] / weights - points.top)
    gains = off - found.solid_losses[held]
    kept = np.zeros(len(entries.opaque), np.bool_)
    released = False
    for j in held[np.argsort(-gains, kind="stable")][: np.count_nonzero(gains > 0)]:
        if kept[j]:
            continue
        entries.opaque[j] = False
        others = np.flatnonzero(entries.opaque)
        apart = np.square(entries.centroids[others] - entries.centroids[j]).sum(axis=1)
        kept[others[np.argmin(apart)]] = True
        own = found.sums[j] - found.solid_sums[j]
        entries.centroids[j] = own[:d] / own[d]
        released = True
    return released


def _split(points: Mixed, entries: _Entries, found: _Measured, n_new: int) -> _Entries:
    """Cut the clusters that gain most in two, as `kernels.search.split` does; at most `n_new`.

    A half is opaque if it has opaque points.
    """
    k, d = entries.centroids.shape
    columns, weights, labels, sums = points.columns, points.weights, found.labels, found.sums
    axes = found.squares.argmax(axis=1)
    along = columns[axes[labels], np.arange(len(labels))]
    upper = along * sums[labels, d] > sums[labels, axes[labels]]
    own, own_weights = labels[upper], weights[upper]
    halves = np.stack(
        [np.bincount(own, own_weights * column[upper], k) for column in columns]
        + [np.bincount(own, own_weights, k)],
        axis=1,
    )
    rests = sums - halves
    n_solid = len(points.solid.weights)
    solid_labels, solid_upper = labels[:n_solid], upper[:n_solid]
    above = np.bincount(solid_labels[solid_upper], minlength=k) > 0
    below = np.bincount(solid_labels[~solid_upper], minlength=k) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        means, rest_means = halves[:, :d] / halves[:, d:], rests[:, :d] / rests[:, d:]
        gains = np.square(means - rest_means).sum(axis=1) * halves[:, d] * rests[:, d] / sums[:, d]
        # Plus what it costs the whole to be held opaque, less what it costs the halves.
        for group, held in ((sums, entries.opaque), (-halves, above), (-rests, below)):
            off = group[:, d] * np.square(group[:, d - 1] / group[:, d] - points.top)
            gains += np.where(held, off, 0)
    gains[~((halves[:, d] > 0) & (rests[:, d] > 0) & (gains > 0))] = 0
    cut = np.argsort(-gains, kind="stable")[: min(n_new, int(np.count_nonzero(gains)))]
    means[above, -1] = rest_means[below, -1] = points.top
    moved = cut[cut >= entries.n_fixed]
    centroids = np.concatenate([entries.centroids, means[cut]])
    opaque = np.concatenate([entries.opaque, above[cut]])
    centroids[moved], opaque[moved] = rest_means[moved], below[moved]
    return _Entries(centroids, opaque, entries.n_fixed)


def _drop(entries: _Entries, losses: Array, n_gone: int) -> _Entries:
    """Take out those that are missed least, as the kernel `_drop` does, but an opaque one stays."""
    centroids, opaque, n_fixed = entries.centroids, entries.opaque, entries.n_fixed
    given = np.arange(len(centroids)) < n_fixed
    kept, gone = given.copy(), np.zeros(len(centroids), np.bool_)
    for _ in range(n_gone):
        for needed in (kept, given):  # neighbours of those that go, if there are no others
            last = opaque & ~gone
            free = np.flatnonzero(~gone & ~needed & ~(last if last.sum() == 1 else gone))
            if len(free):
                break
        chosen = free[np.argmin(losses[free])]
        gone[chosen] = True
        # Translucent colours fall back on any entry, opaque ones on an opaque one.
        there = np.flatnonzero(~gone & opaque if opaque[chosen] else ~gone)
        apart = np.square(centroids[there] - centroids[chosen]).sum(axis=1)
        kept[there[np.argmin(apart)]] = True
    return _Entries(centroids[~gone], opaque[~gone], n_fixed)


def _breathe(points: Mixed, entries: _Entries, effort: Effort) -> tuple[float, Array]:
    """Return the inertia and the centroids after breathing, as the kernel `breathe` does."""
    k = len(entries.centroids)
    breath = max(_LEAST_BREATH, k // effort.breath) if effort.breath else 0
    best_found = _rest(points, entries, effort.start_rounds, effort.patience)
    best = entries
    while breath > 0:
        entries = _split(points, best, best_found, min(breath, k))
        added = len(entries.centroids) - k
        if added == 0:
            break
        _lloyd(points, entries, effort.rounds, effort.patience)
        entries = _drop(entries, _measure(points, entries).losses, added)
        found = _rest(points, entries, effort.rounds, effort.patience)
        if found.inertia > best_found.inertia * 0.9999:
            breath //= 2
        if found.inertia < best_found.inertia:
            best, best_found = entries, found
    return best_found.inertia, best.centroids
