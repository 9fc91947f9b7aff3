"""How the stages are put together: pixels → histogram → palette → indices."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from kmq.model import ColorHistogram, IndexedImage, Pixels, Progress, Report
from kmq.stages import clustering, histogram, palette
from kmq.stages.clustering import Array
from kmq.stages.metrics import psnr
from kmq.stages.palette import Fit

_STARTED_COLORS = 32
"""Colours that are started in all at least: of few, each decides more and costs less."""

EFFORTS = tuple(palette.EFFORTS)
"""How long the search for a palette may go on, from the least to the most."""

_CURVE_IS_OFF_BY = 1.04
"""How far the curve that `palette.grow` yields is above what a search finds, before one is made."""

_SAFETY = 0.99
"""Share of the error that is allowed which the second search aims at, so that there is no third."""

_BEYOND = 0.9
"""Share of the error that is allowed at which the curve ends: a little beyond where it is read."""

_TINY = 1e-9
"""An error that stands for none on a logarithmic scale."""

_PLAIN_ROUNDS, _PLAIN_TOLERANCE = 300, 1e-4
"""When plain k-means from a given start ends unless the caller says so: as in scikit-learn."""


@dataclass(frozen=True)
class KMeansOptions:
    """How a palette is fitted; `kmq.quantize` describes each."""

    effort: str
    seed: int
    init: str | Array | None
    n_init: int
    max_iter: int | None
    tol: float | None
    n_threads: int
    progress: Progress | None


@dataclass(frozen=True)
class ErrorTarget:
    """How good a picture must be: at most `mse` per pixel, with at most `max_colors`."""

    mse: float
    max_colors: int


def quantize_pixels(
    pixels: Pixels, colors: int | ErrorTarget, options: KMeansOptions
) -> IndexedImage:
    """Return the picture in at most `colors` colours, or the fewest that reach a target."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "histogram"):
        color_map = histogram.map_colors(pixels.samples, pixels.pixel_format, options.n_threads)
    with _timed(seconds, "palette"):
        if isinstance(colors, ErrorTarget):
            rounded = _reach(color_map, colors, options)
        else:
            rounded = _round(color_map.histogram, _fit(color_map, colors, options), options)
    with _timed(seconds, "indices"):
        n_colors = len(rounded.palette)
        indices = histogram.map_labels(color_map.ids, rounded.labels, n_colors, options.n_threads)
    report = Report(
        colors_in=len(color_map.histogram.colors),
        colors_out=n_colors,
        mse=rounded.mse,
        psnr=psnr(rounded.mse, pixels.pixel_format),
        iterations=rounded.fit.n_iter,
        converged=rounded.fit.converged,
        seed=options.seed,
        seconds=seconds,
    )
    return IndexedImage(rounded.palette, indices, pixels.pixel_format, pixels.metadata, report)


def error_curve(pixels: Pixels, max_colors: int, n_threads: int) -> Iterator[tuple[int, float]]:
    """Yield (k, mean squared error per pixel) for growing k, in one incremental pass."""
    color_map = histogram.map_colors(pixels.samples, pixels.pixel_format, n_threads)
    yield from _grow(color_map, max_colors)


@dataclass(frozen=True)
class _Rounded:
    """A palette in the picture's own samples, and what becomes of the distinct colours."""

    palette: Array
    labels: Array
    mse: float
    fit: Fit


def _grow(color_map: histogram.ColorMap, max_colors: int) -> Iterator[tuple[int, float]]:
    """Yield (k, error) for growing k up to `max_colors`, and 0 once every colour has an entry."""
    n_colors = len(color_map.histogram.colors)
    points = palette.points_of(color_map.histogram)
    limit = min(max_colors, n_colors - 1)
    if limit > 0:
        yield from palette.grow(color_map.histogram, color_map.keys, points, limit)
    if n_colors <= max_colors:
        yield n_colors, 0.0


