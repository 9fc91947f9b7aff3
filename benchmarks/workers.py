"""Work on many pictures, several processes at a time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

_Task, _Made = TypeVar("_Task"), TypeVar("_Made")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``."""
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        default=1,
        help="work on N pictures at a time, each with one thread (1: one, with all threads)",
    )


def each(work: Callable[[_Task], _Made], tasks: Iterable[_Task], jobs: int) -> Iterator[_Made]:
    """Yield what `work`, a function of a module, makes of each task, in the order of the tasks."""
    if jobs == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _with_one_thread) as pool:
        yield from pool.map(work, tasks)


def _with_one_thread() -> None:
    """Keep this process, and the programs that it runs, to one core."""
    for name in ("KMQ_NUM_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = "1"
