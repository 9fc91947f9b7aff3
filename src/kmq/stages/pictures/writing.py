"""From an `IndexedImage` to picture files that keep every sample, or refuse.

Pillow encodes. Palettes in PNG files are left to `png`; where Pillow would cut 16-bit samples to
8 bits, imagecodecs (PNG) and tifffile (TIFF) of the extra ``deep`` take over. Metadata are kept
where the type of file can hold them.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kmq import color_tags
from kmq.atomic import replacing
from kmq.errors import InputError, MetadataWarning
from kmq.model import alpha, formats
from kmq.model.choices import Effort
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures import deep, exif, png
from kmq.stages.pictures.metadata import metadata_info
from kmq.stages.pictures.pillow import PILLOW_MODES, direct_picture, to_pillow
from kmq.stages.pictures.tiff import Tag

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

_PNG_HEAD = 8 + 12 + 13  # signature, and IHDR with its frame
_PNG_KEYWORD = re.compile(r"(?! )(?!.*  )[ -~¡-ÿ]{1,79}(?<! )")  # PNG, 3rd edition, 11.3.3.1

_MOST_NAMED = 10  # pieces of metadata that a warning names
_MOST_SHOWN = 40  # characters of a keyword that it shows


class _FileType(NamedTuple):
    """A kind of file that loses nothing.

    Attributes:
        name: what Pillow calls it.
        holds: pixel formats whose samples it keeps.
        palettes: those of them that it also holds as palette and indices.
        keeps: metadata that it has a place for, by their names in `Metadata`.
        options: Pillow's save options.
    """

    name: str
    holds: frozenset[PixelFormat]
    palettes: frozenset[PixelFormat] = frozenset()
    keeps: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})


def _holding(labels: str) -> frozenset[PixelFormat]:
    return frozenset(PixelFormat.from_label(label) for label in labels.split())


_PNG = _FileType(
    "PNG",
    frozenset(PixelFormat) - _holding("CMYK"),
    _holding("RGB RGBA"),
    ("icc_profile", "exif", "xmp", "dpi", "text", *color_tags.NAMES),
)
_TIFF = _FileType(
    "TIFF",
    frozenset(PixelFormat),
    _holding("RGB"),
    ("icc_profile", "exif", "xmp", "dpi"),
    {"compression": "tiff_adobe_deflate"},
)
_WEBP = _FileType(
    "WEBP",
    _holding("RGB RGBA"),
    keeps=("icc_profile", "exif", "xmp"),
    options={"lossless": True, "exact": True},
)
_GIF = _FileType("GIF", _holding("1 L LA RGB RGBA"), options={"optimize": False, "interlace": 0})
_FILE_TYPES = {
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".gif": _GIF,
    ".bmp": _FileType("BMP", _holding("1 L RGB"), _holding("RGB"), ("dpi",)),
    ".ppm": _FileType("PPM", _holding("RGB")),
    ".pgm": _FileType("PPM", _holding("L L16")),
    ".pbm": _FileType("PPM", _holding("1")),
    ".pnm": _FileType("PPM", _holding("1 L L16 RGB")),
}

_MOST_AS_COLORS = {PixelFormat.GREY8: 16, PixelFormat.GREY8_ALPHA: 256}
"""Colours up to which a palette of colours makes smaller PNG files than grey samples."""

_NAMES = {
    "icc_profile": "colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "dpi": "resolution",
    "text": "text",
    "gamma": "gamma",
    "chromaticities": "chromaticities",
    "srgb": "the declaration of sRGB",
    "cicp": "code points of colour",
    "extra": "chunks that kmq does not know",
}


def save_picture(
    image: IndexedImage, path: str | os.PathLike[str], effort: Effort = "balanced"
) -> None:
    """Write the picture to a file whose type is its extension's and which loses no sample.

    The file takes the place of an existing one only once it is complete. GIF holds up to 256
    colours of 8 bits, each opaque or fully transparent, and turns grey into RGB. Metadata are kept
    where the type can: PNG all, TIFF and WebP all but text (and WebP no resolution), BMP the
    resolution. Of EXIF, TIFF keeps what describes the picture; the thumbnail and the layout of the
    file it came from are gone.

    Raises:
        InputError: the extension is none of a type that holds this picture unchanged; the message
            names those that do.
        MissingExtraError: 16-bit RGB, RGBA or grey-alpha needs the extra ``deep``.
        OSError: the file cannot be written.

    Warns:
        MetadataWarning: metadata that the file cannot hold are left out.
    """
    content = picture_file(image, path, effort)
    with replacing(path) as file:
        file.write(content)
    if left_out := metadata_left_out(image.metadata, path):
        warnings.warn(left_out, MetadataWarning, stacklevel=4)


def picture_file(
    image: IndexedImage,
    path: str | os.PathLike[str],
    effort: Effort = "balanced",
    *,
    keeps_order: bool = True,
) -> bytes:
    """Return what `save_picture` writes; raise what it raises for the image.

    Without `keeps_order` palettes of PNG files are ordered for size, and grey may become one.
    """
    file_type = _fitting_type(image, path)
    metadata, _ = _fitting_metadata(image.metadata, file_type)
    image = replace(image, metadata=metadata)
    try:
        if file_type is _PNG:
            return _png(image, effort, keeps_order=keeps_order)
        return _encoded(image, file_type)
    except (ValueError, OSError, SystemError, struct.error) as error:
        # A side longer than the type allows, or a TIFF of 4 GiB.
        raise InputError(f"the picture cannot be written as {file_type.name}: {error}") from error


def _fitting_type(image: IndexedImage, path: str | os.PathLike[str]) -> _FileType:
    name = os.fspath(path)
    extension = os.path.splitext(name)[1].lower()
    file_type = _FILE_TYPES.get(extension)
    fitting = ", ".join(key for key, kind in _FILE_TYPES.items() if not _obstacle(image, kind))
    if file_type is None:
        kind = f'extension "{extension}"' if extension else "no extension"
        raise InputError(
            f"{name} has {kind}; kmq decodes to files that keep every sample: "
            f"pixel format {image.pixel_format.label} fits in {fitting}"
        )
    if obstacle := _obstacle(image, file_type):
        raise InputError(f"{name}: {extension} cannot hold {obstacle} unchanged; {fitting} can")
    return file_type


def _obstacle(image: IndexedImage, file_type: _FileType) -> str | None:
    """Return what of the picture a type of file cannot hold, or None if it holds all."""
    if image.pixel_format not in file_type.holds:
        return f"pixel format {image.pixel_format.label}"
    if file_type is _GIF and image.n_colors > 256:
        return f"{image.n_colors} colours"
    if file_type is _GIF and (_kinds(image) == alpha.TRANSLUCENT).any():
        return "translucent colours"
    return None


def _kinds(image: IndexedImage) -> np.ndarray[Any, Any]:
    return alpha.kinds(image.palette, image.pixel_format)


def _encoded(image: IndexedImage, file_type: _FileType) -> bytes:
    """Return the file; the metadata of the image fit into it."""
    is_deep = image.pixel_format not in PILLOW_MODES
    if file_type is _TIFF:
        tiff = _deep_tiff(image) if is_deep else _shallow(image, file_type)
        return exif.with_tags(tiff, _tiff_tags(image.metadata))
    return _shallow(image, file_type)


def _png(image: IndexedImage, effort: Effort, *, keeps_order: bool) -> bytes:
    if not keeps_order:
        image = _with_colors(image)
    if image.pixel_format in _PNG.palettes and image.n_colors <= png.MOST_COLORS:
        encode = png.encode if keeps_order else png.encode_reordered
        bare = encode(image, effort)
    elif image.pixel_format in PILLOW_MODES:
        bare = png.packed(_shallow(replace(image, metadata=Metadata()), _PNG), effort)
    else:
        bare = png.packed(_deep_png(image), effort)
    return bare[:_PNG_HEAD] + _png_metadata(image.metadata) + bare[_PNG_HEAD:]


def _with_colors(image: IndexedImage) -> IndexedImage:
    """Return grey as RGB where a PNG is smaller with a palette, which cannot be grey."""
    most = _MOST_AS_COLORS.get(image.pixel_format, 0)
    if image.n_colors > most or image.metadata.icc_profile is not None:  # which is for grey
        return image
    wanted = PixelFormat.RGBA32 if image.pixel_format.has_alpha else PixelFormat.RGB24
    colors = formats.converted(image.palette, image.pixel_format, wanted)
    return replace(image, palette=colors, pixel_format=wanted)


def _shallow(image: IndexedImage, file_type: _FileType) -> bytes:
    """Encode with Pillow."""
    options = {**file_type.options, **_save_metadata(image.metadata, file_type)}
    if file_type is _GIF:
        picture, options["transparency"] = _gif_picture(image)
    elif image.n_colors <= 256 and image.pixel_format in file_type.palettes:
        picture = to_pillow(image)
    else:
        picture = direct_picture(image)
    stream = io.BytesIO()
    picture.save(stream, file_type.name, **options)
    return stream.getvalue()


def _gif_picture(image: IndexedImage) -> tuple[Image, int | None]:
    """Return a Pillow image of mode P, and which of its entries is transparent."""
    from PIL import Image

    has_alpha, max_value = image.pixel_format.has_alpha, image.pixel_format.max_value
    colors = image.palette[:, :-1] if has_alpha else image.palette
    rgb = np.broadcast_to(colors * (255 // max_value), (image.n_colors, 3))
    transparent = np.flatnonzero(_kinds(image) == alpha.TRANSPARENT)
    indices = image.indices
    if len(transparent) > 1:  # there is one transparent entry in a GIF
        indices = np.where(np.isin(indices, transparent), np.uint8(transparent[0]), indices)
    picture = Image.frombytes("P", (image.width, image.height), indices.tobytes())
    picture.putpalette(rgb.astype(np.uint8).tobytes(), "RGB")
    return picture, int(transparent[0]) if len(transparent) else None


# ---------------------------------------------------------------------------------------------
# Metadata


def png_with_metadata(png: bytes, metadata: Metadata) -> bytes:
    """Return a PNG file that has none with the metadata that it can hold."""
    fitting, _ = _fitting_metadata(metadata, _PNG)
    return png[:_PNG_HEAD] + _png_metadata(fitting) + png[_PNG_HEAD:]


def webp_metadata(metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options for the metadata that a WebP file can hold."""
    fitting, _ = _fitting_metadata(metadata, _WEBP)
    return _save_metadata(fitting, _WEBP)


