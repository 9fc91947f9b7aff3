"""Points and centroids → labels, and whole rounds of Lloyd's algorithm, at 2 to 128 channels."""

from functools import lru_cache

import pytest

from contenders import ASSIGNERS, LLOYDS
from pictures import random_points

SIZES = [
    # channels, points, centroids
    (2, 1_000_000, 64),
    (3, 1_000_000, 64),
    (3, 1_000_000, 256),
    (4, 1_000_000, 64),
    (8, 400_000, 64),
    (16, 200_000, 256),
    (64, 100_000, 256),
    (128, 100_000, 256),
]

N_ROUNDS = 5
"""Rounds of Lloyd's algorithm that are timed together; figures are for one."""

WARM_UP = 3000
"""Points that load and compile what there is to load and compile."""


@lru_cache(maxsize=1)
def points_and_centroids(d, n, k):
    points = random_points(n, d)
    return points, points[:: n // k][:k].copy()


@pytest.mark.parametrize(("d", "n", "k"), SIZES)
@pytest.mark.parametrize("contender", ASSIGNERS, ids=str)
def bench_assign(measure, contender, d, n, k):
    pytest.importorskip(contender.package)
    points, centroids = points_and_centroids(d, n, k)
    contender.run(points[:WARM_UP], centroids)
    facts = {"table": "assign", "d": d, "n": n, "k": k}
    measure(contender, lambda: contender.run(points, centroids), **facts)


@pytest.mark.parametrize(("d", "n", "k"), SIZES)
@pytest.mark.parametrize("contender", LLOYDS, ids=str)
def bench_lloyd(measure, benchmark, contender, d, n, k):
    pytest.importorskip(contender.package)
    points, centroids = points_and_centroids(d, n, k)
    contender.run(points[:WARM_UP], centroids, 1)
    facts = {"table": "lloyd", "d": d, "n": n, "k": k, "rounds": N_ROUNDS}
    inertia = measure(contender, lambda: contender.run(points, centroids, N_ROUNDS), **facts)
    benchmark.extra_info["inertia"] = float(inertia)
