"""Weighted points in Morton order, of one kind or of two, and the bins of them to search on."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Weighted points in Morton order as the kernels want them.

    Attributes:
        columns: (d, n) float32.
        weights: (n,) float64.
        block: points of a block.
        low: (blocks, d) float32, the least corner of each block's box.
        high: (blocks, d) float32, the other.
    """

    columns: Array
    weights: Array
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
        return self.channels, self.columns, self.weights, self.low, self.high

    @computed_once
    def total_weight(self) -> float:
        """Σ weight."""
        return float(self.weights.sum())

    @computed_once
    def moments(self) -> tuple[Array, Array]:
        """Σ weight · x and Σ weight · x² of each channel."""
        from kmq.kernels.search import LANES, moments

        sums, squares = np.empty(len(self.columns)), np.empty(len(self.columns))
        moments(self.columns, self.weights, np.empty((2, LANES)), sums, squares)
        return sums, squares

    @property
    def squares(self) -> float:
        """Σ weight · |x|²."""
        return float(self.moments[1].sum())


def points_of(columns: Array, weights: Array) -> Points:
    """Return colours, in Morton order, as points: columns (d, m) float32, weights (m,) float64."""
    return _points(columns, weights, _COLOR_BLOCK)


@dataclass(frozen=True)
class PointSet:
    """Points of one kind; or of two, opaque ones and others, at least one of each.

    Opaque points may only have opaque centroids. The last coordinate of all of them is the same,
    and larger than that of the others.

    Attributes:
        parts: the points of each kind, the opaque ones first.
        keys: their Morton keys.
    """

    parts: tuple[Points, ...]
    keys: tuple[Array, ...]

    @classmethod
    def divided(cls, points: Points, keys: Array, are_opaque: Array) -> PointSet:
        """Divide points and their keys; `are_opaque` (n,) bool says which are of the first kind."""
        kinds = (are_opaque, ~are_opaque)
        return cls(
            tuple(
                points_of(np.ascontiguousarray(points.columns[:, kind]), points.weights[kind])
                for kind in kinds
            ),
            tuple(keys[kind] for kind in kinds),
        )

    def bins(self, enough: int) -> PointSet:
        """Return enough bins for each part."""
        pairs = zip(self.parts, self.keys, strict=True)
        return PointSet(tuple(bins_of(part, keys, enough) for part, keys in pairs), self.keys)

    @property
    def is_divided(self) -> bool:
        """Whether there are two kinds."""
        return len(self.parts) == 2

    @property
    def opaque(self) -> float:
        """The last coordinate of opaque points, where there are two kinds."""
        return float(self.parts[0].columns[-1, 0])

    @computed_once
    def columns(self) -> Array:
        """(d, n) float32: one part after the other."""
        return _joined([part.columns for part in self.parts])

    @computed_once
    def weights(self) -> Array:
        """(n,) float64, in the same order."""
        return _joined([part.weights for part in self.parts])

    @property
    def total_weight(self) -> float:
        """Σ weight."""
        return sum(part.total_weight for part in self.parts)

    @computed_once
    def moments(self) -> tuple[Array, Array]:
        """Σ weight · x and Σ weight · x² of each channel."""
        sums, squares = zip(*(part.moments for part in self.parts), strict=True)
        return sum(sums[1:], sums[0]), sum(squares[1:], squares[0])

    @property
    def squares(self) -> float:
        """Σ weight · |x|²."""
        return sum(part.squares for part in self.parts)

    @property
    def mean_variance(self) -> float:
        """The variance of each channel, averaged over the channels."""
        sums, squares = self.moments
        return float((squares / self.total_weight - (sums / self.total_weight) ** 2).mean())

    def are_opaque(self, rows: Array) -> Array:
        """Return (n,) bool: which rows (n, d) are opaque, where there are two kinds."""
        if not self.is_divided:
            return np.zeros(len(rows), np.bool_)
        opaque: Array = rows[:, -1].astype(np.float32) == self.opaque
        return opaque

    @computed_once
    def rows(self) -> Array:
        """(n, d) float32 to start on: opaque ones so far off that no cluster has both for long."""
        return np.ascontiguousarray(self.lifted(self.columns.T), dtype=np.float32)

    def lifted(self, rows: Array) -> Array:
        """Return (n, d) rows with opaque ones as far off as `rows` has them."""
        if not self.is_divided:
            return rows
        least = min(part.total_weight for part in self.parts)
        # Even the fewest cost more in the wrong cluster than all colours in a single one.
        gap = math.sqrt(self.mean_variance * rows.shape[1] * self.total_weight / least)
        lifted = rows.copy()
        lifted[self.are_opaque(rows), -1] += 4 * gap
        return lifted

    def start(self, fixed: Array, lifted: Array) -> Array:
        """Return centroids (k, d): the fixed ones, then those found for `rows`, let down."""
        if not self.is_divided:
            return np.concatenate([fixed, lifted])
        opaque, centroids = self.opaque, lifted.copy()
        are_opaque = centroids[:, -1] > (opaque + self.rows[0, -1]) / 2
        if not are_opaque.any() and not self.are_opaque(fixed).any():
            first = self.parts[0]
            centroids[0, :-1] = first.moments[0][:-1] / first.total_weight
            are_opaque[0] = True
        centroids[are_opaque, -1] = opaque
        most = np.nextafter(np.float32(opaque), 0)
        centroids[~are_opaque, -1] = np.minimum(centroids[~are_opaque, -1], most)
        return np.concatenate([fixed, centroids])


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def bins_of(points: Points, keys: Array, enough: int) -> Points:
    """Return the means and weights of the coarsest boxes of colours that are enough.

    The points are in the order of their Morton keys `keys` (m,), so a box, all colours whose keys
    agree but for so many bits, is a run of them. Boxes are cubes, or two or more of them side by
    side. If there are no more than `enough` points, they are returned as they are.
    """
    from kmq.kernels.histogram import fill_boxes

    n_bits, n_boxes = _coarsest(keys, enough)
    if n_bits == 0:
        return points
    columns = np.empty((len(points.columns), n_boxes), np.float32)
    weights = np.empty(n_boxes)
    shift = keys.dtype.type(n_bits)
    fill_boxes(keys, shift, points.columns, points.weights, columns, weights)
    return _points(columns, weights, _BIN_BLOCK)


