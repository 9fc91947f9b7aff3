"""Files with one palette and one λ, which searches for a size or a quality try.

λ is the price of a bit over e(k), the mean squared error of k nearest entries. Files are smallest
for their error where λ makes it about 1.3 · e(k): with a smaller λ fewer colours are cheaper, with
a larger one more colours are better.

An attempt is a few rounds of choices. The first tells what the others will come to, so only those
that promise to meet the target go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kmq import exact
from kmq.lazily import computed_once
from kmq.model.image import QuantizedImage
from kmq.pipeline.quantizing import Mapped, Quantizer
from kmq.pipeline.rounding import Rounded
from kmq.stages.mapping import rate

FIRST_COLORS = 32
"""Colours that a search for k begins with."""

NONE, LEAST_X = -10.0, -4.0
"""log2 of λ that stands for 0, and the least that is tried besides."""

STRIDE = 3.0
"""Most by which log2 of λ moves at once."""

_MOST_PRICE = 4 * 255.0**2
"""Price of a bit at most: the squared error of black for white, of four channels."""

_CAP = 12.0
"""The error of a pixel may exceed that of its nearest entry by the price of so many bits, where λ
is so large that this is above the usual cap: else files of few colours could not be small."""

_PALETTE_BYTES, _FRAME_BYTES = 2.5, 64
"""Bytes of an entry, and of the file around the indices, about."""


class Encoded(NamedTuple):
    """An image, the pieces of its file, front to back, and the λ of its indices."""

    image: QuantizedImage
    pieces: list[bytes]
    lam: float


Code = Callable[[QuantizedImage], list[bytes]]
"""Makes the pieces of an image's file."""


class Attempt:
    """Indices of the picture, and values derived from them when they are asked for.

    Attributes:
        mapped: palette and indices.
        x: log2 of λ.
        is_coded: whether its file is made.
    """

    def __init__(self, quantizer: Quantizer, code: Code, mapped: Mapped, x: float):
        self._quantizer, self._code = quantizer, code
        self.mapped, self.x, self.is_coded = mapped, x, False

    @computed_once
    def mse(self) -> float:
        """Mean squared error per pixel."""
        return self._quantizer.mse(self.mapped)

    @computed_once
    def looks(self) -> float:
        """SSIMULACRA2."""
        return self._quantizer.ssimulacra2(self.mapped)

    @computed_once
    def encoded(self) -> Encoded:
        """The image and its file."""
        image = self._quantizer.image(self.mapped, self.mse)
        self.is_coded = True
        return Encoded(image, self._code(image), 0.0 if self.x == NONE else power(self.x))

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(map(len, self.encoded.pieces))

    @computed_once
    def estimate(self) -> float:
        """Bytes of the file by the model of the rate, which go with the size."""
        bits, k = self._quantizer.bits(self.mapped), len(self.mapped.palette)
        return bits / 8 + _PALETTE_BYTES * k + _FRAME_BYTES

    @property
    def level(self) -> float:
        """log2 of the estimate."""
        return log2(self.estimate)


class Start:
    """Where the attempts with one palette begin: its nearest entries."""

    def __init__(
        self, quantizer: Quantizer, code: Code, rounded: Rounded, *, is_given: bool = False
    ):
        self._quantizer, self._code = quantizer, code
        self._unit = quantizer.unit(rounded)
        self.limit = log2(_MOST_PRICE / self._unit)
        mapped = quantizer.nearest(rounded, is_given=is_given)
        self.nearest = Attempt(quantizer, code, mapped, NONE)
        # Attempts, and the last first round, are kept: they may be asked for again.
        self._first, self._wholes = self.nearest, {NONE: self.nearest}

    def first(self, x: float) -> Attempt:
        """Return the first round of the attempt at a λ of 2 to the power of x."""
        if x != self._first.x:
            self._first = self._rounds(self.nearest, x, 1)
        return self._first

    def whole(self, x: float) -> Attempt:
        """Return the attempt after all rounds."""
        if x not in self._wholes:
            self._wholes[x] = self._rounds(self.first(x), x, self._quantizer.rate_rounds - 1)
        return self._wholes[x]

    def is_whole(self, attempt: Attempt) -> bool:
        """Whether `whole` has made an attempt."""
        return self._wholes.get(attempt.x) is attempt

    def moved(self, attempt: Attempt, x: float) -> Attempt:
        """Return an attempt at another x, by one round more than one that is there.

        A smaller x is reached in part: indices that cost little stay.
        """
        return self._rounds(attempt, x, 1)

    def _rounds(self, attempt: Attempt, x: float, n_rounds: int) -> Attempt:
        mapped = attempt.mapped
        if len(mapped.palette) > 1:
            price = self._unit * power(x)
            most_excess = max(rate.MOST_EXCESS, _CAP * price)
            mapped = self._quantizer.traded(mapped, price, n_rounds, most_excess)
        return Attempt(self._quantizer, self._code, mapped, x)


def log2(number: float) -> float:
    """Return log2, the same on every machine."""
    return exact.log2_of(max(number, 1e-9))


def power(x: float) -> float:
    """Return 2 to the power of x, the same on every machine."""
    return float(exact.exp2(x))


def clamped(number: float, low: float, high: float) -> float:
    """Return the number between two others that is nearest to one."""
    return min(max(number, low), high)
