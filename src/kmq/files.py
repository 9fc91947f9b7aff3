"""The doors to .kmq files: encode, decode, write, read, read_region, info."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, Unpack, overload

from kmq import checks
from kmq.errors import FormatError, InputError, LimitError, SalvageWarning
from kmq.model.choices import EFFORTS, Effort
from kmq.model.file_info import MAX_STRIPS, FileInfo, Limits
from kmq.model.image import MAX_SIDE, IndexedImage, Metadata
from kmq.options import QuantizeOptions
from kmq.stages.coding.methods import MethodName, even_strip_height, plan_strips, strip_method
from kmq.stages.coding.palettes import decode_palette, encode_palette
from kmq.stages.coding.strips import decode_strips, encode_strips, salvage_strips
from kmq.stages.container import chunks, file, salvage
from kmq.stages.pictures import writing
from kmq.streams import Source, Target, check_target, opened, write_all, written
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from kmq.quantizing import PlainPicture


OnError: TypeAlias = Literal["raise", "salvage"]

SUFFIXES = (".kmq", ".kmqpal")
"""Suffixes of .kmq files: of any picture, and of one that is a palette."""

_ON_ERROR = ("raise", "salvage")
_DECODES = " (kmq.decode takes bytes)"
_MOST_NAMED = 10  # strips that a warning names


class FileOptions(QuantizeOptions, total=False):
    """What `encode` and `write` take besides: what the file is to be like."""

    size: int | None
    bpp: float | None
    ssim: float | None


@overload
def encode(
    picture: IndexedImage,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
) -> bytes: ...
@overload
def encode(
    picture: PlainPicture,
    k: int | None = None,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    **quantize_options: Unpack[FileOptions],
) -> bytes: ...
@checks.hinting(*FileOptions.__annotations__)
def encode(
    picture: Any,
    k: int | None = None,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    **quantize_options: Unpack[FileOptions],
) -> bytes:
    """Return a picture as the bytes of a .kmq file.

    Args:
        picture: a `kmq.IndexedImage`, which is stored as it is, the order of its palette
            included; or anything `kmq.quantize` takes, which is quantized first.
        k: colours of the palette; 64, or what a target among the options needs, if left out. Not
            with an IndexedImage, which has its own.
        effort: time to take, ``"fast"``, ``"balanced"`` or ``"best"``; None is "balanced". A
            palette that is searched for is searched for so long; a start (`init`) or an
            IndexedImage leaves nothing to search for.
        method: how indices are coded, ``"deflate"``, ``"mix"`` or, for up to 256 colours,
            ``"rank"``; None leaves the choice to kmq. Where "mix" takes more work to decode than
            `limits` allow, which no photograph does, a quicker method takes its place.
        strip_height: rows that are coded, and can be decoded, by themselves; None for strips of
            about a quarter of a million pixels.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores. The bytes do not
            depend on it.
        limits: how many pixels and bytes of metadata a picture may have, and how much work it may
            take to decode; None for `kmq.Limits()`, which readers take, too. Who reads a larger one
            passes as much.
        **quantize_options: options of `kmq.quantize`. Not with an IndexedImage. And one of these
            targets, for which kmq chooses the number of colours and `rate` together, at about ten
            times the cost: ``size``, the most bytes of the file, which it comes within 2 % of
            (with `k` or `palette`, by the rate alone), or ``bpp``, the same as bits per pixel;
            ``psnr``, ``max_mse`` or ``ssim`` (above 0, below 1), of which the smallest file
            found that reaches it is taken. `max_colors` limits the colours; ``psnr`` and ``ssim``
            are then reached as far as that goes.

    Raises:
        InputError: an argument is out of range, or contradicts another; a target cannot be met;
            the picture exceeds the limits; or the metadata do not fit the format.
        TypeError: an argument is of the wrong type.
    """
    how = Coding.checked(effort, method, strip_height, n_threads, limits)
    return b"".join(_encoded(picture, k, how, quantize_options))


def decode(
    encoded: bytes | bytearray | memoryview,
    *,
    on_error: OnError | None = None,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> IndexedImage:
    """Return the image that the bytes of a .kmq file hold.

    Bytes after the file's end mark are not looked at.

    Args:
        encoded: the file; any object with the buffer protocol.
        on_error: what to do about damage: ``"raise"`` a FormatError (the default), or
            ``"salvage"`` the rest. Then a strip that is damaged or missing costs its rows, which
            get index 0 and are listed in the image's `lost`, and a `kmq.SalvageWarning` says what
            happened. Header and palette must be sound. It takes the memory of the whole picture,
            however short the file.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: the bytes are damaged (with chunk and offset), need a newer kmq
            (NewerFormatError), or hold more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.
    """
    limits, threads = Limits.checked(limits), resolve_threads(n_threads)
    try:
        stream = io.BytesIO(encoded)
    except TypeError:
        raise TypeError(
            f"encoded is {type(encoded).__name__}; it must be the bytes of a .kmq file "
            "(kmq.read takes paths and file objects)"
        ) from None
    if _salvaging(on_error):
        return _salvaged(stream, limits, threads)
    return _decoded(stream, limits, threads)


@overload
def write(
    target: Target,
    picture: IndexedImage,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
) -> None: ...
@overload
def write(
    target: Target,
    picture: PlainPicture,
    k: int | None = None,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    **quantize_options: Unpack[FileOptions],
) -> None: ...
@checks.hinting(*FileOptions.__annotations__)
def write(
    target: Target,
    picture: Any,
    k: int | None = None,
    *,
    effort: Effort | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    **quantize_options: Unpack[FileOptions],
) -> None:
    """Write a picture as a .kmq file.

    To a path the file appears whole or not at all: it is written beside its place and then
    renamed, so that a file that was there before survives a failure. An existing file's
    permissions are kept.

    Args:
        target: a path that ends in ``.kmq`` or ``.kmqpal`` or has no suffix; or a file object open
            for binary writing, which needs no more than `write` and stays open.
        picture: as for `encode`, like all other arguments.
        k: see `encode`.
        effort: see `encode`.
        method: see `encode`.
        strip_height: see `encode`.
        n_threads: see `encode`.
        limits: see `encode`.
        **quantize_options: see `encode`.

    Raises:
        InputError: an argument is out of range, or the metadata do not fit the format; the target
            has the suffix of another kind of file, or is a file that `picture` or `palette` names.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be written.
    """
    if isinstance(target, str | os.PathLike):
        checks.suffix(target, SUFFIXES, ".kmq files")
        _refuse_source(target, "picture", picture)
        _refuse_source(target, "palette", quantize_options.get("palette"))
    check_target(target)
    how = Coding.checked(effort, method, strip_height, n_threads, limits)
    with written(target) as stream:  # first, to find out that there can be no such file
        write_all(stream, _encoded(picture, k, how, quantize_options))


def save(image: IndexedImage, target: Target) -> None:
    """Do what `IndexedImage.save` does."""
    if isinstance(target, str | os.PathLike):
        suffix = os.path.splitext(os.fsdecode(target))[1].lower()
        if suffix and suffix not in SUFFIXES:
            writing.save_picture(image, target)
            return
    write(target, image)


def read(
    source: Source,
    *,
    on_error: OnError | None = None,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> IndexedImage:
    """Read the image of a .kmq file.

    Args:
        source: a path, or a file object open for binary reading. It is read from where it stands
            through the end mark of the .kmq file (to its own end, to salvage), need not be
            seekable, and stays open.
        on_error: see `decode`.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: the file is damaged (with chunk and offset), needs a newer kmq
            (NewerFormatError), or holds more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.
    """
    limits, threads = Limits.checked(limits), resolve_threads(n_threads)
    salvaging = _salvaging(on_error)
    with opened(source, _DECODES) as stream:
        if salvaging:
            return _salvaged(stream, limits, threads)
        return _decoded(stream, limits, threads)


def read_region(
    source: Source,
    box: tuple[int, int, int, int],
    *,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> IndexedImage:
    """Read a part of the image of a .kmq file.

    Only the strips that the part's rows lie in are decoded, and where the file object can seek
    no others are read: the cost follows the height of the box, rounded up to whole strips, times
    the width of the picture. Damage elsewhere is not noticed.

    Args:
        source: as for `read`, but it is left after the last strip that was needed.
        box: (left, upper, right, lower) in pixels from the upper left corner, as for Pillow's
            `crop`: columns left … right - 1 of rows upper … lower - 1. It must lie within the
            picture and hold at least one pixel.
        limits: what to accept, of the whole picture; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Returns:
        The part, with the whole palette and all metadata.

    Raises:
        InputError: the box does not lie within the picture or is empty.
        FormatError: as for `read`.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.
    """
    limits, threads = Limits.checked(limits), resolve_threads(n_threads)
    left, upper, right, lower = _checked_box(box)
    with opened(source, _DECODES) as stream:
        reader = chunks.ChunkReader(stream)
        front = file.unpack_front(reader, limits, decode_palette)
        header = front.header
        if not (0 <= left < right <= header.width and 0 <= upper < lower <= header.height):
            raise InputError(
                f"box is {(left, upper, right, lower)}; it must be (left, upper, right, lower) "
                f"around at least one pixel of the picture's {header.width} x {header.height}"
            )
        numbers = range(upper // header.strip_height, -(-lower // header.strip_height))
        strips, payloads = file.take_strips(reader, front, numbers)
    palette = front.palette
    indices = decode_strips(strips, payloads, palette, header.width, limits.decisions, threads)
    top = strips[0].row
    region = indices[upper - top : lower - top, left:right]
    return IndexedImage(palette, region, header.pixel_format, front.metadata)


def info(source: Source, *, limits: Limits | None = None) -> FileInfo:
    """Read what a .kmq file says about itself, without decoding its pixels.

    Where the file object can seek, the strips are not even read, and damage within them is not
    noticed. Its cost does not depend on the size of the picture.

    Args:
        source: as for `read`.
        limits: what to accept; None for `kmq.Limits()`.

    Raises:
        FormatError: as for `read`.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.
    """
    limits = Limits.checked(limits)
    with opened(source, _DECODES) as stream:
        contents = file.unpack_file(stream, limits, decode_palette, skip_strips=True)
    header = contents.front.header
    return FileInfo(
        version=file.VERSION,
        pixel_format=header.pixel_format,
        height=header.height,
        width=header.width,
        palette=contents.front.palette,
        metadata=contents.front.metadata,
        strip_height=header.strip_height,
        strips=contents.strips,
        chunks=contents.chunks,
        file_size=contents.file_size,
    )


@dataclass(frozen=True)
class Coding:
    """How an image is to be coded, checked.

    Attributes:
        effort: None is "balanced".
        method: name of a strip method, or None.
        strip_height: rows of a strip, or None.
        n_threads: threads to use.
        limits: how many pixels and bytes of metadata it may have.
    """

    effort: Effort | None
    method: str | None
    strip_height: int | None
    n_threads: int
    limits: Limits

    @classmethod
    def checked(
        cls,
        effort: Effort | None,
        method: str | None,
        strip_height: int | None,
        n_threads: int | None,
        limits: Limits | None,
    ) -> Coding:
        """Check what `encode` was given; raise InputError or TypeError."""
        threads = resolve_threads(n_threads)
        if effort is not None:
            checks.one_of(effort, "effort", EFFORTS)
        if method is not None:
            strip_method(method)
        if strip_height is not None:
            strip_height = checks.whole_number(strip_height, "strip_height", 1, MAX_SIDE)
        return cls(effort, method, strip_height, threads, Limits.checked(limits))

    def pieces(self, image: IndexedImage) -> list[bytes]:
        """Return the pieces of a file, front to back."""
        self.limits.check_pixels(image.width, image.height)
        image = replace(image)  # checked anew: the kernels below write where its indices point
        n_colors = image.n_colors
        effort = self.effort or "balanced"
        plan = plan_strips(self.method, effort, image.indices.size, n_colors)
        if self.strip_height is None:
            rows = even_strip_height(image.height, image.width, plan.strip_pixels)
        else:
            rows = _checked_strip_height(self.strip_height, image.height)
        header = file.Header(image.pixel_format, image.width, image.height, n_colors, rows)
        palette = encode_palette(image.palette)
        strips = encode_strips(
            image.indices,
            image.palette,
            plan.methods,
            rows,
            self.limits.decisions,
            self.n_threads,
        )
        return file.pack_file(header, palette, image.metadata, strips, self.limits)


def quantized(
    picture: Any,
    k: int | None,
    how: Coding,
    options: FileOptions,
    metadata: Metadata | None = None,
) -> IndexedImage:
    """Quantize a picture that is to be encoded so; a given start or palette takes no effort.

    `metadata` count for the size of the file, if they are other than the picture's.
    """
    from kmq.pipeline import targets
    from kmq.quantizing import quantize

    _check_size(picture, how.limits)
    effort = how.effort
    if options.get("init") is not None or options.get("palette") is not None:
        effort = None
    given: dict[str, Any] = {**options, "effort": effort, "n_threads": how.n_threads}
    given["limits"] = how.limits
    if targets.asks(given):

        def size(image: IndexedImage) -> int:
            if metadata is not None:
                image = replace(image, metadata=metadata)
            return sum(map(len, how.pieces(image)))

        return targets.reach(picture, k, given, size)
    for name in ("size", "bpp", "ssim"):
        given.pop(name, None)
    return quantize(picture, k, **given)


def _check_size(picture: Any, limits: Limits) -> None:
    """Raise InputError for an array or image that is too large to be written."""
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    if len(shape) < 2:
        shape = getattr(picture, "height", 0), getattr(picture, "width", 0)
    limits.check_pixels(shape[1], shape[0])


def _refuse_source(target: str | os.PathLike[str], name: str, source: Any) -> None:
    """Raise InputError if the target is the file that an argument names, by whatever path."""
    if isinstance(source, str | os.PathLike) and _same_file(target, source):
        raise InputError(
            f"target and {name} are the same file, {os.fspath(target)}; "
            "write does not replace what it reads"
        )


def _same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one is not there, or its name cannot be one
        return False


def _encoded(
    picture: Any, k: int | None, how: Coding, quantize_options: FileOptions
) -> list[bytes]:
    """Return the pieces of a file, front to back."""
    if isinstance(picture, IndexedImage):
        options = {"k": k, **quantize_options}
        if given := [name for name, value in options.items() if value is not None]:
            raise InputError(
                f"{', '.join(given)} given with an IndexedImage, which is stored as it is; "
                "quantize takes the picture it was made from"
            )
        return how.pieces(picture)
    return how.pieces(quantized(picture, k, how, quantize_options))


def _salvaging(on_error: OnError | None) -> bool:
    return on_error is not None and checks.one_of(on_error, "on_error", _ON_ERROR) == "salvage"


def _decoded(stream: BinaryIO, limits: Limits, n_threads: int) -> IndexedImage:
    contents = file.unpack_file(stream, limits, decode_palette)
    header = contents.front.header
    palette = contents.front.palette
    indices = decode_strips(
        contents.strips, contents.payloads, palette, header.width, limits.decisions, n_threads
    )
    return IndexedImage(palette, indices, header.pixel_format, contents.front.metadata)


def _salvaged(stream: BinaryIO, limits: Limits, n_threads: int) -> IndexedImage:
    """Decode the stream's content, or what is left of it; then warn the caller of our caller."""
    content = chunks.ChunkReader(stream).take_rest()
    try:
        return _decoded(io.BytesIO(content), limits, n_threads)
    except LimitError:
        raise
    except FormatError as error:
        damage = str(error)
    left = salvage.salvage_file(io.BytesIO(content), limits, decode_palette)
    header, palette = left.front.header, left.front.palette
    shape = header.height, header.width
    indices, faults = salvage_strips(
        left.strips, left.payloads, palette, shape, limits.decisions, n_threads
    )
    lost = left.faults | {
        left.strips[place].row // header.strip_height: fault for place, fault in faults.items()
    }
    message = _lost_message(damage, header, lost, left.notes)
    warnings.warn(message, SalvageWarning, stacklevel=3)
    bands = _bands(header.strip_rows(number) for number in sorted(lost))
    return IndexedImage(palette, indices, header.pixel_format, left.front.metadata, lost=bands)


