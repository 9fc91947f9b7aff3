"""The intact part of a damaged .kmq file: see FORMAT.md, section "Recovering".

Signature, header and palette must be sound. Of the rest counts what a CRC proves, and of strips
only what has one place in the picture: nothing in a strip says which one it is.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import BinaryIO, NamedTuple, TypeGuard

from kmq.errors import FormatError, LimitError
from kmq.model.file_info import Limits, StripInfo
from kmq.model.image import Metadata
from kmq.stages.container.chunks import (
    CRC_SIZE,
    LETTERS,
    SIGNATURE,
    Chunk,
    ChunkReader,
    chunk_size,
    pack_varint,
    refuse_newer,
    unpack_varint,
)
from kmq.stages.container.file import (
    STRIP_HEAD,
    Front,
    PaletteDecoder,
    unpack_head,
    unpack_strip_table,
)
from kmq.stages.container.metadata import MetadataCollector

_LETTER_OF_LATER = re.compile(rb"[TSE]")
_BEGUN_HEAD = re.compile(rb"S[\x80-\xff]{0,4}", re.DOTALL)  # of a strip, before its length ends
_LONGEST_HEAD = 7  # bytes of letter and length, should one have been added
_READINGS = 16  # times the bytes of a file that checking CRCs may cost, so that it ends soon
_TRIAL = 64  # bytes that each check counts as besides
_INSERTIONS = 1 << 26  # bytes that looking for what was inserted into strips may cost, together


class Salvage(NamedTuple):
    """The intact part of a file.

    Attributes:
        front: header, palette and the sound part of the metadata; no lengths.
        strips: the strips whose chunks are sound, top to bottom.
        payloads: their payloads.
        faults: what became of the other strips, by number.
        notes: other losses, as sentences.
    """

    front: Front
    strips: tuple[StripInfo, ...]
    payloads: tuple[bytes, ...]
    faults: dict[int, str]
    notes: tuple[str, ...]


class _Damaged(NamedTuple):
    """A chunk whose letter and length are there, and no more.

    Attributes:
        letter: its first byte.
        offset: where it starts.
        size: bytes of the whole chunk; 0 if the file ends before they are known.
    """

    letter: str
    offset: int
    size: int


class _Gap(NamedTuple):
    """Bytes that may have been any number of chunks, or none of the file's."""


_Piece = Chunk | _Damaged | _Gap


def salvage_file(stream: BinaryIO, limits: Limits, decode_palette: PaletteDecoder) -> Salvage:
    """Read from where the stream stands to its end and keep what is sound.

    Faults of signature, header and palette are told as `file.unpack_file` does.

    Raises:
        FormatError: signature, header or palette are damaged, or the file needs a newer kmq or
            exceeds the limits.
        TypeError: the stream gives something else than bytes.
    """
    reader = ChunkReader(stream)
    header, palette, _ = unpack_head(reader, limits, decode_palette)
    walk = _Walk(reader.take_rest(), reader.offset, header.n_strips)
    pieces = list(walk.pieces())
    chunks = [piece for piece in pieces if isinstance(piece, Chunk)]
    for chunk in chunks:
        refuse_newer(chunk)
    metadata, notes = _metadata(chunks, limits)
    if walk.table is not None:
        after = pieces[pieces.index(walk.table) + 1 :]
        if _is_in_place(after, walk.starts, walk.lengths):
            number_at = {start: number for number, start in enumerate(walk.starts)}
            placed = {number_at[strip.offset]: strip for strip in after if _is_strip(strip)}
        else:
            placed = _placed_by_size(after, walk.lengths, walk.end)
    else:
        placed = _placed_by_count(pieces, header.n_strips)
    placed = {number: placed[number] for number in sorted(placed) if _is_strip(placed[number])}
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
        {n: walk.fault(n, n_homeless) for n in range(header.n_strips) if n not in placed},
        tuple(notes),
    )


def _metadata(chunks: Iterable[Chunk], limits: Limits) -> tuple[Metadata, list[str]]:
    """Return the metadata of the sound ancillary chunks, and the losses."""
    collected = MetadataCollector(limits)
    notes = []
    for chunk in chunks:
        if chunk.letter.islower():
            try:
                collected.add(chunk)
            except LimitError:
                raise
            except FormatError as error:
                notes.append(f"chunk {chunk.letter!r} at offset {chunk.offset}: {error}")
    return collected.metadata(), notes


