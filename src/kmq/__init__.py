"""Colour quantization and palette image compression at the speed of the hardware.

>>> import kmq
>>> image = kmq.quantize("photo.png", k=64)
>>> kmq.write("photo.kmq", image)
>>> kmq.read("photo.kmq").to_pillow().show()

Names are imported on first use: ``import kmq`` loads neither numba nor Pillow.
"""

from __future__ import annotations

from importlib import import_module

import kmq.forks  # noqa: F401  # first of all: it readies the process for forks

TYPE_CHECKING = False  # to import it from typing would take a third of what `kmq --version` does
if TYPE_CHECKING:
    from typing import Any

    from kmq.errors import (
        ColorWarning,
        FormatError,
        InputError,
        KmqError,
        LimitError,
        MetadataWarning,
        MissingExtraError,
        NewerFormatError,
        SalvageWarning,
    )
    from kmq.estimator import KMeans
    from kmq.files import decode, encode, info, read, read_region, write
    from kmq.frames import quantize_frames, read_frames, write_frames
    from kmq.labels import decode_labels, encode_labels, read_labels, write_labels
    from kmq.model.file_info import FileInfo, Limits
    from kmq.model.histogram import ColorHistogram
    from kmq.model.image import IndexedImage, Metadata, QuantizedImage, Report
    from kmq.model.palette import Palette
    from kmq.model.pixel_format import PixelFormat
    from kmq.palettes import read_palette, write_palette
    from kmq.points import accumulate, assign, kmeans
    from kmq.quantizing import ErrorCurve, choose_k, error_curve, fit_palette, quantize
    from kmq.stages.palette.clustering import KMeansResult
    from kmq.values import Dither, Fewest, Optimize, Rate, Require, Space, Start

__version__ = "0.1.0"

_HOMES = {
    "kmq.quantizing": ("ErrorCurve", "choose_k", "error_curve", "fit_palette", "quantize"),
    "kmq.points": ("accumulate", "assign", "kmeans"),
    "kmq.stages.palette.clustering": ("KMeansResult",),
    "kmq.errors": (
        "ColorWarning",
        "FormatError",
        "InputError",
        "KmqError",
        "LimitError",
        "MetadataWarning",
        "MissingExtraError",
        "NewerFormatError",
        "SalvageWarning",
    ),
    "kmq.estimator": ("KMeans",),
    "kmq.files": ("decode", "encode", "info", "read", "read_region", "write"),
    "kmq.frames": ("quantize_frames", "read_frames", "write_frames"),
    "kmq.labels": ("decode_labels", "encode_labels", "read_labels", "write_labels"),
    "kmq.model.file_info": ("FileInfo", "Limits"),
    "kmq.model.histogram": ("ColorHistogram",),
    "kmq.model.image": ("IndexedImage", "Metadata", "QuantizedImage", "Report"),
    "kmq.model.palette": ("Palette",),
    "kmq.model.pixel_format": ("PixelFormat",),
    "kmq.palettes": ("read_palette", "write_palette"),
    "kmq.values": ("Dither", "Fewest", "Optimize", "Rate", "Require", "Space", "Start"),
}
_MEANT = {
    **dict.fromkeys(("load", "open", "imread"), "read"),
    **dict.fromkeys(("save", "imwrite"), "write"),
    **dict.fromkeys(("Image", "PalettedImage"), "IndexedImage"),
    **dict.fromkeys(("palette", "extract_palette", "get_palette"), "fit_palette"),
    **dict.fromkeys(("compress", "dumps"), "encode"),
    **dict.fromkeys(("decompress", "loads"), "decode"),
}
"""What other libraries call what kmq has."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ColorHistogram",
    "ColorWarning",
    "Dither",
    "ErrorCurve",
    "Fewest",
    "FileInfo",
    "FormatError",
    "IndexedImage",
    "InputError",
    "KMeans",
    "KMeansResult",
    "KmqError",
    "LimitError",
    "Limits",
    "Metadata",
    "MetadataWarning",
    "MissingExtraError",
    "NewerFormatError",
    "Optimize",
    "Palette",
    "PixelFormat",
    "QuantizedImage",
    "Rate",
    "Report",
    "Require",
    "SalvageWarning",
    "Space",
    "Start",
    "accumulate",
    "assign",
    "choose_k",
    "decode",
    "decode_labels",
    "encode",
    "encode_labels",
    "error_curve",
    "fit_palette",
    "info",
    "kmeans",
    "quantize",
    "quantize_frames",
    "read",
    "read_frames",
    "read_labels",
    "read_palette",
    "read_region",
    "write",
    "write_frames",
    "write_labels",
    "write_palette",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use and keep it."""
    home = _HOME_OF.get(name)
    if home is None:
        hint = f"; did you mean kmq.{_MEANT[name]}?" if name in _MEANT else ""
        raise AttributeError(f"module 'kmq' has no attribute {name!r}{hint}", name=name)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not, and nothing that this module needs itself."""
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
