"""k-means on the colours of a picture: rounds that compare few centroids, and a search that goes
on past the first local optimum.

Colours stand in Morton order, so a block of a few hundred lies in a small box, and only centroids
whose least distance to the box is within the smallest greatest distance can be nearest to any
colour in it: a few of 64 centroids, a tenth of 256. The labels are the same as with all of them
(`tests/naive.py:nearest`): the bound has a margin for rounding, centroids keep their order, ties go
to the lowest index. Measured on 117,157 colours, all centroids against few: 0.85 and 0.32 ms a
round at k = 64, 1.99 and 0.61 ms at k = 256.

Points are columns (d, n) float32, d = 1 to 4; centroids are rows (k, d) float64, compared as
float32. They are of one kind, or of two: the first `n_opaque` points are opaque, have one and the
same last coordinate, which no other point has, and may only have centroids that have it too. With
it given, the mean of the others is still what is nearest to all points of a cluster. A centroid
keeps it as long as it has opaque points. Sums (kinds, k, d + 1) are of Σ weight · (x, 1): first of
all points and then, where there are two kinds, of the opaque ones alone. So are losses (kinds, k).

Kernels take `channels`, a tuple of d anythings: its length is known when they are
compiled, so loops over the channels unroll.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._heap import heapify, pop
from kmq.kernels._jit import UP_TO_4, fma, inlined, kernel

LANES = 16
"""Centroids bounded side by side."""

BUFFERS = "(f4[:, :], i4[:], f4[:, :], f4[:], f4[:], f4[:, :], i4[:], f4[:], i4[:])"
"""Types of the buffers that `_label` names."""

_MANY = 1024
"""Centroids from which on they are chosen for a family of blocks first, then for each block."""

_FAMILY = 16
"""Blocks of a family at most."""


def buffer_rows(k: int) -> int:
    """Return the rows of the centroid buffers for k centroids: full lanes and a full group."""
    return (k // LANES + 2) * LANES


@inlined
def _middle(n_opaque, buffers, first, last):
    """Return where blocks first … last - 1 of opaque points end, and those of others start."""
    block_size = buffers[-1].size
    return min(max((n_opaque + block_size - 1) // block_size, first), last)


@inlined
def _place(block, block_size, n, n_opaque):
    """Return where a block of points starts and its size; each has points of one kind."""
    n_blocks = (n_opaque + block_size - 1) // block_size
    if block < n_blocks:
        start = block * block_size
        return start, min(block_size, n_opaque - start)
    start = n_opaque + (block - n_blocks) * block_size
    return start, min(block_size, n - start)


@kernel("f4[:, :], i8, i8, f4[:, :], f4[:, :]")
def bound_blocks(columns, n_opaque, block_size, out_low, out_high):
    """Write the corners (blocks, d) of the box of each block of up to `block_size` points."""
    for c in range(columns.shape[0]):
        for block in range(out_low.shape[0]):
            start, size = _place(block, block_size, columns.shape[1], n_opaque)
            column = columns[c, start : start + size]
            low = high = column[0]
            for i in range(column.size):
                low = min(low, column[i])
                high = max(high, column[i])
            out_low[block, c] = low
            out_high[block, c] = high


@kernel("f4[:, :], f8[:], f8[:, :], f8[:], f8[:]")
def moments(columns, weights, lanes, out_sums, out_squares):
    """Write Σ weight · x and Σ weight · x² of each channel; `lanes` (2, LANES) float64 is scratch.

    The lanes are added in an order that no library or machine changes.
    """
    for c in range(columns.shape[0]):
        for lane in range(LANES):
            lanes[0, lane] = lanes[1, lane] = 0.0
        for start in range(0, weights.size, LANES):
            column = columns[c, start : start + LANES]
            column_weights = weights[start : start + LANES]
            for lane in range(column.size):
                product = column_weights[lane] * column[lane]
                lanes[0, lane] += product
                lanes[1, lane] += product * column[lane]
        out_sums[c] = out_squares[c] = 0.0
        for lane in range(LANES):
            out_sums[c] += lanes[0, lane]
            out_squares[c] += lanes[1, lane]


@inlined
def _clear(rows, k):
    """Zero the first k rows (a slice assignment takes ten times as long to compile)."""
    for j in range(k):
        for c in range(rows.shape[1]):
            rows[j, c] = 0


@inlined
def _copy(rows, k, out_rows):
    """Copy the first k rows."""
    for j in range(k):
        for c in range(rows.shape[1]):
            out_rows[j, c] = rows[j, c]


@inlined
def _opacity(columns, n_opaque):
    """Return the last coordinate of opaque points; NaN, which nothing equals, if there is one kind
    of points."""
    return columns[columns.shape[0] - 1, 0] if n_opaque > 0 else np.float32(np.nan)


@inlined
def _is_opaque(centroid, opacity):
    return np.float32(centroid[centroid.size - 1]) == opacity


@inlined
def _has_opaque(sums, j):
    """Return whether opaque points are nearest to centroid j, which is opaque then."""
    return sums.shape[0] > 1 and sums[1, j, sums.shape[2] - 1] > 0


@inlined
def _add_kinds(sums, k):
    """Add the sums of opaque points to the others', so that those are of all."""
    if sums.shape[0] > 1:
        for j in range(k):
            for c in range(sums.shape[2]):
                sums[0, j, c] += sums[1, j, c]


