"""Many files: where each result goes, and what became of all of them."""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import ExitStack, closing
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
    named,
    say,
    spoken,
    whole_number,
    working_time,
)
from kmq.cli.urls import File, Url
from kmq.errors import InputError, KmqError
from kmq.streams import is_url
from kmq.threads import MAX_THREADS, resolve_threads

if TYPE_CHECKING:
    from concurrent.futures import Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_WAITING = 4
"""Results of each job that may wait until those before them are there."""

_CLAIMS = 16
"""Targets claimed at once for a cluster: where those are URLs, each answer takes a while."""

Work = Callable[[Path, Path, Progress], str]
"""Turns a source into a target, tells how far it is, and returns the line to print about it."""


class _Done(NamedTuple):
    """What is said of a file that is written, and the bytes of its source and of itself."""

    line: str
    before: int
    after: int


_Carry = Callable[[File, File, Progress], _Done]
"""Does work on files that may be elsewhere."""


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
    target: File
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
        "- is standard output; URLs as for inputs (default: next to each input, with the suffix "
        f"{suffix}; standard output for piped input). Sub-folders of folders and patterns are kept",
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
    suffix_of: Callable[[File], str],
    chosen: str | None = None,
    *,
    replaces: bool = False,
) -> list[Job]:
    """Find the named files, and give each its target.

    Targets of one name, as of a.jpg and a.png, get the suffix of their sources, too. If they still
    have one name, or it is that of a source, they have a problem.

    Args:
        names: files, folders, patterns, pipes and URLs.
        suffixes: of the files that count in a folder.
        output: value of ``-o``: a folder, a file, a pipe or a URL. Without it targets are next to
            their sources, and input from a pipe goes to standard output.
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
        target: File
        if source.fault is not None:
            target = source.path  # which nothing will be written to
        elif output is not None and folder is None:
            target = _file_to_write(output, suffix, chosen)
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


def _file_to_write(output: str, suffix: str, chosen: str | None) -> File:
    pipes.check_format(output, chosen)
    return Url(output) if is_url(output) else pipes.target(output, suffix, chosen)


def _refuse_output_among(names: Sequence[str], suffixes: frozenset[str]) -> None:
    """Raise UsageError if the last of several names seems to be that of the file to write."""
    last = names[-1]
    suffix = Path(last).suffix.lower()
    if len(names) > 1 and suffix and suffix not in suffixes and paths.is_missing(last):
        raise UsageError(f"{last} does not exist; -o {last} makes it the file to write")


def folder_of(output: str) -> File | None:
    """Return the folder that the value of ``-o`` names, or None if it is a file or pipe."""
    if not output:
        raise UsageError("-o is empty; the current folder is .")
    if is_url(output):
        url = pipes.writable(output)
        return url if not url.suffix or url.is_folder() else None
    if pipes.is_pipe(output):
        return None
    path = Path(output)
    is_folder = path.is_dir() or output.endswith((os.sep, "/")) or not path.suffix
    return path if is_folder else None


def _by_target(jobs: Iterable[Job]) -> dict[Hashable, list[Job]]:
    """Return the jobs of each target."""
    jobs_by_target: dict[Hashable, list[Job]] = {}
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
        elif isinstance(job.target, Url) and job.target.is_read_only:
            problem = f"nothing can be written next to {job.source.path}; -o says where"
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
        before: bytes of its source, if its target is written.
        after: bytes of its target.
    """

    job: Job
    status: int | None
    line: str
    messages: list[str]
    before: int = 0
    after: int = 0


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
    carry = partial(_carried, work, force=arguments.force)
    with cluster.client_of(arguments) as client, Bar(len(jobs)) as bar:
        do = _here if client is None else partial(_there, client)
        with closing(do(jobs, carry, arguments, bar)) as outcomes:
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
    jobs: Sequence[Job], carry: _Carry, arguments: argparse.Namespace, bar: Bar
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

        outcome = _attempt(job, carry, arguments, progress)
        bar.next(number)
        return outcome

    yield from in_order(attempt, list(enumerate(jobs)), n_jobs, stop)


