"""Histogram → palette: the search on bins, rounds on all colours, and rounding to samples."""

from __future__ import annotations

from functools import partial

import numpy as np

from kmq.model import alpha
from kmq.model.arrays import Array
from kmq.model.histogram import ColorHistogram
from kmq.pipeline import rounding
from kmq.pipeline.problem import Problem, distinct
from kmq.pipeline.rounding import Rounded
from kmq.stages.histogram.counting import keys_of
from kmq.stages.palette import pairs, search, starting
from kmq.stages.palette.effort import (
    PAIRED_COLORS,
    WHERE_SEEN,
    PlainStart,
    SearchEffort,
    Stopping,
    first_rounds,
)
from kmq.stages.palette.intervals import Line
from kmq.stages.palette.points import Points, bins_of, divided, points_of
from kmq.stages.palette.rounds import Fit, settle
from kmq.stages.palette.spaces import Space

_STARTED_COLORS = 32
"""Colours that are started in all at least: of few, each decides more and costs less."""


def solve(problem: Problem, k: int, line: Line | None = None) -> Rounded:
    """Return a palette of at most `k` colours; `line` is that of the problem, if it is at hand."""
    exact = _solve_exactly(problem, k, line)
    return rounding.snapped(problem, exact) if problem.how.required.snap else exact


def _solve_exactly(problem: Problem, k: int, line: Line | None) -> Rounded:
    """Return a palette before black and white are made so."""
    colors = problem.colors
    if has_transparent(colors) and len(problem.fixed) + 1 < k:
        fixed = distinct(np.concatenate([problem.fixed, colors.colors[:1]]))
        problem = problem._replace(fixed=fixed)
    return rounding.rounded(problem, _fit(problem, k, line))


def has_transparent(colors: ColorHistogram) -> bool:
    """Whether there are transparent pixels, which must stay so: all are one colour, the first."""
    pixel_format = colors.pixel_format
    if not pixel_format.has_alpha:
        return False
    return bool(alpha.kinds(colors.colors[:1], pixel_format)[0] == alpha.TRANSPARENT)


def _fit(problem: Problem, k: int, line: Line | None) -> Fit:
    """Return up to `k` centroids in the problem's space, the fixed ones first."""
    points, way = problem.fitted, problem.how.search
    fixed = problem.space.forward(problem.fixed)
    free = k - len(fixed)
    columns = points.columns
    if len(fixed) and free < columns.shape[1] <= k:  # some of the colours may be fixed
        columns = columns[:, ~np.isin(problem.fitted_keys, keys_of(problem.fixed, 1))]
    if columns.shape[1] <= free or free == 0:
        rows = columns.T[: max(free, 0)].astype(np.float64)
        return Fit(np.concatenate([fixed, rows]), 0, True)
    if isinstance(way, PlainStart):
        return _plain(problem, way, fixed, free)
    if problem.is_line:
        return _optimum(problem, line or problem.line(), fixed, k)
    return _search(problem, way, fixed, free)


def _plain(problem: Problem, start: PlainStart, fixed: Array, free: int) -> Fit:
    """Run plain k-means from the given start for `free` centroids. Only the transparent one may be
    fixed; its points take no part."""
    how, points, keys = problem.how, problem.fitted, problem.fitted_keys
    init = start.init if isinstance(start.init, str) else problem.space.forward(start.init)
    if len(fixed):
        seen = points.columns[-1] > 0
        columns = np.ascontiguousarray(points.columns[:, seen])
        points, keys = points_of(columns, points.weights[seen]), keys[seen]
        if not isinstance(init, str):  # the fixed one replaces the one nearest to it
            init = np.delete(init, np.argmin(np.square(init).sum(axis=1)), axis=0)
    points, _ = of_kinds(problem.space, points, keys, fixed)
    fit = search.plain(points, free, init, start.seeds, start.stopping, how.n_threads, how.progress)
    fit = fit._replace(centroids=np.concatenate([fixed, fit.centroids]))
    if fit.opaque is None:
        return fit
    return fit._replace(opaque=np.concatenate([np.zeros(len(fixed), np.bool_), fit.opaque]))


