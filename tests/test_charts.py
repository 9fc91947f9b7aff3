import math
import re
import xml.etree.ElementTree as ET

import pytest

from kmq.cli import charts
from kmq.cli.charts import Bar, Point


def points(*values, chosen=None):
    return [
        Point(f"at {place}", value, f"<{value}>", place == chosen)
        for place, value in enumerate(values)
    ]


def circles(svg):
    root = ET.fromstring(svg)  # noqa: S314  # our own
    return [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]


def test_a_line_keeps_order_and_proportion():
    across, down = zip(*circles(charts.line("T", "A", points(1, 2, 4, 3))), strict=True)
    assert list(across) == sorted(across)
    assert down[0] - down[1] == pytest.approx((down[0] - down[2]) / 3, abs=0.2)
    assert down[2] < down[3] < down[1] < down[0]


def test_a_line_from_zero_shows_ratios():
    svg = charts.line("T", "A", points(10, 20), from_zero=True)
    axis = float(re.search(r'class="axis" d="M\S+ (\d+)', svg)[1])
    (_, low), (_, high) = circles(svg)
    assert axis - high == pytest.approx(2 * (axis - low), abs=0.2)


def test_what_is_infinite_is_above_all_others():
    _, *down = zip(*circles(charts.line("T", "A", points(1, 5, math.inf))), strict=True)
    heights = down[0]
    assert heights[2] < heights[1] - 5 < heights[0]
    assert len(circles(charts.line("T", "A", points(math.inf)))) == 1


def test_every_point_has_its_labels_and_one_is_chosen():
    svg = charts.line("Size <b>", "k & more", points(3, 4, 5, chosen=1))
    texts = [text.text for text in ET.fromstring(svg).iter("text")]  # noqa: S314
    assert texts == ["<3>", "at 0", "<4>", "at 1", "<5>", "at 2", "k & more"]
    assert len(re.findall(r'<circle class="point chosen"', svg)) == 1
    assert "at 1: &lt;4&gt;" in svg
    assert "<b>" not in svg


def test_bars_are_as_high_as_their_values():
    svg = charts.bars(
        "T", [Bar("a", 1, "#ff0000"), Bar("b<", 4, "#00ff00"), Bar("c", 0, "#0000ff")]
    )
    rects = list(ET.fromstring(svg).iter("rect"))  # noqa: S314
    assert [float(rect.get("height")) for rect in rects] == [25, 100, 0]
    assert [float(rect.get("y")) for rect in rects] == [75, 0, 100]
    assert [rect.get("fill") for rect in rects] == ["#ff0000", "#00ff00", "#0000ff"]
    assert "b&lt;" in svg
