"""The distinct colours of pictures and how often each occurs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kmq.errors import InputError
from kmq.lazily import computed_once
from kmq.model.arrays import check_colors, over_bytes, unchangeable
from kmq.model.choices import Progress
from kmq.model.file_info import Limits
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel, as_pixel_format
from kmq.streams import Source, Target

MAX_HISTOGRAM_COLORS = 2**26
"""Most colours of a histogram that is kept or added to: 1 GiB at the most bytes a colour takes."""


@unchangeable("colors", "counts")
@dataclass(frozen=True, eq=False)
class ColorHistogram:
    """The distinct colours of one or more pictures and how often each occurs.

    k-means needs nothing else, for any number of pictures. Histograms add up, in any order and
    grouping to the same sum, and `kmq.fit_palette` finds one palette for all of them. A colour
    takes 9 to 16 bytes; pictures of 24-bit RGB have at most 2^24 colours, and a sum holds up to
    2^26. Arrays are copied and read-only, like those of an `IndexedImage`.

    >>> histogram = kmq.ColorHistogram.from_pictures(["a.png", "b.png"])
    >>> palette = kmq.fit_palette(histogram, 64)
    >>> image = kmq.quantize("a.png", palette=palette)

    Attributes:
        colors: (m, channels) uint8 or uint16, distinct, ordered by interleaved bits (Morton order).
        counts: (m,) int64, above 0.
        pixel_format: what one pixel is.
    """

    colors: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    pixel_format: PixelFormat

    if TYPE_CHECKING:  # the arguments; the attributes are made of them

        def __init__(
            self,
            colors: np.ndarray[Any, Any],
            counts: np.ndarray[Any, Any],
            pixel_format: PixelFormat | PixelFormatLabel,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Check types, shapes and ranges, and put the arrays over bytes.

        The order is checked by what relies on it.
        """
        object.__setattr__(self, "pixel_format", as_pixel_format(self.pixel_format))
        check_colors(self.colors, "colors", self.pixel_format)
        counts = self.counts
        if not isinstance(counts, np.ndarray) or counts.dtype != np.int64:
            raise TypeError("counts must be an int64 array")
        if counts.shape != (len(self.colors),) or counts.min() < 1:
            raise InputError(
                f"counts have shape {counts.shape}; there must be one above 0 for each of the "
                f"{len(self.colors)} colours"
            )
        object.__setattr__(self, "colors", over_bytes(self.colors, self.colors.dtype))
        object.__setattr__(self, "counts", over_bytes(counts, counts.dtype))

    @property
    def n_colors(self) -> int:
        """Distinct colours."""
        return len(self.colors)

    @computed_once
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

        >>> kmq.ColorHistogram.from_picture("photo.png")
        <kmq.ColorHistogram RGB, 3735 colours, 6144 pixels>
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
        client: Any = None,
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
            client: a ``distributed.Client``: the pictures are counted on its workers, one thread
                each unless `n_threads` says otherwise, and added up there. Paths must name the
                same files there. A worker that is lost costs a retry; no picture counts twice.

        Raises:
            InputError: there are no pictures, or one cannot be used.
            TypeError: an argument of the wrong type.
            OSError: a path cannot be read.

        Cost: that of reading and of O(pixels) counting; memory of one picture, and of up to twice
        the largest sum.

        >>> kmq.ColorHistogram.from_pictures(["a.png", "b.png"])
        <kmq.ColorHistogram RGB, 3735 colours, 12288 pixels>
        """
        from kmq import histograms

        return histograms.of_pictures(
            pictures, pixel_format, page, n_threads, limits, progress, client
        )

    @classmethod
    def read(cls, source: Source) -> ColorHistogram:
        """Read a histogram that `write` has written.

        Args:
            source: a path, the bytes of the file, or a file object open for binary reading. A file
                object is read from where it stands to its end, and stays open.

        Raises:
            FormatError: the file is damaged, needs a newer kmq (NewerFormatError), or has more
                colours than a histogram holds (LimitError).
            OSError: the file cannot be read.

        >>> kmq.ColorHistogram.from_picture("photo.png").write("photo.kmqhist")
        >>> kmq.ColorHistogram.read("photo.kmqhist")
        <kmq.ColorHistogram RGB, 3735 colours, 6144 pixels>
        """
        from kmq import histograms

        return histograms.read(source)

    def write(self, target: Target) -> None:
        """Write the histogram to a file, which appears whole or not at all under its path.

        It takes 1 to 3 bytes per colour. docs/palettes.md describes the file.

        Args:
            target: a path that ends in ``.kmqhist`` or has no suffix, or a file object open for
                binary writing, which stays open.

        Raises:
            InputError: the path has the suffix of another kind of file.
            OSError: the file cannot be written.

        >>> histogram = kmq.ColorHistogram.from_picture("photo.png")
        >>> histogram.write("photo.kmqhist")
        """
        from kmq import histograms

        histograms.write(self, target)

    def to_format(self, pixel_format: PixelFormatLabel | PixelFormat) -> ColorHistogram:
        """Return the histogram of the same pictures in another pixel format.

        Raises:
            InputError: it cannot hold the colours unchanged: 16 bits do not fit 8, colours no grey.

        >>> kmq.ColorHistogram.from_picture("photo.png").to_format("RGBA")
        <kmq.ColorHistogram RGBA, 3735 colours, 6144 pixels>
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
