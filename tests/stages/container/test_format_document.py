"""FORMAT.md is what decoders are written from, so its example must be a file."""

import io
import re
import zlib
from importlib.resources import files

import numpy as np

import kmq.files
import plain_decoder
import plain_mix
import plain_rank
import plain_tree
from images import indexed_image
from kmq.deflate import deflate, inflate
from kmq.errors import FormatError
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import mix, palettes
from kmq.stages.container import chunks

DOCUMENT = (files("kmq.stages.container") / "FORMAT.md").read_text(encoding="utf-8")
EXAMPLE = IndexedImage(
    np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8),
    np.array([[0, 1, 2, 2, 1], [1, 1, 0, 0, 2]], np.uint8),
    PixelFormat.RGB24,
    Metadata(text={"Title": "A"}),
)


def example_file():
    """Return the bytes of the hex dump."""
    dump = DOCUMENT.split("```")[1].strip().splitlines()
    return bytes.fromhex("".join(line.split(" . ")[0] for line in dump))


def test_the_example_is_as_long_as_it_says():
    assert f"these are the {len(example_file())} bytes" in DOCUMENT


def test_the_example_is_decoded():
    assert kmq.files.decode(example_file()) == EXAMPLE


def test_the_example_is_decoded_by_the_plain_decoder():
    plain = plain_decoder.decode(example_file())
    assert plain["pixel_format"] == 5
    assert plain["palette"] == [(0, 0, 0), (255, 0, 0), (255, 255, 255)]
    assert plain["indices"] == [[0, 1, 2, 2, 1], [1, 1, 0, 0, 2]]
    assert plain["text"] == {"Title": "A"}


def test_the_sequence_is_decoded_by_both_decoders():
    dump = DOCUMENT.split("```")[3].strip().splitlines()
    encoded = bytes.fromhex("".join(line.split(" . ")[0] for line in dump))
    assert f"these are the {len(encoded)} bytes" in DOCUMENT
    images = kmq.read_frames(encoded)
    rows = [[[0, 1, 1, 0], [2, 2, 1, 0]], *[[[0, 1, 1, 0], [2, 0, 1, 1]]] * 2]
    assert [image.indices.tolist() for image in images] == rows
    assert [frame.delay for frame in kmq.info(encoded).frames] == [40, 40, 1000]
    for (delay, palette, plain), expected in zip(
        plain_decoder.decode(encoded)["frames"], rows, strict=True
    ):
        assert (delay in (4000, 100_000), palette[1], plain) == (True, (255, 0, 0), expected)
    table = re.search(r"payload of `F` is\n\n((?: {4}.*\n)+)", DOCUMENT)[1]
    stacks = bytes.fromhex(
        "".join(re.split(r" {3,}", line.strip())[0] for line in table.splitlines())
    )
    assert deflate(stacks) in encoded


def test_the_rows_of_the_example_stand_above_it():
    rows = "\n".join("    " + " ".join(map(str, row)) for row in EXAMPLE.indices.tolist())
    assert rows in DOCUMENT


def test_the_bytes_named_in_the_text_are_those_of_a_file():
    assert f"\n    {chunks.SIGNATURE.hex(' ').upper()}\n" in DOCUMENT
    end = chunks.pack_chunk("E", b"").hex(" ").upper()
    assert f"`{end[:5]}`" in DOCUMENT
    assert f"`{end[6:]}`" in DOCUMENT
    assert f"{zlib.crc32(b'123456789'):08X}" in DOCUMENT


def test_the_table_of_pixel_formats_is_that_of_the_model():
    rows = re.findall(
        r"^\| (\d+) \| [^|]+ \| ([^|]+) \| (1 byte|u16) \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE
    )
    documented = {
        int(code): (len(channels.split(",")), int(largest.replace(",", "")))
        for code, channels, _, largest in rows
    }
    assert documented == {
        pixel_format.code: (pixel_format.channels, pixel_format.max_value)
        for pixel_format in PixelFormat
    }


def test_the_checksum_named_for_a_strip_is_that_of_its_indices():
    info = kmq.files.info(io.BytesIO(example_file()))
    for strip, row in zip(info.strips, EXAMPLE.indices, strict=True):
        named = " ".join(f"{index:02X}" for index in row)
        stored = example_file()[strip.offset + 3 : strip.offset + 7].hex(" ").upper()
        assert re.search(rf"^{stored} +\. CRC-32 of the indices {named}$", DOCUMENT, re.MULTILINE)


