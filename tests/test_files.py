import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import kmq
import kmq.files
import plain_decoder
from images import FULL_METADATA, indexed_image, same
from kmq.errors import FormatError, InputError
from kmq.model.file_info import Limits
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS

GOLDEN = Path(__file__).parent / "golden"
METHODS = [method.name for method in STRIP_METHODS]
MOST_COLORS = {method.name: method.most_colors for method in STRIP_METHODS}
IMAGE = indexed_image(PixelFormat.RGB24, 20, 30, 17, metadata=FULL_METADATA)


# Round trips


metadata_strategy = st.builds(
    Metadata,
    icc_profile=st.none() | st.binary(max_size=50),
    exif=st.none() | st.binary(max_size=50),
    xmp=st.none() | st.binary(max_size=50),
    dpi=st.none() | st.tuples(st.integers(0, 2000), st.sampled_from([72, 72.009, 299.9994])),
    text=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10),
        st.text(st.characters(codec="utf-8"), max_size=50),
        max_size=3,
    ),
    gamma=st.none() | st.sampled_from([1.0, 0.45455, 0.00001, 21474.83647]),
    chromaticities=st.none() | st.just((0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)),
    srgb=st.none() | st.sampled_from(["perceptual", "absolute colorimetric"]),
    cicp=st.none() | st.tuples(*[st.integers(0, 255)] * 4),
    extra=st.lists(st.tuples(st.sampled_from("abfyz"), st.binary(max_size=10)), max_size=3).map(
        tuple
    ),
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel_format", PixelFormat)
@settings(max_examples=10, deadline=None)
@given(
    n_colors=st.sampled_from([1, 2, 3, 16, 17, 64, 255, 256, 257, 600]),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    strip_height=st.integers(1, 17),
    metadata=metadata_strategy,
)
def test_what_is_encoded_comes_back(
    method, pixel_format, n_colors, height, width, strip_height, metadata
):
    n_colors = min(n_colors, MOST_COLORS[method])
    image = indexed_image(pixel_format, n_colors, height, width, metadata=metadata)
    encoded = kmq.files.encode(image, method=method, strip_height=strip_height)
    decoded = kmq.files.decode(encoded)
    assert decoded == image
    assert decoded.indices.dtype == image.indices.dtype
    assert decoded.report is None
    assert same(image, plain_decoder.decode(encoded))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("n_colors", "shape"), [(32_769, (12, 10)), (64, (1, 1500)), (2, (3000, 1))]
)
def test_the_ends_of_the_ranges_come_back(method, n_colors, shape):
    image = indexed_image(PixelFormat.RGBA64, min(n_colors, MOST_COLORS[method]), *shape)
    encoded = kmq.files.encode(image, method=method)
    assert kmq.files.decode(encoded) == image
    assert same(image, plain_decoder.decode(encoded))


def test_order_and_unused_entries_of_a_palette_are_kept():
    palette = np.array([[9], [3], [9], [200]], np.uint8)
    image = IndexedImage(palette, np.array([[2, 0]], np.uint8), PixelFormat.GREY8)
    decoded = kmq.files.decode(kmq.files.encode(image))
    assert decoded.palette.tolist() == [[9], [3], [9], [200]]
    assert decoded.indices.tolist() == [[2, 0]]


def test_an_image_of_several_strips_by_default_comes_back_with_any_number_of_threads():
    image = indexed_image(PixelFormat.RGB24, 3, 1000, 1003)
    encoded = kmq.files.encode(image, n_threads=1)
    assert kmq.files.encode(image, n_threads=3) == encoded
    assert len(kmq.files.info(io.BytesIO(encoded)).strips) > 1
    assert kmq.files.decode(encoded, n_threads=3) == image
    assert kmq.files.decode(encoded, n_threads=1) == image


def test_an_icon_costs_few_bytes_beside_its_pixels():
    image = indexed_image(PixelFormat.RGB24, 16, 32, 32)
    encoded = kmq.files.encode(image)
    coded = kmq.files.info(io.BytesIO(encoded)).strips[0].length - 5
    assert len(encoded) - coded < 100


def icon(side, k):
    """A shaded ball on a flat ground."""
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    inside = np.hypot(rows, columns) < 0.4
    light = np.clip(1 - 2 * np.hypot(rows + 0.15, columns + 0.15), 0, 1)[:, :, None]
    ball = np.array([40, 60, 130]) + light * [200, 160, 110]
    return kmq.quantize(np.where(inside[:, :, None], ball, 250).astype(np.uint8), k)


