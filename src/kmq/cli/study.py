"""What ``kmq report`` finds out about a picture and its few colours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmq.cli import peers
from kmq.cli.console import Progress
from kmq.cli.pictures import Picture, entry_counts, load
from kmq.errors import InputError
from kmq.model.arrays import looked_up
from kmq.model.image import IndexedImage, Metadata
from kmq.model.pixel_format import PixelFormat

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SHOWN_PIXELS = 1 << 20
"""Pixels of a picture that the page holds; a larger one is shrunk."""

_MEASURED_PIXELS = 1 << 20
"""Pixels that are encoded over and over; of a larger picture they are its middle."""

_PALETTE_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)

_RATES = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 4)
"""λ of `kmq.Rate`, from none to where every picture has lost much."""

_DETAIL = (128, 192)
"""Rows and columns of the part that is shown magnified."""

_DETAIL_FROM = 4 * _DETAIL[0] * _DETAIL[1]
"""Pixels of a picture from which a part shows more than the whole does."""

HEAT = ("#000004", "#320a5e", "#781c6d", "#bc3754", "#ed6925", "#fbb61a", "#fcffa4")
"""Colours of errors from none to the greatest: matplotlib's "inferno" at even distances."""

_HEAT_STEPS = 64  # colours of an error map: fewer show as bands, more make larger files

_ERROR_SAMPLES = 1 << 18  # whose errors are computed at a time

_SEARCHED, _TRIED, _RATED = 0.1, 0.4, 0.8
"""Share of the work that is done with the result, trials of palettes and trials of rates."""


@dataclass(frozen=True)
class Trial:
    """One attempt: its option, bytes of the file, and PSNR in decibels."""

    place: str
    size: int
    psnr: float
    is_chosen: bool


@dataclass(frozen=True)
class Pair:
    """A part of the original and the same of the result, as PNG files, and where it lies."""

    original: bytes
    result: bytes
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class ErrorMap:
    """Where a picture is off: root mean squared error of the channels of each pixel, in samples.

    Attributes:
        png: the map.
        top: error of its brightest colour; larger errors look the same.
        greatest: the greatest error of a pixel.
        share: share of the pixels that are off at all.
    """

    png: bytes
    top: float
    greatest: float
    share: float


@dataclass(frozen=True, eq=False)
class Study:
    """All that the page shows.

    Attributes:
        picture: the original.
        image: the result.
        effort: with which it was searched for and coded.
        encoded: the .kmq file.
        psnr: of the result, in decibels.
        ssimulacra2: of the result.
        counts: (k,) pixels of each palette entry.
        divisor: by which the pictures are shrunk for the page.
        whole: both pictures.
        detail: the worst part of a larger picture, or None.
        error_map: None for an exact result.
        measured: the image that trials and files are of: the result, or the middle of a large one.
        by_palette_size: trials with fewer and more colours, and the result.
        by_rate: trials with as many colours, where bits count less and more.
        files: the result in other formats, as a .kmq file first.
    """

    picture: Picture
    image: IndexedImage
    effort: str
    encoded: bytes
    psnr: float
    ssimulacra2: float
    counts: Array
    divisor: int
    whole: Pair
    detail: Pair | None
    error_map: ErrorMap | None
    measured: IndexedImage
    by_palette_size: tuple[Trial, ...]
    by_rate: tuple[Trial, ...]
    files: tuple[peers.File, ...]

    @property
    def size(self) -> int:
        """Bytes of the .kmq file."""
        return len(self.encoded)


def study(
    source: Path,
    target: dict[str, Any],
    options: dict[str, Any],
    encoding: dict[str, Any],
    progress: Progress,
    *,
    keep_image: bool,
) -> Study:
    """Look at a picture in few colours from all sides.

    Args:
        source: a picture or a .kmq file.
        target: how many colours or what size, in the arguments of `kmq.write`.
        options: other arguments of `kmq.quantize`.
        encoding: arguments of `kmq.encode`.
        progress: hears what is done.
        keep_image: whether a .kmq file is shown as it is.

    Raises:
        Exception: what `kmq.quantize` raises.
    """
    from kmq.display import divisor
    from kmq.files import encoded as encoded_picture

    progress("palette", 0.0)
    picture = load(source, options["page"], encoding["limits"])
    if picture.image is not None and keep_image:
        image, encoded = picture.image, source.read_bytes()
    else:
        image, pieces, _ = encoded_picture(source, target | options | encoding)
        encoded = b"".join(pieces)
    picture = picture.in_format(image.pixel_format)
    shown = looked_up(image.palette, image.indices)
    psnr, looks = peers.similarity(picture.samples, shown, image.pixel_format)
    by = divisor(image.height, image.width, _SHOWN_PIXELS)
    error_map, detail = None, None
    if math.isfinite(psnr):
        errors = _Errors.of(picture, image, by)
        error_map = errors.map()
        if image.indices.size >= _DETAIL_FROM:
            detail = _pair(picture, image, *errors.worst(), *_DETAIL, 1)
    sample = _sample(picture, image, options, encoding)
    by_palette_size = tuple(sample.by_palette_size(progress))
    by_rate = tuple(sample.by_rate(progress))
    progress("other formats", _RATED)
    return Study(
        picture=picture,
        image=image,
        effort=encoding["effort"] or "balanced",
        encoded=encoded,
        psnr=psnr,
        ssimulacra2=looks,
        counts=entry_counts(image),
        divisor=by,
        whole=_pair(picture, image, 0, 0, image.height, image.width, by),
        detail=detail,
        error_map=error_map,
        measured=sample.image,
        by_palette_size=by_palette_size,
        by_rate=by_rate,
        files=tuple(sample.files()),
    )


