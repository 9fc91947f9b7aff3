"""k-means for points beside its peers, each target next to its figure.

    python benchmarks/points.py rounds               a round of Lloyd's algorithm
    python benchmarks/points.py fits starts          whole fits, and where they begin
    python benchmarks/points.py many                 thousands of clusters
    python benchmarks/points.py products             products / screening: as fast as differences
    python benchmarks/points.py rounds --dtype float64 --channels 16

``--without avx512`` measures as on a processor without AVX-512. Everything runs on one thread, and
CPU time counts, the least of several times in turn: other work on the machine then changes little.
Where threads are compared, it is the time that passes.
"""

from __future__ import annotations

import argparse
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import count, product, takewhile
from math import exp, log
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import kmq
import processors
from contenders import LLOYDS
from kmq.stages.palette import assigning, bounded, grid, products, screening, starting
from kmq.threads import available_cores
from layouts import report
from pictures import from_corpus, photos
from records import Record, target
from speed import ours

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

SHARED_STARTS = [(200_000, 16, 64), (200_000, 16, 256)]
"""Those of starts on several threads."""

MANY = (16_384, 128, 10_000)
"""Points, channels and clusters of a round with many clusters."""

FITS_MEAN, FITS_LEAST, MOST_OF_PLAIN = 8, 1.2, 1.05
"""How many times as fast as scikit-learn fits have to be, on average and each; and of the time of
plain rounds, what they may take."""

HELD = [(1_000_000, 3, 64), (400_000, 32, 128)]
"""Points, channels and clusters of fits whose memory is measured."""

MOST_SECONDS = 2
"""Seconds for 65,536 colours of a photograph."""

_MOST_COMPARED = 2 * 10**8
"""Points times clusters of a start by k-means++ at most, which else takes minutes."""

SHARED_REPEATS = 20
"""Times that these are measured: what else runs then disturbs the least of them little."""

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


