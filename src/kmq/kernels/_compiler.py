"""Kernels compiled here and now by Numba; the one place that spells jit options."""

from __future__ import annotations

import contextlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import product
from typing import Any

import llvmlite.binding as llvm
from numba.core import config, event, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from kmq import compiling
from kmq.kernels._cache import KernelCache

_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": None,
    "_nrt": False,  # no counts of references, and an error for what would allocate
}


def target_has(feature: str) -> bool:
    """Return whether kernels may use a feature of processors that LLVM names so."""
    features = vars(config)["CPU_FEATURES"]  # of ``NUMBA_CPU_FEATURES``: those of another machine
    if features is not None:
        return f"+{feature}" in features.split(",")
    with contextlib.suppress(RuntimeError):  # LLVM does not know those of every processor
        return bool(llvm.get_host_cpu_features().get(feature))
    return False


class Inlined(CPUDispatcher):
    """What `numba.njit` makes of a function, but compiled where ``NUMBA_DISABLE_JIT`` is set, too.

    Projects set that variable to measure the coverage of their own functions. In plain Python the
    vectors and fused operations of kernels have no meaning.
    """

    def __init__(self, function: Callable[..., Any]):
        super().__init__(py_func=function, targetoptions=dict(_OPTIONS))

    def compile(self, sig):
        """Compile for a signature; Numba compiles pieces of its own with `njit` meanwhile."""
        with global_compiler_lock, compiling.making_ready():
            is_disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
            try:
                return super().compile(sig)
            finally:
                config.DISABLE_JIT = is_disabled


class Kernel(Inlined):
    """A kernel: compiled for the signatures that it declares, and kept on disk where possible."""

    def __init__(
        self, function: Callable[..., Any], arguments: str, choices: Mapping[str, Any]
    ) -> None:
        super().__init__(function)
        self._cache = KernelCache(function)
        self._declaration = arguments, choices
        self._known: set[tuple[types.Type, ...]] = set()

    @property
    def file(self) -> str:
        """The name of the file that has it."""
        return self.py_func.__module__.rpartition(".")[2]

    @property
    def declared(self) -> list[tuple[types.Type, ...]]:
        """The argument types of all signatures that are declared."""
        return list(signatures(*self._declaration))

    def compile(self, sig):
        """Compile for the declared signature that the types of a call fit."""
        given = tuple(sig.args if hasattr(sig, "args") else sig)
        with global_compiler_lock:
            for declared in self.declared:
                if len(given) == len(declared) and all(map(_fits, given, declared)):
                    entry = super().compile(declared)
                    # Numba finds it at once from now on, but never again if it is there twice, as
                    # of two threads.
                    if given != declared and given not in self._known:
                        self._insert([one._code for one in given], entry, False)
                        self._known.add(given)
                    return entry
        function = self.py_func
        raise TypeError(f"{function.__module__}.{function.__name__} is not declared for {given}")


def signatures(
    arguments: str, choices: Mapping[str, str | tuple[str, ...]]
) -> Iterator[tuple[types.Type, ...]]:
    """Yield the argument types that a declaration spells: see `kernel`."""
    alternatives = [[text] if isinstance(text, str) else text for text in choices.values()]
    for chosen in product(*alternatives):
        names = dict(vars(types))
        for name, text in zip(choices, chosen, strict=True):
            names[name] = _evaluated(text, names)
        yield tuple(_as_type(argument) for argument in _evaluated(f"({arguments},)", names))


def _evaluated(text, names):
    return eval(text, {"__builtins__": {}}, names)  # noqa: S307  # a declaration is code of ours


def _as_type(argument):
    if isinstance(argument, tuple):
        return types.Tuple([_as_type(member) for member in argument])
    return argument.copy(layout="C") if isinstance(argument, types.Array) else argument


def _fits(given, declared):
    """Return whether a call may hand `given` to a parameter of the type `declared`."""
    given = types.unliteral(given)
    if isinstance(declared, types.Array):
        # Only kernels write, and only to what they are given to write to.
        return isinstance(given, types.Array) and given.copy(readonly=False) == declared
    if isinstance(declared, types.BaseTuple):
        is_tuple = isinstance(given, types.BaseTuple) and len(given) == len(declared)
        return is_tuple and all(map(_fits, given, declared))
    if isinstance(declared, types.Boolean):
        return given == declared
    if isinstance(declared, types.Integer):
        return isinstance(given, types.Integer | types.Boolean)
    return isinstance(given, types.Float | types.Integer)


class _Teller(event.Listener):
    """Tells of kernels of ours what Numba tells of all functions."""

    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if isinstance(event.data["dispatcher"], Inlined):
            compiling.tell(f"{function.__module__}.{function.__name__}")

    def on_end(self, event):
        pass


event.register("numba:compile", _Teller())


def all_kernels() -> list[Kernel]:
    """Return all kernels of the package, each once."""
    package = import_module("kmq.kernels")
    found = {}
    for info in pkgutil.iter_modules(package.__path__, "kmq.kernels."):
        module = import_module(info.name)
        for value in vars(module).values():
            for one in value.values() if isinstance(value, dict) else [value]:
                if isinstance(one, Kernel):
                    found[id(one)] = one
    return list(found.values())
