"""Kernels are compiled when kmq is installed, where that can be; all else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup

sys.path.insert(0, str(Path(__file__).parent / "src"))

from kmq.build import BuildKernels  # it is not installed yet

setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=[Extension("kmq.kernels", [])],  # replaced by those that can be built
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
