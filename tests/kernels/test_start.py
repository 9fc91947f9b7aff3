"""Where k-means starts: `kmq.stages.palette.starting.start_centroids` and its kernels."""

import numpy as np
import pytest

import kmq
import naive
from kmq.stages.palette import starting
from kmq.stages.palette.starting import INITS, start_centroids

SEEDED = [init for init in INITS if init != "var-part"]
OF_POINTS = [init for init in SEEDED if init != "k-means||"]
FLOATS = [np.float32, np.float64]


def blobs(n_blobs, *, size=20, seed=0):
    """Points in tight blobs far apart, one blob after the other."""
    random = np.random.default_rng(seed)
    centers = np.array([[1000.0 * blob, 700.0 * (blob % 3), 0.0] for blob in range(n_blobs)])
    return np.repeat(centers, size, axis=0) + random.normal(size=(n_blobs * size, 3))


def start(points, k, init, seed=0, weights=None, n_threads=1):
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    return start_centroids(points, weights, k, init, seed, n_threads)


def distinct(centroids):
    return len(np.unique(centroids, axis=0))


@pytest.mark.parametrize("init", OF_POINTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_centroids_are_distinct_points(init, dtype):
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(dtype)
    centroids = start(points, 30, init)
    assert centroids.shape == (30, 3)
    assert centroids.dtype == np.float64
    assert distinct(centroids) == 30
    assert set(map(tuple, centroids)) <= set(map(tuple, points.astype(float)))


@pytest.mark.parametrize("init", SEEDED)
def test_seed_decides(init):
    points = np.random.default_rng(0).normal(size=(200, 3))
    first = start(points, 10, init, seed=1)
    assert np.array_equal(first, start(points, 10, init, seed=1))
    assert not np.array_equal(first, start(points, 10, init, seed=2))


@pytest.mark.parametrize("init", OF_POINTS)
def test_points_without_weight_are_never_chosen(init):
    points = np.arange(40.0)[:, None]
    weights = np.arange(40) % 2
    for seed in range(20):
        assert set(start(points, 20, init, seed, weights).ravel() % 2) == {1}


@pytest.mark.parametrize("init", OF_POINTS)
def test_heavy_points_are_chosen_first(init):
    points = np.arange(50.0)[:, None]
    weights = np.ones(50)
    weights[31] = 1e9
    assert {float(start(points, 1, init, seed, weights)[0, 0]) for seed in range(20)} == {31}


def test_random_start_bears_weights_whose_share_vanishes():
    weights = [1e10, 1e-320, 1]
    centroids = start(np.arange(3.0)[:, None], 3, "random", weights=weights)
    assert set(centroids.ravel()) == {0, 2}


def test_random_start_draws_every_point():
    points = np.arange(5.0)[:, None]
    drawn = {float(start(points, 1, "random", seed)[0, 0]) for seed in range(60)}
    assert drawn == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("n_distinct", [1, 3])
def test_more_centroids_than_distinct_points(init, n_distinct):
    points = np.arange(12.0)[:, None] % n_distinct
    centroids = start(points, 7, init)
    assert centroids.shape == (7, 1)
    assert set(centroids.ravel()) <= set(range(n_distinct))
    if init != "random":
        assert distinct(centroids) == n_distinct


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "var-part"])
@pytest.mark.parametrize("n_blobs", [2, 5, 9])
def test_each_blob_gets_a_centroid(init, n_blobs):
    points = blobs(n_blobs)
    for seed in range(5):
        labels, _ = naive.nearest(start(points, n_blobs, init, seed), points[::20])
        assert sorted(labels) == list(range(n_blobs))


def test_k_means_plus_plus_starts_lower_than_random():
    points = np.random.default_rng(0).lognormal(0, 1, (300, 3))
    ones = np.ones(len(points))

    def mean_inertia(init):
        starts = [start(points, 12, init, seed) for seed in range(10)]
        return np.mean([naive.inertia(points, centroids, ones) for centroids in starts])

    assert mean_inertia("k-means++") < 0.8 * mean_inertia("random")


