import contextlib
import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from kmq import threads
from kmq.errors import InputError
from kmq.threads import resolve_threads, run_chunks

PATIENCE = 60  # seconds until a test that would hang fails instead


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.delenv("KMQ_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


# How many


def test_argument_comes_first(monkeypatch):
    monkeypatch.setenv("KMQ_NUM_THREADS", "5")
    assert [resolve_threads(n) for n in (1, 3, 256, np.int64(7))] == [1, 3, 256, 7]


def test_environment_comes_next(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KMQ_NUM_THREADS", "5")
    assert resolve_threads(None) == 5


def test_openmp_variable_only_lowers(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    numbers = {"1": 1, "3": 3, " 1": 1, "1 ": 1, "03": 3, "99": 4, "9" * 5000: 4, "0": 1}
    lists = {"2,2": 2, " 3 , 1": 3, "99,1": 4, ",2": 4}
    others = dict.fromkeys(["", " ", "²", "٣", "many", "1.5", "-1", "+", "1_0"], 4)
    expected = numbers | lists | others
    for text, number in expected.items():
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert resolve_threads(None) == number


def test_all_cores_otherwise():
    assert resolve_threads(None) == threads.available_cores() >= 1


@pytest.mark.parametrize("number", [0, -1, 257, 10**20])
def test_arguments_out_of_range_are_refused(number):
    with pytest.raises(InputError, match=f"n_threads is {number}; it must be .*1 to 256"):
        resolve_threads(number)


@pytest.mark.parametrize("number", [2.0, float("inf"), np.float32(2), "2", [2], True])
def test_other_arguments_are_refused(number):
    with pytest.raises(TypeError, match=r"n_threads is .*; it must be a whole number from 1"):
        resolve_threads(number)


@pytest.mark.parametrize("text", [" 5", "5 ", "005", "0" * 5000 + "5"])
def test_spaces_and_zeros_around_a_number_are_taken(monkeypatch, text):
    monkeypatch.setenv("KMQ_NUM_THREADS", text)
    assert resolve_threads(None) == 5


@pytest.mark.parametrize("text", ["9" * 5000, "two " * 5000])
def test_a_long_variable_is_shown_in_part(monkeypatch, text):
    monkeypatch.setenv("KMQ_NUM_THREADS", text)
    with pytest.raises(InputError, match=rf"KMQ_NUM_THREADS is '{text[:17]}\.\.\.'; it must be"):
        resolve_threads(None)


@pytest.mark.parametrize("text", ["0", "257", "two", "1.5", "-3", " ", "5,5", "٣", "1_0"])
def test_environment_is_checked(monkeypatch, text):
    monkeypatch.setenv("KMQ_NUM_THREADS", text)
    sentence = f"KMQ_NUM_THREADS is '{text}'; it must be a whole number from 1 to 256"
    with pytest.raises(InputError, match=sentence):
        resolve_threads(None)


# Chunks


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("n_chunks", [0, 1, 2, 7, 100])
def test_each_chunk_runs_once(n_chunks, n_threads):
    runs = np.zeros(n_chunks, int)

    def work(chunk):
        runs[chunk] += 1

    run_chunks(work, n_chunks, n_threads)
    assert runs.tolist() == [1] * n_chunks


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_as_many_threads_as_asked_work_at_once(n_threads):
    meeting = threading.Barrier(n_threads)
    run_chunks(lambda chunk: meeting.wait(PATIENCE), n_threads, n_threads)


def test_one_thread_is_the_callers_own():
    workers = set()
    run_chunks(lambda chunk: workers.add(threading.get_ident()), 10, 1)
    assert workers == {threading.get_ident()}


@pytest.mark.parametrize("n_threads", [1, 2, 8])
@pytest.mark.parametrize("failing", [0, 3, 9])
def test_exceptions_are_passed_on(failing, n_threads):
    def work(chunk):
        if chunk == failing:
            raise LookupError(chunk)

    with pytest.raises(LookupError) as caught:
        run_chunks(work, 10, n_threads)
    assert caught.value.args == (failing,)


def test_exception_of_another_thread_is_passed_on():
    meeting = threading.Barrier(2)

    def work(chunk):
        meeting.wait(PATIENCE)
        if threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt(chunk)

    with pytest.raises(KeyboardInterrupt):
        run_chunks(work, 2, 2)


def test_exception_of_another_thread_is_freed_at_once():
    """Its traceback holds the buffers of the work that failed."""
    meeting = threading.Barrier(2)
    freed = []

    def work(chunk):
        meeting.wait(PATIENCE)
        if threading.current_thread() is not threading.main_thread():
            buffer = np.zeros(1)
            freed.append(weakref.ref(buffer))
            raise LookupError(chunk)

    gc.disable()
    try:
        with contextlib.suppress(LookupError):
            run_chunks(work, 2, 2)
        del work
        assert [reference() for reference in freed] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("n_threads", [1, 4])
def test_no_more_chunks_are_handed_out_after_an_exception(n_threads):
    runs = []

    def work(chunk):
        runs.append(chunk)
        raise LookupError

    with pytest.raises(LookupError):
        run_chunks(work, 1000, n_threads)
    assert len(runs) <= n_threads


def test_chunks_that_run_end_before_the_exception_leaves():
    begun, ended = threading.Event(), threading.Event()
    failed = threading.Event()

    def work(chunk):
        if threading.current_thread() is threading.main_thread():
            begun.wait(PATIENCE)
            failed.set()
            raise LookupError
        begun.set()
        failed.wait(PATIENCE)
        ended.set()

    with pytest.raises(LookupError):
        run_chunks(work, 2, 2)
    assert ended.is_set()


def test_nested_calls_do_not_wait_for_each_other():
    meeting = threading.Barrier(4)
    inner_runs = []

    def outer(chunk):
        meeting.wait(PATIENCE)  # from here on no thread of the pool is free
        run_chunks(lambda inner: inner_runs.append((chunk, inner)), 5, 4)

    run_chunks(outer, 4, 4)
    assert sorted(inner_runs) == [(outer, inner) for outer in range(4) for inner in range(5)]


def test_pool_grows_while_others_work():
    first_runs, second_runs = [], []
    meeting = threading.Barrier(3)
    grown = threading.Event()

    def first(chunk):
        if chunk < 2:
            meeting.wait(PATIENCE)
            assert grown.wait(PATIENCE)
        first_runs.append(chunk)

    caller = threading.Thread(target=run_chunks, args=(first, 20, 2))
    caller.start()
    meeting.wait(PATIENCE)  # both threads of the first call are at work now
    larger = threads.available_cores() + 50
    crowd = threading.Barrier(larger)

    def second(chunk):
        crowd.wait(PATIENCE)
        second_runs.append(chunk)

    run_chunks(second, larger, larger)
    grown.set()
    caller.join(PATIENCE)
    assert not caller.is_alive()
    assert sorted(first_runs) == list(range(20))
    assert sorted(second_runs) == list(range(larger))


def test_work_goes_on_while_the_interpreter_exits():
    script = """
import atexit
from kmq.threads import run_chunks

def work(chunk):
    runs.append(chunk)

def last():
    run_chunks(work, 4, 3)
    print(sorted(runs))

runs = []
run_chunks(lambda chunk: None, 4, 2)
atexit.register(last)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[0, 1, 2, 3]\n", "")
