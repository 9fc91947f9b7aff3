"""Histogram → palette: what is to be fitted, the search for it, and rounding to samples."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from kmq import exact
from kmq.model import alpha
from kmq.model.choices import Progress
from kmq.model.histogram import ColorHistogram
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import palette_tree
from kmq.stages.histogram.counting import keys_of
from kmq.stages.palette import clustering, search
from kmq.stages.palette.clustering import Array
from kmq.stages.palette.effort import EFFORTS, Effort, PlainStart, Stopping
from kmq.stages.palette.masking import Shown, View
from kmq.stages.palette.points import Points, PointSet, boxes_of, points_of
from kmq.stages.palette.rounds import Fit, settle
from kmq.stages.palette.spaces import Space, mse_of

_STARTED_COLORS = 32
"""Colours that are started in all at least: of few, each decides more and costs less."""

_CURVE_IS_OFF_BY = 1.04
"""How far the curve that `search.grow` yields is above what a search finds, before one is made."""

_SAFETY = 0.99
"""Share of the error that is allowed which the second search aims at, so that there is no third."""

_BEYOND = 0.9
"""Share of the error that is allowed at which the curve ends: a little beyond where it is read."""

_VIEW_BOXES = 4096
"""Boxes of colours at least that the view weighs each for itself, if there are as many colours."""

_SNAP_SHARE = 16
"""Share of the range, as 1 in so many, by which black and white may be off for `snap`."""

_TINY = 1e-9
"""An error that stands for none on a logarithmic scale."""


@dataclass(frozen=True)
class Required:
    """What a palette must hold: the `fixed` colours (f, channels), else multiples of `step`.

    With `snap` those nearest to black and white may become so.
    """

    fixed: Array | None = None
    step: int = 1
    snap: bool = False


@dataclass(frozen=True)
class Fitting:
    """How a palette is fitted.

    Attributes:
        space: what colours are compared in.
        required: what the palette must hold.
        search: how long it is searched for, or the start of plain k-means.
        n_threads: threads to use.
        progress: is told of the search.
    """

    space: Space
    required: Required = Required()
    search: Effort | PlainStart = EFFORTS["fast"]
    n_threads: int = 1
    progress: Progress | None = None


@dataclass(frozen=True)
class ErrorTarget:
    """How good a picture must be: at most `mse` per pixel, with at most `max_colors`."""

    mse: float
    max_colors: int


@dataclass(frozen=True)
class Problem:
    """What a palette is to be found for.

    Attributes:
        colors: the distinct colours and how often each is seen.
        keys: their Morton keys.
        points: all of them in the space they are compared in.
        fitted: those that count for the palette, which may be all.
        fitted_keys: the keys of these.
        fixed: (f, channels) samples that must be entries.
        how: the way to fit.
        view: how colours are seen in their picture, if that counts for the palette.
    """

    colors: ColorHistogram
    keys: Array
    points: Points
    fitted: Points
    fitted_keys: Array
    fixed: Array
    how: Fitting
    view: View | None = None

    @classmethod
    def of(
        cls, colors: ColorHistogram, keys: Array, weights: Array | None, how: Fitting
    ) -> Problem:
        """State the problem; `weights` (m,) say how much colours count, None as often as seen."""
        points = _points(how.space, colors, weights, how.n_threads)
        fitted, fitted_keys = _counting(points, keys)
        fixed = np.empty((0, colors.pixel_format.channels), colors.pixel_format.dtype)
        if how.required.fixed is not None:
            fixed = how.required.fixed
        return cls(colors, keys, points, fitted, fitted_keys, _distinct(fixed), how)

    @property
    def space(self) -> Space:
        """What colours are compared in."""
        return self.how.space

    def seen(self, ids: Array, importance: Array | None) -> Problem:
        """Return the problem with colours that count as they are seen in the picture `ids`."""
        last = len(self.points.columns) - 1
        axes = np.array([0, last] if self.space.pixel_format.has_alpha else [0])
        given = np.empty((0, 0)) if importance is None else importance
        return replace(self, view=View(ids, given, axes, self.space.contrast))

    def looked_at(self, centroids: Array) -> Problem:
        """Return the problem with colours that count more where their errors are seen, with a first
        palette of these `centroids` (k, d)."""
        assert self.view is not None  # noqa: S101  # who calls this has seen to it
        n_threads = self.how.n_threads
        labels, distances = search.assign(self.points, centroids, n_threads)
        mean_square = float((distances * self.points.weights).sum()) / self.points.total_weight
        boxes = boxes_of(self.keys, _VIEW_BOXES)
        shown = Shown(self.points.columns, labels, centroids.astype(np.float32), mean_square)
        factors = self.view.factors(shown, boxes, n_threads)
        points = replace(self.points, weights=self.points.weights * factors)
        fitted, fitted_keys = _counting(points, self.keys)
        return replace(self, fitted=fitted, fitted_keys=fitted_keys)


def _points(space: Space, colors: ColorHistogram, weights: Array | None, n_threads: int) -> Points:
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


def _distinct(rows: Array) -> Array:
    """Return the rows without repetitions, each where it first stands."""
    first = np.unique(rows, axis=0, return_index=True)[1]
    return rows[np.sort(first)]


@dataclass(frozen=True)
class Rounded:
    """A palette in the picture's own samples, and what becomes of the distinct colours."""

    palette: Array
    labels: Array
    mse: float
    fit: Fit


