"""Colours ↔ the coordinates they are clustered in.

In each space the squared distance of two rows of coordinates is the squared error that counts:

- ``rgb``: the samples as they are.
- ``linear``: proportional to light (IEC 61966-2-1).
- ``eye``: XYB, the opponent colours of JPEG XL (ISO/IEC 18181-1), with weights for palettes.
- ``oklab``: Oklab (Ottosson 2020), where equal distances look about equal.
- ``lab``: CIE L*a*b*, D65.

Coordinates are scaled so that white is about as far from black as in ``rgb``. Colours with alpha
are compared as they look over black and over white. Let t be the coordinates of a colour without
alpha and w those of white (black's are 0). The mean of the two squared errors is
|Δ(a · (t - w/2))|² + |w/2|² (Δa)², so a · (t - w/2) and a · |w/2| are its coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from kmq import exact
from kmq.lazily import computed_once
from kmq.model import alpha, srgb
from kmq.model.pixel_format import PixelFormat
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

SpaceName = Literal["eye", "rgb", "linear", "oklab", "lab"]
SPACES: tuple[SpaceName, ...] = get_args(SpaceName)

_RED_GREEN, _BLUE_YELLOW = 8.0, 1.0
"""Factors of the two axes of chroma of "eye"; docs/EYE.md has what others gave."""

_CHUNK = 1 << 15
"""Colours converted at a time."""

_TRIED = 1 << 13
"""Coordinates whose nearest colours are looked for at a time."""


class _Roots(NamedTuple):
    """A space whose axes mix roots of what three kinds of cones take in.

    Coordinates are axes · (root(cones · light + bias) - root(bias)), where root is the cube root
    and below `knee` the line that meets it there.
    """

    cones: Array
    axes: Array
    bias: float = 0.0
    knee: float = 0.0

    def forward(self, light: Array, n_axes: int) -> Array:
        """Return the first (n, n_axes) coordinates of (n, 3) light in 0 … 1."""
        from kmq.kernels.spaces import fill_coordinates

        coordinates = np.empty((len(light), n_axes))
        axes = self.axes[:n_axes]
        fill_coordinates(light, self.cones, self.bias, self.knee, axes, coordinates)
        return coordinates


_XYB_WHITE = 0.8453085  # ∛(1 + bias) - ∛bias

_ROOTS = {
    "eye": _Roots(
        cones=srgb.XYB_CONES,
        axes=np.array(
            [
                [0.5, 0.5, 0],
                [0.5 * _RED_GREEN, -0.5 * _RED_GREEN, 0],
                [-0.5 * _BLUE_YELLOW, -0.5 * _BLUE_YELLOW, _BLUE_YELLOW],
            ]
        )
        / _XYB_WHITE,
        bias=srgb.XYB_BIAS,
    ),
    "oklab": _Roots(
        cones=np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ),
        axes=np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        ),
    ),
    "lab": _Roots(
        cones=np.array(  # XYZ over the white point D65, so that white is 1, 1, 1
            [
                [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
                [0.2126729, 0.7151522, 0.0721750],
                [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
            ]
        ),
        axes=np.array([[0, 1.16, 0], [5, -5, 0], [0, 2, -2]]),
        knee=6 / 29,
    ),
}


class _Inverses(NamedTuple):
    """What undoes a space of roots: inverse matrices, and the root of the bias."""

    axes: Array
    cones: Array
    root_of_bias: float


@lru_cache(maxsize=len(_ROOTS))
def _inverses(name: str) -> _Inverses:
    space = _ROOTS[name]
    root = float(exact.power(space.bias, 1 / 3)) if space.bias else 2 * space.knee / 3
    return _Inverses(exact.inverse(space.axes), exact.inverse(space.cones), root)


def _light_at(coordinates: Array, name: str) -> Array:
    """Return the (n, 3) light of coordinates (n, 3) in a space of roots, out of gamut where they
    are."""
    inverses, bias, knee = _inverses(name), _ROOTS[name].bias, _ROOTS[name].knee
    roots = exact.times(coordinates, inverses.axes) + inverses.root_of_bias
    cones = np.where(roots > knee, roots * roots * roots, knee * knee * (3 * roots - 2 * knee))
    return exact.times(cones - bias, inverses.cones)


@dataclass(frozen=True)
class Space:
    """One space for the colours of one pixel format.

    Attributes:
        name: one of SPACES; "rgb" alone is for CMYK.
        pixel_format: what the colours are.
        channel_weights: factor of each coordinate's squared error, alpha's last; None is all 1.
    """

    name: str
    pixel_format: PixelFormat
    channel_weights: tuple[float, ...] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether coordinates are the samples themselves."""
        return (
            self.name == "rgb" and self.channel_weights is None and not self.pixel_format.has_alpha
        )

    @property
    def is_chroma(self) -> list[bool]:
        """Which coordinates are of chroma alone."""
        n_solid = self.pixel_format.channels - self.pixel_format.has_alpha
        return [
            self.name in _ROOTS and 0 < axis < n_solid for axis in range(self.pixel_format.channels)
        ]

    @computed_once
    def contrast(self) -> float:
        """The distance of white from black."""
        black, white = self.ends
        return math.sqrt(np.square(white - black).sum())

    @computed_once
    def ends(self) -> Array:
        """The coordinates (2, channels) of black and of white, both opaque."""
        ends = np.zeros((2, self.pixel_format.channels))
        ends[1] = self.pixel_format.max_value
        if self.pixel_format.has_alpha:
            ends[0, -1] = self.pixel_format.max_value
        return self.forward(ends)

    @computed_once
    def opaque(self) -> float:
        """The last coordinate of opaque colours, where there is alpha."""
        white = np.full((1, self.pixel_format.channels), self.pixel_format.max_value)
        return float(self.forward(white)[0, -1])

    def forward(self, colors: Array) -> Array:
        """Return the (n, channels) float64 coordinates of (n, channels) colours."""
        if self.is_identity:
            samples: Array = np.asarray(colors, np.float64)
            return samples
        if self.pixel_format.has_alpha:
            alpha = colors[:, -1:] / np.float64(self.pixel_format.max_value)
            half = self._white / 2
            color_axes = self._color_axes(colors[:, :-1]) - half
            coordinates = np.hstack([alpha * color_axes, alpha * self._half_contrast])
        else:
            coordinates = self._color_axes(colors)
        scaled: Array = coordinates * self.scales
        return scaled

    def columns(self, colors: Array, n_threads: int) -> Array:
        """Return `forward` of whole samples (n, channels) as columns (channels, n) float32."""
        roots = _ROOTS.get(self.name)
        if roots is None and not self.is_identity:
            return np.ascontiguousarray(self.forward(colors).T, dtype=np.float32)
        columns = np.empty((colors.shape[1], len(colors)), np.float32)
        if roots is None:
            from kmq.kernels.spaces import fill_samples

            fill_samples(colors, columns)
            return columns
        run_chunks(
            lambda chunk: self._fill(roots, colors, chunk * _CHUNK, columns),
            -(-len(colors) // _CHUNK),
            n_threads,
        )
        return columns

    def _fill(self, roots: _Roots, colors: Array, first: int, out_columns: Array) -> None:
        """Write the columns of a chunk of the colours."""
        from kmq.kernels.spaces import LANES, fill_columns

        top, has_alpha = self.pixel_format.max_value, self.pixel_format.has_alpha
        rows, columns = colors[first : first + _CHUNK], out_columns[:, first : first + _CHUNK]
        n_axes = self.pixel_format.channels - has_alpha
        scales = self.scales[:n_axes, None]
        fill_columns(
            rows,
            (0, 1, 2) if n_axes == 3 else (0, 0, 0),
            srgb.table(top),
            roots.cones,
            roots.bias,
            roots.knee,
            roots.axes[:n_axes] * (scales * top),
            np.empty((3, LANES)),
            first,
            out_columns,
        )
        if has_alpha:
            alpha = rows[:, -1] / np.float64(top)
            half = scales * self._white[:, None] / 2
            columns[:-1] = alpha * (columns[:-1] - half)
            columns[-1] = alpha * self._half_contrast * self.scales[-1]

    def inverse(self, coordinates: Array) -> Array:
        """Return the (n, channels) float64 samples, within range, of (n, channels) coordinates."""
        if self.is_identity:
            samples: Array = np.clip(coordinates, 0, self.pixel_format.max_value)
            return samples
        unscaled = coordinates / self.scales
        if self.pixel_format.has_alpha:
            half = self._white / 2
            alpha = np.clip(unscaled[:, -1:] / self._half_contrast, 0, 1)
            color_axes = unscaled[:, :-1] / np.maximum(alpha, 1e-9) + half
            samples = np.hstack([self._samples(color_axes), alpha * self.pixel_format.max_value])
            samples[alpha[:, 0] * self.pixel_format.max_value < 0.5] = 0
        else:
            samples = self._samples(unscaled)
        np.clip(samples, 0, self.pixel_format.max_value, out=samples)
        return samples

    def nearest_samples(self, coordinates: Array, step: int = 1, n_threads: int = 1) -> Array:
        """Return the colours (n, channels), multiples of `step` or white, nearest to coordinates.

        They are chosen among the colours around what `inverse` gives, 27 of three channels, since
        in most spaces it is not the best to round each sample by itself. 343 colours gave no nearer
        ones. Another round of assigning, means and rounding gained 0.03 % of the error in a
        photograph at k = 64 and 256.
        """
        nearest = np.empty(coordinates.shape, self.pixel_format.dtype)

        def work(chunk: int) -> None:
            some = slice(chunk * _TRIED, (chunk + 1) * _TRIED)
            nearest[some] = self._nearest_samples(coordinates[some], step)

        run_chunks(work, -(-len(coordinates) // _TRIED), n_threads)
        return nearest

    def _nearest_samples(self, coordinates: Array, step: int) -> Array:
        top = self.pixel_format.max_value
        rounded = np.rint(self.inverse(coordinates) / step)
        if self.is_identity:
            return self._typed(rounded * step)
        offsets = np.array(list(product((0, -1, 1), repeat=self.pixel_format.channels)))
        candidates = self._typed(np.clip((rounded + offsets[:, None]) * step, 0, top))
        tried = self.forward(candidates.reshape(-1, self.pixel_format.channels))
        difference = tried.reshape(candidates.shape) - coordinates
        least = np.square(difference).sum(axis=2).argmin(axis=0)
        best: Array = candidates[least, np.arange(len(rounded))]
        return best

    def _typed(self, samples: Array) -> Array:
        """Return samples in range and type; colours of alpha 0 are all 0."""
        top, dtype = self.pixel_format.max_value, self.pixel_format.dtype
        typed: Array = np.clip(samples, 0, top).astype(dtype, order="C")
        return alpha.cleared(typed, self.pixel_format)

    def paler(self) -> Space:
        """Return the space in which chroma counts half."""
        weights = self.channel_weights or (1.0,) * self.pixel_format.channels
        halved = (weight / (1 + soft) for weight, soft in zip(weights, self.is_chroma, strict=True))
        return space_of(self.name, self.pixel_format, tuple(halved))

    @computed_once
    def scales(self) -> Array:
        """The factors (channels,) of coordinates, roots of the channel weights."""
        if self.channel_weights is None:
            return np.ones(self.pixel_format.channels)
        return np.sqrt(np.array(self.channel_weights, np.float64))

    @computed_once
    def _white(self) -> Array:
        n_axes = self.pixel_format.channels - self.pixel_format.has_alpha
        white: Array = self._color_axes(np.full((1, n_axes), float(self.pixel_format.max_value)))[0]
        return white

    @computed_once
    def _half_contrast(self) -> float:
        """Half the distance of white from black."""
        return math.sqrt((self._white * self._white).sum()) / 2

    def _color_axes(self, samples: Array) -> Array:
        """Return coordinates of samples without alpha, grey or RGB."""
        top = self.pixel_format.max_value
        if self.name == "rgb":
            return samples.astype(np.float64)
        light = _light_of(samples, top)
        if self.name == "linear":
            return light * top
        as_rgb = light if light.shape[1] == 3 else light.repeat(3, axis=1)
        return _ROOTS[self.name].forward(as_rgb, light.shape[1]) * top

    def _samples(self, color_axes: Array) -> Array:
        """Return what `_color_axes` made coordinates of."""
        top = self.pixel_format.max_value
        if self.name == "rgb":
            return color_axes
        unit = color_axes / top
        if self.name == "linear":
            return srgb.encode(unit) * top
        if unit.shape[1] == 3:
            return srgb.encode(_light_at(unit, self.name)) * top
        on_the_grey_axis = np.hstack([unit, np.zeros((len(unit), 2))])
        return srgb.encode(_light_at(on_the_grey_axis, self.name)[:, :1]) * top


space_of = lru_cache(maxsize=32)(Space)
"""Return the space of a name, a pixel format and channel weights, made once."""


def _light_of(samples: Array, top: int) -> Array:
    """Return light in 0 … 1 of sRGB samples in 0 … top, by a table where they are whole numbers."""
    if samples.dtype.kind == "u":
        light: Array = srgb.table(top)[samples]
        return light
    return srgb.decode(samples / top)
