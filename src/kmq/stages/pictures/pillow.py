"""Pillow images → samples, or palette and indices; and back."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from kmq.errors import InputError
from kmq.model.arrays import Array, looked_up
from kmq.model.image import IndexedImage, Metadata, Pixels
from kmq.model.pixel_format import PixelFormat, of_samples
from kmq.stages.pictures import deep, tiff
from kmq.stages.pictures.arrays import pixels_of
from kmq.stages.pictures.metadata import (
    metadata_info,
    orientation_of,
    pillow_metadata,
    upright_metadata,
)
from kmq.stages.pictures.tiff import Tag

if TYPE_CHECKING:
    from PIL.Image import Image


_WITH_ALPHA = {
    PixelFormat.BILEVEL: PixelFormat.GREY8_ALPHA,
    PixelFormat.GREY8: PixelFormat.GREY8_ALPHA,
    PixelFormat.GREY16: PixelFormat.GREY16_ALPHA,
    PixelFormat.RGB24: PixelFormat.RGBA32,
}

_DIRECT_MODES = {
    "L": PixelFormat.GREY8,
    "LA": PixelFormat.GREY8_ALPHA,
    "RGB": PixelFormat.RGB24,
    "RGBA": PixelFormat.RGBA32,
    "CMYK": PixelFormat.CMYK32,
}

PILLOW_MODES = {pixel_format: mode for mode, pixel_format in _DIRECT_MODES.items()} | {
    PixelFormat.BILEVEL: "1",
    PixelFormat.GREY16: "I;16",
}

# Grey of 2 and 4 bits, which Pillow multiplies up to 8; its "transparency" stays as in the file.
_WIDENINGS = {"L;2": 85, "L;4": 17}

_CONVERSIONS = {
    "F": 'scale it to 0 to 255 and convert to "L", or pass a uint16 array',
    "HSV": 'convert to "RGB"',
    "LAB": 'convert to "RGB"',
    "YCbCr": 'convert to "RGB"',
}

# Here the frames Pillow counts are parts of one picture: a phone's depth map, an editor's layers.
FRAMES_ARE_PARTS = {"MPO", "PSD"}
_FRAMES_MESSAGE = "it has {0} pages or frames; kmq takes one picture: say which, page 1 to {0}"
_STRIP_BYTES = 1 << 20


def is_pillow(picture: Any) -> bool:
    """Whether it is a Pillow image, without importing Pillow: if it is one, Pillow is loaded."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(picture, pillow.Image)


def from_frame(picture: Image, page: int | None) -> Pixels:
    """Samples of a Pillow image, or of one of its pages, which is then left where it stood."""
    if page is None:
        refuse_frames(picture)
        return from_pillow(picture)
    number, current = page_index(page, _n_frames(picture)), picture.tell()
    if number == current:
        return from_pillow(picture)
    try:
        _seek(picture, number)
        return from_pillow(picture)
    except EOFError as error:
        raise InputError(f"picture cannot be decoded: {error}") from error
    finally:
        _seek(picture, current)


def _seek(picture: Image, number: int) -> None:
    picture.seek(number)
    if picture.mode == "P" and picture.palette is not None:
        picture.palette.dirty = 1  # or a PNG that goes back loses it


def _n_frames(picture: Image) -> int:
    """How many pictures it has; once its file is closed, the one that is loaded."""
    try:
        return int(getattr(picture, "n_frames", 1))
    except (AttributeError, EOFError, OSError, ValueError):
        return 1


def refuse_frames(picture: Image) -> None:
    """Raise InputError for a Pillow image of several pictures: the current one is one of them."""
    n_frames = 1 if picture.format in FRAMES_ARE_PARTS else _n_frames(picture)
    if n_frames > 1:
        raise InputError(f"{_FRAMES_MESSAGE.format(n_frames)}, or take a copy() of the current one")


def from_pillow(picture: Image, *, are_products: bool = False) -> Pixels:
    """Samples of a Pillow image; `are_products` says that RGBA is premultiplied."""
    turned = tiff.tags_of(picture).get(Tag.ORIENTATION, 1)  # by Pillow, once it is loaded
    widening = load_pixels(picture)
    samples, pixel_format = _pillow_samples(picture, widening)
    if are_products:
        samples = tiff.unpremultiplied(samples)
    orientation = orientation_of(picture)
    metadata = upright_metadata(
        pillow_metadata(picture), turned if orientation == 1 else orientation
    )
    return pixels_of(samples, pixel_format, metadata, orientation)


