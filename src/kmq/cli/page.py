"""Self-contained HTML pages: what ``kmq demo`` and ``kmq report`` have in common."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kmq import __version__
from kmq.display import data_uri, magnification

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
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
h2 {{ margin: 0 0 .8rem; font-size: 1.1rem; }}
figure p {{ margin: .7rem 0 0; font-size: .9rem; }}
footer {{ margin-top: 1.6rem; color: var(--quiet); font-size: .85rem; overflow-wrap: anywhere; }}
{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{introduction}</p>
{lead}<main>
"""

_FOOT = """\
</main>
<footer>Made by kmq {version} on {date} with <code>{command_line}</code></footer>
<script>
{script}</script>
{modules}</body>
</html>
"""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'wasm-unsafe-eval' data:; worker-src data:"
)
"""What a page may load: only its own content."""

_SLIDER_STYLE = """\
.slider { --at: 50%; position: relative; margin: 0 auto; overflow: hidden; }
.slider img { position: absolute; inset: 0; width: 100%; height: 100%; user-select: none; }
.slider img { clip-path: inset(0 0 0 var(--at)); }
.slider img:first-of-type { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.slider i { position: absolute; inset: 0 auto 0 var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 0 1px #0008; pointer-events: none; }
.slider i::after { content: "◂▸"; position: absolute; top: 50%; left: 50%; width: 2.2rem;
  line-height: 2.2rem; transform: translate(-50%, -50%); border-radius: 50%; background: #fff;
  color: #1c2024; text-align: center; letter-spacing: .1em; text-indent: .1em;
  box-shadow: 0 0 0 1px #0008; }
.slider input:focus-visible + i::after { box-shadow: 0 0 0 3px #1a73e8, 0 0 0 5px #fff; }
.slider input { position: absolute; inset: 0 auto 0 -1px; width: calc(100% + 2px); height: 100%;
  margin: 0; padding: 0; opacity: 0; cursor: ew-resize; touch-action: pan-y; }
.slider input::-webkit-slider-thumb { appearance: none; width: 2px; height: 100%; }
.slider input::-moz-range-thumb { width: 2px; height: 100%; border: 0; }
.sides { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem;
  margin: 0 auto .3rem; font-size: .9rem; }
.choice { display: flex; flex-wrap: wrap; gap: 0 .9rem; }
.choice label { cursor: pointer; white-space: nowrap; }
.choice input { margin: 0 .3rem 0 0; accent-color: var(--accent); vertical-align: -.1em; }
.magnified, .magnified img { image-rendering: pixelated; }
"""

_SLIDER_SCRIPT = """\
for (const input of document.querySelectorAll(".slider input")) {
  const show = () => {
    input.parentElement.style.setProperty("--at", input.value + "%");
    input.setAttribute("aria-valuetext", Math.round(input.value) + " % original");
  };
  input.addEventListener("input", show);
  show();
}
for (const choice of document.querySelectorAll(".choice")) {
  const results = [...choice.parentElement.nextElementSibling.querySelectorAll("img")].slice(1);
  const inputs = [...choice.querySelectorAll("input")];
  const show = () => inputs.forEach((input, which) => {
    results[which].hidden = !input.checked;
  });
  choice.addEventListener("change", show);
  show();
}
"""

_ASPECT = 16
"""How many times as long as wide a picture is shown at most."""


@dataclass(frozen=True)
class Figure:
    """A picture of the page.

    Attributes:
        title: its heading.
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
    command_line: str,
    lead: str = "",
    style: str = "",
    modules: str = "",
) -> bytes:
    """Return a page of figures.

    Args:
        title: plain text.
        introduction: plain text.
        figures: HTML.
        command_line: what made the page, for its foot, with version and date.
        lead: HTML above the figures.
        style: a style sheet, added to that of all pages.
        modules: scripts, as elements, added to those of all pages.
    """
    head = _HEAD.format(
        title=html.escape(title),
        introduction=html.escape(introduction),
        policy=POLICY,
        lead=lead,
        style=_SLIDER_STYLE + style,
    )
    foot = _FOOT.format(
        version=__version__,
        date=_date(),
        command_line=html.escape(command_line),
        script=_SLIDER_SCRIPT,
        modules=modules,
    )
    # A file name may hold what UTF-8 cannot say.
    return "".join([head, *figures, foot]).encode("utf-8", "backslashreplace")


def _date() -> str:
    """Return the day: today, or the one that repeatable builds agree on."""
    agreed = re.fullmatch("[0-9]{1,11}", os.environ.get("SOURCE_DATE_EPOCH", ""))
    now = datetime.fromtimestamp(int(agreed[0]), UTC) if agreed else datetime.now().astimezone()
    return f"{now:%Y-%m-%d}"


def wide(title: str, body: str, notes: str = "") -> str:
    """Return a figure over the whole width; `title` and `notes` are plain text."""
    note = f"<p>{html.escape(notes)}</p>\n" if notes else ""
    return f'<figure class="wide">\n<h2>{html.escape(title)}</h2>\n{body}{note}</figure>\n'


def slider(
    original: bytes,
    results: Mapping[str, bytes],
    height: int,
    width: int,
    times: int | None = None,
    *,
    chosen: str = "",
) -> str:
    """Return two pictures, one over the other, with a handle that moves from one to the other.

    Args:
        original: the picture on the left, a PNG file.
        results: names and PNG files; of several, one can be chosen.
        height: rows of each.
        width: columns of each.
        times: how often a pixel is shown each way; by default a small picture is magnified.
        chosen: the name of the result to begin with, if there are several.
    """
    size, magnified = shown_size(height, width, times)
    chosen = chosen or next(iter(results))
    hidden = {name: "" if name == chosen else " hidden" for name in results}
    pictures = "".join(
        f'<img src="{data_uri(png)}" alt="{html.escape(name)}" draggable="false"{hidden[name]}>\n'
        for name, png in results.items()
    )
    return (
        f'<div class="sides" style="{size.partition(";")[0]}"><span>Original</span>'
        f"{_choice(results, chosen)}</div>\n"
        f'<div class="slider{magnified}" style="{size}">\n'
        f'<img src="{data_uri(original)}" alt="Original" draggable="false">\n{pictures}'
        '<input type="range" min="0" max="100" step="any" value="50" '
        'aria-label="How much of the original is shown, from the left"><i></i></div>\n'
    )


def _choice(names: Mapping[str, bytes], chosen: str) -> str:
    """Return the name of the one result, or buttons for several."""
    if len(names) == 1:
        return f"<span>{html.escape(chosen)}</span>"
    buttons = "".join(
        f'<label><input type="radio" name="result"{" checked" if name == chosen else ""}>'
        f"{html.escape(name)}</label>"
        for name in names
    )
    return f'<span class="choice" role="radiogroup" aria-label="Result">{buttons}</span>'


def shown_size(height: int, width: int, times: int | None = None) -> tuple[str, str]:
    """Return style and class of a picture, so that it fits the window."""
    times = magnification(height, width) if times is None else times
    aspect = min(max(width / height, 1 / _ASPECT), _ASPECT)
    across = round(max(width, height * aspect) * times)
    style = f"width:min(100%,{across}px,{85 * aspect:.4g}vh);aspect-ratio:{aspect:.6g}"
    return style, " magnified" if times > 1 else ""


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
