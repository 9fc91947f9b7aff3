"""`kmq.quantize`: the door `kmq.quantizing` and the pipeline behind it."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import kmq
import naive
from grouped import grouped
from kmq.errors import InputError
from kmq.model.image import Report
from kmq.model.pixel_format import PixelFormat

quantize = partial(kmq.quantize, space="rgb")

FEW_ROUNDS = grouped(max_iter=4)


def noise(pixel_format, height, width, *, n_levels=None, seed=0):
    """Samples of up to `n_levels` values per channel; nothing is fully transparent."""
    random = np.random.default_rng(seed)
    n_levels = min(n_levels or 256, pixel_format.max_value + 1)
    levels = np.linspace(0, pixel_format.max_value, n_levels).astype(pixel_format.dtype)
    samples = levels[random.integers(0, n_levels, (height, width, pixel_format.channels))]
    if pixel_format.has_alpha:
        samples[:, :, -1] = np.maximum(samples[:, :, -1], 1)
    return samples


def as_picture(samples, pixel_format):
    """The array a user has: bool for 1-bit, no axis for one channel."""
    samples = samples.astype(bool) if pixel_format is PixelFormat.BILEVEL else samples
    return samples[:, :, 0] if pixel_format.channels == 1 else samples


def photo(step=8):
    return np.ascontiguousarray(data.astronaut()[::step, ::step])


def assert_sound(image, samples, k):
    """Everything that must hold of any result."""
    palette, indices, report = image.palette, image.indices, image.report
    assert 1 <= len(palette) <= k
    assert palette.dtype == samples.dtype
    assert indices.shape == samples.shape[:2]
    assert indices.dtype == (np.uint8 if len(palette) <= 256 else np.uint16)
    assert len(np.unique(palette, axis=0)) == len(palette)
    assert np.array_equal(np.unique(indices), np.arange(len(palette)))
    has_alpha = image.pixel_format.has_alpha
    seen = naive.as_seen if has_alpha else np.asarray
    rows = samples.reshape(-1, samples.shape[2])
    chosen = palette[indices.ravel()]
    if samples.dtype == np.uint8 and not has_alpha:
        assert np.array_equal(indices.ravel(), naive.nearest(rows, palette)[0])
    else:  # coordinates are rounded to float32
        opaque = image.pixel_format.max_value
        solid = (rows[:, -1] == opaque) & has_alpha
        assert np.all(chosen[solid, -1] == opaque)
        own = np.square(seen(rows).astype(float) - seen(chosen)).sum(axis=1)
        for part, entries in ((solid, palette[palette[:, -1] == opaque]), (~solid, palette)):
            if part.any():
                least = naive.nearest(seen(rows[part]), seen(entries))[1]
                np.testing.assert_allclose(own[part], least, rtol=1e-5, atol=opaque**2 * 1e-11)
    shown = palette[indices]
    assert report.mse == pytest.approx(
        naive.mse(seen(samples), seen(shown)), rel=1e-5, abs=1e-12 * image.pixel_format.max_value**2
    )
    max_value = image.pixel_format.max_value
    channels = image.pixel_format.channels - has_alpha
    assert report.psnr == pytest.approx(naive.psnr(report.mse, max_value, channels))
    assert report.colors_in == len(naive.color_counts(samples))
    assert report.colors_out == len(palette)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@settings(max_examples=15, deadline=None)
@given(
    height=st.sampled_from([1, 2, 9]),
    width=st.sampled_from([1, 3, 40]),
    n_levels=st.sampled_from([1, 2, 7, 256]),
    k=st.sampled_from([1, 2, 3, 10, 64]),
    seed=st.integers(0, 1000),
)
def test_any_small_picture(pixel_format, height, width, n_levels, k, seed):
    samples = noise(pixel_format, height, width, n_levels=n_levels, seed=seed)
    picture = as_picture(samples, pixel_format)
    image = quantize(picture, k, pixel_format=pixel_format, start=kmq.Start(seed=seed))
    assert image.pixel_format is pixel_format
    assert_sound(image, samples, k)
    if len(naive.color_counts(samples)) <= k:
        assert np.array_equal(image.to_array(), picture)
        assert image.report.mse == 0
        assert image.report.psnr == math.inf
        assert image.report.converged


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("k", [2, 30, 300])
def test_noise(pixel_format, k):
    samples = noise(pixel_format, 61, 67)
    image = quantize(as_picture(samples, pixel_format), k, pixel_format=pixel_format)
    assert_sound(image, samples, k)
    assert image.report.colors_out == min(k, image.report.colors_in)


@pytest.mark.parametrize("init", ["k-means++", "random", "var-part"])
@pytest.mark.parametrize("k", [2, 16, 100])
def test_photo(init, k):
    image = quantize(photo(), k, start=init)
    assert_sound(image, photo(), k)
    assert image.report.colors_out == k


@pytest.mark.parametrize(
    "pixel_format", [pixel_format for pixel_format in PixelFormat if not pixel_format.has_alpha]
)
def test_one_color_is_the_rounded_mean(pixel_format):
    samples = noise(pixel_format, 21, 23)
    image = quantize(as_picture(samples, pixel_format), 1, pixel_format=pixel_format)
    mean = samples.reshape(-1, samples.shape[2]).sum(axis=0, dtype=np.int64) / (21 * 23)
    assert image.palette.tolist() == [np.rint(mean).tolist()]
    assert_sound(image, samples, 1)


@pytest.mark.parametrize("value", [0, 127, 255])
def test_constant_picture(value):
    picture = np.full((5, 7, 3), value, np.uint8)
    image = quantize(picture, 10)
    assert image.palette.tolist() == [[value] * 3]
    assert not image.indices.any()


def test_exactly_k_colors_come_back_exactly():
    picture = noise(PixelFormat.RGB24, 40, 40, n_levels=4)
    n_colors = len(naive.color_counts(picture))
    image = quantize(picture, n_colors)
    assert np.array_equal(image.to_array(), picture)
    assert quantize(picture, n_colors - 1).report.mse > 0


def test_more_than_256_colors_need_wide_indices():
    picture = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    image = quantize(picture, 1000)
    assert image.indices.dtype == np.uint16
    assert np.array_equal(image.to_array(), picture)


def test_hidden_colors_share_one_entry():
    picture = noise(PixelFormat.RGBA32, 20, 20)
    picture[:10, :, 3] = 0
    image = quantize(picture, 50)
    hidden = np.unique(image.indices[:10])
    assert len(hidden) == 1
    assert image.palette[hidden[0]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("pixel_format", [PixelFormat.GREY16, PixelFormat.RGB48])
def test_16_bits_are_clustered_in_16_bits(pixel_format):
    ramp = np.arange(30_000, 34_096, dtype=np.uint16).reshape(64, 64, 1)
    samples = np.repeat(ramp, pixel_format.channels, axis=2)
    image = quantize(as_picture(samples, pixel_format), 256)
    # Runs of 16 values have an MSE of 16² / 12 a channel; the 16 levels that 8 bits have here, 257
    # apart, have 257² / 12.
    assert image.report.mse < 1.2 * pixel_format.channels * 16**2 / 12
    assert_sound(image, samples, 256)


def test_end_without_tolerance_is_a_fixed_point():
    picture = photo(16)
    colors = np.array(list(naive.color_counts(picture)))
    counts = np.array(list(naive.color_counts(picture).values()))
    image = quantize(picture, 8, start=kmq.Start(tol=0))
    assert image.report.converged
    # One more round moves the unrounded centroids nowhere, so the rounded ones by less than 1.
    labels, _ = naive.nearest(colors, image.palette)
    again = naive.means(colors, labels, 8, counts)
    assert np.abs(again - image.palette).max() < 1


@pytest.mark.parametrize("k", [4, 16, 64])
def test_quality_is_that_of_a_patient_lloyd(k):
    picture = photo(10)
    counts = naive.color_counts(picture)
    colors, weights = np.array(list(counts), float), np.array(list(counts.values()), float)
    errors = []
    for seed in range(3):
        start = np.random.default_rng(seed).choice(colors, k, replace=False)
        palette = np.rint(naive.lloyd(colors, weights, start, 60))
        errors.append(naive.inertia(colors, palette, weights) / weights.sum())
    assert quantize(picture, k).report.mse <= 1.02 * min(errors)


@pytest.mark.parametrize("k", [4, 16, 64])
def test_same_start_same_end_as_naive_lloyd(k):
    picture = photo(10)
    counts = naive.color_counts(picture)
    colors, weights = np.array(list(counts), float), np.array(list(counts.values()), float)
    start = np.random.default_rng(0).choice(colors, k, replace=False)
    true = naive.inertia(colors, naive.lloyd(colors, weights, start, 20), weights)
    fit = kmq.kmeans(colors, k, weights, init=start, max_iter=20, tol=0)
    assert fit.inertia == pytest.approx(true, rel=1e-5)
    narrow = kmq.kmeans(colors.astype(np.uint8), k, weights, init=start, max_iter=20, tol=0)
    assert narrow.inertia == pytest.approx(true, rel=1e-5)


def test_more_starts_are_no_worse():
    mses = [
        quantize(photo(), 12, start=kmq.Start("random", n_init=n)).report.mse for n in (1, 2, 5)
    ]
    assert mses[1] <= mses[0] * 1.001  # rounding to the palette may undo a hair's breadth
    assert mses[2] <= mses[1] * 1.001
    assert mses[2] < mses[0]


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_seed_decides(init):
    first = quantize(photo(), 12, start=kmq.Start(init, seed=1))
    assert first == quantize(photo(), 12, start=kmq.Start(init, seed=1))
    assert first != quantize(photo(), 12, start=kmq.Start(init, seed=2))
    assert first.report.seed == 1


def test_every_seed_will_do_where_several_starts_are_searched_from():
    assert quantize(photo(), 4, start=kmq.Start(seed=2**32 - 1)).n_colors == 4


def test_var_part_needs_no_seed():
    assert quantize(photo(), 12, start=kmq.Start("var-part", seed=1)) == quantize(
        photo(), 12, start=kmq.Start("var-part", seed=2)
    )


def test_colors_may_be_the_start():
    picture = photo()
    start = picture.reshape(-1, 3)[::300][:9]
    image = quantize(picture, 9, start=start)
    assert image == quantize(picture, 9, start=kmq.Start(start.astype(float), seed=5))
    assert_sound(image, picture, 9)
    stopped = quantize(picture, 9, start=kmq.Start(start, max_iter=1))
    assert stopped.report.iterations == 1
    assert image.report.mse <= stopped.report.mse


def test_colors_that_are_the_start_say_how_many():
    start = [[0, 0, 0], [250, 0, 0], [0, 250, 0]]
    assert quantize(photo(), start=start) == quantize(photo(), 3, start=start)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA32])
def test_threads_do_not_change_a_bit(pixel_format, n_threads):
    picture = noise(pixel_format, 301, 403)
    alone = quantize(picture, 9, n_threads=1, **FEW_ROUNDS)
    together = quantize(picture, 9, n_threads=n_threads, **FEW_ROUNDS)
    assert together == alone
    assert together.report.mse == alone.report.mse


def test_any_memory_layout_gives_the_same_image():
    picture = photo()
    image = quantize(picture, 20)
    read_only = picture.copy()
    read_only.flags.writeable = False
    for other in (
        read_only,
        np.asfortranarray(picture),
        np.repeat(picture, 2, axis=1)[:, ::2],
        picture[::-1].copy()[::-1],
    ):
        assert quantize(other, 20) == image
    deep = picture.astype(np.uint16) * 257
    assert quantize(deep.astype(">u2"), 20) == quantize(deep.astype("<u2"), 20)


def test_picture_is_left_as_it_is():
    picture = noise(PixelFormat.RGBA32, 20, 20)
    picture[:5, :, 3] = 0
    copy = picture.copy()
    quantize(picture, 5)
    assert np.array_equal(picture, copy)


def test_pillow_image_and_path_are_pictures_too(tmp_path):
    from PIL import Image

    picture = photo()
    image = quantize(picture, 20)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    assert quantize(Image.fromarray(picture), 20) == image
    from_path = quantize(tmp_path / "photo.png", 20)
    assert np.array_equal(from_path.to_array(), image.to_array())
    assert quantize(str(tmp_path / "photo.png"), 20) == from_path


def test_report_tells_what_happened():
    report = quantize(photo(), 20, start=kmq.Start(max_iter=2, tol=0, seed=3)).report
    assert isinstance(report, Report)
    assert (report.colors_out, report.seed) == (20, 3)
    assert (report.iterations, report.converged) == (2, False)
    assert list(report.seconds) == ["histogram", "palette", "indices"]
    assert all(seconds >= 0 for seconds in report.seconds.values())


def test_loose_tolerance_ends_sooner():
    exact = quantize(photo(), 20, start=kmq.Start("random", tol=0))
    loose = quantize(photo(), 20, start=kmq.Start("random", tol=1.0))
    assert loose.report.converged
    assert loose.report.iterations < exact.report.iterations


def test_progress_is_told_and_may_stop_the_work():
    heard = []
    quantize(photo(), 20, progress=lambda *event: heard.append(event))
    assert heard
    assert all(isinstance(stage, str) and 0 < done <= 1 for stage, done in heard)

    class StopError(Exception):
        pass

    def stop(stage, fraction):
        raise StopError

    with pytest.raises(StopError):
        quantize(photo(), 20, progress=stop)
    assert quantize(photo(), 20) == quantize(photo(), 20)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"k": 0}, InputError, "k is 0; it must be from 1 to 65536"),
        ({"k": 65_537}, InputError, "k is 65537; it must be from 1 to 65536"),
        ({"k": "64"}, TypeError, "k is str; it must be a whole number"),
        ({"k": True}, TypeError, "k is a bool"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"seed": 2**32 - 1, "n_init": 2}, InputError, "seed is 4294967295; it must be from 0 to"),
        ({"init": "best"}, InputError, "init is 'best'; it must be 'k-means"),
        ({"init": [[1, 2]]}, InputError, r"init has shape \(1, 2\); it must be \(9, 3\)"),
        ({"n_init": 0}, InputError, "n_init is 0; it must be from 1 to"),
        ({"max_iter": 0}, InputError, "max_iter is 0; it must be from 1 to"),
        ({"tol": -0.1}, InputError, "tol is -0.1; it must be a finite number"),
        ({"tol": "0"}, TypeError, "tol is str"),
        ({"n_threads": 0}, InputError, "n_threads is 0; it must be from 1 to 256"),
        ({"pixel_format": "HSV"}, InputError, "there is no pixel format 'HSV'"),
        ({"picture": np.zeros((4, 4, 5), np.uint8)}, InputError, r"shape \(4, 4, 5\)"),
        ({"picture": np.zeros((0, 4), np.uint8)}, InputError, "0 rows and 4 columns"),
        ({"picture": np.zeros((4, 4))}, InputError, "float64"),
        ({"picture": 5}, TypeError, "int"),
    ],
)
def test_what_cannot_be_used_is_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        quantize(**{"picture": np.zeros((4, 4, 3), np.uint8), "k": 9, **grouped(**options)})


def test_options_are_checked_even_where_nothing_is_clustered():
    flat = np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match="max_iter is 0"):
        quantize(flat, 5, start=kmq.Start(max_iter=0))


@pytest.mark.parametrize("seed", [0, 1])
def test_colors_that_fit_are_kept_exactly_beside_fixed_ones(seed):
    random = np.random.default_rng(seed)
    colors = random.integers(0, 256, (210, 4), np.uint8)
    colors[:, 3] |= 64
    pixels = colors[random.integers(0, len(colors), (60, 60))]
    colors = np.unique(pixels.reshape(-1, 4), axis=0)
    require = kmq.Require(fixed=colors[-20:])
    image = kmq.quantize(pixels, len(colors), space="rgb", require=require)
    np.testing.assert_array_equal(image.to_array(), pixels)


@pytest.mark.parametrize("k", [3, 4])
def test_a_translucent_entry_stays_so_where_the_only_opaque_color_is_fixed(k):
    pixels = np.array([[[200, 9, 9, 255], [2, 3, 4, 69], [80, 3, 7, 130]]], np.uint8)
    image = kmq.quantize(pixels, k, require=kmq.Require(fixed=pixels[0, :1]))
    np.testing.assert_array_equal(image.to_array(), pixels)
