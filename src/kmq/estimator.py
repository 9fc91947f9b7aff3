"""`KMeans`: the k-means core behind the interface of ``sklearn.cluster.KMeans``."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial, wraps
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from kmq import checks
from kmq.errors import InputError, InputTypeError
from kmq.estimator_base import ConvergenceWarning, Estimator, NotFittedError
from kmq.model.arrays import Array
from kmq.model.image import MAX_COLORS
from kmq.pipeline import chunked
from kmq.pipeline.chunked import Rows
from kmq.stages.palette import assigning, clustering, intervals, starting
from kmq.stages.palette.clustering import KMeansResult
from kmq.stages.palette.moments import moments
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from typing import Self

_ALGORITHMS: dict[str, clustering.Algorithm] = {
    "lloyd": "lloyd",
    "elkan": "lloyd",
    "naive": "naive",
}
"""How the core names what scikit-learn names; Elkan's bounds only ever saved time."""

_MOST = sys.maxsize
"""Starts and rounds at most: what a machine counts to."""

_AUTO_STARTS = 10
"""Starts of n_init="auto" where a start is plainly random; scikit-learn's number."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Fit = TypeVar("_Fit", KMeansResult, chunked.ChunkedFit)


class _Options(NamedTuple):
    """What `fit` goes by; `is_search` if good clusters are wanted, not those from a start."""

    max_iter: int
    tol: float
    algorithm: clustering.Algorithm
    n_starts: int
    is_search: bool


def _types_are_values(check: Callable[_P, _T]) -> Callable[_P, _T]:
    """Decorate a check, so that a wrong type is a wrong value, too, as in scikit-learn."""

    @wraps(check)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return check(*args, **kwargs)
        except InputError:
            raise
        except TypeError as error:
            raise InputTypeError(str(error)) from error

    return checked


class KMeans(Estimator):
    """k-means clustering with the parameters, methods and attributes of scikit-learn's.

    Replace ``from sklearn.cluster import KMeans`` by ``from kmq import KMeans``. From the same
    starting centroids both find the same clusters. Random starts differ, since kmq draws other
    numbers. scikit-learn is needed only for its own pipelines, ``GridSearchCV`` and ``set_output``,
    and imported only if it is installed.

    Args:
        n_clusters: number of centroids, 1 to 65,536 and at most the number of samples.
        init: "k-means++" (greedy up to 1,000 clusters, "k-means||" above and for X in chunks),
            "k-means||" (Bahmani et al. 2012: k-means++ on a few times as many points, drawn in five
            passes), "random", "var-part" (needs no seed, Su & Dy 2007), an array (n_clusters,
            n_features), or a callable that gets X, n_clusters and ``random_state=`` and returns
            such an array.
        n_init: starts tried, from 1; the least inertia is kept. "auto" is 10 for "random" and
            for a callable, else 1.
        max_iter: rounds of each start at most, from 1.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the features; 0 goes on until no centroid moves.
        verbose: 1 or True prints a line for each start and round; the result is the same.
        random_state: 0 to 2^32 - 1, a ``RandomState`` to draw seeds from, or None for NumPy's
            global one. With an integer, results are the same on every machine.
        copy_x: taken for compatibility; X is never modified.
        algorithm: "lloyd", or "elkan" for the same result; "naive" assigns points in plain NumPy,
            the slow reference of the others.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.

    Any other parameter that is None has its default.

    Of samples in memory with one feature, the best clusters are found by dynamic programming (Wang
    & Song 2011) where `init` is "k-means++" and `algorithm` not "naive": in ascending order, with
    an `n_iter_` of 1, whatever `n_init`, `max_iter`, `tol` and `random_state` are.

    Attributes:
        cluster_centers_: (n_clusters, n_features), float32 or float64 as X. May be set by hand, to
            predict by, or for `partial_fit` to begin with.
        labels_: (n_samples,) int32, the nearest centre of each sample that was last fitted; ties
            go to the lowest index.
        inertia_: Σ weight · squared distance of those samples to their centres.
        n_iter_: rounds of the best start; set by `fit`.
        n_steps_: chunks that `partial_fit` took since the centres began.
        n_features_in_: number of features.
        feature_names_in_: column names of a data frame, where all are strings.

    `X` is (n_samples, n_features) array-like of real numbers; float32 is computed in float32, all
    else in float64. A Dask array is worked on chunk by chunk, where the chunks are, and gives Dask
    arrays; memory maps and Zarr arrays of more than 256 MiB are read 32 MiB at a time for each
    thread, where Dask is installed. A data frame or a SciPy sparse matrix is made a dense array
    first, which takes n_samples × n_features numbers of memory.

    >>> kmeans = kmq.KMeans(2, random_state=0).fit([[0, 0], [0, 2], [10, 0], [10, 2]])
    >>> sorted(kmeans.cluster_centers_.tolist())
    [[0.0, 1.0], [10.0, 1.0]]
    >>> kmeans.inertia_
    4.0
    """

    def __init__(
        self,
        n_clusters: int | None = 8,
        *,
        init: Any = "k-means++",
        n_init: int | Literal["auto"] | None = "auto",
        max_iter: int | None = 300,
        tol: float | None = 1e-4,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        copy_x: bool = True,
        algorithm: Literal["lloyd", "elkan", "naive"] | None = "lloyd",
        n_threads: int | None = None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_threads = n_threads

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Args:
            X: see the class.
            y: ignored.
            sample_weight: (n_samples,) at least 0, or one number; None counts each sample once.

        Raises:
            TypeError: a parameter or X of the wrong type.
            InputError: a value out of range, not finite, or of the wrong shape.

        Cost: O(n · k · d) per round; memory O(n) besides X, and a copy of X for "k-means++".

        >>> kmeans = kmq.KMeans(2, init=[[0.0], [9.0]]).fit([[0], [1], [8], [9]])
        >>> kmeans.labels_.tolist()
        [0, 0, 1, 1]
        """
        rows = chunked.rows_of(X, resolve_threads(self.n_threads))
        if rows is not None:
            return self._fit_chunks(X, rows, sample_weight)
        points = self._learned_points(X)
        weights = _weights(sample_weight, len(points))
        how = self._checked_options()
        n_threads = resolve_threads(self.n_threads)
        k = self._number_of_clusters(len(points))
        starts = self._starts(points, how.n_starts, partial(_start, points, weights, n_threads))
        fits: Iterable[KMeansResult]
        if how.is_search and points.shape[1] == 1:
            fits = [intervals.optimum(points, weights, k, n_threads)]
        else:
            run = partial(
                clustering.kmeans, points, weights, n_threads=n_threads, algorithm=how.algorithm
            )
            limit = how.tol * moments(points, weights).variance() if how.tol else 0.0
            fits = self._fits(run, starts, how.max_iter, limit)
        best = min(self._told(fits), key=attrgetter("inertia"))
        self._warn_of_empty_clusters(int(np.count_nonzero(np.bincount(best.labels))))
        counts = np.bincount(best.labels, weights, len(best.centroids))[:, None]
        self._keep(
            best.centroids.astype(points.dtype), np.hstack([counts * best.centroids, counts]), 0
        )
        self.labels_ = best.labels
        self.inertia_ = best.inertia
        self.n_iter_ = best.n_iter
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from one more chunk of samples, for data larger than memory and for streams.

        Each centre is the weighted mean of all samples that were nearest to it when they came. So
        later chunks move it less, by 1 / count (Sculley, "Web-scale k-means clustering", 2010, with
        the chunk as the mini-batch). The first chunk chooses the starting centres; after `fit`, the
        fitted ones go on. Centres set by hand are a new start. `labels_` and `inertia_` are those
        of this chunk.

        Args:
            X: see the class; the first chunk has at least n_clusters samples.
            y: ignored.
            sample_weight: (n_samples,) at least 0, or one number; None counts each sample once.

        Raises:
            TypeError: a parameter or X of the wrong type.
            InputError: a value out of range, not finite, or of the wrong shape.

        Cost: as two rounds of `fit` on the chunk.

        >>> kmeans = kmq.KMeans(2, init=[[0.0], [9.0]])
        >>> for chunk in ([[0], [8]], [[2], [10]]):
        ...     kmeans = kmeans.partial_fit(chunk)
        >>> kmeans.cluster_centers_.tolist()
        [[1.0], [9.0]]
        """
        if chunked.rows_of(X, 1) is not None:
            raise InputError(
                "partial_fit takes one chunk, in memory; fit goes through all chunks of X"
            )
        begun = hasattr(self, "cluster_centers_")
        points = self._fitted_points(X) if begun else self._learned_points(X)
        weights = _weights(sample_weight, len(points))
        n_threads = resolve_threads(self.n_threads)
        if begun:
            centers, totals, n_steps = self._state()
        else:
            starts = self._starts(points, 1, partial(_start, points, weights, n_threads))
            centers = next(starts).astype(points.dtype)
            totals, n_steps = np.zeros((len(centers), points.shape[1] + 1)), 0
        labels, _ = _nearest(points, centers, n_threads)
        totals = totals + assigning.accumulate(points, labels, weights, len(centers), n_threads)
        counts = totals[:, -1:]
        means = np.divide(totals[:, :-1], counts, out=centers.astype(float), where=counts > 0)
        self._keep(means.astype(centers.dtype), totals, n_steps + 1)
        self.n_features_in_ = points.shape[1]
        self.labels_, distances = _nearest(points, self.cluster_centers_, n_threads)
        self.inertia_ = float((weights * distances).sum())
        return self

    def predict(self, X: Any) -> Array:
        """Return the index of the nearest centre of each sample, (n_samples,) int32.

        Raises:
            NotFittedError: there are no centres yet.
            TypeError: X of the wrong type.
            InputError: a value not finite, or other features than those fitted.

        >>> kmeans = kmq.KMeans(2, init=[[0.0], [9.0]]).fit([[0], [1], [8], [9]])
        >>> kmeans.predict([[2], [7]]).tolist()
        [0, 1]
        """
        if (rows := self._fitted_chunks(X)) is not None:
            labels: Array = _chunk_labels(rows, self._centers())
            return labels
        points = self._fitted_points(X)
        labels, _ = _nearest(points, self._centers(), resolve_threads(self.n_threads))
        return labels

    def transform(self, X: Any) -> Array:
        """Return the Euclidean distance of each sample to each centre, (n_samples, n_clusters).

        float32 where X and the centres are, else float64. Raises as `predict`.

        >>> kmeans = kmq.KMeans(2, init=[[0.0], [9.0]]).fit([[0], [1], [8], [9]])
        >>> kmeans.transform([[2.5]]).tolist()
        [[2.0, 6.0]]
        """
        if (rows := self._fitted_chunks(X)) is not None:
            centers = self._centers()
            distances: Array = rows.mapped(
                partial(_distances, centers=centers, n_threads=1),
                len(centers),
                np.result_type(rows.dtype, centers),
            )
            return distances
        points = self._fitted_points(X)
        return _distances(points, self._centers(), resolve_threads(self.n_threads))

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return minus the inertia of X: the nearer 0 the better. Raises as `predict`.

        >>> kmeans = kmq.KMeans(2, init=[[0.0], [9.0]]).fit([[0], [1], [8], [9]])
        >>> kmeans.score([[0.5], [6.5]])
        -4.0
        """
        if (rows := self._fitted_chunks(X)) is not None:
            return -_chunks(rows, sample_weight).inertia(self._centers())
        points = self._fitted_points(X)
        weights = _weights(sample_weight, len(points))
        _, distances = _nearest(points, self._centers(), resolve_threads(self.n_threads))
        return -float((weights * distances).sum())

    def fit_predict(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Array:
        """Fit X and return its labels; see `fit`.

        >>> kmq.KMeans(2, init=[[0.0], [9.0]]).fit_predict([[0], [1], [8], [9]]).tolist()
        [0, 0, 1, 1]
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Array:
        """Fit X and return its distances to the centres; see `fit` and `transform`.

        >>> kmq.KMeans(2, init=[[0.0], [9.0]]).fit_transform([[0], [1], [8], [9]])[0].tolist()
        [0.5, 8.5]
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the names of the columns of `transform`: "kmeans0", "kmeans1" …

        Args:
            input_features: None, or the names that were fitted.

        Raises:
            NotFittedError: there are no centres yet.
            InputError: other names than those fitted, or another number of them.

        >>> kmq.KMeans(2, init=[[0.0], [9.0]]).fit([[0], [9]]).get_feature_names_out().tolist()
        ['kmeans0', 'kmeans1']
        """
        self._check_fitted()
        if input_features is not None:
            self._check_columns(list(input_features), len(input_features))
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{i}" for i in range(len(self._centers()))], dtype=object)

    def _fit_chunks(self, X: Any, rows: Rows, sample_weight: Any) -> Self:
        """Do as `fit` for rows in chunks."""
        how = self._checked_options()
        self._learn_columns(_column_names(X), rows.array.shape[1])
        if not rows.in_file and chunked.reads_anew(rows.array):
            warnings.warn(
                "each round computes X anew, from where it is stored or made; X.persist() keeps it "
                "in memory, where it fits",
                stacklevel=3,
            )
        chunks = _chunks(rows, sample_weight)
        limit = how.tol * chunks.moments.variance() if how.tol else 0.0
        points = rows.array.astype(rows.dtype)
        starts = self._starts(points, how.n_starts, chunks.start, chunks.moments.n_rows)
        fits = self._fits(chunks.fit, starts, how.max_iter, limit)
        best = min(self._told(fits), key=attrgetter("inertia"))
        self._warn_of_empty_clusters(int(np.count_nonzero(best.end.counts)))
        self._keep(best.centroids.astype(rows.dtype), best.end.sums, 0)
        self.labels_ = _chunk_labels(rows, self.cluster_centers_)
        self.inertia_ = best.inertia
        self.n_iter_ = best.n_iter
        return self

    @_types_are_values
    def _checked_options(self) -> _Options:
        """Return the parameters that `fit` goes by, checked."""
        max_iter = checks.whole_number(self._parameter("max_iter"), "max_iter", 1, _MOST)
        tol = checks.tolerance(self._parameter("tol"))
        name = checks.one_of(self._parameter("algorithm"), "algorithm", tuple(_ALGORITHMS))
        if name == "elkan" and self._parameter("n_clusters") == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=4,
            )
        verbose = self._parameter("verbose")
        if not isinstance(verbose, bool | np.bool_):
            checks.whole_number(verbose, "verbose", 0, _MOST)
        checks.flag(self._parameter("copy_x"), "copy_x")
        n_starts, init = self._number_of_starts(), self._parameter("init")
        _seeds(self.random_state, 0)  # for the check
        is_search = isinstance(init, str) and init == "k-means++" and name != "naive"
        return _Options(max_iter, tol, _ALGORITHMS[name], n_starts, is_search)

    def _parameter(self, name: str) -> Any:
        """Return what the constructor was given, or its default where that is None."""
        return checks.given(getattr(self, name), _DEFAULTS[name])

    def _centers(self) -> Array:
        """Return the centres, which may have been set by hand, as float32 or float64 rows."""
        self._check_fitted()
        return _float_rows(self.cluster_centers_, "cluster_centers_")

    def _keep(self, centers: Array, totals: Array, n_steps: int) -> None:
        """Set the centres, the sums and weights (k, d + 1) of the samples they stand for, and how
        many chunks there were."""
        self.cluster_centers_, self.n_steps_ = centers, n_steps
        self._kept = centers.copy(), totals, n_steps

    def _state(self) -> tuple[Array, Array, int]:
        """Return centres, sums and weights, and steps so far: none if the centres were set."""
        centers = self._centers()
        if hasattr(self, "_kept"):
            kept, totals, n_steps = self._kept
            if np.array_equal(centers, kept):
                return centers, totals, n_steps
        return centers, np.zeros((len(centers), centers.shape[1] + 1)), 0

    def _learned_points(self, X: Any) -> Array:
        """Return X as rows, and keep the number and names of its features."""
        names = _column_names(X)
        points = _rows(X)
        self._learn_columns(names, points.shape[1])
        return points

    def _learn_columns(self, names: list[str] | None, n_features: int) -> None:
        self.n_features_in_ = n_features
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _fitted_points(self, X: Any) -> Array:
        """Return X as rows with the features that were fitted."""
        names = self._fitted_names(X)
        points = _rows(X)
        self._check_columns(names, points.shape[1])
        return points

    def _fitted_chunks(self, X: Any) -> Rows | None:
        """Do as `_fitted_points` for rows in chunks; return None for an array in memory."""
        rows = chunked.rows_of(X, resolve_threads(self.n_threads))
        if rows is not None:
            self._check_columns(self._fitted_names(X), rows.array.shape[1])
        return rows

    def _fitted_names(self, X: Any) -> list[str] | None:
        """Return the names of the columns of X; warn where it has some and fit had none, or not."""
        self._check_fitted()
        names = _column_names(X)
        fitted_with_names = hasattr(self, "feature_names_in_")
        if names is None and fitted_with_names:
            warnings.warn(
                f"X does not have valid feature names, but {type(self).__name__} was fitted with "
                "feature names",
                stacklevel=4,
            )
        if names is not None and not fitted_with_names:
            warnings.warn(
                f"X has feature names, but {type(self).__name__} was fitted without feature names",
                stacklevel=4,
            )
        return names

    def _check_fitted(self) -> None:
        if not hasattr(self, "cluster_centers_"):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet; call 'fit' or "
                "'partial_fit' first"
            )

    def _check_columns(self, names: list[str] | None, n_features: int) -> None:
        fitted = getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None:
            fitted = np.array(fitted, dtype=object).tolist()  # set by hand, it is anything
            if names != fitted:
                raise InputError(
                    "The feature names should match those that were passed during fit: they are "
                    f"{names} and were {fitted}"
                )
        expected = self._centers().shape[1]
        if n_features != expected:
            raise InputError(
                f"X has {n_features} features, but {type(self).__name__} is expecting {expected} "
                "features as input"
            )

    def _number_of_starts(self) -> int:
        init, n_init = self._parameter("init"), self._parameter("n_init")
        is_random = init == "random" if isinstance(init, str) else callable(init)
        if isinstance(n_init, str):
            checks.one_of(n_init, "n_init", ("auto",))
            return _AUTO_STARTS if is_random else 1
        n_init = checks.whole_number(n_init, "n_init", 1, _MOST)
        if isinstance(init, str):
            return 1 if init == "var-part" else n_init
        if not is_random and n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
            return 1
        return n_init

    @_types_are_values
    def _number_of_clusters(self, n: int) -> int:
        k = checks.whole_number(self._parameter("n_clusters"), "n_clusters", 1, MAX_COLORS)
        if n < k:
            raise InputError(
                f"n_samples={n} should be >= n_clusters={k}: each cluster needs a sample"
            )
        return k

    def _starts(
        self, points: Any, number: int, draw: Callable[[int, str, int], Array], n: int | None = None
    ) -> Iterator[Array]:
        """Yield starting centroids, as many as asked, once the parameters are checked.

        `draw` makes one of k, the name of a method and a seed; `points` are n rows, or as many as
        they are long.
        """
        k = self._number_of_clusters(len(points) if n is None else n)
        for seed in _seeds(self.random_state, number):
            init = self._parameter("init")
            if isinstance(init, str):
                yield draw(k, checks.init_name(init, starting.INITS), seed)
                continue
            if callable(init):
                init = init(points, k, random_state=np.random.RandomState(seed))
            yield _given_start(init, k, points)

    def _fits(
        self, run: Callable[..., _Fit], starts: Iterable[Array], max_iter: int, tol: float
    ) -> Iterator[_Fit]:
        """Yield where `run` ends from each start; with `verbose` print a line about each round."""
        for start in starts:
            if self.verbose:
                yield _printed(run, start, max_iter, tol)
            else:
                yield run(start, max_iter=max_iter, tol=tol)

    def _told(self, fits: Iterable[_Fit]) -> Iterator[_Fit]:
        """Yield fits; with `verbose` print a line about each."""
        for fit in fits:
            if self.verbose:
                print(f"Inertia {fit.inertia} after {fit.n_iter} rounds.")
            yield fit

    def _warn_of_empty_clusters(self, n_distinct: int) -> None:
        n_clusters = self._parameter("n_clusters")
        if n_distinct < n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_distinct}) found smaller than n_clusters "
                f"({n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )


_DEFAULTS = {name: each.default for name, each in inspect.signature(KMeans).parameters.items()}
"""Defaults of the constructor's parameters. Those of a subclass may have other names."""


def _printed(run: Callable[..., _Fit], start: Array, max_iter: int, tol: float) -> _Fit:
    """Return where `run` ends; do one round after another, and print a line about each."""
    print("Initialization complete")
    centroids = start.astype(np.float64)
    n_iter, converged = 0, False
    while n_iter < max_iter and not converged:
        fit = run(centroids, max_iter=1, tol=tol)
        print(f"Iteration {n_iter}, inertia {fit.inertia}.")
        shift = float(np.square(fit.centroids - centroids).sum())
        n_iter, converged, centroids = n_iter + 1, fit.converged, fit.centroids
    if converged:
        why = f"center shift {shift} within tolerance {tol}" if shift else "strict convergence"
        print(f"Converged at iteration {n_iter - 1}: {why}.")
    return replace(fit, n_iter=n_iter)


def _start(points: Array, weights: Array, n_threads: int, k: int, init: str, seed: int) -> Array:
    return starting.start_centroids(points, weights, k, init, seed, n_threads)


@_types_are_values
def _chunks(rows: Rows, sample_weight: Any) -> chunked.Chunks:
    return chunked.Chunks(rows, sample_weight)


def _chunk_labels(rows: Rows, centers: Array) -> Any:
    """Return the labels of rows in chunks, as an array of the same chunks."""
    return rows.mapped(partial(_labels, centers=centers), None, np.int32)


def _labels(points: Array, centers: Array) -> Array:
    return _nearest(points, centers, 1)[0]


@_types_are_values
def _seeds(random_state: Any, number: int) -> Iterator[int]:
    if random_state is None:
        draw = np.random.randint  # what np.random.seed() sets, as is the custom
    elif isinstance(random_state, np.random.RandomState):
        draw = random_state.randint
    else:
        first = checks.whole_number(random_state, "random_state", 0, checks.MAX_SEED)
        return ((first + i) % (checks.MAX_SEED + 1) for i in range(number))
    return (int(draw(0, checks.MAX_SEED + 1, dtype=np.uint32)) for _ in range(number))


def _column_names(X: Any) -> list[str] | None:
    """Return the column names of a data frame where all are strings, else None."""
    is_arrow = type(X).__module__.partition(".")[0] == "pyarrow"  # whose columns are the values
    names = list(X.column_names if is_arrow else getattr(X, "columns", ()))
    n_strings = sum(isinstance(name, str) for name in names)
    if 0 < n_strings < len(names):
        raise TypeError(
            "Feature names are only supported if all input features have string names: "
            f"{n_strings} of {len(names)} columns of X have"
        )
    return names if n_strings else None


def _rows(X: Any) -> Array:
    """Return X as (n, d) float32 or float64 rows."""
    array = checks.real_numbers(X, "X")
    if array.ndim == 0:
        raise InputError(f"X is {type(X).__name__}; it must be an array (n_samples, n_features)")
    if array.ndim != 2:
        raise InputError(
            f"X has shape {array.shape}; it must be (n_samples, n_features). Reshape your data: "
            "X.reshape(-1, 1) if it has a single feature, X.reshape(1, -1) if it is one sample"
        )
    for what, size in zip(("sample", "feature"), array.shape, strict=True):
        if size == 0:
            raise InputError(
                f"Found array with 0 {what}(s) (shape={array.shape}) while a minimum of 1 is "
                "required."
            )
    return _float_rows(array, "X")


@_types_are_values
def _float_rows(values: Any, name: str) -> Array:
    """Return values as (n, d) rows: float32 where they are, else float64."""
    array = checks.real_numbers(values, name)
    return checks.float_rows(array, name, np.float32 if array.dtype.char == "f" else np.float64)


@_types_are_values
def _given_start(init: Any, k: int, points: Any) -> Array:
    """Return starting centroids (k, d) that a caller gave for points, in memory or in chunks."""
    return checks.init_centroids(
        checks.real_numbers(init, "init"), k, points.shape[1], points.dtype
    )


@_types_are_values
def _weights(sample_weight: ArrayLike | None, n_points: int) -> Array:
    if sample_weight is None:
        return np.ones(n_points)
    weights = checks.real_numbers(sample_weight, "weights")
    return checks.point_weights(
        np.full(n_points, weights) if weights.ndim == 0 else weights, n_points
    )


def _nearest(points: Array, centers: Array, n_threads: int) -> tuple[Array, Array]:
    """Return labels and squared distances, computed in the wider type of the two."""
    rows = points.astype(np.result_type(points, centers), copy=False)
    labels, distances = np.empty(len(rows), np.int32), np.empty(len(rows), rows.dtype)
    assigning.nearest(rows, centers, n_threads, labels, distances)
    return labels, distances


def _distances(points: Array, centers: Array, n_threads: int) -> Array:
    """Return the distances (n, k), computed in the wider type of the two."""
    rows = points.astype(np.result_type(points, centers), copy=False)
    return assigning.distances(rows, centers, n_threads)
