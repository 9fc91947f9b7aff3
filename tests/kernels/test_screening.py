"""Labels by screening in whole numbers: those of differences, to the last tie."""

import numpy as np
import pytest

import kmq
from clouds import colors, far_off, normal
from kmq.stages.palette import assigning, products, screening

N = 8_500


def few_levels(random, n, d):
    return colors(random, n, d, levels=4)


def far_off_65(random, n, d):
    """One centroid more than fills whole vectors."""
    return far_off(random, n, d, k=65)


def outliers(random, n, d):
    """A point in each block that is so far away that all others are near ties, or overflows."""
    points = random.normal(size=(n, d))
    centroids = points[:64].copy()
    points[::300] *= 1e4
    points[::900] *= 1e14
    return points, centroids


def clustered(random, n, d):
    """Centroids close together, far from others."""
    places = random.normal(0, 1000, (4, d))
    points = places[random.integers(0, 4, n)] + random.normal(0, 1e-3, (n, d))
    return points, points[:64]


def tiny(random, n, d):
    """Numbers whose squares are no longer exact, or zero."""
    return random.normal(size=(n, d)) * 1e-21, random.normal(size=(64, d)) * 1e-21


def one(random, n, d):
    """A single centroid."""
    return random.normal(size=(n, d)), np.ones((1, d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [4, 5, 8, 9])
@pytest.mark.parametrize("kind", [few_levels, normal, far_off_65, outliers, clustered, tiny, one])
def test_labels_are_the_same(kind, d, dtype, monkeypatch):
    points, centroids = kind(np.random.default_rng(d), N, d)
    points, centroids = points.astype(dtype), centroids.astype(np.float64)
    nothing = np.empty(0, dtype)
    labels, plainly = np.full((2, N), -1, np.int32)
    monkeypatch.setattr(screening, "_MOST_AGAIN", 1)
    label = screening.labeller_of(points, centroids)
    assert 0 <= label(points.reshape(-1), labels) <= N
    monkeypatch.setattr(screening, "is_faster", lambda *_: False)
    monkeypatch.setattr(products, "are_faster", lambda *_: False)
    assigning.nearest(points, centroids, 1, plainly, nothing)
    assert np.array_equal(labels, plainly)


def test_few_points_are_compared_again():
    random = np.random.default_rng(0)
    points, centroids = normal(random, N, 8)
    points = points.astype(np.float32)
    labels = np.empty(N, np.int32)
    label = screening.labeller_of(points, centroids)
    assert label(points.reshape(-1), labels) < 0.1 * N
    points, centroids = clustered(random, N, 8)
    assert screening.labeller_of(points.astype(np.float32), centroids) is None


def test_assign_screens_where_that_is_faster(monkeypatch):
    points = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    centroids = points[:256]
    inner, calls = screening.labeller_of, []
    monkeypatch.setattr(screening, "labeller_of", lambda *given: calls.append(1) or inner(*given))
    distances = np.empty(N, np.float32)
    labels = kmq.assign(points, centroids)
    assert calls
    calls.clear()
    assert np.array_equal(kmq.assign(points, centroids, out_distances=distances), labels)
    kmq.assign(points[:1000], centroids)
    kmq.assign(points[:, :3], centroids[:, :3])
    kmq.assign(points, centroids[:4])
    assert not calls
