"""Histograms of many pictures: counting, adding up, files, and the palette they give."""

import io
import tracemalloc
import weakref
import zlib
from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import kmq
import naive
from grouped import grouped
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.model.pixel_format import PixelFormat
from kmq.stages.histogram import counting

quantize = partial(kmq.quantize, space="rgb")
fit_palette = partial(kmq.fit_palette, space="rgb")

FORMATS = list(PixelFormat)


def noise(pixel_format, height=9, width=11, seed=0, n_levels=5):
    rng = np.random.default_rng(seed)
    top = pixel_format.max_value
    levels = np.linspace(0, top, min(n_levels, top + 1)).astype(pixel_format.dtype)
    samples = levels[rng.integers(0, len(levels), (height, width, pixel_format.channels))]
    if pixel_format is PixelFormat.BILEVEL:
        return samples[:, :, 0].astype(bool)
    if pixel_format.has_alpha:
        samples[samples[..., -1] == 0] = 0
    return samples


def of(picture, pixel_format=None):
    return kmq.ColorHistogram.from_picture(picture, pixel_format=pixel_format)


def counted(histogram):
    """Colours and counts as a plain dictionary."""
    pairs = zip(histogram.colors.tolist(), histogram.counts.tolist(), strict=True)
    return {tuple(color): count for color, count in pairs}


def plain_counts(*pictures):
    total = {}
    for picture in pictures:
        samples = np.atleast_3d(np.asarray(picture))
        for color, count in naive.color_counts(samples.astype(int)).items():
            total[color] = total.get(color, 0) + count
    return total


# --- counting and adding -------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_sum_counts_every_pixel_of_both(pixel_format):
    pictures = [noise(pixel_format, seed=seed, height=5 + 9 * seed) for seed in range(2)]
    first, second = (of(picture, pixel_format) for picture in pictures)
    total = first + second
    assert counted(total) == plain_counts(*pictures)
    assert total.n_pixels == first.n_pixels + second.n_pixels
    assert total.n_colors == len(plain_counts(*pictures))
    assert total == second + first
    assert total.pixel_format is pixel_format
    keys = [naive.morton_key(color) for color in total.colors.tolist()]
    assert keys == sorted(keys)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=12), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_neither_order_nor_grouping_changes_the_sum(rows, random):
    pictures = [np.array([[(*divmod(color, 256), 3) for color in row]], np.uint8) for row in rows]
    histograms = [of(picture) for picture in pictures]
    whole = kmq.ColorHistogram.from_pictures(pictures)
    assert counted(whole) == plain_counts(*pictures)
    random.shuffle(histograms)
    assert kmq.ColorHistogram.from_pictures(histograms) == whole
    assert sum(histograms) == whole
    cut = random.randint(0, len(histograms))
    parts = [sum(part) for part in (histograms[:cut], histograms[cut:]) if part]
    assert sum(parts) == whole


def test_from_pictures_holds_one_picture_at_a_time():
    seen = []

    def pictures():
        for seed in range(20):
            # The last one may still be referred to by whoever asks for the next.
            assert sum(reference() is not None for reference in seen) <= 1
            picture = noise(PixelFormat.RGB24, seed=seed)
            seen.append(weakref.ref(picture))
            yield picture

    assert kmq.ColorHistogram.from_pictures(pictures()).n_pixels == 20 * 99


def test_from_pictures_says_how_far_it_is():
    told = []
    pictures = [noise(PixelFormat.GREY8)] * 4
    kmq.ColorHistogram.from_pictures(pictures, progress=lambda *now: told.append(now))
    assert told == [("histogram", quarter / 4) for quarter in (1, 2, 3, 4)]


def test_anything_quantize_takes_is_counted(tmp_path):
    picture = noise(PixelFormat.RGB24)
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    image = quantize(picture, 99)
    kmq.write(tmp_path / "picture.kmq", image)
    expected = of(picture)
    for same in (path, str(path), Image.open(path), image, tmp_path / "picture.kmq"):
        assert of(same) == expected


