"""Breathing on threads, for many centroids."""

from __future__ import annotations

import numpy as np
import pytest

import kmq
from kmq.pipeline import fitting
from kmq.stages.palette import breathing, pairs, rounds, search
from kmq.stages.palette.effort import SEARCH_EFFORTS
from kmq.stages.palette.points import points_of


def points(n=20_000, seed=0):
    rng = np.random.default_rng(seed)
    columns = np.sort(rng.normal(size=(3, n)).astype(np.float32), axis=1)
    return points_of(columns, rng.uniform(1, 9, n))


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_it_does_as_the_kernel(monkeypatch, effort):
    some = points(3000)
    start = some.rows[::5].astype(np.float64)
    several = SEARCH_EFFORTS[effort]._replace(patience=1e-3)

    def breathe(many):
        monkeypatch.setattr(search, "PAIRED_COLORS", many)
        monkeypatch.setattr(rounds, "PAIRED_COLORS", many)
        return search._breathe(some, start, 7, several, 1)

    expected, centroids = breathe(10**6)
    inertia, found = breathe(1)
    assert inertia == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(found, centroids, rtol=1e-9)
    assert np.array_equal(found[:7], start[:7])


def test_threads_change_nothing():
    some, effort = points(), SEARCH_EFFORTS["fast"]
    start = some.rows[::4].astype(np.float64)
    told = effort.breaths(5000, 20_000, 2)
    one, three = (breathing.breathe(some, start, 0, effort, told, n) for n in (1, 3))
    assert one[0] == three[0]
    assert np.array_equal(one[1], three[1])


def test_it_keeps_the_best_there_was():
    some, effort = points(), SEARCH_EFFORTS["fast"]
    start = pairs.merged(some.rows, some.weights, 5000, 1)
    told = effort.breaths(5000, 20_000, 2)
    inertia, found = breathing.breathe(some, start, 0, effort, told, 1)
    before, _ = breathing.breathe(some, start, 0, effort, told._replace(first=0), 1)
    assert inertia < before < search._inertia_of(some, start, 1)
    assert inertia == pytest.approx(search._inertia_of(some, found, 1), rel=1e-6)


@pytest.mark.parametrize(
    ("space", "k", "times"), [("rgb", 99, 0), ("rgb", 100, 1), ("eye", 100, 1)]
)
def test_searches_for_many_colors_start_in_pairs(monkeypatch, space, k, times):
    monkeypatch.setattr(fitting, "PAIRED_COLORS", 100)
    taken = []
    merged = pairs.merged
    monkeypatch.setattr(pairs, "merged", lambda *a: taken.append(a[2]) or merged(*a))
    pixels = np.random.default_rng(3).integers(0, 256, (30, 30, 3), np.uint8)
    image = kmq.quantize(pixels, k, space=space)
    assert taken == [k] * times
    assert len(image.palette) == k
