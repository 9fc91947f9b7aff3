"""EXIF blocks, and how their tags get into a TIFF file.

An EXIF block is a TIFF file without a picture: a header, a directory of tags, and directories that
tags point to (TIFF 6.0, section 2; Exif 2.32, section 4.6). Its first directory comes from another
file. Only the tags that describe the picture may enter a new one: the rest say how the pixels of
the old file were laid out.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from kmq.errors import InputError

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
"""Types of TIFF 6.0 that kmq writes itself."""

_UNITS = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 4, UNDEFINED: 1}
_UNITS |= {6: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}
"""Bytes of the numbers that a value of each type consists of."""

_NUMBERS = {RATIONAL: 2, 10: 2}
"""Numbers of a value, where they are more than one."""

_NAME = b"Exif\0\0"

SIDES = ((256, 257), (282, 283), (40962, 40963), (41486, 41487))
"""Tags that say of columns and of rows how many there are, and how many in a unit of length."""

_ORIENTATION = 274
_CAMERA, _PLACE, _INTEROPERABILITY = 34665, 34853, 40965

_DIRECTORIES: dict[int, Any] = {_CAMERA: {_INTEROPERABILITY: {}}, _PLACE: {}}
"""Tags that point to directories, each with those that its directory may hold."""

_DESCRIPTIVE = frozenset(
    (
        *(269, 270, 271, 272, 285),  # document, description, make, model, page
        *(305, 306, 315, 316),  # software, date, artist, computer
        *(700, 18246, 18249),  # XMP, rating, rating in percent
        *(33432, 33723, 34377),  # copyright, IPTC, resources of Photoshop
        *range(40091, 40096),  # title, comment, author, keywords, subject of Windows
        *(_ORIENTATION, _CAMERA, _PLACE),
    )
)
"""Tags of a first directory that hold for the same picture in another file."""

_ENTRY = 12  # bytes of a tag in its directory: number, type, count, and the content or its offset


class Tag(NamedTuple):
    """A tag: its content is numbers, each in little-endian order, or a directory of tags."""

    number: int
    type: int
    content: bytes | list[Tag]


def unnamed(exif: bytes) -> bytes:
    """Return an EXIF block without the name before it, which some programs write twice."""
    return exif.removeprefix(_NAME).removeprefix(_NAME)


def byte_order(exif: bytes) -> str:
    """Return the byte order of an EXIF block as `struct` spells it.

    Raises:
        InputError: it does not begin like a TIFF file.
    """
    block = unnamed(exif)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        raise InputError("it does not begin like a TIFF file")
    return order


def descriptive_tags(exif: bytes) -> tuple[list[Tag], bool]:
    """Return the tags of an EXIF block that describe the picture, and whether all are sound.

    Damaged tags are left out, and so is the thumbnail, which is a picture with a layout.

    Raises:
        InputError: it does not begin like a TIFF file.
    """
    block = _Block(exif)
    directory = block.directory(block.first, _DIRECTORIES, _DESCRIPTIVE)
    tags = [tag for tag in directory if tag.number != _ORIENTATION]
    for tag in directory:
        if tag.number == _ORIENTATION and isinstance(tag.content, bytes):
            turn = int.from_bytes(tag.content, "little")
            tags += [Tag(_ORIENTATION, SHORT, bytes([turn, 0]))] if 2 <= turn <= 8 else []
    return tags, block.is_sound


def turned(exif: bytes, *, swaps: bool) -> bytes:
    """Return an EXIF block with orientation 1 and every other byte as it was.

    With `swaps`, what its tags say of columns and of rows changes places. A block that does not
    begin like a TIFF file stays as it is.
    """
    block = bytearray(unnamed(exif))
    with contextlib.suppress(InputError, struct.error):
        order = byte_order(exif)
        places = _places(block, order, 4)
        if _ORIENTATION in places:
            upright = struct.pack(order + "HHIHH", _ORIENTATION, SHORT, 1, 1, 0)
            place = places[_ORIENTATION]
            block[place : place + _ENTRY] = upright
        if _CAMERA in places:
            places |= _places(block, order, places[_CAMERA] + 8)
        for across, down in SIDES if swaps else ():
            if across in places and down in places:
                # All of an entry but its number: type, count, and the content or its offset.
                first, second = (
                    slice(places[tag] + 2, places[tag] + _ENTRY) for tag in (across, down)
                )
                block[first], block[second] = block[second], block[first]
    return exif.removesuffix(unnamed(exif)) + block


def _places(block: bytearray, order: str, pointer: int) -> dict[int, int]:
    """Tag → place of its entry, in the directory whose offset stands at `pointer`."""
    (directory,) = struct.unpack_from(order + "I", block, pointer)
    (count,) = struct.unpack_from(order + "H", block, directory)
    end = min(directory + 2 + _ENTRY * count, len(block) - _ENTRY + 1)
    places = range(directory + 2, end, _ENTRY)
    return {struct.unpack_from(order + "H", block, place)[0]: place for place in places}


def with_tags(tiff: bytes, tags: Iterable[Tag]) -> bytes:
    """Return a TIFF file with tags added to its first directory, or in the place of its own.

    The directory is written anew behind the file, which must be smaller than 4 GiB together.
    """
    order = "<" if tiff.startswith(b"II") else ">"
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, first)
    places = range(first + 2, first + 2 + _ENTRY * count, _ENTRY)
    entries = {
        struct.unpack_from(order + "H", tiff, place)[0]: tiff[place : place + _ENTRY]
        for place in places
    }
    end = len(tiff) + len(tiff) % 2  # directories begin at even offsets
    head = tiff[:4] + struct.pack(order + "I", end)
    return b"".join([head, tiff[8:].ljust(end - 8, b"\0"), _packed(tags, end, order, entries)])


def _packed(
    tags: Iterable[Tag], offset: int, order: str, more: Mapping[int, bytes] | None = None
) -> bytes:
    """Return a directory for the place `offset`, with the contents of its tags behind it.

    `more` are entries of more tags, by number, whose contents are in the file already.
    """
    chosen = {tag.number: tag for tag in tags}
    entries = {number: entry for number, entry in (more or {}).items() if number not in chosen}
    place = offset + 2 + _ENTRY * (len(entries) + len(chosen)) + 4
    contents = []
    for number, kind, content in chosen.values():
        if isinstance(content, list):
            count, content = 1, _packed(content, place, order)
            field = struct.pack(order + "I", place)
        else:
            count = len(content) // (_UNITS[kind] * _NUMBERS.get(kind, 1))
            content = _ordered(content, kind, order)
            field = struct.pack(order + "I", place) if len(content) > 4 else content.ljust(4, b"\0")
            content = content if len(content) > 4 else b""
        entries[number] = struct.pack(order + "HHI", number, kind, count) + field
        contents += [content, bytes(len(content) % 2)]
        place += len(content) + len(content) % 2
    directory = [entries[number] for number in sorted(entries)]
    # The four zeros say that no other directory follows.
    return b"".join([struct.pack(order + "H", len(entries)), *directory, bytes(4), *contents])


def _ordered(content: bytes, kind: int, order: str) -> bytes:
    """Turn the numbers of a content from little-endian to another byte order, or back."""
    unit = _UNITS[kind]
    if order == "<" or unit == 1:
        return content
    return np.frombuffer(content, f"u{unit}").byteswap().tobytes()


class _Block:
    """An EXIF block that is read.

    Attributes:
        first: offset of the first directory.
        is_sound: whether everything that was wanted could be read.
    """

    def __init__(self, exif: bytes):
        self._order = byte_order(exif)
        self._block = unnamed(exif)
        # Tags that share their bytes could hold far more than the block; sound ones share none.
        self._left = len(self._block)
        self._visited: set[int] = set()
        self.first: int = struct.unpack_from(self._order + "I", self._block, 4)[0]
        self.is_sound = True

    def directory(
        self, offset: int, directories: Mapping[int, Any], wanted: Container[int] = range(1 << 16)
    ) -> list[Tag]:
        """Return the wanted tags of the directory at `offset`, each number once."""
        tags: dict[int, Tag] = {}
        for number, kind, content in self._entries(offset, wanted):
            if number not in directories:
                tags.setdefault(number, Tag(number, kind, content))
            elif deeper := self.directory(int.from_bytes(content, "little"), directories[number]):
                tags.setdefault(number, Tag(number, LONG, deeper))
        return list(tags.values())

    def _entries(self, offset: int, wanted: Container[int]) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, type and content of tags, where it is not empty."""
        if offset in self._visited or offset + 2 > len(self._block):
            self.is_sound = False
            return
        self._visited.add(offset)
        (count,) = struct.unpack_from(self._order + "H", self._block, offset)
        for place in range(offset + 2, offset + 2 + _ENTRY * count, _ENTRY):
            if place + _ENTRY > len(self._block):
                self.is_sound = False
                return
            number, kind, n_values = struct.unpack_from(self._order + "HHI", self._block, place)
            if number not in wanted:
                continue
            content = self._content(kind, n_values, place + 8)
            if content is None:
                self.is_sound = False
            elif content:
                yield number, kind, content

    def _content(self, kind: int, n_values: int, place: int) -> bytes | None:
        """Return what the last four bytes of a tag hold or point to, or None if it is damaged."""
        if kind not in _UNITS:
            return None
        size = n_values * _UNITS[kind] * _NUMBERS.get(kind, 1)
        if size > 4:
            (place,) = struct.unpack_from(self._order + "I", self._block, place)
            if size > self._left or place + size > len(self._block):
                return None
            self._left -= size
        return _ordered(self._block[place : place + size], kind, self._order)
