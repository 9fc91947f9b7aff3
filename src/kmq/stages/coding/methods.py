"""The methods of chunk S, described in FORMAT.md, and which of them suit a picture.

A method is one entry of `STRIP_METHODS`; a new one is a new entry, and files that use it ask older
readers for a newer kmq.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from kmq.errors import InputError
from kmq.model.arrays import Array
from kmq.model.file_info import MAX_STRIPS
from kmq.model.image import MAX_COLORS
from kmq.stages.coding import label, mix, rank
from kmq.stages.coding.deflate import DeflateCoder

MethodName = Literal["deflate", "rank", "mix", "label"]


class StripCoder(Protocol):
    """Codes strips of one palette; used by several threads at once.

    Work is what a strip takes beyond what its size promises, in decisions of method "mix"; other
    methods take none.
    """

    def encode(self, indices: Array, most_work: int | None = None) -> bytes | None:
        """Code (rows, width) indices, C order, of the palette's index type.

        Return None if it took more work than that to decode them.
        """

    def fewest_bytes(self, n_pixels: int) -> int:
        """Return how many coded bytes that many pixels take at the very least."""

    def decode(self, coded: memoryview, out_indices: Array, most_work: int | None = None) -> int:
        """Fill (rows, width) indices; return the work, or as soon as it is known to be more than
        `most_work`, some that is more; raise FormatError if the bytes cannot be theirs.
        """


class StripMethod(NamedTuple):
    """One way to code a strip.

    Attributes:
        code: the first byte of the payload of chunk S.
        name: what `method=` calls it.
        strip_pixels: pixels of a strip, about, unless the caller says otherwise.
        prepare: makes the coder for a (k, channels) palette, once per file.
        most_colors: most entries of a palette it is for.
    """

    code: int
    name: MethodName
    strip_pixels: int
    prepare: Callable[[Array], StripCoder]
    most_colors: int = MAX_COLORS


STRIP_METHODS = (
    StripMethod(0, "deflate", 1 << 18, DeflateCoder),
    StripMethod(1, "rank", 1 << 20, rank.RankCoder, rank.MAX_COLORS),
    StripMethod(2, "mix", 1 << 21, mix.MixCoder),
    StripMethod(3, "label", 1 << 20, label.LabelCoder),
)
"""What a strip can be coded by."""

_MIX_PIXELS = 1 << 21
"""Pixels up to which "balanced" has "mix"."""

_LEAST_HALF = 1 << 17
"""Pixels from which half a picture is a strip. Two cores then share it, for 1 % of its size if it
is a photograph, 5 % if it is drawn; four strips would cost twice that."""

_LONG_STRIP = 1 << 22
"""Pixels of a strip of label maps where size matters most."""

_FEW_PIXELS = 1 << 16
"""Pixels up to which "rank" may be smaller than "mix", which has to learn: by up to 9 %."""


def strip_method(name: str) -> StripMethod:
    """Look a method up by its name.

    Raises:
        InputError: there is none of that name.
    """
    for method in STRIP_METHODS:
        if method.name == name:
            return method
    names = ", ".join(method.name for method in STRIP_METHODS)
    raise InputError(f"there is no method {name!r}; kmq has {names}")


class StripPlan(NamedTuple):
    """How to code the strips of a picture.

    Attributes:
        methods: those to try on each strip; the smallest result is kept.
        strip_pixels: pixels of a strip, about.
    """

    methods: tuple[StripMethod, ...]
    strip_pixels: int


def plan_strips(name: str | None, effort: str, n_pixels: int, n_colors: int) -> StripPlan:
    """Choose methods and strips by the name of a method, or by effort if it is None.

    With more colours than "rank" has tables for, it means "label". "mix" is the smallest and "rank"
    ten times as fast, so "balanced" has "mix" for pictures up to two megapixels, and "best" always.
    Such pictures are cut in two, but not with "best".

    Raises:
        InputError: there is no method of that name.
    """
    if name is not None:
        method = strip_method(name)
        if method.name == "rank" and n_colors > method.most_colors:
            method = strip_method("label")
        return StripPlan((method,), method.strip_pixels)
    deflate, mix = strip_method("deflate"), strip_method("mix")
    quick = quick_methods(n_colors)
    methods = (mix, *quick) if n_pixels <= _FEW_PIXELS else (mix, deflate)
    if effort == "fast" or (effort == "balanced" and n_pixels > _MIX_PIXELS):
        methods = quick
    small = effort != "best" and n_pixels <= _MIX_PIXELS
    strip_pixels = max(n_pixels // 2, _LEAST_HALF) if small else methods[0].strip_pixels
    return StripPlan(methods, strip_pixels)


def plan_label_strips(name: str | None, effort: str, n_pixels: int, n_colors: int) -> StripPlan:
    """Choose methods and strips of a label map as `plan_strips` does for pictures.

    "label" is the smallest, except where patterns repeat. "fast" cuts maps in two as well, so that
    two cores share them, for 1 to 5 % of the size.

    Raises:
        InputError: there is no method of that name.
    """
    if name is not None:
        return plan_strips(name, effort, n_pixels, n_colors)
    label = strip_method("label")
    quick = quick_methods(n_colors)
    if effort == "best":
        return StripPlan((label, strip_method("mix"), *quick), _LONG_STRIP)
    if effort == "balanced" or n_colors == 1:
        return StripPlan((label, *quick), label.strip_pixels)
    return StripPlan((label,), min(max(n_pixels // 2, _LEAST_HALF), label.strip_pixels))


def quick_methods(n_colors: int) -> tuple[StripMethod, ...]:
    """Return the methods that take little time for palettes of so many colours."""
    deflate, rank = strip_method("deflate"), strip_method("rank")
    return (rank, deflate) if n_colors <= rank.most_colors else (deflate,)


def even_strip_height(height: int, width: int, strip_pixels: int) -> int:
    """Return the rows of strips of about `strip_pixels` pixels and about equal size."""
    n_strips = min(max(1, round(height * width / strip_pixels)), height, MAX_STRIPS)
    return -(-height // n_strips)
