"""Indexed images for tests of the file format: seeded, any pixel format, any size."""

import struct

import numpy as np

from kmq.model import IndexedImage, Metadata, PixelFormat

FULL_METADATA = Metadata(
    icc_profile=b"profile " * 20,
    exif=b"Exif\0\0II*\0\x08\0\0\0\0\0",
    xmp=b"<x:xmpmeta/>",
    dpi=(72.009, 300),
    text={"Title": "Häuser", "Comment": "far and wide " * 20, "Empty": ""},
    extra=(("q", b"first"), ("a", b""), ("q", bytes(range(256)))),
)


def indexed_image(pixel_format, n_colors, height, width, *, seed=0, metadata=None):
    """Blotches in a random palette, so that there is something to compress."""
    rng = np.random.default_rng([seed, n_colors, height, width])
    samples = rng.integers(0, pixel_format.max_value + 1, (n_colors, pixel_format.channels))
    coarse = rng.integers(0, n_colors, (-(-height // 3), -(-width // 3)))
    indices = np.repeat(np.repeat(coarse, 3, axis=0), 3, axis=1)[:height, :width]
    scattered = rng.random((height, width)) < 0.2
    indices[scattered] = rng.integers(0, n_colors, np.count_nonzero(scattered))
    return IndexedImage(
        samples.astype(pixel_format.dtype),
        indices.astype(np.uint16),
        pixel_format,
        metadata or Metadata(),
    )


def grey_image(n_colors, height, width, **options):
    return indexed_image(PixelFormat.GREY16, n_colors, height, width, **options)


def same(image, plain):
    """Whether an image is what the plain decoder made of the same file."""
    metadata = image.metadata
    dpi = metadata.dpi and tuple(round(10_000 * resolution) for resolution in metadata.dpi)
    return (
        image.pixel_format.code == plain["pixel_format"]
        and image.palette.tolist() == [list(entry) for entry in plain["palette"]]
        and image.indices.tolist() == plain["indices"]
        and (metadata.icc_profile, metadata.exif) == (plain["i"], plain["e"])
        and (metadata.xmp, dpi) == (plain["x"], plain["d"])
        and (metadata.text, metadata.extra) == (plain["text"], tuple(plain["extra"]))
    )


def exif_of(orientation, order="MM"):
    """An EXIF block with a maker before, and a software name after, the orientation."""
    endian = ">" if order == "MM" else "<"
    entries = [
        struct.pack(endian + "HHI4s", 0x010F, 2, 4, b"kmq\0"),
        struct.pack(endian + "HHIHH", 0x0112, 3, 1, orientation, 0),
        struct.pack(endian + "HHI4s", 0x0131, 2, 4, b"odd\0"),
    ]
    head = order.encode() + struct.pack(endian + "HIH", 42, 8, len(entries))
    return b"Exif\0\0" + head + b"".join(entries) + bytes(4)