def test_pictures_of_several_formats_meet_in_the_least_that_holds_all():
    grey = np.array([[0, 7, 255]], np.uint8)
    color = np.array([[[7, 7, 7], [1, 2, 3]]], np.uint8)
    sheer = np.array([[[255, 128]]], np.uint8)
    deep = np.array([[257 * 7, 5]], np.uint16)
    black = np.array([[False, True]])
    for order in permutations((grey, color, sheer, deep, black)):
        whole = kmq.ColorHistogram.from_pictures(order)
        assert whole.pixel_format is PixelFormat.RGBA64
        top, seven = 65535, 257 * 7
        assert counted(whole) == {
            (0, 0, 0, top): 2,
            (seven, seven, seven, top): 3,
            (top, top, top, top): 2,
            (257, 514, 771, top): 1,
            (top, top, top, 128 * 257): 1,
            (5, 5, 5, top): 1,
        }


@pytest.mark.parametrize("source", [fmt for fmt in FORMATS if fmt is not PixelFormat.CMYK32])
@pytest.mark.parametrize("label", ["LA", "RGB", "RGBA", "RGB48", "RGBA64"])
def test_formats_change_there_and_back(source, label):
    target = PixelFormat.from_label(label)
    histogram = of(noise(source))
    try:
        there = histogram.to_format(label)
    except InputError:
        loses = (
            (source.has_alpha and not target.has_alpha)
            or source.depth > target.depth
            or source.channels - source.has_alpha > target.channels - target.has_alpha
        )
        assert loses
        return
    assert there.to_format(source) == histogram
    keys = [naive.morton_key(color) for color in there.colors.tolist()]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("picture", "label", "sentence"),
    [
        (np.array([[[1, 2, 3]]], np.uint8), "L", r"\(1, 2, 3\) does not fit .* L: it is not grey"),
        (np.array([[[1, 2, 3, 9]]], np.uint8), "RGB", "it is not opaque"),
        (np.array([[256]], np.uint16), "L", "8 bits per sample do not hold it"),
        (np.array([[3]], np.uint8), "1", "1 bits per sample do not hold it"),
        (np.array([[3]], np.uint8), "CMYK", "cannot become pixel format CMYK"),
        (np.array([[3]], np.uint8), "XYZ", "no pixel format 'XYZ'"),
    ],
)
def test_what_another_format_cannot_hold_is_refused(picture, label, sentence):
    with pytest.raises(InputError, match=sentence):
        of(picture).to_format(label)


def test_histograms_of_different_formats_do_not_add_up():
    grey, color = of(noise(PixelFormat.GREY8)), of(noise(PixelFormat.RGB24))
    with pytest.raises(InputError, match=r"L and RGB do not add up.*to_format"):
        grey + color
    with pytest.raises(InputError, match="CMYK and L have no pixel format in common"):
        kmq.ColorHistogram.from_pictures([of(noise(PixelFormat.CMYK32), "CMYK"), grey])
    for other in (1, None, "x"):
        with pytest.raises(TypeError):
            grey + other
        with pytest.raises(TypeError):
            other + grey


def test_histograms_have_a_limit(monkeypatch):
    monkeypatch.setattr("kmq.histograms.MAX_HISTOGRAM_COLORS", 3)
    two = [of(np.array([[seed, seed + 1]], np.uint8)) for seed in (0, 2)]
    picture = np.arange(4, dtype=np.uint8)[None]
    for use in (lambda: two[0] + two[1], lambda: of(picture)):
        with pytest.raises(InputError, match="4 distinct colours; a histogram holds up to 3"):
            use()
    assert quantize(picture, 4).n_colors == 4  # which keeps none


def test_no_pictures_are_refused():
    with pytest.raises(InputError, match="no pictures"):
        kmq.ColorHistogram.from_pictures([])
    picture = noise(PixelFormat.RGB24)
    for one in ("photo.png", picture, Image.fromarray(picture), quantize(picture, 3)):
        with pytest.raises(TypeError, match=r"pictures is a single .*from_picture one"):
            kmq.ColorHistogram.from_pictures(one)
    assert kmq.ColorHistogram.from_pictures(picture[None]) == of(picture)


