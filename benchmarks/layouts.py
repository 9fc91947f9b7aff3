"""The tables of the README and docs/, each made of records of what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Any

import processors
from records import TARGETS_OF, Record, coder_figures, grouped, mean

PALETTE_SIZES = (16, 64, 256)


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure(value: float) -> str:
    """Return a number to three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _of(found: list[Record], table: str) -> list[Record]:
    return [record for record in found if record["table"] == table]


def _machine_table(found: list[Record]) -> str:
    [machine] = _of(found, "machine")
    peers = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {peers}.\n"
    )


def _quantize_table(found: list[Record]) -> str:
    cells = grouped(_of(found, "quantize"), "contender", "k")
    large = grouped(_of(found, "large"), "contender")
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

    group = _of(found, "quality")
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

    group = _of(found, "sizes")
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
    cells = grouped(_of(found, "icons"), "contender", "side", "k")
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


def _photos(found: list[Record]) -> tuple[str, list[Record]]:
    """Return what the photographs of the table "eye" are called in a heading, and their records."""
    photos = [record for record in _of(found, "eye") if record["kind"] == "photo"]
    of = len({record["picture"] for record in photos})
    return f"mean of {of} photographs", photos


def _looks(group: list[Record]) -> str:
    ssimulacra2, butteraugli = (
        mean(record[name] for record in group) for name in ("ssimulacra2", "butteraugli")
    )
    return f"{ssimulacra2:.1f} / {butteraugli:.1f}"


def _eye_table(found: list[Record]) -> str:
    corner, photos = _photos(found)
    cells = grouped(photos, "contender", "k")
    head = [corner, *(f"k = {k}" for k in PALETTE_SIZES)]
    names = dict.fromkeys(name for name, _ in cells)
    rows = [
        [name, *(_looks(cells[name, k]) for k in PALETTE_SIZES)]
        for name in sorted(names, key=lambda name: ("dither" in name or "order" in name, name))
    ]
    return markdown(head, rows)


def _alpha_table(found: list[Record]) -> str:
    import eye

    group = _of(found, "alpha")
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
    group = _of(found, "lossy")
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
    group = _of(found, "lloyd")
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
        for r in sorted(_of(found, "startup"), key=itemgetter("milliseconds"))
    ]
    return markdown(["process", "CPU ms", "of `import numpy`", "MB"], rows)


def _gallery_table(found: list[Record]) -> str:
    cells = grouped(_of(found, "gallery"), "contender", "picture", "k")
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
            for record in _of(found, table)
            if all(record.get(name) == of[name] for name in of)
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
    sizes = ratios(_of(found, "sizes"))["photos", 64]
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


def _animate_table(found: list[Record]) -> str:
    import animate

    return markdown(*animate.table(_of(found, "animate")))


def _ordered(keys: Iterable[tuple]) -> dict[str, None]:
    """Return the names that keys begin with, as contenders are listed, ours first."""
    from contenders import CODECS, LLOYDS, LOSSY, QUANTIZERS, SPACES

    present = dict.fromkeys(key[0] for key in keys)
    listed = [entry.name for entry in (*QUANTIZERS, *SPACES, *CODECS, *LLOYDS, *LOSSY)]
    return {name: None for name in dict.fromkeys(listed) if name in present}


# --- pages of their own -------------------------------------------------------------------------


def pivot(
    found: list[Record],
    corner: str,
    row: str,
    column: str,
    cell: Callable[[list[Record]], str],
    order: Iterable[str] = (),
) -> str:
    """Return a table with a line and a column for each value under those two names; lines have
    that order, if one is given."""
    cells = grouped(found, row, column)
    rows = [of for of in order if any(record[row] == of for record in found)] or _sorted(found, row)
    columns = _sorted(found, column)
    head = [corner, *(f"k = {of}" if column == "k" else str(of) for of in columns)]
    lines = (
        [str(of), *(cell(cells[of, at]) if (of, at) in cells else "–" for at in columns)]
        for of in rows
    )
    return markdown(head, lines)


def _sorted(found: list[Record], name: str) -> list[Any]:
    """Return the values under a name, ours first, numbers by their size."""

    def key(value: object) -> tuple[bool, list[int | str]]:
        text = str(value).casefold().replace(",", "")
        parts = re.split(r"(\d+)", text)
        return not text.startswith("kmq"), [int(of) if of.isdigit() else of for of in parts]

    return sorted({record[name] for record in found}, key=key)


