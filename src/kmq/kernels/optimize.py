"""Indices chosen so that the picture is right after a small blur: the loops over rows.

Colours, entries and errors are rows of four float32, filled up with zeros, one after the other in
flat arrays. The error that counts is |blurred error|² + own · |error|². The blur takes a pixel and
its eight neighbours, by `taps`, two rows: the share of a neighbour along an axis and the share of
the pixel itself, for each coordinate; that of a diagonal neighbour is the product of two. The
squares of the nine shares sum to 1. So a change d of one pixel changes the sum of what counts by
(1 + own) |d|² + 2 d · g, where g is the blurred error, blurred once more, + own · error, and the
best entry is the nearest to the pixel's entry less g / (1 + own). So each pixel gets the best of
all entries, by the search that dithering has.

The naive twin is `tests/test_optimize.py:naive_cost`.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._cells import cell_of
from kmq.kernels._jit import inlined, kernel
from kmq.kernels._lanes import (
    lane,
    load_row,
    minus,
    plus,
    splat,
    store,
    times,
    widened,
)
from kmq.kernels._neighbours import MISS, symbol_of

ROW = 4
"""Numbers of a row."""

_ROW = f"(i8,) * {ROW}"

KEPT = 255
"""In place of their group: colours that keep the entry they have."""

CONTEXTS = 64
"""Which of the pixels before are equal."""

SYMBOLS = 5
"""West, north, northeast, northwest, or a miss."""

_GAIN = np.float32(0.9999)
"""Share of the cost that a change must come below: rounding alone shall not go round in circles."""


_LEAST_IMPORTANCE = np.float32(1 / 16)
"""Importance of any pixel at least, where bits have a price."""


@inlined
def _sum(lanes):
    return (lane(lanes, 0) + lane(lanes, 1)) + (lane(lanes, 2) + lane(lanes, 3))


@inlined
def _error(channels, ids, colors, indices, entries, y, x):
    """Return by how much a pixel is off."""
    entry = load_row(entries, np.int64(indices[y, x]) * ROW, channels)
    return minus(entry, load_row(colors, np.int64(ids[y, x]) * ROW, channels))


@inlined
def _blur_errors(channels, ids, colors, indices, entries, taps, first, stop, out_errors):
    """Write the blurred errors of rows `first` - 1 … `stop` and columns -1 … width."""
    height, width = ids.shape
    stride = (width + 2) * ROW
    side, middle = load_row(taps, 0, channels), load_row(taps, ROW, channels)
    nothing = minus(side, side)
    rows = stop - first + 2
    for i in range(rows * stride):
        out_errors[i] = 0
    for y in range(max(first - 2, 0), min(stop + 2, height)):
        west, here = nothing, nothing
        for column in range(width + 2):
            east = nothing
            if column < width:
                east = _error(channels, ids, colors, indices, entries, y, column)
            blurred = plus(times(side, plus(west, east)), times(middle, here))
            aside = times(side, blurred)
            for row in range(max(y - first, 0), min(y - first + 3, rows)):
                at = row * stride + column * ROW
                more = times(middle, blurred) if row == y - first + 1 else aside
                store(plus(load_row(out_errors, at, channels), more), out_errors, at)
            west, here = here, east


@inlined
def _blurred_at(channels, taps, errors, stride, row, column):
    """Return the blur at a pixel of what is in `errors`."""
    side, middle = load_row(taps, 0, channels), load_row(taps, ROW, channels)
    above = row * stride + column * ROW
    here = above + stride
    below = here + stride
    outer = plus(load_row(errors, above, channels), load_row(errors, below, channels))
    outer = plus(outer, load_row(errors, above + 2 * ROW, channels))
    outer = plus(outer, load_row(errors, below + 2 * ROW, channels))
    inner = plus(load_row(errors, above + ROW, channels), load_row(errors, below + ROW, channels))
    inner = plus(inner, load_row(errors, here, channels))
    inner = plus(inner, load_row(errors, here + 2 * ROW, channels))
    blurred = plus(times(side, outer), times(middle, inner))
    center = times(times(middle, middle), load_row(errors, here + ROW, channels))
    return plus(times(side, blurred), center)


@inlined
def _add_change(channels, taps, change, stride, row, column, errors):
    """Add to the blurred errors what a change of one pixel makes."""
    side, middle = load_row(taps, 0, channels), load_row(taps, ROW, channels)
    for dy in range(3):
        share = times(middle if dy == 1 else side, change)
        aside, here = times(side, share), times(middle, share)
        at = (row + dy) * stride + column * ROW
        store(plus(load_row(errors, at, channels), aside), errors, at)
        store(plus(load_row(errors, at + ROW, channels), here), errors, at + ROW)
        store(plus(load_row(errors, at + 2 * ROW, channels), aside), errors, at + 2 * ROW)


@inlined
def _bits(indices, y, x, symbol_bits, miss_bits):
    """Return what a pixel costs, given those before."""
    w, n = indices[y, max(x - 1, 0)], indices[max(y - 1, 0), x]
    ne = indices[max(y - 1, 0), min(x + 1, indices.shape[1] - 1)]
    nw = indices[max(y - 1, 0), max(x - 1, 0)]
    context = _context(indices, y, x, w, n, ne, nw)
    symbol = symbol_of(indices[y, x], w, n, ne, nw)
    bits = symbol_bits[context, symbol]
    if symbol == MISS:
        bits += miss_bits[indices[y, x]]
    return bits


@inlined
def _context(indices, y, x, w, n, ne, nw):
    """Number which of the pixels before are equal."""
    context = 32 * (w == n) + 16 * (n == ne) + 8 * (w == nw) + 4 * (w == ne)
    return context + 2 * (w == indices[y, max(x - 2, 0)]) + (n == indices[max(y - 2, 0), x])


@inlined
def _bits_around(indices, y, x, symbol_bits, miss_bits):
    """Return what a pixel costs, and the four after it that see it nearest."""
    height, width = indices.shape
    bits = _bits(indices, y, x, symbol_bits, miss_bits)
    if x + 1 < width:
        bits += _bits(indices, y, x + 1, symbol_bits, miss_bits)
    if y + 1 < height:
        for column in range(max(x - 1, 0), min(x + 2, width)):
            bits += _bits(indices, y + 1, column, symbol_bits, miss_bits)
    return bits


@inlined
def _priced(channels, y, x, wanted, entry, entries, price, symbol_bits, miss_bits, indices):
    """Return what an entry costs at a pixel, which gets it."""
    difference = minus(wanted, load_row(entries, np.int64(entry) * ROW, channels))
    indices[y, x] = entry
    return _sum(times(difference, difference)) + price * _bits_around(
        indices, y, x, symbol_bits, miss_bits
    )


@kernel(
    "row, u4[:, :], f4[:], u1[:], b1[:, :], f4[:], f4[:], (i8,) * 3, i8[:, :], u2[:], f4[:], f4,"
    "f4, f4[:, :], f4[:], f8[:, :], i8, i8, i8, f4[:], u1[:, :], i4[:, :]",
    row=_ROW,
)
def improve_band(
    channels,
    ids,
    colors,
    groups,
    allowed,
    entries,
    box,
    strides,
    starts,
    members,
    taps,
    own,
    price,
    symbol_bits,
    miss_bits,
    importance,
    turns,
    first,
    stop,
    errors,
    active,
    out_indices,
):
    """Give pixels of rows `first` … stop - 1 better entries; return how many changes there were.

    A pixel gets the entry that makes what counts, over 1 + own, plus `price` (over the pixel's
    importance) times the bits, least, all other pixels being as they are; but what shows its own
    colour keeps it. It is looked at again, `turns` times at most, while pixels change that share a
    neighbour with it.

    `allowed` (groups, k) says which entries colours of a group may have; `box`, `strides`, `starts`
    and `members` are as for `diffuse`. `importance` (height, width) float64, or empty if all is 1.
    `errors` ((rows + 2) · (width + 2) · ROW) float32 and `active` (rows + 4, width + 4) uint8 are
    scratch.
    """
    height, width = ids.shape
    stride = (width + 2) * ROW
    _blur_errors(channels, ids, colors, out_indices, entries, taps, first, stop, errors)
    active[:] = 1
    low, high = load_row(box, 0, channels), load_row(box, ROW, channels)
    per_unit = load_row(box, 2 * ROW, channels)
    own_share, part = splat(own, low), splat(np.float32(1) / (np.float32(1) + own), low)
    changes = 0
    for _ in range(turns):
        for y in range(first, stop):
            row = y - first
            for x in range(width):
                if active[row + 2, x + 2] == 0:
                    continue
                active[row + 2, x + 2] = 0
                at = np.int64(ids[y, x])
                if groups[at] == KEPT:
                    continue
                group = np.int64(groups[at])
                now = np.int64(out_indices[y, x])
                shown = load_row(entries, now * ROW, channels)
                error = minus(shown, load_row(colors, at * ROW, channels))
                if _sum(times(error, error)) == 0:
                    continue
                gradient = plus(
                    _blurred_at(channels, taps, errors, stride, row, x), times(own_share, error)
                )
                gradient = times(gradient, part)
                wanted = minus(shown, gradient)
                _, cell = cell_of(wanted, low, high, per_unit, strides)
                best = now
                begin, end = starts[group, cell], starts[group, cell + 1]
                if price > 0:
                    cost = price
                    if importance.size:
                        cost /= max(np.float32(importance[y, x]), _LEAST_IMPORTANCE)
                    least = _GAIN * _priced(
                        channels, y, x, wanted, now, entries, cost, symbol_bits, miss_bits,
                        out_indices,
                    )  # fmt: skip
                    for i in range(begin, end):
                        total = _priced(
                            channels, y, x, wanted, np.int64(members[i]), entries, cost,
                            symbol_bits, miss_bits, out_indices,
                        )  # fmt: skip
                        if total < least:
                            least, best = total, np.int64(members[i])
                    for near_y in range(max(y - 1, 0), min(y + 2, height)):
                        for near_x in range(max(x - 1, 0), min(x + 2, width)):
                            entry = np.int64(out_indices[near_y, near_x])
                            if (near_y == y and near_x == x) or not allowed[group, entry]:
                                continue
                            total = _priced(
                                channels, y, x, wanted, entry, entries, cost, symbol_bits,
                                miss_bits, out_indices,
                            )  # fmt: skip
                            if total < least:
                                least, best = total, entry
                    out_indices[y, x] = best
                else:
                    least = _GAIN * _sum(times(gradient, gradient))
                    for i in range(begin, end):
                        entry = np.int64(members[i])
                        difference = minus(wanted, load_row(entries, entry * ROW, channels))
                        total = _sum(times(difference, difference))
                        if total < least:
                            least, best = total, entry
                if best == now:
                    continue
                changes += 1
                out_indices[y, x] = best
                change = minus(load_row(entries, best * ROW, channels), shown)
                _add_change(channels, taps, change, stride, row, x, errors)
                for dy in range(5):
                    for dx in range(5):
                        active[row + dy, x + dx] = 1
    return changes


@kernel("row, u4[:, :], f4[:], i4[:, :], f4[:], f4[:], i8, i8, f4[:], f4[:, :]", row=_ROW)
def measure_band(
    channels, ids, colors, indices, entries, taps, first, stop, errors, out_squares
):  # fmt: skip
    """Write the square of the error blurred twice, for each pixel of rows `first` … stop - 1."""
    width = ids.shape[1]
    _blur_errors(channels, ids, colors, indices, entries, taps, first, stop, errors)
    for y in range(first, stop):
        for x in range(width):
            error = _blurred_at(channels, taps, errors, (width + 2) * ROW, y - first, x)
            out_squares[y, x] = _sum(times(error, error))


@kernel(
    "row, u4[:, :], f4[:], i4[:, :], f4[:], f4[:], f4, f4[:, :], i8, i8, f4[:], f8[:], f8[:]",
    row=_ROW,
)
def pull_band(
    channels, ids, colors, indices, entries, taps, own, weights, first, stop, errors, out_pulls,
    out_weights,
):  # fmt: skip
    """Add to each entry's row how much the weighted sum of what counts grows with it, halved.

    `weights` (height, width) float32 are the pixels'; those beyond the edge weigh as at it.
    `out_pulls` (k · ROW) float64 gets the share of the pixels of rows `first` … stop - 1, and
    `out_weights` (k,) their weights.
    """
    height, width = ids.shape
    stride = (width + 2) * ROW
    _blur_errors(channels, ids, colors, indices, entries, taps, first, stop, errors)
    for row in range(stop - first + 2):
        y = min(max(first - 1 + row, 0), height - 1)
        for column in range(width + 2):
            at = row * stride + column * ROW
            error = load_row(errors, at, channels)
            weight = weights[y, min(max(column - 1, 0), width - 1)]
            store(times(error, splat(weight, error)), errors, at)
    for y in range(first, stop):
        for x in range(width):
            pull = _blurred_at(channels, taps, errors, stride, y - first, x)
            error = _error(channels, ids, colors, indices, entries, y, x)
            pull = plus(pull, times(error, splat(own * weights[y, x], error)))
            entry = np.int64(indices[y, x])
            sums = plus(load_row(out_pulls, entry * ROW, channels), widened(pull))
            store(sums, out_pulls, entry * ROW)
            out_weights[entry] += weights[y, x]


@kernel("i4[:, :], i8, i8, i8[:, :], i8[:]")
def count_band(indices, first, stop, out_symbols, out_misses):
    """Count the symbols (CONTEXTS, SYMBOLS) of rows `first` … stop - 1, and the misses (k,)."""
    width = indices.shape[1]
    for y in range(first, stop):
        for x in range(width):
            w, n = indices[y, max(x - 1, 0)], indices[max(y - 1, 0), x]
            ne = indices[max(y - 1, 0), min(x + 1, width - 1)]
            nw = indices[max(y - 1, 0), max(x - 1, 0)]
            symbol = symbol_of(indices[y, x], w, n, ne, nw)
            out_symbols[_context(indices, y, x, w, n, ne, nw), symbol] += 1
            if symbol == MISS:
                out_misses[indices[y, x]] += 1
