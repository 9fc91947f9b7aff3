"""Coordinates that colours are clustered in."""

from itertools import product

import numpy as np
import pytest
from skimage.color import rgb2lab

import naive
from kmq.model.pixel_format import PixelFormat
from kmq.stages.palette import spaces
from kmq.stages.palette.spaces import SPACES, Space


def noise(pixel_format, n=400, seed=0):
    random = np.random.default_rng(seed)
    colors = random.integers(0, pixel_format.max_value + 1, (n, pixel_format.channels))
    colors[0], colors[1] = 0, pixel_format.max_value
    if pixel_format.has_alpha:
        colors[colors[:, -1] == 0] = 0
    return colors.astype(pixel_format.dtype)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_there_and_back(name, pixel_format):
    if pixel_format is PixelFormat.CMYK32 and name != "rgb":
        return
    space = Space(name, pixel_format)
    colors = noise(pixel_format)
    assert np.array_equal(space.nearest_samples(space.forward(colors)), colors)
    weighted = Space(name, pixel_format, tuple(range(1, pixel_format.channels + 1)))
    assert np.array_equal(weighted.nearest_samples(weighted.forward(colors)), colors)


def test_rgb_is_the_samples():
    space = Space("rgb", PixelFormat.RGB24)
    assert space.is_identity
    assert np.array_equal(space.forward(noise(PixelFormat.RGB24)), noise(PixelFormat.RGB24))


def test_linear_is_light():
    space = Space("linear", PixelFormat.RGB24)
    light = space.forward(np.array([[0, 188, 255]], np.uint8)) / 255
    np.testing.assert_allclose(light, [[0, 0.5028865, 1]], atol=1e-6)


def test_oklab_is_that_of_its_author():
    space = Space("oklab", PixelFormat.RGB24)
    colors = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    known = [
        [1, 0, 0],
        [0.627955, 0.224863, 0.125846],
        [0.866440, -0.233888, 0.179498],
        [0.452014, -0.032457, -0.311528],
    ]
    own = space.forward(colors) / 255
    np.testing.assert_allclose(own, known, atol=2e-5)


def test_lab_is_that_of_scikit_image():
    colors = noise(PixelFormat.RGB24)
    own = Space("lab", PixelFormat.RGB24).forward(colors) * 100 / 255
    np.testing.assert_allclose(own, rgb2lab(colors[None])[0], atol=0.02)


@pytest.mark.parametrize("name", SPACES)
def test_16_bits_and_grey_are_the_same_colours(name):
    colors = noise(PixelFormat.RGB24)
    narrow = Space(name, PixelFormat.RGB24).forward(colors) / 255
    wide = Space(name, PixelFormat.RGB48).forward(colors.astype(np.uint16) * 257) / 65535
    np.testing.assert_allclose(wide, narrow, atol=1e-9)
    grey = noise(PixelFormat.GREY8)
    lightness = Space(name, PixelFormat.GREY8).forward(grey)
    as_rgb = Space(name, PixelFormat.RGB24).forward(grey.repeat(3, axis=1))
    np.testing.assert_allclose(lightness[:, 0], as_rgb[:, 0], atol=0.03)


@pytest.mark.parametrize(
    "pixel_format",
    [PixelFormat.GREY8_ALPHA, PixelFormat.GREY16_ALPHA, PixelFormat.RGBA32, PixelFormat.RGBA64],
)
def test_alpha_is_what_is_seen_over_black_and_white(pixel_format):
    colors, others = noise(pixel_format, seed=1), noise(pixel_format, seed=2)
    space = Space("rgb", pixel_format)
    own = np.square(space.forward(colors) - space.forward(others)).sum(axis=1)
    seen = np.square(naive.as_seen(colors) - naive.as_seen(others)).sum(axis=1)
    np.testing.assert_allclose(own, seen, rtol=1e-9)


@pytest.mark.parametrize("name", ["eye", "oklab", "lab", "linear"])
def test_rounding_takes_the_nearest_colour_around(name):
    space = Space(name, PixelFormat.RGB24)
    random = np.random.default_rng(3)
    coordinates = space.forward(random.uniform(3, 250, (20, 3)))
    rounded = space.nearest_samples(coordinates)
    plain = np.rint(space.inverse(coordinates))
    for point, middle, found in zip(coordinates, plain, rounded, strict=True):
        around = middle + np.array(list(product((-1, 0, 1), repeat=3)))
        errors = np.square(space.forward(around) - point).sum(axis=1)
        own = np.square(space.forward(found[None]) - point).sum()
        assert own == pytest.approx(errors.min())


@pytest.mark.parametrize("name", SPACES)
def test_posterized_samples_are_multiples_or_white(name):
    space = Space(name, PixelFormat.RGB24)
    rounded = space.nearest_samples(space.forward(noise(PixelFormat.RGB24)), 16)
    assert np.all((rounded % 16 == 0) | (rounded == 255))
    assert 255 in rounded


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("pixel_format", [f for f in PixelFormat if f is not PixelFormat.CMYK32])
def test_columns_are_the_coordinates_as_float32(name, pixel_format):
    space = Space(name, pixel_format, tuple(range(1, pixel_format.channels + 1)))
    colors = noise(pixel_format)
    columns = space.columns(colors, 2)
    assert columns.dtype == np.float32
    expected = space.forward(colors)
    np.testing.assert_allclose(columns.T, expected, rtol=1e-6, atol=1e-6 * space.contrast)
    if pixel_format.has_alpha:
        opaque = colors[:, -1] == pixel_format.max_value
        assert (columns[-1, opaque] == np.float32(space.opaque)).all()


def test_columns_are_the_same_in_several_chunks():
    space = Space("eye", PixelFormat.RGBA32)
    colors = np.random.default_rng(0).integers(0, 256, (spaces._CHUNK + 9, 4), np.uint8)
    columns = space.columns(colors, 2)
    assert (columns[:, -40:] == space.columns(colors[-40:], 1)).all()


def test_the_axes_of_the_eye_are_those_of_xyb_weighed():
    space = Space("eye", PixelFormat.RGB24)
    known = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0.2, 0.5, 0.1]])
    mixed = known @ np.array([[0.3, 0.23, 0.2434], [0.622, 0.692, 0.2048], [0.078, 0.078, 0.5518]])
    long, medium, short = np.cbrt(mixed + 0.0037930733).T - np.cbrt(0.0037930733)
    x, y = (long - medium) / 2, (long + medium) / 2
    expected = np.stack([y, 8 * x, short - y], axis=1) / (np.cbrt(1.0037930733) - 0.15595)
    light = space._samples(expected * 255)
    np.testing.assert_allclose(space.forward(light) / 255, expected, atol=1e-4)
    white = space.forward(np.full((1, 3), 255.0))
    np.testing.assert_allclose(white, [[255, 0, 0]], atol=1e-3)


@pytest.mark.parametrize("pixel_format", [f for f in PixelFormat if f.has_alpha])
def test_coordinates_in_any_order_in_memory_round(pixel_format):
    space = Space("rgb", pixel_format)
    colors = noise(pixel_format)
    coordinates = np.asfortranarray(space.forward(colors))
    assert np.array_equal(space.nearest_samples(coordinates), colors)
