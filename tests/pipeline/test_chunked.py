"""k-means on rows in chunks: the same as in memory, whoever works and however they are cut."""

import re
import tracemalloc
from functools import partial

import numpy as np
import pytest

from kmq import KMeans
from kmq.errors import InputError, InputTypeError
from kmq.pipeline import chunked

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

pytestmark = pytest.mark.filterwarnings("ignore:each round computes X anew")


@pytest.fixture(autouse=True)
def one_thread_at_a_time():
    with dask.config.set(scheduler="synchronous"):
        yield


def whole_numbers(n=3000, d=3, *, dtype=np.float32, seed=0):
    """Rows whose sums are exact, so that the order of adding does not matter."""
    random = np.random.default_rng(seed)
    middles = random.integers(-100, 100, (7, d))
    return (middles[np.arange(n) % 7] + random.integers(-9, 10, (n, d))).astype(dtype)


def fitted(points, *, weights=None, k=7, start=None, **options):
    start = whole_numbers()[:: 3000 // k][:k] if start is None else start
    return KMeans(k, init=start, n_init=1, tol=0, **options).fit(points, sample_weight=weights)


def assert_same(chunks, memory):
    np.testing.assert_array_equal(chunks.cluster_centers_, memory.cluster_centers_)
    assert chunks.cluster_centers_.dtype == memory.cluster_centers_.dtype
    np.testing.assert_array_equal(np.asarray(chunks.labels_), memory.labels_)
    assert chunks.inertia_ == pytest.approx(memory.inertia_, rel=1e-12)
    assert chunks.n_iter_ == memory.n_iter_


CUTS = {
    "one": (3000,),
    "many": (250,) * 12,
    "uneven": (1, 999, 2, 1998),
    "empty": (1000, 0, 2000),
}


@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_fit_is_that_of_an_array_in_memory(sizes, dtype):
    points = whole_numbers(dtype=dtype)
    chunks = da.from_array(points, chunks=(sizes, 3))
    # The estimator computes integers in float64, as it does in memory.
    assert_same(fitted(chunks), fitted(points))


@pytest.mark.parametrize("as_chunks", [False, True])
def test_weights_count_as_in_memory(as_chunks):
    points = whole_numbers()
    weights = np.random.default_rng(1).integers(0, 4, 3000).astype(float)
    weights[:1000] = 0  # a chunk without any weight
    sent = da.from_array(weights, chunks=700) if as_chunks else weights
    chunks = fitted(da.from_array(points, chunks=(1000, 3)), weights=sent)
    assert_same(chunks, fitted(points, weights=weights))


@pytest.mark.parametrize("kind", [object, str, np.longdouble])
def test_numbers_of_all_kinds_are_taken_as_in_memory(kind):
    points, weights = whole_numbers().astype(kind), np.arange(3000).astype(kind)
    chunks = da.from_array(points, chunks=(700, 3))
    expected = fitted(points, weights=weights)
    assert_same(fitted(chunks, weights=weights), expected)
    model = fitted(chunks, weights=da.from_array(weights, chunks=500))
    assert_same(model, expected)
    np.testing.assert_array_equal(model.transform(chunks), expected.transform(points))


def test_one_weight_for_all():
    points = whole_numbers()
    chunks = fitted(da.from_array(points, chunks=(1000, 3)), weights=2.0)
    assert chunks.inertia_ == pytest.approx(fitted(points).inertia_ * 2)


def test_empty_clusters_are_refilled_as_in_memory():
    points = whole_numbers()
    start = np.vstack([points[:4], np.full((3, 3), 1e6)])
    with np.errstate(all="ignore"):
        chunks = fitted(da.from_array(points, chunks=(300, 3)), start=start)
        assert_same(chunks, fitted(points, start=start))


def test_chunks_across_features_are_joined():
    points = whole_numbers(d=4)
    start = points[:7]
    assert_same(
        fitted(da.from_array(points, chunks=(800, 3)), start=start), fitted(points, start=start)
    )


def test_results_are_arrays_of_the_same_chunks():
    points = whole_numbers()
    chunks = da.from_array(points, chunks=((1000, 500, 1500), 3))
    model = fitted(chunks)
    assert model.labels_.chunks == (chunks.chunks[0],)
    assert model.labels_.dtype == np.int32
    assert model.predict(chunks).chunks == (chunks.chunks[0],)
    distances = model.transform(chunks)
    assert distances.chunks == (chunks.chunks[0], (7,))
    assert distances.dtype == np.float32
    np.testing.assert_array_equal(distances.compute(), model.transform(points))
    np.testing.assert_array_equal(model.predict(chunks).compute(), model.predict(points))
    assert model.score(chunks) == pytest.approx(model.score(points), rel=1e-12)
    np.testing.assert_array_equal(model.fit_predict(chunks).compute(), model.labels_.compute())
    assert model.fit_transform(chunks).shape == (3000, 7)


def test_chunks_are_not_copied():
    points = whole_numbers(20_000, 64)
    chunks = da.from_array(points, chunks=-1)
    for use in (partial(fitted, start=points[:7]), fitted(points, start=points[:7]).predict):
        np.asarray(getattr(use(chunks), "labels_", None))  # what is made once, is made
        tracemalloc.start()
        result = use(chunks)
        np.asarray(getattr(result, "labels_", result))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < points.nbytes


def test_chunks_of_unknown_sizes():
    points = whole_numbers()
    chunks = da.from_array(points, chunks=(500, 3))
    chunks = chunks[chunks[:, 0] > 0]
    assert np.isnan(chunks.shape[0])
    start = points[:7]
    model = fitted(chunks, start=start)
    assert_same(model, fitted(points[points[:, 0] > 0], start=start))
    with pytest.raises(InputError, match="unknown sizes"):
        fitted(chunks, weights=np.ones(3000), start=start)


class Column:
    """What a column of one of Dask's data frames can do."""

    def __init__(self, values):
        self.values = values

    def to_dask_array(self):
        return self.values


def test_weights_may_be_a_column_of_a_data_frame_in_chunks():
    points, weights = whole_numbers(), np.arange(3000.0)
    chunks = da.from_array(points, chunks=(700, 3))
    column = Column(da.from_array(weights, chunks=700))
    assert_same(fitted(chunks, weights=column), fitted(points, weights=weights))


def test_data_frames_in_chunks_keep_their_names():
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    points = whole_numbers()
    frame = frames.from_pandas(pandas.DataFrame(points, columns=list("abc")), npartitions=3)
    model = fitted(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert_same(model, fitted(points))


def test_sparse_chunks_are_made_dense():
    sparse = pytest.importorskip("scipy.sparse")
    points = whole_numbers()
    points[points < 20] = 0
    chunks = da.from_array(points, chunks=(1000, 3)).map_blocks(sparse.csr_matrix)
    start = points[:7] + np.arange(7, dtype=np.float32)[:, None]
    assert_same(fitted(chunks, start=start), fitted(points, start=start))


# Starts


def blobs(n=4000, n_blobs=9, seed=0):
    random = np.random.default_rng(seed)
    middles = random.uniform(-50, 50, (n_blobs, 2))
    return middles[np.arange(n) % n_blobs] + random.normal(size=(n, 2))


def test_start_finds_separate_blobs():
    points = blobs()
    chunks = da.from_array(points, chunks=(500, 2))
    for seed in range(10):
        model = KMeans(9, random_state=seed).fit(chunks)
        assert model.inertia_ < 1.1 * 2 * len(points)  # two dimensions of variance 1


def test_start_depends_on_seed_and_chunks_alone():
    points = blobs()
    chunks = da.from_array(points, chunks=(500, 2))
    first = KMeans(30, random_state=3).fit(chunks)
    with dask.config.set(scheduler="threads"):
        again = KMeans(30, random_state=3, n_threads=7).fit(chunks)
    np.testing.assert_array_equal(first.cluster_centers_, again.cluster_centers_)
    other = KMeans(30, random_state=4).fit(chunks)
    assert not np.array_equal(first.cluster_centers_, other.cluster_centers_)


def test_both_names_of_the_start_mean_the_same():
    chunks = da.from_array(blobs(), chunks=(900, 2))
    one, other = (
        KMeans(9, init=init, random_state=0).fit(chunks) for init in ("k-means++", "k-means||")
    )
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)


def test_draws_are_in_proportion():
    rows = np.arange(4, dtype=np.float64)[:, None]
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    drawn = [
        chunked.chunked.drawn((rows, weights), rows[:0], 1, (0, 0, seed)).points[0, 0]
        for seed in range(2000)
    ]
    # A priority of w / u is the largest of all a little more often the larger w is.
    shares = np.bincount(np.array(drawn, int), minlength=4) / 2000
    assert (np.diff(shares) > 0).all()
    assert shares[0] < 0.1


@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||"])
def test_fewer_distinct_points_than_clusters(init):
    points = np.repeat(whole_numbers(5), 40, axis=0)
    chunks = da.from_array(points, chunks=(30, 3))
    with pytest.warns(UserWarning, match="distinct clusters"):
        model = KMeans(8, init=init, n_init=1, random_state=0).fit(chunks)
    assert model.inertia_ == 0


def test_as_many_clusters_as_points():
    points = whole_numbers(20, seed=5)
    points = np.unique(points, axis=0)
    model = KMeans(len(points), random_state=0).fit(da.from_array(points, chunks=(3, 3)))
    assert model.inertia_ == 0


def test_several_starts_keep_the_best():
    chunks = da.from_array(blobs(), chunks=(900, 2))
    one = [KMeans(9, init="random", n_init=1, random_state=s).fit(chunks) for s in range(4)]
    best = KMeans(9, init="random", n_init=4, random_state=0).fit(chunks)
    assert best.inertia_ == min(model.inertia_ for model in one)


def test_verbose_prints_rounds_as_in_memory(capsys):
    points = whole_numbers()
    fitted(points, verbose=1)
    lines = capsys.readouterr().out
    assert "Iteration 1" in lines
    model = fitted(da.from_array(points, chunks=(700, 3)), verbose=1)
    number = r"\d+\.\d+"  # inertias may differ in the last digit
    assert re.sub(number, "", capsys.readouterr().out) == re.sub(number, "", lines)
    assert_same(model, fitted(points))


def test_a_callable_gets_the_chunks():
    chunks = da.from_array(blobs(), chunks=(900, 2))

    def first_rows(points, k, random_state):
        assert points is chunks or points.chunks == chunks.chunks
        return points[:k].compute()

    assert KMeans(9, init=first_rows, n_init=1).fit(chunks).n_iter_ >= 1


# Files


def test_rows_of_a_file_give_arrays_in_memory(tmp_path, monkeypatch):
    points = whole_numbers()
    points.tofile(tmp_path / "rows.f4")
    mapped = np.memmap(tmp_path / "rows.f4", np.float32, "r", shape=points.shape)
    in_memory = fitted(mapped)
    monkeypatch.setattr(chunked, "_IN_MEMORY", 0)
    monkeypatch.setattr(chunked, "_FILE_CHUNK", 5000)
    in_chunks = fitted(mapped)
    assert type(in_chunks.labels_) is np.ndarray
    assert_same(in_chunks, in_memory)
    np.testing.assert_array_equal(in_chunks.predict(mapped), in_memory.labels_)
    np.testing.assert_array_equal(in_chunks.transform(mapped), in_memory.transform(points))


def test_rows_of_zarr_arrays(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    points = whole_numbers()
    stored = zarr.create_array(tmp_path / "rows.zarr", data=points, chunks=(400, 2))
    monkeypatch.setattr(chunked, "_IN_MEMORY", 0)
    monkeypatch.setattr(chunked, "_FILE_CHUNK", 6000)
    assert_same(fitted(stored), fitted(points))


def test_small_files_and_arrays_are_read_as_a_whole(tmp_path):
    points = whole_numbers()
    points.tofile(tmp_path / "rows.f4")
    mapped = np.memmap(tmp_path / "rows.f4", np.float32, "r", shape=points.shape)
    assert chunked.rows_of(mapped, 1) is None
    assert chunked.rows_of(points, 1) is None
    assert chunked.rows_of(points.tolist(), 1) is None


# Hints and refusals


@pytest.mark.filterwarnings("default:each round computes X anew")
def test_hint_where_rounds_compute_anew(tmp_path):
    made = da.random.default_rng(0).random((300, 2), chunks=(100, 2))
    with pytest.warns(UserWarning, match=r"X\.persist\(\)"):
        KMeans(3, max_iter=2, random_state=0).fit(made)
    whole_numbers().tofile(tmp_path / "rows.f4")
    mapped = np.memmap(tmp_path / "rows.f4", np.float32, "r", shape=(3000, 3))
    assert chunked.reads_anew(da.from_array(mapped, chunks=(1000, 3)))
    da.to_npy_stack(tmp_path / "stack", made)
    assert chunked.reads_anew(da.from_npy_stack(tmp_path / "stack") + 1)
    for kept in (made.persist(), da.from_array(whole_numbers(), chunks=(500, 3))):
        assert not chunked.reads_anew(kept)


def lone_nan():
    points = whole_numbers()
    points[2500, 1] = np.nan
    return points


def test_faults_are_told_with_their_row():
    chunks = da.from_array(lone_nan(), chunks=(1000, 3))
    some = chunks[chunks[:, 0] != 1e9]  # whose chunks have unknown sizes
    model = fitted(whole_numbers())
    for rows, match in ((chunks, "^X .* in row 2500;"), (some, "^a chunk of X .* in row 500;")):
        with pytest.raises(InputError, match=match):
            fitted(rows)
        with pytest.raises(InputError, match=match):
            model.predict(rows).compute()


@pytest.mark.parametrize(
    ("points", "error", "match"),
    [
        (np.ones(30), InputError, r"shape \(30,\)"),
        (np.ones((30, 2, 2)), InputError, r"shape \(30, 2, 2\)"),
        (np.ones((30, 0)), InputError, "with features"),
        (np.ones((30, 2), complex), InputError, "Complex data not supported.*complex128"),
        (np.full((30, 2), "a"), InputTypeError, "X has a value that is not a number"),
        (np.ones((5, 3), np.float32), InputError, "n_samples=5 should be >= n_clusters=7"),
    ],
)
def test_rows_that_are_refused(points, error, match):
    with pytest.raises(error, match=match):
        KMeans(7, random_state=0).fit(da.from_array(points, chunks=-1))


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.ones(7), "shape"),
        (da.ones(7, chunks=3), "shape"),
        (da.zeros(3000, chunks=1000), "all 0"),
        (da.from_array(np.where(np.arange(3000) == 2100, -1.0, 1.0), chunks=500), "negative"),
        (da.full(3000, np.nan, chunks=500), "non-finite"),
        ("balanced", "weights"),
        (da.ones(3000, chunks=500) * 1j, "Complex data not supported"),
    ],
)
def test_weights_that_are_refused(weights, match):
    with pytest.raises(InputError, match=match):
        fitted(da.from_array(whole_numbers(), chunks=(1000, 3)), weights=weights)


