"""``kmq encode``: pictures to .kmq files, or to PNG, GIF and WebP files of few colours."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmq import checks
from kmq.atomic import replacing
from kmq.cli import batch, paths, pipes, steering
from kmq.cli.console import (
    NOT_GOOD,
    NOT_SMALLER,
    Commands,
    Options,
    Progress,
    UsageError,
    add_colors_option,
    add_command,
    add_effort_option,
    add_pixels_option,
    add_threads_option,
    by_stages,
    byte_count,
    colors,
    complain,
    complain_of_metadata,
    decibels,
    label_map,
    limits,
    number_within,
    positive_number,
    whole_number,
)
from kmq.errors import InputError
from kmq.model.choices import DITHER_METHODS, PICTURES, is_picture
from kmq.model.file_info import Limits
from kmq.model.image import MAX_COLORS, MAX_SIDE, Metadata
from kmq.stages.container.chunks import SUFFIXES
from kmq.threads import resolve_threads

if TYPE_CHECKING:
    from kmq.model.image import IndexedImage, Report

_EXAMPLES = """\
  kmq encode photo.png                      64 colours, into photo.kmq
  kmq encode photo.png -k 16 -o small.kmq
  kmq encode photo.png -k 16 --dither       mix the colours to hide bands
  kmq encode photo.png -k 16 --optimize     the same, and better, for more time
  kmq encode photo.png --quality 70         the smallest file of high quality to the eye
  kmq encode photo.png --psnr 35            the smallest file of at least 35 dB
  kmq encode photo.png --size 40k           the best file of at most 40,000 bytes
  kmq encode photo.png -o photo-64.png      a PNG of 64 colours; also .gif, .webp
  kmq encode photos/ --to png -o out/       the same for a folder
  kmq encode photos/ -o out/                a folder and its sub-folders, into another
  kmq encode 'photos/**/*.jpg'              a quoted pattern reaches into folders
  kmq encode photos/ --palette theme.gpl    with a given palette (see kmq palette)
  kmq encode s3://shop/in -o s3://shop/out  from and to URLs that fsspec opens
  kmq encode scan.tif -k 8 --snap --page 2  page 2 of a scan, pure black and white
  kmq encode cells.npy                      a label map, kept exactly (see below)
  convert a.psd png:- | kmq encode - > a.kmq

An array file, .npy, is a label map whatever its shape: uint8 of shape (h, w, 3) is a stack
of labels, too, and not a picture. It holds bool or integers, up to 65,536 distinct values.
"""


_SUFFIXES = (*SUFFIXES, *PICTURES)
_KINDS = ("kmq", *(suffix.removeprefix(".") for suffix in PICTURES))


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands, "encode", run, summary="turn pictures into .kmq or PNG files", examples=_EXAMPLES
    )
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", help="file, folder, pattern, URL or -"
    )
    batch.add_options(parser, "OUT", ".kmq, or that of --to")
    parser.add_argument(
        "--to",
        choices=_KINDS,
        help="kind of file to write where neither OUT nor --ext has a suffix (default: kmq)",
    )
    batch.add_ext_option(parser, "-64.png", ".kmq, or that of --to")
    parser.add_argument(
        "--skip-if-larger",
        action="store_true",
        help="write only files smaller than their input; the exit code is 98 if one was not",
    )
    parser.add_argument(
        "--strip", action="store_true", help="write no metadata, not even the colour profile"
    )
    add_encoding_options(parser)


def add_encoding_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a .kmq file."""
    steering.add_page_option(parser)
    _add_targets(parser.add_argument_group("number of colours, or a target"))
    palette = parser.add_argument_group("which colours")
    steering.add_options(palette)
    steering.add_picture_options(palette)
    _add_mixing(parser.add_argument_group("mixing colours"))
    steering.add_start_options(parser.add_argument_group("plain k-means in place of the search"))
    _add_work(parser.add_argument_group("work"))


