"""``kmq encode`` of every picture of the corpus, then ``kmq decode``, equal to what was stored.

    python benchmarks/corpus_round_trip.py -k 64

A file must hold the palette and the indices that `kmq.quantize` gives for the picture, and the
picture that the command line decodes it to must show exactly those.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import kmq
from pictures import Picture, from_corpus


def check(picture: Picture, k: int, folder: Path) -> str:
    """Return what went wrong with a picture, or an empty text."""
    stored, decoded = folder / f"{picture.name}.kmq", folder / f"{picture.name}.png"
    _kmq("encode", str(picture.path), "-k", str(k), "-o", str(stored), "--force")
    _kmq("decode", str(stored), "-o", str(decoded), "--force")
    assert picture.path is not None
    meant, read = kmq.quantize(picture.path, k), kmq.read(stored)
    if read != meant:
        return "the file does not hold what quantize gives"
    with Image.open(decoded) as shown:
        bands = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
        samples = np.asarray(shown.convert(bands[read.palette.shape[1]]))
    if not np.array_equal(samples, read.to_array()):
        return "the decoded picture does not show what the file holds"
    return ""


def _kmq(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "kmq", *arguments], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", type=int, default=64, help="colours (default: 64)")
    parser.add_argument(
        "folders", nargs="*", default=["photos", "large", "graphics"], help="default: all three"
    )
    arguments = parser.parse_args()
    every = [picture for folder in arguments.folders for picture in from_corpus(folder)]
    if not every:
        print("the corpus is not there; $KMQ_CORPUS names it", file=sys.stderr)
        return 2
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for picture in every:
            fault = check(picture, arguments.k, Path(folder))
            failures += bool(fault)
            if fault:
                print(f"{picture.name}: {fault}", file=sys.stderr)
    print(f"{len(every) - failures} of {len(every)} pictures came back as they were stored")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
