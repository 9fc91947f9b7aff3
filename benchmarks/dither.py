"""Dithered photographs beside Pillow, ImageMagick and libimagequant: how they look, and their size.

    KMQ_QBENCH=… python benchmarks/dither.py [--sample N] [--colors K]...

How they look: SSIMULACRA2 and butteraugli, by the program that KMQ_QBENCH names (benchmarks/eye.py
says what it is to do). Size: our dithered indices by our coder, beside the same indices as WebP and
JPEG XL.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

import kmq
from contenders import SMALLEST_PEERS
from eye import looks_of, saved
from kmq.model import alpha
from kmq.model.choices import DITHER_METHODS
from kmq.stages.histogram import counting
from kmq.stages.mapping import dithering
from kmq.stages.pictures.reading import read_pixels
from layouts import TABLES
from pictures import Array, large, photos
from records import Record

COLORS = (16, 64, 256)
ROUNDS = 5


def kmq_dithered(pixels: Array, k: int, **options: Any) -> Array:
    return kmq.quantize(pixels, k, **options).to_array()


def pillow(pixels: Array, k: int) -> Array:
    from PIL import Image

    picture = Image.fromarray(pixels)
    palette = picture.quantize(k, Image.Quantize.MEDIANCUT, 1, dither=Image.Dither.NONE)
    dithered = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(dithered.convert("RGB"))


def libimagequant(pixels: Array, k: int) -> Array:
    import imagequant
    from PIL import Image

    picture = Image.fromarray(pixels)
    shown = imagequant.quantize_pil_image(picture.convert("RGBA"), 1.0, max_colors=k)
    return np.asarray(shown.convert("RGB"))


def image_magick(pixels: Array, k: int) -> Array:
    import io

    from PIL import Image

    given = io.BytesIO()
    Image.fromarray(pixels).save(given, "PPM")
    command = [magick(), "ppm:-", "-dither", "FloydSteinberg", "-colors", str(k), "ppm:-"]
    ended = subprocess.run(command, input=given.getvalue(), capture_output=True, check=True)
    with Image.open(io.BytesIO(ended.stdout)) as shown:
        return np.asarray(shown.convert("RGB"))


@lru_cache(maxsize=1)
def magick() -> str:
    """Return the command of ImageMagick; FileNotFoundError if there is none."""
    for name in ("magick", "/usr/bin/convert", "convert"):
        path = which(name)
        if path is None:
            continue
        said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
        if "Version: ImageMagick" in said.stdout:
            return path
    raise FileNotFoundError("ImageMagick")


CONTENDERS: dict[str, Callable[[Array, int], Array]] = {
    "kmq, not dithered": kmq_dithered,
    "kmq diffusion": partial(kmq_dithered, mapping="dither"),
    "kmq diffusion, rgb": partial(kmq_dithered, mapping="dither", space="rgb"),
    "kmq optimized": partial(kmq_dithered, mapping="optimized"),
    "kmq ordered": partial(kmq_dithered, mapping="ordered"),
    "Pillow Floyd-Steinberg": pillow,
    "ImageMagick Floyd-Steinberg": image_magick,
    "libimagequant, level 1": libimagequant,
}


def looks(step: int, colors: Sequence[int] = COLORS) -> Iterator[Record]:
    """Yield SSIMULACRA2 and butteraugli of every contender."""
    program = os.environ.get("KMQ_QBENCH")
    if program is None:
        print("KMQ_QBENCH is not set: how they look is left out")
        return
    for picture, k in product(photos(full=True)[::step], colors):
        pixels = picture.load()
        with tempfile.TemporaryDirectory() as folder:
            original = saved(pixels, Path(folder) / "original.png")
            for name, run in CONTENDERS.items():
                try:
                    shown = saved(run(pixels, k), Path(folder) / "shown.png")
                except (ImportError, FileNotFoundError):
                    continue
                score, butteraugli = looks_of(program, original, shown)
                record = {"table": "dither_looks", "picture": picture.name, "k": k}
                record |= {"contender": name, "ssimulacra2": score, "butteraugli": butteraugli}
                yield record


def sizes(step: int, colors: Sequence[int] = COLORS) -> Iterator[Record]:
    """Yield the bytes of dithered indices by our coder and by others."""
    peers = [codec for codec in SMALLEST_PEERS if codec.name.startswith(("WebP", "JPEG"))]
    for picture, k in product(photos(full=True)[::step], colors):
        for method in ("not dithered", *DITHER_METHODS):
            options = {} if method not in DITHER_METHODS else {"mapping": kmq.Dither(method=method)}
            image = kmq.quantize(picture.load(), k, **options)
            encoded = {"kmq balanced": kmq.encode(image)}
            encoded |= {peer.name: peer.encode(image, 2) for peer in peers}
            for name, content in encoded.items():
                record = {"table": "dither_sizes", "picture": picture.name, "k": k}
                record |= {"method": method, "contender": name, "bytes": len(content)}
                yield record | {"pixels": image.indices.size}


def speeds(colors: Sequence[int] = COLORS) -> Iterator[Record]:
    """Yield seconds of dithering alone, palette and histogram given: CPU time of one thread, and
    the time of two on the clock."""
    for picture in [photos(full=False)[0], *large()[:1]]:
        pixels = read_pixels(picture.load(), None, None)
        color_map = counting.map_colors(pixels.samples, pixels.pixel_format, 2)
        for k in colors:
            mapping = _mapping(color_map, kmq.quantize(picture.load(), k).palette)
            for method, n_threads in product(DITHER_METHODS, (1, 2)):
                how = dithering.Dither(method, 1.0)
                clock = time.thread_time if n_threads == 1 else time.perf_counter
                seconds = []
                for _ in range(ROUNDS):
                    started = clock()
                    dithering.dithered(color_map.ids, mapping, how, n_threads)
                    seconds.append(clock() - started)
                record = {"table": "dither_speeds", "pixels": color_map.ids.size, "k": k}
                record |= {"method": method, "threads": n_threads, "seconds": min(seconds)}
                yield record


def _mapping(color_map: Any, palette: Array) -> dithering.Mapping:
    colors = color_map.histogram.colors
    labels = kmq.assign(colors.astype(np.float32), palette.astype(np.float32)).astype(np.int32)
    kinds = (alpha.kinds(rows, color_map.histogram.pixel_format) for rows in (colors, palette))
    return dithering.Mapping(
        colors.astype(np.float32),
        palette.astype(np.float64),
        labels,
        color_map.histogram.counts,
        (colors == palette[labels]).all(axis=1),
        *kinds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--colors", metavar="K", type=int, nargs="+", default=list(COLORS))
    parser.add_argument(
        "--only", choices=("looks", "sizes", "speeds"), help="leave out the other tables"
    )
    arguments = parser.parse_args()
    steps = {
        "looks": lambda: looks(arguments.sample, arguments.colors),
        "sizes": lambda: sizes(arguments.sample, arguments.colors),
        "speeds": lambda: speeds(arguments.colors),
    }
    for name, step in steps.items():
        if arguments.only in (None, name) and (found := list(step())):
            print(f"{name}:\n\n{TABLES[f'dither_{name}'](found)}")
    print("Targets: kmq's files are the smallest; 20 megapixels per second of diffusion.")


if __name__ == "__main__":
    main()
