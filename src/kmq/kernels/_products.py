"""Scores |c|²/2 - x·c of points and centroids, and who is nearest by them: see
`kmq.stages.palette.products`.

Products are made of ROWS points and a panel of centroids at a time, which stay in registers. At 128
channels and 256 centroids that reaches 70 to 90 % of what the multipliers can do. Centroids run in
the lanes, which spares the transposition of the points.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import either, fma, inlined, popcount, trailing_zeros
from kmq.kernels._lanes import (
    bits,
    less,
    lesser,
    load_panel,
    load_row,
    minus,
    multiply_add,
    panel_count,
    smallest,
    splat,
    spread,
    store,
    times,
    total,
    width_of,
)

ROWS = 6
"""Points that products are made of at a time."""

_STRIP = (0,) * 16
"""Channels whose squares are added side by side."""

_WORD = (0,) * 64
"""Scores that are compared with a bound at a time: a word has a bit for each."""

DEPTH = 256
"""Channels whose products are added up at a time: a panel of them has 16 to 32 KiB."""


@inlined
def shift_row(d, rows, at, shift, out_shifted, start):
    """Write shift - x of the point at `at`, and return |shift - x|²."""
    strip = len(_STRIP)
    in_strips = d // strip * strip
    squares = shift.dtype.type(0)
    if in_strips:
        x = minus(load_row(shift, 0, _STRIP), load_row(rows, at, _STRIP))
        store(x, out_shifted, start)
        sums = times(x, x)
        for c in range(strip, in_strips, strip):
            x = minus(load_row(shift, c, _STRIP), load_row(rows, at + c, _STRIP))
            store(x, out_shifted, start + c)
            sums = multiply_add(x, x, sums)
        squares = total(sums)
    for c in range(in_strips, d):
        x = shift[np.uint64(c)] - rows[np.uint64(at + c)]
        out_shifted[np.uint64(start + c)] = x
        squares = fma(x, x, squares)
    return squares


@inlined
def score(d, shifted, size, heights, panels, out_scores):
    """Write |c|²/2 - x·c for each of `size` points and all centroids: out_scores (points, k),
    k filled up to whole vectors, points to a multiple of ROWS."""
    lanes = panel_count(panels)
    width = heights.size
    for first in range(0, d, DEPTH):
        last = min(first + DEPTH, d)
        for panel in range(width // lanes):
            for row in range(0, size, ROWS):
                at0, at1 = row * d, min(row + 1, size - 1) * d
                at2, at3 = min(row + 2, size - 1) * d, min(row + 3, size - 1) * d
                at4, at5 = min(row + 4, size - 1) * d, min(row + 5, size - 1) * d
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
                for c in range(first, last):
                    y = load_panel(panels, (panel * d + c) * lanes)
                    s0 = multiply_add(spread(shifted, at0 + c, y), y, s0)
                    s1 = multiply_add(spread(shifted, at1 + c, y), y, s1)
                    s2 = multiply_add(spread(shifted, at2 + c, y), y, s2)
                    s3 = multiply_add(spread(shifted, at3 + c, y), y, s3)
                    s4 = multiply_add(spread(shifted, at4 + c, y), y, s4)
                    s5 = multiply_add(spread(shifted, at5 + c, y), y, s5)
                store(s0, out_scores, to)
                store(s1, out_scores, to + width)
                store(s2, out_scores, to + 2 * width)
                store(s3, out_scores, to + 3 * width)
                store(s4, out_scores, to + 4 * width)
                store(s5, out_scores, to + 5 * width)


@inlined
def bound_of(least, squares, bounds):
    """Return the score up to which a centroid can be the nearest of a point with this least one:
    see `kmq.stages.palette.products`."""
    radius, product_error, input_error = bounds[0], bounds[1], bounds[2]
    distance_error, tiny = bounds[3], bounds[4]
    both = np.sqrt(squares) + radius
    error = product_error * both * radius + input_error * both * both
    distance = max(least + least + squares, bounds.dtype.type(0)) + error
    return least + (distance_error * distance + error + tiny)


@inlined
def not_above(bound, scores):
    """Return which scores are not above the bound, as bits: also what is not a number."""
    unused = np.uint64(64) - np.uint64(width_of(scores))
    return ~bits(less(splat(bound, scores), scores)) << unused >> unused


@inlined
def _distance(d, rows, at, centroids, start):
    """Return the squared distance of the point at `at` to the centroid at `start`, of flat rows."""
    u = rows[at] - centroids[start]
    distance = u * u
    for c in range(1, d):
        u = rows[np.uint64(at + c)] - centroids[np.uint64(start + c)]
        distance = fma(u, u, distance)
    return distance


@inlined
def look_again(d, rows, at, centroids, scores, start, width, bound):
    """Return the label of the nearest of the centroids whose scores are not above the bound."""
    lanes, k = panel_count(scores), centroids.size // d
    least, label = np.inf, 0
    for first in range(0, width, lanes):
        found = not_above(bound, load_panel(scores, start + first))
        while found:
            j = first + np.int64(trailing_zeros(found))
            found &= found - np.uint64(1)
            if j < k:
                distance = _distance(d, rows, at, centroids, j * d)
                if distance < least:
                    least, label = distance, j
    return label


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
