"""Compile all kernels ahead of time: ``python -m kmq.build``, or as a step of an installation.

For each level of processors there is a library, a module of Python's next to the kernels; see
`kmq.kernels._native` for the one that is used. ``KMQ_LEVELS`` names those to build, separated by
commas, or is ``all``, those of this machine's architecture, or ``none``. Otherwise there is one,
for this machine. It takes a C compiler, setuptools and Numba; without them kernels are compiled
when they are first used, and no installation fails.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

_SYSTEM = "linux-gnu"
"""What libraries for another architecture are for."""

_MOST_WORKERS = 8
"""Processes at a time: each takes some 250 MB."""

_ROOT = Path(__file__).parent.parent
KERNELS = _ROOT / "kmq" / "kernels"


class Level(NamedTuple):
    """A kind of processors, as compilers name it."""

    cpu: str
    features: tuple[str, ...]
    machines: tuple[str, ...]
    """What systems call the architecture."""
    asked: tuple[str, ...] = ()
    """What the library asks the processor if it has, by the names of C compilers."""
    tuning: tuple[str, ...] = ()
    """What the compiler is told besides, for speed alone."""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether this machine is of the architecture."""
        return platform.machine().lower() in self.machines


_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_512 = ("-prefer-256-bit",)  # kernels fill vectors of 512; halves take a fifth longer
_X86 = ("x86_64", "amd64")

LEVELS = {
    "x86_64_v4_vnni": Level(
        "x86-64-v4", (*_V4, "avx512vnni"), _X86, ("x86-64-v4", "avx512vnni"), _512
    ),
    "x86_64_v4": Level("x86-64-v4", _V4, _X86, ("x86-64-v4",), _512),
    "x86_64_v3": Level("x86-64-v3", _V3, _X86, ("x86-64-v3",)),
    "aarch64": Level("generic", ("neon",), ("aarch64", "arm64")),
}
"""By the names that libraries have, the fastest first."""


class BuildKernels(build_ext):
    """The step of setuptools that builds extensions: kernels of levels, and nothing else."""

    def finalize_options(self) -> None:
        """Name the libraries to build, whatever was named before."""
        self.distribution.ext_modules = extensions()
        super().finalize_options()

    def build_extension(self, ext: Extension) -> None:
        """Build the library for a level, or say why there is none."""
        level = ext.name.rpartition("._")[2]
        began = time.perf_counter()
        _say(f"compiling kernels for {_spoken(level)} ahead of time")
        try:
            self._try_compiler()
            self._prepare(ext, level)
            super().build_extension(ext)
        except Exception as error:  # whatever compilers and linkers come up with
            _say(f"no library of kernels: {error}\nThey are compiled when they are first used.")
        else:
            _say(f"kernels compiled in {time.perf_counter() - began:.0f} s")

    def _try_compiler(self) -> None:
        """Fail at once where there is no C compiler, or no headers of Python's."""
        source = Path(self.build_temp, "trial.c")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("#include <Python.h>\n", encoding="utf-8")
        self.compiler.compile([str(source)], self.build_temp, include_dirs=self.include_dirs)

    def _prepare(self, ext: Extension, level: str) -> None:
        """Emit the machine code, and write the source of the module that has it."""
        folder = Path(self.build_temp, level)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _emit(LEVELS[level], folder)
        source = folder / f"_{level}.c"
        source.write_text('#include "binding.c"\n', encoding="utf-8")
        (folder / "table.h").write_text(_table(level, folder), encoding="utf-8")
        ext.sources = [str(source)]
        ext.include_dirs = [str(folder), str(KERNELS)]
        ext.extra_objects = sorted(map(str, folder.glob("*.o")))


def extensions() -> list[Extension]:
    """Return the libraries to build."""
    has_lock = not sysconfig.get_config_var("Py_GIL_DISABLED")
    stripped = ["-Wl,--strip-all"] if sys.platform == "linux" else []
    return [
        Extension(
            f"kmq.kernels._{level}",
            [],
            py_limited_api=has_lock,
            optional=True,
            extra_link_args=stripped,
        )
        for level in _chosen_levels()
    ]


def _chosen_levels() -> list[str]:
    """Return the levels that ``KMQ_LEVELS`` asks for."""
    named = os.environ.get("KMQ_LEVELS", "")
    if named == "none":
        return []
    if named not in ("", "all"):
        if unknown := set(named.split(",")) - set(LEVELS):
            known = ", ".join(["all", "none", *LEVELS])
            raise SystemExit(f"KMQ_LEVELS names {', '.join(sorted(unknown))}; there are {known}")
        return named.split(",")
    levels = [name for name, level in LEVELS.items() if level.is_of_this_machine]
    return levels if named == "all" else _fitting(levels)[:1]


