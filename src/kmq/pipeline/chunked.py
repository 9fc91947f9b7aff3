"""k-means on rows that do not fit in memory, or lie on several machines: Dask's arrays.

Each round is one task for each chunk, where the chunk is; only sums travel. Starts are drawn by
k-means‖ (Bahmani et al. 2012, "Scalable k-means++"), which goes through the rows a few times where
k-means++ goes through them k times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from kmq import checks, exact
from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.stages.palette import chunked, clustering, draws, moments, starting

_Part = TypeVar("_Part")

_IN_MEMORY = 1 << 28
"""Bytes of rows that are read into memory as a whole, where they lie in a file."""

_FILE_CHUNK = 1 << 25
"""Bytes of rows that are read from a file at a time, for each thread."""

_FAN_IN = 16
"""Results of so many neighbouring chunks are added up at a time."""

_OVERSAMPLING = 2
"""Points of a draw for each centroid: to go through chunks costs more than to compare with them."""

_INITS = ("k-means++", "k-means||", "random")


@dataclass(frozen=True)
class Rows:
    """Rows in chunks.

    Attributes:
        array: a Dask array (n, d) whose chunks are whole rows; n may be unknown (NaN).
        dtype: float32 or float64, in which they are computed.
        in_file: they lie in a file here, not in a Dask array of the caller's.
        n_threads: chunks that are worked on at once, where no cluster does the work.
    """

    array: Any
    dtype: np.dtype[Any]
    in_file: bool
    n_threads: int

    def compute(self, value: Any) -> Any:
        """Return a Dask value computed: where the caller wants it, or on threads here."""
        import dask

        scheduler = {"scheduler": "threads"} if self.in_file else {}
        return dask.compute(value, num_workers=self.n_threads, **scheduler)[0]

    def mapped(self, work: Callable[[Array], Array], n_columns: int | None, dtype: Any) -> Any:
        """Return what `work` gives for the rows of each chunk, as an array of the same chunks.

        It is (n,), or (n, n_columns). Rows in a file give an array of NumPy's.
        """
        block = partial(_on_rows, work=work, dtype=self.dtype, n_features=self.array.shape[1])
        chunks = (self.array.chunks[0], (n_columns or 1,))
        lazy = self.array.map_blocks(
            block, dtype=dtype, chunks=chunks, meta=np.empty((0, 0), dtype)
        )
        if n_columns is None:
            lazy = lazy[:, 0]  # to drop the axis in map_blocks would copy the rows
        if not self.in_file:
            return lazy
        result = np.empty(lazy.shape, dtype)
        self.compute(lazy.store(result, lock=False, compute=False))
        return result


def rows_of(points: Any, n_threads: int) -> Rows | None:
    """Return rows that are worked on in chunks; None for points that are, or fit, in memory.

    Raises:
        InputError: they are not two-dimensional, have no features, or are complex numbers.
    """
    points = points.to_dask_array() if hasattr(points, "to_dask_array") else points
    in_file = _lies_in_file(points)
    if not in_file and not _is_dask(points):
        return None
    if points.ndim != 2 or not points.shape[1] > 0:  # NaN where Dask does not know it
        raise InputError(
            f"X has shape {points.shape}; it must be (n_samples, n_features), with features"
        )
    checks.real_numbers(np.empty(0, points.dtype), "X")
    array = _from_file(points) if in_file else points.rechunk({1: -1})
    dtype = np.dtype(np.float32 if points.dtype.char == "f" else np.float64)
    return Rows(array, dtype, in_file, n_threads)


def reads_anew(array: Any) -> bool:
    """Whether a Dask array is read or made each time that it is computed."""
    from dask.core import get_dependencies, istask

    graph = dict(array.__dask_graph__())
    return any(
        _is_stored(value)
        or ((callable(value) or istask(value)) and not get_dependencies(graph, key))
        for key, value in graph.items()
    )


def _is_stored(points: Any) -> bool:
    package = type(points).__module__.partition(".")[0]
    return isinstance(points, np.memmap) or package in ("zarr", "h5py")


def _is_dask(points: Any) -> bool:
    loaded = sys.modules.get("dask.array")
    return loaded is not None and isinstance(points, loaded.Array)


def _lies_in_file(points: Any) -> bool:
    """Whether rows lie in a file and are more than is read as a whole; Dask must be there."""
    if not _is_stored(points):
        return False
    size: int = getattr(points, "size", 0) * getattr(points, "dtype", np.dtype("u1")).itemsize
    return size > _IN_MEMORY and find_spec("dask") is not None


def _from_file(points: Any) -> Any:
    import dask.array

    row_bytes = points.shape[1] * points.dtype.itemsize
    stored: int = (getattr(points, "chunks", None) or (1,))[0]  # rows that are read together
    rows = max(1, _FILE_CHUNK // row_bytes // stored) * stored
    chunks = (rows, points.shape[1])
    return dask.array.from_array(_Stored(points), chunks=chunks, name=False, lock=False)


class _Stored:
    """An array in a file. Dask reads its chunks; it would copy a memory map as a whole."""

    def __init__(self, array: Any):
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, place: Any) -> Array:
        """Return a part."""
        return np.asarray(self._array[place])


@dataclass(frozen=True)
class ChunkedFit:
    """Where k-means ended: centroids (k, d) float64, rounds, whether the last of them moved the
    centroids by no more than the tolerance, and the rest of the end."""

    centroids: Array
    n_iter: int
    converged: bool
    end: chunked.Ended

    @property
    def inertia(self) -> float:
        """Σ weight · squared distance to the nearest centroid."""
        return self.end.inertia


class Chunks:
    """The chunks of rows with their weights, whose sums are asked for.

    Attributes:
        moments: of all rows.

    Raises:
        TypeError, InputError: rows or weights that `kmq.checks` refuses.
    """

    def __init__(self, rows: Rows, weights: Any):
        self._rows = rows
        self._blocks: list[Any] = list(rows.array.to_delayed().ravel())
        self._weights = _weight_blocks(weights, rows, len(self._blocks))
        first_rows = np.cumsum([0, *rows.array.chunks[0][:-1]]).tolist()
        self.moments: moments.Moments = self._sum(
            partial(_moments, n_features=rows.array.shape[1]),
            moments.added,
            each=first_rows,
        )
        if not self.moments.n_rows:
            raise InputError("X has no rows; at least one is needed")
        if not self.moments.weight > 0:
            raise InputError("weights are all 0; at least one point must count more than zero")

    def fit(self, start: Array, max_iter: int, tol: float) -> ChunkedFit:
        """Run Lloyd's algorithm from `start` (k, d), as `clustering.kmeans` does in memory."""
        centroids, n_iter, converged = clustering.lloyd(
            start, self._round_sums, self._farthest, max_iter, tol
        )
        return ChunkedFit(centroids, n_iter, converged, self._end(centroids))

    def start(self, k: int, init: str, seed: int) -> Array:
        """Return k starting centroids (k, d): "random" by weight, or by k-means‖.

        Raises:
            InputError: `init` is another method, which needs all rows in memory.
        """
        if init not in _INITS:
            raise InputError(
                f"init is {init!r}, which needs X in memory; here it must be "
                f"{checks.either(_INITS, 'an array')}"
            )
        points = np.empty((0, len(self.moments.mean)), self._rows.dtype)
        if init == "random":
            drawn = self._drawn(points, k, (seed, 0))
            return np.resize(drawn, (k, drawn.shape[1])).astype(np.float64)
        for draw in range(starting.DRAWS):
            points = np.concatenate([points, self._drawn(points, _OVERSAMPLING * k, (seed, draw))])
        weights = self._sum(partial(_on_chunk, chunked.shares), exact.added, self._sent(points))
        return starting.reduced(points, weights, k, seed, self._rows.n_threads)

    def inertia(self, centroids: Array) -> float:
        """Return Σ weight · squared distance to the nearest of the centroids."""
        return self._end(centroids).inertia

    def _drawn(self, points: Array, count: int, seed: tuple[int, int]) -> Array:
        work = partial(_draw, count=count, seed=seed)
        drawn: draws.Chosen = self._sum(
            work,
            partial(chunked.added_draws, count=count),
            self._sent(points),
            each=range(len(self._blocks)),
        )
        return drawn.points

    def _round_sums(self, centroids: Array) -> Array:
        sums: Array = self._sum(
            partial(_on_chunk, chunked.round_sums), exact.added, self._sent(centroids)
        )
        return sums

    def _farthest(self, centroids: Array, count: int) -> tuple[Array, Array, Array]:
        work = partial(_on_chunk, partial(chunked.farthest, count=count))
        add = partial(chunked.added_farthest, count=count)
        far: draws.Chosen = self._sum(work, add, self._sent(centroids))
        labels, _ = chunked.nearest(far.points, centroids.astype(far.points.dtype))
        return far.points, far.weights, labels

    def _end(self, centroids: Array) -> chunked.Ended:
        end: chunked.Ended = self._sum(
            partial(_on_chunk, chunked.end), chunked.added_ends, self._sent(centroids)
        )
        return end

    def _sent(self, centroids: Array) -> Any:
        """Return centroids as a value of their own, which travels once to each machine."""
        import dask

        return dask.delayed(centroids.astype(self._rows.dtype))

    def _sum(
        self,
        work: Callable[..., _Part],
        add: Callable[[Sequence[_Part]], _Part],
        *arguments: Any,
        each: Iterable[Any] | None = None,
    ) -> _Part:
        """Return what `work` gives for the chunks, added up in a tree of neighbours.

        It gets a chunk's rows, weights, the type to compute in, that of `each` which is the
        chunk's, and the arguments.
        """
        import dask

        run, dtype = dask.delayed(work, pure=False), self._rows.dtype
        own = [[]] * len(self._blocks) if each is None else [[value] for value in each]
        parts = [
            run(block, weights, dtype, *more, *arguments)
            for block, weights, more in zip(self._blocks, self._weights, own, strict=True)
        ]
        merge = dask.delayed(add, pure=False)
        while len(parts) > 1:
            parts = [
                merge(parts[first : first + _FAN_IN]) for first in range(0, len(parts), _FAN_IN)
            ]
        total: _Part = self._rows.compute(parts[0])
        return total


