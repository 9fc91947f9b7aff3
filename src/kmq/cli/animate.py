"""``kmq animate``: frames to an animated file or a sequence, with few colours."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from kmq import checks
from kmq.atomic import replacing
from kmq.cli import paths, pipes
from kmq.cli.console import (
    DONE,
    Bar,
    Commands,
    UsageError,
    about,
    add_colors_option,
    add_command,
    add_effort_option,
    add_existing_options,
    add_output_option,
    add_pixels_option,
    add_quiet_option,
    add_threads_option,
    colors,
    complain_of_metadata,
    counted,
    decibels,
    limits,
    number_within,
    spoken,
    whole_number,
    working_time,
)
from kmq.errors import InputError
from kmq.model.choices import DITHER_METHODS, PICTURES
from kmq.model.file_info import MAX_FRAMES, MAX_GIF_DELAY, MAX_PLAYS

if TYPE_CHECKING:
    from kmq.model.image import QuantizedImage
    from kmq.stages.pictures.animation import Animation
    from kmq.values import Dither, Optimize

_DEFAULT_COLORS = 255

_KINDS = (*PICTURES, ".kmq")

_EXAMPLES = """\
  kmq animate clip.gif -o small.gif -k 64      fewer colours, the same times
  kmq animate frames/ -o clip.png --delay 40   an animated PNG of all pictures of a folder
  kmq animate clip.webp -o clip.gif --optimize --lambda 2
  kmq animate clip.gif -o clip.kmq             by far the smallest; kmq decode makes a picture of it
  kmq animate - -o - < clip.gif > small.gif    through pipes
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = add_command(
        commands,
        "animate",
        run,
        summary="make an animated GIF, PNG, WebP or .kmq file with few colours that do not flicker",
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "frames",
        metavar="FRAME",
        nargs="+",
        help="one animated file, or - for one through a pipe; or pictures of one size, a folder or "
        "a pattern of them, in the order of their names, 9 before 10",
    )
    add_output_option(
        parser,
        "OUT",
        "file to write: .gif, .png (animated), .webp (lossless) or .kmq; - is standard output (the "
        "default for piped input)",
    )
    pipes.add_format_option(parser, [kind[1:] for kind in _KINDS], "gif")
    add_existing_options(parser, "do nothing if the file exists already")
    add_colors_option(
        parser, f"(default: {_DEFAULT_COLORS}, which leaves one for pixels that stay)"
    )
    parser.add_argument(
        "--palette",
        choices=("shared", "each"),
        default="shared",
        help="one palette for all frames (the default), or one for each",
    )
    parser.add_argument(
        "--lambda",
        dest="rate",
        type=number_within(0, math.inf),
        metavar="L",
        help="let what changes have other colours where that makes the file smaller, by squared "
        "error + L x E x bits, with E the mean squared error: 1 is little, 4 is seen, 0 off",
    )
    parser.add_argument(
        "--optimize",
        action="store_true",
        help="choose indices and palette by how the frames look after the eye's own blur: looks "
        "best, and takes longest",
    )
    parser.add_argument(
        "--dither",
        action="store_true",
        help="mix colours; where nothing changes, the mixture stands still",
    )
    parser.add_argument(
        "--dither-method",
        choices=DITHER_METHODS,
        help="a fixed pattern (ordered, the default), or errors passed on to neighbours",
    )
    add_effort_option(parser)
    parser.add_argument(
        "--delay",
        type=number_within(0, MAX_GIF_DELAY),
        metavar="MS",
        help="milliseconds that each frame is shown (default: as in the file; 100 for pictures)",
    )
    parser.add_argument(
        "--plays",
        type=whole_number(0, MAX_PLAYS),
        metavar="N",
        help="how often all is played; 0 is without end (default: as in the file; 0 for pictures)",
    )
    parser.add_argument(
        "--key-interval",
        type=whole_number(1, MAX_FRAMES),
        metavar="N",
        help="of .kmq files: frames at most from one that can be read by itself to the next "
        "(default: as many as change a million pixels)",
    )
    add_quiet_option(parser)
    add_threads_option(parser)
    add_pixels_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the frames, quantize them, write the file and print a line about it."""
    started = working_time()
    mapping = _mapping(arguments)
    sources = paths.find(arguments.frames, paths.PICTURE_SUFFIXES)
    target = _target(arguments, sources)
    if arguments.skip_existing and paths.exists(target):
        if not arguments.quiet:
            print(spoken(f"{target}: skipped; it exists already"))
        return DONE
    for source in sources:
        paths.claim(target, force=arguments.force, source=source.file())
    images, content = _made(_read(sources, arguments), target, mapping, arguments)
    with replacing(target) as stream:
        stream.write(content)
    if target.suffix.lower() in PICTURES:
        complain_of_metadata(images[0].metadata, target)
    if not arguments.quiet:
        seconds = working_time() - started
        print(spoken(f"{target}: {_told(images)}, {len(content):,} bytes, {seconds:.2f} s"))
    return DONE


def _made(
    animation: Animation,
    target: Path,
    mapping: Dither | Optimize | None,
    arguments: argparse.Namespace,
) -> tuple[list[QuantizedImage], bytes]:
    """Return the images and the file."""
    from kmq.frames import coder, quantize_frames
    from kmq.pipeline.frames import loss_of
    from kmq.threads import resolve_threads
    from kmq.values import Optimize, Rate

    threads = resolve_threads(arguments.threads)
    lam, loss = arguments.rate, None
    how: Dither | Optimize | Rate | None = mapping
    if lam and target.suffix.lower() == ".gif":
        loss = loss_of(animation.frames, lam, threads)
    elif lam:  # kmq's own code is near enough to those of the other files
        how = Optimize(lam) if arguments.optimize else Rate(lam)
    effort, interval = arguments.effort, arguments.key_interval
    code = coder(str(target), effort, None, interval, threads, limits(arguments), loss)
    with Bar(1) as bar:
        images = quantize_frames(
            animation.frames,
            arguments.k or _DEFAULT_COLORS,
            palette=arguments.palette,
            mapping=how,
            effort=effort,
            n_threads=arguments.threads,
            progress=bar.advance,
        )
        pieces = code(images, animation.durations, animation.plays)
    return images, b"".join(pieces)


def _target(arguments: argparse.Namespace, sources: list[paths.Source]) -> Path:
    output = arguments.output
    if output is None:
        if not any(pipes.is_piped(source.path) for source in sources):
            raise UsageError(f"-o is missing; it names the file to write, {', '.join(_KINDS)}")
        output = pipes.STANDARD
    target = pipes.target(output, ".gif", arguments.format)
    if not target.suffix and arguments.format:
        return target.with_suffix(f".{arguments.format}")
    if not target.suffix:
        raise UsageError(f"-o {target} has no suffix; it must be one of {', '.join(_KINDS)}")
    try:
        checks.suffix(target, _KINDS, "animated files")
    except InputError as error:
        raise UsageError(f"-o {error}") from error
    if arguments.key_interval is not None and target.suffix.lower() in PICTURES:
        raise UsageError(f"--key-interval is about .kmq files; {target} is another kind")
    return target


def _read(sources: list[paths.Source], arguments: argparse.Namespace) -> Animation:
    """Return the frames with the times that are asked for, or else those of the file."""
    from kmq.pipeline.frames import read_animation
    from kmq.pipeline.reading import read_picture, reread
    from kmq.stages.pictures.animation import Animation
    from kmq.threads import resolve_threads

    most, threads = limits(arguments), resolve_threads(arguments.threads)
    if len(sources) == 1:
        with about(sources[0].path):
            animation = read_animation(reread(sources[0].file()), most, threads)
    else:
        frames = []
        for source in sources:
            with about(source.path):
                frames.append(read_picture(source.file(), None, None, most, threads))
        animation = Animation.of_pictures(frames)
    if arguments.delay is not None:
        animation = animation._replace(durations=[arguments.delay] * len(animation.frames))
    if arguments.plays is not None:
        animation = animation._replace(plays=arguments.plays)
    return animation


def _mapping(arguments: argparse.Namespace) -> Dither | Optimize | None:
    from kmq.values import Dither, Optimize

    if arguments.dither and arguments.optimize:
        raise UsageError("--dither and --optimize are both given; each chooses all indices")
    if arguments.dither and arguments.rate:
        raise UsageError("--dither and --lambda are both given; each chooses all indices")
    if arguments.dither:
        return Dither(method=arguments.dither_method or "ordered")
    if arguments.dither_method is not None:
        raise UsageError("--dither-method needs --dither")
    return Optimize() if arguments.optimize else None


def _told(images: list[QuantizedImage]) -> str:
    most = max(image.n_colors for image in images)
    worst = min(image.report.psnr for image in images)
    quality = decibels(worst) + ("" if math.isinf(worst) else " or better")
    return f"{counted(len(images), 'frame')}, {colors(most)}, {quality}"
