"""Dithering: against a plain loop, and what is promised of it whatever the picture."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

import kmq
from grouped import grouped
from kmq.cli import main
from kmq.errors import InputError
from kmq.stages.mapping import dithering

METHODS = ("diffusion", "ordered")


def gradient(height=40, width=90, channels=3):
    """A slope with a little noise and an edge."""
    y, x = np.mgrid[:height, :width]
    planes = [60 + 90 * np.sin((c + 1) * x / width) + 40 * y / height for c in range(channels)]
    picture = np.stack(planes, axis=2) + np.random.default_rng(1).normal(0, 1, (height, width, 1))
    picture[:, 60:] += 60
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


# A plain loop


def naive_diffusion(picture, palette, strength):
    """Floyd and Steinberg's dithering, by trying every entry."""
    height, width, channels = picture.shape
    values = np.zeros((height, width, 4), np.float32)
    values[:, :, :channels] = picture
    entries = np.zeros((len(palette), 4), np.float32)
    entries[:, :channels] = palette
    apart = np.square(values[:, :, None] - entries).sum(axis=3)
    variance = apart.min(axis=2).mean()
    limit = dithering._MOST_PASSED_ON * variance
    everything = np.concatenate([values.reshape(-1, 4), entries])
    low, high = everything.min(axis=0), everything.max(axis=0)
    errors = np.zeros((height + 1, width + 2, 4))
    indices = np.empty((height, width), int)
    for y in range(height):
        step = 1 - 2 * (y % 2)
        for x in range(width)[::step]:
            error = errors[y, x + 1]
            if not apart[y, x].min():
                index = apart[y, x].argmin()
                error = error * strength * 0.5
            else:
                wanted = np.clip(values[y, x] + strength * error, low, high)
                index = np.square(wanted - entries).sum(axis=1).argmin()
                error = wanted - entries[index]
                square = float(error @ error)
                if square > limit:
                    error = error * (limit / square) ** 0.5
            indices[y, x] = index
            errors[y, x + 1 + step] += error * 7 / 16
            errors[y + 1, x + 1 - step] += error * 3 / 16
            errors[y + 1, x + 1] += error * 5 / 16
            errors[y + 1, x + 1 + step] += error * 1 / 16
    return indices


@pytest.mark.parametrize("strength", [0.3, 1])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("k", [2, 9])
def test_diffusion_is_that_of_a_plain_loop(k, channels, strength):
    picture = gradient(channels=channels)
    palette = kmq.quantize(picture, k, space="rgb").palette
    image = kmq.quantize(picture, palette=palette, mapping=kmq.Dither(strength), space="rgb")
    plain = naive_diffusion(picture, palette, strength)
    # It sums in another order and precision: a near tie may fall the other way and change what
    # follows, but not how the picture looks.
    assert (image.indices == plain).mean() > 0.97


# The search


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 7, 200, 1000])
def test_search_finds_the_nearest_entry(k, channels):
    # Without errors that are passed on, diffusion is a search for the nearest entry.
    random = np.random.default_rng(k)
    scale = random.choice([1, 300, 60000])
    entries = random.normal(0, scale, (k, channels)).astype(np.float32)
    colors = random.normal(0, scale, (1500, channels)).astype(np.float32)
    mapping = dithering.Mapping(
        colors,
        entries,
        np.zeros(len(colors), np.int32),
        np.ones(len(colors), np.int64),
        np.zeros(len(colors), bool),
        np.zeros(len(colors), np.uint8),
        np.zeros(k, np.uint8),
    )
    ids = np.arange(1500, dtype=np.uint32).reshape(30, 50)
    indices = dithering.dithered(
        ids, mapping, dithering.Dither("diffusion", 0.0), 1
    ).indices.reshape(-1)
    squares = np.square(colors[:, None].astype(float) - entries[None]).sum(axis=2)
    chosen = squares[np.arange(1500), indices]
    assert np.all(chosen <= squares.min(axis=1) * (1 + 1e-5))


def test_candidates_stay_few_where_all_entries_are_as_far_away():
    entries = np.stack(np.meshgrid(*[np.arange(20)] * 3), axis=-1).reshape(-1, 3)
    entries = 32768 + entries[:6000].astype(np.float32)
    colors = np.random.default_rng(0).integers(0, 65536, (500, 3)).astype(np.float32)
    shown = np.zeros(len(colors), np.int32)
    kinds = np.zeros(len(entries), np.uint8)
    mapping = dithering.Mapping(colors, entries, shown, shown + 1, shown > 0, kinds[:500], kinds)
    ids = np.arange(500, dtype=np.uint32).reshape(20, 25)
    tracemalloc.start()
    try:
        found = dithering.dithered(
            ids, mapping, dithering.Dither("diffusion", 0.0), 1
        ).indices.reshape(-1)
        assert tracemalloc.get_traced_memory()[1] < 2**26  # not 2^18 cells x 6000 entries
    finally:
        tracemalloc.stop()
    squares = np.square(colors[:, None].astype(float) - entries[None]).sum(axis=2)
    assert np.all(squares[np.arange(500), found] <= squares.min(axis=1) * (1 + 1e-5))


