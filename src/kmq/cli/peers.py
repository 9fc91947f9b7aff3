"""What a picture takes as PNG-8, WebP and JPEG, as Pillow writes them, beside a .kmq file."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kmq.model import PixelFormat

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from kmq.model import IndexedImage

_LOSSY_MODES = {
    PixelFormat.BILEVEL: "L",
    PixelFormat.GREY8: "L",
    PixelFormat.GREY8_ALPHA: "RGBA",
    PixelFormat.RGB24: "RGB",
    PixelFormat.RGBA32: "RGBA",
}


@dataclass(frozen=True)
class File:
    """A picture in some format.

    Attributes:
        name: the format.
        made: how.
        size: bytes, or None if the format cannot hold the picture or reach the quality.
        psnr: in decibels, infinite if it is exact.
        ssim: from -1 to 1; NaN for a side below 11 pixels.
        remark: why there is no size.
    """

    name: str
    made: str
    size: int | None = None
    psnr: float = math.nan
    ssim: float = math.nan
    remark: str = ""


def similarity(
    samples: np.ndarray[Any, Any], other: np.ndarray[Any, Any], pixel_format: PixelFormat
) -> tuple[float, float]:
    """Return PSNR and SSIM of two pictures, (height, width, channels) each."""
    from kmq.stages import metrics

    has_alpha = pixel_format.has_alpha
    ssim = metrics.ssim(samples, other, pixel_format.max_value, has_alpha=has_alpha)
    return psnr_of(samples, other, pixel_format), ssim


def psnr_of(
    samples: np.ndarray[Any, Any], other: np.ndarray[Any, Any], pixel_format: PixelFormat
) -> float:
    """Return the PSNR of two such pictures alone, which is ten times as fast."""
    from kmq.stages import metrics

    squared_error = metrics.mse(samples, other, has_alpha=pixel_format.has_alpha)
    return metrics.psnr(squared_error, pixel_format)


def lossless(image: IndexedImage, psnr: float, ssim: float) -> Iterator[File]:
    """Yield PNG-8 and WebP files of an image, which hold it as it is and so are as good."""
    from kmq.stages.display import shrunk_image

    reason = ""
    if image.pixel_format.depth > 8:
        reason = "has 8 bits a channel"
    elif image.pixel_format is PixelFormat.CMYK32:
        reason = "has no CMYK"
    shown = None if reason else shrunk_image(image, 1)
    for name, made, few_only, options in (
        ("PNG-8", "lossless, Pillow with optimize", True, {"format": "PNG", "optimize": True}),
        ("WebP", "lossless, method 6, quality 100", False,
         {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True}),
    ):  # fmt: skip
        unable = reason or ("holds 256 colours" if few_only and image.n_colors > 256 else "")
        if shown is None or unable:
            yield File(name, made, remark=unable)
            continue
        if not few_only:
            shown = shown.convert("RGBA" if image.pixel_format.has_alpha else "RGB")
        yield File(name, made, len(_saved(shown, **options)), psnr, ssim)


def lossy(
    samples: np.ndarray[Any, Any], pixel_format: PixelFormat, wanted: float
) -> Iterator[File]:
    """Yield the smallest JPEG and WebP files of a picture whose PSNR is at least `wanted`."""
    jpeg = partial(_saved, format="JPEG", optimize=True, progressive=True)
    for name, made, write in (
        ("JPEG", "progressive, optimize, the better subsampling", jpeg),
        ("WebP", "lossy, method 6", partial(_saved, format="WEBP", method=6)),
    ):
        reason = _no_lossy(name, pixel_format, wanted)
        if reason:
            yield File(name, made, remark=reason)
            continue
        ways = [partial(write, subsampling=way) for way in (0, 2)] if name == "JPEG" else [write]
        found = [_least(way, samples, pixel_format, wanted) for way in ways]
        files = [file for file in found if file is not None]
        if not files:
            yield File(name, made, remark="does not get as close at its best quality")
            continue
        quality, content = min(files, key=lambda file: len(file[1]))
        decoded = _opened(content, samples, pixel_format)
        psnr, ssim = similarity(samples, decoded, pixel_format)
        yield File(name, f"{made}, quality {quality}", len(content), psnr, ssim)


def _no_lossy(name: str, pixel_format: PixelFormat, wanted: float) -> str:
    if math.isinf(wanted):
        return "is never exact"
    if pixel_format.depth > 8:
        return "has 8 bits a channel"
    if pixel_format.has_alpha and name == "JPEG":
        return "has no alpha"
    if pixel_format not in _LOSSY_MODES:
        return f"not compared in {pixel_format.label}"
    return ""


def _least(
    write: Callable[..., bytes],
    samples: np.ndarray[Any, Any],
    pixel_format: PixelFormat,
    wanted: float,
) -> tuple[int, bytes] | None:
    """Return the lowest quality that reaches a PSNR, with its file; None if 100 does not."""
    from kmq.stages.display import to_screen

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


def _saved(picture: Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()
