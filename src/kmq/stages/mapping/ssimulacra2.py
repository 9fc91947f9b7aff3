"""SSIMULACRA2: how close a picture looks to its original, as people judged it.

Sneyers 2022, version 2.1 of April 2023 (github.com/cloudinary/ssimulacra2): at six scales, halved
in light, three planes of opponent colours are compared for structure, for detail that was added and
for detail that was lost. Means and fourth-power means of these 54 maps are weighed so that the
result follows the votes of people on compressed pictures.

100 is equal. At 90 people see no difference when pictures flicker, at 80 none side by side. 70 is
high quality, 50 medium, 30 low, and there is no lower end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from kmq import exact
from kmq.model import srgb
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.metrics import as_seen
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

_SCALES = 6
_LEAST_SIDE = 8
"""Pixels that a scale's sides must have for there to be another."""

SMALL = 32
"""A side below which there are one to three scales. By their weights one colour, for the whole of a
photograph, looks as good as 50 to 90."""

_ALL_SCALES, _PIECE = 128, 1024
"""Sides for which there are all scales, and pixels of a side after which a long strip is cut."""

_COSINES = (
    (0.05529523572608661, 1.902113032590307),
    (-0.05883668702694998, 1.1755705045849463),
    (0.012955819110517063, 0.0),
)
"""Factors (of two pixels, of the mean before) of the cosines that make up the blur, a Gaussian of
1.5 pixels (Charalampidis 2016, "Recursive implementation of the Gaussian filter using truncated
cosine functions", equation 33 with N = 5)."""

_STRIP_ROWS, _BAND_ROWS = 16, 128
"""Rows that a thread converts and blurs at a time, and that all of them work on together."""

_BLOCK_COLUMNS = 256
"""Columns that a thread blurs and compares at a time."""

# fmt: off
_ULPS = np.array(
    [
        0, 0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 27, -45, -42, -49, -47, -41, -30, -16, -5, 9, 19, 15,
        18, 22, 25, 27, 27, 26, 25, 21, 21, 17, 14, 5, 3, 2, 0, -2, -3, -4, -7, -7, -8, -9, -11,
        -11, -12, -10, -10, -5, -5, -4, -5, -3, -3, -4, -3, -2, -1, -1, 0, 0, 1, 2, 1, 3, 5, 4,
        4, 6, 4, 2, 3, 3, 4, 3, 3, 4, 4, 5, 4, 5, 4, 5, 5, 3, 3, 5, 5, 2, 2, 4, 3, 2, 1, 4, 5,
        5, 5, 2, 2, 2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 0, 0, 0, 1, -1, 0, 1, 0, 1, -1, 1, 0, 2, 1,
        1, 0, 2, 0, 0, -1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 2, 1, 1, 2, 1, 0, 1, 2, 0, 2, 1, 2,
        2, 2, 2, 1, 1, 3, 0, 2, 1, 2, 1, 1, 0, 3, 1, 1, 3, 2, 0, 1, 1, 2, 2, 2, 0, 2, 1, 3, 2,
        0, 0, 1, 1, 1, 0, 1, 2, 3, 2, 2, 1, 3, 2, 1, 2, 1, 2, 1, 2, 2, 2, 2, 2, 3, 1, 3, 1, 2,
        1, 1, 1, 3, 2, 3, 2, 2, 2, 1, 2, 2, 2, 1, 3, 2, 3, 3, 3, 3, 4, 3, 2, 3, 2, 2, 3, 0, 4,
        3, 2, 2, 2, 2, 3, 3, 2, 2, 1, 1, 1, 0,
    ],
    np.int32,
)
"""By how many steps of a float32 the light of 8-bit samples is off in the authors' program. Its
colour management errs by up to 2.4e-7, and in flat areas the score sees that."""
# fmt: on

