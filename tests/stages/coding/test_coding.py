import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images import grey_image, indexed_image
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, NewerFormatError
from kmq.model.file_info import StripInfo
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import palette_tree
from kmq.stages.coding.deflate import index_bits, pack_bits, unpack_bits
from kmq.stages.coding.methods import (
    STRIP_METHODS,
    even_strip_height,
    plan_label_strips,
    plan_strips,
    strip_method,
)
from kmq.stages.coding.palettes import PALETTE_METHODS, decode_palette, encode_palette
from kmq.stages.coding.strips import decode_strips, encode_strips


def naive_bits(indices, n_bits):
    bits = "".join(f"{index:0{n_bits}b}" for index in indices)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@pytest.mark.parametrize("n_bits", range(1, 17))
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 1000])
def test_bits_are_packed_as_written_out_by_hand(n_bits, size):
    dtype = np.uint8 if n_bits <= 8 else np.uint16
    indices = np.random.default_rng(size).integers(0, 1 << n_bits, size).astype(dtype)
    packed = pack_bits(indices, n_bits)
    assert packed == naive_bits(indices.tolist(), n_bits)
    unpacked = np.full(size, 99, dtype)
    unpack_bits(packed, n_bits, unpacked)
    assert np.array_equal(unpacked, indices)


@pytest.mark.parametrize("n_bits", [3, 11])
@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 150_001])
def test_bits_are_packed_across_blocks(n_bits, size):
    dtype = np.uint8 if n_bits <= 8 else np.uint16
    indices = np.random.default_rng(size).integers(0, 1 << n_bits, size).astype(dtype)
    packed = pack_bits(indices, n_bits)
    whole = np.unpackbits(np.frombuffer(packed, np.uint8), count=size * n_bits)
    weights = 1 << np.arange(n_bits)[::-1]
    assert np.array_equal(whole.reshape(size, n_bits) @ weights, indices)
    unpacked = np.empty(size, dtype)
    unpack_bits(packed, n_bits, unpacked)
    assert np.array_equal(unpacked, indices)


@pytest.mark.parametrize(
    ("n_colors", "n_bits"),
    [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6), (65, 7), (256, 8), (257, 9), (65_536, 16)],
)
def test_index_bits(n_colors, n_bits):
    assert index_bits(n_colors) == n_bits


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("code", PALETTE_METHODS)
@pytest.mark.parametrize("n_colors", [1, 2, 300])
def test_each_palette_method_gives_the_palette_back(pixel_format, code, n_colors):
    palette = palette_tree.ascending(indexed_image(pixel_format, n_colors, 1, 1).palette)
    payload = bytes([code]) + PALETTE_METHODS[code].encode(palette)
    decoded = decode_palette(payload, n_colors, pixel_format)
    assert decoded.dtype == pixel_format.dtype
    assert np.array_equal(decoded, palette)


def test_the_shorter_palette_method_is_taken():
    noise = indexed_image(PixelFormat.RGB24, 16, 1, 1).palette
    assert encode_palette(noise) == b"\0" + noise.tobytes()
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    assert len(encode_palette(ramp)) < 32


def test_differences_are_laid_out_as_documented():
    palette = np.array([[0x0102, 5], [0x0001, 7]], np.uint16)
    content = bytes([0x01, 0xFE, 0x02, 0xFF, 0, 0, 5, 2])
    payload = b"\1" + deflate(content)
    decoded = decode_palette(payload, 2, PixelFormat.GREY16_ALPHA)
    assert np.array_equal(decoded, palette)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "no method"),
        (b"\0abc", "3 bytes; its colours need 6"),
        (b"\0abcdefg", "7 bytes"),
        (b"\1", "0 deflated bytes cannot hold 6"),
        (b"\1" + deflate(b"abcde"), "hold 5, not 6"),
        (b"\1" + deflate(bytes(1_000_000)), "more than 6"),
        (b"\1" + deflate(b"abcdef")[:-1], "end too early"),
        (b"\1" + deflate(b"abcdef") + b"x", "follow"),
        (b"\1\xff\xff\xff", "damaged"),
    ],
)
def test_damaged_palettes_are_refused(payload, fault):
    with pytest.raises(FormatError, match=fault):
        decode_palette(payload, 2, PixelFormat.RGB24)


