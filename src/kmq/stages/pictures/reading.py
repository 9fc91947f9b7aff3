"""From pictures (arrays, Pillow images, files) to the samples or palettes kmq works on.

Reading ends in `Pixels`: C order, native bytes, upright, with nothing hidden under alpha 0.

Pillow decodes; where it would cut samples to 8 bits or take them for others, `deep` and `tiff` take
over, with imagecodecs and tifffile of the extra ``deep``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from kmq import checks, color_tags
from kmq.errors import ColorWarning, InputError, KmqError
from kmq.model import alpha
from kmq.model.file_info import Limits
from kmq.model.image import MAX_COLORS, MAX_SIDE, IndexedImage, Metadata, Pixels
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures import deep, exif, tiff
from kmq.stages.pictures.tiff import Tag

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Array = np.ndarray[Any, Any]

_ARRAY_FORMATS = {
    (np.dtype(np.bool_), 1): PixelFormat.BILEVEL,
    (np.dtype(np.uint8), 1): PixelFormat.GREY8,
    (np.dtype(np.uint8), 2): PixelFormat.GREY8_ALPHA,
    (np.dtype(np.uint8), 3): PixelFormat.RGB24,
    (np.dtype(np.uint8), 4): PixelFormat.RGBA32,
    (np.dtype(np.uint16), 1): PixelFormat.GREY16,
    (np.dtype(np.uint16), 2): PixelFormat.GREY16_ALPHA,
    (np.dtype(np.uint16), 3): PixelFormat.RGB48,
    (np.dtype(np.uint16), 4): PixelFormat.RGBA64,
}

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
_FRAMES_ARE_PARTS = {"MPO", "PSD"}

_FRAMES_MESSAGE = "it has {0} pages or frames; kmq takes one picture: say which, page 1 to {0}"

_MOST_PAGES = 65_536
"""Largest number of a page: bounds the way through a file to it."""

# What XMP says of columns and of rows, as `exif.SIDES` does.
_XMP_SIDES = (
    (b"tiff:ImageWidth", b"tiff:ImageLength"),
    (b"tiff:XResolution", b"tiff:YResolution"),
    (b"exif:PixelXDimension", b"exif:PixelYDimension"),
    (b"exif:FocalPlaneXResolution", b"exif:FocalPlaneYResolution"),
)

_MOST_DPI = 100_000.0  # a quarter of a micrometre; what claims more is damaged
_STRIP_BYTES = 1 << 20
_BLOCK = 1 << 18  # pixels whose colours are told apart at a time


def read_pixels(
    picture: Any,
    pixel_format: str | PixelFormat | None = None,
    page: int | None = None,
    limits: Limits | None = None,
) -> Pixels:
    """Turn any picture kmq takes into samples.

    Args:
        picture: a NumPy array, (height, width) or (height, width, 1 to 4 channels), bool, uint8
            or uint16, in any byte and memory order; a Pillow image; or the path of a picture file,
            or what it holds.
        pixel_format: what the picture must be. Only (height, width, 4) uint8 arrays need it, to
            say "CMYK"; they are RGBA otherwise.
        page: which of the pages or frames of a file or Pillow image, counted from 1; None where
            there is one.
        limits: how large a file is read; None for `Limits()`.

    Returns:
        Samples of the picture, upright (the EXIF orientation is applied and reset), all zero
        where alpha is 0. They are read-only and may share memory with an array that was passed.

    Raises:
        InputError: the picture cannot be used; the message says what to convert to.
        TypeError: `picture` or `pixel_format` is of another type.
        MissingExtraError: a 16-bit file needs the extra ``deep``.
        OSError: the file cannot be opened.

    Warns:
        ColorWarning: the picture says that its colours are not sRGB.
    """
    wanted = checked_format(pixel_format)
    page = checked_page(page)
    if isinstance(picture, np.ndarray):
        if page not in (None, 1):
            raise InputError(f"page is {page}; an array is one picture")
        pixels = _from_array(np.asarray(picture), wanted)
    elif isinstance(picture, (str, os.PathLike, io.BytesIO)):
        pixels = _from_file(picture, page, limits or Limits())
    elif _is_pillow(picture):
        pixels = _from_frame(picture, page)
    else:
        raise TypeError(
            f"picture is {type(picture).__name__}; kmq takes a NumPy array, a Pillow image or a "
            "path, and the bytes or the file object of a picture file"
        )
    if wanted not in (None, pixels.pixel_format):
        raise InputError(
            f"picture is {pixels.pixel_format.label}, but pixel_format asks for {wanted.label}"
        )
    is_grey = pixels.pixel_format.channels < 3
    if departure := color_tags.departure(pixels.metadata, is_grey=is_grey):
        name = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else "picture"
        warnings.warn(
            f"{name} has {departure}; kmq takes its samples for sRGB, and keeps what it says",
            ColorWarning,
            stacklevel=2,
        )
    return pixels


def checked_format(pixel_format: Any) -> PixelFormat | None:
    """Return the format of a label, or None for None; raise TypeError or InputError."""
    if pixel_format is None or isinstance(pixel_format, PixelFormat):
        return pixel_format
    if isinstance(pixel_format, str):
        return PixelFormat.from_label(pixel_format)
    raise TypeError(
        f"pixel_format is {type(pixel_format).__name__}; it must be a label or a kmq.PixelFormat"
    )


def checked_page(page: Any) -> int | None:
    """Return the number of a page, or None for None; raise TypeError or InputError."""
    return None if page is None else checks.whole_number(page, "page", 1, _MOST_PAGES)


def _is_pillow(picture: Any) -> bool:
    """Whether it is a Pillow image, without importing Pillow: if it is one, Pillow is loaded."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(picture, pillow.Image)


