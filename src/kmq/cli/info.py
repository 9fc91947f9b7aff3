"""``kmq info``: what a file says about itself, without decoding its pixels."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kmq.cli import pipes
from kmq.cli.console import DONE, Commands, about, add_command, colors

if TYPE_CHECKING:
    import numpy as np

    from kmq.model import FileInfo, Metadata, PixelFormat

_EXAMPLES = """\
  kmq info photo.kmq
  kmq info photo.kmq --json | jq .bits_per_pixel
"""

_MOST_SWATCHES = 1024
"""Colours shown of a palette; --json lists them all."""

_MOST_ROWS = 32
"""Strips and chunks shown; --json lists them all."""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "info",
        run,
        summary="show header, palette, strips and chunks of a .kmq file",
        examples=_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE.kmq", help="one file, or -")
    parser.add_argument("--json", action="store_true", help="everything, for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print what `kmq.info` tells."""
    from kmq.files import info

    source = pipes.source(arguments.file)
    with about(source):
        facts = info(source)
    if arguments.json:
        import json

        print(json.dumps(as_json(facts), indent=2))
    else:
        print("\n".join(_lines(arguments.file, facts)))
    return DONE


def as_json(facts: FileInfo) -> dict[str, Any]:
    """Return the facts as plain numbers, strings, lists and dictionaries."""
    metadata = facts.metadata
    return {
        "version": facts.version,
        "pixel_format": facts.pixel_format.label,
        "width": facts.width,
        "height": facts.height,
        "n_colors": facts.n_colors,
        "file_size": facts.file_size,
        "bits_per_pixel": facts.bits_per_pixel,
        "memory": facts.memory,
        "parts": facts.parts,
        "ordered_palette_bytes": _ordered_size(facts),
        "palette": facts.palette.tolist(),
        "strip_height": facts.strip_height,
        "strips": [
            {
                "row": strip.row,
                "height": strip.height,
                "offset": strip.offset,
                "length": strip.length,
                "method": strip.method,
            }
            for strip in facts.strips
        ],
        "chunks": [
            {"letter": chunk.letter, "offset": chunk.offset, "length": chunk.length}
            for chunk in facts.chunks
        ],
        "metadata": {
            "icc_profile_bytes": len(metadata.icc_profile or b""),
            "exif_bytes": len(metadata.exif or b""),
            "xmp_bytes": len(metadata.xmp or b""),
            "dpi": metadata.dpi,
            "text": dict(metadata.text),
            "unknown": [
                {"letter": letter, "length": len(payload)} for letter, payload in metadata.extra
            ],
        },
    }


def _lines(name: str, facts: FileInfo) -> Iterator[str]:
    pixel_format = facts.pixel_format
    yield (
        f"{name}: {facts.width} × {facts.height} pixels, {pixel_format.label}, "
        f"{colors(facts.n_colors)}, format version {facts.version}"
    )
    yield _row("file", f"{facts.file_size:,} bytes, {facts.bits_per_pixel:.3f} bits per pixel")
    yield from _part_lines(facts)
    yield _row("memory", _memory_sum(facts))
    yield from _metadata_lines(facts.metadata)
    yield _row("strips", f"{len(facts.strips):,} of up to {facts.strip_height:,} rows")
    names = _method_names()
    strips = [
        f"rows {strip.row:,} to {strip.row + strip.height - 1:,}: "
        f"{names.get(strip.method, 'unknown method')} ({strip.method}), "
        f"{strip.length:,} bytes at {strip.offset:,}"
        for strip in facts.strips
    ]
    yield from _shortened(strips)
    yield _row("chunks", f"{len(facts.chunks):,}")
    chunks = [
        f"{chunk.letter}: {chunk.length:,} bytes at {chunk.offset:,}" for chunk in facts.chunks
    ]
    yield from _shortened(chunks)
    yield _row("palette", colors(facts.n_colors))
    yield from palette_lines(
        facts.palette, facts.pixel_format, indent=_row("", ""), rest="--json lists them all"
    )


