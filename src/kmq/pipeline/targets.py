"""Files of a given size or quality: palette size k and rate λ are searched for together.

λ is the price of a bit over e(k), the mean squared error of k nearest entries. Files are smallest
for their error where λ makes it about 1.3 · e(k): with a smaller λ fewer colours are cheaper, with
a larger one more colours are better. So a quality, which some number of colours reaches with
nearest entries, is tried with a quarter more of them, and λ as large as it may be. For a size k is
searched for with a λ that pays, and at the k that it ends at λ is moved until the size is met.

An attempt is three rounds of choices. The first tells what the others will come to, so only those
that promise to meet the target go on, and only those are coded, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from kmq import exact
from kmq.errors import InputError
from kmq.lazily import computed_once
from kmq.model.arrays import Array
from kmq.model.image import MAX_COLORS, QuantizedImage
from kmq.pipeline.fewest import ErrorTarget
from kmq.pipeline.quantizing import Mapped, Quantizer
from kmq.pipeline.rounding import Rounded
from kmq.stages.mapping import metrics, rate

MAX_SIZE = 2**63 - 1
"""Most bytes that can be asked for."""

_NEARLY = 1.1
"""How many times too few colours are nearly enough."""

_FIRST_COLORS = 32
"""Colours that a search for k begins with."""

_FIRST_X, _LEAST_X, _MOST_X = 0.5, -4.0, 1.0
"""log2 of λ along which k is searched for: at first, and how far it goes."""

_FAIR, _FAIRLY = 0.36, 0.6
"""What λ may cost, see `_Search._fair_x`, and log2 of λ by which it may be off."""

_NEAR = 0.03
"""log2 of a size over the wanted one, below which λ is moved, not k."""

_MOST_GUESSES, _MOST_COLORS_TRIED = 8, 3
"""Proxies of numbers of colours that are computed for one level, and whole attempts, at most."""

_USUAL_PROXY_SLOPE = 0.5
"""d level of the proxy of nearest entries / d log2 of k, before it is known."""

_HOPELESS = 0.1
"""log2 of the size that a first round foretells to the one that is wanted, where no λ helps."""

_SIZE_BY_PROXY = 1.2
"""d log2 of a size / d log2 of the proxy of nearest entries, as k changes."""

_NONE, _BEYOND, _ERROR_LIMIT = -10.0, 1.5, 5.0
"""log2 of λ that stands for 0, by how much a size may raise it before another k is better, and up
to which an error may."""

_MOST_PRICE = 4 * 255.0**2
"""Price of a bit at most: the squared error of black for white, of four channels."""

_STRIDE, _SAME = 3.0, 0.01
"""Most by which log2 of λ moves at once, and least."""

_MOST_PROBES = 4
"""First rounds for an attempt at most; one or two are usual."""

_MOST_MOVES = 8
"""Times that another number of colours is tried for a size that no λ makes."""

_MORE, _MANY_MORE, _FEW_MORE = 1.25, 1.4, 1.12
"""How many times the colours that nearest entries need are tried for a quality: the first, then the
second or, where the first needs little or much of λ, the third."""

_LITTLE, _MUCH = -0.6, 1.5
"""log2 of λ that is little, and much."""

_USUAL_EXCESS = 0.2
"""Share by which the error exceeds e(k) at λ = e(k), before that is known."""

_SIZE_TOLERANCE, _ERROR_TOLERANCE = 0.02, 0.005
"""Share of a size, and of an error, by which a file may stay below its limit."""

_LOOKS_TOLERANCE = 0.5
"""How much better than asked for a file may look, of 100."""

_SCORE_BY_COLORS, _SCORE_BY_X = 15.0, -5.0
"""d SSIMULACRA2 / d log2 of k, of nearest entries, and / d log2 of λ, before they are known."""

_MORE_FOR_LOOKS = 1.2
"""How many times the colours that nearest entries need are taken for looks. A second k, 1.1 or 1.4
times as many, gained 2 % for half as much time again."""

_HIGH, _X_FOR_HIGH, _X_BY_SCORE, _LOOKS_LIMIT = 65.0, 2.2, -1 / 15, 7.0
"""Above this SSIMULACRA2 log2 of λ is usually that; how much it grows below, and up to where."""

_MAY_BE_SMALLER = 1.3
"""Nearest entries are coded, too, if their estimate is at most so many times that of the file."""

_MOST_FOR_LOOKS, _STRIDE_FOR_LOOKS = 4, 2.0
"""Whole attempts with one palette at most, and by how much log2 of λ moves at once."""

_CAP = 12.0
"""The error of a pixel may exceed that of its nearest entry by the price of so many bits, where λ
is so large that this is above the usual cap: else files of few colours could not be small."""

_PALETTE_BYTES, _FRAME_BYTES = 2.5, 64
"""Bytes of an entry, and of the file around the indices, about."""


class FileTarget(NamedTuple):
    """The target of a file.

    Attributes:
        name: "size", "bpp", "quality", "psnr" or "max_mse".
        value: how much of it.
    """

    name: str
    value: float


class Encoded(NamedTuple):
    """An image, the pieces of its file, front to back, and the λ of its indices."""

    image: QuantizedImage
    pieces: list[bytes]
    lam: float


Code = Callable[[QuantizedImage], list[bytes]]
"""Makes the pieces of an image's file."""


