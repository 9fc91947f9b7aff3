"""How the stages are put together: pixels → histogram → palette → indices."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from kmq.model import ColorHistogram, IndexedImage, PixelFormat, Pixels, Report
from kmq.stages import clustering, histogram
from kmq.stages.clustering import Array, Clustering, Progress

_BINS_PER_COLOR = 24
"""Bins a palette entry has at least in the coarse search: enough for the shape of a cluster."""

_MIN_BINS = 4096
"""Bins the coarse search has at least, where there are so many colours."""


@dataclass(frozen=True)
class KMeansOptions:
    """How a palette is fitted; `kmq.quantize` describes each."""

    seed: int
    init: str | Array
    n_init: int
    max_iter: int
    tol: float
    n_threads: int
    progress: Progress | None


def quantize_pixels(pixels: Pixels, k: int, options: KMeansOptions) -> IndexedImage:
    """Return the picture in at most `k` colours."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "histogram"):
        color_map = histogram.map_colors(pixels.samples, pixels.pixel_format, options.n_threads)
    colors = color_map.histogram
    with _timed(seconds, "palette"):
        fit = _fit(color_map.histogram, color_map.keys, k, options)
    with _timed(seconds, "indices"):
        palette, labels, mse = _round_palette(colors, fit.centroids, options.n_threads)
        indices = histogram.map_labels(color_map.ids, labels, len(palette), options.n_threads)
    report = Report(
        colors_in=len(colors.colors),
        colors_out=len(palette),
        mse=mse,
        psnr=psnr(mse, pixels.pixel_format),
        iterations=fit.n_iter,
        converged=fit.converged,
        seed=options.seed,
        seconds=seconds,
    )
    return IndexedImage(palette, indices, pixels.pixel_format, pixels.metadata, report)


def psnr(mse: float, pixel_format: PixelFormat) -> float:
    """Return the peak signal-to-noise ratio in dB of an `mse` summed over the channels."""
    if mse == 0:
        return math.inf
    return 10 * math.log10(pixel_format.max_value**2 * pixel_format.channels / mse)


def _fit(colors: ColorHistogram, keys: Array, k: int, options: KMeansOptions) -> Clustering:
    """Cluster the distinct colours: a search on coarse bins, then rounds on all of them."""
    points = colors.colors.astype(np.float32)
    weights = colors.counts.astype(np.float64)
    if len(points) <= k:
        labels = np.arange(len(points), dtype=np.int32)
        return Clustering(points.astype(np.float64), labels, 0.0, 0, True)
    init, seeds = options.init, range(options.seed, options.seed + options.n_init)
    if isinstance(init, str) and init != "random":
        bins, bin_weights = _bins(colors, keys, points, weights, k)
        if len(bins) < len(points):
            init = clustering.best_of(
                bins,
                bin_weights,
                k,
                init,
                seeds=seeds,
                max_iter=options.max_iter,
                tol=options.tol,
                n_threads=options.n_threads,
            ).centroids
    return clustering.best_of(
        points,
        weights,
        k,
        init,
        seeds=seeds,
        max_iter=options.max_iter,
        tol=options.tol,
        n_threads=options.n_threads,
        progress=options.progress,
    )


def _bins(
    colors: ColorHistogram, keys: Array, points: Array, weights: Array, k: int
) -> tuple[Array, Array]:
    """Return the means and weights of the coarsest cubes of colours that are enough for `k`.

    Colours come in Morton order, so the cubes of side 2^s are runs of equal keys without their last
    s · channels bits.
    """
    enough = max(_MIN_BINS, _BINS_PER_COLOR * k)
    bounds: Array = np.arange(len(points), dtype=np.int64)
    for level in range(1, colors.pixel_format.depth):
        cubes = keys >> np.asarray(level * colors.pixel_format.channels, keys.dtype)
        coarser: Array = np.flatnonzero(np.concatenate([[True], cubes[1:] != cubes[:-1]]))
        if len(coarser) < enough:
            break
        bounds = coarser
    if len(bounds) == len(points):
        return points, weights
    sums = np.add.reduceat(points * weights[:, None], bounds, axis=0)
    totals = np.add.reduceat(weights, bounds)
    return (sums / totals[:, None]).astype(np.float32), totals


def _round_palette(
    colors: ColorHistogram, centroids: Array, n_threads: int
) -> tuple[Array, Array, float]:
    """Round the centroids; return the used entries by luminance, the colours' labels, the MSE."""
    pixel_format = colors.pixel_format
    rounded = np.clip(np.rint(centroids), 0, pixel_format.max_value).astype(pixel_format.dtype)
    palette = np.unique(rounded, axis=0)
    points = colors.colors.astype(np.float32)
    labels = np.empty(len(points), np.int32)
    distances = np.empty(len(points), np.float32)
    clustering.nearest(points, palette.astype(np.float64), n_threads, labels, distances)
    used, labels = np.unique(labels, return_inverse=True)
    mse = float(distances @ colors.counts / colors.counts.sum())
    return palette[used], labels.astype(np.int32), mse


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
