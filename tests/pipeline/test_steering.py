"""What a caller can ask of a palette: spaces, weights, fixed and given colours, histograms."""

import tracemalloc

import numpy as np
import pytest
from skimage import data

import kmq
import naive
from grouped import grouped
from kmq.errors import InputError
from kmq.pipeline import rounding
from kmq.pipeline.problem import Fitting, Problem, Required
from kmq.stages.palette.spaces import SPACES, Space


def photo(step=8):
    return np.ascontiguousarray(data.astronaut()[::step, ::step])


def test_lab_is_nearest_in_delta_e_and_rgb_in_samples():
    from skimage.color import deltaE_ciede2000, rgb2lab

    picture = photo()
    seen, measured = {}, {}
    for space in SPACES:
        image = kmq.quantize(picture, 32, space=space)
        assert image.n_colors == 32
        shown = image.to_array()
        assert image.report.mse == pytest.approx(naive.mse(picture, shown))
        measured[space] = image.report.mse
        seen[space] = deltaE_ciede2000(rgb2lab(picture), rgb2lab(shown)).mean()
    assert min(measured, key=measured.get) == "rgb"
    assert min(seen, key=seen.get) == "lab"
    assert max(seen, key=seen.get) == "linear"


@pytest.mark.parametrize("space", ["eye", "linear", "oklab", "lab"])
def test_grey_and_16_bits_take_part_in_spaces(space):
    grey = photo()[..., 0]
    assert kmq.quantize(grey, 9, space=space).n_colors == 9
    deep = grey.astype(np.uint16) * 257 + np.arange(grey.size, dtype=np.uint16).reshape(grey.shape)
    image = kmq.quantize(deep, 200, space=space)
    assert image.palette.dtype == np.uint16
    assert image.report.mse < 257**2


@pytest.mark.parametrize("space", SPACES)
def test_16_bits_give_about_the_palette_of_8(space):
    narrow = kmq.quantize(photo(), 20, space=space)
    wide = kmq.quantize(photo().astype(np.uint16) * 257, 20, space=space)
    assert wide.palette.dtype == np.uint16
    assert wide.report.mse / 257**2 == pytest.approx(narrow.report.mse, rel=0.02)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_of_the_palette_map_to_themselves(space, channels, dtype):
    random = np.random.default_rng(channels)
    picture = random.integers(0, np.iinfo(dtype).max, (30, 40, channels), dtype, endpoint=True)
    rows = np.unique(picture.reshape(-1, channels)[:200], axis=0)
    shown = kmq.quantize(picture, palette=rows, space=space).to_array().reshape(-1, channels)
    assert np.array_equal(shown[:200], picture.reshape(-1, channels)[:200])


def test_a_channel_that_counts_more_is_kept_better():
    picture = photo()
    plain = kmq.quantize(picture, 12).to_array().astype(int)
    weighted = (
        kmq.quantize(picture, 12, space=kmq.Space(channel_weights=(1, 1, 20)))
        .to_array()
        .astype(int)
    )
    blue = [np.square(shown[..., 2] - picture[..., 2]).mean() for shown in (plain, weighted)]
    assert blue[1] < blue[0] / 2


def test_fixed_colours_are_entries_and_map_to_themselves():
    picture = photo().copy()
    picture[:4, :4] = (1, 255, 2)
    fixed = [(1, 255, 2), (0, 0, 0), (77, 77, 200)]
    image = kmq.quantize(picture, 10, require=fixed)
    entries = set(map(tuple, image.palette.tolist()))
    assert entries >= set(fixed)
    assert image.n_colors == 10
    assert np.array_equal(image.to_array()[:4, :4], picture[:4, :4])


def test_fixed_colours_may_be_named():
    picture = photo()
    same = kmq.quantize(picture, 10, require=[(255, 255, 255), (1, 2, 3), (255, 136, 0)])
    for names in (["white", (1, 2, 3), "#ff8800"], ("#fff", "010203", "hsl(32, 100%, 50%)")):
        assert kmq.quantize(picture, 10, require=names) == same
    alone = kmq.quantize(picture, 10, require="white")
    assert alone == kmq.quantize(picture, 10, require=[(255, 255, 255)])
    assert kmq.quantize(picture[..., 0], 4, require=["white"]).palette[-1].tolist() == [255]
    deep = picture.astype(np.uint16) * 257
    assert [65535, 0, 0] in kmq.quantize(deep, 4, require="red").palette.tolist()
    assert [1, 2, 3] in kmq.quantize(deep, 4, require="000100020003").palette.tolist()


