"""Pictures whose samples are deeper than Pillow gives them: read in full, or refused.

`samples` knows the kinds of files. It returns 16 bits per sample. Fewer bits are scaled, so that
white is 65,535. TIFF has a module of its own, `tiff`.
"""

from __future__ import annotations

import importlib
import os
import re
import struct
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from kmq.errors import InputError, MissingExtraError
from kmq.model.arrays import Array

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


DEEP_PNG = "16-bit PNG files with more than one channel"

_TOP = 65535
_SGI_HEAD = 512
_CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000: start, and SIZ, which says what the components are
_XPM_COLOR = re.compile(rb'\sc\s+#([0-9A-Fa-f]+)["\s]')


def samples(file: IO[bytes], picture: ImageFile) -> Array | None:
    """Return (height, width, channels) uint16 of a file, or None if Pillow hands out all it has.

    Args:
        file: the file.
        picture: the same as Pillow has opened it, at the frame that is meant.

    Raises:
        InputError: it can be read neither way.
        MissingExtraError: it takes the extra ``deep``.
    """
    reader = _READERS.get(picture.format or "")
    levels = None if reader is None else reader(file, picture)
    if levels is None:
        return None
    if levels.shape[:2] != (picture.height, picture.width):
        raise InputError(
            f"it says that it has {picture.height} rows and {picture.width} columns, and holds "
            f"{levels.shape[0]} and {levels.shape[1]}"
        )
    return levels.reshape(picture.height, picture.width, -1).astype(np.uint16, copy=False)


def code_points(file: IO[bytes], picture: ImageFile) -> tuple[int, ...] | None:
    """Return code points (H.273) of the colours of a PNG or AVIF, for its samples in RGB, if any.

    Pillow reads neither PNG's cICP nor the nclx of AVIF; that of sRGB is not told, since it says
    nothing else than its absence does.
    """
    if picture.format == "PNG":
        return next((tuple(content) for content in png_chunks(file, b"cICP", 4)), None)
    if picture.format != "AVIF":
        return None
    content = _whole(file)
    for path in (b"meta iprp ipco colr", b"moov trak mdia minf stbl stsd av01 colr"):
        for start, end in _found_boxes(content, path.split()):
            if content[start : start + 4] == b"nclx" and end >= start + 8:
                primaries, transfer = struct.unpack_from(">HH", content, start + 4)
                is_usual = primaries in (1, 2) and transfer in (2, 13)
                return None if is_usual else (primaries & 255, transfer & 255, 0, 1)
    return None


def png_chunks(file: IO[bytes], wanted: bytes, length: int) -> Iterator[bytes]:
    """Yield what is in the chunks of that name and length before the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"IEND"):
        size = int.from_bytes(head[:4], "big")
        if head[4:] == wanted and size == length:
            yield file.read(size)
            size = 0
        file.seek(size + 4, os.SEEK_CUR)


def library(name: str, files: str) -> Any:
    """Import the packages of the extra ``deep``, or raise MissingExtraError: `files` need them."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{files} need {name}: pip install 'kmq[deep]'") from error


