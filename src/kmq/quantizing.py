"""The doors of the main job: `quantize`, `choose_k`, `fit_palette`, `error_curve`."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from kmq import checks
from kmq.errors import InputError
from kmq.model.choices import DitherMethod, Effort, Progress
from kmq.model.file_info import Limits
from kmq.model.histogram import ColorHistogram
from kmq.model.image import MAX_COLORS, IndexedImage, Pixels, QuantizedImage
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
from kmq.options import GivenColors, Options, Target
from kmq.pipeline import quantizing
from kmq.stages.container.chunks import SIGNATURE
from kmq.stages.mapping.metrics import psnr as psnr_of
from kmq.stages.palette.clustering import Array, Init
from kmq.stages.palette.spaces import SpaceName
from kmq.stages.pictures.reading import checked_format, checked_page, read_pixels, seekable
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from PIL.Image import Image

PlainPicture: TypeAlias = "Array | Image | str | os.PathLike[str] | bytes | BinaryIO"
Picture: TypeAlias = "PlainPicture | IndexedImage"

_CURVE_COLORS = 256
"""Where a curve ends unless the caller says so."""


@checks.hinting()
def quantize(
    picture: Picture,
    k: int | None = None,
    *,
    psnr: float | None = None,
    max_mse: float | None = None,
    max_colors: int | None = None,
    effort: Effort | None = None,
    space: SpaceName | None = None,
    channel_weights: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    fixed: GivenColors | str | None = None,
    palette: GivenColors | str | os.PathLike[str] | None = None,
    posterize: int | None = None,
    snap: bool | None = None,
    rate: float | None = None,
    dither: float | None = None,
    dither_method: DitherMethod | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    seed: int | None = None,
    init: Init | GivenColors | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> QuantizedImage:
    """Reduce a picture to a few colours by k-means on its pixels.

    The squared error in the picture's own samples is what is minimised, unless `space` says
    otherwise. A picture with at most `k` distinct colours comes back exactly, with just those
    colours. Colours with alpha are compared as they look over black and over white; opaque pixels
    stay opaque, and fully transparent ones (of whatever hidden colour) fully transparent.

    Unless a start is given, the palette is searched for on coarse bins of the colours: a start by
    variance-based splitting (Su & Dy 2007), then breathing k-means (Fritzke 2020), then rounds on
    all colours. From 32 colours on nothing in it is random at "fast" and "balanced". With a start,
    this is k-means as it is known: assign each colour to the nearest centre, move each centre to
    the mean, until they rest.

    Args:
        picture: array (h, w), (h, w, 1 to 4), bool, uint8 or uint16; a Pillow image; an
            `IndexedImage`; or a picture file: its path, its bytes, or a file object open for binary
            reading, which is read from where it stands to its end. Four uint8 channels are RGBA
            unless `pixel_format` says "CMYK".
        k: colours of the palette, 1 to 65,536; None takes 64, or what `psnr` or `max_mse` needs,
            or as many as `init` gives.
        psnr: the least PSNR in dB; the fewest colours that reach it are taken. Not with `k`.
        max_mse: the same as a mean squared error per pixel, summed over the channels.
        max_colors: colours at most, with `psnr` or `max_mse`: the best there is with so many if
            they do not reach it. None raises InputError if 65,536 do not.
        effort: how long to search: "fast", "balanced" (the default) or "best". Not with `init`.
        space: where distances are measured: "rgb", the samples as they are (the default); "eye",
            the advice for pictures that are to be looked at: XYB with weights, and pixels count
            less where detail hides errors and more where errors would be seen (docs/EYE.md);
            "linear", light; "oklab" (Ottosson 2020); "lab" (CIE L*a*b*). All but "rgb" assume
            that samples are sRGB. CMYK has "rgb" alone.
        channel_weights: how much each channel's squared error counts, alpha's last, above 0 and
            at most 10^9.
        weights: (h, w), 0 to 10^9: how much each pixel counts for the palette; 1 is usual, and 0
            leaves it out. Or bool: which pixels count.
        fixed: (f, channels) colours that must be in the palette, exactly; the rest is free. Or
            names of colours as in CSS ("white", "#ff8800"), one or several, also in one list with
            samples; "background" is the colour of most pixels on the picture's border. Or an
            `IndexedImage`, for its palette.
        palette: colours to map to, given as for `fixed`; the palette is kept as given, its order
            and unused entries included. A string is the path of a file that `kmq.read_palette`
            reads. Where the colours of a file, an image or a list of names do not fit the picture's
            pixel format, the picture takes on one that holds both. Not with anything that asks for
            another palette.
        posterize: bits a channel of the palette may have, 1 to the picture's own depth: entries
            are multiples of what is left, or white.
        snap: whether the entry nearest to black becomes black, and the one nearest to white white,
            with all their pixels, if it is off by no more than a sixteenth of the range in any
            channel. With alpha, only opaque entries do.
        rate: λ, at least 0 (the default): indices and palette are chosen together by squared error
            + λ · bits, the squared error on a scale of 8 bits. 0 is the nearest entry for each
            pixel; 1 to 3 times the mean squared error without it is where files are smallest for
            their PSNR. No pixel's squared error is more than 3 · 32² above that of its nearest
            entry, and smooth gradients give way least. Weights count for the indices, too, as 1/16
            or more. Not with `psnr` or `max_mse`: `encode` and `write` choose k and λ for
            those.
        dither: how much to mix entries so that from afar they look like the colours between, 0 (not
            at all; the default) to 1; True is 1. Least is mixed where the picture's own detail
            hides the palette's error; colours of the palette show themselves. The report is of the
            mixed picture, whose error is larger: not with `psnr` and `max_mse`.
        dither_method: "diffusion" (the default) passes errors on to neighbours (Floyd & Steinberg
            1976, in serpentine order); "ordered" follows a mask of blue noise (Ulichney 1993):
            faster, and the same in every frame, but colours are less true.
        pixel_format: what the pixels are, where the array alone does not tell.
        page: which picture of a file with several pages or frames, counted from 1; such a file,
            and a Pillow image of one, is refused without it.
        seed: 0 (the default) to 2^32 - n_init, for the random starts; the same picture, options and
            seed give the same bytes.
        init: None searches; "k-means++" (greedy), "random", "var-part" (needs no seed) or k
            colours, given as for `fixed`, runs plain k-means from that start.
        n_init: random starts tried, with seeds from `seed` upward; the best is kept. None is 1.
            More than one without `init` means "k-means++".
        max_iter: rounds on all colours at most; None leaves it to `effort`, or 300 with `init`.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves. None is 1e-4, or sooner with little
            effort.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
        limits: how large a file is read; None is `kmq.Limits()`. Arrays and images may be larger.
        progress: called as progress(stage, fraction); an exception it raises stops the work and is
            passed on.

    Returns:
        The image with its palette sorted, every entry used, and a `report`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.
        FormatError: the path is that of a damaged .kmq file.
        MissingExtraError: a 16-bit colour file without the extra that reads it.
        OSError: the path cannot be read.

    Cost: O(pixels), and O(distinct colours) a round with a tenth of k comparisons for each; memory
    about twice the picture's. A target costs two to three times as much.
    """
    options = Options.checked(
        k,
        effort,
        n_threads,
        limits,
        psnr=psnr,
        max_mse=max_mse,
        max_colors=max_colors,
        space=space,
        channel_weights=channel_weights,
        weights=weights,
        fixed=fixed,
        palette=palette,
        posterize=posterize,
        snap=snap,
        rate=rate,
        dither=dither,
        dither_method=dither_method,
        pixel_format=pixel_format,
        page=page,
        seed=seed,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        progress=progress,
    )
    image = _quantized(picture, options)
    if max_colors is None:
        _refuse_missed(options.target, image.report.mse, image.pixel_format)
    return image


def _quantized(picture: Picture | Pixels, options: Options) -> QuantizedImage:
    """Return the picture as the options want it, as near to a target as its limit allows."""
    pixels = read_picture(
        picture, options.pixel_format, options.page, options.plain.n_threads, options.limits
    )
    pixels, entries = options.mapped(pixels)
    fitting = options.of(pixels.pixel_format, pixels.samples)
    goal = options.target.goal(pixels.pixel_format) if entries is None else entries
    return quantizing.quantize_pixels(pixels, goal, fitting, options.counting(pixels))


def _refuse_missed(target: Target, mse: float, pixel_format: PixelFormat) -> None:
    """Raise InputError if an error is larger than what was asked for."""
    if target.k is None and mse > target.mse(pixel_format):
        raise InputError(
            f"{target.most} colours reach an error of {mse:.4g} and a PSNR of "
            f"{psnr_of(mse, pixel_format):.2f} dB; {target.mse(pixel_format):.4g} was asked for"
        )


@checks.hinting()
def choose_k(
    picture: Picture,
    *,
    psnr: float | None = None,
    max_mse: float | None = None,
    max_colors: int | None = None,
    effort: Effort | None = None,
    space: SpaceName | None = None,
    channel_weights: Sequence[float] | None = None,
    weights: ArrayLike | None = None,
    fixed: GivenColors | str | None = None,
    posterize: int | None = None,
    snap: bool | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    seed: int | None = None,
    init: Init | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> int:
    """Return the fewest colours with which `quantize` reaches a PSNR or an error.

    A curve of error against k, made in one pass, says where about that is; two or three searches
    there settle it. Use `quantize` with `psnr` or `max_mse` to have the image at the same cost.

    Args:
        picture: see `quantize`, also for the arguments not described here.
        psnr: least PSNR in dB.
        max_mse: largest mean squared error per pixel, summed over the channels.
        max_colors: colours at most, 1 to 65,536; None is 65,536.
        effort: see `quantize`.
        space: see `quantize`.
        channel_weights: see `quantize`.
        weights: see `quantize`.
        fixed: see `quantize`.
        posterize: see `quantize`.
        snap: see `quantize`.
        pixel_format: see `quantize`.
        page: see `quantize`.
        seed: see `quantize`.
        init: see `quantize`; a method, since colours would say how many.
        n_init: see `quantize`.
        max_iter: see `quantize`.
        tol: see `quantize`.
        n_threads: see `quantize`.
        limits: see `quantize`.
        progress: see `quantize`.

    Raises:
        InputError: neither or both of `psnr` and `max_mse`, or `max_colors` do not reach it.
        TypeError: an argument of the wrong type.

    Cost: less than three times that of `quantize` at the k returned.
    """
    if psnr is None and max_mse is None:
        raise InputError("neither psnr nor max_mse is given; choose_k needs one")
    options = Options.checked(
        None,
        effort,
        n_threads,
        limits,
        psnr=psnr,
        max_mse=max_mse,
        max_colors=max_colors,
        space=space,
        channel_weights=channel_weights,
        weights=weights,
        fixed=fixed,
        posterize=posterize,
        snap=snap,
        pixel_format=pixel_format,
        page=page,
        seed=seed,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        progress=progress,
    )
    image = _quantized(picture, options)
    _refuse_missed(options.target, image.report.mse, image.pixel_format)
    return image.n_colors


@checks.hinting()
def fit_palette(
    histogram: ColorHistogram,
    k: int | None = None,
    *,
    psnr: float | None = None,
    max_mse: float | None = None,
    max_colors: int | None = None,
    effort: Effort | None = None,
    space: SpaceName | None = None,
    channel_weights: Sequence[float] | None = None,
    fixed: GivenColors | str | None = None,
    posterize: int | None = None,
    snap: bool | None = None,
    seed: int | None = None,
    init: Init | GivenColors | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """Find one palette for all the pictures of a histogram.

    It is what `quantize` finds for a picture with this histogram. `quantize` with `palette` maps
    pictures to it.

    Args:
        histogram: see `kmq.ColorHistogram`.
        k: colours of the palette, 1 to 65,536; None takes 64, or as `quantize` does.
        psnr: see `quantize`, also for the arguments below.
        max_mse: see `quantize`.
        max_colors: see `quantize`.
        effort: see `quantize`.
        space: see `quantize`.
        channel_weights: see `quantize`.
        fixed: see `quantize`; a histogram has no "background".
        posterize: see `quantize`.
        snap: see `quantize`.
        seed: see `quantize`.
        init: see `quantize`.
        n_init: see `quantize`.
        max_iter: see `quantize`.
        tol: see `quantize`.
        n_threads: see `quantize`.
        progress: see `quantize`.

    Returns:
        (at most k, channels) uint8 or uint16, sorted, every entry used by some colour or fixed.

    Raises:
        InputError: an argument that cannot be used.
        TypeError: an argument of the wrong type.

    Cost: as `quantize` without its O(pixels); memory of 50 bytes a distinct colour.
    """
    if not isinstance(histogram, ColorHistogram):
        raise TypeError(
            f"histogram is {type(histogram).__name__}; it must be a kmq.ColorHistogram, which "
            "ColorHistogram.from_picture makes of a picture"
        )
    options = Options.checked(
        k,
        effort,
        n_threads,
        psnr=psnr,
        max_mse=max_mse,
        max_colors=max_colors,
        space=space,
        channel_weights=channel_weights,
        fixed=fixed,
        posterize=posterize,
        snap=snap,
        seed=seed,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        progress=progress,
    )
    pixel_format = histogram.pixel_format
    goal = options.target.goal(pixel_format)
    palette, mse = quantizing.fit_palette(histogram, goal, options.of(pixel_format))
    if max_colors is None:
        _refuse_missed(options.target, mse, pixel_format)
    return palette


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """Error against the number of colours.

    Attributes:
        k: (n,) int64, ascending from 1.
        mse: (n,) float64, mean squared error per pixel, summed over the channels.
        psnr: (n,) float64 in dB; infinite where the picture has no more colours.
        knee: the k from which more colours bring little: the point of the root mean squared error
            farthest below the straight line between the ends of the curve (Satopää et al. 2011).
            It depends on where the curve ends: a longer one has its knee farther out.
    """

    k: Array
    mse: Array
    psnr: Array
    knee: int


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

    Clusters are cut in two and settled as k grows, so the whole curve costs about as much as one
    `quantize` at its end. Each error is mostly 0 to 6 % above what `quantize` finds for that k;
    where alpha is smooth and noisy it was up to 16 %. That pass knows the picture's own samples
    alone; so what steers a palette in `quantize` is not taken here.

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
    """
    most = _CURVE_COLORS if max_colors is None else max_colors
    most = checks.whole_number(most, "max_colors", 1, MAX_COLORS)
    threads = resolve_threads(n_threads)
    progress = checks.progress(progress)
    pixels = read_picture(picture, pixel_format, page, threads, limits)
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


