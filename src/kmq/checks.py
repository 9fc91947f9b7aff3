"""Checks that several doors share: numbers, seeds, k-means options, points, names of files."""

from __future__ import annotations

import inspect
import operator
import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from kmq.errors import InputError, InputTypeError
from kmq.model.arrays import Array, contiguous
from kmq.model.choices import ON_ERROR

P = ParamSpec("P")
T = TypeVar("T")

MAX_SEED = 2**32 - 1
"""Largest seed: what the Mersenne Twister takes in one word."""

_NARROW = "?bBhHef"
"""Type codes whose every value float32 holds exactly."""

_WIDE = "iIlLqQd"
"""Type codes that become float64."""

_WIDEST = 8
"""Bytes of the widest numbers that are computed with."""

_MISSING = ("NAType", "NaTType")
"""Types of pandas for values that are missing."""

MAX_WEIGHT = 1e9
"""How much a pixel or a channel may count: float32 holds squared distances times that."""

_ELSEWHERE = {
    "k": (
        "n_colors",
        "num_colors",
        "colors",
        "n_clusters",
        "num_clusters",
        "ncolors",
    ),
    "max_colors": ("k_max", "max_k"),
    "seed": ("random_state", "random_seed", "rng"),
    "n_threads": ("n_jobs", "num_threads", "threads", "workers", "n_workers"),
    "max_iter": ("iterations", "n_iter", "max_iters", "max_iterations"),
    "tol": ("tolerance", "eps", "epsilon"),
    "init": ("init_method", "initialization", "centroids"),
    "effort": ("speed", "level", "compression", "compress_level"),
    "require": ("fixed_colors",),
    "space": ("color_space", "colour_space", "colorspace"),
    "weights": ("sample_weight", "sample_weights", "importance", "importance_map", "mask"),
    "size": ("target_size", "max_size", "max_bytes", "filesize"),
    "bpp": ("bits_per_pixel",),
    "quality": ("ssim", "ssimulacra2", "q"),
    "max_mse": ("mse", "max_error"),
    "page": ("frame", "page_number"),
    "pixel_format": ("mode", "format"),
    "progress": ("callback", "verbose"),
}
"""What other programs call what kmq takes."""

_GROUPED = {
    "k=kmq.Fewest(psnr=...)": ("psnr",),
    "k=kmq.Fewest(max_mse=...)": ("max_mse", "mse", "max_error"),
    "mapping=kmq.Dither(...)": ("dither", "dithering", "dither_method"),
    "mapping=kmq.Rate(...)": ("rate", "lam", "lambda_"),
    "start=kmq.Start(init=...)": ("init", "init_method"),
    "start=kmq.Start(n_init=...)": ("n_init",),
    "start=kmq.Start(max_iter=...)": ("max_iter", "n_iter", "max_iterations"),
    "start=kmq.Start(tol=...)": ("tol",),
    "start=kmq.Start(seed=...)": ("seed", "random_state", "random_seed", "rng"),
    "require=kmq.Require(fixed=...)": ("fixed",),
    "require=kmq.Require(snap=True)": ("snap",),
    "require=kmq.Require(posterize=...)": ("posterize",),
    "space=kmq.Space(channel_weights=...)": ("channel_weights",),
}
"""How an option is written that is part of a value, by the names that are tried instead."""

_MOST_BITS_TOLD = 128
"""Bits of a number that messages spell out."""

_LARGEST = {"f": 1e18, "d": 1e150}
"""Largest coordinate by float type: squared distances of up to a hundred channels stay finite."""


def hinting(*more: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a door, so that an argument of an unknown name is told with the name that is meant.

    `more` are names that its signature does not list.
    """

    def decorate(door: Callable[P, T]) -> Callable[P, T]:
        parameters = inspect.signature(door).parameters.values()
        known = {item.name for item in parameters if item.kind is not item.VAR_KEYWORD} | {*more}

        @wraps(door)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            refuse_unknown(door.__name__, kwargs, known)
            return door(*args, **kwargs)

        return call

    return decorate


def refuse_unknown(door: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for the first name that the door does not know."""
    known = set(known)
    for name in given:
        if name not in known:
            hint = f"; did you mean {word}?" if (word := meant(name, known)) else ""
            raise TypeError(f"{door}() got an unexpected keyword argument {name!r}{hint}")


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return how what an unknown name most likely means is written with the known ones, if any."""
    known = set(known)
    for spelling, names in _GROUPED.items():
        if name.lower() in names and spelling.partition("=")[0] in known:
            return spelling
    from difflib import get_close_matches  # rarely wanted, and slow to import

    near = [word for word, others in _ELSEWHERE.items() if name.lower() in others]
    near += get_close_matches(name, sorted(known), 1, 0.75)
    return next((word for word in near if word in known), None)


def given(value: Any, default: Any) -> Any:
    """Return `value`, or the default where it is None: not given."""
    return default if value is None else value


def whole_number(value: Any, name: str, low: int, high: int) -> int:
    """Return `value` as an int in low … high.

    Raises:
        TypeError: it is no integer (a bool is none either).
        InputError: it is out of range.
    """
    if isinstance(value, bool | np.bool_):  # first: NumPy warns of its own where a number is wanted
        raise TypeError(f"{name} is a bool; it must be a whole number from {low} to {high}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is {type(value).__name__}; it must be a whole number from {low} to {high}"
        ) from None
    if not low <= number <= high:
        # Python writes out numbers of up to 4,300 digits alone.
        told = number if number.bit_length() <= _MOST_BITS_TOLD else f"{number:#x}"[:20] + "…"
        raise InputError(f"{name} is {told}; it must be from {low} to {high}")
    return number


def optional(value: Any, name: str, most: int) -> int | None:
    """Return None, or `value` as an int in 1 … `most`; raise TypeError or InputError."""
    return None if value is None else whole_number(value, name, 1, most)


def one_of(value: Any, name: str, choices: tuple[T, ...]) -> T:
    """Return `value` if it is one of these strings, or raise TypeError or InputError."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {type(value).__name__}; it must be {either(choices)}")
    for choice in choices:
        if choice == value:
            return choice
    raise InputError(f"{name} is {value!r}; it must be {either(choices)}")