# What a reader of the document could ask

IN_ASCII = DOCUMENT.translate({0xD7: "x", 0x2212: "-"})  # its signs of multiplication and minus


def test_the_numbers_that_pass_32_bits_are_all_those_listed():
    """Each bound is the power of two just above the greatest value that the rules allow."""
    shade, slope, logit = 4095, 16383, 2815
    shades = 16 * shade
    listed = {
        "five times 7 bits, before they are compared with 2^31 - 1": 2**35 - 1,
        "range, code": 2**32,
        "weight x (2^s - symbols)": 524_288 * (2**14 - 6),
        "states": 2**32 - 1,
        "keys": 65_535 * (0x9E3779B1 + 0x85EBCA77 + 0xC2B2AE3D + 0x27D4EB2F + 0xFD7046C5)
        + 255 * (0x165667B1 + 0xD3A2646D),
        "elements of the spread before they are shifted": 65_536 * shade**2,
        "elements of spread · axis": 4 * 2**20 * 2**12,
        "across x 2^21": shades * 2**21,
        "square": 4 * shades**2,
        "Σ slope x (lower + upper)": 4 * slope * 2 * shades,
        "fall(j) x 16711808 + 2^23": 2**26 * 16_711_808 + 2**23,
        "2^42 + ⌊(2^26 + fall(j)) / 2⌋": 2**42 + 2**26,
        "the products that are taken modulo 2^32": (2**32 - 1) * 742_039,
        "Σ opinion(set) x (share(stage, set) >> 4)": 3 * logit * (2**23 >> 4),
        "low, high, code": 2**32 - 1,
        "(high - low) x final": (2**32 - 1) * 65_512,
        "(high - low) x chance": (2**32 - 1) * 65_528,
        "Σ logit(i) x weight(i)": (5 * logit + 256) * 2_097_152,
    }
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| 2\^(\d+) \|$", IN_ASCII, re.MULTILINE)
    assert {value: int(bits) for value, bits in rows} == {
        value: (greatest - 1).bit_length() for value, greatest in listed.items()
    }
    assert all(2**31 <= greatest < 2**53 for greatest in listed.values())
    not_listed = [
        16 * shade * 32_768,  # lower and upper before they are divided
        4 * slope * 2 * shade + (4 * slope * 2 * shades >> 5),  # planes
        15 * 2323 * (6_815_744 >> 7) + 256 * (6_815_744 >> 7),  # opinions
        (4_194_303 >> 5) * 10_240,  # steps of slots
        logit * 65_535 + 2048,  # steps of shares
    ]
    assert max(not_listed) < 2**31


def test_tables_are_as_long_as_the_document_says():
    squash, stretch = plain_mix.curves()
    assert (squash[-2815], squash[0], squash[2815]) == (1, 32_768, 65_535)
    assert (stretch[0], stretch[2048], stretch[4095]) == (-2323, 0, 2292)
    steps = {(mixture + 2815) >> 7 for mixture in range(-2815, 2816)}
    assert steps == set(range(44))  # and one more refinement beside the last
    assert "It goes from -2323 to 2292" in IN_ASCII
    assert "r x 8 x 45 numbers" in IN_ASCII


def trees(palette):
    """Both decoders' leaves, and slopes and constant of each node."""
    tree, plain = mix.build_tree(palette), plain_mix.Tree(palette.tolist(), palette.itemsize)
    assert tree.leaves.tolist() == plain.leaves
    for node, (slopes, constant) in plain.planes.items():
        assert tree.planes[node, :5].tolist() == [*slopes, constant]
    return plain.leaves, plain.planes


def test_the_shift_of_a_constant_is_of_the_whole_sum():
    palette = np.array([[4928, 1072, 11472], [53296, 42560, 59808]], np.uint16)
    _, planes = trees(palette)
    lower, upper = palette.astype(int)  # 16 times each shade
    across = upper - lower
    slopes = across * 2**21 // (across @ across)
    products = slopes * (lower + upper)
    assert planes[1] == ([*slopes, 0], -78_430)
    assert -(products.sum() >> 5) == -78_430
    assert (-(products >> 5).sum(), -products.sum() >> 5) == (-78_429, -78_431)


