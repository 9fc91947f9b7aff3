"""Arrays that are checked once and then unchangeable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeAlias, TypeVar

import numpy as np

from kmq.errors import InputError
from kmq.model.pixel_format import PixelFormat

T = TypeVar("T")

Array: TypeAlias = np.ndarray[Any, Any]
"""An array of any shape and type; docstrings say which."""

_LOOKED_UP_AT_ONCE = 1 << 16  # indices, which NumPy widens to 8 bytes each


class EqualByFields:
    """Base of dataclasses, made with ``eq=False``, whose fields may be arrays or hold some.

    Instances are equal if their fields are, arrays as a whole. They have no hash.
    """

    def __eq__(self, other: object) -> bool:
        """Whether it is of the same class and all fields are equal."""
        if type(other) is not type(self):
            return NotImplemented
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]  # a dataclass
        return all(_is_same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]  # arrays have none


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def unchangeable(*arrays: str) -> Callable[[type[T]], type[T]]:
    """Decorate a frozen dataclass whose `__post_init__` puts these arrays over bytes.

    Each access gives a view of its own, since anybody can set the shape and dtype of an array.
    Copies and pickles are made by the constructor, with its checks.
    """

    def array_property(name: str) -> property:
        def get(self: Any) -> Any:
            array = vars(self)[name]
            return array.view() if isinstance(array, np.ndarray) else array

        def put(self: Any, array: Any) -> None:
            vars(self)[name] = array

        return property(get, put)

    def reduce(self: Any) -> tuple[type[T], tuple[Any, ...]]:
        return type(self), tuple(getattr(self, item.name) for item in fields(self))

    def decorate(cls: type[T]) -> type[T]:
        for name in arrays:
            setattr(cls, name, array_property(name))
        cls.__reduce__ = reduce  # type: ignore[method-assign]
        return cls

    return decorate


def contiguous(values: Any, dtype: Any = None) -> Array:
    """Return values in C order and aligned, as kernels take them; a copy only where they are not.

    Parts of a buffer, as what comes from another process or a file's content, may not be aligned.
    """
    return np.require(values, dtype, ("C", "A", "E"))


def looked_up(palette: np.ndarray[Any, Any], indices: np.ndarray[Any, Any]) -> Any:
    """Return the entry (channels,) of each index, (…, channels).

    By parts, five times as fast as ``palette[indices]``, and without the buffers in which NumPy
    converts indices there: where those find no memory it raises a SystemError.
    """
    colors = np.empty((*indices.shape, palette.shape[1]), palette.dtype)
    flat, rows = np.ascontiguousarray(indices).reshape(-1), colors.reshape(-1, palette.shape[1])
    for start in range(0, len(flat), _LOOKED_UP_AT_ONCE):
        part = slice(start, start + _LOOKED_UP_AT_ONCE)
        # The mode is for speed: indices are checked, or made, to be in range.
        np.take(palette, flat[part], axis=0, out=rows[part], mode="clip")
    return colors


def set_default(instance: Any, **defaults: Any) -> None:
    """Set attributes of a frozen instance that are None: not given."""
    for name, default in defaults.items():
        if getattr(instance, name) is None:
            object.__setattr__(instance, name, default)


def check_colors(colors: Any, name: str, pixel_format: PixelFormat) -> None:
    """Raise TypeError or InputError unless colours are (n, channels) of a pixel format."""
    if not isinstance(colors, np.ndarray):
        raise TypeError(f"{name} is {type(colors).__name__}; it must be a NumPy array")
    if colors.dtype != pixel_format.dtype:
        raise InputError(
            f"{name} is {colors.dtype}; pixel format {pixel_format.label} "
            f"has {pixel_format.dtype} samples"
        )
    if colors.ndim != 2 or colors.shape[1] != pixel_format.channels:
        raise InputError(
            f"{name} has shape {colors.shape}; pixel format {pixel_format.label} "
            f"needs (colours, {pixel_format.channels})"
        )
    if not len(colors):
        raise InputError(f"{name} has 0 colours; it holds at least 1")
    if colors.max() > pixel_format.max_value:
        raise InputError(
            f"{name} has a sample of {colors.max()}; pixel format {pixel_format.label} "
            f"goes up to {pixel_format.max_value}"
        )


def over_bytes(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the array C-ordered over bytes, which nobody can make writable again.

    One that lies over bytes already, as those of other images do, is not copied.
    """
    array = np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).view(np.ndarray)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if isinstance(owner.base, bytes):
        return array
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
