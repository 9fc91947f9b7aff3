"""Options that belong together, each group one small value that never changes.

They check themselves when they are made. The first field of each may be given by position, all
others by name; those of `Fewest` by name alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from kmq import checks
from kmq.colors import Colors, GivenColors, has_names
from kmq.errors import InputError
from kmq.model.arrays import Array, EqualByFields
from kmq.model.choices import DITHER_METHODS, DitherMethod
from kmq.model.image import MAX_COLORS, IndexedImage
from kmq.model.palette import Palette
from kmq.model.pixel_format import MAX_DEPTH
from kmq.stages.palette import clustering, starting
from kmq.stages.palette.spaces import SPACES, SpaceName
from kmq.stages.palette.starting import Init
from kmq.stages.pictures.pillow import is_pillow


@dataclass(frozen=True, kw_only=True)
class Fewest:
    """The fewest colours that reach an error, as the `k` of `kmq.quantize`.

    >>> image = kmq.quantize("photo.png", kmq.Fewest(psnr=35))

    Attributes:
        psnr: the least PSNR in dB. Give either this or `max_mse`.
        max_mse: the largest mean squared error per pixel, summed over the channels.
        max_colors: most colours, 1 to 65,536. If they do not reach the error, the result is the
            best with this number. With None, an error out of reach raises InputError.

    Raises:
        InputError: a number out of range, or neither or both of `psnr` and `max_mse`.
        TypeError: not a number.
    """

    psnr: float | None = None
    max_mse: float | None = None
    max_colors: int | None = None

    def __post_init__(self) -> None:
        """Check that there is one quality."""
        given = [name for name in ("psnr", "max_mse") if getattr(self, name) is not None]
        if len(given) != 1:
            number = "both" if given else "neither"
            raise InputError(f"Fewest has {number} of psnr and max_mse; it needs one of them")
        quality = checks.number(getattr(self, given[0]), given[0], 0)
        most = checks.optional(self.max_colors, "max_colors", MAX_COLORS)
        _keep(self, **{given[0]: quality}, max_colors=most)


@dataclass(frozen=True)
class Space:
    """Where distances between colours are measured, and how much each channel counts.

    >>> image = kmq.quantize("photo.png", 16, space=kmq.Space("rgb", channel_weights=(1, 2, 1)))

    Attributes:
        name: see `space` of `kmq.quantize`; None is its default.
        channel_weights: factor of each channel's squared error, alpha last, above 0 and at most
            10^9; None counts all alike.

    Raises:
        InputError: there is no such space, or a weight is out of range.
        TypeError: weights are not numbers.
    """

    name: SpaceName | None = None
    _: KW_ONLY
    channel_weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Check the name and put the weights in a tuple."""
        if self.name is not None:
            checks.one_of(self.name, "space", SPACES)
        if self.channel_weights is not None:
            weights = _checked_channel_weights(self.channel_weights)
            _keep(self, channel_weights=tuple(weights.tolist()))


@dataclass(frozen=True, eq=False)
class Require(EqualByFields):
    """What a palette must hold.

    >>> scan = kmq.quantize("photo.png", 8, require=kmq.Require(fixed=["#ff8800"], snap=True))

    Attributes:
        fixed: (f, channels) colours that must be entries, exactly; the search chooses the others.
            Or names of colours as in CSS ("white", "#ff8800"), one or several, also mixed with
            samples; "background" is the most frequent colour on the picture's border. Or a
            `Palette`, an `IndexedImage`, or a Pillow image with a palette.
        snap: whether the entry nearest to black becomes black, and the one nearest to white becomes
            white, with all their pixels. Entries that differ by more than a sixteenth of the range
            in some channel stay, and so do entries that are not opaque.
        posterize: bits per channel of an entry, from 1 to the picture's own depth. The lower bits
            are 0; white stays white.

    Raises:
        InputError: a number out of range, or no colours.
        TypeError: a value of the wrong type.
    """

    fixed: GivenColors | str | None = None
    _: KW_ONLY
    snap: bool | None = None
    posterize: int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a picture."""
        if self.fixed is not None:
            Colors.checked(self.fixed, "fixed")
        snap = None if self.snap is None else checks.flag(self.snap, "snap")
        _keep(self, snap=snap, posterize=checks.optional(self.posterize, "posterize", MAX_DEPTH))


@dataclass(frozen=True, eq=False)
class Start(EqualByFields):
    """Plain k-means from a start: assign colours, move centres, until they rest.

    >>> image = kmq.quantize("photo.png", 16, start=kmq.Start("k-means++", n_init=10))

    Attributes:
        init: "k-means++" (the default: greedy up to 1,000 colours, "k-means||" above), "k-means||",
            "random", "var-part" (needs no seed), or colours given as for `Require.fixed`, one for
            each entry of the palette.
        n_init: random starts to try, with seeds from `seed` upward; the best is kept. None is 1.
        max_iter: most rounds; None is 300.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves. None is 1e-4.
        seed: 0 (the default) to 2^32 - n_init; the same picture, options and seed give the same
            bytes.

    Raises:
        InputError: a number out of range, no such method, or no colours.
        TypeError: a value of the wrong type.
    """

    init: Init | GivenColors | None = None
    _: KW_ONLY
    n_init: int | None = None
    max_iter: int | None = None
    tol: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a picture."""
        checked_init(self.init)
        n_init = checks.optional(self.n_init, "n_init", clustering.MAX_STARTS)
        seed = checks.given(self.seed, 0)
        checks.whole_number(seed, "seed", 0, checks.MAX_SEED + 1 - checks.given(n_init, 1))
        _keep(
            self,
            n_init=n_init,
            max_iter=checks.optional(self.max_iter, "max_iter", clustering.MAX_ROUNDS),
            tol=None if self.tol is None else checks.tolerance(self.tol),
            seed=None if self.seed is None else int(seed),
        )