# ---------------------------------------------------------------------------------------------
# Arrays


def _from_array(picture: Array, wanted: PixelFormat | None) -> Pixels:
    _check_shape(picture)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    found = _ARRAY_FORMATS.get((picture.dtype.newbyteorder("="), channels))
    if found is None:
        raise InputError(_dtype_message(picture))
    is_cmyk = found is PixelFormat.RGBA32 and wanted is PixelFormat.CMYK32
    pixel_format = PixelFormat.CMYK32 if is_cmyk else found
    return _finished(picture.reshape(*picture.shape[:2], channels), pixel_format, Metadata())


def _check_shape(picture: Array) -> None:
    if picture.ndim not in (2, 3) or not 1 <= (*picture.shape, 1)[2] <= 4:
        hint = ""
        if picture.ndim == 3 and 1 <= picture.shape[0] <= 4 < picture.shape[2]:
            hint = "; if the channels come first, move them with numpy.moveaxis(picture, 0, -1)"
        raise InputError(
            f"picture has shape {picture.shape}; kmq takes (height, width) or "
            f"(height, width, channels) with 1 to 4 channels{hint}"
        )
    height, width = picture.shape[:2]
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InputError(
            f"picture has {height} rows and {width} columns; kmq takes 1 to {MAX_SIDE} of each"
        )


def _dtype_message(picture: Array) -> str:
    if picture.dtype == np.bool_:
        return (
            f"picture is bool with {picture.shape[2]} channels; 1-bit pictures have one: "
            "convert with (255 * picture).astype(numpy.uint8)"
        )
    if picture.dtype.kind == "f":
        remedy = "multiply by 255 if it goes from 0 to 1, round and convert"
    else:
        remedy = "convert to uint8 if its samples go from 0 to 255, to uint16 up to 65535"
    return f"picture is {picture.dtype}; kmq takes uint8, uint16 or bool: {remedy}"


def _finished(
    samples: Array, pixel_format: PixelFormat, metadata: Metadata, orientation: int = 1
) -> Pixels:
    """Bring samples (height, width, channels) into the one form the pipeline knows."""
    if samples.dtype == np.bool_:
        # The bytes of a bool array may be other than 0 and 1: Pillow's are 0 and 255.
        samples = (samples.view(np.uint8) != 0).view(np.uint8)
    samples = _upright(samples, orientation)
    samples = np.ascontiguousarray(samples, dtype=pixel_format.dtype)
    samples = alpha.cleared(samples, pixel_format).view(np.ndarray)
    samples.flags.writeable = False
    return Pixels(samples, pixel_format, metadata)


def _upright(samples: Array, orientation: int) -> Array:
    """Apply one of the eight EXIF orientations; 1 is upright."""
    if orientation >= 5:  # 5 to 8 are 1, 4, 3 and 2 after the sides have changed places
        samples = _transposed(samples)
        orientation = {5: 1, 6: 2, 7: 3, 8: 4}[orientation]
    if orientation in (2, 3):
        samples = samples[:, ::-1]
    if orientation in (3, 4):
        samples = samples[::-1]
    return samples


