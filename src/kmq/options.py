"""What `kmq.quantize` and the doors beside it take, checked as far as that goes without a picture.

None means that an option is not given; `Options.checked` is the one place that knows what holds
then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from kmq import checks
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.choices import DITHER_METHODS, EFFORTS, DitherMethod, Effort, Progress
from kmq.model.file_info import Limits
from kmq.model.image import MAX_COLORS, IndexedImage, Pixels
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
from kmq.pipeline.fitting import ErrorTarget, KMeansOptions
from kmq.stages.mapping.metrics import mse_at
from kmq.stages.palette import clustering
from kmq.stages.palette.clustering import Array, Init
from kmq.stages.palette.files import Entries
from kmq.stages.palette.spaces import SPACES, SpaceName
from kmq.stages.pictures.reading import checked_format, checked_page
from kmq.threads import resolve_threads

GivenColors = Array | list[Any] | tuple[Any, ...] | IndexedImage
"""Samples (n, channels), names of colours, both in one list, or an image for its palette."""

_MOST_BITS = 16


class QuantizeOptions(TypedDict, total=False):
    """Options of `kmq.quantize`, which describes them; `k`, `effort`, threads and limits apart."""

    psnr: float | None
    max_mse: float | None
    max_colors: int | None
    space: SpaceName | None
    channel_weights: Sequence[float] | None
    weights: ArrayLike | None
    fixed: GivenColors | str | None
    palette: GivenColors | str | os.PathLike[str] | None
    posterize: int | None
    snap: bool | None
    rate: float | None
    dither: float | None
    dither_method: DitherMethod | None
    pixel_format: PixelFormatLabel | PixelFormat | None
    page: int | None
    seed: int | None
    init: Init | GivenColors | None
    n_init: int | None
    max_iter: int | None
    tol: float | None
    progress: Progress | None


class _Named(NamedTuple):
    """Colours with a pixel format of their own, and how a message begins that is about them."""

    title: str
    entries: Entries


@dataclass(frozen=True)
class Colors:
    """Colours that a caller gave.

    Attributes:
        name: the argument they were given as.
        pieces: (n, channels) samples of the picture's pixel format, colours that have one of their
            own, and None for the picture's background.
    """

    name: str
    pieces: tuple[Array | _Named | None, ...]

    @classmethod
    def checked(cls, colors: Any, name: str) -> Colors:
        """Take samples, names or an image; raise InputError or TypeError for what is none."""
        if isinstance(colors, IndexedImage):
            return cls(name, (_Named(name, Entries(colors.palette, colors.pixel_format)),))
        if isinstance(colors, str):
            return cls(name, (_named(colors, name),))
        if not _has_names(colors):
            return cls(name, (_rows(colors, name),))
        return cls(
            name,
            tuple(_named(c, name) if isinstance(c, str) else _rows([c], name) for c in colors),
        )

    @property
    def number(self) -> int:
        """How many there are, repetitions included."""
        return sum(1 if piece is None else _n_colors(piece) for piece in self.pieces)

    def entries(self) -> Entries | None:
        """Return them in the least pixel format that holds all, if each has one of its own."""
        own = [piece.entries for piece in self.pieces if isinstance(piece, _Named)]
        if len(own) < len(self.pieces):
            return None
        common = own[0].pixel_format
        for entries in own:
            common = formats.common_format(common, entries.pixel_format)
        rows = [formats.converted(*entries, common) for entries in own]
        return Entries(np.concatenate(rows), common)

    def alone(self) -> Entries:
        """Return them in the least pixel format that holds all; samples are what their type says.

        Raises:
            InputError: they do not fit that, or have no pixel format in common.
        """
        pieces = []
        for piece in self.pieces:
            if isinstance(piece, _Named):
                pieces.append(piece)
            else:
                own = PixelFormat.RGB24 if piece is None else formats.of_array(piece)
                pieces.append(_Named(self.name, Entries(self._samples_of(piece, own, None), own)))
        entries = Colors(self.name, tuple(pieces)).entries()
        assert entries is not None  # noqa: S101  # each has a format now
        return entries

    def samples(self, pixel_format: PixelFormat, picture: Array | None) -> Array:
        """Return (n, channels) samples; `picture` has those of the picture, if there is one."""
        rows = [self._samples_of(piece, pixel_format, picture) for piece in self.pieces]
        return np.concatenate(rows)

    def _samples_of(
        self, piece: Array | _Named | None, pixel_format: PixelFormat, picture: Array | None
    ) -> Array:
        if piece is None:
            if picture is None:
                raise InputError(f"{self.name} names the background, which only a picture has")
            return formats.background(picture)
        if isinstance(piece, _Named):
            try:
                return formats.converted(*piece.entries, pixel_format)
            except InputError as error:
                raise InputError(f"{piece.title}: {error}") from error
        if piece.shape[1] != pixel_format.channels:
            raise InputError(
                f"{self.name} has shape {piece.shape}; pixel format {pixel_format.label} "
                f"needs (colours, {pixel_format.channels})"
            )
        if piece.min() < 0 or piece.max() > pixel_format.max_value:
            raise InputError(
                f"{self.name} goes from {piece.min()} to {piece.max()}; pixel format "
                f"{pixel_format.label} goes from 0 to {pixel_format.max_value}"
            )
        return np.ascontiguousarray(piece, dtype=pixel_format.dtype)


def _has_names(colors: Any) -> bool:
    """Whether some of the colours in a list, tuple or array are given by name."""
    if isinstance(colors, np.ndarray):
        return colors.dtype.kind == "U" and colors.ndim == 1
    return isinstance(colors, list | tuple) and any(isinstance(color, str) for color in colors)


def _n_colors(piece: Array | _Named) -> int:
    return len(piece.entries.colors if isinstance(piece, _Named) else piece)


def _named(color: str, name: str) -> _Named | None:
    """Return the colour of a name, or None for the picture's background."""
    if color == "background":
        return None
    from kmq.stages.palette.files import named_color

    title = f"{name} names {color!r}"
    try:
        return _Named(title, named_color(color))
    except InputError as error:
        raise InputError(f"{title}: {error}") from error