def reach(
    quantizer: Quantizer,
    target: FileTarget,
    code: Code,
    colors: int | Array | None = None,
    most: int | None = None,
    limit: int = MAX_COLORS,
) -> Encoded:
    """Return the best file found that meets a target.

    Args:
        quantizer: of the picture.
        target: of the file.
        code: makes the file.
        colors: how many, or which, if λ alone has to meet a size.
        most: colours at most; a quality is then reached as far as that goes.
        limit: colours at most of a file; a quality that they do not reach cannot be met.

    Raises:
        InputError: it cannot be met.
    """
    is_strict, most = most is None, min(limit, MAX_COLORS if most is None else most)
    if target.name in ("size", "bpp"):
        return _for_size(quantizer, target, code, colors, most)
    if target.name == "quality":
        is_kmq = limit == MAX_COLORS
        return _for_looks(
            quantizer, target.value, code, most, is_strict=is_strict, trusts_estimates=is_kmq
        )
    mse = target.value
    if target.name == "psnr":
        mse = metrics.mse_at(mse, quantizer.pixels.pixel_format)
    return _for_error(quantizer, mse, code, most, is_strict=is_strict)


def _for_size(
    quantizer: Quantizer,
    target: FileTarget,
    code: Code,
    colors: int | Array | None,
    most: int,
) -> Encoded:
    """Return the file of least error found that has at most so many bytes."""
    n_pixels, size = quantizer.n_pixels, target.value
    if target.name == "bpp":
        size = math.floor(min(size * n_pixels / 8, MAX_SIZE))
    search = _Search(quantizer, code, _size_gauge(size), most)
    if colors is None:
        best = search.for_size()
        where = f"{search.fewest} colour{'' if search.fewest == 1 else 's'}"
    else:
        is_given = not isinstance(colors, int)
        start = _Start(quantizer, code, quantizer.palette(colors), is_given=is_given)
        best = search.at_start(start)
        where = "the given palette" if is_given else f"k = {colors}"
    if best.size > size:
        asked, least = f"{size:.0f} bytes", f"{best.size}"
        if target.name == "bpp":
            bits = 8 * best.size / n_pixels
            asked, least = f"{target.value:g}", f"{bits:.3g} bits per pixel, {least} bytes"
        raise InputError(
            f"{target.name} is {asked}; the smallest file of this picture has {least}, with {where}"
        )
    return best.encoded


def _for_error(
    quantizer: Quantizer, mse: float, code: Code, most: int, *, is_strict: bool
) -> Encoded:
    """Return the smallest file found with such an error, or the best if there is none."""
    search = _Search(quantizer, code, _error_gauge(_mse, mse), most)
    rounded = quantizer.palette(ErrorTarget(mse, most))
    nearest = _Start(quantizer, code, rounded).nearest
    if rounded.mse > mse and is_strict:
        decibels = metrics.psnr(rounded.mse, quantizer.pixels.pixel_format)
        raise InputError(
            f"{most} colours reach an error of {rounded.mse:.4g} and a PSNR of "
            f"{decibels:.2f} dB; {mse:.4g} was asked for"
        )
    if rounded.mse > mse or mse == 0:
        return nearest.encoded
    found = [nearest, *search.for_quality(len(rounded.palette))]
    return min(found, key=_size).encoded


