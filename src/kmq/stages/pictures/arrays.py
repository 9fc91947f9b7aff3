"""Arrays → the samples that kmq works on: C order, native bytes, upright, checked."""

from __future__ import annotations

import numpy as np

from kmq.errors import InputError
from kmq.model import alpha
from kmq.model.arrays import Array, contiguous
from kmq.model.image import MAX_COLORS, MAX_SIDE, Metadata, Pixels
from kmq.model.pixel_format import PixelFormat, of_samples

_BLOCK = 1 << 18  # pixels whose colours are told apart at a time


def from_array(picture: Array, wanted: PixelFormat | None) -> Pixels:
    """Check an array and return its pixels; `wanted` alone makes four channels CMYK."""
    _check_shape(picture)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    try:
        pixel_format = of_samples(picture.dtype, channels)
    except KeyError:
        raise InputError(_dtype_message(picture)) from None
    if pixel_format is PixelFormat.RGBA32 and wanted is PixelFormat.CMYK32:
        pixel_format = PixelFormat.CMYK32
    return pixels_of(picture.reshape(*picture.shape[:2], channels), pixel_format, Metadata())


def _check_shape(picture: Array) -> None:
    if picture.ndim not in (2, 3) or not 1 <= (*picture.shape, 1)[2] <= 4:
        hint = ""
        if picture.ndim == 3 and 1 <= picture.shape[0] <= 4 < picture.shape[2]:
            hint = "; if the channels come first, move them with numpy.moveaxis(picture, 0, -1)"
        raise InputError(
            f"picture has shape {picture.shape}; kmq takes (height, width) or "
            f"(height, width, channels) with 1 to 4 channels{hint}"
        )
    height, width = picture.shape[:2]
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InputError(
            f"picture has {height} rows and {width} columns; kmq takes 1 to {MAX_SIDE} of each"
        )


def _dtype_message(picture: Array) -> str:
    if picture.dtype == np.bool_:
        return (
            f"picture is bool with {picture.shape[2]} channels; 1-bit pictures have one: "
            "convert with (255 * picture).astype(numpy.uint8)"
        )
    if picture.dtype.kind == "f":
        remedy = "multiply by 255 if it goes from 0 to 1, round and convert"
    else:
        remedy = "convert to uint8 if its samples go from 0 to 255, to uint16 up to 65535"
    return f"picture is {picture.dtype}; kmq takes uint8, uint16 or bool: {remedy}"


def pixels_of(
    samples: Array, pixel_format: PixelFormat, metadata: Metadata, orientation: int = 1
) -> Pixels:
    """Bring samples (height, width, channels) into the one form the pipeline knows."""
    if samples.dtype == np.bool_:
        # The bytes of a bool array may be other than 0 and 1: Pillow's are 0 and 255.
        samples = (samples.view(np.uint8) != 0).view(np.uint8)
    samples = _upright(samples, orientation)
    samples = contiguous(samples, pixel_format.dtype)
    samples = alpha.cleared(samples, pixel_format).view(np.ndarray)
    samples.flags.writeable = False
    return Pixels(samples, pixel_format, metadata)


def _upright(samples: Array, orientation: int) -> Array:
    """Apply one of the eight EXIF orientations; 1 is upright."""
    if orientation >= 5:  # 5 to 8 are 1, 4, 3 and 2 after the sides have changed places
        samples = _transposed(samples)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    if orientation in (2, 3):
        samples = samples[:, ::-1]
    if orientation in (3, 4):
        samples = samples[::-1]
    return samples


def _transposed(samples: Array) -> Array:
    """Swap rows and columns by blocks of rows, twice as fast as one copy of the whole."""
    height, width, channels = samples.shape
    whole = np.ascontiguousarray(samples).view(f"V{channels * samples.itemsize}")[:, :, 0]
    swapped = np.empty((width, height), whole.dtype)
    for row in range(0, width, 64):
        swapped[row : row + 64] = whole[:, row : row + 64].T
    return swapped.view(samples.dtype).reshape(width, height, channels)


def distinct_colors(rows: Array) -> Array:
    """Return the distinct ones of (n, channels) colours as they come; of too many only some."""
    keys = np.empty(0, np.uint64)
    distinct = rows[:0]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        packed = np.zeros((len(block), 8), np.uint8)
        packed[:, : block.shape[1] * block.itemsize] = np.ascontiguousarray(block).view(np.uint8)
        unique, first = np.unique(packed.view(np.uint64)[:, 0], return_index=True)
        new = ~np.isin(unique, keys, assume_unique=True)
        distinct = np.concatenate([distinct, block[np.sort(first[new])]])
        if len(distinct) > MAX_COLORS:
            break
        keys = np.concatenate([keys, unique[new]])
    return distinct
