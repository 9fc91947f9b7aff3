"""Whole files of icons, 16 to 64 pixels wide: kmq beside PNG, WebP and QOI.

    python benchmarks/small_files.py

Pictures of the corpus, or computed ones, made small, and icons that are drawn here; the same
palette and indices for all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import kmq
from contenders import CODECS, KMQ_CODECS
from pictures import graphics, photos

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIDES = (16, 32, 64)
PALETTE_SIZES = (16, 64)

_PEERS = ("PNG, Pillow optimize", "oxipng level 6", "WebP lossless, method 6", "QOI")
_OVERSAMPLED = 8  # times wider and higher than the icon it is averaged to


def measure(*, full: bool) -> Iterator[tuple[str, int, int, dict[str, int]]]:
    """Yield kind of picture, side, k and the bytes by codec of each icon."""
    peers = [codec for codec in CODECS if codec.name in _PEERS]
    for side in SIDES:
        for kind, icon in icons(side, full=full):
            for k in PALETTE_SIZES:
                image = kmq.quantize(icon, k, space="rgb")
                sizes = {codec.name: len(codec.encode(image, 1)) for codec in KMQ_CODECS + peers}
                yield kind, side, k, sizes


def icons(side: int, *, full: bool) -> Iterator[tuple[str, Image]]:
    """Yield (kind, picture) of that width and height, RGB and RGBA."""
    from PIL import Image

    for kind, pictures in (("photos", photos(full=full)), ("graphics", graphics(full=full))):
        for picture in pictures:
            whole = Image.fromarray(picture.load())
            edge = min(whole.size)
            square = whole.crop((0, 0, edge, edge))
            yield kind, square.resize((side, side), Image.Resampling.LANCZOS)
    for draw in _DRAWN:
        yield "drawn, smooth", _drawn(draw, side, _OVERSAMPLED)
        yield "drawn, hard", _drawn(draw, side, 1)


# --- drawn icons, on a square of 64 units --------------------------------------------------------


def _drawn(draw: Callable[[_Pen], None], side: int, oversampled: int) -> Image:
    from PIL import Image, ImageDraw

    # An opaque ground is RGB; without one the icon keeps its alpha.
    ground = "RGBA" if draw in _TRANSPARENT else "RGB"
    sheet = Image.new(ground, (side * oversampled, side * oversampled))
    draw(_Pen(ImageDraw.Draw(sheet), side * oversampled / 64))
    return sheet.reduce(oversampled)


class _Pen:
    """Draws filled shapes whose corners are given in 64ths of the side."""

    def __init__(self, sheet: ImageDraw, scale: float):
        self._sheet = sheet
        self._scale = scale

    def box(self, left: float, top: float, right: float, bottom: float, color: str) -> None:
        """Fill a rectangle, if it is as wide and high as a pixel."""
        left, top, right, bottom = self._scaled(left, top, right, bottom)
        if left < right and top < bottom:
            self._sheet.rectangle((left, top, right - 1, bottom - 1), color)

    def disc(self, left: float, top: float, right: float, bottom: float, color: str) -> None:
        """Fill an ellipse."""
        corners = self._scaled(left, top, right, bottom)
        self._sheet.ellipse((*corners[:2], corners[2] - 1, corners[3] - 1), color)

    def polygon(self, color: str, *places: float) -> None:
        """Fill a polygon; places are x, y, x, y, …"""
        self._sheet.polygon(self._scaled(*places), color)

    def _scaled(self, *places: float) -> list[int]:
        return [round(place * self._scale) for place in places]


def _envelope(pen: _Pen) -> None:
    pen.box(0, 0, 64, 64, "#2b6cb0")
    pen.box(8, 16, 56, 48, "#f7fafc")
    pen.polygon("#cbd5e0", 8, 16, 56, 16, 32, 36)
    pen.polygon("#a0aec0", 8, 48, 28, 32, 36, 32, 56, 48)


def _clock(pen: _Pen) -> None:
    pen.box(0, 0, 64, 64, "#ffffff")
    pen.disc(4, 4, 60, 60, "#1a202c")
    pen.disc(9, 9, 55, 55, "#edf2f7")
    pen.polygon("#1a202c", 30, 14, 34, 14, 34, 34, 30, 34)
    pen.polygon("#e53e3e", 31, 31, 47, 41, 45, 44, 30, 34)


def _sunset(pen: _Pen) -> None:
    for row in range(64):
        pen.box(0, row, 64, row + 1, f"rgb({255 - row}, {120 + row}, {40 + 3 * row})")
    pen.disc(20, 24, 44, 48, "#ffe066")
    pen.box(0, 46, 64, 64, "#22543d")
    pen.polygon("#276749", 0, 46, 20, 36, 40, 46)


def _flag(pen: _Pen) -> None:
    pen.box(0, 0, 64, 64, "#ffffff")
    pen.box(4, 12, 60, 26, "#c53030")
    pen.box(4, 38, 60, 52, "#2c5282")
    pen.disc(24, 24, 40, 40, "#d69e2e")


def _folder(pen: _Pen) -> None:
    pen.polygon("#b7791f", 6, 14, 26, 14, 31, 20, 58, 20, 58, 52, 6, 52)
    pen.box(6, 24, 58, 54, "#ecc94b")
    pen.box(6, 24, 58, 27, "#f6e05e")


def _tick(pen: _Pen) -> None:
    pen.disc(2, 2, 62, 62, "#38a169")
    pen.polygon("#ffffff", 16, 33, 22, 27, 29, 34, 44, 18, 50, 24, 29, 45)


def _ball(pen: _Pen) -> None:
    for ring in range(24):
        shade = f"rgba({60 + 8 * ring}, {20 + 5 * ring}, {120 + 5 * ring}, {255 - ring})"
        pen.disc(4 + ring * 0.7, 4 + ring * 0.5, 60 - ring * 1.4, 60 - ring * 1.6, shade)


_TRANSPARENT = (_folder, _tick, _ball)
_DRAWN = (_envelope, _clock, _sunset, _flag, *_TRANSPARENT)


# --- table ---------------------------------------------------------------------------------------


def report(found: list[tuple[str, int, int, dict[str, int]]]) -> None:
    """Print mean bytes of a file: by side and k over all icons, then by kind and side."""
    names = list(found[0][3])
    print(f"{'':<15}{'side':>4}{'k':>4}" + "".join(f"{name[:13]:>14}" for name in names))
    for side in SIDES:
        for k in PALETTE_SIZES:
            rows = [sizes for _, *place, sizes in found if place == [side, k]]
            print(_line("all", side, str(k), names, rows))
    for kind in dict.fromkeys(kind for kind, *_ in found):
        for side in SIDES:
            rows = [sizes for other, at, _, sizes in found if (other, at) == (kind, side)]
            print(_line(kind, side, "", names, rows))


def _line(kind: str, side: int, k: str, names: list[str], rows: list[dict[str, int]]) -> str:
    means = [sum(sizes[name] for sizes in rows) / len(rows) for name in names]
    return f"{kind:<15}{side:>4}{k:>4}" + "".join(f"{mean:>14.1f}" for mean in means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all pictures of the corpus")
    report(list(measure(full=parser.parse_args().full)))


if __name__ == "__main__":
    main()
