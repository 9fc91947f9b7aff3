"""What the project says of itself, against what it is."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kmq

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *(PROJECT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
    *sorted((PROJECT / "docs").glob("*.md")),
]


def test_version_is_the_same_in_both_places():
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert metadata["project"]["version"] == kmq.__version__


def test_advice_to_install_an_extra_is_quoted_and_names_one_there_is():
    # A shell takes bare brackets for a pattern.
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    files = [*DOCUMENTS, *sorted((PROJECT / "src").rglob("*.py"))]
    advice = [
        found
        for file in files
        for found in re.findall(r"pip install (\S*kmq\[.*?\].)", file.read_text("utf-8"))
    ]
    assert advice
    for words in advice:
        assert re.fullmatch(r"'kmq\[(\w+)\]'", words), words
        assert words[5:-2] in project["optional-dependencies"]


def test_checks_of_a_clone_run_the_readmes_test_command():
    commands = [line for line in README.splitlines() if line.endswith("-m pytest")]
    assert len(commands) == 1
    lines = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == commands[0]


def test_checks_of_a_clone_are_an_executable_bash_script():
    script = PROJECT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)


def test_lowest_versions_are_ones_that_can_be_installed():
    # The checks of a clone install them: each is a whole version, not the start of one.
    printed = subprocess.run(
        [sys.executable, ".ci/lowest.py"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    constraints = printed.stdout.split()
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", constraint) for constraint in constraints)
    names = {constraint.partition("==")[0] for constraint in constraints}
    assert {"numba", "numpy", "Pillow", "matplotlib", "tifffile", "scikit-learn", "pytest"} <= names


def test_table_markers_pair_up_and_name_no_table_twice():
    names = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        markers = re.findall(r"^<!-- (/?)table(?::(\w+))? -->$", text, re.MULTILINE)
        assert len(markers) == len(re.findall(r"<!--", text))
        opening, closing = markers[::2], markers[1::2]
        assert all(slash == "" and name for slash, name in opening)
        assert closing == [("/", "")] * len(opening)
        names += [name for _, name in opening]
    assert len(names) > 5
    assert len(set(names)) == len(names)


def test_tables_say_where_and_when_they_were_measured():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for name, table in re.findall(r"<!-- table:(\w+) -->\n(.*?)<!-- /table", text, re.DOTALL):
            if name != "machine":
                last = table.rstrip().splitlines()[-1]
                assert re.search(r"\d cores; \d{4}-\d\d-\d\d", last), name


def test_readme_is_a_screen_or_two():
    assert len(README.splitlines()) <= 150


def test_tables_show_what_was_measured():
    subprocess.run([sys.executable, "benchmarks/tables.py", "--check"], cwd=PROJECT, check=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_within_the_project_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_to_other_places_are_whole(document):
    targets = re.findall(r"\]\((\w+:[^)]*)", document.read_text(encoding="utf-8"))
    whole = re.compile(r"https://[\w-]+(\.[\w-]+)+(/[\w./#?=&%+~-]*[\w/])?")
    assert [target for target in targets if not whole.fullmatch(target)] == []


def test_site_has_every_page_and_every_public_name():
    navigation = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {page.name for page in (PROJECT / "docs").glob("*.md")}
    generated = {"format.md", "contributing.md", "changelog.md"}
    listed = re.findall(r"[\w-]+\.md", navigation)
    assert sorted(listed) == sorted(pages | generated)
    notebooks = {page.name for page in (PROJECT / "docs" / "notebooks").glob("*.ipynb")}
    assert set(re.findall(r"[\w-]+\.ipynb", navigation)) == notebooks
    names = re.findall(r"^::: kmq\.(\w+)$", (PROJECT / "docs/api.md").read_text("utf-8"), re.M)
    assert sorted(names) == sorted(kmq.__all__)


def test_files_that_the_way_through_the_code_names_exist():
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = re.findall(r"`(?:python )?((?:src|tests|benchmarks|\.ci)/[\w/.]+)[` ]", text)
    assert len(places) > 5
    assert [place for place in places if not (PROJECT / place).exists()] == []


def test_every_table_is_on_a_page_and_what_measures_can_be_imported():
    folder = PROJECT / "benchmarks"
    scripts = [path.stem for path in folder.glob("*.py") if "\ndef measure(" in path.read_text()]
    program = f"import layouts, {', '.join(sorted(scripts))}; print(*layouts.TABLES)"
    listing = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert listing.returncode == 0, listing.stderr
    shown = {
        name
        for page in DOCUMENTS
        for name in re.findall(r"<!-- table:(\w+) -->", page.read_text("utf-8"))
    }
    assert set(listing.stdout.split()) == shown | {"products"}  # which points.py alone prints


def test_benchmarks_are_collected_without_the_corpus(tmp_path):
    # A worker of pytest-xdist tells its children of it, and pytest-benchmark warns of that.
    alone = {name: value for name, value in os.environ.items() if "PYTEST_XDIST" not in name}
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q"],
        cwd=PROJECT,
        env=alone | {"KMQ_CORPUS": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listing.returncode == 0, listing.stdout + listing.stderr
    for name in ("quantize", "coder", "files", "histogram", "nearest"):
        assert f"benchmarks/bench_{name}.py::" in listing.stdout
