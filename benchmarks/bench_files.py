"""Whole files: pictures written and read, and lossy formats at the same PSNR."""

import io

import numpy as np
import pytest
from PIL import Image

import kmq
import pictures
from contenders import LOSSY
from kmq.stages.mapping import metrics

PALETTE_SIZES = (16, 64, 256)


@pytest.mark.parametrize("k", PALETTE_SIZES)
@pytest.mark.parametrize("work", ["write", "read", "info"])
def bench_kmq(benchmark, tmp_path, photo, k, work):
    image = kmq.quantize(photo.load(), k)
    path = tmp_path / "picture.kmq"
    kmq.write(path, image)
    calls = {
        "write": lambda: kmq.write(path, image),
        "read": lambda: kmq.read(path).indices,
        "info": lambda: kmq.info(path),
    }
    calls[work]()
    benchmark.extra_info.update(table="files", contender="kmq", picture=photo.name, k=k, work=work)
    benchmark.extra_info.update(bytes=path.stat().st_size)
    benchmark.pedantic(calls[work], rounds=5, iterations=1)


@pytest.mark.parametrize("k", PALETTE_SIZES)
@pytest.mark.parametrize("work", ["write", "read"])
def bench_png(benchmark, tmp_path, photo, k, work):
    picture = kmq.quantize(photo.load(), k).to_pillow()
    path = tmp_path / "picture.png"
    picture.save(path, optimize=True)
    calls = {
        "write": lambda: picture.save(path, optimize=True),
        "read": lambda: np.asarray(Image.open(path)),
    }
    benchmark.extra_info.update(table="files", contender="PNG", picture=photo.name, k=k, work=work)
    benchmark.extra_info.update(bytes=path.stat().st_size)
    benchmark.pedantic(calls[work], rounds=3, iterations=1)


@pytest.mark.parametrize("method", ["deflate", "rank", "mix"])
@pytest.mark.parametrize("strip_height", [None, 64])
@pytest.mark.parametrize("part", ["box", "whole"])
def bench_region(benchmark, tmp_path, method, strip_height, part):
    """A box of 64 x 64 pixels in the middle, or all, of 24 megapixels in 64 colours."""
    image = kmq.quantize(pictures.photos(full=False)[0].load(), 64)
    repeats = -(-4000 // image.height), -(-6000 // image.width)
    indices = np.tile(image.indices, repeats)[:4000, :6000]
    path = tmp_path / "picture.kmq"
    large = kmq.IndexedImage(image.palette, indices, image.pixel_format)
    kmq.write(path, large, method=method, strip_height=strip_height)
    calls = {
        "box": lambda: kmq.read_region(path, (3000, 2000, 3064, 2064)),
        "whole": lambda: kmq.read(path),
    }
    kmq.read_region(path, (0, 0, 1, 1))
    benchmark.extra_info.update(table="region", contender="kmq", method=method, part=part)
    benchmark.extra_info.update(strip_height=strip_height, bytes=path.stat().st_size)
    benchmark.pedantic(calls[part], rounds=3, iterations=1)


@pytest.mark.parametrize("k", PALETTE_SIZES)
@pytest.mark.parametrize("contender", LOSSY, ids=str)
def bench_lossy(measure, benchmark, contender, photo, k):
    """Write at the lowest quality whose PSNR is no worse than that of k colours."""
    pixels = photo.load()
    image = kmq.quantize(pixels, k)
    reached, quality = lowest_quality(contender.run, pixels, image.report.psnr)
    encoded = measure(
        contender,
        lambda: contender.run(pixels, quality),
        table="lossy",
        picture=photo.name,
        k=k,
        quality=quality,
        psnr=reached,
        kmq_psnr=image.report.psnr,
        kmq_bytes=len(kmq.encode(image)),
        pixels=image.indices.size,
    )
    benchmark.extra_info["bytes"] = len(encoded)


def lowest_quality(write, pixels, psnr):
    """Return (PSNR, quality) of the lowest quality that reaches `psnr`, or of quality 100."""
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        if lossy_psnr(write, pixels, middle) >= psnr:
            high = middle
        else:
            low = middle + 1
    return lossy_psnr(write, pixels, low), low


def lossy_psnr(write, pixels, quality):
    with Image.open(io.BytesIO(write(pixels, quality))) as picture:
        decoded = np.asarray(picture.convert("RGB"))
    return metrics.psnr(metrics.mse(pixels, decoded), kmq.PixelFormat.RGB24)
