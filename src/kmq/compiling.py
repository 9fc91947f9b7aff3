"""Who hears of kernels that are compiled, and not just loaded.

This module imports nothing of Numba, which the first kernel loads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_heard_start: list[Callable[[str], None]] = []
_heard_end: list[Callable[[float], None]] = []

_seconds = 0.0
_begun: list[float] = []
"""When the kernels that are being compiled were begun: one, and those that it calls."""


@contextmanager
def listening(
    at_start: Callable[[str], None], at_end: Callable[[float], None] | None = None
) -> Iterator[None]:
    """Call `at_start` with the name of each kernel that is compiled meanwhile, before it is.

    `at_end` is called after it with the seconds that it took, those it calls included. Both calls
    are on the thread that needs the kernel.
    """
    at_end = at_end or (lambda _: None)
    _heard_start.append(at_start)
    _heard_end.append(at_end)
    try:
        yield
    finally:
        _heard_start.remove(at_start)
        _heard_end.remove(at_end)


def seconds() -> float:
    """Return how long kernels have been compiled in this process."""
    return _seconds


def start(kernel: str) -> None:
    """Tell that one is going to be compiled; the caller holds Numba's lock until it is."""
    _begun.append(time.perf_counter())
    for tell in _heard_start:
        tell(kernel)


def end() -> None:
    """Tell that it is compiled."""
    global _seconds
    spent = time.perf_counter() - _begun.pop()
    if _begun:  # it counts for the one that calls it
        return
    _seconds += spent
    for tell in _heard_end:
        tell(spent)
