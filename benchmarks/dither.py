"""Dithered photographs beside Pillow, ImageMagick and libimagequant: how they look, and their size.

    python benchmarks/dither.py [--sample N] [--colors K]...

How they look: SSIMULACRA2, and the error that is left after the eye's own blur, as in S-CIELAB
(Zhang & Wandell 1997) at 60 pixels a degree: opponent colours are filtered, and the mean ΔE in
L*a*b* is taken. Size: our dithered indices by our coder, beside the same indices as WebP and JPEG
XL.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from functools import lru_cache, partial
from shutil import which
from typing import Any

import numpy as np

import kmq
from contenders import SMALLEST_PEERS
from kmq.stages.histogram import counting
from kmq.stages.mapping import dithering, metrics
from kmq.stages.mapping.ssimulacra2 import ssimulacra2
from kmq.stages.pictures.reading import read_pixels
from pictures import Array, large, photos
from records import mean

COLORS = (16, 64, 256)
ROUNDS = 5
PIXELS_A_DEGREE = 60

TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
TO_OPPONENT = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])
"""XYZ → luminance, red-green, blue-yellow (Zhang & Wandell 1997)."""

BLURS = (
    ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    ((0.531, 0.0392), (0.330, 0.494)),
    ((0.488, 0.0536), (0.371, 0.386)),
)
"""Weight and spread in degrees of the Gaussians for each opponent channel."""

WHITE = TO_XYZ.sum(axis=1)


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
    "kmq diffusion, eye": partial(kmq_dithered, mapping="dither", space="eye"),
    "kmq ordered": partial(kmq_dithered, mapping="ordered"),
    "Pillow Floyd-Steinberg": pillow,
    "ImageMagick Floyd-Steinberg": image_magick,
    "libimagequant, level 1": libimagequant,
}


def as_the_eye_sees(pixels: Array) -> Array:
    """Return L*a*b* of the blurred picture (height, width, 3)."""
    from scipy.ndimage import gaussian_filter

    encoded = pixels / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    opponent = light @ TO_XYZ.T @ TO_OPPONENT.T
    for channel, blurs in enumerate(BLURS):
        plane = opponent[:, :, channel].copy()
        total = sum(weight for weight, _ in blurs)
        # Zhang & Wandell write exp(-r² / spread²), whose standard deviation is spread / √2.
        opponent[:, :, channel] = sum(
            weight / total * gaussian_filter(plane, spread * PIXELS_A_DEGREE / 2**0.5, truncate=3)
            for weight, spread in blurs
        )
    ratio = np.maximum(opponent @ np.linalg.inv(TO_OPPONENT).T / WHITE, 0)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


def looks(colors: list[int], step: int) -> None:
    """Print SSIMULACRA2 and filtered error of every contender."""
    pictures = photos(full=True)[::step]
    print(f"Mean over {len(pictures)} photographs: filtered ΔE, SSIMULACRA2, plain PSNR in dB")
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    absent = set()
    for picture in pictures:
        pixels = picture.load()
        seen = as_the_eye_sees(pixels)
        for k in colors:
            for name, run in CONTENDERS.items():
                try:
                    shown = run(pixels, k)
                except (ImportError, FileNotFoundError):
                    absent.add(name)
                    continue
                apart = np.sqrt(np.square(as_the_eye_sees(shown) - seen).sum(axis=2)).mean()
                psnr = metrics.psnr(metrics.mse(pixels, shown), kmq.PixelFormat.RGB24)
                found.setdefault((name, k), []).append(
                    (float(apart), ssimulacra2(pixels, shown, kmq.PixelFormat.RGB24), psnr)
                )
    print(f"{'':<30}" + "".join(f"{f'k = {k}':^26}" for k in colors))
    for name in CONTENDERS:
        if name in absent:
            print(f"{name:<30}absent")
            continue
        line = ""
        for k in colors:
            apart, looks, psnr = (mean(column) for column in zip(*found[name, k], strict=True))
            line += f"{apart:>9.3f}{looks:>8.2f}{psnr:>7.2f}  "
        print(f"{name:<30}{line}")
    for k in colors:
        for measure, name, best in ((0, "filtered ΔE", min), (1, "SSIMULACRA2", max)):
            ours = mean(row[measure] for row in found["kmq diffusion", k])
            peers = [
                mean(row[measure] for row in rows)
                for (contender, n), rows in found.items()
                if n == k and not contender.startswith("kmq")
            ]
            print(f"k = {k}: {name} {ours:.4f}; target: better than {best(peers):.4f}")


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
    return dithering.Mapping(
        colors.astype(np.float32),
        palette.astype(np.float64),
        labels,
        color_map.histogram.counts,
        (colors == palette[labels]).all(axis=1),
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
