"""Sums of the points of each label, kept from round to round: see `kmq.stages.palette.sums`.

Sums are flat (k, d + 1): of weight · (x, 1). Where they are exact, any order of adding gives the
same, so that only points with a new label change them. Floats that do not fit one float64 are cut
in two: adding `cut` and taking it away again leaves the high part, and the rest has sums of its
own. Without these, `rests` are empty.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel, trailing_zeros
from kmq.kernels._lanes import (
    bits,
    lane_count,
    less,
    lesser,
    load,
    load_panel,
    load_row,
    minus,
    panel_count,
    plus,
    select,
    smallest,
    splat,
    store,
    times,
    widened,
    with_last,
)
from kmq.kernels._rows import MOST_UNROLLED

_STRIP = (0,) * 8
"""Channels that are added at a time where loops do not unroll."""

_CHANNELS = tuple(f"(i8,) * {d}" for d in range(MOST_UNROLLED + 1))


@inlined
def _add_row(channels, d, points, weight, i, label, cut, out_sums, out_rests):
    """Add weight · (x, 1) of a point to the sums of a label."""
    at, to = np.uint64(i) * np.uint64(d), np.uint64(label) * np.uint64(d + 1)
    if len(channels):
        x = with_last(widened(load_row(points, at, channels)), 1.0)
        row = channels + (0,)  # noqa: RUF005  # in words that Numba knows
        _add_lanes(x, row, weight, to, cut, out_sums, out_rests)
    else:
        in_strips = d // len(_STRIP) * len(_STRIP)
        for first in range(0, in_strips, len(_STRIP)):
            c = np.uint64(first)
            x = widened(load_row(points, at + c, _STRIP))
            _add_lanes(x, _STRIP, weight, to + c, cut, out_sums, out_rests)
        for first in range(in_strips, d):
            c = np.uint64(first)
            _add_number(weight * points[at + c], to + c, cut, out_sums, out_rests)
        _add_number(weight, to + np.uint64(d), cut, out_sums, out_rests)


@inlined
def _add_lanes(x, row, weight, to, cut, out_sums, out_rests):
    x = times(x, splat(weight, x))
    if out_rests.size:
        high = minus(plus(x, splat(cut, x)), splat(cut, x))
        rest = plus(load_row(out_rests, to, row), minus(x, high))
        store(rest, out_rests, to)
        x = high
    store(plus(load_row(out_sums, to, row), x), out_sums, to)


@inlined
def _add_number(x, to, cut, out_sums, out_rests):
    if out_rests.size:
        high = x + cut - cut
        out_rests[to] += x - high
        x = high
    out_sums[to] += x


@kernel(
    "channels, i8, T[:], f8[:], i4[:], f8, i4[:], f8[:], f8[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
)
def add_all(channels, d, points, weights, labels, cut, summed, out_sums, out_rests):
    """Add all points to the sums; empty `weights` count each once. Bring `summed`, the labels by
    which they were added before, up to date, and return how many have changed."""
    d = len(channels) if len(channels) else d
    changed = 0
    for i in range(labels.size):
        changed += labels[i] != summed[i]
        summed[i] = labels[i]
    if weights.size:
        for i in range(labels.size):
            _add_row(channels, d, points, weights[i], i, labels[i], cut, out_sums, out_rests)
    else:
        for i in range(labels.size):  # what is known of 1 need not be computed
            _add_row(channels, d, points, 1.0, i, labels[i], cut, out_sums, out_rests)
    return changed


@inlined
def _move(channels, d, points, weights, i, labels, cut, summed, out_sums, out_rests):
    """Take a point from the sums of its old label to those of its new one."""
    weight = weights[i] if weights.size else 1.0
    _add_row(channels, d, points, -weight, i, summed[i], cut, out_sums, out_rests)
    _add_row(channels, d, points, weight, i, labels[i], cut, out_sums, out_rests)
    summed[i] = labels[i]


@kernel(
    "channels, i8, T[:], f8[:], i4[:], f8, i4[:], f8[:], f8[:]",
    channels=_CHANNELS,
    T=("f4", "f8"),
)
def move_changed(channels, d, points, weights, labels, cut, summed, out_sums, out_rests):
    """Do as `add_all` where all points are in the sums already: only those with a new label move
    from one to another."""
    d = len(channels) if len(channels) else d
    n, lanes = labels.size, panel_count(labels)
    whole = n // lanes * lanes
    changed = 0
    for first in range(0, whole, lanes):
        now, before = load_panel(labels, first), load_panel(summed, first)
        found = bits(less(now, before)) | bits(less(before, now))
        while found:
            i = np.uint64(first) + np.uint64(trailing_zeros(found))
            found &= found - np.uint64(1)
            _move(channels, d, points, weights, i, labels, cut, summed, out_sums, out_rests)
            changed += 1
    for first in range(whole, n):
        i = np.uint64(first)
        if labels[i] != summed[i]:
            _move(channels, d, points, weights, i, labels, cut, summed, out_sums, out_rests)
            changed += 1
    return changed


@kernel("T[:], f8[:]", T=("f4", "f8"))
def sizes(numbers, out_sizes):
    """Write the greatest size of numbers, and the least but for zeros, infinity if there are no
    others. Return whether all are whole, and small enough for that to be seen."""
    lanes, n = lane_count(numbers), numbers.size
    from_here_whole = 2.0**23 if numbers.itemsize == 4 else 2.0**52
    shift = numbers.dtype.type(1.5 * from_here_whole)
    shifts = splat(shift, load(numbers, 0))
    zeros, unlimited = minus(shifts, shifts), splat(np.inf, shifts)
    most, least, broken = zeros, unlimited, np.uint64(0)
    in_lanes = n // lanes * lanes
    for first in range(0, in_lanes, lanes):
        x = load(numbers, first)
        size = select(less(x, zeros), minus(zeros, x), x)
        most = select(less(most, size), size, most)
        least = lesser(select(less(zeros, size), size, unlimited), least)
        rounded = minus(plus(x, shifts), shifts)
        broken |= bits(less(x, rounded)) | bits(less(rounded, x))
    greatest, smallest_size = -smallest(minus(zeros, most)), smallest(least)
    for i in range(in_lanes, n):
        size = abs(numbers[i])
        greatest = max(greatest, size)
        smallest_size = min(smallest_size, size) if size > 0 else smallest_size
        if numbers[i] + shift - shift != numbers[i]:
            broken |= np.uint64(1)
    out_sizes[0], out_sizes[1] = greatest, smallest_size
    return broken == 0 and greatest < from_here_whole / 2