def _part_lines(facts: FileInfo) -> Iterator[str]:
    """Say where the bytes are, and how many of the palette's are due to its order."""
    ordered = _ordered_size(facts)
    for part, size in facts.parts.items():
        line = f"{part:<9}{size:>13,} {size / facts.file_size:6.1%}"
        if part == "palette" and ordered < size:
            line += f"  {ordered:,} if in the order that kmq.quantize gives it"
        yield _row("", line)


def _ordered_size(facts: FileInfo) -> int:
    """Return the bytes that the palette would take in the order that codes best."""
    from kmq.stages.coding import encode_palette
    from kmq.stages.palette_tree import ascending

    return len(encode_palette(ascending(facts.palette)))


def _method_names() -> dict[int, str]:
    from kmq.stages.coding import STRIP_METHODS

    return {method.code: method.name for method in STRIP_METHODS}


def _row(label: str, text: str) -> str:
    return f"{label:<9}{text}"


def _memory_sum(facts: FileInfo) -> str:
    pixel_size = facts.pixel_format.bytes_per_pixel
    return (
        f"height × width × bytes per pixel = {facts.height} × {facts.width} × {pixel_size:g} "
        f"= {facts.memory:,.12g} bytes; the file is {facts.file_size:,} "
        f"({facts.file_size / facts.memory:.1%})"
    )


def _metadata_lines(metadata: Metadata) -> Iterator[str]:
    blocks = (
        ("icc", "colour profile", metadata.icc_profile),
        ("exif", "EXIF", metadata.exif),
        ("xmp", "XMP", metadata.xmp),
    )
    for label, title, block in blocks:
        if block is not None:
            yield _row(label, f"{title}, {len(block):,} bytes")
    if metadata.dpi is not None:
        yield _row("dpi", "{:g} × {:g}".format(*metadata.dpi))
    for keyword, text in metadata.text.items():
        yield _row("text", f"{keyword!r}: {text!r}")


def _shortened(lines: list[str]) -> Iterator[str]:
    yield from (_row("", line) for line in lines[:_MOST_ROWS])
    if len(lines) > _MOST_ROWS:
        yield _row("", f"… and {len(lines) - _MOST_ROWS:,} more; --json lists them all")


def palette_lines(
    palette: np.ndarray[Any, Any], pixel_format: PixelFormat, *, indent: str, rest: str
) -> Iterator[str]:
    """Show a palette: as blocks of colour on a terminal, in hexadecimal elsewhere.

    `rest` says where the others are if there are too many.
    """
    entries = palette[:_MOST_SWATCHES].tolist()
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        cells = [_swatch(entry, pixel_format) for entry in entries]
        widest, gap = 2, ""
    else:
        from kmq.stages.palette_files import format_hex

        cells = [format_hex(entry, pixel_format) for entry in entries]
        widest, gap = len(cells[0]) + 1, " "
    room = max(1, (shutil.get_terminal_size().columns - len(indent)) // widest)
    per_row = min(room, 32)
    for start in range(0, len(cells), per_row):
        yield indent + gap.join(cells[start : start + per_row])
    if len(palette) > _MOST_SWATCHES:
        yield f"{indent}… and {len(palette) - _MOST_SWATCHES:,} more; {rest}"


def _swatch(entry: list[int], pixel_format: PixelFormat) -> str:
    red, green, blue = displayed(entry, pixel_format)
    return f"\x1b[48;2;{red};{green};{blue}m  \x1b[0m"


def displayed(entry: list[int], pixel_format: PixelFormat) -> tuple[int, int, int]:
    """Return a palette entry as 8-bit RGB for a screen, laid over white where it has alpha."""
    samples = [sample / pixel_format.max_value for sample in entry]
    opacity = samples.pop() if pixel_format.has_alpha else 1.0
    if pixel_format.label == "CMYK":
        key = samples.pop()
        samples = [(1 - ink) * (1 - key) for ink in samples]
    if len(samples) == 1:
        samples *= 3
    red, green, blue = (round(255 * (1 - opacity + opacity * sample)) for sample in samples)
    return red, green, blue
