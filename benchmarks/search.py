"""Ways to search for centroids on the bins of a photograph: error against time.

    python benchmarks/search.py --sample 6

All run on the same bins on one thread, from the same start where they need one, and use the same
rounds of Lloyd's algorithm. Errors are over that of the best of ten k-means++ starts on the bins;
times are processor milliseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np

import kmq
from kmq.stages.histogram import counting
from kmq.stages.palette import search, starting
from kmq.stages.palette.effort import SEARCH_EFFORTS, Stopping
from kmq.stages.palette.points import Points, bins_of, points_of
from kmq.stages.palette.rounds import settle
from layouts import TABLES
from pictures import Array, photos
from records import Record

PALETTE_SIZES = (4, 16, 64, 256)
EFFORT = SEARCH_EFFORTS["balanced"]
Search = Callable[[Points, int], Array]


def _start(bins: Points, k: int, method: str, seed: int = 0) -> Array:
    return starting.start_centroids(bins.rows, bins.weights, k, method, seed)


def _settled(bins: Points, start: Array, rounds: int = 60) -> Array:
    """Return where rounds with momentum lead from a start, as in the search itself."""
    return settle(bins, start, 0, Stopping(rounds, 0.0), 1, None).centroids


def _inertia(bins: Points, centroids: Array) -> float:
    _, distances = search.assign(bins, centroids, 1)
    return float((bins.weights * distances).sum())


def _best(bins: Points, starts: Iterator[Array]) -> Array:
    return min((_settled(bins, start) for start in starts), key=lambda found: _inertia(bins, found))


def k_means_pp(n_starts: int) -> Search:
    """Greedy k-means++ (Arthur & Vassilvitskii 2007), the best of some starts."""
    return lambda bins, k: _best(
        bins, (_start(bins, k, "k-means++", seed) for seed in range(n_starts))
    )


def var_part(bins: Points, k: int) -> Array:
    """Splits of the cluster of largest variance (Su & Dy 2007), then rounds."""
    return _settled(bins, _start(bins, k, "var-part"))


def random_swaps(per_color: float) -> Search:
    """Random swap (Fränti 2018): a centroid goes to a random point; what is better is kept."""

    def strategy(bins: Points, k: int) -> Array:
        random = np.random.default_rng(0)
        shares = bins.weights / bins.total_weight
        best = _settled(bins, _start(bins, k, "var-part"))
        least = _inertia(bins, best)
        for _ in range(round(per_color * k)):
            trial = best.copy()
            trial[random.integers(k)] = bins.columns[:, random.choice(len(shares), p=shares)]
            trial = _settled(bins, trial, rounds=3)
            if (error := _inertia(bins, trial)) < least:
                best, least = trial, error
        return _settled(bins, best)

    return strategy


def breathing(breath: int, n_starts: int = 1) -> Search:
    """Breathing (Fritzke 2020) that cuts the clusters that gain most, k / `breath` at first."""
    effort = EFFORT._replace(breath=breath)

    def strategy(bins: Points, k: int) -> Array:
        starts = [_start(bins, k, "var-part")]
        starts += [_start(bins, k, "k-means++", seed) for seed in range(1, n_starts)]
        return search.search(bins, [start.copy for start in starts], 0, effort, 1)

    return strategy


SEARCHES: dict[str, Search] = {
    "k-means++, best of ten": k_means_pp(10),
    "k-means++, one start": k_means_pp(1),
    "var-part": var_part,
    "var-part, k / 4 random swaps": random_swaps(0.25),
    "var-part, 2 k random swaps": random_swaps(2),
    "var-part, breathing from k / 16": breathing(16),
    "var-part, breathing from k / 4": breathing(4),
    "var-part and 7 k-means++, breathing from k / 8": breathing(8, 8),
}
"""The first is what the others are held against; breathing from k / 16 is what `quantize` does."""


def measure(step: int) -> Iterator[Record]:
    """Yield a record for each k, search and `step`-th photograph."""
    _warm_up()
    for photo in photos(full=True)[::step]:
        found = counting.map_colors(photo.load(), kmq.PixelFormat.RGB24, 1)
        columns = np.ascontiguousarray(found.histogram.colors.T, dtype=np.float32)
        points = points_of(columns, found.histogram.counts.astype(np.float64))
        for k in PALETTE_SIZES:
            bins = bins_of(points, found.keys, EFFORT.enough_bins(k))
            errors: dict[str, float] = {}
            for name, strategy in SEARCHES.items():
                started = time.thread_time()
                centroids = strategy(bins, k)
                seconds = time.thread_time() - started
                errors[name] = _inertia(bins, _settled(bins, centroids))
                ratio = errors[name] / next(iter(errors.values()))
                yield {
                    "table": "search",
                    "picture": photo.name,
                    "search": name,
                    "k": k,
                    "seconds": seconds,
                    "ratio": ratio,
                }


def _warm_up() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(3, 2000)).astype(np.float32)
    for strategy in SEARCHES.values():
        strategy(points_of(columns, np.ones(2000)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    print(TABLES["search"](list(measure(parser.parse_args().sample))), end="")


if __name__ == "__main__":
    main()
