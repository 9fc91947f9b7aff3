"""The page of ``kmq report``: a study as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kmq.cli import charts, page, viewer
from kmq.cli.console import colors, decibels
from kmq.cli.study import HEAT, ErrorMap, Pair, Study, Trial
from kmq.cli.swatches import share_of
from kmq.display import css_colors, data_uri
from kmq.model.pixel_format import PixelFormat

if TYPE_CHECKING:
    from kmq.cli.peers import File

_STYLE = (
    charts.STYLE
    + """\
h3 { margin: .6rem 0 .2rem; font-size: .9rem; font-weight: 600; text-align: center; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; margin: 0 0 1.8rem; }
dt { color: var(--quiet); font-size: .85rem; }
dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.still { display: block; margin: 0 auto; }
.scale { margin: 0 auto; }
.scale i { display: block; height: .7rem; margin-top: .45rem; border: 1px solid var(--line); }
.entries { display: grid; gap: .5rem .9rem; margin: 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(9.4rem, 1fr)); }
.entries li { display: grid; grid-template: auto auto / 2.2rem 1fr; gap: 0 .5rem; min-width: 0;
  font-size: .8rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
.entries i { grid-row: 1 / 3; border: 1px solid var(--edge); border-radius: .2rem; }
.entries code { font-size: .82rem; overflow-wrap: anywhere; }
.entries span { color: var(--quiet); white-space: nowrap; }
kmq-viewer { height: min(34rem, 80vh); }
summary { margin: .7rem 0; cursor: pointer; color: var(--quiet); font-size: .9rem; }
.pair { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.table { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .5rem; border-top: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: top; }
thead th { border-top: 0; color: var(--quiet); font-size: .85rem; font-weight: 400; }
th:first-child { padding-left: 0; text-align: left; white-space: normal; }
th:last-child, td:last-child { padding-right: 0; }
th small { display: block; color: var(--quiet); font-weight: 400; }
td.unable { color: var(--quiet); text-align: left; white-space: normal; }
tr.ours th, tr.ours td { color: var(--accent); }
@media (max-width: 44rem) { kmq-viewer { height: auto; } }
@media (max-width: 34rem) { figure { padding: .8rem; } table { font-size: .8rem; }
  th, td { padding: .35rem .25rem; } }
"""
)

_LISTED = 1024
"""Entries of the palette that the page lists."""

_OPEN = 64
"""Entries that it shows at once."""

_BARS = 256
"""Bars of the histogram at most: entries of a larger palette share them."""

_RATE_NOTE = (
    "Indices and palette chosen by squared error + price · bits, where the price is λ times the "
    "error of nearest entries. So details that take many bits and "
    "hardly show are left out. "
)

_SHOW = """\
const given = document.querySelector("script[data-file]");
document.querySelector("kmq-viewer").show(bytesOf(given), given.dataset.file);
"""

_DETAIL_WIDTH = 768
"""Pixels of the screen that the magnified part takes, if there are so many."""


def render(study: Study, command_line: str) -> bytes:
    """Return the page of what a command line asked for."""
    figures = [_whole(study)]
    if study.detail is not None:
        figures.append(_detail(study, study.detail))
    if study.error_map is not None:
        figures.append(_errors(study, study.error_map))
    figures += [_closely(study), _palette(study), _histogram(study)]
    if len(study.by_palette_size) > 1:
        title, axis = "Fewer and more colours", "number of colours"
        figures.append(_curves(title, axis, study.by_palette_size, study))
    if study.by_rate:
        title, axis = "Smaller files at as many colours", "rate λ"
        figures.append(_curves(title, axis, study.by_rate, study, _RATE_NOTE))
    figures.append(_files(study))
    return page.document(
        study.picture.path.name,
        _introduction(study),
        figures,
        command_line=command_line,
        lead=_facts(study),
        style=_STYLE,
        modules=viewer.modules() + viewer.script(_SHOW),
    )


def _introduction(study: Study) -> str:
    picture, report = study.picture, study.image.report
    size = f"{picture.width:,} × {picture.height:,} pixels of format {picture.pixel_format.label}"
    if report is None:
        return f"{size}: a .kmq file as it is."
    return (
        f"{size}, {colors(report.colors_in)}, {picture.file_size:,} bytes as a file; reduced to "
        f"{colors(study.image.n_colors)} by kmq with effort {study.effort}."
    )


def _facts(study: Study) -> str:
    share = study.size / study.picture.file_size
    facts = {
        "Colours": f"{study.image.n_colors:,}",
        "File": f"{study.size:,} bytes",
        "Of the original's bytes": f"{share:.1%}",
        "Bits per pixel": f"{8 * study.size / study.image.indices.size:.3f}",
        "PSNR": decibels(study.psnr),
        "SSIMULACRA2": _looks(study.ssimulacra2),
    }
    if study.image is study.picture.image:
        for name in ("Of the original's bytes", "PSNR", "SSIMULACRA2"):
            del facts[name]
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f"<dl>{items}</dl>\n"


# --- pictures ------------------------------------------------------------------------------------


def _whole(study: Study) -> str:
    pair, by = study.whole, study.divisor
    height, width = -(-pair.height // by), -(-pair.width // by)
    note = ""
    if by > 1:
        note = (
            f"Shrunk to 1/{by} of its size, {width:,} × {height:,} pixels, which hides what is "
            "wrong with single ones."
        )
    if math.isinf(study.psnr):
        size, magnified = page.shown_size(height, width)
        shown = (
            f'<img class="still{magnified}" src="{data_uri(pair.result)}" alt="The picture" '
            f'style="{size}">\n'
        )
        return page.wide("The picture", shown, f"Every pixel is as in the original. {note}".strip())
    slider = page.slider(pair.original, _named(pair, study), height, width)
    return page.wide("Original and result", slider, note)


def _detail(study: Study, pair: Pair) -> str:
    times = _DETAIL_WIDTH // pair.width
    note = (
        f"{pair.width} × {pair.height} pixels from column {pair.left:,}, row {pair.top:,}, "
        "where the error is largest, magnified."
    )
    slider = page.slider(pair.original, _named(pair, study), pair.height, pair.width, times)
    return page.wide("The worst part, closer", slider, note)


def _named(pair: Pair, study: Study) -> dict[str, bytes]:
    return {colors(study.image.n_colors): pair.result}


def _errors(study: Study, errors: ErrorMap) -> str:
    by = study.divisor
    height, width = -(-study.image.height // by), -(-study.image.width // by)
    size, magnified = page.shown_size(height, width)
    ramp = ",".join(HEAT)
    top = study.picture.pixel_format.max_value
    body = (
        f'<img class="still{magnified}" src="{data_uri(errors.png)}" alt="Error map" '
        f'style="{size}">\n'
        f'<div class="scale" style="{size.partition(";")[0]}">'
        f'<i style="background:linear-gradient(to right,{ramp})"></i>'
        '<div class="ends"><span>0</span>'
        f"<span>{_short(errors.top)} of {top:,} levels or more</span></div></div>\n"
    )
    seen = " as seen over black and over white" if study.picture.pixel_format.has_alpha else ""
    note = (
        f"Root mean squared difference of a pixel's channels{seen}"
        f"{f', of blocks of {by} × {by} pixels' if by > 1 else ''}. {errors.share:.1%} of the "
        f"pixels differ; the greatest difference is {_short(errors.greatest)}."
    )
    return page.wide("Error map", body, note)


def _closely(study: Study) -> str:
    name = study.picture.path.with_suffix(".kmq").name
    body = (
        "<kmq-viewer><noscript>The pixels are shown by a script.</noscript></kmq-viewer>\n"
        f"{viewer.embedded(name, study.encoded)}"
    )
    note = (
        "The .kmq file itself, decoded here. Point at a pixel to see its index and colour, at a "
        "colour to see where it is."
    )
    return page.wide("Pixel by pixel", body, note)


# --- palette and indices -------------------------------------------------------------------------


def _palette(study: Study) -> str:
    image, counts = study.image, study.counts
    order = (-counts).argsort(kind="stable")[:_LISTED]
    listed = image.palette[order]
    painted = css_colors(listed, image.pixel_format)
    codes = (_code(entry, image.pixel_format) for entry in listed.tolist())
    items = [
        f"<li><i {page.painted(color)}></i><code>{code}</code>"
        f"<span>{count:,} · {share_of(count / image.indices.size)}</span></li>\n"
        for color, code, count in zip(painted, codes, counts[order].tolist(), strict=True)
    ]
    body = f'<ul class="entries">\n{"".join(items[:_OPEN])}</ul>\n'
    if len(items) > _OPEN:
        rest = share_of(1 - counts[order[:_OPEN]].sum() / image.indices.size)
        body += (
            f"<details><summary>{colors(image.n_colors - _OPEN)} more, {rest} of the "
            f'pixels</summary>\n<ul class="entries">\n{"".join(items[_OPEN:])}</ul></details>\n'
        )
    note = "Pixels of each colour, and their share of the picture."
    if image.n_colors > _LISTED:
        note += f" The {_LISTED:,} most frequent are listed."
    return page.wide(f"Palette of {colors(image.n_colors)}", body, note)


def _code(entry: Sequence[int], pixel_format: PixelFormat) -> str:
    """Write an entry with all its bits: #rrggbb, with alpha #rrggbbaa, 16-bit twice as long."""
    digits = 4 if pixel_format.depth > 8 else 2
    if pixel_format is PixelFormat.BILEVEL:
        entry = [255 * sample for sample in entry]
    channels = [f"{sample:0{digits}x}" for sample in entry]
    if pixel_format is PixelFormat.CMYK32:
        return "cmyk " + " ".join(channels)
    if len(channels) < 3:
        channels = [channels[0]] * 3 + channels[1:]
    return "#" + "".join(channels)


def _histogram(study: Study) -> str:
    image, counts = study.image, study.counts
    shares = counts / image.indices.size
    each = -(-image.n_colors // _BARS)
    painted = css_colors(image.palette, image.pixel_format)
    bars = [
        charts.Bar(
            f"{_entries(first, min(first + each, image.n_colors))}: "
            f"{counts[first : first + each].sum():,} pixels",
            float(shares[first : first + each].sum()),
            painted[first][:7],  # bars are opaque
        )
        for first in range(0, image.n_colors, each)
    ]
    highest = max(range(len(bars)), key=lambda place: bars[place].value)
    title = bars[highest].title
    used = shares[shares > 0]
    entropy = -float((used * [math.log2(share) for share in used]).sum())
    body = (
        f'<div class="ends"><span>highest: {title}, {share_of(bars[highest].value)}</span></div>\n'
        + charts.bars("Pixels of each palette entry", bars)
        + f'<div class="ends"><span>0</span><span>palette entry</span>'
        f"<span>{image.n_colors - 1:,}</span></div>\n"
    )
    unused = len(shares) - len(used)
    note = (
        f"{f'{unused:,} entries are not used. ' if unused else ''}The entropy of the indices is "
        f"{abs(entropy):.3f} bits per pixel: their size if each were coded by itself."
    )
    return page.wide("Histogram of the indices", body, note)


def _entries(first: int, end: int) -> str:
    return f"entry {first:,}" if end == first + 1 else f"entries {first:,} to {end - 1:,}"


# --- sizes ---------------------------------------------------------------------------------------


def _curves(title: str, axis: str, trials: Sequence[Trial], study: Study, note: str = "") -> str:
    most = max(trial.size for trial in (*study.by_palette_size, *study.by_rate))
    unit, divisor = ("kB", 1000) if most >= 10_000 else ("bytes", 1)
    sizes = [
        charts.Point(
            trial.place, trial.size / divisor, _short(trial.size / divisor), trial.is_chosen
        )
        for trial in trials
    ]
    finite = [trial.psnr for trial in trials if math.isfinite(trial.psnr)] or [0.0]
    digits = 1 if max(finite) - min(finite) > 1 else 2
    psnrs = [
        charts.Point(trial.place, trial.psnr, _decibels(trial.psnr, digits), trial.is_chosen)
        for trial in trials
    ]
    body = (
        f'<div class="pair">\n<div><h3>File in {unit}</h3>\n'
        f"{charts.line(f'File in {unit}', axis, sizes)}</div>\n"
        f"<div><h3>PSNR in dB</h3>\n{charts.line('PSNR in dB', axis, psnrs)}</div>\n</div>\n"
    )
    return page.wide(title, body, f"{note}The result stands out. {_measured(study)}")


def _short(number: float) -> str:
    """Write three digits, or all of a whole number."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:#.3g}"


def _decibels(psnr: float, digits: int) -> str:
    return "exact" if math.isinf(psnr) else f"{psnr:.{digits}f}"


def _measured(study: Study) -> str:
    """Say what the sizes are of."""
    measured = study.measured
    if measured.indices.size == study.image.indices.size:
        return "Sizes are without metadata."
    return (
        f"Measured on the middle of the picture, {measured.width:,} × {measured.height:,} "
        "pixels, without metadata."
    )


def _files(study: Study) -> str:
    ours = study.files[0].size or 0
    rows = "".join(_file_row(file, ours) for file in study.files)
    body = (
        '<div class="table"><table>\n<thead><tr><th>Format</th><th>bytes</th><th>of .kmq</th>'
        "<th>PSNR, dB</th><th>SSIMULACRA2</th></tr></thead>\n"
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )
    note = (
        "PNG-8 and lossless WebP hold the same palette and indices; JPEG and lossy WebP have the "
        f"lowest quality whose PSNR is as high. {_measured(study)}"
    )
    return page.wide("Beside other formats", body, note)


def _file_row(file: File, ours: int) -> str:
    head = f"<th>{html.escape(file.name)}<small>{html.escape(file.made)}</small></th>"
    if file.size is None:
        return f'<tr>{head}<td class="unable" colspan="4">{html.escape(file.remark)}</td></tr>\n'
    cells = (
        f"{file.size:,}",
        f"× {file.size / ours:.2f}",
        _decibels(file.psnr, 2),
        _looks(file.ssimulacra2),
    )
    row = "".join(f"<td>{cell}</td>" for cell in cells)
    start = '<tr class="ours">' if file.name == ".kmq" else "<tr>"
    return f"{start}{head}{row}</tr>\n"


def _looks(ssimulacra2: float) -> str:
    return "–" if math.isnan(ssimulacra2) else f"{ssimulacra2:.1f}"
