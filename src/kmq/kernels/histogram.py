"""Distinct colours of a picture, and which of them each pixel shows.

A colour's key interleaves the bits of its channels, most significant first (Morton order), so that
each cube of colour space that a few leading bits name is one run of the sorted colours. Keys up to
24 bits are counted with a bitmap of all keys and the rank of each set bit in it: 2 MiB, where a
table of counts would take 64 and a sort three passes. Longer keys go through a hash table.
"""

from __future__ import annotations

import numpy as np

from kmq.kernels._jit import inlined, kernel, leading_zeros, named, popcount

HASH_MULTIPLIER = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4)."""


_BLOCK, _STREAMS = 8192, 8
"""Pixels marked at a time, in so many streams: neighbours often share a word of the bitmap, and
each such word waits for the one before to be stored."""


@inlined
def _apart(value):
    """Return the bits of a byte with two zeros between any two."""
    bits = np.uint32(value)
    bits = (bits | (bits << np.uint32(8))) & np.uint32(0x00F00F)
    bits = (bits | (bits << np.uint32(4))) & np.uint32(0x0C30C3)
    return (bits | (bits << np.uint32(2))) & np.uint32(0x249249)


@inlined
def _write_keys(n_bytes, rows, tables, out_keys):
    """Set key i to the union of tables[b, byte b of row i]; rows of `n_bytes` are one array."""
    # Positions are unsigned, since a negative one would stop vectorisation.
    for i in range(out_keys.size):
        first = np.uint64(n_bytes) * np.uint64(i)
        if n_bytes == 3:  # the same without tables: it becomes vectors, three times as fast
            key = _apart(rows[first]) << np.uint32(2)
            key |= _apart(rows[first + np.uint64(1)]) << np.uint32(1)
            out_keys[i] = key | _apart(rows[first + np.uint64(2)])
        else:
            union = tables[0, rows[first]]
            for b in range(1, n_bytes):
                union |= tables[b, rows[first + np.uint64(b)]]
            out_keys[i] = union


@inlined
def _set_bit(key, bitmap):
    bitmap[key >> np.uint32(6)] |= np.uint64(1) << np.uint64(key & np.uint32(63))


def _make_spread(n_bytes):
    """Return the kernel that ors one table entry for each of a row's `n_bytes` bytes."""

    def spread(rows, tables, out_keys):
        """Set key i to the union of tables[b, rows[i * n_bytes + b]] over the bytes b of row i."""
        _write_keys(n_bytes, rows, tables, out_keys)

    key = "u4" if n_bytes <= 3 else "u8"
    return kernel(f"u1[:], {key}[:, :], {key}[:]")(named(spread, f"spread_{n_bytes}"))


spread = {n_bytes: _make_spread(n_bytes) for n_bytes in (1, 2, 3, 4, 6, 8)}


def _make_mark(n_bytes):
    """Return the kernel that spreads rows of `n_bytes` bytes, and sets bits."""

    def mark(rows, tables, out_keys, out_bitmap):
        """Write keys (uint32) as `spread` does; set the bit of each in `out_bitmap` (uint64)."""
        for start in range(0, out_keys.size, _BLOCK):
            keys = out_keys[start : start + _BLOCK]
            _write_keys(n_bytes, rows[n_bytes * start :], tables, keys)
            part = keys.size // _STREAMS
            for i in range(part):
                for stream in range(_STREAMS):
                    _set_bit(keys[np.uint64(stream * part + i)], out_bitmap)
            for i in range(_STREAMS * part, keys.size):
                _set_bit(keys[i], out_bitmap)

    return kernel("u1[:], u4[:, :], u4[:], u8[:]")(named(mark, f"mark_{n_bytes}"))


mark = {n_bytes: _make_mark(n_bytes) for n_bytes in (1, 2, 3)}


def _make_gather(n_bytes):
    """Return the kernel that undoes `spread`, for samples of `n_bytes` bytes."""

    def gather(keys, tables, out_rows):
        """Write byte b of the union of tables[c, keys[i, c]] over the bytes c of key i as
        out_rows[i, b], the lowest first."""
        for i in range(keys.shape[0]):
            row = tables[0, keys[i, 0]]
            for b in range(1, 4 if n_bytes <= 3 else 8):
                row |= tables[b, keys[i, b]]
            for b in range(n_bytes):
                out_rows[i, b] = row >> np.uint64(8 * b)

    return kernel("u1[:, :], u8[:, :], u1[:, :]")(named(gather, f"gather_{n_bytes}"))


gather = {n_bytes: _make_gather(n_bytes) for n_bytes in (1, 2, 3, 4, 6, 8)}


@kernel("u8[:], u4[:]")
def rank_bitmap(bitmap, out_ranks):
    """Write how many bits are set before each word; return how many there are in all."""
    total = 0
    for word in range(bitmap.size):
        out_ranks[word] = total
        total += popcount(bitmap[word])
    return total


@kernel("u8[:], i8, u4[:]")
def list_bitmap(bitmap, first, out_keys):
    """Write the keys whose bits are set in words from `first` on, in ascending order."""
    count = 0
    for word in range(bitmap.size):
        bits = bitmap[word]
        while bits != np.uint64(0):
            lowest = bits & (~bits + np.uint64(1))
            out_keys[count] = np.uint64(first + word) * np.uint64(64) + np.uint64(
                popcount(lowest - np.uint64(1))
            )
            bits ^= lowest
            count += 1


