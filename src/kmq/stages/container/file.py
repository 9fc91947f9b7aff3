"""The .kmq file: which chunks stand where, the header, the table of strips.

FORMAT.md, next to this file, is the description that counts. How palette and strips become bytes
is the matter of `coding`; here they are payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import BinaryIO, Literal, NamedTuple

from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, located
from kmq.model.arrays import Array
from kmq.model.file_info import (
    MAX_FRAMES,
    MAX_STRIPS,
    ChunkInfo,
    FrameInfo,
    Limits,
    StripInfo,
    check_pixels,
)
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
from kmq.stages.container.frames import DELAY_UNIT, WHOLE, Stack, pack_frames, unpack_frames
from kmq.stages.container.labels import unpack_labels
from kmq.stages.container.metadata import (
    MAX_ANCILLARY,
    check_readable,
    pack_metadata,
    read_metadata,
)

VERSION = 1
SEQUENCE_VERSION = 2
STRIP_HEAD = 5  # bytes of method and checksum
MIN_STRIP = 2 + STRIP_HEAD + CRC_SIZE  # bytes of the shortest strip's whole chunk
LABELS = 10  # where others have the code of a pixel format
_FORMAT_OF_CODE = {pixel_format.code: pixel_format for pixel_format in PixelFormat}
_FORMAT_OF_CODE[LABELS] = PixelFormat.GREY16

Kind = Literal["picture", "label map", "sequence"]
"""What a file holds."""

PICTURE: tuple[Kind, ...] = ("picture",)
LABEL_MAP: tuple[Kind, ...] = ("label map",)
FRAMES: tuple[Kind, ...] = ("picture", "sequence")
"""What has frames: a picture is one."""
_READING = {
    "picture": "kmq.read",
    "label map": "kmq.read_labels",
    "sequence": "kmq.read_frames",
}

PaletteDecoder = Callable[[bytes, int, PixelFormat], Array]
"""Chunk P's payload, number of colours and pixel format → (k, channels); raises FormatError."""


class Header(NamedTuple):
    """What chunk H says.

    Attributes:
        pixel_format: what one pixel is.
        width: columns.
        height: rows.
        n_colors: entries of the palette.
        strip_height: rows of each strip but perhaps the last; of a sequence all.
        kind: what the file holds. Strips of a label map are those of a picture of 16-bit greys.
        n_frames: frames of a sequence.
        plays: how often a sequence is played, 0 for without end.
    """

    pixel_format: PixelFormat
    width: int
    height: int
    n_colors: int
    strip_height: int
    kind: Kind = "picture"
    n_frames: int = 1
    plays: int = 0

    @property
    def version(self) -> int:
        """Version of the format."""
        return SEQUENCE_VERSION if self.kind == "sequence" else VERSION

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
        stacks: what chunk F holds, which a sequence has in place of chunk T; empty of a picture.
    """

    header: Header
    palette: Array
    metadata: Metadata
    lengths: tuple[int, ...]
    labels: Labels | None = None
    stacks: tuple[Stack, ...] = ()

    @property
    def frames(self) -> tuple[FrameInfo, ...]:
        """Delay and kind of each frame of a sequence; empty of a picture."""
        return tuple(
            FrameInfo(patch.delay / DELAY_UNIT, is_key=stack.kind == WHOLE and place == 0)
            for stack in self.stacks
            for place, patch in enumerate(stack.patches)
        )


class StackContent(NamedTuple):
    """The chunks of a stack, its strip still coded.

    Attributes:
        palette: its own, if it has one.
        strip: where its strip is; None if it has no pixels.
        payload: that of the strip, or only its first byte where strips were skipped.
    """

    palette: Array | None
    strip: StripInfo | None
    payload: bytes


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
    front = _pack_front(header, palette, metadata, limits)
    if len(strips) > 1:
        front.append(pack_chunk("T", b"".join(pack_varint(len(strip)) for strip in strips)))
    return [b"".join(front), *strips, pack_chunk("E", b"")]


def pack_sequence(
    header: Header,
    palette: bytes,
    metadata: Metadata,
    stacks: Sequence[tuple[Stack, bytes | None, bytes | None]],
    limits: Limits,
) -> list[bytes]:
    """Return the pieces of the file of a sequence, front to back.

    Each stack comes with the payloads of chunks P and S, None for those that it does not have.
    Their sizes are filled in.

    Raises:
        InputError, TypeError: as for `pack_file`.
    """
    table, pieces = [], []
    for stack, own_palette, strip in stacks:
        chunks = [(letter, payload) for letter, payload in (("P", own_palette), ("S", strip))]
        piece = b"".join(pack_chunk(letter, load) for letter, load in chunks if load is not None)
        table.append(stack._replace(size=len(piece)))
        pieces.append(piece)
    front = _pack_front(header, palette, metadata, limits)
    front.append(pack_chunk("F", pack_frames(table)))
    return [b"".join(front), *pieces, pack_chunk("E", b"")]


def _pack_front(header: Header, palette: bytes, metadata: Metadata, limits: Limits) -> list[bytes]:
    """Return the signature, and all chunks from H through the last of the metadata."""
    letter = "L" if header.kind == "label map" else "P"
    front = [SIGNATURE, pack_chunk("H", _pack_header(header)), pack_chunk(letter, palette)]
    ancillary = list(pack_metadata(metadata))
    if len(ancillary) > MAX_ANCILLARY:
        raise InputError(f"metadata have {len(ancillary)} items; a file holds {MAX_ANCILLARY}")
    check_readable(ancillary, limits)
    return front + [pack_chunk(letter, payload) for letter, payload in ancillary]


def _pack_header(header: Header) -> bytes:
    more = [header.strip_height]
    if header.kind == "sequence":
        more = [header.n_frames, header.plays]
    code = LABELS if header.kind == "label map" else header.pixel_format.code
    numbers = (header.width, header.height, header.n_colors, *more)
    return pack_varint(header.version) + bytes([code]) + b"".join(map(pack_varint, numbers))


def unpack_file(
    stream: BinaryIO,
    limits: Limits,
    decode_palette: PaletteDecoder,
    *,
    kinds: Collection[Kind] | None = PICTURE,
    skip_strips: bool = False,
) -> Contents:
    """Read one file from where the stream stands through its chunk E.

    It must be of one of these kinds, or may be of any for None.

    Of several faults the first in the file is told; FORMAT.md says more about it. With
    `skip_strips` the payloads of strips are passed over, by seeking where the stream can,
    and their CRCs are not compared.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader = ChunkReader(stream)
    front = unpack_front(reader, limits, decode_palette, kinds)
    return unpack_rest(reader, front, decode_palette, skip_strips=skip_strips)