def _there(
    client: Any, jobs: Sequence[Job], carry: _Carry, arguments: argparse.Namespace, bar: Bar
) -> Generator[_Outcome, None, None]:
    """Yield what becomes of each job, done on a cluster.

    Targets are claimed here. So a job that was done by a worker that was lost is done once more,
    and does not find that its own target is in the way.
    """
    if pipes.are_used():
        raise UsageError("--cluster works on files; nothing can come or go through a pipe")
    is_claimed = {"force": True, "skip_existing": False, "threads": arguments.threads or 1}
    there = argparse.Namespace(**{**vars(arguments), **is_claimed})
    n_ahead = _WAITING * max(1, sum(client.ncores().values()))
    waiting: deque[tuple[Job, Any]] = deque()

    def ended() -> _Outcome:
        job, future = waiting.popleft()
        outcome = future if isinstance(future, _Outcome) else _result(job, future)
        bar.next()
        bar.advance(f"done {job.source.path.name}", 0)
        line, *messages = (
            paths.as_given(text, job.source.path, job.target)
            for text in (outcome.line, *outcome.messages)
        )
        return outcome._replace(line=line, messages=messages)

    def claimed(job: Job) -> _Outcome:
        job = job._replace(
            source=job.source._replace(path=paths.absolute(job.source.path)),
            target=paths.absolute(job.target),
        )
        return _attempt(job, _nothing, arguments, _unheard)

    try:
        with closing(in_order(claimed, jobs, _CLAIMS, Event())) as claims:
            for job, outcome in zip(jobs, claims, strict=True):
                is_due = outcome.status == DONE
                waiting.append(
                    (job, client.submit(_attempt, outcome.job, carry, there, _unheard, pure=False))
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


def _nothing(source: File, target: File, progress: Progress) -> _Done:
    return _Done("", 0, 0)


def _unheard(stage: str, share: float) -> None:
    """Hear of progress where nobody looks."""


def _result(job: Job, future: Any) -> _Outcome:
    """Wait for what a worker says of a job, or say that the cluster lost it."""
    try:
        outcome: _Outcome = future.result()
    except Exception as error:  # of whatever kind: the cluster's own, or what a worker cannot load
        message = f"{job.source.path}: lost by the cluster: {cluster.one_line(error)}"
        return _Outcome(job, FAILED, "", [message])
    return outcome


def _attempt(
    job: Job, carry: _Carry, arguments: argparse.Namespace, progress: Progress
) -> _Outcome:
    """Do a job, whatever comes of it."""
    done, status = _Done("", 0, 0), None
    with keeping_messages() as messages:
        try:
            if job.problem or not (arguments.skip_existing and paths.exists(job.target)):
                done, status = _do(job, carry, progress, arguments.force), DONE
        except FAILURES as error:
            complain(complaint_about(job.source.path, error))
            status = FAILED
        except LeftOutError as reason:
            done, status = done._replace(line=str(reason)), reason.code
    return _Outcome(job, status, done.line, messages, done.before, done.after)


def _do(job: Job, carry: _Carry, progress: Progress, force: bool) -> _Done:
    """Return the line about a job, and what it weighs."""
    source = job.source.file()
    if job.problem:
        raise InputError(job.problem)
    started = working_time()
    paths.claim(job.target, force=force, source=None if job.replaces else source)
    done = carry(source, job.target, progress)
    return done._replace(line=f"{done.line}, {working_time() - started:.2f} s")


def _carried(work: Work, source: File, target: File, progress: Progress, *, force: bool) -> _Done:
    """Do the work on files that stand in for URLs: one is fetched before it, what it writes is put
    there after it.

    Args:
        force: whether files that it writes besides may replace others.
    """
    with ExitStack() as stack:
        file = _stand_in(source, stack) if isinstance(source, Url) else source
        written = _stand_in(target, stack) if isinstance(target, Url) else target
        if isinstance(source, Url):
            progress("fetching", 0)
            source.fetch(file)
        before = _size(file)
        try:
            line = work(file, written, progress)
        except LeftOutError as reason:
            raise LeftOutError(named(str(reason)), reason.code) from None
        except FAILURES as error:
            raise KmqError(named(complaint_about(file, error))) from error
        after = _size(written)
        if isinstance(target, Url):
            _put(written, target, force=force)
        return _Done(named(line), before, after)


def _stand_in(url: Url, stack: ExitStack) -> Path:
    """Return the path of a file that stands in for that of a URL, in a folder of its own."""
    from tempfile import TemporaryDirectory

    file = Path(stack.enter_context(TemporaryDirectory(prefix="kmq-")), url.name)
    SPOKEN[str(file)] = url
    stack.callback(SPOKEN.pop, str(file), None)
    return file


def _put(written: Path, target: Url, *, force: bool) -> None:
    """Copy a target, and the files that were written next to it, to where they belong."""
    files = {file: target.with_name(file.name) for file in sorted(written.parent.iterdir())}
    for url in files.values():
        paths.claim(url, force=force or url == target)  # which is claimed
    for file, url in files.items():
        url.put(file)


def _size(path: Path) -> int:
    """Return the bytes of a file, or 0 if it cannot be told; what needs the file will say why."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


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
            self.after += outcome.after

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
