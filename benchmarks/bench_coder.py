"""Palette and indices → bytes and back: size, and megapixels per second on one and two threads."""

from functools import lru_cache

import pytest
from PIL import Image

import kmq
from contenders import CODECS
from pictures import graphics, photos

_files = {}
"""What the encoding benchmarks made, for those that decode: some contenders take long."""


def pytest_generate_tests(metafunc):
    """Measure on a photograph, a graphic and a dithered photograph, or on all pictures."""
    full = metafunc.config.getoption("--full")
    some, ks = (slice(None), [4, 16, 64, 256]) if full else (slice(1), [16, 64, 256])
    cases = [("photo", photo, k) for photo in photos(full=full)[some] for k in ks]
    cases += [("graphic", graphic, k) for graphic in graphics(full=full)[some] for k in ks]
    dithered = photos(full=False)[some]
    cases += [("dithered", photo, k) for photo in dithered for k in (ks if full else [64])]
    metafunc.parametrize(("kind", "source", "k"), cases, ids=str)
    metafunc.parametrize(
        ("codec", "threads"),
        [(codec, n) for codec in CODECS for n in ([1, 2] if codec.takes_threads else [1])],
        ids=str,
    )


@lru_cache(maxsize=1)
def indexed(kind, source, k):
    image = kmq.quantize(source.load(), k, space="rgb")
    if kind != "dithered":
        return image
    palette = Image.new("P", (1, 1))
    palette.putpalette(image.palette.tobytes())
    return kmq.IndexedImage.from_pillow(Image.fromarray(source.load()).quantize(palette=palette))


def facts(kind, source, k, threads, **others):
    return {"table": "coder", "kind": kind, "picture": source.name, "k": k, "threads": threads} | (
        others
    )


def bench_encode(measure, benchmark, kind, source, k, codec, threads):
    pytest.importorskip(codec.package)
    image = indexed(kind, source, k)
    codec.encode(corner(image), threads)  # compiles, loads
    encoded = measure(
        codec,
        lambda: codec.encode(image, threads),
        **facts(kind, source, k, threads, direction="encode", pixels=image.indices.size),
    )
    benchmark.extra_info["bytes"] = len(encoded)
    _files[codec.name, kind, source.name, k] = encoded


def bench_decode(measure, kind, source, k, codec, threads):
    pytest.importorskip(codec.package)
    image = indexed(kind, source, k)
    encoded = _files.get((codec.name, kind, source.name, k)) or codec.encode(image, 1)
    codec.decode(codec.encode(corner(image), 1), threads)
    measure(
        codec,
        lambda: codec.decode(encoded, threads),
        **facts(kind, source, k, threads, direction="decode", pixels=image.indices.size),
    )


def corner(image):
    """Return a small part of an image, to warm up on."""
    return kmq.IndexedImage(image.palette, image.indices[:32, :32], image.pixel_format)
