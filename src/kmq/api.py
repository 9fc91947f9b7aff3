"""The doors of the main job: `quantize`, `choose_k`, `fit_palette`, `error_curve`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from kmq import checks, fitting, pipeline
from kmq.errors import InputError
from kmq.model import (
    DITHER_METHODS,
    EFFORTS,
    MAX_COLORS,
    ColorHistogram,
    IndexedImage,
    PixelFormat,
    Pixels,
    Progress,
)
from kmq.stages import clustering, formats
from kmq.stages.clustering import Array
from kmq.stages.container import SIGNATURE
from kmq.stages.metrics import mse_at
from kmq.stages.metrics import psnr as psnr_of
from kmq.stages.pixels import read_pixels
from kmq.stages.spaces import SPACES
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "Array | Image | IndexedImage | str | os.PathLike[str]"


def quantize(
    picture: Picture,
    k: int | None = None,
    *,
    psnr: float | None = None,
    max_error: float | None = None,
    max_colors: int | None = None,
    effort: str | None = None,
    space: str = "rgb",
    channel_weights: Sequence[float] | None = None,
    importance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: ArrayLike | str | Sequence[str] | None = None,
    palette: ArrayLike | str | os.PathLike[str] | None = None,
    posterize: int | None = None,
    snap: bool = False,
    rate: float = 0,
    dither: float = 0.0,
    dither_method: str = "diffusion",
    pixel_format: str | PixelFormat | None = None,
    page: int | None = None,
    seed: int = 0,
    init: str | ArrayLike | None = None,
    n_init: int = 1,
    max_iter: int | None = None,
    tol: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> IndexedImage:
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
            `IndexedImage`; or the path of a picture. Four uint8 channels are RGBA unless
            `pixel_format` says "CMYK".
        k: colours of the palette, 1 to 65,536; None takes 64, or what `psnr` or `max_error` needs,
            or as many as `init` gives.
        psnr: the least PSNR in dB; the fewest colours that reach it are taken. Not with `k`.
        max_error: the same as a mean squared error per pixel, summed over the channels.
        max_colors: colours at most, with `psnr` or `max_error`: the best there is with so many if
            they do not reach it. None raises InputError if 65,536 do not.
        effort: how long to search: "fast", "balanced" (the default) or "best". Not with `init`.
        space: where distances are measured: "rgb", the samples as they are; "linear", light;
            "oklab" (Ottosson 2020, a and b × 2.5) or "lab" (CIE L*a*b*), what the eye sees, on
            the assumption that samples are sRGB. For pictures that are to be looked at "oklab" is
            the advice: colours are nearer by CIEDE2000, by an eighth in photographs, at a
            larger squared error. CMYK has "rgb" alone.
        channel_weights: how much each channel's squared error counts, alpha's last, above 0 and
            at most 10^9.
        importance: (h, w), 0 to 10^9: how much each pixel counts for the palette; 1 is usual.
        mask: (h, w) bool: pixels that do not count for the palette are False.
        fixed: (f, channels) colours that must be in the palette, exactly; the rest is free. Or
            names of colours as in CSS ("white", "#ff8800"), one or several; "background" is the
            colour of most pixels on the picture's border.
        palette: (n, channels) colours to map to; the palette is kept as given, its order and
            unused entries included. Or the path of a file that `kmq.read_palette` reads: where its
            colours do not fit the picture's pixel format, the picture takes on one that holds both.
            Not with anything that asks for another palette.
        posterize: bits a channel of the palette may have, 1 to the picture's own depth: entries
            are multiples of what is left, or white.
        snap: whether the entry nearest to black becomes black, and the one nearest to white white,
            with all their pixels, if it is off by no more than a sixteenth of the range in any
            channel. With alpha, only opaque entries do.
        rate: λ, at least 0: indices and palette are chosen together by squared error + λ · bits,
            the squared error on a scale of 8 bits. 0 is the nearest entry for each pixel; 1 to 3
            times the mean squared error without it is where files are smallest for their PSNR. No
            pixel's squared error is more than 3 · 32² above that of its nearest entry, and smooth
            gradients give way least. Importance counts for the indices, too, as 1/16 or more. Not
            with `psnr` or `max_error`: `encode` and `write` choose k and λ for those.
        dither: how much to mix entries so that from afar they look like the colours between, 0
            (not at all) to 1. Least is mixed where the picture's own detail hides the palette's
            error; colours of the palette show themselves. The report is of the mixed picture, whose
            error is larger: not with `psnr` and `max_error`.
        dither_method: "diffusion" passes errors on to neighbours (Floyd & Steinberg 1976, in
            serpentine order); "ordered" follows a mask of blue noise (Ulichney 1993): faster, and
            the same in every frame, but colours are less true.
        pixel_format: what the pixels are, where the array alone does not tell.
        page: which picture of a file with several pages or frames, counted from 1; such a file
            is refused without it.
        seed: 0 to 2^32 - n_init, for the random starts; the same picture, options and seed give
            the same bytes.
        init: None searches; "k-means++" (greedy), "random", "var-part" (needs no seed) or an array
            (k, channels) of colours runs plain k-means from that start.
        n_init: random starts tried, with seeds from `seed` upward; the best is kept. More than one
            without `init` means "k-means++".
        max_iter: rounds on all colours at most; None leaves it to `effort`, or 300 with `init`.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves. None is 1e-4, or sooner with little
            effort.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
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
    n_init = checks.whole_number(n_init, "n_init", 1, 10_000)
    n_threads = resolve_threads(n_threads)
    _refuse_beside_palette(
        palette,
        {"k": k, "psnr": psnr, "max_error": max_error, "max_colors": max_colors, "init": init,
         "effort": effort, "importance": importance, "mask": mask, "fixed": fixed,
         "posterize": posterize, "snap": snap or None, "max_iter": max_iter, "tol": tol,
         "n_init": n_init if n_init > 1 else None},
    )  # fmt: skip
    if init is None and n_init > 1:
        init = "k-means++"
    if init is not None and effort is not None:
        raise InputError("effort and init are both given; a given start is not searched from")
    rate = checks.rate(rate)
    target = _target(k, psnr, max_error, max_colors, init)
    if rate > 0 and target.k is None:
        name = "psnr" if psnr is not None else "max_error"
        raise InputError(
            f"rate and {name} are both given; encode and write choose the rate for a {name}"
        )
    if max_iter is not None:
        max_iter = checks.whole_number(max_iter, "max_iter", 1, 1_000_000)
    effort = checks.one_of("balanced" if effort is None else effort, "effort", EFFORTS)
    pixels = read_picture(picture, pixel_format, page, n_threads)
    dither = checks.fraction(dither, "dither")
    if dither and target.k is None:
        raise InputError(
            f"dither and {'max_error' if psnr is None else 'psnr'} are both given; dithering adds "
            "to the error, which is to be small pixel by pixel"
        )
    if dither and rate > 0:
        raise InputError(
            "dither and rate are both given; one spends bits on a texture, the other saves them"
        )
    entries = None
    if palette is not None:
        pixels, entries = _given_palette(palette, pixels)
    pixel_format = pixels.pixel_format
    if init is not None:
        init = checks.init_method(init, clustering.INITS, target.k or 0, pixel_format.channels)
        if fixed is not None:
            raise InputError("init and fixed are both given; fixed colours need a search")
    options = fitting.KMeansOptions(
        effort=effort,
        seed=checks.whole_number(seed, "seed", 0, checks.MAX_SEED + 1 - n_init),
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=None if tol is None else checks.tolerance(tol),
        n_threads=n_threads,
        progress=progress,
        space=_checked_space(space, pixel_format),
        channel_weights=_checked_channel_weights(channel_weights, pixel_format),
        fixed=None if fixed is None else _fixed(fixed, pixel_format, pixels.samples),
        step=_step(posterize, pixel_format),
        snap=_flag(snap, "snap"),
        rate=rate,
        dither=dither,
        dither_method=checks.one_of(dither_method, "dither_method", DITHER_METHODS),
    )
    if entries is not None:
        return pipeline.quantize_pixels(pixels, entries, options)
    counting = _importance(importance, mask, pixels)
    _check_room(options.fixed, target.k if target.k is not None else max_colors)
    if target.k is not None:
        return pipeline.quantize_pixels(pixels, target.k, options, counting)
    mse = target.mse(pixel_format)
    goal = fitting.ErrorTarget(mse, MAX_COLORS if max_colors is None else max_colors)
    image = pipeline.quantize_pixels(pixels, goal, options, counting)
    if max_colors is None and image.report is not None and image.report.mse > mse:
        raise InputError(
            f"{MAX_COLORS} colours reach an error of {image.report.mse:.4g} and a PSNR of "
            f"{image.report.psnr:.2f} dB in this picture; {mse:.4g} was asked for"
        )
    return image


def choose_k(
    picture: Picture,
    *,
    psnr: float | None = None,
    max_error: float | None = None,
    max_colors: int = MAX_COLORS,
    effort: str | None = None,
    pixel_format: str | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
) -> int:
    """Return the fewest colours with which `quantize` reaches a PSNR or an error.

    A curve of error against k, made in one pass, says where about that is; two or three searches
    there settle it. Use `quantize` with `psnr` or `max_error` to have the image at the same cost.

    Args:
        picture: see `quantize`, also for the other arguments.
        psnr: least PSNR in dB.
        max_error: largest mean squared error per pixel, summed over the channels.
        max_colors: colours at most, 1 to 65,536.
        effort: see `quantize`.
        pixel_format: see `quantize`.
        page: see `quantize`.
        n_threads: see `quantize`.

    Raises:
        InputError: neither or both of `psnr` and `max_error`, or `max_colors` do not reach it.
        TypeError: an argument of the wrong type.

    Cost: less than three times that of `quantize` at the k returned.
    """
    target = _target(None, psnr, max_error, max_colors, None)
    if target.k is not None:
        raise InputError("neither psnr nor max_error is given; choose_k needs one")
    image = quantize(
        picture,
        psnr=psnr,
        max_error=max_error,
        max_colors=max_colors,
        effort=effort,
        pixel_format=pixel_format,
        page=page,
        n_threads=n_threads,
    )
    report = image.report
    if report is not None and report.mse > target.mse(image.pixel_format):
        raise InputError(
            f"{max_colors} colours reach an error of {report.mse:.4g} and a PSNR of "
            f"{report.psnr:.2f} dB in this picture, not what was asked for"
        )
    return image.n_colors


def fit_palette(
    histogram: ColorHistogram,
    k: int = 64,
    *,
    effort: str = "balanced",
    space: str = "rgb",
    channel_weights: Sequence[float] | None = None,
    fixed: ArrayLike | str | Sequence[str] | None = None,
    posterize: int | None = None,
    snap: bool = False,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """Find one palette for all the pictures of a histogram.

    It is what `quantize` finds for a picture with this histogram. `quantize` with `palette` maps
    pictures to it.

    Args:
        histogram: see `kmq.ColorHistogram`.
        k: colours of the palette, 1 to 65,536.
        effort: see `quantize`, also for the other arguments.
        space: see `quantize`.
        channel_weights: see `quantize`.
        fixed: see `quantize`; a histogram has no "background".
        posterize: see `quantize`.
        snap: see `quantize`.
        seed: see `quantize`.
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
        raise TypeError(f"histogram is {type(histogram).__name__}; it must be a kmq.ColorHistogram")
    k = checks.whole_number(k, "k", 1, MAX_COLORS)
    threads = resolve_threads(n_threads)
    pixel_format = histogram.pixel_format
    options = fitting.KMeansOptions(
        effort=checks.one_of(effort, "effort", EFFORTS),
        seed=checks.whole_number(seed, "seed", 0, checks.MAX_SEED),
        init=None,
        n_init=1,
        max_iter=None,
        tol=None,
        n_threads=threads,
        progress=progress,
        space=_checked_space(space, pixel_format),
        channel_weights=_checked_channel_weights(channel_weights, pixel_format),
        fixed=None if fixed is None else _fixed(fixed, pixel_format, None),
        step=_step(posterize, pixel_format),
        snap=_flag(snap, "snap"),
    )
    _check_room(options.fixed, k)
    return pipeline.fit_palette(histogram, k, options)


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