@pytest.mark.parametrize(
    ("colors", "counts", "error", "sentence"),
    [
        ([[1], [2]], [1, 1], TypeError, "colors is list"),
        (np.array([[1]], np.uint16), np.ones(1, int), InputError, "uint16"),
        (np.array([[1, 2]], np.uint8), np.ones(1, int), InputError, "shape"),
        (np.empty((0, 1), np.uint8), np.ones(0, int), InputError, "0 colours"),
        (np.array([[1]], np.uint8), np.ones(1), TypeError, "counts"),
        (np.array([[1]], np.uint8), np.ones(2, int), InputError, "counts have shape"),
        (np.array([[1]], np.uint8), np.zeros(1, int), InputError, "above 0"),
    ],
)
def test_a_histogram_made_by_hand_is_checked(colors, counts, error, sentence):
    with pytest.raises(error, match=sentence):
        kmq.ColorHistogram(colors, counts, PixelFormat.GREY8)


def test_a_histogram_out_of_order_is_refused_by_all_that_relies_on_it(tmp_path):
    wrong = kmq.ColorHistogram(np.array([[2], [1]], np.uint8), np.ones(2, int), PixelFormat.GREY8)
    for use in (
        lambda: wrong + wrong,
        lambda: fit_palette(wrong, 1),
        lambda: wrong.write(tmp_path / "x.kmqhist"),
        lambda: kmq.ColorHistogram.from_pictures([wrong]),
    ):
        with pytest.raises(InputError, match="Morton order"):
            use()
    assert not list(tmp_path.iterdir())


def test_a_histogram_shows_itself_in_a_line_and_is_no_key():
    histogram = of(np.array([[1, 1, 2]], np.uint8))
    assert repr(histogram) == "<kmq.ColorHistogram L, 2 colours, 3 pixels>"
    assert histogram != "something else"
    with pytest.raises(TypeError, match="unhashable"):
        hash(histogram)


# --- files ---------------------------------------------------------------------------------------


def plain_unpack(packed):
    """Colours and counts of a file, by the description in docs/palettes.md alone."""
    assert packed[:8] == b"\x89KMH\r\n\x1a\n"
    assert packed[8] == 1
    channels, sample_bytes = {
        0: (1, 1), 1: (1, 1), 2: (2, 1), 3: (1, 2), 4: (2, 2),
        5: (3, 1), 6: (4, 1), 7: (3, 2), 8: (4, 2), 9: (4, 1),
    }[packed[9]]  # fmt: skip
    n_colors = int.from_bytes(packed[10:18], "little")
    assert int.from_bytes(packed[-4:], "little") == zlib.crc32(packed[:-4])
    content = zlib.decompress(packed[18:-4], -15)
    key_bytes = channels * sample_bytes
    assert len(content) == n_colors * (key_bytes + 8)
    planes = [content[start : start + n_colors] for start in range(0, len(content), n_colors)]
    counts, key = {}, 0
    for place in range(n_colors):
        key += sum(planes[byte][place] << 8 * byte for byte in range(key_bytes))
        count = sum(planes[key_bytes + byte][place] << 8 * byte for byte in range(8))
        color = [0] * channels
        for bit in range(8 * key_bytes):
            level, channel = divmod(bit, channels)
            color[channels - 1 - channel] |= (key >> bit & 1) << level
        counts[tuple(color)] = count
    return counts


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_files_hold_what_was_saved_as_described(pixel_format, tmp_path):
    path = tmp_path / "some.kmqhist"
    histogram = of(noise(pixel_format, n_levels=200), pixel_format)
    histogram.write(path)
    assert kmq.ColorHistogram.read(path) == histogram
    stream = io.BytesIO()
    histogram.write(stream)
    assert stream.getvalue() == path.read_bytes()
    stream.seek(0)
    assert kmq.ColorHistogram.read(stream) == histogram
    assert plain_unpack(path.read_bytes()) == counted(histogram)


def test_a_suffix_of_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"dear to me")
    with pytest.raises(InputError, match=r"suffix \.png; files of histograms have \.kmqhist"):
        of(noise(PixelFormat.GREY8)).write(tmp_path / "photo.png")
    assert (tmp_path / "photo.png").read_bytes() == b"dear to me"


