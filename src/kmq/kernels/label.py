"""Coding of index maps, method "label": which neighbour a pixel is like, by adaptive decisions.

The rules are those of FORMAT.md, section "Method 3: label". One kernel codes and decodes, so that
both stay in step by construction. Integers only, all below 2^53.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._decisions import FLOOR, MASK, REACH, clamp, ended, hashed, shift
from kmq.kernels._jit import inlined, kernel
from kmq.kernels._neighbours import symbol_of

LEFT, RIGHT = 3, 36
"""Columns beside those of the strip that a row has room for."""

CONTEXTS = 5
"""Patterns of growing size, and the labels around."""

AHEAD, NEW = 4, 5
"""Steps after the four neighbours: a label farther to the right, and one not seen before."""

WEIGHTS = 6 * 64
"""Vectors of weights: one for each step and how well three of the patterns are known."""

FLAT_SLOTS = 32
ESCAPE_SLOTS = 4096
FARTHEST = 31
"""Columns to the right that are looked at."""

WEIGHT_LIMIT = 1 << 21
FLAT_CEILING = 65528
"""Greatest chance of a decision, in 65,536ths, where all neighbours are equal."""

FLAT_COUNT, COUNT = 255, 127
"""Most that the count of a slot can be."""

FULL, BAD_END, BAD_INDEX = -1, -2, -3


@inlined
def _known(slot):
    """Say how well the slot of a pattern is known, from 0 to 3."""
    count = slot & 1023
    return np.int64(count > 0) + np.int64(count > 3) + np.int64(count > 15)


@inlined
def _adapted(slot, bit, rates, most):
    """Return a slot, chance · 1,024 + count, after a decision."""
    chance, count = slot >> 10, slot & 1023
    goal = np.int64(4194303) if bit else np.int64(31)
    chance += (((goal - chance) >> 5) * np.int64(rates[16 + count])) >> 9
    return chance << 10 | min(count + 1, most)


@inlined
def _coded(decoding, bit, chance, low, high, code, coded, n_coded, position):
    """Code a decision that is 1 with that chance in 65,536; return it, and the coder's state."""
    border = low + (((high - low) * chance) >> 16)
    if decoding:
        bit = np.int64(code <= border)
    if bit:
        high = border
    else:
        low = border + 1
    low, high, code, position = shift(decoding, coded, n_coded, low, high, code, position)
    return bit, low, high, code, position


