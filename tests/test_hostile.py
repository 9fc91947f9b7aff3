"""Files made to hurt: promises of pixels, lies in tables, and whatever bytes there are."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fuzz
import kmq.files
from images import indexed_image, moving_images
from kmq.deflate import deflate
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model.file_info import Limits
from kmq.model.image import Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS
from kmq.stages.container.chunks import SIGNATURE, pack_chunk, pack_varint

LIFTED = Limits(pixels=2**62)
SIDE = 2**31 - 1


def ways_in(encoded, limits):
    """All that reads pixels: bytes, a file object, one pixel of it, one that cannot seek."""
    return [
        lambda: kmq.files.decode(encoded, limits=limits),
        lambda: kmq.files.read(io.BytesIO(encoded), limits=limits),
        lambda: kmq.files.read_region(io.BytesIO(encoded), (0, 0, 1, 1), limits=limits),
        lambda: kmq.files.read_region(Unseekable(encoded), (0, 0, 1, 1), limits=limits),
    ]


class Unseekable:
    def __init__(self, content):
        self._stream = io.BytesIO(content)

    def read(self, count):
        return self._stream.read(count)


def refused(encoded, fault, *, kind=FormatError, memory=1_000_000, limits=None):
    """Check that all ways in refuse the file, within so many bytes beside its own."""
    for way in ways_in(encoded, limits):
        tracemalloc.start()
        try:
            with pytest.raises(FormatError, match=fault) as caught:
                way()
            assert tracemalloc.get_traced_memory()[1] < 3 * len(encoded) + memory
        finally:
            tracemalloc.stop()
        assert type(caught.value) is kind


def promise(width, height, n_colors, *strips, strip_height=None, palette=None):
    """Return a file of black, grey or random colours with these payloads of its strips."""
    sizes = (width, height, n_colors, strip_height or height)
    header = b"\1\1" + b"".join(map(pack_varint, sizes))
    rng = np.random.default_rng(0)
    palette = b"\0" + rng.bytes(n_colors) if palette is None else palette
    pieces = [SIGNATURE, pack_chunk("H", header), pack_chunk("P", palette)]
    chunks = [pack_chunk("S", strip) for strip in strips]
    if len(chunks) > 1:
        pieces.append(pack_chunk("T", b"".join(pack_varint(len(chunk)) for chunk in chunks)))
    return b"".join([*pieces, *chunks, pack_chunk("E", b"")])


def head(method):
    return bytes([method.code]) + bytes(4)


# Promises of pixels


@pytest.fixture(params=STRIP_METHODS, ids=lambda method: method.name)
def method(request):
    return request.param


def fewest_bytes(method, n_colors, n_pixels):
    palette = np.random.default_rng(0).integers(0, 256, (n_colors, 1), np.uint8)
    return method.prepare(palette).fewest_bytes(n_pixels)


@pytest.mark.parametrize("n_colors", [2, 64, 256])
@pytest.mark.parametrize("size", [(16_000, 11_000), (170_000_000, 1), (1, 170_000_000)])
def test_too_few_bytes_for_the_pixels_take_no_memory(method, n_colors, size):
    fewest = fewest_bytes(method, n_colors, size[0] * size[1])
    assert fewest > 1000
    for n_coded in (0, 1, 30, fewest - 1):
        encoded = promise(*size, n_colors, head(method) + bytes(n_coded))
        refused(encoded, f"{n_coded} coded bytes cannot hold", memory=3_000_000)


def test_as_many_bytes_as_there_must_be_are_looked_at(method):
    fewest = fewest_bytes(method, 16, 10**6)
    with pytest.raises(FormatError) as caught:
        kmq.files.decode(promise(1000, 1000, 16, head(method) + bytes(fewest)))
    assert "cannot hold" not in str(caught.value)


@pytest.mark.parametrize("size", [(SIDE, 1), (1, SIDE), (SIDE, SIDE)])
def test_the_longest_sides_overflow_nothing(method, size):
    encoded = promise(*size, 16, head(method) + bytes(500))
    refused(encoded, "the limit is 178956970", kind=LimitError)
    refused(encoded, "500 coded bytes cannot hold", limits=LIFTED)


def test_each_strip_is_long_enough_for_its_own_pixels(method):
    n_pixels = 10_000 * 1000
    enough = head(method) + bytes(fewest_bytes(method, 16, n_pixels))
    encoded = promise(1000, 30_000, 16, enough, enough, enough[:-1], strip_height=10_000)
    with pytest.raises(FormatError, match="coded bytes cannot hold 10000 x 1000") as caught:
        kmq.files.decode(encoded)
    assert caught.value.offset == encoded.rindex(pack_chunk("S", enough[:-1]))


def test_a_method_is_not_used_beyond_the_palettes_it_is_for():
    for method in STRIP_METHODS:
        if method.most_colors < 65_536:
            encoded = promise(2, 2, method.most_colors + 1, head(method) + bytes(50))
            refused(encoded, f"which is for palettes of up to {method.most_colors} colours")


@pytest.mark.parametrize("code", [len(STRIP_METHODS), 77, 255])
def test_unknown_methods_are_refused_before_anything_is_decoded(code):
    strip = bytes([code]) + bytes(99)
    refused(promise(1000, 1000, 4, strip), f"coded by method {code}", kind=NewerFormatError)
    palette = bytes([code]) + bytes(99)
    refused(promise(2, 2, 4, bytes(9), palette=palette), f"{code}", kind=NewerFormatError)


# Tables that lie


# Promises of little, and much work


def mosaic(side):
    """A pattern in which each pixel takes all decisions, and which is soon foreseen."""
    steps = np.add.outer(np.arange(side), 5 * np.arange(side)) % 11 * 23
    image = indexed_image(PixelFormat.RGB24, 256, side, side)
    return replace(image, indices=steps.astype(np.uint8))


FEW = Limits(decisions=500_000)


def test_few_bytes_do_not_keep_a_reader_busy():
    encoded = kmq.files.encode(mosaic(400), method="mix")
    n_decisions = 400 * 400 * 8
    assert 100 * len(encoded) < n_decisions
    refused(
        encoded, "take more than 500000 decisions", kind=LimitError, memory=20_000_000, limits=FEW
    )
    with pytest.raises(LimitError):
        kmq.files.decode(encoded[:-1], on_error="salvage", limits=FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is salvaged from a sound file
        assert kmq.files.decode(encoded, on_error="salvage") == mosaic(400)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_work_is_that_of_all_strips_together(n_threads):
    encoded = kmq.files.encode(mosaic(400), method="mix", strip_height=100)
    assert kmq.files.read_region(io.BytesIO(encoded), (0, 0, 1, 1), limits=FEW)
    with pytest.raises(LimitError):
        kmq.files.decode(encoded, limits=FEW, n_threads=n_threads)


def test_bytes_pay_for_their_work():
    rng = np.random.default_rng(0)
    noise = replace(mosaic(150), indices=rng.integers(0, 256, (150, 150)).astype(np.uint8))
    encoded = kmq.files.encode(noise, method="mix")
    assert kmq.files.decode(encoded, limits=Limits(decisions=0)) == noise


@pytest.mark.parametrize("how", [{"method": "mix"}, {"effort": "best"}])
def test_what_is_written_can_be_read_within_the_same_limits(how):
    for side in (100, 400):
        encoded = kmq.files.encode(mosaic(side), limits=FEW, **how)
        assert kmq.files.decode(encoded, limits=FEW) == mosaic(side)
        methods = {strip.method for strip in kmq.files.info(io.BytesIO(encoded)).strips}
        assert (2 in methods) == (side == 100)


def test_plain_areas_take_no_work():
    image = replace(mosaic(1000), indices=np.full((1000, 1000), 7, np.uint8))
    encoded = kmq.files.encode(image, method="mix")
    assert kmq.files.decode(encoded, limits=Limits(decisions=10_000)) == image


def with_table(table, n_strips=3, strips=()):
    """Return a file of one column and row by row strips with that payload of chunk T."""
    sizes = (1, n_strips, 2, 1)
    pieces = [SIGNATURE, pack_chunk("H", b"\1\1" + b"".join(map(pack_varint, sizes)))]
    pieces += [pack_chunk("P", b"\0\0\1"), pack_chunk("T", table)]
    return b"".join([*pieces, *strips, pack_chunk("E", b"")])


class Stubborn(io.BytesIO):
    """Refuses to seek beyond its end, as files do beyond what their system holds, and maps."""

    kind = OSError

    def seek(self, offset, whence=os.SEEK_SET):
        if whence == os.SEEK_CUR and self.tell() + offset > len(self.getbuffer()):
            raise self.kind(22, "Invalid argument")
        return super().seek(offset, whence)


class StubbornMap(Stubborn):
    kind = ValueError


class Overflowing(Stubborn):
    kind = OverflowError


@contextlib.contextmanager
def pipe(encoded):
    """Yield a pipe that another thread writes the bytes to."""
    reading, writing = os.pipe()

    def fill():
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as end:
            end.write(encoded)

    thread = threading.Thread(target=fill)
    thread.start()
    with open(reading, "rb") as end:
        yield end
    thread.join()


def sources(encoded, path):
    """Yield all that can be read from, one after the other."""
    path.write_bytes(encoded)
    yield path
    with open(path, "rb") as file:
        yield file
    with open(path, "rb", buffering=0) as file:
        yield file
    with pipe(encoded) as file:
        yield file
    for wrap in (io.BytesIO, Unseekable, Stubborn, StubbornMap, Overflowing):
        yield wrap(encoded)


def test_a_table_of_endless_strips_takes_no_memory():
    encoded = with_table(pack_varint(SIDE) * 8_192, 8_192)
    refused(encoded, r"stands where 'S' belongs|ends", memory=1_000_000)


@pytest.mark.parametrize("length", [11, 10**4, SIDE])
def test_a_table_that_points_beyond_the_end_is_told_where(length, tmp_path):
    encoded = with_table(pack_varint(length) * 65_536, 65_536)
    first = len(encoded) - len(pack_chunk("E", b""))
    for source in sources(encoded, tmp_path / "picture.kmq"):
        with pytest.raises(FormatError, match="ends within") as caught:
            kmq.files.read_region(source, (0, 65_535, 1, 65_536))
        assert (caught.value.chunk, caught.value.offset) == ("S", first)


@pytest.mark.parametrize("letter", "HPtTS")
@pytest.mark.parametrize("length", [200, 2**21, SIDE])
def test_a_length_that_points_beyond_the_end_is_told_where(letter, length, tmp_path):
    """Also to `info`, which leaves out strips by seeking."""
    image = indexed_image(PixelFormat.GREY8, 3, 2, 5, metadata=Metadata(text={"A": "b"}))
    encoded = kmq.files.encode(image, strip_height=1)
    chunks = kmq.files.info(io.BytesIO(encoded)).chunks
    at = next(chunk.offset for chunk in chunks if chunk.letter == letter)
    damaged = encoded[: at + 1] + pack_varint(length) + encoded[at + 2 :]
    readers = [
        kmq.files.info,
        kmq.files.read,
        lambda file: kmq.files.read_region(file, (0, 0, 5, 2)),
    ]
    for read in readers:
        for source in sources(damaged, tmp_path / "picture.kmq"):
            with pytest.raises(FormatError, match=r"ends within the chunk|limit") as caught:
                read(source)
            assert (caught.value.chunk, caught.value.offset) == (letter, at)


@pytest.mark.parametrize("lengths", [[0, 0, 0], [0, 30, 30], [10, 30, 30], [30, 30, 0]])
def test_a_table_of_strips_that_cannot_be_is_refused(lengths):
    encoded = with_table(b"".join(map(pack_varint, lengths)))
    refused(encoded, "it has 11 at least")
    for row in range(3):
        with pytest.raises(FormatError, match="it has 11 at least") as caught:
            kmq.files.read_region(io.BytesIO(encoded), (0, row, 1, row + 1))
        assert caught.value.chunk == "T"


def test_more_strips_than_a_file_has_are_refused_from_the_header():
    refused(with_table(pack_varint(20) * 65_537, 65_537), "65537 strips")


def test_a_table_that_points_into_a_strip_is_noticed():
    strip = pack_chunk("S", kmq.files.encode(indexed_image(PixelFormat.GREY8, 2, 1, 1))[-20:])
    sizes = [len(strip), len(strip) - 3, len(strip) + 3]
    encoded = with_table(b"".join(map(pack_varint, sizes)), strips=[strip] * 3)
    for row in (1, 2):
        with pytest.raises(FormatError, match=r"chunk 'T' says|letter of a chunk|CRC|ends"):
            kmq.files.read_region(io.BytesIO(encoded), (0, row, 1, row + 1))


@pytest.mark.parametrize(
    "palette",
    [
        b"\0",
        b"\0" + bytes(65_535),
        b"\0" + bytes(65_537),
        b"\1",
        b"\1" + deflate(bytes(65_535)),
        b"\1" + deflate(bytes(10**7)),
    ],
)
def test_palettes_that_are_no_such_palette_are_refused(palette):
    refused(promise(5, 5, 65_536, bytes(50), palette=palette), r"\d", memory=1_500_000)


def test_a_tree_of_colours_with_bytes_left_over_is_refused():
    for palette in (b"\2" + bytes(5000), b"\2" + b"\xff" * 5000):
        refused(promise(5, 5, 300, bytes(50), palette=palette), "bytes follow the last entry")


# Whatever bytes there are


def test_mutated_files_are_judged_rightly():
    mutator = fuzz.Mutator(5)
    sound = [fuzz.judge(mutator.make(), thoroughly=number % 8 == 0) for number in range(600)]
    assert 5 < sum(sound) < 300


def test_mutated_sequences_are_judged_rightly():
    mutator = fuzz.Mutator(5, fuzz.sequences)
    sound = [
        fuzz.judge_sequence(mutator.make(), thoroughly=number % 8 == 0) for number in range(300)
    ]
    assert 5 < sum(sound) < 150


def test_the_judge_of_sequences_notices_what_is_wrong(monkeypatch):
    images = moving_images(PixelFormat.GREY8, 5, 6, 7, 3)
    stream = io.BytesIO()
    kmq.write_frames(stream, images)
    assert fuzz.judge_sequence(stream.getvalue(), thoroughly=True)
    assert not fuzz.judge_sequence(stream.getvalue()[:-1], thoroughly=True)
    monkeypatch.setattr(kmq.frames, "read_frames", lambda *_, **__: images[:1])
    with pytest.raises(AssertionError, match="decoders differ"):
        fuzz.judge_sequence(stream.getvalue(), thoroughly=True)


def test_the_judge_notices_what_is_wrong(monkeypatch):
    image = indexed_image(PixelFormat.GREY8, 5, 6, 7)
    encoded = kmq.files.encode(image, strip_height=2)
    assert fuzz.judge(encoded, thoroughly=True)
    assert not fuzz.judge(encoded[:-1], thoroughly=True)
    monkeypatch.setattr(kmq.files, "decode", lambda *_, **__: image.indices[9])
    with pytest.raises(IndexError):
        fuzz.judge(encoded)
    other = indexed_image(PixelFormat.GREY8, 5, 6, 7, seed=1)
    monkeypatch.setattr(kmq.files, "decode", lambda *_, **__: other)
    with pytest.raises(AssertionError, match="region"):
        fuzz.judge(encoded, thoroughly=True)


@pytest.mark.parametrize("path", sorted(fuzz.CRASHERS.glob("*")), ids=lambda path: path.name)
def test_what_was_once_misjudged_is_judged_rightly(path):
    fuzz.judge(path.read_bytes(), thoroughly=True)


CHECKED = """
from dataclasses import replace
import fuzz
import kmq.files
from images import indexed_image
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS
for method in STRIP_METHODS:
    for n_colors in (1, 2, 19, 256, 300):
        for height, width in ((1, 1), (1, 9), (9, 1), (40, 50)):
            n_colors = min(n_colors, method.most_colors)
            image = indexed_image(PixelFormat.RGB24, n_colors, height, width)
            for picture in (image, replace(image, indices=0 * image.indices)):
                encoded = kmq.files.encode(picture, method=method.name, strip_height=30)
                assert kmq.files.decode(encoded) == picture
