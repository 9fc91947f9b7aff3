"""The .kmq file as a row of chunks: signature, letters, lengths, checksums, order, metadata.

FORMAT.md, beside this file, is the description that counts. How palette and strips become bytes
is the matter of `coding`; here they are payloads.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, BinaryIO

from kmq import color_tags
from kmq.deflate import deflate, inflate
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, located
from kmq.model.file_info import MAX_STRIPS, ChunkInfo, Limits, StripInfo
from kmq.model.image import MAX_COLORS, Metadata
from kmq.model.pixel_format import PixelFormat

SIGNATURE = b"\x8bKMQ\r\n\x1a\n"
VERSION = 1
MAX_VARINT = 2**31 - 1
MAX_ANCILLARY = 65_536  # bounds what small chunks cost in memory

LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
CRITICAL = "HPTSE"
_KNOWN_ANCILLARY = "iexdtgwsc"
_DPI_UNITS = 10_000
_COLOR_TAGS = {"g": "gamma", "w": "chromaticities", "s": "srgb", "c": "cicp"}
_TEXT_PLAIN, _TEXT_DEFLATED = 0, 1
STRIP_HEAD = 5  # bytes of method and checksum
CRC_SIZE = 4
MIN_STRIP = 2 + STRIP_HEAD + CRC_SIZE  # bytes of the shortest strip's whole chunk
_BLOCK = 1 << 20  # bytes read at a time, so that memory follows the file and not its promises
_FORMAT_OF_CODE = {pixel_format.code: pixel_format for pixel_format in PixelFormat}
NEWER = "this file needs a newer kmq"
_TEXT_MODE = "was changed on its way, as a transfer in text mode does; copy it in binary mode"


@dataclass(frozen=True)
class Header:
    """What chunk H says.

    Attributes:
        pixel_format: what one pixel is.
        width: columns.
        height: rows.
        n_colors: entries of the palette.
        strip_height: rows of each strip but perhaps the last.
    """

    pixel_format: PixelFormat
    width: int
    height: int
    n_colors: int
    strip_height: int

    @property
    def n_strips(self) -> int:
        """Strips of the picture."""
        return -(-self.height // self.strip_height)

    def strip_rows(self, number: int) -> tuple[int, int]:
        """First row of a strip, and how many rows it has."""
        row = number * self.strip_height
        return row, min(self.strip_height, self.height - row)


@dataclass(frozen=True)
class Chunk:
    """One chunk: its letter, where it starts, and what is in it."""

    letter: str
    offset: int
    payload: bytes


@dataclass(frozen=True)
class Front:
    """What stands before the strips, the palette still coded.

    Attributes:
        header: what chunk H says.
        palette: chunk P.
        metadata: what the ancillary chunks say.
        lengths: bytes of each strip's chunk as chunk T has them; empty for a single strip.
    """

    header: Header
    palette: Chunk
    metadata: Metadata
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """A file taken apart, palette and strips still coded.

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


# --- writing -------------------------------------------------------------------------------------


def pack_file(
    header: Header, palette: bytes, metadata: Metadata, payloads: Sequence[bytes], limits: Limits
) -> list[bytes]:
    """Return the pieces of a file, front to back; `payloads` are those of the strips.

    Raises:
        InputError: metadata that the format cannot hold, or a reader with these limits.
        TypeError: metadata of another type than `Metadata` says.
    """
    strips = [pack_chunk("S", payload) for payload in payloads]
    front = [SIGNATURE, pack_chunk("H", _pack_header(header)), pack_chunk("P", palette)]
    ancillary = list(_pack_metadata(metadata))
    if len(ancillary) > MAX_ANCILLARY:
        raise InputError(f"metadata have {len(ancillary)} items; a file holds {MAX_ANCILLARY}")
    _check_readable(ancillary, limits)
    front += [pack_chunk(letter, payload) for letter, payload in ancillary]
    if len(strips) > 1:
        front.append(pack_chunk("T", b"".join(pack_varint(len(strip)) for strip in strips)))
    return [b"".join(front), *strips, pack_chunk("E", b"")]


