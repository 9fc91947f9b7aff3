"""Add golden files that are not there yet: ``python tests/golden/add.py``.

A golden file is never written again: what one version wrote, every later one must read. So this
script only ever adds, and stops if a file and the manifest do not fit together.
"""

import hashlib
import json
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent
MANIFEST = GOLDEN / "manifest.json"
sys.path.insert(0, str(GOLDEN.parent))

import kmq.files  # noqa: E402
from images import (  # noqa: E402
    COLOR_TAGS,
    FULL_METADATA,
    indexed_image,
    label_map,
    moving_images,
    scenery,
)
from kmq.frames import write_frames  # noqa: E402
from kmq.labels import encode_labels  # noqa: E402
from kmq.model.image import Metadata  # noqa: E402
from kmq.model.labels import LABEL_TYPES  # noqa: E402
from kmq.model.pixel_format import PixelFormat  # noqa: E402
from kmq.stages.coding import palette_tree, rank  # noqa: E402
from kmq.stages.coding.methods import STRIP_METHODS  # noqa: E402

SIZES = [  # colours, height, width, strip height
    (1, 3, 5, 2),
    (2, 1, 1, 1),
    (2, 13, 9, 13),
    (7, 11, 1, 4),
    (16, 16, 16, 16),
    (61, 1, 37, 1),
    (256, 23, 19, 10),
    (300, 20, 31, 20),
]

LARGE = [  # method, pixel format, colours, height, width, share of rows that are plain
    ("deflate", PixelFormat.RGB24, 300, 220, 300, 0.5),
    ("rank", PixelFormat.RGB24, 256, 220, 300, 0.2),
    ("label", PixelFormat.RGB24, 700, 220, 300, 0.9),
    ("mix", PixelFormat.RGB48, 256, 220, 300, 0.9),
    ("mix", PixelFormat.RGB24, 256, 512, 1030, 0.97),
]
"""Tables as large as they become, but for those of "mix" in the smaller one; counts up to their
limits; each table of "rank" that there can be. The largest takes a plain decoder half a minute."""


def recipes():
    """Yield name, image, method and strip height of each golden file."""
    for method in STRIP_METHODS:
        for pixel_format in PixelFormat:
            for most, height, width, strip_height in SIZES:
                n_colors = min(most, method.most_colors)
                name = f"{method.name}-{pixel_format.label}-{n_colors}-{width}x{height}"
                metadata = FULL_METADATA if n_colors == 7 else Metadata()
                image = indexed_image(pixel_format, n_colors, height, width, metadata=metadata)
                yield name, image, method.name, strip_height
    for pixel_format in PixelFormat:
        for n_colors in (16, 61, 300):
            image = indexed_image(pixel_format, n_colors, 9, 11)
            ordered = replace(image, palette=palette_tree.ascending(image.palette))
            yield f"tree-{pixel_format.label}-{n_colors}-11x9", ordered, "deflate", 9
    tagged = indexed_image(PixelFormat.RGB24, 16, 9, 11, metadata=COLOR_TAGS)
    yield "deflate-RGB-16-11x9-color-tags", tagged, "deflate", 9
    for method, pixel_format, n_colors, height, width, plain in LARGE:
        image = scenery(pixel_format, n_colors, height, width, plain)
        name = f"{method}-{pixel_format.label}-{n_colors}-{width}x{height}"
        yield name, image, method, height


LABELS = [  # method, type, shape, labels
    *(("deflate", str(dtype), (13, 17), 9) for dtype in LABEL_TYPES),
    ("mix", "int16", (5, 6, 20), 30),
    ("mix", "uint64", (40, 30), 300),
    ("rank", "int32", (3, 8, 11), 12),
    ("deflate", "int64", (1, 2, 3, 4, 5), 20),
    ("deflate", "uint8", (50,), 5),
    ("deflate", "int8", (4, 4), 1),
    ("label", "int64", (4, 40, 60), 12),
    ("label", "uint16", (90, 130), 400),
    ("label", "bool", (50, 70), 9),
]


