"""How kernels are declared; where a library has them compiled, nothing of Numba is imported.

A kernel names the types that it is called with, all of them. From that they are compiled: when
first called, by ``kmq warmup``, or ahead of time by `kmq.build`. A call with other types is an
error, so that none can compile what nobody has foreseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmq.kernels import _native
from kmq.kernels._numba import Constant, IntType, intrinsic, types

Function = Callable[..., Any]
Choices = str | tuple[str, ...]

UP_TO_4 = tuple(f"(i8,) * {d}" for d in range(1, 5))
"""Choices of `channels`, a tuple whose length is known to the compiler, for 1 to 4 channels."""


def kernel(arguments: str, **choices: Choices) -> Callable[[Function], Function]:
    """Declare a kernel: no GIL, no fastmath, no runtime of Numba's.

    `arguments` are types in Numba's notation, in the order of the parameters. Arrays are in C
    order, so ``f4[:, :]`` says enough; a tuple is in parentheses. A name among the `choices` stands
    for any of several types, or shortens one; with more names, all combinations are meant:

        @kernel("T[:], T[:, :], pair, i8", T=("f4", "f8"), pair="(i8[:], i8[:])")

    Numbers are converted as a call in C does. Arrays may be writable or not.

    IEEE arithmetic as written, so that each machine computes the same bits; where speed needs a
    fused multiply-add, kernels spell it `fma`.
    """
    if not isinstance(arguments, str):
        raise TypeError(f"kernel {arguments.__name__} must name its types: @kernel('f8[:], i8')")

    def declare(function: Function) -> Function:
        if _native.library is not None:
            return _native.library.bind(name_of(function))
        from kmq.kernels._compiler import Kernel

        return Kernel(function, arguments, choices)

    return declare


def inlined(function: Function) -> Function:
    """Compile a small function that only kernels of the same file call."""
    if _native.library is not None:
        return function
    from kmq.kernels._compiler import Inlined

    return Inlined(function)


def name_of(function: Function) -> str:
    """Return a kernel's name in a library: ``nearest.assign``."""
    return f"{function.__module__.removeprefix('kmq.kernels.')}.{function.__name__}"


def named(function: Function, name: str) -> Function:
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


@intrinsic
def trailing_zeros(typingctx: Any, bits: Any) -> Any:
    """Return how many of the lowest bits of an unsigned integer are clear (``llvm.cttz``)."""
    if not isinstance(bits, types.Integer):
        return None

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], Constant(IntType(1), 0))

    return bits(bits), codegen


@intrinsic
def either(typingctx: Any, chosen: Any, a: Any, b: Any) -> Any:
    """Return the integer `a` where `chosen` is true, else `b`, without a branch: for what a
    processor cannot foretell."""
    if not (isinstance(chosen, types.Boolean) and isinstance(a, types.Integer) and a == b):
        return None

    def codegen(context, builder, signature, args):
        selected = builder.select(*args)
        selected.set_metadata("unpredictable", builder.module.add_metadata([]))
        return selected

    return a(chosen, a, b), codegen