def _is_strip(piece: _Piece) -> TypeGuard[Chunk]:
    return isinstance(piece, Chunk) and piece.letter == "S" and len(piece.payload) >= STRIP_HEAD


# --- going through the bytes ---------------------------------------------------------------------


class _Walk:
    """Goes through the bytes after the palette from chunk to chunk, and over bytes between them.

    Attributes:
        table: the strip table, once it is met and if it is sound.
        lengths: those of the table; else empty.
        starts: where it has each strip within the file, and the end of the last.
        end: that of the file.
    """

    def __init__(self, content: bytes, base: int, n_strips: int):
        self._content = content
        self._base = base  # of the content within the file
        self._n_strips = n_strips
        self._left = (_READINGS + 1) * len(content) + 1024 * _TRIAL
        self._left_for_insertions = _INSERTIONS
        self._other_file = -1  # where its signature is, once that has been looked for
        self._sizes: frozenset[int] = frozenset()  # of strips, by the table
        self.table: Chunk | None = None
        self.lengths: tuple[int, ...] = ()
        self.starts: list[int] = []
        self.end = base + len(content)

    def pieces(self) -> Iterator[_Piece]:
        """Yield what there is through chunk E, the end, or the signature of another file."""
        position = 0
        while position < len(self._content):
            chunk = self._chunk_at(position)
            if chunk is None:
                end, is_chunk = self._after_damage(position)
                yield from self._damage(position, end)
                if not is_chunk:
                    return
                position = end
                continue
            position += _size(chunk)
            if chunk.letter == "T" and self.table is None:
                self._read_table(chunk, position)
            yield chunk
            if chunk.letter == "E":
                return

    def fault(self, number: int, n_homeless: int) -> str:
        """Say what became of a strip, where that many sound ones have no place."""
        if self.table is not None and self.starts[number + 1] > self.end:
            return "the file ends before it does"
        if self.table is None or n_homeless > 0:
            return "no sound chunk is known to hold it"
        return f"its chunk at offset {self.starts[number]} is damaged"

    def _read_table(self, chunk: Chunk, end: int) -> None:
        try:
            self.lengths = unpack_strip_table(chunk, self._n_strips)
        except FormatError:
            return
        self.table = chunk
        self._sizes = frozenset(self.lengths)
        self.starts = list(accumulate(self.lengths, initial=self._base + end))

    def _head_at(self, position: int) -> tuple[str, int] | None:
        """Return letter and end of a chunk that may begin there; it may end beyond the content."""
        if self._content[position] not in LETTERS:
            return None
        try:
            length, start = unpack_varint(self._content, position + 1)
        except FormatError:
            return None
        letter, end = chr(self._content[position]), start + length + CRC_SIZE
        return (letter, end) if self._may_be(letter, end - position) else None

    def _may_be(self, letter: str, size: int) -> bool:
        """Whether a chunk has a size that it can have; this spares comparing most of the CRCs."""
        if letter == "S" and self._sizes:
            return size in self._sizes
        if letter == "T":
            return self.table is None and self._n_strips + 6 <= size <= 5 * self._n_strips + 10
        return letter != "E" or size == chunk_size(0)

    def _chunk_at(self, position: int) -> Chunk | None:
        """Return the chunk that begins there if its CRC proves it and there is time to compare."""
        if position >= len(self._content) or (head := self._head_at(position)) is None:
            return None
        letter, end = head
        if end > len(self._content):
            return None
        self._left -= end - position + _TRIAL
        if self._left < 0:
            return None
        stored = memoryview(self._content)[position : end - CRC_SIZE]
        crc = self._content[end - CRC_SIZE : end]
        if zlib.crc32(stored) != int.from_bytes(crc, "little"):
            return None
        _, start = unpack_varint(self._content, position + 1)
        return Chunk(letter, self._base + position, bytes(stored[start - position :]))

    def _after_damage(self, position: int) -> tuple[int, bool]:
        """Return where damaged bytes end, and whether that is at a sound chunk."""
        head = self._head_at(position)
        if head is not None and self._chunk_at(head[1]) is not None:
            return head[1], True
        if self._other_file < position:
            place = self._content.find(SIGNATURE, position)
            self._other_file = len(self._content) if place < 0 else place
        for match in _LETTER_OF_LATER.finditer(self._content, position + 1, self._other_file):
            if self._left < 0:
                break
            if self._chunk_at(match.start()) is not None:
                return match.start(), True
        return self._other_file, False

    def _damage(self, position: int, end: int) -> Iterator[_Piece]:
        """Yield what can be told of damaged bytes.

        A strip counts by its head if that has a size of the table, and the table by its own, if
        it is about as long as it must be; without it, chunks count if each leads to the next one.
        """
        likely: list[_Damaged] = []
        n_sure, sure = 0, position
        while position < end and (head := self._head_at(position)) is not None:
            letter, stop = head
            if letter != "S" and (letter != "T" or likely or self._sizes):
                break
            likely.append(_Damaged(letter, self._base + position, stop - position))
            position = stop
            if self._sizes or letter == "T" or position == end:
                n_sure, sure = len(likely), min(position, end)
        del likely[n_sure:]
        rest: list[_Piece] = []
        if sure < end:
            if likely and (chunk := self._without_insertion(likely[-1], end)) is not None:
                del likely[-1]
                rest = [chunk, _Gap()]
            elif (chunk := self._with_new_head(sure, end)) is not None:
                rest = [chunk]
            elif end == len(self._content) and _BEGUN_HEAD.fullmatch(self._content, sure):
                rest = [_Damaged("S", self._base + sure, 0)]
            else:
                rest = [_Gap()]
        yield from (*likely, *rest)

    def _with_new_head(self, position: int, end: int) -> Chunk | None:
        """Return the strip of these bytes if only its letter and length are damaged."""
        crc = self._content[end - CRC_SIZE : end]
        for start in range(position, min(position + _LONGEST_HEAD, end - CRC_SIZE) + 1):
            payload = self._content[start : end - CRC_SIZE]
            head = b"S" + pack_varint(len(payload))
            size = len(head) + len(payload) + CRC_SIZE
            if self._sizes and size not in self._sizes:
                continue
            self._left -= size + _TRIAL
            if self._left < 0:
                return None
            if zlib.crc32(payload, zlib.crc32(head)) == int.from_bytes(crc, "little"):
                return Chunk("S", self._base + position, payload)
        return None

    def _without_insertion(self, damaged: _Damaged, end: int) -> Chunk | None:
        """Return the strip that begins these bytes if they are it and others within it."""
        start = damaged.offset - self._base
        n_others = end - start - damaged.size
        cost = damaged.size * (damaged.size + _TRIAL)
        if damaged.letter != "S" or cost > self._left_for_insertions:
            return None
        self._left_for_insertions -= cost
        for cut in range(start + 1, start + damaged.size + 1):
            chunk = self._content[start:cut] + self._content[cut + n_others : end]
            crc = chunk[-CRC_SIZE:]
            if zlib.crc32(chunk[:-CRC_SIZE]) == int.from_bytes(crc, "little"):
                _, first = unpack_varint(chunk, 1)
                return Chunk("S", damaged.offset, chunk[first:-CRC_SIZE])
        return None


