"""Where k-means starts: greedy k-means++ and variance-based splitting.

k-means++ goes through the points once for each centroid. It compares them with all trials while
they are in the cache, and blocks of points keep their own potentials: so threads can share the
work, and a trial is drawn from a block without a look at the others.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._heap import sift_down, sift_up
from kmq.kernels._jit import inlined, kernel
from kmq.kernels._lanes import (
    lane_count,
    lesser,
    load,
    load_row,
    minus,
    multiply_add,
    plus,
    splat,
    store,
    times,
    total,
    widened,
)
from kmq.kernels._rows import GROUP, distances_to_group

BLOCK = 512
"""Points whose potential is a sum of its own, in an order that never changes."""

SUMS = (0,) * 16
"""As many points of a block are added up side by side."""


@inlined
def _lower(d, tiles, chosen, n_chosen, block, nearest, counted):
    """Have `nearest` of a block count the first `n_chosen` of the points chosen."""
    lanes = lane_count(tiles)
    first = block * (BLOCK // lanes)
    last = min(first + BLOCK // lanes, nearest.size // lanes)
    for number in range(counted[block], n_chosen):
        at = chosen[number] // lanes * d * lanes + chosen[number] % lanes
        for tile in range(first, last):
            x = load(tiles, tile * d * lanes)
            difference = minus(x, splat(tiles[at], x))
            distance = times(difference, difference)
            for c in range(1, d):
                x = load(tiles, (tile * d + c) * lanes)
                difference = minus(x, splat(tiles[at + c * lanes], x))
                distance = multiply_add(difference, difference, distance)
            if number > 0:
                distance = lesser(distance, load(nearest, tile * lanes))
            store(distance, nearest, tile * lanes)
    counted[block] = n_chosen


@inlined
def _weighed(weights, start, distances, at, size):
    """Return Σ weight · distance of points, whose weights begin at `start`, distances at `at`."""
    sums = splat(0.0, load_row(weights, start, SUMS))
    for i in range(0, size, len(SUMS)):
        some = widened(load_row(distances, at + i, SUMS))
        sums = plus(sums, times(load_row(weights, start + i, SUMS), some))
    return total(sums)


@inlined
def _compare(d, first, last, n_chosen, trials, points, chosen, groups, state, out_potentials):
    """Write the potential of each block with the points chosen, and with each trial besides."""
    tiles, weights = points
    nearest, counted, distances = state
    lanes = lane_count(tiles)
    for block in range(first, last):
        _lower(d, tiles, chosen, n_chosen, block, nearest, counted)
        start = block * BLOCK
        size = min(BLOCK, nearest.size - start)
        if trials == 0:
            out_potentials[block, 0] = _weighed(weights, start, nearest, start, size)
        for at in range(start, start + size, lanes if trials > 0 else size):
            for group in range((trials + GROUP - 1) // GROUP):
                d0, d1, d2, d3 = distances_to_group((), d, tiles, at * d, groups, group)
                others = load(nearest, at)
                to = group * GROUP * BLOCK + at - start
                store(lesser(d0, others), distances, to)
                store(lesser(d1, others), distances, to + BLOCK)
                store(lesser(d2, others), distances, to + 2 * BLOCK)
                store(lesser(d3, others), distances, to + 3 * BLOCK)
        for trial in range(trials):
            potential = _weighed(weights, start, distances, trial * BLOCK, size)
            out_potentials[block, trial] = potential


@inlined
def _count_up_to(ascending, size, bound):
    """Return how many of the first numbers are at most `bound`."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= bound:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _best(potentials, trials):
    """Return the trial of the least potential."""
    best, least = 0, np.inf
    for trial in range(trials):
        potential = 0.0
        for block in range(potentials.shape[0]):
            potential += potentials[block, trial]
        if potential < least:
            best, least = trial, potential
    return best


