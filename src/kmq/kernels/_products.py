"""Scores |c|²/2 - x·c of points and centroids in whole numbers, and who is nearest by them: see
`kmq.stages.palette.products`.

Two products of 16 bits by 16 bits are made and added in a lane of 32 bits at once, so a vector has
twice as many as of float32. They are made of ROWS points and a panel of centroids at a time, which
stay in registers. Centroids run in the lanes, which spares the transposition of the points.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import either, fma, inlined, kernel, popcount, trailing_zeros
from kmq.kernels._lanes import (
    PAIRS_TOGETHER,
    add_pairs,
    bits,
    less,
    lesser,
    load_pairs,
    load_panel,
    load_row,
    minus,
    multiply_add,
    panel_count,
    smallest,
    splat,
    store,
    times,
    total,
    transposed,
    whole_product,
    width_of,
)

ROWS = 6
"""Points that products are made of at a time."""

_STRIP = (0,) * 16
"""Channels that are rounded side by side."""

_WORD = (0,) * 64
"""Scores that are compared with a bound at a time: a word has a bit for each."""

_DEPTH = 256
"""Pairs of channels whose products are added up at a time: a panel of them has 16 to 32 KiB."""

TWO_EIGHTS = 16
"""Pairs of a point and a centroid whose distance is computed at a time: sums of eight grow side by
side, and do not wait for those of the other eight."""

_EIGHT = (0,) * 8

MOST = 32_767
"""Length up to which points and centroids are scaled."""

_MOST_SCORE = 62_000
"""Scores are less than MOST times this, which with _MOST_MARGIN fits 32 bits."""

_MOST_MARGIN = 1e8

GREATEST = 2**31 - 1
"""No score is above it."""


@kernel("i8, T[:], T[:], f8[:], i2[:], f8[:]", T=("f4", "f8"))
def prepare(d, centroids, shift, heights, panels, bounds):
    """Write what `assign_by_products` wants to know of centroids (k, d), flat: their middle, half
    the squares of what is left, this in whole numbers, a panel after the other, and the first two
    bounds, radius and scale. The others are there; panels are zeros before."""
    k, lanes, pairs = heights.size, panel_count(panels) // 2, (d + 1) // 2
    shift[:] = 0
    for at in range(0, centroids.size, d):
        for c in range(d):
            shift[c] += centroids[at + c] / k
    most = 0.0
    for j in range(k):
        square = 0.0
        for c in range(d):
            u = np.float64(centroids[j * d + c]) - shift[c]
            square = fma(u, u, square)
        heights[j] = square / 2
        most = max(most, square)
    radius = np.sqrt(1.001 * most + bounds[5])
    scale = MOST / radius
    bounds[0], bounds[1] = radius, scale
    step, half = (2, 1) if PAIRS_TOGETHER else (1, lanes)
    for j in range(k):
        first = j // lanes * pairs * 2 * lanes + j % lanes * step
        for c in range(d):
            u = np.float64(centroids[j * d + c]) - shift[c]
            to = first + c // 2 * 2 * lanes + c % 2 * half
            panels[np.uint64(to)] = np.int16(np.rint(u * scale))


@kernel("i8, T[:], T[:], f8[:], f8, i8", T=("f4", "f8"))
def count_near(d, centroids, shift, heights, limit, step):
    """Return how many centroids have half the squared distance up to a limit from one of every
    `step`, themselves left out."""
    count = 0
    for i in range(0, heights.size, step):
        for j in range(heights.size):
            both = np.float64(_product(d, centroids, i * d, j * d, shift))
            count += i != j and heights[i] + heights[j] - both < limit
    return count


@inlined
def _product(d, rows, at, to, shift):
    """Return the product of two rows less `shift`, about."""
    strip = len(_STRIP)
    in_strips = d // strip * strip
    product = shift.dtype.type(0)
    if in_strips:
        sums = splat(0.0, load_row(shift, 0, _STRIP))
        for c in range(0, in_strips, strip):
            x = minus(load_row(shift, c, _STRIP), load_row(rows, at + c, _STRIP))
            y = minus(load_row(shift, c, _STRIP), load_row(rows, to + c, _STRIP))
            sums = multiply_add(x, y, sums)
        product = total(sums)
    for c in range(in_strips, d):
        x, y = shift[np.uint64(c)] - rows[np.uint64(at + c)], rows[np.uint64(to + c)]
        product = fma(x, shift[np.uint64(c)] - y, product)
    return product


@inlined
def greatest_square(d, rows, shift):
    """Return the greatest |x - shift|² of some points."""
    strip = len(_STRIP)
    in_strips = d // strip * strip
    most = shift.dtype.type(0)
    for at in range(0, rows.size, d):
        squares = shift.dtype.type(0)
        if in_strips:
            x = minus(load_row(shift, 0, _STRIP), load_row(rows, at, _STRIP))
            sums = times(x, x)
            for c in range(strip, in_strips, strip):
                x = minus(load_row(shift, c, _STRIP), load_row(rows, at + c, _STRIP))
                sums = multiply_add(x, x, sums)
            squares = total(sums)
        for c in range(in_strips, d):
            x = shift[np.uint64(c)] - rows[np.uint64(at + c)]
            squares = fma(x, x, squares)
        most = squares if squares > most else most
    return most


@inlined
def scale_of(most, shift, bounds):
    """Return what points are multiplied by whose greatest |x - shift|² is `most`, and by how much
    the score of a centroid can be above the least one and the centroid still be the nearest: -1 if
    that is not known."""
    radius, scale, rounding, error, tiny = bounds[0], bounds[1], bounds[2], bounds[3], bounds[4]
    floor, largest = bounds[5], bounds[6]
    length = np.sqrt(most + error * most + floor)
    own = min(MOST / length, _MOST_SCORE / (length + radius / 2))
    own = np.float64(shift.dtype.type(own))
    both = (length + radius) ** 2
    margin = rounding * (scale * radius + own * length + rounding)
    margin += own * scale * (error * both + tiny) + 4
    is_known = both < largest and margin < _MOST_MARGIN
    return own, np.int32(margin) if is_known else np.int32(-1)


@inlined
def round_rows(d, rows, shift, scale, out_whole):
    """Write (shift - x) · scale in whole numbers: (points, d or d + 1), an even number."""
    strip = len(_STRIP)
    in_strips = d // strip * strip
    stride = d + d % 2
    for i in range(rows.size // d):
        at, to = i * d, i * stride
        for c in range(0, in_strips, strip):
            x = minus(load_row(shift, c, _STRIP), load_row(rows, at + c, _STRIP))
            store(whole_product(x, splat(scale, x)), out_whole, to + c)
        for c in range(in_strips, d):
            x = shift[np.uint64(c)] - rows[np.uint64(at + c)]
            out_whole[np.uint64(to + c)] = np.int32(np.rint(x * scale))
        if d % 2:
            out_whole[np.uint64(to + d)] = 0


@inlined
def score(stride, whole, size, heights, panels, out_scores):
    """Write |c|²/2 - x·c for each of `size` points and all centroids: out_scores (points, k),
    k filled up to whole vectors. Points and scores have room for a multiple of ROWS."""
    lanes = panel_count(out_scores)
    width, pairs = heights.size, stride // 2
    for first in range(0, pairs, _DEPTH):
        last = min(first + _DEPTH, pairs)
        for panel in range(width // lanes):
            for row in range(0, size, ROWS):
                at = row * stride
                to = row * width + panel * lanes
                if first == 0:
                    s0 = load_panel(heights, panel * lanes)
                    s1 = s2 = s3 = s4 = s5 = s0
                else:
                    s0 = load_panel(out_scores, to)
                    s1 = load_panel(out_scores, to + width)
                    s2 = load_panel(out_scores, to + 2 * width)
                    s3 = load_panel(out_scores, to + 3 * width)
                    s4 = load_panel(out_scores, to + 4 * width)
                    s5 = load_panel(out_scores, to + 5 * width)
                for pair in range(first, last):
                    y = load_pairs(panels, (panel * pairs + pair) * 2 * lanes, s0)
                    s0 = add_pairs(y, whole, at + 2 * pair, s0)
                    s1 = add_pairs(y, whole, at + 2 * pair + stride, s1)
                    s2 = add_pairs(y, whole, at + 2 * pair + 2 * stride, s2)
                    s3 = add_pairs(y, whole, at + 2 * pair + 3 * stride, s3)
                    s4 = add_pairs(y, whole, at + 2 * pair + 4 * stride, s4)
                    s5 = add_pairs(y, whole, at + 2 * pair + 5 * stride, s5)
                store(s0, out_scores, to)
                store(s1, out_scores, to + width)
                store(s2, out_scores, to + 2 * width)
                store(s3, out_scores, to + 3 * width)
                store(s4, out_scores, to + 4 * width)
                store(s5, out_scores, to + 5 * width)


@inlined
def not_above(bound, scores):
    """Return which scores are not above the bound, as bits: also what is not a number."""
    unused = np.uint64(64) - np.uint64(width_of(scores))
    return ~bits(less(splat(bound, scores), scores)) << unused >> unused


@inlined
def best(scores, start, width, bound):
    """Return the label of a point whose scores start there, or -1 if several are not above the
    bound."""
    lanes, word = panel_count(scores), len(_WORD)
    count, label = np.uint64(0), np.int64(0)
    in_words = width // word * word
    for first in range(0, in_words, word):
        found = not_above(bound, load_row(scores, start + first, _WORD))
        count += popcount(found)
        label = either(found != 0, first + np.int64(trailing_zeros(found)), label)
    for first in range(in_words, width, lanes):
        found = not_above(bound, load_panel(scores, start + first))
        count += popcount(found)
        label = either(found != 0, first + np.int64(trailing_zeros(found)), label)
    return either(count == 1, label, np.int64(-1))


@inlined
def least_of(scores, start, width):
    """Return the least of a point's scores."""
    least = load_panel(scores, start)
    for first in range(panel_count(scores), width, panel_count(scores)):
        score = load_panel(scores, start + first)
        least = lesser(score, least)
    return smallest(least)


