"""The same input and seed give the same bytes: in any thread, any process, and beside others."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import kmq
import kmq.kernels
from kmq import threads
from kmq.errors import InputError
from kmq.kernels._compiler import Inlined
from kmq.lazily import computed_once
from kmq.threads import resolve_threads

PATIENCE = 120  # seconds until a test that would hang fails instead
EFFORTS = ("fast", "balanced", "best")

# Python 3.12 and later warn of any fork beside threads; that it goes well is what is shown here.
fork_beside_threads = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
START_METHODS = [
    name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()
]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.delenv("KMQ_NUM_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def helpers(monkeypatch):
    """How many threads beside its own each piece of work asked for, in turn."""
    asked = []
    submit = threads._ask

    def listen(work, n_helpers):
        asked.append(n_helpers)
        return submit(work, n_helpers)

    monkeypatch.setattr(threads, "_ask", listen)
    return asked


def photo(height, width, seed=0):
    """Slopes with a little noise: thousands of colours, few of them far apart."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slopes = np.stack([255 * y / height, 255 * x / width, 127 * (y + x) / (height + width)], 2)
    return np.clip(slopes + rng.normal(0, 9, slopes.shape), 0, 255).astype(np.uint8)


@cache
def large_photo():
    """More than one chunk for each stage: two of pixels, several of distinct colours."""
    return photo(520, 610)


def cloud(n, d):
    return np.random.default_rng(n).lognormal(3, 1, (n, d)).astype(np.float32)


def content(image):
    """Everything of a quantized image that could differ, its times left out."""
    report = image.report
    figures = (report.colors_in, report.mse, report.psnr, report.iterations, report.converged)
    return image.palette.tobytes(), image.indices.tobytes(), figures


def encoded(seed, method, n_threads=None):
    """A small picture as a file of four strips."""
    return kmq.encode(
        photo(64, 48, seed), 20, effort="fast", method=method, strip_height=16, n_threads=n_threads
    )


# Any number of threads in a call


@pytest.mark.parametrize("effort", EFFORTS)
def test_quantize_does_not_depend_on_the_number_of_threads(effort, helpers):
    picture = large_photo()
    alone = content(kmq.quantize(picture, 20, effort=effort, n_threads=1))
    assert helpers == []
    for n_threads in (2, 3, 8):
        helpers.clear()
        assert content(kmq.quantize(picture, 20, effort=effort, n_threads=n_threads)) == alone
        assert max(helpers) >= min(n_threads, 3) - 1


def test_targets_do_not_depend_on_the_number_of_threads(helpers):
    picture = large_photo()
    alone = content(kmq.quantize(picture, k=kmq.Fewest(psnr=30), effort="fast", n_threads=1))
    together = content(kmq.quantize(picture, k=kmq.Fewest(psnr=30), effort="fast", n_threads=3))
    assert together == alone
    assert max(helpers) == 2


@pytest.mark.parametrize("init", ["k-means++", "random", "var-part"])
def test_kmeans_does_not_depend_on_the_number_of_threads(init, helpers):
    points, weights = cloud(100_000, 3), np.random.default_rng(0).random(100_000)
    options = {"init": init, "max_iter": 3, "n_init": 2, "seed": 5}
    alone = kmq.kmeans(points, 64, weights, n_threads=1, **options)
    assert helpers == []
    for n_threads in (2, 3, 8):
        together = kmq.kmeans(points, 64, weights, n_threads=n_threads, **options)
        assert together.centroids.tobytes() == alone.centroids.tobytes()
        assert together.labels.tobytes() == alone.labels.tobytes()
        assert (together.inertia, together.n_iter) == (alone.inertia, alone.n_iter)
    assert len(set(helpers)) >= 2


@pytest.mark.parametrize("d", [3, 20])
def test_assign_and_accumulate_do_not_depend_on_the_number_of_threads(d, helpers):
    points, centroids = cloud(100_000, d), cloud(64, d)
    weights = np.random.default_rng(0).random(100_000)

    def results(n_threads):
        distances = np.empty(len(points), np.float32)
        labels = kmq.assign(points, centroids, out_distances=distances, n_threads=n_threads)
        sums, counts = kmq.accumulate(points, labels, 64, weights, n_threads=n_threads)
        return [array.tobytes() for array in (labels, distances, sums, counts)]

    alone = results(1)
    assert helpers == []
    for n_threads in (2, 3, 8):
        assert results(n_threads) == alone
    assert len(set(helpers)) >= 2


