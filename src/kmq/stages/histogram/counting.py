"""Pixels → the distinct colours, how often each occurs, and which one each pixel shows."""

from __future__ import annotations

import sys
from bisect import bisect_left
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from kmq.buffers import Unsealed
from kmq.errors import InputError
from kmq.model.histogram import ColorHistogram
from kmq.model.image import index_dtype
from kmq.model.morton import interleaved, separated
from kmq.model.pixel_format import PixelFormat
from kmq.threads import run_chunks

_BITMAP_KEY_BITS = 24
"""Longest key counted by bitmap: 2^24 bits are 2 MiB per chunk."""

_FEW_PIXELS = 1 << 14
"""Pixels up to which a hash table costs less than the bitmap of all keys."""

_CHUNK = 1 << 19
"""Pixels of a chunk: large against a thread's wake-up, small against a picture."""

_PART = 1 << 16
"""Colours of either of two histograms that are added at a time: their keys fit a cache."""

_PARTS_KEPT = 16

_PART_BITS, _WORD_BITS = 18, 16
"""Binary logarithms of the pixels, and of the words of a bitmap, of a thread's part at least.

A part has a bitmap of its own. To have so much memory cleared takes longer than to mark so few
pixels."""


class ColorMap(NamedTuple):
    """A histogram and the way back from its colours to the picture.

    Attributes:
        histogram: the distinct colours in Morton order with their counts.
        keys: (m,) uint32 or uint64, ascending: the Morton key of each colour.
        ids: (height, width) uint32: which colour each pixel shows.
    """

    histogram: ColorHistogram
    keys: np.ndarray[Any, Any]
    ids: np.ndarray[Any, Any]


def map_colors(
    samples: np.ndarray[Any, Any], pixel_format: PixelFormat, n_threads: int
) -> ColorMap:
    """Count the distinct colours of (height, width, channels) samples in O(pixels)."""
    rows = samples.reshape(-1, samples.shape[2]).view(np.uint8)
    n_bytes = rows.shape[1]
    encode, _ = _spread_tables(samples.dtype, samples.shape[2])
    is_short = 8 * n_bytes <= _BITMAP_KEY_BITS
    count = _count_by_bitmap if is_short and len(rows) > _FEW_PIXELS else _count_by_hash
    keys, counts, ids = count(rows, encode, n_threads)
    histogram = ColorHistogram(colors_of(keys, pixel_format, n_threads), counts, pixel_format)
    return ColorMap(histogram, keys, ids.reshape(samples.shape[:2]))


def merge(first: ColorHistogram, second: ColorHistogram, n_threads: int) -> ColorHistogram:
    """Return the sum of two histograms of one pixel format, in O(m).

    It goes through them twice, part by part. The first pass says how long the sum gets, so that
    only some megabytes per thread are needed besides the sum.
    """
    bounds = _common_bounds(first.colors, second.colors)
    parts = [(slice(i, k), slice(j, m)) for (i, j), (k, m) in pairwise(bounds)]

    @lru_cache(_PARTS_KEPT)  # sums of up to a million colours are united once
    def unite(part: int) -> _Union:
        ours, theirs = parts[part]
        return _Union(keys_of(first.colors[ours], 1), keys_of(second.colors[theirs], 1))

    ends = np.zeros(len(parts) + 1, np.int64)

    def measure(part: int) -> None:
        ends[part + 1] = unite(part).size

    run_chunks(measure, len(parts), n_threads)
    np.cumsum(ends, out=ends)
    colors = Unsealed((int(ends[-1]), first.colors.shape[1]), first.colors.dtype)
    counts = Unsealed((int(ends[-1]),), np.dtype(np.int64))

    def add(part: int) -> None:
        ours, theirs = parts[part]
        out = slice(ends[part], ends[part + 1])
        union = unite(part)
        colors.array[out] = colors_of(union.keys(), first.pixel_format, 1)
        counts.array[out] = union.sums(first.counts[ours], second.counts[theirs])

    run_chunks(add, len(parts), n_threads)
    return ColorHistogram(colors.seal(), counts.seal(), first.pixel_format)


