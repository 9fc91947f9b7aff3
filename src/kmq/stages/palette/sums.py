"""Sums of the points of each label, kept from round to round.

Sums are exact and rounded once, so they do not depend on the order of adding: only points with a
new label change them. Whole numbers with sums below 2^53 fit a float64. Of other numbers the high
parts are added up, as many digits as fit whatever the sum, and the rests by themselves: together
they have 104 binary digits. That is enough where the greatest number is 2^80 / n² times the least
(float32) or 2^51 / n² (float64), n points. Elsewhere all points are added anew each round, in their
order, and sums are rounded at each step.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from kmq import exact
from kmq.model.arrays import Array
from kmq.stages.palette.differences import channels_of
from kmq.threads import run_chunks

_EXACT = 2.0**53
"""Whole numbers below are float64."""

_MOST = 1e300
"""Sums below are certainly finite in both parts."""

_ANEW = 1 / 8
"""Share of points with a new label from which on it is faster to add all."""


class Sums:
    """Sums (k, d + 1) of weight · (x, 1) of the points (n, d), each of `parts` by itself.

    Memory: a number for each point.

    Attributes:
        are_exact: whether they are rounded only once.
    """

    def __init__(self, points: Array, weights: Array, k: int, parts: list[slice], n_threads: int):
        self._points, self._weights, self._n_threads = points, weights, n_threads
        cut = _cut(points, weights)
        self.are_exact = cut is not None
        self._cut = cut or 0.0
        self._parts = parts
        if self.are_exact:
            n_teams = min(n_threads, len(parts))
            ends = [len(parts) * team // n_teams for team in range(n_teams + 1)]
            bounds = itertools.pairwise(ends)
            self._parts = [slice(parts[a].start, parts[b - 1].stop) for a, b in bounds]
        shape = (len(self._parts), k, points.shape[1] + 1)
        self._sums, self._rests = np.zeros(shape), np.zeros(shape if self._cut else (shape[0], 0))
        self._summed = np.full(len(points), -1, np.int32)
        self._n_changed = len(points)

    def by(self, labels: Array) -> Array:
        """Return the sums by these labels."""
        from kmq.kernels.sums import add_all, move_changed

        n, d = self._points.shape
        anew = not self.are_exact or self._n_changed > _ANEW * n
        changed, channels = [0] * len(self._parts), channels_of(d)

        def work(team: int) -> None:
            part = self._parts[team]
            sums, rests = self._sums[team].reshape(-1), self._rests[team].reshape(-1)
            arrays = (self._points[part].reshape(-1), self._weights[part], labels[part])
            kept = (self._cut, self._summed[part], sums, rests)
            if anew:
                sums.fill(0)
                rests.fill(0)
                changed[team] = add_all(channels, d, *arrays, *kept)
            else:
                changed[team] = move_changed(channels, d, *arrays, *kept)

        run_chunks(work, len(self._parts), self._n_threads)
        self._n_changed = sum(changed)
        total = exact.added(self._sums)
        if self._cut:
            total += exact.added(self._rests)
        return total


def _cut(points: Array, weights: Array) -> float | None:
    """Return what cuts numbers into two parts with exact sums: 0 if sums are exact without, None if
    they are not exact."""
    greatest, least, unit = _sizes(points)
    most, fewest, weight_unit = _sizes(weights) if weights.size else (1.0, 1.0, 1.0)
    product_unit = max(unit * weight_unit, float(np.spacing(least * fewest)))
    unit = min(product_unit, weight_unit)
    total = len(points) * max(greatest, 1.0) * most
    if total < _EXACT * unit:
        return 0.0
    high_unit = math.ldexp(1.0, math.frexp(total)[1] - 51)
    fits = total < _MOST and len(points) * high_unit < _EXACT * unit
    return 1.5 * 2.0**52 * high_unit if fits else None


def _sizes(numbers: Array) -> tuple[float, float, float]:
    """Return the greatest size of numbers, the least but for 0, and what all are multiples of."""
    from kmq.kernels.sums import sizes

    found = np.empty(2)
    are_whole = sizes(numbers.reshape(-1), found)
    greatest, least = found.tolist() if found[0] else (0.0, 1.0)
    return greatest, least, 1.0 if are_whole else float(np.spacing(numbers.dtype.type(least)))
