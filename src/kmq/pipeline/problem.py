"""The problem: colours to find a palette for."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.model.histogram import ColorHistogram
from kmq.stages.palette import search
from kmq.stages.palette.effort import SEARCH_EFFORTS, PlainStart, SearchEffort
from kmq.stages.palette.intervals import Line
from kmq.stages.palette.masking import Shown, View, favour_ends
from kmq.stages.palette.points import Points, boxes_of, points_of
from kmq.stages.palette.spaces import Space

_VIEW_BOXES = 4096
"""Boxes of colours at least that the view weighs each for itself, if there are as many colours."""


class Required(NamedTuple):
    """What a palette must hold: the `fixed` colours (f, channels), else multiples of `step`.

    With `snap` those nearest to black and white may become so.
    """

    fixed: Array | None = None
    step: int = 1
    snap: bool = False


class Fitting(NamedTuple):
    """How a palette is fitted.

    Attributes:
        space: what colours are compared in.
        required: what the palette must hold.
        search: how long it is searched for, or the start of plain k-means.
        n_threads: threads to use.
        progress: is told of the search.
        context_share: how much contexts say about what pixels cost, for λ: see `rate.RateMapper`.
    """

    space: Space
    required: Required = Required()
    search: SearchEffort | PlainStart = SEARCH_EFFORTS["fast"]
    n_threads: int = 1
    progress: Progress | None = None
    context_share: float = 1.0


class Problem(NamedTuple):
    """Colours to find a palette for.

    Attributes:
        colors: the distinct colours and how often each is seen.
        keys: their Morton keys.
        points: all of them in the space they are compared in.
        fitted: those that count for the palette, which may be all.
        fitted_keys: the keys of these.
        fixed: (f, channels) samples that must be entries.
        how: the way to fit.
        view: how colours are seen in their picture, if that counts for the palette.
        is_mixed: whether neighbouring pixels mix entries, so that steps between these do not show.
    """

    colors: ColorHistogram
    keys: Array
    points: Points
    fitted: Points
    fitted_keys: Array
    fixed: Array
    how: Fitting
    view: View | None = None
    is_mixed: bool = False

    @classmethod
    def of(
        cls, colors: ColorHistogram, keys: Array, weights: Array | None, how: Fitting
    ) -> Problem:
        """State the problem; `weights` (m,) say how much colours count, None as often as seen."""
        points = points_of_colors(how.space, colors, weights, how.n_threads)
        fitted, fitted_keys = _counting(points, keys)
        fixed = np.empty((0, colors.pixel_format.channels), colors.pixel_format.dtype)
        if how.required.fixed is not None:
            fixed = how.required.fixed
        return cls(colors, keys, points, fitted, fitted_keys, distinct(fixed), how)

    @property
    def space(self) -> Space:
        """What colours are compared in."""
        return self.how.space

    @property
    def is_line(self) -> bool:
        """Whether there is one channel, in which the best palette can be found."""
        return len(self.points.columns) == 1

    def line(self) -> Line:
        """Return the points that count, and what entries may be, of one channel."""
        values = self.fitted.columns[0].astype(np.float64)
        top, step = self.space.pixel_format.max_value, self.how.required.step
        samples = np.append(np.arange(0, top, step), top)
        sites, fixed = self._on_line(samples), self._on_line(self.fixed)
        return Line(values, self.fitted.weights, sites, fixed)

    def _on_line(self, samples: Array) -> Array:
        """Return where samples of one channel lie, as float32 has it."""
        colors = samples.astype(self.space.pixel_format.dtype).reshape(-1, 1)
        line: Array = self.space.columns(colors, self.how.n_threads)[0].astype(np.float64)
        return line

    def seen(self, ids: Array, importance: Array | None) -> Problem:
        """Return the problem with colours that count as they are seen in the picture `ids`."""
        last = len(self.points.columns) - 1
        axes = (0, last) if self.space.pixel_format.has_alpha else (0,)
        given = np.empty((0, 0)) if importance is None else importance
        return self._replace(view=View(ids, given, axes, self.space.contrast))

    def looked_at(self, centroids: Array, *, evenly: bool = False) -> Problem:
        """Return the problem with colours that count more where their errors are seen, with a first
        palette of these `centroids` (k, d). If `evenly`, errors do not count, only detail does."""
        assert self.view is not None  # noqa: S101  # who calls this has seen to it
        n_threads = self.how.n_threads
        boxes = boxes_of(self.keys, _VIEW_BOXES)
        factors = self.view.factors(self._shown(centroids), boxes, n_threads, evenly=evenly)
        favour_ends(self.points.columns, self.space.ends, factors)
        points = replace(self.points, weights=self.points.weights * factors)
        fitted, fitted_keys = _counting(points, self.keys)
        return self._replace(fitted=fitted, fitted_keys=fitted_keys)

    def unlike(self, centroids: Array) -> float:
        """Return how far the picture loses or gains structure with these centroids (k, d)."""
        assert self.view is not None  # noqa: S101  # who calls this has seen to it
        return self.view.unlike(self._shown(centroids), self.how.n_threads)

    def _shown(self, centroids: Array) -> Shown:
        """Return the colours as the nearest of the centroids (k, d) show them."""
        points = self.points
        labels, distances = search.assign(points, centroids, self.how.n_threads)
        mean_square = float((distances * points.weights).sum()) / points.total_weight
        return Shown(points.columns, labels, distances, centroids.astype(np.float32), mean_square)

    def paler(self) -> tuple[Problem, Array]:
        """Return the problem in a space where chroma counts half, and how much longer each of its
        coordinates is (d,)."""
        space = self.space.paler()
        factors = space.scales / self.space.scales
        points, fitted = (
            points_of(points.columns * factors[:, None].astype(np.float32), points.weights)
            for points in (self.points, self.fitted)
        )
        how = self.how._replace(space=space, progress=None)  # that is told of one search
        return self._replace(points=points, fitted=fitted, how=how), factors


def points_of_colors(
    space: Space, colors: ColorHistogram, weights: Array | None, n_threads: int
) -> Points:
    """Return colours in a space; `weights` (m,) say how much they count, None as often as seen."""
    if weights is None:
        weights = colors.counts
    columns = space.columns(colors.colors, n_threads)
    return points_of(columns, weights.astype(np.float64))


def _counting(points: Points, keys: Array) -> tuple[Points, Array]:
    """Return the points whose weight is above 0, and their keys."""
    some = points.weights > 0
    if some.all():
        return points, keys
    columns = np.ascontiguousarray(points.columns[:, some])
    return points_of(columns, points.weights[some]), keys[some]


def distinct(rows: Array) -> Array:
    """Return the rows without repetitions, each where it first stands."""
    if len(rows) < 2:
        return rows
    first = np.unique(rows, axis=0, return_index=True)[1]
    return rows[np.sort(first)]