def grow(colors: ColorHistogram, keys: Array, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, error) for growing k up to `max_colors`, and 0 once every colour has an entry."""
    n_colors = len(colors.colors)
    channels = colors.pixel_format.channels
    space = Space("rgb", colors.pixel_format)
    points = _points(space, colors, None, 1)
    limit = min(max_colors, n_colors - 1)
    transparent = np.zeros((int(_has_transparent(colors)), channels))
    if limit > 0:
        point_set = _point_set(space, points, keys, np.empty((0, channels)))
        yield from search.grow(point_set, transparent, limit)
    if n_colors <= max_colors:
        yield n_colors, 0.0


def reach(problem: Problem, target: ErrorTarget) -> Rounded:
    """Return the smallest palette found to reach the target, or the largest that is allowed.

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
        rounded = solve(problem, k)
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


def solve(problem: Problem, k: int) -> Rounded:
    """Return a palette of at most `k` colours."""
    rounded = _solve_exactly(problem, k)
    return _snap(problem, rounded) if problem.how.required.snap else rounded


def _solve_exactly(problem: Problem, k: int) -> Rounded:
    """Return a palette before black and white are made so."""
    colors = problem.colors
    if _has_transparent(colors) and len(problem.fixed) + 1 < k:
        fixed = _distinct(np.concatenate([problem.fixed, colors.colors[:1]]))
        problem = replace(problem, fixed=fixed)
    return _round(problem, _fit(problem, k))


def _has_transparent(colors: ColorHistogram) -> bool:
    """Whether there are transparent pixels, which must stay so: all are one colour, the first."""
    return bool(alpha.kinds(colors.colors[:1], colors.pixel_format)[0] == alpha.TRANSPARENT)


def _fit(problem: Problem, k: int) -> Fit:
    """Return up to `k` centroids in the problem's space, the fixed ones first."""
    points, way = problem.fitted, problem.how.search
    fixed = problem.space.forward(problem.fixed)
    free = k - len(fixed)
    n_points = points.columns.shape[1]
    if n_points <= free or free == 0:
        rows = points.columns.T[: max(free, 0)].astype(np.float64)
        return Fit(np.concatenate([fixed, rows]), 0, True)
    if isinstance(way, PlainStart):
        return _plain(problem, way, fixed, free)
    return _search(problem, way, fixed, free)


def _plain(problem: Problem, start: PlainStart, fixed: Array, free: int) -> Fit:
    """Run plain k-means from the given start for `free` centroids beside the transparent one, which
    is the only one that may be fixed; its points take no part."""
    how, points, keys = problem.how, problem.fitted, problem.fitted_keys
    init = start.init if isinstance(start.init, str) else problem.space.forward(start.init)
    if len(fixed):
        seen = points.columns[-1] > 0
        columns = np.ascontiguousarray(points.columns[:, seen])
        points, keys = points_of(columns, points.weights[seen]), keys[seen]
        if not isinstance(init, str):  # the one nearest to it is what it replaces
            init = np.delete(init, np.argmin(np.square(init).sum(axis=1)), axis=0)
    point_set = _point_set(problem.space, points, keys, fixed)
    fit = search.plain(
        point_set, free, init, start.seeds, start.stopping, how.n_threads, how.progress
    )
    fit = replace(fit, centroids=np.concatenate([fixed, fit.centroids]))
    if fit.opaque is None:
        return fit
    return replace(fit, opaque=np.concatenate([np.zeros(len(fixed), np.bool_), fit.opaque]))