@inlined
def _as_columns(channels, centroids, k, all_of_them, opacity, out_columns):
    """Write centroids as float32 columns, infinitely far from k to the end, and unless
    `all_of_them` are asked for, where they are not opaque."""
    for j in range(out_columns.shape[1]):
        near = j < k and (all_of_them or _is_opaque(centroids[j], opacity))
        for c in range(len(channels)):
            out_columns[c, j] = centroids[j, c] if near else np.inf


@inlined
def _smallest(numbers, n, place):
    """Return the smallest, or with `place` 2 the second smallest, of n numbers that are 0 or more.

    Bits of such floats order as whole numbers, of which minima become vectors.
    """
    top = np.float32(np.inf).view(np.int32)
    least = top
    for j in range(n):
        least = min(least, np.float32(numbers[j]).view(np.int32))
    if place == 2:
        beyond, count = top, 0
        for j in range(n):
            bits = np.float32(numbers[j]).view(np.int32)
            count += bits == least
            beyond = min(beyond, bits if bits > least else top)
        least = least if count > 1 else beyond
    return np.int32(least).view(np.float32)


@inlined
def _choose(channels, columns, k, low, high, within, n_nearest, near, far, out_rows, out_ids):
    """Write the rows and numbers of the centroids that may be among the len(n_nearest), 1 or 2,
    nearest of a point in the box; fill the last group of four up; return how many there are.

    `within` is a squared distance in which all points have as many, or infinite."""
    size = (k + LANES - 1) // LANES * LANES
    for j in range(size):
        near[j] = 0
        far[j] = 0
    for c in range(len(channels)):
        column, least, most = columns[c], low[c], high[c]
        for j in range(size):
            outside = max(max(least - column[j], column[j] - most), np.float32(0))
            across = max(most - column[j], column[j] - least)
            near[j] = fma(outside, outside, near[j])
            far[j] = fma(across, across, far[j])
    # The margin is ten times what rounding to float32 can add up to.
    bound = min(_smallest(far, size, len(n_nearest)), within) * np.float32(1.00001)
    count = 0
    for j in range(k):
        out_ids[count] = j
        count += near[j] <= bound
    for j in range(count):
        for c in range(len(channels)):
            out_rows[j, c] = columns[c, out_ids[j]]
    for j in range(count, (count + 3) // 4 * 4):
        for c in range(len(channels)):
            out_rows[j, c] = np.inf
    return count


@inlined
def _most(channels, columns, start, size, centroid_columns, k, n_nearest, before):
    """Return the largest squared distance of a point to the centroid that it had `before`, or, of
    two, to the nearest other one of its neighbours: its nearest ones are no farther."""
    most = np.float32(0 if before.size else np.inf)
    for i in range(start, start + size if before.size else start):
        own = before[i] if before[i] < k else 0
        bound = _between(channels, columns, i, centroid_columns, own)
        if len(n_nearest) == 2:
            further = np.float32(np.inf)
            for neighbour in range(max(i - 4, 0), min(i + 5, before.size)):
                other = before[neighbour] if before[neighbour] < k else 0
                if other != own:
                    distance = _between(channels, columns, i, centroid_columns, other)
                    further = min(further, distance)
            bound = max(bound, further)
        most = max(most, bound)
    return most


@inlined
def _between(channels, columns, i, centroid_columns, j):
    distance = np.float32(0)
    for c in range(len(channels)):
        u = columns[c, i] - centroid_columns[c, j]
        distance = fma(u, u, distance)
    return distance


@inlined
def _choose_for_family(
    channels, columns, n_opaque, block, low, high, k, n_nearest, before, buffers
):
    """Write the columns and numbers of the centroids that may be nearest in a block or those after
    it that are of its family; how many there are stands after k numbers."""
    family_columns, family_ids, centroid_columns, near, far, rows, ids, distances, labels = buffers
    n_blocks = (n_opaque + labels.size - 1) // labels.size
    end = min((block // _FAMILY + 1) * _FAMILY, n_blocks if block < n_blocks else low.shape[0])
    d = len(channels)
    lowest, highest = distances[:d], distances[d : 2 * d]  # not in use yet
    most = np.float32(0)
    for c in range(d):
        lowest[c], highest[c] = low[block, c], high[block, c]
    for other in range(block, end):
        start, size = _place(other, labels.size, columns.shape[1], n_opaque)
        part = _most(channels, columns, start, size, centroid_columns, k, n_nearest, before)
        most = max(most, part)
        for c in range(d):
            lowest[c] = min(lowest[c], low[other, c])
            highest[c] = max(highest[c], high[other, c])
    count = _choose(
        channels, centroid_columns, k, lowest, highest, most, n_nearest, near, far, rows, ids
    )
    for j in range(count):
        family_ids[j] = ids[j]
        for c in range(d):
            family_columns[c, j] = rows[j, c]
    for j in range(count, (count + LANES - 1) // LANES * LANES):
        for c in range(d):
            family_columns[c, j] = np.inf
    family_ids[k] = count


@inlined
def _nearest(channels, columns, start, size, rows, count, n_nearest, distances, seconds, labels):
    """Write the distance to the nearest of the first `count` rows, and which row it is; with two
    `n_nearest`, the distance to the second nearest as well."""
    d, two = len(channels), len(n_nearest) == 2
    y, z, w = min(1, d - 1), min(2, d - 1), min(3, d - 1)  # in bounds, and unused where not needed
    # Slices, since an index that is a sum could be negative, and that would stop vectorisation.
    xs, ys = columns[0, start : start + size], columns[y, start : start + size]
    zs, ws = columns[z, start : start + size], columns[w, start : start + size]
    for i in range(size):
        distances[i] = np.inf
        labels[i] = 0
        if two:
            seconds[i] = np.inf
    for j in range(0, count, 4):
        # Named scalars: read inside the loop, the stores to `distances` would force reloads.
        j0, j1, j2, j3 = np.int32(j), np.int32(j + 1), np.int32(j + 2), np.int32(j + 3)
        x0, x1, x2, x3 = rows[j, 0], rows[j + 1, 0], rows[j + 2, 0], rows[j + 3, 0]
        y0, y1, y2, y3 = rows[j, y], rows[j + 1, y], rows[j + 2, y], rows[j + 3, y]
        z0, z1, z2, z3 = rows[j, z], rows[j + 1, z], rows[j + 2, z], rows[j + 3, z]
        w0, w1, w2, w3 = rows[j, w], rows[j + 1, w], rows[j + 2, w], rows[j + 3, w]
        for i in range(size):
            x = xs[i]
            u0, u1, u2, u3 = x - x0, x - x1, x - x2, x - x3
            d0, d1, d2, d3 = u0 * u0, u1 * u1, u2 * u2, u3 * u3
            if d > 1:
                x = ys[i]
                u0, u1, u2, u3 = x - y0, x - y1, x - y2, x - y3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
            if d > 2:
                x = zs[i]
                u0, u1, u2, u3 = x - z0, x - z1, x - z2, x - z3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
            if d > 3:
                x = ws[i]
                u0, u1, u2, u3 = x - w0, x - w1, x - w2, x - w3
                d0, d1, d2, d3 = fma(u0, u0, d0), fma(u1, u1, d1), fma(u2, u2, d2), fma(u3, u3, d3)
            least, label = distances[i], labels[i]
            if two:
                second = min(seconds[i], max(least, d0))
                second = min(second, max(min(least, d0), d1))
                second = min(second, max(min(min(least, d0), d1), d2))
                seconds[i] = min(second, max(min(min(min(least, d0), d1), d2), d3))
            label = j0 if d0 < least else label
            least = d0 if d0 < least else least
            label = j1 if d1 < least else label
            least = d1 if d1 < least else least
            label = j2 if d2 < least else label
            least = d2 if d2 < least else least
            label = j3 if d3 < least else label
            least = d3 if d3 < least else least
            distances[i] = least
            labels[i] = label


@inlined
def _label(
    channels, columns, n_opaque, block, is_first, low, high, centroids, k, n_nearest, before,
    buffers, seconds,
):  # fmt: skip
    """Label the points of a block by rows of the centroids that were chosen for it.

    Leave distances, labels and the rows' centroid numbers in `buffers`, and with two `n_nearest`
    the distances to the second nearest in `seconds`. Return where the block starts and its size.
    Centroids are made columns for the first block of a call, and of a kind.
    """
    family_columns, family_ids, centroid_columns, near, far, rows, ids, distances, labels = buffers
    start, size = _place(block, labels.size, columns.shape[1], n_opaque)
    if is_first or start == n_opaque:
        opacity = _opacity(columns, n_opaque)
        _as_columns(channels, centroids, k, start >= n_opaque, opacity, centroid_columns)
    if k < _MANY:
        count = _choose(
            channels, centroid_columns, k, low[block], high[block], np.float32(np.inf), n_nearest,
            near, far, rows, ids,
        )  # fmt: skip
    else:
        if is_first or start == n_opaque or block % _FAMILY == 0:
            _choose_for_family(
                channels, columns, n_opaque, block, low, high, k, n_nearest, before, buffers
            )
        most = _most(channels, columns, start, size, centroid_columns, k, n_nearest, before)
        count = _choose(
            channels, family_columns, family_ids[k], low[block], high[block], most, n_nearest, near,
            far, rows, ids,
        )  # fmt: skip
        for j in range(count):
            ids[j] = family_ids[ids[j]]
    _nearest(channels, columns, start, size, rows, count, n_nearest, distances, seconds, labels)
    return start, size


@kernel(
    "channels, f4[:, :], i8, i8, i8, f4[:, :], f4[:, :], f8[:, :], i8, places, i4[:], buffers,"
    "f4[:], i4[:], f4[:], f4[:]",
    channels=UP_TO_4,
    places=("(i8,) * 1", "(i8,) * 2"),
    buffers=BUFFERS,
)
def assign_blocks(
    channels, columns, n_opaque, first, last, low, high, centroids, k, n_nearest, before, buffers,
    seconds, out_labels, out_distances, out_seconds,
):  # fmt: skip
    """Write the label, and unless `out_distances` is empty the distance, of each point of the
    blocks first … last - 1; with two `n_nearest`, the distance to the second nearest as well.

    `before` (n,) are labels of an earlier round, for points of one kind, or empty. They may be
    `out_labels` itself. `seconds` is scratch for a block.
    """
    _, _, _, _, _, _, ids, distances, labels = buffers
    for block in range(first, last):
        start, size = _label(
            channels, columns, n_opaque, block, block == first, low, high, centroids, k, n_nearest,
            before, buffers, seconds,
        )  # fmt: skip
        block_labels = out_labels[start : start + size]
        for i in range(size):
            block_labels[i] = ids[labels[i]]
        if out_distances.size:
            block_distances = out_distances[start : start + size]
            for i in range(size):
                block_distances[i] = distances[i]
        if len(n_nearest) == 2:
            block_seconds = out_seconds[start : start + size]
            for i in range(size):
                block_seconds[i] = seconds[i]


@kernel("channels, f4[:, :], f8[:], i8, i4[:], f8[:, :, :]", channels=UP_TO_4)
def sum_by_label(channels, columns, weights, n_opaque, labels, out_sums):
    """Add weight · (x, 1) of each point to its kind's sums, as `sum_blocks`, of its label."""
    d = len(channels)
    for i in range(labels.size):
        row = out_sums[1 if i < n_opaque else 0, labels[i]]
        for c in range(d):
            row[c] += weights[i] * columns[c, i]
        row[d] += weights[i]


@kernel(
    "channels, f4[:, :], f8[:], f8[:, :], i4[:], f4[:], f4[:], f8[:], f8[:, :], f8[:, :]",
    channels=UP_TO_4,
)
def measure_by_label(
    channels, columns, weights, centroids, labels, distances, seconds, out_losses, out_squares,
    out_sums,
):  # fmt: skip
    """Add up what `measure` writes, of points of one kind, and return their inertia; no losses if
    there are no `seconds`."""
    d = len(channels)
    inertia = 0.0
    for i in range(labels.size):
        label, weight = labels[i], weights[i]
        inertia += weight * distances[i]
        if seconds.size:
            out_losses[label] += weight * (seconds[i] - distances[i])
        for c in range(d):
            x = columns[c, i]
            u = x - centroids[label, c]
            out_squares[label, c] += weight * u * u
            out_sums[label, c] += weight * x
        out_sums[label, d] += weight
    return inertia


@kernel("i4[:], b1[:]")
def find_used(labels, out_used):
    """Set which centroids are the label of some point."""
    for i in range(labels.size):
        out_used[labels[i]] = True


@inlined
def _sum_kind(
    channels, columns, weights, n_opaque, first, last, low, high, centroids, k, before, buffers,
    out_sums,
):  # fmt: skip
    """Do as `sum_blocks` does with blocks of one kind."""
    d = len(channels)
    y, z, w = min(1, d - 1), min(2, d - 1), min(3, d - 1)
    _, _, _, _, _, _, ids, distances, labels = buffers
    for block in range(first, last):
        start, size = _label(
            channels, columns, n_opaque, block, block == first, low, high, centroids, k, (0,),
            before, buffers, distances,
        )  # fmt: skip
        if before.size:
            block_before = before[start : start + size]
            for i in range(size):
                block_before[i] = ids[labels[i]]
        xs, ys = columns[0, start : start + size], columns[y, start : start + size]
        zs, ws = columns[z, start : start + size], columns[w, start : start + size]
        block_weights = weights[start : start + size]
        run = labels[0]
        x_sum = y_sum = z_sum = w_sum = total = 0.0
        for i in range(size + 1):
            if i == size or labels[i] != run:
                row = out_sums[ids[run]]
                row[0] += x_sum
                if d > 1:
                    row[1] += y_sum
                if d > 2:
                    row[2] += z_sum
                if d > 3:
                    row[3] += w_sum
                row[d] += total
                x_sum = y_sum = z_sum = w_sum = total = 0.0
                if i == size:
                    break
                run = labels[i]
            weight = block_weights[i]
            x_sum += weight * xs[i]
            y_sum += weight * ys[i]
            z_sum += weight * zs[i]
            w_sum += weight * ws[i]
            total += weight


@kernel(
    "channels, f4[:, :], f8[:], i8, i8, i8, f4[:, :], f4[:, :], f8[:, :], i8, i4[:], buffers,"
    "f8[:, :, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def sum_blocks(
    channels, columns, weights, n_opaque, first, last, low, high, centroids, k, labels, buffers,
    out_sums,
):  # fmt: skip
    """Add weight · (x, 1) of each point of the blocks to its kind's sums, (kinds, k, d + 1), of its
    nearest centroid: those of opaque points are the second.

    `labels` (n,) are those of the last round, any numbers from 0 at first, and are written where
    points are of one kind; with many centroids few are far from where they were.

    Neighbours in Morton order mostly share their centroid: a run of them is added up in registers,
    which took a third off a round against adding each to memory.
    """
    middle = _middle(n_opaque, buffers, first, last)
    _sum_kind(
        channels, columns, weights, n_opaque, middle, last, low, high, centroids, k,
        labels[: 0 if n_opaque else labels.size], buffers, out_sums[0],
    )  # fmt: skip
    if out_sums.shape[0] > 1:
        _sum_kind(
            channels, columns, weights, n_opaque, first, middle, low, high, centroids, k,
            labels[:0], buffers, out_sums[1],
        )  # fmt: skip


@kernel("channels, f8[:, :, :], i8, i8, f8, f8[:, :], f8[:, :]", channels=UP_TO_4)
def move(channels, sums, k, n_fixed, momentum, centroids, velocity):
    """Move each centroid towards the mean of its points, on top of what is left of its last move.

    The first `n_fixed` stay, and so does the last coordinate of one that has opaque points. Return
    by how much Σ weight · |x|² exceeds the inertia with the means (and with what stays as it is).
    """
    d = len(channels)
    explained = 0.0
    for j in range(k):
        weight = sums[0, j, d]
        n_free = 0 if j < n_fixed else d - _has_opaque(sums, j)
        if weight > 0:
            for c in range(d):
                centroid = centroids[j, c]
                if c >= n_free:
                    explained += centroid * (2 * sums[0, j, c] - weight * centroid)
                else:
                    mean = sums[0, j, c] / weight
                    explained += mean * sums[0, j, c]
                    velocity[j, c] = momentum * velocity[j, c] + (mean - centroid)
                    centroids[j, c] = centroid + velocity[j, c]
    return explained


@inlined
def _means(channels, sums, k, n_fixed, out_centroids):
    d = len(channels)
    for j in range(n_fixed, k):
        weight = sums[0, j, d]
        if weight > 0:
            for c in range(d - _has_opaque(sums, j)):
                out_centroids[j, c] = sums[0, j, c] / weight


@kernel(
    "channels, f4[:, :], f8[:], i8, f4[:, :], f4[:, :], i8, i8, i8, f8, f8, f8, i4[:], buffers,"
    "f8[:, :, :], f8[:, :], f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def lloyd(
    channels, columns, weights, n_opaque, low, high, k, n_fixed, max_rounds, patience, total,
    momentum, labels, buffers, sums, centroids, velocity,
):  # fmt: skip
    """Run Lloyd's rounds with momentum until one lowers the inertia by less than `patience` of it,
    at most `max_rounds`; end on plain means. `total` is Σ weight · |x|²."""
    if max_rounds == 0:
        return
    _clear(velocity, k)
    before = -np.inf
    for _ in range(max_rounds):
        for which in range(sums.shape[0]):
            _clear(sums[which], k)
        sum_blocks(
            channels,
            columns,
            weights,
            n_opaque,
            np.int64(0),
            low.shape[0],
            low,
            high,
            centroids,
            k,
            labels,
            buffers,
            sums,
        )
        _add_kinds(sums, k)
        explained = move(channels, sums, k, n_fixed, momentum, centroids, velocity)
        if explained < before:  # overshot: go on without momentum
            _clear(velocity, k)
        elif explained - before <= patience * (total - explained):
            break
        before = explained
    _means(channels, sums, k, n_fixed, centroids)


@inlined
def _measure_kind(
    channels, columns, weights, n_opaque, first, last, low, high, centroids, k, buffers, seconds,
    out_labels, out_losses, out_squares, out_sums,
):  # fmt: skip
    """Add up what `measure` writes, of blocks of one kind, and return their inertia."""
    d = len(channels)
    _, _, _, _, _, _, ids, distances, labels = buffers
    inertia = 0.0
    for block in range(first, last):
        start, size = _label(
            channels, columns, n_opaque, block, block == first, low, high, centroids, k, (0, 0),
            out_labels[: 0 if n_opaque else out_labels.size], buffers, seconds,
        )  # fmt: skip
        block_weights, block_labels = (
            weights[start : start + size],
            out_labels[start : start + size],
        )
        for i in range(size):
            label = ids[labels[i]]
            weight = block_weights[i]
            block_labels[i] = label
            out_losses[label] += weight * (seconds[i] - distances[i])
            inertia += weight * distances[i]
            centroid, sums, squares = centroids[label], out_sums[label], out_squares[label]
            for c in range(d):
                x = columns[c, start + i]
                u = x - centroid[c]
                squares[c] += weight * u * u
                sums[c] += weight * x
            sums[d] += weight
    return inertia


@kernel(
    "channels, f4[:, :], f8[:], i8, f4[:, :], f4[:, :], f8[:, :], i8, buffers, f4[:], i4[:],"
    "f8[:, :], f8[:, :], f8[:, :, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def measure(
    channels, columns, weights, n_opaque, low, high, centroids, k, buffers, seconds,
    out_labels, out_losses, out_squares, out_sums,
):  # fmt: skip
    """Assign each point, and write of each cluster: the loss if its centroid were gone and its
    points went to the second nearest; its squares along each channel; its sums. Return the
    inertia."""
    n_blocks = low.shape[0]
    middle = _middle(n_opaque, buffers, 0, n_blocks)
    _clear(out_squares, k)
    _clear(out_losses, out_losses.shape[0])
    for kind in range(out_sums.shape[0]):
        _clear(out_sums[kind], k)
    inertia = _measure_kind(
        channels, columns, weights, n_opaque, middle, n_blocks, low, high, centroids, k, buffers,
        seconds, out_labels, out_losses[0], out_squares, out_sums[0],
    )  # fmt: skip
    if out_sums.shape[0] > 1:
        inertia += _measure_kind(
            channels, columns, weights, n_opaque, 0, middle, low, high, centroids, k, buffers,
            seconds, out_labels, out_losses[1], out_squares, out_sums[1],
        )  # fmt: skip
        for j in range(k):
            out_losses[0, j] += out_losses[1, j]
    _add_kinds(out_sums, k)
    return inertia


@inlined
def _largest(numbers, n):
    """Return which of the first `n` numbers is largest, the first of equals."""
    largest = 0
    for i in range(1, n):
        if numbers[i] > numbers[largest]:
            largest = i
    return largest


@inlined
def _off(weight, last_sum, opacity):
    """Return what a cluster's error grows by if its centroid is opaque."""
    return weight * (last_sum / weight - opacity) ** 2


@kernel(
    "channels, f4[:, :], f8[:], i8, i4[:], i8, i8, i8, f8[:, :], f8[:, :, :], i8[:], f8[:, :],"
    "f8[:], b1[:, :], f8[:, :]",
    channels=UP_TO_4,
)
def split(
    channels, columns, weights, n_opaque, labels, k, n_fixed, n_new, squares, sums, axes, halves,
    gains, flags, out,
):  # fmt: skip
    """Cut the clusters that gain most in two, at the mean of the channel of largest variance.

    Write the means of the halves in place of the cluster's centroid in `out` (unless it is one of
    the first `n_fixed`) and after the k there are, opaque ones of halves that have opaque points;
    return how many were cut, at most `n_new`.
    """
    d = len(channels)
    all_sums, opacity = sums[0], _opacity(columns, n_opaque)
    lower_opaque, upper_opaque = flags[0], flags[1]
    for j in range(k):
        axes[j] = _largest(squares[j], d)
        lower_opaque[j] = upper_opaque[j] = False
    _clear(halves, k)
    for i in range(labels.size):
        j = labels[i]
        if columns[axes[j], i] * all_sums[j, d] > all_sums[j, axes[j]]:
            for c in range(d):
                halves[j, c] += weights[i] * columns[c, i]
            halves[j, d] += weights[i]
            upper_opaque[j] |= i < n_opaque
        else:
            lower_opaque[j] |= i < n_opaque
    for j in range(k):
        upper, lower = halves[j, d], all_sums[j, d] - halves[j, d]
        gains[j] = 0.0
        if upper > 0 and lower > 0:
            for c in range(d):
                gap = halves[j, c] / upper - (all_sums[j, c] - halves[j, c]) / lower
                gains[j] += gap * gap
            gains[j] *= upper * lower / all_sums[j, d]
            last, upper_last = all_sums[j, d - 1], halves[j, d - 1]
            if _has_opaque(sums, j):
                gains[j] += _off(upper + lower, last, opacity)
            if upper_opaque[j]:
                gains[j] -= _off(upper, upper_last, opacity)
            if lower_opaque[j]:
                gains[j] -= _off(lower, last - upper_last, opacity)
    for j in range(k):
        axes[j] = j
    heapify(gains, axes, k)
    count = 0
    while count < min(n_new, k):
        j = pop(gains, axes, k - count)
        if not gains[j] > 0:
            break
        for c in range(d):
            out[k + count, c] = halves[j, c] / halves[j, d]
            if j >= n_fixed:
                out[j, c] = (all_sums[j, c] - halves[j, c]) / (all_sums[j, d] - halves[j, d])
        if upper_opaque[j]:
            out[k + count, d - 1] = opacity
        if lower_opaque[j] and j >= n_fixed:
            out[j, d - 1] = opacity
        count += 1
    return count


@inlined
def _neighbour(channels, centroids, k, chosen, gone, opacity):
    """Return the centroid nearest to the chosen one, of those that are not gone: what its points
    fall back on. An opaque one has opaque neighbours alone."""
    nearest, least = chosen, np.inf
    any_kind = not _is_opaque(centroids[chosen], opacity)
    for j in range(k):
        if j != chosen and not gone[j] and (any_kind or _is_opaque(centroids[j], opacity)):
            distance = 0.0
            for c in range(len(channels)):
                distance += (centroids[j, c] - centroids[chosen, c]) ** 2
            if distance < least:
                nearest, least = j, distance
    return nearest


@kernel(
    "channels, f4[:, :], i8, i8, i8, f8[:, :], f8[:, :, :], f8[:], b1[:, :], f8[:, :]",
    channels=UP_TO_4,
)
def release(channels, columns, n_opaque, k, n_fixed, losses, sums, gains, flags, centroids):
    """Let centroids be translucent where that gains more than their opaque points lose, which go to
    the second nearest opaque ones; these stay. Return whether there were any."""
    d = len(channels)
    opacity = _opacity(columns, n_opaque)
    gone, kept = flags[0], flags[1]
    for j in range(k):
        gone[j] = kept[j] = False
        gains[j] = 0.0
        if j >= n_fixed and _has_opaque(sums, j) and sums[0, j, d] > sums[1, j, d]:
            gains[j] = _off(sums[0, j, d], sums[0, j, d - 1], opacity) - losses[1, j]
    released = False
    while True:
        j = _largest(gains, k)
        if not gains[j] > 0:
            return released
        gains[j] = 0.0
        if not kept[j]:
            kept[_neighbour(channels, centroids, k, j, gone, opacity)] = True
            for c in range(d):
                translucent = sums[0, j, c] - sums[1, j, c]
                centroids[j, c] = translucent / (sums[0, j, d] - sums[1, j, d])
            released = True


@inlined
def _sort_by_first_channel(centroids, k, keys, ids, out_places):
    """Write the numbers of k centroids in the order of their first channel, the greatest first, and
    the place of each."""
    for j in range(k):
        ids[j] = j
        keys[j] = -centroids[j, 0]
    heapify(keys, ids, k)
    for size in range(k, 0, -1):
        out_places[pop(keys, ids, size)] = size - 1


@inlined
def _neighbour_in_order(channels, centroids, k, chosen, gone, opacity, ids, places):
    """Do as `_neighbour`, from the chosen centroid's place on, in both directions, as far as others
    can be nearer in the first channel."""
    nearest, least = chosen, np.inf
    any_kind = not _is_opaque(centroids[chosen], opacity)
    for step in (-1, 1):
        place = places[chosen] + step
        while 0 <= place < k:
            j = ids[place]
            if (centroids[j, 0] - centroids[chosen, 0]) ** 2 > least:
                break
            if not gone[j] and (any_kind or _is_opaque(centroids[j], opacity)):
                distance = 0.0
                for c in range(len(channels)):
                    distance += (centroids[j, c] - centroids[chosen, c]) ** 2
                if distance < least or (distance == least and j < nearest):
                    nearest, least = j, distance
            place += step
    return nearest


@kernel(
    "channels, i8, i8, i8, f4, f8[:], f8[:], i8[:], b1[:, :], i4[:], f8[:, :]",
    channels=UP_TO_4,
)
def drop(channels, k, n_fixed, n_gone, opacity, losses, gains, axes, flags, labels, out):
    """Take out the `n_gone` of k centroids that are missed least, and not the neighbour of one that
    goes as long as there are others. The first `n_fixed` stay, and so does the last opaque one.

    Labels are renumbered. `gains` and `axes` are scratch."""
    gone, kept = flags[0], flags[1]
    rows = gains.size
    heap, ids, places = axes[:rows], axes[rows : 2 * rows], axes[2 * rows :]
    _sort_by_first_channel(out, k, gains, ids, places)
    n_opaque = 0
    for j in range(k):
        gone[j] = False
        kept[j] = j < n_fixed
        n_opaque += _is_opaque(out[j], opacity)
        gains[j] = -losses[j]
    size = 0
    for _ in range(n_gone):
        chosen = -1
        while chosen < 0:
            if size == 0:  # at first; or all that are left are neighbours of some that go
                for j in range(k):
                    kept[j] = j < n_fixed
                    heap[size] = j
                    size += not gone[j]
                heapify(gains, heap, size)
            j = pop(gains, heap, size)
            size -= 1
            if not (kept[j] or (n_opaque == 1 and _is_opaque(out[j], opacity))):
                chosen = j
        gone[chosen] = True
        n_opaque -= _is_opaque(out[chosen], opacity)
        kept[_neighbour_in_order(channels, out, k, chosen, gone, opacity, ids, places)] = True
    count = 0
    for j in range(k):
        ids[j] = count
        if not gone[j]:
            for c in range(len(channels)):
                out[count, c] = out[j, c]
            count += 1
    for i in range(labels.size):
        labels[i] = ids[labels[i]]


@kernel(
    "channels, f4[:, :], f8[:], i8, f4[:, :], f4[:, :], i8, i8, i8, i8, f8, i8, i8, f8, f8, f8,"
    "buffers, f4[:], i4[:], f8[:, :], f8[:, :], f8[:, :, :], i8[:], f8[:, :], f8[:], b1[:, :],"
    "f8[:, :], f8[:, :], f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def breathe(
    channels, columns, weights, n_opaque, low, high, k, n_fixed, breath, last_breath, repeat_below,
    start_rounds, rounds, patience, total, momentum, buffers, seconds, labels, losses, squares,
    sums, axes, halves, gains, flags, velocity, centroids, out_centroids,
):  # fmt: skip
    """Improve k centroids by breathing k-means (Fritzke 2020) and return the inertia.

    `centroids` (k + breath, d) starts with k in its first rows, the first `n_fixed` of which stay
    as they are. Breathe in: cut the clusters that gain most in two. Breathe out: drop as many
    centroids, those that are missed least. After each, a few rounds of Lloyd's algorithm with
    momentum. Keep what is better. Halve the breath unless it left at most `repeat_below` of the
    error, and end below `last_breath`. Where the paper adds centroids near those with the largest
    error, cutting takes fewer rounds to settle; halving the breath, from k / 16, takes a third
    fewer than stepping down from 5 for the same quality.
    """
    inertia = np.inf
    added = 0
    restored = released = False
    rounds_now = start_rounds
    while True:  # one place each for rounds and measure: they are most of what is compiled
        lloyd(
            channels, columns, weights, n_opaque, low, high, k + added, n_fixed, rounds_now,
            patience, total, momentum, labels, buffers, sums, centroids, velocity,
        )  # fmt: skip
        now = measure(
            channels, columns, weights, n_opaque, low, high, centroids, k + added, buffers, seconds,
            labels, losses, squares, sums,
        )  # fmt: skip
        if added == 0 and n_opaque > 0 and not (restored or released):
            released = release(
                channels, columns, n_opaque, k, n_fixed, losses, sums, gains, flags, centroids
            )
            if released:
                continue
        released = False
        rounds_now = rounds
        if added > 0:
            opacity = _opacity(columns, n_opaque)
            drop(
                channels, k + added, n_fixed, added, opacity, losses[0], gains, axes, flags, labels,
                centroids,
            )  # fmt: skip
            added = 0
            continue
        if not restored:
            if now > inertia * repeat_below:
                breath = breath // 2 if breath // 2 >= last_breath else 0
            if now < inertia:
                inertia = now
                _copy(centroids, k, out_centroids)
            elif breath > 0:  # back to the best, to be measured again
                _copy(out_centroids, k, centroids)
                restored = True
                rounds_now = 0
                continue
        restored = False
        if breath == 0:
            break
        added = split(
            channels, columns, weights, n_opaque, labels, k, n_fixed, breath, squares, sums, axes,
            halves, gains, flags, centroids,
        )  # fmt: skip
        if added == 0:
            break
    return inertia