def _eye_targets_table(found: list[Record]) -> str:
    """Return our figures for photographs above what is asked for."""
    import eye

    corner, photos = _photos(found)
    cells = grouped(photos, "contender", "k")

    def means(name: str, fact: str) -> dict[int, float]:
        return {k: mean(record[fact] for record in cells[name, k]) for k in PALETTE_SIZES}

    rows = []
    for own, ending, leads, share in eye.TARGETS:
        looks, butteraugli = (
            [means(name + ending, fact) for name in eye.PEERS]
            for fact in ("ssimulacra2", "butteraugli")
        )
        rows.append([own, *(_looks(cells[own, k]) for k in PALETTE_SIZES)])
        added = sorted({*leads.values()}, reverse=True)
        target = f"target: {', '.join(f'+{lead}' for lead in added)}; × {share:g}"
        wanted = (
            f"{max(of[k] for of in looks) + leads[k]:.1f} / "
            f"{share * min(of[k] for of in butteraugli):.1f}"
            for k in PALETTE_SIZES
        )
        rows.append([target, *wanted])
    diffused, ordered = (
        means(f"kmq, eye, {way}", "ssimulacra2") for way in ("dithered", "ordered")
    )
    lost = (f"{diffused[k] - ordered[k]:.1f}" for k in PALETTE_SIZES)
    rows.append([f"ordered, below dithered; target: at most {eye.ORDERED_LOSS}", *lost])
    return markdown([corner, *(f"k = {k}" for k in PALETTE_SIZES)], rows)


def _eye_graphics_table(found: list[Record]) -> str:
    """Return our figures for each graphic, and how far they are above the best peer's."""
    import eye

    graphics = [record for record in _of(found, "eye") if record["kind"] == "graphic"]
    cells = {(r["contender"], r["picture"], r["k"]): r for r in graphics}
    ways = [(ending, k) for ending in ("", ", dithered") for k in PALETTE_SIZES[:2]]
    rows = []
    for picture in _sorted(graphics, "picture"):
        row = [picture.replace("_", " ")]
        for ending, k in ways:
            own = cells[f"kmq, eye{ending}", picture, k]
            best = max(cells[name + ending, picture, k]["ssimulacra2"] for name in eye.PEERS)
            lead = own["ssimulacra2"] - best
            row.append(f"{_looks([own])}, {round(lead, 1) + 0.0:+.1f}")
        rows.append(row)
    heads = [f"{ending.removeprefix(', ') or 'plain'}, k = {k}" for ending, k in ways]
    return markdown(["", *heads], rows)


def _optimized_table(found: list[Record]) -> str:
    """Return optimised mapping with the best dithered peer."""
    import eye

    corner, photos = _photos(found)
    cells = grouped(photos, "contender", "k")
    peers = [f"{name}, dithered" for name in eye.PEERS]
    shown = ["kmq, eye, optimized", "kmq, eye, dithered", *peers]
    rows = [[name, *(_looks(cells[name, k]) for k in PALETTE_SIZES)] for name in shown]
    return markdown([corner, *(f"k = {k}" for k in PALETTE_SIZES)], rows)


def _prices_table(found: list[Record]) -> str:
    import prices

    def cell(group: list[Record]) -> str:
        bits, looks = (mean(r[name] for r in group) for name in ("bits", "ssimulacra2"))
        return f"{bits:.2f} / {looks:.1f}"

    title = "bits per pixel / SSIMULACRA2"
    return pivot(_of(found, "prices"), title, "mapping", "k", cell, prices.MAPPINGS)


def _search_table(found: list[Record]) -> str:
    import search

    def cell(group: list[Record]) -> str:
        ratio, seconds = (mean(r[name] for r in group) for name in ("ratio", "seconds"))
        return f"{ratio:.4f} / {1000 * seconds:.1f}"

    return pivot(_of(found, "search"), "error / ms", "search", "k", cell, search.SEARCHES)


