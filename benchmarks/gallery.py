"""Draw the pictures of docs/gallery.md: the same picture by kmq and by its peers, side by side.

    python benchmarks/gallery.py        writes docs/pictures/ and prints the figures

`tables.py --only gallery` does the same and writes the figures into the page as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kmq
from contenders import Array, Contender, libimagequant, pillow
from pictures import PROJECT, to_show
from records import Record

FOLDER = PROJECT / "docs" / "pictures"
PALETTE_SIZES = (16, 64)
TILE = 176
MARGIN = 8
LABEL = 24
GREY = (128, 128, 128, 255)
"""Can be read on white and on black."""


def _kmq(pixels: Array, k: int) -> Array:
    return kmq.quantize(pixels, k).to_array()


def _kmq_optimized(pixels: Array, k: int) -> Array:
    return kmq.quantize(pixels, k, mapping="optimized").to_array()


def _peer(run: Any, *arguments: Any) -> Any:
    def shown(pixels: Array, k: int) -> Array:
        palette, indices = run(*arguments, pixels, k)
        return palette[indices]

    return shown


def _libimagequant_dithered(pixels: Array, k: int) -> Array:
    palette, indices = libimagequant(pixels, k, dithering=1.0)
    return palette[indices]


def _pillow_dithered(pixels: Array, k: int) -> Array:
    from PIL import Image

    picture = Image.fromarray(pixels)
    palette = picture.quantize(k)
    return np.asarray(picture.quantize(palette=palette).convert("RGB"))


WAYS = {
    "nearest": [
        Contender("kmq", "kmq", _kmq),
        Contender("libimagequant", "imagequant", _peer(libimagequant)),
        Contender("Pillow, median cut", "PIL", _peer(pillow, "MEDIANCUT", 0)),
    ],
    "mixed": [
        Contender("kmq, optimised", "kmq", _kmq_optimized),
        Contender("libimagequant, dithered", "imagequant", _libimagequant_dithered),
        Contender("Pillow, dithered", "PIL", _pillow_dithered),
    ],
}
"""Entries nearest to each pixel, and entries mixed to look like the colours between."""


def measure() -> Iterator[Record]:
    """Draw every picture, and yield how it looks by SSIMULACRA2."""
    from kmq.stages.mapping.ssimulacra2 import ssimulacra2

    FOLDER.mkdir(exist_ok=True)
    for name, (pixels, corner) in to_show().items():
        for way, contenders in WAYS.items():
            rows = []
            for k in PALETTE_SIZES:
                shown = {contender.name: contender.run(pixels, k) for contender in contenders}
                for contender, result in shown.items():
                    yield {
                        "table": "gallery",
                        "picture": name,
                        "k": k,
                        "contender": contender,
                        "ssimulacra2": ssimulacra2(pixels, result, kmq.PixelFormat("RGB")),
                    }
                rows.append((f"{k} colours", {"original": pixels, **shown}))
            _draw(FOLDER / f"{name}-{way}.webp", rows, corner)


def _draw(path: Path, rows: list[tuple[str, dict[str, Array]]], corner: tuple[int, int]) -> None:
    """Write rows of the same crop of pictures; what is between them is transparent."""
    from PIL import Image, ImageDraw, ImageFont

    top, left = corner
    names = list(rows[0][1])
    size = (LABEL + len(names) * (TILE + MARGIN), LABEL + len(rows) * (TILE + MARGIN))
    sheet = Image.new("RGBA", size)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for column, name in enumerate(names):
        x = LABEL + column * (TILE + MARGIN)
        draw.text((x + TILE // 2, LABEL // 2), name, GREY, font, anchor="mm")
        for row, (_, shown) in enumerate(rows):
            tile = shown[name][top : top + TILE, left : left + TILE]
            sheet.paste(Image.fromarray(tile), (x, LABEL + row * (TILE + MARGIN)))
    for row, (label, _) in enumerate(rows):
        beside = Image.new("RGBA", (TILE, LABEL))
        ImageDraw.Draw(beside).text((TILE // 2, LABEL // 2), label, GREY, font, anchor="mm")
        sheet.paste(beside.rotate(90, expand=True), (0, LABEL + row * (TILE + MARGIN)))
    sheet.save(path, lossless=True, method=6)


if __name__ == "__main__":
    for record in measure():
        print(record)
