"""Dithering: errors passed on to neighbours, or thresholds of a mask, and the search they need.

Colours and entries are rows of four float32, filled up with zeros, so that one row is one vector
and all pixel formats share one kernel. Flat arrays hold them one after the other.

The nearest entry is found among a cell's candidates: the box around all colours is cut into cells,
and a cell's candidates are the entries that are nearest to some point in it, in ascending order.
An entry is none if its least distance to the cell is above the smallest greatest distance of any.
The naive twin is `tests/stages/mapping/test_dither.py:naive_diffusion`.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._cells import cell_of
from kmq.kernels._jit import inlined, kernel
from kmq.kernels._lanes import lane, less, load_row, minus, plus, select, splat, store, times

ROW = 4
"""Numbers of a row."""

_ROW = f"(i8,) * {ROW}"
"""Type of `channels`, and of what counts cells."""

KEPT = 255
"""In place of their group: colours that always show their label."""

MIXED = 3
"""Entries that one colour is mixed of at most."""

BLOCK = 64
"""Entries that are passed over at once."""

_SLACK = np.float32(1.00001)
"""What rounding may add to a squared distance; more candidates than needed do no harm."""


@inlined
def _sum(lanes):
    return (lane(lanes, 0) + lane(lanes, 1)) + (lane(lanes, 2) + lane(lanes, 3))


@kernel("row, f4[:], f4[:], row, row, i8[:], u2[:], i8, f4[:], i8[:], u2[:]", row=_ROW)
def list_candidates(
    channels, entries, cells, splits, parents, starts, members, most, place, out_starts,
    out_members,
):  # fmt: skip
    """List the candidates of the cells that each parent cell is cut into, `splits` along each axis.

    `parents` is how many parents there are along each axis; `starts` and `members` list their
    candidates; `cells` has three rows: the lower corner of the box, the width of a child, and how
    much farther it may reach by rounding. Write how many candidates all children before have to
    `out_starts`, and as many candidates as there is room for; return how many there are, or some
    number above `most` as soon as there are more than that. `place` (ROW,) float32 is scratch.
    """
    shape = (
        parents[0] * splits[0], parents[1] * splits[1], parents[2] * splits[2],
        parents[3] * splits[3],
    )  # fmt: skip
    side, margin = load_row(cells, ROW, channels), load_row(cells, 2 * ROW, channels)
    corner = minus(load_row(cells, 0, channels), margin)
    reach = plus(side, plus(margin, margin))
    nothing = splat(np.float32(0), corner)
    count = 0
    cell = 0
    for a in range(shape[0]):
        for b in range(shape[1]):
            for c in range(shape[2]):
                for d in range(shape[3]):
                    parent = (
                        (a // splits[0] * parents[1] + b // splits[1]) * parents[2] + c // splits[2]
                    ) * parents[3] + d // splits[3]
                    place[0], place[1], place[2], place[3] = a, b, c, d
                    first = plus(corner, times(load_row(place, 0, channels), side))
                    last = plus(first, reach)
                    bound = np.float32(np.inf)
                    for i in range(starts[parent], starts[parent + 1]):
                        entry = load_row(entries, np.int64(members[i]) * ROW, channels)
                        one, other = minus(entry, first), minus(last, entry)
                        far = select(less(one, other), other, one)
                        bound = min(bound, _sum(times(far, far)))
                    bound *= _SLACK
                    out_starts[cell] = count
                    for i in range(starts[parent], starts[parent + 1]):
                        entry = load_row(entries, np.int64(members[i]) * ROW, channels)
                        below, above = minus(first, entry), minus(entry, last)
                        near = select(less(below, above), above, below)
                        near = select(less(near, nothing), nothing, near)
                        if _sum(times(near, near)) <= bound:
                            if count < out_members.size:
                                out_members[count] = members[i]
                            count += 1
                    if count > most:
                        return count
                    cell += 1
    out_starts[cell] = count
    return count


@kernel(
    "row, u4[:, :], f4[:], u1[:], i4[:], f4, f4[:], f4[:], (i8,) * 3, i8[:, :], u2[:], f4, i8, i8,"
    "i8, f4[:, :], label[:, :], u1[:]",
    row=_ROW,
    label=("u1", "u2"),
)
def diffuse(
    channels,
    ids,
    colors,
    groups,
    labels,
    strength,
    entries,
    box,
    strides,
    starts,
    members,
    limit,
    first,
    stop,
    kept,
    rows,
    out_indices,
    out_used,
):
    """Write the entries that rows `first` … stop - 1 show; errors go on from each to the next.

    Floyd and Steinberg's shares (1976), even rows from left to right and odd ones from right to
    left. The first `kept` rows are run for the errors that they leave and not written.

    `box` has three rows: the corners of the cells' box and how many cells there are per unit.
    `starts` and `members` are those of the entries that each group of colours may have. A
    squared error above `limit` is passed on as if it were that. `rows` (2, (width + 2) · ROW) is
    scratch; entries that occur are marked in `out_used`.
    """
    width = ids.shape[1]
    low, high = load_row(box, 0, channels), load_row(box, ROW, channels)
    per_unit = load_row(box, 2 * ROW, channels)
    nothing = splat(np.float32(0), low)
    seven, five = splat(np.float32(7 / 16), low), splat(np.float32(5 / 16), low)
    three, one = splat(np.float32(3 / 16), low), splat(np.float32(1 / 16), low)
    for i in range(rows.shape[1]):
        rows[0, i] = 0
        rows[1, i] = 0
    weight, half = splat(strength, low), splat(strength * np.float32(0.5), low)
    for y in range(first, stop):
        now, below = rows[y % 2], rows[1 - y % 2]
        step = 1 - 2 * (y % 2)
        x = 0 if step == 1 else width - 1
        ahead, aside, under = nothing, nothing, nothing
        for _ in range(width):
            at = np.int64(ids[y, x])
            color = load_row(colors, at * ROW, channels)
            error = plus(ahead, load_row(now, (x + 1) * ROW, channels))
            if groups[at] == KEPT:
                label = labels[at]
                error = times(error, half)
            else:
                wanted = plus(color, times(error, weight))
                wanted, cell = cell_of(wanted, low, high, per_unit, strides)
                group = np.int64(groups[at])
                begin, end = starts[group, cell], starts[group, cell + 1]
                least, label = np.float32(np.inf), np.int32(0)
                for i in range(begin, end):
                    member = np.int32(members[i])
                    difference = minus(wanted, load_row(entries, np.int64(member) * ROW, channels))
                    distance = _sum(times(difference, difference))
                    nearer = distance < least
                    least = distance if nearer else least
                    label = member if nearer else label
                error = minus(wanted, load_row(entries, np.int64(label) * ROW, channels))
                if least > limit:
                    error = times(error, splat(np.sqrt(limit / least), low))
            if y >= first + kept:
                out_indices[y, x] = label
                out_used[label] = 1
            ahead = times(error, seven)
            store(plus(aside, times(error, three)), below, (x + 1 - step) * ROW)
            aside = plus(under, times(error, five))
            under = times(error, one)
            x += step
        store(aside, below, (x + 1 - step) * ROW)


@kernel("row, f4[:], i8[:], f4[:], f4[:], f4[:], i4[:, :]", row=_ROW)
def list_neighbours(channels, entries, order, low, high, distances, out_neighbours):
    """Write the entries nearest to each, nearest first: (k, n), n below k.

    `order` lists the entries so that those that are near each other mostly stand together. Blocks
    of them are passed over whose box is farther away than what was found. `low` and `high`, ROW
    numbers for each BLOCK entries or part of it, and `distances` (n,), float32, are scratch.
    """
    k, wanted = out_neighbours.shape
    n_blocks = (k + BLOCK - 1) // BLOCK
    for block in range(n_blocks):
        lowest = load_row(entries, np.int64(order[block * BLOCK]) * ROW, channels)
        highest = lowest
        for i in range(block * BLOCK, min((block + 1) * BLOCK, k)):
            entry = load_row(entries, np.int64(order[i]) * ROW, channels)
            lowest = select(less(entry, lowest), entry, lowest)
            highest = select(less(highest, entry), entry, highest)
        store(lowest, low, block * ROW)
        store(highest, high, block * ROW)
    for i in range(k):
        here = np.int64(order[i])
        center = load_row(entries, here * ROW, channels)
        nothing = minus(center, center)
        for place in range(wanted):
            distances[place] = np.inf
        own_block = i // BLOCK
        for turn in range(n_blocks):
            block = own_block if turn == 0 else turn - (turn <= own_block)
            below = minus(load_row(low, block * ROW, channels), center)
            above = minus(center, load_row(high, block * ROW, channels))
            near = select(less(below, above), above, below)
            near = select(less(near, nothing), nothing, near)
            if _sum(times(near, near)) >= distances[wanted - 1]:
                continue
            for j in range(block * BLOCK, min((block + 1) * BLOCK, k)):
                other = np.int64(order[j])
                difference = minus(load_row(entries, other * ROW, channels), center)
                distance = _sum(times(difference, difference))
                if other == here or distance >= distances[wanted - 1]:
                    continue
                place = wanted - 1
                while place > 0 and distances[place - 1] > distance:
                    distances[place] = distances[place - 1]
                    out_neighbours[here, place] = out_neighbours[here, place - 1]
                    place -= 1
                distances[place] = distance
                out_neighbours[here, place] = other


@kernel(
    "row, f4[:], u1[:], i4[:], b1[:, :], f4[:], i4[:, :], f4, f4, f4, i4[:, :], f4[:, :]", row=_ROW
)
def mix(
    channels, colors, groups, labels, allowed, entries, neighbours, noise, near, strength,
    out_members, out_bounds,
):  # fmt: skip
    """Write which entries each colour is mixed of, and up to which levels of the mask they go.

    To the colour's label up to MIXED - 1 of its neighbours are added, each the one that makes most
    less of the squared distance to the mixture plus a part of the mixture's variance: `noise` of it
    for entries that are far away, half of that for those at a squared distance of `near`. `allowed`
    (groups, k) says which entries colours of a group may have.

    `out_members` (m, MIXED) has higher entries first, so that a slope goes from one to the other in
    one texture; `out_bounds` are the shares of the first and of the first two. Levels of the mask
    come nearer to the middle of the label's, the less the `strength`.
    """
    nothing, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    for i in range(labels.size):
        label = np.int64(labels[i])
        out_members[i, 0], out_members[i, 1], out_members[i, 2] = label, label, label
        out_bounds[i, 0], out_bounds[i, 1] = 1, 1
        if groups[i] == KEPT:
            continue
        color = load_row(colors, np.int64(i) * ROW, channels)
        mean = load_row(entries, label * ROW, channels)
        own, first, priced = one, nothing, nothing
        for turn in range(MIXED - 1):
            away = minus(color, mean)
            least = _sum(times(away, away)) + priced
            added, added_share, added_price = np.int64(-1), nothing, nothing
            for n in range(neighbours.shape[1]):
                other = np.int64(neighbours[label, n])
                if not allowed[groups[i], other]:
                    continue
                along = minus(load_row(entries, other * ROW, channels), mean)
                length = _sum(times(along, along))
                price = noise * (length / (length + near))
                # Least |away - share along|² + (1 - share) (priced + price share |along|²).
                share = _sum(times(away, along)) / length + half * (priced / length - price)
                share = min(share / (one - price), half)
                if not share > 0:
                    continue
                difference = minus(away, times(along, splat(share, along)))
                variance = (one - share) * (priced + price * share * length)
                cost = _sum(times(difference, difference)) + variance
                if cost < least:
                    least = cost
                    added, added_share, added_price = other, share, variance
            if added < 0:
                break
            step = minus(load_row(entries, added * ROW, channels), mean)
            mean = plus(mean, times(step, splat(added_share, step)))
            priced = added_price
            own *= one - added_share
            first *= one - added_share
            place = MIXED - 1 - turn
            out_members[i, place] = added
            if turn == 0:
                first = added_share
        # Three at most, sorted by number; one that was added twice is so often there.
        a, b, c = out_members[i, 0], out_members[i, 2], out_members[i, 1]
        wa, wb, wc = own, first, max(one - own - first, nothing)
        if b > a:
            a, b, wa, wb = b, a, wb, wa
        if c > b:
            b, c, wb, wc = c, b, wc, wb
        if b > a:
            a, b, wa, wb = b, a, wb, wa
        out_members[i, 0], out_members[i, 1], out_members[i, 2] = a, b, c
        lower = nothing if a == label else (wa if b == label else wa + wb)
        middle = lower + half * own
        out_bounds[i, 0] = (wa - middle) / strength + middle
        out_bounds[i, 1] = (wa + wb - middle) / strength + middle


@kernel("u4[:, :], i4[:, :], f4[:, :], f4[:, :], i8, i8, label[:, :], u1[:]", label=("u1", "u2"))
def threshold(ids, members, bounds, mask, first, stop, out_indices, out_used):
    """Write for rows `first` … stop - 1 which of its colour's `members` each pixel shows: the first
    where the mask (side, side), which holds 0 … 1, is below the first of its `bounds`, and so on.
    """
    side = mask.shape[0]
    for y in range(first, stop):
        for x in range(ids.shape[1]):
            at = ids[y, x]
            level = mask[y % side, x % side]
            place = np.int64(level >= bounds[at, 0]) + np.int64(level >= bounds[at, 1])
            label = members[at, place]
            out_indices[y, x] = label
            out_used[label] = 1


@kernel("row, u4[:, :], label[:, :], f4[:], f4[:]", row=_ROW, label=("u1", "u2"))
def sum_errors(channels, ids, indices, colors, entries):
    """Return the sum over the pixels of the squared distance from their colour to their entry."""
    total = 0.0
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            color = load_row(colors, np.int64(ids[y, x]) * ROW, channels)
            difference = minus(color, load_row(entries, np.int64(indices[y, x]) * ROW, channels))
            total += np.float64(_sum(times(difference, difference)))
    return total