def test_large_counts_survive(tmp_path):
    path = tmp_path / "large.kmqhist"
    counts = np.array([2**40, 1, 2**61], np.int64)
    histogram = kmq.ColorHistogram(np.array([[0], [3], [255]], np.uint8), counts, PixelFormat.GREY8)
    histogram.write(path)
    assert kmq.ColorHistogram.read(path) == histogram


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB24, PixelFormat.RGBA64])
def test_files_and_sums_take_no_more_memory_than_the_histogram(pixel_format, tmp_path):
    rng = np.random.default_rng(0)
    n_colors = 600_000
    keys = np.unique(rng.integers(0, 2**24, n_colors, dtype=counting.key_type(pixel_format)))
    keys = keys << 6 | 15 if pixel_format.has_alpha else keys
    colors = counting.colors_of(keys, pixel_format, 1)
    first = kmq.ColorHistogram(colors, rng.integers(1, 9, len(keys)), pixel_format)
    second = kmq.ColorHistogram(colors[::2].copy(), first.counts[::2].copy(), pixel_format)
    path = tmp_path / "some.kmqhist"
    size = first.colors.nbytes + first.counts.nbytes
    limits = {"write": 9 * n_colors, "read": size, "add": size + 8_000_000}
    work = {
        "write": lambda: first.write(path),
        "read": lambda: kmq.ColorHistogram.read(path),
        "add": lambda: counting.merge(first, second, 1),
    }
    for name, limit in limits.items():
        tracemalloc.start()
        try:
            result = work[name]()
            beside = tracemalloc.get_traced_memory()[1] - path.stat().st_size
            assert beside < limit + 16_000_000, name  # two threads may be at their largest at once
        finally:
            tracemalloc.stop()
        assert name != "read" or result == first


def test_parts_of_sums_meet_at_the_same_keys(monkeypatch):
    monkeypatch.setattr(counting, "_PART", 7)
    for seed in range(20):
        pictures = [
            noise(PixelFormat.RGB24, 1 + seed * 7 % 23, 1 + 5 * number, seed + number, 2 + number)
            for number in range(2)
        ]
        first, second = map(of, pictures)
        assert counted(first + second) == plain_counts(*pictures)
        assert first + second == second + first


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "some.kmqhist"
    of(noise(PixelFormat.RGBA32)).write(path)
    return path.read_bytes()


def load(content, folder):
    path = folder / "damaged.kmqhist"
    path.write_bytes(content)
    return kmq.ColorHistogram.read(path)


