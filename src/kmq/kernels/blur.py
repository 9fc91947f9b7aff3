"""Weighted means over windows of a picture."""

from __future__ import annotations

from kmq.kernels._jit import kernel


@kernel("f8[:, :, :], f8[:], f8[:, :], f8[:, :, :]")
def blur(planes, weights, rows, out_blurred):
    """Fill (p, h - n + 1, w - n + 1) with the means of (p, h, w) float64 over n × n windows.

    `weights` (n,) are those of a row and of a column of the window; `rows` (h, w - n + 1) is work
    space. Sums are taken in the order of the weights, so they are the same on every machine.
    """
    n = weights.shape[0]
    height, width = rows.shape
    for p in range(planes.shape[0]):
        for y in range(height):
            for x in range(width):
                rows[y, x] = weights[0] * planes[p, y, x]
            for i in range(1, n):
                for x in range(width):
                    rows[y, x] += weights[i] * planes[p, y, x + i]
        for y in range(height - n + 1):
            for x in range(width):
                out_blurred[p, y, x] = weights[0] * rows[y, x]
            for i in range(1, n):
                for x in range(width):
                    out_blurred[p, y, x] += weights[i] * rows[y + i, x]
