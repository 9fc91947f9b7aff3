"""PNG files with a palette: few bits, exactly the same pixels, with and without a packer."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from images import indexed_image
from kmq.model.image import IndexedImage
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures import png

WIDTHS = (1, 7, 13, 31)


def chunks_of(content):
    """Names and payloads, with checksums checked."""
    start, found = 8, []
    while start < len(content):
        (length,) = struct.unpack_from(">I", content, start)
        name, payload = content[start + 4 : start + 8], content[start + 8 : start + 8 + length]
        assert struct.unpack_from(">I", content, start + 8 + length)[0] == zlib.crc32(
            name + payload
        )
        found.append((name, payload))
        start += 12 + length
    return found


def shown(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGBA"))


def colors_of(image):
    return np.asarray(Image.fromarray(image.to_array()).convert("RGBA"))


@pytest.fixture(params=["oxipng", "zlib"])
def packer(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "oxipng", None)
    else:
        pytest.importorskip("oxipng")
    return request.param


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA32])
@pytest.mark.parametrize("n_colors", [1, 2, 3, 4, 5, 16, 17, 200, 256])
@pytest.mark.usefixtures("packer")
def test_pixels_are_the_same(pixel_format, n_colors):
    for width in WIDTHS:
        image = indexed_image(pixel_format, n_colors, 11, width)
        for content in (png.encode(image, "balanced"), png.encode_reordered(image, "balanced")):
            np.testing.assert_array_equal(shown(content), colors_of(image))
            bits = next(bits for bits in (1, 2, 4, 8) if n_colors <= 1 << bits)
            assert content[24:26] == bytes([bits, 3])


def test_large_pictures_are_packed_in_parts(monkeypatch):
    monkeypatch.setattr(png, "_ROWS_BYTES", 10)
    image = indexed_image(PixelFormat.RGB24, 5, 40, 9)
    np.testing.assert_array_equal(shown(png.encode(image, "fast")), colors_of(image))


def test_every_effort_keeps_the_pixels():
    image = indexed_image(PixelFormat.RGB24, 40, 50, 60)
    sizes = []
    for effort in ("fast", "balanced", "best"):
        content = png.encode_reordered(image, effort)
        np.testing.assert_array_equal(shown(content), colors_of(image))
        sizes.append(len(content))
    assert sizes == sorted(sizes, reverse=True)


def test_entries_that_show_through_come_first_and_alone_have_alpha():
    image = indexed_image(PixelFormat.RGBA32, 100, 30, 30)
    palette = image.palette.copy()
    palette[:, 3] = 255
    palette[[20, 99], 3] = 0, 128
    image = IndexedImage(palette, image.indices, PixelFormat.RGBA32)
    content = png.encode_reordered(image, "fast")
    assert sorted(dict(chunks_of(content))[b"tRNS"]) == [0, 128]
    np.testing.assert_array_equal(shown(content), colors_of(image))
    kept = dict(chunks_of(png.encode(image, "fast")))  # the order stays
    assert kept[b"PLTE"] == palette[:, :3].tobytes()
    assert kept[b"tRNS"] == palette[:, 3].tobytes()


def test_opaque_palettes_have_no_alpha_unless_it_is_to_be_seen():
    palette = np.array([[1, 2, 3, 255], [4, 5, 6, 255]], np.uint8)
    image = IndexedImage(palette, np.eye(3, dtype=np.uint8), PixelFormat.RGBA32)
    assert b"tRNS" not in dict(chunks_of(png.encode_reordered(image, "fast")))
    assert dict(chunks_of(png.encode(image, "fast")))[b"tRNS"] == b"\xff"


def test_palette_has_no_entries_beyond_those_of_the_image():
    image = indexed_image(PixelFormat.RGB24, 17, 9, 9)
    assert len(dict(chunks_of(png.encode(image, "fast")))[b"PLTE"]) == 3 * 17


def test_packer_makes_files_smaller():
    pytest.importorskip("oxipng")
    image = indexed_image(PixelFormat.RGB24, 60, 80, 90)
    assert len(png.encode(image, "balanced")) < len(png.encode(image, "fast"))
