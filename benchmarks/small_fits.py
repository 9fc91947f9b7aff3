"""How long small fits of `kmq.KMeans` take, for one of scikit-learn's `KMeans`, when all is warm.

``python benchmarks/small_fits.py`` runs both in turn on one thread each, a `GridSearchCV` over 150
rows, and scikit-learn's own tests. The target is at most scikit-learn's time, of CPU.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import warnings

import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

import kmq
import processors
from layouts import report
from pictures import PROJECT
from records import target

COMMAND = "small_fits.py"

TARGET = 1.0
"""kmq's time, for one of scikit-learn's, at most."""

SECONDS = 0.2
"""How long each pair is run."""

SIZES = [
    (100, 2, 3),
    (150, 4, 3),
    (300, 64, 8),
    (1000, 8, 8),
    (1000, 16, 32),
    (10_000, 2, 2),
    (10_000, 16, 8),
    (10_000, 64, 32),
]
"""Points, channels and clusters."""


def ratio(ours, theirs):
    """Return the median milliseconds of both, run in turn, and of their ratios."""
    ours(), theirs()
    times = []
    begun = time.process_time()
    while time.process_time() - begun < SECONDS or len(times) < 5:
        marks = [time.process_time()]
        for work in (ours, theirs):
            work()
            marks.append(time.process_time())
        times.append(np.diff(marks))
    milliseconds = np.array(times) * 1000
    return *np.median(milliseconds, axis=0), float(
        np.median(milliseconds[:, 0] / milliseconds[:, 1])
    )


def searched(estimator, points):
    return GridSearchCV(estimator, {"n_clusters": [2, 3, 4, 5]}, cv=3).fit(points)


def contenders():
    """Yield what is done, and a function of an estimator class that does it."""
    for n, d, k in SIZES:
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
        fitted = {kind: kind(k, init=start, n_init=1).fit(points) for kind in KINDS}
        for name in ("predict", "transform", "score"):
            yield (
                f"{name}: {n} x {d}, k = {k}",
                lambda kind, name=name, points=points, fitted=fitted: getattr(fitted[kind], name)(
                    points
                ),
            )
    rows = make_blobs(150, 4, centers=3, random_state=0)[0]
    yield f"{SEARCH}: 150 x 4", lambda kind: searched(kind(random_state=0), rows)


SEARCH = "GridSearchCV"

KINDS = (kmq.KMeans, sklearn.cluster.KMeans)


def timings():
    """Yield a record for each."""
    for name, work in contenders():
        ours, theirs, share = ratio(*(lambda kind=kind: work(kind) for kind in KINDS))  # noqa: B023
        record = {"table": "small_fits", "what": name, "kmq, ms": round(ours, 3)}
        yield record | {"scikit-learn, ms": round(theirs, 3), "ratio": round(share, 3)}


def failing_tests():
    """Return how many of scikit-learn's own tests fail."""
    command = [sys.executable, str(PROJECT / "tests" / "sklearn_tests.py"), "--tb=no"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    counts = re.findall(r"(\d+) (failed|passed|error)", told.splitlines()[-1])
    assert counts, told
    return sum(int(count) for count, outcome in counts if outcome != "passed")


def measure():
    """Return a record of each, and of each target."""
    found = list(timings())
    what = "of scikit-learn's time, "
    calls = [r["ratio"] for r in found if not r["what"].startswith(SEARCH)]
    searches = [r["ratio"] for r in found if r["what"].startswith(SEARCH)]
    return [
        *found,
        target(COMMAND, what + "100 to 10,000 points", calls, most=TARGET),
        target(COMMAND, what + "GridSearchCV over 150 rows", searches, most=TARGET),
        target(COMMAND, "scikit-learn's own tests that fail", [failing_tests()], most=0),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print records instead")
    processors.add_without(parser)
    given = parser.parse_args()
    processors.leave_out(given.without)
    warnings.simplefilter("ignore")
    os.environ["KMQ_NUM_THREADS"] = "1"
    threadpool_limits(1)
    report(measure(), as_json=given.json)


if __name__ == "__main__":
    main()
