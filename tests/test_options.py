"""What every door has in common: what is not given, names, and checks before a picture is read."""

import dataclasses
import inspect
import io
import re
import runpy
import typing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kmq
import kmq.pillow
from grouped import grouped
from kmq import checks, contradictions
from kmq.cli import main
from kmq.model.pixel_format import PixelFormat, PixelFormatLabel

RANDOM = np.random.default_rng(3)
PICTURE = RANDOM.integers(0, 256, (20, 24, 3)).astype(np.uint8)
GREY = PICTURE[:, :, 0]

TAKE_PICTURES = {
    "quantize": kmq.quantize,
    "encode": kmq.encode,
    "choose_k": kmq.choose_k,
    "error_curve": kmq.error_curve,
    "from_picture": kmq.ColorHistogram.from_picture,
}
DOORS = [
    *TAKE_PICTURES.values(),
    kmq.ColorHistogram.from_pictures,
    kmq.accumulate,
    kmq.assign,
    kmq.decode,
    kmq.fit_palette,
    kmq.info,
    kmq.kmeans,
    kmq.read,
    kmq.read_palette,
    kmq.read_region,
    kmq.write,
    kmq.write_palette,
]


def optional_parameters(door):
    parameters = inspect.signature(door).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not item.empty}


def all_none(door):
    return dict.fromkeys(optional_parameters(door))


# --- None is not given ---------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_what_need_not_be_given_is_none(door):
    assert set(optional_parameters(door).values()) <= {None}


def test_none_is_not_given(tmp_path):
    image = kmq.quantize(PICTURE, 8)
    assert kmq.quantize(PICTURE, **all_none(kmq.quantize) | {"k": 8}) == image
    encoded = kmq.encode(image)
    assert kmq.encode(image, **all_none(kmq.encode)) == encoded
    assert kmq.encode(PICTURE, **all_none(kmq.encode) | {"k": 8}) == encoded
    assert kmq.decode(encoded, **all_none(kmq.decode)) == image
    path = tmp_path / "x.kmq"
    kmq.write(path, image, **all_none(kmq.write))
    assert kmq.read(path, **all_none(kmq.read)) == image
    Image.fromarray(PICTURE).save(path, **all_none(kmq.encode) | {"k": 8})
    assert kmq.read(path) == image
    wanted = kmq.Fewest(max_mse=3000)
    options = all_none(kmq.choose_k)
    assert kmq.choose_k(PICTURE, wanted, **options) == kmq.choose_k(PICTURE, wanted)
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    palette = kmq.fit_palette(histogram, **all_none(kmq.fit_palette) | {"space": "rgb"})
    assert np.array_equal(palette, kmq.quantize(PICTURE, space="rgb").palette)
    curve = kmq.error_curve(PICTURE, **all_none(kmq.error_curve))
    assert curve.k[-1] <= 256
    points = PICTURE.reshape(-1, 3)
    clusters = kmq.kmeans(points, 3, **all_none(kmq.kmeans))
    assert np.array_equal(clusters.labels, kmq.kmeans(points, 3).labels)
    bare = kmq.IndexedImage(image.palette, image.indices, image.pixel_format, None, None, None)
    assert bare == image
    assert kmq.Metadata(text=None, extra=None) == kmq.Metadata()
    assert kmq.Limits(pixels=None, metadata_bytes=None) == kmq.Limits()


# --- unknown names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("door", "name", "hint"),
    [
        (kmq.quantize, "n_colors", "; did you mean k?"),
        (kmq.quantize, "random_state", "; did you mean start=kmq.Start(seed=...)?"),
        (kmq.quantize, "max_mse", "; did you mean k=kmq.Fewest(max_mse=...)?"),
        (kmq.quantize, "size", ""),
        (kmq.encode, "speed", "; did you mean effort?"),
        (kmq.encode, "ssim", "; did you mean quality?"),
        (kmq.encode, "dithering", "; did you mean mapping=kmq.Dither(...)?"),
        (kmq.encode, "bits_per_pixel", "; did you mean bpp?"),
        (kmq.encode, "xyzzy", ""),
        (kmq.choose_k, "n_jobs", "; did you mean n_threads?"),
        (kmq.error_curve, "k_max", "; did you mean max_colors?"),
        (kmq.fit_palette, "n_clusters", "; did you mean k?"),
        (kmq.kmeans, "sample_weight", "; did you mean weights?"),
    ],
)
def test_an_unknown_name_is_told_by_the_function_that_was_called(door, name, hint):
    with pytest.raises(TypeError) as caught:
        door(PICTURE, **{name: 3})
    assert str(caught.value) == (
        f"{door.__name__}() got an unexpected keyword argument {name!r}{hint}"
    )


