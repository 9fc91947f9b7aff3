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
from collections.abc import Callable
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
from kmq.stages.histogram import counting
from kmq.stages.mapping import dithering
from kmq.stages.pictures.reading import read_pixels
from pictures import Array, large, photos
from records import mean

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


def looks(colors: list[int], step: int) -> None:
    """Print SSIMULACRA2 and butteraugli of every contender."""
    program = os.environ.get("KMQ_QBENCH")
    if program is None:
        print("KMQ_QBENCH is not set: how they look is left out")
        return
    pictures = photos(full=True)[::step]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for picture, k in product(pictures, colors):
        pixels = picture.load()
        with tempfile.TemporaryDirectory() as folder:
            original = saved(pixels, Path(folder) / "original.png")
            for name, run in CONTENDERS.items():
                try:
                    shown = saved(run(pixels, k), Path(folder) / "shown.png")
                except (ImportError, FileNotFoundError):
                    continue
                found.setdefault((name, k), []).append(looks_of(program, original, shown))
    print(f"Mean over {len(pictures)} photographs: SSIMULACRA2, butteraugli")
    print(f"{'':<26}" + "".join(f"{f'k = {k}':^16}" for k in colors))
    for name in CONTENDERS:
        if (name, colors[0]) not in found:
            print(f"{name:<26}absent")
            continue
        line = ""
        for k in colors:
            score, butteraugli = (mean(column) for column in zip(*found[name, k], strict=True))
            line += f"{score:>8.1f}{butteraugli:>6.1f}  "
        print(f"{name:<26}{line}")


def sizes(colors: list[int], step: int) -> None:
    """Print bits a pixel of dithered indices by our coder and by others."""
    pictures = photos(full=True)[::step]
    peers = [codec for codec in SMALLEST_PEERS if codec.name.startswith(("WebP", "JPEG"))]
    print(f"\nBits a pixel of the same indices, mean over {len(pictures)} photographs")
    print(f"{'':<22}{'kmq balanced':>14}" + "".join(f"{peer.name:>30}" for peer in peers))
    for k in colors:
        for method in ("none", *kmq.model.choices.DITHER_METHODS):
            rows = []
            for picture in pictures:
                options = {} if method == "none" else {"mapping": kmq.Dither(method=method)}
                image = kmq.quantize(picture.load(), k, **options)
                encoded = [kmq.encode(image), *(peer.encode(image, 2) for peer in peers)]
                rows.append([8 * len(one) / image.indices.size for one in encoded])
            bits = [mean(column) for column in zip(*rows, strict=True)]
            larger = sum(row[0] >= min(row[1:]) for row in rows)
            print(
                f"k = {k:<4} {method:<13}{bits[0]:>14.3f}"
                + "".join(f"{one:>30.3f}" for one in bits[1:])
                + f"   target: kmq smallest; it is not in {larger}"
            )


def speeds(colors: list[int]) -> None:
    """Print megapixels a second of dithering alone, palette and histogram given."""
    print("\nMegapixels a second of dithering, the search's tables included")
    for picture in [photos(full=False)[0], *large()[:1]]:
        pixels = read_pixels(picture.load(), None, None)
        color_map = counting.map_colors(pixels.samples, pixels.pixel_format, 2)
        for k in colors:
            mapping = _mapping(color_map, kmq.quantize(picture.load(), k).palette)
            for method in kmq.model.choices.DITHER_METHODS:
                how = dithering.Dither(method, 1.0)
                line = ""
                for n_threads in (1, 2):
                    clock = time.thread_time if n_threads == 1 else time.perf_counter
                    seconds = []
                    for _ in range(ROUNDS):
                        started = clock()
                        dithering.dithered(color_map.ids, mapping, how, n_threads)
                        seconds.append(clock() - started)
                    speed = color_map.ids.size / min(seconds) / 1e6
                    line += f"{speed:>9.1f} with {n_threads} thread{'s' * (n_threads > 1)}"
                target = "   target: 20" if method == "diffusion" else ""
                print(f"{picture.name:<14}k = {k:<5}{method:<10}{line}{target}")


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
    if arguments.only in (None, "looks"):
        looks(arguments.colors, arguments.sample)
    if arguments.only in (None, "sizes"):
        sizes(arguments.colors, arguments.sample)
    if arguments.only in (None, "speeds"):
        speeds(arguments.colors)


if __name__ == "__main__":
    main()