def test_what_needs_all_rows_is_refused():
    chunks = da.from_array(whole_numbers(), chunks=(1000, 3))
    with pytest.raises(InputError, match="'var-part', which needs X in memory"):
        KMeans(7, init="var-part").fit(chunks)
    with pytest.raises(InputError, match="partial_fit takes one chunk, in memory"):
        KMeans(7).partial_fit(chunks)


def test_other_features_than_those_fitted():
    model = fitted(da.from_array(whole_numbers(), chunks=(1000, 3)))
    with pytest.raises(InputError, match="X has 2 features"):
        model.predict(da.ones((10, 2), chunks=5))
    with pytest.raises(AttributeError, match="not fitted"):
        KMeans(3).predict(da.ones((10, 2), chunks=5))


def test_partial_fit_goes_on_after_chunks():
    points = whole_numbers()
    model = fitted(da.from_array(points, chunks=(700, 3)))
    peer = fitted(points)
    for each in (model, peer):
        each.partial_fit(whole_numbers(seed=9))
    np.testing.assert_array_equal(model.cluster_centers_, peer.cluster_centers_)


def test_rows_that_are_not_what_the_array_says():
    points = whole_numbers()
    chunks = da.from_array(points, chunks=(1000, 3))
    none = chunks[chunks[:, 0] > 1e9]  # which is not known before it is computed
    for empty in (none, chunks[:0]):
        with pytest.raises(InputError, match=r"^X has no rows; at least one is needed$"):
            KMeans(2).fit(empty)
    with pytest.raises(InputError, match=r"^X has shape \(3000, nan\); it must be"):
        KMeans(2).fit(chunks[:, chunks[0] > -1e9])
    lies = da.from_delayed(dask.delayed(points[:, :2]), shape=(3000, 3), dtype=points.dtype)
    fault = r"^a chunk of X has shape \(3000, 2\); X says that it has 3 features$"
    with pytest.raises(InputError, match=fault):
        KMeans(2).fit(lies)
    kmeans = KMeans(2, init=points[:2], n_init=1, max_iter=1).fit(chunks)
    with pytest.raises(InputError, match=fault):
        kmeans.predict(lies).compute()
