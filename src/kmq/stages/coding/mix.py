"""Method 2 of coded strips, "mix": see FORMAT.md, section "Method 2: mix".

The kernel codes and decodes; here are the tables that follow from the palette, and the fresh ones
that each strip begins with. All on integers below 2^53, whatever the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from kmq.errors import FormatError
from kmq.model.arrays import Array

PIXELS_PER_BYTE = 16_384
"""More pixels than a coded byte can stand for: a decision takes log2(65536 / 65512) bits."""

PAID_DECISIONS = 64
"""Decisions that each coded byte pays for. Photographs take 16 to 50, or 90 if colours are few."""

_MOST_LINES = 16  # log2
_DEEPEST = 7  # decisions whose nodes have dense rows of their own
_NARROW, _WIDE = np.empty((0, 0), np.uint8), np.empty((0, 0), np.uint16)
_NO_MATTER = 1 << 60  # decisions that no strip takes
_CACHE_LINE = 64  # bytes


class Tree(NamedTuple):
    """Which decisions name a colour: a binary tree that halves the palette again and again.

    Attributes:
        root: topmost node, 0 for a palette of one colour.
        leaves: (k,) int32 colour of each leaf, left to right.
        ranks: (k,) int32 leaf of each colour.
        children: (k, 2) int32 where decisions 0 and 1 lead: a node, or k + a leaf.
        depths: (k,) int64 decisions above each node; that of node 0 is 0.
        planes: (k, 8) int32: four coefficients and a constant that measure a colour; three zeros.
        shades: (k, 4) int32 colours, 0 to 4095.
    """

    root: int
    leaves: Array
    ranks: Array
    children: Array
    depths: Array
    planes: Array
    shades: Array


def build_tree(palette: Array) -> Tree:
    """Halve a (k, channels) palette along its longest axis, level by level."""
    from kmq.kernels.mix_tree import halve_palette, tree_scratch

    n_colors = len(palette)
    shades = np.zeros((n_colors, 4), np.int32)
    shades[:, : palette.shape[1]] = palette
    shades = shades << 4 if palette.dtype == np.uint8 else shades >> 4
    leaves, ranks = np.empty(n_colors, np.int32), np.empty(n_colors, np.int32)
    children = np.empty((n_colors, 2), np.int32)
    depths = np.empty(n_colors, np.int64)
    planes = np.zeros((n_colors, 8), np.int32)
    halve_palette(shades, _arrays(tree_scratch(n_colors)), leaves, children, depths, planes)
    ranks[leaves] = np.arange(n_colors, dtype=np.int32)
    root = (n_colors + 1) // 2 if n_colors > 1 else 0
    return Tree(root, leaves, ranks, children, depths, planes, shades)


def _arrays(shapes: Iterable[tuple[tuple[int, ...], type]]) -> tuple[Array, ...]:
    """Return arrays that begin where a line of the processor's cache does."""
    return tuple(_aligned(shape, np.dtype(dtype)) for shape, dtype in shapes)


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + _CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % _CACHE_LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def _kernels() -> ModuleType:
    from kmq.kernels import mix

    return mix


