"""Heaps of numbers of things, the one with the largest key first, the lowest number of equals."""

from __future__ import annotations

from kmq.kernels._jit import inlined


@inlined
def _is_before(keys, a, b):
    return keys[a] > keys[b] or (keys[a] == keys[b] and a < b)


@inlined
def sift_down(keys, heap, size, at):
    """Move what is at a place, whose key may be too small for it, to where it belongs."""
    moved = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _is_before(keys, heap[child + 1], heap[child]):
            child += 1
        if not _is_before(keys, heap[child], moved):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moved


@inlined
def sift_up(keys, heap, at):
    """Move what is at a place, whose key may be too large for it, to where it belongs."""
    moved = heap[at]
    while at > 0 and _is_before(keys, moved, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = moved


@inlined
def heapify(keys, heap, size):
    """Put the first `size` numbers in the order of a heap."""
    for at in range(size // 2 - 1, -1, -1):
        sift_down(keys, heap, size, at)


@inlined
def pop(keys, heap, size):
    """Take the first of `size` numbers out, and return it; it stands after the others then."""
    first = heap[0]
    heap[0] = heap[size - 1]
    heap[size - 1] = first
    if size > 1:
        sift_down(keys, heap, size - 1, 0)
    return first
