"""Light → the coordinates of spaces that take roots of it, in arithmetic that IEEE 754 fixes."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

LANES = 64
"""Colours converted side by side."""

_TWO_THIRDS_OF_BIAS = np.float32(709921077)
"""Two thirds of a float32's exponent bias, less what makes the first guess below err least."""


@inlined
def _cube_root(number, steps):
    """Return the cube root of a number above 0; naive twin: `np.cbrt`, which differs by machine.

    A third of a float32's bits, taken as a whole number, is a guess within 5 %. Each step of
    Halley's method triples the digits that are right: 2 give more than float32 has, 3 all of
    float64's. There are conversions between numbers of 32 bits alone, so that loops over it become
    vectors.
    """
    bits = np.float32(np.float32(number).view(np.int32))
    root = np.float64(np.int32(bits * np.float32(1 / 3) + _TWO_THIRDS_OF_BIAS).view(np.float32))
    for _ in range(steps):
        cube = root * root * root
        root *= (cube + number + number) / (cube + cube + number)
    return root


@inlined
def _root(cone, knee, steps):
    """Return the cube root, or below `knee` of the line that meets it there, as L*a*b* has it."""
    root = _cube_root(cone, steps)
    if knee > 0.0:
        return root if cone > knee * knee * knee else (cone / (knee * knee) + 2.0 * knee) / 3.0
    return root if cone > 0.0 else 0.0


@kernel("f8[:, :], f8[:, :], f8, f8, f8[:, :], f8[:, :]")
def fill_coordinates(light, to_cones, bias, knee, to_axes, out_coordinates):
    """Fill (n, m) with to_axes · roots, where roots = root(to_cones · light + bias) - root(bias).

    `light` (n, 3) is 0 … 1; the matrices are (3, 3) and (m, 3); all float64.
    """
    at_black = _root(bias, knee, 3)
    for i in range(light.shape[0]):
        red, green, blue = light[i, 0], light[i, 1], light[i, 2]
        first = to_cones[0, 0] * red + to_cones[0, 1] * green + to_cones[0, 2] * blue + bias
        second = to_cones[1, 0] * red + to_cones[1, 1] * green + to_cones[1, 2] * blue + bias
        third = to_cones[2, 0] * red + to_cones[2, 1] * green + to_cones[2, 2] * blue + bias
        first = _root(first, knee, 3) - at_black
        second = _root(second, knee, 3) - at_black
        third = _root(third, knee, 3) - at_black
        for axis in range(to_axes.shape[0]):
            out_coordinates[i, axis] = (
                to_axes[axis, 0] * first + to_axes[axis, 1] * second + to_axes[axis, 2] * third
            )


@kernel(
    "sample[:, :], (i8,) * 3, f8[:], f8[:, :], f8, f8, f8[:, :], f8[:, :], i8, f4[:, :]",
    sample=("u1", "u2"),
)
def fill_columns(
    samples, channels, table, to_cones, bias, knee, to_axes, lanes, first, out_columns
):  # fmt: skip
    """Do as `fill_coordinates` for whole samples (n, c): n columns (m, …) float32, from `first` on.

    `channels` are those of red, green and blue; `table` has the light of each sample; `lanes`
    (3, LANES) float64 is scratch.
    """
    at_black = _root(bias, knee, 2)
    for start in range(0, samples.shape[0], LANES):
        rows = samples[start : start + LANES]
        size = rows.shape[0]
        for i in range(size):
            red, green = table[rows[i, channels[0]]], table[rows[i, channels[1]]]
            blue = table[rows[i, channels[2]]]
            for cone in range(3):
                lanes[cone, i] = (
                    to_cones[cone, 0] * red
                    + to_cones[cone, 1] * green
                    + to_cones[cone, 2] * blue
                    + bias
                )
        for cone in range(3):
            for i in range(size):
                lanes[cone, i] = _root(lanes[cone, i], knee, 2) - at_black
        for axis in range(to_axes.shape[0]):
            column = out_columns[axis, first + start : first + start + size]
            for i in range(size):
                column[i] = (
                    to_axes[axis, 0] * lanes[0, i]
                    + to_axes[axis, 1] * lanes[1, i]
                    + to_axes[axis, 2] * lanes[2, i]
                )


@kernel("sample[:, :], f4[:, :]", sample=("u1", "u2"))
def fill_samples(samples, out_columns):
    """Write the samples (n, c) themselves as columns (c, n) float32."""
    for c in range(samples.shape[1]):
        for i in range(samples.shape[0]):
            out_columns[c, i] = samples[i, c]


@kernel("sample[:, :], sample[:, :], i4[:], i8[:]", sample=("u1", "u2"))
def sum_squares(colors, entries, labels, counts):
    """Return Σ count · squared distance of whole samples (m, c) from the entry of their label."""
    total = 0.0
    for i in range(labels.size):
        squares = 0
        for c in range(colors.shape[1]):
            difference = np.int64(colors[i, c]) - np.int64(entries[labels[i], c])
            squares += difference * difference
        total += np.float64(squares) * counts[i]
    return total
