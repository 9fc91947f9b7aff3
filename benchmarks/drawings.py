"""Six graphics that are drawn here: what text, flat areas and hard edges are to be looked at on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray[Any, Any]

_FINER = 4
"""Edges are smooth: shapes are drawn so many times as large."""


class Sheet:
    """A picture that is drawn on, in pixels of its final size."""

    def __init__(self, width: int, height: int, color: str):
        self._size = (width, height)
        self.picture = Image.new("RGB", (width * _FINER, height * _FINER), color)
        self._draw = ImageDraw.Draw(self.picture)

    def shape(self, kind: str, points: list[float], color: str, width: float = 0) -> None:
        """Draw a rectangle, ellipse, polygon or line."""
        scaled = [float(place) * _FINER for place in points]
        draw: Callable[..., None] = getattr(self._draw, kind)
        if kind == "line":
            draw(scaled, fill=color, width=max(1, round(width * _FINER)), joint="curve")
        else:
            draw(scaled, fill=color)

    def text(self, x: float, y: float, words: str, size: float, color: str) -> None:
        font = ImageFont.load_default(size * _FINER)
        self._draw.text((x * _FINER, y * _FINER), words, fill=color, font=font)

    def pixels(self) -> Array:
        return np.asarray(self.picture.resize(self._size, Image.Resampling.BOX))


def window() -> Array:
    """A mail program: text of several sizes, buttons, a shaded title, a selected line."""
    sheet = Sheet(720, 480, "#f4f5f7")
    for y in range(36):
        sheet.shape("rectangle", [0, y, 720, y + 1], f"#{40 + y:02x}{70 + y:02x}{110 + y:02x}")
    sheet.text(14, 8, "Inbox (12)", 15, "white")
    sheet.shape("rectangle", [0, 36, 170, 480], "#e3e7ee")
    for row, name in enumerate(("Inbox", "Drafts", "Sent", "Archive", "Spam", "Bin")):
        if row == 0:
            sheet.shape("rectangle", [0, 48, 170, 76], "#3d7bd9")
        sheet.text(18, 54 + 30 * row, name, 13, "white" if row == 0 else "#333a45")
        sheet.shape("ellipse", [140, 55 + 30 * row, 154, 69 + 30 * row], "#d9534f")
    words = ["quick", "brown", "foxes", "jump", "over", "a", "lazy", "dog", "while", "old", "kings"]
    rng = np.random.default_rng(1)
    for row in range(9):
        top = 40 + 49 * row
        sheet.shape("rectangle", [171, top, 720, top + 48], "white" if row % 2 else "#fbfbfd")
        sheet.shape("rectangle", [171, top + 47, 720, top + 48], "#d8dce3")
        hue = rng.integers(60, 220, 3)
        sheet.shape("ellipse", [182, top + 8, 214, top + 40], "#{:02x}{:02x}{:02x}".format(*hue))
        sheet.text(226, top + 6, " ".join(rng.choice(words, 4)).capitalize(), 13, "#111418")
        sheet.text(226, top + 26, " ".join(rng.choice(words, 11)), 11, "#707784")
    return sheet.pixels()


def logo() -> Array:
    """A shaded disc, a band across it and letters, on white."""
    sheet = Sheet(480, 480, "white")
    for step in range(180):
        color = f"#{250 - step // 2:02x}{200 - step:02x}{30 + step // 3:02x}"
        sheet.shape("ellipse", [60 + step, 60 + step, 420 - step, 420 - step], color)
    sheet.shape("polygon", [30, 250, 450, 170, 450, 250, 30, 330], "#13294b")
    sheet.text(88, 218, "kiloMeans", 56, "white")
    sheet.shape("polygon", [240, 80, 262, 130, 218, 130], "#13a89e")
    return sheet.pixels()


def sprites() -> Array:
    """Pixel art: 40 colours, each pixel 8 wide."""
    rng = np.random.default_rng(3)
    ramps = [np.linspace(0.25, 1, 5)[:, None] * rng.integers(90, 256, 3) for _ in range(8)]
    palette = np.concatenate(ramps).astype(np.uint8)
    row, column = np.mgrid[:60, :80]
    small = np.minimum(row // 9, 4)
    small[40:] = 5 + (row[40:] * 7 + column[40:] * 3) % 5
    for number in range(14):
        y, x, size = rng.integers(4, 44), rng.integers(4, 66), rng.integers(4, 9)
        inside = np.hypot(row - y, column - x) < size
        shade = np.clip((row - y + column - x + size) * 5 // (2 * size), 0, 4)
        small[inside] = (5 * (number % 8) + shade)[inside]
    return palette[small].repeat(8, axis=0).repeat(8, axis=1)


def city_map() -> Array:
    """Blocks, water, parks, roads with borders, and names."""
    sheet = Sheet(768, 512, "#f2efe9")
    rng = np.random.default_rng(5)
    sheet.shape("polygon", [0, 330, 150, 300, 320, 350, 520, 300, 768, 360, 768, 430, 0, 420],
                "#aad3df")  # fmt: skip
    for _ in range(9):
        x, y, w, h = rng.integers(0, 700), rng.integers(0, 460), *rng.integers(40, 110, 2)
        sheet.shape("rectangle", [x, y, x + w, y + h], str(rng.choice(["#c8facc", "#cdebb0"])))
    for _ in range(160):
        x, y, w, h = rng.integers(0, 750), rng.integers(0, 500), *rng.integers(6, 26, 2)
        sheet.shape("rectangle", [x, y, x + w, y + h], "#c5b9ae")
        sheet.shape("rectangle", [x + 1, y + 1, x + w - 1, y + h - 1], "#d9d0c9")
    roads = [("#ffffff", 5.0, "#c9c5be")] * 16 + [("#fcd6a4", 9.0, "#a06b00")] * 5
    roads += [("#e892a2", 11.0, "#dc2a67")] * 2
    for color, width, border in roads:
        ends = [-10, rng.integers(0, 512), 778, rng.integers(0, 512)]
        if rng.random() < 0.5:
            ends = [rng.integers(0, 768), -10, rng.integers(0, 768), 522]
        sheet.shape("line", ends, border, width + 2)
        sheet.shape("line", ends, color, width)
    for name in ("Old Town", "Harbour", "Park Street", "Museum", "Station", "North Gate"):
        sheet.text(rng.integers(10, 640), rng.integers(10, 480), name, 14, "#333333")
    return sheet.pixels()


def labels() -> Array:
    """300 flat regions, each its own colour: more than small palettes hold."""
    rng = np.random.default_rng(7)
    places = rng.random((300, 2)) * (480, 640)
    colors = rng.integers(0, 256, (300, 3), dtype=np.uint8)
    row, column = np.mgrid[:480, :640]
    squares = [(row - y) ** 2 + (column - x) ** 2 for y, x in places]
    return colors[np.argmin(squares, axis=0)]


def plot() -> Array:
    """Curves, bars and areas with a grid, numbers and a legend."""
    sheet = Sheet(760, 500, "white")
    hues = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf")
    pale = ("#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#9edae5")
    for line in range(9):
        sheet.shape("line", [60, 40 + 50 * line, 740, 40 + 50 * line], "#dddddd", 0.8)
        sheet.text(24, 33 + 50 * line, str(80 - 10 * line), 12, "#444444")
    rng = np.random.default_rng(9)
    x = np.linspace(60, 740, 120)
    for number, (hue, light) in enumerate(zip(hues, pale, strict=True)):
        y = 400 - 40 * number + 22 * np.sin(x / (30 + 9 * number)) + rng.normal(0, 3, 120)
        line = np.stack([x, y], axis=1).ravel().tolist()
        if number < 3:
            sheet.shape("polygon", [*line, 740, 440, 60, 440], light)
        sheet.shape("line", line, hue, 2)
        sheet.shape("rectangle", [70 + 82 * number, 458, 84 + 82 * number, 472], hue)
        sheet.text(88 + 82 * number, 458, f"series {number}", 11, "#222222")
    sheet.text(250, 8, "Measured over 120 days", 18, "black")
    return sheet.pixels()


ALL: dict[str, Callable[[], Array]] = {
    "window": window,
    "logo": logo,
    "sprites": sprites,
    "city map": city_map,
    "labels": labels,
    "plot": plot,
}
