"""Nearest centroids of sorted points: the same as by all centroids, to the bit."""

import numpy as np
import pytest

import kmq
from clouds import colors, far_off, normal
from kmq.stages.palette import assigning, bounded, ordered
from kmq.stages.palette.labelling import Labelling

N = 30_011


def heavy_tails(random, n, d):
    """A few points far away."""
    points = random.standard_cauchy(size=(n, d))
    return points, points[:64]


def flat(random, n, d):
    """Points and centroids that differ in one channel alone."""
    points = np.full((n, d), 0.25)
    points[:, 1] = random.normal(size=n)
    return points, points[:64]


def few(random, n, d):
    """Two centroids, and many points in one place."""
    points = random.normal(size=(n, d))
    points[: n // 2] = 5
    return points, points[-2:]


def crowd(random, n, d):
    """More centroids than bits of a word, most of them close together and far from all points."""
    return random.normal(size=(n, d)), 100 + random.normal(size=(1000, d))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("kind", [colors, normal, far_off, heavy_tails, flat, few, crowd])
def test_labels_are_the_same(kind, d, dtype):
    points, centroids = kind(np.random.default_rng(d), N, d)
    points, centroids = points.astype(dtype), centroids.astype(np.float64)
    plainly = np.empty(N, np.int32)
    assigning.nearest(points, centroids, 2, plainly, np.empty(0, dtype))
    labels = np.empty(N, np.int32)
    sorted_points = ordered.Ordered(points, labels)
    assert 1 <= sorted_points.label(centroids, 2, labels) <= len(centroids)
    assert np.array_equal(labels, plainly)
    reversed_ones = centroids[::-1].copy()
    sorted_points.label(reversed_ones, 1, labels)
    assigning.nearest(points, reversed_ones, 2, plainly, np.empty(0, dtype))
    assert np.array_equal(labels, plainly)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_squares_that_vanish_or_overflow_are_left_to_others(scale):
    points = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32) * np.float32(scale)
    labels = np.empty(N, np.int32)
    sorted_points = ordered.Ordered(points, labels)
    assert sorted_points.label(points[:64].astype(np.float64), 1, labels) == np.inf


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fits_are_the_same(dtype, weighted, monkeypatch):
    random = np.random.default_rng(1)
    points = random.normal(size=(N, 3)).astype(dtype)
    weights = random.random(N) if weighted else None
    monkeypatch.setattr(bounded, "LEAST_WORK", 1 << 62)
    inner, n_sorted = ordered.Ordered.label, []
    spied = lambda *given: n_sorted.append(1) or inner(*given)  # noqa: E731
    monkeypatch.setattr(ordered.Ordered, "label", spied)
    fits = []
    for pays in (False, True):
        monkeypatch.setattr(Labelling, "_would_pay", lambda _, pays=pays: pays)
        fits.append(kmq.kmeans(points, 64, weights=weights, init=points[:64], max_iter=5, tol=0))
    assert fits[0] == fits[1]
    assert len(n_sorted) == fits[1].n_iter + 1


def test_points_are_sorted_where_that_pays(monkeypatch):
    sorted_ones = []
    monkeypatch.setattr(bounded, "LEAST_WORK", 1 << 62)
    inner = ordered.Ordered.__init__
    spied = lambda *given: sorted_ones.append(1) or inner(*given)  # noqa: E731
    monkeypatch.setattr(ordered.Ordered, "__init__", spied)

    def times_sorted(points, k):
        sorted_ones.clear()
        kmq.kmeans(points, k, init=points[:k], max_iter=6, tol=0)
        return len(sorted_ones)

    points = np.random.default_rng(0).normal(size=(50_000, 4)).astype(np.float32)
    assert times_sorted(points, 256) == 1
    assert times_sorted(points, 8) == 0
    assert times_sorted(points[:5000], 256) == 0
    assert times_sorted(np.hstack([points, points]), 256) == 0
    # Where a few are so far away that all others are in one cell, it is given up after a round.
    points[::3] = points[::3] * np.float32(1e-5) + np.float32(100)
    points[1::3] = points[1::3] * np.float32(1e-5) + np.float32(-100)
    assert times_sorted(points, 256) == 1
