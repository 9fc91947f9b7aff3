"""Cells of the space of colours, as the kernels find them that map pixels by what is seen."""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined
from kmq.kernels._lanes import lane, less, minus, select, times


@inlined
def cell_of(wanted, low, high, per_unit, strides):
    """Return a colour brought within the cells from `low` to `high`, and the number of its cell."""
    inside = select(less(wanted, low), low, wanted)
    inside = select(less(high, inside), high, inside)
    place = times(minus(inside, low), per_unit)
    cell = (
        np.int64(lane(place, 0)) * strides[0]
        + np.int64(lane(place, 1)) * strides[1]
        + np.int64(lane(place, 2)) * strides[2]
        + np.int64(lane(place, 3))
    )
    return inside, cell