def scaled(levels: Array, max_value: int, top: int = _TOP) -> Array:
    """Return levels of 0 … max_value as 0 … top, rounded; uint16, or uint8 for a top of 255."""
    dtype = np.uint16 if top > 255 else np.uint8
    if max_value == top:
        return levels.astype(dtype, copy=False)
    wide = np.minimum(levels, max_value).astype(np.uint32)
    return ((wide * np.uint32(top) + max_value // 2) // max_value).astype(dtype)


def _png(file: IO[bytes], picture: ImageFile) -> Array | None:
    """RGB (type 2), grey-alpha (4) or RGBA (6) of 16 bits."""
    file.seek(0)
    head = file.read(26)
    if head[24] != 16 or head[25] not in (2, 4, 6):
        return None
    _refuse_animated(picture, "PNG of 16 bits")
    imagecodecs = library("imagecodecs", DEEP_PNG)
    return np.asarray(imagecodecs.png_decode(_whole(file)))


def _ppm(file: IO[bytes], picture: ImageFile) -> Array | None:
    """Two bytes per sample."""
    codec, _, offset, args = picture.tile[0]
    max_value = args[-1] if isinstance(args, tuple) and codec in ("ppm", "ppm_plain") else 255
    if picture.mode != "RGB" or max_value <= 255:
        return None
    if codec == "ppm_plain":
        raise InputError("it is a plain 16-bit PPM; kmq reads binary ones: convert it to P6")
    file.seek(offset)
    levels = np.frombuffer(file.read(), ">u2", count=3 * picture.width * picture.height)
    return scaled(levels, max_value).reshape(picture.height, picture.width, 3)


def _sgi(file: IO[bytes], picture: ImageFile) -> Array | None:
    """Two bytes per sample, in planes, from the bottom up; as they are or by runs."""
    content = _whole(file)
    by_runs, n_bytes = content[2], content[3]
    if n_bytes != 2:
        return None
    planes, height, width = len(picture.getbands()), picture.height, picture.width
    try:
        if by_runs:
            starts = np.frombuffer(content, ">u4", planes * height, _SGI_HEAD).tolist()
            units = np.frombuffer(content[: len(content) & ~1], ">u2")
            levels = np.concatenate([_sgi_row(units[start // 2 :], width) for start in starts])
        else:
            levels = np.frombuffer(content, ">u2", planes * height * width, _SGI_HEAD)
    except (ValueError, IndexError) as error:
        raise InputError("it is damaged: a row of it ends too early") from error
    return np.moveaxis(levels.reshape(planes, height, width)[:, ::-1], 0, -1)


def _sgi_row(units: Array, width: int) -> Array:
    """Undo the runs of a row: a count, and a top bit that says whether so many levels follow."""
    row, filled, place = np.empty(width, np.uint16), 0, 0
    while filled < width:
        head = int(units[place])
        count = min(head & 127, width - filled)
        if count == 0:
            raise ValueError("the row ends")
        n_levels = count if head & 128 else 1
        row[filled : filled + count] = units[place + 1 : place + 1 + n_levels]
        filled += count
        place += 1 + n_levels
    return row


def _jpeg2000(file: IO[bytes], picture: ImageFile) -> Array | None:
    content = _whole(file)
    depths, signed = _jpeg2000_depths(content)
    depth = max(depths)
    if depth <= 8 or (picture.mode == "I;16" and depth == 16 and not signed):
        return None
    if signed or min(depths) != depth or depth > 16 or picture.mode == "CMYK":
        raise InputError(
            f"it is a JPEG 2000 picture with components of {_listed(depths)} bits"
            f"{', signed' if signed else ''}, in Pillow's mode {picture.mode}; above 8 bits kmq "
            "takes unsigned grey and RGB, with or without alpha, of one depth up to 16: convert it"
        )
    imagecodecs = library("imagecodecs", "JPEG 2000 files of more than 8 bits per sample")
    return scaled(imagecodecs.jpeg2k_decode(content), (1 << depth) - 1)


def _jpeg2000_depths(content: bytes) -> tuple[list[int], bool]:
    """Bits of the components, and whether one is signed; of the palette, if that is deeper."""
    codestream, depths = 0, []
    if not content.startswith(_CODESTREAM):
        for kind, start, end in _boxes(content, 0, len(content)):
            if kind == b"jp2h":
                for inner, first, _ in _boxes(content, start, end):
                    if inner == b"pclr":
                        n_columns = content[first + 2]
                        depths = [1 + (bits & 127) for bits in content[first + 3 :][:n_columns]]
            if kind == b"jp2c":
                codestream = start
                break
    (n_components,) = struct.unpack_from(">H", content, codestream + 40)
    sizes = content[codestream + 42 :][: 3 * n_components : 3]
    bits = [1 + (size & 127) for size in sizes]
    return (depths if depths and max(depths) > 8 else bits), any(size > 127 for size in sizes)


def _avif(file: IO[bytes], picture: ImageFile) -> Array | None:
    content = _whole(file)
    depth = _avif_depth(content)
    if depth == 8:
        return None
    _refuse_animated(picture, f"AVIF of {depth} bits")
    imagecodecs = library("imagecodecs", "AVIF files of 10 and 12 bits per sample")
    return scaled(imagecodecs.avif_decode(content), (1 << depth) - 1)


def _avif_depth(content: bytes) -> int:
    """Bits of a sample, as the AV1 configuration of the first item or track above 8 says."""
    for path in (b"meta iprp ipco av1C", b"moov trak mdia minf stbl stsd av01 av1C"):
        for start, _ in _found_boxes(content, path.split()):
            flags = content[start + 2]
            if flags & 0x40:
                return 12 if flags & 0x20 else 10
    return 8


_INNER_HEADS = {b"meta": 4, b"stsd": 8, b"av01": 78}
"""Bytes that boxes of ISO/IEC 14496-12 have before the boxes in them."""


def _found_boxes(content: bytes, path: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield start and end of what is in the boxes that a path of box types leads to."""
    places = [(0, len(content))]
    for kind in path:
        places = [
            (start + (0 if kind == path[-1] else _INNER_HEADS.get(kind, 0)), end)
            for place in places
            for name, start, end in _boxes(content, *place)
            if name == kind
        ]
    yield from places


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the payload of each box (ISO/IEC 14496-12, 15444-1)."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", content, start + 8)[0], 16
        size = size or end - start
        if size < head:
            return
        yield kind, start + head, min(start + size, end)
        start += size


def _xpm(file: IO[bytes], picture: ImageFile) -> None:
    """Colours of 4, 12 or 16 bits per sample, which Pillow takes for other ones."""
    for digits in _XPM_COLOR.findall(_whole(file)):
        if len(digits) != 6:
            raise InputError(
                f"it is an XPM with the colour #{digits.decode()}; kmq takes those of 6 digits: "
                "convert it"
            )


def _fits(file: IO[bytes], picture: ImageFile) -> None:
    if picture.mode != "L":
        raise InputError("it is a FITS file of more than 8 bits, which are signed: convert it")


def _dds(file: IO[bytes], picture: ImageFile) -> None:
    if str(getattr(picture, "pixel_format", "")).startswith("BC6H"):
        raise InputError("it is a DDS texture of half-precision floats: convert it")


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _refuse_animated(picture: ImageFile, kind: str) -> None:
    if getattr(picture, "n_frames", 1) > 1:
        raise InputError(f"it is an animated {kind}; kmq reads those of 8")


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


_READERS = {
    "AVIF": _avif,
    "DDS": _dds,
    "FITS": _fits,
    "JPEG2000": _jpeg2000,
    "PNG": _png,
    "PPM": _ppm,
    "SGI": _sgi,
    "XPM": _xpm,
}
