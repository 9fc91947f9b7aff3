"""Slow truths: what kmq must compute, written so that a reader believes it at a glance.

Nothing here imports kmq.
"""

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np


def squared_distances(points, centroids):
    """(n, k) squared distances in float64."""
    differences = np.asarray(points, float)[:, None] - np.asarray(centroids, float)[None]
    return np.square(differences).sum(axis=2)


def nearest(points, centroids):
    """Label of the nearest centroid, the lowest of equals, and its squared distance."""
    distances = squared_distances(points, centroids)
    return distances.argmin(axis=1), distances.min(axis=1)


def fused_distance(point, centroid):
    """Squared distance of two rows of one float type: one rounding a difference, one a channel."""
    total = Fraction(0)
    for x, c in zip(point, centroid, strict=True):
        total = exactly(rounded(exactly(x - c) ** 2 + total, type(x)))
    return rounded(total, type(point[0]))


def exactly(number):
    return Fraction(float(number))


def rounded(number, dtype):
    """Nearest float to a fraction, half to even."""
    guess = dtype(float(number))
    around = [guess, np.nextafter(guess, dtype(np.inf)), np.nextafter(guess, dtype(-np.inf))]
    unsigned = {4: np.uint32, 8: np.uint64}[guess.itemsize]
    return min(around, key=lambda near: (abs(exactly(near) - number), int(near.view(unsigned)) & 1))


def accumulate(points, labels, k, weights):
    """Sums (k, d) and counts (k,) by label."""
    sums, counts = np.zeros((k, len(points[0]))), np.zeros(k)
    for point, label, weight in zip(points, labels, weights, strict=True):
        sums[label] += weight * np.asarray(point, float)
        counts[label] += weight
    return sums, counts


def means(points, labels, k, weights):
    """(k, d) mean of each cluster; there must be no empty one."""
    sums, counts = accumulate(points, labels, k, weights)
    return sums / counts[:, None]


def inertia(points, centroids, weights):
    return float(nearest(points, centroids)[1] @ np.asarray(weights, float))


def lloyd(points, weights, centroids, max_iter):
    """Centroids after `max_iter` rounds, or as soon as none moves."""
    for _ in range(max_iter):
        labels, _ = nearest(points, centroids)
        moved = centroids.astype(float)
        for label in np.unique(labels):
            members = labels == label
            moved[label] = np.average(points[members], axis=0, weights=weights[members])
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def k_means_plus_plus(points, weights, uniforms):
    """Indices chosen by greedy k-means++; each row of `uniforms` has the trials of a centroid."""
    chosen, nearest = [], np.ones(len(points))
    for trials in uniforms:
        sums = np.cumsum(weights * nearest)
        drawn = [int((sums <= u * sums[-1]).sum()) for u in (trials if chosen else trials[:1])]
        distances = squared_distances(points, points[drawn]).T
        lowered = np.minimum(distances, nearest) if chosen else distances
        best = int((lowered * weights).sum(axis=1).argmin())
        chosen.append(drawn[best])
        nearest = lowered[best]
    return chosen


def split_by_variance(points, weights, k):
    """Means of k groups: cut the one of largest error at its mean, across its widest axis."""
    groups = [(np.asarray(points, float), np.asarray(weights, float))]

    def spread(group):
        mean = np.average(group[0], axis=0, weights=group[1])
        return mean, group[1] @ np.square(group[0] - mean)

    while len(groups) < k:
        worst = max(range(len(groups)), key=lambda i: spread(groups[i])[1].sum())
        rows, row_weights = groups.pop(worst)
        mean, squares = spread((rows, row_weights))
        axis = squares.argmax()
        low = rows[:, axis] <= mean[axis]
        groups += [(rows[low], row_weights[low]), (rows[~low], row_weights[~low])]
    return np.array([spread(group)[0] for group in groups])


def best_interval_cost(values, weights, k):
    """Least Σ weight · squared distance to the mean of up to k clusters of numbers, exactly."""
    numbers = sorted(zip(map(exactly, values), map(exactly, weights), strict=True))

    def spread(part):
        total = sum(weight for _, weight in part)
        mean = sum(x * weight for x, weight in part) / total
        return sum(weight * (x - mean) ** 2 for x, weight in part)

    ways = combinations(range(1, len(numbers)), min(k, len(numbers)) - 1)
    bounds = ([0, *cuts, len(numbers)] for cuts in ways)
    return min(sum(spread(numbers[i:j]) for i, j in pairwise(each)) for each in bounds)


def best_choice_cost(values, weights, k, choices, fixed=()):
    """Least Σ weight · squared distance to up to k of the `choices`, `fixed` ones among them."""
    others = [choice for choice in choices if choice not in fixed]

    def cost(entries):
        return sum(
            weight * min((x - entry) ** 2 for entry in entries)
            for x, weight in zip(values, weights, strict=True)
        )

    free = min(k - len(fixed), len(others))
    return min(cost([*fixed, *chosen]) for chosen in combinations(others, free))


def color_counts(samples):
    """How often each colour of (height, width, channels) samples occurs."""
    return Counter(map(tuple, samples.reshape(-1, samples.shape[2]).tolist()))


def morton_key(color):
    """Bits of the channels interleaved: all the highest bits first, channel by channel."""
    bits = [format(sample, "016b") for sample in color]
    return int("".join("".join(layer) for layer in zip(*bits, strict=True)), 2)


def as_seen(samples):
    """(…, channels) with alpha last as it looks over black and over white, scaled so that the
    squared distance is the mean of the two."""
    top = np.iinfo(samples.dtype).max
    alpha = samples[..., -1:].astype(float) / top
    over_black = samples[..., :-1] * alpha
    over_white = over_black + top * (1 - alpha)
    return np.concatenate([over_black, over_white], axis=-1) / math.sqrt(2)


def mse(picture, shown):
    """Squared error of a pixel, summed over the channels, averaged over the pixels."""
    squares = np.square(picture.astype(float) - shown.astype(float))
    return float(squares.sum() / (picture.shape[0] * picture.shape[1]))


def psnr(error, max_value, channels):
    return math.inf if error == 0 else 10 * math.log10(max_value**2 * channels / error)
