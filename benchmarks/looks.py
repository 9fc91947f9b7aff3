"""One page to look at: crops at twice their size of photographs and graphics by kmq and its peers.

    KMQ_QBENCH=… python benchmarks/looks.py FOLDER

writes FOLDER/index.html and a PNG for each picture and k. The upper row is not dithered, the lower
one is. Measures can be misled; eyes judge. Peers are those of `eye.py`, and left out without it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import kmq
from eye import PALETTE_SIZES, PEERS, made_by_peer
from pictures import Array, Picture, drawn, from_corpus

CROPS = {
    "girl": (90, 300),
    "pencils": (180, 260),
    "kingfisher": (60, 250),
    "skiers": (200, 300),
    "lights": (180, 250),
    "hard_candy": (180, 280),
    "macaws": (120, 300),
    "yasaka_pagoda": (60, 300),
    "screenshot": (60, 200),
    "choropleth": (420, 420),
    "window": (40, 150),
    "logo": (180, 130),
}
"""Pictures, and where their crops begin: top and left."""

SIZE = (144, 192)
"""Height and width of a crop in pixels."""

OURS = {
    "kmq": kmq.quantize,
    "kmq, dithered": partial(kmq.quantize, mapping="dither"),
    "kmq, optimized": partial(kmq.quantize, mapping="optimized"),
}

_CAPTION = 18


def strip(picture: Picture, k: int) -> Image.Image:
    """Return the original and what each contender makes of it, captions above."""
    pixels, program = picture.load(), os.environ.get("KMQ_QBENCH", "")
    shown = {name: run(pixels, k).to_array() for name, run in OURS.items()}
    with tempfile.TemporaryDirectory() as folder:
        original, made = Path(folder) / "original.png", Path(folder) / "made.png"
        Image.fromarray(pixels).save(original, compress_level=1)
        for dither, (name, method) in product((0, 1), PEERS.items() if program else ()):
            if made_by_peer(program, method, k, dither, original, made):
                shown[name + ", dithered" * dither] = np.asarray(Image.open(made).convert("RGB"))
    upper = {"original": pixels, "kmq": shown["kmq"]}
    upper |= {name: shown[name] for name in PEERS if name in shown}
    lower = {name: crop for name, crop in shown.items() if name not in upper}
    return _table([upper, lower], CROPS[picture.name])


def _table(rows: list[dict[str, Array]], corner: tuple[int, int]) -> Image.Image:
    height, width = 2 * SIZE[0] + _CAPTION, 2 * SIZE[1] + 4
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (name, pixels) in enumerate(row.items()):
            crop = pixels[corner[0] :, corner[1] :][: SIZE[0], : SIZE[1]]
            doubled = crop.repeat(2, axis=0).repeat(2, axis=1)
            sheet.paste(Image.fromarray(doubled), (x * width, y * height + _CAPTION))
            place = (x * width + 2, y * height + 2)
            draw.text(place, name, fill="black", font=ImageFont.load_default(13))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="PICTURE", default=list(CROPS))
    arguments = parser.parse_args()
    if "KMQ_QBENCH" not in os.environ:
        print("KMQ_QBENCH is not set: the peers are left out")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    known = [*from_corpus("photos"), *from_corpus("graphics"), *drawn()]
    page = ["<!doctype html><meta charset=utf-8><title>Looks</title>"]
    for picture in known:
        if picture.name not in CROPS or picture.name not in arguments.only:
            continue
        for k in PALETTE_SIZES:
            name = f"{picture.name}_{k}.png"
            strip(picture, k).save(arguments.folder / name)
            page.append(f"<h2>{picture.name}, k = {k}</h2><img src={name}>")
    (arguments.folder / "index.html").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
