"""Coding of index maps, method "mix": many predictions of each binary decision, mixed.

The rules are those of FORMAT.md, section "Method 2: mix". One kernel codes and decodes, so that
both stay in step by construction. Integers only, all below 2^53.

Sixteen predictions are worked on at a time, one to a lane of a vector. Numba unrolls loops that
short and then does not vectorise them, which costs a factor of two, so the lane operations below
are spelled in LLVM's vector types; the formula each computes is its docstring. They trust their
arguments: `code_strip` derives all addresses from masks, clamps and tables of its caller.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._decisions import FLOOR, MASK, REACH, clamp, hashed, shift
from kmq.kernels._jit import inlined, kernel
from kmq.kernels._numba import cgutils, intrinsic, ir, types

LANES = 16
HASHED = 7
"""Lanes 0 to 6: predictions kept in hashed lines of 16-bit slots."""
DENSE = 8
"""Lanes 7 to 14: predictions kept in a table of 32-bit slots. Lane 15 is a constant."""

N_SETS = 3
RUNS = 3
N_PLANES = 8
STEP_BITS = 7
STEPS = 46
"""Steps of 2^STEP_BITS logits that refine a probability, the two ends included and one spare."""

LINE_SPAN, GRADIENT_SPAN, BLEND_SPAN, PAIR_SPAN, QUAD_SPAN = 256, 512, 1024, 256, 4096
"""Slots of one row of the dense table, for each of its five geometric lanes."""

ROW_SPAN = LINE_SPAN + GRADIENT_SPAN + BLEND_SPAN + PAIR_SPAN + QUAD_SPAN
RUN_SPAN = 256
"""Slots of each run context: 4 stages, 32 lengths, 2 ways."""

LONGEST_RUN = 31

WEIGHT_LIMIT = 6_815_744
"""6.5 in 2^-20: (14 · REACH + 256) · (WEIGHT_LIMIT >> 7), the most a sum can be, is below 2^31."""

HURRY = 32_768
"""Pixels, about, during which weights learn twice as fast."""

BLEND_LIMIT = 1 << 23
DENSE_LIMIT = 255
"""Most that the count of a dense slot can be; of a hashed one it is 15."""

LEVEL_SHIFTS = [2, 2, 1, 0, 2, 2, 0, 0]
LEVEL_OFFSETS = [8, 8, 32, 64, 8, 8, 0, 0]
LEVEL_TOPS = [15, 15, 63, 127, 15, 15, 0, 0]
"""West, north, west + north - northwest, their blend, northeast, northwest; two unused."""

FULL, BAD_END, TOO_LONG = -1, -2, -3

SCRATCH = (
    ((HASHED,), np.uint32),
    ((HASHED,), np.uint32),
    ((DENSE,), np.uint32),
    ((4,), np.uint32),
    ((LANES,), np.int32),
    ((LANES,), np.int32),
    ((4, N_PLANES), np.int32),
    ((N_PLANES,), np.int32),
    ((N_SETS,), np.int64),
    ((N_SETS,), np.int64),
    ((RUNS,), np.int64),
    ((RUNS,), np.int64),
    ((RUNS,), np.int64),
    ((RUNS,), np.int64),
)
"""Shapes and types of the arrays that `code_strip` works in."""

_i32 = ir.IntType(32)
_i64 = ir.IntType(64)


# --- lanes ---------------------------------------------------------------------------------------


def _vector(values):
    return ir.Constant(ir.VectorType(_i32, len(values)), values)


def _splat(builder, value, lanes=LANES):
    """Repeat a 32-bit value in each lane."""
    vector = ir.VectorType(_i32, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), _vector([0] * lanes))


def _base(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _lanes_at(context, builder, array_type, array, offset=None, lanes=LANES):
    pointer = _base(context, builder, array_type, array)
    if offset is not None:
        pointer = builder.gep(pointer, [offset])
    return builder.bitcast(pointer, ir.VectorType(_i32, lanes).as_pointer())


def _load(context, builder, array_type, array, offset=None, lanes=LANES):
    vector = builder.load(_lanes_at(context, builder, array_type, array, offset, lanes))
    vector.align = 4
    return vector


def _store(context, builder, vector, array_type, array, lanes=LANES):
    builder.store(vector, _lanes_at(context, builder, array_type, array, None, lanes)).align = 4


def _addresses(context, builder, starts, starts_value, local, local_value, places, places_value):
    """Positions of the slots of lanes 0 to HASHED + DENSE - 1 in their tables."""
    offset = context.cast(builder, local_value, local, types.uint64)
    starts_base = _base(context, builder, starts, starts_value)
    places_base = _base(context, builder, places, places_value)
    for lane in range(HASHED):
        start = builder.load(builder.gep(starts_base, [_i32(lane)]))
        yield builder.add(builder.zext(start, _i64), offset)
    for lane in range(DENSE):
        yield builder.zext(builder.load(builder.gep(places_base, [_i32(lane)])), _i64)


@intrinsic
def _dot(typingctx, logits, weights, row, shift):
    """Return Σ logits[i] · (weights[row, i] >> shift)."""

    def codegen(context, builder, signature, args):
        start = builder.shl(context.cast(builder, args[2], row, types.int64), _i64(4))
        scaled = builder.ashr(
            _load(context, builder, weights, args[1], start),
            _splat(builder, context.cast(builder, args[3], shift, types.int32)),
        )
        products = builder.mul(_load(context, builder, logits, args[0]), scaled)
        reduction = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_i32, [products.type]), "llvm.vector.reduce.add.v16i32"
        )
        return builder.call(reduction, [products])

    return types.int32(logits, weights, row, shift), codegen


@intrinsic
def _train(typingctx, logits, weights, row, error, shift):
    """weights[row, i] += (logits[i] · error + 2^(shift-1)) >> shift, kept within ±WEIGHT_LIMIT."""

    def codegen(context, builder, signature, args):
        start = builder.shl(context.cast(builder, args[2], row, types.int64), _i64(4))
        bits = context.cast(builder, args[4], shift, types.int32)
        half = builder.shl(_i32(1), builder.sub(bits, _i32(1)))
        error_lanes = _splat(builder, context.cast(builder, args[3], error, types.int32))
        products = builder.mul(_load(context, builder, logits, args[0]), error_lanes)
        change = builder.ashr(builder.add(products, _splat(builder, half)), _splat(builder, bits))
        place = _lanes_at(context, builder, weights, args[1], start)
        before = builder.load(place)
        before.align = 4
        after = builder.add(before, change)
        for bound, sign in ((WEIGHT_LIMIT, ">"), (-WEIGHT_LIMIT, "<")):
            limit = _vector([bound] * LANES)
            after = builder.select(builder.icmp_signed(sign, after, limit), limit, after)
        builder.store(after, place).align = 4
        return context.get_dummy_value()

    return types.void(logits, weights, row, error, shift), codegen


@intrinsic
def _fetch(typingctx, lines, dense, starts, local, places, stretch, out_slots, out_logits):
    """Read the slots of all lanes and their logits.

    out_slots[i] = lines[starts[i] + local] for the hashed lanes, dense[places[i - HASHED]] for the
    others; out_logits[i] = stretch[upper 12 bits of the probability]; out_logits[15] = 256.
    """

    def codegen(context, builder, signature, args):
        bases = [
            _base(context, builder, kind, array)
            for kind, array in ((lines, args[0]), (dense, args[1]), (stretch, args[5]))
        ]
        slots = logits = _vector([0] * LANES)
        addresses = _addresses(context, builder, starts, args[2], local, args[3], places, args[4])
        for lane, address in enumerate(addresses):
            hashed = lane < HASHED
            slot = builder.load(builder.gep(bases[0 if hashed else 1], [address]))
            slot = builder.zext(slot, _i32) if hashed else slot
            slots = builder.insert_element(slots, slot, _i32(lane))
            entry = builder.zext(builder.lshr(slot, _i32(4 if hashed else 19)), _i64)
            logit = builder.sext(builder.load(builder.gep(bases[2], [entry])), _i32)
            logits = builder.insert_element(logits, logit, _i32(lane))
        logits = builder.insert_element(logits, _i32(256), _i32(LANES - 1))
        _store(context, builder, slots, out_slots, args[6])
        _store(context, builder, logits, out_logits, args[7])
        return context.get_dummy_value()

    arguments = (lines, dense, starts, local, places, stretch, out_slots, out_logits)
    return types.void(*arguments), codegen


@intrinsic
def _known(typingctx, slots):
    """Count the hashed lanes whose slot has seen a decision."""

    def codegen(context, builder, signature, args):
        counts = builder.and_(_load(context, builder, slots, args[0]), _vector([15] * LANES))
        seen = builder.bitcast(
            builder.icmp_unsigned("!=", counts, _vector([0] * LANES)), ir.IntType(LANES)
        )
        hashed = builder.and_(seen, ir.IntType(LANES)((1 << HASHED) - 1))
        return builder.zext(builder.ctpop(hashed), _i64)

    return types.int64(slots), codegen


@intrinsic
def _adapt(typingctx, slots, bit, rates, lines, dense, starts, local, places):
    """Move each slot towards the decision and count it.

    With p the probability in 2^-22 and n the count of a slot:
    p += (((bit ? 2^22 - 1 : 31) - p) >> 5) · rates[n] >> 9, n += 1 up to its limit.
    Hashed slots are 16 p's upper 12 bits + n, rounded; dense ones 512 p + n and rates[16 + n].
    """

    def per_kind(hashed, dense):
        return _vector([hashed] * HASHED + [dense] * (LANES - HASHED))

    def codegen(context, builder, signature, args):
        decided = context.cast(builder, args[1], bit, types.int32)
        target = builder.add(_i32(31), builder.mul(decided, _i32((1 << 22) - 32)))
        state = _load(context, builder, slots, args[0])
        counts = builder.and_(state, per_kind(15, 511))
        chances = builder.shl(builder.lshr(state, per_kind(4, 9)), per_kind(10, 0))
        rates_base = _base(context, builder, rates, args[2])
        entries = builder.add(counts, per_kind(0, 16))
        rate = _vector([0] * LANES)
        for lane in range(HASHED + DENSE):
            entry = builder.zext(builder.extract_element(entries, _i32(lane)), _i64)
            share = builder.sext(builder.load(builder.gep(rates_base, [entry])), _i32)
            rate = builder.insert_element(rate, share, _i32(lane))
        gap = builder.ashr(builder.sub(_splat(builder, target), chances), per_kind(5, 5))
        chances = builder.add(chances, builder.ashr(builder.mul(gap, rate), per_kind(9, 9)))
        rounding = builder.select(
            builder.trunc(_splat(builder, decided), ir.VectorType(ir.IntType(1), LANES)),
            per_kind(512, 0),
            per_kind(0, 0),
        )
        chances = builder.lshr(builder.add(chances, rounding), per_kind(10, 0))
        more = builder.icmp_signed("<", counts, per_kind(15, DENSE_LIMIT))
        counts = builder.add(counts, builder.zext(more, counts.type))
        after = builder.or_(builder.shl(chances, per_kind(4, 9)), counts)
        lines_base = _base(context, builder, lines, args[3])
        dense_base = _base(context, builder, dense, args[4])
        addresses = _addresses(context, builder, starts, args[5], local, args[6], places, args[7])
        for lane, address in enumerate(addresses):
            slot = builder.extract_element(after, _i32(lane))
            if lane < HASHED:
                place = builder.gep(lines_base, [address])
                builder.store(builder.trunc(slot, ir.IntType(16)), place)
            else:
                builder.store(slot, builder.gep(dense_base, [address]))
        return context.get_dummy_value()

    return types.void(slots, bit, rates, lines, dense, starts, local, places), codegen


@intrinsic
def _project(typingctx, colors, planes, node, out_levels):
    """Measure eight predicted colours against the plane that halves a node's colours.

    out_levels[i] = ((Σ planes[node, c] · colors[c, i] + planes[node, 4]) >> (12 + shift[i])) +
    offset[i], kept within 0 to top[i].
    """

    def codegen(context, builder, signature, args):
        base = _base(context, builder, planes, args[1])
        start = builder.shl(context.cast(builder, args[2], node, types.int64), _i64(3))

        def coefficient(number):
            place = builder.gep(base, [builder.add(start, _i64(number))])
            return _splat(builder, builder.load(place), N_PLANES)

        total = coefficient(4)
        for channel in range(4):
            row = _load(context, builder, colors, args[0], _i64(channel * N_PLANES), N_PLANES)
            total = builder.add(total, builder.mul(row, coefficient(channel)))
        level = builder.ashr(total, _vector([12 + shift for shift in LEVEL_SHIFTS]))
        level = builder.add(level, _vector(LEVEL_OFFSETS))
        top, zero = _vector(LEVEL_TOPS), _vector([0] * N_PLANES)
        level = builder.select(builder.icmp_signed("<", level, zero), zero, level)
        level = builder.select(builder.icmp_signed(">", level, top), top, level)
        _store(context, builder, level, out_levels, args[3], N_PLANES)
        return context.get_dummy_value()

    return types.void(colors, planes, node, out_levels), codegen


@inlined
def _agree(slots, lines, dense, starts, local, places):
    """Return whether the slots of all lanes are as they were read."""
    differences = np.int64(0)
    for lane in range(HASHED):
        differences |= np.int64(lines[starts[lane] + local]) ^ np.int64(slots[lane])
    for lane in range(DENSE):
        differences |= np.int64(dense[places[lane]]) ^ np.int64(slots[HASHED + lane])
    return differences == 0


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
    for cell in range(n_rows * 8):
        for step in range(STEPS):
            refined[cell * STEPS + step] = squash[min(step << STEP_BITS, 2 * REACH)]
    for i in range(4):
        trail[i] = 0


@kernel(
    "b1, i8, u1[:], i8, i4[:], i4[:], i4[:, :], i4[:, :], i4[:], i4[:, :], i8, i8, i8, i8, u2[:],"
    "i2[:], i2[:], u2[:], i4[:], i4[:], i4[:, :], i4[:, :], i4[:], scratch, u2[:, :], u1[:, :],"
    "u2[:, :]",
    scratch="(u4[:], u4[:], u4[:], u4[:], i4[:], i4[:], i4[:, :], i4[:]) + (i8[:],) * 6",
)
def code_strip(
    decoding,
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
    rates,
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
    """Code a strip, or decode it.

    Where all that is near has one colour, there comes a point from which decisions change nothing:
    what they look at stays as it is, and they learn nothing more. From there on, each pixel takes
    one step of the arithmetic coder and no more.

    Args:
        decoding: whether indices are written from `coded`, or the other way round.
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
        rates: (16 + 512,) int16 shares by which slots move.
        lines: (HASHED << line_bits << group,) uint16. This and the next five are scratch, and may
            be longer.
        dense: (n_rows · ROW_SPAN + RUNS · RUN_SPAN,) int32.
        runs: (RUNS << line_bits,) int32.
        weights: (n_rows + 8 + 32 + 8, LANES) int32.
        blend: (4, N_SETS) int32.
        refined: (n_rows · 8 · STEPS,) int32.
        scratch: arrays as SCRATCH says.
        recent: (4, or height if that is less, width) uint16 scratch for the last rows.
        narrow: (height, width) uint8 indices, or empty.
        wide: (height, width) uint16 indices, or empty.

    Returns:
        bytes coded or 0; FULL if `coded` is too short; BAD_END if what is decoded does not end
        where its pixels do; TOO_LONG if it takes too many decisions. And how many it took.
    """
    height, width = wide.shape if len(wide) else narrow.shape
    n_colors = len(leaves)
    line_slots = 1 << group
    line_shift = np.uint32(32 - line_bits)
    pair_start = LINE_SPAN * n_rows
    gradient_start = pair_start + PAIR_SPAN * n_rows
    blend_start = gradient_start + GRADIENT_SPAN * n_rows
    quad_start = blend_start + BLEND_SPAN * n_rows
    run_start = quad_start + QUAD_SPAN * n_rows

    keys, starts, places, trail, slots, logits, colors, levels = scratch[:8]
    sets, opinions, run_at, guesses, lengths, guess_ranks = scratch[8:]
    _begin(line_bits, group, n_rows, squash, lines, dense, runs, weights, blend, refined, trail)

    low = np.int64(0)
    high = np.int64(MASK)
    code = np.int64(0)
    position = np.int64(0)
    if decoding:
        for _ in range(4):
            code = (code << 8) | (np.int64(coded[position]) if position < n_coded else 0)
            position += 1

    n_decisions = 0
    room = n_coded + 4 if decoding else n_coded
    painted = np.int64(-1)
    color = w = ww = www = n = nw = nww = nwww = ne = nee = np.int64(0)
    nn = nnw = nne = nnee = final = np.int64(0)
    for y in range(height):
        pace = 11 if y * width < HURRY else 12
        calm = (
            0  # pixels in a row that all neighbours are the colour of; the trail has four of them
        )
        still = False  # whether the last of them changed nothing
        n_recent = len(recent)
        here, above = recent[y % n_recent], recent[(y - 1) % n_recent]
        above2, above3 = recent[(y - 2) % n_recent], recent[(y - 3) % n_recent]
        if not decoding:
            for x in range(width):
                here[x] = wide[y, x] if len(wide) else narrow[y, x]
        for x in range(width):
            east = min(x + 2, width - 1)
            if still:
                if above[east] == w and above2[east] == w and above3[x] == w:
                    middle = low + (((high - low) * final) >> 16)
                    if code <= middle if decoding else here[x] == w:
                        low, high, code, position = shift(
                            decoding, coded, n_coded, low, middle, code, position
                        )
                        here[x] = w
                        continue
                still = False
                calm = 0

            # The neighbours: those of the pixel before, one column on. Where there are no others
            # they are replaced by nearer ones.
            if x > 0:
                www, ww, w = (ww, w, color) if x > 1 else (color, color, color)
                nwww, nww, nw, n, ne = nww, nw, n, ne, nee
                nnw, nn, nne = nn, nne, nnee
            elif y > 0:
                n = np.int64(above[0])
                ne = np.int64(above[min(1, width - 1)])
                w = ww = www = nw = nww = nwww = n
            else:
                w = ww = www = n = nw = ne = nww = nwww = np.int64(0)
            if y > 1:
                if x == 0:
                    nn = nnw = np.int64(above2[0])
                    nne = np.int64(above2[min(1, width - 1)])
                nnee = np.int64(above2[east])
                nee = np.int64(above[east])
            elif y > 0:
                nee = np.int64(above[east])
                nn = nnw = nne = nnee = n
            else:
                n = nw = ne = nww = nwww = nee = nn = nnw = nne = nnee = w
            nnn = np.int64(above3[x]) if y > 2 else nn

            # Contexts. West comes last, since a decoder knows it last.
            key = hashed(hashed(1, n), ne)
            near = hashed(hashed(hashed(hashed(2, n), ne), nw), nn)
            broad = hashed(hashed(hashed(near, nne), nww), nee)
            keys[0] = hashed(3, w)
            keys[1] = hashed(4, n)
            keys[2] = hashed(hashed(key, nee), w)
            keys[3] = hashed(hashed(near, ww), w)
            keys[4] = hashed(hashed(hashed(hashed(5, n), nn), nne), ne)
            keys[5] = hashed(hashed(hashed(hashed(6, nw), ww), nww), w)
            keys[6] = hashed(hashed(key, nee), 7)
            broad = hashed(hashed(broad, ww), w)
            broadest = hashed(hashed(hashed(hashed(broad, nnw), nwww), nnee), nnn)
            broadest = hashed(broadest, www)
            run_at[0] = broad >> line_shift
            run_at[1] = (broadest >> line_shift) + (1 << line_bits)
            run_at[2] = (hashed(broadest, trail[x & 3]) >> line_shift) + (2 << line_bits)
            trail[x & 3] = broadest
            for number in range(RUNS):
                guesses[number] = runs[run_at[number]] & 0xFFFF
                lengths[number] = runs[run_at[number]] >> 16
                guess_ranks[number] = ranks[guesses[number]]

            same = (w == n) * 1 + (n == ne) * 2 + (w == nw) * 4
            pattern = same + (w == ww) * 8 + (n == nn) * 16
            activity = np.int64(0)
            flat = pattern == 31
            if not flat or w != painted:  # else `colors` are still those of this colour
                for channel in range(4):
                    west = shades[w, channel]
                    north = shades[n, channel]
                    northeast = shades[ne, channel]
                    northwest = shades[nw, channel]
                    colors[channel, 0] = west
                    colors[channel, 1] = north
                    colors[channel, 2] = west + north - northwest
                    colors[channel, 3] = (2 * west + 2 * north + northeast - northwest) >> 2
                    colors[channel, 4] = northeast
                    colors[channel, 5] = northwest
                    activity += (
                        abs(west - northwest) + abs(north - northwest) + abs(north - northeast)
                    )
                painted = w if flat else np.int64(-1)
            calm = (
                calm + 1
                if flat and y > 2 and w == nww == nwww == nee == nnw == nne == nnee == nnn == www
                else 0
            )
            settled = False
            activity >>= 4
            busy = 0
            while activity > 0 and busy < 7:
                activity >>= 1
                busy += 1
            color = np.int64(0)
            rank = np.int64(0)
            if not decoding:
                color = np.int64(here[x])
                rank = np.int64(ranks[color])
            node = np.int64(0) if flat else np.int64(root)
            salt = np.int64(0)
            least = np.int64(0)  # leaves still possible: least to most - 1
            most = np.int64(n_colors)
            depth = 0
            left = 0  # decisions that the present lines are good for
            local = np.uint32(0)
            while True:
                # Each `group` decisions another line for each context.
                if left == 0:
                    left = group
                    local = np.uint32(1)
                    for lane in range(HASHED):
                        mixed = hashed(keys[lane], node + salt)
                        mixed = np.uint32(mixed * np.uint32(0xB5297))
                        line = np.int64(mixed >> line_shift) + (lane << line_bits)
                        start = np.uint32(line << group)
                        check = np.uint16((mixed ^ (mixed >> np.uint32(13))) | np.uint32(1))
                        starts[lane] = start
                        if lines[start] != check:
                            lines[start] = check
                            for slot in range(1, line_slots):
                                lines[start + np.uint32(slot)] = np.uint16(0x8000)

                row = np.int64(rows[node])
                _project(colors, planes, node, levels)
                pair = (row << 8) + (levels[0] << 4) + levels[1]
                places[0] = pair
                places[1] = pair_start + (row << 8) + (levels[1] << 4) + levels[4]
                places[2] = gradient_start + (row << 9) + (levels[2] << 3) + busy
                places[3] = blend_start + (row << 10) + (levels[3] << 3) + busy
                places[4] = (
                    quad_start
                    + (row << 12)
                    + ((levels[0] >> 1) << 9)
                    + ((levels[1] >> 1) << 6)
                    + ((levels[4] >> 1) << 3)
                    + (levels[5] >> 1)
                )
                stage = min(depth, 3)
                for number in range(RUNS):
                    guess_rank = guess_ranks[number]
                    way = np.int64(0)  # the guess is ruled out, or there is none
                    if least <= guess_rank < most:
                        yes = guesses[number] == w if node == 0 else guess_rank >= node
                        way = lengths[number] * 2 + np.int64(yes)
                    places[5 + number] = run_start + (number << 8) + (stage << 6) + way

                _fetch(lines, dense, starts, local, places, stretch, slots, logits)
                sets[0] = row
                sets[1] = n_rows + _known(slots)
                sets[2] = n_rows + 8 + pattern
                total = np.int64(0)
                for number in range(N_SETS):
                    opinion = clamp(
                        np.int64(_dot(logits, weights, sets[number], 7)) >> 13, -REACH, REACH
                    )
                    opinions[number] = opinion
                    total += opinion * (np.int64(blend[stage, number]) >> 4)
                mixed_logit = clamp(total >> 16, -REACH, REACH)
                chance = np.int64(squash[mixed_logit + REACH])
                step = (mixed_logit + REACH) >> STEP_BITS
                part = (mixed_logit + REACH) & ((1 << STEP_BITS) - 1)
                cell = (row * 8 + same) * STEPS + step
                refinement = (
                    refined[cell] * ((1 << STEP_BITS) - part) + refined[cell + 1] * part
                ) >> STEP_BITS
                final = clamp((chance + refinement + 1) >> 1, FLOOR, 65536 - FLOOR)

                # The arithmetic coder.
                middle = low + (((high - low) * final) >> 16)
                if decoding:
                    bit = np.int64(code <= middle)
                elif node == 0:
                    bit = np.int64(color == w)
                else:
                    bit = np.int64(rank >= node)
                low, high = (low, middle) if bit else (middle + 1, high)
                low, high, code, position = shift(
                    decoding, coded, n_coded, low, high, code, position
                )
                n_decisions += 1

                # Learning.
                errors = bit * 65535 - chance
                for number in range(N_SETS):
                    share = blend[stage, number] + ((opinions[number] * errors + 2048) >> 12)
                    blend[stage, number] = clamp(share, -BLEND_LIMIT, BLEND_LIMIT)
                for number in range(N_SETS):
                    error = bit * 65535 - np.int64(squash[opinions[number] + REACH])
                    errors |= error
                    _train(logits, weights, sets[number], error, pace)
                _adapt(slots, bit, rates, lines, dense, starts, local, places)
                lower = ((bit * 65535 - refined[cell]) * (128 - part)) >> 13
                upper = ((bit * 65535 - refined[cell + 1]) * part) >> 13
                refined[cell] += lower
                refined[cell + 1] += upper
                if calm > 4 and errors | lower | upper == 0:
                    settled = _agree(slots, lines, dense, starts, local, places)

                if node == 0:
                    if bit:
                        color = w
                        break
                    node = np.int64(root)
                    salt = np.int64(0x5BD1)
                    left = 0
                    continue
                if bit:
                    least = node
                else:
                    most = node
                node = np.int64(children[node, bit])
                if node >= n_colors:
                    color = np.int64(leaves[node - n_colors])
                    break
                local = np.uint32(local * np.uint32(2) + np.uint32(bit))
                depth += 1
                left -= 1

            here[x] = color
            if position > room:
                return BAD_END if decoding else FULL, n_decisions
            if n_decisions > most_decisions:
                return TOO_LONG, n_decisions
            for number in range(RUNS):
                length = lengths[number] if guesses[number] == color else np.int64(0)
                settled &= length == LONGEST_RUN
                runs[run_at[number]] = color | (min(length + 1, LONGEST_RUN) << 16)
            still = settled and color == w
        if decoding and len(wide):
            for x in range(width):
                wide[y, x] = here[x]
        elif decoding:
            for x in range(width):
                narrow[y, x] = here[x]

    if decoding:
        return 0 if n_coded <= position <= room else BAD_END, n_decisions
    # As few bytes as name a number within what is left; a decoder reads zeros after them.
    for n_last in range(5):
        zeros = (1 << (32 - 8 * n_last)) - 1
        last = (low + zeros) & ~zeros
        if last <= high:
            break
    if position + n_last > n_coded:
        return FULL, n_decisions
    for number in range(n_last):
        coded[position] = (last >> (24 - 8 * number)) & 255
        position += 1
    return position, n_decisions
