"""Morton order: rows by their interleaved bits, so that neighbours along it are near each other."""

from __future__ import annotations

import numpy as np

from kmq.model.arrays import Array


def interleaved(rows: Array, n_bits: int) -> Array:
    """Return the keys (n,) uint64 of rows (n, d) of unsigned numbers of `n_bits` bits.

    Bit t of column c is bit t · d + (d - 1 - c) of the key: the top bits of all columns come first,
    the first column's before the others'.
    """
    wide = rows.astype(np.uint64)
    keys = np.zeros(len(rows), np.uint64)
    one = np.uint64(1)
    for bit in range(n_bits - 1, -1, -1):
        for column in wide.T:
            keys = keys << one | column >> np.uint64(bit) & one
    return keys


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
