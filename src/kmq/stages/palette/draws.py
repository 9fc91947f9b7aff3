"""Points drawn, or chosen by what they add to the inertia, from parts of all points.

Each part draws by itself; parts are joined in their order, so the result does not depend on who
drew from which of them when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kmq.model.arrays import Array


@dataclass(frozen=True)
class Chosen:
    """Points (m, d), their weights (m,) and the values (m,) that they were chosen by, the largest
    first."""

    points: Array
    weights: Array
    values: Array


def weighted(values: Array, weights: Array) -> Array:
    """Return float64 values times their weights, empty where all are 1."""
    wide: Array = values.astype(np.float64)
    return wide * weights if weights.size else wide


def chosen(points: Array, weights: Array, values: Array) -> Chosen:
    """Return all points, in their order."""
    return Chosen(points, weights if weights.size else np.ones(len(points)), values)


def drawn(points: Array, weights: Array, values: Array, count: int, seed: Sequence[int]) -> Chosen:
    """Draw points with probability in proportion to weight · value.

    By priorities (Duffield, Lund & Thorup 2007): of w / u with u uniform in (0, 1] the largest are
    drawn. So each part draws by itself, the largest of all parts are what one draw from all would
    give, and no logarithm rounds differently on another machine.
    """
    uniforms = 1 - np.random.RandomState([*seed]).random_sample(len(points))
    return largest(chosen(points, weights, weighted(values, weights) / uniforms), count)


def joined(parts: Sequence[Chosen]) -> Chosen:
    """Return the points of all parts, in their order."""
    return Chosen(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def largest(points: Chosen, count: int) -> Chosen:
    """Return those of the largest values above 0, sorted, ties in their order."""
    values = points.values
    within = values > 0
    if count < len(values):
        within &= values >= np.partition(values, len(values) - count)[len(values) - count]
    places = np.flatnonzero(within)
    return picked(points, places[np.argsort(-values[places], kind="stable")[:count]])


def picked(points: Chosen, places: Array) -> Chosen:
    """Return the points at some places."""
    return Chosen(points.points[places], points.weights[places], points.values[places])