def test_neighbours_are_the_nearest_entries():
    random = np.random.default_rng(0)
    entries = random.normal(0, 50, (700, 4)).astype(np.float32)
    found = dithering._neighbours(entries.reshape(-1), dithering._walk(entries), 9)
    squares = np.square(entries[:, None].astype(float) - entries).sum(axis=2)
    nearest = np.argsort(squares, axis=1)[:, 1:10]
    assert (found == nearest).mean() > 0.999


# The mask


def test_mask_has_every_level_once_and_the_same_everywhere():
    mask = dithering.blue_noise()
    side = dithering.MASK_SIDE
    ranks = np.sort(mask.reshape(-1) * side**2 - 0.5)
    assert ranks.tolist() == list(range(side**2))


@pytest.mark.parametrize("level", [0.05, 0.1, 0.5, 0.9])
def test_mask_has_no_coarse_pattern(level):
    # Blue noise: hardly any power at low frequencies, against white noise of the same level.
    dots = dithering.blue_noise() < level
    power = np.abs(np.fft.fft2(dots - dots.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(dots))] * 2))
    coarse = power[frequency < 0.1 * min(level, 1 - level) ** 0.5 / 0.3].mean()
    assert coarse < 0.15 * power.mean()


# What is promised


@pytest.mark.parametrize("method", METHODS)
def test_slopes_come_out_right_from_afar(method):
    x = np.linspace(0, 255, 256)
    picture = np.broadcast_to(np.rint(x), (128, 256)).astype(np.uint8)
    palette = [[0], [85], [170], [255]]
    plain = kmq.quantize(picture, palette=palette).to_array()
    mixed = kmq.quantize(picture, palette=palette, mapping=kmq.Dither(1, method=method)).to_array()

    def from_afar(shown):
        return shown.reshape(8, 16, 16, 16).mean(axis=(1, 3))

    def off(shown):
        return np.abs(from_afar(shown) - from_afar(picture)).mean()

    assert off(mixed) < off(plain) / 5


@pytest.mark.parametrize("method", METHODS)
def test_strength_goes_from_nothing_to_all(method):
    picture = gradient()
    none = kmq.quantize(picture, 8)
    assert kmq.quantize(picture, 8, mapping=kmq.Dither(0, method=method)) == none
    changed = [
        (
            kmq.quantize(
                picture, palette=none.palette, mapping=kmq.Dither(strength, method=method)
            ).indices
            != none.indices
        ).mean()
        for strength in (0.001, 0.25, 0.5, 0.75, 1)
    ]
    assert changed[0] < 0.01
    assert changed == sorted(changed)
    assert changed[-1] > 0.15


@pytest.mark.parametrize("method", METHODS)
def test_colours_of_the_palette_show_themselves(method):
    picture = gradient()
    picture[10:20, 20:60] = [200, 30, 40]
    image = kmq.quantize(picture, 6, require=[[200, 30, 40]], mapping=kmq.Dither(1, method=method))
    assert np.all(image.to_array()[10:20, 20:60] == [200, 30, 40])


@pytest.mark.parametrize("method", METHODS)
def test_few_colours_come_back_exactly(method):
    picture = np.random.default_rng(0).integers(0, 2, (20, 20, 3)).astype(np.uint8) * 255
    image = kmq.quantize(picture, 8, mapping=kmq.Dither(1, method=method))
    assert np.array_equal(image.to_array(), picture)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel_format", list(kmq.PixelFormat), ids=lambda one: one.label)
