"""Rounds with bounds, against plain ones: centroids, labels and inertia have the same bits."""

import numpy as np
import pytest

from kmq.kernels.bounded import write_distances
from kmq.stages.palette import assigning, bounded, clustering

FLOATS = [np.float32, np.float64]

N = 1500


def cloud(random, d):
    centers = random.normal(size=(20, d)) * 3
    return centers[random.integers(0, 20, N)] + random.normal(size=(N, d))


POINTS = {
    "floats": cloud,
    "whole numbers": lambda random, d: np.rint(cloud(random, d) * 5),
    "a lattice": lambda random, d: np.rint(cloud(random, d) / 2),
    "far off": lambda random, d: cloud(random, d) + 1e5,
    "repeated": lambda random, d: np.repeat(cloud(random, d)[: N // 10], 10, axis=0),
    "apart": lambda random, d: cloud(random, d) + 1e3 * random.integers(0, 3, (N, 1)),
}


@pytest.fixture(params=[False, True], ids=["one bound", "groups"])
def by_groups(request, monkeypatch):
    monkeypatch.setattr(bounded, "_CHEAP", -1 if request.param else 1 << 62)
    monkeypatch.setattr(bounded, "_MOST_GROUPS", 1 << 30)
    return request.param


@pytest.fixture
def compared(monkeypatch):
    """The shares of points that rounds with bounds spared."""
    spared = []
    inner = bounded.Rounds._round

    def spied(self, *moved):
        spared.append(inner(self, *moved))
        return spared[-1]

    monkeypatch.setattr(bounded.Rounds, "_round", spied)
    monkeypatch.setattr(bounded, "_costs", lambda *_: bounded.Costs(1, 0, 0, -1e9, 0))
    return spared


def fit(points, start, least_work, monkeypatch, weights=None, n_threads=2):
    monkeypatch.setattr(bounded, "LEAST_WORK", least_work)
    weights = np.ones(len(points)) if weights is None else weights
    with np.errstate(all="ignore"):
        return clustering.kmeans(points, weights, start, max_iter=80, tol=0.0, n_threads=n_threads)


def assert_bounds_change_nothing(points, start, monkeypatch, weights=None):
    plain = fit(points, start, 1 << 62, monkeypatch, weights)
    assert fit(points, start, 1, monkeypatch, weights) == plain


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [3, 20])
@pytest.mark.parametrize("kind", POINTS)
def test_bounds_change_nothing(dtype, d, kind, by_groups, compared, monkeypatch):
    random = np.random.default_rng(d)
    points = POINTS[kind](random, d).astype(dtype)
    for k in (2, 9, 70):
        start = points[random.choice(N, k, replace=False)]
        assert_bounds_change_nothing(points, start, monkeypatch)
    weights = random.integers(0, 4, N).astype(float)
    assert_bounds_change_nothing(points, points[:30], monkeypatch, weights)
    assert_bounds_change_nothing(points, points[:30], monkeypatch, weights / 3)
    assert max(compared) > 0.5 or kind == "apart"  # where products are off by more than gaps


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("exponent", [-1.1, -0.6, 0.45, 0.9])
def test_bounds_of_tiny_and_huge_numbers(dtype, exponent, by_groups, monkeypatch):
    random = np.random.default_rng(0)
    points = (cloud(random, 3) * float(np.finfo(dtype).max) ** exponent).astype(dtype)
    assert_bounds_change_nothing(points, points[:40], monkeypatch)


def test_bounds_see_clusters_that_are_refilled(by_groups, compared, monkeypatch):
    points = cloud(np.random.default_rng(0), 3)
    start = np.concatenate([points[:10], points[:10], np.full((3, 3), 1e9)])
    assert_bounds_change_nothing(points, start, monkeypatch)


def test_bounds_spare_nearly_all_points_in_the_end(by_groups, compared, monkeypatch):
    points = cloud(np.random.default_rng(0), 3)
    result = fit(points, points[:20], 1, monkeypatch)
    assert result.converged
    assert compared[-1] > 0.8


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_chunks_and_threads_change_nothing(scale, by_groups, compared, monkeypatch):
    monkeypatch.setattr(assigning, "_CHUNK_WORK", 1)
    monkeypatch.setattr(assigning, "_CHUNK_POINTS", 97)
    points = np.rint(cloud(np.random.default_rng(0), 3) * 9) * scale
    assert_bounds_change_nothing(points, points[:40], monkeypatch)
    pair = fit(points, points[:40], 1, monkeypatch, n_threads=2)
    assert fit(points, points[:40], 1, monkeypatch, n_threads=1) == pair
    assert fit(points, points[:40], 1, monkeypatch, n_threads=3) == pair


@pytest.mark.parametrize("dtype", FLOATS)
def test_bounds_of_as_many_centroids_as_points(dtype, by_groups, compared, monkeypatch):
    points = np.rint(cloud(np.random.default_rng(1), 3)[:500]).astype(dtype)
    assert_bounds_change_nothing(points, points + dtype(0.25), monkeypatch)


def test_bounds_begin_anew_after_they_did_not_pay(compared, monkeypatch):
    monkeypatch.setattr(bounded, "_CHEAP", -1)
    monkeypatch.setattr(bounded, "_costs", lambda *_: bounded.Costs(0.1, 0, 1, -1e9, 0))
    points = cloud(np.random.default_rng(0), 20)
    assert_bounds_change_nothing(points, points[:60], monkeypatch)
    assert compared.count(0) > 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [1, 3, 21])
