"""The door of the main job: `quantize`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from kmq import checks, pipeline
from kmq.errors import InputError
from kmq.model import MAX_COLORS, IndexedImage, PixelFormat, Pixels, Progress
from kmq.stages import clustering
from kmq.stages.clustering import Array
from kmq.stages.container import SIGNATURE
from kmq.stages.pixels import read_pixels
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from PIL.Image import Image


def quantize(
    picture: Array | Image | IndexedImage | str | os.PathLike[str],
    k: int = 64,
    *,
    effort: str | None = None,
    pixel_format: str | PixelFormat | None = None,
    seed: int = 0,
    init: str | ArrayLike | None = None,
    n_init: int = 1,
    max_iter: int | None = None,
    tol: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> IndexedImage:
    """Reduce a picture to at most `k` colours by k-means on its pixels.

    The squared error in the picture's own samples is what is minimised. A picture with at most `k`
    distinct colours comes back exactly, with just those colours.

    Unless a start is given, the palette is searched for on coarse bins of the colours: a start by
    variance-based splitting (Su & Dy 2007), then breathing k-means (Fritzke 2020), then rounds on
    all colours. Nothing in it is random. With a start, this is k-means as it is known: assign each
    colour to the nearest centre, move each centre to the mean, until they rest.

    Args:
        picture: array (h, w), (h, w, 1 to 4), bool, uint8 or uint16; a Pillow image; an
            `IndexedImage`; or the path of a picture. Four uint8 channels are RGBA unless
            `pixel_format` says "CMYK".
        k: colours of the palette, 1 to 65,536.
        effort: how long to search: "fast", "balanced" (the default) or "best". Not with `init`.
        pixel_format: what the pixels are, where the array alone does not tell.
        seed: 0 to 2^32 - n_init, for the random starts; the same picture, options and seed give
            the same bytes.
        init: None searches; "k-means++" (greedy), "random", "var-part" (needs no seed) or an array
            (k, channels) of colours runs plain k-means from that start.
        n_init: random starts tried, with seeds from `seed` upward; the best is kept. More than one
            without `init` means "k-means++".
        max_iter: rounds on all colours at most; None leaves it to `effort`, or 300 with `init`.
        tol: stop when the squared moves of all centroids sum to at most tol × the mean variance of
            the channels; 0 goes on until no centroid moves. None is 1e-4, or sooner with little
            effort.
        n_threads: 1 to 256; None takes ``KMQ_NUM_THREADS`` or all cores. Never changes the result.
        progress: called as progress(stage, fraction); an exception it raises stops the work and is
            passed on.

    Returns:
        The image with its palette sorted, every entry used, and a `report`.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: a picture or option that cannot be used.
        FormatError: the path is that of a damaged .kmq file.
        MissingExtraError: a 16-bit colour file without the extra that reads it.
        OSError: the path cannot be read.

    Cost: O(pixels), and O(distinct colours) a round with a tenth of k comparisons for each; memory
    about twice the picture's.
    """
    k = checks.whole_number(k, "k", 1, MAX_COLORS)
    n_init = checks.whole_number(n_init, "n_init", 1, 10_000)
    n_threads = resolve_threads(n_threads)
    if init is None and n_init > 1:
        init = "k-means++"
    if init is not None and effort is not None:
        raise InputError("effort and init are both given; a given start is not searched from")
    if max_iter is not None:
        max_iter = checks.whole_number(max_iter, "max_iter", 1, 1_000_000)
    effort = checks.one_of("balanced" if effort is None else effort, "effort", pipeline.EFFORTS)
    pixels = _read(picture, pixel_format, n_threads)
    if init is not None:
        init = checks.init_method(init, clustering.INITS, k, pixels.pixel_format.channels)
    options = pipeline.KMeansOptions(
        effort=effort,
        seed=checks.whole_number(seed, "seed", 0, checks.MAX_SEED + 1 - n_init),
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=None if tol is None else checks.tolerance(tol),
        n_threads=n_threads,
        progress=progress,
    )
    return pipeline.quantize_pixels(pixels, k, options)


def _read(
    picture: Array | Image | IndexedImage | str | os.PathLike[str],
    pixel_format: str | PixelFormat | None,
    n_threads: int,
) -> Pixels:
    """Return the picture's pixels; `.kmq` files are read by kmq, everything else by the stage."""
    if isinstance(picture, str | os.PathLike):
        with open(picture, "rb") as file:
            is_kmq = file.read(len(SIGNATURE)) == SIGNATURE
        if is_kmq:
            from kmq.files import read

            picture = read(picture, n_threads=n_threads)
    if not isinstance(picture, IndexedImage):
        return read_pixels(picture, pixel_format)
    if pixel_format is not None:
        raise InputError("pixel_format is given with a picture that states its own")
    return Pixels(picture.palette[picture.indices], picture.pixel_format, picture.metadata)
