"""Machine code of kernels for a library: objects to link, made by Numba and LLVM.

`kmq.build` runs this file in processes of their own, as many as there are cores. Each takes the
next signature of a kernel that no other has taken, until none is left. Numba compiles for the
processor that ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name. For another architecture, which
``KMQ_TARGET`` names, LLVM makes machine code of what Numba compiled for this one: vectors of other
lengths are cut or joined, and nothing else differs.

An entry is an ``int entry(int64_t *words)`` to call from C, which hands the words on by Numba's own
calling convention: first where to write the result and the exception, then the arguments, each
array as its owners (none here), its size, the bytes of an item, its address, its shape and its
strides, each tuple as its members. The result comes back in the first words.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import compiler, types
from numba.core.caching import NullCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.np.numpy_support import as_dtype

from kmq.kernels._compiler import Kernel, all_kernels
from kmq.kernels._jit import name_of
from kmq.kernels._lanes import LANE_BYTES

_word = ir.IntType(64)
_Tuple: Any = types.BaseTuple

_EXACT = {"memcpy", "memmove", "memset", "sqrt", "sqrtf", "fma", "fmaf"}
"""What machine code may call of the libraries of C: the same everywhere."""

_INEXACT = {"sin", "cos", "tan", "exp", "exp2", "exp10", "log", "log2", "log10", "pow", "powi"}
"""Intrinsics of LLVM's that are calls of a library, which rounds as it likes."""


Piece = tuple[Kernel, int]
"""A kernel, and which of the signatures that it declares."""


class Entry(NamedTuple):
    """A signature of a kernel in an object: what a call from C needs to know."""

    symbol: str
    n_arguments: int
    parameters: list[tuple[str, int, int]]
    """Kind, bytes of a number and dimensions of each parameter, tuples before their members."""
    result: str
    """A kind for each member of the result."""


class _Library(JITCodeLibrary):
    """Code that is optimized, and not loaded into this process."""

    def _finalize_final_module(self):
        self._finalized = True


def work(folder: Path) -> None:
    """Emit signatures of kernels until all are taken: an object and its entry for each."""
    gc.set_threshold(100_000)  # what Numba makes while it compiles is much, and mostly stays
    kernels = all_kernels()
    compile_without_loading(kernels)
    machine = machine_of_target()
    pieces = [(kernel, number) for kernel in kernels for number in range(len(kernel.declared))]
    pieces.sort(key=_work_of, reverse=True)  # so that all workers end together
    file = None
    while pieces:
        kernel, number = piece = _next_of(pieces, folder, file)
        pieces.remove(piece)
        name = f"{name_of(kernel.py_func)}-{number}"
        try:
            (folder / f"{name}.taken").touch(exist_ok=False)
        except FileExistsError:
            continue
        file = kernel.file
        code, entry = emit(kernel, number, machine)
        (folder / f"{name}.o").write_bytes(code)
        about = [LANE_BYTES, entry._asdict()]
        (folder / f"{name}.json").write_text(json.dumps(about), encoding="utf-8")


def _next_of(pieces: list[Piece], folder: Path, file: str | None) -> Piece:
    """Return the first piece of the file, or else of one that no worker has begun, or of any.

    What kernels of a file call is then compiled by one worker, and by others only at the end.
    """
    begun = {path.name.partition(".")[0] for path in folder.glob("*.taken")}
    return min(pieces, key=lambda one: (one[0].file != file, one[0].file in begun))


def _work_of(piece: Piece) -> int:
    """Return about how much work a piece is: that of its file, which it calls."""
    return os.path.getsize(piece[0].py_func.__code__.co_filename)


def emit(kernel: Kernel, number: int, machine: llvm.TargetMachine) -> tuple[bytes, Entry]:
    """Return an object with a signature of a kernel, of those declared, and its entry."""
    arguments = kernel.declared[number]
    symbol = f"kmq_{name_of(kernel.py_func).replace('.', '_')}_{number}"
    module, result = _module(kernel, arguments, symbol)
    parameters = [parameter for one in arguments for parameter in _parameters(one)]
    entry = Entry(symbol, len(arguments), parameters, _kinds(result))
    return machine.emit_object(_moved(module, machine)), entry


def compile_without_loading(kernels: list[Any]) -> None:
    """Have Numba load none of the functions that kernels call, nor wrap them for Python and C.

    It tells loaded functions by what it gets.
    """
    context = cpu_target.target_context
    context.refresh()
    context.codegen()._library_class = _Library
    context.get_executable = lambda library, fndesc, env: [].append  # never called
    context.create_cpython_wrapper = context.create_cfunc_wrapper = lambda *_, **__: None
    for kernel in kernels:
        kernel._cache = NullCache()


