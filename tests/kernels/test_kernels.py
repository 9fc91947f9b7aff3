import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections import Counter

import numpy as np
import pytest
from numba.core import types
from numba.core.dispatcher import Dispatcher

import kmq.kernels
from kmq.kernels import _native
from kmq.kernels._compiler import Kernel, signatures
from kmq.kernels.search import bound_blocks

pytestmark = pytest.mark.skipif(
    _native.library is not None, reason="kernels were compiled ahead of time"
)


def all_kernels():
    """Every compiled function of the package, whether it stands alone or in a dict."""
    found = {}
    for info in pkgutil.iter_modules(kmq.kernels.__path__):
        module = importlib.import_module(f"kmq.kernels.{info.name}")
        for value in vars(module).values():
            for kernel in value.values() if isinstance(value, dict) else [value]:
                if isinstance(kernel, Dispatcher):
                    found[id(kernel)] = kernel
    return list(found.values())


def test_no_two_kernels_share_a_name():
    # numba's cache would run one for the other once different processes have compiled them.
    names = Counter((k.py_func.__module__, k.py_func.__qualname__) for k in all_kernels())
    assert len(names) > 10
    assert [name for name, count in names.items() if count > 1] == []


def test_no_kernel_closes_over_another():
    # numba's cache would never find such a kernel again.
    for kernel in all_kernels():
        for cell in kernel.py_func.__closure__ or ():
            assert not isinstance(cell.cell_contents, Dispatcher), kernel


MAKE_OR_RAISE = (ast.Raise, ast.Assert, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.JoinedStr)
SAFE = [
    "type",  # of a dtype: converts a number, as the next ones do
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "rint",
    "sqrt",
    "view",
]


def is_slice(target):
    return isinstance(target, ast.Subscript) and any(
        isinstance(part, ast.Slice) for part in ast.walk(target.slice)
    )


def test_kernels_allocate_nothing_and_never_raise():
    # An allocation that fails in a kernel ends the process; one that NumPy makes is a MemoryError.
    for kernel in all_kernels():
        source = textwrap.dedent(inspect.getsource(kernel.py_func))
        for node in ast.walk(ast.parse(source).body[0]):
            where = f"{kernel.py_func.__module__}: {ast.unparse(node)}"
            assert not isinstance(node, MAKE_OR_RAISE), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr in SAFE, where
            if isinstance(node, ast.Assign) and any(map(is_slice, node.targets)):
                assert isinstance(node.value, ast.Constant | ast.Attribute), where


def test_a_call_with_types_that_are_not_declared_is_refused():
    columns, corners = np.zeros((2, 5), np.float64), np.zeros((1, 2), np.float32)
    with pytest.raises(TypeError, match=r"search\.bound_blocks is not declared"):
        bound_blocks(columns, 0, 5, corners, corners)


def test_writable_and_read_only_arrays_and_all_kinds_of_integers_are_one_signature():
    columns, corners = np.zeros((2, 5), np.float32), np.zeros((1, 2), np.float32)
    bound_blocks(columns, 0, 5, corners, corners)
    columns.flags.writeable = False
    for size in (np.uint8(5), np.int64(5), True):
        bound_blocks(columns, 0, size, corners, corners)
    assert bound_blocks.signatures == bound_blocks.declared


def test_types_that_two_threads_met_first_are_found_at_once(monkeypatch):
    kernel = Kernel(bound_blocks.py_func, *bound_blocks._declaration)
    corners = np.zeros((1, 2), np.float32)
    arguments = np.zeros((2, 5), np.float32), 0, np.uint8(5), corners, corners
    met = tuple(kernel.typeof_pyval(argument) for argument in arguments)
    for _ in range(2):
        kernel.compile(met)
    monkeypatch.setattr(Kernel, "compile", None)
    kernel(*arguments)


def test_declarations_combine_their_choices():
    spelled = signatures("T[:], pair, n", {"T": ("f4", "f8"), "pair": "(T, u1[:, :])", "n": "i8"})
    one, two = (list(map(str, arguments)) for arguments in spelled)
    assert one[0].startswith("array(float32, 1d, C")
    assert one[1].startswith("Tuple(float32, array(uint8, 2d, C")
    assert one[2] == two[2] == "int64"
    assert two[0].startswith("array(float64, 1d, C")


def test_each_signature_has_a_type_for_each_parameter():
    for kernel in all_kernels():
        if isinstance(kernel, Kernel):
            lengths = {len(declared) for declared in kernel.declared}
            assert lengths == {kernel.py_func.__code__.co_argcount}, kernel


def test_signatures_of_a_kernel_differ_by_more_than_numbers():
    # Numbers are converted to what is declared, so they cannot tell which signature is meant.
    def told_by(declared):
        return tuple("number" if isinstance(one, types.Number) else one for one in declared)

    for kernel in all_kernels():
        if isinstance(kernel, Kernel):
            assert len(set(map(told_by, kernel.declared))) == len(kernel.declared), kernel
