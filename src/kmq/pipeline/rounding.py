"""Centroids → a palette of samples, and the entry of each distinct colour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kmq.model import alpha
from kmq.model.arrays import Array
from kmq.model.histogram import ColorHistogram
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline.problem import Problem
from kmq.stages.coding import palette_tree
from kmq.stages.histogram.counting import keys_of
from kmq.stages.mapping import metrics, nearest
from kmq.stages.palette import assigning, search
from kmq.stages.palette.rounds import Fit
from kmq.stages.palette.spaces import Space

_SNAP_SHARE = 16
"""Share of the range, as 1 in so many, by which black and white may be off for `snap`."""


class Rounded(NamedTuple):
    """A palette in the picture's own samples, and what becomes of the distinct colours."""

    palette: Array
    labels: Array
    mse: float
    fit: Fit


def rounded(problem: Problem, fit: Fit) -> Rounded:
    """Make samples of the centroids, keep the entries in use and the fixed ones, and sort them."""
    free = fit.centroids[len(problem.fixed) :]
    samples = problem.space.nearest_samples(free, problem.how.required.step, problem.how.n_threads)
    pixel_format = problem.colors.pixel_format
    if pixel_format.has_alpha:
        if fit.opaque is None:
            are_opaque = _mostly_opaque(problem, samples)
        else:
            are_opaque = fit.opaque[len(problem.fixed) :]
        samples[are_opaque, -1] = pixel_format.max_value
    entries = palette_tree.distinct(np.concatenate([problem.fixed, samples]))  # codes best so
    labelled = label(problem, entries, fit)
    kept = search.are_used(labelled.labels, len(entries))
    if len(problem.fixed):
        kept |= are_fixed(problem, entries)
    if kept.all():
        return labelled
    labels = (np.cumsum(kept) - 1).astype(np.int32)[labelled.labels]
    return Rounded(entries[kept], labels, labelled.mse, fit)


def are_fixed(problem: Problem, entries: Array) -> Array:
    """Return (k,) bool: which entries are among the fixed colours."""
    n_threads = problem.how.n_threads
    return np.isin(keys_of(entries, n_threads), keys_of(problem.fixed, n_threads))


def snapped(problem: Problem, rounded: Rounded) -> Rounded:
    """Make the entries nearest to black and to white so, if near enough, and keep their pixels.

    Those may now be nearer to another entry, but ink should be black, not the next dark grey.
    """
    entries = rounded.palette
    fixed = are_fixed(problem, entries)
    renewed = _snapped(entries, fixed, problem.colors.pixel_format)
    distinct, number = np.unique(renewed, axis=0, return_inverse=True)
    merged = palette_tree.ascending(distinct)
    place = np.unique(merged, axis=0, return_index=True)[1]
    labels = place[number.reshape(-1)].astype(np.int32)[rounded.labels]
    return Rounded(merged, labels, _mse(problem.colors, merged, labels), rounded.fit)


def _snapped(entries: Array, fixed: Array, pixel_format: PixelFormat) -> Array:
    """Return the entries with the ones nearest to black and to white made so, if near enough."""
    for extreme in black_and_white(pixel_format):
        entries = snapped_to(extreme, entries, fixed, pixel_format)
    return entries


def black_and_white(pixel_format: PixelFormat) -> Array:
    """Return what `snap` makes of entries: (2, channels), opaque, black first."""
    top = pixel_format.max_value
    pair = np.zeros((2, pixel_format.channels), pixel_format.dtype)
    if pixel_format is PixelFormat.CMYK32:
        pair[0, -1] = top
        return pair
    pair[1] = top
    if pixel_format.has_alpha:
        pair[0, -1] = top
    return pair


def snapped_to(extreme: Array, entries: Array, fixed: Array, pixel_format: PixelFormat) -> Array:
    """Return the entries with the one nearest to `extreme` (channels,) made so, if near enough.

    Only the nearest: that two dark colours differ may be all that is seen of a shadow.
    """
    top = pixel_format.max_value
    difference = np.abs(entries.astype(np.int64) - extreme)
    if pixel_format.has_alpha:
        difference[difference[:, -1] > 0] = top
    near = (difference.max(axis=1) <= top // _SNAP_SHARE) & ~fixed
    if near.any():
        squares = np.where(near, np.square(difference).sum(axis=1), np.iinfo(np.int64).max)
        entries = entries.copy()
        entries[np.argmin(squares)] = extreme
    return entries


def _mostly_opaque(problem: Problem, entries: Array) -> Array:
    """Return (k,) bool: which entries mostly stand for opaque colours.

    It is for entries found for one kind alone, say with the other under a mask. There is at least
    one of them if there are opaque colours, and none of the fixed ones is opaque.
    """
    pixel_format = problem.colors.pixel_format
    are_opaque = alpha.kinds(problem.colors.colors, pixel_format) == alpha.OPAQUE
    if not are_opaque.any() or not len(entries):
        return np.zeros(len(entries), np.bool_)
    beside = np.concatenate([problem.fixed, entries])
    labels, _ = search.assign(problem.points, problem.space.forward(beside), problem.how.n_threads)
    counts, n_fixed = problem.colors.counts, len(problem.fixed)
    all_of = np.bincount(labels, counts, len(beside))[n_fixed:]
    opaque_of = np.bincount(labels[are_opaque], counts[are_opaque], len(beside))[n_fixed:]
    mostly: Array = opaque_of >= np.maximum(all_of / 2, 1)
    if not (alpha.kinds(problem.fixed, pixel_format) == alpha.OPAQUE).any():
        mostly[np.argmax(opaque_of)] = True
    return mostly


def map_to(problem: Problem, entries: Array) -> Rounded:
    """Assign each colour to its nearest of entries that are given, not found."""
    return label(problem, entries, Fit(entries.astype(np.float64), 0, True))


def label(problem: Problem, entries: Array, fit: Fit) -> Rounded:
    """Assign each colour to its nearest entry, but opaque ones to opaque entries."""
    space, n_threads = problem.space, problem.how.n_threads
    colors, pixel_format = problem.colors, problem.colors.pixel_format
    coordinates = space.forward(entries)
    labels, distances = search.assign(problem.points, coordinates, n_threads)
    if pixel_format.has_alpha:
        kinds = (alpha.kinds(palette, pixel_format) for palette in (colors.colors, entries))
        astray, allowed = nearest.astray(labels, *kinds)
        if len(astray):
            rows = np.ascontiguousarray(problem.points.columns.T[astray])
            places, squares = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
            assigning.nearest(rows, coordinates[allowed], n_threads, places, squares)
            labels[astray], distances[astray] = allowed[places], squares
    if space.name == "rgb" and space.channel_weights is None:
        mse = float((distances.astype(np.float64) * colors.counts).sum()) / colors.n_pixels
    else:
        mse = _mse(colors, entries, labels)
    return Rounded(entries, labels, mse, fit)


def _mse(colors: ColorHistogram, entries: Array, labels: Array) -> float:
    """Return the mean squared error per pixel in the picture's own samples, whatever the space."""
    samples = colors.colors
    if colors.pixel_format.has_alpha:
        plain = Space("rgb", colors.pixel_format)
        samples, entries = plain.forward(samples), plain.forward(entries)
    return metrics.mse_of_labels(samples, entries, labels, colors.counts)