def error_curve(
    picture: Picture,
    max_colors: int = 256,
    *,
    pixel_format: str | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
) -> ErrorCurve:
    """Return the error for k = 1, 2, 3 … and on in steps of a quarter, in one incremental pass.

    Clusters are cut in two and settled as k grows, so the whole curve costs about as much as one
    `quantize` at its end. Each error is mostly 0 to 6 % above what `quantize` finds for that k;
    where alpha is smooth and noisy it was up to 16 %.

    Args:
        picture: see `quantize`.
        max_colors: where the curve ends, 1 to 65,536; sooner if the picture has fewer colours.
        pixel_format: see `quantize`.
        page: see `quantize`.
        n_threads: see `quantize`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.
    """
    max_colors = checks.whole_number(max_colors, "max_colors", 1, MAX_COLORS)
    threads = resolve_threads(n_threads)
    pixels = read_picture(picture, pixel_format, page, threads)
    curve = list(pipeline.error_curve(pixels, max_colors, threads))
    ks, errors = np.array([k for k, _ in curve]), np.array([error for _, error in curve])
    decibels = np.array([psnr_of(error, pixels.pixel_format) for error in errors])
    return ErrorCurve(ks, errors, decibels, _knee(ks, np.sqrt(errors)))


def _knee(ks: Array, errors: Array) -> int:
    across = (ks - ks[0]) / max(1, ks[-1] - ks[0])
    down = (errors - errors[-1]) / max(errors[0] - errors[-1], 1e-300)
    return int(ks[np.argmin(across + down)])


