"""The things every part of kmq speaks about: pixel formats, indexed images, histograms."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from kmq import checks
from kmq.errors import InputError, KmqError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
    from PIL.Image import Image

    from kmq.files import WritableFile

Progress = Callable[[str, float], None]
"""Called with a stage's name and the fraction of it that is done; may raise to stop the work."""

T = TypeVar("T")

_COUNTED_AT_ONCE = 1 << 16  # indices, which NumPy widens to 8 bytes each to count them

Effort = Literal["fast", "balanced", "best"]
DitherMethod = Literal["diffusion", "ordered"]
PixelFormatLabel = Literal["1", "L", "LA", "L16", "LA16", "RGB", "RGBA", "RGB48", "RGBA64", "CMYK"]

EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""How much time to take, for a palette and for the coded indices."""

DITHER_METHODS: tuple[DitherMethod, ...] = get_args(DitherMethod)
"""How colours are mixed from those of a palette."""

MAX_COLORS = 65_536
"""Most colours a palette holds: what a uint16 index can address."""

MAX_HISTOGRAM_COLORS = 2**26
"""Most colours of a histogram that is kept or added to: 1 GiB at the most bytes a colour takes."""

MAX_SIDE = 2**31 - 1
"""Longest side of a picture in pixels: what signed 32-bit programs can address."""

MAX_STRIPS = 65_536
"""Most strips of a file: bounds the strip table before it is read."""


class PixelFormat(Enum):
    """What one pixel of a picture is.

    Attributes:
        label: the name used in messages, on the command line and for ``pixel_format=``.
        code: the number a ``.kmq`` header stores.
        channels: samples per pixel.
        depth: bits per sample; samples range from 0 to 2**depth - 1.
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

    def __init__(self, label: str, code: int, channels: int, depth: int):
        self.label = label
        self.code = code
        self.channels = channels
        self.depth = depth

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
    def from_label(cls, label: str) -> PixelFormat:
        """Look a format up by its label; raise InputError naming the labels there are."""
        for pixel_format in cls:
            if pixel_format.label == label:
                return pixel_format
        labels = ", ".join(pixel_format.label for pixel_format in cls)
        raise InputError(f"there is no pixel format {label!r}; kmq has {labels}")


def _unchangeable(*arrays: str) -> Callable[[type[T]], type[T]]:
    """Decorate a frozen dataclass whose `__post_init__` puts these arrays over bytes.

    Each access gives a view of its own, since anybody can set the shape and dtype of an array.
    Copies and pickles are made by the constructor, with its checks.
    """

    def array_property(name: str) -> property:
        def get(self: Any) -> Any:
            array = vars(self)[name]
            return array.view() if isinstance(array, np.ndarray) else array

        def put(self: Any, array: Any) -> None:
            vars(self)[name] = array

        return property(get, put)

    def reduce(self: Any) -> tuple[type[T], tuple[Any, ...]]:
        return type(self), tuple(getattr(self, item.name) for item in fields(self))

    def decorate(cls: type[T]) -> type[T]:
        for name in arrays:
            setattr(cls, name, array_property(name))
        cls.__reduce__ = reduce  # type: ignore[method-assign]
        return cls

    return decorate


def _set_default(instance: Any, **defaults: Any) -> None:
    """Set attributes of a frozen instance that are None: not given."""
    for name, default in defaults.items():
        if getattr(instance, name) is None:
            object.__setattr__(instance, name, default)


@dataclass(frozen=True)
class Metadata:
    """What travels with a picture beside its pixels.

    Attributes:
        icc_profile: ICC colour profile, or None.
        exif: EXIF block as Pillow's ``info["exif"]`` has it, or None.
        xmp: XMP packet (UTF-8 XML), or None.
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
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    srgb: str | None = None
    cicp: tuple[int, ...] | None = None
    extra: tuple[tuple[str, bytes], ...] = ()

    def __post_init__(self) -> None:
        """Take None for what is not given."""
        _set_default(self, text={}, extra=())


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
        iterations: Lloyd rounds over all distinct colours.
        converged: whether the last round moved no centre by more than the tolerance.
        seed: the seed that was used.
        seconds: wall time per stage, in the order they ran.
    """

    colors_in: int
    colors_out: int
    mse: float
    psnr: float
    iterations: int
    converged: bool
    seed: int
    seconds: Mapping[str, float]


