"""``kmq info``: what files say about themselves, without decoding their pixels."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kmq.cli import paths, swatches
from kmq.cli.console import (
    DONE,
    FAILED,
    FAILURES,
    Commands,
    add_command,
    add_pixels_option,
    add_work_option,
    colors,
    complain,
    complaint_about,
    counted,
    label_map,
    limits,
    named,
    spoken,
)
from kmq.cli.pictures import entry_counts
from kmq.cli.urls import File
from kmq.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.file_info import FileInfo, Limits, StripInfo
    from kmq.model.image import Metadata

    _Result = tuple[File, FileInfo, np.ndarray[Any, Any] | None]

_EXAMPLES = f"""\
  kmq info photo.kmq
  kmq info photo.kmq --counts                which colours most pixels show
  kmq info pictures/                         a line for each file, and their sum
  kmq info photo.kmq --json | jq .bits_per_pixel
  kmq info *.kmq --json | jq '.[].file'      a list, for a pattern or several files

keys of --json:
  file, version, file_size, width, height, bits_per_pixel
{swatches.JSON_KEYS}\
                (counts and shares are null without --counts)
  memory        bytes of the picture before it is compressed
  parts         bytes of palette, strips, metadata and frame, which is all the rest
  ordered_palette_bytes
                what the palette would take in the order that kmq.quantize gives it
  strip_height  rows of each strip but perhaps the last
  strips        list of them: row, height, offset and length in bytes, method
  chunks        list of them: letter, offset, length of what they hold
  labels        of a label map its dtype, shape and values; null for a picture
  frames        of a sequence a list of them: delay in milliseconds, is_key; null for a picture
  plays         how often a sequence is played; 0 is without end
  metadata      icc_profile_bytes, exif_bytes, xmp_bytes, dpi, text, gamma, chromaticities, srgb,
                cicp, unknown
"""

_MOST_ROWS = 32
"""Strips and chunks shown; --json lists them all."""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "info",
        run,
        summary="show header, palette, strips and chunks of .kmq files",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "files", metavar="FILE.kmq", nargs="+", help="file, folder, pattern, URL or -"
    )
    parser.add_argument(
        "--counts",
        action="store_true",
        help="also decode the pixels and count those of each colour",
    )
    add_pixels_option(parser)
    add_work_option(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print what `kmq.info` tells of each file, and report those that cannot be read."""
    sources = paths.find(arguments.files, frozenset([".kmq"]))
    several = paths.names_several(arguments.files)
    failed: list[File] = []
    results = _read_each(sources, arguments.counts, limits(arguments), failed)
    if arguments.json:
        _show_json(results, several)
    elif several:
        _show_each(results)
    else:
        for source, facts, counts in results:
            print("\n".join(_lines(source, facts, counts)))
    return FAILED if failed else DONE


def _read_each(
    sources: Sequence[paths.Source], with_counts: bool, limits: Limits, failed: list[File]
) -> Iterator[_Result]:
    """Yield the facts about each file, or print its error."""
    from kmq.pipeline import decoding  # and not `kmq.files`, which would import all that encodes
    from kmq.streams import opened

    for source in sources:
        try:
            with opened(source.file()) as stream:
                facts = decoding.info(stream, limits)
            counts = _counts(source.path, facts, limits) if with_counts else None
        except FAILURES as error:
            complain(complaint_about(source.path, error))
            failed.append(source.path)
        else:
            yield source.path, facts, counts


def _counts(source: File, facts: FileInfo, limits: Limits) -> np.ndarray[Any, Any]:
    import numpy as np

    from kmq.files import read
    from kmq.frames import read_frames

    if facts.frames:
        images = read_frames(source, limits=limits)
        if any(image.palette.tolist() != facts.palette.tolist() for image in images):
            raise InputError("frames have palettes of their own; --counts is about one palette")
        counts: np.ndarray[Any, Any] = np.sum([entry_counts(each) for each in images], axis=0)
        return counts
    return entry_counts(read(source, limits=limits))


def _show_json(results: Iterator[_Result], several: bool) -> None:
    """Print an object, or a list with an object for each file in a line of its own."""
    import json

    texts = [
        json.dumps(
            {"file": named(str(source))} | as_json(facts, counts), indent=None if several else 2
        )
        for source, facts, counts in results
    ]
    if several:
        print("[", ",\n".join(texts), "]", sep="\n")
    elif texts:
        print(texts[0])


