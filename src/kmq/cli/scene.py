"""A computed picture for whoever has none at hand: hills at dusk over a lake, behind a glass ball.

It has what palettes find hard: a wide smooth gradient, fine texture, a few vivid colours and an
alpha channel (rounded corners, a translucent ball). Noise comes from an integer hash, and floats
see only + - × ÷ and square roots, which IEEE 754 defines to the bit: every machine computes the
same picture.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

Plane = np.ndarray[Any, np.dtype[np.float64]]

HORIZON = 0.62
"""Height of the waterline, from 0 at the top to 1."""

SUN = (0.93, 0.455)
"""Centre of the sun, in units of the picture's height."""

BALL = (1.17, 0.70, 0.175)
"""Centre and radius of the glass ball, in units of the picture's height."""

BOAT = 0.36
"""Mast of the boat, in units of the picture's height."""

_RIDGES = (
    # crest, swing, bumps across, colour of the slope: from the farthest to the nearest
    (0.470, 0.130, 2.1, (146, 116, 138)),
    (0.530, 0.100, 3.3, (104, 88, 116)),
    (0.575, 0.075, 4.7, (64, 68, 84)),
    (0.612, 0.055, 7.9, (34, 46, 48)),
)
_SKY = (
    # height and colour of each stop of the gradient
    (0.00, (38, 58, 112)),
    (0.22, (88, 104, 158)),
    (0.40, (196, 148, 158)),
    (0.52, (250, 190, 130)),
    (0.62, (255, 222, 160)),
)


_BAND_ROWS = 16  # computed at a time: the many planes of a band stay in the cache


def scene(width: int = 768, height: int = 512) -> np.ndarray[Any, Any]:
    """Return (height, width, 4) uint8 RGBA, in proportions made for 3:2."""
    bands = [
        _band(width, height, np.arange(top, min(top + _BAND_ROWS, height)))
        for top in range(0, height, _BAND_ROWS)
    ]
    return np.vstack(bands)


