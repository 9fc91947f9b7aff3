"""What ``on_error="salvage"`` makes of damaged files."""

import contextlib
import gc
import io
import random
import threading
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest

import kmq.files
from images import FULL_METADATA, indexed_image
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, SalvageWarning
from kmq.model.file_info import Limits
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding.methods import STRIP_METHODS
from kmq.stages.container.chunks import chunk_size, pack_chunk, pack_varint
from kmq.threads import run_chunks

IMAGE = indexed_image(PixelFormat.RGB24, 20, 13, 17, metadata=Metadata(text={"Title": "A"}))
ENCODED = kmq.files.encode(IMAGE, method="deflate", strip_height=3)
INFO = kmq.files.info(io.BytesIO(ENCODED))
BANDS = [(strip.row, strip.row + strip.height) for strip in INFO.strips]
AFTER_PALETTE = INFO.chunks[2].offset
ENDS = {chunk: chunk.offset + chunk_size(chunk.length) for chunk in INFO.chunks}
TABLE = next(chunk for chunk in INFO.chunks if chunk.letter == "T")
STRIPS = [chunk for chunk in INFO.chunks if chunk.letter == "S"]


def salvaged(encoded, **options):
    """Return the image and what the warning says; "" for no warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = kmq.files.decode(encoded, on_error="salvage", **options)
    assert len(caught) <= 1
    assert all(warning.category is SalvageWarning for warning in caught)
    return image, "".join(str(warning.message) for warning in caught)


def with_lost(image, *bands):
    """Return what is left of an image without some bands of rows."""
    indices = image.indices.copy()
    for first, end in bands:
        indices[first:end] = 0
    return IndexedImage(image.palette, indices, image.pixel_format, image.metadata, lost=bands)


def flipped(encoded, *offsets):
    damaged = bytearray(encoded)
    for offset in offsets:
        damaged[offset] ^= 0x10
    return bytes(damaged)


def test_a_sound_file_is_read_as_ever():
    assert salvaged(ENCODED) == (IMAGE, "")
    assert salvaged(ENCODED + b"more") == (IMAGE, "")
    assert salvaged(ENCODED)[0].lost == ()


def test_the_default_is_to_refuse():
    damaged = flipped(ENCODED, STRIPS[1].offset + 9)
    for options in ({}, {"on_error": "raise"}):
        with pytest.raises(FormatError, match="CRC"):
            kmq.files.decode(damaged, **options)
        with pytest.raises(FormatError, match="CRC"):
            kmq.files.read(io.BytesIO(damaged), **options)


def test_the_warning_names_strips_rows_and_reasons():
    image, message = salvaged(flipped(ENCODED, STRIPS[1].offset + 9))
    assert image == with_lost(IMAGE, (3, 6))
    assert "its CRC does not agree (chunk 'S'" in message
    assert "lost: strip 1 (rows 3 to 5): its chunk at offset" in message


def test_the_warning_points_at_the_caller(tmp_path):
    damaged = flipped(ENCODED, STRIPS[1].offset + 9)
    path = tmp_path / "picture.kmq"
    path.write_bytes(damaged)
    for door, source in [
        (kmq.files.decode, damaged),
        (kmq.files.read, path),
        (kmq.files.read, io.BytesIO(damaged)),
    ]:
        with pytest.warns(SalvageWarning) as caught:
            assert door(source, on_error="salvage") == with_lost(IMAGE, (3, 6))
        assert caught[0].filename == __file__


def test_a_long_list_of_strips_is_cut_short():
    image = indexed_image(PixelFormat.GREY8, 5, 40, 3)
    encoded = kmq.files.encode(image, strip_height=1)
    first = kmq.files.info(io.BytesIO(encoded)).strips[0].offset
    left, message = salvaged(encoded[:first])
    assert left == with_lost(image, (0, 40))
    assert "strip 9 (rows 9 to 9): the file ends before it does; 30 more strips" in message


@pytest.mark.parametrize("offset", range(8, len(ENCODED)))
def test_one_damaged_byte_costs_one_strip_at_most(offset):
    damaged = flipped(ENCODED, offset)
    if offset < AFTER_PALETTE:
        with pytest.raises(FormatError):
            kmq.files.decode(damaged, on_error="salvage")
        return
    image, message = salvaged(damaged)
    hit = [
        band
        for chunk, band in zip(STRIPS, BANDS, strict=True)
        if chunk.offset + 2 <= offset < ENDS[chunk]  # letter and length follow from the rest
    ]
    text = INFO.chunks[2]
    metadata = Metadata() if text.offset <= offset < ENDS[text] else IMAGE.metadata
    expected = with_lost(IMAGE, *hit)
    assert image == IndexedImage(
        IMAGE.palette, expected.indices, IMAGE.pixel_format, metadata, lost=hit
    )
    assert message


@pytest.mark.parametrize("offset", range(AFTER_PALETTE, len(ENCODED)))
@pytest.mark.parametrize("change", ["lost", "added"])
def test_a_byte_too_few_or_too_many_costs_one_strip_at_most(offset, change):
    middle = b"" if change == "lost" else b"S"
    damaged = ENCODED[:offset] + middle + ENCODED[offset + (change == "lost") :]
    image, _ = salvaged(damaged)
    assert len(image.lost) <= 1
    assert all(band in BANDS for band in image.lost)
    assert np.array_equal(image.indices, with_lost(IMAGE, *image.lost).indices)
    if offset < STRIPS[0].offset:
        assert image.lost == ()


@pytest.mark.parametrize("size", range(AFTER_PALETTE, len(ENCODED)))
def test_truncation_costs_what_is_cut_off(size):
    image, message = salvaged(ENCODED[:size])
    whole = [band for chunk, band in zip(STRIPS, BANDS, strict=True) if ENDS[chunk] <= size]
    rows = whole[-1][1] if whole else 0
    table_is_cut = size < ENDS[TABLE]
    lost = [(rows, 13)] if rows < 13 else []
    assert image.lost == tuple(lost)
    assert np.array_equal(image.indices[:rows], IMAGE.indices[:rows])
    assert not image.indices[rows:].any()
    if lost:
        assert ("no sound chunk" if table_is_cut else "the file ends before it does") in message


def test_a_file_that_ends_in_its_front_is_refused():
    for size in range(AFTER_PALETTE):
        with pytest.raises(FormatError):
            kmq.files.decode(ENCODED[:size], on_error="salvage")


@pytest.mark.parametrize(
    ("within", "lost"), [(0, ()), (1, ()), (4, ((6, 9),))], ids=["letter", "length", "payload"]
)
def test_without_the_table_strips_are_counted_if_none_is_missing(within, lost):
    image, message = salvaged(flipped(ENCODED, TABLE.offset + 3, STRIPS[2].offset + within))
    assert image == with_lost(IMAGE, *lost)
    assert ("strip 2 (rows 6 to 8): no sound chunk is known to hold it" in message) == bool(lost)


def overwritten(encoded, *strips):
    """Return the file with the begin of some strips' chunks overwritten."""
    damaged = bytearray(encoded)
    for strip in strips:
        damaged[strip.offset : strip.offset + 9] = bytes(9)
    return bytes(damaged)


