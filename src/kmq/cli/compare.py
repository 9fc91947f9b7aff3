"""``kmq compare``: two pictures beside each other, in numbers and to look at."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from kmq.atomic import replacing
from kmq.cli import paths, pipes, steering
from kmq.cli.console import DONE, Commands, about, add_command, complain, decibels, spoken
from kmq.cli.pictures import Picture, load
from kmq.errors import InputError

_EXAMPLES = """\
  kmq compare photo.png photo.kmq
  kmq compare photo.png photo.kmq --out side.png
  kmq compare photo.png photo.jpg            any two pictures of one size
"""

_GAP = 16  # pixels between two pictures side by side


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "compare",
        run,
        summary="compare two pictures: sizes, bits per pixel, MSE, PSNR, SSIM",
        examples=_EXAMPLES,
    )
    parser.add_argument("original", metavar="ORIGINAL", help="a picture or a .kmq file, or -")
    parser.add_argument("other", metavar="OTHER", help="a picture or a .kmq file, or -")
    steering.add_page_option(parser, "ORIGINAL, if it is animated or has pages")
    parser.add_argument(
        "-o", "--out", metavar="SIDE.png", help="write both, side by side; - is a PNG"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures, and write the picture that was asked for."""
    out = None if arguments.out is None else pipes.target(arguments.out, ".png")
    if out is not None:
        _check_suffix(out)
        for name in (arguments.original, arguments.other):
            paths.claim(out, force=arguments.force, source=Path(name))
    original_path, other_path = pipes.source(arguments.original), pipes.source(arguments.other)
    with about(original_path):
        original = load(original_path, arguments.page)
    with about(other_path):
        other = load(other_path)
    _check_comparable(original, other)
    print(spoken("\n".join(_figures(original, other))))
    if out is not None:
        _save_side_by_side(original, other, out)
        complain(f"wrote {out}")
    return DONE


def _check_suffix(out: Path) -> None:
    from PIL import Image

    Image.init()
    if Image.EXTENSION.get(out.suffix.lower()) not in Image.SAVE:
        raise InputError(f"{out} has no suffix of a picture file that Pillow writes")


def _check_comparable(original: Picture, other: Picture) -> None:
    ours, theirs = original.samples.shape[:2], other.samples.shape[:2]
    if ours != theirs:
        raise InputError(
            f"{original.path} has {ours[1]} × {ours[0]} pixels, {other.path} "
            f"{theirs[1]} × {theirs[0]}; only pictures of one size can be compared"
        )
    if original.pixel_format is not other.pixel_format:
        raise InputError(
            f"{original.path} is {original.pixel_format.label}, {other.path} "
            f"{other.pixel_format.label}; only pictures of one pixel format can be compared"
        )


def _figures(original: Picture, other: Picture) -> list[str]:
    from kmq.stages import metrics

    pixel_format = original.pixel_format
    has_alpha = pixel_format.has_alpha
    mse = metrics.mse(original.samples, other.samples, has_alpha=has_alpha)
    ssim = metrics.ssim(
        original.samples, other.samples, pixel_format.max_value, has_alpha=has_alpha
    )
    summed = "" if pixel_format.channels == 1 else f", summed over {pixel_format.channels} channels"
    return [
        f"both      {original.width} × {original.height} pixels, {pixel_format.label}",
        f"original  {_size(original)}  {original.path}",
        f"other     {_size(other)}  {other.path} "
        f"({other.file_size / original.file_size:.1%} of the original)",
        f"MSE       {mse:.4g} a pixel{summed}",
        f"PSNR      {decibels(metrics.psnr(mse, pixel_format))}",
        f"SSIM      {'needs 11 × 11 pixels' if math.isnan(ssim) else f'{ssim:.4f}'}",
    ]


def _size(picture: Picture) -> str:
    return f"{picture.file_size:>12,} bytes, {picture.bits_per_pixel:6.3f} bits per pixel"


def _save_side_by_side(original: Picture, other: Picture, out: Path) -> None:
    """Write both in 8 bits a sample, for the eye."""
    from PIL import Image

    from kmq.stages.display import to_screen

    halves = [to_screen(picture.samples, picture.pixel_format) for picture in (original, other)]
    width, height = halves[0].size
    sheet = Image.new(halves[0].mode, (2 * width + _GAP, height), "white")
    if sheet.has_transparency_data:
        sheet.putalpha(0)
    sheet.paste(halves[0], (0, 0))
    sheet.paste(halves[1], (width + _GAP, 0))
    with replacing(out) as stream:
        sheet.save(stream, Image.EXTENSION[out.suffix.lower()])
