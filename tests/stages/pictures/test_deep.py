"""Files of more than 8 bits per sample that Pillow would cut: read in full, or refused."""

import struct
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import features

from kmq.errors import InputError, MissingExtraError
from kmq.model.pixel_format import PixelFormat
from kmq.stages.pictures.reading import read_pixels

needs_avif = pytest.mark.skipif(
    "avif" not in features.get_supported(), reason="this Pillow has no AVIF"
)
SHAPES = {(): "L16", (2,): "LA16", (3,): "RGB48", (4,): "RGBA64"}


def noise(bits, shape, seed=0):
    """Levels of so many bits, the ends among them; no alpha is 0."""
    levels = np.random.default_rng(seed).integers(1, 1 << bits, (9, 14, *shape)).astype(np.uint16)
    levels[0, 0] = (1 << bits) - 1
    return levels


def check(path, levels, bits):
    """All bits were read, and white is 65,535."""
    pixels = read_pixels(path)
    assert pixels.pixel_format is PixelFormat.from_label(SHAPES[levels.shape[2:]])
    expected = np.floor(levels * (65535 / ((1 << bits) - 1)) + 0.5)
    np.testing.assert_array_equal(pixels.samples.reshape(levels.shape), expected)


# --- JPEG 2000 -----------------------------------------------------------------------------------


def jpeg2000(levels, bits, codec="jp2", **options):
    return imagecodecs.jpeg2k_encode(
        levels, bitspersample=bits, codecformat=codec, reversible=True, level=0, **options
    )


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [9, 10, 12, 15, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_jpeg_2000_keeps_its_bits(tmp_path, shape, bits, codec):
    levels = noise(bits, shape)
    path = tmp_path / "deep.jp2"
    path.write_bytes(jpeg2000(levels, bits, codec))
    check(path, levels, bits)


def test_jpeg_2000_of_8_bits_is_left_to_pillow(tmp_path, monkeypatch):
    levels = noise(8, (3,)).astype(np.uint8)
    (tmp_path / "shallow.jp2").write_bytes(jpeg2000(levels, 8))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    np.testing.assert_array_equal(read_pixels(tmp_path / "shallow.jp2").samples, levels)


@pytest.mark.parametrize(
    ("levels", "bits", "sentence"),
    [
        (noise(15, (3,)).astype(np.int16), 16, "16, 16, 16 bits, signed"),
        (noise(15, ()).astype(np.int16), 16, "16 bits, signed"),
        (noise(16, ()).astype(np.uint32), 20, "20 bits"),
    ],
)
def test_jpeg_2000_of_other_kinds_is_refused(tmp_path, levels, bits, sentence):
    (tmp_path / "odd.jp2").write_bytes(jpeg2000(levels, bits))
    with pytest.raises(InputError, match=rf"odd\.jp2: .*{sentence}.*convert it"):
        read_pixels(tmp_path / "odd.jp2")


def test_jpeg_2000_of_16_bit_cmyk_is_refused(tmp_path):
    encoded = jpeg2000(noise(16, (4,)), 16)
    place = encoded.index(b"colr\1") + 7  # the enumerated colour space
    (tmp_path / "odd.jp2").write_bytes(encoded[:place] + b"\0\0\0\x0c" + encoded[place + 4 :])
    with pytest.raises(InputError, match=r"odd\.jp2: .*mode CMYK.*convert it"):
        read_pixels(tmp_path / "odd.jp2")


# --- AVIF ----------------------------------------------------------------------------------------


def avif(levels, bits):
    pixelformat = "444" if levels.shape[-1] in (3, 4) else "400"
    return imagecodecs.avif_encode(levels, level=100, bitspersample=bits, pixelformat=pixelformat)


@needs_avif
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_avif_keeps_its_bits(tmp_path, shape, bits):
    encoded = avif(noise(bits, shape), bits)
    (tmp_path / "deep.avif").write_bytes(encoded)
    check(tmp_path / "deep.avif", imagecodecs.avif_decode(encoded), bits)


@needs_avif
def test_avif_of_8_bits_is_left_to_pillow(tmp_path, monkeypatch):
    (tmp_path / "shallow.avif").write_bytes(avif(noise(8, (3,)).astype(np.uint8), 8))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert read_pixels(tmp_path / "shallow.avif").pixel_format is PixelFormat.RGB24


@needs_avif
def test_animated_avif_of_10_bits_is_refused(tmp_path):
    frames = np.stack([noise(10, (3,), seed) for seed in range(2)])
    (tmp_path / "deep.avif").write_bytes(avif(frames, 10))
    with pytest.raises(InputError, match="animated AVIF of 10 bits"):
        read_pixels(tmp_path / "deep.avif", page=2)


# --- SGI -----------------------------------------------------------------------------------------


def sgi(levels, *, by_runs):
    """An SGI file of two bytes per sample."""
    height, width, n_planes = (*levels.shape, 1)[:3]
    planes = np.moveaxis(levels.reshape(height, width, n_planes), 2, 0)[:, ::-1].astype(">u2")
    head = struct.pack(
        ">HBBHHHH", 474, by_runs, 2, 3 if n_planes > 1 else 2, width, height, n_planes
    )
    head = head.ljust(512, b"\0")
    if not by_runs:
        return head + planes.tobytes()
    rows = [sgi_runs(row.tolist()) for row in planes.reshape(-1, width)]
    starts = np.cumsum([512 + 8 * len(rows), *map(len, rows)])[:-1]
    tables = [np.array(numbers, ">u4").tobytes() for numbers in (starts, [*map(len, rows)])]
    return head + b"".join([*tables, *rows])


def sgi_runs(row):
    """Ten levels as they are, and what follows as runs of equal ones."""
    units = [0x80 | len(row[:10]), *row[:10]]
    rest = row[10:]
    while rest:
        count = next((i for i, level in enumerate(rest) if level != rest[0]), len(rest))
        units += [count, rest[0]]
        rest = rest[count:]
    return np.array([*units, 0], ">u2").tobytes()


@pytest.mark.parametrize("by_runs", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (4,)])
def test_sgi_keeps_its_bits(tmp_path, shape, by_runs):
    levels = noise(16, shape)
    levels[3:, 5:] = levels[3, 4]
    (tmp_path / "deep.sgi").write_bytes(sgi(levels, by_runs=by_runs))
    check(tmp_path / "deep.sgi", levels, 16)


