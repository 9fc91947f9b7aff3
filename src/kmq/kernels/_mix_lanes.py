"""Predictions of method "mix", sixteen at a time: one to a lane of a vector.

Numba unrolls loops that short and then does not vectorise them, which costs a factor of two. So
each operation is spelled in LLVM's vector types; the formula it computes is its docstring. They
trust their arguments: all addresses follow from masks, clamps and tables of the caller.
"""

from __future__ import annotations

from kmq.kernels._decisions import REACH
from kmq.kernels._lanes import Lanes, touch
from kmq.kernels._numba import cgutils, intrinsic, ir, types

LANES = 16
HASHED = 7
"""Lanes 0 to 6: predictions kept in hashed lines of 16-bit slots."""
DENSE = 8
"""Lanes 8 to 15: predictions kept in a table of 32-bit slots. Lane 7 is a constant."""
RUNS = 3
N_PLANES = 8

LINE_SPAN, GRADIENT_SPAN, BLEND_SPAN, PAIR_SPAN, QUAD_SPAN = 256, 512, 1024, 256, 4096
"""Slots of one row of the dense table, for each of its five geometric lanes."""

ROW_SPAN = LINE_SPAN + GRADIENT_SPAN + BLEND_SPAN + PAIR_SPAN + QUAD_SPAN
RUN_SPAN = 256
"""Slots of each run context: 4 stages, 32 lengths, 2 ways."""

WEIGHT_LIMIT = 6_815_744
"""6.5 in 2^-20: (14 · REACH + 256) · (WEIGHT_LIMIT >> 7), the most a sum can be, is below 2^31."""

BLEND_LIMIT = 1 << 23

DENSE_LIMIT = 255
"""Most that the count of a dense slot can be; of a hashed one it is 15."""

LEVEL_SHIFTS = [2, 2, 1, 0, 2, 2, 0, 0]
LEVEL_OFFSETS = [8, 8, 32, 64, 8, 8, 0, 0]
LEVEL_TOPS = [15, 15, 63, 127, 15, 15, 0, 0]
"""West, north, west + north - northwest, their blend, northeast, northwest; two unused."""

_i16 = ir.IntType(16)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)


def _lanes(count):
    return Lanes(types.int32, count)


def _vector(values):
    return ir.Constant(ir.VectorType(_i32, len(values)), values)


def _splat(builder, value, lanes=LANES):
    """Repeat a number in each lane."""
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _i32(0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), _vector([0] * lanes))


