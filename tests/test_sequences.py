"""Sequences in .kmq files: written, read in part, damaged, and files made to hurt."""

import importlib.util
import io
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import kmq
import plain_decoder
from images import moving_images
from kmq.cli import main
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, SalvageWarning
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline.sequences import FrameReader
from kmq.stages.container.chunks import SIGNATURE, pack_chunk, pack_varint
from kmq.stages.container.frames import CHANGES, MARKED, WHOLE

GOLDEN = Path(__file__).parent / "golden" / "sequences"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.kmq"))


def written(images, **options):
    file = io.BytesIO()
    kmq.write_frames(file, images, **options)
    return file.getvalue()


def stacks_of(encoded):
    return FrameReader(io.BytesIO(encoded), kmq.Limits(), 1).front.stacks


IMAGES = moving_images(PixelFormat.RGB24, 16, 14, 17, 7)
ENCODED = written(IMAGES, method="deflate", key_interval=3, delays=[5.25, *range(6)], plays=4)


# Golden files


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_sequence_is_read_as_ever(name):
    encoded, arrays = (GOLDEN / f"{name}.kmq").read_bytes(), np.load(GOLDEN / f"{name}.npz")
    images, info = kmq.read_frames(encoded), kmq.info(encoded)
    plain = plain_decoder.decode(encoded)
    assert [frame.delay for frame in info.frames] == arrays["delays"].tolist()
    assert info.plays == plain["plays"] == len(images) == len(arrays["delays"])
    for number, (image, frame) in enumerate(zip(images, plain["frames"], strict=True)):
        np.testing.assert_array_equal(image.palette, arrays[f"palette{number}"])
        np.testing.assert_array_equal(image.indices, arrays[f"indices{number}"])
        assert frame[0] == 100 * info.frames[number].delay
        assert frame[1] == [tuple(entry) for entry in image.palette.tolist()]
        assert frame[2] == image.indices.tolist()
        assert image.metadata == info.metadata


def test_golden_sequences_cover_the_format():
    assert sorted(path.stem for path in GOLDEN.glob("*.npz")) == NAMES
    spec = importlib.util.spec_from_file_location("add", GOLDEN.parent / "add.py")
    add = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(add)
    assert sorted(name for name, *_ in add.sequence_recipes()) == NAMES
    stacks = [stacks_of((GOLDEN / f"{name}.kmq").read_bytes()) for name in NAMES]
    seen = {(each.kind, each.n_colors > 0) for every in stacks for each in every}
    assert seen == {(kind, own) for kind in (WHOLE, CHANGES, MARKED) for own in (False, True)}
    assert any(each.height == 0 for every in stacks for each in every)


# Writing and reading


def test_frames_come_back_with_times_and_metadata():
    images, info = kmq.read_frames(ENCODED), kmq.info(ENCODED)
    assert images == IMAGES
    assert [frame.delay for frame in info.frames] == [5.25, 0, 1, 2, 3, 4, 5]
    assert [frame.is_key for frame in info.frames] == [True, False, False] * 2 + [True]
    assert (info.version, info.plays, info.n_pixels) == (2, 4, 7 * 14 * 17)
    assert sum(info.parts.values()) == info.file_size == len(ENCODED)
    assert "7 frames of 17x14 RGB" in repr(info)


def test_the_bytes_do_not_depend_on_threads():
    images = moving_images(PixelFormat.RGB24, 9, 40, 50, 6, noise=0.1)
    assert written(images, key_interval=2, n_threads=1) == written(
        images, key_interval=2, n_threads=3
    )


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2, 5), (4, 6), (6, None), (None, 3)])
def test_a_part_is_read_from_the_key_frame_before_it(start, stop, n_threads):
    frames = kmq.read_frames(ENCODED, start, stop, n_threads=n_threads)
    assert frames == IMAGES[start:stop]


class Watched(io.BytesIO):
    """A file that keeps where it was read."""

    def __init__(self, content):
        super().__init__(content)
        self.places = set()

    def read(self, count=-1):
        start = self.tell()
        content = super().read(count)
        self.places |= set(range(start, start + len(content)))
        return content


