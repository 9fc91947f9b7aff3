"""Where k-means starts: greedy k-means++ and variance-based splitting."""

from __future__ import annotations

import numpy as np

from kmq.kernels._heap import sift_down, sift_up
from kmq.kernels._jit import fma, inlined, kernel

LANES = 16
"""Partial sums added side by side: fills the vector registers, in an order that never changes."""

_BLOCK = 64 * LANES
"""Points whose distances are computed at a time: long loops, in the first cache."""


@inlined
def _potential(columns, weights, nearest, index, lanes, out_distances):
    """Return Σ weight · min(nearest, distance to point `index`); write those minima."""
    lanes[:] = 0
    for start in range(0, nearest.size, _BLOCK):
        distances, others = out_distances[start : start + _BLOCK], nearest[start : start + _BLOCK]
        n = distances.size
        for c in range(columns.shape[0]):
            column, x = columns[c, start : start + n], columns[c, index]
            if c == 0:
                for i in range(n):
                    difference = column[i] - x
                    distances[i] = difference * difference
            else:
                for i in range(n):
                    difference = column[i] - x
                    distances[i] = fma(difference, difference, distances[i])
        for i in range(n):
            distances[i] = min(distances[i], others[i])
        whole = n // LANES * LANES
        for first in range(0, whole, LANES):
            some, some_weights = distances[first:], weights[start + first :]
            for lane in range(LANES):
                lanes[lane] += some_weights[lane] * some[lane]
        for i in range(whole, n):
            lanes[i - whole] += weights[start + i] * distances[i]
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    return total


@inlined
def _count_up_to(ascending, bound):
    """Return how many of the numbers are at most `bound`."""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= bound:
            low = middle + 1
        else:
            high = middle
    return low


@kernel("T[:, :], f8[:], f8[:, :], f8[:], f8[:], T[:], T[:], T[:], i8[:]", T=("f4", "f8"))
def kmeans_plus_plus(
    columns, weights, uniforms, lanes, cumulative, nearest, candidate, best, out_chosen
):
    """Choose points as starting centroids by greedy k-means++ (Arthur & Vassilvitskii 2007).

    `columns` is (d, n); `uniforms` (k, trials) in [0, 1): each row's trials propose points with
    probability weight · squared distance to the nearest chosen one, and the proposal that lowers
    the potential most is kept. `cumulative` (n,) float64, `nearest`, `candidate` and `best` (n,) of
    the columns' type and `lanes` (LANES,) float64 are scratch.
    """
    n = weights.size
    k, trials = uniforms.shape
    nearest[:] = np.inf
    for step in range(k):
        total = 0.0
        for i in range(n):
            total += weights[i] if step == 0 else weights[i] * nearest[i]
            cumulative[i] = total
        least = np.inf
        for trial in range(1 if step == 0 else trials):
            index = min(_count_up_to(cumulative, uniforms[step, trial] * total), n - 1)
            potential = _potential(columns, weights, nearest, index, lanes, candidate)
            if potential < least:
                least = potential
                out_chosen[step] = index
                for i in range(n):
                    best[i] = candidate[i]
        for i in range(n):
            nearest[i] = best[i]


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
