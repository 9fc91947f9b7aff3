"""Many files: where each result goes, and what became of all of them."""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kmq.cli import cluster, paths, pipes
from kmq.cli.console import (
    DONE,
    FAILED,
    FAILURES,
    SPOKEN,
    Bar,
    Progress,
    UsageError,
    add_existing_options,
    add_output_option,
    add_quiet_option,
    complain,
    complaint_about,
    counted,
    keeping_messages,
    say,
    spoken,
    whole_number,
    working_time,
)
from kmq.errors import InputError
from kmq.threads import MAX_THREADS, resolve_threads

if TYPE_CHECKING:
    from concurrent.futures import Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WAITING = 4
"""Results of each job that may wait until those before them are there."""

Work = Callable[[Path, Path, Progress], str]
"""Turns a source into a target, tells how far it is, and returns the line to print about it."""


class LeftOutError(Exception):
    """A file is not written, as an option wants it; the message is the line to print about it."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class Job(NamedTuple):
    """A file to read and one to write; or why it is not written.

    Attributes:
        replaces: whether ``--force`` lets the target take the place of the source.
    """

    source: paths.Source
    target: Path
    problem: str = ""
    replaces: bool = False


def add_options(parser: argparse.ArgumentParser, metavar: str, suffix: str) -> None:
    """Add ``-o``, and the options for files that exist already.

    The help calls `suffix` that of the files.
    """
    add_output_option(
        parser,
        metavar,
        "where to write: a folder if it exists as one, ends in / or has no suffix, else one file; "
        f"- is standard output (default: next to each input, with the suffix {suffix}; standard "
        "output for piped input). Sub-folders of folders and patterns are kept",
    )
    add_quiet_option(parser)
    add_jobs_option(parser)
    add_existing_options(parser, "skip inputs whose output exists already")


def add_ext_option(parser: argparse.ArgumentParser, example: str, default: str) -> None:
    """Add ``--ext``."""
    parser.add_argument(
        "--ext",
        metavar="SUFFIX",
        help=f"end of the name of each output, where -o names no file: --ext={example} "
        f"(default: {default})",
    )


def add_jobs_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``."""
    parser.add_argument(
        "--jobs",
        type=whole_number(1, MAX_THREADS),
        metavar="N",
        default=1,
        help="files to work on at once, which share --threads and each take memory (default: 1); "
        "lines and messages keep the order of the files",
    )
    cluster.add_option(parser)


def plan(
    names: Sequence[str],
    suffixes: frozenset[str],
    output: str | None,
    suffix_of: Callable[[Path], str],
    chosen: str | None = None,
    *,
    replaces: bool = False,
) -> list[Job]:
    """Find the named files, and give each its target.

    Targets of one name, as of a.jpg and a.png, get the suffix of their sources, too. If they still
    have one name, or it is that of a source, they have a problem.

    Args:
        names: files, folders, patterns and pipes.
        suffixes: of the files that count in a folder.
        output: value of ``-o``: a folder, a file or a pipe. Without it targets are next to their
            sources, and input from a pipe goes to standard output.
        suffix_of: returns a target's suffix where `output` has none.
        chosen: value of ``--format``, used in place of that.
        replaces: whether ``--force`` lets a target take the place of its own source.

    Raises:
        UsageError: `output` is one file, and several are named or a format is chosen.
        UsageError, InputError, OSError: see `paths.find`.
    """
    folder = None if output is None else folder_of(output)
    _refuse_output_among(names, suffixes)
    several = paths.names_several(names)
    if output is not None and folder is None and several:
        hint = "" if pipes.is_pipe(output) else f", {output}/"
        raise UsageError(f"-o {output} takes one file; for several name a folder{hint}")
    jobs = []
    for source in paths.find(names, suffixes):
        suffix = f".{chosen}" if chosen else suffix_of(source.path)
        if source.fault is not None:
            target = source.path  # which nothing will be written to
        elif output is not None and folder is None:
            target = pipes.target(output, suffix, chosen)
        elif folder is None and pipes.is_piped(source.path):
            target = pipes.target(pipes.STANDARD, suffix)
        else:
            beside = source.path if folder is None else folder / source.place
            target = beside.with_name(beside.stem + suffix)
        jobs.append(Job(source, target, replaces=replaces))
    if several:
        return _with_problems(_told_apart(jobs))
    (job,) = _with_problems(jobs)
    if job.problem:
        raise UsageError(job.problem)
    return [job]


def _refuse_output_among(names: Sequence[str], suffixes: frozenset[str]) -> None:
    """Raise UsageError if the last of several names seems to be that of the file to write."""
    last = names[-1]
    suffix = Path(last).suffix.lower()
    if len(names) > 1 and suffix and suffix not in suffixes and paths.is_missing(last):
        raise UsageError(f"{last} does not exist; -o {last} makes it the file to write")


