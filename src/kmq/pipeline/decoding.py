"""`.kmq` file → image: the whole, the intact part of a damaged one, a region, or its header."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

from kmq.errors import FormatError, InputError, LimitError
from kmq.model.file_info import FileInfo, Limits
from kmq.model.image import IndexedImage
from kmq.stages.coding.palettes import decode_palette
from kmq.stages.coding.strips import decode_strips, salvage_strips
from kmq.stages.container import chunks, file

_MOST_NAMED = 10  # strips that a warning names


def decoded(stream: BinaryIO, limits: Limits, n_threads: int) -> IndexedImage:
    """Decode the picture that a stream holds from where it stands."""
    return decoded_picture(file.unpack_file(stream, limits, decode_palette), limits, n_threads)


def decoded_picture(contents: file.Contents, limits: Limits, n_threads: int) -> IndexedImage:
    """Decode a picture that has been taken apart."""
    header = contents.front.header
    palette = contents.front.palette
    indices = decode_strips(
        contents.strips, contents.payloads, palette, header.width, limits.decisions, n_threads
    )
    return IndexedImage(palette, indices, header.pixel_format, contents.front.metadata)


def salvaged(stream: BinaryIO, limits: Limits, n_threads: int) -> tuple[IndexedImage, str | None]:
    """Decode the stream's content, or the intact part of it; return the losses, too."""
    content = chunks.ChunkReader(stream).take_rest()
    try:
        return decoded(io.BytesIO(content), limits, n_threads), None
    except LimitError:
        raise
    except FormatError as error:
        damage = str(error)
    from kmq.stages.container import salvage  # for damaged files alone

    left = salvage.salvage_file(io.BytesIO(content), limits, decode_palette)
    header, palette = left.front.header, left.front.palette
    shape = header.height, header.width
    indices, faults = salvage_strips(
        left.strips, left.payloads, palette, shape, limits.decisions, n_threads
    )
    lost = left.faults | {
        left.strips[place].row // header.strip_height: fault for place, fault in faults.items()
    }
    message = _lost_message(damage, header, lost, left.notes)
    bands = _bands(header.strip_rows(number) for number in sorted(lost))
    metadata = left.front.metadata
    image = IndexedImage(palette, indices, header.pixel_format, metadata, lost=bands)
    return image, message


def decoded_region(
    stream: BinaryIO, box: tuple[int, int, int, int], limits: Limits, n_threads: int
) -> IndexedImage:
    """Decode the part left … right - 1 of rows upper … lower - 1; `box` is in that order of Pillow.

    Raises:
        InputError: the box does not lie within the picture or is empty.
    """
    left, upper, right, lower = box
    reader = chunks.ChunkReader(stream)
    front = file.unpack_front(reader, limits, decode_palette)
    header = front.header
    if not (0 <= left < right <= header.width and 0 <= upper < lower <= header.height):
        raise InputError(
            f"box is {(left, upper, right, lower)}; it must be (left, upper, right, lower) "
            f"around at least one pixel of the picture's {header.width} x {header.height}"
        )
    numbers = range(upper // header.strip_height, -(-lower // header.strip_height))
    strips, payloads = file.take_strips(reader, front, numbers)
    palette = front.palette
    indices = decode_strips(strips, payloads, palette, header.width, limits.decisions, n_threads)
    top = strips[0].row
    region = indices[upper - top : lower - top, left:right]
    return IndexedImage(palette, region, header.pixel_format, front.metadata)


def info(stream: BinaryIO, limits: Limits) -> FileInfo:
    """Return what a file says about itself, without its pixels."""
    contents = file.unpack_file(stream, limits, decode_palette, kinds=None, skip_strips=True)
    header = contents.front.header
    return FileInfo(
        version=header.version,
        pixel_format=header.pixel_format,
        height=header.height,
        width=header.width,
        palette=contents.front.palette,
        metadata=contents.front.metadata,
        strip_height=header.strip_height,
        strips=contents.strips,
        chunks=contents.chunks,
        file_size=contents.file_size,
        labels=contents.front.labels,
        frames=contents.front.frames,
        plays=header.plays,
    )


def _bands(strips: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join strips, given as first row and rows, to bands of first row and row after the last."""
    bands: list[tuple[int, int]] = []
    for row, height in strips:
        if bands and bands[-1][1] == row:
            row, height = bands[-1][0], row + height - bands[-1][0]
            bands.pop()
        bands.append((row, row + height))
    return tuple(bands)


def _lost_message(
    damage: str, header: file.Header, lost: Mapping[int, str], notes: Sequence[str]
) -> str:
    sentences = []
    for number in sorted(lost):
        row, height = header.strip_rows(number)
        sentences.append(f"strip {number} (rows {row} to {row + height - 1}): {lost[number]}")
    return f"{damage}; lost: {listed(sentences, 'strips', notes)}"


def listed(sentences: Sequence[str], noun: str, notes: Sequence[str] = ()) -> str:
    """Return what was lost: the first few sentences, how many more there are, and the notes."""
    named = list(sentences[:_MOST_NAMED])
    if len(sentences) > _MOST_NAMED:
        named.append(f"{len(sentences) - _MOST_NAMED} more {noun}")
    return "; ".join([*named, *notes]) or "nothing"
