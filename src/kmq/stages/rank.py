"""Method 1 of coded strips, "rank": see FORMAT.md, section "Method 1: rank".

The kernels walk the pixels; here are the tables that follow from the palette and the layout of a
coded strip: tables of two alphabets, two states, words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from kmq import exact
from kmq.errors import FormatError

Array = np.ndarray[Any, Any]

MOST_COLORS = 256
"""Colours of a palette this method is for: its tables are square."""

PIXELS_PER_WORD = 46_400
"""Most pixels that a word can stand for; derived in FORMAT.md."""

_LEVELS = (11, 20, 34, 59, 102, 178, 300)
_WEIGHTS = np.array([0, *((math.isqrt(1024 << step) + 1) // 2 for step in range(31))])
_STATES = 8  # bytes of the two states
_LONGEST_HEAD = 16_384  # bytes that hold any tables
_UNIT = 1 << 16  # the kernels count information in 2^-16 bits

_FAULTS = {
    -1: "its coded bytes end too early",
    -2: "its tables break a rule",
    -3: "a rank is beyond the palette",
    -4: "its coded bytes do not end where its pixels do",
}


@dataclass(frozen=True)
class _Alphabet:
    """One of the two kinds of symbols, and how its contexts and tables are written.

    Attributes:
        radices: values of each variable of a context.
        n_symbols: symbols.
        scale_bits: their shares count in 2^-scale_bits.
        max_leaves: most tables.
        smooth: whether a code is written as the difference to the one before it.
        price: bits that one more leaf costs, about.
    """

    radices: Array
    n_symbols: int
    scale_bits: int
    max_leaves: int
    smooth: bool
    price: int

    def counts(self) -> Array:
        """Return zeros for each context and symbol."""
        return np.zeros((int(self.radices.prod()), self.n_symbols), np.uint32)

    def write(self, counts: Array, at: int, out_stream: Array) -> int:
        """Write tree and tables for these counts from bit `at` on; return the next bit."""
        from kmq.kernels import rank as kernels

        nodes = np.empty((2 * self.max_leaves, 2), np.int64)
        tables = np.empty((self.max_leaves, self.n_symbols), np.int64)
        sums = np.empty(self.n_symbols, np.int64)
        radices = self.radices.tolist()
        shapes = kernels.tree_scratch(len(counts), self.n_symbols, radices, self.max_leaves)
        scratch: tuple[Array, ...] = tuple(np.empty(shape, dtype) for shape, dtype in shapes)
        n_nodes = kernels.grow_tree(
            counts, self.radices, _logarithms(), self.price * _UNIT, scratch, nodes, tables
        )
        return int(
            kernels.write_tables(
                nodes[:n_nodes], tables, self.radices, _WEIGHTS, self.smooth, at, sums, out_stream
            )
        )

    def read(self, stream: Array, at: int) -> tuple[int, Array, Array]:
        """Read them; return the next bit or a fault, the leaf of each context, the bounds."""
        from kmq.kernels import rank as kernels

        leaves = np.empty(int(self.radices.prod()), np.uint8)
        bounds = np.zeros((self.max_leaves, self.n_symbols + 1), np.int32)
        end = kernels.read_tables(
            stream,
            at,
            self.radices,
            _WEIGHTS,
            self.smooth,
            self.scale_bits,
            np.empty((2, self.max_leaves + 1, len(self.radices)), np.int64),
            np.empty(len(self.radices), np.int64),
            np.empty(self.n_symbols, np.int64),
            leaves,
            bounds,
        )
        return int(end), leaves, bounds


class RankCoder:
    """Codes strips of one palette of at most 256 colours; threads may share it."""

    def __init__(self, palette: Array):
        """Derive distances, their levels and the lists of nearest colours; 1 ms at 256."""
        n_colors, n_channels = palette.shape
        samples = (palette >> 8 if palette.dtype == np.uint16 else palette).astype(np.int32)
        sums = np.zeros((n_colors, n_colors), np.int32)
        for channel in samples.T:
            sums += np.abs(channel[:, None] - channel[None, :])
        self._distances = (3 * sums // n_channels).astype(np.uint16)
        self._levels = np.zeros((n_colors, n_colors), np.uint8)
        for level in _LEVELS:
            self._levels += self._distances >= level
        keys = self._distances.copy()
        np.fill_diagonal(keys, 0xFFFF)  # a colour ends its own list
        self._order = np.argsort(keys, axis=1, kind="stable").astype(np.uint8)
        self._places = np.empty_like(self._order)
        numbers = np.arange(n_colors, dtype=np.uint8)[None, :]
        np.put_along_axis(self._places, self._order.astype(np.int64), numbers, axis=1)
        first_radices, second_radices = [22, 5, 2, 2, 2, 2, 2, 2, 8], [8, 8]
        self._first = _Alphabet(np.array(first_radices), 6, 14, 255, False, 26)
        self._second = _Alphabet(
            np.array(second_radices), _token(max(0, n_colors - 2)) + 1, 12, 32, True, 66
        )

    def encode(self, indices: Array) -> bytes:
        """Code (rows, width) uint8 indices, C order."""
        from kmq.kernels import rank as kernels

        indices = indices.view()
        indices.flags.writeable = False  # as those of images are: one kernel for both
        first = np.empty(indices.size, np.uint32)
        second = np.empty(indices.size, np.uint16)
        first_counts, second_counts = self._first.counts(), self._second.counts()
        n_second = kernels.model_strip(
            indices, *self._start(*indices.shape), first_counts, second_counts, first, second
        )
        head = np.zeros(_LONGEST_HEAD, np.uint8)
        middle = self._first.write(first_counts, 0, head)
        end = self._second.write(second_counts, middle, head)
        tables = (*self._first.read(head, 0)[1:], *self._second.read(head, middle)[1:])
        states = np.empty(2, np.uint32)
        words = np.empty(indices.size + 2 * n_second, np.uint16)
        begin = kernels.encode_symbols(first, second[:n_second], *tables, words, states)
        return b"".join(
            (
                head[: -(-end // 8)].tobytes(),
                states.astype("<u4").tobytes(),
                words[begin:].astype("<u2").tobytes(),
            )
        )

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return the bytes of the shortest tables, the states and the words that must be."""
        return 2 + _STATES + 2 * max(0, -(-n_pixels // PIXELS_PER_WORD) - 2)

    def decode(self, coded: memoryview, out_indices: Array) -> None:
        """Fill (rows, width) uint8 indices; raise FormatError if the bytes cannot be theirs."""
        from kmq.kernels import rank as kernels

        stream = np.frombuffer(coded[:_LONGEST_HEAD], np.uint8).copy()
        middle, *first_tables = self._first.read(stream, 0)
        _check(middle)
        end, *second_tables = self._second.read(stream, middle)
        _check(end)
        begin = -(-end // 8)
        if len(coded) < begin + _STATES or (len(coded) - begin) % 2:
            _check(kernels.TRUNCATED)
        state_a, state_b = np.frombuffer(coded, "<u4", 2, begin).tolist()
        if min(state_a, state_b) < kernels.STATE_LOW:
            _check(kernels.BAD_END)
        words = np.frombuffer(coded, "<u2", offset=begin + _STATES).astype(np.uint16)
        _check(
            kernels.decode_strip(
                state_a,
                state_b,
                words,
                *first_tables,
                *second_tables,
                _token_of_value(second_tables[1]),
                *self._start(*out_indices.shape),
                out_indices,
            )
        )

    def _start(self, height: int, width: int) -> tuple[Any, ...]:
        """Return what the kernels walk with: the palette's tables, and memory of a fresh strip."""
        hash_bits = min(16, max(8, (height * width - 1).bit_length()))
        return (
            self._levels,
            self._distances,
            self._order.copy(),
            self._places.copy(),
            hash_bits,
            np.zeros((3, width + 4), np.uint8),
            np.zeros(1 << hash_bits, np.uint32),
            np.zeros(1 << hash_bits, np.uint32),
            np.zeros(self._order.shape, np.uint16),
        )


def _token(rank: int) -> int:
    """Symbol of a rank: itself up to 15, then two for each octave."""
    if rank < 16:
        return rank
    bits = rank.bit_length() - 2
    return 10 + 2 * bits + (rank >> bits & 1)


def _token_of_value(bounds: Array) -> Array:
    """Return for each leaf (with bounds) which symbol each of the 4,096 values belongs to."""
    used = bounds[bounds[:, -1] > 0]
    symbols = np.tile(np.arange(bounds.shape[1] - 1, dtype=np.uint8), len(used))
    return np.repeat(symbols, np.diff(used, axis=1).reshape(-1)).reshape(len(used), -1)


@cache
def _logarithms() -> Array:
    """log2 of 0 (as 0), 1, … 4,096 in 2^-16 bits, to weigh tables; only the encoder needs it."""
    return np.round(exact.log2(np.maximum(1, np.arange(4097))) * _UNIT).astype(np.int64)


def _check(status: int) -> None:
    if status < 0:
        raise FormatError(f"a strip is damaged: {_FAULTS[status]}")
