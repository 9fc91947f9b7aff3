"""``kmq curve``: what each number of colours costs in error, as a table and as a plot."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmq.atomic import replacing
from kmq.cli import paths, pipes, steering
from kmq.cli.console import (
    DONE,
    Commands,
    UsageError,
    about,
    add_command,
    add_force_option,
    add_output_option,
    add_pixels_option,
    add_threads_option,
    colors,
    complain,
    decibels,
    limits,
    whole_number,
)
from kmq.errors import MissingExtraError
from kmq.model.image import MAX_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kmq.quantizing import ErrorCurve

_EXAMPLES = """\
  kmq curve photo.png
  kmq curve photo.png --max-colors 1024 -o curve.png
  kmq curve photo.png --json | jq .knee

The knee is where the curve is farthest below the straight line between its two ends, so it depends
on where the curve ends. To compare pictures, use one --max-colors for all of them.

keys of --json:
  knee    number of colours
  points  list of them: k, mse per pixel and psnr in decibels (null if nothing is lost)
"""

_SUFFIXES = (".png", ".svg", ".pdf")

_ALL_POWERS = 1024
"""Colours up to which there is room to write each power of two below the plot."""

_LINE, _ACCENT, _GRID = "#1f4e79", "#c0392b", "#d9d9d9"


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "curve",
        run,
        summary="show the error of a picture against the number of colours, and the knee",
        examples=_EXAMPLES,
    )
    parser.add_argument("picture", metavar="PICTURE", help="a picture or a .kmq file, or -")
    parser.add_argument(
        "--max-colors",
        type=whole_number(1, MAX_COLORS),
        default=256,
        metavar="N",
        help=f"where the curve ends, 1 to {MAX_COLORS} (default: 256); a longer one has its knee "
        "farther out",
    )
    steering.add_page_option(parser)
    add_output_option(
        parser,
        "CURVE.png",
        "also draw it: .png, .svg or .pdf, or -; needs matplotlib (pip install 'kmq[plot]')",
    )
    pipes.add_format_option(
        parser, [suffix.removeprefix(".") for suffix in _SUFFIXES], _SUFFIXES[0].removeprefix(".")
    )
    add_threads_option(parser)
    add_pixels_option(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_force_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the curve, and draw it if that was asked for."""
    from kmq.quantizing import error_curve

    out = (
        None
        if arguments.output is None
        else pipes.target(arguments.output, _SUFFIXES[0], arguments.format)
    )
    if out is not None:
        _check_drawable(out)
        paths.claim(out, force=arguments.force, source=paths.named(arguments.picture))
    source = pipes.source(arguments.picture)
    with about(source):
        curve = error_curve(
            source,
            arguments.max_colors,
            page=arguments.page,
            n_threads=arguments.threads,
            limits=limits(arguments),
        )
    if arguments.json:
        import json

        print(json.dumps(_as_json(curve), indent=2))
    else:
        print("\n".join(_lines(curve)))
    if out is not None:
        _save(_draw(curve, source.name), out)
        complain(f"wrote {out}")
    return DONE


def _lines(curve: ErrorCurve) -> Iterator[str]:
    yield f"{'k':>6}  {'mse':>12}  {'psnr':>9}"
    for k, mse, psnr in zip(curve.k, curve.mse, curve.psnr, strict=True):
        mark = f"  ← {_knee(curve)}" if k == curve.knee else ""
        yield f"{k:>6}  {mse:>12,.6g}  {decibels(psnr):>9}{mark}"


def _knee(curve: ErrorCurve) -> str:
    """Name the knee and the options that it depends on."""
    return f"knee of the curve to {colors(int(curve.k[-1]))}"


def _as_json(curve: ErrorCurve) -> dict[str, Any]:
    """Return plain numbers; a PSNR is null where the picture is exact."""
    return {
        "knee": curve.knee,
        "points": [
            {"k": k, "mse": mse, "psnr": None if math.isinf(psnr) else psnr}
            for k, mse, psnr in zip(
                curve.k.tolist(), curve.mse.tolist(), curve.psnr.tolist(), strict=True
            )
        ],
    }


def _check_drawable(out: Path) -> None:
    """Find out what would stop the plot before the work is done."""
    try:
        import matplotlib.backends.backend_agg  # noqa: F401  # whether it can be imported
    except ImportError as error:
        raise MissingExtraError("-o needs matplotlib: pip install 'kmq[plot]'") from error
    if out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"-o {out} must end in {', '.join(_SUFFIXES)}")


def _draw(curve: ErrorCurve, title: str) -> Figure:
    """Return PSNR above and root mean squared error below, each against k, with the knee."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 6.5), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    lossy = np.isfinite(curve.psnr)  # no scale has room for the PSNR of an exact picture
    _panel(upper, curve, curve.k[lossy], curve.psnr[lossy], "PSNR in dB")
    _panel(lower, curve, curve.k, np.sqrt(curve.mse), "root mean squared error per pixel")
    _ticks(lower, int(curve.k[-1]))
    psnr = decibels(curve.psnr[curve.k == curve.knee][0])
    legend = upper.legend(
        [upper.lines[-1]],
        [f"{colors(curve.knee)}, {psnr}: {_knee(curve)}"],
        loc="lower right",  # where a curve that rises leaves room
        framealpha=1,
    )
    legend.get_frame().set_edgecolor("none")
    upper.set_title(title, parse_math=False)
    lower.set_xlabel("colours")
    return figure


def _panel(axes: Axes, curve: ErrorCurve, ks: Any, values: Any, label: str) -> None:
    axes.plot(ks, values, color=_LINE, linewidth=1.8, marker="o", markersize=3)
    at_knee = ks == curve.knee
    axes.axvline(curve.knee, color=_ACCENT, linewidth=1, linestyle="--")
    axes.plot(ks[at_knee], values[at_knee], color=_ACCENT, marker="o", markersize=8, linestyle="")
    axes.set_ylabel(label)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _ticks(axes: Axes, most: int) -> None:
    """Scale k by doubling, and write it as it is, as often as there is room for."""
    powers = [2**power for power in range(0, most.bit_length(), 1 if most <= _ALL_POWERS else 2)]
    axes.set_xscale("log", base=2)
    axes.set_xticks(powers, [f"{power:,}" for power in powers])
    axes.set_xlim(0.9, max(1.1, most * 1.1))


def _save(figure: Figure, out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with replacing(out) as stream:
        FigureCanvasAgg(figure).print_figure(stream, format=out.suffix.lower().removeprefix("."))
