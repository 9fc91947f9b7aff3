"""The doors of the main job: `quantize`, `choose_k`, `fit_palette`, `error_curve`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kmq import checks
from kmq.colors import GivenColors
from kmq.errors import MissingExtraError
from kmq.model.arrays import Array, EqualByFields
from kmq.model.choices import Effort, MappingName, Progress
from kmq.model.file_info import Limits, checked_limits
from kmq.model.histogram import ColorHistogram
from kmq.model.image import MAX_COLORS, QuantizedImage
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
from kmq.options import Options
from kmq.pipeline import quantizing
from kmq.pipeline.reading import Picture, read_picture
from kmq.stages.mapping.metrics import psnr as psnr_of
from kmq.stages.palette.spaces import SpaceName
from kmq.stages.palette.starting import Init
from kmq.stages.pictures.reading import checked_format, checked_page
from kmq.threads import resolve_threads
from kmq.values import Dither, Fewest, Optimize, Rate, Require, Space, Start

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_CURVE_COLORS = 256
"""Where a curve ends unless the caller says so."""


@checks.hinting()
def quantize(
    picture: Picture,
    k: int | Fewest | None = None,
    *,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    weights: ArrayLike | None = None,
    palette: GivenColors | str | os.PathLike[str] | None = None,
    require: Require | GivenColors | str | None = None,
    start: Start | Init | GivenColors | None = None,
    mapping: MappingName | Dither | Optimize | Rate | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> QuantizedImage:
    """Reduce a picture to a few colours by k-means on its pixels.

    By default kmq searches for the palette that looks best; with ``space="rgb"``, for the least
    squared error of the samples. A picture with at most `k` distinct colours comes back exactly,
    with just those colours. Colours with alpha are compared as they look over black and over white.
    Opaque pixels stay opaque. Fully transparent pixels stay so, whatever their hidden colour.

    Unless `start` is given, the search works on coarse bins of the colours: variance-based
    splitting (Su & Dy 2007), then breathing k-means (Fritzke 2020), then rounds on all colours. It
    is deterministic. For grey pictures, dynamic programming (Wang & Song 2011) finds the best
    palette there is, with any effort.

    Args:
        picture: array (h, w), (h, w, 1 to 4), bool, uint8 or uint16; a Pillow image; an
            `IndexedImage`; or a picture file: its path, its bytes, or a file object open for binary
            reading, which is read from where it stands to its end. Four uint8 channels are RGBA
            unless `pixel_format` says "CMYK".
        k: most colours of the palette, 1 to 65,536; or a `kmq.Fewest`, the fewest that reach an
            error. None is 64, or the number of colours that `start` gives.
        effort: how long to search: "fast", "balanced" (the default) or "best", with which `mapping`
            is "optimized" by default where `space` is "eye". Not with `start`.
        space: where distances are measured. "eye", for pictures that people look at, is XYB with
            weights: pixels count less where detail hides errors, and more where errors show
            (docs/EYE.md). "rgb" is the samples as they are, for a small squared error; "linear" is
            light; "oklab" (Ottosson 2020); "lab" (CIELAB). All but "rgb" assume that samples
            are sRGB. A `kmq.Space` also weighs the channels. None is "eye"; but "rgb" for CMYK
            (the only choice there), for weighed channels, with a `start`, and for a
            `kmq.Fewest` or other target in PSNR or MSE.
        weights: (h, w), 0 to 10^9: how much each pixel counts for the palette; 1 is usual, and 0
            leaves it out. Or bool: which pixels count. Where `mapping` is a `kmq.Rate`, they count
            for the indices too, as 1/16 or more.
        palette: colours to map to, given as for `kmq.Require.fixed`. The palette is kept as given,
            order and unused entries included. A string is the path of a file that
            `kmq.read_palette` reads. Where the colours of a file, an image or a list of names do
            not fit the picture's pixel format, the result has one that holds both. Excludes all
            arguments that ask for another palette.
        require: colours that the palette must hold, or a `kmq.Require`.
        start: plain k-means from this start in place of the search: a `kmq.Start`, or its `init`.
        mapping: how pixels get their entries. "nearest" is the default, except with
            ``effort="best"``. "dither", "ordered" or a `kmq.Dither` mix entries to look like the
            colours between. "optimized" or a `kmq.Optimize` chooses entries and palette together to
            look best. A `kmq.Rate` makes files smaller. `kmq.Fewest` takes "nearest" alone.
        pixel_format: what the pixels are, where the array alone does not tell.
        page: which picture of a file with several pages or frames, counted from 1. Such a file
            needs it, and so does a Pillow image of one.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
        limits: the largest file to read; None is `kmq.Limits()`. Arrays and images may be larger.
        progress: called as progress(stage, fraction). An exception that it raises stops the work
            and is passed on.

    Returns:
        The image with its palette sorted, every entry used, and a `report`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.
        FormatError: the path is that of a damaged .kmq file.
        MissingExtraError: a 16-bit colour file without the extra that reads it.
        OSError: the path cannot be read.

    Cost: O(pixels), and O(distinct colours) per round with a tenth of k comparisons for each;
    memory about twice the picture's. `kmq.Fewest` costs two to three times as much.

    >>> image = kmq.quantize("photo.png", 64)
    >>> image
    <kmq.IndexedImage 96x64 RGB, 64 colours>
    """
    given = {**locals()}  # first: there is nothing else yet
    del given["picture"]
    return Options.checked(**given).quantized(picture)


@checks.hinting()
def choose_k(
    picture: Picture,
    k: Fewest,
    *,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    weights: ArrayLike | None = None,
    require: Require | GivenColors | str | None = None,
    start: Start | Init | GivenColors | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> int:
    """Return the fewest colours with which `quantize` reaches an error.

    A curve of error against k, made in one pass, gives a first estimate; two or three searches near
    it settle the number. `quantize` with the same `k` returns the image at the same cost.

    Args:
        picture: see `quantize`, also for the arguments not described here.
        k: the error to reach, a `kmq.Fewest`.
        effort: see `quantize`.
        space: see `quantize`.
        weights: see `quantize`.
        require: see `quantize`.
        start: see `quantize`.
        pixel_format: see `quantize`.
        page: see `quantize`.
        n_threads: see `quantize`.
        limits: see `quantize`.
        progress: see `quantize`.

    Raises:
        InputError: `k.max_colors`, or 65,536, do not reach it.
        TypeError: an argument of the wrong type.

    Cost: less than three times that of `quantize` at the k returned.

    >>> kmq.choose_k("photo.png", kmq.Fewest(psnr=30))
    15
    """
    given = {**locals()}  # first: there is nothing else yet
    if not isinstance(k, Fewest):
        raise TypeError(
            f"k is {type(k).__name__}; choose_k needs a kmq.Fewest, such as kmq.Fewest(psnr=35)"
        )
    options = Options.checked(**{name: given[name] for name in given if name != "picture"})
    image = options.quantized(picture)
    options.target.refuse_missed(image.report.mse, image.pixel_format)
    return image.n_colors


@checks.hinting()
def fit_palette(
    histogram: ColorHistogram,
    k: int | Fewest | None = None,
    *,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    require: Require | GivenColors | str | None = None,
    start: Start | Init | GivenColors | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Palette:
    """Find one palette for all the pictures of a histogram.

    `quantize` finds the same palette for a picture with this histogram, except in space "eye":
    there it also uses where in the picture a colour stands, which a histogram does not know. Map
    pictures to the palette by ``quantize(picture, palette=palette)``.

    Args:
        histogram: see `kmq.ColorHistogram`.
        k: see `quantize`, also for the arguments below.
        effort: see `quantize`.
        space: see `quantize`.
        require: see `quantize`; a histogram has no "background".
        start: see `quantize`.
        n_threads: see `quantize`.
        progress: see `quantize`.

    Returns:
        At most k colours, sorted, every entry used by some colour or fixed, and the shares of the
        pixels that are nearest to each.

    Raises:
        InputError: an argument that cannot be used.
        TypeError: an argument of the wrong type.

    Cost: as `quantize` without its O(pixels); memory of 50 bytes a distinct colour.

    >>> histogram = kmq.ColorHistogram.from_pictures(["a.png", "b.png"])
    >>> kmq.fit_palette(histogram, 4)
    <kmq.Palette RGB, 4 colours>
    """
    given = {**locals()}  # first: there is nothing else yet
    if not isinstance(given.pop("histogram"), ColorHistogram):
        raise TypeError(
            f"histogram is {type(histogram).__name__}; it must be a kmq.ColorHistogram, which "
            "ColorHistogram.from_picture makes of a picture"
        )
    options = Options.checked(**given)
    pixel_format = histogram.pixel_format
    goal = options.target.goal(pixel_format)
    palette, mse = quantizing.fit_palette(histogram, goal, options.fitting(pixel_format))
    if options.target.max_colors is None:
        options.target.refuse_missed(mse, pixel_format)
    counts = quantizing.map_histogram(histogram, palette)[1]
    return Palette(palette, pixel_format, counts / counts.sum())


@dataclass(frozen=True, eq=False)
class ErrorCurve(EqualByFields):
    """Error against the number of colours.

    Attributes:
        k: (n,) int64, ascending from 1.
        mse: (n,) float64, mean squared error per pixel, summed over the channels.
        psnr: (n,) float64 in dB; infinite where the picture has no more colours.
        knee: the k from which more colours bring little: the point of the root mean squared error
            farthest below the straight line between the ends of the curve (Satopää et al. 2011).
            It depends on where the curve ends: a longer one has its knee farther out.

    >>> curve = kmq.error_curve("photo.png", 64)
    >>> curve.k[:4].tolist()
    [1, 2, 3, 4]
    >>> bool(curve.mse[0] > curve.mse[-1])
    True
    """

    k: Array
    mse: Array
    psnr: Array
    knee: int

    def __repr__(self) -> str:
        """One line: where it ends, and the knee."""
        decibels = float(self.psnr[self.k == self.knee][0])
        return (
            f"<kmq.ErrorCurve up to {self.k[-1]} colours, knee at {self.knee} with "
            f"{decibels:.2f} dB>"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draw the PSNR against the number of colours, with the knee.

        Args:
            axes: matplotlib axes to draw in; None takes the current ones.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.

        >>> axes = kmq.error_curve("photo.png", 64).plot()
        >>> axes.figure.savefig("curve.png")
        """
        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise MissingExtraError("plot needs matplotlib: pip install 'kmq[plot]'") from error
            axes = pyplot.gca()
        finite = np.isfinite(self.psnr)  # no scale has room for the PSNR of an exact picture
        axes.plot(self.k[finite], self.psnr[finite])
        axes.axvline(self.knee, linestyle=":", label=f"knee: {self.knee} colours")
        axes.set(xlabel="colours", ylabel="PSNR in dB", xscale="log")
        axes.legend()
        return axes


