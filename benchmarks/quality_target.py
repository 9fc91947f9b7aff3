"""Bytes of files that look equally good: kmq's `quality=` beside palettes of its peers, and JPEG.

    KMQ_QBENCH=… python benchmarks/quality_target.py              all photographs
    KMQ_QBENCH=… python benchmarks/quality_target.py --sample 4   every fourth
    KMQ_QBENCH=… python benchmarks/quality_target.py --graphics   graphics instead
    KMQ_QBENCH=… python benchmarks/quality_target.py --jobs 8     eight pictures at a time

Looks are SSIMULACRA2. A peer has the fewest colours, up to 256, that look as good, dithered or not;
its PNG file is packed by oxipng. Of the peers the smallest file counts. JPEG is the smallest of
Pillow's, with either subsampling. KMQ_QBENCH names a program with the peers: see benchmarks/eye.py.
It has SSIMULACRA2 as well, which kmq's own is checked against.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import kmq
import records
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.ssimulacra2 import Looks
from pictures import Array, by_name, on_white, photos
from records import Record, mean
from workers import add_jobs, each

TARGETS = {30: 0.36, 45: 0.40, 60: 0.45, 70: 0.50}
"""Share of the smallest peer's bytes to stay within, by SSIMULACRA2."""

NO_LARGER_THAN_JPEG = (45, 60, 70)
MOST_TIME = 12.0
"""How many times the seconds of a plain file a quality may take."""

MOST_APART, PAIRS = 0.1, 50
"""How far SSIMULACRA2 may be from the other program's, in how many pairs."""

METHODS = ("quantette-kmeans", "imagequant", "zenquant", "zenquant-min")
PALETTE_SIZES = (8, 16, 32, 64, 128, 256)
PACKED = 2
"""How many of the peers' smallest files are packed."""


def measure(kind: str, step: int, jobs: int) -> Iterator[Record]:
    """Yield a record for each `step`-th picture and quality: bytes of kmq, of the best peer, of
    JPEG."""
    if os.environ.get("KMQ_QBENCH") is None:
        print("KMQ_QBENCH is not set: the peers are left out")
    elif find_spec("oxipng") is None:
        print("oxipng is not installed: the peers are left out")
    tasks = [(kind, name) for name in [*by_name(kind)][::step]]
    for found in each(measure_one, tasks, jobs):
        yield from found


def measure_one(task: tuple[str, str]) -> list[Record]:
    """Return the records of a picture of a kind."""
    kind, name = task
    program = os.environ.get("KMQ_QBENCH")
    pixels = on_white(by_name(kind)[name].load())
    _compile()
    looks = Looks(pixels, PixelFormat.RGB24, 1)
    _, plain = _timed(lambda: kmq.encode(pixels, 64, n_threads=1))
    peers = Peers(program, pixels, looks) if program and find_spec("oxipng") else None
    found = []
    for quality in TARGETS:
        try:
            encoded, seconds = _timed(partial(kmq.encode, pixels, quality=quality, n_threads=1))
        except kmq.InputError:  # 256 colours do not look as good
            continue
        image = kmq.decode(encoded)
        found.append(
            {
                "table": "quality",
                "kind": kind,
                "picture": name,
                "quality": quality,
                "reached": looks.of(image.to_array()),
                "k": image.n_colors,
                "bpp": 8 * len(encoded) / (pixels.shape[0] * pixels.shape[1]),
                "bytes": len(encoded),
                "peer": peers.smallest(quality) if peers else None,
                "jpeg": _jpeg(pixels, looks, quality),
                "times plain": seconds / plain,
            }
        )
    return found


@lru_cache(maxsize=1)
def _compile() -> None:
    """Compile what there is to compile, once in a process."""
    pixels = np.ascontiguousarray(photos(full=False)[0].load()[:128, :128])
    kmq.encode(pixels, 64, n_threads=1)
    kmq.encode(pixels, quality=50, n_threads=1)


class Peers:
    """What other programs make of one picture."""

    def __init__(self, program: str, pixels: Array, looks: Looks):
        self._program, self._looks = program, looks
        self._folder = tempfile.TemporaryDirectory()
        self._original = Path(self._folder.name) / "original.png"
        Image.fromarray(pixels).save(self._original, compress_level=1)
        self._made: dict[tuple[str, int, int], tuple[Array, float]] = {}

    def smallest(self, quality: float) -> int | None:
        """Return the bytes of the smallest file that looks as good, or None if there is none."""
        import oxipng

        files = []
        for method in METHODS:
            for dithered in (0, 1):
                k = self._fewest(method, dithered, quality)
                if k is not None:
                    files.append(palette_png(self._made[method, dithered, k][0]))
        packed = [
            len(oxipng.optimize_from_memory(file, level=4))
            for file in sorted(files, key=len)[:PACKED]
        ]
        return min(packed, default=None)

    def _fewest(self, method: str, dithered: int, quality: float) -> int | None:
        """Return the fewest colours that look as good, within a twentieth."""
        enough = next(
            (k for k in PALETTE_SIZES if self._score(method, dithered, k) >= quality), None
        )
        if enough is None:
            return None
        few = enough // 2
        while enough > 1.05 * few + 1:
            k = math.isqrt(few * enough)
            if not few < k < enough:
                break
            if self._score(method, dithered, k) >= quality:
                enough = k
            else:
                few = k
        return enough

    def _score(self, method: str, dithered: int, k: int) -> float:
        key = method, dithered, k
        if key not in self._made:
            shown = self._original.with_name("shown.png")
            numbers = [str(k), str(dithered)]
            command = [self._program, "quant", method, *numbers, self._original, shown, "1"]
            subprocess.run(command, capture_output=True, check=True)
            pixels = np.asarray(Image.open(shown).convert("RGB"))
            self._made[key] = pixels, self._looks.of(pixels)
        return self._made[key][1]


