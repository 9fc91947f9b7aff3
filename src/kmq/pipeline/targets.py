"""Files of a given size or quality: palette size k and rate λ are searched for together.

For any k the files worth having are those with λ of one to three times the mean squared error e(k)
of the nearest entries: below, a smaller k is cheaper at the same error, above, a larger one is
better at the same size. So λ = 2 · e(k) makes one search for k, and at the k it ends at λ is moved
until the target is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kmq import checks
from kmq.errors import InputError
from kmq.model.image import MAX_COLORS, IndexedImage, Pixels
from kmq.options import Colors, Options
from kmq.quantizing import quantize, read_picture
from kmq.stages.mapping import metrics

TARGETS = ("size", "bpp", "psnr", "ssim", "max_mse")
"""Options that say what a file is to be like, of which there can be one."""

_MAX_SIZE = 2**63 - 1

_FACTOR = 2.0
"""λ over e(k) that a search for k begins with."""

_LEAST_FACTOR, _MOST_FACTOR = 1e-3, 1e3

_STRIDE = 4
"""Factor between the k, and then the λ, that are tried until the target lies between two."""

_MOST_TRIES = 9
"""Times that λ is moved: regula falsi takes three or four."""

_MOST_MOVES = 4
"""Times that other numbers of colours are tried for a size that so many do not make."""

_SIZE_TOLERANCE, _ERROR_TOLERANCE = 0.02, 0.005
"""Share of a size, and of an error, by which a file may stay below what is allowed."""

_MORE_COLORS = (1.5, 2.2)
"""How many times the colours that nearest entries need are worth trying with a rate."""

_LEAST_ERROR = 0.5
"""Mean squared error that λ follows at least: a picture of few colours has none."""


def asks(options: Mapping[str, Any]) -> bool:
    """Whether the options have a target."""
    return any(options.get(name) is not None for name in TARGETS)


def reach(
    picture: Any,
    k: int | None,
    options: Mapping[str, Any],
    measure: Callable[[IndexedImage], int],
) -> IndexedImage:
    """Return the picture as the options want it.

    Args:
        picture: what `kmq.quantize` takes.
        k: colours of the palette, for a size alone.
        options: those of `kmq.quantize`, and `TARGETS`.
        measure: the bytes of an image's file.

    Raises:
        InputError: options that contradict each other, or a target that cannot be met.
    """
    given = [name for name in TARGETS if options.get(name) is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given; a file has one target")
    name = given[0]
    if checks.rate(checks.given(options.get("rate"), 0)):
        raise InputError(f"rate and {name} are both given; kmq chooses the rate for a {name}")
    if checks.fraction(checks.given(options.get("dither"), 0), "dither"):
        raise InputError(
            f"dither and {name} are both given; dithering adds to the error and to the file"
        )
    rest = {key: value for key, value in options.items() if key not in (*TARGETS, "rate")}
    if name in ("psnr", "max_mse"):
        if rest.get("palette") is not None:
            raise InputError(
                f"palette is given with {name}; a given palette is mapped to at a rate or for a "
                "size"
            )
        return _for_error(picture, k, name, options[name], rest, measure)
    if name == "ssim":
        for other, value in (("k", k), ("palette", rest.get("palette"))):
            if value is not None:
                raise InputError(f"{other} and ssim are given; one of them says how many colours")
    wanted = _CHECKED[name](options[name])
    checked = Options.checked(k, **rest)
    if checked.n_started is not None:
        if name == "ssim":
            raise InputError("init gives the number of colours, and ssim asks for another")
        k = checked.n_started
    pixels = read_picture(
        picture,
        rest.pop("pixel_format", None),
        rest.pop("page", None),
        checked.plain.n_threads,
        checked.limits,
    )
    if name == "ssim":
        _check_window(pixels)
        return _for_ssim(pixels, wanted, rest, measure)
    if name == "bpp":
        area = pixels.samples.shape[0] * pixels.samples.shape[1]
        size = math.floor(min(wanted * area / 8, _MAX_SIZE))
        asked = f"bpp is {wanted:g}, {size} bytes for this picture"
        return _for_size(pixels, k, size, asked, rest, measure)
    return _for_size(pixels, k, wanted, f"size is {wanted} bytes", rest, measure)


def _checked_ssim(wanted: Any) -> float:
    value = checks.positive(wanted, "ssim")
    if value >= 1:
        raise InputError(f"ssim is {value:g}; it must be above 0 and below 1")
    return value


_CHECKED: dict[str, Callable[[Any], Any]] = {
    "size": lambda wanted: checks.whole_number(wanted, "size", 1, _MAX_SIZE),
    "bpp": lambda wanted: checks.positive(wanted, "bpp"),
    "ssim": _checked_ssim,
}
"""Whether a target can be meant, without the picture."""


def _check_window(pixels: Pixels) -> None:
    height, width = pixels.samples.shape[:2]
    if min(height, width) < metrics.SSIM_WINDOW:
        raise InputError(
            f"ssim is given for a picture of {width} x {height} pixels; it needs "
            f"{metrics.SSIM_WINDOW} of them a side"
        )


@dataclass
class _Search:
    """Images of one picture, and by what each misses or meets the target.

    Attributes:
        make: an image of so many colours at a rate.
        value: what must come close to `goal` and not exceed it.
        goal: of the value.
        tolerance: share of the goal by which a value may stay below.
        grows_with_rate: whether a greater λ makes the value greater: so do errors, and not sizes.
        met: the images that do not exceed the goal.
    """

    make: Callable[[int, float], IndexedImage]
    value: Callable[[IndexedImage], float]
    goal: float
    tolerance: float
    grows_with_rate: bool
    met: list[IndexedImage] = field(default_factory=list)
    _bases: dict[int, float] = field(default_factory=dict)

    def at(self, k: int, factor: float) -> float:
        """Return the value at a λ of `factor` times e(k)."""
        if k not in self._bases:
            image = self.make(k, 0.0)
            scale = (image.pixel_format.max_value / 255) ** 2
            error = 0.0 if image.report is None else image.report.mse
            self._bases[k] = max(error / scale, _LEAST_ERROR)
        image = self.make(k, factor * self._bases[k])
        value = self.value(image)
        if value <= self.goal:
            self.met.append(image)
        return value

    def colors(self, fewest: int, most: int) -> int:
        """Return the k at which the usual λ meets the goal, about."""
        k = min(max(32, fewest), most)
        tried = {k: self.at(k, _FACTOR)}
        above = tried[k] > self.goal
        rising = above == self.grows_with_rate  # more colours are needed, or fit in
        while (tried[k] > self.goal) == above:
            following = min(k * _STRIDE, most) if rising else max(k // _STRIDE, fewest)
            if following == k:
                return k
            before, k = k, following
            tried[k] = self.at(k, _FACTOR)
        low, high = (math.log(max(tried[key], 1e-9)) for key in (before, k))
        share = (math.log(max(self.goal, 1e-9)) - low) / (high - low) if high != low else 1.0
        return round(math.exp(math.log(before) + share * math.log(k / before)))

    def tune_from(self, k: int, fewest: int, most: int) -> None:
        """Tune at `k` colours, and at others if no λ makes a file of that size there."""
        fewest = max([fewest, *(image.n_colors for image in self.met if image.n_colors < k)])
        for _ in range(_MOST_MOVES):
            n_met = len(self.met)
            if self.tune(k):
                return
            if len(self.met) == n_met:  # too large at any λ
                most = k - 1
            else:
                fewest = k + 1
            if fewest > most:
                return
            k = min(max(math.isqrt(fewest * most), fewest), most, round(1.5 * k) + 1)

    def tune(self, k: int) -> bool:
        """Move λ at `k` colours until a value meets the goal; return whether one does."""
        aim = math.log(max(self.goal, 1e-9) * (1 - self.tolerance / 2))
        x = math.log(_FACTOR)
        below: tuple[float, float] | None = None
        above: tuple[float, float] | None = None
        for _ in range(_MOST_TRIES):
            value = self.at(k, math.exp(x))
            if self.goal * (1 - self.tolerance) <= value <= self.goal:
                return True
            place = x, math.log(max(value, 1e-9))
            if value <= self.goal:
                below = place
            else:
                above = place
            if below is not None and above is not None:
                share = (aim - below[1]) / (above[1] - below[1])
                x = below[0] + min(max(share, 0.08), 0.92) * (above[0] - below[0])
                continue
            up = (below is not None) == self.grows_with_rate
            x += math.log(_STRIDE) if up else -math.log(_STRIDE)
            if not math.log(_LEAST_FACTOR) <= x <= math.log(_MOST_FACTOR):
                break
        return False


def _maker(picture: Any, options: Mapping[str, Any]) -> Callable[[int, float], IndexedImage]:
    palette = options.get("palette") is not None

    def make(k: int, rate: float) -> IndexedImage:
        return quantize(picture, None if palette else k, rate=rate, **options)

    return make


def _without_limit(options: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the options without `max_colors`, and what that allows."""
    rest: dict[str, Any] = dict(options)
    given = rest.pop("max_colors", None)
    if given is None:
        return rest, MAX_COLORS
    return rest, checks.whole_number(given, "max_colors", 1, MAX_COLORS)


