"""KMeans beside scikit-learn's, under scikit-learn's own checks, and without scikit-learn."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans as Peer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import kmq
import naive
from kmq import KMeans
from kmq.errors import InputError
from kmq.estimator_base import PlainEstimator

FLOATS = [np.float32, np.float64]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads of scikit-learn wait for each other in loops, far longer than they work."""
    with threadpool_limits(1):
        yield


def blobs(n=300, d=3, n_blobs=6, *, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    middles = random.uniform(-20, 20, (n_blobs, d))
    return (middles[np.arange(n) % n_blobs] + random.normal(size=(n, d))).astype(dtype)


# scikit-learn's checks


def drawn_start_fails(estimator):
    """Checks that hold only for starts that depend on the points and not on their order.

    scikit-learn expects the same failures of its own KMeans: repeated rows are drawn otherwise
    than a row with a weight, so both end in other clusters.
    """
    if estimator.init == "var-part":
        return {}
    reason = "a random start draws repeated samples otherwise than weighted ones"
    name = "check_sample_weight_equivalence_on_{}_data"
    return {name.format(kind): reason for kind in ("dense", "sparse")}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.filterwarnings("ignore:algorithm='elkan' doesn't make sense for a single cluster")
@parametrize_with_checks(
    [
        KMeans(),
        KMeans(init="var-part", algorithm="elkan"),
        KMeans(n_clusters=3, init="random", n_init=2, algorithm="naive", n_threads=1),
    ],
    expected_failed_checks=drawn_start_fails,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# The same results as scikit-learn's


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [1, 3, 6, 40])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("algorithm", ["lloyd", "elkan", "naive"])
def test_same_start_gives_the_clusters_of_scikit_learn(dtype, d, weighted, algorithm):
    points = blobs(400, d, 9, dtype=dtype)
    weights = np.random.default_rng(1).uniform(0.1, 5, 400) if weighted else None
    options = {"n_clusters": 12, "init": points[:12], "n_init": 1, "tol": 0, "algorithm": algorithm}
    ours = KMeans(**options).fit(points, sample_weight=weights)
    options["algorithm"] = "lloyd"
    peer = Peer(**options).fit(points, sample_weight=weights)
    assert np.array_equal(ours.labels_, peer.labels_)
    assert ours.labels_.dtype == peer.labels_.dtype
    assert ours.n_iter_ == peer.n_iter_
    assert ours.inertia_ == pytest.approx(peer.inertia_, rel=1e-5)
    assert ours.cluster_centers_.dtype == peer.cluster_centers_.dtype == dtype
    np.testing.assert_allclose(ours.cluster_centers_, peer.cluster_centers_, rtol=1e-4, atol=1e-5)
    other = blobs(50, d, 9, seed=2, dtype=dtype)
    assert np.array_equal(ours.predict(other), peer.predict(other))
    np.testing.assert_allclose(ours.transform(other), peer.transform(other), rtol=1e-3, atol=1e-3)
    assert ours.transform(other).dtype == dtype
    assert ours.score(other) == pytest.approx(peer.score(other), rel=1e-4)
    some = np.arange(1.0, 51)
    assert ours.score(other, sample_weight=some) == pytest.approx(
        peer.score(other, sample_weight=some), rel=1e-4
    )


@pytest.mark.parametrize("tol", [1e-4, 1e-2, 0.5])
def test_tolerance_stops_in_the_round_of_scikit_learn(tol):
    points = np.random.default_rng(3).uniform(size=(3000, 3))
    options = {"n_clusters": 10, "init": points[:10], "n_init": 1, "tol": tol}
    ours, peer = KMeans(**options).fit(points), Peer(**options).fit(points)
    assert ours.n_iter_ == peer.n_iter_
    assert ours.inertia_ == pytest.approx(peer.inertia_, rel=1e-9)


def test_starts_are_as_good_as_scikit_learns():
    points = blobs(600, 2, 15)
    ours = [KMeans(15, random_state=seed).fit(points).inertia_ for seed in range(10)]
    peers = [Peer(15, random_state=seed).fit(points).inertia_ for seed in range(10)]
    assert np.mean(ours) < 1.15 * np.mean(peers)


def test_scikit_learns_parameters_have_its_defaults():
    peer = Peer().get_params()
    assert {name: KMeans().get_params()[name] for name in peer} == peer
    assert set(KMeans().get_params()) - set(peer) == {"n_threads"}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, bool, ">f8"])