class _Union:
    """The union of some ascending keys and others, and where in it both are.

    Attributes:
        size: how many there are.
    """

    def __init__(self, keys: np.ndarray[Any, Any], new_keys: np.ndarray[Any, Any]):
        places = np.searchsorted(keys, new_keys)
        new = np.ones(len(new_keys), np.bool_)
        within = np.flatnonzero(places < len(keys))
        new[within] = keys[places[within]] != new_keys[within]
        more = np.cumsum(new)
        self.size = len(keys) + int(more[-1] if len(more) else 0)
        self._keys, self._new_keys = keys, new_keys
        self._new_places = places + more - new
        self._old_places = np.ones(self.size, np.bool_)
        self._old_places[self._new_places[new]] = False

    def keys(self) -> np.ndarray[Any, Any]:
        """Return the keys, ascending."""
        union = np.empty(self.size, self._keys.dtype)
        union[self._old_places] = self._keys
        union[self._new_places] = self._new_keys
        return union

    def sums(
        self, counts: np.ndarray[Any, Any], other_counts: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Return the count of each key, given those of both."""
        sums = np.zeros(self.size, np.int64)
        sums[self._old_places] = counts
        sums[self._new_places] += other_counts
        return sums


def _common_bounds(
    first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]
) -> list[tuple[int, int]]:
    """Return places in two arrays of colours that cut them at the same keys, ends included.

    Between two of them there are up to `_PART` colours of either.
    """

    def place(colors: np.ndarray[Any, Any], color: np.ndarray[Any, Any]) -> int:
        key = keys_of(color, 1)[0]
        rows = range(len(colors))
        return bisect_left(rows, key, key=lambda row: keys_of(colors[row : row + 1], 1)[0])

    bounds = {(0, 0), (len(first), len(second))}
    for row in range(_PART, len(first), _PART):
        bounds.add((row, place(second, first[row : row + 1])))
    for row in range(_PART, len(second), _PART):
        bounds.add((place(first, second[row : row + 1]), row))
    return sorted(bounds)


def keys_of(colors: np.ndarray[Any, Any], n_threads: int) -> np.ndarray[Any, Any]:
    """Return the Morton keys (m,) uint32 or uint64 of (m, channels) colours."""
    encode, _ = _spread_tables(colors.dtype, colors.shape[1])
    keys = np.empty(len(colors), encode.dtype)
    _spread(np.ascontiguousarray(colors).view(np.uint8), encode, keys, n_threads)
    return keys


def ordered_keys(colors: ColorHistogram, n_threads: int) -> np.ndarray[Any, Any]:
    """Return the Morton keys (m,) of a histogram that a caller may have made by hand.

    Raises:
        InputError: they do not ascend.
    """
    keys = keys_of(colors.colors, n_threads)
    if (keys[1:] <= keys[:-1]).any():
        raise InputError(
            "the histogram's colours are not distinct and in Morton order; "
            "ColorHistogram.from_picture brings them there"
        )
    return keys


def colors_of(
    keys: np.ndarray[Any, Any], pixel_format: PixelFormat, n_threads: int
) -> np.ndarray[Any, Any]:
    """Return the (m, channels) colours of Morton keys (m,) of the type that `keys_of` gives."""
    from kmq.kernels.histogram import gather

    dtype, channels = pixel_format.dtype, pixel_format.channels
    _, decode = _spread_tables(dtype, channels)
    rows = keys.view(np.uint8).reshape(len(keys), -1)
    n_bytes = dtype.itemsize * channels
    unsealed = Unsealed((len(keys), n_bytes), np.dtype(np.uint8))

    def work(chunk: int) -> None:
        part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        gather[n_bytes](rows[part], decode, unsealed.array[part])

    run_chunks(work, -(-len(rows) // _CHUNK), n_threads)
    return unsealed.seal().view(dtype)


def key_type(pixel_format: PixelFormat) -> np.dtype[Any]:
    """Type of the Morton keys of colours: uint32 up to 24 bits, uint64 above."""
    n_bits = 8 * pixel_format.dtype.itemsize * pixel_format.channels
    return np.dtype(np.uint32 if n_bits <= _BITMAP_KEY_BITS else np.uint64)


def sum_by_color(
    ids: np.ndarray[Any, Any], values: np.ndarray[Any, Any], n_colors: int
) -> np.ndarray[Any, Any]:
    """Return the sum (m,) float64 of (height, width) values over the pixels of each colour."""
    return np.bincount(ids.reshape(-1), weights=values.reshape(-1), minlength=n_colors)


def map_labels(
    ids: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], n_colors: int, n_threads: int
) -> np.ndarray[Any, Any]:
    """Return the (height, width) palette indices, given the label of each distinct colour."""
    from kmq.kernels.histogram import look_up

    dtype = index_dtype(n_colors)
    labels = labels.astype(dtype)
    flat = ids.reshape(-1)
    unsealed = Unsealed((flat.size,), dtype)

    def work(chunk: int) -> None:
        pixels = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        look_up(flat[pixels], labels, unsealed.array[pixels])

    run_chunks(work, -(-flat.size // _CHUNK), n_threads)
    return unsealed.seal().reshape(ids.shape)


def _spread(
    rows: np.ndarray[Any, Any],
    tables: np.ndarray[Any, Any],
    out_keys: np.ndarray[Any, Any],
    n_threads: int,
) -> None:
    """Run the `spread` kernel over chunks of rows."""
    from kmq.kernels.histogram import spread

    run = spread[rows.shape[1]]

    def work(chunk: int) -> None:
        part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        run(rows[part].reshape(-1), tables, out_keys[part])

    run_chunks(work, -(-len(rows) // _CHUNK), n_threads)


def _count_by_bitmap(
    rows: np.ndarray[Any, Any], encode: np.ndarray[Any, Any], n_threads: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return ascending distinct keys, their counts, and the rank of each pixel's key."""
    from kmq.kernels.histogram import add_counts, list_bitmap, mark, rank_and_count, rank_bitmap

    run_mark = mark[rows.shape[1]]
    n_pixels = len(rows)
    ids = np.empty(n_pixels, np.uint32)
    # Unions and whole numbers come out the same however many parts there are.
    parts = _even_parts(n_pixels, max(1, min(2 * n_threads, 8, n_pixels >> _PART_BITS)))
    bitmaps = np.zeros((len(parts), max(1, (1 << 8 * rows.shape[1]) // 64)), np.uint64)

    def mark_part(part: int) -> None:
        pixels = parts[part]
        run_mark(rows[pixels].reshape(-1), encode, ids[pixels], bitmaps[part])

    run_chunks(mark_part, len(parts), n_threads)
    bitmap = bitmaps[0]
    for other in bitmaps[1:]:
        bitmap |= other
    ranks = np.empty(bitmap.size, np.uint32)
    keys = np.empty(rank_bitmap(bitmap, ranks), np.uint32)
    words = _even_parts(bitmap.size, max(1, min(2 * n_threads, bitmap.size >> _WORD_BITS)))

    def list_part(part: int) -> None:
        first = words[part].start
        list_bitmap(bitmap[words[part]], first, keys[ranks[first] :])

    run_chunks(list_part, len(words), n_threads)

    # Each part counts for itself, with all their counts together no larger than two pictures' ids.
    parts = _even_parts(n_pixels, max(1, min(len(parts), 2 * n_pixels // len(keys))))
    part_counts = np.zeros((len(parts), len(keys)), np.uint32)

    def count_part(part: int) -> None:
        rank_and_count(bitmap, ranks, ids[parts[part]], part_counts[part])

    run_chunks(count_part, len(parts), n_threads)
    counts = Unsealed((len(keys),), np.dtype(np.int64))
    add_counts(part_counts, counts.array)
    return keys, counts.seal(), ids


def _count_by_hash(
    rows: np.ndarray[Any, Any], encode: np.ndarray[Any, Any], n_threads: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the same for keys of up to 64 bits, or for few pixels."""
    from kmq.kernels.histogram import fill_table, number_keys, renumber_and_count

    pixel_keys = np.empty(len(rows), encode.dtype)
    _spread(rows, encode, pixel_keys, n_threads)
    pixel_keys = pixel_keys.astype(np.uint64, copy=False)
    ids = np.empty(len(rows), np.uint32)
    position, n_known, log_slots = 0, 0, min(16, (len(rows) - 1).bit_length())
    unique = np.empty(0, np.uint64)
    while position < len(rows):
        log_slots += 1
        # np.resize would repeat what is there; only the first n_known keys are meant.
        unique = np.concatenate([unique[:n_known], np.empty(1 << (log_slots - 1), np.uint64)])
        table_keys = np.empty(1 << log_slots, np.uint64)
        table_ids = np.zeros(1 << log_slots, np.uint32)
        shift = np.uint64(64 - log_slots)
        fill_table(unique, n_known, shift, table_keys, table_ids)
        position, n_known = number_keys(
            pixel_keys, position, n_known, shift, table_keys, table_ids, unique, ids
        )
    order = np.argsort(unique[:n_known], kind="stable")
    new_ids = np.empty(n_known, np.uint32)
    new_ids[order] = np.arange(n_known, dtype=np.uint32)
    counts = np.zeros(n_known, np.uint32)
    renumber_and_count(new_ids, ids, counts)
    return unique[order].astype(encode.dtype, copy=False), counts.astype(np.int64), ids


def _even_parts(size: int, n_parts: int) -> list[slice]:
    bounds = [size * part // n_parts for part in range(n_parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@lru_cache(maxsize=16)
def _spread_tables(
    dtype: np.dtype[Any], channels: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the tables (bytes, 256) from the bytes of samples to Morton keys, and back."""
    size, n_bytes = dtype.itemsize, dtype.itemsize * channels
    key_bytes = 4 if 8 * n_bytes <= _BITMAP_KEY_BITS else 8
    encode = np.zeros((n_bytes, 256), np.uint64)
    decode = np.zeros((key_bytes, 256), np.uint64)
    values = np.arange(256, dtype=np.uint64)
    for row in range(n_bytes):
        colors = np.zeros((256, n_bytes), np.uint8)
        colors[:, row] = values
        encode[row] = interleaved(colors.view(dtype), 8 * size)
    for significance in range(key_bytes):
        keys = values << np.uint64(8 * significance)
        stored = separated(keys, channels, 8 * size).astype(dtype).view(np.uint8)
        decode[_byte_position(significance, key_bytes)] = sum(
            stored[:, b].astype(np.uint64) << np.uint64(8 * b) for b in range(n_bytes)
        )
    return encode.astype(np.uint32 if key_bytes == 4 else np.uint64), decode


def _byte_position(significance: int, size: int) -> int:
    """Return where the byte of that significance stands in memory in a number of `size` bytes."""
    return significance if sys.byteorder == "little" else size - 1 - significance
