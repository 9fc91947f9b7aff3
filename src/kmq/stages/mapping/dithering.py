"""Colours and palette → indices that mix entries to look, from afar, like the colours between.

Two methods. "diffusion" passes each pixel's error on to its neighbours (Floyd & Steinberg 1976) in
serpentine order. "ordered" lets each colour be shown by three entries and a mask of blue noise
(Ulichney 1993) say which of them a pixel gets. docs/DITHER.md lists other ways that were tried.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from kmq import exact
from kmq.model import alpha
from kmq.model.image import index_dtype
from kmq.model.morton import interleaved
from kmq.threads import run_chunks

Array = np.ndarray[Any, Any]

ROW = 4
"""Numbers of a colour in the kernels, whatever the pixel format; unused ones are 0."""

CHANNELS = (0,) * ROW

_MOST_PASSED_ON = 9.0
"""Squared error, in mean squared errors of the palette, beyond which no more of it is passed on."""

BAND_ROWS = 128
"""Rows of a band at least. Bands are dithered at the same time, each for itself."""

_RUN_UP = 16
"""Rows above a band that are run for the errors they leave, as if there were no band above."""

_CELL_BITS, _MANY_CELL_BITS, _MANY_ENTRIES = 16, 18, 4096
"""Bits that name a cell of the search, for few and for many entries."""

_ROOM = 8
"""Candidates a cell that there is room for at first; few palettes need more."""

_MOST_CANDIDATES = 1 << 23
"""Candidates of all cells at most (16 MiB): cells stay larger where there would be more. A palette
that fills the box has four million; one that is a dot in it is all in every cell, however small."""

MASK_SIDE = 64
"""Pixels of the mask's side; it is repeated."""

_MASK_SIGMA = 1.0
"""Spread of a point's energy in the mask, in pixels. Ulichney has 1.5; this looks finer."""

_NOISE, _NEAR = 0.35, 20.0
"""How much of the variance of a mixture with a distant entry counts as error with "ordered", and
the squared distance, in mean squared errors of the palette, at which it is half as much: far
entries would be single dots that stand out."""

_MIXED_COLORS = 1 << 13
"""Colours of a chunk at least for which mixtures are found."""

_NEIGHBOURS = 24
"""Entries near the nearest that a colour may be mixed of with "ordered"."""


class Mapping(NamedTuple):
    """The distinct colours, the palette, and the entry of each colour without dithering.

    Attributes:
        colors: (m, channels) coordinates in which distances are meant.
        entries: (k, channels) coordinates of the palette.
        labels: (m,) int32: the nearest entry of each colour.
        counts: (m,): how often each colour is seen.
        kept: (m,) bool: colours that show their label whatever is around them.
        kinds: (m,) uint8 of `kmq.model.alpha`: what each colour is.
        entry_kinds: (k,) uint8: what each entry is.
    """

    colors: Array
    entries: Array
    labels: Array
    counts: Array
    kept: Array
    kinds: Array
    entry_kinds: Array


class Dithered(NamedTuple):
    """What became of the pixels: (height, width) indices, and (k,) bool which entries occur."""

    indices: Array
    used: Array


class Dither(NamedTuple):
    """How to dither: the method, one of `DITHER_METHODS`, and the strength, up to 1."""

    method: str
    strength: float


def dithered(ids: Array, mapping: Mapping, how: Dither, n_threads: int) -> Dithered:
    """Dither the picture whose pixels show the colours `ids` (height, width) uint32."""
    rows = _Rows.of(mapping)
    work = _diffusion if how.method == "diffusion" else _ordered
    indices = np.empty(ids.shape, index_dtype(len(mapping.entries)))
    used = np.zeros(len(mapping.entries), np.uint8)
    work(ids, mapping, rows, how.strength, n_threads, indices, used)
    return Dithered(indices, used.astype(np.bool_))


