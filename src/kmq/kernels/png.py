"""Filters of PNG's rows, undone (PNG, 3rd edition, 9.2)."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

SUB, UP, AVERAGE, PAETH = 1, 2, 3, 4


@kernel("u1[:, :], i8, u1[:, :]")
def unfilter(filtered, step, out_rows):
    """Write the bytes of rows, and return whether all filters are known.

    `filtered` (rows, 1 + n) has the filter's number before each row's bytes, and `step` is the
    bytes of a pixel.
    """
    n_rows, n_bytes = out_rows.shape
    for y in range(n_rows):
        kind, row = filtered[y, 0], out_rows[y]
        for x in range(n_bytes):
            row[x] = filtered[y, 1 + x]
        if kind > PAETH:
            return False
        if kind == SUB or (y == 0 and kind == PAETH):
            for x in range(step, n_bytes):
                row[x] += row[x - step]
        elif y == 0:
            if kind == AVERAGE:
                for x in range(step, n_bytes):
                    row[x] += row[x - step] >> 1
        else:
            _add_above(row, out_rows[y - 1], kind, step)
    return True


@inlined
def _add_above(row, above, kind, step):
    """Undo a filter that looks at the row above, too."""
    n_bytes = len(row)
    if kind == UP:
        for x in range(n_bytes):
            row[x] += above[x]
    elif kind == AVERAGE:
        for x in range(step):
            row[x] += above[x] >> 1
        for x in range(step, n_bytes):
            row[x] += (row[x - step] + above[x]) >> 1
    elif kind == PAETH:
        for x in range(step):
            row[x] += above[x]
        for x in range(step, n_bytes):
            row[x] += _predicted(row[x - step], above[x], above[x - step])


@inlined
def _predicted(left, above, corner):
    """Return the one of three bytes that is nearest to left + above - corner; the first of them."""
    right, down = np.int64(above) - corner, np.int64(left) - corner
    to_left, to_above, to_corner = abs(right), abs(down), abs(right + down)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner
