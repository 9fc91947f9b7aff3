"""URLs in place of file names, in and out."""

import io
import os
import re
import sys
import tempfile
import zipfile
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import main
from kmq.cli.urls import Url
from kmq.streams import is_url

fsspec = pytest.importorskip("fsspec")

FAST = ("-k", "4", "--effort", "fast")


def png(seed, n_colors=9, shape=(12, 16)):
    stream = io.BytesIO()
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (n_colors, 3), np.uint8)
    Image.fromarray(levels[random.integers(0, n_colors, shape)]).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A file system in memory with some files, and a folder for temporary ones."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for number, name in enumerate(("10.png", "9.png", "sub/a b%20#c.png")):
        memory.pipe(f"/shop/in/{name}", png(number))
    memory.pipe("/shop/in/.hidden.png", png(7))
    memory.pipe("/shop/in/.cache/8.png", png(8))
    memory.pipe("/shop/in/note.txt", b"no picture")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield memory
    assert os.listdir(tmp_path / "temporary") == []
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture
def run(capsys):
    """Run a command; return its code, lines without times, and messages without the prefix."""

    def ran(*arguments):
        code = main(list(map(str, arguments)))
        said = capsys.readouterr()
        lines = re.sub(r",? ?[0-9.]+ s$", "", said.out, flags=re.MULTILINE).splitlines()
        messages = re.sub("^kmq: (compiling .*\n)?", "", said.err, flags=re.MULTILINE)
        return code, lines, messages.splitlines()

    return ran


