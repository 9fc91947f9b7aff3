"""Bytes of sequences as .kmq, GIF, animated PNG and WebP files with the same pixels.

    python benchmarks/sequence_files.py [COLOURS] [shared|each]

Times are those of one write and one read of the .kmq file, in megapixels a second of all frames.
"""

from __future__ import annotations

import io
import sys
import time

import kmq
import sequences
from kmq.stages.pictures.animation import animation_bytes

DELAY = 40.0


def row(name: str, k: int, palette: str) -> str:
    """Return a row of the table."""
    images = kmq.quantize_frames(sequences.ALL[name](), k, palette=palette)
    delays = [DELAY] * len(images)
    others = [len(animation_bytes(images, delays, 0, kind)) for kind in (".gif", ".png", ".webp")]
    file, started = io.BytesIO(), time.perf_counter()
    kmq.write_frames(file, images, delays=DELAY)
    written = time.perf_counter()
    frames = kmq.read_frames(file.getvalue())
    read = time.perf_counter()
    assert all((a.indices == b.indices).all() for a, b in zip(images, frames, strict=True))
    size, pixels = len(file.getvalue()), sum(image.indices.size for image in images) / 1e6
    figures = [f"{number:,}" for number in (size, *others)] + [f"{size / min(others):.2f}"]
    figures += [f"{pixels / (written - started):.1f}", f"{pixels / (read - written):.1f}"]
    return f"| {name} | {' | '.join(figures)} |"


if __name__ == "__main__":
    colors = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    kind = sys.argv[2] if len(sys.argv) > 2 else "shared"
    print("| sequence | .kmq | GIF | APNG | WebP | of the smallest | write | read |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for each in sequences.ALL:
        print(row(each, colors, kind), flush=True)
