"""Clusters merged in pairs, the cheapest first (Equitz 1989).

Clusters are columns (d, n) float32 in Morton order, with `weights` (n,) float32. A pair costs the
squared distance times the lesser weight: what the inertia grows by if the lighter one's points go
to the heavier one. Merged at the mean they cost less, but the mean is rounded to a whole colour in
the end. Each cluster looks for the partner of least cost as far as a heavier one could be. A
lighter one farther off finds it from its own side.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import UP_TO_4, fma, inlined, kernel

BLOCK = 128
"""Clusters that look for partners together."""

FAMILY = 16
"""Blocks that are passed over together where they are far away."""

LANES = 16
"""Clusters compared side by side."""


@inlined
def _gap(channels, low, high, other_low, other_high):
    """Return the squared distance of two boxes."""
    square = np.float32(0)
    for c in range(len(channels)):
        outside = max(max(low[c] - other_high[c], other_low[c] - high[c]), np.float32(0))
        square = fma(outside, outside, square)
    return square


@inlined
def _fill_gaps(channels, columns, block, n, low, high, gaps):
    """Write the squared distance of each cluster of a block from a box, and return how many there
    are."""
    start = block * BLOCK
    size = min(BLOCK, n - start)
    for c in range(len(channels)):
        column, least, most = columns[c, start : start + size], low[c], high[c]
        for i in range(size):
            outside = max(max(least - column[i], column[i] - most), np.float32(0))
            gaps[i] = fma(outside, outside, gaps[i] if c > 0 else np.float32(0))
    return size


@inlined
def _gather(channels, columns, weights, block, low, high, radii, costs, mine, places):
    """Copy the clusters of a block that look as far as a box; fill lanes up with ones that take no
    partner. Return how many there are, and how far they look at most."""
    d, start = len(channels), block * BLOCK
    count, reach = 0, np.float32(0)
    gaps = mine[d + 2]
    size = _fill_gaps(channels, columns, block, weights.size, low, high, gaps)
    for i in range(size):
        places[count] = i
        count += gaps[i] <= radii[i]
    for t in range(count):
        i = places[t]
        for c in range(d):
            mine[c, t] = columns[c, start + i]
        mine[d, t], mine[d + 1, t] = weights[start + i], costs[start + i]
        reach = max(reach, radii[i])
    for t in range(count, (count + LANES - 1) // LANES * LANES):
        for c in range(d + 1):
            mine[c, t] = 1
        mine[d + 1, t], places[t] = 0, 0
    return count, reach


@inlined
def _gather_others(channels, columns, weights, block, low, high, reach, gaps, rows, ids):
    """Copy the clusters of a block that are within `reach` of a box, and return how many."""
    d, count, first = len(channels), 0, np.int32(block * BLOCK)
    size = _fill_gaps(channels, columns, block, weights.size, low, high, gaps)
    for i in range(size):
        ids[count] = first + np.int32(i)
        count += gaps[i] <= reach
    for t in range(count):
        for c in range(d):
            rows[t, c] = columns[c, ids[t]]
        rows[t, d] = weights[ids[t]]
    return count


@inlined
def _compare(channels, mine, count, first, places, rows, ids, n_others, partners):
    """Have `count` clusters, the numbers of which are `first` and `places`, take those of the rows
    as partners that cost less."""
    d = len(channels)
    size = (count + LANES - 1) // LANES * LANES
    y, z, w = min(1, d - 1), min(2, d - 1), min(3, d - 1)
    xs, ys, zs, ws = mine[0, :size], mine[y, :size], mine[z, :size], mine[w, :size]
    weights, costs = mine[d, :size], mine[d + 1, :size]
    for j in range(n_others):
        x, other_y, other_z, other_w = rows[j, 0], rows[j, y], rows[j, z], rows[j, w]
        weight, number, place = rows[j, d], ids[j], ids[j] - np.int32(first)
        for i in range(size):
            u = xs[i] - x
            square = u * u
            if d > 1:
                u = ys[i] - other_y
                square = fma(u, u, square)
            if d > 2:
                u = zs[i] - other_z
                square = fma(u, u, square)
            if d > 3:
                u = ws[i] - other_w
                square = fma(u, u, square)
            cost = square * min(weights[i], weight)
            less = (cost < costs[i]) & (places[i] != place)
            partners[i] = number if less else partners[i]
            costs[i] = cost if less else costs[i]


@inlined
def _look(
    channels, columns, weights, block, other, low, high, radii, mine, rows, numbers, costs,
    partners,
):  # fmt: skip
    """Have clusters of a block look for partners in another, or in their own."""
    d, first = len(channels), block * BLOCK
    places, ids, found = numbers[0], numbers[1], numbers[2]
    count, reach = _gather(
        channels, columns, weights, block, low[other], high[other], radii, costs, mine, places
    )
    if count == 0:
        return
    n_others = _gather_others(
        channels, columns, weights, other, low[block], high[block], reach, mine[d + 2], rows, ids
    )
    for t in range(count):
        found[t] = partners[first + places[t]]
    _compare(channels, mine, count, first, places, rows, ids, n_others, found)
    for t in range(count):
        i = first + places[t]
        partners[i], costs[i] = found[t], mine[d + 1, t]
        radii[places[t]] = costs[i] / weights[i]


@kernel(
    "channels, f4[:, :], f4[:], i8, i8, f4[:, :], f4[:, :], f4[:, :], f4[:, :], f4[:], f4[:, :],"
    "f4[:, :], i4[:, :], f4[:], i4[:]",
    channels=UP_TO_4,
)
def find_partners(
    channels, columns, weights, first, last, low, high, family_low, family_high, radii, mine,
    rows, numbers, costs, partners,
):  # fmt: skip
    """Find the partners, and their costs, of those clusters of the blocks first … last - 1 whose
    partner is below 0.

    `low` and `high` (blocks, d) are the boxes of BLOCK clusters, and the others (families, d) those
    of FAMILY blocks. Scratch are `radii` (BLOCK,), `mine` (d + 3, BLOCK), `rows` (BLOCK, d + 1) and
    `numbers` (3, BLOCK).
    """
    n, n_blocks = weights.size, low.shape[0]
    for block in range(first, last):
        start = block * BLOCK
        for i in range(min(BLOCK, n - start)):
            radii[i] = -1
            if partners[start + i] < 0:
                radii[i] = np.inf
                costs[start + i] = np.inf
                partners[start + i] = start + i - 1 if start + i > 0 else 1
        _look(
            channels, columns, weights, block, block, low, high, radii, mine, rows, numbers,
            costs, partners,
        )  # fmt: skip
        reach = np.float32(-1)
        for i in range(min(BLOCK, n - start)):
            reach = max(reach, radii[i])
        own_low, own_high = low[block], high[block]
        for family in range(family_low.shape[0]):
            if _gap(channels, own_low, own_high, family_low[family], family_high[family]) > reach:
                continue
            for other in range(family * FAMILY, min((family + 1) * FAMILY, n_blocks)):
                if (
                    other != block
                    and _gap(channels, own_low, own_high, low[other], high[other]) <= reach
                ):
                    _look(
                        channels, columns, weights, block, other, low, high, radii, mine, rows,
                        numbers, costs, partners,
                    )  # fmt: skip


@kernel("channels, i8[:], i8, i4[:], f4[:, :], f8[:], f4[:], i4[:]", channels=UP_TO_4)
def merge_pairs(channels, order, most, places, columns, weights, costs, partners):
    """Merge clusters with their partners, in the `order` given, up to `most` and none twice; return
    how many are left.

    They keep their order, and a merged one the place of its first. It has no partner then, nor have
    those whose partner was merged: -1. `places` (n,) is scratch."""
    n, merged = weights.size, 0
    for i in range(n):
        places[i] = 1
    for i in order:
        j = partners[i]
        if merged == most:
            break
        if places[i] < 1 or places[j] < 1:
            continue
        kept, gone = min(i, np.int64(j)), max(i, np.int64(j))
        total = weights[i] + weights[j]
        for c in range(len(channels)):
            both = weights[i] * columns[c, i] + weights[j] * columns[c, j]
            columns[c, kept] = both / total
        weights[kept] = total
        places[kept], places[gone] = 0, -1
        merged += 1
    left = 0
    for i in range(n):
        for c in range(len(channels)):
            columns[c, left] = columns[c, i]
        weights[left], costs[left] = weights[i], costs[i]
        partners[left] = -1 if places[i] < 1 or places[partners[i]] < 1 else partners[i]
        kept = places[i] >= 0
        places[i] = left if places[i] > 0 else -1
        left += kept
    for i in range(left):
        if partners[i] >= 0:
            partners[i] = places[partners[i]]
    return left
