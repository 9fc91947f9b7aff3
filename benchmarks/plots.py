"""Plots of what was measured, the same file for the same figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from records import Record, coder_figures


def write(found: list[Record], folder: Path) -> Iterator[Path]:
    """Draw what there are records of, and yield the paths."""
    drawings = {"scaling": scaling, "coder": coder}
    for name, draw in drawings.items():
        if any(record["table"] == name for record in found):
            path = folder / f"{name}.svg"
            figure = draw(found)
            figure.savefig(path, metadata={"Date": None}, transparent=True)
            # Its lines end in blanks, which no diff should show.
            lines = path.read_text().splitlines()
            path.write_text("".join(f"{line.rstrip()}\n" for line in lines))
            yield path


def scaling(found: list[Record]) -> Any:
    """Draw time against pixels and k on logarithmic axes, with what they may not outgrow."""
    figure, (left, right) = _plotting().subplots(1, 2, figsize=(10, 4), layout="constrained")
    chosen = [record for record in found if record["table"] == "scaling"]
    against_pixels = [record for record in chosen if record["against"] == "pixels"]
    against_k = [record for record in chosen if record["against"] == "k"]
    _curve(left, against_pixels, "megapixels", lambda size: size, "in proportion")
    left.set(xlabel="megapixels", title=f"k = {against_pixels[0]['k']}")
    _curve(right, against_k, "k", lambda k: k * math.log2(k), "k log k")
    right.set(xlabel="k", title=f"{against_k[0]['megapixels']:.1f} megapixels")
    right.set_xscale("log", base=2)
    return figure


def _curve(
    axes: Any, chosen: list[Record], across: str, grow: Callable[[float], float], bound: str
) -> None:
    points = sorted((record[across], 1000 * record["seconds"]) for record in chosen)
    places = [place for place, _ in points]
    # The bound starts at the first point and grows as it may.
    limits = [points[0][1] * grow(place) / grow(places[0]) for place in places]
    axes.loglog(places, [time for _, time in points], "o-", label="kmq.quantize")
    axes.loglog(places, limits, "--", color="grey", label=bound)
    axes.set(ylabel="milliseconds")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(frameon=False)


def coder(found: list[Record]) -> Any:
    """Draw size against decoding speed of one thread at k = 64; better is lower and further right.

    A line joins those that none is better than in both.
    """
    figures = coder_figures(found, 64)
    kinds = list(dict.fromkeys(kind for kind, _ in figures))
    figure, panels = _plotting().subplots(
        1, len(kinds), figsize=(5 * len(kinds), 4.5), layout="constrained", squeeze=False
    )
    names = dict.fromkeys(name for _, name in figures)
    shapes = dict(zip(names, itertools.cycle("osD^vP*X<>hp"), strict=False))
    for kind, axes in zip(kinds, panels[0], strict=True):
        points = {
            name: (entry["decode 1"], entry["bits"])
            for (of, name), entry in figures.items()
            # The efforts are methods by another name, and bare zlib is no file.
            if of == kind and not (name.startswith("kmq ") or "bare" in name)
        }
        best = sorted(
            (speed, bits)
            for speed, bits in points.values()
            if not any(other > speed and less < bits for other, less in points.values())
        )
        axes.plot(*zip(*best, strict=True), "-", color="grey", zorder=0)
        for name, (speed, bits) in points.items():
            color = "tab:red" if name.startswith("kmq") else "tab:blue"
            label = name if axes is panels[0][0] else None
            axes.scatter(speed, bits, 60, color=color, marker=shapes[name], label=label)
        axes.set_xscale("log")
        axes.margins(0.1)
        axes.set(xlabel="decoded megapixels per second, one thread", title=f"{kind}, k = 64")
        axes.grid(visible=True, which="both", alpha=0.3)
    panels[0][0].set(ylabel="bits per pixel, whole file")
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def _plotting() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "kmq"
    mpl.rcParams["svg.fonttype"] = "none"
    # Grey can be read on white and on black.
    for part in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[part] = "#808080"
    import matplotlib.pyplot as plt

    return plt
