"""Small charts as inline SVG, in the colours of the page that shows them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """\
.chart { display: block; width: 100%; height: auto; max-width: 29rem; margin: 0 auto; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--quiet); text-anchor: middle;
  font-variant-numeric: tabular-nums; }
.chart .value { fill: var(--ink); stroke: var(--card); stroke-width: 4px; paint-order: stroke; }
.chart .chosen { fill: var(--accent); font-weight: 600; }
.chart .line { fill: none; stroke: var(--ink); stroke-width: 1.5; opacity: .55; }
.chart .axis { stroke: var(--line); }
.chart circle { fill: var(--ink); }
.bars { display: block; width: 100%; height: 9rem; border-bottom: 1px solid var(--line); }
.bars rect { stroke: var(--edge); stroke-width: .5; vector-effect: non-scaling-stroke; }
.ends { display: flex; justify-content: space-between; gap: 1rem; color: var(--quiet);
  font-size: .85rem; font-variant-numeric: tabular-nums; }
"""
"""What a page needs in its style sheet, beside its colours --ink, --quiet, --line, --edge,
--card and --accent."""

_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 24, 24, 26, 44  # room for labels around the points


@dataclass(frozen=True)
class Point:
    """A point of a line: its place and its value in words, and the value; infinite is above all."""

    place: str
    value: float
    label: str
    is_chosen: bool = False


def line(title: str, axis: str, points: Sequence[Point], *, from_zero: bool = False) -> str:
    """Return a chart of points at even distances, each with its value beside it.

    Args:
        title: what the values are.
        axis: what the places are.
        points: at least one, left to right.
        from_zero: whether the lower edge is 0, rather than the least value.
    """
    spoken = ", ".join(f"{point.place}: {point.label}" for point in points)
    places = list(zip(_across(len(points)), _heights(points, from_zero), strict=True))
    baseline = _HEIGHT - _BOTTOM
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{title} against {axis}. {spoken}")}">',
        f'<path class="axis" d="M{_LEFT / 2:g} {baseline}H{_WIDTH - _RIGHT / 2:g}"/>',
        f'<path class="line" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>',
    ]
    for point, (x, y) in zip(points, places, strict=True):
        chosen = " chosen" if point.is_chosen else ""
        parts += [
            f'<circle class="point{chosen}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{5 if point.is_chosen else 3}"/>',
            f'<text class="value{chosen}" x="{x:.1f}" y="{y - 9:.1f}">'
            f"{html.escape(point.label)}</text>",
            f'<text class="place{chosen}" x="{x:.1f}" y="{baseline + 16}">'
            f"{html.escape(point.place)}</text>",
        ]
    parts.append(f'<text x="{_WIDTH / 2:g}" y="{_HEIGHT - 8}">{html.escape(axis)}</text></svg>\n')
    return "".join(parts)


def _across(number: int) -> list[float]:
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, number - 1)
    return [_LEFT + step * position for position in range(number)]


def _heights(points: Sequence[Point], from_zero: bool) -> list[float]:
    finite = [point.value for point in points if math.isfinite(point.value)] or [0.0]
    low, high = (0.0 if from_zero else min(finite)), max(finite)
    room = _HEIGHT - _TOP - _BOTTOM
    floor = 0 if from_zero else 0.08 * room  # a least value that is not 0 lies above the axis
    # Leave the upper edge to what is infinite.
    top = room if len(finite) == len(points) else 0.8 * room
    slope = (top - floor) / ((high - low) or 1.0)
    return [
        _TOP + room - (floor + slope * (point.value - low) if math.isfinite(point.value) else room)
        for point in points
    ]


@dataclass(frozen=True)
class Bar:
    """A bar: what it is, how high, and its colour as CSS writes it."""

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
