"""Searching for palettes: few centroids compared, but the same labels; and better optima."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from kmq.model.histogram import ColorHistogram
from kmq.model.pixel_format import PixelFormat
from kmq.stages.histogram import counting
from kmq.stages.palette import assigning, clustering, search, starting
from kmq.stages.palette.effort import SEARCH_EFFORTS, Stopping
from kmq.stages.palette.points import Workspace, bins_of, points_of
from kmq.stages.palette.rounds import Rounds, settle

FORMATS = [
    PixelFormat.GREY8,
    PixelFormat.GREY8_ALPHA,
    PixelFormat.RGB24,
    PixelFormat.RGBA32,
    PixelFormat.GREY16,
    PixelFormat.RGB48,
    PixelFormat.RGBA64,
]


def clouds(pixel_format, seed, shape=(60, 70), n_clouds=7):
    """A picture whose colours lie in a few clouds, as those of pictures do."""
    random = np.random.RandomState(seed)
    middles = random.uniform(0, pixel_format.max_value, (n_clouds, pixel_format.channels))
    which = random.randint(n_clouds, size=shape)
    spread = pixel_format.max_value / 20
    samples = middles[which] + random.normal(0, spread, (*shape, pixel_format.channels))
    return np.clip(np.rint(samples), 0, pixel_format.max_value).astype(pixel_format.dtype)


def color_map(pixel_format, seed, **options):
    return counting.map_colors(clouds(pixel_format, seed, **options), pixel_format, 1)


def points_in(colors):
    columns = np.ascontiguousarray(colors.colors.T, dtype=np.float32)
    return points_of(columns, colors.counts.astype(float))


@pytest.mark.parametrize("pixel_format", FORMATS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), k=st.integers(1, 90), near=st.booleans())
def test_few_candidates_give_the_labels_of_all(pixel_format, seed, k, near):
    colors = color_map(pixel_format, seed, shape=(30, 40)).histogram
    random = np.random.RandomState(seed)
    if near:  # on the colours themselves, twice some of them: many ties and distances of 0
        entries = colors.colors[random.randint(len(colors.colors), size=k)]
    else:
        entries = random.randint(0, pixel_format.max_value, (k, pixel_format.channels))
    labels, distances = search.assign(points_in(colors), entries.astype(np.float64), 2)
    rows = colors.colors.astype(np.float32)
    plain, plain_distances = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
    assigning.nearest(rows, entries.astype(np.float64), 1, plain, plain_distances)
    np.testing.assert_array_equal(labels, plain)
    np.testing.assert_array_equal(distances, plain_distances)


def many(pixel_format, k):
    """Colours, and k of them moved a little, some twice, in no order."""
    colors = color_map(pixel_format, 3, shape=(90, 70), n_clouds=9).histogram
    random = np.random.default_rng(k)
    entries = colors.colors[random.integers(0, len(colors.colors), k)]
    return colors, entries + random.integers(-1, 2, (k, 1)).astype(float)


@pytest.mark.parametrize("k", [1024, 1500, 6000])
@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA32])
def test_many_centroids_give_the_labels_of_all(pixel_format, k):
    colors, entries = many(pixel_format, k)
    labels, distances = search.assign(points_in(colors), entries, 2)
    rows = colors.colors.astype(np.float32)
    plain, plain_distances = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
    assigning.nearest(rows, entries, 1, plain, plain_distances)
    np.testing.assert_array_equal(labels, plain)
    np.testing.assert_array_equal(distances, plain_distances)


@pytest.mark.parametrize("k", [1024, 3000, 5000])
def test_rounds_of_many_centroids_are_plain_ones(k):
    colors, centroids = many(PixelFormat.RGB24, k)
    points = points_in(colors)
    rows = np.ascontiguousarray(points.columns.T)
    rounds = Rounds(points, k, 2)
    for _ in range(4):  # each begins with the labels of the one before
        sums, _ = assigning.assign_and_sum(
            rows, points.weights, centroids, np.empty(0, np.int32), 1
        )
        expected = clustering._means(sums, centroids)
        rounds.run(centroids, 0, 0.0)
        np.testing.assert_allclose(centroids, expected, rtol=1e-12)
        centroids[:] = centroids[np.random.default_rng(0).permutation(k)]


def test_losses_of_many_centroids_are_those_to_the_second_nearest():
    from kmq.kernels.search import measure

    k = 1500
    colors, centroids = many(PixelFormat.RGB24, k)
    points = points_in(colors)
    room = Workspace(points, k)
    for _ in range(3):
        inertia = measure(*points.arguments, centroids, k, *room.measured)
        distances = naive.squared_distances(points.columns.T, centroids.astype(np.float32))
        labels = distances.argmin(axis=1)
        least, second = np.partition(distances, 1, axis=1)[:, :2].T
        losses = np.bincount(labels, points.weights * (second - least), k)
        np.testing.assert_array_equal(room.labels, labels)
        np.testing.assert_allclose(room.measured[3][0], losses, rtol=1e-5, atol=1e-3)
        assert inertia == pytest.approx(float(points.weights @ least))
        centroids += 0.5


def test_a_search_for_many_colours_drops_and_cuts():
    colors, start = many(PixelFormat.RGB24, 1100)
    points = points_in(colors)
    searched = search.search(points, [lambda: start], 0, SEARCH_EFFORTS["fast"], 1)
    plain = settle(points, start, 0, Stopping(30, 0.0), n_threads=1, progress=None).centroids
    assert inertia(colors, searched) < 0.9 * inertia(colors, plain)


@pytest.mark.parametrize("pixel_format", [PixelFormat.GREY8, PixelFormat.RGB24])
def test_labels_are_those_of_the_naive_twin(pixel_format):
    colors = color_map(pixel_format, 1).histogram
    entries = np.unique(colors.colors[::17], axis=0)
    labels, distances = search.assign(points_in(colors), entries.astype(np.float64), 1)
    naive_labels, naive_distances = naive.nearest(colors.colors, entries)
    np.testing.assert_array_equal(labels, naive_labels)
    np.testing.assert_array_equal(distances, naive_distances)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_bins_are_the_colours_of_the_coarsest_boxes_that_are_enough(pixel_format):
    found = color_map(pixel_format, 3)
    colors, counts = found.histogram.colors, found.histogram.counts
    bins = bins_of(points_in(found.histogram), found.keys, 40)
    assert bins.weights.sum() == counts.sum()
    boxes = np.arange(len(colors))
    for n_bits in range(pixel_format.depth * pixel_format.channels + 1):
        # Channels take turns from the last: so many bits of each are left out.
        left_out = [
            (n_bits + channel) // pixel_format.channels for channel in range(pixel_format.channels)
        ]
        coarse = colors.astype(int) >> left_out
        coarser = np.unique(coarse, axis=0, return_inverse=True)[1].reshape(-1)
        if coarser.max() + 1 < 40:
            break
        boxes = coarser
    expected = sorted(
        tuple(np.average(colors[boxes == box], axis=0, weights=counts[boxes == box]))
        for box in range(boxes.max() + 1)
    )
    np.testing.assert_allclose(sorted(map(tuple, bins.columns.T)), expected, rtol=1e-5)


def test_moments_are_the_sums():
    colors = points_in(color_map(PixelFormat.RGB24, 4).histogram)
    sums, squares = colors.moments
    np.testing.assert_allclose(sums, (colors.columns * colors.weights).sum(axis=1))
    np.testing.assert_allclose(squares, (colors.columns.astype(float) ** 2 * colors.weights).sum(1))
    variances = [np.cov(c, fweights=colors.weights.astype(int), ddof=0) for c in colors.columns]
    assert colors.mean_variance == pytest.approx(np.mean(variances))


def inertia(colors: ColorHistogram, centroids):
    return naive.inertia(colors.colors, centroids, colors.counts)


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("k", [1, 2, 5, 24])
def test_search_is_no_worse_than_plain_k_means(pixel_format, k):
    found = color_map(pixel_format, 5, n_clouds=9)
    effort = SEARCH_EFFORTS["balanced"]
    colors = points_in(found.histogram)
    rows = np.ascontiguousarray(colors.columns.T)
    start = starting.start_centroids(rows, colors.weights, k, "var-part", 0)
    searched = search.search(colors, [lambda: start], 0, effort, 1)
    plain = naive.lloyd(rows, colors.weights, start, 60)
    assert searched.shape == (k, pixel_format.channels)
    # Another optimum may be a little worse, but not much.
    assert inertia(found.histogram, searched) <= 1.01 * inertia(found.histogram, plain)


def test_search_leaves_a_bad_optimum():
    # Two far pairs of clouds, and both centroids of one pair at the other.
    samples = np.array([0, 10, 200, 210], np.uint8)[:, None].repeat(50, axis=1)[..., None]
    found = counting.map_colors(samples, PixelFormat.GREY8, 1)
    colors = points_in(found.histogram)
    bad = np.array([[5.0], [200.0], [208.0], [210.0]])
    searched = search.search(colors, [lambda: bad], 0, SEARCH_EFFORTS["balanced"], 1)
    assert inertia(found.histogram, searched) == 0


def test_the_best_of_the_starts_is_kept():
    found = color_map(PixelFormat.RGB24, 6)
    colors = points_in(found.histogram)
    rows = np.ascontiguousarray(colors.columns.T)
    starts = [
        starting.start_centroids(rows, colors.weights, 6, "random", seed) for seed in range(4)
    ]
    effort = SEARCH_EFFORTS["fast"]
    alone = [
        inertia(found.histogram, search.search(colors, [start.copy], 0, effort, 1))
        for start in starts
    ]
    together = search.search(colors, [start.copy for start in starts], 0, effort, 2)
    assert inertia(found.histogram, together) == pytest.approx(min(alone))


def test_settling_to_nothing_ends_on_the_means():
    found = color_map(PixelFormat.RGB24, 7)
    colors = points_in(found.histogram)
    rows = np.ascontiguousarray(colors.columns.T)
    start = starting.start_centroids(rows, colors.weights, 12, "var-part", 0)
    settled = settle(colors, start, 0, Stopping(1000, 0.0), n_threads=2, progress=None)
    assert settled.converged
    labels, _ = naive.nearest(rows, settled.centroids)
    means = naive.means(rows, labels, 12, colors.weights)
    np.testing.assert_allclose(settled.centroids, means, rtol=1e-12)


def test_growing_yields_falling_errors_near_those_of_a_search():
    found = color_map(PixelFormat.RGB24, 8, n_clouds=20)
    colors = points_in(found.histogram)
    curve = list(search.grow(colors, found.keys, np.empty((0, 3)), 40))
    ks = [k for k, _ in curve]
    errors = [error for _, error in curve]
    assert ks[:4] == [1, 2, 3, 4]
    assert ks[-1] == 40
    assert ks == sorted(set(ks))
    assert errors == sorted(errors, reverse=True)
    rows = np.ascontiguousarray(colors.columns.T)
    start = starting.start_centroids(rows, colors.weights, 40, "var-part", 0)
    searched = search.search(colors, [lambda: start], 0, SEARCH_EFFORTS["balanced"], 1)
    best = inertia(found.histogram, searched) / found.histogram.n_pixels
    assert 0.999 * best < errors[-1] < 1.1 * best


def test_fixed_centroids_stay_and_the_others_move_around_them():
    found = color_map(PixelFormat.RGB24, 9)
    colors = points_in(found.histogram)
    rows = np.ascontiguousarray(colors.columns.T)
    fixed = np.array([[0.0, 0.0, 0.0], [128.0, 128.0, 128.0]])
    start = starting.start_centroids(rows, colors.weights, 10, "var-part", 0)
    effort = SEARCH_EFFORTS["balanced"]
    start = np.concatenate([fixed, start])
    searched = search.search(colors, [lambda: start], 2, effort, 1)
    settled = settle(colors, searched, 2, Stopping(1000, 0.0), n_threads=1, progress=None).centroids
    for centroids in (searched, settled):
        assert centroids.shape == (12, 3)
        np.testing.assert_array_equal(centroids[:2], fixed)
    labels, _ = naive.nearest(rows, settled)
    for label in range(2, 12):
        members = labels == label
        mean = np.average(rows[members], axis=0, weights=colors.weights[members])
        np.testing.assert_allclose(settled[label], mean, rtol=1e-9)
