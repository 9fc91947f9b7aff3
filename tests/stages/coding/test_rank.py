"""Method "rank": round trips, the plain decoder's agreement, and whatever bytes a file may hold."""

import re
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_rank
import strips
from kmq.errors import FormatError
from kmq.stages.coding import rank
from kmq.stages.coding.deflate import DeflateCoder
from strips import PICTURES, blotches, constant, noise, palette_of, ramp

ROWS = np.array([[0, 1, 2, 2, 1], [1, 1, 0, 0, 2]], np.uint8)
BLACK_RED_WHITE = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)


def decoded(coded, shape, palette):
    return strips.decoded(rank.RankCoder(palette), coded, shape, len(palette))


def plainly_decoded(coded, shape, palette):
    return strips.plainly_decoded(plain_rank, coded, shape, palette)


# Round trips


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(PICTURES),
    st.sampled_from([1, 2, 3, 5, 16, 17, 18, 19, 64, 255, 256]),
    st.integers(1, 25),
    st.integers(1, 25),
    st.sampled_from([(1, np.uint8), (2, np.uint16), (3, np.uint8), (3, np.uint16), (4, np.uint8)]),
)
def test_both_decoders_give_the_indices_back(picture, n_colors, height, width, kind):
    palette = palette_of(n_colors, *kind)
    indices = picture(n_colors, height, width)
    coded = rank.RankCoder(palette).encode(indices)
    assert len(coded) >= rank.RankCoder(palette).fewest_bytes(indices.size)
    assert np.array_equal(decoded(coded, indices.shape, palette), indices)
    assert plainly_decoded(coded, indices.shape, palette) == indices.tolist()


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("n_colors", [2, 64, 256])
@pytest.mark.parametrize("shape", [(150, 500), (1, 70_000), (70_000, 1)])
def test_strips_of_many_pixels_come_back(picture, n_colors, shape):
    palette = palette_of(n_colors)
    indices = picture(n_colors, *shape)
    coded = rank.RankCoder(palette).encode(indices)
    assert np.array_equal(decoded(coded, shape, palette), indices)


@pytest.mark.parametrize("palette", [np.zeros((256, 3), np.uint8), np.zeros((2, 1), np.uint16)])
def test_palettes_of_one_colour_many_times_come_back(palette):
    indices = noise(len(palette), 30, 30)
    coded = rank.RankCoder(palette).encode(indices)
    assert np.array_equal(decoded(coded, (30, 30), palette), indices)
    assert plainly_decoded(coded, (30, 30), palette) == indices.tolist()


def test_a_coder_keeps_nothing_from_strip_to_strip():
    coder = rank.RankCoder(palette_of(40))
    indices = ramp(40, 50, 60)
    coded = coder.encode(indices)
    coder.encode(noise(40, 50, 60))
    assert coder.encode(indices) == coded


def test_a_palette_of_16_bits_counts_by_its_high_bytes():
    palette = palette_of(30, 3, np.uint8)
    wide = palette.astype(np.uint16) << 8 | palette_of(30, 3, np.uint8, seed=1)
    indices = ramp(30, 40, 40)
    assert rank.RankCoder(wide).encode(indices) == rank.RankCoder(palette).encode(indices)


# Sizes: each of these fails if one of the ways to save bytes is lost


def test_tiles_cost_little_after_the_first():
    tile = noise(64, 24, 24)
    coder = rank.RankCoder(palette_of(64))
    assert len(coder.encode(np.tile(tile, (10, 10)))) < 2.5 * len(coder.encode(tile))


def test_what_is_near_in_colour_costs_less():
    indices = ramp(64, 200, 200)
    grey_ramp = np.linspace(0, 255, 64).astype(np.uint8)[:, None]
    shuffled = np.random.default_rng(0).permutation(grey_ramp)
    in_order = len(rank.RankCoder(grey_ramp).encode(indices))
    assert in_order < 0.95 * len(rank.RankCoder(shuffled).encode(indices))
    assert in_order < 0.8 * len(DeflateCoder(grey_ramp).encode(indices))


def test_contexts_are_told_apart():
    half = np.concatenate((constant(64, 150, 300), noise(64, 150, 300)))
    coded = rank.RankCoder(palette_of(64)).encode(half)
    assert len(coded) < 150 * 300 * 6 / 8 * 1.06