def _size(piece: Chunk | _Damaged) -> int:
    """Return the bytes of a whole chunk."""
    return piece.size if isinstance(piece, _Damaged) else chunk_size(len(piece.payload))


# --- numbering strips ----------------------------------------------------------------------------


def _is_in_place(pieces: Sequence[_Piece], starts: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether nothing was lost or added: all that is not sound begins as the table says."""
    size_at = dict(zip(starts, (*sizes, chunk_size(0)), strict=True))
    last: _Piece | None = None
    for piece in pieces:
        if isinstance(piece, _Gap):
            if not isinstance(last, _Damaged):
                return False
        elif piece.letter not in "SE" or size_at.get(piece.offset) != _size(piece):
            return False
        last = piece
    return isinstance(last, Chunk) and last.letter == "E"


def _placed_by_size(pieces: Sequence[_Piece], sizes: Sequence[int], end: int) -> dict[int, Chunk]:
    """Return by number the strips that can have only one, by their sizes and their order.

    What a file that breaks off, at its end, has before the break is taken to be all there.
    """
    strips = [
        piece
        for piece in pieces
        if not isinstance(piece, _Gap) and piece.letter == "S" and _size(piece) > 0
    ]
    read_sizes = [_size(strip) for strip in strips]
    lowest = _lowest_numbers(read_sizes, sizes)
    mirrored = _lowest_numbers(read_sizes[::-1], sizes[::-1])
    if lowest is None or mirrored is None:  # one of them does not belong here
        return _placed_by_rare_size(strips, sizes)
    highest = [len(sizes) - 1 - number for number in reversed(mirrored)]
    placed = {
        low: strip
        for strip, low, high in zip(strips, lowest, highest, strict=True)
        if low == high and isinstance(strip, Chunk)
    }
    if not any(isinstance(piece, Chunk) and piece.letter == "E" for piece in pieces):
        placed |= _placed_before_break(pieces, sizes, end)
    return placed


def _placed_before_break(
    pieces: Sequence[_Piece], sizes: Sequence[int], end: int
) -> dict[int, Chunk]:
    """Return by number the strips from the first on, if what follows is the next one.

    And only if it is a strip with which the file ends, in its midst or after it.
    """
    run = [piece for piece in takewhile(_is_strip, pieces) if _is_strip(piece)]
    rest = pieces[len(run) :]
    if [_size(strip) for strip in run] != list(sizes[: len(run)]):
        return {}
    if rest:
        first, last = rest[0], rest[-1]
        is_cut = isinstance(last, _Damaged) and (last.size == 0 or last.offset + last.size > end)
        goes_on = isinstance(first, _Damaged) and first.size in (0, *sizes[len(run) :][:1])
        if not goes_on or not (is_cut or _is_strip(last)):
            return {}
    return dict(enumerate(run))


def _lowest_numbers(read_sizes: Sequence[int], sizes: Sequence[int]) -> list[int] | None:
    """Return the lowest numbers that strips of these sizes can have, or None if they have none."""
    numbers_of: dict[int, list[int]] = defaultdict(list)
    for number, size in enumerate(sizes):
        numbers_of[size].append(number)
    lowest: list[int] = []
    for size in read_sizes:
        numbers = numbers_of[size]
        place = bisect_right(numbers, lowest[-1]) if lowest else 0
        if place == len(numbers):
            return None
        lowest.append(numbers[place])
    return lowest


def _placed_by_rare_size(
    strips: Sequence[Chunk | _Damaged], sizes: Sequence[int]
) -> dict[int, Chunk]:
    """Return by number the strips of a size that neither they nor the table have twice."""
    n_found, n_listed = Counter(map(_size, strips)), Counter(sizes)
    number_of = {size: number for number, size in enumerate(sizes)}
    return {
        number_of[_size(strip)]: strip
        for strip in strips
        if isinstance(strip, Chunk) and n_found[_size(strip)] == n_listed[_size(strip)] == 1
    }


def _placed_by_count(pieces: Sequence[_Piece], n_strips: int) -> dict[int, Chunk]:
    """Return by number the strips that can have only one, where no table says their sizes.

    That is all of them if none is missing, else those from the last damage among them up to E.
    """
    strips = [piece for piece in pieces if _is_strip(piece)]
    if n_strips == 1:
        return dict(enumerate(strips)) if len(strips) == 1 else {}
    known = [piece for piece in pieces if not isinstance(piece, Chunk) or piece.letter in "TSE"]
    is_table = [not isinstance(piece, _Gap) and piece.letter == "T" for piece in known]
    after = known[is_table.index(True) + 1 if any(is_table) else 0 :]
    if after and isinstance(after[0], _Gap):  # may be of the table
        del after[0]
    ended = bool(after) and isinstance(after[-1], Chunk) and after[-1].letter == "E"
    if ended:
        del after[-1]
    run = list(takewhile(_is_strip, reversed(after)))
    if len(after) == n_strips and not any(
        isinstance(piece, _Gap) or piece.letter != "S" for piece in after
    ):
        run = after[::-1]
    elif not ended or len(run) == len(after):
        return {}
    return {
        n_strips - 1 - place: strip for place, strip in enumerate(run) if isinstance(strip, Chunk)
    }