def _for_looks(
    quantizer: Quantizer,
    quality: float,
    code: Code,
    most: int,
    *,
    is_strict: bool,
    trusts_estimates: bool,
) -> Encoded:
    """Return the smallest file found that looks as good, or the best if there is none.

    Estimates are of .kmq files; those of other kinds are made to be compared.
    """
    search = _LooksSearch(quantizer, code, quality, most)
    nearest = search.fewest()
    if nearest.looks < quality and is_strict:
        raise InputError(
            f"{len(nearest.mapped.palette)} colours reach a quality of {nearest.looks:.2f} in this "
            f"picture; {quality:g} was asked for"
        )
    traded = search.traded(len(nearest.mapped.palette)) if nearest.looks >= quality else None
    if traded is None:
        return nearest.encoded
    if trusts_estimates and nearest.estimate > _MAY_BE_SMALLER * traded.estimate:
        return traded.encoded
    return min(traded, nearest, key=_size).encoded


class _Attempt:
    """Indices of the picture, and values derived from them when they are asked for.

    Attributes:
        mapped: palette and indices.
        x: log2 of λ.
    """

    def __init__(self, quantizer: Quantizer, code: Code, mapped: Mapped, x: float):
        self._quantizer, self._code = quantizer, code
        self.mapped, self.x = mapped, x

    @computed_once
    def mse(self) -> float:
        """Mean squared error per pixel."""
        return self._quantizer.mse(self.mapped)

    @computed_once
    def looks(self) -> float:
        """SSIMULACRA2."""
        return self._quantizer.ssimulacra2(self.mapped)

    @computed_once
    def encoded(self) -> Encoded:
        """The image and its file."""
        image = self._quantizer.image(self.mapped, self.mse)
        return Encoded(image, self._code(image), 0.0 if self.x == _NONE else _power(self.x))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(map(len, self.encoded.pieces))

    @computed_once
    def estimate(self) -> float:
        """Bytes of the file by the model of the rate, which go with the size."""
        bits, k = self._quantizer.bits(self.mapped), len(self.mapped.palette)
        return bits / 8 + _PALETTE_BYTES * k + _FRAME_BYTES


def _mse(attempt: _Attempt) -> float:
    return attempt.mse


def _size(attempt: _Attempt) -> float:
    return attempt.size


def _estimate(attempt: _Attempt) -> float:
    return attempt.estimate


class _Start:
    """Where the attempts with one palette begin: its nearest entries."""

    def __init__(
        self, quantizer: Quantizer, code: Code, rounded: Rounded, *, is_given: bool = False
    ):
        self._quantizer, self._code = quantizer, code
        self._unit = quantizer.unit(rounded)
        self.limit = _log(_MOST_PRICE / self._unit)
        mapped = quantizer.nearest(rounded, is_given=is_given)
        # The last first round and the last attempt are kept: they may be asked for again.
        self.nearest = self._first = self._whole = _Attempt(quantizer, code, mapped, _NONE)

    def first(self, x: float) -> _Attempt:
        """Return the first round of the attempt at a λ of 2 to the power of x."""
        if x != self._first.x:
            self._first = self._rounds(self.nearest, x, 1)
        return self._first

    def rest(self, first: _Attempt) -> _Attempt:
        """Return the attempt after all rounds."""
        if first.x != self._whole.x:
            self._whole = self._rounds(first, first.x, self._quantizer.rate_rounds - 1)
        return self._whole

    def _rounds(self, attempt: _Attempt, x: float, n_rounds: int) -> _Attempt:
        mapped = attempt.mapped
        if len(mapped.palette) > 1:
            price = self._unit * _power(x)
            most_excess = max(rate.MOST_EXCESS, _CAP * price)
            mapped = self._quantizer.traded(mapped, price, n_rounds, most_excess)
        return _Attempt(self._quantizer, self._code, mapped, x)


