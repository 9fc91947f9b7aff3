"""How the stages are put together: pixels → histogram → palette → indices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from kmq.model import alpha
from kmq.model.histogram import ColorHistogram
from kmq.model.image import Pixels, QuantizedImage, Report, index_dtype
from kmq.pipeline import fitting
from kmq.pipeline.fitting import ErrorTarget, KMeansOptions, Problem, Rounded
from kmq.stages.coding import palette_tree
from kmq.stages.histogram import counting
from kmq.stages.mapping import dithering, rate
from kmq.stages.mapping.metrics import mse as mse_of
from kmq.stages.mapping.metrics import psnr
from kmq.stages.palette.clustering import Array
from kmq.stages.palette.spaces import Space


def quantize_pixels(
    pixels: Pixels,
    colors: int | ErrorTarget | Array,
    options: KMeansOptions,
    importance: Array | None = None,
) -> QuantizedImage:
    """Return the picture in so many colours, the fewest that reach a target, or those given.

    `importance` (height, width) float64 says how much each pixel counts for the palette.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "histogram"):
        color_map = counting.map_colors(pixels.samples, pixels.pixel_format, options.n_threads)
    with _timed(seconds, "palette"):
        weights = None
        if importance is not None:
            weights = counting.sum_by_color(color_map.ids, importance, len(color_map.keys))
        problem = Problem.of(color_map.histogram, color_map.keys, weights, options)
        if options.space == "eye" and not isinstance(colors, np.ndarray):
            problem = problem.seen(color_map.ids, importance)
        if isinstance(colors, ErrorTarget):
            rounded = fitting.reach(problem, colors)
        elif isinstance(colors, int):
            rounded = fitting.solve(problem, colors)
        else:
            rounded = fitting.map_to(problem, colors)
    keep_palette = not isinstance(colors, int | ErrorTarget)
    with _timed(seconds, "indices"):
        if options.dither and rounded.mse:
            rounded, indices = _dither(problem, rounded, color_map.ids, keep_palette)
        else:
            indices = counting.map_labels(
                color_map.ids, rounded.labels, len(rounded.palette), options.n_threads
            )
    entries, mse = rounded.palette, rounded.mse
    if options.lam > 0 and len(entries) > 1:
        with _timed(seconds, "rate"):
            mapper = _rate_mapper(problem, color_map.ids, importance)
            entries, indices = _trade(problem, mapper, rounded, indices, keep_palette=keep_palette)
            has_alpha = pixels.pixel_format.has_alpha
            mse = mse_of(pixels.samples, entries[indices], has_alpha=has_alpha)
    report = Report(
        colors_in=len(color_map.histogram.colors),
        colors_out=len(entries),
        mse=mse,
        psnr=psnr(mse, pixels.pixel_format),
        iterations=rounded.fit.n_iter,
        converged=rounded.fit.converged,
        seed=options.seed,
        seconds=seconds,
    )
    return QuantizedImage(entries, indices, pixels.pixel_format, pixels.metadata, report)


def _dither(
    problem: Problem, rounded: Rounded, ids: Array, keep_palette: bool
) -> tuple[Rounded, Array]:
    """Return the picture's indices with dithering, and palette and error as they then are."""
    space, options, colors = problem.space, problem.options, problem.colors
    shown = rounded.palette[rounded.labels]
    kept = (colors.colors == shown).all(axis=1)
    kinds = alpha.kinds(colors.colors, colors.pixel_format)
    kept |= kinds == alpha.TRANSPARENT
    mapping = dithering.Mapping(
        problem.points.columns.T,
        space.forward(rounded.palette),
        rounded.labels,
        colors.counts,
        kept,
        kinds,
        alpha.kinds(rounded.palette, colors.pixel_format),
    )
    dithered = dithering.dither(
        ids, mapping, options.dither_method, options.dither, options.n_threads
    )
    plain = Space("rgb", colors.pixel_format)
    mse = dithering.squared_error(
        ids,
        dithered.indices,
        plain.forward(colors.colors),
        plain.forward(rounded.palette),
        options.n_threads,
    )
    rounded = replace(rounded, mse=mse)
    if keep_palette:
        return rounded, dithered.indices
    in_use = dithered.used | fitting.are_fixed(problem, rounded.palette)
    if in_use.all():
        return rounded, dithered.indices
    palette_in_use = rounded.palette[in_use]
    places = (np.cumsum(in_use) - 1).astype(index_dtype(len(palette_in_use)))
    return replace(rounded, palette=palette_in_use), places[dithered.indices]


