"""Measure, and write the figures into the README and docs/, and the plots into docs/.

    python benchmarks/tables.py              about ten minutes
    python benchmarks/tables.py --sample 1   all photographs where a mean is shown
    python benchmarks/tables.py --only quality sizes
    python benchmarks/tables.py --only       nothing measured, only written again

What is measured is kept in benchmarks/results.json; tables stand between the lines
``<!-- table:NAME -->`` and ``<!-- /table -->`` of the README and the pages in docs/.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import records
from layouts import MADE_OF_OTHERS, TABLES
from pictures import FOLDER, PROJECT
from records import Record

DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
PEER_CACHE = PROJECT / ".benchmarks" / "peers.json"

Step = Callable[[argparse.Namespace], Iterable[Record]]

_TABLE = re.compile(r"(<!-- table:(\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)


# --- measuring -----------------------------------------------------------------------------------


def _benchmark(name: str, arguments: argparse.Namespace) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(FOLDER / f"bench_{name}.py"), "-q"]
        command += ["--benchmark-only", f"--benchmark-json={kept}", "--benchmark-columns=median"]
        subprocess.run(command + ["--full"] * arguments.full, check=True, cwd=PROJECT)
        yield from records.load(kept)


def _script(name: str, *given: str, call: str = "measure") -> Step:
    """Return what calls a function of a script with some of the arguments."""
    return lambda arguments: getattr(import_module(name), call)(
        *(getattr(arguments, of) for of in given)
    )


def _sizes(arguments: argparse.Namespace) -> Iterator[Record]:
    import sizes

    with records.cached(PEER_CACHE) as cache:
        yield from sizes.measure(arguments.sample, cache)


def _eye(arguments: argparse.Namespace) -> Iterator[Record]:
    import eye

    yield from eye.measure(("photo", "graphic"), arguments.sample, jobs=1)
    yield from eye.measure_alpha()


def _icons(arguments: argparse.Namespace) -> Iterator[Record]:
    import small_files

    for kind, side, k, sizes in small_files.measure(full=arguments.full):
        for name, size in sizes.items():
            yield {
                "table": "icons",
                "kind": kind,
                "side": side,
                "k": k,
                "contender": name,
                "bytes": size,
            }


def _apart(name: str, *given: str) -> Step:
    """Return what measures in a process of its own: memory and threads of this one count there."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *given, "--json"]
    return lambda _: json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]
    )


STEPS: dict[str, Step] = {
    **{
        name: partial(_benchmark, name)
        for name in ("quantize", "coder", "files", "histogram", "nearest")
    },
    "quality": _script("quality", "sample"),
    "sizes": _sizes,
    "eye": _eye,
    "animate": _script("animate", call="measured"),
    "icons": _icons,
    "scaling": _script("scaling"),
    "startup": _apart("startup"),
    "gallery": _script("gallery"),
    "search": _script("search", "sample"),
    "one_channel": _script("one_channel"),
    "speed": _script("speed"),
    "dither_looks": _script("dither", "sample", call="looks"),
    "dither_sizes": _script("dither", "sample", call="sizes"),
    "dither_speeds": _script("dither", call="speeds"),
    "prices": _script("prices"),
    "labels": _script("labels"),
    "points": _apart("points", "rounds", "fits", "starts", "many"),
    "without": _apart("points", "rounds", "fits", "starts", "many", "--without", "avx512"),
    "small_fits": _apart("small_fits"),
    "units": _script("clusters"),
    "threads": _apart("threads"),
    "dask": _apart("clusters", "rounds", "file"),
}


# --- pages ---------------------------------------------------------------------------------------


def rendered(document: str, found: list[Record]) -> str:
    """Return a page with its tables made of these records; what was not measured stays."""
    measured = {record["table"] for record in found}

    def table(match: re.Match[str]) -> str:
        opening, name, _, closing = match.groups()
        sources = MADE_OF_OTHERS.get(name, {name})
        if not sources <= measured:
            return match[0]
        return opening + TABLES[name](found) + _where_and_when(sources, found) + closing

    return _TABLE.sub(table, document)


def _where_and_when(sources: set[str], found: list[Record]) -> str:
    """Return a line about the machine and the day of some tables, where they are known."""
    runs = [r for r in found if r["table"] == "run" and r["of"] in sources]
    machines = dict.fromkeys(f"{run['cpu']}, {run['cores']} cores" for run in runs)
    days = sorted({run["date"] for run in runs})
    shown = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    return f"\n{'; '.join(machines)}; {shown}.\n" if runs else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sample", metavar="N", type=int, default=5, help="every Nth photograph (default: 5)"
    )
    parser.add_argument(
        "--full", action="store_true", help="time all pictures of the corpus (hours)"
    )
    parser.add_argument(
        "--only", nargs="*", choices=list(STEPS), help="measure just this, and keep the rest"
    )
    parser.add_argument(
        "--check", action="store_true", help="only say whether the pages show what was measured"
    )
    arguments = parser.parse_args()
    if arguments.check:
        found = records.load(records.RESULTS)
        pages = [page.read_text(encoding="utf-8") for page in DOCUMENTS]
        sys.exit(any(page != rendered(page, found) for page in pages))
    steps = list(STEPS) if arguments.only is None else arguments.only
    for step in steps:
        print(f"measuring: {step}", flush=True)
        keep([*STEPS[step](arguments), records.machine()])
    write(records.load(records.RESULTS))


def keep(found: list[Record]) -> None:
    """Put records in the place of those of the same tables, and note where and when."""
    tables = {record["table"] for record in found}
    kept = records.load(records.RESULTS) if records.RESULTS.exists() else []
    others = [r for r in kept if r["table"] not in tables and r.get("of") not in tables]
    runs = [records.run(table) for table in tables - {"machine"}]
    records.save(records.RESULTS, others + found + runs)


def write(found: list[Record]) -> None:
    """Write the tables and plots."""
    import plots

    for page in DOCUMENTS:
        text = page.read_text(encoding="utf-8")
        page.write_text(rendered(text, found), encoding="utf-8")
    for path in plots.write(found, PROJECT / "docs"):
        print(f"wrote {path.relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