def metadata_left_out(metadata: Metadata, path: str | os.PathLike[str]) -> str | None:
    """Return a sentence about what a file of that name lacks of metadata, or None."""
    name = os.fspath(path)
    _, left_out = _fitting_metadata(metadata, _FILE_TYPES[os.path.splitext(name)[1].lower()])
    if not left_out:
        return None
    by_reason: dict[str, list[str]] = {}
    for what, reason in left_out[:_MOST_NAMED]:
        by_reason.setdefault(reason, []).append(what)
    clauses = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    if len(left_out) > _MOST_NAMED:
        clauses.append(f"{len(left_out) - _MOST_NAMED} more")
    return f"{name} is written without {'; '.join(clauses)}"


def _fitting_metadata(
    metadata: Metadata, file_type: _FileType
) -> tuple[Metadata, list[tuple[str, str]]]:
    """Return the metadata that a type of file can hold, and name and reason of the others."""
    kept: dict[str, Any] = {"text": {}}
    left_out: list[tuple[str, str]] = []
    is_srgb = color_tags.departure(metadata, is_grey=False) is None
    for name, what in _NAMES.items():
        value = getattr(metadata, name)
        if value and name not in file_type.keeps:
            if name in color_tags.NAMES and is_srgb:  # which every file is that says nothing
                continue
            left_out.append((what, f"no place in a {file_type.name} file"))
        elif value and (fault := _fault(name, value, file_type)):
            left_out.append((what, fault))
        elif value:
            kept[name] = value
    faults = {keyword: _text_fault(keyword, value) for keyword, value in kept["text"].items()}
    left_out += [(f"text {_shown(keyword)}", fault) for keyword, fault in faults.items() if fault]
    kept["text"] = {keyword: metadata.text[keyword] for keyword in faults if not faults[keyword]}
    if file_type is _TIFF and "exif" in kept and not exif.descriptive_tags(kept["exif"])[1]:
        left_out.append(("some tags of EXIF", "damaged"))
    return Metadata(**kept), left_out


