"""Pictures written to files are the same when they are read, or refused."""

import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from images import FULL_METADATA, exif_block, exif_of, indexed_image
from kmq.errors import InputError, MetadataWarning
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.pillow import indexed_from_pillow
from kmq.stages.pictures.reading import read_pixels
from kmq.stages.pictures.writing import save_picture

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


PHONE = Image.Exif()
PHONE[34665] = {36867: "2024:05:06 07:08:09"}
PHONE[34853] = {1: "N"}
LAYOUT = {
    256: 5,
    257: 3,
    258: (1, 1),
    259: 7,
    262: 6,
    266: 2,
    273: 8,
    277: 7,
    278: 1,
    279: 9,
    284: 2,
}
LAYOUT |= {
    317: 2,
    320: (1, 2),
    322: 16,
    323: 16,
    324: 8,
    325: 9,
    330: 8,
    332: 1,
    338: (1, 2),
    339: 3,
}
LAYOUT |= {
    347: b"tables",
    513: 8,
    514: 9,
    529: (0.3, 0.6, 0.1),
    530: (2, 2),
    531: 1,
    532: (0.0, 255.0),
}
for number, value in {271: "kmq", 282: 1.0, 296: 3, **LAYOUT}.items():
    PHONE[number] = value


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_tiff_keeps_what_describes_the_picture_and_no_other_layout(tmp_path, pixel_format):
    metadata = Metadata(exif=PHONE.tobytes(), xmp=b"<x:xmpmeta/>", dpi=(254.0, 127.0))
    image = visible_image(pixel_format, 2, metadata)
    save_picture(image, tmp_path / "phone.tif")
    pixels = read_pixels(tmp_path / "phone.tif")
    np.testing.assert_array_equal(pixels.samples, image.palette[image.indices])
    assert pixels.metadata == Metadata(xmp=b"<x:xmpmeta/>", dpi=(254.0, 127.0))
    with tifffile.TiffFile(tmp_path / "phone.tif") as tiff:
        (page,) = tiff.pages
        tags = {number: page.tags[number].value for number in (271, 34665, 34853)}
    assert tags == {
        271: "kmq",
        34665: {"DateTimeOriginal": "2024:05:06 07:08:09"},
        34853: {"GPSLatitudeRef": "N"},
    }


def test_tiff_is_turned_as_the_image_is(tmp_path):
    image = visible_image(PixelFormat.RGB24, 300, Metadata(exif=exif_of(6)))
    save_picture(image, tmp_path / "turned.tif")
    pixels = read_pixels(tmp_path / "turned.tif")
    np.testing.assert_array_equal(pixels.samples, np.rot90(image.palette[image.indices], -1))


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


# --- metadata that a file cannot hold ------------------------------------------------------------


def saved_with(metadata, path, pixel_format=PixelFormat.RGB24):
    """Save an image, check its pixels, and return what is said about its metadata."""
    image = visible_image(pixel_format, 20, metadata)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        save_picture(image, path)
    np.testing.assert_array_equal(read_pixels(path).samples, image.palette[image.indices])
    assert all(warning.category is MetadataWarning for warning in caught)
    (sentence,) = [str(warning.message) for warning in caught] or [""]
    return sentence


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGB48])
@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0", b"?", b"Exif\0\0II*\0"])
def test_exif_that_is_none_is_left_out_and_told(tmp_path, name, exif, pixel_format):
    if name == "x.webp" and pixel_format is PixelFormat.RGB48:
        return
    sentence = saved_with(Metadata(exif=exif), tmp_path / name, pixel_format)
    assert sentence.endswith(f"{name} is written without EXIF (it does not begin like a TIFF file)")
    assert read_pixels(tmp_path / name).metadata == NO_METADATA


@pytest.mark.parametrize("pixel_format", [PixelFormat.CMYK32, PixelFormat.RGBA64])
def test_damaged_tags_are_left_out_of_a_tiff_and_told(tmp_path, pixel_format):
    # A maker, and a directory for the camera that is the first one once more.
    exif = exif_block([(0x010F, 2, 4, 0x716D6B), (34665, 4, 1, 8)], "<")
    sentence = saved_with(Metadata(exif=exif), tmp_path / "x.tif", pixel_format)
    assert sentence.endswith("x.tif is written without some tags of EXIF (damaged)")
    with tifffile.TiffFile(tmp_path / "x.tif") as tiff:
        assert tiff.pages[0].tags[0x010F].value == "kmq"


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.GREY16_ALPHA])
def test_text_that_a_png_cannot_hold_is_left_out_and_told(tmp_path, pixel_format):
    wrong = ["☃", "", "x" * 80, " a", "a ", "a  b", "a\nb", "a\x7f", "a\xa0b", "a\0b"]
    right = {"Title": "☃", "x" * 79: "a\nb", "é ÿ¡": "é", "a b c": ""}
    text = dict.fromkeys(wrong, "value") | right | {"Nul": "a\0b"}
    sentence = saved_with(Metadata(text=text), tmp_path / "x.png", pixel_format)
    assert read_pixels(tmp_path / "x.png").metadata.text == right
    assert "x.png is written without text '☃', text ''" in sentence
    assert "1 to 79 characters of Latin-1" in sentence
    assert sentence.endswith("; 1 more")


