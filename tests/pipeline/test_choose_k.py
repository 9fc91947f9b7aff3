"""Targets instead of a number of colours: quantize(psnr=…), choose_k, error_curve."""

import math
from functools import partial

import numpy as np
import pytest

import kmq
import naive
from grouped import grouped
from kmq import InputError, PixelFormat
from kmq import options as options_module

quantize = partial(kmq.quantize, space="rgb")


def gradient(pixel_format=PixelFormat.RGB24, height=40, width=48, seed=0):
    """Smooth ramps with noise: many colours, none of them opaque where there is alpha."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    ramps = [row * column, np.sqrt(row), 1 - column, 0.2 + 0.5 * row]
    shares = np.stack(ramps[: pixel_format.channels], axis=2)
    shares += rng.normal(0, 0.03, shares.shape)
    samples = np.clip(shares, 0, 1) * pixel_format.max_value
    return np.round(samples).astype(pixel_format.dtype)


FORMATS = [PixelFormat.from_label(label) for label in ("L", "L16", "RGB", "RGBA", "RGB48", "CMYK")]


def color_channels(pixel_format):
    """Those that PSNR counts: alpha shows in the others."""
    return pixel_format.channels - pixel_format.has_alpha


def per_format(function):
    return pytest.mark.parametrize("pixel_format", FORMATS, ids=lambda found: found.label)(function)


# --- quantize with a target ----------------------------------------------------------------------


@per_format
def test_a_psnr_is_reached_with_about_the_fewest_colours(pixel_format):
    picture = gradient(pixel_format)
    image = quantize(picture, k=kmq.Fewest(psnr=28), pixel_format=pixel_format)
    assert image.report.psnr >= 28
    # Searches are not perfectly monotone in k, so all that are well below have to miss.
    k = image.n_colors
    fewest = next(
        fewer
        for fewer in range(1, k + 1)
        if quantize(picture, fewer, pixel_format=pixel_format).report.psnr >= 28
    )
    assert fewest > 1
    assert k <= math.ceil(1.02 * fewest) + 1


@per_format
def test_an_error_is_the_same_target_in_other_words(pixel_format):
    picture = gradient(pixel_format)
    peak = pixel_format.max_value**2 * color_channels(pixel_format)
    by_error = quantize(picture, k=kmq.Fewest(max_mse=peak / 10**2.6), pixel_format=pixel_format)
    assert by_error.report.mse <= peak / 10**2.6
    assert by_error == quantize(picture, k=kmq.Fewest(psnr=26), pixel_format=pixel_format)


@pytest.mark.parametrize("effort", ["fast", "balanced", "best"])
def test_every_effort_reaches_the_target(effort):
    picture = gradient()
    image = quantize(picture, k=kmq.Fewest(psnr=30), effort=effort)
    error = image.to_array().astype(float) - picture
    mse = np.square(error).sum(axis=2).mean()
    assert naive.psnr(mse, 255, 3) >= 30
    assert image.n_colors < 0.2 * len(np.unique(picture.reshape(-1, 3), axis=0))


def test_plain_k_means_reaches_a_target_too():
    image = quantize(gradient(), k=kmq.Fewest(psnr=27), start=kmq.Start("k-means++", seed=4))
    assert image.report.psnr >= 27
    assert image == quantize(
        gradient(), k=kmq.Fewest(psnr=27), start=kmq.Start("k-means++", seed=4), n_threads=1
    )


def test_a_high_target_ends_with_the_exact_picture():
    picture = gradient(PixelFormat.GREY8)
    for target in ({"psnr": 300}, {"max_mse": 0}):
        image = quantize(picture, kmq.Fewest(**target))
        assert np.array_equal(image.to_array(), picture[:, :, 0])
        assert image.n_colors == len(np.unique(picture))


def test_a_target_beyond_what_floats_reach_is_the_exact_picture():
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(quantize(picture, k=kmq.Fewest(psnr=4000)).to_array(), picture)


def test_one_colour_is_enough_for_a_low_target():
    assert quantize(gradient(), k=kmq.Fewest(psnr=0)).n_colors == 1
    assert quantize(np.full((3, 3), 7, np.uint8), k=kmq.Fewest(psnr=99)).n_colors == 1


def test_max_colors_caps_what_a_target_takes():
    picture = gradient()
    assert quantize(picture, k=kmq.Fewest(psnr=60, max_colors=12)).n_colors == 12
    free = quantize(picture, k=kmq.Fewest(psnr=25))
    assert quantize(picture, k=kmq.Fewest(psnr=25, max_colors=free.n_colors + 50)).report.psnr >= 25


def test_what_a_palette_cannot_reach_is_refused(monkeypatch):
    monkeypatch.setattr(options_module, "MAX_COLORS", 16)  # 65,536 take long to find out
    with pytest.raises(InputError, match=r"16 colours reach an error of .* 0 was asked for"):
        quantize(gradient(), k=kmq.Fewest(max_mse=0))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"fewest": {}}, "Fewest has neither of psnr and max_mse"),
        ({"fewest": {"max_colors": 9}}, "Fewest has neither of psnr and max_mse"),
        ({"fewest": {"psnr": 30, "max_mse": 30}}, "Fewest has both of psnr and max_mse"),
        ({"fewest": {"psnr": 30}, "init": np.zeros((4, 3))}, "start and k=Fewest are both given"),
        ({"k": 4, "init": "var-part", "effort": "best"}, "start and effort are both given"),
        ({"fewest": {"psnr": -1}}, "psnr is -1"),
        ({"fewest": {"psnr": math.inf}}, "psnr is inf"),
        ({"fewest": {"max_mse": math.nan}}, "max_mse is nan"),
        ({"fewest": {"max_mse": 10**400}}, "it must be a finite number"),
        ({"fewest": {"psnr": 30, "max_colors": 0}}, "max_colors is 0"),
        ({"fewest": {"psnr": 30, "max_colors": 65_537}}, "max_colors is 65537"),
    ],
)
def test_options_that_contradict_each_other_or_mean_nothing(options, fault):
    with pytest.raises(InputError, match=fault):
        quantize(gradient(), **grouped(**options))


@pytest.mark.parametrize("options", [{"psnr": "high"}, {"psnr": 30j}, {"max_mse": True}])
def test_targets_are_numbers(options):
    with pytest.raises(TypeError, match="must be a number"):
        kmq.Fewest(**options)


# --- choose_k ------------------------------------------------------------------------------------


@per_format
def test_choose_k_agrees_with_quantize(pixel_format):
    picture = gradient(pixel_format)
    k = kmq.choose_k(picture, k=kmq.Fewest(psnr=29), pixel_format=pixel_format)
    assert k == quantize(picture, k=kmq.Fewest(psnr=29), pixel_format=pixel_format).n_colors
    assert quantize(picture, k, pixel_format=pixel_format).report.psnr >= 29


def test_choose_k_takes_an_error_and_an_effort():
    k = kmq.choose_k(gradient(), k=kmq.Fewest(max_mse=150.0), effort="fast", n_threads=1)
    assert quantize(gradient(), k, effort="fast").report.mse <= 150
    assert kmq.choose_k(gradient(), k=kmq.Fewest(max_mse=0)) == len(
        np.unique(gradient().reshape(-1, 3), axis=0)
    )


def test_choose_k_refuses_what_max_colors_do_not_reach():
    with pytest.raises(InputError, match=r"5 colours reach an error of .* was asked for"):
        kmq.choose_k(gradient(), k=kmq.Fewest(psnr=40, max_colors=5))


def test_choose_k_checks_its_options():
    with pytest.raises(TypeError, match=r"k is int; choose_k needs a kmq\.Fewest"):
        kmq.choose_k(gradient(), 9)
    with pytest.raises(InputError, match="effort is 'most'"):
        kmq.choose_k(gradient(), kmq.Fewest(psnr=30), effort="most")


# --- error_curve ---------------------------------------------------------------------------------


@per_format
def test_the_curve_falls_and_lies_close_above_what_quantize_finds(pixel_format):
    picture = gradient(pixel_format)
    curve = kmq.error_curve(picture, 60, pixel_format=pixel_format)
    assert curve.k[0] == 1
    assert curve.k[-1] == 60
    assert (np.diff(curve.k) > 0).all()
    assert (np.diff(curve.k) <= np.maximum(1, curve.k[:-1] // 4)).all()
    assert (np.diff(curve.mse) < 0).all()
    for k, mse, psnr in zip(curve.k.tolist(), curve.mse, curve.psnr, strict=True):
        assert psnr == pytest.approx(
            naive.psnr(mse, pixel_format.max_value, color_channels(pixel_format))
        )
        if k in (1, 4, 8, 22, 60):
            found = quantize(picture, k, pixel_format=pixel_format).report.mse
            # Samples are whole numbers, which the curve's means are not.
            rounding = pixel_format.channels / 4
            assert 0.99 * found - rounding <= mse <= 1.1 * found


def test_the_curve_ends_exactly_where_the_colours_do():
    picture = gradient(PixelFormat.GREY8)
    n_colors = len(np.unique(picture))
    curve = kmq.error_curve(picture, n_colors)
    assert curve.k[-1] == n_colors
    assert curve.mse[-1] == 0
    assert curve.psnr[-1] == math.inf
    assert np.isfinite(curve.psnr[:-1]).all()
    longer = kmq.error_curve(picture, 1000)
    assert longer.k[-1] == n_colors
    assert longer.mse[-1] == 0


def test_the_curve_of_a_single_colour_is_a_point():
    curve = kmq.error_curve(np.full((4, 4, 3), 9, np.uint8))
    assert (curve.k.tolist(), curve.mse.tolist(), curve.knee) == ([1], [0.0], 1)


def test_the_knee_is_where_the_clusters_are_used_up():
    rng = np.random.default_rng(0)
    centres = np.array([[30, 30, 30], [220, 40, 40], [40, 220, 60], [60, 50, 210], [220, 220, 60]])
    blobs = centres[rng.integers(0, 5, (40, 40))] + rng.integers(-6, 7, (40, 40, 3))
    curve = kmq.error_curve(blobs.astype(np.uint8), 64)
    assert curve.knee == 5


@per_format
def test_the_knee_is_the_point_farthest_below_the_line_between_the_ends(pixel_format):
    curve = kmq.error_curve(gradient(pixel_format), 100, pixel_format=pixel_format)
    assert curve.k[0] < curve.knee < curve.k[-1]
    x = (curve.k - curve.k[0]) / np.ptp(curve.k)
    root = np.sqrt(curve.mse)
    y = (root - root[-1]) / np.ptp(root)
    assert curve.knee == curve.k[np.argmax(1 - x - y)]


def test_the_curve_does_not_depend_on_threads():
    one, two = (kmq.error_curve(gradient(), 80, n_threads=n) for n in (1, 2))
    assert np.array_equal(one.mse, two.mse)


def test_the_curve_tells_its_progress():
    heard = []
    curve = kmq.error_curve(gradient(), 80, progress=lambda *told: heard.append(told))
    assert heard == [("curve", k / 80) for k in curve.k]


def test_the_curve_checks_its_options():
    for most in (0, 65_537):
        with pytest.raises(InputError, match=f"max_colors is {most}"):
            kmq.error_curve(gradient(), most)
    with pytest.raises(TypeError, match="max_colors is float"):
        kmq.error_curve(gradient(), 2.5)
