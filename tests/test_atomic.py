"""Files appear whole or not at all."""

import errno
import os
import stat
from contextlib import contextmanager

import pytest

from kmq.atomic import replacing


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new.bin"
    with replacing(path) as file:
        file.write(b"head body")
        file.seek(0)
        assert file.read(4) == b"head"
        assert not path.exists()
    assert path.read_bytes() == b"head body"
    assert os.listdir(tmp_path) == ["new.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def fail():
        with replacing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.bin"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX matters")
def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "kept.bin", tmp_path / "link.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="needs a device file")
def test_device_is_written_directly():
    with replacing(os.devnull) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs names of descriptors")
def test_a_pipe_is_written_by_any_of_its_names():
    reading, writing = os.pipe()
    with replacing(f"/dev/fd/{writing}") as file:
        file.write(b"through")
    os.close(writing)
    with open(reading, "rb") as stream:
        assert stream.read() == b"through"


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_to_itself_is_an_error(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop") as caught, replacing(loop):
        pass
    assert caught.value.errno == errno.ELOOP
    assert loop.is_symlink()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("size", [1, 1_000_000])  # the first fails when the file is closed
def test_full_device_is_named(size):
    with pytest.raises(OSError, match="/dev/full") as caught, replacing("/dev/full") as file:
        file.write(bytes(size))
    assert caught.value.errno == errno.ENOSPC


@contextmanager
def small_disk():
    """Files cannot grow beyond 1000 bytes, that of the report of the tests among them."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [2000, 1_000_000])
def test_file_that_has_no_room_is_named_and_the_old_one_stays(tmp_path, size):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")
    with (
        pytest.raises(OSError, match=r"kept\.bin") as caught,
        small_disk(),
        replacing(path) as file,
    ):
        file.write(bytes(size))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.bin"]


def test_what_cannot_take_the_place_is_told_of_the_place(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EACCES, "Permission denied", source, None, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError) as caught, replacing(tmp_path / "new.bin"):
        pass
    assert str(caught.value).endswith(f"Permission denied: {str(tmp_path / 'new.bin')!r}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [OSError("of a decoder"), FileNotFoundError(errno.ENOENT, "not found", "other.bin")]
)
def test_errors_about_something_else_stay_as_they_are(tmp_path, error):
    before = str(error)
    with pytest.raises(OSError, match=r"of a decoder|not found"), replacing(tmp_path / "new.bin"):
        raise error
    assert str(error) == before


def test_missing_folder_is_an_error(tmp_path):
    path = tmp_path / "nowhere" / "new.bin"
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        pass
    assert caught.value.filename == str(path)


def test_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), replacing(tmp_path / "file" / "new.bin"):
        pass
