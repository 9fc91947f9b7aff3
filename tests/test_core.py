import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kmq
import naive
from kmq.errors import InputError

DTYPES = [bool, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64]


def cloud(n, d, *, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).lognormal(3, 1, (n, d)).astype(dtype)


def computed_in(dtype):
    narrow = np.dtype(dtype).itemsize < 4 or dtype is np.float32
    return np.float32 if narrow else np.float64


def in_other_layouts(points):
    """The same values read-only, strided, in Fortran order, in the other byte order, as a list."""
    read_only = points.copy()
    read_only.flags.writeable = False
    return {
        "read-only": read_only,
        "strided": np.repeat(points, 2, axis=0)[::2],
        "backwards": points[::-1].copy()[::-1],
        "Fortran": np.asfortranarray(points),
        "big-endian": points.astype(points.dtype.newbyteorder(">")),
        "list": points.tolist(),
        "not aligned": not_aligned(points),
    }


def not_aligned(values):
    """The same values in a buffer of which they are not at a multiple of their size."""
    return np.frombuffer(b"." + values.tobytes(), values.dtype, offset=1).reshape(values.shape)


LAYOUTS = list(in_other_layouts(np.zeros((1, 1))))


# What is not aligned, as parts of what another process sent


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_needs_to_be_aligned(dtype):
    points, weights = cloud(80, 3, dtype=dtype), np.arange(80.0)
    labels = np.arange(80, dtype=np.int32) % 5
    assert not not_aligned(points).flags.aligned
    fit = kmq.kmeans(not_aligned(points), 4, not_aligned(weights))
    assert fit == kmq.kmeans(points, 4, weights)
    sums = kmq.accumulate(not_aligned(points), not_aligned(labels), 5, not_aligned(weights))
    for found, expected in zip(sums, kmq.accumulate(points, labels, 5, weights), strict=True):
        np.testing.assert_array_equal(found, expected)
    model = kmq.KMeans(3, random_state=0)
    model.fit(not_aligned(points), sample_weight=not_aligned(weights))
    np.testing.assert_array_equal(model.predict(not_aligned(points)), model.labels_)
    one = points[:, :1].copy()
    assert kmq.kmeans(not_aligned(one), 3) == kmq.kmeans(one, 3)


def test_pictures_need_not_be_aligned():
    picture = cloud(600, 1).reshape(20, 30).astype(np.uint16)
    weights = np.ones((20, 30))
    expected = kmq.quantize(picture, 4, weights=weights)
    assert kmq.quantize(not_aligned(picture), 4, weights=not_aligned(weights)) == expected
    palette = np.array([[1], [300]], np.uint16)
    given = kmq.quantize(picture, palette=not_aligned(palette))
    assert given == kmq.quantize(picture, palette=palette)


# assign


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 40) | st.integers(1, 4),
    k=st.integers(1, 40),
    largest=st.sampled_from([1, 4, 100]),
    seed=st.integers(0, 1000),
)
def test_assign_is_naive_assignment(dtype, n, d, k, largest, seed):
    random = np.random.default_rng(seed)
    points = random.integers(0, largest + 1, (n, d)).astype(dtype)
    centroids = random.integers(0, 2 * largest + 1, (k, d)) / 2  # half-way, so that many are equal
    distances = np.empty(n, computed_in(dtype))
    labels = kmq.assign(points, centroids, out_distances=distances)
    true_labels, true_distances = naive.nearest(points, centroids)
    assert labels.dtype == np.int32
    assert np.array_equal(labels, true_labels)
    assert np.array_equal(distances, true_distances)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_assign_takes_any_layout(layout):
    points, centroids = cloud(100, 3), cloud(7, 3, seed=1)
    labels = kmq.assign(points, centroids)
    assert np.array_equal(labels, naive.nearest(points, centroids)[0])
    assert np.array_equal(kmq.assign(in_other_layouts(points)[layout], centroids), labels)
    assert np.array_equal(kmq.assign(points, in_other_layouts(centroids)[layout]), labels)


def test_assign_fills_the_buffers_it_is_given():
    points, centroids = cloud(50, 2), cloud(5, 2, seed=1)
    out, distances = np.empty(50, np.int32), np.empty(50)
    assert kmq.assign(points, centroids, out, out_distances=distances) is out
    true_labels, true_distances = naive.nearest(points, centroids)
    assert np.array_equal(out, true_labels)
    np.testing.assert_allclose(distances, true_distances, rtol=1e-12)


