"""FORMAT.md is what decoders are written from, so its example must be a file."""

import io
import re
import zlib
from importlib.resources import files

import numpy as np

import kmq.files
import plain_decoder
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
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
