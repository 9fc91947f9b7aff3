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


@kernel("channels, u4[:, :], f4[:, :], i8, i8, i8, f4[:, :, :]", channels=UP_TO_4)
def fill_squares(channels, ids, rows, side, first, last, out_planes):
    """Write the means of squares of `side` pixels, those of rows `first` … last - 1 of squares.

    `rows` (m, 2 d) has what each colour is and what it is shown as; `out_planes` (2 d, …) has a
    plane for each of them. Squares at the edges may have fewer pixels.
    """
    height, width = ids.shape
    for row in range(first, last):
        top = row * side
        bottom = min(top + side, height)
        for column in range(out_planes.shape[2]):
            left = column * side
            right = min(left + side, width)
            for c in range(2 * len(channels)):
                out_planes[c, row, column] = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    at = ids[y, x]
                    for c in range(2 * len(channels)):
                        out_planes[c, row, column] += rows[at, c]
            part = np.float32(1) / np.float32((bottom - top) * (right - left))
            for c in range(2 * len(channels)):
                out_planes[c, row, column] *= part


@kernel("f4[:, :], f4[:, :], f4, f4[:, :], f8[:]")
def sum_differences(plane, shown, steady, lines, out_sums):
    """Write Σ difference and Σ difference⁴ in structure of two planes, from each square of 5 × 5.

    That is 1 - (2 covariance + c) / (variance + other variance + c), where c is `steady`: 0 where
    both vary alike, 1 where only one of them varies. `lines` (5, width) float32 is scratch.
    """
    height, width = plane.shape
    part = np.float32(1 / 25)
    two, one = np.float32(2), np.float32(1)
    out_sums[0] = out_sums[1] = 0.0
    for y in range(height - 4):
        for x in range(width):
            a, b = plane[y, x], shown[y, x]
            lines[0, x], lines[1, x] = a, b
            lines[2, x], lines[3, x], lines[4, x] = a * a, b * b, a * b
        for below in range(1, 5):
            for x in range(width):
                a, b = plane[y + below, x], shown[y + below, x]
                lines[0, x] += a
                lines[1, x] += b
                lines[2, x] += a * a
                lines[3, x] += b * b
                lines[4, x] += a * b
        for x in range(width - 4):
            a, b = lines[0, x], lines[1, x]
            aa, bb, ab = lines[2, x], lines[3, x], lines[4, x]
            for i in range(1, 5):
                a += lines[0, x + i]
                b += lines[1, x + i]
                aa += lines[2, x + i]
                bb += lines[3, x + i]
                ab += lines[4, x + i]
            a, b, aa, bb, ab = a * part, b * part, aa * part, bb * part, ab * part
            both = two * (ab - a * b) + steady
            difference = one - both / ((aa - a * a) + (bb - b * b) + steady)
            square = difference * difference
            out_sums[0] += difference
            out_sums[1] += square * square