@pytest.mark.parametrize(
    "buffer",
    [
        np.empty(4, np.int32),
        np.empty((5, 1), np.int32),
        np.empty(5, np.int64),
        np.empty(5, np.uint32),
        np.empty(5, ">i4"),
        np.empty(10, np.int32)[::2],
        np.broadcast_to(np.int32(0), 5),
        np.frombuffer(bytes(20), np.int32),
    ],
)
def test_assign_refuses_other_buffers(buffer):
    sentence = f"out has shape {buffer.shape} and dtype {buffer.dtype}; it must be a writable, "
    with pytest.raises(InputError, match=re.escape(sentence)):
        kmq.assign(np.zeros((5, 2)), np.zeros((1, 2)), buffer)


@pytest.mark.parametrize(("dtype", "wanted"), [(np.uint8, "float32"), (np.float64, "float64")])
def test_assign_refuses_distances_of_another_type(dtype, wanted):
    other = np.empty(5, np.float16)
    with pytest.raises(InputError, match=rf"out_distances .* \(5,\) array of {wanted}"):
        kmq.assign(np.zeros((5, 2), dtype), np.zeros((1, 2)), out_distances=other)


def test_assign_refuses_a_list_to_write_to():
    with pytest.raises(TypeError, match="out is list; it must be a NumPy array"):
        kmq.assign(np.zeros((5, 2)), np.zeros((1, 2)), [0] * 5)


