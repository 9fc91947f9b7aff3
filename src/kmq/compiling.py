"""Who hears of kernels that are compiled, and how long kernels took to be made ready.

This module imports nothing of Numba, which the first kernel loads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_heard_start: list[Callable[[str], None]] = []
_heard_end: list[Callable[[float], None]] = []

_seconds = 0.0
_depth = 0
"""Kernels that are being made ready: one, and those that it calls."""


@contextmanager
def listening(at_start: Callable[[str], None], at_end: Callable[[float], None]) -> Iterator[None]:
    """Call `at_start` with the name of each kernel that is compiled meanwhile, before it is.

    `at_end` is called with the seconds that a kernel took, those it calls included, compiled or
    loaded. Both calls are on the thread that needs the kernel.
    """
    _heard_start.append(at_start)
    _heard_end.append(at_end)
    try:
        yield
    finally:
        _heard_start.remove(at_start)
        _heard_end.remove(at_end)


def seconds() -> float:
    """Return how long kernels, and the compiler, have been made ready in this process."""
    return _seconds


def tell(kernel: str) -> None:
    """Tell that a kernel is going to be compiled, and not just loaded."""
    for hear in _heard_start:
        hear(kernel)


@contextmanager
def making_ready() -> Iterator[None]:
    """Count the time of the block as that of a kernel; one thread at a time may do so."""
    global _seconds, _depth
    began = time.perf_counter()
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:  # otherwise it counts for the one that calls it
            spent = time.perf_counter() - began
            _seconds += spent
            for hear in _heard_end:
                hear(spent)
