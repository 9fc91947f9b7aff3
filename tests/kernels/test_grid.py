"""Nearest centroids by a grid: the same as by all centroids, to the bit."""

import numpy as np
import pytest

from clouds import colors, far_off, normal
from kmq.stages.palette import assigning, grid

N = 50_000


def heavy_tails(random, n, d):
    """A few points so far away that distances to them are infinite, or all the same."""
    points = random.standard_cauchy(size=(n, d))
    points[::500] *= 1e15
    points[::1000] = 3e38
    return points, random.normal(size=(64, d))


def crowd(random, n, d):
    """More centroids in a cell than there is room for."""
    centroids = np.concatenate([random.normal(size=(3000, d)), np.full((1, d), 1e4)])
    return random.normal(size=(n, d)), centroids


def flat(random, n, d):
    """Centroids that differ in one channel alone."""
    points = random.normal(size=(n, d))
    centroids = points[:64].copy()
    centroids[:, 1:] = 0.25
    return points, centroids


def tiny(random, n, d):
    """Numbers whose squares are no longer exact, or zero."""
    points = random.normal(size=(n, d)) * 1e-18
    return points, np.concatenate([points[:64], np.full((1, d), 1e-8)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("kind", [colors, normal, far_off, heavy_tails, crowd, flat, tiny])
def test_labels_distances_and_sums_are_the_same(kind, d, dtype, monkeypatch):
    points, centroids = kind(np.random.default_rng(d), N, d)
    points, centroids = points.astype(dtype), centroids.astype(np.float64)
    weights = np.random.default_rng(1).random(N)
    monkeypatch.setattr(grid, "_cost", lambda *_: 0)
    monkeypatch.setattr(grid, "_mean_panels", lambda *_: 0)
    assert grid.grid_of(points, centroids) is not None
    with_grid = assigned(points, weights, centroids)
    monkeypatch.setattr(grid, "grid_of", lambda *_: None)
    for one, other in zip(with_grid, assigned(points, weights, centroids), strict=True):
        assert np.array_equal(one, other)


def assigned(points, weights, centroids):
    labels, distances = np.empty(N, np.int32), np.empty(N, points.dtype)
    assigning.nearest(points, centroids, 2, labels, distances)
    alone, nothing = np.empty(N, np.int32), np.empty(0, np.int32)
    assigning.nearest(points, centroids, 1, alone, np.empty(0, points.dtype))
    sums, _ = assigning.assign_and_sum(points, weights, centroids, nothing, 1)
    others, inertia = assigning.assign_and_sum(points, weights, centroids, np.empty_like(alone), 1)
    return labels, distances, alone, sums, others, inertia


def test_a_grid_is_for_many_points_among_many_centroids():
    points = np.random.default_rng(0).normal(size=(200_000, 2)).astype(np.float32)
    assert grid.grid_of(points, points[:256]) is not None
    assert grid.grid_of(points, points[:8]) is None
    assert grid.grid_of(points[:10_000], points[:256]) is None
    crowded = np.concatenate([points[:256] * 1e-4, [[1000, 1000]]])
    assert grid.grid_of(points * np.float32(1e-4), crowded) is None


def test_a_grid_that_does_not_pay_is_looked_for_less_and_less_often(monkeypatch):
    looks = []
    monkeypatch.setattr(grid, "grid_of", lambda points, centroids: looks.append(len(points)))
    grids = grid.Grids()
    for number in range(1, 100):
        assert grids.of(np.zeros((number, 3)), np.zeros((9, 3))) is None
    assert looks == [1, 2, 4, 8, 16, 32, 64]
    monkeypatch.setattr(grid, "grid_of", lambda *_: "a grid")
    assert [grids.of(np.zeros((9, 3)), np.zeros((9, 3))) for _ in range(30)][-1] == "a grid"
