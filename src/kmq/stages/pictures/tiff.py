"""TIFF pages by their tags: which of them Pillow takes for others, and how tifffile reads those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.stages.pictures.deep import scaled

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import ImageFileDirectory_v2


class Tag:
    """Tags of TIFF 6.0 that kmq looks at, and their values."""

    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    PHOTOMETRIC = 262
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    RESOLUTION_UNIT = 296
    COLOR_MAP = 320
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    XMP = 700
    ICC_PROFILE = 34675

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PLANAR = 2
    PREMULTIPLIED = 1
    STRAIGHT = 2
    UNSIGNED = 1
    SIGNED = 2
    NO_UNIT = 1
    PER_INCH = 2
    PER_CENTIMETRE = 3


TAGS = "tags of a TIFF"
"""Key of `info` under which `frame` keeps them."""

_GREY = (Tag.WHITE_IS_ZERO, Tag.BLACK_IS_ZERO)
_PHOTOMETRICS = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK"}
_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point"}


_BIG_IN_BIG_ENDIAN = b"MM\0+"
_WRONG_HEADS = (b"II\0*", b"MM*\0")  # which Pillow opens all the same
_HEADS = (b"II*\0", b"MM\0*", b"II+\0", _BIG_IN_BIG_ENDIAN, *_WRONG_HEADS)


def is_tiff(file: IO[bytes]) -> bool:
    """Whether a file begins as one, BigTIFF included."""
    file.seek(0)
    return file.read(4) in _HEADS


def is_beyond_pillow(file: IO[bytes], page: int) -> bool:
    """Whether Pillow would cut the samples of a page (from 1) of a TIFF, or take them for others.

    Raises:
        InputError: it would, and `samples` does not know that kind of page either.
    """
    file.seek(0)
    if file.read(4) == _BIG_IN_BIG_ENDIAN:
        return True
    tags = _directory(file, page) if is_tiff(file) else None
    if tags is None or not _misleads_pillow(tags):
        return False
    check(tags)
    return True


def check_page(file: IO[bytes], page: int) -> None:
    """Raise InputError unless `samples` knows that kind of page, as far as tags can be read."""
    tags = _directory(file, page)
    if tags is not None:
        check(tags)


def _directory(file: IO[bytes], page: int) -> ImageFileDirectory_v2 | None:
    """Tags of a page of a TIFF file, or None where there is none."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file.seek(0)
    head = file.read(8)
    directory = ImageFileDirectory_v2(head + file.read(8 if head[2] == 43 else 0))
    visited = {0}
    for _ in range(page):
        if directory.next in visited:  # 0 after the last
            return None
        visited.add(directory.next)
        file.seek(directory.next)
        directory.load(file)
    return directory


def _misleads_pillow(tags: Mapping[int, Any]) -> bool:
    depth = max(_numbers(tags.get(Tag.BITS_PER_SAMPLE, 1)))
    extra = _numbers(tags.get(Tag.EXTRA_SAMPLES, ()))
    if extra and tags.get(Tag.PLANAR_CONFIGURATION) == Tag.PLANAR:
        is_product = extra[0] == Tag.PREMULTIPLIED
        return depth > 8 or is_product or tags.get(Tag.PHOTOMETRIC) in _GREY
    if depth <= 8:
        return _is_signed(tags)
    is_grey = tags.get(Tag.PHOTOMETRIC) in _GREY and tags.get(Tag.SAMPLES_PER_PIXEL, 1) == 1
    return not (is_grey and depth in (16, 32))


def check(tags: Mapping[int, Any]) -> None:
    """Raise InputError unless `samples` knows the kind of page that has these tags."""
    photometric = tags.get(Tag.PHOTOMETRIC, Tag.WHITE_IS_ZERO)
    depths = set(_numbers(tags.get(Tag.BITS_PER_SAMPLE, 1)))
    kinds = set(_numbers(tags.get(Tag.SAMPLE_FORMAT, Tag.UNSIGNED)))
    first_extra = (*_numbers(tags.get(Tag.EXTRA_SAMPLES, ())), None)[0]
    is_product = photometric == Tag.WHITE_IS_ZERO and first_extra == Tag.PREMULTIPLIED
    is_known = photometric in (*_GREY, Tag.RGB)
    if not is_known or is_product or len(depths) > 1 or max(depths) > 16 or kinds != {Tag.UNSIGNED}:
        signs = " and ".join(_SAMPLE_FORMATS.get(kind, "other") for kind in sorted(kinds))
        raise InputError(
            f"it is a TIFF of {', '.join(map(str, sorted(depths)))}-bit {signs} samples, "
            f"photometric interpretation {_PHOTOMETRICS.get(photometric, photometric)}"
            f"{' with premultiplied alpha' if is_product else ''}; kmq takes unsigned grey and RGB "
            "of up to 16 bits, palettes and CMYK of up to 8: convert it to one of these"
        )


