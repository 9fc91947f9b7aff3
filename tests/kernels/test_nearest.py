"""The kernels of `kmq.kernels.nearest`, run by `assigning`, against the naive truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from kmq.stages.palette import assigning, products

FLOATS = [np.float32, np.float64]
EDGES = [63, 64, 65, 127, 129, 511, 512, 513, 1025]
"""Numbers of points about the ends of tiles and blocks."""


def nearest(points, centroids, n_threads=1):
    labels = np.full(len(points), -1, np.int32)
    distances = np.full(len(points), -1, points.dtype)
    assigning.nearest(points, centroids, n_threads, labels, distances)
    return labels, distances


def whole_rows(random, n, d, dtype, largest=3):
    """Rows of so few whole numbers that distances are exact and many are equal."""
    return random.integers(-largest, largest + 1, (n, d)).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60) | st.sampled_from(EDGES),
    d=st.integers(1, 40) | st.integers(1, 5),
    k=st.integers(1, 40),
    largest=st.sampled_from([0, 1, 3, 255]),
    seed=st.integers(0, 1000),
)
def test_ties_go_to_the_lowest_index(dtype, n, d, k, largest, seed):
    random = np.random.default_rng(seed)
    points = whole_rows(random, n, d, dtype, largest)
    centroids = whole_rows(random, k, d, dtype, largest)
    labels, distances = nearest(points, centroids)
    true_labels, true_distances = naive.nearest(points, centroids)
    assert np.array_equal(labels, true_labels)
    assert np.array_equal(distances, true_distances)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 9, 17])
def test_distances_have_the_bits_of_fused_multiply_adds(dtype, d):
    random = np.random.default_rng(d)
    points = random.normal(0, 100, (20, d)).astype(dtype)
    centroids = random.normal(0, 100, (7, d)).astype(dtype)
    labels, distances = nearest(points, centroids)
    for point, label, distance in zip(points, labels, distances, strict=True):
        true = [naive.fused_distance(point, centroid) for centroid in centroids]
        assert (label, distance) == (np.argmin(true), min(true))


@pytest.mark.parametrize("dtype", FLOATS)
def test_far_and_tiny_coordinates(dtype):
    scales = np.array([1e-15, 1, 1e17], dtype)[:, None, None]
    points = (scales * np.array([[1, 2, 3], [-4, 5, -6]], dtype)).reshape(-1, 3)
    labels, distances = nearest(points, points)
    assert labels.tolist() == list(range(6))
    assert distances.tolist() == [0] * 6


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("d", [3, 5])
def test_chunks_of_many_points_are_all_labelled(d, n_threads):
    random = np.random.default_rng(0)
    points = whole_rows(random, 70_001, d, np.float32, 20)
    centroids = whole_rows(random, 5, d, np.float32, 20)
    labels, distances = nearest(points, centroids, n_threads)
    true_labels, true_distances = naive.nearest(points, centroids)
    assert np.array_equal(labels, true_labels)
    assert np.array_equal(distances, true_distances)


def test_distances_are_optional():
    points = np.array([[1.0], [5.0]])
    labels = np.empty(2, np.int32)
    assigning.nearest(points, points, 1, labels, np.empty(0))
    assert labels.tolist() == [0, 1]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    k=st.integers(1, 9),
    weighted=st.booleans(),
    dtype=st.sampled_from(FLOATS),
    seed=st.integers(0, 1000),
)
def test_sums_by_label(n, d, k, weighted, dtype, seed):
    random = np.random.default_rng(seed)
    points = whole_rows(random, n, d, dtype, 100)
    labels = random.integers(0, k, n, dtype=np.int32)
    weights = random.integers(0, 9, n).astype(float) if weighted else np.empty(0)
    sums = assigning.accumulate(points, labels, weights, k, 1)
    true_sums, true_counts = naive.accumulate(points, labels, k, weights if weighted else [1] * n)
    assert np.array_equal(sums[:, :-1], true_sums)
    assert np.array_equal(sums[:, -1], true_counts)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 8, 9, 16])
@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_of_the_last_points_and_of_every_label(dtype, d):
    # Rows of sums are added as vectors: none may spill into the next, nor reach past the last.
    random = np.random.default_rng(d)
    for n in (1, 5, 64):
        points = whole_rows(random, n, d, dtype, 1000)
        labels = np.arange(n, dtype=np.int32)
        for weights in (np.empty(0), np.full(n, 3.0)):
            sums = assigning.accumulate(points, labels, weights, n, 1)
            factor = weights[:, None] if weights.size else 1
            assert np.array_equal(sums[:, :-1], points * factor)
            assert np.array_equal(sums[:, -1:], np.ones((n, 1)) * factor)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_sums_of_fractions_do_not_depend_on_threads(n_threads):
    random = np.random.default_rng(0)
    points, weights = random.normal(size=(100_000, 3)), random.random(100_000)
    labels = random.integers(0, 7, 100_000, dtype=np.int32)
    alone = assigning.accumulate(points, labels, weights, 7, 1)
    together = assigning.accumulate(points, labels, weights, 7, n_threads)
    assert np.array_equal(alone, together)


def by_differences_and_products(points, centroids, monkeypatch):
    results = []
    monkeypatch.setattr(products, "are_certain", lambda _: True)
    for faster in (False, True):
        monkeypatch.setattr(products, "are_faster", lambda *_, faster=faster: faster)
        labels, distances = nearest(points, centroids)
        sums, inertia = assigning.assign_and_sum(
            points, np.empty(0), centroids, np.empty(len(points), np.int32), 1
        )
        results.append((labels, distances, sums, inertia))
    return results


def assert_products_change_nothing(points, centroids, monkeypatch):
    differences, from_products = by_differences_and_products(points, centroids, monkeypatch)
    for one, other in zip(differences, from_products, strict=True):
        np.testing.assert_array_equal(one, other)  # NaN in the same places


NEAR_TIES = {
    "random": lambda random, points: points + random.normal(size=points.shape) / 10,
    "equal centroids": lambda random, points: np.repeat(points[::2], 2, axis=0)[: len(points)],
    "a bit apart": lambda random, points: np.nextafter(points, np.inf),
    "on a lattice": lambda random, points: np.rint(points),
    "all one": lambda random, points: np.zeros_like(points),
    "mirrored": lambda random, points: -points,
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [9, 16, 33, 300])
@pytest.mark.parametrize("exponent", [-1.1, -0.8, -0.5, 0, 0.4, 0.9])
def test_products_give_the_labels_of_differences(dtype, d, exponent, monkeypatch):
    # From numbers that underflow to such whose squares overflow.
    scale = dtype(float(np.finfo(dtype).max) ** exponent)
    random = np.random.default_rng(d)
    unscaled = random.normal(size=(197, d)).astype(dtype)
    points = unscaled * scale
    for near in NEAR_TIES.values():
        for k in (1, 5, 70, 150):
            centroids = near(random, unscaled[:k]).astype(dtype) * scale
            with np.errstate(all="ignore"):
                assert_products_change_nothing(points, centroids, monkeypatch)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [1e3, 1e6, -1e7])
def test_products_of_points_far_from_the_origin(dtype, offset, monkeypatch):
    random = np.random.default_rng(0)
    points = (random.normal(size=(500, 20)) + offset).astype(dtype)
    assert_products_change_nothing(points, points[:100] + dtype(0.01), monkeypatch)
    assert_products_change_nothing(np.rint(points), np.rint(points[:100]), monkeypatch)


UNEVEN = {
    "an outlier": lambda random, points: np.where(points == points.max(), points * 1e6, points),
    "channels of all sizes": lambda random, points: points * np.logspace(-6, 6, points.shape[1]),
    "points of all sizes": lambda random, points: points * np.logspace(-9, 9, len(points))[:, None],
    "constant channels": lambda random, points: np.where(np.arange(points.shape[1]) % 3, points, 7),
    "only one channel": lambda random, points: points * (np.arange(points.shape[1]) == 5),
    "close together": lambda random, points: 100 + points / 1e5,
    "denormals": lambda random, points: points * 1e-310,
    "mostly equal": lambda random, points: np.where(random.random(points.shape) < 0.9, 1, points),
    "colours": lambda random, points: np.clip(np.rint(points * 60 + 128), 0, 255),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [9, 12, 31, 70])
@pytest.mark.parametrize("kind", UNEVEN)
def test_products_of_uneven_points(kind, d, dtype, monkeypatch):
    random = np.random.default_rng(d)
    points = UNEVEN[kind](random, random.normal(size=(301, d)))
    if kind == "denormals" and dtype is np.float32:
        points *= 1e270
    points = points.astype(dtype)
    for k in (3, 40, 301):
        assert_products_change_nothing(points, points[:k] * dtype(0.99), monkeypatch)
        assert_products_change_nothing(points, points[random.permutation(k)], monkeypatch)


def test_products_without_distances_write_the_same_labels(monkeypatch):
    # More equal centroids than pairs are collected at a time.
    random = np.random.default_rng(0)
    points = random.normal(size=(200, 16)).astype(np.float32)
    monkeypatch.setattr(products, "are_certain", lambda _: True)
    for centroids in (points[:60], np.repeat(points[:2], 400, axis=0)):
        found = []
        for faster in (False, True):
            monkeypatch.setattr(products, "are_faster", lambda *_, faster=faster: faster)
            labels = np.full(len(points), -1, np.int32)
            assigning.nearest(points, centroids, 1, labels, np.empty(0, np.float32))
            found.append(labels)
        assert np.array_equal(*found)


@pytest.mark.parametrize("d", [12, 64, 500])
def test_products_are_certain_mostly(d):
    # Differences would be right for all; they must be rare, or products gain nothing.
    random = np.random.default_rng(0)
    points = random.normal(size=(3000, d)).astype(np.float32) + 100
    made = products.products_of(points[:128], points.dtype)
    shifted = points.astype(float) - made.shift
    scores = np.square(shifted[:128]).sum(axis=1) / 2 - shifted @ shifted[:128].T
    scores.sort(axis=1)
    radius, scale, rounding, error = made.bounds[:4]
    length = np.sqrt(np.square(shifted).sum(axis=1)).max()
    own = 32_767 / max(length, radius)
    margin = rounding * (scale * radius + own * length + rounding) / (scale * own)
    margin += error * (length + radius) ** 2
    assert np.mean(scores[:, 1] - scores[:, 0] <= margin) < 0.1


@pytest.mark.parametrize(
    ("d", "gap", "certain"),
    [(16, 0, True), (16, 1, True), (16, 1000, False), (256, 0, True), (256, 1000, True)],
)
def test_close_centroids_in_far_clusters_are_not_left_to_products(d, gap, certain):
    # With many channels it takes less time to compare even an eighth of the centroids twice.
    random = np.random.default_rng(0)
    centroids = random.normal(size=(64, d)) + gap * random.normal(size=(8, d)).repeat(8, axis=0)
    made = products.products_of(centroids, np.dtype(np.float32))
    assert products.are_certain(made) == certain


def test_clusters_so_far_apart_that_nothing_within_is_certain(monkeypatch):
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 20)) + 1e5 * random.integers(0, 2, (300, 1))
    assert_products_change_nothing(points.astype(np.float32), points[:200], monkeypatch)
    assert_products_change_nothing(points, points[:200] + 1e-9, monkeypatch)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (70, 3, 5), (1100, 9, 8), (600, 70, 3)])
def test_distances_to_all_are_those_to_the_nearest(n, d, k, dtype):
    random = np.random.default_rng(d)
    points = random.normal(size=(n, d)).astype(dtype)
    centroids = random.normal(size=(k, d)).astype(dtype)
    to_all = assigning.distances(points, centroids, 2)
    assert (to_all.shape, to_all.dtype) == ((n, k), dtype)
    labels, squared = nearest(points, centroids)
    assert np.array_equal(to_all.argmin(axis=1), labels)
    assert np.array_equal(to_all.min(axis=1), np.sqrt(squared))
    wide = points.astype(float)[:, None] - centroids
    expected = np.sqrt(np.square(wide).sum(axis=2))
    np.testing.assert_allclose(to_all, expected, rtol=4e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_points_are_left_to_differences(dtype):
    # To prepare products takes longer than a round of few points.
    assert not products.are_faster(100, 32, 64, np.dtype(dtype))
    assert products.are_faster(100_000, 32, 64, np.dtype(dtype))