def _fault(name: str, value: Any, file_type: _FileType) -> str | None:
    """Return why a type of file cannot hold metadata that it has a place for, or None."""
    if name == "exif":
        try:
            exif.byte_order(value)
        except InputError as error:
            return str(error)
    if name == "xmp" and file_type is _PNG and not _is_text(value):
        return "not UTF-8 text"
    if name == "icc_profile" and file_type is _PNG:
        from PIL.PngImagePlugin import MAX_TEXT_CHUNK

        if len(value) > MAX_TEXT_CHUNK:
            return f"{len(value)} bytes; Pillow opens PNG files with up to {MAX_TEXT_CHUNK}"
    return None


def _is_text(packet: bytes) -> bool:
    try:
        return "\0" not in packet.decode()
    except UnicodeDecodeError:
        return False


def _text_fault(keyword: str, value: str) -> str | None:
    """Return why a PNG file cannot hold an entry of text, or None."""
    if not _PNG_KEYWORD.fullmatch(keyword):
        return "a PNG keyword has 1 to 79 characters of Latin-1 and only single spaces inside"
    return "it holds a NUL character" if "\0" in value else None


def _shown(keyword: str) -> str:
    return repr(keyword if len(keyword) <= _MOST_SHOWN else keyword[:_MOST_SHOWN] + "…")


