"""How far a picture is from its original: squared error, PSNR and SSIM.

Pictures are `(height, width)` or `(height, width, channels)` arrays of one shape, uint8, uint16 or
bool, as `Pixels.samples` and `IndexedImage.to_array` give them. Work is done a block at a time, so
memory stays at a few megabytes whatever the size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from kmq import exact
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.dithering import BAND_ROWS, CHANNELS, bands_of, filled
from kmq.threads import run_chunks

SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels; SSIM is not defined for a shorter side."""

_MSE_SAMPLES = 1 << 18  # per block: its int64 differences fit a second-level cache
_SSIM_TILE = 64  # window positions a side; larger ones multiply more zeros, smaller ones call more


def mse(
    original: np.ndarray[Any, Any], other: np.ndarray[Any, Any], *, has_alpha: bool = False
) -> float:
    """Mean over the pixels of the squared difference, summed over the channels.

    With alpha as the last channel, what is compared is the picture as seen: the mean of the errors
    over a black and over a white background. Without, sums are integers, and exact up to one
    rounding; about 2 ns a sample.
    """
    height, width = map(int, original.shape[:2])
    rows = max(1, _MSE_SAMPLES * height // original.size)
    total = 0.0
    exact = 0
    for top in range(0, height, rows):
        block, other_block = original[top : top + rows], other[top : top + rows]
        if has_alpha:
            total += float(squared_errors(block, other_block, has_alpha=True).sum())
        else:
            difference = block.astype(np.int64)
            difference -= other_block
            exact += int(np.vdot(difference, difference))
    return (total + exact) / (height * width)


def mse_of_labels(
    colors: np.ndarray[Any, Any],
    entries: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    counts: np.ndarray[Any, Any],
) -> float:
    """Return `mse` of a histogram: colours (m, channels), each with the entry of its label.

    Both are samples, or both are coordinates whose squared distance is the squared error.
    """
    if colors.dtype.kind == "f":
        squares = np.square(colors - entries[labels]).sum(axis=1)
        return float((squares * counts).sum()) / int(counts.sum())
    from kmq.kernels.spaces import sum_squares

    return float(sum_squares(colors, entries, labels, counts)) / int(counts.sum())


def mse_of_indices(
    ids: np.ndarray[Any, Any],
    indices: np.ndarray[Any, Any],
    colors: np.ndarray[Any, Any],
    entries: np.ndarray[Any, Any],
    n_threads: int,
) -> float:
    """Return `mse` of a picture whose pixels show the colours `ids`, with entries of its indices.

    `colors` and `entries` are coordinates, as for `mse_of_labels`.
    """
    from kmq.kernels.dither import sum_errors

    rows, entry_rows = filled(colors), filled(entries)
    bands = bands_of(ids.shape[0], BAND_ROWS)
    sums = np.zeros(len(bands))

    def work(band: int) -> None:
        part = slice(*bands[band])
        sums[band] = sum_errors(CHANNELS, ids[part], indices[part], rows, entry_rows)

    run_chunks(work, len(bands), n_threads)
    return float(sums.sum()) / ids.size


def squared_errors(
    original: np.ndarray[Any, Any], other: np.ndarray[Any, Any], *, has_alpha: bool = False
) -> np.ndarray[Any, Any]:
    """Return what `mse` is the mean of: (height, width) float64; of pictures with channels."""
    if has_alpha:
        difference, n_views = as_seen(original) - as_seen(other), 2
    else:
        difference, n_views = original.astype(np.float64) - other, 1
    errors: np.ndarray[Any, Any] = np.square(difference).sum(axis=-1) / n_views
    return errors


def as_seen(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return (height, width, channels), alpha last, over black and then over white, as float64.

    The result has twice the channels there are without alpha.
    """
    top = float(np.iinfo(samples.dtype).max)
    alpha = samples[..., -1:] / top
    over_black = samples[..., :-1] * alpha
    return np.concatenate([over_black, over_black + (1 - alpha) * top], axis=-1)


def psnr(squared_error: float, pixel_format: PixelFormat) -> float:
    """Turn `mse` into decibels: 10 log10(max_value² · channels / mse); infinite for an mse of 0.

    Alpha is no channel here: it shows in the others.
    """
    if squared_error == 0:
        return math.inf
    return float(10 / exact.LOG2_OF_10 * exact.log2(peak_error(pixel_format) / squared_error))


def mse_at(decibels: float, pixel_format: PixelFormat) -> float:
    """Return the `mse` that a PSNR stands for; 0 where it is less than floats hold."""
    return float(peak_error(pixel_format) * exact.exp2(-decibels / 10 * exact.LOG2_OF_10))


def peak_error(pixel_format: PixelFormat) -> int:
    """Return the largest `mse` there can be: that of white for black."""
    return pixel_format.max_value**2 * (pixel_format.channels - pixel_format.has_alpha)


def ssim(
    original: np.ndarray[Any, Any],
    other: np.ndarray[Any, Any],
    max_value: int,
    *,
    has_alpha: bool = False,
) -> float:
    """Mean structural similarity, from -1 to 1, where 1 means equal.

    Wang, Bovik, Sheikh and Simoncelli 2004: an 11 × 11 Gaussian window of σ = 1.5, K1 = 0.01,
    K2 = 0.03, only where the window lies inside the picture; the mean over the channels; with
    alpha, of the picture over black and over white. The same as scikit-image's
    ``structural_similarity`` with ``gaussian_weights=True, use_sample_covariance=False``. About
    40 ns a sample.

    Returns:
        NaN for a picture with a side below 11 pixels.
    """
    height, width = map(int, original.shape[:2])
    inside = SSIM_WINDOW - 1
    if min(height, width) <= inside:
        return math.nan
    total = 0.0
    for top in range(0, height - inside, _SSIM_TILE):
        for left in range(0, width - inside, _SSIM_TILE):
            tile = np.s_[top : top + _SSIM_TILE + inside, left : left + _SSIM_TILE + inside]
            planes = _planes(original[tile], has_alpha)
            total += _ssim_sum(planes, _planes(other[tile], has_alpha), max_value)
    return total / ((height - inside) * (width - inside) * len(planes))


def _planes(tile: np.ndarray[Any, Any], has_alpha: bool) -> np.ndarray[Any, Any]:
    """Return (channels, height, width) float64."""
    samples = tile if tile.ndim == 3 else tile[:, :, np.newaxis]
    if has_alpha:
        samples = as_seen(samples)
    return np.ascontiguousarray(samples.transpose(2, 0, 1), dtype=np.float64)


def _ssim_sum(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], max_value: int) -> float:
    """Sum the index over all channels and window positions of a tile.

    The index needs the two variances only as their sum, so four blurred planes do.
    """
    from kmq.kernels.blur import blur

    planes = np.concatenate((x, y, x * x + y * y, x * y))
    count, height, width = planes.shape
    inside = SSIM_WINDOW - 1
    rows = np.empty((height, width - inside))
    blurred = np.empty((count, height - inside, width - inside))
    blur(planes, _window(), rows, blurred)
    mean_x, mean_y, squares, products = np.split(blurred, 4)
    mean_squares = mean_x * mean_x + mean_y * mean_y
    mean_products = mean_x * mean_y
    c1 = (0.01 * max_value) ** 2
    c2 = (0.03 * max_value) ** 2
    above = (2 * mean_products + c1) * (2 * (products - mean_products) + c2)
    below = (mean_squares + c1) * (squares - mean_squares + c2)
    return float((above / below).sum())


@lru_cache(maxsize=1)
def _window() -> np.ndarray[Any, Any]:
    """Return the weights (SSIM_WINDOW,) of the Gaussian."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = exact.exp2((offsets / SSIM_SIGMA) ** 2 * (-0.5 * exact.LOG2_OF_E))
    weights /= weights.sum()
    return weights
