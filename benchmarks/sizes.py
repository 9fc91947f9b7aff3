"""Whole .kmq files against the smallest PNG, WebP and JPEG XL of the same palette and indices.

    python benchmarks/sizes.py --cache peers.json

The peers take seconds per picture; the cache keeps their sizes, by what they were given.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import kmq
import records
from contenders import KMQ_CODECS, SLOWEST_PEER, SMALLEST_PEERS, Codec
from pictures import corpus_folder, from_corpus
from records import Record, mean

PALETTE_SIZES = (16, 64, 256)


def measure(step: int, cache: dict[str, int]) -> Iterator[Record]:
    """Yield a record for each k, codec and graphic, and each `step`-th photograph.

    Sizes of peers are taken from the cache, and put there.
    """
    if corpus_folder() is None:
        raise SystemExit("the corpus is not there; $KMQ_CORPUS names it")
    peers = [codec for codec in (*SMALLEST_PEERS, SLOWEST_PEER) if _installed(codec)]
    for folder, every in (("photos", step), ("graphics", 1)):
        for picture in from_corpus(folder)[::every]:
            for k in PALETTE_SIZES:
                image = kmq.quantize(picture.load(), k, space="rgb")
                facts = {"table": "sizes", "folder": folder, "picture": picture.name, "k": k}
                facts["pixels"] = image.indices.size
                for codec in KMQ_CODECS:
                    yield facts | {
                        "contender": codec.name,
                        "bytes": len(codec.encode(image, 2)),
                    }
                for codec in peers:
                    key = _key(codec, image)
                    if key not in cache:
                        cache[key] = len(codec.encode(image, 2))
                    entry = facts | {"contender": codec.name, "bytes": cache[key]}
                    yield entry | {"peer": True} if codec in SMALLEST_PEERS else entry


@dataclass(frozen=True)
class Ratios:
    """Bytes of a codec over those of the smallest peer: mean and largest, and of which picture."""

    mean: float
    worst: float
    worst_picture: str


def ratios(found: Iterable[Record]) -> dict[tuple[str, int], dict[str, Ratios]]:
    """Return the ratios of each codec by folder and k."""
    pictures: dict[tuple[str, int, str], list[Record]] = {}
    for record in found:
        pictures.setdefault(_place(record), []).append(record)
    places: dict[tuple[str, int], dict[str, list[tuple[float, str]]]] = {}
    for (folder, k, picture), group in pictures.items():
        smallest = min((entry["bytes"] for entry in group if "peer" in entry), default=None)
        if smallest is None:
            continue
        for entry in group:
            codecs = places.setdefault((folder, k), {})
            ratio = entry["bytes"] / smallest, picture
            codecs.setdefault(entry["contender"], []).append(ratio)
    return {
        place: {
            name: Ratios(mean(ratio for ratio, _ in pairs), *max(pairs))
            for name, pairs in codecs.items()
        }
        for place, codecs in places.items()
    }


def report(found: list[Record]) -> None:
    """Print a line for each folder, k and codec."""
    print(f"{'bytes over the smallest peer':<44}{'mean':>8}{'worst':>8}")
    for (folder, k), codecs in ratios(found).items():
        for name, ratio in codecs.items():
            print(
                f"{folder:<10}{k:>4}  {name:<28}{ratio.mean:>8.4f}{ratio.worst:>8.4f} "
                f"{ratio.worst_picture}"
            )
    print(f"\nkmq best over {SLOWEST_PEER.name}, largest of all pictures:")
    best = {
        _place(record): record["bytes"] for record in found if record["contender"] == "kmq best"
    }
    slowest = [record for record in found if record["contender"] == SLOWEST_PEER.name]
    for k in PALETTE_SIZES if slowest else ():
        largest, picture = max(
            (best[_place(record)] / record["bytes"], record["picture"])
            for record in slowest
            if record["k"] == k
        )
        print(f"k = {k:>3}: {largest:.4f} {picture}")


def _place(record: Record) -> tuple[str, int, str]:
    return record["folder"], record["k"], record["picture"]


def _installed(codec: Codec) -> bool:
    try:
        importlib.import_module(codec.package)
    except ImportError:
        print(f"{codec.name} is left out: {codec.package} is not installed")
        return False
    return True


def _key(codec: Codec, image: kmq.IndexedImage) -> str:
    """Name the codec, its version, and all that it is given."""
    digest = hashlib.sha256(repr(image).encode())
    digest.update(image.palette.tobytes())
    digest.update(image.indices.tobytes())
    package = packages_distributions()[codec.package][0]
    return f"{codec.name} ({package} {version(package)}) {digest.hexdigest()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--cache", metavar="FILE", type=Path, help="keeps the sizes of the peers")
    parser.add_argument("--json", metavar="FILE", type=Path, help="keep the figures")
    arguments = parser.parse_args()
    with records.cached(arguments.cache) as cache:
        found = list(measure(arguments.sample, cache))
    report(found)
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
