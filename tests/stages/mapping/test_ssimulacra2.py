"""SSIMULACRA2, against figures of the reference and against a package that computes it anew."""

import math

import numpy as np
import pytest

import kmq
from kmq.kernels import ssimulacra2 as kernels
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping import ssimulacra2 as measure
from kmq.stages.mapping.ssimulacra2 import SearchedLooks, ssimulacra2

# What fast-ssim2 0.9.1, which computes bit for bit what the C++ program does, says of `pair(n)`.
REFERENCE = (
    *(97.823, 94.836, 82.08, 92.344, 77.77, 94.019, 60.703, 95.417, 69.73, 94.625),
    *(36.844, 85.536, 71.825, 77.968, 82.94, 88.92, 89.8, 55.166, 91.948, 96.811),
    *(76.775, 58.567, 69.44, 75.127, 59.669, 86.726, 80.377, 95.431, 29.964, 47.397),
    *(40.581, 94.852, 35.546, 75.748, 80.517, 60.083, 88.957, 34.295, 83.174, 57.689),
    *(27.384, 55.008, 43.986, 93.599, 42.523, 86.765, 54.485, 55.773, 0.444, 27.052),
)


# … and of `drawing(n)`: flat areas, where the score sees rounding errors.
OF_DRAWINGS = (
    *(98.405, 97.899, 97.498, 85.554, 81.106, 95.047, 98.816, 97.202, 95.266, 78.327, 94.475),
    *(93.551, 97.933, 96.708, 94.933, 96.918, 96.658, 85.338, 97.161, 93.705, 98.332, 95.11),
    *(87.111, 83.491),
)