@dataclass(frozen=True)
class _Target:
    """What a caller wants: `k` colours, or a PSNR, or an error."""

    k: int | None = None
    psnr: float | None = None
    max_error: float | None = None

    def mse(self, pixel_format: PixelFormat) -> float:
        """Return the largest mean squared error per pixel that will do."""
        if self.max_error is not None:
            return self.max_error
        assert self.psnr is not None  # noqa: S101  # one of the three is given
        return mse_at(self.psnr, pixel_format)


def _target(
    k: int | None,
    psnr: float | None,
    max_error: float | None,
    max_colors: int | None,
    init: str | ArrayLike | None,
) -> _Target:
    """Check which of the three is given, and that the others are not."""
    given = [name for name, value in (("k", k), ("psnr", psnr), ("max_error", max_error))
             if value is not None]  # fmt: skip
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given; one of them says how many colours")
    if max_colors is not None:
        checks.whole_number(max_colors, "max_colors", 1, MAX_COLORS)
    if psnr is None and max_error is None:
        if k is None and init is not None and not isinstance(init, str) and max_colors is None:
            k = len(np.atleast_1d(checks.as_array(init, "init")))
        elif k is None:
            k = 64 if max_colors is None else max_colors
        elif max_colors is not None:
            raise InputError("k and max_colors are given; k says how many colours already")
        return _Target(k=checks.whole_number(k, "k", 1, MAX_COLORS))
    if init is not None and not isinstance(init, str):
        raise InputError(f"init gives the number of colours, and {given[0]} asks for another")
    if psnr is not None:
        return _Target(psnr=checks.number(psnr, "psnr", 0))
    return _Target(max_error=checks.number(max_error, "max_error", 0))


