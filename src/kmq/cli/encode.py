"""``kmq encode``: pictures to .kmq files."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from kmq.cli import paths
from kmq.cli.console import (
    Commands,
    Progress,
    UsageError,
    add_command,
    colors,
    decibels,
    each,
    whole_number,
)
from kmq.cli.warmup import announcing
from kmq.errors import InputError
from kmq.model import MAX_COLORS
from kmq.threads import MAX_THREADS

_EXAMPLES = """\
  kmq encode photo.png                      64 colours, into photo.kmq
  kmq encode photo.png -k 16 -o small.kmq
  kmq encode photos/ scans/*.tif -o out/    folders and patterns, into a folder
  kmq encode 'photos/**/*.jpg'              a quoted pattern reaches into folders
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "encode", run, summary="turn pictures into .kmq files", examples=_EXAMPLES
    )
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", help="file, folder or pattern")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="OUT",
        help="file, or folder for several pictures (default: beside the picture, suffix .kmq)",
    )
    parser.add_argument(
        "-k",
        type=whole_number(1, MAX_COLORS),
        default=64,
        metavar="COLOURS",
        help=f"most colours of the palette, 1 to {MAX_COLORS} (default: 64)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        help="start of the random numbers; the same seed gives the same file (default: 0)",
    )
    parser.add_argument(
        "--method",
        help="how indices are coded, by its name in FORMAT.md (default: kmq chooses)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1, MAX_THREADS),
        help="most threads to use (default: all cores, or KMQ_NUM_THREADS)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def run(arguments: argparse.Namespace) -> int:
    """Encode each picture and print a line about it."""
    _check_method(arguments.method)
    sources = paths.expand(arguments.pictures, paths.PICTURE_SUFFIXES)
    jobs = paths.plan(
        sources, arguments.output, ".kmq", into_folder=paths.names_several(arguments.pictures)
    )
    with announcing():
        return each(jobs, partial(_encode, arguments))


def _check_method(name: str | None) -> None:
    from kmq.stages.coding import strip_method

    try:
        strip_method(name)
    except InputError as error:
        raise UsageError(str(error)) from error


def _encode(arguments: argparse.Namespace, source: Path, target: Path, progress: Progress) -> str:
    from kmq.api import quantize
    from kmq.files import write

    started = time.perf_counter()
    paths.claim(target, force=arguments.force, source=source)
    image = quantize(
        source,
        arguments.k,
        seed=arguments.seed,
        n_threads=arguments.threads,
        progress=progress,
    )
    write(target, image, method=arguments.method, n_threads=arguments.threads)
    seconds = time.perf_counter() - started
    before, after = source.stat().st_size, target.stat().st_size
    psnr = decibels(image.report.psnr) if image.report is not None else "exact"
    return (
        f"{target}: {colors(image.n_colors)}, {before:,} → {after:,} bytes, "
        f"{8 * after / image.indices.size:.3f} bits per pixel, {psnr}, {seconds:.2f} s"
    )
