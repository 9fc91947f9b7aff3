"""What files of a given size or quality cost to find: k, λ, bytes, PSNR, SSIMULACRA2, seconds.

    python benchmarks/targets.py                     six photographs and three graphics
    python benchmarks/targets.py --sample girl       those whose name has that

Seconds are one thread's CPU time, from the file of the picture to the bytes, beside those of a
plain file with as many colours. To compare two versions, run it with either on PYTHONPATH in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kmq import files
from kmq.stages.mapping.ssimulacra2 import ssimulacra2
from kmq.stages.pictures.reading import read_pixels
from pictures import from_corpus
from records import Record

PHOTOS = ("girl", "marrakech_museum", "pencils", "macaws", "traffic", "cosmic_vista")
GRAPHICS = ("chart", "screenshot", "logo_rgba")
PHOTO_TARGETS = {"size": 25_000, "bpp": 1.5, "psnr": 32, "max_mse": 120, "quality": 60}
GRAPHIC_TARGETS = {"size": 6_000, "bpp": 0.25, "psnr": 34, "max_mse": 60, "quality": 80}


def measure(sample: str) -> Iterator[Record]:
    """Yield a record for each picture and target."""
    for folder, names, targets in (
        ("photos", PHOTOS, PHOTO_TARGETS),
        ("graphics", GRAPHICS, GRAPHIC_TARGETS),
    ):
        for picture in from_corpus(folder, names):
            assert picture.path is not None
            if sample not in picture.name:
                continue
            _timed(picture.path, {"size": 2_000})  # compiles what there is to compile
            for name, value in targets.items():
                found, seconds = _timed(picture.path, {name: value, "space": "rgb"})
                _, plain = _timed(picture.path, {"k": found.image.n_colors, "space": "rgb"})
                pixels, image = read_pixels(picture.path), found.image
                shown = image.palette[image.indices]
                yield {
                    "table": "targets",
                    "picture": picture.name,
                    "target": f"{name}={value}",
                    "k": image.n_colors,
                    "lam": found.lam,
                    "bytes": sum(map(len, found.pieces)),
                    "psnr": image.report.psnr,
                    "ssimulacra2": ssimulacra2(pixels.samples, shown, image.pixel_format),
                    "seconds": seconds,
                    "times plain": seconds / plain,
                }


def _timed(path: Path, options: dict[str, Any]) -> tuple[Any, float]:
    started = time.thread_time()
    found = files.encoded(path, options | {"n_threads": 1})
    return found, time.thread_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="NAME", default="", help="only pictures of such names")
    names = ("k", "lam", "bytes", "psnr", "ssimulacra2", "seconds", "times plain")
    print(f"{'picture':18}{'target':14}" + "".join(f"{name:>12}" for name in names))
    for entry in measure(parser.parse_args().sample):
        print(
            f"{entry['picture']:18}{entry['target']:14}"
            + "".join(f"{entry[name]:>12.5g}" for name in names),
            flush=True,
        )


if __name__ == "__main__":
    main()