def _refuse_beside_palette(palette: object, others: dict[str, object]) -> None:
    given = [name for name, value in others.items() if value is not None]
    if palette is not None and given:
        raise InputError(
            f"palette is given with {', '.join(given)}; a given palette is only mapped to"
        )


def _checked_space(space: str, pixel_format: PixelFormat) -> str:
    checks.one_of(space, "space", SPACES)
    if pixel_format is PixelFormat.CMYK32 and space != "rgb":
        raise InputError(f"space is {space!r}; CMYK pictures have 'rgb' alone")
    return space


def _checked_channel_weights(
    weights: Sequence[float] | None, pixel_format: PixelFormat
) -> tuple[float, ...] | None:
    if weights is None:
        return None
    factors = checks.as_array(weights, "channel_weights")
    if factors.dtype.kind not in "iuf":
        raise TypeError(f"channel_weights have dtype {factors.dtype}; they must be numbers")
    if factors.shape != (pixel_format.channels,):
        raise InputError(
            f"channel_weights have shape {factors.shape}; pixel format {pixel_format.label} "
            f"needs ({pixel_format.channels},)"
        )
    if not (factors.min() > 0 and factors.max() <= checks.MOST_WEIGHT):
        raise InputError(
            f"channel_weights have a value that is not above 0 and at most {checks.MOST_WEIGHT:g}"
        )
    return tuple(factors.tolist())