def salvaging(on_error: Any) -> bool:
    """Whether the rest of a damaged file is wanted; raise InputError or TypeError."""
    return on_error is not None and one_of(on_error, "on_error", ON_ERROR) == "salvage"


def either(choices: Iterable[Any], *more: str) -> str:
    """Write the choices: strings in quotes, and `more` as it stands."""
    words = [*map(repr, choices), *more]
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def flag(value: Any, name: str) -> bool:
    """Return `value` as a bool, or raise TypeError."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {type(value).__name__}; it must be True or False")
    return bool(value)


def progress(value: Any) -> Callable[[str, float], None] | None:
    """Return `value` if it is None or can be called, or raise TypeError."""
    if value is None or callable(value):
        call: Callable[[str, float], None] | None = value
        return call
    raise TypeError(
        f"progress is {type(value).__name__}; it must be a function of a stage and a fraction"
    )


def suffix(path: str | os.PathLike[str], suffixes: tuple[str, ...], files: str) -> None:
    """Check that the suffix of a file to be written fits its content, if it has one.

    A name without a suffix says nothing, and pipes and devices hold whatever comes.

    Raises:
        InputError: the name ends in the suffix of another kind of file.
    """
    name = os.fsdecode(path)
    ending = os.path.splitext(name)[1]
    is_special = os.path.exists(name) and not os.path.isfile(name)
    if ending and ending.lower() not in suffixes and not is_special:
        known = " or ".join(filter(None, [", ".join(suffixes[:-1]), suffixes[-1]]))
        raise InputError(f"{name} has the suffix {ending}; {files} have {known}")


def tolerance(value: Any) -> float:
    """Return `value` as a finite float of at least 0, or raise TypeError or InputError."""
    return number(value, "tol", 0.0)


def positive(value: Any, name: str) -> float:
    """Return `value` as a finite float above 0, or raise TypeError or InputError."""
    converted = number(value, name, 0.0)
    if converted == 0:
        raise InputError(f"{name} is {value}; it must be above 0")
    return converted


def number(value: Any, name: str, low: float) -> float:
    """Return `value` as a finite float of at least `low`, or raise TypeError or InputError."""
    if not _is_number(value):
        raise TypeError(
            f"{name} is {type(value).__name__}; it must be a number of at least {low:g}"
        )
    try:
        converted = float(value)
    except OverflowError:  # an int of more than 308 digits
        converted = np.inf
    if not low <= converted < np.inf:
        raise InputError(f"{name} is {converted:g}; it must be a finite number of at least {low:g}")
    return converted


def fraction(value: Any, name: str) -> float:
    """Return `value` as a float in 0 … 1, or raise TypeError or InputError."""
    return within(value, name, 0, 1)


def within(value: Any, name: str, low: float, high: float) -> float:
    """Return `value` as a float from `low` to `high`, or raise TypeError or InputError."""
    if not _is_number(value):
        raise TypeError(
            f"{name} is {type(value).__name__}; it must be a number from {low:.15g} to {high:.15g}"
        )
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; it must be from {low:.15g} to {high:.15g}")
    return float(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.timedelta64):  # which count as whole numbers elsewhere
        return False
    return isinstance(value, int | float | np.integer | np.floating)


def init_name(init: str, methods: tuple[str, ...]) -> str:
    """Return the name of a start, or raise InputError."""
    if init not in methods:
        raise InputError(f"init is {init!r}; it must be {either(methods, 'an array')}")
    return init


def init_method(
    init: Any, methods: tuple[str, ...], k: int, d: int, dtype: Any = np.float32
) -> str | Array:
    """Return the name of a start, or the (k, d) float64 centroids given as one.

    `dtype` is the float type of the points, which bounds the centroids too.
    """
    if isinstance(init, str):
        return init_name(init, methods)
    return init_centroids(init, k, d, dtype)


def init_centroids(init: Any, k: int, d: int, dtype: Any) -> Array:
    """Return centroids that are given as a start as (k, d) float64; see `init_method`."""
    centroids = float_rows(init, "init", dtype).astype(np.float64)
    if centroids.shape != (k, d):
        raise InputError(f"init has shape {centroids.shape}; it must be ({k}, {d})")
    return centroids


def as_array(values: Any, name: str) -> Array:
    """Return `values` as an array, or raise InputError where they form none."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not an array: its rows differ in length") from error
    refuse_mask(values, name)
    return array


