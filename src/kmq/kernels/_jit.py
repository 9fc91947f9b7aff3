"""The one place that spells jit options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite.ir import Constant, IntType
from numba.core import config, event, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.extending import intrinsic

from kmq import compiling
from kmq.kernels._cache import KernelCache


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` on first use: no GIL, no fastmath, cached on disk where that is possible.

    IEEE arithmetic as written, so that each machine computes the same bits; where speed needs a
    fused multiply-add, kernels spell it `fma`.
    """
    compiled: Any = _Kernel(py_func=function, targetoptions=dict(_OPTIONS))
    compiled._cache = KernelCache(function)
    return compiled


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a small function that only kernels of the same file call; never cached alone."""
    return _Kernel(py_func=function, targetoptions=dict(_OPTIONS))


_OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "boundscheck": None}


class _Kernel(CPUDispatcher):
    """What `numba.njit` makes of a function, but compiled where ``NUMBA_DISABLE_JIT`` is set, too.

    Projects set that variable to measure the coverage of their own functions. In plain Python the
    vectors and fused operations of kernels have no meaning.
    """

    def compile(self, sig):
        """Compile for a signature; Numba compiles pieces of its own with `njit` meanwhile."""
        with global_compiler_lock, compiling.making_ready():
            is_disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
            try:
                return super().compile(sig)
            finally:
                config.DISABLE_JIT = is_disabled


class _Teller(event.Listener):
    """Tells of kernels of ours what Numba tells of all functions."""

    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if isinstance(event.data["dispatcher"], _Kernel):
            compiling.tell(f"{function.__module__}.{function.__name__}")

    def on_end(self, event):
        pass


event.register("numba:compile", _Teller())


def named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function that a factory makes a name of its own, before it is compiled.

    Numba tells cached machine code apart by name, argument types and a number that starts anew in
    each process: two functions of one name from one factory can be taken for each other.
    """
    function.__name__ = function.__qualname__ = name
    return function


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once, the same on every machine (LLVM's ``llvm.fma``)."""
    if not (a == b == c and isinstance(a, types.Float)):
        return None

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, b, c), codegen


@intrinsic
def popcount(typingctx: Any, bits: Any) -> Any:
    """Return how many bits of an unsigned integer are set (LLVM's ``llvm.ctpop``)."""
    if not isinstance(bits, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return bits(bits), codegen


@intrinsic
def leading_zeros(typingctx: Any, bits: Any) -> Any:
    """Return how many of the highest bits of an unsigned integer are clear (``llvm.ctlz``)."""
    if not isinstance(bits, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], Constant(IntType(1), 0))

    return bits(bits), codegen