def test_an_unknown_name_writes_nothing(tmp_path):
    with pytest.raises(TypeError, match=r"^write\(\) got .* 'ncolors'; did you mean k\?$"):
        kmq.write(tmp_path / "x.kmq", PICTURE, ncolors=3)
    with pytest.raises(TypeError, match=r"^write\(\) got .* 'colors'; did you mean k\?$"):
        kmq.write(tmp_path / "x.kmq", kmq.quantize(PICTURE, 3), colors=3)
    assert not list(tmp_path.iterdir())


def test_saving_through_pillow_hints_at_what_is_meant(tmp_path):
    sentence = r"no option n_colors \(did you mean k\?\), xyzzy; it has"
    with pytest.raises(TypeError, match=sentence):
        Image.fromarray(PICTURE).save(tmp_path / "x.kmq", n_colors=8, xyzzy=1)
    assert not list(tmp_path.iterdir())


# --- checks before reading -----------------------------------------------------------------------

WRONG = [
    {"k": 0},
    {"k": "many"},
    {"effort": "most"},
    {"dither": 7},
    {"dither": "diffusion"},
    {"dither_method": "floyd"},
    {"mapping": "floyd"},
    {"space": "hsv"},
    {"seed": -1},
    {"lam": "high"},
    {"snap": 1},
    {"posterize": 17},
    {"channel_weights": [1, -1]},
    {"fixed": "no colour"},
    {"fixed": ["white", (1, "x", 3)]},
    {"fixed": [[-1.5, 0, 0]]},
    {"require": [[-1.5, 0, 0]]},
    {"palette": []},
    {"palette": [], "k": 3},
    {"palette": "missing.gpl"},
    {"weights": "high"},
    {"weights": [[-1]]},
    {"init": "best"},
    {"init": [[np.nan, 1, 2]]},
    {"start": "best"},
    {"tol": -1},
    {"max_iter": 0},
    {"n_init": 0},
    {"page": 0},
    {"pixel_format": "BGR"},
    {"progress": "yes"},
    {"n_threads": 0},
    {"fewest": {"psnr": 30}, "lam": 3},
    {"fewest": {"psnr": 30}, "dither": 1},
    {"fewest": {"max_mse": 30, "max_colors": 0}},
]
WRONG_TARGETS = [
    *({"size": 900, **wrong} for wrong in WRONG),
    {"size": -1},
    {"bpp": 0},
    {"quality": 101},
    {"quality": "high"},
    {"psnr": "high"},
    {"method": "zip"},
    {"strip_height": 0},
    {"size": 900, "dither": 1},
    {"max_colors": 0},
    {"psnr": 30, "lam": [1, 2]},
]
GROUPS = {
    **dict.fromkeys(("dither", "dither_method", "lam"), "mapping"),
    **dict.fromkeys(("seed", "init", "tol", "max_iter", "n_init"), "start"),
    **dict.fromkeys(("fixed", "snap", "posterize"), "require"),
    "channel_weights": "space",
    "fewest": "k",
}


def wrong_for(door):
    """Options that the door knows."""
    known = {*inspect.signature(door).parameters}
    if door is kmq.encode:
        return [*WRONG, *WRONG_TARGETS]
    return [wrong for wrong in WRONG if {GROUPS.get(name, name) for name in wrong} <= known]


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, door in TAKE_PICTURES.items() for options in wrong_for(door)],
)
def test_what_is_wrong_is_told_before_the_picture_is_read(name, options):
    more = {} if name != "choose_k" or "fewest" in options else {"k": kmq.Fewest(psnr=30)}
    with pytest.raises((kmq.InputError, TypeError, FileNotFoundError)) as caught:
        TAKE_PICTURES[name]("missing.png", **{**more, **grouped(**options)})
    assert "missing.png" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_told_before_the_picture_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-folder"):
        kmq.write(tmp_path / "no-folder" / "x.kmq", "missing.png")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        kmq.write(tmp_path / "x.kmq", "missing.png")
    assert not list(tmp_path.iterdir())


