"""``kmq report``: a page on which a picture and its few colours can be looked at from all sides."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from kmq.atomic import replacing
from kmq.cli import batch, encode, paths, steering
from kmq.cli.console import Commands, Progress, add_command, colors, decibels

_EXAMPLES = """\
  kmq report photo.png                      64 colours, into photo.html
  kmq report photo.png -k 16 -o report.html
  kmq report photo.png --psnr 35            the smallest file found of at least 35 dB
  kmq report photo.kmq                      what a .kmq file holds
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "report",
        run,
        summary="make a page that shows a picture in few colours, its error, palette and sizes",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", help="file, folder, pattern, URL or -"
    )
    batch.add_options(parser, "REPORT.html", ".html")
    encode.add_encoding_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write a page for each picture and print a line about it."""
    encode.check_encoding_options(arguments)
    kinds = paths.PICTURE_SUFFIXES | {".kmq"}
    jobs = batch.plan(arguments.pictures, kinds, arguments.output, lambda _: ".html")
    chosen = steering.picture_options(arguments)
    return batch.each(jobs, partial(_report, arguments, chosen), arguments, weighs=False)


def _report(
    arguments: argparse.Namespace,
    chosen: dict[str, Any],
    source: Path,
    target: Path,
    progress: Progress,
) -> str:
    from kmq.cli.report_page import render
    from kmq.cli.study import study

    figures = study(
        source,
        encode.target_options(arguments),
        encode.quantize_options(arguments, chosen),
        encode.encode_options(arguments),
        progress,
        keep_image=not steering.asks_for_another(arguments),
    )
    page = render(figures, arguments.command_line)
    with replacing(target) as stream:
        stream.write(page)
    return (
        f"{target}: {len(page):,} bytes; {colors(figures.image.n_colors)}, "
        f"{figures.size:,} bytes as .kmq, {decibels(figures.psnr)}"
    )
