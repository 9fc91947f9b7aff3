"""The library that has the kernels compiled, if one fits this processor and these sources.

It is a module of Python's, made by `kmq.build`. ``KMQ_KERNELS=jit`` does without; with
``KMQ_KERNELS=native`` it is an error if there is none.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from kmq.errors import InputError

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b  # the same, but it loads OpenSSL, which takes longer than to hash

LEVELS = ("x86_64_v4_vnni", "x86_64_v4", "x86_64_v3", "aarch64")
"""Kinds of processors that libraries are built for, the fastest first."""


def digest_of_sources() -> str | None:
    """Return what tells these kernels, and how a library calls them, from any others.

    None where there are no sources, as in a program that PyInstaller made.
    """
    digest = blake2b(digest_size=16)
    folder = os.path.dirname(__file__)
    names = sorted(name for name in os.listdir(folder) if name.endswith((".py", ".c")))
    if "_native.py" not in names:
        return None
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            digest.update(name.encode() + b"\0" + file.read() + b"\0")
    return digest.hexdigest()


def _loaded(level: str) -> Any:
    """Return the library of a level, imported; ImportError says why it cannot be."""
    path = os.path.join(os.path.dirname(__file__), f"_{level}.abi3.so")
    if os.path.isfile(path) and _is_cut_off(path):
        raise ImportError(f"{path} is cut off")
    return import_module(f"kmq.kernels._{level}")


def _is_cut_off(path: str) -> bool:
    """Whether a file of Linux ends before its table of sections, which a linker writes last.

    Linux does not look: it ends a process that needs what is missing.
    """
    with open(path, "rb") as file:
        head, length = file.read(64), file.seek(0, os.SEEK_END)
    if not head.startswith(b"\x7fELF\x02\x01"):  # 64 bits, little endian
        return False  # other systems, and what is no library at all, are told of
    offset, size, count = (
        int.from_bytes(head[first:end], "little") for first, end in ((40, 48), (58, 60), (60, 62))
    )
    return length < offset + size * count


def _found() -> tuple[Any, str]:
    """Return the library, or None, and in words which kernels are used and why."""
    wanted = os.environ.get("KMQ_KERNELS", "")
    if wanted not in ("", "native", "jit"):
        raise InputError(f"KMQ_KERNELS is {wanted[:20]!r}; it must be native or jit")
    if wanted == "jit":
        return None, "KMQ_KERNELS is jit"
    why = "no library of them was built for this installation"
    if not os.path.isdir(os.path.dirname(__file__)):
        why = "no library can be loaded out of an archive"
    for level in LEVELS:
        try:
            library = _loaded(level)
        except ModuleNotFoundError:
            continue
        except ImportError as error:  # another processor, or another system
            why = str(error)
            continue
        try:
            if digest_of_sources() in (library.sources, None):
                return library, f"compiled ahead of time for {library.level} by {library.compiler}"
            why = f"the library for {library.level} was built from other sources"
        except OSError as error:
            why = f"the sources of kernels cannot be read ({error})"
    if wanted == "native":
        raise InputError(f"KMQ_KERNELS is native, but {why}")
    return None, why


library, reason = _found()