# --- colours -------------------------------------------------------------------------------------

SAME_COLORS = [
    ["white", "#010203"],
    ["white", (1, 2, 3)],
    np.array(["white", "#010203"]),
    [np.array([255, 255, 255]), "010203"],
    ((255, 255, 255), (1, 2, 3)),
    np.array([[255, 255, 255], [1, 2, 3]], np.int64),
    kmq.IndexedImage(
        np.array([[255, 255, 255], [1, 2, 3]], np.uint8), np.zeros((1, 1), np.uint8),
        PixelFormat.RGB24,
    ),
]  # fmt: skip


@pytest.mark.parametrize("colors", SAME_COLORS)
def test_colors_are_given_alike_wherever_they_are_given(colors, tmp_path):
    rows = [[255, 255, 255], [1, 2, 3]]
    image = kmq.quantize(PICTURE, palette=colors)
    assert image.palette.tolist() == rows
    assert kmq.quantize(PICTURE, 8, require=colors) == kmq.quantize(PICTURE, 8, require=rows)
    assert kmq.quantize(PICTURE, start=colors) == kmq.quantize(PICTURE, 2, start=rows)
    assert kmq.decode(kmq.encode(PICTURE, palette=colors)) == image
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    fitted = kmq.fit_palette(histogram, 8, require=colors)
    assert np.array_equal(fitted, kmq.fit_palette(histogram, 8, require=rows))
    kmq.write_palette(tmp_path / "x.gpl", colors)
    assert kmq.read_palette(tmp_path / "x.gpl").tolist() == rows
    for target in ({"size": 900}, {"psnr": 15}, {"quality": 20}):
        decoded = kmq.decode(kmq.encode(PICTURE, require=colors, effort="fast", **target))
        assert {(255, 255, 255), (1, 2, 3)} <= set(map(tuple, decoded.palette.tolist()))


def test_named_colors_that_the_picture_has_no_room_for_widen_it():
    assert kmq.quantize(GREY, palette=["white", "#000"]).pixel_format is PixelFormat.GREY8
    image = kmq.quantize(GREY, palette=["white", "#ff000080"])
    assert image.pixel_format is PixelFormat.RGBA32
    assert image.palette.tolist() == [[255, 255, 255, 255], [255, 0, 0, 128]]


def test_the_background_stands_beside_samples_in_a_palette():
    picture = PICTURE.copy()
    picture[0], picture[-1] = 9, 9
    assert kmq.quantize(picture, palette=["background", (1, 2, 3)]).palette.tolist() == [
        [9, 9, 9],
        [1, 2, 3],
    ]


def test_a_start_gives_the_colours_of_a_file_of_some_size():
    start = ["white", "black", (90, 40, 10)]
    encoded = kmq.encode(PICTURE, start=start, size=300)
    assert encoded == kmq.encode(PICTURE, 3, start=start, size=300)
    assert kmq.decode(encoded).n_colors <= 3
    with pytest.raises(kmq.InputError, match="start and quality are both given; the colours"):
        kmq.encode(PICTURE, start=start, quality=50)


def test_short_forms_mean_the_same():
    for mapping, same in (("dither", kmq.Dither()), ("ordered", kmq.Dither(1, method="ordered"))):
        assert kmq.quantize(PICTURE, 4, mapping=mapping) == kmq.quantize(PICTURE, 4, mapping=same)
    for mapping in ("nearest", kmq.Dither(0), kmq.Rate(0)):
        assert kmq.quantize(PICTURE, 4, mapping=mapping) == kmq.quantize(PICTURE, 4)
    started = kmq.quantize(PICTURE, 4, start=kmq.Start("random"))
    assert kmq.quantize(PICTURE, 4, start="random") == started
    assert kmq.quantize(PICTURE, 4, space=kmq.Space("lab")) == kmq.quantize(PICTURE, 4, space="lab")


