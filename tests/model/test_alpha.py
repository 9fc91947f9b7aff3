"""What is opaque, translucent or transparent, and which entries each may have."""

import numpy as np
import pytest

from kmq.model import alpha
from kmq.model.pixel_format import PixelFormat

WITH_ALPHA = [pixel_format for pixel_format in PixelFormat if pixel_format.has_alpha]


@pytest.mark.parametrize("pixel_format", WITH_ALPHA)
def test_the_last_sample_says_what_a_colour_is(pixel_format):
    top = pixel_format.max_value
    colors = np.full((2, 2, pixel_format.channels), 1, pixel_format.dtype)
    colors[..., -1] = [[top, 0], [1, top - 1]]
    assert alpha.kinds(colors, pixel_format).tolist() == [
        [alpha.OPAQUE, alpha.TRANSPARENT],
        [alpha.TRANSLUCENT, alpha.TRANSLUCENT],
    ]


def test_colours_without_alpha_are_opaque():
    colors = np.array([[0, 0, 0, 0], [255, 255, 255, 255]], np.uint8)
    assert (alpha.kinds(colors, PixelFormat.CMYK32) == alpha.OPAQUE).all()


def test_colours_have_entries_of_their_kind_if_there_are_any():
    entry_kinds = np.array([alpha.TRANSPARENT, alpha.OPAQUE, alpha.TRANSLUCENT, alpha.OPAQUE])
    assert alpha.allowed_entries(alpha.OPAQUE, entry_kinds).tolist() == [1, 3]
    assert alpha.allowed_entries(alpha.TRANSPARENT, entry_kinds).tolist() == [0]
    assert alpha.allowed_entries(alpha.TRANSLUCENT, entry_kinds).tolist() == [0, 1, 2, 3]
    assert alpha.allowed_entries(alpha.OPAQUE, entry_kinds[[0, 2]]).tolist() == [0, 1]


@pytest.mark.parametrize("pixel_format", WITH_ALPHA)
def test_transparent_colours_are_cleared(pixel_format):
    colors = np.arange(6 * pixel_format.channels, dtype=pixel_format.dtype)
    colors = colors.reshape(2, 3, -1) + 1
    assert alpha.cleared(colors, pixel_format) is colors
    colors[1, :2, -1] = 0
    cleared = alpha.cleared(colors, pixel_format)
    assert not cleared[1, :2].any()
    assert np.array_equal(cleared[0], colors[0])
    assert np.array_equal(cleared[1, 2], colors[1, 2])
