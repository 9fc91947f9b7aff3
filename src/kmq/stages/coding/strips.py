"""Indices as bytes: the strips of a picture, each coded by a method that its first byte names."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence

import numpy as np

from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, located
from kmq.model.arrays import Array
from kmq.model.file_info import StripInfo
from kmq.model.image import index_dtype
from kmq.stages.coding import mix
from kmq.stages.coding.methods import STRIP_METHODS, StripCoder, StripMethod, quick_methods
from kmq.threads import run_chunks

_HEAD = 5  # bytes of a strip's method and checksum


def encode_strips(
    indices: Array,
    palette: Array,
    methods: Sequence[StripMethod],
    strip_height: int,
    most_work: int,
    n_threads: int,
) -> list[bytes]:
    """Return the payload of chunk S for each strip, top to bottom, by the method that suits it.

    Each strip has its share of the work that decoding may take. Where that is not enough for any of
    the methods, a quick one takes its place.

    Raises:
        InputError: the palette has more colours than a method is for.
    """
    for method in methods:
        if len(palette) > method.most_colors:
            raise InputError(
                f"palette has {len(palette)} colours; "
                f"method {method.name!r} is for up to {method.most_colors}"
            )
    coders = _prepared(methods, palette)
    n_strips = -(-len(indices) // strip_height)
    payloads = [b""] * n_strips

    def encode(number: int) -> None:
        strip = indices[number * strip_height : (number + 1) * strip_height]
        share = most_work * strip.size // indices.size
        best = _smallest(coders, strip, share)
        if best is None:
            best = _smallest(_prepared(quick_methods(len(palette)), palette), strip, share)
        assert best is not None  # noqa: S101  # deflate takes no work
        code, coded = best
        payloads[number] = bytes([code]) + checksum(strip).to_bytes(4, "little") + coded

    run_chunks(encode, n_strips, n_threads)
    return payloads


def _prepared(
    methods: Sequence[StripMethod], palette: Array
) -> list[tuple[StripMethod, StripCoder]]:
    return [(method, method.prepare(palette)) for method in methods]


def _smallest(
    coders: Sequence[tuple[StripMethod, StripCoder]], strip: Array, most_work: int
) -> tuple[int, bytes] | None:
    """Return the code of the method whose result is smallest, the first of equals, and the result.

    Deflate is tried after others only where they say that the strip repeats: elsewhere it cannot
    win, and takes longer than "rank".
    """
    best: tuple[int, bytes] | None = None
    for method, coder in coders:
        if best is not None and method.name == "deflate" and len(best[1]) > strip.size // 16:
            continue
        coded = coder.encode(strip, most_work)
        if coded is not None and (best is None or len(coded) < len(best[1])):
            best = method.code, coded
    return best


def decode_strips(
    strips: Sequence[StripInfo],
    payloads: Sequence[bytes],
    palette: Array,
    width: int,
    most_work: int,
    n_threads: int,
) -> Array:
    """Return the (rows, width) indices that strips, one below the other, hold.

    Raises:
        FormatError: a strip is damaged, or its method is unknown.
        LimitError: they take more work than that.
    """
    decoder = StripDecoder(palette, Work(most_work))
    for strip, payload in zip(strips, payloads, strict=True):
        decoder.admit(strip, payload, width)
    top, last = strips[0].row, strips[-1]
    indices = np.empty((last.row + last.height - top, width), index_dtype(len(palette)))

    def decode(number: int) -> None:
        row, height = strips[number].row - top, strips[number].height
        decoder.decode(strips[number], payloads[number], indices[row : row + height])

    run_chunks(decode, len(strips), n_threads)
    return indices


def salvage_strips(
    strips: Sequence[StripInfo],
    payloads: Sequence[bytes],
    palette: Array,
    shape: tuple[int, int],
    most_work: int,
    n_threads: int,
) -> tuple[Array, dict[int, str]]:
    """Decode the strips that can be, and leave 0 in all other rows of a picture of that shape.

    Returns:
        (height, width) indices; the fault of each damaged strip, by its place in `strips`.

    Raises:
        LimitError: they take more work than that.
    """
    decoder = StripDecoder(palette, Work(most_work))
    indices = np.zeros(shape, index_dtype(len(palette)))
    faults: dict[int, str] = {}  # not errors: their tracebacks hold this frame and those below
    sound = []
    for number, (strip, payload) in enumerate(zip(strips, payloads, strict=True)):
        try:
            decoder.admit(strip, payload, shape[1])
            sound.append(number)
        except FormatError as error:
            faults[number] = str(error)

    def decode(turn: int) -> None:
        number = sound[turn]
        row, height = strips[number].row, strips[number].height
        out_indices = indices[row : row + height]
        try:
            decoder.decode(strips[number], payloads[number], out_indices)
        except LimitError:
            raise
        except FormatError as error:
            faults[number] = str(error)
            out_indices.fill(0)

    run_chunks(decode, len(sound), n_threads)
    return indices, faults


class Work:
    """How much work decoding may take; threads may share it.

    Attributes:
        left: what is left of it.
    """

    def __init__(self, most: int):
        self._most = self.left = most
        self._lock = threading.Lock()

    def spend(self, work: int) -> None:
        """Take some of it; raise LimitError if that is more than is left."""
        with self._lock:
            self.left -= work
        if self.left < 0:
            raise LimitError(
                f"the strips take more than {self._most} decisions beyond {mix.PAID_DECISIONS} for "
                "each of their bytes; kmq.Limits(decisions=…) or --max-work sets that limit"
            )


class StripDecoder:
    """Decodes strips of one palette that it has admitted; threads may share it."""

    def __init__(self, palette: Array, work: Work):
        self._palette = palette
        self._work = work
        self._coders: dict[int, StripCoder] = {}

    def admit(self, strip: StripInfo, payload: bytes, width: int) -> None:
        """Raise FormatError where a strip's method is unknown or it is too short for its pixels."""
        with located("S", strip.offset):
            if strip.method not in self._coders:
                self._coders[strip.method] = self._prepared(strip.method)
            fewest = self._coders[strip.method].fewest_bytes(strip.height * width)
            if len(payload) - _HEAD < fewest:
                raise FormatError(
                    f"{len(payload) - _HEAD} coded bytes cannot hold "
                    f"{strip.height} x {width} pixels"
                )

    def decode(self, strip: StripInfo, payload: bytes, out_indices: Array) -> None:
        """Fill (rows, width) indices.

        Raises:
            FormatError: the strip is damaged.
            LimitError: the strips so far took more work than the limit.
        """
        with located("S", strip.offset):
            coded = memoryview(payload)[_HEAD:]
            work = self._coders[strip.method].decode(coded, out_indices, self._work.left)
            self._work.spend(work)
            _check_strip(out_indices, len(self._palette), payload[1:_HEAD])

    def _prepared(self, code: int) -> StripCoder:
        for method in STRIP_METHODS:
            if method.code == code:
                break
        else:
            raise NewerFormatError(
                f"this file needs a newer kmq: a strip is coded by method {code}"
            )
        if len(self._palette) > method.most_colors:
            raise FormatError(
                f"a strip is coded by method {code}, which is for palettes of up to "
                f"{method.most_colors} colours; this one has {len(self._palette)}"
            )
        return method.prepare(self._palette)


def checksum(indices: Array) -> int:
    """CRC-32 of indices as bytes, uint16 lowest byte first."""
    stored = indices.astype(indices.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(stored.reshape(-1).view(np.uint8).data)


def _check_strip(indices: Array, n_colors: int, stored_checksum: bytes) -> None:
    if checksum(indices) != int.from_bytes(stored_checksum, "little"):
        raise FormatError("the strip is damaged: the checksum of its indices does not agree")
    largest = int(indices.max())
    if largest >= n_colors:
        raise FormatError(f"an index is {largest}; the palette has {n_colors} colours, from 0")