def test_every_pixel_format(pixel_format, method):
    channels, top = pixel_format.channels, pixel_format.max_value
    picture = gradient(channels=channels) * (top / 255)
    if pixel_format.has_alpha:
        picture[:15, :, -1] = top
        picture[30:] = 0
    samples = np.rint(picture).astype(pixel_format.dtype)
    if channels == 1:
        samples = samples[:, :, 0]
    if pixel_format.depth == 1:
        samples = samples.astype(bool)
    options = {"pixel_format": pixel_format, "mapping": kmq.Dither(method=method)}
    image = kmq.quantize(samples, 5, **options)
    again = kmq.quantize(samples, palette=image.palette, **options)
    assert again.report.mse >= 0
    shown = image.to_array()
    assert np.array_equal(np.unique(image.indices), np.arange(image.n_colors))
    if pixel_format.has_alpha:
        assert np.all(shown[:15, :, -1] == top)
        assert np.all(shown[30:] == 0)
    else:
        squares = np.square(shown.astype(float) - samples).reshape(40, 90, -1).sum(axis=2)
        assert image.report.mse == pytest.approx(squares.mean())


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_nothing(method):
    picture = np.tile(gradient(), (15, 1, 1))  # 600 rows: several bands
    images = [
        kmq.quantize(picture, 300, mapping=kmq.Dither(1, method=method), n_threads=n_threads)
        for n_threads in (1, 2, 5)
    ]
    assert images[0] == images[1] == images[2]
    assert images[0].indices.dtype == np.uint16


def test_bands_leave_no_seam():
    x = np.linspace(90, 110, 200)
    picture = np.broadcast_to(np.rint(x * 256), (1024, 200)).astype(np.uint16)
    image = kmq.quantize(picture, palette=[[80 * 256], [100 * 256], [120 * 256]], mapping="dither")
    rows = np.abs(image.to_array().astype(float).mean(axis=1) - picture.mean(axis=1))
    seams = [rows[y] for y in range(128, 1024, 128)]
    assert np.mean(seams) < 3 * rows.mean()


def test_options_reach_files_pillow_and_the_command_line(tmp_path):
    import kmq.pillow  # registers the format

    picture = gradient()
    expected = kmq.quantize(picture, 6, mapping=kmq.Dither(0.5, method="ordered"))
    encoded = kmq.decode(kmq.encode(picture, 6, mapping=kmq.Dither(0.5, method="ordered")))
    assert np.array_equal(encoded.to_array(), expected.to_array())
    source, target = tmp_path / "slope.png", tmp_path / "slope.kmq"
    Image.fromarray(picture).save(source)
    Image.fromarray(picture).save(target, k=6, mapping=kmq.Dither(0.5, method="ordered"))
    assert kmq.read(target) == encoded
    command = ["encode", str(source), "-k", "6", "--force"]
    halfway = ["--dither", "--dither-strength", "0.5", "--dither-method", "ordered"]
    assert main([*command, *halfway]) == 0
    assert np.array_equal(kmq.read(target).to_array(), expected.to_array())
    assert main([*command, "--dither"]) == 0
    full = kmq.quantize(picture, 6, mapping="dither")
    assert np.array_equal(kmq.read(target).to_array(), full.to_array())


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"dither": 1.5}, InputError, "strength is 1.5; it must be from 0 to 1"),
        ({"dither": -0.1}, InputError, "strength is -0.1"),
        ({"dither": float("nan")}, InputError, "strength is nan"),
        ({"dither": True}, TypeError, "strength is bool"),
        ({"dither": "much"}, TypeError, "strength is str"),
        ({"dither_method": "random"}, InputError, "method is 'random'"),
        (
            {"dither": 1, "fewest": {"psnr": 30}},
            InputError,
            "mapping=Dither and k=Fewest are",
        ),
        ({"mapping": 1}, TypeError, "mapping is int; it must be"),
        ({"mapping": "floyd"}, InputError, "mapping is 'floyd'"),
    ],
)
def test_what_cannot_be_used_is_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        kmq.quantize(gradient(), **grouped(**options))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--dither", "--dither-strength", "2"], "must be a number from 0 to 1, not '2'"),
        (["--dither", "--psnr", "30"], "--dither and --psnr are both given"),
        (["--dither-method", "ordered"], "--dither-method needs --dither"),
        (["--dither-strength", "1"], "--dither-strength needs --dither"),
    ],
)
def test_command_line_refuses_the_same(tmp_path, capsys, options, sentence):
    source = tmp_path / "slope.png"
    Image.fromarray(gradient()).save(source)
    assert main(["encode", str(source), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not source.with_suffix(".kmq").exists()


def test_ordered_mixes_a_colour_of_three_entries():
    palette = np.array([[100, 0, 0], [0, 100, 0], [0, 0, 100]], np.uint8)
    picture = np.full((64, 64, 3), 33, np.uint8)
    shown = kmq.quantize(picture, palette=palette, space="rgb", mapping="ordered").to_array()
    means = shown.mean(axis=(0, 1))
    assert (means > 15).all(), means
