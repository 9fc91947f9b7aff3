"""Pillow opens and saves .kmq files once the plugin is imported."""

import importlib
import io
import os
import subprocess
import sys

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError

import kmq
import kmq.pillow
from images import indexed_image, moving_images
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, SalvageWarning
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat, as_pixel_format
from kmq.stages.container.chunks import pack_chunk, pack_varint

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
METADATA = Metadata(b"profile", EXIF, b"<x:xmpmeta/>", (300.0, 150.0), {"Title": "Häuser"})

MODES = [
    (PixelFormat.BILEVEL, 2, "1"),
    (PixelFormat.GREY8, 200, "L"),
    (PixelFormat.GREY8_ALPHA, 200, "LA"),
    (PixelFormat.GREY16, 300, "I;16"),
    (PixelFormat.RGB24, 1, "P"),
    (PixelFormat.RGB24, 256, "P"),
    (PixelFormat.RGB24, 300, "RGB"),
    (PixelFormat.RGBA32, 100, "P"),
    (PixelFormat.RGBA32, 300, "RGBA"),
    (PixelFormat.CMYK32, 20, "CMYK"),
]


def photo(mode="RGB", size=(40, 30), seed=0):
    """A gradient with noise: hundreds of colours."""
    bands = Image.new(mode, size).getbands()
    ramp = np.linspace(20, 220, size[0] * size[1]).reshape(size[1], size[0], 1)
    noise = np.random.default_rng(seed).integers(0, 30, (size[1], size[0], len(bands)))
    samples = (ramp + noise).astype(np.uint8)
    return Image.frombytes(mode, size, samples.tobytes())


def palette_picture():
    """Mode P with an order of its own, a colour twice, and entries nothing shows."""
    picture = Image.frombytes("P", (5, 2), bytes([3, 1, 0, 2, 2, 1, 1, 3, 0, 2]))
    picture.putpalette([9, 9, 9, 200, 0, 0, 1, 2, 3, 9, 9, 9, 77, 77, 77, 0, 0, 0], "RGB")
    return picture


def saved(picture, **options):
    file = io.BytesIO()
    picture.save(file, "KMQ", **options)
    return file.getvalue()


def opened(encoded):
    picture = Image.open(io.BytesIO(encoded))
    picture.load()
    return picture


# --- opening -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pixel_format", "n_colors", "mode"), MODES)
def test_file_of_each_mode_is_opened(tmp_path, pixel_format, n_colors, mode):
    image = indexed_image(pixel_format, n_colors, 23, 31, metadata=METADATA)
    kmq.write(tmp_path / "picture.kmq", image)
    with Image.open(tmp_path / "picture.kmq") as picture:
        assert (picture.format, picture.mode, picture.size) == ("KMQ", mode, (31, 23))
        assert picture.get_format_mimetype() == "image/x-kmq"
        expected = image.to_pillow()
        assert picture.info == expected.info
        assert picture.tobytes() == expected.tobytes()
        assert picture.getpalette() == expected.getpalette()
        np.testing.assert_array_equal(
            np.asarray(picture.convert(pixel_format.label) if mode == "P" else picture),
            image.to_array(),
        )


def test_opening_reads_no_strip():
    image = indexed_image(PixelFormat.RGB24, 16, 60, 50)
    encoded = bytearray(kmq.encode(image, strip_height=20))
    strips = kmq.info(io.BytesIO(encoded)).strips
    assert len(strips) == 3
    encoded[strips[1].offset + strips[1].length // 2] ^= 0x40
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.size == (50, 60)
        assert picture.palette.palette == image.palette.tobytes()
        with pytest.raises(OSError, match="chunk 'S'") as caught:
            picture.load()
    assert isinstance(caught.value.__cause__, FormatError)


def test_info_is_there_before_the_pixels():
    palette = np.array([[1, 2, 3, 0], [4, 5, 6, 128]], np.uint8)
    image = IndexedImage(palette, np.zeros((2, 2), np.uint8), PixelFormat.RGBA32, METADATA)
    with Image.open(io.BytesIO(kmq.encode(image))) as picture:
        assert picture.info == {
            "icc_profile": METADATA.icc_profile,
            "exif": METADATA.exif,
            "xmp": METADATA.xmp,
            "dpi": METADATA.dpi,
            "text": METADATA.text,
            "transparency": bytes([0, 128]),
        }
        assert picture.getexif()[0x0112] == 6
        assert picture.has_transparency_data


def test_file_goes_in_the_middle_of_nothing_else():
    encoded = saved(photo(), k=4)
    assert opened(encoded + b"trailing").size == (40, 30)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"leading" + encoded))


