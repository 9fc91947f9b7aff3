"""Image → the pieces of a `.kmq` file, or of a picture file that other programs open."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from kmq.errors import InputError
from kmq.model.choices import Effort
from kmq.model.file_info import MAX_STRIPS, Limits, check_pixels
from kmq.model.image import MAX_COLORS, IndexedImage
from kmq.stages.coding.methods import even_strip_height, plan_strips
from kmq.stages.coding.palettes import encode_palette
from kmq.stages.coding.strips import encode_strips
from kmq.stages.container import file
from kmq.stages.mapping.rate import MATCHERS_CONTEXT
from kmq.stages.pictures import writing


@dataclass(frozen=True)
class Coding:
    """How to code an image.

    Attributes:
        most_colors: colours at most that a search for a target may use.
        context_share: how much contexts say about what pixels cost.
        effort: time to take.
        method: name of a strip method, or None.
        strip_height: rows of a strip, or None.
        n_threads: threads to use.
        limits: how many pixels and bytes of metadata it may have.
    """

    most_colors: ClassVar[int] = MAX_COLORS
    context_share: ClassVar[float] = 1.0

    effort: Effort = "balanced"
    method: str | None = None
    strip_height: int | None = None
    n_threads: int = 1
    limits: Limits = field(default_factory=Limits)

    def pieces(self, image: IndexedImage) -> list[bytes]:
        """Return the pieces of a file, front to back."""
        check_pixels(self.limits, image.width, image.height)
        image = replace(image)  # checked anew: the kernels below write where its indices point
        n_colors = image.n_colors
        plan = plan_strips(self.method, self.effort, image.indices.size, n_colors)
        if self.strip_height is None:
            rows = even_strip_height(image.height, image.width, plan.strip_pixels)
        else:
            rows = checked_strip_height(self.strip_height, image.height)
        header = file.Header(image.pixel_format, image.width, image.height, n_colors, rows)
        palette = encode_palette(image.palette)
        strips = encode_strips(
            image.indices,
            image.palette,
            plan.methods,
            rows,
            self.limits.decisions,
            self.n_threads,
        )
        return file.pack_file(header, palette, image.metadata, strips, self.limits)


@dataclass(frozen=True)
class PictureCoding:
    """How to make a picture file that other programs open.

    Attributes:
        most_colors: colours at most that a search for a target may use: those of a palette.
        context_share: how much contexts say about what pixels cost.
        path: name of the file, whose suffix says its kind.
        effort: time to take.
        keeps_order: whether the entries of the palette keep their order.
        limits: how many pixels it may have.
    """

    most_colors: ClassVar[int] = 256
    context_share: ClassVar[float] = MATCHERS_CONTEXT

    path: str
    effort: Effort
    keeps_order: bool
    limits: Limits

    def pieces(self, image: IndexedImage) -> list[bytes]:
        """Return the file; raise InputError if one of that kind cannot hold the image."""
        check_pixels(self.limits, image.width, image.height)
        content = writing.picture_file(image, self.path, self.effort, keeps_order=self.keeps_order)
        return [content]


def checked_strip_height(strip_height: int, height: int) -> int:
    """Return the rows of a strip, at most those of the picture."""
    rows = min(strip_height, height)
    if rows * MAX_STRIPS < height:
        raise InputError(
            f"strip_height is {strip_height}, which cuts the picture's {height} rows into more "
            f"than {MAX_STRIPS} strips"
        )
    return rows
