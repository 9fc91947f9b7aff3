"""How much colours count by where in the picture their pixels stand."""

import numpy as np
import pytest

import kmq
from kmq.model.pixel_format import PixelFormat
from kmq.stages.histogram import counting
from kmq.stages.mapping.ssimulacra2 import Looks
from kmq.stages.palette import masking
from kmq.stages.palette.masking import Shown, View
from kmq.stages.palette.points import bins_of, boxes_of, points_of


def window_means(plane, reach):
    """Return the means over squares, as of a picture that goes on beyond its edges as at them."""
    padded = np.pad(plane, reach, mode="edge")
    side = 2 * reach + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).mean(axis=(2, 3))


def naive_factors(view, shown, boxes):
    variance = np.zeros(view.ids.shape)
    for axis in view.axes:
        plane = shown.columns[axis].astype(np.float64)[view.ids]
        variance += window_means(plane**2, 1) - window_means(plane, 1) ** 2
    apart = shown.columns.astype(np.float64) - shown.entries[shown.labels].T
    errors = sum(window_means(axis[view.ids], 2) ** 2 for axis in apart)
    errors /= masking._BLURRED * shown.mean_square
    most = 1 / ((1 - view.drawn) / masking._MOST + view.drawn / masking._MOST_IN_DRAWINGS)
    visible = masking._FLOOR + errors / (1 + errors / most)
    hidden = masking._HIDDEN * view.white
    least = masking._LEAST * view.drawn
    masked = hidden / (hidden + np.sqrt(np.maximum(variance, 0)))
    weights = visible**0.75 * (least + (1 - least) * masked)
    importance = view.importance if view.importance.size else np.ones(view.ids.shape)
    weights, importance = weights[::2], importance[::2]
    pixel_boxes = boxes[view.ids[::2]].ravel()
    sums = np.bincount(pixel_boxes, (weights * importance).ravel(), boxes[-1] + 1)
    with np.errstate(invalid="ignore"):
        return (sums / np.bincount(pixel_boxes, importance.ravel(), len(sums)))[boxes]


def scene(height, width, seed=0):
    """Return a view of few colours in patches, what is shown of them, and boxes."""
    random = np.random.default_rng(seed)
    m, d, k = 40, 3, 5
    ids = random.integers(0, m, (height // 4 + 1, width // 4 + 1), np.uint32)
    ids = np.ascontiguousarray(ids.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])
    ids[::7, ::3] = random.integers(0, m, ids[::7, ::3].shape)
    columns = random.uniform(0, 255, (d, m)).astype(np.float32)
    entries = random.uniform(0, 255, (k, d)).astype(np.float32)
    labels = random.integers(0, k, m).astype(np.int32)
    squares = np.square(columns - entries[labels].T).sum(axis=0)
    mean_square = float(squares.mean())
    boxes = np.sort(random.integers(0, 20, m)).astype(np.int32)
    boxes[-1] = 20
    view = View(ids, np.empty((0, 0)), (0,), 255.0)
    return view, Shown(columns, labels, squares, entries, mean_square), boxes


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (33, 1), (50, 140)])
def test_factors_are_those_of_the_naive_twin(shape):
    view, shown, boxes = scene(*shape)
    expected = naive_factors(view, shown, boxes)
    seen = np.isfinite(expected)
    np.testing.assert_allclose(view.factors(shown, boxes, 1)[seen], expected[seen], rtol=1e-3)


def test_importance_multiplies_and_colors_out_of_sight_count_by_their_error():
    view, shown, boxes = scene(50, 140)
    importance = np.zeros(view.ids.shape)
    importance[10:18, 5:30] = np.random.default_rng(1).random((8, 25))
    only = View(view.ids, importance, (0, 2), view.white)
    factors = only.factors(shown, boxes, 1)
    expected = naive_factors(only, shown, boxes)
    seen = np.isfinite(expected)
    np.testing.assert_allclose(factors[seen], expected[seen], rtol=1e-3)
    unseen = np.flatnonzero(~seen)
    order = unseen[np.argsort(shown.squares[unseen])]
    assert (np.diff(factors[order]) > 0).all()
    assert len(order) > 2
    nothing = View(view.ids, np.zeros(view.ids.shape), (0,), view.white)
    assert (nothing.factors(shown, boxes, 1) == 1).all()