@pytest.mark.parametrize("side", [16, 32, 64])
@pytest.mark.parametrize("k", [16, 64])
def test_icons_are_smaller_than_those_of_others(side, k):
    image = icon(side, k)
    ours = len(kmq.files.encode(image))
    png, webp = io.BytesIO(), io.BytesIO()
    image.to_pillow().save(png, "PNG", optimize=True)
    image.to_pillow().convert("RGB").save(webp, "WEBP", lossless=True, quality=100, method=6)
    assert ours < len(png.getvalue())
    assert ours < len(webp.getvalue())


def test_eight_threads_at_once():
    images = [indexed_image(PixelFormat.RGB24, 5 + n, 200, 90) for n in range(8)]

    def round_trip(image):
        encoded = kmq.files.encode(image, strip_height=10, n_threads=2)
        return kmq.files.decode(encoded, n_threads=2)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(round_trip, images)) == images


# Golden files


def golden_manifest():
    return json.loads((GOLDEN / "manifest.json").read_text())


def hash_of(array):
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.mark.parametrize("name", golden_manifest())
def test_a_golden_file_is_read_as_ever(name):
    entry = golden_manifest()[name]
    encoded = (GOLDEN / f"{name}.kmq").read_bytes()
    assert hashlib.sha256(encoded).hexdigest() == entry["file"]
    image = kmq.files.decode(encoded)
    assert hash_of(image.palette) == entry["palette"]
    assert hash_of(image.indices) == entry["indices"]
    if "mix" not in name or image.indices.size < 10_000:  # else it takes long
        assert same(image, plain_decoder.decode(encoded))


def test_golden_files_cover_the_format():
    manifest = golden_manifest()
    assert {path.stem for path in GOLDEN.glob("*.kmq")} == set(manifest)
    wanted = {(name, label.label) for name in [*METHODS, "tree"] for label in PixelFormat}
    assert {tuple(name.split("-")[:2]) for name in manifest} >= wanted
    assert len(manifest) >= 8 * len(METHODS) * len(PixelFormat)


# What encode takes


@pytest.mark.parametrize(
    "options",
    [{"k": 20}, {"start": "random"}, {"psnr": 30, "max_colors": 9}, {"mapping": "dither"}],
)
def test_quantize_options_do_not_go_with_an_indexed_image(options):
    with pytest.raises(InputError, match=f"{', '.join(options)} given with an IndexedImage"):
        kmq.files.encode(IMAGE, **options)
    with pytest.raises(InputError, match="given with an IndexedImage"):
        kmq.files.write(io.BytesIO(), IMAGE, **options)


@pytest.mark.parametrize("door", ["encode", "write"])
def test_other_pictures_are_quantized_first(door):
    gradient = np.arange(0, 250, 10, np.uint8).reshape(5, 5)
    if door == "encode":
        image = kmq.files.decode(kmq.files.encode(gradient, 7, start=kmq.Start(n_init=2, seed=3)))
    else:
        stream = io.BytesIO()
        kmq.files.write(stream, gradient, k=7, start=kmq.Start(n_init=2, seed=3))
        image = kmq.files.decode(stream.getvalue())
    assert image.n_colors == 7
    assert image.pixel_format is PixelFormat.GREY8
    assert kmq.files.decode(kmq.files.encode(gradient)).n_colors == 25


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "fast", "k": 12},
        {"effort": "best", "k": kmq.Fewest(psnr=30.0)},
        {"k": kmq.Fewest(max_mse=40.0), "start": kmq.Start(seed=3)},
        {"k": kmq.Fewest(psnr=60.0, max_colors=6)},
        {"k": 5},
    ],
)
def test_effort_and_targets_reach_quantize(options):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (24, 24), dtype=np.uint8)
    image = kmq.quantize(picture, **options)
    assert kmq.files.decode(kmq.files.encode(picture, **options)) == image
    stream = io.BytesIO()
    kmq.files.write(stream, picture, **options)
    assert kmq.files.decode(stream.getvalue()) == image


def test_effort_goes_with_what_needs_no_search():
    assert kmq.files.decode(kmq.files.encode(IMAGE, effort="best")) == IMAGE
    gradient = np.arange(0, 250, 10, np.uint8).reshape(5, 5)
    encoded = kmq.files.encode(gradient, 7, start="var-part", effort="fast")
    assert kmq.files.decode(encoded) == kmq.quantize(gradient, 7, start="var-part")


