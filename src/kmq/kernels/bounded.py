"""Rounds of k-means that compare only points whose nearest centroid may have changed.

When a point is compared with all centroids, it is known how much nearer its own is than all others
(Hamerly 2010). That gap shrinks by no more than its own centroid moves and the farthest mover of
the others does. Until those moves add up to the gap, the point keeps its label. One number a point
is kept: the gap and what the moves of its centroid had added up to then; it is compared with what
they add up to now. With a bound for each group of neighbouring centroids, only groups that may have
come near enough are compared with a point (Ding et al. 2015, "Yinyang k-means").

All is rounded to the safe side, and distances have to be apart by more than they can be off in
floats: so labels are those of `kmq.kernels.nearest`, to the last tie. Bounds are float32 whatever
the points are.

`slack` is (3,): what distances are multiplied by at least to be certainly too large, and a tiny
number to be added; the greatest distance that there can be.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import UP_TO_4, fma, inlined, kernel, trailing_zeros
from kmq.kernels._lanes import (
    bits,
    expect,
    gather,
    lane_count,
    less,
    lesser,
    load,
    load_like,
    load_panel,
    load_row,
    minus,
    multiply_add,
    panel_count,
    select,
    smallest,
    splat,
    spread,
    store,
    times,
    transposed,
)
from kmq.kernels._lanes import lane as lane_of
from kmq.kernels._lanes import total as total_of
from kmq.kernels._numba import intrinsic, ir, types
from kmq.kernels._rows import GROUP, distances_to_group, gather_rows

LANES = (0,) * 16
"""Centroids of a group of `round_by_groups`."""

_EIGHT = (0,) * 8

_QUARTER = (0,) * 4

ROWS = 8
"""Points that are compared with a group at a time."""

_AHEAD = 8
"""Points that are asked for ahead of the one that is compared with its centroid."""

_ROUNDING = 2.0**-22
"""More than what a number loses as float32, relatively."""

_GREATEST = 3e38

_BLOCK = 4096
"""Numbers that are looked at at a time."""


@inlined
def _pending(thresholds, labels, gaps, out_pending):
    """Write the points whose gap is not above the threshold of their label; return their number."""
    n, lanes = labels.size, panel_count(gaps)
    whole = n // lanes * lanes
    count = 0
    for first in range(0, whole, lanes):
        gap = load_panel(gaps, first)
        limit = gather(thresholds, load_like(labels, first, gap))
        unused = np.uint64(64) - np.uint64(lanes)
        found = ~bits(less(limit, gap)) << unused >> unused
        while found:
            out_pending[np.uint64(count)] = first + np.int64(trailing_zeros(found))
            found &= found - np.uint64(1)
            count += 1
    for i in range(whole, n):
        out_pending[np.uint64(count)] = i
        count += not (thresholds[labels[i]] < gaps[i])
    return count


@inlined
def _at_most(squares, slack):
    """Return how far a centroid is off at most, of a squared distance in floats."""
    return np.float64(np.sqrt(squares)) * slack[0] + slack[1]


@inlined
def _at_least(squares, slack):
    """Return how far centroids are off at least, by more than what floats cannot tell apart."""
    low = np.float64(min(np.sqrt(squares), slack[2])) * (2.0 - slack[0]) - slack[1]
    return low * (2.0 - slack[0]) - slack[1]


@inlined
def _kept(low, total):
    """Return what to keep of a distance, at least, when moves have added up to `total`."""
    low += total
    return np.float32(min(low - abs(low) * _ROUNDING, _GREATEST))


@inlined
def _gap(high, low, total):
    """Return what to keep of a point that is at most so far from its centroid, and at least so far
    from all others, when moves have added up to `total`."""
    return np.float32(min(low - high + total - (low + high + total) * _ROUNDING, _GREATEST))


@inlined
def _two_nearest(channels, d, tiles, groups):
    """Return the two least distances and the label of the least, of a tile."""
    x = load(tiles, 0)
    least, second, label = splat(np.inf, x), splat(np.inf, x), splat(np.int32(0), x)
    for group in range(groups.size // (GROUP * d)):
        d0, d1, d2, d3 = distances_to_group(channels, d, tiles, 0, groups, group)
        j = np.int32(group * GROUP)
        j1, j2, j3 = np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
        nearer = less(d1, d0)
        low, low_label = select(nearer, d1, d0), select(nearer, splat(j1, x), splat(j, x))
        low_second = select(nearer, d0, d1)
        nearer = less(d3, d2)
        high, high_label = select(nearer, d3, d2), select(nearer, splat(j3, x), splat(j2, x))
        high_second = select(nearer, d2, d3)
        nearer = less(high, low)
        next_one = select(nearer, low, high)
        low, low_label = select(nearer, high, low), select(nearer, high_label, low_label)
        low_second = lesser(lesser(low_second, high_second), next_one)
        nearer = less(low, least)
        next_one = select(nearer, least, low)
        least, label = select(nearer, low, least), select(nearer, low_label, label)
        second = lesser(lesser(second, low_second), next_one)
    return least, second, label


@inlined
def _ask_for(d, points, numbers):
    """Ask for some points: the processor cannot foresee which lines of memory are next."""
    line = 64 // points.itemsize
    for k in range(numbers.size):
        at = np.int64(numbers[np.uint64(k)]) * d
        for c in range(0, d, line):
            expect(points, at + c)
        expect(points, at + d - 1)


@kernel(
    "channels, i8, T[:], T[:], f8[:], f4[:], f8[:], buffers, i4[:], f4[:]",
    channels=("(i8,) * 0", *UP_TO_4),
    T=("f4", "f8"),
    buffers="(T[:], T[:], i4[:], i4[:])",
)
def round_by_differences(
    channels, d, points, groups, totals, thresholds, slack, buffers, labels, gaps
):
    """Label points that may have another nearest centroid, as `assign` does; bring bounds up to
    date. Return how many points were compared.

    `buffers` are scratch: a tile, distances and labels of a tile's points, numbers of n points.
    """
    d = len(channels) if len(channels) else d
    tile, distances, found, pending = buffers
    lanes = lane_count(tile)
    count = _pending(thresholds, labels, gaps, pending)
    for first in range(0, count, lanes):
        size = min(lanes, count - first)
        _ask_for(d, points, pending[first + lanes : min(first + 2 * lanes, count)])
        gather_rows(channels, d, points, pending[first : first + size], tile)
        least, second, label = _two_nearest(channels, d, tile, groups)
        store(least, distances, 0)
        store(second, distances, lanes)
        store(label, found, 0)
        for lane in range(size):
            i = np.uint64(pending[first + lane])
            high, low = _at_most(distances[lane], slack), _at_least(distances[lanes + lane], slack)
            gaps[i] = _gap(high, low, totals[found[lane]])
            labels[i] = found[lane]
    return count


@inlined
def _squares_in_strips(strip, first, d, points, at, rows, start):
    """Return the part of a squared distance from channel `first` on that fills strips."""
    u = minus(load_row(points, at + first, strip), load_row(rows, start + first, strip))
    sums = times(u, u)
    for c in range(first + len(strip), d - len(strip) + 1, len(strip)):
        u = minus(load_row(points, at + c, strip), load_row(rows, start + c, strip))
        sums = multiply_add(u, u, sums)
    return total_of(sums)


@inlined
def _own_squares(d, points, at, rows, start):
    """Return the squared distance of a point to a centroid, added up in any order."""
    squares = points.dtype.type(0)
    first = 0
    if d >= len(LANES):
        squares += _squares_in_strips(LANES, 0, d, points, at, rows, start)
        first = d // len(LANES) * len(LANES)
    if d - first >= len(_QUARTER):
        squares += _squares_in_strips(_QUARTER, first, d, points, at, rows, start)
        first = d // len(_QUARTER) * len(_QUARTER)
    for c in range(first, d):
        difference = points[np.uint64(at + c)] - rows[np.uint64(start + c)]
        squares = fma(difference, difference, squares)
    return squares


@kernel("i8, T[:], T[:], f8[:]", T=("f4", "f8"))
def write_distances(d, points, rows, out_distances):
    """Write the distances (n, k) of points to all centroids `rows`, about."""
    k = rows.size // d
    for i in range(points.size // d):
        for j in range(k):
            squares = np.float64(_own_squares(d, points, i * d, rows, j * d))
            out_distances[np.uint64(i * k + j)] = np.sqrt(squares)


@kernel("i8, T[:], T[:], f8[:]", T=("f4", "f8"))
def write_moves(d, before, after, out_moves):
    """Write how far centroids (k, d) have moved, in float64."""
    for j in range(out_moves.size):
        square = 0.0
        for c in range(j * d, (j + 1) * d):
            u = np.float64(after[np.uint64(c)]) - before[np.uint64(c)]
            square = fma(u, u, square)
        out_moves[j] = np.sqrt(square)


@inlined
def _write_own(d, points, numbers, rows, labels, out_squares):
    """Write the squared distances of some points to their centroids."""
    _ask_for(d, points, numbers[:_AHEAD])
    for k in range(numbers.size):
        _ask_for(d, points, numbers[k + _AHEAD : k + _AHEAD + 1])
        i = np.uint64(numbers[np.uint64(k)])
        label = np.int64(labels[i])
        out_squares[np.uint64(k)] = _own_squares(d, points, np.int64(i) * d, rows, label * d)


@inlined
def _least_bound(bounds, at, limits, n_groups):
    """Return how far off centroids of all groups are, but for the point's own, at least."""
    low = minus(load_row(bounds, at, LANES), load_row(limits, 0, LANES))
    for first in range(len(LANES), n_groups, len(LANES)):
        some = minus(load_row(bounds, at + first, LANES), load_row(limits, first, LANES))
        low = lesser(some, low)
    return np.float64(smallest(lesser(low, splat(np.inf, low))))


