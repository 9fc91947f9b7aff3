"""`rate=`: indices and palette by squared error + λ · bits, and what must hold at any λ."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

import kmq
from grouped import grouped
from kmq import InputError, PixelFormat, encode
from kmq.kernels import rate as kernels
from kmq.stages.mapping import rate as stage

quantize = partial(kmq.quantize, space="rgb")


def picture(pixel_format=PixelFormat.RGB24, height=48, width=64, seed=0):
    """A gradient with grain: what nearest entries make expensive indices of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [y * (c + 1) + x * (3 - c) for c in range(pixel_format.channels)]
    samples = 40 + np.stack(planes, axis=2) * 0.8 + rng.normal(0, 9, (height, width, 1))
    scaled = np.clip(samples, 0, 255) / 255 * pixel_format.max_value
    return np.rint(scaled).astype(pixel_format.dtype)


def with_alpha(seed=0):
    samples = picture(PixelFormat.RGBA32, seed=seed)
    samples[:, :, 3] = 255
    samples[:16, :, 3] = np.random.default_rng(seed).integers(1, 255, (16, 64))
    samples[40:, :20] = 0
    return samples


def squared_errors(samples, image):
    apart = samples.astype(np.float64) - image.to_array().reshape(samples.shape)
    return np.square(apart).sum(axis=2)


def nearest_errors(samples, palette):
    colors = samples.reshape(-1, 1, samples.shape[2]).astype(np.float64)
    return np.square(colors - palette).sum(axis=2).min(axis=1).reshape(samples.shape[:2])


def test_zero_is_plain_quantization():
    assert quantize(picture(), 12, mapping=kmq.Rate(0)) == quantize(picture(), 12)


def test_files_shrink_and_errors_grow_with_the_rate():
    samples = picture(height=96, width=128)
    images = [quantize(samples, 24, mapping=kmq.Rate(rate)) for rate in (0, 0.5, 2, 8)]
    sizes = [len(encode(image)) for image in images]
    errors = [squared_errors(samples, image).mean() for image in images]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert sizes[2] < 0.8 * sizes[0]


def test_fewer_bytes_at_the_same_error():
    samples = picture(height=128, width=160)
    traded = quantize(samples, 32, mapping=kmq.Rate(1.5))
    error = squared_errors(samples, traded).mean()
    plain = next(
        image
        for image in (quantize(samples, k) for k in range(2, 33))
        if squared_errors(samples, image).mean() <= error
    )
    assert len(encode(traded)) < 0.9 * len(encode(plain))


def test_report_tells_the_error_there_is():
    samples = picture()
    image = quantize(samples, 16, mapping=kmq.Rate(2))
    assert image.report.mse == pytest.approx(squared_errors(samples, image).mean())
    assert image.report.colors_out == image.n_colors
    assert "rate" in image.report.seconds


def test_no_pixel_is_far_beyond_its_nearest_entry():
    samples = picture()
    samples[20:22, 30:32] = (255, 0, 255)
    image = quantize(samples, 16, mapping=kmq.Rate(1e6))
    excess = squared_errors(samples, image) - nearest_errors(samples, image.palette)
    assert 0 < excess.max() <= 3 * 32**2 + 1


def test_gradients_give_way_less_than_texture():
    """Two halves of the same colours: a ramp, and the same pixels scattered along each column."""
    ramp = np.repeat(np.linspace(40, 200, 160).astype(np.uint8)[None], 64, axis=0)
    rng = np.random.default_rng(0)
    halves = np.concatenate([ramp, rng.permuted(ramp, axis=1)])
    samples = np.repeat(halves[:, :, None], 3, axis=2)
    errors = squared_errors(samples, quantize(samples, 32, mapping=kmq.Rate(16)))
    assert errors[:62].mean() < 0.5 * errors[66:].mean()


@pytest.mark.parametrize("pixel_format", PixelFormat, ids=lambda found: found.label)
def test_every_pixel_format(pixel_format):
    samples = picture(pixel_format)
    given = samples[:, :, 0].astype(np.bool_) if pixel_format.depth == 1 else samples
    image = quantize(given, 8, mapping=kmq.Rate(1.25), pixel_format=pixel_format)
    assert image.pixel_format is pixel_format
    assert kmq.decode(encode(image)) == image
    assert np.array_equal(np.unique(image.indices), np.arange(image.n_colors))