def test_distances_of_a_sample(d, dtype):
    points = np.random.default_rng(d).normal(size=(9, d)).astype(dtype)
    found = np.empty((9, 4))
    write_distances(d, points.reshape(-1), points[:4].reshape(-1), found.reshape(-1))
    expected = np.sqrt(np.square(points[:, None] - points[:4]).sum(axis=-1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [5, 8, 21])
def test_inertia_adds_channels_and_points_in_their_order(d, dtype):
    random = np.random.default_rng(d)
    points, rows = random.normal(size=(39, d)).astype(dtype), random.normal(size=(4, d))
    rows, weights = rows.astype(dtype), random.random(39)
    expected = np.empty(39, dtype)
    assigning.nearest(points, rows.astype(float), 1, np.empty(39, np.int32), expected)
    nearest = np.array([np.square(rows - point).sum(axis=1).argmin() for point in points])
    total = 0.0
    for distance, weight in zip(expected.tolist(), weights.tolist(), strict=True):
        total += distance * weight
    assert assigning.inertia(points, nearest.astype(np.int32), weights, rows, 1) == total


def test_looks_at_a_sample_take_little_of_the_time(monkeypatch):
    looks = []

    def looked(self, moves):
        looks.append(self._done)
        return 1.0, 1.0

    monkeypatch.setattr(bounded.Rounds, "_expected", looked)
    points = np.random.default_rng(0).normal(size=(20_000, 6)).astype(np.float32)
    clustering.kmeans(points, np.ones(20_000), points[:32], max_iter=150, tol=0.0, n_threads=1)
    look = bounded._costs(20_000, 32, 6, points.dtype, False, True)
    for n_looks, number in enumerate(looks, 1):
        spent = (number - 1) * 20_000 * look.plain
        assert n_looks * look.look <= bounded._LOOK_SHARE * spent
    assert 1 < len(looks) < 8


def test_small_problems_have_no_bounds(compared):
    points = cloud(np.random.default_rng(0), 3)
    clustering.kmeans(points, np.ones(N), points[:5], max_iter=50, tol=0.0, n_threads=1)
    assert not compared


@pytest.mark.parametrize(
    ("moved", "left"),
    [
        ((8, 4, 1), 2),
        ((1e300, 4, 1), 0.002),
        ((4, 8, 1), np.inf),
        ((8, 4, 0), np.inf),
        ((8, 0, 0), 0),
        ((0, 0, 1), 0),
        ((np.inf, np.nan, 1), 0),
    ],
)
def test_rounds_left_until_moves_are_short(moved, left):
    assert bounded._rounds_left(*map(float, moved)) == pytest.approx(left, abs=1e-3)


def test_bounds_begin_only_where_rounds_are_left_to_pay_for_them():
    costs = bounded.Costs(plain=100, idle=20, comparing=200, beginning=0, look=0)
    assert not costs.pay(2, share=0.0)
    assert costs.pay(3, share=0.0)
    assert not costs.pay(3, share=0.2)
    assert not costs.pay(1000, share=0.5)


def test_short_fits_have_no_bounds(monkeypatch):
    began = []
    monkeypatch.setattr(bounded.Rounds, "_round", lambda *_: began.append(1) or 1.0)
    points = np.random.default_rng(0).uniform(size=(20_000, 8)).astype(np.float32)
    clustering.kmeans(points, np.ones(20_000), points[:64], max_iter=4, tol=0.0, n_threads=1)
    assert not began


def test_bounds_that_begin_again_need_no_more_memory():
    groups, rows = bounded._Groups(20, 100), np.random.default_rng(0).normal(size=(20, 3))
    groups.form(rows)
    bounds, reaches = groups.bounds, groups.reaches
    bounds[:], reaches[:], groups.totals[:] = 1, 1, 1
    groups.form(rows[::-1])
    assert groups.bounds is bounds
    assert groups.reaches is reaches
    assert (bounds == -np.inf).all()
    assert (reaches == np.inf).all()
    assert not groups.totals.any()
