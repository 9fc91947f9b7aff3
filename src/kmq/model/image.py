"""Pictures: as samples, and as a palette with indices."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kmq.errors import InputError
from kmq.model.arrays import check_colors, looked_up, over_bytes, set_default, unchangeable
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel, as_pixel_format

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
    from PIL.Image import Image

    from kmq.streams import Source, WritableFile


_COUNTED_AT_ONCE = 1 << 16  # indices, which NumPy widens to 8 bytes each to count them


MAX_COLORS = 65_536
"""Most colours a palette holds: what a uint16 index can address."""


MAX_SIDE = 2**31 - 1
"""Longest side of a picture in pixels: what signed 32-bit programs can address."""


MAX_PAGES = 65_536
"""Largest number of a page: bounds the way through a file to it."""


@dataclass(frozen=True)
class Metadata:
    """Everything but its pixels that travels with a picture.

    Attributes:
        icc_profile: ICC colour profile, or None.
        exif: EXIF block as Pillow's ``info["exif"]`` has it, or None.
        xmp: XMP packet, nearly always XML in UTF-8, or None.
        dpi: horizontal and vertical resolution in dots per inch, or None.
        text: keyword → value.
        gamma: exponent by which samples were made of light, 0.45455 for 1/2.2, or None. This and
            the following are what PNG files say of their colours: cICP counts before a colour
            profile, that before sRGB, that before gamma and chromaticities. kmq converts nothing.
        chromaticities: x and y of white, red, green and blue (CIE 1931), eight numbers, or None.
        srgb: "perceptual", "relative colorimetric", "saturation" or "absolute colorimetric", the
            rendering intent of a picture that is declared to be sRGB, or None.
        cicp: coding-independent code points (ITU-T H.273), or None: colour primaries, transfer
            characteristics, matrix coefficients, 1 for full range.
        extra: ancillary chunks kmq does not know, kept as (letter, payload) in file order.

    >>> metadata = kmq.read(kmq.encode("photo.png", 16)).metadata
    >>> metadata.dpi is None, dict(metadata.text)
    (True, {})
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict, hash=False)
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    srgb: str | None = None
    cicp: tuple[int, ...] | None = None
    extra: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self) -> None:
        """Replace None by the default."""
        set_default(self, text={}, extra=())


@dataclass(frozen=True)
class Report:
    """What a quantization did and what it cost.

    Attributes:
        colors_in: distinct colours of the picture.
        colors_out: colours of the palette.
        mse: mean over the pixels of the squared distance to their palette entry, summed over
            the channels (the convention of the quantization literature), in squared sample units.
            With alpha, the mean of that over a black and over a white background.
        psnr: 10 log10(max_value² · channels / mse) in decibels, alpha not counted as a channel;
            infinite for an exact result.
        iterations: Lloyd rounds over all distinct colours; 0 where the palette needs none, as of
            grey pictures.
        converged: whether the last round moved no centre by more than the tolerance.
        seed: the seed that was used.
        seconds: wall time per stage, in the order they ran.

    >>> report = kmq.quantize("photo.png", 16).report
    >>> report.colors_out, round(report.psnr, 1)
    (16, 29.7)
    """

    colors_in: int
    colors_out: int
    mse: float
    psnr: float
    iterations: int
    converged: bool
    seed: int
    seconds: Mapping[str, float] = field(hash=False)