def machine_of_target() -> llvm.TargetMachine:
    """Return what emits machine code."""
    triple = os.environ.get("KMQ_TARGET") or llvm.get_default_triple()
    cpu, features = (os.environ.get(f"NUMBA_CPU_{name}", "") for name in ("NAME", "FEATURES"))
    if "KMQ_TARGET" in os.environ:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        cpu = features = ""
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic")


def _moved(module, machine):
    """Return a module as one for the machine's architecture."""
    text = re.sub(r"^target (datalayout|triple) = .*$", "", str(module), flags=re.MULTILINE)
    moved = llvm.parse_assembly(text)
    moved.triple, moved.data_layout = machine.triple, str(machine.target_data)
    return moved


def _module(kernel, arguments, symbol):
    """Return optimized code in which only the entry can be seen, and the type of the result."""
    flags = compiler.Flags()
    kernel.targetdescr.options.parse_as_flags(flags, kernel.targetoptions)
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    context = kernel.targetctx
    library = _Library(context.codegen(), symbol)
    with global_compiler_lock:
        compiled = compiler.compile_extra(
            kernel.typingctx, context, kernel.py_func, arguments, None, flags, {}, library
        )
        library.finalize()
    module = library._final_module.clone()
    module.link_in(llvm.parse_assembly(str(_entry(context, compiled.fndesc, symbol))))
    for thing in (*module.functions, *module.global_variables):
        if thing.name == symbol:
            thing.visibility = "hidden"
        elif not thing.is_declaration:
            thing.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    tuning = llvm.create_pipeline_tuning_options()
    passes.run(module, llvm.create_pass_builder(context.codegen()._tm, tuning))
    called = sorted(thing.name for thing in module.functions if thing.is_declaration)
    if foreign := [name for name in called if _is_foreign(name)]:
        raise ValueError(f"{symbol} calls {', '.join(foreign)}")
    return module, compiled.signature.return_type


def _is_foreign(name):
    if name.startswith("llvm."):
        return name.split(".")[1] in _INEXACT
    return name not in _EXACT


def _entry(context, fndesc, symbol):
    """Return a module with the function that unpacks words, calls, and packs the result."""
    module = ir.Module()
    module.triple = llvm.get_default_triple()
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [_word.as_pointer()]), symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    called_type = context.call_conv.get_function_type(fndesc.restype, fndesc.argtypes)
    called = ir.Function(module, called_type, fndesc.llvm_func_name)
    result = builder.alloca(called_type.args[0].pointee)
    raised = builder.alloca(called_type.args[1].pointee)
    words = function.args[0]
    values = [
        _from_word(builder, builder.load(builder.gep(words, [_word(i)])), kind)
        for i, kind in enumerate(called_type.args[2:])
    ]
    status = builder.call(called, [result, raised, *values])
    returned = builder.load(result)
    kinds = _kinds(fndesc.restype)
    for i, kind in enumerate(kinds):
        value = returned if len(kinds) == 1 else builder.extract_value(returned, i)
        builder.store(_as_word(builder, value, kind), builder.gep(words, [_word(i)]))
    builder.ret(status)
    return module


def _from_word(builder, word, kind):
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(word, kind)
    if isinstance(kind, ir.IntType):
        return word if kind.width == 64 else builder.trunc(word, kind)
    number = builder.bitcast(word, ir.DoubleType())
    return number if kind == ir.DoubleType() else builder.fptrunc(number, kind)


def _as_word(builder, value, kind):
    if kind == "f":
        if value.type != ir.DoubleType():
            value = builder.fpext(value, ir.DoubleType())
        return builder.bitcast(value, _word)
    if value.type == _word:
        return value
    return builder.sext(value, _word) if kind == "i" else builder.zext(value, _word)


def _kind(number: Any) -> str:
    """Return b, i, u or f, as NumPy has it."""
    return as_dtype(number).kind


def _kinds(result: Any) -> str:
    if result == types.none:
        return ""
    return "".join(map(_kind, result if isinstance(result, _Tuple) else [result]))


def _parameters(argument: Any) -> Any:
    """Yield what tells a parameter, and those of a tuple's members after it."""
    if isinstance(argument, _Tuple):
        yield "t", 0, len(argument)
        for member in argument:
            yield from _parameters(member)
    elif isinstance(argument, types.Array):
        yield _kind(argument.dtype), as_dtype(argument.dtype).itemsize, argument.ndim
    else:
        yield _kind(argument), 0, 0


if __name__ == "__main__":
    work(Path(sys.argv[1]))
