"""One palette for many pictures: time, memory, and what it costs beside a palette for each.

    python benchmarks/shared_palette.py

The pictures are crops of the corpus's photographs, or of computed ones, each cut out when it is
its turn. Their colours are counted forwards and, cut in two halves that are added, backwards: the
palette must be the same.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kmq
import records
from pictures import photos

Array = np.ndarray[Any, Any]


def crops(numbers: Sequence[int], n: int, side: int) -> Iterator[Array]:
    """Yield those of n seeded square parts of the photographs, of which each has its share."""
    pictures = photos(full=True)
    for number in numbers:
        picture = pictures[number * len(pictures) // n].load()
        rng = np.random.default_rng(number)
        top, left = (
            int(rng.integers(0, max(1, extent - side + 1))) for extent in picture.shape[:2]
        )
        yield np.ascontiguousarray(picture[top : top + side, left : left + side])


def peak_memory() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--side", type=int, default=256, help="pixels of a side (default: 256)")
    parser.add_argument("-k", type=int, default=64, help="colours (default: 64)")
    parser.add_argument("--checked", type=int, default=50, help="pictures with a palette each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    n, side, k = arguments.pictures, arguments.side, arguments.k

    kmq.fit_palette(kmq.ColorHistogram.from_picture(next(crops([0], n, side))), 4)  # compiles
    before = peak_memory()
    started = time.perf_counter()
    histogram = kmq.ColorHistogram.from_pictures(crops(range(n), n, side))
    counting = time.perf_counter() - started
    counted = peak_memory()
    started = time.perf_counter()
    palette = kmq.fit_palette(histogram, k, space="rgb")
    fitting = time.perf_counter() - started
    fitted = peak_memory()

    halves = [
        kmq.ColorHistogram.from_pictures(crops(numbers, n, side))
        for numbers in (range(n)[: n // 2 - 1 : -1], range(n)[n // 2 - 1 :: -1])
    ]
    backwards = halves[0] + halves[1]
    assert backwards == histogram
    assert np.array_equal(kmq.fit_palette(backwards, k, space="rgb"), palette)

    shared, own = [], []
    step = max(1, n // arguments.checked)
    for picture in crops(range(0, n, step), n, side):
        shared.append(_mse(kmq.quantize(picture, palette=palette, space="rgb")))
        own.append(_mse(kmq.quantize(picture, k, space="rgb")))

    samples = n * side * side * 3 / 2**20
    print(f"{n} pictures of {side} x {side} pixels, {samples:,.0f} MiB together; k = {k}")
    print(
        f"counting   {counting:8.2f} s, {1000 * counting / n:.1f} ms per picture, cutting included"
    )
    print(f"histogram  {histogram.n_colors:,} colours, {histogram.n_pixels:,} pixels")
    print(f"fitting    {fitting:8.2f} s")
    print(
        f"memory     {before:8.0f} MiB before, {counted:.0f} after counting, {fitted:.0f} after all"
    )
    print("order      backwards and in two halves: the same histogram, the same palette")
    print(f"MSE        {np.mean(shared):8.1f} with the shared palette, {np.mean(own):.1f} with "
          f"one for each, over {len(own)} of them")  # fmt: skip
    if arguments.json:
        records.save(
            arguments.json,
            [
                {
                    "table": "shared palette",
                    "pictures": n,
                    "side": side,
                    "k": k,
                    "colors": histogram.n_colors,
                    "counting_seconds": counting,
                    "fitting_seconds": fitting,
                    "peak_mib": fitted,
                    "mse_shared": float(np.mean(shared)),
                    "mse_own": float(np.mean(own)),
                }
            ],
        )


def _mse(image: kmq.IndexedImage) -> float:
    assert image.report is not None
    return image.report.mse


if __name__ == "__main__":
    main()
