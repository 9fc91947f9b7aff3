"""Every example of the README, docs/ and docstrings runs, in a folder with a few pictures."""

import doctest
import inspect
import io
import re
import shlex
import shutil
import subprocess
import sys
import warnings
import webbrowser
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import main
from kmq.cli.scene import scene

pytest.importorskip("sybil")  # of the extra "test"
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

PROJECT = Path(__file__).parent.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
BASH = shutil.which("bash") or "bash"
PRELUDE = f'set -eo pipefail; kmq() {{ {shlex.quote(sys.executable)} -m kmq "$@"; }}; '
SHELL = re.compile(r"[|>*&]")
OURS = ("kmq", "cat", "printf")
"""What shell blocks run here; the other commands install or build."""


def run_commands(example):
    for line in example.parsed.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0] not in OURS:
            continue
        if words[0] != "kmq" or SHELL.search(line.partition("#")[0]):
            code = subprocess.run([BASH, "-c", PRELUDE + line], check=False).returncode
        else:
            code = main(words[1:])
        assert code == 0, line


SYBIL = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="sh", evaluator=run_commands)]
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make the pictures that examples name, and stand beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    pixels = np.ascontiguousarray(scene(96, 64)[..., :3])
    picture = Image.fromarray(pixels)
    for name in ("photo.png", "a.png", "b.png", *(f"{of}/1.png" for of in FOLDERS)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(name)
    return pixels


FOLDERS = ("photos", "sprites", "more")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_examples_run(path, folder):
    if path.stem in ("dask", "zarr"):
        pytest.importorskip(path.stem)  # of the extra "test"
    if path.stem == "zarr" and not entry_points(group="zarr.codecs", name="kmq_labels"):
        pytest.skip("kmq is not installed, so that Zarr does not find its codecs")
    document = SYBIL.parse(path)
    for example in document.examples():
        example.evaluate()


def test_examples_are_found():
    # In the README, and within the tabs of a page.
    for name, least in (("README.md", 4), ("docs/index.md", 6), ("docs/palettes.md", 4)):
        assert len(list(SYBIL.parse(PROJECT / name).examples())) >= least


def public_names():
    """List what a docstring describes: public names, and the methods of public classes."""
    for name in kmq.__all__:
        yield name
        value = getattr(kmq, name)
        if inspect.isclass(value):
            for member, of in vars(value).items():
                is_method = inspect.isfunction(of) or isinstance(of, classmethod | staticmethod)
                if is_method and not member.startswith("_"):
                    yield f"{name}.{member}"


def docstring_examples(name):
    value = kmq
    for part in name.split("."):
        value = getattr(value, part)
    finder = doctest.DocTestFinder(recurse=False)
    tests = finder.find(value, f"kmq.{name}", module=False, globs={"kmq": kmq, "np": np})
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("name", list(public_names()))
def test_docstrings_show_examples_that_run(name, folder):
    tests = docstring_examples(name)
    assert tests, f"the docstring of kmq.{name} has no example"
    printed = []
    with warnings.catch_warnings():
        for test in tests:
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=printed.append)
    assert not printed, "".join(printed)