@inlined
def _draw(d, step, n, best, points, uniforms, chosen, state, potentials, cumulative, out_drawn):
    """Draw `n` points with probability weight · squared distance to the nearest chosen one.

    A number of `uniforms` names a block by the potentials of trial `best`, and then a point.
    """
    tiles, weights = points
    nearest, counted, _ = state
    totals, sums = cumulative
    n_blocks = totals.size
    running = 0.0
    for block in range(n_blocks):
        running += potentials[block, best]
        totals[block] = running
    summed = -1
    for trial in range(n):
        bound = uniforms[step, trial] * totals[n_blocks - 1]
        block = min(_count_up_to(totals, n_blocks, bound), n_blocks - 1)
        start = block * BLOCK
        size = min(BLOCK, nearest.size - start)
        if block != summed:
            _lower(d, tiles, chosen, step, block, nearest, counted)
            running, summed = 0.0, block
            for i in range(size):
                running += weights[start + i] * nearest[start + i]
                sums[i] = running
        if block > 0:
            bound -= totals[block - 1]
        i = min(_count_up_to(sums, size, bound), size - 1)
        while i > 0 and sums[i] == sums[i - 1]:  # it adds nothing, or rounding went beyond the end
            i -= 1
        out_drawn[trial] = start + i if sums[i] > 0 else chosen[0]


