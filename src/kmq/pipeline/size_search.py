"""The search for the file of least error that has at most so many bytes.

k is searched for with a λ that pays, and at the k that it ends at λ is moved until the size is met.

A size is foretold by the model of the rate, and by one file that was coded: only attempts near the
size are coded, once. A λ a little larger takes one round more, from the attempt before.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import NamedTuple

from kmq.pipeline.attempts import (
    FIRST_COLORS,
    LEAST_X,
    NONE,
    STRIDE,
    Attempt,
    Code,
    Start,
    clamped,
    log2,
    power,
)
from kmq.pipeline.quantizing import Quantizer
from kmq.stages.mapping import rate

_FIRST_X, _MOST_X = 0.5, 1.0
"""log2 of λ along which k is searched for: at first, and how far up it goes."""

_FAIR, _FAIRLY = 0.36, 0.6
"""What λ may cost, see `SizeSearch._fair_x`, and log2 of λ by which it may be off."""

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

_SLOPE = -0.16
"""d log2 of a size / d log2 of λ, before it is known."""

_HOPELESS, _FAR, _FARTHEST = 0.1, 0.3, 1.0
"""log2 of the size that is foretold for the largest λ to the one that is wanted, where no λ helps;
and of the size that a first round foretells, for a usual λ and for the largest there is."""

_BEYOND = 1.5
"""By how much a size may raise log2 of λ before another k is better."""

_STEP = 0.04
"""Least by which log2 of λ moves: below, there is a step."""

_MOST_ATTEMPTS, _MOST_MOVES = 8, 8
"""Attempts with one palette at most, and numbers of colours with which λ is moved."""

_TOLERANCE = 0.02
"""Share by which a size may stay below its limit."""


class _Known(NamedTuple):
    """An attempt at x with k colours: levels of its estimates as nearest entries and after the
    first round, and of the whole one's size."""

    k: int
    x: float
    nearest: float
    first: float
    level: float


