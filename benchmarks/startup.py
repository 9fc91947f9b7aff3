"""Whole processes: CPU time and memory of kmq's commands beside other programs.

``python benchmarks/startup.py [PICTURE] [--json]``; the picture is shrunk to 0.4 megapixels.
Medians of five runs, interleaved, and their ratio to an import of NumPy. Programs that are not
installed are left out. Kernels are those that ``kmq --version -v`` names; where they are compiled
when used, a first run of each has them cached. Modules of kmq are compiled to bytecode before, as
an installation has them.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from statistics import median
from typing import Any

RUNS = 5
PIXELS = 400_000

COMMANDS = {
    "python -c pass": "python -c pass",
    "import numpy": "python -c 'import numpy'",
    "import numpy, sleep(0.1)": "python -c 'import numpy, time; time.sleep(0.1)'",
    "import numpy, PIL.Image": "python -c 'import numpy, PIL.Image'",
    "quantize(array, 64)": "python -c 'import kmq, numpy; kmq.quantize(numpy.load(\"a.npy\"), 64)'",
    "kmq --version": "kmq --version",
    "kmq info": "kmq info rank.kmq",
    "kmq encode, fast": "kmq encode a.png -k 64 --effort fast -o fast.kmq --force",
    "kmq encode, balanced": "kmq encode a.png -k 64 -o balanced.kmq --force",
    "kmq decode, rank": "kmq decode rank.kmq -o rank.png --force",
    "kmq decode, mix": "kmq decode mix.kmq -o mix.png --force",
    "pngquant": "pngquant 64 a.png -o pngquant.png --force",
    "pngquant, speed 11": "pngquant -s 11 64 a.png -o pngquant.png --force",
    "cwebp -q 75": "cwebp -quiet -q 75 a.png -o lossy.webp",
    "cwebp -lossless": "cwebp -quiet -lossless a.png -o lossless.webp",
    "cjxl -d 0 -e 7": "cjxl --quiet -d 0 -e 7 a.png lossless.jxl",
}


def words_of(command: str) -> list[str]:
    first, *others = shlex.split(command)
    python = [sys.executable]
    return [*{"python": python, "kmq": [*python, "-m", "kmq"]}.get(first, [first]), *others]


def measured(command: list[str], folder: str) -> tuple[float, float]:
    """Return CPU milliseconds and the most MB of memory of a process."""
    # Threads of pngquant that wait take time for nothing on a busy machine, unless they sleep.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss / 1024


def prepare(given: str | None) -> None:
    """Write what the commands read to the current folder."""
    import compileall

    import numpy as np
    from PIL import Image

    import kmq
    from pictures import photos

    compileall.compile_dir(os.path.dirname(kmq.__file__), quiet=1)
    picture = Image.open(given) if given else Image.fromarray(photos(full=False)[0].load())
    picture = picture.convert("RGB")
    factor = min(1.0, (PIXELS / (picture.width * picture.height)) ** 0.5)
    picture = picture.resize((round(picture.width * factor), round(picture.height * factor)))
    picture.save("a.png")
    np.save("a.npy", np.asarray(picture))
    for method in ("rank", "mix"):
        kmq.write(f"{method}.kmq", picture, 64, method=method)


def measure(given: list[str]) -> list[dict[str, Any]]:
    """Return a record for each process; `given` may have the path of a picture."""
    commands = {name: words_of(command) for name, command in COMMANDS.items()}
    found = {name: command for name, command in commands.items() if shutil.which(command[0])}
    with tempfile.TemporaryDirectory() as folder:
        program = "import sys, startup; startup.prepare(*sys.argv[1:] or [None])"
        path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path}
        prepared = [sys.executable, "-c", program, *given]
        subprocess.run(prepared, cwd=folder, env=environment, check=True)
        for command in found.values():  # whatever is only done once
            measured(command, folder)
        runs = [{name: measured(c, folder) for name, c in found.items()} for _ in range(RUNS)]
    unit = median(run["import numpy"][0] for run in runs)
    records = []
    for name in found:
        milliseconds, megabytes = (median(run[name][i] for run in runs) for i in (0, 1))
        record = {"process": name, "milliseconds": milliseconds, "of_numpy": milliseconds / unit}
        records.append({"table": "startup", **record, "megabytes": megabytes})
    return records


def main() -> None:
    # This process stays small: what it takes counts for those that it starts.
    given = [os.path.abspath(path) for path in sys.argv[1:] if path != "--json"]
    if "--json" in sys.argv:
        print(json.dumps(measure(given)))
        return
    subprocess.run(words_of("kmq --version -v"), check=True)
    print(f"{'process':<26} {'CPU ms':>8} {'of NumPy':>8} {'MB':>6}")
    for _, name, milliseconds, ratio, megabytes in map(dict.values, measure(given)):
        print(f"{name:<26} {milliseconds:8.0f} {ratio:8.2f} {megabytes:6.0f}")


if __name__ == "__main__":
    main()