def _quality_ratios_table(found: list[Record]) -> str:
    """Return errors over those of ten runs of k-means++."""
    from quality import ROUNDING

    cells = grouped(_of(found, "quality"), "contender", "k")
    ks = sorted({k for _, k in cells})
    rows = []
    for name in _ordered(cells):
        baseline = "mean_of_10" if name == "kmq fast" else "best_of_10"
        ratios = (
            (mean(r["mse"] for r in cells[name, k]) - ROUNDING)
            / mean(r[baseline] for r in cells[name, k])
            for k in ks
        )
        worst = max(
            (record["mse"] - ROUNDING) / record["best_of_10"]
            for k in ks
            for record in cells[name, k]
        )
        rows.append([name, *(f"{ratio:.4f}" for ratio in ratios), f"{worst:.4f}"])
    return markdown(["", *(f"k = {k}" for k in ks), "worst picture to its own best of ten"], rows)


def _one_channel_table(found: list[Record]) -> str:
    def cell(group: list[Record]) -> str:
        [record] = group
        gain = "" if record["gain"] is None else f" / {record['gain']:.4f}"
        return figure(record["milliseconds"]) + gain

    return pivot(_of(found, "one_channel"), "ms / error", "what", "k", cell)


def _speed_table(found: list[Record]) -> str:
    titled = [
        record
        | {"title": f"{record['picture'].replace('_', ' ')}, {record['width']} × {record['height']}"
           f", k = {record['k']}"}
        for record in _of(found, "speed")
    ]  # fmt: skip
    return pivot(
        titled, "CPU ms", "title", "contender", lambda group: figure(group[0]["milliseconds"])
    )


def _dither_sizes_table(found: list[Record]) -> str:
    titled = [
        record | {"title": f"k = {record['k']}, {record['method']}"}
        for record in _of(found, "dither_sizes")
    ]

    def cell(group: list[Record]) -> str:
        return f"{mean(8 * record['bytes'] / record['pixels'] for record in group):.3f}"

    return pivot(titled, "bits per pixel", "title", "contender", cell)


def _dither_speeds_table(found: list[Record]) -> str:
    """Return speeds of one thread, by its CPU time; other work changes little of that."""
    titled = [
        record | {"title": f"{record['pixels'] / 1e6:.1f} megapixels, {record['method']}"}
        for record in _of(found, "dither_speeds")
        if record["threads"] == 1
    ]

    def cell(group: list[Record]) -> str:
        return figure(group[0]["pixels"] / group[0]["seconds"] / 1e6)

    return pivot(titled, "megapixels per second", "title", "k", cell)


def _method_table(method: str, found: list[Record]) -> str:
    """Return sizes and speeds of a method of coding."""
    from sizes import ratios

    sizes = ratios(_of(found, "sizes"))
    name = f"kmq, {method}"
    kinds = {"photos": "photo", "graphics": "graphic"}
    figures = {k: coder_figures(found, k) for k in PALETTE_SIZES}

    def cells(of: Callable[[str, int], str]) -> list[str]:
        return [" / ".join(of(folder, k) for k in PALETTE_SIZES) for folder in kinds]

    def speed(direction: str) -> list[str]:
        return cells(lambda at, k: figure(figures[k][kinds[at], name][f"{direction} 1"]))

    rows = [
        ["size, mean", *cells(lambda at, k: f"{sizes[at, k][name].mean:.2f}")],
        ["size, the worst picture", *cells(lambda at, k: f"{sizes[at, k][name].worst:.2f}")],
        ["encoding, megapixels per second and core", *speed("encode")],
        ["decoding, megapixels per second and core", *speed("decode")],
    ]
    pictures = grouped(_of(found, "sizes"), "folder", "picture")
    counts = {folder: sum(of == folder for of, _ in pictures) for folder in kinds}
    heads = [f"{folder} ({counts[folder]})" for folder in kinds]
    return markdown(["k = 16 / 64 / 256", *heads], rows)


def _labels_table(found: list[Record]) -> str:
    head = ["mask", "labels", '"fast", bytes', '"balanced"', "smallest peer", "ratio"]
    head.append("decoded, MP/s")
    rows = [
        [
            record["mask"],
            *(f"{record[name]:,}" for name in ("labels", "fast", "balanced")),
            f"{record['peer_bytes']:,} {record['peer']}",
            f"{record['balanced'] / record['peer_bytes']:.2f}",
            f"{record['decoded_on_one']:.0f}",
        ]
        for mask in _sorted(_of(found, "labels"), "mask")
        for record in found
        if record.get("mask") == mask
    ]
    return markdown(head, rows)


def _rounds_table(found: list[Record]) -> str:
    group = _of(found, "rounds")
    cells = grouped(group, "dtype", "d", "k", "contender")
    names = _sorted(group, "contender")
    has_float64 = any(record["dtype"] == "float64" for record in group)
    rows = []
    for d, k, n in sorted(grouped(group, "d", "k", "n")):
        times = {
            (dtype, name): cells[dtype, d, k, name][0]["milliseconds"]
            for dtype in ("float32", "float64")
            for name in names
            if (dtype, d, k, name) in cells
        }

        def ratio(dtype: str, name: str, times: Any = times) -> str:
            if (dtype, name) not in times:
                return "–"
            return f"{times[dtype, name] / times[dtype, 'kmq']:.1f} ×"

        row = [f"{n:,} × {d}, {k}"]
        row += [figure(times["float32", of]) if ("float32", of) in times else "–" for of in names]
        row += [ratio("float32", name) for name in names[1:]]
        rows.append(row + [ratio("float64", "scikit-learn")] * has_float64)
    heads = [*names, *(f"as fast as {name}" for name in names[1:])]
    heads += ["… in float64"] * has_float64
    return markdown(["points × channels, k", *heads], rows)


def _fits_table(found: list[Record]) -> str:
    head = ["data", "clusters", "rounds", "kmq", "plain rounds", "scikit-learn", "times"]
    rows = []
    for record in sorted(_of(found, "fits"), key=itemgetter("data", "k")):
        peer = min(record["lloyd"], record["elkan"])
        row = [f"{record['data']}, {record['n']:,} × {record['d']}"]
        row += [f"{record[name]}" for name in ("k", "rounds")]
        row += [f"{seconds:.3f}" for seconds in (record["kmq"], record["plain rounds"], peer)]
        rows.append([*row, f"{peer / record['kmq']:.1f}"])
    return markdown(head, rows)


def _starts_table(found: list[Record]) -> str:
    names = ["k-means++", "k-means‖", "scikit-learn"]
    cells = grouped(_of(found, "starts"), "n", "d", "k", "contender")
    rows = []
    for n, d, k in sorted(grouped(_of(found, "starts"), "n", "d", "k"), key=itemgetter(2, 0)):
        greedy = cells.get((n, d, k, "k-means++"), [{}])[0]

        def cell(name: str, size: Any = (n, d, k), greedy: Any = greedy) -> str:
            if (*size, name) not in cells:
                return "–"
            record = cells[(*size, name)][0]
            ratios = [
                f"{record[which] / greedy[which]:.3f}"
                for which in ("start", "ten rounds")
                if greedy
            ]
            return " / ".join([f"{record['seconds']:.2f} s", *ratios])

        rows.append([f"{n:,} × {d}, {k:,}", *map(cell, names)])
    return markdown(["points × channels, k", *names], rows)


def _threads_table(table: str, found: list[Record]) -> str:
    found = _of(found, table)
    numbers = sorted({record["threads"] for record in found})
    head = ["call", "ms, 1 thread", *(f"{number} threads" for number in numbers[1:])]
    rows = []
    for (call,), group in grouped(found, "call").items():
        alone, *others = (one["seconds"] for one in sorted(group, key=itemgetter("threads")))
        rows.append([call, figure(1000 * alone), *(f"{alone / other:.1f} ×" for other in others)])
    return markdown(head, rows)


def _products_table(found: list[Record]) -> str:
    titled = [
        record | {"title": f"{record['dtype']}, {record['d']}"} for record in _of(found, "products")
    ]
    return pivot(
        titled,
        "channels",
        "title",
        "k",
        lambda group: f"{group[0]['products']:.2f} / {group[0]['screening']:.2f}",
    )


def _units_table(found: list[Record]) -> str:
    units = sorted(_of(found, "units"), key=itemgetter("unit"))
    rows = [[r["unit"], f"{figure(r['cost'])} {r['of']}"] for r in units]
    return markdown(["unit", "cost"], rows)


def _processes_table(found: list[Record]) -> str:
    """Return what the page on kernels shows of whole processes."""
    shown = ("python -c pass", "import numpy", "pngquant")
    rows = [
        [f"`{r['process']}`", f"{r['milliseconds']:.0f}", f"{r['megabytes']:.0f}"]
        for r in sorted(_of(found, "startup"), key=itemgetter("milliseconds"))
        if r["process"] in shown or r["process"].startswith("kmq")
    ]
    return markdown(["process", "CPU ms", "MB"], rows)


