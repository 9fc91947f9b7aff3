"""Weighted points in Morton order, of one kind or of two, and the bins of them to search on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kmq.lazily import computed_once
from kmq.model.arrays import Array

_MAX_CHUNKS = 16
"""Parts that the rounds on all colours are cut into: enough for threads to even out."""

_COLOR_BLOCK, _BIN_BLOCK = 256, 128
"""Points whose box is bounded at once. Smaller blocks make smaller boxes, which counts more among
bins, since they lie farther apart; but each block has its centroids to choose."""


@dataclass(frozen=True)
class Points:
    """Weighted points as the kernels want them: of one kind, in Morton order; or opaque ones, and
    after them others, each kind in Morton order.

    Opaque points may only have opaque centroids: where there are two kinds, the last coordinate
    says which is which. It is the same for all that are opaque, and larger than that of the others.

    Attributes:
        columns: (d, n) float32.
        weights: (n,) float64.
        n_opaque: how many are opaque, if there are two kinds; else 0.
        block: points of a block at most; none has points of both kinds.
        low: (blocks, d) float32, the least corner of each block's box.
        high: (blocks, d) float32, the other.
    """

    columns: Array
    weights: Array
    n_opaque: int
    block: int
    low: Array
    high: Array

    @property
    def channels(self) -> tuple[int, ...]:
        """A tuple as long as there are channels, for kernels to unroll their loops by."""
        return (0,) * len(self.columns)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What most kernels take first."""
        return self.channels, self.columns, self.weights, self.n_opaque, self.low, self.high

    @property
    def kinds(self) -> tuple[slice, ...]:
        """Where the points of each kind are."""
        if not self.n_opaque:
            return (slice(None),)
        return slice(self.n_opaque), slice(self.n_opaque, None)

    @property
    def opaque(self) -> float:
        """The last coordinate of opaque points, where there are two kinds."""
        return float(self.columns[-1, 0])

    @computed_once
    def total_weight(self) -> float:
        """Σ weight."""
        return float(self.weights.sum())

    @computed_once
    def moments(self) -> tuple[Array, Array]:
        """Σ weight · x and Σ weight · x² of each channel."""
        return _moments(self.columns, self.weights)

    @property
    def squares(self) -> float:
        """Σ weight · |x|²."""
        return float(self.moments[1].sum())

    @property
    def mean_variance(self) -> float:
        """The variance of each channel, averaged over the channels."""
        sums, squares = self.moments
        return float((squares / self.total_weight - (sums / self.total_weight) ** 2).mean())

    def are_opaque(self, rows: Array) -> Array:
        """Return (k,) bool: which rows (k, d) are opaque, where there are two kinds."""
        if not self.n_opaque:
            return np.zeros(len(rows), np.bool_)
        opaque: Array = rows[:, -1].astype(np.float32) == self.columns[-1, 0]
        return opaque

    @computed_once
    def rows(self) -> Array:
        """(n, d) float32 to start on: opaque ones so far off that no cluster has both for long."""
        return np.ascontiguousarray(self.lifted(self.columns.T))

    def lifted(self, rows: Array) -> Array:
        """Return (k, d) rows with opaque ones as far off as `rows` has them."""
        if not self.n_opaque:
            return rows
        least = min(float(self.weights[kind].sum()) for kind in self.kinds)
        # Even the fewest cost more in the wrong cluster than all colours in a single one.
        gap = math.sqrt(self.mean_variance * rows.shape[1] * self.total_weight / least)
        lifted = rows.copy()
        lifted[self.are_opaque(rows), -1] += 4 * gap
        return lifted

    def start(self, fixed: Array, lifted: Array) -> Array:
        """Return centroids (k, d): the fixed ones, then those found for `rows`, let down."""
        if not self.n_opaque:
            return np.concatenate([fixed, lifted])
        opaque, centroids = self.opaque, lifted.copy()
        are_opaque = centroids[:, -1] > (opaque + self.rows[0, -1]) / 2
        if not are_opaque.any() and not self.are_opaque(fixed).any():
            columns = np.ascontiguousarray(self.columns[:, : self.n_opaque])
            weights = self.weights[: self.n_opaque]
            centroids[0] = _moments(columns, weights)[0] / weights.sum()
            are_opaque[0] = True
        centroids[are_opaque, -1] = opaque
        most = np.nextafter(np.float32(opaque), np.float32(0))
        centroids[~are_opaque, -1] = np.minimum(centroids[~are_opaque, -1], most)
        return np.concatenate([fixed, centroids])


def points_of(columns: Array, weights: Array) -> Points:
    """Return colours, in Morton order, as points: columns (d, m) float32, weights (m,) float64."""
    return _points(columns, weights, 0, _COLOR_BLOCK)


def divided(points: Points, keys: Array, are_opaque: Array) -> tuple[Points, Array]:
    """Return points and their keys with those first that are opaque, as `are_opaque` (n,) says; at
    least one is, and one is not."""
    order = np.argsort(~are_opaque, kind="stable")
    columns = np.ascontiguousarray(points.columns[:, order])
    n_opaque = int(np.count_nonzero(are_opaque))
    return _points(columns, points.weights[order], n_opaque, _COLOR_BLOCK), keys[order]