@kernel(
    "boolean, u1[:], i8, i8, u2[:], i2[:], i2[:], i4[:, :], u4[:, :], u4[:], u4[:], i4[:, :],"
    "(i8[:],) * 3, T[:, :]",
    T=("u1", "u2"),
)
def code_strip(
    decoding,
    coded,
    n_colors,
    table_bits,
    squash,
    stretch,
    rates,
    rows,
    slots,
    flat_slots,
    escapes,
    weights,
    scratch,
    indices,
):
    """Code (h, w) indices or decode them; return the bytes coded, 0 when decoded, or a fault.

    Four rows have LEFT columns before and RIGHT ones after those of the strip. Tables are CONTEXTS
    × 2^table_bits, FLAT_SLOTS, ESCAPE_SLOTS, and WEIGHTS × CONTEXTS + 1; `scratch` is three rows of
    CONTEXTS + 1. All of them may hold anything.
    """
    height, width = indices.shape
    n_coded = np.int64(len(coded))
    keys, places, logits = scratch
    for context in range(CONTEXTS):
        for i in range(1 << table_bits):
            slots[context, i] = 1 << 31
    for i in range(FLAT_SLOTS):
        flat_slots[i] = 1 << 31
    for i in range(ESCAPE_SLOTS):
        escapes[i] = 1 << 31
    for i in range(WEIGHTS):
        for context in range(CONTEXTS):
            weights[i, context] = 24576
        weights[i, CONTEXTS] = 0
    for i in range(4):
        for x in range(width + LEFT + RIGHT):
            rows[i, x] = 0
    n_bits = 0
    while n_colors > 1 << n_bits:
        n_bits += 1
    low, high, code = np.int64(0), np.int64(MASK), np.int64(0)
    position = np.int64(0)
    if decoding:
        for _ in range(4):
            code = code << 8 | (np.int64(coded[position]) if position < n_coded else np.int64(0))
            position += 1
    room = n_coded + 4 if decoding else n_coded
    highest = np.int64(0)
    shift = 32 - table_bits
    for y in range(height):
        here, above = rows[y & 3], rows[(y + 3) & 3]
        second, third = rows[(y + 2) & 3], rows[(y + 1) & 3]
        for i in range(LEFT):
            here[i] = above[LEFT]
        ahead = 0
        for x in range(width):
            at = x + LEFT
            west, north = np.int64(here[at - 1]), np.int64(above[at])
            northeast, northwest = np.int64(above[at + 1]), np.int64(above[at - 1])
            index = np.int64(-1)
            if not decoding:
                index = np.int64(indices[y, x])
            bit = np.int64(0)
            flat = (
                west == north
                and west == northeast
                and west == northwest
                and west == above[at + 2]
                and west == above[at - 2]
                and west == here[at - 2]
                and west == second[at]
                and west == second[at + 1]
                and west == second[at - 1]
            )
            if flat:
                ahead = max(ahead, at)
                while ahead < at + FARTHEST and above[ahead + 1] == north:
                    ahead += 1
                slot = np.int64(flat_slots[ahead - at])
                chance = clamp(slot >> 16, FLOOR, FLAT_CEILING)
                bit, low, high, code, position = _coded(
                    decoding,
                    np.int64(index == west),
                    chance,
                    low,
                    high,
                    code,
                    coded,
                    n_coded,
                    position,
                )
                flat_slots[ahead - at] = _adapted(slot, bit, rates, FLAT_COUNT)
                if bit:
                    index = west
            if not bit:
                pattern = symbol_of(here[at - 2], west, north, northeast, northwest)
                pattern = pattern * 5 + symbol_of(second[at], west, north, northeast, northwest)
                pattern = pattern * 5 + symbol_of(above[at + 2], west, north, northeast, northwest)
                pattern = pattern * 64 + (west == north) + 2 * (west == northeast)
                pattern += 4 * (west == northwest) + 8 * (north == northeast)
                pattern += 16 * (north == northwest) + 32 * (northeast == northwest)
                keys[0] = pattern
                roles = symbol_of(above[at - 2], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(second[at - 1], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(second[at + 1], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(here[at - 3], west, north, northeast, northwest)
                keys[1] = hashed(keys[0], roles)
                roles = symbol_of(second[at + 2], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(above[at - 3], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(third[at], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(above[at + 3], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(second[at - 2], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(third[at + 1], west, north, northeast, northwest)
                keys[2] = hashed(keys[1], roles)
                roles = symbol_of(third[at + 2], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(third[at - 2], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(above[at + 4], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(second[at + 3], west, north, northeast, northwest)
                roles = roles * 5 + symbol_of(second[at - 3], west, north, northeast, northwest)
                keys[3] = hashed(keys[2], roles)
                keys[4] = hashed(
                    hashed(hashed(hashed(hashed(7, west), north), northeast), northwest),
                    np.int64(above[at + 2]),
                )
                step = 1 if flat else 0
                while step <= NEW:
                    guess = west
                    skipped = False
                    if step == 1:
                        guess = north
                        skipped = north == west
                    elif step == 2:
                        guess = northeast
                        skipped = northeast in (west, north)
                    elif step == 3:
                        guess = northwest
                        skipped = northwest in (west, north, northeast)
                    elif step == AHEAD:
                        skipped = True
                        for there in range(at + 2, at + FARTHEST + 1):
                            guess = np.int64(above[there])
                            if (
                                guess != west
                                and guess != north
                                and guess != northeast
                                and guess != northwest
                            ):
                                skipped = False
                                break
                    elif step == NEW:
                        guess = highest + 1
                        skipped = guess == n_colors
                    if skipped:
                        step += 1
                        continue
                    for context in range(CONTEXTS):
                        target = (hashed(keys[context], step) * 0xB5297) & MASK
                        places[context] = target >> shift
                        logits[context] = stretch[slots[context, places[context]] >> 20]
                    logits[CONTEXTS] = 256
                    vector = (
                        (step * 4 + _known(np.int64(slots[1, places[1]]))) * 4
                        + _known(np.int64(slots[2, places[2]]))
                    ) * 4 + _known(np.int64(slots[3, places[3]]))
                    total = np.int64(0)
                    for context in range(CONTEXTS + 1):
                        total += logits[context] * np.int64(weights[vector, context])
                    mixture = clamp(total >> 16, -REACH, REACH)
                    chance = np.int64(squash[mixture + REACH])
                    bit, low, high, code, position = _coded(
                        decoding,
                        np.int64(index == guess),
                        clamp(chance, FLOOR, 65536 - FLOOR),
                        low,
                        high,
                        code,
                        coded,
                        n_coded,
                        position,
                    )
                    error = bit * 65535 - chance
                    for context in range(CONTEXTS + 1):
                        weight = weights[vector, context] + ((logits[context] * error + 8192) >> 14)
                        weights[vector, context] = clamp(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT)
                    for context in range(CONTEXTS):
                        place = places[context]
                        slots[context, place] = _adapted(
                            np.int64(slots[context, place]), bit, rates, COUNT
                        )
                    if bit:
                        index = guess
                        break
                    step += 1
                if not bit:
                    node = np.int64(1)
                    for number in range(n_bits - 1, -1, -1):
                        bit = (index >> number) & 1
                        chance = np.int64(32768)
                        if node < ESCAPE_SLOTS:
                            chance = clamp(np.int64(escapes[node]) >> 16, FLOOR, 65536 - FLOOR)
                        bit, low, high, code, position = _coded(
                            decoding, bit, chance, low, high, code, coded, n_coded, position
                        )
                        if node < ESCAPE_SLOTS:
                            slot = np.int64(escapes[node])
                            escapes[node] = _adapted(slot, bit, rates, FLAT_COUNT)
                        node = node * 2 + bit
                    index = node - (1 << n_bits)
                    if index >= n_colors:
                        return BAD_INDEX
                highest = max(highest, index)
            here[at] = index
            if position > room:
                return BAD_END if decoding else FULL
            indices[y, x] = index
        for i in range(width + LEFT, width + LEFT + RIGHT):
            here[i] = here[width + LEFT - 1]

    if decoding:
        return 0 if n_coded <= position else BAD_END
    position = ended(coded, n_coded, low, high, position)
    return position if position <= n_coded else FULL
