"""The doors to files: encode, decode, write, read, read_region, info."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from kmq import checks
from kmq.contradictions import QUANTIZE, TARGETS
from kmq.errors import InputError, MetadataWarning, SalvageWarning
from kmq.model.choices import EFFORTS, PICTURES, Effort, OnError, is_picture
from kmq.model.file_info import FileInfo, Limits, check_pixels, checked_limits
from kmq.model.image import MAX_SIDE, IndexedImage, Metadata
from kmq.options import Options
from kmq.pipeline import decoding, targets
from kmq.pipeline.attempts import Encoded
from kmq.pipeline.encoding import Coding, PictureCoding
from kmq.stages.coding.methods import MethodName, strip_method
from kmq.stages.container.chunks import SUFFIXES, is_kmq
from kmq.stages.container.metadata import check_metadata
from kmq.stages.pictures import writing
from kmq.streams import Source, Target, check_target, is_path, opened, write_all, written
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from kmq.colors import GivenColors
    from kmq.model.choices import MappingName, Progress
    from kmq.model.image import QuantizedImage
    from kmq.model.pixel_format import PixelFormat, PixelFormatLabel
    from kmq.pipeline.reading import Picture
    from kmq.stages.palette.spaces import SpaceName
    from kmq.stages.palette.starting import Init
    from kmq.values import Dither, Fewest, Optimize, Rate, Require, Space, Start


CODING = ("effort", "method", "strip_height", "n_threads", "limits")
"""Options of `encode` that say how an image is coded, whatever it was made from."""


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
    mapping: MappingName | Dither | Optimize | Rate | None = None,
    size: int | None = None,
    bpp: float | None = None,
    quality: float | None = None,
    psnr: float | None = None,
    max_mse: float | None = None,
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

    One of `size`, `bpp`, `quality`, `psnr` and `max_mse` may set a target for the file. kmq then
    chooses the number of colours and λ (see `kmq.Rate`) together, at five to twenty times the cost.

    Args:
        picture: a `kmq.IndexedImage`, which is stored as it is, the order of its palette
            included; or anything `kmq.quantize` takes, which is quantized first.
        k: see `kmq.quantize`, also for the arguments not described here. They do not go with an
            IndexedImage, which has its own palette.
        effort: how long to search for a good palette and a small file: "fast", "balanced" (the
            default) or "best". "best" also looks best, in a larger file, unless `mapping` is given.
            With a start, a palette or an IndexedImage, it is about the file alone.
        space: see `kmq.quantize`.
        weights: see `kmq.quantize`.
        palette: see `kmq.quantize`.
        require: see `kmq.quantize`.
        start: see `kmq.quantize`.
        mapping: see `kmq.quantize`.
        size: most bytes of the file. The result is usually within 2 % of it. With `k`, `palette` or
            colours to start from, kmq chooses λ alone.
        bpp: the same as bits per pixel.
        quality: take the smallest file found that looks this good by SSIMULACRA2, 0 to 100: 30 is
            low quality, 50 medium, 70 high, 90 cannot be told apart, 100 is equal.
        psnr: take the smallest file found of this PSNR in dB.
        max_mse: take the smallest file found of at most this mean squared error per pixel, summed
            over the channels.
        max_colors: most colours, with one of the five above. A quality that they do not reach is
            approached. Alone it is `k`.
        method: coder of the indices: "deflate", "mix", "label" for large, flat areas, or "rank",
            which is "label" above 256 colours; None lets kmq choose. If a file of "mix" would take
            more work to decode than `limits` allow, as for large pictures of repeated tiles, kmq
            takes a quicker method.
        strip_height: rows of a strip, which is coded and can be decoded by itself; None for strips
            of about a quarter of a million pixels.
        pixel_format: see `kmq.quantize`.
        page: see `kmq.quantize`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores. The bytes do not
            depend on it.
        limits: most pixels of the picture, and most work to decode it; None for `kmq.Limits()`,
            the default of readers too. To read a larger file, pass the same limits there.
        progress: see `kmq.quantize`.

    Raises:
        InputError: an argument is out of range, or contradicts another; a target cannot be met;
            the picture exceeds the limits; or the metadata do not fit the format.
        TypeError: an argument is of the wrong type.

    >>> encoded = kmq.encode("photo.png", psnr=35)
    """
    given = {**locals()}  # first: there is nothing else yet
    return b"".join(_encoded(given.pop("picture"), given).pieces)


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
            ``"salvage"`` the rest. Rows of a damaged or missing strip then get index 0 and are
            listed in the image's `lost`, and a `kmq.SalvageWarning` says what happened. Header and
            palette must be sound. It takes the memory of the whole picture, however short the
            file.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: the bytes are damaged (with chunk and offset), need a newer kmq
            (NewerFormatError), or hold more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.

    >>> kmq.decode(kmq.encode("photo.png", 16))
    <kmq.IndexedImage 96x64 RGB, 16 colours>
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    salvaging = checks.salvaging(on_error)
    try:
        stream = io.BytesIO(encoded)
    except TypeError:
        raise TypeError(
            f"encoded is {type(encoded).__name__}; it must be the bytes of a .kmq file "
            "(kmq.read takes paths and file objects)"
        ) from None
    return _decoded(stream, limits, threads, salvaging=salvaging)


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
    mapping: MappingName | Dither | Optimize | Rate | None = None,
    size: int | None = None,
    bpp: float | None = None,
    quality: float | None = None,
    psnr: float | None = None,
    max_mse: float | None = None,
    max_colors: int | None = None,
    method: MethodName | None = None,
    strip_height: int | None = None,
    pixel_format: PixelFormatLabel | PixelFormat | None = None,
    page: int | None = None,
    n_threads: int | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a picture as a .kmq, PNG, GIF or lossless WebP file.

    A PNG file has indices of 1, 2, 4 or 8 bits. Its palette has an order that makes the file small,
    unless `palette` is given. With the extra ``png`` the file is about 7 % smaller. Targets count
    the bytes of the kind of file that is written, and use up to 256 colours; λ follows the cost of
    bits in a .kmq file. A `k` above 256 makes a PNG or WebP file without a palette.
    `IndexedImage.save` writes other kinds of files too.

    A file at a path appears whole or not at all: kmq writes it next to its place and renames it,
    so a file that was there before survives a failure. An existing file's permissions are kept.

    Args:
        target: a path that ends in ``.png``, ``.gif`` or ``.webp``; or, for a .kmq file, a path
            that ends in ``.kmq`` or ``.kmqpal`` or has no suffix, or a file object open for binary
            writing, which needs no more than `write` and stays open.
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
        quality: see `encode`.
        psnr: see `encode`.
        max_mse: see `encode`.
        max_colors: see `encode`.
        method: see `encode`; of .kmq files alone.
        strip_height: the same.
        pixel_format: see `encode`.
        page: see `encode`.
        n_threads: see `encode`.
        limits: see `encode`.
        progress: see `encode`.

    Raises:
        InputError: an argument is out of range, or the metadata do not fit the format; the target
            has the suffix of another kind of file, or is a file that `picture` or `palette` names;
            or a file of its kind cannot hold the picture, as GIF cannot hold half-transparent
            colours, GIF and WebP 16 bits, and none of the three CMYK.
        MissingExtraError: a PNG of 16-bit RGB, RGBA or grey-alpha needs the extra ``deep``.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be written.

    Warns:
        MetadataWarning: metadata that the file cannot hold are left out.

    >>> kmq.write("photo.kmq", "photo.png", 64)
    >>> kmq.write("photo-64.png", "photo.png", 64)
    """
    given = {**locals()}  # first: there is nothing else yet
    del given["target"]
    path = ""
    if is_path(target):
        path = os.fsdecode(target)
        checks.suffix(path, (*SUFFIXES, *PICTURES), "files that write makes")
        _refuse_source(target, "picture", picture)
        _refuse_source(target, "palette", palette)
    check_target(target)
    _checked_coding(given, path)
    with written(target) as stream:  # first, to find out that there can be no such file
        image, pieces = _encoded(given.pop("picture"), given, path)
        write_all(stream, pieces)
    if is_picture(path) and (left_out := writing.metadata_left_out(image.metadata, path)):
        warnings.warn(left_out, MetadataWarning, stacklevel=3)


def save(image: IndexedImage, target: Target) -> None:
    """Do what `IndexedImage.save` does."""
    if is_path(target):
        suffix = os.path.splitext(os.fsdecode(target))[1].lower()
        if suffix and suffix not in SUFFIXES:
            check_metadata(image.metadata)
            writing.save_picture(image, target)
            return
    write(target, image)


def open_image(source: Source) -> IndexedImage:
    """Do what `IndexedImage.open` does."""
    from kmq.stages.pictures.reading import indexed_picture, seekable

    with opened(source) as stream:
        stream = seekable(stream)
        start = stream.tell()
        if is_kmq(stream):
            return read(stream)
        rest = io.BytesIO(stream.read()) if start else stream  # Pillow goes to the beginning
        name = os.fspath(source) if is_path(source) else "picture"
        return indexed_picture(rest, name)


def read(
    source: Source,
    *,
    on_error: OnError | None = None,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> IndexedImage:
    """Read the image of a .kmq file.

    Args:
        source: a path, the bytes of the file, or a file object open for binary reading. A file
            object is read from where it stands through the end mark of the .kmq file (to its own
            end, to salvage), need not be seekable, and stays open.
        on_error: see `decode`.
        limits: what to accept; None for `kmq.Limits()`.
        n_threads: threads to use; None for ``KMQ_NUM_THREADS`` or all cores.

    Raises:
        FormatError: the file is damaged (with chunk and offset), needs a newer kmq
            (NewerFormatError), or holds more than the limits allow (LimitError).
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.

    >>> kmq.write("photo.kmq", "photo.png", 16)
    >>> kmq.read("photo.kmq")
    <kmq.IndexedImage 96x64 RGB, 16 colours>
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    salvaging = checks.salvaging(on_error)
    with opened(source) as stream:
        name = os.fsdecode(source) if is_path(source) else "the file"
        return _decoded(stream, limits, threads, salvaging=salvaging, name=name)


