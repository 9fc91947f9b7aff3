"""``--jobs``: several files at once, and nothing else that differs."""

import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import encode, main

N_PICTURES = 6


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(N_PICTURES):
        samples = np.random.default_rng(number).integers(0, 256, (9, 8 + number, 3), np.uint8)
        Image.fromarray(samples).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no picture")
    return folder


def without_times(text):
    """Leave out what may differ between two runs of one command."""
    return re.sub(r"\d+\.\d\d s|kmq: compiling .*\n", "", text)


def shown(folder, capsys, monkeypatch, *arguments):
    """What a command says and writes in a folder of that name."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    code = main(list(map(str, arguments)))
    said = capsys.readouterr()
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return code, without_times(said.out), without_times(said.err), files


@pytest.mark.parametrize(
    "command",
    [
        ("encode", "-k", "3"),
        ("encode", "-k", "3", "--quiet"),
        ("encode", "-k", "3", "--skip-if-larger", "--threads", "5"),
        ("palette", "-k", "3", "-o", "x.hex"),
    ],
)
def test_several_files_at_once_say_and_write_the_same(
    photos, tmp_path, capsys, monkeypatch, command
):
    name, *options = command
    where = () if name == "palette" else ("-o", "out/")
    one, many = (
        shown(tmp_path / n_jobs, capsys, monkeypatch, name, photos, "missing.png", *options,
              *where, "--jobs", n_jobs)
        for n_jobs in ("1", "4")
    )  # fmt: skip
    assert one[0] == 1
    assert many == one
    named = [str(photos / "2.png"), "missing.png"]
    for line, name in zip(one[2].splitlines(), named, strict=False):
        assert line.startswith(f"kmq: {name}")


def test_decoding_several_at_once_names_what_is_damaged_in_order(tmp_path, capsys):
    picture = np.random.default_rng(0).integers(0, 256, (40, 16, 3), np.uint8)
    encoded = bytearray(kmq.encode(picture, 4, strip_height=8, method="deflate"))
    encoded[-12] ^= 1
    paths = [tmp_path / f"{number}.kmq" for number in range(N_PICTURES)]
    for path in paths:
        path.write_bytes(encoded)
    assert main(["decode", *map(str, paths), "--salvage", "--jobs", "3"]) == 0
    said = capsys.readouterr()
    warned = re.findall(r"^kmq: warning: (\S+) is damaged: ", said.err, re.MULTILINE)
    assert warned == list(map(str, paths))
    written = re.findall(r"^(.*\.png): ", said.out, re.MULTILINE)
    assert written == [str(path.with_suffix(".png")) for path in paths]


def test_jobs_share_the_threads(photos, tmp_path, monkeypatch):
    told = []

    def work(arguments, chosen, source, target, progress):
        told.append(arguments.threads)
        Path(target).touch()
        return "done"

    monkeypatch.setattr(encode, "_encode", work)
    for n_jobs, threads, share in (("2", "7", 3), ("5", "2", 1), ("1", "7", 7)):
        told.clear()
        main(["encode", str(photos), "-o", f"{tmp_path / n_jobs}/", "--jobs", n_jobs,
              "--threads", threads])  # fmt: skip
        assert set(told) == {share}


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread")
def test_an_interruption_stops_every_job(photos, tmp_path, monkeypatch, capsys):
    begun = threading.Barrier(2)

    def work(arguments, chosen, source, target, progress):
        begun.wait()
        if source.name == "0.png":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        while True:
            progress("palette", 0)

    monkeypatch.setattr(encode, "_encode", work)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of xdist ignore it
    try:
        assert main(["encode", str(photos), "-o", f"{tmp_path}/out/", "--jobs", "2"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.endswith("kmq: interrupted\n")
    assert os.listdir(tmp_path / "out") == []
    assert not any(thread.name.startswith("kmq-job") for thread in threading.enumerate())
