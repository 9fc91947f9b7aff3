"""How much each colour counts for the eye, from where in the picture its pixels stand.

Detail hides errors: a pixel counts less if its neighbourhood varies more (masking, Legge & Foley
1980). Once there is a palette, pixels count more where its errors stay visible after the eye's own
blur. Those are large areas of one error, such as bands in a sky; errors that cancel each other out
are not.

Both are measured on a sample of the picture's tiles, and as a mean over the pixels of a box of
colours. So the cost does not grow with the picture. docs/EYE.md lists other ways that were tried.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

_HIDDEN = 5 / 255
"""A pixel counts half at this standard deviation of lightness, a share of white."""

_LEAST = 0.2
"""Least weight of a pixel in a drawing, whatever detail is around it: people see text and the edges
of shapes well."""

_BLURRED = 0.35
"""Share of the mean squared error that is left on average after the blur."""

_FLOOR, _MOST, _MOST_IN_DRAWINGS = 1.0, 24.0, 6.0
"""Before the exponent: the weight of pixels without an error, and the most that a large error adds,
in average errors. It is limited because a colour that is lost cannot be lost more."""

_CLEAN, _NEAR = 2.0, 16 / 255
"""How much more black and white count, and how far from them, as a share of white, nothing more."""

_SIDE = 4
"""Pixels of the side of the squares whose structure is compared: SSIMULACRA2 decides most by
lightness at a quarter of the size."""

_STEADY = 0.035
"""Standard deviation, a share of white, up to which a difference in structure is hardly seen."""

_CHROMA = 0.02
"""How much the worst differences in chroma count beside the mean of those in lightness."""

_MOST_COMPARED = 1 << 20
"""Pixels whose structure is compared, about; of larger pictures every second row and column, or
third."""

_TILE = (32, 128)
"""Height and width of a tile in pixels. Long rows are quick."""

_ENOUGH = 1 << 18
"""Pixels of the tiles at least, where the picture has so many."""

_GOLDEN = 0.618
"""How far the tiles taken in a row lie beyond those in the row above, as a share of the distance
between two: the golden ratio spreads them evenly."""

_CHUNKS = 8

_FEW_PIXELS = 1 << 15
"""Pixels up to which waking another thread takes longer than its part."""

_TINY = 1e-12


class Shown(NamedTuple):
    """Colours by a first palette.

    Attributes:
        columns: (d, m) float32: coordinates of the colours.
        labels: (m,) int32: the entry of each.
        squares: (m,) float32: the squared error of each.
        entries: (k, d) float32.
        mean_square: the mean of the squared errors.
    """

    columns: Array
    labels: Array
    squares: Array
    entries: Array
    mean_square: float


class View(NamedTuple):
    """A picture in which colours are seen.

    Attributes:
        ids: (height, width) uint32: the distinct colour that each pixel shows.
        importance: (height, width) float64, how much pixels count besides, or empty.
        axes: coordinates, one or two, in which detail is measured.
        white: how far white is from black in these.
    """

    ids: Array
    importance: Array
    axes: tuple[int, ...]
    white: float

    def factors(self, shown: Shown, boxes: Array, n_threads: int, *, evenly: bool = False) -> Array:
        """Return (m,) float64: how much a pixel of each colour counts.

        It is the mean over the pixels of the colours in its box, one of `boxes` (m,) int32. Colours
        of boxes that no tile shows, which are rare, count as their own error says. If `evenly`,
        errors do not count, only detail does.
        """
        from kmq.kernels.masking import REACH, add_weights, fill_rows

        m, channels = len(boxes), (0,) * len(shown.columns)
        rows = np.empty((m, len(shown.columns) + len(self.axes)), np.float32)

        is_small = self.ids.size <= _FEW_PIXELS
        n_fills, n_threads = (1, 1) if is_small else (_CHUNKS, n_threads)

        def fill(chunk: int) -> None:
            first, last = m * chunk // n_fills, m * (chunk + 1) // n_fills
            fill_rows(
                channels, self.axes, shown.columns, shown.labels, shown.entries, first, last, rows
            )

        run_chunks(fill, n_fills, n_threads)
        tiles = self._tiles()
        bounds = [len(tiles) * chunk // _CHUNKS for chunk in range(_CHUNKS + 1)]
        sums = np.zeros((_CHUNKS, int(boxes[-1]) + 1, 2))
        share = 0.0 if evenly else 1 / max(_BLURRED * shown.mean_square, _TINY)
        drawn = self.drawn
        most = 1 / ((1 - drawn) / _MOST + drawn / _MOST_IN_DRAWINGS)
        plane = (_TILE[0] + 2 * REACH, _TILE[1] + 2 * REACH)

        def work(chunk: int) -> None:
            if bounds[chunk] == bounds[chunk + 1]:
                return
            add_weights(
                channels,
                self.axes,
                self.ids,
                rows,
                boxes,
                self.importance,
                tiles[bounds[chunk] : bounds[chunk + 1]],
                _TILE,
                np.float32(_HIDDEN * self.white),
                np.float32(_LEAST * drawn),
                np.float32(_FLOOR),
                np.float32(share),
                np.float32(most),
                np.empty((rows.shape[1], *plane), np.float32),
                np.empty((4, plane[1]), np.float32),
                sums[chunk],
            )

        run_chunks(work, _CHUNKS, n_threads)
        weight, count = sums.sum(axis=0).T
        seen = count > 0
        if not seen.any():
            return np.ones(m)
        means = np.divide(weight, count, out=np.zeros(len(count)), where=seen)
        factors: Array = np.take(means, boxes, mode="clip")  # all are in range: it is quicker
        unseen = np.flatnonzero(np.take(~seen, boxes, mode="clip"))
        if evenly:
            factors[unseen] = means[seen].mean()
            return factors
        errors = shown.squares[unseen] / max(shown.mean_square, _TINY)
        typical = means[seen].mean() / _emphasis(1.0, most)
        factors[unseen] = typical * _emphasis(errors, most)
        return factors

    def unlike(self, shown: Shown, n_threads: int) -> float:
        """Return how far structure is lost or added where colours show their entries: 0 is none.

        Squares of pixels are compared as SSIMULACRA2 does, which decides most by lightness there.
        """
        from kmq.kernels.masking import REACH, fill_squares, sum_differences

        step = 1 + math.isqrt(self.ids.size // _MOST_COMPARED)
        ids = np.ascontiguousarray(self.ids[::step, ::step])
        d = len(shown.columns)
        rows = np.empty((len(shown.labels), 2 * d), np.float32)
        rows[:, :d] = shown.columns.T
        rows[:, d:] = shown.entries[shown.labels]
        height, width = (-(-length // _SIDE) for length in ids.shape)
        planes = np.empty((2 * d, height, width), np.float32)
        bounds = [height * chunk // _CHUNKS for chunk in range(_CHUNKS + 1)]

        def fill(chunk: int) -> None:
            fill_squares((0,) * d, ids, rows, _SIDE, bounds[chunk], bounds[chunk + 1], planes)

        run_chunks(fill, _CHUNKS, n_threads)
        planes = np.pad(planes, ((0, 0), (REACH, REACH), (REACH, REACH)), "edge")
        sums = np.empty((d, 2))

        def compare(axis: int) -> None:
            steady, lines = (_STEADY * self.white) ** 2, np.empty((5, planes.shape[2]), np.float32)
            sum_differences(planes[axis], planes[d + axis], np.float32(steady), lines, sums[axis])

        run_chunks(compare, d, n_threads)
        means = sums / (height * width)
        return sum(
            means[axis, 0] if axis in self.axes else _CHROMA * math.sqrt(math.sqrt(means[axis, 1]))
            for axis in range(d)
        )

    @property
    def drawn(self) -> float:
        """How much of a drawing the picture is, 0 to 1: from half of its pixels on that show the
        same as the one before. One row in eight is looked at."""
        lines = self.ids[::8]
        flat = np.count_nonzero(lines[:, 1:] == lines[:, :-1]) / lines.size
        return max(2 * flat - 1, 0.0)

    def _tiles(self) -> Array:
        """Return where tiles begin, (n, 2) top and left: all of a small picture, some of a large
        one."""
        height, width = self.ids.shape
        every = max(1, height * width // _ENOUGH)
        corners = [
            (row * _TILE[0], column * _TILE[1])
            for row in range(-(-height // _TILE[0]))
            for column in range(int(row * every * _GOLDEN) % every, -(-width // _TILE[1]), every)
        ]
        return np.array(corners, np.int64).reshape(-1, 2)


def _emphasis(errors: Any, most: float) -> Any:
    """Return how much pixels count with a squared error of so many average ones, as the kernel
    does."""
    root = np.sqrt(_FLOOR + errors / (1 + errors / most))
    return root * np.sqrt(root)


def favour_ends(columns: Array, ends: Array, factors: Array) -> None:
    """Multiply the factors (m,) of the colours (d, m) that are nearly black or white, the `ends`
    (2, d). Ink and paper stay clean, though few pixels may show them, all of them detail."""
    from kmq.kernels.masking import favour_ends as favour

    middle, half = (ends[0, 0] + ends[1, 0]) / 2, (ends[1, 0] - ends[0, 0]) / 2
    reach = _NEAR * np.sqrt(np.square(ends[1] - ends[0]).sum())
    favour(columns, ends, np.float32(middle), half - reach, reach, _CLEAN, factors)
