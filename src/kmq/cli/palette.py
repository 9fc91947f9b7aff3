"""``kmq palette``: one palette for one or many pictures, into a file that other programs read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from kmq.cli import batch, cluster, paths, pipes, steering, swatches
from kmq.cli.console import (
    DONE,
    FAILED,
    FAILURES,
    Bar,
    Commands,
    UsageError,
    add_colors_option,
    add_command,
    add_effort_option,
    add_force_option,
    add_output_option,
    add_pixels_option,
    add_quiet_option,
    add_threads_option,
    colors,
    complain,
    complaint_about,
    decibels,
    limits,
    number_within,
    positive_number,
    spoken,
    whole_number,
    working_time,
)
from kmq.cli.urls import File, Url
from kmq.errors import InputError, KmqError
from kmq.model.image import MAX_COLORS

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.histogram import ColorHistogram
    from kmq.model.pixel_format import PixelFormat

_EXAMPLES = f"""\
  kmq palette photos/ -k 32 -o theme.gpl     one palette for a folder of pictures
  kmq palette logo.png -k 8                  its colours, in hexadecimal
  kmq palette logo.png -k 5 --sort share     the most frequent colours first
  kmq encode photos/ --palette theme.gpl     use it
  kmq palette mon/ --histogram mon.kmqhist   count the colours of many pictures
  kmq palette *.kmqhist -o theme.png         one palette for several counts
  kmq palette sprites/ --opaque -o s.gpl     of opaque pixels only: GIMP palettes have no alpha
  kmq palette logo.png --json | jq -r '.hex[]'

keys of --json, whose output is also a palette file:
{swatches.JSON_KEYS}\
  n_pictures    pictures, or histograms of some
  n_pixels      their pixels
  n_distinct    their distinct colours
  mse           mean squared error per pixel, summed over the channels
  psnr          the same in decibels, or null if nothing is lost
"""

_HISTOGRAM_SUFFIX = ".kmqhist"

_ORDERS = ("color", "share")

_FORMATS = ("kmqpal", "gpl", "act", "pal", "hex", "txt", "json", "png")


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "palette",
        run,
        summary="find one palette for one or many pictures",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="+",
        help=f"file, folder, pattern, URL or -; {_HISTOGRAM_SUFFIX} files count for their pictures",
    )
    add_output_option(
        parser, "OUT", "palette file: .kmqpal .gpl .act .pal .hex .txt .json or .png, or -"
    )
    pipes.add_format_option(parser, _FORMATS, "kmqpal")
    add_colors_option(parser, "(default: 64)")
    parser.add_argument(
        "--psnr",
        type=positive_number,
        metavar="DB",
        help="as few colours as reach this PSNR in decibels over all pictures; not with -k",
    )
    parser.add_argument(
        "--max-mse",
        type=number_within(0, math.inf),
        metavar="MSE",
        help="the same for at most this mean squared error",
    )
    parser.add_argument(
        "--max-colors",
        type=whole_number(1, MAX_COLORS),
        metavar="N",
        help="with --psnr or --max-mse, most colours to use, even if they do not reach it",
    )
    parser.add_argument(
        "--histogram",
        metavar=f"FILE{_HISTOGRAM_SUFFIX}",
        help="also write the colours of all pictures and their counts to this file",
    )
    add_effort_option(parser)
    steering.add_options(parser.add_argument_group("which colours"))
    steering.add_page_option(parser)
    steering.add_start_options(parser.add_argument_group("plain k-means in place of the search"))
    parser.add_argument(
        "--opaque",
        action="store_true",
        help="ignore pixels that are not opaque, so that any kind of file can hold the palette",
    )
    parser.add_argument(
        "--sort",
        choices=_ORDERS,
        default=_ORDERS[0],
        help="order of the palette: similar colours together (the default), or largest share of "
        "the pixels first",
    )
    batch.add_jobs_option(parser)
    add_threads_option(parser)
    add_pixels_option(parser)
    output = parser.add_mutually_exclusive_group()
    add_quiet_option(output)
    output.add_argument("--json", action="store_true", help="print the palette and figures as JSON")
    add_force_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count the pictures' colours, find the palette, write and show it."""
    from kmq.model.histogram import ColorHistogram

    started = working_time()
    fitting = _fitting(arguments)
    sources = paths.find(arguments.pictures, paths.PICTURE_SUFFIXES)
    _claim_targets(arguments, sources)
    failures: list[str] = []
    histogram: ColorHistogram | None = None
    with cluster.client_of(arguments) as client, Bar(len(sources)) as bar:
        if client is not None:
            histogram = _counted_there(arguments, sources, failures, bar, client)
        else:
            counted = _counted(arguments, sources, failures, bar)
            first = next(counted, None)
            if first is not None:
                histogram = ColorHistogram.from_pictures(_chained(first, counted))
        bar.clear()
    for failure in failures:
        complain(failure)
    if failures or histogram is None:
        n_failed = f"{len(failures)} of {len(sources)} pictures"
        complain(f"nothing is written: {n_failed} cannot be used; leave them out")
        return FAILED
    if arguments.histogram is not None:
        histogram.write(arguments.histogram)
    if arguments.opaque:
        histogram = _opaque_part(histogram)
    _fit(arguments, fitting, histogram, len(sources), started)
    return DONE