def load_pixels(picture: Image) -> int | None:
    """Decode a picture that Pillow has opened, and check that it has pixels.

    Returns:
        What Pillow multiplies the file's grey levels by, or None if it had decoded them before.
    """
    tiles = getattr(picture, "tile", None)
    rawmode = tiles[0][3] if tiles and isinstance(tiles[0][3], str) else None
    if rawmode == "1" and picture.format == "PNG" and "transparency" in picture.info:
        _reread_bilevel_key(picture)
    _check_key(picture, rawmode)
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"picture cannot be decoded: {error}") from error
    if 0 in picture.size:
        raise InputError(f"picture has {picture.width} by {picture.height} pixels; it has none")
    return None if rawmode is None else _WIDENINGS.get(rawmode, 1)


def _reread_bilevel_key(picture: Any) -> None:
    """Tell the transparent level by its lowest bit. Pillow asks if any of its 16 is set."""
    for key in deep.png_chunks(picture.fp, b"tRNS", 2) if picture.fp else ():
        picture.info["transparency"] = 255 * (key[1] & 1)


def _check_key(picture: Image, rawmode: str | None) -> None:
    """Refuse a transparent colour that has more bits than the samples that Pillow hands out.

    Of a file of up to 8 bits only the low bits of it count. Once Pillow has decoded a file, it
    no longer tells which it is: then levels up to 255 are taken for the whole colour.
    """
    mode = picture.mode
    key = _transparent_color(picture, len(picture.getbands()))
    if key is None or mode not in ("1", "L", "RGB"):
        return
    is_cut = max(key) > 255 if rawmode is None else rawmode == "RGB;16B"
    if is_cut:
        raise InputError(
            f"picture has a transparent colour of 16 bits, {key}, and samples of 8: pass the "
            'file\'s path, or delete info["transparency"] if it may be opaque'
        )


def _pillow_samples(picture: Image, widening: int | None) -> tuple[Array, PixelFormat]:
    """Samples of a loaded picture, (height, width, channels), and their pixel format."""
    mode = picture.mode
    if mode in ("P", "PA"):
        palette, indices = _pillow_palette(picture)
        pixel_format = of_samples(palette.dtype, palette.shape[1])
        return looked_up(palette, indices), pixel_format
    if mode == "RGBX":
        picture = picture.convert("RGB")
    samples = _band_samples(picture)
    if mode in ("La", "RGBa"):
        return tiff.unpremultiplied(samples), _DIRECT_MODES[mode.upper()]
    if mode == "1":
        return _keyed(samples, PixelFormat.BILEVEL, picture, widening)
    if mode == "I":
        _check_grey(samples)
    if mode == "L" or mode.startswith("I;16"):
        samples = tiff.as_meant(samples, picture)
    if mode.startswith("I"):
        samples = samples.astype(np.uint16, copy=False)
        return _keyed(samples, PixelFormat.GREY16, picture, widening)
    if picture.mode not in _DIRECT_MODES:
        remedy = _CONVERSIONS.get(mode, 'convert to "RGB"')
        raise InputError(f"picture has Pillow mode {mode}, which kmq does not take: {remedy}")
    return _keyed(samples, _DIRECT_MODES[picture.mode], picture, widening)


