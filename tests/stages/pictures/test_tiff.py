"""TIFF files of every kind: read right, by Pillow or by tifffile, or refused."""

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image, UnidentifiedImageError

import kmq
import kmq.pillow
from kmq.errors import InputError, MissingExtraError
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.pillow import indexed_from_pillow
from kmq.stages.pictures.reading import read_pixels

GREY = {1: PixelFormat.BILEVEL, 8: PixelFormat.GREY8, 16: PixelFormat.GREY16}


def written(path, samples, photometric, **options):
    try:
        tifffile.imwrite(path, samples, photometric=photometric, metadata=None, **options)
    except NotImplementedError:
        pytest.skip("this imagecodecs does not write such bits")
    return path


def levels_of(bits):
    """The ends of the range and what is beside them."""
    top = (1 << bits) - 1
    dtype = np.bool_ if bits == 1 else np.uint8 if bits <= 8 else np.uint16
    return np.array([[0, 1, top // 3, top - 1, top]], dtype)


def as_shown(levels, bits):
    """Levels as 1, 8 or 16 bits, whichever holds them."""
    if bits == 1:
        return levels.astype(np.uint8)
    top = 255 if bits <= 8 else 65535
    return np.floor(levels * (top / ((1 << bits) - 1)) + 0.5).astype(int)


# --- grey ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize(
    ("bits", "layout"),
    [(bits, {}) for bits in (1, 2, 4, 6, 8, 10, 12, 14, 16)]
    + [(bits, {"compression": "deflate"}) for bits in (1, 8, 16)]
    + [(bits, {"bigtiff": True}) for bits in (1, 4, 12, 16)],
    ids=str,
)
def test_grey_of_each_depth_is_shown_as_it_is_meant(tmp_path, photometric, bits, layout):
    levels = levels_of(bits)
    packed = {} if bits in (1, 8, 16) else {"bitspersample": bits}
    pixels = read_pixels(written(tmp_path / "grey.tif", levels, photometric, **packed, **layout))
    shown = as_shown(levels, bits)
    assert pixels.pixel_format is GREY[1 if bits == 1 else 8 if bits <= 8 else 16]
    expected = shown if photometric == "minisblack" else pixels.pixel_format.max_value - shown
    np.testing.assert_array_equal(pixels.samples[:, :, 0], expected)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", [{}, {"bigtiff": True}], ids=str)
def test_grey_in_big_endian_order_is_the_same(tmp_path, photometric, dtype, layout):
    levels = levels_of(8 * np.dtype(dtype).itemsize)
    path = written(tmp_path / "grey.tif", levels, photometric, byteorder=">", **layout)
    expected = levels if photometric == "minisblack" else ~levels
    np.testing.assert_array_equal(read_pixels(path).samples[:, :, 0], expected)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_grey_that_pillow_has_opened_is_shown_as_it_is_meant(
    tmp_path, photometric, bits, is_loaded
):
    levels = levels_of(bits)
    packed = {} if bits in (1, 8, 16) else {"bitspersample": bits}
    path = written(tmp_path / "grey.tif", levels, photometric, **packed)
    if (photometric, bits) == ("miniswhite", 12):  # which Pillow does not open
        with pytest.raises(UnidentifiedImageError):
            Image.open(path)
        return
    with Image.open(path) as picture:
        if is_loaded:
            picture.load()
        pixels = read_pixels(picture)
    shown = as_shown(levels, bits)
    expected = shown if photometric == "minisblack" else pixels.pixel_format.max_value - shown
    np.testing.assert_array_equal(pixels.samples[:, :, 0], expected)


def test_signed_grey_that_pillow_has_opened_is_refused(tmp_path):
    path = written(tmp_path / "odd.tif", np.array([[-3, 3]], np.int8), "minisblack")
    with Image.open(path) as picture, pytest.raises(InputError, match="8-bit signed samples"):
        read_pixels(picture)


def test_file_with_a_wrong_magic_number_is_never_cut(tmp_path):
    samples = np.arange(1, 13, dtype=np.uint16).reshape(2, 2, 3)
    path = written(tmp_path / "odd.tif", samples, "rgb", byteorder=">")
    content = bytearray(path.read_bytes())
    content[2:4] = b"*\0"
    path.write_bytes(content)
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
    with pytest.raises(InputError, match=r"odd\.tif"):
        read_pixels(path)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_alpha_is_never_inverted(tmp_path, photometric, dtype, planes):
    samples = np.array([[[0, 100], [1, 7], [255, 255]]], dtype)
    stored = samples if planes == "contig" else np.moveaxis(samples, -1, 0)
    path = written(
        tmp_path / "alpha.tif",
        stored,
        photometric,
        planarconfig=planes,
        extrasamples=["unassalpha"],
    )
    if photometric == "miniswhite":
        samples = np.dstack([~samples[..., :1], samples[..., 1:]])
    np.testing.assert_array_equal(read_pixels(path).samples, samples)


# --- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_colors_of_odd_depths_are_scaled(tmp_path, bits):
    colors = levels_of(bits)[:, [0, 1, 4, 2, 3, 4]].reshape(1, 2, 3)
    pixels = read_pixels(written(tmp_path / "odd.tif", colors, "rgb", bitspersample=bits))
    np.testing.assert_array_equal(pixels.samples, as_shown(colors, bits))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colors_of_a_bigtiff_are_read(tmp_path, byteorder, dtype):
    colors = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (4, 5, 3), dtype)
    path = written(tmp_path / "big.tif", colors, "rgb", bigtiff=True, byteorder=byteorder)
    np.testing.assert_array_equal(read_pixels(path).samples, colors)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_premultiplied_alpha_is_divided_out_and_rounded(
    tmp_path, dtype, channels, planes, compression
):
    top = np.iinfo(dtype).max
    rng = np.random.default_rng(1)
    stored = rng.integers(1, top + 1, (16, 16, channels), dtype)
    stored[..., :-1] = np.minimum(stored[..., :-1], stored[..., -1:])
    stored[0, 0] = 0
    path = written(
        tmp_path / "product.tif",
        stored if planes == "contig" else np.moveaxis(stored, -1, 0),
        "minisblack" if channels == 2 else "rgb",
        planarconfig=planes,
        extrasamples=["assocalpha"],
        compression=compression,
    )
    straight = stored.copy()
    quotients = stored[..., :-1] * float(top) / np.maximum(stored[..., -1:], 1)
    straight[..., :-1] = np.floor(quotients + 0.5)
    np.testing.assert_array_equal(read_pixels(path).samples, straight)


def test_a_pillow_image_of_premultiplied_alpha_is_left_as_it_was(tmp_path):
    stored = np.array([[[50, 3, 0, 100]]], np.uint8)
    path = written(tmp_path / "product.tif", stored, "rgb", extrasamples=["assocalpha"])
    with Image.open(path) as picture:
        read_pixels(picture)
        assert picture.getpixel((0, 0)) == (127, 7, 0, 100)  # Pillow cuts


# --- palettes ------------------------------------------------------------------------------------

LEVELS = np.random.default_rng(2).integers(0, 256, (3, 256)).astype(np.uint16)
INDICES = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("times", [257, 256, 1])
def test_color_map_of_8_bits_is_known_by_its_levels(tmp_path, times):
    path = written(tmp_path / "map.tif", INDICES, "palette", colormap=LEVELS * np.uint16(times))
    pixels = read_pixels(path)
    assert pixels.pixel_format is PixelFormat.RGB24
    np.testing.assert_array_equal(pixels.samples, LEVELS.T[INDICES])
    with Image.open(path) as picture:
        image = indexed_from_pillow(picture)
    np.testing.assert_array_equal(image.palette, LEVELS.T)


def test_color_map_of_16_bits_keeps_them(tmp_path):
    colors = np.random.default_rng(3).integers(0, 65536, (3, 256)).astype(np.uint16)
    pixels = read_pixels(written(tmp_path / "map.tif", INDICES, "palette", colormap=colors))
    assert pixels.pixel_format is PixelFormat.RGB48
    np.testing.assert_array_equal(pixels.samples, colors.T[INDICES])


def test_color_map_of_16_bits_is_cut_where_pillow_has_read_it(tmp_path):
    colors = np.random.default_rng(3).integers(0, 65536, (3, 256)).astype(np.uint16)
    path = written(tmp_path / "map.tif", INDICES, "palette", colormap=colors)
    with Image.open(path) as picture:
        image = indexed_from_pillow(picture)
        picture.save(tmp_path / "map.kmq")
    np.testing.assert_array_equal(image.palette, colors.T >> 8)
    with Image.open(tmp_path / "map.kmq") as picture:
        assert picture.mode == "P"


def test_saving_through_pillow_means_what_the_tags_say(tmp_path):
    path = written(tmp_path / "map.tif", INDICES, "palette", colormap=LEVELS)
    for options in ({}, {"k": 256}):
        with Image.open(path) as picture:
            picture.save(tmp_path / "map.kmq", **options)
        np.testing.assert_array_equal(kmq.read(tmp_path / "map.kmq").to_array(), LEVELS.T[INDICES])
    path = written(tmp_path / "white.tif", np.array([[0, 1000]], np.uint16), "miniswhite")
    with Image.open(path) as picture:
        picture.save(tmp_path / "white.kmq")
    assert kmq.read(tmp_path / "white.kmq").to_array().tolist() == [[65535, 64535]]


def test_palette_that_was_put_over_a_color_map_counts(tmp_path):
    path = written(tmp_path / "map.tif", INDICES, "palette", colormap=LEVELS)
    with Image.open(path) as picture:
        picture.load()
        picture.putpalette(bytes(range(9)), "RGB")
        picture.putdata([0, 1, 2, 2] * 64)
        assert read_pixels(picture).samples[0, 1].tolist() == [3, 4, 5]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "photometric", "sentence"),
    [
        (np.int8, "minisblack", "8-bit signed samples, photometric interpretation BlackIsZero"),
        (np.int8, "rgb", "8-bit signed samples"),
        (np.int16, "miniswhite", "16-bit signed samples, photometric interpretation WhiteIsZero"),
        (np.float16, "minisblack", "16-bit floating-point samples"),
        (np.float32, "rgb", "32-bit floating-point samples"),
        (np.uint32, "miniswhite", "32-bit unsigned samples"),
        (np.uint32, "rgb", "32-bit unsigned samples"),
        (np.float64, "minisblack", "64-bit floating-point samples"),
    ],
)
def test_other_samples_are_refused_in_a_sentence(
    tmp_path, monkeypatch, dtype, photometric, sentence
):
    samples = np.array([[[3, 5, 7], [250, 4, 1]]]).astype(dtype)
    path = written(
        tmp_path / "odd.tif", samples if photometric == "rgb" else samples[..., 0], photometric
    )
    with pytest.raises(InputError, match=rf"odd\.tif: it is a TIFF of {sentence}.*convert it"):
        read_pixels(path)
    monkeypatch.setitem(sys.modules, "tifffile", None)  # which would not help
    with pytest.raises(InputError, match=sentence):
        read_pixels(path)