def boxes_of(keys: Array, enough: int) -> Array:
    """Return in which of the coarsest boxes that are enough each colour is: (m,) int32, from 0."""
    n_bits, _ = _coarsest(keys, enough)
    boxes = keys >> keys.dtype.type(n_bits)
    numbers = np.zeros(len(keys), np.int32)
    np.cumsum(boxes[1:] != boxes[:-1], out=numbers[1:])
    return numbers


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


def _points(columns: Array, weights: Array, block: int) -> Points:
    from kmq.kernels.search import bound_blocks

    low = np.empty((-(-columns.shape[1] // block), len(columns)), np.float32)
    high = np.empty_like(low)
    bound_blocks(columns, block, low, high)
    return Points(columns, weights, block, low, high)


class Workspace:
    """What the kernels measure and cut up to `rows` clusters of `points` in."""

    def __init__(self, points: Points, rows: int):
        d = len(points.columns)
        self.buffers = buffers_of(points, rows)
        self.labels = np.empty(len(points.weights), np.int32)
        self.sums = np.empty((rows, d + 1))
        self.velocity = np.empty((rows, d))
        squares = np.empty((rows, d))
        seconds, losses = np.empty(points.block, np.float32), np.empty(rows)
        self.measured = (self.buffers, seconds, self.labels, losses, squares, self.sums)
        axes, halves, gains = np.empty(rows, np.int64), np.empty((rows, d + 1)), np.empty(rows)
        self.cut = (squares, self.sums, axes, halves, gains)


def parts_of(points: Points) -> list[tuple[int, int]]:
    """Return (first, last) blocks of parts of even size, which the input alone decides."""
    n_blocks = len(points.low)
    n_parts = max(1, min(_MAX_CHUNKS, n_blocks // 32))
    bounds = [n_blocks * part // n_parts for part in range(n_parts + 1)]
    return list(pairwise(bounds))


def buffers_of(points: Points, k: int) -> tuple[Array, ...]:
    """Return what the kernels choose, compare and label in."""
    from kmq.kernels.search import buffer_rows

    rows, d = buffer_rows(k), len(points.columns)
    return (
        np.empty((d, rows), np.float32),
        np.empty(rows, np.float32),
        np.empty(rows, np.float32),
        np.empty((rows, d), np.float32),
        np.empty(rows, np.int32),
        np.empty(points.block, np.float32),
        np.empty(points.block, np.int32),
    )