def test_values_hold_plain_numbers_whatever_they_were_given_as():
    values = [
        (kmq.Rate(np.float16(1)), kmq.Rate(1.0)),
        (kmq.Rate(np.longdouble(0.5)), kmq.Rate(0.5)),
        (kmq.Fewest(psnr=np.int8(30), max_colors=np.uint8(9)), kmq.Fewest(psnr=30, max_colors=9)),
        (
            kmq.Start("random", n_init=np.uint8(200), max_iter=np.int8(9), seed=np.uint8(200)),
            kmq.Start("random", n_init=200, max_iter=9, seed=200),
        ),
        (kmq.Require(snap=np.True_, posterize=np.int8(5)), kmq.Require(snap=True, posterize=5)),
        (kmq.Dither(np.float16(0.5)), kmq.Dither(0.5)),
        (kmq.Limits(pixels=np.array(4)), kmq.Limits(pixels=4)),
    ]
    for given, plain in values:
        assert repr(given) == repr(plain)
    for given, plain in values[:3]:
        options = {"k": plain} if isinstance(plain, kmq.Fewest) else {"k": 4, "mapping": plain}
        same = {"k": given} if isinstance(plain, kmq.Fewest) else {"k": 4, "mapping": given}
        assert kmq.encode(PICTURE, **same) == kmq.encode(PICTURE, **options)


# --- pictures that are files ---------------------------------------------------------------------