def fit_palette(
    colors: ColorHistogram, goal: int | ErrorTarget, options: KMeansOptions
) -> tuple[Array, float]:
    """Return a palette (n, channels) for a histogram, and its mean squared error per pixel.

    Raises:
        InputError: the histogram has no order.
    """
    keys = counting.ordered_keys(colors, options.n_threads)
    problem = Problem.of(colors, keys, None, options)
    search = fitting.solve(problem, goal) if isinstance(goal, int) else fitting.reach(problem, goal)
    return search.palette, search.mse


def map_histogram(colors: ColorHistogram, entries: Array) -> tuple[float, Array]:
    """Map a histogram's pixels to a palette.

    Returns:
        The mean squared error per pixel, and (k,) int64 pixels of each entry.
    """
    options = KMeansOptions("fast", 0, None, 1, None, None, 1, None)
    keys = counting.keys_of(colors.colors, 1)
    rounded = fitting.map_to(Problem.of(colors, keys, None, options), entries)
    counts = np.zeros(len(entries), np.int64)
    np.add.at(counts, rounded.labels, colors.counts)
    return rounded.mse, counts


def error_curve(pixels: Pixels, max_colors: int, n_threads: int) -> Iterator[tuple[int, float]]:
    """Yield (k, mean squared error per pixel) for growing k, in one incremental pass."""
    color_map = counting.map_colors(pixels.samples, pixels.pixel_format, n_threads)
    yield from fitting.grow(color_map.histogram, color_map.keys, max_colors)


def _rate_mapper(problem: Problem, ids: Array, importance: Array | None) -> rate.RateMapper:
    colors = problem.colors
    return rate.RateMapper(
        ids,
        problem.points.columns.T,
        alpha.kinds(colors.colors, colors.pixel_format),
        importance,
        colors.pixel_format.max_value,
        problem.options.n_threads,
    )


def _trade(
    problem: Problem,
    mapper: rate.RateMapper,
    rounded: Rounded,
    indices: Array,
    *,
    keep_palette: bool,
) -> tuple[Array, Array]:
    """Return palette and indices that cost less by squared error + price · bits."""
    space, options = problem.space, problem.options
    entries = rounded.palette
    scale = (problem.colors.pixel_format.max_value / 255) ** 2
    apart = problem.points.columns.T - space.forward(entries)[rounded.labels]
    squares = np.square(apart).sum(axis=1) * problem.colors.counts
    error = float(squares.sum()) / problem.colors.n_pixels
    price = options.lam * max(error / scale, rate.LEAST_ERROR)
    indices = indices.astype(np.int32)
    for turn in range(rate.ROUNDS):
        coordinates = space.forward(entries)
        labels = fitting.map_to(problem, entries).labels
        kinds = alpha.kinds(entries, problem.colors.pixel_format)
        indices = mapper.choose(indices, labels, coordinates, kinds, price)
        if not keep_palette:
            entries, indices = _recomputed(problem, mapper, entries, indices)
        if options.progress is not None:
            options.progress("rate", (turn + 1) / rate.ROUNDS)
    if not keep_palette:
        mapper.cap(indices, fitting.map_to(problem, entries).labels, space.forward(entries))
    return entries, indices.astype(index_dtype(len(entries)))


def _recomputed(
    problem: Problem, mapper: rate.RateMapper, entries: Array, indices: Array
) -> tuple[Array, Array]:
    """Return the entries as means of their pixels, in order and without unused ones.

    Fixed entries stay, and so do transparent ones, and with `snap` black and white, or else what
    comes near enough becomes so; opaque entries stay opaque.
    """
    space, pixel_format = problem.space, problem.colors.pixel_format
    found = mapper.count(indices, space.forward(entries))
    fixed = fitting.are_fixed(problem, entries)
    kinds = alpha.kinds(entries, pixel_format)
    stays = fixed | (kinds == alpha.TRANSPARENT)
    extremes = list(fitting.black_and_white(pixel_format)) if problem.options.snap else []
    for color in extremes:
        stays |= (entries == color).all(axis=1)
    used = found.pixels > 0
    moved = used & ~stays
    renewed = entries.copy()
    means = found.sums[moved] / found.weights[moved, None]
    renewed[moved] = space.nearest_samples(means, problem.options.step)
    if pixel_format.has_alpha:
        renewed[kinds == alpha.OPAQUE, -1] = pixel_format.max_value
    kept = used | fixed
    for color in extremes:
        if not (renewed[kept] == color).all(axis=1).any():
            renewed = fitting.snapped_to(color, renewed, ~moved, pixel_format)
    distinct, number = np.unique(renewed[kept], axis=0, return_inverse=True)
    ordered = palette_tree.ascending(distinct)
    place = np.unique(ordered, axis=0, return_index=True)[1]
    places = np.zeros(len(entries), np.int32)
    places[kept] = place[number.reshape(-1)]
    return ordered, places[indices]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
