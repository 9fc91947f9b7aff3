"""How a palette is searched for, and how long that goes on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kmq.stages.palette.clustering import DEFAULT_TOLERANCE

_MANY_COLORS = 512
"""Centroids above which breaths are wider and few: with so many, repeating one gains little for its
time."""

PAIRED_COLORS = 4096
"""Centroids from which on a search starts with clusters merged in pairs, and breaths are narrower.
Two are enough where there are eight times as many."""


class Breaths(NamedTuple):
    """Centroids that breaths add and drop: at first (0: they do not breathe), and at last at least.

    The next breath is half as large, unless at most the share `repeat_below` of the error is left.
    """

    first: int
    last: int
    repeat_below: float


class SearchEffort(NamedTuple):
    """How long the search goes on.

    Attributes:
        bins: fewest bins, where there are so many colours.
        bins_per_color: fewest bins for each palette entry.
        starts: starts that are searched from; the best result is kept.
        breath: the search adds and drops k / breath centroids at first; with 0, none.
        most_breaths: breaths for more than 512 centroids at most; with 0, as long as they gain.
        start_rounds: rounds on the bins from the start, at most.
        rounds: rounds on the bins after each change, at most.
        patience: share of the inertia that a round on the bins must gain for another to follow.
        final_rounds: rounds on all colours for 256 centroids.
    """

    bins: int
    bins_per_color: int
    starts: int
    breath: int
    most_breaths: int
    start_rounds: int
    rounds: int
    patience: float
    final_rounds: int

    def enough_bins(self, k: int) -> int:
        """Return the fewest bins to search for k colours on."""
        return max(self.bins, self.bins_per_color * k)

    def breaths(self, k: int, n_points: int, least: int) -> Breaths:
        """Return the breaths of k centroids among so many points; the first is at least `least`.

        For many centroids the first is a third of them, or of the points that have none to
        themselves, and each is half the last. It is a sixth or a twelfth where they start in pairs.
        """
        if self.breath == 0:
            return Breaths(0, 1, 0.0)
        if self.most_breaths and k > _MANY_COLORS:
            share, most = 3, self.most_breaths
            if k >= PAIRED_COLORS:
                share, most = (6, 4) if k < 8 * PAIRED_COLORS else (12, 2)
            first = max(least, min(k, n_points - k) // share)
            return Breaths(first, max(1, first >> (most - 1)), 0.0)
        return Breaths(max(least, k // self.breath), 1, 0.9999)

    def enough_rounds(self, k: int) -> int:
        """Return the most rounds on all colours: half as many for a quarter of the centroids, which
        are as near to rest after those."""
        return math.ceil(self.final_rounds * min(1, math.sqrt(k / 256)))


SEARCH_EFFORTS = {
    "fast": SearchEffort(3072, 16, 1, 16, 5, 20, 3, 2e-3, 5),
    "balanced": SearchEffort(4096, 16, 1, 16, 5, 60, 5, 1e-3, 10),
    "best": SearchEffort(16384, 64, 8, 8, 0, 60, 10, 3e-4, 200),
}
"""What each `kmq.model.choices.Effort` means to the search."""

WHERE_SEEN = {
    SEARCH_EFFORTS["fast"]: SearchEffort(3072, 16, 1, 32, 5, 20, 3, 2e-3, 3),
    SEARCH_EFFORTS["balanced"]: SearchEffort(4096, 16, 1, 32, 5, 60, 3, 2e-3, 6),
}
"""Efforts in place of these where colours count as they are seen: that is an estimate, and more
rounds do not make palettes look better."""


def first_rounds(k: int) -> int:
    """Return the rounds from the start for the first palette, which shows how colours are seen."""
    return 10 if k < PAIRED_COLORS else 3


GROWTH = SearchEffort(4096, 64, 1, 16, 0, 60, 5, 1e-3, 0)
"""How `grow` bins and settles: with 16 bins a colour it would be 12 % off at k = 256, not 3 %."""


class Stopping(NamedTuple):
    """When rounds on all points end: after `max_rounds`, or once the squared moves of all centroids
    sum to at most `tol` × the mean variance of the channels."""

    max_rounds: int
    tol: float

    @classmethod
    def of(cls, effort: SearchEffort, k: int) -> Stopping:
        """Return when a search for k colours ends."""
        return cls(effort.enough_rounds(k), DEFAULT_TOLERANCE)


class PlainStart(NamedTuple):
    """Plain k-means in place of a search: from centroids, or a method and a seed for each try."""

    init: str | np.ndarray[Any, Any]
    seeds: range
    stopping: Stopping
