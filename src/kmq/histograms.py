"""What `kmq.ColorHistogram` does: counting pictures, adding up, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial, reduce
from typing import Any

import numpy as np

from kmq import checks
from kmq.errors import InputError
from kmq.model import formats
from kmq.model.arrays import Array
from kmq.model.choices import Progress
from kmq.model.file_info import Limits, checked_limits
from kmq.model.histogram import MAX_HISTOGRAM_COLORS, ColorHistogram
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
from kmq.pipeline import cluster
from kmq.pipeline.reading import read_picture
from kmq.stages.histogram import counting
from kmq.stages.histogram.file import pack, unpack
from kmq.stages.pictures.reading import checked_format, checked_page
from kmq.streams import (
    Source,
    Target,
    check_target,
    is_path,
    is_url,
    opened,
    write_all,
    written,
)
from kmq.threads import resolve_threads

Format = PixelFormatLabel | PixelFormat | None


def of_picture(
    picture: Any,
    pixel_format: Format,
    page: int | None,
    n_threads: int | None,
    limits: Limits | None,
) -> ColorHistogram:
    """Count the colours of a picture."""
    threads = resolve_threads(n_threads)
    wanted, page = checked_format(pixel_format), checked_page(page)
    pixels = read_picture(picture, wanted, page, checked_limits(limits), threads)
    color_map = counting.map_colors(pixels.samples, pixels.pixel_format, threads)
    return _limited(color_map.histogram)


def of_pictures(
    pictures: Iterable[Any],
    pixel_format: Format,
    page: int | None,
    n_threads: int | None,
    limits: Limits | None,
    progress: Progress | None,
    client: Any,
) -> ColorHistogram:
    """Count the colours of pictures, one at a time.

    Sums of about equal size are added, so that a colour is copied once for each doubling and not
    once for each picture. Those that wait, largest first, are less than twice the largest.
    """
    threads = resolve_threads(n_threads)
    progress = checks.progress(progress)
    pixel_format, page = checked_format(pixel_format), checked_page(page)
    limits = checked_limits(limits)
    is_array = isinstance(pictures, np.ndarray) and pictures.ndim < 4  # whose items are rows
    is_file = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview)
    is_file = is_file or hasattr(pictures, "read")
    if is_array or is_file or not isinstance(pictures, Iterable):
        raise TypeError(
            f"pictures is a single {type(pictures).__name__}; from_pictures takes several "
            "pictures, from_picture one"
        )
    total = len(pictures) if isinstance(pictures, Sized) else None
    count = partial(_counted, pixel_format=pixel_format, page=page, limits=limits)
    if client is not None:
        count = partial(count, n_threads=checks.given(n_threads, 1))
        return _counted_by(client, pictures, count, total, progress)
    waiting: list[ColorHistogram] = []
    for number, picture in enumerate(pictures, 1):
        waiting.append(count(picture, n_threads=threads))
        while len(waiting) > 1 and waiting[-2].n_colors < 2 * waiting[-1].n_colors:
            waiting.append(_merged(waiting.pop(), waiting.pop(), threads))
        if progress is not None and total:
            progress("histogram", number / total)
    if not waiting:
        raise InputError("there are no pictures; a histogram needs at least one")
    while len(waiting) > 1:
        waiting.append(_merged(waiting.pop(), waiting.pop(), threads))
    return waiting[0]


def _counted_by(
    client: Any,
    pictures: Iterable[Any],
    count: Callable[[Any], ColorHistogram],
    n_pictures: int | None,
    progress: Progress | None,
) -> ColorHistogram:
    """Count the colours of pictures on a Dask cluster."""
    if not hasattr(client, "submit"):
        raise TypeError(f"client is {type(client).__name__}; it must be a distributed.Client")

    def hear(n_counted: int) -> None:
        if progress is not None and n_pictures:
            progress("histogram", n_counted / n_pictures)

    colors = cluster.summed(map(_sendable, pictures), count, _sum, client, hear)
    if colors is None:
        raise InputError("there are no pictures; a histogram needs at least one")
    return colors


def _sendable(picture: Any) -> Any:
    """Return a picture as another process finds it: paths are absolute."""
    if hasattr(picture, "read") and not isinstance(picture, ColorHistogram):
        raise TypeError(
            "pictures has a file object, which cannot be sent to a cluster; it must be a path, a "
            "URL, bytes, an array or a histogram"
        )
    return os.path.abspath(picture) if is_path(picture) and not is_url(picture) else picture


def _counted(picture: Any, *, n_threads: int, **options: Any) -> ColorHistogram:
    """Return the histogram of a picture, or one that is given, once it is known to be in order."""
    if isinstance(picture, ColorHistogram):
        counting.ordered_keys(picture, n_threads)
        return picture
    return of_picture(picture, n_threads=n_threads, **options)


def _sum(histograms: Sequence[ColorHistogram]) -> ColorHistogram:
    return reduce(partial(_merged, n_threads=1), histograms)


def added(first: ColorHistogram, second: ColorHistogram) -> ColorHistogram:
    """Add two histograms of one pixel format."""
    if first.pixel_format is not second.pixel_format:
        raise InputError(
            f"histograms of {first.pixel_format.label} and {second.pixel_format.label} do not "
            "add up; bring them to one pixel format with to_format"
        )
    threads = resolve_threads(None)
    for either in (first, second):
        counting.ordered_keys(either, threads)
    return _merged(first, second, threads)


def converted(
    colors: ColorHistogram, pixel_format: PixelFormatLabel | PixelFormat
) -> ColorHistogram:
    """Return the histogram in another pixel format."""
    if isinstance(pixel_format, str):
        pixel_format = PixelFormat.from_label(pixel_format)
    entries = formats.converted(colors.colors, colors.pixel_format, pixel_format)
    return ColorHistogram(entries, colors.counts, pixel_format)


def write(colors: ColorHistogram, target: Target) -> None:
    """Write the file."""
    if is_path(target):
        checks.suffix(target, (".kmqhist",), "files of histograms")
    check_target(target)
    keys = counting.ordered_keys(_limited(colors), resolve_threads(None))
    packed = pack(keys, colors.counts, colors.pixel_format)
    with written(target) as stream:
        write_all(stream, [packed])


def read(source: Source) -> ColorHistogram:
    """Read the file."""

    def colors_of(keys: Array, pixel_format: PixelFormat) -> Array:
        return counting.colors_of(keys, pixel_format, resolve_threads(None))

    with opened(source) as stream:
        return ColorHistogram(*unpack(stream, counting.key_type, colors_of))


def _merged(first: ColorHistogram, second: ColorHistogram, n_threads: int) -> ColorHistogram:
    common = formats.common_format(first.pixel_format, second.pixel_format)
    return _limited(counting.merge(converted(first, common), converted(second, common), n_threads))


def _limited(colors: ColorHistogram) -> ColorHistogram:
    if colors.n_colors > MAX_HISTOGRAM_COLORS:
        raise InputError(
            f"there are {colors.n_colors} distinct colours; a histogram holds up to "
            f"{MAX_HISTOGRAM_COLORS}: convert the pictures to 8 bits per sample first"
        )
    return colors
