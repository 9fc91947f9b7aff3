"""What a ``.kmq`` file says of itself, and how much kmq reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kmq import checks
from kmq.errors import InputError, KmqError
from kmq.model.arrays import EqualByFields, set_default
from kmq.model.image import Metadata
from kmq.model.labels import Labels
from kmq.model.pixel_format import PixelFormat

MAX_STRIPS = 65_536
"""Most strips of a file: bounds the strip table before it is read."""

MAX_FRAMES = 65_536
"""Most frames of a sequence: bounds their table before it is read."""

MAX_PLAYS = 65_535
"""Most plays of a sequence: what a GIF file counts."""

MAX_GIF_DELAY = 655_350
"""Most milliseconds that a GIF file shows a frame: two bytes of hundredths of a second."""

_MAX_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What kmq reads before it asks for memory or works for long, and writes.

    Attributes:
        pixels: most pixels of a picture file that is read, and of a .kmq file that is read or
            written; of a sequence, those of all frames together. The default is where Pillow, too,
            refuses to go on (twice its `MAX_IMAGE_PIXELS`, which does not count here).
        metadata_bytes: most bytes of all metadata of a .kmq file together, inflated.
        decisions: most binary decisions of method "mix" in all that is decoded, beyond the 64 that
            each coded byte pays for: photographs take 16 to 90 a byte. A million take about a tenth
            of a second, so that a file of a few bytes costs two seconds at most, and not minutes.

    >>> image = kmq.quantize("photo.png", 16, limits=kmq.Limits(pixels=10_000))
    """

    pixels: int = 178_956_970
    metadata_bytes: int = 64 * 2**20
    decisions: int = 2**24

    def __post_init__(self) -> None:
        """Raise TypeError or InputError unless all are whole numbers, at least 0."""
        set_default(self, **{limit.name: limit.default for limit in fields(self)})
        for limit in fields(self):
            most = getattr(self, limit.name)
            number = checks.whole_number(most, limit.name, 0, _MAX_LIMIT)
            object.__setattr__(self, limit.name, number)


_USUAL_LIMITS = Limits()


def checked_limits(limits: Any) -> Limits:
    """Return limits, the usual ones for None; raise TypeError for anything else."""
    if limits is None:
        return _USUAL_LIMITS
    if not isinstance(limits, Limits):
        raise TypeError(f"limits is {type(limits).__name__}; it must be a kmq.Limits")
    return limits


def check_pixels(
    limits: Limits,
    width: int,
    height: int,
    error: type[KmqError] = InputError,
    n_frames: int = 1,
) -> None:
    """Raise an error of that type if a picture, or all of so many frames, has more pixels."""
    if width * height * n_frames > limits.pixels:
        size = f"the picture is {width} x {height}, {width * height} pixels"
        if n_frames > 1:
            size = (
                f"there are {n_frames} frames of {width} x {height}, {width * height * n_frames} "
                "pixels in all"
            )
        raise error(
            f"{size}; the limit is {limits.pixels}, for reading and writing: "
            "kmq.Limits(pixels=…) or --max-pixels sets it"
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
        row: first row of the picture it covers; 0 in a sequence, whose frames change any rows.
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


@dataclass(frozen=True)
class FrameInfo:
    """One frame of a sequence.

    Attributes:
        delay: how long it is shown, in milliseconds.
        is_key: whether it is a key frame, from which decoding can begin.
    """

    delay: float
    is_key: bool


@dataclass(frozen=True, eq=False)
class FileInfo(EqualByFields):
    """What a ``.kmq`` file says about itself without decoding its pixels.

    Attributes:
        version: version of the format: 1, or 2 of a sequence.
        pixel_format: what the picture is.
        height: rows.
        width: columns.
        palette: (k, channels) uint8 or uint16.
        metadata: colour profile, EXIF and the like.
        strip_height: rows of each strip but perhaps the last.
        strips: the strips, top to bottom.
        chunks: all chunks in file order.
        file_size: bytes of the whole file.
        labels: of a label map the label of each index, and its shape; None of a picture. The
            palette of a label map is greys, one for each label, and the rows are those of all
            slices, one below the other.
        frames: of a sequence its frames; empty of a picture. The palette is that of the first
            frame, and each strip holds what some frames show anew, one below the other.
        plays: how often a sequence is played; 0 is without end, and what a picture has.

    >>> kmq.write("photo.kmq", "photo.png", 16)
    >>> info = kmq.info("photo.kmq")
    >>> info.width, info.height, info.n_colors, info.memory
    (96, 64, 16, 18432.0)
    >>> sum(info.parts.values()) == info.file_size
    True
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
    labels: Labels | None = None
    frames: tuple[FrameInfo, ...] = ()
    plays: int = 0

    def __repr__(self) -> str:
        """One line: size, format, colours, strips and bytes."""
        size, noun = f"{self.width}x{self.height} {self.pixel_format.label}", "colour"
        if self.labels is not None:
            size, noun = f"label map {self.labels.shape} {self.labels.values.dtype}", "label"
        if self.frames:
            size = f"{len(self.frames)} frame{'s' * (len(self.frames) > 1)} of {size}"
        return (
            f"<kmq.FileInfo {size}, {self.n_colors} {noun}{'s' * (self.n_colors > 1)}, "
            f"{len(self.strips)} strip{'s' * (len(self.strips) > 1)}, {self.file_size:,} bytes>"
        )

    @property
    def n_colors(self) -> int:
        """Entries of the palette."""
        return len(self.palette)

    @property
    def memory(self) -> float:
        """Bytes of the uncompressed picture: height × width × bytes per pixel, for each frame."""
        if self.labels is not None:
            return self.height * self.width * self.labels.values.itemsize
        return self.n_pixels * self.pixel_format.bytes_per_pixel

    @property
    def n_pixels(self) -> int:
        """Pixels of the picture, or of all frames."""
        return self.height * self.width * max(1, len(self.frames))

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the whole file per pixel."""
        return 8 * self.file_size / self.n_pixels

    @property
    def parts(self) -> dict[str, int]:
        """Where the bytes are: palette, strips, metadata and the rest, which is their frame.

        They add up to the whole file. The frame is signature, header, table of strips or of
        frames, and letters, lengths and checksums of all chunks.
        """
        palette = sum(chunk.length for chunk in self.chunks if chunk.letter in "PL")
        strips = sum(strip.length for strip in self.strips)
        metadata = sum(chunk.length for chunk in self.chunks if chunk.letter.islower())
        frame = self.file_size - palette - strips - metadata
        return {"palette": palette, "strips": strips, "metadata": metadata, "frame": frame}
