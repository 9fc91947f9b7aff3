"""How the stages are put together: pixels → histogram → palette → indices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from kmq.lazily import computed_once
from kmq.model import alpha
from kmq.model.arrays import Array, looked_up
from kmq.model.histogram import ColorHistogram
from kmq.model.image import Pixels, QuantizedImage, Report, index_dtype
from kmq.pipeline import fewest, fitting, rounding
from kmq.pipeline.fewest import ErrorTarget
from kmq.pipeline.problem import Fitting, Problem
from kmq.pipeline.rounding import Rounded
from kmq.stages.coding import palette_tree
from kmq.stages.histogram import counting
from kmq.stages.mapping import dithering, metrics, optimizing, rate
from kmq.stages.mapping.dithering import Dither
from kmq.stages.mapping.ssimulacra2 import SearchedLooks
from kmq.stages.palette.effort import PlainStart
from kmq.stages.palette.rounds import Fit
from kmq.stages.palette.spaces import Space


class Mapped(NamedTuple):
    """A palette and the picture's indices of it.

    Attributes:
        palette: (k, channels) samples.
        indices: (height, width) of the type that files have.
        is_given: whether the palette stays as it is, unused entries included.
        fit: how the palette was found.
    """

    palette: Array
    indices: Array
    is_given: bool
    fit: Fit


class Quantizer:
    """Quantizes one picture as often as wanted: its colours are counted once, palettes are kept.

    `importance` (height, width) float64 says how much each pixel counts for the palette.
    """

    def __init__(self, pixels: Pixels, how: Fitting, importance: Array | None = None):
        self.pixels = pixels
        self._how = how
        self._seconds: dict[str, float] = {}
        with self._timed("histogram"):
            color_map = counting.map_colors(pixels.samples, pixels.pixel_format, how.n_threads)
        with self._timed("palette"):
            weights = None
            if importance is not None:
                weights = counting.sum_by_color(color_map.ids, importance, len(color_map.keys))
            self._problem = Problem.of(color_map.histogram, color_map.keys, weights, how)
        self._ids, self._importance = color_map.ids, importance
        self._palettes: dict[tuple[int, bool], Rounded] = {}

    @property
    def n_pixels(self) -> int:
        """Pixels of the picture."""
        return self._ids.size

    @property
    def n_colors(self) -> int:
        """Distinct colours of the picture."""
        return self._problem.colors.n_colors

    @property
    def n_fixed(self) -> int:
        """Colours that must be in the palette."""
        return len(self._problem.fixed)

    def quantized(
        self,
        colors: int | ErrorTarget | Array,
        *,
        lam: float = 0.0,
        dither: Dither | None = None,
        optimize: bool = False,
    ) -> QuantizedImage:
        """Return the image of so many colours, of the fewest that reach a target, or of those
        given: pixels get the nearest, or are dithered, or optimised as they are seen; bits cost λ
        times the nearest's error."""
        rounded = self.palette(colors, is_mixed=optimize or dither is not None)
        is_given = not isinstance(colors, int | ErrorTarget)
        if dither is not None and rounded.mse:
            return self.image(*self._dithered(rounded, dither, is_given=is_given))
        mapped = self.nearest(rounded, is_given=is_given)
        if optimize and rounded.mse:
            mapped = self.optimized(mapped, lam)
            return self.image(mapped, self.mse(mapped))
        if lam == 0 or len(mapped.palette) == 1:
            return self.image(mapped, rounded.mse)
        mapped = self.traded(mapped, lam * self.unit(rounded), self.rate_rounds)
        return self.image(mapped, self.mse(mapped))

    def palette(self, colors: int | ErrorTarget | Array, *, is_mixed: bool = False) -> Rounded:
        """Return so many colours, the fewest found that reach a target, or those given.

        `is_mixed` says that pixels do not show the nearest of so many, but mixtures of them.
        """
        with self._timed("palette"):
            if isinstance(colors, ErrorTarget):
                return fewest.reach(self._searched, colors)
            if not isinstance(colors, int):
                return rounding.map_to(self._problem, colors)
            if (colors, is_mixed) not in self._palettes:
                problem = self._searched._replace(is_mixed=is_mixed)
                self._palettes[colors, is_mixed] = fitting.solve(problem, colors)
            return self._palettes[colors, is_mixed]

    def unit(self, rounded: Rounded) -> float:
        """Return the price of a bit at λ = 1: the squared error of nearest entries at 8 bits."""
        problem = self._problem
        shown = problem.space.forward(rounded.palette)[rounded.labels]
        squares = np.square(problem.points.columns.T - shown).sum(axis=1) * problem.colors.counts
        error = float(squares.sum()) / self.n_pixels
        return max(error / (self.pixels.pixel_format.max_value / 255) ** 2, rate.LEAST_ERROR)

    @property
    def rate_rounds(self) -> int:
        """Rounds of choices by squared error and bits."""
        return rate.ROUNDS_BY_EYE if self._is_by_eye else rate.ROUNDS

    def nearest(self, rounded: Rounded, *, is_given: bool = False) -> Mapped:
        """Give each pixel the entry of its colour."""
        with self._timed("indices"):
            k, n_threads = len(rounded.palette), self._how.n_threads
            indices = counting.map_labels(self._ids, rounded.labels, k, n_threads)
        return Mapped(rounded.palette, indices, is_given, rounded.fit)

    def traded(
        self,
        mapped: Mapped,
        price: float,
        n_rounds: int,
        most_excess: float = rate.MOST_EXCESS,
    ) -> Mapped:
        """Choose indices, and then entries, that cost less by squared error + price · bits.

        No pixel's squared error exceeds its nearest entry's by more than `most_excess`, on a scale
        of 8 bits as the price is.
        """
        progress = self._how.progress
        with self._timed("rate"):
            for turn in range(n_rounds):
                mapped = self._round(mapped, price, most_excess)
                if progress is not None:
                    progress("rate", (turn + 1) / n_rounds)
            if mapped.is_given:
                return mapped
            # Entries have moved since.
            indices = mapped.indices.astype(np.int32)
            labels = rounding.map_to(self._problem, mapped.palette).labels
            coordinates = self._problem.space.forward(mapped.palette)
            self._mapper.cap(indices, labels, coordinates, most_excess)
            return _compact(mapped._replace(indices=indices))

    def optimized(self, mapped: Mapped, lam: float = 0.0) -> Mapped:
        """Choose indices and entries so that the picture is right after a small blur.

        A bit costs λ times the mean squared blurred error to begin with.
        """
        optimizer, progress = self._optimizer, self._how.progress
        rounds = 0 if mapped.is_given else optimizing.ROUNDS
        with self._timed("optimize"):
            indices, entries = mapped.indices.astype(np.int32), mapped.palette
            price = lam * optimizer.unit(indices, self._seen(entries)) if lam else 0.0
            for turn in range(rounds + 1):
                cost = optimizer.price(indices, len(entries), price)
                turns = optimizing.LAST_TURNS if turn == rounds else 1
                optimizer.improve(indices, self._seen(entries), cost, turns)
                if turn < rounds:
                    entries, indices = self._moved(optimizer, entries, indices)
                if progress is not None:
                    progress("optimize", (turn + 1) / (rounds + 1))
            if not mapped.is_given:
                entries, indices = _used(self._problem, entries, indices)
        return _compact(mapped._replace(palette=entries, indices=indices))

    def bits(self, mapped: Mapped) -> float:
        """Return what the indices cost by the model of the neighbourhood that `traded` has."""
        with self._timed("rate"):
            coordinates = self._problem.space.forward(mapped.palette)
            return self._mapper.lengths(mapped.indices.astype(np.int32), coordinates).total

    def mse(self, mapped: Mapped) -> float:
        """Return the mean squared error per pixel."""
        shown = looked_up(mapped.palette, mapped.indices)
        has_alpha = self.pixels.pixel_format.has_alpha
        return metrics.mse(self.pixels.samples, shown, has_alpha=has_alpha)

    def ssimulacra2(self, mapped: Mapped) -> float:
        """Return how good the picture looks by SSIMULACRA2, as a search may aim at it."""
        return self._looks.of(looked_up(mapped.palette, mapped.indices))

    def image(self, mapped: Mapped, mse: float) -> QuantizedImage:
        """Return the image of these indices, whose error is known."""
        pixels, palette, way = self.pixels, mapped.palette, self._how.search
        report = Report(
            colors_in=self.n_colors,
            colors_out=len(palette),
            mse=mse,
            psnr=metrics.psnr(mse, pixels.pixel_format),
            iterations=mapped.fit.n_iter,
            converged=mapped.fit.converged,
            seed=way.seeds.start if isinstance(way, PlainStart) else 0,
            seconds=dict(self._seconds),
        )
        return QuantizedImage(palette, mapped.indices, pixels.pixel_format, pixels.metadata, report)

    @computed_once
    def _searched(self) -> Problem:
        """The problem as palettes are searched for."""
        if self._how.space.name == "eye":
            return self._problem.seen(self._ids, self._importance)
        return self._problem

    @computed_once
    def _looks(self) -> SearchedLooks:
        pixels = self.pixels
        return SearchedLooks(pixels.samples, pixels.pixel_format, self._how.n_threads)

    @property
    def _is_by_eye(self) -> bool:
        return self._how.space.name == "eye"

    @computed_once
    def _mapper(self) -> rate.RateMapper:
        colors = self._problem.colors
        return rate.RateMapper(
            self._ids,
            self._problem.points.columns.T,
            alpha.kinds(colors.colors, colors.pixel_format),
            self._importance,
            colors.pixel_format.max_value,
            self._how.n_threads,
            by_eye=self._is_by_eye,
            context_share=self._how.context_share,
        )

    @computed_once
    def _optimizer(self) -> optimizing.Optimizer:
        colors, space = self._problem.colors, self._problem.space
        return optimizing.Optimizer(
            self._ids,
            self._problem.points.columns.T,
            alpha.kinds(colors.colors, colors.pixel_format),
            [optimizing.SOFT if soft else optimizing.SHARP for soft in space.is_chroma],
            self._importance,
            colors.pixel_format.max_value,
            self._how.n_threads,
        )

    def _seen(self, entries: Array) -> optimizing.Palette:
        kinds = alpha.kinds(entries, self.pixels.pixel_format)
        return optimizing.Palette(self._problem.space.forward(entries), kinds)

    def _moved(
        self, optimizer: optimizing.Optimizer, entries: Array, indices: Array
    ) -> tuple[Array, Array]:
        """Return the entries where the blurred errors are least, and the indices of them."""
        palette = self._seen(entries)
        used = np.bincount(indices.reshape(-1), minlength=len(entries)) > 0
        moves = used & ~_staying(self._problem, entries)
        free = np.repeat(moves[:, None], palette.coordinates.shape[1], axis=1)
        if self.pixels.pixel_format.has_alpha:
            free[palette.kinds == alpha.OPAQUE, -1] = False
        coordinates = optimizer.move(indices, palette, free)
        return _renewed(self._problem, entries, indices, used, coordinates)

    def _dithered(
        self, rounded: Rounded, dither: Dither, *, is_given: bool
    ) -> tuple[Mapped, float]:
        """Mix entries; return the mean squared error besides."""
        with self._timed("indices"):
            indices, used, mse = _dither(self._problem, rounded, self._ids, dither)
            palette = rounded.palette
            kept = used | rounding.are_fixed(self._problem, palette)
            if not is_given and not kept.all():
                palette = palette[kept]
                indices = (np.cumsum(kept) - 1).astype(index_dtype(len(palette)))[indices]
        return Mapped(palette, indices, is_given, rounded.fit), mse

    def _round(self, mapped: Mapped, price: float, most_excess: float) -> Mapped:
        palette, indices = mapped.palette, mapped.indices.astype(np.int32)
        coordinates = self._problem.space.forward(palette)
        indices = self._mapper.choose(
            indices,
            rounding.map_to(self._problem, palette).labels,
            coordinates,
            alpha.kinds(palette, self.pixels.pixel_format),
            self._mapper.lengths(indices, coordinates),
            price,
            most_excess,
        )
        if not mapped.is_given:
            palette, indices = _recomputed(self._problem, self._mapper, palette, indices)
        return _compact(mapped._replace(palette=palette, indices=indices))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - start


