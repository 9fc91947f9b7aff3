"""Every example of the README and the pages in docs/ runs, in a folder with a few pictures."""

import io
import re
import shlex
import shutil
import subprocess
import sys
import webbrowser
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
    document = SYBIL.parse(path)
    document.namespace.update(
        kmq=kmq,
        np=np,
        picture=folder,
        weights=np.ones(folder.shape[:2]),
        paths=[Path("a.png"), Path("b.png")],
        days=["monday.kmqhist"],
    )
    for example in document.examples():
        example.evaluate()


def test_examples_are_found():
    # In the README, and within the tabs of a page.
    for name, least in (("README.md", 4), ("docs/index.md", 6), ("docs/palettes.md", 4)):
        assert len(list(SYBIL.parse(PROJECT / name).examples())) >= least