class _LooksSearch:
    """Searches for k, and then for λ, until pictures look as good as wanted."""

    def __init__(self, quantizer: Quantizer, code: Code, quality: float, most: int):
        self._quantizer, self._code, self._quality = quantizer, code, quality
        self._least = max(1, quantizer.n_fixed)
        self._most = max(self._least, min(most, quantizer.n_colors))

    def fewest(self) -> _Attempt:
        """Return the fewest nearest entries, about, that look as good, or the most there may be."""
        few, enough = self._least - 1, self._most + 1
        best, k = None, int(_clamped(_FIRST_COLORS, self._least, self._most))
        scores = dict[int, float]()
        while best is None or enough > max(few + 1, _NEARLY * few):
            nearest = self._start(k).nearest
            scores[k] = nearest.looks
            if nearest.looks >= self._quality:
                best, enough = nearest, k
            elif k == self._most:
                return nearest
            else:
                few = k
            k = int(_clamped(self._colors_at(scores, few, enough), few + 1, enough - 1))
        return best

    def traded(self, enough: int) -> _Attempt | None:
        """Return the attempt of largest λ found that looks as good, if one does, with more colours
        than the nearest entries need."""
        start = self._start(min(round(enough * _MORE_FOR_LOOKS), self._most))
        x = _X_FOR_HIGH + min(self._quality - _HIGH, 0) * _X_BY_SCORE
        aim = self._quality + _LOOKS_TOLERANCE / 2
        scores = dict[float, float]()
        best: _Attempt | None = None
        for _ in range(_MOST_FOR_LOOKS):
            x = _clamped(x, _LEAST_X, _LOOKS_LIMIT)
            attempt = start.rest(start.first(x))
            scores[x] = attempt.looks
            if attempt.looks >= self._quality and (best is None or x > best.x):
                best = attempt
            if 0 <= attempt.looks - self._quality <= _LOOKS_TOLERANCE:
                break
            worse = [other for other in scores if scores[other] < aim]
            better = [other for other in scores if scores[other] >= aim]
            if worse and better and max(better) < min(worse):
                left, right = max(better), min(worse)
                share = (scores[left] - aim) / (scores[left] - scores[right])
                x = left + _clamped(share, 0.1, 0.9) * (right - left)
            else:
                x += _clamped(
                    (aim - attempt.looks) / self._slope(scores),
                    -_STRIDE_FOR_LOOKS,
                    _STRIDE_FOR_LOOKS,
                )
            if _clamped(x, _LEAST_X, _LOOKS_LIMIT) in scores:
                break
        return best

    def _slope(self, scores: dict[float, float]) -> float:
        """Return d SSIMULACRA2 / d log2 of λ, by the last two that were tried."""
        if len(scores) < 2:
            return _SCORE_BY_X
        (x, score), (other, other_score) = list(scores.items())[-2:]
        return min((score - other_score) / (x - other), _SCORE_BY_X / 5)

    def _start(self, k: int) -> _Start:
        return _Start(self._quantizer, self._code, self._quantizer.palette(k))

    def _colors_at(self, scores: dict[int, float], few: int, enough: int) -> float:
        """Return k at which nearest entries look about as good, by those that were tried."""
        if few in scores and enough in scores and scores[enough] > scores[few]:
            share = (self._quality - scores[few]) / (scores[enough] - scores[few])
            return few * _power(_clamped(share, 0.1, 0.9) * _log(enough / few)) + 0.5
        k = enough if enough in scores else few
        doublings = (self._quality - scores[k]) / _SCORE_BY_COLORS
        return k * _power(_clamped(doublings + (0.1 if k == few else -0.1), -2, 2))


class _Gauge(NamedTuple):
    """How attempts are measured against a target. Levels are logarithms to base 2.

    Attributes:
        value: of an attempt: what must come close to `most` and not exceed it.
        proxy: of the first round of one, or of nearest entries: cheap, and goes with the value.
        most: what the value may be.
        tolerance: share of `most` by which a value may stay below.
        slope: d level of the proxy / d x, before it is known: errors grow with λ, sizes shrink.
        elasticity: d level of the value / d level of the proxy, before it is known.
        most_attempts: with one palette; two are usual.
    """

    value: Callable[[_Attempt], float]
    proxy: Callable[[_Attempt], float]
    most: float
    tolerance: float
    slope: float
    elasticity: float
    most_attempts: int

    @property
    def grows(self) -> bool:
        """Whether the value grows with λ."""
        return self.slope > 0

    def floor(self, start: _Start) -> float:
        """Return what values of one palette are measured from: errors from their least."""
        return self.value(start.nearest) if self.grows else 0.0

    def is_met(self, value: float) -> bool:
        """Whether a value is as close to `most` as it should be."""
        return self.most * (1 - self.tolerance) <= value <= self.most


