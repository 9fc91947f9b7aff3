"""What one pixel of a picture is."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import numpy as np

from kmq.errors import InputError

PixelFormatLabel = Literal["1", "L", "LA", "L16", "LA16", "RGB", "RGBA", "RGB48", "RGBA64", "CMYK"]


class PixelFormat(Enum):
    """What one pixel of a picture is; ``PixelFormat("RGB")`` is `PixelFormat.RGB24`.

    Attributes:
        label: the name used in messages, on the command line and for ``pixel_format=``.
        code: the number a ``.kmq`` header stores.
        channels: samples per pixel.
        depth: bits per sample; samples range from 0 to 2**depth - 1.

    >>> rgb = kmq.PixelFormat("RGB")
    >>> rgb.channels, rgb.depth, rgb.max_value, rgb.bytes_per_pixel
    (3, 8, 255, 3.0)
    """

    BILEVEL = ("1", 0, 1, 1)
    GREY8 = ("L", 1, 1, 8)
    GREY8_ALPHA = ("LA", 2, 2, 8)
    GREY16 = ("L16", 3, 1, 16)
    GREY16_ALPHA = ("LA16", 4, 2, 16)
    RGB24 = ("RGB", 5, 3, 8)
    RGBA32 = ("RGBA", 6, 4, 8)
    RGB48 = ("RGB48", 7, 3, 16)
    RGBA64 = ("RGBA64", 8, 4, 16)
    CMYK32 = ("CMYK", 9, 4, 8)

    label: str
    code: int
    channels: int
    depth: int

    def __new__(cls, label: PixelFormatLabel, *facts: int) -> PixelFormat:
        """Make the label the value, by which a member is found."""
        member = object.__new__(cls)
        member._value_ = member.label = label
        member.code, member.channels, member.depth = facts
        return member

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of samples in arrays and palettes: uint8 up to 8 bits, uint16 above."""
        return np.dtype(np.uint16 if self.depth > 8 else np.uint8)

    @property
    def max_value(self) -> int:
        """Largest sample: 1, 255 or 65,535."""
        return (1 << self.depth) - 1

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is opacity."""
        return self.label in ("LA", "LA16", "RGBA", "RGBA64")

    @property
    def bytes_per_pixel(self) -> float:
        """Memory of one uncompressed pixel: 1/8 for 1-bit, 3 for 24-bit RGB, and so on."""
        return self.channels * self.depth / 8

    @classmethod
    def _missing_(cls, value: object) -> PixelFormat | None:
        """Name the labels there are."""
        return cls.from_label(value) if isinstance(value, str) else None

    @classmethod
    def from_label(cls, label: str) -> PixelFormat:
        """Look a format up by its label; raise InputError naming the labels there are.

        >>> kmq.PixelFormat.from_label("L16").depth
        16
        """
        for pixel_format in cls:
            if pixel_format.label == label:
                return pixel_format
        labels = ", ".join(pixel_format.label for pixel_format in cls)
        raise InputError(f"there is no pixel format {label!r}; kmq has {labels}")


MAX_DEPTH = max(member.depth for member in PixelFormat)
"""Most bits of a sample."""

_DEPTHS = {np.dtype(np.bool_): 1, np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}

_BY_SHAPE = {(member.channels, member.depth): member for member in reversed(PixelFormat)}
"""Channels and depth → pixel format; of two the first, which is not CMYK."""


def of_shape(channels: int, depth: int) -> PixelFormat:
    """Return the pixel format with that many samples of that many bits; four of 8 bits are RGBA.

    Raises:
        KeyError: no pixel format has them.
    """
    return _BY_SHAPE[channels, depth]


def of_samples(dtype: np.dtype[Any], channels: int) -> PixelFormat:
    """Return the pixel format with that many samples of that type; bool is 1-bit.

    Raises:
        KeyError: no pixel format has them.
    """
    return of_shape(channels, _DEPTHS[dtype.newbyteorder("=")])


def as_pixel_format(pixel_format: Any) -> PixelFormat:
    """Return a pixel format that is given as one or by its label.

    Raises:
        InputError: there is none of that label.
        TypeError: it is neither.
    """
    if isinstance(pixel_format, PixelFormat):
        return pixel_format
    if isinstance(pixel_format, str):
        return PixelFormat.from_label(pixel_format)
    raise TypeError(
        f"pixel_format is {type(pixel_format).__name__}; it must be a kmq.PixelFormat or its label"
    )
