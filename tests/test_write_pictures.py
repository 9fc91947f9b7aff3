"""`kmq.write` makes PNG, GIF and WebP files of few colours."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

import kmq
from images import COLOR_TAGS, exif_of
from kmq.pipeline.encoding import Coding, PictureCoding
from kmq.stages.pictures.reading import read_pixels


def picture(height=37, width=41, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    planes = [rows * 255 // height, columns * 255 // width, (rows + columns) % 50 * 5, rows * 6]
    samples = np.stack(planes[:channels], axis=2) + rng.integers(-9, 10, (height, width, channels))
    return np.clip(samples, 0, 255).astype(np.uint8)


def shown(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGBA"))


def colors_of(image):
    return np.asarray(Image.fromarray(image.to_array()).convert("RGBA"))


def modes(path):
    with Image.open(path) as opened:
        return opened.mode


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [2, 3, 16, 200])
def test_png_shows_what_quantize_makes(tmp_path, channels, k):
    samples = picture(channels=channels)
    if channels in (2, 4):
        samples[:5, :, -1], samples[5:20, :, -1] = 0, 255
    samples = samples[:, :, 0] if channels == 1 else samples
    kmq.write(tmp_path / "x.png", samples, k)
    image = kmq.quantize(samples, k)
    expected, found = colors_of(image), shown(tmp_path / "x.png")
    np.testing.assert_array_equal(found, expected)
    assert modes(tmp_path / "x.png") == ("L" if channels == 1 and k > 16 else "P")


def test_png_without_a_packer_is_the_same_picture(tmp_path, monkeypatch):
    kmq.write(tmp_path / "packed.png", picture(), 16)
    monkeypatch.setitem(sys.modules, "oxipng", None)
    kmq.write(tmp_path / "plain.png", picture(), 16)
    np.testing.assert_array_equal(shown(tmp_path / "plain.png"), shown(tmp_path / "packed.png"))


@pytest.mark.parametrize("suffix", [".gif", ".WEBP"])
def test_other_kinds_show_the_same(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    kmq.write(path, picture(), 16)
    np.testing.assert_array_equal(shown(path), colors_of(kmq.quantize(picture(), 16)))


def test_an_image_and_a_given_palette_keep_their_order(tmp_path):
    image = kmq.quantize(picture(), 16)
    shuffled = image.palette[np.random.default_rng(1).permutation(16)]
    kmq.write(tmp_path / "given.png", picture(), palette=shuffled)
    np.testing.assert_array_equal(kmq.IndexedImage.open(tmp_path / "given.png").palette, shuffled)
    kmq.write(tmp_path / "image.png", image)
    assert kmq.IndexedImage.open(tmp_path / "image.png") == image
    image.save(tmp_path / "saved.png")
    assert (tmp_path / "saved.png").read_bytes() == (tmp_path / "image.png").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp"])
def test_size_is_that_of_the_file_that_is_written(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    kmq.write(path, picture(), size=900)
    assert 600 < path.stat().st_size <= 900
    with pytest.raises(kmq.InputError, match="size is 20 bytes; the smallest file"):
        kmq.write(path, picture(), size=20)
    assert 600 < path.stat().st_size <= 900


def test_quality_is_reached_with_256_colors_or_refused(tmp_path):
    samples = picture(80, 90)
    path = tmp_path / "x.png"
    kmq.write(path, samples, psnr=28)
    error = np.square(shown(path)[:, :, :3].astype(float) - samples).sum(axis=2).mean()
    assert 10 * np.log10(3 * 255**2 / error) >= 28
    assert modes(path) == "P"
    with pytest.raises(kmq.InputError, match="256 colours reach an error of"):
        kmq.write(path, samples, psnr=70)
    kmq.write(path, samples, psnr=70, max_colors=300)  # as far as that goes
    assert modes(path) == "P"


def test_more_than_256_colors_are_kept_without_a_palette_or_refused(tmp_path):
    kmq.write(tmp_path / "x.png", picture(), 300)
    assert modes(tmp_path / "x.png") == "RGB"
    np.testing.assert_array_equal(
        shown(tmp_path / "x.png"), colors_of(kmq.quantize(picture(), 300))
    )
    with pytest.raises(kmq.InputError, match=r"\.gif cannot hold 300 colours unchanged"):
        kmq.write(tmp_path / "x.gif", picture(), 300)


@pytest.mark.parametrize(
    ("name", "samples", "pixel_format", "obstacle"),
    [
        ("x.gif", picture(channels=4), None, "translucent colours"),
        ("x.png", picture(channels=4), "CMYK", "pixel format CMYK"),
        ("x.gif", picture().astype(np.uint16) * 257, None, "pixel format RGB48"),
        ("x.webp", picture().astype(np.uint16) * 257, None, "pixel format RGB48"),
    ],
)
def test_kinds_that_cannot_hold_the_picture_are_refused(
    tmp_path, name, samples, pixel_format, obstacle
):
    (tmp_path / name).write_bytes(b"dear to me")
    with pytest.raises(kmq.InputError, match=rf"cannot hold {obstacle} unchanged; .*\.tif"):
        kmq.write(tmp_path / name, samples, 8, pixel_format=pixel_format)
    assert (tmp_path / name).read_bytes() == b"dear to me"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("option", [{"method": "mix"}, {"strip_height": 8}])
def test_options_of_kmq_files_are_refused(tmp_path, option):
    with pytest.raises(kmq.InputError, match=f"{next(iter(option))} is given for .*x.png"):
        kmq.write(tmp_path / "x.png", picture(), 4, **option)
    assert os.listdir(tmp_path) == []


def test_source_is_not_replaced(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(picture()).save(path)
    before = path.read_bytes()
    with pytest.raises(kmq.InputError, match="same file"):
        kmq.write(path, path, 4)
    assert path.read_bytes() == before


def test_metadata_go_along_and_what_does_not_fit_is_told(tmp_path):
    metadata = kmq.Metadata(
        icc_profile=b"\0\0\0\x84" + bytes(128),
        exif=exif_of(1),
        xmp=b"<x:xmpmeta/>",
        dpi=(254.0, 127.0),
        text={"Title": "Häuser"},
        gamma=COLOR_TAGS.gamma,
        chromaticities=(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
    )
    image = kmq.quantize(picture(), 8)
    image = kmq.IndexedImage(image.palette, image.indices, "RGB", metadata)
    image.save(tmp_path / "full.png")
    kmq.write(tmp_path / "again.png", tmp_path / "full.png", 4)
    assert read_pixels(tmp_path / "again.png").metadata == metadata
    with pytest.warns(kmq.MetadataWarning, match=r"x\.gif is written without") as caught:
        kmq.write(tmp_path / "x.gif", image)
    assert caught[0].filename == __file__


def test_grey_with_a_colour_profile_stays_grey(tmp_path):
    profile = b"\0\0\0\x84" + bytes(128)
    Image.fromarray(picture()[:, :, 0]).save(tmp_path / "grey.png", icc_profile=profile)
    kmq.write(tmp_path / "x.png", tmp_path / "grey.png", 4)
    assert modes(tmp_path / "x.png") == "L"
    assert read_pixels(tmp_path / "x.png").metadata.icc_profile == profile


def test_quality_compares_the_files_themselves(tmp_path, monkeypatch):
    # What is small as a .kmq file may be large as a PNG: deflate finds tiles that λ breaks.
    monkeypatch.setattr("kmq.pipeline.targets._MAY_BE_SMALLER", 0)
    sizes = iter((100, 10))
    monkeypatch.setattr(
        "kmq.stages.pictures.writing.picture_file", lambda *_, **__: bytes(next(sizes))
    )
    kmq.write(tmp_path / "x.png", picture(60, 70), quality=60)
    assert (tmp_path / "x.png").stat().st_size == 10


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_rate_counts_what_the_kind_of_file_pays(tmp_path, monkeypatch, suffix):
    rows, columns = np.mgrid[:120, :160]
    noise = np.random.default_rng(0).normal(0, 9, (120, 160, 3))
    waves = np.stack([rows + columns, 2 * rows, 99 + 60 * np.sin(columns / 9)], axis=2)
    samples = np.clip(waves + noise, 0, 255).astype(np.uint8)
    sizes = []
    for coding in (PictureCoding, Coding):
        monkeypatch.setattr(PictureCoding, "context_share", coding.context_share)
        kmq.write(tmp_path / f"x{suffix}", samples, 40, mapping=kmq.Rate(2))
        sizes.append((tmp_path / f"x{suffix}").stat().st_size)
    assert sizes[0] < 0.98 * sizes[1]