def test_file_that_cannot_seek_is_opened():
    read_end, write_end = os.pipe()
    encoded = saved(palette_picture())
    with os.fdopen(write_end, "wb") as file:
        file.write(encoded)
    with os.fdopen(read_end, "rb") as file, Image.open(file) as picture:
        assert picture.tobytes() == palette_picture().tobytes()


def test_opened_file_takes_part_in_what_pillow_does(tmp_path):
    path = tmp_path / "picture.kmq"
    palette_picture().save(path)
    with Image.open(path) as picture:
        assert picture.copy().tobytes() == palette_picture().tobytes()
        assert picture.resize((10, 4)).size == (10, 4)
        assert picture.convert("RGB").getpixel((1, 0)) == (200, 0, 0)
        picture.save(tmp_path / "picture.png")
        picture.save(path)  # onto itself
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.convert("RGB").tobytes() == palette_picture().convert("RGB").tobytes()
    with Image.open(path) as picture:
        assert picture.tobytes() == palette_picture().tobytes()


@pytest.mark.parametrize("damage", ["signature", "header", "empty", "half a header"])
def test_damage_before_the_strips_is_not_identified(damage):
    encoded = bytearray(saved(palette_picture()))
    if damage == "signature":
        encoded[0] ^= 1
    elif damage == "header":
        encoded[11] ^= 1
    else:
        del encoded[0 if damage == "empty" else 14 :]
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(encoded))


def test_newer_file_says_so():
    encoded = kmq.encode(indexed_image(PixelFormat.RGB24, 4, 3, 3))
    from kmq.stages.container.chunks import SIGNATURE, pack_chunk

    newer = SIGNATURE + pack_chunk("Z", b"") + encoded[len(SIGNATURE) :]
    with pytest.raises(OSError, match="newer kmq"):
        Image.open(io.BytesIO(newer))


@pytest.mark.parametrize(
    "pixel_format", [PixelFormat.GREY16_ALPHA, PixelFormat.RGB48, PixelFormat.RGBA64]
)
def test_file_that_pillow_cannot_hold_says_so(pixel_format):
    encoded = kmq.encode(indexed_image(pixel_format, 4, 3, 3))
    with pytest.raises(OSError, match=rf"no mode for pixel format {pixel_format.label}.*to_array"):
        Image.open(io.BytesIO(encoded))


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_file_opens_and_does_not_load(part):
    encoded = kmq.encode(indexed_image(PixelFormat.RGB24, 16, 60, 50), strip_height=20)
    first = kmq.info(io.BytesIO(encoded)).strips[0].offset
    with Image.open(io.BytesIO(encoded[: first + int(part * (len(encoded) - first))])) as picture:
        assert picture.size == (50, 60)
        with pytest.raises(OSError, match="ends"):
            picture.load()


def test_truncated_file_loads_where_pillow_is_told_so(monkeypatch):
    image = indexed_image(PixelFormat.RGB24, 16, 60, 50, metadata=METADATA)
    encoded = bytearray(kmq.encode(image, strip_height=20))
    exif = next(chunk for chunk in kmq.info(io.BytesIO(encoded)).chunks if chunk.letter == "e")
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(encoded[:-30])) as picture:
        with pytest.warns(kmq.SalvageWarning, match="rows 40 to 59"):
            picture.load()
        expected = image.indices.copy()
        expected[40:] = 0
        assert picture.tobytes() == expected.tobytes()
        assert picture.info["exif"] == EXIF
    encoded[exif.offset + 4] ^= 1
    with Image.open(io.BytesIO(encoded)) as picture:
        assert "exif" not in picture.info
        with pytest.warns(kmq.SalvageWarning, match="chunk 'e'"):
            assert picture.tobytes() == image.indices.tobytes()
    with Image.open(io.BytesIO(encoded)) as picture, pytest.raises(OSError, match="chunk 'e'"):
        picture.verify()
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(encoded[:14]))


@pytest.mark.parametrize("n_bytes", range(1, 40, 3))
def test_truncated_file_is_an_os_error(n_bytes):
    encoded = saved(palette_picture())
    with pytest.raises(OSError, match=r"."):
        opened(encoded[:-n_bytes])