@cache
def curves() -> tuple[Array, Array, Array]:
    """Return squash, stretch and rates: the same for each file."""
    from kmq.kernels._decisions import REACH

    falling = [1 << 26]
    for _ in range(REACH):
        falling.append((falling[-1] * 16_711_808 + (1 << 23)) >> 24)
    upper = [((1 << 42) + ((1 << 26) + e) // 2) // ((1 << 26) + e) for e in falling]
    squash = np.array([65_536 - p for p in upper[:0:-1]] + upper, np.uint16)
    stretch = np.searchsorted(squash, 16 * np.arange(4096) + 8) - REACH
    stretch = np.minimum(stretch, REACH).astype(np.int16)
    stretch[2048] = 0
    hashed = [10 * 16_384 // (10 * n + 16) for n in range(15)] + [512]
    dense = [10 * 16_384 // (10 * n + 16) for n in range(512)]
    return squash, stretch, np.array(hashed + dense, np.int16)


class _Layout(NamedTuple):
    """What the size of a strip says about its tables.

    Attributes:
        line_bits: log2 of the lines of each context.
        rows: (k,) int32 row of the dense table that each node uses.
        n_rows: rows of the dense table.
    """

    line_bits: int
    rows: Array
    n_rows: int


class MixCoder:
    """Codes strips of one palette by mixing predictions; threads may share it.

    Tables are made once for each thread, and used for one strip after the other.
    """

    def __init__(self, palette: Array):
        self._n_colors = len(palette)
        self._tree = build_tree(palette)
        n_bits = max((self._n_colors - 1).bit_length(), 1)
        self._group = -(-n_bits // -(-n_bits // 4))
        self._layouts: dict[int, _Layout] = {}
        self._spare: list[tuple[Array, ...]] = []

    def encode(self, indices: Array, most_work: int | None = None) -> bytes | None:
        """Code (height, width) indices; return None if they take more work than that to decode.

        Work is the decisions beyond PAID_DECISIONS for each coded byte.
        """
        most_work = _NO_MATTER if most_work is None else most_work
        if self._n_colors == 1:
            return b""
        n_bits = (self._n_colors - 1).bit_length()
        for bits_per_decision in (2, 12):  # more than enough, and more than there can be
            coded = np.empty(indices.size * bits_per_decision * (n_bits + 1) // 8 + 64, np.uint8)
            n_coded, n_decisions = self._run(False, _NO_MATTER, coded, indices.copy())
            if n_coded >= 0:
                break
        if n_decisions > most_work + PAID_DECISIONS * n_coded:
            return None
        return coded[:n_coded].tobytes()

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return how many coded bytes that many pixels take at the very least."""
        return 0 if self._n_colors == 1 else max(0, n_pixels // PIXELS_PER_BYTE - 4)

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Fill (height, width) indices; return the work, or some that is more than `most_work`.

        Raises:
            FormatError: the coded bytes do not end where their pixels do.
        """
        most_work = _NO_MATTER if most_work is None else min(most_work, _NO_MATTER)
        if self._n_colors == 1:
            if coded:
                raise FormatError("a strip of one colour has coded bytes; it needs none")
            out_indices.fill(0)
            return 0
        paid = PAID_DECISIONS * len(coded)
        status, n_decisions = self._run(
            True, most_work + paid, np.array(np.frombuffer(coded, np.uint8)), out_indices
        )
        if status == _kernels().BAD_END:
            raise FormatError("the coded bytes of a strip do not end where its pixels do")
        return max(0, n_decisions - paid)

    def _run(
        self, decoding: bool, most_decisions: int, coded: Array, indices: Array
    ) -> tuple[int, int]:
        """Code or decode, on tables that know nothing yet; their size follows the strip's."""
        tree, layout = self._tree, self._layout(indices.size)
        tables = self._tables(layout)
        kernels = _kernels()
        code_strip = kernels.decode_strip if decoding else kernels.encode_strip
        height, width = indices.shape
        status, n_decisions = code_strip(
            most_decisions,
            coded,
            coded.size,
            tree.leaves,
            tree.ranks,
            tree.children,
            tree.planes,
            layout.rows,
            tree.shades,
            tree.root,
            self._group,
            layout.line_bits,
            layout.n_rows,
            *curves()[:2],
            *tables[:6],
            tables[6:],
            np.empty((min(height, 4), kernels.LEFT + width + kernels.RIGHT), np.uint16),
            indices if indices.dtype == np.uint8 else _NARROW,
            indices if indices.dtype == np.uint16 else _WIDE,
        )
        self._spare.append(tables)
        return status, n_decisions

    def _layout(self, n_pixels: int) -> _Layout:
        pixel_bits = (n_pixels - 1).bit_length()
        if pixel_bits not in self._layouts:
            line_bits = min(max(pixel_bits - 3, 4), _MOST_LINES)
            rows = _dense_rows(self._tree.depths, min(max(pixel_bits - 10, 1), _DEEPEST))
            self._layouts[pixel_bits] = _Layout(line_bits, rows, int(rows.max()) + 1)
        return self._layouts[pixel_bits]

    def _tables(self, layout: _Layout) -> tuple[Array, ...]:
        """Return what `code_strip` works in: memory of a strip before, if that is large enough."""
        kernels = _kernels()
        shapes = (
            (((kernels.HASHED << layout.line_bits << self._group) + kernels.SLACK,), np.uint16),
            ((layout.n_rows * kernels.ROW_SPAN + kernels.RUNS * kernels.RUN_SPAN,), np.int32),
            ((kernels.RUNS << layout.line_bits,), np.int32),
            ((layout.n_rows + 48, kernels.LANES), np.int32),
            ((4, kernels.SHARES), np.int32),
            ((layout.n_rows * 8 * kernels.STEPS,), np.uint16),
        )
        with suppress(IndexError):
            spare = self._spare.pop()
            if all(array.shape >= shape for array, (shape, _) in zip(spare, shapes, strict=False)):
                return spare
        return _arrays((*shapes, *kernels.SCRATCH))


def _dense_rows(depths: Array, deepest: int) -> Array:
    """Number the rows of the dense table that the nodes use.

    Node 0 has row 0, nodes of less than `deepest` decisions have the rows after it by depth and
    then from the left, and all deeper nodes share one row for each depth.
    """
    rows = np.zeros(depths.size, np.int32)
    shallow = np.flatnonzero(depths[1:] < deepest) + 1
    rows[shallow[np.argsort(depths[shallow], kind="stable")]] = np.arange(1, shallow.size + 1)
    deep = np.flatnonzero(depths[1:] >= deepest) + 1
    rows[deep] = shallow.size + 1 + depths[deep] - deepest
    return rows
