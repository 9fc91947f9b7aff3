"""How the stages are put together: pixels → histogram → palette → indices."""

from __future__ import annotations

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


def quantize_pixels(pixels: Pixels, k: int, options: KMeansOptions) -> IndexedImage:
    """Return the picture in at most `k` colours."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "histogram"):
        color_map = histogram.map_colors(pixels.samples, pixels.pixel_format, options.n_threads)
    colors = color_map.histogram
    with _timed(seconds, "palette"):
        fit = _fit(color_map, k, options)
    with _timed(seconds, "indices"):
        entries, labels, mse = _round(colors, fit.centroids, options.n_threads)
        indices = histogram.map_labels(color_map.ids, labels, len(entries), options.n_threads)
    report = Report(
        colors_in=len(colors.colors),
        colors_out=len(entries),
        mse=mse,
        psnr=psnr(mse, pixels.pixel_format),
        iterations=fit.n_iter,
        converged=fit.converged,
        seed=options.seed,
        seconds=seconds,
    )
    return IndexedImage(entries, indices, pixels.pixel_format, pixels.metadata, report)


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


def _round(colors: ColorHistogram, centroids: Array, n_threads: int) -> tuple[Array, Array, float]:
    """Round the centroids; return the entries in use, sorted, each colour's label, and the MSE."""
    pixel_format = colors.pixel_format
    rounded = np.clip(np.rint(centroids), 0, pixel_format.max_value).astype(pixel_format.dtype)
    entries = np.unique(rounded, axis=0)
    labels, distances = palette.assign(colors, entries, n_threads)
    used = np.zeros(len(entries), np.bool_)
    used[labels] = True
    if not used.all():
        labels = (np.cumsum(used) - 1).astype(np.int32)[labels]
        entries = entries[used]
    return entries, labels, float(distances.astype(np.float64) @ colors.counts) / colors.n_pixels


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
