"""How much faster more threads are: wall-clock time of whole calls.

python benchmarks/threads.py             1, 2, 4, … threads, up to the cores of this machine
python benchmarks/threads.py --most 4    up to four
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import kmq
from kmq.threads import resolve_threads
from layouts import TABLES
from pictures import photos
from records import Record
from scaling import largest

Work = Callable[..., Any]

_LEAST_SECONDS, _REPEATS = 0.5, 2
"""Runs of each call: so many of them, and more while they take less than this in sum."""


def works() -> Iterator[tuple[str, Work]]:
    """Yield names of calls, and the calls, which take `n_threads`."""
    photo, large = photos(full=False)[-1].load(), largest()
    small, big = (f"{len(one) * one.shape[1] / 1e6:.1f} megapixels" for one in (photo, large))
    yield f"`quantize`, {small}, 64 colours", partial(kmq.quantize, photo, 64)
    yield f"`quantize`, {big}, 64 colours", partial(kmq.quantize, large, 64)
    yield f"`quantize`, {big}, 256 colours", partial(kmq.quantize, large, 256)
    image = kmq.quantize(large, 64)
    for effort in ("fast", "balanced"):
        encoded = kmq.encode(image, effort=effort)
        yield f"`encode`, {big}, {effort}", partial(kmq.encode, image, effort=effort)
        yield f"`decode`, {big}, {effort}", partial(kmq.decode, encoded)
    random = np.random.default_rng(0)
    for n, d, k in ((1_000_000, 3, 64), (500_000, 16, 256), (100_000, 128, 256)):
        points = random.normal(size=(n, d)).astype(np.float32)
        rounds = partial(kmq.kmeans, points, k, init=points[:k].copy(), max_iter=5, tol=0)
        yield f"`kmeans`, {n:,} points of {d} channels, k = {k}, 5 rounds", rounds
    points = random.normal(size=(100_000, 16)).astype(np.float32)
    for k in (256, 2000):
        start = partial(kmq.kmeans, points, k, max_iter=1)
        yield f"`kmeans`, 100,000 points of 16 channels, k = {k}, start and 1 round", start


def seconds(work: Callable[[], Any]) -> float:
    """Return the least wall-clock seconds of some runs."""
    times: list[float] = []
    while len(times) < _REPEATS or sum(times) < _LEAST_SECONDS:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(most: int | None = None) -> Iterator[Record]:
    """Yield the time of each call for 1, 2, 4, … threads, at most `most`."""
    most = most or resolve_threads(None)
    for name, work in works():
        work(n_threads=most)  # compiles, loads
        n_threads = 1
        while n_threads <= most:
            took = seconds(partial(work, n_threads=n_threads))
            yield {"table": "threads", "call": name, "threads": n_threads, "seconds": took}
            n_threads *= 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, help="threads (default: cores)")
    parser.add_argument("--json", action="store_true", help="the records, as JSON")
    arguments = parser.parse_args()
    records = list(measure(arguments.most))
    print(json.dumps(records) if arguments.json else TABLES["threads"](records))


if __name__ == "__main__":
    main()
