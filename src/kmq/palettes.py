"""The doors to palette files: `read_palette`, `write_palette`."""

from __future__ import annotations

import os

import numpy as np

from kmq.atomic import replacing
from kmq.colors import Colors, GivenColors
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.image import IndexedImage, index_dtype
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
from kmq.pipeline import reading
from kmq.pipeline.encoding import Coding
from kmq.stages.container import chunks
from kmq.stages.palette import files as palette_files
from kmq.stages.pictures.reading import checked_format
from kmq.stages.pictures.writing import save_picture
from kmq.streams import Source, is_path, write_all
from kmq.threads import resolve_threads

SUFFIXES = (*chunks.SUFFIXES, *palette_files.KINDS, ".png")
"""What `write_palette` writes."""

_BLOCK, _BLOCKS_A_ROW = 16, 16
"""Side of a colour in a swatch picture in pixels, and colours in a row, for up to 256 colours."""

_MOST_BLOCKS = 256
"""Of more colours each is a pixel, this many in a row."""


def read_palette(source: Source) -> Palette:
    """Read the palette of a file.

    The suffix says what it is: ``.gpl`` of GIMP, ``.act`` of Adobe, ``.pal`` of JASC, ``.hex`` or
    ``.txt`` with colours in hexadecimal, ``.json``; ``.kmq`` and ``.kmqpal``, which are the same;
    anything else is a picture. Of a picture with a palette that palette is taken as it is, of
    others the distinct colours in the order of rows and columns: a swatch.

    Args:
        source: a path, the bytes of a file, or a file object open for binary reading, which is
            read from where it stands. Without a name that has a suffix, the content says whether
            it is a .kmq file, of GIMP, of JASC or JSON; else it is a picture.

    Returns:
        1 to 65,536 colours with their pixel format, in the file's order, repeated and unused
        entries included. Fully transparent entries are all 0.

    Raises:
        InputError: the file is damaged, or has no colours or too many.
        FormatError: the same of a .kmq file.
        TypeError: neither a path, a file object nor bytes.
        OSError: the file cannot be read.

    Cost: of a picture, time and memory to decode it, and little else.

    >>> kmq.write_palette("theme.gpl", ["#102030", "white"])
    >>> palette = kmq.read_palette("theme.gpl")
    >>> image = kmq.quantize("photo.png", palette=palette)
    """
    return reading.read_palette(source)


def write_palette(
    path: str | os.PathLike[str],
    palette: GivenColors,
    *,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
) -> None:
    """Write a palette to a file of the kind its suffix says, which appears whole or not at all.

    Order and repeated entries are kept. ``.gpl`` and ``.pal`` hold RGB of 8 bits, ``.act`` up to
    256 such colours, one transparent entry included, ``.hex`` and ``.txt`` RGB and RGBA of 8 and 16
    bits, ``.json`` and ``.kmqpal`` everything. ``.png`` becomes a picture with a block
    for each colour; above 256 colours, or in grey or 16 bits, it has no palette of its own, and
    reading it back leaves out repetitions.

    Args:
        path: one of ``.gpl .act .pal .hex .txt .json .png .kmq .kmqpal``.
        palette: (n, channels) uint8, uint16 or other whole numbers of 0 to 255; a list with names
            of colours ("white", "#ff8800"); or an image.
        pixel_format: what the entries are, where the array alone does not tell: "CMYK" or "1".

    Raises:
        InputError: the kind of file cannot hold the palette unchanged.
        TypeError: not an array of whole numbers.
        OSError: the file cannot be written.

    >>> kmq.write_palette("theme.gpl", ["#102030", "white"])
    >>> kmq.read_palette("theme.gpl").hex
    ('#102030', '#ffffff')
    """
    if not is_path(path):
        raise TypeError(
            f"path is {type(path).__name__}; it must be a path, whose suffix says the kind of "
            "file, and it comes before the palette"
        )
    checked = _checked_palette(palette, pixel_format)
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in chunks.SUFFIXES:
        coding = Coding(method="deflate", n_threads=resolve_threads(None))
        with replacing(path) as file:
            write_all(file, coding.pieces(_strip_of(checked)))
    elif suffix == ".png":
        save_picture(_swatch_of(checked), path)
    elif (kind := palette_files.KINDS.get(suffix)) is not None:
        try:
            content = kind.write(_fitting(checked, kind))
        except InputError as error:
            raise InputError(f"{name} cannot hold the palette: {error}") from error
        with replacing(path) as file:
            file.write(content)
    else:
        raise InputError(
            f"{name} must end in the suffix of a palette that kmq writes: {', '.join(SUFFIXES)}"
        )


def _checked_palette(
    palette: GivenColors, pixel_format: PixelFormatLabel | PixelFormat | None
) -> Palette:
    colors, wanted = Colors.checked(palette, "palette"), checked_format(pixel_format)
    if wanted is None:
        return colors.alone()
    return Palette(colors.samples(wanted, None), wanted)


def _fitting(palette: Palette, kind: palette_files.Kind) -> Palette:
    """Return the palette in the first of the kind's pixel formats that holds it."""
    if len(palette.colors) > kind.most_colors:
        raise InputError(
            f"it has {len(palette.colors)} colours; {kind.title} hold up to {kind.most_colors}"
        )
    if palette.pixel_format in kind.formats:
        return palette
    refusal: InputError | None = None
    for pixel_format in kind.formats:
        try:
            colors = formats.converted(palette.colors, palette.pixel_format, pixel_format)
            return Palette(colors, pixel_format)
        except InputError as error:
            refusal = error
    raise InputError(f"{kind.title} hold {_labels(kind)}; {refusal}")


def _labels(kind: palette_files.Kind) -> str:
    return ", ".join(pixel_format.label for pixel_format in kind.formats)


def _strip_of(palette: Palette) -> IndexedImage:
    """Return the palette as a picture of one row, a pixel for each entry."""
    n_colors = len(palette.colors)
    indices = np.arange(n_colors, dtype=index_dtype(n_colors))[None]
    return IndexedImage(palette.colors, indices, palette.pixel_format)


def _swatch_of(palette: Palette) -> IndexedImage:
    """Return the palette as a picture to look at; the last colour fills the last row."""
    n_colors = len(palette.colors)
    few = n_colors <= _MOST_BLOCKS
    side, per_row = (_BLOCK, _BLOCKS_A_ROW) if few else (1, _MOST_BLOCKS)
    width, height = min(n_colors, per_row), -(-n_colors // per_row)
    numbers = np.minimum(np.arange(width * height), n_colors - 1).reshape(height, width)
    indices = np.repeat(np.repeat(numbers, side, axis=0), side, axis=1)
    return IndexedImage(palette.colors, indices.astype(np.uint16), palette.pixel_format)