def palette_png(pixels: Array) -> bytes:
    """Return a PNG file with a palette, of up to 256 colours, that shows the pixels."""
    image = kmq.quantize(pixels, 256, space="rgb")  # exact: there are no more
    stream = io.BytesIO()
    image.to_pillow().save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _jpeg(pixels: Array, looks: Looks, quality: float) -> int | None:
    """Return the bytes of the smallest JPEG file that looks as good."""
    picture, sizes = Image.fromarray(pixels), []
    for subsampling in (0, 2):
        low, high, best = 1, 96, None
        while low < high:
            level, stream = (low + high) // 2, io.BytesIO()
            picture.save(
                stream, "JPEG", quality=level, subsampling=subsampling, optimize=True,
                progressive=True,
            )  # fmt: skip
            if looks.of(np.asarray(Image.open(stream))) >= quality:
                high, best = level, len(stream.getvalue())
            else:
                low = level + 1
        sizes += [best] if best else []
    return min(sizes, default=None)


def _timed(run: Callable[[], bytes]) -> tuple[bytes, float]:
    started = time.thread_time()
    return run(), time.thread_time() - started


def check_measure(program: str) -> float:
    """Return the greatest difference from the other program's SSIMULACRA2."""
    rng, apart = np.random.default_rng(0), 0.0
    pictures = [*by_name("photo").values()]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("original.png", "other.png")]
        for number in range(PAIRS):
            pixels = pictures[number % len(pictures)].load()
            top, left = (int(rng.integers(0, side // 3)) for side in pixels.shape[:2])
            pixels = np.ascontiguousarray(pixels[top : top + 256, left : left + 300])
            k = int(rng.integers(2, 256))
            other = kmq.quantize(pixels, k).to_array()
            for path, samples in zip(paths, (pixels, other), strict=True):
                Image.fromarray(samples).save(path)
            command = [program, "metric", *paths]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            own = Looks(pixels, PixelFormat.RGB24, 1).of(other)
            apart = max(apart, abs(own - float(re.findall(r"-?\d+\.\d+", said)[0])))
    return apart


def report(found: list[Record]) -> None:
    """Print each target beside its figure."""
    for quality, target in TARGETS.items():
        own = [record for record in found if record["quality"] == quality]
        if not own:
            continue
        slowest = max(own, key=lambda record: record["times plain"])
        missed = [record["picture"] for record in own if record["reached"] < quality]
        print(
            f"SSIMULACRA2 {quality}: {mean(r['bpp'] for r in own):.3f} bits per pixel, "
            f"{mean(r['times plain'] for r in own):.1f} times a plain file's seconds "
            f"(target: at most {MOST_TIME:g}; worst: {slowest['times plain']:.1f} "
            f"{slowest['picture']})" + (f"; missed by {missed}" if missed else "")
        )
        for name, most in (("peer", target), ("jpeg", 1.0)):
            if name == "jpeg" and quality not in NO_LARGER_THAN_JPEG:
                continue
            ratios = {r["picture"]: r["bytes"] / r[name] for r in own if r[name]}
            if not ratios:
                continue
            worst = max(ratios, key=lambda picture: ratios[picture])
            figure = mean(ratios.values())
            print(
                f"  bytes over {name}'s: {figure:.3f}, at most {most:.2f}: "
                f"{'met' if figure <= most else 'missed'} (worst: {ratios[worst]:.2f} {worst}; "
                f"{len(ratios)} pictures)"
            )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--graphics", action="store_true", help="graphics instead of photographs")
    add_jobs(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    program = os.environ.get("KMQ_QBENCH")
    if program:
        apart = check_measure(program)
        met = "met" if apart <= MOST_APART else "missed"
        print(f"SSIMULACRA2 off by {apart:.3f} in {PAIRS} pairs, at most {MOST_APART}: {met}")
    found = []
    kind = "graphic" if arguments.graphics else "photo"
    for record in measure(kind, arguments.sample, arguments.jobs):
        found.append(record)
        facts = {name: value for name, value in record.items() if name != "table"}
        print("  ".join(f"{name} {_shown(value)}" for name, value in facts.items()), flush=True)
    report(found)
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
