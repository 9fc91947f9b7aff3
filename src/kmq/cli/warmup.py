"""``kmq warmup``: compile every kernel now, so that no later run has to."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from kmq.cli.console import DONE, Commands, add_command, say
from kmq.compiling import listening

if TYPE_CHECKING:
    from kmq.model.pixel_format import PixelFormat

_EXAMPLES = """\
  kmq warmup
  NUMBA_CACHE_DIR=/var/cache/kmq kmq warmup     keep the compiled kernels elsewhere
"""

_SET_ONE = "set NUMBA_CACHE_DIR to one that is)"
_EACH_TIME = f" each time: no cache folder is writable ({_SET_ONE}"

_SIDE = 24  # pixels of a trial picture's side: 576 of them, for more colours than any trial's k


def add(commands: Commands) -> None:
    """Add the sub-command."""
    add_command(
        commands,
        "warmup",
        run,
        summary="compile and keep every kernel, so that later runs start at once",
        examples=_EXAMPLES,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run every public path on something tiny, and say what that took and where it is kept."""
    from kmq.kernels._cache import cache_folder

    compiled: list[str] = []
    started = time.perf_counter()
    with listening(compiled.append, lambda _: None):
        for title, trial in _trials():
            before, count = time.perf_counter(), len(compiled)
            trial()
            seconds = time.perf_counter() - before
            print(f"{title:<58} {len(compiled) - count:>3} compiled, {seconds:5.1f} s", flush=True)
    folder = cache_folder()
    kept = f"kept in {folder}" if folder else "kept nowhere: no folder is writable (" + _SET_ONE
    print(f"{len(compiled)} kernels compiled in {time.perf_counter() - started:.1f} s")
    print(kept)
    return DONE


@contextmanager
def announcing() -> Iterator[None]:
    """Say on stderr, once, that kernels are being compiled, if that happens meanwhile."""
    announced = False

    def announce(_kernel: str) -> None:
        nonlocal announced
        if not announced:
            from kmq.kernels._cache import cache_folder

            announced = True
            say(
                "compiling kernels, which takes some seconds"
                + (" this first time" if cache_folder() else _EACH_TIME)
            )

    with listening(announce, lambda _: None):
        yield


def _trials() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield what to run, with a title."""
    from kmq.kernels.nearest import MOST_UNROLLED
    from kmq.model.pixel_format import PixelFormat

    for pixel_format in PixelFormat:
        title = f"quantize, encode and decode {pixel_format.label}"
        yield title, partial(_try_pictures, pixel_format)
    for dtype in ("float32", "float64"):
        for channels in range(1, MOST_UNROLLED + 2):
            title = f"kmeans, assign and accumulate {dtype}, {channels} channels"
            if channels > MOST_UNROLLED:
                title += " or more"
            yield title, partial(_try_points, dtype, channels)


def _try_pictures(pixel_format: PixelFormat) -> None:
    """Take few and many colours: indices are uint8 or uint16."""
    import numpy as np

    from kmq import Dither, Rate, decode, encode, error_curve, quantize
    from kmq.model.choices import DITHER_METHODS
    from kmq.model.pixel_format import PixelFormat
    from kmq.stages.coding.methods import STRIP_METHODS
    from kmq.stages.palette.clustering import INITS

    samples = np.random.default_rng(0).integers(
        0, pixel_format.max_value, (_SIDE, _SIDE, pixel_format.channels), endpoint=True
    )
    if pixel_format.depth == 1:
        picture = samples[:, :, 0].astype(np.bool_)
    else:
        picture = samples.astype(pixel_format.dtype)
    for k in (1, 4, 300):
        image = quantize(picture, k, pixel_format=pixel_format)
        for method in STRIP_METHODS:
            if image.n_colors <= method.most_colors:
                decode(encode(image, method=method.name))
    if pixel_format is PixelFormat.RGB24:  # all formats dither with the same kernels
        for k, dithering in product((4, 300), DITHER_METHODS):
            quantize(picture, k, mapping=Dither(method=dithering))
        encode(picture, ssim=0.01, max_colors=4)  # so do they compare structures
    for init in INITS[::2]:
        quantize(picture, 4, pixel_format=pixel_format, start=init)
    if pixel_format is not PixelFormat.CMYK32:
        quantize(picture, 4, pixel_format=pixel_format, space="eye")
    quantize(picture, 4, pixel_format=pixel_format, mapping=Rate(1))
    error_curve(picture, 4, pixel_format=pixel_format)
    if pixel_format.has_alpha:  # the search is another where all pixels are opaque
        picture[:, :, -1] = pixel_format.max_value
        quantize(picture, 4, pixel_format=pixel_format)
        error_curve(picture, 4, pixel_format=pixel_format)


def _try_points(dtype: str, channels: int) -> None:
    import numpy as np

    from kmq import accumulate, assign, kmeans

    points = np.random.default_rng(0).random((64, channels)).astype(dtype)
    for init in ("k-means++", "var-part"):
        result = kmeans(points, 4, init=init)
    labels = assign(points, result.centroids)
    accumulate(points, labels, 4)