def _size_gauge(size: float) -> _Gauge:
    return _Gauge(_size, _estimate, size, _SIZE_TOLERANCE, -0.12, 1.2, most_attempts=8)


def _error_gauge(error: Callable[[_Attempt], float], most: float) -> _Gauge:
    return _Gauge(error, error, most, _ERROR_TOLERANCE, 0.9, 1.0, most_attempts=4)


class _Known(NamedTuple):
    """What the last whole attempt came to: levels of its first round's proxy, and of its value."""

    proxy: float
    value: float


class _Search:
    """Looks for λ, and for k, until files meet a target."""

    def __init__(self, quantizer: Quantizer, code: Code, gauge: _Gauge, most: int):
        self._quantizer, self._code, self._gauge = quantizer, code, gauge
        self.fewest = max(1, quantizer.n_fixed)
        self.most = max(self.fewest, min(most, quantizer.n_colors))
        self._met: list[_Attempt] = []  # those whose value is allowed
        self._started: tuple[int, _Start] | None = None
        self._proxies: dict[int, float] = {}  # level of k nearest entries
        self._known: _Known | None = None
        self._elasticity = gauge.elasticity

    def for_size(self) -> _Attempt:
        """Return the attempt of least error that has the size, or the smallest there is."""
        k, x = self._colors()
        fewest, most = self.fewest, self.most
        for _ in range(_MOST_MOVES):
            side = self._tune(self.start(k), x, x + _BEYOND)
            if side == 0:
                break
            start, goal = self.start(k), _log(self._gauge.most)
            if side < 0:
                fewest, level = k + 1, _log(start.nearest.size)
            else:
                most, level = k - 1, self._predicted(self._level(start.first(x)))
            if fewest > most:
                break
            following = self._colors_at(self._proxy(k) + (goal - level) / _SIZE_BY_PROXY)
            k = int(_clamped(following, fewest, most))
        if side and not any(self._gauge.is_met(attempt.size) for attempt in self._met):
            k = int(_clamped(fewest, self.fewest, self.most))  # too large at any usual λ
            self._tune(self.start(k), x + _BEYOND, self.start(k).limit)
        return self._best() or self.start(self.fewest).nearest

    def at_start(self, start: _Start) -> _Attempt:
        """Return the same for one palette."""
        attempt = self._finish(start, _FIRST_X)
        if attempt.size <= self._gauge.most:
            self._value(start.nearest)
            if start.nearest.size <= self._gauge.most:
                return start.nearest
        self._tune(start, _FIRST_X, start.limit)
        return self._best() or self._finish(start, start.limit)

    def _best(self) -> _Attempt | None:
        """Return the attempt of least error, of those that come close to the size if some do."""
        close = [attempt for attempt in self._met if self._gauge.is_met(attempt.size)]
        return min(close or self._met, key=_mse, default=None)

    def for_quality(self, enough: int) -> list[_Attempt]:
        """Return attempts that reach an error which nearest entries need `enough` colours for."""
        found = []
        x, excess, tried = 0.0, _log(_USUAL_EXCESS), set[int]()
        more = _MORE
        for _ in range(2):
            k = min(round(enough * more), self.most)
            if k not in tried:
                tried.add(k)
                start = self.start(k)
                floor = max(self._gauge.floor(start), 1e-9)
                wanted = _log(self._gauge.most / floor - 1)
                x = _clamped(x + (wanted - excess) / self._gauge.slope, -_ERROR_LIMIT, _ERROR_LIMIT)
                self._met.clear()
                self._tune(start, x, _ERROR_LIMIT)
                if self._met:
                    best = max(self._met, key=self._gauge.value)
                    found.append(best)
                    x, excess = best.x, _log(self._gauge.value(best) / floor - 1)
            more = _MANY_MORE if _LITTLE < x < _MUCH else _FEW_MORE
        return found

    def start(self, k: int) -> _Start:
        """Return the start with k colours."""
        if self._started is None or self._started[0] != k:
            self._started = k, _Start(self._quantizer, self._code, self._quantizer.palette(k))
        return self._started[1]

    def enough_colors(self) -> int:
        """Return the fewest colours, about, whose nearest entries reach the error; or the most."""
        level = _log(self._gauge.most)
        few, enough = self.fewest - 1, int(_clamped(_FIRST_COLORS, self.fewest, self.most))
        while self._proxy(enough) > level:
            if enough == self.most:
                return enough
            few, enough = enough, min(4 * enough, self.most)
        while enough > max(few + 1, 1.1 * few):
            k = math.isqrt(max(few, 1) * enough)
            k = int(_clamped(k, few + 1, enough - 1))
            if self._proxy(k) > level:
                few = k
            else:
                enough = k
        return enough

    def _colors_at(self, level: float) -> int:
        """Return the k whose nearest entries have a proxy of that level, about.

        It is no further than a factor of two from one whose proxy is known.
        """
        k = int(_clamped(_FIRST_COLORS, self.fewest, self.most))
        for _ in range(_MOST_GUESSES):
            self._proxy(k)
            known = min(self._proxies, key=lambda one: abs(self._proxies[one] - level))
            off = (level - self._proxies[known]) / self._proxy_slope(known)
            k = round(known * _power(_clamped(off, -2, 2)))
            k = int(_clamped(k, self.fewest, self.most))
            if k in self._proxies or max(k, known) <= 2 * min(k, known):
                break
        return k

    def _proxy_slope(self, k: int) -> float:
        """Return d level of the proxy of nearest entries / d log2 of k."""
        usual = _USUAL_PROXY_SLOPE
        others = [one for one in self._proxies if max(one, k) >= 1.5 * min(one, k)]
        if not others:
            return usual
        other = min(others, key=lambda one: max(one, k) / min(one, k))
        slope = (self._proxies[k] - self._proxies[other]) / _log(k / other)
        return slope if 0.2 < slope / usual < 5 else usual

    def _proxy(self, k: int) -> float:
        """Return the level of the proxy of k nearest entries."""
        if k not in self._proxies:
            self._proxies[k] = self._level(self.start(k).nearest)
        return self._proxies[k]

    def _level(self, first: _Attempt, floor: float = 0.0) -> float:
        return _log(self._gauge.proxy(first) - floor)

    def _colors(self) -> tuple[int, float]:
        """Return k, and x, with which a file has about the size that is wanted."""
        goal, x = _log(self._gauge.most), _FIRST_X
        k = self._colors_at(goal - _log(self._usual_share()))
        tried: set[int] = set()
        for _ in range(_MOST_COLORS_TRIED):
            start = self.start(k)
            attempt = self._finish(start, x)
            tried.add(k)
            at, level = self._proxy(k), _log(attempt.size)
            if abs(level - goal) < _NEAR:
                break
            fair = self._fair_x(start, attempt)
            if abs(fair - x) > _FAIRLY:
                level += self._gauge.slope * self._elasticity * (fair - x)
                x = fair
            following = k
            for _ in range(_MOST_PROBES):
                k = self._colors_at(at + (goal - level) / _SIZE_BY_PROXY)
                if k in tried or k == following:
                    break
                following = k
                at, level = self._proxy(k), self._predicted(self._level(self.start(k).first(x)))
                if abs(level - goal) < _NEAR:
                    break
            if k in tried:
                break
        return k, x

    def _fair_x(self, start: _Start, attempt: _Attempt) -> float:
        """Return the x at which λ should save about as much for its error as fewer colours do.

        It is where λ has so far made the error larger by `_FAIR` of the share by which it made the
        file smaller, on logarithmic scales.
        """
        error = attempt.mse / max(start.nearest.mse, rate.LEAST_ERROR)
        saving = self._level(start.nearest) - self._level(attempt)
        paid = _clamped(_log(max(error, 1.0)) / max(saving, 0.005), 0.005, 100)
        return _clamped(attempt.x + _log(_FAIR / paid), _LEAST_X, _MOST_X)

    def _usual_share(self) -> float:
        """Return how much of the proxy of nearest entries a file has: more where they cost more."""
        share, n_pixels = 0.5, self._quantizer.n_pixels
        for _ in range(4):
            share = min(0.36 + 0.12 * 8 * self._gauge.most / share / n_pixels, 0.9)
        return share

    def _tune(self, start: _Start, x: float, limit: float) -> int:
        """Move λ, from x up to a limit, until a value is close to the most that is allowed.

        Return 0 if one is, 1 if all are too large, -1 if some are too small.
        """
        gauge, floor = self._gauge, self._gauge.floor(start)
        if floor >= gauge.most:
            return 1
        aim = _log(gauge.most * (1 - gauge.tolerance / 2) - floor)
        near = 0.6 * gauge.tolerance * gauge.most / (gauge.most - floor)
        probes: dict[float, float] = {}  # x: level of the proxy after a first round
        values: dict[float, float] = {}  # x: level of the value
        n_probes = 0
        if not gauge.grows and self._known and self._predicted(self._level(start.nearest)) < aim:
            x = _NONE
        while len(values) < gauge.most_attempts:
            if x <= _NONE:
                value = self._value(start.nearest)
                if value <= gauge.most:
                    return 0 if gauge.is_met(value) else -1
                values[_NONE] = _log(value - floor)
                x = min(probes, default=0.0) - 1
            probes[x] = self._level(start.first(x), floor)
            n_probes += 1
            if self._known is not None:
                off = self._predicted(probes[x]) - aim
                if x == limit < start.limit and not gauge.grows and off > _HOPELESS:
                    return 1
                if abs(off) > near and x < limit and n_probes < _MOST_PROBES:
                    x = self._crossing(probes, values, aim, limit)
                    continue
            value = gauge.value(self._finish(start, x, floor))
            if gauge.is_met(value):
                return 0
            if x == limit and (value > gauge.most) != gauge.grows:
                return 1 if value > gauge.most else -1
            n_probes, values[x] = 0, _log(value - floor)
            x = self._crossing(probes, values, aim, limit)
            if min(abs(x - other) for other in values) < _SAME:  # there is a step
                break
        return -1 if min(values.values()) <= _log(gauge.most - floor) else 1

    def _finish(self, start: _Start, x: float, floor: float = 0.0) -> _Attempt:
        """Make a whole attempt, and learn from it how values go with proxies."""
        first = start.first(x)
        attempt = start.rest(first)
        known = _Known(self._level(first, floor), _log(self._value(attempt) - floor))
        if self._known is not None and not self._gauge.grows:
            moved = known.proxy - self._known.proxy
            if abs(moved) > 0.05:
                self._elasticity = _clamped((known.value - self._known.value) / moved, 0.7, 1.6)
        self._known = known
        return attempt

    def _value(self, attempt: _Attempt) -> float:
        """Return the value of an attempt, and keep it if it is allowed."""
        value = self._gauge.value(attempt)
        if value <= self._gauge.most:
            self._met.append(attempt)
        return value

    def _predicted(self, level: float) -> float:
        """Return the level of the value to which a first round of that level leads."""
        assert self._known is not None  # noqa: S101  # there was an attempt
        return self._known.value + self._elasticity * (level - self._known.proxy)

    def _crossing(
        self, probes: dict[float, float], values: dict[float, float], aim: float, limit: float
    ) -> float:
        """Return the x at which values are as wanted, about: `_NONE` or `limit` if that is far."""
        known = {x: self._predicted(level) for x, level in probes.items()} | values
        short = [x for x in known if (known[x] <= aim) == self._gauge.grows]  # x must go up
        beyond = [x for x in known if x not in short]
        if short and beyond:
            left, right = max(short), min(beyond)
            share = 0.5
            if left < right:
                share = _clamped((aim - known[left]) / (known[right] - known[left]), 0.05, 0.95)
            return left + share * (right - left)
        ordered = sorted((x for x in known if x > _NONE), reverse=bool(short))
        end, slope = ordered[0], self._gauge.slope
        if len(ordered) > 1:
            measured = (known[end] - known[ordered[1]]) / (end - ordered[1])
            slope = measured if measured * slope > 0 else slope / 100
        step = (aim - known[end]) / slope
        if len(ordered) > 1 and abs(step) > 2 * _STRIDE:
            return limit if short else _NONE
        return _clamped(end + _clamped(step, -_STRIDE, _STRIDE), _NONE, limit)


def _log(number: float) -> float:
    """Return log2, the same on every machine."""
    return exact.log2_of(max(number, 1e-9))


def _power(x: float) -> float:
    """Return 2 to the power of x, the same on every machine."""
    return float(exact.exp2(x))


def _clamped(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)
