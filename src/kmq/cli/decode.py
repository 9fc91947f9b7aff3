"""``kmq decode``: .kmq files to pictures."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from kmq.cli import paths
from kmq.cli.console import Commands, Progress, add_command, colors, each

_EXAMPLES = """\
  kmq decode photo.kmq                  into photo.png (CMYK: photo.tif)
  kmq decode photo.kmq -o photo.tif
  kmq decode pictures/ -o pngs/         every .kmq file of a folder
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "decode", run, summary="turn .kmq files into pictures", examples=_EXAMPLES
    )
    parser.add_argument("files", metavar="FILE.kmq", nargs="+", help="file, folder or pattern")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="OUT",
        help="file, whose suffix says what it becomes, or folder for several "
        "(default: beside the file, .png, or .tif for what PNG cannot hold)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def run(arguments: argparse.Namespace) -> int:
    """Decode each file and print a line about it."""
    sources = paths.expand(arguments.files, frozenset([".kmq"]))
    # Targets without a suffix of their own: which one they get depends on what each file holds.
    jobs = paths.plan(
        sources, arguments.output, "", into_folder=paths.names_several(arguments.files)
    )
    return each(jobs, partial(_decode, arguments.force))


def _decode(force: bool, source: Path, target: Path, progress: Progress) -> str:
    from kmq.files import info, read
    from kmq.model import PixelFormat
    from kmq.stages.pixels import save_picture

    started = time.perf_counter()
    progress("decoding", 0)
    if target.name == source.stem or not target.suffix:
        in_png = info(source).pixel_format is not PixelFormat.CMYK32
        target = target.with_name(target.name + (".png" if in_png else ".tif"))
    paths.claim(target, force=force, source=source)
    image = read(source)
    save_picture(image, target)
    seconds = time.perf_counter() - started
    return (
        f"{target}: {image.width} × {image.height} pixels, {image.pixel_format.label}, "
        f"{colors(image.n_colors)}, {seconds:.2f} s"
    )
