"""The .kmq file: which chunks stand where, the header, the table of strips.

FORMAT.md, next to this file, is the description that counts. How palette and strips become bytes
is the matter of `coding`; here they are payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO, Literal, NamedTuple

from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, located
from kmq.model.arrays import Array
from kmq.model.file_info import MAX_STRIPS, ChunkInfo, Limits, StripInfo, check_pixels
from kmq.model.image import MAX_COLORS, Metadata
from kmq.model.labels import Labels, label_shades
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container.chunks import (
    CRC_SIZE,
    NEWER,
    SIGNATURE,
    Chunk,
    ChunkReader,
    at,
    pack_chunk,
    pack_varint,
    unpack_varint,
)
from kmq.stages.container.labels import unpack_labels
from kmq.stages.container.metadata import (
    MAX_ANCILLARY,
    check_readable,
    pack_metadata,
    read_metadata,
)

VERSION = 1
STRIP_HEAD = 5  # bytes of method and checksum
MIN_STRIP = 2 + STRIP_HEAD + CRC_SIZE  # bytes of the shortest strip's whole chunk
LABELS = 10  # where others have the code of a pixel format
_FORMAT_OF_CODE = {pixel_format.code: pixel_format for pixel_format in PixelFormat}
_FORMAT_OF_CODE[LABELS] = PixelFormat.GREY16

Kind = Literal["picture", "label map"]
"""What a file holds."""

PaletteDecoder = Callable[[bytes, int, PixelFormat], Array]
"""Chunk P's payload, number of colours and pixel format → (k, channels); raises FormatError."""


