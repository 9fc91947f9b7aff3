"""How the commands speak: exit codes, messages, numbers."""

from __future__ import annotations

import argparse
import math
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmq import compiling
from kmq.errors import KmqError
from kmq.model.file_info import Limits
from kmq.model.image import MAX_COLORS, Metadata
from kmq.threads import MAX_THREADS

if TYPE_CHECKING:
    import numpy as np

DONE, FAILED, MISUSED = 0, 1, 2
NOT_SMALLER, NOT_GOOD = 98, 99  # as pngquant has them

EXIT_CODES = """\
exit codes:
  0    success
  1    some files failed; the others are done
  2    usage error; nothing was done
  98   nothing failed, but --skip-if-larger left out a file
  99   nothing failed, but --quality MIN-MAX left out a file
  130  interrupted
  141  the program that reads the output has ended
"""

FAILURES = (KmqError, OSError, TypeError, MemoryError)
"""What a picture, a file or an argument can be at fault for; anything else is a fault of ours."""

Progress = Callable[[str, float], None]
"""Hears the name of a stage and how much of it is done, from 0 to 1."""

_UNITS: dict[str, int] = {"": 1, "b": 1}
for _power, _prefix in enumerate("kmg", 1):
    _UNITS |= {_prefix: 1000**_power, f"{_prefix}b": 1000**_power, f"{_prefix}ib": 1024**_power}

_BAR_AFTER = 1.0  # seconds

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

SPOKEN: dict[str, str] = {}
"""What a file is called that stands in for a pipe or URL: its path, which may lack the suffix, and
the name."""

Commands = Any
"""What `add_subparsers` returns; its class is not public."""

Options = Any
"""A parser or a group of one; their common class is not public."""


class UsageError(Exception):
    """The command line asks for something that cannot be meant; nothing was done."""


_bars: list[Bar] = []

_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)
"""Messages of the job that this thread does, which wait for their turn."""


def say(message: str) -> None:
    """Print a message on stderr at once."""
    for bar in _bars:
        bar.clear()
    print(f"kmq: {spoken(message)}", file=sys.stderr)


def complain(message: str) -> None:
    """Print a message on stderr, or keep it within `keeping_messages`."""
    kept = _kept.get()
    if kept is None:
        say(message)
    else:
        kept.append(named(message))  # while the file is there that it may be about


def complain_of_metadata(metadata: Metadata, target: Path) -> None:
    """Warn of metadata that the picture file has no place for."""
    from kmq.stages.pictures.writing import metadata_left_out

    if left_out := metadata_left_out(metadata, target):
        complain(f"warning: {left_out}")


@contextmanager
def keeping_messages() -> Iterator[list[str]]:
    """Keep what this thread complains of meanwhile in a list, for whoever prints it in order."""
    kept: list[str] = []
    before = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(before)


def named(text: str) -> str:
    """Call files that stand in for pipes or URLs by the names of those."""
    for path, name in list(SPOKEN.items()):  # which other jobs may add to meanwhile
        text = name.join(re.split(re.escape(path) + r"(?:\.\w+)?", text))
    return text


def spoken(line: str) -> str:
    """Do as `named`, and write controls as escapes: a file's name may move a terminal's cursor, or
    begin a line of its own."""
    return _CONTROLS.sub(lambda control: f"\\x{ord(control[0]):02x}", named(line))


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add a sub-command; `examples` are lines below its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_colors_option(parser: Options, remark: str, default: int | None = None) -> None:
    """Add ``-k``."""
    parser.add_argument(
        "-k",
        "--colors",
        dest="k",
        type=whole_number(1, MAX_COLORS),
        metavar="COLOURS",
        default=default,
        help=f"most colours in the palette, 1 to {MAX_COLORS} {remark}",
    )


def add_threads_option(parser: Options) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=whole_number(1, MAX_THREADS),
        metavar="N",
        help="most threads to use (default: KMQ_NUM_THREADS, or all cores)",
    )


def add_pixels_option(parser: Options) -> None:
    """Add ``--max-pixels``."""
    parser.add_argument(
        "--max-pixels",
        type=whole_number(1, 2**63 - 1),
        default=Limits.pixels,
        metavar="N",
        help=f"refuse pictures with more pixels (default: {Limits.pixels})",
    )


def add_work_option(parser: Options) -> None:
    """Add ``--max-work``."""
    parser.add_argument(
        "--max-work",
        type=whole_number(0, 2**63 - 1),
        default=Limits.decisions,
        metavar="N",
        help="refuse .kmq files that take far longer to decode than their size suggests: N is the "
        f"most extra binary decisions; a million take about 0.1 s (default: {Limits.decisions})",
    )


def limits(arguments: argparse.Namespace) -> Limits:
    """Return what ``--max-pixels`` and, where there is one, ``--max-work`` say."""
    work: int = getattr(arguments, "max_work", Limits.decisions)
    return Limits(pixels=arguments.max_pixels, decisions=work)


def add_output_option(parser: Options, metavar: str, told: str, default: str | None = None) -> None:
    """Add ``-o``."""
    parser.add_argument("-o", "--output", metavar=metavar, default=default, help=told)


def add_force_option(parser: Options) -> None:
    """Add ``--force``."""
    parser.add_argument("-f", "--force", action="store_true", help="overwrite existing files")


def add_existing_options(parser: argparse.ArgumentParser, skipping: str) -> None:
    """Add ``--force`` and ``--skip-existing``; `skipping` tells of the second."""
    existing = parser.add_mutually_exclusive_group()
    add_force_option(existing)
    existing.add_argument("--skip-existing", action="store_true", help=skipping)


