"""Attributes that are computed on first use and then kept, without a lock.

`functools.cached_property` of Python 3.11 holds one lock for all instances of a class while it
computes. A fork in another thread leaves it taken in the child for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class computed_once(Generic[Value]):  # noqa: N801  # it stands beside property
    """Decorate a method of no arguments as an attribute that keeps its first value.

    The value is kept in the instance's `__dict__`, as with `functools.cached_property`. Two threads
    that ask at the same time may both compute it; the method must give both the same.
    """

    def __init__(self, compute: Callable[[Any], Value]):
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the name under which the value is kept."""
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Value:
        """Compute and keep the value; later look-ups find it in the instance and skip this."""
        if instance is None:
            return self
        value = self._compute(instance)
        instance.__dict__[self._name] = value
        return value
