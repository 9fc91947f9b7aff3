"""Short vectors as values in kernels: every operation acts on all lanes at once.

LLVM vectorises simple loops by itself, but keeps what passes from one inner loop to the next in
memory. With vectors as values a kernel says what stays in registers, and works at the speed of the
machine. Each lane computes by itself, so results do not depend on how many there are.
"""

from __future__ import annotations

import platform

from kmq.kernels import _native
from kmq.kernels._numba import cgutils, intrinsic, ir, models, register_model, types


def _fits_lane_bytes():
    """Return 256 where registers hold 64 bytes and there are 32 of them, 64 elsewhere.

    `nearest` keeps some six such vectors at a time. On a machine with AVX-512, 64, 128 and 256
    bytes took 283, 185 and 154 ns a point at 64 channels and 256 centroids: fewer leave arithmetic
    units waiting for results.
    """
    if _native.library is not None:
        return _native.library.lane_bytes
    from kmq.kernels._compiler import target_has

    return 256 if target_has("avx512f") else 64


LANE_BYTES = _fits_lane_bytes()
"""Bytes of a vector. Numba's cache tells processors apart, so kernels may take it as a constant."""


PANEL_BYTES = min(128, LANE_BYTES)
"""Bytes of a vector where six of them grow in registers at a time: half of these at most."""


class Lanes(types.Type):
    """Numba's type of a vector of `count` numbers or truth values."""

    def __init__(self, dtype, count):
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"Lanes({dtype}, {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        number = manager.lookup(lanes.dtype).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(number, lanes.count))


def _lane_count(array):
    return LANE_BYTES * 8 // array.dtype.bitwidth


def _address(context, builder, array_type, array, index, count):
    """Return where `count` numbers of a one-dimensional array start, as a pointer to a vector."""
    first = builder.gep(context.make_array(array_type)(context, builder, array).data, [index])
    vector = ir.VectorType(context.get_data_type(array_type.dtype), count)
    return builder.bitcast(first, vector.as_pointer())


def _loading(array, count, signature_of):
    def codegen(context, builder, signature, args):
        address = _address(context, builder, array, args[0], args[1], count)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return signature_of(Lanes(array.dtype, count)), codegen


def touch(builder, pointer):
    """Have the processor fetch what lies there, for code that is being generated."""
    number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    builder.call(fetch, [builder.bitcast(pointer, byte), number(0), number(3), number(1)])


@intrinsic
def expect(typingctx, array, index):
    """Have the processor fetch the number at `index` (not checked) of an array."""

    def codegen(context, builder, signature, args):
        place = context.cast(builder, args[1], index, types.int64)
        data = context.make_array(array)(context, builder, args[0]).data
        touch(builder, builder.gep(data, [place]))
        return context.get_dummy_value()

    return types.none(array, index), codegen


@intrinsic
def lane_count(typingctx, array):
    """Return how many lanes `load` takes from an array: LANE_BYTES by the size of its numbers."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, _lane_count(array))

    return types.intp(array), codegen


@intrinsic
def width_of(typingctx, lanes):
    """Return how many lanes there are."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, lanes.count)

    return types.intp(lanes), codegen


@intrinsic
def load(typingctx, array, index):
    """Return the numbers of a one-dimensional array from `index` (not checked) on, all lanes."""
    return _loading(array, _lane_count(array), lambda lanes: lanes(array, types.intp))


@intrinsic
def panel_count(typingctx, array):
    """Return how many lanes `load_panel` takes from an array."""
    count = PANEL_BYTES * 8 // array.dtype.bitwidth

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, count)

    return types.intp(array), codegen


@intrinsic
def load_panel(typingctx, array, index):
    """Return PANEL_BYTES of numbers of a one-dimensional array from `index` (not checked) on."""
    count = PANEL_BYTES * 8 // array.dtype.bitwidth
    return _loading(array, count, lambda lanes: lanes(array, types.intp))


