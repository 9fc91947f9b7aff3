"""What was measured, as a list of flat dictionaries: one a line in a JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import processors

Record = dict[str, Any]

RESULTS = Path(__file__).resolve().parent / "results.json"
"""The records that the README's tables are made of."""

TARGETS_OF = "targets of "
"""How tables of targets begin: there is one for each command."""

PEERS = (
    "numpy",
    "numba",
    "scikit-learn",
    "opencv-python-headless",
    "faiss-cpu",
    "imagequant",
    "pillow",
    "pyoxipng",
    "imagecodecs",
)


def save(path: Path, records: Iterable[Record]) -> None:
    """Write records, sorted so that differences between two runs show."""
    lines = sorted(json.dumps(record, sort_keys=True) for record in records)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def load(path: Path) -> list[Record]:
    """Read records, or take them out of a file of pytest-benchmark."""
    content = json.loads(path.read_text())
    if isinstance(content, list):
        return content
    return [
        entry["extra_info"] | {"seconds": entry["stats"]["median"]}
        for entry in content["benchmarks"]
    ]


@contextmanager
def cached(path: Path | None) -> Iterator[dict[str, Any]]:
    """Give a cache that is read from a file and written to it, whatever happens in between."""
    cache: dict[str, Any] = {}
    if path and path.exists():
        cache = json.loads(path.read_text())
    try:
        yield cache
    finally:
        if path:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(cache, indent=0, sort_keys=True))


def machine() -> Record:
    """Return a record of where and with what is measured."""
    versions = {}
    for peer in PEERS:
        try:
            versions[peer] = version(peer)
        except PackageNotFoundError:
            continue
    return {
        "table": "machine",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def run(table: str) -> Record:
    """Return a record of where and when a table is measured: here and now."""
    here = {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0))}
    return {"table": "run", "of": table, "date": date.today().isoformat(), **here}


def target(
    command: str,
    what: str,
    figures: Iterable[float],
    *,
    least: float | None = None,
    most: float | None = None,
) -> Record:
    """Return a record of the worst of some figures, each to be at least or at most a number."""
    without = processors.left_out()
    return {
        "table": TARGETS_OF + command + (f", without {without}" if without else ""),
        "command": command,
        "what": what,
        "without": without,
        "figure": min(figures) if most is None else max(figures),
        "least": least,
        "most": most,
    }


def mean(values: Iterable[float]) -> float:
    """Return the mean of numbers, of which there is at least one."""
    numbers = list(values)
    return sum(numbers) / len(numbers)


def grouped(found: Iterable[Record], *names: str) -> dict[tuple, list[Record]]:
    """Return records by what they say under those names, in the order of first occurrence."""
    groups: dict[tuple, list[Record]] = {}
    for record in found:
        groups.setdefault(tuple(record.get(name) for name in names), []).append(record)
    return groups


def coder_figures(found: list[Record], k: int) -> dict[tuple[str, str], dict[str, float]]:
    """Return by kind of picture and codec: bits per pixel, and megapixels per second both ways.

    The speeds are called by direction and number of threads, as in "decode 2".
    """
    figures: dict[tuple[str, str], dict[str, float]] = {}
    chosen = (r for r in found if r["table"] == "coder" and r["k"] == k)
    for (kind, name, direction, threads), group in grouped(
        chosen, "kind", "contender", "direction", "threads"
    ).items():
        entry = figures.setdefault((kind, name), {})
        speeds = (record["pixels"] / record["seconds"] for record in group)
        entry[f"{direction} {threads}"] = mean(speeds) / 1e6
        if "bytes" in group[0]:
            entry["bits"] = mean(8 * r["bytes"] / r["pixels"] for r in group)
    return figures


def _cpu() -> str:
    from cpuinfo import get_cpu_info  # comes with pytest-benchmark

    return str(get_cpu_info().get("brand_raw") or platform.machine())