# --- what is shown -------------------------------------------------------------------------------


def _pair(
    picture: Picture, image: IndexedImage, top: int, left: int, height: int, width: int, by: int
) -> Pair:
    """Return a part of both pictures, shrunk; it is moved into the picture where it sticks out."""
    from kmq import display

    height, width = min(height, image.height), min(width, image.width)
    top, left = min(top, image.height - height), min(left, image.width - width)
    rows, columns = slice(top, top + height), slice(left, left + width)
    profile = image.metadata.icc_profile
    original = display.shrunk_samples(picture.samples[rows, columns], image.pixel_format, by)
    part = replace(image, indices=image.indices[rows, columns], lost=())
    result = display.shrunk_image(part, by)
    files = (display.png(original, profile), display.png(result, profile))
    return Pair(*files, left, top, width, height)


@dataclass(frozen=True, eq=False)
class _Errors:
    """Mean squared errors of blocks of `by` × `by` pixels, and facts about single pixels."""

    means: Array
    by: int
    greatest: float
    share: float

    @classmethod
    def of(cls, picture: Picture, image: IndexedImage, by: int) -> _Errors:
        """Compare a band of rows at a time; errors are means over the channels."""
        import numpy as np

        from kmq.stages.mapping.metrics import squared_errors

        has_alpha = image.pixel_format.has_alpha
        bands, greatest, n_off = [], 0.0, 0
        rows = by * max(1, _ERROR_SAMPLES // (by * picture.samples[0].size))
        for top in range(0, image.height, rows):
            shown = looked_up(image.palette, image.indices[top : top + rows])
            errors = squared_errors(picture.samples[top : top + rows], shown, has_alpha=has_alpha)
            errors /= image.pixel_format.channels - has_alpha
            greatest = max(greatest, float(errors.max()))
            n_off += int(np.count_nonzero(errors))
            bands.append(_block_means(errors, by, by))
        return cls(np.concatenate(bands), by, greatest, n_off / image.indices.size)

    def worst(self) -> tuple[int, int]:
        """Return row and column of the tile of `_DETAIL` size with the greatest error."""
        import numpy as np

        height, width = (max(1, side // self.by) for side in _DETAIL)
        tiles = _block_means(self.means, height, width)
        row, column = divmod(int(np.argmax(tiles)), tiles.shape[1])
        return row * height * self.by, column * width * self.by

    def map(self) -> ErrorMap:
        """Draw them."""
        import numpy as np
        from PIL import Image, ImageColor

        from kmq.display import png

        levels = np.sqrt(self.means)
        top = float(np.quantile(levels, 0.99)) or float(levels.max())
        steps = np.minimum(levels * (_HEAT_STEPS / top), _HEAT_STEPS - 1).astype(np.uint8)
        anchors = np.array([ImageColor.getrgb(color) for color in HEAT])
        places = np.linspace(0, len(HEAT) - 1, _HEAT_STEPS)
        colors = [np.interp(places, range(len(HEAT)), channel) for channel in anchors.T]
        sheet = Image.frombytes("P", steps.shape[::-1], steps.tobytes())
        sheet.putpalette(np.column_stack(colors).round().astype(np.uint8).tobytes())
        return ErrorMap(png(sheet), top, math.sqrt(self.greatest), self.share)


def _block_means(values: Array, height: int, width: int) -> Array:
    """Return the means of blocks; those at the right and lower edge may be smaller."""
    import numpy as np

    rows, columns = np.arange(0, len(values), height), np.arange(0, values.shape[1], width)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff(rows, append=len(values)), np.diff(columns, append=values.shape[1]))
    means: Array = sums / counts
    return means


# --- what is encoded over and over ---------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Sample:
    """The picture, or the middle of a large one, without metadata.

    Attributes:
        samples: the original.
        image: the result.
        options: how `kmq.quantize` made it, but for the number of colours.
        encoding: how `kmq.encode` takes it.
    """

    samples: Array
    image: IndexedImage
    options: dict[str, Any]
    encoding: dict[str, Any]

    def by_palette_size(self, progress: Progress) -> Iterator[Trial]:
        """Yield trials with fewer and more colours, up to where the picture is exact."""
        chosen = self.image.n_colors
        is_exact = False
        sizes = sorted({*_PALETTE_SIZES, chosen})
        for number, k in enumerate(sizes):
            done = number / len(sizes)
            progress("other palettes", _SEARCHED + done * (_TRIED - _SEARCHED))
            if k != chosen and (is_exact or self.options.get("palette") is not None):
                continue
            try:
                image = self.image if k == chosen else self.quantized(k)
            except InputError:  # more colours are fixed
                continue
            trial = self._trial(f"{image.n_colors:,}", image, k == chosen)
            yield trial
            is_exact = math.isinf(trial.psnr)

    def by_rate(self, progress: Progress) -> Iterator[Trial]:
        """Yield trials where a bit counts less and more against the error."""
        from kmq.values import Dither, Optimize, Rate

        mapping = self.options.get("mapping")
        chosen = mapping.lam if isinstance(mapping, Rate) else 0
        rates = sorted({*_RATES, chosen}) if self.image.n_colors > 1 else []
        if isinstance(mapping, Dither | Optimize):  # a texture, on which a rate would save
            rates = []
        for number, lam in enumerate(rates):
            progress("other rates", _TRIED + number / len(rates) * (_RATED - _TRIED))
            is_chosen = lam == chosen
            image = self.image
            if not is_chosen:
                image = self.quantized(self.image.n_colors, mapping=Rate(lam))
            yield self._trial(f"{lam:g}", image, is_chosen)

    def files(self) -> Iterator[peers.File]:
        """Yield the result as a .kmq file and in other formats."""
        image = self.image
        shown = looked_up(image.palette, image.indices)
        psnr, looks = peers.similarity(self.samples, shown, image.pixel_format)
        size = self._size(image)
        yield peers.File(
            ".kmq", f"effort {self.encoding['effort'] or 'balanced'}", size, psnr, looks
        )
        yield from peers.lossless(image, psnr, looks)
        yield from peers.lossy(self.samples, image.pixel_format, psnr)

    def quantized(self, k: int, **changed: Any) -> IndexedImage:
        """Quantize it with the options of the result, except the `changed` ones."""
        import numpy as np

        from kmq.quantizing import quantize

        pixel_format = self.image.pixel_format
        is_bilevel = pixel_format is PixelFormat.BILEVEL
        samples = self.samples[:, :, 0].astype(np.bool_) if is_bilevel else self.samples
        if self.options.get("palette") is None:
            changed["k"] = k
        return quantize(samples, pixel_format=pixel_format, **(self.options | changed))

    def _trial(self, place: str, image: IndexedImage, is_chosen: bool) -> Trial:
        shown = looked_up(image.palette, image.indices)
        psnr = peers.psnr_of(self.samples, shown, image.pixel_format)
        return Trial(place, self._size(image), psnr, is_chosen)

    def _size(self, image: IndexedImage) -> int:
        from kmq.files import encode

        return len(encode(image, **self.encoding))


def _sample(
    picture: Picture, image: IndexedImage, options: dict[str, Any], encoding: dict[str, Any]
) -> _Sample:
    """Return the picture if it is small, or its middle, quantized by itself."""
    bare = replace(image, metadata=Metadata())
    options = {name: value for name, value in options.items() if name != "page"}
    if image.indices.size <= _MEASURED_PIXELS:
        return _Sample(picture.samples, bare, options, encoding)
    shrink = math.sqrt(_MEASURED_PIXELS / image.indices.size)
    height, width = (max(1, int(side * shrink)) for side in image.indices.shape)
    top, left = (image.height - height) // 2, (image.width - width) // 2
    part = (slice(top, top + height), slice(left, left + width))
    if options.get("weights") is not None:
        options["weights"] = options["weights"][part]
    middle = replace(bare, indices=image.indices[part], lost=())
    sample = _Sample(picture.samples[part], middle, options, encoding)
    if image is picture.image or options.get("palette") is not None:
        return sample
    return replace(sample, image=sample.quantized(image.n_colors))
