"""Rounds of Lloyd's algorithm that keep bounds of distances, while that saves time.

Labels and sums are those of plain rounds, to the bit: see `kmq.kernels.bounded`. Sums of whole
numbers are exact, so only points with a new label change them; others are added anew, in order.

As long as centroids move far, and few points would be spared, rounds are plain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kmq.model.arrays import Array
from kmq.stages.palette import products
from kmq.stages.palette.differences import channels_of, grouped
from kmq.stages.palette.products import aligned
from kmq.threads import run_chunks

LEAST_WORK = 1 << 20
"""Least channels compared in a round for bounds to be worth their arrays."""

_PLAIN_ROUNDS = 2
"""Plain rounds before the first one with bounds, at least: centroids move far at first."""

_SMALL_MOVES = 0.15
"""How much gaps may shrink in a round for bounds to begin, in distances between neighbouring
centroids. The first round with bounds takes up to twice as long as a plain one."""

_SAMPLE = 16
"""Centroids whose neighbours are looked for."""

_UP = 1 + 4 * np.finfo(np.float64).eps
"""What sums of moves are multiplied by to be rounded up."""

_MOST_UNROLLED = 4
"""Most channels that the kernel unrolls."""

PlainRound = Callable[[Array], Array]


class Rounds:
    """Rounds on points (n, d), each of `parts` by itself; empty `weights` count each once.

    `plain` does one without bounds. Memory: three numbers a point.
    """

    def __init__(
        self,
        points: Array,
        weights: Array,
        k: int,
        parts: list[slice],
        n_threads: int,
        plain: PlainRound,
    ):
        self._points, self._weights, self._n_threads = points, weights, n_threads
        self._parts, self._plain = parts, plain
        n, d = points.shape
        self._by_products = products.are_faster(k, d, points.dtype)
        self._wait, self._small = _PLAIN_ROUNDS, _SMALL_MOVES
        self._enough = _fewest_spared(k, d, points.dtype, self._by_products)
        self._k = k
        self._rows, self._totals = np.empty((0, d), points.dtype), np.zeros(k)
        self._spacing = 0.0
        self._begun = False
        self._is_worth = n * k * d >= LEAST_WORK and k > 1

    def sums(self, centroids: Array) -> Array:
        """Return the sums (k, d + 1) of weight · (x, 1) of the points nearest to each centroid."""
        if not self._is_worth:
            return self._plain(centroids)
        before, self._rows = self._rows, centroids.astype(self._points.dtype)
        shrinkage = _shrinkage(before, self._rows) if len(before) else np.full(self._k, np.inf)
        if not self._begun:
            self._wait -= 1
            if self._wait == -1 and self._spacing == 0:
                self._spacing = _spacing(self._rows)
            if self._wait >= 0 or shrinkage.max() > self._small * self._spacing:
                return self._plain(centroids)
        spared = self._round(centroids, shrinkage)
        if self._begun and spared < self._enough:
            self._begun, self._wait = False, _PLAIN_ROUNDS
            self._small /= 2
        else:
            self._begun = True
        total: Array = self._sums[0].copy()
        for part in self._sums[1:]:
            total += part
        return total

    def _round(self, centroids: Array, shrinkage: Array) -> float:
        """Bring gaps, labels and sums up to date; return the share of points that were spared."""
        dtype = self._points.dtype
        if self._begun:
            self._totals = (self._totals + shrinkage) * _UP
        else:
            self._begin()
        thresholds = np.nextafter(self._totals.astype(dtype), dtype.type(np.inf))
        work = self._kernel(centroids)
        counts = [0] * len(self._parts)

        def chunk_work(chunk: int) -> None:
            part = self._parts[chunk]
            counts[chunk] = work(
                self._points[part].reshape(-1),
                self._weights[part],
                self._totals,
                thresholds,
                self._pending[part],
                self._labels[part],
                self._gaps[part],
                self._begun and self._whole,
                self._sums[chunk].reshape(-1),
            )

        run_chunks(chunk_work, len(self._parts), self._n_threads)
        return 1 - sum(counts) / len(self._points)

    def _begin(self) -> None:
        n, d = self._points.shape
        if not hasattr(self, "_labels"):
            self._labels, self._pending = np.zeros((2, n), np.int32)
            self._gaps = np.empty(n, self._points.dtype)
            self._sums = np.empty((len(self._parts), self._k, d + 1))
            self._whole = _are_whole(self._points, self._weights)
            self._slack = _slack(d, self._points.dtype)
        self._totals = np.zeros(self._k)
        self._gaps[:] = -np.inf

    def _kernel(self, centroids: Array) -> Callable[..., int]:
        from kmq.kernels._lanes import LANE_BYTES
        from kmq.kernels.bounded import round_by_differences, round_by_products

        d, dtype, slack = self._points.shape[1], self._points.dtype, self._slack
        if self._by_products:
            made = products.products_of(centroids, dtype)

            def by_products(
                points: Array, weights: Array, totals: Array, thresholds: Array, pending: Array,
                *out: Any,
            ) -> int:  # fmt: skip
                buffers = (*products.scratch_of(made, dtype), pending)
                return int(
                    round_by_products(
                        d, points, weights, *made, totals, thresholds, slack, buffers, *out
                    )
                )

            return by_products
        lanes = LANE_BYTES // dtype.itemsize
        groups = grouped(centroids, dtype)
        channels = channels_of(d) if d <= _MOST_UNROLLED else ()

        def by_differences(
            points: Array, weights: Array, totals: Array, thresholds: Array, pending: Array,
            *out: Any,
        ) -> int:  # fmt: skip
            found = np.empty(lanes, np.int32)
            buffers = aligned(d * lanes, dtype), aligned(2 * lanes, dtype), found, pending
            return int(
                round_by_differences(
                    channels, d, points, weights, groups, totals, thresholds, slack, buffers, *out
                )
            )

        return by_differences


def _fewest_spared(k: int, d: int, dtype: np.dtype[Any], by_products: bool) -> float:
    """Return the share of the points that must be spared for bounds to gain.

    In operations on registers a point: comparing takes a quarter or a tenth more with bounds, and
    points that are picked one by one cost more.
    """
    from kmq.kernels._lanes import LANE_BYTES

    numbers = (64 if LANE_BYTES > 64 else 32) // dtype.itemsize
    compared = k * (d if by_products else 2 * d + 3) / numbers
    picked = compared * (1.1 if by_products else 1.25) + 20 + 3 * d
    return 1.05 - (compared + d) / picked


def _spacing(rows: Array) -> float:
    """Return how far centroids are from the nearest other one: the mean of a sample."""
    some = rows[:: -(-len(rows) // _SAMPLE)].astype(np.float64)
    nearest = []
    for row in some:
        distances = np.square(rows - row).sum(axis=1)
        nearest.append(np.sqrt(distances[distances > 0].min(initial=np.inf)))
    return float(np.mean(nearest))


def _shrinkage(before: Array, after: Array) -> Array:
    """Return by how much the gap of points of each centroid can have shrunk, at most: by its move
    and the largest of all others'."""
    d = before.shape[1]
    moves = np.sqrt(np.square(after.astype(np.float64) - before).sum(axis=1))
    moves *= 1 + (d + 8) * np.finfo(np.float64).eps
    farthest = int(np.argmax(moves))
    others = np.full(len(moves), moves[farthest])
    others[farthest] = np.delete(moves, farthest).max()
    shrinkage: Array = moves + others
    return shrinkage


def _slack(d: int, dtype: np.dtype[Any]) -> Array:
    """Return what gaps are rounded by: see `kmq.kernels.bounded`."""
    info = np.finfo(dtype)
    unit = float(info.eps) / 2
    tiny = np.sqrt(8 * (d + 2) * float(info.smallest_subnormal))
    greatest = np.sqrt(float(info.max)) * 0.99
    return np.array([1 + 4 * (d + 2) * unit, tiny, 4 * unit, greatest])


def _are_whole(points: Array, weights: Array) -> bool:
    """Return whether sums of points are whole numbers below 2^53, exact in any order."""
    for part in (slice(1000), slice(None)):
        some, their = points[part], weights[part]
        if (some != np.rint(some)).any() or (their != np.rint(their)).any():
            return False
    weight = weights.max() if weights.size else 1
    return bool(np.abs(points).max() * weight * len(points) < 2**53)
