"""From an `IndexedImage` to picture files that keep every sample, or refuse.

Pillow encodes; where it would cut 16-bit samples to 8 bits, imagecodecs (PNG) and tifffile (TIFF)
of the extra ``deep`` take over.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from kmq.atomic import replacing
from kmq.errors import InputError, MissingExtraError
from kmq.model import IndexedImage, Metadata, PixelFormat
from kmq.stages.pixels import (
    EXTRA_MESSAGE,
    PILLOW_MODES,
    direct_picture,
    metadata_info,
    to_pillow,
)

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

_TIFF_XMP = 700
_PNG_HEAD = 8 + 12 + 13  # signature, and IHDR with its frame


class _FileType(NamedTuple):
    """A kind of file that loses nothing.

    Attributes:
        name: what Pillow calls it.
        holds: pixel formats that come back as they were.
        palettes: those of them that it also holds as palette and indices.
        options: Pillow's save options.
    """

    name: str
    holds: frozenset[PixelFormat]
    palettes: frozenset[PixelFormat] = frozenset()
    options: Mapping[str, Any] = MappingProxyType({})


def _holding(labels: str) -> frozenset[PixelFormat]:
    return frozenset(PixelFormat.from_label(label) for label in labels.split())


_TIFF = _FileType(
    "TIFF",
    frozenset(PixelFormat),
    _holding("RGB"),
    {"compression": "tiff_adobe_deflate"},
)
_FILE_TYPES = {
    ".png": _FileType("PNG", frozenset(PixelFormat) - _holding("CMYK"), _holding("RGB RGBA")),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _FileType("WEBP", _holding("RGB RGBA"), options={"lossless": True, "exact": True}),
    ".bmp": _FileType("BMP", _holding("1 L RGB"), _holding("RGB")),
    ".ppm": _FileType("PPM", _holding("RGB")),
    ".pgm": _FileType("PPM", _holding("L L16")),
    ".pbm": _FileType("PPM", _holding("1")),
    ".pnm": _FileType("PPM", _holding("1 L L16 RGB")),
}


def save_picture(image: IndexedImage, path: str | os.PathLike[str]) -> None:
    """Write the picture to a file whose type is its extension's and which loses no sample.

    The file takes the place of an existing one only once it is complete. Metadata is kept where
    the type can: PNG all, TIFF and WebP all but text, BMP the resolution; a 16-bit TIFF with more
    than one channel has no EXIF.

    Raises:
        InputError: the extension is none of a type that holds this pixel format unchanged; the
            message names those that do.
        MissingExtraError: 16-bit RGB, RGBA or grey-alpha needs the extra ``deep``.
        OSError: the file cannot be written.
    """
    file_type = _fitting_type(image, path)
    with replacing(path) as file:
        if image.pixel_format in PILLOW_MODES:
            _save_shallow(image, file, file_type)
        elif file_type is _TIFF:
            _save_deep_tiff(image, file)
        else:
            _save_deep_png(image, file)


def _fitting_type(image: IndexedImage, path: str | os.PathLike[str]) -> _FileType:
    name = os.fspath(path)
    extension = os.path.splitext(name)[1].lower()
    file_type = _FILE_TYPES.get(extension)
    label = image.pixel_format.label
    fitting = ", ".join(
        key for key, kind in _FILE_TYPES.items() if image.pixel_format in kind.holds
    )
    if file_type is None:
        kind = f'extension "{extension}"' if extension else "no extension"
        raise InputError(
            f"{name} has {kind}; kmq decodes to files that keep every sample: "
            f"pixel format {label} fits in {fitting}"
        )
    if image.pixel_format not in file_type.holds:
        raise InputError(
            f"{name}: {extension} cannot hold pixel format {label} unchanged; {fitting} can"
        )
    return file_type


def _save_shallow(image: IndexedImage, file: BinaryIO, file_type: _FileType) -> None:
    as_palette = image.n_colors <= 256 and image.pixel_format in file_type.palettes
    picture = to_pillow(image) if as_palette else direct_picture(image)
    options = {**file_type.options, **_save_metadata(image.metadata, file_type.name)}
    try:
        picture.save(file, file_type.name, **options)
    except (ValueError, SystemError) as error:  # a side longer than the type allows
        raise InputError(f"the picture cannot be written as {file_type.name}: {error}") from error


def _save_metadata(metadata: Metadata, type_name: str) -> dict[str, Any]:
    """Pillow's save options for metadata; what a type cannot keep, Pillow leaves out."""
    options = metadata_info(metadata)
    text = options.pop("text", {})
    if type_name == "PNG":
        options["pnginfo"] = _png_text(text, options.pop("xmp", None))
    if type_name == "TIFF" and "xmp" in options:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2

        directory = ImageFileDirectory_v2()
        directory[_TIFF_XMP] = options.pop("xmp")
        options["tiffinfo"] = directory
    return options


def _png_text(text: Mapping[str, str], xmp: bytes | None) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, value in text.items():
        chunks.add_text(keyword, value)
    if xmp is not None:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return chunks


def _save_deep_png(image: IndexedImage, file: BinaryIO) -> None:
    """Pixels from imagecodecs; the metadata chunks from a one-pixel PNG that Pillow writes."""
    from PIL import Image

    try:
        import imagecodecs
    except ImportError as error:
        raise MissingExtraError(EXTRA_MESSAGE.format("PNG", "imagecodecs")) from error
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG", **_save_metadata(image.metadata, "PNG"))
    deep = imagecodecs.png_encode(image.to_array())
    file.write(deep[:_PNG_HEAD])
    for name, chunk in _png_chunks(pixel.getvalue()):
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            file.write(chunk)
    file.write(deep[_PNG_HEAD:])


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes, frame included, of each chunk."""
    start = 8
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        yield png[start + 4 : start + 8], png[start:end]
        start = end


def _save_deep_tiff(image: IndexedImage, file: BinaryIO) -> None:
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError(EXTRA_MESSAGE.format("TIFF", "tifffile")) from error
    metadata = image.metadata
    tags = [(_TIFF_XMP, 1, len(metadata.xmp), metadata.xmp, True)] if metadata.xmp else []
    tifffile.imwrite(
        file,
        image.to_array(),
        photometric="rgb" if image.pixel_format.channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if image.pixel_format.has_alpha else None,
        compression="deflate",
        predictor=True,
        metadata=None,
        software=False,
        iccprofile=metadata.icc_profile,
        resolution=metadata.dpi,
        resolutionunit="inch" if metadata.dpi else None,
        extratags=tags,
    )