@inlined
def _list_own_groups(numbers, labels, group_of, lists, counts):
    """List points with the groups of their centroids."""
    block = np.uint64(lists.size // counts.size)
    for k in range(numbers.size):
        label = labels[np.uint64(numbers[np.uint64(k)])]
        _list(lists, counts, block, np.uint64(group_of[np.uint64(label)]), k)


@inlined
def _list_other_groups(numbers, farthest, bounds, limits, found, group_of, lists, counts):
    """List points with all other groups that may be as near as `farthest`."""
    n_groups, block, lanes = counts.size, np.uint64(lists.size // counts.size), len(LANES)
    for k in range(numbers.size):
        at = np.int64(numbers[np.uint64(k)]) * n_groups
        own_group = np.int64(group_of[np.uint64(found[np.uint64(k)])])
        high = farthest[np.uint64(k)]
        for first in range(0, n_groups, lanes):
            some = minus(load_row(bounds, at + first, LANES), load_row(limits, first, LANES))
            unused = np.uint64(64 - min(lanes, n_groups - first))
            near = ~bits(less(splat(high, some), some)) << unused >> unused
            if first <= own_group < first + lanes:
                near &= ~(np.uint64(1) << np.uint64(own_group - first))
            while near:
                group = np.uint64(first) + np.uint64(trailing_zeros(near))
                near &= near - np.uint64(1)
                _list(lists, counts, block, group, k)


@inlined
def _list(lists, counts, block, group, k):
    lists[group * block + np.uint64(counts[group])] = k
    counts[group] += 1


@intrinsic
def _transpose(typingctx, array):
    """Transpose a square of numbers, flat, as wide as LANES."""

    def codegen(context, builder, signature, args):
        count = len(LANES)
        vector = ir.VectorType(context.get_data_type(array.dtype), count)
        mask = ir.VectorType(ir.IntType(32), count)
        data = context.make_array(array)(context, builder, args[0]).data
        places = [
            builder.bitcast(
                builder.gep(data, [ir.Constant(ir.IntType(64), row * count)]), vector.as_pointer()
            )
            for row in range(count)
        ]
        rows = [builder.load(place, align=array.dtype.bitwidth // 8) for place in places]
        step = count // 2
        while step:  # blocks off the diagonal change places, then those in each block
            lanes = range(count)
            low = [count + lane - step if lane & step else lane for lane in lanes]
            high = [count + lane if lane & step else lane + step for lane in lanes]
            low, high = (ir.Constant(mask, to) for to in (low, high))
            for i in range(count):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    rows[i] = builder.shuffle_vector(a, b, low)
                    rows[i + step] = builder.shuffle_vector(a, b, high)
            step //= 2
        for row, place in zip(rows, places, strict=True):
            builder.store(row, place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array), codegen


@inlined
def _start_of(d, numbers, listed, k):
    """Return where the point with a place in a list starts; the last one's beyond its end."""
    slot = np.uint64(listed[np.uint64(min(k, listed.size - 1))])
    return np.int64(numbers[slot]) * d


@inlined
def _write_distances(d, points, numbers, listed, row, panels, panel, distances):
    """Write squared distances of ROWS listed points to a group's centroids, as `assign` does."""
    lanes = len(LANES)
    at0, at1 = _start_of(d, numbers, listed, row), _start_of(d, numbers, listed, row + 1)
    at2, at3 = _start_of(d, numbers, listed, row + 2), _start_of(d, numbers, listed, row + 3)
    at4, at5 = _start_of(d, numbers, listed, row + 4), _start_of(d, numbers, listed, row + 5)
    at6, at7 = _start_of(d, numbers, listed, row + 6), _start_of(d, numbers, listed, row + 7)
    y = load_row(panels, panel, LANES)
    u0, u1 = minus(y, spread(points, at0, y)), minus(y, spread(points, at1, y))
    u2, u3 = minus(y, spread(points, at2, y)), minus(y, spread(points, at3, y))
    u4, u5 = minus(y, spread(points, at4, y)), minus(y, spread(points, at5, y))
    u6, u7 = minus(y, spread(points, at6, y)), minus(y, spread(points, at7, y))
    d0, d1, d2, d3 = times(u0, u0), times(u1, u1), times(u2, u2), times(u3, u3)
    d4, d5, d6, d7 = times(u4, u4), times(u5, u5), times(u6, u6), times(u7, u7)
    for c in range(1, d):
        y = load_row(panels, panel + c * lanes, LANES)
        u0, u1 = minus(y, spread(points, at0 + c, y)), minus(y, spread(points, at1 + c, y))
        u2, u3 = minus(y, spread(points, at2 + c, y)), minus(y, spread(points, at3 + c, y))
        u4, u5 = minus(y, spread(points, at4 + c, y)), minus(y, spread(points, at5 + c, y))
        u6, u7 = minus(y, spread(points, at6 + c, y)), minus(y, spread(points, at7 + c, y))
        d0, d1 = multiply_add(u0, u0, d0), multiply_add(u1, u1, d1)
        d2, d3 = multiply_add(u2, u2, d2), multiply_add(u3, u3, d3)
        d4, d5 = multiply_add(u4, u4, d4), multiply_add(u5, u5, d5)
        d6, d7 = multiply_add(u6, u6, d6), multiply_add(u7, u7, d7)
    to = row % lanes * lanes
    store(d0, distances, to)
    store(d1, distances, to + lanes)
    store(d2, distances, to + 2 * lanes)
    store(d3, distances, to + 3 * lanes)
    store(d4, distances, to + 4 * lanes)
    store(d5, distances, to + 5 * lanes)
    store(d6, distances, to + 6 * lanes)
    store(d7, distances, to + 7 * lanes)


@inlined
def _compare_list(d, points, numbers, listed, panels, panel, distances, leasts, seconds, lanes):
    """Compare listed points with a group: write the two least distances, and where the least is."""
    width = len(LANES)
    for first in range(0, listed.size, width):
        for row in range(first, min(first + width, listed.size), ROWS):
            _write_distances(d, points, numbers, listed, row, panels, panel, distances)
        _transpose(distances)
        least = load_row(distances, 0, LANES)
        second, lane = splat(np.inf, least), splat(np.int32(0), least)
        for j in range(1, width):
            some = load_row(distances, j * width, LANES)
            nearer = less(some, least)
            second = lesser(select(nearer, least, some), second)
            least = select(nearer, some, least)
            lane = select(nearer, splat(np.int32(j), least), lane)
        store(least, leasts, first)
        store(second, seconds, first)
        store(lane, lanes, first)


@inlined
def _take_list(
    numbers, order, group, n_groups, listed, leasts, seconds, lanes, kept, bounds, out_leasts,
    out_seconds, out_labels,
):  # fmt: skip
    """Bring listed points up to date with what a group holds: bounds, and who is nearest."""
    for k in range(listed.size):
        at, slot = np.uint64(k), np.uint64(listed[np.uint64(k)])
        to = np.uint64(numbers[slot]) * np.uint64(n_groups) + np.uint64(group)
        bounds[to] = kept[at]
        least, label = leasts[at], order[np.uint64(group * len(LANES)) + np.uint64(lanes[at])]
        before, old = out_leasts[slot], out_labels[slot]
        if (least < before) | ((least == before) & (label < old)):
            out_leasts[slot], out_seconds[slot], out_labels[slot] = least, seconds[at], label


@inlined
def _compare_lists(
    d, points, numbers, panels, order, group_totals, slack, lists, counts, lanes, kept, list_leasts,
    list_seconds, distances, bounds, leasts, seconds, found,
):  # fmt: skip
    """Compare all points that are listed with groups, and empty the lists; return how many."""
    n_groups, block, compared = counts.size, lists.size // counts.size, 0
    for group in range(n_groups):
        size = np.int64(counts[group])
        listed, total = lists[group * block : group * block + size], group_totals[group]
        _compare_list(
            d, points, numbers, listed, panels, group * d * len(LANES), distances, list_leasts,
            list_seconds, lanes,
        )  # fmt: skip
        for k in range(size):
            kept[k] = _kept(_at_least(list_leasts[k], slack), total)
        _take_list(
            numbers, order, group, n_groups, listed, list_leasts, list_seconds, lanes, kept, bounds,
            leasts, seconds, found,
        )  # fmt: skip
        compared += size
        counts[group] = 0
    return compared


@inlined
def _still_pending(
    d, points, rows, totals, slack, limits, labels, numbers, high, leasts, bounds, gaps
):
    """Move numbers of points to the front that are not certainly nearer to their centroid than to
    all others of the only group; return how many."""
    _write_own(d, points, numbers, rows, labels, leasts)
    for k in range(numbers.size):
        high[k] = _at_most(leasts[k], slack)
    count = 0
    for k in range(numbers.size):
        i = np.uint64(numbers[k])
        low = np.float64(bounds[i] - limits[0])
        gaps[i] = _gap(high[k], low, totals[np.uint64(labels[i])])
        numbers[count] = numbers[k]
        count += not high[k] + high[k] * _ROUNDING < low
    return count


@inlined
def _leave_out(bounds, limits, n_groups, totals, drifts, reaches, labels, gaps, pending, count):
    """Leave points out of the pending that are certainly no farther from their centroid than from
    all groups; return how many are left."""
    left = 0
    for k in range(count):
        i = np.uint64(pending[np.uint64(k)])
        label = np.uint64(labels[i])
        high = np.float64(reaches[i]) + drifts[label]
        low = _least_bound(bounds, np.int64(i) * n_groups, limits, n_groups)
        pending[np.uint64(left)] = i
        if high + high * _ROUNDING < low:
            gaps[i] = _gap(high, low, totals[label])
        else:
            left += 1
    return left


@kernel(
    "i8, T[:], T[:], T[:], i4[:], i4[:], f4[:], f8[:], f8[:], f8[:], f4[:], f8[:], buffers, i4[:],"
    "f4[:], f4[:], f4[:]",
    T=("f4", "f8"),
    buffers="(i4[:], i4[:], i4[:], i4[:], i4[:], f4[:], f8[:], T[:], T[:], T[:], T[:], T[:])",
)
def round_by_groups(
    d, points, rows, panels, order, group_of, limits, group_totals, totals, drifts, thresholds,
    slack, buffers, labels, gaps, reaches, bounds,
):  # fmt: skip
    """Do as `round_by_differences`, with a bound for each group of centroids (Yinyang, Ding et al.
    2015). Return how many groups were compared with a point, all in all.

    A point whose gap is used up is compared with the group of its centroid, and then with others,
    if they may be as near; where there is but one group, with its own centroid first. `rows`
    (k, d) are the centroids, flat; `panels` (groups, d, lanes) the same in groups, `order` their
    labels, and `group_of` the group of each. `group_totals` are what the farthest mover's moves
    have added up to in each group, `limits` the same rounded up, filled up with -inf. `drifts`
    (k,) are what the moves of each centroid have added up to, and `reaches` (n,) distances to the
    own centroid less that, at most. `bounds` (n, groups) are distances and totals of the groups, at
    least, with some more numbers at the end to be read.
    `buffers` are scratch: numbers of n points; of the points of a block labels, lists for each
    group, and sizes of these; for a list lanes, bounds, distances at most, least and second
    distances; for the block both; distances to a group.
    """
    (
        pending, found, lists, counts, lanes, kept, high, list_leasts, list_seconds, leasts,
        seconds, distances,
    ) = buffers  # fmt: skip
    n_groups, block = counts.size, found.size
    count = _pending(thresholds, labels, gaps, pending)
    if n_groups > 1:
        count = _leave_out(
            bounds, limits, n_groups, totals, drifts, reaches, labels, gaps, pending, count
        )
    compared = 0
    counts[:] = 0
    for first in range(0, count, block):
        numbers = pending[first : min(first + block, count)]
        if n_groups > 1:
            _ask_for(d, points, numbers)
        if n_groups == 1:
            many = _still_pending(
                d, points, rows, totals, slack, limits, labels, numbers, high, leasts, bounds, gaps
            )
            numbers = numbers[:many]
        size = numbers.size
        leasts[:size], seconds[:size] = np.inf, 0
        for k in range(size):
            found[k] = labels[np.uint64(numbers[k])]
        _list_own_groups(numbers, labels, group_of, lists, counts)
        for turn in range(min(2, n_groups)):
            if turn:
                for k in range(size):
                    high[k] = _at_most(leasts[k], slack)
                    kept[k] = high[k] + high[k] * _ROUNDING
                _list_other_groups(numbers, kept, bounds, limits, found, group_of, lists, counts)
            compared += _compare_lists(
                d, points, numbers, panels, order, group_totals, slack, lists, counts, lanes, kept,
                list_leasts, list_seconds, distances, bounds, leasts, seconds, found,
            )  # fmt: skip
        for k in range(size):
            group = group_of[np.uint64(found[k])]
            at = np.int64(numbers[k]) * n_groups + group
            second = _at_least(seconds[k], slack)
            bounds[np.uint64(at)] = _kept(second, group_totals[np.uint64(group)])
            high[k] = _at_most(leasts[k], slack)
        # Not before: a number that has just been written would keep a vector with it waiting.
        for k in range(size):
            i, label = np.int64(numbers[k]), np.int64(found[k])
            low = _least_bound(bounds, i * n_groups, limits, n_groups)
            drift = drifts[np.uint64(label)]
            reaches[np.uint64(i)] = high[k] - drift + (high[k] + drift) * _ROUNDING
            gaps[np.uint64(i)] = _gap(high[k], low, totals[np.uint64(label)])
            labels[np.uint64(i)] = label
    return compared


@inlined
def _own_gap(d, points, rows, labels, i, c):
    """Return x - c of eight channels of a point and its centroid."""
    to = np.int64(labels[i]) * d + c
    return minus(load_row(points, i * d + c, _EIGHT), load_row(rows, to, _EIGHT))


@inlined
def _add_own(sums, d, points, rows, labels, i, c):
    """Return the sums of eight points with the squares of eight channels added, one by one."""
    u = transposed(
        (
            _own_gap(d, points, rows, labels, i, c),
            _own_gap(d, points, rows, labels, i + 1, c),
            _own_gap(d, points, rows, labels, i + 2, c),
            _own_gap(d, points, rows, labels, i + 3, c),
            _own_gap(d, points, rows, labels, i + 4, c),
            _own_gap(d, points, rows, labels, i + 5, c),
            _own_gap(d, points, rows, labels, i + 6, c),
            _own_gap(d, points, rows, labels, i + 7, c),
        )
    )
    for one in u:
        sums = multiply_add(one, one, sums)
    return sums


@inlined
def _inertia_of_eight(d, points, weights, rows, labels, sums, i, total):
    """Return the inertia with eight points added; `sums` have their channels but for the last."""
    in_eights = d // len(_EIGHT) * len(_EIGHT)
    for j in range(len(_EIGHT)):
        distance, at, to = lane_of(sums, j), (i + j) * d, np.int64(labels[i + j]) * d
        for c in range(in_eights, d):
            u = points[np.uint64(at + c)] - rows[np.uint64(to + c)]
            distance = fma(u, u, distance)
        total += distance * (weights[i + j] if weights.size else 1.0)
    return total


@kernel("channels, i8, T[:], f8[:], T[:], i4[:]", channels=("(i8,) * 0", *UP_TO_4), T=("f4", "f8"))
def inertia(channels, d, points, weights, rows, labels):
    """Return the weighted squared distances of points to the centroids (k, d) that labels name, as
    `assign` adds them up.

    Sixteen at a time, or four: each is a chain of sums that wait for one another.
    """
    d = len(channels) if len(channels) else d
    n, total = labels.size, 0.0
    eight, in_sixteens = len(_EIGHT), 0
    if len(channels) == 0:
        in_sixteens = n // 16 * 16
        for i in range(0, in_sixteens, 16):
            low = high = splat(0.0, load_row(rows, 0, _EIGHT))
            for c in range(0, d // eight * eight, eight):
                low = _add_own(low, d, points, rows, labels, i, c)
                high = _add_own(high, d, points, rows, labels, i + eight, c)
            total = _inertia_of_eight(d, points, weights, rows, labels, low, i, total)
            total = _inertia_of_eight(d, points, weights, rows, labels, high, i + eight, total)
    for i in range(in_sixteens, n, 4):
        size = min(4, n - i)
        at0, at1 = i * d, min(i + 1, n - 1) * d
        at2, at3 = min(i + 2, n - 1) * d, min(i + 3, n - 1) * d
        y0, y1 = np.int64(labels[i]) * d, np.int64(labels[min(i + 1, n - 1)]) * d
        y2, y3 = (
            np.int64(labels[min(i + 2, n - 1)]) * d,
            np.int64(labels[min(i + 3, n - 1)]) * d,
        )
        d0 = d1 = d2 = d3 = points.dtype.type(0)
        for c in range(d):
            u0 = points[np.uint64(at0 + c)] - rows[np.uint64(y0 + c)]
            u1 = points[np.uint64(at1 + c)] - rows[np.uint64(y1 + c)]
            u2 = points[np.uint64(at2 + c)] - rows[np.uint64(y2 + c)]
            u3 = points[np.uint64(at3 + c)] - rows[np.uint64(y3 + c)]
            d0, d1 = fma(u0, u0, d0), fma(u1, u1, d1)
            d2, d3 = fma(u2, u2, d2), fma(u3, u3, d3)
        total += d0 * (weights[i] if weights.size else 1.0)
        if size > 1:
            total += d1 * (weights[i + 1] if weights.size else 1.0)
        if size > 2:
            total += d2 * (weights[i + 2] if weights.size else 1.0)
        if size > 3:
            total += d3 * (weights[i + 3] if weights.size else 1.0)
    return total
