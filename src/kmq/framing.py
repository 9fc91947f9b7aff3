"""Chunks of arrays as bytes, whatever they hold: a .kmq file of labels if they can be one.

A chunk begins with the first byte of a .kmq file; or with DEFLATED and its size as 8 bytes, lowest
first, before one raw deflate stream of its bytes; or with SWAPPED before a .kmq file of labels
that are decoded with the highest byte first.
"""

from __future__ import annotations

import io
import math
import sys
from typing import Any

import numpy as np

from kmq import checks
from kmq.deflate import deflate, inflate_exactly
from kmq.errors import FormatError, InputError, LimitError
from kmq.labels import encode_labels
from kmq.model.arrays import Array
from kmq.model.choices import EFFORTS, Effort
from kmq.model.file_info import Limits
from kmq.model.labels import Labels
from kmq.pipeline.labelling import decoded
from kmq.stages.coding.methods import MethodName, strip_method
from kmq.stages.container.chunks import SIGNATURE

DEFLATED, SWAPPED = 0, 1
_SIZE = 8  # bytes of the size of a deflated chunk
_MOST_BYTES = 8 * Limits().pixels
_LITTLE = sys.byteorder == "little"


def check_options(effort: Any, method: Any) -> None:
    """Raise InputError or TypeError for what `encode_chunk` would take for faults of an array."""
    checks.one_of(effort, "effort", EFFORTS)
    if method is not None:
        strip_method(method)


def encode_chunk(array: Array, effort: Effort | None, method: MethodName | None) -> bytes:
    """Code an array in C order as labels, or deflate its bytes if it has no labels.

    Floats, dates and more than 65,536 distinct integers are deflated.
    """
    try:
        coded = encode_labels(array, effort=effort, method=method, n_threads=1)
    except InputError:
        if array.dtype.hasobject:
            raise
        size = array.nbytes.to_bytes(_SIZE, "little")
        return bytes([DEFLATED]) + size + deflate(array.tobytes())
    swapped = array.dtype.itemsize > 1 and array.dtype.isnative != _LITTLE
    return bytes([SWAPPED]) + coded if swapped else coded


def decode_chunk(content: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the array of this shape and type, native or not, that a chunk holds.

    Raises:
        FormatError: the chunk is damaged, or holds another array. Memory is asked for only for
            the expected array.
    """
    size = math.prod(shape)
    if _code(content) == DEFLATED:
        stored = int.from_bytes(content[1 : 1 + _SIZE], "little")
        if stored != size * dtype.itemsize:
            raise FormatError(
                f"the chunk has {stored} bytes; shape {shape} of {dtype} has "
                f"{size * dtype.itemsize}"
            )
        plain = inflate_exactly(content[1 + _SIZE :], stored)
        return np.frombuffer(bytearray(plain), dtype).reshape(shape)

    def check(labels: Labels) -> None:
        if labels.shape != shape or labels.values.dtype != dtype.newbyteorder("="):
            raise FormatError(
                f"the chunk holds labels of shape {labels.shape} and type {labels.values.dtype}; "
                f"the array has shape {shape} and type {dtype}"
            )

    return decoded(_file(content), Limits(pixels=size), 1, check)


def decode_bytes(content: bytes) -> Array:
    """Return what a chunk holds, bytes in the order that they had; deflated ones as uint8.

    Raises:
        FormatError: the chunk is damaged, or holds more than `kmq.Limits()` allow.
    """
    if _code(content) == DEFLATED:
        size = int.from_bytes(content[1 : 1 + _SIZE], "little")
        if size > _MOST_BYTES:
            raise LimitError(f"the chunk has {size} bytes; the limit is {_MOST_BYTES}")
        return np.frombuffer(bytearray(inflate_exactly(content[1 + _SIZE :], size)), np.uint8)
    labels = decoded(_file(content), Limits(), 1)
    order = "<" if _code(content) == SIGNATURE[0] else ">"
    return labels.astype(labels.dtype.newbyteorder(order), copy=False)


def _code(content: bytes) -> int:
    if not content:
        raise FormatError("the chunk is empty")
    code = content[0]
    if code not in (DEFLATED, SWAPPED, SIGNATURE[0]):
        raise FormatError(f"the chunk begins with {code:#04x}; kmq did not write it")
    if code == DEFLATED and len(content) <= _SIZE:
        raise FormatError("the chunk ends within its size")
    return code


def _file(content: bytes) -> io.BytesIO:
    return io.BytesIO(content if content[0] == SIGNATURE[0] else content[1:])