@inlined
def _propose(d, step, points, uniforms, state, potentials, cumulative, drawn, groups, out_chosen):
    """Keep the best trial of the step before, if it had any, and draw those of this step."""
    tiles, lanes = points[0], lane_count(points[0])
    k, trials = uniforms.shape
    best = 0
    if step > 1 and trials > 1:
        best = _best(potentials, trials)
        out_chosen[step - 1] = drawn[best]
    if step == k:
        return
    n = trials if step > 0 else 1
    _draw(d, step, n, best, points, uniforms, out_chosen, state, potentials, cumulative, drawn)
    out_chosen[step] = drawn[0]
    for trial in range(n):
        for c in range(d):
            at = (drawn[trial] // lanes * d + c) * lanes + drawn[trial] % lanes
            groups[(trial // GROUP * d + c) * GROUP + trial % GROUP] = tiles[at]


@kernel(
    "i8, i8, i8, i8, i8, points, i8[:], T[:], state, f8[:, :]",
    T=("f4", "f8"),
    points="(T[:], f8[:])",
    state="(T[:], i8[:], T[:])",
)
def compare(d, first, last, n_chosen, trials, points, chosen, groups, state, out_potentials):
    """Do a thread's share of a step of `kmeans_plus_plus`: the blocks from `first` to `last`.

    Count the first `n_chosen` points chosen; if there are no trials, write the potential.
    """
    _compare(d, first, last, n_chosen, trials, points, chosen, groups, state, out_potentials)


@kernel(
    "i8, i8, points, f8[:, :], state, f8[:, :], cumulative, i8[:], T[:], i8[:]",
    T=("f4", "f8"),
    points="(T[:], f8[:])",
    state="(T[:], i8[:], T[:])",
    cumulative="(f8[:], f8[:])",
)
def propose(d, step, points, uniforms, state, potentials, cumulative, drawn, groups, out_chosen):
    """Do what lies between two steps of `kmeans_plus_plus`, or what is after the last."""
    _propose(d, step, points, uniforms, state, potentials, cumulative, drawn, groups, out_chosen)


@kernel(
    "i8, points, f8[:, :], state, f8[:, :], cumulative, i8[:], T[:], i8[:]",
    T=("f4", "f8"),
    points="(T[:], f8[:])",
    state="(T[:], i8[:], T[:])",
    cumulative="(f8[:], f8[:])",
)
def kmeans_plus_plus(
    d, points, uniforms, state, potentials, cumulative, drawn, groups, out_chosen
):  # fmt: skip
    """Choose points as starting centroids by greedy k-means++ (Arthur & Vassilvitskii 2007).

    `points` are tiles (tiles, d, lanes), flat, and weights; both are filled up with points of
    weight 0. `uniforms` (k, trials) in [0, 1): each row's trials propose points with probability
    weight · squared distance to the nearest chosen one, and the proposal that lowers the potential
    most is kept. All else is scratch. `state`: the squared distance of each point to the nearest
    one chosen, 1 at first; how many of these it counts, 0 at first, in each block; and distances
    (trials, BLOCK) to each proposal, trials in whole groups. `potentials` (blocks, trials),
    `cumulative`: (blocks,) and (BLOCK,). `drawn` (trials,) and `groups` of GROUP: the proposals.
    """
    k, trials = uniforms.shape
    n_blocks = potentials.shape[0]
    for step in range(-1, k + 1):
        if step >= 0:
            _propose(
                d, step, points, uniforms, state, potentials, cumulative, drawn, groups, out_chosen
            )
        if step < k:
            is_chosen = step < 1 or trials == 1  # what was drawn, without a trial
            n_chosen, n = step + is_chosen, 0 if is_chosen else trials
            _compare(d, 0, n_blocks, n_chosen, n, points, out_chosen, groups, state, potentials)


@inlined
def _moments(points, weights, order, start, stop, out_means):
    """Return the axis of largest weighted variance of a run of points, and its sum of squares."""
    if points.shape[1] == 3:
        return _moments_of_3(points, weights, order, start, stop, out_means)
    d = points.shape[1]
    total = 0.0
    out_means[:] = 0.0
    for position in range(start, stop):
        i = order[position]
        total += weights[i]
        for c in range(d):
            out_means[c] += weights[i] * points[i, c]
    for c in range(d):
        out_means[c] /= total
    axis = 0
    largest = -1.0
    error = 0.0
    for c in range(d):
        squares = 0.0
        for position in range(start, stop):
            i = order[position]
            difference = points[i, c] - out_means[c]
            squares += weights[i] * difference * difference
        error += squares
        if squares > largest:
            largest = squares
            axis = c
    return axis, error


@inlined
def _moments_of_3(points, weights, order, start, stop, out_means):
    """Do as `_moments` in three channels, with sums in registers: a third of the time."""
    total = x_sum = y_sum = z_sum = 0.0
    for position in range(start, stop):
        i = order[position]
        weight, point = weights[i], points[i]
        total += weight
        x_sum += weight * point[0]
        y_sum += weight * point[1]
        z_sum += weight * point[2]
    x, y, z = x_sum / total, y_sum / total, z_sum / total
    out_means[0], out_means[1], out_means[2] = x, y, z
    x_squares = y_squares = z_squares = 0.0
    for position in range(start, stop):
        i = order[position]
        weight, point = weights[i], points[i]
        u, v, w = point[0] - x, point[1] - y, point[2] - z
        x_squares += weight * u * u
        y_squares += weight * v * v
        z_squares += weight * w * w
    axis, largest = 0, x_squares
    if y_squares > largest:
        axis, largest = 1, y_squares
    if z_squares > largest:
        axis = 2
    return axis, x_squares + y_squares + z_squares


@kernel("T[:, :], f8[:], i8[:], i8[:, :], i8[:], i8[:], f8[:], f8[:, :]", T=("f4", "f8"))
def split_by_variance(points, weights, order, bounds, axes, heap, errors, out_means):
    """Split the points into k runs of `order` (Var-Part, Su & Dy 2007); return how many there are.

    Again and again the run with the largest sum of squares is cut at its mean, across the axis of
    its largest variance; ties go to the lowest run. Fewer than k runs come back only if no run has
    two distinct points left. `order` (n,) starts as 0 … n - 1; `bounds` (k, 2), `axes` (k,),
    `heap` (k,) and `errors` (k,) are scratch; `out_means` (k, d) are the means of the runs.
    """
    k = out_means.shape[0]
    bounds[0, 0], bounds[0, 1] = 0, order.size
    axes[0], errors[0] = _moments(points, weights, order, 0, order.size, out_means[0])
    count = 1
    heap[0] = 0
    while count < k:
        run = heap[0]
        if not errors[run] > 0:
            break
        start, stop, axis = bounds[run, 0], bounds[run, 1], axes[run]
        mean = out_means[run, axis]
        low, high = start, stop - 1
        while low <= high:
            if points[order[low], axis] <= mean:
                low += 1
            else:
                order[low], order[high] = order[high], order[low]
                high -= 1
        if low in (start, stop):  # all equal but for the rounding of the mean
            errors[run] = 0.0
            sift_down(errors, heap, count, 0)
            continue
        bounds[run, 1] = low
        bounds[count, 0], bounds[count, 1] = low, stop
        axes[run], errors[run] = _moments(points, weights, order, start, low, out_means[run])
        axes[count], errors[count] = _moments(points, weights, order, low, stop, out_means[count])
        sift_down(errors, heap, count, 0)
        heap[count] = count
        sift_up(errors, heap, count)
        count += 1
    return count
