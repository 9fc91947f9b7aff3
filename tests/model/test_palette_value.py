"""`kmq.Palette`, and what images and curves give of themselves."""

import copy
import io
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq import InputError, Palette, PixelFormat

RANDOM = np.random.default_rng(3)
PICTURE = RANDOM.integers(0, 256, (20, 24, 3)).astype(np.uint8)


def test_hexadecimal_goes_in_and_comes_out():
    palette = Palette(["#ff8800", "123456", "#fff"])
    assert palette.hex == ("#ff8800", "#123456", "#ffffff")
    assert palette.pixel_format is PixelFormat.RGB24
    assert Palette(palette.hex) == palette
    assert Palette(["#ff880080"]).hex == ("#ff880080",)
    assert Palette([[128], [0]]).hex == ("#808080", "#000000")
    assert Palette([[0], [1]], "1").hex == ("#000000", "#ffffff")
    assert Palette(["111122223333"]).pixel_format is PixelFormat.RGB48
    with pytest.raises(InputError, match="CMYK"):
        _ = Palette([[1, 2, 3, 4]], "CMYK").hex


def test_a_palette_is_an_array_to_numpy():
    rows = [[1, 2, 3], [4, 5, 6]]
    palette = Palette(rows)
    assert len(palette) == 2
    assert palette.shape == (2, 3)
    assert palette.tolist() == rows == [color.tolist() for color in palette]
    assert palette[1].tolist() == rows[1]
    assert np.asarray(palette).dtype == np.uint8
    assert np.array_equal(np.array(palette, int), rows)
    assert not np.asarray(palette).flags.writeable


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (([[1, 2, 256]],), InputError, "colors go from 1 to 256; pixel format RGB goes from 0 to"),
        (([[0.5, 1, 2]],), TypeError, "colors have dtype float64; colours are whole numbers"),
        (([],), InputError, "colors have shape"),
        ((["reddish"],), InputError, "'reddish' is not a colour"),
        (([[1, 2, 3]], "CMYK"), InputError, "needs"),
        (([[1, 2, 3]], "BGR"), InputError, "no pixel format 'BGR'"),
        (([[1, 2, 3]], 3), TypeError, "pixel_format is int"),
        (([[1, 2, 3]], None, [2]), InputError, "shares have shape"),
        (([[1, 2, 3]], None, [0.5, 0.5]), InputError, "shares have shape"),
        (([[1, 2, [3]]],), InputError, "colors is not an array: its rows differ in length"),
        (([[1, 2, 3], [4]],), InputError, "colors is not an array"),
        (([[1, 2, 10**400]],), TypeError, "colors have dtype object"),
        (([[1, 2, 3]], None, [10**400]), TypeError, "shares have dtype object"),
        (([[1, 2, 3]], None, "half"), TypeError, "shares have dtype"),
    ],
)
def test_what_is_no_palette_is_refused(given, error, sentence):
    with pytest.raises(error, match=sentence):
        Palette(*given)


def test_copies_and_pickles_are_equal_and_shares_do_not_count():
    palette = Palette([[1, 2, 3], [4, 5, 6]], shares=[0.25, 0.75])
    for other in (copy.deepcopy(palette), pickle.loads(pickle.dumps(palette))):  # noqa: S301
        assert other == palette
        assert other.shares.tolist() == [0.25, 0.75]
    assert Palette(palette.colors) == palette
    assert Palette(palette.colors[::-1]) != palette
    assert palette != palette.tolist()


def test_shares_are_those_of_the_pixels_and_sort():
    image = kmq.quantize(PICTURE, 5, space="rgb")
    palette = image.to_palette()
    assert np.array_equal(palette.colors, image.palette)
    assert np.array_equal(palette.shares, image.counts / image.indices.size)
    ordered = palette.sorted_by_share()
    assert np.all(np.diff(ordered.shares) <= 0)
    assert sorted(ordered.tolist()) == sorted(palette.tolist())
    with pytest.raises(InputError, match="no shares to sort by"):
        Palette([[1, 2, 3]]).sorted_by_share()
    fitted = kmq.fit_palette(kmq.ColorHistogram.from_picture(PICTURE), 5, space="rgb")
    assert fitted == palette
    assert np.allclose(fitted.shares, palette.shares)


def test_files_keep_the_pixel_format_and_palettes_go_where_colours_go(tmp_path):
    inks = Palette([[0, 10, 20, 30], [255, 0, 0, 0]], "CMYK")
    kmq.write_palette(tmp_path / "inks.json", inks)
    assert kmq.read_palette(tmp_path / "inks.json") == inks
    grey = PICTURE[:, :, 0]
    tints = Palette(["#ff0000", "#00ff00"])
    for given in (tints, tints.tolist(), tints.hex):
        image = kmq.quantize(PICTURE, palette=given)
        assert image.to_palette() == tints
    assert kmq.quantize(grey, palette=tints).pixel_format is PixelFormat.RGB24
    assert {*map(tuple, tints.tolist())} <= {
        *map(tuple, kmq.quantize(PICTURE, 9, require=tints).palette.tolist())
    }
    assert kmq.quantize(PICTURE, start=tints) == kmq.quantize(PICTURE, 2, start=tints.tolist())