def test_other_types_are_computed_in_float64(dtype):
    points = (np.abs(blobs()) > 8) if dtype is bool else np.abs(blobs()).astype(dtype)
    fit = KMeans(3, random_state=0).fit(points)
    same = KMeans(3, random_state=0).fit(points.astype(np.float64))
    assert fit.cluster_centers_.dtype == np.float64
    assert np.array_equal(fit.cluster_centers_, same.cluster_centers_)


def test_float32_goes_with_centers_in_float64_and_the_other_way():
    points = blobs(dtype=np.float32)
    narrow, wide = (KMeans(6, init=points[:6]).fit(points.astype(t)) for t in FLOATS)
    for fit in (narrow, wide):
        assert np.array_equal(fit.predict(points), fit.predict(points.astype(float)))
        assert fit.transform(points.astype(float)).dtype == np.float64
    assert narrow.transform(points).dtype == np.float32
    assert wide.transform(points).dtype == np.float64


# fit


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random", "var-part"])
@pytest.mark.parametrize("algorithm", ["lloyd", "naive"])
@pytest.mark.parametrize("max_iter", [2, 300])
def test_fitted_attributes_belong_together(init, algorithm, max_iter):
    points = blobs(500, 4)
    weights = np.arange(500.0)
    estimator = KMeans(9, init=init, max_iter=max_iter, random_state=0, algorithm=algorithm)
    assert estimator.fit(points, sample_weight=weights) is estimator
    assert np.array_equal(estimator.labels_, estimator.predict(points))
    true = naive.inertia(points, estimator.cluster_centers_, weights)
    assert estimator.inertia_ == pytest.approx(true)
    assert estimator.score(points, sample_weight=weights) == pytest.approx(-true)
    distances = np.sqrt(naive.squared_distances(points, estimator.cluster_centers_))
    np.testing.assert_allclose(estimator.transform(points), distances, rtol=1e-12)
    assert 1 <= estimator.n_iter_ <= max_iter
    assert estimator.n_features_in_ == 4


def test_short_forms_are_fit_and_then_the_method():
    points, weights = blobs(), np.arange(300.0)
    estimator = KMeans(6, random_state=0)
    fit = clone(estimator).fit(points, sample_weight=weights)
    assert np.array_equal(estimator.fit_predict(points, sample_weight=weights), fit.labels_)
    assert np.array_equal(
        clone(estimator).fit_transform(points, sample_weight=weights), fit.transform(points)
    )


def test_one_weight_for_all_changes_nothing_but_the_inertia():
    points = blobs()
    plain = KMeans(6, random_state=0).fit(points)
    heavy = KMeans(6, random_state=0).fit(points, sample_weight=4)
    assert np.array_equal(heavy.labels_, plain.labels_)
    assert heavy.inertia_ == pytest.approx(4 * plain.inertia_)


def test_sparse_input_counts_as_dense():
    points = np.where(blobs() > 0, blobs(), 0)
    dense = KMeans(5, random_state=0).fit(points)
    for container in (scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array):
        sparse = container(points)
        fit = KMeans(5, random_state=0).fit(sparse)
        assert np.array_equal(fit.cluster_centers_, dense.cluster_centers_)
        assert np.array_equal(fit.transform(sparse), dense.transform(points))


def test_x_is_left_as_it_is():
    points = blobs()
    points.flags.writeable = False
    KMeans(3, copy_x=False).fit(points).partial_fit(points)


def test_n_threads_never_changes_the_result():
    points = blobs(40_000, 3, 30, dtype=np.float32)
    alone, together = (
        KMeans(30, random_state=0, max_iter=5, n_threads=n).fit(points) for n in (1, 3)
    )
    assert np.array_equal(alone.cluster_centers_, together.cluster_centers_)
    assert np.array_equal(alone.transform(points), together.transform(points))


# Starts


def test_integers_seed_like_the_function():
    points = blobs(200, 2, 20)
    result = kmq.kmeans(points, 20, seed=5, n_init=3)
    fit = KMeans(20, random_state=5, n_init=3).fit(points)
    assert np.array_equal(fit.cluster_centers_, result.centroids)
    largest = KMeans(20, random_state=2**32 - 1, n_init=2).fit(points).inertia_
    assert largest == min(kmq.kmeans(points, 20, seed=s).inertia for s in (2**32 - 1, 0))