@dataclass(frozen=True)
class Dither:
    """Dithering: entries are mixed so that from afar they look like the colours between.

    Pixels whose colour is in the palette keep it. The report is that of the dithered picture, whose
    error per pixel is larger.

    >>> image = kmq.quantize("photo.png", 16, mapping=kmq.Dither(0.7))

    Attributes:
        strength: 0 (not at all) to 1 (the default).
        method: "diffusion" (the default) passes errors on to neighbours (Floyd & Steinberg 1976, in
            serpentine order); "ordered" follows a mask of blue noise (Ulichney 1993): faster, and
            the same in every frame, but colours are less true.

    Raises:
        InputError: a strength out of range, or no such method.
        TypeError: a value of the wrong type.
    """

    strength: float | None = None
    _: KW_ONLY
    method: DitherMethod | None = None

    def __post_init__(self) -> None:
        """Check both, and fill in the defaults."""
        strength = checks.fraction(checks.given(self.strength, 1.0), "strength")
        method = checks.given(self.method, DITHER_METHODS[0])
        _keep(self, strength=strength, method=checks.one_of(method, "method", DITHER_METHODS))


@dataclass(frozen=True)
class Rate:
    """Indices and palette chosen together by squared error + price · bits, for smaller files.

    The price of a bit is λ × the mean squared error of nearest entries (at least ½, on a scale of 8
    bits). So one λ suits all pictures and numbers of colours. No pixel's squared error is more than
    3 · 32² above that of its nearest entry, and smooth gradients change least. In space "eye",
    errors count less where neighbours cancel them out and where detail hides them. `kmq.encode`
    and `kmq.write` choose k and λ for a size or a quality.

    >>> image = kmq.quantize("photo.png", 64, mapping=kmq.Rate(1))

    Attributes:
        lam: λ, at least 0: files are smallest for their PSNR at 1 to 3; 0 is nearest entries.

    Raises:
        InputError: λ is negative or not finite.
        TypeError: λ is not a number.
    """

    lam: float

    def __post_init__(self) -> None:
        """Check it."""
        _keep(self, lam=checks.number(self.lam, "lam", 0))


@dataclass(frozen=True)
class Optimize:
    """Indices and palette chosen together so that the picture is right after the eye's own blur.

    Errors of neighbours cancel out, as with dithering. But each pixel is chosen by its neighbours
    on all sides, and the palette is fitted along with them. Of all mappings this looks best. It
    takes seven times as long as dithering, and files are larger, unless bits have a price. The
    report is that of the mixed picture, whose error per pixel is larger.

    >>> image = kmq.quantize("photo.png", 16, mapping=kmq.Optimize())
    >>> smaller = kmq.quantize("photo.png", 16, mapping=kmq.Optimize(0.1))

    Attributes:
        lam: λ, at least 0 (the default): the price of a bit is λ × the mean squared error of
            nearest entries after the blur. 0 looks best; files of 0.1 are smaller than those of
            nearest entries, and look better.

    Raises:
        InputError: λ is negative or not finite.
        TypeError: λ is not a number.
    """

    lam: float | None = None

    def __post_init__(self) -> None:
        """Check it, and fill it in."""
        _keep(self, lam=checks.number(checks.given(self.lam, 0.0), "lam", 0))


def _keep(value: Any, **checked: Any) -> None:
    """Set attributes of a frozen value to what the checks return: plain Python numbers."""
    for name, number in checked.items():
        object.__setattr__(value, name, number)


def checked_init(init: Any) -> str | Array | Colors:
    """Return the name of a method, (k, channels) samples or colours; None is the first method."""
    if init is None:
        return starting.INITS[0]
    if isinstance(init, str):
        return checks.init_name(init, starting.INITS)
    if isinstance(init, IndexedImage | Palette) or is_pillow(init) or has_names(init):
        return Colors.checked(init, "init")
    return checks.float_rows(init, "init")


def _checked_channel_weights(weights: Any) -> Array:
    factors = checks.as_array(weights, "channel_weights")
    if factors.dtype.kind not in "iuf":
        raise TypeError(f"channel_weights have dtype {factors.dtype}; they must be numbers")
    if factors.ndim != 1 or not factors.size:
        raise InputError(f"channel_weights have shape {factors.shape}; they must be (channels,)")
    if not (factors.min() > 0 and factors.max() <= checks.MAX_WEIGHT):
        raise InputError(
            f"channel_weights have a value that is not above 0 and at most {checks.MAX_WEIGHT:g}"
        )
    return factors
