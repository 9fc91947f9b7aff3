"""``kmq compare``: two pictures side by side, in numbers and to look at."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmq.atomic import replacing
from kmq.cli import paths, pipes, steering
from kmq.cli.console import (
    DONE,
    FAILURES,
    Commands,
    UsageError,
    about,
    add_command,
    add_force_option,
    add_output_option,
    add_pixels_option,
    add_work_option,
    complain,
    decibels,
    limits,
    named,
    spoken,
)
from kmq.cli.pictures import Picture, load
from kmq.errors import InputError

_EXAMPLES = """\
  kmq compare photo.png photo.kmq
  kmq compare photo.png photo.kmq -o side.png
  kmq compare photo.png photo.jpg            any two pictures of one size
  kmq compare photo.png photo.kmq --json | jq .psnr

Pictures of different pixel formats are compared in the simplest that holds both: grey and RGB as
RGB, 8 and 16 bits as 16, opaque RGBA and RGB as RGB.

keys of --json:
  width, height
  pixel_format     in which they are compared
  original, other  file, file_size in bytes, bits_per_pixel, pixel_format
  mse              mean squared error per pixel, summed over the channels
  psnr             the same in decibels, or null if they are equal
  ssimulacra2      how it looks: 100 is equal, 90 cannot be told apart, 70 is high quality,
                   50 medium, 30 low
"""

_GAP = 16  # pixels between two pictures side by side


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "compare",
        run,
        summary="compare two pictures: sizes, bits per pixel, MSE, PSNR, SSIMULACRA2",
        examples=_EXAMPLES,
    )
    parser.add_argument("original", metavar="ORIGINAL", help="a picture or a .kmq file, or -")
    parser.add_argument("other", metavar="OTHER", help="a picture or a .kmq file, or -")
    steering.add_page_option(parser, "ORIGINAL, if it is animated or has pages")
    add_output_option(parser, "SIDE.png", "write both, side by side; - is a PNG")
    add_pixels_option(parser)
    add_work_option(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_force_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the figures, and write the picture that was asked for."""
    out = None if arguments.output is None else pipes.target(arguments.output, ".png")
    if out is not None:
        _check_suffix(out)
        for name in (arguments.original, arguments.other):
            paths.claim(out, force=arguments.force, source=paths.named(name))
    original_path, other_path = pipes.source(arguments.original), pipes.source(arguments.other)
    with about(original_path):
        original = load(original_path, arguments.page, limits(arguments))
    with about(other_path):
        other = load(other_path, None, limits(arguments))
    _check_sizes(original, other)
    figures = _Figures.of(original, other)
    if arguments.json:
        import json

        print(json.dumps(figures.as_json(), indent=2))
    else:
        print("\n".join(map(spoken, figures.lines())))
    if out is not None:
        _save_side_by_side(figures.compared, out)
        complain(f"wrote {out}")
    return DONE


def _check_suffix(out: Path) -> None:
    from PIL import Image

    Image.init()
    if Image.EXTENSION.get(out.suffix.lower()) not in Image.SAVE:
        raise UsageError(f"-o {out} does not have the suffix of a picture that Pillow writes")


def _check_sizes(original: Picture, other: Picture) -> None:
    ours, theirs = original.samples.shape[:2], other.samples.shape[:2]
    if ours != theirs:
        raise InputError(
            f"{original.path} has {ours[1]} × {ours[0]} pixels, {other.path} "
            f"{theirs[1]} × {theirs[0]}; only pictures of one size can be compared"
        )