def _band(width: int, height: int, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    pixel = 1 / height
    y, x = np.meshgrid((rows + 0.5) / height, (np.arange(width) + 0.5) / height, indexing="ij")
    color, opacity = _behind_glass(_land_or_lake(x, y, pixel), x, y, pixel)
    alpha = opacity * _rounded_frame(x, y, width / height, pixel)
    rgba = np.dstack((color, 255 * alpha))
    rgba = np.floor(np.clip(rgba, 0, 255) + 0.5).astype(np.uint8)
    rgba[rgba[:, :, 3] == 0] = 0
    return rgba


def _land_or_lake(x: Plane, y: Plane, pixel: float) -> Plane:
    """Colour of the view at any point, on or off the picture: (..., 3)."""
    depth = np.maximum(y - HORIZON, 0)
    swell = _noise(x * 9, y * 130, 11) - 0.5 + (_noise(x * 34, y * 420, 12) - 0.5) * 0.6
    mirrored = HORIZON - depth * 0.9 + swell * (0.006 + 0.30 * depth)
    shore = _step(HORIZON, y, pixel)
    above = _land(x, np.where(y < HORIZON, y, np.minimum(mirrored, HORIZON - 0.001)), pixel)
    lake = above * _rgb(0.74, 0.77, 0.86) + _rgb(4, 12, 24)
    glitter = _falloff((x - SUN[0]) / (0.03 + 0.30 * depth)) * _falloff((swell - 0.22) / 0.11)
    lake += _mask(glitter) * _rgb(150, 118, 72)
    return _mix(above, lake, shore)


def _land(x: Plane, y: Plane, pixel: float) -> Plane:
    """Sky, sun, clouds and the ridges before them."""
    color = _sky(x, y, pixel)
    for layer, (crest, swing, bumps, slope) in enumerate(_RIDGES):
        near = layer / (len(_RIDGES) - 1)
        outline = _fractal(x * bumps, np.full_like(x, layer * 7.3), 20 + layer, octaves=5) - 0.5
        # The nearest ridges carry trees: their outline is finely toothed.
        outline = outline + (_noise(x * 150, np.zeros_like(x), 30 + layer) - 0.5) * 0.14 * near
        inside = y - (crest - swing * outline)
        texture = _fractal(x * 40, y * 90, 40 + layer, octaves=4) - 0.5
        light = 1 + (0.25 + 0.75 * near) * texture
        haze = _mask(_unit(1 - inside / 0.16)) * _rgb(-10, -6, 6) + _rgb(16, 10, 2)
        warm = _mask(_falloff((x - SUN[0]) / 0.35) * (1 - 0.75 * near)) * _rgb(70, 38, 6)
        body = (_rgb(*slope) + haze * (1 - near) + warm) * _mask(light)
        color = _mix(color, body, _step(0, inside, pixel))
    return _boat(color, x, y, pixel)


def _boat(color: Plane, x: Plane, y: Plane, pixel: float) -> Plane:
    """A white hull on the waterline below a red mainsail and an orange jib."""
    ahead, up = x - BOAT, HORIZON - y
    mainsail = np.minimum(np.minimum(ahead, up - 0.018), (0.105 - up) * 0.52 - ahead)
    jib = np.minimum(np.minimum(-0.004 - ahead, up - 0.018), (0.090 - up) * 0.36 + ahead)
    hull = np.minimum(np.minimum(0.012 - up, up), 0.034 + 0.9 * up - np.abs(ahead - 0.008))
    shade = _mask(1 - 2.2 * np.maximum(ahead, 0) - 1.2 * up)
    color = _mix(color, _rgb(226, 52, 38) * shade, _step(0, mainsail, pixel))
    color = _mix(color, _rgb(255, 146, 44) * shade, _step(0, jib, pixel))
    return _mix(color, _rgb(246, 236, 226), _step(0, hull, pixel))


def _sky(x: Plane, y: Plane, pixel: float) -> Plane:
    color = np.broadcast_to(_rgb(*_SKY[0][1]), (*y.shape, 3))
    for (above, _), (below, stop) in pairwise(_SKY):
        color = _mix(color, _rgb(*stop), _unit((y - above) / (below - above)))
    away = np.sqrt((x - SUN[0]) ** 2 + (y - SUN[1]) ** 2)
    color = color + _mask(_falloff(away / 0.20)) * _rgb(70, 48, 10)
    drift = _fractal(x * 1.6 + 3.1, y * 8.5, 50, octaves=6)
    cloud = _smooth(_unit((drift - 0.50) / 0.26)) * _unit(1.15 - y / 0.52)
    lit = _mask(_falloff(away / 0.45))
    color = _mix(color, _rgb(168, 140, 168) + lit * _rgb(96, 72, 20), 0.8 * cloud)
    disc = _step(0, 0.046 - away, 1.5 * pixel)
    return _mix(color, _rgb(255, 248, 214), disc * (1 - 0.45 * cloud))


def _behind_glass(color: Plane, x: Plane, y: Plane, pixel: float) -> tuple[Plane, Plane]:
    """Return the colour with the ball before it, and the opacity of each pixel."""
    across, down = (x - BALL[0]) / BALL[2], (y - BALL[1]) / BALL[2]
    # The ball floats: a soft shadow lies on the water below it.
    shadow = _falloff(across / 0.8) * _falloff((down - 1.28) / 0.10) * _step(HORIZON, y, pixel)
    color = color * _mask(1 - 0.6 * shadow * shadow)
    opacity = np.ones_like(x)
    share = _step(0, 1 - np.sqrt(across * across + down * down), pixel / BALL[2])
    inside = share > 0
    glass, density = _glass(across[inside], down[inside], pixel)
    color[inside] = _mix(color[inside], glass, share[inside])
    opacity[inside] -= share[inside] * (1 - density)
    return color, opacity


def _glass(across: Plane, down: Plane, pixel: float) -> tuple[Plane, Plane]:
    """Return colour and opacity of points on the ball, in units of its radius from its centre."""
    radius = np.sqrt(across * across + down * down)
    # A ball shows the view upside down, wider towards its rim.
    bend = 0.62 / (0.30 + np.sqrt(np.maximum(1 - radius * radius, 0)))
    view = _land_or_lake(BALL[0] - across * bend * 0.42, 0.54 - down * bend * 0.40, pixel)
    rim = _unit((radius - 0.55) / 0.45)
    color = view * _rgb(0.86, 0.96, 1.0) * _mask(1 - 0.55 * rim * rim * rim)
    arc = _falloff((across * 0.6 + down - 0.75) / 0.16) * rim
    color += _mask(0.55 * arc) * _rgb(200, 225, 255)
    gleam = _falloff(((across + 0.38) ** 2 + (down + 0.46) ** 2) / 0.018)
    color = _mix(color, _rgb(255, 255, 255), _unit(gleam * 1.25 - 0.12))
    return color, 0.52 + 0.48 * _smooth(_unit(rim + gleam))


def _rounded_frame(x: Plane, y: Plane, aspect: float, pixel: float) -> Plane:
    """1 inside, 0 outside the rounded corners, the edge smoothed."""
    corner = 0.06
    across = np.maximum(np.abs(x - aspect / 2) - (aspect / 2 - corner), 0)
    down = np.maximum(np.abs(y - 0.5) - (0.5 - corner), 0)
    return _step(0, corner - np.sqrt(across * across + down * down), pixel)


def _noise(x: Plane, y: Plane, seed: int) -> Plane:
    """Value noise from 0 to 1: a hash at whole coordinates, smooth between them."""
    left, top = np.floor(x), np.floor(y)
    across, down = _smooth(x - left), _smooth(y - top)
    column, row = left.astype(np.int64), top.astype(np.int64)
    upper = _mix1(_hash(column, row, seed), _hash(column + 1, row, seed), across)
    lower = _mix1(_hash(column, row + 1, seed), _hash(column + 1, row + 1, seed), across)
    return _mix1(upper, lower, down)


def _fractal(x: Plane, y: Plane, seed: int, octaves: int) -> Plane:
    """Sum noise of doubled frequency and halved height; from 0 to 1."""
    total = np.zeros_like(x)
    for octave in range(octaves):
        scale = 2.0**octave
        total += _noise(x * scale, y * scale, seed + 101 * octave) / (2 * scale)
    return total / (1 - 0.5**octaves)


def _hash(column: Any, row: Any, seed: int) -> Plane:
    """Mix the bits of two whole numbers (the finalizer of MurmurHash3) to a number from 0 to 1."""
    mixed = column.astype(np.uint32) * np.uint32(0x9E3779B1)
    mixed ^= row.astype(np.uint32) * np.uint32(0x85EBCA77) + np.uint32(seed * 0x27D4EB2F % 2**32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    share: Plane = mixed / np.float64(2**32 - 1)
    return share


def _step(edge: float, position: Plane, pixel: float) -> Plane:
    """Rise from 0 to 1 over one pixel around `edge`."""
    return _unit((position - edge) / pixel + 0.5)


def _smooth(share: Plane) -> Plane:
    return share * share * (3 - 2 * share)


def _unit(value: Plane) -> Plane:
    return np.clip(value, 0, 1)


def _falloff(distance: Plane) -> Plane:
    """1 at 0, 1/4 at 1, towards 0 beyond: a bell made of a division."""
    bell = 1 / (1 + distance * distance)
    return bell * bell


def _mix1(first: Plane, second: Plane, share: Plane) -> Plane:
    return first + (second - first) * share


def _mix(first: Plane, second: Plane, share: Plane) -> Plane:
    """Blend colours by a plane of shares."""
    return first + (second - first) * _mask(share)


def _mask(plane: Plane) -> Plane:
    return plane[..., np.newaxis]


def _rgb(*color: float) -> Plane:
    return np.array(color, dtype=np.float64)
