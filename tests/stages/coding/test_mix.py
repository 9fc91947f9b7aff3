"""Method "mix": round trips, the plain decoder's agreement, and whatever bytes a file may hold."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_mix
import strips
from kmq.errors import FormatError
from kmq.kernels import _mix_lanes as lanes
from kmq.kernels import _native
from kmq.kernels import mix as kernels
from kmq.kernels._jit import inlined
from kmq.kernels._lanes import store
from kmq.stages.coding import mix
from kmq.stages.coding.deflate import DeflateCoder
from strips import PICTURES, blotches, constant, noise, palette_of, ramp


def decoded(coded, shape, palette, coder=None):
    return strips.decoded(coder or mix.MixCoder(palette), coded, shape, len(palette))


def plainly_decoded(coded, shape, palette):
    return strips.plainly_decoded(plain_mix, coded, shape, palette)


# Round trips


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(PICTURES),
    st.sampled_from([1, 2, 3, 5, 16, 17, 32, 64, 255, 256, 257, 1000]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([(1, np.uint8), (2, np.uint16), (3, np.uint8), (3, np.uint16), (4, np.uint8)]),
)
def test_both_decoders_give_the_indices_back(picture, n_colors, height, width, kind):
    palette = palette_of(n_colors, *kind)
    indices = picture(n_colors, height, width)
    coded = mix.MixCoder(palette).encode(indices)
    assert len(coded) >= mix.MixCoder(palette).fewest_bytes(indices.size)
    assert np.array_equal(decoded(coded, indices.shape, palette), indices)
    assert plainly_decoded(coded, indices.shape, palette) == indices.tolist()


def dotted(n_colors, height, width, dots):
    """One colour, and of another one a pixel here and there."""
    indices = constant(n_colors, height, width)
    rng = np.random.default_rng(0)
    indices[rng.integers(0, height, dots), rng.integers(0, width, dots)] = 0
    return indices


@pytest.mark.parametrize(
    ("n_colors", "shape", "dots"),
    [(300, (60, 120), 0), (300, (60, 120), 3), (2, (34, 1000), 3)],  # the last beyond 2^15 pixels
)
def test_both_decoders_stay_in_step_where_nothing_changes(n_colors, shape, dots):
    palette = palette_of(n_colors)
    indices = dotted(n_colors, *shape, dots)
    coder = mix.MixCoder(palette)
    coded = coder.encode(indices)
    assert plainly_decoded(coded, shape, palette) == indices.tolist()
    assert np.array_equal(decoded(coded, shape, palette), indices)
    for decoding, room in ((False, bytes(len(coded) + 9)), (True, coded)):
        _, n_decisions = coder._run(
            decoding, indices.size, np.frombuffer(room, np.uint8).copy(), indices.copy()
        )
        assert n_decisions < 0.9 * indices.size


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("n_colors", [2, 64, 256, 3000])
@pytest.mark.parametrize("shape", [(112, 300), (1, 9000), (9000, 1)])
def test_strips_of_many_pixels_come_back(picture, n_colors, shape):
    palette = palette_of(n_colors)
    indices = picture(n_colors, *shape)
    coded = mix.MixCoder(palette).encode(indices)
    assert np.array_equal(decoded(coded, shape, palette), indices)


def test_the_largest_palette_comes_back():
    palette = palette_of(65_536)
    indices = ramp(65_536, 100, 150)
    coded = mix.MixCoder(palette).encode(indices)
    assert np.array_equal(decoded(coded, indices.shape, palette), indices)


@pytest.mark.parametrize("sample", [0, 7, 255])
def test_equal_colours_are_told_apart(sample):
    palette = np.full((300, 3), sample, np.uint8)
    indices = noise(300, 20, 30)
    coded = mix.MixCoder(palette).encode(indices)
    assert np.array_equal(decoded(coded, indices.shape, palette), indices)


def test_extreme_colours_stay_within_32_bits():
    corners = np.array([[0, 0, 0, 0], [65_535] * 4, [0, 65_535, 0, 65_535]], np.uint16)
    close = np.full((40, 4), 32_768, np.uint16) + 16 * np.arange(40, dtype=np.uint16)[:, None]
    palette = np.vstack([corners, close])
    indices = noise(len(palette), 12, 25)
    coded = mix.MixCoder(palette).encode(indices)
    assert plainly_decoded(coded, indices.shape, palette) == indices.tolist()


def test_a_coder_keeps_nothing_from_strip_to_strip():
    coder = mix.MixCoder(palette_of(40))
    indices = ramp(40, 50, 60)
    coded = coder.encode(indices)
    for shape in ((50, 60), (200, 300), (1, 1), (50, 60)):
        coder.encode(noise(40, *shape))
        assert coder.encode(indices) == coded
        assert np.array_equal(decoded(coded, indices.shape, palette_of(40), coder), indices)


def test_memory_serves_one_strip_after_the_other():
    coder = mix.MixCoder(palette_of(3000))
    strips = [noise(3000, height, 7, height) for height in (40, 40, 1, 33, 40)]
    coded = [coder.encode(strip) for strip in strips]
    memory = coder._spare[0]
    for strip, payload in zip(strips, coded, strict=True):
        decoded(payload, strip.shape, palette_of(3000), coder)
    assert len(coder._spare) == 1
    assert coder._spare[0] is memory


@pytest.mark.parametrize(("n_colors", "bytes_a_pixel"), [(256, 1), (300, 2)])
def test_indices_are_decoded_where_they_lie(n_colors, bytes_a_pixel):
    palette, shape = palette_of(n_colors), (2500, 2000)
    coded = mix.MixCoder(palette).encode(constant(n_colors, *shape))
    tracemalloc.start()
    try:
        decoded(coded, shape, palette)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 5_000_000 * bytes_a_pixel + 20_000_000  # the tables


def test_one_colour_takes_no_bytes():
    coder = mix.MixCoder(palette_of(1))
    assert coder.encode(constant(1, 30, 50)) == b""
    assert coder.fewest_bytes(10**9) == 0
    with pytest.raises(FormatError):
        decoded(b"\0", (30, 50), palette_of(1))


# What it is for


def test_smaller_than_deflate_where_there_is_a_pattern():
    palette = np.arange(64, dtype=np.uint8).repeat(3).reshape(64, 3) * np.uint8(4)
    for picture in (blotches, ramp):
        indices = picture(64, 100, 150)
        size = len(mix.MixCoder(palette).encode(indices))
        assert size < 0.85 * len(DeflateCoder(palette).encode(indices))


def test_neighbouring_colours_help():
    # The same picture costs less if its indices stand for colours that change gradually.
    gradual = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
    shuffled = np.random.default_rng(0).permutation(gradual)
    indices = ramp(256, 80, 120)
    assert len(mix.MixCoder(gradual).encode(indices)) < 0.9 * len(
        mix.MixCoder(shuffled).encode(indices)
    )


def test_constant_pictures_reach_the_bound_but_not_more():
    coder = mix.MixCoder(palette_of(2))
    indices = constant(2, 2000, 1000)
    coded = coder.encode(indices)
    assert coder.fewest_bytes(indices.size) <= len(coded) <= indices.size // 14_000 + 20
    assert coder.fewest_bytes(2 * indices.size) > len(coded)


# Damage


@settings(max_examples=80, deadline=None)
@given(
    st.binary(max_size=60),
    st.sampled_from([2, 3, 17, 256, 300]),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_both_decoders_agree_on_any_bytes(coded, n_colors, height, width):
    palette = palette_of(n_colors)
    try:
        plain = plainly_decoded(coded, (height, width), palette)
    except ValueError:
        with pytest.raises(FormatError):
            decoded(coded, (height, width), palette)
    else:
        assert decoded(coded, (height, width), palette).tolist() == plain


CODERS = {n_colors: mix.MixCoder(palette_of(n_colors)) for n_colors in (2, 17, 256, 3000)}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(sorted(CODERS)))
def test_any_bytes_give_indices_or_an_error(coded, n_colors):
    try:
        indices = decoded(coded, (30, 50), palette_of(n_colors), CODERS[n_colors])
    except FormatError:
        return
    assert int(indices.max()) < n_colors


def test_coded_bytes_must_end_where_the_pixels_do():
    palette = palette_of(64)
    indices = ramp(64, 30, 40)
    coded = mix.MixCoder(palette).encode(indices)
    for extra in (bytes(5), bytes(100), coded):
        with pytest.raises(FormatError):
            decoded(coded + extra, indices.shape, palette)


@pytest.mark.parametrize("size", [0, 1, 10, 100])
def test_missing_bytes_do_not_go_unnoticed(size):
    palette = palette_of(64)
    indices = noise(64, 30, 40)
    coded = mix.MixCoder(palette).encode(indices)[:size]
    try:
        found = decoded(coded, indices.shape, palette)
    except FormatError:
        return
    assert not np.array_equal(found, indices)  # another picture, which its checksum shows


def test_an_encoder_without_room_says_so():
    coder = mix.MixCoder(palette_of(256))
    indices = noise(256, 40, 50)
    n_coded = len(coder.encode(indices))
    for room in (0, 1, n_coded // 2, n_coded - 1):
        coded = np.full(n_coded + 9, 77, np.uint8)
        assert coder._run(False, 10**6, coded[:room], indices)[0] == kernels.FULL
        assert (coded[room:] == 77).all()


# The tree


@pytest.mark.parametrize("n_colors", [2, 3, 7, 64, 257])
def test_the_tree_leads_to_each_colour(n_colors):
    tree = mix.build_tree(palette_of(n_colors))
    assert sorted(tree.leaves.tolist()) == list(range(n_colors))
    for color, leaf in enumerate(tree.ranks.tolist()):
        node, depth = tree.root, 0
        while node < n_colors:
            assert tree.depths[node] == depth
            node, depth = int(tree.children[node, int(leaf >= node)]), depth + 1
        assert node == n_colors + leaf
        assert tree.leaves[leaf] == color
        assert depth <= (n_colors - 1).bit_length()


def test_halves_lie_on_either_side_of_their_plane():
    palette = np.array([[10, 0, 0], [250, 0, 0], [20, 0, 0], [240, 9, 0]], np.uint8)
    tree = mix.build_tree(palette)
    levels = tree.shades @ tree.planes[tree.root, :4] + tree.planes[tree.root, 4]
    low, high = tree.leaves[:2], tree.leaves[2:]
    assert {tuple(sorted(low.tolist())), tuple(sorted(high.tolist()))} == {(0, 2), (1, 3)}
    assert np.allclose(levels[low] / 4096, -16, atol=1)
    assert np.allclose(levels[high] / 4096, 16, atol=1)


def test_the_tree_is_that_of_the_plain_decoder():
    for n_colors, kind in ((2, (3, np.uint8)), (50, (4, np.uint16)), (300, (3, np.uint8))):
        palette = palette_of(n_colors, *kind)
        tree = mix.build_tree(palette)
        plain = plain_mix.Tree(palette.tolist(), palette.dtype.itemsize)
        assert tree.leaves.tolist() == plain.leaves
        for node, (slopes, constant_term) in plain.planes.items():
            assert tree.planes[node].tolist() == [*slopes, constant_term, 0, 0, 0]
        for own in (1, 3, 7):
            rows = mix._dense_rows(tree.depths, own)
            assert dict(enumerate(rows.tolist())) == plain.rows(own)


# The lanes, each operation against its formula

REACH, LIMIT = 2815, lanes.WEIGHT_LIMIT

jit_only = pytest.mark.skipif(
    _native.library is not None, reason="kernels were compiled ahead of time"
)


@inlined
def predict(lines, dense, starts, local, places, first, stretch, bit, out_slots, out_logits):
    slots, logits = lanes.fetch(lines, dense, starts, 0, local, places, first, stretch)
    store(slots, out_slots, 0)
    store(logits, out_logits, 0)
    learnt = lanes.adapted(slots, bit)
    lanes.keep(learnt, lines, dense, starts, 0, local, places, first)
    return lanes.count_known(slots), lanes.differ(slots, slots), lanes.differ(slots, learnt)


@jit_only
@pytest.mark.parametrize("bit", [0, 1])
def test_slots_are_read_and_moved_as_their_formulas_say(bit):
    rng = np.random.default_rng(bit)
    n_lines, n_dense = 4096 * 16, 256 * 100  # hashed slots of all kinds, dense ones of all counts
    stretch = mix.curves()[1]
    lines = np.arange(n_lines, dtype=np.uint16)
    dense = rng.integers(32, (1 << 22) - 32, n_dense) << 9 | np.arange(n_dense) % 256
    dense = dense.astype(np.int32)
    slots, logits = np.zeros(lanes.LANES, np.int32), np.zeros(lanes.LANES, np.int32)
    moved_lines, moved_dense = lines.copy(), dense.copy()
    for _ in range(3000):
        starts = rng.choice(n_lines - 3, 8, replace=False).astype(np.uint32)
        places = rng.choice(n_dense, 24, replace=False).astype(np.uint32)
        known, is_other, has_moved = predict(
            moved_lines, moved_dense, starts, 3, places, 16, stretch, bit, slots, logits
        )
        hashed, other = starts[: lanes.HASHED] + 3, places[16:]
        assert slots.tolist() == [*lines[hashed], 0, *dense[other]]
        assert logits.tolist() == [*stretch[lines[hashed] >> 4], 256, *stretch[dense[other] >> 19]]
        assert (known, is_other) == (np.count_nonzero(lines[hashed] & 15), False)
        after = [moved(slot >> 4, slot & 15, bit, True) for slot in lines[hashed].tolist()]
        after += [moved(slot >> 9, slot & 511, bit, False) for slot in dense[other].tolist()]
        assert has_moved == (after != np.delete(slots, 7).tolist())
        assert [*moved_lines[hashed], *moved_dense[other]] == after
        moved_lines[hashed], moved_dense[other] = lines[hashed], dense[other]
        assert np.array_equal(moved_lines, lines)
        assert np.array_equal(moved_dense, dense)


def moved(chance, count, bit, is_hashed):
    slot = [int(chance), int(count)]
    plain_mix.move(slot, bit, is_hashed)
    return slot[0] << (4 if is_hashed else 9) | slot[1]


@inlined
def mix_predictions(logits_at, logits, weights, errors, blend, out_opinions, out_mixtures):
    lines, dense, starts, places, stretch = logits_at
    _, vector = lanes.fetch(lines, dense, starts, 0, 0, places, 0, stretch)
    store(vector, logits, 0)
    for row in range(len(weights)):
        opinions = lanes.opinions_of(vector, weights, row, row // 2, row // 3)
        store(opinions, out_opinions[row], 0)
        out_mixtures[row] = lanes.mixture_of(opinions, blend, row)
        lanes.train_shares(opinions, blend, row, errors[row])
    for row in range(len(weights)):
        lanes.train(vector, weights, row, errors[row], 12)


@jit_only
@pytest.mark.parametrize("seed", range(3))
def test_opinions_and_weights_are_what_their_formulas_say(seed):
    rng = np.random.default_rng(seed)
    largest = [LIMIT, LIMIT, 2_000_000][seed]
    weights = rng.integers(-largest, largest + 1, (300, lanes.LANES)).astype(np.int32)
    errors = rng.integers(-65_535, 65_536, 300)
    logits, opinions = np.zeros(lanes.LANES, np.int32), np.zeros((300, 4), np.int32)
    blend = rng.integers(-lanes.BLEND_LIMIT, lanes.BLEND_LIMIT + 1, (300, 4)).astype(np.int32)
    blend[:, 3] = 0
    shares, mixtures = blend.copy(), np.zeros(300, np.int64)
    lines = rng.integers(0, 65_536, 8).astype(np.uint16)
    dense = rng.integers(0, 1 << 31, 8).astype(np.int32)
    order = np.arange(8, dtype=np.uint32)
    before = weights.copy()
    where = lines, dense, order, order, mix.curves()[1]
    mix_predictions(where, logits, weights, errors, blend, opinions, mixtures)
    rows = np.arange(300)
    sums = (before >> 7).astype(np.int64) @ logits
    expected = np.clip(sums >> 13, -REACH, REACH)[np.stack([rows, rows // 2, rows // 3], 1)]
    assert np.array_equal(opinions[:, :3], expected)
    assert not opinions[:, 3].any()
    mixed = (expected * (shares[:, :3] >> 4).astype(np.int64)).sum(axis=1) >> 16
    assert np.array_equal(mixtures, np.clip(mixed, -REACH, REACH))
    moved_shares = shares + ((opinions * errors[:, None] + 2048) >> 12)
    assert np.array_equal(blend, np.clip(moved_shares, -lanes.BLEND_LIMIT, lanes.BLEND_LIMIT))
    change = (logits * errors[:, None] + 2048) >> 12
    assert np.array_equal(weights, np.clip(before + change, -LIMIT, LIMIT))


@inlined
def find_lines(prefixes, west, node, line_bits, group, lines, out_keys, out_starts):
    keys = lanes.keys_of(prefixes, west)
    targets = lanes.targets_of(keys, node)
    starts = lanes.line_starts(targets, line_bits, group)
    store(keys, out_keys, 0)
    store(starts, out_starts, 0)
    lanes.expect_lines(lines, starts)
    if group > 3:
        lanes.open_rest(lines, starts, targets, group)
    lanes.open_lines(lines, starts, targets, group)


@jit_only
@pytest.mark.parametrize("group", [1, 2, 3, 4])
def test_lines_are_found_and_opened_as_the_format_says(group):
    rng = np.random.default_rng(group)
    line_bits, size = 5, 1 << group
    lines = rng.integers(0, 65_536, (7 << line_bits << group) + kernels.SLACK).astype(np.uint16)
    keys, starts = np.zeros(8, np.uint32), np.zeros(8, np.uint32)
    for _ in range(300):
        prefixes = rng.integers(0, 1 << 32, 8).astype(np.uint32)
        west, node = int(rng.integers(65_536)), int(rng.integers(1 << 17))
        expected = lines.copy()
        for lane, prefix in enumerate(prefixes.tolist()):
            key = plain_mix.hashed(prefix, west) if lane in (0, 2, 3, 5, 7) else prefix
            target = plain_mix.hashed(key, node) * 742_039 % (1 << 32)
            start = ((target >> (32 - line_bits)) + (lane << line_bits)) * size
            check = (target ^ target >> 13) & 65_535 | 1
            if lane < 7 and rng.integers(2):
                lines[start] = expected[start] = check
            if lane < 7 and expected[start] != check:
                expected[start : start + size] = [check, *[0x8000] * (size - 1)]
            keys[lane], starts[lane] = key, start
        found_keys, found_starts = np.zeros(8, np.uint32), np.zeros(8, np.uint32)
        find_lines(prefixes, west, node, line_bits, group, lines, found_keys, found_starts)
        assert np.array_equal(found_keys, keys)
        assert np.array_equal(found_starts, starts)
        assert np.array_equal(lines, expected)


@inlined
def place(shades, near, planes, node, row, stage, guesses, lengths, bounds, colors, out_places):
    activity = lanes.paint(shades, near[0], near[1], near[2], near[3], colors)
    homes = lanes.homes_of(1_000_000, near[4])
    ranks = lanes.in_runs(guesses[0], guesses[1], guesses[2], -1)
    runs = lanes.in_runs(lengths[0], lengths[1], lengths[2], 0)
    this = np.int64(node), np.int64(row), np.int64(stage), bounds[0], bounds[1]
    root = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    first = node & 1
    if node == 0:
        same = lanes.in_runs(guesses[0], guesses[1], guesses[2], 0)
        store(lanes.places_at_west(homes, same, runs), out_places, 0)
        return activity
    left, right = this if first else root, root if first else this
    one, other = lanes.places_of(colors, planes, homes, ranks, runs, left, right)
    if first:
        store(one, out_places, 0)
    else:
        store(other, out_places, 0)
    return activity


@jit_only
@pytest.mark.parametrize("seed", range(5))
def test_dense_places_follow_from_levels_and_guesses(seed):
    rng = np.random.default_rng(seed)
    shades = rng.integers(0, 4096, (300, 4)).astype(np.int32)
    planes = np.zeros((300, 8), np.int32)
    planes[1:, :4] = rng.integers(-16_383, 16_384, (299, 4)) >> rng.integers(0, 9)
    planes[1:, 4] = rng.integers(-(1 << 27), 1 << 27, 299) >> rng.integers(0, 9)
    colors, places = np.zeros((4, 8), np.int32), np.zeros(8, np.uint32)
    for turn in range(300):
        node, row, stage = int(rng.integers(300)), int(rng.integers(130)), int(rng.integers(4))
        near = np.array([*rng.integers(0, 300, 4), rng.integers(8)])
        lengths, bounds = rng.integers(0, 32, 3), np.sort(rng.integers(0, 301, 2))
        if turn % 9 == 0 or node == 0:
            node, row, stage, bounds = 0, 0, 0, (0, 2)
        guesses = rng.integers(0, 300 if node else 2, 3)
        activity = place(
            shades, near, planes, node, row, stage, guesses, lengths, bounds, colors, places
        )
        w, n, ne, nw = shades[near[:4]]
        assert activity == (abs(w - nw) + abs(n - nw) + abs(n - ne)).sum() >> 4
        painted = np.array([w, n, w + n - nw, (2 * w + 2 * n + ne - nw) >> 2, ne, nw])
        assert np.array_equal(colors[:, :6].T, painted)
        totals = painted @ planes[node, :4].astype(np.int64) + planes[node, 4]
        level = (totals >> [14, 14, 13, 12, 14, 14]) + [8, 8, 32, 64, 8, 8]
        level = np.clip(level, 0, [15, 15, 63, 127, 15, 15]).tolist()
        half, busy = [number >> 1 for number in level], near[4]
        assert (places[:5] - 6144 * row).tolist() == [
            level[0] * 16 + level[1],
            256 + level[1] * 16 + level[4],
            512 + level[2] * 8 + busy,
            1024 + level[3] * 8 + busy,
            2048 + half[0] * 512 + half[1] * 64 + half[4] * 8 + half[5],
        ]
        for number, (guess, length) in enumerate(zip(guesses, lengths, strict=True)):
            way = 2 * length + (guess >= max(node, 1)) if bounds[0] <= guess < bounds[1] else 0
            assert places[5 + number] == 1_000_000 + 256 * number + 64 * stage + way
