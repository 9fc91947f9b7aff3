"""LZW as GIF files have it, with pixels chosen so that its strings are long.

The table is a tree of strings: a node is a code, `first` its newest child, `sibling` the next child
of its parent, `symbol` its last pixel. From each place on, the string is sought that costs least a
pixel: squared errors + price · bits, less what as many pixels have cost of late.

The error that counts is that of `optimize`: |blurred error|² + own · |error|², with errors scaled
by the root of how much a pixel counts. Colours are rows of four float32.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel

ROW = 4
"""Numbers of a row."""

REACH = 2
"""Pixels in either direction whose errors meet after the blur and once more."""

TABLE = 4096
"""Codes at most."""

FREE, THROUGH, SOLID = 1, 2, 4
"""Rules of a pixel, as bits: it may have any entry; what was there before may show through; it has
rather its own symbol, though it may show through."""

_BITS_AHEAD = 12.0
"""How much worse than the best a string may be, in bits, while there is hope that it grows long."""

_REMEMBERED = 300.0
"""Pixels over which the cost of a pixel is averaged."""


@kernel("f4[:, :, :], f4[:, :], f4, f4[:, :, :]")
def fill_gradient(errors, taps, own, out_gradient):
    """Write half the derivative of what counts by each pixel's error.

    `errors` (height + 2 · REACH, width + 2 · REACH, ROW) has a margin of zeros; `taps`
    (REACH + 1, ROW) says how errors at a distance along an axis meet.
    """
    height, width = out_gradient.shape[:2]
    for y in range(height):
        for x in range(width):
            for c in range(ROW):
                total = np.float32(0)
                for dy in range(-REACH, REACH + 1):
                    part = np.float32(0)
                    for dx in range(-REACH, REACH + 1):
                        part += taps[abs(dx), c] * errors[y + REACH + dy, x + REACH + dx, c]
                    total += taps[abs(dy), c] * part
                out_gradient[y, x, c] = total + own * errors[y + REACH, x + REACH, c]


@inlined
def _change(canvas, shown, entries, roots, clear, s, y, x, c):
    """Return by how much a pixel's scaled error changes along an axis where it gets a symbol."""
    color = canvas[y, x, c] if s == clear else entries[s, c]
    return roots[y, x] * (color - shown[y, x, c])


@inlined
def _cost(gradient, canvas, shown, entries, roots, taps, own, clear, s, y, x, t, changes):
    """Return by how much what counts grows where the pixel at depth `t` gets a symbol.

    The row `t` of `changes` becomes the change of its error; those before are of pixels to the
    left.
    """
    total = np.float32(0)
    for c in range(ROW):
        change = _change(canvas, shown, entries, roots, clear, s, y, x, c)
        pull = gradient[y, x, c]
        if t > 0 and x > 0:
            pull += taps[1, c] * changes[t - 1, c]
        if t > 1 and x > 1:
            pull += taps[2, c] * changes[t - 2, c]
        changes[t, c] = change
        total += change * (2 * pull + (1 + own) * change)
    return total


@inlined
def _spread(gradient, canvas, shown, entries, roots, taps, clear, s, y, x):
    """Let the pixels that are still to be chosen know that a pixel has got a symbol."""
    height, width = roots.shape
    for c in range(ROW):
        change = _change(canvas, shown, entries, roots, clear, s, y, x, c)
        if change != 0:
            for row in range(y, min(y + REACH + 1, height)):
                share = taps[row - y, c] * change
                for column in range(max(x - REACH, 0), min(x + REACH + 1, width)):
                    gradient[row, column, c] += share * taps[abs(column - x), c]


@inlined
def _child(first, sibling, symbol, node, s):
    """Return the child of a node with that symbol, or -1."""
    child = first[node]
    while child >= 0 and symbol[child] != s:
        child = sibling[child]
    return child


@inlined
def _emit(code, width, held, n_held, n_coded, out_coded):
    """Append a code, its low bits first; return what is held back of the last byte."""
    held |= np.int64(code) << n_held
    n_held += width
    while n_held >= 8:
        out_coded[n_coded] = held & 255
        n_coded += 1
        held >>= 8
        n_held -= 8
    return held, n_held, n_coded