def test_k_and_a_target_contradict_each_other():
    with pytest.raises(InputError, match="k and psnr are both given"):
        kmq.files.encode(np.zeros((2, 2), np.uint8), 4, psnr=30)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="colour_space"):
        kmq.files.encode(np.zeros((2, 2), np.uint8), colour_space="lab")


@pytest.mark.parametrize(
    ("options", "kind", "fault"),
    [
        ({"method": "zip"}, InputError, "no method 'zip'"),
        ({"effort": "most"}, InputError, "effort is 'most'"),
        ({"effort": 9}, TypeError, "effort is int"),
        ({"strip_height": 0}, InputError, "strip_height is 0"),
        ({"strip_height": -5}, InputError, "strip_height is -5"),
        ({"strip_height": 2.5}, TypeError, "strip_height is float"),
        ({"n_threads": 0}, InputError, "n_threads is 0"),
    ],
)
def test_options_out_of_range_are_refused(options, kind, fault):
    with pytest.raises(kind, match=fault):
        kmq.files.encode(IMAGE, **options)


def test_too_many_strips_are_refused():
    tall = IndexedImage(
        np.zeros((1, 1), np.uint8), np.zeros((65_537, 1), np.uint8), PixelFormat.GREY8
    )
    with pytest.raises(InputError, match="more than 65536 strips"):
        kmq.files.encode(tall, strip_height=1)
    encoded = kmq.files.encode(tall, strip_height=2, method="deflate")
    assert kmq.files.decode(encoded) == tall


def test_a_strip_may_be_higher_than_the_picture():
    info = kmq.files.info(io.BytesIO(kmq.files.encode(IMAGE, strip_height=10_000)))
    assert (info.strip_height, len(info.strips)) == (30, 1)


# Sources


class OneWay:
    """A file object that can only be read, a few bytes at a time, or only be written."""

    def __init__(self, content=b""):
        self._stream = io.BytesIO(content)

    def read(self, count):
        return self._stream.read(min(count, 7))


class Counting(io.BytesIO):
    """Counts the bytes that are read of it."""

    count = 0

    def read(self, size=-1):
        block = super().read(size)
        self.count += len(block)
        return block


class Sink:
    def __init__(self):
        self.pieces = []

    def write(self, content):
        self.pieces.append(content)


class Reluctant(io.RawIOBase):
    """Takes a few bytes at a time, as a raw file may."""

    def __init__(self):
        self.taken = bytearray()

    def writable(self):
        return True

    def write(self, content):
        self.taken += bytes(content[:5])
        return min(5, len(content))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.frombuffer])
def test_decode_takes_any_bytes(kind):
    encoded = kmq.files.encode(IMAGE)
    content = kind(encoded, np.uint8) if kind is np.frombuffer else kind(encoded)
    assert kmq.files.decode(content) == IMAGE


def test_bytes_after_the_end_are_left_alone():
    encoded = kmq.files.encode(IMAGE)
    assert kmq.files.decode(encoded + b"more") == IMAGE
    stream = io.BytesIO(b"before" + encoded + encoded + b"after")
    stream.seek(6)
    assert kmq.files.info(stream).file_size == len(encoded)
    assert kmq.files.read(stream) == IMAGE
    assert stream.read() == b"after"


def test_a_file_object_needs_read_alone():
    assert kmq.files.read(OneWay(kmq.files.encode(IMAGE, strip_height=7))) == IMAGE


def test_a_file_object_needs_write_alone():
    sink = Sink()
    kmq.files.write(sink, IMAGE, strip_height=7)
    assert b"".join(sink.pieces) == kmq.files.encode(IMAGE, strip_height=7)


def test_a_file_object_may_take_less_than_it_is_given():
    reluctant = Reluctant()
    kmq.files.write(reluctant, IMAGE)
    assert reluctant.taken == kmq.files.encode(IMAGE)


def test_pipes_work(tmp_path):
    encoded = kmq.files.encode(IMAGE)
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb") as sink:
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(kmq.files.write, sink, IMAGE)
            written.result()
            sink.close()
        assert source.read() == encoded