def _rows(colors: Any, name: str) -> Array:
    """Return whole numbers (n, channels), whose range the picture's pixel format says."""
    rows = checks.as_array(colors, name)
    if rows.size and rows.dtype.kind not in "iub":
        raise TypeError(f"{name} has dtype {rows.dtype}; colours are whole numbers")
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= 4 or not 1 <= len(rows) <= MAX_COLORS:
        raise InputError(
            f"{name} has shape {rows.shape}; it must be 1 to {MAX_COLORS} colours, of 1 to 4 "
            "channels"
        )
    return rows


@dataclass(frozen=True)
class Target:
    """What decides the number of colours: `k`, or a PSNR or an error and the most colours."""

    k: int | None = None
    psnr: float | None = None
    max_mse: float | None = None
    max_colors: int | None = None

    @classmethod
    def checked(
        cls, k: Any, psnr: Any, max_mse: Any, max_colors: Any, init: Colors | str | Array | None
    ) -> Target:
        """Check that one of them is given, or none, and that `init` agrees."""
        given = [name for name, value in (("k", k), ("psnr", psnr), ("max_mse", max_mse))
                 if value is not None]  # fmt: skip
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} are given; one of them says how many colours")
        if max_colors is not None:
            max_colors = checks.whole_number(max_colors, "max_colors", 1, MAX_COLORS)
        if psnr is None and max_mse is None:
            if k is not None and max_colors is not None:
                raise InputError("k and max_colors are given; k says how many colours already")
            if k is None:
                k = max_colors if max_colors is not None else _number_of(init)
            return cls(k=checks.whole_number(64 if k is None else k, "k", 1, MAX_COLORS))
        if _number_of(init) is not None:
            raise InputError(f"init gives the number of colours, and {given[0]} asks for another")
        if psnr is not None:
            return cls(psnr=checks.number(psnr, "psnr", 0), max_colors=max_colors)
        return cls(max_mse=checks.number(max_mse, "max_mse", 0), max_colors=max_colors)

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

    def goal(self, pixel_format: PixelFormat) -> int | ErrorTarget:
        """Return it as the pipeline takes it."""
        if self.k is not None:
            return self.k
        return ErrorTarget(self.mse(pixel_format), self.most)


def _number_of(init: Colors | str | Array | None) -> int | None:
    """Return how many colours a start gives, None for the name of a method or no start."""
    if init is None or isinstance(init, str):
        return None
    return init.number if isinstance(init, Colors) else len(init)


