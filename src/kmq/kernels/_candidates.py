"""Which of some centroids can be nearest to a point somewhere in a box, as kernels share it.

There |x - y|² - |x - z|² is least at a corner. A centroid that another one beats there by more than
a margin is never nearest. Centroids are panels (panels, d, PANEL), filled up with infinite ones.
The margin is what squared distances in floats, and the difference as it is computed here, can be
off by: `slack` (2,) has its share of the square of the greatest distance, and what is added.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, trailing_zeros
from kmq.kernels._lanes import (
    lane,
    less,
    lesser,
    load_row,
    minus,
    multiply_add,
    plus,
    select,
    smallest,
    splat,
    times,
)
from kmq.kernels._products import not_above

PANEL = 8
"""Centroids that are looked at at a time."""

_PANEL = (0,) * PANEL

_WORD = 8
"""Panels whose centroids are the bits of a word."""


@inlined
def distances_to_panel(channels, points, at, panels, panel):
    """Return the squared distances of a point to the centroids of a panel."""
    first = np.uint64(panel) * np.uint64(len(channels) * PANEL)
    y = load_row(panels, first, _PANEL)
    u = minus(splat(points[at], y), y)
    distances = times(u, u)
    for c in range(1, len(channels)):
        y = load_row(panels, first + np.uint64(c * PANEL), _PANEL)
        u = minus(splat(points[at + np.uint64(c)], y), y)
        distances = multiply_add(u, u, distances)
    return distances


@inlined
def nearest_of(channels, point, panels, n_panels):
    """Return the place of a centroid that is nearest to a point, among some panels."""
    least = distances_to_panel(channels, point, np.uint64(0), panels, 0)
    nearest = splat(np.int32(0), least)
    for panel in range(1, n_panels):
        distances = distances_to_panel(channels, point, np.uint64(0), panels, panel)
        nearer = less(distances, least)
        least = select(nearer, distances, least)
        nearest = select(nearer, splat(np.int32(panel), least), nearest)
    place = np.int64(trailing_zeros(not_above(smallest(least), least))) & (PANEL - 1)
    return np.int64(lane(nearest, place)) * PANEL + place


@inlined
def not_beaten(channels, panels, number, best, corners, margin):
    """Return which centroids of a panel `best` does not beat by a margin everywhere in a box, as
    bits; `corners` are its least and its greatest coordinates."""
    d = len(channels)
    win = splat(margin - margin, load_row(panels, 0, _PANEL))
    for c in range(d):
        y = load_row(panels, (number * d + c) * PANEL, _PANEL)
        gap = minus(y, splat(best[c], y))
        # Less the corner first: sums of large coordinates would round.
        low = plus(minus(y, splat(corners[c], y)), splat(best[c] - corners[c], y))
        high = plus(minus(y, splat(corners[d + c], y)), splat(best[c] - corners[d + c], y))
        low, high = times(gap, low), times(gap, high)
        win = plus(win, lesser(low, high))  # |x - y|² - |x - best|² at least
    return not_above(margin, win)


@inlined
def choose(channels, panels, ids, n_panels, best, corners, margin, out_ids, out_panels):
    """Write those centroids of some panels that `best` does not beat; return how many. Empty
    `out_panels` leave out all but their ids."""
    end = 0
    for first in range(0, n_panels, _WORD):
        found = np.uint64(0)  # in several panels: the end of the next loop is hard to foretell
        for number in range(first, min(first + _WORD, n_panels)):
            some = not_beaten(channels, panels, number, best, corners, margin)
            found |= some << np.uint64((number - first) * PANEL)
        while found:
            place = first * PANEL + np.int64(trailing_zeros(found))
            found &= found - np.uint64(1)
            out_ids[np.uint64(end)] = ids[np.uint64(place)]
            if out_panels.size:
                copy(channels, panels, place, out_panels, end)
            end += 1
    return end


@inlined
def copy(channels, panels, place, out_panels, out_place):
    """Copy a centroid from one place of panels to another."""
    d = len(channels)
    part, out_part = place & (PANEL - 1), out_place & (PANEL - 1)
    for c in range(d):
        number = panels[np.uint64((place - part) * d + c * PANEL + part)]
        out_panels[np.uint64((out_place - out_part) * d + c * PANEL + out_part)] = number


@inlined
def fill_up(channels, panels, end):
    """Fill the last panel with infinite centroids; return where it ends."""
    d = len(channels)
    while end & (PANEL - 1):
        part = end & (PANEL - 1)
        for c in range(d):
            panels[(end - part) * d + c * PANEL + part] = np.inf
        end += 1
    return end
