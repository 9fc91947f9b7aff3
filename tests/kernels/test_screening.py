"""Labels by screening in whole numbers: those of differences, to the last tie."""

import numpy as np
import pytest

import kmq
from kmq.stages.palette import assigning, products, screening

N = 8_500


def colors(random, d):
    """Points of whole numbers, and centroids halfway between some, two of them equal: many ties."""
    centroids = random.integers(0, 8, (77, d)) / 2
    centroids[50] = centroids[3]
    return random.integers(0, 4, (N, d)), centroids


def normal(random, d):
    """Points of a normal distribution, some of which are centroids."""
    points = random.normal(size=(N, d))
    return points, points[:200]


def far_off(random, d):
    """Points far from the origin, where floats are coarse."""
    points = random.normal(size=(N, d)) + 3000
    return points, points[:65]


def outliers(random, d):
    """A point in each block that is so far away that all others are near ties, or overflows."""
    points = random.normal(size=(N, d))
    centroids = points[:64].copy()
    points[::300] *= 1e4
    points[::900] *= 1e14
    return points, centroids


def clustered(random, d):
    """Centroids close together, far from others."""
    places = random.normal(0, 1000, (4, d))
    points = places[random.integers(0, 4, N)] + random.normal(0, 1e-3, (N, d))
    return points, points[:64]


def tiny(random, d):
    """Numbers whose squares are no longer exact, or zero."""
    return random.normal(size=(N, d)) * 1e-21, random.normal(size=(64, d)) * 1e-21


def one(random, d):
    """A single centroid."""
    return random.normal(size=(N, d)), np.ones((1, d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [4, 5, 8, 9])
@pytest.mark.parametrize("kind", [colors, normal, far_off, outliers, clustered, tiny, one])
def test_labels_are_the_same(kind, d, dtype, monkeypatch):
    points, centroids = kind(np.random.default_rng(d), d)
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
    points, centroids = normal(random, 8)
    points = points.astype(np.float32)
    labels = np.empty(N, np.int32)
    label = screening.labeller_of(points, centroids)
    assert label(points.reshape(-1), labels) < 0.1 * N
    points, centroids = clustered(random, 8)
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
