"""Tags of EXIF blocks: those that describe a picture are found and get into TIFF files."""

import io
import struct

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from images import exif_block
from kmq.errors import InputError
from kmq.stages.pictures import exif

ASCII, SHORT, LONG, RATIONAL = 2, 3, 4, 5
MAKE, ORIENTATION, CAMERA, PLACE = 271, 274, 34665, 34853

CAMERA_TAGS = {33434: IFDRational(1, 60), 36867: "2024:05:06 07:08:09", 37500: b"note" * 9}
PLACE_TAGS = {1: "N", 2: (IFDRational(51), IFDRational(30), IFDRational(1, 3))}


def phone_block(order):
    """What a phone writes: a maker, directories for camera and place, and a thumbnail."""
    block = Image.Exif()
    block.endian = order
    block[MAKE] = "kmq"
    block[CAMERA] = CAMERA_TAGS | {40965: {1: "R98"}}
    block[PLACE] = PLACE_TAGS
    return block.tobytes()


def tiff_with(tags, order="<"):
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "TIFF")
    picture = Image.open(io.BytesIO(exif.with_tags(file.getvalue(), tags)))
    assert picture.getpixel((1, 1)) == (1, 2, 3)
    return picture.getexif()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_tags_of_a_phone_get_into_a_tiff_file(order, name):
    tags, is_sound = exif.descriptive_tags(name + exif.unnamed(phone_block(order)))
    assert is_sound
    found = tiff_with(tags)
    assert found[MAKE] == "kmq"
    assert CAMERA_TAGS.items() <= found.get_ifd(CAMERA).items()
    assert found.get_ifd(40965) == {1: "R98"}
    assert found.get_ifd(PLACE) == PLACE_TAGS


def test_tags_of_a_file_in_big_endian_order_are_written_in_it():
    tags, _ = exif.descriptive_tags(phone_block("<"))
    tiff = exif.with_tags(b"MM\0*\0\0\0\x0a??" + bytes(6), tags)  # an odd place for a directory
    found = Image.Exif()
    found.load(tiff)
    assert found[MAKE] == "kmq"
    assert CAMERA_TAGS.items() <= found.get_ifd(CAMERA).items()
    assert found.get_ifd(PLACE) == PLACE_TAGS


def test_tags_take_the_place_of_those_of_the_file():
    width, software = exif.Tag(256, LONG, b"\2\0\0\0"), exif.Tag(305, ASCII, b"kmq 1.0\0")
    found = tiff_with([software, width])
    assert (found[256], found[257], found[305]) == (2, 2, "kmq 1.0")


LAYOUT = [*range(254, 264), 266, 273, *range(277, 285), 288, 289, 296, *range(317, 326), 330]
LAYOUT += [332, 333, 336, *range(338, 348), *range(512, 522), *range(529, 533), 34675, 50706, 50721]


@pytest.mark.parametrize("order", "<>")
def test_layout_of_the_old_file_is_no_description(order):
    tags = [(number, SHORT, 1, 1) for number in LAYOUT]
    block = exif_block([*tags, (MAKE, ASCII, 4, 0x716D6B00)], order)
    found, is_sound = exif.descriptive_tags(block)
    assert [tag.number for tag in found] == [MAKE]
    assert is_sound


@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize(
    ("turn", "kept"), [(0, False), (1, False), (2, True), (8, True), (9, False)]
)
def test_orientation_is_kept_where_it_turns(kind, turn, kept):
    tags, is_sound = exif.descriptive_tags(exif_block([(ORIENTATION, kind, 1, turn)], "<"))
    assert tags == ([exif.Tag(ORIENTATION, SHORT, bytes([turn, 0]))] if kept else [])
    assert is_sound


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0garbage", b"II*\0\x08\0\0", b"II+\0????"]
)
def test_what_does_not_begin_like_a_tiff_file_is_refused(block):
    with pytest.raises(InputError, match="does not begin like a TIFF file"):
        exif.descriptive_tags(block)


MOST = 2**32 - 1
DAMAGED = {
    "a directory beyond the end": b"II*\0\xff\xff\xff\xff",
    "a directory at the end": b"II*\0\x08\0\0\0",
    "a directory that is cut": exif_block([(MAKE, ASCII, 4, 0), (305, ASCII, 4, 0)], "<")[:-10],
    "a content beyond the end": exif_block([(MAKE, ASCII, 5, 10_000)], "<"),
    "a content of 4 GiB": exif_block([(MAKE, RATIONAL, MOST, 8)], "<"),
    "a type that is none": exif_block([(MAKE, 99, 1, 0)], "<"),
    "a directory that points to itself": exif_block([(CAMERA, LONG, 1, 8)], "<"),
    "two that are one": exif_block([(CAMERA, LONG, 1, 8), (PLACE, LONG, 1, 8)], "<"),
    "a pointer that is a text": exif_block([(CAMERA, ASCII, 30, 0)], "<"),
    "a pointer beyond the end": exif_block([(PLACE, LONG, 1, MOST)], "<"),
    "contents that share bytes": exif_block([(number, ASCII, 40, 0) for number in (269, 270)], "<"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_left_out_and_told(name):
    tags, is_sound = exif.descriptive_tags(DAMAGED[name])
    assert not is_sound
    assert len(tags) <= 1
    tiff_with(tags)


def test_what_stands_beside_damage_is_kept():
    tags = [(MAKE, ASCII, 4, 0x00716D6B), (305, ASCII, 5, 10_000), (CAMERA, LONG, 1, 8)]
    tags, is_sound = exif.descriptive_tags(exif_block(tags, "<"))
    assert tags == [exif.Tag(MAKE, ASCII, b"kmq\0")]
    assert not is_sound


def test_empty_and_repeated_tags_are_no_damage():
    first = (MAKE, ASCII, 4, 0x00716D6B)
    tags, is_sound = exif.descriptive_tags(exif_block([first, first, (305, ASCII, 0, 0)], "<"))
    assert tags == [exif.Tag(MAKE, ASCII, b"kmq\0")]
    assert is_sound


def test_block_of_many_directories_takes_no_more_than_its_size():
    n_tags = 5000
    content = struct.pack("<4sIH", b"II*\0", 8, n_tags)
    content += struct.pack("<HHII", 270, ASCII, 60_000, 0) * n_tags
    tags, is_sound = exif.descriptive_tags(content)
    assert len(tags) == 1
    assert not is_sound
