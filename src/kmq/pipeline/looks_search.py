"""The search for a file that looks as good as wanted, by SSIMULACRA2, in few bytes.

k is that of nearest entries that look as good, or a tenth more; λ is as large as it may be. It is
steered from round to round, so that one pass of rounds ends where it should.
"""

from __future__ import annotations

from kmq.pipeline.attempts import FIRST_COLORS, LEAST_X, Attempt, Code, Start, clamped, log2, power
from kmq.pipeline.quantizing import Quantizer

_NEARLY, _ROUGHLY = 1.1, 2.0
"""How many times too few colours are nearly enough, and near enough to interpolate between."""

_SCORE_BY_COLORS = 15.0
"""d SSIMULACRA2 / d log2 of k, of nearest entries, before it is known."""

_OF_FIRST_COLORS, _BY_FIRST_COLORS = 45.0, 20.0
"""SSIMULACRA2 for which `FIRST_COLORS` are tried first, and how much more is for twice as many."""

_MEDIUM, _MORE, _MORE_BY_SCORE = 45.0, 1.1, 1 / 150
"""Up to this SSIMULACRA2 as many colours are taken as nearest entries need; above it up to so many
times as many, and how fast that grows."""

_HIGH, _X_FOR_HIGH, _X_BY_SCORE, _MOST_X = 65.0, 2.2, -1 / 15, 7.0
"""Above this SSIMULACRA2 log2 of λ is usually that; how much it grows below, and up to where."""

_SLOPE, _STEEPEST, _FLATTEST = -5.0, -8.0, -3.0
"""d SSIMULACRA2 / d log2 of λ before it is known, and between what it is trusted."""

_DROP, _LEAST_DROP, _MOST_DROP = 1.0, 0.2, 3.0
"""By how much the second round lowers SSIMULACRA2 before that is known, and between what it is
trusted."""

_REST = (2.0, 0.9, 0.4, 0.15, 0.0)
"""How many times that all rounds lower it after the first, the second and so on."""

_UP, _DOWN = (0.7, 0.7, 1.0, 1.5, 2.0), (0.7, 0.7, 1.5, 2.5, 4.0)
"""How many times the step that the slope asks for λ takes after these rounds: a late round answers
to a part of it, the least where λ falls, for indices that cost little stay."""

_TOLERANCE = 0.2
"""How much better than asked for a file may look, of 100."""

_MOST_PROBES, _FAR, _STRIDE = 3, 0.35, 2.0
"""First rounds at most, how far log2 of λ may be off after one, and its longest step."""

_MORE_ROUNDS = 5
"""Rounds beyond the usual at most."""


class LooksSearch:
    """Searches for k, and then for λ, until pictures look as good as wanted."""

    def __init__(self, quantizer: Quantizer, code: Code, quality: float, most: int):
        self._quantizer, self._code, self._quality = quantizer, code, quality
        self._least = max(1, quantizer.n_fixed)
        self._most = max(self._least, min(most, quantizer.n_colors))
        self._few, self._enough = self._least - 1, self._most + 1
        self._scores = dict[int, float]()
        self._best: Attempt | None = None

    def few(self) -> Attempt:
        """Return at most twice the fewest nearest entries that look as good, or the most there may
        be."""
        return self._narrowed(_ROUGHLY)

    def fewest(self) -> Attempt:
        """Return the fewest nearest entries, about, that look as good, or the most there may be."""
        return self._narrowed(_NEARLY)

    def traded(self) -> Attempt | None:
        """Return an attempt of large λ that looks as good, if one does, with as many colours as
        nearest entries need, or some more, after `few` has found how many these are."""
        more = clamped(1 + (self._quality - _MEDIUM) * _MORE_BY_SCORE, 1, _MORE)
        start = self._start(min(round(self._needed() * more), self._most))
        attempt, slope = self._probed(start)
        best: Attempt | None = None
        drop, n_rounds = _DROP, self._quantizer.rate_rounds
        for done in range(n_rounds + _MORE_ROUNDS - 1):
            stage = min(done, len(_REST) - 1)
            step = (self._aim + drop * _REST[stage] - attempt.looks) / slope
            step *= (_UP if step > 0 else _DOWN)[stage]
            last, attempt = attempt, start.moved(attempt, _moved(attempt.x, step))
            if done == 0:
                expected = last.looks + slope * (attempt.x - last.x)
                drop = clamped(expected - attempt.looks, _LEAST_DROP, _MOST_DROP)
            excess = attempt.looks - self._quality
            if excess >= 0:
                best = attempt
            is_at_end = attempt.x == last.x in (LEAST_X, _MOST_X)
            if done >= n_rounds - 2 and (0 <= excess <= _TOLERANCE or is_at_end):
                break
        return best

    @property
    def _aim(self) -> float:
        return self._quality + _TOLERANCE / 2

    def _probed(self, start: Start) -> tuple[Attempt, float]:
        """Return a first round at a λ that is about right, and d SSIMULACRA2 / d log2 of λ."""
        x = _X_FOR_HIGH + min(self._quality - _HIGH, 0) * _X_BY_SCORE
        attempt, slope = start.first(x), _SLOPE
        for _ in range(_MOST_PROBES - 1):
            step = (self._aim + _DROP * _REST[0] - attempt.looks) / slope
            x = _moved(attempt.x, step)
            if abs(x - attempt.x) < _FAR:
                break
            last, attempt = attempt, start.first(x)
            measured = (attempt.looks - last.looks) / (attempt.x - last.x)
            slope = clamped(measured, _STEEPEST, _FLATTEST)
        return attempt, slope

    def _narrowed(self, nearly: float) -> Attempt:
        """Return the fewest nearest entries that look as good, or up to so many times as many."""
        while self._best is None or self._enough > max(self._few + 1, nearly * self._few):
            k = int(clamped(self._next(), self._few + 1, self._enough - 1))
            nearest = self._start(k).nearest
            self._scores[k] = nearest.looks
            if nearest.looks >= self._quality:
                self._best, self._enough = nearest, k
            elif k == self._most:
                return nearest
            else:
                self._few = k
        return self._best

    def _next(self) -> float:
        """Return k to try next."""
        if self._few in self._scores and self._enough in self._scores:
            return self._between(0.1, 0.9) + 0.5
        if not self._scores:
            octaves = (self._quality - _OF_FIRST_COLORS) / _BY_FIRST_COLORS
            return FIRST_COLORS * power(octaves)
        is_few = self._few in self._scores
        k = self._few if is_few else self._enough
        octaves = (self._quality - self._scores[k]) / _SCORE_BY_COLORS
        return k * power(clamped(octaves + (0.1 if is_few else -0.1), -2, 2))

    def _needed(self) -> float:
        """Return k with which nearest entries look just as good, about."""
        return self._between(0, 1) if self._few in self._scores else self._enough

    def _between(self, low: float, high: float) -> float:
        """Return k at which nearest entries look as good, between two that were tried."""
        few, enough, scores = self._few, self._enough, self._scores
        share = (self._quality - scores[few]) / (scores[enough] - scores[few])
        return few * power(clamped(share, low, high) * log2(enough / few))

    def _start(self, k: int) -> Start:
        return Start(self._quantizer, self._code, self._quantizer.palette(k))


def _moved(x: float, step: float) -> float:
    """Return x after a step that is not too long."""
    return clamped(x + clamped(step, -_STRIDE, _STRIDE), LEAST_X, _MOST_X)
