"""Files of a given size or quality: palette size k and rate λ are searched for together.

A size, an error and looks have a search each; `kmq.pipeline.attempts` says what all of them try.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import NamedTuple

from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.model.image import MAX_COLORS
from kmq.pipeline.attempts import Code, Encoded, Start
from kmq.pipeline.error_search import ErrorSearch
from kmq.pipeline.fewest import ErrorTarget
from kmq.pipeline.looks_search import LooksSearch
from kmq.pipeline.quantizing import Quantizer
from kmq.pipeline.size_search import SizeSearch
from kmq.stages.mapping import metrics

MAX_SIZE = 2**63 - 1
"""Most bytes that can be asked for."""

_MAY_BE_SMALLER = 1.3
"""Nearest entries are coded, too, if their estimate is at most so many times that of the file."""


class FileTarget(NamedTuple):
    """The target of a file.

    Attributes:
        name: "size", "bpp", "quality", "psnr" or "max_mse".
        value: how much of it.
    """

    name: str
    value: float


def reach(
    quantizer: Quantizer,
    target: FileTarget,
    code: Code,
    colors: int | Array | None = None,
    most: int | None = None,
    limit: int = MAX_COLORS,
) -> Encoded:
    """Return the best file found that meets a target.

    Args:
        quantizer: of the picture.
        target: of the file.
        code: makes the file.
        colors: how many, or which, if λ alone has to meet a size.
        most: colours at most; a quality is then reached as far as that goes.
        limit: colours at most of a file; a quality that they do not reach cannot be met.

    Raises:
        InputError: it cannot be met.
    """
    is_strict, most = most is None, min(limit, MAX_COLORS if most is None else most)
    if target.name in ("size", "bpp"):
        return _for_size(quantizer, target, code, colors, most)
    if target.name == "quality":
        is_kmq = limit == MAX_COLORS
        return _for_looks(
            quantizer, target.value, code, most, is_strict=is_strict, trusts_estimates=is_kmq
        )
    mse = target.value
    if target.name == "psnr":
        mse = metrics.mse_at(mse, quantizer.pixels.pixel_format)
    return _for_error(quantizer, mse, code, most, is_strict=is_strict)


def _for_size(
    quantizer: Quantizer,
    target: FileTarget,
    code: Code,
    colors: int | Array | None,
    most: int,
) -> Encoded:
    """Return the file of least error found that has at most so many bytes."""
    n_pixels, size = quantizer.n_pixels, target.value
    if target.name == "bpp":
        size = math.floor(min(size * n_pixels / 8, MAX_SIZE))
    search = SizeSearch(quantizer, code, size, most)
    if colors is None:
        best = search.best()
        where = f"{search.fewest} colour{'' if search.fewest == 1 else 's'}"
    else:
        is_given = not isinstance(colors, int)
        start = Start(quantizer, code, quantizer.palette(colors), is_given=is_given)
        best = search.best_at(start)
        where = "the given palette" if is_given else f"k = {colors}"
    if best.size > size:
        asked, least = f"{size:.0f} bytes", f"{best.size}"
        if target.name == "bpp":
            bits = 8 * best.size / n_pixels
            asked, least = f"{target.value:g}", f"{bits:.3g} bits per pixel, {least} bytes"
        raise InputError(
            f"{target.name} is {asked}; the smallest file of this picture has {least}, with {where}"
        )
    return best.encoded


def _for_error(
    quantizer: Quantizer, mse: float, code: Code, most: int, *, is_strict: bool
) -> Encoded:
    """Return the smallest file found with such an error, or the best if there is none."""
    rounded = quantizer.palette(ErrorTarget(mse, most))
    nearest = Start(quantizer, code, rounded).nearest
    if rounded.mse > mse and is_strict:
        decibels = metrics.psnr(rounded.mse, quantizer.pixels.pixel_format)
        raise InputError(
            f"{most} colours reach an error of {rounded.mse:.4g} and a PSNR of "
            f"{decibels:.2f} dB; {mse:.4g} was asked for"
        )
    if rounded.mse > mse or mse == 0:
        return nearest.encoded
    search = ErrorSearch(quantizer, code, mse, most)
    found = [nearest, *search.attempts(len(rounded.palette))]
    return min(found, key=attrgetter("size")).encoded


def _for_looks(
    quantizer: Quantizer,
    quality: float,
    code: Code,
    most: int,
    *,
    is_strict: bool,
    trusts_estimates: bool,
) -> Encoded:
    """Return the smallest file found that looks as good, or the best if there is none.

    Estimates are of .kmq files; those of other kinds are made to be compared.
    """
    search = LooksSearch(quantizer, code, quality, most)
    nearest = search.few()
    if nearest.looks < quality and is_strict:
        raise InputError(
            f"{len(nearest.mapped.palette)} colours reach a quality of {nearest.looks:.2f} in this "
            f"picture; {quality:g} was asked for"
        )
    if nearest.looks < quality:
        return nearest.encoded
    traded = search.traded()
    if traded is None:
        return search.fewest().encoded
    if trusts_estimates and nearest.estimate > _MAY_BE_SMALLER * traded.estimate:
        return traded.encoded
    return min(traded, search.fewest(), key=attrgetter("size")).encoded
