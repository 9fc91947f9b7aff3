"""Label maps in NumPy's ``.npy`` files: checked before there is memory for them."""

from __future__ import annotations

import math
import os
import tokenize
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kmq.atomic import replacing
from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.model.file_info import Limits, check_pixels
from kmq.model.labels import LABEL_TYPES

SUFFIX = ".npy"

_MAGIC = b"\x93NUMPY"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Readers of the headers that name no fields of structures in Unicode."""


def is_npy(path: Path) -> bool:
    """Whether a file is an array: by how it begins, or its suffix; raise OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC or path.suffix.lower() == SUFFIX


def read_labels(path: Path, limits: Limits) -> Array:
    """Return the array of a file, whatever its shape: an array file is a label map.

    Raises:
        InputError: it is damaged, is not of integers or bool, or has more elements than the limits
            allow.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        shape, is_fortran, dtype = _header(file, path)
        if dtype.newbyteorder("=") not in LABEL_TYPES:
            raise InputError(
                f"{path} has dtype {dtype}; a label map holds bool, or integers of 8 to 64 bits"
            )
        count = math.prod(shape)
        width = shape[-1] if shape else 1
        check_pixels(limits, width, count // max(width, 1))
        left, wanted = os.fstat(file.fileno()).st_size - file.tell(), count * dtype.itemsize
        if left != wanted:
            raise InputError(
                f"{path} has {left} bytes behind its header; {count} elements take {wanted}"
            )
        flat = np.fromfile(file, dtype, count)
    array: Array = flat.reshape(shape, order="F" if is_fortran else "C")
    return array


def write_labels(path: Path, labels: Array) -> None:
    """Write an array; the file appears whole or not at all."""
    with replacing(path) as file:
        np.lib.format.write_array(file, labels, allow_pickle=False)


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Return shape, whether the first index runs fastest, and type."""
    try:
        version = np.lib.format.read_magic(file)
        shape, is_fortran, dtype = _HEADERS[version](file)
        is_sound = all(size >= 0 for size in shape)
    # What NumPy's reader and Python's parser raise of headers that are damaged.
    except (ValueError, TypeError, SyntaxError, RecursionError, tokenize.TokenError):
        is_sound = False
    except KeyError:
        raise InputError(
            f"{path} is an .npy file of version {version[0]}.{version[1]}; kmq reads 1.0 and 2.0"
        ) from None
    if not is_sound:
        raise InputError(f"{path} does not begin with a sound header of an .npy file")
    return shape, is_fortran, dtype
