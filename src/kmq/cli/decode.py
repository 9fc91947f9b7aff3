"""``kmq decode``: .kmq files to pictures."""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kmq.cli import paths
from kmq.cli.console import (
    Commands,
    Progress,
    add_command,
    add_threads_option,
    colors,
    complain,
    each,
)

if TYPE_CHECKING:
    from kmq.files import OnError
    from kmq.model import IndexedImage

_EXAMPLES = """\
  kmq decode photo.kmq                  into photo.png (CMYK: photo.tif)
  kmq decode photo.kmq -o photo.tif
  kmq decode pictures/ -o pngs/         every .kmq file of a folder
  kmq decode map.kmq --box 0,0,800,600  its upper left corner alone
  kmq decode photo.kmq -o - | display   a PNG through a pipe
  kmq decode hurt.kmq --salvage         what is left of a damaged file
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "decode", run, summary="turn .kmq files into pictures", examples=_EXAMPLES
    )
    parser.add_argument(
        "files", metavar="FILE.kmq", nargs="+", help="file, folder or pattern, or -"
    )
    parser.add_argument(
        "-o",
        "--out",
        dest="output",
        metavar="OUT",
        help="file, whose suffix says what it becomes (.png .tif .webp .gif .bmp .ppm .pgm .pbm "
        ".pnm, where that holds the picture), or folder for several, or - (default: beside the "
        "file, and - for what comes through a pipe); without a suffix it becomes a PNG, or a TIFF "
        "if that is CMYK",
    )
    add_threads_option(parser)
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--box",
        type=_box,
        metavar="L,U,R,B",
        help="decode columns L to R - 1 of rows U to B - 1 alone, counted from 0",
    )
    parts.add_argument(
        "--salvage",
        action="store_true",
        help="make a picture of a damaged file, lost rows in the first colour of its palette",
    )


def run(arguments: argparse.Namespace) -> int:
    """Decode each file and print a line about it."""
    sources = paths.expand(arguments.files, frozenset([".kmq"]))
    # Targets without a suffix of their own: which one they get depends on what each file holds.
    jobs = paths.plan(
        sources, arguments.output, "", into_folder=paths.names_several(arguments.files)
    )
    return each(jobs, partial(_decode, arguments))


def _box(text: str) -> tuple[int, ...]:
    """Four whole numbers, as an argparse type."""
    sides = text.split(",")
    if len(sides) != 4 or not all(re.fullmatch("[0-9]{1,20}", side) for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no box: four whole numbers, L,U,R,B")
    return tuple(map(int, sides))


def _decode(arguments: argparse.Namespace, source: Path, target: Path, progress: Progress) -> str:
    from kmq.model import PixelFormat
    from kmq.stages.writing import save_picture

    started = time.perf_counter()
    progress("decoding", 0)
    with _complaints(f"{source}: "):
        image = _read(arguments, source)
    if target.name == source.stem or not target.suffix:
        in_png = image.pixel_format is not PixelFormat.CMYK32
        target = target.with_name(target.name + (".png" if in_png else ".tif"))
    paths.claim(target, force=arguments.force, source=source)
    with _complaints():
        save_picture(image, target)
    seconds = time.perf_counter() - started
    return (
        f"{target}: {image.width} × {image.height} pixels, {image.pixel_format.label}, "
        f"{colors(image.n_colors)}, {seconds:.2f} s"
    )


def _read(arguments: argparse.Namespace, source: Path) -> IndexedImage:
    from kmq.files import read, read_region

    if arguments.box is not None:
        return read_region(source, arguments.box, n_threads=arguments.threads)
    on_error: OnError = "salvage" if arguments.salvage else "raise"
    return read(source, on_error=on_error, n_threads=arguments.threads)


@contextmanager
def _complaints(prefix: str = "") -> Iterator[None]:
    """Turn the warnings of a block into complaints."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        complain(f"{prefix}{warning.message}")