def _check_readable(ancillary: Sequence[tuple[str, bytes]], limits: Limits) -> None:
    """Raise InputError if a reader with these limits refuses chunks of so many bytes."""
    collected = MetadataCollector(limits)
    try:
        for letter, payload in ancillary:
            collected.expect(len(payload))
            collected.add(Chunk(letter, 0, payload))
    except LimitError as error:
        raise InputError(str(error)) from None


def pack_chunk(letter: str, payload: bytes) -> bytes:
    """Put letter, length and CRC around a payload."""
    if len(payload) > MAX_VARINT:
        raise InputError(
            f"chunk {letter!r} would have {len(payload)} bytes; a chunk holds up to {MAX_VARINT}"
        )
    chunk = b"".join([letter.encode("ascii"), pack_varint(len(payload)), payload])
    return chunk + zlib.crc32(chunk).to_bytes(4, "little")


def chunk_size(length: int) -> int:
    """Return the bytes of a whole chunk whose payload has that length."""
    return 1 + len(pack_varint(length)) + length + CRC_SIZE


def pack_varint(number: int) -> bytes:
    """Write a number from 0 to 2**31 - 1 in LEB128."""
    septets = bytearray()
    while number > 0x7F:
        septets.append(number & 0x7F | 0x80)
        number >>= 7
    septets.append(number)
    return bytes(septets)


def _pack_header(header: Header) -> bytes:
    sizes = (header.width, header.height, header.n_colors, header.strip_height)
    code = bytes([header.pixel_format.code])
    return pack_varint(VERSION) + code + b"".join(pack_varint(size) for size in sizes)


def _pack_metadata(metadata: Metadata) -> Iterator[tuple[str, bytes]]:
    """Yield letter and payload of the ancillary chunks."""
    if metadata.icc_profile is not None:
        yield "i", deflate(_checked_bytes(metadata.icc_profile, "icc_profile"))
    if metadata.exif is not None:
        yield "e", _checked_bytes(metadata.exif, "exif")
    if metadata.xmp is not None:
        yield "x", deflate(_checked_bytes(metadata.xmp, "xmp"))
    if metadata.dpi is not None:
        yield "d", _pack_dpi(metadata.dpi)
    yield from _pack_color_tags(metadata)
    if not isinstance(metadata.text, Mapping):
        raise TypeError(f"text is {type(metadata.text).__name__}; it must be a mapping of strings")
    for keyword, value in metadata.text.items():
        yield "t", _pack_text(keyword, value)
    for letter, payload in metadata.extra:
        if len(letter) != 1 or not "a" <= letter <= "z" or letter in _KNOWN_ANCILLARY:
            raise InputError(
                f"metadata.extra has a chunk {letter!r}; its letters are a to z "
                f"without {', '.join(_KNOWN_ANCILLARY)}"
            )
        yield letter, _checked_bytes(payload, f"chunk {letter!r} of metadata.extra")


def _checked_bytes(payload: bytes, name: str) -> bytes:
    if not isinstance(payload, bytes):
        raise TypeError(f"{name} is {type(payload).__name__}; it must be bytes")
    return payload


def _pack_dpi(dpi: tuple[float, float]) -> bytes:
    most = MAX_VARINT / _DPI_UNITS
    if not isinstance(dpi, tuple | list) or not all(isinstance(part, Real) for part in dpi):
        raise TypeError(f"dpi is {dpi!r}; it must be two numbers from 0 to {most}")
    if len(dpi) != 2 or not all(0 <= resolution <= most for resolution in dpi):
        raise InputError(f"dpi is {dpi}; it must be two numbers from 0 to {most}")
    return b"".join(pack_varint(round(resolution * _DPI_UNITS)) for resolution in dpi)


def _pack_color_tags(metadata: Metadata) -> Iterator[tuple[str, bytes]]:
    for letter, name in _COLOR_TAGS.items():
        value = getattr(metadata, name)
        if value is None:
            continue
        color_tags.check(name, value)
        if letter == "s":
            yield letter, bytes([color_tags.INTENTS.index(value)])
        elif letter == "c":
            yield letter, bytes(value)
        else:
            parts = value if letter == "w" else (value,)
            yield letter, b"".join(pack_varint(round(part * color_tags.UNIT)) for part in parts)


