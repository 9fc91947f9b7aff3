"""The door for sequences: `quantize_frames`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kmq import checks
from kmq.colors import GivenColors
from kmq.errors import InputError
from kmq.model.choices import Effort, MappingName, Progress
from kmq.model.file_info import Limits, checked_limits
from kmq.model.image import MAX_COLORS, IndexedImage, Pixels, QuantizedImage
from kmq.options import Options
from kmq.pipeline import frames as sequences
from kmq.pipeline.reading import Picture, read_picture, reread
from kmq.stages.palette.spaces import SpaceName
from kmq.stages.pictures.animation import frames_of, read_animation
from kmq.stages.pictures.pillow import is_pillow
from kmq.streams import is_path
from kmq.threads import resolve_threads
from kmq.values import Dither, Optimize, Rate, Space

if TYPE_CHECKING:
    from kmq.model.arrays import Array

SHARED, EACH = "shared", "each"

_DEFAULT_COLORS = 64

_STACK_DIMENSIONS = 3
"""Of an array (frames, height, width), which has frames; one of fewer dimensions is a picture."""


@checks.hinting()
def quantize_frames(
    frames: Iterable[Picture | Pixels] | Picture,
    k: int | None = None,
    *,
    palette: Literal["shared", "each"] | GivenColors | str | os.PathLike[str] | None = None,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    mapping: MappingName | Dither | Optimize | Rate | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> list[QuantizedImage]:
    """Reduce the frames of a sequence to a few colours, so that still parts do not flicker.

    A pixel that has not changed since the frame before keeps its colour.

    Args:
        frames: pictures of one size, see `quantize`; or one animated file (GIF, APNG, WebP), by its
            path, its bytes or a file object.
        k: most colours of a palette, 1 to 65,536; None is 64. GIF files hold 256.
        palette: "shared" (the default) is one for all frames. "each" is one for each frame: it
            keeps the colours that still pixels show, and has the others for what changes. Or given
            colours, see `quantize`.
        effort: see `quantize`.
        space: see `quantize`.
        mapping: see `quantize`; "ordered" suits sequences, since its pattern stands still.
        n_threads: see `quantize`.
        limits: the largest picture, and the most pixels of all frames of one file; see `quantize`.
        progress: called as progress("frames", fraction) after each frame.

    Returns:
        An image for each frame, in their order, with a `report` of its own error.

    Raises:
        TypeError: an argument of the wrong type.
        InputError: there are no frames, they differ in size, or an option cannot be used.
        OSError: a path cannot be read.

    Cost: as `quantize` for all frames as one picture; memory of all frames.

    >>> red, blue = np.zeros((2, 4, 4, 3), np.uint8)
    >>> red[..., 0], blue[..., 2] = 255, 255
    >>> [image.hex for image in kmq.quantize_frames([red, blue], 2)]
    [('#0000ff', '#ff0000'), ('#0000ff', '#ff0000')]
    """
    threads, limits = resolve_threads(n_threads), checked_limits(limits)
    k = checks.whole_number(checks.given(k, _DEFAULT_COLORS), "k", 1, MAX_COLORS)
    hear = checks.progress(progress)
    kind = palette if isinstance(palette, str) and palette in (SHARED, EACH) else None
    kind = SHARED if palette is None else kind
    common: dict[str, Any] = {"space": space, "n_threads": threads, "mapping": mapping}
    searched = {**common, "k": k, "effort": effort}
    options = Options.checked(**(searched if kind else {**common, "palette": palette}))

    def map_to(frame: Pixels, entries: Any) -> QuantizedImage:
        return Options.checked(**common, palette=entries).quantized(frame)

    def find(frame: Pixels, **more: Any) -> QuantizedImage:
        return Options.checked(**{**searched, **more}).quantized(frame)

    def find_more(frame: Pixels, entries: Array, counts: Array) -> QuantizedImage:
        return find(frame, require=entries, weights=counts)

    pixels = sequences.alike(_read(frames, limits, threads))
    if kind is None:
        mapped = (options.quantized(frame) for frame in pixels)
        images = sequences.with_given_palette(pixels, mapped)
    elif kind == EACH:
        images = sequences.with_own_palettes(pixels, find, find_more, map_to, k)
    elif options.dither is not None:  # frame by frame, so that no error goes from one to the next
        images = sequences.with_one_palette(pixels, partial(find, mapping="nearest"), map_to)
    else:
        images = sequences.with_one_palette(pixels, find, None)
    made = []
    for number, image in enumerate(images, 1):
        made.append(image)
        if hear is not None:
            hear("frames", number / len(pixels))
    return made


def _read(frames: Any, limits: Limits, n_threads: int) -> list[Pixels]:
    """Return the frames of a sequence, or of one file.

    Raises:
        TypeError: it is neither.
        InputError: there are none.
    """
    frames = reread(frames)
    if is_path(frames) or isinstance(frames, io.BytesIO):
        return read_animation(frames, limits).frames
    if is_pillow(frames):
        return frames_of(frames, limits)
    is_picture = isinstance(frames, IndexedImage) or (
        isinstance(frames, np.ndarray) and frames.ndim < _STACK_DIMENSIONS
    )
    if is_picture or not isinstance(frames, Iterable):
        raise TypeError(
            f"frames is a single {type(frames).__name__}; it must be several pictures, or one "
            "animated file"
        )
    pixels = [read_picture(frame, None, None, limits, n_threads) for frame in frames]
    if not pixels:
        raise InputError("there are no frames; a sequence has at least one")
    return pixels
