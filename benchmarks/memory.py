"""Peak memory of `kmq.quantize` above the picture's array, and what a call of `kmq.assign` costs.

    python benchmarks/memory.py

The picture is the largest there is, 24 megapixels with the corpus. Peaks are Linux's own, so they
hold all that NumPy, Numba and the threads ask for; kernels are loaded before.
"""

from __future__ import annotations

import re
import timeit
from pathlib import Path

import numpy as np

import kmq
from scaling import largest


def main() -> None:
    rng = np.random.default_rng(0)
    pixels = largest()
    for k in (64, 256):
        kmq.quantize(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8), k)  # loads, compiles
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
        before = _peak()
        kmq.quantize(pixels, k, space="rgb")
        above = (_peak() - before) / pixels.nbytes
        print(f"{pixels.size / 3e6:.1f} megapixels, k = {k}: {above:.2f} times the array above it")
    points = rng.normal(size=(100, 3)).astype(np.float32)
    centroids, labels = points[:16].copy(), np.empty(100, np.int32)
    kmq.assign(points, centroids, out=labels)
    seconds = min(timeit.repeat(lambda: kmq.assign(points, centroids, out=labels), number=2000))
    print(f"kmq.assign of 100 points to 16 centroids: {1e6 * seconds / 2000:.1f} µs a call")


def _peak() -> int:
    """Return the most bytes this process has held."""
    [kibibytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kibibytes)


if __name__ == "__main__":
    main()
