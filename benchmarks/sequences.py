"""Six sequences that are made here: charts, screens, fades, pans, sprites and noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from drawings import Sheet
from pictures import Array

WIDTH, HEIGHT = 320, 240


@lru_cache(maxsize=1)
def _astronaut() -> Array:
    from skimage import data  # Eileen Collins, a photograph by NASA in the public domain

    return np.ascontiguousarray(data.astronaut())


@lru_cache(maxsize=1)
def _rocket() -> Array:
    from skimage import data  # a photograph by SpaceX, in the public domain

    return np.ascontiguousarray(data.rocket())


def chart() -> list[Array]:
    """Curves that grow to the right over a grid, and numbers that change."""
    frames, x = [], np.arange(40, 310)
    hues, rng = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"), np.random.default_rng(4)
    phases = rng.random(4) * 6
    for step in range(24):
        sheet = Sheet(WIDTH, HEIGHT, "white")
        for line in range(6):
            sheet.shape("line", [40, 30 + 35 * line, 310, 30 + 35 * line], "#dddddd", 0.8)
            sheet.text(14, 23 + 35 * line, str(50 - 10 * line), 10, "#555555")
        shown = x[: 12 + 11 * step]
        for number, hue in enumerate(hues):
            y = 70 + 36 * number + 20 * np.sin(shown / (17 + 6 * number) + phases[number])
            line = np.stack([shown, y], axis=1).ravel().tolist()
            if number == 0:
                sheet.shape("polygon", [*line, shown[-1], 205, 40, 205], "#cfe2f3")
            sheet.shape("line", line, hue, 1.6)
            place = (float(shown[-1]), float(y[-1]))
            sheet.shape("ellipse", [place[0] - 3, place[1] - 3, place[0] + 3, place[1] + 3], hue)
            sheet.shape("rectangle", [40 + 68 * number, 220, 50 + 68 * number, 230], hue)
            sheet.text(54 + 68 * number, 218, f"{y[-1]:.1f} km/h", 10, "#222222")
        sheet.text(110, 6, f"Day {step + 1} of 24", 14, "black")
        frames.append(sheet.pixels())
    return frames


def screen() -> list[Array]:
    """Text is typed into a window, the list beside it scrolls, and the pointer moves."""
    known = "the quick brown fox jumps over a lazy dog while old kings sleep on and on"
    words = np.array(known.split(" "))
    rng, frames = np.random.default_rng(1), []
    typed = " ".join(rng.choice(words, 60))
    items = [" ".join(rng.choice(words, 2)).capitalize() for _ in range(30)]
    hues = rng.integers(60, 220, (30, 3))
    for step in range(24):
        sheet = Sheet(WIDTH, HEIGHT, "#f4f5f7")
        offset = 16 * max(0, step - 12)
        for row in range(30):
            top = 26 + 26 * row - offset
            if not -26 < top < HEIGHT:
                continue
            sheet.shape(
                "ellipse", [8, top + 3, 24, top + 19], "#{:02x}{:02x}{:02x}".format(*hues[row])
            )
            sheet.text(30, top + 4, items[row], 9, "#30343c")
            sheet.shape("line", [4, top + 24, 106, top + 24], "#dde0e6", 0.8)
        sheet.shape("rectangle", [0, 0, WIDTH, 22], "#2b303b")
        for number, hue in enumerate(("#ff5f57", "#febc2e", "#28c840")):
            sheet.shape("ellipse", [8 + 16 * number, 6, 18 + 16 * number, 16], hue)
        sheet.text(130, 4, "notes.txt", 11, "#d8dee9")
        sheet.shape("rectangle", [110, 22, WIDTH, HEIGHT], "white")
        text = typed[: 9 * step + 30]
        for row in range(len(text) // 34 + 1):
            sheet.text(116, 30 + 15 * row, text[34 * row : 34 * row + 34], 10, "#111418")
        x, y = 40 + 9 * step, 200 - 5 * step + 3 * (step % 4)
        sheet.shape("polygon", [x, y, x, y + 15, x + 4, y + 11, x + 10, y + 11], "black")
        frames.append(sheet.pixels())
    return frames


def fade() -> list[Array]:
    """One photograph becomes another."""
    first = _astronaut()[:HEIGHT, 90 : 90 + WIDTH].astype(float)
    second = _rocket()[100 : 100 + HEIGHT, 150 : 150 + WIDTH].astype(float)
    shares = np.linspace(0, 1, 20)
    return [np.rint(first + share * (second - first)).astype(np.uint8) for share in shares]


def pan() -> list[Array]:
    """The view moves over a photograph."""
    photo = _astronaut()
    return [
        np.ascontiguousarray(photo[2 * step : 2 * step + HEIGHT, 8 * step : 8 * step + WIDTH])
        for step in range(24)
    ]


def sprites() -> list[Array]:
    """Pixel art: figures of 16 x 16 walk over tiles, each pixel 2 wide."""
    rng, frames = np.random.default_rng(3), []
    ramps = [np.linspace(0.3, 1, 5)[:, None] * rng.integers(90, 256, 3) for _ in range(7)]
    palette = np.concatenate(ramps).astype(np.uint8)
    tiles = [rng.choice([base, base, base, base + 1], (8, 8)) for base in (0, 1, 5, 10)]
    plan = rng.choice(4, (15, 20), p=[0.55, 0.2, 0.15, 0.1])
    ground = np.block([[tiles[number] for number in row] for row in plan])
    half = rng.random((4, 16, 8)) < 0.62
    shapes = np.concatenate([half, half[:, :, ::-1]], axis=2)
    shades = np.clip(np.add.outer(np.arange(16), np.arange(16)) // 7, 0, 4)
    starts, speeds = rng.integers(0, 100, (8, 2)), rng.integers(-3, 4, (8, 2))
    for step in range(24):
        picture = ground.copy()
        for number in range(8):
            y, x = (starts[number] + speeds[number] * step) % (104, 144)
            shape = np.roll(shapes[number % 4], step % 2, axis=0)
            part = picture[y : y + 16, x : x + 16]
            part[shape] = (15 + 5 * (number % 4) + shades)[shape]
        frames.append(palette[picture].repeat(2, axis=0).repeat(2, axis=1))
    return frames


def noise() -> list[Array]:
    """A photograph that stands still, with the noise of a camera in the dark."""
    still = _astronaut()[:HEIGHT, 90 : 90 + WIDTH] * 0.6
    rng = np.random.default_rng(6)
    return [
        np.clip(np.rint(still + rng.normal(0, 6, still.shape)), 0, 255).astype(np.uint8)
        for _ in range(12)
    ]


ALL: dict[str, Callable[[], list[Array]]] = {
    "moving chart": chart,
    "screen recording": screen,
    "fade": fade,
    "photo pan": pan,
    "pixel art": sprites,
    "noise": noise,
}


def show(folder: str) -> None:
    """Write the first, middle and last frame of each, to look at."""
    for name, make in ALL.items():
        frames = make()
        chosen = [frames[0], frames[len(frames) // 2], frames[-1]]
        Image.fromarray(np.concatenate(chosen, axis=1)).save(f"{folder}/{name}.png")
