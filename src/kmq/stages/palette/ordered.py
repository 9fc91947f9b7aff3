"""Nearest centroids of points that are sorted once for many rounds: what `kmq.kernels.ordered`
works on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.products import aligned
from kmq.threads import run_chunks

_SAMPLE = 1024
"""Points that say where the grid is whose cells points are sorted by."""

_OUTLIERS = 2
"""Points of the sample that may lie outside, on each side of each channel."""

_LEVELS = 3
"""Levels of blocks, and blocks of blocks, for which centroids are chosen."""

_CHUNKS_PER_THREAD, _FEWEST_BLOCKS = 4, 64
"""Chunks of work for each of several threads, and blocks of a chunk at least: labels do not depend
on them."""


class Ordered:
    """Points (n, d) in an order of neighbours. Memory: a copy of them, and two numbers a point."""

    def __init__(self, points: Array, scratch: Array):
        """Sort points; `scratch` (n,) int32 is overwritten."""
        from kmq.kernels.ordered import BLOCK, fill_tiles

        n, d = points.shape
        self._channels, self._n_blocks = (0,) * d, -(-n // BLOCK)
        self._tiles = aligned(self._n_blocks * BLOCK * d, points.dtype)
        self._order = _order(points, scratch.view(np.uint32), self._tiles.view(np.int32)[:n])
        corners = np.empty((self._n_blocks, 2, d), points.dtype)
        fill_tiles(
            self._channels, points.reshape(-1), self._order, self._tiles, corners.reshape(-1)
        )
        self._corners, self._starts, self._box = _levels(corners)

    def label(self, centroids: Array, n_threads: int, out_labels: Array) -> float:
        """Write the label of each point; return how many centroids it was compared with in the
        mean: infinitely many, and nothing is written, where squares could overflow or vanish."""
        from kmq.kernels._candidates import PANEL
        from kmq.kernels.ordered import BLOCK, assign_ordered

        dtype = self._tiles.dtype
        (k, d), levels = centroids.shape, len(self._starts)
        rows = centroids.astype(dtype)
        box = np.stack([rows.min(axis=0), rows.max(axis=0)])
        if not _are_usual(box, self._box):
            return math.inf
        info = np.finfo(dtype)
        slack = np.array([8 * (d + 4) * info.eps, 8 * (d + 2) * info.smallest_subnormal], dtype)
        room = k // PANEL * PANEL + 2 * PANEL  # for a pair more
        padded = np.full((room, d), np.inf, dtype)
        padded[:k] = rows
        given = padded.reshape(-1, PANEL, d).transpose(0, 2, 1).ravel()
        all_ids = np.arange(k)
        n_chunks = _CHUNKS_PER_THREAD * n_threads if n_threads > 1 else 1
        size = max(_FEWEST_BLOCKS, -(-self._n_blocks // n_chunks))
        starts = [*range(0, self._n_blocks, size)]
        n_compared = np.zeros((len(starts), 1), np.int32)

        def work(chunk: int) -> None:
            first = starts[chunk]
            counts, ids = np.empty(levels + 1, np.int32), np.empty((levels + 1, room), np.int32)
            panels = aligned((levels + 1) * room * d, dtype)
            counts[-1], ids[-1, :k], panels[levels * room * d :][: given.size] = k, all_ids, given
            labels = np.empty(BLOCK, np.int32)
            assign_ordered(
                self._channels,
                first,
                min(first + size, self._n_blocks),
                self._tiles,
                rows.reshape(-1),
                self._corners,
                self._starts,
                box.reshape(-1),
                slack,
                (counts, panels, np.empty(2 * d, dtype), ids.reshape(-1), labels),
                self._order,
                out_labels,
                n_compared[chunk],
            )

        run_chunks(work, len(starts), n_threads)
        return float(n_compared.sum() / self._n_blocks)


def _order(points: Array, cells: Array, scratch: Array) -> Array:
    """Return the places of points in the order of a curve through space; memory for n numbers of
    32 bits is overwritten."""
    from kmq.kernels.ordered import DIGIT, number_cells, sort_cells

    n, d = points.shape
    bits = 2 * DIGIT // d
    sample = np.sort(points[:: -(-n // _SAMPLE)], axis=0).astype(np.float64)
    few = min(_OUTLIERS, len(sample) // 4)
    low, high = sample[few], sample[-1 - few]
    width = max(float((high - low).max()), float(np.finfo(points.dtype).tiny))
    low = (low + high - width) / 2
    counts = np.empty(2 << DIGIT, np.int32)
    number_cells(
        (0,) * d,
        points.reshape(-1),
        low.astype(points.dtype),
        points.dtype.type((1 << bits) / width),
        cells,
        counts,
    )
    order = np.empty(n, np.int32)
    sort_cells(cells, counts, scratch, order)
    return order


def _levels(corners: Array) -> tuple[Array, Array, Array]:
    """Return corners of blocks, then of FAN together, and so on; where each level
    starts; and the corners of all."""
    from kmq.kernels.ordered import FAN

    parts, starts = [corners], [0]
    for _ in range(_LEVELS - 1):
        last = parts[-1]
        starts.append(starts[-1] + len(last))
        some = np.arange(0, len(last), FAN)
        low = np.minimum.reduceat(last[:, 0], some)
        parts.append(np.stack([low, np.maximum.reduceat(last[:, 1], some)], axis=1))
    box = np.stack([parts[-1][:, 0].min(axis=0), parts[-1][:, 1].max(axis=0)])
    return np.concatenate(parts).reshape(-1), np.array(starts), box


def _are_usual(*boxes: Array) -> bool:
    """Return whether squares of distances among all in these boxes neither overflow nor vanish."""
    both: Any = np.concatenate(boxes).astype(np.float64)
    info = np.finfo(boxes[0].dtype)
    narrow, wide = (np.sqrt(np.sqrt(float(end))) for end in (info.tiny, info.max))
    return bool(narrow < np.ptp(both, axis=0).max() < wide)
