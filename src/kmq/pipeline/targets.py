"""Files of a given size or quality: palette size k and rate λ are searched for together.

λ is the price of a bit over e(k), the mean squared error of k nearest entries. Files are smallest
for their error where λ makes it about 1.3 · e(k): with a smaller λ fewer colours are cheaper, with
a larger one more colours are better. So a quality, which some number of colours reaches with
nearest entries, is tried with a quarter more of them, and λ as large as it may be. For a size k is
searched for with a λ that pays, and at the k that it ends at λ is moved until the size is met.

An attempt is a few rounds of choices. The first tells what the others will come to, so only those
that promise to meet the target go on. A size is foretold by the model of the rate, and by one file
that was coded: only attempts near the size are coded, once. A λ a little larger takes one round
more, from the attempt before.
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
"""What λ may cost, see `_SizeSearch._fair_x`, and log2 of λ by which it may be off."""

_BELOW, _ABOVE = 0.03, 0.07
"""log2 of a size below and above the one that is wanted, from which on λ is moved, not k. It is
moved up at less cost than down."""

_MOST_GUESSES, _MOST_COLORS_TRIED = 8, 4
"""Estimates of numbers of colours that are computed for one level, and those tried, at most."""

_SIMILAR = 2.0
"""Times as many colours, or as few, whose files are foretold by one that was coded."""

_ONE_ROUND = 1.5
"""log2 of λ by which it moves in one round more, and not from nearest entries anew."""

_FORETOLD, _FORETOLD_BY_X, _FORETOLD_BYTES = 0.03, 0.05, 60
"""log2 by which the size of an attempt may be off that is foretold by another one's, how much more
for each log2 of λ between them, and how much more in files of few bytes."""

_USUAL_SLOPE, _SIZE_BY_ESTIMATE, _SIZE_BY_FIRST = 0.5, 1.2, 1.1
"""d log2 of the estimate of nearest entries / d log2 of k, before it is known, and d log2 of a
size / d log2 of that estimate, and of that of a first round, as k changes."""

_SIZE_SLOPE, _ERROR_SLOPE = -0.16, 0.9
"""d log2 of a size, and of the error beyond that of nearest entries, / d log2 of λ, before they are
known."""

_HOPELESS, _FAR, _FARTHEST = 0.1, 0.3, 1.0
"""log2 of the size that is foretold for the largest λ to the one that is wanted, where no λ helps;
and of the size that a first round foretells, for a usual λ and for the largest there is."""

_NONE, _BEYOND, _ERROR_LIMIT = -10.0, 1.5, 5.0
"""log2 of λ that stands for 0, by how much a size may raise it before another k is better, and up
to which an error may."""

_MOST_PRICE = 4 * 255.0**2
"""Price of a bit at most: the squared error of black for white, of four channels."""

_STRIDE, _SAME, _STEP = 3.0, 0.01, 0.04
"""Most by which log2 of λ moves at once, and least for an error and for a size: there is a step."""

_MOST_PROBES, _MOST_FOR_ERROR, _MOST_FOR_SIZE = 4, 4, 8
"""First rounds for an attempt at most, of which one or two are usual, and attempts with one palette
for an error and for a size."""

_MOST_MOVES = 8
"""Numbers of colours with which λ is moved for a size, at most."""

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
    search = _SizeSearch(quantizer, code, size, most)
    if colors is None:
        best = search.best()
        where = f"{search.fewest} colour{'' if search.fewest == 1 else 's'}"
    else:
        is_given = not isinstance(colors, int)
        start = _Start(quantizer, code, quantizer.palette(colors), is_given=is_given)
        best = search.best_at(start)
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
    search = _ErrorSearch(quantizer, code, mse, most)
    found = [nearest, *search.attempts(len(rounded.palette))]
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
        is_coded: whether its file is made.
    """

    def __init__(self, quantizer: Quantizer, code: Code, mapped: Mapped, x: float):
        self._quantizer, self._code = quantizer, code
        self.mapped, self.x, self.is_coded = mapped, x, False

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
        self.is_coded = True
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

    @property
    def level(self) -> float:
        """log2 of the estimate."""
        return _log(self.estimate)


def _mse(attempt: _Attempt) -> float:
    return attempt.mse


def _size(attempt: _Attempt) -> float:
    return attempt.size