def test_without_the_table_strips_that_are_missing_leave_those_before_the_end():
    image, message = salvaged(overwritten(flipped(ENCODED, TABLE.offset + 3), *STRIPS[1:4:2]))
    assert image == with_lost(IMAGE, (0, 12))
    assert "sound strips of unknown place: 2" in message


def test_a_damaged_table_may_have_taken_strips_with_it():
    """So what follows it directly has a number only if no strip is missing."""
    start, end = TABLE.offset + 3, STRIPS[0].offset + 9
    image, _ = salvaged(ENCODED[:start] + bytes(end - start) + ENCODED[end:])
    assert image == with_lost(IMAGE, (0, 13))
    image, _ = salvaged(overwritten(ENCODED[:start] + b"!" + ENCODED[start:], STRIPS[4]))
    assert image.lost == ((0, 13),)


def test_strips_that_vanished_as_a_whole_leave_the_others_in_place():
    """Only of neighbours of one size it is not known which is left."""
    for strip, band in zip(STRIPS, BANDS, strict=True):
        image, _ = salvaged(ENCODED[: strip.offset] + ENCODED[ENDS[strip] :])
        assert image == with_lost(IMAGE, *image.lost)
        if [other.length for other in STRIPS].count(strip.length) == 1:
            assert image.lost == (band,)


