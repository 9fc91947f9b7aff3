"""Label maps as codecs of Zarr's format 3: `KmqLabels` for ``serializer=``, `KmqLabelsBytes` for
``compressors=``.

Zarr finds them by their names, ``kmq_labels`` and ``kmq_labels_bytes``, without an import of kmq.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from zarr.abc.codec import ArrayBytesCodec, BytesBytesCodec

from kmq.errors import InputError
from kmq.framing import check_options, decode_chunk, encode_chunk
from kmq.model.arrays import Array
from kmq.model.choices import Effort
from kmq.stages.coding.methods import MethodName

if TYPE_CHECKING:
    from typing import Self

    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer


@dataclass(frozen=True)
class _Options:
    """What both codecs are made with, and how that is written in ``zarr.json``."""

    codec_name: ClassVar[str]
    is_fixed_size: ClassVar[bool] = False

    effort: Effort = "balanced"
    method: MethodName | None = None

    def __post_init__(self) -> None:
        """Raise InputError or TypeError for what cannot be meant."""
        check_options(self.effort, self.method)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a codec of its entry in ``zarr.json``."""
        if data.get("name") != cls.codec_name:
            raise InputError(f"the codec is {data.get('name')!r}; it must be {cls.codec_name!r}")
        return cls(**data.get("configuration", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in ``zarr.json``."""
        options = {"effort": self.effort, "method": self.method}
        given = {name: value for name, value in options.items() if value is not None}
        return {"name": self.codec_name, "configuration": given}

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size depends on the labels."""
        raise NotImplementedError

    async def _coded(self, array: Array, chunk_spec: ArraySpec) -> Buffer:
        coded = await asyncio.to_thread(encode_chunk, array, self.effort, self.method)
        return chunk_spec.prototype.buffer.from_bytes(coded)

    async def _labels(self, coded: Buffer, chunk_spec: ArraySpec) -> Array:
        content, dtype = coded.to_bytes(), _little(chunk_spec)
        return await asyncio.to_thread(decode_chunk, content, chunk_spec.shape, dtype)


class KmqLabels(_Options, ArrayBytesCodec):
    """Code chunks of labels, exactly: Zarr's ``serializer``.

    Chunks that are no label map, as of floats or with more than 65,536 distinct values, are
    deflated, so that every chunk can be written. A chunk that is read must have the shape and type
    that the array says, before there is memory for it.

    Args:
        effort: see `kmq.encode_labels`.
        method: see `kmq.encode_labels`.

    Raises:
        InputError: an argument is out of range.
        TypeError: an argument is of the wrong type.

    >>> labels = zarr.create_array(
    ...     zarr.storage.MemoryStore(),
    ...     shape=(100, 100),
    ...     chunks=(50, 50),
    ...     dtype="int32",
    ...     serializer=KmqLabels(),
    ...     compressors=None,
    ... )
    >>> labels[20:40] = 7
    >>> int(labels[:].sum())
    14000
    """

    codec_name: ClassVar[str] = "kmq_labels"

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        # The format does not say in which order the bytes of a number are.
        array = np.ascontiguousarray(chunk_array.as_numpy_array(), _little(chunk_spec))
        array = array.reshape(chunk_spec.shape)  # NumPy makes one dimension of none
        return await self._coded(array, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        array = await self._labels(chunk_bytes, chunk_spec)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array)


class KmqLabelsBytes(_Options, BytesBytesCodec):
    """Code chunks of labels whose bytes another codec has laid out: one of Zarr's ``compressors``.

    For programs that hand on ``compressors`` alone. It must be the first of them, and the
    serializer Zarr's own, ``bytes``, with the lowest byte first, which is the default.

    Args:
        effort: see `kmq.encode_labels`.
        method: see `kmq.encode_labels`.

    Raises:
        InputError: an argument is out of range.
        TypeError: an argument is of the wrong type.

    >>> labels = zarr.create_array(
    ...     zarr.storage.MemoryStore(),
    ...     shape=(100, 100),
    ...     dtype="int32",
    ...     compressors=KmqLabelsBytes(effort="fast"),
    ... )
    >>> labels[:, 20:40] = -1
    >>> int(labels[:].sum())
    -2000
    """

    codec_name: ClassVar[str] = "kmq_labels_bytes"

    async def _encode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        array = np.frombuffer(chunk_bytes.to_bytes(), _little(chunk_spec)).reshape(chunk_spec.shape)
        return await self._coded(array, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        array = await self._labels(chunk_bytes, chunk_spec)
        content = array.astype(_little(chunk_spec), copy=False).tobytes()
        return chunk_spec.prototype.buffer.from_bytes(content)


def _little(chunk_spec: ArraySpec) -> np.dtype[Any]:
    dtype: np.dtype[Any] = chunk_spec.dtype.to_native_dtype()
    return dtype.newbyteorder("<")
