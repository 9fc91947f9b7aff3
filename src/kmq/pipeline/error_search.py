"""The search for a file whose error is as large as it may be, in few bytes.

An error that some number of colours reaches with nearest entries is tried with a quarter more of
them, and λ as large as it may be.
"""

from __future__ import annotations

from operator import attrgetter

from kmq.pipeline.attempts import NONE, STRIDE, Attempt, Code, Start, clamped, log2
from kmq.pipeline.quantizing import Quantizer

_MORE, _MANY_MORE, _FEW_MORE = 1.25, 1.4, 1.12
"""How many times the colours that nearest entries need are tried: the first, then the second or,
where the first needs little or much of λ, the third."""

_LITTLE, _MUCH = -0.6, 1.5
"""log2 of λ that is little, and much."""

_USUAL_EXCESS = 0.2
"""Share by which the error exceeds e(k) at λ = e(k), before that is known."""

_SLOPE = 0.9
"""d log2 of the error beyond that of nearest entries / d log2 of λ, before it is known."""

_MOST_X = 5.0
"""log2 of λ up to which an error may raise it."""

_SAME = 0.01
"""Least by which log2 of λ moves: below, there is a step."""

_MOST_PROBES, _MOST_ATTEMPTS = 4, 4
"""First rounds for an attempt at most, of which one or two are usual, and attempts with one palette
at most."""

_TOLERANCE = 0.005
"""Share by which an error may stay below its limit."""


class ErrorSearch:
    """Looks for λ until errors are what they may be."""

    def __init__(self, quantizer: Quantizer, code: Code, mse: float, most: int):
        self._quantizer, self._code, self._mse, self._most = quantizer, code, mse, most
        self._met: list[Attempt] = []  # those whose error is allowed
        self._known: tuple[float, float] | None = None  # levels after the first round, and all

    def attempts(self, enough: int) -> list[Attempt]:
        """Return attempts that reach the error, for which nearest entries need `enough` colours."""
        found = []
        x, excess, tried = 0.0, log2(_USUAL_EXCESS), set[int]()
        more = _MORE
        for _ in range(2):
            k = min(round(enough * more), self._most, self._quantizer.n_colors)
            if k not in tried:
                tried.add(k)
                start = Start(self._quantizer, self._code, self._quantizer.palette(k))
                floor = max(start.nearest.mse, 1e-9)
                wanted = log2(self._mse / floor - 1)
                x = clamped(x + (wanted - excess) / _SLOPE, -_MOST_X, _MOST_X)
                self._met.clear()
                self._tune(start, x)
                if self._met:
                    best = max(self._met, key=attrgetter("mse"))
                    found.append(best)
                    x, excess = best.x, log2(best.mse / floor - 1)
            more = _MANY_MORE if _LITTLE < x < _MUCH else _FEW_MORE
        return found

    def _tune(self, start: Start, x: float) -> None:
        """Move λ, from x on, until an error is close to what is allowed."""
        most, floor = self._mse, start.nearest.mse
        if floor >= most:
            return
        aim = log2(most * (1 - _TOLERANCE / 2) - floor)
        near = 0.6 * _TOLERANCE * most / (most - floor)
        probes: dict[float, float] = {}  # x: level of the error after a first round
        values: dict[float, float] = {}  # x: level of the error
        n_probes = 0
        while len(values) < _MOST_ATTEMPTS:
            if x <= NONE:
                self._met.append(start.nearest)
                return
            first = start.first(x)
            probes[x] = log2(first.mse - floor)
            n_probes += 1
            if self._known is not None:
                off = self._predicted(probes[x]) - aim
                if abs(off) > near and x < _MOST_X and n_probes < _MOST_PROBES:
                    x = self._crossing(probes, values, aim)
                    continue
            attempt = start.whole(x)
            n_probes, values[x] = 0, log2(attempt.mse - floor)
            self._known = probes[x], values[x]
            if attempt.mse <= most:
                self._met.append(attempt)
                if attempt.mse >= most * (1 - _TOLERANCE) or x == _MOST_X:
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
        """Return the x at which errors are as wanted, about: `NONE` or the limit if it is far."""
        known = {x: self._predicted(level) for x, level in probes.items()} | values
        short = [x for x in known if known[x] <= aim]  # x must go up
        beyond = [x for x in known if x not in short]
        if short and beyond:
            left, right = max(short), min(beyond)
            share = 0.5
            if left < right:
                share = clamped((aim - known[left]) / (known[right] - known[left]), 0.05, 0.95)
            return left + share * (right - left)
        ordered = sorted(known, reverse=bool(short))
        end, slope = ordered[0], _SLOPE
        if len(ordered) > 1:
            measured = (known[end] - known[ordered[1]]) / (end - ordered[1])
            slope = measured if measured > 0 else slope / 100
        step = (aim - known[end]) / slope
        if len(ordered) > 1 and abs(step) > 2 * STRIDE:
            return _MOST_X if short else NONE
        return clamped(end + clamped(step, -STRIDE, STRIDE), NONE, _MOST_X)