def read_region(
    source: Source,
    box: tuple[int, int, int, int],
    *,
    limits: Limits | None = None,
    n_threads: int | None = None,
) -> IndexedImage:
    """Read a part of the image of a .kmq file.

    kmq decodes only the strips that hold rows of the box, and reads no others if the file object
    can seek. So the cost follows the height of the box, rounded up to whole strips, times the width
    of the picture. Damage elsewhere goes unnoticed.

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

    >>> kmq.write("photo.kmq", "photo.png", 16)
    >>> kmq.read_region("photo.kmq", (8, 0, 40, 16))
    <kmq.IndexedImage 32x16 RGB, 16 colours>
    """
    limits, threads = checked_limits(limits), resolve_threads(n_threads)
    region = _checked_box(box)
    with opened(source) as stream:
        return decoding.decoded_region(stream, region, limits, threads)


def info(source: Source, *, limits: Limits | None = None) -> FileInfo:
    """Read what a .kmq file says about itself, without decoding its pixels.

    If the file object can seek, the strips are not even read, and damage within them goes
    unnoticed. The cost does not depend on the size of the picture.

    Args:
        source: as for `read`.
        limits: what to accept; None for `kmq.Limits()`.

    Raises:
        FormatError: as for `read`.
        TypeError: an argument is of the wrong type.
        OSError: the file cannot be read.

    >>> kmq.write("photo.kmq", "photo.png", 16)
    >>> kmq.info("photo.kmq")
    <kmq.FileInfo 96x64 RGB, 16 colours, 1 strip, ... bytes>
    """
    limits = checked_limits(limits)
    with opened(source) as stream:
        return decoding.info(stream, limits)


