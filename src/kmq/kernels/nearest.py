"""Nearest centroid of each point, and the sums k-means needs: the inner loop of everything.

Points run in the vector lanes: a block is transposed into tiles (d, lanes), and each tile is
compared with four centroids at a time, their distances growing in registers channel by channel,
value and index chosen without branches. Measured against loops that LLVM vectorises, which pass
distances through memory every few channels, this takes half the time at 8 channels and a third at
64; there it takes less than the matrix product alone of a BLAS (200 and 290 ns a point at 256
centroids), and needs no second look at near ties.

With many channels products can be faster than differences: see `kmq.kernels._products`.

What did not help on points in no order: comparing each block with only the centroids that its
bounding box leaves over, even after sorting points into cells (blocks of 512 normal points in three
dimensions keep two thirds of 64 or 256 centroids); and adding runs of equal labels in registers.

Kernels take `channels`: a tuple of d anythings, whose length is known when they are compiled, so
that loops over the channels unroll; or, above MOST_UNROLLED, an empty one.
Points and the groups of centroids are of one float type, flat, C order: points (n, d); groups
(groups, d, GROUP), filled up with infinite centroids, which are never nearest.
Squared distances are Σ (x - c)² from the first channel to the last with fused multiply-adds. Ties
go to the lowest index. The naive twin is `tests/naive.py:nearest`.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import fma, inlined, kernel
from kmq.kernels._lanes import (
    LANE_BYTES,
    lane_count,
    less,
    load,
    select,
    splat,
    store,
)
from kmq.kernels._products import best, bound_of, least_of, look_again, score, shift_row
from kmq.kernels._rows import (
    GROUP,
    MOST_UNROLLED,
    add_rows,
    distances_to_group,
    write_block,
)

_UNROLLED = tuple(f"(i8,) * {d}" for d in range(MOST_UNROLLED + 1))
"""Types that `channels` may have."""

_BLOCK = 512
"""Points of a block at most: transposing many at once, tiles are in memory when they are read."""

_BLOCK_NUMBERS = 4096
"""Numbers of a block at most, if that is a tile or more: 16 to 32 KiB, for L1."""


def block_size(d: int, itemsize: int) -> int:
    """Return the points of a block: whole tiles."""
    lanes = LANE_BYTES // itemsize
    return max(lanes, min(_BLOCK, _BLOCK_NUMBERS // d) // lanes * lanes)


@inlined
def _transpose(channels, d, rows, out_tiles):
    """Write points, flat and row by row, as tiles (d, lanes)."""
    lanes = lane_count(out_tiles)
    strip = len(channels) if len(channels) else MOST_UNROLLED
    in_strips = d // strip * strip
    for start in range(0, rows.size // d, lanes):
        size = min(lanes, rows.size // d - start)
        part = rows[start * d : (start + size) * d]
        tile = out_tiles[start * d : (start + lanes) * d]
        # Unsigned: a signed sum could be negative, which costs a check and the vectors.
        for first in range(0, in_strips, strip):
            columns = tile[first * lanes : (first + strip) * lanes]
            for i in range(size):
                at = np.uint64(i) * np.uint64(d) + np.uint64(first)
                for c in range(strip):
                    to = np.uint64(c) * np.uint64(lanes) + np.uint64(i)
                    columns[to] = part[at + np.uint64(c)]
        for c in range(in_strips, d):
            column = tile[c * lanes : (c + 1) * lanes]
            for i in range(size):
                column[i] = part[np.uint64(i) * np.uint64(d) + np.uint64(c)]


@inlined
def _nearest_in_tile(channels, d, tiles, start, groups):
    """Return the least distances and the labels of the tile that starts at `start`."""
    x = load(tiles, start)
    least, label = splat(np.inf, x), splat(np.int32(0), x)
    for group in range(groups.size // (GROUP * d)):
        d0, d1, d2, d3 = distances_to_group(channels, d, tiles, start, groups, group)
        j = np.int32(group * GROUP)
        j1, j2, j3 = np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
        nearer = less(d1, d0)
        low, low_label = select(nearer, d1, d0), select(nearer, splat(j1, x), splat(j, x))
        nearer = less(d3, d2)
        high, high_label = select(nearer, d3, d2), select(nearer, splat(j3, x), splat(j2, x))
        nearer = less(high, low)
        low, low_label = select(nearer, high, low), select(nearer, high_label, low_label)
        nearer = less(low, least)
        least, label = select(nearer, low, least), select(nearer, low_label, label)
    return least, label


@kernel(
    "channels, i8, T[:], f8[:], T[:], T[:], T[:], i4[:], i4[:], T[:], f8[:]",
    channels=_UNROLLED,
    T=("f4", "f8"),
)
def assign(
    channels, d, points, weights, groups, tiles, distances, labels, out_labels, out_distances,
    out_sums,
):  # fmt: skip
    """Find the nearest centroid of each point, and write what is asked for: an empty array leaves
    out the labels, the distances, or the sums, flat (k, d + 1), to whose rows weight · (x, 1) is
    added.

    Return the inertia if labels and sums are both written. Empty `weights` count each point once.
    Sums are float64: exact while they are whole numbers below 2^53, whatever the order.
    `distances` and `labels` are scratch for a block of points, `tiles` for its d channels.
    """
    d = len(channels) if len(channels) else d
    lanes, block = lane_count(tiles), labels.size
    n = points.size // d
    inertia = 0.0
    for number in range((n + block - 1) // block):
        start = number * block
        size = min(block, n - start)
        block_rows = points[start * d : (start + size) * d]
        _transpose(channels, d, block_rows, tiles)
        for first in range(0, size, lanes):
            least, label = _nearest_in_tile(channels, d, tiles, first * d, groups)
            store(least, distances, first)
            store(label, labels, first)
        inertia = write_block(
            channels, d, start, block_rows, weights, labels, distances, inertia, out_labels,
            out_distances, out_sums,
        )  # fmt: skip
    return inertia


@inlined
def _distances(d, rows, size, centroids, labels, out_distances):
    """Write the squared distance of each point to the centroid that its label names.

    Four at a time: each is a chain of sums that wait for one another.
    """
    for i in range(0, size, 4):
        at0, at1 = i * d, min(i + 1, size - 1) * d
        at2, at3 = min(i + 2, size - 1) * d, min(i + 3, size - 1) * d
        y0, y1 = labels[i] * d, labels[min(i + 1, size - 1)] * d
        y2, y3 = labels[min(i + 2, size - 1)] * d, labels[min(i + 3, size - 1)] * d
        d0 = d1 = d2 = d3 = rows.dtype.type(0)
        for c in range(d):
            u0 = rows[np.uint64(at0 + c)] - centroids[np.uint64(y0 + c)]
            u1 = rows[np.uint64(at1 + c)] - centroids[np.uint64(y1 + c)]
            u2 = rows[np.uint64(at2 + c)] - centroids[np.uint64(y2 + c)]
            u3 = rows[np.uint64(at3 + c)] - centroids[np.uint64(y3 + c)]
            d0, d1 = fma(u0, u0, d0), fma(u1, u1, d1)
            d2, d3 = fma(u2, u2, d2), fma(u3, u3, d3)
        out_distances[min(i + 3, size - 1)] = d3
        out_distances[min(i + 2, size - 1)] = d2
        out_distances[min(i + 1, size - 1)] = d1
        out_distances[i] = d0


@kernel(
    "i8, T[:], f8[:], T[:], T[:], T[:], T[:], T[:], buffers, i4[:], T[:], f8[:]",
    T=("f4", "f8"),
    buffers="(T[:], T[:], T[:], i4[:])",
)
def assign_by_products(
    d, points, weights, centroids, heights, panels, shift, bounds, buffers, out_labels,
    out_distances, out_sums,
):  # fmt: skip
    """Do as `assign`, with one operation a channel and not two: compare |c|²/2 - x·c.

    `centroids` are (k, d), flat. `panels` (panels, d, lanes) are centroids less `shift` (d,), and
    `heights` half their squares, infinite where the last panel is filled up. Centroids that could
    be the nearest one but for rounding, by `bounds`, are compared in the manner of `assign`, so
    that labels are the same. `buffers` are scratch for the points of a block: less the shift, the
    squares of that, scores, and labels.
    """
    shifted, squares, scores, labels = buffers
    block, width = labels.size, heights.size
    n = points.size // d
    inertia = 0.0
    for number in range((n + block - 1) // block):
        start = number * block
        size = min(block, n - start)
        block_rows = points[start * d : (start + size) * d]
        for i in range(size):
            squares[i] = shift_row(d, block_rows, i * d, shift, shifted, i * d)
        score(d, shifted, size, heights, panels, scores)
        for i in range(size):
            squares[i] = bound_of(least_of(scores, i * width, width), squares[i], bounds)
        for i in range(size):
            labels[i] = best(scores, i * width, width, squares[i])
        for i in range(size):
            if labels[i] < 0:
                labels[i] = look_again(
                    d, block_rows, i * d, centroids, scores, i * width, width, squares[i]
                )
        if out_distances.size or (out_sums.size and out_labels.size):
            _distances(d, block_rows, size, centroids, labels, squares)
        inertia = write_block(
            (), d, start, block_rows, weights, labels, squares, inertia, out_labels,
            out_distances, out_sums,
        )  # fmt: skip
    return inertia


@kernel("channels, i8, T[:], i4[:], f8[:], f8[:]", channels=_UNROLLED, T=("f4", "f8"))
def accumulate(channels, d, points, labels, weights, out_sums):
    """Add weight · (x, 1) to the row of `out_sums`, flat (k, d + 1), that a point's label names."""
    add_rows(channels, len(channels) if len(channels) else d, points, labels, weights, out_sums)
