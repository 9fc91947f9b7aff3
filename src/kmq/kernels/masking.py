"""How much each pixel counts for the eye: less where detail hides errors, more where they show.

Pictures are taken tile by tile. A tile is (height, width) pixels of the picture from (top, left)
on; windows that reach beyond the picture see its edge again. Windows are squares of equal weights,
which sums of rows and of columns make quick.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import UP_TO_4, inlined, kernel

REACH = 2
"""Pixels that windows reach beyond their middle: 2 in squares of 5 for errors, 1 in those of 3 for
detail."""


EVERY = 2
"""Rows of a tile that are weighed: every second. They see the rows between them, and nothing that
is higher than a pixel is missed, as it may be where whole tiles are left out."""


_AXES = UP_TO_4[:2]


@kernel("channels, axes, f4[:, :], i4[:], f4[:, :], i8, i8, f4[:, :]", channels=UP_TO_4, axes=_AXES)
def fill_rows(channels, axes, columns, labels, centroids, first, last, out_rows):
    """Write for colours `first` … last - 1 what is looked at: (m, d + axes) float32.

    That is by how much each coordinate of `columns` (d, m) is off where a colour shows the centroid
    (k, d) of its label (m,), and after that its coordinates `axes`. Together, since pixels ask for
    colours in no order: all are one line of the cache. `channels` is a tuple of d anythings and
    `axes` one of numbers, so loops over them unroll.
    """
    d = len(channels)
    for i in range(first, last):
        label = labels[i]
        for axis in range(d):
            out_rows[i, axis] = columns[axis, i] - centroids[label, axis]
        for j in range(len(axes)):
            out_rows[i, d + j] = columns[axes[j], i]


@inlined
def _gather(channels, axes, ids, rows, top, left, height, width, out_planes):
    """Write the rows of a tile's pixels, and of those within reach, as planes."""
    for y in range(height + 2 * REACH):
        line = ids[min(max(top + y - REACH, 0), ids.shape[0] - 1)]
        for x in range(width + 2 * REACH):
            at = line[min(max(left + x - REACH, 0), line.size - 1)]
            for c in range(len(channels) + len(axes)):
                out_planes[c, y, x] = rows[at, c]


@inlined
def _add_variances(plane, y, total, square, out_variances):
    """Add the variance over 3 × 3 pixels to a row's: flat areas have none, as it is one of
    differences to the middle."""
    width, ninth = out_variances.size, np.float32(1 / 9)
    middle = plane[y + REACH, REACH : REACH + width]
    for x in range(width):
        total[x] = square[x] = 0
    for place in range(9):
        right = place % 3 + REACH - 1
        line = plane[y + place // 3 + REACH - 1, right : right + width]
        for x in range(width):
            difference = line[x] - middle[x]
            total[x] += difference
            square[x] += difference * difference
    for x in range(width):
        mean = total[x] * ninth
        out_variances[x] += max(square[x] * ninth - mean * mean, np.float32(0))


@inlined
def _add_squares(plane, y, total, out_squares):
    """Add the square of the mean over 5 × 5 pixels to a row's."""
    width, part = out_squares.size, np.float32(1 / 25)
    first, second, third, fourth, fifth = (
        plane[y], plane[y + 1], plane[y + 2], plane[y + 3], plane[y + 4]
    )  # fmt: skip
    for x in range(width + 2 * REACH):
        total[x] = first[x] + second[x] + third[x] + fourth[x] + fifth[x]
    first, second, third = total[:width], total[1 : 1 + width], total[2 : 2 + width]
    fourth, fifth = total[3 : 3 + width], total[4 : 4 + width]
    for x in range(width):
        mean = (first[x] + second[x] + third[x] + fourth[x] + fifth[x]) * part
        out_squares[x] += mean * mean


@kernel(
    "channels, axes, u4[:, :], f4[:, :], i4[:], f8[:, :], i8[:, :], (i8, i8), f4, f4, f4, f4, f4,"
    "f4[:, :, :], f4[:, :], f8[:, :]",
    channels=UP_TO_4,
    axes=_AXES,
)
def add_weights(
    channels, axes, ids, rows, boxes, importance, tiles, size, hidden, least, floor, share, most,
    planes, lines, out_sums,
):  # fmt: skip
    """Add (weight · importance, importance) of the pixels of the tiles to their colours' boxes.

    A pixel's weight is (floor + r / (1 + r / most))^¾ · (l + (1 - l) · h / (h + s)). s is the
    standard deviation over 3 × 3 pixels, whose variance is the sum of those of the coordinates
    `axes` in `rows` of `fill_rows`; h is `hidden` and l is `least`. r is `share` of the squared
    error that is left in the mean of 5 × 5 pixels.

    `tiles` (n, 2) are their corners, `size` how high and wide they are but at the picture's edges.
    `boxes` (m,) is the box of each colour; `importance` (height, width) of the picture float64, or
    empty if all is 1. `planes` (d + axes, …) and `lines` (4, …) float32, of a tile with what is
    within reach, are scratch; `out_sums` is (boxes, 2) float64.
    """
    d = len(channels)
    total, square = lines[0], lines[1]
    for tile in range(tiles.shape[0]):
        top, left = tiles[tile, 0], tiles[tile, 1]
        height, width = min(size[0], ids.shape[0] - top), min(size[1], ids.shape[1] - left)
        _gather(channels, axes, ids, rows, top, left, height, width, planes)
        weights, variances = lines[2, :width], lines[3, :width]
        for y in range(0, height, EVERY):
            for x in range(width):
                weights[x] = variances[x] = 0
            for c in range(d):
                _add_squares(planes[c], y, total, weights)
            for j in range(len(axes)):
                _add_variances(planes[d + j], y, total, square, variances)
            for x in range(width):
                masked = hidden / (hidden + np.sqrt(variances[x]))
                masked = least + (np.float32(1) - least) * masked
                error = share * weights[x]
                root = np.sqrt(floor + error / (np.float32(1) + error / most))
                weights[x] = root * np.sqrt(root) * masked
            for x in range(width):
                row = out_sums[boxes[ids[top + y, left + x]]]
                counts = importance[top + y, left + x] if importance.size else 1.0
                row[0] += weights[x] * counts
                row[1] += counts


@kernel("f4[:, :], f8[:, :], f4, f8, f8, f8, f8[:]")
def favour_ends(columns, ends, middle, beyond, reach, most, factors):
    """Multiply the factors (m,) of colours (d, m) within `reach` of one of the `ends` (2, d) by up
    to 1 + `most`, there; only those are looked at whose first coordinate is `beyond` the middle."""
    for i in range(factors.size):
        if abs(columns[0, i] - middle) > beyond:
            least = np.inf
            for end in range(2):
                squares = 0.0
                for c in range(columns.shape[0]):
                    difference = np.float64(columns[c, i]) - ends[end, c]
                    squares += difference * difference
                least = min(least, squares)
            closeness = 1.0 - np.sqrt(least) / reach
            factors[i] *= 1.0 + most * max(closeness, 0.0)
