"""Metadata as the ancillary chunks of a .kmq file, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from kmq import color_tags
from kmq.deflate import deflate, inflate
from kmq.errors import FormatError, InputError, LimitError, located
from kmq.model.file_info import Limits
from kmq.model.image import Metadata
from kmq.stages.container.chunks import MAX_VARINT, Chunk, ChunkReader, pack_varint, unpack_varint

MAX_ANCILLARY = 65_536  # bounds what small chunks cost in memory
_KNOWN_ANCILLARY = "iexdtgwsc"
_DPI_UNITS = 10_000
_COLOR_TAGS = {"g": "gamma", "w": "chromaticities", "s": "srgb", "c": "cicp"}
_TEXT_PLAIN, _TEXT_DEFLATED = 0, 1


def check_readable(ancillary: Sequence[tuple[str, bytes]], limits: Limits) -> None:
    """Raise InputError if a reader with these limits refuses chunks of so many bytes."""
    collected = MetadataCollector(limits)
    try:
        for letter, payload in ancillary:
            collected.add(Chunk(letter, 0, payload))
    except LimitError as error:
        raise InputError(str(error)) from None


def check_metadata(metadata: Metadata) -> None:
    """Raise InputError or TypeError for metadata that `pack_metadata` does not take."""
    for _ in pack_metadata(metadata):
        pass


def pack_metadata(metadata: Metadata) -> Iterator[tuple[str, bytes]]:
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
    try:
        parts = [float(part) for part in dpi]  # NumPy's small types overflow
    except OverflowError:  # a whole number of more than 308 digits
        parts = []
    if len(parts) != 2 or not all(0 <= part <= most for part in parts):
        raise InputError(f"dpi is {dpi}; it must be two numbers from 0 to {most}")
    return b"".join(pack_varint(round(part * _DPI_UNITS)) for part in parts)


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
            units = [round(float(part) * color_tags.UNIT) for part in parts]
            yield letter, b"".join(map(pack_varint, units))


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


def read_metadata(reader: ChunkReader, limits: Limits) -> Metadata:
    """Take the ancillary chunks and stop before the next critical one."""
    collected = MetadataCollector(limits)
    while (head := reader.peek()).letter.islower():
        with located(head.letter, head.offset):
            collected.add(reader.take(collected.left + 1))
    return collected.metadata()


class MetadataCollector:
    """Puts the contents of ancillary chunks together.

    Attributes:
        left: bytes that may still come, inflated.
    """

    def __init__(self, limits: Limits):
        self.left = limits.metadata_bytes
        self._excess = (
            f"metadata exceeds the limit of {self.left} bytes, for reading and writing: "
            "kmq.Limits(metadata_bytes=…) sets it"
        )
        self._count = 0
        self._items: dict[str, Any] = {}
        self._text: dict[str, str] = {}
        self._extra: list[tuple[str, bytes]] = []

    def add(self, chunk: Chunk) -> None:
        """Take in one more chunk, or its first `left` + 1 bytes; raise FormatError if it cannot be.

        Also if it is too large (LimitError) or one too many.
        """
        self._count += 1
        if self._count > MAX_ANCILLARY:
            raise FormatError(f"there are more than {MAX_ANCILLARY} ancillary chunks")
        if len(chunk.payload) > self.left:
            raise LimitError(self._excess)
        try:
            content = _unpack_content(chunk, self.left)
        except LimitError as error:
            raise LimitError(self._excess) from error
        self.left -= len(content)
        if chunk.letter == "t":
            _add_text(self._text, content)
        elif chunk.letter not in _KNOWN_ANCILLARY:
            self._extra.append((chunk.letter, content))
        elif chunk.letter in self._items:
            raise FormatError(f"there is a second chunk {chunk.letter!r}")
        else:
            self._items[chunk.letter] = _unpack_item(chunk.letter, content)

    def metadata(self) -> Metadata:
        """Return the metadata read so far."""
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