def _show_each(results: Iterator[_Result]) -> None:
    """Print a line for each file, and their sum."""
    n_files = n_bytes = n_pixels = 0
    for source, facts, counts in results:
        size = _size_text(facts.file_size, facts.bits_per_pixel)
        print(f"{_headline(source, facts)}, {size}")
        if counts is not None:
            print("\n".join(_palette_lines(facts, counts)))
        n_files += 1
        n_bytes += facts.file_size
        n_pixels += facts.n_pixels
    if n_files:
        print(f"{n_files:,} files: {_size_text(n_bytes, 8 * n_bytes / n_pixels)}")


def as_json(facts: FileInfo, counts: np.ndarray[Any, Any] | None) -> dict[str, Any]:
    """Return the facts as plain numbers, strings, lists and dictionaries."""
    metadata = facts.metadata
    return {
        "version": facts.version,
        "file_size": facts.file_size,
        "width": facts.width,
        "height": facts.height,
        "bits_per_pixel": facts.bits_per_pixel,
        **swatches.as_json(facts.palette, facts.pixel_format, counts),
        "memory": facts.memory,
        "parts": facts.parts,
        "ordered_palette_bytes": _ordered_size(facts),
        "strip_height": facts.strip_height,
        "strips": [
            {
                "row": strip.row,
                "height": strip.height,
                "offset": strip.offset,
                "length": strip.length,
                "method": strip.method,
            }
            for strip in facts.strips
        ],
        "chunks": [
            {"letter": chunk.letter, "offset": chunk.offset, "length": chunk.length}
            for chunk in facts.chunks
        ],
        "labels": facts.labels
        and {
            "dtype": str(facts.labels.values.dtype),
            "shape": list(facts.labels.shape),
            "values": facts.labels.values.tolist(),
        },
        "frames": [{"delay": frame.delay, "is_key": frame.is_key} for frame in facts.frames]
        or None,
        "plays": facts.plays,
        "metadata": {
            "icc_profile_bytes": len(metadata.icc_profile or b""),
            "exif_bytes": len(metadata.exif or b""),
            "xmp_bytes": len(metadata.xmp or b""),
            "dpi": metadata.dpi,
            "text": dict(metadata.text),
            "gamma": metadata.gamma,
            "chromaticities": metadata.chromaticities,
            "srgb": metadata.srgb,
            "cicp": metadata.cicp,
            "unknown": [
                {"letter": letter, "length": len(payload)} for letter, payload in metadata.extra
            ],
        },
    }


def _lines(source: File, facts: FileInfo, counts: np.ndarray[Any, Any] | None) -> Iterator[str]:
    yield f"{_headline(source, facts)}, format version {facts.version}"
    yield _row("file", _size_text(facts.file_size, facts.bits_per_pixel))
    yield from _part_lines(facts)
    yield _row("memory", _memory_sum(facts))
    yield from _metadata_lines(facts.metadata)
    if facts.frames:
        yield from _frame_lines(facts)
        yield _row("strips", f"{len(facts.strips):,}, of rows that frames change")
    else:
        yield _row("strips", f"{len(facts.strips):,} of up to {facts.strip_height:,} rows")
    names = _method_names()
    strips = [
        f"{_rows(facts, strip)}: "
        f"{names.get(strip.method, 'unknown method')} ({strip.method}), "
        f"{strip.length:,} bytes at {strip.offset:,}"
        for strip in facts.strips
    ]
    yield from _shortened(strips)
    yield _row("chunks", f"{len(facts.chunks):,}")
    chunks = [
        f"{chunk.letter}: {chunk.length:,} bytes at {chunk.offset:,}" for chunk in facts.chunks
    ]
    yield from _shortened(chunks)
    if facts.labels is not None:
        values = facts.labels.values.tolist()
        yield _row("labels", f"{len(values):,}, as they first occur")
        yield from _shortened([str(value) for value in values])
        return
    yield _row("palette", colors(facts.n_colors))
    yield from _palette_lines(facts, counts)


def _headline(source: File, facts: FileInfo) -> str:
    if facts.labels is not None:
        told = label_map(facts.labels.shape, facts.labels.values.dtype)
        return f"{spoken(str(source))}: {told}, {counted(facts.n_colors, 'label')}"
    size = f"{facts.width} × {facts.height} pixels"
    if facts.frames:
        size = f"{counted(len(facts.frames), 'frame')}, {size}"
    return f"{spoken(str(source))}: {size}, {facts.pixel_format.label}, {colors(facts.n_colors)}"