class Header(NamedTuple):
    """What chunk H says.

    Attributes:
        pixel_format: what one pixel is.
        width: columns.
        height: rows.
        n_colors: entries of the palette.
        strip_height: rows of each strip but perhaps the last.
        kind: what the file holds. Strips of a label map are those of a picture of 16-bit greys.
    """

    pixel_format: PixelFormat
    width: int
    height: int
    n_colors: int
    strip_height: int
    kind: Kind = "picture"

    @property
    def n_strips(self) -> int:
        """Strips of the picture."""
        return -(-self.height // self.strip_height)

    def strip_rows(self, number: int) -> tuple[int, int]:
        """First row of a strip, and how many rows it has."""
        row = number * self.strip_height
        return row, min(self.strip_height, self.height - row)


class Front(NamedTuple):
    """What stands before the strips.

    Attributes:
        header: what chunk H says.
        palette: what chunk P holds: (k, channels) samples.
        metadata: what the ancillary chunks say.
        lengths: bytes of each strip's chunk as chunk T has them; empty for a single strip.
        labels: what chunk L holds, which a label map has in place of chunk P; None of a picture.
    """

    header: Header
    palette: Array
    metadata: Metadata
    lengths: tuple[int, ...]
    labels: Labels | None = None


class Contents(NamedTuple):
    """A file taken apart, strips still coded.

    Attributes:
        front: what stands before the strips.
        strips: where the strips are.
        payloads: payload of each strip, or only its first byte where strips were skipped.
        chunks: all chunks in file order.
        file_size: bytes from the signature through chunk E.
    """

    front: Front
    strips: tuple[StripInfo, ...]
    payloads: tuple[bytes, ...]
    chunks: tuple[ChunkInfo, ...]
    file_size: int


def pack_file(
    header: Header, palette: bytes, metadata: Metadata, payloads: Sequence[bytes], limits: Limits
) -> list[bytes]:
    """Return the pieces of a file, front to back; `payloads` are those of the strips.

    `palette` is the payload of chunk P, or of chunk L of a label map.

    Raises:
        InputError: metadata that the format cannot hold, or a reader with these limits.
        TypeError: metadata of another type than `Metadata` says.
    """
    strips = [pack_chunk("S", payload) for payload in payloads]
    letter = "P" if header.kind == "picture" else "L"
    front = [SIGNATURE, pack_chunk("H", _pack_header(header)), pack_chunk(letter, palette)]
    ancillary = list(pack_metadata(metadata))
    if len(ancillary) > MAX_ANCILLARY:
        raise InputError(f"metadata have {len(ancillary)} items; a file holds {MAX_ANCILLARY}")
    check_readable(ancillary, limits)
    front += [pack_chunk(letter, payload) for letter, payload in ancillary]
    if len(strips) > 1:
        front.append(pack_chunk("T", b"".join(pack_varint(len(strip)) for strip in strips)))
    return [b"".join(front), *strips, pack_chunk("E", b"")]


def _pack_header(header: Header) -> bytes:
    sizes = (header.width, header.height, header.n_colors, header.strip_height)
    code = header.pixel_format.code if header.kind == "picture" else LABELS
    return pack_varint(VERSION) + bytes([code]) + b"".join(pack_varint(size) for size in sizes)


def unpack_file(
    stream: BinaryIO,
    limits: Limits,
    decode_palette: PaletteDecoder,
    *,
    kind: Kind | None = "picture",
    skip_strips: bool = False,
) -> Contents:
    """Read one file from where the stream stands through its chunk E.

    It must be of that kind, or may be of any for None.

    Of several faults the first in the file is told; FORMAT.md says more about it. With
    `skip_strips` the payloads of strips are passed over, by seeking where the stream can,
    and their CRCs are not compared.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader = ChunkReader(stream)
    front = unpack_front(reader, limits, decode_palette, kind)
    strips, payloads = take_strips(reader, front, range(front.header.n_strips), skip=skip_strips)
    end = reader.take_only("E")
    if end.payload:
        raise at(end, "the payload of the last chunk is not empty")
    return Contents(front, strips, payloads, tuple(reader.chunks), reader.offset)


def unpack_front(
    reader: ChunkReader,
    limits: Limits,
    decode_palette: PaletteDecoder,
    kind: Kind | None = "picture",
) -> Front:
    """Read from the signature up to the first strip; `decode_palette` is that of `coding`.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    header, palette, labels = unpack_head(reader, limits, decode_palette, kind)
    metadata = read_metadata(reader, limits)
    lengths: tuple[int, ...] = ()
    if header.n_strips > 1:
        lengths = unpack_strip_table(reader.take_only("T"), header.n_strips)
    return Front(header, palette, metadata, lengths, labels)


def unpack_head(
    reader: ChunkReader,
    limits: Limits,
    decode_palette: PaletteDecoder,
    kind: Kind | None = "picture",
) -> tuple[Header, Array, Labels | None]:
    """Read signature, header and palette or labels, as `unpack_front` does."""
    reader.read_signature()
    header = unpack_header(reader.take_only("H"), limits)
    chunk = reader.take_only("P" if header.kind == "picture" else "L")
    with located(chunk.letter, chunk.offset):
        labels = None
        if header.kind == "picture":
            palette = decode_palette(chunk.payload, header.n_colors, header.pixel_format)
        else:
            labels = unpack_labels(chunk.payload, header.width, header.height, header.n_colors)
            palette = label_shades(header.n_colors)
    if kind is not None and kind != header.kind:
        reading = "kmq.read" if header.kind == "picture" else "kmq.read_labels"
        raise FormatError(f"the file holds a {header.kind}, not a {kind}; {reading} reads it")
    return header, palette, labels


def take_strips(
    reader: ChunkReader, front: Front, numbers: range, *, skip: bool = False
) -> tuple[tuple[StripInfo, ...], tuple[bytes, ...]]:
    """Return where the strips of these numbers are, and their payloads.

    The reader stands where `unpack_front` left it. The strips before are passed over as the strip
    table has them, by seeking where the stream can. With `skip` payloads are, too, but for their
    first byte.

    Raises:
        FormatError: a strip is damaged or not where the strip table has it.
    """
    if numbers.start > 0:
        reader.pass_over(sum(front.lengths[: numbers.start]), "S", reader.offset)
    strips, payloads = [], []
    for number in numbers:
        length = reader.peek().length
        chunk = reader.take_strip(skip)
        size = reader.offset - chunk.offset
        if length < STRIP_HEAD:
            raise at(chunk, f"a strip of {length} bytes cannot hold its method and checksum")
        if front.lengths and size != front.lengths[number]:
            raise at(chunk, f"the strip has {size} bytes; chunk 'T' says {front.lengths[number]}")
        row, height = front.header.strip_rows(number)
        strips.append(StripInfo(row, height, chunk.offset, length, chunk.payload[0]))
        payloads.append(chunk.payload)
    return tuple(strips), tuple(payloads)


def unpack_header(chunk: Chunk, limits: Limits) -> Header:
    """Return what chunk H says; raise FormatError if it cannot be or is beyond the limits."""
    with located(chunk.letter, chunk.offset):
        version, position = unpack_varint(chunk.payload, 0)
        if version > VERSION:
            raise NewerFormatError(f"{NEWER}: its format has version {version}")
        if version < VERSION:
            raise FormatError(f"the version is {version}; versions start at {VERSION}")
        if position == len(chunk.payload):
            raise FormatError("the header ends after its version")
        code = chunk.payload[position]
        if code not in _FORMAT_OF_CODE:
            raise NewerFormatError(f"{NEWER}: it has pixel format {code}")
        sizes = []
        position += 1
        for _ in range(4):
            size, position = unpack_varint(chunk.payload, position)
            sizes.append(size)
        if position < len(chunk.payload):
            raise NewerFormatError(f"{NEWER}: its header goes on")
        kind: Kind = "label map" if code == LABELS else "picture"
        width, height, n_colors, rows = sizes
        header = Header(_FORMAT_OF_CODE[code], width, height, n_colors, rows, kind)
        _check_header(header, limits)
        return header


def _check_header(header: Header, limits: Limits) -> None:
    if header.width < 1 or header.height < 1:
        raise FormatError(f"the picture is {header.width} x {header.height}; sides are 1 and more")
    if not 1 <= header.n_colors <= MAX_COLORS:
        raise FormatError(f"the palette has {header.n_colors} colours; it holds 1 to {MAX_COLORS}")
    if not 1 <= header.strip_height <= header.height:
        raise FormatError(
            f"a strip has {header.strip_height} rows; it has 1 to the picture's {header.height}"
        )
    if header.n_strips > MAX_STRIPS:
        raise FormatError(f"the picture has {header.n_strips} strips; it has up to {MAX_STRIPS}")
    check_pixels(limits, header.width, header.height, LimitError)


def unpack_strip_table(chunk: Chunk, n_strips: int) -> tuple[int, ...]:
    """Return the bytes of each strip's chunk; raise FormatError if they cannot be those."""
    with located(chunk.letter, chunk.offset):
        lengths, position = [], 0
        for _ in range(n_strips):
            length, position = unpack_varint(chunk.payload, position)
            if length < MIN_STRIP:
                raise FormatError(f"a strip has {length} bytes; it has {MIN_STRIP} at least")
            lengths.append(length)
        if position < len(chunk.payload):
            raise FormatError("the strip table goes on after the last strip")
        return tuple(lengths)