def test_what_is_not_needed_is_not_read():
    file = Watched(ENCODED)
    assert kmq.read_frames(file, 3, 4) == IMAGES[3:4]
    sizes = [stack.size for stack in stacks_of(ENCODED)]
    begin = len(ENCODED) - 6 - sum(sizes)
    needed = range(begin + sum(sizes[:2]) - 1, begin + sum(sizes[:3]))  # a byte shows it is there
    assert file.places == {*range(begin), *needed}


def test_a_file_that_cannot_seek_is_read_through():
    class OneWay(io.BytesIO):
        def seekable(self):
            return False

    assert kmq.read_frames(OneWay(ENCODED + b"more"), 5) == IMAGES[5:]


def test_still_pixels_cost_next_to_nothing():
    still = moving_images(PixelFormat.RGB24, 16, 60, 80, 1) * 50
    one, many = len(written(still[:1])), len(written(still))
    assert many - one < 100


def test_frames_share_what_was_learned():
    """Rolled noise repeats: a second frame costs a fraction of the first."""
    first = moving_images(PixelFormat.RGB24, 16, 90, 80, 1)[0]
    rolled = [kmq.IndexedImage(first.palette, np.roll(first.indices, step, 1)) for step in range(4)]
    assert len(written(rolled)) < 2 * len(written(rolled[:1]))


def test_a_key_frame_comes_after_enough_has_changed():
    tall = [
        kmq.IndexedImage(np.eye(2, 3, dtype=np.uint8), np.full((1024, 512), n % 2, np.uint8))
        for n in range(8)
    ]
    keys = [frame.is_key for frame in kmq.info(written(tall, effort="fast")).frames]
    assert keys == [number in (0, 5) for number in range(8)]


def test_pictures_are_quantized_and_files_keep_their_times(tmp_path):
    frames = [image.to_array() for image in IMAGES[:3]]
    kmq.write_frames(tmp_path / "a.gif", frames, delays=[30, 40, 50], plays=2)
    for target in ("b.kmq", "c.webp", "d.png"):
        kmq.write_frames(tmp_path / target, tmp_path / "a.gif", 16)
    assert [frame.delay for frame in kmq.info(tmp_path / "b.kmq").frames] == [30, 40, 50]
    assert kmq.info(tmp_path / "b.kmq").plays == 2
    for name in ("a.gif", "b.kmq", "c.webp", "d.png"):
        for image, frame in zip(kmq.quantize_frames(tmp_path / name, 16), frames, strict=True):
            np.testing.assert_array_equal(image.to_array()[..., :3], frame)
    with Image.open(tmp_path / "c.webp") as picture:
        assert picture.n_frames == 3


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_files_for_other_programs_keep_the_colour_profile(tmp_path, kind):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    images = [replace(image, metadata=kmq.Metadata(icc_profile=profile)) for image in IMAGES]
    kmq.write_frames(tmp_path / f"x.{kind}", images)
    with Image.open(tmp_path / f"x.{kind}") as picture:
        assert picture.info["icc_profile"] == profile


def test_a_still_picture_is_one_frame():
    assert kmq.read_frames(kmq.encode(IMAGES[0])) == IMAGES[:1]


def test_a_sequence_is_a_picture_only_by_its_page(tmp_path):
    (tmp_path / "x.kmq").write_bytes(ENCODED)
    with pytest.raises(FormatError, match=r"holds a sequence.*kmq\.read_frames"):
        kmq.read(tmp_path / "x.kmq")
    with pytest.raises(InputError, match="has 7 pages or frames"):
        kmq.quantize(tmp_path / "x.kmq", 4)
    with pytest.raises(InputError, match="page is 8; the file has 7"):
        kmq.quantize(tmp_path / "x.kmq", 4, page=8)
    shown = kmq.quantize(tmp_path / "x.kmq", 16, page=6).to_array()
    np.testing.assert_array_equal(shown, IMAGES[5].to_array())
    with pytest.raises(FormatError, match=r"holds a label map.*kmq\.read_labels"):
        kmq.read_frames(kmq.encode_labels(np.eye(3, dtype=np.uint8)))


