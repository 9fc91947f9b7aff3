import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from kmq.model.pixel_format import PixelFormat
from kmq.stages.histogram import counting
from kmq.stages.histogram.counting import map_colors, map_labels


def noise(pixel_format, height, width, n_levels, seed=0):
    """Samples of up to `n_levels` values per channel, the smallest and the largest among them."""
    random = np.random.default_rng(seed)
    levels = np.linspace(0, pixel_format.max_value, n_levels).astype(pixel_format.dtype)
    return levels[random.integers(0, n_levels, (height, width, pixel_format.channels))]


def assert_true_map(color_map, samples):
    histogram = color_map.histogram
    assert np.array_equal(histogram.colors[color_map.ids], samples)
    assert histogram.colors.dtype == samples.dtype
    assert histogram.counts.dtype == np.int64
    counts = dict(
        zip(map(tuple, histogram.colors.tolist()), histogram.counts.tolist(), strict=True)
    )
    assert counts == naive.color_counts(samples)
    assert len(counts) == len(histogram.colors)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@settings(max_examples=15, deadline=None)
@given(
    height=st.sampled_from([1, 2, 7]),
    width=st.sampled_from([1, 3, 40]),
    n_levels=st.sampled_from([1, 2, 5, 256]),
    seed=st.integers(0, 1000),
)
def test_colors_are_counted_in_morton_order(pixel_format, height, width, n_levels, seed):
    n_levels = min(n_levels, pixel_format.max_value + 1)
    samples = noise(pixel_format, height, width, n_levels, seed)
    color_map = map_colors(samples, pixel_format, 1)
    assert_true_map(color_map, samples)
    assert color_map.histogram.pixel_format is pixel_format
    keys = [naive.morton_key(color) for color in color_map.histogram.colors.tolist()]
    assert color_map.keys.tolist() == keys == sorted(keys)


@pytest.mark.parametrize(
    ("pixel_format", "n_levels"),
    [
        (PixelFormat.GREY8, 256),
        (PixelFormat.GREY16, 65_536),
        (PixelFormat.RGB24, 3),
        (PixelFormat.RGB24, 256),
        (PixelFormat.RGBA32, 256),
        (PixelFormat.RGBA64, 65_536),
    ],
)
def test_large_picture_is_counted_alike_by_any_number_of_threads(pixel_format, n_levels):
    samples = noise(pixel_format, 523, 601, n_levels)
    alone = map_colors(samples, pixel_format, 1)
    assert np.array_equal(alone.histogram.colors[alone.ids], samples)
    assert np.array_equal(np.bincount(alone.ids.ravel()), alone.histogram.counts)
    assert np.all(alone.keys[1:] > alone.keys[:-1])  # as Morton order has them: above
    together = map_colors(samples, pixel_format, 3)
    assert np.array_equal(together.ids, alone.ids)
    assert np.array_equal(together.keys, alone.keys)
    assert np.array_equal(together.histogram.counts, alone.histogram.counts)


@pytest.mark.parametrize(
    "pixel_format",
    [PixelFormat.BILEVEL, PixelFormat.GREY16, PixelFormat.GREY8_ALPHA, PixelFormat.RGB24],
)
def test_few_pixels_are_counted_as_many_are(pixel_format, monkeypatch):
    samples = noise(pixel_format, 20, 33, min(256, pixel_format.max_value + 1))
    few = map_colors(samples, pixel_format, 1)
    monkeypatch.setattr(counting, "_FEW_PIXELS", 0)
    many = map_colors(samples, pixel_format, 1)
    assert_true_map(many, samples)
    assert many.keys.dtype == few.keys.dtype
    assert np.array_equal(many.keys, few.keys)
    assert np.array_equal(many.ids, few.ids)


def test_every_grey_of_16_bits_is_told_apart():
    samples = np.arange(65_536, dtype=np.uint16)[::-1].reshape(256, 256, 1).copy()
    color_map = map_colors(samples, PixelFormat.GREY16, 2)
    assert color_map.histogram.colors[:, 0].tolist() == list(range(65_536))
    assert set(color_map.histogram.counts.tolist()) == {1}
    assert np.array_equal(color_map.ids, samples[:, :, 0])


def test_colors_that_differ_in_one_bit_of_64_are_told_apart():
    bits = np.zeros((1, 64, 4), np.uint16)
    for bit in range(64):
        bits[0, bit, bit // 16] = 1 << bit % 16
    color_map = map_colors(bits, PixelFormat.RGBA64, 1)
    assert_true_map(color_map, bits)
    assert len(color_map.keys) == 64


@pytest.mark.parametrize(("n_colors", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_labels_reach_the_pixels(n_colors, dtype, n_threads):
    random = np.random.default_rng(1)
    labels = random.integers(0, n_colors, 1000, dtype=np.int32)
    ids = random.integers(0, 1000, (1401, 403), dtype=np.uint32)
    indices = map_labels(ids, labels, n_colors, n_threads)
    assert indices.dtype == dtype
    assert np.array_equal(indices, labels[ids])
