"""Indices and palette chosen together, by squared distance + λ · bits.

Indices cost few bits where pixels follow their neighbours. `RateMapper` counts how the indices of a
picture follow each other, and makes code lengths of the counts. It chooses each pixel's index anew,
and gives the sums for the means that become new entries. This is entropy-constrained vector
quantization (Chou, Lookabaugh & Gray 1989) with a model of the neighbourhood for its code.
docs/RATE.md lists what was tried.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from kmq import exact
from kmq.model import alpha
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

ROUNDS, ROUNDS_BY_EYE = 3, 5
"""Times that indices and then entries are chosen; a fourth gains a hundredth, but where errors of
blocks count two more gain three."""

_ALLOWED = alpha.ALLOWED.copy()
"""What entries kinds of colours may have, as kernels index it: `kmq.model.alpha` has the rule.
A colour that shows a little stays visible, unless the transparent entry is the nearest."""
_ALLOWED[alpha.TRANSLUCENT, alpha.TRANSPARENT] = False

_UNIT = 16.0
"""Squared distance at which levels of distance begin, in 8-bit samples."""

MOST_EXCESS = 3 * 32.0**2
"""Most by which a pixel's squared error may exceed its nearest entry's: 32 of 255 a channel."""

LEAST_ERROR = 0.5
"""Error that the price of a bit follows at least: a picture of few colours has none."""

_FLAT, _LEAST_SHARE = 24.0, 0.25
"""Mean squared distance to the neighbours below which a pixel is on a gradient, where bits count
less, down to this share: an edge of a band that moves is seen, and texture that is gone is not."""

_BLOCK_SHARE = 4.0
"""Weight of the squared mean error of a block for the eye, where that of its pixels is 1: the eye
does not see errors that cancel out near by. docs/RATE.md has the results of other weights."""

_HIDDEN = 41.0
"""Variance of lightness around a pixel, in 8-bit samples, at which its errors count 0.7 times as
much as in flat areas. They count half at three times that variance."""

_LEAST_IMPORTANCE = 1 / 16
"""Importance that the squared error of any pixel counts with at least."""

MATCHERS_CONTEXT = 0.5
"""How much contexts say about what pixels cost in deflate and LZW, which know repeats alone, and in
lossless WebP; it is 1 where they say all. docs/RATE.md has the results of other shares."""

_NEARBY = 6
"""Entries around the nearest that a pixel may have."""

_PICKED_COLORS = 1024
"""Entries from which the others are counted by level, in a large palette."""

_MOST_IN_TABLE = 512
"""Entries whose distances are looked up at most: more would not stay in the cache of a core."""

_SUM_BUDGET = 1 << 22
"""Numbers in the sums of all strips together at most (32 MiB); 65,536 entries leave ten strips."""

_STRIP_PIXELS = 1 << 15
"""Pixels of a strip, about: what one thread works on. Strips see each other as they were."""


class Statistics(NamedTuple):
    """How often pixels follow each neighbour, and the sums of the points of each entry.

    Attributes:
        first: (contexts, symbols) which neighbour pixels equal.
        second: (activities, levels) how far those are from their neighbours that equal none.
        sums: (k, channels) Σ importance · x.
        weights: (k,) Σ importance.
        pixels: (k,) how many pixels show each entry.
    """

    first: Array
    second: Array
    sums: Array
    weights: Array
    pixels: Array


class CodeLengths(NamedTuple):
    """What pixels cost.

    Attributes:
        first: (contexts, symbols) float32, bits of a symbol.
        second: (activities, levels) float32, bits of a miss besides.
        total: bits of the picture whose pixels were counted.
    """

    first: Array
    second: Array
    total: float


class RateMapper:
    """Chooses the indices of one picture."""

    def __init__(
        self,
        ids: Array,
        coordinates: Array,
        color_kinds: Array,
        importance: Array | None,
        max_value: int,
        n_threads: int,
        *,
        by_eye: bool = False,
        context_share: float = 1.0,
    ):
        """Take the arguments that stay the same.

        Args:
            ids: (height, width) uint32, the colour each pixel shows.
            coordinates: (m, channels) of the distinct colours.
            color_kinds: (m,) uint8 of `kmq.model.alpha`, what each colour is.
            importance: (height, width) or None.
            max_value: of the samples; rates and caps are meant for 255.
            n_threads: threads to use.
            by_eye: whether coordinates are those of the eye, so that detail hides errors and those
                of a block may cancel each other out; else squared errors alone count.
            context_share: how much contexts say about what pixels cost: 1 for coders that have
                them, 0 for costs that are the same everywhere.
        """
        from kmq.kernels.rate import BLOCK

        self._ids = np.ascontiguousarray(ids)
        self._points = _four(coordinates)
        self._channels = coordinates.shape[1]
        self._color_kinds = color_kinds
        self._scale = (max_value / 255) ** 2
        self._unit = np.float32(_UNIT * self._scale)
        self._n_threads, self._context_share = n_threads, context_share
        self._strips = _strips(len(ids), max(1, round(ids.size / _STRIP_PIXELS)))
        self._blocks = -(-ids.shape[0] // BLOCK), -(-ids.shape[1] // BLOCK)
        self._block_share = np.float32(_BLOCK_SHARE / BLOCK**2 if by_eye else 0.0)
        if by_eye:
            visible = self._visible()
            importance = visible if importance is None else importance * visible
        self._importance = np.empty((0, 0))
        if importance is not None:
            self._importance = np.maximum(importance, _LEAST_IMPORTANCE)

    def count(self, indices: Array, coordinates: Array) -> Statistics:
        """Measure (height, width) int32 indices of entries (k, channels)."""
        from kmq.kernels import rate as kernels

        centroids = _four(coordinates)
        k = len(centroids)
        # A large k has few parts, since each has sums of its own.
        strips = _strips(len(self._ids), min(len(self._strips), _SUM_BUDGET // (6 * k)))
        n_strips = len(strips)
        first = np.zeros((n_strips, kernels.CONTEXTS, kernels.SYMBOLS), np.int64)
        second = np.zeros((n_strips, kernels.ACTIVITIES, kernels.LEVELS), np.int64)
        sums = np.zeros((n_strips, k, 6))
        levels = self._levels(centroids)

        def work(strip: int) -> None:
            kernels.count_strip(
                *strips[strip],
                indices,
                self._ids,
                self._points,
                self._importance,
                centroids,
                self._unit,
                levels,
                first[strip],
                second[strip],
                sums[strip],
            )

        run_chunks(work, n_strips, self._n_threads)
        totals = sums.sum(axis=0)
        return Statistics(
            first.sum(axis=0),
            second.sum(axis=0),
            totals[:, : self._channels],
            totals[:, 4],
            totals[:, 5],
        )

    def lengths(self, indices: Array, coordinates: Array) -> CodeLengths:
        """Return what (height, width) int32 indices of entries (k, channels) cost.

        Contexts that were seen seldom lean on the mean of all.
        """
        from kmq.kernels.rate import LEVELS, count_levels

        counts, centroids = self.count(indices, coordinates), _four(coordinates)
        mean = counts.first.sum(axis=0) / counts.first.sum()
        first = counts.first + 0.4 * mean + 0.02
        first_bits = -exact.log2(first / first.sum(axis=1, keepdims=True))
        k = len(centroids)
        picks = np.unique(np.linspace(0, k - 1, min(k, _PICKED_COLORS)).astype(np.int64))
        levels = np.zeros(LEVELS, np.int64)
        count_levels(centroids, picks, self._unit, levels)
        second = counts.second + 0.5
        second_bits = -exact.log2(second / second.sum(axis=1, keepdims=True))
        second_bits += exact.log2(np.maximum(levels / len(picks), 0.05))
        if self._context_share < 1:
            symbols, misses = counts.first.sum(axis=0) + 0.5, max(counts.second.sum(), 1)
            first_bits = self._leaning(first_bits, -exact.log2(symbols / symbols.sum()))
            second_bits = self._leaning(second_bits, (counts.second * second_bits).sum() / misses)
        lengths = _rounded(first_bits), _rounded(np.maximum(second_bits, 0))
        total = (counts.first * lengths[0]).sum() + (counts.second * lengths[1]).sum()
        return CodeLengths(*lengths, float(total))

    def _leaning(self, bits: Array, plain: Array) -> Array:
        """Return bits that lean towards those without a context."""
        leaning: Array = self._context_share * bits + (1 - self._context_share) * plain
        return leaning

    def choose(
        self,
        indices: Array,
        labels: Array,
        coordinates: Array,
        kinds: Array,
        lengths: CodeLengths,
        price: float,
        most_excess: float = MOST_EXCESS,
    ) -> Array:
        """Return (height, width) int32 indices that cost less than those given.

        Args:
            indices: (height, width) int32 to begin with.
            labels: (m,) int32 nearest entry of each colour, of those it may have.
            coordinates: (k, channels) of the entries.
            kinds: (k,) uint8, what each entry is.
            lengths: what pixels cost, by the indices to begin with.
            price: of a bit, squared distance in 8-bit samples.
            most_excess: squared distance in 8-bit samples that a pixel may be beyond its nearest.
        """
        from kmq.kernels import rate as kernels

        centroids = _four(coordinates)
        nearby, levels = _nearby(centroids), self._levels(centroids)
        errors = np.zeros((*self._blocks, 4), np.float32)
        chosen = np.empty_like(indices)

        def work(strip: int) -> None:
            top, rows = self._strips[strip]
            scales = np.empty((rows, indices.shape[1]), np.float32)
            kernels.weigh_strip(
                top,
                self._ids,
                self._points,
                self._importance,
                _FLAT * self._scale,
                _LEAST_SHARE,
                1 / (price * self._scale),
                scales,
            )
            if self._block_share:
                kernels.sum_errors(top, rows, self._ids, self._points, indices, centroids, errors)
            margins = 2 * kernels.MARGIN
            kernels.choose_strip(
                top,
                indices,
                self._ids,
                self._points,
                labels,
                self._color_kinds,
                centroids,
                kinds,
                _ALLOWED,
                nearby,
                self._unit,
                levels,
                lengths.first,
                lengths.second,
                scales,
                np.float32(most_excess * self._scale),
                self._block_share,
                errors,
                np.empty((rows + margins, indices.shape[1] + margins), np.int32),
                np.empty(kernels.MOST_NEIGHBOURS + nearby.shape[1], np.int64),
                np.empty(len(centroids), np.int32),
                chosen[top : top + rows],
            )

        run_chunks(work, len(self._strips), self._n_threads)
        return chosen

    def cap(
        self,
        indices: Array,
        labels: Array,
        coordinates: Array,
        most_excess: float = MOST_EXCESS,
    ) -> None:
        """Give those pixels their nearest entry that are too far beyond it."""
        from kmq.kernels import rate as kernels

        centroids = _four(coordinates)

        def work(strip: int) -> None:
            kernels.cap_strip(
                *self._strips[strip],
                self._ids,
                self._points,
                labels,
                centroids,
                np.float32(most_excess * self._scale),
                indices,
            )

        run_chunks(work, len(self._strips), self._n_threads)

    def _levels(self, centroids: Array) -> Array:
        """Return (k, k) uint8 levels of the distances between entries, or none of a large k."""
        from kmq.kernels.rate import fill_levels

        k = len(centroids)
        levels = np.empty((k, k) if k <= _MOST_IN_TABLE else (0, 0), np.uint8)
        if levels.size:
            fill_levels(centroids, self._unit, levels)
        return levels

    def _visible(self) -> Array:
        """Return (height, width): how much errors are seen, 1 on average, less in detail.

        It is the same in a block, by the variance of lightness in it and in the eight around it.
        """
        from kmq.kernels.rate import BLOCK, sum_detail

        height, width = self._ids.shape
        sums = np.zeros((*self._blocks, 2))
        run_chunks(
            lambda strip: sum_detail(*self._strips[strip], self._ids, self._points, sums),
            len(self._strips),
            self._n_threads,
        )
        rows, columns = (
            np.minimum(BLOCK, side - np.arange(0, side, BLOCK)) for side in self._ids.shape
        )
        counts = np.outer(rows, columns)
        total, squares, count = (_around(each) for each in (sums[..., 0], sums[..., 1], counts))
        mean = total / count
        variances = np.maximum(squares / count - mean * mean, 0)
        visible = 1 / np.sqrt(1 + variances / (_HIDDEN * self._scale))
        visible /= (visible * counts).sum() / counts.sum()
        spread: Array = visible.repeat(BLOCK, axis=0)[:height].repeat(BLOCK, axis=1)[:, :width]
        return spread


def _around(blocks: Array) -> Array:
    """Return the sums over 3 × 3 blocks; those beyond the edge count nothing."""
    padded = np.pad(blocks.astype(np.float64), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    sums: Array = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return sums


def _strips(height: int, n_strips: int) -> list[tuple[int, int]]:
    """Return (first row, rows) of at most so many strips of even height, each of whole blocks."""
    from kmq.kernels.rate import BLOCK

    bounds = [height * strip // n_strips // BLOCK * BLOCK for strip in range(n_strips)]
    bounds.append(height)
    return [(top, end - top) for top, end in pairwise(bounds) if end > top]


def _rounded(bits: Array) -> Array:
    """Return float32 in steps of 1/256, which all sums of a few of them keep exact."""
    steps: Array = np.rint(bits * 256).astype(np.float32)
    return steps / np.float32(256)


def _four(coordinates: Array) -> Array:
    """Return (n, 4) float32: coordinates, and 0 for channels that are not there."""
    rows = np.zeros((len(coordinates), 4), np.float32)
    rows[:, : coordinates.shape[1]] = coordinates
    return rows


def _nearby(centroids: Array) -> Array:
    from kmq.kernels.rate import find_nearby

    axis = int(np.argmax(np.ptp(centroids, axis=0)))
    order = np.argsort(centroids[:, axis], kind="stable")
    nearby = np.empty((len(centroids), _NEARBY), np.int32)
    find_nearby(centroids, order, axis, np.empty(_NEARBY, np.float32), nearby)
    return nearby