def test_a_rate_means_the_same_at_16_bits():
    narrow = quantize(picture(), 16, mapping=kmq.Rate(1.5))
    wide = quantize(picture().astype(np.uint16) * 257, 16, mapping=kmq.Rate(1.5))
    assert wide.report.psnr == pytest.approx(narrow.report.psnr, abs=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_opaque_stays_opaque_and_transparent_exact(seed):
    samples = with_alpha(seed)
    shown = quantize(samples, 12, mapping=kmq.Rate(7.5)).to_array()
    assert (shown[samples[:, :, 3] == 255, 3] == 255).all()
    assert (shown[samples[:, :, 3] == 0] == 0).all()
    assert samples[shown[:, :, 3] == 0, 3].max() < 48  # nearly so before


def test_fixed_colours_are_there_and_palettes_are_kept():
    samples = picture()
    fixed = [[255, 0, 255], [1, 2, 3]]
    palette = quantize(samples, 10, mapping=kmq.Rate(5), require=fixed).palette.tolist()
    assert all(color in palette for color in fixed)
    given = np.array([[200, 200, 200], [0, 255, 0], [60, 60, 60], [90, 90, 90], [120, 120, 120]])
    assert quantize(samples, palette=given, mapping=kmq.Rate(5)).palette.tolist() == given.tolist()
    posterized = quantize(
        samples, 10, mapping=kmq.Rate(5), require=kmq.Require(posterize=4)
    ).palette
    assert np.isin(posterized, [*range(0, 256, 16), 255]).all()


def test_palettes_above_256_colours():
    samples = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    image = quantize(samples, 2000, mapping=kmq.Rate(3))
    assert image.indices.dtype == np.uint16
    assert image.n_colors > 1024
    assert (squared_errors(samples, image) - nearest_errors(samples, image.palette)).max() > 0


def test_important_pixels_keep_their_colours():
    samples = picture()
    importance = np.ones(samples.shape[:2])
    importance[:, :32] = 20
    errors = squared_errors(
        samples, quantize(samples, 16, mapping=kmq.Rate(2.5), weights=importance)
    )
    assert errors[:, :32].mean() < 0.7 * errors[:, 32:].mean()


def test_threads_do_not_change_the_result(monkeypatch):
    monkeypatch.setattr(stage, "_STRIP_PIXELS", 256)
    alone, together = (quantize(picture(), 16, mapping=kmq.Rate(1.5), n_threads=n) for n in (1, 4))
    assert alone == together


@pytest.mark.parametrize("space", ["eye", "linear", "lab"])
def test_spaces(space):
    image = quantize(picture(), 16, mapping=kmq.Rate(1.5), space=space)
    assert len(encode(image)) < len(encode(quantize(picture(), 16, space=space)))


def test_errors_of_blocks_cancel_out_for_the_eye(monkeypatch):
    samples, off = picture(), []
    for share in (stage._BLOCK_SHARE, 0):
        monkeypatch.setattr(stage, "_BLOCK_SHARE", share)
        image = kmq.quantize(samples, 8, mapping=kmq.Rate(0.5))
        apart = samples.astype(np.float64) - image.to_array()
        off.append(np.abs(apart.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))).mean())
    assert off[0] < 0.9 * off[1]


def test_errors_in_detail_are_seen_less():
    rng = np.random.default_rng(0)
    ids = np.zeros((40, 64), np.uint32)
    ids[:, 32:] = rng.integers(0, 30, (40, 32))
    colors = rng.integers(0, 256, (30, 3)).astype(np.float64)
    mapper = stage.RateMapper(ids, colors, np.zeros(30, np.uint8), None, 255, 2, by_eye=True)
    visible = mapper._visible()
    assert visible.shape == ids.shape
    assert visible.mean() == pytest.approx(1)
    assert visible[:, :24].min() == visible[:, :24].max() > 5 * visible[:, 40:].max()
    assert mapper._importance.min() >= stage._LEAST_IMPORTANCE


