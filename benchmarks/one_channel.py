"""How long the best clusters of one channel take, beside the target, and what they gain.

``python benchmarks/one_channel.py`` times the search for a palette of grey pictures with all levels
of 8 and of 16 bits, and clusters of points with one channel, each on one thread.
"""

import argparse
import time

import numpy as np

import kmq
import processors
from layouts import report
from records import target

COMMAND = "one_channel.py"

TARGET = 20.0
"""Milliseconds for 8 bits and any k, at most."""

REPEATS = 3


def levels(depth):
    """A picture of 0.4 megapixels with a hill of levels, all of them: some are a pixel alone."""
    top = 2**depth - 1
    random = np.random.default_rng(0)
    hill = np.clip(random.normal(0.4, 0.15, 400_000 - top - 1), 0, 1) * top
    samples = np.concatenate([np.rint(hill), np.arange(top + 1)])
    return samples.astype(np.uint8 if depth == 8 else np.uint16).reshape(-1, 1000)


def timed(work):
    """Return the result, and the least milliseconds of some calls after a first one."""
    result = work()
    elapsed = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        result = work()
        elapsed.append(time.perf_counter() - begun)
    return result, min(elapsed) * 1000


def measure():
    """Return a record for each histogram or number of points, and k, and for each target."""
    found = list(timings())
    of_8_bits = [r["milliseconds"] for r in found if "8 bits" in r["what"]]
    gains = [r["gain"] for r in found if r["gain"] is not None]
    return [
        *found,
        target(COMMAND, "milliseconds for 8 bits", of_8_bits, most=TARGET),
        target(COMMAND, "error, of that of the best of five starts", gains, most=1 + 1e-9),
    ]


def timings():
    """Yield a record for each histogram or number of points, and k."""
    for depth in (8, 16):
        histogram = kmq.ColorHistogram.from_picture(levels(depth))
        for space in ("rgb", "eye"):
            for k in (4, 16, 64, 256):
                options = {"space": space, "n_threads": 1}
                best, elapsed = timed(lambda: kmq.fit_palette(histogram, k, **options))  # noqa: B023
                gain = None
                if space == "rgb" and k < 2**depth:
                    start = kmq.Start(n_init=5)
                    other = kmq.fit_palette(histogram, k, start=start, **options)
                    gain = _error(histogram, best) / _error(histogram, other)
                yield _record(f"picture of {depth} bits, {space}", k, elapsed, gain)
    for n in (1000, 100_000, 1_000_000):
        points = np.random.default_rng(0).normal(size=(n, 1))
        for k in (4, 16, 64):
            best, elapsed = timed(lambda: kmq.kmeans(points, k, n_threads=1))  # noqa: B023
            other = kmq.kmeans(points, k, init="k-means++", n_init=5)
            yield _record(f"{n:,} points", k, elapsed, best.inertia / other.inertia)


def _record(what, k, elapsed, gain):
    return {"table": "one_channel", "what": what, "k": k, "milliseconds": elapsed, "gain": gain}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    processors.add_without(parser)
    processors.leave_out(parser.parse_args().without)
    report(measure())


def _error(histogram, palette):
    entries = palette.colors[:, 0].astype(float)
    colors, counts = histogram.colors[:, 0].astype(float), histogram.counts
    bounds = (entries[1:] + entries[:-1]) / 2
    return float((np.square(colors - entries[np.searchsorted(bounds, colors)]) * counts).sum())


if __name__ == "__main__":
    main()