def test_verify_finds_damage(tmp_path):
    path = tmp_path / "picture.kmq"
    photo().save(path, k=8)
    with Image.open(path) as picture:
        picture.verify()
    encoded = bytearray(path.read_bytes())
    encoded[len(encoded) // 2] ^= 1
    path.write_bytes(encoded)
    with Image.open(path) as picture, pytest.raises(OSError, match="chunk 'S'"):
        picture.verify()


def test_limit_is_that_of_pillow(monkeypatch):
    encoded = saved(photo(), k=2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(encoded))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert opened(encoded).size == (40, 30)


# --- parsing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 100, 4096, 10**6])
@pytest.mark.parametrize(("pixel_format", "n_colors", "mode"), MODES)
def test_parser_takes_a_file_in_pieces(pixel_format, n_colors, mode, chunk):
    image = indexed_image(pixel_format, n_colors, 20, 30, metadata=METADATA)
    encoded = kmq.encode(image, method="deflate", strip_height=7)
    parser = ImageFile.Parser()
    for start in range(0, len(encoded), chunk):
        parser.feed(encoded[start : start + chunk])
    picture = parser.close()
    assert (picture.mode, picture.info) == (mode, opened(encoded).info)
    assert picture.tobytes() == image.to_pillow().tobytes()


def test_parser_ends_as_with_other_formats():
    encoded = kmq.encode(indexed_image(PixelFormat.RGB24, 50, 20, 30), method="deflate")
    with pytest.raises(OSError, match="cannot parse this image"), ImageFile.Parser() as parser:
        parser.feed(encoded[:20])
    parser = ImageFile.Parser()
    parser.feed(encoded[:-1])
    with pytest.raises(OSError, match="ends"):
        parser.close()
    with ImageFile.Parser() as parser:
        parser.feed(encoded + b"what follows")
    assert parser.image.getpixel((0, 0)) is not None


# --- saving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "CMYK"])
def test_saving_quantizes(mode):
    picture = photo(mode)
    image = kmq.decode(saved(picture, k=16, start=kmq.Start(seed=5)))
    expected = kmq.quantize(picture, 16, start=kmq.Start(seed=5))
    assert image == expected
    assert image.n_colors <= 16
    assert image.pixel_format is PixelFormat.from_label(mode)


def test_saving_without_k_keeps_64_colors():
    picture = photo()
    assert kmq.decode(saved(picture)) == kmq.quantize(picture, 64)
    assert 16 < kmq.decode(saved(picture)).n_colors <= 64


def test_options_reach_quantize_and_encode():
    picture = photo()
    options = {"start": kmq.Start("random", seed=7, n_init=2, max_iter=3), "n_threads": 1}
    encoded = saved(picture, k=9, method="deflate", strip_height=10, **options)
    assert encoded == kmq.encode(picture, 9, method="deflate", strip_height=10, **options)
    assert len(kmq.info(io.BytesIO(encoded)).strips) == 3
    with pytest.raises(InputError):
        saved(picture, k=0)
    with pytest.raises(InputError):
        saved(picture, method="no such method")


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "fast"},
        {"effort": "best", "k": 9},
        {"psnr": 24.0},
        {"max_mse": 900.0, "effort": "fast"},
        {"psnr": 40, "max_colors": 5},
        {"max_colors": 7},
    ],
)
def test_effort_and_targets_reach_quantize(options):
    picture = photo()
    assert kmq.decode(saved(picture, **options)) == kmq.decode(kmq.encode(picture, **options))


@pytest.mark.parametrize("name", ["\0.kmq", b"a\0b.kmq", "\ud800.kmq"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(InputError, match=r"null character in it|names cannot have here"):
        Image.new("RGB", (2, 2)).save(name)


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="k and psnr are both given"):
        saved(photo(), k=4, psnr=30)
    with pytest.raises(InputError, match="effort is 'most'"):
        saved(palette_picture(), effort="most")


def test_effort_alone_keeps_a_palette_and_goes_with_a_start():
    assert kmq.decode(saved(palette_picture(), effort="best")).n_colors == 6
    started = saved(photo(), k=5, start="var-part", effort="fast")
    assert kmq.decode(started) == kmq.quantize(photo(), 5, start="var-part")


@pytest.mark.parametrize("picture", [photo(), palette_picture()], ids=["RGB", "P"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"speed": 8, "k": 4, "colors": 8}, r"colors \(.* k\?\), speed \(.*\)"),
        ({"optimize": False}, "optimize"),
        ({"append": True}, "append"),
    ],
)
def test_options_that_are_none_are_named(picture, options, named):
    with pytest.raises(TypeError, match=f"no option {named}; it has those of kmq.encode"):
        saved(picture, **options)


