"""What a file says of its colours besides a colour profile: PNG's chunks cICP, sRGB, gAMA, cHRM.

kmq keeps them and converts nothing: it takes samples for sRGB, as Pillow does. `departure` says
where the file means something else.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from kmq import checks
from kmq.errors import InputError
from kmq.model.image import Metadata

INTENTS = ("perceptual", "relative colorimetric", "saturation", "absolute colorimetric")
"""Rendering intents, by their numbers in ICC profiles and in PNG."""

UNIT = 100_000
"""Parts of 1 in which PNG and .kmq files keep gamma and chromaticities."""

_MOST = 2**31 - 1

_SRGB_GAMMA = 1 / 2.2
_SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_GAMMA_TOLERANCE = 0.05  # of the exponent; less is not seen (PNG, 3rd edition, 13.13)
_PLACE_TOLERANCE = 0.01  # BT.601 and sRGB are that near to each other

_SRGB_PRIMARIES = (1, 2)  # BT.709; unspecified
_SRGB_TRANSFERS = (1, 2, 4, 6, 13, 14, 15)  # those about a gamma of 2.2, and unspecified
_TRANSFERS = {8: "linear light", 16: "PQ, high dynamic range", 18: "HLG, high dynamic range"}
_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


NAMES = ("gamma", "chromaticities", "srgb", "cicp")
"""Fields of `Metadata` that are meant here."""


def check(name: str, value: Any) -> None:
    """Raise InputError or TypeError unless the value is what `Metadata` says of that field."""
    if name == "srgb":
        checks.one_of(value, name, INTENTS)
    elif name == "gamma":
        _check_number(name, value)
    elif not isinstance(value, tuple | list):
        raise TypeError(f"{name} is {type(value).__name__}; it must be a tuple of numbers")
    elif len(value) != (wanted := 4 if name == "cicp" else 8):
        raise InputError(f"{name} has {len(value)} numbers; it must have {wanted}")
    else:
        for number in value:
            if name == "cicp":
                checks.whole_number(number, "a number of cicp", 0, 255)
            else:
                _check_number("a number of chromaticities", number)


def _check_number(name: str, value: Any) -> None:
    if checks.number(value, name, 0) > _MOST / UNIT:
        raise InputError(f"{name} is {value}; it must be 0 to {_MOST / UNIT}")


def from_info(info: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the fields of `Metadata` that Pillow's `info` has sound values for."""
    intent = info.get("srgb")
    given = {
        "gamma": info.get("gamma") or None,  # 0 says nothing
        "chromaticities": info.get("chromaticity"),
        "srgb": INTENTS[intent] if isinstance(intent, int) and intent in range(4) else None,
        "cicp": info.get("cicp"),
    }
    tags = {}
    for name, value in given.items():
        if value is not None:
            with contextlib.suppress(InputError, TypeError):
                check(name, value)
                tags[name] = value
    return tags


def to_info(metadata: Metadata) -> dict[str, Any]:
    """Return the same under Pillow's keys; it has none for cicp."""
    intent = None if metadata.srgb is None else INTENTS.index(metadata.srgb)
    return {
        "gamma": metadata.gamma,
        "chromaticity": metadata.chromaticities,
        "srgb": intent,
        "cicp": metadata.cicp,
    }


def png_chunks(metadata: Metadata) -> bytes:
    """Return the chunks of a PNG, which stand behind its header."""
    chunks = []
    if metadata.cicp is not None:
        chunks.append(b"cICP" + bytes(metadata.cicp))
    if metadata.srgb is not None and metadata.icc_profile is None:  # there is one or the other
        chunks.append(b"sRGB" + bytes([INTENTS.index(metadata.srgb)]))
    if metadata.gamma is not None:
        chunks.append(b"gAMA" + struct.pack(">I", round(metadata.gamma * UNIT)))
    if metadata.chromaticities is not None:
        places = (round(place * UNIT) for place in metadata.chromaticities)
        chunks.append(b"cHRM" + struct.pack(">8I", *places))
    return b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def departure(metadata: Metadata, *, is_grey: bool) -> str | None:
    """Return in what the colours are other than sRGB, or None; a profile speaks for itself."""
    departures = []
    if metadata.cicp is not None:
        primaries, transfer = metadata.cicp[:2]
        if transfer not in _SRGB_TRANSFERS:
            name = _TRANSFERS.get(transfer, "another curve")
            departures.append(f"transfer characteristics {transfer} ({name})")
        if primaries not in _SRGB_PRIMARIES and not is_grey:
            departures.append(
                f"primaries {primaries} ({_PRIMARIES.get(primaries, 'not those of sRGB')})"
            )
    elif metadata.icc_profile is None and metadata.srgb is None:
        gamma, places = metadata.gamma, metadata.chromaticities
        if gamma is not None and abs(gamma / _SRGB_GAMMA - 1) > _GAMMA_TOLERANCE:
            departures.append(f"a gamma of {gamma:g}")
        if places is not None and not is_grey:
            pairs = zip(places, _SRGB_CHROMATICITIES, strict=True)
            if max(abs(place - usual) for place, usual in pairs) > _PLACE_TOLERANCE:
                departures.append("primaries that are not those of sRGB")
    return " and ".join(departures) or None