@pytest.mark.parametrize("method", [None, "deflate", "rank", "mix"])
def test_files_do_not_depend_on_the_number_of_threads(method, helpers):
    picture = photo(90, 70)
    options = {"effort": "fast", "method": method, "strip_height": 11}
    alone = kmq.encode(picture, 40, n_threads=1, **options)
    image = kmq.decode(alone, n_threads=1)
    assert helpers == []
    for n_threads in (2, 3, 8):
        assert kmq.encode(picture, 40, n_threads=n_threads, **options) == alone
        assert kmq.decode(alone, n_threads=n_threads) == image
        assert max(helpers) == n_threads - 1


# Several calls at once


@pytest.mark.parametrize("method", ["rank", "mix"])
def test_eight_threads_at_once_give_what_each_gives_alone(method):
    seeds = range(8)
    alone = [encoded(seed, method, n_threads=1) for seed in seeds]
    assert len(set(alone)) == 8
    meeting = threading.Barrier(8)

    def together(seed):
        meeting.wait(PATIENCE)
        first, second = (encoded(seed, method, n_threads=1 + seed) for _ in range(2))
        assert first == second
        return first

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(together, seeds)) == alone


def test_eight_threads_at_once_share_points():
    points = cloud(100_000, 3)
    alone = kmq.kmeans(points, 20, seed=1, max_iter=3, n_threads=1)
    meeting = threading.Barrier(8)

    def together(n_threads):
        meeting.wait(PATIENCE)
        return kmq.kmeans(points, 20, seed=1, max_iter=3, n_threads=n_threads)

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(together, range(1, 9)):
            assert found.centroids.tobytes() == alone.centroids.tobytes()
            assert found.labels.tobytes() == alone.labels.tobytes()


def test_a_pool_that_others_make_grow_changes_nothing(monkeypatch):
    monkeypatch.setattr(threads, "_pool", None)
    alone = encoded(0, "rank", n_threads=1)
    begun, grown = threading.Event(), threading.Event()
    heard = []

    def grow():
        begun.wait(PATIENCE)
        for n_threads in range(3, 40, 4):
            threads.run_chunks(lambda chunk: None, n_threads, n_threads)
            heard.append(threads._pool.size)
        grown.set()

    def wait(stage, fraction):
        begun.set()
        assert grown.wait(PATIENCE)

    grower = threading.Thread(target=grow)
    grower.start()
    picture = photo(64, 48)
    options = {"effort": "fast", "method": "rank", "strip_height": 16, "n_threads": 2}
    assert kmq.encode(picture, 20, progress=wait, **options) == alone
    grower.join(PATIENCE)
    assert heard == sorted(heard)
    assert heard[-1] > heard[0]


# A call that does not reach its end


class StopError(Exception):
    pass


def stop_after(n_calls):
    """A progress callback that raises when it is called for the n-th time."""
    heard = []

    def progress(stage, fraction):
        heard.append((stage, fraction))
        if len(heard) == n_calls:
            raise StopError(n_calls)

    return progress, heard


@pytest.mark.parametrize("n_calls", [1, 3])
@pytest.mark.parametrize("effort", EFFORTS)
def test_progress_stops_quantize_and_leaves_it_usable(effort, n_calls):
    picture = photo(150, 200)
    options = {"effort": effort, "n_threads": 3}
    image = content(kmq.quantize(picture, 30, **options))
    progress, heard = stop_after(n_calls)
    with pytest.raises(StopError) as caught:
        kmq.quantize(picture, 30, progress=progress, **options)
    assert caught.value.args == (n_calls,)
    assert len(heard) == n_calls
    assert content(kmq.quantize(picture, 30, **options)) == image


def test_progress_stops_kmeans_and_leaves_it_usable():
    points = cloud(100_000, 3)
    options = {"max_iter": 4, "tol": 0, "n_init": 2, "n_threads": 3}
    alone = kmq.kmeans(points, 20, **options)
    progress, heard = stop_after(6)
    with pytest.raises(StopError):
        kmq.kmeans(points, 20, progress=progress, **options)
    assert len(heard) == 6
    assert np.array_equal(kmq.kmeans(points, 20, **options).labels, alone.labels)


def test_progress_stops_write_before_anything_is_written(tmp_path):
    picture, path = photo(64, 48), tmp_path / "picture.kmq"
    options = {"effort": "fast", "method": "rank", "n_threads": 3}
    whole = kmq.encode(picture, 20, **options)
    progress, _ = stop_after(2)
    with pytest.raises(StopError):
        kmq.write(path, picture, 20, progress=progress, **options)
    assert list(tmp_path.iterdir()) == []
    kmq.write(path, picture, 20, **options)
    assert path.read_bytes() == whole