def _optimum(problem: Problem, line: Line, fixed: Array, k: int) -> Fit:
    """Return the best entries of one channel, the fixed ones first.

    With a view they are those for colours counting as errors show with the best without it.
    """
    how = problem.how
    if problem.view is not None:
        first = np.concatenate([fixed, line.centers(k)[:, None]])
        line = problem.looked_at(first).line()
    centroids = np.concatenate([fixed, line.centers(k)[:, None]])
    if how.progress is not None:
        how.progress("search", 1.0)
    return Fit(centroids, 0, True)


def _search(problem: Problem, effort: SearchEffort, fixed: Array, free: int) -> Fit:
    """Search for `free` centroids besides the fixed ones on bins, then settle on all colours.

    With a view, search on from that palette, with the weights that its visible errors give. In a
    drawing, search in a second way too, and keep what is more like the picture.
    """
    if problem.view is None:
        return _settled(problem, fixed, _on_bins(problem, fixed, free, effort, None), effort)
    effort = WHERE_SEEN.get(effort, effort)
    fit = _as_seen(problem, fixed, free, effort, evenly=False)
    if problem.is_mixed or not problem.view.drawn:
        return fit
    paler, factors = problem.paler()
    other = _as_seen(paler, fixed * factors, free, effort, evenly=True)
    other = other._replace(centroids=other.centroids / factors)
    return min(fit, other, key=lambda one: problem.unlike(one.centroids))


def _as_seen(
    problem: Problem, fixed: Array, free: int, effort: SearchEffort, *, evenly: bool
) -> Fit:
    """Search for a first palette on bins, and on from there with the weights that it gives."""
    first = effort._replace(start_rounds=first_rounds(len(fixed) + free), breath=0)
    centroids = _on_bins(problem, fixed, free, first, None)
    problem = problem.looked_at(centroids, evenly=evenly)
    return _settled(problem, fixed, _on_bins(problem, fixed, free, effort, centroids), effort)


def _settled(problem: Problem, fixed: Array, centroids: Array, effort: SearchEffort) -> Fit:
    """Settle centroids (k, d), the fixed ones first, on all colours."""
    how = problem.how
    if how.progress is not None:
        how.progress("search", 1.0)
    stopping = Stopping.of(effort, len(centroids))
    points, _ = of_kinds(problem.space, problem.fitted, problem.fitted_keys, fixed)
    return settle(points, centroids, len(fixed), stopping, how.n_threads, how.progress)


def _on_bins(
    problem: Problem, fixed: Array, free: int, effort: SearchEffort, begun: Array | None
) -> Array:
    """Return centroids (k, d), the fixed ones first, searched for from those `begun` with, if any,
    or else from starts of all kinds.

    Where there are very many, clusters merged in pairs are a better start than those."""
    n_fixed, k = len(fixed), len(fixed) + free
    enough, n_starts = effort.enough_bins(k), max(effort.starts, _STARTED_COLORS // k)
    points, keys = of_kinds(problem.space, problem.fitted, problem.fitted_keys, fixed)
    bins = bins_of(points, keys, enough)
    is_paired = effort.breath > 0 and k >= PAIRED_COLORS
    if begun is not None and not is_paired:
        return search.search(bins, [lambda: begun], n_fixed, effort, problem.how.n_threads)
    rows, weights = bins.rows, bins.weights

    def start(seed: int) -> Array:
        # The first by variance or in pairs, the others random.
        if seed:
            made = starting.plus_plus(rows, weights, free, seed, 1)
        elif is_paired:
            made = pairs.merged(rows, weights, free, problem.how.n_threads)
        else:
            made = starting.start_centroids(rows, weights, free, "var-part", seed)
        return bins.start(fixed, made)

    starts = [partial(start, seed) for seed in range(n_starts)]
    return search.search(bins, starts, n_fixed, effort, problem.how.n_threads)


def of_kinds(space: Space, points: Points, keys: Array, fixed: Array) -> tuple[Points, Array]:
    """Return points and their keys, divided if some are opaque and some are not.

    Transparent ones that have a fixed entry to themselves do not count.
    """
    if space.pixel_format.has_alpha:
        are_opaque = points.columns[-1] == np.float32(space.opaque)
        are_others = ~are_opaque
        if not fixed.any(axis=1).all():  # the transparent colour is the origin
            are_others &= points.columns[-1] > 0
        if are_opaque.any() and are_others.any():
            return divided(points, keys, are_opaque)
    return points, keys
