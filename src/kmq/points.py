"""The k-means core for callers with points of their own: `kmeans`, `assign`, `accumulate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kmq import checks
from kmq.errors import InputError
from kmq.model.arrays import Array, contiguous
from kmq.model.choices import Progress
from kmq.model.image import MAX_COLORS
from kmq.stages.palette import assigning, clustering, intervals, starting
from kmq.stages.palette.clustering import Algorithm, KMeansResult
from kmq.stages.palette.starting import Init
from kmq.threads import resolve_threads


@checks.hinting()
def kmeans(
    points: ArrayLike,
    k: int,
    weights: ArrayLike | None = None,
    *,
    init: Init | Array | Sequence[Sequence[float]] | None = None,
    n_init: int | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    seed: int | None = None,
    algorithm: Algorithm | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> KMeansResult:
    """Cluster points by Lloyd's algorithm, or find the best clusters of points with one channel.

    The best clusters of numbers are found by dynamic programming (Wang & Song 2011), unless `init`
    or `algorithm` is given. They need no start, so `n_init`, `max_iter`, `tol` and `seed` change
    nothing; the centroids are ascending.

    Args:
        points: (n, d) bool, integer, float32 or float64. 8- and 16-bit types and float32 are
            computed in float32, others in float64.
        k: number of centroids, 1 to 65,536 and at most n.
        weights: (n,) how much each point counts, at least 0; None counts each once.
        init: "k-means++" (the default: greedy, Arthur & Vassilvitskii 2007, up to 1,000 clusters,
            and "k-means||" above), "k-means||" (Bahmani et al. 2012: k-means++ on 5 k drawn
            points), "random" (points drawn by weight), "var-part" (needs no seed, Su & Dy 2007),
            or (k, d) starting centroids.
        n_init: starts tried, with seeds from `seed` upward; the least inertia is kept. None is 1.
        max_iter: rounds at most, from 1; None is 300.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves. None is 1e-4.
        seed: 0 to 2^32 - n_init; None is 0.
        algorithm: "lloyd" (the default), or "naive": the same rounds in plain NumPy, slow, to check
            others by.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
        progress: called as progress("k-means", fraction) after each round; an exception it raises
            stops the work and is passed on.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a value out of range, not finite, or of the wrong shape.

    Cost: O(n · k · d) per round; memory O(n) besides the points, and a copy of them for
    "k-means++". For one channel, O(n log n) for each of about ten steps, whatever k is, and 100
    bytes per point.

    >>> points = [[0, 0], [0, 2], [10, 0], [10, 2]]
    >>> result = kmq.kmeans(points, 2)
    >>> result
    <kmq.KMeansResult 2 clusters of 4 points, inertia 4, 2 rounds>
    >>> sorted(result.centroids.tolist())
    [[0.0, 1.0], [10.0, 1.0]]
    """
    rows = checks.float_rows(points, "points")
    k = checks.whole_number(k, "k", 1, min(MAX_COLORS, len(rows)))
    point_weights = checks.point_weights(weights, len(rows))
    start = checks.init_method(
        checks.given(init, "k-means++"), starting.INITS, k, rows.shape[1], rows.dtype
    )
    n_init = checks.whole_number(checks.given(n_init, 1), "n_init", 1, clustering.MAX_STARTS)
    seed = checks.whole_number(checks.given(seed, 0), "seed", 0, checks.MAX_SEED + 1 - n_init)
    max_iter = checks.whole_number(
        checks.given(max_iter, clustering.DEFAULT_ROUNDS), "max_iter", 1, clustering.MAX_ROUNDS
    )
    tol = checks.tolerance(checks.given(tol, clustering.DEFAULT_TOLERANCE))
    threads, progress = resolve_threads(n_threads), checks.progress(progress)
    point_weights = point_weights if point_weights.size else np.ones(len(rows))
    if init is None and algorithm is None and rows.shape[1] == 1:
        fit = intervals.optimum(rows, point_weights, k, threads, progress)
    else:
        fit = starting.best_of(
            rows,
            point_weights,
            k,
            start,
            seeds=range(seed, seed + n_init),
            max_iter=max_iter,
            tol=tol,
            n_threads=threads,
            progress=progress,
            algorithm=checks.one_of(
                checks.given(algorithm, "lloyd"), "algorithm", clustering.ALGORITHMS
            ),
        )
    return replace(fit, centroids=fit.centroids.astype(rows.dtype))


def assign(
    points: ArrayLike,
    centroids: ArrayLike,
    out: Array | None = None,
    *,
    out_distances: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    """Return the index of the nearest centroid of each point; ties go to the lowest index.

    Distances are Σ (x - c)² itself, rounded to the type of the points channel by channel, with no
    expansion into products: near ties come out the same on every machine.

    Args:
        points: (n, d) bool, integer, float32 or float64; see `kmeans`.
        centroids: (k, d) likewise; computed in the type of the points.
        out: (n,) int32, C order, written and returned; None allocates it.
        out_distances: (n,) float32 or float64 as the points are computed in, C order: receives the
            squared distances; None leaves them out.
        n_threads: see `kmeans`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a value not finite, or a shape that does not fit.

    Cost: O(n · k · d); with `out`, and points as they are computed in, no memory that grows with n.

    >>> kmq.assign([[1, 1], [9, 1], [4, 0]], [[0, 1], [10, 1]]).tolist()
    [0, 1, 0]
    """
    rows = checks.float_rows(points, "points")
    centers = checks.float_rows(centroids, "centroids", rows.dtype)
    if centers.shape[1] != rows.shape[1]:
        raise InputError(
            f"centroids have {centers.shape[1]} channels and points {rows.shape[1]}; "
            "they must have the same"
        )
    labels = _buffer(out, "out", (len(rows),), np.dtype(np.int32))
    distances = np.empty(0, rows.dtype)
    if out_distances is not None:
        distances = _buffer(out_distances, "out_distances", (len(rows),), rows.dtype)
    assigning.nearest(rows, centers, resolve_threads(n_threads), labels, distances)
    return labels


def accumulate(
    points: ArrayLike,
    labels: ArrayLike,
    k: int,
    weights: ArrayLike | None = None,
    *,
    out: tuple[Array, Array] | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """Return the sums of the points of each label and how many (or how much weight) there are.

    Args:
        points: (n, d) bool, integer, float32 or float64.
        labels: (n,) integers, 0 to k - 1.
        k: number of labels, 1 to 65,536.
        weights: (n,) at least 0; None counts each point once.
        out: sums (k, d) and counts (k,), float64, C order, written and returned; None allocates
            them.
        n_threads: see `kmeans`.

    Returns:
        sums (k, d) and counts (k,), both float64: Σ weight · x and Σ weight. Whole numbers below
        2^53 are added exactly. sums / counts[:, None] are the means.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a label out of range, a value not finite, or a shape that does not fit.

    >>> sums, counts = kmq.accumulate([[0, 0], [0, 2], [10, 0]], [0, 0, 1], 2)
    >>> (sums / counts[:, None]).tolist()
    [[0.0, 1.0], [10.0, 0.0]]
    """
    rows = checks.float_rows(points, "points")
    k = checks.whole_number(k, "k", 1, MAX_COLORS)
    point_labels = _checked_labels(labels, len(rows), k)
    point_weights = checks.point_weights(weights, len(rows))
    out_sums, out_counts = (None, None) if out is None else _pair(out)
    sums = _buffer(out_sums, "sums", (k, rows.shape[1]), np.dtype(np.float64))
    counts = _buffer(out_counts, "counts", (k,), np.dtype(np.float64))
    both = assigning.accumulate(rows, point_labels, point_weights, k, resolve_threads(n_threads))
    sums[:], counts[:] = both[:, :-1], both[:, -1]
    return sums, counts


def _checked_labels(labels: ArrayLike, n_points: int, k: int) -> Array:
    array = checks.as_array(labels, "labels")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels have dtype {array.dtype}; they must be integers")
    if array.shape != (n_points,):
        raise InputError(f"labels have shape {array.shape}; they must be ({n_points},)")
    if array.min() < 0 or array.max() >= k:
        raise InputError(
            f"labels go from {array.min()} to {array.max()}; with k = {k} they must be 0 to {k - 1}"
        )
    return contiguous(array, np.int32)


def _pair(out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise TypeError("out is not a pair; it must be a tuple of two arrays, sums and counts")
    return out


def _buffer(out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is {type(out).__name__}; it must be a NumPy array")
    if out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise InputError(
            f"{name} has shape {out.shape} and dtype {out.dtype}; it must be a writable, aligned, "
            f"C-ordered {shape} array of {dtype}"
        )
    return out
