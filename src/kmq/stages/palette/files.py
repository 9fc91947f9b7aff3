"""Palettes ↔ the bytes of the files that other programs keep them in.

Readers take any bytes and return a palette or raise InputError; writers keep every sample or raise
InputError. Pictures and .kmq files are palettes, too, but are read elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kmq.errors import InputError
from kmq.model import alpha
from kmq.model.arrays import Array
from kmq.model.hexadecimal import format_hex, of_hex, parse_hex
from kmq.model.image import MAX_COLORS
from kmq.model.palette import Palette
from kmq.model.pixel_format import PixelFormat, of_shape

MAX_BYTES = 16 << 20
"""Longest file that is read: several times what 65,536 colours take in any of the formats."""

_ACT_COLORS = 256
_ACT_OPAQUE = 0xFFFF  # in place of the index of the transparent colour


class Kind(NamedTuple):
    """A kind of palette file.

    Attributes:
        title: what they are called.
        formats: pixel formats it can hold, the plainest first.
        most_colors: how many palette.
        read: bytes to a palette.
        write: a palette of one of its formats to bytes.
    """

    title: str
    formats: tuple[PixelFormat, ...]
    most_colors: int
    read: Callable[[bytes], Palette]
    write: Callable[[Palette], bytes]


def _palette(colors: Array, pixel_format: PixelFormat) -> Palette:
    """Return a palette, in which fully transparent colours are all 0."""
    _check_number(len(colors))
    typed = np.array(colors, pixel_format.dtype)
    return Palette(alpha.cleared(typed, pixel_format), pixel_format)


def _check_number(n_colors: int) -> None:
    if n_colors < 1:
        raise InputError("it holds no colours")
    if n_colors > MAX_COLORS:
        raise InputError(f"it has {n_colors} colours; a palette holds up to {MAX_COLORS}")


def _of_hex(colors: Sequence[str], *, alpha_first: bool = False) -> Palette:
    _check_number(len(colors))
    return _palette(*of_hex(colors, alpha_first=alpha_first))


def named_color(name: str) -> Palette:
    """Return the one colour that CSS means by a name or "#rrggbb", whose "#" may be left out.

    Raises:
        InputError: there is no such colour.
    """
    if parse_hex(name) is not None:
        return _of_hex([name])
    from PIL import ImageColor

    try:
        color = np.array([ImageColor.getrgb(name)])
    except ValueError:
        raise InputError(
            f"{name[:40]!r} is not a colour; colours are #rrggbb and names as in CSS, such as white"
        ) from None
    return _palette(color, of_shape(color.shape[1], 8))


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8-sig", "replace").splitlines()


def _byte_row(line: str, number: int, n_samples: int) -> list[int]:
    """Return the numbers that a line begins with."""
    words = line.split(maxsplit=n_samples)[:n_samples]
    samples = [int(word) for word in words if re.fullmatch("[0-9]{1,3}", word)]
    if len(samples) < n_samples or max(samples) > 255:
        raise InputError(
            f"line {number} is {line[:40]!r}; it must begin with {n_samples} numbers of 0 to 255"
        )
    return samples


def _read_gpl(content: bytes) -> Palette:
    lines = [line.strip() for line in _lines(content)]
    if lines[:1] != ["GIMP Palette"]:
        raise InputError("it does not begin with the line GIMP Palette")
    n_samples, rows = 3, []
    for number, line in enumerate(lines[1:], 2):
        if field := re.match(r"([A-Za-z]+):\s*(.*)", line):
            # Aseprite's and LibreSprite's extension.
            n_samples = 4 if field[1] == "Channels" and field[2] == "RGBA" else n_samples
        elif line and not line.startswith("#"):
            rows.append(_byte_row(line, number, n_samples))
            _check_number(len(rows))
    return _palette(np.array(rows), of_shape(n_samples, 8))


def _write_gpl(palette: Palette) -> bytes:
    lines = ["GIMP Palette", "Columns: 16", "#"]
    lines += [
        f"{red:3} {green:3} {blue:3}\t{format_hex((red, green, blue), palette.pixel_format)}"
        for red, green, blue in palette.colors.tolist()
    ]
    return ("\n".join(lines) + "\n").encode()


def _read_pal(content: bytes) -> Palette:
    if content.startswith(b"RIFF"):
        raise InputError("it is a Microsoft palette (RIFF); kmq reads .pal files of JASC")
    lines = [line.strip() for line in _lines(content)]
    if lines[:1] != ["JASC-PAL"]:
        raise InputError("it does not begin with the line JASC-PAL")
    if len(lines) < 3 or not re.fullmatch("[0-9]{1,5}", lines[2]):
        raise InputError("its third line does not say how many colours there are")
    color_lines = [(number, line) for number, line in enumerate(lines[3:], 4) if line]
    if len(color_lines) != int(lines[2]):
        raise InputError(f"it says that it has {int(lines[2])} colours, and has {len(color_lines)}")
    _check_number(len(color_lines))
    rows = [_byte_row(line, number, 3) for number, line in color_lines]
    return _palette(np.array(rows), PixelFormat.RGB24)


def _write_pal(palette: Palette) -> bytes:
    lines = ["JASC-PAL", "0100", str(len(palette.colors))]
    lines += ["{} {} {}".format(*color) for color in palette.colors.tolist()]
    return ("\r\n".join(lines) + "\r\n").encode()


def _read_act(content: bytes) -> Palette:
    table = 3 * _ACT_COLORS
    if len(content) not in (table, table + 4):
        raise InputError(f"it has {len(content)} bytes; a colour table has {table} or {table + 4}")
    colors = np.frombuffer(content[:table], np.uint8).reshape(-1, 3)
    n_colors = int.from_bytes(content[table : table + 2]) or _ACT_COLORS
    if n_colors > _ACT_COLORS:
        raise InputError(f"it says that it has {n_colors} colours; a colour table has up to 256")
    transparent = int.from_bytes(content[table + 2 :] or b"\xff\xff")
    if transparent >= n_colors:
        return _palette(colors[:n_colors], PixelFormat.RGB24)
    opacity = np.full((n_colors, 1), 255, np.uint8)
    opacity[transparent] = 0
    return _palette(np.hstack([colors[:n_colors], opacity]), PixelFormat.RGBA32)


def _write_act(palette: Palette) -> bytes:
    colors, transparent = palette.colors, _ACT_OPAQUE
    kinds = alpha.kinds(colors, palette.pixel_format)
    sheer = np.flatnonzero(kinds != alpha.OPAQUE)
    if len(sheer) > 1 or (kinds == alpha.TRANSLUCENT).any():
        raise InputError(
            "Adobe colour tables hold one fully transparent colour and no others with alpha"
        )
    if len(sheer):
        transparent = int(sheer[0])
    table = np.zeros((_ACT_COLORS, 3), np.uint8)
    table[: len(colors)] = colors[:, :3]
    return table.tobytes() + len(colors).to_bytes(2) + transparent.to_bytes(2)


def _read_hex(content: bytes) -> Palette:
    lines = _lines(content)
    # Its colours are aarrggbb, and its files say so in their first comment.
    from_paint_net = any(re.match(r"\s*;\s*paint\.net", line, re.IGNORECASE) for line in lines)
    words: list[str] = []
    for line in lines:
        if not line.lstrip().startswith("# "):
            words += line.partition(";")[0].replace(",", " ").split()
    return _of_hex(words, alpha_first=from_paint_net)


def _write_hex(palette: Palette) -> bytes:
    lines = [format_hex(color, palette.pixel_format) for color in palette.colors.tolist()]
    return ("\n".join(lines) + "\n").encode()


def _read_json(content: bytes) -> Palette:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from error
    label, colors = None, document
    if isinstance(document, dict):
        label = document.get("pixel_format")
        colors = document.get("palette", document.get("colors"))
    if not isinstance(colors, list):
        raise InputError('it has no list of colours, "palette" or "colors"')
    _check_number(len(colors))
    if all(isinstance(color, str) for color in colors):
        return _of_hex(colors)
    if not all(_is_color(color) for color in colors):
        raise InputError("a colour is neither a list of 1 to 4 numbers from 0 to 65535 nor a text")
    if len({len(color) for color in colors}) > 1:
        raise InputError("its colours differ in their number of samples")
    channels, largest = len(colors[0]), max(map(max, colors))
    if label is None:
        pixel_format = of_shape(channels, 16 if largest > 255 else 8)
    elif isinstance(label, str):
        pixel_format = PixelFormat.from_label(label)
    else:
        raise InputError("its pixel_format is not text")
    if channels != pixel_format.channels or largest > pixel_format.max_value:
        raise InputError(
            f"its colours have {channels} samples of up to {largest}; pixel format "
            f"{pixel_format.label} has {pixel_format.channels} of up to {pixel_format.max_value}"
        )
    return _palette(np.array(colors), pixel_format)


def _is_color(color: Any) -> bool:
    return (
        isinstance(color, list)
        and 1 <= len(color) <= 4
        and all(type(sample) is int and 0 <= sample <= 0xFFFF for sample in color)
    )


def _write_json(palette: Palette) -> bytes:
    colors = ",\n    ".join(map(json.dumps, palette.colors.tolist()))
    label = json.dumps(palette.pixel_format.label)
    return f'{{\n  "pixel_format": {label},\n  "palette": [\n    {colors}\n  ]\n}}\n'.encode()


_RGB, _RGBA = PixelFormat.RGB24, PixelFormat.RGBA32
_HEX = Kind(
    "hex lists",
    (_RGB, _RGBA, PixelFormat.RGB48, PixelFormat.RGBA64),
    MAX_COLORS,
    _read_hex,
    _write_hex,
)

KINDS = {
    ".gpl": Kind("GIMP palettes", (_RGB,), MAX_COLORS, _read_gpl, _write_gpl),
    ".act": Kind("Adobe colour tables", (_RGB, _RGBA), _ACT_COLORS, _read_act, _write_act),
    ".pal": Kind("JASC palettes", (_RGB,), MAX_COLORS, _read_pal, _write_pal),
    ".hex": _HEX,
    ".txt": _HEX,
    ".json": Kind("JSON palettes", tuple(PixelFormat), MAX_COLORS, _read_json, _write_json),
}
"""Kinds of files by their suffix."""