@pytest.mark.parametrize(
    ("dtype", "level"), [(np.int16, -3), (np.int32, -3), (np.int32, 65536), (np.uint32, 2**32 - 3)]
)
def test_levels_beyond_16_bits_are_refused(tmp_path, dtype, level):
    path = written(tmp_path / "odd.tif", np.array([[5, level]], dtype), "minisblack")
    with pytest.raises(InputError, match="kmq takes 0 to 65535"):
        read_pixels(path)


def test_premultiplied_white_is_zero_says_nothing_certain(tmp_path):
    samples = np.array([[[0, 100]]], np.uint8)
    path = written(
        tmp_path / "odd.tif",
        samples,
        "miniswhite",
        planarconfig="contig",
        extrasamples=["assocalpha"],
    )
    with pytest.raises(InputError, match="WhiteIsZero with premultiplied alpha"):
        read_pixels(path)


def test_kind_that_takes_tifffile_names_the_extra(tmp_path, monkeypatch):
    path = written(
        tmp_path / "white.tif", np.array([[0, 1000]], np.uint16), "miniswhite", byteorder=">"
    )
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"tifffile: pip install .kmq\[deep\]"):
        read_pixels(path)


# --- turned pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("unit", ["inch", "centimeter"])
def test_orientation_turns_samples_and_resolution(tmp_path, dtype, orientation, unit):
    samples = np.arange(18, dtype=dtype).reshape(2, 3, 3)
    path = written(
        tmp_path / "turned.tif",
        samples,
        "rgb",
        resolution=(100, 50),
        resolutionunit=unit,
        extratags=[
            (274, 3, 1, orientation, True),
            (700, 1, 22, b'tiff:Orientation="%d"  ' % orientation, True),
        ],
    )
    pixels = read_pixels(path)
    swaps = orientation >= 5
    assert pixels.samples.shape[:2] == ((3, 2) if swaps else (2, 3))
    corners = {1: 0, 2: 2, 3: 5, 4: 3, 5: 0, 6: 3, 7: 5, 8: 2}
    assert pixels.samples[0, 0].tolist() == samples.reshape(-1, 3)[corners[orientation]].tolist()
    dpi = [100, 50] if unit == "inch" else [254, 127]
    assert np.round(pixels.metadata.dpi, 6).tolist() == (dpi[::-1] if swaps else dpi)
    assert b'Orientation="%d"' % orientation not in pixels.metadata.xmp or orientation == 1
    with Image.open(path) as picture:
        if dtype == np.uint8:
            assert read_pixels(picture).metadata.dpi == pixels.metadata.dpi