def _compact(mapped: Mapped) -> Mapped:
    """Return the same with indices of the type that files have."""
    dtype = index_dtype(len(mapped.palette))
    return mapped._replace(indices=mapped.indices.astype(dtype))


def fit_palette(
    colors: ColorHistogram, goal: int | ErrorTarget, how: Fitting
) -> tuple[Array, float]:
    """Return a palette (n, channels) for a histogram, and its mean squared error per pixel.

    Raises:
        InputError: the histogram has no order.
    """
    keys = counting.ordered_keys(colors, how.n_threads)
    problem = Problem.of(colors, keys, None, how)
    search = fitting.solve(problem, goal) if isinstance(goal, int) else fewest.reach(problem, goal)
    return search.palette, search.mse


def map_histogram(colors: ColorHistogram, entries: Array) -> tuple[float, Array]:
    """Map a histogram's pixels to a palette.

    Returns:
        The mean squared error per pixel, and (k,) int64 pixels of each entry.
    """
    keys = counting.keys_of(colors.colors, 1)
    how = Fitting(Space("rgb", colors.pixel_format))
    rounded = rounding.map_to(Problem.of(colors, keys, None, how), entries)
    counts = np.zeros(len(entries), np.int64)
    np.add.at(counts, rounded.labels, colors.counts)
    return rounded.mse, counts