def folder_of(output: str) -> Path | None:
    """Return the folder that the value of ``-o`` names, or None if it is a file or pipe."""
    if not output:
        raise UsageError("-o is empty; the current folder is .")
    if pipes.is_pipe(output):
        return None
    path = Path(output)
    is_folder = path.is_dir() or output.endswith((os.sep, "/")) or not path.suffix
    return path if is_folder else None


def _by_target(jobs: Iterable[Job]) -> dict[Path, list[Job]]:
    """Return the jobs of each target."""
    jobs_by_target: dict[Path, list[Job]] = {}
    for job in jobs:
        jobs_by_target.setdefault(paths.identity(job.target), []).append(job)
    return jobs_by_target


def _told_apart(jobs: Sequence[Job]) -> list[Job]:
    """Put the suffixes of sources into names that would otherwise be the same."""
    rivals = [job for same in _by_target(jobs).values() if len(same) > 1 for job in same]
    names = {job: job.target.with_name(job.source.place.name + job.target.suffix) for job in rivals}
    return [job._replace(target=names.get(job, job.target)) for job in jobs]


def _with_problems(jobs: Sequence[Job]) -> list[Job]:
    """Say which targets are those of other jobs, or are read."""
    read = {paths.identity(job.source.path) for job in jobs}
    by_target = _by_target(jobs)
    checked = []
    for job in jobs:
        identity = paths.identity(job.target)
        others = [other.source.path for other in by_target[identity] if other is not job]
        is_own = job.replaces and identity == paths.identity(job.source.path)
        if identity in read and not is_own:
            problem = f"{job.target} is also an input, which is never overwritten; use -o"
        elif others:
            problem = f"{job.target} is also the output for {others[0]}; name different folders"
        else:
            problem = ""
        checked.append(job._replace(problem=problem))
    return checked