def test_costs_lean_towards_those_without_contexts():
    """At a share of 0, a symbol costs the same in every context, and a miss at every distance."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, (40, 64)).astype(np.uint32)
    ids[:20] = 7
    colors = rng.integers(0, 256, (30, 3)).astype(np.float64)

    def lengths(share):
        kinds = np.zeros(30, np.uint8)
        mapper = stage.RateMapper(ids, colors, kinds, None, 255, 2, context_share=share)
        return mapper.lengths(ids.astype(np.int32), colors)

    by_context, halfway, plain = (lengths(share) for share in (1.0, 0.5, 0.0))
    for name in ("first", "second"):
        ends = getattr(by_context, name), getattr(plain, name)
        assert np.allclose(getattr(halfway, name), (ends[0] + ends[1]) / 2, atol=1 / 200)
        assert np.ptp(ends[1], axis=0).max() == 0 < np.ptp(ends[0], axis=0).max()
    assert np.ptp(plain.second) == 0
    assert by_context.total < halfway.total < plain.total


def test_exact_pictures_and_tiny_ones():
    assert quantize(np.zeros((5, 5, 3), np.uint8), 4, mapping=kmq.Rate(1.25)).n_colors == 1
    one = np.arange(3, dtype=np.uint8).reshape(1, 1, 3)
    assert np.array_equal(quantize(one, 4, mapping=kmq.Rate(1.25)).to_array(), one)
    column = picture(height=40, width=1)
    assert quantize(column, 5, mapping=kmq.Rate(0.25)).indices.shape == (40, 1)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"lam": -1}, InputError, "lam is -1; it must be a finite number of at least 0"),
        ({"lam": float("nan")}, InputError, "lam is nan"),
        ({"lam": "much"}, TypeError, "lam is str; it must be a number"),
        ({"lam": True}, TypeError, "lam is bool"),
        (
            {"lam": 1, "fewest": {"psnr": 30}},
            InputError,
            "mapping=Rate and k=Fewest are both given",
        ),
    ],
)
def test_bad_rates(given, error, message):
    with pytest.raises(error, match=message):
        quantize(picture(), **grouped(**given))


# Lists and sums that a reader believes at a glance.


def test_nearby_entries_are_the_nearest():
    rng = np.random.default_rng(0)
    for k in (2, 5, 300):
        entries = rng.integers(0, 64, (k, 4)).astype(np.float32)
        found = stage._nearby(entries)
        apart = np.square(entries[:, None] - entries[None]).sum(axis=2)
        np.fill_diagonal(apart, np.inf)
        expected = np.sort(apart, axis=1)[:, : stage._NEARBY]
        own = np.sort(np.take_along_axis(apart, found.astype(np.int64), axis=1), axis=1)
        assert np.array_equal(own[:, : expected.shape[1]], expected)


def naive_choice(
    before, ids, points, labels, entries, nearby, unit, first_bits, second_bits, scales, share
):
    """What `choose_strip` makes of a whole picture whose colours all need the same kind."""
    height, width = before.shape
    now = np.pad(before, kernels.MARGIN, "edge")

    def level(i, j):
        square = np.square(entries[i] - entries[j]).sum()
        return sum(square >= unit * 2**step for step in range(kernels.LEVELS - 1))

    def bits(y, x):
        """What the pixel costs with the indices around it as they are."""
        index, w, n, ww, nn = (
            now[y + j, x + i] for j, i in ((0, 0), (0, -1), (-1, 0), (0, -2), (-2, 0))
        )
        ne, nw = now[y - 1, x + 1], now[y - 1, x - 1]
        pairs = ((w, n), (n, ne), (w, nw), (w, ne), (w, ww), (n, nn))
        context = int("".join(str(int(a == b)) for a, b in pairs), 2)
        apart = max(level(w, n), level(n, ne), level(w, nw))
        activity = min(max(apart - 2, 0) // 2, kernels.ACTIVITIES - 1)
        row = first_bits[context * kernels.ACTIVITIES + activity]
        for symbol, neighbour in enumerate((w, n, ne, nw)):
            if index == neighbour:
                return row[symbol]
        return row[4] + second_bits[activity, min(level(index, w), level(index, n))]

    def summed_error(y, x):
        """The square of the summed errors of the pixel's block."""
        block = np.s_[y // 4 * 4 :, x // 4 * 4 :]
        inside = now[kernels.MARGIN : -kernels.MARGIN, kernels.MARGIN : -kernels.MARGIN]
        apart = (points[ids] - entries[inside])[block][:4, :4]
        return np.square(apart.sum(axis=(0, 1))).sum()

    for y, x in np.ndindex(height, width):
        color, place = ids[y, x], (y + kernels.MARGIN, x + kernels.MARGIN)
        around = now[place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2].ravel()
        nearest = labels[color]
        if (around == nearest).all():
            continue
        costs = {}
        for one in (nearest, *around, *nearby[nearest]):
            now[place] = one
            excess = np.square(points[color] - entries[one]).sum()
            excess -= np.square(points[color] - entries[nearest]).sum()
            excess += share * summed_error(y, x)
            costs[one] = scales[y, x] * excess + sum(
                bits(place[0] + j, place[1] + i)
                for j, i in ((0, 0), (0, 1), (1, 0), (1, -1), (1, 1))
            )
        now[place] = min(costs, key=costs.get)
    return now[kernels.MARGIN : -kernels.MARGIN, kernels.MARGIN : -kernels.MARGIN]


@pytest.mark.parametrize(("seed", "share"), [(0, 0), (1, 0), (2, 0.25)])
def test_choice_is_that_of_a_plain_loop(seed, share):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 256, (50, 4)).astype(np.float32)
    entries = rng.integers(0, 256, (9, 4)).astype(np.float32)
    labels = np.square(points[:, None] - entries[None]).sum(axis=2).argmin(axis=1).astype(np.int32)
    ids = np.sort(rng.integers(0, 50, (12, 17)), axis=1).astype(np.uint32)
    before = labels[ids]
    first_bits = rng.random((kernels.CONTEXTS, kernels.SYMBOLS)).astype(np.float32)
    second_bits = rng.random((kernels.ACTIVITIES, kernels.LEVELS)).astype(np.float32)
    scales = np.full(ids.shape, 2e-5, np.float32) * rng.random(ids.shape).astype(np.float32)
    nearby, unit = stage._nearby(entries), np.float32(16)
    errors = np.zeros((3, 5, 4), np.float32)
    kernels.sum_errors(0, 12, ids, points, before, entries, errors)
    chosen = np.empty_like(before)
    levels = np.empty((9, 9) if seed else (0, 0), np.uint8)
    if seed:
        kernels.fill_levels(entries, unit, levels)
    kernels.choose_strip(
        0, before, ids, points, labels, np.zeros(50, np.uint8), entries, np.zeros(9, np.uint8),
        stage._ALLOWED, nearby, unit, levels, first_bits, second_bits, scales,
        np.float32(1e9), np.float32(share), errors,
        np.empty((12 + 2 * kernels.MARGIN, 17 + 2 * kernels.MARGIN), np.int32),
        np.empty(kernels.MOST_NEIGHBOURS + nearby.shape[1], np.int64),
        np.empty(9, np.int32), chosen,
    )  # fmt: skip
    expected = naive_choice(
        before, ids, points, labels, entries, nearby, unit, first_bits, second_bits, scales, share
    )
    after = np.zeros_like(errors)
    kernels.sum_errors(0, 12, ids, points, chosen, entries, after)
    np.testing.assert_allclose(errors, after, atol=0.01)
    assert (chosen != before).sum() > 20
    assert (chosen != expected).sum() <= 1  # sums in another order may tie