def test_random_state_goes_on_from_fit_to_fit():
    points = blobs(200, 2, 20)

    def two_fits(random_state):
        estimator = KMeans(20, random_state=random_state)
        return [estimator.fit(points).cluster_centers_ for _ in range(2)]

    first, second = two_fits(np.random.RandomState(0))
    assert not np.array_equal(first, second)
    assert np.array_equal(two_fits(np.random.RandomState(0)), [first, second])


def test_without_random_state_numpys_global_one_decides():
    points = blobs(200, 2, 20)
    state = np.random.get_state()  # noqa: NPY002  # the global one is what is tested
    try:
        np.random.seed(3)  # noqa: NPY002
        first, second = (KMeans(20).fit(points).cluster_centers_ for _ in range(2))
        np.random.seed(3)  # noqa: NPY002
        again = KMeans(20).fit(points).cluster_centers_
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert np.array_equal(again, first)
    assert not np.array_equal(second, first)


def test_auto_starts_are_those_of_scikit_learn():
    points, calls = blobs(), []

    def init(points, n_clusters, random_state):
        calls.append(random_state)
        return points[random_state.choice(len(points), n_clusters)]

    estimator = KMeans(4, init=init, random_state=0).fit(points)
    assert len(calls) == 10
    assert np.array_equal(
        estimator.labels_, KMeans(4, init=init, random_state=0).fit_predict(points)
    )
    ten = KMeans(4, init="random", n_init=10, random_state=0).fit(points)
    assert KMeans(4, init="random", random_state=0).fit(points).inertia_ == ten.inertia_


@pytest.mark.parametrize(
    ("made", "error", "sentence"),
    [
        (np.zeros((3, 3)), InputError, r"init has shape \(3, 3\); it must be \(4, 3\)"),
        ("random", TypeError, "init has dtype"),
    ],
)
def test_what_a_callable_returns_is_checked(made, error, sentence):
    with pytest.raises(error, match=sentence):
        KMeans(4, init=lambda points, n_clusters, random_state: made).fit(blobs())


def test_given_centers_start_once():
    points = blobs()
    with pytest.warns(RuntimeWarning, match="performing only one init in KMeans instead of n_init"):
        KMeans(2, init=points[:2], n_init=5).fit(points)
    assert KMeans(2, init=points[:2].tolist(), max_iter=1).fit(points).n_iter_ == 1


def test_fewer_distinct_points_than_clusters_warn():
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) .* n_clusters \(3\)"):
        KMeans(3).fit([[0, 0]] * 5 + [[1, 1]] * 5)


@pytest.mark.parametrize("tol", [0, 0.1])
def test_verbose_prints_starts_and_rounds_and_changes_nothing(tol, capsys):
    options = {"init": "random", "n_init": 2, "random_state": 0, "tol": tol}
    quiet = KMeans(3, **options).fit(blobs())
    assert capsys.readouterr() == ("", "")
    told = KMeans(3, verbose=1, **options).fit(blobs())
    printed = capsys.readouterr().out
    assert printed.count("Initialization complete") == 2
    assert printed.count("Iteration 0, inertia") == 2
    assert printed.count("Converged at iteration") == 2
    assert ("within tolerance" if tol else "strict convergence") in printed
    assert f"Inertia {told.inertia_} after {told.n_iter_} rounds." in printed
    assert told.n_iter_ == quiet.n_iter_
    np.testing.assert_array_equal(told.cluster_centers_, quiet.cluster_centers_)
    np.testing.assert_array_equal(told.labels_, quiet.labels_)


def test_one_cluster_needs_no_elkan():
    with pytest.warns(RuntimeWarning, match="doesn't make sense for a single cluster"):
        KMeans(1, algorithm="elkan").fit(blobs())


def test_any_number_of_rounds_and_starts_may_be_asked_for():
    fit = KMeans(3, init="var-part", n_init=10**12, max_iter=10**12).fit(blobs())
    assert fit.n_iter_ < 100


