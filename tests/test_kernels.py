import importlib
import pkgutil
from collections import Counter

from numba.core.dispatcher import Dispatcher

import kmq.kernels


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