class _Rows(NamedTuple):
    """Colours and entries as the kernels take them, flat, and the mean squared error."""

    colors: Array
    entries: Array
    variance: float

    @classmethod
    def of(cls, mapping: Mapping) -> _Rows:
        difference = mapping.colors - mapping.entries[mapping.labels]
        squares = (difference * difference).sum(axis=1)
        variance = float((squares * mapping.counts).sum() / mapping.counts.sum())
        return cls(filled(mapping.colors), filled(mapping.entries), variance)


def filled(coordinates: Array) -> Array:
    """Return rows (n, channels) as kernels take them: ROW float32 each, flat."""
    rows = np.zeros((len(coordinates), ROW), np.float32)
    rows[:, : coordinates.shape[1]] = coordinates
    return rows.reshape(-1)


def groups_of(kinds: Array, entry_kinds: Array, kept: Array) -> tuple[Array, list[Array]]:
    """Return the group (m,) uint8 of each colour, and the numbers of the entries a group may have.

    Opaque colours are a group where they may not have all entries; what is kept is in none.
    """
    from kmq.kernels.dither import KEPT

    groups = np.zeros(len(kinds), np.uint8)
    members = [alpha.allowed_entries(alpha.TRANSLUCENT, entry_kinds)]
    opaque = alpha.allowed_entries(alpha.OPAQUE, entry_kinds)
    if len(opaque) < len(members[0]):
        groups[kinds == alpha.OPAQUE] = len(members)
        members.append(opaque)
    groups[kept] = KEPT
    return groups, members


