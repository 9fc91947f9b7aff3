"""Palettes: colours and what their samples are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kmq import checks
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.arrays import check_colors, over_bytes, unchangeable
from kmq.model.hexadecimal import format_hex, of_hex
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel, as_pixel_format

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike


@unchangeable("colors", "shares")
@dataclass(frozen=True, eq=False)
class Palette:
    """Colours, what their samples are, and how many pixels show each if that is known.

    It is an array to NumPy, of shape (k, channels), and goes wherever colours are taken.

    >>> palette = kmq.Palette(["#ff8800", "#123456"])
    >>> palette.hex
    ('#ff8800', '#123456')
    >>> image = kmq.quantize("photo.png", palette=palette)

    Attributes:
        colors: (k, channels) uint8 or uint16; whole numbers of any type and colours in hexadecimal
            become that.
        pixel_format: what the samples are, or its label. None takes what channels and type say:
            uint16 has 16 bits, four channels are RGBA.
        shares: (k,) float64, the share of the pixels that show each entry, or None.

    Raises:
        InputError: colours or shares do not fit the above.
        TypeError: colours are not whole numbers.
    """

    colors: np.ndarray[Any, Any]
    pixel_format: PixelFormat = None  # type: ignore[assignment]  # None becomes one
    shares: np.ndarray[Any, Any] | None = None

    if TYPE_CHECKING:  # the arguments; the attributes are made of them

        def __init__(
            self,
            colors: ArrayLike | Sequence[str],
            pixel_format: PixelFormat | PixelFormatLabel | None = None,
            shares: ArrayLike | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Check all, and put the arrays over bytes."""
        given: Any = self.colors
        colors, stated = given, None
        is_list = isinstance(given, list | tuple) and len(given) > 0
        if is_list and all(isinstance(color, str) for color in given):
            colors, stated = of_hex(given)
        colors = checks.as_array(colors, "colors")
        if colors.size and colors.dtype.kind not in "iub":
            raise TypeError(f"colors have dtype {colors.dtype}; colours are whole numbers")
        if colors.ndim != 2 or not 1 <= colors.shape[1] <= 4 or not len(colors):
            raise InputError(
                f"colors have shape {colors.shape}; they must be (k, channels), of 1 to 4 channels"
            )
        stated = stated or formats.of_array(colors)
        wanted: PixelFormat | None = self.pixel_format
        pixel_format = stated if wanted is None else as_pixel_format(wanted)
        if colors.min() < 0 or colors.max() > pixel_format.max_value:
            raise InputError(
                f"colors go from {colors.min()} to {colors.max()}; pixel format "
                f"{pixel_format.label} goes from 0 to {pixel_format.max_value}"
            )
        colors = colors.astype(pixel_format.dtype)
        check_colors(colors, "colors", pixel_format)
        object.__setattr__(self, "colors", over_bytes(colors, colors.dtype))
        object.__setattr__(self, "pixel_format", pixel_format)
        if self.shares is not None:
            shares = checks.as_array(self.shares, "shares")
            if shares.dtype.kind not in "biuf":
                raise TypeError(f"shares have dtype {shares.dtype}; they must be numbers")
            if shares.shape != (len(colors),) or not (shares.min() >= 0 and shares.max() <= 1):
                raise InputError(
                    f"shares have shape {shares.shape}; there must be one of 0 to 1 for each of "
                    f"the {len(colors)} colours"
                )
            object.__setattr__(self, "shares", over_bytes(shares, np.dtype(np.float64)))

    @property
    def hex(self) -> tuple[str, ...]:
        """The colours as "#rrggbb" or "#rrggbbaa", of twice as many digits for 16 bits.

        Raises:
            InputError: the palette is CMYK.
        """
        wanted = formats.common_format(self.pixel_format, PixelFormat.RGB24)
        colors = formats.converted(self.colors, self.pixel_format, wanted)
        return tuple(f"#{format_hex(color, wanted)}" for color in colors.tolist())

    @property
    def shape(self) -> tuple[int, int]:
        """Colours and channels."""
        return len(self.colors), self.pixel_format.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples: uint8 or uint16."""
        return self.pixel_format.dtype

    def sorted_by_share(self) -> Palette:
        """Return the palette with what most pixels show first; ties keep their order.

        Raises:
            InputError: shares are not known.

        >>> kmq.Palette(["#102030", "#ffffff"], shares=[0.25, 0.75]).sorted_by_share().hex
        ('#ffffff', '#102030')
        """
        shares = self.shares
        if shares is None:
            raise InputError(
                "the palette has no shares to sort by; IndexedImage.to_palette() gives them"
            )
        order = np.argsort(-shares, kind="stable")
        return Palette(self.colors[order], self.pixel_format, shares[order])

    def tolist(self) -> list[list[int]]:
        """Return the colours as lists of whole numbers.

        >>> kmq.Palette(["#102030", "#ffffff"]).tolist()
        [[16, 32, 48], [255, 255, 255]]
        """
        rows: list[list[int]] = self.colors.tolist()
        return rows

    def __len__(self) -> int:
        """Colours."""
        return len(self.colors)

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        """Give each colour, (channels,)."""
        return iter(self.colors)

    def __getitem__(self, which: Any) -> Any:
        """Return what the array `colors` has there."""
        return self.colors[which]

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        """Return `colors`, for ``numpy.asarray`` and all that uses it."""
        return np.array(self.colors, dtype) if copy else np.asarray(self.colors, dtype)

    def __eq__(self, other: object) -> bool:
        """Same colours in the same order and pixel format, whatever the shares."""
        if not isinstance(other, Palette):
            return NotImplemented
        same_format = self.pixel_format is other.pixel_format
        return same_format and np.array_equal(self.colors, other.colors)

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        """One line: pixel format and colours."""
        count = len(self)
        return f"<kmq.Palette {self.pixel_format.label}, {count} colour{'s' if count > 1 else ''}>"

    def _repr_html_(self) -> str:
        """Return what notebooks show: a block of each colour, with its share."""
        from kmq.display import palette_html

        return palette_html(self)
