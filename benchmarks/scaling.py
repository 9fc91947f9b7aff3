"""Time of `kmq.quantize` against pixels (0.1 to 24 megapixels) and k (2 to 1024).

    python benchmarks/scaling.py

`tables.py` measures the same and draws docs/scaling.svg.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

import kmq
from pictures import Array, large, photos
from records import Record

MEGAPIXELS = (0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 24)
PALETTE_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
PIXELS_AT_K = 256
"""Colours while the pixels grow."""


def measure(most: float = MEGAPIXELS[-1]) -> Iterator[Record]:
    """Yield records of one picture at several sizes, and of a photograph at several k."""
    whole = Image.fromarray(largest())
    for megapixels in (size for size in MEGAPIXELS if size <= most):
        scale = math.sqrt(megapixels * 1e6 / (whole.width * whole.height))
        size = round(whole.width * scale), round(whole.height * scale)
        pixels = np.asarray(whole.resize(size, Image.Resampling.LANCZOS))
        yield _record("pixels", pixels, PIXELS_AT_K)
    photo = photos(full=False)[-1].load()
    for k in PALETTE_SIZES:
        yield _record("k", photo, k)


def _record(against: str, pixels: Array, k: int) -> Record:
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    seconds = _seconds(pixels, k)
    print(f"{megapixels:>6.2f} megapixels, k = {k:>4}: {1000 * seconds:>8.1f} ms", flush=True)
    return {
        "table": "scaling",
        "against": against,
        "megapixels": megapixels,
        "k": k,
        "seconds": seconds,
    }


def largest() -> Array:
    """Return the largest picture there is: of the corpus, or computed."""
    from kmq.cli.scene import scene

    biggest = max(large(), key=lambda picture: picture.load().size, default=None)
    return biggest.load() if biggest else np.ascontiguousarray(scene(3072, 2048)[:, :, :3])


def _seconds(pixels: Array, k: int) -> float:
    """Return the least of some runs after a first one."""
    kmq.quantize(pixels[::8, ::8], min(k, 16), space="rgb")
    times: list[float] = []
    while len(times) < 3 or (len(times) < 7 and sum(times) < 0.5):
        started = time.perf_counter()
        kmq.quantize(pixels, k, space="rgb")
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=float, default=24, help="megapixels (default: 24)")
    for _ in measure(parser.parse_args().most):
        pass


if __name__ == "__main__":
    main()
