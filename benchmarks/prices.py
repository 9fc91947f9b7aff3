"""What a price of bits does to pictures that look best: bits and SSIMULACRA2 of each mapping.

    python benchmarks/prices.py

Four photographs of the corpus, or computed ones; SSIMULACRA2 is kmq's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import kmq
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.ssimulacra2 import Looks
from layouts import TABLES
from pictures import from_corpus, photos
from records import Record

NAMES = ("girl", "pencils", "traffic", "hard_candy")
PALETTE_SIZES = (32, 64, 128)
MAPPINGS: dict[str, Any] = {
    "nearest entries": None,
    "`kmq.Rate(1)`": kmq.Rate(1),
    "`kmq.Optimize()`": kmq.Optimize(),
    "`kmq.Optimize(0.1)`": kmq.Optimize(0.1),
    "`kmq.Optimize(0.3)`": kmq.Optimize(0.3),
}


def measure() -> Iterator[Record]:
    """Yield a record for each photograph, k and mapping."""
    for picture in from_corpus("photos", NAMES) or photos(full=False):
        pixels = picture.load()
        looks = Looks(pixels, PixelFormat.RGB24, 2)
        for k, (name, mapping) in product(PALETTE_SIZES, MAPPINGS.items()):
            image = kmq.quantize(pixels, k, mapping=mapping)
            yield {
                "table": "prices",
                "picture": picture.name,
                "k": k,
                "mapping": name,
                "bits": 8 * len(kmq.encode(image)) / image.indices.size,
                "ssimulacra2": looks.of(image.to_array()),
            }


if __name__ == "__main__":
    print(TABLES["prices"](list(measure())), end="")