@unchangeable("palette", "indices")
@dataclass(frozen=True, eq=False)
class IndexedImage:
    """A palette and, for each pixel, the position of its entry. Checked once, then unchangeable.

    Arrays that you pass are copied. Arrays that the image returns are read-only: `numpy.array`
    makes a copy to write to.

    Attributes:
        palette: (k, channels) uint8 or uint16, 1 ≤ k ≤ 65,536, in the units of `pixel_format`; a
            `Palette` becomes that.
        indices: (height, width) palette positions; uint8 up to 256 colours, uint16 above.
        pixel_format: what the picture was; its label, such as "RGB", becomes that, and None what a
            `Palette` has or else channels and type say, as for `Palette`.
        metadata: colour profile, EXIF and the like.
        report: what `quantize` did, or None for an image that was read or built by hand.
        lost: (first row, row after the last) of each band of rows that was lost to damage when
            the file was read, top to bottom; their indices are 0. Files do not store it. Empty for
            a whole image.

    Raises:
        InputError: a shape, dtype, index or band of rows does not fit the above.
        TypeError: palette or indices are not arrays, or pixel_format is neither.

    >>> palette = np.array([[0, 0, 0], [255, 136, 0]], dtype=np.uint8)
    >>> indices = np.array([[0, 1], [1, 1]], dtype=np.uint8)
    >>> image = kmq.IndexedImage(palette, indices, "RGB")
    >>> image.hex, image.counts.tolist()
    (('#000000', '#ff8800'), [1, 3])
    """

    palette: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    pixel_format: PixelFormat = None  # type: ignore[assignment]  # None becomes one
    metadata: Metadata = Metadata()
    report: Report | None = None
    lost: tuple[tuple[int, int], ...] = ()

    if TYPE_CHECKING:  # the arguments; the attributes are made of them

        def __init__(
            self,
            palette: np.ndarray[Any, Any] | Palette,
            indices: np.ndarray[Any, Any],
            pixel_format: PixelFormat | PixelFormatLabel | None = None,
            metadata: Metadata | None = None,
            report: Report | None = None,
            lost: Iterable[tuple[int, int]] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Check palette and indices against each other and put them over bytes."""
        if isinstance(self.palette, Palette):
            set_default(self, pixel_format=self.palette.pixel_format)
            object.__setattr__(self, "palette", self.palette.colors)
        elif self.pixel_format is None:
            set_default(self, pixel_format=Palette(self.palette).pixel_format)
        set_default(self, metadata=Metadata(), lost=())
        if not isinstance(self.metadata, Metadata):
            raise TypeError(
                f"metadata is {type(self.metadata).__name__}; it must be a kmq.Metadata"
            )
        object.__setattr__(self, "pixel_format", as_pixel_format(self.pixel_format))
        object.__setattr__(self, "palette", _checked_palette(self.palette, self.pixel_format))
        object.__setattr__(self, "indices", _checked_indices(self.indices, len(self.palette)))
        object.__setattr__(self, "lost", _checked_lost(self.lost, self.height))

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.indices.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.indices.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as of a Pillow image."""
        return self.width, self.height

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that `to_array` returns."""
        channels = self.pixel_format.channels
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    @property
    def n_colors(self) -> int:
        """Entries of the palette."""
        return len(self.palette)

    @property
    def hex(self) -> tuple[str, ...]:
        """The palette in hexadecimal; see `Palette.hex`."""
        return Palette(self.palette, self.pixel_format).hex

    @property
    def counts(self) -> np.ndarray[Any, Any]:
        """How many pixels show each entry of the palette, (n_colors,) int64.

        They are counted anew at each access, in O(pixels).
        """
        counts = np.zeros(self.n_colors, np.int64)
        flat = self.indices.reshape(-1)
        for start in range(0, flat.size, _COUNTED_AT_ONCE):
            part = flat[start : start + _COUNTED_AT_ONCE]
            counts += np.bincount(part, minlength=len(counts))
        return counts

    def __eq__(self, other: object) -> bool:
        """Same pixel format, palette, indices, metadata and lost rows, whatever the report."""
        if not isinstance(other, IndexedImage):
            return NotImplemented
        return (
            self.pixel_format is other.pixel_format
            and np.array_equal(self.palette, other.palette)
            and np.array_equal(self.indices, other.indices)
            and self.metadata == other.metadata
            and self.lost == other.lost
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays; equal images need not share them

    def __repr__(self) -> str:
        """One line: size, format, colours, and how many rows are lost if any are."""
        n_lost = sum(end - first for first, end in self.lost)
        return (
            f"<kmq.IndexedImage {self.width}x{self.height} {self.pixel_format.label}, "
            f"{self.n_colors} colours{f', {n_lost} rows lost' if n_lost else ''}>"
        )

    def _repr_html_(self) -> str:
        """Return what notebooks show: the picture, made small if it is large, and its palette."""
        from kmq.display import notebook_html

        return notebook_html(self)

    def _repr_png_(self) -> bytes:
        """Return what notebooks show where they show no HTML: the picture as a PNG file."""
        from kmq.display import notebook_png

        return notebook_png(self)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        """Return what `to_array` does, for ``numpy.asarray`` and all that uses it.

        Raises:
            ValueError: copy is False: the image has no such array to share.
        """
        if copy is False:
            raise ValueError("copy is False; an IndexedImage becomes an array only by copying")
        array = self.to_array()
        return array if dtype is None else array.astype(dtype, copy=False)

    def to_array(self) -> np.ndarray[Any, Any]:
        """Return the picture with each index replaced by its colour.

        Returns:
            bool (h, w) for 1-bit; (h, w) for grey; (h, w, channels) otherwise; uint8 or uint16.

        >>> kmq.quantize("photo.png", 16).to_array().shape
        (64, 96, 3)
        """
        samples: np.ndarray[Any, Any] = looked_up(self.palette, self.indices)
        if self.pixel_format.channels == 1:
            samples = samples[:, :, 0]
        return samples.astype(np.bool_) if self.pixel_format is PixelFormat.BILEVEL else samples

    def to_palette(self) -> Palette:
        """Return the palette with its pixel format and the shares of the pixels, in O(pixels).

        >>> palette = kmq.quantize("photo.png", 4).to_palette()
        >>> len(palette.hex), round(float(palette.shares.sum()), 6)
        (4, 1.0)
        """
        return Palette(self.palette, self.pixel_format, self.counts / self.indices.size)

    @classmethod
    def open(cls, source: Source) -> IndexedImage:
        """Read an image from a .kmq file or a picture file with a palette, exactly as it is.

        Args:
            source: a path, the bytes of a file, or a file object open for binary reading, which
                stays open.

        Raises:
            InputError: a picture without a palette, which `kmq.quantize` takes, or of several
                frames.
            FormatError: a damaged .kmq file.
            OSError: the file cannot be read.

        >>> kmq.quantize("photo.png", 16).save("small.png")
        >>> kmq.IndexedImage.open("small.png")
        <kmq.IndexedImage 96x64 RGB, 16 colours>
        """
        from kmq import files

        return files.open_image(source)

    def save(self, target: str | os.PathLike[str] | WritableFile) -> None:
        """Write the image to a file of the kind its suffix says.

        Args:
            target: for a .kmq file, a file object or a path that ends in ``.kmq`` or ``.kmqpal`` or
                has no suffix (`kmq.write` has more options); or a path with the suffix of a picture
                file that keeps every sample, such as ``.png``, ``.tif`` or ``.webp``.
                The palette of a PNG file keeps its order, and the extra ``png`` makes it smaller.

        Raises:
            InputError: a file of that kind cannot hold the picture unchanged; the message names
                those that can.
            MissingExtraError: 16 bits of more than one channel need the extra ``deep``.
            OSError: the file cannot be written.

        Warns:
            MetadataWarning: metadata that the file cannot hold are left out.

        >>> image = kmq.quantize("photo.png", 16)
        >>> image.save("small.tif")
        >>> np.array_equal(kmq.IndexedImage.open("small.tif").indices, image.indices)
        True
        """
        from kmq import files

        files.save(self, target)

    def to_pillow(self) -> Image:
        """Return a Pillow image: mode P where Pillow's palettes can hold this one, else direct.

        Raises:
            InputError: Pillow has no mode for the pixel format (16-bit RGB, RGBA and grey-alpha).

        >>> picture = kmq.quantize("photo.png", 16).to_pillow()
        >>> picture.mode, picture.size
        ('P', (96, 64))
        """
        from kmq.stages.pictures.pillow import to_pillow

        return to_pillow(self)

    @classmethod
    def from_pillow(cls, picture: Image) -> IndexedImage:
        """Take palette and indices of a mode P, PA, L or 1 Pillow image exactly as they are.

        Raises:
            InputError: any other mode, which `kmq.quantize` takes; or an image of several frames:
                take a ``copy()`` of the one you want.

        >>> picture = kmq.quantize("photo.png", 16).to_pillow()
        >>> kmq.IndexedImage.from_pillow(picture)
        <kmq.IndexedImage 96x64 RGB, 16 colours>
        """
        from kmq.stages.pictures.pillow import indexed_from_pillow

        return indexed_from_pillow(picture)


class QuantizedImage(IndexedImage):
    """The image that `kmq.quantize` returns: its `report` is never None.

    >>> image = kmq.quantize("photo.png", 16)
    >>> type(image).__name__, image.report.colors_in
    ('QuantizedImage', 3735)
    """

    report: Report


class Pixels(NamedTuple):
    """A picture at the door of the pipeline, whatever it came from.

    Attributes:
        samples: (height, width, channels) uint8 or uint16, C order, native byte order; 1-bit
            pictures hold 0 and 1; pixels of alpha 0 are all zero.
        pixel_format: what one pixel is.
        metadata: what travels along; the EXIF orientation is already applied and reset.
    """

    samples: np.ndarray[Any, Any]
    pixel_format: PixelFormat
    metadata: Metadata = Metadata()


def check_sizes(sizes: Iterable[tuple[int, int]]) -> None:
    """Raise InputError if frames differ in size, which is (width, height)."""
    first: tuple[int, int] | None = None
    for number, size in enumerate(sizes, 1):
        first = first or size
        if size != first:
            raise InputError(
                f"frame {number} has {size[0]} by {size[1]} pixels and the first {first[0]} by "
                f"{first[1]}; frames must have one size"
            )


def index_dtype(n_colors: int) -> np.dtype[Any]:
    """Type of indices into a palette of that many colours: uint8 up to 256, uint16 above."""
    return np.dtype(np.uint8 if n_colors <= 256 else np.uint16)


def _checked_palette(palette: Any, pixel_format: PixelFormat) -> np.ndarray[Any, Any]:
    check_colors(palette, "palette", pixel_format)
    if len(palette) > MAX_COLORS:
        raise InputError(f"palette has {len(palette)} colours; it holds 1 to {MAX_COLORS}")
    return over_bytes(palette, palette.dtype)


def _checked_indices(indices: Any, n_colors: int) -> np.ndarray[Any, Any]:
    if not isinstance(indices, np.ndarray):
        raise TypeError(f"indices are {type(indices).__name__}; they must be a NumPy array")
    if indices.dtype not in (np.uint8, np.uint16):
        raise InputError(f"indices are {indices.dtype}; they must be uint8 or uint16")
    if indices.ndim != 2 or 0 in indices.shape:
        raise InputError(f"indices have shape {indices.shape}; they need (height, width) above 0")
    if max(indices.shape) > MAX_SIDE:
        raise InputError(f"indices have shape {indices.shape}; a side holds up to {MAX_SIDE}")
    largest = int(indices.max())
    if largest >= n_colors:
        raise InputError(f"an index is {largest}; the palette has {n_colors} colours, from 0")
    return over_bytes(indices, index_dtype(n_colors))


def _checked_lost(lost: Any, height: int) -> tuple[tuple[int, int], ...]:
    bands = tuple((operator.index(first), operator.index(end)) for first, end in lost)
    below = 0
    for first, end in bands:
        if not below <= first < end <= height:
            raise InputError(
                f"lost is {bands}; it must be bands of rows, (first, row after the last), "
                f"top to bottom within the picture's {height}"
            )
        below = end
    return bands
