"""Nearest centroids by differences: what `kmq.kernels.nearest.assign` works on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette.products import aligned


@cache
def channels_of(d: int) -> tuple[int, ...]:
    """Return d anythings, or none where kernels do not unroll: see `kmq.kernels.nearest`."""
    from kmq.kernels._rows import MOST_UNROLLED

    return (0,) * d if d <= MOST_UNROLLED else ()


def grouped(centroids: Array, dtype: np.dtype[Any]) -> Array:
    """Return centroids as the kernels want them: (groups, d, GROUP), flat, the last filled up."""
    from kmq.kernels._rows import GROUP

    k, d = centroids.shape
    padded = np.full((-(-k // GROUP), GROUP, d), np.inf, dtype)
    padded.reshape(-1, d)[:k] = centroids
    return padded.transpose(0, 2, 1).ravel()


def scratch_of(d: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return what the kernels need besides: a block's tiles, distances and labels."""
    size = _block_size(d, dtype.itemsize)
    return aligned(d * size, dtype), np.empty(size, dtype), np.empty(size, np.int32)


def group_scratch_of(d: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return what distances to all need: a block's tiles, and those of a tile to a group."""
    from kmq.kernels._lanes import LANE_BYTES
    from kmq.kernels._rows import GROUP

    tiles = aligned(d * _block_size(d, dtype.itemsize), dtype)
    return tiles, np.empty(GROUP * LANE_BYTES // dtype.itemsize, dtype)


@cache
def _block_size(d: int, itemsize: int) -> int:
    from kmq.kernels.nearest import block_size

    return block_size(d, itemsize)


def operations_of(k: int, d: int, dtype: np.dtype[Any]) -> float:
    """Return the operations on registers to compare a point with all centroids."""
    from kmq.kernels._lanes import LANE_BYTES

    numbers = (64 if LANE_BYTES > 64 else 32) // dtype.itemsize
    return k * (2 * d + 3) / numbers
