"""What files of kernels take from Numba and llvmlite, by the names that it has there.

Where a library has the kernels compiled, neither is imported, and these names stand for nothing:
code that would use them never runs, but files name some at their top.
"""

from __future__ import annotations

from typing import Any

from kmq import compiling
from kmq.errors import MissingExtraError
from kmq.kernels import _native

__all__ = [
    "Constant", "IntType", "cgutils", "intrinsic", "ir", "models", "register_model", "types",
]  # fmt: skip

if _native.library is None:
    try:
        with compiling.making_ready():  # this takes half a second
            from llvmlite import ir
            from llvmlite.ir import Constant, IntType
            from numba.core import cgutils, types
            from numba.extending import intrinsic, models, register_model
    except ImportError as error:
        raise MissingExtraError(
            f"kernels have to be compiled ({_native.reason}), but Numba cannot be imported "
            f"({error}): pip install numba"
        ) from error
else:

    class _Nothing:
        """Every attribute of it and every call of it are it again; classes derive from nothing."""

        def __init__(self, *_: Any) -> None:
            pass

        def __getattr__(self, _: str) -> Any:
            return self

        def __call__(self, *_: Any) -> Any:
            return self

        def __mro_entries__(self, _: tuple[type, ...]) -> tuple[type, ...]:
            return ()

    globals().update(dict.fromkeys(__all__, _Nothing()))
