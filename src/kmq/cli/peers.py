"""Sizes of a picture as PNG-8, WebP and JPEG, as Pillow writes them, to compare with .kmq."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kmq.model.pixel_format import PixelFormat

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from kmq.model.image import IndexedImage

_LOSSY_MODES = {
    PixelFormat.BILEVEL: "L",
    PixelFormat.GREY8: "L",
    PixelFormat.GREY8_ALPHA: "RGBA",
    PixelFormat.RGB24: "RGB",
    PixelFormat.RGBA32: "RGBA",
}

_JPEG_BYTES_PER_PIXEL = 8  # twice what noise takes at quality 100, without subsampling
_JPEG_PADDING = 15  # pixels by which a side may grow to whole blocks


@dataclass(frozen=True)
class File:
    """A picture in some format.

    Attributes:
        name: the format.
        made: how.
        size: bytes, or None if the format cannot hold the picture or reach the quality.
        psnr: in decibels, infinite if it is exact.
        ssimulacra2: how it looks, 100 if it is exact.
        remark: why there is no size.
    """

    name: str
    made: str
    size: int | None = None
    psnr: float = math.nan
    ssimulacra2: float = math.nan
    remark: str = ""


def similarity(
    samples: np.ndarray[Any, Any], other: np.ndarray[Any, Any], pixel_format: PixelFormat
) -> tuple[float, float]:
    """Return PSNR and SSIMULACRA2 of two pictures, (height, width, channels) each."""
    from kmq.stages.mapping.ssimulacra2 import ssimulacra2
    from kmq.threads import resolve_threads

    looks = ssimulacra2(samples, other, pixel_format, resolve_threads(None))
    return psnr_of(samples, other, pixel_format), looks


def psnr_of(
    samples: np.ndarray[Any, Any], other: np.ndarray[Any, Any], pixel_format: PixelFormat
) -> float:
    """Return the PSNR of two such pictures alone, which is ten times as fast."""
    from kmq.stages.mapping import metrics

    squared_error = metrics.mse(samples, other, has_alpha=pixel_format.has_alpha)
    return metrics.psnr(squared_error, pixel_format)


def lossless(image: IndexedImage, psnr: float, looks: float) -> Iterator[File]:
    """Yield PNG-8 and WebP files of an image, which hold it as it is and so are as good."""
    for name, made, write in (
        ("PNG-8", "lossless, Pillow with optimize", _png_8),
        ("WebP", "lossless, method 6, quality 100", _lossless_webp),
    ):
        try:
            size = len(write(image))
        except Exception as error:  # an encoder at fault costs its row, not the page
            yield File(name, made, remark=_remark(error))
        else:
            yield File(name, made, size, psnr, looks)


def lossy(
    samples: np.ndarray[Any, Any], pixel_format: PixelFormat, wanted: float
) -> Iterator[File]:
    """Yield the smallest JPEG and WebP files of a picture whose PSNR is at least `wanted`."""
    for name, made, ways in (
        (
            "JPEG",
            "progressive, optimize, the better subsampling",
            [partial(_jpeg, subsampling=way) for way in (0, 2)],
        ),
        ("WebP", "lossy, method 6", [partial(_webp, method=6)]),
    ):
        try:
            yield _best_lossy(name, made, ways, samples, pixel_format, wanted)
        except Exception as error:
            yield File(name, made, remark=_remark(error))


class _UnableError(Exception):
    """A format cannot hold the picture; the message says why."""


def _remark(error: Exception) -> str:
    """Say why there is no file."""
    if isinstance(error, _UnableError):
        return str(error)
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return f"Pillow could not write it: {str(error) or type(error).__name__}"


def _check_room(name: str, size: tuple[int, int]) -> None:
    """Raise _UnableError if a format has no room for a picture, or Pillow none for the format."""
    from PIL import features

    codec, most = {"JPEG": ("jpg", 65_500), "WebP": ("webp", 16_383)}[name]
    if max(size) > most:
        raise _UnableError(f"holds up to {most:,} pixels a side")
    if not features.check(codec):
        raise _UnableError("this Pillow is built without it")


def _png_8(image: IndexedImage) -> bytes:
    if image.n_colors > 256:
        raise _UnableError("holds 256 colours")
    return _saved(_shown(image), format="PNG", optimize=True)


def _lossless_webp(image: IndexedImage) -> bytes:
    picture = _shown(image).convert("RGBA" if image.pixel_format.has_alpha else "RGB")
    return _webp(picture, lossless=True, quality=100, method=6, exact=True)


def _shown(image: IndexedImage) -> Image:
    from kmq.display import shrunk_image

    if image.pixel_format.depth > 8:
        raise _UnableError("has 8 bits per channel")
    if image.pixel_format is PixelFormat.CMYK32:
        raise _UnableError("has no CMYK")
    return shrunk_image(image, 1)


def _best_lossy(
    name: str,
    made: str,
    ways: Sequence[Callable[..., bytes]],
    samples: np.ndarray[Any, Any],
    pixel_format: PixelFormat,
    wanted: float,
) -> File:
    """Return the smallest file of some ways to write it that reaches a PSNR."""
    _check_lossy(name, pixel_format, wanted)
    attempts = [_least(way, samples, pixel_format, wanted) for way in ways]
    files = [file for file in attempts if file is not None]
    if not files:
        raise _UnableError("does not get as close at its best quality")
    quality, content = min(files, key=lambda file: len(file[1]))
    psnr, looks = similarity(samples, _opened(content, samples, pixel_format), pixel_format)
    return File(name, f"{made}, quality {quality}", len(content), psnr, looks)


def _check_lossy(name: str, pixel_format: PixelFormat, wanted: float) -> None:
    if math.isinf(wanted):
        raise _UnableError("is never exact")
    if pixel_format.depth > 8:
        raise _UnableError("has 8 bits per channel")
    if pixel_format.has_alpha and name == "JPEG":
        raise _UnableError("has no alpha")
    if pixel_format not in _LOSSY_MODES:
        raise _UnableError(f"not compared in {pixel_format.label}")


def _least(
    write: Callable[..., bytes],
    samples: np.ndarray[Any, Any],
    pixel_format: PixelFormat,
    wanted: float,
) -> tuple[int, bytes] | None:
    """Return the lowest quality that reaches a PSNR, with its file; None if 100 does not."""
    from kmq.display import to_screen

    picture = to_screen(samples, pixel_format).convert(_LOSSY_MODES[pixel_format])
    best, quality = None, 100
    too_low, reached = 0, 101
    while reached - too_low > 1:
        content = write(picture, quality=quality)
        decoded = _opened(content, samples, pixel_format)
        if psnr_of(samples, decoded, pixel_format) >= wanted:
            best, reached = (quality, content), quality
        else:
            too_low = quality
        quality = (too_low + reached) // 2
    return best


def _opened(
    content: bytes, samples: np.ndarray[Any, Any], pixel_format: PixelFormat
) -> np.ndarray[Any, Any]:
    """Decode a file to samples like those of the picture it was made of."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
        decoded = np.asarray(picture.convert(modes[pixel_format.channels]))
    if pixel_format.depth == 1:
        decoded = (decoded > 127).astype(np.uint8)
    return decoded.reshape(samples.shape)


def _jpeg(picture: Image, **options: Any) -> bytes:
    """Write a progressive JPEG file.

    libjpeg wants a buffer for the whole of one; Pillow's guess is too short for noise.
    """
    from PIL import ImageFile

    _check_room("JPEG", picture.size)
    n_coded = (picture.width + _JPEG_PADDING) * (picture.height + _JPEG_PADDING)
    usual = ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = max(usual, _JPEG_BYTES_PER_PIXEL * n_coded)
    try:
        return _saved(picture, format="JPEG", optimize=True, progressive=True, **options)
    finally:
        ImageFile.MAXBLOCK = usual


def _webp(picture: Image, **options: Any) -> bytes:
    _check_room("WebP", picture.size)
    return _saved(picture, format="WEBP", **options)


def _saved(picture: Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()
