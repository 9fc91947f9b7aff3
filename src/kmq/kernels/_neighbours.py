"""Which of its neighbours a pixel is like, as kernels share it that count or code that."""

from __future__ import annotations

from kmq.kernels._jit import inlined

MISS = 4
"""Symbol of a pixel that is like none of the four neighbours before it."""


@inlined
def symbol_of(index, west, north, northeast, northwest):
    """Return which neighbour a pixel equals, 0 to 3 and the first of several, or MISS."""
    symbol = MISS
    if index == northwest:
        symbol = 3
    if index == northeast:
        symbol = 2
    if index == north:
        symbol = 1
    if index == west:
        symbol = 0
    return symbol