@dataclass(frozen=True, eq=False)
class _Figures:
    """How far two pictures are from each other.

    Attributes:
        original: as it was read.
        other: the same.
        compared: both in one pixel format.
        mse: mean squared error per pixel, summed over the channels.
        psnr: in decibels, infinite if they are equal.
        ssimulacra2: how close the other looks to the original, 100 if they are equal.
    """

    original: Picture
    other: Picture
    compared: tuple[Picture, Picture]
    mse: float
    psnr: float
    ssimulacra2: float

    @classmethod
    def of(cls, original: Picture, other: Picture) -> _Figures:
        """Compare two pictures of one size."""
        from kmq.stages.mapping import metrics
        from kmq.stages.mapping.ssimulacra2 import ssimulacra2
        from kmq.threads import resolve_threads

        compared = _in_one_format(original, other)
        pixel_format, has_alpha = compared[0].pixel_format, compared[0].pixel_format.has_alpha
        first, second = (picture.samples for picture in compared)
        mse = metrics.mse(first, second, has_alpha=has_alpha)
        looks = ssimulacra2(first, second, pixel_format, resolve_threads(None))
        return cls(original, other, compared, mse, metrics.psnr(mse, pixel_format), looks)

    def _note_of_size(self) -> str:
        from kmq.stages.mapping.ssimulacra2 import SMALL

        side = min(self.original.width, self.original.height)
        if side >= SMALL or self.ssimulacra2 == 100:
            return ""
        return f", which says little where a side is below {SMALL} pixels"

    def lines(self) -> Iterator[str]:
        """Say it in words."""
        original, other, pixel_format = self.original, self.other, self.compared[0].pixel_format
        formats = {picture.pixel_format for picture in (original, other, *self.compared)}
        differ = len(formats) > 1
        n_summed = pixel_format.channels - pixel_format.has_alpha
        summed = "" if n_summed == 1 else f", summed over {n_summed} channels"
        yield (
            f"both         {original.width} × {original.height} pixels, "
            f"{'compared as ' if differ else ''}{pixel_format.label}"
        )
        yield f"original     {_about(original, differ)}  {original.path}"
        yield (
            f"other        {_about(other, differ)}  {other.path} "
            f"({other.file_size / original.file_size:.1%} of the original)"
        )
        yield f"MSE          {self.mse:.4g} per pixel{summed}"
        yield f"PSNR         {decibels(self.psnr)}"
        yield f"SSIMULACRA2  {self.ssimulacra2:.2f} of 100{self._note_of_size()}"

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers and strings; None where a figure is infinite or undefined."""
        return {
            "width": self.original.width,
            "height": self.original.height,
            "pixel_format": self.compared[0].pixel_format.label,
            **{
                name: {
                    "file": named(str(picture.path)),
                    "file_size": picture.file_size,
                    "bits_per_pixel": picture.bits_per_pixel,
                    "pixel_format": picture.pixel_format.label,
                }
                for name, picture in (("original", self.original), ("other", self.other))
            },
            "mse": self.mse,
            "psnr": None if math.isinf(self.psnr) else self.psnr,
            "ssimulacra2": self.ssimulacra2,
        }


def _about(picture: Picture, with_format: bool) -> str:
    text = f"{picture.file_size:>12,} bytes, {picture.bits_per_pixel:6.3f} bits per pixel"
    return f"{text}, {picture.pixel_format.label}" if with_format else text


def _in_one_format(original: Picture, other: Picture) -> tuple[Picture, Picture]:
    """Return both in the plainest pixel format that holds all their colours."""
    from kmq.model.formats import common_format, without_alpha

    try:
        wanted = common_format(original.pixel_format, other.pixel_format)
    except InputError as error:
        raise InputError(f"{original.path} and {other.path} cannot be compared: {error}") from error
    if wanted.has_alpha and original.is_opaque() and other.is_opaque():
        wanted = without_alpha(wanted)
    return original.in_format(wanted), other.in_format(wanted)


def _save_side_by_side(pictures: tuple[Picture, Picture], out: Path) -> None:
    """Write both in 8 bits per sample, for the eye."""
    from PIL import Image

    from kmq.display import to_screen

    halves = [to_screen(picture.samples, picture.pixel_format) for picture in pictures]
    width, height = halves[0].size
    sheet = Image.new(halves[0].mode, (2 * width + _GAP, height), "white")
    if sheet.has_transparency_data:
        sheet.putalpha(0)
    sheet.paste(halves[0], (0, 0))
    sheet.paste(halves[1], (width + _GAP, 0))
    with about(out), replacing(out) as stream:
        try:
            sheet.save(stream, Image.EXTENSION[out.suffix.lower()])
        except FAILURES:
            raise
        except Exception as error:  # whatever an encoder raises for a picture that it cannot do
            raise InputError(f"Pillow could not write it: {error}") from error
