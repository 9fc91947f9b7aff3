"""Bytes of animated GIF files that look equally good: kmq beside gifsicle, gifski and Pillow.

    python benchmarks/animate.py                     all six sequences
    python benchmarks/animate.py --only fade noise   some of them
    KMQ_GIFSKI=… python benchmarks/animate.py        with that program

Looks are the mean SSIMULACRA2 of all frames; flicker is the mean change, in samples, of pixels that
do not change in the original. Each program has many settings. What counts is the least size at
which it looks as good, between two settings in proportion (sizes as logarithms). gifsicle gets the
files of Pillow and of libimagequant, with one palette for all frames and one for each. Programs
that are not there are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

import kmq
import records
import sequences
from kmq.model.image import Pixels
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline.frames import loss_of
from kmq.stages.mapping.ssimulacra2 import Looks
from kmq.stages.pictures.animation import animation_bytes
from pictures import PROJECT, Array
from records import Record, grouped

Made = Iterator[tuple[str, Callable[[], bytes]]]
"""A setting, and what makes its file."""

CACHE = PROJECT / ".benchmarks" / "animations.json"
DELAY = 40
LEVELS = (50, 60, 70, 80, 90)
PALETTES = (256, 128, 64, 32)
LOSSY = (0, 20, 60, 120)
SETTINGS = (
    ("shared", 255, "optimized", (0, 1, 2, 4, 8, 16)),
    ("each", 255, "optimized", (0, 1, 2, 4, 8, 16)),
    ("shared", 255, "nearest", (0,)),
    ("shared", 64, "nearest", (0, 8, 64, 256, 1024, 4096)),
    ("shared", 32, "nearest", (0,)),
)
"""Palettes, colours, mapping and λ of kmq's files."""


def own(frames: list[Array]) -> Made:
    """Yield kmq's files."""
    pixels = [Pixels(frame, PixelFormat.RGB24) for frame in frames]
    for kind, k, mapping, lambdas in SETTINGS:

        @lru_cache(maxsize=1)
        def images(kind: Any = kind, k: int = k, mapping: Any = mapping) -> list[Any]:
            return kmq.quantize_frames(frames, k, palette=kind, mapping=mapping)

        for lam in lambdas:

            def make(images: Any = images, lam: float = lam) -> bytes:
                loss = loss_of(pixels, lam, 2) if lam else None
                return animation_bytes(images(), [DELAY] * len(frames), 0, ".gif", loss)

            yield f"{kind} {k} {mapping} {lam:g}", make


# --- peers ---------------------------------------------------------------------------------------


def pillow(frames: list[Array]) -> Made:
    """Yield what Pillow saves, with a palette for each frame and with one for all."""
    for k in PALETTES:
        for road in ("each", "shared", "shared, dithered"):
            yield f"{road} {k}", lambda k=k, road=road: _saved(_by_pillow(frames, road, k))


def gifsicle(frames: list[Array]) -> Made:
    """Yield what gifsicle makes of files of Pillow and of libimagequant."""
    roads = [(_by_pillow, "shared")]
    roads += [(_by_libimagequant, road) for road in ("each", "shared", "shared, dithered")]
    for maker, road in roads:
        for k in PALETTES:

            @lru_cache(maxsize=1)
            def made(maker: Any = maker, road: str = road, k: int = k) -> bytes:
                return _saved(maker(frames, road, k))

            for lossy in LOSSY:
                options = ["-O3", *([f"--lossy={lossy}"] if lossy else [])]
                yield (
                    f"{maker.__name__[4:]} {road} {k} {' '.join(options)}",
                    lambda options=options, made=made: _through(["gifsicle", *options], made()),
                )


def gifski(frames: list[Array]) -> Made:
    """Yield what gifski makes."""
    for quality in (40, 70, 90, 100):
        for more in ([], ["--lossy-quality", "100"]):
            options = ["--quality", str(quality), *more]
            yield " ".join(options), lambda options=options: _by_gifski(frames, options)