def test_equal_entries_are_leaves_in_the_order_of_the_palette():
    palette = np.array([[9], [5], [9], [5], [5], [1], [9]], np.uint8)
    leaves, _ = trees(palette)
    assert leaves in ([5, 1, 3, 4, 0, 2, 6], [0, 2, 6, 1, 3, 4, 5])
    leaves, _ = trees(np.full((6, 3), 7, np.uint8))
    assert leaves == [0, 1, 2, 3, 4, 5]


def test_columns_left_of_a_strip_are_those_of_the_row_above_theirs():
    rows = [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    strip = plain_rank.Strip(6, 2, [(0,), (1,)], 1, None, None, None)
    strip.rows = [*rows, []]
    assert [strip.at(5, column) for column in (-1, -2, -3)] == [rows[4][0]] * 3
    assert [strip.at(4, column) for column in (-1, -2, 2, 3)] == [rows[3][0]] * 2 + [rows[4][1]] * 2
    assert [strip.at(row, column) for row in (-1, -2) for column in (-1, 0, 5)] == [0] * 6
    assert strip.at(0, -1) == 0
    for height, width in ((1, 1), (1, 5), (5, 1), (2, 2), (4, 2)):  # all that reaches outside
        image = indexed_image(PixelFormat.GREY8, 7, height, width)
        encoded = kmq.files.encode(image, method="rank")
        assert plain_decoder.decode(encoded)["indices"] == image.indices.tolist()


def strip_of(image, method):
    """Return the payload of the only strip, and a function from another one to the file with it."""
    encoded = kmq.files.encode(image, method=method)
    strip = kmq.files.info(io.BytesIO(encoded)).strips[0]
    start = strip.offset + 2 + (strip.length > 127)

    def file_of(payload):
        end = chunks.pack_chunk("E", b"")
        return encoded[: strip.offset] + chunks.pack_chunk("S", payload) + end

    payload = encoded[start : start + strip.length]
    assert file_of(payload) == encoded
    return payload, file_of


def decoded_by_both(encoded):
    """Return the indices, or None if both refuse the file."""
    try:
        plain = plain_decoder.decode(encoded)["indices"]
    except ValueError:
        plain = None
    try:
        indices = kmq.files.decode(encoded).indices.tolist()
    except FormatError:
        indices = None
    assert indices == plain
    return indices


def test_filling_bits_must_be_0():
    image = indexed_image(PixelFormat.GREY8, 5, 3, 7)
    payload, file_of = strip_of(image, "deflate")
    packed = bytearray(inflate(payload[5:], 100))
    assert 8 * len(packed) - 3 * 7 * 3 == 1
    packed[-1] ^= 1
    assert decoded_by_both(file_of(payload[:5] + deflate(bytes(packed)))) is None

    payload, file_of = strip_of(EXAMPLE, "rank")
    assert payload[5:9] == b"\x40\x56\x28\0"  # 26 bits of tables
    for bit in range(6):
        changed = bytearray(payload)
        changed[8] ^= 1 << bit
        assert decoded_by_both(file_of(bytes(changed))) is None


def test_bits_that_fill_the_last_byte_of_a_deflated_field_are_free():
    payload, file_of = strip_of(EXAMPLE, "deflate")
    free = []
    for bit in range(8):
        changed = bytearray(payload)
        changed[-1] ^= 1 << bit
        found = decoded_by_both(file_of(bytes(changed)))
        free.append(found == EXAMPLE.indices.tolist())
    assert any(free)


def test_bytes_0_at_the_end_may_stand_or_be_left_out():
    palette = bytes.fromhex("C7 1C 8D C9 55 07")
    for coded in (palette, palette + b"\0"):
        entries = plain_tree.decode_entries(coded, 3, 3, 1)
        assert palettes.decode_palette(b"\2" + coded, 3, PixelFormat.RGB24).tolist() == [
            list(entry) for entry in entries
        ]
    image = indexed_image(PixelFormat.GREY8, 40, 12, 9)
    payload, file_of = strip_of(image, "mix")
    found = [decoded_by_both(file_of(payload + bytes(count))) for count in range(6)]
    assert found[0] == found[1] == image.indices.tolist()
    assert found[5] is None
