"""Method 3 of coded strips, "label": see FORMAT.md, section "Method 3: label".

The kernel codes and decodes; here are its tables, whose size follows the strip's.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType

import numpy as np

from kmq.errors import FormatError
from kmq.model.arrays import Array
from kmq.stages.coding.mix import curves

PIXELS_PER_BYTE = 65_536
"""More pixels than a coded byte can stand for: a decision takes log2(65536 / 65528) bits."""

_LEAST_BITS, _MOST_BITS = 8, 16  # log2 of the slots of a context
_BYTES_PER_PIXEL = (1, 24)  # room for the coded bytes: more than usual, and more than there can be


def _kernels() -> ModuleType:
    from kmq.kernels import label

    return label


class LabelCoder:
    """Codes strips of any number of colours, which it does not look at; threads may share it.

    Tables are made once for each thread, and used for one strip after the other.
    """

    def __init__(self, palette: Array):
        self._n_colors = len(palette)
        self._spare: list[tuple[Array, ...]] = []

    def encode(self, indices: Array, most_work: int | None = None) -> bytes:
        """Code (height, width) indices."""
        if self._n_colors == 1:
            return b""
        for bytes_per_pixel in _BYTES_PER_PIXEL:
            coded = np.empty(indices.size * bytes_per_pixel + 1024, np.uint8)
            n_coded = self._run(False, coded, indices.copy())
            if n_coded >= 0:
                break
        return coded[:n_coded].tobytes()

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return how many coded bytes that many pixels take at the very least."""
        return 0 if self._n_colors == 1 else max(0, n_pixels // PIXELS_PER_BYTE - 4)

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Fill (height, width) indices.

        Raises:
            FormatError: the coded bytes do not end where their pixels do, or name an index that
                there is not.
        """
        if self._n_colors == 1:
            if coded:
                raise FormatError("a strip of one colour has coded bytes; it needs none")
            out_indices.fill(0)
            return 0
        status = self._run(True, np.array(np.frombuffer(coded, np.uint8)), out_indices)
        if status == _kernels().BAD_INDEX:
            raise FormatError("a strip is damaged: an index is beyond the palette")
        if status < 0:
            raise FormatError("the coded bytes of a strip do not end where its pixels do")
        return 0

    def _run(self, decoding: bool, coded: Array, indices: Array) -> int:
        bits = min(max((indices.size - 1).bit_length(), _LEAST_BITS), _MOST_BITS)
        tables = self._tables(bits, indices.shape[1])
        status = _kernels().code_strip(
            decoding, coded, self._n_colors, bits, *curves(), *tables[:5], tables[5:], indices
        )
        self._spare.append(tables)
        return int(status)

    def _tables(self, bits: int, width: int) -> tuple[Array, ...]:
        """Return what `code_strip` works in: that of a strip before, if it is large enough."""
        kernels = _kernels()
        columns = width + kernels.LEFT + kernels.RIGHT
        with suppress(IndexError):
            spare = self._spare.pop()
            if spare[0].shape[1] >= columns and spare[1].shape[1] >= 1 << bits:
                return spare
        scratch = kernels.CONTEXTS + 1
        return (
            np.empty((4, columns), np.int32),
            np.empty((kernels.CONTEXTS, 1 << bits), np.uint32),
            np.empty(kernels.FLAT_SLOTS, np.uint32),
            np.empty(kernels.ESCAPE_SLOTS, np.uint32),
            np.empty((kernels.WEIGHTS, scratch), np.int32),
            *(np.empty(scratch, np.int64) for _ in range(3)),
        )