def test_saving_takes_a_quality():
    assert saved(photo(), quality=40) == kmq.encode(photo(), quality=40)
    picture = palette_picture()
    assert saved(picture, quality=40) != saved(picture)


def test_options_that_ask_for_nothing_are_taken():
    nothing = {"subsampling": None, "append": False, "append_images": [], "save_all": False}
    assert saved(palette_picture(), **nothing) == saved(palette_picture())
    assert saved(palette_picture(), save_all=True) == saved(palette_picture())


def test_the_current_frame_is_saved_or_all_are(tmp_path):
    first, *others = (photo("L", seed=seed) for seed in range(3))
    times = {"duration": [30, 40, 50], "loop": 2}
    first.save(tmp_path / "frames.gif", save_all=True, append_images=others, **times)
    with Image.open(tmp_path / "frames.gif") as frames:
        frames.seek(1)
        frames.save(tmp_path / "one.kmq", k=200)
        frames.save(tmp_path / "all.kmq", k=200, save_all=True, append_images=iter([first]))
        assert frames.tell() == 1
    assert kmq.read(tmp_path / "one.kmq").to_pillow().size == first.size
    with Image.open(tmp_path / "all.kmq") as saved_frames:
        assert (saved_frames.n_frames, saved_frames.is_animated) == (4, True)
        assert saved_frames.info["loop"] == 3  # GIF counts repeats
        times = [frame.info["duration"] for frame in ImageSequence.all_frames(saved_frames)]
    assert times == [30, 40, 50, 100]


MOVING = moving_images(PixelFormat.RGB24, 16, 14, 17, 5)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("pixel_format", ["RGB", "RGBA", "L"])
def test_frames_of_a_sequence_are_there_in_any_order(pixel_format, own):
    images = moving_images(as_pixel_format(pixel_format), 16, 14, 17, 5, own=own)
    file = io.BytesIO()
    kmq.write_frames(file, images, delays=range(5), plays=7, key_interval=2)
    with Image.open(file) as picture:
        assert (picture.n_frames, picture.tell(), picture.info["loop"]) == (5, 0, 7)
        for number in (0, 1, 2, 4, 0, 3, 1):
            picture.seek(number)
            assert picture.tell() == picture.info["duration"] == number
            shown = np.asarray(picture.convert(pixel_format))
            np.testing.assert_array_equal(shown, images[number].to_array())
        for number in (-1, 5):
            with pytest.raises(EOFError):
                picture.seek(number)
        assert picture.info["icc_profile"] == images[0].metadata.icc_profile
    with Image.open(file) as picture:
        picture.verify()


def test_pillow_frames_with_palettes_are_saved_as_they_are(tmp_path):
    pictures = [image.to_pillow() for image in MOVING]
    path = tmp_path / "x.kmq"
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=40, loop=0, key_interval=2,
        text={"Title": "Clip"},
    )  # fmt: skip
    again = kmq.read_frames(path)
    assert [image.indices.tolist() for image in again] == [i.indices.tolist() for i in MOVING]
    assert {image.metadata.text["Title"] for image in again} == {"Clip"}
    facts = kmq.info(path)
    assert [frame.is_key for frame in facts.frames] == [True, False, True, False, True]
    with Image.open(path) as picture:
        picture.save(tmp_path / "y.kmq", save_all=True)
    assert kmq.read_frames(tmp_path / "y.kmq") == again
    assert kmq.info(tmp_path / "y.kmq").frames[1].delay == 40
    with pytest.raises(TypeError, match=r"option colours.*kmq\.write_frames"):
        pictures[0].save(path, save_all=True, append_images=pictures[1:], colours=4)
    with pytest.raises(InputError, match="frame 2 has 18 by 14"):
        pictures[0].save(path, save_all=True, append_images=[Image.new("P", (18, 14))])
    assert kmq.read_frames(path) == again


def test_a_damaged_sequence_is_read_up_to_the_damage(monkeypatch):
    file = io.BytesIO()
    kmq.write_frames(file, MOVING, key_interval=2)
    broken = file.getvalue()[:-20]
    with Image.open(io.BytesIO(broken)) as picture:
        picture.seek(2)
        np.testing.assert_array_equal(np.asarray(picture), MOVING[2].indices)
        with pytest.raises(OSError, match="frame 5") as caught:
            picture.seek(4)
        assert isinstance(caught.value.__cause__, FormatError)
        assert picture.tell() == 2
    with Image.open(io.BytesIO(broken)) as picture, pytest.raises(OSError, match="frame 5"):
        picture.verify()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(broken)) as picture:
        with pytest.warns(SalvageWarning, match="frame 5"):
            picture.seek(4)
        np.testing.assert_array_equal(np.asarray(picture), MOVING[3].indices)


