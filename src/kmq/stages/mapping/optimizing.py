"""Indices and palette chosen together so that the picture is right after the eye's own blur.

The eye blends pixels that are near each other, so the error of the blurred picture counts.
`Optimizer` goes over the pixels and gives each the entry that makes the sum of squares least while
the others stay: direct binary search (Analoui & Allebach 1992), for a palette. In between the
entries move to where the sum is least for the indices as they are, as in spatial quantization
(Puzicha, Held, Ketterer & Buhmann 2000). Bits may have a price in the same sum. docs/OPTIMIZE.md
lists other ways that were tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kmq import exact
from kmq.model import alpha
from kmq.stages.mapping.dithering import CHANNELS, ROW, Search, bands_of, filled, groups_of
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

ROUNDS = 6
"""Times that indices and then entries are chosen, before the indices are chosen for the last."""

LAST_TURNS = 3
"""Times that pixels are looked at in the last choice; in the rounds before it is once."""

SHARP, SOFT = 0.18, 0.3
"""Share of a neighbour along an axis in the blurred pixel: of lightness, and of chroma."""

OWN = 0.6
"""Weight of the error of the pixel alone, where that of the blurred pixel is 1."""

_STEPS = 3
"""Steps of conjugate gradients that entries take in a round."""

_FLOOR = 0.15
"""Weight of a pixel without an error, before the root, where that of a mean squared error is 1."""

_LEAST_ERROR = 0.05
"""Squared blurred error that the price of a bit follows at least, for samples of 8 bits."""

_BEYOND = 0.25
"""How far beyond the colours, as a share of their range, the best entry is searched for exactly:
the wanted colours make up for errors around a pixel."""

_BAND_ROWS = 32
"""Rows of a band at least. Every other band is worked on at the same time."""

_SUM_BUDGET = 1 << 22
"""Numbers in the sums of all parts of the picture at most (32 MiB)."""

_TINY = 1e-12


class Palette(NamedTuple):
    """Entries as they are optimised: (k, channels) coordinates, and the kind (k,) uint8 of each."""

    coordinates: Array
    kinds: Array


class Price(NamedTuple):
    """What bits cost, in squared blurred errors: a bit, and how many bits symbols take.

    Attributes:
        of_a_bit: 0 where bits are free.
        symbols: (contexts, symbols) float32 bits.
        misses: (k,) float32 bits more, of each entry that no neighbour has.
    """

    of_a_bit: float
    symbols: Array
    misses: Array


class Optimizer:
    """Chooses the indices and entries of one picture."""

    def __init__(
        self,
        ids: Array,
        coordinates: Array,
        kinds: Array,
        shares: Sequence[float],
        importance: Array | None,
        max_value: int,
        n_threads: int,
    ):
        """Take the arguments that stay the same.

        Args:
            ids: (height, width) uint32, the colour each pixel shows.
            coordinates: (m, channels) of the distinct colours.
            kinds: (m,) uint8 of `kmq.model.alpha`; pixels that are transparent stay as they are.
            shares: of a neighbour, SHARP or SOFT, for each channel.
            importance: (height, width) float64, how much pixels count, or None.
            max_value: of the samples.
            n_threads: threads to use.
        """
        self._ids = np.ascontiguousarray(ids)
        self._channels = coordinates.shape[1]
        side = np.array(shares)
        middle = 1 - 2 * side
        norms = np.sqrt(middle * middle + 2 * side * side)
        self._scale = norms * norms  # makes the squares of the nine shares sum to 1
        self._taps = filled(np.stack([side / norms, middle / norms]))
        self._colors = filled(coordinates * self._scale)
        rows = self._colors.reshape(-1, ROW)
        low, high = rows.min(axis=0), rows.max(axis=0)
        beyond = np.float32(_BEYOND) * (high - low)
        self._corners = np.concatenate([low - beyond, high + beyond])
        self._kinds = kinds
        self._importance = np.empty((0, 0))
        if importance is not None:
            self._importance = np.ascontiguousarray(importance)
        self._least_error = _LEAST_ERROR * (max_value / 255) ** 2
        self._n_threads = n_threads
        self._bands = bands_of(len(ids), _BAND_ROWS)

    def unit(self, indices: Array, palette: Palette) -> float:
        """Return the price of a bit at λ = 1: the mean squared blurred error, or a little."""
        mean = float(self._squares(indices, palette).mean(dtype=np.float64))
        return max(mean, self._least_error)

    def improve(self, indices: Array, palette: Palette, price: Price, turns: int) -> int:
        """Give pixels of (height, width) int32 indices better entries.

        Returns:
            How many changes there were.
        """
        from kmq.kernels.optimize import improve_band

        kept = self._kinds == alpha.TRANSPARENT
        groups, members = groups_of(self._kinds, palette.kinds, kept)
        entries = self._filled(palette)
        search = Search.of(self._corners, entries, self._channels, members)
        allowed = np.zeros((len(members), len(palette.kinds)), np.bool_)
        for group, those in zip(allowed, members, strict=True):
            group[those] = True
        changes = np.zeros(len(self._bands), np.int64)

        def work(band: int) -> None:
            first, stop = self._bands[band]
            changes[band] = improve_band(
                CHANNELS,
                self._ids,
                self._colors,
                groups,
                allowed,
                entries,
                search.box,
                search.strides,
                search.starts,
                search.members,
                self._taps,
                np.float32(OWN),
                np.float32(price.of_a_bit),
                price.symbols,
                price.misses,
                self._importance,
                turns,
                first,
                stop,
                self._errors_of(band),
                np.empty((stop - first + 4, self._ids.shape[1] + 4), np.uint8),
                indices,
            )

        # A band sees the rows next to it, which belong to bands that do not change meanwhile.
        n_bands = len(self._bands)
        run_chunks(lambda pair: work(2 * pair), (n_bands + 1) // 2, self._n_threads)
        run_chunks(lambda pair: work(2 * pair + 1), n_bands // 2, self._n_threads)
        return int(changes.sum())

    def move(self, indices: Array, palette: Palette, free: Array) -> Array:
        """Return coordinates (k, channels) of entries that make the weighted squared errors least.

        Pixels weigh more where errors are seen already, so that small regions are not given up.
        `free` (k, channels) bool says what may change. Conjugate gradients, with the weight of each
        entry's pixels as a preconditioner.
        """
        weights = self._weights(indices, palette)
        place = palette.coordinates * self._scale
        pull, total = self._pulls(indices, place, weights)
        pixels = np.maximum(total, _TINY)[:, None]
        left = np.where(free, -pull, 0.0)
        step = left / pixels
        length = (left * step).sum(axis=0)
        for _ in range(_STEPS):
            ahead = np.where(free, self._pulls(indices, place + step, weights)[0], 0.0) + left
            bend = (step * ahead).sum(axis=0)
            far = np.divide(length, bend, out=np.zeros_like(length), where=bend > _TINY)
            place = place + far * step
            left = left - far * ahead
            turned = left / pixels
            longer = (left * turned).sum(axis=0)
            kept = np.divide(longer, length, out=np.zeros_like(length), where=length > _TINY)
            step, length = turned + kept * step, longer
        return np.where(free, place / self._scale, palette.coordinates)

    def price(self, indices: Array, k: int, of_a_bit: float) -> Price:
        """Return what bits cost where symbols are as frequent as in the indices."""
        from kmq.kernels.optimize import CONTEXTS, SYMBOLS, count_band

        parts = self._parts(CONTEXTS * SYMBOLS + k)
        symbols = np.zeros((len(parts), CONTEXTS, SYMBOLS), np.int64)
        misses = np.zeros((len(parts), k), np.int64)
        if of_a_bit:

            def work(part: int) -> None:
                for band in parts[part]:
                    count_band(indices, *self._bands[band], symbols[part], misses[part])

            run_chunks(work, len(parts), self._n_threads)
        seen, missed = symbols.sum(axis=0), misses.sum(axis=0) + 0.5
        mean = (seen.sum(axis=0) + 1) / (seen.sum() + SYMBOLS)
        shown = seen + mean  # contexts that were seen seldom lean on the mean of all
        return Price(
            of_a_bit,
            (-exact.log2(shown / shown.sum(axis=1, keepdims=True))).astype(np.float32),
            (-exact.log2(missed / missed.sum())).astype(np.float32),
        )

    def _squares(self, indices: Array, palette: Palette) -> Array:
        """Return the squared blurred error (height, width) float32 of each pixel."""
        from kmq.kernels.optimize import measure_band

        entries = self._filled(palette)
        squares = np.empty(self._ids.shape, np.float32)

        def work(band: int) -> None:
            measure_band(
                CHANNELS,
                self._ids,
                self._colors,
                indices,
                entries,
                self._taps,
                *self._bands[band],
                self._errors_of(band),
                squares,
            )

        run_chunks(work, len(self._bands), self._n_threads)
        return squares

    def _weights(self, indices: Array, palette: Palette) -> Array:
        """Return how much each pixel counts for the entries, (height, width) float32."""
        weights = self._squares(indices, palette)
        weights /= np.float32(max(weights.mean(dtype=np.float64), _TINY))
        weights += np.float32(_FLOOR)
        np.sqrt(weights, out=weights)
        if self._importance.size:
            weights *= self._importance.astype(np.float32)
        return weights

    def _pulls(self, indices: Array, place: Array, weights: Array) -> tuple[Array, Array]:
        """Return half the derivative by each entry (k, channels), and the weight of its pixels."""
        from kmq.kernels.optimize import pull_band

        k = len(place)
        entries = filled(place)
        parts = self._parts((ROW + 1) * k)
        pulls, totals = np.zeros((len(parts), k * ROW)), np.zeros((len(parts), k))

        def work(part: int) -> None:
            for band in parts[part]:
                pull_band(
                    CHANNELS,
                    self._ids,
                    self._colors,
                    indices,
                    entries,
                    self._taps,
                    np.float32(OWN),
                    weights,
                    *self._bands[band],
                    self._errors_of(band),
                    pulls[part],
                    totals[part],
                )

        run_chunks(work, len(parts), self._n_threads)
        pull = pulls.sum(axis=0).reshape(k, ROW)[:, : self._channels]
        return pull, totals.sum(axis=0)

    def _parts(self, numbers: int) -> list[range]:
        """Return parts of the bands; the bands of a part share one array of that many sums."""
        n_bands = len(self._bands)
        n_parts = max(1, min(n_bands, _SUM_BUDGET // numbers))
        bounds = [n_bands * part // n_parts for part in range(n_parts + 1)]
        return [range(bounds[part], bounds[part + 1]) for part in range(n_parts)]

    def _filled(self, palette: Palette) -> Array:
        return filled(palette.coordinates * self._scale)

    def _errors_of(self, band: int) -> Array:
        """Return room for the blurred errors of a band."""
        first, stop = self._bands[band]
        return np.empty((stop - first + 2) * (self._ids.shape[1] + 2) * ROW, np.float32)
