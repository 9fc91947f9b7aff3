"""The door of the main job: `quantize`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from kmq import checks, pipeline
from kmq.model import MAX_COLORS, IndexedImage, PixelFormat
from kmq.stages import clustering
from kmq.stages.clustering import Array, Progress
from kmq.stages.pixels import read_pixels
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = "Array | Image | str | os.PathLike[str]"


def quantize(
    picture: Array | Image | str | os.PathLike[str],
    k: int = 64,
    *,
    pixel_format: str | PixelFormat | None = None,
    seed: int = 0,
    init: str | ArrayLike = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> IndexedImage:
    """Reduce a picture to at most `k` colours by k-means on its pixels.

    The squared error in the picture's own samples is what is minimised. A picture with at most `k`
    distinct colours comes back exactly, with just those colours.

    Args:
        picture: array (h, w), (h, w, 1 to 4), bool, uint8 or uint16; a Pillow image; or a path.
            Four uint8 channels are RGBA unless `pixel_format` says "CMYK".
        k: colours of the palette, 1 to 65,536.
        pixel_format: what the pixels are, where the array alone does not tell.
        seed: 0 to 2^32 - n_init; the same picture, options and seed give the same bytes.
        init: where k-means starts: "k-means++", "random", "var-part" (needs no seed) or an array
            (k, channels) of colours. All but "random" and an array search on coarse bins of the
            colours first.
        n_init: starts tried, with seeds from `seed` upward; the best is kept.
        max_iter: rounds of k-means at most.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
        progress: called as progress(stage, fraction); an exception it raises stops the work and is
            passed on.

    Returns:
        The image with its palette sorted, every entry used, and a `report`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.
        MissingExtraError: a 16-bit colour file without the extra that reads it.
        OSError: the path cannot be read.

    Cost: O(pixels + distinct colours · k) a round; memory about twice the picture's.
    """
    k = checks.whole_number(k, "k", 1, MAX_COLORS)
    pixels = read_pixels(picture, pixel_format)
    n_init = checks.whole_number(n_init, "n_init", 1, 10_000)
    options = pipeline.KMeansOptions(
        seed=checks.whole_number(seed, "seed", 0, checks.MAX_SEED + 1 - n_init),
        init=checks.init_method(init, clustering.INITS, k, pixels.pixel_format.channels),
        n_init=n_init,
        max_iter=checks.whole_number(max_iter, "max_iter", 1, 1_000_000),
        tol=checks.tolerance(tol),
        n_threads=resolve_threads(n_threads),
        progress=progress,
    )
    return pipeline.quantize_pixels(pixels, k, options)
