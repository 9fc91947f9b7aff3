"""How long a search goes on."""

from __future__ import annotations

import numpy as np
import pytest

from kmq.kernels import search as kernels
from kmq.stages.palette import search
from kmq.stages.palette.effort import SEARCH_EFFORTS, WHERE_SEEN
from kmq.stages.palette.points import points_of

QUICK = [SEARCH_EFFORTS["fast"], SEARCH_EFFORTS["balanced"], *WHERE_SEEN.values()]


@pytest.mark.parametrize("effort", QUICK)
@pytest.mark.parametrize("k", [2, 64, 256, 512])
def test_up_to_512_colors_breathe_as_long_as_it_gains(effort, k):
    first, last, repeat_below = effort.breaths(k, 4096, 2)
    assert (first, last) == (max(2, k // effort.breath), 1)
    assert 0.999 < repeat_below < 1


@pytest.mark.parametrize("effort", QUICK)
@pytest.mark.parametrize("k", [513, 1024, 65_536])
@pytest.mark.parametrize("n_others", [1, 60, 1415, 10**6])
def test_many_colors_take_a_few_breaths(effort, k, n_others):
    breath, last, repeat_below = effort.breaths(k, k + n_others, 2)
    assert breath <= max(2, k // 3, n_others // 3)
    assert repeat_below == 0
    breaths = 0
    while breath >= last:
        breaths, breath = breaths + 1, breath // 2
    assert 1 <= breaths <= effort.most_breaths


@pytest.mark.parametrize("effort", QUICK)
def test_breaths_after_a_start_in_pairs_are_narrow(effort):
    assert effort.breaths(4095, 10**6, 2) == (1365, 85, 0.0)
    assert effort.breaths(4096, 10**6, 2) == (682, 85, 0.0)
    assert effort.breaths(65_536, 10**6, 2) == (5461, 2730, 0.0)


def test_a_search_that_does_not_breathe_has_no_first_breath():
    for k in (16, 1024):
        assert SEARCH_EFFORTS["fast"]._replace(breath=0).breaths(k, 4096, 2).first == 0


def test_few_breaths_gain_about_what_many_do():
    rng = np.random.default_rng(13)
    columns = np.sort(rng.normal(size=(3, 1800)).astype(np.float32), axis=1)
    points = points_of(columns, rng.uniform(1, 9, 1800))
    start = points.rows[::3].astype(np.float64)
    few = SEARCH_EFFORTS["balanced"]
    many = few._replace(most_breaths=0)

    def inertia(effort):
        centroids = search.search(points, [start.copy], 0, effort, 1)
        return search._inertia_of(points, centroids, 1)

    without = inertia(few._replace(breath=0))
    assert inertia(few) < 0.97 * without
    assert inertia(few) < 1.01 * inertia(many)


def test_the_kernel_halves_every_breath_and_stops_after_the_last(monkeypatch):
    taken = []
    breathe = kernels.breathe
    monkeypatch.setattr(kernels, "breathe", lambda *a: taken.append(a[8:11]) or breathe(*a))
    rng = np.random.default_rng(1)
    points = points_of(np.sort(rng.normal(size=(3, 2000)).astype(np.float32)), np.ones(2000))
    start = points.rows[:600].astype(np.float64)
    search.search(points, [start.copy], 0, SEARCH_EFFORTS["fast"], 1)
    assert taken == [(200, 12, 0.0)]