def test_wrong_types_are_refused(tmp_path):
    path = tmp_path / "picture.kmq"
    kmq.files.write(path, IMAGE)
    with pytest.raises(TypeError, match="encoded is str"):
        kmq.files.decode(str(path))
    with pytest.raises(TypeError, match=r"target is IndexedImage; .* comes before the picture"):
        kmq.files.write(IMAGE, path)
    with pytest.raises(TypeError, match="source is int"):
        kmq.files.info(3)
    with pytest.raises(TypeError, match="target is int"):
        kmq.files.write(3, IMAGE)
    with pytest.raises(TypeError, match="limits is int"):
        kmq.files.read(path, limits=1000)
    with pytest.raises(TypeError, match="binary mode"):
        kmq.files.read(io.StringIO("text"))
    with open(path, encoding="latin-1") as stream, pytest.raises(TypeError, match="binary mode"):
        kmq.files.info(stream)


# Paths


@pytest.mark.parametrize("kind", [str, Path])
def test_paths(tmp_path, kind):
    path = kind(tmp_path / "picture.kmq")
    assert kmq.files.write(path, IMAGE) is None
    assert kmq.files.read(path) == IMAGE
    assert Path(path).read_bytes() == kmq.files.encode(IMAGE)
    assert os.listdir(tmp_path) == ["picture.kmq"]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        kmq.files.read(tmp_path / "picture.kmq")
    with pytest.raises(FileNotFoundError):
        kmq.files.write(tmp_path / "folder" / "picture.kmq", IMAGE)


def test_an_existing_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "picture.kmq"
    path.write_bytes(b"dear to me")
    with pytest.raises(InputError):
        kmq.files.write(path, IMAGE, method="zip")

    def fail(stream, pieces):
        stream.write(pieces[0])
        raise OSError("disk full")

    monkeypatch.setattr(kmq.files, "write_all", fail)
    with pytest.raises(OSError, match="disk full"):
        kmq.files.write(path, IMAGE)
    assert path.read_bytes() == b"dear to me"
    assert os.listdir(tmp_path) == ["picture.kmq"]


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_permissions_are_those_of_the_file_or_the_umask(tmp_path):
    path = tmp_path / "picture.kmq"
    kmq.files.write(path, IMAGE)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    kmq.files.write(path, IMAGE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="links need no rights on POSIX")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.kmq"
    link.symlink_to(tmp_path / "folder" / "picture.kmq")
    kmq.files.write(link, IMAGE)
    assert link.is_symlink()
    assert os.listdir(tmp_path / "folder") == ["picture.kmq"]
    assert kmq.files.read(link) == IMAGE


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device")
def test_a_device_is_written_to_and_not_replaced():
    kmq.files.write("/dev/null", IMAGE)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["x.jpg", "x.TIF", "x.kmq.tmp", "x.kmqhist", "x.y/../x.txt"])
def test_a_suffix_of_another_kind_of_file_is_refused(tmp_path, name):
    (tmp_path / "x.y").mkdir()
    (tmp_path / "x.jpg").write_bytes(b"dear to me")
    kinds = r"\.kmq, \.kmqpal, \.png, \.gif or \.webp"
    with pytest.raises(
        InputError, match=rf"the suffix \.[a-zA-Z]+; files that write makes have {kinds}"
    ):
        kmq.files.write(tmp_path / name, IMAGE)
    assert (tmp_path / "x.jpg").read_bytes() == b"dear to me"
    assert sorted(os.listdir(tmp_path)) == ["x.jpg", "x.y"]


@pytest.mark.parametrize("name", ["x.kmq", "x.KMQ", "x.kmqpal", "x", ".x", "x.y/x"])
def test_other_names_are_taken(tmp_path, name):
    (tmp_path / "x.y").mkdir()
    kmq.files.write(str(tmp_path / name), IMAGE)
    assert kmq.files.read(tmp_path / name) == IMAGE


@pytest.mark.skipif(os.name != "posix", reason="named pipes are made otherwise elsewhere")
def test_a_named_pipe_may_have_any_suffix(tmp_path):
    os.mkfifo(tmp_path / "x.fifo")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit((tmp_path / "x.fifo").read_bytes)
        kmq.files.write(tmp_path / "x.fifo", IMAGE)
        assert found.result() == kmq.files.encode(IMAGE)


@pytest.fixture(params=["itself", "another spelling", "link", "hard link"])
def source_and_target(request, tmp_path):
    """Two paths of one picture, as far as the name of the second may be that of a .kmq file."""
    source, target = tmp_path / "picture", tmp_path / "target.kmq"
    Image.new("RGB", (4, 3), (1, 2, 3)).save(source, "PNG")
    if request.param == "itself":
        target = source
    elif request.param == "another spelling":
        (tmp_path / "folder").mkdir()
        target = tmp_path / "folder" / ".." / "picture"
    elif request.param == "link":
        target.symlink_to(source)
    else:
        target.hardlink_to(source)
    return source, target