OTHER = moving_images(PixelFormat.RGB24, 16, 14, 18, 1)
GREY = moving_images(PixelFormat.GREY8, 16, 14, 17, 1)


@pytest.mark.parametrize(
    ("frames", "options", "error", "match"),
    [
        ([*IMAGES, *OTHER], {}, InputError, "frame 8 has 18 by 14 pixels"),
        ([*IMAGES, *GREY], {}, InputError, "frame 8 is L and the first RGB"),
        (IMAGES, {"delays": [1, 2]}, InputError, "2 delays and 7 frames"),
        (IMAGES, {"delays": -1}, InputError, "delays is -1"),
        (IMAGES, {"delays": [9e9]}, InputError, "of frame 1, is 9000000000"),
        (IMAGES, {"delays": "fast"}, TypeError, "delays is str"),
        (IMAGES, {"plays": 65_536}, InputError, "plays is 65536"),
        (IMAGES, {"key_interval": 0}, InputError, "key_interval is 0"),
        (IMAGES, {"k": 4}, InputError, "k given with images"),
        (IMAGES, {"method": "zip"}, InputError, "no method 'zip'"),
        (IMAGES, {"limits": kmq.Limits(pixels=1000)}, InputError, "7 frames of 17 x 14"),
        (IMAGES[0], {}, TypeError, "a single IndexedImage"),
        ([], {}, InputError, "no frames"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, frames, options, error, match):
    path = tmp_path / "x.kmq"
    path.write_bytes(b"before")
    with pytest.raises(error, match=match):
        kmq.write_frames(path, frames, **options)
    assert [path.read_bytes()] == [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize("option", ["method", "key_interval"])
def test_options_of_kmq_files_are_refused_for_others(tmp_path, option):
    with pytest.raises(InputError, match=f"{option} is given for"):
        kmq.write_frames(tmp_path / "x.gif", IMAGES, **{option: 1})
    with pytest.raises(InputError, match=r"\.bmp"):
        kmq.write_frames(tmp_path / "x.bmp", IMAGES)


@pytest.mark.parametrize(("start", "stop"), [(7, None), (3, 3), (0, 8)])
def test_frames_that_there_are_not_are_refused(start, stop):
    with pytest.raises(InputError, match="the file has 7"):
        kmq.read_frames(ENCODED, start, stop)


# Damage


def damaged(number):
    """Return the file with a flipped bit in a stack."""
    stacks = stacks_of(ENCODED)
    start = len(ENCODED) - 6 - sum(stack.size for stack in stacks[number:])
    broken = bytearray(ENCODED)
    broken[start + stacks[number].size // 2] ^= 4
    return bytes(broken)


@pytest.mark.parametrize(
    ("encoded", "names", "lost"),
    [
        (damaged(0), "frame 1: .*CRC", {0, 1, 2}),
        (damaged(1), "frames 2 to 3: .*CRC", {1, 2}),
        (damaged(2), "frame 4: .*CRC", {3, 4, 5}),
        (ENCODED[:-20], "frame 7: .*ends", {6}),
        (ENCODED[: len(ENCODED) - 6 - stacks_of(ENCODED)[-1].size], "frame 7: .*ends", {6}),
        (ENCODED[:-3], "ends within the chunk", set()),
    ],
)
def test_damage_is_refused_with_its_frames_or_left_out(encoded, names, lost):
    for n_threads in (1, 3):
        with pytest.raises(FormatError, match=names):
            kmq.read_frames(encoded, n_threads=n_threads)
    with pytest.warns(SalvageWarning, match=r"damaged: .*lost: ") as caught:
        images = kmq.read_frames(encoded, on_error="salvage")
    assert ("lost: nothing" in str(caught[0].message)) is not bool(lost)
    assert {number for number, image in enumerate(images) if image.lost} == lost
    for number, (image, written_image) in enumerate(zip(images, IMAGES, strict=True)):
        if number not in lost:
            assert image == written_image
        else:
            before = images[number - 1].indices if number else np.zeros((14, 17))
            np.testing.assert_array_equal(image.indices, before)


def test_salvage_of_a_sound_file_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kmq.read_frames(ENCODED, 2, 4, on_error="salvage") == IMAGES[2:4]
        assert kmq.read_frames(kmq.encode(IMAGES[0]), on_error="salvage") == IMAGES[:1]


# Files made to hurt

PALETTE = pack_chunk("P", b"\0" + bytes([0, 9, 9]))
STRIP = pack_chunk("S", b"\0" + bytes(4) + deflate(bytes(1)))


def promise(*table, frames=1, width=4, height=2, n_colors=3, rest=b"", head=b""):
    """Return a file of greys with these numbers in its table of frames."""
    numbers = (width, height, n_colors, frames, 0)
    header = b"\2\1" + b"".join(map(pack_varint, numbers)) + head
    content = b"".join(part if isinstance(part, bytes) else pack_varint(part) for part in table)
    chunks = [pack_chunk("H", header), PALETTE, pack_chunk("F", deflate(content))]
    return b"".join([SIGNATURE, *chunks, rest, pack_chunk("E", b"")])


KEY = (0, 1, 0, 9, 14)  # kind, frames, colours, delay, size


@pytest.mark.parametrize(
    ("encoded", "kind", "match"),
    [
        (promise(frames=0), FormatError, "0 frames"),
        (promise(frames=65_537), FormatError, "65537 frames"),
        (promise(head=b"\0"), NewerFormatError, "header goes on"),
        (promise(frames=65_536, width=60_000), LimitError, "65536 frames of 60000 x 2"),
        (promise(1, 1, 0, 0, 4, 9, 1, 0, 15), FormatError, "no key frame"),
        (promise(3, 1, 0, 9, 15), NewerFormatError, "method 3"),
        (promise(0, 0, 0, 9, 15), FormatError, "0 frames are in a stack from frame 1"),
        (promise(0, 2, 0, 9, 15), FormatError, "2 frames are in a stack"),
        (promise(0, 1, 65_537, 9, 15), FormatError, "65537 colours"),
        (promise(*KEY, 0), FormatError, "go on after"),
        (promise(*KEY[:-1]), FormatError, "does not end"),
        (promise(*KEY, frames=2), FormatError, "end too early"),
        (promise(0, 1, 0, 2**31, 15), FormatError, "2147483648"),
        (promise(bytes(100)), FormatError, "more than 41 bytes each"),
        (promise(*KEY, 1, 1, 0, 0, 0, frames=2), FormatError, "0 columns"),
        (promise(*KEY, 1, 1, 0, 2, 3, frames=2), FormatError, "3 columns from 2 on"),
        (promise(*KEY, 2, 1, 0, 0, 4, 9, 2, 1, 15, frames=2), FormatError, "2 rows from 1 on"),
        (promise(*KEY, 2, 1, 65_536, 0, 4, 9, 0, 0, frames=2), FormatError, "65536 colours"),
        (promise(*KEY), FormatError, "frame 1: chunk 'E' stands where 'S'"),
        (promise(*KEY[:-1], 99, rest=STRIP), FormatError, "has 14 bytes; chunk 'F' says 99"),
        (promise(*KEY, rest=STRIP), FormatError, "frame 1: .*chunk 'S'"),
        (promise(*KEY, width=2**20, height=100, rest=STRIP), FormatError, "coded bytes cannot"),
    ],
)
def test_hostile_files_are_refused(encoded, kind, match):
    for read in (kmq.read_frames, lambda file: kmq.read_frames(file, 0, 1)):
        with pytest.raises(FormatError, match=match) as caught:
            read(encoded)
        assert type(caught.value) is kind
    if kind is not LimitError:
        with pytest.raises(ValueError) as plain:  # noqa: PT011  # of whatever message
            plain_decoder.decode(encoded)
        assert isinstance(plain.value, plain_decoder.NewerError) is (kind is NewerFormatError)


def test_a_pixel_that_stays_needs_its_color():
    """A second palette without the colour that the first frame shows."""
    first, second = (
        kmq.IndexedImage(palette, np.zeros((1, 2), np.uint8))
        for palette in (np.array([[7], [8]], np.uint8), np.array([[7], [9]], np.uint8))
    )
    encoded = written([first, second])
    assert kmq.read_frames(encoded) == [first, second]
    own = pack_chunk("P", b"\0\7\x09")
    assert own in encoded
    for read in (kmq.read_frames, plain_decoder.decode):
        with pytest.raises(ValueError, match="colour that"):
            read(encoded.replace(own, pack_chunk("P", b"\0\6\x09")))


# Command line

MOVING = IMAGES[:3] + IMAGES[4:]  # Pillow joins frames that are equal


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.kmq"
    kmq.write_frames(path, MOVING, key_interval=3, delays=[5.25, *range(5)], plays=4)
    return path


def test_animate_makes_sequences_and_takes_them(tmp_path, clip, capsys):
    gif, again = tmp_path / "clip.gif", tmp_path / "again.kmq"
    assert main(["animate", str(clip), "-o", str(gif), "--delay", "50"]) == 0
    assert main(["animate", str(gif), "-o", str(again), "--key-interval", "2"]) == 0
    info = kmq.info(again)
    assert [frame.is_key for frame in info.frames] == [True, False] * 3
    assert {frame.delay for frame in info.frames} == {50}
    assert info.plays == 4
    for image, frame in zip(kmq.read_frames(again), MOVING, strict=True):
        np.testing.assert_array_equal(image.to_array()[..., :3], frame.to_array())
    assert main(["animate", str(clip), "-o", str(tmp_path / "x.gif"), "--key-interval", "2"]) == 2
    assert "--key-interval is about .kmq files" in capsys.readouterr().err


def test_info_tells_frames(clip, capsys):
    assert main(["info", str(clip), "--counts"]) == 0
    told = capsys.readouterr().out
    assert "6 frames, 17 \u00d7 14 pixels, RGB" in told
    assert "frames   6, 0.02 s, played 4 times" in told
    assert "2 key: 1, 4" in told
    assert main(["info", str(clip), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (len(facts["frames"]), facts["plays"]) == (6, 4)
    assert facts["frames"][0] == {"delay": 5.25, "is_key": True}


def test_decode_makes_an_animated_file_or_one_for_each_frame(tmp_path, clip, capsys):
    assert main(["decode", str(clip)]) == 0
    with Image.open(tmp_path / "clip.png") as picture:
        assert (picture.n_frames, picture.info["loop"]) == (6, 4)
    folder = tmp_path / "out"
    assert main(["decode", str(clip), "--frames", "-o", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [f"clip-{n}.png" for n in range(1, 7)]
    assert kmq.IndexedImage.open(folder / "clip-6.png").hex == MOVING[5].hex
    capsys.readouterr()
    assert main(["decode", str(clip), "--frames", "-o", str(folder)]) == 1
    assert "clip-1.png exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["-o", "x.bmp"], r"holds a sequence.*--frames writes"),
        (["--box", "0,0,2,2"], "--box is about single pictures"),
        (["--frames", "-o", "x.png"], "names one, and not a folder"),
        (["--frames", "--box", "0,0,2,2"], "--box and --frames"),
    ],
)
def test_what_decode_refuses_of_sequences(clip, options, match, capsys, monkeypatch):
    monkeypatch.chdir(clip.parent)
    assert main(["decode", "clip.kmq", *options]) > 0
    assert re.search(match, capsys.readouterr().err)
    assert [path.name for path in clip.parent.iterdir()] == ["clip.kmq"]


def test_report_says_that_it_shows_pictures(tmp_path, clip, capsys):
    assert main(["report", str(clip), "-o", str(tmp_path / "x.html")]) > 0
    assert re.search(r"sequence|page 1 to 6", capsys.readouterr().err)
    assert not (tmp_path / "x.html").exists()


def test_decode_salvages_sequences(tmp_path, clip):
    clip.write_bytes(damaged(2))
    assert main(["decode", str(clip), "-o", str(tmp_path / "x.webp")]) == 1
    assert main(["decode", str(clip), "-o", str(tmp_path / "x.webp"), "--salvage"]) == 0
    with Image.open(tmp_path / "x.webp") as picture:
        assert picture.n_frames > 1
