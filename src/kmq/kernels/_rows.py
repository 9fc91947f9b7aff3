"""Rows of points and groups of centroids, as kernels of k-means share them."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined
from kmq.kernels._lanes import (
    lane_count,
    less,
    load,
    load_row,
    minus,
    multiply_add,
    plus,
    select,
    splat,
    store,
    times,
    widened,
)

GROUP = 4
"""Centroids compared at a time."""

MOST_UNROLLED = 8
"""Most channels whose loops unroll; beyond, it gains nothing and takes long to compile."""

_STRIP = (0,) * 8
"""Channels that are added at a time where loops do not unroll."""


@inlined
def add_rows(channels, d, rows, labels, weights, out_sums):
    """Add weight · (x, 1) to the sums that each label names; points and sums are flat.

    Several channels of sums are a vector: half the time of adding them one by one.
    """
    strip = channels if len(channels) else _STRIP
    in_strips = d // len(strip) * len(strip)
    for i in range(rows.size // d):
        at, to = np.uint64(i) * np.uint64(d), np.uint64(labels[i]) * np.uint64(d + 1)
        for first in range(0, in_strips, len(strip)):
            c = np.uint64(first)
            x = widened(load_row(rows, at + c, strip))
            if weights.size:
                x = times(x, splat(weights[i], x))
            store(plus(load_row(out_sums, to + c, strip), x), out_sums, to + c)
        for first in range(in_strips, d):
            c = np.uint64(first)
            out_sums[to + c] += (weights[i] if weights.size else 1.0) * rows[at + c]
        out_sums[to + np.uint64(d)] += weights[i] if weights.size else 1.0


@inlined
def write_block(
    channels, d, start, rows, weights, labels, distances, inertia, out_labels, out_distances,
    out_sums,
):  # fmt: skip
    """Write what is asked for of a block of points that starts at `start`, as
    `kmq.kernels.nearest.assign` does; return the inertia with theirs added."""
    size = rows.size // d
    if out_labels.size:
        for i in range(size):
            out_labels[start + i] = labels[i]
    if out_distances.size:
        for i in range(size):
            out_distances[start + i] = distances[i]
    if out_sums.size:
        add_rows(channels, d, rows, labels, weights[start : start + size], out_sums)
        if out_labels.size:
            for i in range(size):
                inertia += distances[i] * (weights[start + i] if weights.size else 1.0)
    return inertia


@inlined
def distances_to_group(channels, d, tiles, start, groups, group):
    """Return the squared distances of the tile that starts at `start` to the GROUP centroids."""
    lanes = lane_count(tiles)
    at = group * GROUP * d
    x = load(tiles, start)
    u0, u1 = minus(x, splat(groups[at], x)), minus(x, splat(groups[at + 1], x))
    u2, u3 = minus(x, splat(groups[at + 2], x)), minus(x, splat(groups[at + 3], x))
    d0, d1, d2, d3 = times(u0, u0), times(u1, u1), times(u2, u2), times(u3, u3)
    for c in range(1, len(channels) if len(channels) else d):
        at = (group * d + c) * GROUP
        x = load(tiles, start + c * lanes)
        u0, u1 = minus(x, splat(groups[at], x)), minus(x, splat(groups[at + 1], x))
        u2, u3 = minus(x, splat(groups[at + 2], x)), minus(x, splat(groups[at + 3], x))
        d0, d1 = multiply_add(u0, u0, d0), multiply_add(u1, u1, d1)
        d2, d3 = multiply_add(u2, u2, d2), multiply_add(u3, u3, d3)
    return d0, d1, d2, d3


@inlined
def nearest_in_tile(channels, d, tiles, start, groups):
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


@inlined
def transpose(channels, d, rows, out_tiles):
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
def gather_rows(channels, d, points, numbers, out_tile):
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
