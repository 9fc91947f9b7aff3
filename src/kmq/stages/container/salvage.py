"""What is left of a damaged .kmq file: see FORMAT.md, section "Recovering".

Signature, header and palette must be sound. Of the rest counts what a CRC proves; a strip whose
place in the picture follows neither from the strip table nor from its neighbours is lost.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from kmq.errors import FormatError, LimitError
from kmq.model.file_info import Limits, StripInfo
from kmq.model.image import Metadata
from kmq.stages.container import file
from kmq.stages.container.file import Chunk, Front, Header

_LETTER_OF_LATER = re.compile(rb"[TSE]")
_READINGS = 16  # times the bytes of a file that checking CRCs may cost, so that it ends soon
_TRIAL = 64  # bytes that each check counts as besides


@dataclass(frozen=True)
class Salvage:
    """What is left of a file.

    Attributes:
        front: header, palette and what is sound of the metadata; no lengths.
        strips: the strips whose chunks are sound, top to bottom.
        payloads: their payloads.
        faults: what became of the other strips, by number.
        notes: what else is lost.
    """

    front: Front
    strips: tuple[StripInfo, ...]
    payloads: tuple[bytes, ...]
    faults: dict[int, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Gap:
    """Bytes that no CRC proves.

    Attributes:
        letter: what they begin with, if they are as long as one chunk says that it is; else "".
    """

    letter: str


def salvage_file(stream: BinaryIO, limits: Limits) -> Salvage:
    """Read from where the stream stands to its end and keep what is sound.

    Raises:
        FormatError: signature, header or palette are damaged, or the file needs a newer kmq or
            exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader = file.ChunkReader(stream)
    reader.read_signature()
    header = file.unpack_header(reader.take_only("H"), limits)
    palette = reader.take_only("P")
    walk = _Walk(reader.take_rest(), reader.offset, header.n_strips)
    pieces = list(walk.pieces())
    chunks = [piece for piece in pieces if isinstance(piece, Chunk)]
    for chunk in chunks:
        file.refuse_newer(chunk)
    metadata, notes = _metadata(chunks, limits)
    placed = walk.placed_by_table(chunks) if walk.lengths else _placed_by_order(pieces, header)
    placed = {n: chunk for n, chunk in placed.items() if _is_strip(chunk)}
    n_homeless = sum(map(_is_strip, chunks)) - len(placed)
    if n_homeless > 0:
        notes.append(f"sound strips of unknown place: {n_homeless}")
    strips = []
    for number, chunk in placed.items():
        row, height = header.strip_rows(number)
        strips.append(StripInfo(row, height, chunk.offset, len(chunk.payload), chunk.payload[0]))
    return Salvage(
        Front(header, palette, metadata, ()),
        tuple(strips),
        tuple(chunk.payload for chunk in placed.values()),
        {n: walk.fault(n) for n in range(header.n_strips) if n not in placed},
        tuple(notes),
    )


def _metadata(chunks: Iterable[Chunk], limits: Limits) -> tuple[Metadata, list[str]]:
    """Return what the sound ancillary chunks say, and what is left out."""
    collected = file.MetadataCollector(limits)
    notes = []
    for chunk in chunks:
        if chunk.letter.islower():
            try:
                collected.expect(len(chunk.payload))
                collected.add(chunk)
            except LimitError:
                raise
            except FormatError as error:
                notes.append(f"chunk {chunk.letter!r} at offset {chunk.offset}: {error}")
    return collected.metadata(), notes


def _is_strip(chunk: Chunk) -> bool:
    return chunk.letter == "S" and len(chunk.payload) >= file.STRIP_HEAD


