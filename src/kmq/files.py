"""The doors to .kmq files: encode, decode, write, read, read_region, info."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from kmq import checks
from kmq.errors import FormatError, InputError, LimitError, SalvageWarning
from kmq.model.choices import EFFORTS, Effort
from kmq.model.file_info import MAX_STRIPS, FileInfo, Limits
from kmq.model.image import MAX_SIDE, IndexedImage, Metadata
from kmq.options import QUANTIZE, TARGETS, Options
from kmq.pipeline import targets
from kmq.stages.coding.methods import MethodName, even_strip_height, plan_strips, strip_method
from kmq.stages.coding.palettes import decode_palette, encode_palette
from kmq.stages.coding.strips import decode_strips, encode_strips, salvage_strips
from kmq.stages.container import chunks, file, salvage
from kmq.stages.pictures import writing
from kmq.streams import Source, Target, check_target, opened, write_all, written
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from kmq.colors import GivenColors
    from kmq.model.choices import MappingName, Progress
    from kmq.model.image import QuantizedImage
    from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
    from kmq.quantizing import Picture
    from kmq.stages.palette.clustering import Init
    from kmq.stages.palette.spaces import SpaceName
    from kmq.values import Dither, Fewest, Rate, Require, Space, Start


OnError: TypeAlias = Literal["raise", "salvage"]

CODING = ("effort", "method", "strip_height", "n_threads", "limits")
"""Options of `encode` that say how an image is coded, whatever it was made from."""

SUFFIXES = (".kmq", ".kmqpal")
"""Suffixes of .kmq files: of any picture, and of one that is a palette."""

_ON_ERROR = ("raise", "salvage")
_DECODES = " (kmq.decode takes bytes)"
_MOST_NAMED = 10  # strips that a warning names


@checks.hinting()
def encode(
    picture: Picture,
    k: int | Fewest | None = None,
    *,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    weights: ArrayLike | None = None,
    palette: GivenColors | str | os.PathLike[str] | None = None,
    require: Require | GivenColors | str | None = None,
    start: Start | Init | GivenColors | None = None,
    mapping: MappingName | Dither | Rate | None = None,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    max_mse: float | None = None,
    ssim: float | None = None,
    max_colors: int | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Return a picture as the bytes of a .kmq file.

    At most one of `size`, `bpp`, `psnr`, `max_mse` and `ssim` says what the file is to be like. kmq
    then chooses the number of colours and λ (see `kmq.Rate`) together, at about ten times the cost.

    Args:
        picture: a `kmq.IndexedImage`, which is stored as it is, the order of its palette
            included; or anything `kmq.quantize` takes, which is quantized first.
        k: see `kmq.quantize`, also for the arguments not described here. They do not go with an
            IndexedImage, which has its own palette.
        effort: time to take, "fast", "balanced" (the default) or "best", for the palette as for the
            file. A start, a palette or an IndexedImage leave nothing to search for but the file.
        space: see `kmq.quantize`.
        weights: see `kmq.quantize`.
        palette: see `kmq.quantize`.
        require: see `kmq.quantize`.
        start: see `kmq.quantize`.
        mapping: see `kmq.quantize`.
        size: the most bytes of the file, which it comes within 2 % of where some λ makes such a
            file; with `k`, `palette` or colours to start from by λ alone.
        bpp: the same as bits per pixel.
        psnr: the smallest file found that reaches this PSNR in dB.
        max_mse: the same for at most this mean squared error per pixel, summed over the channels.
        ssim: the same for this SSIM, above 0 and below 1.
        max_colors: colours at most, with one of the five above; the qualities are then reached as
            far as that goes. Alone it is `k`.
        method: how indices are coded, "deflate", "mix" or, for up to 256 colours, "rank"; None
            leaves the choice to kmq. Where "mix" takes more work to decode than `limits` allow,
            as large pictures of repeated tiles do, a quicker method takes its place.
        strip_height: rows that are coded, and can be decoded, by themselves; None for strips of
            about a quarter of a million pixels.
        pixel_format: see `kmq.quantize`.
        page: see `kmq.quantize`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores. The bytes do not
            depend on it.
        limits: how many pixels a picture may have, and how much work it may take to decode; None
            for `kmq.Limits()`, which readers take, too. Who reads a larger one passes as much.
        progress: see `kmq.quantize`.

    Raises:
        InputError: an argument is out of range, or contradicts another; a target cannot be met;
            the picture exceeds the limits; or the metadata do not fit the format.
        TypeError: an argument is of the wrong type.

    >>> encoded = kmq.encode("photo.png", psnr=35)
    """
    given = {**locals()}  # first: there is nothing else yet
    return b"".join(_encoded(given.pop("picture"), given))


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


