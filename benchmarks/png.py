"""Bytes of PNG files that look equally good: kmq's `quality=` beside pngquant's kind, with oxipng.

    KMQ_QBENCH=… python benchmarks/png.py              all photographs and graphics
    KMQ_QBENCH=… python benchmarks/png.py --sample 4   every fourth

Looks are SSIMULACRA2. libimagequant (which pngquant is), zenquant and quantette have the fewest
colours, up to 256, that look as good, dithered or not, and oxipng packs their files; the smallest
counts. KMQ_QBENCH names a program with the peers: see benchmarks/eye.py.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import kmq
import records
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.ssimulacra2 import Looks
from pictures import by_name
from quality_target import Peers
from records import Record, mean

TARGET = 0.90
"""Share of the smallest peer's bytes to stay within."""


def measure(qualities: list[float], step: int) -> Iterator[Record]:
    """Yield a record for each picture and quality."""
    program = os.environ.get("KMQ_QBENCH")
    if program is None:
        print("KMQ_QBENCH is not set: the peers are left out")
    pictures = [("photos", one) for one in [*by_name("photo").values()][::step]]
    pictures += [("graphics", one) for one in [*by_name("graphic").values()][::step]]
    for kind, picture in pictures:
        pixels = picture.load()
        if pixels.shape[2] != 3:
            continue
        looks = Looks(pixels, PixelFormat.RGB24, 1)
        peers = Peers(program, pixels, looks) if program else None
        for quality in qualities:
            record = {"table": "png", "kind": kind, "picture": picture.name, "quality": quality}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "x.png"
                try:
                    kmq.write(path, pixels, quality=quality)
                except kmq.InputError:  # 256 colours do not look as good
                    continue
                shown = np.asarray(Image.open(path).convert("RGB"))
                yield record | {
                    "bytes": path.stat().st_size,
                    "reached": looks.of(shown),
                    "peer": peers.smallest(quality) if peers else None,
                }


def report(found: list[Record]) -> None:
    """Print the target beside each figure."""
    for kind, quality in sorted({(record["kind"], record["quality"]) for record in found}):
        own = [one for one in found if (one["kind"], one["quality"]) == (kind, quality)]
        ratios = [one["bytes"] / one["peer"] for one in own if one["peer"]]
        if ratios:
            figure = mean(ratios)
            print(
                f"{kind}, SSIMULACRA2 {quality:g}: {figure:.3f} of the smallest peer's bytes, "
                f"largest {max(ratios):.2f}, {len(ratios)} pictures; target: at most {TARGET:.2f}: "
                f"{'met' if figure <= TARGET else 'missed'}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth picture")
    parser.add_argument("--quality", metavar="Q", type=float, nargs="+", default=[45, 60, 70])
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    found = []
    for record in measure(arguments.quality, arguments.sample):
        found.append(record)
        print("  ".join(f"{name} {record[name]}" for name in record), flush=True)
    report(found)
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
