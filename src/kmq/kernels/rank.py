"""Coding of index maps, method "rank": guesses from the neighbourhood, static tables, rANS.

The rules are those of FORMAT.md, section "Method 1: rank". Encoder and decoder walk the pixels in
the same order and share what they derive from the pixels so far: keys, guess, contexts, what slots
learn and how lists change. Integers only, all below 2^53.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

GUESS, WEST, NORTH, NORTHEAST, NORTHWEST, MISS = range(6)
"""What a pixel can be: the guess, one of four neighbours, or none of them."""

FIRST_BITS = 14
SECOND_BITS = 12
"""Shares of a symbol count in 2^-bits."""

DIRECT_RANKS = 16
TOP_CODE = 31
TRUST_LIMIT = 7
STATE_LOW = 1 << 16
TRUNCATED, BAD_TABLES, BAD_RANK, BAD_END = -1, -2, -3, -4


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
def _guess(west, pair, narrow, narrow_check, wide, wide_check):
    """Return what followed this neighbourhood before, and how far that is to be trusted."""
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


@kernel
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
    index_shift = 32 - hash_bits
    check_shift = 24 - hash_bits
    mask = (1 << hash_bits) - 1
    at = 0
    for y in range(height):
        here = rows[y % 3]
        above = rows[(y + 2) % 3]
        top_row = rows[(y + 1) % 3]
        west = np.int64(above[2])
        left = west << 16 | west << 8 | west
        here[0] = west
        here[1] = west
        over = np.int64(above[1]) << 16 | np.int64(above[2]) << 8 | np.int64(above[3])
        top = np.int64(top_row[1]) << 16 | np.int64(top_row[2]) << 8 | np.int64(top_row[3])
        for x in range(width):
            over = (over << 8 | np.int64(above[x + 4])) & 0xFFFFFFFF
            top = (top << 8 | np.int64(top_row[x + 4])) & 0xFFFFFFFF
            northwest = over >> 24
            north = (over >> 16) & 255
            northeast = (over >> 8) & 255
            farther = over & 255
            key = _narrow_key(over, top, left)
            narrow_place = (key >> index_shift) & mask
            narrow_check = (key >> check_shift) & 255
            key = _wide_key(key, top, left, np.int64(above[x]))
            wide_place = (key >> index_shift) & mask
            wide_check = (key >> check_shift) & 255
            narrow = np.int64(narrow_slots[narrow_place])
            wide = np.int64(wide_slots[wide_place])
            pair = np.int64(pairs[west, north])
            guess, trusted = _guess(west, pair, narrow, narrow_check, wide, wide_check)
            activity = _activity(levels, west, north, northeast, northwest)
            context = _context(
                trusted, west, north, northeast, northwest, farther, guess, missed, activity
            )
            index = np.int64(indices[y, x])
            symbol = GUESS
            missed = 0
            if index != guess:
                missed = 1
                symbol = MISS
                if index == northwest:
                    symbol = NORTHWEST
                if index == northeast:
                    symbol = NORTHEAST
                if index == north:
                    symbol = NORTH
                if index == west:
                    symbol = WEST
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
            narrow_slots[narrow_place] = _learn(narrow, narrow_check, index)
            wide_slots[wide_place] = _learn(wide, wide_check, index)
            pairs[west, north] = _learn(pair, 0, index)
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


@kernel
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


@kernel
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
    index_shift = 32 - hash_bits
    check_shift = 24 - hash_bits
    mask = (1 << hash_bits) - 1
    for y in range(height):
        here = rows[y % 3]
        above = rows[(y + 2) % 3]
        top_row = rows[(y + 1) % 3]
        west = np.int64(above[2])
        left = west << 16 | west << 8 | west
        here[0] = west
        here[1] = west
        over = np.int64(above[1]) << 16 | np.int64(above[2]) << 8 | np.int64(above[3])
        top = np.int64(top_row[1]) << 16 | np.int64(top_row[2]) << 8 | np.int64(top_row[3])
        for x in range(width):
            over = (over << 8 | np.int64(above[x + 4])) & 0xFFFFFFFF
            top = (top << 8 | np.int64(top_row[x + 4])) & 0xFFFFFFFF
            northwest = over >> 24
            north = (over >> 16) & 255
            northeast = (over >> 8) & 255
            farther = over & 255
            key = _narrow_key(over, top, left)
            narrow_place = (key >> index_shift) & mask
            narrow_check = (key >> check_shift) & 255
            key = _wide_key(key, top, left, np.int64(above[x]))
            wide_place = (key >> index_shift) & mask
            wide_check = (key >> check_shift) & 255
            narrow = np.int64(narrow_slots[narrow_place])
            wide = np.int64(wide_slots[wide_place])
            pair = np.int64(pairs[west, north])
            guess, trusted = _guess(west, pair, narrow, narrow_check, wide, wide_check)
            activity = _activity(levels, west, north, northeast, northwest)
            context = _context(
                trusted, west, north, northeast, northwest, farther, guess, missed, activity
            )
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
            narrow_slots[narrow_place] = _learn(narrow, narrow_check, index)
            wide_slots[wide_place] = _learn(wide, wide_check, index)
            pairs[west, north] = _learn(pair, 0, index)
            out_indices[y, x] = index
            here[x + 2] = index
            left = (left << 8 | index) & 0xFFFFFF
            west = index
        here[width + 2] = west
        here[width + 3] = west
    if position != n_words or a != STATE_LOW or b != STATE_LOW:
        return BAD_END
    return 0


@inlined
def _information(count, logarithms):
    """count · log2(count) in units of 2^-16 bit; `logarithms` are those of 1 to 4,096."""
    shift = np.int64(0)
    while count >> shift > 4095:
        shift += 1
    at = count >> shift
    low = np.int64(logarithms[at])
    if shift:
        rest = count - (at << shift)
        low += (shift << 16) + ((np.int64(logarithms[at + 1]) - low) * rest >> shift)
    return count * low


@inlined
def _best_split(tally, radices, logarithms, least, totals, below):
    """Return the variable and threshold that save most bits above `least`, and what they save.

    The variable is -1 if none does. `totals` and `below` are memory to work in.
    """
    n_symbols = len(totals)
    for symbol in range(n_symbols):
        totals[symbol] = 0
        for row in range(radices[0]):
            totals[symbol] += tally[row, symbol]
    total = np.int64(0)
    base = np.int64(0)
    for symbol in range(n_symbols):
        total += totals[symbol]
        base -= _information(totals[symbol], logarithms)
    base += _information(total, logarithms)
    most = np.int64(least)
    best_variable = -1
    best_threshold = 0
    if base <= least:
        return best_variable, best_threshold, most
    row = 0
    for variable in range(len(radices)):
        passed = np.int64(0)
        for value in range(radices[variable]):
            before = passed
            for symbol in range(n_symbols):
                count = tally[row, symbol]
                passed += count
                below[symbol] = count + below[symbol] if value else count
            row += 1
            if passed in (before, total):
                continue
            saved = base - _information(passed, logarithms)
            saved -= _information(total - passed, logarithms)
            for symbol in range(n_symbols):
                saved += _information(below[symbol], logarithms)
                saved += _information(totals[symbol] - below[symbol], logarithms)
            if saved > most:
                most = saved
                best_variable = variable
                best_threshold = value
    return best_variable, best_threshold, most


def tree_scratch(
    n_contexts: int, n_symbols: int, radices: list[int], max_leaves: int
) -> tuple[tuple[tuple[int, ...], type], ...]:
    """Return shapes and types of the arrays that `grow_tree` works in."""
    width = sum(radices)
    return (
        ((max_leaves, width, n_symbols), np.int64),
        ((width, n_symbols), np.int64),
        ((n_contexts,), np.int64),
        ((n_contexts,), np.int64),
        ((n_contexts, len(radices)), np.uint8),
        ((2, n_symbols), np.int64),
        ((6, max_leaves), np.int64),
        ((2 * max_leaves, 3), np.int64),
    )


@kernel
def grow_tree(counts, seen, radices, logarithms, price, scratch, out_nodes, out_tables):
    """Split contexts (n, symbols) by the digits of their numbers as long as that saves bits.

    The split that saves most comes first, until none saves more than `price` (in 2^-16 bit) or
    there are as many leaves as `out_tables` (leaves, symbols) takes counts of. `out_nodes`
    (2 · leaves, 2): variable and threshold of each node in preorder, variable -1 for a leaf.
    Returns the number of nodes. A leaf has a tally: the counts of each value of each variable. It
    is the parent's less the sibling's, so that only the smaller sibling is counted.

    Of contexts that are not `seen` there are no counts. At the end there are none of any, as before
    the first strip. `scratch` is arrays as `tree_scratch` says.
    """
    n_contexts, n_symbols = counts.shape
    n_variables = len(radices)
    max_leaves = len(out_tables)
    # `contexts` are those that occur, each leaf's side by side; `rows` those of the tally that a
    # context counts in. A leaf: its contexts, its node, and the split it would like. A node:
    # variable and threshold, and its lower child (the upper is next) or its leaf.
    tallies, part, contexts, spare, rows, sums, leaves, nodes = scratch
    totals, below = sums[0], sums[1]
    begins, ends, homes = leaves[0], leaves[1], leaves[2]
    variables, thresholds, savings = leaves[3], leaves[4], leaves[5]
    width = len(part)
    for row in range(width):
        for symbol in range(n_symbols):
            tallies[0, row, symbol] = 0
    n_occurring = 0
    for context in range(n_contexts):
        if not seen[context]:
            continue
        seen[context] = 0
        contexts[n_occurring] = context
        n_occurring += 1
        rest = context
        row = width
        for variable in range(n_variables - 1, -1, -1):
            row -= radices[variable]
            rows[context, variable] = row + rest % radices[variable]
            rest //= radices[variable]
            for symbol in range(n_symbols):
                tallies[0, rows[context, variable], symbol] += counts[context, symbol]
    for node in range(2 * max_leaves):
        nodes[node, 0] = -1
        nodes[node, 1] = -1
    begins[0] = 0
    homes[0] = 0
    nodes[0, 2] = 0
    ends[0] = n_occurring
    n_nodes = 1
    n_leaves = 1
    fresh = 0
    while True:
        for leaf in (fresh, n_leaves - 1):
            variables[leaf], thresholds[leaf], savings[leaf] = _best_split(
                tallies[leaf], radices, logarithms, price, totals, below
            )
        fresh = -1
        for leaf in range(n_leaves):
            if variables[leaf] >= 0 and (fresh < 0 or savings[leaf] > savings[fresh]):
                fresh = leaf
        if fresh < 0 or n_leaves == max_leaves:
            break
        home = homes[fresh]
        nodes[home, 0] = variables[fresh]
        nodes[home, 1] = thresholds[fresh]
        nodes[home, 2] = n_nodes
        nodes[n_nodes, 2] = n_leaves
        nodes[n_nodes + 1, 2] = fresh
        homes[n_leaves] = n_nodes
        homes[fresh] = n_nodes + 1
        n_nodes += 2
        row = thresholds[fresh]
        for variable in range(variables[fresh]):
            row += radices[variable]
        begin = begins[fresh]
        end = ends[fresh]
        middle = begin
        n_spare = 0
        for at in range(begin, end):
            context = contexts[at]
            if rows[context, variables[fresh]] <= row:
                contexts[middle] = context
                middle += 1
            else:
                spare[n_spare] = context
                n_spare += 1
        for at in range(n_spare):
            contexts[middle + at] = spare[at]
        begins[n_leaves] = begin
        ends[n_leaves] = middle
        begins[fresh] = middle
        lower_counts = middle - begin <= n_spare
        for row in range(width):
            for symbol in range(n_symbols):
                part[row, symbol] = 0
        for at in range(begin if lower_counts else middle, middle if lower_counts else end):
            context = contexts[at]
            for variable in range(n_variables):
                for symbol in range(n_symbols):
                    part[rows[context, variable], symbol] += counts[context, symbol]
        for row in range(width):
            for symbol in range(n_symbols):
                rest = tallies[fresh, row, symbol] - part[row, symbol]
                tallies[n_leaves, row, symbol] = part[row, symbol] if lower_counts else rest
                tallies[fresh, row, symbol] = rest if lower_counts else part[row, symbol]
        n_leaves += 1
    for at in range(n_occurring):
        for symbol in range(n_symbols):
            counts[contexts[at], symbol] = 0
    # In preorder; `ends` serves as the stack.
    ends[0] = 0
    depth = 1
    n_leaves = 0
    for place in range(n_nodes):
        depth -= 1
        node = ends[depth]
        out_nodes[place, 0] = nodes[node, 0]
        out_nodes[place, 1] = nodes[node, 1]
        if nodes[node, 0] >= 0:
            ends[depth] = nodes[node, 2] + 1
            ends[depth + 1] = nodes[node, 2]
            depth += 2
            continue
        for symbol in range(n_symbols):
            out_tables[n_leaves, symbol] = 0
            for row in range(radices[0]):
                out_tables[n_leaves, symbol] += tallies[nodes[node, 2], row, symbol]
        n_leaves += 1
    return n_nodes


@inlined
def _write(stream, at, value, bits):
    """Append `bits` bits of `value`, highest first; return the next bit's number."""
    for bit in range(bits - 1, -1, -1):
        if (value >> bit) & 1:
            stream[at >> 3] |= 0x80 >> (at & 7)
        at += 1
    return at


