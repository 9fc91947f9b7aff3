"""``kmq warmup``: compile every kernel now, so that no later run has to."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import groupby

from kmq.cli.console import DONE, Commands, add_command, say
from kmq.compiling import listening

_EXAMPLES = """\
  kmq warmup
  NUMBA_CACHE_DIR=/var/cache/kmq kmq warmup     keep the compiled kernels elsewhere
"""

_SET_ONE = "set NUMBA_CACHE_DIR to one that is)"
_EACH_TIME = f" each time: no cache folder is writable ({_SET_ONE}"


def add(commands: Commands) -> None:
    """Add the sub-command."""
    add_command(
        commands,
        "warmup",
        run,
        summary="compile and keep every kernel, so that later runs start at once",
        examples=_EXAMPLES,
    )


def run(arguments: argparse.Namespace) -> int:
    """Compile every signature that a kernel declares; say what that took and where it is kept."""
    from kmq.kernels import _native

    if _native.library is not None:
        print(f"nothing to compile: kernels were {_native.reason}")
        return DONE
    import_module("kmq.kernels._numba")  # says so, where there is none
    from kmq.kernels._cache import cache_folder
    from kmq.kernels._compiler import all_kernels

    compiled: list[str] = []
    started = time.perf_counter()
    with listening(compiled.append, lambda _: None):
        for file, kernels in groupby(all_kernels(), lambda kernel: kernel.file):
            before, count = time.perf_counter(), len(compiled)
            for kernel in kernels:
                for arguments_of_one in kernel.declared:
                    kernel.compile(arguments_of_one)  # type: ignore[no-untyped-call]
            seconds = time.perf_counter() - before
            print(f"{file:<12} {len(compiled) - count:>3} compiled, {seconds:5.1f} s", flush=True)
    folder = cache_folder()
    kept = f"kept in {folder}" if folder else "kept nowhere: no folder is writable (" + _SET_ONE
    print(f"{len(compiled)} kernels compiled in {time.perf_counter() - started:.1f} s")
    print(kept)
    return DONE


@contextmanager
def announcing() -> Iterator[None]:
    """Say on stderr, once, that kernels are being compiled, if that happens meanwhile."""
    announced = False

    def announce(_kernel: str) -> None:
        nonlocal announced
        if not announced:
            from kmq.kernels._cache import cache_folder

            announced = True
            say(
                "compiling kernels, which takes some seconds"
                + (" this first time" if cache_folder() else _EACH_TIME)
            )

    with listening(announce, lambda _: None):
        yield