def read_picture(
    picture: Picture | Pixels,
    pixel_format: str | PixelFormat | None,
    page: int | None,
    n_threads: int,
    limits: Limits | None = None,
) -> Pixels:
    """Return the picture's pixels; `.kmq` files are read by kmq, everything else by the stage.

    `Pixels` that were read before are taken as they are.
    """
    if isinstance(picture, Pixels):
        return picture
    wanted, page = checked_format(pixel_format), checked_page(page)
    limits = Limits.checked(limits)
    if isinstance(picture, bytes | bytearray | memoryview):
        picture = io.BytesIO(picture)
    elif hasattr(picture, "read"):
        picture = _content_of(cast(BinaryIO, picture))
    elif isinstance(picture, str | os.PathLike):
        picture = _unpiped(picture)
    if isinstance(picture, str | os.PathLike | io.BytesIO) and _is_kmq(picture):
        from kmq.files import read

        picture = read(picture, limits=limits, n_threads=n_threads)
    if not isinstance(picture, IndexedImage):
        return read_pixels(picture, wanted, page, limits)
    if page not in (None, 1):
        raise InputError(f"page is {page}; the picture is the only one")
    if wanted is not None:
        raise InputError("pixel_format is given with a picture that states its own")
    return Pixels(picture.palette[picture.indices], picture.pixel_format, picture.metadata)


def _content_of(file: BinaryIO) -> io.BytesIO:
    """Return what a file object holds from where it stands; it need not be seekable."""
    content = file.read()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            f"picture is a file object that reads {type(content).__name__}; open it for binary "
            "reading"
        )
    return io.BytesIO(content)


def _unpiped(path: str | os.PathLike[str]) -> str | os.PathLike[str] | io.BytesIO:
    """Return the path, or the content if it is that of a pipe."""
    with open(path, "rb") as file:
        content = seekable(file)
    return content if isinstance(content, io.BytesIO) else path


def _is_kmq(source: str | os.PathLike[str] | io.BytesIO) -> bool:
    if isinstance(source, io.BytesIO):
        return source.getbuffer()[: len(SIGNATURE)] == SIGNATURE
    with open(source, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE
