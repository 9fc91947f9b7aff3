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
from operator import itemgetter
from pathlib import Path

import records
from pictures import FOLDER, PROJECT
from records import Record, coder_figures, grouped, mean

DOCUMENTS = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
PEER_CACHE = PROJECT / ".benchmarks" / "peers.json"
PALETTE_SIZES = (16, 64, 256)

_TABLE = re.compile(r"(<!-- table:(\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)


# --- measuring -----------------------------------------------------------------------------------


def _benchmark(name: str, arguments: argparse.Namespace) -> Iterator[Record]:
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(FOLDER / f"bench_{name}.py"), "-q"]
        command += ["--benchmark-only", f"--benchmark-json={kept}", "--benchmark-columns=median"]
        subprocess.run(command + ["--full"] * arguments.full, check=True, cwd=PROJECT)
        yield from records.load(kept)


def _quality(arguments: argparse.Namespace) -> list[Record]:
    import quality

    return quality.measure(arguments.sample)


def _sizes(arguments: argparse.Namespace) -> Iterator[Record]:
    import sizes

    with sizes.kept(PEER_CACHE) as cache:
        yield from sizes.measure(arguments.sample, cache)


def _eye(arguments: argparse.Namespace) -> Iterator[Record]:
    import eye

    yield from eye.measure(arguments.sample)
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


def _startup(arguments: argparse.Namespace) -> list[Record]:
    """Measure in another process: the memory of this one would count for those that it starts."""
    command = [sys.executable, str(FOLDER / "startup.py"), "--json"]
    measured = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: list[Record] = json.loads(measured.stdout)
    return found


def _scaling(arguments: argparse.Namespace) -> Iterator[Record]:
    import scaling

    yield from scaling.measure(scaling.MEGAPIXELS[-1])


def _gallery(arguments: argparse.Namespace) -> Iterator[Record]:
    import gallery

    yield from gallery.measure()


STEPS: dict[str, Callable[[argparse.Namespace], Iterable[Record]]] = {
    **{
        name: partial(_benchmark, name)
        for name in ("quantize", "coder", "files", "histogram", "nearest")
    },
    "quality": _quality,
    "sizes": _sizes,
    "eye": _eye,
    "icons": _icons,
    "scaling": _scaling,
    "startup": _startup,
    "gallery": _gallery,
}


# --- tables --------------------------------------------------------------------------------------


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure(value: float) -> str:
    """Return a number to three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _machine_table(found: list[Record]) -> str:
    [machine] = [record for record in found if record["table"] == "machine"]
    peers = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {peers}.\n"
    )


def _quantize_table(found: list[Record]) -> str:
    cells = grouped((r for r in found if r["table"] == "quantize"), "contender", "k")
    large = grouped((r for r in found if r["table"] == "large"), "contender")
    head = ["ms / MSE", *(f"k = {k}" for k in PALETTE_SIZES), "24 megapixels, k = 256"]
    rows = []
    for name in _ordered(cells):
        row = [name] + [_time_and_error(cells.get((name, k))) for k in PALETTE_SIZES]
        rows.append([*row, _time_and_error(large.get((name,)))])
    return markdown(head, rows)


def _time_and_error(group: list[Record] | None) -> str:
    if not group:
        return "–"
    seconds, error = mean(r["seconds"] for r in group), mean(r["mse"] for r in group)
    return f"{figure(1000 * seconds)} / {figure(error)}"


def _quality_table(found: list[Record]) -> str:
    from quality import ROUNDING

    group = [record for record in found if record["table"] == "quality"]
    cells = grouped(group, "contender", "k")
    ks = sorted({record["k"] for record in group})
    of = len({record["picture"] for record in group})
    head = [f"mean of {of} photographs", *(f"k = {k}" for k in ks)]
    rows = [
        [name] + [figure(mean(r["mse"] for r in cells[name, k]) - ROUNDING) for k in ks]
        for name in _ordered(cells)
    ]
    some = next(iter(_ordered(cells)))
    for label, column in (("mean of ten", "mean_of_10"), ("best of ten", "best_of_10")):
        values = [figure(mean(r[column] for r in cells[some, k])) for k in ks]
        rows.append([f"k-means++, {label}", *values])
    return markdown(head, rows) + (
        "\nThe baseline's centres are not rounded. Rounding to whole numbers adds 0.25, which is "
        "subtracted from ours.\n"
    )


def _sizes_table(found: list[Record]) -> str:
    from sizes import ratios

    group = [record for record in found if record["table"] == "sizes"]
    unsorted = ratios(group)
    by_place = {
        place: unsorted[place] for place in sorted(unsorted, key=lambda at: (at[0] != "photos", at))
    }
    of = {
        folder: len({r["picture"] for r in group if r["folder"] == folder})
        for folder, _ in by_place
    }
    head = ["mean (largest) ratio"]
    head += [f"{of[folder]} {folder}, k = {k}" for folder, k in by_place]
    present = _ordered((name,) for name in next(iter(by_place.values())))
    names = [name for name in present if not name.startswith("kmq, ")]
    rows = [
        [name]
        + [f"{codecs[name].mean:.2f} ({codecs[name].worst:.2f})" for codecs in by_place.values()]
        for name in names
    ]
    return markdown(head, rows)


def _icons_table(found: list[Record]) -> str:
    cells = grouped((r for r in found if r["table"] == "icons"), "contender", "side", "k")
    places = sorted({(side, k) for _, side, k in cells})
    head = ["mean bytes", *(f"{side} × {side}, k = {k}" for side, k in places)]
    rows = [
        [name, *(f"{mean(r['bytes'] for r in cells[name, side, k]):.0f}" for side, k in places)]
        for name in _ordered(cells)
        if not name.startswith("kmq, ")
    ]
    return markdown(head, rows)


def _coder_table(found: list[Record]) -> str:
    kinds = ("photo", "graphic", "dithered")
    speeds = {
        f"{direction} {threads}": f"{direction}, {threads} thread{'s' * (threads > 1)}"
        for direction in ("encode", "decode")
        for threads in (1, 2)
    }
    figures = coder_figures(found, 64)
    bits = {
        (kind, k): {name: entry["bits"] for (of, name), entry in at_k.items() if of == kind}
        for kind in kinds
        for k in PALETTE_SIZES
        for at_k in [coder_figures(found, k)]
    }
    places = [place for place, at_place in bits.items() if at_place]
    head = ["", *(f"{kind}, k = {k}" for kind, k in places)]
    rows = []
    for name in _ordered((name, kind) for kind, name in figures):
        row = [bits[place].get(name) for place in places]
        rows.append([name] + ["–" if value is None else f"{value:.3f}" for value in row])
    table = "Bits per pixel:\n\n" + markdown(head, rows)
    rows = []
    for name in _ordered((name, kind) for kind, name in figures):
        row = [figures["photo", name].get(speed) for speed in speeds]
        rows.append([name] + ["–" if value is None else figure(value) for value in row])
    return f"{table}\nMegapixels per second, photograph, k = 64:\n\n" + markdown(
        ["", *speeds.values()], rows
    )


def _eye_table(found: list[Record]) -> str:
    group = [record for record in found if record["table"] == "eye" and record["kind"] == "photo"]
    cells = grouped(group, "contender", "k")
    n_photos = len({record["picture"] for record in group})
    head = [f"mean of {n_photos} photographs", *(f"k = {k}" for k in PALETTE_SIZES)]
    names = dict.fromkeys(name for name, _ in cells)
    rows = [
        [name]
        + [
            f"{mean(record['ssimulacra2'] for record in cells[name, k]):.1f} / "
            f"{mean(record['butteraugli'] for record in cells[name, k]):.1f}"
            for k in PALETTE_SIZES
        ]
        for name in sorted(names, key=lambda name: ("dither" in name or "order" in name, name))
    ]
    return markdown(head, rows)


def _alpha_table(found: list[Record]) -> str:
    import eye

    group = [record for record in found if record["table"] == "alpha"]
    ks = sorted({record["k"] for record in group})
    rows = []
    for (picture,), of_picture in grouped(group, "picture").items():
        cells = grouped(of_picture, "contender", "k")
        for name in (eye.DEFAULT, eye.PEER):
            at_ks = [record for k in ks for record in cells.get((name, k), [])]
            changed = sum(record["not_opaque"] + record["not_clear"] for record in at_ks)
            row = [f"{picture}, {name}", *(figure(record["mse"]) for record in at_ks)]
            rows += [[*row, "changed" if changed else "kept"]] * bool(at_ks)
    head = ["", *(f"k = {k}" for k in ks), "opaque, transparent pixels"]
    return markdown(head, rows)


def _lossy_table(found: list[Record]) -> str:
    group = [record for record in found if record["table"] == "lossy"]
    names = list(_ordered(grouped(group, "contender")))
    head = ["bits per pixel", "PSNR", ".kmq, balanced", *names]
    rows = []
    for (k,), at_k in grouped(sorted(group, key=lambda r: r["k"]), "k").items():
        row = [f"{k} colours", f"{mean(r['kmq_psnr'] for r in at_k):.1f} dB"]
        row.append(figure(mean(8 * r["kmq_bytes"] / r["pixels"] for r in at_k)))
        for name in names:
            ours = [r for r in at_k if r["contender"] == name]
            row.append(figure(mean(8 * r["bytes"] / r["pixels"] for r in ours)))
        rows.append(row)
    return markdown(head, rows)


def _lloyd_table(found: list[Record]) -> str:
    group = [record for record in found if record["table"] == "lloyd"]
    cells = grouped(group, "contender", "d", "n", "k")
    sizes = sorted({(r["d"], r["n"], r["k"]) for r in group})
    names = list(_ordered(cells))
    head = ["points × channels, k", *names]
    rows = []
    for d, n, k in sizes:
        row = [f"{n:,} × {d}, {k}"]
        for name in names:
            measured = cells.get((name, d, n, k))
            row.append(
                figure(1000 * mean(r["seconds"] / r["rounds"] for r in measured))
                if measured
                else "–"
            )
        rows.append(row)
    return markdown(head, rows)


def _startup_table(found: list[Record]) -> str:
    rows = [
        [r["process"], f"{r['milliseconds']:.0f}", f"{r['of_numpy']:.2f}", f"{r['megabytes']:.0f}"]
        for r in sorted(
            (r for r in found if r["table"] == "startup"), key=itemgetter("milliseconds")
        )
    ]
    return markdown(["process", "CPU ms", "of `import numpy`", "MB"], rows)


def _gallery_table(found: list[Record]) -> str:
    cells = grouped((r for r in found if r["table"] == "gallery"), "contender", "picture", "k")
    names = list(dict.fromkeys(name for name, _, _ in cells))
    rows = [
        [
            f"{picture}, k = {k}",
            *(f"{cells[name, picture, k][0]['ssimulacra2']:.1f}" for name in names),
        ]
        for picture, k in sorted({(picture, k) for _, picture, k in cells})
    ]
    return markdown(["SSIMULACRA2", *names], rows)


def _headlines_table(found: list[Record]) -> str:
    from quality import ROUNDING
    from sizes import ratios

    def mean_of(table: str, column: str, **of: object) -> float:
        return mean(
            record[column]
            for record in found
            if record["table"] == table and all(record.get(name) == of[name] for name in of)
        )

    def seconds(contender: str) -> str:
        return f"{1000 * mean_of('quantize', 'seconds', contender=contender, k=64):.0f} ms"

    def looks(contender: str) -> str:
        value = mean_of("eye", "ssimulacra2", contender=contender, kind="photo", k=64)
        return f"{value:.0f}"

    def round_of(contender: str) -> str:
        of = {"contender": contender, "d": 3, "n": 1_000_000, "k": 64}
        each = mean_of("lloyd", "seconds", **of) / mean_of("lloyd", "rounds", **of)
        return f"{1000 * each:.1f} ms"

    ours, quality = "kmq balanced", {"contender": "kmq balanced", "k": 64}
    sizes = ratios([record for record in found if record["table"] == "sizes"])["photos", 64]
    rows = [
        [
            "how it looks: SSIMULACRA2, dithered (more is better)",
            looks("kmq, eye, dithered"),
            f"{looks('quantette, dithered')} quantette, "
            f"{looks('libimagequant, dithered')} libimagequant",
            "eye",
        ],
        [
            'mean squared error, `space="rgb"`',
            figure(mean_of("quality", "mse", **quality) - ROUNDING),
            f"{figure(mean_of('quality', 'best_of_10', **quality))} best of ten k-means++ runs",
            "quality",
        ],
        [
            "time for 768 × 512 pixels",
            seconds(ours),
            f"{seconds('libimagequant')} libimagequant, {seconds('faiss Kmeans')} faiss",
            "quantize",
        ],
        [
            "file size, share of the smallest of oxipng, WebP and JPEG XL",
            f"{sizes[ours].mean:.2f}",
            f"{sizes['WebP lossless, method 6'].mean:.2f} WebP, "
            f"{sizes['oxipng level 6'].mean:.2f} oxipng",
            "sizes",
        ],
        [
            "a round of k-means, 1,000,000 × 3 points",
            round_of("kmq"),
            f"{round_of('scikit-learn')} scikit-learn",
            "quantize",
        ],
    ]
    return markdown(["64 colours", "kmq", "others", "`python benchmarks/tables.py --only …`"], rows)


def _ordered(keys: Iterable[tuple]) -> dict[str, None]:
    """Return the names that keys begin with, as contenders are listed, ours first."""
    from contenders import CODECS, LLOYDS, LOSSY, QUANTIZERS, SPACES

    present = dict.fromkeys(key[0] for key in keys)
    listed = [entry.name for entry in (*QUANTIZERS, *SPACES, *CODECS, *LLOYDS, *LOSSY)]
    return {name: None for name in dict.fromkeys(listed) if name in present}


TABLES: dict[str, Callable[[list[Record]], str]] = {
    "machine": _machine_table,
    "quantize": _quantize_table,
    "quality": _quality_table,
    "sizes": _sizes_table,
    "eye": _eye_table,
    "alpha": _alpha_table,
    "icons": _icons_table,
    "coder": _coder_table,
    "lossy": _lossy_table,
    "lloyd": _lloyd_table,
    "startup": _startup_table,
    "gallery": _gallery_table,
    "headlines": _headlines_table,
}

MADE_OF_OTHERS = {"headlines": {"eye", "quality", "quantize", "sizes", "lloyd"}}
"""Tables that show records of several others."""


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
