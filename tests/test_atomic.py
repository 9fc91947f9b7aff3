"""Files appear whole or not at all."""

import errno
import os
import stat

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


def test_missing_folder_is_an_error(tmp_path):
    path = tmp_path / "nowhere" / "new.bin"
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        pass
    assert caught.value.filename == str(path)


def test_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), replacing(tmp_path / "file" / "new.bin"):
        pass