class Pipe:
    """A file object that can do no more than be read once."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


def saved(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("content", [saved(Image.fromarray(PICTURE)), kmq.encode(PICTURE, 9)])
def test_bytes_and_file_objects_are_pictures(content, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(content)
    image = kmq.quantize(path, 5)
    histogram = kmq.ColorHistogram.from_picture(path)
    for make in (bytes, bytearray, memoryview, io.BytesIO, Pipe):
        assert kmq.quantize(make(content), 5) == image
        assert kmq.decode(kmq.encode(make(content), 5)) == image
        assert kmq.ColorHistogram.from_picture(make(content)) == histogram
    with path.open("rb") as file:
        assert kmq.quantize(file, 5) == image
    behind = io.BytesIO(b"head" + content)
    behind.seek(4)
    assert kmq.quantize(behind, 5) == image
    assert len(kmq.encode(io.BytesIO(content), size=900)) <= 900


def readers(folder):
    """Each reader with a file for it, and what gives what it read an equality."""
    image = kmq.quantize(PICTURE, 5)
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    image.save(folder / "x.kmq")
    kmq.write_palette(folder / "x.gpl", image)
    histogram.write(folder / "x.kmqhist")
    return [
        (kmq.read, folder / "x.kmq"),
        (kmq.info, folder / "x.kmq"),
        (lambda source: kmq.read_region(source, (1, 2, 3, 4)), folder / "x.kmq"),
        (kmq.IndexedImage.open, folder / "x.kmq"),
        (kmq.read_palette, folder / "x.gpl"),
        (kmq.ColorHistogram.read, folder / "x.kmqhist"),
        (lambda source: kmq.quantize(source, 3), folder / "x.kmq"),
    ]


def test_every_reader_takes_paths_file_objects_and_bytes(tmp_path):
    for read, path in readers(tmp_path):
        expected, content = repr(read(path)), path.read_bytes()
        for make in (bytes, bytearray, memoryview, io.BytesIO):
            assert repr(read(make(content))) == expected
        assert repr(read(str(path))) == expected
        with path.open("rb") as file:
            assert repr(read(file)) == expected
        with path.open(encoding="latin-1") as file, pytest.raises(TypeError, match="binary mode"):
            read(file)
        with pytest.raises(TypeError, match="is int; "):
            read(3)


def test_what_is_no_picture_file_is_told(tmp_path):
    for content in (b"", b"not a picture", bytearray(3)):
        with pytest.raises(kmq.InputError, match="picture is not a picture in a format"):
            kmq.quantize(content)
    with pytest.raises(TypeError, match="a file object open for text; open it in binary mode"):
        kmq.quantize(io.StringIO("text"))
    for several in (b"bytes", io.BytesIO(b"bytes")):
        with pytest.raises(TypeError, match="from_pictures takes several pictures"):
            kmq.ColorHistogram.from_pictures(several)


def animation(kind):
    frames = [Image.fromarray(np.roll(PICTURE, 5 * i, 0)).quantize(16) for i in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_an_animation_is_refused_without_a_page_however_it_is_given(kind, tmp_path):
    content = animation(kind)
    path = tmp_path / f"a.{kind.lower()}"
    path.write_bytes(content)
    for open_it in (lambda: path, lambda: content, lambda: Image.open(io.BytesIO(content))):
        with pytest.raises(kmq.InputError, match=r"3 pages or frames.* page 1 to 3"):
            kmq.quantize(open_it(), 4)
        with pytest.raises(kmq.InputError, match="page is 4; the file has 3"):
            kmq.quantize(open_it(), 4, page=4)
    for page in (1, 2, 3):
        image = kmq.quantize(path, 4, page=page)
        assert kmq.quantize(content, 4, page=page) == image
        with Image.open(path) as opened:
            opened.seek(1)
            assert kmq.quantize(opened, 4, page=page) == image
            assert opened.tell() == 1
            second = kmq.quantize(opened.copy(), 4)
        assert np.array_equal(second.to_array(), kmq.quantize(path, 4, page=2).to_array())


def test_palettes_are_not_taken_from_one_frame_of_several(tmp_path):
    with Image.open(io.BytesIO(animation("GIF"))) as opened:
        with pytest.raises(kmq.InputError, match=r"or take a copy\(\) of the current one"):
            kmq.IndexedImage.from_pillow(opened)
        frame = kmq.IndexedImage.from_pillow(opened.copy())
        opened.save(tmp_path / "x.kmq")
    assert kmq.read(tmp_path / "x.kmq") == frame


def test_one_picture_has_page_1_and_no_other(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "x.png")
    kmq.write(tmp_path / "x.kmq", PICTURE, 9)
    pictures = [
        PICTURE,
        Image.fromarray(PICTURE),
        tmp_path / "x.png",
        (tmp_path / "x.png").read_bytes(),
        kmq.quantize(PICTURE, 9),
        tmp_path / "x.kmq",
    ]
    for picture in pictures:
        assert kmq.quantize(picture, 9, page=1) == kmq.quantize(picture, 9)
        with pytest.raises(kmq.InputError, match="page is 2"):
            kmq.quantize(picture, 9, page=2)


# --- the same options in other doors -------------------------------------------------------------

STEERED = [
    {"space": "oklab"},
    {"channel_weights": [1, 2, 3]},
    {"posterize": 3, "space": "rgb"},
    {"snap": True, "space": "rgb"},
    {"init": "random", "seed": 5, "max_iter": 3},
    {"n_init": 2, "tol": 0.1},
]


@pytest.mark.parametrize("options", STEERED)
def test_fit_palette_and_choose_k_take_what_quantize_takes(options):
    options = grouped(**options)
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    image = kmq.quantize(PICTURE, 9, **options)
    assert np.array_equal(kmq.fit_palette(histogram, 9, **options), image.palette)
    image = kmq.quantize(PICTURE, k=kmq.Fewest(psnr=13), **options)
    assert np.array_equal(
        kmq.fit_palette(histogram, k=kmq.Fewest(psnr=13), **options), image.palette
    )
    assert kmq.choose_k(PICTURE, k=kmq.Fewest(psnr=13), **options) == image.n_colors


def test_choose_k_takes_weights():
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[:3] = True
    for options in ({"weights": mask}, {"weights": 1 + 9 * mask}):
        image = kmq.quantize(PICTURE, k=kmq.Fewest(psnr=13), **options)
        assert kmq.choose_k(PICTURE, k=kmq.Fewest(psnr=13), **options) == image.n_colors


def test_a_histogram_whose_target_cannot_be_met_is_told():
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    assert len(kmq.fit_palette(histogram, k=kmq.Fewest(psnr=40, max_colors=5))) == 5


def test_the_command_line_has_targets_of_palettes_and_rows_of_strips(tmp_path, capsys):
    path = tmp_path / "x.png"
    Image.fromarray(PICTURE).save(path)
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    for options, expected in (
        (["--psnr", "13"], {"psnr": 13}),
        (["--max-mse", "9000"], {"max_mse": 9000}),
        (["--psnr", "40", "--max-colors", "5"], {"psnr": 40, "max_colors": 5}),
    ):
        assert main(["palette", str(path), *options, "-o", str(tmp_path / "x.hex"), "--force"]) == 0
        palette = kmq.fit_palette(histogram, kmq.Fewest(**expected))
        assert np.array_equal(kmq.read_palette(tmp_path / "x.hex"), palette)
    assert main(["palette", "missing.png", "-k", "3", "--psnr", "30"]) == 2
    assert "-k and --psnr are both given" in capsys.readouterr().err
    assert main(["encode", str(path), "-k", "4", "--strip-height", "7"]) == 0
    assert (tmp_path / "x.kmq").read_bytes() == kmq.encode(PICTURE, 4, strip_height=7)


def test_a_pillow_image_gives_its_palette(tmp_path):
    pillow = Image.fromarray(PICTURE).quantize(5)
    colors = kmq.IndexedImage.from_pillow(pillow).palette
    assert kmq.quantize(PICTURE, palette=pillow) == kmq.quantize(PICTURE, palette=colors)
    assert kmq.quantize(PICTURE, start=pillow) == kmq.quantize(PICTURE, start=colors)
    with pytest.raises(kmq.InputError, match="only P, PA, L and 1 have a palette"):
        kmq.quantize(PICTURE, palette=Image.fromarray(PICTURE))


def test_what_is_tried_in_other_places_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"path is ndarray; .* it comes before the palette"):
        kmq.write_palette(PICTURE[0], tmp_path / "x.gpl")
    with pytest.raises(TypeError, match=r"start is int; .* kmq\.Start\(seed=\.\.\.\)"):
        kmq.quantize(PICTURE, 4, start=42)
    for name, meant in (("load", "read"), ("save", "write"), ("Image", "IndexedImage")):
        with pytest.raises(AttributeError, match=f"{name!r}; did you mean kmq.{meant}"):
            getattr(kmq, name)
    for name, spelling in checks._GROUPED.items():
        spelled = name.partition("=")[2]
        assert spelled.startswith("kmq.")
        group, word = spelled.removeprefix("kmq.").split("(")
        field = word.partition("=")[0]
        fields = {item.name for item in dataclasses.fields(getattr(kmq, group))}
        assert field == "...)" or field in fields
        with pytest.raises(TypeError, match="did you mean " + re.escape(name)):
            kmq.quantize(PICTURE, **{spelling[0]: 1})


def test_values_take_their_first_field_by_position_and_no_other():
    values = (kmq.Fewest, kmq.Space, kmq.Require, kmq.Start, kmq.Dither, kmq.Rate)
    for value in values:
        kinds = [item.kind for item in inspect.signature(value).parameters.values()]
        first = 0 if value is kmq.Fewest else 1  # which quality it is, only its name says
        assert kinds[:first] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * first
        assert set(kinds[first:]) <= {inspect.Parameter.KEYWORD_ONLY}


def test_doors_take_what_they_are_about_by_position_and_options_by_name():
    for door in DOORS:
        parameters = inspect.signature(door).parameters.values()
        required = [item.name for item in parameters if item.default is item.empty]
        by_place = [item.name for item in parameters if item.kind is not item.KEYWORD_ONLY]
        assert by_place[: len(required)] == required, door.__name__
        assert len(by_place) <= len(required) + 1, door.__name__


def words(door):
    """Names of a door's parameters, but for the first, and for what says where to."""
    return [name for name in inspect.signature(door).parameters if name not in ("target",)][1:]