@dataclass(frozen=True)
class Options:
    """Arguments of `kmq.quantize`, checked but for what depends on the picture.

    Attributes:
        target: how many colours.
        palette: colours to map to instead.
        init: start of plain k-means, if one is given: a method, or (k, channels) colours.
        fixed: colours that must be in the palette.
        posterize: bits of a channel.
        channel_weights: (channels,) factors.
        weights: (height, width) numbers or bool.
        pixel_format: what the picture must be.
        page: which of a file's pictures.
        limits: how large a file is read.
        plain: the rest, which no picture changes.
    """

    target: Target
    palette: Colors | Entries | None
    init: str | Array | Colors | None
    fixed: Colors | None
    posterize: int | None
    channel_weights: Array | None
    weights: Array | None
    pixel_format: PixelFormat | None
    page: int | None
    limits: Limits
    plain: KMeansOptions

    @classmethod
    def checked(
        cls,
        k: int | None = None,
        effort: Effort | None = None,
        n_threads: int | None = None,
        limits: Limits | None = None,
        **options: Unpack[QuantizeOptions],
    ) -> Options:
        """Check what `kmq.quantize` was given; raise InputError or TypeError."""
        n_init = checks.whole_number(checks.given(options.get("n_init"), 1), "n_init", 1, 10_000)
        snap = checks.flag(checks.given(options.get("snap"), False), "snap")
        _refuse_beside_palette(
            {"k": k, "effort": effort, **options}
            | {"snap": snap or None, "n_init": n_init if n_init > 1 else None}
        )
        init = _checked_init(options.get("init"))
        if init is None and n_init > 1:
            init = clustering.INITS[0]
        if init is not None and effort is not None:
            raise InputError("effort and init are both given; a given start is not searched from")
        if init is not None and options.get("fixed") is not None:
            raise InputError("init and fixed are both given; fixed colours need a search")
        target = Target.checked(
            k, options.get("psnr"), options.get("max_mse"), options.get("max_colors"), init
        )
        plain = KMeansOptions(
            effort=checks.one_of(checks.given(effort, "balanced"), "effort", EFFORTS),
            seed=checks.whole_number(
                checks.given(options.get("seed"), 0), "seed", 0, checks.MAX_SEED + 1 - n_init
            ),
            init=None,
            n_init=n_init,
            max_iter=_optional(options.get("max_iter"), "max_iter", 1_000_000),
            tol=None if (tol := options.get("tol")) is None else checks.tolerance(tol),
            n_threads=resolve_threads(n_threads),
            progress=checks.progress(options.get("progress")),
            space=checks.one_of(checks.given(options.get("space"), "rgb"), "space", SPACES),
            snap=snap,
            rate=checks.rate(checks.given(options.get("rate"), 0.0)),
            dither=checks.fraction(checks.given(options.get("dither"), 0.0), "dither"),
            dither_method=checks.one_of(
                checks.given(options.get("dither_method"), "diffusion"),
                "dither_method",
                DITHER_METHODS,
            ),
        )
        _refuse_targets(plain, target)
        fixed, palette = options.get("fixed"), options.get("palette")
        return cls(
            target=target,
            palette=None if palette is None else _checked_palette(palette),
            init=init,
            fixed=None if fixed is None else Colors.checked(fixed, "fixed"),
            posterize=_optional(options.get("posterize"), "posterize", _MOST_BITS),
            channel_weights=_checked_channel_weights(options.get("channel_weights")),
            weights=_checked_weights(options.get("weights")),
            pixel_format=checked_format(options.get("pixel_format")),
            page=checked_page(options.get("page")),
            limits=Limits.checked(limits),
            plain=plain,
        )

    @property
    def n_started(self) -> int | None:
        """How many colours the start gives, if it gives colours."""
        return _number_of(self.init)

    def of(self, pixel_format: PixelFormat, picture: Array | None = None) -> KMeansOptions:
        """Return how a palette is fitted in that pixel format; `picture` has its samples."""
        space = self.plain.space
        if pixel_format is PixelFormat.CMYK32 and space != "rgb":
            raise InputError(f"space is {space!r}; CMYK pictures have 'rgb' alone")
        init = self.init
        if isinstance(init, Colors):
            init = init.samples(pixel_format, picture)
        if init is not None:
            init = checks.init_method(
                init, clustering.INITS, self.target.k or 0, pixel_format.channels
            )
        fixed = None if self.fixed is None else self.fixed.samples(pixel_format, picture)
        n_fixed = 0 if fixed is None else len(np.unique(fixed, axis=0))
        if n_fixed > self.target.most:
            raise InputError(
                f"fixed has {n_fixed} colours; the palette is to have at most {self.target.most}"
            )
        return replace(
            self.plain,
            init=init,
            channel_weights=self._weights_of(pixel_format),
            fixed=fixed,
            step=_step(self.posterize, pixel_format),
        )

    def mapped(self, pixels: Pixels) -> tuple[Pixels, Array | None]:
        """Return the colours to map to, if any are given, and the pixels in their pixel format.

        Colours with a pixel format of their own become the pixels', or else both become the least
        that holds both.
        """
        palette = self.palette
        entries = palette.entries() if isinstance(palette, Colors) else palette
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
            raise InputError("weights leave no pixel that counts")
        return self.weights.astype(np.float64)

    def _weights_of(self, pixel_format: PixelFormat) -> tuple[float, ...] | None:
        weights = self.channel_weights
        if weights is None:
            return None
        if len(weights) != pixel_format.channels:
            raise InputError(
                f"channel_weights have shape {weights.shape}; pixel format {pixel_format.label} "
                f"needs ({pixel_format.channels},)"
            )
        return tuple(weights.tolist())


