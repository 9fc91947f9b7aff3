"""k-means on one chunk of many: what a start, a round and the end need of it, and how it adds up.

A chunk is rows (n, d) and their weights (n,), empty where all are 1; it may have no rows. Results
are added up in an order that depends on the chunks alone, not on who computed which of them when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kmq import checks, exact
from kmq.errors import InputError
from kmq.model.arrays import Array, contiguous
from kmq.stages.palette import assigning, draws
from kmq.stages.palette.draws import Chosen

_ONE_THREAD = 1
"""Chunks are worked on side by side, each on one thread."""

_SORTED = 32
"""Points that are sorted by error at first, for each that is wanted: some may be equal."""

Chunk = tuple[Array, Array]
"""Rows and weights."""


@dataclass(frozen=True)
class Ended:
    """Sums (k, d + 1) of weight · (x, 1) by label, samples (k,) of each label, and inertia."""

    sums: Array
    counts: Array
    inertia: float


def checked(
    rows: Any, weights: Any, dtype: np.dtype[Any], n_features: int, first_row: float
) -> Chunk:
    """Return a chunk as the kernels want it.

    `first_row` is where it begins among all rows, NaN if that is unknown.

    Raises:
        InputTypeError, InputError: rows or weights that `kmq.checks` refuses.
    """
    is_known = first_row == first_row
    name = "X" if is_known else "a chunk of X"
    array = checks.real_numbers(rows, name)
    if array.ndim != 2 or array.shape[1] != n_features:
        raise InputError(
            f"a chunk of X has shape {array.shape}; X says that it has {n_features} features"
        )
    if len(array):
        array = checks.float_rows(array, name, dtype, int(first_row) if is_known else 0)
    if weights is not None:
        weights = checks.real_numbers(weights, "weights")
    chunk = converted(array, weights, dtype)
    if chunk[1].any():  # a chunk may have no weight where another has
        checks.point_weights(chunk[1], len(array))
    return chunk


def converted(rows: Any, weights: Any, dtype: np.dtype[Any]) -> Chunk:
    """Return a chunk that was `checked` before."""
    rows = rows.toarray() if hasattr(rows, "toarray") else rows
    if weights is None:
        counted = np.empty(0)
    elif np.ndim(weights) == 0:
        counted = np.full(len(rows), weights, np.float64)
    else:
        counted = contiguous(weights, np.float64)
    return contiguous(rows, dtype), counted


def round_sums(chunk: Chunk, centroids: Array) -> Array:
    """Return the sums (k, d + 1) of weight · (x, 1) by nearest centroid."""
    rows, weights = chunk
    if len(rows) == 0:
        return np.zeros((len(centroids), rows.shape[1] + 1))
    labels, _ = nearest(rows, centroids)
    return assigning.accumulate(rows, labels, weights, len(centroids), _ONE_THREAD)


def end(chunk: Chunk, centroids: Array) -> Ended:
    """Return the final result of a chunk."""
    rows, weights = chunk
    k = len(centroids)
    if len(rows) == 0:
        return Ended(np.zeros((k, rows.shape[1] + 1)), np.zeros(k, np.int64), 0.0)
    labels, distances = nearest(rows, centroids)
    sums = assigning.accumulate(rows, labels, weights, k, _ONE_THREAD)
    return Ended(
        sums, np.bincount(labels, minlength=k), float(draws.weighted(distances, weights).sum())
    )


def shares(chunk: Chunk, centroids: Array) -> Array:
    """Return how much weight (k,) is nearest to each centroid."""
    rows, weights = chunk
    labels, _ = nearest(rows, centroids)
    return np.bincount(labels, weights if weights.size else None, len(centroids)).astype(float)


def added_ends(parts: Sequence[Ended]) -> Ended:
    """Add in their order."""
    return Ended(
        exact.added([part.sums for part in parts]),
        exact.added([part.counts for part in parts]),
        sum(part.inertia for part in parts),
    )


def nearest(rows: Array, centroids: Array) -> tuple[Array, Array]:
    """Return the label and squared distance of each row, in the wider type of the two."""
    wide = rows.astype(np.result_type(rows, centroids), copy=False)
    labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows), wide.dtype)
    if len(rows):
        assigning.nearest(wide, centroids, _ONE_THREAD, labels, distances)
    return labels, distances


def drawn(chunk: Chunk, centroids: Array, count: int, seed: Sequence[int]) -> Chosen:
    """Draw points by weight · squared distance to the nearest centroid, or by weight if none."""
    rows, weights = chunk
    values = nearest(rows, centroids)[1] if len(centroids) else np.ones(len(rows))
    return draws.drawn(rows, weights, values, count, seed)


def added_draws(parts: Sequence[Chosen], count: int) -> Chosen:
    """Return the `count` of the largest values, ties in the order of the parts."""
    return draws.largest(draws.joined(parts), count)


def farthest(chunk: Chunk, centroids: Array, count: int) -> Chosen:
    """Return the `count` points that add most to the inertia, no two of them equal."""
    rows, weights = chunk
    distances = nearest(rows, centroids)[1]
    errors = draws.chosen(rows, weights, draws.weighted(distances, weights))
    first = _distinct(draws.largest(errors, _SORTED * count), count)
    enough = len(first.points) == count or len(rows) <= _SORTED * count
    return first if enough else _distinct(draws.largest(errors, len(rows)), count)


def added_farthest(parts: Sequence[Chosen], count: int) -> Chosen:
    """Do as `farthest` for several chunks at once, ties in their order."""
    joined = draws.joined(parts)
    return _distinct(draws.largest(joined, len(joined.points)), count)


def _distinct(chosen: Chosen, count: int) -> Chosen:
    """Return the first `count` that differ in their points."""
    _, first = np.unique(chosen.points, axis=0, return_index=True)
    places = np.sort(first)[:count]
    return draws.picked(chosen, places)
