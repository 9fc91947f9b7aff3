"""One limit of pixels: for pictures and .kmq files that are read, and for those written."""

import io
import warnings
from dataclasses import fields

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import kmq
import kmq.pillow
from images import indexed_image
from kmq.cli import main
from kmq.errors import InputError, LimitError
from kmq.model.file_info import Limits
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.reading import read_pixels

SENTENCE = (
    r"the picture is 30 x 20, 600 pixels; the limit is 599, for reading and writing: .*--max-p"
)
BELOW, ENOUGH = Limits(pixels=599), Limits(pixels=600)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture of 30 × 20 pixels in files of several kinds."""
    folder = tmp_path_factory.mktemp("pictures")
    rgb = np.arange(1800, dtype=np.uint8).reshape(20, 30, 3)
    deep = rgb.astype(np.uint16) * 257 + 1
    for name in ("a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.ppm"):
        Image.fromarray(rgb).save(folder / name)
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    (folder / "deep.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0, reversible=True))
    tifffile.imwrite(folder / "deep.tif", deep, photometric="rgb")
    tifffile.imwrite(folder / "white.tif", deep[..., 0], photometric="miniswhite")
    kmq.write(folder / "a.kmq", indexed_image(PixelFormat.RGB24, 9, 20, 30))
    return sorted(folder.iterdir())


def test_limits_are_numbers_alone():
    public = {name for name in dir(Limits) if not name.startswith("_")}
    assert public == {limit.name for limit in fields(Limits)}


def test_files_are_refused_by_their_size_alone(pictures):
    for path in pictures:
        error = LimitError if path.suffix == ".kmq" else InputError
        for picture in (path, path.read_bytes()):
            with pytest.raises(error, match=SENTENCE):
                kmq.ColorHistogram.from_picture(picture, limits=BELOW)
        kmq.ColorHistogram.from_picture(path, limits=ENOUGH)


def test_every_door_that_reads_hands_the_limit_on(pictures, tmp_path):
    path = pictures[0]
    for door in (
        lambda limits: kmq.quantize(path, 2, limits=limits),
        lambda limits: kmq.choose_k(path, k=kmq.Fewest(psnr=10), limits=limits),
        lambda limits: kmq.error_curve(path, 2, limits=limits),
        lambda limits: kmq.ColorHistogram.from_picture(path, limits=limits),
        lambda limits: kmq.ColorHistogram.from_pictures([path], limits=limits),
        lambda limits: kmq.encode(path, 2, limits=limits),
        lambda limits: kmq.encode(path, size=2000, limits=limits),
        lambda limits: kmq.encode(path, psnr=10, limits=limits),
        lambda limits: kmq.encode(path, quality=10, limits=limits),
        lambda limits: kmq.write(tmp_path / "a.kmq", path, 2, limits=limits),
    ):
        with pytest.raises(InputError, match=SENTENCE):
            door(BELOW)
        assert not list(tmp_path.iterdir())
        door(ENOUGH)
        (tmp_path / "a.kmq").unlink(missing_ok=True)
        with pytest.raises(TypeError, match=r"limits is int; it must be a kmq\.Limits"):
            door(600)


@pytest.mark.parametrize("kind", ["array", "Pillow", "IndexedImage"])
def test_what_is_in_memory_is_limited_when_it_is_written(tmp_path, kind):
    samples = np.arange(600, dtype=np.uint8).reshape(20, 30)
    picture = {
        "array": samples,
        "Pillow": Image.fromarray(samples),
        "IndexedImage": indexed_image(PixelFormat.RGB24, 9, 20, 30),
    }[kind]
    with pytest.raises(InputError, match=SENTENCE):
        kmq.encode(picture, limits=BELOW)
    with pytest.raises(InputError, match=SENTENCE):
        kmq.write(tmp_path / "a.kmq", picture, limits=BELOW)
    assert not list(tmp_path.iterdir())
    encoded = kmq.encode(picture, limits=ENOUGH)
    for door in (kmq.decode, lambda encoded, limits: kmq.info(io.BytesIO(encoded), limits=limits)):
        with pytest.raises(LimitError, match=SENTENCE):
            door(encoded, limits=BELOW)
        door(encoded, limits=ENOUGH)
    if kind != "IndexedImage":
        kmq.quantize(picture, 2, limits=BELOW)  # whose result stays in memory


def test_nothing_is_written_that_readers_refuse_and_it_takes_no_time_to_say_so():
    huge = np.broadcast_to(np.uint8(0), (1, Limits().pixels + 1))
    with pytest.raises(InputError, match="178956971 pixels; the limit is 178956970"):
        kmq.encode(huge)


@pytest.mark.parametrize(
    "metadata",
    [
        kmq.Metadata(exif=bytes(1000)),
        kmq.Metadata(xmp=b"x" * 1000),
        kmq.Metadata(text={"a": "b" * 498, "c": "d" * 498}),
        kmq.Metadata(extra=(("q", bytes(1000)),)),
    ],
)
def test_metadata_are_limited_alike(metadata):
    samples = np.zeros((1, 1), np.uint8)
    image = kmq.IndexedImage(np.zeros((1, 3), np.uint8), samples, PixelFormat.RGB24, metadata)
    below, enough = Limits(metadata_bytes=999), Limits(metadata_bytes=1000)
    with pytest.raises(InputError, match="exceeds the limit of 999 bytes, for reading and writing"):
        kmq.encode(image, limits=below)
    encoded = kmq.encode(image, limits=enough)
    with pytest.raises(LimitError, match="exceeds the limit of 999 bytes"):
        kmq.decode(encoded, limits=below)
    assert kmq.decode(encoded, limits=enough) == image


def test_pillow_saves_within_the_limit(tmp_path):
    picture = Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30))
    with pytest.raises(InputError, match=SENTENCE):
        picture.save(tmp_path / "a.kmq", limits=BELOW)
    picture.save(tmp_path / "a.kmq", limits=ENOUGH)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "packed.tif"])
def test_the_limit_of_pillow_does_not_count(tmp_path, monkeypatch, name):
    picture = Image.new("RGB", (1024, 600), "white")
    picture.save(tmp_path / name, **({"compression": "tiff_lzw"} if name[0] == "p" else {}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_pixels(tmp_path / name).samples.min() == 255


def test_a_plugin_that_asks_for_itself_is_told_from_ours(tmp_path, monkeypatch):
    path = tmp_path / "a.bmp"
    Image.new("RGB", (3, 3)).save(path)

    def refuse(*_):
        raise Image.DecompressionBombError("Image size (9 pixels) exceeds limit of 4 pixels.")

    monkeypatch.setitem(Image.OPEN, "BMP", (refuse, None))
    with pytest.raises(InputError, match=r"a\.bmp: .*4 pixels\. Pillow sets this limit, in MAX_IM"):
        read_pixels(path)


@pytest.fixture
def png(pictures):
    return str(pictures[0].with_name("a.png"))


@pytest.fixture
def packed(pictures):
    return str(pictures[0].with_name("a.kmq"))


@pytest.mark.parametrize(
    "words",
    [["encode", "-k", "2", "-o", "out.kmq"], ["curve"], ["palette"], ["compare"], ["report"]],
)
def test_commands_that_read_pictures_have_the_option(words, png, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    others = [png] if words[0] == "compare" else []
    output = ["-o", "out.html"] if words[0] == "report" else []
    assert main([*words, png, *others, *output, "--max-pixels", "599"]) == 1
    assert "the limit is 599" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    if words[0] != "report":  # which takes its time
        assert main([*words, png, *others, "--max-pixels", "600"]) == 0


@pytest.mark.parametrize("words", [["info"], ["info", "--counts"], ["decode"], ["curve"]])
def test_commands_that_read_kmq_files_have_it(words, packed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output = ["-o", "out.png"] if words[0] == "decode" else []
    assert main([*words, packed, *output, "--max-pixels", "599"]) == 1
    assert "the limit is 599" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*words, packed, *output, "--max-pixels", "600"]) == 0


def test_encode_says_what_readers_of_a_large_file_need(png, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Limits, "pixels", 599)
    words = ["encode", png, "-k", "2", "-o", str(tmp_path / "a.kmq")]
    assert main([*words, "--max-pixels", "600"]) == 0
    said = capsys.readouterr().err
    assert "a.kmq has more than 599 pixels: its readers need --max-pixels" in said


@pytest.mark.parametrize("number", ["0", "-1", "1e9", "x"])
def test_the_option_is_a_whole_number(number, png, capsys):
    assert main(["encode", png, "--max-pixels", number]) == 2
    assert "--max-pixels" in capsys.readouterr().err


def test_work_of_decoding_is_limited_where_files_are_decoded(tmp_path, capsys):
    flat = str(tmp_path / "flat.kmq")
    kmq.write(flat, np.pad(np.full((300, 300), 255, np.uint8), 1), k=2, method="mix")
    decode = ["decode", flat, "-o", str(tmp_path / "flat.png"), "--force"]
    for words in (decode, ["info", "--counts", flat], ["compare", flat, flat]):
        assert main([*words, "--max-work", "0"]) == 1
        assert "--max-work sets that limit" in capsys.readouterr().err
        assert main(words) == 0