def bands_of(height: int, rows: int) -> list[tuple[int, int]]:
    """Return (first row, row after the last) of bands of even height, which the input decides."""
    n_bands = max(1, height // rows)
    bounds = [height * band // n_bands for band in range(n_bands + 1)]
    return list(pairwise(bounds))


def _diffusion(
    ids: Array,
    mapping: Mapping,
    rows: _Rows,
    strength: float,
    n_threads: int,
    out_indices: Array,
    out_used: Array,
) -> None:
    from kmq.kernels.dither import diffuse

    groups, members = groups_of(mapping.kinds, mapping.entry_kinds, mapping.kept)
    search = Search.of(rows.colors, rows.entries, mapping.colors.shape[1], members)
    limit = np.float32(_MOST_PASSED_ON * rows.variance)
    bands = bands_of(ids.shape[0], BAND_ROWS)

    def work(band: int) -> None:
        first, stop = bands[band]
        begin = max(0, first - _RUN_UP)
        diffuse(
            CHANNELS,
            ids,
            rows.colors,
            groups,
            mapping.labels,
            np.float32(strength),
            rows.entries,
            search.box,
            search.strides,
            search.starts,
            search.members,
            limit,
            begin,
            stop,
            first - begin,
            np.empty((2, (ids.shape[1] + 2) * ROW), np.float32),
            out_indices,
            out_used,
        )

    run_chunks(work, len(bands), n_threads)


class Search(NamedTuple):
    """Cells of the coordinates and the entries that may be nearest in each.

    Attributes:
        box: (3 · ROW,) float32: lower corner, upper corner, cells per unit.
        strides: how far apart cells are that are neighbours along each axis.
        starts: (1 or 2, cells + 1) int64: where each cell's candidates begin in `members`.
        members: uint16 entries.
    """

    box: Array
    strides: tuple[int, int, int]
    starts: Array
    members: Array

    @classmethod
    def of(cls, colors: Array, entries: Array, channels: int, groups: list[Array]) -> Search:
        """Return the search among the entries that each of the groups of colours may have."""
        all_rows = np.concatenate([colors, entries]).reshape(-1, ROW)
        low, high = all_rows.min(axis=0), all_rows.max(axis=0)
        k = len(entries) // ROW
        bits = (_CELL_BITS if k <= _MANY_ENTRIES else _MANY_CELL_BITS) // channels
        groups = [group.astype(np.uint16) for group in groups]
        shape, lists = _candidates(entries, groups, low, high, channels, bits)
        offsets = np.cumsum([0] + [len(members) for _, members in lists])
        starts = np.stack([one + offset for (one, _), offset in zip(lists, offsets, strict=False)])
        per_unit = _cells_per_unit(low, high, shape)
        strides = (shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3])
        return cls(
            np.concatenate([low, high, per_unit]),
            strides,
            starts,
            np.concatenate([members for _, members in lists]),
        )


def _cells_per_unit(low: Array, high: Array, shape: tuple[int, ...]) -> Array:
    """Return the factors (ROW,) float32 that take `high` to just below the number of cells."""
    extent = np.where(high > low, high - low, 1).astype(np.float64)
    return (np.array(shape) * (1 - 1e-6) / extent * (high > low)).astype(np.float32)


def _candidates(
    entries: Array, groups: list[Array], low: Array, high: Array, channels: int, bits: int
) -> tuple[tuple[int, ...], list[tuple[Array, Array]]]:
    """Return the cells along each axis, and for each group of entries its candidates.

    That is where each cell's candidates start, int64, and the candidates, uint16. An axis has up to
    2 ** `bits` cells.
    """
    shape = (1,) * ROW
    lists = [(np.array([0, len(group)], np.int64), group) for group in groups]
    done = 0
    while done < bits:
        more = min(2, bits - done) if (bits - done) % 2 == 0 else 1
        done += more
        splits = (1 << more,) * channels + (1,) * (ROW - channels)
        finer_shape = tuple(a * b for a, b in zip(shape, splits, strict=True))
        extent = high - low
        cells = np.concatenate([low, extent / np.array(finer_shape), extent * 4e-6])
        finer = []
        for coarse in lists:
            given = (CHANNELS, entries, cells.astype(np.float32), splits, shape, *coarse)
            candidates = _listed(given, int(np.prod(finer_shape)))
            if candidates is None:
                return shape, lists
            finer.append(candidates)
        shape, lists = finer_shape, finer
    return shape, lists


def _listed(given: tuple[Any, ...], n_cells: int) -> tuple[Array, Array] | None:
    """Run `list_candidates`; return nothing if there are too many."""
    from kmq.kernels.dither import list_candidates

    starts = np.empty(n_cells + 1, np.int64)
    members = np.empty(_ROOM * n_cells, np.uint16)
    given = (*given, _MOST_CANDIDATES, np.empty(ROW, np.float32))
    count = list_candidates(*given, starts, members)
    if count > _MOST_CANDIDATES:
        return None
    if count > len(members):
        members = np.empty(count, np.uint16)
        list_candidates(*given, starts, members)
    return starts, members[:count]


def _ordered(
    ids: Array,
    mapping: Mapping,
    rows: _Rows,
    strength: float,
    n_threads: int,
    out_indices: Array,
    out_used: Array,
) -> None:
    from kmq.kernels.dither import threshold

    members, bounds = _mixtures(mapping, rows, strength, n_threads)
    mask = blue_noise()
    bands = bands_of(ids.shape[0], BAND_ROWS)

    def work(band: int) -> None:
        first, stop = bands[band]
        threshold(ids, members, bounds, mask, first, stop, out_indices, out_used)

    run_chunks(work, len(bands), n_threads)


def _neighbours(entries: Array, order: Array, n: int) -> Array:
    """Return the `n` entries nearest to each (k, n) int32, nearest first."""
    from kmq.kernels.dither import BLOCK, list_neighbours

    k = len(order)
    low, high = np.empty((2, -(-k // BLOCK) * ROW), np.float32)
    neighbours = np.empty((k, n), np.int32)
    list_neighbours(CHANNELS, entries, order, low, high, np.empty(n, np.float32), neighbours)
    return neighbours


def _mixtures(
    mapping: Mapping, rows: _Rows, strength: float, n_threads: int
) -> tuple[Array, Array]:
    """Return which entries each colour is mixed of, int32, and the bounds between them, float32."""
    from kmq.kernels.dither import MIXED, mix

    m, k = len(mapping.labels), len(mapping.entries)
    mixed, bounds = np.empty((m, MIXED), np.int32), np.empty((m, MIXED - 1), np.float32)
    neighbours = np.empty((k, 0), np.int32)
    if k > 1:
        neighbours = _neighbours(rows.entries, _walk(mapping.entries), min(_NEIGHBOURS, k - 1))
    groups, members = groups_of(mapping.kinds, mapping.entry_kinds, mapping.kept)
    allowed = np.array([np.isin(np.arange(k), group) for group in members])
    n_chunks = max(1, m // _MIXED_COLORS)
    chunks = [m * chunk // n_chunks for chunk in range(n_chunks + 1)]

    def work(chunk: int) -> None:
        part = slice(chunks[chunk], chunks[chunk + 1])
        mix(
            CHANNELS,
            rows.colors[ROW * part.start : ROW * part.stop],
            groups[part],
            mapping.labels[part],
            allowed,
            rows.entries,
            neighbours,
            np.float32(_NOISE),
            np.float32(_NEAR * rows.variance),
            np.float32(strength),
            mixed[part],
            bounds[part],
        )

    run_chunks(work, n_chunks, n_threads)
    return mixed, bounds


def _walk(entries: Array) -> Array:
    """Return an order (k,) int64 of the entries in which those stand together that are close."""
    low, extent = entries.min(axis=0), np.ptp(entries, axis=0).max()
    cells = ((entries - low) * (255 / max(extent, 1e-12))).astype(np.int64)
    return np.argsort(interleaved(cells[:, ::-1], 8), kind="stable")


@lru_cache(maxsize=1)
def blue_noise() -> Array:
    """Return the mask (MASK_SIDE, MASK_SIDE) float32, each of the levels between 0 and 1 once.

    Void and cluster (Ulichney 1993): pixels are ranked so that those below any level are spread
    out evenly, also across the edges. In whole numbers, so that every machine has the same. Its
    first call takes a tenth of a second.
    """
    side = MASK_SIDE
    count = side * side
    offsets = np.abs(np.arange(-side, side))
    offsets = np.minimum(offsets, side - offsets)
    squares = offsets[:, None] ** 2 + offsets**2
    gaussian = exact.exp2(squares * (-exact.LOG2_OF_E / (2 * _MASK_SIGMA**2)))
    energy_of = np.rint(2.0**30 * gaussian).astype(np.int64)

    def around(place: int) -> Array:
        y, x = divmod(place, side)
        energy: Array = energy_of[side - y : 2 * side - y, side - x : 2 * side - x]
        return energy

    # A prototype of a tenth of the pixels: move the tightest cluster into the largest void.
    marked = np.zeros(count, np.bool_)
    marked[np.random.RandomState(0).permutation(count)[: count // 10]] = True
    energy = np.zeros((side, side), np.int64)
    for place in np.flatnonzero(marked):
        energy += around(int(place))
    flat = energy.reshape(-1)
    highest = np.iinfo(np.int64).max
    while True:
        cluster = int(np.argmax(np.where(marked, flat, -1)))
        marked[cluster] = False
        energy -= around(cluster)
        void = int(np.argmin(np.where(marked, highest, flat)))
        marked[void] = True
        energy += around(void)
        if void == cluster:
            break
    ranks = np.empty(count, np.int64)
    rest, left = energy.copy(), marked.copy()
    for rank in range(int(marked.sum()) - 1, -1, -1):
        cluster = int(np.argmax(np.where(left, rest.reshape(-1), -1)))
        left[cluster] = False
        rest -= around(cluster)
        ranks[cluster] = rank
    for rank in range(int(marked.sum()), count):
        void = int(np.argmin(np.where(marked, highest, flat)))
        marked[void] = True
        energy += around(void)
        ranks[void] = rank
    mask = ((ranks + 0.5) / count).astype(np.float32).reshape(side, side)
    mask.flags.writeable = False
    return mask
