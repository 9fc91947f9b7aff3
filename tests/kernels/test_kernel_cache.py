"""Compiled kernels are kept on disk, and no fault of what is kept there stops a call."""

import errno
import importlib.util
import os
import subprocess
import sys
import tempfile
import warnings

import numba
import pytest

from kmq.kernels import _cache, _native

pytestmark = pytest.mark.skipif(
    _native.library is not None, reason="kernels were compiled ahead of time"
)

SOURCE = """
from kmq.kernels._jit import kernel


@kernel("T", T=("i8", "f8"))
def plus_one(number):
    return number + 1
"""


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(_cache, "_told", False)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A module with a kernel, whose machine code is kept in a folder of this test alone."""
    path = tmp_path / "sources" / "kept_kernel.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "named"))
    return path


def load(path):
    """Return the kernel as a process that just started has it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plus_one


def is_loaded(kernel):
    """Run a kernel; say whether its machine code was kept rather than compiled."""
    assert kernel(1) == 2
    return sum(kernel.stats.cache_hits.values()) == 1


def kept_in(folder):
    return sorted(folder.rglob("*.nbc"))


def nothing_is_writable(monkeypatch):
    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # how Numba tries a folder


def test_a_second_process_loads_what_the_first_compiled(sources, tmp_path):
    assert not is_loaded(load(sources))
    assert len(kept_in(tmp_path)) == 1
    assert is_loaded(load(sources))


def test_other_sources_are_compiled_anew(sources):
    assert not is_loaded(load(sources))
    sources.write_text(SOURCE + "# changed\n")
    os.utime(sources, (1, 1))
    assert not is_loaded(load(sources))


@pytest.mark.parametrize("setting", ["BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE"])
def test_other_settings_of_numba_are_compiled_anew(sources, tmp_path, monkeypatch, setting):
    load(sources)(1)
    monkeypatch.setattr(numba.config, setting, int(not getattr(numba.config, setting)))
    assert not is_loaded(load(sources))
    assert is_loaded(load(sources))
    assert len(kept_in(tmp_path)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"more",
        lambda content: b"\0" * len(content),
        lambda content: content[:-200] + bytes([content[-200] ^ 1]) + content[-199:],
        lambda content: b"\n".join([b"not", b"a", b"cache"]),
    ],
)
def test_a_damaged_file_is_told_once_and_replaced(sources, tmp_path, damage):
    load(sources)(1)
    (file,) = kept_in(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match=r"is damaged\); they are compiled again") as told:
        assert not is_loaded(load(sources))
    assert len(told) == 1
    assert is_loaded(load(sources))


def test_a_folder_in_place_of_a_file_stops_nothing(sources, tmp_path):
    load(sources)(1)
    (file,) = kept_in(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.warns(RuntimeWarning, match="cannot read compiled kernels in"):
        assert not is_loaded(load(sources))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_stops_nothing(sources, tmp_path, monkeypatch, number):
    def refuse(self, path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_cache._Files, "_open_for_write", refuse)
    with pytest.warns(RuntimeWarning, match="cannot keep compiled kernels in"):
        assert not is_loaded(load(sources))
    assert not is_loaded(load(sources))  # and no second warning, which would be an error
    assert kept_in(tmp_path) == []


def test_a_folder_that_goes_away_is_made_again(sources, tmp_path):
    kernel = load(sources)
    for folder in (tmp_path / "named").iterdir():
        folder.rmdir()
    assert not is_loaded(kernel)
    assert is_loaded(load(sources))


@pytest.mark.parametrize("named", [True, False])
def test_a_warmed_folder_that_may_only_be_read_is_used(sources, tmp_path, monkeypatch, named):
    if not named:
        monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    load(sources)(1)
    nothing_is_writable(monkeypatch)
    kernel = load(sources)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_loaded(kernel)
    assert kernel.stats.cache_path is None
    assert kernel(1.5) == 2.5  # compiled here, and kept nowhere
    assert len(kept_in(tmp_path)) == 1


def test_what_the_installation_lacks_is_kept_in_the_named_folder(sources, tmp_path, monkeypatch):
    named = numba.config.CACHE_DIR
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    load(sources)(1)
    monkeypatch.setattr(numba.config, "CACHE_DIR", named)
    kernel = load(sources)
    assert is_loaded(kernel)
    kernel(1.5)
    assert len(kept_in(tmp_path / "named")) == 1


def test_kernels_run_where_numba_is_told_not_to_compile():
    program = (
        "import numpy, kmq\n"
        "ramp = numpy.arange(3600, dtype=numpy.uint8).reshape(30, 40, 3)\n"
        "assert kmq.decode(kmq.encode(ramp, 9, method='mix')).n_colors == 9\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
