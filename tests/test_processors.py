"""Benchmarks as on another processor."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import processors
processors.leave_out(sys.argv[2])
from numpy import show_config
from kmq.kernels._lanes import LANE_BYTES
found = show_config(mode="dicts")["SIMD Extensions"].get("found", [])
print(processors.left_out(), LANE_BYTES, any("512" in name or "V4" in name for name in found))
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="of x86")
def test_benchmarks_can_leave_out_avx512(tmp_path):
    pytest.importorskip("setuptools")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(BENCHMARKS), "avx512"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["avx512", "64", "False"]