def _checked_coding(
    given: Mapping[str, Any], path: str = "", *, keeps_order: bool = True
) -> Coding | PictureCoding:
    """Check what `encode` was given, for a file of that name; raise InputError or TypeError."""
    effort = checks.one_of(checks.given(given.get("effort"), "balanced"), "effort", EFFORTS)
    method, strip_height = given.get("method"), given.get("strip_height")
    threads = resolve_threads(given.get("n_threads"))
    if method is not None:
        strip_method(method)
    if strip_height is not None:
        strip_height = checks.whole_number(strip_height, "strip_height", 1, MAX_SIDE)
    limits = checked_limits(given.get("limits"))
    if not is_picture(path):
        return Coding(effort, method, strip_height, threads, limits)
    for name in ("method", "strip_height"):
        if given.get(name) is not None:
            raise InputError(f"{name} is given for {path}; it is about .kmq files")
    return PictureCoding(path, effort, keeps_order, limits)


def encoded(
    picture: Any, given: Mapping[str, Any], metadata: Metadata | None = None, path: str = ""
) -> Encoded:
    """Quantize and encode a picture; `given` are arguments of `encode`.

    `metadata` are those of the file, if they are other than the picture's; the suffix of its `path`
    says its kind, .kmq unless it is another that `write` writes.
    """
    how = _checked_coding(given, path, keeps_order=given.get("palette") is not None)
    _check_size(picture, how.limits)
    chosen = {name: given.get(name) for name in QUANTIZE}
    if chosen["start"] is not None or chosen["palette"] is not None:
        chosen["effort"] = None  # it is the coder's alone
    more = {name: given.get(name) for name in (*TARGETS, "max_colors")}
    options = Options.checked(**chosen, more=more)
    options = options._replace(context_share=how.context_share)

    def code(image: QuantizedImage) -> list[bytes]:
        return how.pieces(image if metadata is None else replace(image, metadata=metadata))

    name = next((name for name in TARGETS if more[name] is not None), None)
    if name is None:
        image = options.quantized(picture)
        return Encoded(image, code(image), options.lam)
    target = targets.FileTarget(name, _CHECKED[name](more[name]))
    quantizer, entries = options.quantizer(picture)
    colors = options.target.k if entries is None else entries
    most = options.target.max_colors
    return targets.reach(quantizer, target, code, colors, most, how.most_colors)


