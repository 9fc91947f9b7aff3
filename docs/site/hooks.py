"""What the site shows besides the pages in docs/: other documents, and the command line's help."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    "format.md": PROJECT / "src/kmq/stages/container/FORMAT.md",
    "contributing.md": PROJECT / "CONTRIBUTING.md",
    "changelog.md": PROJECT / "CHANGELOG.md",
}
"""Pages that lie elsewhere in the project."""

_LINK = re.compile(r"\]\((?!\w+:)([^)#]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the documents that lie elsewhere."""
    for name, path in DOCUMENTS.items():
        text = path.read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the project into links between pages."""
    name = page.file.src_uri
    folder = DOCUMENTS.get(name, PROJECT / "docs" / name).parent
    pages = {path: other for other, path in DOCUMENTS.items()}

    def linked(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        found = pages.get(target) or os.path.relpath(target, PROJECT / "docs")
        return f"]({Path(found).as_posix()}"

    markdown = _LINK.sub(linked, markdown)
    return markdown + _help_of_all() if name == "command-line.md" else markdown


def _help_of_all() -> str:
    os.environ["COLUMNS"] = "96"
    commands = re.findall(r"^    (\w+) ", _help().split("options:")[0], re.MULTILINE)
    sections = [_section("kmq", _help()), *(_section(f"kmq {of}", _help(of)) for of in commands)]
    return "\n" + "\n".join(sections)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.strip()}\n```\n"


def _help(*command: str) -> str:
    from kmq.cli import main

    with redirect_stdout(io.StringIO()) as printed:
        main([*command, "--help"])
    return printed.getvalue()