def _on_rows(
    block: Any,
    work: Callable[[Array], Array],
    dtype: np.dtype[Any],
    n_features: int,
    block_info: Any = None,
) -> Array:
    first_row = block_info[0]["array-location"][0][0]
    result = work(chunked.checked(block, None, dtype, n_features, first_row)[0])
    return result.reshape(len(result), result.shape[-1] if result.ndim > 1 else 1)


def _moments(
    block: Any, weights: Any, dtype: np.dtype[Any], first_row: float, *, n_features: int
) -> moments.Moments:
    return moments.moments(*chunked.checked(block, weights, dtype, n_features, first_row))


def _on_chunk(
    work: Callable[..., _Part], block: Any, weights: Any, dtype: np.dtype[Any], *arguments: Any
) -> _Part:
    return work(chunked.converted(block, weights, dtype), *arguments)


def _draw(
    block: Any,
    weights: Any,
    dtype: np.dtype[Any],
    number: int,
    points: Array,
    *,
    count: int,
    seed: tuple[int, int],
) -> draws.Chosen:
    chunk = chunked.converted(block, weights, dtype)
    return chunked.drawn(chunk, points, count, (*seed, number))


def _weight_blocks(weights: Any, rows: Rows, n_blocks: int) -> list[Any]:
    """Return the weights of each chunk: None, a number, or values of Dask's."""
    if weights is None:
        return [None] * n_blocks
    weights = weights.to_dask_array() if hasattr(weights, "to_dask_array") else weights
    sizes = rows.array.chunks[0]
    are_known = not np.isnan(sizes).any()
    if not _is_dask(weights):
        import dask.array

        weights = checks.real_numbers(weights, "weights")
        if weights.ndim == 0:
            return [checks.point_weights(weights.reshape(1), 1)[0]] * n_blocks
        if not are_known:
            raise InputError(
                "the chunks of X have unknown sizes, so sample_weight must be a Dask array with "
                "the same chunks; X.compute_chunk_sizes() finds the sizes"
            )
        weights = dask.array.from_array(checks.point_weights(weights, sum(sizes)), chunks=-1)
    if weights.ndim != 1 or (are_known and len(weights) != sum(sizes)):
        raise InputError(
            f"sample_weight has shape {weights.shape}; it must be ({rows.array.shape[0]},)"
        )
    if are_known:
        weights = weights.rechunk((sizes,))
    if weights.numblocks != (n_blocks,):
        raise InputError(
            f"sample_weight has {weights.numblocks[0]} chunks and X has {n_blocks}; where their "
            "sizes are unknown both must have the same"
        )
    return list(weights.to_delayed().ravel())
