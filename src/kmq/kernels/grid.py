"""Nearest centroids of points with few channels: each point looks at those that matter where it is.

A grid divides the space around the centroids. For each of its cells it is known which centroids can
be nearest to a point in it: those that no other one beats everywhere in the cell by more than
distances can be off in floats. Often that is one, seldom more than PANEL. Points far outside are
compared with all. So labels and distances are those of `kmq.kernels.nearest`, to the last tie.

The space is halved along each channel `shift` times, so that cells of a level choose among what
their parent has; the outer ones reach as far again as the grid. Centroids of a cell are panels
(panels, d, PANEL), filled up with infinite ones, in order of their `ids`. `places` has the first
and last panel of each cell, level by level, from the one that has all centroids; where there is
only one centroid, `last` is `first`, and its number comes next. `grid` is (2, d): where the cells
of the last level start, and how many there are to a unit.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._candidates import PANEL, choose, distances_to_panel, fill_up, nearest_of
from kmq.kernels._jit import either, fma, inlined, kernel, trailing_zeros
from kmq.kernels._lanes import lesser, smallest
from kmq.kernels._products import not_above
from kmq.kernels._rows import write_block

_PLACE = 3
"""Numbers that say what a cell has."""

_CHANNELS = ("(i8,) * 2", "(i8,) * 3")


@inlined
def _nearest_in_panel(channels, points, at, panels, ids, panel):
    """Return the label and the squared distance of the nearest centroid of a panel."""
    distances = distances_to_panel(channels, points, at, panels, panel)
    least = smallest(distances)
    place = trailing_zeros(not_above(least, distances)) & np.uint64(PANEL - 1)
    return ids[np.uint64(panel) * np.uint64(PANEL) + place], least


@inlined
def _first_cell(channels, level):
    """Return how many cells there are on the levels before."""
    d = len(channels)
    return ((1 << (level * d)) - 1) // ((1 << d) - 1)


@kernel(
    "channels, i8, i8, T[:], T[:], T[:], T[:], T[:], i4[:], i4[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
)
def fill_grid(channels, shift, full, edges, box, slack, scratch, panels, ids, places):
    """Write the panels of each cell, and which they are.

    `edges` (3, d, side) are the least and the greatest coordinates of cells of the last level, and
    those of their middles. `box` (2, d) holds all centroids, which the first `full`
    panels already have. `slack` is what distances are off by at most, relatively, and what they are
    off by besides. `scratch` has 4 d numbers. If there is no room, cells have what their parent
    has.
    """
    d, side, half = len(channels), 1 << shift, slack.dtype.type(0.5)
    best, corners, middle = scratch[:d], scratch[d : 3 * d], scratch[3 * d :]
    places[0], places[1], places[2] = 0, full, 0
    end = full * PANEL
    for level in range(1, shift + 1):
        wide = shift - level
        start, parents = _first_cell(channels, level), _first_cell(channels, level - 1)
        for cell in range(1 << (level * d)):
            farthest, parent = half - half, 0
            for c in range(d):
                at = (cell >> (level * (d - 1 - c))) & ((1 << level) - 1)
                parent = (parent << (level - 1)) | (at >> 1)
                low = c * side + (at << wide)
                high = low + (1 << wide) - 1
                corners[c], corners[d + c] = edges[low], edges[d * side + high]
                middle[c] = (edges[2 * d * side + low] + edges[2 * d * side + high]) * half
                reach = max(corners[d + c], box[d + c]) - min(corners[c], box[c])
                farthest = fma(reach, reach, farthest)
            at, to = _PLACE * (parents + parent), _PLACE * (start + cell)
            first, last, label = places[at], places[at + 1], places[at + 2]
            if last > first:
                start_id, start_number = first * PANEL, first * PANEL * d
                from_panels = panels[start_number : last * PANEL * d]
                label = ids[start_id + nearest_of(channels, middle, from_panels, last - first)]
                for c in range(d):
                    best[c] = panels[(label // PANEL * d + c) * PANEL + label % PANEL]
                margin = fma(slack[0], farthest, slack[1])
                if end + (last - first) * PANEL <= ids.size:
                    count = choose(
                        channels, from_panels, ids[start_id:], last - first, best, corners, margin,
                        ids[end:], panels[end * d :],
                    )  # fmt: skip
                    if count == 1:
                        first = last = label // PANEL
                    else:
                        first = end // PANEL
                        end += fill_up(channels, panels[end * d :], count)
                        last = end // PANEL
            places[to], places[to + 1], places[to + 2] = first, last, label


@inlined
def _cell(channels, points, at, grid, shift, start):
    """Return the cell of the last level, whose first is `start`, that a point is in; 0 if it is far
    away."""
    d = len(channels)
    zero, one = grid.dtype.type(0), grid.dtype.type(1)
    side = grid.dtype.type(1 << shift)
    cell, is_near = np.int32(0), True
    for c in range(d):
        place = (points[at + np.uint64(c)] - grid[c]) * grid[d + c]
        is_near &= (place >= -side) & (place <= side + side)
        place = place if place > zero else zero
        place = place if place < side - one else side - one
        cell = np.int32(cell << np.int32(shift)) | np.int32(place)
    return np.int32(start + cell) if is_near else np.int32(0)


@kernel("channels, i8, T[:], T[:], i4[:]", channels=_CHANNELS, T=("f4", "f8"))
def cells_of(channels, shift, points, grid, out_cells):
    """Write the cell that each point is in."""
    start = _first_cell(channels, shift)
    for i in range(out_cells.size):
        at = np.uint64(i) * np.uint64(len(channels))
        out_cells[i] = _cell(channels, points, at, grid, shift, start)


@kernel(
    "channels, i8, T[:], f8[:], T[:], T[:], i4[:], i4[:], buffers, i4[:], T[:], f8[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
    buffers="(T[:], i4[:], i4[:], i4[:])",
)
def assign_by_grid(
    channels, shift, points, weights, grid, panels, ids, places, buffers, out_labels,
    out_distances, out_sums,
):  # fmt: skip
    """Do as `kmq.kernels.nearest.assign`. `buffers` are scratch for the points of a block:
    distances, labels, cells, and points that have panels to look at."""
    distances, labels, cells, pending = buffers
    d, block = len(channels), labels.size
    n = points.size // d
    start_cell = _first_cell(channels, shift)
    with_distances = out_distances.size > 0 or (out_sums.size > 0 and out_labels.size > 0)
    inertia = 0.0
    for start in range(0, n, block):
        size = min(block, n - start)
        block_rows = points[start * d : (start + size) * d]
        for i in range(size):
            at = np.uint64(i) * np.uint64(d)
            cells[i] = _cell(channels, block_rows, at, grid, shift, start_cell)
        for i in range(size):
            distances[i] = np.inf
        count = np.uint64(0)
        for i in range(size):
            at = np.uint64(cells[i]) * np.uint64(_PLACE)
            labels[i] = places[at + np.uint64(2)]
            pending[count] = i
            count += np.uint64(with_distances or places[at + np.uint64(1)] > places[at])
        panel = np.int64(0)
        while count:  # a panel for each point at a time: branches would be hard to foretell
            left = np.uint64(0)
            for t in range(count):
                i = np.uint64(pending[t])
                at = np.uint64(cells[i]) * np.uint64(_PLACE)
                first, last = places[at] + panel, places[at + np.uint64(1)]
                label, least = _nearest_in_panel(
                    channels, block_rows, i * np.uint64(d), panels, ids, first
                )
                labels[i] = either(least < distances[i], label, labels[i])
                distances[i] = lesser(least, distances[i])
                pending[left] = i
                left += np.uint64(first + 1 < last)
            count = left
            panel += 1
        inertia = write_block(
            channels, d, start, block_rows, weights, labels, distances, inertia, out_labels,
            out_distances, out_sums,
        )  # fmt: skip
    return inertia