def _pack_text(keyword: str, value: str) -> bytes:
    if not isinstance(keyword, str) or not isinstance(value, str):
        raise TypeError(f"text has {keyword!r}: {type(value).__name__}; both must be strings")
    if not keyword or "\0" in keyword:
        raise InputError(f"text has a keyword {keyword!r}; it must not be empty or contain NUL")
    try:
        entry = keyword.encode() + b"\0" + value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"text {keyword!r} cannot be written as UTF-8: {error}") from error
    deflated = deflate(entry)
    if len(deflated) < len(entry):
        return bytes([_TEXT_DEFLATED]) + deflated
    return bytes([_TEXT_PLAIN]) + entry


# --- reading -------------------------------------------------------------------------------------


def unpack_file(stream: BinaryIO, limits: Limits, *, skip_strips: bool = False) -> Contents:
    """Read one file from where the stream stands through its chunk E.

    With `skip_strips` the payloads of strips are passed over, by seeking where the stream can,
    and their CRCs are not compared.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader = ChunkReader(stream)
    front = unpack_front(reader, limits)
    strips, payloads = take_strips(reader, front, range(front.header.n_strips), skip=skip_strips)
    end = reader.take_only("E")
    if end.payload:
        raise at(end, "the payload of the last chunk is not empty")
    return Contents(front, strips, payloads, tuple(reader.chunks), reader.offset)


def unpack_front(reader: ChunkReader, limits: Limits) -> Front:
    """Read from the signature up to the first strip.

    Raises:
        FormatError: the file is damaged, needs a newer kmq or exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader.read_signature()
    header = unpack_header(reader.take_only("H"), limits)
    palette = reader.take_only("P")
    metadata = _read_metadata(reader, limits)
    lengths: tuple[int, ...] = ()
    if header.n_strips > 1:
        lengths = unpack_strip_table(reader.take_only("T"), header.n_strips)
    return Front(header, palette, metadata, lengths)


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