def _add_targets(group: Options) -> None:
    add_colors_option(group, "(default: 64)")
    group.add_argument(
        "--max-colors",
        type=whole_number(1, MAX_COLORS),
        metavar="N",
        help="with a target below, most colours to use, even if they do not reach it; alone the "
        "same as -k",
    )
    group.add_argument(
        "--quality",
        type=_qualities,
        metavar="Q",
        help="take the smallest file found that looks this good by SSIMULACRA2: 30 is low quality, "
        "50 medium, 70 high, 90 cannot be told apart; not with -k. MIN-MAX takes MAX, or the best "
        "there is, and writes no file below MIN (0: any); the exit code is 99 if one was left out",
    )
    group.add_argument(
        "--psnr",
        type=positive_number,
        metavar="DB",
        help="the same for this PSNR in decibels",
    )
    group.add_argument(
        "--max-mse",
        type=number_within(0, math.inf),
        metavar="MSE",
        help="the same for at most this mean squared error",
    )
    group.add_argument(
        "--size",
        type=byte_count,
        metavar="BYTES",
        help="the best file found of at most this size, usually within 2 %% of it: 40000, 40k, "
        "40KB, 1.5M; 39KiB and 1.5MiB count 1024",
    )
    group.add_argument(
        "--bpp", type=positive_number, metavar="BITS", help="the same as bits per pixel"
    )
    group.add_argument(
        "--fewest",
        action="store_true",
        help="with --psnr or --max-mse, take the fewest colours and not the smallest file",
    )
    group.add_argument(
        "--lambda",
        dest="rate",
        type=number_within(0, math.inf),
        metavar="L",
        help="choose indices and palette by squared error + L x E x bits, with E the mean squared "
        "error of nearest entries: 0.25 is little, 1 to 3 usual, 0 off",
    )


def _qualities(text: str) -> tuple[float | None, float]:
    """Least and wanted quality, as an argparse type for Q or MIN-MAX."""
    number = number_within(0, 100)
    least, _, most = text.rpartition("-")
    if not least:
        return None, number(text)
    if number(least) > number(most):
        raise argparse.ArgumentTypeError(f"must have the smaller number first, not {text!r}")
    return number(least), number(most)


def _add_mixing(group: Options) -> None:
    group.add_argument(
        "--optimize",
        action=argparse.BooleanOptionalAction,
        help="choose indices and palette by how the picture looks after the eye's own blur: looks "
        "best, in seven times the time of dithering and a larger file; with --lambda, in a smaller "
        "one (default: with --effort best where colours are compared for looks)",
    )
    group.add_argument(
        "--dither",
        action="store_true",
        help="mix palette colours so that they look like those between",
    )
    group.add_argument(
        "--dither-strength",
        type=number_within(0, 1),
        metavar="S",
        help="how much to dither, 0 to 1 (default: 1); needs --dither",
    )
    group.add_argument(
        "--dither-method",
        choices=DITHER_METHODS,
        help="diffuse errors to neighbours, or use a blue-noise mask (default: diffusion); needs "
        "--dither",
    )


def _add_work(group: Options) -> None:
    add_effort_option(group, "good colours and a small file")
    group.add_argument(
        "--method",
        metavar="{deflate,rank,mix,label}",
        help="coder of the indices (default: kmq chooses)",
    )
    group.add_argument(
        "--strip-height",
        type=whole_number(1, MAX_SIDE),
        metavar="ROWS",
        help="rows of each strip, which can be decoded by itself (default: as many as make about "
        "250,000 pixels)",
    )
    add_threads_option(group)
    add_pixels_option(group)


def run(arguments: argparse.Namespace) -> int:
    """Encode each picture and print a line about it."""
    check_encoding_options(arguments)
    suffix = _suffix(arguments)
    jobs = batch.plan(
        arguments.pictures,
        paths.PICTURE_SUFFIXES,
        arguments.output,
        lambda _: suffix,
        replaces=is_picture(suffix),
    )
    chosen = steering.picture_options(arguments)
    return batch.each(jobs, partial(_encode, arguments, chosen), arguments)


