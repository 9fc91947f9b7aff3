"""gAMA, cHRM, sRGB and cICP: kept from file to file, and said where colours are not sRGB."""

import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, features

import kmq
import kmq.pillow
from images import COLOR_TAGS
from kmq.cli import main
from kmq.errors import ColorWarning, MetadataWarning
from kmq.stages.pictures.reading import read_pixels
from kmq.stages.pictures.writing import save_picture

TAGS = {
    b"gAMA": struct.pack(">I", 45_455),
    b"cHRM": struct.pack(">8I", 31_270, 32_900, 70_800, 29_200, 17_000, 79_700, 13_100, 4_600),
    b"sRGB": b"\1",
    b"cICP": bytes([9, 16, 0, 1]),
}
SRGB_PLACES = struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
FORMATS = {"L": (np.uint8, 1), "LA": (np.uint8, 2), "RGB": (np.uint8, 3), "RGBA": (np.uint8, 4)}
FORMATS |= {"L16": (np.uint16, 1), "RGB48": (np.uint16, 3), "RGBA64": (np.uint16, 4)}


def png(tags, pixel_format="RGB"):
    """A PNG with these chunks before its pixels."""
    dtype, channels = FORMATS[pixel_format]
    samples = np.arange(1, 1 + 12 * channels, dtype=dtype).reshape(3, 4, channels)
    encoded = imagecodecs.png_encode(samples if channels > 1 else samples[..., 0])
    chunks = [
        struct.pack(">I", len(content))
        + name
        + content
        + zlib.crc32(name + content).to_bytes(4, "big")
        for name, content in tags.items()
    ]
    return encoded[:33] + b"".join(chunks) + encoded[33:]


def tags_of(content):
    """Those chunks of a PNG, in front of palette and pixels."""
    found, place = {}, 8
    while content[place + 4 : place + 8] not in (b"PLTE", b"IDAT"):
        size = int.from_bytes(content[place : place + 4], "big")
        found[content[place + 4 : place + 8]] = content[place + 8 : place + 8 + size]
        place += size + 12
    return {name: chunk for name, chunk in found.items() if name in TAGS}


@pytest.mark.filterwarnings("ignore::kmq.ColorWarning")
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_they_go_from_png_to_kmq_and_back(tmp_path, pixel_format):
    source, packed, back = (tmp_path / name for name in ("a.png", "a.kmq", "b.png"))
    source.write_bytes(png(TAGS, pixel_format))
    assert read_pixels(source).metadata == COLOR_TAGS
    kmq.write(packed, source)
    assert kmq.info(packed).metadata == COLOR_TAGS
    image = kmq.read(packed)
    assert image.pixel_format.label == pixel_format
    assert image.metadata == COLOR_TAGS
    save_picture(image, back)
    assert tags_of(back.read_bytes()) == TAGS


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.filterwarnings("ignore::kmq.ColorWarning")
def test_each_goes_by_itself(tmp_path, name):
    source, packed, back = (tmp_path / name for name in ("a.png", "a.kmq", "b.png"))
    source.write_bytes(png({name: TAGS[name]}))
    kmq.write(packed, source)
    save_picture(kmq.read(packed), back)
    assert tags_of(back.read_bytes()) == {name: TAGS[name]}


def test_pillow_hands_them_on(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png({name: TAGS[name] for name in (b"gAMA", b"sRGB")}))
    with Image.open(path) as picture:
        info = kmq.quantize(picture, 4).to_pillow().info
    assert (info["gamma"], info["srgb"]) == (0.45455, 1)
    assert "cicp" not in info


def test_saving_through_pillow_keeps_and_says_them(tmp_path):
    (tmp_path / "a.png").write_bytes(png(gamma(1)))
    with (
        Image.open(tmp_path / "a.png") as picture,
        pytest.warns(ColorWarning, match="picture has a gamma of 1"),
    ):
        picture.save(tmp_path / "a.kmq", k=4)
    with Image.open(tmp_path / "a.kmq") as picture:
        assert picture.info["gamma"] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gamma", 0),
        ("gamma", float("nan")),
        ("gamma", "1"),
        ("gamma", 42949.67),
        ("chromaticity", (0.3, 0.3)),
        ("chromaticity", (None,) * 8),
        ("chromaticity", (42949.0,) * 8),
        ("srgb", 4),
        ("srgb", -1),
        ("srgb", [0]),
        ("cicp", (1, 2)),
        ("cicp", b"abcd"),
    ],
)
def test_what_is_senseless_is_dropped(key, value):
    picture = Image.new("RGB", (2, 2))
    picture.info[key] = value
    assert read_pixels(picture).metadata == kmq.Metadata()


@pytest.mark.parametrize("content", [b"", bytes([9, 16, 0]), bytes([9, 16, 0, 1, 0])])
def test_code_points_of_another_length_are_dropped(tmp_path, content):
    (tmp_path / "a.png").write_bytes(png({b"cICP": content}))
    assert read_pixels(tmp_path / "a.png").metadata.cicp is None


# --- warnings ------------------------------------------------------------------------------------


def gamma(exponent):
    return {b"gAMA": struct.pack(">I", round(100_000 * exponent))}


