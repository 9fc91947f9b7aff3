"""Measure as on a processor that lacks some of this one's instructions."""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np

from kmq.build import LEVELS

_V3 = LEVELS["x86_64_v3"]

_NUMPY = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # those in use

WITHOUT = {
    "avx512": {
        "KMQ_KERNELS": "jit",
        "NUMBA_CPU_NAME": _V3.cpu,
        "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in _V3.features),
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name for name in _NUMPY if name.startswith(("AVX512", "X86_V4"))
        ),
        "OPENBLAS_CORETYPE": "Haswell",
        "FAISS_OPT_LEVEL": "avx2",
    }
}
"""What tells kmq, Numba, NumPy, OpenBLAS (of scikit-learn and faiss) and faiss to leave them."""

_MARK = "KMQ_BENCHMARK_WITHOUT"


def add_without(parser: argparse.ArgumentParser) -> None:
    """Add ``--without``."""
    parser.add_argument(
        "--without",
        choices=WITHOUT,
        help="measure kmq and its peers without these instructions, in a new process; kernels are "
        "compiled when they are first called, which takes a minute or two the first time",
    )


def leave_out(without: str | None) -> None:
    """Start this program again, once, with the variables that leave out some instructions."""
    if without and os.environ.get(_MARK) != without:
        environment = os.environ | WITHOUT[without] | {_MARK: without}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  # the same program


def left_out() -> str | None:
    """Return which instructions this process leaves out, if any."""
    return os.environ.get(_MARK)
