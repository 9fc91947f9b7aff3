import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from images import indexed_image
from kmq import display
from kmq.cli.swatches import displayed
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat


def samples(pixel_format, height=23, width=31):
    image = indexed_image(pixel_format, 300, height, width)
    return image.palette[image.indices]


def shown(html):
    """The picture in what a notebook shows."""
    png = re.search(r'src="data:image/png;base64,([^"]+)"', html)[1]
    return Image.open(io.BytesIO(base64.b64decode(png)))


def with_profile(kind, pixel_format):
    profile = bytes(16) + kind + bytes(108)
    image = indexed_image(pixel_format, 9, 8, 8)
    return IndexedImage(image.palette, image.indices, pixel_format, Metadata(icc_profile=profile))


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_colours_are_those_a_terminal_shows(pixel_format):
    palette = indexed_image(pixel_format, 40, 4, 4).palette
    colors = display.screen_colors(palette, pixel_format).astype(float)
    if pixel_format.has_alpha:
        alpha = colors[:, 3:] / 255
        colors = colors[:, :3] * alpha + 255 * (1 - alpha)
    expected = [displayed(entry, pixel_format) for entry in palette.tolist()]
    assert np.abs(colors - expected).max() < 1.5


def test_sixteen_bits_are_rounded_to_eight():
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    eight = np.asarray(display.to_screen(levels, PixelFormat.GREY16))
    assert np.array_equal(eight, np.round(levels[:, :, 0] / 257).astype(np.uint8))


def test_css_colours():
    opaque = np.array([[1, 2, 255], [0, 128, 16]], np.uint8)
    assert display.css_colors(opaque, PixelFormat.RGB24) == ["#0102ff", "#008010"]
    grey = np.array([[7, 0], [255, 51]], np.uint8)
    assert display.css_colors(grey, PixelFormat.GREY8_ALPHA) == ["#07070700", "#ffffff33"]


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("by", [1, 2, 5])
def test_shrinking_does_not_show_the_bands_it_is_done_in(pixel_format, by, monkeypatch):
    picture = samples(pixel_format)
    image = indexed_image(pixel_format, 300, 23, 31)
    whole = display.to_screen(picture, pixel_format).reduce(by)
    monkeypatch.setattr(display, "_BAND_PIXELS", 100)
    assert np.array_equal(display.shrunk_samples(picture, pixel_format, by), whole)
    assert np.array_equal(display.shrunk_image(image, by), whole)


def test_shrinking_averages_blocks():
    picture = samples(PixelFormat.GREY8, 4, 6)
    means = picture[:, :, 0].reshape(2, 2, 3, 2).mean(axis=(1, 3))
    small = np.asarray(display.shrunk_samples(picture, PixelFormat.GREY8, 2), float)
    assert np.abs(small - means).max() <= 0.5


@pytest.mark.parametrize(
    ("height", "width", "by"), [(10, 10, 1), (100, 100, 1), (100, 101, 2), (1, 90_000, 11)]
)
def test_the_divisor_bounds_area_and_sides(height, width, by):
    assert display.divisor(height, width, 10_000 if height > 1 else 1 << 20) == by


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("n_colors", [7, 300])
def test_notebooks_show_every_pixel_format(pixel_format, n_colors):
    image = indexed_image(pixel_format, n_colors, 19, 23)
    html = image._repr_html_()
    expected = display.to_screen(image.palette[image.indices], pixel_format)
    for picture in (shown(html), Image.open(io.BytesIO(image._repr_png_()))):
        assert np.array_equal(picture.convert("RGBA"), expected.convert("RGBA"))
    swatches = re.findall(r'<span title="(\d+): (#\w+)"', html)
    colors = display.css_colors(image.palette[:256], pixel_format)
    assert swatches == [(str(position), color) for position, color in enumerate(colors)]
    assert ("and 44 more colours" in html) == (n_colors == 300)
    assert f"23x19 {pixel_format.label}, {n_colors} colours" in html


def test_notebooks_show_large_pictures_small():
    indices = np.random.default_rng(0).integers(0, 256, (1600, 1400), dtype=np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    html = IndexedImage(palette, indices, PixelFormat.RGB24)._repr_html_()
    assert shown(html).size == (467, 534)
    assert "shown at 1/3 of its size" in html
    assert len(html) < 1_200_000  # of noise, which is the worst


def test_notebooks_magnify_small_pictures():
    html = indexed_image(PixelFormat.RGB24, 4, 8, 16)._repr_html_()
    assert "width:256px" in html
    assert "image-rendering:pixelated" in html


def test_lost_rows_are_said():
    image = indexed_image(PixelFormat.RGB24, 4, 8, 16)
    damaged = IndexedImage(image.palette, image.indices, image.pixel_format, lost=((2, 5),))
    assert "3 rows lost" in damaged._repr_html_()


@pytest.mark.parametrize(
    ("kind", "pixel_format", "is_kept"),
    [
        (b"RGB ", PixelFormat.RGB24, True),
        (b"RGB ", PixelFormat.RGBA64, True),
        (b"CMYK", PixelFormat.CMYK32, False),
        (b"GRAY", PixelFormat.GREY8, False),
    ],
)
def test_a_colour_profile_is_kept_where_it_fits(kind, pixel_format, is_kept):
    image = with_profile(kind, pixel_format)
    with Image.open(io.BytesIO(image._repr_png_())) as picture:
        assert ("icc_profile" in picture.info) == is_kept


def test_notebooks_need_no_kernel():
    script = (
        "import sys, numpy, kmq\n"
        "indices = numpy.zeros((600, 600), 'u1')\n"
        "image = kmq.IndexedImage(numpy.zeros((1, 3), 'u1'), indices, kmq.PixelFormat.RGB24)\n"
        "image._repr_html_(), image._repr_png_()\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
