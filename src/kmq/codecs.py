"""Label maps with functions as imagecodecs has them for each of its formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kmq import __version__, checks
from kmq.errors import InputError
from kmq.labels import decode_labels, encode_labels
from kmq.model.choices import Effort
from kmq.stages.container.chunks import SIGNATURE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_MOST_LEVEL = 9


def kmq_version() -> str:
    """Return the version of the codec.

    >>> kmq_version().startswith("kmq ")
    True
    """
    return f"kmq {__version__}"


def kmq_check(data: bytes | bytearray | memoryview) -> bool:
    """Return whether data begin as .kmq files do.

    >>> kmq_check(b"PNG")
    False
    """
    return bytes(data[: len(SIGNATURE)]) == SIGNATURE


def kmq_encode(
    data: ArrayLike, level: int | None = None, *, numthreads: int | None = None, out: Any = None
) -> bytes | bytearray | memoryview:
    """Return an array of labels as the bytes of a .kmq file.

    Args:
        data: see `kmq.encode_labels`.
        level: 0 to 9: up to 3 is "fast", up to 6 "balanced" (the default), above it "best".
        numthreads: threads to use; None for all cores.
        out: writable buffer to put the bytes into; the part that they fill is returned.

    Raises:
        InputError: the array is no label map; level is out of range; or out is too short.
        TypeError: an argument is of the wrong type.

    >>> labels = np.eye(16, dtype=np.uint8)
    >>> np.array_equal(kmq_decode(kmq_encode(labels, level=9)), labels)
    True
    """
    effort: Effort = "balanced"
    if level is not None:
        level = checks.whole_number(level, "level", 0, _MOST_LEVEL)
        effort = "fast" if level <= 3 else "balanced" if level <= 6 else "best"
    encoded = encode_labels(data, effort=effort, n_threads=numthreads)
    if out is None:
        return encoded
    room = memoryview(out).cast("B")
    if len(room) < len(encoded):
        raise InputError(f"out has {len(room)} bytes; the file has {len(encoded)}")
    room[: len(encoded)] = encoded
    return room[: len(encoded)]


def kmq_decode(
    data: bytes | bytearray | memoryview,
    index: int | None = None,
    *,
    numthreads: int | None = None,
    out: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    """Return the array that `kmq_encode` was given.

    Args:
        data: the bytes of a .kmq file of labels.
        index: None or 0: a file holds one array.
        numthreads: threads to use; None for all cores.
        out: array of the same shape and type to fill and return.

    Raises:
        InputError: index or out does not fit.
        FormatError: see `kmq.decode_labels`.
        TypeError: an argument is of the wrong type.

    >>> kmq_decode(kmq_encode([[1, 1], [1, -1]])).tolist()
    [[1, 1], [1, -1]]
    """
    if index is not None:
        checks.whole_number(index, "index", 0, 0)
    labels = decode_labels(data, n_threads=numthreads)
    if out is None:
        return labels
    if out.shape != labels.shape or out.dtype != labels.dtype:
        raise InputError(
            f"out has shape {out.shape} and type {out.dtype}; the labels have {labels.shape} and "
            f"{labels.dtype}"
        )
    out[...] = labels
    return out
