"""Plain PNG files without Pillow: what Pillow reads, and everything else is left to it."""

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from kmq.errors import InputError
from kmq.model.file_info import Limits
from kmq.stages.pictures import plain_png
from kmq.stages.pictures.reading import read_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
WIDTH, HEIGHT = 7, 15  # each filter follows each other one


def chunk(name, content):
    checksum = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + checksum


def head(color_type=2, bits=8, interlaced=0, width=WIDTH, height=HEIGHT):
    sides = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return chunk(b"IHDR", sides + bytes([bits, color_type, 0, 0, interlaced]))


def rows(color_type=2, filters=(0, 1, 2, 3, 4)):
    """Rows of any bytes behind each of the filters."""
    n_bytes = WIDTH * CHANNELS[color_type]
    filtered = np.random.default_rng(color_type).integers(0, 256, (HEIGHT, 1 + n_bytes), np.uint8)
    order = [*filters, *filters[::-1], *filters[1::2], *filters[::2]]
    filtered[:, 0] = np.resize(order, HEIGHT)
    return filtered.tobytes()


def png(*chunks, packed=None, first=None):
    packed = zlib.compress(rows()) if packed is None else packed
    return SIGNATURE + b"".join(
        [first or head(), *chunks, chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    )


def plainly(content):
    return plain_png.read(io.BytesIO(content), Limits())


def by_pillow(content, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(plain_png, "read", lambda *_: None)
        return read_pixels(io.BytesIO(content))


@pytest.mark.parametrize("first_filter", range(5))
@pytest.mark.parametrize("color_type", CHANNELS)
def test_samples_are_those_that_pillow_reads(color_type, first_filter, monkeypatch):
    filters = np.roll(range(5), -first_filter).tolist()
    packed = zlib.compress(rows(color_type, filters))
    parts = [chunk(b"IDAT", packed[start : start + 20]) for start in range(0, len(packed), 20)]
    content = SIGNATURE + b"".join([head(color_type), *parts, chunk(b"IEND", b"")])
    pixels, expected = plainly(content), by_pillow(content, monkeypatch)
    np.testing.assert_array_equal(pixels.samples, expected.samples)
    assert pixels.pixel_format is expected.pixel_format
    assert not pixels.samples.flags.writeable


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"sRGB", b"\0")],
        [(b"gAMA", (45455).to_bytes(4, "big")), (b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x12\1")],
        [(b"pHYs", b"\0\0\0\1\0\0\0\2\0")],
        [(b"gAMA", b"\0\0\0\0"), (b"sRGB", b"\x09")],
        [(b"cHRM", b"".join(n.to_bytes(4, "big") for n in range(30000, 38000, 1000)))],
    ],
)
@pytest.mark.filterwarnings("ignore::kmq.ColorWarning")
def test_metadata_is_what_pillow_reads(chunks, monkeypatch):
    content = png(*(chunk(name, inner) for name, inner in chunks))
    assert plainly(content).metadata == by_pillow(content, monkeypatch).metadata


@pytest.mark.parametrize(
    "content",
    [
        png(chunk(b"tEXt", b"a\0b")),
        png(chunk(b"tRNS", b"\0\1\0\1\0\1")),
        png(chunk(b"gAMA", b"\0\0\0\0\1")),
        png(first=head(interlaced=1)),
        png(first=head(bits=16)),
        png(first=head(color_type=3)),
        png(first=head(width=0)),
        png(first=head(height=0)),
        png(first=head(height=1 << 24)),
        png(packed=zlib.compress(rows())[:-1]),
        png(packed=zlib.compress(rows()) + b"\0"),
        png(packed=zlib.compress(rows()[:-1])),
        png(packed=zlib.compress(rows() + b"\0")),
        png(packed=zlib.compress(rows() + bytes(1 << 20))),
        png(packed=zlib.compress(rows(filters=(5,)))),
        png(packed=b"not deflated"),
        png()[:-1],
        png()[:-12],
        png()[:40],
        png()[:20],
        png().replace(b"IHDR", b"IHDX"),
        png()[:-17] + b"\xff" + png()[-16:],
        SIGNATURE + head() + chunk(b"IDAT", zlib.compress(rows())) + chunk(b"tIME", bytes(7)),
        b"",
    ],
)
def test_other_files_are_left_to_pillow(content):
    assert plainly(content) is None


def test_limits_hold():
    with pytest.raises(InputError, match=r"105|pixels"):
        plain_png.read(io.BytesIO(png()), Limits(pixels=WIDTH * HEIGHT - 1))


def test_a_transparent_pixel_hides_no_color():
    filtered = np.full((HEIGHT, 1 + 4 * WIDTH), 9, np.uint8)
    filtered[:, [0, 4]] = 0
    content = png(packed=zlib.compress(filtered.tobytes()), first=head(6))
    samples = plainly(content).samples
    assert (samples[:, 0] == 0).all()
    assert (samples[:, 1:] == 9).all()


def test_pillow_is_not_imported(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    script = (
        "import sys; from kmq.stages.pictures.reading import read_pixels; "
        f"read_pixels({str(path)!r}); sys.exit('PIL' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
