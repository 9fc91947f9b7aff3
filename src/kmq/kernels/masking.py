"""How much each pixel counts for the eye: less where detail hides errors, more where they show.

Pictures are taken tile by tile. A tile is (height, width) pixels of the picture from (top, left)
on; windows that reach beyond the picture see its edge again. Windows are squares of equal weights,
which sums of rows and of columns make quick.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

DETAIL_REACH, ERROR_REACH = 1, 2
"""Pixels that windows reach beyond their middle: squares of 3 for detail, of 5 for errors."""


@inlined
def _inside(place, size):
    return min(max(place, 0), size - 1)


@inlined
def _gather(ids, columns, axis, top, left, size, out_plane):
    """Write one coordinate of a tile's colours and of what is within reach of its detail."""
    height, width = ids.shape
    column = columns[axis]
    for y in range(size[0] + 2 * DETAIL_REACH):
        line = ids[_inside(top + y - DETAIL_REACH, height)]
        for x in range(size[1] + 2 * DETAIL_REACH):
            out_plane[y, x] = column[line[_inside(left + x - DETAIL_REACH, width)]]


@inlined
def _gather_errors(ids, columns, labels, centroids, axis, top, left, size, out_plane):
    """Write by how much one coordinate is off, of a tile and of what is within reach of errors."""
    height, width = ids.shape
    column = columns[axis]
    for y in range(size[0] + 2 * ERROR_REACH):
        line = ids[_inside(top + y - ERROR_REACH, height)]
        for x in range(size[1] + 2 * ERROR_REACH):
            at = line[_inside(left + x - ERROR_REACH, width)]
            out_plane[y, x] = column[at] - centroids[labels[at], axis]


@inlined
def _add_variances(plane, sums, squares, out_variances):
    """Add the variance over 3 × 3 pixels, from differences to the middle: flat areas have none."""
    height, width = out_variances.shape
    ninth = np.float32(1 / 9)
    for y in range(height):
        total, square, middle = sums[y, :width], squares[y, :width], plane[y + 1, 1 : width + 1]
        for x in range(width):
            total[x] = square[x] = 0
        for place in range(9):
            line = plane[y + place // 3, place % 3 : place % 3 + width]
            for x in range(width):
                difference = line[x] - middle[x]
                total[x] += difference
                square[x] += difference * difference
        for x in range(width):
            mean = total[x] * ninth
            out_variances[y, x] += max(square[x] * ninth - mean * mean, np.float32(0))


@inlined
def _add_squares(plane, sums, size, out_squares):
    """Add the square of the mean over 5 × 5 pixels."""
    height, width = size
    part = np.float32(1 / 25)
    for y in range(height + 4):
        for x in range(width):
            pair, other = plane[y, x] + plane[y, x + 1], plane[y, x + 2] + plane[y, x + 3]
            sums[y, x] = pair + other + plane[y, x + 4]
    for y in range(height):
        for x in range(width):
            pair, other = sums[y, x] + sums[y + 1, x], sums[y + 2, x] + sums[y + 3, x]
            mean = (pair + other + sums[y + 4, x]) * part
            out_squares[y, x] += mean * mean


@kernel("u4[:, :], f4[:, :], i8[:], i4[:], f4[:, :], i8, i8, f4, f4, f4, f4[:, :, :], f4[:, :]")
def weigh_tile(
    ids, columns, axes, labels, centroids, top, left, hidden, floor, share, planes, out_weights
):
    """Write how much each pixel of a tile counts: √(floor + share · e) · h / (h + s).

    s is the standard deviation over 3 × 3 pixels, whose variance is the sum of those of the
    coordinates `axes`; h is `hidden`. e is the squared error that is left in the mean of 5 × 5
    pixels, each of which shows the centroid of its label. `columns` (d, m) and `centroids` (k, d)
    float32; `labels` (m,) int32; `planes` (4, height + 4, width + 4) float32, at least, is scratch.
    """
    size = out_weights.shape
    plane, sums, squares, errors = planes[0], planes[1], planes[2], planes[3]
    for y in range(size[0]):
        for x in range(size[1]):
            out_weights[y, x] = errors[y, x] = 0
    for i in range(axes.size):
        _gather(ids, columns, axes[i], top, left, size, plane)
        _add_variances(plane, sums, squares, out_weights)
    for axis in range(columns.shape[0]):
        _gather_errors(ids, columns, labels, centroids, axis, top, left, size, plane)
        _add_squares(plane, sums, size, errors)
    for y in range(size[0]):
        for x in range(size[1]):
            masked = hidden / (hidden + np.sqrt(out_weights[y, x]))
            out_weights[y, x] = np.sqrt(floor + share * errors[y, x]) * masked


@kernel("u4[:, :], i4[:], f4[:, :], f8[:, :], i8, i8, f8[:, :]")
def add_weights(ids, boxes, weights, importance, top, left, out_sums):
    """Add (weight · importance, importance) of each pixel of a tile to its colour's box.

    `boxes` (m,) is the box of each colour; `importance` (height, width) of the picture float64, or
    empty if all is 1; `out_sums` (boxes, 2) float64.
    """
    for y in range(weights.shape[0]):
        for x in range(weights.shape[1]):
            row = out_sums[boxes[ids[top + y, left + x]]]
            counts = importance[top + y, left + x] if importance.size else 1.0
            row[0] += weights[y, x] * counts
            row[1] += counts