def _transposed(samples: Array) -> Array:
    """Swap rows and columns by blocks of rows, twice as fast as one copy of the whole."""
    height, width, channels = samples.shape
    whole = np.ascontiguousarray(samples).view(f"V{channels * samples.itemsize}")[:, :, 0]
    swapped = np.empty((width, height), whole.dtype)
    for row in range(0, width, 64):
        swapped[row : row + 64] = whole[:, row : row + 64].T
    return swapped.view(samples.dtype).reshape(width, height, channels)


# ---------------------------------------------------------------------------------------------
# Pillow images


def _from_frame(picture: Image, page: int | None) -> Pixels:
    """Samples of a Pillow image, or of one of its pages, which is then left where it stood."""
    if page is None:
        _refuse_frames(picture)
        return _from_pillow(picture)
    number, current = _page_index(page, _n_frames(picture)), picture.tell()
    if number == current:
        return _from_pillow(picture)
    try:
        _seek(picture, number)
        return _from_pillow(picture)
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


def _refuse_frames(picture: Image) -> None:
    """Raise InputError for a Pillow image of several pictures, of which the current is just one."""
    n_frames = 1 if picture.format in _FRAMES_ARE_PARTS else _n_frames(picture)
    if n_frames > 1:
        raise InputError(f"{_FRAMES_MESSAGE.format(n_frames)}, or take a copy() of the current one")


def _from_pillow(picture: Image, *, are_products: bool = False) -> Pixels:
    """Samples of a Pillow image; `are_products` says that RGBA is premultiplied."""
    turned = tiff.tags_of(picture).get(Tag.ORIENTATION, 1)  # by Pillow, once it is loaded
    widening = _load(picture)
    samples, pixel_format = _pillow_samples(picture, widening)
    if are_products:
        samples = tiff.unpremultiplied(samples)
    orientation = _orientation(picture)
    metadata = _turned(pillow_metadata(picture), turned if orientation == 1 else orientation)
    return _finished(samples, pixel_format, metadata, orientation)


def _load(picture: Image) -> int | None:
    """Decode a picture that Pillow has opened, and check that it has pixels.

    Returns:
        What Pillow multiplies the file's grey levels by, or None if it had decoded them before.
    """
    tiles = getattr(picture, "tile", None)
    widening = _WIDENINGS.get(tiles[0][3], 1) if tiles and isinstance(tiles[0][3], str) else None
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"picture cannot be decoded: {error}") from error
    if 0 in picture.size:
        raise InputError(f"picture has {picture.width} by {picture.height} pixels; it has none")
    return widening


