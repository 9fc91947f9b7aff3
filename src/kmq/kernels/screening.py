"""Nearest centroids of points with few channels, by products of whole numbers of 16 bits.

Scores |c|²/2 - x·c are those of `kmq.stages.palette.products`, where their certain error is
derived; here points run in the lanes. A score is kept in the high half of 32 bits, and the number
of its centroid in the low half, so the least is found by one operation, and the second least by
two. Where these are as near as scores can be off, and by as much as the low halves hide, a point is
compared with all centroids as `kmq.kernels.nearest.assign` does it.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel
from kmq.kernels._lanes import (
    add_pairs,
    lane_count,
    less,
    lesser,
    load,
    load_pairs,
    minus,
    multiply_add,
    paired,
    select,
    smallest,
    splat,
    spread,
    store,
    whole_product,
    with_low_half,
)
from kmq.kernels._products import GREATEST, scale_of
from kmq.kernels._rows import MOST_UNROLLED, gather_rows, nearest_in_tile, transpose

_HIDDEN = 1 << 17
"""What low halves can hide of a difference between two scores."""

MOST_CENTROIDS = 1 << 15
"""Centroids at most, so that their numbers fit half of 32 bits."""

_CHANNELS = tuple(f"(i8,) * {d}" for d in (0, *range(4, MOST_UNROLLED + 1)))


@inlined
def _greatest_square(d, tiles, size, shift):
    """Return the greatest |x - shift|² of the points in some tiles."""
    lanes = lane_count(tiles)
    most = minus(load(tiles, 0), load(tiles, 0))
    for first in range(0, size, lanes):
        squares = minus(most, most)
        for c in range(d):
            x = load(tiles, first * d + c * lanes)
            u = minus(x, splat(shift[c], x))
            squares = multiply_add(u, u, squares)
        most = select(less(most, squares), squares, most)
    return -smallest(minus(minus(most, most), most))


@inlined
def _write_pairs(d, tiles, start, shift, scale, out_pairs, to):
    """Write (shift - x) · scale of a tile in whole numbers, two channels side by side."""
    lanes = lane_count(tiles)
    for c in range(0, d, 2):
        x = load(tiles, start + c * lanes)
        one = whole_product(minus(splat(shift[c], x), x), splat(scale, x))
        other = minus(x, x)
        if c + 1 < d:
            x = load(tiles, start + (c + 1) * lanes)
            other = minus(splat(shift[c + 1], x), x)
        store(paired(one, whole_product(other, splat(scale, x))), out_pairs, to + c * lanes)


@inlined
def _two_least(d, pairs, at, like, centroids, heights, numbers):
    """Return the least scores of a tile's points and the second least, with numbers of centroids
    in the low halves."""
    n_pairs = (d + 1) // 2
    lanes = lane_count(like)
    least = second = splat(np.int32(GREATEST), load(like, 0))
    for j in range(numbers.size):
        scores = spread(heights, j, least)
        for p in range(n_pairs):
            x = load_pairs(pairs, at + 2 * p * lanes, scores)
            scores = add_pairs(x, centroids, 2 * (j * n_pairs + p), scores)
        scores = with_low_half(scores, spread(numbers, j, least))
        more = select(less(least, scores), scores, least)
        second, least = lesser(more, second), lesser(scores, least)
    return least, second


@kernel(
    "channels, i8, T[:], T[:], f8[:], i2[:], T[:], f8[:], buffers, i4[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
    buffers="(T[:], i2[:], i4[:], i4[:], i4[:], i4[:], i4[:], T[:])",
)
def label_by_screening(
    channels, d, points, groups, heights, centroids, shift, bounds, buffers, out_labels
):
    """Write the labels of points; return how many have been compared with all centroids in floats.

    `groups` are those of `kmq.kernels.nearest.assign`. For `heights`, `shift` and `bounds` see
    `kmq.stages.palette.products.Products`; `centroids` (k, d or d + 1) are less `shift`, scaled, in
    whole numbers. `buffers` are scratch for the points of a block: tiles, and these in whole
    numbers; heights in whole numbers; the numbers of centroids, from 0 on; least scores, second
    least ones; points to be compared, and a tile of them.
    """
    tiles, pairs, whole_heights, numbers, least, second, pending, tile = buffers
    d = len(channels) if len(channels) else d
    lanes, block = lane_count(tiles), least.size
    stride = d + d % 2
    n, n_compared = points.size // d, 0
    for start in range(0, n, block):
        size = min(block, n - start)
        rows, labels = points[start * d : (start + size) * d], out_labels[start : start + size]
        transpose(channels, d, rows, tiles)
        most = np.float64(_greatest_square(d, tiles, size, shift))
        scale, margin = scale_of(most, shift, bounds)
        count = np.uint64(0)
        if margin < 0:
            for i in range(size):
                pending[i] = i
            count = np.uint64(size)
        else:
            for j in range(heights.size):
                whole_heights[j] = np.int32(np.rint(heights[j] * (scale * bounds[1])))
            for first in range(0, size, lanes):
                own = shift.dtype.type(scale)
                _write_pairs(d, tiles, first * d, shift, own, pairs, first * stride)
                low, next_low = _two_least(
                    d, pairs, first * stride, tiles, centroids, whole_heights, numbers
                )
                store(low, least, first)
                store(next_low, second, first)
            for i in range(size):
                labels[i] = least[i] & 0xFFFF
                pending[count] = i
                count += np.uint64(second[i] <= least[i] + margin + _HIDDEN)
        for first in range(0, np.int64(count), lanes):
            some = pending[first : min(first + lanes, np.int64(count))]
            gather_rows(channels, d, rows, some, tile)
            _, label = nearest_in_tile(channels, d, tile, 0, groups)
            store(label, least, 0)
            for lane in range(some.size):
                labels[np.uint64(some[lane])] = least[lane]
        n_compared += np.int64(count)
    return n_compared
