"""``kmq demo``: a picture, its .kmq files, and a page that shows them."""

from __future__ import annotations

import argparse
import html
import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmq.atomic import replacing
from kmq.cli import page, paths, pipes
from kmq.cli.console import (
    DONE,
    Commands,
    UsageError,
    add_command,
    add_force_option,
    add_output_option,
    colors,
    decibels,
    spoken,
)
from kmq.streams import is_url

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.image import IndexedImage

_EXAMPLES = """\
  kmq demo                  into the folder kmq-demo, which Git ignores
  kmq demo -o somewhere/
"""

_INTRODUCTION = (
    "kmq chooses the palette by k-means and keeps, for each pixel, which colour it shows. The "
    "chequered ground shows through where the picture is transparent: in its corners and in the "
    "glass."
)

PALETTE_SIZES = (4, 16, 64, 256)

_SHOWN_FIRST = 16
"""Colours next to the original at first: the loss shows, but is not all that matters."""

_STYLE = """\
.next { margin: 0; padding: 0; list-style: none; }
.next li + li { margin-top: .6rem; }
.next code { display: block; overflow-wrap: anywhere; }
.next span { color: var(--quiet); font-size: .9rem; }
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "demo",
        run,
        summary="make a picture, encode it at 4 to 256 colours, and write a page about it",
        examples=_EXAMPLES,
    )
    add_output_option(parser, "FOLDER", "default: kmq-demo", "kmq-demo")
    add_force_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the picture, a .kmq file for each number of colours, and the page."""
    if pipes.is_pipe(arguments.output):
        raise UsageError(f"-o {arguments.output} takes one file; for the demo's name a folder")
    if is_url(arguments.output):
        raise UsageError(f"-o {arguments.output} is a URL; the demo writes to a folder here")
    folder = Path(arguments.output)
    picture_path, page_path = folder / "demo.png", folder / "demo.html"
    kmq_paths = {k: folder / f"demo-{k}.kmq" for k in PALETTE_SIZES}
    is_new = not folder.exists()
    for path in (picture_path, page_path, *kmq_paths.values()):
        paths.claim(path, force=arguments.force)
    if is_new:  # a demonstration is no part of the project whose folder it may be made in
        (folder / ".gitignore").write_text("*\n")
    from kmq.cli.scene import scene

    picture = scene()
    original = _png_of_samples(picture)
    _write(picture_path, original, "the picture, 24-bit colour and alpha")
    figures = {k: _encode(picture, k, path) for k, path in kmq_paths.items()}
    shown = page.document(
        "kmq: one picture in few colours",
        _INTRODUCTION,
        [
            _what_is_lost(picture, original, figures),
            *(page.render(figure) for figure in figures.values()),
            _next(picture_path, kmq_paths[_SHOWN_FIRST]),
        ],
        command_line=arguments.command_line,
        style=_STYLE,
    )
    _write(page_path, shown, "open it in a browser")
    return DONE


def _what_is_lost(
    picture: np.ndarray[Any, Any], original: bytes, figures: Mapping[int, page.Figure]
) -> str:
    """Return the original and all results under one slider."""
    import numpy as np

    n_colors = len(np.unique(picture.reshape(-1, 4), axis=0))
    facts = [f"{n_colors:,} colours", f"{len(original):,} bytes as PNG"]
    slider = page.slider(
        original,
        {figure.title: figure.png for figure in figures.values()},
        *picture.shape[:2],
        chosen=figures[_SHOWN_FIRST].title,
    )
    return page.wide("What is lost", slider + page.caption("The original", facts))


def _next(picture: Path, encoded: Path) -> str:
    """Return what to do next: command lines that can be run as they are, and one that cannot."""
    steps = (
        (f"kmq report {_quoted(picture)} -k 16", "where the error is, other sizes and formats"),
        (f"kmq info {_quoted(encoded)}", "what a file says about itself"),
        (f"kmq compare {_quoted(picture)} {_quoted(encoded)}", "what was lost, in figures"),
        (f"kmq decode {_quoted(encoded)}", "back to a picture that other programs open"),
        ("kmq report photo.png", "the same for a picture of yours"),
        ("kmq --help", "all commands"),
    )
    items = "".join(
        f"<li><code>{html.escape(command)}</code> <span>{what}</span></li>\n"
        for command, what in steps
    )
    return page.wide("Where to go next", f'<ul class="next">\n{items}</ul>\n')


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _encode(picture: np.ndarray[Any, Any], k: int, path: Path) -> page.Figure:
    """Write the picture in `k` colours, and return what the page shows of it."""
    from kmq.cli.peers import similarity
    from kmq.display import css_colors
    from kmq.files import encode
    from kmq.quantizing import quantize

    image = quantize(picture, k)
    encoded = encode(image)
    bits = 8 * len(encoded) / image.indices.size
    reached, looks = similarity(picture, image.to_array(), image.pixel_format)
    psnr = decibels(reached)
    _write(path, encoded, f"{colors(image.n_colors)}, {bits:.3f} bits per pixel, {psnr}")
    png = _png_of_image(image)
    facts = [
        f"{len(encoded):,} bytes as .kmq ({len(png):,} as PNG)",
        f"{bits:.3f} bits per pixel",
        f"PSNR {psnr}, SSIMULACRA2 {looks:.1f}",
    ]
    swatches = css_colors(image.palette, image.pixel_format)
    return page.Figure(colors(image.n_colors), png, image.width, facts, swatches)


def _png_of_samples(samples: np.ndarray[Any, Any]) -> bytes:
    from PIL import Image

    return _png(Image.fromarray(samples))


def _png_of_image(image: IndexedImage) -> bytes:
    return _png(image.to_pillow())


def _png(picture: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _write(path: Path, content: bytes, remark: str) -> None:
    with replacing(path) as stream:
        stream.write(content)
    print(f"{spoken(str(path))}: {len(content):,} bytes, {remark}", flush=True)