# partial_fit


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_move_centers_by_their_share(dtype, weighted):
    """Sculley's steps, one sample after another, with the labels each chunk began with."""
    points = blobs(120, 3, 4, dtype=dtype)
    weights = np.random.default_rng(0).integers(0, 4, 120) if weighted else np.ones(120)
    start = points[:4] + dtype(0.5)
    centers, counts = start.astype(float), np.zeros(4)
    estimator = KMeans(4, init=start)
    for i in range(0, 120, 30):
        chunk, chunk_weights = points[i : i + 30], weights[i : i + 30]
        assert estimator.partial_fit(chunk, sample_weight=chunk_weights) is estimator
        labels, _ = naive.nearest(chunk, centers)
        for point, label, weight in zip(chunk, labels, chunk_weights, strict=True):
            counts[label] += weight
            if weight:
                centers[label] += weight / counts[label] * (point - centers[label])
        np.testing.assert_allclose(estimator.cluster_centers_, centers, rtol=1e-5)
        assert estimator.cluster_centers_.dtype == dtype
        assert np.array_equal(estimator.labels_, estimator.predict(chunk))
        true = naive.inertia(chunk, estimator.cluster_centers_, chunk_weights)
        assert estimator.inertia_ == pytest.approx(true, rel=1e-4)
    assert estimator.n_steps_ == 4


def test_chunks_approach_the_fit_of_all():
    points = np.random.default_rng(0).permutation(blobs(6000, 3, 8))
    estimator = KMeans(8, random_state=0)
    for chunk in np.split(points, 30):
        estimator.partial_fit(chunk)
    whole = KMeans(8, random_state=0, n_init=5).fit(points)
    assert -estimator.score(points) < 1.01 * whole.inertia_


def test_chunks_go_on_from_a_fit():
    points = blobs(200, 2, 4)
    estimator = KMeans(4, random_state=0, tol=0).fit(points)
    before = estimator.cluster_centers_.copy()
    estimator.partial_fit(points)
    np.testing.assert_allclose(estimator.cluster_centers_, before)
    far = before[[0]] + 0.5
    estimator.partial_fit(far)
    count = np.count_nonzero(KMeans(4, random_state=0, tol=0).fit_predict(points) == 0)
    expected = before[0] + 0.5 / (2 * count + 1)
    np.testing.assert_allclose(estimator.cluster_centers_[0], expected)
    np.testing.assert_allclose(estimator.cluster_centers_[1:], before[1:])
    assert (estimator.n_steps_, estimator.fit(points).n_steps_) == (2, 0)


def test_later_chunks_may_be_smaller_than_the_number_of_clusters():
    estimator = KMeans(5, random_state=0).partial_fit(blobs(20))
    assert estimator.partial_fit(blobs(1)).labels_.shape == (1,)
    with pytest.raises(InputError, match="n_samples=4 should be >= n_clusters=5"):
        KMeans(5).partial_fit(blobs(4))


def test_long_streams_in_float32_lose_nothing():
    chunk = np.array([[0.0], [1.0]], np.float32)
    estimator = KMeans(1, init=[[0.0]]).fit(chunk, sample_weight=2.0**30)
    estimator.partial_fit(np.full((1, 1), 2.0**20, np.float32), sample_weight=2.0**12)
    assert estimator.cluster_centers_[0, 0] == pytest.approx(2.5, rel=1e-5)


# Centres set by hand


@pytest.mark.parametrize("kind", [list, np.float32, np.float64, np.int64])
def test_centers_set_by_hand_are_used_and_gone_on_from(kind):
    points, start = blobs(120, 2, 4), blobs(4, 2, 4)
    given = start.tolist() if kind is list else np.round(start).astype(kind)
    estimator, expected = KMeans(4), KMeans(4, init=np.array(given, float))
    estimator.cluster_centers_ = given
    assert np.array_equal(estimator.predict(points), naive.nearest(points, np.array(given))[0])
    assert estimator.transform(points).shape == (120, 4)
    for chunk in (points[:50], points[50:]):
        estimator.partial_fit(chunk)
        expected.partial_fit(chunk)
        np.testing.assert_allclose(estimator.cluster_centers_, expected.cluster_centers_, rtol=1e-5)
    assert (estimator.n_steps_, estimator.n_features_in_) == (2, 2)


@pytest.mark.parametrize("in_place", [False, True])
def test_centers_set_after_a_fit_are_a_new_start(in_place):
    points, start = blobs(120, 2, 4), blobs(4, 2, 4) + 1
    estimator = KMeans(4, random_state=0).fit(points).partial_fit(points)
    if in_place:
        estimator.cluster_centers_[:] = start
    else:
        estimator.cluster_centers_ = start
    estimator.partial_fit(points)
    expected = KMeans(4, init=start).partial_fit(points)
    assert np.array_equal(estimator.cluster_centers_, expected.cluster_centers_)
    assert estimator.n_steps_ == 1