def bins_of(points: Points, keys: Array, enough: int) -> Points:
    """Return the means and weights of the coarsest boxes of colours that are enough for each kind.

    Points of a kind are in the order of their Morton keys `keys` (n,), so a box, all colours whose
    keys agree but for so many bits, is a run of them. Boxes are cubes, or two or more of them side
    by side. If there are no more than `enough` points of each kind, they are returned as they are.
    """
    if all(len(points.weights[kind]) <= enough for kind in points.kinds):
        return points
    binned = [_boxes(points, keys, kind, enough) for kind in points.kinds]
    columns, weights = binned[0] if len(binned) == 1 else map(_joined, *binned)
    if len(weights) == len(points.weights):
        return points
    n_opaque = len(binned[0][1]) if points.n_opaque else 0
    return _points(columns, weights, n_opaque, _BIN_BLOCK)


def _boxes(points: Points, keys: Array, kind: slice, enough: int) -> tuple[Array, Array]:
    """Return columns and weights of the boxes of a kind of points."""
    from kmq.kernels.histogram import fill_boxes

    columns, weights = np.ascontiguousarray(points.columns[:, kind]), points.weights[kind]
    n_bits, n_boxes = _coarsest(keys[kind], enough)
    if n_bits == 0:
        return columns, weights
    out_columns = np.empty((len(columns), n_boxes), np.float32)
    out_weights = np.empty(n_boxes)
    shift = keys.dtype.type(n_bits)
    fill_boxes(keys[kind], shift, columns, weights, out_columns, out_weights)
    return out_columns, out_weights


def _joined(first: Array, second: Array) -> Array:
    return np.concatenate([first, second], axis=-1)


def boxes_of(keys: Array, enough: int) -> Array:
    """Return in which of the coarsest boxes that are enough each colour is: (m,) int32, from 0."""
    from kmq.kernels.histogram import number_boxes

    if len(keys) <= enough:
        return np.arange(len(keys), dtype=np.int32)
    n_bits, _ = _coarsest(keys, enough)
    boxes = np.empty(len(keys), np.int32)
    number_boxes(keys, keys.dtype.type(n_bits), boxes)
    return boxes


def _coarsest(keys: Array, enough: int) -> tuple[int, int]:
    """Return how many bits of the keys to leave out for the coarsest boxes that are enough, and how
    many boxes there are then."""
    from kmq.kernels.histogram import count_differences

    differences = np.zeros(64, np.int64)
    count_differences(keys, differences)
    # How many boxes there are when so many bits are left out: keys that differ in another.
    n_boxes = 1 + differences[::-1].cumsum()[::-1]
    n_bits = int(np.flatnonzero(n_boxes >= min(enough, len(keys)))[-1])
    return n_bits, int(n_boxes[n_bits])


def _points(columns: Array, weights: Array, n_opaque: int, block: int) -> Points:
    from kmq.kernels.search import bound_blocks

    n_blocks = -(-n_opaque // block) + -(-(len(weights) - n_opaque) // block)
    low, high = np.empty((2, n_blocks, len(columns)), np.float32)
    bound_blocks(columns, n_opaque, block, low, high)
    return Points(columns, weights, n_opaque, block, low, high)


def _moments(columns: Array, weights: Array) -> tuple[Array, Array]:
    from kmq.kernels.search import LANES, moments

    sums, squares = np.empty(len(columns)), np.empty(len(columns))
    moments(columns, weights, np.empty((2, LANES)), sums, squares)
    return sums, squares


class Workspace:
    """What the kernels measure and cut up to `rows` clusters of `points` in."""

    def __init__(self, points: Points, rows: int):
        d = len(points.columns)
        self.buffers = buffers_of(points, rows)
        self.labels = np.zeros(len(points.weights), np.int32)
        kinds = len(points.kinds)
        self.sums = np.empty((kinds, rows, d + 1))
        self.velocity = np.empty((rows, d))
        squares = np.empty((rows, d))
        seconds, losses = np.empty(points.block, np.float32), np.empty((kinds, rows))
        self.measured = (self.buffers, seconds, self.labels, losses, squares, self.sums)
        axes, halves, gains = np.empty(3 * rows, np.int64), np.empty((rows, d + 1)), np.empty(rows)
        flags = np.empty((2, rows), np.bool_)
        self.cut = (squares, self.sums, axes, halves, gains, flags)
        self.released = (losses, self.sums, gains, flags)


def parts_of(points: Points) -> list[tuple[int, int]]:
    """Return (first, last) blocks of parts of even size, which the input alone decides."""
    n_blocks = len(points.low)
    n_parts = max(1, min(_MAX_CHUNKS, n_blocks // 32))
    bounds = [n_blocks * part // n_parts for part in range(n_parts + 1)]
    return list(pairwise(bounds))


class Buffers:
    """What the kernels work in, for up to `k` centroids: made once for each of several threads."""

    def __init__(self, points: Points, k: int):
        self._points, self._k = points, k
        self._free: list[tuple[Array, ...]] = []

    def take(self) -> tuple[Array, ...]:
        """Return buffers that no other call has."""
        try:
            return self._free.pop()
        except IndexError:
            return buffers_of(self._points, self._k)

    def give(self, buffers: tuple[Array, ...]) -> None:
        """Take back what a call is done with."""
        self._free.append(buffers)


def buffers_of(points: Points, k: int) -> tuple[Array, ...]:
    """Return what the kernels choose, compare and label in."""
    from kmq.kernels.search import buffer_rows

    rows, d = buffer_rows(k), len(points.columns)
    return (
        np.empty((d, rows), np.float32),
        np.empty(rows, np.int32),
        np.empty((d, rows), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows, np.float32),
        np.empty((rows, d), np.float32),
        np.empty(rows, np.int32),
        np.empty(points.block, np.float32),
        np.empty(points.block, np.int32),
    )
