import base64
import html
import io
import re
import shlex
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import main
from kmq.cli.demo import PALETTE_SIZES
from kmq.cli.scene import scene

SMALL = partial(scene, 192, 128)


def test_the_scene_is_the_same_everywhere():
    assert zlib.crc32(scene(96, 64).tobytes()) == 2373751091


def test_the_scene_is_a_hard_one():
    picture = scene(192, 128)
    alpha = picture[:, :, 3]
    assert picture.shape == (128, 192, 4)
    assert (alpha == 0).any()
    assert ((alpha > 0) & (alpha < 255)).mean() > 0.03
    assert (alpha == 255).mean() > 0.8
    assert not picture[alpha == 0].any()
    assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 5000


def test_the_scene_does_not_show_the_bands_it_is_computed_in(monkeypatch):
    expected = scene(48, 37)
    monkeypatch.setattr("kmq.cli.scene._BAND_ROWS", 5)
    assert np.array_equal(scene(48, 37), expected)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmq.cli.scene.scene", SMALL)
        assert main(["demo", "-o", str(folder)]) == 0
    return folder


def test_demo_writes_the_picture_and_its_files(demo):
    with Image.open(demo / "demo.png") as picture:
        original = np.asarray(picture)
    assert np.array_equal(original, SMALL())
    sizes = []
    for k in PALETTE_SIZES:
        image = kmq.read(demo / f"demo-{k}.kmq")
        assert image.n_colors == k
        assert image.pixel_format is kmq.PixelFormat.RGBA32
        sizes.append((demo / f"demo-{k}.kmq").stat().st_size)
    assert sizes == sorted(sizes)


def test_the_page_holds_every_picture(demo):
    page = (demo / "demo.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    pictures = [Image.open(io.BytesIO(base64.b64decode(png))) for png in embedded]
    assert np.array_equal(np.asarray(pictures[0]), SMALL())
    # All results are under the slider, and again below it.
    for k, picture in zip(2 * PALETTE_SIZES, pictures[1:], strict=True):
        expected = kmq.read(demo / f"demo-{k}.kmq").to_array()
        assert np.array_equal(np.asarray(picture.convert("RGBA")), expected)
        assert f"{(demo / f'demo-{k}.kmq').stat().st_size:,} bytes as .kmq" in page


def test_the_page_says_where_to_go_next_and_how_it_was_made(demo):
    page = (demo / "demo.html").read_text(encoding="utf-8")
    commands = [html.unescape(line) for line in re.findall("<code>(kmq [^<]*)</code>", page)]
    *commands, made_by = commands
    assert shlex.split(made_by) == ["kmq", "demo", "-o", str(demo)]
    assert f"kmq {kmq.__version__}" in page
    assert f"kmq compare {demo / 'demo.png'} {demo / 'demo-16.kmq'}" in commands
    for command in commands:
        _, *words = shlex.split(command)
        if "photo.png" not in words and words[0] != "report":  # which tests/cli/test_report.py runs
            assert main(words) == 0


def test_git_ignores_a_folder_that_demo_makes_and_no_other(demo, tmp_path, monkeypatch):
    assert (demo / ".gitignore").read_text() == "*\n"
    monkeypatch.setattr("kmq.cli.scene.scene", SMALL)
    assert main(["demo", "-o", str(tmp_path)]) == 0
    assert not (tmp_path / ".gitignore").exists()
    assert (tmp_path / "demo.html").exists()


def test_demo_overwrites_nothing(demo, capsys):
    before = (demo / "demo.html").stat().st_mtime_ns
    assert main(["demo", "-o", str(demo)]) == 1
    assert "--force" in capsys.readouterr().err
    assert (demo / "demo.html").stat().st_mtime_ns == before