def test_a_promise_of_many_pixels_is_a_bomb():
    still = kmq.IndexedImage(np.zeros((1, 3), np.uint8), np.zeros((2000, 2000), np.uint8))
    file = io.BytesIO()
    kmq.write_frames(file, [still] * 2)
    content = file.getvalue()
    with Image.open(io.BytesIO(content)) as picture:  # still frames are nothing to decode
        assert picture.n_frames == 2
    header = pack_chunk("H", b"\2\5" + b"".join(map(pack_varint, (2000, 2000, 1, 300, 0))))
    table = bytes([0]) + b"".join(map(pack_varint, (300, 0, 0)))
    table += b"".join(map(pack_varint, (0, 2000, 0))) * 299 + pack_varint(15)
    bomb = content[:8] + header + pack_chunk("P", bytes(4)) + pack_chunk("F", deflate(table))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb))


class Broken(Image.Image):
    """A picture that cannot be saved."""

    def copy(self):
        raise MemoryError


def refused_saves():
    broken = Broken()
    broken.__dict__.update(photo().__dict__)
    return {
        "size": (photo(), {"size": 10}, InputError),
        "mode": (photo().convert("F"), {}, InputError),
        "option": (photo(), {"subsampling": 0}, TypeError),
        "metadata": (palette_picture(), {"dpi": (-1, 72)}, InputError),
        "frames": (photo(), {"append_images": [photo()], "save_all": 1, "loop": -1}, InputError),
        "failure": (broken, {}, MemoryError),
    }


@pytest.mark.parametrize("kind", refused_saves())
def test_a_save_that_is_refused_leaves_the_old_file(tmp_path, kind):
    picture, options, error = refused_saves()[kind]
    palette_picture().save(tmp_path / "old.kmq")
    old = (tmp_path / "old.kmq").read_bytes()
    for name in (
        tmp_path / "old.kmq",
        str(tmp_path / "old.kmq"),
        os.fsencode(tmp_path / "old.kmq"),
    ):
        with pytest.raises(error):
            picture.save(name, **options)
    with pytest.raises(error):
        picture.save(tmp_path / "new.kmq", "kmq", **options)
    assert os.listdir(tmp_path) == ["old.kmq"]
    assert (tmp_path / "old.kmq").read_bytes() == old


def test_a_file_may_be_saved_over_itself(tmp_path):
    path = tmp_path / "itself.kmq"
    photo().save(path, k=9)
    with Image.open(path) as picture:
        picture.save(path, k=3)
    assert kmq.read(path).n_colors == 3


