"""The curve of error against the number of colours, and the fewest that reach an error."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from kmq import exact
from kmq.model.arrays import Array
from kmq.model.histogram import ColorHistogram
from kmq.pipeline import fitting
from kmq.pipeline.problem import Fitting, Problem, points_of_colors
from kmq.pipeline.rounding import Rounded
from kmq.stages.palette import search
from kmq.stages.palette.spaces import Space

_CURVE_IS_OFF_BY = 1.04
"""How far the curve that `search.grow` yields is above what a search finds, before one is made."""

_SAFETY = 0.99
"""Share of the error that is allowed which the second search aims at, so that there is no third."""

_BEYOND = 0.9
"""Share of the error that is allowed at which the curve ends: a little beyond where it is read."""

_TINY = 1e-9
"""An error that stands for none on a logarithmic scale."""


class ErrorTarget(NamedTuple):
    """How good a picture must be: at most `mse` per pixel, with at most `max_colors`."""

    mse: float
    max_colors: int


def grow(colors: ColorHistogram, keys: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, error) for growing k up to `max_colors`, and 0 once every colour has an entry."""
    n_colors = len(colors.colors)
    channels = colors.pixel_format.channels
    space = Space("rgb", colors.pixel_format)
    limit = min(max_colors, n_colors - 1)
    if channels == 1:
        yield from _best(Problem.of(colors, keys, None, Fitting(space)), limit)
    elif limit > 0:
        points = points_of_colors(space, colors, None, 1)
        transparent = np.zeros((int(fitting.has_transparent(colors)), channels))
        points, keys = fitting.of_kinds(space, points, keys, np.empty((0, channels)))
        yield from search.grow(points, keys, transparent, limit)
    if n_colors <= max_colors:
        yield n_colors, 0.0


def _best(problem: Problem, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield what `grow` does for one channel, where each error is the least there is."""
    line, k = problem.line(), 0
    while k < max_colors:
        k = min(k + max(1, k // 4), max_colors)
        yield k, line.cost(k) / problem.colors.n_pixels


def reach(problem: Problem, target: ErrorTarget) -> Rounded:
    """Return the smallest palette found to reach the target, or the largest that is allowed."""
    return _reach(problem, target) if problem.is_line else _reach_by_curve(problem, target)


def _reach(problem: Problem, target: ErrorTarget) -> Rounded:
    """Do so for one channel, where palettes are found at once and none of as many is better."""
    too_few = max(0, len(problem.fixed) - 1)
    most = max(too_few + 1, min(target.max_colors, problem.colors.n_colors))
    line, k = problem.line(), too_few + 1
    best = fitting.solve(problem, k, line)
    while best.mse > target.mse and k < most:
        too_few, k = k, min(2 * k, most)
        best = fitting.solve(problem, k, line)
    while k - too_few > 1 and best.mse <= target.mse:
        middle = (too_few + k) // 2
        rounded = fitting.solve(problem, middle, line)
        if rounded.mse <= target.mse:
            k, best = middle, rounded
        else:
            too_few = middle
    return best


def _reach_by_curve(problem: Problem, target: ErrorTarget) -> Rounded:
    """Do so by a few searches.

    The curve of `grow` says where about that is. What a search finds there says by how much the
    curve is off, and a second one settles it, to within a fiftieth of k.
    """
    curve: list[tuple[int, float]] = []
    for k, error in grow(problem.colors, problem.keys, target.max_colors):
        curve.append((k, error))
        if error <= target.mse * _BEYOND:
            break
    off_by = _CURVE_IS_OFF_BY
    too_few = max(0, len(problem.fixed) - 1)
    enough = max(too_few + 1, min(target.max_colors, len(problem.colors.colors)))
    best: Rounded | None = None
    while best is None or enough - too_few > max(1, enough // 50):
        k = _read_off(curve, target.mse * off_by)
        k = min(max(k, too_few + 1), enough if best is None else enough - 1)
        rounded = fitting.solve(problem, k)
        off_by = _error_at(curve, k) / max(rounded.mse, _TINY)
        if rounded.mse <= target.mse:
            best, enough = rounded, k
            if _read_off(curve, target.mse * off_by) >= k - k // 50:
                break
        else:
            too_few = k
            if k == enough:  # all that are allowed
                return rounded
            off_by *= _SAFETY
    return best


def _error_at(curve: list[tuple[int, float]], k: int) -> float:
    """Return the curve's error at `k`, straight lines between its points on logarithmic scales."""
    after = bisect_left(curve, k, key=itemgetter(0), hi=len(curve) - 1)
    last, error = curve[after]
    first, first_error = curve[max(after - 1, 0)]
    if not first < k < last:
        return error
    x, left, right = exact.log2(np.array([k, first, last]))
    high, low = exact.log2(np.maximum([first_error, error], _TINY))
    return float(exact.exp2(high + (x - left) / (right - left) * (low - high)))


def _read_off(curve: list[tuple[int, float]], error: float) -> int:
    """Return the least k at which the curve is at most `error`; its last k if there is none."""
    ks = [k for k, _ in curve]
    low, high = 1, ks[-1]
    while low < high:
        middle = (low + high) // 2
        if _error_at(curve, middle) <= error:
            high = middle
        else:
            low = middle + 1
    return low
