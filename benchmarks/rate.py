"""Rate-aware files against plain ones and against pngquant + oxipng: bytes at the same quality.

    python benchmarks/rate.py --sample 5      every fifth photograph of the corpus
    python benchmarks/rate.py --json rate.json

Sizes are those of whole files, `kmq.encode` at "balanced" and PNG files that pngquant wrote, with
and without dithering, and oxipng packed at level 4. Between the sizes of palettes that are tried,
straight lines over the logarithm of the bytes say what a PSNR or SSIMULACRA2 costs. Seconds are one
thread's.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import kmq
import records
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping import metrics
from kmq.stages.mapping.ssimulacra2 import ssimulacra2
from pictures import corpus_folder, from_corpus
from records import Record, mean

PLAIN_SIZES = (8, 16, 32, 64, 128, 256, 512)
_FEW, _SOME, _MANY = (1.0, 2.5, 5.0), (0.4, 1.0, 2.5, 5.0), (0.4, 1.0, 2.5)
FACTORS = {16: _FEW, 32: _FEW, 64: _SOME, 128: _SOME, 256: _MANY, 512: _MANY}
"""λ over the mean squared error of the plain image, by k: the smallest file counts."""

PNG_SIZES = (32, 64, 128, 256)
DECIBELS = (30, 32, 34, 36, 38)
LEAST_SAVING, MOST_OF_PNG, MOST_TIME = 0.20, 0.60, 6.0

Array = np.ndarray[Any, Any]


def measure(step: int) -> Iterator[Record]:
    """Yield a record for each file: picture, contender, k, bytes, PSNR, SSIMULACRA2, seconds."""
    for picture in from_corpus("photos")[::step]:
        samples = picture.load()
        facts = {"table": "rate", "picture": picture.name}
        for k in PLAIN_SIZES:
            plain, seconds = _timed(samples, k, 0.0)
            assert plain.report is not None
            yield facts | {"contender": "kmq", "k": k} | _quality(samples, plain) | seconds
            for factor in FACTORS.get(k, ()):
                traded, seconds = _timed(samples, k, factor)
                entry = facts | {"contender": f"rate {factor:g}", "k": k}
                yield entry | _quality(samples, traded) | seconds
        for k in PNG_SIZES if shutil.which("pngquant") else ():
            for dithered in (True, False):
                name = "pngquant" if dithered else "pngquant --nofs"
                png = _pngquant(picture.path, k, dithered=dithered)
                with Image.open(io.BytesIO(png)) as shown:
                    other = np.asarray(shown.convert("RGB"))
                yield (
                    facts
                    | {"contender": name, "k": k, "bytes": len(_packed(png))}
                    | _distances(samples, other)
                )


def _timed(samples: Array, k: int, lam: float) -> tuple[kmq.IndexedImage, Record]:
    """Quantize and encode; return the image, and bytes and seconds."""
    started = time.thread_time()
    image = kmq.quantize(samples, k, space="rgb", mapping=kmq.Rate(lam), n_threads=1)
    size = len(kmq.encode(image, n_threads=1))
    return image, {"bytes": size, "seconds": time.thread_time() - started}


def _quality(samples: Array, image: kmq.IndexedImage) -> Record:
    return _distances(samples, image.to_array())


def _distances(samples: Array, other: Array) -> Record:
    error = metrics.mse(samples, other)
    return {
        "psnr": metrics.psnr(error, PixelFormat.RGB24),
        "ssimulacra2": ssimulacra2(samples, other, PixelFormat.RGB24),
    }


def _pngquant(path: Path | None, k: int, *, dithered: bool) -> bytes:
    options = [] if dithered else ["--nofs"]
    command = ["pngquant", *options, str(k), "--output", "-", str(path)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _packed(png: bytes) -> bytes:
    try:
        import oxipng
    except ImportError:
        return png
    packed: bytes = oxipng.optimize_from_memory(png, level=4)
    return packed


def bytes_at(files: Iterable[Record], quality: str, wanted: float) -> float | None:
    """Return the least bytes at which a contender's files reach a quality, between them."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in files:
        point = entry[quality], float(np.log(entry["bytes"]))
        curves.setdefault(entry["contender"], []).append(point)
    found = []
    for curve in curves.values():
        qualities, sizes = zip(*sorted(curve), strict=True)
        if qualities[0] <= wanted <= qualities[-1]:
            found.append(float(np.exp(np.interp(wanted, qualities, sizes))))
    return min(found, default=None)


def report(found: list[Record]) -> None:
    """Print each target beside its figure."""
    names = sorted({entry["picture"] for entry in found})
    kinds = {
        name: {
            kind: [
                entry
                for entry in found
                if entry["picture"] == name and entry["contender"].startswith(kind)
            ]
            for kind in ("kmq", "rate", "pngquant")
        }
        for name in names
    }
    print(f"{len(names)} photographs; saving of λ against λ = 0 at the same PSNR")
    savings = []
    for decibels in DECIBELS:
        own = []
        for of in kinds.values():
            plain = bytes_at(of["kmq"], "psnr", decibels)
            traded = bytes_at(of["rate"], "psnr", decibels)
            if plain and traded:
                own.append(1 - traded / plain)
        savings += own
        if own:
            print(f"  {decibels} dB: {mean(own):6.1%}, least {min(own):6.1%} ({len(own)} pictures)")
    print(f"mean saving, 30 to 38 dB: {mean(savings):.1%} (target: at least {LEAST_SAVING:.0%})")
    for quality in ("psnr", "ssimulacra2"):
        ratios = []
        for of in kinds.values():
            for entry in of["pngquant"]:
                own_bytes = bytes_at(of["rate"], quality, entry[quality])
                peer_bytes = bytes_at(of["pngquant"], quality, entry[quality])
                if own_bytes and peer_bytes:
                    ratios.append(own_bytes / peer_bytes)
        if ratios:
            print(
                f"bytes over pngquant + oxipng at the same {quality.upper()}: {mean(ratios):.3f}, "
                f"most {max(ratios):.3f} (target: at most {MOST_OF_PNG:.2f})"
            )
    plain_seconds = {(e["picture"], e["k"]): e["seconds"] for e in found if e["contender"] == "kmq"}
    times = [
        entry["seconds"] / plain_seconds[entry["picture"], entry["k"]]
        for entry in found
        if entry["contender"].startswith("rate")
    ]
    print(
        f"seconds over those of λ = 0: {mean(times):.2f}, most {max(times):.2f} "
        f"(target: at most {MOST_TIME:.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="N", type=int, default=1, help="every Nth photograph")
    parser.add_argument("--json", metavar="FILE", type=Path, help="keep the figures")
    arguments = parser.parse_args()
    if corpus_folder() is None:
        raise SystemExit("the corpus is not there; $KMQ_CORPUS names it")
    kmq.encode(from_corpus("photos")[0].load()[:32, :32], 8, mapping=kmq.Rate(1))  # compiles
    found = list(measure(arguments.sample))
    report(found)
    if arguments.json:
        records.save(arguments.json, found)


if __name__ == "__main__":
    main()
