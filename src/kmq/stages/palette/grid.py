"""Nearest centroids by a grid: what `kmq.kernels.grid` works on.

A cell is the box of all points that floats take to it, and a little more. There |x - y|² - |x - z|²
is least at a corner, and so one pass over the centroids says which of them another one beats in all
of the cell. Each squared distance is off by up to (d + 2) u of its value in floats, u half the
distance from 1 to the next float, and what is computed of cells by up to (d + 6) u of at most twice
the square of the greatest distance between the cell and centroids, added up over the channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.products import aligned

_MOST_SHIFTS = {2: 6, 3: 4}
"""Cells along each channel at most, as a power of two, for points with so many channels. With four
channels cells are too large, or too many: each has 40 of 256 centroids."""

_USUAL_PANELS = {2: 0.4, 3: 1.0}
"""Panels that a point looks at on such a grid, among 64 centroids of a normal distribution."""

_PROBED = {2: 2, 3: 1}
"""Halvings left out of a first grid, which takes little time and shows where points crowd."""

_POINTS_PER_CELL = 48
"""Points for each cell at least, so that filling it takes little time beside."""

_MARGIN = 0.1
"""How far the grid goes beyond the centroids, as a share of their extent."""

_BLOCK = 256
"""Points whose cells are found at once."""

_SAMPLE = 512
"""Points that tell what a grid is worth."""

_PANEL_COST = {64: 4.0, 256: 8.0}
"""How many times as long it takes to compare a point with a panel of a cell as with one of all
centroids, by bytes of vectors, for numbers of 4 bytes. Points share the latter."""

_BASE_PANELS = 1.25
"""What finding cells and filling them takes, in panels of a cell."""


class Grid(NamedTuple):
    """A grid as the kernel wants it: see there."""

    channels: tuple[int, ...]
    shift: int
    grid: Array
    panels: Array
    ids: Array
    places: Array


def grid_of(points: Array, centroids: Array) -> Grid | None:
    """Return a grid, or None where points (n, d) are compared faster with all centroids (k, d)."""
    n, d = points.shape
    k, dtype = len(centroids), points.dtype
    most = _MOST_SHIFTS.get(d, 0)
    shift = min(most, (n // _POINTS_PER_CELL).bit_length() // d)
    if shift < most - 1 or most == 0:
        return None
    from kmq.kernels._candidates import PANEL

    if _cost(_USUAL_PANELS[d], dtype) * PANEL > k:
        return None
    rows = centroids.astype(dtype)
    box = np.stack([rows.min(axis=0), rows.max(axis=0)])
    extent = np.subtract(box[1], box[0], dtype=np.float64)
    info = np.finfo(dtype)
    narrow, wide = (np.sqrt(np.sqrt(float(end))) for end in (info.tiny, info.max))
    if not narrow < extent.max() < wide:
        return None
    extent = np.maximum(extent, extent.max() / 64)
    sample = np.ascontiguousarray(points[:: -(-n // _SAMPLE)])
    if 2 * _mean_panels(_filled(rows, box, extent, shift - _PROBED[d]), sample) * PANEL > k:
        return None
    made = _filled(rows, box, extent, shift)
    return None if _cost(_mean_panels(made, sample), dtype) * PANEL > k else made


class Grids:
    """Grids for the rounds of one fit.

    To see that none would pay takes half as long as a round. So none is looked for until twice as
    many rounds are done.
    """

    def __init__(self) -> None:
        self._done = self._look = 0

    def of(self, points: Array, centroids: Array) -> Grid | None:
        """Do as `grid_of`, now and then."""
        self._done += 1
        if self._done < self._look:
            return None
        made = grid_of(points, centroids)
        if made is None:
            self._look = 2 * self._done
        return made


def scratch_of(dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Return the buffers of the kernel."""
    return np.empty(_BLOCK, dtype), *np.empty((3, _BLOCK), np.int32)


def _filled(rows: Array, box: Array, extent: Array, shift: int) -> Grid:
    from kmq.kernels._candidates import PANEL
    from kmq.kernels.grid import fill_grid

    k, d = rows.shape
    dtype, channels, side = rows.dtype, (0,) * d, 1 << shift
    n_cells = 1 << (shift * d)
    full = -(-k // PANEL)
    count = full + max(4 * n_cells, 64 * full)
    panels, ids = aligned(count * d * PANEL, dtype), np.zeros(count * PANEL, np.int32)
    padded = np.full((full * PANEL, d), np.inf, dtype)
    padded[:k] = rows
    panels[: padded.size] = padded.reshape(full, PANEL, d).transpose(0, 2, 1).ravel()
    ids[:k] = np.arange(k)
    n_all_cells = ((n_cells << d) - 1) // ((1 << d) - 1)
    places = np.empty(3 * n_all_cells, np.int32)
    start = (box[0] - _MARGIN * extent).astype(dtype)
    per_unit = (side / (extent * (1 + 2 * _MARGIN))).astype(dtype)
    info = np.finfo(dtype)
    exact_start, width = start.astype(np.float64)[:, None], 1 / per_unit.astype(np.float64)[:, None]
    edges = _edges(exact_start, width, side, float(info.eps))
    slack = np.array([8 * (d + 4) * info.eps, 8 * (d + 2) * info.smallest_subnormal], dtype)
    outward = np.array([-np.inf, np.inf], dtype)[:, None, None]
    corners = np.nextafter(edges[:2].astype(dtype), outward)
    middles = edges[2:].astype(dtype)
    fill_grid(
        channels,
        shift,
        full,
        np.concatenate([corners, middles]).ravel(),
        box.ravel(),
        slack,
        np.empty(4 * d, dtype),
        panels,
        ids,
        places,
    )
    return Grid(channels, shift, np.concatenate([start, per_unit]), panels, ids, places)


def _edges(start: Array, width: Array, side: int, eps: float) -> Array:
    """Return where cells start and end at most, and their middles: (3, d, side) float64."""
    low = start + width * np.arange(side)
    high, middle = low + width, low + width / 2
    low[:, 0] -= width[:, 0] * side
    high[:, -1] += width[:, 0] * side
    unsure = 0.01 * width + 8 * eps * (np.abs(start) + 3 * side * width)
    return np.stack([low - unsure, high + unsure, middle])


def _mean_panels(made: Grid, sample: Array) -> float:
    """Return how many panels points (m, d) have to look at."""
    from kmq.kernels.grid import cells_of

    cells = np.empty(len(sample), np.int32)
    cells_of(made.channels, made.shift, sample.ravel(), made.grid, cells)
    first, last, _ = made.places.reshape(-1, 3)[cells].T
    return float((last - first).mean())


def _cost(panels: float, dtype: np.dtype[Any]) -> float:
    """Return what it takes to look at so many panels of a cell, in panels of all centroids."""
    from kmq.kernels._lanes import LANE_BYTES

    cost = _PANEL_COST[LANE_BYTES]
    return (panels + _BASE_PANELS) * cost * 4 / dtype.itemsize