mutator = fuzz.Mutator(1)
for _ in range(4000):
    fuzz.judge(mutator.make())
print("checked")
"""


def test_kernels_stay_within_their_arrays():
    """Numba checks each index in a fresh process, on sound files and on mutated ones."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "KMQ_KERNELS": "jit"}
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "checked\n", done.stderr


CAPPED = """
import io
import resource
import kmq.files
import kmq.pillow
from PIL import Image
from images import indexed_image
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS

def address_space():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()

def opened(encoded):
    with Image.open(io.BytesIO(encoded)) as picture:
        picture.load()

def left_with(n_blocks, work):
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken, n_large = [], 0
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (1 << 21), hard))
    for size in (1 << 14, 1 << 10):  # small ones take what allocators have kept
        try:
            while True:
                taken.append(bytearray(size))
        except MemoryError:
            n_large = n_large or len(taken)
    del taken[n_large - n_blocks : n_large]
    try:
        work()
    except MemoryError:
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        taken.clear()
    return True

image = indexed_image(PixelFormat.RGB24, 200, 60, 150)
for method in STRIP_METHODS:
    how = {"method": method.name, "strip_height": 1, "n_threads": 2}
    encoded = kmq.files.encode(image, **how)
    for work in (
        lambda: kmq.files.decode(encoded, n_threads=2),
        lambda: kmq.files.encode(image, **how),
        lambda: opened(encoded),
    ):
        work()
        outcomes = [left_with(n_blocks, work) for n_blocks in range(0, 60, 5)]
        assert False in outcomes, method.name
        work()
print("checked")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="caps what a process may take as Linux does")
def test_too_little_memory_is_an_error_wherever_it_runs_out():
    done = subprocess.run(
        [sys.executable, "-c", CAPPED],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "checked\n"), done.stderr