@kernel(
    "i8, i8[:], i8, u1[:, :], i4[:, :], f4[:, :, :], f4[:, :, :], f4[:, :], f4[:, :], f4[:, :], f4,"
    "f8, f8, f4[:, :, :], i4[:, :], f8[:], f4[:, :], f8[:], i4[:, :], u1[:]"
)
def code_frame(
    bits, symbols, clear, rules, same, shown, canvas, entries, roots, taps, own, price, odd,
    gradient, tree, costs, changes, average, out_indices, out_coded,
):  # fmt: skip
    """Choose the pixels of a frame and code them; return how many bytes there are.

    Args:
        bits: of a symbol; codes begin with one more.
        symbols: those that pixels may have.
        clear: the symbol through which the canvas shows, or -1.
        rules: (height, width): FREE, THROUGH, SOLID. Pixels that are not free have `same`, or the
            symbol `clear` where the canvas may show through.
        same: (height, width) symbols, or -1.
        shown: (height, width, ROW) what pixels have, as `gradient` knows it.
        canvas: (height, width, ROW) what was there before.
        entries: (k, ROW) the colours of symbols.
        roots: (height, width) by which errors are scaled.
        taps: see `fill_gradient`.
        own: see `fill_gradient`.
        price: of a bit.
        odd: bits that it costs where a pixel that may show through does, or not, against its rule:
            strings that others are like to share are worth more than long ones.
        gradient: see `fill_gradient`; it is used up. This, `shown`, `canvas`, `roots` may be empty
            where no pixel is free.
        tree: (4, TABLE) scratch.
        costs: (TABLE + 1,) scratch.
        changes: (TABLE + 1, ROW) scratch.
        average: (1,) what a pixel cost of late; it is brought up to date.
        out_indices: (height, width) symbols.
        out_coded: with room for 2 bytes a pixel and 8 more.
    """
    height, width = rules.shape
    n_pixels = height * width
    first, sibling, symbol, parent = tree[0], tree[1], tree[2], tree[3]
    clear_code = np.int64(1) << bits
    for j in range(symbols.size):
        s = symbols[j]
        symbol[s] = s
        sibling[s] = symbols[j + 1] if j + 1 < symbols.size else -1
    held, n_held, n_coded = np.int64(0), np.int64(0), np.int64(0)
    size, free_code = bits + 1, np.int64(TABLE)
    before, s_before = np.int64(-1), np.int64(0)
    margin = price * _BITS_AHEAD
    at = np.int64(0)
    while at < n_pixels:
        if free_code == TABLE:  # full, or at the start: begin anew
            held, n_held, n_coded = _emit(clear_code, size, held, n_held, n_coded, out_coded)
            size, free_code, before = bits + 1, clear_code + 2, np.int64(-1)
            for j in range(symbols.size):
                first[symbols[j]] = -1
        # The string that comes now may be that before with its own first pixel once more.
        grown = before >= 0 and _child(first, sibling, symbol, before, s_before) < 0
        if grown:
            symbol[free_code], parent[free_code] = s_before, before
            first[free_code], sibling[free_code] = -1, first[before]
            first[before] = free_code
        best, best_cost = np.inf, 0.0
        node, length = np.int64(-1), np.int64(0)
        t, child = np.int64(0), symbols[0]
        costs[0] = 0
        while child >= 0:
            y, x = (at + t) // width, (at + t) % width
            s = np.int64(symbol[child])
            cost = costs[t]
            shows_through = s == clear and rules[y, x] & THROUGH != 0
            if rules[y, x] & FREE:
                fits = s != clear or shows_through
                if fits:
                    cost += _cost(
                        gradient, canvas, shown, entries, roots, taps, own, clear, s, y, x, t,
                        changes,
                    )  # fmt: skip
            else:
                fits = shows_through or s == same[y, x]
                if rules[y, x] & THROUGH and shows_through == (rules[y, x] & SOLID != 0):
                    cost += price * odd
                for c in range(ROW):
                    changes[t, c] = 0
            worth = cost - average[0] * (t + 1)
            deeper = fits and worth <= best + margin
            if deeper and worth < best:
                best, best_cost, node, length = worth, cost, child, t + 1
            if deeper and at + t + 1 < n_pixels and first[child] >= 0:
                t += 1
                costs[t] = cost
                child = np.int64(first[child])
                continue
            up = child
            child = np.int64(sibling[child])
            while child < 0 and t > 0:
                t -= 1
                up = np.int64(parent[up])
                child = np.int64(sibling[up])
        code = node
        for back in range(length):
            place = at + length - 1 - back
            out_indices[place // width, place % width] = symbol[node]
            node = np.int64(parent[node])
        for place in range(at, at + length):
            y, x = place // width, place % width
            if rules[y, x] & FREE:
                s = np.int64(out_indices[y, x])
                _spread(gradient, canvas, shown, entries, roots, taps, clear, s, y, x)
        s = np.int64(out_indices[at // width, at % width])
        if before >= 0:
            if grown and s != s_before:
                first[before] = sibling[free_code]
                grown = False
            if not grown and _child(first, sibling, symbol, before, s) < 0:
                symbol[free_code], parent[free_code] = s, before
                first[free_code], sibling[free_code] = -1, first[before]
                first[before] = free_code
            if free_code == np.int64(1) << size:
                size += 1
            free_code += 1
        held, n_held, n_coded = _emit(code, size, held, n_held, n_coded, out_coded)
        share = min(1.0, length / _REMEMBERED)
        average[0] += share * ((best_cost + price * size) / length - average[0])
        at += length
        before, s_before = code, s
    if free_code == np.int64(1) << size and size < 12:
        size += 1
    end_code = clear_code + 1
    held, n_held, n_coded = _emit(end_code, size, held, n_held, n_coded, out_coded)
    if n_held > 0:
        out_coded[n_coded] = held
        n_coded += 1
    return n_coded