@checks.hinting()
def write(
    target: Target,
    picture: Picture,
    k: int | Fewest | None = None,
    *,
    effort: Effort | None = None,
    space: SpaceName | Space | None = None,
    weights: ArrayLike | None = None,
    palette: GivenColors | str | os.PathLike[str] | None = None,
    require: Require | GivenColors | str | None = None,
    start: Start | Init | GivenColors | None = None,
    mapping: MappingName | Dither | Rate | None = None,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    max_mse: float | None = None,
    ssim: float | None = None,
    max_colors: int | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
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
        space: see `encode`.
        weights: see `encode`.
        palette: see `encode`.
        require: see `encode`.
        start: see `encode`.
        mapping: see `encode`.
        size: see `encode`.
        bpp: see `encode`.
        psnr: see `encode`.
        max_mse: see `encode`.
        ssim: see `encode`.
        max_colors: see `encode`.
        method: see `encode`.
        strip_height: see `encode`.
        pixel_format: see `encode`.
        page: see `encode`.
        n_threads: see `encode`.
        limits: see `encode`.
        progress: see `encode`.

    Raises:
        InputError: an argument is out of range, or the metadata do not fit the format; the target
            has the suffix of another kind of file, or is a file that `picture` or `palette` names.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be written.

    >>> kmq.write("photo.kmq", "photo.png", 64)
    """
    given = {**locals()}  # first: there is nothing else yet
    del given["target"]
    if isinstance(target, str | os.PathLike):
        checks.suffix(target, SUFFIXES, ".kmq files")
        _refuse_source(target, "picture", picture)
        _refuse_source(target, "palette", palette)
    check_target(target)
    Coding.of(given)
    with written(target) as stream:  # first, to find out that there can be no such file
        write_all(stream, _encoded(given.pop("picture"), given))


def save(image: IndexedImage, target: Target) -> None:
    """Do what `IndexedImage.save` does."""
    if isinstance(target, str | os.PathLike):
        suffix = os.path.splitext(os.fsdecode(target))[1].lower()
        if suffix and suffix not in SUFFIXES:
            writing.save_picture(image, target)
            return
    write(target, image)


def open_image(source: Source) -> IndexedImage:
    """Do what `IndexedImage.open` does."""
    from PIL import Image

    from kmq.stages.pictures.pillow import indexed_from_pillow
    from kmq.stages.pictures.reading import seekable

    with opened(source) as stream:
        stream = seekable(stream)
        start = stream.tell()
        if chunks.is_kmq(stream):
            return read(stream)
        rest = io.BytesIO(stream.read()) if start else stream  # Pillow goes to the beginning
        with Image.open(rest) as picture:
            return indexed_from_pillow(picture)


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
    def of(cls, given: Mapping[str, Any]) -> Coding:
        """Check what `encode` was given; raise InputError or TypeError."""
        effort, method = given.get("effort"), given.get("method")
        strip_height, limits = given.get("strip_height"), given.get("limits")
        threads = resolve_threads(given.get("n_threads"))
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


def encoded(
    picture: Any, given: Mapping[str, Any], metadata: Metadata | None = None
) -> targets.Encoded:
    """Quantize and encode a picture; `given` are arguments of `encode`.

    `metadata` are those of the file, if they are other than the picture's.
    """
    from kmq import quantizing

    how = Coding.of(given)
    _check_size(picture, how.limits)
    chosen = {name: given.get(name) for name in QUANTIZE}
    if chosen["start"] is not None or chosen["palette"] is not None:
        chosen["effort"] = None  # it is the coder's alone
    more = {name: given.get(name) for name in (*TARGETS, "max_colors")}
    options = Options.checked(**chosen, more=more)

    def code(image: QuantizedImage) -> list[bytes]:
        return how.pieces(image if metadata is None else replace(image, metadata=metadata))

    name = next((name for name in TARGETS if more[name] is not None), None)
    if name is None:
        image = quantizing.quantized(picture, options)
        return targets.Encoded(image, code(image), options.plain.lam)
    target = targets.FileTarget(name, _CHECKED[name](more[name]))
    quantizer, entries = quantizing.quantizer_of(picture, options)
    colors = options.target.k if entries is None else entries
    return targets.reach(quantizer, target, code, colors, options.target.max_colors)


def _checked_ssim(wanted: Any) -> float:
    value = checks.positive(wanted, "ssim")
    if value >= 1:
        raise InputError(f"ssim is {value:g}; it must be above 0 and below 1")
    return value


_CHECKED: dict[str, Callable[[Any], float]] = {
    "size": lambda wanted: checks.whole_number(wanted, "size", 1, targets.MAX_SIZE),
    "bpp": lambda wanted: checks.positive(wanted, "bpp"),
    "psnr": lambda wanted: checks.number(wanted, "psnr", 0),
    "max_mse": lambda wanted: checks.number(wanted, "max_mse", 0),
    "ssim": _checked_ssim,
}
"""Whether a target can be meant, without the picture."""


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


def _encoded(picture: Any, given: Mapping[str, Any]) -> list[bytes]:
    """Return the pieces of a file, front to back."""
    if not isinstance(picture, IndexedImage):
        return encoded(picture, given).pieces
    names = [name for name in given if name not in CODING and given[name] is not None]
    if names:
        raise InputError(
            f"{', '.join(names)} given with an IndexedImage, which is stored as it is; "
            "quantize takes the picture it was made from"
        )
    return Coding.of(given).pieces(picture)


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
