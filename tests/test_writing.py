"""Pictures written to files are the same when they are read, or refused."""

import struct

import numpy as np
import pytest
from PIL import Image

from images import exif_of, indexed_image
from kmq.errors import InputError
from kmq.model import IndexedImage, Metadata, PixelFormat
from kmq.stages.pixels import indexed_from_pillow, read_pixels
from kmq.stages.writing import save_picture

NO_METADATA = Metadata()
LOSSLESS = {
    ".png": set(PixelFormat) - {PixelFormat.CMYK32},
    ".tif": set(PixelFormat),
    ".tiff": set(PixelFormat),
    ".webp": {PixelFormat.RGB24, PixelFormat.RGBA32},
    ".bmp": {PixelFormat.BILEVEL, PixelFormat.GREY8, PixelFormat.RGB24},
    ".ppm": {PixelFormat.RGB24},
    ".pgm": {PixelFormat.GREY8, PixelFormat.GREY16},
    ".pbm": {PixelFormat.BILEVEL},
    ".jpg": set(),
    ".kmq": set(),
    "": set(),
}


def visible_image(pixel_format, n_colors, metadata=NO_METADATA):
    """An image without hidden colours, so that reading changes nothing."""
    image = indexed_image(pixel_format, n_colors, 11, 13)
    palette = image.palette.copy()
    if pixel_format.has_alpha:
        palette[:, -1] = np.maximum(palette[:, -1], 1)
        palette[0] = 0
    return IndexedImage(palette, image.indices, pixel_format, metadata)


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_saved_picture_is_the_same_or_refused(tmp_path, pixel_format, extension):
    path = tmp_path / f"saved{extension.upper()}"
    for n_colors in (2, 5, 300):
        image = visible_image(pixel_format, n_colors)
        if pixel_format in LOSSLESS[extension]:
            save_picture(image, path)
            pixels = read_pixels(path)
            assert pixels.pixel_format is pixel_format
            np.testing.assert_array_equal(pixels.samples, image.palette[image.indices])
        else:
            with pytest.raises(InputError, match=r"\.tif"):
                save_picture(image, path)
            assert not path.exists()
    assert {entry.name for entry in tmp_path.iterdir()} <= {path.name}


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA32])
def test_png_keeps_palette_and_indices(tmp_path, pixel_format):
    image = visible_image(pixel_format, 37)
    save_picture(image, tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as picture:
        assert indexed_from_pillow(picture) == image


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.GREY16, PixelFormat.RGB48])
def test_png_keeps_metadata(tmp_path, pixel_format):
    profile = struct.pack(">I", 132) + bytes(128)
    text = {"Title": "Häuser", "Empty": "", "Far": "☃" * 300}
    metadata = Metadata(profile, exif_of(1), b"<x:xmpmeta/>", (254.0, 127.0), text)
    save_picture(visible_image(pixel_format, 20, metadata), tmp_path / "full.png")
    assert read_pixels(tmp_path / "full.png").metadata == metadata


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.CMYK32, PixelFormat.RGB48])
def test_tiff_keeps_metadata(tmp_path, pixel_format):
    metadata = Metadata(b"profile", None, b"<x:xmpmeta/>", (254.0, 127.0))
    save_picture(visible_image(pixel_format, 20, metadata), tmp_path / "full.tif")
    assert read_pixels(tmp_path / "full.tif").metadata == metadata


def test_tiff_keeps_exif(tmp_path):
    image = visible_image(PixelFormat.RGB24, 20, Metadata(exif=exif_of(1)))
    save_picture(image, tmp_path / "full.tif")
    with Image.open(tmp_path / "full.tif") as picture:
        assert picture.getexif()[0x010F] == "kmq"


def test_webp_keeps_metadata(tmp_path):
    metadata = Metadata(b"profile", exif_of(1)[6:], b"<x:xmpmeta/>")
    save_picture(visible_image(PixelFormat.RGBA32, 20, metadata), tmp_path / "full.webp")
    assert read_pixels(tmp_path / "full.webp").metadata == metadata


def test_side_that_a_type_cannot_hold_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "wide.webp"
    path.write_bytes(b"old")
    indices = np.zeros((1, 20_000), np.uint8)
    image = IndexedImage(np.zeros((1, 3), np.uint8), indices, PixelFormat.RGB24)
    with pytest.raises(InputError, match="cannot be written as WEBP"):
        save_picture(image, path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["wide.webp"]
