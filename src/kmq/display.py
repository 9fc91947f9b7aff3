"""What a screen shows: pictures of any pixel format in 8 bits, made small, and in notebooks."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kmq.model.arrays import Array
from kmq.model.pixel_format import PixelFormat

if TYPE_CHECKING:
    from PIL.Image import Image

    from kmq.model.image import IndexedImage
    from kmq.model.palette import Palette


CHECKERBOARD = "repeating-conic-gradient(#fff 0 25%,#d9dcde 0 50%) 0 0/16px 16px"
"""CSS background that shows through where a picture is transparent."""

LONGEST_SIDE = 8192
"""Pixels a side that browsers show on every machine; smaller than any limit of theirs."""

_BAND_PIXELS = 1 << 20  # converted at a time
_NOTEBOOK_PIXELS = 1 << 19  # in a file that people keep and mail: a quarter of a megabyte is usual
_NOTEBOOK_SWATCHES = 256
_LARGE_ENOUGH = 256  # pixels of the longer side from which a picture needs no magnifying


def to_screen(samples: Array, pixel_format: PixelFormat) -> Image:
    """Return samples (height, width, channels) as a Pillow image of mode L, LA, RGB or RGBA."""
    from PIL import Image

    if pixel_format.depth == 1:
        samples = samples * np.uint8(255)
    elif pixel_format.depth == 16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixel_format is PixelFormat.CMYK32:
        size = samples.shape[1::-1]
        return Image.frombytes("CMYK", size, samples.tobytes()).convert("RGB")
    return Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)


def screen_colors(palette: Array, pixel_format: PixelFormat) -> Array:
    """Return the entries of a palette as (k, 3) uint8 RGB, or (k, 4) RGBA if it has alpha."""
    shown = to_screen(palette[np.newaxis], pixel_format)
    colors: Array = np.asarray(shown.convert("RGBA" if pixel_format.has_alpha else "RGB"))
    return colors.reshape(len(palette), -1)


def css_colors(palette: Array, pixel_format: PixelFormat) -> list[str]:
    """Return the entries of a palette as CSS writes colours: #rrggbb, or #rrggbbaa with alpha."""
    return [f"#{entry.tobytes().hex()}" for entry in screen_colors(palette, pixel_format)]


def divisor(height: int, width: int, most_pixels: int) -> int:
    """Return the whole number by which to shrink a picture so that a page can hold it."""
    by_area = math.ceil(math.sqrt(height * width / most_pixels))
    return max(1, by_area, math.ceil(max(height, width) / LONGEST_SIDE))


def magnification(height: int, width: int) -> int:
    """Return how many screen pixels wide a pixel of a small picture must be to be seen."""
    return max(1, _LARGE_ENOUGH // max(height, width))


def shrunk_samples(samples: Array, pixel_format: PixelFormat, by: int) -> Image:
    """Return samples for the screen, each block of `by` × `by` pixels averaged to one."""
    bands = _bands(samples.shape[0], samples.shape[1], by)
    return _in_bands((to_screen(samples[rows], pixel_format) for rows in bands), by)


def shrunk_image(image: IndexedImage, by: int) -> Image:
    """Return an image for the screen, as `shrunk_samples` does; mode P where nothing is averaged.

    The image is never held in colour as a whole.
    """
    if by == 1 and image.n_colors <= 256:
        return _paletted(image)
    palette, pixel_format = image.palette, image.pixel_format
    bands = _bands(image.height, image.width, by)
    return _in_bands((to_screen(palette[image.indices[rows]], pixel_format) for rows in bands), by)


def png(picture: Image, icc_profile: bytes | None = None) -> bytes:
    """Return a PNG file of a picture for the screen.

    A colour profile is kept if it is for RGB: one for ink or grey does not fit the RGB shown.
    """
    stream = io.BytesIO()
    is_rgb = icc_profile is not None and icc_profile[16:20] == b"RGB " and picture.mode[0] in "RP"
    picture.save(stream, "PNG", icc_profile=icc_profile if is_rgb else None)
    return stream.getvalue()


def data_uri(png_file: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png_file).decode("ascii")


def notebook_png(image: IndexedImage) -> bytes:
    """Return the picture as notebooks show it, as a PNG file."""
    by = divisor(image.height, image.width, _NOTEBOOK_PIXELS)
    return png(shrunk_image(image, by), image.metadata.icc_profile)


def notebook_html(image: IndexedImage) -> str:
    """Return the picture with its palette as notebooks show it.

    Styles are written out at each element, as notebooks drop style sheets.
    """
    by = divisor(image.height, image.width, _NOTEBOOK_PIXELS)
    times = magnification(image.height, image.width)
    caption = repr(image).strip("<>") + (f", shown at 1/{by} of its size" if by > 1 else "")
    smoothing = "image-rendering:pixelated;" if times > 1 else ""
    swatches = "".join(
        f'<span title="{position}: {color}" style="width:14px;height:14px;'
        f'background:linear-gradient({color},{color}),{CHECKERBOARD}"></span>'
        for position, color in enumerate(
            css_colors(image.palette[:_NOTEBOOK_SWATCHES], image.pixel_format)
        )
    )
    left_out = image.n_colors - _NOTEBOOK_SWATCHES
    more = f"<div>and {left_out:,} more colours</div>" if left_out > 0 else ""
    return (
        '<div style="max-width:100%">'
        f'<img alt="{html.escape(caption)}" src="{data_uri(notebook_png(image))}" '
        f'style="width:{-(-image.width // by) * times}px;max-width:100%;height:auto;'
        f'display:block;{smoothing}background:{CHECKERBOARD}">'
        f"<div>{html.escape(caption)}</div>"
        f'<div style="display:flex;flex-wrap:wrap;gap:1px;max-width:480px">{swatches}</div>'
        f"{more}</div>"
    )


def palette_html(palette: Palette) -> str:
    """Return a block of each colour as notebooks show it, with its share if that is known."""
    colors, shares = palette.colors[:_NOTEBOOK_SWATCHES], palette.shares
    cells = []
    for position, color in enumerate(css_colors(colors, palette.pixel_format)):
        share = "" if shares is None else f", {shares[position]:.2%}"
        cells.append(
            f'<span title="{position}: {color}{share}" style="width:20px;height:20px;'
            f'background:linear-gradient({color},{color}),{CHECKERBOARD}"></span>'
        )
    return (
        f"<div><div>{html.escape(repr(palette).strip('<>'))}</div>"
        '<div style="display:flex;flex-wrap:wrap;gap:1px;max-width:680px">'
        f"{''.join(cells)}</div></div>"
    )


def _bands(height: int, width: int, by: int) -> Iterator[slice]:
    rows = by * max(1, _BAND_PIXELS // (by * width))
    return (slice(top, top + rows) for top in range(0, height, rows))


def _in_bands(bands: Iterator[Image], by: int) -> Image:
    from PIL import Image

    shrunk = [band.reduce(by) for band in bands]
    width, height = shrunk[0].width, sum(band.height for band in shrunk)
    sheet = Image.new(shrunk[0].mode, (width, height))
    top = 0
    for band in shrunk:
        sheet.paste(band, (0, top))
        top += band.height
    return sheet


def _paletted(image: IndexedImage) -> Image:
    from PIL import Image

    colors = screen_colors(image.palette, image.pixel_format)
    size = (image.width, image.height)
    picture = Image.frombytes("P", size, image.indices.astype(np.uint8).tobytes())
    picture.putpalette(colors.tobytes(), "RGBA" if colors.shape[1] == 4 else "RGB")
    return picture
