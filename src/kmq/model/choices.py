"""Choices that every part of kmq offers in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

Progress = Callable[[str, float], None]
"""Called with a stage's name and the fraction of it that is done; may raise to stop the work."""


Effort = Literal["fast", "balanced", "best"]


OnError = Literal["raise", "salvage"]


ON_ERROR: tuple[OnError, ...] = get_args(OnError)
"""What to do about a damaged file."""


DitherMethod = Literal["diffusion", "ordered"]


MappingName = Literal["nearest", "dither", "ordered", "optimized"]


EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""How much time to take, for a palette and for the coded indices."""


DITHER_METHODS: tuple[DitherMethod, ...] = get_args(DitherMethod)
"""How colours are mixed from those of a palette."""

PICTURES = (".png", ".gif", ".webp")
"""Suffixes of the files that `kmq.write` writes besides .kmq files."""


def is_picture(path: str) -> bool:
    """Whether the name is that of one of those."""
    return path.lower().endswith(PICTURES)