def in_order(
    work: Callable[[_Item], _Result], items: Sequence[_Item], n_jobs: int, stop: Event
) -> Generator[_Result, None, None]:
    """Yield what `work` returns for each item, in their order, with `n_jobs` under way at once.

    An early end, as by Ctrl-C, sets `stop` and waits for the work under way; `work` keeps this
    short.
    """
    if n_jobs == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(n_jobs, thread_name_prefix="kmq-job") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == _WAITING * n_jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def at_once(arguments: argparse.Namespace, n_files: int) -> int:
    """Return how many of the files are worked on at once, and share ``--threads`` among them."""
    n_jobs: int = max(1, min(arguments.jobs, n_files))
    if n_jobs > 1:
        arguments.threads = max(1, resolve_threads(arguments.threads) // n_jobs)
    return n_jobs


class _Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        job: which.
        status: `DONE`, `FAILED`, the code of a `LeftOutError`, or None if its file was there.
        line: to print on stdout, if it is not empty.
        messages: to print on stderr before that.
        before: bytes of its source, which its target may replace.
    """

    job: Job
    status: int | None
    line: str
    messages: list[str]
    before: int


def each(
    jobs: Sequence[Job], work: Work, arguments: argparse.Namespace, *, weighs: bool = True
) -> int:
    """Do `work` on each job, print what it returns, report failures and go on; then print the sums.

    Lines about a job stay together, in the order of the jobs.

    Args:
        jobs: what `plan` returns.
        work: called for each job.
        arguments: ``--force``, ``--skip-existing``, ``--jobs`` and ``--quiet`` count.
        weighs: whether the bytes of targets are compared with those of sources.

    Returns:
        The exit code.
    """
    sums = _Sums(weighs)
    with cluster.client_of(arguments) as client, Bar(len(jobs)) as bar:
        do = _here if client is None else partial(_there, client)
        with closing(do(jobs, work, arguments, bar)) as outcomes:
            for outcome in outcomes:
                for message in outcome.messages:
                    say(message)
                if outcome.line and not arguments.quiet:
                    bar.clear()
                    print(spoken(outcome.line), flush=True)
                sums.add(outcome)
    if (len(jobs) > 1 or sums.skipped) and not arguments.quiet:
        print(sums.line(), flush=True)
    return FAILED if sums.failed else sums.code


def _here(
    jobs: Sequence[Job], work: Work, arguments: argparse.Namespace, bar: Bar
) -> Generator[_Outcome, None, None]:
    """Yield what becomes of each job, done in this process."""
    stop = Event()
    n_jobs = at_once(arguments, len(jobs))

    def attempt(numbered: tuple[int, Job]) -> _Outcome:
        number, job = numbered

        def progress(stage: str, share: float) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            bar.advance(stage, share, number)

        outcome = _attempt(job, work, arguments, progress)
        bar.next(number)
        return outcome

    yield from in_order(attempt, list(enumerate(jobs)), n_jobs, stop)


def _there(
    client: Any, jobs: Sequence[Job], work: Work, arguments: argparse.Namespace, bar: Bar
) -> Generator[_Outcome, None, None]:
    """Yield what becomes of each job, done on a cluster.

    Targets are claimed here. So a job that was done by a worker that was lost is done once more,
    and does not find that its own target is in the way.
    """
    if SPOKEN:
        raise UsageError("--cluster works on files; nothing can come or go through a pipe")
    claimed = {"force": True, "skip_existing": False, "threads": arguments.threads or 1}
    there = argparse.Namespace(**{**vars(arguments), **claimed})
    n_ahead = _WAITING * max(1, sum(client.ncores().values()))
    waiting: deque[tuple[Job, Any]] = deque()

    def ended() -> _Outcome:
        job, future = waiting.popleft()
        outcome = future if isinstance(future, _Outcome) else _result(job, future)
        bar.next()
        bar.advance(f"done {job.source.path.name}", 0)
        return outcome

    try:
        for job in jobs:
            job = job._replace(
                source=job.source._replace(path=job.source.path.absolute()),
                target=job.target.absolute(),
            )
            outcome = _attempt(job, _nothing, arguments, _unheard)
            is_due = outcome.status == DONE
            waiting.append(
                (job, client.submit(_attempt, job, work, there, _unheard, pure=False))
                if is_due
                else (job, outcome)
            )
            if len(waiting) == n_ahead:
                yield ended()
        while waiting:
            yield ended()
    finally:
        for _, future in waiting:
            if not isinstance(future, _Outcome):
                future.release()


def _nothing(source: Path, target: Path, progress: Progress) -> str:
    return ""


def _unheard(stage: str, share: float) -> None:
    """Hear of progress where nobody looks."""


def _result(job: Job, future: Any) -> _Outcome:
    """Wait for what a worker says of a job, or say that the cluster lost it."""
    try:
        outcome: _Outcome = future.result()
    except Exception as error:  # of whatever kind: the cluster's own, or what a worker cannot load
        message = f"{job.source.path}: lost by the cluster: {cluster.one_line(error)}"
        return _Outcome(job, FAILED, "", [message], 0)
    return outcome


def _attempt(job: Job, work: Work, arguments: argparse.Namespace, progress: Progress) -> _Outcome:
    """Do a job, whatever comes of it."""
    line, status, before = "", None, _size(job.source.path)
    with keeping_messages() as messages:
        try:
            if job.problem or not (arguments.skip_existing and os.path.lexists(job.target)):
                line, status = _do(job, work, progress, arguments.force), DONE
        except FAILURES as error:
            complain(complaint_about(job.source.path, error))
            status = FAILED
        except LeftOutError as reason:
            line, status = str(reason), reason.code
    return _Outcome(job, status, line, messages, before)


def _size(path: Path) -> int:
    """Return the bytes of a file, or 0 if it cannot be told; what needs the file will say why."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _do(job: Job, work: Work, progress: Progress, force: bool) -> str:
    """Return the line about a job."""
    source = job.source.file()
    if job.problem:
        raise InputError(job.problem)
    started = working_time()
    paths.claim(job.target, force=force, source=None if job.replaces else source)
    line = work(source, job.target, progress)
    return f"{line}, {working_time() - started:.2f} s"


@dataclass
class _Sums:
    """What became of all files: how many there were, and their bytes before and after."""

    weighs: bool
    done: int = 0
    skipped: int = 0
    code: int = DONE
    failed: int = 0
    before: int = 0
    after: int = 0
    started: float = field(default_factory=working_time)

    def add(self, outcome: _Outcome) -> None:
        """Count what became of a job."""
        self.code = max(self.code, outcome.status or DONE)
        self.skipped += outcome.status not in (DONE, FAILED)
        self.failed += outcome.status == FAILED
        if outcome.status == DONE:
            self.done += 1
            self.before += outcome.before
            self.after += _size(outcome.job.target)

    def line(self) -> str:
        """Return a sentence."""
        texts = [counted(self.done, "file")]
        if self.weighs and self.before:
            share = self.after / self.before
            texts[0] += f": {self.before:,} → {self.after:,} bytes ({share:.1%})"
        if self.skipped:
            texts.append(f"{self.skipped:,} skipped")
        if self.failed:
            texts.append(f"{self.failed:,} failed")
        return ", ".join([*texts, f"{working_time() - self.started:.2f} s"])
