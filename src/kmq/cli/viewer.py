"""The viewer of ``.kmq`` files, kmq-viewer.js, inside pages that need nothing but themselves."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from importlib.resources import files

from kmq.cli.page import POLICY

_MODULES = ("kmq.min.js", "kmq-frames.js", "kmq-png.js", "kmq-image.js", "kmq-viewer.js")
"""Each imports only those before it.

That of sequences, 4 KiB when compressed, is in all pages: a file that is dropped may be one."""

_LOADER = """\
const urls = {};
for (const module of document.querySelectorAll("script[data-module]")) {
  const text = module.textContent.replace(/"\\.\\/([\\w.-]+\\.js)"/g,
    (name, file) => (file in urls ? `"${urls[file]}"` : name));
  urls[module.dataset.module] = `data:text/javascript,${encodeURIComponent(text)}`;
}
await import(urls["kmq-viewer.js"]);
const bytesOf = (element) =>
  Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
"""
"""A page that was opened as a file may not import other files. It imports its own content.

By data URLs: a Worker of such a page may not come from a blob."""


def page(named: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a page that shows ``.kmq`` files, and those that are dropped on it.

    Args:
        named: names and contents.
    """
    shown = _resource("view.html").format(
        title=html.escape(named[0][0] if named else "kmq view"),
        files="".join(embedded(name, content) for name, content in named),
        modules=modules(),
        loader=_LOADER,
        policy=POLICY,
    )
    # A file name may hold what UTF-8 cannot say.
    return shown.encode("utf-8", "backslashreplace")


def embedded(name: str, content: bytes) -> str:
    """Return an element with the bytes of a file."""
    text = base64.b64encode(content).decode()
    return f'<script type="text/plain" data-file="{html.escape(name)}">{text}</script>\n'


def script(body: str) -> str:
    """Return an element with a script that runs once ``<kmq-viewer>`` is known.

    `bytesOf` in it returns what `embedded` holds.
    """
    return f'<script type="module">\n{_LOADER}{body}</script>\n'


def modules() -> str:
    """Return elements with the modules, for `script`."""
    return "".join(
        f'<script type="text/plain" data-module="{name}">\n{_resource(name)}</script>\n'
        for name in _MODULES
    )


def _resource(name: str) -> str:
    return (files("kmq") / "web" / name).read_text("utf-8")