def pair(number):
    """Return a picture and what is left of it, (h, w, 3) uint8: whole numbers, so that they are the
    same everywhere."""
    height, width = 8 + number * 37 % 83, 8 + number * 53 % 91
    y, x, channel = np.indices((height, width, 3))
    period = 23 + number % 5 * 16
    waves = (
        np.abs((3 * x + (number % 7) * y + 40 * channel) % (2 * period) - period) * 160 // period
    )
    steps = (x // 9 + y // 7 + channel) % 3 * 30
    noise = (x * 7919 + y * 104729 + channel * 1299709 + number * 15485863) % 1009 % 23
    original = np.minimum(waves + steps + noise, 255)
    kind, strength = number % 4, 2 + number // 4
    if kind == 0:  # fewer levels
        other = original // (3 * strength) * 3 * strength + strength
    elif kind == 1:  # noise
        other = original + (x * 31337 + y * 27644437 + channel * 433494437) % 997 % strength * 3
    elif kind == 2:  # blurred
        other = sum(np.roll(original, shift, axis) for shift in (0, 1, -1) for axis in (0, 1)) // 6
    else:  # another colour
        other = original + np.array([strength, -strength, 2 * strength])
    return original.astype(np.uint8), np.clip(other, 0, 255).astype(np.uint8)


def drawing(number):
    """Return flat areas, most of them bright, with thin lines and a soft shadow, and the same with
    fewer colours, (h, w, 3) uint8."""
    height, width = ((8, 8), (9, 31), (40, 13), (64, 96), (150, 200), (200, 150))[number % 6]
    y, x, _ = np.indices((height, width, 3))
    ground = np.array([[255, 255, 255], [250, 244, 230], [236, 252, 244], [8, 6, 10]])[number % 4]
    original = ground + (x * 5 // width + y * 3 // height) % 3 * (number % 3)
    original = np.where((x + 2 * y) % 29 < 2, [20, 60, 200], original)
    original = np.where((x // 12 + y // 10) % 7 == 3, [240, 200 - number, 40], original)
    original = original - np.maximum(0, 20 - abs(x - width // 2) - abs(y - height // 2)) // 2
    original = np.clip(original, 0, 255)
    step = (2, 3, 5, 9, 17)[number % 5]
    other = np.minimum(original // step * step + step // 2, 255)
    return original.astype(np.uint8), other.astype(np.uint8)


@pytest.mark.parametrize(("pictures", "reference"), [(pair, REFERENCE), (drawing, OF_DRAWINGS)])
def test_figures_of_the_reference(pictures, reference):
    found = [ssimulacra2(*pictures(number), PixelFormat.RGB24) for number in range(len(reference))]
    assert found == pytest.approx(reference, abs=0.001)


def test_agrees_with_a_package(monkeypatch, tmp_path):
    # Its own blur takes in other pixels at the edges than the reference, which is worth points.
    package = pytest.importorskip("ssimulacra2.ssimulacra2")
    from PIL import Image

    def blurred(planes):
        for axis in (0, 1):
            planes = np.apply_along_axis(lambda row: np.convolve(row, taps)[4:-4], axis, planes)
        return planes

    taps = cosines()

    monkeypatch.setattr(package, "blur_image", blurred)
    rng = np.random.default_rng(5)
    for number in range(5):
        original = rng.integers(0, 256, (64, 64, 3)).repeat(4, axis=0).repeat(4, axis=1)
        other = original + rng.integers(-9, 10, original.shape) * number
        files = []
        for name, samples in (("original", original), ("other", other)):
            files.append(tmp_path / f"{name}.png")
            Image.fromarray(np.clip(samples, 0, 255).astype(np.uint8)).save(files[-1])
        expected = package.compute_ssimulacra2(*files)
        pixels = [np.asarray(Image.open(file)) for file in files]
        assert ssimulacra2(*pixels, PixelFormat.RGB24) == pytest.approx(expected, abs=0.1)


def test_equal_pictures_have_100():
    original, _ = pair(6)
    assert ssimulacra2(original, original, PixelFormat.RGB24) == 100


def cosines():
    """Weights (9,) of the blur: three cosines by Charalampidis 2016, with σ = 1.5 and N = 5."""
    sigma, n = 1.5, 5
    omega = np.array([1, 3, 5]) * math.pi / (2 * n)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)
    r = np.array([1, -1, 1]) * p * p / np.sin(omega)
    rho = np.exp(-sigma * sigma * omega * omega / 2) / n
    d13, d35, d51 = (p[i] * r[j] - r[i] * p[j] for i, j in ((0, 1), (1, 2), (2, 0)))
    zeta = np.array([d35 / d13, d51 / d13, 1])
    beta = np.linalg.solve(np.array([p, r, zeta]), [1, n * n - sigma * sigma, zeta @ rho])
    return np.cos(np.arange(-4, 5)[:, None] * omega) @ beta


def test_blur_of_rows_is_that_of_cosines():
    rng = np.random.default_rng(3)
    for width in (8, 29, 64):
        first, second = rng.random((2, 3, 2, 64)).astype(np.float32)
        first[..., width:] = second[..., width:] = 0
        blurred = np.zeros((3, kernels.PRODUCTS, 2, 64), np.float32)
        line = np.zeros(64 + 2 * kernels.SPAN, np.float32)
        kernels.blur_rows(first, second, 1, 2, width, measure._factors(), line, blurred)
        products = [first, second, first * first, second * second, first * second]
        for plane in range(3):
            for found, product in zip(blurred[plane, :, 1], products, strict=True):
                expected = np.convolve(product[plane, 1, :width], cosines())[4:-4]
                assert found[:width] == pytest.approx(expected, abs=1e-5)
        assert not blurred[:, :, 0].any()


def test_neither_threads_nor_bands_make_a_difference(monkeypatch):
    rng = np.random.default_rng(8)
    original = rng.integers(0, 256, (150, 300, 3), np.uint8)
    other = original // 40 * 40
    one = ssimulacra2(original, other, PixelFormat.RGB24, 1)
    assert ssimulacra2(original, other, PixelFormat.RGB24, 3) == one
    monkeypatch.setattr(measure, "_STRIP_ROWS", 8)
    monkeypatch.setattr(measure, "_BAND_ROWS", 32)
    assert ssimulacra2(original, other, PixelFormat.RGB24, 3) == pytest.approx(one, abs=1e-4)


def test_grey_is_red_green_and_blue():
    original, other = (samples[:, :, 0] for samples in pair(4))
    expected = ssimulacra2(
        *(np.dstack([grey] * 3) for grey in (original, other)), PixelFormat.RGB24
    )
    assert ssimulacra2(original, other, PixelFormat.GREY8) == expected
    found = ssimulacra2(original[:, :, None], other[:, :, None], PixelFormat.GREY8)
    assert found == expected


def test_black_and_white():
    y, x = np.indices((20, 31))
    original, other = (x // 5 + y // 4) % 2 == 0, x // 5 % 2 == 0
    samples = [bits.astype(np.uint8) * 255 for bits in (original, other)]
    expected = ssimulacra2(*samples, PixelFormat.GREY8)
    assert ssimulacra2(original, other, PixelFormat.BILEVEL) == expected < 90
    bits = [each // 255 for each in samples]
    assert ssimulacra2(*bits, PixelFormat.BILEVEL) == expected


def test_16_bits_count_as_8_do_and_in_full():
    original, other = (samples.astype(np.uint16) * 257 for samples in pair(4))
    expected = ssimulacra2(*pair(4), PixelFormat.RGB24)
    assert ssimulacra2(original, other, PixelFormat.RGB48) == pytest.approx(expected, abs=1e-3)
    off = original - (original > 300) * np.uint16(300)
    assert 90 < ssimulacra2(original, off, PixelFormat.RGB48) < 99.9


def test_alpha_is_seen_over_black_and_over_white():
    original, _ = pair(4)
    alpha = np.indices(original.shape[:2])[1][:, :, None] * 255 // original.shape[1]
    alphas = [alpha, alpha // 2]

    def over(background):
        shares = [alpha / 255 for alpha in alphas]
        mixed = [share * original + (1 - share) * background for share in shares]
        mixed = [np.rint(samples * 257).astype(np.uint16) for samples in mixed]
        return ssimulacra2(*mixed, PixelFormat.RGB48)

    assert abs(over(0) - over(255)) > 0.1
    both = [np.dstack([original, alpha]).astype(np.uint8) for alpha in alphas]
    expected = min(over(0), over(255))
    assert ssimulacra2(*both, PixelFormat.RGBA32) == pytest.approx(expected, abs=1e-6)


def test_inks_take_light_away():
    original, other = pair(4)
    black = np.full((*original.shape[:2], 1), 0, np.uint8)
    inks = [np.dstack([255 - samples, black]) for samples in (original, other)]
    expected = ssimulacra2(original, other, PixelFormat.RGB24)
    assert ssimulacra2(*inks, PixelFormat.CMYK32) == pytest.approx(expected, abs=1e-3)


def test_a_short_side_is_drawn_out():
    original, other = (samples[:3, :40] for samples in pair(4))
    sides = [(0, 5), (0, 0), (0, 0)]
    drawn = [np.pad(samples, sides, mode="edge") for samples in (original, other)]
    found = ssimulacra2(original, other, PixelFormat.RGB24)
    assert found == ssimulacra2(*drawn, PixelFormat.RGB24) < 100
    dots = [samples[:1, :1] for samples in (original, other)]
    assert math.isfinite(ssimulacra2(*dots, PixelFormat.RGB24))


@pytest.mark.parametrize("shape", [(16, 16), (24, 20), (5, 70), (1, 2000), (999, 1)])
def test_one_colour_for_a_small_picture_does_not_look_good_to_a_search(shape):
    # The measure itself gives it up to 90: it has one to three scales.
    y, x = np.indices(shape)
    original = np.stack([(x + y) * 37 % 256, (x + y) * 73 % 256, x * y * 5 % 256], axis=2)
    original = original.astype(np.uint8)
    one = np.broadcast_to(original.mean(axis=(0, 1)).astype(np.uint8), original.shape)
    looks = SearchedLooks(original, PixelFormat.RGB24, 1)
    assert looks.of(one) < 0
    assert looks.of(original) == 100
    grey = SearchedLooks(original[:, :, 0], PixelFormat.GREY8, 1)
    assert grey.of(one[:, :, 0]) < 0
    decoded = kmq.decode(kmq.encode(original, quality=60)).to_array()
    assert looks.of(decoded) >= 60
    assert ssimulacra2(original, decoded, PixelFormat.RGB24) >= 60


def test_a_search_aims_at_the_measure_itself_from_32_pixels_on():
    original, other = (samples[:32, :32] for samples in pair(1))
    assert original.shape[:2] == (32, 32)
    found = SearchedLooks(original, PixelFormat.RGB24, 1).of(other)
    assert found == ssimulacra2(original, other, PixelFormat.RGB24)


def test_mirror_images_of_a_long_strip_are_few():
    strip = np.arange(30_001, dtype=np.uint16).reshape(1, -1, 1)
    mirrored = measure._mirrored(strip)
    assert mirrored.shape == (128, 1001, 1)
    assert set(mirrored.ravel()) == set(strip.ravel())
