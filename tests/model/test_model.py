"""What IndexedImage, PixelFormat and the facts around them promise."""

import copy
import io
import math
import pickle
from collections.abc import Hashable
from dataclasses import fields, replace

import numpy as np
import pytest

import kmq
from images import FULL_METADATA, indexed_image
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.files import encode
from kmq.model.arrays import looked_up
from kmq.model.file_info import ChunkInfo, FileInfo, Limits, StripInfo
from kmq.model.histogram import ColorHistogram
from kmq.model.image import MAX_COLORS, IndexedImage, Metadata, Report, index_dtype
from kmq.model.pixel_format import PixelFormat

PAPER_BYTES_PER_PIXEL = {
    "1": 1 / 8,
    "L": 1,
    "LA": 2,
    "L16": 2,
    "LA16": 4,
    "RGB": 3,
    "RGBA": 4,
    "RGB48": 6,
    "RGBA64": 8,
    "CMYK": 4,
}


def small(n_colors=3, pixel_format=PixelFormat.RGB24, **fields):
    palette = np.arange(n_colors * pixel_format.channels).reshape(n_colors, -1)
    indices = np.arange(6).reshape(2, 3) % n_colors
    return IndexedImage(
        palette.astype(pixel_format.dtype),
        indices.astype(index_dtype(n_colors)),
        pixel_format,
        **fields,
    )


def test_pixel_formats_have_labels_and_codes_of_their_own():
    assert {item.label for item in PixelFormat} == set(PAPER_BYTES_PER_PIXEL)
    assert sorted(item.code for item in PixelFormat) == list(range(10))


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_pixel_format_facts_agree(pixel_format):
    assert PixelFormat.from_label(pixel_format.label) is pixel_format
    assert pixel_format.bytes_per_pixel == PAPER_BYTES_PER_PIXEL[pixel_format.label]
    assert pixel_format.max_value == 2**pixel_format.depth - 1
    assert np.iinfo(pixel_format.dtype).max >= pixel_format.max_value
    assert pixel_format.has_alpha == ("A" in pixel_format.label)


def test_unknown_label_names_the_known():
    with pytest.raises(InputError, match=r"no pixel format 'BGR'; kmq has 1, L, .*CMYK"):
        PixelFormat.from_label("BGR")


def test_image_knows_its_size():
    image = small()
    assert (image.height, image.width, image.n_colors) == (2, 3, 3)
    assert repr(image) == "<kmq.IndexedImage 3x2 RGB, 3 colours>"


def small_histogram():
    return ColorHistogram(np.array([[1], [7]], np.uint8), np.array([3, 4]), PixelFormat.GREY8)


