"""The doors for label maps: encode_labels, decode_labels, write_labels, read_labels."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from kmq import checks
from kmq.errors import InputError
from kmq.model.arrays import Array, contiguous
from kmq.model.choices import EFFORTS, Effort
from kmq.model.file_info import Limits, checked_limits
from kmq.model.image import MAX_SIDE
from kmq.model.labels import LABEL_TYPES, MAX_DIMENSIONS
from kmq.pipeline.labelling import LabelCoding, decoded
from kmq.stages.coding.methods import MethodName, strip_method
from kmq.stages.container.chunks import SUFFIXES
from kmq.streams import Source, Target, check_target, is_path, opened, write_all, written
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@checks.hinting()
def encode_labels(
    labels: ArrayLike,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
) -> bytes:
    """Return a label map as the bytes of a .kmq file.

    Values are names, not amounts: each comes back exactly, and so do type and shape. A million
    pixels take less than a tenth of a second with "fast".

    Args:
        labels: array of 1 to 32 dimensions, (y, x) and (z, y, x) among them, of bool or integers
            of 8 to 64 bits, signed or not, in either byte order, with at least one element and up
            to 65,536 distinct values. A strip covers rows along the last dimension.
        effort: time to take, "fast", "balanced" (the default) or "best".
        method: how indices of labels are coded, "label", "deflate", "mix" or "rank", which is
            "label" above 256 labels. None leaves the choice to kmq.
        strip_height: rows that are coded by themselves, of all slices one below the other; None
            leaves that to kmq.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores. The bytes do not
            depend on it.
        limits: how many pixels a map may have, and how much work it may take to decode; None for
            `kmq.Limits()`, which readers take, too.

    Raises:
        InputError: the array has another type, too many distinct values or dimensions, or no
            element; or an argument is out of range.
        TypeError: an argument is of the wrong type.

    >>> masks = np.zeros((4, 512, 512), np.int32)
    >>> masks[:, 100:200, 100:300] = -1
    >>> encoded = kmq.encode_labels(masks)
    >>> np.array_equal(kmq.decode_labels(encoded), masks)
    True
    """
    coding = _checked_coding(effort, method, strip_height, n_threads, limits)
    return b"".join(coding.pieces(_checked(labels)))


def decode_labels(
    encoded: bytes | bytearray | memoryview,
    *,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> np.ndarray[Any, Any]:
    """Return the array that `encode_labels` was given, in C order and native byte order.

    Args:
        encoded: the file; any object with the buffer protocol.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: the bytes are damaged (with chunk and offset), hold a picture, need a newer kmq
            (NewerFormatError), or hold more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.

    >>> kmq.decode_labels(kmq.encode_labels([[7, 7], [-3, 7]])).tolist()
    [[7, 7], [-3, 7]]
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    try:
        stream = io.BytesIO(encoded)
    except TypeError:
        raise TypeError(
            f"encoded is {type(encoded).__name__}; it must be the bytes of a .kmq file "
            "(kmq.read_labels takes paths and file objects)"
        ) from None
    return decoded(stream, limits, threads)


@checks.hinting()
def write_labels(
    target: Target,
    labels: ArrayLike,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
) -> None:
    """Write a label map as a .kmq file; to a path it appears whole or not at all.

    Args:
        target: a path that ends in ``.kmq`` or has no suffix, or a file object open for binary
            writing.
        labels: see `encode_labels`, also for all other arguments.
        effort: see `encode_labels`.
        method: see `encode_labels`.
        strip_height: see `encode_labels`.
        n_threads: see `encode_labels`.
        limits: see `encode_labels`.

    Raises:
        InputError: as for `encode_labels`; or the target has the suffix of another kind of file.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be written.

    >>> kmq.write_labels("cells.kmq", np.eye(64, dtype=np.uint16))
    """
    if is_path(target):
        checks.suffix(os.fsdecode(target), SUFFIXES, "files that write_labels makes")
    check_target(target)
    coding = _checked_coding(effort, method, strip_height, n_threads, limits)
    array = _checked(labels)
    with written(target) as stream:
        write_all(stream, coding.pieces(array))


def read_labels(
    source: Source, *, limits: Limits | None = None, n_threads: int | None = None
) -> np.ndarray[Any, Any]:
    """Read the label map of a .kmq file; see `decode_labels`.

    Args:
        source: a path, the bytes of the file, or a file object open for binary reading, which is
            read from where it stands and stays open.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: as for `decode_labels`.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.

    >>> kmq.write_labels("cells.kmq", np.eye(64, dtype=np.uint16))
    >>> int(kmq.read_labels("cells.kmq").sum())
    64
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    with opened(source) as stream:
        return decoded(stream, limits, threads)


def _checked_coding(
    effort: Any, method: Any, strip_height: Any, n_threads: Any, limits: Any
) -> LabelCoding:
    """Check the options of a map's coding; raise InputError or TypeError."""
    effort = checks.one_of(checks.given(effort, "balanced"), "effort", EFFORTS)
    if method is not None:
        strip_method(method)
    if strip_height is not None:
        strip_height = checks.whole_number(strip_height, "strip_height", 1, MAX_SIDE)
    threads = resolve_threads(n_threads)
    return LabelCoding(effort, method, strip_height, threads, checked_limits(limits))


def _checked(labels: Any) -> Array:
    """Return labels in C order and the byte order of the machine; raise InputError or TypeError."""
    if hasattr(labels, "filled"):  # to ask for its class would import numpy.ma
        raise TypeError("labels is a masked array; labels.filled(…) says what stands in its place")
    array = np.asarray(labels)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in LABEL_TYPES:
        raise InputError(
            f"labels has dtype {array.dtype}; a label map holds bool, or integers of 8 to 64 bits"
        )
    if not 1 <= array.ndim <= MAX_DIMENSIONS:
        raise InputError(
            f"labels has {array.ndim} dimensions; a label map has 1 to {MAX_DIMENSIONS}, as (y, x) "
            "or (z, y, x)"
        )
    if array.size == 0:
        raise InputError(f"labels has shape {array.shape}; a label map has at least one element")
    if max(array.shape) > MAX_SIDE:
        raise InputError(f"labels has shape {array.shape}; sizes go up to {MAX_SIDE}")
    return contiguous(array, LABEL_TYPES[LABEL_TYPES.index(dtype)])