_COMMANDS = (
    "points.py rounds",
    "points.py fits starts",
    "points.py many",
    "one_channel.py",
    "small_fits.py",
    "clusters.py",
)
"""What measures targets, in the order in which they are shown."""

_WITHOUT_AVX512 = ("points.py rounds", "points.py many")
"""Those measured a second time for the page."""


def _targets_table(found: list[Record]) -> str:
    """Return targets, each with the figures of this processor, and without some instructions."""
    group = [record for record in found if record["table"].startswith(TARGETS_OF)]
    group.sort(key=lambda record: (_COMMANDS.index(record["command"]), record["what"]))
    modes = sorted({record["without"] or "" for record in group})
    rows = []
    for (command, what), records in grouped(group, "command", "what").items():
        bound = records[0]["least"], records[0]["most"]
        wanted = f"at least {bound[0]:g}" if bound[1] is None else f"at most {bound[1]:g}"
        cells = {record["without"] or "": _verdict(record) for record in records}
        rows.append([f"`{command}`: {what}", wanted, *(cells.get(mode, "–") for mode in modes)])
    heads = [f"without {mode}" if mode else "figure" for mode in modes]
    return markdown(["", "target", *heads], rows)


def _verdict(record: Record) -> str:
    value, least, most = (record[name] for name in ("figure", "least", "most"))
    is_met = value >= least if most is None else value <= most
    return f"{figure(value)}: {'met' if is_met else 'missed'}"


TABLES: dict[str, Callable[[list[Record]], str]] = {
    "machine": _machine_table,
    "quantize": _quantize_table,
    "quality": _quality_table,
    "sizes": _sizes_table,
    "eye": _eye_table,
    "animate": _animate_table,
    "alpha": _alpha_table,
    "icons": _icons_table,
    "coder": _coder_table,
    "lossy": _lossy_table,
    "lloyd": _lloyd_table,
    "startup": _startup_table,
    "gallery": _gallery_table,
    "headlines": _headlines_table,
    "eye_targets": _eye_targets_table,
    "eye_graphics": _eye_graphics_table,
    "optimized": _optimized_table,
    "prices": _prices_table,
    "search": _search_table,
    "quality_ratios": _quality_ratios_table,
    "one_channel": _one_channel_table,
    "speed": _speed_table,
    "dither_looks": lambda found: pivot(
        _of(found, "dither_looks"), "SSIMULACRA2 / butteraugli", "contender", "k", _looks
    ),
    "dither_sizes": _dither_sizes_table,
    "dither_speeds": _dither_speeds_table,
    "rank": partial(_method_table, "rank"),
    "mix": partial(_method_table, "mix"),
    "labels": _labels_table,
    "rounds": _rounds_table,
    "fits": _fits_table,
    "starts": _starts_table,
    "products": _products_table,
    "threads": partial(_threads_table, "threads"),
    "start_threads": partial(_threads_table, "start_threads"),
    "units": _units_table,
    "processes": _processes_table,
    "targets": _targets_table,
}

MADE_OF_OTHERS = {
    "headlines": {"eye", "quality", "quantize", "sizes", "lloyd"},
    "eye_targets": {"eye"},
    "eye_graphics": {"eye"},
    "optimized": {"eye"},
    "quality_ratios": {"quality"},
    "rank": {"sizes", "coder"},
    "mix": {"sizes", "coder"},
    "processes": {"startup"},
    "targets": {
        *(TARGETS_OF + command for command in _COMMANDS),
        *(f"{TARGETS_OF}{command}, without avx512" for command in _WITHOUT_AVX512),
    },
}
"""Tables that show records of others."""


def report(found: list[Record], *, as_json: bool = False) -> None:
    """Print what a benchmark measured: its tables, lines where there is no table, and targets.

    As JSON, what is measured without some instructions is the targets alone: tables of pages are of
    whole processors.
    """
    targets = [record for record in found if record["table"].startswith(TARGETS_OF)]
    if as_json:
        print(json.dumps(targets if processors.left_out() else found))
        return
    for name, group in grouped((one for one in found if one not in targets), "table").items():
        if name[0] in TABLES:
            print(TABLES[name[0]](group))
            continue
        for record in group:
            shown = {name: value for name, value in record.items() if name != "table"}
            print("  ".join(f"{name} {value}" for name, value in shown.items()))
        print()
    if targets:
        print(TABLES["targets"](targets), end="")