def test_leaves_go_where_they_save_most():
    from kmq.kernels.rank_tree import grow_tree, tree_scratch

    counts = np.zeros((2, 3, 2), np.uint32)  # by two variables and symbol
    counts[0] = [[900, 100], [800, 200], [800, 200]]
    counts[1] = [[0, 1000], [0, 1000], [1000, 0]]
    nodes = np.empty((6, 2), np.int64)
    tables = np.empty((3, 2), np.int64)
    counts = counts.reshape(6, 2)
    scratch = tuple(np.empty(*array) for array in tree_scratch(6, 2, [2, 3], 3))
    seen, radices = np.ones(6, np.uint8), np.array([2, 3])
    logarithms = rank._logarithms()
    n_nodes = grow_tree(counts, seen, radices, logarithms, 1 << 16, scratch, nodes, tables)
    assert nodes[:n_nodes].tolist() == [[0, 0], [-1, -1], [1, 1], [-1, -1], [-1, -1]]
    assert tables.tolist() == [[2500, 500], [0, 2000], [1000, 0]]
    assert not counts.any()
    assert not seen.any()


def test_one_colour_costs_next_to_nothing():
    coder = rank.RankCoder(palette_of(2))
    coded = coder.encode(constant(2, 1000, 1000))
    assert coder.fewest_bytes(1_000_000) <= len(coded) < 100


# The document


def document():
    text = (files("kmq.stages.container") / "FORMAT.md").read_text(encoding="utf-8")
    return text[text.index("## Method 1: rank") :]


def test_the_example_of_the_document_is_decoded():
    dump = re.search(r"^    ((?:[0-9A-F]{2} +)+[0-9A-F]{2})$", document(), re.MULTILINE)
    coded = bytes.fromhex(dump[1])
    assert f"would be these {len(coded)} bytes" in document()
    assert np.array_equal(decoded(coded, ROWS.shape, BLACK_RED_WHITE), ROWS)
    assert plainly_decoded(coded, ROWS.shape, BLACK_RED_WHITE) == ROWS.tolist()


def test_the_weights_are_those_of_the_document():
    listed = re.search(r"rounded:\s([\d,\s]+)\.", document())[1]
    assert [int(weight) for weight in listed.split(",")] == rank._WEIGHTS[1:].tolist()


# Whatever bytes there are


def judged(coded, shape, palette):
    """Return the indices as lists, or None where the bytes are refused."""
    try:
        return decoded(coded, shape, palette).tolist()
    except FormatError:
        return None


def plainly_judged(coded, shape, palette):
    try:
        return plainly_decoded(coded, shape, palette)
    except ValueError:
        return None


SHAPE = (12, 15)
PALETTE = palette_of(24)
CODED = rank.RankCoder(PALETTE).encode(blotches(24, *SHAPE))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([1, 2, 3, 20, 256]))
def test_any_bytes_are_refused_or_decoded_as_the_plain_decoder_does(coded, n_colors):
    palette = palette_of(n_colors)
    ours = judged(coded, (5, 7), palette)
    assert ours == plainly_judged(coded, (5, 7), palette)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(CODED) - 1), st.integers(0, 255), st.integers(0, len(CODED) - 1))
def test_a_changed_strip_is_refused_or_decoded_as_the_plain_decoder_does(at, byte, other):
    coded = bytearray(CODED)
    coded[at] = byte
    coded[other] ^= 1 << byte % 8
    ours = judged(coded, SHAPE, PALETTE)
    assert ours == plainly_judged(coded, SHAPE, PALETTE)
    assert ours is None or max(map(max, ours)) < len(PALETTE)


def test_a_strip_that_ends_early_or_goes_on_is_refused():
    for size in range(len(CODED)):
        with pytest.raises(FormatError, match="a strip is damaged"):
            decoded(CODED[:size], SHAPE, PALETTE)
    for more in (b"\0", b"\0\0"):
        with pytest.raises(FormatError, match="a strip is damaged"):
            decoded(CODED + more, SHAPE, PALETTE)


def test_another_number_of_pixels_is_refused():
    for shape in ((11, 15), (13, 15)):
        with pytest.raises(FormatError, match="a strip is damaged"):
            decoded(CODED, shape, PALETTE)


def test_states_below_their_range_are_refused():
    coded = rank.RankCoder(BLACK_RED_WHITE).encode(ROWS)
    for states in (bytes(8), (65_535).to_bytes(4, "little") + coded[-4:]):
        with pytest.raises(FormatError, match="do not end where"):
            decoded(coded[:-8] + states, ROWS.shape, BLACK_RED_WHITE)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_tables_that_hold_or_a_fault(content, second):
    coder = rank.RankCoder(palette_of(256))
    alphabet = coder._second if second else coder._first
    tables = rank._Tables(alphabet)
    end = tables.read(np.frombuffer(content, np.uint8).copy(), 0)
    leaves, bounds = tables.leaves, tables.bounds
    if end < 0:
        assert end in rank._FAULTS
        return
    assert end <= 8 * len(content)
    shares = np.diff(bounds[: leaves.max() + 1], axis=1)
    assert (shares >= 1).all()
    assert (shares.sum(axis=1) == 1 << alphabet.scale_bits).all()
    assert sorted(set(leaves.tolist())) == list(range(leaves.max() + 1))
