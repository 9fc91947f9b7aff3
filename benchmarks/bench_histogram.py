"""Pixels → distinct colours, their counts, and which one each pixel shows."""

import pytest

from contenders import HISTOGRAMS


@pytest.mark.parametrize("contender", HISTOGRAMS, ids=str)
def bench_histogram(measure, contender, picture):
    pytest.importorskip(contender.package)
    pixels = picture.load()
    n_colors = contender.run(pixels)  # compiles, loads
    measure(
        contender,
        lambda: contender.run(pixels),
        table="histogram",
        picture=picture.name,
        pixels=pixels.shape[0] * pixels.shape[1],
        colors=n_colors,
    )