class _Walk:
    """Goes through the bytes after the palette from chunk to chunk, and over what is between.

    `lengths` are those of the strip table; empty until it is met, and if it is damaged.
    """

    def __init__(self, content: bytes, base: int, n_strips: int):
        self._content = content
        self._base = base  # of the content within the file
        self._n_strips = n_strips
        self._left = (_READINGS + 1) * len(content) + 1024 * _TRIAL
        self._signature = -1
        self._starts: list[int] = []  # of strips within the content, by the table; then their end
        self.lengths: tuple[int, ...] = ()

    def pieces(self) -> Iterator[Chunk | _Gap]:
        """Yield what there is through chunk E or the end of the content."""
        position = 0
        while position < len(self._content):
            chunk = self._chunk_at(position)
            if chunk is None:
                letter, position = self._after_gap(position)
                yield _Gap(letter)
                continue
            position += file.chunk_size(len(chunk.payload))
            if chunk.letter == "T" and not self.lengths:
                self._read_table(chunk, position)
            yield chunk
            if chunk.letter == "E":
                return

    def placed_by_table(self, chunks: Iterable[Chunk]) -> dict[int, Chunk]:
        """Return by number, ascending, the strips that stand where the table has them.

        Counted from the table, or, should bytes have been added or lost, from the end mark.
        """
        listed = list(chunks)
        shifts = {0}
        if listed[-1].letter == "E":
            shifts.add(listed[-1].offset - self._base - self._starts[-1])
        number_at = {start: number for number, start in enumerate(self._starts[:-1])}
        placed: dict[int, Chunk] = {}
        for chunk in listed:
            places = {number_at.get(chunk.offset - self._base - shift) for shift in shifts}
            size = file.chunk_size(len(chunk.payload))
            fitting = {n for n in places if n is not None and self.lengths[n] == size}
            if len(fitting) == 1:
                placed.setdefault(fitting.pop(), chunk)
        return dict(sorted(placed.items()))

    def fault(self, number: int) -> str:
        """Say what became of a strip that has no sound chunk."""
        if not self.lengths:
            return "no sound chunk is known to hold it"
        if self._starts[number + 1] > len(self._content):
            return "the file ends before it does"
        return f"its chunk at offset {self._base + self._starts[number]} is damaged"

    def _read_table(self, chunk: Chunk, end: int) -> None:
        try:
            self.lengths = file.unpack_strip_table(chunk, self._n_strips)
        except FormatError:
            return
        self._starts = list(accumulate(self.lengths, initial=end))

    def _head_at(self, position: int) -> tuple[str, int] | None:
        """Return letter and end of a chunk that may begin there."""
        if self._content[position] not in file.LETTERS:
            return None
        try:
            length, start = file.unpack_varint(self._content, position + 1)
        except FormatError:
            return None
        end = start + length + file.CRC_SIZE
        return (chr(self._content[position]), end) if end <= len(self._content) else None

    def _chunk_at(self, position: int) -> Chunk | None:
        """Return the chunk that begins there if its CRC proves it and there is time to compare."""
        if position >= len(self._content) or (head := self._head_at(position)) is None:
            return None
        letter, end = head
        self._left -= end - position + _TRIAL
        if self._left < 0:
            return None
        stored = memoryview(self._content)[position : end - file.CRC_SIZE]
        crc = self._content[end - file.CRC_SIZE : end]
        if zlib.crc32(stored) != int.from_bytes(crc, "little"):
            return None
        _, start = file.unpack_varint(self._content, position + 1)
        return Chunk(letter, self._base + position, bytes(stored[start - position :]))

    def _after_gap(self, position: int) -> tuple[str, int]:
        """Return the letter of a gap, and where it ends: at a sound chunk or the content's end."""
        head = self._head_at(position)
        if head is not None and self._chunk_at(head[1]) is not None:
            return head
        for start in self._starts[bisect_left(self._starts, position + 1) : -1]:
            if self._chunk_at(start) is not None:
                return "", start
        # A scan stops where another file begins.
        if self._signature <= position:
            found = self._content.find(file.SIGNATURE, position)
            self._signature = len(self._content) if found < 0 else found
        for match in _LETTER_OF_LATER.finditer(self._content, position + 1, self._signature):
            if self._left < 0:
                break
            if self._chunk_at(match.start()) is not None:
                return "", match.start()
        return "", len(self._content)


def _placed_by_order(pieces: list[Chunk | _Gap], header: Header) -> dict[int, Chunk]:
    """Return by number, ascending, the strips that can be counted from one of the ends.

    Where both ends count, they must agree.
    """
    n_strips = header.n_strips
    placed = _counted(pieces)
    if pieces and isinstance(pieces[-1], Chunk) and pieces[-1].letter == "E":
        for number, chunk in _counted(pieces[::-1]).items():
            from_start = n_strips - 1 - number
            others = [n for n, other in placed.items() if other is chunk]
            if others and others != [from_start]:
                del placed[others[0]]
            elif from_start not in placed:
                placed[from_start] = chunk
    return {number: placed[number] for number in sorted(placed) if 0 <= number < n_strips}


def _counted(pieces: Iterable[Chunk | _Gap]) -> dict[int, Chunk]:
    """Number the strips until a gap that may hold any number of them."""
    numbered: dict[int, Chunk] = {}
    number = 0
    for piece in pieces:
        if isinstance(piece, Chunk) and piece.letter == "S":
            numbered[number] = piece
        elif isinstance(piece, _Gap) and piece.letter not in {"S", "T", "i", "e", "x", "d", "t"}:
            break
        number += piece.letter == "S"
    return numbered
