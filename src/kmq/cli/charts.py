"""Small charts as inline SVG, in the colours of the page that shows them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STYLE = """\
.chart { display: block; width: 100%; height: auto; max-width: 29rem; margin: 0 auto; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--quiet); text-anchor: middle;
  font-variant-numeric: tabular-nums; }
.chart .value { fill: var(--ink); stroke: var(--card); stroke-width: 4px; paint-order: stroke; }
.chart .chosen { fill: var(--accent); font-weight: 600; }
.chart .line { fill: none; stroke: var(--ink); stroke-width: 1.5; opacity: .55; }
.chart .tick { text-anchor: end; }
.chart .grid { stroke: var(--line); stroke-width: .6; }
.chart .axis { fill: none; stroke: var(--quiet); stroke-width: .8; }
.chart circle { fill: var(--ink); }
.bars { display: block; width: 100%; height: 9rem; border-bottom: 1px solid var(--line); }
.bars rect { stroke: var(--edge); stroke-width: .5; vector-effect: non-scaling-stroke; }
.ends { display: flex; justify-content: space-between; gap: 1rem; color: var(--quiet);
  font-size: .85rem; font-variant-numeric: tabular-nums; }
"""
"""What a page needs in its style sheet, besides its colours --ink, --quiet, --line, --edge,
--card and --accent."""

_WIDTH, _HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 26, 44  # room for axes and labels
_BASELINE = _HEIGHT - _BOTTOM
_MOST_TICKS = 5
_TOP_OF_ALL = 0.8  # share of the height that is left to finite values if there are infinite ones

_DIGIT_WIDTH, _LINE_HEIGHT = 7.8, 13  # of labels, in the units of the chart; bold digits fit
_INSET = 26  # from the axes to the first and the last point: half a label
_ABOVE, _BELOW = -9, 20  # from a point to the base lines of its label


@dataclass(frozen=True)
class Point:
    """A point of a line: place and value in words, and the value; infinite is above all others."""

    place: str
    value: float
    label: str
    is_chosen: bool = False


def line(title: str, axis: str, points: Sequence[Point]) -> str:
    """Return a chart of points at even distances, with axes whose zero is 0.

    Values stand next to their points, and places below, wherever there is room.

    Args:
        title: what the values are.
        axis: what the places are.
        points: at least one, left to right; values from 0 on.
    """
    spoken = ", ".join(f"{point.place}: {point.label}" for point in points)
    ticks = _ticks(
        max((point.value for point in points if math.isfinite(point.value)), default=0.0)
    )
    heights = _Heights(ticks[-1] or 1.0, all(math.isfinite(point.value) for point in points))
    spots = [
        (x, heights.of(point.value)) for x, point in zip(_across(len(points)), points, strict=True)
    ]
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{title} against {axis}. {spoken}")}">',
        *_scale(ticks, heights),
        f'<path class="line" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in spots)}"/>',
    ]
    for point, (x, y) in zip(points, spots, strict=True):
        chosen = " chosen" if point.is_chosen else ""
        parts.append(
            f'<circle class="point{chosen}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{5 if point.is_chosen else 3}"><title>'
            f"{html.escape(f'{point.place}: {point.label}')}</title></circle>"
        )
    parts += _labels(points, spots)
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 8}">{html.escape(axis)}</text>'
        "</svg>\n"
    )
    return "".join(parts)


def _across(number: int) -> list[float]:
    first, last = _LEFT + _INSET, _WIDTH - _RIGHT - _INSET
    if number == 1:
        return [(first + last) / 2]
    return [first + (last - first) * position / (number - 1) for position in range(number)]


def _ticks(most: float) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten, from 0 to above the greatest value."""
    rough = (most or 1.0) / _MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


@dataclass(frozen=True)
class _Heights:
    """Where values are: `top` of the scale is at the upper edge, or below infinite values."""

    top: float
    all_finite: bool

    def of(self, value: float) -> float:
        """Return the distance from the upper edge of the chart."""
        room = _BASELINE - _TOP
        if not math.isfinite(value):
            return _TOP
        return _BASELINE - room * value / self.top * (1 if self.all_finite else _TOP_OF_ALL)


def _scale(ticks: Sequence[float], heights: _Heights) -> Iterator[str]:
    """Yield both axes, with a line across for each tick."""
    for tick in ticks:
        y = heights.of(tick)
        if tick:
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}">{tick:,.10g}</text>'
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{_BASELINE}H{_WIDTH - _RIGHT}"/>'


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def _labels(points: Sequence[Point], spots: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Yield values and places that do not run into each other; the chosen point's come first."""
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in spots]
    for point, (x, y) in sorted(
        zip(points, spots, strict=True), key=lambda pair: not pair[0].is_chosen
    ):
        chosen = " chosen" if point.is_chosen else ""
        for kind, text, lines in (
            ("value", point.label, (y + _ABOVE, y + _BELOW)),
            ("place", point.place, (_BASELINE + 16,)),
        ):
            for at in lines:
                box = _box(text, x, at)
                if (kind == "place" or at < _BASELINE - 2) and not _meets(box, taken):
                    taken.append(box)
                    yield (
                        f'<text class="{kind}{chosen}" x="{x:.1f}" y="{at:.1f}">'
                        f"{html.escape(text)}</text>"
                    )
                    break


def _box(text: str, x: float, y: float) -> Box:
    half = len(text) * _DIGIT_WIDTH / 2
    return x - half, y - _LINE_HEIGHT + 3, x + half, y + 3


def _meets(box: Box, boxes: Sequence[Box]) -> bool:
    left, top, right, bottom = box
    return any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom
        for other in boxes
    )


@dataclass(frozen=True)
class Bar:
    """A bar: its name, its height, and its colour as CSS writes it."""

    title: str
    value: float
    color: str


def bars(title: str, columns: Sequence[Bar]) -> str:
    """Return bars side by side over the whole width, without any text but what a pointer shows."""
    most = max(bar.value for bar in columns) or 1.0
    width = 0.92 if len(columns) <= 128 else 1.0
    drawn = "".join(
        f'<rect x="{position + (1 - width) / 2:g}" y="{100 - 100 * bar.value / most:.2f}" '
        f'width="{width:g}" height="{100 * bar.value / most:.2f}" fill="{bar.color}">'
        f"<title>{html.escape(bar.title)}</title></rect>"
        for position, bar in enumerate(columns)
    )
    return (
        f'<svg class="bars" viewBox="0 0 {len(columns)} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(title)}">{drawn}</svg>\n'
    )