def samples(page: Any) -> Array:
    """Return (height, width, channels) of a page that tifffile has opened and `check` has passed.

    Alpha is straight, white the largest sample: of uint8 up to 8 bits, of uint16 above; a page of
    one bit is bool. Channels without meaning are left out.
    """
    levels = page.asarray()
    if page.planarconfig == Tag.PLANAR and page.samplesperpixel > 1:
        levels = np.moveaxis(levels, 0, -1)
    levels = levels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    kind = page.extrasamples[0] if page.extrasamples else None
    has_alpha = kind in (Tag.PREMULTIPLIED, Tag.STRAIGHT)
    levels = levels[:, :, : (3 if page.photometric == Tag.RGB else 1) + has_alpha]
    if page.bitspersample > 1 or levels.shape[2] > 1:
        top = 255 if page.bitspersample <= 8 else 65535
        levels = scaled(levels, (1 << page.bitspersample) - 1, top)
    if page.photometric == Tag.WHITE_IS_ZERO:
        levels = levels.copy()
        np.invert(levels[:, :, :1], out=levels[:, :, :1])
    return unpremultiplied(levels) if kind == Tag.PREMULTIPLIED else levels


def unpremultiplied(products: Array) -> Array:
    """Divide the alpha out again, rounded; colours brighter than their alpha become full."""
    top = np.iinfo(products.dtype).max
    alpha = products[:, :, -1:].astype(np.uint32)
    divisor = np.maximum(alpha, 1)
    colors = (products[:, :, :-1] * np.uint32(top) + divisor // 2) // divisor
    straight = products.copy()
    straight[:, :, :-1] = np.minimum(colors, top)
    return straight


def as_meant(levels: Array, picture: Image) -> Array:
    """Return grey that Pillow has read as the tags of its TIFF mean it, if it is from one.

    Pillow takes WhiteIsZero of 16 bits for BlackIsZero, 12 bits for the lower ones of 16, and
    signed levels of 8 bits for others.

    Raises:
        InputError: they are signed.
    """
    tags = tags_of(picture)
    depth = max(_numbers(tags.get(Tag.BITS_PER_SAMPLE, 1)))
    if depth <= 8:
        if _is_signed(tags):
            check(tags)
        return levels
    if depth == 12:
        levels = scaled(levels, 4095)
    return ~levels if tags.get(Tag.PHOTOMETRIC) == Tag.WHITE_IS_ZERO else levels


def make_room(picture: ImageFile) -> None:
    """Give a TIFF that Pillow has opened its memory, for which Pillow would ask its own limit."""
    from PIL import Image

    tags = tags_of(picture)
    if picture.format == "TIFF":
        picture.im = Image.new(picture.mode, (tags[Tag.WIDTH], tags[Tag.HEIGHT]), None).im


def tags_of(picture: Image) -> Mapping[int, Any]:
    """Tags of the TIFF that a picture is, or is a `frame` of; of others none."""
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", None) or picture.info.get(TAGS, {})
    return tags


def frame(picture: Image) -> Image:
    """Return a copy of the current frame, whose `info` keeps the tags of a TIFF."""
    copy = picture.copy()
    if tags := tags_of(picture):
        copy.info[TAGS] = tags
    return copy


def keep_products(picture: ImageFile) -> bool:
    """Make Pillow leave premultiplied RGBA as it is, whose quotients it cuts; say if it is so."""
    is_product = False
    for number, tile in enumerate(picture.tile if picture.format == "TIFF" else ()):
        if isinstance(tile.args, tuple) and str(tile.args[0]).startswith("RGBa"):
            rawmode = tile.args[0].replace("RGBa", "RGBA")
            picture.tile[number] = tile._replace(args=(rawmode, *tile.args[1:]))
            is_product = True
    return is_product


def color_map(tags: Mapping[int, Any], shown: Array) -> Array | None:
    """Return the palette (n, 3) of a page: uint16, or uint8 if it has 8 bits.

    Tags hold 16 bits. Eight are kept as 257 or 256 times the level, or, by old programs, as they
    are: libtiff takes a map without a level of 256 or more for one of these.

    Args:
        tags: those of the page.
        shown: what Pillow has made of the map, (k, 3) uint8. If it has other colours than the
            map's upper bytes, somebody has given the picture another palette: that is None.
    """
    levels = tags.get(Tag.COLOR_MAP)
    if levels is None:
        return None
    rows = np.array(levels, np.uint16).reshape(3, -1).T
    if not np.array_equal(rows >> 8, shown[: len(rows)]):
        return None
    if rows.max() < 256:
        return rows.astype(np.uint8)
    if not np.any(rows % 257) or not np.any(rows % 256):
        return (rows >> 8).astype(np.uint8)
    return rows


def _is_signed(tags: Mapping[int, Any]) -> bool:
    return Tag.SIGNED in _numbers(tags.get(Tag.SAMPLE_FORMAT, Tag.UNSIGNED))


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)
