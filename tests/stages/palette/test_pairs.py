"""Clusters merged in pairs, for searches of many colours to start from."""

from __future__ import annotations

import numpy as np
import pytest

from kmq.kernels.pairs import BLOCK
from kmq.stages.palette import pairs, search, starting
from kmq.stages.palette.points import points_of


def points(n=3000, d=3, seed=0):
    rng = np.random.default_rng(seed)
    columns = np.sort(rng.normal(size=(d, n)).astype(np.float32), axis=1)
    columns += rng.normal(scale=0.2, size=(d, n)).astype(np.float32)
    return points_of(columns, rng.uniform(0.1, 9, n))


def prices(columns, weights):
    """What pairs cost, (n, n); no cluster makes one with itself."""
    squares = np.square(columns[:, :, None] - columns[:, None].astype(float)).sum(axis=0)
    costs = squares * np.minimum(weights, weights[:, None])
    np.fill_diagonal(costs, np.inf)
    return costs


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_each_finds_the_best_partner_that_is_no_lighter(d):
    some = points(7 * BLOCK + 3, d)
    columns, weights = some.columns, some.weights
    costs, partners = np.empty(len(weights), np.float32), np.full(len(weights), -1, np.int32)
    pairs._find_partners(columns, weights, costs, partners, 1)
    expected = prices(columns, weights)
    assert np.allclose(costs, expected[np.arange(len(weights)), partners], rtol=1e-4)
    expected[weights[:, None] > weights] = np.inf
    assert (costs <= expected.min(axis=1) * 1.0001).all()


def test_only_those_without_a_partner_look_for_one():
    some = points(3 * BLOCK)
    weights = some.weights
    costs, partners = np.empty(len(weights), np.float32), np.full(len(weights), -1, np.int32)
    pairs._find_partners(some.columns, weights, costs, partners, 1)
    again, others = costs.copy(), partners.copy()
    again[::3], others[::3] = -7, -1
    again[1::3] = 42
    pairs._find_partners(some.columns, weights, again, others, 1)
    assert np.array_equal(others, partners)
    assert np.array_equal(again[::3], costs[::3])
    assert (again[1::3] == 42).all()


def test_they_start_a_search_better_than_splitting_does():
    some = points()
    k = 700
    merged = pairs.merged(some.rows, some.weights, k, 1)
    assert merged.shape == (k, 3)
    split = starting.start_centroids(some.rows, some.weights, k, "var-part", 0)
    assert search._inertia_of(some, merged, 1) < 0.9 * search._inertia_of(some, split, 1)


def test_the_cheapest_pairs_are_merged():
    columns = np.array([[0, 1, 10, 12, 30, 33, 60]], np.float32)
    weights = np.array([1.0, 3, 1, 1, 9, 9, 1])
    merged = pairs.merged(np.ascontiguousarray(columns.T), weights, 5, 1)
    assert merged.ravel().tolist() == [0.75, 11, 30, 33, 60]


def test_threads_change_nothing():
    some = points(5000)
    one, three = (pairs.merged(some.rows, some.weights, 1000, n) for n in (1, 3))
    assert np.array_equal(one, three)


def test_as_many_as_there_are_stay_as_they_are():
    some = points(300)
    assert np.array_equal(pairs.merged(some.rows, some.weights, 300, 1), some.rows)


@pytest.mark.parametrize("weights", ["even", "one of all", "wide"])
@pytest.mark.parametrize("at", ["one place", "a ring"])
def test_any_points_are_merged(weights, at):
    n = 2 * BLOCK + 1
    angle = np.linspace(0, 6, n)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    ring[n // 2] = 0
    rows = ring if at == "a ring" else np.ones((n, 2), np.float32)
    given = np.ones(n)
    if weights == "one of all":
        given[n // 2] = 1e12
    if weights == "wide":
        given = np.logspace(-300, 300, n)
    merged = pairs.merged(rows, given, 3, 1)
    assert merged.shape == (3, 2)
    assert np.isfinite(merged).all()
