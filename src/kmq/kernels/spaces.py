"""Light → the coordinates of spaces that take roots of it, in arithmetic that IEEE 754 fixes."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

_THIRD_OF_EXPONENT = 0x2A9F7893 << 32
"""Two thirds of a float64's exponent bias, less what makes the first guess below err least."""


@inlined
def _cube_root(number):
    """Return the cube root of a number above 0; naive twin: `np.cbrt`, which differs by machine.

    A third of the bits, taken as a whole number, is a guess within 5 %. Each step of Halley's
    method triples the digits that are right.
    """
    root = np.int64(np.float64(number).view(np.int64) // 3 + _THIRD_OF_EXPONENT).view(np.float64)
    for _ in range(3):
        cube = root * root * root
        root *= (cube + number + number) / (cube + cube + number)
    return root


@inlined
def _root(cone, knee):
    """Return the cube root, or below `knee` of the line that meets it there, as L*a*b* has it."""
    if cone > knee * knee * knee:
        return _cube_root(cone)
    return (cone / (knee * knee) + 2.0 * knee) / 3.0 if knee > 0.0 else 0.0


@kernel
def fill_coordinates(light, to_cones, bias, knee, to_axes, out_coordinates):
    """Fill (n, m) with to_axes · roots, where roots = root(to_cones · light + bias) - root(bias).

    `light` (n, 3) is 0 … 1; the matrices are (3, 3) and (m, 3); all float64.
    """
    at_black = _root(bias, knee)
    for i in range(light.shape[0]):
        red, green, blue = light[i, 0], light[i, 1], light[i, 2]
        first = to_cones[0, 0] * red + to_cones[0, 1] * green + to_cones[0, 2] * blue + bias
        second = to_cones[1, 0] * red + to_cones[1, 1] * green + to_cones[1, 2] * blue + bias
        third = to_cones[2, 0] * red + to_cones[2, 1] * green + to_cones[2, 2] * blue + bias
        first = _root(first, knee) - at_black
        second = _root(second, knee) - at_black
        third = _root(third, knee) - at_black
        for axis in range(to_axes.shape[0]):
            out_coordinates[i, axis] = (
                to_axes[axis, 0] * first + to_axes[axis, 1] * second + to_axes[axis, 2] * third
            )
