"""A fork amid another thread's call leaves no lock taken in the child.

A child has only the thread that forked. A lock that another thread held stays taken for good, so a
fork waits for the locks that kmq's calls take: those of modules that are being imported, and the
one of Numba's compiler. Both are held for a second or two at most.

`kmq` imports this module first, before there can be such a thread.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

TYPE_CHECKING = False  # typing and contextlib take longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

_taken_locks: list[Any] = []


def _before() -> None:
    _await_imports()
    compiler = sys.modules.get("numba.core.compiler_lock")
    if compiler is not None:
        compiler.global_compiler_lock.acquire()
        _taken_locks.append(compiler.global_compiler_lock)


def _await_imports() -> None:
    """Return when no other thread is importing a module of kmq, or what such a module imports.

    To import a module that another thread is importing waits for it. One that this thread itself
    is importing is returned at once.
    """
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if name.startswith("kmq.") and getattr(spec, "_initializing", False):
            try:  # noqa: SIM105
                import_module(name)
            except Exception:  # noqa: S110  # the other thread is told of what fails there
                pass


def _after() -> None:
    while _taken_locks:
        _taken_locks.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