def _flag(value: object, name: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {type(value).__name__}; it must be True or False")
    return bool(value)


def _given_palette(
    palette: ArrayLike | str | os.PathLike[str], pixels: Pixels
) -> tuple[Pixels, Array]:
    """Return the palette to map to, and the pixels in its pixel format.

    That of a file becomes the pixels', or else they become the least that holds both.
    """
    if not isinstance(palette, str | os.PathLike):
        return pixels, _colors(palette, "palette", pixels.pixel_format)
    from kmq.palettes import load_palette

    colors, found = load_palette(palette)
    wanted = pixels.pixel_format
    try:
        return pixels, formats.converted(colors, found, wanted)
    except InputError:
        wanted = formats.common_format(found, wanted)
    flat = pixels.samples.reshape(-1, pixels.pixel_format.channels)
    samples = formats.converted(flat, pixels.pixel_format, wanted)
    metadata = pixels.metadata
    if wanted.channels - wanted.has_alpha != flat.shape[1] - pixels.pixel_format.has_alpha:
        metadata = replace(metadata, icc_profile=None)  # which was for grey
    shape = (*pixels.samples.shape[:2], wanted.channels)
    pixels = Pixels(samples.reshape(shape), wanted, metadata)
    return pixels, formats.converted(colors, found, wanted)


def _fixed(
    fixed: ArrayLike | str | Sequence[str], pixel_format: PixelFormat, samples: Array | None
) -> Array:
    """Return fixed colours as samples; `samples` are those of the picture, if there is one."""
    items = [fixed] if isinstance(fixed, str) else fixed
    if not isinstance(items, list | tuple) or not any(isinstance(item, str) for item in items):
        return _colors(items, "fixed", pixel_format)
    rows = [
        _named(item, pixel_format, samples)
        if isinstance(item, str)
        else _colors([item], "fixed", pixel_format)
        for item in items
    ]
    return np.concatenate(rows)


def _named(name: str, pixel_format: PixelFormat, samples: Array | None) -> Array:
    """Return the colour (1, channels) of a name."""
    if name == "background":
        if samples is None:
            raise InputError("fixed names the background, which a histogram does not know")
        return formats.background(samples)
    from kmq.stages.palette_files import named_color

    try:
        color, found = named_color(name)
        return formats.converted(color, found, pixel_format)
    except InputError as error:
        raise InputError(f"fixed names {name!r}: {error}") from error


def _colors(colors: ArrayLike, name: str, pixel_format: PixelFormat) -> Array:
    """Return colours as (n, channels) samples of the picture's type."""
    given = checks.as_array(colors, name)
    if given.size and given.dtype.kind not in "iub":
        raise TypeError(f"{name} has dtype {given.dtype}; colours are whole numbers")
    if given.ndim != 2 or given.shape[1] != pixel_format.channels or not len(given):
        raise InputError(
            f"{name} has shape {given.shape}; pixel format {pixel_format.label} "
            f"needs (colours, {pixel_format.channels})"
        )
    if len(given) > MAX_COLORS:
        raise InputError(f"{name} has {len(given)} colours; it holds 1 to {MAX_COLORS}")
    if given.min() < 0 or given.max() > pixel_format.max_value:
        raise InputError(
            f"{name} goes from {given.min()} to {given.max()}; pixel format "
            f"{pixel_format.label} goes from 0 to {pixel_format.max_value}"
        )
    return np.ascontiguousarray(given, dtype=pixel_format.dtype)


def _check_room(fixed: Array | None, most: int | None) -> None:
    """Raise InputError if the fixed colours are more than the palette is to have."""
    n_fixed = 0 if fixed is None else len(np.unique(fixed, axis=0))
    if most is not None and n_fixed > most:
        raise InputError(f"fixed has {n_fixed} colours; the palette is to have at most {most}")


def _step(posterize: int | None, pixel_format: PixelFormat) -> int:
    if posterize is None:
        return 1
    bits = checks.whole_number(posterize, "posterize", 1, pixel_format.depth)
    return 1 << (pixel_format.depth - bits)


def _importance(
    importance: ArrayLike | None, mask: ArrayLike | None, pixels: Pixels
) -> Array | None:
    """Return how much each pixel counts, (height, width) float64, or None if all count 1."""
    if importance is None and mask is None:
        return None
    shape = pixels.samples.shape[:2]
    counting = np.ones(shape)
    if importance is not None:
        given = checks.as_array(importance, "importance")
        if given.dtype.kind not in "biuf":
            raise TypeError(f"importance has dtype {given.dtype}; it must be numbers")
        if given.shape != shape:
            raise InputError(f"importance has shape {given.shape}; the picture has {shape}")
        if not (given.min() >= 0 and given.max() <= checks.MOST_WEIGHT):
            raise InputError(
                f"importance has a value that is not 0 to {checks.MOST_WEIGHT:g}; how much pixels "
                "count is relative"
            )
        counting = given.astype(np.float64)
    if mask is not None:
        kept = checks.as_array(mask, "mask")
        if kept.dtype != np.bool_:
            raise TypeError(f"mask has dtype {kept.dtype}; it must be bool")
        if kept.shape != shape:
            raise InputError(f"mask has shape {kept.shape}; the picture has {shape}")
        counting = counting * kept
    if not counting.any():
        raise InputError("importance and mask leave no pixel that counts")
    return counting


def read_picture(
    picture: Picture | Pixels,
    pixel_format: str | PixelFormat | None,
    page: int | None,
    n_threads: int,
) -> Pixels:
    """Return the picture's pixels; `.kmq` files are read by kmq, everything else by the stage.

    `Pixels` that were read before are taken as they are.
    """
    if isinstance(picture, Pixels):
        return picture
    if isinstance(picture, str | os.PathLike):
        with open(picture, "rb") as file:
            is_kmq = file.read(len(SIGNATURE)) == SIGNATURE
        if is_kmq:
            from kmq.files import read

            picture = read(picture, n_threads=n_threads)
    if not isinstance(picture, IndexedImage):
        return read_pixels(picture, pixel_format, page)
    if page not in (None, 1):
        raise InputError(f"page is {page}; the picture is the only one")
    if pixel_format is not None:
        raise InputError("pixel_format is given with a picture that states its own")
    return Pixels(picture.palette[picture.indices], picture.pixel_format, picture.metadata)
