"""Logarithms and powers that have the same last bit on every machine.

IEEE 754 fixes + − × ÷ √ to the last bit. It leaves logarithms and powers to libraries, and NumPy
takes others on other processors. What results depend on is therefore computed here, by series of
the fixed operations, to about 2e-15 of the value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kmq.model.arrays import Array

LOG2_OF_E = 1.4426950408889634
LOG2_OF_10 = 3.321928094887362

_LN2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_LOG_TERMS = 12  # s² < 0.03 in the series below: the next term is under 1e-19 of the sum
_EXP_TERMS = 14  # |x| < 0.35 in the series below


def log2(values: Array | float) -> Array:
    """Return the float64 logarithms to base 2 of positive numbers."""
    fractions, exponents = np.frexp(np.asarray(values, np.float64))
    small = fractions < _SQRT_HALF
    fractions, exponents = np.where(small, 2 * fractions, fractions), exponents - small
    logarithms: Array = exponents + _log2_of_fraction(fractions)
    return logarithms


def log2_of(number: float) -> float:
    """Return `log2` of a single number, in a tenth of the time."""
    fraction, exponent = math.frexp(number)
    if fraction < _SQRT_HALF:
        fraction, exponent = 2 * fraction, exponent - 1
    return float(exponent + _log2_of_fraction(fraction))


def _log2_of_fraction(m: Any) -> Any:
    """Return log2 m of a number around 1, or of an array of them."""
    # ln m = 2 artanh s with s = (m − 1) / (m + 1); artanh s = s + s³/3 + s⁵/5 + …
    s = (m - 1) / (m + 1)
    squares = s * s
    series = 0 * s
    for term in range(_LOG_TERMS, -1, -1):
        series = series * squares + 1 / (2 * term + 1)
    return series * s * (2 / _LN2)


def exp2(exponents: Array | float) -> Array:
    """Return 2 to the power of numbers, as float64."""
    exponents = np.asarray(exponents, np.float64)
    whole = np.rint(np.clip(exponents, -1100, 1100))
    x = (np.clip(exponents, -1100, 1100) - whole) * _LN2
    series = np.ones_like(x)  # 1 + x (1 + x/2 (1 + x/3 (…)))
    for term in range(_EXP_TERMS, 0, -1):
        series = series * x / term + 1
    with np.errstate(over="ignore"):  # it is infinite then
        powers: Array = np.ldexp(series, whole.astype(np.int64))
    return powers


def power(bases: Array | float, exponent: float) -> Array:
    """Return float64 powers of numbers that are 0 or more, for an exponent above 0."""
    bases = np.asarray(bases, np.float64)
    positive = np.where(bases > 0, bases, 1)
    return np.where(bases > 0, exp2(exponent * log2(positive)), 0.0)


def added(parts: Sequence[Array] | Array) -> Array:
    """Return the sum of arrays, added in their order."""
    total: Array = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def times(rows: Array, matrix: Array) -> Array:
    """Return `rows @ matrix.T`, (n, m) of (n, 3) and (m, 3), summed from the first column on.

    A BLAS sums in an order of its own, and may fuse products with sums.
    """
    product: Array = rows[:, :1] * matrix[:, 0]
    for column in range(1, matrix.shape[1]):
        product = product + rows[:, column : column + 1] * matrix[:, column]
    return product


def inverse(matrix: Array) -> Array:
    """Return the inverse of a (3, 3) matrix, by cofactors."""
    rows = np.roll(matrix, -1, axis=0), np.roll(matrix, -2, axis=0)
    left, right = np.roll(rows[0], -1, axis=1), np.roll(rows[1], -2, axis=1)
    cofactors = left * right - np.roll(rows[0], -2, axis=1) * np.roll(rows[1], -1, axis=1)
    determinant = (matrix[0] * cofactors[0]).sum()
    inverted: Array = cofactors.T / determinant
    return inverted
