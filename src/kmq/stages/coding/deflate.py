"""Method 0 of coded strips, "deflate": indices packed to as few bits as number the colours."""

from __future__ import annotations

import numpy as np

from kmq.deflate import MOST_EXPANSION, deflate, inflate_exactly
from kmq.errors import FormatError
from kmq.model.arrays import Array

_BLOCK = 1 << 16  # indices packed at a time; a multiple of 8, so that blocks end with a byte
_SMALL = 1 << 16  # bytes that are deflated as well as zlib can, since it takes no time


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
