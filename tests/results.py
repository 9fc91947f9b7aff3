"""Whole results that are to be the same on every machine: how they are made, and their hashes.

``python tests/results.py`` writes them to golden/results.json anew and says what changes. A better
search may change them; a machine, a number of threads or another version of a library may not.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np

import kmq
from kmq.model.choices import EFFORTS
from kmq.model.pixel_format import PixelFormat
from kmq.stages.palette.spaces import SPACES
from kmq.stages.palette.starting import INITS

GOLDEN = Path(__file__).parent / "golden" / "results.json"

MAPPINGS = {"nearest": "nearest", "dither": "dither", "ordered": "ordered", "rate": kmq.Rate(1)}
MAPPINGS |= {"optimized": "optimized", "optimized rate": kmq.Optimize(0.5)}
TARGETS = {"size": 700, "bpp": 2, "psnr": 26, "max_mse": 900, "quality": 40}


def picture(pixel_format, height=40, width=48):
    """Slopes, an edge, some noise and, where there is alpha, all kinds of it: in integers alone."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    planes = [y * (c + 2) * 7 + x * (5 - c) * 6 - 90 * (x > y + 9) for c in range(4)]
    samples = np.stack(planes, axis=-1) % 400 + rng.integers(0, 12, (height, width, 4))
    samples = np.clip(samples, 0, 255)[:, :, : pixel_format.channels]
    if pixel_format.depth == 1:
        return samples[:, :, 0] > 127
    if pixel_format.depth == 16:
        samples = samples * 257 - samples // 3
    if pixel_format.has_alpha:
        samples[:, :, -1] = np.clip(3 * samples[:, :, -1], 0, pixel_format.max_value)
        samples[:9, :9, -1] = 0
    return samples.astype(pixel_format.dtype)


def _image(label, options):
    pixel_format = PixelFormat.from_label(label)
    image = kmq.quantize(picture(pixel_format), pixel_format=pixel_format, **{"k": 9} | options)
    return {"mse": image.report.mse} | _content(image)


def _file(label, options):
    pixel_format = PixelFormat.from_label(label)
    encoded = kmq.encode(picture(pixel_format), pixel_format=pixel_format, **options)
    return {"bytes": len(encoded), "file": _hash(encoded)} | _content(kmq.decode(encoded))


def _clusters(dtype, init):
    points = np.random.default_rng(0).integers(-999, 999, (3000, 3)) / 7
    fit = kmq.kmeans(points.astype(dtype), 9, init=init, max_iter=10)
    return {"centroids": _hash(fit.centroids), "labels": _hash(fit.labels)}


def _curve(label):
    curve = kmq.error_curve(picture(PixelFormat.from_label(label)), 60)
    return {"mse": _hash(np.asarray(curve.mse)), "knee": curve.knee}


def _content(image):
    return {
        "colors": image.n_colors,
        "palette": _hash(image.palette),
        "indices": _hash(image.indices),
    }


def _hash(content):
    """The first digits of SHA-256 of bytes, or of an array in C order, lowest byte first."""
    if isinstance(content, np.ndarray):
        content = content.astype(content.dtype.newbyteorder("<")).tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _recipes():
    """Yield the name of each result, and what makes it."""
    formats = [pixel_format.label for pixel_format in PixelFormat]
    for label in formats:
        for space in SPACES if label not in ("1", "CMYK") else ["rgb"]:
            # Every mapping in every space for two formats; for the others one space is enough.
            mappings = MAPPINGS if label in ("RGB", "RGBA") or space == "rgb" else ["nearest"]
            for mapping in mappings:
                options = {"space": space, "mapping": MAPPINGS[mapping]}
                yield f"{label}, {space}, {mapping}", partial(_image, label, options)
    for label in ("L", "RGB", "RGBA", "CMYK", "RGB48"):
        for target, value in TARGETS.items():
            yield f"{label}, {target}", partial(_file, label, {target: value})
    for space in SPACES:
        options = {"space": space, "quality": 30, "method": "deflate"}
        yield f"RGB, {space}, quality", partial(_file, "RGB", options)
    weights = np.add.outer(np.arange(40), np.arange(48)) % 5
    for name, options in {
        **{effort: {"effort": effort} for effort in EFFORTS},
        **{init: {"start": init} for init in INITS},
        "300 colours": {"k": 300},
        "weights": {"weights": weights},
        "channel weights": {"space": kmq.Space("oklab", channel_weights=(1, 0.3, 0.7))},
        "fixed, snapped": {"require": kmq.Require(fixed=[(9, 80, 200)], snap=True)},
        "posterized": {"require": kmq.Require(posterize=5)},
        "fewest": {"k": kmq.Fewest(psnr=26)},
    }.items():
        yield f"RGB, {name}", partial(_image, "RGB", options)
    for dtype in ("float32", "float64"):
        for init in INITS:
            yield f"points, {dtype}, {init}", partial(_clusters, dtype, init)
    for label in ("RGB", "RGBA"):
        yield f"{label}, curve", partial(_curve, label)


RECIPES = dict(_recipes())


def main():
    before = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    after = {name: make() for name, make in RECIPES.items()}
    for name, result in after.items():
        if before.get(name) != result:
            print(f"{name}: {before.get(name)} → {result}")
    lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in after.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