def test_background_is_the_colour_of_most_of_the_border():
    picture = photo().copy()
    picture[0] = picture[-1] = (9, 8, 7)
    picture[:, 0] = (1, 1, 1)
    image = kmq.quantize(picture, 4, require=["background", "white"])
    assert {(9, 8, 7), (255, 255, 255)} < set(map(tuple, image.palette.tolist()))
    one = np.full((1, 1, 3), 77, np.uint8)
    assert kmq.quantize(one, 1, require="background").palette.tolist() == [[77, 77, 77]]


def scan(low=(14, 12, 9), high=(246, 250, 241)):
    """Ink on paper, neither quite black nor white, and some shades."""
    picture = np.empty((40, 40, 3), np.uint8)
    picture[:] = high
    picture[5:20, 5:30] = low
    picture[25:30, 5:30] = (120, 60, 60)
    picture[31:36, 5:30] = (25, 24, 20)
    return picture


def test_snap_makes_ink_black_and_paper_white_and_nothing_else():
    image = kmq.quantize(scan(), 4, require=kmq.Require(snap=True))
    assert sorted(image.palette.tolist()) == [
        [0, 0, 0],
        [25, 24, 20],
        [120, 60, 60],
        [255, 255, 255],
    ]
    assert image.to_array()[10, 10].tolist() == [0, 0, 0]
    assert image.to_array()[0, 0].tolist() == [255, 255, 255]
    assert image.report.mse == pytest.approx(naive.mse(scan(), image.to_array()))
    far = scan((30, 10, 10), (230, 250, 250))
    assert kmq.quantize(far, 4, require=kmq.Require(snap=True)) == kmq.quantize(far, 4)


def test_snap_knows_every_pixel_format():
    ink_and_paper = scan()
    alpha = np.full((40, 40, 1), 255, np.uint8)
    alpha[25:30] = 128
    sheer = kmq.quantize(
        np.concatenate([ink_and_paper, alpha], 2), 5, require=kmq.Require(snap=True)
    ).palette.tolist()
    assert [0, 0, 0, 255] in sheer
    assert [255, 255, 255, 255] in sheer
    deep = kmq.quantize(
        ink_and_paper.astype(np.uint16) * 257, 4, require=kmq.Require(snap=True)
    ).palette.tolist()
    assert [0, 0, 0] in deep
    assert [65535] * 3 in deep
    grey = (
        kmq.quantize(ink_and_paper[..., 0], 4, require=kmq.Require(snap=True))
        .palette.ravel()
        .tolist()
    )
    assert {0, 255} < set(grey)
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0] = (5, 3, 2, 0)
    inks[1] = (4, 5, 6, 250)
    cmyk = kmq.quantize(
        inks, 2, require=kmq.Require(snap=True), pixel_format="CMYK"
    ).palette.tolist()
    assert cmyk == [[0, 0, 0, 0], [0, 0, 0, 255]]
    histogram = kmq.ColorHistogram.from_picture(ink_and_paper)
    palette = kmq.fit_palette(histogram, 4, require=kmq.Require(snap=True))
    assert np.array_equal(
        palette, kmq.quantize(ink_and_paper, 4, require=kmq.Require(snap=True)).palette
    )


PURE = {
    "RGB24": [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)],
    "RGB48": [(65535, 0, 0), (0, 65535, 0), (0, 0, 65535), (65535, 65535, 0)],
    "RGBA32": [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)],
    "RGBA64": [(65535, 0, 0, 65535), (0, 65535, 65535, 65535), (0, 0, 0, 0), (9000,) * 4],
    "GREY8_ALPHA": [(90, 255), (200, 255), (0, 0), (255, 128)],
    "CMYK32": [(255, 0, 0, 0), (0, 255, 0, 0), (0, 255, 255, 0), (255, 255, 255, 255)],
}


