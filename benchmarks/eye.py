"""What the eye sees: SSIMULACRA2 and butteraugli of kmq and its peers, plain, dithered and
optimised, beside the targets; bytes of graphics; the speed of optimised mapping; and the error of
pictures with alpha over black, over white and over a colour.

    KMQ_QBENCH=… python benchmarks/eye.py              all photographs and graphics
    KMQ_QBENCH=… python benchmarks/eye.py --sample 6   every sixth
    KMQ_QBENCH=… python benchmarks/eye.py --graphics   only graphics
    KMQ_QBENCH=… python benchmarks/eye.py --jobs 8     eight pictures at a time
    python benchmarks/eye.py --alpha                   only pictures with alpha

KMQ_QBENCH names a program with the peers and both measures: ``PROGRAM metric A.png B.png`` prints
SSIMULACRA2 (more is better) and butteraugli (less is better), ``PROGRAM quant METHOD K DITHER IN
OUT 1`` writes what a peer makes. Without it there is nothing to measure looks by. Files of graphics
are kmq's own, and for peers PNG, by Pillow and by oxipng where that is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import kmq
import records
from contenders import SPACES, Contender
from kmq.stages.mapping import metrics
from pictures import Array, by_name, on_white, over, photos, with_alpha
from quality_target import palette_png
from records import Record, mean
from workers import add_jobs, each

PALETTE_SIZES = (16, 64, 256)
DEFAULT, PEER = "kmq, rgb", "libimagequant"
BACKGROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (200, 40, 40)}
PEERS = {"quantette": "quantette-kmeans", "libimagequant": "imagequant", "zenquant": "zenquant"}

OURS: dict[str, Callable[[Array, int], kmq.IndexedImage]] = {
    "kmq, eye": kmq.quantize,
    "kmq, rgb": partial(kmq.quantize, space="rgb"),
    "kmq, eye, dithered": partial(kmq.quantize, mapping=kmq.Dither(1)),
    "kmq, eye, ordered": partial(kmq.quantize, mapping=kmq.Dither(1, method="ordered")),
    "kmq, eye, optimized": partial(kmq.quantize, mapping="optimized"),
}

TARGETS = (
    ("kmq, eye", "", dict(zip(PALETTE_SIZES, (3, 2, 1), strict=True)), 0.95),
    ("kmq, eye, dithered", ", dithered", dict.fromkeys(PALETTE_SIZES, 1), 1.0),
    ("kmq, eye, optimized", ", dithered", dict(zip(PALETTE_SIZES, (10, 5, 2), strict=True)), 0.9),
)
"""A contender of ours, how the names of its peers end, by how much SSIMULACRA2 is to be above the
best of them, and within which share of the best butteraugli it is to stay."""

OPTIMIZED_SPEED = 1.5
"""Megapixels a second of optimised mapping at 64 colours, on two cores."""

ORDERED_LOSS = 4
"""By how much ordered dithering may be below diffusion."""

Cell = dict[str, Record]
"""What a contender made in k colours, by picture."""

_LITTLE = 1e-3
"""What keeps a share of nothing, of exact pictures, from dividing by it."""


def measure(kinds: Sequence[str], step: int, jobs: int) -> Iterator[Record]:
    """Yield a record for each contender, k, and each `step`-th picture of the kinds."""
    if os.environ.get("KMQ_QBENCH") is None:
        print("KMQ_QBENCH is not set: SSIMULACRA2, butteraugli and the peers are left out")
        return
    tasks = [
        (kind, name, k)
        for kind in kinds
        for name in [*by_name(kind)][::step]
        for k in PALETTE_SIZES
    ]
    for found in each(measure_one, tasks, jobs):
        yield from found


def measure_one(task: tuple[str, str, int]) -> list[Record]:
    """Return the records of a picture of a kind in k colours."""
    kind, name, k = task
    program = os.environ["KMQ_QBENCH"]
    pixels = on_white(by_name(kind)[name].load())
    found = []
    with tempfile.TemporaryDirectory() as folder:
        original = saved(pixels, Path(folder) / "original.png")
        for contender, shown, n_bytes in _contenders(program, original, pixels, k):
            looks, butteraugli = looks_of(program, original, shown)
            record: Record = {
                "table": "eye",
                "kind": kind,
                "picture": name,
                "k": k,
                "contender": contender,
                "ssimulacra2": looks,
                "butteraugli": butteraugli,
            }
            found.append(record if kind == "photo" else record | {"bytes": n_bytes()})
    return found


def _contenders(
    program: str, original: Path, pixels: Array, k: int
) -> Iterator[tuple[str, Path, Callable[[], int]]]:
    """Yield each contender's name, the file of what it makes, and what tells the bytes of that."""
    shown = original.with_name("shown.png")
    for name, run in OURS.items():
        image = run(pixels, k)
        yield name, saved(image.to_array(), shown), lambda image=image: len(kmq.encode(image))
    for dither in (0, 1):
        for name, method in PEERS.items():
            if made_by_peer(program, method, k, dither, original, shown):
                yield name + ", dithered" * dither, shown, lambda: _png_bytes(shown)
            else:
                print(f"{name} is left out: {program} has no {method}")


