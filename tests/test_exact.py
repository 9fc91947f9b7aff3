"""Elementary functions in arithmetic that IEEE 754 fixes."""

import math

import numpy as np
import pytest

from kmq import exact

RANDOM = np.random.default_rng(0)


def test_logarithms_are_those_of_numpy_but_for_their_last_bits():
    numbers = 2.0 ** RANDOM.uniform(-1000, 1000, 2000)
    np.testing.assert_allclose(exact.log2(numbers), np.log2(numbers), rtol=2e-15)
    near_one = 1 + RANDOM.uniform(-1e-6, 1e-6, 2000)
    np.testing.assert_allclose(exact.log2(near_one), np.log2(near_one), rtol=1e-15)


def test_powers_of_two_are_exact():
    whole = np.arange(-1074, 1024)
    powers = np.array([math.ldexp(1, int(n)) for n in whole])
    assert np.array_equal(exact.exp2(whole), powers)
    assert np.array_equal(exact.log2(powers), whole)
    assert exact.exp2(-5000) == 0
    assert exact.exp2(5000) == math.inf


@pytest.mark.parametrize("exponent", [0.2, 1 / 3, 1 / 2.4, 0.5, 1, 2.4, 7])
def test_powers_are_those_of_numpy_but_for_their_last_bits(exponent):
    numbers = np.concatenate([[0, 1], RANDOM.uniform(0, 2, 2000)])
    np.testing.assert_allclose(exact.power(numbers, exponent), numbers**exponent, rtol=1e-14)
    assert exact.power(0, exponent) == 0


def test_products_and_inverses_of_matrices():
    rows, matrix = RANDOM.normal(size=(50, 3)), RANDOM.normal(size=(3, 3))
    np.testing.assert_allclose(exact.times(rows, matrix), rows @ matrix.T, atol=1e-14)
    np.testing.assert_allclose(exact.inverse(matrix) @ matrix, np.eye(3), atol=1e-13)


def test_the_last_bit_is_as_it_was():
    # Summed over many results, so that one bit that differs anywhere shows.
    numbers = np.arange(1, 5000) / 4096
    assert exact.log2(numbers).sum().hex() == LOG2_SUM
    assert exact.exp2(numbers).sum().hex() == EXP2_SUM
    assert exact.power(numbers, 2.4).sum().hex() == POWER_SUM


LOG2_SUM = "-0x1.687bb3c6d0ec8p+12"
EXP2_SUM = "0x1.eb53ccdc195acp+12"
POWER_SUM = "0x1.28903b6ef9b5cp+11"