# By plane (X, Y, B - Y), scale, norm (mean, fourth-power mean) and map (structure, added, lost).
# fmt: off
_WEIGHTS = np.array(
    [
        0.0, 0.0007376606707406586, 0.0,
        0.0, 0.0007793481682867309, 0.0,
        0.0, 0.0004371155730107379, 0.0,
        1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
        0.0, 0.0016406437456599754, 0.0,
        1.8422455520539298, 11.441172603757666, 0.0,
        0.0007989109436015163, 0.000176816438078653, 0.0,
        1.8787594979546387, 10.94906990605142, 0.0,
        0.0007289346991508072, 0.9677937080626833, 0.0,
        0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
        0.0004550992113792063, 0.0, 0.0,
        0.0013648766163243398, 0.0, 0.0,
        0.0, 0.0, 0.0,
        7.466890328078848, 0.0, 17.445833984131262,
        0.0006235601634041466, 0.0, 0.0,
        6.683678146179332, 0.00037724407979611296, 1.027889937768264,
        225.20515300849274, 0.0, 0.0,
        19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
        176.39317598450694, 0.0, 0.0,
        24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
        0.0, 0.0, 0.0,
        34.77906344483772, 44.835625328877896, 0.0,
        0.0, 0.0, 0.0,
        0.0, 0.0, 0.0,
        0.0, 0.0008680556573291698, 0.0,
        0.0, 0.0, 0.0,
        0.0, 0.0005313191874358747, 0.0,
        0.00016533814161379112, 0.0, 0.0,
        0.0, 0.0, 0.0,
        0.0004179171803251336, 0.0017290828234722833, 0.0,
        0.0020827005846636437, 0.0, 0.0,
        8.826982764996862, 23.19243343998926, 0.0,
        95.1080498811086, 0.9863978034400682, 0.9834382792465353,
        0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
        0.0, 0.0, 0.0,
        0.0005130064588990679, 0.0, 0.00010854057858411537,
    ]
)
# fmt: on


def ssimulacra2(
    original: Array, other: Array, pixel_format: PixelFormat, n_threads: int = 1
) -> float:
    """Return SSIMULACRA2 of two pictures; see `Looks`."""
    return Looks(original, pixel_format, n_threads).of(other)


class Looks:
    """Compares pictures with one original, which is prepared once.

    Samples are taken as sRGB, whatever profile there is. Grey is the same in red, green and blue;
    16 bits count in full. CMYK is the light that its inks leave. With alpha the result is the lower
    of those over black and over white. The measure is not defined for a side below 8 pixels; it is
    extended to 8 with the pixels of its edge. About 150 ns per pixel and thread, and 8 bytes per
    pixel. The result does not depend on the number of threads.
    """

    def __init__(self, original: Array, pixel_format: PixelFormat, n_threads: int):
        """Take (height, width, channels) samples; bilevel ones and grey may lack the last axis."""
        self._pixel_format, self._n_threads = pixel_format, n_threads
        self._originals = self._pyramids(original)

    def of(self, other: Array) -> float:
        """Return how a picture looks: samples of the original's shape and format."""
        pairs = zip(self._originals, self._pyramids(other), strict=True)
        return min(_score(original, shown, self._n_threads) for original, shown in pairs)

    def _pyramids(self, samples: Array) -> list[_Pyramid]:
        return [_Pyramid(view, self._n_threads) for view in _views(samples, self._pixel_format)]


class SearchedLooks:
    """`Looks` that a search can aim at, whatever the size.

    Of a small picture the measure has too few scales. So it must look good with its mirror images
    around it, too, where all scales count: the result is the lower one.
    """

    def __init__(self, original: Array, pixel_format: PixelFormat, n_threads: int):
        """Take the same as `Looks`."""
        self._is_small = min(original.shape[:2]) < SMALL
        self._looks = [Looks(view, pixel_format, n_threads) for view in self._as_compared(original)]

    def of(self, other: Array) -> float:
        """Return how a picture looks: samples of the original's shape and format."""
        pairs = zip(self._looks, self._as_compared(other), strict=True)
        return min(looks.of(view) for looks, view in pairs)

    def _as_compared(self, samples: Array) -> list[Array]:
        return [samples, _mirrored(samples)] if self._is_small else [samples]


