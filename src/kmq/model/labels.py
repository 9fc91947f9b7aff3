"""Label maps: the values that indices stand for, and the shape of the array they fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmq.model.arrays import Array, EqualByFields

LABEL_TYPES = tuple(
    np.dtype(name) for name in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
)
"""Types of labels; the place of one is its code in a .kmq file."""

MAX_LABELS = 65_536
"""Most distinct labels of a map: indices have 16 bits."""

MAX_DIMENSIONS = 32
"""Most dimensions of a map."""


@dataclass(frozen=True, eq=False)
class Labels(EqualByFields):
    """What the indices of a label map mean.

    Attributes:
        values: (k,) the label of each index, of the map's own type.
        shape: sizes of the map. Its rows lie along the last dimension, and a picture of them has
            the rows of all others, one below the other.
    """

    values: Array
    shape: tuple[int, ...]


def label_shades(n_labels: int) -> Array:
    """Return the palette that strips of a label map are coded with: (k, 1) 16-bit greys, even."""
    shades = np.arange(n_labels) * 65_535 // max(1, n_labels - 1)
    return shades.astype(np.uint16)[:, np.newaxis]
