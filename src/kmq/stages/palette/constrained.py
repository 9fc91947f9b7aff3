"""The search where some points are opaque, and some are not: opaque ones must stay so.

An opaque colour may only have an opaque entry, a translucent colour any. Under this constraint the
search is that of the kernel `breathe`: cut clusters, drop others, a few rounds after each. A
centroid is opaque if it has opaque colours, so cutting and dropping clusters settles how many
entries are opaque, and so does letting go of those where a few opaque colours hold many that are
not.

docs/SEARCH.md has what was tried instead, and its figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.effort import GROWTH, SearchEffort
from kmq.stages.palette.points import PointSet, Workspace
from kmq.stages.palette.rounds import MOMENTUM, Clusters, Rounds

_LEAST_BREATH = 4
"""Centroids added and dropped at first at least: with 2, as where all are opaque, entries that
ought to be on the other side stay more often."""


def grow(points: PointSet, fixed: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, squared error per pixel) for growing k, as `search.grow` does."""
    mean = points.moments[0] / points.total_weight
    mean[-1] = points.opaque
    clusters = Clusters(mean[None], np.ones(1, np.bool_), 0)
    rounds = 0
    while True:
        k = len(clusters.centroids)
        n_new = min(max(1, k // 4), max_colors - k)
        bins = points.bins(GROWTH.enough_bins(k + n_new))
        measured = _rest(bins, clusters, rounds, GROWTH.patience)
        yield k, (measured.inertia + points.squares - bins.squares) / points.total_weight
        if n_new > 0 and len(fixed) > clusters.n_fixed:
            centroids = np.concatenate([fixed, clusters.centroids])
            clusters = Clusters.of(points, centroids, len(fixed))
        elif n_new > 0:
            clusters = _split(bins, clusters, measured, n_new)
        if len(clusters.centroids) == k:
            return
        rounds = GROWTH.rounds


def breathe(points: PointSet, clusters: Clusters, effort: SearchEffort) -> tuple[float, Array]:
    """Return the inertia and the centroids after breathing, as the kernel `breathe` does."""
    k = len(clusters.centroids)
    breath = max(_LEAST_BREATH, k // effort.breath) if effort.breath else 0
    best_measured = _rest(points, clusters, effort.start_rounds, effort.patience)
    best = clusters
    while breath > 0:
        clusters = _split(points, best, best_measured, min(breath, k))
        added = len(clusters.centroids) - k
        if added == 0:
            break
        _lloyd(points, clusters, effort.rounds, effort.patience)
        clusters = _drop(clusters, _measure(points, clusters).losses, added)
        measured = _rest(points, clusters, effort.rounds, effort.patience)
        if measured.inertia > best_measured.inertia * 0.9999:
            breath //= 2
        if measured.inertia < best_measured.inertia:
            best, best_measured = clusters, measured
    return best_measured.inertia, best.centroids


def _lloyd(points: PointSet, clusters: Clusters, max_rounds: int, patience: float) -> None:
    """Run rounds until one lowers the inertia by less than `patience` of it, and end on means."""
    if max_rounds == 0:
        return
    rounds = Rounds(points, len(clusters.centroids), 1)
    before, total = -math.inf, points.squares
    for _ in range(max_rounds):
        explained = rounds.run(clusters, MOMENTUM)
        if explained < before:  # overshot: go on without momentum
            rounds.velocity[:] = 0
        elif explained - before <= patience * (total - explained):
            break
        before = explained
    rounds.run(clusters, 0.0)


@dataclass(frozen=True)
class _Measured:
    """What `kernels.search.measure` writes, of both parts together, and of opaque points alone."""

    inertia: float
    labels: Array
    losses: Array
    squares: Array
    sums: Array
    opaque_losses: Array
    opaque_sums: Array


def _measure(points: PointSet, clusters: Clusters) -> _Measured:
    """Assign each point and measure each cluster."""
    from kmq.kernels.search import measure

    k, d = clusters.centroids.shape
    inertia, labels = 0.0, []
    losses, squares, sums = np.zeros(k), np.zeros((k, d)), np.zeros((k, d + 1))
    losses_of, sums_of = [], []
    for part, (which, rows) in zip(points.parts, clusters.for_parts(points), strict=True):
        room = Workspace(part, len(rows))
        inertia += measure(*part.arguments, rows, len(rows), *room.measured)
        _, _, part_labels, part_losses, part_squares, part_sums = room.measured
        labels.append(np.arange(k)[which][part_labels])
        losses[which] += part_losses
        squares[which] += part_squares
        sums[which] += part_sums
        losses_of.append(losses.copy())
        sums_of.append(sums.copy())
    return _Measured(
        inertia, np.concatenate(labels), losses, squares, sums, losses_of[0], sums_of[0]
    )


def _rest(points: PointSet, clusters: Clusters, max_rounds: int, patience: float) -> _Measured:
    """Run rounds, let go of what should not be opaque, and measure."""
    _lloyd(points, clusters, max_rounds, patience)
    measured = _measure(points, clusters)
    if _release(points, clusters, measured):
        _lloyd(points, clusters, max_rounds, patience)
        measured = _measure(points, clusters)
    return measured


def _release(points: PointSet, clusters: Clusters, measured: _Measured) -> bool:
    """Make entries translucent where that gains more than their opaque points lose, which go to
    the second nearest opaque entries; these stay. Return whether there were any."""
    d = len(points.columns)
    sums, opaque_sums = measured.sums, measured.opaque_sums
    shared = np.flatnonzero(clusters.free_opaque & (sums[:, d] > opaque_sums[:, d]))
    weights = sums[shared, d]
    off = weights * np.square(sums[shared, d - 1] / weights - points.opaque)
    gains = off - measured.opaque_losses[shared]
    kept = np.zeros(len(clusters.opaque), np.bool_)
    released = False
    for j in shared[np.argsort(-gains, kind="stable")][: np.count_nonzero(gains > 0)]:
        if kept[j]:
            continue
        clusters.opaque[j] = False
        left = np.flatnonzero(clusters.opaque)
        distances = np.square(clusters.centroids[left] - clusters.centroids[j]).sum(axis=1)
        kept[left[np.argmin(distances)]] = True
        translucent = sums[j] - opaque_sums[j]
        clusters.centroids[j] = translucent[:d] / translucent[d]
        released = True
    return released


def _split(points: PointSet, clusters: Clusters, measured: _Measured, n_new: int) -> Clusters:
    """Cut the clusters that gain most in two, as `kernels.search.split` does; at most `n_new`.

    A half is opaque if it has opaque points.
    """
    k, d = clusters.centroids.shape
    columns, weights = points.columns, points.weights
    labels, sums = measured.labels, measured.sums
    axes = measured.squares.argmax(axis=1)
    along = columns[axes[labels], np.arange(len(labels))]
    upper = along * sums[labels, d] > sums[labels, axes[labels]]
    upper_labels, upper_weights = labels[upper], weights[upper]
    halves = np.stack(
        [np.bincount(upper_labels, upper_weights * column[upper], k) for column in columns]
        + [np.bincount(upper_labels, upper_weights, k)],
        axis=1,
    )
    rests = sums - halves
    n_opaque = len(points.parts[0].weights)
    opaque_labels, opaque_upper = labels[:n_opaque], upper[:n_opaque]
    above = np.bincount(opaque_labels[opaque_upper], minlength=k) > 0
    below = np.bincount(opaque_labels[~opaque_upper], minlength=k) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        means, rest_means = halves[:, :d] / halves[:, d:], rests[:, :d] / rests[:, d:]
        gains = np.square(means - rest_means).sum(axis=1) * halves[:, d] * rests[:, d] / sums[:, d]
        # Plus what it costs the whole to be held opaque, less what it costs the halves.
        for group, are_opaque in ((sums, clusters.opaque), (-halves, above), (-rests, below)):
            off = group[:, d] * np.square(group[:, d - 1] / group[:, d] - points.opaque)
            gains += np.where(are_opaque, off, 0)
    gains[~((halves[:, d] > 0) & (rests[:, d] > 0) & (gains > 0))] = 0
    cut = np.argsort(-gains, kind="stable")[: min(n_new, int(np.count_nonzero(gains)))]
    means[above, -1] = rest_means[below, -1] = points.opaque
    moved = cut[cut >= clusters.n_fixed]
    centroids = np.concatenate([clusters.centroids, means[cut]])
    opaque = np.concatenate([clusters.opaque, above[cut]])
    centroids[moved], opaque[moved] = rest_means[moved], below[moved]
    return Clusters(centroids, opaque, clusters.n_fixed)


def _drop(clusters: Clusters, losses: Array, n_gone: int) -> Clusters:
    """Take out those that are missed least, as the kernel `_drop` does, but an opaque one stays."""
    centroids, opaque, n_fixed = clusters.centroids, clusters.opaque, clusters.n_fixed
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
        left = np.flatnonzero(~gone & opaque if opaque[chosen] else ~gone)
        distances = np.square(centroids[left] - centroids[chosen]).sum(axis=1)
        kept[left[np.argmin(distances)]] = True
    return Clusters(centroids[~gone], opaque[~gone], n_fixed)


def inertia_of(points: PointSet, centroids: Array) -> float:
    """Return Σ weight · squared distance to the nearest centroid that a point may have."""
    return _measure(points, Clusters.of(points, centroids, 0)).inertia
