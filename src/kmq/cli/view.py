"""``kmq view``: a page in the browser on which ``.kmq`` files can be looked at closely."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkstemp

from kmq.atomic import replacing
from kmq.cli import paths, pipes, viewer
from kmq.cli.console import (
    DONE,
    FAILED,
    FAILURES,
    Commands,
    add_command,
    add_force_option,
    add_output_option,
    complain,
    complaint_about,
    spoken,
)
from kmq.cli.urls import File
from kmq.streams import opened

_EXAMPLES = """\
  kmq view photo.kmq                 single pixels, their index and colour, and the palette
  kmq view clip.kmq                  a sequence: play it, or go from frame to frame
  kmq view pictures/                 all of a folder
  kmq view                           a page to drop files on
  kmq view *.kmq -o look.html        into a file, which anyone can open
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "view",
        run,
        summary="open .kmq files in the browser: every pixel, index and colour",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "files", metavar="FILE.kmq", nargs="*", help="file, folder, pattern, URL or -"
    )
    add_output_option(parser, "PAGE.html", "write the page there and do not open it")
    add_force_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the page, and open it if it was not asked for as a file."""
    failed: list[File] = []
    named = _read_each(paths.find(arguments.files, frozenset([".kmq"])), failed)
    if named or not failed:
        page = viewer.page(named)
        if arguments.output is None:
            _open(page)
        else:
            _write(page, arguments.output, force=arguments.force)
    return FAILED if failed else DONE


def _read_each(sources: Sequence[paths.Source], failed: list[File]) -> list[tuple[str, bytes]]:
    """Return name and contents of each file that is one of kmq's."""
    from kmq.files import info

    named = []
    for source in sources:
        try:
            with opened(source.file()) as stream:
                content = stream.read()
            info(content)  # or it is refused
            named.append((spoken(source.path.name), content))
        except FAILURES as error:
            complain(complaint_about(source.path, error))
            failed.append(source.path)
    return named


def _write(page: bytes, output: str, *, force: bool) -> None:
    target = pipes.target(output, ".html")
    if not pipes.is_pipe(output):
        paths.claim(target, force=force)
    with replacing(target) as stream:
        stream.write(page)
    print(f"{spoken(str(target))}: {len(page):,} bytes")


def _open(page: bytes) -> None:
    """Open the page in the browser; the file stays for as long as the system keeps such files."""
    import webbrowser

    descriptor, name = mkstemp(prefix="kmq-view-", suffix=".html")
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(page)
    print(name)
    if not webbrowser.open(Path(name).as_uri()):
        print("kmq: no browser could be started; open the file above", file=sys.stderr)
