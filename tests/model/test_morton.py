"""The order in which rows of numbers stand that are near each other."""

import numpy as np
import pytest

from kmq.model.morton import interleaved, separated


@pytest.mark.parametrize(("n_columns", "n_bits"), [(1, 8), (2, 16), (3, 8), (4, 16)])
def test_bits_are_interleaved_and_separated(n_columns, n_bits):
    rows = np.random.default_rng(0).integers(0, 1 << n_bits, (50, n_columns))
    keys = interleaved(rows, n_bits)
    for row, key in zip(rows.tolist(), keys.tolist(), strict=True):
        digits = zip(*(f"{number:0{n_bits}b}" for number in row), strict=True)
        assert key == int("".join("".join(level) for level in digits), 2)
    assert np.array_equal(separated(keys, n_columns, n_bits), rows)
