"""Method 2 of coded strips, "mix": see FORMAT.md, section "Method 2: mix".

The kernel codes and decodes; here are the tables that follow from the palette, and the fresh ones
that each strip begins with. All on integers below 2^53, whatever the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from kmq.errors import FormatError

Array = np.ndarray[Any, Any]

PIXELS_PER_BYTE = 16_384
"""More pixels than a coded byte can stand for: a decision takes log2(65536 / 65512) bits."""

_ROUNDS = 8  # of the power iteration that finds the longest axis
_LONGEST = 12  # bits of an entry of its vector
_MOST_LINES = 16  # log2
_DEEPEST = 7  # decisions whose nodes have dense rows of their own
_SLOPE = 16_383  # most a coefficient of a plane can be


@dataclass(frozen=True, eq=False)
class Tree:
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
    n_colors = len(palette)
    shades = np.zeros((n_colors, 4), np.int64)
    shades[:, : palette.shape[1]] = palette
    shades = shades << 4 if palette.dtype == np.uint8 else shades >> 4
    order = np.arange(n_colors)
    children = np.zeros((n_colors, 2), np.int32)
    depths = np.zeros(n_colors, np.int64)
    planes = np.zeros((n_colors, 8), np.int32)
    firsts, ends = np.array([0]), np.array([n_colors])
    depth = 0
    while firsts.size and n_colors > 1:
        middles = firsts + (ends - firsts + 1) // 2
        members, owners = _members(firsts, ends)
        offsets = shades[order[members]]
        starts = np.concatenate([[0], np.cumsum(ends - firsts)[:-1]])
        sums = np.add.reduceat(offsets, starts)
        offsets = offsets - (sums // (ends - firsts)[:, None])[owners]
        along = (offsets * _longest_axes(offsets, starts)[owners]).sum(axis=1)
        order[members] = order[members][np.lexsort((order[members], along, owners))]
        planes[middles, :5] = _planes(shades[order], firsts, middles, ends)
        depths[middles] = depth
        lower = np.stack([firsts, middles], axis=1)
        upper = np.stack([middles, ends], axis=1)
        split = upper - lower > 1
        children[middles] = np.where(split, lower + (upper - lower + 1) // 2, n_colors + lower)
        firsts, ends = lower[split], upper[split]
        depth += 1
    ranks = np.empty(n_colors, np.int32)
    ranks[order] = np.arange(n_colors)
    root = (n_colors + 1) // 2 if n_colors > 1 else 0
    return Tree(
        root, order.astype(np.int32), ranks, children, depths, planes, shades.astype(np.int32)
    )


def _members(firsts: Array, ends: Array) -> tuple[Array, Array]:
    """Return the places of all segments, one after the other, and the segment of each."""
    sizes = ends - firsts
    owners = np.repeat(np.arange(firsts.size), sizes)
    within = np.arange(owners.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return firsts[owners] + within, owners


def _longest_axes(offsets: Array, starts: Array) -> Array:
    """Return a vector along which the offsets of each segment spread most, about."""
    products = offsets[:, :, None] * offsets[:, None, :]
    spread = np.add.reduceat(products, starts)
    spread >>= _excess(spread.max(axis=(1, 2)), 20)[:, None, None]
    widest = np.argmax(np.einsum("sii->si", spread), axis=1)
    axes: Array = spread[np.arange(starts.size), widest]
    for _ in range(_ROUNDS):
        axes >>= _excess(np.abs(axes).max(axis=1), _LONGEST)[:, None]
        axes = (spread * axes[:, None, :]).sum(axis=2)
    axes >>= _excess(np.abs(axes).max(axis=1), _LONGEST)[:, None]
    return axes


def _excess(values: Array, n_bits: int) -> Array:
    """Return by how many bits each value is longer than that."""
    excess = np.zeros(values.shape, np.int64)
    for _ in range(63 - n_bits):
        excess += values >> excess >= 1 << n_bits
    return excess


def _planes(shades: Array, firsts: Array, middles: Array, ends: Array) -> Array:
    """Return coefficients that give 0 half way between two means, ±16 · 4096 at them.

    `shades` are in the order of the leaves.
    """
    totals = np.concatenate([np.zeros((1, 4), np.int64), np.cumsum(shades, axis=0)])
    left = 16 * (totals[middles] - totals[firsts]) // (middles - firsts)[:, None]
    right = 16 * (totals[ends] - totals[middles]) // (ends - middles)[:, None]
    across = right - left
    square = np.maximum((across * across).sum(axis=1), 1)
    slopes = np.clip((across << 21) // square[:, None], -_SLOPE, _SLOPE)
    constant = -((slopes * (left + right)).sum(axis=1) >> 5)
    return np.concatenate([slopes, constant[:, None]], axis=1)


@cache
def _curves() -> tuple[Array, Array, Array]:
    """Return squash, stretch and rates: the same for each file."""
    from kmq.kernels.mix import REACH

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


class MixCoder:
    """Codes strips of one palette by mixing predictions."""

    def __init__(self, palette: Array):
        self._n_colors = len(palette)
        self._tree = build_tree(palette)

    def encode(self, indices: Array) -> bytes:
        """Code (height, width) indices, each below the number of colours."""
        wide = np.array(indices, np.uint16, order="C")
        n_bits = (self._n_colors - 1).bit_length()
        for bits_per_decision in (2, 12):  # more than enough, and more than there can be
            coded = np.empty(indices.size * bits_per_decision * (n_bits + 1) // 8 + 64, np.uint8)
            n_coded = self._run(False, coded, wide)
            if n_coded >= 0:
                break
        return coded[:n_coded].tobytes()

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return how many coded bytes that many pixels take at the very least."""
        return 0 if self._n_colors == 1 else max(0, n_pixels // PIXELS_PER_BYTE - 4)

    def decode(self, coded: bytes | memoryview, out_indices: Array) -> None:
        """Fill (height, width) indices.

        Raises:
            FormatError: the coded bytes do not end where their pixels do.
        """
        wide = np.empty(out_indices.shape, np.uint16)
        if self._run(True, np.array(np.frombuffer(coded, np.uint8)), wide) < 0:
            raise FormatError("the coded bytes of a strip do not end where its pixels do")
        out_indices[:] = wide

    def _run(self, decoding: bool, coded: Array, indices: Array) -> int:
        """Code or decode with tables that know nothing yet; their size follows the strip's."""
        from kmq.kernels import mix as kernels

        tree = self._tree
        n_bits = max((self._n_colors - 1).bit_length(), 1)
        group = -(-n_bits // -(-n_bits // 4))
        pixel_bits = (indices.size - 1).bit_length()
        line_bits = min(max(pixel_bits - 3, 4), _MOST_LINES)
        rows = _dense_rows(tree.depths, min(max(pixel_bits - 10, 1), _DEEPEST))
        n_rows = int(rows.max()) + 1
        squash, stretch, rates = _curves()
        dense_size = n_rows * kernels.ROW_SPAN + kernels.RUNS * kernels.RUN_SPAN
        steps = np.minimum(np.arange(kernels.STEPS) << kernels.STEP_BITS, squash.size - 1)
        return int(
            kernels.code_strip(
                decoding,
                coded,
                coded.size,
                tree.leaves,
                tree.ranks,
                tree.children,
                tree.planes,
                rows,
                tree.shades,
                tree.root,
                group,
                line_bits,
                squash,
                stretch,
                rates,
                np.zeros(kernels.HASHED << line_bits << group, np.uint16),
                np.full(dense_size, 1 << 30, np.int32),
                np.zeros(kernels.RUNS << line_bits, np.int32),
                np.full((n_rows + 48, kernels.LANES), 262_144, np.int32),
                np.full((4, 4), 349_525, np.int32),
                np.tile(squash[steps].astype(np.int32), n_rows * 8),
                tuple(np.zeros(shape, dtype) for shape, dtype in kernels.SCRATCH),
                indices,
            )
        )


def _dense_rows(depths: Array, own: int) -> Array:
    """Number the rows of the dense table that the nodes use.

    Node 0 has row 0, nodes of less than `own` decisions have the rows after it by depth and then
    from the left, and all deeper nodes share one row for each depth.
    """
    rows = np.zeros(depths.size, np.int32)
    shallow = np.flatnonzero(depths[1:] < own) + 1
    rows[shallow[np.argsort(depths[shallow], kind="stable")]] = np.arange(1, shallow.size + 1)
    deep = np.flatnonzero(depths[1:] >= own) + 1
    rows[deep] = shallow.size + 1 + depths[deep] - own
    return rows
