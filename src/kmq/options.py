"""The options of `kmq.quantize` and its neighbours, checked as far as possible without a picture.

None means that an option is not given; `Options.checked` is the one place that knows what holds
then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kmq import checks
from kmq.colors import Colors
from kmq.contradictions import ERRORS, TARGETS, refuse_contradictions
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.arrays import Array, contiguous
from kmq.model.choices import EFFORTS, Progress
from kmq.model.file_info import Limits, checked_limits
from kmq.model.image import MAX_COLORS, Pixels, QuantizedImage
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline import reading
from kmq.pipeline.fewest import ErrorTarget
from kmq.pipeline.problem import Fitting, Required
from kmq.pipeline.quantizing import Quantizer
from kmq.pipeline.reading import Picture
from kmq.stages.mapping import dithering
from kmq.stages.mapping.metrics import mse_at, psnr
from kmq.stages.palette import clustering, spaces, starting
from kmq.stages.palette.effort import SEARCH_EFFORTS, PlainStart, SearchEffort, Stopping
from kmq.stages.palette.spaces import SpaceName
from kmq.stages.pictures.reading import checked_format, checked_page
from kmq.streams import is_path
from kmq.threads import resolve_threads
from kmq.values import Dither, Fewest, Optimize, Rate, Require, Space, Start, checked_init

_DEFAULT_COLORS = 64


class Target(NamedTuple):
    """What decides the number of colours: `k`, or an error and the most colours."""

    k: int | None = None
    psnr: float | None = None
    max_mse: float | None = None
    max_colors: int | None = None

    @property
    def most(self) -> int:
        """Colours at most."""
        limits = (self.k, self.max_colors, MAX_COLORS)
        return next(limit for limit in limits if limit is not None)

    def mse(self, pixel_format: PixelFormat) -> float:
        """Return the largest mean squared error per pixel that will do."""
        if self.max_mse is not None:
            return self.max_mse
        assert self.psnr is not None  # noqa: S101  # one of the three is given
        return mse_at(self.psnr, pixel_format)

    def refuse_missed(self, mse: float, pixel_format: PixelFormat) -> None:
        """Raise InputError if an error is larger than the one asked for."""
        if self.k is None and mse > self.mse(pixel_format):
            raise InputError(
                f"{self.most} colours reach an error of {mse:.4g} and a PSNR of "
                f"{psnr(mse, pixel_format):.2f} dB; {self.mse(pixel_format):.4g} was asked for"
            )

    def goal(self, pixel_format: PixelFormat) -> int | ErrorTarget:
        """Return it as the pipeline takes it."""
        if self.k is not None:
            return self.k
        return ErrorTarget(self.mse(pixel_format), self.most)


class Options(NamedTuple):
    """Arguments of `kmq.quantize`, checked but for what depends on the picture.

    Attributes:
        target: how many colours.
        palette: colours to map to instead.
        init: start of plain k-means, if one is given: a method, or (k, channels) colours.
        require: what the palette must hold.
        effort: how long to search.
        start: how often and how long plain k-means runs from a start.
        space: where distances are measured, if that is given.
        by_error: whether the caller asks for a small squared error, not for looks.
        channel_weights: factors of the channels.
        weights: (height, width) numbers or bool.
        pixel_format: what the picture must be.
        page: which of a file's pictures.
        limits: how large a file is read.
        lam: λ of the mapping, or 0.
        optimize: whether indices and palette are chosen as they are seen.
        is_for_looks: whether they are where colours are compared as the eye sees them.
        dither: how pixels are dithered, if they are.
        n_threads: threads to use.
        progress: is told how far the work is.
        context_share: how much contexts say about what pixels cost in the file, for λ.
    """

    target: Target
    palette: Colors | Palette | None
    init: str | Array | Colors | None
    require: Require
    effort: str
    start: Start
    space: SpaceName | None
    by_error: bool
    channel_weights: tuple[float, ...] | None
    weights: Array | None
    pixel_format: PixelFormat | None
    page: int | None
    limits: Limits
    lam: float
    optimize: bool
    is_for_looks: bool
    dither: dithering.Dither | None
    n_threads: int
    progress: Progress | None
    context_share: float = 1.0

    @classmethod
    def checked(
        cls,
        *,
        k: Any = None,
        effort: Any = None,
        space: Any = None,
        weights: Any = None,
        palette: Any = None,
        require: Any = None,
        start: Any = None,
        mapping: Any = None,
        pixel_format: Any = None,
        page: Any = None,
        n_threads: Any = None,
        limits: Any = None,
        progress: Any = None,
        more: Mapping[str, Any] | None = None,
    ) -> Options:
        """Check what `kmq.quantize` was given; raise InputError or TypeError.

        `more` are options that a file has besides, for what contradicts them.
        """
        measured, required = _checked_space(space), _checked_require(require)
        started, mapped = _checked_start(start), _checked_mapping(mapping)
        init = None if started is None else checked_init(started.init)
        more = more or {}
        given = {"effort": effort, "weights": weights, "palette": palette, "start": started, **more}
        given |= {"fixed": required.fixed, "snap": required.snap or None}
        given |= {"posterize": required.posterize}
        refuse_contradictions(_names(given, k, init, mapped))
        effort = checks.one_of(checks.given(effort, "balanced"), "effort", EFFORTS)
        n_threads, progress = resolve_threads(n_threads), checks.progress(progress)
        has_error = isinstance(k, Fewest) or any(more.get(name) is not None for name in ERRORS)
        by_error = has_error or init is not None or measured.channel_weights is not None
        return cls(
            space=measured.name,
            by_error=by_error,
            target=_checked_target(k, init, more),
            palette=None if palette is None else _checked_palette(palette),
            init=init,
            require=required,
            effort=effort,
            start=started or Start(),
            channel_weights=measured.channel_weights,  # type: ignore[arg-type]  # a tuple by now
            weights=_checked_weights(weights),
            pixel_format=checked_format(pixel_format),
            page=checked_page(page),
            limits=checked_limits(limits),
            lam=mapped.lam or 0.0 if isinstance(mapped, Rate | Optimize) else 0.0,
            optimize=isinstance(mapped, Optimize),
            is_for_looks=effort == "best" and mapping is None,
            dither=_dithering(mapped) if isinstance(mapped, Dither) else None,
            n_threads=n_threads,
            progress=progress,
        )

    def quantized(self, picture: Picture | Pixels) -> QuantizedImage:
        """Quantize a picture; raise InputError where a target is missed."""
        quantizer, entries = self.quantizer(picture)
        pixel_format = quantizer.pixels.pixel_format
        colors = self.target.goal(pixel_format) if entries is None else entries
        optimize = self.optimize or (self.is_for_looks and self._space_of(pixel_format) == "eye")
        image = quantizer.quantized(colors, lam=self.lam, dither=self.dither, optimize=optimize)
        if entries is None and self.target.max_colors is None:
            self.target.refuse_missed(image.report.mse, pixel_format)
        return image

    def quantizer(self, picture: Picture | Pixels) -> tuple[Quantizer, Array | None]:
        """Read a picture; return what quantizes it, and the colours to map to if they are given."""
        pixels = reading.read_picture(
            picture, self.pixel_format, self.page, self.limits, self.n_threads
        )
        pixels, entries = self.mapped(pixels)
        how = self.fitting(pixels.pixel_format, pixels.samples)
        return Quantizer(pixels, how, self.counting(pixels)), entries

    def fitting(self, pixel_format: PixelFormat, picture: Array | None = None) -> Fitting:
        """Return how a palette is fitted in that pixel format; `picture` has its samples."""
        search = self._search(pixel_format, picture)
        required = self._required(pixel_format, picture)
        name, weights = self._space_of(pixel_format), self._weights_of(pixel_format)
        space = spaces.space_of(name, pixel_format, weights)
        return Fitting(space, required, search, self.n_threads, self.progress, self.context_share)

    def _search(
        self, pixel_format: PixelFormat, picture: Array | None
    ) -> SearchEffort | PlainStart:
        init = self.init
        if init is None:
            return SEARCH_EFFORTS[self.effort]
        if isinstance(init, Colors):
            init = init.samples(pixel_format, picture)
        init = checks.init_method(init, starting.INITS, self.target.k or 0, pixel_format.channels)
        seed, n_init = checks.given(self.start.seed, 0), checks.given(self.start.n_init, 1)
        stopping = Stopping(
            checks.given(self.start.max_iter, clustering.DEFAULT_ROUNDS),
            checks.given(self.start.tol, clustering.DEFAULT_TOLERANCE),
        )
        return PlainStart(init, range(seed, seed + n_init), stopping)

    def _required(self, pixel_format: PixelFormat, picture: Array | None) -> Required:
        step, snap = _step(self.require.posterize, pixel_format), bool(self.require.snap)
        if self.require.fixed is None:
            return Required(None, step, snap)
        fixed = Colors.checked(self.require.fixed, "fixed").samples(pixel_format, picture)
        n_fixed = len(np.unique(fixed, axis=0))
        if n_fixed > self.target.most:
            raise InputError(
                f"fixed has {n_fixed} colours; the palette may have at most {self.target.most}"
            )
        return Required(fixed, step, snap)

    def mapped(self, pixels: Pixels) -> tuple[Pixels, Array | None]:
        """Return the colours to map to, if any are given, and the pixels in their pixel format.

        Colours with a pixel format of their own become the pixels', or else both become the least
        that holds both.
        """
        palette = self.palette
        entries = palette.palette() if isinstance(palette, Colors) else palette
        if entries is not None:
            return _in_common(pixels, entries)
        if isinstance(palette, Colors):
            return pixels, palette.samples(pixels.pixel_format, pixels.samples)
        return pixels, None

    def counting(self, pixels: Pixels) -> Array | None:
        """Return how much each pixel counts, (height, width) float64, or None if all count 1."""
        if self.weights is None:
            return None
        shape = pixels.samples.shape[:2]
        if self.weights.shape != shape:
            raise InputError(f"weights have shape {self.weights.shape}; the picture has {shape}")
        if not self.weights.any():
            raise InputError("weights are 0 for every pixel; at least one must count")
        return contiguous(self.weights, np.float64)

    def _space_of(self, pixel_format: PixelFormat) -> SpaceName:
        """Return the space that is given, or else the one for the target: error or looks."""
        is_cmyk = pixel_format is PixelFormat.CMYK32
        space = self.space or ("rgb" if self.by_error or is_cmyk else "eye")
        if is_cmyk and space != "rgb":
            raise InputError(f"space is {space!r}; CMYK pictures need 'rgb'")
        return space

    def _weights_of(self, pixel_format: PixelFormat) -> tuple[float, ...] | None:
        weights = self.channel_weights
        if weights is None:
            return None
        if len(weights) != pixel_format.channels:
            raise InputError(
                f"channel_weights have shape ({len(weights)},); pixel format {pixel_format.label} "
                f"needs ({pixel_format.channels},)"
            )
        return weights


def _names(
    given: Mapping[str, Any],
    k: Any,
    init: Colors | str | Array | None,
    mapped: Dither | Rate | Optimize | None,
) -> dict[str, str]:
    """Return the words of `contradictions.CONTRADICTIONS` that hold, and how Python writes each."""
    names = {word: word for word, value in given.items() if value is not None}
    if k is not None:
        names |= {"fewest": "k=Fewest"} if isinstance(k, Fewest) else {"k": "k"}
    if _number_of(init) is not None:
        names["init"] = "start"
    for kind in (Dither, Rate, Optimize):
        if isinstance(mapped, kind):
            names[kind.__name__.lower()] = f"mapping={kind.__name__}"
    return names


def _checked_target(k: Any, init: Colors | str | Array | None, more: Mapping[str, Any]) -> Target:
    """Return the number of colours; a file of some size or quality sets a limit."""
    most = checks.optional(more.get("max_colors"), "max_colors", MAX_COLORS)
    if isinstance(k, Fewest):
        return Target(psnr=k.psnr, max_mse=k.max_mse, max_colors=k.max_colors)
    if k is None:
        k = _number_of(init)
    if k is None and any(more.get(name) is not None for name in TARGETS):
        return Target(max_colors=most)
    k = checks.given(k, checks.given(most, _DEFAULT_COLORS))
    return Target(k=checks.whole_number(k, "k", 1, MAX_COLORS))


def _number_of(init: Colors | str | Array | None) -> int | None:
    """Return how many colours a start gives, None for the name of a method or no start."""
    if init is None or isinstance(init, str):
        return None
    return init.number if isinstance(init, Colors) else len(init)


def _checked_space(space: Any) -> Space:
    return space if isinstance(space, Space) else Space(space)


def _checked_require(require: Any) -> Require:
    return require if isinstance(require, Require) else Require(fixed=require)


def _checked_start(start: Any) -> Start | None:
    if start is None or isinstance(start, Start):
        return start
    if isinstance(start, int | float):
        raise TypeError(
            f"start is {type(start).__name__}; it must be a kmq.Start, the name of a method, or "
            "colours; a seed is written kmq.Start(seed=...)"
        )
    return Start(start)


_MAPPINGS: dict[str, Dither | Optimize | None] = {
    "nearest": None,
    "dither": Dither(),
    "ordered": Dither(method="ordered"),
    "optimized": Optimize(),
}


def _checked_mapping(mapping: Any) -> Dither | Rate | Optimize | None:
    if isinstance(mapping, Optimize):
        return mapping
    if isinstance(mapping, Dither):
        return mapping if mapping.strength else None
    if isinstance(mapping, Rate):
        return mapping if mapping.lam else None
    if mapping is None:
        return None
    if not isinstance(mapping, str):
        raise TypeError(
            f"mapping is {type(mapping).__name__}; it must be "
            f"{checks.either(_MAPPINGS, 'a kmq.Dither', 'a kmq.Optimize', 'a kmq.Rate')}"
        )
    return _MAPPINGS[checks.one_of(mapping, "mapping", tuple(_MAPPINGS))]


def _dithering(dither: Dither) -> dithering.Dither:
    assert dither.strength is not None  # noqa: S101  # it is filled in
    assert dither.method is not None  # noqa: S101
    return dithering.Dither(dither.method, dither.strength)


def _checked_palette(palette: Any) -> Colors | Palette:
    if not is_path(palette):
        return Colors.checked(palette, "palette")
    return reading.read_palette(palette)


def _checked_weights(weights: Any) -> Array | None:
    if weights is None:
        return None
    given = checks.as_array(weights, "weights")
    if given.dtype.kind not in "biuf":
        raise TypeError(f"weights have dtype {given.dtype}; they must be numbers or bool")
    if given.size and not (given.min() >= 0 and given.max() <= checks.MAX_WEIGHT):
        raise InputError(
            f"weights have a value that is not 0 to {checks.MAX_WEIGHT:g}; how much pixels count "
            "is relative"
        )
    return given


def _step(posterize: int | None, pixel_format: PixelFormat) -> int:
    if posterize is None:
        return 1
    bits = checks.whole_number(posterize, "posterize", 1, pixel_format.depth)
    return 1 << (pixel_format.depth - bits)


def _in_common(pixels: Pixels, palette: Palette) -> tuple[Pixels, Array]:
    wanted = pixels.pixel_format
    try:
        return pixels, formats.converted(palette.colors, palette.pixel_format, wanted)
    except InputError:
        wanted = formats.common_format(palette.pixel_format, wanted)
    colors = formats.converted(palette.colors, palette.pixel_format, wanted)
    return reading.in_format(pixels, wanted), colors
