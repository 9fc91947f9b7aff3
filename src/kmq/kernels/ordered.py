"""Nearest centroids of points that are in an order of neighbours, few channels each.

Points are in blocks of BLOCK, and their order is that of a curve through space, so a block has a
small box. Only centroids that no other one beats everywhere in the box, by more than distances can
be off in floats, are compared with its points: mostly 1 to 8 of 64. They are chosen from those of
FAN blocks together, which are chosen from those of FAN times as many, and so on. So labels are
those of `kmq.kernels.nearest`, to the last tie.

The curve goes through a grid of cells, whose numbers are the ranks of their Gray codes: bits of the
channels in turn. Neighbours on it differ in one bit. Blocks have nearly as few centroids as by
Hilbert's curve, which takes longer to compute (6.1 and 5.5 of 64 with four channels).

Points are tiles (d, lanes), BLOCK points together. Centroids to choose from are panels
(panels, d, PANEL), filled up with infinite ones, in order of their ids.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._candidates import PANEL, choose, fill_up, nearest_of
from kmq.kernels._jit import fma, inlined, kernel
from kmq.kernels._lanes import (
    lane_count,
    less,
    lesser,
    load,
    minus,
    multiply_add,
    select,
    smallest,
    splat,
    store,
    times,
)

BLOCK = 64
"""Points of a block: whole tiles."""

FAN_BITS = 3
FAN = 1 << FAN_BITS
"""Blocks whose centroids are chosen together."""

DIGIT = 10
"""Bits of a cell's number that points are sorted by at a time; there are two of them."""

_CHANNELS = tuple(f"(i8,) * {d}" for d in range(2, 5))


@kernel("channels, T[:], T[:], T, u4[:], i4[:]", channels=_CHANNELS, T=("f4", "f8"))
def number_cells(channels, points, low, per_unit, out_cells, out_counts):
    """Write the number of the cell that each point is in, and how many have each of its digits:
    (2, 2^DIGIT), flat.

    The grid begins at `low` (d,), and has cubes, `per_unit` to a unit.
    """
    d, bits = len(channels), 2 * DIGIT // len(channels)
    zero, last = low.dtype.type(0), low.dtype.type((1 << bits) - 1)
    for i in range(out_cells.size):  # in vectors, as the next loop: together they take longer
        cell = np.uint32(0)
        for c in range(d):
            place = (points[np.uint64(i) * np.uint64(d) + np.uint64(c)] - low[c]) * per_unit
            place = place if place > zero else zero
            place = place if place < last else last
            cell |= np.uint32(np.uint32(np.int32(place)) << np.uint32(c * bits))
        out_cells[i] = cell
    for i in range(out_cells.size):
        places, cell = out_cells[i], np.uint32(0)
        for c in range(d):
            for bit in range(bits):
                one = (places >> np.uint32(c * bits + bit)) & np.uint32(1)
                cell |= np.uint32(one << np.uint32(bit * d + d - 1 - c))
        for step in (1, 2, 4, 8, 16):  # the rank of a Gray code
            cell ^= np.uint32(cell >> np.uint32(step))
        out_cells[i] = cell
    out_counts[:] = 0
    low_digit = np.uint32((1 << DIGIT) - 1)
    for i in range(out_cells.size):
        out_counts[np.uint64(out_cells[i] & low_digit)] += 1
        out_counts[np.uint64(low_digit) + np.uint64(1) + np.uint64(out_cells[i] >> DIGIT)] += 1


@inlined
def _add_up(counts):
    """Replace counts by how many come before."""
    before = 0
    for i in range(counts.size):
        count = counts[i]
        counts[i] = before
        before += count


@kernel("u4[:], i4[:], i4[:], i4[:]")
def sort_cells(cells, counts, scratch, out_order):
    """Write the places of points in the order of their cells, digit by digit. `counts` are those of
    `number_cells`; `scratch` has a number for each point."""
    low, high = counts[: 1 << DIGIT], counts[1 << DIGIT :]
    low_digit = np.uint32((1 << DIGIT) - 1)
    _add_up(low)
    _add_up(high)
    for i in range(cells.size):
        digit = np.uint64(cells[i] & low_digit)
        scratch[np.uint64(low[digit])] = i
        low[digit] += 1
    for j in range(cells.size):
        i = scratch[j]
        digit = np.uint64(cells[np.uint64(i)] >> DIGIT)
        out_order[np.uint64(high[digit])] = i
        high[digit] += 1


