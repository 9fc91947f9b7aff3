"""Label maps as .npy files: ``kmq encode`` and ``kmq decode``."""

import io
import sys

import numpy as np
import pytest

import kmq
from kmq.cli import main

STACK = np.arange(4 * 5 * 3).reshape(4, 5, 3) % 7


def npy(header):
    """The bytes of an .npy file that has a header alone."""
    padded = header.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(padded).to_bytes(2, "little") + padded


def refusal(path, capsys, *options):
    before = sorted(path.parent.iterdir())
    assert main(["encode", str(path), *options]) != 0
    assert sorted(path.parent.iterdir()) == before
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "labels",
    [
        np.where(np.mgrid[:30, :40][0] > 9, -7, 300).astype(np.int32),
        np.asfortranarray(STACK).astype(">u2", order="K"),
        STACK.astype(np.uint8),  # a stack, though it might be a picture
        np.array([True, False]),
    ],
)
def test_there_and_back(tmp_path, capsys, labels):
    path = tmp_path / "cells.npy"
    np.save(path, labels)
    assert main(["encode", str(path)]) == 0
    shape = " × ".join(map(str, labels.shape))
    assert f"cells.kmq: label map, {shape}, {labels.dtype.name}, " in capsys.readouterr().out
    assert np.array_equal(kmq.read_labels(tmp_path / "cells.kmq"), labels)
    assert main(["decode", str(tmp_path / "cells.kmq"), "-f"]) == 0
    again = np.load(path)
    assert again.dtype == labels.dtype.newbyteorder("=")
    assert np.array_equal(again, labels)


def test_through_pipes(monkeypatch, capfdbinary):
    content = io.BytesIO()
    np.save(content, STACK)
    expected = content.getvalue()
    piped = expected
    for command in ("encode", "decode"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
        assert main([command, "-", "-q"]) == 0
        piped = capfdbinary.readouterr().out
    assert piped == expected


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.ones((3, 4)), "float64"),
        (np.ones(3, complex), "complex128"),
        (np.array([1, "x"], object), "object"),
        (np.zeros(3, "i4,f4"), "[('f0', '<i4'), ('f1', '<f4')]"),
        (np.array(["2026"], "M8[Y]"), "datetime64[Y]"),
    ],
)
def test_what_is_not_a_label_map(tmp_path, capsys, array, kind):
    np.save(tmp_path / "x.npy", array)
    assert f"x.npy has dtype {kind}; a label map holds" in refusal(tmp_path / "x.npy", capsys)


HEADER = "{{'descr': '<i4', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (npy(HEADER.format("(100000, 100000)")), "the limit is 178956970"),
        (npy(HEADER.format("(1000, 1000)")), "0 bytes behind its header; 1000000 elements"),
        (npy(HEADER.format("(1,)")) + bytes(5), "5 bytes behind its header; 1 elements take 4"),
        (npy(HEADER.format("(0, 3)")), "at least one element"),
        (npy(HEADER.format("()")) + bytes(4), "0 dimensions"),
        (npy(HEADER.format("(-1, -2)")), "sound header"),
        (npy(HEADER.format("(" * 9000)), "sound header"),
        (npy(HEADER.format("(" + "9" * 5000 + ",)")), "sound header"),
        (npy("x\n  (((\n y"), "sound header"),
        (npy("{}")[:20], "sound header"),
        (b"\x93NUMPY\3\0", "version 3.0; kmq reads 1.0 and 2.0"),
        (b"text", "sound header"),
        (b"", "sound header"),
    ],
)
def test_damaged_files_are_refused_before_memory_is_taken(tmp_path, capsys, content, fault):
    (tmp_path / "x.npy").write_bytes(content)
    assert fault in refusal(tmp_path / "x.npy", capsys)


def test_options_that_label_maps_cannot_have(tmp_path, capsys):
    np.save(tmp_path / "x.npy", STACK)
    kmq.write_labels(tmp_path / "x.kmq", STACK)
    kmq.write(tmp_path / "picture.kmq", STACK[..., 0].astype(np.uint8))
    for option in (["-k", "5"], ["--quality", "70"], ["--page", "2"], ["--space", "rgb"]):
        message = refusal(tmp_path / "x.npy", capsys, *option, "-f")
        assert f"kept exactly; {option[0]} is about pictures" in message
    assert ".kmq files keep; .png is for" in refusal(tmp_path / "x.npy", capsys, "--to", "png")
    for arguments, fault in (
        (["x.kmq", "--box", "0,0,1,1", "-f"], "--box is about pictures"),
        (["x.kmq", "--salvage", "-f"], "--salvage is about pictures"),
        (["x.kmq", "-o", f"{tmp_path}/x.png"], ".npy files keep; .png is for pictures"),
        (["picture.kmq", "-o", f"{tmp_path}/y.npy"], ".npy files are for label maps"),
    ):
        assert main(["decode", str(tmp_path / arguments[0]), *arguments[1:]]) == 1
        assert fault in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3
