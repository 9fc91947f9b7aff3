"""How far a picture is from its original: squared error and PSNR.

Pictures are `(height, width)` or `(height, width, channels)` arrays of one shape, uint8, uint16 or
bool, as `Pixels.samples` and `IndexedImage.to_array` give them. Work is done a block at a time, so
memory stays at a few megabytes whatever the size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kmq import exact
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.dithering import BAND_ROWS, CHANNELS, bands_of, filled
from kmq.threads import run_chunks

_MSE_SAMPLES = 1 << 18  # per block: its int64 differences fit a second-level cache


def mse(
    original: np.ndarray[Any, Any], other: np.ndarray[Any, Any], *, has_alpha: bool = False
) -> float:
    """Mean over the pixels of the squared difference, summed over the channels.

    With alpha as the last channel, pictures are compared as seen: the mean of the errors over a
    black and over a white background. Without, sums are integers, and exact up to one rounding.
    About 2 ns per sample.
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
    return 10 / exact.LOG2_OF_10 * exact.log2_of(peak_error(pixel_format) / squared_error)


def mse_at(decibels: float, pixel_format: PixelFormat) -> float:
    """Return the `mse` that a PSNR stands for; 0 where it is less than floats hold."""
    return float(peak_error(pixel_format) * exact.exp2(-decibels / 10 * exact.LOG2_OF_10))


def peak_error(pixel_format: PixelFormat) -> int:
    """Return the largest `mse` there can be: that of white for black."""
    return pixel_format.max_value**2 * (pixel_format.channels - pixel_format.has_alpha)
