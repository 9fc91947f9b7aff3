"""Rounds of k-means that compare only points whose nearest centroid may have changed.

When a point is compared with all centroids, it is known how much nearer its own is than all others
(Hamerly 2010). That gap shrinks by no more than its own centroid moves and the farthest mover of
the others does. Until those moves add up to the gap, the point keeps its label. One number a point
is kept: the gap and what the moves of its centroid had added up to then; it is compared with what
they add up to now. All is rounded to the safe side, and distances have to be apart by more than
they can be off in floats: so labels are those of `kmq.kernels.nearest`, to the last tie.

`slack` is (4,): what distances are multiplied by at least to be certainly too large, and a tiny
number to be added; what a gap is off by, relatively; the greatest distance that there can be.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import UP_TO_4, inlined, kernel, trailing_zeros
from kmq.kernels._lanes import (
    bits,
    gather,
    lane_count,
    less,
    load,
    load_like,
    load_panel,
    panel_count,
    select,
    splat,
    store,
)
from kmq.kernels._products import best, least_of, score, shift_row
from kmq.kernels._rows import GROUP, MOST_UNROLLED, add_rows, distances_to_group


@inlined
def _pending(thresholds, labels, gaps, out_pending):
    """Write the points whose gap is not above the threshold of their label; return their number."""
    n, lanes = labels.size, panel_count(gaps)
    whole = n // lanes * lanes
    count = 0
    for first in range(0, whole, lanes):
        gap = load_panel(gaps, first)
        limit = gather(thresholds, load_like(labels, first, gap))
        unused = np.uint64(64) - np.uint64(lanes)
        found = ~bits(less(limit, gap)) << unused >> unused
        while found:
            out_pending[np.uint64(count)] = first + np.int64(trailing_zeros(found))
            found &= found - np.uint64(1)
            count += 1
    for i in range(whole, n):
        out_pending[np.uint64(count)] = i
        count += not (thresholds[labels[i]] < gaps[i])
    return count


@inlined
def _gap(high, low, total, slack):
    """Return what to keep of a point between whose centroid and all others is a gap, at least: from
    distances squared and rounded to safe sides, and what moves have added up to."""
    high = np.float64(np.sqrt(high)) * slack[0] + slack[1]
    low = np.float64(min(np.sqrt(low), slack[3])) * (2.0 - slack[0]) - slack[1]
    low = low * (2.0 - slack[0]) - slack[1]
    return low - high + total - (low + high + total) * slack[2]


@inlined
def _two_nearest(channels, d, tiles, groups):
    """Return the two least distances and the label of the least, of a tile."""
    x = load(tiles, 0)
    least, second, label = splat(np.inf, x), splat(np.inf, x), splat(np.int32(0), x)
    for group in range(groups.size // (GROUP * d)):
        d0, d1, d2, d3 = distances_to_group(channels, d, tiles, 0, groups, group)
        j = np.int32(group * GROUP)
        j1, j2, j3 = np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
        nearer = less(d1, d0)
        low, low_label = select(nearer, d1, d0), select(nearer, splat(j1, x), splat(j, x))
        low_second = select(nearer, d0, d1)
        nearer = less(d3, d2)
        high, high_label = select(nearer, d3, d2), select(nearer, splat(j3, x), splat(j2, x))
        high_second = select(nearer, d2, d3)
        nearer = less(high, low)
        next_one = select(nearer, low, high)
        low, low_label = select(nearer, high, low), select(nearer, high_label, low_label)
        low_second = _lesser(_lesser(low_second, high_second), next_one)
        nearer = less(low, least)
        next_one = select(nearer, least, low)
        least, label = select(nearer, low, least), select(nearer, low_label, label)
        second = _lesser(_lesser(second, low_second), next_one)
    return least, second, label


@inlined
def _gather_rows(channels, d, points, numbers, out_tile):
    """Write the points with some numbers as a tile (d, lanes)."""
    lanes = lane_count(out_tile)
    strip = len(channels) if len(channels) else MOST_UNROLLED
    in_strips = d // strip * strip
    for first in range(0, in_strips, strip):
        for lane in range(numbers.size):
            at = np.uint64(numbers[np.uint64(lane)]) * np.uint64(d) + np.uint64(first)
            for c in range(strip):
                to = np.uint64(first + c) * np.uint64(lanes) + np.uint64(lane)
                out_tile[to] = points[at + np.uint64(c)]
    for c in range(in_strips, d):
        for lane in range(numbers.size):
            at = np.uint64(numbers[np.uint64(lane)]) * np.uint64(d) + np.uint64(c)
            out_tile[np.uint64(c) * np.uint64(lanes) + np.uint64(lane)] = points[at]


@inlined
def _lesser(a, b):
    return select(less(a, b), a, b)


@inlined
def _move_sums(d, points, weights, i, old, label, out_sums):
    """Take a point from one label's sums and give it to another's."""
    weight = weights[i] if weights.size else 1.0
    for c in range(d):
        x = weight * points[i * d + c]
        out_sums[old * (d + 1) + c] -= x
        out_sums[label * (d + 1) + c] += x
    out_sums[old * (d + 1) + d] -= weight
    out_sums[label * (d + 1) + d] += weight


@inlined
def _relabel(d, points, weights, i, label, labels, whole, out_sums):
    """Give a point its label, and its sums to that if they are whole."""
    if labels[i] != label:
        if whole:
            _move_sums(d, points, weights, i, labels[i], label, out_sums)
        labels[i] = label


@kernel(
    "channels, i8, T[:], f8[:], T[:], f8[:], T[:], f8[:], buffers, i4[:], T[:], b1, f8[:]",
    channels=("(i8,) * 0", *UP_TO_4),
    T=("f4", "f8"),
    buffers="(T[:], T[:], i4[:], i4[:])",
)
def round_by_differences(
    channels, d, points, weights, groups, totals, thresholds, slack, buffers, labels, gaps, whole,
    out_sums,
):  # fmt: skip
    """Label points that may have another nearest centroid, as `assign` does; bring bounds and sums,
    flat (k, d + 1), up to date. Return how many points were compared.

    If the sums are `whole`, exact in any order, points with a new label move from one to another;
    else they are all added anew. `buffers` are scratch: a tile, distances and labels of a tile's
    points, numbers of n points.
    """
    d = len(channels) if len(channels) else d
    tile, distances, found, pending = buffers
    lanes = lane_count(tile)
    count = _pending(thresholds, labels, gaps, pending)
    for first in range(0, count, lanes):
        size = min(lanes, count - first)
        _gather_rows(channels, d, points, pending[first : first + size], tile)
        least, second, label = _two_nearest(channels, d, tile, groups)
        store(least, distances, 0)
        store(second, distances, lanes)
        store(label, found, 0)
        for lane in range(size):
            i = np.uint64(pending[first + lane])
            high, low = distances[lane], distances[lanes + lane]
            gaps[i] = _gap(high, low, totals[found[lane]], slack)
            _relabel(d, points, weights, i, found[lane], labels, whole, out_sums)
    if not whole:
        out_sums[:] = 0
        add_rows(channels, d, points, labels, weights, out_sums)
    return count


@kernel(
    "i8, T[:], f8[:], T[:], T[:], T[:], T[:], T[:], f8[:], T[:], f8[:], buffers, i4[:], T[:], b1,"
    "f8[:]",
    T=("f4", "f8"),
    buffers="(T[:], T[:], T[:], i4[:], i4[:])",
)
def round_by_products(
    d, points, weights, centroids, heights, panels, shift, bounds, totals, thresholds, slack,
    buffers, labels, gaps, whole, out_sums,
):  # fmt: skip
    """Do as `round_by_differences`, with what `assign_by_products` has. `buffers` are its, and
    numbers of n points."""
    shifted, squares, scores, block_labels, pending = buffers
    width, block = heights.size, block_labels.size
    radius, relative, one = bounds[0], bounds[1] * bounds.dtype.type(1.5), bounds.dtype.type(1)
    count = _pending(thresholds, labels, gaps, pending)
    for first in range(0, count, block):
        size = min(block, count - first)
        for k in range(size):
            at = np.int64(pending[first + k]) * d
            squares[k] = shift_row(d, points[at : at + d], shift, shifted, k * d)
        score(d, shifted, size, heights, panels, scores)
        for k in range(size):
            i = np.int64(pending[first + k])
            label = best(d, points, i * d, centroids, scores, k * width, squares[k], width, bounds)
            own = scores[k * width + label]
            scores[k * width + label] = np.inf
            other = least_of(scores, k * width, width)
            both = np.sqrt(squares[k]) + radius
            error = relative * both * both
            zero = one - one
            high = max(own + own + squares[k] + error, zero)
            low = max(other + other + squares[k] - error, zero)
            gaps[i] = _gap(high, low, totals[label], slack)
            _relabel(d, points, weights, i, label, labels, whole, out_sums)
    if not whole:
        out_sums[:] = 0
        add_rows((), d, points, labels, weights, out_sums)
    return count
