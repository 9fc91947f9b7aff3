"""More data than memory, more processes than one: kmq on Dask beside dask-ml.

    python benchmarks/clusters.py            all of it, in some minutes, and the targets
    python benchmarks/clusters.py rounds     a round of k-means on a LocalCluster of two processes
    python benchmarks/clusters.py file       a memory map of --gib under a cap of one GiB
    python benchmarks/clusters.py pictures   what photographs cost a worker, in CPU time

dask-ml (extra "bench") is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import json
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
import processors
from layouts import report
from pictures import photos
from records import Record, target

COMMAND = "clusters.py"

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


def rounds() -> Iterator[Record]:
    """Yield seconds of a round, what a worker takes besides the points, and the targets."""
    import dask.array
    from distributed import Client, LocalCluster

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

            def theirs(n: int, k: int = k, start: Any = start) -> None:
                from dask_ml.cluster import KMeans

                KMeans(k, init=start, max_iter=n, tol=0).fit(points)

            own = seconds_of_a_round(ours)
            record = {"table": "dask", "n": N_POINTS, "d": N_FEATURES, "k": k, "kmq, s": own}
            before = client.run(memory, new_peak=True)
            ours(ROUNDS[1])
            most = max(peak - before[one] for one, peak in client.run(memory).items())
            record["worker, MiB"] = most / (1 << 20)
            chunk_and_sums = 4 * size * N_FEATURES + 8 * k * (N_FEATURES + 1)
            if find_spec("dask_ml"):
                record["dask-ml, s"] = seconds_of_a_round(theirs)
                what = f"round of k = {k}, times as fast as dask-ml"
                yield target(COMMAND, what, [record["dask-ml, s"] / own], least=TARGET)
            what = f"memory of a worker, of a chunk and its sums, k = {k}"
            yield target(COMMAND, what, [most / chunk_and_sums], most=1)
            yield record


def memory(*, new_peak: bool = False) -> int:
    """Return the most bytes that this process has held, or hold them from now on."""
    if new_peak:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return 1024 * kibibytes("VmHWM")


def kibibytes(name: str) -> int:
    """Return what Linux says of this process's memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))


def file(gib: float) -> Iterator[Record]:
    """Yield what a fit of rows in a file takes, in a process of its own, and the target."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.f4")
        n = int(gib * (1 << 30) / 4 / N_FEATURES)
        with path.open("wb") as stream:
            step = 1 << 20
            for first in range(0, n, step):
                stream.write(blobs(min(step, n - first), N_FEATURES, first).tobytes())
        command = [sys.executable, __file__, "--capped", str(path)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    record = json.loads(told)
    yield record
    what = f"MiB of memory for {gib:g} GiB in a file, without labels"
    yield target(COMMAND, what, [record["MiB"] - record["labels, MiB"]], most=CAP >> 20)


def capped(path: str) -> None:
    """Fit the rows of a file with no more than CAP of memory of its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (CAP, CAP))
    rows = np.memmap(path, np.float32, "r").reshape(-1, N_FEATURES)
    started = time.perf_counter()
    model = kmq.KMeans(16, random_state=0, max_iter=3).fit(rows)
    record = {"table": "file", "GiB": rows.nbytes / (1 << 30), "k": 16, "rounds": model.n_iter_}
    record |= {"seconds": time.perf_counter() - started, "MiB": kibibytes("RssAnon") / 1024}
    print(json.dumps(record | {"labels, MiB": model.labels_.nbytes / (1 << 20)}))


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


def cpu_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns the second time, and the CPU seconds that it took then."""
    work()
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = {"rounds": rounds, "file": lambda: file(arguments.gib), "pictures": measure}
    parser.add_argument("part", nargs="*", help=f"{', '.join(parts)} (default: all)")
    parser.add_argument("--capped", metavar="PATH", help=argparse.SUPPRESS)
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--json", action="store_true", help="print records instead")
    processors.add_without(parser)
    arguments = parser.parse_args()
    processors.leave_out(arguments.without)
    warnings.simplefilter("ignore")
    if arguments.capped:
        capped(arguments.capped)
        return
    chosen = arguments.part or [*parts]
    report([one for name in chosen for one in parts[name]()], as_json=arguments.json)


if __name__ == "__main__":
    main()
