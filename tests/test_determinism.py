"""The same picture, options and seed give the same bytes on every machine."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kmq
import results

PACKAGE = Path(kmq.__file__).parent
PINNED = json.loads(results.GOLDEN.read_text())
RENEW = "if that is a better result, run `python tests/results.py` and look at what it says"

FEW_KERNELS = (
    *("RGB, eye, nearest", "RGB, eye, dither", "RGB, eye, ordered", "RGB, eye, rate"),
    *("RGB, eye, optimized", "RGB, eye, optimized rate"),
    *("RGB, oklab, nearest", "RGB, lab, quality", "points, float32, random"),
)
"""Results of all kinds that few kernels make: each is compiled again for another processor."""


@pytest.mark.parametrize("name", results.RECIPES)
def test_a_result_is_the_one_that_is_pinned(name):
    assert results.RECIPES[name]() == PINNED.get(name), RENEW


def test_no_result_is_pinned_that_nothing_makes():
    assert set(PINNED) == set(results.RECIPES), RENEW


def features_of_numpy():
    """What NumPy uses of this processor and can do without."""
    from numpy._core import _multiarray_umath as core

    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]


def test_the_plainest_processor_gives_the_same_results():
    pytest.importorskip("numba")  # which compiles for it
    # Kernels and NumPy alike have no fused multiply-add and no wide vectors here.
    variables = {"KMQ_KERNELS": "jit", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(features_of_numpy())
    variables |= {"PYTHONHASHSEED": "1", "KMQ_NUM_THREADS": "3"}
    program = (
        "import json, results\n"
        f"print(json.dumps({{name: results.RECIPES[name]() for name in {FEW_KERNELS}}}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {name: PINNED[name] for name in FEW_KERNELS}


# What the standard leaves to libraries


LEFT_TO_LIBRARIES = {
    *("log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "pow", "power", "float_power"),
    *("cbrt", "hypot", "sin", "cos", "tan", "tanh", "arctan", "arctan2", "atan", "atan2"),
    *("dot", "vdot", "inner", "matmul", "tensordot", "einsum", "linalg", "fft"),
    *("convolve", "correlate", "interp", "polyfit"),
}
"""What processors and libraries round differently: logarithms, powers, sums of products."""

HARMLESS = {
    ("stages/mapping/metrics.py", "vdot"),  # of whole numbers
    ("stages/coding/mix.py", "einsum"),  # only a view
    ("stages/palette/bounded.py", "log"),  # says when bounds begin, which changes no result
    ("stages/palette/products.py", "einsum"),  # says which of two equal ways is the faster
    ("stages/palette/labelling.py", "**"),  # says when points are sorted, which changes no result
}


def _is_unstable_sort(node):
    """Whether equals end in another order where sorts use vectors."""
    is_sort = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "argsort"
    return is_sort and all(keyword.arg != "kind" for keyword in node.keywords)


def left_to_libraries(source):
    """Yield what a module calls that may differ by machine, and the line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("math", "np") and node.attr in LEFT_TO_LIBRARIES:
                yield node.attr, node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield "@", node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            exponent = node.right.value if isinstance(node.right, ast.Constant) else None
            base = node.left.value if isinstance(node.left, ast.Constant) else None
            if exponent not in (2, 2.0) and not isinstance(base, int | float):
                yield "**", node.lineno
        elif _is_unstable_sort(node):
            yield "argsort", node.lineno


def test_results_leave_nothing_to_libraries_that_differ_by_machine():
    found = [
        f"{place}:{line} {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (place := path.relative_to(PACKAGE).as_posix()).partition("/")[0] != "cli"
        for name, line in left_to_libraries(path.read_text(encoding="utf-8"))
        if (place, name) not in HARMLESS
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["np.log(x)", "math.exp(x)", "a @ b", "x ** 0.5", "np.argsort(x)", "x.argsort()", "x ** y"],
)
def test_what_differs_by_machine_is_found(line):
    assert list(left_to_libraries(line))


@pytest.mark.parametrize("line", ["x ** 2", "2.0 ** 53", "x.argsort(kind='stable')", "np.sqrt(x)"])
def test_what_the_standard_fixes_is_let_pass(line):
    assert not list(left_to_libraries(line))
