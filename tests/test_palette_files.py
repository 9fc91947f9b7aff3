"""Palette files of other programs and our own, in and out."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.GimpPaletteFile import GimpPaletteFile

import kmq
from kmq.errors import FormatError, InputError
from kmq.model.pixel_format import PixelFormat
from kmq.stages.palette import files
from kmq.stages.pictures import arrays

ALL = (".gpl", ".act", ".pal", ".hex", ".txt", ".json", ".png", ".kmq", ".kmqpal")
THREE = [[255, 0, 10], [1, 2, 3], [255, 0, 10]]


def written(tmp_path, suffix, content):
    path = tmp_path / f"theme{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def palette_of(pixel_format, n_colors, seed=0):
    """Distinct colours, black and white and, with alpha, the one transparent colour among them."""
    rng = np.random.default_rng(seed)
    top = pixel_format.max_value
    colors = rng.integers(0, top + 1, (4 * n_colors, pixel_format.channels))
    colors[0], colors[1] = top, 0
    if pixel_format.has_alpha:
        colors[colors[:, -1] == 0] = 0
    _, first = np.unique(colors, axis=0, return_index=True)
    return colors[np.sort(first)][:n_colors].astype(pixel_format.dtype)


# --- writing and reading back --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("n_colors", [1, 2, 17, 256])
def test_rgb_comes_back_in_its_order(tmp_path, suffix, n_colors):
    colors = palette_of(PixelFormat.RGB24, n_colors)[::-1]
    path = tmp_path / f"theme{suffix}"
    kmq.write_palette(path, colors)
    again = kmq.read_palette(path)
    assert again.dtype == np.uint8
    assert np.array_equal(again, colors)


@pytest.mark.parametrize("suffix", ALL)
def test_repeated_entries_are_kept(tmp_path, suffix):
    kmq.write_palette(tmp_path / f"theme{suffix}", THREE)
    assert kmq.read_palette(tmp_path / f"theme{suffix}").tolist() == THREE


@pytest.mark.parametrize("suffix", [s for s in ALL if s != ".act"])
def test_more_than_256_colours_come_back(tmp_path, suffix):
    colors = palette_of(PixelFormat.RGB24, 1000)
    kmq.write_palette(tmp_path / f"theme{suffix}", colors)
    assert np.array_equal(kmq.read_palette(tmp_path / f"theme{suffix}"), colors)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("suffix", [".json", ".kmqpal", ".kmq"])
def test_our_own_kinds_hold_every_pixel_format(tmp_path, suffix, pixel_format):
    colors = palette_of(pixel_format, 40)
    kmq.write_palette(tmp_path / f"theme{suffix}", colors, pixel_format=pixel_format)
    again = kmq.read_palette(tmp_path / f"theme{suffix}")
    assert again.pixel_format is pixel_format
    assert np.array_equal(again, colors)


HOLDS = {
    ".gpl": {"1", "L", "RGB"},
    ".pal": {"1", "L", "RGB"},
    ".act": {"1", "L", "RGB"},
    ".hex": {"1", "L", "LA", "RGB", "RGBA", "L16", "LA16", "RGB48", "RGBA64"},
    ".txt": {"1", "L", "LA", "RGB", "RGBA", "L16", "LA16", "RGB48", "RGBA64"},
    ".png": {"1", "L", "LA", "RGB", "RGBA", "L16", "LA16", "RGB48", "RGBA64"},
}


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("suffix", sorted(HOLDS))
def test_kinds_hold_a_pixel_format_unchanged_or_refuse_it(tmp_path, suffix, pixel_format):
    colors = palette_of(pixel_format, 40)
    path = tmp_path / f"theme{suffix}"
    if pixel_format.label not in HOLDS[suffix]:
        with pytest.raises(InputError, match=r"theme\.\w+.* hold"):
            kmq.write_palette(path, colors, pixel_format=pixel_format)
        assert not path.exists()
        return
    kmq.write_palette(path, colors, pixel_format=pixel_format)
    again = kmq.read_palette(path)
    one = kmq.ColorHistogram(again[:1], np.ones(1, int), again.pixel_format)
    for color, entry in zip(colors, again, strict=True):
        one = kmq.ColorHistogram(entry[None], np.ones(1, int), again.pixel_format)
        assert one.to_format(pixel_format).colors[0].tolist() == color.tolist()


def test_16_bits_that_8_can_say_fit_where_8_do(tmp_path):
    kmq.write_palette(tmp_path / "x.gpl", np.array(THREE, np.uint16) * 257)
    assert kmq.read_palette(tmp_path / "x.gpl").tolist() == THREE


def test_palette_of_an_image_is_written(tmp_path):
    image = kmq.quantize(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 5)
    kmq.write_palette(tmp_path / "x.hex", image)
    assert np.array_equal(kmq.read_palette(tmp_path / "x.hex"), image.palette)


def test_any_kmq_file_is_a_palette_file_by_any_name(tmp_path):
    image = kmq.quantize(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 5)
    for name in ("picture.kmq", "picture.kmqpal", "picture.gpl"):
        (tmp_path / name).write_bytes(kmq.encode(image))
        assert np.array_equal(kmq.read_palette(tmp_path / name), image.palette)


def test_kmqpal_is_a_kmq_file_of_one_row(tmp_path):
    kmq.write_palette(tmp_path / "theme.kmqpal", THREE)
    image = kmq.read(tmp_path / "theme.kmqpal")
    assert image.indices.tolist() == [[0, 1, 2]]
    assert image.palette.tolist() == THREE


def test_png_is_a_swatch_of_blocks(tmp_path):
    colors = palette_of(PixelFormat.RGB24, 20)
    kmq.write_palette(tmp_path / "theme.png", colors)
    with Image.open(tmp_path / "theme.png") as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert shown.shape == (32, 256, 3)
    for number, color in enumerate(colors):
        row, column = divmod(number, 16)
        assert np.all(shown[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] == color)
    assert np.all(shown[16:, 64:] == colors[-1])


# --- what other programs write -------------------------------------------------------------------


def test_pillow_reads_our_gimp_palettes_alike(tmp_path):
    colors = palette_of(PixelFormat.RGB24, 100)
    kmq.write_palette(tmp_path / "theme.gpl", colors)
    with open(tmp_path / "theme.gpl", "rb") as stream:
        content, mode = GimpPaletteFile(stream).getpalette()
    assert mode == "RGB"
    assert content[:300] == colors.tobytes()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_gimp_palette_with_names_and_comments(tmp_path, end):
    header = ["GIMP Palette", "Name: Fünf: 5", "Columns: 3", "# a comment", "#", ""]
    text = end.join([*header, "255   0  10\tRed 9", "  1   2   3 1 2 3", "255 0 10"])
    assert kmq.read_palette(written(tmp_path, ".gpl", text)).tolist() == THREE
    assert kmq.read_palette(written(tmp_path, ".GPL", "\ufeff" + text)).tolist() == THREE
    latin = written(tmp_path, ".gpl", text.encode("latin-1"))
    assert kmq.read_palette(latin).tolist() == THREE


def test_aseprite_palette_with_alpha(tmp_path):
    text = "GIMP Palette\nChannels: RGBA\n#\n255 0 10 128 Red\n1 2 3 0 Hidden\n1 2 3 255\n"
    palette = kmq.read_palette(written(tmp_path, ".gpl", text))
    assert palette.tolist() == [[255, 0, 10, 128], [0, 0, 0, 0], [1, 2, 3, 255]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_jasc_palette(tmp_path, end):
    text = end.join(["JASC-PAL", "0100", "3", "255 0 10", "1 2 3", "255 0 10", "", ""])
    assert kmq.read_palette(written(tmp_path, ".pal", text)).tolist() == THREE


def test_adobe_table_of_768_bytes(tmp_path):
    table = np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(256, 3)
    assert np.array_equal(kmq.read_palette(written(tmp_path, ".act", table.tobytes())), table)


@pytest.mark.parametrize(
    ("n_colors", "transparent", "expected"),
    [
        (3, 0xFFFF, THREE),
        (3, 1, [[255, 0, 10, 255], [0, 0, 0, 0], [255, 0, 10, 255]]),
        (2, 3, THREE[:2]),
    ],
)
def test_adobe_table_of_772_bytes(tmp_path, n_colors, transparent, expected):
    table = np.array(THREE, np.uint8).tobytes().ljust(768, b"\7")
    content = table + n_colors.to_bytes(2) + transparent.to_bytes(2)
    assert kmq.read_palette(written(tmp_path, ".act", content)).tolist() == expected


def test_adobe_table_without_a_count_is_full(tmp_path):
    path = written(tmp_path, ".act", bytes(770) + b"\xff\xff")
    assert kmq.read_palette(path).shape == (256, 3)


def test_adobe_table_holds_one_transparent_colour(tmp_path):
    colors = [[255, 0, 10, 255], [0, 0, 0, 0], [4, 5, 6, 255]]
    path = tmp_path / "x.act"
    kmq.write_palette(path, colors)
    assert kmq.read_palette(path).tolist() == colors
    assert path.read_bytes()[768:] == bytes([0, 3, 0, 1])
    for wrong in ([[1, 2, 3, 4]], [[0, 0, 0, 0], [0, 0, 0, 0]]):
        with pytest.raises(InputError, match="one fully transparent colour"):
            kmq.write_palette(path, wrong)
    assert kmq.read_palette(path).tolist() == colors
    kmq.write_palette(path, [[1, 2, 3, 255]])
    assert kmq.read_palette(path).tolist() == [[1, 2, 3]]
    with pytest.raises(InputError, match="257 colours; Adobe colour tables hold up to 256"):
        kmq.write_palette(path, palette_of(PixelFormat.RGB24, 257))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ff000a\r\n010203\r\nff000a\r\n", THREE),
        ("#FF000A #010203, ff000a", THREE),
        ("; a comment\n# one\nff000a ; red\n\n010203\nFF000A", THREE),
        ("f00 0f08", [[255, 0, 0, 255], [0, 255, 0, 136]]),
        ("ff000a80 010203", [[255, 0, 10, 128], [1, 2, 3, 255]]),
        ("0001000200ff ffffff", [[1, 2, 255], [65535, 65535, 65535]]),
        ("00010002000300ff", [[1, 2, 3, 255]]),
        (
            "; paint.net Palette File\n;aarrggbb\n80ff000a\nff010203",
            [[255, 0, 10, 128], [1, 2, 3, 255]],
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".hex", ".txt"])
def test_hex_lists(tmp_path, suffix, text, expected):
    assert kmq.read_palette(written(tmp_path, suffix, text)).tolist() == expected


@pytest.mark.parametrize(
    ("found", "label", "expected"),
    [
        (THREE, "RGB", THREE),
        ({"colors": ["ff000a", "#010203"], "name": "x", "author": "y"}, "RGB", THREE[:2]),
        ({"palette": [[1], [2]]}, "L", [[1], [2]]),
        ({"palette": [[1], [2]], "pixel_format": "L16"}, "L16", [[1], [2]]),
        ({"palette": [[1, 2, 3, 4]], "pixel_format": "CMYK"}, "CMYK", [[1, 2, 3, 4]]),
        ([[1, 2, 3, 0], [256, 2, 3, 4]], "RGBA64", [[0, 0, 0, 0], [256, 2, 3, 4]]),
    ],
)
def test_json(tmp_path, found, label, expected):
    palette = kmq.read_palette(written(tmp_path, ".json", json.dumps(found)))
    assert palette.pixel_format.label == label
    assert palette.tolist() == expected


def test_what_info_says_in_json_is_a_palette(tmp_path, capsys):
    from kmq.cli import main

    kmq.write_palette(tmp_path / "x.kmq", THREE)
    assert main(["info", "--json", str(tmp_path / "x.kmq")]) == 0
    path = written(tmp_path, ".json", capsys.readouterr().out)
    assert kmq.read_palette(path).tolist() == THREE


def test_picture_with_a_palette_gives_it_as_it_is(tmp_path):
    picture = Image.new("P", (2, 2))
    picture.putpalette(np.array(THREE, np.uint8).tobytes())
    for name in ("theme.png", "theme.gif"):
        picture.save(tmp_path / name)
        assert kmq.read_palette(tmp_path / name)[:1].tolist() == THREE[:1]
    assert kmq.read_palette(tmp_path / "theme.png").tolist() == THREE


def test_swatch_without_a_palette_is_read_row_by_row(tmp_path):
    rows = np.array([[[9, 9, 9]] * 2 + [[1, 2, 3]], [[9, 9, 9]] * 2 + [[7, 0, 0]]], np.uint8)
    Image.fromarray(rows.repeat(5, axis=0)).save(tmp_path / "theme.bmp")
    assert kmq.read_palette(tmp_path / "theme.bmp").tolist() == [[9, 9, 9], [1, 2, 3], [7, 0, 0]]


def test_colours_of_several_blocks_come_once_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 70)
    rows = np.random.default_rng(0).integers(0, 9, (90, 11, 3), np.uint8)
    rows[-1, -1] = 255
    Image.fromarray(rows).save(tmp_path / "theme.png")
    expected = list(dict.fromkeys(map(tuple, rows.reshape(-1, 3).tolist())))
    assert list(map(tuple, kmq.read_palette(tmp_path / "theme.png").tolist())) == expected


def test_fully_transparent_entries_of_a_picture_are_0(tmp_path):
    picture = Image.new("P", (2, 2))
    picture.putpalette(np.array(THREE, np.uint8).tobytes())
    picture.save(tmp_path / "theme.png", transparency=b"\x80\0")
    assert kmq.read_palette(tmp_path / "theme.png").tolist() == [
        [*THREE[0], 128],
        [0, 0, 0, 0],
        [*THREE[2], 255],
    ]


@pytest.mark.parametrize(("mode", "most"), [("P", 0.1), ("L", 1), ("RGB", 3), ("RGBA", 5)])
def test_the_palette_of_a_large_picture_takes_no_more_than_the_picture(tmp_path, mode, most):
    """Beside what Pillow takes, which is not counted here."""
    picture = Image.new(mode, (4000, 2000), "black")
    picture.putpixel((9, 9), 3 if mode in "PL" else (3, 3, 3))
    picture.save(tmp_path / "large.png", compress_level=1)
    kmq.read_palette(tmp_path / "large.png")
    tracemalloc.start()
    try:
        assert len(kmq.read_palette(tmp_path / "large.png")) >= 2
        assert tracemalloc.get_traced_memory()[1] < most * 8_000_000 + 10_000_000
    finally:
        tracemalloc.stop()


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "content", "sentence"),
    [
        (".gpl", "", "GIMP Palette"),
        (".gpl", "1 2 3\n", "GIMP Palette"),
        (".gpl", "GIMP Palette\n", "no colours"),
        (".gpl", "GIMP Palette\n1 2\n", "line 2 is '1 2'"),
        (".gpl", "GIMP Palette\n1 2 256\n", "line 2"),
        (".gpl", "GIMP Palette\n1 -2 25\n", "line 2"),
        (".gpl", "GIMP Palette\n1 2 ٣\n", "line 2"),
        (".gpl", "GIMP Palette\nChannels: RGBA\n1 2 3 name\n", "4 numbers"),
        (".gpl", "GIMP Palette\n" + "1 2 3\n" * 65_537, "65537 colours"),
        (".pal", b"RIFF\0\0\0\0PAL data", "Microsoft"),
        (".pal", "JASC\n", "JASC-PAL"),
        (".pal", "JASC-PAL\n0100\n", "third line"),
        (".pal", "JASC-PAL\n0100\nmany\n", "third line"),
        (".pal", "JASC-PAL\n0100\n0\n", "no colours"),
        (".pal", "JASC-PAL\n0100\n3\n1 2 3\n", "3 colours, and has 1"),
        (".pal", "JASC-PAL\n0100\n1\n1 2\n", "line 4"),
        (".act", bytes(767), "767 bytes"),
        (".act", bytes(768) + b"\1\1\0\0", "257 colours"),
        (".hex", "", "no colours"),
        (".hex", "ff00\nzz0000", "'zz0000' is not a colour"),
        (".hex", "ff00f", "'ff00f' is not a colour"),
        (".hex", "000 " * 65_537, "65537 colours"),
        (".json", "", "not JSON"),
        (".json", "[" * 100_000, "not JSON"),
        (".json", b"\xff\xfe", "not JSON"),
        (".json", "3", "no list"),
        (".json", '{"colours": []}', "no list"),
        (".json", "[]", "no colours"),
        (".json", "[[1, 2, 3], 4]", "neither"),
        (".json", "[[1, 2, true]]", "neither"),
        (".json", "[[1, 2, 3.5]]", "neither"),
        (".json", "[[1, 2, -1]]", "neither"),
        (".json", "[[1, 2, 65536]]", "neither"),
        (".json", "[[1, 2, 3, 4, 5]]", "neither"),
        (".json", '["red"]', "'red' is not a colour"),
        (".json", "[[1, 2, 3], [4]]", "differ"),
        (".json", '{"palette": [[1]], "pixel_format": 3}', "pixel_format"),
        (".json", '{"palette": [[1]], "pixel_format": "XYZ"}', "no pixel format 'XYZ'"),
        (".json", '{"palette": [[1]], "pixel_format": "RGB"}', "RGB has 3 of up to 255"),
        (".json", '{"palette": [[256]], "pixel_format": "L"}', "up to 256"),
        (".png", "no picture", "not a picture"),
        (".odd", "no picture", "not a picture"),
    ],
)
def test_what_is_no_palette_is_refused_in_a_sentence(tmp_path, suffix, content, sentence):
    path = written(tmp_path, suffix, content)
    with pytest.raises(InputError) as caught:
        kmq.read_palette(path)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_too_long_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 20)
    with pytest.raises(InputError, match="longer than the 20 bytes"):
        kmq.read_palette(written(tmp_path, ".hex", "000\n" * 6))


def test_damaged_kmq_file_is_a_format_error(tmp_path):
    with pytest.raises(FormatError):
        kmq.read_palette(written(tmp_path, ".kmqpal", "nothing of the kind"))


def test_photograph_and_animation_are_no_palette_files(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(samples).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"more than 65536 distinct colours"):
        kmq.read_palette(tmp_path / "photo.png")
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="has 2 pages or frames"):
        kmq.read_palette(tmp_path / "moving.gif")


STARTS = [b"", b"GIMP Palette\n", b"GIMP Palette\nChannels: RGBA\n", b"JASC-PAL\r\n0100\r\n2\r\n"]


@pytest.mark.parametrize("suffix", sorted(files.KINDS))
@settings(max_examples=60, deadline=None)
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=80) | st.text("0123456789 \n[],#af"))
def test_any_bytes_are_a_palette_or_an_error(suffix, start, rest):
    content = start + (rest if isinstance(rest, bytes) else rest.encode())
    kind = files.KINDS[suffix]
    try:
        palette = kind.read(content)
    except InputError:
        return
    colors, pixel_format = palette.colors, palette.pixel_format
    assert colors.dtype == pixel_format.dtype
    assert colors.shape[1] == pixel_format.channels
    assert 1 <= len(colors) <= 65_536
    assert colors.max() <= pixel_format.max_value


@settings(max_examples=30, deadline=None)
@given(content=st.binary(min_size=772, max_size=772))
def test_any_772_bytes_are_a_colour_table_or_an_error(content):
    try:
        colors = files.KINDS[".act"].read(content).colors
    except InputError:
        assert int.from_bytes(content[768:770]) > 256
        return
    assert len(colors) == (int.from_bytes(content[768:770]) or 256)


@pytest.mark.parametrize(
    ("palette", "options", "error", "sentence"),
    [
        ([[0.5, 1, 2]], {}, TypeError, "whole numbers"),
        ([1, 2, 3], {}, InputError, "shape"),
        (np.empty((0, 3), int), {}, InputError, "shape"),
        (np.zeros((1, 5), int), {}, InputError, "shape"),
        (np.zeros((65_537, 1), int), {}, InputError, "shape"),
        ([[1, 2, 256]], {}, InputError, "from 1 to 256"),
        ([[1, 2, -1]], {}, InputError, "from -1 to 2"),
        ([[1, 2, 3]], {"pixel_format": "CMYK"}, InputError, "CMYK needs"),
        ([[1, 2, 3]], {"pixel_format": "XYZ"}, InputError, "no pixel format"),
        ([[1, 2, 3]], {"pixel_format": 3}, TypeError, "pixel_format is int"),
        ([[1, 2, 3], [4, 5]], {}, InputError, "rows differ in length"),
        ([], {}, InputError, "shape"),
    ],
)
def test_what_is_no_palette_is_not_written(tmp_path, palette, options, error, sentence):
    with pytest.raises(error, match=sentence):
        kmq.write_palette(tmp_path / "x.json", palette, **options)
    assert not list(tmp_path.iterdir())


def test_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"x\.aco.*\.gpl, \.act"):
        kmq.write_palette(tmp_path / "x.aco", THREE)


# --- quantize ------------------------------------------------------------------------------------


def test_quantize_takes_the_palette_of_a_file(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for suffix in ALL:
        kmq.write_palette(tmp_path / f"x{suffix}", THREE[:2])
        for path in (tmp_path / f"x{suffix}", str(tmp_path / f"x{suffix}")):
            image = kmq.quantize(picture, palette=path)
            assert image == kmq.quantize(picture, palette=THREE[:2])
    encoded = kmq.encode(picture, palette=tmp_path / "x.gpl")
    assert kmq.decode(encoded).palette.tolist() == THREE[:2]


def grey(level=100):
    return np.full((3, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("picture", "text", "label", "shown"),
    [
        (grey(), "000000 646464", "L", [100]),
        (grey(), "000000 ff6464", "RGB", [255, 100, 100]),
        (np.dstack([grey()] * 4), "000000 646464", "RGBA", [100, 100, 100, 255]),
        (np.dstack([grey()] * 3), "00000000 646464ff", "RGBA", [100, 100, 100, 255]),
        (np.dstack([grey()] * 3), "000000ff 646464ff", "RGB", [100, 100, 100]),
        (np.dstack([grey()] * 3).astype(np.uint16) * 257, "000000 646464", "RGB48", [25700] * 3),
        (grey(), "000100020003", "RGB48", [1, 2, 3]),
        (grey() > 1, "000000 ffffff", "1", [1]),
        (grey() > 1, "000000 fffff0", "RGB", [255, 255, 240]),
    ],
)
def test_palette_of_a_file_and_picture_meet_in_one_pixel_format(
    tmp_path, picture, text, label, shown
):
    image = kmq.quantize(picture, palette=written(tmp_path, ".hex", text))
    assert image.pixel_format.label == label
    assert image.palette[image.indices[0, 0]].tolist() == shown


def test_cmyk_pictures_have_cmyk_palettes(tmp_path):
    picture = np.zeros((3, 3, 4), np.uint8)
    kmq.write_palette(tmp_path / "x.json", [[0, 0, 0, 9]], pixel_format="CMYK")
    image = kmq.quantize(picture, palette=tmp_path / "x.json", pixel_format="CMYK")
    assert image.palette.tolist() == [[0, 0, 0, 9]]
    with pytest.raises(InputError, match="CMYK and RGB have no pixel format in common"):
        kmq.quantize(picture, palette=written(tmp_path, ".hex", "fff"), pixel_format="CMYK")