def test_a_large_picture_is_sampled_evenly_and_threads_change_nothing():
    view, shown, boxes = scene(1100, 1300)
    tiles = np.array(view._tiles())
    assert 1 << 17 < len(tiles) * 32 * 128 < 1 << 19
    assert np.bincount(tiles[:, 1] // 128, minlength=11).min() >= 3
    assert np.bincount(tiles[:, 0] // 110, minlength=10).min() >= 3
    factors = view.factors(shown, boxes, 1)
    assert np.array_equal(factors, view.factors(shown, boxes, 4))
    np.testing.assert_allclose(factors, naive_factors(view, shown, boxes), rtol=0.2)


def naive_unlike(view, shown):
    """Return what `View.unlike` does, of pictures whose sides are multiples of 4."""
    height, width = view.ids.shape
    steady, sums = (masking._STEADY * view.white) ** 2, []
    for true, seen in zip(shown.columns, shown.entries[shown.labels].T, strict=True):
        a, b = (
            values.astype(np.float64)[view.ids]
            .reshape(height // 4, 4, width // 4, 4)
            .mean(axis=(1, 3))
            for values in (true, seen)
        )
        a_mean, b_mean = window_means(a, 2), window_means(b, 2)
        variances = window_means(a * a, 2) - a_mean**2 + window_means(b * b, 2) - b_mean**2
        covariance = window_means(a * b, 2) - a_mean * b_mean
        difference = 1 - (2 * covariance + steady) / (variances + steady)
        sums.append((difference.mean(), (difference**4).mean() ** 0.25))
    return sums[0][0] + masking._CHROMA * (sums[1][1] + sums[2][1])


def test_structure_is_compared_as_by_the_naive_twin_on_any_number_of_threads():
    view, shown, _ = scene(48, 140)
    unlike = view.unlike(shown, 1)
    assert unlike == pytest.approx(naive_unlike(view, shown), rel=1e-3)
    assert unlike == view.unlike(shown, 3)
    exact = shown._replace(entries=shown.columns.T, labels=np.arange(40, dtype=np.int32))
    assert abs(view.unlike(exact, 1)) < 1e-5 < unlike


def test_structure_of_small_and_of_large_pictures_is_compared():
    view, shown, _ = scene(2200, 1024)
    assert view.unlike(shown, 1) == view._replace(ids=view.ids[::2, ::2]).unlike(shown, 1)
    for shape in ((1, 1), (3, 9)):
        view, shown, _ = scene(*shape)
        assert np.isfinite(view.unlike(shown, 1))


def steps():
    """Return a drawing of rings in 24 flat steps from blue over green and sand to white."""
    row, column = np.mgrid[:160, :200]
    levels = np.hypot(row - 70, column - 90) // 4 % 24
    ramp = np.array([[20, 30, 90], [70, 140, 80], [190, 180, 120], [250, 245, 240]])
    bands = [np.interp(levels, np.linspace(0, 23, 4), ramp[:, c]) for c in range(3)]
    return np.stack(bands, axis=2).astype(np.uint8)


def test_drawings_keep_their_steps_and_palettes_to_mix_need_not():
    picture = steps()
    looks = Looks(picture, PixelFormat.RGB24, 1)
    plain, mixed = kmq.quantize(picture, 16), kmq.quantize(picture, 16, mapping="dither")
    nearest = kmq.quantize(picture, palette=mixed.palette)
    assert looks.of(plain.to_array()) > looks.of(nearest.to_array()) + 4


def test_drawings_with_alpha_and_fixed_colors_have_them_however_they_are_searched_for():
    samples = np.dstack([steps(), np.full((160, 200), 255, np.uint8)])
    samples[:20] = 0
    samples[20:40, :, 3] = 90
    image = kmq.quantize(samples, 12, require=kmq.Require(fixed=["#123456"]))
    shown = image.to_array()
    assert (image.palette == [0x12, 0x34, 0x56, 255]).all(axis=1).any()
    assert (shown[:20] == 0).all()
    assert (shown[40:, :, 3] == 255).all()


def scene_with_noise():
    """Return a picture of a soft slope above and of noise in other colours below."""
    random = np.random.default_rng(2)
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:48] = np.linspace((40, 80, 160), (90, 130, 220), 48)[:, None]
    picture[48:] = random.integers(0, 256, (48, 128, 1)) * np.array([1, 0.6, 0.3])
    return picture


def test_smooth_areas_get_more_colours_than_noise():
    picture = scene_with_noise()
    errors = {}
    for space in ("rgb", "eye"):
        shown = kmq.quantize(picture, 16, space=space).to_array().astype(int)
        errors[space] = np.square(shown - picture).sum(axis=2)
    assert errors["eye"][:48].mean() < 0.6 * errors["rgb"][:48].mean()
    assert errors["eye"][48:].mean() > errors["rgb"][48:].mean()


@pytest.mark.parametrize("pixel_format", [f for f in PixelFormat if f is not PixelFormat.CMYK32])
def test_every_pixel_format_but_cmyk_is_seen(pixel_format):
    random = np.random.default_rng(3)
    shape = (20, 24, pixel_format.channels)
    samples = random.integers(0, pixel_format.max_value, shape, endpoint=True)
    picture = (
        samples[..., 0].astype(np.bool_)
        if pixel_format.depth == 1
        else samples.astype(pixel_format.dtype)
    )
    k = 2 if pixel_format.depth == 1 else 7
    image = kmq.quantize(picture, k, space="eye", pixel_format=pixel_format)
    assert image.n_colors == k
    one, four = (
        kmq.quantize(picture, k, space="eye", pixel_format=pixel_format, n_threads=n)
        for n in (1, 4)
    )
    assert one == four == image


def test_what_is_masked_out_has_no_say():
    picture = scene_with_noise()
    mask = np.zeros(picture.shape[:2], np.bool_)
    mask[:48] = True
    image = kmq.quantize(picture, 8, space="eye", weights=mask)
    other = picture.copy()
    other[60:] = 255 - other[60:]
    assert np.array_equal(image.palette, kmq.quantize(other, 8, space="eye", weights=mask).palette)


def test_boxes_are_runs_of_keys():
    picture = scene_with_noise()
    color_map = counting.map_colors(picture, PixelFormat.RGB24, 1)
    boxes = boxes_of(color_map.keys, 64)
    assert boxes[0] == 0
    assert set(np.diff(boxes)) <= {0, 1}
    assert 64 <= boxes[-1] + 1 <= 256
    bins = bins_of(
        points_of(
            np.ascontiguousarray(color_map.histogram.colors.T, dtype=np.float32),
            color_map.histogram.counts.astype(np.float64),
        ),
        color_map.keys,
        64,
    )
    np.testing.assert_array_equal(bins.weights, np.bincount(boxes, color_map.histogram.counts))


def test_what_is_nearly_black_or_white_counts_more():
    ends = np.array([[0.0, 0, 0], [255, 0, 0]])
    colors = [[0, 0, 0], [8, 0, 0], [0, 20, 0], [120, 0, 0], [255, 0, 0], [250, 30, 0]]
    factors = np.ones(len(colors))
    masking.favour_ends(np.array(colors, np.float32).T.copy(), ends, factors)
    np.testing.assert_allclose(factors, [3, 2, 1, 1, 3, 1])


def test_text_on_flat_ground_keeps_its_ink():
    ground = np.full((160, 160, 3), 250, np.uint8)
    ground[:, 100:] = np.linspace((200, 80, 40), (40, 80, 200), 160).astype(np.uint8)[:, None]
    random = np.random.default_rng(4)
    strokes = random.random((160, 100)) < 0.05
    ground[:, :100][strokes] = (20, 20, 24)
    shown = kmq.quantize(ground, 8).to_array().astype(int)
    assert np.abs(shown[:, :100][strokes] - (20, 20, 24)).mean() < 8