def test_doors_have_the_same_options_in_the_same_order():
    of_quantize = words(kmq.quantize)
    assert len(of_quantize) <= 13
    assert sorted(of_quantize) == sorted(contradictions.QUANTIZE)
    assert words(kmq.encode) == words(kmq.write)
    assert sorted(words(kmq.encode)) == sorted((*contradictions.QUANTIZE, *contradictions.FILE))
    left_out = {
        kmq.encode: set(),
        kmq.choose_k: {"palette", "mapping"},
        kmq.fit_palette: {"palette", "mapping", "weights", "pixel_format", "page", "limits"},
    }
    for door, names in left_out.items():
        kept = [name for name in words(door) if name in of_quantize]
        assert kept == [name for name in of_quantize if name not in names]
    assert {*contradictions.QUANTIZE, *contradictions.FILE} == {*kmq.pillow._ENCODE_OPTIONS}


COMMANDS = {
    "encode": (kmq.encode, kmq.write),
    "palette": (kmq.fit_palette, kmq.ColorHistogram.from_picture),
    "curve": (kmq.error_curve,),
    "decode": (kmq.read, kmq.read_region),
    "info": (kmq.info,),
}
"""What each command does in Python."""

VALUES = {
    "k": (kmq.Fewest,),
    "space": (kmq.Space,),
    "require": (kmq.Require,),
    "start": (kmq.Start,),
    "mapping": (kmq.Dither, kmq.Rate),
}
"""Options that are values, whose fields are options on the command line."""

