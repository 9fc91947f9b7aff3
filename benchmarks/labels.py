"""Label maps against general codecs: bytes beside the smallest peer's, and how fast they decode.

    python benchmarks/labels.py               JPEG XL with its usual effort
    python benchmarks/labels.py --effort 9    with the one that takes minutes
    python benchmarks/labels.py --only cells

Peers get labels in the narrowest unsigned type that holds them: PNG and JPEG XL 8 or 16 bits of
grey, WebP two channels of 8 bits. Decoding is kmq's with "fast", on two threads by the clock on the
wall, and on one by its processor's time, which other programs do not change much.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator

import imagecodecs
import numpy as np
import oxipng
from PIL import Image
from scipy import ndimage, spatial
from skimage import data, filters, morphology, segmentation
from skimage.measure import label as connected

import kmq
from layouts import TABLES
from records import Record

MOST_BYTES = 0.6
"""Share of the smallest peer's bytes to stay within."""

LEAST_SPEED = 20
"""Megapixels to decode in a second on two cores."""

Mask = np.ndarray


def cells(side: int, count: int) -> Mask:
    """Ellipses with wobbly outlines on background 0, the first on top."""
    rng = np.random.default_rng(count)
    mask = np.zeros((side, side), np.int64)
    for label in range(1, count + 1):
        y, x = rng.random(2) * side
        radius, stretch, turn = rng.uniform(6, 16), rng.uniform(0.6, 1.5), rng.random() * np.pi
        phases = rng.random(2) * 6
        rows = slice(max(0, int(y) - 30), int(y) + 30)
        columns = slice(max(0, int(x) - 30), int(x) + 30)
        part = mask[rows, columns]
        dy, dx = np.ogrid[rows.start : rows.start + len(part), columns.start : side]
        dy, dx = dy - y, dx[:, : part.shape[1]] - x
        angle = np.arctan2(dy, dx)
        outline = 1 + 0.12 * np.sin(3 * angle + phases[0]) + 0.06 * np.sin(5 * angle + phases[1])
        along = (dx * np.cos(turn) + dy * np.sin(turn)) / (radius * stretch)
        across = (dy * np.cos(turn) - dx * np.sin(turn)) / (radius / stretch)
        part[(along**2 + across**2 < outline**2) & (part == 0)] = label
    return mask