def refuse_mask(values: Any, name: str) -> None:
    """Raise InputError for a masked array that masks something, which kmq would take for values."""
    ma: Any = sys.modules.get("numpy.ma")  # who has such an array has imported it, as a whole
    if isinstance(values, getattr(ma, "MaskedArray", ())) and ma.is_masked(values):
        n_masked = np.count_nonzero(ma.getmaskarray(values))
        raise InputError(
            f"{name} has {n_masked} masked values; kmq takes no masked arrays: fill it with "
            "filled(…), and leave values out by a weight of 0"
        )


def real_numbers(values: Any, name: str) -> Array:
    """Return `values` as an array of real numbers: objects, text and long floats become float64.

    Raises:
        InputTypeError: a value is not a number.
        InputError: complex numbers, or missing ones as pandas has them.
    """
    array = as_array(values.toarray() if hasattr(values, "toarray") else values, name)
    if array.dtype.kind == "c":
        raise InputError(
            f"Complex data not supported: {name} has dtype {array.dtype}; it must be real"
        )
    if array.ndim and (array.dtype.kind not in "biuf" or array.dtype.itemsize > _WIDEST):
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            _refuse_missing(array, name)
            raise InputTypeError(f"{name} has a value that is not a number: {error}") from error
    return array


def _refuse_missing(array: Array, name: str) -> None:
    """Raise InputError where a value is missing as pandas has it, which is no number at all."""
    for row, values in enumerate(array.reshape(len(array), -1).tolist()):
        if any(type(value).__name__ in _MISSING for value in values):
            raise InputError(
                f"{name} has a missing value in row {row}; NaN, NA and NaT have no distances: fill "
                "them or leave the row out"
            )


def float_rows(values: Any, name: str, dtype: Any = None, first_row: int = 0) -> Array:
    """Return `values` (n, d) as C-ordered native float32 or float64, not copied where it is so.

    8- and 16-bit types and float32 become float32, others float64, unless `dtype` says which; so
    both hold the values exactly (integers up to 2^53). `first_row` is where they begin among all.

    Raises:
        TypeError: not an array of numbers.
        InputError: not two-dimensional, empty, not finite, or too large for distances to be finite.
    """
    array = as_array(values, name)
    if array.dtype.char not in _NARROW + _WIDE:
        raise TypeError(
            f"{name} has dtype {array.dtype}; it must be bool, integer, float32 or float64"
        )
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}; it must be (n, d) with both above 0")
    if dtype is None:
        dtype = np.float32 if array.dtype.char in _NARROW else np.float64
    _check_range(array, np.dtype(dtype), name, first_row)
    return contiguous(array, dtype)


def _check_range(array: Array, computed: np.dtype[Any], name: str, first_row: int) -> None:
    low, high = array.min().item(), array.max().item()
    if not (np.isfinite(low) and np.isfinite(high)):
        row = first_row + int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(
            f"{name} has a value that is not finite in row {row}; NaN and inf have no distances"
        )
    largest = max(-low, high)
    whole = array.dtype.kind in "biu"
    limit = 2.0**53 if whole else _LARGEST[computed.char]
    if largest > limit:
        raise InputError(
            f"{name} has a value of magnitude {largest:.3g}; {array.dtype if whole else computed} "
            f"goes up to {limit:.3g} here, so that squared distances stay exact and finite: scale "
            "the values first"
        )


def point_weights(weights: Any, n_points: int) -> Array:
    """Return `weights` as (n,) float64; None gives an empty array, which kernels take as all 1.

    Raises:
        TypeError: not an array of numbers.
        InputError: the wrong length, negative, not finite, or all zero.
    """
    if weights is None:
        return np.empty(0)
    array = as_array(weights, "weights")
    if array.dtype.char not in _NARROW + _WIDE:
        raise TypeError(f"weights have dtype {array.dtype}; they must be real numbers")
    if array.shape != (n_points,):
        raise InputError(f"weights have shape {array.shape}; they must be ({n_points},)")
    checked = contiguous(array, np.float64)
    with np.errstate(over="ignore"):
        total = checked.sum()
    if not (checked.min() >= 0 and np.isfinite(total)):
        raise InputError(
            "weights have a negative or non-finite value or sum; all must be 0 or more"
        )
    if not checked.any():
        raise InputError("weights are all 0; at least one point must count more than zero")
    return checked