def _fewest(options: Mapping[str, Any]) -> int:
    fixed = options.get("fixed")
    return 1 if fixed is None else Colors.checked(fixed, "fixed").number


def _for_size(
    pixels: Pixels,
    k: int | None,
    size: int,
    asked: str,
    options: Mapping[str, Any],
    measure: Callable[[IndexedImage], int],
) -> IndexedImage:
    """Return the image with the least error found whose file has at most `size` bytes.

    `asked` says in a refusal what was asked for.
    """
    if k is not None and options.get("palette") is not None:
        raise InputError("palette is given with k; a given palette is only mapped to")
    if k is not None and options.get("max_colors") is not None:
        raise InputError("k and max_colors are given; k says how many colours already")
    rest, most = _without_limit(options)
    make = _maker(pixels, rest)
    search = _Search(make, measure, size, _SIZE_TOLERANCE, grows_with_rate=False)
    if k is None and options.get("palette") is None:
        fewest = _fewest(options)
        exact = make(min(64, most), 0.0)
        assert exact.report is not None  # noqa: S101  # it was made just now
        most = min(most, max(exact.report.colors_in, fewest))
        search.tune_from(max(search.colors(fewest, most), fewest), fewest, most)
        if not search.met:
            smallest = make(fewest, 0.0)
            where = f"{fewest} colour{'' if fewest == 1 else 's'}"
            _refuse(measure(smallest), size, asked, where)
            return smallest
    else:
        kept = checks.whole_number(64 if k is None else k, "k", 1, MAX_COLORS)
        search.tune(kept)
        plain = make(kept, 0.0)
        if measure(plain) <= size:
            return plain
        if not search.met:
            smallest = make(kept, 1e9)
            where = "the given palette" if k is None else f"k = {kept}"
            _refuse(measure(smallest), size, asked, where)
            return smallest
    full = [image for image in search.met if measure(image) >= size * (1 - _SIZE_TOLERANCE)]
    return min(full or search.met, key=_error_of)


