"""Pictures that commands look at, with the files they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from kmq.model.file_info import Limits
    from kmq.model.image import IndexedImage, Metadata
    from kmq.model.pixel_format import PixelFormat

_COUNTED_PIXELS = 1 << 20  # at a time: NumPy makes 64-bit numbers of the indices


class Picture(NamedTuple):
    """A picture and the file it came from.

    Attributes:
        path: the file.
        file_size: its bytes.
        samples: (height, width, channels).
        pixel_format: what one pixel is.
        metadata: colour profile and the like.
        image: what the file holds if it is a .kmq file, else None.
    """

    path: Path
    file_size: int
    samples: np.ndarray[Any, Any]
    pixel_format: PixelFormat
    metadata: Metadata
    image: IndexedImage | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.samples.shape[1])

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the whole file per pixel."""
        return 8 * self.file_size / (self.height * self.width)

    def is_opaque(self) -> bool:
        """Whether nothing shows through any pixel."""
        from kmq.model import alpha

        return bool((alpha.kinds(self.samples, self.pixel_format) == alpha.OPAQUE).all())

    def in_format(self, pixel_format: PixelFormat) -> Picture:
        """Return the picture in a format that holds all its colours."""
        if pixel_format is self.pixel_format:
            return self
        from kmq.model.formats import converted

        colors = self.samples.reshape(-1, self.pixel_format.channels)
        samples = converted(colors, self.pixel_format, pixel_format)
        shape = (self.height, self.width, pixel_format.channels)
        return self._replace(samples=samples.reshape(shape), pixel_format=pixel_format)


def load(path: Path, page: int | None, limits: Limits) -> Picture:
    """Read a picture or a .kmq file; raise what `kmq.read` and `kmq.quantize` raise."""
    from kmq.files import read
    from kmq.pipeline.reading import read_picture
    from kmq.stages.container.chunks import is_kmq
    from kmq.threads import resolve_threads

    with path.open("rb") as file:
        begins = is_kmq(file)
    image = read(path, limits=limits) if begins or path.suffix.lower() == ".kmq" else None
    given = path if image is None else image
    pixels = read_picture(given, None, page, limits, resolve_threads(None))
    size = path.stat().st_size
    return Picture(path, size, pixels.samples, pixels.pixel_format, pixels.metadata, image)


def entry_counts(image: IndexedImage) -> np.ndarray[Any, Any]:
    """Return how many pixels of an image show each entry of its palette, (k,) int64."""
    import numpy as np

    rows = max(1, _COUNTED_PIXELS // image.width)
    counts = np.zeros(image.n_colors, np.int64)
    for top in range(0, image.height, rows):
        counts += np.bincount(image.indices[top : top + rows].ravel(), minlength=image.n_colors)
    return counts
