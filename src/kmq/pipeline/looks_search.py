"""The search for a file that looks as good as wanted, by SSIMULACRA2, in few bytes.

k is that of nearest entries that look as good, and a fifth more; λ is as large as it may be.
"""

from __future__ import annotations

from kmq.pipeline.attempts import FIRST_COLORS, LEAST_X, Attempt, Code, Start, clamped, log2, power
from kmq.pipeline.quantizing import Quantizer

_NEARLY = 1.1
"""How many times too few colours are nearly enough."""

_SCORE_BY_COLORS, _SCORE_BY_X = 15.0, -5.0
"""d SSIMULACRA2 / d log2 of k, of nearest entries, and / d log2 of λ, before they are known."""

_MORE = 1.2
"""How many times the colours that nearest entries need are taken. A second k, 1.1 or 1.4 times as
many, gained 2 % for half as much time again."""

_HIGH, _X_FOR_HIGH, _X_BY_SCORE, _MOST_X = 65.0, 2.2, -1 / 15, 7.0
"""Above this SSIMULACRA2 log2 of λ is usually that; how much it grows below, and up to where."""

_TOLERANCE = 0.5
"""How much better than asked for a file may look, of 100."""

_MOST_ATTEMPTS, _STRIDE = 4, 2.0
"""Whole attempts with one palette at most, and by how much log2 of λ moves at once."""


class LooksSearch:
    """Searches for k, and then for λ, until pictures look as good as wanted."""

    def __init__(self, quantizer: Quantizer, code: Code, quality: float, most: int):
        self._quantizer, self._code, self._quality = quantizer, code, quality
        self._least = max(1, quantizer.n_fixed)
        self._most = max(self._least, min(most, quantizer.n_colors))

    def fewest(self) -> Attempt:
        """Return the fewest nearest entries, about, that look as good, or the most there may be."""
        few, enough = self._least - 1, self._most + 1
        best, k = None, int(clamped(FIRST_COLORS, self._least, self._most))
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
            k = int(clamped(self._colors_at(scores, few, enough), few + 1, enough - 1))
        return best

    def traded(self, enough: int) -> Attempt | None:
        """Return the attempt of largest λ found that looks as good, if one does, with more colours
        than the nearest entries need."""
        start = self._start(min(round(enough * _MORE), self._most))
        x = _X_FOR_HIGH + min(self._quality - _HIGH, 0) * _X_BY_SCORE
        aim = self._quality + _TOLERANCE / 2
        scores = dict[float, float]()
        best: Attempt | None = None
        for _ in range(_MOST_ATTEMPTS):
            x = clamped(x, LEAST_X, _MOST_X)
            attempt = start.whole(x)
            scores[x] = attempt.looks
            if attempt.looks >= self._quality and (best is None or x > best.x):
                best = attempt
            if 0 <= attempt.looks - self._quality <= _TOLERANCE:
                break
            worse = [other for other in scores if scores[other] < aim]
            better = [other for other in scores if scores[other] >= aim]
            if worse and better and max(better) < min(worse):
                left, right = max(better), min(worse)
                share = (scores[left] - aim) / (scores[left] - scores[right])
                x = left + clamped(share, 0.1, 0.9) * (right - left)
            else:
                step = (aim - attempt.looks) / self._slope(scores)
                x += clamped(step, -_STRIDE, _STRIDE)
            if clamped(x, LEAST_X, _MOST_X) in scores:
                break
        return best

    def _slope(self, scores: dict[float, float]) -> float:
        """Return d SSIMULACRA2 / d log2 of λ, by the last two that were tried."""
        if len(scores) < 2:
            return _SCORE_BY_X
        (x, score), (other, other_score) = list(scores.items())[-2:]
        return min((score - other_score) / (x - other), _SCORE_BY_X / 5)

    def _start(self, k: int) -> Start:
        return Start(self._quantizer, self._code, self._quantizer.palette(k))

    def _colors_at(self, scores: dict[int, float], few: int, enough: int) -> float:
        """Return k at which nearest entries look about as good, by those that were tried."""
        if few in scores and enough in scores and scores[enough] > scores[few]:
            share = (self._quality - scores[few]) / (scores[enough] - scores[few])
            return few * power(clamped(share, 0.1, 0.9) * log2(enough / few)) + 0.5
        k = enough if enough in scores else few
        doublings = (self._quality - scores[k]) / _SCORE_BY_COLORS
        return k * power(clamped(doublings + (0.1 if k == few else -0.1), -2, 2))