def _by_gifski(frames: list[Array], options: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{number:03}.png" for number in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            Image.fromarray(frame).save(path, compress_level=1)
        command = [_gifski(), "-q", "--fps", str(1000 // DELAY), *options, "-o", f"{folder}/x.gif"]
        subprocess.run([*command, *paths], check=True, stdout=subprocess.DEVNULL)
        return Path(folder, "x.gif").read_bytes()


def _gifski() -> str:
    return os.environ.get("KMQ_GIFSKI", "gifski")


def _by_pillow(frames: list[Array], road: str, k: int) -> list[Image.Image]:
    if road == "each":
        return [Image.fromarray(frame).quantize(k) for frame in frames]
    palette = Image.fromarray(np.concatenate(frames)).quantize(k)
    dither = Image.Dither.FLOYDSTEINBERG if "dithered" in road else Image.Dither.NONE
    return [Image.fromarray(frame).quantize(palette=palette, dither=dither) for frame in frames]


def _by_libimagequant(frames: list[Array], road: str, k: int) -> list[Image.Image]:
    from contenders import libimagequant

    if road == "each":
        parts = [libimagequant(frame, k) for frame in frames]
        return [_with_palette(indices, palette) for palette, indices in parts]
    dithering = 1.0 if "dithered" in road else 0.0
    palette, indices = libimagequant(np.concatenate(frames), k, dithering)
    height = len(frames[0])
    rows = indices.reshape(-1, height, frames[0].shape[1])
    return [_with_palette(part, palette) for part in rows]


def _with_palette(indices: Array, palette: Array) -> Image.Image:
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(palette[:, :3].astype(np.uint8).tobytes())
    return picture


def _saved(pictures: list[Image.Image]) -> bytes:
    stream = io.BytesIO()
    options: dict[str, Any] = {"duration": DELAY, "loop": 0, "optimize": True, "interlace": 0}
    pictures[0].save(stream, "GIF", save_all=True, append_images=pictures[1:], **options)
    return stream.getvalue()


def _through(command: list[str], content: bytes) -> bytes:
    made = subprocess.run(command, input=content, capture_output=True, check=True)
    return made.stdout


PEERS: dict[str, Callable[[list[Array]], Made]] = {
    "Pillow": pillow,
    "gifsicle": gifsicle,
    "gifski": gifski,
}

# --- measuring -----------------------------------------------------------------------------------


class Judge:
    """Says how a file of a sequence looks, and how it flickers."""

    def __init__(self, frames: list[Array]):
        self._frames = frames
        self._looks = [Looks(frame, PixelFormat.RGB24, 1) for frame in frames]

    def of(self, content: bytes) -> Record:
        """Return bytes, looks and flicker of a file."""
        shown = _shown(content)
        if len(shown) != len(self._frames):
            raise ValueError(f"{len(shown)} frames are shown in place of {len(self._frames)}")
        looks = [one.of(frame) for one, frame in zip(self._looks, shown, strict=True)]
        return {
            "bytes": len(content),
            "looks": float(np.mean(looks)),
            "flicker": flicker(self._frames, shown),
        }


def flicker(frames: list[Array], shown: list[Array]) -> float:
    """Return the mean change of samples whose pixels are what they were in the frame before."""
    total, count = 0, 0
    for before, frame, was, now in zip(frames, frames[1:], shown, shown[1:], strict=False):
        still = (before == frame).all(axis=2)
        total += int(np.abs(now[still].astype(int) - was[still]).sum())
        count += 3 * int(still.sum())
    return total / max(count, 1)


def _shown(content: bytes) -> list[Array]:
    """Return a frame for each `DELAY`: programs may join frames that are equal."""
    shown = []
    with Image.open(io.BytesIO(content)) as opened:
        for frame in ImageSequence.Iterator(opened):
            times = max(1, round(frame.info["duration"] / DELAY))
            shown += [np.asarray(frame.convert("RGB"))] * times
    return shown


def measure(names: Iterable[str], cache: dict[str, Record]) -> Iterator[Record]:
    """Yield a record for each sequence, program and setting."""
    peers = {name: peer for name, peer in PEERS.items() if _is_there(name)}
    for name in names:
        frames = sequences.ALL[name]()
        judge = Judge(frames)
        digest = hashlib.sha256(np.stack(frames).tobytes()).hexdigest()[:12]
        for contender, makes in {"kmq": own, **peers}.items():
            for setting, make in makes(frames):
                record = {"table": "animate", "sequence": name, "contender": contender}
                key = f"{digest} {contender} {setting}"
                figures = cache.get(key) or judge.of(make())
                if contender != "kmq":
                    cache[key] = figures
                yield record | {"setting": setting} | figures


def _is_there(name: str) -> bool:
    program = {"gifsicle": "gifsicle", "gifski": _gifski()}.get(name)
    if program and not shutil.which(program):
        print(f"{name} is left out: there is no program {program}")
        return False
    return True


# --- what it says --------------------------------------------------------------------------------


def size_at(points: list[Record], level: float) -> float | None:
    """Return the least bytes at which a program's files look that good; None if none does.

    Settings that another beats in both count as that one. Below the worst of what is left, its
    size holds.
    """
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda one: one["bytes"]):
        if not best or point["looks"] > best[-1][0]:
            best.append((point["looks"], math.log(point["bytes"])))
    looks, sizes = zip(*best, strict=True)
    if level > looks[-1]:
        return None
    return math.exp(float(np.interp(level, looks, sizes)))


def at_levels(found: list[Record]) -> Iterator[Record]:
    """Yield a record for each sequence and level: sizes of all programs, and how they flicker."""
    names = list(dict.fromkeys(record["contender"] for record in found))
    for (sequence,), group in grouped(found, "sequence").items():
        points = {name: [r for r in group if r["contender"] == name] for name in names}
        flickers = {name: float(np.mean([r["flicker"] for r in points[name]])) for name in names}
        for level in LEVELS:
            sizes = {name: size_at(points[name], level) for name in names}
            if any(sizes.values()):
                record = {"table": "animate", "sequence": sequence, "level": level}
                yield record | {"sizes": sizes, "flickers": flickers}


def ratio(record: Record) -> float | None:
    """Return kmq's size over the smallest of the others; None where one of both is missing."""
    others = [size for name, size in record["sizes"].items() if name != "kmq" and size]
    own = record["sizes"]["kmq"]
    return own / min(others) if own and others else None


def table(found: list[Record]) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of a table of what `at_levels` gives."""
    names = ["kmq", *(name for name in PEERS if name in found[0]["sizes"])]
    heads = ["sequence", "SSIMULACRA2", *names, "kmq / smallest", *(f"{n} flickers" for n in names)]
    order = list(sequences.ALL)
    rows = []
    for record in sorted(found, key=lambda one: (order.index(one["sequence"]), one["level"])):
        sizes, share = record["sizes"], ratio(record)
        rows.append(
            [record["sequence"], str(record["level"])]
            + [f"{sizes[name]:,.0f}" if sizes[name] else "-" for name in names]
            + [f"{share:.2f}" if share else "-"]
            + [f"{record['flickers'][name]:.2f}" for name in names]
        )
    return heads, rows


def measured(names: Iterable[str] = sequences.ALL) -> list[Record]:
    """Measure sequences, and return what `at_levels` gives; print each file."""
    found = []
    with records.cached(CACHE) as cache:
        for record in measure(names, cache):
            found.append(record)
            print("  ".join(f"{record[name]}" for name in record), flush=True)
    return list(at_levels(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(sequences.ALL))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    found = measured(arguments.only)
    heads, rows = table(found)
    for row in [heads, *rows]:
        print(" | ".join(row))
    shares = [ratio(record) for record in found]
    n_smaller = sum(share is not None and share < 1 for share in shares)
    print(f"smaller at {n_smaller} of {len(shares)} levels; target: all")
    worst = max(record["flickers"]["kmq"] for record in found)
    print(f"flicker {worst:.3f}; target: 0")
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
