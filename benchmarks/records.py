"""What was measured, as a list of flat dictionaries: one a line in a JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Record = dict[str, Any]

RESULTS = Path(__file__).resolve().parent / "results.json"
"""The records that the README's tables are made of."""

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


def mean(values: Iterable[float]) -> float:
    """Return the mean of numbers, of which there is at least one."""
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _cpu() -> str:
    from cpuinfo import get_cpu_info  # comes with pytest-benchmark

    return str(get_cpu_info().get("brand_raw") or platform.machine())
