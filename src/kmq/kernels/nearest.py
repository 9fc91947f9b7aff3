"""Nearest centroid of each point, and the sums k-means needs: the inner loop of everything.

Points run in the vector lanes: a block is transposed into tiles (d, lanes), and each tile is
compared with four centroids at a time, their distances growing in registers channel by channel,
value and index chosen without branches. Measured against loops that LLVM vectorises, which pass
distances through memory every few channels, this takes half the time at 8 channels and a third at
64; there it takes less than the matrix product alone of a BLAS (200 and 290 ns a point at 256
centroids), and needs no second look at near ties.

With many channels products can be faster than differences: see `kmq.kernels._products`.

What did not help on points in no order: comparing each block with only the centroids that its
bounding box leaves over (blocks of 512 normal points in three dimensions keep two thirds of 64 or
256 centroids); see `kmq.kernels.ordered` for sorted points. Nor did adding runs of equal labels in
registers.

Kernels take `channels`: a tuple of d anythings, whose length is known when they are compiled, so
that loops over the channels unroll; or, above MOST_UNROLLED, an empty one.
Points and the groups of centroids are of one float type, flat, C order: points (n, d); groups
(groups, d, GROUP), filled up with infinite centroids, which are never nearest.
Squared distances are Σ (x - c)² from the first channel to the last with fused multiply-adds. Ties
go to the lowest index. The naive twin is `tests/naive.py:nearest`.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import kernel, trailing_zeros
from kmq.kernels._lanes import (
    LANE_BYTES,
    lane_count,
    load_panel,
    panel_count,
    store,
)
from kmq.kernels._products import (
    GREATEST,
    best,
    compare,
    compared_if_full,
    greatest_square,
    least_of,
    not_above,
    round_rows,
    scale_of,
    score,
)
from kmq.kernels._rows import (
    GROUP,
    MOST_UNROLLED,
    add_rows,
    distances_to_group,
    nearest_in_tile,
    transpose,
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
        transpose(channels, d, block_rows, tiles)
        for first in range(0, size, lanes):
            least, label = nearest_in_tile(channels, d, tiles, first * d, groups)
            store(least, distances, first)
            store(label, labels, first)
        inertia = write_block(
            channels, d, start, block_rows, weights, labels, distances, inertia, out_labels,
            out_distances, out_sums,
        )  # fmt: skip
    return inertia


@kernel(
    "i8, T[:], f8[:], T[:], f8[:], i2[:], T[:], f8[:], buffers, i4[:], T[:], f8[:]",
    T=("f4", "f8"),
    buffers="(i2[:], i4[:], i4[:], i4[:], i4[:], i4[:], i4[:], T[:], T[:])",
)
def assign_by_products(
    d, points, weights, centroids, heights, panels, shift, bounds, buffers, out_labels,
    out_distances, out_sums,
):  # fmt: skip
    """Do as `assign`, but first compare |c|²/2 - x·c in whole numbers, which takes less time.

    `centroids` are (k, d), flat. `panels` (panels, pairs of channels, lanes, 2) are centroids less
    `shift` (d,), scaled, and `heights` (k,) half their squares before. Centroids that could be the
    nearest one but for rounding, by `bounds`, are compared in the manner of `assign`, so that
    labels are the same. `buffers` are scratch for the points of a block: in whole numbers, then
    heights for all lanes, infinite where the last panel is filled up, scores, bounds of these,
    labels, pairs of a point and a candidate, and distances.
    """
    whole, whole_heights, scores, limits, labels, owners, candidates, found, distances = buffers
    block, width, lanes = labels.size, whole_heights.size, panel_count(scores)
    n, k = points.size // d, heights.size
    with_distances = out_distances.size > 0 or (out_sums.size > 0 and out_labels.size > 0)
    inertia = 0.0
    for start in range(0, n, block):
        size = min(block, n - start)
        rows = points[start * d : (start + size) * d]
        scale, margin = scale_of(np.float64(greatest_square(d, rows, shift)), shift, bounds)
        if margin < 0:
            for i in range(size):
                limits[i], labels[i] = GREATEST, -1
        else:
            round_rows(d, rows, shift, shift.dtype.type(scale), whole)
            for j in range(k):
                whole_heights[j] = np.int32(np.rint(heights[j] * (scale * bounds[1])))
            score(d + d % 2, whole, size, whole_heights, panels, scores)
            for i in range(size):
                limits[i] = least_of(scores, i * width, width) + margin
            for i in range(size):
                labels[i] = best(scores, i * width, width, limits[i])
        for i in range(size):
            distances[i] = np.inf
        count = 0
        for i in range(size):
            if labels[i] >= 0:
                owners[count], candidates[count] = i, labels[i]
                count += with_distances
                count = compared_if_full(
                    lanes, d, rows, centroids, owners, candidates, count, found, labels, distances
                )
            else:
                labels[i] = 0
                for first in range(0, width, lanes):
                    near = not_above(limits[i], load_panel(scores, i * width + first))
                    while near:
                        owners[count] = i
                        candidates[count] = first + np.int64(trailing_zeros(near))
                        near &= near - np.uint64(1)
                        count += candidates[count] < k
                    count = compared_if_full(
                        lanes, d, rows, centroids, owners, candidates, count, found, labels,
                        distances,
                    )  # fmt: skip
        compare(d, rows, centroids, owners, candidates, count, found, labels, distances)
        inertia = write_block(
            (), d, start, rows, weights, labels, distances, inertia, out_labels, out_distances,
            out_sums,
        )  # fmt: skip
    return inertia


@kernel("channels, i8, T[:], i4[:], f8[:], f8[:]", channels=_UNROLLED, T=("f4", "f8"))
def accumulate(channels, d, points, labels, weights, out_sums):
    """Add weight · (x, 1) to the row of `out_sums`, flat (k, d + 1), that a point's label names."""
    add_rows(channels, len(channels) if len(channels) else d, points, labels, weights, out_sums)


@kernel("i8, i8, T[:], T[:], T[:], T[:], T[:]", T=("f4", "f8"))
def distances_to_all(d, k, points, groups, tiles, distances, out_distances):
    """Write the squared distances, flat (n, k), of all points to all centroids.

    `tiles` and `distances` are scratch: for the channels of a block of points, and for those of a
    tile to a group.
    """
    lanes = lane_count(tiles)
    n, block = points.size // d, tiles.size // d
    for start in range(0, n, block):
        size = min(block, n - start)
        transpose((), d, points[start * d : (start + size) * d], tiles)
        for first in range(0, size, lanes):
            for group in range(groups.size // (GROUP * d)):
                d0, d1, d2, d3 = distances_to_group((), d, tiles, first * d, groups, group)
                store(d0, distances, 0)
                store(d1, distances, lanes)
                store(d2, distances, 2 * lanes)
                store(d3, distances, 3 * lanes)
                for i in range(min(lanes, size - first)):
                    at = (start + first + i) * k + group * GROUP
                    for j in range(min(GROUP, k - group * GROUP)):
                        out_distances[at + j] = distances[j * lanes + i]