@intrinsic
def load_like(typingctx, array, index, like):
    """Return as many numbers as `like` has lanes."""
    return _loading(array, like.count, lambda lanes: lanes(array, types.intp, like))


@intrinsic
def gather(typingctx, array, indices):
    """Return the numbers of an array at the indices (not checked), a vector of them."""
    lanes = Lanes(array.dtype, indices.count)

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        gathered = ir.Constant(context.get_value_type(lanes), ir.Undefined)
        for i in range(lanes.count):
            place = ir.Constant(ir.IntType(32), i)
            index = builder.zext(builder.extract_element(args[1], place), ir.IntType(64))
            number = builder.load(builder.gep(data, [index]))
            gathered = builder.insert_element(gathered, number, place)
        return gathered

    return lanes(array, indices), codegen


@intrinsic
def load_row(typingctx, array, index, channels):
    """Return as many numbers as the tuple `channels` has."""
    return _loading(array, channels.count, lambda lanes: lanes(array, types.intp, channels))


@intrinsic
def store(typingctx, lanes, array, index):
    """Write all lanes to a one-dimensional array from `index` (not checked) on."""

    def codegen(context, builder, signature, args):
        address = _address(context, builder, array, args[1], args[2], lanes.count)
        builder.store(args[0], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(lanes, array, types.intp), codegen


@intrinsic
def splat(typingctx, number, like):
    """Return a number in as many lanes as `like` has: an integer as it is, a float as `like`."""
    lanes = Lanes(number if isinstance(number, types.Integer) else like.dtype, like.count)

    def codegen(context, builder, signature, args):
        vector = context.get_value_type(lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        number_in_type = context.cast(builder, args[0], number, lanes.dtype)
        index = ir.IntType(32)
        first = builder.insert_element(undefined, number_in_type, ir.Constant(index, 0))
        everywhere = ir.Constant(ir.VectorType(index, lanes.count), [0] * lanes.count)
        return builder.shuffle_vector(first, undefined, everywhere)

    return lanes(number, like), codegen


@intrinsic
def spread(typingctx, array, index, like):
    """Return the number at `index` (not checked) of a one-dimensional array, in as many lanes as
    `like` has."""

    def codegen(context, builder, signature, args):
        vector = context.get_value_type(like)
        data = context.make_array(array)(context, builder, args[0]).data
        undefined, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        number = builder.insert_element(
            undefined, builder.load(builder.gep(data, [args[1]])), first
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), like.count), [0] * like.count)
        return builder.shuffle_vector(number, undefined, everywhere)

    return like(array, types.intp, like), codegen


@intrinsic
def lane(typingctx, lanes, index):
    """Return the number in one lane."""

    def codegen(context, builder, signature, args):
        return builder.extract_element(args[0], args[1])

    return lanes.dtype(lanes, index), codegen


@intrinsic
def with_last(typingctx, lanes, number):
    """Return floats and one more, a float of their type."""
    longer = Lanes(lanes.dtype, lanes.count + 1)

    def codegen(context, builder, signature, args):
        index = ir.IntType(32)
        undefined = ir.Constant(context.get_value_type(lanes), ir.Undefined)
        places = ir.Constant(ir.VectorType(index, longer.count), [*range(longer.count)])
        vector = builder.shuffle_vector(args[0], undefined, places)
        return builder.insert_element(vector, args[1], ir.Constant(index, lanes.count))

    return longer(lanes, lanes.dtype), codegen


@intrinsic
def widened(typingctx, lanes):
    """Return floats as float64."""
    wide = Lanes(types.float64, lanes.count)

    def codegen(context, builder, signature, args):
        return args[0] if lanes == wide else builder.fpext(args[0], context.get_value_type(wide))

    return wide(lanes), codegen


@intrinsic
def plus(typingctx, a, b):
    """a + b of floats."""

    def codegen(context, builder, signature, args):
        return builder.fadd(*args)

    return a(a, b), codegen


@intrinsic
def minus(typingctx, a, b):
    """a - b of floats."""

    def codegen(context, builder, signature, args):
        return builder.fsub(*args)

    return a(a, b), codegen


