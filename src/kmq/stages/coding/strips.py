"""Palette and indices as bytes: the methods of chunks P and S, described in FORMAT.md.

Each chunk names its method in its first byte. A method is one entry of `PALETTE_METHODS` or
`STRIP_METHODS`; a new one is a new entry, and files that use it ask older readers for a newer kmq.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from kmq.deflate import MOST_EXPANSION, deflate, inflate_exactly
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError, located
from kmq.model.file_info import MAX_STRIPS, StripInfo
from kmq.model.image import MAX_COLORS, index_dtype
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import mix, palettes, rank
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

MethodName = Literal["deflate", "rank", "mix"]

_BLOCK = 1 << 16  # indices packed at a time; a multiple of 8, so that blocks end with a byte
_HEAD = 5  # bytes of a strip's method and checksum
_SMALL = 1 << 16  # bytes that are deflated as well as zlib can, since it takes no time


# --- palette -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PaletteMethod:
    """One way to code a palette.

    Attributes:
        encode: (k, channels) uint8 or uint16 → bytes, or None for a palette it is not for.
        decode: bytes, k, pixel format → (k, channels); raises FormatError.
    """

    encode: Callable[[Array], bytes | None]
    decode: Callable[[bytes, int, PixelFormat], Array]


def encode_palette(palette: Array) -> bytes:
    """Return the payload of chunk P: whichever method is shortest, the lowest of equals."""
    coded = ((code, method.encode(palette)) for code, method in PALETTE_METHODS.items())
    return min((bytes([code]) + entries for code, entries in coded if entries is not None), key=len)


def decode_palette(payload: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    """Return the (k, channels) palette of a payload of chunk P.

    Raises:
        FormatError: it is damaged, or its method is unknown.
    """
    if not payload:
        raise FormatError("the palette has no method")
    method = PALETTE_METHODS.get(payload[0])
    if method is None:
        raise NewerFormatError(
            f"this file needs a newer kmq: its palette is coded by method {payload[0]}"
        )
    palette = method.decode(payload[1:], n_colors, pixel_format)
    if palette.max() > pixel_format.max_value:
        raise FormatError(
            f"the palette has a sample of {palette.max()}; "
            f"pixel format {pixel_format.label} goes up to {pixel_format.max_value}"
        )
    return palette


def _encode_plain(palette: Array) -> bytes:
    return palette.astype(palette.dtype.newbyteorder("<")).tobytes()


def _decode_plain(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    size = n_colors * pixel_format.channels * pixel_format.dtype.itemsize
    if len(coded) != size:
        raise FormatError(f"the palette has {len(coded)} bytes; its colours need {size}")
    samples = np.frombuffer(coded, pixel_format.dtype.newbyteorder("<"))
    return samples.astype(pixel_format.dtype).reshape(n_colors, pixel_format.channels)


def _encode_differences(palette: Array) -> bytes:
    rows = np.diff(palette, axis=0, prepend=palette.dtype.type(0)).T
    planes = rows.astype(palette.dtype.newbyteorder(">"), order="C").view(np.uint8)
    split = planes.reshape(palette.shape[1], len(palette), palette.dtype.itemsize)
    return deflate(split.transpose(0, 2, 1).tobytes())


def _decode_differences(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    dtype, channels = pixel_format.dtype, pixel_format.channels
    content = inflate_exactly(coded, n_colors * channels * dtype.itemsize)
    split = np.frombuffer(content, np.uint8).reshape(channels, dtype.itemsize, n_colors)
    planes = np.ascontiguousarray(split.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    rows = planes.reshape(channels, n_colors).astype(dtype)
    return np.ascontiguousarray(np.cumsum(rows, axis=1, dtype=dtype).T)  # wraps, as it should


def _decode_tree(coded: bytes, n_colors: int, pixel_format: PixelFormat) -> Array:
    return palettes.decode(coded, n_colors, pixel_format.channels, pixel_format.dtype)


PALETTE_METHODS = {
    0: PaletteMethod(_encode_plain, _decode_plain),
    1: PaletteMethod(_encode_differences, _decode_differences),
    2: PaletteMethod(palettes.encode, _decode_tree),
}
"""Code in the first byte of chunk P → method."""


# --- strips --------------------------------------------------------------------------------------


class StripCoder(Protocol):
    """Codes strips of one palette; used by several threads at once.

    Work is what a strip takes beyond what its size promises, in decisions of method "mix"; other
    methods take none.
    """

    def encode(self, indices: Array, most_work: int | None = None) -> bytes | None:
        """Code (rows, width) indices, C order, of the palette's index type.

        Return None if it took more work than that to decode them.
        """

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return how many coded bytes that many pixels take at the very least."""

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Fill (rows, width) indices; return the work, or as soon as it is known to be more than
        `most_work`, some that is more; raise FormatError if the bytes cannot be theirs.
        """


@dataclass(frozen=True)
class StripMethod:
    """One way to code a strip.

    Attributes:
        code: the first byte of the payload of chunk S.
        name: what `method=` calls it.
        strip_pixels: pixels of a strip, about, unless the caller says otherwise.
        prepare: makes the coder for a (k, channels) palette, once per file.
        most_colors: most entries of a palette it is for.
    """

    code: int
    name: MethodName
    strip_pixels: int
    prepare: Callable[[Array], StripCoder]
    most_colors: int = MAX_COLORS


def index_bits(n_colors: int) -> int:
    """Bits that number the colours of a palette: ⌈log2 k⌉."""
    return (n_colors - 1).bit_length()


class DeflateCoder:
    """Method 0: indices packed to ⌈log2 k⌉ bits each, then deflated."""

    def __init__(self, palette: Array):
        self._n_bits = index_bits(len(palette))

    def encode(self, indices: Array, most_work: int | None = None) -> bytes:
        """Pack and deflate."""
        if self._n_bits == 0:
            return b""
        packed = pack_bits(indices.reshape(-1), self._n_bits)
        return deflate(packed, level=9 if len(packed) <= _SMALL else 6)

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return what deflate needs at its best."""
        return -(-self._packed_size(n_pixels) // MOST_EXPANSION)

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Inflate and unpack."""
        if self._n_bits == 0:
            if coded:
                raise FormatError("a strip of one colour has coded bytes; it needs none")
            out_indices.fill(0)
            return 0
        packed = inflate_exactly(coded, self._packed_size(out_indices.size))
        unused = -out_indices.size * self._n_bits % 8
        if packed[-1] & (1 << unused) - 1:
            raise FormatError("the last byte of a strip is not filled up with zeros")
        unpack_bits(packed, self._n_bits, out_indices.reshape(-1))
        return 0

    def _packed_size(self, n_pixels: int) -> int:
        return -(-n_pixels * self._n_bits // 8)


def pack_bits(indices: Array, n_bits: int) -> bytes:
    """Write (n,) uint8 or uint16 indices as `n_bits` bits each, most significant bit first."""
    width = 8 * indices.itemsize
    blocks = []
    for start in range(0, indices.size, _BLOCK):
        block = indices[start : start + _BLOCK]
        stored = block.astype(block.dtype.newbyteorder(">"), copy=False).view(np.uint8)
        bits = np.unpackbits(stored).reshape(-1, width)
        blocks.append(np.packbits(bits[:, width - n_bits :]).tobytes())
    return b"".join(blocks)


def unpack_bits(packed: bytes, n_bits: int, out_indices: Array) -> None:
    """Fill (n,) uint8 or uint16 indices from `n_bits` bits each, most significant bit first."""
    width = 8 * out_indices.itemsize
    stored = np.frombuffer(packed, np.uint8)
    for start in range(0, out_indices.size, _BLOCK):
        out_block = out_indices[start : start + _BLOCK]
        first = start * n_bits // 8
        bits = np.zeros((out_block.size, width), np.uint8)
        bits[:, width - n_bits :] = np.unpackbits(
            stored[first : first + _BLOCK * n_bits // 8], count=out_block.size * n_bits
        ).reshape(-1, n_bits)
        out_block[:] = np.packbits(bits).view(out_block.dtype.newbyteorder(">"))


STRIP_METHODS = (
    StripMethod(0, "deflate", 1 << 18, DeflateCoder),
    StripMethod(1, "rank", 1 << 20, rank.RankCoder, rank.MOST_COLORS),
    StripMethod(2, "mix", 1 << 21, mix.MixCoder),
)
"""What a strip can be coded by."""

_MIX_PIXELS = 1 << 21
"""Pixels up to which "balanced" has "mix"."""

_LEAST_HALF = 1 << 17
"""Pixels from which half a picture is a strip. Two cores then share it, for 1 % of its size if it
is a photograph, 5 % if it is drawn; four strips would cost twice that."""

_FEW_PIXELS = 1 << 16
"""Pixels up to which "rank" may be smaller than "mix", which has to learn: by up to 9 %."""


def strip_method(name: str) -> StripMethod:
    """Look a method up by its name.

    Raises:
        InputError: there is none of that name.
    """
    for method in STRIP_METHODS:
        if method.name == name:
            return method
    names = ", ".join(method.name for method in STRIP_METHODS)
    raise InputError(f"there is no method {name!r}; kmq has {names}")


@dataclass(frozen=True)
class StripPlan:
    """How the strips of a picture are to be coded.

    Attributes:
        methods: those to try on each strip, of which the smallest result is kept.
        strip_pixels: pixels of a strip, about.
    """

    methods: tuple[StripMethod, ...]
    strip_pixels: int


def plan_strips(name: str | None, effort: str, n_pixels: int, n_colors: int) -> StripPlan:
    """Choose methods and strips by the name of a method, or by effort if it is None.

    "mix" is the smallest and "rank" ten times as fast, so "balanced" has "mix" for pictures up to
    two megapixels, and "best" always. Such pictures are cut in two, unless they are to be as
    small as can be.

    Raises:
        InputError: there is no method of that name.
    """
    if name is not None:
        method = strip_method(name)
        return StripPlan((method,), method.strip_pixels)
    deflate, mix = strip_method("deflate"), strip_method("mix")
    quick = _quick_methods(n_colors)
    methods = (mix, *quick) if n_pixels <= _FEW_PIXELS else (mix, deflate)
    if effort == "fast" or (effort == "balanced" and n_pixels > _MIX_PIXELS):
        methods = quick
    small = effort != "best" and n_pixels <= _MIX_PIXELS
    strip_pixels = max(n_pixels // 2, _LEAST_HALF) if small else methods[0].strip_pixels
    return StripPlan(methods, strip_pixels)


def _quick_methods(n_colors: int) -> tuple[StripMethod, ...]:
    deflate, rank = strip_method("deflate"), strip_method("rank")
    return (rank, deflate) if n_colors <= rank.most_colors else (deflate,)


def even_strip_height(height: int, width: int, strip_pixels: int) -> int:
    """Return the rows of strips of about `strip_pixels` pixels and about equal size."""
    n_strips = min(max(1, round(height * width / strip_pixels)), height, MAX_STRIPS)
    return -(-height // n_strips)


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
            best = _smallest(_prepared(_quick_methods(len(palette)), palette), strip, share)
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
    decoder = _StripDecoder(palette, width, most_work)
    for strip, payload in zip(strips, payloads, strict=True):
        decoder.admit(strip, payload)
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
        (height, width) indices; what is wrong with a strip by its place in `strips`.

    Raises:
        LimitError: they take more work than that.
    """
    decoder = _StripDecoder(palette, shape[1], most_work)
    indices = np.zeros(shape, index_dtype(len(palette)))
    faults: dict[int, str] = {}  # not errors: their tracebacks hold this frame and those below
    sound = []
    for number, (strip, payload) in enumerate(zip(strips, payloads, strict=True)):
        try:
            decoder.admit(strip, payload)
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


class _StripDecoder:
    """Decodes strips of one palette and width that it has admitted; threads may share it."""

    def __init__(self, palette: Array, width: int, most_work: int):
        self._palette = palette
        self._width = width
        self._most_work = self._left = most_work
        self._lock = threading.Lock()
        self._coders: dict[int, StripCoder] = {}

    def admit(self, strip: StripInfo, payload: bytes) -> None:
        """Raise FormatError where a strip's method is unknown or it is too short for its pixels."""
        with located("S", strip.offset):
            if strip.method not in self._coders:
                self._coders[strip.method] = self._prepared(strip.method)
            fewest = self._coders[strip.method].fewest_bytes(strip.height * self._width)
            if len(payload) - _HEAD < fewest:
                raise FormatError(
                    f"{len(payload) - _HEAD} coded bytes cannot hold "
                    f"{strip.height} x {self._width} pixels"
                )

    def decode(self, strip: StripInfo, payload: bytes, out_indices: Array) -> None:
        """Fill (rows, width) indices.

        Raises:
            FormatError: the strip is damaged.
            LimitError: all strips up to now took more work than there is to be.
        """
        with located("S", strip.offset):
            coded = memoryview(payload)[_HEAD:]
            work = self._coders[strip.method].decode(coded, out_indices, self._left)
            with self._lock:
                self._left -= work
            if self._left < 0:
                raise LimitError(
                    f"the strips take more than {self._most_work} decisions beyond "
                    f"{mix.PAID_DECISIONS} for each of their bytes; kmq.Limits(decisions=…) sets "
                    "that limit"
                )
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
