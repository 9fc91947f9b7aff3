"""A .kmq file as a row of chunks: signature, letters, lengths, checksums.

FORMAT.md, next to this file, is the description that counts.
"""

from __future__ import annotations

import os
import sys
import zlib
from typing import BinaryIO, NamedTuple

from kmq.errors import FormatError, InputError, NewerFormatError, located
from kmq.model.file_info import ChunkInfo

SIGNATURE = b"\x8bKMQ\r\n\x1a\n"
SUFFIXES = (".kmq", ".kmqpal")
"""Suffixes of .kmq files: of any picture, and of one that is a palette."""

MAX_VARINT = 2**31 - 1
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
CRITICAL = "HPLTFSE"
CRC_SIZE = 4
_BLOCK = 1 << 20  # bytes read at a time, so that memory follows the file and not its promises
NEWER = "this file needs a newer kmq"
_TEXT_MODE = "was changed on its way, as a transfer in text mode does; copy it in binary mode"


class Chunk(NamedTuple):
    """One chunk: its letter, its offset and its payload."""

    letter: str
    offset: int
    payload: bytes


def is_kmq(file: BinaryIO) -> bool:
    """Whether a file goes on as .kmq files begin; one that can seek is left where it stood."""
    start = file.tell() if file.seekable() else None
    begins = file.read(len(SIGNATURE)) == SIGNATURE
    if start is not None:
        file.seek(start)
    return begins


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


class _Head(NamedTuple):
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
        raise FormatError("not a .kmq file: it does not begin with the signature", offset=0)

    def peek(self) -> _Head:
        """Read letter and length of the next chunk and leave the chunk to be taken."""
        if self._head is None:
            self._head = self._read_head()
            self.chunks.append(ChunkInfo(self._head.letter, self._head.offset, self._head.length))
        return self._head

    def take(self, most: int = MAX_VARINT) -> Chunk:
        """Take the next chunk, whatever it is; keep up to `most` bytes of its payload."""
        head = self.peek()
        checksum = zlib.crc32(head.stored)
        kept, n_kept, missing = [], 0, head.length
        while missing > 0:
            block = self._take(min(missing, _BLOCK), head.letter, head.offset)
            checksum = zlib.crc32(block, checksum)
            missing -= len(block)
            if n_kept < most:
                kept.append(block[: most - n_kept])
                n_kept += len(kept[-1])
        crc = self._take(CRC_SIZE, head.letter, head.offset)
        chunk = Chunk(head.letter, head.offset, b"".join(kept))
        if checksum != int.from_bytes(crc, "little"):
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
