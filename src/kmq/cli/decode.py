"""``kmq decode``: .kmq files to pictures, and label maps to arrays."""

from __future__ import annotations

import argparse
import io
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kmq.atomic import replacing
from kmq.cli import batch, paths, pipes
from kmq.cli.console import (
    FAILURES,
    Commands,
    Progress,
    UsageError,
    add_command,
    add_pixels_option,
    add_threads_option,
    add_work_option,
    colors,
    complain_of_metadata,
    counted,
    label_map,
    limits,
)
from kmq.cli.urls import File, Url
from kmq.errors import InputError
from kmq.model.choices import PICTURES
from kmq.model.image import Metadata

if TYPE_CHECKING:
    from kmq.model.choices import OnError
    from kmq.model.image import IndexedImage
    from kmq.stages.container.file import Header

_EXAMPLES = """\
  kmq decode photo.kmq                  into photo.png (CMYK: photo.tif)
  kmq decode photo.kmq -o photo.tif
  kmq decode pictures/ -o pngs/         every .kmq file of a folder
  kmq decode map.kmq --box 0,0,800,600  only its upper left corner
  kmq decode photo.kmq -o - | display   a PNG through a pipe
  kmq decode pictures/ --format webp    next to each file, in another format
  kmq decode hurt.kmq --salvage         the rest of a damaged file
  kmq decode clip.kmq -o clip.gif       a sequence into an animated .gif, .png or .webp file
  kmq decode clip.kmq --frames -o out/  its frames: out/clip-01.png, out/clip-02.png, …
  kmq decode cells.kmq                  a label map, into cells.npy
"""

_FORMATS = ("png", "tif", "webp", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "npy")
_HEADER_BYTES = 128  # more than signature and header take
_DEFAULTS = ".png, .tif for CMYK, .npy for label maps"


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "decode", run, summary="turn .kmq files into pictures", examples=_EXAMPLES
    )
    parser.add_argument(
        "files", metavar="FILE.kmq", nargs="+", help="file, folder, pattern, URL or -"
    )
    batch.add_options(parser, "OUT", _DEFAULTS)
    pipes.add_format_option(parser, _FORMATS, _DEFAULTS)
    batch.add_ext_option(parser, "-again.png", _DEFAULTS)
    parser.add_argument(
        "--strip", action="store_true", help="write no metadata, not even the colour profile"
    )
    add_threads_option(parser)
    add_pixels_option(parser)
    add_work_option(parser)
    parser.add_argument(
        "--frames",
        action="store_true",
        help="write each frame of a sequence as a picture; its number follows the name",
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--box",
        type=_box,
        metavar="L,U,R,B",
        help="decode only columns L to R - 1 of rows U to B - 1, counted from 0",
    )
    parts.add_argument(
        "--salvage",
        action="store_true",
        help="decode the rest of a damaged file; lost rows get the first palette colour",
    )


def run(arguments: argparse.Namespace) -> int:
    """Decode each file and print a line about it."""
    if arguments.ext is not None:
        _check_ext(arguments)
    suffix_of, chosen = partial(_suffix_of, arguments), arguments.format
    if arguments.frames:
        _check_frames(arguments)
        suffix_of, chosen = partial(_first_of, arguments), None
    jobs = batch.plan(arguments.files, frozenset([".kmq"]), arguments.output, suffix_of, chosen)
    return batch.each(jobs, partial(_decode, arguments), arguments)


def _check_frames(arguments: argparse.Namespace) -> None:
    output = arguments.output
    if output is not None and batch.folder_of(output) is None:
        raise UsageError(f"--frames writes several files; -o {output} names one, and not a folder")
    if output is None and any(map(pipes.is_pipe, arguments.files)):
        raise UsageError("--frames writes several files; -o names a folder for them")
    if arguments.box is not None:
        raise UsageError("--box and --frames are both given; --box is about single pictures")


def _check_ext(arguments: argparse.Namespace) -> None:
    if arguments.format is not None:
        raise UsageError("--ext and --format are both given; the suffix says what is written")
    if not arguments.ext.lower().endswith(tuple(f".{kind}" for kind in _FORMATS)):
        raise UsageError(f"--ext is {arguments.ext}; it must end in .{', .'.join(_FORMATS)}")


def _suffix_of(arguments: argparse.Namespace, source: File) -> str:
    """Return the end of a target's name: what is asked for, or a kind that holds the picture."""
    if arguments.ext is not None:
        return str(arguments.ext)
    header = _header(source)
    if header is None:  # decoding will say why, unless it salvages
        return ".png"
    if header.kind == "label map":
        return ".npy"
    return ".tif" if header.pixel_format.label == "CMYK" else ".png"


def _first_of(arguments: argparse.Namespace, source: File) -> str:
    """Return the end of the name of the first frame's file."""
    suffix = f".{arguments.format}" if arguments.format else _suffix_of(arguments, source)
    header = _header(source)
    return _number(1, 1 if header is None else header.n_frames) + suffix


def _number(number: int, n_frames: int) -> str:
    """Return what follows the name in the file of a frame."""
    return f"-{number:0{len(str(n_frames))}}"


