"""How long pictures in memory take, beside quantette, with each target next to its figure.

    KMQ_QBENCH=… python benchmarks/speed.py            two photographs; 64 × 64 of them and graphics
    KMQ_QBENCH=… python benchmarks/speed.py --large    and a picture of 24 megapixels

KMQ_QBENCH names a program with quantette: ``PROGRAM quant METHOD K 0 IN - RUNS`` prints the best
time of some runs and the mean squared error. Without it those figures are left out. Times are
the best of several runs in turn, on all cores; on a busy machine CPU time says more, and stands
behind the stroke: of the whole process, and without reading the picture.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import kmq
from pictures import graphics, large, on_white, photos
from records import Record

RUNS, LARGE_RUNS = 15, 3
SIDE = 64


@dataclass(frozen=True)
class Timed:
    """Best wall and CPU milliseconds of some runs, and the mean squared error."""

    wall: float
    cpu: float
    mse: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} / {self.cpu:.2f} ms"


def ours(pixels: np.ndarray[Any, Any], k: int, runs: int, **options: Any) -> Timed:
    """Time `kmq.quantize`."""
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        image = kmq.quantize(pixels, k, **options)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Timed(1000 * min(walls), 1000 * min(cpus), image.report.mse)


def peers(pixels: np.ndarray[Any, Any], k: int, runs: int) -> dict[str, Timed]:
    """Time quantette's two methods, or neither."""
    program = os.environ.get("KMQ_QBENCH")
    if program is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        Image.fromarray(pixels).save(path, compress_level=1)
        return {
            name: _peer(program, f"quantette-{name}", k, path, runs) for name in ("wu", "kmeans")
        }


def _peer(program: str, method: str, k: int, path: Path, runs: int) -> Timed:
    def run(n: int) -> tuple[float, list[str]]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [program, "quant", method, str(k), "0", str(path), "-", str(n)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cpu, printed.split()

    once, _ = min(run(1) for _ in range(3))
    more, words = run(runs + 1)
    return Timed(float(words[2]), 1000 * (more - once) / runs, float(words[5]))


def line(
    name: str, figure: str, target: str = "", ratio: float | None = None, most: float = 0
) -> None:
    verdict = ""
    if ratio is not None:
        verdict = f"{ratio:.2f} of at most {most:.2f}: {'met' if ratio <= most else 'missed'}"
    print(f"  {name:24} {figure:24} {target:36} {verdict}", flush=True)


def compare(pixels: np.ndarray[Any, Any], k: int, runs: int, *, is_large: bool = False) -> None:
    """Print what one picture takes with k colours."""
    found = peers(pixels, k, runs)
    for name, peer in found.items():
        line(f"quantette, {name}", f"{peer}", f"squared error {peer.mse:.1f}")
    rgb = ours(pixels, k, runs, space="rgb")
    eye = ours(pixels, k, runs)
    wu, kmeans = found.get("wu"), found.get("kmeans")
    if not is_large:
        fast = ours(pixels, k, runs, space="rgb", effort="fast")
        line("rgb, fast", f"{fast}")
        if wu is not None:
            line("", "", "time to Wu's", fast.wall / wu.wall, 2)
            line("", "", "squared error to Wu's", fast.mse / wu.mse, 0.55)
    line("rgb, balanced", f"{rgb}")
    if kmeans is not None:
        line("", "", "time to k-means'", rgb.wall / kmeans.wall, 0.25 if is_large else 1)
    line("eye, balanced", f"{eye}", "CPU time to rgb's", eye.cpu / rgb.cpu, 1.3)
    if kmeans is not None:
        line("", "", "time to k-means'", eye.wall / kmeans.wall, 1)


def icons(pixels: np.ndarray[Any, Any]) -> None:
    """Print what small pictures take."""
    icon = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE)))
    for k in (16, 64):
        for space in ("rgb", "eye"):
            timed = ours(icon, k, 10 * RUNS, space=space)
            line(f"{SIDE} x {SIDE}, {space}, k = {k}", f"{timed}", "ms", timed.wall, 1)


def measure() -> Iterator[Record]:
    """Yield CPU seconds of what the page about the search shows."""
    ways = {
        "kmq fast, rgb": {"space": "rgb", "effort": "fast"},
        "kmq balanced, rgb": {"space": "rgb"},
        "kmq balanced, eye": {},
    }
    small = [
        (one.name, np.asarray(Image.fromarray(on_white(one.load())).resize((SIDE, SIDE))))
        for one in (photos(full=False)[0], graphics(full=False)[0])
    ]
    whole = [(one.name, np.ascontiguousarray(one.load()[..., :3])) for one in photos(full=False)]
    whole += [(one.name, one.load()) for one in large()[-1:]]
    for name, pixels in small + whole:
        is_large = pixels.shape[0] > 2000
        k, runs = (256, LARGE_RUNS) if is_large else (64, RUNS)
        found = {way: ours(pixels, k, runs, n_threads=1, **of) for way, of in ways.items()}
        found |= {f"quantette {way}": of for way, of in peers(pixels, k, runs).items()}
        height, width = pixels.shape[:2]
        facts = {"table": "speed", "picture": name, "width": width, "height": height, "k": k}
        for contender, timed in found.items():
            yield facts | {"contender": contender, "milliseconds": timed.cpu, "mse": timed.mse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="and a picture of 24 megapixels")
    arguments = parser.parse_args()
    for picture in photos(full=False):
        pixels = np.ascontiguousarray(picture.load()[:, :, :3])
        for k in (16, 64, 256):
            print(f"{picture.name}, {pixels.shape[1]} x {pixels.shape[0]}, k = {k}")
            compare(pixels, k, RUNS)
        print(f"{picture.name}, small")
        icons(pixels)
    for picture in graphics(full=False):
        print(f"{picture.name}, small")
        icons(on_white(picture.load()))
    if arguments.large:
        for picture in large()[-1:]:
            print(f"{picture.name}, k = 256")
            compare(picture.load(), 256, LARGE_RUNS, is_large=True)


if __name__ == "__main__":
    main()