def _png_bytes(shown: Path) -> int:
    """Return the bytes of a PNG file with a palette that shows as much."""
    packed = palette_png(np.asarray(Image.open(shown).convert("RGB")))
    if find_spec("oxipng") is not None:
        import oxipng

        packed = oxipng.optimize_from_memory(packed, level=4)
    return len(packed)


def made_by_peer(
    program: str, method: str, k: int, dither: int, original: Path, shown: Path
) -> bool:
    """Write the file `shown`; say whether the program has the method."""
    command = [program, "quant", method, str(k), str(dither), original, shown, "1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def looks_of(program: str, original: Path, shown: Path) -> tuple[float, float]:
    """Return SSIMULACRA2 and butteraugli."""
    command = [program, "metric", original, shown]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    looks, butteraugli = map(float, re.findall(r"-?\d+\.\d+", said)[:2])
    return looks, butteraugli


def saved(pixels: Array, path: Path) -> Path:
    Image.fromarray(pixels).save(path, compress_level=1)
    return path


def report_speed() -> None:
    """Print how fast optimised mapping is, search for the palette included."""
    pixels = photos(full=True)[0].load()
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        kmq.quantize(pixels, 64, mapping="optimized")
        seconds.append(time.perf_counter() - start)
    speed = pixels.shape[0] * pixels.shape[1] / min(seconds) / 1e6
    print(
        f"k = 64, optimized: {speed:.2f} megapixels per second, at least {OPTIMIZED_SPEED}: "
        f"{_met(speed >= OPTIMIZED_SPEED)}"
    )


def measure_alpha() -> Iterator[Record]:
    """Yield a record for each contender, k and picture with alpha."""
    for picture in with_alpha():
        pixels = picture.load()
        solid, clear = pixels[..., 3] == 255, pixels[..., 3] == 0
        for k in (8, *PALETTE_SIZES):
            for contender in _present():
                palette, indices = contender.run(pixels, k)
                shown = palette[indices]
                yield {
                    "table": "alpha",
                    "picture": picture.name,
                    "k": k,
                    "contender": contender.name,
                    "mse": metrics.mse(pixels, shown, has_alpha=True),
                    "not_opaque": int(np.count_nonzero(shown[solid, 3] != 255)),
                    "not_clear": int(np.count_nonzero(shown[clear, 3])),
                } | {
                    f"delta_e_{name}": _delta_e(over(pixels, color), over(shown, color))
                    for name, color in BACKGROUNDS.items()
                }


def _present() -> list[Contender]:
    absent = [entry.name for entry in SPACES if find_spec(entry.package) is None]
    for name in absent:
        print(f"{name} is not installed and is left out")
    return [entry for entry in SPACES if entry.name not in absent]


def _delta_e(pixels: Array, shown: Array) -> float:
    """Return the mean ΔE2000 over the pixels, computed once for each pair of colours."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    both = np.concatenate([pixels, shown], axis=2).reshape(-1, 6).astype(np.uint64)
    keys = both @ (np.uint64(256) ** np.arange(6, dtype=np.uint64))
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    pairs = rgb2lab(both[first].astype(np.uint8).reshape(-1, 2, 3))
    return float(np.average(deltaE_ciede2000(pairs[:, 0], pairs[:, 1]), weights=counts))


def report(found: list[Record]) -> None:
    """Print means and the worst picture of each contender, and each target beside its figure."""
    for kind in ("photo", "graphic"):
        cells: dict[tuple[str, int], Cell] = {}
        for record in found:
            if record["kind"] == kind:
                cells.setdefault((record["contender"], record["k"]), {})[record["picture"]] = record
        if not cells:
            continue
        print(f"{kind}s: SSIMULACRA2 and butteraugli, mean; the worst picture by each")
        for (name, k), group in cells.items():
            low = min(group.values(), key=lambda record: record["ssimulacra2"])
            high = max(group.values(), key=lambda record: record["butteraugli"])
            print(
                f"{name:<26}{k:>4}{_mean(group, 'ssimulacra2'):>8.2f}"
                f"{_mean(group, 'butteraugli'):>7.2f}"
                f"   {low['ssimulacra2']:.1f} {low['picture']}, "
                f"{high['butteraugli']:.1f} {high['picture']}"
            )
        for k in PALETTE_SIZES:
            for own, ending, leads, share in TARGETS:
                peers = [cells[name + ending, k] for name in PEERS if (name + ending, k) in cells]
                if not peers:
                    continue
                if kind == "photo":
                    _report_photos(f"k = {k}, {own}", cells[own, k], peers, leads[k], share)
                else:
                    _report_graphics(f"k = {k}, {own}", cells[own, k], peers)
            if kind == "photo":
                _report_ordered(cells, k)


def _report_photos(title: str, own: Cell, peers: list[Cell], lead: float, share: float) -> None:
    """Print the targets of the means, and the picture that is worst beside its best peer."""
    looks, butteraugli = _mean(own, "ssimulacra2"), _mean(own, "butteraugli")
    least = max(_mean(peer, "ssimulacra2") for peer in peers) + lead
    most = min(_mean(peer, "butteraugli") for peer in peers) * share
    leads, shares = _leads(own, peers), _shares(own, peers, "butteraugli")
    worst, widest = min(leads, key=leads.__getitem__), max(shares, key=shares.__getitem__)
    print(
        f"{title}: SSIMULACRA2 {looks:.2f}, at least {least:.2f}: {_met(looks >= least)} "
        f"(worst: {leads[worst]:+.1f} {worst})"
    )
    print(
        f"{title}: butteraugli {butteraugli:.2f}, at most {most:.2f}: {_met(butteraugli <= most)} "
        f"(worst: {shares[widest]:.2f} x {widest})"
    )


def _report_graphics(title: str, own: Cell, peers: list[Cell]) -> None:
    """Print how far single pictures are above the best peer, and how large files are beside the
    smallest: nothing is to be worse."""
    leads, shares = _leads(own, peers), _shares(own, peers, "butteraugli")
    files = _shares(own, peers, "bytes")
    for name, lead in leads.items():
        print(f"  {name:<14}{lead:+6.1f}  {shares[name]:.2f} x  {files[name]:.2f} of the bytes")
    below = [name for name, lead in leads.items() if lead < 0]
    larger = [name for name, ratio in files.items() if ratio > 1]
    worst, largest = min(leads, key=leads.__getitem__), max(files, key=files.__getitem__)
    print(
        f"{title}: SSIMULACRA2 above the best peer's by {mean(leads.values()):.2f}, in each at "
        f"least 0: {_met(not below)} (worst: {leads[worst]:+.1f} {worst}; below: {len(below)} of "
        f"{len(leads)})"
    )
    print(
        f"{title}: butteraugli {mean(shares.values()):.2f} of the best peer's; bytes "
        f"{mean(files.values()):.2f} of the smallest file's, in each at most 1: "
        f"{_met(not larger)} (worst: {files[largest]:.2f} {largest})"
    )


def _report_ordered(cells: dict[tuple[str, int], Cell], k: int) -> None:
    diffused, ordered = cells["kmq, eye, dithered", k], cells["kmq, eye, ordered", k]
    losses = {
        name: record["ssimulacra2"] - ordered[name]["ssimulacra2"]
        for name, record in diffused.items()
    }
    loss, worst = mean(losses.values()), max(losses, key=losses.__getitem__)
    print(
        f"k = {k}, ordered: {loss:.2f} below, at most {ORDERED_LOSS}: "
        f"{_met(loss <= ORDERED_LOSS)} (worst: {losses[worst]:.1f} {worst})"
    )


def _leads(own: Cell, peers: list[Cell]) -> dict[str, float]:
    """Return by picture how far SSIMULACRA2 is above the best peer's."""
    return {
        name: record["ssimulacra2"] - max(peer[name]["ssimulacra2"] for peer in peers)
        for name, record in own.items()
    }


def _shares(own: Cell, peers: list[Cell], fact: str) -> dict[str, float]:
    """Return by picture a fact, of which little is good, over the best peer's."""
    return {
        name: (record[fact] + _LITTLE) / (min(peer[name][fact] for peer in peers) + _LITTLE)
        for name, record in own.items()
    }


def _mean(group: Cell, fact: str) -> float:
    return mean(record[fact] for record in group.values())


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def report_alpha(found: list[Record]) -> None:
    """Print a line for each picture, k and contender."""
    print("pictures with alpha: MSE as seen, mean of black and white; ΔE2000 over backgrounds;")
    print("opaque pixels that are no more, transparent ones that are no more")
    for record in found:
        seen = "".join(f"{record[f'delta_e_{name}']:>8.3f}" for name in BACKGROUNDS)
        print(
            f"{record['picture']:<22}{record['k']:>4} {record['contender']:<16}"
            f"{record['mse']:>10.2f}{seen}{record['not_opaque']:>8}{record['not_clear']:>8}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth picture")
    parser.add_argument("--graphics", action="store_true", help="only graphics")
    parser.add_argument("--alpha", action="store_true", help="only pictures with alpha")
    add_jobs(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    kinds = ("graphic",) if arguments.graphics else ("photo", "graphic")
    found: list[Record] = []
    if not arguments.alpha:
        found += measure(kinds, arguments.sample, arguments.jobs)
        report(found)
    if not (arguments.alpha or arguments.graphics):
        report_speed()
    if not arguments.graphics:
        alpha_found = list(measure_alpha())
        report_alpha(alpha_found)
        found += alpha_found
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
