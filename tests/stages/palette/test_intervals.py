"""The best clusters of one channel, against all ways to cut numbers and all choices of entries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kmq
import naive
from kmq.stages.palette.intervals import Line

MANY = {"max_examples": 50, "deadline": None}
weighted = st.dictionaries(st.integers(0, 20), st.integers(1, 9), min_size=1, max_size=8)


def line_of(numbers, *more):
    return Line(np.array([*numbers], float), np.array([*numbers.values()], float), *more)


def cost_of(numbers, centers):
    return sum(w * min((x - c) ** 2 for c in centers) for x, w in numbers.items())


@settings(**MANY)
@given(weighted, st.integers(1, 10))
def test_clusters_of_numbers_cost_the_least(numbers, k):
    line = line_of(numbers)
    least = float(naive.best_interval_cost([*numbers], [*numbers.values()], k))
    centers = line.centers(k)
    assert len(centers) == min(k, len(numbers))
    assert (np.diff(centers) > 0).all()
    assert line.cost(k) == pytest.approx(least, rel=1e-12, abs=1e-12)
    assert cost_of(numbers, centers) == pytest.approx(least, rel=1e-12, abs=1e-12)


@settings(**MANY)
@given(weighted, st.integers(1, 2), st.integers(1, 7), st.sets(st.integers(0, 22), max_size=2))
def test_entries_cost_the_least_of_all_choices_with_the_fixed_ones(numbers, k, step, fixed):
    k += len(fixed)
    sites = {*range(0, 20, step), 20, *fixed}
    line = line_of(numbers, np.array([*sites], float), np.array([*fixed], float))
    free = line.centers(k)
    assert len(free) <= k - len(fixed)
    assert sites.issuperset(free)
    least = naive.best_choice_cost([*numbers], [*numbers.values()], k, sites, fixed)
    assert cost_of(numbers, [*free, *fixed]) == line.cost(k) == least


def test_many_numbers_of_one_kind_have_every_k():
    # All gaps are alike, so most k have no price of their own: two paths are joined.
    line = line_of(dict.fromkeys(range(4000), 1))
    for k in (2, 3, 7, 1999, 2000, 2001, 3001, 3999):
        size, larger = divmod(4000, k)
        least = (k - larger) * size * (size**2 - 1) + larger * (size + 1) * ((size + 1) ** 2 - 1)
        assert len(line.centers(k)) == k
        assert line.cost(k) == pytest.approx(least / 12, rel=1e-12)


@pytest.mark.parametrize("far", [1e8, -1e8, 1e15])
def test_a_number_far_off_hides_nothing(far):
    # Sums of squares are 10^16 and more times as large as the costs that are compared.
    numbers = dict.fromkeys([1.0, 2.0, 2.5, 4.0, 4.5, 7.0, 7.25], 1) | {far: 1}
    line = line_of(numbers)
    for k in range(2, 8):
        least = float(naive.best_interval_cost([*numbers], [*numbers.values()], k))
        assert line.cost(k) == pytest.approx(least, rel=1e-9)


def test_numbers_far_from_zero_keep_their_distances():
    line = line_of({1e9 + x: 1 for x in (0, 1, 10, 11, 50)})
    assert line.centers(3).tolist() == [1e9 + 0.5, 1e9 + 10.5, 1e9 + 50]
    assert line.cost(3) == 1


def test_numbers_taken_together_for_a_first_guess_change_nothing():
    values = np.random.default_rng(0).lognormal(0, 2, 20_000).astype(np.float32).astype(float)
    line = Line(values, np.ones(20_000))
    assert line._rough is not None
    direct = Line(values, np.ones(20_000))
    direct.__dict__["_rough"] = None
    for k in (2, 9, 150):
        assert line.cost(k) == pytest.approx(direct.cost(k), rel=1e-12)


def test_order_and_repetitions_do_not_matter_and_weight_zero_takes_no_part():
    line = Line(np.array([5.0, 1, 9, 1, 7]), np.array([1.0, 2, 0, 2, 1]))
    assert line.centers(2).tolist() == [1, 6]
    assert line.centers(9).tolist() == [1, 5, 7]


# kmq.kmeans


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9),
    st.integers(1, 9),
    st.sampled_from([np.float32, np.float64]),
)
def test_points_with_one_channel_get_the_best_clusters(values, k, dtype):
    points = np.array(values, dtype)[:, None]
    k = min(k, len(values))
    fit = kmq.kmeans(points, k)
    distinct, counts = np.unique(points, return_counts=True)
    least = float(naive.best_interval_cost(distinct, counts, k))
    assert fit.inertia == pytest.approx(least, rel=1e-5 if dtype is np.float32 else 1e-9, abs=1e-9)
    assert fit.centroids.shape == (k, 1)
    assert fit.centroids.dtype == dtype
    assert (np.diff(fit.centroids[:, 0]) >= 0).all()
    assert (fit.n_iter, fit.converged) == (1, True)


def test_weights_and_no_seed_decide_about_points_with_one_channel():
    random = np.random.default_rng(0)
    points = random.normal(size=(500, 1))
    weights = random.integers(0, 4, 500)
    one = kmq.kmeans(points, 7, weights)
    assert kmq.kmeans(points, 7, weights, seed=9, max_iter=1, n_init=3) == one
    repeated = kmq.kmeans(points.repeat(weights, axis=0), 7)
    np.testing.assert_allclose(repeated.centroids, one.centroids, rtol=1e-12)
    assert one.inertia <= min(
        kmq.kmeans(points, 7, weights, init=init, n_init=5).inertia
        for init in ("k-means++", "random", "var-part")
    )


def test_a_start_or_an_algorithm_that_is_named_is_taken():
    points = np.random.default_rng(0).normal(size=(200, 1))
    start = np.arange(5.0)[:, None]
    assert kmq.kmeans(points, 5, init=start, max_iter=2).n_iter == 2
    assert kmq.kmeans(points, 5, algorithm="lloyd").n_iter > 1


def test_estimator_finds_the_best_clusters_of_one_feature():
    x = np.random.default_rng(1).lognormal(size=(300, 1))
    best = kmq.kmeans(x, 6)
    for options in ({}, {"random_state": 5, "n_init": 3}, {"algorithm": "elkan"}):
        fit = kmq.KMeans(6, **options).fit(x)
        np.testing.assert_array_equal(fit.cluster_centers_, best.centroids)
        np.testing.assert_array_equal(fit.labels_, best.labels)
        assert fit.n_iter_ == 1
    for options in ({"init": "random"}, {"algorithm": "naive"}, {"init": best.centroids + 1}):
        assert kmq.KMeans(6, **options).fit(x).n_iter_ > 1


# pictures


def grey(levels, dtype=np.uint8):
    """A picture of some levels, of unequal shares."""
    return np.repeat(np.array(levels, dtype), np.arange(1, len(levels) + 1) % 5 + 1)[None]


LEVELS = [0, 3, 4, 7, 8, 12, 14, 15]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("effort", ["fast", "best"])
def test_grey_pictures_get_the_best_entries(k, effort):
    picture = grey(LEVELS)
    image = kmq.quantize(picture, k, space="rgb", effort=effort)
    levels, counts = np.unique(picture, return_counts=True)
    least = naive.best_choice_cost(levels.tolist(), counts.tolist(), k, range(16))
    assert image.report.mse * picture.size == pytest.approx(least, rel=1e-6)
    assert image.report.converged


def test_fixed_steps_and_weights_count_for_the_best_grey_entries():
    picture = grey(LEVELS)
    weights = np.arange(picture.size)[None] % 4
    fixed = [7]
    require = kmq.Require(fixed=[(7,)], posterize=None)
    image = kmq.quantize(picture, 3, space="rgb", weights=weights, require=require)
    levels = picture[0].tolist()
    least = naive.best_choice_cost(levels, weights[0].tolist(), 3, range(16), fixed)
    errors = (image.palette[image.indices][..., 0].astype(int) - picture) ** 2
    assert (errors * weights).sum() == least
    assert 7 in image.palette
    posterized = kmq.quantize(picture, 3, space="rgb", require=kmq.Require(posterize=6))
    step_levels = np.unique(
        kmq.quantize(grey(range(256)), 256, require=kmq.Require(posterize=6)).palette
    )
    least = naive.best_choice_cost(levels, [1] * picture.size, 3, step_levels.tolist())
    assert posterized.report.mse * picture.size == pytest.approx(least, rel=1e-6)


def test_sixteen_bits_of_grey_are_as_exact():
    picture = grey([0, 40, 41, 900, 20_000, 20_009, 65_000, 65_535], np.uint16)
    levels, counts = np.unique(picture, return_counts=True)
    for k in range(1, 8):
        image = kmq.quantize(picture, k, space="rgb")
        # Integer entries lose at most what rounding one mean loses; all sizes are small enough.
        least = float(naive.best_interval_cost(levels, counts, k))
        cost, off_by = image.report.mse * picture.size, 1e-6 * least
        assert least - off_by <= cost <= least + off_by + picture.size / 4


def test_two_near_levels_of_many_are_merged_where_it_costs_least():
    levels = np.arange(65_536, dtype=np.uint16)
    counts = np.where(levels == 40_001, 1, 2)
    picture = levels.repeat(counts).reshape(1, -1)
    image = kmq.quantize(picture, 65_535, space="rgb")
    assert image.n_colors == 65_535
    assert 40_001 not in image.palette
    assert round(image.report.mse * picture.size) == 1


def test_no_start_is_better_in_the_space_that_is_searched():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8) // 3 + 40
    for space in ("rgb", "linear", "oklab", "lab"):
        best = kmq.quantize(picture, 6, space=space)
        others = [kmq.quantize(picture, 6, space=space, start=kmq.Start(seed=s)) for s in range(4)]
        if space == "rgb":
            assert best.report.mse <= min(other.report.mse for other in others)
        assert best.n_colors == 6


def test_one_bit_pictures_come_back_exactly():
    picture = np.eye(5, dtype=bool)
    np.testing.assert_array_equal(kmq.quantize(picture, 2).to_array(), picture)
    assert kmq.quantize(picture, 1).palette.tolist() == [[0]]


def test_curve_of_grey_has_the_errors_of_the_best_palettes():
    picture = np.random.default_rng(0).integers(0, 200, (30, 30), dtype=np.uint8)
    curve = kmq.error_curve(picture, 40)
    assert curve.k.tolist()[:6] == [1, 2, 3, 4, 5, 6]
    assert (curve.k[-1], len(curve.k)) == (40, len(set(curve.k)))
    for k, mse in zip(curve.k.tolist(), curve.mse, strict=True):
        assert kmq.quantize(picture, k, space="rgb").report.mse == pytest.approx(mse, rel=1e-6)


def test_fewest_colours_of_grey_are_the_fewest():
    picture = np.random.default_rng(0).integers(0, 200, (30, 30), dtype=np.uint8)
    for psnr in (12, 20, 30, 40, 50):
        k = kmq.choose_k(picture, kmq.Fewest(psnr=psnr))
        assert kmq.quantize(picture, k, space="rgb").report.psnr >= psnr
        assert k == 1 or kmq.quantize(picture, k - 1, space="rgb").report.psnr < psnr


def test_palettes_of_histograms_are_those_of_pictures():
    picture = np.random.default_rng(0).integers(0, 200, (30, 30), dtype=np.uint8)
    histogram = kmq.ColorHistogram.from_picture(picture)
    palette = kmq.fit_palette(histogram, 9, space="rgb")
    np.testing.assert_array_equal(palette.colors, kmq.quantize(picture, 9, space="rgb").palette)