@pytest.mark.parametrize("by_runs", [False, True])
def test_sgi_that_ends_early_is_refused(tmp_path, by_runs):
    whole = sgi(noise(16, (3,)), by_runs=by_runs)
    for length in (513, 540, len(whole) // 2, len(whole) - 8):
        (tmp_path / "cut.sgi").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.sgi: it is damaged: a row of it ends"):
            read_pixels(tmp_path / "cut.sgi")


# --- others --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.jp2", jpeg2000(noise(12, (3,)), 12)),
        ("grey.jp2", jpeg2000(noise(9, ()), 9)),
        pytest.param("deep.avif", avif(noise(10, (3,)), 10), marks=needs_avif),
    ],
)
def test_missing_extra_is_named(tmp_path, monkeypatch, name, content):
    (tmp_path / name).write_bytes(content)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingExtraError, match=r"need imagecodecs: pip install .kmq\[deep\]"):
        read_pixels(tmp_path / name)


def fits(bits):
    cards = [
        f"{name:8}= {value:>20}"
        for name, value in (
            ("SIMPLE", "T"),
            ("BITPIX", bits),
            ("NAXIS", 2),
            ("NAXIS1", 2),
            ("NAXIS2", 1),
        )
    ]
    head = b"".join(card.ljust(80).encode() for card in [*cards, "END"])
    return head.ljust(2880) + bytes([255, 253, 0, 1, 0, 0, 0, 0]).ljust(2880, b"\0")


def xpm(color):
    return f'/* XPM */\nstatic char *x[] = {{\n"2 1 1 1",\n"a c {color}",\n"aa"\n}};\n'.encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (fits(16), "FITS file of more than 8 bits"),
        (fits(32), "FITS file of more than 8 bits"),
        (xpm("#ffff80000000"), "XPM with the colour #ffff80000000"),
        (xpm("#f80"), "XPM with the colour #f80"),
    ],
)
def test_what_nobody_reads_right_is_refused(tmp_path, content, sentence):
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(InputError, match=f"{sentence}.*convert it"):
        read_pixels(tmp_path / "odd")


def test_their_usual_kinds_are_read(tmp_path):
    (tmp_path / "usual").write_bytes(fits(8))
    assert read_pixels(tmp_path / "usual").samples.ravel().tolist() == [255, 253]
    (tmp_path / "usual").write_bytes(xpm("#ff8000"))
    assert read_pixels(tmp_path / "usual").samples[0, 1].tolist() == [255, 128, 0]