def _reach(color_map: histogram.ColorMap, target: ErrorTarget, options: KMeansOptions) -> _Rounded:
    """Return the smallest palette found to reach the target, or the largest that is allowed.

    The curve of `_grow` says where about that is. What a search finds there says by how much the
    curve is off, and a second one settles it, to within a fiftieth of k.
    """
    curve: list[tuple[int, float]] = []
    for k, error in _grow(color_map, target.max_colors):
        curve.append((k, error))
        if error <= target.mse * _BEYOND:
            break
    off_by = _CURVE_IS_OFF_BY
    too_few, enough = 0, min(target.max_colors, len(color_map.histogram.colors))
    best: _Rounded | None = None
    while best is None or enough - too_few > max(1, enough // 50):
        k = _read_off(curve, target.mse * off_by)
        k = min(max(k, too_few + 1), enough if best is None else enough - 1)
        found = _round(color_map.histogram, _fit(color_map, k, options), options)
        off_by = _error_at(curve, k) / max(found.mse, _TINY)
        if found.mse <= target.mse:
            best, enough = found, k
            if _read_off(curve, target.mse * off_by) >= k - k // 50:
                break
        else:
            too_few = k
            if k == enough:  # all that are allowed
                return found
            off_by *= _SAFETY
    return best


def _error_at(curve: list[tuple[int, float]], k: int) -> float:
    """Return the curve's error at `k`, straight lines between its points on logarithmic scales."""
    ks, errors = zip(*curve, strict=True)
    logarithms = np.log(np.maximum(errors, _TINY))
    return float(np.exp(np.interp(math.log(k), np.log(ks), logarithms)))


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


def _fit(color_map: histogram.ColorMap, k: int, options: KMeansOptions) -> Fit:
    """Return centroids for the distinct colours: those themselves where there are at most `k`."""
    colors = color_map.histogram
    if len(colors.colors) <= k:
        return Fit(colors.colors.astype(np.float64), 0, True)
    if options.init is None:
        return _search(color_map, k, options)
    plain = clustering.best_of(
        colors.colors.astype(np.float32),
        colors.counts.astype(np.float64),
        k,
        options.init,
        seeds=range(options.seed, options.seed + options.n_init),
        max_iter=options.max_iter or _PLAIN_ROUNDS,
        tol=_PLAIN_TOLERANCE if options.tol is None else options.tol,
        n_threads=options.n_threads,
        progress=options.progress,
    )
    return Fit(plain.centroids, plain.n_iter, plain.converged)


def _search(color_map: histogram.ColorMap, k: int, options: KMeansOptions) -> Fit:
    """Search for centroids on bins of the colours, then settle on all of them."""
    effort = palette.EFFORTS[options.effort]
    colors = palette.points_of(color_map.histogram)
    bins = palette.bins_of(color_map.histogram, color_map.keys, colors, k, effort)
    rows = np.ascontiguousarray(bins.columns.T)
    n_starts = max(effort.starts, _STARTED_COLORS // k)
    starts = [
        clustering.start_centroids(rows, bins.weights, k, method, options.seed + attempt)
        for attempt, method in enumerate(["var-part"] + ["k-means++"] * (n_starts - 1))
    ]
    centroids = palette.search(bins, starts, effort, options.n_threads)
    if options.progress is not None:
        options.progress("search", 1.0)
    return palette.settle(
        colors,
        centroids,
        max_iter=options.max_iter,
        tol=options.tol,
        effort=effort,
        n_threads=options.n_threads,
        progress=options.progress,
    )


def _round(colors: ColorHistogram, fit: Fit, options: KMeansOptions) -> _Rounded:
    """Round the centroids; keep the entries in use, sorted, and label each colour by them."""
    pixel_format = colors.pixel_format
    rounded = np.clip(np.rint(fit.centroids), 0, pixel_format.max_value)
    entries = np.unique(rounded.astype(pixel_format.dtype), axis=0)
    labels, distances = palette.assign(colors, entries, options.n_threads)
    used = np.zeros(len(entries), np.bool_)
    used[labels] = True
    if not used.all():
        labels = (np.cumsum(used) - 1).astype(np.int32)[labels]
        entries = entries[used]
    mse = float((distances.astype(np.float64) * colors.counts).sum()) / colors.n_pixels
    return _Rounded(entries, labels, mse, fit)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
