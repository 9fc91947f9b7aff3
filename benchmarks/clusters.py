"""More data than memory, more processes than one: kmq on Dask beside dask-ml.

    python benchmarks/clusters.py            all of it, in some minutes
    python benchmarks/clusters.py rounds     a round of k-means on a LocalCluster of two processes
    python benchmarks/clusters.py file       a memory map of --gib under a cap of one GiB
    python benchmarks/clusters.py pictures   what photographs cost a worker, in CPU time

dask-ml (extra "bench") is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import kmq
from layouts import TABLES
from pictures import photos
from records import Record

N_TASKS = 2000
N_POINTS, N_FEATURES, N_CHUNKS = 1_600_000, 16, 16
SIZES = (8, 64)
ROUNDS = (2, 8)
"""Fits of these many rounds are timed; their difference has no start and no end in it."""

TARGET = 5
"""How many times faster a round is to be than dask-ml's."""

CAP = 1 << 30


def blobs(n: int, d: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    middles = random.integers(0, 9, (n, 1)).astype(np.float32)
    return random.normal(size=(n, d)).astype(np.float32) + middles


def seconds_of_a_round(fit: Callable[[int], Any]) -> float:
    fit(1)
    times = []
    for _ in range(3):
        ends = [time.perf_counter()]
        for rounds in ROUNDS:
            fit(rounds)
            ends.append(time.perf_counter())
        few, many = np.diff(ends)
        times.append((many - few) / (ROUNDS[1] - ROUNDS[0]))
    return float(np.median(times))


def rounds() -> None:
    import dask.array
    from distributed import Client, LocalCluster

    print(
        f"{N_POINTS:,} points of {N_FEATURES} dimensions, float32, {N_CHUNKS} chunks, 2 processes"
    )
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        size = N_POINTS // N_CHUNKS
        made = [dask.delayed(blobs)(size, N_FEATURES, seed) for seed in range(N_CHUNKS)]
        points = dask.array.concatenate(
            [dask.array.from_delayed(part, (size, N_FEATURES), np.float32) for part in made]
        )
        points = client.persist(points)
        for k in SIZES:
            start = points[:k].compute()

            def ours(n: int, k: int = k, start: Any = start) -> None:
                kmq.KMeans(k, init=start, n_init=1, tol=0, max_iter=n).fit(points)

            own = seconds_of_a_round(ours)
            line = f"k = {k}: kmq {own:.3f} s a round"
            if find_spec("dask_ml"):
                from dask_ml.cluster import KMeans

                def theirs(n: int, k: int = k, start: Any = start) -> None:
                    KMeans(k, init=start, max_iter=n, tol=0).fit(points)

                other = seconds_of_a_round(theirs)
                line += f", dask-ml {other:.3f} s: {other / own:.1f} times (target {TARGET})"
            print(line)


def file(gib: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.f4")
        n = int(gib * (1 << 30) / 4 / N_FEATURES)
        with path.open("wb") as stream:
            step = 1 << 20
            for first in range(0, n, step):
                stream.write(blobs(min(step, n - first), N_FEATURES, first).tobytes())
        command = [sys.executable, __file__, "capped", str(path)]
        subprocess.run(command, check=True)


def capped(path: str) -> None:
    """Fit the rows of a file with no more than CAP of memory of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (CAP, CAP))
    rows = np.memmap(path, np.float32, "r").reshape(-1, N_FEATURES)
    started = time.perf_counter()
    model = kmq.KMeans(16, random_state=0, max_iter=3).fit(rows)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    print(
        f"{rows.nbytes / (1 << 30):.1f} GiB in a file, k = 16, {model.n_iter_} rounds and start: "
        f"{time.perf_counter() - started:.1f} s, {own / 1024:.0f} MiB of memory of its own at the "
        f"end, of which {model.labels_.nbytes / (1 << 20):.0f} MiB are labels (cap {CAP >> 20} MiB)"
    )


def measure() -> Iterator[Record]:
    """Yield CPU seconds of what a worker does, one thread, and what a task costs the scheduler."""
    from distributed import Client
    from PIL import Image

    def unit(name: str, cost: float, of: str) -> Record:
        return {"table": "units", "unit": name, "cost": cost, "of": of}

    chosen = [photo.load() for photo in photos(full=True)[:6]]
    megapixels = sum(samples.size / 3e6 for samples in chosen)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.png") for number in range(len(chosen))]
        for path, samples in zip(paths, chosen, strict=True):
            Image.fromarray(samples).save(path)
        count = partial(kmq.ColorHistogram.from_picture, n_threads=1)
        histograms, seconds = cpu_seconds(lambda: [count(path) for path in paths])
        counting = "read a PNG photograph and count its colours"
        yield unit(counting, 1e3 * seconds / megapixels, "ms per megapixel")
        n_colors = sum(histogram.n_colors for histogram in histograms)
        total, seconds = cpu_seconds(lambda: kmq.ColorHistogram.from_pictures(histograms))
        yield unit("add two histograms", 1e9 * seconds / n_colors, "ns per colour")
        for effort in ("fast", "balanced"):
            encode = partial(kmq.encode, k=64, effort=effort, n_threads=1)
            _, seconds = cpu_seconds(lambda encode=encode: [encode(path) for path in paths])
            name = f'encode at 64 colours, `effort="{effort}"`'
            yield unit(name, 1e3 * seconds / megapixels, "ms per megapixel")
    _, seconds = cpu_seconds(lambda: kmq.fit_palette(total, 256, n_threads=1))
    yield unit(f"find 256 colours for a histogram of {total.n_colors:,}", 1e3 * seconds, "ms")
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as one:
        one.gather(one.map(abs, range(N_TASKS), pure=False))
        _, seconds = cpu_seconds(lambda: one.gather(one.map(abs, range(N_TASKS), pure=False)))
    yield unit("a Dask task: scheduler, client and worker", 1e3 * seconds / N_TASKS, "ms")


def pictures() -> None:
    print(TABLES["units"](list(measure())), end="")


def cpu_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns the second time, and the CPU seconds that it took then."""
    work()
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=("rounds", "file", "pictures", "capped"))
    parser.add_argument("path", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--gib", type=float, default=4.0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part == "capped":
        capped(arguments.path)
        return
    parts = {"rounds": rounds, "file": lambda: file(arguments.gib), "pictures": pictures}
    for name, run in parts.items():
        if arguments.part in (None, name):
            run()


if __name__ == "__main__":
    main()
