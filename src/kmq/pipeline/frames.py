"""Files → frames of a sequence → images with one palette, or one each, that do not flicker.

A pixel that has not changed since the frame before keeps its colour. So dithering and new palettes
alter only pixels that change.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np

from kmq.model import formats
from kmq.model.arrays import Array, looked_up
from kmq.model.file_info import Limits
from kmq.model.image import Pixels, QuantizedImage, check_sizes, index_dtype
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline.reading import in_format, is_kmq_file, pixels_of_image
from kmq.pipeline.sequences import FrameReader, places_in
from kmq.stages.histogram.counting import map_colors
from kmq.stages.mapping import metrics, optimizing
from kmq.stages.palette import spaces
from kmq.stages.pictures import animation
from kmq.stages.pictures.animation import Animation
from kmq.stages.pictures.gif import Loss
from kmq.streams import Source, opened

Quantize = Callable[[Pixels], QuantizedImage]
FindMore = Callable[[Pixels, Array, Array], QuantizedImage]
MapTo = Callable[[Pixels, Array], QuantizedImage]


def read_animation(
    source: str | os.PathLike[str] | io.BytesIO, limits: Limits, n_threads: int
) -> Animation:
    """Return all frames of a .kmq, GIF, APNG or WebP file, each as it is shown.

    Raises:
        InputError: it cannot be read, or has more pixels in all than the limit.
        FormatError: a .kmq file that is damaged or exceeds the limits.
        OSError: the path cannot be read.
    """
    if not is_kmq_file(source):
        return animation.read_animation(source, limits)
    with opened(cast(Source, source)) as stream:
        reader = FrameReader(stream, limits, n_threads)
        frames = [pixels_of_image(image) for image in reader.images(range(reader.n_frames))]
    return Animation(frames, reader.delays, reader.plays)


def alike(frames: Sequence[Pixels]) -> list[Pixels]:
    """Return frames in the least pixel format that holds all.

    Raises:
        InputError: they differ in size, or have no pixel format in common.
    """
    check_sizes(frame.samples.shape[1::-1] for frame in frames)
    common = frames[0].pixel_format
    for frame in frames:
        common = formats.common_format(common, frame.pixel_format)
    return [in_format(frame, common) for frame in frames]


def with_one_palette(
    frames: Sequence[Pixels], find: Quantize, map_to: MapTo | None
) -> Iterator[QuantizedImage]:
    """Yield the images with one palette for all.

    Args:
        frames: what `alike` returns.
        find: quantizes the picture of all frames, one above the other.
        map_to: maps a frame to the palette; None takes the indices that `find` gave.
    """
    height = len(frames[0].samples)
    samples = np.concatenate([frame.samples for frame in frames])
    whole = find(Pixels(samples, frames[0].pixel_format))

    def part(number: int, frame: Pixels) -> QuantizedImage:
        indices = whole.indices[number * height : (number + 1) * height]
        n_colors = map_colors(frame.samples, frame.pixel_format, 1).histogram.n_colors
        report = replace(whole.report, colors_in=n_colors)
        return replace(whole, indices=indices, metadata=frame.metadata, report=report)

    images = (
        part(number, frame) if map_to is None else map_to(frame, whole.palette)
        for number, frame in enumerate(frames)
    )
    yield from with_given_palette(frames, images)


def with_given_palette(
    frames: Sequence[Pixels], images: Iterable[QuantizedImage]
) -> Iterator[QuantizedImage]:
    """Yield images of one palette, in which pixels that stand still keep their index."""
    before = shown = None
    for frame, mapped in zip(frames, images, strict=True):
        image = mapped
        if before is not None and shown is not None:
            image = _settled(image, np.where(_still(before, frame), shown.indices, image.indices))
        before, shown = frame, _with_report(image, frame)
        yield shown


def with_own_palettes(
    frames: Sequence[Pixels], find: Quantize, find_more: FindMore, map_to: MapTo, k: int
) -> Iterator[QuantizedImage]:
    """Yield the images with a palette each, which holds the colours that still pixels show.

    Args:
        frames: what `alike` returns.
        find: quantizes a frame by itself.
        find_more: quantizes a frame with entries that must be there, by the pixels that count.
        map_to: maps a frame to a palette.
        k: most colours.
    """
    shown = _with_report(find(frames[0]), frames[0])
    yield shown
    for before, frame in pairwise(frames):
        still = _still(before, frame)
        used = np.unique(shown.indices[still])
        if not len(used):
            image = find(frame)
        elif still.all():
            image = replace(shown, metadata=frame.metadata)
        elif len(used) < k:
            image = find_more(frame, shown.palette[used], ~still)
        else:
            image = map_to(frame, shown.palette)
        if len(used):
            places = places_in(image.palette, shown.palette)
            image = _settled(image, np.where(still, places[shown.indices], image.indices))
        shown = _with_report(image, frame)
        yield shown


def loss_of(frames: Sequence[Pixels], lam: float, n_threads: int) -> Loss:
    """Return what a GIF file of frames, of 8 bits, may lose: λ times the images' error a bit.

    Errors are meant as `stages.mapping.optimizing` means them, after the eye's own blur.
    """
    space = spaces.space_of("eye", PixelFormat.RGB24)
    side = np.array(
        [optimizing.SOFT if soft else optimizing.SHARP for soft in space.is_chroma] + [0.0]
    )
    middle = 1 - 2 * side
    norms = middle * middle + 2 * side * side
    taps = np.stack([norms, 2 * side * middle, side * side]) / norms

    def see(samples: Array) -> Array:
        rows = np.zeros((len(samples), len(side)), np.float32)
        columns = space.columns(np.ascontiguousarray(samples), n_threads)
        rows[:, : len(columns)] = columns.T * norms[: len(columns)]
        return rows

    originals = [in_format(_opaque(frame), PixelFormat.RGB24).samples for frame in frames]
    return Loss(lam, originals, see, taps.astype(np.float32), optimizing.OWN)


def _opaque(frame: Pixels) -> Pixels:
    """Return a frame without its alpha."""
    if not frame.pixel_format.has_alpha:
        return frame
    solid = formats.without_alpha(frame.pixel_format)
    return Pixels(np.ascontiguousarray(frame.samples[..., :-1]), solid)


def _still(before: Pixels, frame: Pixels) -> Array:
    """Return which pixels (height, width) of a frame have not changed since the one before."""
    same: Array = (before.samples == frame.samples).all(axis=2)
    return same


def _settled(image: QuantizedImage, indices: Array) -> QuantizedImage:
    return replace(image, indices=indices.astype(index_dtype(len(image.palette))))


def _with_report(image: QuantizedImage, frame: Pixels) -> QuantizedImage:
    """Return the image with the errors of this frame in its report."""
    samples = in_format(frame, image.pixel_format).samples
    shown = looked_up(image.palette, image.indices)
    mse = metrics.mse(samples, shown, has_alpha=image.pixel_format.has_alpha)
    report = replace(image.report, mse=mse, psnr=metrics.psnr(mse, image.pixel_format))
    return replace(image, report=report)
