"""Palettes for pictures with opaque and translucent colours: the former stay so, and both get a
fair share of the entries."""

import weakref
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

import kmq
import naive
from kmq.stages.palette import search, starting
from kmq.stages.palette.effort import Stopping
from kmq.stages.palette.points import divided, points_of


def vignette():
    """A photograph that fades out: opaque in the middle, transparent in the corners."""
    photo = data.astronaut()[::6, ::6]
    row, column = np.mgrid[-1 : 1 : photo.shape[0] * 1j, -1 : 1 : photo.shape[1] * 1j]
    alpha = np.clip(1.6 - 1.8 * np.hypot(row, column), 0, 1) * 255
    return np.dstack([photo, np.rint(alpha).astype(np.uint8)])


def veil(n_opaque=0.1, seed=0):
    """Smooth colours and smooth alpha, with a few opaque pixels anywhere."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[0 : 1 : 60 * 1j, 0 : 1 : 70 * 1j]
    shares = np.stack([row * column, np.sqrt(row), 1 - column, 0.2 + 0.7 * row], axis=2)
    samples = np.clip(shares + random.normal(0, 0.03, shares.shape), 0.01, 0.99) * 255
    picture = np.rint(samples).astype(np.uint8)
    picture[random.random((60, 70)) < n_opaque, 3] = 255
    return picture


def nearly_opaque(seed=0):
    """A photograph whose alpha is 255 or, here and there, 254."""
    photo = data.astronaut()[::6, ::6]
    alpha = np.random.default_rng(seed).integers(254, 256, (*photo.shape[:2], 1))
    return np.concatenate([photo, alpha.astype(np.uint8)], axis=2)


def badge():
    """Flat colours, some of them translucent, with smooth edges and nothing around."""
    row, column = np.mgrid[-1 : 1 : 60 * 1j, -1 : 1 : 80 * 1j]
    picture = np.zeros((60, 80, 4))
    flat = [(30, 90, 200, 255), (250, 240, 90, 255), (200, 40, 60, 140), (20, 160, 90, 230)]
    for place, color in zip((-0.6, -0.2, 0.2, 0.6), flat, strict=True):
        alpha = np.clip((0.4 - np.hypot(row, column - place)) * 30, 0, 1) * color[3] / 255
        seen = alpha + picture[..., 3] * (1 - alpha)
        over = picture[..., :3] * (picture[..., 3] * (1 - alpha))[..., None]
        picture[..., :3] = (over + alpha[..., None] * color[:3]) / np.maximum(seen, 1e-9)[..., None]
        picture[..., 3] = seen
    picture[..., 3] *= 255
    return np.rint(picture).astype(np.uint8)


def constrained(colors, weights, k, seed):
    """Squared error of k entries, opaque or not, that plain rounds end with from a random start.

    `colors` are as seen; the first column tells how transparent they are: 0 is opaque.
    """
    random = np.random.default_rng(seed)
    solid = colors[:, 0] == 0
    entries = colors[random.choice(len(colors), k, replace=False)]
    held = entries[:, 0] == 0
    if not held.any():
        held[0], entries[0] = True, colors[np.flatnonzero(solid)[0]]
    for _ in range(30):
        apart = naive.squared_distances(colors, entries)
        apart[np.ix_(solid, ~held)] = np.inf
        labels = apart.argmin(axis=1)
        for label in np.unique(labels):
            own = labels == label
            entries[label] = np.average(colors[own], axis=0, weights=weights[own])
        entries[held, 0] = 0
    return float(weights @ apart.min(axis=1))


def coordinates(colors):
    """(n, 4) whose squared distance is that of the colours over black and over white."""
    alpha = colors[:, 3:] / 255
    rest = (1 - alpha) * 255 * np.sqrt(3) / 2
    return np.concatenate([rest, alpha * (colors[:, :3] - 127.5)], axis=1)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("seed", [0, 1])
def test_few_entries_are_as_good_as_the_best_of_many_naive_starts(k, seed):
    random = np.random.default_rng(seed)
    picture = veil(0.3, seed)[::6, ::7]
    picture[..., :3] = random.integers(0, 256, (*picture.shape[:2], 3))
    colors, counts = np.unique(picture.reshape(-1, 4), axis=0, return_counts=True)
    rows = coordinates(colors)
    least = min(constrained(rows, counts.astype(float), k, start) for start in range(60))
    found = kmq.quantize(picture, k, effort="best", space="rgb")
    # Samples are whole numbers, which the naive entries are not.
    assert found.report.mse <= 1.01 * least / counts.sum() + 1


@pytest.mark.parametrize("picture", [vignette(), veil(), nearly_opaque(), badge()])
@pytest.mark.parametrize("k", [2, 3, 8, 30, 120])
def test_opaque_colours_stay_and_share_the_entries(picture, k):
    image = kmq.quantize(picture, k)
    shown = image.to_array()
    solid = picture[..., 3] == 255
    assert np.all(shown[solid, 3] == 255)
    assert np.all(shown[picture[..., 3] == 0] == 0)
    assert image.report.mse == pytest.approx(
        naive.mse(naive.as_seen(picture), naive.as_seen(shown)), rel=1e-5
    )
    if k < 4:
        return
    # No part could be much better with entries taken from the other.
    n_opaque = int((image.palette[:, 3] == 255).sum())
    for moved in (-1, 1):
        fewer = k - n_opaque - moved
        if n_opaque + moved < 1 or fewer < 1:
            continue
        alone = 0.0
        for part, entries in ((solid, n_opaque + moved), (~solid, fewer)):
            own = picture[part][None]
            alone += kmq.quantize(own, entries).report.mse * own.shape[1]
        assert image.report.mse <= 1.05 * alone / solid.size


@pytest.mark.parametrize("picture", [vignette(), veil(), nearly_opaque(), badge()])
def test_plain_k_means_shares_the_entries_too(picture):
    searched = kmq.quantize(picture, 12)
    solid, clear = picture[..., 3] == 255, picture[..., 3] == 0
    colors = np.unique(picture.reshape(-1, 4), axis=0)
    for init in ("k-means++", "random", "var-part", colors[:: len(colors) // 11][:12]):
        image = kmq.quantize(
            picture, 12, start=kmq.Start(init, n_init=5 if isinstance(init, str) else 1)
        )
        assert np.all(image.to_array()[solid, 3] == 255)
        assert not image.to_array()[clear].any()
        if isinstance(init, str):
            assert image.report.mse <= 2.5 * searched.report.mse


def test_plain_starts_are_made_one_at_a_time():
    random = np.random.default_rng(0)
    columns = random.integers(0, 255, (4, 60)).astype(np.float32)
    solid = np.arange(60) < 30
    columns[3, solid] = 255
    points = points_of(columns, np.ones(60))
    points, _ = divided(points, np.arange(60, dtype=np.uint64), solid)
    living = []

    def starts():
        for seed in range(9):
            assert sum(start() is not None for start in living) <= 1
            start = starting.start_centroids(points.rows, points.weights, 5, "random", seed)
            living.append(weakref.ref(start))
            yield start
            del start

    fit = search.best_settled(points, starts(), Stopping(20, 0), 1, None)
    assert len(living) == 9
    assert fit.centroids.shape == (5, 4)


def test_alpha_of_254_costs_no_entries():
    picture = nearly_opaque()
    for k in (8, 40):
        alone = kmq.quantize(np.ascontiguousarray(picture[..., :3]), k).report.mse
        assert kmq.quantize(picture, k).report.mse <= 1.03 * alone + 1


@pytest.mark.parametrize("picture", [vignette(), veil(), nearly_opaque(), badge()])
def test_the_curve_is_one_of_the_same_problem(picture):
    curve = kmq.error_curve(picture, 100)
    for k, mse in zip(curve.k, curve.mse, strict=True):
        if k in (1, 2, 3, 4, 8, 18, 51, 100):
            found = kmq.quantize(picture, int(k), space="rgb").report.mse
            assert 0.97 * found - 1 <= mse <= 1.12 * found


@pytest.mark.parametrize("picture", [vignette(), veil()])
def test_a_target_is_reached(picture):
    image = kmq.quantize(picture, k=kmq.Fewest(psnr=30))
    assert image.report.psnr >= 30
    assert kmq.choose_k(picture, k=kmq.Fewest(psnr=30)) == image.n_colors
    assert kmq.quantize(picture, image.n_colors - 3).report.psnr < 30


@pytest.mark.parametrize("space", ["eye", "linear", "lab"])
def test_other_spaces_keep_colours_opaque_too(space):
    picture = vignette()
    importance = np.linspace(0, 1, picture[..., 0].size).reshape(picture.shape[:2])
    fixed = [(255, 0, 0, 255), (0, 0, 255, 120)]
    image = kmq.quantize(picture, 20, space=space, weights=importance, require=fixed)
    assert set(map(tuple, image.palette.tolist())) >= {*fixed, (0, 0, 0, 0)}
    shown = image.to_array()
    assert np.all(shown[picture[..., 3] == 255, 3] == 255)
    assert np.all(shown[picture[..., 3] == 0] == 0)
    assert (image.palette[:, 3] == 255).sum() >= 4


def test_fixed_opaque_entries_may_be_all_that_opaque_colours_have():
    picture = veil()
    image = kmq.quantize(picture, 3, require=[(60, 160, 120, 255), (0, 0, 0, 0)])
    assert np.all(image.to_array()[picture[..., 3] == 255, 3] == 255)
    assert image.n_colors == 3


def test_threads_do_not_change_a_bit():
    picture = vignette()
    one, many = (kmq.quantize(picture, 25, n_threads=n) for n in (1, 8))
    assert one == many
    assert np.array_equal(
        kmq.error_curve(picture, 30, n_threads=1).mse, kmq.error_curve(picture, 30, n_threads=8).mse
    )


@settings(max_examples=30, deadline=None)
@given(
    levels=st.integers(2, 4),
    alphas=st.lists(st.sampled_from([0, 1, 100, 254, 255]), min_size=2, max_size=3, unique=True),
    k=st.integers(1, 12),
    seed=st.integers(0, 999),
)
def test_any_small_picture_keeps_what_is_opaque(levels, alphas, k, seed):
    random = np.random.default_rng(seed)
    picture = random.integers(0, levels, (9, 11, 4)).astype(np.uint8) * (255 // levels)
    picture[..., 3] = random.choice(alphas, (9, 11))
    image = kmq.quantize(picture, k)
    assert image.n_colors <= k
    solid = picture[..., 3] == 255
    assert np.all(image.to_array()[solid, 3] == 255)


def test_lifted_starts_are_let_down():
    random = np.random.default_rng(0)
    rows = random.uniform(0, 100, (300, 4)).astype(np.float32)
    rows[:9, 3] = 220
    points = points_of(np.ascontiguousarray(rows.T), np.ones(300))
    points, _ = divided(points, np.arange(300, dtype=np.uint64), rows[:, 3] == 220)
    for k, method in product((1, 2, 5), ("var-part", "k-means++")):
        found = starting.start_centroids(points.rows, points.weights, k, method, 0)
        start = points.start(np.empty((0, 4)), found)
        assert start[:, 3].max() == 220
        assert np.all((start[:, 3] == 220) | (start[:, 3] < 100.1))
