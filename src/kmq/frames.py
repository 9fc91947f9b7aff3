"""The doors for sequences: quantize_frames, write_frames, read_frames."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np

from kmq import checks
from kmq.colors import GivenColors
from kmq.errors import InputError, MetadataWarning, SalvageWarning
from kmq.model.choices import (
    EFFORTS,
    PICTURES,
    Effort,
    MappingName,
    OnError,
    Progress,
    is_picture,
)
from kmq.model.file_info import MAX_FRAMES, MAX_PLAYS, Limits, checked_limits
from kmq.model.image import MAX_COLORS, IndexedImage, Pixels, QuantizedImage
from kmq.options import Options
from kmq.pipeline import frames as quantization
from kmq.pipeline import sequences
from kmq.pipeline.frames import read_animation
from kmq.pipeline.reading import Picture, read_picture, reread
from kmq.stages.coding.methods import MethodName, strip_method
from kmq.stages.container.chunks import SUFFIXES
from kmq.stages.palette.spaces import SpaceName
from kmq.stages.pictures.animation import (
    DEFAULT_DELAY,
    FOREVER,
    Animation,
    animation_bytes,
    animation_of,
)
from kmq.stages.pictures.gif import Loss
from kmq.stages.pictures.pillow import is_pillow
from kmq.stages.pictures.writing import metadata_left_out
from kmq.streams import Source, Target, check_target, is_path, opened, write_all, written
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
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    quantize = _quantizer(k, palette, effort, space, mapping, threads, progress)
    return quantize(_read(frames, limits, threads).frames)


@checks.hinting()
def write_frames(
    target: Target,
    frames: Iterable[Picture | Pixels] | Picture,
    k: int | None = None,
    *,
    delays: float | Iterable[float] | None = None,
    plays: int | None = None,
    key_interval: int | None = None,
    palette: Literal["shared", "each"] | GivenColors | str | os.PathLike[str] | None = None,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    mapping: MappingName | Dither | Optimize | Rate | None = None,
    method: MethodName | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a sequence as a .kmq, GIF, animated PNG or lossless WebP file.

    Of each frame the file has what it changes. To a path it appears whole or not at all.

    Args:
        target: a path that ends in ``.gif``, ``.png`` or ``.webp``; or, for a .kmq file, a path
            that ends in ``.kmq`` or has no suffix, or a file object open for binary writing.
        frames: images of one size and pixel format, such as `quantize_frames` returns, which are
            stored as they are; or anything that `quantize_frames` takes, which is quantized first.
        k: see `quantize_frames`, also for the arguments not described here. They do not go with
            images, which have palettes.
        delays: milliseconds that each frame is shown, or one number for all, 0 to 21,474,836;
            None for those of the file that `frames` is, or 100.
        plays: how often all is played, 0 to 65,535; 0 is without end. None for that of the file
            that `frames` is, or 0.
        key_interval: of .kmq files, the most frames from one key frame to the next, 1 to 65,536.
            Reading begins at a key frame, so a small number makes single frames quick to read, and
            the file large. None sets a key frame once a million pixels, or those of four whole
            pictures, have changed.
        palette: see `quantize_frames`.
        effort: how long to search for a good palette and a small file.
        space: see `quantize_frames`.
        mapping: see `quantize_frames`.
        method: of .kmq files, the coder of the indices; see `encode`.
        n_threads: see `quantize_frames`. The bytes do not depend on it.
        limits: most pixels of all frames together, and most work to decode them; see `encode`.
        progress: see `quantize_frames`.

    Raises:
        InputError: as for `quantize_frames`; or a file of that kind cannot hold the frames, or
            there are not as many delays.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be written.

    Warns:
        MetadataWarning: metadata of the first frame that the file cannot hold are left out.

    >>> frames = np.zeros((3, 32, 32, 3), np.uint8)
    >>> frames[1, 8:16, 8:16] = frames[2, 8:16, 12:20] = 255
    >>> kmq.write_frames("clip.kmq", frames, delays=40)
    >>> kmq.info("clip.kmq")
    <kmq.FileInfo 3 frames of 32x32 RGB, 2 colours, 1 strip, ... bytes>
    """
    path = ""
    if is_path(target):
        path = os.fsdecode(target)
        checks.suffix(path, (SUFFIXES[0], *PICTURES), "files that write_frames makes")
    check_target(target)
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    code = coder(path, effort, method, key_interval, threads, limits)
    plays = None if plays is None else checks.whole_number(plays, "plays", 0, MAX_PLAYS)
    times = _checked_delays(delays)
    chosen = {"k": k, "palette": palette, "space": space, "mapping": mapping}
    frames = _listed(reread(frames))
    with written(target) as stream:  # first, to find out that there can be no such file
        if _are_images(frames):
            if names := [name for name, value in chosen.items() if value is not None]:
                raise InputError(
                    f"{', '.join(names)} given with images, which are stored as they are; "
                    "quantize_frames takes the pictures they were made from"
                )
            images = frames
            animation = Animation([], [DEFAULT_DELAY] * len(images), FOREVER)
        else:
            quantize = _quantizer(k, palette, effort, space, mapping, threads, progress)
            animation = _read(frames, limits, threads)
            images = list(quantize(animation.frames))
        times = _for_each(times, animation.durations, len(images))
        write_all(stream, code(images, times, animation.plays if plays is None else plays))
    if is_picture(path) and (left_out := metadata_left_out(images[0].metadata, path)):
        warnings.warn(left_out, MetadataWarning, stacklevel=3)