def _rows(facts: FileInfo, strip: StripInfo) -> str:
    if facts.frames:
        return f"{strip.height:,} rows"
    return f"rows {strip.row:,} to {strip.row + strip.height - 1:,}"


def _frame_lines(facts: FileInfo) -> Iterator[str]:
    seconds = sum(frame.delay for frame in facts.frames) / 1000
    plays = {0: "without end", 1: "once"}.get(facts.plays, f"{facts.plays:,} times")
    yield _row("frames", f"{len(facts.frames):,}, {seconds:,.2f} s, played {plays}")
    keys = [number for number, frame in enumerate(facts.frames, 1) if frame.is_key]
    named = ", ".join(f"{number:,}" for number in keys[:_MOST_ROWS])
    yield _row("", f"{len(keys):,} key: {named}{', …' * (len(keys) > _MOST_ROWS)}")


def _size_text(n_bytes: int, bits_per_pixel: float) -> str:
    return f"{n_bytes:,} bytes, {bits_per_pixel:.3f} bits per pixel"


def _palette_lines(facts: FileInfo, counts: np.ndarray[Any, Any] | None) -> Iterator[str]:
    return swatches.lines(
        facts.palette,
        facts.pixel_format,
        counts,
        indent=_row("", ""),
        rest="--json lists them all",
    )


def _part_lines(facts: FileInfo) -> Iterator[str]:
    """Say where the bytes are, and how many of the palette's are due to its order."""
    ordered = _ordered_size(facts)
    for part, size in facts.parts.items():
        line = f"{part:<9}{size:>13,} {size / facts.file_size:6.1%}"
        if part == "palette" and ordered < size:
            line += f"  {ordered:,} if in the order that kmq.quantize gives it"
        yield _row("", line)


def _ordered_size(facts: FileInfo) -> int:
    """Return the bytes that the palette would take in the order that codes best."""
    import numpy as np

    from kmq.stages.coding.palette_tree import ascending
    from kmq.stages.coding.palettes import encode_palette

    ordered = ascending(facts.palette)
    if np.array_equal(ordered, facts.palette):
        return facts.parts["palette"]
    return len(encode_palette(ordered))


def _method_names() -> dict[int, str]:
    from kmq.stages.coding.methods import STRIP_METHODS

    return {method.code: method.name for method in STRIP_METHODS}


def _row(label: str, text: str) -> str:
    return f"{label:<9}{text}"


def _memory_sum(facts: FileInfo) -> str:
    pixel_size = facts.memory / facts.n_pixels
    names, sizes = "", ""
    if facts.frames:
        names, sizes = "frames × ", f"{len(facts.frames)} × "
    return (
        f"{names}height × width × bytes per pixel = "
        f"{sizes}{facts.height} × {facts.width} × {pixel_size:g} "
        f"= {facts.memory:,.12g} bytes; the file is {facts.file_size:,} "
        f"({facts.file_size / facts.memory:.1%})"
    )


def _metadata_lines(metadata: Metadata) -> Iterator[str]:
    blocks = (
        ("icc", "colour profile", metadata.icc_profile),
        ("exif", "EXIF", metadata.exif),
        ("xmp", "XMP", metadata.xmp),
    )
    for label, title, block in blocks:
        if block is not None:
            yield _row(label, f"{title}, {len(block):,} bytes")
    if metadata.dpi is not None:
        yield _row("dpi", "{:g} × {:g}".format(*metadata.dpi))
    if metadata.gamma is not None:
        yield _row("gamma", f"{metadata.gamma:g}")
    if metadata.chromaticities is not None:
        places = " ".join(f"{place:g}" for place in metadata.chromaticities)
        yield _row("xy", f"{places} of white, red, green, blue")
    if metadata.srgb is not None:
        yield _row("sRGB", f"{metadata.srgb} intent")
    if metadata.cicp is not None:
        yield _row("cicp", " ".join(map(str, metadata.cicp)))
    for keyword, text in metadata.text.items():
        yield _row("text", f"{keyword!r}: {text!r}")


def _shortened(lines: list[str]) -> Iterator[str]:
    yield from (_row("", line) for line in lines[:_MOST_ROWS])
    if len(lines) > _MOST_ROWS:
        yield _row("", f"… and {len(lines) - _MOST_ROWS:,} more; --json lists them all")