def _header(source: File) -> Header | None:
    """Return the header of a file, or None if it cannot be read."""
    from kmq.model.file_info import Limits
    from kmq.model.image import MAX_SIDE
    from kmq.stages.container.chunks import ChunkReader
    from kmq.stages.container.file import unpack_header

    try:
        with _beginning(source) as file:
            reader = ChunkReader(file)
            reader.read_signature()
            return unpack_header(reader.take_only("H"), Limits(pixels=MAX_SIDE**2))
    except FAILURES:
        return None


def _beginning(source: File) -> BinaryIO:
    """Open a file; of a URL, its first bytes."""
    if isinstance(source, Url):
        return io.BytesIO(source.head(_HEADER_BYTES))
    return source.open("rb")


def _box(text: str) -> tuple[int, ...]:
    """Four whole numbers, as an argparse type."""
    sides = text.split(",")
    if len(sides) != 4 or not all(re.fullmatch("[0-9]{1,20}", side) for side in sides):
        raise argparse.ArgumentTypeError(f"must be four whole numbers, L,U,R,B, not {text!r}")
    return tuple(map(int, sides))


def _decode(arguments: argparse.Namespace, source: Path, target: Path, progress: Progress) -> str:
    from kmq.stages.pictures import npy
    from kmq.stages.pictures.writing import save_picture

    progress("decoding", 0)
    header = _header(source)
    if header is not None and header.kind == "label map":
        return _decode_labels(arguments, source, target)
    if header is not None and header.kind == "sequence":
        return _decode_sequence(arguments, source, target)
    if target.suffix.lower() == npy.SUFFIX:
        raise InputError("it holds a picture; .npy files are for label maps")
    image = _read(arguments, source)
    if arguments.strip:
        image = replace(image, metadata=Metadata())
    save_picture(image, target, "fast")
    return (
        f"{target}: {image.width} × {image.height} pixels, {image.pixel_format.label}, "
        f"{colors(image.n_colors)}"
    )


def _decode_sequence(arguments: argparse.Namespace, source: Path, target: Path) -> str:
    from kmq.frames import read_frames

    if arguments.box is not None:
        raise InputError("it holds a sequence; --box is about single pictures")
    suffix = target.suffix.lower()
    if not arguments.frames and suffix not in PICTURES:
        raise InputError(
            f"it holds a sequence, and a file {suffix} a picture; {', '.join(PICTURES)} files hold "
            "sequences, and --frames writes a picture for each frame"
        )
    images = read_frames(
        source,
        on_error=_on_error(arguments),
        limits=limits(arguments),
        n_threads=arguments.threads,
    )
    if arguments.strip:
        images = [replace(image, metadata=Metadata()) for image in images]
    told = (
        f"{counted(len(images), 'frame')}, {images[0].width} × {images[0].height} "
        f"pixels, {images[0].pixel_format.label}"
    )
    if arguments.frames:
        last = _save_frames(arguments, images, target)
        return f"{target} to {last.name}: {told}"
    _save_animation(arguments, images, source, target)
    return f"{target}: {told}"


def _save_animation(
    arguments: argparse.Namespace, images: list[IndexedImage], source: Path, target: Path
) -> None:
    """Write frames as one file, with the times that the source has."""
    from kmq.pipeline.sequences import FrameReader
    from kmq.stages.pictures.animation import animation_bytes

    with source.open("rb") as file:
        reader = FrameReader(file, limits(arguments), 1)
    content = animation_bytes(images, reader.delays, reader.plays, target.suffix.lower())
    with replacing(target) as stream:
        stream.write(content)
    complain_of_metadata(images[0].metadata, target)


def _save_frames(arguments: argparse.Namespace, images: list[IndexedImage], target: Path) -> Path:
    """Write a file for each frame, the first of them `target`; return the last."""
    from kmq.stages.pictures.writing import save_picture

    stem, _, rest = target.name.rpartition(_number(1, len(images)))
    names = [
        target.with_name(f"{stem}{_number(number, len(images))}{rest}")
        for number in range(1, len(images) + 1)
    ]
    for name in names[1:]:  # before any is written
        paths.claim(name, force=arguments.force)
    for image, name in zip(images, names, strict=True):
        save_picture(image, name, "fast")
    return names[-1]


def _on_error(arguments: argparse.Namespace) -> OnError:
    return "salvage" if arguments.salvage else "raise"


def _decode_labels(arguments: argparse.Namespace, source: Path, target: Path) -> str:
    from kmq.labels import read_labels
    from kmq.stages.pictures import npy

    if target.suffix.lower() != npy.SUFFIX:
        raise InputError(
            f"it holds a label map, which .npy files keep; {target.suffix} is for pictures"
        )
    for option in ("box", "salvage", "frames"):
        if getattr(arguments, option):
            raise InputError(f"it holds a label map; --{option} is about pictures")
    labels = read_labels(source, limits=limits(arguments), n_threads=arguments.threads)
    npy.write_labels(target, labels)
    return f"{target}: {label_map(labels.shape, labels.dtype)}"


def _read(arguments: argparse.Namespace, source: Path) -> IndexedImage:
    from kmq.files import read, read_region

    if arguments.box is not None:
        return read_region(
            source, arguments.box, limits=limits(arguments), n_threads=arguments.threads
        )
    return read(
        source,
        on_error=_on_error(arguments),
        limits=limits(arguments),
        n_threads=arguments.threads,
    )
