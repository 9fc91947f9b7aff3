"""Chunk L: type, shape and values of a label map. FORMAT.md says which bytes."""

from __future__ import annotations

import math

import numpy as np

from kmq.deflate import deflate, inflate_exactly
from kmq.errors import FormatError, NewerFormatError
from kmq.model.arrays import Array
from kmq.model.labels import LABEL_TYPES, MAX_DIMENSIONS, Labels
from kmq.stages.container.chunks import NEWER, pack_varint, unpack_varint

VALUES, DIFFERENCES = 0, 1
"""Methods of values: as they are, or each minus the one before."""


def pack_labels(labels: Labels) -> bytes:
    """Return the payload of chunk L: whichever method is shorter, the lower of equals."""
    values = labels.values
    head = [LABEL_TYPES.index(values.dtype), len(labels.shape)]
    sizes = b"".join(pack_varint(size) for size in labels.shape)
    unsigned = values.view(f"u{values.itemsize}")
    differences = np.diff(unsigned, prepend=unsigned.dtype.type(0))  # wraps, as it should
    coded = [
        bytes([method]) + deflate(_planes(numbers))
        for method, numbers in ((VALUES, unsigned), (DIFFERENCES, differences))
    ]
    return bytes(head) + sizes + min(coded, key=len)


def unpack_labels(payload: bytes, width: int, height: int, n_labels: int) -> Labels:
    """Return what chunk L says of a map whose header has these sizes.

    Raises:
        FormatError: it is damaged, or its type or method is unknown.
    """
    if len(payload) < 2:
        raise FormatError("the labels end before their shape")
    code, n_dimensions = payload[:2]
    if code >= len(LABEL_TYPES):
        raise NewerFormatError(f"{NEWER}: its labels have type {code}")
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise FormatError(
            f"the labels have {n_dimensions} dimensions; they have 1 to {MAX_DIMENSIONS}"
        )
    sizes, position = [], 2
    for _ in range(n_dimensions):
        size, position = unpack_varint(payload, position)
        sizes.append(size)
    if sizes[-1] != width or math.prod(sizes[:-1]) != height:
        raise FormatError(f"the labels have shape {tuple(sizes)}; their strips {height} x {width}")
    if position == len(payload):
        raise FormatError("the labels end after their shape")
    method = payload[position]
    if method not in (VALUES, DIFFERENCES):
        raise NewerFormatError(f"{NEWER}: its labels are coded by method {method}")
    dtype = LABEL_TYPES[code]
    content = inflate_exactly(payload[position + 1 :], n_labels * dtype.itemsize)
    planes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, n_labels)
    big_endian = np.ascontiguousarray(planes.T).view(f">u{dtype.itemsize}")
    unsigned = big_endian.reshape(n_labels).astype(f"u{dtype.itemsize}")
    if method == DIFFERENCES:
        unsigned = np.cumsum(unsigned, dtype=unsigned.dtype)  # wraps
    if dtype == np.bool_ and unsigned.max() > 1:
        raise FormatError(f"a label is {unsigned.max()}; those of type bool are 0 and 1")
    return Labels(unsigned.view(dtype), tuple(sizes))


def _planes(numbers: Array) -> bytes:
    """Return the highest bytes of all numbers, then the next ones, down to the lowest."""
    stored = numbers.astype(numbers.dtype.newbyteorder(">")).view(np.uint8)
    return stored.reshape(len(numbers), numbers.itemsize).T.tobytes()