@pytest.mark.parametrize(
    "way",
    [
        lambda checked: checked,
        copy.copy,
        copy.deepcopy,
        replace,
        *(
            lambda checked, protocol=protocol: pickle.loads(pickle.dumps(checked, protocol))  # noqa: S301
            for protocol in (0, 2, pickle.HIGHEST_PROTOCOL)
        ),
    ],
)
@pytest.mark.parametrize("make", [lambda: small(metadata=FULL_METADATA), small_histogram])
def test_images_and_histograms_cannot_be_changed_however_they_came(make, way):
    checked = way(make())
    assert checked == make()
    for name in (item.name for item in fields(checked)):
        array = getattr(checked, name)
        with pytest.raises(AttributeError):
            setattr(checked, name, array)
        while isinstance(array, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.setflags(write=True)
            assert memoryview(array).readonly
            array = array.base
    assert checked == make()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer NumPy advises against both
def test_shape_and_type_of_an_array_that_was_handed_out_are_its_own():
    image, histogram = small(), small_histogram()
    for array in (image.palette, image.indices, histogram.colors, histogram.counts):
        array.dtype = np.dtype(f"V{array.itemsize}")
        array.shape = (-1, 1)
    assert image == small()
    assert histogram == small_histogram()


def test_the_given_arrays_stay_the_callers_own():
    palette, indices = np.zeros((3, 3), np.uint8), np.zeros((2, 2), np.uint8)
    image = IndexedImage(palette, indices[:], PixelFormat.RGB24)
    palette[0] = indices[0] = 255
    assert not image.palette.any()
    assert not image.indices.any()
    colors, counts = np.array([[1], [7]], np.uint8), np.array([3, 4])
    histogram = ColorHistogram(colors, counts, PixelFormat.GREY8)
    colors[:], counts[:] = 1, 0
    assert histogram == small_histogram()


def test_images_share_what_cannot_change():
    image = small()
    other = replace(image, metadata=FULL_METADATA)
    assert np.shares_memory(image.indices, other.indices)
    assert np.shares_memory(image.palette, copy.copy(image).palette)


@pytest.mark.parametrize("method", ["deflate", "mix", "rank"])
def test_an_image_that_was_changed_by_force_is_not_encoded(method):
    image = small()
    object.__setattr__(image, "indices", np.full((2, 3), 255, np.uint8))
    with pytest.raises(InputError, match="an index is 255; the palette has 3 colours"):
        encode(image, method=method)


def test_indices_take_the_smallest_type():
    narrow = IndexedImage(
        np.zeros((256, 1), np.uint8), np.full((2, 2), 255, np.uint16), PixelFormat.GREY8
    )
    assert narrow.indices.dtype == np.uint8
    assert narrow.indices.tolist() == [[255, 255], [255, 255]]
    wide = IndexedImage(np.zeros((257, 1), np.uint8), np.zeros((2, 2), np.uint8), PixelFormat.GREY8)
    assert wide.indices.dtype == np.uint16
    assert (index_dtype(256), index_dtype(257)) == (np.uint8, np.uint16)


def test_arrays_become_c_ordered():
    palette = np.asfortranarray(np.arange(6, dtype=np.uint16).reshape(2, 3))
    indices = np.zeros((4, 6), np.uint8)[::2, ::-3]
    image = IndexedImage(palette, indices, PixelFormat.RGB48)
    assert image.palette.flags.c_contiguous
    assert image.indices.flags.c_contiguous
    assert image.palette.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("palette", "sentence"),
    [
        (np.zeros((2, 3), np.uint16), "palette is uint16; pixel format RGB has uint8 samples"),
        (np.zeros((2, 3), np.float32), "palette is float32"),
        (np.zeros((2, 3), ">u2"), "palette is >u2"),
        (np.zeros((2, 4), np.uint8), r"palette has shape \(2, 4\).*needs \(colours, 3\)"),
        (np.zeros(6, np.uint8), r"palette has shape \(6,\)"),
        (np.zeros((0, 3), np.uint8), "palette has 0 colours; it holds at least 1"),
        (np.zeros((MAX_COLORS + 1, 3), np.uint8), "palette has 65537 colours"),
    ],
)
def test_other_palettes_are_refused(palette, sentence):
    with pytest.raises(InputError, match=sentence):
        IndexedImage(palette, np.zeros((1, 1), np.uint8), PixelFormat.RGB24)


def test_samples_beyond_the_depth_are_refused():
    with pytest.raises(InputError, match="a sample of 2; pixel format 1 goes up to 1"):
        IndexedImage(
            np.array([[0], [2]], np.uint8), np.zeros((1, 1), np.uint8), PixelFormat.BILEVEL
        )


@pytest.mark.parametrize(
    ("indices", "sentence"),
    [
        (np.zeros((1, 1), np.int64), "indices are int64; they must be uint8 or uint16"),
        (np.zeros((1, 1, 1), np.uint8), r"indices have shape \(1, 1, 1\)"),
        (np.zeros((0, 5), np.uint8), r"indices have shape \(0, 5\)"),
        (np.full((2, 2), 3, np.uint8), "an index is 3; the palette has 3 colours, from 0"),
    ],
)
def test_other_indices_are_refused(indices, sentence):
    with pytest.raises(InputError, match=sentence):
        IndexedImage(np.zeros((3, 3), np.uint8), indices, PixelFormat.RGB24)


