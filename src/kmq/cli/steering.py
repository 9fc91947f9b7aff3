"""Options of a palette: spaces, weights, fixed colours and the rest."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from kmq.checks import MAX_SEED
from kmq.cli import pipes
from kmq.cli.console import (
    Options,
    UsageError,
    limits,
    number_within,
    positive_number,
    whole_number,
)
from kmq.errors import InputError
from kmq.model.image import MAX_PAGES
from kmq.model.pixel_format import MAX_DEPTH
from kmq.stages.palette.clustering import MAX_ROUNDS, MAX_STARTS
from kmq.stages.palette.spaces import SPACES
from kmq.streams import is_url

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.file_info import Limits
    from kmq.values import Start

_NAMES = {
    "k": "-k",
    "rate": "--lambda",
    **{
        name: "--" + name.replace("_", "-")
        for name in (
            *("max_colors", "quality", "psnr", "max_mse", "size", "bpp", "fewest", "dither"),
            "optimize",
            *("palette", "weights", "fixed", "posterize", "snap"),
        )
    },
}
"""Options by the words that `kmq.contradictions.CONTRADICTIONS` has for them."""

_START = ("init", "n_init", "max_iter", "tol", "seed")
"""Fields of `kmq.Start`, and the options that fill them."""


def add_options(parser: Options) -> None:
    """Add what steers a palette for one or many pictures."""
    parser.add_argument(
        "--space",
        choices=SPACES,
        help="where colours are compared: eye for looks (the default), or rgb for a small squared "
        "error (the default for CMYK, --channel-weights, --init, --psnr and --max-mse)",
    )
    parser.add_argument(
        "--channel-weights",
        type=_weights,
        metavar="W,W,W",
        help="weight of the error in each channel, alpha last",
    )
    parser.add_argument(
        "--fixed",
        type=_color,
        action="append",
        metavar="COLOUR",
        help="a colour that must be in the palette: rrggbb, a name such as white, or background "
        "for the most frequent colour of the border; may be repeated",
    )
    parser.add_argument(
        "--posterize",
        type=whole_number(1, MAX_DEPTH),
        metavar="BITS",
        help="keep only this many bits per channel in the palette",
    )
    parser.add_argument(
        "--snap",
        action="store_true",
        help="make nearly black entries black and nearly white ones white",
    )


def add_start_options(parser: Options) -> None:
    """Add what asks for plain k-means in place of the search."""
    parser.add_argument(
        "--init",
        metavar="START",
        help="start of plain k-means: k-means++ (the default with an option below), "
        "'k-means||', random, var-part, or a file with a palette",
    )
    parser.add_argument(
        "--n-init",
        type=whole_number(1, MAX_STARTS),
        metavar="N",
        help="random starts to try; the best is kept (default: 1)",
    )
    parser.add_argument(
        "--max-iter",
        type=whole_number(1, MAX_ROUNDS),
        metavar="N",
        help="most rounds (default: 300)",
    )
    parser.add_argument(
        "--tol",
        type=number_within(0, math.inf),
        metavar="T",
        help="stop when the centres move less than this share of the variance (default: 0.0001)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, MAX_SEED),
        metavar="N",
        help="seed of random starts; the same seed gives the same file (default: 0)",
    )


def add_page_option(parser: Options, whose: str = "an animated file or one with pages") -> None:
    """Add the option for files with several pictures."""
    parser.add_argument(
        "--page",
        type=whole_number(1, MAX_PAGES),
        metavar="N",
        help=f"which picture of {whose}, counted from 1",
    )


def add_picture_options(parser: Options) -> None:
    """Add what else steers the palette of one picture."""
    parser.add_argument(
        "--palette",
        metavar="FILE",
        help="use the palette of this file instead of finding one; any kind that kmq palette "
        "writes, or a picture",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="grey picture of the same size: brighter pixels count more, black ones not at all",
    )


def check(arguments: argparse.Namespace, *, effort_searches: bool = False) -> None:
    """Raise UsageError if options contradict each other.

    `effort_searches` tells that ``--effort`` is about the palette alone.
    """
    from kmq.contradictions import refuse_contradictions

    names = dict(_NAMES)
    for name in reversed(_START):
        if getattr(arguments, name) is not None:
            names[name] = "--" + name.replace("_", "-")
    given = {word: name for word, name in names.items() if _is_given(arguments, word)}
    if "fewest" in given:  # with one of these
        for word in ("psnr", "max_mse", "max_colors"):
            given.pop(word, None)
    started = [given.pop(name) for name in _START if name in given]
    if started:
        given["start"] = started[0]
    if started and _starts_from_file(arguments):
        given["init"] = started[0]
    if effort_searches and arguments.effort is not None:
        given["effort"] = "--effort"
    try:
        refuse_contradictions(given)
    except InputError as error:
        raise UsageError(str(error)) from error


def _is_given(arguments: argparse.Namespace, name: str) -> bool:
    value = getattr(arguments, name, None)
    return value is not None and value is not False


def _starts_from_file(arguments: argparse.Namespace) -> bool:
    from kmq.stages.palette.starting import INITS

    return arguments.init is not None and arguments.init not in INITS


def asks_for_another(arguments: argparse.Namespace) -> bool:
    """Whether the options ask for another palette than an image has already."""
    return option_of_colors(arguments) is not None


def option_of_colors(arguments: argparse.Namespace) -> str | None:
    """Return the name of an option that is given and asks for colours, or None."""
    for name in (*_NAMES, *_START, "channel_weights", "space"):
        if _is_given(arguments, name):
            return _NAMES.get(name, "--" + name.replace("_", "-"))
    return None


def options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say to `kmq.fit_palette` and `kmq.quantize`.

    Raises:
        UsageError: a value that cannot be meant.
        InputError, OSError: a file to start from cannot be used.
    """
    from kmq.values import Require, Space

    try:
        require = Require(fixed=arguments.fixed, snap=arguments.snap, posterize=arguments.posterize)
        space = Space(arguments.space, channel_weights=arguments.channel_weights)
    except InputError as error:
        raise UsageError(str(error)) from error
    return {"space": space, "require": require, "start": _start(arguments)}


def _start(arguments: argparse.Namespace) -> Start | None:
    from kmq.values import Start

    given: dict[str, Any] = {name: getattr(arguments, name) for name in _START}
    if not any(value is not None for value in given.values()):
        return None
    if _starts_from_file(arguments):
        from kmq.palettes import read_palette

        given["init"] = read_palette(pipes.source(arguments.init))
    try:
        return Start(**given)
    except InputError as error:
        raise UsageError(str(error)) from error


def picture_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what all options here say to `kmq.quantize`; read the files they name.

    Raises:
        InputError, FormatError, OSError: one of those cannot be used.
    """
    chosen = options(arguments) | {"page": arguments.page}
    if arguments.palette is not None:
        from kmq.palettes import read_palette

        name = arguments.palette
        path = name if is_url(name) else pipes.source(name)  # workers elsewhere read URLs, too
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
        raise InputError(f"{option} {path} is not a grey picture: {error}") from error
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
