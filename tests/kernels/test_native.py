"""Kernels that were compiled ahead of time: which library is used, and how it takes arguments."""

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from kmq.cli import main
from kmq.errors import InputError
from kmq.kernels import _native
from kmq.kernels.histogram import fill_boxes, number_keys, rank_bitmap
from kmq.kernels.search import bound_blocks, moments

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")
needs_library = pytest.mark.skipif(_native.library is None, reason=_native.reason)

OURS = SimpleNamespace(
    sources=_native.digest_of_sources(), level="x86-64-v3", compiler="numba 1, llvmlite 2"
)


def found_with(monkeypatch, modules, wanted=""):
    """What is found where importing a library gives one, raises, or finds none."""

    def load(level):
        found = modules.get(level, ModuleNotFoundError(level))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(_native, "_loaded", load)
    monkeypatch.setenv("KMQ_KERNELS", wanted)
    return _native._found()


@pytest.mark.parametrize("wanted", ["", "native"])
def test_the_first_library_that_fits_is_used(monkeypatch, wanted):
    other = ImportError("this processor is not of the level x86-64-v4")
    library, reason = found_with(
        monkeypatch, {"x86_64_v4": other, "x86_64_v3": OURS, "aarch64": None}, wanted
    )
    assert library is OURS
    assert reason == "compiled ahead of time for x86-64-v3 by numba 1, llvmlite 2"


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ({}, "no library of them was built for this installation"),
        (
            {"x86_64_v3": SimpleNamespace(sources="0", level="x86-64-v3")},
            "the library for x86-64-v3 was built from other sources",
        ),
        ({"x86_64_v3": ImportError("not of the level")}, "not of the level"),
    ],
)
def test_without_a_library_that_fits_there_is_none(monkeypatch, modules, why):
    assert found_with(monkeypatch, modules) == (None, why)
    with pytest.raises(InputError, match=f"^KMQ_KERNELS is native, but {why}$"):
        found_with(monkeypatch, modules, "native")


def test_where_there_are_no_sources_there_are_none_to_differ(monkeypatch, tmp_path):
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.py"))
    (tmp_path / "binding.c").touch()  # which PyInstaller takes for data
    other = SimpleNamespace(sources="0", level="x86-64-v3", compiler="numba 1")
    assert found_with(monkeypatch, {"x86_64_v3": other})[0] is other


def test_an_archive_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "kmq.pyz" / "_native.py"))
    assert found_with(monkeypatch, {}) == (None, "no library can be loaded out of an archive")


@pytest.mark.parametrize("length", [63, 64, 1000, 1191])
def test_a_library_that_was_cut_off_is_not_loaded(monkeypatch, tmp_path, length):
    # Loading it would end the process, since Linux maps more of the file than there is.
    head = bytearray(b"\x7fELF\x02\x01".ljust(64, b"\0"))
    head[40:48], head[58:60], head[60:62] = (
        number.to_bytes(size, "little") for number, size in ((1000, 8), (64, 2), (3, 2))
    )
    whole = bytes(head).ljust(1192, b"\0")
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.py"))
    monkeypatch.setattr(_native, "import_module", lambda _: OURS)
    monkeypatch.delenv("KMQ_KERNELS", raising=False)
    first = _native.LEVELS[0]
    path = tmp_path / f"_{first}.abi3.so"
    path.write_bytes(whole[:length])
    with pytest.raises(ImportError, match=rf"_{first}\.abi3\.so is cut off$"):
        _native._loaded(first)
    assert _native._found()[0] is OURS, "of the next level"
    path.write_bytes(whole)
    assert _native._loaded(first) is OURS


@needs_library
def test_this_library_is_whole():
    assert not _native._is_cut_off(_native.library.__file__)


def test_without_numba_it_is_said_what_is_missing(tmp_path):
    program = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import kmq
from kmq.cli import main
for line in (["encode", "-", "-o", "a.kmq"], ["warmup"], ["--version", "-v"]):
    print(main(line))
try:
    kmq.kmeans([[1.0], [2.0]], 2)
