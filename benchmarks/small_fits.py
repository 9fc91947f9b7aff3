"""How long small fits of `kmq.KMeans` take, for one of scikit-learn's `KMeans`, when all is warm.

``python benchmarks/small_fits.py`` runs both in turn on one thread each, and a `GridSearchCV` over
150 rows. The target is at most scikit-learn's time.
"""

import os
import time
import warnings

import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

import kmq

TARGET = 1.0
"""kmq's time, for one of scikit-learn's, at most."""

SECONDS = 0.5
"""How long each pair is run."""


def ratio(ours, theirs):
    """Return the median milliseconds of both, run in turn, and of their ratios."""
    ours(), theirs()
    times = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS or len(times) < 5:
        marks = [time.perf_counter()]
        for work in (ours, theirs):
            work()
            marks.append(time.perf_counter())
        times.append(np.diff(marks))
    milliseconds = np.array(times) * 1000
    return *np.median(milliseconds, axis=0), float(
        np.median(milliseconds[:, 0] / milliseconds[:, 1])
    )


def searched(estimator, points):
    return GridSearchCV(estimator, {"n_clusters": [2, 3, 4, 5]}, cv=3).fit(points)


def contenders():
    """Yield what is done, and a function of an estimator class that does it."""
    for n, d, k in ((100, 2, 3), (150, 4, 3), (1000, 8, 8), (10_000, 16, 8)):
        points = make_blobs(n, d, centers=k, cluster_std=3.0, random_state=0)[0]
        start = points[:k]
        for name, options in {
            "fit": {"random_state": 0},
            "fit from centres": {"init": start, "n_init": 1},
            "fit, n_init=10": {"random_state": 0, "n_init": 10},
        }.items():
            yield (
                f"{name}: {n} x {d}, k = {k}",
                lambda kind, k=k, options=options, points=points: kind(k, **options).fit(points),
            )
        fitted = {kind: kind(k, random_state=0).fit(points) for kind in KINDS}
        yield (
            f"predict: {n} x {d}, k = {k}",
            lambda kind, points=points, fitted=fitted: fitted[kind].predict(points),
        )
    rows = make_blobs(150, 4, centers=3, random_state=0)[0]
    yield "GridSearchCV: 150 x 4", lambda kind: searched(kind(random_state=0), rows)


KINDS = (kmq.KMeans, sklearn.cluster.KMeans)


def main():
    warnings.simplefilter("ignore")
    os.environ["KMQ_NUM_THREADS"] = "1"
    print("| what | kmq, ms | scikit-learn, ms | ratio | target |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, work in contenders():
        with threadpool_limits(1):
            ours, theirs, share = ratio(*(lambda kind=kind: work(kind) for kind in KINDS))  # noqa: B023
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {share:.2f} | {TARGET:.2f} |")


if __name__ == "__main__":
    main()