class _Start:
    """Where the attempts with one palette begin: its nearest entries."""

    def __init__(
        self, quantizer: Quantizer, code: Code, rounded: Rounded, *, is_given: bool = False
    ):
        self._quantizer, self._code = quantizer, code
        self._unit = quantizer.unit(rounded)
        self.limit = _log(_MOST_PRICE / self._unit)
        mapped = quantizer.nearest(rounded, is_given=is_given)
        self.nearest = _Attempt(quantizer, code, mapped, _NONE)
        # Attempts, and the last first round, are kept: they may be asked for again.
        self._first, self._wholes = self.nearest, {_NONE: self.nearest}

    def first(self, x: float) -> _Attempt:
        """Return the first round of the attempt at a λ of 2 to the power of x."""
        if x != self._first.x:
            self._first = self._rounds(self.nearest, x, 1)
        return self._first

    def whole(self, x: float) -> _Attempt:
        """Return the attempt after all rounds."""
        if x not in self._wholes:
            self._wholes[x] = self._rounds(self.first(x), x, self._quantizer.rate_rounds - 1)
        return self._wholes[x]

    def is_whole(self, attempt: _Attempt) -> bool:
        """Whether `whole` has made an attempt."""
        return self._wholes.get(attempt.x) is attempt

    def moved(self, attempt: _Attempt, x: float) -> _Attempt:
        """Return an attempt at a larger x than another's, by one round more.

        A smaller x cannot be reached so: indices that cost little stay.
        """
        return self._rounds(attempt, x, 1)

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
            attempt = start.whole(x)
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


class _ErrorSearch:
    """Looks for λ until errors are what they may be."""

    def __init__(self, quantizer: Quantizer, code: Code, mse: float, most: int):
        self._quantizer, self._code, self._mse, self._most = quantizer, code, mse, most
        self._met: list[_Attempt] = []  # those whose error is allowed
        self._known: tuple[float, float] | None = None  # levels after the first round, and all

    def attempts(self, enough: int) -> list[_Attempt]:
        """Return attempts that reach the error, for which nearest entries need `enough` colours."""
        found = []
        x, excess, tried = 0.0, _log(_USUAL_EXCESS), set[int]()
        more = _MORE
        for _ in range(2):
            k = min(round(enough * more), self._most, self._quantizer.n_colors)
            if k not in tried:
                tried.add(k)
                start = _Start(self._quantizer, self._code, self._quantizer.palette(k))
                floor = max(start.nearest.mse, 1e-9)
                wanted = _log(self._mse / floor - 1)
                x = _clamped(x + (wanted - excess) / _ERROR_SLOPE, -_ERROR_LIMIT, _ERROR_LIMIT)
                self._met.clear()
                self._tune(start, x)
                if self._met:
                    best = max(self._met, key=_mse)
                    found.append(best)
                    x, excess = best.x, _log(best.mse / floor - 1)
            more = _MANY_MORE if _LITTLE < x < _MUCH else _FEW_MORE
        return found

    def _tune(self, start: _Start, x: float) -> None:
        """Move λ, from x on, until an error is close to what is allowed."""
        most, floor = self._mse, start.nearest.mse
        if floor >= most:
            return
        aim = _log(most * (1 - _ERROR_TOLERANCE / 2) - floor)
        near = 0.6 * _ERROR_TOLERANCE * most / (most - floor)
        probes: dict[float, float] = {}  # x: level of the error after a first round
        values: dict[float, float] = {}  # x: level of the error
        n_probes = 0
        while len(values) < _MOST_FOR_ERROR:
            if x <= _NONE:
                self._met.append(start.nearest)
                return
            first = start.first(x)
            probes[x] = _log(first.mse - floor)
            n_probes += 1
            if self._known is not None:
                off = self._predicted(probes[x]) - aim
                if abs(off) > near and x < _ERROR_LIMIT and n_probes < _MOST_PROBES:
                    x = self._crossing(probes, values, aim)
                    continue
            attempt = start.whole(x)
            n_probes, values[x] = 0, _log(attempt.mse - floor)
            self._known = probes[x], values[x]
            if attempt.mse <= most:
                self._met.append(attempt)
                if attempt.mse >= most * (1 - _ERROR_TOLERANCE) or x == _ERROR_LIMIT:
                    return
            x = self._crossing(probes, values, aim)
            if min(abs(x - other) for other in values) < _SAME:  # there is a step
                return

    def _predicted(self, level: float) -> float:
        """Return the level of the error to which a first round of that level leads."""
        assert self._known is not None  # noqa: S101  # there was an attempt
        return self._known[1] + level - self._known[0]

    def _crossing(
        self, probes: dict[float, float], values: dict[float, float], aim: float
    ) -> float:
        """Return the x at which errors are as wanted, about: `_NONE` or the limit if it is far."""
        known = {x: self._predicted(level) for x, level in probes.items()} | values
        short = [x for x in known if known[x] <= aim]  # x must go up
        beyond = [x for x in known if x not in short]
        if short and beyond:
            left, right = max(short), min(beyond)
            share = 0.5
            if left < right:
                share = _clamped((aim - known[left]) / (known[right] - known[left]), 0.05, 0.95)
            return left + share * (right - left)
        ordered = sorted(known, reverse=bool(short))
        end, slope = ordered[0], _ERROR_SLOPE
        if len(ordered) > 1:
            measured = (known[end] - known[ordered[1]]) / (end - ordered[1])
            slope = measured if measured > 0 else slope / 100
        step = (aim - known[end]) / slope
        if len(ordered) > 1 and abs(step) > 2 * _STRIDE:
            return _ERROR_LIMIT if short else _NONE
        return _clamped(end + _clamped(step, -_STRIDE, _STRIDE), _NONE, _ERROR_LIMIT)


