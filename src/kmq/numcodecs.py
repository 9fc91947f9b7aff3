"""Label maps as a codec of numcodecs: for Zarr's format 2, and whatever else takes such codecs.

numcodecs finds it by its name, ``kmq_labels``, without an import of kmq.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray_like, ndarray_copy

from kmq.framing import check_options, decode_bytes, encode_chunk
from kmq.model.choices import Effort
from kmq.stages.coding.methods import MethodName


class KmqLabels(Codec):
    """Code arrays of labels, exactly.

    Arrays that are no label map, as of floats or with more than 65,536 distinct values, are
    deflated, so that every chunk can be written.

    Args:
        effort: see `kmq.encode_labels`.
        method: see `kmq.encode_labels`.

    Raises:
        InputError: an argument is out of range.
        TypeError: an argument is of the wrong type.

    >>> codec = KmqLabels(effort="fast")
    >>> labels = np.repeat(np.arange(6, dtype=np.int32), 100).reshape(20, 30)
    >>> np.array_equal(codec.decode(codec.encode(labels)), labels)
    True
    """

    codec_id: ClassVar[str] = "kmq_labels"

    def __init__(self, effort: Effort = "balanced", method: MethodName | None = None):
        check_options(effort, method)
        self.effort, self.method = effort, method

    def encode(self, buf: Any) -> bytes:
        """Return an array or any other buffer as bytes."""
        array = np.asarray(ensure_ndarray_like(buf))
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            array = array.T  # as it lies in memory
        return encode_chunk(np.ascontiguousarray(array), self.effort, self.method)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the array, its axes as they lay in memory, or fill `out`.

        Raises:
            FormatError: the bytes are damaged, or hold more than `kmq.Limits()` allow.
        """
        return ndarray_copy(decode_bytes(ensure_bytes(buf)), out)