@pytest.mark.parametrize(("near_weight", "second"), [(1, 1000), (1e9, 1)])
def test_k_means_plus_plus_weighs_the_distances(near_weight, second):
    points = np.array([[0.0], [1.0], [1000.0]])
    for seed in range(20):
        centroids = start(points, 2, "k-means++", seed, [1e12, near_weight, 1])
        assert centroids.ravel().tolist() == [0, second]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 2, 40, 1100])
def test_threads_choose_the_same_points(dtype, k, monkeypatch):
    monkeypatch.setattr(starting, "_SHARED_WORK", 1)
    random = np.random.default_rng(1)
    points, weights = random.normal(size=(5000, 3)).astype(dtype), random.random(5000)
    alone = start(points, k, "k-means++", weights=weights)
    for n_threads in (2, 3, 256):
        assert np.array_equal(alone, start(points, k, "k-means++", 0, weights, n_threads))


@pytest.mark.parametrize("n", [1, 15, 17, 65, 511, 512, 513, 1500])
def test_k_means_plus_plus_is_the_naive_one(n):
    # Whole numbers: sums are exact, in whatever order.
    random = np.random.default_rng(n)
    points, weights = random.integers(0, 50, (n, 4)), random.integers(1, 4, n).astype(float)
    k = min(n, 12)
    chosen = start(points.astype(np.float32), k, "k-means++", 3, weights)
    uniforms = np.random.RandomState(3).random_sample((k, 2 + int(np.log(k))))
    assert np.array_equal(chosen, points[naive.k_means_plus_plus(points, weights, uniforms)])


def test_k_means_plus_plus_beyond_the_greedy_ones():
    points = np.random.default_rng(0).normal(size=(1500, 2)).astype(np.float32)
    assert distinct(starting.plus_plus(points, np.ones(1500), 1200, 0, 1)) == 1200


def test_above_a_thousand_k_means_plus_plus_is_oversampled():
    points = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    for k in (1000, 1001):
        default, drawn = start(points, k, "k-means++"), start(points, k, "k-means||")
        assert distinct(default) == distinct(drawn) == k
        assert np.array_equal(default, drawn) == (k == 1001)


def test_oversampled_starts_are_as_good_as_greedy_ones():
    points = blobs(1100, size=6)
    weights = np.ones(len(points))
    greedy = starting.plus_plus(points, weights, 1100, 0, 1, most_greedy=1100)
    drawn = start(points, 1100, "k-means++")
    assert squared_error(points, drawn) < squared_error(points, greedy)


def squared_error(points, centroids):
    distances = np.empty(len(points), points.dtype)
    kmq.assign(points, centroids, out_distances=distances)
    return distances.sum()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("k", [1, 30, 1200])
def test_threads_draw_the_same_points(dtype, k, monkeypatch):
    monkeypatch.setattr(starting, "_DRAWN_POINTS", 700)
    random = np.random.default_rng(2)
    points, weights = random.normal(size=(6000, 3)).astype(dtype), random.random(6000)
    alone = start(points, k, "k-means||", weights=weights)
    assert np.array_equal(alone, start(points, k, "k-means||", 0, weights, 3))


def test_points_without_weight_are_not_drawn():
    points = np.concatenate([np.random.default_rng(0).random(300), np.full(300, 1e6)])[:, None]
    weights = (points.ravel() < 1).astype(float)
    for seed in range(5):
        assert start(points, 40, "k-means||", seed, weights).max() <= 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [1, 3, 5])
@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_var_part_cuts_the_worst_group_at_its_mean(dtype, d, k):
    random = np.random.default_rng(d)
    points = random.normal(size=(150, d)).astype(dtype)
    weights = random.random(150)
    centroids = start(points, k, "var-part", weights=weights)
    true = naive.split_by_variance(points, weights, k)
    np.testing.assert_allclose(
        centroids[np.lexsort(centroids.T)], true[np.lexsort(true.T)], rtol=1e-6, atol=1e-6
    )


def test_var_part_needs_no_seed():
    points = np.random.default_rng(0).normal(size=(200, 3))
    assert np.array_equal(start(points, 10, "var-part", 1), start(points, 10, "var-part", 2))


def test_var_part_separates_neighbouring_floats():
    low = np.float64(1)
    points = np.array([[low], [np.nextafter(low, 2)], [low]])
    assert 1 <= distinct(start(points, 3, "var-part")) <= 2