def _suffix(arguments: argparse.Namespace) -> str:
    """Return the end of the names of files to write; raise UsageError if options contradict."""
    suffix: str = arguments.ext or f".{arguments.to or 'kmq'}"
    if not suffix.lower().endswith(_SUFFIXES):
        raise UsageError(f"--ext is {suffix}; it must end in {', '.join(_SUFFIXES)}")
    option, name = "--ext", arguments.ext
    if arguments.output is not None and _is_one_file(arguments.output):
        option, name = "-o", arguments.output
        try:
            checks.suffix(name, _SUFFIXES, "files that kmq encode writes")
        except InputError as error:
            raise UsageError(f"-o {error}") from error
        suffix = Path(name).suffix
    kind = "kmq" if suffix.lower().endswith(SUFFIXES) else suffix.lower().rpartition(".")[2]
    if arguments.to not in (None, kind):
        raise UsageError(
            f"{option} {name} and --to {arguments.to} are both given; one says the kind"
        )
    if kind != "kmq":
        for option in ("method", "strip_height"):
            if getattr(arguments, option) is not None:
                raise UsageError(f"--{option.replace('_', '-')} is about .kmq files, not .{kind}")
    return suffix


def _is_one_file(output: str) -> bool:
    return not pipes.is_pipe(output) and batch.folder_of(output) is None


def check_encoding_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if the options of `add_encoding_options` cannot be meant."""
    arguments.rate = arguments.rate or None  # 0 asks for nothing
    arguments.least_quality, arguments.quality = arguments.quality or (None, None)
    for name in ("dither_strength", "dither_method"):
        if getattr(arguments, name) is not None and not arguments.dither:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} needs --dither")
    if arguments.fewest and (arguments.psnr is None) == (arguments.max_mse is None):
        raise UsageError("--fewest needs one of --psnr and --max-mse")
    steering.check(arguments)
    _check_method(arguments.method)


def _check_method(name: str | None) -> None:
    if name is None:
        return
    from kmq.stages.coding.methods import strip_method

    try:
        strip_method(name)
    except InputError as error:
        raise UsageError(str(error)) from error


def _encode(
    arguments: argparse.Namespace,
    chosen: dict[str, Any],
    source: Path,
    target: Path,
    progress: Progress,
) -> str:
    from kmq.files import encoded
    from kmq.stages.pictures import npy

    if npy.is_npy(source):
        return _encode_labels(arguments, source, target)
    given = target_options(arguments) | quantize_options(arguments, chosen)
    given |= encode_options(arguments) | {"progress": by_stages(progress)}
    stripped = Metadata() if arguments.strip else None
    least = arguments.least_quality
    if least is not None:
        given["max_colors"] = (
            arguments.max_colors or MAX_COLORS
        )  # so that the best there is will do
    image, pieces, _ = encoded(source, given, stripped, str(target))
    if least and (looks := _looks(arguments, source, image)) < least:
        raise batch.LeftOutError(f"{source}: skipped, it would look {looks:.1f} of 100", NOT_GOOD)
    sizes = _write(arguments, source, target, pieces)
    if is_picture(target.name):
        _complain_of_kind(image, target, stripped)
    elif image.indices.size > Limits.pixels:
        complain(f"{target} has more than {Limits.pixels} pixels: its readers need --max-pixels")
    return (
        f"{target}: {colors(image.n_colors)}, {_size(*sizes, image.indices.size)}, "
        f"{_quality(image.report, arguments.psnr, arguments.max_mse)}"
    )


def _encode_labels(arguments: argparse.Namespace, source: Path, target: Path) -> str:
    """Encode the label map of an array file."""
    from kmq.labels import encode_labels
    from kmq.stages.pictures import npy

    if is_picture(target.name):
        raise InputError(
            f"it is a label map, which .kmq files keep; {target.suffix} is for pictures"
        )
    if option := _option_of_pictures(arguments):
        raise InputError(f"it is a label map, which is kept exactly; {option} is about pictures")
    labels = npy.read_labels(source, limits(arguments))
    encoded = encode_labels(labels, **encode_options(arguments))
    sizes = _write(arguments, source, target, [encoded])
    size = _size(*sizes, labels.size)
    return f"{target}: {label_map(labels.shape, labels.dtype)}, {size}"


def _option_of_pictures(arguments: argparse.Namespace) -> str | None:
    """Return the name of an option that is given and says nothing of label maps, or None."""
    return steering.option_of_colors(arguments) or ("--page" if arguments.page else None)


def _write(
    arguments: argparse.Namespace, source: Path, target: Path, pieces: list[bytes]
) -> tuple[int, int]:
    """Write a file unless it is to be skipped; return the bytes of the source and of the file."""
    from kmq.streams import write_all

    before, after = source.stat().st_size, sum(map(len, pieces))
    if arguments.skip_if_larger and after >= before:
        raise batch.LeftOutError(
            f"{source}: skipped, {after:,} bytes would not be smaller than {before:,}", NOT_SMALLER
        )
    with replacing(target) as stream:  # its name is checked, or is that of a pipe
        write_all(stream, pieces)
    return before, after


def _size(before: int, after: int, n_pixels: int) -> str:
    return f"{before:,} → {after:,} bytes, {8 * after / n_pixels:.3f} bits per pixel"


def _looks(arguments: argparse.Namespace, source: Path, image: IndexedImage) -> float:
    """Return SSIMULACRA2 of an image, compared with the picture that it was made from."""
    from kmq.stages.mapping.ssimulacra2 import ssimulacra2
    from kmq.stages.pictures.reading import read_pixels

    pixels = read_pixels(source, page=arguments.page, limits=limits(arguments))
    threads = resolve_threads(arguments.threads)
    return ssimulacra2(pixels.samples, image.to_array(), image.pixel_format, threads)


def _complain_of_kind(image: IndexedImage, target: Path, stripped: Metadata | None) -> None:
    """Say what a picture file lacks that a .kmq file would have."""
    if image.n_colors > 256:
        complain(f"{target} has no palette, which would hold 256 colours")
    complain_of_metadata(stripped or image.metadata, target)


def target_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say to `kmq.write` of colours and size."""
    from kmq.values import Fewest

    if arguments.fewest:
        psnr, max_mse = arguments.psnr, arguments.max_mse
        return {"k": Fewest(psnr=psnr, max_mse=max_mse, max_colors=arguments.max_colors)}
    names = ("k", "quality", "psnr", "size", "bpp", "max_mse", "max_colors")
    return {name: getattr(arguments, name) for name in names}