def best_times(
    works: list[Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> list[float]:
    """Return the least seconds of each, measured in turn."""
    times = [float("inf")] * len(works)
    for _ in range(repeats):
        for i, work in enumerate(works):
            start = clock()
            work()
            times[i] = min(times[i], clock() - start)
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
    yield from shared_starts()


def shared_starts() -> Records:
    """Yield seconds that pass in a start on several threads, the least of many in turn."""
    cores = available_cores()
    threads = [*takewhile(lambda n: n < cores, (1 << i for i in count())), cores]
    for (n, d, k), init in product(SHARED_STARTS, ("k-means++", "k-means||")):
        points = random_points(n, d, "float32")
        makers = [
            partial(starting.start_centroids, points, np.ones(n), k, init, 0, number)
            for number in threads
        ]
        call = f"{init.replace('||', '‖')}, {n:,} points of {d} channels, k = {k}"
        times = best_times(makers, SHARED_REPEATS, time.perf_counter)
        for number, seconds in zip(threads, times, strict=True):
            record = {"table": "start_threads", "call": call, "threads": number}
            yield record | {"seconds": seconds}


def held() -> Iterator[float]:
    """Yield what fits hold beside the points at most, of k / 10 + 4 numbers for each point."""
    for n, d, k in HELD:
        points = random_points(n, d, "float32")
        tracemalloc.start()
        _fitted(points, points[:: n // k][:k].copy())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        yield most / points.itemsize / n / (k / 10 + 4)


def many(_dtypes: list[str], _channels: list[int], _ks: list[int], repeats: int) -> Records:
    """Yield seconds for 65,536 colours of photographs, and for a round with 10,000 clusters."""
    names = ("astronaut", "birthday_balloons", "kingfisher", "hard_candy")
    for picture in from_corpus("photos", names) or photos(full=False):
        pixels = np.ascontiguousarray(picture.load()[..., :3])
        for space in ("eye", "rgb"):
            timed = ours(pixels, 65_536, repeats, space=space, n_threads=1)
            record = {"table": "colors", "picture": picture.name, "space": space}
            yield record | {"seconds": timed.cpu / 1000}
    n, d, k = MANY
    points = random_points(n, d, "float32")
    start = points[:k].copy()
    peers = [one for one in LLOYDS if one.name in ("kmq", "faiss")]
    works = [partial(peer.run, points, start, 1) for peer in peers]
    for peer, seconds in zip(peers, best_times(works, repeats), strict=True):
        yield {"table": "many", "contender": peer.name, "seconds": seconds / 2 / n * 1e6}


def by_products(dtypes: list[str], channels: list[int], ks: list[int], repeats: int) -> Records:
    """Yield how many times as fast as differences products and screening are, for each size."""
    for dtype, d, k in product(dtypes, channels, ks):
        points = random_points(max(8192, _WORK // (4 * k * d)), d, dtype)
        start = points[:k].astype(np.float64)
        works = [partial(_labelled, by, points, start) for by in ("", "products", "screening")]
        differences, by_products, by_screening = best_times(works, repeats)
        record = {"table": "products", "dtype": dtype, "d": d, "k": k}
        record["products"] = differences / by_products
        yield record | {"screening": differences / by_screening}


def _labelled(by: str, points: Array, centroids: Array) -> None:
    products.are_faster = lambda *_: by == "products"
    screening.is_faster = lambda *_: by == "screening"
    grid.grid_of = lambda *_: None
    labels, distances = np.empty(len(points), np.int32), np.empty(0, points.dtype)
    assigning.nearest(points, centroids, 1, labels, distances)


def rounds_targets(found: list[Record]) -> Records:
    """Yield how many times as fast as scikit-learn and faiss rounds are, at worst."""
    cells = {(r["dtype"], r["d"], r["k"], r["contender"]): r["milliseconds"] for r in found}

    def ratios(name: str, dtype: str, ds: list[int]) -> list[float]:
        return [
            milliseconds / cells[dtype, d, k, "kmq"]
            for (of, d, k, contender), milliseconds in cells.items()
            if (of, contender) == (dtype, name) and d in ds
        ]

    for dtype, least in product(("float32", "float64"), sorted({*TARGETS.values()}, reverse=True)):
        ds = [d for d, ratio in TARGETS.items() if ratio == least]
        if figures := ratios("scikit-learn", dtype, ds):
            what = f"times as fast as scikit-learn, {dtype}, {', '.join(map(str, ds))} channels"
            yield target("points.py rounds", what, figures, least=least)
    if figures := ratios("faiss", "float32", [*TARGETS]):
        yield target("points.py rounds", "times as fast as faiss", figures, least=1)


def fits_targets(found: list[Record]) -> Records:
    """Yield how many times as fast as scikit-learn fits are, and what they take beside it."""
    command = "points.py fits starts"
    ratios = [min(r["lloyd"], r["elkan"]) / r["kmq"] for r in found]
    mean = exp(sum(map(log, ratios)) / len(ratios))
    yield target(command, "times as fast as scikit-learn, mean", [mean], least=FITS_MEAN)
    yield target(command, "times as fast as scikit-learn, each", ratios, least=FITS_LEAST)
    of_plain = [r["kmq"] / r["plain rounds"] for r in found]
    yield target(command, "of the time of plain rounds", of_plain, most=MOST_OF_PLAIN)
    yield target(command, "memory, of k / 10 + 4 numbers per point", held(), most=1)


def many_targets(found: list[Record]) -> Records:
    """Yield what many colours and many clusters take."""
    seconds = [r["seconds"] for r in found if r["table"] == "colors"]
    yield target("points.py many", "seconds for 65,536 colours", seconds, most=MOST_SECONDS)
    own, peer = (r["seconds"] for r in found if r["table"] == "many")
    what = "round of 10,000 clusters, times as fast as faiss"
    yield target("points.py many", what, [peer / own], least=1)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables = {
        "rounds": rounds,
        "fits": fits,
        "starts": starts,
        "many": many,
        "products": by_products,
    }
    targets = {"rounds": rounds_targets, "fits": fits_targets, "many": many_targets}
    parser.add_argument("table", nargs="+", choices=tables)
    parser.add_argument(
        "--dtype",
        action="append",
        choices=["float32", "float64"],
        help="of rounds (both, unless given) and products (float32)",
    )
    parser.add_argument("--channels", action="append", type=int, help="of rounds and products")
    parser.add_argument("-k", action="append", type=int, help="of rounds and products")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print records instead")
    processors.add_without(parser)
    given = parser.parse_args()
    processors.leave_out(given.without)
    os.environ["KMQ_NUM_THREADS"] = "1"
    for package in ("sklearn.cluster", "faiss"):
        import_module(package)
    threadpool_limits(1)
    found: list[Record] = []
    for name in given.table:
        dtypes = given.dtype or ["float32", "float64"][: 1 + (name == "rounds")]
        options = dtypes, given.channels or list(TARGETS), given.k or [64, 256], given.repeats
        measured = [*tables[name](*options)]
        found += [*measured, *targets.get(name, lambda _: [])(measured)]
    report(found, as_json=given.json)


if __name__ == "__main__":
    main()
