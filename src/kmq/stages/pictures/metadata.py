"""What travels with a picture: from Pillow's images and TIFF tags to `Metadata`, and back."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kmq import color_tags
from kmq.model.image import Metadata
from kmq.stages.pictures import exif
from kmq.stages.pictures.tiff import Tag

if TYPE_CHECKING:
    from PIL.Image import Image

# What XMP says of columns and of rows, as `exif.SIDES` does.
_XMP_SIDES = (
    (b"tiff:ImageWidth", b"tiff:ImageLength"),
    (b"tiff:XResolution", b"tiff:YResolution"),
    (b"exif:PixelXDimension", b"exif:PixelYDimension"),
    (b"exif:FocalPlaneXResolution", b"exif:FocalPlaneYResolution"),
)
_MOST_DPI = 100_000.0  # a quarter of a micrometre; what claims more is damaged


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


def info_metadata(info: Mapping[str, Any]) -> Metadata:
    """Collect what Pillow's `info` would say, of a resolution and of colours alone."""
    return Metadata(dpi=_checked_dpi(info.get("dpi")), **color_tags.from_info(info))


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
    unit = tags.get(Tag.RESOLUTION_UNIT, Tag.PER_INCH)
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


def orientation_of(picture: Image) -> int:
    """EXIF orientation that is still to be applied, 1 to 8."""
    return tagged_orientation(_exif_tags(picture))


def tagged_orientation(tags: Mapping[int, Any]) -> int:
    """Return the orientation that tags of a TIFF file or of EXIF say, 1 to 8."""
    orientation: int = tags.get(Tag.ORIENTATION, 1)
    return orientation if orientation in range(2, 9) else 1


def _exif_tags(picture: Image) -> dict[int, Any]:
    """First directory of the EXIF block; damaged EXIF has none."""
    try:
        return dict(picture.getexif())
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error):
        return {}


def upright_metadata(metadata: Metadata, orientation: int) -> Metadata:
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
        sides = dict(_XMP_SIDES) | {down: across for across, down in _XMP_SIDES}
        xmp = re.sub(rb"\b(?:%s)\b" % b"|".join(sides), lambda name: sides[name[0]], xmp)
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


def tiff_metadata(tags: Mapping[int, Any]) -> Metadata:
    """Collect what the tags of a page that tifffile reads say."""
    return Metadata(
        icc_profile=_bytes_or_none(tags.get(Tag.ICC_PROFILE)),
        xmp=_bytes_or_none(tags.get(Tag.XMP)),
        dpi=_tagged_dpi(tags),
    )