@pytest.mark.parametrize("name", PURE)
def test_snap_with_a_rate_freezes_black_and_white_alone(name):
    pixel_format = kmq.PixelFormat[name]
    top, opaque = pixel_format.max_value, pixel_format.has_alpha
    quarters = np.array(PURE[name]).repeat(400, axis=0).reshape(40, 40, -1)
    speckled = np.random.default_rng(0).random((40, 40)) < 0.2
    if opaque:
        speckled &= quarters[:, :, -1] > 0
    moved = np.where(quarters > top / 2, quarters - top // 30, quarters + top // 30)
    if opaque:
        moved[:, :, -1] = quarters[:, :, -1]
    samples = np.where(speckled[:, :, None], moved, quarters).astype(pixel_format.dtype)
    unit = kmq.quantize(samples, 8, pixel_format=pixel_format).report.mse * (255 / top) ** 2
    snapped, plain = (
        kmq.quantize(
            samples,
            8,
            mapping=kmq.Rate(1000 / max(unit, 0.5)),
            require=kmq.Require(snap=snap),
            pixel_format=pixel_format,
        )
        for snap in (True, False)
    )
    assert snapped.n_colors < 8  # speckles went into the colour around them
    assert snapped == plain


@pytest.mark.parametrize("name", ["GREY8", "GREY16", "RGB24", "RGB48", "RGBA32", "CMYK32"])
def test_snap_with_a_rate_keeps_ink_and_paper(name):
    pixel_format = kmq.PixelFormat[name]
    exact = rounding.black_and_white(pixel_format)
    random = np.random.default_rng(0)
    samples = exact[(np.arange(40) % 8 < 2).astype(int)][:, None].repeat(40, axis=1).astype(int)
    grain = random.integers(0, pixel_format.max_value // 20, samples.shape)
    samples = np.where(samples > 0, samples - grain, grain)
    if pixel_format.has_alpha:
        samples[:, :, -1] = pixel_format.max_value
    samples = samples.astype(pixel_format.dtype)
    palette = kmq.quantize(
        samples, 9, mapping=kmq.Rate(50), require=kmq.Require(snap=True), pixel_format=pixel_format
    ).palette
    for color in exact.tolist():
        assert color in palette.tolist()


def test_what_a_rate_brings_near_black_snaps():
    picture = np.full((40, 40), 110, np.uint8)
    picture[:16] = 10
    speckles = np.random.default_rng(0).random((24, 40)) < 0.2
    picture[16:][speckles] = 50
    assert (
        kmq.quantize(picture, 2, space="rgb", require=kmq.Require(snap=True)).palette.min()
        > 255 // 16
    )
    assert kmq.quantize(picture, 2, mapping=kmq.Rate(3000)).palette.min() == 10
    assert (
        kmq.quantize(
            picture, 2, mapping=kmq.Rate(3000), require=kmq.Require(snap=True)
        ).palette.min()
        == 0
    )


def test_snap_leaves_fixed_colours_alone():
    palette = kmq.quantize(
        scan(), 4, require=kmq.Require(fixed=[(14, 12, 9)], snap=True)
    ).palette.tolist()
    assert [14, 12, 9] in palette
    assert [255, 255, 255] in palette


def test_fixed_colours_are_found_without_comparing_each_with_each():
    rows = np.stack(np.meshgrid(*[np.arange(0, 256, 6)] * 3), axis=-1).reshape(-1, 3)
    entries = rows.astype(np.uint8)[:65536]
    fixed = np.concatenate([entries[::7], entries[:1] + 1])
    histogram = kmq.ColorHistogram.from_picture(entries[:4, None])
    space = Space("rgb", histogram.pixel_format)
    how = Fitting(space, Required(fixed))
    problem = Problem.of(histogram, np.zeros(4, np.uint32), None, how)
    tracemalloc.start()
    try:
        found = rounding.are_fixed(problem, entries)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert np.array_equal(np.flatnonzero(found), np.arange(0, len(entries), 7))


def test_fixed_colours_alone():
    picture = photo()
    image = kmq.quantize(picture, 2, space="rgb", require=[(255, 255, 255), (0, 0, 0)])
    assert image.palette.tolist() == [[0, 0, 0], [255, 255, 255]]
    labels, _ = naive.nearest(picture.reshape(-1, 3), image.palette)
    assert np.array_equal(image.indices.ravel(), labels)


def test_a_given_palette_is_kept_and_mapped_to():
    palette = np.array([[200, 0, 0], [0, 0, 0], [255, 255, 255], [1, 2, 3]], np.uint8)
    picture = photo()
    image = kmq.quantize(picture, palette=palette, space="rgb")
    assert np.array_equal(image.palette, palette)
    labels, _ = naive.nearest(picture.reshape(-1, 3), palette)
    assert np.array_equal(image.indices.ravel(), labels)
    assert image.report.mse == pytest.approx(naive.mse(picture, image.to_array()))


def test_masked_pixels_do_not_count_but_are_mapped():
    picture = photo()
    mask = np.zeros(picture.shape[:2], bool)
    mask[20:40, 10:50] = True
    image = kmq.quantize(picture, 8, weights=mask, space="rgb")
    inside = kmq.quantize(np.ascontiguousarray(picture[20:40, 10:50]), 8, space="rgb")
    assert np.array_equal(image.palette, inside.palette)
    assert np.array_equal(image.indices[20:40, 10:50], inside.indices)
    labels, _ = naive.nearest(picture.reshape(-1, 3), image.palette)
    assert np.array_equal(image.indices.ravel(), labels)


def test_importance_is_as_good_as_repetition():
    picture = photo()
    importance = np.ones(picture.shape[:2])
    importance[:10] = 3
    image = kmq.quantize(picture, 8, weights=importance, space="rgb")
    thrice = np.concatenate([picture, picture[:10], picture[:10]])
    repeated = kmq.quantize(thrice, 8, space="rgb")
    assert np.array_equal(image.palette, repeated.palette)


@pytest.mark.parametrize("mapping", ["nearest", kmq.Rate(1), kmq.Optimize(1)])
def test_weights_in_any_order_in_memory_are_the_same(mapping):
    picture = photo()
    weights = np.random.default_rng(0).random(picture.shape[:2])
    image = kmq.quantize(picture, 8, mapping=mapping, weights=weights)
    for given in (np.asfortranarray(weights), weights.repeat(2, axis=1)[:, ::2]):
        assert kmq.quantize(picture, 8, mapping=mapping, weights=given) == image


@pytest.mark.parametrize(("bits", "step"), [(1, 128), (4, 16), (7, 2), (8, 1)])
def test_posterized_palettes_have_few_levels(bits, step):
    palette = kmq.quantize(photo(), 30, require=kmq.Require(posterize=bits)).palette
    assert np.all((palette % step == 0) | (palette == 255))


def test_opaque_stays_opaque_and_transparent_transparent():
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (40, 50, 4)).astype(np.uint8)
    picture[:20, :, 3] = 255
    picture[30:, :, 3] = 0
    for k in (2, 3, 5, 40):
        image = kmq.quantize(picture, k)
        shown = image.to_array()
        assert np.all(shown[:20, :, 3] == 255)
        assert np.all(shown[30:] == 0)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"space": "xyz"}, InputError, "space is 'xyz'"),
        ({"channel_weights": [1, 2]}, InputError, r"needs \(3,\)"),
        ({"channel_weights": [1, 2, 0]}, InputError, "not above 0"),
        ({"channel_weights": "abc"}, TypeError, "channel_weights"),
        ({"weights": np.ones((3, 3))}, InputError, r"weights have shape \(3, 3\)"),
        ({"weights": np.full((64, 64), -1.0)}, InputError, "not 0 to"),
        ({"weights": np.full((64, 64), np.nan)}, InputError, "not 0 to"),
        ({"weights": np.zeros((64, 64))}, InputError, "weights are 0 for every pixel"),
        ({"weights": np.full((64, 64), "1")}, TypeError, "weights have dtype <U1"),
        ({"weights": np.zeros((64, 64), bool)}, InputError, "weights are 0 for every pixel"),
        ({"fixed": [[1, 2]]}, InputError, r"fixed has shape \(1, 2\)"),
        ({"fixed": [[1, 2, 256]]}, InputError, "0 to 255"),
        ({"fixed": [[0.5, 1, 2]]}, TypeError, "whole numbers"),
        ({"fixed": np.arange(9).reshape(3, 3), "k": 2}, InputError, "fixed has 3 colours"),
        ({"fixed": [[1, 2, 3]], "init": "random"}, InputError, "fixed"),
        ({"palette": [[1, 2, 3]], "k": 3}, InputError, "palette and k are both"),
        ({"palette": [[1, 2, 3]], "fewest": {"psnr": 30}}, InputError, "palette and k=Fewest are"),
        ({"palette": np.empty((0, 3), int)}, InputError, "palette has shape"),
        ({"palette": [[1, 2, 3]], "snap": True}, InputError, "palette and snap are both"),
        ({"palette": [[1, 2, 3]], "fixed": "red"}, InputError, "palette and fixed are both"),
        ({"palette": "nowhere.gpl"}, OSError, "nowhere"),
        ({"fixed": "reddish"}, InputError, "'reddish' is not a colour"),
        ({"fixed": ["white", (1, 2)]}, InputError, r"fixed has shape \(1, 2\)"),
        ({"fixed": ["white", "#fff", "black"], "k": 1}, InputError, "fixed has 2 colours"),
        ({"fixed": ["#ff000080"]}, InputError, "names '#ff000080'.* is not opaque"),
        ({"snap": 1}, TypeError, "snap is int"),
        ({"channel_weights": [1, 2, -3]}, InputError, "not above 0"),
        ({"channel_weights": [1, 2, np.nan]}, InputError, "not above 0 and at most 1e\\+09"),
        ({"channel_weights": [1, 2, 1e300]}, InputError, "not above 0 and at most 1e\\+09"),
        ({"channel_weights": [[1], [2, 3]]}, InputError, "rows differ in length"),
        ({"weights": np.full((64, 64), 1e300)}, InputError, "not 0 to 1e\\+09"),
        ({"fixed": []}, InputError, r"fixed has shape \(0,\)"),
        ({"fixed": [(1, 2, 3), (4, 5)]}, InputError, "fixed is not an array: its rows"),
        ({"palette": []}, InputError, r"palette has shape \(0,\)"),
        ({"palette": [(1, 2, 3), (4, 5)]}, InputError, "palette is not an array: its rows"),
        ({"channel_weights": [[1, 2, 3]]}, InputError, r"shape \(1, 3\)"),
        ({"weights": np.full((64, 64), np.inf)}, InputError, "not 0 to 1e\\+09"),
        ({"weights": np.ones((3, 64), bool)}, InputError, r"weights have shape \(3, 64\)"),
        (
            {"palette": [[1, 2, 3]], "effort": "best"},
            InputError,
            "palette and effort are both",
        ),
        (
            {"palette": [[1, 2, 3]], "init": "random"},
            InputError,
            "palette and start are both",
        ),
        ({"palette": [[1, 2, 3]], "n_init": 2}, InputError, "palette and start are both"),
        ({"palette": [[1, 2, 3]], "max_iter": 2}, InputError, "palette and start are both"),
        ({"palette": [[1, 2, 3]], "tol": 0}, InputError, "palette and start are both"),
        ({"palette": [[1, 2, 3]], "weights": 1}, InputError, "palette and weights are both"),
        (
            {"palette": [[1, 2, 3]], "posterize": 4},
            InputError,
            "palette and posterize are both",
        ),
        ({"posterize": 0}, InputError, "posterize is 0"),
        ({"posterize": 9}, InputError, "posterize is 9"),
    ],
)
def test_what_cannot_be_used_is_refused(options, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        kmq.quantize(photo(), **grouped(**options))
    assert "\n" not in str(caught.value)


def test_a_histogram_has_no_background():
    histogram = kmq.ColorHistogram.from_picture(photo())
    with pytest.raises(InputError, match="background, which only a picture has"):
        kmq.fit_palette(histogram, 3, require="background")
    assert [255] * 3 in kmq.fit_palette(histogram, 3, require="white").tolist()


def test_a_coloured_name_is_no_grey():
    with pytest.raises(InputError, match=r"names 'red': .* it is not grey"):
        kmq.quantize(photo()[..., 0], 3, require="red")


def test_cmyk_has_no_other_space():
    picture = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(InputError, match="CMYK"):
        kmq.quantize(picture, pixel_format="CMYK", space="lab")


def test_files_take_the_same_options():
    picture = photo()
    palette = [[0, 0, 0], [255, 255, 255], [128, 90, 60]]
    assert kmq.decode(kmq.encode(picture, palette=palette)).palette.tolist() == palette
    decoded = kmq.decode(kmq.encode(picture, 8, space="lab", require=[[1, 2, 3]], effort="fast"))
    same = kmq.quantize(picture, 8, space="lab", require=[[1, 2, 3]], effort="fast")
    assert np.array_equal(decoded.to_array(), same.to_array())