def quantize_options(arguments: argparse.Namespace, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what the options say to `kmq.quantize` besides; `steering` has `chosen` some."""
    from kmq.values import Dither, Optimize, Rate

    mapping: str | Dither | Optimize | Rate | None = None
    if arguments.optimize is False:
        mapping = "nearest"
    if arguments.optimize:
        mapping = Optimize(arguments.rate)
    elif arguments.dither:
        mapping = Dither(arguments.dither_strength, method=arguments.dither_method)
    elif arguments.rate is not None:
        mapping = Rate(arguments.rate)
    # With a given palette or start effort is the coder's alone.
    searches = arguments.palette is None and chosen["start"] is None
    return {
        "effort": arguments.effort if searches else None,
        "mapping": mapping,
        "n_threads": arguments.threads,
        **chosen,
    }


def encode_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say to `kmq.encode` and `kmq.write` of an image."""
    return {
        "effort": arguments.effort,
        "method": arguments.method,
        "strip_height": arguments.strip_height,
        "n_threads": arguments.threads,
        "limits": limits(arguments),
    }


def _quality(report: Report | None, psnr: float | None, max_mse: float | None) -> str:
    if report is None:
        return "exact"
    missed = ""
    if psnr is not None and report.psnr < psnr:
        missed = f" (below the {psnr:g} asked for)"
    elif max_mse is not None and report.mse > max_mse:
        missed = f" (an error of {report.mse:.4g}, above the {max_mse:g} asked for)"
    return decibels(report.psnr) + missed