@pytest.mark.parametrize(
    ("centers", "error", "sentence"),
    [
        ([1.0, 2.0], InputError, r"cluster_centers_ has shape \(2,\); it must be \(n, d\)"),
        ([[1.0, 2.0], [3.0]], InputError, "cluster_centers_ is not an array"),
        ([["a", "b"]], TypeError, "cluster_centers_ has a value that is not a number"),
        ([[1.0, np.nan]], InputError, "cluster_centers_ has a value that is not finite"),
        (None, TypeError, "cluster_centers_ has dtype object"),
        ([[1.0, 2.0, 3.0]], InputError, "X has 2 features, but KMeans is expecting 3"),
    ],
)
def test_centers_set_by_hand_are_checked(centers, error, sentence):
    estimator = KMeans(2)
    estimator.cluster_centers_ = centers
    points = blobs(9, 2)
    for method in (estimator.predict, estimator.transform, estimator.score, estimator.partial_fit):
        with pytest.raises(error, match=sentence):
            method(points)


# What is refused


def test_none_is_not_given():
    names = set(KMeans().get_params()) - {"random_state", "n_clusters"}
    points = blobs()
    given = KMeans(random_state=0, **dict.fromkeys(names)).fit(points)
    assert np.array_equal(given.labels_, KMeans(random_state=0).fit(points).labels_)
    assert KMeans(None).fit(points).cluster_centers_.shape == (8, 3)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"n_clusters": 0}, InputError, "n_clusters is 0; it must be from 1 to 65536"),
        ({"n_clusters": 2.0}, TypeError, "n_clusters is float"),
        ({"n_clusters": 301}, InputError, "n_samples=300 should be >= n_clusters=301"),
        ({"init": "best"}, InputError, "init is 'best'"),
        ({"init": np.zeros((2, 3))}, InputError, r"init has shape \(2, 3\); it must be \(4, 3\)"),
        ({"n_init": "all"}, InputError, "n_init is 'all'"),
        ({"n_init": 0}, InputError, "n_init is 0"),
        ({"max_iter": 0}, InputError, "max_iter is 0"),
        ({"tol": -1}, InputError, "tol is -1"),
        ({"verbose": -1}, InputError, "verbose is -1"),
        ({"random_state": -1}, InputError, "random_state is -1"),
        ({"random_state": "seed"}, TypeError, "random_state is str"),
        ({"algorithm": "full"}, InputError, "algorithm is 'full'"),
        ({"n_threads": 0}, InputError, "n_threads is 0"),
    ],
)
def test_parameters_are_checked_by_fit(options, error, sentence):
    estimator = KMeans(**{"n_clusters": 4, **options})
    with pytest.raises(error, match=sentence):
        estimator.fit(blobs())


@pytest.mark.parametrize(
    "options",
    [
        {"n_clusters": "4"},
        {"n_clusters": 2.5},
        {"max_iter": 2.0},
        {"tol": "0"},
        {"n_init": 1.5},
        {"verbose": "yes"},
        {"copy_x": 1},
        {"init": [["a"] * 3] * 8},
        {"init": [[{}] * 3] * 8},
        {"init": lambda points, k, random_state: "random"},
        {"random_state": "seed"},
        {"algorithm": 1},
    ],
)
def test_wrong_types_are_wrong_values_as_in_scikit_learn(options):
    for error in (TypeError, ValueError, InputError):
        with pytest.raises(error, match=next(iter(options))):
            KMeans(**options).fit(blobs())


@pytest.mark.parametrize("text", [[["a"], ["b"]], [[{}], [1]]])
def test_samples_of_wrong_types_are_wrong_values_as_in_scikit_learn(text):
    for error in (TypeError, ValueError):
        with pytest.raises(error, match="X has a value that is not a number"):
            KMeans(1).fit(text)
        with pytest.raises(error, match="weights has a value that is not a number"):
            KMeans(1).fit([[0.0], [1.0]], sample_weight=["a", "b"])
        estimator = KMeans(1)
        estimator.cluster_centers_ = text[:1]
        with pytest.raises(error, match="cluster_centers_ has a value that is not a number"):
            estimator.predict([[0.0]])


