"""Method 1 of coded strips, "rank": see FORMAT.md, section "Method 1: rank".

The kernels walk the pixels; here are the tables that follow from the palette and the layout of a
coded strip: tables of two alphabets, two states, words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kmq import exact
from kmq.errors import FormatError
from kmq.lazily import computed_once
from kmq.model.arrays import Array

MAX_COLORS = 256
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


class _Alphabet(NamedTuple):
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


class _Tables:
    """An alphabet's tables and their buffers; for one strip at a time.

    Attributes:
        counts: (contexts, symbols) uint32 occurrences and (contexts,) uint8 whether there are any;
            all 0 but between counting and writing.
        leaves: (contexts,) uint8 table of each context, after reading.
        bounds: (tables, symbols + 1) int32 where the share of each symbol begins.
        symbols: (tables, 2^scale_bits) uint8 whose share each value belongs to; of the first
            alphabet, which has so few symbols that they are tried one by one, empty.
    """

    def __init__(self, alphabet: _Alphabet):
        self._alphabet = alphabet
        n_symbols, max_leaves = alphabet.n_symbols, alphabet.max_leaves
        n_variables, n_contexts = len(alphabet.radices), int(alphabet.radices.prod())
        self.leaves = np.empty(n_contexts, np.uint8)
        self.bounds = np.empty((max_leaves, n_symbols + 1), np.int32)
        self.symbols = np.empty((0, 0), np.uint8)
        if alphabet.smooth:
            self.symbols = np.empty((max_leaves, 1 << alphabet.scale_bits), np.uint8)
        self._sums = np.empty(n_symbols, np.int64)
        self._spans = np.empty((2, max_leaves + 1, n_variables), np.int64)
        self._digits = np.empty(n_variables, np.int64)

    @computed_once
    def counts(self) -> tuple[Array, Array]:
        n_contexts = len(self.leaves)
        counts = np.zeros((n_contexts, self._alphabet.n_symbols), np.uint32)
        return counts, np.zeros(n_contexts, np.uint8)

    @computed_once
    def _growing(self) -> tuple[tuple[Array, ...], Array, Array]:
        """Scratch of `grow_tree`, nodes and tables."""
        from kmq.kernels.rank_tree import tree_scratch

        alphabet = self._alphabet
        n_symbols, max_leaves = alphabet.n_symbols, alphabet.max_leaves
        shapes = tree_scratch(len(self.leaves), n_symbols, alphabet.radices.tolist(), max_leaves)
        return (
            tuple(np.empty(shape, dtype) for shape, dtype in shapes),
            np.empty((2 * max_leaves, 2), np.int64),
            np.empty((max_leaves, n_symbols), np.int64),
        )

    def write(self, at: int, out_stream: Array) -> int:
        """Write tree and tables for the counts from bit `at` on; return the next bit."""
        from kmq.kernels.rank_tables import write_tables
        from kmq.kernels.rank_tree import grow_tree

        alphabet = self._alphabet
        scratch, nodes, tables = self._growing
        n_nodes = grow_tree(
            *self.counts,
            alphabet.radices,
            _logarithms(),
            alphabet.price * _UNIT,
            scratch,
            nodes,
            tables,
        )
        return int(
            write_tables(
                nodes[:n_nodes],
                tables,
                alphabet.radices,
                _WEIGHTS,
                alphabet.smooth,
                at,
                self._sums,
                out_stream,
            )
        )

    def read(self, stream: Array, at: int) -> int:
        """Read tree and tables; return the next bit or a fault."""
        from kmq.kernels.rank_tables import read_tables

        alphabet = self._alphabet
        return int(
            read_tables(
                stream,
                at,
                alphabet.radices,
                _WEIGHTS,
                alphabet.smooth,
                alphabet.scale_bits,
                self._spans,
                self._digits,
                self._sums,
                self.leaves,
                self.bounds,
                self.symbols,
            )
        )


class _Memory:
    """What a strip is coded in; made once for each thread, and used for one strip after the other.

    Attributes:
        first: tables of the first alphabet.
        second: those of the second.
    """

    def __init__(self, first: _Alphabet, second: _Alphabet, n_colors: int):
        self.first, self.second = _Tables(first), _Tables(second)
        self._order, self._places = np.empty((2, n_colors, n_colors), np.uint8)
        self._pairs = np.empty((n_colors, n_colors), np.uint16)
        self._rows = np.empty((3, 0), np.uint8)
        self._narrow = self._wide = np.empty(0, np.uint32)

    def start(self, shape: tuple[int, ...], order: Array, places: Array) -> tuple[Any, ...]:
        """Return what the kernels walk a strip of (rows, columns) with, as it begins."""
        height, width = shape
        hash_bits = min(16, max(8, (height * width - 1).bit_length()))
        if self._narrow.size < 1 << hash_bits:
            self._narrow, self._wide = np.empty((2, 1 << hash_bits), np.uint32)
        if self._rows.shape[1] < width + 4:
            self._rows = np.empty((3, width + 4), np.uint8)
        np.copyto(self._order, order)
        np.copyto(self._places, places)
        for slots in (self._rows, self._narrow[: 1 << hash_bits], self._wide[: 1 << hash_bits]):
            slots.fill(0)
        self._pairs.fill(0)
        return (
            self._order,
            self._places,
            hash_bits,
            self._rows,
            self._narrow,
            self._wide,
            self._pairs,
        )


class RankCoder:
    """Codes strips of one palette of at most 256 colours; threads may share it."""

    def __init__(self, palette: Array):
        """Derive distances, their levels and the lists of nearest colours; 1 ms at 256."""
        n_colors, n_channels = palette.shape
        square = n_colors, n_colors
        samples = (palette >> 8 if palette.dtype == np.uint16 else palette).astype(np.int32)
        # Arrays of equal shapes and types, here and below: NumPy 2.4 needs no buffers for them, and
        # where it cannot have them ends the process instead of raising MemoryError.
        sums = np.zeros(n_colors * n_colors, np.int32)
        for channel in samples.T:
            sums += np.abs(np.repeat(channel, n_colors) - np.tile(channel, n_colors))
        self._distances = (3 * sums // n_channels).astype(np.uint16).reshape(square)
        self._levels = np.zeros(square, np.uint8)
        for level in _LEVELS:
            self._levels += (self._distances >= level).view(np.uint8)
        keys = self._distances.copy()
        np.fill_diagonal(keys, 0xFFFF)  # a colour ends its own list
        order = np.argsort(keys, axis=1, kind="stable")
        self._order = order.astype(np.uint8)
        self._places = np.argsort(order, axis=1, kind="stable").astype(np.uint8)
        first_radices, second_radices = [22, 5, 2, 2, 2, 2, 2, 2, 8], [8, 8]
        self._first = _Alphabet(np.array(first_radices), 6, 14, 255, False, 26)
        self._second = _Alphabet(
            np.array(second_radices), _token(max(0, n_colors - 2)) + 1, 12, 32, True, 66
        )

        self._spare: list[_Memory] = []

    def encode(self, indices: Array, most_work: int | None = None) -> bytes:
        """Code (rows, width) uint8 indices, C order."""
        with self._memory() as memory:
            return self._encode(indices, memory)

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return the bytes of the shortest tables, the states and the words that must be."""
        return 2 + _STATES + 2 * max(0, -(-n_pixels // PIXELS_PER_WORD) - 2)

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Fill (rows, width) uint8 indices; raise FormatError if the bytes cannot be theirs."""
        with self._memory() as memory:
            self._decode(coded, memory, out_indices)
        return 0

    @contextmanager
    def _memory(self) -> Iterator[_Memory]:
        """Lend memory that no other strip uses."""
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = _Memory(self._first, self._second, len(self._order))
        try:
            yield memory
        finally:
            self._spare.append(memory)

    def _encode(self, indices: Array, memory: _Memory) -> bytes:
        from kmq.kernels import rank as kernels

        indices = indices.view()
        indices.flags.writeable = False  # as those of images are: one kernel for both
        symbols = np.empty(indices.size, np.uint32)
        ranks = np.empty(indices.size, np.uint16)
        first, second = memory.first, memory.second
        n_ranks = kernels.model_strip(
            indices,
            self._levels,
            self._distances,
            *memory.start(indices.shape, self._order, self._places),
            *first.counts,
            *second.counts,
            symbols,
            ranks,
        )
        head = np.zeros(_LONGEST_HEAD, np.uint8)
        middle = first.write(0, head)
        end = second.write(middle, head)
        first.read(head, 0)
        second.read(head, middle)
        states = np.empty(2, np.uint32)
        words = np.empty(indices.size + 2 * n_ranks, np.uint16)
        begin = kernels.encode_symbols(
            symbols,
            ranks[:n_ranks],
            first.leaves,
            first.bounds,
            second.leaves,
            second.bounds,
            words,
            states,
        )
        return b"".join(
            (
                head[: -(-end // 8)].tobytes(),
                states.astype("<u4").tobytes(),
                words[begin:].astype("<u2").tobytes(),
            )
        )

    def _decode(self, coded: memoryview, memory: _Memory, out_indices: Array) -> None:
        from kmq.kernels import rank as kernels

        first, second = memory.first, memory.second
        stream = np.frombuffer(coded[:_LONGEST_HEAD], np.uint8).copy()
        middle = first.read(stream, 0)
        _check(middle)
        end = second.read(stream, middle)
        _check(end)
        begin = -(-end // 8)
        if stream[begin - 1] & (1 << -end % 8) - 1:
            raise FormatError("the last byte of a strip's tables is not filled up with zeros")
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
                first.leaves,
                first.bounds,
                second.leaves,
                second.bounds,
                second.symbols,
                self._levels,
                self._distances,
                *memory.start(out_indices.shape, self._order, self._places),
                out_indices,
            )
        )


def _token(rank: int) -> int:
    """Symbol of a rank: itself up to 15, then two for each octave."""
    if rank < 16:
        return rank
    bits = rank.bit_length() - 2
    return 10 + 2 * bits + (rank >> bits & 1)


@cache
def _logarithms() -> Array:
    """log2 of 0 (as 0), 1, … 4,096 in 2^-16 bits, to weigh tables; only the encoder needs it."""
    return np.round(exact.log2(np.maximum(1, np.arange(4097))) * _UNIT).astype(np.int64)


def _check(status: int) -> None:
    if status < 0:
        raise FormatError(f"a strip is damaged: {_FAULTS[status]}")
