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


def _make_spread(n_bytes):
    """Return the kernel that ors one table entry for each of a row's `n_bytes` bytes."""

    def spread(rows, tables, out_keys):
        """Set key i to the union of tables[b, rows[i, b]] over the bytes b of row i.

        The tables that go from samples to Morton keys and those that go back are both of this form.
        """
        for i in range(rows.shape[0]):
            key = tables[0, rows[i, 0]]
            for b in range(1, n_bytes):
                key |= tables[b, rows[i, b]]
            out_keys[i] = key

    key = "u4" if n_bytes <= 3 else "u8"
    return kernel(f"u1[:, :], {key}[:, :], {key}[:]")(named(spread, f"spread_{n_bytes}"))


spread = {n_bytes: _make_spread(n_bytes) for n_bytes in (1, 2, 3, 4, 6, 8)}


@kernel("u4[:], u8[:]")
def mark(keys, out_bitmap):
    """Set the bit of each key (uint32) in `out_bitmap` (uint64 words)."""
    for i in range(keys.size):
        out_bitmap[keys[i] >> np.uint32(6)] |= np.uint64(1) << np.uint64(keys[i] & np.uint32(63))


@kernel("u8[:], u4[:]")
def rank_bitmap(bitmap, out_ranks):
    """Write how many bits are set before each word; return how many there are in all."""
    total = 0
    for word in range(bitmap.size):
        out_ranks[word] = total
        total += popcount(bitmap[word])
    return total


@kernel("u8[:], u4[:]")
def list_bitmap(bitmap, out_keys):
    """Write the keys whose bits are set, in ascending order."""
    count = 0
    for word in range(bitmap.size):
        bits = bitmap[word]
        while bits != np.uint64(0):
            lowest = bits & (~bits + np.uint64(1))
            out_keys[count] = np.uint64(word) * np.uint64(64) + np.uint64(
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


@kernel("key[:], key, f4[:, :], f8[:], f4[:, :], f8[:]", key=("u4", "u8"))
def fill_boxes(keys, shift, columns, weights, out_columns, out_weights):
    """Write the weight and the weighted mean (float32) of the points in each box.

    The points of a box are a run of keys that are equal without their last `shift` bits.
    """
    start = 0
    box = 0
    for stop in range(1, keys.size + 1):
        if stop < keys.size and keys[stop] >> shift == keys[stop - 1] >> shift:
            continue
        total = 0.0
        for i in range(start, stop):
            total += weights[i]
        out_weights[box] = total
        for c in range(columns.shape[0]):
            mean = 0.0
            for i in range(start, stop):
                mean += weights[i] * columns[c, i]
            out_columns[c, box] = mean / total
        box += 1
        start = stop


@kernel("u4[:], label[:], label[:]", label=("u1", "u2"))
def look_up(ids, labels, out_indices):
    """Write labels[id] for each pixel: from the colour a pixel shows to its palette entry."""
    for i in range(ids.size):
        out_indices[i] = labels[ids[i]]