def _search(problem: Problem, effort: Effort, fixed: Array, free: int) -> Fit:
    """Search for `free` centroids beside the fixed ones on bins, then settle on all colours.

    With a view, search on from what was found, with colours counting as errors show with that.
    """
    how = problem.how
    first = effort if problem.view is None else replace(effort, start_rounds=10, breath=0)
    centroids = _on_bins(problem, fixed, free, first, None)
    if problem.view is not None:
        problem = problem.looked_at(centroids)
        centroids = _on_bins(problem, fixed, free, effort, centroids)
    if how.progress is not None:
        how.progress("search", 1.0)
    stopping = Stopping.of(effort, len(centroids))
    points = _point_set(problem.space, problem.fitted, problem.fitted_keys, fixed)
    return settle(points, centroids, len(fixed), stopping, how.n_threads, how.progress)


def _on_bins(
    problem: Problem, fixed: Array, free: int, effort: Effort, begun: Array | None
) -> Array:
    """Return centroids (k, d), the fixed ones first, searched for from those `begun` with, if any,
    or else from starts of all kinds."""
    n_fixed, k = len(fixed), len(fixed) + free
    enough, n_starts = effort.enough_bins(k), max(effort.starts, _STARTED_COLORS // k)
    bins = _point_set(problem.space, problem.fitted, problem.fitted_keys, fixed).bins(enough)
    if begun is None:
        rows, weights = bins.rows, bins.weights
        made = _starts(rows, weights, free, n_starts)
        starts = [bins.start(fixed, start) for start in made]
    else:
        starts = [begun]
    return search.search(bins, starts, n_fixed, effort, problem.how.n_threads)


def _starts(rows: Array, weights: Array, k: int, n_starts: int) -> list[Array]:
    """Return so many starts (k, d): the first by variance, the others random."""
    methods = ["var-part"] + ["k-means++"] * (n_starts - 1)
    return [
        clustering.start_centroids(rows, weights, k, method, seed)
        for seed, method in enumerate(methods)
    ]


def _point_set(space: Space, points: Points, keys: Array, fixed: Array) -> PointSet:
    """Return the points, divided if some are opaque and some are not.

    Transparent ones that have a fixed entry to themselves do not count.
    """
    if space.pixel_format.has_alpha:
        are_opaque = points.columns[-1] == np.float32(space.opaque)
        are_others = ~are_opaque
        if not fixed.any(axis=1).all():  # the transparent colour is the origin
            are_others &= points.columns[-1] > 0
        if are_opaque.any() and are_others.any():
            return PointSet.divided(points, keys, are_opaque)
    return PointSet((points,), (keys,))


def _round(problem: Problem, fit: Fit) -> Rounded:
    """Make samples of the centroids, keep the entries in use and the fixed ones, and sort them."""
    free = fit.centroids[len(problem.fixed) :]
    samples = problem.space.nearest_samples(free, problem.how.required.step)
    pixel_format = problem.colors.pixel_format
    if pixel_format.has_alpha:
        if fit.opaque is None:
            are_opaque = _mostly_opaque(problem, samples)
        else:
            are_opaque = fit.opaque[len(problem.fixed) :]
        samples[are_opaque, -1] = pixel_format.max_value
    entries = np.unique(np.concatenate([problem.fixed, samples]), axis=0)
    entries = palette_tree.ascending(entries)  # the order that codes best
    rounded = label(problem, entries, fit)
    kept = np.zeros(len(entries), np.bool_)
    kept[rounded.labels] = True
    if len(problem.fixed):
        kept |= are_fixed(problem, entries)
    if kept.all():
        return rounded
    labels = (np.cumsum(kept) - 1).astype(np.int32)[rounded.labels]
    return Rounded(entries[kept], labels, rounded.mse, fit)


def are_fixed(problem: Problem, entries: Array) -> Array:
    """Return (k,) bool: which entries are among the fixed colours."""
    n_threads = problem.how.n_threads
    return np.isin(keys_of(entries, n_threads), keys_of(problem.fixed, n_threads))


def _snap(problem: Problem, rounded: Rounded) -> Rounded:
    """Make the entries nearest to black and to white so, if near enough, and keep their pixels.

    Those may now be nearer to another entry; but ink is to be black, and not the next dark grey.
    """
    entries = rounded.palette
    fixed = are_fixed(problem, entries)
    snapped = _snapped(entries, fixed, problem.colors.pixel_format)
    distinct, number = np.unique(snapped, axis=0, return_inverse=True)
    merged = palette_tree.ascending(distinct)
    place = np.unique(merged, axis=0, return_index=True)[1]
    labels = place[number.reshape(-1)].astype(np.int32)[rounded.labels]
    return Rounded(merged, labels, mse_of(problem.colors, merged, labels), rounded.fit)


def _snapped(entries: Array, fixed: Array, pixel_format: PixelFormat) -> Array:
    """Return the entries with the ones nearest to black and to white made so, if near enough."""
    for extreme in black_and_white(pixel_format):
        entries = snapped_to(extreme, entries, fixed, pixel_format)
    return entries


def black_and_white(pixel_format: PixelFormat) -> Array:
    """Return what `snap` makes of entries: (2, channels), opaque, black first."""
    top = pixel_format.max_value
    pair = np.zeros((2, pixel_format.channels), pixel_format.dtype)
    if pixel_format is PixelFormat.CMYK32:
        pair[0, -1] = top
        return pair
    pair[1] = top
    if pixel_format.has_alpha:
        pair[0, -1] = top
    return pair


def snapped_to(extreme: Array, entries: Array, fixed: Array, pixel_format: PixelFormat) -> Array:
    """Return the entries with the one nearest to `extreme` (channels,) made so, if near enough.

    Only the nearest: that two dark colours differ may be all that is seen of a shadow.
    """
    top = pixel_format.max_value
    apart = np.abs(entries.astype(np.int64) - extreme)
    if pixel_format.has_alpha:
        apart[apart[:, -1] > 0] = top
    near = (apart.max(axis=1) <= top // _SNAP_SHARE) & ~fixed
    if near.any():
        squares = np.where(near, np.square(apart).sum(axis=1), np.iinfo(np.int64).max)
        entries = entries.copy()
        entries[np.argmin(squares)] = extreme
    return entries


def _mostly_opaque(problem: Problem, entries: Array) -> Array:
    """Return (k,) bool: which entries mostly stand for opaque colours.

    It is for entries found for one kind alone, say with the other under a mask. There is at least
    one of them if there are opaque colours.
    """
    are_opaque = alpha.kinds(problem.colors.colors, problem.colors.pixel_format) == alpha.OPAQUE
    if not are_opaque.any() or not len(entries):
        return np.zeros(len(entries), np.bool_)
    beside = np.concatenate([problem.fixed, entries])
    labels, _ = search.assign(problem.points, problem.space.forward(beside), problem.how.n_threads)
    counts, n_fixed = problem.colors.counts, len(problem.fixed)
    all_of = np.bincount(labels, counts, len(beside))[n_fixed:]
    opaque_of = np.bincount(labels[are_opaque], counts[are_opaque], len(beside))[n_fixed:]
    mostly: Array = opaque_of >= np.maximum(all_of / 2, 1)
    mostly[np.argmax(opaque_of)] = True
    return mostly


def map_to(problem: Problem, entries: Array) -> Rounded:
    """Assign each colour to its nearest of entries that are given, not found."""
    return label(problem, entries, Fit(entries.astype(np.float64), 0, True))


def label(problem: Problem, entries: Array, fit: Fit) -> Rounded:
    """Assign each colour to its nearest entry, but opaque ones to opaque entries."""
    space, n_threads = problem.space, problem.how.n_threads
    colors, pixel_format = problem.colors, problem.colors.pixel_format
    coordinates = space.forward(entries)
    labels, distances = search.assign(problem.points, coordinates, n_threads)
    if pixel_format.has_alpha:
        allowed = alpha.allowed_entries(alpha.OPAQUE, alpha.kinds(entries, pixel_format))
        are_opaque = alpha.kinds(colors.colors, pixel_format) == alpha.OPAQUE
        astray = np.flatnonzero(are_opaque & ~np.isin(labels, allowed))
        if len(astray):
            rows = np.ascontiguousarray(problem.points.columns.T[astray])
            nearest, apart = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
            clustering.nearest(rows, coordinates[allowed], n_threads, nearest, apart)
            labels[astray], distances[astray] = allowed[nearest], apart
    if space.name == "rgb" and space.channel_weights is None:
        mse = float((distances.astype(np.float64) * colors.counts).sum()) / colors.n_pixels
    else:
        mse = mse_of(colors, entries, labels)
    return Rounded(entries, labels, mse, fit)
