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


def ticks(svg):
    """Values on the scale and how high they are."""
    root = ET.fromstring(svg)  # noqa: S314  # our own
    found = [text for text in root.iter("text") if text.get("class") == "tick"]
    return {float(text.text.replace(",", "")): float(text.get("y")) - 4 for text in found}


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((1, 2, 4, 3), [0, 1, 2, 3, 4]),
        ((10, 20), [0, 5, 10, 15, 20]),
        ((29.02, 29.01, 28.8), [0, 10, 20, 30]),
        ((9617, 7459), [0, 2000, 4000, 6000, 8000, 10000]),
        ((123_456,), [0, 50_000, 100_000, 150_000]),
        ((0.03, 0.05), [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
        ((0, 0), [0]),
    ],
)
def test_a_line_has_an_axis_from_0_and_is_true_to_it(values, scale):
    svg = charts.line("T", "A", points(*values))
    heights = ticks(svg)
    assert list(heights) == pytest.approx(scale)
    zero, top = heights[0], min(heights.values())
    across, down = zip(*circles(svg), strict=True)
    assert list(across) == sorted(across)
    for value, at in zip(values, down, strict=True):
        share = value / scale[-1] if scale[-1] else 0
        assert at == pytest.approx(zero - share * (zero - top), abs=0.11)


def test_what_is_infinite_is_above_all_others():
    _, *down = zip(*circles(charts.line("T", "A", points(1, 5, math.inf))), strict=True)
    heights = down[0]
    assert heights[2] < heights[1] - 5 < heights[0]
    assert list(ticks(charts.line("T", "A", points(1, 5, math.inf)))) == [0, 1, 2, 3, 4, 5]
    alone = charts.line("T", "A", points(math.inf))
    assert (len(circles(alone)), list(ticks(alone))) == (1, [0])


def test_every_point_has_its_labels_and_one_is_chosen():
    svg = charts.line("Size <b>", "k & more", points(3, 4, 5, chosen=1))
    texts = list(ET.fromstring(svg).iter("text"))  # noqa: S314
    assert {text.text for text in texts if text.get("class") != "tick"} == {
        *("<3>", "at 0", "<4>", "at 1", "<5>", "at 2", "k & more")
    }
    chosen = [text.text for text in texts if "chosen" in text.get("class", "")]
    assert chosen == ["<4>", "at 1"]
    assert len(re.findall(r'<circle class="point chosen"', svg)) == 1
    assert "at 1: &lt;4&gt;" in svg
    assert "<b>" not in svg


def boxes(svg):
    """Where labels are, were each character as wide as a digit in bold."""
    found = {}
    for text in ET.fromstring(svg).iter("text"):  # noqa: S314
        if text.get("class") and "tick" not in text.get("class"):
            x, y, half = float(text.get("x")), float(text.get("y")), 3.8 * len(text.text)
            found[text.text, x] = (x - half, y - 9, x + half, y)
    return found


@pytest.mark.parametrize("values", [[29.0] * 10, list(range(1, 11)), [90, 10] * 5, [1, 1e6]])
@pytest.mark.parametrize("label", ["29.0", "1,234", "123,456"])
def test_labels_never_meet(values, label):
    chosen = len(values) - 1
    line = [Point(f"{place:,}", value, label, place == chosen)
            for place, value in enumerate(values)]  # fmt: skip
    line[0] = Point("33.3333", values[0], label)
    found = boxes(charts.line("T", "A", line))
    for name, (left, top, right, bottom) in found.items():
        assert 0 <= left < right <= 400
        for other, box in found.items():
            apart = left >= box[2] or box[0] >= right or top >= box[3] or box[1] >= bottom
            assert apart or name == other, (name, other)
    assert {label, f"{chosen}"} <= {name for name, _ in found}  # the chosen point has both


def test_bars_are_as_high_as_their_values():
    svg = charts.bars(
        "T", [Bar("a", 1, "#ff0000"), Bar("b<", 4, "#00ff00"), Bar("c", 0, "#0000ff")]
    )
    rects = list(ET.fromstring(svg).iter("rect"))  # noqa: S314
    assert [float(rect.get("height")) for rect in rects] == [25, 100, 0]
    assert [float(rect.get("y")) for rect in rects] == [75, 0, 100]
    assert [rect.get("fill") for rect in rects] == ["#ff0000", "#00ff00", "#0000ff"]
    assert "b&lt;" in svg
