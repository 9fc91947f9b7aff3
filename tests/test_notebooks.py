"""The notebooks of docs/ run, and print what they show."""

import pytest

pytest.importorskip("nbclient")  # of the extra "test"
from notebooks import NOTEBOOKS, executed

SMALL = 100_000
"""Most bytes of a notebook, its outputs included."""


def printed(notebook):
    """List the text of each cell; that of pictures and plots depends on the versions installed."""
    return [
        [
            output.get("text") or output.get("data", {}).get("text/plain")
            for output in cell.get("outputs", ())
            if "image/png" not in output.get("data", {})
        ]
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what runs notebooks
def test_notebooks_run_and_print_what_they_show(path, tmp_path):
    kept, run = executed(path, tmp_path)
    assert printed(run) == printed(kept)


def test_notebooks_are_small_and_all_there():
    assert {path.stem for path in NOTEBOOKS} == {
        "collection",
        "first-steps",
        "label-maps",
        "points",
    }
    assert all(path.stat().st_size < SMALL for path in NOTEBOOKS)
