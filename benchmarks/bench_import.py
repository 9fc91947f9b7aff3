"""Start-up: what each whole process costs."""

import subprocess
import sys

import pytest
from PIL import Image

import kmq
from pictures import photos

IMPORTS = {"python": "pass", "import numpy": "import numpy", "import kmq": "import kmq"}


@pytest.fixture
def folder(tmp_path):
    """A folder with a picture and its .kmq file, in which kernels have been compiled before."""
    pixels = photos(full=False)[0].load()
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    kmq.write(tmp_path / "photo.kmq", pixels)
    return tmp_path


@pytest.mark.parametrize("process", IMPORTS)
def bench_import(benchmark, process):
    benchmark.extra_info.update(table="startup", process=process)
    command = [sys.executable, "-c", IMPORTS[process]]
    benchmark.pedantic(
        subprocess.run, [command], {"check": True}, rounds=15, iterations=1, warmup_rounds=2
    )


@pytest.mark.parametrize("process", ["kmq --version", "kmq info photo.kmq", "kmq encode photo.png"])
def bench_command(benchmark, folder, process):
    benchmark.extra_info.update(table="startup", process=process)
    command = [sys.executable, "-m", *process.split()]
    if "encode" in process:
        command.append("--force")
    options = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
    benchmark.pedantic(subprocess.run, [command], options, rounds=5, iterations=1, warmup_rounds=1)
