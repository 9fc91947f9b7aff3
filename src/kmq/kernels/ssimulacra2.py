"""The loops of SSIMULACRA2: from light to opponent colours, to blurred planes, to sums.

Planes are float32. Their rows have room for whole vectors, and what is beyond the picture is 0, as
the measure has it: its blur takes nothing from outside.

The blur is a sum of three cosines cut off after four pixels, each by a recursion over the two means
before. It could be done without, from nine pixels each; but what the recursion makes of rounding
errors is part of the score, by up to half a point where large areas are flat and bright. So all
sums, and the cube root, are taken as the original takes them, to the last bit.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import fma, inlined, kernel
from kmq.kernels._lanes import (
    divide,
    lane,
    lane_count,
    less,
    load,
    load_row,
    minus,
    multiply_add,
    plus,
    select,
    splat,
    store,
    times,
)

AHEAD, SPAN = 4, 10
"""How far ahead of a mean the later of the two pixels is that its recursion adds, and how far that
is from the earlier."""

PRODUCTS = 5
"""Planes that are blurred: both pictures, their squares, and their product."""

TERMS = 3
"""Cosines that the blur is made of."""

FACTORS = 16
"""Factors of a cosine: three zeros, four of pixels, four of the mean before, four of that before
it, and a zero."""

_OF_PIXELS, _OF_BEFORE, _OF_EARLIER = 3, 7, 11

_ALIGNED = 8
"""Means at the beginning of a row that come one at a time; then they come four at a time."""

ROOM = 64
"""Pixels that the room of a row is a multiple of: the lanes of the longest vectors there are."""

SUMS = 6
"""What is summed of each plane: 1 - SSIM, what was added, what was lost, and their 4th powers."""

_THIRD_OF_EXPONENT, _EXPONENT_OF_ROOT = np.int32(0x2AAAAA), np.int32(0x54800000)
"""Of a float32 as an integer: a third of an exponent, and what less that of a number makes the
exponent of 1 over its cube root."""

_ONE_THIRD, _FOUR_THIRDS = np.float32(1 / 3), np.float32(4 / 3)

_C2 = np.float32(0.0009)


@inlined
def _cube_root(number, less):
    """Return the cube root of a float32 above 0 less another number.

    Newton's method for 1 over the root, from a guess of its exponent.
    """
    number, less = np.float32(number), np.float32(less)
    third = number * _ONE_THIRD
    exponent = np.int32(number.view(np.int32) >> np.int32(23))
    inverse = np.int32(_EXPONENT_OF_ROOT - np.int32(exponent * _THIRD_OF_EXPONENT)).view(np.float32)
    for _ in range(3):
        square = inverse * inverse
        inverse = fma(-third, square * square, _FOUR_THIRDS * inverse)
    square = inverse * inverse
    inverse = fma(_ONE_THIRD, fma(-number, square * square, inverse), inverse)
    return fma(inverse * inverse, number, -less)


@kernel("sample[:, :, :], (i8,) * 3, f4[:], f4[:, :, :]", sample=("u1", "u2"))
def fill_light(samples, channels, table, out_light):
    """Fill planes (3, h, w) with the light of whole samples (h, w, c), by the table of a sample.

    `channels` are those of red, green and blue.
    """
    for y in range(samples.shape[0]):
        for plane in range(3):
            c = channels[plane]
            line = out_light[plane, y]
            for x in range(samples.shape[1]):
                line[x] = table[samples[y, x, c]]


@kernel("f4[:, :, :], i8, f4[:, :, :]")
def halve(light, top, out_light):
    """Fill rows of planes, from `top` on, with means of 2 × 2 pixels of `light` (3, rows, width).

    At an odd edge the last row or column counts twice.
    """
    rows, width = light.shape[1:]
    quarter = np.float32(0.25)
    for plane in range(3):
        for y in range((rows + 1) // 2):
            upper, lower = light[plane, 2 * y], light[plane, min(2 * y + 1, rows - 1)]
            line = out_light[plane, top + y]
            for x in range(width // 2):
                total = upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]
                line[x] = total * quarter
            if width % 2:
                above, below = upper[width - 1], lower[width - 1]
                line[width // 2] = (above + above + below + below) * quarter


@kernel("f4[:, :, :], f4[:, :], f4, f4, i8, f4[:, :], f4[:, :, :]")
def fill_opponents(light, cones, bias, root_of_bias, top, roots, out_planes):
    """Fill planes (3, height, room), from row `top` on, with XYB of light (3, rows, width), moved
    and scaled to 0 … 1, B less Y.

    `cones` (3, 3), `bias` and its cube root are float32; `roots` (3, width) is scratch. What is
    fused and in which order is that of the original.
    """
    _, rows, width = light.shape
    for y in range(rows):
        red, green, blue = light[0, y], light[1, y], light[2, y]
        for cone in range(3):
            line = roots[cone]
            of_red, of_green, of_blue = cones[cone, 0], cones[cone, 1], cones[cone, 2]
            for x in range(width):
                mixed = fma(of_red, red[x], fma(of_green, green[x], fma(of_blue, blue[x], bias)))
                line[x] = _cube_root(mixed, root_of_bias)
        first, second, third = roots[0], roots[1], roots[2]
        opponents, lightness = out_planes[0, top + y], out_planes[1, top + y]
        blues = out_planes[2, top + y]
        for x in range(width):
            opponents[x] = (first[x] - second[x]) * np.float32(7) + np.float32(0.42)
        for x in range(width):
            lightness[x] = (first[x] + second[x]) * np.float32(0.5)
        for x in range(width):
            blues[x] = third[x] - lightness[x] + np.float32(0.55)
        for x in range(width):
            lightness[x] += np.float32(0.01)


@inlined
def _mean(total, factors, before, earlier):
    """Return the next mean of one cosine."""
    mean = fma(factors[_OF_EARLIER], earlier, total * factors[_OF_PIXELS])
    return fma(factors[_OF_BEFORE], before, mean)


@inlined
def _four_means(first, second, third, fourth, factors, before, earlier):
    """Return the next four means of one cosine, as sums over the four pixels and the means before
    these; factors that are 0 stand for pixels that come later."""
    four = (0, 0, 0, 0)
    like = load_row(factors, _OF_PIXELS, four)
    means = times(splat(first, like), like)
    means = multiply_add(load_row(factors, _OF_PIXELS - 1, four), splat(second, like), means)
    means = multiply_add(load_row(factors, _OF_PIXELS - 2, four), splat(third, like), means)
    means = multiply_add(load_row(factors, _OF_PIXELS - 3, four), splat(fourth, like), means)
    means = multiply_add(load_row(factors, _OF_EARLIER, four), splat(earlier, like), means)
    return multiply_add(load_row(factors, _OF_BEFORE, four), splat(before, like), means)


@inlined
def _blur_row(line, factors, width, out_row):
    """Blur a row: `line` has SPAN zeros, its pixels, and more zeros; naive twin: `naive.blurred`.

    `factors` (TERMS, FACTORS).
    """
    factors0, factors1, factors2 = factors[0], factors[1], factors[2]
    before0 = before1 = before2 = np.float32(0)
    earlier0 = earlier1 = earlier2 = np.float32(0)
    n = -AHEAD
    while n < width:
        at = n + AHEAD
        if _ALIGNED <= n < width - _ALIGNED + 1:
            first, second = line[at] + line[at + SPAN], line[at + 1] + line[at + 1 + SPAN]
            third, fourth = line[at + 2] + line[at + 2 + SPAN], line[at + 3] + line[at + 3 + SPAN]
            means0 = _four_means(first, second, third, fourth, factors0, before0, earlier0)
            means1 = _four_means(first, second, third, fourth, factors1, before1, earlier1)
            means2 = _four_means(first, second, third, fourth, factors2, before2, earlier2)
            before0, earlier0 = lane(means0, 3), lane(means0, 2)
            before1, earlier1 = lane(means1, 3), lane(means1, 2)
            before2, earlier2 = lane(means2, 3), lane(means2, 2)
            store(plus(means0, plus(means1, means2)), out_row, n)
            n += 4
            continue
        total = line[at] + line[at + SPAN]
        mean0 = _mean(total, factors0, before0, earlier0)
        mean1 = _mean(total, factors1, before1, earlier1)
        mean2 = _mean(total, factors2, before2, earlier2)
        before0, earlier0 = mean0, before0
        before1, earlier1 = mean1, before1
        before2, earlier2 = mean2, before2
        if n >= 0:
            out_row[n] = mean0 + (mean1 + mean2)
        n += 1


@kernel("f4[:, :, :], f4[:, :, :], i8, i8, i8, f4[:, :], f4[:], f4[:, :, :, :]")
def blur_rows(first, second, top, end, width, factors, line, out_blurred):
    """Blur rows `top` … `end` - 1 of both pictures, their squares and their product along the rows.

    `first`, `second` (3, height, room); `line` (2 · SPAN + room,) is scratch, 0 but where pixels
    are; `out_blurred` (3, PRODUCTS, height, room).
    """
    for plane in range(3):
        for y in range(top, end):
            a, b = first[plane, y], second[plane, y]
            pixels = line[SPAN : SPAN + width]
            for product in range(PRODUCTS):
                left = a if product in (0, 2, 4) else b
                right = b if product in (3, 4) else a
                if product < 2:
                    for x in range(width):
                        pixels[x] = left[x]
                else:
                    for x in range(width):
                        pixels[x] = left[x] * right[x]
                _blur_row(line, factors, width, out_blurred[plane, product, y])


@inlined
def _blur_column(plane, room, x, rows, factors, before, out_means):
    """Blur columns, as many as there are lanes, from `x` on: `rows` means of each.

    `before` (TERMS, 2, room) are the means before and those before these, and is brought up to
    date. `plane` is flat and has SPAN rows before the last that the first mean needs.
    """
    like = load(plane, x)
    nothing = splat(0.0, like)
    pixels0, mean0 = splat(factors[0, _OF_PIXELS], like), splat(factors[0, _OF_BEFORE], like)
    pixels1, mean1 = splat(factors[1, _OF_PIXELS], like), splat(factors[1, _OF_BEFORE], like)
    pixels2, mean2 = splat(factors[2, _OF_PIXELS], like), splat(factors[2, _OF_BEFORE], like)
    before0, earlier0 = load(before[0, 0], x), load(before[0, 1], x)
    before1, earlier1 = load(before[1, 0], x), load(before[1, 1], x)
    before2, earlier2 = load(before[2, 0], x), load(before[2, 1], x)
    for y in range(rows):
        total = plus(load(plane, y * room + x), load(plane, (y + SPAN) * room + x))
        next0 = multiply_add(mean0, before0, minus(nothing, earlier0))
        next1 = multiply_add(mean1, before1, minus(nothing, earlier1))
        next2 = multiply_add(mean2, before2, minus(nothing, earlier2))
        next0 = multiply_add(pixels0, total, next0)
        next1 = multiply_add(pixels1, total, next1)
        next2 = multiply_add(pixels2, total, next2)
        earlier0, before0 = before0, next0
        earlier1, before1 = before1, next1
        earlier2, before2 = before2, next2
        store(plus(next0, plus(next1, next2)), out_means, y * lane_count(plane))
    store(before0, before[0, 0], x)
    store(earlier0, before[0, 1], x)
    store(before1, before[1, 0], x)
    store(earlier1, before[1, 1], x)
    store(before2, before[2, 0], x)
    store(earlier2, before[2, 1], x)


@inlined
def _size_of(number, nothing):
    return select(less(number, nothing), minus(nothing, number), number)


@inlined
def _add(number, out_sums, map_, x):
    """Add numbers to the sums of their columns, and their fourth powers to the next."""
    square = times(number, number)
    store(plus(load(out_sums[map_], x), number), out_sums[map_], x)
    fourth = plus(load(out_sums[map_ + 1], x), times(square, square))
    store(fourth, out_sums[map_ + 1], x)


@kernel("f4[:], f4[:], f4[:, :], i8, i8, i8, i8, f4[:, :], f4[:, :, :, :], f4[:, :], f4[:, :]")
def add_differences(
    first, second, blurred, begin, end, skipped, rows, factors, before, means, out_sums
):
    """Blur columns `begin` … `end` - 1, and add what the pictures differ by in each to its sums.

    Args:
        first, second: (height · room,) planes of both pictures: SPAN rows from before, new rows.
        blurred: (PRODUCTS, height · room), as `blur_rows` leaves them.
        begin, end: multiples of ROOM.
        skipped, rows: means that do not count, before the picture's first row, and all of them.
        factors: (TERMS, FACTORS).
        before: (PRODUCTS, TERMS, 2, room) means before these rows; brought up to date.
        means: (PRODUCTS, rows · ROOM) scratch.
        out_sums: (SUMS, room).
    """
    room = out_sums.shape[1]
    lanes = lane_count(first)
    for x in range(begin, end, lanes):
        for product in range(PRODUCTS):
            plane = blurred[product]
            _blur_column(plane, room, x, rows, factors, before[product], means[product])
        for y in range(skipped, rows):
            m, n = load(means[0], y * lanes), load(means[1], y * lanes)
            nothing, one, c2 = splat(0.0, m), splat(1.0, m), splat(_C2, m)
            off = minus(m, n)
            both = minus(load(means[4], y * lanes), times(m, n))
            each = minus(load(means[2], y * lanes), times(m, m))
            each = plus(each, minus(load(means[3], y * lanes), times(n, n)))
            alike = times(minus(one, times(off, off)), plus(plus(both, both), c2))
            unlike = minus(one, divide(alike, plus(each, c2)))
            _add(select(less(unlike, nothing), nothing, unlike), out_sums, 0, x)
            at = (y + SPAN - AHEAD) * room + x
            edge = _size_of(minus(load(first, at), m), nothing)
            gained = minus(_size_of(minus(load(second, at), n), nothing), edge)
            gained = divide(gained, plus(edge, one))
            is_lost = less(gained, nothing)
            _add(select(is_lost, nothing, gained), out_sums, 2, x)
            _add(select(is_lost, minus(nothing, gained), nothing), out_sums, 4, x)