def test_palette_samples_must_be_in_range():
    with pytest.raises(FormatError, match="sample of 2"):
        decode_palette(b"\0\0\2", 2, PixelFormat.BILEVEL)


def test_an_unknown_palette_method_needs_a_newer_kmq():
    with pytest.raises(NewerFormatError, match="needs a newer kmq"):
        decode_palette(b"\x63\0\0\0", 1, PixelFormat.RGB24)


def strips_of(image, strip_height, method="deflate", n_threads=1):
    payloads = encode_strips(
        image.indices, image.palette, [strip_method(method)], strip_height, 10**9, n_threads
    )
    rows = range(0, image.height, strip_height)
    strips = [
        StripInfo(row, min(strip_height, image.height - row), 100 + row, len(payload), payload[0])
        for row, payload in zip(rows, payloads, strict=True)
    ]
    return strips, payloads


@pytest.mark.parametrize("method", [method.name for method in STRIP_METHODS])
@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 3, 16, 64, 255, 256, 257, 5000]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_each_strip_method_gives_the_indices_back(method, n_colors, height, width, strip_height):
    n_colors = min(n_colors, strip_method(method).most_colors)
    image = grey_image(n_colors, height, width)
    strips, payloads = strips_of(image, strip_height, method)
    decoded = decode_strips(strips, payloads, image.palette, width, 10**9, 1)
    assert decoded.dtype == image.indices.dtype
    assert np.array_equal(decoded, image.indices)


def test_threads_change_nothing():
    image = grey_image(50, 400, 100)
    strips, payloads = strips_of(image, 7, n_threads=1)
    assert strips_of(image, 7, n_threads=4) == (strips, payloads)
    decoded = decode_strips(strips, payloads, image.palette, 100, 10**9, 4)
    assert np.array_equal(decoded, image.indices)


def one_strip(coded, indices=(0, 1, 2, 2, 1), method=0, n_colors=3):
    """Decode a strip of five pixels from coded bytes and the checksum of what it should be."""
    checksum = zlib.crc32(bytes(indices)).to_bytes(4, "little")
    payload = bytes([method]) + checksum + coded
    palette = np.zeros((n_colors, 1), np.uint8)
    strip = StripInfo(0, 1, 77, len(payload), method)
    return decode_strips([strip], [payload], palette, len(indices), 10**9, 1)


def test_a_strip_written_out_by_hand():
    assert one_strip(deflate(b"\x1a\x40")).tolist() == [[0, 1, 2, 2, 1]]


@pytest.mark.parametrize(
    ("coded", "indices", "fault"),
    [
        (b"", (0, 1, 2, 2, 1), "0 coded bytes cannot hold"),
        (deflate(b"\x1a\x40"), (0, 1, 2, 2, 0), "checksum"),
        (deflate(b"\x1a\x41"), (0, 1, 2, 2, 1), "filled up with zeros"),
        (deflate(b"\x1a\xc0"), (0, 1, 2, 2, 3), "an index is 3; the palette has 3 colours"),
        (deflate(b"\x1a"), (0, 1, 2, 2, 1), "hold 1, not 2"),
        (deflate(b"\x1a\x40\0"), (0, 1, 2, 2, 1), "more than 2"),
        (deflate(b"\x1a\x40") + b"\0", (0, 1, 2, 2, 1), "follow"),
        (deflate(b"\x1a\x40")[:-1], (0, 1, 2, 2, 1), "too early"),
        (b"\xff\xff", (0, 1, 2, 2, 1), "damaged"),
    ],
)
def test_damaged_strips_are_refused(coded, indices, fault):
    with pytest.raises(FormatError, match=fault) as caught:
        one_strip(coded, indices)
    assert (caught.value.chunk, caught.value.offset) == ("S", 77)


def test_one_colour_takes_no_coded_bytes():
    assert one_strip(b"", (0, 0, 0), n_colors=1).tolist() == [[0, 0, 0]]
    with pytest.raises(FormatError, match="needs none"):
        one_strip(b"\0", (0, 0, 0), n_colors=1)


