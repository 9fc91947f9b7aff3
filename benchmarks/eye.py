"""What the eye sees: mean ΔE2000 and SSIM of each colour space beside libimagequant, no dithering;
and the error of pictures with alpha over black, over white and over a colour.

    python benchmarks/eye.py             all photographs of the corpus, about six minutes
    python benchmarks/eye.py --sample 6  every sixth
    python benchmarks/eye.py --alpha     only pictures with alpha

ΔE2000 is scikit-image's, from CIE L*a*b* of sRGB samples; SSIM that of kmq's metrics. The target
is a mean ΔE2000 at k = 256 below libimagequant's on every photograph, with the space that the
README advises for the eye.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import records
from contenders import SPACES, Contender
from kmq.stages.mapping import metrics
from pictures import Array, photos, with_alpha
from records import Record, mean

PALETTE_SIZES = (16, 64, 256)
DEFAULT, ADVISED, PEER = "kmq, rgb", "kmq, oklab", "libimagequant"
BACKGROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255), "red": (200, 40, 40)}


def measure(step: int) -> Iterator[Record]:
    """Yield a record for each contender, k, and each `step`-th photograph."""
    for photo in photos(full=True)[::step]:
        pixels = photo.load()
        for k in PALETTE_SIZES:
            for contender in _present():
                palette, indices = contender.run(pixels, k)
                shown = palette[indices]
                yield {
                    "table": "eye",
                    "picture": photo.name,
                    "k": k,
                    "contender": contender.name,
                    "delta_e": _delta_e(pixels, shown),
                    "ssim": metrics.ssim(pixels, shown, 255),
                    "mse": metrics.mse(pixels, shown),
                }


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
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + (1 - alpha) * color).astype(np.uint8)


def report(found: list[Record]) -> None:
    """Print a line for each contender and k, and whether the target is met."""
    cells: dict[tuple[str, int], dict[str, Record]] = {}
    for record in found:
        cells.setdefault((record["contender"], record["k"]), {})[record["picture"]] = record
    n_photos = len({record["picture"] for record in found})
    print(f"mean over {n_photos} photographs")
    print(f"{'':<16}{'k':>4}{'ΔE2000':>9}{'SSIM':>9}{'MSE':>9}   to {PEER}: mean, worst, below on")
    for (name, k), group in cells.items():
        line = f"{name:<16}{k:>4}" + "".join(
            f"{mean(record[fact] for record in group.values()):>9.{digits}f}"
            for fact, digits in (("delta_e", 3), ("ssim", 4), ("mse", 1))
        )
        peer = cells.get((PEER, k))
        if peer and name != PEER:
            ratios = {of: group[of]["delta_e"] / peer[of]["delta_e"] for of in group}
            worst = max(ratios, key=lambda of: ratios[of])
            below = sum(ratio < 1 for ratio in ratios.values())
            line += f"   {mean(ratios.values()):.3f}, {ratios[worst]:.3f} {worst}, {below}"
        print(line)
    print(f"target: {ADVISED} at k = 256 below {PEER} on all; it is on {len(below_peer(found))}")


def below_peer(found: list[Record]) -> list[str]:
    """Return the photographs on which the advised space is below the peer at k = 256."""
    seen = {
        (record["contender"], record["picture"]): record["delta_e"]
        for record in found
        if record["k"] == 256
    }
    return [
        picture
        for name, picture in seen
        if name == ADVISED and seen[name, picture] < seen.get((PEER, picture), 0)
    ]


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
    with_alpha_found = list(measure_alpha())
    report_alpha(with_alpha_found)
    if arguments.json:
        records.save(arguments.json, found + with_alpha_found)


if __name__ == "__main__":
    main()
