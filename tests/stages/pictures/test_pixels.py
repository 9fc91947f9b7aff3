"""Pictures to samples: arrays, Pillow images, files of every type kmq speaks of."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps, PngImagePlugin, features

from images import FULL_METADATA, exif_of, indexed_image
from kmq.errors import InputError, MissingExtraError
from kmq.model.image import MAX_SIDE, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.pillow import indexed_from_pillow, to_pillow
from kmq.stages.pictures.reading import read_pixels
from kmq.stages.pictures.writing import save_picture

SHAPES = {
    PixelFormat.BILEVEL: (np.bool_, ()),
    PixelFormat.GREY8: (np.uint8, ()),
    PixelFormat.GREY8_ALPHA: (np.uint8, (2,)),
    PixelFormat.GREY16: (np.uint16, ()),
    PixelFormat.GREY16_ALPHA: (np.uint16, (2,)),
    PixelFormat.RGB24: (np.uint8, (3,)),
    PixelFormat.RGBA32: (np.uint8, (4,)),
    PixelFormat.RGB48: (np.uint16, (3,)),
    PixelFormat.RGBA64: (np.uint16, (4,)),
    PixelFormat.CMYK32: (np.uint8, (4,)),
}
needs_avif = pytest.mark.skipif(
    "avif" not in features.get_supported(), reason="this Pillow has no AVIF"
)
ALPHA_FORMATS = [pixel_format for pixel_format in PixelFormat if pixel_format.has_alpha]


def noise(pixel_format, height=9, width=14, seed=0):
    """Samples of the array type of a pixel format; no pixel is fully transparent."""
    dtype, channels = SHAPES[pixel_format]
    rng = np.random.default_rng(seed)
    samples = rng.integers(0, pixel_format.max_value + 1, (height, width, *channels)).astype(dtype)
    if pixel_format.has_alpha:
        samples[..., -1] = np.maximum(samples[..., -1], 1)
    return samples


def assert_pixels(pixels, pixel_format, samples):
    """The samples, in the one form that `Pixels` promises."""
    assert pixels.pixel_format is pixel_format
    assert pixels.samples.dtype == pixel_format.dtype
    assert pixels.samples.dtype.isnative
    assert pixels.samples.flags.c_contiguous
    assert not pixels.samples.flags.writeable
    assert type(pixels.samples) is np.ndarray
    shape = (*samples.shape[:2], pixel_format.channels)
    np.testing.assert_array_equal(pixels.samples, samples.reshape(shape))


# --- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_array_of_each_type_becomes_samples(pixel_format):
    samples = noise(pixel_format)
    given = "CMYK" if pixel_format is PixelFormat.CMYK32 else None
    assert_pixels(read_pixels(samples, given), pixel_format, samples)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_array_in_any_memory_order_becomes_samples(pixel_format):
    samples = noise(pixel_format)
    swapped = samples.astype(samples.dtype.newbyteorder(">"))
    fortran = np.asfortranarray(samples)
    strided = np.repeat(np.repeat(samples, 2, axis=0), 3, axis=1)[::2, ::3]
    mirrored = samples[::-1, ::-1].copy()[::-1, ::-1]
    frozen = samples.copy()
    frozen.flags.writeable = False
    for array in (swapped, fortran, strided, mirrored, frozen):
        assert_pixels(read_pixels(array, pixel_format), pixel_format, samples)


def test_one_channel_may_have_an_axis():
    samples = noise(PixelFormat.GREY16)[:, :, None]
    assert_pixels(read_pixels(samples), PixelFormat.GREY16, samples)


def test_array_that_fits_is_not_copied():
    samples = noise(PixelFormat.RGBA32)
    assert np.shares_memory(read_pixels(samples).samples, samples)
    assert samples.flags.writeable


@pytest.mark.parametrize("byte", [1, 2, 255])
def test_any_nonzero_byte_of_a_bool_array_is_one(byte):
    array = np.array([[0, byte]], np.uint8).view(np.bool_)
    assert read_pixels(array).samples.ravel().tolist() == [0, 1]


@pytest.mark.parametrize("pixel_format", ALPHA_FORMATS)
def test_hidden_colors_become_zero(pixel_format):
    samples = noise(pixel_format)
    samples[2:5, 3:8, -1] = 0
    cleared = samples.copy()
    cleared[2:5, 3:8] = 0
    before = samples.copy()
    assert_pixels(read_pixels(samples), pixel_format, cleared)
    np.testing.assert_array_equal(samples, before)


def test_fourth_channel_of_cmyk_hides_nothing():
    samples = noise(PixelFormat.CMYK32)
    samples[:, :, 3] = 0
    assert_pixels(read_pixels(samples, "CMYK"), PixelFormat.CMYK32, samples)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((5,), r"shape \(5,\); kmq takes \(height, width\)"),
        ((2, 3, 4, 5), "kmq takes"),
        ((3, 4, 5), "moveaxis"),
        ((3, 4, 0), "1 to 4 channels"),
        ((0, 4), "0 rows and 4 columns"),
        ((4, 0, 3), "4 rows and 0 columns"),
    ],
)
def test_other_shapes_are_refused(shape, sentence):
    with pytest.raises(InputError, match=sentence):
        read_pixels(np.zeros(shape, np.uint8))


def test_side_beyond_the_limit_is_refused():
    with pytest.raises(InputError, match=str(MAX_SIDE)):
        read_pixels(np.broadcast_to(np.uint8(0), (MAX_SIDE + 1, 1)))


@pytest.mark.parametrize(
    ("dtype", "sentence"),
    [
        (np.float64, "picture is float64; kmq takes uint8, uint16 or bool: multiply by 255"),
        (np.float16, "picture is float16"),
        (np.int32, "picture is int32; .* convert to uint8"),
        (np.uint32, "picture is uint32"),
        (np.int8, "picture is int8"),
        (np.complex64, "picture is complex64"),
        (object, "picture is object"),
    ],
)
def test_other_dtypes_are_refused(dtype, sentence):
    with pytest.raises(InputError, match=sentence):
        read_pixels(np.zeros((3, 4), dtype))


def test_bool_with_channels_is_refused():
    with pytest.raises(InputError, match="bool with 3 channels"):
        read_pixels(np.zeros((2, 2, 3), np.bool_))


@pytest.mark.parametrize("picture", [None, 3, [[0]], b"picture.png", np.uint8(3)])
def test_other_types_are_refused(picture):
    with pytest.raises(TypeError, match="NumPy array, a Pillow image or a path"):
        read_pixels(picture)


@pytest.mark.parametrize("pixel_format", ["RGB", "CMYK", PixelFormat.RGB48])
def test_contradicting_pixel_format_is_refused(pixel_format):
    with pytest.raises(InputError, match="picture is RGBA64, but pixel_format asks for"):
        read_pixels(noise(PixelFormat.RGBA64), pixel_format)


def test_pixel_format_is_checked():
    with pytest.raises(InputError, match="no pixel format 'BGR'"):
        read_pixels(noise(PixelFormat.RGB24), "BGR")
    with pytest.raises(TypeError, match="pixel_format is int"):
        read_pixels(noise(PixelFormat.RGB24), 24)


def test_arrays_do_not_import_pillow():
    program = (
        "import sys, numpy; from kmq.stages.pictures.reading import read_pixels; "
        "read_pixels(numpy.zeros((2, 2), numpy.uint8)); assert 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- Pillow images -------------------------------------------------------------------------------


def pillow_image(mode, size=(7, 5)):
    """Noise in any mode."""
    n_bytes = len(Image.new(mode, size).tobytes())
    content = np.random.default_rng(1).integers(0, 256, n_bytes, np.uint8).tobytes()
    return Image.frombytes(mode, size, content)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_pillow_mode_goes_in_as_it_is(mode):
    picture = pillow_image(mode)
    pixel_format = PixelFormat.from_label(mode)
    assert_pixels(read_pixels(picture), pixel_format, np.asarray(picture))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_pillow_alpha_mode_goes_in_without_hidden_colors(mode):
    picture = pillow_image(mode)
    picture.putpixel((1, 1), (9,) * (len(mode) - 1) + (0,))
    samples = np.array(picture)
    samples[samples[..., -1] == 0] = 0
    assert_pixels(read_pixels(picture), PixelFormat.from_label(mode), samples)


def test_pillow_mode_1():
    picture = pillow_image("1")
    assert_pixels(read_pixels(picture), PixelFormat.BILEVEL, np.asarray(picture))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_pillow_16_bit_grey_in_each_byte_order(mode):
    picture = Image.new(mode, (3, 2))
    picture.putpixel((1, 1), 0x1234)
    samples = np.array([[0, 0, 0], [0, 0x1234, 0]], np.uint16)
    assert_pixels(read_pixels(picture), PixelFormat.GREY16, samples)


def test_pillow_mode_i_in_range():
    samples = np.array([[0, 65535], [1, 2]], np.int32)
    assert_pixels(read_pixels(Image.fromarray(samples)), PixelFormat.GREY16, samples)


@pytest.mark.parametrize("level", [-1, 65536])
def test_pillow_mode_i_out_of_range_is_refused(level):
    picture = Image.fromarray(np.array([[5, level]], np.int32))
    with pytest.raises(InputError, match=f"mode I with samples from .*{level}.*0 to 65535"):
        read_pixels(picture)


def test_pillow_padding_is_dropped():
    picture = pillow_image("RGBX")
    assert_pixels(read_pixels(picture), PixelFormat.RGB24, np.asarray(picture)[..., :3])


@pytest.mark.parametrize(("mode", "straight"), [("La", "LA"), ("RGBa", "RGBA")])
def test_pillow_premultiplied_alpha_is_divided_out(mode, straight):
    opaque = noise(PixelFormat.from_label(straight))
    opaque[..., -1] = 255
    opaque[0, 0] = 0
    picture = Image.fromarray(opaque).convert("RGBA").convert("RGBa")
    if mode == "La":
        picture = Image.fromarray(opaque).convert("La")
    assert picture.mode == mode
    assert_pixels(read_pixels(picture), PixelFormat.from_label(straight), opaque)


@pytest.mark.parametrize("mode", ["F", "HSV", "LAB", "YCbCr"])
def test_pillow_mode_that_cannot_be_meant_is_refused(mode):
    with pytest.raises(InputError, match=rf"Pillow mode {mode}.*(convert|scale)"):
        read_pixels(Image.new(mode, (2, 2)))


def palette_image():
    picture = Image.new("P", (4, 2))
    picture.putdata([0, 1, 2, 3, 3, 1, 0, 2])
    picture.putpalette(bytes(range(100, 118)), "RGB")  # two entries more than are used
    return picture


PALETTE = np.arange(100, 118, dtype=np.uint8).reshape(6, 3)
INDICES = np.array([[0, 1, 2, 3], [3, 1, 0, 2]], np.uint8)


def test_pillow_palette_becomes_rgb():
    assert_pixels(read_pixels(palette_image()), PixelFormat.RGB24, PALETTE[INDICES])


@pytest.mark.parametrize("transparency", [2, bytes([255, 255, 0]), bytes([255, 70, 0, 3, 9, 9, 8])])
def test_pillow_palette_with_transparency_becomes_rgba(transparency):
    picture = palette_image()
    picture.info["transparency"] = transparency
    alpha = np.full(6, 255, np.uint8)
    if isinstance(transparency, int):
        alpha[transparency] = 0
    else:
        alpha[: len(transparency)] = list(transparency)[:6]
    palette = np.column_stack([PALETTE, alpha])
    palette[palette[:, 3] == 0] = 0
    assert_pixels(read_pixels(picture), PixelFormat.RGBA32, palette[INDICES])


def test_pillow_palette_with_alpha_becomes_rgba():
    picture = palette_image()
    palette = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    picture.putpalette(palette.tobytes(), "RGBA")
    assert_pixels(read_pixels(picture), PixelFormat.RGBA32, palette[INDICES])


def test_pillow_palette_that_ends_early_goes_on_in_black():
    picture = palette_image()
    picture.putpalette([10, 20, 30, 40, 50, 60], "RGB")
    palette = np.array([[10, 20, 30], [40, 50, 60], [0, 0, 0], [0, 0, 0]], np.uint8)
    assert_pixels(read_pixels(picture), PixelFormat.RGB24, palette[INDICES])


def test_pillow_palette_and_alpha_become_rgba():
    picture = palette_image().convert("PA")
    picture.putalpha(Image.frombytes("L", (4, 2), bytes(range(10, 18))))
    alpha = np.arange(10, 18, dtype=np.uint8).reshape(2, 4, 1)
    samples = np.concatenate([PALETTE[INDICES], alpha], axis=2)
    assert_pixels(read_pixels(picture), PixelFormat.RGBA32, samples)


@pytest.mark.parametrize(
    ("mode", "key", "pixel_format"),
    [
        ("1", 255, PixelFormat.GREY8_ALPHA),
        ("L", 30, PixelFormat.GREY8_ALPHA),
        ("I;16", 300, PixelFormat.GREY16_ALPHA),
        ("RGB", (10, 20, 30), PixelFormat.RGBA32),
    ],
)
def test_transparent_color_of_a_png_becomes_alpha(tmp_path, mode, key, pixel_format):
    picture = Image.new(mode, (3, 2))
    picture.putpixel((1, 0), key)
    picture.save(tmp_path / "key.png", transparency=key)
    expected = np.zeros((2, 3, pixel_format.channels), pixel_format.dtype)
    expected[..., -1] = pixel_format.max_value
    expected[0, 1] = 0
    assert_pixels(read_pixels(tmp_path / "key.png"), pixel_format, expected)


def png_file(levels, depth, key, *, color=False):
    """A PNG of (h, w) grey or (h, w, 3) samples as they are, with one of them transparent."""
    rows = levels.reshape(len(levels), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[:, :, -depth:]
        packed = np.packbits(bits.reshape(len(rows), -1), axis=1)
    lines = np.concatenate([np.zeros((len(rows), 1), np.uint8), packed], axis=1)
    head = struct.pack(">IIBBBBB", levels.shape[1], len(rows), depth, 2 * color, 0, 0, 0)
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    chunks += png_chunk(b"IDAT", zlib.compress(lines.tobytes())) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


GREY_KEYS = [(bits, key) for bits in (1, 2, 4) for key in range(1 << bits)]
GREY_KEYS += [(8, 0), (8, 15), (8, 17), (8, 255), (16, 0), (16, 15), (16, 65535)]


@pytest.mark.parametrize(("depth", "key"), GREY_KEYS)
def test_transparent_grey_of_a_png_is_found_at_each_depth(tmp_path, depth, key):
    levels = np.arange(min(1 << depth, 256), dtype=np.uint16).reshape(2, -1)
    levels[-1, -1] = (1 << depth) - 1
    path = tmp_path / "key.png"
    path.write_bytes(png_file(levels, depth, [key]))
    deep = depth == 16
    expected = np.empty((*levels.shape, 2), np.uint16 if deep else np.uint8)
    expected[..., 0] = levels if deep else levels * (255 // ((1 << depth) - 1))
    expected[..., 1] = np.where(levels == key, 0, 65535 if deep else 255)
    expected[expected[..., 1] == 0] = 0
    pixel_format = PixelFormat.GREY16_ALPHA if deep else PixelFormat.GREY8_ALPHA
    assert_pixels(read_pixels(path), pixel_format, expected)
    with Image.open(path) as picture:
        assert_pixels(read_pixels(picture), pixel_format, expected)
        assert_pixels(read_pixels(picture), pixel_format, expected)  # it is loaded now
    assert_pixels(read_pixels(picture.copy()), pixel_format, expected)


def test_transparent_level_of_8_bits_is_not_taken_for_one_of_4(tmp_path):
    (tmp_path / "key.png").write_bytes(png_file(np.array([[0, 17, 255]]), 8, [15]))
    expected = np.array([[[0, 255], [17, 255], [255, 255]]], np.uint8)
    assert_pixels(read_pixels(tmp_path / "key.png"), PixelFormat.GREY8_ALPHA, expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_color_of_a_png_is_found_at_each_depth(tmp_path, depth):
    colors = np.array([[[1, 2, 3], [1, 2, 4], [0, 0, 0]]], np.uint16) << (depth - 8)
    (tmp_path / "key.png").write_bytes(png_file(colors, depth, colors[0, 1], color=True))
    pixel_format = PixelFormat.RGBA64 if depth == 16 else PixelFormat.RGBA32
    expected = np.full((1, 3, 4), pixel_format.max_value, pixel_format.dtype)
    expected[..., :3] = colors
    expected[0, 1] = 0
    assert_pixels(read_pixels(tmp_path / "key.png"), pixel_format, expected)


DEEP_KEYS = [(0, 0, 0), (0, 3, 255), (0x0102, 0x0304, 0x0506), (65535, 65535, 65535)]


@pytest.mark.parametrize("key", DEEP_KEYS)
def test_transparent_color_that_pillow_has_cut_is_refused(tmp_path, key):
    colors = np.array([[key, [7, 7, 7], [0x0102, 0x0304, 0]]], np.uint16)
    (tmp_path / "key.png").write_bytes(png_file(colors, 16, key, color=True))
    with Image.open(tmp_path / "key.png") as picture:
        for _ in range(2):  # a second try finds no more than the first
            with pytest.raises(InputError, match=r"of 16 bits, .* the file's path"):
                read_pixels(picture)
        del picture.info["transparency"]
        assert_pixels(read_pixels(picture), PixelFormat.RGB24, (colors >> 8).astype(np.uint8))


@pytest.mark.parametrize(
    ("levels", "depth", "key", "mode"),
    [
        ([[[0x0102, 0x0304, 5]]], 16, (0x0102, 0x0304, 5), "RGB"),
        ([[0x0102, 5]], 16, (0x0102,), "L"),
        ([[0x0102, 5]], 16, (0x0102,), "1"),
        ([[[1, 2, 3]]], 8, (0xFF01, 2, 3), "RGB"),  # only the low bits count, but who can tell?
        ([[1, 2]], 8, (0x0101,), "L"),
    ],
)
def test_transparent_color_beyond_a_loaded_picture_is_refused(levels, depth, key, mode):
    content = png_file(np.array(levels), depth, key, color=len(key) == 3)
    picture = Image.open(io.BytesIO(content))
    for loaded in (picture.convert(mode), picture.convert(mode).copy()):
        with pytest.raises(InputError, match="of 16 bits"):
            read_pixels(loaded)


@pytest.mark.parametrize(("depth", "key"), [(2, 0xFF01), (4, 0xFFF1), (8, 0xAB01)])
def test_only_the_low_bits_of_a_transparent_level_count(depth, key):
    content = png_file(np.array([[0, 1, 2]]), depth, [key])
    for picture in (io.BytesIO(content), Image.open(io.BytesIO(content))):
        alpha = read_pixels(picture).samples[0, :, 1]
        assert alpha.tolist() == [255, 0, 255]


@pytest.mark.parametrize("key", [0, 1, 2, 3, 0xFF00, 0x0101, 0x8000, 0xFFFF])
def test_only_the_lowest_bit_of_a_transparent_level_of_one_bit_counts(key):
    content = png_file(np.array([[0, 1]]), 1, [key])
    expected = [0, 255] if key % 2 == 0 else [255, 0]
    for picture in (io.BytesIO(content), Image.open(io.BytesIO(content))):
        assert read_pixels(picture).samples[0, :, 1].tolist() == expected
    image = indexed_from_pillow(Image.open(io.BytesIO(content)))
    assert image.palette[image.indices[0], 1].tolist() == expected
    opaque = Image.open(io.BytesIO(content))
    del opaque.info["transparency"]
    assert read_pixels(opaque).pixel_format is PixelFormat.BILEVEL


def test_only_the_low_bits_of_a_transparent_color_count():
    content = png_file(np.array([[[1, 2, 3], [1, 2, 4]]]), 8, [0xAB01, 2, 0x0103], color=True)
    for picture in (io.BytesIO(content), Image.open(io.BytesIO(content))):
        assert read_pixels(picture).samples[0, :, 3].tolist() == [0, 255]


def test_palette_of_a_grey_png_keeps_its_transparent_level(tmp_path):
    (tmp_path / "key.png").write_bytes(png_file(np.array([[0, 1, 15]]), 4, [1]))
    with Image.open(tmp_path / "key.png") as picture:
        image = indexed_from_pillow(picture)
    assert image.palette.tolist() == [[0, 255], [17, 0], [255, 255]]


@pytest.mark.parametrize("key", [b"\0", (1, 2, 3), "0", None, 1.5])
def test_transparency_of_another_mode_says_nothing(key):
    picture = Image.new("L", (3, 2))
    picture.info["transparency"] = key
    assert_pixels(read_pixels(picture), PixelFormat.GREY8, np.zeros((2, 3), np.uint8))


def test_large_pillow_image_is_read_whole():
    samples = np.random.default_rng(2).integers(0, 256, (1003, 701, 3), np.uint8)
    assert_pixels(read_pixels(Image.fromarray(samples)), PixelFormat.RGB24, samples)


def test_a_pillow_image_of_several_frames_needs_a_page(tmp_path):
    frames = [Image.new("L", (4, 4), level) for level in (10, 20)]
    frames[0].save(tmp_path / "frames.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "frames.tif") as picture:
        with pytest.raises(InputError, match="it has 2 pages or frames"):
            read_pixels(picture)
        for page, level in ((2, 20), (1, 10)):
            expected = np.full((4, 4), level, np.uint8)
            assert_pixels(read_pixels(picture, page=page), PixelFormat.GREY8, expected)


def test_pillow_image_is_left_as_it_was():
    picture = palette_image()
    picture.info.update(exif=exif_of(6), transparency=1)
    before = picture.copy()
    read_pixels(picture)
    assert (picture.mode, picture.size, picture.info) == (before.mode, before.size, before.info)
    assert picture.tobytes() == before.tobytes()


def test_empty_and_broken_pillow_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="0 by 3 pixels"):
        read_pixels(Image.new("RGB", (0, 3)))
    path = tmp_path / "cut.png"
    Image.fromarray(noise(PixelFormat.RGB24, 50, 50)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with (
        Image.open(path) as picture,
        pytest.raises(InputError, match=r"picture cannot be decoded: .*truncated"),
    ):
        read_pixels(picture)


# --- EXIF orientation and other metadata ---------------------------------------------------------


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_reset(tmp_path, orientation, order):
    path = tmp_path / "turned.png"
    samples = noise(PixelFormat.RGB24, 70, 131)
    Image.fromarray(samples).save(path, exif=exif_of(orientation, order), dpi=(100, 200))
    with Image.open(path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture))
    pixels = read_pixels(path)
    assert_pixels(pixels, PixelFormat.RGB24, upright)
    assert pixels.metadata.exif == exif_of(1, order)
    resolution = np.round(pixels.metadata.dpi)
    assert resolution.tolist() == ([200, 100] if orientation >= 5 else [100, 200])


@pytest.mark.parametrize("name", ["turned.jpg", "turned.webp", "turned.tif"])
def test_exif_orientation_of_other_files_is_applied_once(tmp_path, name):
    samples = np.zeros((16, 32, 3), np.uint8)
    samples[:, 24:] = 255
    Image.fromarray(samples).save(tmp_path / name, exif=exif_of(6))
    pixels = read_pixels(tmp_path / name)
    assert pixels.samples.shape == (32, 16, 3)
    assert pixels.samples[4].max() < 20
    assert pixels.samples[28].min() > 235


def test_orientation_in_xmp_is_applied_and_reset():
    picture = pillow_image("RGB")
    packet = '<x:xmpmeta tiff:Orientation="6" other="6"/>'
    picture.info.update({"xmp": packet.encode(), "XML:com.adobe.xmp": packet})  # as from a PNG
    pixels = read_pixels(picture)
    assert_pixels(pixels, PixelFormat.RGB24, np.rot90(np.asarray(picture), -1))
    assert pixels.metadata.xmp == b'<x:xmpmeta tiff:Orientation="1" other="6"/>'


def exif_of_sides(orientation, order):
    """Sizes and resolutions in both directories of an EXIF block, columns before rows."""
    exif = Image.Exif()
    exif.endian = order
    exif.update({0x0112: orientation, 0x011A: 100.0, 0x011B: 50.0, 0x0100: 16, 0x0101: 8})
    exif[0x8769] = {0xA002: 16, 0xA003: 8, 0xA20E: 3.5, 0xA20F: 7.25, 0x9003: "2020:01:01"}
    return exif.tobytes()


def sides_in(exif):
    """Values of the same tags."""
    parsed = Image.Exif()
    parsed.load(exif)
    inner = parsed.get_ifd(0x8769)
    assert inner[0x9003] == "2020:01:01"
    return [parsed[tag] for tag in (0x011A, 0x011B, 0x0100, 0x0101)] + [
        inner[tag] for tag in (0xA002, 0xA003, 0xA20E, 0xA20F)
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize(
    "name", ["sides.jpg", "sides.png", "sides.webp", pytest.param("sides.avif", marks=needs_avif)]
)
def test_sides_in_exif_and_xmp_change_places_with_those_of_the_picture(
    tmp_path, name, orientation, order
):
    xmp = b'<a tiff:XResolution="1" tiff:YResolution="2"><exif:PixelXDimension>3</exif:Pixel'
    xmp += b'XDimension><exif:PixelYDimension>4</exif:PixelYDimension tiff:XResolutionUnit="5">'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    exif = exif_of_sides(orientation, order)
    options = {"pnginfo": text} if name.endswith("png") else {"xmp": xmp}
    Image.new("RGB", (16, 8)).save(tmp_path / name, exif=exif, dpi=(100, 50), **options)
    pixels = read_pixels(tmp_path / name)
    swaps = orientation >= 5
    assert pixels.samples.shape[:2] == ((16, 8) if swaps else (8, 16))
    across, down = [100, 16, 16, 3.5], [50, 8, 8, 7.25]
    if swaps:
        across, down = down, across
    expected = [side for both in zip(across, down, strict=True) for side in both]
    assert sides_in(pixels.metadata.exif) == expected
    assert pixels.metadata.exif.removeprefix(b"Exif\0\0")[:2] == (b"II" if order == "<" else b"MM")
    if pixels.metadata.dpi is not None:  # WebP and AVIF have no place for it
        assert np.round(pixels.metadata.dpi).tolist() == ([50, 100] if swaps else [100, 50])
    swapped = b'<a tiff:YResolution="1" tiff:XResolution="2"><exif:PixelYDimension>3</exif:Pixel'
    swapped += b'YDimension><exif:PixelXDimension>4</exif:PixelXDimension tiff:XResolutionUnit="5">'
    assert pixels.metadata.xmp == (swapped if swaps else xmp)


@pytest.mark.parametrize(("unit", "orientation", "dpi"), [(2, 1, (100, 50)), (3, 6, (127, 254))])
def test_resolution_of_a_jpeg_without_one_is_that_of_its_exif(tmp_path, unit, orientation, dpi):
    exif = Image.Exif()
    exif.update({0x011A: 100.0, 0x011B: 50.0, 0x0128: unit, 0x0112: orientation})
    Image.new("RGB", (16, 8)).save(tmp_path / "photo.jpg", exif=exif)
    assert np.allclose(read_pixels(tmp_path / "photo.jpg").metadata.dpi, dpi)
    Image.new("RGB", (16, 8)).save(tmp_path / "photo.jpg", exif=exif_of(1))
    assert read_pixels(tmp_path / "photo.jpg").metadata.dpi is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, and true
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"nonsense", b""])
def test_damaged_exif_does_not_stop_a_picture(exif):
    picture = pillow_image("RGB")
    picture.info["exif"] = exif
    assert_pixels(read_pixels(picture), PixelFormat.RGB24, np.asarray(picture))


def test_metadata_of_a_png_is_collected(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "plain")
    text.add_itxt("Author", "Zoë", zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    path = tmp_path / "full.png"
    pillow_image("L").save(
        path, pnginfo=text, icc_profile=b"profile", exif=exif_of(1), dpi=(254, 127)
    )
    metadata = read_pixels(path).metadata
    assert metadata.icc_profile == b"profile"
    assert metadata.exif == exif_of(1)
    assert metadata.xmp == b"<x:xmpmeta/>"
    assert metadata.dpi == (254, 127)
    assert metadata.text == {"Title": "plain", "Author": "Zoë"}


@pytest.mark.parametrize("name", ["full.jpg", "full.webp", "full.tif"])
def test_metadata_of_other_files_is_collected(tmp_path, name):
    options = {"tiffinfo": {700: b"<x/>"}} if name == "full.tif" else {"xmp": b"<x/>"}
    pillow_image("RGB").save(
        tmp_path / name, icc_profile=b"profile", dpi=(300, 300), exif=exif_of(1), **options
    )
    metadata = read_pixels(tmp_path / name).metadata
    assert metadata.icc_profile == b"profile"
    assert metadata.xmp == b"<x/>"
    if name != "full.tif":  # where EXIF and the file's own tags are one
        assert metadata.exif.removeprefix(b"Exif\0\0") == exif_of(1).removeprefix(b"Exif\0\0")
    if name != "full.webp":  # has no place for it
        assert metadata.dpi == (300, 300)


def test_exif_that_imagemagick_wrote_as_text_is_found():
    picture = pillow_image("RGB")
    block = exif_of(6)
    picture.info["Raw profile type exif"] = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    pixels = read_pixels(picture)
    assert pixels.samples.shape == (7, 5, 3)
    assert pixels.metadata.exif == exif_of(1)


def test_text_that_no_file_can_hold_is_dropped():
    picture = Image.new("RGB", (2, 2))
    text = {"a\0b": "x", "a\ud800": "x", "a": "\udfff", "": "x", "b": "x"}
    picture.info.update(text=text, xmp="<\ud800/>")
    metadata = read_pixels(picture).metadata
    assert (metadata.text, metadata.xmp) == ({"b": "x"}, None)


@pytest.mark.parametrize("dpi", [(0, 72), (-1, -1), ("a", "b"), 72, (1,), (float("nan"), 72)])
def test_senseless_resolution_is_dropped(dpi):
    picture = pillow_image("L")
    picture.info["dpi"] = dpi
    assert read_pixels(picture).metadata.dpi is None


def test_tiff_without_resolution_has_none(tmp_path):
    pillow_image("L").save(tmp_path / "plain.tif")
    assert read_pixels(tmp_path / "plain.tif").metadata == Metadata()


# --- files ---------------------------------------------------------------------------------------

SHALLOW_FILES = {
    PixelFormat.BILEVEL: ["png", "tif", "pbm", "bmp"],
    PixelFormat.GREY8: ["png", "tif", "pgm", "bmp"],
    PixelFormat.GREY8_ALPHA: ["png", "tif"],
    PixelFormat.GREY16: ["png", "tif", "pgm"],
    PixelFormat.RGB24: ["png", "tif", "ppm", "bmp", "webp"],
    PixelFormat.RGBA32: ["png", "tif", "webp"],
    PixelFormat.CMYK32: ["tif"],
}


@pytest.mark.parametrize(
    ("pixel_format", "extension"),
    [(key, extension) for key, extensions in SHALLOW_FILES.items() for extension in extensions],
)
def test_file_that_pillow_wrote_is_read(tmp_path, pixel_format, extension):
    samples = noise(pixel_format)
    picture = Image.fromarray(samples)
    if pixel_format is PixelFormat.CMYK32:
        picture = Image.frombytes("CMYK", picture.size, samples.tobytes())
    path = tmp_path / f"picture.{extension}"
    picture.save(path, lossless=True, exact=True)
    assert_pixels(read_pixels(path), pixel_format, samples)
    assert_pixels(read_pixels(str(path)), pixel_format, samples)


def test_jpeg_types_are_read(tmp_path):
    path = tmp_path / "picture.jpg"
    for mode, level in (("L", 100), ("RGB", (200, 100, 50)), ("CMYK", (10, 200, 30, 40))):
        Image.new(mode, (16, 16), level).save(path, quality=100)
        pixels = read_pixels(path)
        assert pixels.pixel_format is PixelFormat.from_label(mode)
        assert np.abs(pixels.samples.astype(int) - level).max() <= 3  # inverted, it would be 100s


def test_gif_with_one_frame_is_read(tmp_path):
    palette_image().save(tmp_path / "still.gif")
    pixels = read_pixels(tmp_path / "still.gif")
    assert_pixels(pixels, PixelFormat.RGB24, PALETTE[INDICES])


@pytest.mark.parametrize(
    "pixel_format", [PixelFormat.GREY16_ALPHA, PixelFormat.RGB48, PixelFormat.RGBA64]
)
def test_deep_png_keeps_16_bits(tmp_path, pixel_format):
    samples = noise(pixel_format)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(samples))
    assert_pixels(read_pixels(tmp_path / "deep.png"), pixel_format, samples)


def png_chunk(name, content):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def test_deep_png_has_metadata_and_orientation(tmp_path):
    samples = noise(PixelFormat.RGB48)
    encoded = imagecodecs.png_encode(samples)
    front, back = encoded[:33], encoded[33:]
    resolution = png_chunk(b"pHYs", struct.pack(">IIB", 10_000, 5_000, 1))
    exif = png_chunk(b"eXIf", exif_of(6)[6:])
    late_text = png_chunk(b"tEXt", b"Title\0late")
    end = len(back) - 12
    (tmp_path / "deep.png").write_bytes(
        front + resolution + exif + back[:end] + late_text + back[end:]
    )
    pixels = read_pixels(tmp_path / "deep.png")
    assert_pixels(pixels, PixelFormat.RGB48, np.rot90(samples, -1))
    assert pixels.metadata.exif == exif_of(1)
    assert pixels.metadata.dpi == (127, 254)
    assert pixels.metadata.text == {"Title": "late"}


def test_transparent_color_of_a_deep_png_becomes_alpha(tmp_path):
    samples = noise(PixelFormat.RGB48)
    encoded = imagecodecs.png_encode(samples)
    key = png_chunk(b"tRNS", struct.pack(">3H", *samples[2, 3]))
    (tmp_path / "key.png").write_bytes(encoded[:33] + key + encoded[33:])
    expected = np.dstack([samples, np.full(samples.shape[:2], 65535, np.uint16)])
    expected[2, 3] = 0
    assert_pixels(read_pixels(tmp_path / "key.png"), PixelFormat.RGBA64, expected)


def tiff_options(pixel_format):
    return {
        "photometric": "rgb" if pixel_format.channels > 2 else "minisblack",
        "extrasamples": ["unassalpha"] if pixel_format.has_alpha else None,
        "metadata": None,
    }


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"compression": "lzw", "predictor": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "pixel_format", [PixelFormat.GREY16_ALPHA, PixelFormat.RGB48, PixelFormat.RGBA64]
)
def test_deep_tiff_keeps_16_bits(tmp_path, pixel_format, layout):
    samples = noise(pixel_format, 20, 30)
    tifffile.imwrite(tmp_path / "deep.tif", samples, **tiff_options(pixel_format), **layout)
    assert_pixels(read_pixels(tmp_path / "deep.tif"), pixel_format, samples)


def test_deep_tiff_in_planes_is_read(tmp_path):
    samples = noise(PixelFormat.RGB48, 20, 30)
    tifffile.imwrite(
        tmp_path / "planes.tif",
        np.moveaxis(samples, -1, 0),
        planarconfig="separate",
        **tiff_options(PixelFormat.RGB48),
    )
    assert_pixels(read_pixels(tmp_path / "planes.tif"), PixelFormat.RGB48, samples)


def test_deep_tiff_has_metadata_and_orientation(tmp_path):
    samples = noise(PixelFormat.RGB48, 20, 30)
    tifffile.imwrite(
        tmp_path / "full.tif",
        samples,
        iccprofile=b"profile",
        resolution=(100, 50),
        resolutionunit="centimeter",
        extratags=[(274, 3, 1, 8, True), (700, 1, 4, b"<x/>", True)],
        **tiff_options(PixelFormat.RGB48),
    )
    pixels = read_pixels(tmp_path / "full.tif")
    assert_pixels(pixels, PixelFormat.RGB48, np.rot90(samples))
    assert pixels.metadata == Metadata(icc_profile=b"profile", xmp=b"<x/>", dpi=(127, 254))


def test_deep_tiff_with_premultiplied_alpha_is_divided_out(tmp_path):
    stored = np.array([[[100, 200, 300, 300], [0, 0, 0, 0], [5, 7, 65535, 65535]]], np.uint16)
    options = tiff_options(PixelFormat.RGBA64) | {"extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "product.tif", stored, **options)
    straight = np.array([[[21845, 43690, 65535, 300], [0] * 4, [5, 7, 65535, 65535]]], np.uint16)
    assert_pixels(read_pixels(tmp_path / "product.tif"), PixelFormat.RGBA64, straight)


def test_deep_tiff_drops_a_channel_without_meaning(tmp_path):
    samples = noise(PixelFormat.RGBA64)
    options = tiff_options(PixelFormat.RGBA64) | {"extrasamples": ["unspecified"]}
    tifffile.imwrite(tmp_path / "extra.tif", samples, **options)
    assert_pixels(read_pixels(tmp_path / "extra.tif"), PixelFormat.RGB48, samples[..., :3])


@pytest.mark.parametrize(
    ("samples", "photometric"),
    [
        (noise(PixelFormat.RGBA64), "separated"),
        (noise(PixelFormat.RGB48).astype(np.float16), "rgb"),
        (noise(PixelFormat.RGB48).astype(np.int16), "rgb"),
    ],
)
def test_deep_tiff_of_other_kinds_is_refused(tmp_path, samples, photometric):
    tifffile.imwrite(tmp_path / "odd.tif", samples, photometric=photometric, metadata=None)
    with pytest.raises(InputError, match=r"odd\.tif: it is a TIFF of 16-bit .* convert"):
        read_pixels(tmp_path / "odd.tif")


@pytest.mark.parametrize("max_value", [65535, 1000])
def test_deep_ppm_keeps_its_bits(tmp_path, max_value):
    samples = np.minimum(noise(PixelFormat.RGB48), max_value)
    header = f"P6\n{samples.shape[1]} {samples.shape[0]}\n{max_value}\n".encode()
    (tmp_path / "deep.ppm").write_bytes(header + samples.astype(">u2").tobytes())
    scaled = np.floor(samples * 65535.0 / max_value + 0.5).astype(np.uint16)
    assert_pixels(read_pixels(tmp_path / "deep.ppm"), PixelFormat.RGB48, scaled)


def test_plain_deep_ppm_is_refused(tmp_path):
    (tmp_path / "plain.ppm").write_bytes(b"P3 2 1 1023 1 2 3 4 5 6\n")
    with pytest.raises(InputError, match="plain 16-bit PPM"):
        read_pixels(tmp_path / "plain.ppm")


@pytest.mark.parametrize(
    ("name", "library"), [("deep.png", "imagecodecs"), ("deep.tif", "tifffile")]
)
def test_missing_extra_is_named(tmp_path, monkeypatch, name, library):
    image = indexed_image(PixelFormat.RGB48, 20, 5, 6)
    save_picture(image, tmp_path / name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=r"pip install .kmq\[deep\]"):
        read_pixels(tmp_path / name)
    with pytest.raises(MissingExtraError, match=r"pip install .kmq\[deep\]"):
        save_picture(image, tmp_path / name)


@pytest.mark.parametrize("name", ["frames.gif", "frames.png", "frames.webp", "frames.tif"])
def test_pages_of_a_file_are_taken_by_number_alone(tmp_path, name):
    colors = [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
    frames = [Image.new("RGB", (8, 8), color) for color in colors]
    options = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    with pytest.raises(InputError, match=r"frames\..*has 3 pages .*page 1 to 3"):
        read_pixels(tmp_path / name)
    for page, color in enumerate(colors, 1):
        shown = read_pixels(tmp_path / name, page=page).samples
        assert shown.shape[:2] == (8, 8)
        assert np.all(shown[:, :, :3] == color)
    with pytest.raises(InputError, match="page is 4; the file has 3, counted from 1"):
        read_pixels(tmp_path / name, page=4)


def test_pages_of_a_deep_tiff_are_taken_by_number_alone(tmp_path):
    pages = [noise(PixelFormat.RGB48, seed=seed) for seed in range(2)]
    path = tmp_path / "pages.tif"
    tifffile.imwrite(path, np.stack(pages), **tiff_options(PixelFormat.RGB48))
    with pytest.raises(InputError, match="has 2 pages or frames"):
        read_pixels(path)
    for page, samples in enumerate(pages, 1):
        assert_pixels(read_pixels(path, page=page), PixelFormat.RGB48, samples)
    with pytest.raises(InputError, match="page is 3; the file has 2"):
        read_pixels(path, page=3)


def test_pages_of_a_tiff_may_differ_in_depth(tmp_path):
    deep, shallow = noise(PixelFormat.RGB48), noise(PixelFormat.RGB24)
    path = tmp_path / "mixed.tif"
    tifffile.imwrite(path, shallow, photometric="rgb")
    tifffile.imwrite(path, deep, photometric="rgb", append=True)
    assert_pixels(read_pixels(path, page=1), PixelFormat.RGB24, shallow)
    assert_pixels(read_pixels(path, page=2), PixelFormat.RGB48, deep)


def test_the_one_page_of_a_file_may_be_named(tmp_path):
    samples = noise(PixelFormat.RGB24)
    Image.fromarray(samples).save(tmp_path / "one.png")
    assert_pixels(read_pixels(tmp_path / "one.png", page=1), PixelFormat.RGB24, samples)
    with pytest.raises(InputError, match="page is 2; the file has 1"):
        read_pixels(tmp_path / "one.png", page=2)


def test_animated_png_of_16_bits_is_refused(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = tmp_path / "deep.png"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content = bytearray(path.read_bytes())
    content[24] = 16  # the depth in IHDR, whose checksum follows
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(InputError, match="animated PNG of 16 bits"):
        read_pixels(path, page=1)


@pytest.mark.parametrize(
    ("page", "error", "sentence"),
    [(0, InputError, "page is 0"), (-1, InputError, "page is -1"), (1.0, TypeError, "page is fl")],
)
def test_a_page_is_a_number_from_1(tmp_path, page, error, sentence):
    Image.new("L", (3, 3)).save(tmp_path / "one.png")
    with pytest.raises(error, match=sentence):
        read_pixels(tmp_path / "one.png", page=page)


def test_what_is_one_picture_has_page_1_alone():
    for picture in (np.zeros((3, 3), np.uint8), Image.new("L", (3, 3))):
        read_pixels(picture, page=1)
        with pytest.raises(InputError, match="page is 2"):
            read_pixels(picture, page=2)


def test_photo_of_a_phone_with_a_second_image_is_read(tmp_path):
    main, preview = Image.new("RGB", (16, 8), "white"), Image.new("RGB", (8, 4), "black")
    main.save(tmp_path / "phone.mpo", save_all=True, append_images=[preview])
    pixels = read_pixels(tmp_path / "phone.mpo")
    assert_pixels(pixels, PixelFormat.RGB24, np.full((8, 16, 3), 255, np.uint8))


def test_file_that_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pixels(tmp_path / "nowhere.png")
    with pytest.raises(OSError, match=r"directory|Permission"):
        read_pixels(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"II*\0\xff\0\0\0"])
def test_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.png"):
        read_pixels(tmp_path / "odd.png")


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.tif", "deep.png", "deep.tif"])
def test_truncated_file_is_named(tmp_path, name):
    path = tmp_path / name
    if name.startswith("deep"):
        save_picture(indexed_image(PixelFormat.RGB48, 300, 40, 50), path)
    else:
        Image.fromarray(noise(PixelFormat.RGB24, 40, 50)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=name):
        read_pixels(path)


def test_pictures_of_scikit_image_are_read():
    skimage_data = pytest.importorskip("skimage.data")
    folder = Path(skimage_data.__file__).parent
    names = {"astronaut.png": "RGB", "camera.png": "L", "logo.png": "RGBA", "page.png": "L"}
    found = [name for name in names if (folder / name).exists()]
    assert found
    for name in found:
        with Image.open(folder / name) as picture:
            mode, samples = picture.mode, np.array(picture)
        if mode == "RGBA":
            samples[samples[..., 3] == 0] = 0
        assert_pixels(read_pixels(folder / name), PixelFormat.from_label(names[name]), samples)


# --- to Pillow and back --------------------------------------------------------------------------

PILLOW_MODES = [
    (PixelFormat.BILEVEL, 2, "1"),
    (PixelFormat.GREY8, 200, "L"),
    (PixelFormat.GREY8_ALPHA, 200, "LA"),
    (PixelFormat.GREY8_ALPHA, 300, "LA"),
    (PixelFormat.GREY16, 300, "I;16"),
    (PixelFormat.RGB24, 1, "P"),
    (PixelFormat.RGB24, 256, "P"),
    (PixelFormat.RGB24, 257, "RGB"),
    (PixelFormat.RGBA32, 256, "P"),
    (PixelFormat.RGBA32, 257, "RGBA"),
    (PixelFormat.CMYK32, 20, "CMYK"),
]


@pytest.mark.parametrize(("pixel_format", "n_colors", "mode"), PILLOW_MODES)
def test_to_pillow_shows_the_same_picture(pixel_format, n_colors, mode):
    image = indexed_image(pixel_format, n_colors, 13, 17)
    picture = to_pillow(image)
    assert picture.mode == mode
    assert picture.size == (17, 13)
    shown = picture.convert(pixel_format.label) if mode == "P" else picture
    np.testing.assert_array_equal(np.asarray(shown), image.to_array())


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA32])
@pytest.mark.parametrize("n_colors", [1, 3, 256])
def test_palette_and_indices_survive_pillow(pixel_format, n_colors):
    image = indexed_image(pixel_format, n_colors, 8, 9)
    picture = to_pillow(image)
    np.testing.assert_array_equal(np.asarray(picture), image.indices)
    assert picture.getpalette() == image.palette[:, :3].ravel().tolist()
    assert indexed_from_pillow(picture) == image


@pytest.mark.parametrize(
    "pixel_format", [PixelFormat.GREY16_ALPHA, PixelFormat.RGB48, PixelFormat.RGBA64]
)
def test_to_pillow_refuses_what_pillow_would_cut(pixel_format):
    with pytest.raises(InputError, match=f"no mode for pixel format {pixel_format.label}.*array"):
        to_pillow(indexed_image(pixel_format, 4, 3, 3))


@pytest.mark.parametrize("n_colors", [16, 300])
def test_metadata_survives_pillow(n_colors):
    metadata = Metadata(
        FULL_METADATA.icc_profile,
        exif_of(6),
        FULL_METADATA.xmp,
        FULL_METADATA.dpi,
        FULL_METADATA.text,
    )
    image = indexed_image(PixelFormat.RGB24, n_colors, 5, 6, metadata=metadata)
    picture = to_pillow(image)
    assert picture.info["icc_profile"] == metadata.icc_profile
    assert picture.info["exif"] == metadata.exif
    assert picture.info["xmp"] == metadata.xmp
    assert picture.info["dpi"] == metadata.dpi
    assert picture.info["text"] == metadata.text
    if picture.mode == "P":
        assert indexed_from_pillow(picture) == image


def test_from_pillow_keeps_order_and_unused_entries():
    image = indexed_from_pillow(palette_image())
    assert image.pixel_format is PixelFormat.RGB24
    np.testing.assert_array_equal(image.palette, PALETTE)
    np.testing.assert_array_equal(image.indices, INDICES)


def test_from_pillow_keeps_hidden_colors_of_a_palette():
    picture = palette_image()
    picture.info["transparency"] = 1
    image = indexed_from_pillow(picture)
    assert image.pixel_format is PixelFormat.RGBA32
    assert image.palette[1].tolist() == [*PALETTE[1].tolist(), 0]


def test_from_pillow_makes_an_entry_of_each_index_and_alpha():
    picture = palette_image().convert("PA")
    picture.putalpha(Image.frombytes("L", (4, 2), bytes([9, 7, 7, 7, 7, 7, 5, 7])))
    image = indexed_from_pillow(picture)
    expected = [(*PALETTE[0], 5), (*PALETTE[0], 9)] + [(*PALETTE[i], 7) for i in (1, 2, 3)]
    assert [tuple(entry) for entry in image.palette] == expected
    assert image.indices.tolist() == [[1, 2, 3, 4], [4, 2, 0, 3]]


def test_from_pillow_takes_the_levels_that_occur():
    image = indexed_from_pillow(Image.frombytes("L", (3, 1), bytes([200, 7, 200])))
    assert image.palette.ravel().tolist() == [7, 200]
    assert image.indices.tolist() == [[1, 0, 1]]
    bilevel = Image.new("1", (3, 1))
    bilevel.putpixel((1, 0), 1)
    image = indexed_from_pillow(bilevel)
    assert image.pixel_format is PixelFormat.BILEVEL
    assert image.palette.ravel().tolist() == [0, 1]
    assert image.indices.tolist() == [[0, 1, 0]]


def test_from_pillow_gives_a_transparent_level_alpha():
    picture = Image.frombytes("L", (3, 1), bytes([200, 7, 200]))
    picture.info["transparency"] = 7
    image = indexed_from_pillow(picture)
    assert image.pixel_format is PixelFormat.GREY8_ALPHA
    assert image.palette.tolist() == [[7, 0], [200, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_from_pillow_refuses_other_modes(mode):
    with pytest.raises(InputError, match=rf"mode {mode}; .*kmq\.quantize"):
        indexed_from_pillow(Image.new(mode, (2, 2)))


def test_from_pillow_refuses_other_types():
    with pytest.raises(TypeError, match="must be a Pillow image"):
        indexed_from_pillow(np.zeros((2, 2), np.uint8))
