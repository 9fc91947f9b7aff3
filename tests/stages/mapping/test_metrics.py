import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping import metrics


def noisy_pair(shape, dtype=np.uint8, spread=25):
    rng = np.random.default_rng(sum(shape))
    top = np.iinfo(dtype).max
    original = rng.integers(0, top + 1, shape)
    other = np.clip(original + rng.integers(-spread, spread + 1, shape), 0, top)
    return original.astype(dtype), other.astype(dtype)


def naive_mse(original, other):
    height, width = original.shape[:2]
    return sum((int(a) - int(b)) ** 2 for a, b in zip(original.flat, other.flat, strict=True)) / (
        height * width
    )


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((7, 5), np.uint8), ((1, 1, 3), np.uint8), ((9, 4, 4), np.uint16), ((3, 300, 2), np.uint8)],
)
def test_mse_sums_over_channels(shape, dtype):
    original, other = noisy_pair(shape, dtype)
    assert metrics.mse(original, other) == naive_mse(original, other)


def test_mse_of_1_bit_counts_differing_pixels():
    original = np.zeros((4, 5), np.bool_)
    other = original.copy()
    other[1, 2] = other[3, 4] = True
    assert metrics.mse(original, other) == 2 / 20


def test_mse_of_the_widest_samples_does_not_overflow():
    black = np.zeros((1100, 300, 3), np.uint16)
    assert metrics.mse(black, np.full_like(black, 65535)) == 3 * 65535**2


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 500))
def test_mse_does_not_depend_on_the_block(height, width, channels, block):
    original, other = noisy_pair((height, width, channels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_MSE_SAMPLES", block)
        assert metrics.mse(original, other) == naive_mse(original, other)


def test_psnr_of_known_errors():
    assert metrics.psnr(255**2 * 3, PixelFormat.RGB24) == 0
    assert metrics.psnr(65535**2 / 1000, PixelFormat.GREY16) == pytest.approx(30)
    assert metrics.psnr(0, PixelFormat.GREY8) == math.inf


@pytest.mark.parametrize("decibels", [0, 31.7, 90])
def test_mse_at_a_psnr_has_that_psnr(decibels):
    for pixel_format in PixelFormat:
        found = metrics.psnr(metrics.mse_at(decibels, pixel_format), pixel_format)
        assert found == pytest.approx(decibels, abs=1e-9)
    assert metrics.mse_at(1e308, PixelFormat.RGB24) == 0