def read_frames(
    source: Source,
    start: int | None = None,
    stop: int | None = None,
    *,
    on_error: OnError | None = None,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> list[IndexedImage]:
    """Read frames of a .kmq file exactly as they were written.

    kmq decodes from the last key frame up to `start` on, and reads nothing before it if the file
    can seek. `kmq.info` tells times and key frames. A still picture is one frame.

    Args:
        source: a path, the bytes of the file, or a file object open for binary reading, which is
            read from where it stands and stays open.
        start: the first frame wanted, counted from 0; None for 0.
        stop: the frame after the last one wanted, at most how many there are; None for all.
        on_error: what to do about damage: ``"raise"`` a FormatError that names the frames (the
            default), or ``"salvage"`` the rest. A lost frame then shows the one before, its `lost`
            says that all rows are, and a `kmq.SalvageWarning` says what happened.
        limits: what to accept, `pixels` being those of all frames; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Returns:
        An image for each frame. All have the metadata of the file.

    Raises:
        InputError: there are no such frames.
        FormatError: the file is damaged (with chunk and offset), holds a label map, needs a newer
            kmq (NewerFormatError), or holds more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.

    >>> kmq.write_frames("clip.kmq", np.zeros((3, 32, 32, 3), np.uint8))
    >>> kmq.read_frames("clip.kmq", 1)
    [<kmq.IndexedImage 32x32 RGB, 1 colours>, <kmq.IndexedImage 32x32 RGB, 1 colours>]
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    first = checks.whole_number(checks.given(start, 0), "start", 0, MAX_FRAMES - 1)
    end = None if stop is None else checks.whole_number(stop, "stop", 1, MAX_FRAMES)
    salvaging = checks.salvaging(on_error)
    with opened(source) as stream:
        if salvaging:
            images, damage = sequences.salvaged(stream, limits, threads)
            if damage is not None:
                name = os.fsdecode(source) if is_path(source) else "the file"
                warnings.warn(f"{name} is damaged: {damage}", SalvageWarning, stacklevel=2)
            wanted = _wanted(first, end, len(images))
            return images[wanted.start : wanted.stop]
        reader = sequences.FrameReader(stream, limits, threads)
        return list(reader.images(_wanted(first, end, reader.n_frames)))


def _wanted(first: int, end: int | None, n_frames: int) -> range:
    end = n_frames if end is None else end
    if not first < end <= n_frames:
        raise InputError(
            f"frames {first} to {end} are asked for; the file has {n_frames}, counted from 0"
        )
    return range(first, end)


def coder(
    path: str,
    effort: Any,
    method: Any,
    key_interval: Any,
    n_threads: int,
    limits: Limits,
    loss: Loss | None = None,
) -> Callable[[Sequence[IndexedImage], Sequence[float], int], list[bytes]]:
    """Return what makes the pieces of a file of that name; raise InputError or TypeError.

    `loss` is what a GIF file may lose.
    """
    effort = checks.one_of(checks.given(effort, "balanced"), "effort", EFFORTS)
    if is_picture(path):
        for name, value in {"method": method, "key_interval": key_interval}.items():
            if value is not None:
                raise InputError(f"{name} is given for {path}; it is about .kmq files")
        suffix = os.path.splitext(path)[1].lower()
        return lambda images, delays, plays: [animation_bytes(images, delays, plays, suffix, loss)]
    if method is not None:
        strip_method(method)
    if key_interval is not None:
        key_interval = checks.whole_number(key_interval, "key_interval", 1, MAX_FRAMES)
    return sequences.SequenceCoding(effort, method, key_interval, n_threads, limits).pieces


def _checked_delays(delays: Any) -> list[float] | float | None:
    """Return delays in milliseconds, one for all or one for each frame."""
    if delays is None:
        return None
    is_one = not isinstance(delays, Iterable) or getattr(delays, "ndim", 1) == 0
    if is_one or isinstance(delays, str | bytes):
        return checks.within(delays, "delays", 0, sequences.MAX_DELAY)
    return [
        checks.within(delay, f"delays, of frame {number},", 0, sequences.MAX_DELAY)
        for number, delay in enumerate(delays, 1)
    ]


def _for_each(delays: list[float] | float | None, usual: list[float], n_frames: int) -> list[float]:
    """Return a delay for each frame; `usual` are those that hold if none are given."""
    if delays is None:
        return usual
    if isinstance(delays, float):
        return [delays] * n_frames
    if len(delays) != n_frames:
        raise InputError(f"there are {len(delays)} delays and {n_frames} frames")
    return delays


def _listed(frames: Any) -> Any:
    """Return a list of what can be gone through, perhaps only once; a file or array as it is."""
    is_one = is_path(frames) or isinstance(frames, io.BytesIO | np.ndarray | IndexedImage)
    return list(frames) if isinstance(frames, Iterable) and not is_one else frames


def _are_images(frames: Any) -> TypeGuard[list[IndexedImage]]:
    return (
        isinstance(frames, list)
        and len(frames) > 0
        and all(isinstance(frame, IndexedImage) for frame in frames)
    )


def _quantizer(
    k: Any,
    palette: Any,
    effort: Any,
    space: Any,
    mapping: Any,
    n_threads: int,
    progress: Any,
) -> Callable[[Sequence[Pixels]], list[QuantizedImage]]:
    """Return what quantizes frames; the arguments are those of `quantize_frames`, checked here."""
    k = checks.whole_number(checks.given(k, _DEFAULT_COLORS), "k", 1, MAX_COLORS)
    hear = checks.progress(progress)
    kind = palette if isinstance(palette, str) and palette in (SHARED, EACH) else None
    kind = SHARED if palette is None else kind
    common: dict[str, Any] = {"space": space, "n_threads": n_threads, "mapping": mapping}
    searched = {**common, "k": k, "effort": effort}
    options = Options.checked(**(searched if kind else {**common, "palette": palette}))

    def map_to(frame: Pixels, entries: Any) -> QuantizedImage:
        return Options.checked(**common, palette=entries).quantized(frame)

    def find(frame: Pixels, **more: Any) -> QuantizedImage:
        return Options.checked(**{**searched, **more}).quantized(frame)

    def find_more(frame: Pixels, entries: Array, counts: Array) -> QuantizedImage:
        return find(frame, require=entries, weights=counts)

    def quantize(frames: Sequence[Pixels]) -> list[QuantizedImage]:
        pixels = quantization.alike(frames)
        if kind is None:
            mapped = (options.quantized(frame) for frame in pixels)
            images = quantization.with_given_palette(pixels, mapped)
        elif kind == EACH:
            images = quantization.with_own_palettes(pixels, find, find_more, map_to, k)
        elif options.dither is not None:
            # Frame by frame, so that no error goes from one to the next.
            images = quantization.with_one_palette(pixels, partial(find, mapping="nearest"), map_to)
        else:
            images = quantization.with_one_palette(pixels, find, None)
        made = []
        for number, image in enumerate(images, 1):
            made.append(image)
            if hear is not None:
                hear("frames", number / len(pixels))
        return made

    return quantize


def _read(frames: Any, limits: Limits, n_threads: int) -> Animation:
    """Return the frames of a sequence, or of one file with its times.

    Raises:
        TypeError: it is neither.
        InputError: there are none.
    """
    frames = reread(frames)
    if is_path(frames) or isinstance(frames, io.BytesIO):
        return read_animation(frames, limits, n_threads)
    if is_pillow(frames):
        return animation_of(frames, limits)
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
    return Animation.of_pictures(pixels)
