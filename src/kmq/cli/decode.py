"""``kmq decode``: .kmq files to pictures."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kmq.cli import batch, pipes
from kmq.cli.console import (
    FAILURES,
    Commands,
    Progress,
    UsageError,
    add_command,
    add_pixels_option,
    add_threads_option,
    add_work_option,
    colors,
    limits,
)
from kmq.model.image import Metadata

if TYPE_CHECKING:
    from kmq.model.choices import OnError
    from kmq.model.image import IndexedImage

_EXAMPLES = """\
  kmq decode photo.kmq                  into photo.png (CMYK: photo.tif)
  kmq decode photo.kmq -o photo.tif
  kmq decode pictures/ -o pngs/         every .kmq file of a folder
  kmq decode map.kmq --box 0,0,800,600  only its upper left corner
  kmq decode photo.kmq -o - | display   a PNG through a pipe
  kmq decode pictures/ --format webp    next to each file, in another format
  kmq decode hurt.kmq --salvage         the rest of a damaged file
"""

_FORMATS = ("png", "tif", "webp", "gif", "bmp", "ppm", "pgm", "pbm", "pnm")


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "decode", run, summary="turn .kmq files into pictures", examples=_EXAMPLES
    )
    parser.add_argument(
        "files", metavar="FILE.kmq", nargs="+", help="file, folder or pattern, or -"
    )
    batch.add_options(parser, "OUT", ".png, or .tif for CMYK")
    pipes.add_format_option(parser, _FORMATS, "png, or tif for CMYK")
    batch.add_ext_option(parser, "-again.png", ".png, or .tif for CMYK")
    parser.add_argument(
        "--strip", action="store_true", help="write no metadata, not even the colour profile"
    )
    add_threads_option(parser)
    add_pixels_option(parser)
    add_work_option(parser)
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--box",
        type=_box,
        metavar="L,U,R,B",
        help="decode only columns L to R - 1 of rows U to B - 1, counted from 0",
    )
    parts.add_argument(
        "--salvage",
        action="store_true",
        help="decode the rest of a damaged file; lost rows get the first palette colour",
    )


def run(arguments: argparse.Namespace) -> int:
    """Decode each file and print a line about it."""
    if arguments.ext is not None:
        _check_ext(arguments)
    jobs = batch.plan(
        arguments.files,
        frozenset([".kmq"]),
        arguments.output,
        lambda source: arguments.ext or _suffix_of(source),
        arguments.format,
    )
    return batch.each(jobs, partial(_decode, arguments), arguments)


def _check_ext(arguments: argparse.Namespace) -> None:
    if arguments.format is not None:
        raise UsageError("--ext and --format are both given; the suffix says what is written")
    if not arguments.ext.lower().endswith(tuple(f".{kind}" for kind in _FORMATS)):
        raise UsageError(f"--ext is {arguments.ext}; it must end in .{', .'.join(_FORMATS)}")


def _suffix_of(source: Path) -> str:
    """Return the suffix of a kind of picture that holds what a file does, if it can be read."""
    from kmq.model.file_info import Limits
    from kmq.model.image import MAX_SIDE
    from kmq.model.pixel_format import PixelFormat
    from kmq.stages.container.chunks import ChunkReader
    from kmq.stages.container.file import unpack_header

    try:
        with source.open("rb") as file:
            reader = ChunkReader(file)
            reader.read_signature()
            header = unpack_header(reader.take_only("H"), Limits(pixels=MAX_SIDE**2))
    except FAILURES:  # decoding will say so, unless it salvages
        return ".png"
    return ".tif" if header.pixel_format is PixelFormat.CMYK32 else ".png"


def _box(text: str) -> tuple[int, ...]:
    """Four whole numbers, as an argparse type."""
    sides = text.split(",")
    if len(sides) != 4 or not all(re.fullmatch("[0-9]{1,20}", side) for side in sides):
        raise argparse.ArgumentTypeError(f"must be four whole numbers, L,U,R,B, not {text!r}")
    return tuple(map(int, sides))


def _decode(arguments: argparse.Namespace, source: Path, target: Path, progress: Progress) -> str:
    from kmq.stages.pictures.writing import save_picture

    progress("decoding", 0)
    image = _read(arguments, source)
    if arguments.strip:
        image = replace(image, metadata=Metadata())
    save_picture(image, target, "fast")
    return (
        f"{target}: {image.width} × {image.height} pixels, {image.pixel_format.label}, "
        f"{colors(image.n_colors)}"
    )


def _read(arguments: argparse.Namespace, source: Path) -> IndexedImage:
    from kmq.files import read, read_region

    if arguments.box is not None:
        return read_region(
            source, arguments.box, limits=limits(arguments), n_threads=arguments.threads
        )
    on_error: OnError = "salvage" if arguments.salvage else "raise"
    return read(source, on_error=on_error, limits=limits(arguments), n_threads=arguments.threads)