def error_curve(pixels: Pixels, max_colors: int, n_threads: int) -> Iterator[tuple[int, float]]:
    """Yield (k, mean squared error per pixel) for growing k, in one incremental pass."""
    color_map = counting.map_colors(pixels.samples, pixels.pixel_format, n_threads)
    yield from fewest.grow(color_map.histogram, color_map.keys, max_colors)


def _dither(
    problem: Problem, rounded: Rounded, ids: Array, dither: Dither
) -> tuple[Array, Array, float]:
    """Return the picture's indices with dithering, which entries occur, and the error."""
    space, n_threads, colors = problem.space, problem.how.n_threads, problem.colors
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
    dithered = dithering.dithered(ids, mapping, dither, n_threads)
    plain = Space("rgb", colors.pixel_format)
    mse = metrics.mse_of_indices(
        ids,
        dithered.indices,
        plain.forward(colors.colors),
        plain.forward(rounded.palette),
        n_threads,
    )
    return dithered.indices, dithered.used, mse


def _recomputed(
    problem: Problem, mapper: rate.RateMapper, entries: Array, indices: Array
) -> tuple[Array, Array]:
    """Return the entries as means of their pixels, and the indices of them."""
    found = mapper.count(indices, problem.space.forward(entries))
    used = found.pixels > 0
    means = np.zeros(found.sums.shape)
    means[used] = found.sums[used] / found.weights[used, None]
    return _renewed(problem, entries, indices, used, means)


