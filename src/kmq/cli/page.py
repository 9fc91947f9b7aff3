"""Self-contained HTML pages: what ``kmq demo`` and ``kmq report`` have in common."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from kmq.stages.display import data_uri

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2024; --quiet: #5d666f; --ground: #f7f7f5;
  --card: #fff; --line: #dcdedd; --light: #fff; --dark: #d9dcde; --edge: #0003;
  --accent: #b3261e; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8eaec; --quiet: #9aa4ad;
  --ground: #15181b; --card: #1e2226; --line: #31373c; --light: #4a5056; --dark: #3a4046;
  --edge: #fff4; --accent: #ff9b8f; }} }}
body {{ margin: 0 auto; padding: 2.5rem clamp(.8rem, 4vw, 1.5rem) 4rem; max-width: 76rem;
  background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ margin: 0 0 .3rem; font-size: 1.7rem; overflow-wrap: anywhere; }}
p {{ margin: 0 0 1.8rem; max-width: 46rem; color: var(--quiet); }}
main {{ display: grid; gap: 1.6rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }}
figure {{ margin: 0; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; min-width: 0; }}
figure.wide, figure:first-child {{ grid-column: 1 / -1; }}
.picture {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
.picture, .still, .slider {{ background:
  repeating-conic-gradient(var(--light) 0 25%, var(--dark) 0 50%) 0 0 / 24px 24px; }}
figcaption {{ display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin-top: .7rem;
  font-variant-numeric: tabular-nums; color: var(--quiet); }}
strong {{ color: var(--ink); }}
.palette {{ display: flex; flex-wrap: wrap; margin-top: .6rem; }}
.palette i {{ flex: 1 0 1.5625%; height: .9rem; }}
{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{introduction}</p>
{lead}<main>
"""

_FOOT = "</main>\n{script}</body>\n</html>\n"


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        title: what it is.
        png: the picture as a PNG file.
        width: how many pixels wide it is shown where there is room.
        facts: short lines below it.
        swatches: its palette, as CSS writes colours.
    """

    title: str
    png: bytes
    width: int
    facts: Sequence[str]
    swatches: Sequence[str] = ()


def document(
    title: str,
    introduction: str,
    figures: Sequence[str],
    *,
    lead: str = "",
    style: str = "",
    script: str = "",
) -> bytes:
    """Return a page of figures, each of them HTML, like `lead`; the first two are plain text."""
    head = _HEAD.format(
        title=html.escape(title), introduction=html.escape(introduction), lead=lead, style=style
    )
    foot = _FOOT.format(script=f"<script>\n{script}</script>\n" if script else "")
    # A file name may hold what UTF-8 cannot say.
    return "".join([head, *figures, foot]).encode("utf-8", "backslashreplace")


def render(figure: Figure) -> str:
    """Return a picture with its title, facts and palette."""
    title = html.escape(figure.title)
    palette = "".join(f"<i {painted(color)}></i>" for color in figure.swatches)
    return (
        f'<figure>\n<img class="picture" src="{data_uri(figure.png)}" alt="{title}" '
        f'width="{figure.width}">\n{caption(figure.title, figure.facts)}'
        + (f'<div class="palette">{palette}</div>\n' if palette else "")
        + "</figure>\n"
    )


def caption(title: str, facts: Sequence[str]) -> str:
    """Return what stands below a figure."""
    spans = "".join(f"<span>{html.escape(fact)}</span>" for fact in facts)
    return f"<figcaption><strong>{html.escape(title)}</strong>{spans}</figcaption>\n"


def painted(color: str) -> str:
    """Return the style attribute of an element of a colour, above chequers if it has alpha."""
    ground = (
        ",repeating-conic-gradient(var(--light) 0 25%,var(--dark) 0 50%) 0 0/12px 12px"
        if len(color) > len("#rrggbb")
        else ""
    )
    return f'style="background:linear-gradient({color},{color}){ground}"'