def _mirrored(samples: Array) -> Array:
    """Return a picture that goes on as its mirror images until it has all scales. Pieces of a long
    strip lie below each other, so that mirror images are not many pixels."""
    if samples.shape[0] > samples.shape[1]:
        samples = samples.swapaxes(0, 1)
    width = samples.shape[1]
    n_pieces = -(-width // _PIECE)
    lacking = -width % n_pieces
    rest = [(0, 0)] * (samples.ndim - 2)
    even = np.pad(samples, [(0, 0), (0, lacking), *rest], mode="symmetric")
    pieces = np.concatenate(np.split(even, n_pieces, axis=1))
    sides = [(0, max(_ALL_SCALES - side, 0)) for side in pieces.shape[:2]]
    return np.pad(pieces, [*sides, *rest], mode="symmetric")


def _views(samples: Array, pixel_format: PixelFormat) -> list[Array]:
    """Return the picture as whole samples of grey or RGB, over black and over white if need be."""
    if samples.ndim == 2:
        samples = samples[:, :, np.newaxis]
    if pixel_format is PixelFormat.BILEVEL:  # 0 and 1, or False and True
        samples = samples.astype(np.uint8) * np.uint8(255)
    height, width = samples.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        sides = [(0, max(_LEAST_SIDE - side, 0)) for side in (height, width)]
        samples = np.pad(samples, [*sides, (0, 0)], mode="edge")
    if pixel_format is PixelFormat.CMYK32:
        inks = 255 - samples.astype(np.uint32)
        light = inks[:, :, :3] * inks[:, :, 3:] * 257  # 255 · 255 · 257 is 255 · 65,535
        return [((light + 127) // 255).astype(np.uint16)]
    if not pixel_format.has_alpha:
        return [samples]
    over = np.rint(as_seen(samples) * (65535 / pixel_format.max_value)).astype(np.uint16)
    return np.split(over, 2, axis=2)


class _Pyramid:
    """A picture at all scales: samples at the first, light (3, height, width) at the others."""

    def __init__(self, samples: Array, n_threads: int):
        self._samples = np.ascontiguousarray(samples)
        top = int(np.iinfo(samples.dtype).max)
        self._table = _light(top)
        self._channels = (0, 1, 2) if samples.shape[2] == 3 else (0, 0, 0)
        self.shapes: list[tuple[int, int]] = [samples.shape[:2]]
        self._halved: list[Array] = []
        while len(self.shapes) < _SCALES and min(self.shapes[-1]) >= _LEAST_SIDE:
            self._halve(n_threads)

    def light(self, scale: int, top: int, end: int) -> Array:
        """Return rows of a scale, (3, rows, width) float32."""
        from kmq.kernels.ssimulacra2 import fill_light

        if scale:
            return np.ascontiguousarray(self._halved[scale - 1][:, top:end])
        light = np.empty((3, end - top, self.shapes[0][1]), np.float32)
        fill_light(self._samples[top:end], self._channels, self._table, light)
        return light

    def _halve(self, n_threads: int) -> None:
        from kmq.kernels.ssimulacra2 import halve

        scale = len(self._halved)
        height, width = self.shapes[scale]
        halved = np.empty((3, (height + 1) // 2, (width + 1) // 2), np.float32)

        def work(strip: int) -> None:
            top = strip * _STRIP_ROWS
            light = self.light(scale, top, min(top + _STRIP_ROWS, height))
            halve(light, top // 2, halved)

        run_chunks(work, -(-height // _STRIP_ROWS), n_threads)
        self._halved.append(halved)
        self.shapes.append(halved.shape[1:])


@lru_cache(maxsize=2)
def _light(top: int) -> Array:
    """Return the light of samples 0 … `top`, (top + 1,) float32, as the authors' program has it."""
    exact_of_bytes = srgb.table(255).astype(np.float32)
    of_bytes = exact_of_bytes + _ULPS * np.spacing(exact_of_bytes)
    errors = of_bytes - srgb.table(255)
    below, rest = np.divmod(np.arange(top + 1) * 255, top)
    slopes = np.append(np.diff(errors), 0.0)[below]
    light: Array = (srgb.table(top) + errors[below] + slopes * (rest / top)).astype(np.float32)
    return light


def _score(first: _Pyramid, second: _Pyramid, n_threads: int) -> float:
    norms = np.stack(
        [_norms(first, second, scale, n_threads) for scale in range(len(first.shapes))], axis=1
    )
    # The measure numbers the scales there are, so in a small picture weights move up.
    error = 0.9562382616834844 * float((norms.ravel() * _WEIGHTS[: norms.size]).sum())
    bent = 2.326765642916932 * error - 0.020884521182843837 * error * error
    bent += 6.248496625763138e-05 * error * error * error
    return 100 - 10 * float(exact.power(max(bent, 0.0), 0.6276336467831387))


def _norms(first: _Pyramid, second: _Pyramid, scale: int, n_threads: int) -> Array:
    """Return (planes, norms, maps) of one scale."""
    sums = _Bands(first, second, scale, n_threads).sums()
    height, width = first.shapes[scale]
    means: Array = sums.reshape(3, 3, 2).transpose(0, 2, 1) / (height * width)
    means[:, 1] = np.sqrt(np.sqrt(means[:, 1]))
    return means


class _Bands:
    """Compares two pictures at one scale, a band of rows at a time.

    A mean of a column needs the row `AHEAD` of it, so means lag behind by that: the last rows of a
    band are the first of the next.
    """

    def __init__(self, first: _Pyramid, second: _Pyramid, scale: int, n_threads: int):
        from kmq.kernels.ssimulacra2 import AHEAD, PRODUCTS, ROOM, SPAN, TERMS

        self._pictures, self._scale, self._n_threads = (first, second), scale, n_threads
        self._height, self._width = first.shapes[scale]
        self._room = -(-self._width // ROOM) * ROOM
        self._all_rows = self._height + AHEAD
        rows = SPAN + min(_BAND_ROWS, self._all_rows)
        self._planes = [np.zeros((3, rows, self._room), np.float32) for _ in self._pictures]
        self._blurred = np.zeros((3, PRODUCTS, rows, self._room), np.float32)
        self._before = np.zeros((3, PRODUCTS, TERMS, 2, self._room), np.float32)
        self._factors = _factors()

    def sums(self) -> Array:
        """Return (3, SUMS): sums of what the planes differ by."""
        from kmq.kernels.ssimulacra2 import SPAN, SUMS

        total = np.zeros((3, SUMS))
        for top in range(0, self._all_rows, _BAND_ROWS):
            if top:
                for planes in (*self._planes, self._blurred):
                    planes[..., :SPAN, :] = planes[..., -SPAN:, :]
            self._fill(top, max(0, min(_BAND_ROWS, self._height - top)))
            total += self._differences(top, min(_BAND_ROWS, self._all_rows - top))
        return total

    def _fill(self, top: int, rows: int) -> None:
        """Convert rows from `top` on, and blur them; behind the last there is nothing."""
        from kmq.kernels.ssimulacra2 import SPAN

        for planes in (*self._planes, self._blurred):
            planes[..., SPAN + rows :, :] = 0
        run_chunks(
            lambda strip: self._fill_strip(top, strip * _STRIP_ROWS, rows),
            -(-rows // _STRIP_ROWS),
            self._n_threads,
        )

    def _fill_strip(self, top: int, begin: int, rows: int) -> None:
        from kmq.kernels.ssimulacra2 import SPAN, blur_rows, fill_opponents

        end = min(begin + _STRIP_ROWS, rows)
        for picture, planes in zip(self._pictures, self._planes, strict=True):
            fill_opponents(
                picture.light(self._scale, top + begin, top + end),
                srgb.XYB_CONES.astype(np.float32),
                np.float32(srgb.XYB_BIAS),
                np.float32(exact.power(srgb.XYB_BIAS, 1 / 3)),
                SPAN + begin,
                np.empty((3, self._width), np.float32),
                planes,
            )
        blur_rows(
            *self._planes,
            SPAN + begin,
            SPAN + end,
            self._width,
            self._factors,
            np.zeros(2 * SPAN + self._room, np.float32),
            self._blurred,
        )

    def _differences(self, top: int, rows: int) -> Array:
        """Return (3, SUMS): sums over as many means, which lag behind the rows from `top` on."""
        from kmq.kernels.ssimulacra2 import AHEAD, PRODUCTS, ROOM, SUMS, add_differences

        columns = np.zeros((3, SUMS, self._room), np.float32)
        blocks = range(0, self._room, _BLOCK_COLUMNS)

        def work(chunk: int) -> None:
            plane, block = divmod(chunk, len(blocks))
            add_differences(
                *(planes[plane].reshape(-1) for planes in self._planes),
                self._blurred[plane].reshape(PRODUCTS, -1),
                blocks[block],
                min(blocks[block] + _BLOCK_COLUMNS, self._room),
                0 if top else AHEAD,
                rows,
                self._factors,
                self._before[plane],
                np.empty((PRODUCTS, rows * ROOM), np.float32),
                columns[plane],
            )

        run_chunks(work, 3 * len(blocks), self._n_threads)
        sums: Array = columns[:, :, : self._width].sum(axis=2, dtype=np.float64)
        return sums


@lru_cache(maxsize=1)
def _factors() -> Array:
    """Return (TERMS, FACTORS) float32: what four means at a time are of pixels and former means."""
    rows = [
        (
            *(0, 0, 0, n, d * n, d * d * n - n, d * d * d * n - 2 * d * n),
            *(d, d * d - 1, d * d * d - 2 * d, d * d * d * d - 3 * d * d + 1),
            *(-1, -d, 1 - d * d, 2 * d - d * d * d, 0),
        )
        for n, d in _COSINES
    ]
    return np.array(rows, np.float32)