@pytest.mark.parametrize("xmp", [b"\xff", "<x/>".encode("utf-16"), b"<x/>\0"])
def test_xmp_that_is_no_text_goes_into_a_tiff_alone(tmp_path, xmp):
    assert "without XMP (not UTF-8 text)" in saved_with(Metadata(xmp=xmp), tmp_path / "x.png")
    assert read_pixels(tmp_path / "x.png").metadata.xmp is None
    assert saved_with(Metadata(xmp=xmp), tmp_path / "x.tif") == ""
    assert read_pixels(tmp_path / "x.tif").metadata.xmp == xmp


def test_profile_that_pillow_would_not_open_is_left_out_of_a_png(tmp_path):
    profile = bytes(2**20 + 1)
    sentence = saved_with(Metadata(icc_profile=profile), tmp_path / "x.png")
    assert "without colour profile (1048577 bytes; Pillow opens PNG files with up to" in sentence
    assert saved_with(Metadata(icc_profile=profile[:-1]), tmp_path / "x.png") == ""


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("x.png", "chunks that kmq does not know"),
        ("x.tif", "text, chunks that kmq does not know"),
        ("x.webp", "resolution, text, chunks that kmq does not know"),
        ("x.bmp", "colour profile, EXIF, XMP, text, chunks that kmq does not know"),
        ("x.ppm", "colour profile, EXIF, XMP, resolution, text, chunks that kmq does not know"),
    ],
)
def test_metadata_without_a_place_are_told(tmp_path, name, without):
    kind = "TIFF" if name == "x.tif" else name[2:].upper()
    sentence = saved_with(replace(FULL_METADATA, exif=exif_of(1)), tmp_path / name)
    assert sentence == f"{tmp_path / name} is written without {without} (no place in a {kind} file)"


def test_who_saves_an_image_is_warned(tmp_path):
    image = visible_image(PixelFormat.RGB24, 20, Metadata(exif=b"garbage"))
    with pytest.warns(MetadataWarning, match="without EXIF") as caught:
        image.save(tmp_path / "x.png")
    assert caught[0].filename == __file__


def test_picture_that_the_type_cannot_count_is_refused(tmp_path, monkeypatch):
    def refuse(tiff, tags):
        raise struct.error("'I' format requires 0 <= number <= 4294967295")

    monkeypatch.setattr("kmq.stages.pictures.exif.with_tags", refuse)
    with pytest.raises(InputError, match="cannot be written as TIFF: 'I' format"):
        save_picture(visible_image(PixelFormat.RGB24, 20), tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()


# --- GIF -----------------------------------------------------------------------------------------

GIF_FORMATS = "1 L LA RGB RGBA"


@pytest.mark.parametrize("label", GIF_FORMATS.split())
@pytest.mark.parametrize("n_colors", [1, 2, 3, 129, 256])
def test_gif_holds_256_colors(tmp_path, label, n_colors):
    pixel_format = PixelFormat.from_label(label)
    if n_colors > 2 and label == "1":
        return
    image = indexed_image(pixel_format, n_colors, 40, 30)
    palette = image.palette.copy()
    if pixel_format.has_alpha:
        palette[:, -1] = 255
        palette[n_colors // 2 :: 40] = 0  # several, in the middle
    image = IndexedImage(palette, image.indices, pixel_format)
    save_picture(image, tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as picture:
        shown = np.asarray(picture.convert("RGBA"))
    expected = np.asarray(Image.fromarray(image.to_array()).convert("RGBA"))
    visible = expected[..., 3] > 0
    np.testing.assert_array_equal(shown[..., 3] > 0, visible)
    np.testing.assert_array_equal(shown[visible], expected[visible])


@pytest.mark.parametrize(
    ("label", "n_colors", "alpha", "obstacle"),
    [
        ("RGB", 257, 255, "257 colours"),
        ("RGBA", 2, 254, "translucent colours"),
        ("LA", 2, 1, "translucent colours"),
        ("CMYK", 2, 0, "pixel format CMYK"),
        ("L16", 2, 0, "pixel format L16"),
    ],
)
def test_gif_refuses_what_it_would_change(tmp_path, label, n_colors, alpha, obstacle):
    pixel_format = PixelFormat.from_label(label)
    image = indexed_image(pixel_format, n_colors, 20, 30)
    palette = image.palette.copy()
    palette[:, -1] = alpha
    image = IndexedImage(palette, image.indices, pixel_format)
    with pytest.raises(
        InputError, match=rf"x\.gif: \.gif cannot hold {obstacle} unchanged; .*\.tif"
    ):
        save_picture(image, tmp_path / "x.gif")
    assert not (tmp_path / "x.gif").exists()
