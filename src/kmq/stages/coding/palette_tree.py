"""Palette method 2, "tree": entries in ascending order as a set. See FORMAT.md, chunk P.

Their order takes no bits, and limits where the next entry can be: k colours take about log2 k! bits
less than one by one. The guesses use that red and blue often go with green.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Protocol

import numpy as np

from kmq.errors import FormatError
from kmq.model.arrays import Array
from kmq.model.morton import interleaved, separated

_ORDERS = {1: (0,), 2: (1, 0), 3: (1, 0, 2), 4: (3, 1, 0, 2)}
"""Number of channels → which of them comes first, second …, at each level of bits."""

_LEAST_RANGE = 1 << 24
_MOST_COUNTED = 255


def ascending(palette: Array) -> Array:
    """Return (k, channels) entries in ascending order of their interleaved bits.

    That is the order this method needs and the cheapest to store: along it, neighbours are near.
    """
    return palette[np.argsort(_keys(palette), kind="stable")]


def distinct(palette: Array) -> Array:
    """Return the distinct ones of (k, channels) entries, in ascending order."""
    entries = ascending(palette)
    first = np.ones(len(entries), np.bool_)
    first[1:] = (entries[1:] != entries[:-1]).any(axis=1)
    return entries[first]


def encode(palette: Array) -> bytes | None:
    """Return the coded entries, or None if they are not in ascending order.

    Plain Python takes up to a second for 65,536 entries, here as in `decode`.
    """
    keys = _keys(palette)
    if np.any(keys[1:] < keys[:-1]):
        return None
    writer = _Writer()
    _walk(writer, len(palette), palette.shape[1], 8 * palette.itemsize, keys.tolist())
    return writer.finish()


def decode(coded: bytes, n_colors: int, channels: int, dtype: np.dtype[Any]) -> Array:
    """Return the (n_colors, channels) entries.

    Raises:
        FormatError: bytes are left over.
    """
    reader = _Reader(coded)
    keys = _walk(reader, n_colors, channels, 8 * dtype.itemsize, None)
    reader.finish()
    return _entries(np.array(keys, np.uint64), channels, dtype)


def _keys(palette: Array) -> Array:
    """Interleave the bits of each entry: the top bits of all channels, the next ones, …"""
    order = list(_ORDERS[palette.shape[1]])
    return interleaved(palette[:, order], 8 * palette.itemsize)


def _entries(keys: Array, channels: int, dtype: np.dtype[Any]) -> Array:
    """Undo `_keys`."""
    palette = np.empty((len(keys), channels), dtype)
    palette[:, list(_ORDERS[channels])] = separated(keys, channels, 8 * dtype.itemsize)
    return palette


class _Coder(Protocol):
    """A writer, which is given each value, or a reader, which returns it."""

    def choose(self, counts: list[int], truth: int) -> int:
        """Code 0 or 1 by how often each has occurred, and count it."""

    def number(self, n: int, truth: int) -> int:
        """Code a number from 0 to n - 1, all equally likely."""

    def bits(self, n: int, truth: int) -> int:
        """Code n bits, most significant first, 0 and 1 equally likely."""


def _walk(
    coder: _Coder, n_colors: int, channels: int, sample_bits: int, keys: list[int] | None
) -> list[int]:
    """Walk down the tree of bits, the side of 0 first, and return the keys at its ends.

    A node is the `size` keys from number `first` on, which begin with `prefix`. `hints` has a bit
    for each channel, in order, whose next bit can be guessed: those after green that have equalled
    green so far, and the one before it if all its bits so far are the same.

    `keys` are given when writing.
    """
    green = 1 if channels in (2, 4) else 0
    halvings = [[[2, 4] for _ in range(3)] for _ in range(2)]
    guesses = [[[2, 2] for _ in range(3)] for _ in range(channels)]
    values: list[int] = []
    all_hints = (1 << channels) - 1 & ~(1 << green)
    nodes = [(0, n_colors, 0, 0, all_hints)]
    while nodes:
        first, size, depth, prefix, hints = nodes.pop()
        left = channels * sample_bits - depth
        if size == 1 and not hints:
            truth = keys[first] & (1 << left) - 1 if keys else 0
            values.append(prefix << left | coder.bits(left, truth))
            continue
        if left == 0:
            values += [prefix] * size
            continue
        zeros = 0
        if keys:
            zeros = bisect_left(keys, 2 * prefix + 1 << left - 1, first, first + size) - first
        channel = depth % channels
        hint = hints & 1 << channel
        guess = 2  # none: no bit equals it
        if hint and depth > 0:
            guess = prefix >> (channel - green if channel > green else channels) - 1 & 1
        if size > 1 and coder.choose(halvings[hint > 0][min(size, 4) - 2], 0 < zeros < size):
            zeros = 1 + coder.number(size - 1, zeros - 1)
        else:
            counts = guesses[channel][guess]
            bit = coder.choose(counts, zeros == 0) if hint else coder.bits(1, zeros == 0)
            zeros = 0 if bit else size
        for bit, start, end in ((1, zeros, size), (0, 0, zeros)):
            if start < end:
                kept = hints & ~hint if bit != guess and depth > 0 else hints
                nodes.append((first + start, end - start, depth + 1, 2 * prefix + bit, kept))
    return values


class _Reader:
    """Decodes numbers from a range that their shares divide; bytes beyond the end are 0."""

    def __init__(self, coded: bytes):
        self._coded = coded
        self._position = 4
        self._range = 1 << 32
        self._code = int.from_bytes(coded[:4].ljust(4, b"\0"))

    def choose(self, counts: list[int], truth: int) -> int:
        """Decode 0 or 1 by their counts."""
        border = self._range // (counts[0] + counts[1]) * counts[0]
        bit = self._take(border)
        _count(counts, bit)
        return bit

    def number(self, n: int, truth: int) -> int:
        """Decode a number below n."""
        share = self._range // n
        number = min(self._code // share, n - 1)
        self._code -= number * share
        self._range = share if number < n - 1 else self._range - number * share
        self._fill()
        return number

    def bits(self, n: int, truth: int) -> int:
        """Decode n bits."""
        number = 0
        for _ in range(n):
            number = 2 * number + self._take(self._range >> 1)
        return number

    def finish(self) -> None:
        """Raise FormatError if bytes are left over."""
        if self._position < len(self._coded):
            left = len(self._coded) - self._position
            raise FormatError(f"{left} bytes follow the last entry of the palette")

    def _take(self, border: int) -> int:
        bit = int(self._code >= border)
        if bit:
            self._code -= border
            self._range -= border
        else:
            self._range = border
        self._fill()
        return bit

    def _fill(self) -> None:
        while self._range < _LEAST_RANGE:
            following = self._coded[self._position] if self._position < len(self._coded) else 0
            self._position += 1
            self._code = self._code << 8 | following
            self._range <<= 8


class _Writer:
    """Codes what `_Reader` decodes: the sum of all that it will subtract, in as few bytes."""

    def __init__(self) -> None:
        self._coded = bytearray()
        self._low = 0
        self._range = 1 << 32

    def choose(self, counts: list[int], truth: int) -> int:
        """Code 0 or 1 by their counts."""
        border = self._range // (counts[0] + counts[1]) * counts[0]
        self._choose_side(border, truth)
        _count(counts, truth)
        return truth

    def number(self, n: int, truth: int) -> int:
        """Code a number below n."""
        share = self._range // n
        before = truth * share
        self._give(before, share if truth < n - 1 else self._range - before)
        return truth

    def bits(self, n: int, truth: int) -> int:
        """Code n bits."""
        for place in range(n - 1, -1, -1):
            self._choose_side(self._range >> 1, truth >> place & 1)
        return truth

    def finish(self) -> bytes:
        """Return the bytes, ended by the number of the range that has most zeros at its end."""
        for zeros in (32, 24, 16, 8):
            rounded = -(-self._low >> zeros) << zeros
            if rounded < self._low + self._range:
                self._low = rounded
                break
        self._carry()
        return bytes(self._coded + self._low.to_bytes(4)).rstrip(b"\0")

    def _choose_side(self, border: int, bit: int) -> None:
        if bit:
            self._give(border, self._range - border)
        else:
            self._give(0, border)

    def _give(self, before: int, size: int) -> None:
        """Go on in `size` of the range, after `before`."""
        self._low += before
        self._range = size
        while self._range < _LEAST_RANGE:
            self._carry()
            self._coded.append(self._low >> 24)
            self._low = (self._low & 0xFFFFFF) << 8
            self._range <<= 8

    def _carry(self) -> None:
        """Add what exceeds 32 bits to the bytes before."""
        if self._low >> 32:
            self._low &= 0xFFFFFFFF
            place = len(self._coded) - 1
            while self._coded[place] == 0xFF:
                self._coded[place] = 0
                place -= 1
            self._coded[place] += 1


def _count(counts: list[int], bit: int) -> None:
    """Count a bit; before a sum of 256 both counts are halved."""
    counts[bit] += 1
    if counts[0] + counts[1] > _MOST_COUNTED:
        counts[0] = counts[0] + 1 >> 1
        counts[1] = counts[1] + 1 >> 1
