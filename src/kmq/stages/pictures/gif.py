"""GIF files of frames: each holds what it changes, with the pixels that make it small.

Where a pixel shows what it shall already, it is transparent. Colours of all frames are in one
table if 256 are enough, those of most frames first, so that frames of few have short codes; or
each frame has a table of its own. A frame is cleared away after it is shown only where pixels
become transparent. With a `Loss`, pixels that change may have other colours than those of the
images, where `kmq.kernels.lzw` finds that this is worth its error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from kmq.errors import InputError
from kmq.model import alpha, formats
from kmq.model.arrays import Array
from kmq.model.file_info import MAX_GIF_DELAY
from kmq.model.image import IndexedImage
from kmq.model.pixel_format import PixelFormat

MOST_COLORS = 256
MAX_SIDE, MAX_REPEATS = 65_535, 65_535

_STEP = 10
"""Milliseconds: the unit of time."""

_CLEAR = 1 << 24
"""Number of what is transparent; a colour has 65,536 · red + 256 · green + blue."""

_LEAST_ERROR = 0.5
"""Squared error that the price of a bit follows at least: images may be exact."""

_FREELY, _HARDLY = 0.1, 3.0
"""Bits that it costs to leave the usual choice between what shows through and its own colour."""

_LEAVE, _REMOVE = 1, 2
"""What becomes of a frame after it is shown, as GIF numbers it."""


@dataclass(frozen=True)
class Loss:
    """What may be lost: colours of pixels that change, for λ times the images' error a bit.

    Attributes:
        lam: λ, above 0.
        originals: what was quantized, (height, width, 3) uint8 of each frame.
        see: RGB samples (n, 3) → coordinates (n, 4) float32 in which errors are meant.
        taps: (3, 4) float32: how errors at a distance of 0 to 2 pixels along an axis meet.
        own: how much the error of the pixel alone counts beside that.
    """

    lam: float
    originals: Sequence[Array]
    see: Callable[[Array], Array]
    taps: Array
    own: float

    def picture(self, number: int) -> Array:
        """Return (height, width, 4) coordinates of an original."""
        original = self.originals[number]
        return self.see(original.reshape(-1, 3)).reshape(*original.shape[:2], -1)

    def still(self) -> Iterator[Array]:
        """Yield which pixels (height, width) of each frame are what they were before."""
        yield np.zeros(self.originals[0].shape[:2], np.bool_)
        for before, now in pairwise(self.originals):
            yield (before == now).all(axis=2)

    def roots(self) -> list[Array]:
        """Return the root of how many frames each pixel stays, (height, width) float32 each."""
        lasting = np.ones(self.originals[0].shape[:2], np.float32)
        found = [np.sqrt(lasting)]
        for still in reversed(list(self.still())[1:]):
            lasting = np.where(still, lasting + 1, 1).astype(np.float32)
            found.append(np.sqrt(lasting))
        return found[::-1]


_Slices: TypeAlias = tuple[slice, slice]


class _Change(NamedTuple):
    """What a frame changes.

    Attributes:
        wanted: (height, width) int64 numbers of what is shown.
        changed: (height, width) bool.
        inside: the rectangle that the frame has.
        colors: numbers of the opaque colours that changed pixels have.
        removes: whether the rectangle is cleared before the next frame.
    """

    wanted: Array
    changed: Array
    inside: _Slices
    colors: Array
    removes: bool


def encode(
    images: Sequence[IndexedImage], durations: Sequence[float], plays: int, loss: Loss | None
) -> bytes:
    """Return the file.

    Args:
        images: with colours of 8 bits.
        durations: milliseconds that each is shown.
        plays: how often all are, or 0 for without end.
        loss: what may be lost. Nothing is where pixels become transparent.

    Raises:
        InputError: a GIF file cannot hold the colours, a side, a delay or the number of plays.
    """
    height, width = images[0].indices.shape
    delays = [round(each / _STEP) for each in durations]
    for number, image in enumerate(images, 1):
        _check_colors(image, number)
    _check(width, height, delays, plays)
    exact = _encoded(images, delays, plays, None)
    if loss is None:
        return exact
    # Where λ is small, pixels may come to look better in a larger file: nobody asked for that.
    return min(exact, _encoded(images, delays, plays, loss), key=len)


def _encoded(
    images: Sequence[IndexedImage], delays: Sequence[int], plays: int, loss: Loss | None
) -> bytes:
    height, width = images[0].indices.shape
    numbers = [_numbers(image) for image in images]
    pictures = [each[image.indices] for each, image in zip(numbers, images, strict=True)]
    covered = [(a != _CLEAR) & (b == _CLEAR) for a, b in pairwise(pictures)]
    if any(each.any() for each in covered):
        loss = None
    covered.append(np.zeros((height, width), np.bool_))
    has_clear = any(bool((picture == _CLEAR).any()) for picture in pictures)
    changes = list(_changes(pictures, covered, loss))
    table = _table([change.colors for change in changes])
    symbols = [
        _symbols(change, table, may_stay=loss is not None and number > 0, has_clear=has_clear)
        for number, change in enumerate(changes)
    ]
    parts = [b"GIF89a", struct.pack("<HH", width, height)]
    if table is None:
        parts.append(b"\x70\0\0")
    else:
        size = _size_of(max(each.n_colors for each in symbols))
        parts += [bytes([0xF0 | size - 1, 0, 0]), _rgb(table, size)]
    if plays != 1:  # the file says how often it is repeated
        parts.append(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", max(plays - 1, 0), 0))
    writer = _Writer(changes, symbols, loss, has_tables=table is None)
    for number, delay in enumerate(delays):
        parts += writer.frame(number, delay)
    return b"".join([*parts, b";"])


def _check_colors(image: IndexedImage, number: int) -> None:
    if image.n_colors > MOST_COLORS:
        raise InputError(
            f"frame {number} has {image.n_colors} colours; a frame of a GIF file holds "
            f"{MOST_COLORS}"
        )
    if (alpha.kinds(image.palette, image.pixel_format) == alpha.TRANSLUCENT).any():
        raise InputError(
            f"frame {number} has half-transparent pixels; GIF files hold opaque and transparent "
            "ones, PNG and WebP files all"
        )


def _check(width: int, height: int, delays: Sequence[int], plays: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"the frames have {width} by {height} pixels; a GIF file holds {MAX_SIDE} a side"
        )
    for number, delay in enumerate(delays, 1):
        if not 0 <= _STEP * delay <= MAX_GIF_DELAY:
            raise InputError(
                f"frame {number} is shown for {_STEP * delay:,} ms; a GIF file holds up to "
                f"{MAX_GIF_DELAY:,}"
            )
    if plays - 1 > MAX_REPEATS:
        raise InputError(f"plays is {plays}; a GIF file holds up to {MAX_REPEATS + 1}")


def _numbers(image: IndexedImage) -> Array:
    """Return the number (k,) int64 of each entry."""
    colors = image.palette
    is_clear = alpha.kinds(colors, image.pixel_format) == alpha.TRANSPARENT
    if image.pixel_format.has_alpha:
        colors = colors[:, :-1]
    solid = formats.without_alpha(image.pixel_format)
    red, green, blue = formats.converted(colors, solid, PixelFormat.RGB24).astype(np.int64).T
    numbers: Array = np.where(is_clear, _CLEAR, red << 16 | green << 8 | blue)
    return numbers


def _samples(numbers: Array) -> Array:
    """Return the (n, 3) uint8 samples of colours."""
    return np.stack([numbers >> 16 & 255, numbers >> 8 & 255, numbers & 255], 1).astype(np.uint8)


def _rgb(colors: Array, size: int) -> bytes:
    """Return a colour table of so many bits as the file has it."""
    return _samples(colors).tobytes().ljust(3 << size, b"\0")


def _size_of(n_colors: int) -> int:
    """Return the bits of the smallest table for so many."""
    return max(1, (n_colors - 1).bit_length())


def _changes(
    pictures: Sequence[Array], covered: Sequence[Array], loss: Loss | None
) -> Iterator[_Change]:
    canvas = np.full_like(pictures[0], _CLEAR)
    still = None if loss is None else loss.still()
    for picture, cover in zip(pictures, covered, strict=True):
        changed = picture != canvas if still is None else ~next(still)
        colors = np.unique(picture[changed])
        inside, removes = _around(changed | cover), bool(cover.any())
        yield _Change(picture, changed, inside, colors[colors != _CLEAR], removes)
        canvas = picture
        if removes:
            canvas = picture.copy()
            canvas[inside] = _CLEAR


def _table(used: Sequence[Array]) -> Array | None:
    """Return the colours of all frames, those of most frames first; None if they are too many."""
    colors, counts = np.unique(np.concatenate(used), return_counts=True)
    if len(colors) > MOST_COLORS:
        return None
    ordered: Array = colors[np.argsort(-counts, kind="stable")]
    return ordered if len(ordered) else np.zeros(1, np.int64)


def _around(where: Array) -> _Slices:
    """Return the least rectangle around pixels; one pixel if there are none."""
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return (
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )


class _Symbols(NamedTuple):
    """The symbols of a frame.

    Attributes:
        colors: (n,) numbers of the colours in the table, by symbol.
        used: symbols that changed pixels may have.
        clear: the transparent one, or -1.
        bits: of a symbol.
    """

    colors: Array
    used: Array
    clear: int
    bits: int

    @property
    def n_colors(self) -> int:
        """Entries of the table that are needed."""
        return max(len(self.colors), self.clear + 1)

    def of(self, picture: Array) -> Array:
        """Return the symbols (height, width) int32 of a picture; -1 where there is none."""
        order = np.argsort(self.colors, kind="stable")
        ranked = self.colors[order]
        places = np.searchsorted(ranked, picture).clip(0, len(ranked) - 1)
        found: Array = np.where(ranked[places] == picture, order[places], -1).astype(np.int32)
        return found


def _symbols(change: _Change, table: Array | None, *, may_stay: bool, has_clear: bool) -> _Symbols:
    """Choose the colours of a frame, and the transparent symbol if there is room for one.

    `table` is that of all frames, or None if each has one. If pixels that change may stay as they
    are, the rarest of 256 colours makes room. If a frame of the file `has_clear` pixels, all have
    the symbol: readers take it for what no frame covers, and some a colour where there is none.
    """
    wanted, changed = change.wanted[change.inside], change.changed[change.inside]
    colors = change.colors if len(change.colors) else np.zeros(1, np.int64)
    needs_clear = may_stay or has_clear or bool((wanted == _CLEAR).any() or not changed.all())
    if len(colors) == MOST_COLORS and needs_clear:
        if may_stay:
            seen, counts = np.unique(wanted[changed], return_counts=True)
            colors = np.setdiff1d(colors, seen[np.argmin(counts)])
        else:
            needs_clear, colors = False, np.unique(wanted)
    if table is None:
        clear = len(colors) if needs_clear else -1
        bits = max(2, _size_of(len(colors) + needs_clear))
        return _Symbols(colors, np.arange(len(colors)), clear, bits)
    used = np.flatnonzero(np.isin(table, colors))
    bits = max(2, _size_of(int(used.max(initial=0)) + 1))
    if not needs_clear:
        return _Symbols(table, used, -1, bits)
    unused = np.setdiff1d(np.arange(1 << bits), used)
    if not len(unused):
        unused, bits = np.arange(1 << bits, 2 << bits), bits + 1
    return _Symbols(table, used, int(unused[0]), bits)


class _Writer:
    """Writes frames one after the other."""

    def __init__(
        self,
        changes: Sequence[_Change],
        symbols: Sequence[_Symbols],
        loss: Loss | None,
        *,
        has_tables: bool,
    ):
        from kmq.kernels.lzw import ROW, TABLE

        self._changes, self._symbols, self._loss = changes, symbols, loss
        self._has_tables = has_tables
        self._canvas = np.full_like(changes[0].wanted, _CLEAR)
        self._seen = np.zeros((*self._canvas.shape, ROW), np.float32)
        self._tree = np.empty((4, TABLE), np.int32)
        self._costs = np.empty(TABLE + 1)
        self._steps = np.empty((TABLE + 1, ROW), np.float32)
        self._price, self._average = 1.0, np.ones(1)
        if loss is not None:
            self._roots = loss.roots()
            self._price = loss.lam * max(self._mean_error(loss), _LEAST_ERROR)
            self._average[0] = 4 * self._price

    def frame(self, number: int, delay: int) -> list[bytes]:
        """Return the parts of a frame in the file."""
        change = self._changes[number]
        symbols = self._symbols[number]
        inside = change.inside
        indices, coded = self._coded(number, inside, symbols)
        self._draw(inside, symbols, indices, removes=change.removes)
        height, width = indices.shape
        flags = (_REMOVE if change.removes else _LEAVE) << 2 | (symbols.clear >= 0)
        control = struct.pack("<BHBB", flags, delay, max(symbols.clear, 0), 0)
        place = struct.pack("<HHHH", inside[1].start, inside[0].start, width, height)
        parts = [b"!\xf9\x04" + control, b"," + place]
        if self._has_tables:
            size = _size_of(symbols.n_colors)
            parts += [bytes([0x80 | size - 1]), _rgb(symbols.colors, size)]
        else:
            parts.append(b"\0")
        return [*parts, bytes([symbols.bits]), *_blocks(coded)]

    def _mean_error(self, loss: Loss) -> float:
        """Return the mean squared error of the images."""
        total = 0.0
        for number, change in enumerate(self._changes):
            colors, places = np.unique(change.wanted, return_inverse=True)
            shown = loss.see(_samples(colors))[places.reshape(change.wanted.shape)]
            total += float(np.square(shown - loss.picture(number)).sum(axis=2).mean())
        return total / len(self._changes)

    def _coded(self, number: int, inside: _Slices, symbols: _Symbols) -> tuple[Array, bytes]:
        """Return the symbols (height, width) of a frame and the bytes of their codes."""
        if self._loss is not None:
            return self._chosen(self._loss, number, inside, symbols)
        wanted, canvas = self._changes[number].wanted[inside], self._canvas[inside]
        same, through = symbols.of(wanted), (wanted == canvas) | (wanted == _CLEAR)
        if symbols.clear < 0 or not through.any():
            return self._exact(symbols, same, np.zeros(same.shape, np.uint8), 0)
        same[~np.isin(same, symbols.used)] = -1
        rules = _preferred(same, through)
        tried = (self._exact(symbols, same, rules, odd) for odd in (_FREELY, _HARDLY))
        return min(tried, key=lambda made: len(made[1]))

    def _exact(
        self, symbols: _Symbols, same: Array, rules: Array, odd: float
    ) -> tuple[Array, bytes]:
        """Code a frame whose pixels are known."""
        from kmq.kernels.lzw import ROW

        nothing = np.empty((0, 0, ROW), np.float32)
        return self._run(
            symbols,
            rules,
            same,
            (nothing, nothing, np.empty((0, ROW), np.float32), np.empty((0, 0), np.float32)),
            (np.zeros((1, ROW), np.float32), 0.0, nothing),
            odd,
        )

    def _chosen(
        self, loss: Loss, number: int, inside: _Slices, symbols: _Symbols
    ) -> tuple[Array, bytes]:
        """Code a frame whose changed pixels are chosen."""
        from kmq.kernels.lzw import FREE, REACH, ROW, THROUGH, fill_gradient

        change = self._changes[number]
        free, canvas = change.changed[inside], np.ascontiguousarray(self._seen[inside])
        same = symbols.of(np.where(free, change.wanted[inside], self._canvas[inside]))
        is_clear = change.wanted[inside] == _CLEAR
        entries = loss.see(_samples(symbols.colors))
        shown = np.where((free & ~is_clear)[..., None], entries[same], canvas)
        roots = np.ascontiguousarray(self._roots[number][inside])
        height, width = free.shape
        errors = np.zeros((height + 2 * REACH, width + 2 * REACH, ROW), np.float32)
        errors[REACH:-REACH, REACH:-REACH] = shown - loss.picture(number)[inside]
        errors[REACH:-REACH, REACH:-REACH] *= roots[..., None]
        gradient = np.empty((height, width, ROW), np.float32)
        fill_gradient(errors, loss.taps, loss.own, gradient)
        rules = np.zeros(free.shape, np.uint8)
        if symbols.clear >= 0:
            # What is transparent stays so; a colour is never replaced by nothing.
            was_clear = self._canvas[inside] == _CLEAR
            same[~np.isin(same, symbols.used)] = -1
            rules = _preferred(same, ~free | (was_clear == is_clear))
        rules[free & ~is_clear] &= np.uint8(THROUGH)
        rules |= (free & ~is_clear) * np.uint8(FREE)
        colors, weighing = (shown, canvas, entries, roots), (loss.taps, loss.own, gradient)
        return self._run(symbols, rules, same, colors, weighing, _FREELY)

    def _run(
        self,
        symbols: _Symbols,
        rules: Array,
        same: Array,
        colors: tuple[Array, Array, Array, Array],
        errors: tuple[Array, float, Array],
        odd: float,
    ) -> tuple[Array, bytes]:
        from kmq.kernels.lzw import code_frame

        used = symbols.used if symbols.clear < 0 else np.append(symbols.used, symbols.clear)
        indices = np.empty(rules.shape, np.int32)
        coded = np.empty(2 * rules.size + 8, np.uint8)
        taps, own, gradient = errors
        n_coded = code_frame(
            symbols.bits,
            used.astype(np.int64),
            symbols.clear,
            rules,
            same.astype(np.int32),
            *colors,
            taps,
            own,
            self._price,
            odd,
            gradient,
            self._tree,
            self._costs,
            self._steps,
            self._average,
            indices,
            coded,
        )
        return indices, coded[:n_coded].tobytes()

    def _draw(self, inside: _Slices, symbols: _Symbols, indices: Array, *, removes: bool) -> None:
        """Keep what is on the canvas when the next frame comes."""
        if removes:
            self._canvas[inside] = _CLEAR
            return
        drawn = indices != symbols.clear
        self._canvas[inside][drawn] = symbols.colors[indices[drawn]]
        if self._loss is not None:
            self._seen[inside][drawn] = self._loss.see(_samples(symbols.colors))[indices[drawn]]


def _preferred(same: Array, through: Array) -> Array:
    """Return the rules of pixels that have symbols, or are transparent where those are -1.

    Where something may show through, it rather does, unless the pixel goes on with the colour of
    the one before it that is shown.
    """
    from kmq.kernels.lzw import SOLID, THROUGH

    row, hidden = same.reshape(-1), ~through.reshape(-1)
    places = np.arange(len(row))
    starts = np.maximum.accumulate(np.where(np.diff(row, prepend=-2) != 0, places, 0))
    goes_on = np.maximum.accumulate(np.where(hidden, places, -1)) >= starts
    goes_on &= row >= 0
    rules: Array = through * np.uint8(THROUGH)
    rules |= (through & goes_on.reshape(same.shape)) * np.uint8(SOLID)
    return rules


def _blocks(coded: bytes) -> Iterator[bytes]:
    """Yield data as sub-blocks, the last of them empty."""
    for start in range(0, len(coded), 255):
        block = coded[start : start + 255]
        yield bytes([len(block)]) + block
    yield b"\0"