def test_an_unknown_strip_method_needs_a_newer_kmq():
    with pytest.raises(NewerFormatError, match="needs a newer kmq") as caught:
        one_strip(b"\0", method=200)
    assert (caught.value.chunk, caught.value.offset) == ("S", 77)


def test_method_names():
    assert strip_method("deflate").code == 0
    with pytest.raises(InputError, match="'zip'; kmq has deflate, rank, mix"):
        strip_method("zip")


@pytest.mark.parametrize(
    ("height", "width", "rows"),
    [(512, 768, 256), (1, 1, 1), (16, 10**9, 1), (4000, 6000, 44), (2**31 - 1, 1, 2**18)],
)
def test_strips_are_even_and_of_about_the_size_asked_for(height, width, rows):
    assert even_strip_height(height, width, 1 << 18) == rows


def test_strips_never_exceed_their_number():
    rows = even_strip_height(10**6, 10**6, 1 << 18)
    assert -(-(10**6) // rows) <= 65_536


@pytest.mark.parametrize(
    ("effort", "n_pixels", "n_colors", "names", "n_strips"),
    [
        ("fast", 768 * 512, 64, ["rank", "deflate"], 2),
        ("fast", 768 * 512, 300, ["deflate"], 2),
        ("balanced", 200 * 300, 64, ["mix", "rank", "deflate"], 1),
        ("balanced", 768 * 512, 64, ["mix", "deflate"], 2),
        ("balanced", 768 * 512, 300, ["mix", "deflate"], 2),
        ("balanced", 1920 * 1080, 64, ["mix", "deflate"], 2),
        ("balanced", 6000 * 4000, 64, ["rank", "deflate"], 23),
        ("best", 768 * 512, 64, ["mix", "deflate"], 1),
        ("best", 6000 * 4000, 64, ["mix", "deflate"], 11),
    ],
)
def test_effort_plans_the_strips(effort, n_pixels, n_colors, names, n_strips):
    plan = plan_strips(None, effort, n_pixels, n_colors)
    assert [method.name for method in plan.methods] == names
    assert max(1, round(n_pixels / plan.strip_pixels)) == n_strips


def test_a_named_method_is_the_plan():
    for plan in (plan_strips, plan_label_strips):
        methods = plan("rank", "best", 100, 4).methods
        assert [method.name for method in methods] == ["rank"]


def test_rank_of_many_colours_is_label():
    for plan in (plan_strips, plan_label_strips):
        assert [method.name for method in plan("rank", "fast", 100, 257).methods] == ["label"]


@pytest.mark.parametrize(
    ("effort", "n_pixels", "n_labels", "names", "n_strips"),
    [
        ("fast", 256 * 256, 9, ["label"], 1),
        ("fast", 1024 * 1024, 900, ["label"], 2),
        ("balanced", 2048 * 2048, 256, ["label", "rank", "deflate"], 4),
        ("balanced", 512 * 512, 257, ["label", "deflate"], 1),
        ("fast", 1024 * 1024, 1, ["label", "rank", "deflate"], 1),
        ("best", 2048 * 2048, 9, ["label", "mix", "rank", "deflate"], 1),
    ],
)
def test_effort_plans_the_strips_of_label_maps(effort, n_pixels, n_labels, names, n_strips):
    plan = plan_label_strips(None, effort, n_pixels, n_labels)
    assert [method.name for method in plan.methods] == names
    assert max(1, round(n_pixels / plan.strip_pixels)) == n_strips


def test_each_strip_takes_the_method_that_suits_it():
    random = np.random.default_rng(0)
    noise = random.integers(0, 16, (64, 256), np.uint8)
    flat = np.zeros((64, 256), np.uint8)
    palette = np.arange(48, dtype=np.uint8).reshape(16, 3)
    methods = [strip_method(name) for name in ("mix", "rank", "deflate")]
    payloads = encode_strips(np.vstack([noise, flat]), palette, methods, 64, 10**9, 1)
    alone = [
        [encode_strips(strip, palette, [method], 64, 10**9, 1)[0] for method in methods]
        for strip in (noise, flat)
    ]
    for payload, candidates in zip(payloads, alone, strict=True):
        assert len(payload) <= min(map(len, candidates[:2]))
        assert payload in candidates
    assert payloads[1] == min(alone[1], key=len)