@inlined
def _add_eight(sums, d, rows, centroids, owners, candidates, first, c):
    """Return the sums of eight pairs with the squares of eight channels added, one by one."""
    u = transposed(
        (
            _gap(d, rows, centroids, owners, candidates, first, c),
            _gap(d, rows, centroids, owners, candidates, first + 1, c),
            _gap(d, rows, centroids, owners, candidates, first + 2, c),
            _gap(d, rows, centroids, owners, candidates, first + 3, c),
            _gap(d, rows, centroids, owners, candidates, first + 4, c),
            _gap(d, rows, centroids, owners, candidates, first + 5, c),
            _gap(d, rows, centroids, owners, candidates, first + 6, c),
            _gap(d, rows, centroids, owners, candidates, first + 7, c),
        )
    )
    for one in u:
        sums = multiply_add(one, one, sums)
    return sums


@inlined
def _gap(d, rows, centroids, owners, candidates, pair, c):
    """Return x - c of eight channels."""
    at, to = np.int64(owners[pair]) * d + c, np.int64(candidates[pair]) * d + c
    return minus(load_row(rows, at, _EIGHT), load_row(centroids, to, _EIGHT))


@inlined
def compare(d, rows, centroids, owners, candidates, count, found, out_labels, out_distances):
    """Compute the squared distances of `count` pairs of a point and a candidate, in the manner of
    `kmq.kernels.nearest.assign`; write those that are less than what is there, and the label.

    `found` is scratch for TWO_EIGHTS distances.
    """
    in_eights = d // 8 * 8
    for first in range(0, count, TWO_EIGHTS):
        for pair in range(count, first + TWO_EIGHTS):  # fill up
            owners[pair], candidates[pair] = owners[first], candidates[first]
        if in_eights:
            low = high = splat(0.0, load_row(found, 0, _EIGHT))
            for c in range(0, in_eights, 8):
                low = _add_eight(low, d, rows, centroids, owners, candidates, first, c)
                high = _add_eight(high, d, rows, centroids, owners, candidates, first + 8, c)
            store(low, found, 0)
            store(high, found, 8)
        else:
            found[:] = 0
        last = min(count - first, TWO_EIGHTS)
        for pair in range(last):
            i, label = owners[first + pair], candidates[first + pair]
            distance = found[pair]
            for c in range(in_eights, d):
                u = rows[np.uint64(i * d + c)] - centroids[np.uint64(label * d + c)]
                distance = fma(u, u, distance)
            if distance < out_distances[i]:
                out_distances[i], out_labels[i] = distance, label


@inlined
def compared_if_full(
    room, d, rows, centroids, owners, candidates, count, found, out_labels, out_distances
):
    """Compare the pairs unless there is room for more; return how many are left."""
    if count + room <= owners.size:
        return count
    compare(d, rows, centroids, owners, candidates, count, found, out_labels, out_distances)
    return 0
