"""Lloyd's algorithm; what it is made of is tested in test_nearest.py and test_start.py."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kmq
import naive
from kmq.stages.palette import clustering, starting
from kmq.stages.palette.moments import moments

FLOATS = [np.float32, np.float64]


def kmeans(points, start, *, weights=None, max_iter=300, tol=0.0, n_threads=1, progress=None):
    return clustering.kmeans(
        points,
        np.ones(len(points)) if weights is None else weights,
        np.asarray(start),
        max_iter=max_iter,
        tol=tol,
        n_threads=n_threads,
        progress=progress,
    )


def cloud(n, d, *, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).lognormal(3, 1, (n, d)).astype(dtype)


def assert_labels_belong_to_centroids(fit, points, weights):
    centroids = fit.centroids.astype(points.dtype)
    labels, distances = naive.nearest(points, centroids)
    own = naive.squared_distances(points, centroids)[np.arange(len(points)), fit.labels]
    assert fit.labels.dtype == np.int32
    np.testing.assert_allclose(own, distances, rtol=1e-5, atol=1e-4)
    assert np.mean(fit.labels == labels) > 0.99
    assert fit.inertia == pytest.approx(naive.inertia(points, centroids, weights), rel=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 9, 20])
@pytest.mark.parametrize("max_iter", [1, 2, 300])
def test_rounds_are_those_of_lloyd(d, max_iter):
    points = cloud(400, d)
    weights = np.random.default_rng(1).random(400)
    fit = kmeans(points, points[:9], weights=weights, max_iter=max_iter)
    true = naive.lloyd(points, weights, points[:9], max_iter)
    np.testing.assert_allclose(fit.centroids, true, rtol=1e-9)
    assert np.array_equal(fit.labels, naive.nearest(points, true)[0])
    assert fit.inertia == pytest.approx(naive.inertia(points, true, weights), rel=1e-9)
    assert fit.n_iter <= max_iter
    assert fit.converged == (max_iter == 300)


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 80),
    d=st.integers(1, 6),
    k=st.integers(1, 12),
    largest=st.sampled_from([1, 5, 255]),
    seed=st.integers(0, 1000),
)
def test_without_tolerance_the_end_is_a_fixed_point(dtype, n, d, k, largest, seed):
    random = np.random.default_rng(seed)
    points = random.integers(0, largest + 1, (n, d)).astype(dtype)
    weights = random.integers(1, 5, n).astype(float)
    start = random.integers(0, largest + 1, (k, d)).astype(float)
    fit = kmeans(points, start, weights=weights)
    assert fit.converged
    assert_labels_belong_to_centroids(fit, points, weights)
    used = np.unique(fit.labels)
    sums, counts = naive.accumulate(points, fit.labels, k, weights)
    np.testing.assert_allclose(
        fit.centroids[used], sums[used] / counts[used, None], rtol=1e-12, atol=1e-12
    )
    assert len(used) == min(k, len(np.unique(points, axis=0)))


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_labels_belong_to_the_last_centroids_without_convergence(max_iter):
    points = cloud(500, 3, dtype=np.float32)
    fit = kmeans(points, points[:20], max_iter=max_iter)
    assert not fit.converged
    assert fit.n_iter == max_iter
    assert_labels_belong_to_centroids(fit, points, np.ones(500))


def test_labels_belong_to_the_last_centroids_within_the_tolerance():
    points = cloud(500, 3)
    exact = kmeans(points, points[:20])
    early = kmeans(points, points[:20], tol=50.0)
    assert early.converged
    assert early.n_iter < exact.n_iter
    assert early.inertia >= exact.inertia
    assert_labels_belong_to_centroids(early, points, np.ones(500))


def test_inertia_never_rises_from_round_to_round():
    points = cloud(300, 3, seed=4)
    inertias = [kmeans(points, points[:10], max_iter=rounds).inertia for rounds in range(1, 15)]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[0] < naive.inertia(points, points[:10], np.ones(300))


def test_empty_clusters_move_to_the_farthest_points():
    points = np.array([[0.0], [1.0], [10.0], [100.0]])
    fit = kmeans(points, [[0.5], [-1000.0], [-1000.0], [-1000.0]], max_iter=1)
    # From 0.5, where all are, 100 and 10 are the farthest points, then 0; what is left is 1.
    assert fit.centroids.ravel().tolist() == [1, 100, 10, 0]


def test_points_that_refill_clusters_leave_theirs_at_once():
    # As in scikit-learn: the third round moves nothing.
    points = np.array([[0.0, 0], [1, 0], [1, 2], [2, 2]])
    fit = kmeans(points, [[1, 1], [9, 9]], weights=np.array([1.0, 2, 2, 1]))
    assert (fit.n_iter, fit.converged) == (3, True)


def test_a_cluster_that_gives_its_only_point_away_stays_where_it_was():
    points, start = np.array([[0.0], [10.0]]), [[-90.0], [4.0], [10.0]]
    assert kmeans(points, start, max_iter=1).centroids.ravel().tolist() == [0, 4, 10]


def test_empty_clusters_move_to_where_the_weight_is():
    points = np.array([[0.0], [1.0], [2.0], [50.0]])
    fit = kmeans(points, [[1.0], [-1000.0]], weights=np.array([1e6, 1e6, 1e6, 1.0]), max_iter=1)
    assert fit.centroids.ravel()[1] == 0  # 50 is farther, and adds less to the inertia


def test_empty_clusters_are_filled_with_different_points():
    points = np.repeat([[0.0], [7.0], [9.0]], 5, axis=0)
    fit = kmeans(points, np.zeros((3, 1)))
    assert sorted(fit.centroids.ravel()) == [0, 7, 9]
    assert fit.inertia == 0


def test_empty_clusters_look_past_many_equal_points():
    points = np.repeat([[0.0], [100.0], [90.0], [50.0]], [5000, 3000, 3000, 1], axis=0)
    fit = kmeans(points, [[0.0], [-1e9], [-1e9], [-1e9]], max_iter=1)
    assert fit.centroids[1:].ravel().tolist() == [100, 90, 50]


def test_weights_of_one_change_nothing():
    points = cloud(3000, 3)
    plain, doubled = (kmeans(points, points[:9], weights=np.full(3000, w)) for w in (1.0, 2.0))
    assert np.array_equal(plain.centroids, doubled.centroids)
    assert np.array_equal(plain.labels, doubled.labels)
    assert doubled.inertia == 2 * plain.inertia


@pytest.mark.parametrize("d", [3, 20])
def test_float32_points_give_the_centroids_of_float64(d):
    points = cloud(5000, d, dtype=np.float32)
    narrow = kmeans(points, points[:30], max_iter=10)
    wide = kmeans(points.astype(np.float64), points[:30], max_iter=10)
    assert narrow.inertia == pytest.approx(wide.inertia, rel=1e-6)


@pytest.mark.parametrize("n_distinct", [1, 2, 5])
def test_more_clusters_than_distinct_points_come_to_an_end(n_distinct):
    points = (np.arange(20.0) % n_distinct)[:, None]
    fit = kmeans(points, np.zeros((8, 1)))
    assert fit.converged
    assert fit.n_iter < 20
    assert fit.inertia == 0
    assert np.array_equal(fit.centroids[fit.labels], points)


def test_clusters_of_weightless_points_are_empty():
    points = np.array([[0.0], [1.0], [10.0], [11.0], [500.0]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    fit = kmeans(points, [[0.0], [500.0]], weights=weights)
    assert sorted(fit.centroids.ravel()) == [0.5, 10.5]


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("dtype", FLOATS)
def test_threads_do_not_change_a_bit(dtype, n_threads):
    points = cloud(80_000, 3, dtype=dtype)
    weights = np.random.default_rng(1).random(80_000)
    alone = kmeans(points, points[:7], weights=weights, max_iter=6)
    together = kmeans(points, points[:7], weights=weights, max_iter=6, n_threads=n_threads)
    assert np.array_equal(alone.centroids, together.centroids)
    assert np.array_equal(alone.labels, together.labels)
    assert alone.inertia == together.inertia


def test_progress_rises_to_the_end():
    heard = []
    points = cloud(300, 3)
    kmeans(points, points[:5], max_iter=4, progress=lambda *event: heard.append(event))
    assert [stage for stage, _ in heard] == ["k-means"] * 4
    assert [fraction for _, fraction in heard] == [0.25, 0.5, 0.75, 1]


def best_of(points, k, init, seeds, **options):
    weights = np.ones(len(points))
    options = {"max_iter": 300, "tol": 0.0, "n_threads": 1, **options}
    return starting.best_of(points, weights, k, init, seeds=seeds, **options)


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_best_of_several_starts_is_kept(init):
    points = cloud(200, 2)
    single = [best_of(points, 8, init, [seed]).inertia for seed in range(5)]
    assert len(set(single)) > 1
    assert best_of(points, 8, init, range(5)).inertia == min(single)


def test_starts_without_a_seed_are_run_once():
    points = cloud(200, 2)
    heard = []
    for init in ("var-part", points[:8]):
        best_of(points, 8, init, range(3), max_iter=1, progress=lambda *event: heard.append(event))
    assert heard == [("k-means", 1)] * 2


def test_progress_is_shared_among_the_starts():
    points = cloud(200, 2)
    heard = []
    best_of(points, 8, "random", range(4), max_iter=1, progress=lambda *event: heard.append(event))
    assert heard == [("k-means", share) for share in (0.25, 0.5, 0.75, 1)]


def test_tolerance_is_relative_to_the_variance():
    points = cloud(500, 3)
    rounds = {
        scale: best_of(points * scale, 10, points[:10] * scale, [0], tol=1e-2).n_iter
        for scale in (0.25, 1, 1024)
    }
    assert len(set(rounds.values())) == 1
    assert rounds[1] < best_of(points, 10, points[:10], [0]).n_iter


def test_variance_is_averaged_over_the_channels():
    points = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    assert moments(points, np.array([1.0, 0.0, 1.0])).variance() == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_variance_of_many_points_is_that_of_all_blocks(weighted):
    points = np.random.default_rng(0).normal(1e3, 5, (50_000, 7))
    weights = np.random.default_rng(1).random(50_000) * (np.arange(50_000) > 30_000)
    weights = weights if weighted else np.empty(0)
    middle = np.average(points, axis=0, weights=weights if weighted else None)
    expected = np.average((points - middle) ** 2, axis=0, weights=weights if weighted else None)
    found = moments(points, weights)
    assert found.n_rows == 50_000
    assert found.variance() == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.parametrize("tol", [0, 1e-3])
def test_fits_take_little_memory_besides_the_points(tol):
    points = cloud(20_000, 64).astype(np.float32)
    options = {"init": points[:10], "max_iter": 3, "tol": tol, "n_threads": 1}
    kmq.kmeans(points, 10, **options)  # what is made once, is made
    tracemalloc.start()
    kmq.kmeans(points, 10, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < points.nbytes