def test_other_types_are_refused():
    palette, indices = np.zeros((1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    with pytest.raises(TypeError, match="palette is list"):
        IndexedImage([[0, 0, 0]], indices, PixelFormat.RGB24)
    with pytest.raises(TypeError, match="indices are list"):
        IndexedImage(palette, [[0]], PixelFormat.RGB24)
    with pytest.raises(TypeError, match="pixel_format is int; it must be"):
        IndexedImage(palette, indices, 5)
    with pytest.raises(TypeError, match=r"metadata is dict; it must be a kmq\.Metadata"):
        small(metadata={"dpi": (72, 72)})
    with pytest.raises(TypeError, match="pixel_format is int"):
        ColorHistogram(palette, np.ones(1, int), 5)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_to_array_looks_every_pixel_up(pixel_format):
    image = indexed_image(pixel_format, 2, 5, 4)
    array = image.to_array()
    grey = pixel_format.channels == 1
    assert array.shape == ((5, 4) if grey else (5, 4, pixel_format.channels))
    assert array.dtype == (np.bool_ if pixel_format.depth == 1 else pixel_format.dtype)
    for row in range(5):
        for column in range(4):
            color = image.palette[image.indices[row, column]]
            assert np.array_equal(array[row, column], color[0] if grey else color)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_an_image_is_an_array_to_numpy(pixel_format):
    image = indexed_image(pixel_format, 2, 5, 4)
    array = image.to_array()
    assert np.array_equal(np.asarray(image), array)
    assert np.asarray(image).dtype == array.dtype
    assert (image.shape, image.size) == (array.shape, (4, 5))
    wide = np.array(image, dtype=np.float32)
    assert wide.dtype == np.float32
    assert np.array_equal(wide, array)
    np.array(image, copy=True)[:] = 0
    with pytest.raises(ValueError, match="only by copying"):
        np.array(image, copy=False)
    assert image == indexed_image(pixel_format, 2, 5, 4)


def test_matplotlib_shows_an_image():
    pyplot = pytest.importorskip("matplotlib.figure")
    for pixel_format in (PixelFormat.BILEVEL, PixelFormat.GREY8, PixelFormat.RGB24):
        image = indexed_image(pixel_format, 2, 5, 4)
        shown = pyplot.Figure().subplots().imshow(image)
        assert np.array_equal(shown.get_array(), image.to_array())


@pytest.mark.parametrize("n_colors", [3, 300])
def test_counts_are_those_of_the_indices(n_colors):
    image = indexed_image(PixelFormat.GREY16, n_colors, 300, 301)
    assert image.counts.dtype == np.int64
    assert np.array_equal(image.counts, np.bincount(image.indices.ravel(), minlength=n_colors))
    assert small(9).counts.tolist() == [1] * 6 + [0] * 3


@pytest.mark.parametrize("name", ["x.kmq", "x.KMQ", "x.kmqpal", "x"])
def test_an_image_saves_itself(tmp_path, name):
    image = small(metadata=FULL_METADATA)
    image.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == encode(image)
    stream = io.BytesIO()
    image.save(stream)
    assert stream.getvalue() == encode(image)


def test_an_image_saves_itself_as_a_picture_by_the_suffix(tmp_path):
    image = small()
    image.save(str(tmp_path / "x.png"))
    assert np.array_equal(kmq.quantize(tmp_path / "x.png").to_array(), image.to_array())
    for name in ("x.jpg", "x.xyz"):
        with pytest.raises(InputError, match=rf"{name} has extension .* fits in \.png"):
            image.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_lost_rows_are_told():
    image = small(lost=[(0, np.int64(1)), (1, 2)])
    assert image.lost == ((0, 1), (1, 2))
    assert repr(image).endswith("3 colours, 2 rows lost>")
    assert image != small()


@pytest.mark.parametrize(
    "lost", [[(0, 0)], [(-1, 2)], [(1, 3)], [(1, 2), (0, 1)], [(0, 2), (1, 2)]]
)
def test_lost_rows_are_bands_within_the_picture(lost):
    with pytest.raises(InputError, match="within the picture's 2"):
        small(lost=lost)


def test_equality_is_of_what_is_shown():
    image = small()
    assert image == small()
    report = Report(3, 3, 0.0, float("inf"), 1, True, 0, {})
    assert image == small(report=report)
    assert image != small(metadata=Metadata(xmp=b"<x/>"))
    assert image != small(4)
    assert image != small(pixel_format=PixelFormat.CMYK32)
    assert image != IndexedImage(image.palette, image.indices[:, ::-1], image.pixel_format)
    assert image != "image"
    with pytest.raises(TypeError, match="unhashable"):
        hash(image)


def test_from_pillow_and_to_pillow_are_inverse():
    image = small()
    assert IndexedImage.from_pillow(image.to_pillow()) == image


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_file_info_sums_as_the_paper_does(pixel_format):
    info = FileInfo(
        version=1,
        pixel_format=pixel_format,
        height=120,
        width=100,
        palette=np.zeros((7, pixel_format.channels), pixel_format.dtype),
        metadata=Metadata(),
        strip_height=120,
        strips=(),
        chunks=(),
        file_size=3000,
    )
    assert info.n_colors == 7
    assert info.memory == 12_000 * PAPER_BYTES_PER_PIXEL[pixel_format.label]
    assert info.bits_per_pixel == 2.0


def test_parts_of_a_file_add_up():
    letters = [("H", 6), ("P", 13), ("d", 5), ("i", 40), ("T", 2), ("S", 30), ("S", 20), ("E", 0)]
    info = FileInfo(
        version=1,
        pixel_format=PixelFormat.GREY8,
        height=2,
        width=9,
        palette=np.zeros((12, 1), np.uint8),
        metadata=Metadata(),
        strip_height=1,
        strips=(StripInfo(0, 1, 112, 30, 0), StripInfo(1, 1, 148, 20, 0)),
        chunks=tuple(ChunkInfo(letter, 0, length) for letter, length in letters),
        file_size=200,
    )
    assert info.parts == {"palette": 13, "strips": 50, "metadata": 45, "frame": 92}


@pytest.mark.parametrize("kind", [FormatError, NewerFormatError, LimitError])
def test_format_errors_tell_where(kind):
    error = kind("it is damaged", chunk="S", offset=40)
    assert str(error) == "it is damaged (chunk 'S', offset 40)"
    assert (error.chunk, error.offset) == ("S", 40)
    assert str(kind("it is damaged")) == "it is damaged"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("limit", ["pixels", "metadata_bytes"])
@pytest.mark.parametrize(("value", "error"), [(-1, InputError), ("x", TypeError)])
def test_limits_are_whole_numbers(limit, value, error):
    with pytest.raises(error, match=f"{limit} is "):
        Limits(**{limit: value})


# --- equality ------------------------------------------------------------------------------------


PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def made_twice():
    encoded = encode(indexed_image(PixelFormat.RGB24, 4, 4, 4, metadata=FULL_METADATA))
    rows, colors = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([[1, 2, 3]])
    start = kmq.Start(rows, seed=1)
    return [
        (kmq.info(io.BytesIO(encoded)), kmq.info(io.BytesIO(encoded))),
        (kmq.kmeans(rows, 2), kmq.kmeans(rows, 2)),
        (kmq.error_curve(PICTURE, 3), kmq.error_curve(PICTURE, 3)),
        (kmq.Require(fixed=["white", (1, 2, 3)]), kmq.Require(fixed=["white", (1, 2, 3)])),
        (kmq.Require(fixed=colors), kmq.Require(fixed=colors.copy())),
        (start, kmq.Start(rows.copy(), seed=1)),
    ]


def test_values_that_hold_arrays_are_equal_by_what_they_hold():
    pairs = made_twice()
    for one, other in pairs:
        assert one == other
        assert (one != other) is False
        assert one != object()
    values = [one for one, _ in pairs]
    for place, one in enumerate(values):
        assert values.index(one) == place
    assert kmq.Start(seed=1) != kmq.Start(seed=2)
    assert replace(values[0], width=5) != values[0]
    assert replace(values[0], palette=values[0].palette[:3]) != values[0]


def test_what_holds_arrays_has_no_hash_and_what_holds_plain_values_has_one():
    values = [one for one, _ in made_twice()]
    for value in [*values, small(), small().to_palette(), ColorHistogram.from_picture(PICTURE)]:
        assert not isinstance(value, Hashable)
        with pytest.raises(TypeError, match=f"unhashable type: '{type(value).__name__}'"):
            hash(value)
    assert len({kmq.Rate(1), kmq.Rate(1.0), kmq.Limits(), kmq.Space("rgb")}) == 3
    assert len({FULL_METADATA, replace(FULL_METADATA), Metadata(), Metadata()}) == 2
    one, other = (Report(3, 3, 0.0, math.inf, 1, True, 0, {"search": 0.1}) for _ in range(2))
    assert (one == other, len({one, other})) == (True, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (300, 301), (2, 65_537)])
def test_colours_are_looked_up_as_numpy_looks_them_up(shape, dtype):
    random = np.random.default_rng(1)
    for channels in (1, 3, 4):
        palette = random.integers(0, 256, (200, channels)).astype(dtype)
        indices = random.integers(0, 200, shape).astype(np.uint16)
        for part in (indices, indices[::-1, ::2], np.asfortranarray(indices)):
            assert np.array_equal(looked_up(palette, part), palette[part])


# --- metadata made by hand -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "error", "sentence"),
    [
        (Metadata(dpi=(math.inf, 1)), InputError, "dpi is"),
        (Metadata(dpi=(-1, -1)), InputError, "dpi is"),
        (Metadata(dpi=(1e30, 1e30)), InputError, "dpi is"),
        (Metadata(dpi=(72,)), InputError, "dpi is"),
        (Metadata(dpi=(72, 10**400)), InputError, "dpi is"),
        (Metadata(dpi=("a", "b")), TypeError, "dpi is"),
        (Metadata(gamma=math.nan), InputError, "gamma is nan"),
        (Metadata(chromaticities=(1.0,)), InputError, "chromaticities has 1 numbers"),
        (Metadata(srgb="vivid"), InputError, "srgb is 'vivid'"),
        (Metadata(cicp=(300, 1, 0, 1)), InputError, "a number of cicp is 300"),
        (Metadata(text={"a": 5}), TypeError, "both must be strings"),
        (Metadata(text={"a": "\ud800"}), InputError, "cannot be written as UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["x.kmq", "x.png", "x.tif"])
def test_metadata_that_cannot_be_are_refused_alike_by_every_file(
    metadata, error, sentence, name, tmp_path
):
    with pytest.raises(error, match=sentence):
        small(metadata=metadata).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_numbers_of_metadata_may_be_those_of_numpy():
    given = Metadata(dpi=(np.float16(72), np.int8(72)), gamma=np.int8(1), cicp=(np.uint8(1),) * 4)
    plain = Metadata(dpi=(72, 72), gamma=1, cicp=(1, 1, 1, 1))
    assert encode(small(metadata=given)) == encode(small(metadata=plain))
