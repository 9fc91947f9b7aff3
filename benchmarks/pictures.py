"""What is measured on: the corpus where it is there, computed and bundled pictures where not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import drawings

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent

FEW_PHOTOS = ("pencils", "girl")
FEW_GRAPHICS = ("choropleth", "screenshot")

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Picture:
    """One picture: its name, where its file is if it has one, and how its samples are made."""

    name: str
    load: Callable[[], Array]
    path: Path | None = None

    def __str__(self) -> str:
        return self.name


def corpus_folder() -> Path | None:
    """Return $KMQ_CORPUS, or ../shared/corpus beside the project, if there is such a folder."""
    folder = Path(os.environ.get("KMQ_CORPUS") or PROJECT.parent / "shared" / "corpus")
    return folder if (folder / "photos").is_dir() else None


def photos(*, full: bool) -> list[Picture]:
    """Return photographs, RGB: two, or all there are."""
    found = from_corpus("photos", None if full else FEW_PHOTOS)
    return found or [Picture("scene", _scene), Picture("astronaut", _astronaut)]


def graphics(*, full: bool) -> list[Picture]:
    """Return charts, maps and the like, RGB or RGBA: two, or all there are."""
    found = from_corpus("graphics", None if full else FEW_GRAPHICS)
    return found or [Picture("regions", _regions)]


def drawn() -> list[Picture]:
    """Return the six graphics of `drawings`, RGB."""
    return [Picture(name, lru_cache(maxsize=1)(draw)) for name, draw in drawings.ALL.items()]


def by_name(kind: str) -> dict[str, Picture]:
    """Return all pictures of a kind, "photo" or "graphic", those that are drawn here included."""
    found = photos(full=True) if kind == "photo" else [*from_corpus("graphics"), *drawn()]
    return {picture.name: picture for picture in found}


def on_white(pixels: Array) -> Array:
    """Return pixels (height, width), or with channels, as RGB on white."""
    return over(pixels, (255, 255, 255))


def over(pixels: Array, color: tuple[int, int, int]) -> Array:
    """Return pixels as RGB, those with alpha over a colour."""
    if pixels.ndim == 2:
        return np.dstack([pixels] * 3)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + (1 - alpha) * np.array(color)).astype(np.uint8)


def to_show() -> dict[str, tuple[Array, tuple[int, int]]]:
    """Return pictures that anyone may show, RGB, each with the corner of what is worth showing.

    The astronaut, Eileen Collins, is a photograph by NASA in the public domain; the others are
    computed.
    """
    return {
        "scene": (np.ascontiguousarray(_scene()[..., :3]), (200, 400)),
        "astronaut": (_astronaut(), (20, 130)),
        "plot": (drawings.ALL["plot"](), (210, 540)),
        "window": (drawings.ALL["window"](), (20, 130)),
    }


def with_alpha() -> list[Picture]:
    """Return pictures with alpha, RGBA: the corpus's logo if it is there, and three made of one
    photograph."""
    return [
        *from_corpus("graphics", ["logo_rgba"]),
        Picture("fading photograph", _fading),
        Picture("alpha of 254 and 255", _nearly_opaque),
        Picture("veil with opaque dots", _veil),
    ]


def large() -> list[Picture]:
    """Return pictures of 10 to 24 megapixels, RGB; none without the corpus."""
    return from_corpus("large")


def from_corpus(folder: str, names: Iterable[str] | None = None) -> list[Picture]:
    """Return the pictures of a folder of the corpus by name, those with `names` if given."""
    corpus = corpus_folder()
    if corpus is None or not (corpus / folder).is_dir():
        return []
    paths = sorted(path for path in (corpus / folder).iterdir() if path.suffix in _PICTURES)
    return [
        Picture(path.stem, partial(load, path), path)
        for path in paths
        if names is None or path.stem in names
    ]


@lru_cache(maxsize=4)
def load(path: Path) -> Array:
    """Return the (height, width, 3 or 4) uint8 samples of a picture file."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))


def random_points(n: int, d: int) -> Array:
    """Return (n, d) float32 around 40 seeded centres, so that there is something to find."""
    rng = np.random.default_rng(d)
    centres = rng.normal(size=(40, d)).astype(np.float32)
    points = rng.normal(scale=0.3, size=(n, d)).astype(np.float32)
    points += centres[rng.integers(0, len(centres), n)]
    return points


@lru_cache(maxsize=1)
def _scene() -> Array:
    from kmq.cli.scene import scene

    return np.ascontiguousarray(scene()[:, :, :3])


@lru_cache(maxsize=1)
def _astronaut() -> Array:
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


@lru_cache(maxsize=1)
def _fading() -> Array:
    """Opaque in the middle, transparent in the corners."""
    photo = _astronaut()
    row, column = np.mgrid[-1 : 1 : photo.shape[0] * 1j, -1 : 1 : photo.shape[1] * 1j]
    alpha = np.clip(1.6 - 1.8 * np.hypot(row, column), 0, 1) * 255
    return np.dstack([photo, np.rint(alpha).astype(np.uint8)])


@lru_cache(maxsize=1)
def _nearly_opaque() -> Array:
    photo = _astronaut()
    alpha = np.random.default_rng(0).integers(254, 256, photo.shape[:2], np.uint8)
    return np.dstack([photo, alpha])


@lru_cache(maxsize=1)
def _veil() -> Array:
    """Translucent all over, but for one pixel in fifty."""
    photo = _astronaut()
    rng = np.random.default_rng(0)
    alpha = np.linspace(40, 220, photo.shape[1])[None] + rng.normal(0, 5, photo.shape[:2])
    alpha[rng.random(photo.shape[:2]) < 0.02] = 255
    return np.dstack([photo, np.rint(alpha).astype(np.uint8)])


@lru_cache(maxsize=1)
def _regions() -> Array:
    """Flat regions around 60 seeded places: a map of provinces."""
    rng = np.random.default_rng(0)
    places = rng.random((60, 2)) * (512, 768)
    colors = rng.integers(0, 256, (60, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:512, :768]
    nearest = np.argmin([(rows - y) ** 2 + (columns - x) ** 2 for y, x in places], axis=0)
    return colors[nearest]
