import argparse
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import kmq
from kmq import compiling
from kmq.cli import batch, console, curve, main, swatches, warmup
from kmq.stages.mapping import metrics
from kmq.stages.mapping.ssimulacra2 import ssimulacra2

COMMANDS = ("encode", "decode", "palette", "info", "compare", "curve", "report", "demo", "warmup")


def picture(height=20, width=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, samples=None, **options):
    Image.fromarray(picture() if samples is None else samples).save(path, **options)
    return path


def tree(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def photo(tmp_path):
    return save(tmp_path / "photo.png")


@pytest.fixture
def packed(tmp_path):
    image = kmq.IndexedImage(
        np.array([[0, 0, 0], [255, 128, 0], [16, 32, 64]], np.uint8),
        np.arange(12, dtype=np.uint8).reshape(3, 4) % 3,
        kmq.PixelFormat.RGB24,
    )
    path = tmp_path / "packed.kmq"
    kmq.write(path, image, method="deflate")
    return path


def run_kmq(*arguments, **options):
    command = [sys.executable, "-m", "kmq", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


# --- the whole way -------------------------------------------------------------------------------


def test_there_and_back_as_a_process(photo, tmp_path):
    encoded = run_kmq("encode", photo, "-k", "8")
    assert encoded.returncode == 0, encoded.stderr
    assert len(encoded.stdout.splitlines()) == 1
    assert main(["decode", str(tmp_path / "photo.kmq"), "-o", str(tmp_path / "again.png")]) == 0
    with Image.open(tmp_path / "again.png") as picture:
        again = np.asarray(picture.convert("RGB"))
    assert np.array_equal(again, kmq.read(tmp_path / "photo.kmq").to_array())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"examples:\n  kmq {command}" in capsys.readouterr().out


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {command} ", shown, re.MULTILINE) for command in COMMANDS)


def test_no_command_at_all_is_helped(capsys, monkeypatch):
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["kmq"])
    for argv in ([], None):
        assert main(argv) == 0
        assert capsys.readouterr() == shown


def test_help_is_a_command_too(capsys):
    for command in ([], ["encode"]):
        assert main([*command, "--help"]) == 0
        shown = capsys.readouterr()
        assert main(["help", *command]) == 0
        assert capsys.readouterr() == shown


def test_what_is_meant_by_a_file_or_a_number_in_the_wrong_place_is_told(photo, capsys):
    packed = photo.with_suffix(".kmq")
    for arguments, hint in (
        ([photo, "-k", 3], f"{photo} is a file; did you mean kmq encode {photo} -k 3?"),
        (["encode", 64, photo], "64 is not a file; the number of colours is -k 64"),
        (["encode", photo, packed], f"{packed} does not exist; -o {packed} makes it the file to"),
        (["decode", photo, "x.tif"], "x.tif does not exist; -o x.tif makes it the file to write"),
        (
            ["encode", photo, "--dither=0.5"],
            "argument --dither: takes no value, but is given '0",
        ),
        (["decode", photo, "--ext", ".xyz"], "--ext is .xyz; it must end in .png"),
        (["decode", photo, "--ext=-1.png", "--format", "tif"], "--ext and --format are both given"),
    ):
        assert main(list(map(str, arguments))) == 2
        assert hint in capsys.readouterr().err
    assert names(photo.parent) == ["photo.png"]


def test_decode_names_files_and_strips_metadata(photo, tmp_path):
    save(photo, dpi=(72, 72))
    assert main(["encode", str(photo), "-k", "4"]) == 0
    assert main(["decode", str(tmp_path / "photo.kmq"), "--ext=-again.png", "--strip"]) == 0
    with Image.open(tmp_path / "photo-again.png") as again:
        assert "dpi" not in again.info
    assert main(["decode", str(tmp_path / "photo.kmq"), "-f"]) == 0
    with Image.open(photo) as again:
        assert "dpi" in again.info


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kmq {kmq.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["paint"],
        ["encode"],
        ["encode", "x.png", "-k", "0"],
        ["encode", "x.png", "-k", "65537"],
        ["encode", "x.png", "-k", "many"],
        ["encode", "x.png", "--threads", "0"],
        ["encode", "x.png", "--seed", "-1"],
        ["encode", "x.png", "--method", "magic"],
        ["encode", "x.png", "--effort", "most"],
        ["encode", "x.png", "--psnr", "high"],
        ["encode", "x.png", "--psnr", "0"],
        ["encode", "x.png", "--psnr", "inf"],
        ["encode", "x.png", "--max-colors", "0"],
        ["info"],
        ["compare", "one.png"],
        ["curve"],
        ["curve", "x.png", "--max-colors", "65537"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "kmq" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "x.png", "--sise", "40k"], "kmq encode: error: there is no option --sise; "
         "did you mean --size?"),
        (["encode", "--dithr=1", "x.png"], "did you mean --dither?"),
        (["report", "x.png", "--colours", "4"], "kmq report: error: there is no option --colours; "
         "did you mean --colors?"),
        (["info", "x.kmq", "-z"], "kmq info: error: there is no option -z (see kmq info --help)"),
        (["compare", "a", "b", "c"], "kmq compare: error: c is one file too many"),
        (["encode", "x.png", "--speed", "3"], "no option --speed; did you mean --effort?"),
        (["version"], "kmq: error: there is no command version; did you mean --version?"),
        (["encod", "x.png"], "kmq: error: there is no command encod; did you mean encode?"),
        (["--psnr", "30", "encode"], "kmq: error: there is no option --psnr (see kmq --help)"),
    ],
)  # fmt: skip
def test_the_nearest_name_is_told_by_the_command_it_belongs_to(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    program = message.split(":")[0] if message.startswith("kmq") else "kmq encode"
    assert shown.startswith(f"usage: {program} [")
    assert len(shown.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_the_exit_codes(command, capsys):
    assert main([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert re.findall(r"^  (\d+) ", told.partition("exit codes:\n")[2], re.MULTILINE) == [
        *("0", "1", "2", "98", "99", "130", "141")
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("40000", 40_000), ("40000B", 40_000), ("40k", 40_000), ("40KB", 40_000)),
        *(("40 kB", 40_000), ("40KiB", 40_960), ("40kib", 40_960), ("1.5M", 1_500_000)),
        *(("1.5MiB", 1_572_864), ("0.5K", 500), ("2G", 2_000_000_000), ("1.0015k", 1001)),
    ],
)
def test_sizes_have_units(text, number):
    assert console.byte_count(text) == number


@pytest.mark.parametrize(
    "text", ["", "k", "-1", "0", "0.5", "40q", "1e3", "4 0", "inf", "9" * 5000, "9" * 19, "٤"]
)
def test_what_is_no_size_is_refused_in_a_sentence(text, capsys):
    assert main(["encode", "x.png", f"--size={text}"]) == 2
    assert (
        f"must be a size such as 40000, 40k, 40KB, 1.5M or 39KiB, not {text!r}"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("option", ["--threads", "--box"])
def test_numbers_of_any_length_are_refused_in_a_sentence(option, capsys):
    command = "decode" if option == "--box" else "encode"
    assert main([command, "x", option, "9" * 5000]) == 2
    assert re.search("must be (a|four) whole numbers?.*, not '9*9'", capsys.readouterr().err)


# --- encode --------------------------------------------------------------------------------------


def test_encode_prints_what_it_did(photo, tmp_path, capsys):
    assert main(["encode", str(photo), "-k", "16", "--threads", "2"]) == 0
    target = tmp_path / "photo.kmq"
    line = capsys.readouterr().out
    before, after = photo.stat().st_size, target.stat().st_size
    squared_error = metrics.mse(picture(), kmq.read(target).to_array())
    psnr = metrics.psnr(squared_error, kmq.PixelFormat.RGB24)
    assert line.startswith(f"{target}: 16 colours, {before:,} → {after:,} bytes, ")
    assert f"{8 * after / 600:.3f} bits per pixel, {psnr:.2f} dB, " in line


def test_encode_says_when_nothing_was_lost(photo, capsys):
    assert main(["encode", str(photo), "-k", "600"]) == 0
    assert ", exact, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {"k": 64}),
        (["--lambda", "0", "--colors", "9"], {"k": 9}),
        (["--lambda", "0", "--psnr", "20", "--fewest"], {"k": kmq.Fewest(psnr=20)}),
        (["--max-mse", "0"], {"k": kmq.Fewest(max_mse=0)}),
        (["-k", "5", "--dither", "--dither-strength", "0"], {"k": 5}),
        (["--psnr", "20"], {"k": kmq.Fewest(psnr=20)}),
        (["--psnr", "20", "--effort", "fast"], {"k": kmq.Fewest(psnr=20), "effort": "fast"}),
        (["-k", "40", "--effort", "best"], {"k": 40, "effort": "best"}),
        (["--max-colors", "7"], {"k": 7}),
    ],
)
def test_encode_hands_on_what_the_picture_shall_be_like(photo, tmp_path, arguments, options):
    assert main(["encode", str(photo), *arguments]) == 0
    assert kmq.read(tmp_path / "photo.kmq") == kmq.quantize(photo, **options)


def test_encode_says_when_so_many_colours_do_not_reach_the_psnr(photo, tmp_path, capsys):
    assert main(["encode", str(photo), "--psnr", "40", "--max-colors", "6"]) == 0
    assert " dB (below the 40 asked for), " in capsys.readouterr().out
    assert kmq.read(tmp_path / "photo.kmq").n_colors == 6
    assert main(["encode", str(photo), "--psnr", "10", "--force"]) == 0
    assert "asked for" not in capsys.readouterr().out


def test_pictures_are_named_before_and_after_options(photo, tmp_path):
    others = [str(save(tmp_path / f"{name}.png")) for name in ("one", "two", "-three")]
    arguments = [str(photo), "--dither", others[0], "-k", "2", others[1], "--", others[2]]
    assert main(["encode", *arguments]) == 0
    assert len(list(tmp_path.glob("*.kmq"))) == 4


def test_options_without_a_value_take_no_picture(photo, tmp_path):
    for option in ("--dither", "--snap", "--force"):
        assert main(["encode", "-k", "3", option, str(photo), "--force"]) == 0
        assert kmq.read(tmp_path / "photo.kmq").n_colors == 3


def test_encode_is_quiet_names_files_and_skips_what_grows(photo, tmp_path, capsys):
    assert main(["encode", str(photo), "-k", "4", "--ext=-small.kmq", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert names(tmp_path) == ["photo-small.kmq", "photo.png"]
    assert main(["encode", str(photo), "--ext", ".tif"]) == 2
    assert "--ext is .tif; it must end in .kmq, .kmqpal, .png" in capsys.readouterr().err
    tiny = tmp_path / "tiny.ppm"
    tiny.write_bytes(b"P6 1 1 255 abc")
    assert main(["encode", str(tiny), "--skip-if-larger"]) == 98
    assert "skipped" in capsys.readouterr().out
    assert main(["encode", str(tiny), "missing.png", "--skip-if-larger"]) == 1
    assert not tiny.with_suffix(".kmq").exists()
    assert main(["encode", str(photo), "-k", "4", "--skip-if-larger"]) == 0
    assert (tmp_path / "photo.kmq").exists()


def test_strip_leaves_out_metadata(photo, tmp_path):
    save(photo, dpi=(72, 72))
    assert main(["encode", str(photo), "-k", "4"]) == 0
    assert kmq.read(tmp_path / "photo.kmq").metadata.dpi is not None
    assert main(["encode", str(photo), "-k", "4", "--strip", "--force"]) == 0
    assert kmq.read(tmp_path / "photo.kmq").metadata == kmq.Metadata()


@pytest.mark.parametrize("option", ["--psnr", "--max-colors"])
def test_encode_options_that_contradict_each_other_are_misuse(photo, tmp_path, option, capsys):
    assert main(["encode", str(photo), "-k", "8", option, "30"]) == 2
    assert f"-k and {option} are both given" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_the_same_seed_gives_the_same_file(photo, tmp_path):
    for name, seed in (("a", 3), ("b", 3)):
        output = str(tmp_path / f"{name}.kmq")
        assert main(["encode", str(photo), "-k", "5", "--seed", str(seed), "-o", output]) == 0
    assert (tmp_path / "a.kmq").read_bytes() == (tmp_path / "b.kmq").read_bytes()


def test_encode_reads_folders_and_patterns(tmp_path, capsys):
    deep = tmp_path / "in" / "deep"
    deep.mkdir(parents=True)
    save(tmp_path / "in" / "one.png")
    save(tmp_path / "in" / "two.BMP")
    save(deep / "three.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    folder, out = str(tmp_path / "in"), tmp_path / "out"
    assert main(["encode", folder, "-k", "2", "-o", str(out)]) == 0
    assert tree(out) == ["deep/three.kmq", "one.kmq", "two.kmq"]
    pattern = str(tmp_path / "in" / "**" / "*.png")
    assert main(["encode", pattern, "-k", "2", "-o", str(tmp_path / "more")]) == 0
    assert tree(tmp_path / "more") == ["deep/three.kmq", "one.kmq"]
    pattern = str(tmp_path / "in" / "d*" / "*.png")
    assert main(["encode", pattern, "-k", "2", "-o", str(tmp_path / "less")]) == 0
    assert tree(tmp_path / "less") == ["deep/three.kmq"]
    assert len(capsys.readouterr().out.splitlines()) == 3 + 1 + 2 + 1 + 1


def test_of_several_folders_each_keeps_its_name(tmp_path):
    for folder in ("red", "blue"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "same.png")
    folders = [str(tmp_path / "red"), str(tmp_path / "blue") + os.sep]
    assert main(["encode", *folders, "-k", "2", "-o", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out") == ["blue/same.kmq", "red/same.kmq"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_folders_are_gone_through_once_and_without_what_is_hidden(tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / ".git").mkdir(parents=True)
    save(folder / ".git" / "a.png")
    save(folder / ".b.png")
    save(folder / "c.png")
    (folder / "loop").symlink_to(folder)
    assert main(["encode", str(folder), "-k", "2", "-o", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out") == ["c.kmq"]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("output", "written"),
    [("new", "new/photo.kmq"), ("new.v2/", "new.v2/photo.kmq"), ("there.v2", "there.v2/photo.kmq")],
)
def test_what_is_a_folder_does_not_depend_on_how_many_there_are(
    photo, tmp_path, several, output, written
):
    (tmp_path / "there.v2").mkdir()
    pictures = [str(photo)] + ([str(save(tmp_path / "other.png"))] if several else [])
    assert main(["encode", *pictures, "-k", "2", "-o", str(tmp_path) + os.sep + output]) == 0
    assert (tmp_path / written).is_file()


def test_what_has_its_file_already_can_be_left_out(photo, tmp_path, capsys):
    save(tmp_path / "other.png")
    assert main(["encode", str(photo), "-k", "2"]) == 0
    before = (tmp_path / "photo.kmq").read_bytes()
    assert main(["encode", str(tmp_path), "-k", "3", "--skip-existing"]) == 0
    shown = capsys.readouterr()
    assert (tmp_path / "photo.kmq").read_bytes() == before
    assert kmq.read(tmp_path / "other.kmq").n_colors == 3
    assert shown.err == ""
    assert re.search(r"^1 file: .*, 1 skipped, ", shown.out, re.MULTILINE)
    assert main(["encode", str(tmp_path), "-k", "3", "--skip-existing"]) == 0
    assert capsys.readouterr().out.startswith("0 files, 2 skipped")
    assert main(["encode", str(photo), "--skip-existing", "--force"]) == 2


def test_the_last_line_has_the_sums(photo, tmp_path, capsys):
    other = save(tmp_path / "other.bmp")
    (tmp_path / "bad.png").write_bytes(b"")
    assert main(["encode", str(tmp_path), "-k", "4"]) == 1
    sizes = [photo.stat().st_size + other.stat().st_size]
    sizes.append(sum((tmp_path / f"{name}.kmq").stat().st_size for name in ("photo", "other")))
    last = capsys.readouterr().out.splitlines()[-1]
    share = f"{sizes[1] / sizes[0]:.1%}"
    assert last.startswith(f"2 files: {sizes[0]:,} → {sizes[1]:,} bytes ({share}), 1 failed, ")


@pytest.fixture
def closed(monkeypatch):
    """Close a folder so that it cannot be looked into, not even by root."""
    scandir = os.scandir

    def close(folder, code):
        def refuse(path):
            if os.fspath(path) == str(folder):
                raise OSError(code, os.strerror(code), str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return close


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT, errno.EIO])
@pytest.mark.parametrize("inner", ["sub", ""])
def test_a_folder_that_cannot_be_looked_into_is_reported(tmp_path, closed, code, inner, capsys):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    save(folder / "sub.png")
    other = save(tmp_path / "other.png")
    closed(folder / inner, code)
    assert main(["encode", str(folder), str(other), "-k", "2", "-o", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert tree(tmp_path / "out") == (["in/sub.kmq"] if inner else []) + ["other.kmq"]
    assert err == f"kmq: {folder / inner}: {os.strerror(code)}\n"
    assert ", 1 failed, " in out


@pytest.mark.parametrize("command", ["info", "decode", "view", "palette", "report"])
def test_every_command_reports_a_folder_that_cannot_be_looked_into(
    photo, packed, tmp_path, closed, command, capsys
):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(photo if command in ("palette", "report") else packed, folder)
    closed(folder / "sub", errno.EACCES)
    given = {"decode": ["-o", f"{tmp_path}/out/"], "view": ["-o", f"{tmp_path}/page.html"]}
    assert main([command, str(folder), *given.get(command, [])]) == 1
    assert f"kmq: {folder / 'sub'}: Permission denied\n" in capsys.readouterr().err


def test_a_file_that_cannot_be_looked_at_is_reported(tmp_path, monkeypatch, capsys):
    save(tmp_path / "a.png")
    hidden = save(tmp_path / "b.png")
    is_file = Path.is_file

    def refuse(path, **options):
        if path == hidden:
            hidden.unlink()
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path, **options)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert main(["encode", str(tmp_path), "-k", "2"]) == 1
    assert (tmp_path / "a.kmq").exists()
    assert f"{hidden}: No such file" in capsys.readouterr().err


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    save(tmp_path / "photo[1].png")
    assert main(["encode", str(tmp_path / "photo[1].png"), "-k", "2"]) == 0
    assert (tmp_path / "photo[1].kmq").exists()


def test_a_picture_named_twice_is_encoded_once(photo, tmp_path, capsys):
    assert main(["encode", str(photo), str(tmp_path), "-k", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("name", ["nothing*.png", "empty"])
def test_what_holds_no_picture_is_misuse(tmp_path, name, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["encode", str(tmp_path / name)]) == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[""], ["x.png", "-o", ""]])
def test_an_empty_name_is_no_folder(photo, tmp_path, monkeypatch, arguments, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", *arguments]) == 2
    assert "is empty" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_a_full_disk_is_told_of_the_file_that_has_no_room(photo, packed, tmp_path, capsys):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        assert main(["encode", str(photo), "-o", str(tmp_path / "x.kmq")]) == 1
        assert main(["decode", str(packed), "-o", str(tmp_path / "x.tif")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    encoding, decoding = capsys.readouterr().err.splitlines()
    assert encoding == f"kmq: {photo}: File too large: {tmp_path / 'x.kmq'}"
    assert decoding == f"kmq: {packed}: File too large: {tmp_path / 'x.tif'}"
    assert names(tmp_path) == ["packed.kmq", "photo.png"]


@pytest.mark.parametrize("suffix", [".tif", ".txt"])
def test_encode_writes_no_kmq_file_by_the_name_of_another(photo, tmp_path, suffix, capsys):
    assert main(["encode", str(photo), "-o", str(tmp_path / f"small{suffix}")]) == 2
    assert f"small{suffix} has the suffix {suffix}" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_what_is_in_the_way_of_a_file_is_named(photo, capsys):
    assert main(["encode", str(photo), "-o", str(photo / "x.kmq")]) == 1
    assert f"{photo} is not a folder" in capsys.readouterr().err


def test_help_names_every_method(capsys):
    from kmq.stages.coding.methods import STRIP_METHODS

    assert main(["encode", "--help"]) == 0
    named = re.search(r"--method \{(.*?)\}", capsys.readouterr().out)
    assert set(named[1].split(",")) == {method.name for method in STRIP_METHODS}


def test_a_bad_picture_does_not_stop_the_others(tmp_path, capsys):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"this is no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    save(tmp_path / "d.png")
    missing = tmp_path / "e.png"
    pictures = [str(tmp_path / f"{letter}.png") for letter in "abcde"]
    assert main(["encode", *pictures, "-k", "4"]) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [
        str(tmp_path / "a.kmq"),
        str(tmp_path / "d.kmq"),
        "2 files",
    ]
    for bad in (tmp_path / "b.png", tmp_path / "c.png", missing):
        assert captured.err.count(str(bad)) == 1
    assert "Traceback" not in captured.err
    assert names(tmp_path) == ["a.kmq", "a.png", "b.png", "c.png", "d.kmq", "d.png"]


def test_existing_files_need_force(photo, tmp_path, capsys):
    target = tmp_path / "photo.kmq"
    target.write_text("precious")
    assert main(["encode", str(photo)]) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "precious"
    assert main(["encode", str(photo), "--force"]) == 0
    assert kmq.read(target).width == 30


def test_pictures_of_one_name_are_told_apart_by_their_suffixes(photo, tmp_path):
    save(tmp_path / "photo.bmp")
    save(tmp_path / "other.png")
    assert main(["encode", str(tmp_path), "-k", "2", "-o", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == ["other.kmq", "photo.bmp.kmq", "photo.png.kmq"]


def test_only_those_that_cannot_be_told_apart_fail(photo, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    twin = save(tmp_path / "more" / "photo.png")
    other = save(tmp_path / "other.png")
    pictures = [str(photo), str(twin), str(other)]
    assert main(["encode", *pictures, "-k", "2", "-o", str(tmp_path / "out")]) == 1
    message = capsys.readouterr().err
    assert message.count(f"kmq: {photo}: ") == message.count(f"kmq: {twin}: ") == 1
    assert f"is also the output for {twin}" in message
    assert names(tmp_path / "out") == ["other.kmq"]


def test_several_pictures_need_a_folder(photo, tmp_path, capsys):
    other = save(tmp_path / "other.png")
    assert main(["encode", str(photo), str(other), "-o", str(tmp_path / "out.kmq")]) == 2
    assert "folder" in capsys.readouterr().err


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_input_is_never_overwritten(photo, tmp_path, force, capsys):
    before = photo.read_bytes()
    link = tmp_path / "link.kmq"
    os.link(photo, link)
    assert main(["encode", str(photo), "-o", str(link), *force]) == 1
    assert photo.read_bytes() == link.read_bytes() == before
    assert "overwr" in capsys.readouterr().err


def test_an_interrupted_write_leaves_nothing(photo, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        assert main(["encode", str(photo), "-k", "2"]) == 130
    assert names(tmp_path) == ["photo.png"]
    assert capsys.readouterr().err.endswith("kmq: interrupted\n")


@pytest.mark.parametrize("module", ["kmq.cli.command", "kmq.files"])
def test_an_interrupt_while_modules_are_imported_is_told_in_a_word(
    photo, monkeypatch, capsys, module
):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == module:
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert main(["encode", str(photo)]) == 130
    assert capsys.readouterr().err == "kmq: interrupted\n"


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.parametrize("command", ["encode", "decode", "report", "palette"])
def test_a_link_to_itself_is_no_place_to_write_to(photo, packed, tmp_path, command, capsys):
    suffix = {"encode": ".kmq", "decode": ".png", "report": ".html", "palette": ".gpl"}[command]
    loop = tmp_path / f"loop{suffix}"
    loop.symlink_to(loop)
    source = str(packed if command == "decode" else photo)
    for output in (str(loop), str(loop / "below" / f"x{suffix}")):
        for force in ([], ["--force"]):
            assert main([command, source, "-o", output, *force]) == 1
            assert re.search(
                "exists already|Too many levels of symbolic links|is not a folder",
                capsys.readouterr().err,
            )
    assert loop.is_symlink()
    assert main([command, str(loop), "-o", str(tmp_path / f"other{suffix}")]) == 1
    assert f"kmq: {loop}: Too many levels of symbolic links" in capsys.readouterr().err


def on_a_terminal(monkeypatch):
    monkeypatch.setattr(console, "_BAR_AFTER", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_a_bar_shows_on_a_terminal_only(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(console, "_BAR_AFTER", 0)
    assert main(["encode", str(photo), "-k", "4"]) == 0
    assert "%" not in capsys.readouterr().err
    on_a_terminal(monkeypatch)
    assert main(["encode", str(photo), "-k", "4", "--force"]) == 0
    captured = capsys.readouterr()
    assert "%" in captured.err
    assert "%" not in captured.out


@pytest.mark.parametrize("options", [["-k", "9", "--lambda", "1"], ["--psnr", "18"]])
def test_the_bar_never_goes_back(photo, tmp_path, monkeypatch, capsys, options):
    save(tmp_path / "other.png", picture(seed=1))
    (tmp_path / "bad.png").write_bytes(b"")
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(console.Bar, "clear", lambda _: None)
    assert main(["encode", str(tmp_path), *options]) == 1
    shares = [int(share) for share in re.findall(r"(\d+)%", capsys.readouterr().err)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 4


def test_stages_fill_half_of_what_is_left():
    heard = []
    progress = console.by_stages(lambda stage, share: heard.append((stage, share)))
    for stage, share in [("a", 0.5), ("a", 1), ("b", 0.5), ("b", 0.25), ("b", 1), ("c", 0)]:
        progress(stage, share)
    assert [share for _, share in heard] == [0.25, 0.5, 0.625, 0.78125, 0.875, 0.875]


def test_compiling_shows_on_the_bar_and_is_not_counted(photo, tmp_path, monkeypatch, capsys):
    on_a_terminal(monkeypatch)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def work(source, target, progress):
        progress("working", 0.25)
        with compiling.making_ready():
            compiling.tell("kmq.kernels.some.outer")
            with compiling.making_ready():  # which the outer one calls
                compiling.tell("kmq.kernels.some.inner")
                now[0] += 30
            now[0] += 20
        now[0] += 1.5
        shutil.copy(source, target)
        return "done"

    jobs = batch.plan([str(photo)], frozenset(), str(tmp_path / "x.kmq"), lambda _: "")
    arguments = argparse.Namespace(
        force=False, skip_existing=False, quiet=False, jobs=1, cluster=None
    )
    with warmup.announcing():
        assert batch.each(jobs, work, arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == "done, 1.50 s\n"
    assert captured.err.count("kmq: compiling kernels, which takes some seconds") == 1
    shown = re.findall(r"(working|compiling \w+) +(\d+)%", captured.err)
    assert shown == [("working", "25"), ("compiling outer", "25"), ("compiling inner", "25")]


def test_warnings_are_messages(photo, capsys):
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", (100_000).to_bytes(4, "big"))
    with Image.open(photo) as picture:
        picture.save(photo, pnginfo=chunks)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["encode", str(photo), "-k", "2"])
    message = capsys.readouterr().err
    assert message.startswith("kmq: ")
    assert ".py" not in message


# --- decode --------------------------------------------------------------------------------------


def test_decode_chooses_a_type_that_holds_the_pixels(packed, tmp_path, capsys):
    ink = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    kmq.write(tmp_path / "ink.kmq", ink, 8, pixel_format="CMYK")
    assert main(["decode", str(packed), str(tmp_path / "ink.kmq")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    with Image.open(tmp_path / "packed.png") as decoded:
        assert decoded.mode == "P"
    with Image.open(tmp_path / "ink.tif") as decoded:
        expected = kmq.read(tmp_path / "ink.kmq").to_array()
        assert decoded.mode == "CMYK"
        assert np.array_equal(np.asarray(decoded), expected)


def test_decode_keeps_dots_in_names(packed, tmp_path):
    dotted = shutil.copy(packed, tmp_path / "packed.v2.kmq")
    assert main(["decode", str(dotted), str(packed), "-o", str(tmp_path / "out")]) == 0
    assert main(["decode", str(dotted), "-o", str(tmp_path / "bare")]) == 0
    assert names(tmp_path / "out") == ["packed.png", "packed.v2.png"]
    assert names(tmp_path / "bare") == ["packed.v2.png"]


def test_decode_writes_the_format_that_is_chosen(packed, tmp_path, capfdbinary):
    folder = tmp_path / "out.v2"
    assert main(["decode", str(packed), "-o", f"{folder}/", "--format", "tif"]) == 0
    assert names(folder) == ["packed.tif"]
    capfdbinary.readouterr()
    assert main(["decode", str(packed), "-o", "-", "--format", "bmp"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"BM")
    assert main(["decode", str(packed), "-o", str(tmp_path / "x.png"), "--format", "bmp"]) == 2
    assert b"the suffix says the kind" in capfdbinary.readouterr().err
    assert main(["decode", str(packed), "--format", "jpg"]) == 2


def test_decode_leaves_out_what_it_has_decoded_before(tmp_path, capsys):
    ink = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    kmq.write(tmp_path / "ink.kmq", ink, 8, pixel_format="CMYK")
    kmq.write(tmp_path / "grey.kmq", ink[..., 0], 8)
    assert main(["decode", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["decode", str(tmp_path), "--skip-existing"]) == 0
    assert capsys.readouterr().out.startswith("0 files, 2 skipped")
    assert names(tmp_path) == ["grey.kmq", "grey.png", "ink.kmq", "ink.tif"]


def test_decode_refuses_a_type_that_would_lose_something(packed, tmp_path, capsys):
    assert main(["decode", str(packed), "-o", str(tmp_path / "out.jpg")]) == 1
    assert "out.jpg" in capsys.readouterr().err
    assert names(tmp_path) == ["packed.kmq"]


def test_decode_says_which_metadata_a_file_cannot_hold(packed, tmp_path, capsys):
    image = replace(kmq.read(packed), metadata=kmq.Metadata(exif=b"Exif\0\0garbage"))
    kmq.write(tmp_path / "odd.kmq", image)
    assert main(["decode", str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    odd = tmp_path / "out" / "odd.png"
    sentence = f"kmq: warning: {odd} is written without EXIF (it does not begin like a TIFF file)\n"
    assert capsys.readouterr().err == sentence
    assert names(tmp_path / "out") == ["odd.png", "packed.png"]


def test_decode_reports_damage_and_goes_on(packed, tmp_path, capsys):
    good = packed.read_bytes()
    (tmp_path / "cut.kmq").write_bytes(good[:-9])
    (tmp_path / "flip.kmq").write_bytes(good[:-20] + bytes([good[-20] ^ 4]) + good[-19:])
    assert main(["decode", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert names(tmp_path / "out") == ["packed.png"]
    assert re.search(r"cut\.kmq: .*offset", captured.err)
    assert re.search(r"flip\.kmq: .*offset", captured.err)


def test_decode_takes_a_box(packed, tmp_path, capsys):
    assert main(["decode", str(packed), "--box", "1,0,4,2"]) == 0
    assert "packed.png: 3 × 2 pixels" in capsys.readouterr().out
    with Image.open(tmp_path / "packed.png") as decoded:
        expected = kmq.read(packed).to_array()[0:2, 1:4]
        assert np.array_equal(np.asarray(decoded.convert("RGB")), expected)
    assert main(["decode", str(packed), "--box", "0,0,5,3", "--force"]) == 1
    assert "4 x 3" in capsys.readouterr().err
    for box in ("1,2,3", "1,2,3,x", "-1,0,1,1", ""):
        assert main(["decode", str(packed), f"--box={box}"]) == 2
        assert f"must be four whole numbers, L,U,R,B, not {box!r}" in capsys.readouterr().err


def test_decode_salvages(tmp_path, capsys):
    image = kmq.quantize(picture(), 5)
    for name in ("one", "two"):
        encoded = kmq.encode(image, method="deflate", strip_height=8)
        (tmp_path / f"{name}.kmq").write_bytes(encoded[:-20])
    assert main(["decode", str(tmp_path / "one.kmq"), "--box", "0,0,3,3", "--salvage"]) == 2
    assert main(["decode", str(tmp_path / "one.kmq")]) == 1
    capsys.readouterr()
    assert main(["decode", str(tmp_path), "-o", str(tmp_path / "out"), "--salvage"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    for name in ("one", "two"):
        assert re.search(rf"{name}\.kmq is damaged: .*rows 16 to 19", captured.err)
        with Image.open(tmp_path / "out" / f"{name}.png") as decoded:
            shown = np.asarray(decoded.convert("RGB"))
        assert np.array_equal(shown[:16], image.to_array()[:16])
        assert (shown[16:] == image.palette[0]).all()


def test_decode_needs_force_to_overwrite(packed, tmp_path):
    assert main(["decode", str(packed)]) == 0
    assert main(["decode", str(packed)]) == 1
    assert main(["decode", str(packed), "--force"]) == 0


def test_decode_of_two_files_with_one_name_needs_two_folders(packed, tmp_path):
    (tmp_path / "other").mkdir()
    twin = shutil.copy(packed, tmp_path / "other")
    assert main(["decode", str(packed), str(twin), "-o", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
    assert main(["decode", str(packed), str(twin)]) == 0


# --- info ----------------------------------------------------------------------------------------


def test_info_prints_the_sum_and_the_palette(packed, capsys):
    assert main(["info", str(packed)]) == 0
    shown = capsys.readouterr().out
    size = packed.stat().st_size
    assert "4 × 3 pixels, RGB, 3 colours" in shown
    assert f"= 3 × 4 × 3 = 36 bytes; the file is {size} ({size / 36:.1%})" in shown
    assert "000000   ff8000   102040\n" in shown
    assert "rows 0 to 2: deflate (0), " in shown
    assert "\x1b" not in shown


def test_info_writes_every_digit_of_a_large_sum(tmp_path, capsys):
    path = tmp_path / "large.kmq"
    kmq.write(path, np.zeros((3001, 4001), np.bool_))
    assert main(["info", str(path)]) == 0
    assert "3001 × 4001 × 0.125 = 1,500,875.125 bytes" in capsys.readouterr().out


def test_info_shows_colours_on_a_terminal(packed, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["info", str(packed)]) == 0
    assert "\x1b[48;2;255;128;0m  \x1b[0m ff8000   \x1b[48;2;16;32;64m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["info", str(packed)]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("label", "entry", "shown"),
    [
        ("1", [1], (255, 255, 255)),
        ("L", [7], (7, 7, 7)),
        ("LA", [0, 51], (204, 204, 204)),
        ("RGB48", [65535, 0, 257], (255, 0, 1)),
        ("RGBA", [9, 9, 9, 0], (255, 255, 255)),
        ("CMYK", [255, 0, 0, 0], (0, 255, 255)),
    ],
)
def test_every_pixel_format_has_a_colour_on_the_screen(label, entry, shown):
    assert swatches.displayed(entry, kmq.PixelFormat.from_label(label)) == shown


def test_info_as_json_says_everything(packed, capsys):
    assert main(["info", str(packed), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(packed)
    assert facts["hex"] == ["000000", "ff8000", "102040"]
    assert facts["counts"] is facts["shares"] is None
    assert (facts["width"], facts["height"], facts["n_colors"]) == (4, 3, 3)
    assert facts["palette"] == [[0, 0, 0], [255, 128, 0], [16, 32, 64]]
    assert facts["file_size"] == packed.stat().st_size
    assert facts["memory"] == 36
    assert [chunk["letter"] for chunk in facts["chunks"]] == ["H", "P", "S", "E"]
    assert [strip["row"] for strip in facts["strips"]] == [0]


def test_info_says_where_the_bytes_are_and_what_another_order_would_save(tmp_path, capsys):
    image = kmq.quantize(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8), 60)
    backwards = kmq.IndexedImage(
        image.palette[::-1], 59 - image.indices, image.pixel_format, image.metadata
    )
    lines, facts = {}, {}
    for name, stored in (("ordered", image), ("backwards", backwards)):
        path = tmp_path / f"{name}.kmq"
        kmq.write(path, stored)
        assert main(["info", str(path)]) == 0
        lines[name] = re.search(r"palette  .*%.*", capsys.readouterr().out).group()
        assert main(["info", str(path), "--json"]) == 0
        facts[name] = json.loads(capsys.readouterr().out)
        assert sum(facts[name]["parts"].values()) == path.stat().st_size
    least = facts["ordered"]["parts"]["palette"]
    assert facts["ordered"]["ordered_palette_bytes"] == least
    assert facts["backwards"]["ordered_palette_bytes"] == least
    assert facts["backwards"]["parts"]["palette"] == 181  # the samples, and a byte for the method
    assert least < 181 - 20
    assert lines["ordered"].split()[1] == str(least)
    assert "if in the order" not in lines["ordered"]
    assert f"{least} if in the order" in lines["backwards"]


def test_info_names_metadata(tmp_path, capsys):
    metadata = kmq.Metadata(icc_profile=b"i" * 40, dpi=(300, 150), text={"Title": "A\nB"})
    image = kmq.IndexedImage(
        np.zeros((1, 1), np.uint8),
        np.zeros((1, 1), np.uint8),
        kmq.PixelFormat.GREY8,
        metadata,
    )
    path = tmp_path / "x.kmq"
    kmq.write(path, image)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "colour profile, 40 bytes" in shown
    assert "300 × 150" in shown
    assert r"'Title': 'A\nB'" in shown
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["text"] == {"Title": "A\nB"}


def test_info_shortens_long_lists(tmp_path, capsys):
    path = tmp_path / "many.kmq"
    kmq.write(path, np.arange(5000, dtype=np.uint16).reshape(100, 50), 5000, strip_height=1)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "… and 68 more; --json lists them all" in shown
    assert "… and 4,744 more; --json lists them all" in shown
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (len(facts["strips"]), len(facts["palette"])) == (100, 5000)


@pytest.mark.parametrize("content", [b"", b"no kmq file", None])
def test_info_of_another_file_fails_in_a_sentence(tmp_path, content, capsys):
    path = tmp_path / "x.kmq"
    if content is not None:
        path.write_bytes(content)
    assert main(["info", str(path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("kmq: ")
    assert len(message.splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs a list of threads")
def test_a_process_starts_no_threads_that_it_does_not_need(packed):
    program = (
        "import os; from kmq.cli import process; process(); print(os.listdir('/proc/self/task'))"
    )
    command = [sys.executable, "-c", program, "info", str(packed)]
    alone = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].count("'") == 2


def test_info_counts_pixels_where_that_is_asked_for(packed, capsys):
    assert main(["info", str(packed), "--counts"]) == 0
    assert "000000  33.33%   ff8000  33.33%   102040  33.33%\n" in capsys.readouterr().out
    assert main(["info", str(packed), "--counts", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"] == [4, 4, 4]
    assert facts["shares"] == [4 / 12] * 3


@pytest.fixture
def folder(packed, tmp_path):
    """Three files, one of them broken."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.kmq", "c.kmq"):
        shutil.copy(packed, folder / name)
    (folder / "b.kmq").write_bytes(packed.read_bytes()[:-9])
    (folder / "notes.txt").write_text("none of ours")
    return folder


def test_info_of_many_files_is_a_line_for_each(folder, packed, capsys):
    size = packed.stat().st_size
    assert main(["info", str(folder), str(packed)]) == 1
    out, err = capsys.readouterr()
    bits = f"{size:,} bytes, {8 * size / 12:.3f} bits per pixel"
    assert out.splitlines() == [
        *(
            f"{path}: 4 × 3 pixels, RGB, 3 colours, {bits}"
            for path in (folder / "a.kmq", folder / "c.kmq", packed)
        ),
        f"3 files: {3 * size:,} bytes, {8 * size / 12:.3f} bits per pixel",
    ]
    assert err.startswith(f"kmq: {folder / 'b.kmq'}: ")
    assert len(err.splitlines()) == 1
    assert main(["info", str(folder / "a.kmq"), str(packed), "--counts"]) == 0
    assert capsys.readouterr().out.count("ff8000  33.33%") == 2


def test_info_of_many_files_as_json_is_a_list(folder, packed, capsys):
    assert main(["info", str(folder), "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert [first["file"], second["file"]] == [str(folder / "a.kmq"), str(folder / "c.kmq")]
    assert main(["info", str(packed), "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert first == alone | {"file": first["file"]}
    (folder / "a.kmq").unlink()
    (folder / "c.kmq").unlink()
    assert main(["info", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []
    assert main(["info", str(folder / "b.kmq"), "--json"]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", ["info", "palette", "compare", "curve"])
def test_help_names_every_key_of_json(command, photo, packed, capsys):
    names = {"info": [packed], "compare": [photo, photo]}.get(command, [photo])
    assert main([command, *map(str, names), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main([command, "--help"]) == 0
    keys = capsys.readouterr().out.split("keys of --json")[1]
    nested = [value for value in found.values() if isinstance(value, dict)]
    nested += [value[0] for value in found.values() if isinstance(value, list)]
    for names in (found, *(value for value in nested if isinstance(value, dict))):
        assert [name for name in names if not re.search(rf"\b{name}\b", keys)] == []


def test_info_stays_light(packed):
    program = (
        "import sys; from kmq.cli import main; "
        "code = main(['info', sys.argv[1]]) or main(['info', sys.argv[2], '--json']); "
        "print(code, sorted({'numba', 'PIL', 'sklearn', 'tqdm'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(packed), str(packed.parent)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_closed_pipe_ends_it_quietly(packed):
    command = [sys.executable, "-m", "kmq", "info", str(packed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_closed_output_is_no_failure(packed):
    command = ["sh", "-c", f"{sys.executable} -m kmq info {packed} >&-"]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# --- compare -------------------------------------------------------------------------------------


def test_compare_prints_the_figures(photo, tmp_path, capsys):
    assert main(["encode", str(photo), "-k", "16"]) == 0
    capsys.readouterr()
    assert main(["compare", str(photo), str(tmp_path / "photo.kmq")]) == 0
    shown = capsys.readouterr().out
    other = kmq.read(tmp_path / "photo.kmq").to_array()
    squared_error = metrics.mse(picture(), other)
    assert f"{squared_error:.4g} per pixel, summed over 3 channels" in shown
    assert f"{metrics.psnr(squared_error, kmq.PixelFormat.RGB24):.2f} dB" in shown
    looks = ssimulacra2(picture(), other, kmq.PixelFormat.RGB24)
    assert f"SSIMULACRA2  {looks:.2f} of 100" in shown
    assert f"{photo.stat().st_size:,} bytes" in shown


def test_compare_of_equal_pictures(photo, tmp_path, capsys):
    twin = save(tmp_path / "twin.bmp")
    assert main(["compare", str(photo), str(twin)]) == 0
    shown = capsys.readouterr().out
    assert "exact" in shown
    assert "100.00 of 100" in shown


@pytest.mark.parametrize(("side", "says_little"), [(31, True), (32, False)])
def test_compare_says_where_a_picture_is_too_small_for_the_measure(
    side, says_little, tmp_path, capsys
):
    ramp = np.tile(np.arange(40, dtype=np.uint8) * 6, (side, 1))
    names = [str(save(tmp_path / "ramp.png", ramp)), str(save(tmp_path / "half.png", ramp // 2))]
    assert main(["compare", *names]) == 0
    note = " of 100, which says little where a side is below 32 pixels\n"
    assert (note in capsys.readouterr().out) == says_little
    assert main(["compare", names[0], names[0]]) == 0
    assert " 100.00 of 100\n" in capsys.readouterr().out


def test_compare_writes_both_side_by_side(photo, packed, tmp_path, capsys):
    out = tmp_path / "side.png"
    assert main(["compare", str(photo), str(photo), "--out", str(out)]) == 0
    with Image.open(out) as side:
        samples = np.asarray(side.convert("RGB"))
    assert np.array_equal(samples[:, :30], picture())
    assert np.array_equal(samples[:, -30:], picture())
    assert samples.shape[1] > 60
    assert main(["compare", str(photo), str(photo), "--out", str(out)]) == 1
    assert main(["compare", str(photo), str(photo), "--out", str(photo), "--force"]) == 1
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("suffix", "reason"),
    [(".jpg", "RGBA as JPEG"), (".webp", ""), (".gif", "")],
)
def test_compare_names_the_sheet_that_an_encoder_cannot_write(tmp_path, suffix, reason, capsys):
    wide = save(tmp_path / "wide.png", np.full((1, 33_000, 4), 9, np.uint8))
    out = tmp_path / f"side{suffix}"
    assert main(["compare", str(wide), str(wide), "--out", str(out)]) == 1
    message = capsys.readouterr().err.splitlines()[-1]  # after a word that kernels are compiled
    assert message.startswith(f"kmq: {out}: ")
    assert reason in message
    assert not out.exists()


@pytest.mark.parametrize("label", [pixel_format.label for pixel_format in kmq.PixelFormat])
def test_compare_knows_every_pixel_format(label, tmp_path, capsys):
    pixel_format = kmq.PixelFormat.from_label(label)
    rng = np.random.default_rng(5)
    shape = (12, 13, pixel_format.channels)
    samples = rng.integers(0, pixel_format.max_value, shape, endpoint=True)
    samples = samples.astype(pixel_format.dtype)
    if pixel_format.depth == 1:
        samples = samples[:, :, 0].astype(np.bool_)
    kmq.write(tmp_path / "exact.kmq", samples, 256, pixel_format=label)
    kmq.write(tmp_path / "few.kmq", samples, 3, pixel_format=label)
    out = tmp_path / "side.png"
    exact, few = str(tmp_path / "exact.kmq"), str(tmp_path / "few.kmq")
    assert main(["compare", exact, few, "--out", str(out)]) == 0
    assert f"13 × 12 pixels, {label}" in capsys.readouterr().out
    with Image.open(out) as side:
        assert side.size == (2 * 13 + 16, 12)


def test_compare_refuses_what_cannot_be_compared(photo, tmp_path, capsys):
    larger = save(tmp_path / "larger.png", picture(21, 30))
    inks = tmp_path / "inks.tif"
    Image.fromarray(picture()).convert("CMYK").save(inks)
    assert main(["compare", str(photo), str(larger)]) == 1
    assert "one size" in capsys.readouterr().err
    assert main(["compare", str(photo), str(inks)]) == 1
    assert "CMYK and RGB have no pixel format in common" in capsys.readouterr().err


def alpha(samples, level=255):
    return np.dstack([samples, np.full(samples.shape[:2], level, samples.dtype)])


GREY = picture()[:, :, 0]
SHADES = {
    "L": GREY,
    "LA": alpha(GREY),
    "RGB": np.dstack([GREY] * 3),
    "RGBA": alpha(np.dstack([GREY] * 3)),
    "L16": GREY * np.uint16(257),
    "RGBA64": alpha(np.dstack([GREY] * 3) * np.uint16(257), 65535),
}


@pytest.mark.parametrize(
    ("one", "another", "compared_as"),
    [
        ("L", "RGB", "RGB"),
        ("L", "LA", "L"),
        ("LA", "RGB", "RGB"),
        ("RGBA", "RGB", "RGB"),
        ("RGBA", "L", "RGB"),
        ("L16", "L", "L16"),
        ("L16", "RGB", "RGB48"),
        ("RGBA64", "LA", "RGB48"),
    ],
)
def test_compare_brings_pixel_formats_together(one, another, compared_as, tmp_path, capsys):
    """The same picture in both, from files of both kinds."""
    kmq.write(tmp_path / "one.kmq", SHADES[one], 256)
    other = tmp_path / "other.png"
    Image.fromarray(SHADES[another]).save(other)
    for names in ([tmp_path / "one.kmq", other], [other, tmp_path / "one.kmq"]):
        assert main(["compare", *map(str, names)]) == 0
        shown = capsys.readouterr().out
        assert f"30 × 20 pixels, compared as {compared_as}\n" in shown
        assert "exact" in shown
        assert f"bits per pixel, {one}  {tmp_path / 'one.kmq'}" in shown


def test_compare_of_two_pixel_formats_finds_what_differs(tmp_path, capsys):
    dark, sheer = GREY // 2, alpha(picture(), 128)
    for first, second in (
        (Image.fromarray(GREY), Image.fromarray(np.dstack([dark] * 3))),
        (Image.fromarray(picture()), Image.fromarray(sheer)),
        (Image.fromarray(GREY > 99), Image.fromarray(GREY)),
    ):
        first.save(tmp_path / "first.png")
        second.save(tmp_path / "second.png")
        command = ["compare", str(tmp_path / "first.png"), str(tmp_path / "second.png"), "--json"]
        assert main(command) == 0
        found = json.loads(capsys.readouterr().out)
        label = found["pixel_format"]
        mode = {"L": "L", "RGB": "RGB", "RGBA": "RGBA"}[label]
        samples = [np.asarray(half.convert(mode)) for half in (first, second)]
        squared_error = metrics.mse(*samples, has_alpha=label == "RGBA")
        assert found["mse"] == pytest.approx(squared_error)
        assert found["mse"] > 100
        psnr = metrics.psnr(squared_error, kmq.PixelFormat.from_label(label))
        assert found["psnr"] == pytest.approx(psnr)


def test_compare_as_json(photo, tmp_path, capsys):
    twin = save(tmp_path / "twin.bmp")
    assert main(["compare", str(photo), str(twin), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["height"], found["pixel_format"]) == (30, 20, "RGB")
    assert (found["mse"], found["psnr"], found["ssimulacra2"]) == (0, None, 100)
    size = twin.stat().st_size
    assert found["other"] == {
        "file": str(twin),
        "file_size": size,
        "bits_per_pixel": size / 75,
        "pixel_format": "RGB",
    }
    small = [save(tmp_path / f"{n}.png", picture(3, 4) // n) for n in (1, 2)]
    assert main(["compare", *map(str, small), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ssimulacra2"] < 90


def test_compare_names_the_file_at_fault(photo, packed, capsys):
    packed.write_bytes(packed.read_bytes()[:40])
    assert main(["compare", str(photo), str(packed)]) == 1
    assert capsys.readouterr().err.startswith(f"kmq: {packed}: ")


def test_compare_takes_a_page_of_the_original(photo, tmp_path, capsys):
    pages = [Image.fromarray(picture(seed=seed)) for seed in (1, 0)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert main(["compare", str(tmp_path / "pages.tif"), str(photo), "--page", "2"]) == 0
    assert "exact" in capsys.readouterr().out


def test_compare_checks_the_suffix_first(photo, tmp_path, capsys):
    assert main(["compare", str(photo), str(photo), "-o", str(tmp_path / "side.xyz")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "side.xyz does not have the suffix of a picture" in shown.err


# --- curve ---------------------------------------------------------------------------------------


def test_curve_prints_a_table_with_the_knee(photo, capsys):
    assert main(["curve", str(photo), "--max-colors", "50"]) == 0
    found = kmq.error_curve(photo, 50)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["k", "mse", "psnr"]
    assert [int(row.split()[0]) for row in rows] == found.k.tolist()
    errors = [float(row.split()[1].replace(",", "")) for row in rows]
    assert errors == pytest.approx(found.mse.tolist(), rel=1e-4)
    assert [row.split()[2] for row in rows] == [f"{psnr:.2f}" for psnr in found.psnr]
    (knee,) = (row for row in rows if "knee" in row)
    assert int(knee.split()[0]) == found.knee
    assert knee.endswith("  ← knee of the curve to 50 colours")  # a longer one has another


def test_curve_ends_where_the_colours_do(tmp_path, capsys):
    two = save(tmp_path / "two.png", np.array([[[0, 0, 0], [9, 9, 9]]], np.uint8))
    assert main(["curve", str(two)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:3] == ["2", "0", "exact"]


def test_curve_as_json(photo, capsys):
    assert main(["curve", str(photo), "--max-colors", "600", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    found = kmq.error_curve(photo, 600)
    assert facts["knee"] == found.knee
    assert [point["k"] for point in facts["points"]] == found.k.tolist()
    assert [point["mse"] for point in facts["points"]] == found.mse.tolist()
    assert [point["psnr"] for point in facts["points"]] == [*found.psnr[:-1].tolist(), None]


@pytest.mark.parametrize(
    ("suffix", "head"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")]
)
def test_curve_is_drawn(photo, tmp_path, suffix, head, capsys):
    out = tmp_path / "plots" / f"curve.{suffix}"
    assert main(["curve", str(photo), "--max-colors", "600", "--out", str(out)]) == 0
    assert capsys.readouterr().err.endswith(f"wrote {out}\n")
    assert out.read_bytes().startswith(head)
    assert names(out.parent) == [out.name]


def test_the_plot_shows_the_curve(photo):
    found = kmq.error_curve(photo, 600)
    figure = curve._draw(found, "$a_photo$.png")
    upper, lower = figure.axes
    assert upper.get_title() == "$a_photo$.png"
    assert lower.get_xscale() == "log"
    assert np.array_equal(upper.lines[0].get_xydata(), np.c_[found.k, found.psnr][:-1])
    assert np.array_equal(lower.lines[0].get_xydata(), np.c_[found.k, np.sqrt(found.mse)])
    assert [line.get_xdata()[0] for line in upper.lines[1:]] == [found.knee, found.knee]
    (label,) = upper.get_legend().get_texts()
    assert label.get_text().startswith(f"{found.knee} colours, ")
    assert label.get_text().endswith(" dB: knee of the curve to 600 colours")


def test_drawing_leaves_matplotlib_as_it_was(photo, tmp_path, monkeypatch):
    # pyplot is what chooses a backend and keeps figures for the whole process.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert main(["curve", str(photo), "--out", str(tmp_path / "curve.png")]) == 0


def test_curve_without_matplotlib_names_the_extra(photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["curve", str(photo), "--out", str(tmp_path / "curve.png")]) == 1
    captured = capsys.readouterr()
    assert captured.err == "kmq: -o needs matplotlib: pip install 'kmq[plot]'\n"
    assert captured.out == ""
    assert main(["curve", str(photo)]) == 0


def test_curve_needs_force_to_overwrite(photo, tmp_path, capsys):
    out = tmp_path / "curve.png"
    out.write_text("mine")
    assert main(["curve", str(photo), "--out", str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["curve", str(photo), "--out", str(out), "--force"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    for force in ([], ["--force"]):
        assert main(["curve", str(photo), "--out", str(photo), *force]) == 1
        assert "never overwritten" in capsys.readouterr().err


def test_curve_refuses_a_suffix_that_is_no_plot(photo, tmp_path, capsys):
    assert main(["curve", str(photo), "--out", str(tmp_path / "curve.kmq")]) == 2
    assert "must end in .png, .svg, .pdf" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


# --- kernels -------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """A copy of the package without kernels, and the environment that makes a process use it."""
    package = tmp_path / "elsewhere" / "kmq"
    ignored = shutil.ignore_patterns("*.nbc", "*.nbi")
    shutil.copytree(Path(kmq.__file__).parent, package, ignore=ignored)
    return package, {**os.environ, "PYTHONPATH": str(package.parent), "KMQ_KERNELS": "jit"}


def test_the_first_run_says_that_it_compiles_and_the_next_need_not(photo, tmp_path, elsewhere):
    _, environment = elsewhere
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    command = ("compare", photo, photo)  # one kernel to compile
    first = run_kmq(*command, env=environment)
    assert first.returncode == 0
    assert "compiling" in first.stderr
    second = run_kmq(*command, env=environment)
    assert second.returncode == 0
    assert second.stderr == ""


def test_no_cache_folder_is_no_obstacle(photo, tmp_path, elsewhere):
    package, environment = elsewhere
    # A file where each cache folder would have to be: this stops even a superuser.
    shutil.rmtree(package / "kernels" / "__pycache__")
    (package / "kernels" / "__pycache__").write_text("")
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    environment |= {
        **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"), str(blocked)),
        "NUMBA_CACHE_DIR": str(blocked),
    }
    done = run_kmq("compare", photo, photo, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no cache folder is writable" in done.stderr
    assert "SSIMULACRA2" in done.stdout


def test_warmup_compiles_all_signatures_that_kernels_declare():
    program = """
import sys
from kmq.cli import main
from kmq.kernels._compiler import all_kernels

if code := main(["warmup"]):
    sys.exit(code)
for kernel in all_kernels():
    if set(kernel.declared) - set(kernel.signatures):
        sys.exit(f"not compiled: {kernel}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KMQ_KERNELS": "jit"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^kept in .+", done.stdout, re.MULTILINE)
    assert re.search(r"^nearest +[0-9]+ compiled", done.stdout, re.MULTILINE)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
@pytest.mark.parametrize(("name", "shown"), [("\x1b[2J", "\\x1b[2J"), ("\n", "\\x0a")])
def test_a_name_cannot_move_the_cursor(photo, tmp_path, name, shown, capsys):
    evil = tmp_path / f"a{name}b.kmq"
    assert main(["encode", str(photo), "-o", str(evil), "-k", "4"]) == 0
    assert main(["info", str(evil)]) == 0
    assert main(["compare", str(photo), str(evil)]) == 0
    evil.write_bytes(b"none")
    assert main(["info", str(evil)]) == 1
    out, err = capsys.readouterr()
    assert f"a{name}b" not in out + err
    assert out.count(f"a{shown}b.kmq") == 3
    assert err.count(f"a{shown}b.kmq") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_written_and_told(photo, tmp_path, capfd):
    odd = os.fsdecode(bytes(tmp_path) + b"/\xff.png")
    shutil.copy(photo, odd)
    assert main(["encode", odd, "-k", "2"]) == 0
    packed = odd.replace(".png", ".kmq")
    assert main(["info", packed]) == 0
    assert main(["decode", packed, "-o", str(tmp_path / "again")]) == 0
    assert main(["info", packed + "x"]) == 1
    assert sorted(os.listdir(bytes(tmp_path))) == [b"again", b"photo.png", b"\xff.kmq", b"\xff.png"]
    assert os.listdir(bytes(tmp_path / "again")) == [b"\xff.png"]
    out, err = capfd.readouterr()
    assert out.count("\\udcff.kmq: ") == 2
    assert "\\udcff.kmqx: No such file" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "a\0b.png"],
        ["encode", "photo.png", "-o", "a\0b.kmq"],
        ["info", "a\0b.kmq"],
        ["palette", "photo.png", "-o", "a\0b.gpl"],
        ["compare", "photo.png", "a\0b.png"],
        ["curve", "a\0b.png"],
        ["decode", "a\0b.kmq"],
        ["view", "a\0b.kmq"],
        ["report", "photo.png", "-o", "a\0b/"],
        ["encode", "photo.png", "--palette", "a\0b.gpl"],
    ],
)
def test_a_name_that_no_file_can_have_is_refused(photo, tmp_path, monkeypatch, arguments, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert "has a null character in it" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]