def test_counts_and_sums():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, (9, 11)).astype(np.uint32)
    colors = rng.integers(0, 256, (30, 3)).astype(np.float64)
    entries = rng.integers(0, 256, (4, 3)).astype(np.float64)
    indices = rng.integers(0, 4, (9, 11)).astype(np.int32)
    importance = rng.random((9, 11)) + 0.5
    mapper = stage.RateMapper(ids, colors, np.zeros(30, np.uint8), importance, 255, 2)
    found = mapper.count(indices, entries)
    assert found.first.sum() == indices.size
    misses = sum(
        indices[y, x]
        not in {
            indices[y, max(x - 1, 0)],
            indices[max(y - 1, 0), x],
            indices[max(y - 1, 0), min(x + 1, 10)],
            indices[max(y - 1, 0), max(x - 1, 0)],
        }
        for y in range(9)
        for x in range(11)
    )
    assert found.second.sum() == misses
    for entry in range(4):
        own = indices == entry
        assert found.pixels[entry] == own.sum()
        assert found.weights[entry] == pytest.approx(importance[own].sum())
        expected = (importance[own][:, None] * colors[ids[own]]).sum(axis=0)
        assert np.allclose(found.sums[entry], expected)


def test_sums_of_many_entries_take_few_parts(monkeypatch):
    monkeypatch.setattr(stage, "_STRIP_PIXELS", 8)
    monkeypatch.setattr(stage, "_SUM_BUDGET", 1 << 16)
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (5000, 3)).astype(np.float64)
    ids = rng.integers(0, 5000, (200, 10)).astype(np.uint32)
    mapper = stage.RateMapper(ids, colors, np.zeros(5000, np.uint8), None, 255, 2)
    tracemalloc.start()
    try:
        found = mapper.count(ids.astype(np.int32), colors)
        assert tracemalloc.get_traced_memory()[1] < 8e6  # not 200 strips x 5000 entries x 6
    finally:
        tracemalloc.stop()
    assert np.array_equal(found.pixels, np.bincount(ids.reshape(-1), minlength=5000))