@pytest.mark.parametrize("kind", [object, str, np.longdouble])
def test_numbers_of_all_kinds_are_taken_wherever_numbers_are(kind):
    points, weights = blobs(), np.arange(300.0)
    expected = KMeans(3, init=points[:3]).fit(points, sample_weight=weights)
    init, weights = points[:3].astype(kind), weights.astype(kind)
    estimator = KMeans(3, init=init).fit(points.astype(kind), sample_weight=weights)
    assert np.array_equal(estimator.cluster_centers_, expected.cluster_centers_)
    estimator.cluster_centers_ = estimator.cluster_centers_.astype(kind)
    assert np.array_equal(estimator.predict(points.astype(kind)), expected.labels_)


def test_missing_values_of_pandas_are_told():
    pandas = pytest.importorskip("pandas")
    for missing in (pandas.NA, pandas.NaT):
        frame = pandas.DataFrame({"a": [1, 2, missing], "b": [1, 2, 3]}, dtype=object)
        with pytest.raises(InputError, match="missing value in row 2"):
            KMeans(1).fit(frame)
    nullable = pandas.DataFrame({"a": [1, 2, None], "b": [1, 2, 3]}, dtype="Int64")
    with pytest.raises(InputError, match="row 2"):
        KMeans(1).fit(nullable)


@pytest.mark.parametrize(
    ("points", "error", "sentence"),
    [
        (np.zeros(5), InputError, r"X has shape \(5,\); .* Reshape your data"),
        (np.zeros((2, 2, 2)), InputError, r"X has shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), InputError, r"0 sample\(s\)"),
        (np.zeros((2, 0)), InputError, r"0 feature\(s\)"),
        ([[0.0], [np.nan]], InputError, "X has a value that is not finite in row 1; NaN and inf"),
        ([[1j], [0]], InputError, "Complex data not supported"),
        ([["a"], ["b"]], TypeError, "X has a value that is not a number: could not convert string"),
        ([[1, 2], [3]], InputError, "X is not an array: its rows differ in length"),
        ([["1", "2"], ["3"]], InputError, "X is not an array: its rows differ in length"),
        (np.array([["a"], [2]], object), TypeError, "X has a value that is not a number"),
        ("text", InputError, r"X is str; it must be an array \(n_samples, n_features\)"),
        (None, InputError, "X is NoneType"),
        ({"a": [1]}, InputError, "X is dict"),
        ([[None], [{}]], TypeError, "must be a string or a real number"),
    ],
)
def test_points_are_checked(points, error, sentence):
    fitted = KMeans(1).fit([[0.0], [1.0]])
    for method in (KMeans(1).fit, KMeans(1).partial_fit, fitted.predict, fitted.score):
        with pytest.raises(error, match=sentence):
            method(points)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones(5), r"weights have shape \(5,\); they must be \(300,\)"),
        (np.zeros(300), "weights are all 0"),
        (-1, "negative"),
        ([1, [2, 3]], "weights is not an array: its rows differ in length"),
    ],
)
def test_weights_are_checked(weights, sentence):
    fitted = KMeans(2).fit(blobs())
    for method in (fitted.score, fitted.partial_fit, fitted.fit):
        with pytest.raises(InputError, match=sentence):
            method(blobs(), sample_weight=weights)


@pytest.mark.parametrize("method", ["predict", "transform", "score", "get_feature_names_out"])
def test_use_before_fit_is_refused(method):
    arguments = () if method == "get_feature_names_out" else (blobs(),)
    with pytest.raises(NotFittedError, match="This KMeans instance is not fitted yet"):
        getattr(KMeans(), method)(*arguments)


# Feature names


class Frame:
    """As much of a data frame as the estimator looks at."""

    def __init__(self, points, columns):
        self.points, self.columns = points, columns

    def __array__(self, dtype=None, copy=None):
        return np.array(self.points, dtype)


