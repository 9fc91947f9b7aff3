"""Files of a given size or quality, for which k and λ are chosen together."""

import ast
import inspect
import io
import math

import numpy as np
import pytest
from PIL import Image

import kmq.pillow
import results
from grouped import grouped
from kmq import InputError, PixelFormat, decode, encode, quantize
from kmq.cli import main
from kmq.pipeline import encoding, fitting, reading, targets
from kmq.pipeline.quantizing import Quantizer
from kmq.stages.histogram import counting
from kmq.stages.mapping import metrics
from kmq.stages.mapping.ssimulacra2 import ssimulacra2


def picture(height=72, width=96, seed=0):
    """Waves with grain, of thousands of colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 10
    planes = np.stack([np.sin(x + y), np.sin(y - x / 2), np.cos(x * y / 9)], axis=2)
    noise = rng.normal(0, 6, (height, width, 3))
    return np.clip(128 + 90 * planes + noise, 0, 255).astype(np.uint8)


PICTURE = picture()


def quality(encoded, samples=PICTURE):
    """PSNR in decibels and SSIMULACRA2."""
    image = decode(encoded)
    error = metrics.mse(samples, image.to_array())
    looks = ssimulacra2(samples, image.to_array(), image.pixel_format)
    return metrics.psnr(error, image.pixel_format), looks


@pytest.mark.parametrize("size", [120, 150, 200, 400, 700, 1500, 3000, 6000])
def test_a_size_is_met_from_below(size):
    assert 0.98 * size <= len(encode(PICTURE, size=size)) <= size


def test_more_bytes_are_a_better_picture():
    found = [quality(encode(PICTURE, size=size))[0] for size in (1000, 2500, 6000)]
    assert found == sorted(found)


def test_a_size_beats_the_nearest_entries_of_that_size():
    plain = encode(PICTURE, 24)
    assert quality(encode(PICTURE, size=len(plain)))[0] > quality(plain)[0]


def test_more_bits_per_pixel_than_a_number_holds_are_no_limit():
    flat = np.zeros((9, 9, 3), np.uint8)
    assert encode(flat, bpp=1e308) == encode(flat, bpp=100)


def test_bits_per_pixel_are_a_size():
    assert encode(PICTURE, bpp=2) == encode(
        PICTURE, size=2 * PICTURE.shape[0] * PICTURE.shape[1] // 8
    )


def test_a_size_with_k_or_a_palette_moves_the_rate_alone():
    largest = len(encode(PICTURE, 24))
    size = round(0.9 * largest)
    found = encode(PICTURE, 24, size=size)
    assert 0.98 * size <= len(found) <= size
    assert 12 < decode(found).n_colors <= 24
    assert encode(PICTURE, 24, size=largest) == encode(PICTURE, 24)
    palette = quantize(PICTURE, 16).palette
    mapped = encode(PICTURE, palette=palette, size=2500)
    assert len(mapped) <= 2500
    assert np.array_equal(decode(mapped).palette, palette)


def test_metadata_count():
    text = {"Comment": "".join(map(str, np.random.default_rng(0).integers(0, 10**9, 60)))}
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "KMQ", size=3000, text=text)
    assert 0.98 * 3000 <= len(stream.getvalue()) <= 3000
    assert decode(stream.getvalue()).metadata.text == text


def test_sizes_below_that_of_two_colours_are_filled():
    rng = np.random.default_rng(0)
    page = np.full((144, 192, 3), 240, np.uint8)
    for _ in range(260):
        y, x, height, width = *rng.integers(0, (140, 188)), *rng.integers(1, 6, 2)
        page[y : y + height, x : x + width] = 30
    two = len(encode(page, 2))
    for size in (two * 9 // 10, two - 10):
        assert 0.95 * size <= len(encode(page, size=size)) <= size


def test_a_size_between_those_of_few_colours_takes_most_of_them():
    rng = np.random.default_rng(0)
    colors = np.array([[250, 250, 250], [20, 20, 20], [200, 40, 40], [40, 90, 200]], np.uint8)
    tiles = colors[np.kron(rng.integers(0, 4, (12, 16)), np.ones((8, 8), int))]
    speckled = np.where(rng.random((96, 128, 1)) < 0.02, 255 - tiles, tiles)
    two, exact = len(encode(speckled, 2, space="rgb")), len(encode(speckled, 8, space="rgb"))
    found = encode(speckled, size=(two + exact) // 2, space="rgb")
    assert decode(found).n_colors >= 3
    assert quality(found, speckled)[0] > quality(encode(speckled, 2, space="rgb"), speckled)[0] + 3


def test_what_fits_as_it_is_stays_exact():
    few = quantize(PICTURE, 5).to_array()
    assert np.array_equal(decode(encode(few, size=100_000)).to_array(), few)


def test_a_size_that_cannot_be_met_names_the_least():
    least = len(encode(PICTURE, 1))
    assert len(encode(PICTURE, size=least)) == least
    with pytest.raises(
        InputError, match=f"size is 40 bytes; the smallest .* has {least}, with 1 col"
    ):
        encode(PICTURE, size=40)
    with pytest.raises(InputError, match=r"the smallest file .* with k = 24"):
        encode(PICTURE, 24, size=200)


def test_the_smallest_file_for_a_psnr():
    found, plain = encode(PICTURE, psnr=30), encode(quantize(PICTURE, k=kmq.Fewest(psnr=30)))
    assert 30 <= quality(found)[0] < 30.3
    assert len(found) < 0.95 * len(plain)


def test_the_smallest_file_for_an_error():
    peak = 3 * 255**2
    assert encode(PICTURE, max_mse=peak / 1000) == encode(PICTURE, psnr=30)


@pytest.mark.parametrize("wanted", [30, 60])
def test_the_smallest_file_for_a_quality(wanted, monkeypatch):
    rounds, one_round = [], Quantizer._round

    def counted(*arguments):
        rounds.append(arguments)
        return one_round(*arguments)

    monkeypatch.setattr(Quantizer, "_round", counted)

    found = encode(PICTURE, quality=wanted)
    assert wanted <= quality(found)[1] < wanted + 1
    assert len(rounds) <= 12  # three first rounds, and nine
    plain = (encode(PICTURE, round(2 ** (0.25 * step))) for step in range(8, 60))
    assert len(found) < len(next(file for file in plain if quality(file)[1] >= wanted))


def test_better_looks_take_more_bytes():
    found = [len(encode(PICTURE, quality=wanted)) for wanted in (0, 25, 50, 75, 90)]
    assert found == sorted(found)


def test_quality_is_in_the_space_of_the_eye_unless_told_otherwise():
    assert encode(PICTURE, quality=50) == encode(PICTURE, quality=50, space="eye")
    assert encode(PICTURE, quality=50) != encode(PICTURE, quality=50, space="rgb")


@pytest.mark.parametrize("label", ["1", "L", "LA", "L16", "RGBA", "RGB48", "CMYK"])
def test_every_pixel_format_has_a_quality(label):
    pixel_format = PixelFormat.from_label(label)
    samples = results.picture(pixel_format)
    found = decode(encode(samples, quality=50, pixel_format=pixel_format))
    assert ssimulacra2(samples, found.to_array(), pixel_format) >= 50


def test_few_colours_stay_exact_where_nothing_less_is_as_good():
    few = quantize(PICTURE, 5).to_array()
    assert np.array_equal(decode(encode(few, quality=100)).to_array(), few)
    dot = PICTURE[:1, :1]
    assert np.array_equal(decode(encode(dot, quality=100)).to_array(), dot)


def test_a_quality_that_no_palette_reaches(monkeypatch):
    monkeypatch.setattr(targets, "MAX_COLORS", 40)
    with pytest.raises(InputError, match=r"40 colours reach a quality of [\d.]+ .* 99 was asked"):
        encode(PICTURE, quality=99)


def test_max_colors_is_as_far_as_a_quality_goes():
    for target in ({"quality": 99}, {"psnr": 60}):
        assert decode(encode(PICTURE, max_colors=6, **target)).n_colors <= 6
    assert decode(encode(PICTURE, max_colors=10, size=2000)).n_colors <= 10


def test_quantize_alone_takes_the_fewest_colours():
    image = quantize(PICTURE, k=kmq.Fewest(psnr=30))
    assert image.n_colors == kmq.choose_k(PICTURE, k=kmq.Fewest(psnr=30))


def test_threads_do_not_change_the_file():
    assert encode(PICTURE, size=2000, n_threads=1) == encode(PICTURE, size=2000, n_threads=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 900, "psnr": 30}, "size and psnr are both given; a file has one target"),
        ({"psnr": 30, "quality": 9}, "quality and psnr are both given; a file has one target"),
        ({"size": 900, "bpp": 1}, "size and bpp are both given; a file has one target"),
        ({"size": 900, "lam": 1}, "mapping=Rate and size are both given; kmq chooses λ itself"),
        ({"psnr": 30, "lam": 1}, "mapping=Rate and psnr are both given; kmq chooses λ itself"),
        ({"quality": 50, "k": 9}, "k and quality are both given; each sets the number of colours"),
        ({"psnr": 30, "k": 9}, "k and psnr are both given"),
        ({"size": 900, "k": 9, "max_colors": 9}, "k and max_colors are both given"),
        ({"size": 900, "fewest": {"psnr": 9}}, "k=Fewest and size are both given"),
        ({"quality": 9, "palette": [[0, 0, 0]]}, "palette and quality are both given"),
        ({"psnr": 30, "palette": [[0, 0, 0]]}, "palette and psnr are both given"),
        ({"size": 900, "k": 1, "palette": [[0, 0, 0]]}, "palette and k are both given"),
        ({"size": 0}, "size is 0; it must be from 1 to"),
        ({"bpp": 0}, "bpp is 0; it must be above 0"),
        ({"bpp": math.inf}, "bpp is inf; it must be a finite number"),
        ({"quality": 100.5}, "quality is 100.5; it must be from 0 to 100"),
        ({"quality": -1}, "quality is -1; it must be from 0 to 100"),
        ({"quality": math.nan}, "quality is nan; it must be from 0 to 100"),
        ({"quality": 50, "mapping": "dither"}, "mapping=Dither and quality are both given"),
    ],
)
def test_contradictions(given, message):
    with pytest.raises(InputError, match=message):
        encode(PICTURE, **grouped(**given))


def test_numbers_are_numbers():
    with pytest.raises(TypeError, match="size is float; it must be a whole number"):
        encode(PICTURE, size=900.5)
    with pytest.raises(TypeError, match="quality is str; it must be a number from 0 to 100"):
        encode(PICTURE, quality="high")


def test_an_image_is_stored_as_it_is():
    with pytest.raises(InputError, match="size given with an IndexedImage, which is stored"):
        encode(quantize(PICTURE, 4), size=900)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(PICTURE).save(path)
    return path


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (["--size", "2000"], {"size": 2000}),
        (["--bpp", "1.5"], {"bpp": 1.5}),
        (["--quality", "55"], {"quality": 55}),
        (["--psnr", "28"], {"psnr": 28}),
        (["--lambda", "1", "-k", "12"], {"mapping": kmq.Rate(1), "k": 12}),
    ],
)
def test_the_command_line_has_them(photo, options, same):
    assert main(["encode", str(photo), *options]) == 0
    assert photo.with_suffix(".kmq").read_bytes() == encode(photo, **same)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "900", "--lambda", "1"], "--lambda and --size are both given"),
        (["--psnr", "30", "--quality", "9"], "--quality and --psnr are both given"),
        (["--quality", "9", "-k", "9"], "-k and --quality are both given"),
        (["--quality", "150"], "must be a number from 0 to 100, not '150'"),
        (["--size", "900", "--max-mse", "9"], "--size and --max-mse are both given"),
        (["--size", "900", "--dither"], "--dither and --size are both given"),
        (["--lambda", "1", "--dither"], "--lambda and --dither are both given"),
    ],
)
def test_the_command_line_refuses_contradictions(photo, options, message, capsys):
    assert main(["encode", str(photo), *options]) == 2
    assert message in capsys.readouterr().err
    assert not photo.with_suffix(".kmq").exists()


def test_dithering_has_no_target():
    with pytest.raises(InputError, match="mapping=Dither and size are both given"):
        encode(PICTURE, size=2500, mapping="dither")


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--size", "20"], "size is 20 bytes"),
        (["--bpp", "1e-9"], "bpp is 1e-09"),
        (["--bpp", "0.01", "-k", "4"], "bpp is 0.01"),
    ],
)
def test_a_size_too_small_leaves_no_file(photo, options, asked, capsys):
    assert main(["encode", str(photo), *options]) == 1
    error = capsys.readouterr().err
    assert f"{asked}; the smallest file of this picture has" in error
    assert ("bits per pixel" in error) == ("--bpp" in options)
    assert not photo.with_suffix(".kmq").exists()


# What attempts share


@pytest.fixture
def watched(monkeypatch):
    """What is done how often: readings, histograms, palettes by k, and indices that are coded."""
    seen = {"read": 0, "counted": 0, "palettes": [], "coded": []}
    read, count, solve = reading.read_picture, counting.map_colors, fitting.solve
    code = encoding.encode_strips

    def reading_picture(*arguments):
        seen["read"] += 1
        return read(*arguments)

    def counting_colors(*arguments):
        seen["counted"] += 1
        return count(*arguments)

    def solving(problem, k):
        seen["palettes"].append(k)
        return solve(problem, k)

    def coding(indices, palette, *arguments):
        seen["coded"].append(indices.tobytes() + palette.tobytes())
        return code(indices, palette, *arguments)

    monkeypatch.setattr(reading, "read_picture", reading_picture)
    monkeypatch.setattr(counting, "map_colors", counting_colors)
    monkeypatch.setattr(fitting, "solve", solving)
    monkeypatch.setattr(encoding, "encode_strips", coding)
    return seen


WANTED = [{"size": 2500}, {"bpp": 2.0}, {"psnr": 29}, {"max_mse": 200}, {"quality": 50}]


def check_shares(seen):
    assert seen["read"] == seen["counted"] == 1
    assert len(seen["coded"]) == len(set(seen["coded"])) <= 9


@pytest.mark.parametrize("target", WANTED, ids=lambda target: next(iter(target)))
def test_a_picture_is_read_and_counted_once_and_no_attempt_coded_twice(photo, watched, target):
    encode(photo, **target)
    check_shares(watched)
    if not {"psnr", "max_mse"} & target.keys():  # whose search for k is one of its own
        assert len(watched["palettes"]) == len(set(watched["palettes"]))


@pytest.mark.parametrize("size", [1500, 3000, 6000])
def test_a_size_is_foretold_so_that_few_files_are_made(watched, size):
    encode(PICTURE, size=size, space="rgb")
    assert len(watched["coded"]) <= 4


def test_so_it_is_from_other_doors(photo, watched, tmp_path):
    assert main(["encode", str(photo), "--size", "2500"]) == 0
    check_shares(watched)
    watched.update(read=0, counted=0, coded=[])
    with Image.open(photo) as opened:
        opened.save(tmp_path / "b.kmq", size=2500)
    check_shares(watched)
    watched.update(read=0, counted=0, coded=[])
    kmq.write(tmp_path / "c.kmq", photo, size=2500)
    check_shares(watched)


def test_targets_know_no_caller():
    tree = ast.parse(inspect.getsource(targets))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not {"kmq.files", "kmq.quantizing", "kmq.options"} & set(names)


@pytest.mark.parametrize("target", WANTED, ids=lambda target: next(iter(target)))
def test_every_pixel_format_has_targets(target):
    for pixel_format in (PixelFormat.GREY8, PixelFormat.RGBA32, PixelFormat.RGB48):
        channels = pixel_format.channels
        samples = np.concatenate([PICTURE, PICTURE[:, :, :1]], axis=2)[:40, :50, :channels]
        samples = samples.astype(pixel_format.dtype) * (pixel_format.max_value // 255)
        scale = {name: value * (pixel_format.max_value // 255) ** 2
                 if name == "max_mse" else value for name, value in target.items()}  # fmt: skip
        image = decode(encode(samples, pixel_format=pixel_format, **scale))
        assert image.pixel_format is pixel_format
        assert image.n_colors > 1
