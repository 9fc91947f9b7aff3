"""k-means for points beside its peers: figures and targets.

    python benchmarks/points.py rounds               a round of Lloyd's algorithm
    python benchmarks/points.py rounds --dtype float64 --channels 16
    python benchmarks/points.py fits                 whole fits, until no centroid moves
    python benchmarks/points.py starts               where fits begin
    python benchmarks/points.py products             how much faster products are than differences

Everything runs on one thread, and CPU time counts, the least of several times in turn: other work
on the machine then changes little. For a processor without AVX-512, on one that has it:

    NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=+avx2,+fma,+avx,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,\\
    +sse4.2,+ssse3 OPENBLAS_CORETYPE=Haswell FAISS_OPT_LEVEL=avx2 KMQ_KERNELS=jit \\
    python benchmarks/points.py rounds
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import kmq
from contenders import LLOYDS
from kmq.stages.palette import assigning, bounded, grid, products, starting
from layouts import TABLES
from records import Record

Array = np.ndarray[Any, Any]
Records = Iterator[Record]

TARGETS = {2: 10, 3: 10, 4: 10, 8: 4, 16: 2.5, 64: 1.5, 128: 1.5, 768: 1.5}
"""Channels, and how many times as fast as scikit-learn a round has to be."""

STARTS = [
    (200_000, 3, 64),
    (100_000, 16, 1000),
    (100_000, 16, 2000),
    (1_000_000, 16, 10_000),
]
"""Points, channels and clusters of starts."""

_MOST_COMPARED = 2 * 10**8
"""Points times clusters of a start by k-means++ at most, which else takes minutes."""

N_ROUNDS = 4

_LEAST_WORK = bounded.LEAST_WORK

_MOST_ROUNDS = 300
"""Rounds of a fit at most."""

_WORK = 1 << 28
"""Channels compared in a round, about."""


def random_points(n: int, d: int, dtype: str) -> Array:
    """Return points about 32 centres, which overlap."""
    random = np.random.default_rng(d)
    centers = random.normal(0, 2 / d**0.5, (32, d))
    return (centers[random.integers(0, 32, n)] + random.normal(0, 1, (n, d))).astype(dtype)


def best_times(works: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Return the least CPU seconds of each, measured in turn."""
    times = [float("inf")] * len(works)
    for _ in range(repeats):
        for i, work in enumerate(works):
            start = time.process_time()
            work()
            times[i] = min(times[i], time.process_time() - start)
    return times


