"""The names of the doors' options, and which of them cannot stand together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kmq.errors import InputError

ERRORS = ("psnr", "max_mse")
"""What a file may have to reach of squared error."""

QUALITIES = ("quality", *ERRORS)
"""What a file may have to reach, as small as that goes."""

TARGETS = ("size", "bpp", *QUALITIES)
"""Targets of `encode` and `write` for a file; there can be one."""

QUANTIZE = (
    *("k", "effort", "space", "weights", "palette", "require", "start", "mapping"),
    *("pixel_format", "page", "n_threads", "limits", "progress"),
)
"""Options of `kmq.quantize`."""

FILE = ("method", "strip_height", *TARGETS, "max_colors")
"""Options that `kmq.encode` and `kmq.write` have besides."""


class Contradiction(NamedTuple):
    """Options that exclude each other: any of `these` and any of `those`."""

    these: tuple[str, ...]
    those: tuple[str, ...]
    because: str


CONTRADICTIONS = (
    Contradiction(
        ("palette",),
        (
            *("k", "fewest", "max_colors", "effort", "weights", "fixed", "snap", "posterize"),
            *("start", *QUALITIES),
        ),
        "pixels are only mapped to a given palette",
    ),
    Contradiction(("start",), ("effort",), "plain k-means from a start does not search"),
    Contradiction(("start",), ("fixed",), "fixed colours need a search"),
    Contradiction(("init",), ("fewest", *QUALITIES), "the colours to start from set their number"),
    Contradiction(("k", "fewest"), (*QUALITIES, "max_colors"), "each sets the number of colours"),
    Contradiction(("k",), ("fewest",), "each sets the number of colours"),
    Contradiction(("fewest",), ("size", "bpp"), "each sets the number of colours"),
    Contradiction(
        ("dither",),
        ("fewest", *TARGETS),
        "dithering makes the error and the file larger",
    ),
    Contradiction(("rate",), ("fewest", *TARGETS), "kmq chooses λ itself to meet a target"),
    Contradiction(
        ("optimize",),
        ("fewest", *TARGETS),
        "optimised mapping is for how a picture looks, not for its error per pixel or its size",
    ),
    Contradiction(("optimize",), ("dither",), "both say how entries are mixed"),
    Contradiction(("rate",), ("dither",), "one saves bits, the other spends them on a texture"),
    *(
        Contradiction((name,), TARGETS[number + 1 :], "a file has one target")
        for number, name in enumerate(TARGETS[:-1])
    ),
)
"""What cannot be combined, for Python and the command line.

Besides names of arguments there are words for what these may hold: "fewest" (a `Fewest` as k),
"fixed", "snap" and "posterize" (of a `Require`), "init" (colours of a `Start`), "dither", "rate"
and "optimize" (kinds of mapping).
"""


def refuse_contradictions(given: Mapping[str, str]) -> None:
    """Raise InputError if options contradict each other.

    `given` has the words of `CONTRADICTIONS` that are given, each with the caller's name for it.
    """
    for these, those, because in CONTRADICTIONS:
        if given.keys().isdisjoint(these):
            continue
        named = _spelled(these, given)
        contrary = _spelled(those, given)
        if named and contrary:
            names = [*named, *contrary]
            both = " both" if len(names) == 2 else ""
            raise InputError(f"{' and '.join(names)} are{both} given; {because}")


def _spelled(words: Iterable[str], given: Mapping[str, str]) -> list[str]:
    """Return the names of those words that are given, each name once."""
    return list(dict.fromkeys(given[word] for word in words if word in given))