def _fitting(levels: list[str]) -> list[str]:
    """Return the levels that this machine's processor is of."""
    try:
        from kmq.kernels._compiler import target_has
    except ImportError as error:
        _say(f"no library of kernels: {error}")
        return []
    return [level for level in levels if all(map(target_has, LEVELS[level].features))]


def _emit(level: Level, folder: Path) -> None:
    """Emit all kernels, in as many processes as there are cores."""
    compiled_for = level if level.is_of_this_machine else LEVELS["x86_64_v3"]
    environment = os.environ | {
        "KMQ_KERNELS": "jit",
        "NUMBA_CPU_NAME": compiled_for.cpu,
        "NUMBA_CPU_FEATURES": ",".join(
            [*(f"+{feature}" for feature in compiled_for.features), *compiled_for.tuning]
        ),
        "NUMBA_DISABLE_INTEL_SVML": "1",
    }
    if level is not compiled_for:
        environment["KMQ_TARGET"] = f"{level.machines[0]}-{_SYSTEM}"
    command = running("kmq.kernels._emit", str(folder))
    n_workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    workers = [subprocess.Popen(command, env=environment) for _ in range(n_workers)]  # noqa: S603  # this file's own words
    if any([worker.wait() for worker in workers]):  # noqa: C419  # waits for all
        raise RuntimeError("Numba cannot compile them")


def running(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this tree, whatever the environment's path is.

    Where kmq is installed as editable, pip takes its folder off the path of what builds it anew.
    """
    begin = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    run = "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", begin + run, str(_ROOT), module, *arguments]


def _table(level: str, folder: Path) -> str:
    """Return the C source that lists all kernels and their signatures."""
    from kmq.kernels._native import digest_of_sources

    compilers = ", ".join(f"{name} {version(name)}" for name in ("numba", "llvmlite"))
    lines, rows = [], []
    lane_bytes, entries_of = _entries(folder)
    for name, entries in entries_of.items():
        for entry in entries:
            symbol = entry["symbol"]
            described = "".join(
                f"PARAMETER('{kind}', {size}, {n}), " for kind, size, n in entry["parameters"]
            )
            lines.append(f"int {symbol}(int64_t *words);")
            lines.append(f"static const uint32_t of_{symbol}[] = {{{described}0}};")
        symbols = [entry["symbol"] for entry in entries]
        pairs = ", ".join(f"{{of_{symbol}, {symbol}}}" for symbol in symbols)
        lines.append(f"static const Signature all_{symbols[0]}[] = {{{pairs}}};")
        first = entries[0]
        if any(entry["result"] != first["result"] for entry in entries):
            raise ValueError(f"{name} returns other types for other arguments")
        rows.append(
            f'    {{"{name}", {first["n_arguments"]}, {len(entries)}, all_{symbols[0]}, '
            f'"{first["result"]}"}},'
        )
    about = {
        "MODULE_NAME": level,
        "LEVEL": f'"{_spoken(level)}"',
        "SOURCES": f'"{digest_of_sources()}"',
        "COMPILER": f'"{compilers}"',
        "LANE_BYTES": lane_bytes,
        "N_KERNELS": len(rows),
    }
    if asked := LEVELS[level].asked:
        about["FITS"] = " && ".join(f'__builtin_cpu_supports("{feature}")' for feature in asked)
    defined = [f"#define {name} {value}" for name, value in about.items()]
    return "\n".join([*defined, *lines, "static const Kernel kernels[] = {", *rows, "};", ""])


def _entries(folder: Path) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the bytes of a vector, and the entries of each kernel in the order declared."""
    lane_bytes, entries_of = 0, dict[str, dict[int, dict[str, Any]]]()
    for path in sorted(folder.glob("*.json")):
        name, _, number = path.stem.rpartition("-")
        lane_bytes, entry = json.loads(path.read_text(encoding="utf-8"))
        entries_of.setdefault(name, {})[int(number)] = entry
    return lane_bytes, {
        name: [entries[number] for number in sorted(entries)]
        for name, entries in entries_of.items()
    }


def _spoken(level: str) -> str:
    return level.replace("_", "-")


def _say(fact: str) -> None:
    print(f"kmq: {fact}", flush=True)


def main() -> None:
    """Build the library for this machine, next to the kernels of this installation."""
    with tempfile.TemporaryDirectory() as temporary:
        distribution = Distribution({"ext_modules": [], "package_dir": {"": str(_ROOT)}})
        command = BuildKernels(distribution)
        command.inplace = True
        command.build_temp = command.build_lib = temporary  # or it would leave a folder here
        command.ensure_finalized()
        command.run()


if __name__ == "__main__":
    main()