def street(height: int, width: int) -> Mask:
    """Classes of a street scene, as in data sets for driving."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    mask = np.where(y > 0.5 * height, 1, 10)
    left = 0
    while left < width:
        right = left + int(rng.integers(40, 160))
        mask[int(height * rng.uniform(0.08, 0.4)) : height // 2, left:right] = 2
        left = right + int(rng.integers(-5, 40))
    noise = ndimage.gaussian_filter(rng.standard_normal((height, width)), 9)
    mask[(noise > 0.9 * noise.std()) & (y > 0.25 * height) & (y < 0.55 * height)] = 8
    away = np.abs(x - width / 2)
    mask[(y > 0.5 * height) & (away < (y - 0.45 * height) * 1.4)] = 0
    mask[(y > 0.55 * height) & (away < (y - 0.45 * height) * 0.02 + 1)] = 6
    for _ in range(25):  # cars
        at, row = rng.integers(0, width), rng.integers(int(0.48 * height), int(0.85 * height))
        size = (row - 0.42 * height) * 0.35
        mask[(np.abs(x - at) < size) & (np.abs(y - row) < size / 2)] = 13
        mask[(x - at + 0.6 * size) ** 2 + (y - row - size / 2) ** 2 < (0.2 * size) ** 2] = 13
    for _ in range(12):  # people
        at, row = rng.integers(0, width), rng.integers(int(0.48 * height), int(0.7 * height))
        size = (row - 0.42 * height) * 0.2
        mask[((x - at) / size) ** 2 + ((y - row) / (2.5 * size)) ** 2 < 1] = 11
    for at in rng.integers(0, width, 15):  # poles and signs
        mask[int(0.1 * height) : int(0.62 * height), at : at + 3] = 5
        mask[int(0.12 * height) : int(0.15 * height), max(0, at - 8) : at + 10] = 7
    return mask


def parcels(side: int, count: int) -> Mask:
    """Rectangles, halved again and again, seen at an angle."""
    rng = np.random.default_rng(count)
    parts = [(0, 0, side, side)]
    while len(parts) < count:
        largest = max(range(len(parts)), key=lambda i: _area(parts[i]))
        top, left, bottom, right = parts.pop(largest)
        share = rng.uniform(0.35, 0.65)
        if bottom - top > right - left:
            cut = top + int((bottom - top) * share)
            parts += [(top, left, cut, right), (cut, left, bottom, right)]
        else:
            cut = left + int((right - left) * share)
            parts += [(top, left, bottom, cut), (top, cut, bottom, right)]
    plan = np.zeros((side, side), np.int64)
    for label, (top, left, bottom, right) in enumerate(parts):
        plan[top:bottom, left:right] = label
    y, x = np.mgrid[:side, :side].astype(float)
    rows = (y + 0.15 * x + 6 * np.sin(x / 120)) % side
    columns = (x - 0.1 * y + 5 * np.sin(y / 150)) % side
    return plan[rows.astype(int) % side, columns.astype(int) % side]


def _area(part: tuple[int, int, int, int]) -> int:
    return (part[2] - part[0]) * (part[3] - part[1])


def voronoi(side: int, count: int) -> Mask:
    """Regions nearest to random seeds, labelled in no order."""
    seeds = np.random.default_rng(count).random((count, 2)) * side
    pixels = np.indices((side, side)).reshape(2, -1).T
    return spatial.cKDTree(seeds).query(pixels)[1].reshape(side, side)


def coins() -> Mask:
    """Connected parts of a thresholded photograph."""
    photo = data.coins()
    square = morphology.footprint_rectangle((3, 3))
    inside = morphology.closing(photo > filters.threshold_otsu(photo), square)
    return connected(segmentation.clear_border(inside))


MASKS: dict[str, Callable[[], Mask]] = {
    "one label": lambda: np.full((1024, 1024), 7),
    "cells, 600": lambda: cells(1024, 600),
    "cells, 3,000": lambda: cells(2048, 3000),
    "street scene": lambda: street(1024, 2048),
    "parcels, 300": lambda: parcels(1024, 300),
    "parcels, 5,000": lambda: parcels(2048, 5000),
    "Voronoi, 50": lambda: voronoi(1024, 50),
    "Voronoi, 1,000": lambda: voronoi(1024, 1000),
    "Voronoi, 5,000": lambda: voronoi(2048, 5000),
    "skimage horse": lambda: ~data.horse().astype(bool),
    "skimage coins": coins,
    "skimage blobs": lambda: connected(
        data.binary_blobs(512, blob_size_fraction=0.05, volume_fraction=0.4, rng=1)
    ),
    "skimage astronaut, SLIC": lambda: segmentation.slic(data.astronaut(), 250, compactness=10),
    "skimage astronaut, Felzenszwalb": lambda: segmentation.felzenszwalb(
        data.astronaut(), scale=100, sigma=0.5, min_size=50
    ),
    "skimage camera, watershed": lambda: segmentation.watershed(
        filters.sobel(data.camera()), markers=400, compactness=0.001
    ),
}


def peers(mask: Mask, effort: int) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each peer."""
    narrow = mask.astype(np.uint8 if mask.max() < 256 else np.uint16)
    yield "zstd", len(imagecodecs.zstd_encode(narrow.tobytes(), level=19))
    blosc = imagecodecs.blosc_encode(
        narrow, compressor="zstd", level=9, shuffle="bitshuffle", typesize=narrow.itemsize
    )
    yield "Blosc", len(blosc)
    file = io.BytesIO()
    Image.fromarray(narrow).save(file, "PNG")
    yield "PNG", len(oxipng.optimize_from_memory(file.getvalue(), level=4))
    high = narrow >> 8 if narrow.itemsize == 2 else narrow
    channels = np.stack([high, narrow & 255, high], 2).astype(np.uint8)
    yield "WebP", len(imagecodecs.webp_encode(channels, level=100, lossless=True, method=6))
    yield "JPEG XL", len(imagecodecs.jpegxl_encode(narrow, lossless=True, effort=effort))


def speed(mask: Mask, encoded: bytes, clock: Callable[[], float], n_threads: int) -> float:
    """Return megapixels decoded in a second of a clock, the best of five."""
    seconds = []
    for _ in range(5):
        begin = clock()
        again = kmq.decode_labels(encoded, n_threads=n_threads)
        seconds.append(clock() - begin)
    assert np.array_equal(again, mask)
    return mask.size / min(seconds) / 1e6


def measure(effort: int = 7, only: str = "") -> Iterator[Record]:
    """Yield a record for each mask with `only` in its name; `effort` is JPEG XL's."""
    for name, make in MASKS.items():
        if only not in name:
            continue
        mask = make()
        fast = kmq.encode_labels(mask, effort="fast")
        smallest, peer = min((size, peer) for peer, size in peers(mask, effort))
        yield {
            "table": "labels",
            "mask": name,
            "labels": len(np.unique(mask)),
            "fast": len(fast),
            "balanced": len(kmq.encode_labels(mask)),
            "peer": peer,
            "peer_bytes": smallest,
            "decoded_on_two": speed(mask, fast, time.perf_counter, 2),
            "decoded_on_one": speed(mask, fast, time.process_time, 1),
        }


def main() -> None:
    """Print a line for each mask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--effort", type=int, default=7, help="of JPEG XL, 1 to 9 (default: 7)")
    parser.add_argument("--only", default="", metavar="NAME", help="masks with this in their name")
    arguments = parser.parse_args()
    found = list(measure(arguments.effort, arguments.only))
    print(TABLES["labels"](found), end="")
    slowest = min(found, key=lambda record: record["decoded_on_two"])
    print(f"Slowest on two cores: {slowest['decoded_on_two']:.0f} MP/s, {slowest['mask']}.")
    print(f"Targets: a ratio of at most {MOST_BYTES}, {LEAST_SPEED} megapixels per second.")


if __name__ == "__main__":
    main()
