"""Files of a given size or quality: palette size k and rate λ are searched for together.

For any k the files worth having are those with λ of one to three times the mean squared error e(k)
of the nearest entries: below, a smaller k is cheaper at the same error, above, a larger one is
better at the same size. So λ = 2 · e(k) makes one search for k, and at the k it ends at λ is moved
until the target is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from kmq.errors import InputError
from kmq.model.image import Pixels, QuantizedImage
from kmq.pipeline.fitting import ErrorTarget
from kmq.stages.mapping import metrics

MAX_SIZE = 2**63 - 1
"""Most bytes that can be asked for."""

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

Make = Callable[[int | ErrorTarget, float], QuantizedImage]
"""Makes an image of so many colours, or of the fewest that reach an error, at a λ."""


@dataclass(frozen=True)
class FileTarget:
    """What a file is to be like.

    Attributes:
        name: "size", "bpp", "psnr", "max_mse" or "ssim".
        value: how much of it.
        k: colours of the palette, or None to choose; with a given palette, how many that has.
        fewest: colours at least.
        most: colours at most.
        is_limited: whether the caller said how many at most, and takes what these reach.
        title: what the colours are called in a refusal, if they are given.
    """

    name: str
    value: float
    k: int | None
    fewest: int
    most: int
    is_limited: bool
    title: str


def reach(
    pixels: Pixels,
    target: FileTarget,
    make: Make,
    measure: Callable[[QuantizedImage], int],
) -> QuantizedImage:
    """Return the picture's image that meets the target.

    `measure` returns the bytes of an image's file.

    Raises:
        InputError: it cannot be met.
    """
    if target.name in ("size", "bpp"):
        return _for_size(pixels, target, make, measure)
    if target.name == "ssim":
        return _for_ssim(pixels, target, make, measure)
    return _for_error(pixels, target, make, measure)


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
        make: an image of so many colours at a λ.
        value: what must come close to `goal` and not exceed it.
        goal: of the value.
        tolerance: share of the goal by which a value may stay below.
        grows_with_rate: whether a greater λ makes the value greater: so do errors, and not sizes.
        met: the images that do not exceed the goal.
    """

    make: Make
    value: Callable[[QuantizedImage], float]
    goal: float
    tolerance: float
    grows_with_rate: bool
    met: list[QuantizedImage] = field(default_factory=list)

    def at(self, k: int, lam: float) -> float:
        """Return the value at k colours and that λ."""
        image = self.make(k, lam)
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


def _for_size(
    pixels: Pixels, target: FileTarget, make: Make, measure: Callable[[QuantizedImage], int]
) -> QuantizedImage:
    """Return the image with the least error found whose file has at most so many bytes."""
    size, asked = int(target.value), f"size is {target.value:.0f} bytes"
    if target.name == "bpp":
        area = pixels.samples.shape[0] * pixels.samples.shape[1]
        size = math.floor(min(target.value * area / 8, MAX_SIZE))
        asked = f"bpp is {target.value:g}, {size} bytes for this picture"
    search = _Search(make, measure, size, _SIZE_TOLERANCE, grows_with_rate=False)
    if target.k is None:
        fewest = target.fewest
        exact = make(min(64, target.most), 0.0)
        most = min(target.most, max(exact.report.colors_in, fewest))
        search.tune_from(max(search.colors(fewest, most), fewest), fewest, most)
        if not search.met:
            smallest = make(fewest, 0.0)
            where = f"{fewest} colour{'' if fewest == 1 else 's'}"
            _refuse(measure(smallest), size, asked, where)
            return smallest
    else:
        search.tune(target.k)
        plain = make(target.k, 0.0)
        if measure(plain) <= size:
            return plain
        if not search.met:
            smallest = make(target.k, 1e9)
            _refuse(measure(smallest), size, asked, target.title)
            return smallest
    full = [image for image in search.met if measure(image) >= size * (1 - _SIZE_TOLERANCE)]
    return min(full or search.met, key=_error_of)


def _refuse(least: int, size: int, asked: str, where: str) -> None:
    """Raise InputError if the least size there is exceeds what is allowed."""
    if least > size:
        raise InputError(f"{asked}; the smallest file of this picture has {least}, with {where}")


def _error_of(image: QuantizedImage) -> float:
    return image.report.mse


def _for_error(
    pixels: Pixels, target: FileTarget, make: Make, measure: Callable[[QuantizedImage], int]
) -> QuantizedImage:
    """Return the image with the smallest file found that reaches a PSNR or an error.

    Nearest entries need some number of colours for it; with a rate somewhat more of them are worth
    their bits, or just those where areas are flat.
    """
    goal = target.value
    if target.name == "psnr":
        goal = metrics.mse_at(goal, pixels.pixel_format)
    plain = make(ErrorTarget(goal, target.most), 0.0)
    report = plain.report
    if report.mse > goal and not target.is_limited:
        raise InputError(
            f"{target.most} colours reach an error of {report.mse:.4g} and a PSNR of "
            f"{report.psnr:.2f} dB; {goal:.4g} was asked for"
        )
    if report.mse > goal or goal == 0:
        return plain
    search = _Search(make, _error_of, goal, _ERROR_TOLERANCE, grows_with_rate=True)
    for count in sorted(
        {_some_more(plain.n_colors, by, target.most, report.colors_in) for by in _MORE_COLORS}
    ):
        search.tune(count)
    return min([plain, *search.met], key=measure)


def _some_more(n_colors: int, by: float, most: int, distinct: int) -> int:
    return max(n_colors, min(round(n_colors * by), most, distinct))


def _for_ssim(
    pixels: Pixels, target: FileTarget, make: Make, measure: Callable[[QuantizedImage], int]
) -> QuantizedImage:
    """Return the image with the smallest file found that reaches an SSIM."""
    _check_window(pixels)
    wanted, pixel_format = target.value, pixels.pixel_format

    def shortfall(image: QuantizedImage) -> float:
        shown = image.palette[image.indices]
        return 1 - metrics.ssim(
            pixels.samples, shown, pixel_format.max_value, has_alpha=pixel_format.has_alpha
        )

    search = _Search(make, shortfall, 1 - wanted, _ERROR_TOLERANCE, grows_with_rate=True)
    first = make(min(64, target.most), 0.0)
    fewest = target.fewest
    most = max(min(target.most, first.report.colors_in), fewest)
    k = max(search.colors(fewest, most), fewest)
    for count in sorted({k, _some_more(k, _MORE_COLORS[0], most, most)}):
        search.tune(count)
    if not search.met:
        best = make(most, 0.0)
        reached = 1 - shortfall(best)
        if reached < wanted and not target.is_limited:
            raise InputError(
                f"{most} colours reach an SSIM of {reached:.4f} in this picture; {wanted:g} was "
                "asked for"
            )
        return best
    return min(search.met, key=measure)