def _bands(strips: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join strips, given as first row and rows, to bands of first row and row after the last."""
    bands: list[tuple[int, int]] = []
    for row, height in strips:
        if bands and bands[-1][1] == row:
            row, height = bands[-1][0], row + height - bands[-1][0]
            bands.pop()
        bands.append((row, row + height))
    return tuple(bands)


def _lost_message(
    damage: str, header: file.Header, lost: Mapping[int, str], notes: Sequence[str]
) -> str:
    sentences = []
    for number in sorted(lost)[:_MOST_NAMED]:
        row, height = header.strip_rows(number)
        sentences.append(f"strip {number} (rows {row} to {row + height - 1}): {lost[number]}")
    if len(lost) > _MOST_NAMED:
        sentences.append(f"{len(lost) - _MOST_NAMED} more strips")
    sentences += notes
    return f"the file is damaged: {damage}; lost: {'; '.join(sentences) or 'nothing'}"


def _checked_strip_height(strip_height: int, height: int) -> int:
    """Return the rows of a strip, at most those of the picture."""
    rows = min(strip_height, height)
    if rows * MAX_STRIPS < height:
        raise InputError(
            f"strip_height is {strip_height}, which cuts the picture's {height} rows into more "
            f"than {MAX_STRIPS} strips"
        )
    return rows


def _checked_box(box: Any) -> tuple[int, int, int, int]:
    """Return four ints; whether they fit is known when the picture's size is."""
    try:
        left, upper, right, lower = box
    except (TypeError, ValueError):
        raise InputError(f"box is {box!r}; it must be (left, upper, right, lower)") from None
    sides = {"left": left, "upper": upper, "right": right, "lower": lower}
    checked = [
        checks.whole_number(side, f"{name} of the box", -MAX_SIDE, MAX_SIDE)
        for name, side in sides.items()
    ]
    return checked[0], checked[1], checked[2], checked[3]