def code_points(*points):
    return {b"cICP": bytes(points)}


PROFILE = {b"iCCP": b"a\0\0" + zlib.compress(b"profile")}
WIDE = {b"cHRM": TAGS[b"cHRM"]}


@pytest.mark.parametrize(
    ("tags", "pixel_format", "sentence"),
    [
        (gamma(1), "RGB", r"a\.png has a gamma of 1; kmq takes its samples for sRGB"),
        (gamma(1), "L16", "a gamma of 1"),
        (gamma(1), "RGB48", "a gamma of 1"),
        (gamma(0.55556), "L", "a gamma of 0.55556"),
        (gamma(1) | WIDE, "RGB", "a gamma of 1 and primaries that are not those of sRGB"),
        (gamma(0.45455) | WIDE, "RGB", "has primaries that are not"),
        (code_points(9, 16, 0, 1), "RGB", r"transfer characteristics 16 \(PQ.*primaries 9 \(BT.20"),
        (code_points(9, 18, 0, 1), "RGB48", r"transfer characteristics 18 \(HLG"),
        (code_points(1, 8, 0, 1), "L", r"transfer characteristics 8 \(linear light"),
        (code_points(12, 13, 0, 1), "RGBA", r"has primaries 12 \(Display P3\)"),
        (code_points(1, 17, 0, 1), "RGB", "another curve"),
        (code_points(9, 16, 0, 1) | PROFILE, "RGB", "transfer characteristics 16"),
    ],
)
def test_other_colors_are_said_once(tmp_path, tags, pixel_format, sentence):
    (tmp_path / "a.png").write_bytes(png(tags, pixel_format))
    with pytest.warns(ColorWarning, match=sentence) as caught:
        kmq.quantize(tmp_path / "a.png")
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("tags", "pixel_format"),
    [
        ({}, "RGB"),
        (gamma(1 / 2.2), "RGB"),
        (gamma(0.45), "L"),
        (gamma(0.45455) | {b"cHRM": SRGB_PLACES}, "RGB"),
        (gamma(1) | WIDE | {b"sRGB": b"\0"}, "RGB"),
        (gamma(1) | PROFILE, "RGB"),
        (gamma(1) | code_points(1, 13, 0, 1), "RGB"),
        (WIDE, "LA"),
        (code_points(9, 13, 0, 1), "L16"),
        (code_points(1, 1, 0, 1), "RGB"),
        (code_points(2, 2, 2, 1), "RGB"),
    ],
)
def test_usual_colors_are_not_mentioned(tmp_path, tags, pixel_format):
    (tmp_path / "a.png").write_bytes(png(tags, pixel_format))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kmq.quantize(tmp_path / "a.png")


@pytest.mark.skipif("avif" not in features.get_supported(), reason="this Pillow has no AVIF")
def test_avif_says_it_in_another_place(tmp_path):
    path = tmp_path / "a.avif"
    samples = np.arange(1, 16 * 16 * 3 + 1, dtype=np.uint16).reshape(16, 16, 3)
    encoded = imagecodecs.avif_encode(samples, bitspersample=10, pixelformat="444")
    place = encoded.index(b"colrnclx") + 8  # primaries and transfer characteristics
    path.write_bytes(encoded[:place] + b"\0\x09\0\x10" + encoded[place + 4 :])
    with pytest.warns(ColorWarning, match=r"transfer characteristics 16 .* primaries 9"):
        assert read_pixels(path).metadata == kmq.Metadata(cicp=(9, 16, 0, 1))
    Image.new("RGB", (16, 16)).save(path)
    assert read_pixels(path).metadata == kmq.Metadata()


@pytest.mark.filterwarnings("default::kmq.ColorWarning")
def test_the_command_says_it_once_and_keeps_them(tmp_path, capsys):
    source = tmp_path / "a.png"
    source.write_bytes(png(gamma(1)))
    assert main(["encode", str(source), "--psnr", "20"]) == 0
    assert capsys.readouterr().err.count("a gamma of 1; kmq takes its samples for sRGB") == 1
    assert main(["info", str(tmp_path / "a.kmq")]) == 0
    assert "\ngamma    1\n" in capsys.readouterr().out
    assert main(["decode", str(tmp_path / "a.kmq"), "-o", str(tmp_path / "b.png")]) == 0
    assert tags_of((tmp_path / "b.png").read_bytes()) == gamma(1)


@pytest.mark.filterwarnings("ignore::kmq.ColorWarning")
@pytest.mark.parametrize("extension", [".tif", ".bmp", ".webp"])
def test_files_without_a_place_for_them_are_named_where_it_matters(tmp_path, extension):
    image = kmq.quantize(np.zeros((4, 4, 3), np.uint8), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        usual = kmq.Metadata(gamma=0.45455, srgb="perceptual")
        save_picture(with_metadata(image, usual), tmp_path / f"usual{extension}")
    with pytest.warns(MetadataWarning, match=r"written without gamma \(no place"):
        save_picture(with_metadata(image, kmq.Metadata(gamma=1.0)), tmp_path / f"odd{extension}")


def with_metadata(image, metadata):
    return kmq.IndexedImage(image.palette, image.indices, image.pixel_format, metadata)
