"""kmq.js, the decoder for browsers, against kmq: in node, on sound files and damaged ones."""

import base64
import json
import shutil
import subprocess
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import fuzz
import kmq.files
from images import indexed_image
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model.file_info import Limits
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container.file import pack_varint

WEB = files("kmq") / "web"
GOLDEN = Path(__file__).parent / "golden"
NODE = shutil.which("node")
KINDS = {FormatError: "damaged", NewerFormatError: "newer", LimitError: "too large"}

needs_node = pytest.mark.skipif(not NODE, reason="needs node")


def in_node(folder, limits=None, piece=0):
    """What kmq.js makes of the files of a folder: name → contents, or why it is refused."""
    limits = limits or Limits()
    given = {
        "pixels": limits.pixels,
        "metadataBytes": limits.metadata_bytes,
        "decisions": limits.decisions,
    }
    script = Path(__file__).parent / "decode_files.mjs"
    arguments = [NODE, script, WEB / "kmq.js", folder, json.dumps(given), str(piece)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(encoded, limits=None):
    """The same of one file by kmq, as kmq.js puts it."""
    try:
        image = kmq.files.decode(encoded, limits=limits, n_threads=1)
    except FormatError as error:
        return {"refused": KINDS[type(error)]}
    kept = asdict(image.metadata)
    chunks = [kept.pop(name) for name in ("icc_profile", "exif", "xmp")]
    names = ("dpi", "gamma", "chromaticities", "srgb", "cicp")
    tags = {name: list(v) if isinstance(v := kept[name], tuple) else v for name in names}
    return {
        "width": image.width,
        "height": image.height,
        "pixelFormat": image.pixel_format.code,
        "palette": in_base64(image.palette),
        "indices": in_base64(image.indices),
        "bytes": [None if content is None else in_base64(content) for content in chunks],
        "tags": tags,
        "text": [list(entry) for entry in kept["text"].items()],
        "extra": [[letter, in_base64(content)] for letter, content in kept["extra"]],
    }


def in_base64(content):
    if isinstance(content, np.ndarray):
        content = content.astype(content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(content).decode()


def agree(found, encoded, limits=None):
    """Whether kmq.js says of a file what kmq says; if it is refused, not which fault is named."""
    expected = in_python(encoded, limits)
    if "refused" in expected:
        return "refused" in found
    return expected == {name: found.get(name) for name in expected}


@needs_node
@pytest.mark.parametrize("piece", [0, 17])
def test_golden_files(piece):
    found = in_node(GOLDEN, piece=piece)
    paths = sorted(GOLDEN.glob("*.kmq"))
    assert len(found) == len(paths) > 200
    assert [p.name for p in paths if not agree(found[p.name], p.read_bytes())] == []


@needs_node
def test_large_pictures(tmp_path):
    """Several strips, palettes of more than a byte, areas of one colour."""
    for number, (k, height, width) in enumerate([(700, 90, 120), (64, 200, 150), (3, 300, 400)]):
        image = indexed_image(PixelFormat.RGB24, k, height, width)
        for method in ("deflate", "rank", "mix"):
            if k > 256 and method == "rank":
                continue
            encoded = kmq.files.encode(image, method=method, strip_height=64)
            (tmp_path / f"{method}-{number}.kmq").write_bytes(encoded)
    flat = np.zeros((300, 500, 3), np.uint8)
    flat[100:140, 30:200] = 255
    (tmp_path / "flat.kmq").write_bytes(kmq.encode(flat, k=2, method="mix"))
    found = in_node(tmp_path)
    assert [n for n in found if not agree(found[n], (tmp_path / n).read_bytes())] == []


@needs_node
def test_damaged_files_are_refused(tmp_path):
    mutator = fuzz.Mutator(14)
    mutants = {f"{number:04}.kmq": mutator.make() for number in range(700)}
    for name, encoded in mutants.items():
        (tmp_path / name).write_bytes(encoded)
    found = in_node(tmp_path, fuzz.LIMITS)
    wrong = [n for n, encoded in mutants.items() if not agree(found[n], encoded, fuzz.LIMITS)]
    assert wrong == []
    refused = [f for f in found.values() if "refused" in f]
    assert 100 < len(refused) < 690


def faulty_files():
    """One file for each kind of refusal, and some more: name → bytes."""
    sound = fuzz.split((GOLDEN / "mix-RGB-16-16x16.kmq").read_bytes())
    letters = [letter for letter, _ in sound]
    header, palette, strip = (dict(sound)[letter] for letter in "HPS")

    def with_chunk(letter, payload):
        return fuzz.joined([(a, payload if a == letter else b) for a, b in sound])

    assert letters == ["H", "P", "S", "E"]
    long_text = b"\0word\0" + bytes(20_000)
    return {
        "version": with_chunk("H", b"\2" + header[1:]),
        "goes-on": with_chunk("H", header + b"\0"),
        "pixel-format": with_chunk("H", header[:1] + b"\x0a" + header[2:]),
        "palette-method": with_chunk("P", b"\3" + palette[1:]),
        "strip-method": with_chunk("S", b"\3" + strip[1:]),
        "critical": fuzz.joined([*sound[:2], ("Q", b""), *sound[2:]]),
        "pixels": with_chunk("H", header[:2] + pack_varint(2**20) * 2 + b"\x10\x10"),
        "metadata": fuzz.joined([*sound[:2], ("t", long_text), *sound[2:]]),
        "checksum": with_chunk("S", strip[:1] + bytes(4) + strip[5:]),
        "cut": with_chunk("S", strip[:-3]),
        "no-end": fuzz.joined(sound[:3]),
        "empty": b"",
    }


@needs_node
def test_each_kind_of_refusal_is_named(tmp_path):
    """The limits are those of the files: 2**20 x 2**20 pixels, 20,006 bytes of metadata."""
    limits = Limits(pixels=2**39, metadata_bytes=20_000)
    faulty = faulty_files()
    for name, encoded in faulty.items():
        (tmp_path / f"{name}.kmq").write_bytes(encoded)
    found = in_node(tmp_path, limits)
    said = {name: found[f"{name}.kmq"].get("refused") for name in faulty}
    assert said == {name: in_python(encoded, limits)["refused"] for name, encoded in faulty.items()}
    assert set(said.values()) == set(KINDS.values())


@needs_node
def test_work_is_limited_as_kmq_limits_it(tmp_path):
    """Decisions that the bytes of a file do not pay for, and those that nobody counts."""
    noise = np.zeros((64, 700), np.uint8)
    noise[::7, ::5] = 255
    encoded = kmq.encode(np.concatenate([noise, 0 * noise]), k=2, method="mix")
    (tmp_path / "work.kmq").write_bytes(encoded)
    low, high = 0, 2**20  # the least limit that lets the file pass
    while low < high:
        middle = (low + high) // 2
        if "refused" in in_python(encoded, Limits(decisions=middle)):
            low = middle + 1
        else:
            high = middle
    assert low > 0
    assert "refused" not in in_node(tmp_path, Limits(decisions=low))["work.kmq"]
    assert in_node(tmp_path, Limits(decisions=low - 1))["work.kmq"]["refused"] == "too large"
