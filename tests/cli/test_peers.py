import io
import math

import numpy as np
import pytest
from PIL import Image

import kmq
from images import indexed_image
from kmq.cli import peers
from kmq.model.pixel_format import PixelFormat
from kmq.stages.mapping.ssimulacra2 import ssimulacra2


def smooth(channels, height=40, width=48):
    rows, columns = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin(rows / (7 + c) + columns / (11 - c)) for c in range(channels)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def psnr(one, other):
    apart = one.astype(float) - other
    return 10 * math.log10(255**2 / np.mean(apart**2))


@pytest.mark.parametrize("pixel_format", [f for f in PixelFormat if f.depth <= 8])
def test_lossless_files_are_compared_where_the_formats_hold_the_picture(pixel_format):
    image = indexed_image(pixel_format, 9, 30, 40)
    png, webp = peers.lossless(image, 30, 0.9)
    assert (png.name, webp.name) == ("PNG-8", "WebP")
    if pixel_format is PixelFormat.CMYK32:
        assert png.size is webp.size is None
        assert png.remark == webp.remark == "has no CMYK"
        return
    assert (png.psnr, png.ssimulacra2) == (30, 0.9)
    assert 0 < webp.size < 2000
    assert 0 < png.size < 2000


def test_png_8_is_what_pillow_writes_of_palette_and_indices():
    image = indexed_image(PixelFormat.RGB24, 9, 30, 40)
    stream = io.BytesIO()
    image.to_pillow().save(stream, "PNG", optimize=True)
    assert next(peers.lossless(image, 30, 0.9)).size == len(stream.getvalue())


def test_what_lossless_formats_do_not_hold():
    png, webp = peers.lossless(indexed_image(PixelFormat.RGB24, 300, 30, 40), 30, 0.9)
    assert (png.size, png.remark) == (None, "holds 256 colours")
    assert webp.size > 0
    deep = peers.lossless(indexed_image(PixelFormat.RGB48, 9, 30, 40), 30, 0.9)
    assert [file.remark for file in deep] == ["has 8 bits per channel"] * 2


def test_lossy_files_are_the_smallest_that_reach_the_psnr():
    picture = smooth(3)
    jpeg, webp = peers.lossy(picture, PixelFormat.RGB24, 36.0)
    expected = []
    for subsampling in (0, 2):
        for quality in range(1, 101):
            stream = io.BytesIO()
            Image.fromarray(picture).save(
                stream, "JPEG", quality=quality, subsampling=subsampling,
                optimize=True, progressive=True,
            )  # fmt: skip
            if psnr(picture, np.asarray(Image.open(stream))) >= 36:
                expected.append((len(stream.getvalue()), quality))
                break
    assert jpeg.size == min(expected)[0]
    assert jpeg.made.endswith(f"quality {min(expected)[1]}")
    for file in (jpeg, webp):
        assert file.psnr >= 36
        assert 20 < file.ssimulacra2 < 100


@pytest.mark.parametrize(
    ("label", "psnr", "remarks"),
    [
        ("RGB", math.inf, ["is never exact"] * 2),
        ("RGB", 200, ["does not get as close at its best quality"] * 2),
        ("L16", 30, ["has 8 bits per channel"] * 2),
        ("RGBA", 30, ["has no alpha", ""]),
        ("CMYK", 30, ["not compared in CMYK"] * 2),
        ("L", 30, ["", ""]),
    ],
)
def test_what_lossy_formats_do_not_do(label, psnr, remarks):
    pixel_format = PixelFormat.from_label(label)
    picture = smooth(pixel_format.channels).astype(pixel_format.dtype)
    if pixel_format.has_alpha:
        picture[:, :, -1] = 255
    files = list(peers.lossy(picture, pixel_format, psnr))
    assert [file.remark for file in files] == remarks
    assert [file.size is None for file in files] == [bool(remark) for remark in remarks]


def test_similarity_is_that_of_the_report():
    picture = smooth(3)
    image = kmq.quantize(picture, 5)
    found, looks = peers.similarity(picture, image.to_array(), image.pixel_format)
    assert found == pytest.approx(image.report.psnr)
    assert found == pytest.approx(psnr(picture, image.to_array()))
    assert looks == ssimulacra2(picture, image.to_array(), image.pixel_format)


@pytest.mark.parametrize("shape", [(160, 160), (300, 97), (1, 1), (2, 17_000), (65_500, 2)])
def test_noise_has_a_jpeg_file(shape, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    content = peers._jpeg(Image.fromarray(noise), quality=94, subsampling=0)
    assert Image.open(io.BytesIO(content)).size == shape[::-1]
    assert capfd.readouterr().err == ""  # libjpeg speaks for itself


def of_a_strip(width):
    image = kmq.IndexedImage(
        np.array([[0, 0, 0], [255, 128, 0]], np.uint8),
        (np.arange(width, dtype=np.uint16) % 7 == 0).astype(np.uint8)[None],
        PixelFormat.RGB24,
    )
    samples = image.to_array()
    return [*peers.lossless(image, 30, 0.9), *peers.lossy(samples, PixelFormat.RGB24, 5)]


@pytest.mark.parametrize(("width", "unable"), [(16_383, set()), (16_384, {"WebP"})])
def test_a_side_that_a_format_does_not_hold_costs_its_row(width, unable):
    files = of_a_strip(width)
    assert {file.name for file in files if file.size is None} == unable
    assert {file.remark for file in files} - {""} <= {"holds up to 16,383 pixels a side"}


@pytest.mark.parametrize(
    ("error", "remark"),
    [
        (OSError("broken data stream"), "Pillow could not write it: broken data stream"),
        (ValueError("size limit"), "Pillow could not write it: size limit"),
        (SystemError(), "Pillow could not write it: SystemError"),
        (MemoryError(), "needs more memory than there is"),
    ],
)
def test_whatever_an_encoder_raises_costs_its_row(error, remark, monkeypatch):
    def save(picture, stream, **options):
        raise error

    monkeypatch.setattr(Image.Image, "save", save)
    assert [(file.size, file.remark) for file in of_a_strip(12)] == [(None, remark)] * 4


def test_a_codec_that_this_pillow_lacks_costs_its_row(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda codec: False)
    png, *others = of_a_strip(12)
    assert png.size > 0
    assert [file.remark for file in others] == ["this Pillow is built without it"] * 3
