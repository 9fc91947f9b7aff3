"""Mean squared error of each effort over the corpus's photographs, against k-means++ restarts.

    python benchmarks/quality.py

The baseline, kmeanspp_baseline.csv, is Lloyd's algorithm to convergence from greedy k-means++ on
all distinct colours: the mean and the best of ten seeds. Its centres are not rounded. A palette
holds whole numbers, and rounding adds about 1/12 a channel, 0.25 in all, so two figures are
printed: the error of the palette as it is, and that less 0.25, to hold against the baseline.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import records
from contenders import QUANTIZERS
from kmq.stages.mapping import metrics
from pictures import corpus_folder, from_corpus
from records import Record, mean

ROUNDING = 0.25
"""What rounding three channels to whole numbers adds to the error, about: 3 · 1/12."""

PALETTE_SIZES = (4, 16, 64, 256)


def measure(step: int) -> list[Record]:
    """Return a record for each k and effort, and each `step`-th photograph."""
    corpus = corpus_folder()
    if corpus is None:
        raise SystemExit("the corpus is not there; $KMQ_CORPUS names it")
    with open(corpus / "photos" / "kmeanspp_baseline.csv", newline="") as stream:
        baseline = {(row["image"], int(row["k"])): row for row in csv.DictReader(stream)}
    contenders = [contender for contender in QUANTIZERS if contender.package == "kmq"]
    found = []
    for photo in from_corpus("photos")[::step]:
        pixels = photo.load()
        for k in PALETTE_SIZES:
            known = baseline[photo.name, k]
            for contender in contenders:
                started = time.perf_counter()
                palette, indices = contender.run(pixels, k)
                found.append(
                    {
                        "table": "quality",
                        "picture": photo.name,
                        "k": k,
                        "contender": contender.name,
                        "seconds": time.perf_counter() - started,
                        "mse": metrics.mse(pixels, palette[indices]),
                        "mean_of_10": float(known["kpp_mean_of_10"]),
                        "best_of_10": float(known["kpp_best_of_10"]),
                    }
                )
    return found


def report(found: list[Record]) -> None:
    """Print a line for each effort and k."""
    n_photos = len({record["picture"] for record in found})
    print(f"MSE summed over the channels, mean over {n_photos} photographs")
    print(
        f"{'':<14}{'k':>4}{'rounded':>11}{'less 0.25':>11}{'mean of 10':>12}{'best of 10':>12}"
        f"{'to mean':>9}{'to best':>9}{'worst picture to its best':>27}"
    )
    groups: dict[tuple[str, int], list[Record]] = {}
    for record in found:
        groups.setdefault((record["contender"], record["k"]), []).append(record)
    for (contender, k), group in sorted(groups.items()):
        rounded = mean(record["mse"] for record in group)
        average = mean(record["mean_of_10"] for record in group)
        best = mean(record["best_of_10"] for record in group)
        worst = max(group, key=_to_its_best)
        print(
            f"{contender:<14}{k:>4}{rounded:>11.3f}{rounded - ROUNDING:>11.3f}{average:>12.3f}"
            f"{best:>12.3f}{(rounded - ROUNDING) / average:>9.4f}"
            f"{(rounded - ROUNDING) / best:>9.4f}"
            f"{_to_its_best(worst):>9.4f} {worst['picture']}"
        )


def _to_its_best(record: Record) -> float:
    ratio: float = (record["mse"] - ROUNDING) / record["best_of_10"]
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    arguments = parser.parse_args()
    found = measure(arguments.sample)
    report(found)
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