@kernel("channels, T[:], i4[:], T[:], T[:]", channels=_CHANNELS, T=("f4", "f8"))
def fill_tiles(channels, points, order, out_tiles, out_corners):
    """Write blocks of points in an order as tiles, the last filled up with its last point; and the
    least and the greatest coordinates of each block: (blocks, 2, d)."""
    d, lanes, n = len(channels), lane_count(out_tiles), order.size
    for block in range(out_tiles.size // (BLOCK * d)):
        for i in range(BLOCK):
            j = block * BLOCK + i
            at = np.uint64(order[min(j, n - 1)]) * np.uint64(d)
            to = np.uint64(j // lanes * lanes * d + j % lanes)
            for c in range(d):
                out_tiles[to + np.uint64(c * lanes)] = points[at + np.uint64(c)]
        for c in range(d):
            start = block * BLOCK * d + c * lanes
            low = load(out_tiles, start)
            zero = splat(0.0, low)
            high = minus(zero, low)
            for first in range(lanes, BLOCK, lanes):
                x = load(out_tiles, start + first * d)
                low, high = lesser(x, low), lesser(minus(zero, x), high)
            out_corners[2 * d * block + c] = smallest(low)
            out_corners[2 * d * block + d + c] = -smallest(high)


@inlined
def _nearest_of_few(channels, tiles, start, rows, ids, count):
    """Return the labels of the tile that starts at `start`, among a number of `rows` (k, d)."""
    d, lanes = len(channels), lane_count(tiles)
    x = load(tiles, start)
    least, label = splat(np.inf, x), splat(np.int32(0), x)
    for i in range(0, count, 2):
        one, other = ids[np.uint64(i)], ids[np.uint64(i + 1)]
        x = load(tiles, start)
        at, to = np.uint64(one) * np.uint64(d), np.uint64(other) * np.uint64(d)
        u0, u1 = minus(x, splat(rows[at], x)), minus(x, splat(rows[to], x))
        d0, d1 = times(u0, u0), times(u1, u1)
        for c in range(1, d):
            x = load(tiles, start + c * lanes)
            u0 = minus(x, splat(rows[at + np.uint64(c)], x))
            u1 = minus(x, splat(rows[to + np.uint64(c)], x))
            d0, d1 = multiply_add(u0, u0, d0), multiply_add(u1, u1, d1)
        nearer = less(d1, d0)
        low, low_label = select(nearer, d1, d0), select(nearer, splat(other, x), splat(one, x))
        nearer = less(low, least)
        least, label = select(nearer, low, least), select(nearer, low_label, label)
    return label


@kernel(
    "channels, i8, i8, T[:], T[:], T[:], i8[:], T[:], T[:], buffers, i4[:], i4[:], i4[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
    buffers="(i4[:], T[:], T[:], i4[:], i4[:])",
)
def assign_ordered(
    channels, first_block, last_block, tiles, rows, corners, starts, box, slack, buffers, order,
    out_labels, out_counts,
):  # fmt: skip
    """Write labels of some blocks of points, each to its place by `order`; add to `out_counts[0]`
    how many centroids their points were compared with.

    `corners` are those of blocks, then of FAN of them together, and so on; each level begins where
    `starts` says. `rows` (k, d) are the centroids, `box` (2, d) holds them all. For `slack` see
    `kmq.kernels._candidates`. `buffers` are, for each level, how many centroids there are to choose
    from, and their panels, those of the last one given; scratch of 2 d numbers; for each level, the
    labels of its centroids, likewise; and scratch for those of a block.
    """
    counts, panels, scratch, ids, labels = buffers
    d, lanes, levels = len(channels), lane_count(tiles), starts.size
    room = ids.size // (levels + 1)
    best, middle = scratch[:d], scratch[d : 2 * d]
    half = slack.dtype.type(0.5)
    for block in range(first_block, last_block):
        for step in range(levels):
            level = levels - 1 - step
            shift = FAN_BITS * level
            if block & ((1 << shift) - 1) and block != first_block:
                continue
            at = starts[level] + (block >> shift)
            box_corners = corners[2 * d * at : 2 * d * (at + 1)]
            above = level + 1
            from_ids, to_ids = ids[above * room :], ids[level * room : above * room]
            from_panels, to_panels = panels[above * room * d :], panels[level * room * d :]
            if counts[above] == 1:
                counts[level], to_ids[0] = 1, from_ids[0]
                continue
            farthest = half - half
            for c in range(d):
                middle[c] = box_corners[c] * half + box_corners[d + c] * half
                reach = max(box_corners[d + c], box[d + c]) - min(box_corners[c], box[c])
                farthest = fma(reach, reach, farthest)
            n_panels = (counts[above] + PANEL - 1) // PANEL
            nearest = nearest_of(channels, middle, from_panels, n_panels)
            for c in range(d):
                best[c] = rows[from_ids[nearest] * d + c]
            margin = fma(slack[0], farthest, slack[1])
            out_panels = to_panels if level else to_panels[:0]
            end = choose(
                channels, from_panels, from_ids, n_panels, best, box_corners, margin, to_ids,
                out_panels,
            )  # fmt: skip
            if level:
                fill_up(channels, to_panels, end)
            else:
                to_ids[end] = to_ids[end - 1]  # to be compared in pairs
            counts[level] = end
        out_counts[0] += counts[0]
        start = block * BLOCK
        size = min(BLOCK, order.size - start)
        if counts[0] == 1:
            label = ids[0]
            for i in range(size):
                out_labels[np.uint64(order[np.uint64(start + i)])] = label
        else:
            for first in range(0, BLOCK, lanes):
                label = _nearest_of_few(channels, tiles, (start + first) * d, rows, ids, counts[0])
                store(label, labels, first)
            for i in range(size):
                out_labels[np.uint64(order[np.uint64(start + i)])] = labels[np.uint64(i)]