@_unchangeable("palette", "indices")
@dataclass(frozen=True, eq=False)
class IndexedImage:
    """A palette and, for each pixel, which entry it shows. Checked once, then unchangeable.

    The arrays that are passed are copied, and those that the image hands out are read-only for
    good: `numpy.array` makes a copy to write to.

    Attributes:
        palette: (k, channels) uint8 or uint16, 1 ≤ k ≤ 65,536, in the units of `pixel_format`.
        indices: (height, width) palette positions; uint8 up to 256 colours, uint16 above.
        pixel_format: what the picture was.
        metadata: colour profile, EXIF and the like.
        report: what `quantize` did, or None for an image that was read or built by hand.
        lost: (first row, row after the last) of each band of rows that was lost to damage when
            the file was read, top to bottom; their indices are 0. Files do not store it. Empty for
            a whole image.

    Raises:
        InputError: a shape, dtype, index or band of rows does not fit the above.
        TypeError: palette or indices are not arrays, or pixel_format is not a PixelFormat.
    """

    palette: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    pixel_format: PixelFormat
    metadata: Metadata = Metadata()
    report: Report | None = None
    lost: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check palette and indices against each other and put them over bytes."""
        _set_default(self, metadata=Metadata(), lost=())
        if not isinstance(self.metadata, Metadata):
            raise TypeError(
                f"metadata is {type(self.metadata).__name__}; it must be a kmq.Metadata"
            )
        _check_pixel_format(self.pixel_format)
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
        from kmq.stages.display import notebook_html

        return notebook_html(self)

    def _repr_png_(self) -> bytes:
        """Return what notebooks show where they show no HTML: the picture as a PNG file."""
        from kmq.stages.display import notebook_png

        return notebook_png(self)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        """Return what `to_array` does, for ``numpy.asarray`` and all that uses it.

        Raises:
            ValueError: copy is False: the image has no such array to share.
        """
        if copy is False:
            raise ValueError("an IndexedImage becomes an array by a copy alone; copy is False")
        array = self.to_array()
        return array if dtype is None else array.astype(dtype, copy=False)

    def to_array(self) -> np.ndarray[Any, Any]:
        """Return the picture with each index replaced by its colour.

        Returns:
            bool (h, w) for 1-bit; (h, w) for grey; (h, w, channels) otherwise; uint8 or uint16.
        """
        samples: np.ndarray[Any, Any] = self.palette[self.indices]
        if self.pixel_format.channels == 1:
            samples = samples[:, :, 0]
        return samples.astype(np.bool_) if self.pixel_format is PixelFormat.BILEVEL else samples

    def save(self, target: str | os.PathLike[str] | WritableFile) -> None:
        """Write the image to a file of the kind its suffix says.

        Args:
            target: a path that ends in ``.kmq`` or ``.kmqpal`` or has no suffix, or a file object,
                for a .kmq file, of which `kmq.write` has the options; or a path with the suffix of
                a picture file that keeps every sample, such as ``.png``, ``.tif`` or ``.webp``.

        Raises:
            InputError: a file of that kind cannot hold the picture unchanged; the message names
                those that can.
            MissingExtraError: 16 bits of more than one channel need the extra ``deep``.
            OSError: the file cannot be written.

        Warns:
            MetadataWarning: metadata that the file cannot hold are left out.
        """
        from kmq import files

        files.save(self, target)

    def to_pillow(self) -> Image:
        """Return a Pillow image: mode P where Pillow's palettes can hold this one, else direct.

        Raises:
            InputError: Pillow has no mode for the pixel format (16-bit RGB, RGBA and grey-alpha).
        """
        from kmq.stages.pixels import to_pillow

        return to_pillow(self)

    @classmethod
    def from_pillow(cls, picture: Image) -> IndexedImage:
        """Take palette and indices of a mode P, PA, L or 1 Pillow image exactly as they are.

        Raises:
            InputError: any other mode, which `kmq.quantize` takes; or an image of several frames:
                take a ``copy()`` of the one that is meant.
        """
        from kmq.stages.pixels import indexed_from_pillow

        return indexed_from_pillow(picture)


class QuantizedImage(IndexedImage):
    """The image that `kmq.quantize` returns: its `report` is never None."""

    report: Report


@dataclass(frozen=True, eq=False)
class Pixels:
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


@_unchangeable("colors", "counts")
@dataclass(frozen=True, eq=False)
class ColorHistogram:
    """The distinct colours of one or more pictures and how often each occurs.

    It is all that k-means needs to know of pictures, however many: histograms add up, in any order
    and grouping to the same sum, and `kmq.fit_palette` finds one palette for all of them. A colour
    takes 9 to 16 bytes; pictures of 24-bit RGB have 2^24 at most, and a sum holds up to 2^26. The
    arrays are copied and read-only, as those of an `IndexedImage` are.

    >>> histogram = kmq.ColorHistogram.from_pictures(paths)
    >>> palette = kmq.fit_palette(histogram, 64)
    >>> image = kmq.quantize(paths[0], palette=palette)

    Attributes:
        colors: (m, channels) uint8 or uint16, distinct, ordered by interleaved bits (Morton order).
        counts: (m,) int64, above 0.
        pixel_format: what one pixel is.
    """

    colors: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    pixel_format: PixelFormat

    def __post_init__(self) -> None:
        """Check types, shapes and ranges, and put the arrays over bytes.

        The order is checked by what relies on it.
        """
        _check_pixel_format(self.pixel_format)
        _check_colors(self.colors, "colors", self.pixel_format)
        counts = self.counts
        if not isinstance(counts, np.ndarray) or counts.dtype != np.int64:
            raise TypeError("counts are no int64 array")
        if counts.shape != (len(self.colors),) or counts.min() < 1:
            raise InputError(
                f"counts have shape {counts.shape}; there must be one above 0 for each of the "
                f"{len(self.colors)} colours"
            )
        object.__setattr__(self, "colors", _over_bytes(self.colors, self.colors.dtype))
        object.__setattr__(self, "counts", _over_bytes(counts, counts.dtype))

    @property
    def n_colors(self) -> int:
        """Distinct colours."""
        return len(self.colors)

    @property
    def n_pixels(self) -> int:
        """Pixels counted."""
        return int(self.counts.sum())

    @classmethod
    def from_picture(
        cls,
        picture: Any,
        *,
        pixel_format: PixelFormatLabel | PixelFormat | None = None,
        page: int | None = None,
        n_threads: int | None = None,
        limits: Limits | None = None,
    ) -> ColorHistogram:
        """Count the colours of a picture.

        Args:
            picture: anything `kmq.quantize` takes, which describes the other arguments, too.
            pixel_format: what the pixels are, where the array alone does not tell.
            page: which picture of a file with several.
            n_threads: never changes the result.
            limits: how large a file is read.

        Raises:
            InputError: the picture cannot be used.
            TypeError: an argument of the wrong type.
            OSError: the path cannot be read.
        """
        from kmq import histograms

        return histograms.of_picture(picture, pixel_format, page, n_threads, limits)

    @classmethod
    def from_pictures(
        cls,
        pictures: Iterable[Any],
        *,
        pixel_format: PixelFormatLabel | PixelFormat | None = None,
        page: int | None = None,
        n_threads: int | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> ColorHistogram:
        """Count the colours of pictures one after the other, holding one of them at a time.

        Pictures of other pixel formats than the first are taken where nothing is lost: grey ones
        count as RGB, opaque ones as RGBA, those of 8 bits as 16 bits, of whatever is needed.

        Args:
            pictures: as for `from_picture`, or histograms; best one by one from a generator, or
                paths.
            pixel_format: see `from_picture`.
            page: see `from_picture`.
            n_threads: see `from_picture`.
            limits: see `from_picture`.
            progress: called as progress("histogram", fraction) after each, if `pictures` has a
                length; an exception it raises stops the work and is passed on.

        Raises:
            InputError: there are no pictures, or one cannot be used.
            TypeError: an argument of the wrong type.
            OSError: a path cannot be read.

        Cost: that of reading and of O(pixels) counting; memory of one picture, and of up to twice
        the largest sum.
        """
        from kmq import histograms

        return histograms.of_pictures(pictures, pixel_format, page, n_threads, limits, progress)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ColorHistogram:
        """Read a histogram that `save` has written.

        Raises:
            FormatError: the file is damaged, needs a newer kmq (NewerFormatError), or has more
                colours than a histogram holds (LimitError).
            OSError: the file cannot be read.
        """
        from kmq import histograms

        return histograms.load(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the histogram to a file, which appears whole or not at all.

        It takes 1 to 3 bytes a colour. docs/palettes.md describes the file. The path ends in
        ``.kmqhist`` or has no suffix.

        Raises:
            InputError: the path has the suffix of another kind of file.
            OSError: the file cannot be written.
        """
        from kmq import histograms

        histograms.save(self, path)

    def to_format(self, pixel_format: PixelFormatLabel | PixelFormat) -> ColorHistogram:
        """Return the histogram of the same pictures in another pixel format.

        Raises:
            InputError: it cannot hold the colours unchanged: 16 bits do not fit 8, colours no grey.
        """
        from kmq import histograms

        return histograms.converted(self, pixel_format)

    def __add__(self, other: ColorHistogram) -> ColorHistogram:
        """Return the histogram of the pictures of both; they must be of one pixel format."""
        if not isinstance(other, ColorHistogram):
            return NotImplemented
        from kmq import histograms

        return histograms.added(self, other)

    def __radd__(self, other: int) -> ColorHistogram:
        """Let `sum` begin at 0."""
        return self if other == 0 and isinstance(other, int) else NotImplemented

    def __eq__(self, other: object) -> bool:
        """Same pixel format, colours and counts."""
        if not isinstance(other, ColorHistogram):
            return NotImplemented
        return (
            self.pixel_format is other.pixel_format
            and np.array_equal(self.colors, other.colors)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        """One line: pixel format, colours, pixels."""
        return (
            f"<kmq.ColorHistogram {self.pixel_format.label}, {self.n_colors} colours, "
            f"{self.n_pixels} pixels>"
        )


_MOST_OF_A_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What kmq reads before it asks for memory or works for long, and writes.

    Attributes:
        pixels: most pixels of a picture file that is read, and of a .kmq file that is read or
            written. The default is where Pillow, too, refuses to go on (twice its
            `MAX_IMAGE_PIXELS`, which does not count here).
        metadata_bytes: most bytes of all metadata of a file together, inflated.
        decisions: most binary decisions of method "mix" in all that is decoded, beyond the 64 that
            each coded byte pays for. A million take 0.1 to 0.3 seconds; pictures of any size take
            20 to 60 a byte, and those that a file of a few bytes could ask for would take minutes.
    """

    pixels: int = 178_956_970
    metadata_bytes: int = 64 * 2**20
    decisions: int = 2**23

    def __post_init__(self) -> None:
        """Raise TypeError or InputError unless all are whole numbers, at least 0."""
        _set_default(self, **{limit.name: limit.default for limit in fields(self)})
        for limit in fields(self):
            checks.whole_number(getattr(self, limit.name), limit.name, 0, _MOST_OF_A_LIMIT)

    @classmethod
    def checked(cls, limits: Any) -> Limits:
        """Return limits, the usual ones for None; raise TypeError for anything else."""
        if limits is None:
            return cls()
        if not isinstance(limits, cls):
            raise TypeError(f"limits is {type(limits).__name__}; it must be a kmq.Limits")
        return limits

    def check_pixels(self, width: int, height: int, error: type[KmqError] = InputError) -> None:
        """Raise an error of that type if a picture has more pixels."""
        if width * height > self.pixels:
            raise error(
                f"the picture is {width} x {height}, {width * height} pixels; the limit is "
                f"{self.pixels}, for reading and writing: kmq.Limits(pixels=…) or --max-pixels "
                "sets it"
            )


@dataclass(frozen=True)
class ChunkInfo:
    """One chunk of a file: its letter, where it starts, and how long its payload is, in bytes."""

    letter: str
    offset: int
    length: int


@dataclass(frozen=True)
class StripInfo:
    """One strip of a file.

    Attributes:
        row: first row of the picture it covers.
        height: rows it covers.
        offset: where its chunk starts in the file, in bytes.
        length: payload of that chunk in bytes.
        method: how its indices are coded; see FORMAT.md.
    """

    row: int
    height: int
    offset: int
    length: int
    method: int


@dataclass(frozen=True, eq=False)
class FileInfo:
    """What a ``.kmq`` file says about itself without decoding its pixels.

    Attributes:
        version: version of the format, from 1.
        pixel_format: what the picture is.
        height: rows.
        width: columns.
        palette: (k, channels) uint8 or uint16.
        metadata: colour profile, EXIF and the like.
        strip_height: rows of each strip but perhaps the last.
        strips: the strips, top to bottom.
        chunks: all chunks in file order.
        file_size: bytes of the whole file.
    """

    version: int
    pixel_format: PixelFormat
    height: int
    width: int
    palette: np.ndarray[Any, Any]
    metadata: Metadata
    strip_height: int
    strips: tuple[StripInfo, ...]
    chunks: tuple[ChunkInfo, ...]
    file_size: int

    @property
    def n_colors(self) -> int:
        """Entries of the palette."""
        return len(self.palette)

    @property
    def memory(self) -> float:
        """Bytes of the uncompressed picture: height × width × bytes per pixel."""
        return self.height * self.width * self.pixel_format.bytes_per_pixel

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the whole file per pixel."""
        return 8 * self.file_size / (self.height * self.width)

    @property
    def parts(self) -> dict[str, int]:
        """Where the bytes are: palette, strips, metadata and the rest, which is their frame.

        They add up to the whole file. The frame is signature, header, table of strips, and letters,
        lengths and checksums of all chunks.
        """
        palette = sum(chunk.length for chunk in self.chunks if chunk.letter == "P")
        strips = sum(strip.length for strip in self.strips)
        metadata = sum(chunk.length for chunk in self.chunks if chunk.letter.islower())
        frame = self.file_size - palette - strips - metadata
        return {"palette": palette, "strips": strips, "metadata": metadata, "frame": frame}


def index_dtype(n_colors: int) -> np.dtype[Any]:
    """Type of indices into a palette of that many colours: uint8 up to 256, uint16 above."""
    return np.dtype(np.uint8 if n_colors <= 256 else np.uint16)


def _checked_palette(palette: Any, pixel_format: PixelFormat) -> np.ndarray[Any, Any]:
    _check_colors(palette, "palette", pixel_format)
    if len(palette) > MAX_COLORS:
        raise InputError(f"palette has {len(palette)} colours; it holds 1 to {MAX_COLORS}")
    return _over_bytes(palette, palette.dtype)


def _check_pixel_format(pixel_format: Any) -> None:
    if not isinstance(pixel_format, PixelFormat):
        raise TypeError(
            f"pixel_format is {type(pixel_format).__name__}; it must be a kmq.PixelFormat"
        )


def _check_colors(colors: Any, name: str, pixel_format: PixelFormat) -> None:
    if not isinstance(colors, np.ndarray):
        raise TypeError(f"{name} is {type(colors).__name__}; it must be a NumPy array")
    if colors.dtype != pixel_format.dtype:
        raise InputError(
            f"{name} is {colors.dtype}; pixel format {pixel_format.label} "
            f"has {pixel_format.dtype} samples"
        )
    if colors.ndim != 2 or colors.shape[1] != pixel_format.channels:
        raise InputError(
            f"{name} has shape {colors.shape}; pixel format {pixel_format.label} "
            f"needs (colours, {pixel_format.channels})"
        )
    if not len(colors):
        raise InputError(f"{name} has 0 colours; it holds at least 1")
    if colors.max() > pixel_format.max_value:
        raise InputError(
            f"{name} has a sample of {colors.max()}; pixel format {pixel_format.label} "
            f"goes up to {pixel_format.max_value}"
        )


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
    return _over_bytes(indices, index_dtype(n_colors))


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


def _over_bytes(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the array C-ordered over bytes, which nobody can make writable again.

    One that lies over bytes already, as those of other images do, is not copied.
    """
    array = np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).view(np.ndarray)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if isinstance(owner.base, bytes):
        return array
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