def _save_metadata(metadata: Metadata, file_type: _FileType) -> dict[str, Any]:
    """Return Pillow's save options for metadata that fit; a TIFF gets its own afterwards."""
    if file_type is _TIFF:
        return {"icc_profile": None}
    options = metadata_info(metadata)
    options.pop("text", None)
    if metadata.exif:
        options["exif"] = exif.unnamed(metadata.exif)
    if file_type is _PNG:
        options["pnginfo"] = _png_info(metadata)
    return options


def _png_metadata(metadata: Metadata) -> bytes:
    """Return the chunks behind the header of a PNG, those of Pillow from a file of one pixel."""
    if metadata == Metadata():
        return b""
    from PIL import Image

    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG", **_save_metadata(metadata, _PNG))
    chunks = [
        chunk
        for name, chunk in _png_chunks(pixel.getvalue())
        if name not in (b"IHDR", b"IDAT", b"IEND")
    ]
    return b"".join([color_tags.png_chunks(metadata), *chunks])


def _png_info(metadata: Metadata) -> PngInfo:
    """Return text and XMP, for which Pillow has no options."""
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, value in metadata.text.items():
        chunks.add_text(keyword, value)
    if metadata.xmp is not None:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp)
    return chunks


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes, frame included, of each chunk."""
    start = 8
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        yield png[start + 4 : start + 8], png[start:end]
        start = end


def _tiff_tags(metadata: Metadata) -> list[exif.Tag]:
    tags = exif.descriptive_tags(metadata.exif)[0] if metadata.exif else []
    if metadata.xmp:
        tags.append(exif.Tag(Tag.XMP, exif.BYTE, metadata.xmp))
    if metadata.icc_profile:
        tags.append(exif.Tag(Tag.ICC_PROFILE, exif.UNDEFINED, metadata.icc_profile))
    if metadata.dpi:
        horizontal, vertical = map(_rational, metadata.dpi)
        tags.append(exif.Tag(Tag.X_RESOLUTION, exif.RATIONAL, horizontal))
        tags.append(exif.Tag(Tag.Y_RESOLUTION, exif.RATIONAL, vertical))
        tags.append(exif.Tag(Tag.RESOLUTION_UNIT, exif.SHORT, struct.pack("<H", Tag.PER_INCH)))
    return tags


def _rational(number: float) -> bytes:
    from fractions import Fraction  # for this alone, and slow to import

    fraction = Fraction(number).limit_denominator(10_000)  # the unit of a .kmq file
    return struct.pack("<II", *fraction.as_integer_ratio())


# ---------------------------------------------------------------------------------------------
# 16 bits


def _deep_png(image: IndexedImage) -> bytes:
    encoded: bytes = deep.library("imagecodecs", deep.DEEP_PNG).png_encode(image.to_array())
    return encoded


def _deep_tiff(image: IndexedImage) -> bytes:
    tifffile = deep.library("tifffile", "16-bit TIFF files with more than one channel")
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        image.to_array(),
        photometric="rgb" if image.pixel_format.channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if image.pixel_format.has_alpha else None,
        compression="deflate",
        predictor=True,
        metadata=None,
        software=False,
        bigtiff=False,
    )
    return stream.getvalue()