def test_feature_names_are_kept_and_compared():
    frame = Frame(blobs(), ["x", "y", "z"])
    estimator = KMeans(4).fit(frame)
    assert estimator.feature_names_in_.dtype == object
    assert estimator.feature_names_in_.tolist() == ["x", "y", "z"]
    assert np.array_equal(estimator.predict(frame), estimator.labels_)
    assert estimator.partial_fit(frame).feature_names_in_.tolist() == ["x", "y", "z"]
    swapped = Frame(blobs(), ["y", "x", "z"])
    for method in (estimator.predict, estimator.transform, estimator.partial_fit):
        with pytest.raises(InputError, match="feature names should match those that were passed"):
            method(swapped)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but KMeans was"):
        estimator.predict(blobs())
    estimator.fit(blobs())
    assert not hasattr(estimator, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but KMeans was fitted without"):
        estimator.predict(frame)


def test_only_strings_are_feature_names():
    assert not hasattr(KMeans(2).fit(Frame(blobs(), [0, 1, 2])), "feature_names_in_")
    with pytest.raises(TypeError, match="2 of 3 columns of X have"):
        KMeans(2).fit(Frame(blobs(), ["x", "y", 2]))


def test_names_of_the_distances():
    estimator = KMeans(3).fit(Frame(blobs(), ["x", "y", "z"]))
    names = ["kmeans0", "kmeans1", "kmeans2"]
    assert estimator.get_feature_names_out().tolist() == names
    assert estimator.get_feature_names_out(["x", "y", "z"]).tolist() == names
    with pytest.raises(InputError, match="feature names should match"):
        estimator.get_feature_names_out(["x", "z", "y"])
    with pytest.raises(InputError, match="X has 2 features"):
        KMeans(3).fit(blobs()).get_feature_names_out(["x", "y"])


def test_tables_of_pyarrow_have_names():
    pyarrow = pytest.importorskip("pyarrow")
    columns = dict(zip("abc", blobs().T, strict=True))
    for kind in (pyarrow.table, pyarrow.record_batch):
        estimator = KMeans(2, random_state=0).fit(kind(columns))
        assert estimator.feature_names_in_.tolist() == ["a", "b", "c"]
        with pytest.raises(InputError, match="feature names should match"):
            estimator.predict(kind({name: columns[name] for name in "bac"}))


def test_pandas_frames_go_in_and_come_out():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(blobs(), columns=["x", "y", "z"])
    estimator = KMeans(4, random_state=0).set_output(transform="pandas").fit(frame)
    assert estimator.feature_names_in_.tolist() == ["x", "y", "z"]
    assert estimator.transform(frame).columns.tolist() == [f"kmeans{i}" for i in range(4)]
    assert np.array_equal(estimator.labels_, KMeans(4, random_state=0).fit_predict(blobs()))


# Among scikit-learn's


def test_it_is_one_of_scikit_learns_estimators():
    assert isinstance(KMeans(), BaseEstimator)
    assert repr(KMeans(3, tol=0.5)) == "KMeans(n_clusters=3, tol=0.5)"


def test_subclasses_have_a_constructor_of_their_own():
    class Pairs(KMeans):
        def __init__(self, more=0):
            super().__init__(2, random_state=0)
            self.more = more

    estimator = clone(Pairs(3)).fit(blobs())
    assert estimator.get_params() == {"more": 3}
    assert np.array_equal(estimator.labels_, KMeans(2, random_state=0).fit_predict(blobs()))


def test_clone_takes_the_parameters_and_leaves_the_fit():
    estimator = KMeans(3, init=blobs()[:3], n_threads=2).fit(blobs())
    cloned = clone(estimator)
    assert cloned.get_params().keys() == estimator.get_params().keys()
    assert np.array_equal(cloned.init, estimator.init)
    assert cloned.n_threads == 2
    assert not hasattr(cloned, "cluster_centers_")


def pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))  # noqa: S301  # made here


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_go_on_alike(copied):
    estimator = KMeans(5, random_state=0).fit(blobs())
    twin = copied(estimator)
    assert np.array_equal(twin.predict(blobs(seed=1)), estimator.predict(blobs(seed=1)))
    twin.partial_fit(blobs(seed=1))
    estimator.partial_fit(blobs(seed=1))
    assert np.array_equal(twin.cluster_centers_, estimator.cluster_centers_)


def test_pipelines():
    points = blobs() * [1, 100, 1]
    pipeline = make_pipeline(StandardScaler(), KMeans(6, random_state=0)).fit(points)
    scaled = StandardScaler().fit_transform(points)
    assert np.array_equal(pipeline.predict(points), KMeans(6, random_state=0).fit_predict(scaled))
    assert pipeline.transform(points).shape == (300, 6)
    assert pipeline.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(6)]
    assert make_pipeline(KMeans(4), StandardScaler()).fit_transform(points).shape == (300, 4)