def test_assign_refuses_other_channels():
    with pytest.raises(InputError, match="centroids have 4 channels and points 3"):
        kmq.assign(np.zeros((5, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_assign_refuses_centroids_that_float32_cannot_tell_apart(value):
    with pytest.raises(InputError, match="centroids has a value"):
        kmq.assign(np.zeros((5, 1), np.float32), np.array([[1.0], [value]]))


@pytest.mark.parametrize("n_threads", [0, 257, -1])
def test_threads_are_checked(n_threads):
    sentence = f"n_threads is {n_threads}; it must be "
    with pytest.raises(InputError, match=sentence):
        kmq.assign(np.zeros((5, 1)), np.zeros((1, 1)), n_threads=n_threads)
    with pytest.raises(InputError, match=sentence):
        kmq.accumulate(np.zeros((5, 1)), np.zeros(5, int), 1, n_threads=n_threads)
    with pytest.raises(InputError, match=sentence):
        kmq.kmeans(np.zeros((5, 1)), 1, n_threads=n_threads)


# accumulate


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label_dtype", [np.uint8, np.int32, np.int64])
def test_accumulate_adds_exactly(dtype, label_dtype):
    random = np.random.default_rng(0)
    points = random.integers(0, 100, (200, 3)).astype(dtype)
    labels = random.integers(0, 6, 200).astype(label_dtype)
    labels[labels == 4] = 5
    for weights in (None, random.integers(0, 50, 200)):
        sums, counts = kmq.accumulate(points, labels, 6, weights)
        ones = np.ones(200) if weights is None else weights
        true_sums, true_counts = naive.accumulate(points, labels, 6, ones)
        assert sums.dtype == counts.dtype == np.float64
        assert np.array_equal(sums, true_sums)
        assert np.array_equal(counts, true_counts)
        assert counts[4] == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_accumulate_takes_any_layout(layout):
    points, labels = cloud(60, 3), np.arange(60) % 4
    sums, counts = kmq.accumulate(points, labels, 4)
    other_sums, other_counts = kmq.accumulate(in_other_layouts(points)[layout], list(labels), 4)
    assert np.array_equal(other_sums, sums)
    assert np.array_equal(other_counts, counts)


def test_accumulate_fills_the_buffers_it_is_given():
    points, labels = cloud(60, 3), np.arange(60) % 4
    out = np.full((4, 3), np.nan), np.full(4, np.nan)
    sums, counts = kmq.accumulate(points, labels, 4, out=out)
    assert sums is out[0]
    assert counts is out[1]
    true_sums, true_counts = naive.accumulate(points, labels, 4, np.ones(60))
    np.testing.assert_allclose(sums, true_sums, rtol=1e-12)
    assert np.array_equal(counts, true_counts)


@pytest.mark.parametrize(
    ("out", "error", "sentence"),
    [
        (np.zeros((4, 4)), TypeError, "out is not a pair; it must be a tuple"),
        ((np.zeros((4, 3)),), TypeError, "out is not a pair; it must be a tuple"),
        (([], np.zeros(4)), TypeError, "sums is list; it must be a NumPy array"),
        ((np.zeros((3, 4)), np.zeros(4)), InputError, r"sums has shape \(3, 4\) .* \(4, 3\) array"),
        ((np.zeros((4, 3)), np.zeros(4, int)), InputError, "counts has .* array of float64"),
    ],
)
def test_accumulate_refuses_other_buffers(out, error, sentence):
    with pytest.raises(error, match=sentence):
        kmq.accumulate(np.zeros((9, 3)), np.zeros(9, int), 4, out=out)


@pytest.mark.parametrize("label", [-1, 3, 2**32])
def test_accumulate_refuses_labels_out_of_range(label):
    labels = [0, label, 1]
    sentence = f"labels go from {min(labels)} to {max(labels)}; with k = 3 they must be 0 to 2"
    with pytest.raises(InputError, match=sentence):
        kmq.accumulate(np.zeros((3, 2)), labels, 3)


def test_accumulate_refuses_other_labels():
    points = np.zeros((3, 2))
    with pytest.raises(TypeError, match="labels have dtype float64; they must be integers"):
        kmq.accumulate(points, [0.0, 1.0, 0.0], 3)
    with pytest.raises(InputError, match="labels is not an array: its rows differ in length"):
        kmq.accumulate(np.zeros((3, 1)), [0, [1], 2], 3)
    with pytest.raises(InputError, match=r"labels have shape \(2,\); they must be \(3,\)"):
        kmq.accumulate(points, [0, 1], 3)


# kmeans


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random", "var-part"])
def test_kmeans_ends_in_a_fixed_point(dtype, init):
    points = cloud(300, 3) % 200
    points = points > 20 if dtype is bool else points.astype(dtype)
    k = 6 if dtype is bool else 12
    fit = kmq.kmeans(points, k, init=init, tol=0)
    assert fit.converged
    assert np.array_equal(fit.labels, kmq.assign(points, fit.centroids))
    assert fit.labels.dtype == np.int32
    assert fit.centroids.dtype == computed_in(dtype)
    sums, counts = kmq.accumulate(points, fit.labels, k)
    np.testing.assert_allclose(fit.centroids, sums / counts[:, None], rtol=1e-6)
    true = naive.inertia(points, fit.centroids, np.ones(300))
    assert fit.inertia == pytest.approx(true, rel=1e-5)


def test_kmeans_without_convergence_says_so():
    points = cloud(1000, 3)
    fit = kmq.kmeans(points, 30, max_iter=2, tol=0)
    assert not fit.converged
    assert fit.n_iter == 2
    assert np.array_equal(fit.labels, kmq.assign(points, fit.centroids))


def test_weights_count_like_repeated_points():
    points = np.random.default_rng(0).integers(0, 256, (150, 3))
    repeats = np.random.default_rng(1).integers(1, 6, 150)
    start = points[:8]
    weighted = kmq.kmeans(points, 8, repeats, init=start, tol=0)
    repeated = kmq.kmeans(np.repeat(points, repeats, axis=0), 8, init=start, tol=0)
    assert np.array_equal(weighted.centroids, repeated.centroids)
    assert np.array_equal(np.repeat(weighted.labels, repeats), repeated.labels)
    assert weighted.inertia == pytest.approx(repeated.inertia, rel=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random", "var-part"])
def test_points_without_weight_move_nothing(init):
    points = np.random.default_rng(0).integers(0, 256, (100, 3))
    ghosts = np.random.default_rng(1).integers(-1000, 1000, (50, 3))
    weights = np.concatenate([np.ones(100), np.zeros(50)])
    fit = kmq.kmeans(np.concatenate([points, ghosts]), 8, weights, init=init, tol=0)
    sums, counts = kmq.accumulate(points, fit.labels[:100], 8)
    assert counts.min() > 0
    np.testing.assert_allclose(fit.centroids, sums / counts[:, None], rtol=1e-12)
    assert fit.inertia == pytest.approx(naive.inertia(points, fit.centroids, np.ones(100)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kmeans_takes_any_layout(layout):
    points = cloud(200, 3)
    fit = kmq.kmeans(points, 5)
    other = kmq.kmeans(in_other_layouts(points)[layout], 5)
    assert np.array_equal(other.centroids, fit.centroids)
    assert np.array_equal(other.labels, fit.labels)


def test_inputs_are_left_as_they_are():
    points, start, weights = cloud(100, 3), cloud(5, 3, seed=1), np.arange(1.0, 101)
    copies = points.copy(), start.copy(), weights.copy()
    kmq.kmeans(points, 5, weights, init=start)
    for array, copy in zip((points, start, weights), copies, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_seed_decides_the_outcome(init):
    points = cloud(300, 3)
    first = kmq.kmeans(points, 10, init=init, seed=3)
    assert np.array_equal(first.centroids, kmq.kmeans(points, 10, init=init, seed=3).centroids)
    assert not np.array_equal(first.centroids, kmq.kmeans(points, 10, init=init, seed=4).centroids)


def test_best_of_n_init_is_kept():
    points = cloud(200, 2)
    single = [kmq.kmeans(points, 9, init="random", seed=seed).inertia for seed in range(7, 12)]
    assert kmq.kmeans(points, 9, init="random", seed=7, n_init=5).inertia == min(single)


@pytest.mark.parametrize("seed", [np.uint8(255), np.int64(5), 2**32 - 2])
def test_seeds_go_up_from_any_integer(seed):
    points = cloud(50, 2)
    best = min(kmq.kmeans(points, 4, seed=int(seed) + i).inertia for i in range(2))
    assert kmq.kmeans(points, 4, seed=seed, n_init=2).inertia == best


def test_as_many_centroids_as_points():
    points = cloud(20, 3)
    for init in ("k-means++", "random", "var-part"):
        fit = kmq.kmeans(points, 20, init=init)
        assert fit.inertia == pytest.approx(0, abs=1e-20)
        assert sorted(fit.labels) == list(range(20))


def test_one_point_one_centroid():
    fit = kmq.kmeans([[3, 4]], 1)
    assert fit.centroids.tolist() == [[3, 4]]
    assert (fit.labels.tolist(), fit.inertia, fit.converged) == ([0], 0, True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 5, 20])
def test_naive_algorithm_ends_where_the_fast_one_does(dtype, d):
    points = (cloud(400, d) % 256).astype(dtype)
    weights = np.arange(400) % 5
    fast, plain = (
        kmq.kmeans(points, 15, weights, tol=0, max_iter=9, algorithm=algorithm)
        for algorithm in ("lloyd", "naive")
    )
    assert np.array_equal(fast.labels, plain.labels)
    assert fast.n_iter == plain.n_iter
    assert fast.inertia == pytest.approx(plain.inertia, rel=1e-6)
    np.testing.assert_allclose(fast.centroids, plain.centroids, rtol=1e-6)
    assert plain.labels.dtype == np.int32


def test_progress_may_stop_the_work():
    points = cloud(200, 2)

    def stop(stage, fraction):
        raise KeyboardInterrupt(stage, fraction)

    with pytest.raises(KeyboardInterrupt):
        kmq.kmeans(points, 4, progress=stop)
    assert kmq.kmeans(points, 4).converged


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"k": 0}, InputError, "k is 0; it must be from 1 to 9"),
        ({"k": 10}, InputError, "k is 10; it must be from 1 to 9"),
        ({"k": 2.0}, TypeError, "k is float; it must be a whole number"),
        ({"points": np.zeros(9)}, InputError, r"points has shape \(9,\)"),
        ({"points": np.zeros((0, 3))}, InputError, r"points has shape \(0, 3\)"),
        ({"points": [["a"]]}, TypeError, "points has dtype"),
        ({"points": [[np.nan]]}, InputError, "points has a value that is not finite in row 0"),
        ({"weights": np.ones(8)}, InputError, r"weights have shape \(8,\); they must be \(9,\)"),
        ({"weights": np.zeros(9)}, InputError, "weights are all 0"),
        ({"init": "best"}, InputError, "init is 'best'"),
        ({"init": np.zeros((3, 3))}, InputError, r"init has shape \(3, 3\); it must be \(2, 3\)"),
        ({"init": np.full((2, 3), np.inf)}, InputError, "init has a value that is not finite"),
        ({"n_init": 0}, InputError, "n_init is 0"),
        ({"max_iter": 0}, InputError, "max_iter is 0"),
        ({"max_iter": 2.0}, TypeError, "max_iter is float"),
        ({"progress": 3}, TypeError, "progress is int; it must be a function"),
        ({"tol": -1}, InputError, "tol is -1"),
        ({"algorithm": "elkan"}, InputError, "algorithm is 'elkan'; it must be"),
        ({"seed": -1}, InputError, "seed is -1; it must be from 0 to 4294967295"),
        ({"seed": 2**32}, InputError, "seed is 4294967296"),
        ({"seed": 2**32 - 1, "n_init": 2}, InputError, "seed is 4294967295; it must be from 0 to"),
        ({"seed": "0"}, TypeError, "seed is str"),
        ({"n_init": np.True_}, TypeError, "n_init is a bool"),
    ],
)
def test_what_kmeans_cannot_use_is_refused(options, error, sentence):
    arguments = {"points": np.arange(27).reshape(9, 3), "k": 2, **options}
    with pytest.raises(error, match=sentence):
        kmq.kmeans(**arguments)


def test_start_beyond_the_type_of_the_points_is_refused():
    with pytest.raises(InputError, match=r"init has a value .*; float32 goes up to 1e\+18"):
        kmq.kmeans(np.zeros((3, 1), np.float32), 1, init=[[1e19]])
