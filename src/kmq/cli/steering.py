"""Options that say what a palette is to be like: spaces, weights, fixed colours and the rest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kmq.cli import pipes
from kmq.cli.console import (
    Options,
    UsageError,
    limits,
    positive_number,
    whole_number,
)
from kmq.errors import InputError
from kmq.stages.palette.spaces import SPACES

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.file_info import Limits

_MOST_BITS = 16
_MOST_PAGES = 65_536

_NOT_BESIDE_PALETTE = (
    *(
        "k",
        "psnr",
        "ssim",
        "max_mse",
        "max_colors",
        "fixed",
        "posterize",
        "snap",
        "weights",
    ),
)

_CODED_BY = ("ssim", "size", "bpp", "rate")


def add_options(parser: Options) -> None:
    """Add what steers a palette for one or many pictures."""
    parser.add_argument(
        "--space",
        choices=SPACES,
        default="rgb",
        help="where colours are compared: rgb for a small error, eye for looks (default: rgb)",
    )
    parser.add_argument(
        "--channel-weights",
        type=_weights,
        metavar="W,W,W",
        help="how much the error of each channel counts, alpha's last",
    )
    parser.add_argument(
        "--fixed",
        type=_color,
        action="append",
        metavar="COLOUR",
        help="a colour that must be in the palette: rrggbb, a name such as white, or background, "
        "what most of the border shows; may be repeated",
    )
    parser.add_argument(
        "--posterize",
        type=whole_number(1, _MOST_BITS),
        metavar="BITS",
        help="bits that a channel of a palette entry may have",
    )
    parser.add_argument(
        "--snap",
        action="store_true",
        help="make what is nearly black or nearly white so",
    )


def add_page_option(parser: Options, whose: str = "an animated file or one with pages") -> None:
    """Add the option for files with several pictures."""
    parser.add_argument(
        "--page",
        type=whole_number(1, _MOST_PAGES),
        metavar="N",
        help=f"which picture of {whose}, counted from 1",
    )


def add_picture_options(parser: Options) -> None:
    """Add what else steers the palette of one picture."""
    parser.add_argument(
        "--palette",
        metavar="FILE",
        help="map to the colours of this file, whatever kmq palette writes, instead of others",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="grey picture of the same size: the brighter, the more a pixel counts, and black "
        "leaves it out",
    )


def check(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the options of `add_picture_options` contradict others."""
    if arguments.palette is None:
        return
    for name in _NOT_BESIDE_PALETTE:
        if getattr(arguments, name):
            option = "-k" if name == "k" else "--" + name.replace("_", "-")
            raise UsageError(
                f"--palette and {option} are both given; a given palette is only mapped to"
            )


def asks_for_another(arguments: argparse.Namespace) -> bool:
    """Whether the options ask for another palette than an image has already."""
    names = (*_NOT_BESIDE_PALETTE, *_CODED_BY, "palette", "channel_weights", "dither")
    return arguments.space != "rgb" or any(getattr(arguments, name) for name in names)


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_options` say to `kmq.fit_palette` and `kmq.quantize`."""
    return {
        "space": arguments.space,
        "channel_weights": arguments.channel_weights,
        "fixed": arguments.fixed,
        "posterize": arguments.posterize,
        "snap": arguments.snap,
    }


def picture_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what all options here say to `kmq.quantize`; read the files they name.

    Raises:
        InputError, FormatError, OSError: one of those cannot be used.
    """
    chosen = options(arguments) | {"page": arguments.page}
    if arguments.palette is not None:
        from kmq.palettes import read_palette

        path = pipes.source(arguments.palette)
        read_palette(path)  # so that a fault of it is not said of each picture
        chosen["palette"] = path
    if arguments.weights is not None:
        chosen["weights"] = _grey(arguments.weights, "--weights", limits(arguments))
    return chosen


def _grey(path: str, option: str, limits: Limits) -> np.ndarray[Any, Any]:
    """Return a grey picture (height, width) from 0 to 1."""
    from kmq.model.formats import converted
    from kmq.model.pixel_format import PixelFormat
    from kmq.stages.pictures.reading import read_pixels

    pixels = read_pixels(pipes.source(path), limits=limits)
    wanted = PixelFormat.GREY16 if pixels.pixel_format.depth > 8 else PixelFormat.GREY8
    flat = pixels.samples.reshape(-1, pixels.pixel_format.channels)
    try:
        levels = converted(flat, pixels.pixel_format, wanted)
    except InputError as error:
        raise InputError(f"{option} {path} is no grey picture: {error}") from error
    shares: np.ndarray[Any, Any] = levels.reshape(pixels.samples.shape[:2]) / wanted.max_value
    return shares


def _weights(text: str) -> tuple[float, ...]:
    """Numbers above 0 between commas, as an argparse type."""
    return tuple(positive_number(weight) for weight in text.split(","))


def _color(text: str) -> str:
    """What names a colour, as an argparse type."""
    if text != "background":
        from kmq.stages.palette.files import named_color

        try:
            named_color(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text
