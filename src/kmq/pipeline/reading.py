"""Files and pictures of all kinds → pixels; palette files of all kinds → palette."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from kmq.errors import InputError
from kmq.model import formats
from kmq.model.arrays import Array, looked_up
from kmq.model.file_info import Limits
from kmq.model.image import IndexedImage, Pixels
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container.chunks import SUFFIXES, is_kmq
from kmq.stages.pictures.pillow import page_index
from kmq.stages.pictures.reading import picture_palette, read_pixels, seekable
from kmq.streams import Source, downloaded, is_path, is_url, opened, refuse_text

if TYPE_CHECKING:
    from PIL.Image import Image

PlainPicture: TypeAlias = "Array | Image | str | os.PathLike[str] | bytes | BinaryIO"
Picture: TypeAlias = "PlainPicture | IndexedImage"

_MOST_BEGINNING = 16  # bytes

_BEGINNINGS = {b"GIMP Palette": ".gpl", b"JASC-PAL": ".pal", b"{": ".json", b"[": ".json"}
"""What files begin with that have no name, and the suffix that they would have."""


def read_picture(
    picture: Picture | Pixels,
    pixel_format: PixelFormat | None,
    page: int | None,
    limits: Limits,
    n_threads: int,
) -> Pixels:
    """Return the picture's pixels; `.kmq` files are read by kmq, everything else by the stage.

    `Pixels` that were read before are taken as they are.
    """
    if isinstance(picture, Pixels):
        return picture
    picture = reread(picture)
    if isinstance(picture, str | os.PathLike | io.BytesIO) and is_kmq_file(picture):
        from kmq.pipeline.sequences import FrameReader  # pictures in memory do without

        with opened(cast(Source, picture)) as stream:
            reader = FrameReader(stream, limits, n_threads)
            frame = page_index(page, reader.n_frames)
            (picture,) = reader.images(range(frame, frame + 1))
            page = None
    if not isinstance(picture, IndexedImage):
        return read_pixels(picture, pixel_format, page, limits)
    if page not in (None, 1):
        raise InputError(f"page is {page}; there is only one picture")
    if pixel_format is not None:
        raise InputError("pixel_format is given with a picture that states its own")
    return pixels_of_image(picture)


def pixels_of_image(image: IndexedImage) -> Pixels:
    """Return the pixels that an image shows."""
    samples = looked_up(image.palette, image.indices)
    return Pixels(samples, image.pixel_format, image.metadata)


def in_format(pixels: Pixels, pixel_format: PixelFormat) -> Pixels:
    """Return pixels in another pixel format, without a colour profile that was for grey.

    Raises:
        InputError: it has not all of their colours.
    """
    former = pixels.pixel_format
    if pixel_format is former:
        return pixels
    flat = pixels.samples.reshape(-1, former.channels)
    samples = formats.converted(flat, former, pixel_format)
    metadata = pixels.metadata
    if pixel_format.channels - pixel_format.has_alpha != former.channels - former.has_alpha:
        metadata = replace(metadata, icc_profile=None)
    shape = (*pixels.samples.shape[:2], pixel_format.channels)
    return Pixels(samples.reshape(shape), pixel_format, metadata)


def reread(source: Any) -> Any:
    """Return a file that may be read more than once: its path, or its content.

    Other sources are returned as they are.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if hasattr(source, "read"):
        return _content_of(source)
    if is_url(source):
        return downloaded(source)
    return _unpiped(source) if is_path(source) else source


def _content_of(file: BinaryIO) -> io.BytesIO:
    """Return what a file object holds from where it stands; it need not be seekable."""
    refuse_text(file, "picture")
    content = file.read()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise TypeError(
            f"picture is a file object that reads {type(content).__name__}; open it for binary "
            "reading"
        )
    return io.BytesIO(content)


def _unpiped(path: str | os.PathLike[str]) -> str | os.PathLike[str] | io.BytesIO:
    """Return the path, or the content if it is that of a pipe."""
    with open(path, "rb") as file:
        content = seekable(file)
    return content if isinstance(content, io.BytesIO) else path


def is_kmq_file(source: str | os.PathLike[str] | io.BytesIO) -> bool:
    """Whether a file begins as .kmq files do; raise OSError if its path cannot be read."""
    if isinstance(source, io.BytesIO):
        return is_kmq(source)
    with open(source, "rb") as file:
        return is_kmq(file)


def read_palette(source: Source) -> Palette:
    """Return the palette of a file, as `kmq.read_palette` describes."""
    from kmq.pipeline import decoding
    from kmq.stages.palette import files as palette_files

    with opened(source) as stream:
        name = source if is_path(source) else getattr(stream, "name", "")
        name = os.fspath(name) if is_path(name) else ""
        file = seekable(stream)
        start = file.tell()
        head = file.read(_MOST_BEGINNING)
        suffix = os.path.splitext(name)[1].lower()
        if not suffix:
            suffixes = (
                _BEGINNINGS[beginning] for beginning in _BEGINNINGS if head.startswith(beginning)
            )
            suffix = next(suffixes, "")
        file.seek(start)
        if is_kmq(file) or suffix in SUFFIXES:
            facts = decoding.info(file, Limits())
            return Palette(facts.palette, facts.pixel_format)
        kind = palette_files.KINDS.get(suffix)
        name = name or "the file"
        if kind is None:
            picture = io.BytesIO(file.read()) if start else file  # Pillow goes to the beginning
            return Palette(*picture_palette(picture, name))
        content = file.read(palette_files.MAX_BYTES + 1)
    try:
        if len(content) > palette_files.MAX_BYTES:
            raise InputError(f"it is longer than the {palette_files.MAX_BYTES} bytes kmq reads")
        return kind.read(content)
    except InputError as error:
        raise InputError(f"{name} cannot be read as a palette: {error}") from error