@pytest.mark.parametrize("suffix", [".gpl", ".pal", ".json", ".png", ".kmqpal", ".hex"])
def test_palettes_are_read_from_file_objects(tmp_path, suffix):
    palette = Palette(["#ff8800", "#123456"])
    path = tmp_path / f"theme{suffix}"
    kmq.write_palette(path, palette)
    with path.open("rb") as file:
        assert kmq.read_palette(file) == palette
        assert not file.closed
    if suffix != ".hex":  # says nothing of itself
        stream = io.BytesIO(b"head" + path.read_bytes())
        stream.seek(4)
        assert kmq.read_palette(stream) == palette
    with pytest.raises(TypeError, match="source is int; it must be a path"):
        kmq.read_palette(3)


def test_labels_stand_for_pixel_formats():
    assert PixelFormat("RGB") is PixelFormat.RGB24
    assert PixelFormat("L16") is PixelFormat.GREY16
    with pytest.raises(InputError, match="no pixel format 'BGR'; kmq has 1, L, "):
        PixelFormat("BGR")
    image = kmq.quantize(PICTURE, 4)
    assert kmq.IndexedImage(image.palette, image.indices, "RGB") == image
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    assert kmq.ColorHistogram(histogram.colors, histogram.counts, "RGB") == histogram


def test_images_are_opened_as_they_were_saved(tmp_path):
    image = kmq.quantize(PICTURE, 4)
    for name in ("x.kmq", "x.png"):
        image.save(tmp_path / name)
        again = kmq.IndexedImage.open(tmp_path / name)
        assert np.array_equal(again.palette, image.palette)
        assert np.array_equal(again.indices, image.indices)
        with (tmp_path / name).open("rb") as file:
            assert kmq.IndexedImage.open(file) == again
    Image.fromarray(PICTURE).save(tmp_path / "y.png")
    with pytest.raises(InputError, match=r"quantize"):
        kmq.IndexedImage.open(tmp_path / "y.png")


def png_chunk(name, content):
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_of_indices(*chunks):
    """A PNG file of one row of four indices, and no palette unless a chunk has one."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 3, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0\0\1\2\3"))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


COLORS = png_chunk(b"PLTE", bytes(range(12)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (png_of_indices(), "picture has indices, but no palette to look them up in"),
        (png_of_indices(png_chunk(b"gAMA", b"\0"), COLORS), "Truncated gAMA chunk"),
        (png_of_indices(png_chunk(b"cHRM", b"\0\1"), COLORS), "Truncated cHRM chunk"),
        (png_of_indices(COLORS)[:-26], "cannot be decoded"),
        (b"%PDF-1.4", "is not a picture in a format that Pillow knows"),
        (b"", "is not a picture in a format that Pillow knows"),
    ],
)
def test_every_door_to_palettes_tells_in_one_way_what_is_wrong_with_a_picture(
    content, sentence, tmp_path
):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for read in (kmq.IndexedImage.open, kmq.read_palette, kmq.quantize):
        with pytest.raises(InputError, match=sentence) as raised:
            read(path)
        assert "x.png" in str(raised.value)
        with pytest.raises(InputError, match=sentence):
            read(io.BytesIO(content))


def test_images_are_opened_whatever_pillow_s_own_limit(tmp_path, monkeypatch):
    image = kmq.quantize(PICTURE, 4)
    image.save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert kmq.IndexedImage.open(tmp_path / "x.png") == kmq.IndexedImage.open(tmp_path / "x.png")


def test_notebooks_show_palettes_and_curves_read_well():
    shown = kmq.quantize(PICTURE, 3).to_palette()._repr_html_()
    assert shown.count("<span") == 3
    assert "%" in shown
    assert repr(Palette(["#fff"])) == "<kmq.Palette RGB, 1 colour>"
    assert repr(kmq.error_curve(PICTURE, 9)).startswith("<kmq.ErrorCurve up to 9 colours, knee at ")


def test_a_curve_draws_itself():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    curve = kmq.error_curve(PICTURE, 9)
    axes = curve.plot(figure.add_subplot())
    assert axes.lines[0].get_xdata().tolist() == curve.k.tolist()


def test_an_image_takes_a_palette_and_says_its_colours_in_hexadecimal():
    indices = np.zeros((2, 3), np.uint8)
    palette = Palette(["#00000000", "#ff880080"])
    image = kmq.IndexedImage(palette, indices)
    assert image == kmq.IndexedImage(palette.colors, indices, "RGBA")
    assert image == kmq.IndexedImage(palette.colors, indices)
    assert image.hex == palette.hex
    pickled = pickle.loads(pickle.dumps(image))  # noqa: S301
    for copied in (copy.copy(image), copy.deepcopy(image), pickled):
        assert copied == image
        assert copied.hex == palette.hex
    ink = Palette([(1, 2, 3, 4)], "CMYK")
    assert kmq.IndexedImage(ink, indices).pixel_format is kmq.PixelFormat.CMYK32
    with pytest.raises(kmq.InputError, match="pixel format RGB needs"):
        kmq.IndexedImage(ink, indices, "RGB")


def test_results_read_well_in_a_line(tmp_path):
    points = np.array([[0.0], [1], [9]])
    assert repr(kmq.kmeans(points, 2)) == (
        "<kmq.KMeansResult 2 clusters of 3 points, inertia 0.5, 1 round>"
    )
    kmq.IndexedImage(Palette(["#fff"]), np.zeros((2, 3), np.uint8)).save(tmp_path / "x.kmq")
    assert repr(kmq.info(tmp_path / "x.kmq")).startswith(
        "<kmq.FileInfo 3x2 RGB, 1 colour, 1 strip, "
    )