_CHECKED: dict[str, Callable[[Any], float]] = {
    "size": lambda wanted: checks.whole_number(wanted, "size", 1, targets.MAX_SIZE),
    "bpp": lambda wanted: checks.positive(wanted, "bpp"),
    "quality": lambda wanted: checks.within(wanted, "quality", 0, 100),
    "psnr": lambda wanted: checks.number(wanted, "psnr", 0),
    "max_mse": lambda wanted: checks.number(wanted, "max_mse", 0),
}
"""Whether a target can be meant, without the picture."""


def _check_size(picture: Any, limits: Limits) -> None:
    """Raise InputError for an array or image that is too large to be written."""
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    if len(shape) < 2:
        shape = getattr(picture, "height", 0), getattr(picture, "width", 0)
    check_pixels(limits, shape[1], shape[0])


def _refuse_source(target: str | os.PathLike[str], name: str, source: Any) -> None:
    """Raise InputError if the target is the file that an argument names, by whatever path."""
    if is_path(source) and _same_file(target, source):
        raise InputError(
            f"target and {name} are the same file, {os.fspath(target)}; "
            "write does not replace what it reads"
        )


def _same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one is not there, or its name cannot be one
        return False


class _Coded(NamedTuple):
    """An image, and the pieces of its file, front to back."""

    image: IndexedImage
    pieces: list[bytes]


def _encoded(picture: Any, given: Mapping[str, Any], path: str = "") -> _Coded:
    """Quantize a picture, unless it is an IndexedImage, and encode it for a file of that name."""
    if not isinstance(picture, IndexedImage):
        image, pieces, _ = encoded(picture, given, path=path)
        return _Coded(image, pieces)
    names = [name for name in given if name not in CODING and given[name] is not None]
    if names:
        raise InputError(
            f"{', '.join(names)} given with an IndexedImage, which is stored as it is; "
            "quantize takes the picture it was made from"
        )
    return _Coded(picture, _checked_coding(given, path).pieces(picture))


def _decoded(
    stream: BinaryIO, limits: Limits, n_threads: int, *, salvaging: bool, name: str = "the file"
) -> IndexedImage:
    """Decode a file; warn the caller of our caller of losses."""
    if not salvaging:
        return decoding.decoded(stream, limits, n_threads)
    image, damage = decoding.salvaged(stream, limits, n_threads)
    if damage is not None:
        warnings.warn(f"{name} is damaged: {damage}", SalvageWarning, stacklevel=3)
    return image


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