def test_an_exception_in_one_thread_does_not_reach_the_others():
    picture = photo(64, 48)
    image = content(kmq.quantize(picture, 20, n_threads=1))
    meeting = threading.Barrier(4)

    def run(number):
        progress, _ = stop_after(1 + number // 2)
        meeting.wait(PATIENCE)
        if number % 2:
            return content(kmq.quantize(picture, 20, n_threads=3))
        with pytest.raises(StopError):
            kmq.quantize(picture, 20, n_threads=3, progress=progress)
        return None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [None, image, None, image]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_exception_in_a_strip_is_raised_and_the_next_call_works(n_threads, monkeypatch):
    from kmq.stages.coding.deflate import DeflateCoder

    options = {"method": "deflate", "strip_height": 4, "n_threads": n_threads}
    image = kmq.quantize(photo(64, 48), 20)
    whole = kmq.encode(image, **options)
    encode = DeflateCoder.encode

    def fail(coder, indices, *others):
        if np.array_equal(indices, image.indices[32:36]):
            raise MemoryError("of the ninth strip")
        return encode(coder, indices, *others)

    with monkeypatch.context() as patch:
        patch.setattr(DeflateCoder, "encode", fail)
        with pytest.raises(MemoryError, match="of the ninth strip"):
            kmq.encode(image, **options)
    assert kmq.encode(image, **options) == whole


# Other processes


def in_a_child(method):
    """What a child process says: the threads it would take, those it has, a file they made."""
    small = encoded(0, method, n_threads=3)
    n_helpers = sum(thread.name.startswith("kmq") for thread in threading.enumerate())
    return resolve_threads(None), n_helpers > 0, small


@fork_beside_threads
@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_pool_of_processes_works_after_threads_did(start_method):
    here = encoded(0, "rank", n_threads=3)
    context = multiprocessing.get_context(start_method)
    with threads._pool_lock:  # as if another thread was about to use the pool
        pool = context.Pool(2)
    with pool:
        found = [pool.apply_async(in_a_child, (method,)) for method in ("rank", "mix")]
        ranked, mixed = (result.get(PATIENCE) for result in found)
    assert ranked == (1, True, here)
    assert mixed == (1, True, encoded(0, "mix", n_threads=3))
    assert encoded(0, "rank", n_threads=3) == here


@fork_beside_threads
@pytest.mark.parametrize("start_method", START_METHODS)
@pytest.mark.parametrize("asked", ["", "1"])
def test_workers_of_an_executor_leave_the_cores_to_each_other(start_method, asked, monkeypatch):
    monkeypatch.setenv("KMQ_NUM_THREADS", asked and "3")
    context = multiprocessing.get_context(start_method)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        n_threads = executor.submit(resolve_threads, None).result(PATIENCE)
    assert n_threads == (3 if asked else 1)


@pytest.mark.skipif("fork" not in START_METHODS, reason="no fork on this system")
@fork_beside_threads
def test_a_fork_amid_other_threads_work_goes_on_by_itself():
    here = encoded(0, "rank", n_threads=3)
    busy, release = threading.Barrier(4), threading.Event()

    def hold(chunk):
        busy.wait(PATIENCE)
        assert release.wait(PATIENCE)

    others = threading.Thread(target=threads.run_chunks, args=(hold, 3, 3))
    others.start()
    busy.wait(PATIENCE)  # every thread of that call is at work now
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(in_a_child, ("rank",)).get(PATIENCE) == (1, True, here)
    finally:
        release.set()
    others.join(PATIENCE)
    assert not others.is_alive()


@pytest.mark.skipif("fork" not in START_METHODS, reason="no fork on this system")
@fork_beside_threads
def test_a_fork_amid_the_computing_of_an_attribute_leaves_nothing_taken():
    computing, release = threading.Event(), threading.Event()

    class Kept:
        def __init__(self, wait):
            self.wait = wait

        @computed_once
        def one(self):
            if self.wait:
                computing.set()
                assert release.wait(PATIENCE)
            return 1

    other = threading.Thread(target=lambda: Kept(True).one)
    other.start()
    assert computing.wait(PATIENCE)
    try:
        assert run_in_a_fork(lambda: Kept(False).one == 1)
    finally:
        release.set()
    other.join(PATIENCE)


@pytest.mark.skipif("fork" not in START_METHODS, reason="no fork on this system")
@fork_beside_threads
def test_a_fork_amid_compiling_leaves_the_compiler_usable():
    @Inlined
    def plus_one(number):
        return number + 1

    compiling, release = threading.Event(), threading.Event()

    def hold():
        with global_compiler_lock:
            compiling.set()
            assert release.wait(PATIENCE)

    other = threading.Thread(target=hold)
    other.start()
    assert compiling.wait(PATIENCE)
    threading.Timer(0.05, release.set).start()  # a fork waits for the compiler, not for good
    assert run_in_a_fork(lambda: plus_one(1) == 2)
    other.join(PATIENCE)
    assert plus_one(2) == 3  # the parent has it back as well


@pytest.mark.skipif("fork" not in START_METHODS, reason="no fork on this system")
@fork_beside_threads
def test_a_fork_amid_an_import_of_kernels_waits_for_it(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(
        "import test_concurrency as t\nt.importing.set()\nt.go.wait()\n"
    )
    monkeypatch.setattr(kmq.kernels, "__path__", [*kmq.kernels.__path__, str(tmp_path)])
    other = threading.Thread(target=lambda: importlib.import_module("kmq.kernels.slow"))
    other.start()
    assert importing.wait(PATIENCE)
    threading.Timer(0.05, go.set).start()
    try:
        assert run_in_a_fork(lambda: bool(importlib.import_module("kmq.kernels.slow")))
    finally:
        go.set()
        other.join(PATIENCE)
        del sys.modules["kmq.kernels.slow"]


def test_no_attribute_takes_a_lock_of_its_class():
    for path in Path(kmq.__file__).parent.rglob("*.py"):
        assert "import cached_property" not in path.read_text(encoding="utf-8"), path


importing, go = threading.Event(), threading.Event()


def run_in_a_fork(check):
    """Say whether `check` holds in a child, which is killed if it hangs."""
    child = os.fork()
    if not child:
        holds = False
        try:
            signal.alarm(PATIENCE)
            holds = check()
        finally:  # whatever happens: a child that went on would run all other tests, too
            os._exit(0 if holds else 1)
    return os.waitpid(child, 0)[1] == 0


def run_python(program, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=os.path.dirname(__file__),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


# How many threads a call takes by itself


@pytest.fixture
def taken(monkeypatch):
    """What `run_chunks` was told by the stages, each number once."""
    from kmq.stages.coding import strips

    told = set()
    run_chunks = strips.run_chunks

    def listen(work, n_chunks, n_threads):
        told.add(n_threads)
        run_chunks(work, n_chunks, n_threads)

    monkeypatch.setattr(strips, "run_chunks", listen)
    return told


@pytest.mark.parametrize(
    ("variables", "argument", "expected"),
    [
        ({"KMQ_NUM_THREADS": "5"}, None, 5),
        ({"KMQ_NUM_THREADS": "5"}, 2, 2),
        ({"KMQ_NUM_THREADS": "5", "OMP_NUM_THREADS": "1"}, None, 5),
        ({"OMP_NUM_THREADS": "1"}, None, 1),
        ({}, None, threads.available_cores()),
    ],
)
def test_the_environment_reaches_the_stages(variables, argument, expected, monkeypatch, taken):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    image = kmq.decode(encoded(0, "deflate", n_threads=argument), n_threads=argument)
    assert (image.width, taken) == (48, {expected})


@pytest.mark.parametrize(
    "call",
    [
        lambda: kmq.quantize(photo(4, 4), 2),
        lambda: kmq.encode(photo(4, 4), 2),
        lambda: kmq.kmeans(cloud(9, 2), 2),
        lambda: kmq.assign(cloud(9, 2), cloud(2, 2)),
        lambda: kmq.accumulate(cloud(9, 2), np.zeros(9, int), 1),
        lambda: kmq.error_curve(photo(4, 4)),
    ],
)
def test_a_bad_variable_is_refused_at_every_door(call, monkeypatch):
    monkeypatch.setenv("KMQ_NUM_THREADS", "lots")
    with pytest.raises(InputError, match="KMQ_NUM_THREADS is 'lots'; it must be a whole number"):
        call()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_respected():
    program = """
import os
from kmq.threads import resolve_threads
for cores in (set(list(allowed)[:n]) for allowed in [os.sched_getaffinity(0)] for n in (1, 2)):
    os.sched_setaffinity(0, cores)
    assert resolve_threads(None) == len(cores)
os.environ["OMP_NUM_THREADS"] = "64"
os.sched_setaffinity(0, list(cores)[:1])
assert resolve_threads(None) == 1
assert resolve_threads(3) == 3
"""
    ended = run_python(program)
    assert ended.returncode == 0, ended.stderr


def in_a_worker(method):
    return resolve_threads(None), encoded(0, method)


def test_workers_of_joblib_share_the_cores():
    joblib = pytest.importorskip("joblib")
    share = max(1, threads.available_cores() // 2)
    parallel = joblib.Parallel(2, backend="loky", timeout=PATIENCE)
    found = parallel(joblib.delayed(in_a_worker)(method) for method in ("rank", "mix"))
    for (n_threads, made), method in zip(found, ("rank", "mix"), strict=True):
        assert n_threads <= share
        assert made == encoded(0, method, n_threads=1)