def test_other_formats_are_saved_as_ever(tmp_path):
    photo().save(tmp_path / "photo.jpg", quality=80)
    photo().save(str(tmp_path / "photo.kmq.tmp"), format="PNG")
    assert (tmp_path / "photo.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "photo.kmq.tmp").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="unknown file extension"):
        photo().save(tmp_path / "photo.xyz")


@pytest.mark.parametrize("transparency", [None, 2, bytes([0, 10, 255])])
def test_saving_a_palette_keeps_it(transparency):
    picture = palette_picture()
    if transparency is not None:
        picture.info["transparency"] = transparency
    image = kmq.decode(saved(picture, method="deflate"))
    assert image == IndexedImage.from_pillow(picture)
    assert image.n_colors == 6
    again = opened(saved(picture))
    assert again.tobytes() == picture.tobytes()
    assert again.getpalette() == picture.getpalette()
    assert again.convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()


def test_saving_a_palette_with_k_quantizes():
    image = kmq.decode(saved(palette_picture(), k=2))
    assert image == kmq.quantize(palette_picture(), 2)
    assert image.n_colors == 2


def test_saving_palette_and_alpha_keeps_them():
    picture = palette_picture().convert("PA")
    picture.putalpha(Image.frombytes("L", (5, 2), bytes(range(100, 110))))
    assert kmq.decode(saved(picture)) == IndexedImage.from_pillow(picture)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_few_colors_come_back_exactly(mode):
    picture = Image.new(mode, (9, 4), 1)
    picture.putpixel((3, 2), 0)
    again = opened(saved(picture))
    expected = picture.convert("RGB") if mode == "P" else picture
    assert (again.convert("RGB") if mode == "P" else again).tobytes() == expected.tobytes()


@pytest.mark.parametrize("picture", [photo(), palette_picture()], ids=["RGB", "P"])
def test_metadata_is_kept(picture):
    picture = picture.copy()
    info = opened(kmq.encode(indexed_image(PixelFormat.RGB24, 3, 2, 2, metadata=METADATA))).info
    picture.info.update(info)
    again = opened(saved(picture, k=8))
    assert again.info == info
    assert again.size == picture.size  # the EXIF orientation is kept, and not applied


@pytest.mark.parametrize("picture", [photo(), palette_picture()], ids=["RGB", "P"])
def test_given_metadata_take_its_place(picture):
    picture = picture.copy()
    picture.info.update(icc_profile=b"old", exif=EXIF, xmp=b"<old/>", dpi=(1.0, 2.0))
    exif = Image.Exif()
    exif[0x010F] = "kmq"
    given = {"icc_profile": b"new", "exif": exif, "xmp": "<new/>", "dpi": (72, 96)}
    info = opened(saved(picture, text={"a": "b"}, **given)).info
    assert info["icc_profile"] == b"new"
    assert info["exif"] == exif.tobytes()
    assert info["xmp"] == b"<new/>"
    assert info["dpi"] == (72, 96)
    assert info["text"] == {"a": "b"}
    gone = opened(saved(picture, text=None, **dict.fromkeys(given)))
    assert gone.info == {}


def test_picture_is_left_as_it_was():
    picture = photo()
    picture.info.update(exif=EXIF, dpi=(72, 72))
    info, content = dict(picture.info), picture.tobytes()
    saved(picture, k=4)
    assert (picture.info, picture.tobytes()) == (info, content)


@pytest.mark.parametrize("mode", ["F", "HSV", "YCbCr"])
def test_mode_that_cannot_be_meant_is_refused(tmp_path, mode):
    with pytest.raises(InputError, match=f"Pillow mode {mode}"):
        Image.new(mode, (4, 4)).save(tmp_path / "odd.kmq")
    assert not (tmp_path / "odd.kmq").exists()


# --- registration --------------------------------------------------------------------------------


def test_registered_under_its_names():
    assert Image.registered_extensions()[".kmq"] == "KMQ"
    assert Image.MIME["KMQ"] == "image/x-kmq"


def test_registering_twice_is_harmless():
    save = Image.Image.save
    importlib.reload(kmq.pillow)
    assert Image.ID.count("KMQ") == 1
    assert Image.Image.save is save
    assert opened(saved(palette_picture())).tobytes() == palette_picture().tobytes()


def test_import_decides():
    program = """
import io, sys
from PIL import Image
import kmq
assert ".kmq" not in Image.registered_extensions()
import kmq.pillow
assert Image.registered_extensions()[".kmq"] == "KMQ"
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# --- imageio -------------------------------------------------------------------------------------


def test_imageio_writes_and_reads(tmp_path):
    samples = np.asarray(photo())
    path = tmp_path / "picture.kmq"
    imageio.imwrite(path, samples, plugin="pillow", extension=".kmq", k=32)
    expected = kmq.quantize(samples, 32)
    np.testing.assert_array_equal(imageio.imread(path, plugin="pillow"), expected.to_array())
    assert imageio.improps(path, plugin="pillow").shape == (30, 40, 3)


def test_imageio_writes_and_reads_bytes():
    samples = np.asarray(photo("L"))
    encoded = imageio.imwrite("<bytes>", samples, plugin="pillow", extension=".kmq", k=8)
    assert kmq.decode(encoded) == kmq.quantize(samples, 8)
    shown = imageio.imread(encoded, plugin="pillow", extension=".kmq")
    np.testing.assert_array_equal(shown, kmq.quantize(samples, 8).to_array())


def test_palettes_of_files_names_and_snapping_are_options_of_saving(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
    kmq.write_palette(tmp_path / "theme.gpl", [[0, 0, 0], [255, 99, 71]])
    picture.save(tmp_path / "a.kmq", palette=tmp_path / "theme.gpl")
    assert kmq.read(tmp_path / "a.kmq").palette.tolist() == [[0, 0, 0], [255, 99, 71]]
    picture.save(tmp_path / "b.kmq", k=9, require=kmq.Require(fixed=["tomato"], snap=True))
    assert [255, 99, 71] in kmq.read(tmp_path / "b.kmq").palette.tolist()
    with pytest.raises(InputError, match="page is 2; the file has 1"):
        picture.save(tmp_path / "c.kmq", page=2)
