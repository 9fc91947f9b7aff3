"""From pictures (arrays, Pillow images, files) to the samples or palettes kmq works on.

Reading ends in `Pixels`: C order, native bytes, upright, with nothing hidden under alpha 0.

Pillow decodes all but plain PNG files; where it would cut samples to 8 bits or take them for
others, `deep` and `tiff` take over, with imagecodecs and tifffile of the extra ``deep``.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from kmq import checks, color_tags
from kmq.errors import ColorWarning, InputError, KmqError
from kmq.model import alpha
from kmq.model.arrays import Array
from kmq.model.file_info import Limits, check_pixels
from kmq.model.image import MAX_COLORS, MAX_PAGES, IndexedImage, Pixels
from kmq.model.pixel_format import PixelFormat, as_pixel_format, of_samples
from kmq.stages.pictures import deep, plain_png, tiff
from kmq.stages.pictures.arrays import distinct_colors, from_array, pixels_of
from kmq.stages.pictures.metadata import (
    orientation_of,
    pillow_metadata,
    tagged_orientation,
    tiff_metadata,
    upright_metadata,
)
from kmq.stages.pictures.pillow import (
    FRAMES_ARE_PARTS,
    from_frame,
    from_pillow,
    indexed_from_pillow,
    is_pillow,
    load_pixels,
    page_index,
    palette_entries,
    refuse_frames,
    with_transparency,
)

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_PLUGINS = {
    b"\x89PNG": "Png",
    b"\xff\xd8\xff": "Jpeg",
    b"GIF8": "Gif",
    b"BM": "Bmp",
    b"RIFF": "WebP",
    b"II*\0": "Tiff",
    b"MM\0*": "Tiff",
}
"""Plugins of Pillow for files that begin so."""


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
        checks.refuse_mask(picture, "picture")
        pixels = from_array(np.asarray(picture), wanted)
    elif isinstance(picture, (str, os.PathLike, io.BytesIO)):
        pixels = _from_file(picture, page, limits or Limits())
    elif is_pillow(picture):
        pixels = from_frame(picture, page)
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
    return None if pixel_format is None else as_pixel_format(pixel_format)


def checked_page(page: Any) -> int | None:
    """Return the number of a page, or None for None; raise TypeError or InputError."""
    return None if page is None else checks.whole_number(page, "page", 1, MAX_PAGES)


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
        return palette, of_samples(palette.dtype, palette.shape[1])
    pixels = _from_stream(file, name, None, Limits())
    colors = distinct_colors(pixels.samples.reshape(-1, pixels.pixel_format.channels))
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
        picture = opened_picture(file)
    except Exception:  # reading its pixels says what is wrong
        return None
    with picture, telling(name):
        if picture.mode != "P":
            return None
        refuse_frames(picture)
        check_pixels(Limits(), *picture.size)
        tiff.make_room(picture)
        load_pixels(picture)
        largest = picture.getextrema()[1]
        palette = with_transparency(palette_entries(picture, cast(int, largest)), picture)
    return alpha.cleared(palette, of_samples(palette.dtype, palette.shape[1]))


def indexed_picture(file: IO[bytes], name: str) -> IndexedImage:
    """Return palette and indices of a picture file of that name, as they are.

    Raises:
        InputError: it cannot be read as one picture, or has no palette.
    """
    with telling(name), opened_picture(file) as picture:
        check_pixels(Limits(), *picture.size)
        return indexed_from_pillow(picture)


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
    with telling(name):
        return _decoded(file, page, limits)


@contextlib.contextmanager
def telling(name: str) -> Iterator[None]:
    """Turn what is raised while the picture file of that name is read into InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except (KmqError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise InputError(_fault(name, error)) from error


def _fault(name: str, error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"{name}: {error} Pillow sets this limit, in MAX_IMAGE_PIXELS"
    if isinstance(error, UnidentifiedImageError):
        return f"{name} is not a picture in a format that Pillow knows"
    return f"{name} cannot be read as a picture: {str(error) or type(error).__name__}"


def _decoded(file: IO[bytes], page: int | None, limits: Limits) -> Pixels:
    if page in (None, 1) and (pixels := plain_png.read(file, limits)) is not None:
        return pixels
    if tiff.is_beyond_pillow(file, page or 1):
        return _from_tiff(file, page, limits)
    from PIL import UnidentifiedImageError

    try:
        picture = opened_picture(file)
    except UnidentifiedImageError:
        if not tiff.is_tiff(file):
            raise
        tiff.check_page(file, page or 1)
        return _from_tiff(file, page, limits)
    with picture:
        n_pages = getattr(picture, "n_frames", 1)
        parts = picture.format in FRAMES_ARE_PARTS
        number = page_index(page, n_pages if page or not parts else 1)
        if n_pages > 1:
            picture.seek(number)
        check_pixels(limits, *picture.size)
        picture.info["cicp"] = deep.code_points(file, picture)
        samples = deep.samples(file, picture)
        if samples is not None:
            return _from_samples(samples, picture)
        tiff.make_room(picture)
        return from_pillow(picture, are_products=tiff.keep_products(picture))


def opened_picture(file: IO[bytes]) -> ImageFile:
    """Do what `PIL.Image.open` does, but for its limit of pixels, which all of a process share."""
    from PIL import Image, UnidentifiedImageError

    file.seek(0)
    prefix = file.read(16)
    tried: set[str] = set()
    # The likely plugin, the usual ones, and all.
    for find_plugins in (partial(_import_plugin_of, prefix), Image.preinit, Image.init):
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


def _import_plugin_of(prefix: bytes) -> None:
    """Import the plugin for files that begin so: others would take time."""
    for beginning, plugin in _PLUGINS.items():
        if prefix.startswith(beginning):
            with contextlib.suppress(ImportError):
                import_module(f"PIL.{plugin}ImagePlugin")


def _from_samples(samples: Array, picture: ImageFile) -> Pixels:
    """Metadata and orientation of a picture whose samples were read otherwise."""
    if picture.format == "PNG":
        picture.load()  # text may follow the pixels
    orientation = orientation_of(picture)
    pixel_format = of_samples(samples.dtype, samples.shape[2])
    metadata = upright_metadata(pillow_metadata(picture), orientation)
    return pixels_of(samples, pixel_format, metadata, orientation)


def _from_tiff(file: IO[bytes], number: int | None, limits: Limits) -> Pixels:
    """Read a page with tifffile."""
    tifffile = deep.library("tifffile", "TIFF files of this kind")
    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page = opened.pages[page_index(number, len(opened.pages))]
        check_pixels(limits, page.imagewidth, page.imagelength)
        tags = {tag.code: tag.value for tag in page.tags}
        tiff.check(tags)
        samples = tiff.samples(page)
    orientation = tagged_orientation(tags)
    pixel_format = of_samples(samples.dtype, samples.shape[2])
    metadata = upright_metadata(tiff_metadata(tags), orientation)
    return pixels_of(samples, pixel_format, metadata, orientation)
