"""Run the notebooks of docs/notebooks/: ``python tests/notebooks.py`` writes their outputs anew."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, folder: str | Path) -> tuple[Any, Any]:
    """Return a notebook as it is, and as it is after a run in a folder."""
    import nbclient
    import nbformat

    kept, run = (nbformat.read(path, as_version=4) for _ in range(2))
    nbclient.NotebookClient(
        run,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    run.metadata.language_info = kept.metadata.language_info  # without the version of Python
    return kept, run


def main() -> None:
    import nbformat

    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, folder)[1], path)


if __name__ == "__main__":
    main()