def add_quiet_option(parser: Options) -> None:
    """Add ``--quiet``."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings and errors")


def add_effort_option(parser: Options, searched: str = "good colours") -> None:
    """Add ``--effort``."""
    from kmq.model.choices import EFFORTS

    parser.add_argument(
        "--effort",
        choices=EFFORTS,
        help=f"how long to search for {searched} (default: balanced)",
    )


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers in that range."""

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch("[0-9]{1,20}", text) else -1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {lowest} to {highest}, not {text!r}"
            )
        return number

    return parse


def positive_number(text: str) -> float:
    """Return a finite number above 0, as an argparse type."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def byte_count(text: str) -> int:
    """Return a number of bytes written with or without a unit, as an argparse type."""
    match = re.fullmatch(r"([0-9]{1,20})(?:\.([0-9]{1,20}))? ?([a-z]*)", text.lower())
    whole, part, unit = match.groups(default="") if match else ("0", "", "")
    number = int(whole + part) * _UNITS.get(unit, 0) // int("1" + "0" * len(part))
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(
            f"must be a size such as 40000, 40k, 40KB, 1.5M or 39KiB, not {text!r}"
        )
    return number


def number_within(low: float, high: float) -> Callable[[str], float]:
    """Return an argparse type for numbers from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high or math.isinf(number):
            end = f"from {low:.15g} to {high:.15g}" if high < math.inf else f"of {low:g} or more"
            raise argparse.ArgumentTypeError(f"must be a number {end}, not {text!r}")
        return number

    return parse


def decibels(psnr: float) -> str:
    """Write a PSNR; an infinite one in words."""
    return "exact" if math.isinf(psnr) else f"{psnr:.2f} dB"


def colors(number: int) -> str:
    """Write a number of colours."""
    return counted(number, "colour")


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label_map(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Write shape and type of a label map."""
    return f"label map, {' × '.join(map(str, shape))}, {dtype.name}"


def reason(error: BaseException, about: Path | str | None = None) -> str:
    """Say what went wrong in a sentence, naming the file unless the sentence is `about` it."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename is not None and str(error.filename) != str(about)
        return f"{error.strerror}: {error.filename}" if named else error.strerror
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    return str(error)


def complaint_about(source: Path | str, error: BaseException) -> str:
    """Print the error of a file, beginning with its name."""
    sentence = reason(error, source)
    names = str(source), named(str(source))
    return sentence if sentence.startswith(names) else f"{source}: {sentence}"


@contextmanager
def about(source: Path | str) -> Iterator[None]:
    """Name the file first in whatever the block finds wrong."""
    try:
        yield
    except FAILURES as error:
        raise KmqError(complaint_about(source, error)) from error


def working_time() -> float:
    """Return a time in seconds that stands still while kernels are compiled or loaded."""
    return time.perf_counter() - compiling.seconds()


def by_stages(progress: Progress) -> Progress:
    """Return what hears of stages that each go from 0 to 1, the last of them unknown.

    Each stage fills half of the rest, so that the whole never goes back and never seems done.
    """
    left, last = 1.0, 0.0

    def hear(stage: str, share: float) -> None:
        nonlocal left, last
        if share < last:  # another stage, or the same once more
            left /= 2
        last = share
        progress(stage, 1 - left + share * left / 2)

    return hear


class Bar:
    """A bar on stderr, if that is a terminal and once the work takes long.

    It never goes back. It says which kernels are compiled, and does not count the time.
    """

    def __init__(self, total: int):
        self._total = total
        self._done = 0
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()  # jobs advance it on several threads
        self._due = time.monotonic() + _BAR_AFTER if sys.stderr.isatty() else math.inf
        self._shown: Any = None
        self._listening = compiling.listening(self._compile, self._go_on)

    def __enter__(self) -> Bar:
        """Begin without showing anything."""
        _bars.append(self)
        self._listening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no bar behind."""
        self._listening.__exit__(None, None, None)
        _bars.remove(self)
        if self._shown is not None:
            self._shown.close()

    def advance(self, stage: str, share: float, job: int = 0) -> None:
        """Show how much of a job is done, from 0 to 1, and its stage."""
        with self._lock:
            self._shares[job] = min(max(self._shares.get(job, 0.0), share), 1.0)
            if time.monotonic() >= self._due:
                self._show(stage)

    def _show(self, stage: str) -> None:
        if self._shown is None:
            from tqdm import tqdm

            layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
            room = shutil.get_terminal_size()  # 80 × 24 where the terminal tells none
            self._shown = tqdm(
                total=self._total,
                bar_format=layout,
                leave=False,
                ncols=room.columns,
                nrows=room.lines,
            )
        self._shown.set_description_str(stage, refresh=False)
        self._shown.n = min(self._done + sum(self._shares.values()), self._total)
        self._shown.refresh()

    def next(self, job: int = 0) -> None:
        """Count a job as done."""
        with self._lock:
            self._done += 1
            self._shares.pop(job, None)

    def clear(self) -> None:
        """Make way for a line of text."""
        with self._lock:
            if self._shown is not None:
                self._shown.clear()

    def _compile(self, kernel: str) -> None:
        with self._lock:
            if sys.stderr.isatty():
                self._due = min(self._due, time.monotonic())
                self._show(f"compiling {kernel.rpartition('.')[2]}")

    def _go_on(self, seconds: float) -> None:
        if self._shown is not None:
            self._shown.start_t = min(self._shown.start_t + seconds, time.time())
