"""Animated pictures: GIF, APNG and WebP files → frames with their times, and back, by Pillow."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from kmq.errors import InputError
from kmq.model import alpha
from kmq.model.file_info import Limits
from kmq.model.image import IndexedImage, Metadata, Pixels, check_sizes
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures import gif, png, writing
from kmq.stages.pictures.pillow import direct_picture, from_frame, to_pillow
from kmq.stages.pictures.reading import opened_picture, telling

if TYPE_CHECKING:
    from PIL.Image import Image

FOREVER = 0
"""Plays of an animation that does not end."""

DEFAULT_DELAY = 100.0
"""Milliseconds that pictures are shown that say nothing of it."""

_MOST_DELAY = {".png": 65_535_000, ".webp": (1 << 24) - 1}
"""Most milliseconds that a frame is shown, of files that count them."""

_Pillow: TypeAlias = "tuple[list[Image], dict[str, Any]]"
"""Pillow images, and options for their `save`."""


class Animation(NamedTuple):
    """Frames, how long each is shown in milliseconds, and how often all are played."""

    frames: list[Pixels]
    durations: list[float]
    plays: int

    @classmethod
    def of_pictures(cls, pictures: list[Pixels]) -> Animation:
        """Return pictures, which say nothing of times, as frames."""
        return cls(pictures, [DEFAULT_DELAY] * len(pictures), FOREVER)


def read_animation(source: str | os.PathLike[str] | io.BytesIO, limits: Limits) -> Animation:
    """Return all frames of a file, each as it is shown.

    Raises:
        InputError: it cannot be read, or has more pixels in all than the limit.
        OSError: the path cannot be read.
    """
    if isinstance(source, io.BytesIO):
        return _read(source, "picture", limits)
    with open(source, "rb") as file:
        return _read(file, os.fspath(source), limits)


def _read(file: IO[bytes], name: str, limits: Limits) -> Animation:
    with telling(name), opened_picture(file) as picture:
        return animation_of(picture, limits)


def animation_of(picture: Image, limits: Limits) -> Animation:
    """Return all frames of a Pillow image, which then stands at the last.

    Raises:
        InputError: they have more pixels in all than the limit.
    """
    n_frames = int(getattr(picture, "n_frames", 1))
    width, height = picture.size
    n_pixels = n_frames * width * height
    if n_pixels > limits.pixels:
        raise InputError(
            f"it has {n_frames} frames of {width} x {height} pixels, {n_pixels} in all; the limit "
            f"is {limits.pixels}: kmq.Limits(pixels=…) or --max-pixels sets it"
        )
    frames, durations = [], []
    for number in range(n_frames):
        picture.seek(number)
        frames.append(from_frame(picture, number + 1))
        durations.append(float(picture.info.get("duration", 0)))
    return Animation(frames, durations, plays_of(picture))


def plays_of(picture: Any) -> int:
    """Return how often a Pillow image is played, 0 for without end."""
    loop = picture.info.get("loop")
    if picture.format == "GIF":  # which says how often it is repeated
        return 1 if loop is None else FOREVER if loop == 0 else int(loop) + 1
    return FOREVER if loop is None else int(loop)


def animation_bytes(
    images: Sequence[IndexedImage],
    durations: Sequence[float],
    plays: int,
    suffix: str,
    loss: gif.Loss | None = None,
) -> bytes:
    """Return the file of an animation, .gif, .png or .webp; of each frame it has what changes.

    GIF files count hundredths of a second. `loss` is what they may lose.

    Raises:
        InputError: that kind of file cannot hold the images.
    """
    check_sizes(image.size for image in images)
    for number, image in enumerate(images, 1):
        if image.pixel_format.depth > 8:
            raise InputError(f"frame {number} has 16 bits per sample; animated files hold 8")
        if image.pixel_format is PixelFormat.CMYK32:
            raise InputError(
                f"frame {number} is CMYK; animated files hold RGB, and .kmq files both"
            )
    if suffix == ".gif":
        return gif.encode(images, durations, plays, loss)
    times, most = [round(each) for each in durations], _MOST_DELAY[suffix]
    for number, time in enumerate(times, 1):
        if time > most:
            raise InputError(
                f"frame {number} is shown for {time:,} ms; a {suffix} file holds up to {most:,}"
            )
    pictures, options = _WRITERS[suffix](images, plays)
    stream = io.BytesIO()
    try:
        pictures[0].save(
            stream, save_all=True, append_images=pictures[1:], duration=times, **options
        )
    except (ValueError, OSError, RuntimeError, SystemError, struct.error) as error:
        # A side longer than the kind allows, or more than its encoder can count.
        raise InputError(f"the frames cannot be written as {suffix}: {error}") from error
    content = stream.getvalue()
    if suffix == ".png":
        return writing.png_with_metadata(content, _metadata(images))
    return content


def _as_png(images: Sequence[IndexedImage], plays: int) -> _Pillow:
    options = {"format": "PNG", "loop": plays, "icc_profile": None}  # that comes with the rest
    palette = images[0].palette
    has_one = all(np.array_equal(image.palette, palette) for image in images)
    if has_one and len(palette) <= png.MOST_COLORS and not _has_alpha(images):
        return [to_pillow(image) for image in images], options
    return _direct(images), options


def _as_webp(images: Sequence[IndexedImage], plays: int) -> _Pillow:
    options = {"format": "WEBP", "lossless": True, "exact": True, "method": 6, "loop": plays}
    return _direct(images), options | writing.webp_metadata(_metadata(images))


_WRITERS = {".png": _as_png, ".webp": _as_webp}


def _metadata(images: Sequence[IndexedImage]) -> Metadata:
    """Return the metadata of the first frame, but for a profile of grey, which may become RGB."""
    metadata = images[0].metadata
    return metadata if images[0].pixel_format.channels >= 3 else replace(metadata, icc_profile=None)


def _direct(images: Sequence[IndexedImage]) -> list[Image]:
    mode = "RGBA" if _has_alpha(images) else "RGB"
    return [direct_picture(image).convert(mode) for image in images]


def _has_alpha(images: Sequence[IndexedImage]) -> bool:
    kinds = (alpha.kinds(image.palette, image.pixel_format) for image in images)
    return any((each != alpha.OPAQUE).any() for each in kinds)