class _Known(NamedTuple):
    """An attempt at x with k colours: levels of its estimates as nearest entries and after the
    first round, and of the whole one's size."""

    k: int
    x: float
    nearest: float
    first: float
    level: float


class _SizeSearch:
    """Looks for k, and for λ, until files have a size.

    Levels are logarithms to base 2 of bytes, of estimates or of files.
    """

    def __init__(self, quantizer: Quantizer, code: Code, size: float, most: int):
        self._quantizer, self._code, self._size = quantizer, code, size
        self._goal, self._aim = _log(size), _log(size * (1 - _SIZE_TOLERANCE / 2))
        self.fewest = max(1, quantizer.n_fixed)
        self._most = max(self.fewest, min(most, quantizer.n_colors))
        self._met: list[_Attempt] = []  # files that are small enough
        self._started: tuple[int, _Start] | None = None
        self._estimates: dict[int, float] = {}  # levels of k nearest entries
        self._known: _Known | None = None
        self._elasticity = _SIZE_BY_ESTIMATE
        self._ratio, self._coded_x = math.nan, 0.0  # of the last file to its estimate; its x

    def best(self) -> _Attempt:
        """Return the attempt of least error that has the size, or the smallest there is."""
        k, x = self._colors()
        fewest, most = self.fewest, self._most
        for _ in range(_MOST_MOVES):
            side = self._meet(self._start(k), x, x + _BEYOND)
            if side == 0:
                break
            if side < 0:
                fewest, level = k + 1, self._foretold(self._start(k).nearest)
            else:
                most, level = k - 1, self._promised(self._start(k), x)
            if fewest > most:
                k = min(fewest, self._most)
                break
            k = int(_clamped(self._following(k, level), fewest, most))
        if not self._close():  # too large at any usual λ
            start = self._start(k)
            self._meet(start, x + _BEYOND, start.limit)
        return self._least_error() or self._start(self.fewest).nearest

    def best_at(self, start: _Start) -> _Attempt:
        """Return the same for one palette."""
        attempt = start.whole(_FIRST_X)
        self._code_file(attempt)
        if attempt.size <= self._size:
            self._code_file(start.nearest)
            if start.nearest.size <= self._size:
                return start.nearest
        self._meet(start, _FIRST_X, start.limit)
        return self._least_error() or start.whole(start.limit)

    def _least_error(self) -> _Attempt | None:
        """Return the attempt of least error, of those that come close to the size if some do."""
        return min(self._close() or self._met, key=_mse, default=None)

    def _close(self) -> list[_Attempt]:
        """Return the attempts that come close to the size."""
        return [one for one in self._met if self._is_close(one)]

    def _is_close(self, attempt: _Attempt) -> bool:
        least = self._size * (1 - _SIZE_TOLERANCE)
        return attempt.is_coded and least <= attempt.size <= self._size

    def _start(self, k: int) -> _Start:
        """Return the start with k colours."""
        if self._started is None or self._started[0] != k:
            self._started = k, _Start(self._quantizer, self._code, self._quantizer.palette(k))
        return self._started[1]

    # How many colours

    def _colors(self) -> tuple[int, float]:
        """Return k, and x, with which a file has about the size that is wanted."""
        k, x = self._colors_at(self._goal - _log(self._usual_share())), _FIRST_X
        tried = set[int]()
        while k not in tried and len(tried) < _MOST_COLORS_TRIED:
            tried.add(k)
            level = self._level_at(self._start(k), x)
            if len(tried) == 1:
                fair = self._fair_x(self._start(k), self._start(k).whole(x))
                level, x = level + _SIZE_SLOPE * (fair - x), fair
            if -_BELOW < level - self._goal < _ABOVE:
                break
            k = self._following(k, level)
        return k, x

    def _level_at(self, start: _Start, x: float) -> float:
        """Return the level of the size of a whole attempt, by its first round if that will do."""
        k, known = len(start.nearest.mapped.palette), self._known
        if known and abs(known.x - x) <= 1 and max(k, known.k) <= _SIMILAR * min(k, known.k):
            return self._promised(start, x)
        attempt = start.whole(x)
        self._code_file(attempt)
        self._learn(start, attempt)
        return self._foretold(attempt)

    def _promised(self, start: _Start, x: float) -> float:
        """Return the level of the size of a whole attempt by its first round."""
        assert self._known is not None  # noqa: S101  # there was an attempt
        first, level = self._known.first, self._known.level
        return level + _SIZE_BY_FIRST * (start.first(x).level - first)

    def _learn(self, start: _Start, attempt: _Attempt) -> None:
        """Learn from a whole attempt how sizes go with estimates."""
        k, level = len(start.nearest.mapped.palette), self._foretold(attempt)
        moved = start.nearest.level - self._known.nearest if self._known is not None else 0.0
        if self._known is not None and abs(moved) > 0.1:
            self._elasticity = _clamped((level - self._known.level) / moved, 0.6, 1.8)
        first = start.first(attempt.x).level
        self._known = _Known(k, attempt.x, start.nearest.level, first, level)

    def _following(self, k: int, level: float) -> int:
        """Return the k at which the size is as wanted, about, by the level at this one."""
        off = self._goal + _ABOVE / 2 - level
        return self._colors_at(self._estimate(k) + off / self._elasticity)

    def _colors_at(self, level: float) -> int:
        """Return the k whose nearest entries have an estimate of that level, about.

        It is no further than a factor of two from one whose estimate is known.
        """
        k = int(_clamped(_FIRST_COLORS, self.fewest, self._most))
        for _ in range(_MOST_GUESSES):
            self._estimate(k)
            known = min(self._estimates, key=lambda one: abs(self._estimates[one] - level))
            off = (level - self._estimates[known]) / self._slope_at(known)
            k = round(known * _power(_clamped(off, -2, 2)))
            k = int(_clamped(k, self.fewest, self._most))
            if k in self._estimates or max(k, known) <= 2 * min(k, known):
                break
        return k

    def _slope_at(self, k: int) -> float:
        """Return d level of the estimate of nearest entries / d log2 of k."""
        usual = _USUAL_SLOPE
        others = [one for one in self._estimates if max(one, k) >= 1.5 * min(one, k)]
        if not others:
            return usual
        other = min(others, key=lambda one: max(one, k) / min(one, k))
        slope = (self._estimates[k] - self._estimates[other]) / _log(k / other)
        return slope if 0.2 < slope / usual < 5 else usual

    def _estimate(self, k: int) -> float:
        """Return the level of the estimate of k nearest entries."""
        if k not in self._estimates:
            self._estimates[k] = self._start(k).nearest.level
        return self._estimates[k]

    def _fair_x(self, start: _Start, attempt: _Attempt) -> float:
        """Return the x at which λ should save about as much for its error as fewer colours do.

        It is where λ has so far made the error larger by `_FAIR` of the share by which it made the
        file smaller, on logarithmic scales; that of the attempt where it is near.
        """
        error = attempt.mse / max(start.nearest.mse, rate.LEAST_ERROR)
        saving = start.nearest.level - attempt.level
        paid = _clamped(_log(max(error, 1.0)) / max(saving, 0.005), 0.005, 100)
        x = _clamped(attempt.x + _log(_FAIR / paid), _LEAST_X, _MOST_X)
        return x if abs(x - attempt.x) > _FAIRLY else attempt.x

    def _usual_share(self) -> float:
        """Return how much of the estimate of nearest entries a file has: more where they cost
        more."""
        share, n_pixels = 0.5, self._quantizer.n_pixels
        for _ in range(4):
            share = min(0.36 + 0.12 * 8 * self._size / share / n_pixels, 0.9)
        return share

    # How much λ

    def _meet(self, start: _Start, x: float, limit: float) -> int:
        """Move λ, from x on and up to a limit, until a size is close to what is allowed.

        Return 0 if one is, 1 if all are too large, -1 if some are too small.
        """
        if self._foretold(start.nearest) < self._goal:
            self._code_file(start.nearest)
            if start.nearest.size <= self._size:
                return 0 if self._is_close(start.nearest) else -1
        probe, far = (x, _FAR) if limit < start.limit else (limit, _FARTHEST)
        if self._known is not None and self._promised(start, probe) > self._goal + far:
            return 1
        tried: dict[float, _Attempt] = {}
        small: dict[float, _Attempt] = {}
        for turn in range(_MOST_FOR_SIZE):
            end = max(tried, default=x)
            is_near = not small and 0 < x - end <= _ONE_ROUND
            attempt = tried[x] = start.moved(tried[end], x) if is_near else start.whole(x)
            if small:  # it matters, and estimates may be off
                self._code_file(attempt)
            level = self._level(attempt)
            if self._is_close(attempt):
                return 0
            if level <= self._goal:
                small[x] = attempt
                if x == _NONE:
                    break
                # Moved ones that are too large say little of the others: indices stay longer.
                tried = {x: one for x, one in tried.items() if x in small or start.is_whole(one)}
            if turn == 0:
                self._learn(start, attempt)
            x = self._crossing(start, tried, limit)
            if x > limit or min(abs(x - other) for other in tried) < _STEP:
                break
        for end in sorted(small):
            self._code_file(small[end])
            if small[end].size <= self._size:
                return -1
        return 1

    def _crossing(self, start: _Start, tried: dict[float, _Attempt], limit: float) -> float:
        """Return the x at which the size is as wanted, about; infinity if that is hopeless."""
        levels = {x: self._foretold(tried[x]) for x in tried}
        large = [x for x in levels if levels[x] > self._goal]
        small = [x for x in levels if levels[x] <= self._goal]
        if large and small and max(large) < min(small):
            left, right = max(large), min(small)
            share = (levels[left] - self._aim) / (levels[left] - levels[right])
            left = max(left, right - _STRIDE)
            return left + (_clamped(share, 0.1, 0.9) if len(tried) % 2 else 0.5) * (right - left)
        end = max(large) if large else min(small)
        slope = -0.02 - 0.055 * (start.nearest.level - tried[end].level)
        others = [x for x in levels if x not in (end, _NONE)]
        if others:
            other = min(others, key=lambda x: abs(x - end))
            slope = _clamped((levels[end] - levels[other]) / (end - other), -0.5, -0.005)
        step = (self._aim - levels[end]) / slope
        beyond = levels[end] + 2 * slope * (limit - end) - self._goal
        if large and limit < start.limit and beyond > _HOPELESS:
            return math.inf
        if others and abs(step) > _STRIDE:  # λ does little here
            return limit if large else end - _STRIDE if end > _LEAST_X else _NONE
        return _clamped(end + _clamped(step, -_STRIDE, _STRIDE), _NONE, limit)

    # How many bytes

    def _level(self, attempt: _Attempt) -> float:
        """Return the level of a file's size, which is coded if that is near what is wanted."""
        off = _FORETOLD + _FORETOLD_BY_X * abs(attempt.x - self._coded_x)
        off += _FORETOLD_BYTES / self._size
        if not abs(self._foretold(attempt) - self._aim) > off:
            self._code_file(attempt)
        return self._foretold(attempt)

    def _foretold(self, attempt: _Attempt) -> float:
        """Return the level of a file's size, which is foretold unless it is known."""
        return _log(attempt.size) if attempt.is_coded else attempt.level + self._ratio

    def _code_file(self, attempt: _Attempt) -> None:
        if not attempt.is_coded:
            if attempt.x > _NONE:
                self._ratio, self._coded_x = _log(attempt.size) - attempt.level, attempt.x
            if attempt.size <= self._size:
                self._met.append(attempt)


def _log(number: float) -> float:
    """Return log2, the same on every machine."""
    return exact.log2_of(max(number, 1e-9))


def _power(x: float) -> float:
    """Return 2 to the power of x, the same on every machine."""
    return float(exact.exp2(x))


def _clamped(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)
