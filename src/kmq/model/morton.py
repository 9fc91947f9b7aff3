"""Morton order: rows by their interleaved bits, so that neighbours along it are near each other."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from kmq.model.arrays import Array


def interleaved(rows: Array, n_bits: int) -> Array:
    """Return the keys (n,) uint64 of rows (n, d) of unsigned numbers of `n_bits` bits.

    Bit t of column c is bit t · d + (d - 1 - c) of the key: the top bits of all columns come first,
    the first column's before the others'.
    """
    n_columns = rows.shape[1]
    spread = _spread(n_columns)
    wide = rows.astype(np.uint64)
    keys = np.zeros(len(rows), np.uint64)
    for c in range(n_columns):
        for low in range(0, n_bits, 8):
            byte = wide[:, c] >> np.uint64(low) & np.uint64(255)
            keys |= spread[byte] << np.uint64(low * n_columns + n_columns - 1 - c)
    return keys


@lru_cache(maxsize=16)
def _spread(step: int) -> Array:
    """Return (256,) uint64: bit t of each byte as bit t · step."""
    spread = np.zeros(256, np.uint64)
    values, one = np.arange(256, dtype=np.uint64), np.uint64(1)
    for bit in range(8):
        spread |= (values >> np.uint64(bit) & one) << np.uint64(bit * step)
    return spread


def separated(keys: Array, n_columns: int, n_bits: int) -> Array:
    """Return the rows (n, n_columns) uint64 of keys: `interleaved` undone."""
    keys = keys.astype(np.uint64)
    rows = np.zeros((len(keys), n_columns), np.uint64)
    one = np.uint64(1)
    for bit in range(n_bits):
        for column in range(n_columns - 1, -1, -1):
            rows[:, column] |= (keys & one) << np.uint64(bit)
            keys = keys >> one
    return rows