def unpack_varint(payload: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position and the position after it.

    Raises:
        FormatError: it does not end, is not as short as it can be, or exceeds 2**31 - 1.
    """
    number = 0
    for count, septet in enumerate(payload[position : position + 5]):
        number |= (septet & 0x7F) << 7 * count
        if septet < 0x80:
            if septet == 0 and count > 0:
                raise FormatError("a number is longer than it needs to be")
            if number > MAX_VARINT:
                raise FormatError(f"a number is {number}; the format goes up to {MAX_VARINT}")
            return number, position + count + 1
    raise FormatError("a number does not end")


def at(chunk: Chunk, message: str, kind: type[FormatError] = FormatError) -> FormatError:
    """Return an error that says where the chunk is."""
    return kind(message, chunk=chunk.letter, offset=chunk.offset)


def refuse_newer(chunk: Chunk) -> None:
    """Raise NewerFormatError for a critical chunk that this kmq does not know."""
    if chunk.letter.isupper() and chunk.letter not in CRITICAL:
        raise at(chunk, f"{NEWER}: it has a critical chunk unknown here", NewerFormatError)


@dataclass(frozen=True)
class _Head:
    """Letter and length of a chunk, and the bytes they were read from."""

    letter: str
    offset: int
    length: int
    stored: bytes


class ChunkReader:
    """Takes chunks off a stream; `offset` counts the bytes taken, signature included."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._head: _Head | None = None
        self.offset = 0
        self.chunks: list[ChunkInfo] = []

    def read_signature(self) -> None:
        """Take the signature and say what happened to one that is not right."""
        signature = self._take_up_to(len(SIGNATURE))
        if signature == SIGNATURE:
            return
        if signature == SIGNATURE[: len(signature)]:
            raise FormatError("the file ends within its signature", offset=len(signature))
        if signature[:4] == SIGNATURE[:4]:
            raise FormatError(f"the line ends of this .kmq file {_TEXT_MODE}", offset=4)
        if b"KMQ" in signature[1:6]:
            raise FormatError(f"the first byte of this .kmq file {_TEXT_MODE}", offset=0)
        raise FormatError("this is no .kmq file: it does not begin with the signature", offset=0)

    def peek(self) -> _Head:
        """Read letter and length of the next chunk and leave the chunk to be taken."""
        if self._head is None:
            self._head = self._read_head()
            self.chunks.append(ChunkInfo(self._head.letter, self._head.offset, self._head.length))
        return self._head

    def take(self) -> Chunk:
        """Take the next chunk, whatever it is."""
        head = self.peek()
        payload = self._take(head.length, head.letter, head.offset)
        crc = self._take(CRC_SIZE, head.letter, head.offset)
        chunk = Chunk(head.letter, head.offset, payload)
        if zlib.crc32(payload, zlib.crc32(head.stored)) != int.from_bytes(crc, "little"):
            raise at(chunk, "the chunk is damaged: its CRC does not agree")
        self._head = None
        return chunk

    def take_only(self, letter: str) -> Chunk:
        """Take the next chunk, which must have this letter."""
        # The chunk is read and its CRC compared even if its letter is wrong: else one flipped bit
        # of a letter would pass for a file of a newer kmq.
        chunk = self.take()
        if chunk.letter == letter:
            return chunk
        refuse_newer(chunk)
        raise at(chunk, f"chunk {chunk.letter!r} stands where {letter!r} belongs")

    def take_strip(self, skip: bool) -> Chunk:
        """Take the next chunk, which must be a strip; with `skip`, only its first byte."""
        head = self.peek()
        if head.letter != "S" or not skip or head.length < 1:
            return self.take_only("S")
        method = self._take(1, head.letter, head.offset)
        self.pass_over(head.length - 1 + CRC_SIZE, head.letter, head.offset)
        self._head = None
        return Chunk(head.letter, head.offset, method)

    def take_rest(self) -> bytes:
        """Take all bytes up to the end of the stream; `offset` stays."""
        offset = self.offset
        rest = self._take_up_to(sys.maxsize)
        self.offset = offset
        return rest

    def _read_head(self) -> _Head:
        offset = self.offset
        stored = self._take_up_to(1)
        if not stored:
            raise FormatError("the file ends before its last chunk, 'E'", offset=offset)
        if stored[0] not in LETTERS:
            raise FormatError(
                f"byte {stored[0]:#04x} stands where the letter of a chunk belongs", offset=offset
            )
        letter = chr(stored[0])
        while len(stored) == 1 or (stored[-1] > 0x7F and len(stored) < 6):
            stored += self._take(1, letter, offset)
        with located(letter, offset):
            length, _ = unpack_varint(stored, 1)
        return _Head(letter, offset, length, stored)

    def pass_over(self, count: int, letter: str, offset: int) -> None:
        """Leave out at least one byte, by seeking where the stream can.

        Raises:
            FormatError: the file ends before; it names the letter and offset given.
        """
        skipped = self._seek_past(count - 1)
        while skipped < count:  # one byte at least, which a file that ends before does not have
            skipped += len(self._take(min(count - skipped, _BLOCK), letter, offset))

    def _seek_past(self, count: int) -> int:
        """Return how many bytes were left out: `count`, or 0 where the stream cannot seek there."""
        seekable = getattr(self._stream, "seekable", None)
        if seekable is None or not seekable():
            return 0
        try:
            self._stream.seek(count, os.SEEK_CUR)
        except (OSError, ValueError, OverflowError):  # farther than a file can be long, mostly
            return 0
        self.offset += count
        return count

    def _take(self, count: int, letter: str, offset: int) -> bytes:
        taken = self._take_up_to(count)
        if len(taken) < count:
            raise FormatError("the file ends within the chunk", chunk=letter, offset=offset)
        return taken

    def _take_up_to(self, count: int) -> bytes:
        blocks = []
        missing = count
        while missing > 0:
            block = self._stream.read(min(missing, _BLOCK))
            if not isinstance(block, bytes):
                raise TypeError(
                    f"read() of the file gives {type(block).__name__}; "
                    "it must be opened in binary mode, and block"
                )
            if not block:
                break
            blocks.append(block)
            missing -= len(block)
        self.offset += count - missing
        return b"".join(blocks)


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
        sizes = []
        position += 1
        for _ in range(4):
            size, position = unpack_varint(chunk.payload, position)
            sizes.append(size)
        if position < len(chunk.payload):
            raise NewerFormatError(f"{NEWER}: its header goes on")
        if code not in _FORMAT_OF_CODE:
            raise NewerFormatError(f"{NEWER}: it has pixel format {code}")
        header = Header(_FORMAT_OF_CODE[code], *sizes)
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
    limits.check_pixels(header.width, header.height, LimitError)


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


def _read_metadata(reader: ChunkReader, limits: Limits) -> Metadata:
    """Take the ancillary chunks and stop before the next critical one."""
    collected = MetadataCollector(limits)
    while (head := reader.peek()).letter.islower():
        with located(head.letter, head.offset):
            collected.expect(head.length)
            collected.add(reader.take())
    return collected.metadata()


class MetadataCollector:
    """Puts the contents of ancillary chunks together."""

    def __init__(self, limits: Limits):
        self._left = limits.metadata_bytes
        self._excess = (
            f"metadata exceeds the limit of {self._left} bytes, for reading and writing: "
            "kmq.Limits(metadata_bytes=…) sets it"
        )
        self._count = 0
        self._items: dict[str, Any] = {}
        self._text: dict[str, str] = {}
        self._extra: list[tuple[str, bytes]] = []

    def expect(self, length: int) -> None:
        """Count one more chunk; raise FormatError if it is too large or one too many."""
        self._count += 1
        if self._count > MAX_ANCILLARY:
            raise FormatError(f"there are more than {MAX_ANCILLARY} ancillary chunks")
        if length > self._left:
            raise LimitError(self._excess)

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk that was expected; raise FormatError if it breaks a rule."""
        try:
            content = _unpack_content(chunk, self._left)
        except LimitError as error:
            raise LimitError(self._excess) from error
        self._left -= len(content)
        if chunk.letter == "t":
            _add_text(self._text, content)
        elif chunk.letter not in _KNOWN_ANCILLARY:
            self._extra.append((chunk.letter, content))
        elif chunk.letter in self._items:
            raise FormatError(f"there is a second chunk {chunk.letter!r}")
        else:
            self._items[chunk.letter] = _unpack_item(chunk.letter, content)

    def metadata(self) -> Metadata:
        """Return what was taken in."""
        return Metadata(
            icc_profile=self._items.get("i"),
            exif=self._items.get("e"),
            xmp=self._items.get("x"),
            dpi=self._items.get("d"),
            text=self._text,
            **{name: self._items.get(letter) for letter, name in _COLOR_TAGS.items()},
            extra=tuple(self._extra),
        )


def _unpack_content(chunk: Chunk, limit: int) -> bytes:
    """Return what an ancillary chunk holds, inflated if it is deflated."""
    if chunk.letter in "ix":
        return inflate(chunk.payload, limit)
    if chunk.letter != "t":
        return chunk.payload
    flag, entry = chunk.payload[:1], chunk.payload[1:]
    if flag == bytes([_TEXT_DEFLATED]):
        return inflate(entry, limit)
    if flag != bytes([_TEXT_PLAIN]):
        raise FormatError(f"an entry of text begins with {flag!r}; it begins with a byte 0 or 1")
    return entry


def _unpack_item(letter: str, content: bytes) -> Any:
    """Return what a chunk that occurs once says."""
    if letter == "d":
        return _unpack_numbers(content, 2, _DPI_UNITS)
    if letter == "w":
        return _unpack_numbers(content, 8, color_tags.UNIT)
    if letter == "g":
        return _unpack_numbers(content, 1, color_tags.UNIT)[0]
    if letter == "c" and len(content) != 4:
        raise FormatError(f"the code points of colour are {len(content)} bytes; there are 4")
    if letter == "s":
        if len(content) != 1 or content[0] >= len(color_tags.INTENTS):
            raise FormatError("the rendering intent is not one byte of 0 to 3")
        return color_tags.INTENTS[content[0]]
    return tuple(content) if letter == "c" else content


def _unpack_numbers(content: bytes, count: int, unit: int) -> tuple[float, ...]:
    numbers, position = [], 0
    for _ in range(count):
        number, position = unpack_varint(content, position)
        numbers.append(number / unit)
    if position < len(content):
        raise FormatError(f"the chunk goes on after its {count} number{'s' if count > 1 else ''}")
    return tuple(numbers)


def _add_text(text: dict[str, str], entry: bytes) -> None:
    keyword, separator, value = entry.partition(b"\0")
    if not keyword or not separator:
        raise FormatError("an entry of text has no keyword with a byte 0 after it")
    try:
        word = keyword.decode()
        if word in text:
            raise FormatError(f"there is a second entry of text for {word!r}")
        text[word] = value.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"an entry of text is not UTF-8: {error}") from error
