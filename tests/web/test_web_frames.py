"""kmq-frames.js, the decoder of sequences for browsers, against kmq, in node."""

import base64
import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import kmq
from images import indexed_image, moving_images
from kmq.errors import FormatError, LimitError, NewerFormatError
from kmq.model.pixel_format import PixelFormat

WEB = files("kmq") / "web"
GOLDEN = Path(__file__).parents[1] / "golden" / "sequences"
NODE = shutil.which("node")
KINDS = {FormatError: "damaged", NewerFormatError: "newer", LimitError: "too large"}

pytestmark = pytest.mark.skipif(not NODE, reason="needs node")


def in_node(folder, **limits):
    script = Path(__file__).parent / "decode_frames.mjs"
    arguments = [NODE, script, WEB / "kmq-frames.js", folder, json.dumps(limits)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_python(encoded, limits=None):
    """The same of one file by kmq."""
    try:
        images = kmq.read_frames(encoded, limits=limits)
    except FormatError as error:
        return {"refused": KINDS[type(error)]}
    info = kmq.info(encoded)
    profile = info.metadata.icc_profile
    return {
        "size": [info.width, info.height, info.pixel_format.code, info.plays],
        "profile": profile and base64.b64encode(profile).decode(),
        "frames": [
            [
                frame.delay,
                frame.is_key,
                image.n_colors,
                *map(in_base64, (image.palette, image.indices)),
            ]
            for frame, image in zip(info.frames, images, strict=True)
        ],
    }


def in_base64(array):
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(content).decode()


def test_golden_sequences():
    found = in_node(GOLDEN)
    assert len(found) > 20
    for name, contents in found.items():
        assert contents == in_python((GOLDEN / name).read_bytes()), name


def test_damaged_sequences_are_refused_as_kmq_does(tmp_path):
    path = tmp_path / "x.kmq"
    kmq.write_frames(path, moving_images(PixelFormat.RGB24, 7, 6, 9, 4), method="deflate")
    encoded = path.read_bytes()
    path.unlink()
    for place in range(8):  # of the signature
        broken = bytearray(encoded)
        broken[place] ^= 1
        (tmp_path / f"begin-{place}.kmq").write_bytes(broken)
    rng = np.random.default_rng(0)
    for number in range(60):
        broken = bytearray(encoded)
        broken[rng.integers(len(encoded))] ^= 1 << rng.integers(8)
        (tmp_path / f"bit-{number}.kmq").write_bytes(broken)
        (tmp_path / f"cut-{number}.kmq").write_bytes(encoded[: rng.integers(len(encoded))])
    for name, contents in in_node(tmp_path).items():
        expected = in_python((tmp_path / name).read_bytes())
        assert contents.get("refused") == expected.get("refused"), (name, contents, expected)


def test_limits_and_still_pictures(tmp_path):
    images = moving_images(PixelFormat.RGB24, 7, 6, 9, 4)
    kmq.write_frames(tmp_path / "four.kmq", images)
    still = indexed_image(PixelFormat.GREY8, 9, 5, 7)
    kmq.write(tmp_path / "still.kmq", still)
    found = in_node(tmp_path, pixels=6 * 9 * 4 - 1)
    assert found["four.kmq"]["refused"] == "too large"
    assert found["still.kmq"]["frames"] == [
        [0, True, 9, in_base64(still.palette), in_base64(still.indices)]
    ]
    assert "refused" not in in_node(tmp_path, pixels=6 * 9 * 4)["four.kmq"]