@pytest.mark.parametrize(
    ("head", "reason"),
    [(b"\0" + bytes(4), "checksum"), (b"\xc8" + bytes(4), "needs a newer kmq")],
)
def test_a_sound_chunk_whose_strip_lies_costs_that_strip(head, reason):
    strip = STRIPS[4]
    payload = head + ENCODED[ENDS[strip] - strip.length + 1 : ENDS[strip] - 4]
    chunk = pack_chunk("S", payload)
    image, message = salvaged(ENCODED[: strip.offset] + chunk + ENCODED[ENDS[strip] :])
    assert image == with_lost(IMAGE, (12, 13))
    assert reason in message[message.index("strip 4 (rows 12 to 12)") :]


@pytest.mark.parametrize(
    ("payload", "reason"), [(bytes(5), "cannot hold"), (bytes(4), "no sound chunk")]
)
def test_a_sound_chunk_that_is_too_short_costs_its_strip(payload, reason):
    encoded = kmq.files.encode(IMAGE)
    strip = kmq.files.info(io.BytesIO(encoded)).chunks[-2]
    image, message = salvaged(
        encoded[: strip.offset] + pack_chunk("S", payload) + pack_chunk("E", b"")
    )
    assert image == with_lost(IMAGE, (0, 13))
    assert reason in message[message.index("strip 0 (rows 0 to 12)") :]


def test_what_another_file_holds_is_not_taken_for_this_one():
    other = kmq.files.encode(indexed_image(PixelFormat.RGB24, 20, 13, 17, seed=1), strip_height=3)
    image, _ = salvaged(ENCODED[: STRIPS[3].offset] + other)
    assert image == with_lost(IMAGE, (9, 13))
    image, _ = salvaged(flipped(ENCODED[: STRIPS[3].offset], TABLE.offset + 3) + other)
    assert image == with_lost(IMAGE, (0, 13))


def rows_of(height, width, seed):
    """Return a picture and its file of strips of one row each, most or all of one size."""
    image = indexed_image(PixelFormat.RGB24, 16, height, width, seed=seed)
    encoded = kmq.files.encode(image, method="deflate", strip_height=1)
    return image, encoded, kmq.files.info(io.BytesIO(encoded)).strips


def assert_nothing_is_misplaced(image, damaged):
    try:
        left, _ = salvaged(damaged)
    except FormatError:
        return
    shown = np.ones(image.height, np.bool_)
    for first, end in left.lost:
        shown[first:end] = False
    assert np.array_equal(left.indices[shown], image.indices[shown])


@pytest.mark.parametrize("changes", ["la", "al", "lo", "ao", "oo", "lala", "laoo"])
def test_bytes_lost_added_and_overwritten_misplace_no_row(changes):
    rng = random.Random(changes)  # noqa: S311  # nothing secret
    for number in range(300):
        if number % 50 == 0:
            image, encoded, strips = rows_of(12, rng.choice([6, 6, 40]), number)
        damaged = bytearray(encoded)
        for change in changes:
            at = rng.randrange(strips[0].offset, len(damaged))
            count = rng.choice([1, 2, rng.randint(1, 50)])
            if len(changes) == 2 and rng.random() < 0.3:
                count = strips[0].length + 6
            new = rng.choice([bytes(count), rng.randbytes(count), b"S" * count])
            end = at if change == "a" else at + count
            damaged[at:end] = b"" if change == "l" else new[: len(damaged) - at]
        assert_nothing_is_misplaced(image, damaged)


@pytest.mark.parametrize("lost", [1, 16, 32])
@pytest.mark.parametrize("added", [0, 5, 16])
def test_as_many_bytes_as_a_strip_has_misplace_no_row(lost, added):
    image, encoded, strips = rows_of(6, 6, 0)
    assert {strip.length + 6 for strip in strips} == {16}
    for at in range(strips[0].offset - 20, len(encoded) - lost - 6):
        shorter = encoded[:at] + encoded[at + lost :]
        for other in range(strips[0].offset, len(shorter) - 6, 7):
            new = bytes(range(100, 100 + added))
            assert_nothing_is_misplaced(image, shorter[:other] + new + shorter[other:])