def _fitting(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say to `kmq.fit_palette`, or raise UsageError."""
    from kmq.values import Fewest

    steering.check(arguments, effort_searches=True)
    k, most = arguments.k, arguments.max_colors
    if arguments.psnr is not None or arguments.max_mse is not None:
        k = Fewest(psnr=arguments.psnr, max_mse=arguments.max_mse, max_colors=most)
    return {
        "k": most if k is None else k,
        "effort": arguments.effort,
        "n_threads": arguments.threads,
        **steering.options(arguments),
    }


def _claim_targets(arguments: argparse.Namespace, sources: Sequence[paths.Source]) -> None:
    """Find out what would stop writing before the work is done."""
    if arguments.output is not None:
        from kmq.palettes import SUFFIXES

        arguments.output = pipes.target(arguments.output, ".kmqpal", arguments.format)
        if Path(arguments.output).suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"-o {arguments.output} must end in the suffix of a palette: {', '.join(SUFFIXES)}"
            )
    if arguments.histogram is not None:
        arguments.histogram = pipes.target(arguments.histogram, _HISTOGRAM_SUFFIX)
    if arguments.histogram is not None and not _is_histogram(Path(arguments.histogram)):
        raise UsageError(f"--histogram {arguments.histogram} does not end in {_HISTOGRAM_SUFFIX}")
    for target in (arguments.output, arguments.histogram):
        if target is not None:
            for source in sources:
                paths.claim(Path(target), force=arguments.force, source=source.path)


def _is_histogram(path: File) -> bool:
    return path.suffix.lower() == _HISTOGRAM_SUFFIX


def _holds_histogram(source: File) -> bool:
    """Whether a histogram came through a pipe, which has no suffix to say so."""
    from kmq.stages.histogram.file import SIGNATURE

    if isinstance(source, Url) or not pipes.is_piped(source):
        return False
    with source.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def _counted(
    arguments: argparse.Namespace,
    sources: Sequence[paths.Source],
    failures: list[str],
    bar: Bar,
) -> Iterator[ColorHistogram]:
    """Yield the histogram of each source, or note why there is none."""
    from kmq.model.formats import common_format

    common = None
    n_jobs = batch.at_once(arguments, len(sources))
    work = partial(_count, arguments)
    with closing(batch.in_order(work, sources, n_jobs, Event())) as results:
        for number, (source, histogram) in enumerate(zip(sources, results, strict=True), 1):
            try:
                if isinstance(histogram, Exception):
                    raise histogram
                common = common_format(common or histogram.pixel_format, histogram.pixel_format)
            except FAILURES as error:
                failures.append(complaint_about(source.path, error))
            else:
                yield histogram
            bar.next()
            bar.advance(f"counted {number:,} of {len(sources):,}", 0)


def _counted_there(
    arguments: argparse.Namespace,
    sources: Sequence[paths.Source],
    failures: list[str],
    bar: Bar,
    client: Any,
) -> ColorHistogram | None:
    """Do as `_counted` on a cluster, where the histograms are added up as well."""
    from kmq.pipeline.cluster import summed

    if any(pipes.is_piped(source.path) for source in sources):
        raise UsageError("--cluster works on files; nothing can come through a pipe")

    def hear(number: int) -> None:
        bar.next()
        bar.advance(f"counted {number:,} of {len(sources):,}", 0)

    there = argparse.Namespace(**{**vars(arguments), "threads": arguments.threads or 1})
    absolute = [source._replace(path=paths.absolute(source.path)) for source in sources]
    try:
        sums = summed(absolute, partial(_sum_of_one, there), _added, client, hear)
    except Exception as error:  # of whatever kind: faults of pictures are in the sums
        raise KmqError(f"the cluster lost the pictures: {cluster.one_line(error)}") from error
    if sums is None:
        return None
    given = {far.path: near.path for far, near in zip(absolute, sources, strict=True)}
    failures += [paths.as_given(text, given[source.path]) for source, text in sums.failures]
    return sums.histogram


class _Sum(NamedTuple):
    """The histogram of some sources, the first that is in it, and others with their errors."""

    histogram: ColorHistogram | None
    first: paths.Source
    failures: list[tuple[paths.Source, str]]


def _sum_of_one(arguments: argparse.Namespace, source: paths.Source) -> _Sum:
    histogram = _count(arguments, source)
    if isinstance(histogram, Exception):
        return _Sum(None, source, [(source, complaint_about(source.path, histogram))])
    return _Sum(histogram, source, [])


def _added(sums: Sequence[_Sum]) -> _Sum:
    """Add up what fits together, and note what does not."""
    from kmq.model.histogram import ColorHistogram

    failures = [failure for each in sums for failure in each.failures]
    total, first = None, sums[0].first
    for each in sums:
        if each.histogram is None:
            continue
        if total is None:
            total, first = each.histogram, each.first
            continue
        try:
            total = ColorHistogram.from_pictures([total, each.histogram], n_threads=1)
        except FAILURES as error:
            failures.append((each.first, complaint_about(each.first.path, error)))
    return _Sum(total, first, failures)


def _count(arguments: argparse.Namespace, source: paths.Source) -> ColorHistogram | Exception:
    """Return the histogram of a source, or its error."""
    from kmq.model.histogram import ColorHistogram

    try:
        file = source.file()
        if _is_histogram(file) or _holds_histogram(file):
            return ColorHistogram.read(file)
        return ColorHistogram.from_picture(
            file, page=arguments.page, n_threads=arguments.threads, limits=limits(arguments)
        )
    except FAILURES as error:
        return error


def _chained(first: ColorHistogram, rest: Iterator[ColorHistogram]) -> Iterator[ColorHistogram]:
    yield first
    yield from rest


def _opaque_part(histogram: ColorHistogram) -> ColorHistogram:
    """Return the opaque colours without alpha, and print how many others there are."""
    from kmq.model import alpha
    from kmq.model.formats import without_alpha
    from kmq.model.histogram import ColorHistogram

    pixel_format = histogram.pixel_format
    if not pixel_format.has_alpha:
        return histogram
    opaque = alpha.kinds(histogram.colors, pixel_format) == alpha.OPAQUE
    if not opaque.any():
        raise InputError("no pixel is opaque; leave out --opaque")
    colors, counts = histogram.colors[opaque], histogram.counts[opaque]
    kept = ColorHistogram(colors, counts, pixel_format).to_format(without_alpha(pixel_format))
    n_left_out = histogram.n_pixels - kept.n_pixels
    if n_left_out:
        share = swatches.share_of(n_left_out / histogram.n_pixels)
        complain(f"left out {n_left_out:,} pixels that are not opaque, {share} of all")
    return kept


def _fit(
    arguments: argparse.Namespace,
    fitting: dict[str, Any],
    histogram: ColorHistogram,
    n_pictures: int,
    started: float,
) -> None:
    """Find the palette, write it if that was asked for, and print it."""
    from kmq.pipeline.quantizing import map_histogram
    from kmq.quantizing import fit_palette
    from kmq.stages.mapping.metrics import psnr

    pixel_format = histogram.pixel_format
    palette = fit_palette(histogram, **fitting).colors
    error, counts = map_histogram(histogram, palette)
    if arguments.sort == "share":
        order = (-counts).argsort(kind="stable")
        palette, counts = palette[order], counts[order]
    decibels_reached = psnr(error, pixel_format)
    if arguments.output is not None:
        _write(arguments.output, palette, pixel_format)
    if arguments.json:
        import json

        figures = swatches.as_json(palette, pixel_format, counts) | {
            "n_pictures": n_pictures,
            "n_pixels": histogram.n_pixels,
            "n_distinct": histogram.n_colors,
            "mse": error,
            "psnr": None if math.isinf(decibels_reached) else decibels_reached,
        }
        print(json.dumps(figures, indent=2))
    if arguments.json or arguments.quiet:
        return
    pictures = "1 picture" if n_pictures == 1 else f"{n_pictures:,} pictures"
    name = "" if arguments.output is None else f"{arguments.output}: "
    line = (
        f"{name}{colors(len(palette))} for {pictures}, {pixel_format.label}, "
        f"{histogram.n_colors:,} distinct among {histogram.n_pixels:,} pixels, "
        f"{decibels(decibels_reached)}, {working_time() - started:.2f} s"
    )
    print(spoken(line))
    rest = "--json and -o have them all"
    print("\n".join(swatches.lines(palette, pixel_format, counts, rest=rest)))


def _write(output: str, palette: np.ndarray[Any, Any], pixel_format: PixelFormat) -> None:
    from kmq.palettes import write_palette

    try:
        write_palette(output, palette, pixel_format=pixel_format)
    except InputError as error:
        if pixel_format.has_alpha:
            raise InputError(f"{error}; --opaque leaves out pixels that are not opaque") from error
        raise
