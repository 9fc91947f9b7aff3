"""What the kernels share that code decisions one by one: methods mix and label.

The rules are those of FORMAT.md, sections "Method 2: mix" and "Method 3: label".
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined

REACH = 2815
"""Logits go from -REACH to REACH, in units of 1/256."""

FLOOR = 24
"""Least chance of a decision, in 65,536ths, and as much is left for the other."""

MASK = 0xFFFFFFFF


@inlined
def clamp(value, low, high):
    """Return the nearest number from `low` to `high`."""
    return min(max(value, low), high)


@inlined
def hashed(key, value):
    """Return the hash of a key and one more value, both below 2^32."""
    mixed = np.uint32(np.uint32(np.uint32(key) + np.uint32(value)) * np.uint32(0x9E3B5))
    return np.uint32(mixed ^ np.uint32(mixed >> np.uint32(15)))


@inlined
def shift(decoding, coded, n_coded, low, high, code, position):
    """Let go of the bytes that `low` and `high` agree in; what there is no room for is counted."""
    while (low ^ high) & 0xFF000000 == 0:
        if decoding:
            byte = np.int64(coded[position]) if position < n_coded else 0
            code = ((code << 8) & MASK) | byte
        elif position < n_coded:
            coded[position] = high >> 24
        position += 1
        low = (low << 8) & MASK
        high = ((high << 8) & MASK) | 255
    return low, high, code, position


@inlined
def ended(coded, n_coded, low, high, position):
    """Write as few bytes as name a number from `low` to `high`, if there is room; return where they
    end. A decoder reads zeros after them."""
    for n_last in range(5):
        zeros = (1 << (32 - 8 * n_last)) - 1
        last = (low + zeros) & ~zeros
        if last <= high:
            break
    if position + n_last <= n_coded:
        for number in range(n_last):
            coded[position + number] = (last >> (24 - 8 * number)) & 255
    return position + n_last
