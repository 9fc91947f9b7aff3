"""Label map → the pieces of a `.kmq` file, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from kmq.errors import FormatError, InputError
from kmq.model.arrays import Array
from kmq.model.choices import Effort
from kmq.model.file_info import MAX_STRIPS, Limits, check_pixels
from kmq.model.image import Metadata, index_dtype
from kmq.model.labels import MAX_LABELS, Labels, label_shades
from kmq.model.pixel_format import PixelFormat
from kmq.pipeline.encoding import checked_strip_height
from kmq.stages.coding.methods import even_strip_height, plan_label_strips
from kmq.stages.coding.palettes import decode_palette
from kmq.stages.coding.strips import decode_strips, encode_strips
from kmq.stages.container import file
from kmq.stages.container.labels import pack_labels


@dataclass(frozen=True)
class LabelCoding:
    """How to code a label map; attributes as of `Coding`."""

    effort: Effort
    method: str | None
    strip_height: int | None
    n_threads: int
    limits: Limits

    def pieces(self, array: Array) -> list[bytes]:
        """Return the pieces of a file, front to back.

        `array` holds at least one label, in C order, of one of LABEL_TYPES.

        Raises:
            InputError: it has more distinct labels or pixels than there can be.
        """
        width, height = array.shape[-1], math.prod(array.shape[:-1])
        check_pixels(self.limits, width, height)
        values, indices = indexed(array.reshape(-1))
        n_labels = len(values)
        plan = plan_label_strips(self.method, self.effort, array.size, n_labels)
        if self.strip_height is None:
            rows = _whole_slices(even_strip_height(height, width, plan.strip_pixels), array.shape)
        else:
            rows = checked_strip_height(self.strip_height, height)
        strips = encode_strips(
            indices.reshape(height, width),
            label_shades(n_labels),
            plan.methods,
            rows,
            self.limits.decisions,
            self.n_threads,
        )
        header = file.Header(PixelFormat.GREY16, width, height, n_labels, rows, "label map")
        chunk = pack_labels(Labels(values, array.shape))
        return file.pack_file(header, chunk, Metadata(), strips, self.limits)


def indexed(flat: Array) -> tuple[Array, Array]:
    """Return the distinct labels as they first occur, and where among them each label is.

    Raises:
        InputError: there are too many.
    """
    begins = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    # Maps have few runs, which are all that needs to be sorted.
    values, first, numbers = np.unique(flat[begins], return_index=True, return_inverse=True)
    if len(values) > MAX_LABELS:
        raise InputError(
            f"labels has {len(values)} distinct values; a label map holds up to {MAX_LABELS}"
        )
    order = np.argsort(first, kind="stable")
    places = np.empty(len(values), index_dtype(len(values)))
    places[order] = np.arange(len(values))
    return values[order], np.repeat(places[numbers], np.diff(begins, append=flat.size))


def decoded(
    stream: BinaryIO,
    limits: Limits,
    n_threads: int,
    check: Callable[[Labels], None] = lambda labels: None,
) -> Array:
    """Decode the file that a stream holds from where it stands.

    `check` may refuse type and shape before there is memory for more.
    """
    contents = file.unpack_file(stream, limits, decode_palette, kinds=file.LABEL_MAP)
    front, labels = contents.front, contents.front.labels
    if labels is None:  # never: the kind says so
        raise FormatError("the file has no labels")
    check(labels)
    indices = decode_strips(
        contents.strips,
        contents.payloads,
        front.palette,
        front.header.width,
        limits.decisions,
        n_threads,
    )
    return np.take(labels.values, indices).reshape(labels.shape)


def _whole_slices(rows: int, shape: tuple[int, ...]) -> int:
    """Return the rows of strips, a whole number of slices where they have more than one."""
    if len(shape) < 3 or rows <= shape[-2]:
        return rows
    whole = rows - rows % shape[-2]
    return whole if whole * MAX_STRIPS >= math.prod(shape[:-1]) else rows