def label_recipes():
    """Yield name, array and method of each golden label map."""
    for method, dtype, shape, n_labels in LABELS:
        name = f"{method}-{dtype}-{n_labels}-{'x'.join(map(str, shape))}"
        yield name, label_map(np.dtype(dtype), shape, n_labels), method


SEQUENCES = [  # method, pixel format, colours, height, width, frames, key interval, more
    *((method.name, PixelFormat.RGB24, 16, 14, 17, 5, None, {}) for method in STRIP_METHODS),
    *(("deflate", pixel_format, 7, 9, 11, 3, None, {}) for pixel_format in PixelFormat),
    ("deflate", PixelFormat.RGB24, 7, 14, 17, 1, None, {}),
    ("rank", PixelFormat.RGB24, 16, 14, 17, 7, 3, {}),
    ("mix", PixelFormat.RGBA32, 30, 20, 24, 6, None, {"own": True}),
    ("deflate", PixelFormat.GREY8, 9, 12, 20, 6, 4, {"own": True}),
    ("rank", PixelFormat.RGB24, 40, 12, 16, 4, None, {"noise": 0.9}),
    ("label", PixelFormat.RGB24, 256, 24, 40, 4, None, {"noise": 0.05}),
    ("mix", PixelFormat.RGB48, 300, 24, 40, 4, 2, {"noise": 0.1}),
]


def sequence_recipes():
    """Yield name, images, method and key interval of each golden sequence."""
    for method, pixel_format, n_colors, height, width, n_frames, interval, more in SEQUENCES:
        images = moving_images(pixel_format, n_colors, height, width, n_frames, **more)
        words = [method, pixel_format.label, str(n_colors), f"{n_frames}x{width}x{height}"]
        words += [f"every-{interval}"] * (interval is not None) + [*more]
        yield "-".join(words), images, method, interval


@contextmanager
def free_leaves():
    """Have "rank" split its contexts as often as it may, whatever a table costs."""
    alphabet = rank._Alphabet
    rank._Alphabet = lambda *fields: replace(alphabet(*fields), price=0)
    yield
    rank._Alphabet = alphabet


def hash_of(array):
    """SHA-256 of samples or indices in C order, uint16 lowest byte first."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def add_labels():
    """Add label maps: a .kmq file and the array it holds, as an .npy file."""
    for name, labels, method in label_recipes():
        path = GOLDEN / "labels" / f"{name}.kmq"
        if not path.exists():
            np.save(path.with_suffix(".npy"), labels)
            path.write_bytes(encode_labels(labels, method=method))
            print(f"added labels/{name}")


def add_sequences():
    """Add sequences: a .kmq file, and an .npz file of the delays, palettes and indices it holds."""
    for name, images, method, interval in sequence_recipes():
        path = GOLDEN / "sequences" / f"{name}.kmq"
        if path.exists():
            continue
        delays = [10.0 * number + 0.5 for number in range(len(images))]
        options = {"method": method, "key_interval": interval, "plays": len(images)}
        write_frames(path, images, delays=delays, **options)
        arrays = {"delays": np.array(delays)}
        for number, image in enumerate(images):
            arrays |= {f"palette{number}": image.palette, f"indices{number}": image.indices}
        np.savez_compressed(path.with_suffix(".npz"), **arrays)
        print(f"added sequences/{name}")


def main():
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    stored = {path.stem for path in GOLDEN.glob("*.kmq")}
    if stored != set(manifest):
        sys.exit(f"files and manifest differ in {sorted(stored ^ set(manifest))}")
    for name, image, method, strip_height in recipes():
        if name not in manifest:
            with free_leaves() if image.indices.size > 1000 else nullcontext():
                encoded = kmq.files.encode(image, method=method, strip_height=strip_height)
            with open(GOLDEN / f"{name}.kmq", "xb") as stream:
                stream.write(encoded)
            manifest[name] = {
                "file": hashlib.sha256(encoded).hexdigest(),
                "palette": hash_of(image.palette),
                "indices": hash_of(image.indices),
            }
            print(f"added {name}")
    add_labels()
    add_sequences()
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in manifest.items()]
    MANIFEST.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