@kernel("u8[:], u4[:], u4[:], u4[:]")
def rank_and_count(bitmap, ranks, keys, out_counts):
    """Replace each key by its rank among the set bits, and count the ranks."""
    for i in range(keys.size):
        word = keys[i] >> np.uint32(6)
        bit = np.uint64(1) << np.uint64(keys[i] & np.uint32(63))
        rank = ranks[word] + np.uint32(popcount(bitmap[word] & (bit - np.uint64(1))))
        keys[i] = rank
        out_counts[rank] += np.uint32(1)


@kernel("u4[:, :], i8[:]")
def add_counts(counts, out_counts):
    """Write the sums of the counts (parts, m)."""
    for i in range(out_counts.size):
        out_counts[i] = counts[0, i]
    for part in range(1, counts.shape[0]):
        for i in range(out_counts.size):
            out_counts[i] += counts[part, i]


@inlined
def _slot(key, shift, mask, table_keys, table_ids):
    """Return the slot that holds `key`, or the free slot (id 0) where it belongs."""
    slot = (key * np.uint64(HASH_MULTIPLIER)) >> shift
    while table_ids[slot] != 0 and table_keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel("u8[:], i8, i8, u8, u8[:], u4[:], u8[:], u4[:]")
def number_keys(keys, start, n_known, shift, table_keys, table_ids, out_unique, out_ids):
    """Number the distinct `keys` (uint64) from `start` on in order of first sight, from `n_known`.

    The tables have 2^(64 - shift) slots; an id is stored plus one, and 0 marks a free slot. Returns
    the position where more than half the slots would be taken (the caller then doubles the tables
    and goes on from there), or keys.size, and the count of distinct keys so far.
    """
    mask = np.uint64(table_ids.size - 1)
    for i in range(start, keys.size):
        slot = _slot(keys[i], shift, mask, table_keys, table_ids)
        if table_ids[slot] == 0:
            if 2 * (n_known + 1) > table_ids.size:
                return i, n_known
            out_unique[n_known] = keys[i]
            n_known += 1
            table_keys[slot] = keys[i]
            table_ids[slot] = n_known
        out_ids[i] = table_ids[slot] - np.uint32(1)
    return keys.size, n_known


@kernel("u8[:], i8, u8, u8[:], u4[:]")
def fill_table(unique, n_known, shift, out_table_keys, out_table_ids):
    """Enter the first `n_known` distinct keys into empty tables."""
    mask = np.uint64(out_table_ids.size - 1)
    for i in range(n_known):
        slot = _slot(unique[i], shift, mask, out_table_keys, out_table_ids)
        out_table_keys[slot] = unique[i]
        out_table_ids[slot] = i + 1


@kernel("u4[:], u4[:], u4[:]")
def renumber_and_count(new_ids, ids, out_counts):
    """Replace each id by new_ids[id], and count the new ids."""
    for i in range(ids.size):
        ids[i] = new_ids[ids[i]]
        out_counts[ids[i]] += np.uint32(1)


@kernel("key[:], i8[:]", key=("u4", "u8"))
def count_differences(keys, out_counts):
    """Count the keys by the highest bit (0 to 63) in which they differ from the one before."""
    for i in range(1, keys.size):
        difference = np.uint64(keys[i] ^ keys[i - 1])
        out_counts[np.uint64(63) - leading_zeros(difference)] += 1


@kernel("key[:], key, i4[:]", key=("u4", "u8"))
def number_boxes(keys, shift, out_boxes):
    """Write the number of each key's box, from 0: keys of one are equal without `shift` bits."""
    box = 0
    out_boxes[0] = 0
    for i in range(1, keys.size):
        box += keys[i] >> shift != keys[i - 1] >> shift
        out_boxes[i] = box


@kernel("key[:], key, f4[:, :], f8[:], f4[:, :], f8[:]", key=("u4", "u8"))
def fill_boxes(keys, shift, columns, weights, out_columns, out_weights):
    """Write the weight and the weighted mean (float32) of the points in each box.

    The points of a box are a run of keys that are equal without their last `shift` bits.
    """
    d, box = columns.shape[0], 0
    # In bounds, and unused where there are fewer columns.
    xs, ys = columns[0], columns[min(1, d - 1)]
    zs, ws = columns[min(2, d - 1)], columns[min(3, d - 1)]
    total = x_sum = y_sum = z_sum = w_sum = 0.0
    for i in range(keys.size):
        weight = weights[i]
        total += weight
        x_sum += weight * xs[i]
        y_sum += weight * ys[i]
        z_sum += weight * zs[i]
        w_sum += weight * ws[i]
        if i + 1 == keys.size or keys[i + 1] >> shift != keys[i] >> shift:
            out_weights[box] = total
            out_columns[0, box] = x_sum / total
            if d > 1:
                out_columns[1, box] = y_sum / total
            if d > 2:
                out_columns[2, box] = z_sum / total
            if d > 3:
                out_columns[3, box] = w_sum / total
            total = x_sum = y_sum = z_sum = w_sum = 0.0
            box += 1


@kernel("u4[:], label[:], label[:]", label=("u1", "u2"))
def look_up(ids, labels, out_indices):
    """Write labels[id] for each pixel: from the colour a pixel shows to its palette entry."""
    for i in range(ids.size):
        out_indices[i] = labels[ids[i]]