def _pillow_samples(picture: Image, widening: int | None) -> tuple[Array, PixelFormat]:
    """Samples of a loaded picture, (height, width, channels), and what they are."""
    mode = picture.mode
    if mode in ("P", "PA"):
        palette, indices = _pillow_palette(picture)
        pixel_format = _ARRAY_FORMATS[palette.dtype, palette.shape[1]]
        return np.take(palette, indices, axis=0), pixel_format
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
    levels = [level & with_alpha.max_value for level in key]  # PNG's are 16 bits at any depth
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
    entries = _entries(picture, int(indices.max()))
    if picture.mode == "PA":
        pairs = indices.astype(np.uint16) << 8 | bands[:, :, 1]
        used, indices = _ranked(pairs, 1 << 16)
        alpha = (used & 255).astype(entries.dtype) * (np.iinfo(entries.dtype).max // 255)
        return np.column_stack([entries[used >> 8, :3], alpha]), indices
    return _with_transparency(entries, picture), indices


def _entries(picture: Image, largest: int) -> Array:
    """Opaque entries (k, 4) of the palette of a mode P or PA picture with that largest index."""
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


def _with_transparency(entries: Array, picture: Image) -> Array:
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
    if not _is_pillow(picture):
        raise TypeError(f"picture is {type(picture).__name__}; it must be a Pillow image")
    _refuse_frames(picture)
    if picture.mode not in ("P", "PA", "L", "1"):
        raise InputError(
            f"picture has Pillow mode {picture.mode}; only P, PA, L and 1 have a palette to "
            "keep: kmq.quantize takes the others"
        )
    widening = _load(picture)
    if picture.mode in ("P", "PA"):
        palette, indices = _pillow_palette(picture)
        if palette.dtype == np.uint16:  # of a TIFF, whose map Pillow has cut to 8 bits
            palette = (palette >> 8).astype(np.uint8)
        pixel_format = _ARRAY_FORMATS[palette.dtype, palette.shape[1]]
    else:
        bands = tiff.as_meant(_band_samples(picture)[:, :, 0], picture)
        levels, indices = _ranked(bands.astype(np.uint8), 256)
        samples = levels.astype(bands.dtype).reshape(-1, 1, 1)
        samples, pixel_format = _keyed(samples, _ARRAY_FORMATS[bands.dtype, 1], picture, widening)
        palette = samples[:, 0].astype(pixel_format.dtype)
    return IndexedImage(palette, indices, pixel_format, pillow_metadata(picture))


def picture_palette(file: IO[bytes], name: str) -> tuple[Array, PixelFormat]:
    """Return the palette (n, channels) of a picture file of that name, as it is where it has one.

    Of other pictures it is the distinct colours in the order of rows and columns. Beside reading
    the picture it takes no memory that grows with it.

    Raises:
        InputError: it cannot be read as one picture, or has more than 65,536 colours.
        MissingExtraError, OSError: as for `read_pixels`.
    """
    palette = _stored_palette(file, name)
    if palette is not None:
        return palette, _ARRAY_FORMATS[palette.dtype, palette.shape[1]]
    pixels = _from_stream(file, name, None, Limits())
    colors = _distinct(pixels.samples.reshape(-1, pixels.pixel_format.channels))
    if len(colors) > MAX_COLORS:
        raise InputError(
            f"{name} has more than {MAX_COLORS} distinct colours, and a palette holds "
            "no more: kmq palette finds one for it"
        )
    return colors, pixels.pixel_format


def _stored_palette(file: IO[bytes], name: str) -> Array | None:
    """Return the palette (n, 3 or 4) of a file whose picture has one, or else None."""
    if tiff.is_beyond_pillow(file, 1):
        return None
    try:
        picture = _opened(file)
    except Exception:  # reading its pixels says what is wrong
        return None
    with picture:
        if picture.mode != "P":
            return None
        try:
            _refuse_frames(picture)
            Limits().check_pixels(*picture.size)
            tiff.make_room(picture)
            _load(picture)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        largest = picture.getextrema()[1]
        palette = _with_transparency(_entries(picture, cast(int, largest)), picture)
    if palette.shape[1] == 4:
        palette[palette[:, 3] == 0] = 0
    return palette


def _distinct(rows: Array) -> Array:
    """Return the distinct ones of (n, channels) colours as they come; of too many only some."""
    keys = np.empty(0, np.uint64)
    found = rows[:0]
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        packed = np.zeros((len(block), 8), np.uint8)
        packed[:, : block.shape[1] * block.itemsize] = np.ascontiguousarray(block).view(np.uint8)
        unique, first = np.unique(packed.view(np.uint64)[:, 0], return_index=True)
        new = ~np.isin(unique, keys, assume_unique=True)
        found = np.concatenate([found, block[np.sort(first[new])]])
        if len(found) > MAX_COLORS:
            break
        keys = np.concatenate([keys, unique[new]])
    return found


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


# ---------------------------------------------------------------------------------------------
# Metadata


def pillow_metadata(picture: Image) -> Metadata:
    """Collect what travels with a loaded Pillow image."""
    info = picture.info
    # The text of a PNG may follow its pixels; it is complete once the picture is loaded.
    text = getattr(picture, "text", None) or info.get("text")
    block = _bytes_or_none(info.get("exif")) or _exif_in_text(info)
    xmp = info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode() if _is_unicode(xmp) else None
    return Metadata(
        icc_profile=_bytes_or_none(info.get("icc_profile")),
        exif=block,
        xmp=_bytes_or_none(xmp),
        dpi=_pillow_dpi(picture),
        text=_plain_text(text),
        **color_tags.from_info(info),
    )


def _bytes_or_none(value: Any) -> bytes | None:
    return bytes(value) if isinstance(value, (bytes, bytearray)) and value else None


def _exif_in_text(info: Mapping[Any, Any]) -> bytes | None:
    """EXIF as ImageMagick writes it into a PNG: a name, a length, hexadecimal digits."""
    profile = info.get("Raw profile type exif")
    if not isinstance(profile, str):
        return None
    with contextlib.suppress(ValueError):
        return _bytes_or_none(bytes.fromhex("".join(profile.split("\n")[3:])))
    return None


def _pillow_dpi(picture: Image) -> tuple[float, float] | None:
    dpi = picture.info.get("dpi")
    if dpi == (1, 1):  # Pillow's word for a TIFF without a resolution
        return None
    if picture.format in ("JPEG", "MPO") and picture.info.get("jfif_unit") not in (1, 2):
        # From EXIF Pillow takes that of the columns for both, and 72 if there is none.
        return _tagged_dpi(_exif_tags(picture))
    return _checked_dpi(dpi)


def _tagged_dpi(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """What the tags of a TIFF file or of EXIF say."""
    dpi = _checked_dpi(_ratio(tags.get(tag)) for tag in (Tag.X_RESOLUTION, Tag.Y_RESOLUTION))
    unit = tags.get(Tag.RESOLUTION_UNIT, 2)
    if dpi is None or unit == Tag.NO_UNIT:
        return None
    return (dpi[0] * 2.54, dpi[1] * 2.54) if unit == Tag.PER_CENTIMETRE else dpi


def _ratio(value: Any) -> Any:
    """A rational of tifffile as one number."""
    return value[0] / value[1] if isinstance(value, tuple) else value


def _checked_dpi(dpi: Any) -> tuple[float, float] | None:
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        horizontal, vertical = (float(value) for value in dpi)
        if 0 < horizontal <= _MOST_DPI and 0 < vertical <= _MOST_DPI:
            return horizontal, vertical
    return None


def _plain_text(text: Any) -> dict[str, str]:
    """Only text proper that a file can hold: EXIF and XMP have places of their own."""
    if not isinstance(text, Mapping):
        return {}
    elsewhere = ("Raw profile type exif", "XML:com.adobe.xmp")
    entries = {
        str(keyword): str(value)
        for keyword, value in text.items()
        if isinstance(value, str) and keyword and keyword not in elsewhere
    }
    return {
        keyword: value
        for keyword, value in entries.items()
        if "\0" not in keyword and _is_unicode(keyword + value)
    }


def _is_unicode(text: str) -> bool:
    """Whether a string is text throughout: Python's may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _orientation(picture: Image) -> int:
    """EXIF orientation that is still to be applied, 1 to 8."""
    orientation = _exif_tags(picture).get(Tag.ORIENTATION, 1)
    return orientation if orientation in range(2, 9) else 1


def _exif_tags(picture: Image) -> dict[int, Any]:
    """First directory of the EXIF block; damaged EXIF has none."""
    try:
        return dict(picture.getexif())
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error):
        return {}


def _turned(metadata: Metadata, orientation: int) -> Metadata:
    """Return what is true of a picture once this orientation has been applied to it.

    Where rows become columns, width and height change places, and so do the resolutions.
    """
    if orientation == 1:
        return metadata
    swaps = orientation >= 5
    block, xmp, dpi = metadata.exif, metadata.xmp, metadata.dpi
    if xmp is not None:
        xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
    if xmp is not None and swaps:
        others = dict(_XMP_SIDES) | {down: across for across, down in _XMP_SIDES}
        xmp = re.sub(rb"\b(?:%s)\b" % b"|".join(others), lambda name: others[name[0]], xmp)
    return replace(
        metadata,
        exif=block and exif.turned(block, swaps=swaps),
        xmp=xmp,
        dpi=dpi[::-1] if dpi is not None and swaps else dpi,
    )


def metadata_info(metadata: Metadata) -> dict[str, Any]:
    """Return the metadata there are under the keys of Pillow's `info`."""
    info = {
        "icc_profile": metadata.icc_profile,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
        "text": dict(metadata.text) or None,
        **color_tags.to_info(metadata),
    }
    return {key: value for key, value in info.items() if value is not None}


# ---------------------------------------------------------------------------------------------
# Reading files


def _from_file(
    source: str | os.PathLike[str] | io.BytesIO, page: int | None, limits: Limits
) -> Pixels:
    if isinstance(source, io.BytesIO):
        return _from_stream(source, "picture", page, limits)
    with open(source, "rb") as file:
        return _from_stream(file, os.fspath(source), page, limits)


def seekable(file: BinaryIO) -> BinaryIO:
    """Return the file, or one with the same content if it is a pipe and is read but once."""
    return file if file.seekable() else io.BytesIO(file.read())


def _from_stream(file: IO[bytes], name: str, page: int | None, limits: Limits) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        return _decoded(file, page, limits)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except (KmqError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: {error} Pillow sets this limit, in MAX_IMAGE_PIXELS") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture in a format that Pillow knows") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise InputError(f"{name} cannot be read as a picture: {error}") from error


def _decoded(file: IO[bytes], page: int | None, limits: Limits) -> Pixels:
    from PIL import UnidentifiedImageError

    if tiff.is_beyond_pillow(file, page or 1):
        return _from_tiff(file, page, limits)
    try:
        picture = _opened(file)
    except UnidentifiedImageError:
        if not tiff.is_tiff(file):
            raise
        tiff.check_page(file, page or 1)
        return _from_tiff(file, page, limits)
    with picture:
        n_pages = getattr(picture, "n_frames", 1)
        parts = picture.format in _FRAMES_ARE_PARTS
        number = _page_index(page, n_pages if page or not parts else 1)
        if n_pages > 1:
            picture.seek(number)
        limits.check_pixels(*picture.size)
        picture.info["cicp"] = deep.code_points(file, picture)
        samples = deep.samples(file, picture)
        if samples is not None:
            return _from_samples(samples, picture)
        tiff.make_room(picture)
        return _from_pillow(picture, are_products=tiff.keep_products(picture))


def _opened(file: IO[bytes]) -> ImageFile:
    """Do what `PIL.Image.open` does, but for its limit of pixels, which all of a process share."""
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    prefix = file.read(16)
    tried: set[str] = set()
    for find_plugins in (Image.preinit, Image.init):  # the usual ones, and all
        find_plugins()
        for name in [name for name in Image.ID if name not in tried]:
            tried.add(name)
            factory, accept = Image.OPEN[name]
            with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
                answer = accept is None or accept(prefix)
                if answer and not isinstance(answer, str):  # which says what is missing
                    file.seek(0)
                    return factory(file, "")
    raise UnidentifiedImageError("no plugin of Pillow knows it")


def _from_samples(samples: Array, picture: ImageFile) -> Pixels:
    """Metadata and orientation of a picture whose samples were read otherwise."""
    if picture.format == "PNG":
        picture.load()  # text may follow the pixels
    orientation = _orientation(picture)
    pixel_format = _ARRAY_FORMATS[samples.dtype, samples.shape[2]]
    metadata = _turned(pillow_metadata(picture), orientation)
    return _finished(samples, pixel_format, metadata, orientation)


def _page_index(page: int | None, n_pages: int) -> int:
    """Return which of so many pages is meant, from 0."""
    if page is None and n_pages > 1:
        raise InputError(_FRAMES_MESSAGE.format(n_pages))
    if page is not None and page > n_pages:
        raise InputError(f"page is {page}; the file has {n_pages}, counted from 1")
    return (page or 1) - 1


def _from_tiff(file: IO[bytes], number: int | None, limits: Limits) -> Pixels:
    """Read a page with tifffile."""
    tifffile = deep.library("tifffile", "TIFF files of this kind")
    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page = opened.pages[_page_index(number, len(opened.pages))]
        limits.check_pixels(page.imagewidth, page.imagelength)
        tags = {tag.code: tag.value for tag in page.tags}
        tiff.check(tags)
        samples = tiff.samples(page)
    orientation = tags.get(Tag.ORIENTATION, 1)
    orientation = orientation if orientation in range(2, 9) else 1
    pixel_format = _ARRAY_FORMATS[samples.dtype, samples.shape[2]]
    metadata = _turned(_tiff_metadata(tags), orientation)
    return _finished(samples, pixel_format, metadata, orientation)


def _tiff_metadata(tags: Mapping[int, Any]) -> Metadata:
    return Metadata(
        icc_profile=_bytes_or_none(tags.get(Tag.ICC_PROFILE)),
        xmp=_bytes_or_none(tags.get(Tag.XMP)),
        dpi=_tagged_dpi(tags),
    )