@inlined
def _read(stream, at, bits):
    """Read `bits` bits, highest first; bits beyond the end are 0."""
    value = np.int64(0)
    for bit in range(at, at + bits):
        value <<= 1
        if bit >> 3 < len(stream):
            value |= (np.int64(stream[bit >> 3]) >> (7 - (bit & 7))) & 1
    return value


@inlined
def _width(span):
    """Bits of a number from 0 to `span`."""
    bits = 0
    while span >> bits:
        bits += 1
    return bits


@inlined
def _rice(total, count):
    """Parameter for numbers whose `count` predecessors sum to `total`."""
    parameter = 0
    while count << parameter < total:
        parameter += 1
    return parameter


@inlined
def _code_of(count, largest, weights):
    """Return the code whose weight is nearest to 65,536 · count / largest."""
    if count == 0:
        return 0
    wanted = count * weights[TOP_CODE] // largest
    code = 1
    while code < TOP_CODE and wanted * 2 > weights[code] + weights[code + 1]:
        code += 1
    return code


@kernel
def write_tables(nodes, tables, radices, weights, smooth, at, sums, out_stream):
    """Write tree and tables of one alphabet from bit `at` on; return the next bit's number.

    `sums` (symbols,) int64 is scratch.
    """
    n_variables = len(radices)
    n_nodes = len(nodes)
    n_symbols = tables.shape[1]
    for node in range(n_nodes):
        variable = nodes[node, 0]
        at = _write(out_stream, at, np.int64(variable >= 0), 1)
        if variable >= 0:
            at = _write(out_stream, at, variable, _width(n_variables - 1))
            at = _write(out_stream, at, nodes[node, 1], _width(radices[variable] - 2))
    for symbol in range(n_symbols):
        sums[symbol] = 0
    for leaf in range((n_nodes + 1) // 2):
        largest = np.int64(1)
        for symbol in range(n_symbols):
            largest = max(largest, tables[leaf, symbol])
        before = TOP_CODE
        for symbol in range(n_symbols):
            code = _code_of(tables[leaf, symbol], largest, weights)
            at = _write(out_stream, at, np.int64(code > 0), 1)
            if code == 0:
                continue
            value = TOP_CODE - code
            if smooth:
                value = 2 * (before - code) if code <= before else 2 * (code - before) - 1
                before = code
            parameter = _rice(sums[symbol] + 16, leaf + 2)
            for _ in range(value >> parameter):
                at = _write(out_stream, at, np.int64(1), 1)
            at = _write(out_stream, at, np.int64(0), 1)
            at = _write(out_stream, at, value & ((1 << parameter) - 1), parameter)
            sums[symbol] += value
    return at


@kernel
def read_tables(
    stream, at, radices, weights, smooth, scale_bits, spans, digits, sums, out_leaves, out_bounds,
    out_symbols,
):  # fmt: skip
    """Read what `write_tables` wrote; return the next bit's number, or a negative status.

    `out_leaves`: for each context its leaf; `out_bounds` (most leaves, symbols + 1): where each
    symbol's share of 2^scale_bits begins; `out_symbols` (most leaves, 2^scale_bits), or empty:
    whose share each value belongs to. Any bytes give tables that hold, or a status.

    `spans` (2, most leaves + 1, variables), `digits` (variables,) and `sums` (symbols,), int64, are
    scratch.
    """
    n_variables = len(radices)
    max_leaves = len(out_bounds)
    n_symbols = out_bounds.shape[1] - 1
    lows, highs = spans[0], spans[1]
    for variable in range(n_variables):
        lows[0, variable] = 0
        highs[0, variable] = radices[variable] - 1
    depth = 1
    n_leaves = 0
    while depth:
        depth -= 1
        split = _read(stream, at, 1)
        at += 1
        if split:
            variable = _read(stream, at, _width(n_variables - 1))
            at += _width(n_variables - 1)
            if variable >= n_variables or n_leaves + depth + 2 > max_leaves:
                return BAD_TABLES
            threshold = _read(stream, at, _width(radices[variable] - 2))
            at += _width(radices[variable] - 2)
            if threshold < lows[depth, variable] or threshold >= highs[depth, variable]:
                return BAD_TABLES
            for other in range(n_variables):
                lows[depth + 1, other] = lows[depth, other]
                highs[depth + 1, other] = highs[depth, other]
            highs[depth + 1, variable] = threshold
            lows[depth, variable] = threshold + 1
            depth += 2
            continue
        for variable in range(n_variables):
            digits[variable] = lows[depth, variable]
        last = n_variables - 1  # those after it have all their values, and contexts are in a row
        size = np.int64(1)
        while last > 0 and highs[depth, last] - lows[depth, last] == radices[last] - 1:
            size *= radices[last]
            last -= 1
        size *= highs[depth, last] - lows[depth, last] + 1
        digit = 0
        while digit >= 0:
            context = np.int64(0)
            for variable in range(n_variables):
                context = context * radices[variable] + digits[variable]
            for step in range(size):
                out_leaves[context + step] = n_leaves
            digit = last - 1
            while digit >= 0 and digits[digit] == highs[depth, digit]:
                digits[digit] = lows[depth, digit]
                digit -= 1
            if digit >= 0:
                digits[digit] += 1
        n_leaves += 1
    for symbol in range(n_symbols):
        sums[symbol] = 0
    for leaf in range(n_leaves):
        before = TOP_CODE
        total = np.int64(0)
        favourite = 0
        for symbol in range(n_symbols):
            code = np.int64(0)
            if _read(stream, at, 1):
                parameter = _rice(sums[symbol] + 16, leaf + 2)
                value = np.int64(0)
                at += 1
                while _read(stream, at, 1):
                    value += 1
                    at += 1
                    if value > 2 * TOP_CODE:
                        return BAD_TABLES
                value = value << parameter | _read(stream, at + 1, parameter)
                at += parameter
                sums[symbol] += value
                code = TOP_CODE - value
                if smooth:
                    code = before - (value >> 1) if value & 1 == 0 else before + (value + 1 >> 1)
                    before = code
                if code < 1 or code > TOP_CODE:
                    return BAD_TABLES
            at += 1
            out_bounds[leaf, symbol + 1] = weights[code]
            total += weights[code]
            if weights[code] > out_bounds[leaf, favourite + 1]:
                favourite = symbol
        spread = (1 << scale_bits) - n_symbols
        rest = spread
        for symbol in range(n_symbols):
            share = np.int64(0)
            if total:
                share = np.int64(out_bounds[leaf, symbol + 1]) * spread // total
            out_bounds[leaf, symbol + 1] = share + 1
            rest -= share
        out_bounds[leaf, favourite + 1] += rest
        out_bounds[leaf, 0] = 0
        for symbol in range(n_symbols):
            start = out_bounds[leaf, symbol]
            out_bounds[leaf, symbol + 1] += start
            if len(out_symbols):
                for value in range(start, out_bounds[leaf, symbol + 1]):
                    out_symbols[leaf, value] = symbol
    return at if at <= 8 * len(stream) else TRUNCATED