class SizeSearch:
    """Looks for k, and for λ, until files have a size.

    Levels are logarithms to base 2 of bytes, of estimates or of files.
    """

    def __init__(self, quantizer: Quantizer, code: Code, size: float, most: int):
        self._quantizer, self._code, self._size = quantizer, code, size
        self._goal, self._aim = log2(size), log2(size * (1 - _TOLERANCE / 2))
        self.fewest = max(1, quantizer.n_fixed)
        self._most = max(self.fewest, min(most, quantizer.n_colors))
        self._met: list[Attempt] = []  # files that are small enough
        self._started: tuple[int, Start] | None = None
        self._estimates: dict[int, float] = {}  # levels of k nearest entries
        self._known: _Known | None = None
        self._elasticity = _SIZE_BY_ESTIMATE
        self._ratio, self._coded_x = math.nan, 0.0  # of the last file to its estimate; its x

    def best(self) -> Attempt:
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
            k = int(clamped(self._following(k, level), fewest, most))
        if not self._close():  # too large at any usual λ
            start = self._start(k)
            self._meet(start, x + _BEYOND, start.limit)
        return self._least_error() or self._start(self.fewest).nearest

    def best_at(self, start: Start) -> Attempt:
        """Return the same for one palette."""
        attempt = start.whole(_FIRST_X)
        self._code_file(attempt)
        if attempt.size <= self._size:
            self._code_file(start.nearest)
            if start.nearest.size <= self._size:
                return start.nearest
        self._meet(start, _FIRST_X, start.limit)
        return self._least_error() or start.whole(start.limit)

    def _least_error(self) -> Attempt | None:
        """Return the attempt of least error, of those that come close to the size if some do."""
        return min(self._close() or self._met, key=attrgetter("mse"), default=None)

    def _close(self) -> list[Attempt]:
        """Return the attempts that come close to the size."""
        return [one for one in self._met if self._is_close(one)]

    def _is_close(self, attempt: Attempt) -> bool:
        least = self._size * (1 - _TOLERANCE)
        return attempt.is_coded and least <= attempt.size <= self._size

    def _start(self, k: int) -> Start:
        """Return the start with k colours."""
        if self._started is None or self._started[0] != k:
            self._started = k, Start(self._quantizer, self._code, self._quantizer.palette(k))
        return self._started[1]

    # How many colours

    def _colors(self) -> tuple[int, float]:
        """Return k, and x, with which a file has about the size that is wanted."""
        k, x = self._colors_at(self._goal - log2(self._usual_share())), _FIRST_X
        tried = set[int]()
        while k not in tried and len(tried) < _MOST_COLORS_TRIED:
            tried.add(k)
            level = self._level_at(self._start(k), x)
            if len(tried) == 1:
                fair = self._fair_x(self._start(k), self._start(k).whole(x))
                level, x = level + _SLOPE * (fair - x), fair
            if -_BELOW < level - self._goal < _ABOVE:
                break
            k = self._following(k, level)
        return k, x

    def _level_at(self, start: Start, x: float) -> float:
        """Return the level of the size of a whole attempt, by its first round if that will do."""
        k, known = len(start.nearest.mapped.palette), self._known
        if known and abs(known.x - x) <= 1 and max(k, known.k) <= _SIMILAR * min(k, known.k):
            return self._promised(start, x)
        attempt = start.whole(x)
        self._code_file(attempt)
        self._learn(start, attempt)
        return self._foretold(attempt)

    def _promised(self, start: Start, x: float) -> float:
        """Return the level of the size of a whole attempt by its first round."""
        assert self._known is not None  # noqa: S101  # there was an attempt
        first, level = self._known.first, self._known.level
        return level + _SIZE_BY_FIRST * (start.first(x).level - first)

    def _learn(self, start: Start, attempt: Attempt) -> None:
        """Learn from a whole attempt how sizes go with estimates."""
        k, level = len(start.nearest.mapped.palette), self._foretold(attempt)
        moved = start.nearest.level - self._known.nearest if self._known is not None else 0.0
        if self._known is not None and abs(moved) > 0.1:
            self._elasticity = clamped((level - self._known.level) / moved, 0.6, 1.8)
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
        k = int(clamped(FIRST_COLORS, self.fewest, self._most))
        for _ in range(_MOST_GUESSES):
            self._estimate(k)
            known = min(self._estimates, key=lambda one: abs(self._estimates[one] - level))
            off = (level - self._estimates[known]) / self._slope_at(known)
            k = round(known * power(clamped(off, -2, 2)))
            k = int(clamped(k, self.fewest, self._most))
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
        slope = (self._estimates[k] - self._estimates[other]) / log2(k / other)
        return slope if 0.2 < slope / usual < 5 else usual

    def _estimate(self, k: int) -> float:
        """Return the level of the estimate of k nearest entries."""
        if k not in self._estimates:
            self._estimates[k] = self._start(k).nearest.level
        return self._estimates[k]

    def _fair_x(self, start: Start, attempt: Attempt) -> float:
        """Return the x at which λ should save about as much for its error as fewer colours do.

        It is where λ has so far made the error larger by `_FAIR` of the share by which it made the
        file smaller, on logarithmic scales; that of the attempt where it is near.
        """
        error = attempt.mse / max(start.nearest.mse, rate.LEAST_ERROR)
        saving = start.nearest.level - attempt.level
        paid = clamped(log2(max(error, 1.0)) / max(saving, 0.005), 0.005, 100)
        x = clamped(attempt.x + log2(_FAIR / paid), LEAST_X, _MOST_X)
        return x if abs(x - attempt.x) > _FAIRLY else attempt.x

    def _usual_share(self) -> float:
        """Return how much of the estimate of nearest entries a file has: more where they cost
        more."""
        share, n_pixels = 0.5, self._quantizer.n_pixels
        for _ in range(4):
            share = min(0.36 + 0.12 * 8 * self._size / share / n_pixels, 0.9)
        return share

    # How much λ

    def _meet(self, start: Start, x: float, limit: float) -> int:
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
        tried: dict[float, Attempt] = {}
        small: dict[float, Attempt] = {}
        for turn in range(_MOST_ATTEMPTS):
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
                if x == NONE:
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

    def _crossing(self, start: Start, tried: dict[float, Attempt], limit: float) -> float:
        """Return the x at which the size is as wanted, about; infinity if that is hopeless."""
        levels = {x: self._foretold(tried[x]) for x in tried}
        large = [x for x in levels if levels[x] > self._goal]
        small = [x for x in levels if levels[x] <= self._goal]
        if large and small and max(large) < min(small):
            left, right = max(large), min(small)
            share = (levels[left] - self._aim) / (levels[left] - levels[right])
            left = max(left, right - STRIDE)
            return left + (clamped(share, 0.1, 0.9) if len(tried) % 2 else 0.5) * (right - left)
        end = max(large) if large else min(small)
        slope = -0.02 - 0.055 * (start.nearest.level - tried[end].level)
        others = [x for x in levels if x not in (end, NONE)]
        if others:
            other = min(others, key=lambda x: abs(x - end))
            slope = clamped((levels[end] - levels[other]) / (end - other), -0.5, -0.005)
        step = (self._aim - levels[end]) / slope
        beyond = levels[end] + 2 * slope * (limit - end) - self._goal
        if large and limit < start.limit and beyond > _HOPELESS:
            return math.inf
        if others and abs(step) > STRIDE:  # λ does little here
            return limit if large else end - STRIDE if end > LEAST_X else NONE
        return clamped(end + clamped(step, -STRIDE, STRIDE), NONE, limit)

    # How many bytes

    def _level(self, attempt: Attempt) -> float:
        """Return the level of a file's size, which is coded if that is near what is wanted."""
        off = _FORETOLD + _FORETOLD_BY_X * abs(attempt.x - self._coded_x)
        off += _FORETOLD_BYTES / self._size
        if not abs(self._foretold(attempt) - self._aim) > off:
            self._code_file(attempt)
        return self._foretold(attempt)

    def _foretold(self, attempt: Attempt) -> float:
        """Return the level of a file's size, which is foretold unless it is known."""
        return log2(attempt.size) if attempt.is_coded else attempt.level + self._ratio

    def _code_file(self, attempt: Attempt) -> None:
        if not attempt.is_coded:
            if attempt.x > NONE:
                self._ratio, self._coded_x = log2(attempt.size) - attempt.level, attempt.x
            if attempt.size <= self._size:
                self._met.append(attempt)