def _staying(problem: Problem, entries: Array) -> Array:
    """Return (k,) bool: which entries stay as they are, whatever their pixels.

    They are fixed ones and transparent ones, and with `snap` black and white.
    """
    kinds = alpha.kinds(entries, problem.colors.pixel_format)
    stays: Array = rounding.are_fixed(problem, entries) | (kinds == alpha.TRANSPARENT)
    for color in _extremes(problem):
        stays |= (entries == color).all(axis=1)
    return stays


def _extremes(problem: Problem) -> list[Array]:
    """Return black and white if the caller wants them in the palette where they are near enough."""
    if not problem.how.required.snap:
        return []
    return list(rounding.black_and_white(problem.colors.pixel_format))


def _renewed(
    problem: Problem, entries: Array, indices: Array, used: Array, coordinates: Array
) -> tuple[Array, Array]:
    """Return entries that are moved, in order and without unused ones, and the indices of them.

    Where black and white are wanted, what comes near enough becomes so; opaque entries stay opaque.
    """
    space, pixel_format = problem.space, problem.colors.pixel_format
    moved = used & ~_staying(problem, entries)
    renewed = entries.copy()
    renewed[moved] = space.nearest_samples(coordinates[moved], problem.how.required.step)
    if pixel_format.has_alpha:
        opaque = alpha.kinds(entries, pixel_format) == alpha.OPAQUE
        renewed[opaque, -1] = pixel_format.max_value
    kept = used | rounding.are_fixed(problem, entries)
    for color in _extremes(problem):
        if not (renewed[kept] == color).all(axis=1).any():
            renewed = rounding.snapped_to(color, renewed, ~moved, pixel_format)
    return _ordered(renewed, kept, indices)


def _used(problem: Problem, entries: Array, indices: Array) -> tuple[Array, Array]:
    """Return the entries that are used or fixed, in order, and the indices of them."""
    used = np.bincount(indices.reshape(-1), minlength=len(entries)) > 0
    return _ordered(entries, used | rounding.are_fixed(problem, entries), indices)


def _ordered(entries: Array, kept: Array, indices: Array) -> tuple[Array, Array]:
    """Return the distinct of the entries that are kept, in order, and the indices of them."""
    distinct, number = np.unique(entries[kept], axis=0, return_inverse=True)
    ordered = palette_tree.ascending(distinct)
    place = np.unique(ordered, axis=0, return_index=True)[1]
    places = np.zeros(len(entries), np.int32)
    places[kept] = place[number.reshape(-1)]
    return ordered, places[indices]
