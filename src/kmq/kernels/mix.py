"""Coding of index maps, method "mix": many predictions of each binary decision, mixed.

The rules are those of FORMAT.md, section "Method 2: mix". A decoder learns pixel by pixel which
decisions come next; an encoder knows, so it plans those of some pixels before it predicts them.
Both predict and learn by the same functions. Integers only, all below 2^53.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._decisions import FLOOR, MASK, REACH, clamp, ended, hashed, shift
from kmq.kernels._jit import inlined, kernel, leading_zeros
from kmq.kernels._lanes import expect, lane, store
from kmq.kernels._mix_lanes import (
    HASHED,
    LANES,
    N_PLANES,
    ROW_SPAN,
    RUN_SPAN,
    RUNS,
    adapted,
    count_known,
    differ,
    expect_dense,
    expect_lines,
    fetch,
    homes_of,
    in_runs,
    keep,
    keys_of,
    line_starts,
    load_eight,
    mixture_of,
    moved_by,
    open_lines,
    open_rest,
    opinions_of,
    paint,
    pick,
    places_at_west,
    places_of,
    put,
    targets_of,
    train,
    train_shares,
)

N_SETS = 3
SHARES = 4
"""Numbers of a row of `blend`, of which the last is never used."""

STEP_BITS = 7
STEPS = 46
"""Steps of 2^STEP_BITS logits that refine a probability, the two ends included and one spare."""

LONGEST_RUN = 31

HURRY = 32_768
"""Pixels, about, during which weights learn twice as fast."""

FULL, BAD_END, TOO_LONG = -1, -2, -3

LEFT, RIGHT = 3, 2
"""Columns beside those of the strip that a row of `recent` has room for."""

SLACK = 8
"""Slots after those of the last line, which are read and written with it."""

AHEAD = 32
"""Pixels whose decisions an encoder plans at a time."""

MOST_STEPS, MOST_OPENINGS = AHEAD * 17, AHEAD * 5
"""Decisions of so many pixels with 65,536 colours, and lines that each lane goes to for them."""

SCRATCH = (
    ((8,), np.uint32),
    ((32,), np.uint32),
    ((8,), np.uint32),
    ((4,), np.uint32),
    ((4, N_PLANES), np.int32),
    ((RUNS,), np.int64),
    ((RUNS,), np.int64),
    ((RUNS,), np.int64),
    ((8 * AHEAD,), np.uint32),
    ((AHEAD,), np.uint32),
    ((AHEAD, 4), np.int64),
    ((16 * MOST_STEPS,), np.uint32),
    ((16 * MOST_OPENINGS,), np.uint32),
    ((MOST_STEPS, 4), np.int64),
    ((AHEAD, 4), np.int64),
)
"""Shapes and types of the arrays that coders work in."""


@inlined
def _begin(line_bits, group, n_rows, squash, lines, dense, runs, weights, blend, refined, trail):
    """Fill the tables with what each strip begins with."""
    for i in range(HASHED << line_bits << group):
        lines[i] = 0
    for i in range(n_rows * ROW_SPAN + RUNS * RUN_SPAN):
        dense[i] = 1 << 30
    for i in range(RUNS << line_bits):
        runs[i] = 0
    for row in range(n_rows + 48):
        for i in range(LANES):
            weights[row, i] = 262_144
    for stage in range(4):
        for i in range(N_SETS):
            blend[stage, i] = 349_525
        blend[stage, N_SETS] = 0
    for cell in range(n_rows * 8):
        for step in range(STEPS):
            refined[cell * STEPS + step] = squash[min(step << STEP_BITS, 2 * REACH)]
    for i in range(4):
        trail[i] = 0


@inlined
def _look_ahead(n, ne, nee, nw, nww, nn, nne, ww, out_prefixes):
    """Write what the eight keys of a pixel are, as far as they do not depend on the one west of it.

    Keys 0 to 6 are those of the hashed lanes; 7 is that of the first run. See `keys_of`.
    """
    row = hashed(hashed(hashed(1, n), ne), nee)
    near = hashed(hashed(hashed(hashed(2, n), ne), nw), nn)
    out_prefixes[0] = 3
    out_prefixes[1] = hashed(4, n)
    out_prefixes[2] = row
    out_prefixes[3] = hashed(near, ww)
    out_prefixes[4] = hashed(hashed(hashed(hashed(5, n), nn), nne), ne)
    out_prefixes[5] = hashed(hashed(hashed(6, nw), ww), nww)
    out_prefixes[6] = hashed(row, 7)
    out_prefixes[7] = hashed(hashed(hashed(hashed(near, nne), nww), nee), ww)


@inlined
def _broadest(broad, near):
    """Return the hash of the second run: that of the first, with five more neighbours."""
    nnw, nwww, nnee, nnn, www = near
    return hashed(hashed(hashed(hashed(hashed(broad, nnw), nwww), nnee), nnn), www)


@inlined
def _run_places(broad, broadest, earlier, line_bits):
    """Return where the three runs are; the third is that of an earlier `broadest` as well."""
    line_shift = np.uint32(32 - line_bits)
    return (
        np.int64(broad >> line_shift),
        np.int64(broadest >> line_shift) + (1 << line_bits),
        np.int64(hashed(broadest, earlier) >> line_shift) + (2 << line_bits),
    )


@inlined
def _expect(lines, keys, node, line_bits, group):
    """Have the processor fetch lines that may be needed soon."""
    expect_lines(lines, line_starts(targets_of(keys, node), line_bits, group))


@inlined
def _expect_pixel(lines, runs, prefixes, west, near, earlier, root, line_bits, group):
    """Have the processor fetch what a pixel needs first, if these are its neighbours."""
    keys = keys_of(prefixes, west)
    _expect(lines, keys, root, line_bits, group)
    broad = np.uint32(lane(keys, 7))
    places = _run_places(broad, _broadest(broad, near), earlier, line_bits)
    expect(runs, places[0])
    expect(runs, places[1])
    expect(runs, places[2])


_TYPES = (
    "i8, u1[:], i8, i4[:], i4[:], i4[:, :], i4[:, :], i4[:], i4[:, :], i8, i8, i8, i8, u2[:],"
    "i2[:], u2[:], i4[:], i4[:], i4[:, :], i4[:, :], u2[:], scratch, u2[:, :], u1[:, :], u2[:, :]"
)
_SCRATCH_TYPES = (
    "(u4[:], u4[:], u4[:], u4[:], i4[:, :]) + (i8[:],) * 3"
    " + (u4[:], u4[:], i8[:, :], u4[:], u4[:], i8[:, :], i8[:, :])"
)


@inlined
def _neighbours(here, above, above2, above3, at, y):
    """Return the 14 neighbours of a pixel; those that do not exist are replaced by nearer ones."""
    w, ww, www = pick(here, at - 1), pick(here, at - 2), pick(here, at - 3)
    n = nw = nww = nwww = ne = nee = w
    if y > 0:
        n, ne, nee = pick(above, at), pick(above, at + 1), pick(above, at + 2)
        nw, nww, nwww = pick(above, at - 1), pick(above, at - 2), pick(above, at - 3)
    nn = nnw = nne = nnee = n
    if y > 1:
        nnw, nn = pick(above2, at - 1), pick(above2, at)
        nne, nnee = pick(above2, at + 1), pick(above2, at + 2)
    nnn = pick(above3, at) if y > 2 else nn
    return (w, n, ne, nee, nw, nww, nn, nne, ww), (nnw, nwww, nnee, nnn, www)


@inlined
def _is_calm(near, far):
    """Return whether all neighbours have one colour, of a pixel with three rows above it."""
    w, n, ne, nee, nw, nww, nn, nne, ww = near
    nnw, nwww, nnee, nnn, www = far
    return w == n == ne == nw == ww == nn == nww == nwww == nee == nnw == nne == nnee == nnn == www


@inlined
def _pattern(near):
    """Return which neighbours are equal, as bits."""
    w, n, ne, _, nw, _, nn, _, ww = near
    return (w == n) * 1 + (n == ne) * 2 + (w == nw) * 4 + (w == ww) * 8 + (n == nn) * 16


@inlined
def _foretell(slots, logits, tables, stage, row, n_rows, pattern):
    """Mix the predictions of a decision: return its chance of a 1, and what `_learn` needs."""
    weights, blend, refined, squash = tables
    known = n_rows + count_known(slots)
    opinions = opinions_of(logits, weights, row, known, n_rows + 8 + pattern)
    mixture = mixture_of(opinions, blend, stage) + REACH
    chance = pick(squash, mixture)
    part = mixture & ((1 << STEP_BITS) - 1)
    cell = (row * 8 + (pattern & 7)) * STEPS + (mixture >> STEP_BITS)
    lower, upper = pick(refined, cell), pick(refined, cell + 1)
    refinement = (lower * ((1 << STEP_BITS) - part) + upper * part) >> STEP_BITS
    final = clamp((chance + refinement + 1) >> 1, FLOOR, 65536 - FLOOR)
    return final, (opinions, known, chance, part, cell, lower, upper)


@inlined
def _learn(bit, logits, tables, stage, row, n_rows, pattern, mixed, pace):
    """Learn from a decision all but its slots; return 0 if there was nothing to learn."""
    weights, blend, refined, squash = tables
    opinions, known, chance, part, cell, lower, upper = mixed
    truth = bit * 65535
    errors = truth - chance
    train_shares(opinions, blend, stage, errors)
    for number, vector in ((0, row), (1, known), (2, n_rows + 8 + pattern)):
        error = truth - pick(squash, np.int64(lane(opinions, number)) + REACH)
        errors |= error
        train(logits, weights, vector, error, pace)
    lower_step = ((truth - lower) * (128 - part)) >> 13
    upper_step = ((truth - upper) * part) >> 13
    refined[np.uint64(cell)] = lower + lower_step
    refined[np.uint64(cell + 1)] = upper + upper_step
    return errors | lower_step | upper_step


@kernel(_TYPES, scratch=_SCRATCH_TYPES)
def decode_strip(
    most_decisions,
    coded,
    n_coded,
    leaves,
    ranks,
    children,
    planes,
    rows,
    shades,
    root,
    group,
    line_bits,
    n_rows,
    squash,
    stretch,
    lines,
    dense,
    runs,
    weights,
    blend,
    refined,
    scratch,
    recent,
    narrow,
    wide,
):
    """Decode a strip.

    Where all that is near has one colour, there comes a point from which decisions change
    nothing: what they look at stays as it is, and they learn nothing more. From there on, each
    pixel takes one step of the arithmetic coder and no more.

    Args:
        most_decisions: after how many decisions to give up, not counting such steps.
        coded: (n,) uint8, what is decoded or room for what is coded.
        n_coded: bytes of `coded` that may be read or written.
        leaves: (k,) int32 colour of each leaf of the tree, left to right.
        ranks: (k,) int32 leaf of each colour.
        children: (k, 2) int32: the nodes that decisions 0 and 1 lead to; k + leaf for a leaf.
            Node n, 1 to k - 1, decides whether the leaf is n or above.
        planes: (k, 8) int32 halving plane of each node; all 0 for node 0.
        rows: (k,) int32 row of the dense table that each node uses.
        shades: (k, 4) int32 colours of the palette, 0 to 4095.
        root: topmost node; 0 if k = 1.
        group: decisions that share a line, 1 to 4.
        line_bits: log2 of the lines of each context.
        n_rows: rows of the dense table.
        squash: (2 · REACH + 1,) uint16 probability of each logit.
        stretch: (4096,) int16 logit of each probability.
        lines: ((HASHED << line_bits << group) + SLACK,) uint16. This and the next five are
            scratch, and may be longer.
        dense: (n_rows · ROW_SPAN + RUNS · RUN_SPAN,) int32.
        runs: (RUNS << line_bits,) int32.
        weights: (n_rows + 8 + 32 + 8, LANES) int32.
        blend: (4, SHARES) int32.
        refined: (n_rows · 8 · STEPS,) uint16.
        scratch: arrays as SCRATCH says.
        recent: (4, or height if that is less, LEFT + width + RIGHT) uint16 scratch for the last
            rows.
        narrow: (height, width) uint8 indices, or empty.
        wide: (height, width) uint16 indices, or empty.

    Returns:
        0; BAD_END if what is decoded does not end where its pixels do; TOO_LONG if it takes too
        many decisions. And how many it took.
    """
    height, width = wide.shape if len(wide) else narrow.shape
    n_colors = len(leaves)
    run_start = ROW_SPAN * n_rows

    starts, places, prefixes, trail, colors, run_at, guesses, lengths = scratch[:8]
    tables = weights, blend, refined, squash
    _begin(line_bits, group, n_rows, squash, lines, dense, runs, weights, blend, refined, trail)

    low = np.int64(0)
    high = np.int64(MASK)
    code = np.int64(0)
    position = np.int64(0)
    for _ in range(4):
        code = (code << 8) | (np.int64(coded[position]) if position < n_coded else 0)
        position += 1

    n_decisions = 0
    room = n_coded + 4
    n_recent = len(recent)
    final = np.int64(0)
    for y in range(height):
        pace = 11 if y * width < HURRY else 12
        calm = 0  # pixels in a row that all neighbours are the colour of; the trail has four
        still = False  # whether the last of them changed nothing
        here, above = recent[y % n_recent], recent[(y - 1) % n_recent]
        above2, above3 = recent[(y - 2) % n_recent], recent[(y - 3) % n_recent]
        color = pick(above, LEFT) if y > 0 else np.int64(0)
        for column in range(LEFT):
            here[column] = color
        next_near = color, color, color, color, color
        is_ahead = False  # whether `prefixes` are those of the next pixel
        for x in range(width):
            at = x + LEFT
            w = color
            if still:
                east = at + 2
                if pick(above, east) == pick(above2, east) == pick(above3, at) == w:
                    middle = low + (((high - low) * final) >> 16)
                    if code <= middle:
                        low, high, code, position = shift(
                            True, coded, n_coded, low, middle, code, position
                        )
                        here[at] = w
                        continue
                still = False
                calm = 0
                is_ahead = False

            near, far = _neighbours(here, above, above2, above3, at, y)
            _, n, ne, nee, nw, nww, nn, nne, ww = near
            nnee = far[2]

            # Contexts. West comes last, since a decoder knows it last.
            if not is_ahead:
                _look_ahead(n, ne, nee, nw, nww, nn, nne, ww, prefixes)
            keys = keys_of(prefixes, w)
            broad = np.uint32(lane(keys, 7))
            broadest = _broadest(broad, far)
            run_at[0], run_at[1], run_at[2] = _run_places(broad, broadest, trail[x & 3], line_bits)
            trail[x & 3] = broadest
            for number in range(RUNS):
                run = pick(runs, run_at[number])
                guesses[number] = run & 0xFFFF
                lengths[number] = run >> 16
            is_ahead = y > 1 and 0 < x < width - 1
            if is_ahead:
                neee = pick(above, at + 3)
                next_near = nn, nww, pick(above2, at + 3), pick(above3, at + 1), ww
                _look_ahead(ne, nee, neee, n, nw, nne, nnee, w, prefixes)

            pattern = _pattern(near)
            flat = pattern == 31
            activity = paint(shades, w, n, ne, nw, colors)
            busy = min(64 - np.int64(leading_zeros(np.uint64(activity))), 7)
            calm = calm + 1 if y > 2 and _is_calm(near, far) else 0
            settled = False
            color = np.int64(0)
            homes = homes_of(run_start, busy)
            run_lengths = in_runs(lengths[0], lengths[1], lengths[2], 0)
            guess_ranks = in_runs(
                pick(ranks, guesses[0]), pick(ranks, guesses[1]), pick(ranks, guesses[2]), -1
            )
            node = np.int64(root)
            claims = guess_ranks
            if flat:
                node = np.int64(0)
                claims = in_runs(guesses[0] == w, guesses[1] == w, guesses[2] == w, 0)
            salt = np.int64(0)
            least = np.int64(0)  # leaves still possible: least to most - 1
            most = np.int64(n_colors)
            depth = np.int64(0)
            first = np.int64(0)
            left = np.int64(0)  # decisions that the present lines are good for
            local = np.int64(0)
            while True:
                row = pick(rows, node)
                stage = min(depth, 3)
                if depth == 0:
                    if node == 0:
                        there = places_at_west(homes, claims, run_lengths)
                    else:
                        this = node, row, depth, least, most
                        there, _ = places_of(colors, planes, homes, claims, run_lengths, this, this)
                    store(there, places, first)

                # Each `group` decisions another line for each context.
                if left == 0:
                    left = group
                    local = np.int64(1)
                    targets = targets_of(keys, node + salt)
                    lane_starts = line_starts(targets, line_bits, group)
                    store(lane_starts, starts, 0)
                    if group > 3:
                        open_rest(lines, lane_starts, targets, group)
                    open_lines(lines, lane_starts, targets, group)

                slots, logits = fetch(lines, dense, starts, 0, local, places, first, stretch)
                if node > 0:
                    # What either decision leads to, before it is known which it is.
                    after = min(depth + 1, 3)
                    left_child, right_child = pick(children, 2 * node), pick(children, 2 * node + 1)
                    left_node = left_child if left_child < n_colors else np.int64(0)
                    right_node = right_child if right_child < n_colors else np.int64(0)
                    if left_node + right_node > 0:
                        below, beyond = places_of(
                            colors,
                            planes,
                            homes,
                            claims,
                            run_lengths,
                            (left_node, pick(rows, left_node), after, least, node),
                            (right_node, pick(rows, right_node), after, node, most),
                        )
                        next_first = first & 16 ^ 16
                        store(below, places, next_first)
                        store(beyond, places, next_first + 8)
                        expect_dense(dense, below)
                        expect_dense(dense, beyond)
                    for child in (left_child, right_child):
                        if child < n_colors:
                            if left == 1:
                                _expect(lines, keys, child + salt, line_bits, group)
                        elif is_ahead:
                            _expect_pixel(
                                lines,
                                runs,
                                prefixes,
                                pick(leaves, child - n_colors),
                                next_near,
                                trail[(x + 1) & 3],
                                root,
                                line_bits,
                                group,
                            )

                final, mixed = _foretell(slots, logits, tables, stage, row, n_rows, pattern)

                # The arithmetic coder.
                middle = low + (((high - low) * final) >> 16)
                bit = np.int64(code <= middle)
                low, high = (low, middle) if bit else (middle + 1, high)
                low, high, code, position = shift(True, coded, n_coded, low, high, code, position)
                n_decisions += 1

                lesson = _learn(bit, logits, tables, stage, row, n_rows, pattern, mixed, pace)
                learnt = adapted(slots, bit)
                keep(learnt, lines, dense, starts, 0, local, places, first)
                if calm > 4 and lesson == 0:
                    settled = not differ(slots, learnt)

                if node == 0:
                    if bit:
                        color = w
                        break
                    node = np.int64(root)
                    claims = guess_ranks
                    salt = np.int64(0x5BD1)
                    left = 0
                    continue
                if bit:
                    least = node
                else:
                    most = node
                node = pick(children, 2 * node + bit)
                if node >= n_colors:
                    color = pick(leaves, node - n_colors)
                    break
                local = local * 2 + bit
                first = (first & 16 ^ 16) + 8 * bit
                depth += 1
                left -= 1

            here[at] = color
            if x == 0:
                for column in range(LEFT):
                    here[column] = color
            if position > room:
                return BAD_END, n_decisions
            if n_decisions > most_decisions:
                return TOO_LONG, n_decisions
            for number in range(RUNS):
                length = lengths[number] if guesses[number] == color else np.int64(0)
                settled &= length == LONGEST_RUN
                runs[np.uint64(run_at[number])] = color | (min(length + 1, LONGEST_RUN) << 16)
            still = settled and color == w
        for column in range(LEFT + width, LEFT + width + RIGHT):
            here[column] = color
        if len(wide):
            for x in range(width):
                wide[y, x] = here[x + LEFT]
        else:
            for x in range(width):
                narrow[y, x] = here[x + LEFT]

    return 0 if n_coded <= position <= room else BAD_END, n_decisions


@inlined
def _plan(recent_rows, x, end, y, coder, tables, scratch):
    """Write which decisions the pixels x to end - 1 of a row take, and where their slots are.

    All of that follows from the pixels. Return nothing: `seen` says where a pixel's decisions end.
    """
    here, above, above2, above3 = recent_rows
    leaves, ranks, children, planes, rows, shades, root, group, line_bits, n_rows = coder
    lines, dense, runs = tables
    _, _, _, trail, colors, _, guesses, lengths = scratch[:8]
    all_keys, broads, run_places, slots_at, openings, steps, seen = scratch[8:]
    n_colors = len(leaves)
    n_steps = np.int64(0)
    n_openings = np.int64(0)
    for i in range(end - x):  # a loop that compilers vectorise: keys are those of `keys_of`
        near, far = _neighbours(here, above, above2, above3, x + i + LEFT, y)
        w, n, ne, nee, nw, nww, nn, nne, ww = near
        row = hashed(hashed(hashed(1, n), ne), nee)
        close = hashed(hashed(hashed(hashed(2, n), ne), nw), nn)
        broad = hashed(hashed(hashed(hashed(hashed(close, nne), nww), nee), ww), w)
        put(all_keys, 8 * i, hashed(3, w))
        put(all_keys, 8 * i + 1, hashed(4, n))
        put(all_keys, 8 * i + 2, hashed(row, w))
        put(all_keys, 8 * i + 3, hashed(hashed(close, ww), w))
        put(all_keys, 8 * i + 4, hashed(hashed(hashed(hashed(5, n), nn), nne), ne))
        put(all_keys, 8 * i + 5, hashed(hashed(hashed(hashed(6, nw), ww), nww), w))
        put(all_keys, 8 * i + 6, hashed(row, 7))
        put(all_keys, 8 * i + 7, broad)
        put(broads, i, _broadest(broad, far))
        put(seen, 4 * i + 1, _pattern(near))
        put(seen, 4 * i + 2, (y > 2) & _is_calm(near, far))
    for i in range(end - x):
        column = x + i
        broadest = np.uint32(pick(broads, i))
        places = _run_places(
            np.uint32(pick(all_keys, 8 * i + 7)), broadest, trail[column & 3], line_bits
        )
        trail[column & 3] = broadest
        for number in range(RUNS):
            run_places[np.uint64(i), number] = places[number]
            expect(runs, places[number])
    for column in range(x, end):
        at = column + LEFT
        near, _ = _neighbours(here, above, above2, above3, at, y)
        w, n, ne, _, nw, _, _, _, _ = near
        color = pick(here, at)
        keys = load_eight(all_keys, 8 * (column - x))
        is_longest = True
        for number in range(RUNS):
            place = pick(run_places, 4 * (column - x) + number)
            run = pick(runs, place)
            guess, length = run & 0xFFFF, run >> 16
            guesses[number], lengths[number] = guess, length
            if guess != color:
                length = np.int64(0)
            is_longest &= length == LONGEST_RUN
            runs[np.uint64(place)] = color | (min(length + 1, LONGEST_RUN) << 16)
        pattern = pick(seen, 4 * (column - x) + 1)
        activity = paint(shades, w, n, ne, nw, colors)
        homes = homes_of(
            ROW_SPAN * n_rows, min(64 - np.int64(leading_zeros(np.uint64(activity))), 7)
        )
        run_lengths = in_runs(lengths[0], lengths[1], lengths[2], 0)
        claims = in_runs(
            pick(ranks, guesses[0]), pick(ranks, guesses[1]), pick(ranks, guesses[2]), -1
        )
        rank = pick(ranks, color)
        node = np.int64(root)
        salt = np.int64(0)
        if pattern == 31:
            row = pick(rows, 0)
            is_same = in_runs(guesses[0] == w, guesses[1] == w, guesses[2] == w, 0)
            there = places_at_west(homes, is_same, run_lengths)
            targets = targets_of(keys, salt)
            lane_starts = line_starts(targets, line_bits, group)
            store(lane_starts, openings, 16 * n_openings)
            store(targets, openings, 16 * n_openings + 8)
            expect_lines(lines, lane_starts)
            store(moved_by(lane_starts, 1), slots_at, 16 * n_steps)
            store(there, slots_at, 16 * n_steps + HASHED)
            expect_dense(dense, there)
            steps[np.uint64(n_steps), 0] = row
            steps[np.uint64(n_steps), 1] = 0
            steps[np.uint64(n_steps), 2] = np.int64(color == w)
            steps[np.uint64(n_steps), 3] = 1
            n_openings += 1
            n_steps += 1
            salt = np.int64(0x5BD1)
            if color == w:
                node = np.int64(n_colors)
        least = np.int64(0)
        most = np.int64(n_colors)
        depth = np.int64(0)
        left = np.int64(0)
        local = np.int64(0)
        lane_starts = keys
        before = node, node, depth, least, most  # the decision above, if any
        while node < n_colors:
            row = pick(rows, node)
            stage = min(depth, 3)
            this = node, row, stage, least, most
            steps[np.uint64(n_steps), 3] = 0
            if left == 0:
                left = group
                local = np.int64(1)
                targets = targets_of(keys, node + salt)
                lane_starts = line_starts(targets, line_bits, group)
                store(lane_starts, openings, 16 * n_openings)
                store(targets, openings, 16 * n_openings + 8)
                expect_lines(lines, lane_starts)
                n_openings += 1
                steps[np.uint64(n_steps), 3] = 1
            store(moved_by(lane_starts, local), slots_at, 16 * n_steps)
            bit = np.int64(rank >= node)
            steps[np.uint64(n_steps), 0] = row
            steps[np.uint64(n_steps), 1] = stage
            steps[np.uint64(n_steps), 2] = bit
            n_steps += 1
            if bit:
                least = node
            else:
                most = node
            node = pick(children, 2 * node + bit)
            if depth & 1 or node >= n_colors:
                there, after = places_of(colors, planes, homes, claims, run_lengths, before, this)
                if depth & 1:
                    store(there, slots_at, 16 * n_steps - 32 + HASHED)
                    expect_dense(dense, there)
                store(after, slots_at, 16 * n_steps - 16 + HASHED)
                expect_dense(dense, after)
            before = this
            local = local * 2 + bit
            depth += 1
            left -= 1
        seen[np.uint64(column - x), 0] = n_steps
        seen[np.uint64(column - x), 3] = np.int64(is_longest and color == w)


@kernel(_TYPES, scratch=_SCRATCH_TYPES)
def encode_strip(
    most_decisions,
    coded,
    n_coded,
    leaves,
    ranks,
    children,
    planes,
    rows,
    shades,
    root,
    group,
    line_bits,
    n_rows,
    squash,
    stretch,
    lines,
    dense,
    runs,
    weights,
    blend,
    refined,
    scratch,
    recent,
    narrow,
    wide,
):
    """Code a strip. Parameters are those of `decode_strip`.

    An encoder knows the pixels. So it first finds the slots of all decisions of some pixels, which
    the processor fetches meanwhile, and then predicts and codes the decisions.

    Returns:
        bytes coded; FULL if `coded` is too short; TOO_LONG if it takes too many decisions. And
        how many it took.
    """
    height, width = wide.shape if len(wide) else narrow.shape
    trail = scratch[3]
    slots_at, openings, steps, seen = scratch[11:]
    _begin(line_bits, group, n_rows, squash, lines, dense, runs, weights, blend, refined, trail)
    coder = leaves, ranks, children, planes, rows, shades, root, group, line_bits, n_rows
    tables = weights, blend, refined, squash
    low = np.int64(0)
    high = np.int64(MASK)
    position = np.int64(0)
    n_decisions = 0
    n_recent = len(recent)
    final = np.int64(0)
    for y in range(height):
        pace = 11 if y * width < HURRY else 12
        calm = 0  # pixels in a row that all neighbours are the colour of; the trail has four
        still = False  # whether the last of them changed nothing
        here, above = recent[y % n_recent], recent[(y - 1) % n_recent]
        above2, above3 = recent[(y - 2) % n_recent], recent[(y - 3) % n_recent]
        color = pick(above, LEFT) if y > 0 else np.int64(0)
        for column in range(LEFT):
            here[column] = color
        for x in range(width):
            here[x + LEFT] = wide[y, x] if len(wide) else narrow[y, x]
        x = 0
        while x < width:
            w = pick(here, x + LEFT - 1)
            while still and x < width:
                at = x + LEFT
                east = at + 2
                still = (
                    pick(above, east)
                    == pick(above2, east)
                    == pick(above3, at)
                    == pick(here, at)
                    == w
                )
                if still:
                    middle = low + (((high - low) * final) >> 16)
                    low, high, _, position = shift(False, coded, n_coded, low, middle, 0, position)
                    x += 1
                else:
                    calm = 0
            end = min(x + AHEAD, width) if x else 1  # after it, there are other columns beside
            _plan((here, above, above2, above3), x, end, y, coder, (lines, dense, runs), scratch)
            step = np.int64(0)
            opening = np.int64(0)
            for column in range(x, end):
                last = pick(seen, 4 * (column - x))
                pattern = pick(seen, 4 * (column - x) + 1)
                is_calm = pick(seen, 4 * (column - x) + 2)
                is_same = pick(seen, 4 * (column - x) + 3)
                if still and is_calm and is_same:
                    middle = low + (((high - low) * final) >> 16)
                    low, high, _, position = shift(False, coded, n_coded, low, middle, 0, position)
                    step = last
                    opening += 1
                    continue
                calm = calm + 1 if is_calm and not still else is_calm
                settled = False
                n_decisions += last - step
                while step < last:
                    row, stage = pick(steps, 4 * step), pick(steps, 4 * step + 1)
                    bit = pick(steps, 4 * step + 2)
                    if pick(steps, 4 * step + 3):
                        lane_starts = load_eight(openings, 16 * opening)
                        targets = load_eight(openings, 16 * opening + 8)
                        if group > 3:
                            open_rest(lines, lane_starts, targets, group)
                        open_lines(lines, lane_starts, targets, group)
                        opening += 1
                    at = 16 * step
                    slots, logits = fetch(
                        lines, dense, slots_at, at, 0, slots_at, at + HASHED, stretch
                    )
                    final, mixed = _foretell(slots, logits, tables, stage, row, n_rows, pattern)
                    middle = low + (((high - low) * final) >> 16)
                    low, high = (low, middle) if bit else (middle + 1, high)
                    low, high, _, position = shift(False, coded, n_coded, low, high, 0, position)
                    lesson = _learn(bit, logits, tables, stage, row, n_rows, pattern, mixed, pace)
                    learnt = adapted(slots, bit)
                    keep(learnt, lines, dense, slots_at, at, 0, slots_at, at + HASHED)
                    if calm > 4 and lesson == 0:
                        settled = not differ(slots, learnt)
                    step += 1
                if position > n_coded:
                    return FULL, n_decisions
                if n_decisions > most_decisions:
                    return TOO_LONG, n_decisions
                still = settled and is_same
            if x == 0:
                for column in range(LEFT):
                    here[column] = pick(here, LEFT)
            x = end
        color = pick(here, LEFT + width - 1)
        for column in range(LEFT + width, LEFT + width + RIGHT):
            here[column] = color
    position = ended(coded, n_coded, low, high, position)
    return position if position <= n_coded else FULL, n_decisions