@pytest.mark.skipif(os.name != "posix", reason="links need no rights on POSIX")
@pytest.mark.parametrize("kind", [str, Path])
def test_a_source_is_never_replaced(source_and_target, kind):
    source, target = map(kind, source_and_target)
    content = Path(source).read_bytes()
    with pytest.raises(InputError, match="target and picture are the same file"):
        kmq.files.write(target, source, k=8)
    with pytest.raises(InputError, match="target and palette are the same file"):
        kmq.files.write(target, np.zeros((2, 2, 3), np.uint8), palette=source)
    assert Path(source).read_bytes() == content
    kmq.files.write(target, kmq.quantize(source, 8))  # asked for
    assert kmq.files.read(target).n_colors == 1


def test_a_long_name_is_no_trouble(tmp_path):
    path = tmp_path / ("x" * 250 + ".kmq")
    kmq.files.write(path, IMAGE)
    assert kmq.files.read(path) == IMAGE


# Regions


REGION = indexed_image(PixelFormat.RGB24, 40, 30, 17, metadata=FULL_METADATA)


def cropped(image, box):
    left, upper, right, lower = box
    indices = image.indices[upper:lower, left:right]
    return IndexedImage(image.palette, indices, image.pixel_format, image.metadata)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.sampled_from([1, 4, 7, 29, 30]),
    st.tuples(st.integers(0, 16), st.integers(0, 29), st.integers(1, 17), st.integers(1, 30)),
    st.sampled_from([io.BytesIO, OneWay]),
)
def test_a_region_is_the_crop_of_the_whole(method, strip_height, box, wrap):
    left, upper, right, lower = box
    box = left, upper, max(right, left + 1), max(lower, upper + 1)
    encoded = kmq.files.encode(REGION, method=method, strip_height=strip_height)
    region = kmq.files.read_region(wrap(encoded), box)
    assert region == cropped(REGION, box)
    assert region.indices.dtype == REGION.indices.dtype


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_region_of_a_path(tmp_path, kind):
    kmq.files.write(tmp_path / "picture.kmq", REGION, strip_height=5)
    box = kind([2, 3, 9, 12])
    region = kmq.files.read_region(tmp_path / "picture.kmq", box)
    assert region == cropped(REGION, [2, 3, 9, 12])


@pytest.mark.parametrize("wrap", [io.BytesIO, OneWay])
def test_only_the_strips_of_a_region_are_decoded(wrap):
    encoded = bytearray(kmq.files.encode(REGION, strip_height=5))
    strips = kmq.files.info(io.BytesIO(encoded)).strips
    for strip in strips[:2] + strips[4:]:
        encoded[strip.offset + 3 : strip.offset + strip.length] = bytes(strip.length - 3)
    box = (0, 10, 17, 20)
    assert kmq.files.read_region(wrap(encoded), box) == cropped(REGION, box)
    for box in [(0, 9, 17, 20), (0, 10, 17, 21)]:
        with pytest.raises(FormatError, match="CRC does not agree"):
            kmq.files.read_region(wrap(encoded), box)


def test_other_strips_than_those_of_a_region_are_not_read():
    image = indexed_image(PixelFormat.RGB24, 256, 500, 500)
    encoded = kmq.files.encode(image, strip_height=10)
    stream = Counting(encoded)
    assert kmq.files.read_region(stream, (100, 345, 200, 346)) == cropped(
        image, (100, 345, 200, 346)
    )
    front = kmq.files.info(io.BytesIO(encoded)).strips[0].offset
    assert stream.count < front + len(encoded) / 40


def test_what_follows_a_region_may_be_missing():
    encoded = kmq.files.encode(REGION, strip_height=5)
    second = kmq.files.info(io.BytesIO(encoded)).strips[2].offset
    box = (1, 1, 5, 10)
    assert kmq.files.read_region(io.BytesIO(encoded[:second]), box) == cropped(REGION, box)
    with pytest.raises(FormatError, match="ends"):
        kmq.files.read_region(io.BytesIO(encoded[:second]), (1, 1, 5, 11))
    with pytest.raises(FormatError, match="ends"):
        kmq.files.read_region(OneWay(encoded[:second]), (1, 20, 5, 21))