def rounds(dtypes: list[str], channels: list[int], ks: list[int], repeats: int) -> Records:
    """Yield milliseconds a plain round, in which all points are compared, for each size."""
    bounded.LEAST_WORK = 1 << 62
    for dtype in dtypes:
        peers = [one for one in LLOYDS if one.name in ("kmq", "scikit-learn", "faiss")]
        if dtype == "float64":
            peers = peers[:2]
        for d, k in product(channels, ks):
            n = min(200_000, max(8192, _WORK // (k * d)))
            points = random_points(n, d, dtype)
            start = points[:: n // k][:k].copy()
            works = [partial(peer.run, points, start, N_ROUNDS) for peer in peers]
            fit = kmq.kmeans(points, k, init=start, max_iter=N_ROUNDS, tol=0)
            assert not fit.converged
            for peer, seconds in zip(peers, best_times(works, repeats), strict=True):
                record = {"table": "rounds", "dtype": dtype, "d": d, "k": k, "n": n}
                record["milliseconds"] = 1000 * seconds / (N_ROUNDS + 1)
                yield record | {"contender": peer.name}


def data_sets() -> Iterator[tuple[str, Array, int]]:
    """Yield names, points float32 and numbers of clusters."""
    from skimage import data
    from sklearn.datasets import load_digits

    random = np.random.default_rng(0)
    centers = random.normal(0, 3, (50, 10))
    blobs = centers[random.integers(0, 50, 50_000)] + random.normal(size=(50_000, 10))
    yield "blobs", blobs, 50
    digits = load_digits().images
    yield "digits", digits.reshape(-1, 64), 10
    yield "digits", digits.reshape(-1, 64), 100
    cover = np.zeros((50_000, 54))
    cover[:, :10] = np.rint(random.gamma(2, 300, (50_000, 10)) * random.uniform(0.1, 3, 10))
    cover[np.arange(50_000), 10 + random.integers(0, 4, 50_000)] = 1
    cover[np.arange(50_000), 14 + random.integers(0, 40, 50_000)] = 1
    yield "like covertype", cover, 7
    yield "like covertype", cover, 100
    large = np.kron(digits, np.ones((3, 3)))[random.integers(0, len(digits), 10_000)]
    images = np.zeros((10_000, 28, 28))
    for image, digit, (y, x) in zip(images, large, random.integers(0, 5, (10_000, 2)), strict=True):
        image[y : y + 24, x : x + 24] = digit * 15
    images += np.rint(random.uniform(0, 15, images.shape)) * (images > 0)
    yield "like MNIST", images.reshape(-1, 784), 10
    yield "like MNIST", images.reshape(-1, 784), 100
    photo = data.astronaut().reshape(-1, 3)
    yield "colours of a photo", photo[::2], 16
    yield "colours of a photo", photo[::2], 256
    yield "normal noise", random.normal(size=(50_000, 4)), 32
    yield "normal noise", random.normal(size=(10_000, 32)), 64


def fits(_dtypes: list[str], _channels: list[int], _ks: list[int], repeats: int) -> Records:
    """Yield seconds of whole fits from one start, for each data set."""
    for name, data, k in data_sets():
        points = np.ascontiguousarray(data, np.float32)
        start = points[np.random.default_rng(1).choice(len(points), k, replace=False)]
        fit = _fitted(points, start)
        _fitted(points[:3000], start, plain=True)
        works = {
            "kmq": partial(_fitted, points, start),
            "plain rounds": partial(_fitted, points, start, plain=True),
            **{name: partial(_fitted_by_peer, points, start, name) for name in ("lloyd", "elkan")},
        }
        seconds = dict(zip(works, best_times([*works.values()], repeats), strict=True))
        n, d = points.shape
        yield {
            "table": "fits",
            "data": name,
            "k": k,
            "n": n,
            "d": d,
            "rounds": fit.n_iter,
        } | seconds


def _fitted(points: Array, start: Array, *, plain: bool = False) -> kmq.KMeansResult:
    bounded.LEAST_WORK = 1 << 62 if plain else _LEAST_WORK
    return kmq.kmeans(points, len(start), init=start, max_iter=_MOST_ROUNDS, tol=0)


def _fitted_by_peer(points: Array, start: Array, algorithm: str) -> None:
    from sklearn.cluster import KMeans

    KMeans(len(start), init=start, n_init=1, max_iter=_MOST_ROUNDS, tol=0, algorithm=algorithm).fit(
        points
    )


def starts(_dtypes: list[str], _channels: list[int], _ks: list[int], _repeats: int) -> Records:
    """Yield seconds of a start, and its error and that after ten rounds, for each size."""
    from sklearn.cluster import kmeans_plusplus

    def by_draws(points: Array, k: int) -> Array:
        return starting.start_centroids(points, np.ones(len(points)), k, "k-means||", 0)

    def greedy(points: Array, k: int) -> Array:
        return starting.plus_plus(points, np.ones(len(points)), k, 0, 1, most_greedy=k)

    def peer(points: Array, k: int) -> Array:
        return kmeans_plusplus(points, k, random_state=0)[0].astype(np.float64)

    makers = {"k-means++": greedy, "k-means‖": by_draws, "scikit-learn": peer}
    for maker in makers.values():
        maker(random_points(2000, 3, "float32"), 4)
    for n, d, k in STARTS:
        points = random_points(n, d, "float32")
        for name, maker in makers.items():
            if name != "k-means‖" and n * k > _MOST_COMPARED:
                continue
            begun = time.process_time()
            start = maker(points, k)
            seconds = time.process_time() - begun
            distances = np.empty(n, np.float32)
            kmq.assign(points, start, out_distances=distances)
            fit = kmq.kmeans(points, k, init=start, max_iter=10, tol=0)
            record = {"table": "starts", "n": n, "d": d, "k": k, "contender": name}
            record |= {"seconds": seconds, "start": float(distances.sum(dtype=np.float64))}
            yield record | {"ten rounds": fit.inertia}


def by_products(dtypes: list[str], channels: list[int], ks: list[int], repeats: int) -> Records:
    """Yield how many times as fast as differences products are, for each size."""
    for dtype, d, k in product(dtypes, channels, ks):
        points = random_points(max(8192, _WORK // (4 * k * d)), d, dtype)
        start = points[:k].astype(np.float64)
        works = [partial(_assigned, faster, points, start) for faster in (False, True)]
        differences, by_products = best_times(works, repeats)
        ratio = differences / by_products
        yield {"table": "products", "dtype": dtype, "d": d, "k": k, "ratio": ratio}


def _assigned(by_products: bool, points: Array, centroids: Array) -> None:
    products.are_faster = lambda *_: by_products
    grid.grid_of = lambda *_: None
    assigning.assign_and_sum(points, np.empty(0), centroids, np.empty(0, np.int32), 1)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables = {"rounds": rounds, "products": by_products, "fits": fits, "starts": starts}
    parser.add_argument("table", nargs="+", choices=tables)
    parser.add_argument("--dtype", action="append", choices=["float32", "float64"])
    parser.add_argument("--channels", action="append", type=int)
    parser.add_argument("-k", action="append", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print records instead")
    given = parser.parse_args()
    os.environ["KMQ_NUM_THREADS"] = "1"
    for package in ("sklearn.cluster", "faiss"):
        import_module(package)
    threadpool_limits(1)
    options = (
        given.dtype or ["float32"],
        given.channels or list(TARGETS),
        given.k or [64, 256],
        given.repeats,
    )
    found = [record for name in given.table for record in tables[name](*options)]
    if given.json:
        print(json.dumps(found))
        return
    for name in given.table:
        print(TABLES[name](found))
    if "rounds" in given.table:
        print("Targets, times as fast as scikit-learn by channels:", TARGETS)


if __name__ == "__main__":
    main()
