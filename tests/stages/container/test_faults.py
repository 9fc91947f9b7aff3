"""Of several faults of a file all readers tell the same one: FORMAT.md, "Of several faults"."""

import io
import warnings

import pytest
from PIL import Image

import kmq.files
import kmq.pillow
import plain_decoder
from images import indexed_image
from kmq.errors import FormatError, LimitError, NewerFormatError, SalvageWarning
from kmq.model.file_info import Limits
from kmq.model.image import Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container.chunks import SIGNATURE, pack_chunk

IMAGE = indexed_image(PixelFormat.GREY8, 3, 3, 5, metadata=Metadata(text={"A": "b"}))
ENCODED = kmq.files.encode(IMAGE, method="deflate", strip_height=1)
INFO = kmq.files.info(io.BytesIO(ENCODED))
NAMES = ["H", "P", "t", "T", "S0", "S1", "S2", "E"]
PAYLOADS = {
    name: ENCODED[chunk.offset + 2 : chunk.offset + 2 + chunk.length]
    for name, chunk in zip(NAMES, INFO.chunks, strict=True)
}
LIMITS = Limits(pixels=20, metadata_bytes=50)
BROKEN = "its CRC is wrong"


def file_of(**changes):
    """Return the file with other payloads for some of its chunks, or a wrong CRC.

    A letter that the file does not have is a chunk more, before T; None leaves a chunk out.
    """
    names = [*NAMES[:3], *(name for name in changes if name not in NAMES), *NAMES[3:]]
    content, offsets = SIGNATURE, {}
    for name in names:
        change = changes.get(name, PAYLOADS.get(name))
        if change is None:
            continue
        offsets[name] = len(content)
        chunk = bytearray(
            pack_chunk(name[0], PAYLOADS.get(name, b"") if change is BROKEN else change)
        )
        chunk[-1] ^= change is BROKEN
        content += chunk
    return content, offsets


def _of_pillow(encoded):
    """Open and load; kmq's own error is the cause of Pillow's, but of damage before the strips."""
    try:
        with Image.open(io.BytesIO(encoded), formats=["KMQ"]) as picture:
            picture.load()
    except OSError as error:
        if isinstance(error.__cause__, FormatError):
            raise error.__cause__ from None
        raise


class OneWay(io.BytesIO):
    def seekable(self):
        return False


READERS = {
    "decode": lambda encoded: kmq.files.decode(encoded, limits=LIMITS),
    "one thread": lambda encoded: kmq.files.decode(encoded, limits=LIMITS, n_threads=1),
    "read": lambda encoded: kmq.files.read(OneWay(encoded), limits=LIMITS),
    "region": lambda encoded: kmq.files.read_region(
        io.BytesIO(encoded), (0, 0, 5, 3), limits=LIMITS
    ),
}
OF_FRONT = {
    "info": lambda encoded: kmq.files.info(io.BytesIO(encoded), limits=LIMITS),
    "info, one way": lambda encoded: kmq.files.info(OneWay(encoded), limits=LIMITS),
}
OF_HEAD = {
    "salvage": lambda encoded: kmq.files.decode(encoded, limits=LIMITS, on_error="salvage"),
}

NEWER_FORMAT = b"\1\x63" + PAYLOADS["H"][2:]
NO_STRIP = b"\0\0\0\0\0" + PAYLOADS["S0"][5:]
OTHER_METHOD = b"\x63" + PAYLOADS["S0"][1:]

HEAD = [  # changes, which chunk is told, as what
    ({"H": BROKEN, "P": b"\x63"}, "H", FormatError),
    ({"H": b"\3", "P": BROKEN}, "H", NewerFormatError),
    ({"H": b"\3\x63\0\0\0\0\x80"}, "H", NewerFormatError),
    ({"H": b"\0\x63" + PAYLOADS["H"][2:]}, "H", FormatError),
    ({"H": NEWER_FORMAT[:2] + b"\0\0\0\0"}, "H", NewerFormatError),
    ({"H": NEWER_FORMAT[:2] + b"\x80\0\0\0\0"}, "H", NewerFormatError),
    ({"H": PAYLOADS["H"][:2] + b"\0\0\0\0\0"}, "H", NewerFormatError),
    ({"H": PAYLOADS["H"][:2] + b"\x80\0\0\0\0\0"}, "H", FormatError),
    ({"H": b"\1\1\x7f\x7f\0\1"}, "H", FormatError),
    ({"H": b"\1\1\x7f\x7f\3\1", "P": b"\x63"}, "H", LimitError),
    ({"P": b"\x63", "S1": BROKEN}, "P", NewerFormatError),
    ({"P": b"\0", "t": b"", "E": b"x"}, "P", FormatError),
    ({"P": b"\0", "Z": b""}, "P", FormatError),
]
FRONT = [
    ({"t": b"\3", "T": b""}, "t", FormatError),
    ({"t": BROKEN, "Z": b""}, "t", FormatError),
    ({"t": b"\0A\0" + bytes(60), "Z": b""}, "t", LimitError),
    ({"t": b"\3" + bytes(60)}, "t", LimitError),
    ({"Z": BROKEN, "T": b""}, "Z", FormatError),
    ({"Z": b"", "T": None}, "Z", NewerFormatError),
    ({"T": b"", "S0": BROKEN}, "T", FormatError),
    ({"T": None, "E": b"x"}, "S0", FormatError),
    ({"S1": b"\x63", "E": b"x"}, "S1", FormatError),
]
STRIPS = [
    ({"S0": OTHER_METHOD, "S1": BROKEN}, "S1", FormatError),
    ({"S0": NO_STRIP, "S1": BROKEN}, "S1", FormatError),
    ({"S0": NO_STRIP, "S1": OTHER_METHOD}, "S1", NewerFormatError),
    ({"S1": NO_STRIP, "S2": NO_STRIP}, "S1", FormatError),
    ({"S0": NO_STRIP, "S1": NO_STRIP, "S2": NO_STRIP}, "S0", FormatError),
]


