"""Method "mix": the tree that halves a palette down to its entries: FORMAT.md, "The tree"."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

ROUNDS = 8
"""Rounds of the power iteration that finds the longest axis of some colours."""

LONGEST = 12
"""Bits of an entry of its vector."""

SLOPE = 16_383
"""Most that a coefficient of a plane can be."""


def tree_scratch(n_colors: int) -> tuple[tuple[tuple[int, ...], type], ...]:
    """Return shapes and types of the arrays that `halve_palette` works in."""
    return (((2, n_colors), np.int64), ((64, 3), np.int64), ((5, 4), np.int64), ((4, 4), np.int64))


@inlined
def _shorten(vector):
    """Shift the entries right, all alike, until each takes LONGEST bits beside its sign."""
    largest = np.int64(0)
    for i in range(4):
        largest = max(largest, abs(vector[i]))
    while largest >> LONGEST:
        largest >>= 1
        for i in range(4):
            vector[i] >>= 1


@inlined
def _sort(keys, spare, first, end):
    """Sort keys[first:end] by merging runs of growing length."""
    for at in range(first + 1, end):  # runs of eight by insertion
        key = keys[at]
        place = at
        while (place - first) & 7 and keys[place - 1] > key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key
    size = 8
    while size < end - first:
        for start in range(first, end, 2 * size):
            one, middle = start, min(start + size, end)
            other, stop = middle, min(start + 2 * size, end)
            for at in range(start, stop):
                if other == stop or (one < middle and keys[one] <= keys[other]):
                    spare[at] = keys[one]
                    one += 1
                else:
                    spare[at] = keys[other]
                    other += 1
        for at in range(first, end):
            keys[at] = spare[at]
        size *= 2


@inlined
def _longest_axis(shades, keys, first, end, vectors, spread):
    """Leave in vectors[0] what some colours spread along most, about, and in vectors[1] their mean.

    The colours are those that keys[first:end] name with their last 16 bits.
    """
    axis, mean, offset = vectors[0], vectors[1], vectors[2]
    for i in range(4):
        mean[i] = 0
        for j in range(4):
            spread[i, j] = 0
    for at in range(first, end):
        for i in range(4):
            mean[i] += shades[keys[at] & 0xFFFF, i]
    for i in range(4):
        mean[i] //= end - first
    for at in range(first, end):
        for i in range(4):
            offset[i] = shades[keys[at] & 0xFFFF, i] - mean[i]
        for i in range(4):
            for j in range(4):
                spread[i, j] += offset[i] * offset[j]
    widest = 0
    largest = np.int64(0)  # the diagonal has the largest entry of all
    for i in range(4):
        largest = max(largest, spread[i, i])
    bits = 0
    while largest >> bits >= 1 << 20:
        bits += 1
    for i in range(4):
        for j in range(4):
            spread[i, j] >>= bits
    for i in range(4):
        if spread[i, i] > spread[widest, widest]:
            widest = i
    for i in range(4):
        axis[i] = spread[widest, i]
    for _ in range(ROUNDS):
        _shorten(axis)
        for i in range(4):
            offset[i] = axis[i]
        for i in range(4):
            axis[i] = 0
            for j in range(4):
                axis[i] += spread[i, j] * offset[j]
    _shorten(axis)


@inlined
def _draw_plane(shades, keys, first, middle, end, vectors, out_plane):
    """Write what gives 0 half way between the means of two halves, ±16 · 4096 at them."""
    left, right = vectors[3], vectors[4]
    for i in range(4):
        left[i] = 0
        right[i] = 0
    for at in range(first, end):
        for i in range(4):
            if at < middle:
                left[i] += shades[keys[at] & 0xFFFF, i]
            else:
                right[i] += shades[keys[at] & 0xFFFF, i]
    square = np.int64(0)
    for i in range(4):
        left[i] = 16 * left[i] // (middle - first)
        right[i] = 16 * right[i] // (end - middle)
        square += (right[i] - left[i]) * (right[i] - left[i])
    square = max(square, 1)
    total = np.int64(0)
    for i in range(4):
        slope = min(max(((right[i] - left[i]) << 21) // square, -SLOPE), SLOPE)
        total += slope * (left[i] + right[i])
        out_plane[i] = slope
    out_plane[4] = -(total >> 5)


@kernel("i4[:, :], (i8[:, :],) * 4, i4[:], i4[:, :], i8[:], i4[:, :]")
def halve_palette(shades, scratch, out_leaves, out_children, out_depths, out_planes):
    """Halve the colours (k, 4) along their longest axis, level by level: see `Tree` in `stages`.

    `out_planes` (k, 8) is zero. `scratch` is arrays as `tree_scratch` says.
    """
    n_colors = len(shades)
    sorting, segments, vectors, spread = scratch
    keys, spare = sorting[0], sorting[1]
    axis, mean = vectors[0], vectors[1]
    for color in range(n_colors):
        keys[color] = color
    segments[0, 0], segments[0, 1], segments[0, 2] = 0, n_colors, 0
    out_children[0, 0], out_children[0, 1], out_depths[0] = 0, 0, 0
    n_segments = 1 if n_colors > 1 else 0
    while n_segments:
        n_segments -= 1
        first, end = segments[n_segments, 0], segments[n_segments, 1]
        depth = segments[n_segments, 2]
        middle = first + (end - first + 1) // 2
        _longest_axis(shades, keys, first, end, vectors, spread)
        for at in range(first, end):
            color = keys[at] & 0xFFFF
            along = np.int64(0)
            for i in range(4):
                along += (shades[color, i] - mean[i]) * axis[i]
            keys[at] = along << 16 | color
        _sort(keys, spare, first, end)
        _draw_plane(shades, keys, first, middle, end, vectors, out_planes[middle])
        out_depths[middle] = depth
        for side in range(2):
            start = middle if side else first
            stop = end if side else middle
            out_children[middle, side] = n_colors + start
            if stop - start > 1:
                out_children[middle, side] = start + (stop - start + 1) // 2
                segments[n_segments, 0], segments[n_segments, 1] = start, stop
                segments[n_segments, 2] = depth + 1
                n_segments += 1
    for leaf in range(n_colors):
        out_leaves[leaf] = keys[leaf] & 0xFFFF
