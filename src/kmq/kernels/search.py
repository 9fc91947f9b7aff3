"""k-means on the colours of a picture: rounds that compare few centroids, and a search that goes
on past the first local optimum.

Colours stand in Morton order, so a block of a few hundred lies in a small box, and only centroids
whose least distance to the box is within the smallest greatest distance can be nearest to any
colour in it: a few of 64 centroids, a tenth of 256. The labels are the same as with all of them
(`tests/naive.py:nearest`): the bound has a margin for rounding, centroids keep their order, ties go
to the lowest index. Measured on 117,157 colours, all centroids against few: 0.85 and 0.32 ms a
round at k = 64, 1.99 and 0.61 ms at k = 256.

Points are columns (d, n) float32, d = 1 to 4; centroids are rows (k, d) float64, compared as
float32. Kernels take `channels`, a tuple of d anythings: its length is known when they are
compiled, so loops over the channels unroll.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import UP_TO_4, fma, inlined, kernel

LANES = 16
"""Centroids bounded side by side."""

BUFFERS = "(f4[:, :], f4[:], f4[:], f4[:, :], i4[:], f4[:], i4[:])"
"""Types of the buffers that `_label` names."""


def buffer_rows(k: int) -> int:
    """Return the rows of the centroid buffers for k centroids: full lanes and a full group."""
    return (k // LANES + 2) * LANES


@kernel("f4[:, :], i8, f4[:, :], f4[:, :]")
def bound_blocks(columns, block_size, out_low, out_high):
    """Write the corners (blocks, d) of the box of each block of `block_size` points."""
    for c in range(columns.shape[0]):
        for block in range(out_low.shape[0]):
            column = columns[c, block * block_size : (block + 1) * block_size]
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
def _as_columns(channels, centroids, k, out_columns):
    """Write centroids as float32 columns, infinitely far from k to the end."""
    for c in range(len(channels)):
        for j in range(out_columns.shape[1]):
            out_columns[c, j] = centroids[j, c] if j < k else np.inf


@inlined
def _choose(channels, columns, k, low, high, n_nearest, near, far, out_rows, out_ids):
    """Write the rows and numbers of the centroids that may be among the len(n_nearest), 1 or 2,
    nearest of a point in the box; fill the last group of four up; return how many there are.
    """
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
    first = second = np.float32(np.inf)
    for j in range(size):
        second = min(second, max(first, far[j]))
        first = min(first, far[j])
    # The margin is ten times what rounding to float32 can add up to.
    bound = (first if len(n_nearest) == 1 else second) * np.float32(1.00001)
    count = 0
    for j in range(k):
        out_ids[count] = j
        for c in range(len(channels)):
            out_rows[count, c] = columns[c, j]
        count += near[j] <= bound
    for j in range(count, (count + 3) // 4 * 4):
        for c in range(len(channels)):
            out_rows[j, c] = np.inf
    return count


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
def _label(channels, columns, block, low, high, k, n_nearest, buffers, seconds):
    """Label the points of a block by rows of the centroids that were chosen for it.

    Leave distances, labels and the rows' centroid numbers in `buffers`, and with two `n_nearest`
    the distances to the second nearest in `seconds`; return where the block starts and its size.
    """
    centroid_columns, near, far, rows, ids, distances, labels = buffers
    start = block * labels.size
    size = min(labels.size, columns.shape[1] - start)
    count = _choose(
        channels, centroid_columns, k, low[block], high[block], n_nearest, near, far, rows, ids
    )
    _nearest(channels, columns, start, size, rows, count, n_nearest, distances, seconds, labels)
    return start, size


@kernel(
    "channels, f4[:, :], i8, i8, f4[:, :], f4[:, :], f8[:, :], i8, buffers, i4[:], f4[:]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def assign_blocks(
    channels, columns, first, last, low, high, centroids, k, buffers, out_labels, out_distances
):
    """Write the label, and unless `out_distances` is empty the distance, of each point of the
    blocks first … last - 1."""
    centroid_columns, _, _, _, ids, distances, labels = buffers
    _as_columns(channels, centroids, k, centroid_columns)
    for block in range(first, last):
        start, size = _label(channels, columns, block, low, high, k, (0,), buffers, distances)
        block_labels = out_labels[start : start + size]
        for i in range(size):
            block_labels[i] = ids[labels[i]]
        if out_distances.size:
            block_distances = out_distances[start : start + size]
            for i in range(size):
                block_distances[i] = distances[i]


@kernel(
    "channels, f4[:, :], f8[:], i8, i8, f4[:, :], f4[:, :], f8[:, :], i8, buffers, f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def sum_blocks(channels, columns, weights, first, last, low, high, centroids, k, buffers, out_sums):
    """Add weight · (x, 1) of each point of the blocks to the row of its nearest centroid.

    Neighbours in Morton order mostly share their centroid: a run of them is added up in registers,
    which took a third off a round against adding each to memory.
    """
    d = len(channels)
    y, z, w = min(1, d - 1), min(2, d - 1), min(3, d - 1)
    centroid_columns, _, _, _, ids, distances, labels = buffers
    _as_columns(channels, centroids, k, centroid_columns)
    for block in range(first, last):
        start, size = _label(channels, columns, block, low, high, k, (0,), buffers, distances)
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


@kernel("channels, f8[:, :], i8, i8, f8, f8[:, :], f8[:, :]", channels=UP_TO_4)
def move(channels, sums, k, n_fixed, momentum, centroids, velocity):
    """Move each centroid towards the mean of its points, on top of what is left of its last move.

    The first `n_fixed` stay. Return by how much Σ weight · |x|² exceeds the inertia with the means
    (and with the fixed ones as they are).
    """
    explained = 0.0
    for j in range(k):
        weight = sums[j, len(channels)]
        if weight > 0:
            for c in range(len(channels)):
                centroid = centroids[j, c]
                if j < n_fixed:
                    explained += centroid * (2 * sums[j, c] - weight * centroid)
                else:
                    mean = sums[j, c] / weight
                    explained += mean * sums[j, c]
                    velocity[j, c] = momentum * velocity[j, c] + (mean - centroid)
                    centroids[j, c] = centroid + velocity[j, c]
    return explained


@inlined
def _means(channels, sums, k, n_fixed, out_centroids):
    for j in range(n_fixed, k):
        weight = sums[j, len(channels)]
        if weight > 0:
            for c in range(len(channels)):
                out_centroids[j, c] = sums[j, c] / weight


@kernel(
    "channels, f4[:, :], f8[:], f4[:, :], f4[:, :], i8, i8, i8, f8, f8, f8, buffers, f8[:, :],"
    "f8[:, :], f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def lloyd(
    channels, columns, weights, low, high, k, n_fixed, max_rounds, patience, total, momentum,
    buffers, sums, centroids, velocity,
):  # fmt: skip
    """Run Lloyd's rounds with momentum until one lowers the inertia by less than `patience` of it,
    at most `max_rounds`; end on plain means. `total` is Σ weight · |x|²."""
    if max_rounds == 0:
        return
    _clear(velocity, k)
    before = -np.inf
    for _ in range(max_rounds):
        _clear(sums, k)
        sum_blocks(
            channels,
            columns,
            weights,
            np.int64(0),
            low.shape[0],
            low,
            high,
            centroids,
            k,
            buffers,
            sums,
        )
        explained = move(channels, sums, k, n_fixed, momentum, centroids, velocity)
        if explained < before:  # overshot: go on without momentum
            _clear(velocity, k)
        elif explained - before <= patience * (total - explained):
            break
        before = explained
    _means(channels, sums, k, n_fixed, centroids)


@kernel(
    "channels, f4[:, :], f8[:], f4[:, :], f4[:, :], f8[:, :], i8, buffers, f4[:], i4[:], f8[:],"
    "f8[:, :], f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def measure(
    channels, columns, weights, low, high, centroids, k, buffers, seconds, out_labels,
    out_losses, out_squares, out_sums,
):  # fmt: skip
    """Assign each point, and write of each cluster: the loss if its centroid were gone and its
    points went to the second nearest; its squares along each channel; its sums. Return the
    inertia."""
    d = len(channels)
    centroid_columns, _, _, _, ids, distances, labels = buffers
    _as_columns(channels, centroids, k, centroid_columns)
    for j in range(k):
        out_losses[j] = 0.0
    _clear(out_squares, k)
    _clear(out_sums, k)
    inertia = 0.0
    for block in range(low.shape[0]):
        start, size = _label(channels, columns, block, low, high, k, (0, 0), buffers, seconds)
        for i in range(size):
            label = ids[labels[i]]
            weight = weights[start + i]
            out_labels[start + i] = label
            out_losses[label] += weight * (seconds[i] - distances[i])
            inertia += weight * distances[i]
            for c in range(d):
                x = columns[c, start + i]
                u = x - centroids[label, c]
                out_squares[label, c] += weight * u * u
                out_sums[label, c] += weight * x
            out_sums[label, d] += weight
    return inertia


@inlined
def _largest(numbers, n):
    """Return which of the first `n` numbers is largest, the first of equals."""
    largest = 0
    for i in range(1, n):
        if numbers[i] > numbers[largest]:
            largest = i
    return largest


@kernel(
    "channels, f4[:, :], f8[:], i4[:], i8, i8, i8, f8[:, :], f8[:, :], i8[:], f8[:, :], f8[:],"
    "f8[:, :]",
    channels=UP_TO_4,
)
def split(
    channels, columns, weights, labels, k, n_fixed, n_new, squares, sums, axes, halves, gains, out
):
    """Cut the clusters that gain most in two, at the mean of the channel of largest variance.

    Write the means of the halves in place of the cluster's centroid in `out` (unless it is one of
    the first `n_fixed`) and after the k there are; return how many were cut, at most `n_new`.
    """
    d = len(channels)
    for j in range(k):
        axes[j] = _largest(squares[j], d)
    _clear(halves, k)
    for i in range(labels.size):
        j = labels[i]
        if columns[axes[j], i] * sums[j, d] > sums[j, axes[j]]:
            for c in range(d):
                halves[j, c] += weights[i] * columns[c, i]
            halves[j, d] += weights[i]
    for j in range(k):
        upper, lower = halves[j, d], sums[j, d] - halves[j, d]
        gains[j] = 0.0
        if upper > 0 and lower > 0:
            for c in range(d):
                gap = halves[j, c] / upper - (sums[j, c] - halves[j, c]) / lower
                gains[j] += gap * gap
            gains[j] *= upper * lower / sums[j, d]
    count = 0
    while count < min(n_new, k):  # few of many: a sort would cost more, to compile as well
        j = _largest(gains, k)
        if not gains[j] > 0:
            break
        gains[j] = 0.0
        for c in range(d):
            out[k + count, c] = halves[j, c] / halves[j, d]
            if j >= n_fixed:
                out[j, c] = (sums[j, c] - halves[j, c]) / (sums[j, d] - halves[j, d])
        count += 1
    return count


@inlined
def _drop(channels, k, n_fixed, n_gone, losses, gone, kept, out):
    """Take out the `n_gone` of k centroids that are missed least, and not the nearest neighbour of
    one that goes as long as there are others: it is what its points fall back on. The first
    `n_fixed` stay."""
    for j in range(k):
        gone[j] = False
        kept[j] = j < n_fixed
    for _ in range(n_gone):
        chosen = -1
        for j in range(k):
            if not (gone[j] or kept[j]) and (chosen < 0 or losses[j] < losses[chosen]):
                chosen = j
        if chosen < 0:  # all that are left are neighbours of some that go
            for j in range(n_fixed, k):
                kept[j] = False
            chosen = n_fixed
            while gone[chosen]:
                chosen += 1
        gone[chosen] = True
        nearest = chosen
        least = np.inf
        for j in range(k):
            if not gone[j]:
                distance = 0.0
                for c in range(len(channels)):
                    distance += (out[j, c] - out[chosen, c]) ** 2
                if distance < least:
                    least = distance
                    nearest = j
        kept[nearest] = True
    count = 0
    for j in range(k):
        if not gone[j]:
            for c in range(len(channels)):
                out[count, c] = out[j, c]
            count += 1


@kernel(
    "channels, f4[:, :], f8[:], f4[:, :], f4[:, :], i8, i8, i8, i8, i8, f8, f8, f8, buffers, f4[:],"
    "i4[:], f8[:], f8[:, :], f8[:, :], i8[:], f8[:, :], f8[:], b1[:], b1[:], f8[:, :], f8[:, :],"
    "f8[:, :]",
    channels=UP_TO_4,
    buffers=BUFFERS,
)
def breathe(
    channels, columns, weights, low, high, k, n_fixed, breath, start_rounds, rounds, patience,
    total, momentum, buffers, seconds, labels, losses, squares, sums, axes, halves, gains, gone,
    kept, velocity, centroids, out_centroids,
):  # fmt: skip
    """Improve k centroids by breathing k-means (Fritzke 2020) and return the inertia.

    `centroids` (k + breath, d) starts with k in its first rows, the first `n_fixed` of which stay
    as they are. Breathe in: cut the clusters that gain most in two. Breathe out: drop as many
    centroids, those that are missed least. After each, a few rounds of Lloyd's algorithm with
    momentum. Keep what is better; otherwise halve the breath. Where the paper adds centroids near
    those with the largest error, cutting takes fewer rounds to settle; halving the breath, from
    k / 16, takes a third fewer than stepping down from 5 for the same quality.
    """
    inertia = np.inf
    added = 0
    restored = False
    rounds_now = start_rounds
    while True:  # one place each for rounds and measure: they are most of what is compiled
        lloyd(
            channels, columns, weights, low, high, k + added, n_fixed, rounds_now, patience,
            total, momentum, buffers, sums, centroids, velocity,
        )  # fmt: skip
        now = measure(
            channels, columns, weights, low, high, centroids, k + added, buffers, seconds, labels,
            losses, squares, sums,
        )  # fmt: skip
        rounds_now = rounds
        if added > 0:
            _drop(channels, k + added, n_fixed, added, losses, gone, kept, centroids)
            added = 0
            continue
        if not restored:
            if now > inertia * 0.9999:
                breath //= 2
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
            channels, columns, weights, labels, k, n_fixed, breath, squares, sums, axes, halves,
            gains, centroids,
        )  # fmt: skip
        if added == 0:
            break
    return inertia