def unpack_rest(
    reader: ChunkReader, front: Front, decode_palette: PaletteDecoder, *, skip_strips: bool = False
) -> Contents:
    """Read what `unpack_front` leaves, through chunk E; see `unpack_file`."""
    if front.header.kind == "sequence":
        stacks = [
            take_stack(reader, stack, front.header, decode_palette, skip=skip_strips)
            for stack in front.stacks
        ]
        strips = tuple(stack.strip for stack in stacks if stack.strip is not None)
        payloads = tuple(stack.payload for stack in stacks if stack.strip is not None)
    else:
        numbers = range(front.header.n_strips)
        strips, payloads = take_strips(reader, front, numbers, skip=skip_strips)
    take_end(reader)
    return Contents(front, strips, payloads, tuple(reader.chunks), reader.offset)


def take_end(reader: ChunkReader) -> None:
    """Take chunk E; raise FormatError if it is damaged or not there."""
    end = reader.take_only("E")
    if end.payload:
        raise at(end, "the payload of the last chunk is not empty")


def unpack_front(
    reader: ChunkReader,
    limits: Limits,
    decode_palette: PaletteDecoder,
    kinds: Collection[Kind] | None = PICTURE,
) -> Front:
    """Read from the signature up to the first strip; `decode_palette` is that of `coding`.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    header, palette, labels = unpack_head(reader, limits, decode_palette, kinds)
    metadata = read_metadata(reader, limits)
    if header.kind == "sequence":
        return Front(header, palette, metadata, (), stacks=_take_frames(reader, header))
    lengths: tuple[int, ...] = ()
    if header.n_strips > 1:
        lengths = unpack_strip_table(reader.take_only("T"), header.n_strips)
    return Front(header, palette, metadata, lengths, labels)


def unpack_head(
    reader: ChunkReader,
    limits: Limits,
    decode_palette: PaletteDecoder,
    kinds: Collection[Kind] | None = PICTURE,
) -> tuple[Header, Array, Labels | None]:
    """Read signature, header and palette or labels, as `unpack_front` does."""
    reader.read_signature()
    header = unpack_header(reader.take_only("H"), limits)
    chunk = reader.take_only("L" if header.kind == "label map" else "P")
    with located(chunk.letter, chunk.offset):
        labels = None
        if header.kind != "label map":
            palette = decode_palette(chunk.payload, header.n_colors, header.pixel_format)
        else:
            labels = unpack_labels(chunk.payload, header.width, header.height, header.n_colors)
            palette = label_shades(header.n_colors)
    if kinds is not None and header.kind not in kinds:
        raise FormatError(
            f"the file holds a {header.kind}, not a {' or a '.join(kinds)}; "
            f"{_READING[header.kind]} reads it"
        )
    return header, palette, labels


def _take_frames(reader: ChunkReader, header: Header) -> tuple[Stack, ...]:
    chunk = reader.take_only("F")
    with located(chunk.letter, chunk.offset):
        return unpack_frames(
            chunk.payload, header.width, header.height, header.n_frames, header.n_colors
        )


def pass_stacks(reader: ChunkReader, front: Front, count: int) -> None:
    """Leave out the first so many stacks, by seeking where the stream can.

    Raises:
        FormatError: the file ends before.
    """
    size = sum(stack.size for stack in front.stacks[:count])
    if size > 0:
        reader.pass_over(size, "F", reader.offset)


def take_stack(
    reader: ChunkReader,
    stack: Stack,
    header: Header,
    decode_palette: PaletteDecoder,
    *,
    skip: bool = False,
) -> StackContent:
    """Return what stands in the stack where the reader is.

    Raises:
        FormatError: it is damaged.
    """
    start, palette = reader.offset, None
    if stack.n_colors > 0:
        chunk = reader.take_only("P")
        with located(chunk.letter, chunk.offset):
            palette = decode_palette(chunk.payload, stack.n_colors, header.pixel_format)
    strip, payload = None, b""
    if stack.height > 0:
        strip, payload = _take_strip(reader, 0, stack.height, skip=skip)
    if reader.offset - start != stack.size:
        raise FormatError(
            f"a stack of frames has {reader.offset - start} bytes; chunk 'F' says {stack.size}",
            chunk=reader.chunks[-1].letter,
            offset=start,
        )
    return StackContent(palette, strip, payload)


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
        strip, payload = _take_strip(reader, *front.header.strip_rows(number), skip=skip)
        size = reader.offset - strip.offset
        if front.lengths and size != front.lengths[number]:
            message = f"the strip has {size} bytes; chunk 'T' says {front.lengths[number]}"
            raise FormatError(message, chunk="S", offset=strip.offset)
        strips.append(strip)
        payloads.append(payload)
    return tuple(strips), tuple(payloads)


def _take_strip(
    reader: ChunkReader, row: int, height: int, *, skip: bool
) -> tuple[StripInfo, bytes]:
    length = reader.peek().length
    chunk = reader.take_strip(skip)
    if length < STRIP_HEAD:
        raise at(chunk, f"a strip of {length} bytes cannot hold its method and checksum")
    return StripInfo(row, height, chunk.offset, length, chunk.payload[0]), chunk.payload


def unpack_header(chunk: Chunk, limits: Limits) -> Header:
    """Return what chunk H says; raise FormatError if it cannot be or is beyond the limits."""
    with located(chunk.letter, chunk.offset):
        version, position = unpack_varint(chunk.payload, 0)
        if version > SEQUENCE_VERSION:
            raise NewerFormatError(f"{NEWER}: its format has version {version}")
        if version < VERSION:
            raise FormatError(f"the version is {version}; versions start at {VERSION}")
        if position == len(chunk.payload):
            raise FormatError("the header ends after its version")
        is_sequence = version == SEQUENCE_VERSION
        code = chunk.payload[position]
        if code not in _FORMAT_OF_CODE or (is_sequence and code == LABELS):
            raise NewerFormatError(f"{NEWER}: it has pixel format {code}")
        sizes = []
        position += 1
        for _ in range(5 if is_sequence else 4):
            size, position = unpack_varint(chunk.payload, position)
            sizes.append(size)
        if position < len(chunk.payload):
            raise NewerFormatError(f"{NEWER}: its header goes on")
        width, height, n_colors, *more = sizes
        common = _FORMAT_OF_CODE[code], width, height, n_colors
        if is_sequence:
            header = Header(*common, height, "sequence", *more)
        else:
            header = Header(*common, more[0], "label map" if code == LABELS else "picture")
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
    if not 1 <= header.n_frames <= MAX_FRAMES:
        raise FormatError(f"there are {header.n_frames} frames; a file holds 1 to {MAX_FRAMES}")
    check_pixels(limits, header.width, header.height, LimitError, header.n_frames)


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
