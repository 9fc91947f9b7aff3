"""What ``kmq --version -v`` says: all that a report of a fault should name."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from kmq import __version__
from kmq.cli.console import DONE
from kmq.threads import available_cores

_LIBRARIES = {"numpy": "numpy", "Pillow": "PIL", "numba": "numba", "llvmlite": "llvmlite"}
"""Names of packages, and of their modules."""


def run(_: argparse.Namespace) -> int:
    """Print versions, the system, and which kernels are used and why."""
    print(f"kmq {__version__}")
    print(", ".join([f"Python {platform.python_version()}", *map(_version, _LIBRARIES)]))
    print(f"{platform.system()} {platform.machine()}, cores: {available_cores()}")
    print(f"kernels: {_kernels()}")
    return DONE


def _version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        # PyInstaller leaves out what says the version.
        is_there = find_spec(_LIBRARIES[library]) is not None
        return f"{library} of unknown version" if is_there else f"without {library}"


def _kernels() -> str:
    from kmq.kernels import _native

    if _native.library is not None:
        return _native.reason
    if find_spec("numba") is None or find_spec("llvmlite") is None:
        return f"none, since Numba is missing to compile them ({_native.reason})"
    return f"compiled when they are first used ({_native.reason})"
