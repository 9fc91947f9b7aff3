"""Colours as callers give them: samples, names, an image for its palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from kmq import checks
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.arrays import Array, contiguous
from kmq.model.image import MAX_COLORS, IndexedImage
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.pillow import is_pillow

if TYPE_CHECKING:
    from PIL.Image import Image

GivenColors: TypeAlias = "Array | list[Any] | tuple[Any, ...] | IndexedImage | Palette | Image"
"""Samples (n, channels), names of colours, both in one list, a palette, or an image for its own."""


class _Named(NamedTuple):
    """Colours with a pixel format of their own, and how a message begins that is about them."""

    title: str
    palette: Palette


class Colors(NamedTuple):
    """Colours that a caller gave.

    Attributes:
        name: the argument they were given as.
        pieces: (n, channels) samples of the picture's pixel format, colours that have one of their
            own, and None for the picture's background.
    """

    name: str
    pieces: tuple[Array | _Named | None, ...]

    @classmethod
    def checked(cls, colors: Any, name: str) -> Colors:
        """Take samples, names, a palette or an image; raise InputError or TypeError for others."""
        if is_pillow(colors):  # a Pillow image, which is an array of its pixels else
            colors = IndexedImage.from_pillow(colors)
        if isinstance(colors, Palette):
            return cls(name, (_Named(name, colors),))
        if isinstance(colors, IndexedImage):
            return cls(name, (_Named(name, Palette(colors.palette, colors.pixel_format)),))
        if isinstance(colors, str):
            return cls(name, (_named(colors, name),))
        if not has_names(colors):
            return cls(name, (_rows(colors, name),))
        return cls(
            name,
            tuple(_named(c, name) if isinstance(c, str) else _rows([c], name) for c in colors),
        )

    @property
    def number(self) -> int:
        """How many there are, repetitions included."""
        return sum(1 if piece is None else _n_colors(piece) for piece in self.pieces)

    def palette(self) -> Palette | None:
        """Return them in the least pixel format that holds all, if each has one of its own."""
        palettes = [piece.palette for piece in self.pieces if isinstance(piece, _Named)]
        if len(palettes) < len(self.pieces):
            return None
        common = palettes[0].pixel_format
        for palette in palettes:
            common = formats.common_format(common, palette.pixel_format)
        rows = [formats.converted(p.colors, p.pixel_format, common) for p in palettes]
        return Palette(np.concatenate(rows), common)

    def alone(self) -> Palette:
        """Return them in the least pixel format that holds all; samples are what their type says.

        Raises:
            InputError: they do not fit that, or have no pixel format in common.
        """
        pieces = []
        for piece in self.pieces:
            if isinstance(piece, _Named):
                pieces.append(piece)
            else:
                pixel_format = PixelFormat.RGB24 if piece is None else formats.of_array(piece)
                samples = self._samples_of(piece, pixel_format, None)
                pieces.append(_Named(self.name, Palette(samples, pixel_format)))
        palette = Colors(self.name, tuple(pieces)).palette()
        assert palette is not None  # noqa: S101  # each has a format now
        return palette

    def samples(self, pixel_format: PixelFormat, picture: Array | None) -> Array:
        """Return (n, channels) samples; `picture` has those of the picture, if there is one."""
        rows = [self._samples_of(piece, pixel_format, picture) for piece in self.pieces]
        return np.concatenate(rows)

    def _samples_of(
        self, piece: Array | _Named | None, pixel_format: PixelFormat, picture: Array | None
    ) -> Array:
        if piece is None:
            if picture is None:
                raise InputError(f"{self.name} names the background, which only a picture has")
            return _background(picture)
        if isinstance(piece, _Named):
            try:
                return formats.converted(
                    piece.palette.colors, piece.palette.pixel_format, pixel_format
                )
            except InputError as error:
                raise InputError(f"{piece.title}: {error}") from error
        if piece.shape[1] != pixel_format.channels:
            raise InputError(
                f"{self.name} has shape {piece.shape}; pixel format {pixel_format.label} "
                f"needs (colours, {pixel_format.channels})"
            )
        if piece.min() < 0 or piece.max() > pixel_format.max_value:
            raise InputError(
                f"{self.name} goes from {piece.min()} to {piece.max()}; pixel format "
                f"{pixel_format.label} goes from 0 to {pixel_format.max_value}"
            )
        return contiguous(piece, pixel_format.dtype)


def has_names(colors: Any) -> bool:
    """Whether some of the colours in a list, tuple or array are given by name."""
    if isinstance(colors, np.ndarray):
        return colors.dtype.kind == "U" and colors.ndim == 1
    return isinstance(colors, list | tuple) and any(isinstance(color, str) for color in colors)


def _n_colors(piece: Array | _Named) -> int:
    return len(piece.palette.colors if isinstance(piece, _Named) else piece)


def _named(color: str, name: str) -> _Named | None:
    """Return the colour of a name, or None for the picture's background."""
    if color == "background":
        return None
    from kmq.stages.palette.files import named_color

    title = f"{name} names {color!r}"
    try:
        return _Named(title, named_color(color))
    except InputError as error:
        raise InputError(f"{title}: {error}") from error


def _background(samples: Array) -> Array:
    """Return the colour (1, channels) of most pixels on the border of (height, width, channels)."""
    channels = samples.shape[2]
    sides = (samples[0], samples[-1], samples[1:-1, 0], samples[1:-1, -1])
    border = np.concatenate([side.reshape(-1, channels) for side in sides])
    colors, counts = np.unique(border, axis=0, return_counts=True)
    commonest: Array = colors[np.argmax(counts)][None]
    return commonest


def _rows(colors: Any, name: str) -> Array:
    """Return whole numbers (n, channels), whose range the picture's pixel format says."""
    rows = checks.as_array(colors, name)
    if rows.size and rows.dtype.kind not in "iub":
        raise TypeError(f"{name} has dtype {rows.dtype}; colours are whole numbers")
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= 4 or not 1 <= len(rows) <= MAX_COLORS:
        raise InputError(
            f"{name} has shape {rows.shape}; it must be (colours, channels): 1 to {MAX_COLORS} "
            "colours of 1 to 4 channels"
        )
    return rows
