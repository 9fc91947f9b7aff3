"""A palette in a terminal: blocks of colour, hexadecimal and shares; and for programs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.pixel_format import PixelFormat

_MOST = 256
"""Colours shown of a palette."""

_GAP = "   "
_SHARE_WIDTH = len(" 100.00%")

JSON_KEYS = """\
  pixel_format  of the palette's samples: RGB, RGBA, L …
  n_colors      entries of the palette
  palette       list of them, each a list of samples
  hex           list of them in hexadecimal
  counts        list of the pixels that show each entry
  shares        list of the same as shares of all pixels, 0 to 1
"""
"""What `as_json` returns, for help."""


def lines(
    palette: np.ndarray[Any, Any],
    pixel_format: PixelFormat,
    counts: np.ndarray[Any, Any] | None = None,
    *,
    indent: str = "",
    rest: str,
) -> Iterator[str]:
    """Show a palette in columns: each entry in hexadecimal, after a block of it on a terminal.

    Args:
        palette: (k, channels).
        pixel_format: what its entries are.
        counts: (k,) pixels of each entry, whose shares are shown, too.
        indent: what each line begins with.
        rest: says where the other entries are if there are too many.
    """
    from kmq.model.hexadecimal import format_hex

    entries = palette[:_MOST].tolist()
    cells = [format_hex(entry, pixel_format) for entry in entries]
    width = len(cells[0])
    if counts is not None:
        shares = (counts[:_MOST] / max(1, counts.sum())).tolist()
        cells = [
            f"{cell}{share_of(share):>{_SHARE_WIDTH}}"
            for cell, share in zip(cells, shares, strict=True)
        ]
        width += _SHARE_WIDTH
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        blocks = (_block(entry, pixel_format) for entry in entries)
        cells = [f"{block} {cell}" for block, cell in zip(blocks, cells, strict=True)]
        width += len("   ")
    room = shutil.get_terminal_size().columns - len(indent) + len(_GAP)
    per_row = max(1, room // (width + len(_GAP)))
    for start in range(0, len(cells), per_row):
        yield indent + _GAP.join(cells[start : start + per_row])
    if len(palette) > _MOST:
        yield f"{indent}… and {len(palette) - _MOST:,} more; {rest}"


def share_of(share: float) -> str:
    """Write a share of the pixels as a percentage."""
    return "< 0.01%" if 0 < share < 0.00005 else f"{share:.2%}"


def as_json(
    palette: np.ndarray[Any, Any],
    pixel_format: PixelFormat,
    counts: np.ndarray[Any, Any] | None = None,
) -> dict[str, Any]:
    """Return a palette as plain numbers, strings and lists; without counts those are None."""
    from kmq.model.hexadecimal import format_hex

    entries = palette.tolist()
    return {
        "pixel_format": pixel_format.label,
        "n_colors": len(entries),
        "palette": entries,
        "hex": [format_hex(entry, pixel_format) for entry in entries],
        "counts": None if counts is None else counts.tolist(),
        "shares": None if counts is None else (counts / max(1, counts.sum())).tolist(),
    }


def _block(entry: Sequence[int], pixel_format: PixelFormat) -> str:
    red, green, blue = displayed(entry, pixel_format)
    return f"\x1b[48;2;{red};{green};{blue}m  \x1b[0m"


def displayed(entry: Sequence[int], pixel_format: PixelFormat) -> tuple[int, int, int]:
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