def test_grid_search_finds_that_more_clusters_score_better():
    search = GridSearchCV(
        KMeans(random_state=0), {"n_clusters": [2, 6], "algorithm": ["lloyd", "naive"]}, cv=3
    ).fit(blobs())
    assert search.best_params_["n_clusters"] == 6
    assert search.best_estimator_.cluster_centers_.shape == (6, 3)


# Without scikit-learn


def without_scikit_learn(script, stdin=b""):
    script = "import sys\nsys.modules['sklearn'] = None\n" + script
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], input=stdin, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def test_it_works_without_scikit_learn():
    without_scikit_learn("""
import warnings
import numpy as np
import kmq
from kmq import KMeans
points = np.random.default_rng(0).normal(size=(100, 3))
estimator = KMeans(4, random_state=0)
try:
    estimator.predict(points)
except (ValueError, AttributeError) as error:
    assert isinstance(error, ValueError) and isinstance(error, AttributeError)
    assert "not fitted" in str(error)
else:
    raise AssertionError
labels = estimator.fit_predict(points)
assert np.array_equal(labels, kmq.kmeans(points, 4, seed=0).labels)
assert estimator.fit_transform(points).shape == (100, 4)
assert np.array_equal(estimator.predict(points), labels)
assert estimator.score(points) < 0
assert estimator.get_feature_names_out()[3] == "kmeans3"
assert KMeans(**estimator.get_params()).get_params() == estimator.get_params()
assert repr(estimator.set_params(tol=0.5)) == "KMeans(n_clusters=4, tol=0.5, random_state=0)"
assert estimator.partial_fit(points).n_steps_ == 1
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    KMeans(2).fit(np.zeros((3, 1)))
assert [warning.category for warning in caught] == [UserWarning]
assert not [name for name in sys.modules if name.startswith("sklearn.")]
""")


def test_pickles_go_to_and_fro_without_scikit_learn():
    estimator = KMeans(4, random_state=0, tol=0.01).fit(blobs())
    returned = without_scikit_learn(
        "import pickle\n"
        "estimator = pickle.loads(sys.stdin.buffer.read())\n"
        "estimator.n_threads = 2\n"
        "sys.stdout.buffer.write(pickle.dumps(estimator))",
        pickle.dumps(estimator),
    )
    back = pickle.loads(returned)  # noqa: S301  # made here
    assert back.get_params() == {**estimator.get_params(), "n_threads": 2}
    assert np.array_equal(back.predict(blobs()), estimator.labels_)


class Plain(PlainEstimator):
    def __init__(self, size=3, *, name=None):
        self.size = size
        self.name = name


def test_plain_parameters():
    plain = Plain(size=5)
    assert plain.get_params() == {"size": 5, "name": None}
    assert repr(plain) == "Plain(size=5)"
    assert plain.set_params(name="a", size=3) is plain
    assert repr(plain) == "Plain(name='a')"
    sentence = "Invalid parameter 'colour' for estimator Plain; it must be one of size, name"
    with pytest.raises(InputError, match=sentence):
        plain.set_params(size=4, colour=1)
    assert plain.size == 3


@pytest.mark.parametrize("name", ["labels_", "n_features_in_", "n_steps_", "n_iter_", "inertia_"])
@pytest.mark.parametrize("value", ["none", None, "x", -1, np.zeros(3)])
def test_what_is_told_is_not_what_is_computed_with(name, value):
    points, more = blobs()[::2], blobs()[1::2]
    expected = KMeans(3, random_state=0).fit(points).partial_fit(more)
    estimator = KMeans(3, random_state=0).fit(points)
    setattr(estimator, name, value)
    if isinstance(value, str) and value == "none":
        delattr(estimator, name)
    estimator.partial_fit(more)
    assert np.array_equal(estimator.cluster_centers_, expected.cluster_centers_)
    assert estimator.n_steps_ == expected.n_steps_ == 1
    assert np.array_equal(estimator.predict(points), expected.predict(points))


@pytest.mark.parametrize("value", [None, "x", ["x"], -1, np.zeros(3)])
def test_names_set_by_hand_are_compared(value):
    estimator = KMeans(2).fit(blobs())
    estimator.feature_names_in_ = value
    if value is None:
        assert len(estimator.get_feature_names_out(["x", "y", "z"])) == 2
    else:
        with pytest.raises(InputError, match="feature names should match"):
            estimator.get_feature_names_out(["x", "y", "z"])