@intrinsic
def times(typingctx, a, b):
    """a · b of floats."""

    def codegen(context, builder, signature, args):
        return builder.fmul(*args)

    return a(a, b), codegen


@intrinsic
def divide(typingctx, a, b):
    """a / b of floats."""

    def codegen(context, builder, signature, args):
        return builder.fdiv(*args)

    return a(a, b), codegen


def _fused(builder, lanes, args):
    vector = args[0].type
    name = f"llvm.fma.v{lanes.count}f{lanes.dtype.bitwidth}"
    function_type = ir.FunctionType(vector, [vector] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


@intrinsic
def multiply_add(typingctx, a, b, c):
    """a · b + c of floats, rounded once, the same on every machine."""

    def codegen(context, builder, signature, args):
        return _fused(builder, a, args)

    return a(a, b, c), codegen


_ROUNDS = {32: 1.5 * 2**23, 64: 1.5 * 2**52}
"""A float of so many bits that leaves no fraction of a small number added to it."""


@intrinsic
def whole_product(typingctx, a, b):
    """a · b of floats, rounded once, to whole numbers of 16 bits, which they have to fit."""
    shorts = Lanes(types.int16, a.count)

    def codegen(context, builder, signature, args):
        bits = a.dtype.bitwidth
        magic = ir.Constant(args[0].type, [_ROUNDS[bits]] * a.count)
        rounded = _fused(builder, a, [*args, magic])
        integers = builder.bitcast(rounded, ir.VectorType(ir.IntType(bits), a.count))
        return builder.trunc(integers, context.get_value_type(shorts))

    return shorts(a, b), codegen


PAIRS_TOGETHER = platform.machine().lower() in ("x86_64", "amd64")
"""Whether `add_pairs` takes the two numbers of each lane side by side: processors of Intel and AMD
multiply them, and add both, at once. Others take the first numbers of all lanes first."""


@intrinsic
def load_pairs(typingctx, array, index, like):
    """Return two numbers for each lane of `like`."""
    return _loading(array, 2 * like.count, lambda lanes: lanes(array, types.intp, like))


@intrinsic
def add_pairs(typingctx, pairs, array, index, sums):
    """Add to each lane of `sums` the products of its pair with the pair of numbers at `index` (not
    checked): 16 bits by 16 bits. Sums are taken modulo 2^32."""

    def codegen(context, builder, signature, args):
        y, array_data, at, s = args
        count, word = sums.count, ir.IntType(32)
        wide = ir.VectorType(word, 2 * count)

        def taken(vector, places):
            places = ir.Constant(ir.VectorType(word, len(places)), places)
            return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), places)

        x = _address(context, builder, array, array_data, at, 2)
        x = builder.load(x, align=2)
        repeated = [0, 1] * count if PAIRS_TOGETHER else [0] * count + [1] * count
        products = builder.mul(builder.sext(y, wide), builder.sext(taken(x, repeated), wide))
        if PAIRS_TOGETHER:
            halves = [*range(0, 2 * count, 2)], [*range(1, 2 * count, 2)]
        else:
            halves = [*range(count)], [*range(count, 2 * count)]
        return builder.add(s, builder.add(*(taken(products, half) for half in halves)))

    return sums(pairs, array, types.intp, sums), codegen


@intrinsic
def paired(typingctx, a, b):
    """Return pairs of two vectors' numbers of 16 bits, as `load_pairs` does."""
    pairs = Lanes(a.dtype, 2 * a.count)

    def codegen(context, builder, signature, args):
        first, second = range(a.count), range(a.count, 2 * a.count)
        places = [*first, *second]
        if PAIRS_TOGETHER:
            places = [place for pair in zip(first, second, strict=True) for place in pair]
        constant = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
        return builder.shuffle_vector(*args, constant)

    return pairs(a, b), codegen