SPELLED = {
    "k": "--colors",
    "n_threads": "--threads",
    "limits": "--max-pixels",
    "on_error": "--salvage",
    "Space.name": "--space",
    "Dither.strength": "--dither-strength",
    "Dither.method": "--dither-method",
    "Rate.lam": "--lambda",
    "mapping": "--dither",
    "require": "--fixed",
    "start": "--init",
}
"""Options that are called otherwise on the command line."""

NOT_NEEDED = {"pixel_format", "progress"}
"""Files say what they are, and there is a bar."""


def options_of(door):
    """Names of a door's options, those of values after the name of their type."""
    for name in words(door):
        yield name
        for value in VALUES.get(name, ()):
            yield from (f"{value.__name__}.{item.name}" for item in dataclasses.fields(value))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_python_is_one_of_the_command_line(command, capsys):
    assert main([command, "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.partition("examples:")[0]))
    names = {name for door in COMMANDS[command] for name in options_of(door)} - NOT_NEEDED
    spelled = {
        name: SPELLED.get(name, "--" + name.rpartition(".")[2].replace("_", "-")) for name in names
    }
    assert {name: option for name, option in spelled.items() if option not in known} == {}


def test_contradictions_are_told_by_the_caller_s_own_names():
    words_of_doors = {*contradictions.QUANTIZE, *contradictions.FILE}
    more = {"fewest", "fixed", "snap", "posterize", "init", "dither", "rate", "optimize"}
    for these, those, _ in contradictions.CONTRADICTIONS:
        assert {*these, *those} <= words_of_doors | more
        with pytest.raises(kmq.InputError, match="--one and --two are both given; "):
            contradictions.refuse_contradictions({these[0]: "--one", those[-1]: "--two"})


# --- types ---------------------------------------------------------------------------------------


def test_labels_of_pixel_formats_are_those_of_the_type():
    assert set(typing.get_args(PixelFormatLabel)) == {item.label for item in PixelFormat}


def test_a_program_that_type_checkers_accept_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(Path(__file__).with_name("user_program.py")))


def test_type_checkers_know_what_comes_back_and_what_is_taken():
    assert inspect.signature(kmq.quantize).return_annotation == "QuantizedImage"
    assert kmq.QuantizedImage.__annotations__["report"] == "Report"
    assert isinstance(kmq.quantize(PICTURE, 3), kmq.QuantizedImage)


@pytest.mark.parametrize(
    "options",
    [
        {"k": kmq.Fewest(psnr=15)},
        {"k": 8, "start": kmq.Start("var-part")},
        {"k": 8, "space": kmq.Space(channel_weights=(1, 1, 2))},
    ],
)
def test_squared_error_is_measured_in_rgb(options):
    weights = getattr(options.get("space"), "channel_weights", None)
    given = options | {"space": kmq.Space("rgb", channel_weights=weights)}
    assert kmq.quantize(PICTURE, **options) == kmq.quantize(PICTURE, **given)


def test_looks_come_first_unless_an_error_is_asked_for_or_the_picture_is_cmyk():
    seen = kmq.quantize(PICTURE, 8, space="eye")
    assert seen != kmq.quantize(PICTURE, 8, space="rgb")
    assert kmq.quantize(PICTURE, 8) == seen
    assert kmq.decode(kmq.encode(PICTURE, k=8)) == seen
    by_error = kmq.encode(PICTURE, psnr=20, effort="fast")
    assert by_error == kmq.encode(PICTURE, psnr=20, effort="fast", space="rgb")
    histogram = kmq.ColorHistogram.from_picture(PICTURE)
    fitted = kmq.fit_palette(histogram, 8, space="eye")
    assert np.array_equal(kmq.fit_palette(histogram, 8), fitted)
    inks = np.dstack([PICTURE, PICTURE[..., :1]])
    cmyk = kmq.quantize(inks, 8, pixel_format="CMYK")
    assert cmyk == kmq.quantize(inks, 8, pixel_format="CMYK", space="rgb")