def _base(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _lanes_at(builder, base, offset, lanes, element):
    return builder.bitcast(builder.gep(base, [offset]), ir.VectorType(element, lanes).as_pointer())


def _load(builder, base, offset, lanes=LANES, element=_i32):
    return builder.load(_lanes_at(builder, base, offset, lanes, element), align=element.width // 8)


def _store(builder, vector, base, offset):
    place = _lanes_at(builder, base, offset, vector.type.count, vector.type.element)
    builder.store(vector, place, align=vector.type.element.width // 8)


def _call(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def pick(typingctx, array, index):
    """Return array.flat[index], of an index that is not negative."""

    def codegen(context, builder, signature, args):
        index_value = context.cast(builder, args[1], index, types.int64)
        value = builder.load(builder.gep(_base(context, builder, array, args[0]), [index_value]))
        return context.cast(builder, value, array.dtype, types.int64)

    return types.int64(array, index), codegen


@intrinsic
def put(typingctx, array, index, value):
    """array.flat[index] = value, of an index that is not negative."""

    def codegen(context, builder, signature, args):
        index_value = context.cast(builder, args[1], index, types.int64)
        number = context.cast(builder, args[2], value, array.dtype)
        builder.store(number, builder.gep(_base(context, builder, array, args[0]), [index_value]))
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def _hashed(builder, vector):
    """Return the hashes of sums, a lane each: see `hashed`."""
    mixed = builder.mul(vector, _vector([0x9E3B5] * 8))
    return builder.xor(mixed, builder.lshr(mixed, _vector([15] * 8)))


@intrinsic
def keys_of(typingctx, prefixes, west):
    """Return the keys of eight contexts: hashed(prefix, west) of those that west is part of."""

    def codegen(context, builder, signature, args):
        known = _load(builder, _base(context, builder, prefixes, args[0]), _i64(0), 8)
        west_lanes = _splat(builder, context.cast(builder, args[1], west, types.int32), 8)
        is_west = ir.Constant(ir.VectorType(ir.IntType(1), 8), [1, 0, 1, 1, 0, 1, 0, 1])
        return builder.select(is_west, _hashed(builder, builder.add(known, west_lanes)), known)

    return _lanes(8)(prefixes, west), codegen


@intrinsic
def targets_of(typingctx, keys, node):
    """Return (hashed(key, node) · 0xB5297) mod 2^32 for each key."""

    def codegen(context, builder, signature, args):
        node_lanes = _splat(builder, context.cast(builder, args[1], node, types.int32), 8)
        mixed = _hashed(builder, builder.add(args[0], node_lanes))
        return builder.mul(mixed, _vector([0xB5297] * 8))

    return _lanes(8)(keys, node), codegen


@intrinsic
def line_starts(typingctx, targets, line_bits, group):
    """Return where lines start, eight lanes: (upper bits of a target + lines before) << group."""

    def codegen(context, builder, signature, args):
        bits = context.cast(builder, args[1], line_bits, types.int32)
        number = builder.lshr(args[0], _splat(builder, builder.sub(_i32(32), bits), 8))
        first = builder.shl(_vector(list(range(8))), _splat(builder, bits, 8))
        shifts = _splat(builder, context.cast(builder, args[2], group, types.int32), 8)
        return builder.shl(builder.add(number, first), shifts)

    return _lanes(8)(targets, line_bits, group), codegen


@intrinsic
def moved_by(typingctx, lanes, number):
    """Return eight lanes, each larger by a number."""

    def codegen(context, builder, signature, args):
        number_lanes = _splat(builder, context.cast(builder, args[1], number, types.int32), 8)
        return builder.add(args[0], number_lanes)

    return _lanes(8)(lanes, number), codegen


@intrinsic
def load_eight(typingctx, array, index):
    """Return eight lanes of an array of 32-bit numbers."""

    def codegen(context, builder, signature, args):
        start = context.cast(builder, args[1], index, types.int64)
        return _load(builder, _base(context, builder, array, args[0]), start, 8)

    return _lanes(8)(array, index), codegen


def _expecting(array, places, n_lanes):
    def codegen(context, builder, signature, args):
        base = _base(context, builder, array, args[0])
        for lane in range(n_lanes):
            place = builder.zext(builder.extract_element(args[1], _i32(lane)), _i64)
            touch(builder, builder.gep(base, [place]))
        return context.get_dummy_value()

    return types.void(array, places), codegen


@intrinsic
def expect_lines(typingctx, lines, starts):
    """Have the processor fetch the lines of the hashed lanes."""
    return _expecting(lines, starts, HASHED)


@intrinsic
def expect_dense(typingctx, dense, places):
    """Have the processor fetch the dense slots of the lanes of colours."""
    return _expecting(dense, places, DENSE - RUNS)


def _opening(lines, starts, targets, group, is_second):
    def codegen(context, builder, signature, args):
        base = _base(context, builder, lines, args[0])
        mixed = builder.xor(args[2], builder.lshr(args[2], _vector([13] * 8)))
        checks = builder.trunc(builder.or_(mixed, _vector([1] * 8)), ir.VectorType(_i16, 8))
        n_slots = builder.shl(_i16(1), context.cast(builder, args[3], group, types.int16))
        n_slots = _splat(builder, n_slots, 8)
        is_within = builder.icmp_signed("<", ir.Constant(n_slots.type, list(range(8))), n_slots)
        for lane in range(HASHED):
            start = builder.zext(builder.extract_element(args[1], _i32(lane)), _i64)
            check = builder.extract_element(checks, _i32(lane))
            found = builder.load(builder.gep(base, [start]))
            pair = _splat(builder, found, 8), _splat(builder, check, 8)
            is_fresh = builder.icmp_unsigned("!=", *pair)
            fresh = ir.Constant(n_slots.type, [0x8000] * 8)
            if is_second:
                start = builder.add(start, _i64(8))
            else:
                is_fresh = builder.and_(is_fresh, is_within)
                fresh = builder.insert_element(fresh, check, _i32(0))
            before = _load(builder, base, start, 8, _i16)
            _store(builder, builder.select(is_fresh, fresh, before), base, start)
        return context.get_dummy_value()

    return types.void(lines, starts, targets, group), codegen


@intrinsic
def open_lines(typingctx, lines, starts, targets, group):
    """Begin the first eight slots anew of lines whose first number is not their target's check."""
    return _opening(lines, starts, targets, group, False)


@intrinsic
def open_rest(typingctx, lines, starts, targets, group):
    """Begin slots 8 to 15 anew of lines whose check `open_lines` will find to be another's."""
    return _opening(lines, starts, targets, group, True)


@intrinsic
def paint(typingctx, shades, west, north, northeast, northwest, out_colors):
    """Write the predicted colours, a row for each channel, and return the activity.

    They are W, N, W + N - NW, (2 W + 2 N + NE - NW) >> 2, NE, NW. The activity is
    (Σ |W - NW| + |N - NW| + |N - NE|) >> 4.
    """

    def codegen(context, builder, signature, args):
        base = _base(context, builder, shades, args[0])
        w, n, ne, nw = (
            _load(
                builder,
                base,
                builder.shl(context.cast(builder, value, kind, types.int64), _i64(2)),
                4,
            )
            for kind, value in zip((west, north, northeast, northwest), args[1:5], strict=True)
        )
        gradient = builder.sub(builder.add(w, n), nw)
        double = builder.shl(builder.add(w, n), _vector([1] * 4))
        blend = builder.ashr(builder.add(double, builder.sub(ne, nw)), _vector([2] * 4))
        zeros = _vector([0] * 4)
        pairs = [
            builder.shuffle_vector(one, other, _vector(list(range(8))))
            for one, other in ((w, n), (gradient, blend), (ne, nw), (zeros, zeros))
        ]
        out = _base(context, builder, out_colors, args[5])
        for channel in range(4):
            four = _vector([channel, channel + 4, channel + 8, channel + 12])
            left, right = (builder.shuffle_vector(*pairs[i : i + 2], four) for i in (0, 2))
            row = builder.shuffle_vector(left, right, _vector(list(range(8))))
            _store(builder, row, out, _i64(channel * N_PLANES))
        steps = zeros
        for one, other in ((w, nw), (n, nw), (n, ne)):
            step = builder.sub(one, other)
            less = builder.icmp_signed("<", step, zeros)
            steps = builder.add(steps, builder.select(less, builder.sub(zeros, step), step))
        total = _call(builder, "llvm.vector.reduce.add.v4i32", _i32, steps)
        return builder.zext(builder.lshr(total, _i32(4)), _i64)

    return types.int64(shades, west, north, northeast, northwest, out_colors), codegen


@intrinsic
def in_runs(typingctx, first, second, third, others):
    """Return eight lanes, of which 5 to 7 are those of the runs."""

    def codegen(context, builder, signature, args):
        numbers = [
            context.cast(builder, value, kind, types.int32)
            for value, kind in zip(args, signature.args, strict=True)
        ]
        lanes = _splat(builder, numbers[3], 8)
        for number, lane in zip(numbers[:3], (5, 6, 7), strict=True):
            lanes = builder.insert_element(lanes, number, _i32(lane))
        return lanes

    return _lanes(8)(first, second, third, others), codegen


@intrinsic
def homes_of(typingctx, run_start, busy):
    """Return where in the dense table eight lanes begin, of row and stage 0."""

    def codegen(context, builder, signature, args):
        starts = [0]
        for span in (LINE_SPAN, PAIR_SPAN, GRADIENT_SPAN, BLEND_SPAN):
            starts.append(starts[-1] + span)
        ends = _vector([*starts, *(RUN_SPAN * number for number in range(RUNS))])
        run, level = (
            _splat(builder, context.cast(builder, value, kind, types.int32), 8)
            for value, kind in zip(args, signature.args, strict=True)
        )
        run = builder.mul(run, _vector([0] * 5 + [1] * RUNS))
        level = builder.mul(level, _vector([0, 0, 1, 1, 0, 0, 0, 0]))
        return builder.add(builder.add(ends, run), level)

    return _lanes(8)(run_start, busy), codegen


def _joined(builder, one, other):
    """Return sixteen lanes: eight, and eight more."""
    return builder.shuffle_vector(one, other, _vector(list(range(2 * N_PLANES))))


def _twice(builder, lanes):
    return _joined(builder, lanes, lanes)


def _of_both(builder, numbers):
    """Return sixteen lanes: the number of one node in eight, that of the other in eight."""
    return _joined(builder, *(_splat(builder, number, N_PLANES) for number in numbers))


def _levels(builder, colors, planes, nodes):
    """Measure eight predicted colours against the planes that halve the colours of two nodes.

    levels[i] = ((Σ planes[node, c] · colors[c, i] + planes[node, 4]) >> (12 + shift[i])) +
    offset[i], kept within 0 to top[i].
    """
    starts = [builder.shl(builder.zext(node, _i64), _i64(3)) for node in nodes]
    rows = [_load(builder, planes, start, N_PLANES) for start in starts]

    def coefficient(number):
        return builder.shuffle_vector(*rows, _vector([number] * 8 + [number + N_PLANES] * 8))

    total = coefficient(4)
    for channel in range(4):
        row = _twice(builder, _load(builder, colors, _i64(channel * N_PLANES), N_PLANES))
        total = builder.add(total, builder.mul(row, coefficient(channel)))
    level = builder.ashr(total, _vector([12 + shift for shift in LEVEL_SHIFTS] * 2))
    level = builder.add(level, _vector(LEVEL_OFFSETS * 2))
    top, zero = _vector(LEVEL_TOPS * 2), _vector([0] * 16)
    level = builder.select(builder.icmp_signed("<", level, zero), zero, level)
    return builder.select(builder.icmp_signed(">", level, top), top, level)


def _in_rows(builder, levels):
    """Return where in a row of the dense table the five lanes of colours are, by their levels."""
    halves = builder.lshr(levels, _vector([1] * 16))
    places = _vector([0] * 16)
    for lanes, shifts in (  # `halves` are lanes 16 to 23 here, and lane 6 is 0
        ([0, 1, 2, 3, 16, 6, 6, 6], [4, 4, 3, 3, 9, 0, 0, 0]),
        ([1, 4, 6, 6, 17, 6, 6, 6], [0, 0, 0, 0, 6, 0, 0, 0]),
        ([6, 6, 6, 6, 20, 6, 6, 6], [0, 0, 0, 0, 3, 0, 0, 0]),
        ([6, 6, 6, 6, 21, 6, 6, 6], [0] * 8),
    ):
        both = _vector([*lanes, *(lane + 8 for lane in lanes)])
        moved = builder.shuffle_vector(levels, halves, both)
        places = builder.add(places, builder.shl(moved, _vector(shifts * 2)))
    return places


def _ways(builder, nodes, ranks, lengths, least, most):
    """Return 2 · length + decision for guesses that are still possible, 0 for others.

    At node 0 a rank is 1 if the guess is the colour of the west, else 0.
    """
    pivots = [
        builder.select(builder.icmp_signed(">", node, _i32(1)), node, _i32(1)) for node in nodes
    ]
    is_possible = builder.and_(
        builder.icmp_signed(">=", ranks, least), builder.icmp_signed("<", ranks, most)
    )
    is_above = builder.icmp_signed(">=", ranks, _of_both(builder, pivots))
    ways = builder.shl(lengths, _vector([1] * 16))
    ways = builder.add(ways, builder.zext(is_above, lengths.type))
    return builder.select(is_possible, ways, _vector([0] * 16))


@intrinsic
def places_of(typingctx, colors, planes, homes, ranks, lengths, one, other):
    """Return the positions of eight lanes in the dense table, those of `homes` moved, at two nodes.

    `one` and `other` are (node, row, stage, least, most), integers of 64 bits. Lanes of colours
    move by their levels in the row of the node, those of runs by stage and way.
    """

    def codegen(context, builder, signature, args):
        bases = [
            _base(context, builder, kind, array)
            for kind, array in ((colors, args[0]), (planes, args[1]))
        ]
        pairs = zip(*(cgutils.unpack_tuple(builder, value) for value in args[5:]), strict=True)
        pairs = [[builder.trunc(number, _i32) for number in pair] for pair in pairs]
        nodes = pairs[0]
        rows, stages, least, most = (_of_both(builder, pair) for pair in pairs[1:])
        levels = _levels(builder, *bases, nodes)
        rows = builder.mul(rows, _vector(([ROW_SPAN] * 5 + [0] * RUNS) * 2))
        stages = builder.mul(stages, _vector(([0] * 5 + [64] * RUNS) * 2))
        places, ranks, lengths = (_twice(builder, lanes) for lanes in args[2:5])
        ways = _ways(builder, nodes, ranks, lengths, least, most)
        for part in (_in_rows(builder, levels), rows, stages, ways):
            places = builder.add(places, part)
        halves = [
            builder.shuffle_vector(places, places, _vector(list(range(first, first + 8))))
            for first in (0, 8)
        ]
        return context.make_tuple(builder, signature.return_type, halves)

    arguments = (colors, planes, homes, ranks, lengths, one, other)
    return types.UniTuple(_lanes(8), 2)(*arguments), codegen


@intrinsic
def places_at_west(typingctx, homes, claims, lengths):
    """Return what `places_of` does at node 0, whose plane is 0: `claims` are 0 but for runs."""

    def codegen(context, builder, signature, args):
        line, gradient, blend = (LEVEL_OFFSETS[i] for i in (0, 2, 3))
        quad = sum(line // 2 << shift for shift in (9, 6, 3, 0))
        levels = [16 * line + line, 16 * line + line, 8 * gradient, 8 * blend, quad]
        ways = builder.add(builder.shl(args[2], _vector([1] * 8)), args[1])
        return builder.add(args[0], builder.add(ways, _vector(levels + [0] * RUNS)))

    return _lanes(8)(homes, claims, lengths), codegen


def _addresses(
    context, builder, starts, starts_value, begin, local, local_value, places, places_value, first
):
    """Positions of the slots of the hashed lanes and then the dense ones in their tables."""
    offset = context.cast(builder, local_value, local, types.int64)
    starts_base = builder.gep(_base(context, builder, starts, starts_value), [begin])
    places_base = builder.gep(_base(context, builder, places, places_value), [first])
    for lane in range(HASHED):
        start = builder.load(builder.gep(starts_base, [_i32(lane)]))
        yield lane, builder.add(builder.zext(start, _i64), offset)
    for lane in range(DENSE):
        yield 8 + lane, builder.zext(builder.load(builder.gep(places_base, [_i32(lane)])), _i64)


@intrinsic
def fetch(typingctx, lines, dense, starts, begin, local, places, first, stretch):
    """Return the slots of all lanes and their logits.

    slots[i] = lines[starts[begin + i] + local] for the hashed lanes,
    dense[places[first + i - 8]] for the dense ones; logits[i] = stretch[upper 12 bits of the
    probability]. Of lane 7 they are 0 and 256.
    """

    def codegen(context, builder, signature, args):
        bases = [
            _base(context, builder, kind, array)
            for kind, array in ((lines, args[0]), (dense, args[1]), (stretch, args[7]))
        ]
        begin_value = context.cast(builder, args[3], begin, types.int64)
        start = context.cast(builder, args[6], first, types.int64)
        hashed_slots, dense_slots = ir.Constant(ir.VectorType(_i16, 8), [0] * 8), _vector([0] * 8)
        logits = ir.Constant(ir.VectorType(_i16, LANES), [256] * LANES)
        addresses = _addresses(
            context, builder, starts, args[2], begin_value, local, args[4], places, args[5], start
        )
        for lane, address in addresses:
            slot = builder.load(builder.gep(bases[lane // 8], [address]))
            if lane < HASHED:
                hashed_slots = builder.insert_element(hashed_slots, slot, _i32(lane))
                entry = builder.lshr(slot, _i16(4))
            else:
                dense_slots = builder.insert_element(dense_slots, slot, _i32(lane - 8))
                entry = builder.lshr(slot, _i32(19))
            logit = builder.load(builder.gep(bases[2], [builder.zext(entry, _i64)]))
            logits = builder.insert_element(logits, logit, _i32(lane))
        slots = _joined(builder, builder.zext(hashed_slots, dense_slots.type), dense_slots)
        logits = builder.sext(logits, slots.type)
        return context.make_tuple(builder, signature.return_type, [slots, logits])

    arguments = (lines, dense, starts, begin, local, places, first, stretch)
    return types.UniTuple(_lanes(LANES), 2)(*arguments), codegen


@intrinsic
def count_known(typingctx, slots):
    """Count the hashed lanes whose slot has seen a decision."""

    def codegen(context, builder, signature, args):
        counts = builder.and_(args[0], _vector([15] * LANES))
        seen = builder.bitcast(
            builder.icmp_unsigned("!=", counts, _vector([0] * LANES)), ir.IntType(LANES)
        )
        hashed = builder.and_(seen, ir.IntType(LANES)((1 << HASHED) - 1))
        return builder.zext(builder.ctpop(hashed), _i64)

    return types.int64(slots), codegen


@intrinsic
def opinions_of(typingctx, logits, weights, first, second, third):
    """Return four lanes: the opinions of three rows of weights, and 0.

    Each is (Σ logits[i] · (weights[row, i] >> 7)) >> 13, kept within ±REACH.
    """

    def codegen(context, builder, signature, args):
        base = _base(context, builder, weights, args[1])
        sums = []
        for value, kind in zip(args[2:], signature.args[2:], strict=True):
            start = builder.shl(context.cast(builder, value, kind, types.int64), _i64(4))
            scaled = builder.ashr(_load(builder, base, start), _vector([7] * LANES))
            sums.append(_folded(builder, builder.mul(args[0], scaled)))
        sums = [_in_pairs(builder, *sums[:2]), _in_pairs(builder, sums[2], sums[2])]
        sums = _in_pairs(builder, *sums)  # now lanes 0 to 2 and 4 to 6 are halves of the three
        total = builder.ashr(_folded(builder, sums), _vector([13] * 4))
        total = _kept_within(builder, total, REACH)
        return builder.insert_element(total, _i32(0), _i32(3))

    return _lanes(4)(logits, weights, first, second, third), codegen


def _folded(builder, lanes):
    """Return the first half of the lanes plus the second."""
    half = lanes.type.count // 2
    halves = [_vector(list(range(first, first + half))) for first in (0, half)]
    return builder.add(*(builder.shuffle_vector(lanes, lanes, half) for half in halves))


def _in_pairs(builder, one, other):
    """Return the sums of two lanes each within every four: those of `one`, then of `other`."""
    count = one.type.count
    even = [
        at + side for four in range(0, count, 4) for side in (0, count) for at in (four, four + 2)
    ]
    return builder.add(
        builder.shuffle_vector(one, other, _vector(even)),
        builder.shuffle_vector(one, other, _vector([at + 1 for at in even])),
    )


def _kept_within(builder, lanes, limit):
    count = lanes.type.count
    for bound, sign in ((limit, ">"), (-limit, "<")):
        bounds = _vector([bound] * count)
        lanes = builder.select(builder.icmp_signed(sign, lanes, bounds), bounds, lanes)
    return lanes


def _shares_at(context, builder, blend, args, stage):
    start = builder.shl(context.cast(builder, args[2], stage, types.int64), _i64(2))
    return _base(context, builder, blend, args[1]), start


@intrinsic
def mixture_of(typingctx, opinions, blend, stage):
    """Return (Σ opinions[i] · (blend[stage, i] >> 4)) >> 16, kept within ±REACH."""

    def codegen(context, builder, signature, args):
        shares = _load(builder, *_shares_at(context, builder, blend, args, stage), 4)
        wide = ir.VectorType(_i64, 4)
        products = builder.mul(
            builder.sext(args[0], wide), builder.sext(builder.ashr(shares, _vector([4] * 4)), wide)
        )
        total = builder.ashr(
            _call(builder, "llvm.vector.reduce.add.v4i64", _i64, products), _i64(16)
        )
        for bound, sign in ((REACH, ">"), (-REACH, "<")):
            total = builder.select(
                builder.icmp_signed(sign, total, _i64(bound)), _i64(bound), total
            )
        return total

    return types.int64(opinions, blend, stage), codegen


@intrinsic
def train_shares(typingctx, opinions, blend, stage, error):
    """blend[stage, i] += (opinions[i] · error + 2048) >> 12, kept within ±BLEND_LIMIT."""

    def codegen(context, builder, signature, args):
        base, start = _shares_at(context, builder, blend, args, stage)
        lanes = _splat(builder, context.cast(builder, args[3], error, types.int32), 4)
        change = builder.add(builder.mul(args[0], lanes), _vector([2048] * 4))
        shares = builder.add(
            _load(builder, base, start, 4), builder.ashr(change, _vector([12] * 4))
        )
        _store(builder, _kept_within(builder, shares, BLEND_LIMIT), base, start)
        return context.get_dummy_value()

    return types.void(opinions, blend, stage, error), codegen


@intrinsic
def train(typingctx, logits, weights, row, error, shift):
    """weights[row, i] += (logits[i] · error + 2^(shift-1)) >> shift, kept within ±WEIGHT_LIMIT."""

    def codegen(context, builder, signature, args):
        start = builder.shl(context.cast(builder, args[2], row, types.int64), _i64(4))
        bits = context.cast(builder, args[4], shift, types.int32)
        half = builder.shl(_i32(1), builder.sub(bits, _i32(1)))
        error_lanes = _splat(builder, context.cast(builder, args[3], error, types.int32))
        products = builder.mul(args[0], error_lanes)
        change = builder.ashr(builder.add(products, _splat(builder, half)), _splat(builder, bits))
        base = _base(context, builder, weights, args[1])
        after = builder.add(_load(builder, base, start), change)
        _store(builder, _kept_within(builder, after, WEIGHT_LIMIT), base, start)
        return context.get_dummy_value()

    return types.void(logits, weights, row, error, shift), codegen


@intrinsic
def adapted(typingctx, slots, bit):
    """Return each slot moved towards the decision, and counted.

    With p the probability in 2^-22 and n the count of a slot:
    p += (((bit ? 2^22 - 1 : 31) - p) >> 5) · rate(n) >> 9, n += 1 up to its limit.
    Hashed slots are 16 p's upper 12 bits + n, rounded; dense ones 512 p + n. rate(n) is
    163,840 / (10 n + 16), rounded down, but 512 for the 15 of a hashed slot. Each such quotient
    is so far from the next integer that a division of 32-bit floats finds the same one.
    """

    def per_kind(hashed, dense):
        return _vector([hashed] * 8 + [dense] * DENSE)

    def codegen(context, builder, signature, args):
        decided = context.cast(builder, args[1], bit, types.int32)
        target = builder.add(_i32(31), builder.mul(decided, _i32((1 << 22) - 32)))
        state = args[0]
        counts = builder.and_(state, per_kind(15, 511))
        chances = builder.shl(builder.lshr(state, per_kind(4, 9)), per_kind(10, 0))
        floats = ir.VectorType(ir.FloatType(), LANES)
        divisor = builder.add(builder.mul(counts, per_kind(10, 10)), per_kind(16, 16))
        rate = builder.fdiv(
            ir.Constant(floats, [163_840.0] * LANES), builder.sitofp(divisor, floats)
        )
        rate = builder.fptosi(rate, counts.type)
        is_last = builder.icmp_signed("==", counts, per_kind(15, 512))
        rate = builder.select(is_last, per_kind(512, 0), rate)
        gap = builder.ashr(builder.sub(_splat(builder, target), chances), per_kind(5, 5))
        chances = builder.add(chances, builder.ashr(builder.mul(gap, rate), per_kind(9, 9)))
        rounding = builder.and_(_splat(builder, builder.sub(_i32(0), decided)), per_kind(512, 0))
        chances = builder.lshr(builder.add(chances, rounding), per_kind(10, 0))
        more = builder.icmp_signed("<", counts, per_kind(15, DENSE_LIMIT))
        counts = builder.add(counts, builder.zext(more, counts.type))
        return builder.or_(builder.shl(chances, per_kind(4, 9)), counts)

    return _lanes(LANES)(slots, bit), codegen


@intrinsic
def keep(typingctx, slots, lines, dense, starts, begin, local, places, first):
    """Write the slots of all lanes to where `fetch` finds them."""

    def codegen(context, builder, signature, args):
        begin_value = context.cast(builder, args[4], begin, types.int64)
        start = context.cast(builder, args[7], first, types.int64)
        lines_base = _base(context, builder, lines, args[1])
        dense_base = _base(context, builder, dense, args[2])
        addresses = _addresses(
            context, builder, starts, args[3], begin_value, local, args[5], places, args[6], start
        )
        for lane, address in addresses:
            slot = builder.extract_element(args[0], _i32(lane))
            if lane < HASHED:
                builder.store(builder.trunc(slot, _i16), builder.gep(lines_base, [address]))
            else:
                builder.store(slot, builder.gep(dense_base, [address]))
        return context.get_dummy_value()

    return types.void(slots, lines, dense, starts, begin, local, places, first), codegen


@intrinsic
def differ(typingctx, one, other):
    """Return whether two vectors of slots differ."""

    def codegen(context, builder, signature, args):
        lanes = builder.icmp_unsigned("!=", args[0], args[1])
        bits = builder.bitcast(lanes, ir.IntType(LANES))
        real = builder.and_(bits, ir.IntType(LANES)(0xFFFF - (1 << HASHED)))
        return builder.icmp_unsigned("!=", real, real.type(0))

    return types.boolean(one, other), codegen
