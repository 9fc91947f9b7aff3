"""Coding of index maps, method "rank": guesses from the neighbourhood, static tables, rANS. The
tables are grown and stored in `rank_tree` and `rank_tables`.

The rules are those of FORMAT.md, section "Method 1: rank". Encoder and decoder walk the pixels in
the same order and share what they derive from the pixels so far: keys, guess, contexts, what slots
learn and how lists change. Integers only, all below 2^53.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel
from kmq.kernels._neighbours import symbol_of

GUESS, WEST, NORTH, NORTHEAST, NORTHWEST, MISS = range(6)
"""What a pixel can be: the guess, one of four neighbours, or none of them."""

FIRST_BITS = 14
SECOND_BITS = 12
"""Shares of a symbol count in 2^-bits."""

DIRECT_RANKS = 16
TRUST_LIMIT = 7
STATE_LOW = 1 << 16
TRUNCATED, BAD_RANK, BAD_END = -1, -3, -4


@inlined
def _narrow_key(over, top, left):
    """Number eight neighbours: NW N NE NEE in `over`, NN NNE in `top`, WW W in `left`."""
    return (
        (over >> 16) * 0x9E3779B1
        + (over & 0xFFFF) * 0x85EBCA77
        + ((top >> 8) & 0xFFFF) * 0xC2B2AE3D
        + (left & 0xFFFF) * 0x27D4EB2F
    )


@inlined
def _wide_key(narrow, top, left, farther):
    """Add NNW and NNEE in `top`, WWW in `left`, and NWW."""
    return (
        narrow
        + (top >> 24) * 0x165667B1
        + (top & 255) * 0xD3A2646D
        + (((left >> 8) & 0xFF00) | farther) * 0xFD7046C5
    )


@inlined
def _begin_row(rows, y):
    """Return three rows, this one and those above; the pixel before the first; and the pixels left
    of it, above it and two rows above it, as `_narrow_key` has them, but for the last."""
    here, above, top_row = rows[y % 3], rows[(y + 2) % 3], rows[(y + 1) % 3]
    west = np.int64(above[2])
    here[0] = west
    here[1] = west
    left = west << 16 | west << 8 | west
    over = np.int64(above[1]) << 16 | np.int64(above[2]) << 8 | np.int64(above[3])
    top = np.int64(top_row[1]) << 16 | np.int64(top_row[2]) << 8 | np.int64(top_row[3])
    return here, above, top_row, west, left, over, top


@inlined
def _neighbours(over):
    """Return NW, N, NE and NEE."""
    return over >> 24, (over >> 16) & 255, (over >> 8) & 255, over & 255


@inlined
def _recall(over, top, left, farther, west, hash_bits, narrow_slots, wide_slots, pairs):
    """Return places and checks of the slots of this neighbourhood, and what is in them: in that of
    few neighbours, that of more, and that of the pair of W and N."""
    mask = (1 << hash_bits) - 1
    narrow_key = _narrow_key(over, top, left)
    wide_key = _wide_key(narrow_key, top, left, farther)
    narrow_place = (narrow_key >> (32 - hash_bits)) & mask
    wide_place = (wide_key >> (32 - hash_bits)) & mask
    narrow_check = (narrow_key >> (24 - hash_bits)) & 255
    wide_check = (wide_key >> (24 - hash_bits)) & 255
    slots = (
        np.int64(narrow_slots[narrow_place]),
        np.int64(wide_slots[wide_place]),
        np.int64(pairs[west, (over >> 16) & 255]),
    )
    return (narrow_place, narrow_check, wide_place, wide_check), slots


@inlined
def _guess(west, keys, slots):
    """Return what followed this neighbourhood before, and how far that is to be trusted."""
    _, narrow_check, _, wide_check = keys
    narrow, wide, pair = slots
    guess = west
    trusted = np.int64(0)
    if pair:
        guess = pair >> 8
        trusted = (pair & 255) + TRUST_LIMIT
    if narrow >> 16 == narrow_check and narrow & 255:
        guess = (narrow >> 8) & 255
        trusted = narrow & 255
    if wide >> 16 == wide_check and wide & 255:
        guess = (wide >> 8) & 255
        trusted = (wide & 255) + 2 * TRUST_LIMIT
    return guess, trusted


@inlined
def _activity(levels, west, north, northeast, northwest):
    """Return the greatest of three distances around a pixel, as a level from 0 to 7."""
    return max(
        np.int64(levels[west, north]),
        np.int64(levels[north, northeast]),
        np.int64(levels[west, northwest]),
    )


@inlined
def _context(trusted, west, north, northeast, northwest, farther, guess, missed, activity):
    """Number what is known before a pixel: FORMAT.md, "Contexts"."""
    source = 0
    if guess == northwest:
        source = 4
    if guess == northeast:
        source = 3
    if guess == north:
        source = 2
    if guess == west:
        source = 1
    context = trusted * 5 + source
    context = context * 2 + (west == north)
    context = context * 2 + (north == northeast)
    context = context * 2 + (west == northwest)
    context = context * 2 + (west == northeast)
    context = context * 2 + (northeast == farther)
    return (context * 2 + missed) * 8 + activity


@inlined
def _expect(levels, west, neighbours, keys, slots, missed):
    """Return the guess of a pixel, the activity around it, and its context."""
    northwest, north, northeast, farther = neighbours
    guess, trusted = _guess(west, keys, slots)
    activity = _activity(levels, west, north, northeast, northwest)
    context = _context(trusted, west, north, northeast, northwest, farther, guess, missed, activity)
    return guess, activity, context


@inlined
def _learn(slot, check, index):
    """Return the slot (check · 65,536 + index · 256 + trust) after it saw `index`."""
    trust = slot & 255
    if slot >> 16 != check or trust == 0:
        return (check << 16) | (index << 8) | 1
    if ((slot >> 8) & 255) == index:
        return slot + 1 if trust < TRUST_LIMIT else slot
    if trust > 1:
        return slot - trust + (trust >> 1)
    return (check << 16) | (index << 8) | 1


@inlined
def _remember(keys, slots, west, north, index, narrow_slots, wide_slots, pairs):
    """Let the slots of a neighbourhood learn what `index` followed it."""
    narrow_place, narrow_check, wide_place, wide_check = keys
    narrow, wide, pair = slots
    narrow_slots[narrow_place] = _learn(narrow, narrow_check, index)
    wide_slots[wide_place] = _learn(wide, wide_check, index)
    pairs[west, north] = _learn(pair, 0, index)


@inlined
def _anchor(distances, west, north, northwest, west2, north2):
    """Return the neighbour in whose list a missed index is looked up."""
    along = np.int64(distances[west, west2]) + np.int64(distances[north, northwest])
    across = np.int64(distances[west, northwest]) + np.int64(distances[north, north2])
    return north if across < along else west


@inlined
def _second_context(places, anchor, west, north, northeast, northwest, activity):
    """Number what is known before a rank: FORMAT.md, "Contexts of ranks"."""
    crowd = np.int64(0)
    if west != anchor:
        crowd = np.int64(places[anchor, west])
    if north != anchor:
        crowd = max(crowd, np.int64(places[anchor, north]))
    if northeast != anchor:
        crowd = max(crowd, np.int64(places[anchor, northeast]))
    if northwest != anchor:
        crowd = max(crowd, np.int64(places[anchor, northwest]))
    level = np.int64(crowd > 1) + np.int64(crowd > 3) + np.int64(crowd > 6)
    level += np.int64(crowd > 10) + np.int64(crowd > 16) + np.int64(crowd > 25)
    level += np.int64(crowd > 50)
    return activity * 8 + level


@inlined
def _excluded(places, anchor, place, west, north, northeast, northwest, guess):
    """Count the entries of a list up to `place` that the first symbol has ruled out."""
    count = np.int64(0)
    if west != anchor and places[anchor, west] <= place:
        count += 1
    if north != anchor and north != west and places[anchor, north] <= place:
        count += 1
    if (
        northeast != anchor
        and northeast != west
        and northeast != north
        and places[anchor, northeast] <= place
    ):
        count += 1
    if (
        northwest != anchor
        and northwest != west
        and northwest != north
        and northwest != northeast
        and places[anchor, northwest] <= place
    ):
        count += 1
    if (
        guess != anchor
        and guess != west
        and guess != north
        and guess != northeast
        and guess != northwest
        and places[anchor, guess] <= place
    ):
        count += 1
    return count


@inlined
def _promote(order, places, anchor, place):
    """Swap the entry of a list with the one an eighth of the way towards its head."""
    other = (7 * place) >> 3
    index = np.int64(order[anchor, place])
    passed = np.int64(order[anchor, other])
    order[anchor, other] = index
    order[anchor, place] = passed
    places[anchor, index] = other
    places[anchor, passed] = place


@inlined
def _token(rank):
    """Symbol of a rank, and how many plain bits follow."""
    if rank < DIRECT_RANKS:
        return rank, 0
    bits = 3
    while rank >> (bits + 2):
        bits += 1
    return 10 + 2 * bits + ((rank >> bits) & 1), bits


@kernel(
    "u1[:, :], u1[:, :], u2[:, :], u1[:, :], u1[:, :], i8, u1[:, :], u4[:], u4[:], u2[:, :],"
    "u4[:, :], u1[:], u4[:, :], u1[:], u4[:], u2[:]"
)
def model_strip(
    indices,
    levels,
    distances,
    order,
    places,
    hash_bits,
    rows,
    narrow_slots,
    wide_slots,
    pairs,
    first_counts,
    first_seen,
    second_counts,
    second_seen,
    out_first,
    out_second,
):
    """Turn indices (h, w) uint8 into symbols; return the number of ranks.

    `out_first`: context · 8 + symbol for each pixel; `out_second`: context · 256 + rank for each
    miss. The counts are those of the symbols by context; contexts that occur are marked as seen.
    """
    height, width = indices.shape
    missed = np.int64(0)
    n_second = 0
    at = 0
    for y in range(height):
        here, above, top_row, west, left, over, top = _begin_row(rows, y)
        for x in range(width):
            over = (over << 8 | np.int64(above[x + 4])) & 0xFFFFFFFF
            top = (top << 8 | np.int64(top_row[x + 4])) & 0xFFFFFFFF
            neighbours = _neighbours(over)
            northwest, north, northeast, _ = neighbours
            farther = np.int64(above[x])
            keys, slots = _recall(
                over, top, left, farther, west, hash_bits, narrow_slots, wide_slots, pairs
            )
            guess, activity, context = _expect(levels, west, neighbours, keys, slots, missed)
            index = np.int64(indices[y, x])
            symbol = GUESS
            missed = 0
            if index != guess:
                missed = 1
                symbol = WEST + symbol_of(index, west, north, northeast, northwest)
                anchor = _anchor(
                    distances, west, north, northwest, (left >> 8) & 255, (top >> 16) & 255
                )
                place = np.int64(places[anchor, index])
                if symbol == MISS:
                    second = _second_context(
                        places, anchor, west, north, northeast, northwest, activity
                    )
                    rank = place - _excluded(
                        places, anchor, place, west, north, northeast, northwest, guess
                    )
                    out_second[n_second] = second << 8 | rank
                    n_second += 1
                    second_counts[second, _token(rank)[0]] += 1
                    second_seen[second] = 1
                if index != anchor:
                    _promote(order, places, anchor, place)
            out_first[at] = context << 3 | symbol
            at += 1
            first_counts[context, symbol] += 1
            first_seen[context] = 1
            _remember(keys, slots, west, north, index, narrow_slots, wide_slots, pairs)
            here[x + 2] = index
            left = (left << 8 | index) & 0xFFFFFF
            west = index
        here[width + 2] = west
        here[width + 3] = west
    return n_second


@inlined
def _put(words, end, state, start, share, bits):
    """Encode one symbol: return the next state and where the words now begin."""
    if state >= share << (32 - bits):
        end -= 1
        words[end] = state & 0xFFFF
        state >>= 16
    quotient = np.int64(np.uint32(state) // np.uint32(share))
    return (quotient << bits) + state - quotient * share + start, end


@kernel("u4[:], u2[:], u1[:], i4[:, :], u1[:], i4[:, :], u2[:], u4[:]")
def encode_symbols(
    first, second, first_leaves, first_bounds, second_leaves, second_bounds, out_words, out_states
):
    """Code the symbols last to first; return where in `out_words` the words begin.

    The decoder takes the two states in turn, so the encoder does, from the end.
    """
    end = len(out_words)
    n_second = len(second)
    a = np.int64(STATE_LOW)
    b = np.int64(STATE_LOW)
    for at in range(len(first) - 1, -1, -1):
        item = np.int64(first[at])
        symbol = item & 7
        if symbol == MISS:
            n_second -= 1
            rank = np.int64(second[n_second])
            leaf = np.int64(second_leaves[rank >> 8])
            rank &= 255
            token, bits = _token(rank)
            if bits:
                free = SECOND_BITS - bits
                rest = (rank & ((1 << bits) - 1)) << free
                b, end = _put(out_words, end, b, rest, np.int64(1) << free, SECOND_BITS)
                a, b = b, a
            start = np.int64(second_bounds[leaf, token])
            share = np.int64(second_bounds[leaf, token + 1]) - start
            b, end = _put(out_words, end, b, start, share, SECOND_BITS)
            a, b = b, a
        leaf = np.int64(first_leaves[item >> 3])
        start = np.int64(first_bounds[leaf, symbol])
        share = np.int64(first_bounds[leaf, symbol + 1]) - start
        b, end = _put(out_words, end, b, start, share, FIRST_BITS)
        a, b = b, a
    out_states[0] = a
    out_states[1] = b
    return end


@kernel(
    "i8, i8, u2[:], u1[:], i4[:, :], u1[:], i4[:, :], u1[:, :], u1[:, :], u2[:, :], u1[:, :],"
    "u1[:, :], i8, u1[:, :], u4[:], u4[:], u2[:, :], u1[:, :]"
)
def decode_strip(
    state_a,
    state_b,
    words,
    first_leaves,
    first_bounds,
    second_leaves,
    second_bounds,
    second_tokens,
    levels,
    distances,
    order,
    places,
    hash_bits,
    rows,
    narrow_slots,
    wide_slots,
    pairs,
    out_indices,
):
    """Undo `model_strip` and `encode_symbols`; return a status."""
    height, width = out_indices.shape
    n_words = len(words)
    n_colors = len(order)
    a = np.int64(state_a)
    b = np.int64(state_b)
    position = 0
    missed = np.int64(0)
    for y in range(height):
        here, above, top_row, west, left, over, top = _begin_row(rows, y)
        for x in range(width):
            over = (over << 8 | np.int64(above[x + 4])) & 0xFFFFFFFF
            top = (top << 8 | np.int64(top_row[x + 4])) & 0xFFFFFFFF
            neighbours = _neighbours(over)
            northwest, north, northeast, _ = neighbours
            farther = np.int64(above[x])
            keys, slots = _recall(
                over, top, left, farther, west, hash_bits, narrow_slots, wide_slots, pairs
            )
            guess, activity, context = _expect(levels, west, neighbours, keys, slots, missed)
            leaf = np.int64(first_leaves[context])
            value = a & ((1 << FIRST_BITS) - 1)
            bound = np.int64(first_bounds[leaf, 1])
            missed = 0
            index = guess
            if value < bound:
                a = bound * (a >> FIRST_BITS) + value
            else:
                missed = 1
                symbol = WEST
                while value >= first_bounds[leaf, symbol + 1]:
                    symbol += 1
                start = np.int64(first_bounds[leaf, symbol])
                share = np.int64(first_bounds[leaf, symbol + 1]) - start
                a = share * (a >> FIRST_BITS) + value - start
                anchor = _anchor(
                    distances, west, north, northwest, (left >> 8) & 255, (top >> 16) & 255
                )
                index = west
                if symbol == NORTH:
                    index = north
                if symbol == NORTHEAST:
                    index = northeast
                if symbol == NORTHWEST:
                    index = northwest
                if symbol == MISS:
                    if a < STATE_LOW:
                        if position == n_words:
                            return TRUNCATED
                        a = a << 16 | np.int64(words[position])
                        position += 1
                    a, b = b, a
                    second = _second_context(
                        places, anchor, west, north, northeast, northwest, activity
                    )
                    leaf = np.int64(second_leaves[second])
                    value = a & ((1 << SECOND_BITS) - 1)
                    rank = np.int64(second_tokens[leaf, value])
                    start = np.int64(second_bounds[leaf, rank])
                    share = np.int64(second_bounds[leaf, rank + 1]) - start
                    a = share * (a >> SECOND_BITS) + value - start
                    if rank >= DIRECT_RANKS:
                        if a < STATE_LOW:
                            if position == n_words:
                                return TRUNCATED
                            a = a << 16 | np.int64(words[position])
                            position += 1
                        a, b = b, a
                        bits = (rank - 10) >> 1
                        free = SECOND_BITS - bits
                        rest = (a & ((1 << SECOND_BITS) - 1)) >> free
                        a = (a >> SECOND_BITS << free) + (a & ((1 << free) - 1))
                        rank = (2 | (rank & 1)) << bits | rest
                    place = rank
                    while True:
                        farther_on = rank + _excluded(
                            places, anchor, place, west, north, northeast, northwest, guess
                        )
                        if farther_on == place:
                            break
                        place = farther_on
                    if place >= n_colors - 1:
                        return BAD_RANK
                    index = np.int64(order[anchor, place])
                if index != anchor:
                    _promote(order, places, anchor, np.int64(places[anchor, index]))
            if a < STATE_LOW:
                if position == n_words:
                    return TRUNCATED
                a = a << 16 | np.int64(words[position])
                position += 1
            a, b = b, a
            _remember(keys, slots, west, north, index, narrow_slots, wide_slots, pairs)
            out_indices[y, x] = index
            here[x + 2] = index
            left = (left << 8 | index) & 0xFFFFFF
            west = index
        here[width + 2] = west
        here[width + 3] = west
    if position != n_words or a != STATE_LOW or b != STATE_LOW:
        return BAD_END
    return 0