@pytest.mark.parametrize(
    ("box", "kind", "fault"),
    [
        ((0, 0, 18, 30), InputError, "17 x 30"),
        ((0, 0, 17, 31), InputError, "17 x 30"),
        ((-1, 0, 5, 5), InputError, "17 x 30"),
        ((0, -1, 5, 5), InputError, "17 x 30"),
        ((5, 0, 5, 5), InputError, "17 x 30"),
        ((0, 6, 5, 5), InputError, "17 x 30"),
        ((0, 0, 2**31 - 1, 2**31 - 1), InputError, "17 x 30"),
        ((0, 0, 2**31, 1), InputError, "right of the box is 2147483648"),
        ((0, 0, 1.0, 1), TypeError, "right of the box is float"),
        ((0, True, 2, 2), TypeError, "upper of the box is a bool"),
        ((0, 0, 1), InputError, "must be .left, upper, right, lower."),
        (5, InputError, "must be .left, upper, right, lower."),
    ],
)
def test_other_boxes_are_refused(box, kind, fault):
    with pytest.raises(kind, match=fault):
        kmq.files.read_region(io.BytesIO(kmq.files.encode(REGION)), box)


# Info


@pytest.mark.parametrize("wrap", [io.BytesIO, OneWay])
def test_info_tells_what_was_written(wrap):
    encoded = kmq.files.encode(IMAGE, strip_height=12, method="deflate")
    info = kmq.files.info(wrap(encoded))
    assert info.version == 1
    assert info.pixel_format is PixelFormat.RGB24
    assert (info.height, info.width, info.n_colors) == (30, 17, 20)
    assert np.array_equal(info.palette, IMAGE.palette)
    assert info.metadata == IMAGE.metadata
    assert info.strip_height == 12
    assert [(strip.row, strip.height) for strip in info.strips] == [(0, 12), (12, 12), (24, 6)]
    assert info.file_size == len(encoded)
    letters = "".join(chunk.letter for chunk in info.chunks)
    assert letters == "HPiexdtttqaqTSSSE"
    assert info.memory == 30 * 17 * 3
    strips = [chunk for chunk in info.chunks if chunk.letter == "S"]
    assert [(strip.offset, strip.length) for strip in info.strips] == [
        (chunk.offset, chunk.length) for chunk in strips
    ]
    for strip in info.strips:
        assert encoded[strip.offset : strip.offset + 1] == b"S"
        assert strip.method == 0


def test_info_does_not_read_the_strips():
    image = indexed_image(PixelFormat.RGB24, 256, 500, 500)
    encoded = kmq.files.encode(image)
    stream = Counting(encoded)
    kmq.files.info(stream)
    assert stream.count < 2000 < len(encoded)


def test_neither_numba_nor_pillow_is_loaded(tmp_path):
    path = tmp_path / "picture.kmq"
    kmq.files.write(path, IMAGE, method="deflate")
    program = (
        "import sys, kmq.files; kmq.files.info(sys.argv[1]); image = kmq.files.read(sys.argv[1]);"
        "kmq.files.encode(image, method='deflate');"
        "print([name for name in ('numba', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_limit_is_handed_on(tmp_path):
    path = tmp_path / "picture.kmq"
    kmq.files.write(path, IMAGE)
    with pytest.raises(FormatError, match="the limit is 5"):
        kmq.files.read(path, limits=Limits(pixels=5))


DOORS = {
    "read": kmq.read,
    "read_region": lambda name: kmq.read_region(name, (0, 0, 1, 1)),
    "info": kmq.info,
    "encode": kmq.encode,
    "quantize": kmq.quantize,
    "palette": lambda name: kmq.quantize(IMAGE.to_array(), palette=name),
    "write": lambda name: kmq.write(name, IMAGE),
    "write source": lambda name: kmq.write(io.BytesIO(), name),
    "read_palette": kmq.read_palette,
    "write_palette": lambda name: kmq.write_palette(name, IMAGE),
    "histogram": kmq.ColorHistogram.from_picture,
    "read histogram": kmq.ColorHistogram.read,
    "write histogram": lambda name: kmq.ColorHistogram.from_picture(IMAGE).write(name),
    "save": IMAGE.save,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["\0.kmq", "a\0", Path("a\0b.png"), "\ud800.png"])
def test_a_name_that_no_file_can_have_is_refused(door, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"null character in it|names cannot have here"):
        DOORS[door](name)
    assert os.listdir(tmp_path) == []