def sealed(head, content):
    """A file with this head after the signature, and a checksum that agrees."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"\x89KMH\r\n\x1a\n" + head + stream.compress(content) + stream.flush()
    return body + zlib.crc32(body).to_bytes(4, "little")


def head(n_colors, version=1, code=1):
    return bytes([version, code]) + n_colors.to_bytes(8, "little")


def flipped_version(packed):
    return packed[:8] + b"\3" + packed[9:]


def grey_planes(differences, counts):
    rest = bytes(7 * len(counts))
    return bytes(differences) + bytes(counts) + rest


def test_every_cut_and_every_flipped_byte_is_noticed(packed, tmp_path):
    for end in range(len(packed)):
        with pytest.raises(FormatError):
            load(packed[:end], tmp_path)
    for place in range(len(packed)):
        flipped = bytearray(packed)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(FormatError):
            load(bytes(flipped), tmp_path)
    with pytest.raises(FormatError):
        load(packed + b"\0", tmp_path)


@settings(max_examples=50, deadline=None)
@given(head_bytes=st.binary(max_size=12), content=st.binary(max_size=60))
def test_any_sealed_bytes_are_a_histogram_or_an_error(head_bytes, content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    try:
        loaded = load(sealed(head_bytes, content), folder)
    except FormatError:
        return
    loaded.write(folder / "again.kmqhist")


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), FormatError, "not a .kmqhist file"),
        (sealed(head(1, version=2), grey_planes([1], [1])), NewerFormatError, "version 2"),
        (sealed(head(1, version=0), grey_planes([1], [1])), FormatError, "version is 0"),
        (flipped_version(sealed(head(1), grey_planes([1], [1]))), FormatError, "checksum"),
        (sealed(head(1, code=99), grey_planes([1], [1])), NewerFormatError, "pixel format 99"),
        (sealed(head(2**60), b""), LimitError, "up to 67108864"),
        (sealed(head(2**26), b""), FormatError, "cannot hold"),
        (sealed(head(0), b""), FormatError, "no colours"),
        (sealed(head(2), grey_planes([1, 0], [1, 1])), FormatError, "ascend"),
        (sealed(head(2), grey_planes([200, 56], [1, 1])), FormatError, "ascend"),
        (sealed(head(2, code=0), grey_planes([1, 1], [1, 1])), FormatError, "sample above 1"),
        (sealed(head(2), grey_planes([1, 1], [1, 0])), FormatError, "a count is 0"),
        (sealed(head(2), grey_planes([1, 1], [1])), FormatError, "hold 10, not 18"),
        # Grey 255 of alpha 0: bits of grey are the upper ones of each pair.
        (
            sealed(head(1, code=2), b"\xaa\xaa\x01" + bytes(7)),
            FormatError,
            "fully transparent colour is not all 0",
        ),
    ],
)
def test_what_no_histogram_is_like_is_refused(content, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        load(content, tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "nowhere" / "x.kmqhist"
    with pytest.raises(OSError, match="nowhere"):
        of(noise(PixelFormat.GREY8)).write(path)


# --- palettes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_the_palette_of_one_picture_is_that_of_quantize(pixel_format):
    picture = noise(pixel_format, 40, 50, n_levels=60)
    for k in (1, 7, 2000):
        image = quantize(picture, k, pixel_format=pixel_format)
        palette = fit_palette(of(picture, pixel_format), k)
        assert np.array_equal(palette, image.palette)
        assert palette.dtype == image.palette.dtype


def test_the_palette_of_many_is_that_of_all_in_one_picture():
    pictures = [noise(PixelFormat.RGB24, 30, 40, seed, 60) for seed in range(5)]
    histogram = kmq.ColorHistogram.from_pictures(pictures)
    palette = fit_palette(histogram, 16)
    assert np.array_equal(palette, quantize(np.concatenate(pictures), 16).palette)
    assert np.array_equal(quantize(pictures[0], palette=palette).palette, palette)
    backwards = kmq.ColorHistogram.from_pictures(pictures[::-1])
    assert np.array_equal(fit_palette(backwards, 16), palette)


def test_options_steer_as_in_quantize():
    picture = noise(PixelFormat.RGB24, 40, 50, n_levels=60)
    for options in (
        {"space": "oklab"},
        {"channel_weights": (1, 2, 9)},
        {"fixed": [(1, 2, 3), (255, 255, 255)]},
        {"posterize": 4},
        {"seed": 3},
        {"effort": "best"},
    ):
        chosen = grouped(**options)
        palette = fit_palette(of(picture), 12, **chosen)
        assert np.array_equal(palette, quantize(picture, 12, **chosen).palette)


def test_progress_is_told_and_may_stop_the_fit():
    def stop(stage, fraction):
        raise KeyboardInterrupt

    histogram = of(noise(PixelFormat.RGB24, 40, 50, n_levels=60))
    with pytest.raises(KeyboardInterrupt):
        fit_palette(histogram, 12, progress=stop)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"k": 0}, InputError, "k is 0"),
        ({"k": 2.5}, TypeError, "k is float"),
        ({"effort": "most"}, InputError, "effort is 'most'"),
        ({"space": "xyz"}, InputError, "space"),
        ({"channel_weights": (1, 2)}, InputError, "channel_weights have shape"),
        ({"fixed": [[1, 2, 3], [4, 5, 6]], "k": 1}, InputError, "fixed has 2 colours"),
        ({"posterize": 9}, InputError, "posterize is 9"),
        ({"seed": -1}, InputError, "seed is -1"),
        ({"n_threads": 0}, InputError, "n_threads"),
    ],
)
def test_bad_options_are_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        fit_palette(of(noise(PixelFormat.RGB24)), **grouped(**options))


def test_only_histograms_have_palettes_fitted():
    with pytest.raises(TypeError, match="histogram is ndarray"):
        fit_palette(noise(PixelFormat.RGB24), 3)
