"""Sums kept from round to round, against sums that are rounded once."""

import math

import numpy as np
import pytest

from kmq.kernels.sums import sizes
from kmq.stages.palette.sums import Sums

FLOATS = [np.float32, np.float64]

N, K = 700, 5


def whole(random, d):
    return np.rint(random.normal(size=(N, d)) * 99)


def floats(random, d):
    return random.normal(size=(N, d)).astype(np.float32)


def of_many_sizes(random, d):
    return (random.normal(size=(N, d)) * 10.0 ** random.integers(-5, 5, (N, 1))).astype(np.float32)


def exact_sums(points, weights, labels):
    columns = weights[:, None] * np.column_stack([points, np.ones(N)]).astype(np.float64)
    return [[math.fsum(column[labels == label]) for column in columns.T] for label in range(K)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [1, 3, 8, 21])
@pytest.mark.parametrize("kind", [whole, floats, of_many_sizes])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_sums_are_rounded_once_whichever_points_move(kind, d, dtype, n_threads):
    random = np.random.default_rng(d)
    if kind is of_many_sizes and dtype is np.float64:
        pytest.skip("has more digits than two float64 hold")
    points = kind(random, d).astype(dtype)
    parts = [slice(start, start + 100) for start in range(0, N, 100)]
    for weights in (np.empty(0), random.integers(0, 4, N).astype(float)):
        sums = Sums(points, weights, K, parts, n_threads)
        assert sums.are_exact
        labels = random.integers(0, K, N).astype(np.int32)
        counted = weights if weights.size else np.ones(N)
        for n_moved in (0, N, 30, 3, 0, 1, 200, 5):
            labels[random.choice(N, n_moved, replace=False)] = random.integers(0, K)
            np.testing.assert_array_equal(sums.by(labels), exact_sums(points, counted, labels))


@pytest.mark.parametrize("size", [1e-30, 5e-324, 1e300])
def test_numbers_too_far_apart_in_size_are_added_in_their_order(size):
    random = np.random.default_rng(0)
    points = random.normal(size=(N, 2)) * np.where(random.random((N, 1)) < 0.5, 1.0, size)
    sums = Sums(points, np.empty(0), 1, [slice(0, N)], 2)
    assert not sums.are_exact
    expected = np.zeros(2)
    for point in points:
        expected += point
    for labels in np.zeros((2, N), np.int32):
        np.testing.assert_array_equal(sums.by(labels), [[*expected, N]])


@pytest.mark.parametrize("weights", [[], [1.0] * N, [0.0, 1e-290] * (N // 2)])
def test_zeros_have_sums(weights):
    sums = Sums(np.zeros((N, 2)), np.array(weights), 1, [slice(0, N)], 1)
    assert sums.by(np.zeros(N, np.int32)).tolist() == [[0, 0, math.fsum(weights) or N]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("numbers", "greatest", "least", "are_whole"),
    [
        ([1, -7] + [3] * 300, 7, 1, True),
        ([0] * 300 + [9], 9, 9, True),
        ([0] * 300 + [0.5], 0.5, 0.5, False),
        ([-0.25] + [0] * 300, 0.25, 0.25, False),
        ([2.0**100, 8] * 300, 2.0**100, 8, False),  # too large to say
        ([0, -0.0] * 50, 0, np.inf, True),
    ],
)
def test_sizes_of_numbers(numbers, greatest, least, are_whole, dtype):
    found = np.empty(2)
    assert sizes(np.array(numbers, dtype), found) == are_whole
    assert found.tolist() == [greatest, least]
