"""Pixels → palette and indices: time beside quality, every contender on the same pictures."""

import pytest

import kmq
from contenders import QUANTIZERS
from kmq.stages import metrics


@pytest.mark.parametrize("k", [16, 64, 256])
@pytest.mark.parametrize("contender", QUANTIZERS, ids=str)
def bench_quantize(measure, benchmark, contender, picture, k):
    pytest.importorskip(contender.package)
    pixels = picture.load()
    contender.run(pixels[::16, ::16].copy(), min(k, 16))  # compiles, loads
    palette, indices = measure(
        contender,
        lambda: contender.run(pixels, k),
        table="quantize",
        picture=picture.name,
        pixels=pixels.shape[0] * pixels.shape[1],
        k=k,
    )
    mse = metrics.mse(pixels, palette[indices])
    psnr = metrics.psnr(mse, kmq.PixelFormat.RGB24)
    benchmark.extra_info.update(mse=mse, psnr=psnr, colors=len(palette))
