"""Indexed images for tests of the file format: seeded, any pixel format, any size."""

import struct
from dataclasses import replace

import numpy as np

from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat

FULL_METADATA = Metadata(
    icc_profile=b"profile " * 20,
    exif=b"Exif\0\0II*\0\x08\0\0\0\0\0",
    xmp=b"<x:xmpmeta/>",
    dpi=(72.009, 300),
    text={"Title": "Häuser", "Comment": "far and wide " * 20, "Empty": ""},
    extra=(("q", b"first"), ("a", b""), ("q", bytes(range(256)))),
)


COLOR_TAGS = Metadata(
    gamma=0.45455,
    chromaticities=(0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    srgb="relative colorimetric",
    cicp=(9, 16, 0, 1),
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


def moving_images(pixel_format, n_colors, height, width, n_frames, *, own=False, noise=0.0):
    """A block that moves over blotches; the frame in the middle is as the one before it.

    A share `noise` of the pixels changes in each frame. With `own`, each palette is in another
    order, and from the second frame on lacks the entries that its frame does not show.
    """
    first = indexed_image(pixel_format, n_colors, height, width, metadata=FULL_METADATA)
    rng = np.random.default_rng([n_colors, height, width, n_frames])
    images, indices = [first], first.indices
    for number in range(1, n_frames):
        indices = indices.copy()
        if number != n_frames // 2:
            top = 2 * number % max(1, height - 3)
            indices[top : top + 3, number : number + 4] = number % n_colors
            changing = rng.random(indices.shape) < noise
            indices[changing] = rng.integers(0, n_colors, np.count_nonzero(changing))
        image = replace(first, indices=indices)
        if own:
            used = rng.permutation(np.unique(indices))
            places = np.zeros(n_colors, np.uint16)
            places[used] = np.arange(len(used))
            image = replace(first, palette=first.palette[used], indices=places[indices])
        images.append(image)
    return images


def scenery(pixel_format, n_colors, height, width, plain):
    """Slopes with noise, tiles, stripes and stray pixels above and below a share of plain rows.

    Colours of 8 bits are at all distances; a quarter of those of 16 bits are next to each other.
    """
    rng = np.random.default_rng([n_colors, height, width])
    ramp = np.arange(n_colors)
    palette = np.stack([ramp * 255 // n_colors, ramp * 7 % 256, 255 - ramp * 3 % 256], axis=1)
    palette = np.clip(palette + rng.integers(-6, 7, palette.shape), 0, 255)
    if pixel_format.max_value > 255:
        palette = palette * 257
        palette[: n_colors // 4] = 30_000 + rng.integers(0, 300, (n_colors // 4, 3))
    y, x = np.mgrid[:height, :width]
    roughness = x * 7 // width
    slope = (2 * y + x) % n_colors + rng.integers(-roughness, roughness + 1)
    tile = rng.integers(0, n_colors, (12, 20))[y % 12, x % 20]
    stripes = y // 3 % 2 * (x // 5 % 3)
    indices = np.where(x < width // 2, slope, np.where(x < width * 3 // 4, tile, stripes))
    stray = rng.random((height, width)) < 0.08
    indices[stray] = rng.integers(0, n_colors, np.count_nonzero(stray))
    edge = int(height * (1 - plain) / 2)
    indices[edge : height - edge] = n_colors // 3
    for _ in range(12):
        top, left = rng.integers(edge, height - edge - 30), rng.integers(0, width)
        rows, columns = rng.integers(2, 30, 2)
        indices[top : top + rows, left : left + columns] = rng.integers(0, n_colors)
    indices = np.clip(indices, 0, n_colors - 1).astype(np.uint16)
    return IndexedImage(palette.astype(pixel_format.dtype), indices, pixel_format)


def grey_image(n_colors, height, width, **options):
    return indexed_image(PixelFormat.GREY16, n_colors, height, width, **options)


def same(image, plain):
    """Whether an image is what the plain decoder made of the same file."""
    metadata = image.metadata
    dpi = metadata.dpi and tuple(round(10_000 * resolution) for resolution in metadata.dpi)
    gamma = metadata.gamma if metadata.gamma is None else (round(100_000 * metadata.gamma),)
    places = metadata.chromaticities and tuple(round(100_000 * x) for x in metadata.chromaticities)
    return (
        image.pixel_format.code == plain["pixel_format"]
        and image.palette.tolist() == [list(entry) for entry in plain["palette"]]
        and image.indices.tolist() == plain["indices"]
        and (metadata.icc_profile, metadata.exif) == (plain["i"], plain["e"])
        and (metadata.xmp, dpi) == (plain["x"], plain["d"])
        and (gamma, places) == (plain["g"], plain["w"])
        and (metadata.srgb, metadata.cicp) == (plain["s"], plain["c"])
        and (metadata.text, metadata.extra) == (plain["text"], tuple(plain["extra"]))
    )


def exif_block(tags, order):
    """An EXIF block of (number, type, count, four bytes as a number), in the order given."""
    entries = [struct.pack(order + "HHI", *tag[:3]) + _field(tag, order) for tag in tags]
    head = b"II*\0" if order == "<" else b"MM\0*"
    content = head + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\0\0" + content


def _field(tag, order):
    """A value as a tag holds it: one that is short stands in front."""
    _, kind, count, value = tag
    is_short = kind == 3 and count == 1
    return struct.pack(order + "HH", value, 0) if is_short else struct.pack(order + "I", value)


def exif_of(orientation, order="MM"):
    """An EXIF block with a maker before, and a software name after, the orientation."""
    texts = [
        int.from_bytes(text, {"II": "little", "MM": "big"}[order]) for text in (b"kmq\0", b"odd\0")
    ]
    maker, software = (0x010F, 2, 4, texts[0]), (0x0131, 2, 4, texts[1])
    return exif_block([maker, (0x0112, 3, 1, orientation), software], "<" if order == "II" else ">")


def label_map(dtype, shape, n_labels, seed=0):
    """Cells of a label map: whatever seed is nearest, with labels from all over the type."""
    rng = np.random.default_rng([seed, n_labels, *shape])
    places = rng.random((n_labels, len(shape))) * shape
    grid = np.stack(np.indices(shape), -1)[..., np.newaxis, :]
    nearest = ((grid - places) ** 2).sum(-1).argmin(-1)
    if dtype == np.bool_:
        return nearest % 2 == 1
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, n_labels, np.dtype(dtype), endpoint=True)
    values[: n_labels // 2] = np.arange(n_labels // 2)
    return values[nearest]
