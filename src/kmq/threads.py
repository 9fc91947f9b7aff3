"""One pool of worker threads for the whole process, shared by every call.

Work is cut into chunks whose bounds depend on the input alone, so results do not depend on the
number of threads. The calling thread always works too: a full or missing pool slows a call down
but cannot stop it, and nested or concurrent calls cannot deadlock.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable
from operator import itemgetter
from queue import SimpleQueue

from kmq.checks import whole_number
from kmq.errors import InputError

MAX_THREADS = 256


class _Help:
    """Work for a thread of the pool, unless it is taken back before one begins."""

    def __init__(self, work: Callable[[], None]):
        self._work = [work]  # whoever takes it out has it: `pop` is atomic
        self._ended = threading.Lock()
        self._ended.acquire()

    def give(self) -> None:
        """Do the work, which raises nothing, if it is still there."""
        try:
            work = self._work.pop()
        except IndexError:
            return
        work()
        del work  # before anyone hears of the end: it may hold what is large
        self._ended.release()

    def end(self) -> None:
        """Take the work back, or wait for whoever does it."""
        try:
            self._work.pop()
        except IndexError:
            self._ended.acquire()


class _Pool:
    """Threads that help, started as they are needed; `concurrent.futures` would import `logging`.

    They are daemons, so that those without work do not keep the process.
    """

    def __init__(self, size: int):
        self.size = size
        self._wanted: SimpleQueue[_Help | None] = SimpleQueue()
        self._n_threads = 0
        self._lock = threading.Lock()
        self._n_open = 0  # pieces of work that are waiting or being done

    def ask(self, work: Callable[[], None]) -> _Help:
        """Have a thread do some work.

        Raises:
            RuntimeError: no thread could be started for it.
        """
        help_ = _Help(work)
        with self._lock:
            if self._n_open >= self._n_threads and self._n_threads < self.size:
                name = f"kmq_{self._n_threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self._n_threads += 1
            self._n_open += 1
        self._wanted.put(help_)
        return help_

    def retire(self) -> None:
        """Have each thread end once nothing is left to do."""
        for _ in range(self._n_threads):
            self._wanted.put(None)

    def _serve(self) -> None:
        while (help_ := self._wanted.get()) is not None:
            help_.give()
            with self._lock:
                self._n_open -= 1


_pool: _Pool | None = None
_pool_lock = threading.Lock()


def _forget_pool() -> None:
    """After a fork the workers are gone and the lock may be held by a thread that no longer is."""
    global _pool, _pool_lock
    _pool = None
    _pool_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def available_cores() -> int:
    """Cores this process may run on (its affinity mask where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_threads(n_threads: int | None) -> int:
    """Return how many threads a call may use.

    In this order: the argument; the environment's ``KMQ_NUM_THREADS``; 1 in a daemonic process, as
    workers of `multiprocessing.Pool` are; ``OMP_NUM_THREADS`` (which joblib sets in its workers)
    if it is below the number of cores, the first number where it is a list; 1 in any other process
    that multiprocessing started, as `ProcessPoolExecutor` does, since its siblings already use the
    cores; the number of cores.

    Raises:
        TypeError: the argument is not an integer.
        InputError: the argument or ``KMQ_NUM_THREADS`` is not a whole number from 1 to 256.
    """
    if n_threads is not None:
        return whole_number(n_threads, "n_threads", 1, MAX_THREADS)
    if text := os.environ.get("KMQ_NUM_THREADS"):
        return _from_environment(text)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.current_process().daemon:
        return 1
    cores = available_cores()
    # OpenMP's own syntax: a number for each level of nested regions, spaces around it allowed.
    openmp = _number(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    if openmp is not None:
        return max(1, min(cores, openmp, MAX_THREADS))
    return 1 if process is not None and process.parent_process() is not None else cores


def _from_environment(text: str) -> int:
    number = _number(text)
    if number is None or not 1 <= number <= MAX_THREADS:
        shown = text if len(text) <= 20 else f"{text[:17]}..."
        raise InputError(
            f"KMQ_NUM_THREADS is {shown!r}; it must be a whole number from 1 to {MAX_THREADS}"
        )
    return number


def _number(text: str) -> int | None:
    """Return a decimal number, or None for other text; one of many digits is just above the limit.

    `int` refuses thousands of digits, and takes those of other scripts.
    """
    digits = re.fullmatch(r"\s*0*([0-9]+)\s*", text, re.ASCII)
    if digits is None:
        return None
    return int(digits[1]) if len(digits[1]) <= len(str(MAX_THREADS)) else MAX_THREADS + 1


def run_chunks(work: Callable[[int], object], n_chunks: int, n_threads: int) -> None:
    """Call ``work(0) … work(n_chunks - 1)``, each once, on up to `n_threads` threads.

    Returns when all are done. An exception stops the handing out of further chunks. Of several,
    that of the lowest chunk is raised here, the same for any number of threads; but one that is no
    `Exception`, such as KeyboardInterrupt, comes before all others. `work` runs kernels that
    release the GIL and writes to its own chunk's output.
    """
    if n_chunks == 1 or n_threads == 1:
        for chunk in range(n_chunks):
            work(chunk)
        return
    numbers = itertools.count()  # next() on it is atomic
    failures: list[tuple[bool, int, BaseException]] = []

    def drain() -> None:
        while not failures and (chunk := next(numbers)) < n_chunks:
            try:
                work(chunk)
            except BaseException as error:
                failures.append((isinstance(error, Exception), chunk, error))

    helps = _ask(drain, min(n_threads, n_chunks) - 1)
    try:
        drain()
    finally:
        # Work that never got a thread has nothing left to do; one that runs must end first,
        # since it writes to buffers of the caller.
        for help_ in helps:
            help_.end()
    try:
        if failures:
            raise min(failures, key=itemgetter(0, 1))[2]
    finally:  # its traceback holds this frame: what names it here would keep both for long
        failures.clear()


def _ask(work: Callable[[], None], n_threads: int) -> list[_Help]:
    """Hand `work` to threads of the pool, which is made on first use and only ever grows.

    Fewer threads than asked, or none, get it where the interpreter starts no more: while it exits.
    """
    global _pool
    with _pool_lock:  # held meanwhile, so that no other call retires the pool in between
        if _pool is None or _pool.size < n_threads:
            if _pool is not None:
                _pool.retire()
            _pool = _Pool(max(available_cores() - 1, n_threads))
        helps: list[_Help] = []
        with contextlib.suppress(RuntimeError):
            for _ in range(n_threads):
                helps.append(_pool.ask(work))  # noqa: PERF401  # keeps those that were taken
        return helps