@checks.hinting()
def error_curve(
    picture: Picture,
    max_colors: int | None = None,
    *,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> ErrorCurve:
    """Return the error for k = 1, 2, 3 … and on in steps of a quarter, in one incremental pass.

    As k grows, clusters are cut in two and settled, so the whole curve costs about as much as one
    `quantize` at its end. Errors are mostly 0 to 6 % above those of `quantize` with that k, and up
    to 16 % where alpha is smooth and noisy; of grey pictures they are the same. The curve is about
    the samples as they are, so it takes no space, weights or required colours.

    Args:
        picture: see `quantize`.
        max_colors: where the curve ends, 1 to 65,536; None is 256. Sooner if the picture has fewer
            colours.
        pixel_format: see `quantize`.
        page: see `quantize`.
        n_threads: see `quantize`.
        progress: called as progress("curve", fraction) for each k; see `quantize`.
        limits: see `quantize`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.

    >>> kmq.error_curve("photo.png", 64)
    <kmq.ErrorCurve up to 64 colours, knee at 8 with 27.31 dB>
    """
    most = _CURVE_COLORS if max_colors is None else max_colors
    most = checks.whole_number(most, "max_colors", 1, MAX_COLORS)
    threads = resolve_threads(n_threads)
    progress = checks.progress(progress)
    wanted, page = checked_format(pixel_format), checked_page(page)
    pixels = read_picture(picture, wanted, page, checked_limits(limits), threads)
    curve = []
    for k, error in quantizing.error_curve(pixels, most, threads):
        curve.append((k, error))
        if progress is not None:
            progress("curve", k / most)
    ks, errors = np.array([k for k, _ in curve]), np.array([error for _, error in curve])
    decibels = np.array([psnr_of(error, pixels.pixel_format) for error in errors])
    return ErrorCurve(ks, errors, decibels, _knee(ks, np.sqrt(errors)))


def _knee(ks: Array, errors: Array) -> int:
    across = (ks - ks[0]) / max(1, ks[-1] - ks[0])
    down = (errors - errors[-1]) / max(errors[0] - errors[-1], 1e-300)
    return int(ks[np.argmin(across + down)])
