"""Nearest centroids of weighted points (n, d), and sums of the points of each, on several threads.

Work is cut into chunks that depend on the number of points alone, and their sums are added in chunk
order, so the result does not depend on the number of threads; sums of whole numbers below 2^53 are
exact besides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from kmq import exact
from kmq.model.arrays import Array
from kmq.stages.palette import differences, grid, products, screening
from kmq.threads import run_chunks

_CHUNK_WORK = 1 << 23
"""Channels compared in a chunk at least: about 0.1 ms of work."""

_POINT_WORK = 64
"""What a point costs besides, in channels compared."""

_CHUNK_POINTS = 512
"""Points of a chunk at least, so that adding its sums to the others costs little."""

_MOST_CHUNKS = 64

_TOGETHER = 8
"""Chunks that are one where neither threads nor sums need them: each costs some 20 µs."""

_NO_WEIGHTS = np.empty(0)

_NO_SUMS = np.empty((0, 0))

_SUM_BUDGET = 1 << 22
"""Numbers in the sums of all chunks together at most (32 MiB), so that a large k has few chunks."""


def cost_of(n: int, k: int, d: int, dtype: np.dtype[Any]) -> float:
    """Return what it takes to compare a point with all centroids, in operations on registers: some
    0.1 ns."""
    share = 1.0
    if screening.is_faster(n, k, d, dtype):
        share = 0.65
    elif products.are_faster(n, k, d, dtype):
        share = 0.55
    return share * differences.operations_of(k, d, dtype) + 2.5 * d


def nearest(
    points: Array,
    centroids: Array,
    n_threads: int,
    out_labels: Array,
    out_distances: Array,
    grids: grid.Grids | None = None,
) -> None:
    """Write the label of each point and, unless `out_distances` is empty, its squared distance.

    `grids` are those of a fit, if this is one of its rounds.
    """
    _assign(points, _NO_WEIGHTS, centroids, n_threads, out_labels, out_distances, _NO_SUMS, grids)


def distances(points: Array, centroids: Array, n_threads: int) -> Array:
    """Return the distances (n, k) of all points to all centroids, in the type of the points."""
    from kmq.kernels.nearest import distances_to_all

    (k, d), dtype = centroids.shape, points.dtype
    parts, groups = parts_of(points, k), differences.grouped(centroids, dtype)
    found = np.empty((len(points), k), dtype)

    def work(chunk: int) -> None:
        part = parts[chunk]
        scratch = differences.group_scratch_of(d, dtype)
        distances_to_all(d, k, points[part].reshape(-1), groups, *scratch, found[part].reshape(-1))
        np.sqrt(found[part], found[part])

    run_chunks(work, len(parts), n_threads)
    return found


def assign_and_sum(
    points: Array, weights: Array, centroids: Array, out_labels: Array, n_threads: int
) -> tuple[Array, float]:
    """Return the sums (k, d + 1) of weight · (x, 1) by label.

    Unless `out_labels` is empty, write labels and return the inertia too.
    """
    k, d = centroids.shape
    sums = np.empty((len(parts_of(points, k)), k, d + 1))
    inertia = _assign(
        points, weights, centroids, n_threads, out_labels, np.empty(0, points.dtype), sums
    )
    return exact.added(sums), inertia


def naive_assign_and_sum(
    points: Array, weights: Array, centroids: Array
) -> tuple[Array, Array, float]:
    """Return sums as `assign_and_sum`, labels and inertia, computed in float64, one centroid after
    another, on one thread."""
    least, labels = np.full(len(points), np.inf), np.zeros(len(points), np.int32)
    for label, centroid in enumerate(centroids.astype(points.dtype).astype(np.float64)):
        distances = np.square(points - centroid).sum(axis=1)
        nearer = distances < least
        least[nearer] = distances[nearer]
        labels[nearer] = label
    weights = weights if weights.size else np.ones(len(points))
    columns = [*(weights * channel for channel in points.T), weights]
    sums = np.array([np.bincount(labels, column, len(centroids)) for column in columns]).T
    return sums, labels, float((weights * least).sum())


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


def inertia(points: Array, labels: Array, weights: Array, rows: Array, n_threads: int) -> float:
    """Return the inertia by centroids `rows` (k, d) of the type of the points, as `assign_and_sum`
    does."""
    from kmq.kernels._jit import UP_TO_4
    from kmq.kernels.bounded import inertia as inertia_of

    (k, d), flat_rows = rows.shape, rows.reshape(-1)
    parts, channels = parts_of(points, k), (0,) * d if d <= len(UP_TO_4) else ()
    inertias = [0.0] * len(parts)

    def work(chunk: int) -> None:
        part = parts[chunk]
        inertias[chunk] = inertia_of(
            channels, d, points[part].reshape(-1), weights[part], flat_rows, labels[part]
        )

    run_chunks(work, len(parts), n_threads)
    return sum(inertias)


def parts_of(points: Array, k: int) -> list[slice]:
    """Return the chunks that the points are cut into for rounds."""
    return _parts(*points.shape, k)


@lru_cache(maxsize=64)
def _parts(n: int, d: int, k: int) -> list[slice]:
    n_chunks = _n_chunks(n, k * d, k * (d + 1))
    size = -(-n // n_chunks)
    return [slice(chunk * size, (chunk + 1) * size) for chunk in range(n_chunks)]


def _assign(
    points: Array,
    weights: Array,
    centroids: Array,
    n_threads: int,
    out_labels: Array,
    out_distances: Array,
    out_sums: Array,
    grids: grid.Grids | None = None,
) -> float:
    """Run the kernel over chunks of the points, each with its own one of `out_sums`."""
    parts = parts_of(points, len(centroids))
    if not len(out_sums) and n_threads == 1:  # other results do not depend on chunks
        last = len(parts) - 1
        ends = range(0, len(parts), _TOGETHER)
        parts = [slice(parts[a].start, parts[min(a + _TOGETHER - 1, last)].stop) for a in ends]
    only_labels = not (out_distances.size or len(out_sums))
    assign = _assigner(points, centroids, grids or grid.Grids(), only_labels)
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


def _assigner(
    points: Array, centroids: Array, grids: grid.Grids, only_labels: bool
) -> Callable[..., float]:
    """Return the kernel that is fastest for these points and centroids, to call with points and
    weights, and with labels, distances and sums to write."""
    from kmq.kernels.grid import assign_by_grid
    from kmq.kernels.nearest import assign, assign_by_products

    (k, d), dtype = centroids.shape, points.dtype
    made_grid = grids.of(points, centroids)
    if made_grid is not None:
        channels, shift, *cells = made_grid

        def by_grid(points: Array, weights: Array, *out: Array) -> float:
            scratch = grid.scratch_of(dtype)
            return float(assign_by_grid(channels, shift, points, weights, *cells, scratch, *out))

        return by_grid
    if only_labels and screening.is_faster(len(points), k, d, dtype):
        label = screening.labeller_of(points, centroids)
        if label is not None:
            return lambda points, _weights, labels, *_out: float(label(points, labels))
    if products.are_faster(len(points), k, d, dtype):
        made = products.products_of(centroids, dtype)

        def by_products(points: Array, weights: Array, *out: Array) -> float:
            scratch = products.scratch_of(made, dtype)
            return float(assign_by_products(d, points, weights, *made, scratch, *out))

        if products.are_certain(made):
            return by_products
    groups, channels = differences.grouped(centroids, dtype), differences.channels_of(d)

    def by_differences(points: Array, weights: Array, *out: Array) -> float:
        return float(
            assign(channels, d, points, weights, groups, *differences.scratch_of(d, dtype), *out)
        )

    return by_differences


def _n_chunks(n_points: int, compared: int, summed: int) -> int:
    """Return how many chunks to cut points into: each is compared with so many channels of
    centroids, and each chunk has so many numbers in its sums."""
    work = n_points * (compared + _POINT_WORK)
    enough = min(_MOST_CHUNKS, work // _CHUNK_WORK, n_points // _CHUNK_POINTS)
    return max(1, min(enough, _SUM_BUDGET // summed))
