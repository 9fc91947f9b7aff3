"""Optimised mapping: against plain loops, and what is promised of it whatever the picture."""

import numpy as np
import pytest
from PIL import Image

import kmq
from kmq.cli import main
from kmq.errors import InputError
from kmq.model import alpha
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping import optimizing
from kmq.stages.mapping.optimizing import Optimizer, Palette


def gradient(height=40, width=70, channels=3):
    """A slope with a little noise and an edge."""
    y, x = np.mgrid[:height, :width]
    planes = [60 + 90 * np.sin((c + 1) * x / width) + 40 * y / height for c in range(channels)]
    picture = np.stack(planes, axis=2) + np.random.default_rng(1).normal(0, 1, (height, width, 1))
    picture[:, 50:] += 60
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


# Plain loops


SHARES = (0.1, 0.25, 0.3)


def naive_blur(error, share):
    """Blur (height, width), which is nothing beyond its edges, into (height + 2, width + 2)."""
    row = np.array([share, 1 - 2 * share, share])
    padded = np.pad(error, 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return (windows * np.outer(row, row) / (row @ row)).sum(axis=(2, 3))


def naive_error(picture, coordinates, indices):
    """Return by how much pixels are off, in coordinates in which a pixel's own share is 1."""
    scale = np.array([share**2 * 2 + (1 - 2 * share) ** 2 for share in SHARES])
    return (coordinates[indices] - picture) * scale


def naive_cost(picture, coordinates, indices):
    error = naive_error(picture, coordinates, indices)
    blurred = [naive_blur(error[..., c], share) for c, share in enumerate(SHARES)]
    return np.square(blurred).sum() + optimizing.OWN * np.square(error).sum()


def naive_bits(indices, y, x, price):
    """Return what a pixel costs and those after it that see it nearest."""

    def at(row, column):
        return indices[max(row, 0), min(max(column, 0), indices.shape[1] - 1)]

    bits = 0
    for row, column in ((y, x), (y, x + 1), (y + 1, x - 1), (y + 1, x), (y + 1, x + 1)):
        if not (row < indices.shape[0] and 0 <= column < indices.shape[1]):
            continue
        around = w, n, ne, nw = [
            at(row + dy, column + dx) for dy, dx in ((0, -1), (-1, 0), (-1, 1), (-1, -1))
        ]
        equal = (
            w == n,
            n == ne,
            w == nw,
            w == ne,
            w == at(row, column - 2),
            n == at(row - 2, column),
        )
        context = sum(2 ** (5 - place) * bool(one) for place, one in enumerate(equal))
        index = indices[row, column]
        symbol = around.index(index) if index in around else 4
        bits += price.symbols[context, symbol] + (price.misses[index] if symbol == 4 else 0)
    return price.of_a_bit * bits


def scene(height=11, width=9, k=6, importance=None, room=True):
    """Return a picture of three coordinates, a palette, indices and what optimises them."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([20 * y, 15 * x + 5 * y, 99 - 9 * x], axis=2) + random.normal(
        0, 9, (height, width, 3)
    )
    ids = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    kinds = np.full(height * width, alpha.OPAQUE, np.uint8)
    coordinates = random.uniform(0, 150, (k, 3))
    if room:
        coordinates[:2] = [
            [-300],
            [600],
        ]  # so that the search has room for all that pixels want to be
    palette = Palette(coordinates, np.full(k, alpha.OPAQUE, np.uint8))
    optimizer = Optimizer(ids, picture.reshape(-1, 3), kinds, SHARES, importance, 255, 2)
    squares = np.square(picture[:, :, None] - palette.coordinates).sum(axis=3)
    return picture, palette, squares.argmin(axis=2).astype(np.int32), optimizer


@pytest.mark.parametrize("shape", [(11, 9), (1, 30), (70, 12)])
def test_every_turn_lowers_the_cost_until_none_can(shape):
    picture, palette, indices, optimizer = scene(*shape)
    free = optimizer.price(indices, len(palette.kinds), 0)
    costs = [naive_cost(picture, palette.coordinates, indices)]
    while optimizer.improve(indices, palette, free, 1):
        costs.append(naive_cost(picture, palette.coordinates, indices))
        assert len(costs) < 50
    assert len(costs) > 1
    assert (np.diff(costs) < 0).all()


def test_no_pixel_has_a_better_entry_in_the_end():
    picture, palette, indices, optimizer = scene()
    free = optimizer.price(indices, len(palette.kinds), 0)
    optimizer.improve(indices, palette, free, 99)
    least = naive_cost(picture, palette.coordinates, indices)
    for place in np.ndindex(indices.shape):
        for entry in range(len(palette.kinds)):
            changed = indices.copy()
            changed[place] = entry
            assert naive_cost(picture, palette.coordinates, changed) > least * (1 - 1e-3)


@pytest.mark.parametrize("importance", [None, np.linspace(0.5, 4, 99).reshape(11, 9)])
def test_bits_count_as_much_as_they_cost(importance):
    picture, palette, indices, optimizer = scene(importance=importance)
    k = len(palette.kinds)
    price = optimizer.price(indices, k, 300.0)
    optimizer.improve(indices, palette, price, 99)
    least = naive_cost(picture, palette.coordinates, indices)
    n_better = 0
    for y, x in np.ndindex(indices.shape):
        weight = 1 if importance is None else importance[y, x]
        before = naive_bits(indices, y, x, price)
        for entry in set(indices[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].flat):
            changed = indices.copy()
            changed[y, x] = entry
            gain = least - naive_cost(picture, palette.coordinates, changed)
            gain = gain / (1 + optimizing.OWN)
            gain += (before - naive_bits(changed, y, x, price)) / weight
            n_better += gain > 1e-3 * least
    # Pixels are looked at again where those around them change, and not for bits farther away.
    assert n_better <= 1


def test_entries_move_to_where_the_cost_is_least():
    picture, palette, indices, optimizer = scene(30, 40, room=False)
    free = np.ones(palette.coordinates.shape, bool)
    free[1] = free[2, 2] = False
    optimizer.improve(indices, palette, optimizer.price(indices, 6, 0), 3)
    place = palette.coordinates
    costs = [naive_cost(picture, place, indices)]
    for _ in range(3):
        place = optimizer.move(indices, Palette(place, palette.kinds), free)
        costs.append(naive_cost(picture, place, indices))
    assert (place[~free] == palette.coordinates[~free]).all()
    assert costs[3] < 0.85 * costs[0]
    assert abs(costs[3] - costs[2]) < 0.02 * costs[2]


# What is promised


def blurred(samples):
    """Return a picture as if seen from afar, without its border."""
    plane = np.asarray(samples, float).reshape(*samples.shape[:2], -1)
    windows = np.lib.stride_tricks.sliding_window_view(plane, (3, 3), axis=(0, 1))
    return (windows * np.outer([1, 2, 1], [1, 2, 1]) / 16).sum(axis=(-1, -2))


def test_it_is_nearer_after_a_blur_than_dithering():
    picture = gradient()
    seen = blurred(picture)

    def off(mapping):
        shown = kmq.quantize(picture, 6, mapping=mapping, space="rgb").to_array()
        return np.square(blurred(shown) - seen).mean()

    assert off("optimized") < 0.8 * off("dither") < 0.8 * off("nearest")


def test_a_price_of_bits_makes_files_smaller():
    picture = gradient(96, 96)
    sizes = [len(kmq.encode(picture, 8, mapping=kmq.Optimize(lam))) for lam in (0, 0.3, 3)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 0.7 * sizes[0]


def test_threads_change_nothing():
    picture = np.tile(gradient(), (5, 1, 1))
    for lam in (0, 1):
        images = [
            kmq.quantize(picture, 300, mapping=kmq.Optimize(lam), n_threads=n_threads)
            for n_threads in (1, 2, 5)
        ]
        assert images[0] == images[1] == images[2]
        assert images[0].indices.dtype == np.uint16


@pytest.mark.parametrize("label", ["1", "L", "LA", "CMYK", "RGB48"])
def test_all_pixel_formats_are_nearer_after_a_blur(label):
    pixel_format = PixelFormat.from_label(label)
    picture = gradient(channels=pixel_format.channels)
    if pixel_format.depth == 1:
        picture = picture[:, :, 0] > 127
    elif pixel_format.depth == 16:
        picture = picture.astype(np.uint16) * 257
    if pixel_format.has_alpha:
        picture[..., -1] = pixel_format.max_value
    image = kmq.quantize(picture, 5, pixel_format=pixel_format, mapping="optimized")
    plain = kmq.quantize(picture, 5, pixel_format=pixel_format)
    assert image.n_colors <= 5
    if pixel_format.depth == 1:
        assert image == plain
        return
    seen = blurred(picture)
    errors = [np.square(blurred(one.to_array()) - seen).mean() for one in (image, plain)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("space", ["eye", "rgb", "oklab"])
def test_transparent_pixels_stay_so_and_opaque_ones_opaque(space):
    picture = np.dstack([gradient(), np.full((40, 70), 255, np.uint8)])
    picture[:20, :30, 3] = 0
    picture[20:30, :30, 3] = np.linspace(1, 254, 30)
    image = kmq.quantize(picture, 9, mapping="optimized", space=space)
    shown = image.to_array()
    assert (shown[picture[..., 3] == 0] == 0).all()
    assert (shown[picture[..., 3] == 255, 3] == 255).all()
    assert len(np.unique(shown[20:30, :30, 3])) > 2


def test_fixed_and_given_colours_stay():
    picture = gradient()
    fixed = np.array([[9, 200, 30], [255, 255, 255]])
    image = kmq.quantize(picture, 6, require=fixed, mapping="optimized")
    assert {tuple(color) for color in fixed} <= {tuple(color) for color in image.palette}
    given = np.array([[0, 0, 0], [250, 90, 10], [90, 250, 90], [255, 255, 255], [1, 2, 3]])
    mapped = kmq.quantize(picture, palette=given, mapping="optimized")
    assert (mapped.palette == given).all()
    plain = kmq.quantize(picture, palette=given)
    errors = [
        np.square(blurred(one.to_array()) - blurred(picture)).mean() for one in (mapped, plain)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_black_white_and_few_bits_are_as_required():
    picture = np.clip(gradient().astype(int) * 3 // 2 - 80, 3, 251).astype(np.uint8)
    require = kmq.Require(snap=True, posterize=4)
    image = kmq.quantize(picture, 8, require=require, mapping="optimized")
    assert ((image.palette % 16 == 0) | (image.palette == 255)).all()


def test_what_fits_is_exact_and_one_colour_too():
    flat = np.full((9, 9, 3), 77, np.uint8)
    flat[3:5] = (250, 3, 90)
    for picture, k in ((flat, 2), (flat[:1, :1], 1), (flat, 64)):
        image = kmq.quantize(picture, k, mapping="optimized")
        assert (image.to_array() == picture).all()
    assert kmq.quantize(flat, 1, mapping="optimized").n_colors == 1


def test_flat_areas_stay_flat():
    picture = gradient(60, 90)
    picture[:, :40] = (200, 30, 90)
    picture[20:30, 10:30] = 255
    shown = kmq.quantize(picture, 12, mapping="optimized").to_array()
    for part in (shown[4:16, 4:36], shown[22:28, 12:28]):
        assert len(np.unique(part.reshape(-1, 3), axis=0)) == 1


def test_pixels_that_do_not_count_do_not_move_entries():
    picture = gradient()
    picture[:, :20] = np.random.default_rng(0).integers(0, 256, (40, 20, 3))
    weights = np.ones((40, 70))
    weights[:, :20] = 0
    errors = [
        np.square(blurred(shown.to_array()) - blurred(picture))[:, 22:].mean()
        for shown in (
            kmq.quantize(picture, 8, mapping="optimized", space="rgb", weights=weights),
            kmq.quantize(picture, 8, mapping="optimized", space="rgb"),
        )
    ]
    assert errors[0] < 0.5 * errors[1]


def test_all_doors_lead_to_the_same_image(tmp_path):
    picture = gradient()
    expected = kmq.quantize(picture, 6, mapping=kmq.Optimize(0.5))
    assert kmq.decode(kmq.encode(picture, 6, mapping=kmq.Optimize(0.5))) == expected
    assert kmq.quantize(picture, 6, mapping="optimized") == kmq.quantize(
        picture, 6, mapping=kmq.Optimize()
    )
    source = tmp_path / "picture.png"
    Image.fromarray(picture).save(source)
    arguments = ["encode", str(source), "-k", "6", "--optimize", "--lambda", "0.5"]
    assert main(arguments) == 0
    assert kmq.read(tmp_path / "picture.kmq") == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": kmq.Fewest(psnr=30)}, "mapping=Optimize and k=Fewest are both given; optimised"),
        ({"size": 900}, "mapping=Optimize and size are both given"),
        ({"psnr": 30}, "mapping=Optimize and psnr are both given"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        kmq.encode(gradient(), mapping="optimized", **options)


def test_lambda_is_checked():
    with pytest.raises(InputError, match="lam is -1"):
        kmq.Optimize(-1)
    with pytest.raises(TypeError, match="lam is str"):
        kmq.Optimize("much")
    assert kmq.Optimize() == kmq.Optimize(0.0)


def test_progress_is_told():
    told = []
    kmq.quantize(gradient(), 6, mapping="optimized", progress=lambda *now: told.append(now))
    assert told[-1] == ("optimize", 1.0)


def test_the_best_effort_optimizes_what_is_looked_at():
    picture = gradient()
    best = kmq.quantize(picture, 6, effort="best")
    assert best == kmq.quantize(picture, 6, effort="best", mapping="optimized")
    for options in ({"space": "rgb"}, {"k": kmq.Fewest(psnr=25)}, {"start": "var-part"}):
        options = {"k": 6, **options} | ({} if "start" in options else {"effort": "best"})
        plain = kmq.quantize(picture, **options)
        assert plain.report.mse == kmq.quantize(picture, mapping="nearest", **options).report.mse
    assert kmq.quantize(picture, 6, effort="best", mapping="nearest") != best


def test_the_command_line_can_do_without(tmp_path):
    source = tmp_path / "picture.png"
    Image.fromarray(gradient()).save(source)
    assert main(["encode", str(source), "-k", "6", "--effort", "best", "--no-optimize"]) == 0
    expected = kmq.quantize(gradient(), 6, effort="best", mapping="nearest")
    assert kmq.read(tmp_path / "picture.kmq") == expected