def test_sound_metadata_are_kept_and_others_told():
    image = indexed_image(PixelFormat.GREY8, 4, 5, 5, metadata=FULL_METADATA)
    encoded = kmq.files.encode(image)
    exif = next(c for c in kmq.files.info(io.BytesIO(encoded)).chunks if c.letter == "e")
    left, message = salvaged(flipped(encoded, exif.offset + 5))
    assert left.metadata.exif is None
    assert left.metadata.icc_profile == FULL_METADATA.icc_profile
    assert left.metadata.text == FULL_METADATA.text
    assert np.array_equal(left.indices, image.indices)
    assert "chunk 'e'" in message
    pieces = encoded[: exif.offset], pack_chunk("d", b"\1"), encoded[exif.offset :]
    left, message = salvaged(b"".join(pieces))
    assert left == image
    assert "lost: chunk 'd' at offset" in message


def test_a_single_strip_may_be_lost_whole():
    encoded = kmq.files.encode(IMAGE)
    strip = kmq.files.info(io.BytesIO(encoded)).strips[0]
    image, message = salvaged(flipped(encoded, strip.offset + 20))
    assert image == with_lost(IMAGE, (0, 13))
    assert "strip 0 (rows 0 to 12)" in message


def test_newer_files_and_limits_are_refused_all_the_same():
    damaged = flipped(ENCODED, STRIPS[1].offset + 9)
    with pytest.raises(LimitError):
        kmq.files.decode(damaged, on_error="salvage", limits=Limits(pixels=13 * 17 - 1))
    with pytest.raises(LimitError):
        kmq.files.decode(damaged, on_error="salvage", limits=Limits(metadata_bytes=3))
    at = STRIPS[3].offset
    with pytest.raises(NewerFormatError, match="critical chunk"):
        kmq.files.decode(damaged[:at] + pack_chunk("Z", b"") + damaged[at:], on_error="salvage")


def test_other_words_are_refused():
    with pytest.raises(InputError, match="on_error is 'ignore'"):
        kmq.files.decode(ENCODED, on_error="ignore")
    with pytest.raises(TypeError, match="on_error is bool"):
        kmq.files.read(io.BytesIO(ENCODED), on_error=True)


def test_large_strips_of_one_size_cost_no_more_than_what_is_overwritten():
    """Random bytes seem to begin chunks everywhere; comparing their CRCs must not use time up."""
    rng = np.random.default_rng(0)
    image = indexed_image(PixelFormat.GREY8, 256, 1000, 1000)
    image = replace(image, indices=rng.integers(0, 256, (1000, 1000), np.uint8))
    encoded = kmq.files.encode(image, method="deflate", strip_height=50)
    strips = kmq.files.info(io.BytesIO(encoded)).strips
    assert len({strip.length for strip in strips}) == 1
    start, end = strips[5].offset + 300, strips[15].offset + 2000
    for new in (bytes(end - start), rng.bytes(end - start)):
        left, _ = salvaged(encoded[:start] + new + encoded[end:])
        assert left == with_lost(image, (250, 800))


def test_a_search_among_hostile_bytes_ends_soon():
    """Each byte could begin a chunk that takes the rest of the file."""
    front = ENCODED[:AFTER_PALETTE]
    bait = b"S" + b"\xff\xff\x3f"
    image, _ = salvaged(front + bait * 500_000)
    assert image.lost == ((0, 13),)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("method", STRIP_METHODS, ids=lambda method: method.name)
def test_broken_strips_keep_no_memory(method, n_threads):
    """Not even until the next collection of garbage."""
    image = indexed_image(PixelFormat.GREY8, 16, 120, 500)
    chunks = [
        pack_chunk("S", bytes([method.code]) + bytes(4 + length))
        for length in (*[30, 100] * 59, 100, 1)
    ]
    encoded = kmq.files.encode(image, strip_height=1)
    info = kmq.files.info(io.BytesIO(encoded))
    front = encoded[: next(chunk.offset for chunk in info.chunks if chunk.letter == "T")]
    table = b"".join(pack_varint(len(chunk)) for chunk in chunks)
    encoded = b"".join([front, pack_chunk("T", table), *chunks, pack_chunk("E", b"")])
    image, _ = salvaged(encoded, n_threads=n_threads)
    assert image.lost == ((0, 120),)
    del image
    tracemalloc.start()
    gc.disable()
    try:
        for _ in range(3):
            salvaged(encoded, n_threads=n_threads)
            with contextlib.suppress(FormatError):
                kmq.files.decode(encoded, n_threads=n_threads)
        meeting = threading.Barrier(2)
        run_chunks(lambda _: meeting.wait(60), 2, 2)  # the pool has put down all older work
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        gc.enable()
        tracemalloc.stop()
