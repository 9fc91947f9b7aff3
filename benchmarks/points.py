"""k-means for points beside its peers: figures and targets.

    python benchmarks/points.py rounds               a round of Lloyd's algorithm
    python benchmarks/points.py rounds --dtype float64 --channels 16
    python benchmarks/points.py products             how much faster products are than differences

Everything runs on one thread, and CPU time counts, the least of several times in turn: other work
on the machine then changes little. For a processor without AVX-512, on one that has it:

    NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=+avx2,+fma,+avx,+f16c,+bmi,+bmi2,+lzcnt,+popcnt,\\
    +sse4.2,+ssse3 OPENBLAS_CORETYPE=Haswell FAISS_OPT_LEVEL=avx2 KMQ_KERNELS=jit \\
    python benchmarks/points.py rounds
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import kmq
from contenders import LLOYDS
from kmq.stages.palette import clustering, products

Array = np.ndarray[Any, Any]
Lines = Iterator[str]

TARGETS = {2: 10, 3: 10, 4: 10, 8: 4, 16: 2.5, 64: 1.5, 128: 1.5, 768: 1.5}
"""Channels, and how many times as fast as scikit-learn a round has to be."""

N_ROUNDS = 4

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


def rounds(dtypes: list[str], channels: list[int], ks: list[int], repeats: int) -> Lines:
    """Yield a line for each size: milliseconds a round, and how they compare."""
    yield "| dtype, channels, k | points | kmq | scikit-learn | faiss | times | target |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for dtype in dtypes:
        peers = [one for one in LLOYDS if one.name in ("kmq", "scikit-learn", "faiss")]
        if dtype == "float64":
            peers = peers[:2]
        for d in channels:
            for k in ks:
                n = min(200_000, max(8192, _WORK // (k * d)))
                points = random_points(n, d, dtype)
                start = points[:: n // k][:k].copy()
                works = [partial(peer.run, points, start, N_ROUNDS) for peer in peers]
                fit = kmq.kmeans(points, k, init=start, max_iter=N_ROUNDS, tol=0)
                assert not fit.converged
                times = [1000 * t / (N_ROUNDS + 1) for t in best_times(works, repeats)]
                shown = [f"{t:.2f}" for t in times] + ["-"] * (3 - len(times))
                ratio = times[1] / times[0]
                yield (
                    f"| {dtype}, {d}, {k} | {n:,} | {' | '.join(shown)} | {ratio:.1f} "
                    f"| {TARGETS.get(d, 1)} |"
                )


def by_products(dtypes: list[str], channels: list[int], ks: list[int], repeats: int) -> Lines:
    """Yield a line for each size: how many times as fast as differences products are."""
    yield f"| dtype, channels | {' | '.join(f'k = {k}' for k in ks)} |"
    yield f"| --- |{' ---: |' * len(ks)}"
    for dtype in dtypes:
        for d in channels:
            ratios = []
            for k in ks:
                points = random_points(max(8192, _WORK // (4 * k * d)), d, dtype)
                start = points[:k].astype(np.float64)
                works = [partial(_assigned, faster, points, start) for faster in (False, True)]
                differences, products = best_times(works, repeats)
                ratios.append(f"{differences / products:.2f}")
            yield f"| {dtype}, {d} | {' | '.join(ratios)} |"


def _assigned(by_products: bool, points: Array, centroids: Array) -> None:
    products.are_faster = lambda *_: by_products
    clustering._assign_and_sum(points, np.empty(0), centroids, np.empty(0, np.int32), 1)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=["rounds", "products"])
    parser.add_argument("--dtype", action="append", choices=["float32", "float64"])
    parser.add_argument("--channels", action="append", type=int)
    parser.add_argument("-k", action="append", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    os.environ["KMQ_NUM_THREADS"] = "1"
    for package in ("sklearn.cluster", "faiss"):
        import_module(package)
    threadpool_limits(1)
    lines = {"rounds": rounds, "products": by_products}[given.table](
        given.dtype or ["float32", "float64"],
        given.channels or list(TARGETS),
        given.k or [64, 256],
        given.repeats,
    )
    print(f"kmq {kmq.__version__}, one thread, CPU milliseconds")
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