def _band_samples(picture: Image) -> Array:
    """NumPy's view of a picture, read in strips: four times as fast as in one go."""
    width, height = picture.size
    rows = max(1, _STRIP_BYTES // (4 * width))
    first = np.asarray(picture.crop((0, 0, width, min(rows, height))))
    samples = np.empty((height, *first.shape[1:]), first.dtype)
    samples[:rows] = first
    for top in range(rows, height, rows):
        bottom = min(top + rows, height)
        samples[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return samples.reshape(height, width, -1)


def _check_grey(samples: Array) -> None:
    if not 0 <= samples.min() <= samples.max() <= 65535:
        raise InputError(
            f"picture has Pillow mode I with samples from {samples.min()} to {samples.max()}; kmq "
            "takes 0 to 65535: scale it to that range"
        )


def _keyed(
    samples: Array, pixel_format: PixelFormat, picture: Image, widening: int | None
) -> tuple[Array, PixelFormat]:
    """Add alpha where the file names one colour that is transparent (PNG's tRNS)."""
    key = _transparent_color(picture, pixel_format.channels)
    if pixel_format not in _WITH_ALPHA or key is None:
        return samples, pixel_format
    with_alpha = _WITH_ALPHA[pixel_format]
    if pixel_format is PixelFormat.BILEVEL:
        samples = 255 * samples.astype(np.uint8)
        key = (255 * (key[0] != 0),)
    elif pixel_format is PixelFormat.GREY8:
        widening = widening or _likely_widening(samples, key[0], picture)
        key = (key[0] % (255 // widening + 1) * widening,)
    levels = [level & with_alpha.max_value for level in key]  # the low bits: see _check_key
    opaque = (samples != np.array(levels, samples.dtype)).any(axis=2, keepdims=True)
    alpha = opaque.astype(samples.dtype) * samples.dtype.type(with_alpha.max_value)
    return np.concatenate([samples, alpha], axis=2), with_alpha


def _likely_widening(samples: Array, key: int, picture: Image) -> int:
    """What Pillow has multiplied the grey levels of a PNG by, from the decoded picture alone.

    A transparent level that no pixel has would be idle. So it is one of the file's 2 or 4 bits if
    every pixel is among the levels that those have.
    """
    if picture.format in ("PNG", None) and not np.any(samples == key):
        for bits, widening in ((2, 85), (4, 17)):
            if key < 1 << bits and not np.any(samples % widening):
                return widening
    return 1


def _transparent_color(picture: Image, channels: int) -> tuple[int, ...] | None:
    """What Pillow calls transparency, where it is one level for each channel."""
    key = picture.info.get("transparency")
    levels = key if isinstance(key, tuple) else (key,)
    is_color = len(levels) == channels and all(isinstance(level, int) for level in levels)
    return levels if is_color else None


def _pillow_palette(picture: Image) -> tuple[Array, Array]:
    """Palette (k, 3 or 4) and indices (height, width) of a loaded mode P or PA picture.

    A palette that ends before the largest index goes on in black. In mode PA each pair of index
    and alpha that occurs becomes an entry, in that order.
    """
    bands = _band_samples(picture)
    indices = bands[:, :, 0]
    entries = palette_entries(picture, int(indices.max()))
    if picture.mode == "PA":
        pairs = indices.astype(np.uint16) << 8 | bands[:, :, 1]
        used, indices = _ranked(pairs, 1 << 16)
        alpha = (used & 255).astype(entries.dtype) * (np.iinfo(entries.dtype).max // 255)
        return np.column_stack([entries[used >> 8, :3], alpha]), indices
    return with_transparency(entries, picture), indices


def palette_entries(picture: Image, largest: int) -> Array:
    """Opaque entries (k, 4) of the palette of a mode P or PA picture with that largest index."""
    if picture.palette is None:
        raise InputError("picture has indices, but no palette to look them up in")
    entries = np.array(picture.getpalette("RGBA") or [], np.uint8).reshape(-1, 4)
    colors = tiff.color_map(tiff.tags_of(picture), entries[:, :3])
    if colors is not None:
        entries = entries.astype(colors.dtype) * (np.iinfo(colors.dtype).max // 255)
        entries[: len(colors), :3] = colors
    missing = largest + 1 - len(entries)
    if missing > 0:
        black = np.array([(0, 0, 0, np.iinfo(entries.dtype).max)], entries.dtype)
        entries = np.concatenate([entries, np.repeat(black, missing, axis=0)])
    return entries


def with_transparency(entries: Array, picture: Image) -> Array:
    """Palette (k, 3 or 4) of a mode P picture, with alpha where it has transparency."""
    transparency = picture.info.get("transparency")
    if isinstance(transparency, bytes):
        alpha = np.frombuffer(transparency, np.uint8)[: len(entries)]
        entries[: len(alpha), 3] = alpha
    elif isinstance(transparency, int) and 0 <= transparency < len(entries):
        entries[transparency, 3] = 0
    return entries if picture.has_transparency_data else entries[:, :3].copy()


def _ranked(values: Array, n_values: int) -> tuple[Array, Array]:
    """Values that occur, ascending, and for each pixel the position of its value in them."""
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=n_values))
    ranks = np.zeros(n_values, np.uint16)
    ranks[used] = np.arange(len(used), dtype=np.uint16)
    return used, ranks[values]


def indexed_from_pillow(picture: Any) -> IndexedImage:
    """Take palette and indices of a Pillow image as they are.

    P keeps its palette, order and unused entries included, with alpha where it has transparency.
    PA: each pair of index and alpha that occurs becomes an entry, in that order. L and 1 have no
    palette in Pillow: theirs are the levels that occur, ascending. Pixels and EXIF are kept as
    they are: an orientation stays in the EXIF and is not applied.

    Raises:
        InputError: any other mode, an image of several frames, or one that cannot be decoded.
        TypeError: not a Pillow image.
    """
    if not is_pillow(picture):
        raise TypeError(f"picture is {type(picture).__name__}; it must be a Pillow image")
    refuse_frames(picture)
    if picture.mode not in ("P", "PA", "L", "1"):
        raise InputError(
            f"picture has Pillow mode {picture.mode}; only P, PA, L and 1 have a palette to "
            "keep: kmq.quantize takes the others"
        )
    widening = load_pixels(picture)
    if picture.mode in ("P", "PA"):
        palette, indices = _pillow_palette(picture)
        if palette.dtype == np.uint16:  # of a TIFF, whose map Pillow has cut to 8 bits
            palette = (palette >> 8).astype(np.uint8)
        pixel_format = of_samples(palette.dtype, palette.shape[1])
    else:
        bands = tiff.as_meant(_band_samples(picture)[:, :, 0], picture)
        levels, indices = _ranked(bands.astype(np.uint8), 256)
        samples = levels.astype(bands.dtype).reshape(-1, 1, 1)
        samples, pixel_format = _keyed(samples, of_samples(bands.dtype, 1), picture, widening)
        palette = samples[:, 0].astype(pixel_format.dtype)
    return IndexedImage(palette, indices, pixel_format, pillow_metadata(picture))


def to_pillow(image: IndexedImage) -> Image:
    """Return a Pillow image with the same pixels.

    RGB and RGBA up to 256 colours become mode P with the same palette and indices (alpha in
    ``info["transparency"]``); other pictures take the mode of their pixel format. `info` carries
    icc_profile, exif, xmp, dpi, gamma, chromaticity, srgb, cicp, and the text as a dict under
    ``"text"``.

    Raises:
        InputError: Pillow has no mode for the pixel format (16-bit RGB, RGBA and grey-alpha).
    """
    mode = pillow_mode(image.pixel_format, image.n_colors)
    picture = _palette_picture(image) if mode == "P" else direct_picture(image)
    picture.info.update(pillow_info(image.metadata, image.palette, mode))
    return picture


def pillow_mode(pixel_format: PixelFormat, n_colors: int) -> str:
    """Mode of the Pillow image that an image with so many colours becomes.

    Raises:
        InputError: as for `to_pillow`.
    """
    if pixel_format in (PixelFormat.RGB24, PixelFormat.RGBA32) and n_colors <= 256:
        return "P"
    if pixel_format not in PILLOW_MODES:
        raise InputError(
            f"Pillow has no mode for pixel format {pixel_format.label}; "
            "kmq.read(…).to_array() has all its bits"
        )
    return PILLOW_MODES[pixel_format]


def pillow_info(metadata: Metadata, palette: Array, mode: str) -> dict[str, Any]:
    """What `info` of the Pillow image of that mode carries."""
    info = metadata_info(metadata)
    if mode == "P" and palette.shape[1] == 4:
        info["transparency"] = palette[:, 3].tobytes()
    return info


def pillow_bytes(image: IndexedImage, mode: str) -> tuple[bytes, str]:
    """Pixels as Pillow's raw decoder takes them, and the raw mode to tell it."""
    if mode == "P":
        return image.indices.tobytes(), "P"
    samples = image.to_array()
    if mode == "I;16":
        samples = samples.astype("<u2", copy=False)
    return samples.tobytes(), "1;8" if mode == "1" else mode


def _palette_picture(image: IndexedImage) -> Image:
    from PIL import Image

    picture = Image.frombytes("P", (image.width, image.height), image.indices.tobytes())
    picture.putpalette(image.palette[:, :3].tobytes(), "RGB")
    return picture


def direct_picture(image: IndexedImage) -> Image:
    """Return a Pillow image of the mode of the pixel format, without metadata."""
    from PIL import Image

    mode = PILLOW_MODES[image.pixel_format]
    content, rawmode = pillow_bytes(image, mode)
    return Image.frombytes(mode, (image.width, image.height), content, "raw", rawmode)


def page_index(page: int | None, n_pages: int) -> int:
    """Return which of so many pages is meant, from 0."""
    if page is None and n_pages > 1:
        raise InputError(_FRAMES_MESSAGE.format(n_pages))
    if page is not None and page > n_pages:
        raise InputError(f"page is {page}; the file has {n_pages}, counted from 1")
    return (page or 1) - 1
