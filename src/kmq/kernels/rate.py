"""Indices chosen by squared distance and bits: the loop over the pixels of a strip.

Bits are those of a static model of the neighbourhood, close to method "rank": a pixel is its west,
north, northeast or northwest neighbour, by a context of which neighbours are equal and how far
apart they are; or else a colour at some distance from them, all colours of a level of distance
equally likely. A pixel also is context for others, so what it makes of the four pixels after it
that see it nearest is counted, with the indices they had: iterated conditional modes (Besag 1986).

Coordinates have four channels, unused ones 0, so that one compilation serves all pixel formats.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel
from kmq.kernels._neighbours import MISS, symbol_of

LEVELS = 20
"""Levels of squared distance, by a factor of two each."""

ACTIVITIES = 8
CONTEXTS = 64 * ACTIVITIES
SYMBOLS = 5
"""West, north, northeast, northwest, or a miss."""

BLOCK = 4
"""Side of the squares of pixels whose errors are to cancel each other out."""

MARGIN = 3
"""Pixels around a strip that terms look at."""

MOST_NEIGHBOURS = 10
"""The nearest entry, the index before, and those of eight neighbours."""

NOTHING = -1
"""An index that no pixel has."""


@inlined
def _level_of(square, unit):
    """Return 0 below `unit`, 1 below 2 · `unit` and so on: the difference of their exponents."""
    octaves = (np.float32(square).view(np.int32) - np.float32(unit).view(np.int32)) >> 23
    return min(max(np.int64(octaves) + 1, 0), LEVELS - 1)


@inlined
def _apart(a, i, b, j):
    """Return the squared distance of two rows."""
    u0, u1 = a[i, 0] - b[j, 0], a[i, 1] - b[j, 1]
    u2, u3 = a[i, 2] - b[j, 2], a[i, 3] - b[j, 3]
    return u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3


@inlined
def _level(levels, centroids, unit, i, j):
    """Return the level of the distance of two entries, from the table if there is one."""
    if levels.size:
        return np.int64(levels[i, j])
    return _level_of(_apart(centroids, i, centroids, j), unit)


@inlined
def _context(levels, centroids, unit, w, n, ne, nw, ww, nn):
    """Number what is known before a pixel."""
    context = np.int64(w == n)
    context = context * 2 + np.int64(n == ne)
    context = context * 2 + np.int64(w == nw)
    context = context * 2 + np.int64(w == ne)
    context = context * 2 + np.int64(w == ww)
    context = context * 2 + np.int64(n == nn)
    activity = _level(levels, centroids, unit, w, n)
    activity = max(activity, _level(levels, centroids, unit, n, ne))
    activity = max(activity, _level(levels, centroids, unit, w, nw))
    return context * ACTIVITIES + _activity(activity)


@inlined
def _activity(level):
    """Return the activity of the greatest level between the neighbours."""
    return min(max(level - 2, 0) >> 1, ACTIVITIES - 1)


@inlined
def _miss_level(levels, centroids, unit, index, w, n):
    """Return how far a pixel is from the nearer of two neighbours."""
    to_w = _level(levels, centroids, unit, index, w)
    return min(to_w, _level(levels, centroids, unit, index, n))


@inlined
def _bits(first_bits, second_bits, equal, level, symbol, miss_level):
    """Return what a pixel costs.

    `equal` are the bits of `_context` that say which neighbours are equal, `level` is the greatest
    between them, `miss_level` counts if the symbol is a miss.
    """
    activity = _activity(level)
    bits = first_bits[equal * ACTIVITIES + activity, symbol]
    if symbol == MISS:
        bits += second_bits[activity, miss_level]
    return bits


@kernel("f4[:, :], i8[:], f4, i8[:]")
def count_levels(centroids, picks, unit, out_counts):
    """Count (LEVELS,) the other entries at each level from the entries that are picked."""
    for pick in picks:
        for j in range(len(centroids)):
            if j != pick:
                out_counts[_level_of(_apart(centroids, pick, centroids, j), unit)] += 1


@kernel("f4[:, :], f4, u1[:, :]")
def fill_levels(centroids, unit, out_levels):
    """Fill (k, k) with the levels of the distances between all entries."""
    for i in range(len(centroids)):
        for j in range(len(centroids)):
            out_levels[i, j] = _level_of(_apart(centroids, i, centroids, j), unit)


@kernel("f4[:, :], i8[:], i8, f4[:], i4[:, :]")
def find_nearby(centroids, order, axis, squares, out_nearby):
    """Fill (k, n) int32: the entries nearest to each; itself where there are too few.

    `order` sorts the entries along `axis`, so that a search outwards may stop. `squares` (n,) is
    scratch.
    """
    k = len(order)
    n = out_nearby.shape[1]
    for place in range(k):
        i = order[place]
        for slot in range(n):
            squares[slot] = np.inf
            out_nearby[i, slot] = i
        for step in (-1, 1):
            other = place + step
            while 0 <= other < k:
                j = order[other]
                gap = centroids[j, axis] - centroids[i, axis]
                if gap * gap > squares[n - 1]:
                    break
                square = _apart(centroids, i, centroids, j)
                if square < squares[n - 1]:
                    slot = n - 1
                    while slot > 0 and squares[slot - 1] > square:
                        squares[slot] = squares[slot - 1]
                        out_nearby[i, slot] = out_nearby[i, slot - 1]
                        slot -= 1
                    squares[slot] = square
                    out_nearby[i, slot] = j
                other += step


@kernel("i8, u4[:, :], f4[:, :], f8[:, :], f8, f8, f8, f4[:, :]")
def weigh_strip(first_row, ids, points, importance, flat, least, factor, out_scales):
    """Fill (rows, width) float32 with what a squared distance costs in bits at each pixel.

    That is `factor` times the pixel's importance (an empty array is 1 everywhere), and up to
    1 / `least` times as much where the mean squared distance to the four neighbours is below
    `flat`.
    """
    rows, width = out_scales.shape
    height = ids.shape[0]
    for row in range(rows):
        y = first_row + row
        for x in range(width):
            here = np.int64(ids[y, x])
            total = _apart(points, here, points, np.int64(ids[max(y - 1, 0), x]))
            total += _apart(points, here, points, np.int64(ids[min(y + 1, height - 1), x]))
            total += _apart(points, here, points, np.int64(ids[y, max(x - 1, 0)]))
            total += _apart(points, here, points, np.int64(ids[y, min(x + 1, width - 1)]))
            share = min(max(total / (4 * flat), least), 1.0)
            weight = importance[y, x] if importance.size else 1.0
            out_scales[row, x] = factor * weight / share


@kernel("i8, i8, u4[:, :], f4[:, :], f8[:, :, :]")
def sum_detail(first_row, rows, ids, points, out_sums):
    """Sum the first coordinate, and its square, of the pixels of each block of some rows.

    `first_row` is a multiple of BLOCK; `out_sums` (block rows, block columns, 2) of the picture.
    """
    for y in range(first_row, first_row + rows):
        for x in range(ids.shape[1]):
            sums, first = out_sums[y // BLOCK, x // BLOCK], np.float64(points[ids[y, x], 0])
            sums[0] += first
            sums[1] += first * first


@kernel("i8, i8, u4[:, :], f4[:, :], i4[:, :], f4[:, :], f4[:, :, :]")
def sum_errors(first_row, rows, ids, points, indices, centroids, out_errors):
    """Sum by how much entries fall short of their pixels, in each block of some rows.

    `first_row` is a multiple of BLOCK; `out_errors` (block rows, block columns, 4) of the picture.
    """
    for y in range(first_row, first_row + rows):
        for x in range(ids.shape[1]):
            errors = out_errors[y // BLOCK, x // BLOCK]
            color, index = np.int64(ids[y, x]), np.int64(indices[y, x])
            for c in range(4):
                errors[c] += points[color, c] - centroids[index, c]


@kernel(
    "i8, i4[:, :], u4[:, :], f4[:, :], i4[:], u1[:], f4[:, :], u1[:], b1[:, :], i4[:, :], f4,"
    "u1[:, :], f4[:, :], f4[:, :], f4[:, :], f4, f4, f4[:, :, :], i4[:, :], i8[:], i4[:], i4[:, :]"
)
def choose_strip(
    first_row,
    before,
    ids,
    points,
    labels,
    color_kinds,
    centroids,
    kinds,
    allowed,
    nearby,
    unit,
    levels,
    first_bits,
    second_bits,
    scales,
    most_excess,
    block_share,
    errors,
    window,
    candidates,
    seen,
    out_indices,
):
    """Choose the indices (rows, width) int32 of a strip, given those before of the whole picture.

    A pixel takes the candidate that costs least in bits, `scales` × the squared distance counted
    in: the nearest entry (`labels` of its colour), those around it in the palette (`nearby`) and
    the indices of its eight neighbours. None may exceed the nearest's squared distance by more than
    `most_excess`. `allowed` (3, 3) says whether colours of a kind (row) may have other entries than
    the nearest of a kind (column).
    `levels` (k, k) are those of `fill_levels`, or empty where k is large.
    The square of a block's summed errors counts `block_share` times besides: `errors` (block rows,
    block columns, 4) has the sums for `before`, and is brought up to date.
    `window` (rows + 2 · MARGIN, width + 2 · MARGIN), `candidates` and `seen` (k,) are scratch.

    The naive twin is `tests/stages/mapping/test_rate.py:naive_choice`.
    """
    rows, width = out_indices.shape
    height = before.shape[0]
    seen[:] = 0
    number = 0
    for row in range(rows + 2 * MARGIN):
        y = min(max(first_row + row - MARGIN, 0), height - 1)
        for column in range(width + 2 * MARGIN):
            x = min(max(column - MARGIN, 0), width - 1)
            window[row, column] = before[y, x]
    for row in range(rows):
        up2, up = window[row + MARGIN - 2], window[row + MARGIN - 1]
        here, down = window[row + MARGIN], window[row + MARGIN + 1]
        for column in range(width):
            x = column + MARGIN
            now = np.int64(here[x])
            color = np.int64(ids[first_row + row, column])
            nearest = np.int64(labels[color])
            w, e = np.int64(here[x - 1]), np.int64(here[x + 1])
            n, s = np.int64(up[x]), np.int64(down[x])
            nw, ne = np.int64(up[x - 1]), np.int64(up[x + 1])
            sw, se = np.int64(down[x - 1]), np.int64(down[x + 1])
            if (
                nearest == now
                and now == w
                and now == e
                and now == n
                and now == s
                and now == nw
                and now == ne
                and now == sw
                and now == se
            ):
                continue
            number += 1
            n_candidates = 0
            for one in (now, nearest, w, n, e, s, nw, ne, sw, se):  # as a function it took twice
                if seen[one] != number:
                    seen[one] = number
                    candidates[n_candidates] = one
                    n_candidates += 1
            for i in range(nearby.shape[1]):
                one = np.int64(nearby[nearest, i])
                if seen[one] != number:
                    seen[one] = number
                    candidates[n_candidates] = one
                    n_candidates += 1
            color_kind = color_kinds[color]
            nearest_apart = _apart(points, color, centroids, nearest)
            ww, nn, nne = np.int64(here[x - 2]), np.int64(up2[x]), np.int64(up2[x + 1])
            nee, ee = np.int64(up[x + 2]), np.int64(here[x + 2])
            sww, swww = np.int64(down[x - 2]), np.int64(down[x - 3])
            context = _context(levels, centroids, unit, w, n, ne, nw, ww, nn)
            # What is the same for all candidates where the pixels east, south, southwest and
            # southeast are coded; `_context` says what the terms are.
            e_equal = 16 * (ne == nee) + (ne == nne)
            e_level = _level(levels, centroids, unit, ne, nee)
            e_symbol = symbol_of(e, NOTHING, ne, nee, n)
            e_miss = _level(levels, centroids, unit, e, ne)
            s_equal = 8 * (sw == w) + 4 * (sw == e) + 2 * (sw == sww)
            s_level = _level(levels, centroids, unit, sw, w)
            s_symbol = symbol_of(s, sw, NOTHING, e, w)
            s_miss = _level(levels, centroids, unit, s, sw)
            sw_equal = 32 * (sww == w) + 8 * (sww == ww) + 2 * (sww == swww) + (w == nw)
            sw_level = _level(levels, centroids, unit, sww, w)
            sw_level = max(sw_level, _level(levels, centroids, unit, sww, ww))
            sw_symbol = symbol_of(sw, sww, w, NOTHING, ww)
            sw_miss = _miss_level(levels, centroids, unit, sw, sww, w)
            se_equal = 32 * (s == e) + 16 * (e == ee) + 4 * (s == ee) + 2 * (s == sw) + (e == ne)
            se_level = _level(levels, centroids, unit, s, e)
            se_level = max(se_level, _level(levels, centroids, unit, e, ee))
            se_symbol = symbol_of(se, s, e, ee, NOTHING)
            se_miss = _miss_level(levels, centroids, unit, se, s, e)
            scale = scales[row, column]
            errors_here = errors[(first_row + row) // BLOCK, column // BLOCK]
            # Of the other pixels of the block; with this one the square is that of the sum.
            others0 = errors_here[0] - (points[color, 0] - centroids[now, 0])
            others1 = errors_here[1] - (points[color, 1] - centroids[now, 1])
            others2 = errors_here[2] - (points[color, 2] - centroids[now, 2])
            others3 = errors_here[3] - (points[color, 3] - centroids[now, 3])
            best = nearest
            least = np.inf
            for i in range(n_candidates):
                one = candidates[i]
                if one != nearest and not allowed[color_kind, kinds[one]]:
                    continue
                excess = _apart(points, color, centroids, one) - nearest_apart
                summed0 = others0 + (points[color, 0] - centroids[one, 0])
                summed1 = others1 + (points[color, 1] - centroids[one, 1])
                summed2 = others2 + (points[color, 2] - centroids[one, 2])
                summed3 = others3 + (points[color, 3] - centroids[one, 3])
                summed = summed0 * summed0 + summed1 * summed1
                summed += summed2 * summed2 + summed3 * summed3
                cost = scale * (excess + block_share * summed)
                if excess > most_excess or cost >= least:
                    continue
                to_w = _level(levels, centroids, unit, one, w)
                to_n = _level(levels, centroids, unit, one, n)
                symbol = symbol_of(one, w, n, ne, nw)
                cost += first_bits[context, symbol]
                if symbol == MISS:
                    cost += second_bits[context % ACTIVITIES, min(to_w, to_n)]
                if cost >= least:
                    continue
                to_e = _level(levels, centroids, unit, one, e)
                to_s = _level(levels, centroids, unit, one, s)
                to_ne = _level(levels, centroids, unit, one, ne)
                to_sw = _level(levels, centroids, unit, one, sw)
                equal = 32 * (one == ne) + 8 * (one == n) + 4 * (one == nee) + 2 * (one == w)
                level = max(e_level, max(to_ne, to_n))
                symbol = 0 if e == one else e_symbol
                miss = min(to_e, e_miss)
                cost += _bits(first_bits, second_bits, e_equal + equal, level, symbol, miss)
                equal = 32 * (one == sw) + 16 * (one == e) + (one == n)
                level = max(s_level, max(to_sw, to_e))
                symbol = 1 if s == one and s_symbol > 1 else s_symbol
                miss = min(to_s, s_miss)
                cost += _bits(first_bits, second_bits, s_equal + equal, level, symbol, miss)
                if cost >= least:
                    continue
                equal = 16 * (one == w) + 4 * (one == sww)
                level = max(sw_level, to_w)
                symbol = 2 if sw == one and sw_symbol > 2 else sw_symbol
                cost += _bits(first_bits, second_bits, sw_equal + equal, level, symbol, sw_miss)
                equal = 8 * (one == s)
                level = max(se_level, to_s)
                symbol = 3 if se == one and se_symbol > 3 else se_symbol
                cost += _bits(first_bits, second_bits, se_equal + equal, level, symbol, se_miss)
                if cost < least:
                    least = cost
                    best = one
            here[x] = best
            errors_here[0] = others0 + (points[color, 0] - centroids[best, 0])
            errors_here[1] = others1 + (points[color, 1] - centroids[best, 1])
            errors_here[2] = others2 + (points[color, 2] - centroids[best, 2])
            errors_here[3] = others3 + (points[color, 3] - centroids[best, 3])
    for row in range(rows):
        for column in range(width):
            out_indices[row, column] = window[row + MARGIN, column + MARGIN]


@kernel("i8, i8, u4[:, :], f4[:, :], i4[:], f4[:, :], f4, i4[:, :]")
def cap_strip(first_row, rows, ids, points, labels, centroids, most_excess, out_indices):
    """Give pixels of some rows their nearest entry if theirs is too far beyond it."""
    for y in range(first_row, first_row + rows):
        for x in range(out_indices.shape[1]):
            color = np.int64(ids[y, x])
            nearest = np.int64(labels[color])
            index = np.int64(out_indices[y, x])
            if index != nearest:
                excess = _apart(points, color, centroids, index)
                excess -= _apart(points, color, centroids, nearest)
                if excess > most_excess:
                    out_indices[y, x] = nearest


@kernel(
    "i8, i8, i4[:, :], u4[:, :], f4[:, :], f8[:, :], f4[:, :], f4, u1[:, :], i8[:, :], i8[:, :],"
    "f8[:, :]"
)
def count_strip(
    first_row,
    rows,
    indices,
    ids,
    points,
    importance,
    centroids,
    unit,
    levels,
    out_first,
    out_second,
    out_sums,
):
    """Count what the model sees in some rows, and sum the points of each entry.

    `out_first` (CONTEXTS, SYMBOLS), `out_second` (ACTIVITIES, LEVELS), `out_sums` (k, 6):
    importance times the four coordinates, importance, pixels.
    """
    width = indices.shape[1]
    for y in range(first_row, first_row + rows):
        for x in range(width):
            w = np.int64(indices[y, max(x - 1, 0)])
            ww = np.int64(indices[y, max(x - 2, 0)])
            n = np.int64(indices[max(y - 1, 0), x])
            nn = np.int64(indices[max(y - 2, 0), x])
            ne = np.int64(indices[max(y - 1, 0), min(x + 1, width - 1)])
            nw = np.int64(indices[max(y - 1, 0), max(x - 1, 0)])
            index = np.int64(indices[y, x])
            context = _context(levels, centroids, unit, w, n, ne, nw, ww, nn)
            symbol = symbol_of(index, w, n, ne, nw)
            out_first[context, symbol] += 1
            if symbol == MISS:
                level = _miss_level(levels, centroids, unit, index, w, n)
                out_second[context % ACTIVITIES, level] += 1
            color = np.int64(ids[y, x])
            weight = importance[y, x] if importance.size else 1.0
            for c in range(4):
                out_sums[index, c] += weight * points[color, c]
            out_sums[index, 4] += weight
            out_sums[index, 5] += 1