def _optional(value: Any, name: str, most: int) -> int | None:
    return None if value is None else checks.whole_number(value, name, 1, most)


_NOT_BESIDE_PALETTE = (
    *("k", "psnr", "max_mse", "max_colors", "init", "effort", "weights", "fixed"),
    *("posterize", "snap", "max_iter", "tol", "n_init"),
)


def _refuse_beside_palette(given: dict[str, Any]) -> None:
    """Raise InputError for what asks for another palette than the given one."""
    others = [name for name in _NOT_BESIDE_PALETTE if given.get(name) is not None]
    if given.get("palette") is not None and others:
        raise InputError(
            f"palette is given with {', '.join(others)}; a given palette is only mapped to"
        )


def _refuse_targets(plain: KMeansOptions, target: Target) -> None:
    """Raise InputError for a rate or dithering beside what it works against."""
    goal = None if target.k is not None else "psnr" if target.psnr is not None else "max_mse"
    if plain.rate > 0 and goal is not None:
        raise InputError(
            f"rate and {goal} are both given; encode and write choose the rate for a {goal}"
        )
    if plain.dither and goal is not None:
        raise InputError(
            f"dither and {goal} are both given; dithering adds to the error, which is to be small "
            "pixel by pixel"
        )
    if plain.dither and plain.rate > 0:
        raise InputError(
            "dither and rate are both given; one spends bits on a texture, the other saves them"
        )


def _checked_init(init: Any) -> str | Array | Colors | None:
    if init is None:
        return None
    if isinstance(init, str):
        return checks.init_name(init, clustering.INITS)
    if isinstance(init, IndexedImage) or _has_names(init):
        return Colors.checked(init, "init")
    return checks.float_rows(init, "init")


def _checked_palette(palette: Any) -> Colors | Entries:
    if not isinstance(palette, str | os.PathLike):
        return Colors.checked(palette, "palette")
    from kmq.palettes import load_palette

    return load_palette(palette)


def _checked_channel_weights(weights: Any) -> Array | None:
    if weights is None:
        return None
    factors = checks.as_array(weights, "channel_weights")
    if factors.dtype.kind not in "iuf":
        raise TypeError(f"channel_weights have dtype {factors.dtype}; they must be numbers")
    if factors.ndim != 1 or not factors.size:
        raise InputError(f"channel_weights have shape {factors.shape}; they must be (channels,)")
    if not (factors.min() > 0 and factors.max() <= checks.MOST_WEIGHT):
        raise InputError(
            f"channel_weights have a value that is not above 0 and at most {checks.MOST_WEIGHT:g}"
        )
    return factors


def _checked_weights(weights: Any) -> Array | None:
    if weights is None:
        return None
    given = checks.as_array(weights, "weights")
    if given.dtype.kind not in "biuf":
        raise TypeError(f"weights have dtype {given.dtype}; they must be numbers or bool")
    if given.size and not (given.min() >= 0 and given.max() <= checks.MOST_WEIGHT):
        raise InputError(
            f"weights have a value that is not 0 to {checks.MOST_WEIGHT:g}; how much pixels count "
            "is relative"
        )
    return given


def _step(posterize: int | None, pixel_format: PixelFormat) -> int:
    if posterize is None:
        return 1
    bits = checks.whole_number(posterize, "posterize", 1, pixel_format.depth)
    return 1 << (pixel_format.depth - bits)


def _in_common(pixels: Pixels, entries: Entries) -> tuple[Pixels, Array]:
    wanted = pixels.pixel_format
    try:
        return pixels, formats.converted(entries.colors, entries.pixel_format, wanted)
    except InputError:
        wanted = formats.common_format(entries.pixel_format, wanted)
    flat = pixels.samples.reshape(-1, pixels.pixel_format.channels)
    samples = formats.converted(flat, pixels.pixel_format, wanted)
    metadata = pixels.metadata
    if wanted.channels - wanted.has_alpha != flat.shape[1] - pixels.pixel_format.has_alpha:
        metadata = replace(metadata, icc_profile=None)  # which was for grey
    shape = (*pixels.samples.shape[:2], wanted.channels)
    pixels = Pixels(samples.reshape(shape), wanted, metadata)
    return pixels, formats.converted(entries.colors, entries.pixel_format, wanted)
