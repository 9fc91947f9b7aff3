"""What the eye sees: SSIMULACRA2 and butteraugli of kmq and its peers, plain, dithered and
optimised, beside the targets; the speed of the last; and the error of pictures with alpha over
black, over white and over a colour.

    KMQ_QBENCH=… python benchmarks/eye.py              all photographs and graphics
    KMQ_QBENCH=… python benchmarks/eye.py --sample 6   every sixth
    python benchmarks/eye.py --alpha                   only pictures with alpha

KMQ_QBENCH names a program with the peers and both measures: ``PROGRAM metric A.png B.png`` prints
SSIMULACRA2 (more is better) and butteraugli (less is better), ``PROGRAM quant METHOD K DITHER IN
OUT 1`` writes what a peer makes. Without it there is nothing to measure looks by.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import kmq
import records
from contenders import SPACES, Contender
from kmq.stages.mapping import metrics
from pictures import Array, drawn, from_corpus, photos, with_alpha
from records import Record, mean

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


def measure(step: int) -> Iterator[Record]:
    """Yield a record for each contender, k, and each `step`-th picture."""
    program = os.environ.get("KMQ_QBENCH")
    if program is None:
        print("KMQ_QBENCH is not set: SSIMULACRA2, butteraugli and the peers are left out")
        return
    graphics = [*from_corpus("graphics"), *drawn()]
    for picture in [*photos(full=True)[::step], *graphics[::step]]:
        pixels = _over(picture.load(), (255, 255, 255))
        kind = "graphic" if picture in graphics else "photo"
        with tempfile.TemporaryDirectory() as folder:
            original = _saved(pixels, Path(folder) / "original.png")
            for k in PALETTE_SIZES:
                for name, shown in _contenders(program, original, pixels, k):
                    looks, butteraugli = _looks(program, original, shown)
                    yield {
                        "table": "eye",
                        "kind": kind,
                        "picture": picture.name,
                        "k": k,
                        "contender": name,
                        "ssimulacra2": looks,
                        "butteraugli": butteraugli,
                    }


def _contenders(program: str, original: Path, pixels: Array, k: int) -> Iterator[tuple[str, Path]]:
    """Yield each contender's name and the file of what it makes."""
    shown = original.with_name("shown.png")
    for name, run in OURS.items():
        yield name, _saved(run(pixels, k).to_array(), shown)
    for dither in (0, 1):
        for name, method in PEERS.items():
            if made_by_peer(program, method, k, dither, original, shown):
                yield name + ", dithered" * dither, shown
            else:
                print(f"{name} is left out: {program} has no {method}")


def made_by_peer(
    program: str, method: str, k: int, dither: int, original: Path, shown: Path
) -> bool:
    """Write the file `shown`; say whether the program has the method."""
    command = [program, "quant", method, str(k), str(dither), original, shown, "1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _looks(program: str, original: Path, shown: Path) -> tuple[float, float]:
    """Return SSIMULACRA2 and butteraugli."""
    command = [program, "metric", original, shown]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    looks, butteraugli = map(float, re.findall(r"-?\d+\.\d+", said)[:2])
    return looks, butteraugli


def _saved(pixels: Array, path: Path) -> Path:
    from PIL import Image

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
        f"k = 64, optimized: {speed:.2f} megapixels a second, at least {OPTIMIZED_SPEED}: "
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
                    f"delta_e_{name}": _delta_e(_over(pixels, color), _over(shown, color))
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


def _over(pixels: Array, color: tuple[int, int, int]) -> Array:
    """Return pixels as RGB, those with alpha over a colour."""
    if pixels.ndim == 2:
        return np.dstack([pixels] * 3)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + (1 - alpha) * np.array(color)).astype(np.uint8)


def report(found: list[Record]) -> None:
    """Print means and the worst picture of each contender, and each target beside its figure."""
    for kind in ("photo", "graphic"):
        cells: dict[tuple[str, int], dict[str, Record]] = {}
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
            _report_targets(cells, k, kind)


def _report_targets(cells: dict[tuple[str, int], dict[str, Record]], k: int, kind: str) -> None:
    """Print the targets of a palette size; of graphics that nobody is better."""
    for own, ending, leads, share in TARGETS:
        lead = leads[k]
        peers = [cells[name + ending, k] for name in PEERS if (name + ending, k) in cells]
        if not peers:
            continue
        if kind == "graphic":
            lead, share = 0, 1.0
        least = max(_mean(peer, "ssimulacra2") for peer in peers) + lead
        most = min(_mean(peer, "butteraugli") for peer in peers) * share
        looks, butteraugli = (
            _mean(cells[own, k], "ssimulacra2"),
            _mean(cells[own, k], "butteraugli"),
        )
        print(
            f"k = {k}, {own}: SSIMULACRA2 {looks:.2f}, at least {least:.2f}: {_met(looks >= least)}"
        )
        print(
            f"k = {k}, {own}: butteraugli {butteraugli:.2f}, at most {most:.2f}: "
            f"{_met(butteraugli <= most)}"
        )
    loss = _mean(cells["kmq, eye, dithered", k], "ssimulacra2") - _mean(
        cells["kmq, eye, ordered", k], "ssimulacra2"
    )
    print(
        f"k = {k}, ordered: {loss:.2f} below, at most {ORDERED_LOSS}: {_met(loss <= ORDERED_LOSS)}"
    )


def _mean(group: dict[str, Record], fact: str) -> float:
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
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--alpha", action="store_true", help="only pictures with alpha")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    found = [] if arguments.alpha else list(measure(arguments.sample))
    if found:
        report(found)
    if not arguments.alpha:
        report_speed()
    with_alpha_found = list(measure_alpha())
    report_alpha(with_alpha_found)
    if arguments.json:
        records.save(arguments.json, found + with_alpha_found)


if __name__ == "__main__":
    main()
