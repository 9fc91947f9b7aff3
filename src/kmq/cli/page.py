"""The page of ``kmq demo``: one self-contained HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kmq: one picture in few colours</title>
<style>
:root { color-scheme: light dark; --ink: #1c2024; --quiet: #5d666f; --ground: #f7f7f5;
  --card: #fff; --line: #dcdedd; --light: #fff; --dark: #d9dcde; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaec; --quiet: #9aa4ad;
  --ground: #15181b; --card: #1e2226; --line: #31373c; --light: #4a5056; --dark: #3a4046; } }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .3rem; font-size: 1.7rem; }
p { margin: 0 0 1.8rem; max-width: 46rem; color: var(--quiet); }
main { display: grid; gap: 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
figure { margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
figure:first-child { grid-column: 1 / -1; }
img { display: block; width: 100%; max-width: 768px; height: auto; margin: 0 auto;
  background: repeating-conic-gradient(var(--light) 0 25%, var(--dark) 0 50%) 0 0 / 24px 24px; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin-top: .7rem;
  font-variant-numeric: tabular-nums; color: var(--quiet); }
strong { color: var(--ink); }
.palette { display: flex; flex-wrap: wrap; margin-top: .6rem; }
.palette i { flex: 1 0 1.5625%; height: .9rem; }
</style>
</head>
<body>
"""

_FOOT = "</main>\n</body>\n</html>\n"


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        title: what it is.
        png: the picture as a PNG file.
        facts: short lines below it.
        swatches: its palette, 8-bit RGB.
    """

    title: str
    png: bytes
    facts: Sequence[str]
    swatches: Sequence[tuple[int, int, int]]


def render(title: str, introduction: str, figures: Sequence[Figure]) -> str:
    """Return the page, with every picture inside it."""
    return "".join(
        [
            _HEAD,
            f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(introduction)}</p>\n<main>\n",
            *map(_render_figure, figures),
            _FOOT,
        ]
    )


def _render_figure(figure: Figure) -> str:
    source = "data:image/png;base64," + base64.b64encode(figure.png).decode("ascii")
    title = html.escape(figure.title)
    facts = "".join(f"<span>{html.escape(fact)}</span>" for fact in figure.facts)
    swatches = "".join(
        f'<i style="background:#{red:02x}{green:02x}{blue:02x}"></i>'
        for red, green, blue in figure.swatches
    )
    palette = f'<div class="palette">{swatches}</div>\n' if swatches else ""
    return (
        f'<figure>\n<img src="{source}" alt="{title}">\n'
        f"<figcaption><strong>{title}</strong>{facts}</figcaption>\n{palette}</figure>\n"
    )