def told(read, encoded):
    with pytest.raises(FormatError) as caught:
        read(encoded)
    return type(caught.value), caught.value.chunk, caught.value.offset


def test_the_file_is_sound():
    assert file_of()[0] == ENCODED
    for read in (READERS | OF_FRONT | OF_HEAD).values():
        read(ENCODED)
    _of_pillow(ENCODED)


@pytest.mark.parametrize(
    ("changes", "name", "kind", "readers"),
    [
        (*case, readers)
        for cases, readers in [
            (HEAD, READERS | OF_FRONT | OF_HEAD),
            (FRONT, READERS | OF_FRONT),
            (STRIPS, READERS),
        ]
        for case in cases
    ],
)
def test_all_readers_tell_the_same_fault(changes, name, kind, readers):
    encoded, offsets = file_of(**changes)
    for read in readers.values():
        assert told(read, encoded) == (kind, name[0], offsets[name])
    if kind is not LimitError:
        with pytest.raises(ValueError, match=r".") as caught:
            plain_decoder.decode(encoded)
        assert caught.value.args[-1] == name[0]
        is_newer = isinstance(caught.value, plain_decoder.NewerError)
        assert is_newer == (kind is NewerFormatError)


@pytest.mark.parametrize(("changes", "name", "kind"), STRIPS + FRONT[-1:])
def test_pillow_tells_it_when_it_loads(changes, name, kind):
    encoded, offsets = file_of(**changes)
    assert told(_of_pillow, encoded) == (kind, name[0], offsets[name])


@pytest.mark.parametrize(("changes", "name", "kind"), HEAD + FRONT[:-2])
def test_pillow_opens_no_file_with_a_fault_before_the_strips(changes, name, kind):
    encoded, _ = file_of(**changes)
    if kind is NewerFormatError:
        with pytest.raises(OSError, match="newer kmq"):
            Image.open(io.BytesIO(encoded), formats=["KMQ"])
    elif kind is FormatError:
        with pytest.raises(Image.UnidentifiedImageError):
            Image.open(io.BytesIO(encoded), formats=["KMQ"])


def test_a_length_beyond_the_limit_is_damage_if_the_file_ends_before():
    """A limit is told of what is sound alone, so that salvage goes on."""
    encoded, offsets = file_of()
    at = offsets["t"] + 1
    damaged = encoded[:at] + b"\xff\xff\xff\xff\x07" + encoded[at + 1 :]
    for read in (READERS | OF_FRONT).values():
        assert told(read, damaged) == (FormatError, "t", offsets["t"])
    with pytest.warns(SalvageWarning, match="lost"):
        left = kmq.files.decode(damaged, limits=LIMITS, on_error="salvage")
    assert left.metadata == Metadata()


def test_the_first_of_damaged_strips_is_told_by_any_number_of_threads():
    image = indexed_image(PixelFormat.GREY8, 16, 64, 40)
    encoded = bytearray(kmq.files.encode(image, method="deflate", strip_height=1))
    strips = kmq.files.info(io.BytesIO(encoded)).strips
    for strip in strips[5:]:
        start = strip.offset + 2
        encoded[start + 1] ^= 1
        chunk = pack_chunk("S", bytes(encoded[start : start + strip.length]))
        encoded[strip.offset : strip.offset + len(chunk)] = chunk
    for n_threads in (1, 2, 3, 8) * 3:
        with pytest.raises(FormatError) as caught:
            kmq.files.decode(encoded, n_threads=n_threads)
        assert caught.value.offset == strips[5].offset


def test_a_critical_chunk_unknown_here_is_told_even_where_other_chunks_are_damaged():
    encoded, offsets = file_of(S0=BROKEN, Z=b"")
    assert told(READERS["decode"], encoded) == (NewerFormatError, "Z", offsets["Z"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told(OF_HEAD["salvage"], encoded)[0] is NewerFormatError
