"""Pipes in and out: `-`, descriptors, named pipes, devices."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq import palettes
from kmq.cli import decode, main, palette, pipes
from kmq.stages.pictures import writing

bash = shutil.which("bash")
posix = pytest.mark.skipif(os.name != "posix", reason="named pipes and descriptors are POSIX's")


def png(samples=None):
    stream = io.BytesIO()
    if samples is None:
        samples = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(samples).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(png())
    return path


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "packed.kmq"
    kmq.write(path, np.arange(12, dtype=np.uint8).reshape(3, 4), method="deflate")
    return path


@pytest.fixture
def piped(monkeypatch, capfdbinary):
    """Run a command with bytes on its standard input; return its code, bytes and messages."""

    def run(content, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = main([str(argument) for argument in arguments])
        out, messages = capfdbinary.readouterr()
        return code, out, messages.decode()

    return run


def descriptor_with(content):
    """Return the name of a pipe that content, a few bytes, waits in."""
    reading, writing = os.pipe()
    with open(writing, "wb") as stream:
        stream.write(content)
    return f"/dev/fd/{reading}"


def test_there_and_back_through_standard_streams(photo, tmp_path, piped):
    code, encoded, messages = piped(photo.read_bytes(), "encode", "-", "-k", "8")
    assert code == 0
    assert kmq.decode(encoded) == kmq.quantize(photo, 8)
    assert f"standard output: 8 colours, {photo.stat().st_size:,} → " in messages
    code, decoded, messages = piped(encoded, "decode", "-", "-o", "-")
    assert code == 0
    with Image.open(io.BytesIO(decoded)) as picture:
        assert picture.format == "PNG"
        assert np.array_equal(picture.convert("RGB"), kmq.decode(encoded).to_array())
    assert "standard output: 30 × 20 pixels, RGB, 8 colours, " in messages
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_names_of_standard_output(photo, piped, name):
    code, encoded, _ = piped(b"", "encode", photo, "-k", "4", "-o", name)
    assert code == 0
    assert kmq.decode(encoded).n_colors == 4


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_names_of_standard_input(photo, piped, name):
    code, encoded, _ = piped(photo.read_bytes(), "encode", name, "-k", "4")
    assert code == 0
    assert kmq.decode(encoded).n_colors == 4


@posix
def test_descriptors_take_and_give_what_standard_streams_do(photo, tmp_path, capfdbinary):
    reading, writing = os.pipe()
    source = descriptor_with(photo.read_bytes())
    assert main(["encode", source, "-k", "4", "-o", f"/dev/fd/{writing}"]) == 0
    os.close(writing)
    with open(reading, "rb") as stream:
        assert kmq.decode(stream.read()).n_colors == 4
    # Standard output is not the file's, and the pipe is called what the caller calls it.
    assert capfdbinary.readouterr().out.startswith(f"/dev/fd/{writing}: 4 colours, ".encode())


@posix
def test_named_pipes_are_read_and_written_and_stay_what_they_are(photo, tmp_path, capfd):
    fifo = tmp_path / "again.tif"  # its suffix says what goes into it
    os.mkfifo(fifo)
    found = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    assert main(["encode", str(photo), "-k", "4"]) == 0
    assert main(["decode", str(tmp_path / "photo.kmq"), "-o", str(fifo)]) == 0
    reader.join()
    assert found[0].startswith(b"II*")
    assert fifo.is_fifo()
    writer = threading.Thread(target=lambda: fifo.write_bytes(found[0]))
    writer.start()
    assert main(["encode", str(fifo), "-k", "9", "-o", str(tmp_path / "second.kmq")]) == 0
    writer.join()
    assert kmq.read(tmp_path / "second.kmq").n_colors == 4
    assert fifo.is_fifo()


@posix
def test_devices_are_read_in_parts(capfd):
    assert main(["encode", "/dev/zero"]) == 1
    assert capfd.readouterr().err.startswith("kmq: /dev/zero is not a picture")


@posix
def test_devices_are_written_to(photo, capfd):
    assert main(["encode", str(photo), "-k", "4", "-o", os.devnull]) == 0
    assert capfd.readouterr().out.startswith(f"{os.devnull}: 4 colours")


def test_info_and_curve_read_standard_input(photo, packed, piped):
    code, shown, _ = piped(packed.read_bytes(), "info", "-")
    assert code == 0
    assert shown.decode().startswith("standard input: 4 × 3 pixels")
    assert piped(packed.read_bytes(), "info", "-", "--json")[0] == 0
    code, shown, _ = piped(photo.read_bytes(), "curve", "-", "--max-colors", "8", "--json")
    assert code == 0
    assert json.loads(shown)["points"][-1]["k"] == 8


def test_compare_reads_and_draws_through_pipes(photo, piped):
    code, shown, _ = piped(photo.read_bytes(), "compare", photo, "-")
    assert code == 0
    assert "exact" in shown.decode()
    assert "bits per pixel  standard input (100.0% of the original)" in shown.decode()
    code, sheet, figures = piped(photo.read_bytes(), "compare", "-", photo, "-o", "-")
    assert code == 0
    assert Image.open(io.BytesIO(sheet)).size == (2 * 30 + 16, 20)
    assert "exact" in figures
    assert figures.endswith("kmq: wrote standard output\n")


def test_curve_draws_into_a_pipe(photo, piped):
    code, plot, shown = piped(b"", "curve", photo, "--max-colors", "8", "-o", "-")
    assert code == 0
    assert plot.startswith(b"\x89PNG")
    assert "knee" in shown


def test_a_palette_and_a_histogram_go_through_pipes(photo, tmp_path, piped):
    code, histogram, _ = piped(photo.read_bytes(), "palette", "-", "-k", "5", "--histogram", "-")
    assert code == 0
    code, palette, shown = piped(histogram, "palette", "-", "-k", "5", "-o", "-")
    assert code == 0
    assert "standard output: 5 colours for 1 picture" in shown
    code, encoded, _ = piped(palette, "encode", photo, "--palette", "-", "-o", "-")
    assert code == 0
    assert kmq.decode(encoded) == kmq.quantize(photo, palette=kmq.decode(palette).palette)


def test_the_format_that_goes_into_a_pipe_can_be_chosen(photo, piped):
    code, listed, _ = piped(b"", "palette", photo, "-k", "3", "-o", "-", "--format", "gpl")
    assert code == 0
    assert listed.startswith(b"GIMP Palette")
    code, plot, _ = piped(
        b"", "curve", photo, "--max-colors", "8", "-o", "/dev/stdout", "--format", "svg"
    )
    assert code == 0
    assert plot.startswith(b"<?xml")
    assert piped(b"", "palette", photo, "-o", "x.hex", "--format", "gpl")[0] == 2


def test_what_can_be_chosen_is_what_is_written():
    assert {f".{name}" for name in decode._FORMATS} == {
        *writing._FILE_TYPES,
        ".npy",
    } - {".tiff"}
    assert {f".{name}" for name in palette._FORMATS} == set(palettes.SUFFIXES) - {".kmq"}


def test_masks_come_through_pipes(photo, piped):
    mask = png(np.full((20, 30), 255, np.uint8))
    code, encoded, _ = piped(mask, "encode", photo, "-k", "4", "--weights", "-", "-o", "-")
    assert code == 0
    assert kmq.decode(encoded).n_colors == 4


def test_a_report_goes_to_standard_output(packed, piped):
    code, page, line = piped(packed.read_bytes(), "report", "-")
    assert code == 0
    assert page.startswith(b"<!")
    assert "standard output: " in line


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:300]])
def test_what_comes_broken_leaves_nothing_half_written(content, tmp_path, piped):
    code, written, message = piped(content, "encode", "-", "-k", "4")
    assert (code, written) == (1, b"")
    assert message.startswith("kmq: standard input")
    assert len(message.splitlines()) == 1
    target = tmp_path / "x.kmq"
    assert piped(content, "encode", "-", "-k", "4", "-o", target)[0] == 1
    assert not target.exists()


def test_several_pictures_do_not_fit_into_a_pipe(photo, tmp_path, piped):
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes())
    code, written, message = piped(b"", "encode", photo, other, "-o", "-")
    assert (code, written) == (2, b"")
    assert "-o - takes one file" in message
    code, written, _ = piped(photo.read_bytes(), "encode", "-", photo, "-k", "2", "-o", tmp_path)
    assert code == 0
    assert kmq.read(tmp_path / "stdin.kmq") == kmq.read(tmp_path / "photo.kmq")


@pytest.mark.parametrize("output", ["-", "/dev/stdout", os.devnull])
def test_the_demo_does_not_fit_into_a_pipe(output, piped):
    code, written, message = piped(b"", "demo", "-o", output)
    assert (code, written) == (2, b"")
    assert f"-o {output} takes one file" in message


def test_a_pipe_is_named_once(photo, piped):
    code, written, message = piped(photo.read_bytes(), "compare", "-", "/dev/stdin")
    assert (code, written) == (2, b"")
    assert "standard input is named twice" in message
    code, written, message = piped(b"", "palette", photo, "-o", "-", "--histogram", "-")
    assert (code, written) == (2, b"")
    assert "standard output is named twice" in message


@posix
def test_a_terminal_is_neither_read_nor_shown_bytes(photo, packed, monkeypatch, capfd):
    _, terminal = os.openpty()
    name = os.ttyname(terminal)
    with open(name, "r+b", buffering=0) as both, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(both))
        patch.setattr(sys, "stdin", io.TextIOWrapper(both))
        assert main(["decode", str(packed), "-o", "-"]) == 2
        assert "standard output is a terminal" in capfd.readouterr().err
        assert main(["encode", "-"]) == 2
        assert "standard input is a terminal" in capfd.readouterr().err
        assert main(["palette", str(photo), "-k", "2", "-o", "-"]) == 2
        sys.stdout.detach()
        sys.stdin.detach()
    assert main(["encode", name]) == 2
    assert main(["decode", str(packed), "-o", name]) == 2
    assert f"{name} is a terminal" in capfd.readouterr().err


def test_closed_standard_streams_are_named(packed, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["info", "-"]) == 1
    assert capfd.readouterr().err == "kmq: standard input is closed\n"
    monkeypatch.setattr(sys, "__stdout__", None)
    assert main(["decode", str(packed), "-o", "-"]) == 1
    assert capfd.readouterr().err == "kmq: standard output is closed\n"
    assert main(["decode", str(packed), "-o", "/dev/fd/987654321"]) == 1
    assert "Bad file descriptor: /dev/fd/987654321" in capfd.readouterr().err


@posix
def test_a_reader_does_not_wait_for_what_cannot_be_made(tmp_path, capfd):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()), daemon=True)
    reader.start()
    for _ in range(10_000):  # until the reader waits for a writer
        assert main(["encode", str(tmp_path / "none.png"), "-o", str(fifo)]) == 1
        if found:
            break
    assert found == [b""]


@posix
def test_the_library_reads_pipes_too(photo, packed, tmp_path):
    def through_pipe(path):
        return descriptor_with(path.read_bytes())

    assert kmq.quantize(through_pipe(photo), 4) == kmq.quantize(photo, 4)
    assert kmq.read(through_pipe(packed)) == kmq.read(packed)
    assert kmq.info(through_pipe(packed)).chunks == kmq.info(packed).chunks
    assert np.array_equal(kmq.read_palette(through_pipe(packed)), kmq.read(packed).palette)
    swatch = tmp_path / "swatch.png"
    kmq.write_palette(swatch, kmq.read(packed))
    assert np.array_equal(kmq.read_palette(through_pipe(swatch)), kmq.read(packed).palette)


@posix
def test_a_pipe_that_nobody_reads_ends_it_quietly(packed, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    assert main(["decode", str(packed), "-o", f"/dev/fd/{writing}"]) == 141
    os.close(writing)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_device_is_named(packed, capfd):
    assert main(["decode", str(packed), "-o", "/dev/full"]) == 1
    assert "No space left on device: /dev/full" in capfd.readouterr().err


def test_what_never_ends_is_cut_off(piped, monkeypatch):
    monkeypatch.setattr(pipes, "_MOST_BYTES", 1000)
    code, written, message = piped(bytes(1001), "encode", "-")
    assert (code, written) == (1, b"")
    assert "standard input holds more than the 1,000 bytes kmq reads" in message


def test_nothing_is_left_in_the_folder_for_temporary_files(photo, tmp_path, piped, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert piped(photo.read_bytes(), "encode", "-", "-k", "2")[0] == 0
    assert piped(b"x", "encode", "-", "-k", "2")[0] == 1
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(bash is None, reason="needs process substitution")
def test_a_shell_can_put_commands_in_the_place_of_files(photo, tmp_path):
    kmq_ = f"{sys.executable} -m kmq"
    line = (
        f"cat {photo} | {kmq_} encode - | {kmq_} decode - -o - | "
        f"{kmq_} compare <(cat {photo}) - -o >(cat > {tmp_path}/side.png; echo done)"
    )
    done = subprocess.run([bash, "-c", line], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "dB" in done.stdout
    assert re.search(r"^standard output: 64 colours", done.stderr, re.MULTILINE)


@posix
@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(["--version"], ""), (["--version"], "1"), (["--help"], ""), (["encode", "--help"], "1")],
)
def test_what_it_says_of_itself_ends_quietly_when_nobody_reads_it(arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = run_kmq(*arguments, stdout=writing, PYTHONUNBUFFERED=unbuffered)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_what_it_says_of_itself_does_not_fit(arguments):
    with open("/dev/full", "wb") as full:
        done = run_kmq(*arguments, stdout=full)
    assert (done.returncode, done.stderr) == (
        1,
        b"kmq: No space left on device: standard output\n",
    )


def run_kmq(*arguments, stdout, **environment):
    return subprocess.run(
        [sys.executable, "-m", "kmq", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        check=False,
    )