def _refuse(least: int, size: int, asked: str, where: str) -> None:
    """Raise InputError if the least size there is exceeds what is allowed."""
    if least > size:
        raise InputError(f"{asked}; the smallest file of this picture has {least}, with {where}")


def _error_of(image: IndexedImage) -> float:
    return math.inf if image.report is None else image.report.mse


def _for_error(
    picture: Any,
    k: int | None,
    name: str,
    wanted: float,
    options: Mapping[str, Any],
    measure: Callable[[IndexedImage], int],
) -> IndexedImage:
    """Return the image with the smallest file found that reaches a PSNR or an error.

    Nearest entries need some number of colours for it; with a rate somewhat more of them are worth
    their bits, or just those where areas are flat.
    """
    target: dict[str, Any] = {name: wanted}
    plain = quantize(picture, k, **target, **options)
    report = plain.report
    assert report is not None  # noqa: S101  # it was made just now
    rest, most = _without_limit(options)
    is_error = name == "max_mse"
    goal = float(wanted) if is_error else metrics.mse_at(float(wanted), plain.pixel_format)
    if report.mse > goal or goal == 0:
        return plain
    search = _Search(_maker(picture, rest), _error_of, goal, _ERROR_TOLERANCE, grows_with_rate=True)
    for count in sorted(
        {_some_more(plain.n_colors, by, most, report.colors_in) for by in _MORE_COLORS}
    ):
        search.tune(count)
    return min([plain, *search.met], key=measure)


def _some_more(n_colors: int, by: float, most: int, distinct: int) -> int:
    return max(n_colors, min(round(n_colors * by), most, distinct))


def _for_ssim(
    pixels: Pixels,
    wanted: float,
    options: Mapping[str, Any],
    measure: Callable[[IndexedImage], int],
) -> IndexedImage:
    """Return the image with the smallest file found that reaches an SSIM."""
    rest, most = _without_limit(options)
    pixel_format = pixels.pixel_format

    def shortfall(image: IndexedImage) -> float:
        shown = image.palette[image.indices]
        return 1 - metrics.ssim(
            pixels.samples, shown, pixel_format.max_value, has_alpha=pixel_format.has_alpha
        )

    make = _maker(pixels, rest)
    search = _Search(make, shortfall, 1 - wanted, _ERROR_TOLERANCE, grows_with_rate=True)
    first = make(min(64, most), 0.0)
    assert first.report is not None  # noqa: S101  # it was made just now
    fewest = _fewest(options)
    most = max(min(most, first.report.colors_in), fewest)
    k = max(search.colors(fewest, most), fewest)
    for count in sorted({k, _some_more(k, _MORE_COLORS[0], most, most)}):
        search.tune(count)
    if not search.met:
        best = make(most, 0.0)
        reached = 1 - shortfall(best)
        if reached < wanted and options.get("max_colors") is None:
            raise InputError(
                f"{most} colours reach an SSIM of {reached:.4f} in this picture; {wanted:g} was "
                "asked for"
            )
        return best
    return min(search.met, key=measure)
