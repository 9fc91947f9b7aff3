"""``kmq encode`` to PNG, GIF and WebP, one file and many, and never at the cost of a source."""

import numpy as np
import pytest
from PIL import Image

from kmq.cli import main


def save(path, seed=0, **options):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:30, :40]
    samples = np.stack([rows * 8, columns * 6, rows + columns], axis=2)
    samples = np.clip(samples + rng.integers(-5, 6, samples.shape), 0, 255).astype(np.uint8)
    Image.fromarray(samples).save(path, **options)
    return path


def n_colors(path):
    with Image.open(path) as picture:
        return len(picture.convert("RGBA").getcolors(100_000))


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["out.png", "out.PNG", "out.gif", "out.webp"])
def test_suffix_of_the_output_says_the_kind(tmp_path, name, capsys):
    photo = save(tmp_path / "photo.png")
    assert main(["encode", str(photo), "-k", "8", "-o", str(tmp_path / name)]) == 0
    assert n_colors(tmp_path / name) == 8
    assert f"{name}: 8 colours, " in capsys.readouterr().out


def test_folder_to_png_with_a_suffix_and_jobs(tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.png", 1)
    save(tmp_path / "in" / "a.jpg", 2)
    save(tmp_path / "in" / "b.bmp", 3)
    options = ["-k", "4", "--to", "png", "--jobs", "2", "-q"]
    assert main(["encode", str(tmp_path / "in"), "-o", f"{tmp_path}/out/", *options]) == 0
    assert names(tmp_path / "out") == ["a.jpg.png", "a.png.png", "b.png"]
    assert main(["encode", str(tmp_path / "in" / "a.png"), "--ext=-4.png", *options]) == 0
    assert n_colors(tmp_path / "in" / "a-4.png") == 4


def test_a_source_is_replaced_only_with_force(tmp_path, capsys):
    photo = save(tmp_path / "photo.png")
    before = photo.read_bytes()
    for options in (["--to", "png"], ["-o", str(photo)], ["--ext", ".png"]):
        assert main(["encode", str(photo), "-k", "4", *options]) == 1
        assert "photo.png exists already; --force overwrites it" in capsys.readouterr().err
    assert main(["encode", str(photo), "-k", "400", "--to", "gif", "--force"]) == 1  # refused
    assert photo.read_bytes() == before
    assert main(["encode", str(photo), "-k", "4", "--to", "png", "--force"]) == 0
    assert n_colors(photo) == 4
    assert f" {len(before):,} → {photo.stat().st_size:,} bytes" in capsys.readouterr().out
    assert names(tmp_path) == ["photo.png"]


def test_another_source_is_never_replaced(tmp_path, capsys):
    first, second = save(tmp_path / "first.bmp"), save(tmp_path / "first.png", 1)
    third = save(tmp_path / "third.jpg")
    before = {path: path.read_bytes() for path in (first, second, third)}
    given = ["encode", *map(str, before), "--ext", ".png", "--force", "-k", "4", "-q"]
    assert main(given) == 0
    assert names(tmp_path) == [
        *("first.bmp", "first.bmp.png", "first.png", "first.png.png", "third.jpg", "third.png"),
    ]
    assert {path: path.read_bytes() for path in before} == before
    link = tmp_path / "link.bmp"
    link.symlink_to(first)
    assert main(["encode", str(link), "-o", str(first), "--force"]) == 2
    assert "first.bmp has the suffix .bmp" in capsys.readouterr().err


def test_sums_of_replaced_files_tell_their_old_sizes(tmp_path, capsys):
    photos = [save(tmp_path / f"{number}.png", number) for number in range(2)]
    before = sum(path.stat().st_size for path in photos)
    assert main(["encode", *map(str, photos), "-k", "4", "--to", "png", "--force"]) == 0
    after = sum(path.stat().st_size for path in photos)
    assert f"2 files: {before:,} → {after:,} bytes" in capsys.readouterr().out


def test_skip_if_larger_and_strip(tmp_path, capsys):
    save(tmp_path / "photo.png", dpi=(300, 300))
    given = ["encode", str(tmp_path / "photo.png"), "-k", "4", "--to", "png", "--skip-if-larger"]
    assert main([*given, "-o", f"{tmp_path}/kept.png"]) == 0
    assert main([*given, "-o", f"{tmp_path}/bare.png", "--strip"]) == 0
    with Image.open(tmp_path / "kept.png") as kept, Image.open(tmp_path / "bare.png") as bare:
        assert "dpi" in kept.info
        assert "dpi" not in bare.info
    tiny = tmp_path / "bare.png"
    before = tiny.read_bytes()
    assert main(["encode", str(tiny), "--to", "png", "--force", "--skip-if-larger"]) == 98
    assert tiny.read_bytes() == before
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-o", "x.png", "--to", "gif"], "-o x.png and --to gif are both given"),
        (["--ext=-4.png", "--to", "kmq"], "--ext -4.png and --to kmq are both given"),
        (["-o", "x.png", "--method", "mix"], "--method is about .kmq files, not .png"),
        (["--to", "webp", "--strip-height", "9"], "--strip-height is about .kmq files, not .webp"),
        (["-o", "x.jpg"], "x.jpg has the suffix .jpg; files that kmq encode writes have"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path, options, complaint, capsys):
    photo = save(tmp_path / "photo.png")
    assert main(["encode", str(photo), *options]) == 2
    assert complaint in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_what_a_kind_cannot_hold_is_said(tmp_path, capsys):
    photo = save(tmp_path / "photo.png", dpi=(300, 300))
    out = tmp_path / "x"
    assert main(["encode", str(photo), "-k", "300", "-o", f"{out}.png"]) == 0
    assert "x.png has no palette, which would hold 256 colours" in capsys.readouterr().err
    assert main(["encode", str(photo), "-k", "9", "-o", f"{out}.gif"]) == 0
    assert "x.gif is written without resolution (no place in a GIF" in capsys.readouterr().err
    assert main(["encode", str(photo), "-k", "9", "-o", f"{out}.webp", "--strip"]) == 0
    assert "written without" not in capsys.readouterr().err


def test_range_of_quality_leaves_out_what_looks_worse(tmp_path, capsys):
    photo, out = save(tmp_path / "photo.png"), tmp_path / "out.png"
    given = ["encode", str(photo), "-o", str(out), "--max-colors", "4"]
    assert main([*given, "--quality", "90-95"]) == 99
    assert "photo.png: skipped, it would look " in capsys.readouterr().out
    assert names(tmp_path) == ["photo.png"]
    assert main([*given, "--quality", "0-95", "--strip"]) == 0  # the best there is
    assert n_colors(out) == 4
    assert main(["encode", str(photo), "-o", str(out), "--quality", "80-60"]) == 2
    assert "must have the smaller number first" in capsys.readouterr().err