except kmq.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="P1 2 1 0 1",
        env=os.environ | {"KMQ_KERNELS": "jit"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    why = "kernels have to be compiled (KMQ_KERNELS is jit), but Numba cannot be imported"
    encode, warmup = done.stderr.splitlines()
    assert f"{why} (" in encode
    assert warmup.startswith(f"kmq: {why} (")
    assert warmup.endswith("): pip install numba")
    codes = done.stdout.split("\n")
    assert codes[0] == codes[1] == "1"
    assert "kernels: none, since Numba is missing to compile them (KMQ_KERNELS is jit)" in codes
    assert codes[-2].startswith(why)
    assert not list(tmp_path.iterdir())


def test_it_can_be_declined(monkeypatch):
    assert found_with(monkeypatch, {"x86_64_v3": OURS}, "jit") == (None, "KMQ_KERNELS is jit")


def test_another_choice_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "kmq", "--version", "-v"],
        env=os.environ | {"KMQ_KERNELS": "gpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "kmq: KMQ_KERNELS is 'gpu'; it must be native or jit\n"


def test_the_version_tells_which_kernels_are_used(capsys):
    assert main(["--version", "-v"]) == 0
    assert f"{_native.reason}" in capsys.readouterr().out.splitlines()[-1]


# Arguments. What is refused is the same for both kinds of kernels.


def test_arrays_are_those_that_are_declared():
    columns, corners = np.zeros((2, 5), np.float32), np.zeros((1, 2), np.float32)
    bound_blocks(columns, 0, 5, corners, corners)
    for other in (
        columns.astype(np.float64),
        columns.astype(np.int32),
        columns.astype(">f4"),
        columns[0],
        columns[np.newaxis],
        columns[:, ::2],
        np.zeros((5, 2), np.float32).T,
        columns.tolist(),
        tuple(columns),
        None,
        1.0,
    ):
        with pytest.raises(TypeError):
            bound_blocks(other, 0, 5, corners, corners)


def test_read_only_and_empty_arrays_are_taken():
    columns, corners = np.ones((2, 5), np.float32), np.zeros((1, 2), np.float32)
    columns.flags.writeable = False
    bound_blocks(columns, 0, 5, corners, corners)
    assert corners.tolist() == [[1, 1]]
    assert rank_bitmap(np.zeros(0, np.uint64), np.zeros(0, np.uint32)) == 0


@pytest.mark.parametrize("integer", [int, np.uint8, np.int16, np.int64, np.uint64, bool])
def test_integers_are_of_any_type(integer):
    columns, corners = np.ones((2, 5), np.float32), np.zeros((1, 2), np.float32)
    bound_blocks(columns, 0, integer(1), corners, corners)
    assert corners.tolist() == [[1, 1]]


def test_the_greatest_unsigned_number_is_taken_as_it_is():
    keys, ones = np.full(3, 2**64 - 1, np.uint64), np.ones(3)
    columns, weights = np.zeros((1, 1), np.float32), np.zeros(1)
    fill_boxes(keys, np.uint64(1), np.full((1, 3), 7, np.float32), ones, columns, weights)
    assert columns.tolist() == [[7]]
    assert weights.tolist() == [3]


@pytest.mark.parametrize("number", [1.5, "1", None, [1]])
def test_other_things_are_no_integers(number):
    columns, corners = np.ones((2, 5), np.float32), np.zeros((1, 2), np.float32)
    with pytest.raises(TypeError):
        bound_blocks(columns, 0, number, corners, corners)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_arguments_is_refused(count):
    with pytest.raises(TypeError):
        rank_bitmap(*[np.zeros(4, np.uint64)] * count)


def test_results_come_as_python_has_them():
    keys, ids = np.array([7, 7, 9], np.uint64), np.zeros(3, np.uint32)
    tables = np.zeros(8, np.uint64), np.zeros(8, np.uint32)
    position, count = number_keys(keys, 0, 0, np.uint64(61), *tables, np.zeros(8, np.uint64), ids)
    assert (position, count) == (3, 2)
    assert ids.tolist() == [0, 0, 1]


@needs_library
def test_other_threads_run_meanwhile():
    columns, weights = np.ones((4, 200_000), np.float32), np.ones(200_000)
    at_work, seen = [], []

    def work():
        for _ in range(10_000):
            if seen:
                break
            at_work.append(True)
            moments(columns, weights, np.zeros((2, 16)), np.zeros(4), np.zeros(4))
            at_work.clear()

    worker = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # so that the worker gives way in a kernel, or not at all
    try:
        worker.start()
        while worker.is_alive():
            worker.join(0.001)
            seen += at_work
    finally:
        sys.setswitchinterval(interval)
    assert seen


@needs_library
def test_no_compiler_is_imported():
    program = (
        "import sys\n"
        "sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
        "import numpy as np, kmq\n"
        "ramp = np.arange(3600, dtype=np.uint8).reshape(30, 40, 3)\n"
        "for method in ('rank', 'mix'):\n"
        "    kmq.decode(kmq.encode(ramp, 9, method=method))\n"
        "kmq.quantize(ramp, 9, mapping='dither')\n"
        "assert 'PIL' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_library
@pytest.mark.parametrize(
    ("work", "others"),
    [
        (
            "kmq.quantize(ramp, 64)",
            "PIL pathlib logging hashlib json numpy.ma numpy.random kmq.pipeline.decoding",
        ),
        ("kmq.IndexedImage(palette, indices).save('ramp.png')", "PIL hashlib kmq.kernels"),
    ],
)
def test_nothing_is_imported_that_has_no_part_in_it(tmp_path, work, others):
    program = (
        "import sys, numpy as np\n"
        "before = set(sys.modules)\n"
        "import kmq\n"
        "ramp = np.arange(3600, dtype=np.uint8).reshape(30, 40, 3)\n"
        "palette, indices = ramp[0], np.zeros((2, 3), np.uint8)\n"
        f"{work}\n"
        "print(*(set(sys.modules) - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(others.split())


@needs_numba
@pytest.mark.parametrize(
    ("level", "others"),
    [
        ("x86_64_v4_vnni", {"avx512vbmi"}),
        ("x86_64_v4", set()),
        ("x86_64_v3", {"avx512f", "avxvnni"}),
    ],
)
def test_a_library_is_built_for_the_highest_level_of_this_processor(monkeypatch, level, others):
    build = pytest.importorskip("kmq.build", reason="setuptools is not installed")
    from kmq.kernels import _compiler

    features = others | set(build.LEVELS[level].features)
    monkeypatch.setattr(build.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(_compiler, "target_has", features.__contains__)
    monkeypatch.delenv("KMQ_LEVELS", raising=False)
    assert build._chosen_levels() == [level]
    assert list(build.LEVELS) == list(_native.LEVELS)


@needs_numba
def test_what_needs_more_than_a_processor_is_not_emitted():
    program = """
import numpy as np
from numba.core.errors import TypingError
from kmq.kernels import _emit
from kmq.kernels._compiler import Kernel
from kmq.kernels.histogram import rank_bitmap

def rounds_as_a_library_likes(numbers):
    numbers[0] = np.sin(numbers[0])

def allocates(numbers):
    numbers[0] = np.ones(3)[1]

kernels = [rank_bitmap, *(Kernel(f, "f8[:]", {}) for f in (rounds_as_a_library_likes, allocates))]
_emit.compile_without_loading(kernels)
for kernel in kernels:
    try:
        code, entry = _emit.emit(kernel, 0, _emit.machine_of_target())
        print((len(code) > 500, *entry))
    except (TypingError, ValueError) as error:
        print(str(error).splitlines()[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KMQ_KERNELS": "jit"},
        capture_output=True,
        text=True,
    )
    emitted, inexact, allocating = done.stdout.splitlines()
    assert "(True, 'kmq_histogram_rank_bitmap_0', 2, [('u', 8, 1), ('u', 4, 1)]" in emitted
    assert inexact.endswith("rounds_as_a_library_likes_0 calls llvm.sin.f64")
    assert allocating.startswith("Failed in nopython mode pipeline")


def test_what_builds_kernels_is_found_though_its_folder_is_taken_off_the_path(tmp_path):
    """As pip does it where kmq is installed as editable, and is installed once more."""
    build = pytest.importorskip("kmq.build", reason="setuptools is not installed")
    removal = (
        f"import sys\nsys.path[:] = [path for path in sys.path if path != {str(build._ROOT)!r}]"
    )
    (tmp_path / "sitecustomize.py").write_text(removal)
    path = os.pathsep.join([str(tmp_path), str(build._ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    command = build.running("kmq", "--version")
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("kmq ")