@intrinsic
def with_low_half(typingctx, a, b):
    """Return integers of 32 bits with the high half of `a` and the low half of `b`."""

    def codegen(context, builder, signature, args):
        halves = ir.VectorType(ir.IntType(16), 2 * a.count)
        high, low = (builder.bitcast(vector, halves) for vector in args)
        # On machines that put the low half first, as all do that Numba knows.
        places = [i if i % 2 else 2 * a.count + i for i in range(2 * a.count)]
        constant = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
        mixed = builder.shuffle_vector(high, low, constant)
        return builder.bitcast(mixed, context.get_value_type(a))

    return a(a, b), codegen


@intrinsic
def transposed(typingctx, rows):
    """Return the columns of a tuple of eight vectors of eight numbers."""

    def codegen(context, builder, signature, args):
        vectors = [builder.extract_value(args[0], i) for i in range(8)]

        def crossed(step, low, high):
            # In halves of four lanes, as processors do it at once.
            places = ir.VectorType(ir.IntType(32), 8)
            for i in (i for i in range(8) if not i & step):
                a, b = vectors[i], vectors[i + step]
                vectors[i], vectors[i + step] = (
                    builder.shuffle_vector(a, b, ir.Constant(places, chosen))
                    for chosen in (low, high)
                )

        crossed(1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15])
        crossed(2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
        crossed(4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        columns = [vectors[i] for i in (0, 2, 1, 3, 4, 6, 5, 7)]
        return context.make_tuple(builder, rows, columns)

    return rows(rows), codegen


def _halved(builder, lanes, count, join):
    """Return one number of all lanes, whose number is a power of two: halves joined again and
    again."""
    index = ir.IntType(32)
    while count > 1:
        count //= 2
        undefined = ir.Constant(lanes.type, ir.Undefined)
        low, high = (
            builder.shuffle_vector(
                lanes, undefined, ir.Constant(ir.VectorType(index, count), [*range(at, at + count)])
            )
            for at in (0, count)
        )
        lanes = join(low, high)
    return builder.extract_element(lanes, ir.Constant(index, 0))


@intrinsic
def total(typingctx, lanes):
    """Return the sum of all lanes, of floats."""

    def codegen(context, builder, signature, args):
        return _halved(builder, args[0], lanes.count, builder.fadd)

    return lanes.dtype(lanes), codegen


@intrinsic
def smallest(typingctx, lanes):
    """Return the least of all lanes, of floats or signed integers."""

    def codegen(context, builder, signature, args):
        def join(a, b):
            return builder.select(_is_less(builder, lanes, a, b), a, b)

        return _halved(builder, args[0], lanes.count, join)

    return lanes.dtype(lanes), codegen


@intrinsic
def bits(typingctx, truths):
    """Return up to 64 truth values as the bits of an unsigned integer, the first as the lowest."""

    def codegen(context, builder, signature, args):
        word = builder.bitcast(args[0], ir.IntType(truths.count))
        return word if truths.count == 64 else builder.zext(word, ir.IntType(64))

    return types.uint64(truths), codegen


def _is_less(builder, lanes, a, b):
    is_float = isinstance(getattr(lanes, "dtype", lanes), types.Float)
    return (builder.fcmp_ordered if is_float else builder.icmp_signed)("<", a, b)


@intrinsic
def less(typingctx, a, b):
    """a < b of floats, false where either is not a number, or of signed integers."""

    def codegen(context, builder, signature, args):
        return _is_less(builder, a, *args)

    return Lanes(types.boolean, a.count)(a, b), codegen


@intrinsic
def lesser(typingctx, a, b):
    """Return `a` where it is less than `b`, else `b`: numbers or lanes, floats or signed integers,
    without a branch."""
    if a != b or not isinstance(getattr(a, "dtype", a), types.Float | types.Integer):
        return None

    def codegen(context, builder, signature, args):
        return builder.select(_is_less(builder, a, *args), *args)

    return a(a, b), codegen


@intrinsic
def select(typingctx, chosen, a, b):
    """Return `a` in lanes where `chosen` is true, `b` elsewhere."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return a(chosen, a, b), codegen
