"""Pixels → palette and indices: time beside quality, every contender on the same pictures."""

from dataclasses import replace

import pytest

import kmq
from contenders import QUANTIZERS
from kmq.stages.mapping import metrics
from pictures import large

LARGE = [contender for contender in QUANTIZERS if contender.for_large]


@pytest.mark.parametrize("k", [16, 64, 256])
@pytest.mark.parametrize("contender", QUANTIZERS, ids=str)
def bench_quantize(measure, benchmark, contender, photo, k):
    quantize(measure, benchmark, contender, photo, k, "quantize")


@pytest.mark.parametrize("contender", LARGE, ids=str)
@pytest.mark.parametrize("largest", large()[-1:], ids=str)
def bench_large(measure, benchmark, contender, largest):
    thrice = replace(contender, rounds=min(contender.rounds, 3))
    quantize(measure, benchmark, thrice, largest, 256, "large")


def quantize(measure, benchmark, contender, picture, k, table):
    pytest.importorskip(contender.package)
    pixels = picture.load()
    contender.run(pixels[::16, ::16].copy(), min(k, 16))  # compiles, loads
    palette, indices = measure(
        contender,
        lambda: contender.run(pixels, k),
        table=table,
        picture=picture.name,
        pixels=pixels.shape[0] * pixels.shape[1],
        k=k,
    )
    mse = metrics.mse(pixels, palette[indices])
    psnr = metrics.psnr(mse, kmq.PixelFormat.RGB24)
    benchmark.extra_info.update(mse=mse, psnr=psnr, colors=len(palette))
