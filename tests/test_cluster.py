"""Work on clusters of real processes: a `LocalCluster`, and the commands of Dask itself."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq import ColorHistogram, KMeans
from kmq.cli import main
from kmq.errors import InputError

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

pytestmark = pytest.mark.filterwarnings("ignore")  # Dask's own, about ports and sockets

PATIENCE = 120  # seconds; a fault is a timeout, never a hang


def save_pictures(folder, number, shape=(20, 30, 3)):
    folder.mkdir()
    paths = []
    for seed in range(number):
        random = np.random.default_rng(seed)
        path = folder / f"{seed:02}.png"
        Image.fromarray(random.integers(0, 256, shape, np.uint8) // (seed + 1)).save(path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as made:
        yield made


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as made:
        yield made


def test_points_on_processes_are_fitted_as_here(client):
    points = np.random.default_rng(0).integers(-50, 50, (4000, 4)).astype(np.float32)
    chunks = da.from_array(points, chunks=(600, 4))
    start = points[:9]
    there = KMeans(9, init=start, n_init=1, tol=0).fit(chunks)
    here = KMeans(9, init=start, n_init=1, tol=0).fit(points)
    np.testing.assert_array_equal(there.cluster_centers_, here.cluster_centers_)
    np.testing.assert_array_equal(there.labels_.compute(), here.labels_)
    persisted = client.persist(chunks)
    again = KMeans(9, init=start, n_init=1, tol=0).fit(persisted)
    assert again.inertia_ == there.inertia_


def test_start_does_not_depend_on_the_workers(client):
    points = np.random.default_rng(0).random((3000, 2))
    chunks = da.from_array(points, chunks=(200, 2))
    there = KMeans(12, random_state=5).fit(chunks)
    with dask.config.set(scheduler="synchronous"):
        here = KMeans(12, random_state=5).fit(chunks)
    np.testing.assert_array_equal(there.cluster_centers_, here.cluster_centers_)


def test_faults_of_rows_come_back_as_they_are(client):
    points = np.ones((100, 2))
    points[70] = np.inf
    with pytest.raises(InputError, match="not finite"):
        KMeans(2).fit(da.from_array(points, chunks=(30, 2)))


def test_pictures_count_as_here(client, tmp_path):
    paths = save_pictures(tmp_path / "in", 11)
    heard = []
    there = ColorHistogram.from_pictures(
        paths, client=client, progress=lambda stage, share: heard.append((stage, share))
    )
    assert there == ColorHistogram.from_pictures(paths)
    assert len(heard) == 11
    assert heard[-1] == ("histogram", 1.0)
    more = ColorHistogram.from_pictures([there, *paths[:2]], client=client)
    assert more.n_pixels == 13 * 600


def test_a_client_need_not_be_the_default(cluster, tmp_path):
    paths = save_pictures(tmp_path / "in", 3)
    with distributed.Client(cluster, set_as_default=False) as made:
        assert ColorHistogram.from_pictures(paths, client=made).n_pixels == 3 * 600


def test_pictures_of_several_batches(client, tmp_path, monkeypatch):
    monkeypatch.setattr("kmq.pipeline.cluster._BATCH", 3)
    paths = save_pictures(tmp_path / "in", 8)
    there = ColorHistogram.from_pictures(iter(paths), client=client)
    assert there == ColorHistogram.from_pictures(paths)


def test_relative_paths_are_those_of_the_caller(client, tmp_path, monkeypatch):
    save_pictures(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    assert ColorHistogram.from_pictures(["in/00.png"], client=client).n_pixels == 600


def test_pictures_that_cannot_be_counted(client, tmp_path):
    paths = save_pictures(tmp_path / "in", 3)
    with pytest.raises(FileNotFoundError):
        ColorHistogram.from_pictures([*paths, tmp_path / "none.png"], client=client)
    with pytest.raises(InputError, match="no pictures"):
        ColorHistogram.from_pictures([], client=client)
    disordered = ColorHistogram(
        np.array([[2], [1]], np.uint8), np.ones(2, int), kmq.PixelFormat.GREY8
    )
    with pytest.raises(InputError, match="Morton order"):
        ColorHistogram.from_pictures([disordered], client=client)
    with (tmp_path / "in" / "00.png").open("rb") as file, pytest.raises(TypeError, match="sent"):
        ColorHistogram.from_pictures([file], client=client)
    with pytest.raises(TypeError, match=r"distributed\.Client"):
        ColorHistogram.from_pictures(paths, client="tcp://127.0.0.1:8786")


def test_progress_may_stop_the_work(client, tmp_path):
    paths = save_pictures(tmp_path / "in", 5)

    def stop(stage, share):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ColorHistogram.from_pictures(paths, client=client, progress=stop)
    assert ColorHistogram.from_pictures(paths, client=client).n_pixels == 5 * 600


def test_a_lost_worker_costs_no_picture_and_counts_none_twice(tmp_path):
    paths = save_pictures(tmp_path / "in", 30, (60, 80, 3))
    killed = []
    with ExitStack() as stack:
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
        )
        client = stack.enter_context(distributed.Client(cluster))

        def kill_one(stage, share):
            if not killed and share > 0.3:
                pids = client.run(os.getpid)
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        there = ColorHistogram.from_pictures(paths, client=client, progress=kill_one)
    assert killed
    assert there == ColorHistogram.from_pictures(paths)


# URLs


@pytest.fixture
def memory():
    return pytest.importorskip("fsspec").filesystem("memory")


def test_urls_are_read_wherever_paths_are(memory, tmp_path):
    (path,) = save_pictures(tmp_path / "in", 1)
    memory.pipe("/bucket/00.png", path.read_bytes())
    url = "memory://bucket/00.png"
    assert ColorHistogram.from_pictures([url]) == ColorHistogram.from_picture(path)
    assert kmq.quantize(url, 4) == kmq.quantize(path, 4)
    packed = kmq.encode(path, k=4)
    memory.pipe("/bucket/00.kmq", packed)
    assert kmq.read("memory://bucket/00.kmq") == kmq.decode(packed)
    assert kmq.info("memory://bucket/00.kmq").n_colors == 4


def test_urls_are_read_by_workers(memory, tmp_path):
    paths = save_pictures(tmp_path / "in", 3)
    for path in paths:
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    urls = [f"memory://bucket/{path.name}" for path in paths]
    with distributed.Client(processes=False, n_workers=1, dashboard_address=None) as client:
        there = ColorHistogram.from_pictures(urls, client=client)
    assert there == ColorHistogram.from_pictures(paths)


def test_urls_that_cannot_be_read(memory, monkeypatch):
    with pytest.raises(FileNotFoundError):
        kmq.quantize("memory://bucket/none.png", 4)
    with pytest.raises(InputError, match=r"foo://x\.png cannot be opened"):
        kmq.quantize("foo://x.png", 4)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(kmq.MissingExtraError, match="fsspec"):
        kmq.quantize("s3://bucket/photo.png", 4)


def test_whatever_fsspec_raises_names_the_url(memory, monkeypatch):
    class NoCredentialsError(Exception):
        pass

    def fail(*_, **__):
        raise NoCredentialsError("Unable to locate\ncredentials")

    monkeypatch.setattr(type(memory), "cat_file", fail)
    told = "^memory://bucket/00.png cannot be used: Unable to locate credentials$"
    with pytest.raises(OSError, match=told):
        kmq.quantize("memory://bucket/00.png", 4)


def test_nothing_is_written_to_urls(tmp_path):
    (path,) = save_pictures(tmp_path / "in", 1)
    with pytest.raises(InputError, match=r"target is the URL s3://bucket/a\.kmq; kmq writes to"):
        kmq.write("s3://bucket/a.kmq", path, 4)


def test_palette_of_urls(memory, tmp_path, capsys):
    paths = save_pictures(tmp_path / "in", 3)
    for path in paths:
        memory.pipe(f"/shop/in/{path.name}", path.read_bytes())
    memory.pipe("/shop/in/note.txt", b"no picture")
    for name in ("memory://shop/in", "memory://shop/in/*.png"):
        assert main(["palette", name, "-k", "3", "-q", "-o", str(tmp_path / "a.hex"), "-f"]) == 0
        assert (
            main(
                ["palette", *map(str, paths), "-k", "3", "-q", "-o", str(tmp_path / "b.hex"), "-f"]
            )
            == 0
        )
        assert (tmp_path / "a.hex").read_bytes() == (tmp_path / "b.hex").read_bytes()
    assert main(["palette", "memory://shop/none/*.png"]) == 2
    assert "no file matches memory://shop/none/*.png" in capsys.readouterr().err


# The command line


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler and two workers, started as Dask's documentation says."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    worker = ["worker", "--nthreads", "1", "--local-directory", str(folder), *common]
    with ExitStack() as stack:
        for command in (scheduler, worker, worker):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *command],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=folder,
                )
            )
            stack.callback(process.terminate)
        with distributed.Client(scheduler_file=str(file), timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        yield json.loads(file.read_text())["address"]


def without_times(text):
    return re.sub(r"[0-9.]+ s$", "", text, flags=re.MULTILINE)


def test_encode_on_a_cluster(address, tmp_path, capsys):
    save_pictures(tmp_path / "in", 4)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    options = ["-k", "5", "--effort", "fast"]
    assert main(["encode", str(tmp_path / "in"), "-o", f"{tmp_path}/here/", *options]) == 1
    here = capsys.readouterr()
    arguments = ["encode", str(tmp_path / "in"), "-o", f"{tmp_path}/there/", *options]
    assert main([*arguments, "--cluster", address]) == 1
    there = capsys.readouterr()
    assert without_times(there.out.replace("/there/", "/here/")) == without_times(here.out)
    assert there.err == here.err
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()
    # What is there already is in the way, as it is here.
    assert main([*arguments, "--cluster", address]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--skip-existing", "--cluster", address]) == 1
    assert "0 files, 4 skipped, 1 failed" in capsys.readouterr().out


def test_workers_fetch_and_put_urls(address, tmp_path, capsys):
    pytest.importorskip("fsspec")
    folder = tmp_path / "in"
    save_pictures(folder, 3)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "a.gpl").write_bytes(b"GIMP Palette\n0 0 0 black\n255 255 255 white\n")
    options = ["--palette", f"file://{folder}/a.gpl"]
    assert main(["encode", f"file://{folder}", "-o", f"file://{tmp_path}/here", *options]) == 1
    here = capsys.readouterr()
    arguments = ["encode", f"file://{folder}", "-o", f"file://{tmp_path}/there", *options]
    assert main([*arguments, "--cluster", address]) == 1
    there = capsys.readouterr()
    assert without_times(there.out.replace("/there/", "/here/")) == without_times(here.out)
    assert there.err == here.err == f"kmq: file://{folder}/bad.png is not a picture in a format " \
        "that Pillow knows\n"  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "there").iterdir())
    assert names == ["00.kmq", "01.kmq", "02.kmq"]
    for name in names:
        content = (tmp_path / "there" / name).read_bytes()
        assert content == (tmp_path / "here" / name).read_bytes()
    assert main([*arguments, "--skip-existing", "--cluster", address]) == 1
    assert "0 files, 3 skipped, 1 failed" in capsys.readouterr().out
    assert main([*arguments, "--cluster", address]) == 1
    assert "/there/00.kmq exists already; --force" in capsys.readouterr().err


def test_relative_names_stay_as_they_were_given(address, tmp_path, monkeypatch, capsys):
    save_pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    for command in (["encode", "in", "-o", "out", "--force"], ["palette", "in"]):
        assert main(command) == 1
        here = capsys.readouterr()
        assert main([*command, "--cluster", address]) == 1
        there = capsys.readouterr()
        assert without_times(there.out) == without_times(here.out)
        assert there.err == here.err


def test_palette_on_a_cluster(address, tmp_path, capsys):
    paths = save_pictures(tmp_path / "in", 6)
    arguments = ["palette", str(tmp_path / "in"), "-k", "6"]
    assert main(arguments) == 0
    here = capsys.readouterr().out
    assert main([*arguments, "--cluster", address]) == 0
    assert without_times(capsys.readouterr().out) == without_times(here)
    paths[2].write_bytes(b"no picture")
    Image.new("CMYK", (3, 3)).save(tmp_path / "in" / "print.tif")
    assert main([*arguments, "--cluster", address]) == 1
    complaints = capsys.readouterr().err
    assert f"{paths[2]} is not a picture" in complaints
    assert "2 of 7 pictures cannot be used" in complaints


def test_local_starts_workers(tmp_path, capsys):
    save_pictures(tmp_path / "in", 2)
    with socket.socket() as taken:
        with suppress(OSError):  # another program has the port of Dask's dashboard
            taken.bind(("", 8787))
            taken.listen()
        assert main(["palette", str(tmp_path / "in"), "--cluster", "local", "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert "2 pictures" in said.out
    assert "Port 8787" not in said.err


@pytest.mark.parametrize(
    ("options", "code", "match"),
    [
        (["--cluster", "tcp://127.0.0.1:9"], 1, "no Dask scheduler answers there"),
        (["--cluster", "nowhere://x"], 1, "no Dask scheduler answers there"),
        (["--cluster", "local", "--jobs", "2"], 2, "both given"),
    ],
)
@pytest.mark.parametrize("command", ["encode", "palette"])
def test_clusters_that_are_refused(command, options, code, match, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kmq.cli.cluster._PATIENCE", 1)
    save_pictures(tmp_path / "in", 1)
    assert main([command, str(tmp_path / "in"), *options]) == code
    assert match in capsys.readouterr().err
    assert dask.config.get("scheduler", None) is None