def within(memory, folder):
    return [name.removeprefix(f"{folder}/") for name in memory.find(folder)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_folder_is_encoded_into_another(shop, run, jobs):
    shop.pipe("/shop/in/bad.png", b"no picture")
    arguments = ("encode", "memory://shop/in", "-o", "memory://shop/out", *FAST, "--jobs", jobs)
    code, lines, messages = run(*arguments)
    assert code == 1
    named = [line.partition(": ")[0] for line in lines]
    out = "memory://shop/out"
    assert named[:3] == [f"{out}/9.kmq", f"{out}/10.kmq", f"{out}/sub/a b%20#c.kmq"]
    assert messages == ["memory://shop/in/bad.png is not a picture in a format that Pillow knows"]
    files = within(shop, "/shop/out")
    assert files == ["10.kmq", "9.kmq", "sub/a b%20#c.kmq"]
    contents = [shop.cat(f"/shop/out/{name}") for name in files]
    assert contents[0] == kmq.encode(png(0), k=4, effort="fast")
    before = sum(shop.size(f"/shop/in/{name[:-4]}.png") for name in files)
    after = sum(map(len, contents))
    assert lines[3] == f"3 files: {before:,} → {after:,} bytes ({after / before:.1%}), 1 failed"
    shop.pipe("/shop/out/9.kmq", b"older")
    code, lines, messages = run(*arguments)
    assert (code, lines) == (1, ["0 files, 4 failed"])
    assert (
        messages[0] == f"memory://shop/in/9.png: {out}/9.kmq exists already; --force overwrites it"
    )
    assert run(*arguments, "--skip-existing")[1] == ["0 files, 3 skipped, 1 failed"]
    assert shop.cat("/shop/out/9.kmq") == b"older"
    run(*arguments, "--force")
    assert shop.cat("/shop/out/9.kmq") == contents[1]


def test_targets_are_next_to_urls_without_an_output(shop, run):
    assert run("encode", "memory://shop/in/*.png", *FAST, "-q") == (0, [], [])
    assert [name for name in within(shop, "/shop/in") if name.endswith(".kmq")] == [
        "10.kmq",
        "9.kmq",
    ]
    code, lines, _ = run("decode", "memory://shop/in", "--ext=-again.png", "--jobs", "2")
    assert (code, len(lines)) == (0, 3)
    with Image.open(io.BytesIO(shop.cat("/shop/in/9-again.png"))) as picture:
        assert np.array_equal(picture.convert("RGB"), kmq.quantize(png(1), 4).to_array())


def test_urls_and_files_are_mixed(shop, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "9.png").write_bytes(png(5))
    names = ("9.png", "memory://shop/in/10.png", "memory://shop/in/sub", "memory://shop/none.png")
    code, lines, messages = run("encode", *names, "-o", "out", *FAST)
    assert code == 1
    assert messages == ["memory://shop/none.png: No such file or directory"]
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.kmq"))
    assert written == ["out/10.kmq", "out/9.kmq", "out/sub/a b%20#c.kmq"]
    assert len(lines) == 4


def test_targets_of_one_name_are_told_apart_or_refused(shop, run, tmp_path):
    shop.pipe("/shop/more/9.png", png(3))
    shop.pipe("/shop/more/9.jpg", png(4))
    code, _, messages = run(
        "encode", "memory://shop/in/9.png", "memory://shop/more/9.png", "-o", f"{tmp_path}/o/"
    )
    assert code == 1
    assert "is also the output for memory://shop/more/9.png; name different" in messages[0]
    assert run("encode", "memory://shop/more", "-o", f"{tmp_path}/o/", *FAST)[0] == 0
    assert sorted(os.listdir(tmp_path / "o")) == ["9.jpg.kmq", "9.png.kmq"]
    code, _, messages = run("encode", "memory://shop/in/9.png", "--to", "png", *FAST)
    assert (code, shop.cat("/shop/in/9.png")) == (1, png(1))
    assert run("encode", "memory://shop/in/9.png", "--to", "png", *FAST, "-f")[0] == 0
    assert shop.cat("/shop/in/9.png") != png(1)


def test_an_input_is_never_overwritten_however_it_is_spelled(shop, run, tmp_path):
    (tmp_path / "9.png").write_bytes(png(1))
    for source, target in (
        ("memory://shop/in/9.png", "memory:///shop/in/9.png"),
        (f"{tmp_path}/9.png", f"file://{tmp_path}/9.png"),
        (f"file://{tmp_path}/9.png", f"{tmp_path}/9.png"),
    ):
        code, _, messages = run("compare", source, source, "-o", target, "--force")
        assert code == 1
        assert "is also an input, which is never overwritten" in messages[0]
    assert (tmp_path / "9.png").read_bytes() == shop.cat("/shop/in/9.png") == png(1)
    same = ("memory://shop/in/9.png", "memory:///shop/in/9.png")
    code, lines, _ = run("encode", *same, "-o", "memory://shop/new/", *FAST)
    assert (code, len(lines)) == (0, 1)


def test_hosts_are_kept_and_no_part_of_a_pattern(shop, run):
    class Hosted(type(shop)):
        protocol = "hosted"

        @classmethod
        def _strip_protocol(cls, path):
            return "/" + path.removeprefix("hosted://").partition("/")[2].rstrip("/")

    fsspec.register_implementation("hosted", Hosted, clobber=True)
    place = "hosted://user@[2001:db8:0:0:0:0:0:1]/shop"
    code, lines, _ = run("encode", f"{place}/in/*.png", *FAST)
    assert code == 0
    assert [line.partition(": ")[0] for line in lines[:2]] == [
        f"{place}/in/9.kmq",
        f"{place}/in/10.kmq",
    ]
    code, lines, _ = run("info", f"{place}/in")
    assert (code, lines[0].partition(": ")[0]) == (0, f"{place}/in/9.kmq")
    missing = (1, [], [f"{place}/none.png: No such file or directory"])
    assert run("encode", f"{place}/none.png") == missing


def test_empty_parts_of_a_name_are_kept(shop, run, monkeypatch):
    shop.pipe("/shop/odd//1.png", png(1))
    # Older versions of fsspec do not find it in memory.
    monkeypatch.setattr(type(shop), "find", lambda *_: ["/shop/odd//1.png"])
    assert run("encode", "memory://shop/odd", "-o", "memory://shop/new", *FAST)[0] == 0
    assert shop.exists("/shop/new/1.kmq")


def test_one_file(shop, run, tmp_path):
    source, here = "memory://shop/in/9.png", tmp_path / "a.kmq"
    assert run("encode", source, "-o", here, *FAST)[0] == 0
    assert here.read_bytes() == kmq.encode(png(1), k=4, effort="fast")
    assert run("decode", here, "-o", "memory://shop/new/a.png")[0] == 0
    assert within(shop, "/shop/new") == ["a.png"]
    code, lines, _ = run("encode", "memory://shop/new/a.png", "-o", "memory://shop/a.gif", *FAST)
    assert code == 0
    assert lines[0].startswith("memory://shop/a.gif: 4 colours, ")
    assert shop.cat("/shop/a.gif").startswith(b"GIF8")


def test_files_of_this_machine_are_written_elsewhere(shop, run, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("1.png", "sub/2.png"):
        (tmp_path / "in" / name).write_bytes(png(1))
    assert run("encode", tmp_path / "in", "-o", "memory://shop/new", *FAST)[0] == 0
    assert within(shop, "/shop/new") == ["1.kmq", "sub/2.kmq"]
    assert shop.cat("/shop/new/1.kmq") == kmq.encode(png(1), k=4, effort="fast")


def test_messages_name_urls_and_not_what_stands_in_for_them(shop, run):
    shop.pipe("/shop/many.png", png(0, 400, (40, 50)))
    out = "memory://shop/many-300.png"
    _, _, messages = run("encode", "memory://shop/many.png", "-k", "300", "-o", out)
    assert messages == [f"{out} has no palette, which would hold 256 colours"]
    shop.pipe("/shop/a.kmq", kmq.encode(png(0)))
    code, lines, _ = run("encode", "memory://shop/a.kmq", "--to", "png", "--skip-if-larger")
    assert code == 98
    assert lines[0].startswith("memory://shop/a.kmq: skipped, ")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("encode memory://shop/none", 1, "memory://shop/none: No such file or directory"),
        ("encode memory://shop/none/", 2, "folder memory://shop/none/ contains no picture files"),
        ("encode memory://shop/in/9.png/", 2, "folder memory://shop/in/9.png/ contains no picture"),
        ("encode memory://shop/none/*.png", 2, "no file matches memory://shop/none/*.png"),
        ("encode memory://shop/in -o memory://shop/a.kmq", 2, "-o memory://shop/a.kmq takes one"),
        ("encode foo://x/", 1, "foo://x/ cannot be opened: Protocol not known: foo"),
        ("encode memory://shop/in -o foo://x/", 1, "foo://x/ cannot be opened: Protocol not"),
        ("encode memory://shop/in -o http://a.org/b/", 2, "-o http://a.org/b/: kmq writes neither"),
        ("palette memory://shop/in -o http://a.org/b.gpl", 2, "-o http://a.org/b.gpl: kmq writes"),
        ("encode memory://shop/in/9.png -o memory://shop/a.jpg", 2, "has the suffix .jpg"),
        ("encode memory://shop/in/9.png memory://shop/a.kmq", 2, "memory://shop/a.kmq does not"),
        ("compare memory://shop/none.png memory://shop/in/9.png", 1, "memory://shop/none.png"),
        ("demo -o memory://shop/demo", 2, "-o memory://shop/demo is a URL; the demo writes to"),
    ],
)
def test_urls_that_are_refused(shop, run, line, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = within(shop, "/shop")
    refused, lines, messages = run(*line.split())
    assert (refused, lines) == (code, [])
    assert message in messages[0]
    assert within(shop, "/shop") == before
    assert os.listdir(tmp_path) == ["temporary"]  # and no folder s3:


def test_names_in_an_archive_stay_in_the_folder(shop, run, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number, name in enumerate(("a.png", "in/b.png", "../c.png", "in/../../d.png")):
            archive.writestr(name, png(number))
    archive = f"::file://{tmp_path}/all.zip"
    assert run("encode", f"zip://{archive}", "-o", f"{tmp_path}/out/", *FAST)[0] == 0
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.kmq"))
    assert files == [os.path.join("out", "a.kmq"), os.path.join("out", "in", "b.kmq")]
    assert run("palette", f"zip://in/*.png{archive}", "-k", "2")[0] == 0
    code, _, messages = run("encode", f"zip://a.png{archive}")
    assert code == 2
    assert messages[0].startswith(f"nothing can be written next to zip://a.png{archive}; -o says")


def test_every_command_reads_and_writes_urls(shop, run):
    place = "memory://shop/in"
    for line in (
        f"palette {place}/9.png {place}/10.png -k 4 -o {place}/a.gpl --histogram {place}/a.kmqhist",
        f"palette {place}/a.kmqhist -k 4 -o {place}/b.gpl",
        f"encode {place}/9.png --palette {place}/a.gpl",
        f"report {place}/9.kmq",
        f"compare {place}/9.png {place}/9.kmq -o {place}/side.png",
        f"curve {place}/9.png",
        f"view {place}/9.kmq -o {place}/view.html",
        f"animate {place}/9.png {place}/10.png -k 4 -o {place}/a.gif",
        f"animate {place}/a.gif --format kmq -o {place}/clip",
        f"decode {place}/clip.kmq --frames -o memory://shop/frames/",
        f"info {place}/9.kmq",
    ):
        code, lines, messages = run(*line.split())
        assert code == 0, messages
        assert "temporary" not in str(lines + messages)
    assert shop.cat("/shop/in/a.gpl") == shop.cat("/shop/in/b.gpl")
    assert b"temporary" not in shop.cat("/shop/in/9.html")
    assert within(shop, "/shop/frames") == ["clip-1.png", "clip-2.png"]
    _, listed, _ = run("info", place)
    assert [line.partition(": ")[0] for line in listed[:2]] == [
        f"{place}/9.kmq",
        f"{place}/clip.kmq",
    ]
    shop.rm("/shop/frames/clip-1.png")
    for line in (
        f"decode {place}/clip.kmq --frames -o memory://shop/frames/",
        f"palette {place}/9.png -o {place}/a.gpl",
        f"compare {place}/9.png {place}/9.kmq -o {place}/side.png",
        f"view {place}/9.kmq -o {place}/view.html",
        f"animate {place}/9.png -o {place}/a.gif",
    ):
        code, _, messages = run(*line.split())
        assert code == 1
        assert "exists already; --force overwrites it" in messages[0]
    assert within(shop, "/shop/frames") == ["clip-2.png"]


def test_a_file_that_cannot_be_put_leaves_nothing(shop, run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "9.kmq").write_bytes(b"older")

    def fail(self, old, new, **_):
        assert os.path.getsize(old) > 8  # whole, under another name
        raise OSError(28, "No space left on device", new)

    monkeypatch.setattr(type(fsspec.filesystem("file")), "mv", fail)
    arguments = ("encode", "memory://shop/in/9.png", "-o", f"file://{out}/", "--force", *FAST)
    assert run(*arguments) == (
        1,
        [],
        [f"memory://shop/in/9.png: No space left on device: file://{out}/9.kmq"],
    )
    assert os.listdir(out) == ["9.kmq"]
    assert (out / "9.kmq").read_bytes() == b"older"


class LosesWorkers:
    """A cluster that loses each worker when its first job is done; another one does it again."""

    def ncores(self):
        return {"worker": 1}

    def submit(self, function, *arguments, pure):
        function(*arguments)
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_a_job_that_is_done_again_writes_its_file(shop, run, monkeypatch):
    monkeypatch.setattr("kmq.cli.cluster.client_of", lambda _: nullcontext(LosesWorkers()))
    shop.pipe("/shop/out/9.kmq", b"older")
    code, lines, messages = run("encode", "memory://shop/in", "-o", "memory://shop/out", *FAST)
    assert code == 1
    assert len(messages) == 1
    assert "memory://shop/out/9.kmq exists already" in messages[0]
    assert lines[-1].endswith(" 1 failed")
    assert within(shop, "/shop/out") == ["10.kmq", "9.kmq", "sub/a b%20#c.kmq"]
    assert shop.cat("/shop/out/10.kmq") == kmq.encode(png(0), k=4, effort="fast")
    assert shop.cat("/shop/out/9.kmq") == b"older"


def test_whatever_a_file_system_raises_is_told_in_a_sentence(shop, run, monkeypatch):
    class NoCredentialsError(Exception):
        pass

    def fail(*_, **__):
        raise NoCredentialsError("Unable to locate\ncredentials")

    for name in ("cat_file", "get_file", "info"):
        monkeypatch.setattr(type(shop), name, fail)
    told = "cannot be used: Unable to locate credentials"
    assert run("encode", "memory://shop/in/9.png", *FAST, "--force") == (
        1,
        [],
        [f"memory://shop/in/9.png {told}"],
    )
    # What is not known to be missing is not replaced.
    assert run("encode", "memory://shop/in/9.png", *FAST)[2] == [
        f"memory://shop/in/9.png: memory://shop/in/9.kmq {told}"
    ]


def test_fsspec_may_be_missing(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    code, _, messages = run("encode", "s3://bucket/in", "-o", "s3://bucket/out/")
    assert (code, messages) == (
        1,
        ["s3://bucket/out/ is a URL, which needs fsspec: pip install fsspec"],
    )


def test_names_of_urls():
    url = Url("memory://shop/in/a.tar.gz")
    assert (url.name, url.stem, url.suffix) == ("a.tar.gz", "a.tar", ".gz")
    assert url.with_name("b.kmq") == "memory://shop/in/b.kmq"
    assert Url("http://a.org/b.png?size=3#top").suffix == ".png"
    assert Url("s3://a/b?c#d.png").name == "b?c#d.png"
    assert Url("zip://in/a.png::file:///b.zip").with_name("c") == "zip://in/c::file:///b.zip"
    assert Url("s3://bucket").name == Url("s3://bucket/").name == "bucket"
    assert Url("memory://") / Path("a.kmq") == "memory://a.kmq"
    assert not is_url("c://in/a.png")  # a drive
