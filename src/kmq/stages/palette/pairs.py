"""A start for many centroids: clusters merged in pairs until so many are left (Equitz 1989)."""

from __future__ import annotations

import numpy as np

from kmq.model.arrays import Array
from kmq.threads import run_chunks

_MOST_AT_ONCE = 3
"""At most one in so many clusters is merged before all look for partners again: those that cost
much may find better ones."""

_LEAST_WEIGHT = 1e-30
"""Least share of the largest weight, so that costs are float32."""

_CHUNKS = 16


def merged(rows: Array, weights: Array, k: int, n_threads: int) -> Array:
    """Return the means (k, d) float64 of k clusters of at least as many points, rows (n, d) float32
    in Morton order."""
    from kmq.kernels.pairs import merge_pairs

    columns = rows.T.copy()
    weights = np.maximum(weights / weights.max(), _LEAST_WEIGHT)
    channels = (0,) * len(columns)
    costs, partners = np.empty(len(weights), np.float32), np.full(len(weights), -1, np.int32)
    while (excess := len(weights) - k) > 0:
        _find_partners(columns, weights, costs, partners, n_threads)
        # Of such floats the upper half of the bits is enough to sort by, and quick.
        order = np.argsort((costs.view(np.uint32) >> 15).astype(np.uint16), kind="stable")
        most = min(excess, max(excess // 2, k // 16, 1), len(weights) // _MOST_AT_ONCE)
        places = np.empty(len(weights), np.int32)
        left = merge_pairs(channels, order, most, places, columns, weights, costs, partners)
        columns = np.ascontiguousarray(columns[:, :left])
        weights, costs, partners = weights[:left], costs[:left], partners[:left]
    return np.ascontiguousarray(columns.T, np.float64)


def _find_partners(
    columns: Array, weights: Array, costs: Array, partners: Array, n_threads: int
) -> None:
    """Find partners for the clusters that have none, and write what it costs to merge them."""
    from kmq.kernels.pairs import BLOCK, FAMILY, find_partners
    from kmq.kernels.search import bound_blocks

    d, n = columns.shape
    channels, rounded = (0,) * d, weights.astype(np.float32)
    boxes = []
    for size in (BLOCK, BLOCK * FAMILY):
        low, high = np.empty((2, -(-n // size), d), np.float32)
        bound_blocks(columns, 0, size, low, high)
        boxes += [low, high]
    n_blocks = len(boxes[0])

    def work(chunk: int) -> None:
        first, last = n_blocks * chunk // _CHUNKS, n_blocks * (chunk + 1) // _CHUNKS
        scratch = [np.empty(shape, np.float32) for shape in (BLOCK, (d + 3, BLOCK), (BLOCK, d + 1))]
        numbers = np.empty((3, BLOCK), np.int32)
        find_partners(
            channels, columns, rounded, first, last, *boxes, *scratch, numbers, costs, partners
        )

    run_chunks(work, _CHUNKS, n_threads)
