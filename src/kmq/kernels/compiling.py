"""When kernels are compiled, and where the machine code is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

from kmq.kernels._jit import kernel


@kernel
def _probe():
    """Stand for the kernels of this folder, which share one cache folder; it is never run."""
    return 0


def cache_folder() -> str | None:
    """Where compiled kernels are kept, or None if no folder is writable."""
    probe: Any = _probe
    folder: str | None = probe.stats.cache_path
    return folder


@contextmanager
def listening(heard: Callable[[str], None]) -> Iterator[None]:
    """Call `heard` with the name of each kernel that is compiled, and not just loaded, meanwhile.

    The call comes before the compilation, on the thread that needs the kernel.
    """
    with event.install_listener("numba:compile", _Listener(heard)):
        yield


class _Listener(event.Listener):
    def __init__(self, heard: Callable[[str], None]):
        self._heard = heard

    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("kmq."):
            self._heard(f"{function.__module__}.{function.__name__}")

    def on_end(self, event):
        pass
