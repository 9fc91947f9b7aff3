import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kmq.files
import plain_decoder
from images import COLOR_TAGS, FULL_METADATA, indexed_image, same
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.model.file_info import ChunkInfo, Limits
from kmq.model.image import Metadata
from kmq.model.pixel_format import PixelFormat
from kmq.stages.container import chunks
from kmq.stages.container.chunks import SIGNATURE, pack_chunk, pack_varint

# A sound file of 5 x 2 pixels in three colours and two strips, as (letter, payload).
HEADER = bytes([1, 1, 5, 2, 3, 1])
IMAGE = indexed_image(PixelFormat.GREY8, 3, 2, 5)


def chunks_of(encoded):
    chunks = kmq.files.info(io.BytesIO(encoded)).chunks
    starts = [(info.letter, info.offset + 1 + len(pack_varint(info.length))) for info in chunks]
    return [
        (letter, encoded[start : start + info.length])
        for (letter, start), info in zip(starts, chunks, strict=True)
    ]


SOUND = chunks_of(kmq.files.encode(IMAGE, method="deflate", strip_height=1))


def file_of(*chunks):
    return SIGNATURE + b"".join(pack_chunk(letter, payload) for letter, payload in chunks)


def replaced(letter, payload):
    """Return the sound file with the payload of one chunk replaced."""
    return file_of(*((a, payload if a == letter else b) for a, b in SOUND))


def with_ancillary(*chunks):
    return file_of(*SOUND[:2], *chunks, *SOUND[2:])


def refusal(encoded, kind=FormatError, limits=None):
    with pytest.raises(FormatError) as caught:
        kmq.files.decode(encoded, limits=limits)
    assert type(caught.value) is kind
    return caught.value


def test_the_sound_file_is_sound():
    assert [letter for letter, _ in SOUND] == ["H", "P", "T", "S", "S", "E"]
    assert kmq.files.decode(file_of(*SOUND)) == IMAGE


# Numbers


@given(st.integers(0, 2**31 - 1))
def test_varints_come_back(number):
    packed = pack_varint(number)
    assert chunks.unpack_varint(b"x" + packed + b"y", 1) == (number, 1 + len(packed))


def test_varints_as_documented():
    assert pack_varint(0) == b"\0"
    assert pack_varint(300) == b"\xac\x02"
    assert pack_varint(2**31 - 1) == b"\xff\xff\xff\xff\x07"


@pytest.mark.parametrize(
    ("packed", "fault"),
    [
        (b"", "does not end"),
        (b"\x80", "does not end"),
        (b"\x80\0", "longer than it needs"),
        (b"\x80\x80\x80\x80\x08", "is 2147483648"),
        (b"\xff\xff\xff\xff\xff\x01", "does not end"),
    ],
)
def test_other_varints_are_refused(packed, fault):
    with pytest.raises(FormatError, match=fault):
        chunks.unpack_varint(packed, 0)


# Signature


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda file: file.replace(b"\r\n", b"\n"), "line ends"),
        (lambda file: file.replace(b"\n", b"\r\n"), "line ends"),
        (lambda file: file.replace(b"\r", b"\n"), "line ends"),
        (lambda file: bytes(byte & 0x7F for byte in file), "first byte"),
        (lambda file: file.decode("latin-1").encode(), "first byte"),
        (lambda file: file.decode(errors="replace").encode(), "first byte"),
        (lambda file: b"\x89PNG" + file[4:], "not a .kmq file"),
        (lambda file: b"", "ends within its signature"),
        (lambda file: file[:5], "ends within its signature"),
    ],
)
def test_the_signature_shows_what_happened(damage, fault):
    assert fault in str(refusal(damage(file_of(*SOUND))))


# Order of chunks


@pytest.mark.parametrize(
    ("letters", "chunk"),
    [
        ("PTSSE", "P"),
        ("HTSSE", "T"),
        ("PHTSSE", "P"),
        ("HHPTSSE", "H"),
        ("HPPTSSE", "P"),
        ("HPSSE", "S"),
        ("HPTTSSE", "T"),
        ("HPSTSE", "S"),
        ("HPTSE", "E"),
        ("HPTSSSE", "S"),
        ("HPTE", "E"),
        ("HqPTSSE", "q"),
        ("HPTqSSE", "q"),
        ("HPTSqSE", "q"),
        ("HPTSSqE", "q"),
        ("E", "E"),
    ],
)
def test_chunks_out_of_order_are_refused(letters, chunk):
    payloads = dict(SOUND) | {"q": b"some"}
    error = refusal(file_of(*((letter, payloads[letter]) for letter in letters)))
    assert error.chunk == chunk
    assert error.offset is not None


def test_a_table_for_one_strip_is_refused():
    chunks = chunks_of(kmq.files.encode(IMAGE))
    assert [letter for letter, _ in chunks] == ["H", "P", "S", "E"]
    table = ("T", pack_varint(len(pack_chunk(*chunks[2]))))
    assert refusal(file_of(*chunks[:2], table, *chunks[2:])).chunk == "T"


@pytest.mark.parametrize("letters", ["", "H", "HP", "HPT", "HPTS", "HPTSS"])
def test_a_file_without_its_last_chunk_is_refused(letters):
    error = refusal(file_of(*SOUND[: len(letters)]))
    assert error.offset == len(file_of(*SOUND[: len(letters)]))
    assert "ends before its last chunk" in str(error)


def test_bytes_that_are_no_letters_are_refused():
    for byte in set(range(256)) - set(b"HPTSE"):
        if not chr(byte).isascii() or not chr(byte).isalpha():
            error = refusal(SIGNATURE + bytes([byte]) + bytes(20))
            assert (error.chunk, error.offset) == (None, 8)


def test_a_payload_in_the_last_chunk_is_refused():
    assert refusal(replaced("E", b"x")).chunk == "E"


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_strip_without_its_checksum_is_refused(length):
    encoded = replaced("S", bytes(length))
    assert "cannot hold" in str(refusal(encoded))
    with pytest.raises(FormatError, match="cannot hold"):
        kmq.files.info(io.BytesIO(encoded))


@pytest.mark.parametrize("position", range(len(SOUND)))
def test_a_length_with_no_end_is_refused(position):
    letter = SOUND[position][0]
    before = file_of(*SOUND[:position])
    error = refusal(before + letter.encode() + b"\xff" * 100)
    assert (error.chunk, error.offset) == (letter, len(before))


# What comes from newer writers


@pytest.mark.parametrize(
    "encoded",
    [
        file_of(("X", b"what is to come")),
        file_of(*SOUND[:2], ("A", b""), *SOUND[2:]),
        file_of(*SOUND[:4], ("B", b"x"), *SOUND[4:]),
        file_of(*SOUND[:5], ("Z", b"x"), *SOUND[5:]),
        replaced("H", b"\3" + b"anything"),
        replaced("H", b"\3"),
        replaced("H", HEADER + b"\0"),
        replaced("H", bytes([1, 99]) + HEADER[2:]),
        replaced("P", b"\x77"),
        file_of(*(("S", b"\xc8" + b[1:]) if a == "S" else (a, b) for a, b in SOUND)),
    ],
)
def test_newer_files_are_named_so(encoded):
    assert "this file needs a newer kmq" in str(refusal(encoded, NewerFormatError))


# Header and limits


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "does not end"),
        (b"\0" + HEADER[1:], "version is 0"),
        (b"\1", "ends after its version"),
        (HEADER[:-1], "does not end"),
        (bytes([1, 1, 0, 2, 3, 1]), "0 x 2"),
        (bytes([1, 1, 5, 0, 3, 1]), "5 x 0"),
        (bytes([1, 1, 5, 2, 0, 1]), "0 colours"),
        (bytes([1, 1, 5, 2]) + pack_varint(65_537) + b"\1", "65537 colours"),
        (bytes([1, 1, 5, 2, 3, 0]), "0 rows"),
        (bytes([1, 1, 5, 2, 3, 3]), "3 rows"),
        (bytes([1, 1, 5]) + pack_varint(65_537) + bytes([3, 1]), "65537 strips"),
        (bytes([1, 1, 0x85, 0, 2, 3, 1]), "longer than it needs"),
    ],
)
def test_damaged_headers_are_refused(payload, fault):
    error = refusal(replaced("H", payload))
    assert fault in str(error)
    assert (error.chunk, error.offset) == ("H", 8)


def huge(width, height, n_colors=64):
    sizes = b"".join(map(pack_varint, (width, height, n_colors, height)))
    return SIGNATURE + pack_chunk("H", b"\1\5" + sizes)


@pytest.mark.parametrize("sides", [(2**31 - 1, 2**31 - 1), (1, 178_956_971), (20_000, 10_000)])
def test_a_picture_beyond_the_limit_is_refused_from_its_header(sides):
    error = refusal(huge(*sides), LimitError)
    assert "the limit is 178956970" in str(error)
    assert error.chunk == "H"


def test_the_limit_of_pixels_can_be_moved():
    encoded = kmq.files.encode(IMAGE)
    assert kmq.files.decode(encoded, limits=Limits(pixels=10)) == IMAGE
    refusal(encoded, LimitError, Limits(pixels=9))
    with pytest.raises(LimitError):
        kmq.files.info(io.BytesIO(encoded), limits=Limits(pixels=9))


def peak_memory(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_promise_of_bytes_takes_no_memory():
    encoded = SIGNATURE + pack_chunk("H", HEADER) + b"P" + pack_varint(2**31 - 1) + bytes(50)
    assert peak_memory(lambda: refusal(encoded)) < 3_000_000


# Strip table


@pytest.mark.parametrize(
    ("change", "chunk"),
    [
        (lambda table: table[:-1], "T"),
        (lambda table: table + b"\1", "T"),
        (lambda table: bytes([table[0] + 1]) + table[1:], "S"),
        (lambda table: b"", "T"),
    ],
)
def test_wrong_strip_tables_are_refused(change, chunk):
    encoded = replaced("T", change(dict(SOUND)["T"]))
    assert refusal(encoded).chunk == chunk
    with pytest.raises(FormatError):
        kmq.files.info(io.BytesIO(encoded))


# Metadata


def test_metadata_are_laid_out_as_documented():
    metadata = Metadata(exif=b"EX", dpi=(300, 72.009), text={"A": "b"}, extra=(("z", b"ZZ"),))
    found = dict(chunks_of(kmq.files.encode(indexed_with(metadata))))
    assert found["e"] == b"EX"
    assert found["d"] == pack_varint(3_000_000) + pack_varint(720_090)
    assert found["t"] == b"\0A\0b"
    assert found["z"] == b"ZZ"


def test_color_tags_are_laid_out_as_documented():
    found = dict(chunks_of(kmq.files.encode(indexed_with(COLOR_TAGS))))
    places = (31_270, 32_900, 70_800, 29_200, 17_000, 79_700, 13_100, 4_600)
    assert found["g"] == pack_varint(45_455)
    assert found["w"] == b"".join(map(pack_varint, places))
    assert found["s"] == b"\1"
    assert found["c"] == bytes([9, 16, 0, 1])


def indexed_with(metadata):
    return indexed_image(PixelFormat.RGB24, 2, 1, 1, metadata=metadata)


@pytest.mark.parametrize("xmp", ["<x/>".encode("utf-16"), b"\xff\xfe\0", b""])
def test_bytes_are_handed_on_whatever_they_are(xmp):
    metadata = Metadata(xmp=xmp, icc_profile=b"no profile", exif=b"Exif\0\0garbage")
    encoded = kmq.files.encode(indexed_with(metadata))
    assert kmq.files.decode(encoded).metadata == metadata
    plain = plain_decoder.decode(encoded)
    assert (plain["x"], plain["i"], plain["e"]) == (xmp, b"no profile", b"Exif\0\0garbage")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        "é".encode("latin-1"),
        b"\xe2\x82",
    ],
    ids=[
        "no byte of it",
        "longer than it must be",
        "surrogate",
        "beyond Unicode",
        "Latin-1",
        "cut",
    ],
)
@pytest.mark.parametrize("place", ["keyword", "value"])
def test_text_that_is_not_utf_8_is_refused(text, place):
    entry = text + b"\0b" if place == "keyword" else b"A\0" + text
    for payload in (b"\0" + entry, b"\1" + deflate(entry)):
        encoded = with_ancillary(("t", payload))
        assert "not UTF-8" in str(refusal(encoded))
        with pytest.raises(ValueError, match=r"."):
            plain_decoder.decode(encoded)


def test_long_text_is_deflated():
    letter, payload = chunks_of(kmq.files.encode(indexed_with(Metadata(text={"A": "b" * 99}))))[2]
    assert (letter, payload) == ("t", b"\1" + deflate(b"A\0" + b"b" * 99))


def test_unknown_ancillary_chunks_are_kept_in_order():
    extra = (("z", b"1"), ("a", b""), ("z", b"2"))
    encoded = with_ancillary(*extra)
    image = kmq.files.decode(encoded)
    assert image.metadata == Metadata(extra=extra)
    assert kmq.files.encode(image, method="deflate", strip_height=1) == encoded


@pytest.mark.parametrize(
    ("ancillary", "fault"),
    [
        ([("i", deflate(b"a")), ("i", deflate(b"a"))], "second chunk 'i'"),
        ([("e", b""), ("q", b""), ("e", b"")], "second chunk 'e'"),
        ([("d", b"\1\1"), ("d", b"\1\1")], "second chunk 'd'"),
        ([("x", deflate(b"")), ("x", deflate(b""))], "second chunk 'x'"),
        ([("i", b"")], "too early"),
        ([("i", deflate(b"profile")[:-1])], "too early"),
        ([("i", deflate(b"profile") + b"x")], "follow"),
        ([("x", b"\xff")], "damaged"),
        ([("d", b"")], "does not end"),
        ([("d", b"\1")], "does not end"),
        ([("d", b"\1\1\1")], "goes on"),
        ([("t", b"")], "byte 0 or 1"),
        ([("t", b"\2A\0b")], "byte 0 or 1"),
        ([("t", b"\0A")], "no keyword"),
        ([("t", b"\0\0b")], "no keyword"),
        ([("t", b"\0A\0\xff")], "UTF-8"),
        ([("t", b"\0\xff\0A")], "UTF-8"),
        ([("t", b"\1" + deflate(b"A\0b") + b"!")], "follow"),
        ([("t", b"\0A\0b"), ("t", b"\0A\0c")], "second entry of text for 'A'"),
        ([("g", b"")], "does not end"),
        ([("g", b"\1\1")], "goes on after its 1 number"),
        ([("w", bytes(7))], "does not end"),
        ([("w", bytes(9))], "goes on after its 8 numbers"),
        ([("s", b"")], "rendering intent"),
        ([("s", b"\4")], "rendering intent"),
        ([("s", b"\0"), ("s", b"\0")], "second chunk 's'"),
        ([("c", bytes(3))], "3 bytes; there are 4"),
        ([("c", bytes(5))], "5 bytes; there are 4"),
    ],
)
def test_damaged_metadata_are_refused(ancillary, fault):
    error = refusal(with_ancillary(*ancillary))
    assert fault in str(error)
    assert error.chunk == ancillary[-1][0]
    assert error.offset == len(file_of(*SOUND[:2], *ancillary[:-1]))


@pytest.mark.parametrize(
    "ancillary",
    [
        [("i", deflate(bytes(1001)))],
        [("t", b"\1" + deflate(b"A\0" + b"b" * 1000))],
        [("q", bytes(1001))],
        [("i", deflate(bytes(600))), ("x", deflate(bytes(600)))],
        [("q", bytes(600)), ("q", bytes(600))],
    ],
)
def test_metadata_beyond_the_limit_are_refused(ancillary):
    encoded = with_ancillary(*ancillary)
    error = refusal(encoded, LimitError, Limits(metadata_bytes=1000))
    assert error.chunk == ancillary[-1][0]
    kmq.files.decode(encoded, limits=Limits(metadata_bytes=1300))


def test_a_bomb_in_metadata_takes_no_memory():
    encoded = with_ancillary(("i", deflate(bytes(10**8))))
    limits = Limits(metadata_bytes=10**6)
    assert peak_memory(lambda: refusal(encoded, LimitError, limits)) < 6_000_000


@pytest.mark.parametrize(
    ("metadata", "kind", "fault"),
    [
        (Metadata(extra=(("i", b""),)), InputError, "a to z without i, e, x, d, t, g, w, s, c"),
        (Metadata(extra=(("Q", b""),)), InputError, "'Q'"),
        (Metadata(extra=(("qq", b""),)), InputError, "'qq'"),
        (Metadata(extra=(("é", b""),)), InputError, "'é'"),
        (Metadata(dpi=(-1, 1)), InputError, "dpi is"),
        (Metadata(dpi=72), TypeError, "dpi is 72"),
        (Metadata(dpi=("72", "72")), TypeError, "dpi is"),
        (Metadata(text="title"), TypeError, "text is str"),
        (Metadata(text={"title": 3}), TypeError, "text has 'title': int"),
        (Metadata(dpi=(float("nan"), 1)), InputError, "dpi is"),
        (Metadata(dpi=(300_000, 1)), InputError, "dpi is"),
        (Metadata(gamma=-1), InputError, "gamma is -1"),
        (Metadata(gamma="1"), TypeError, "gamma is str"),
        (Metadata(gamma=30_000), InputError, "gamma is 30000; it must be 0 to 21474.8"),
        (Metadata(chromaticities=(0.3,) * 7), InputError, "chromaticities has 7 numbers; .* 8"),
        (Metadata(chromaticities=0.3), TypeError, "chromaticities is float"),
        (Metadata(chromaticities=(float("inf"),) * 8), InputError, "a number of chromaticities"),
        (Metadata(srgb="vivid"), InputError, "srgb is 'vivid'; it must be"),
        (Metadata(srgb=0), TypeError, "srgb is int"),
        (Metadata(cicp=(9, 16, 0)), InputError, "cicp has 3 numbers; it must have 4"),
        (Metadata(cicp=(9, 16, 0, 256)), InputError, "a number of cicp is 256"),
        (Metadata(text={"": "b"}), InputError, "keyword ''"),
        (Metadata(text={"a\0": "b"}), InputError, "NUL"),
        (Metadata(text={"a": "\ud800"}), InputError, "UTF-8"),
        (Metadata(icc_profile="text"), TypeError, "icc_profile is str"),
        (Metadata(exif=bytearray(3)), TypeError, "exif is bytearray"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_when_written(metadata, kind, fault):
    with pytest.raises(kind, match=fault):
        kmq.files.encode(indexed_with(metadata))


# Damage


def whole_files():
    return [
        kmq.files.encode(IMAGE, strip_height=1),
        kmq.files.encode(indexed_image(PixelFormat.CMYK32, 1, 4, 3, metadata=FULL_METADATA)),
        kmq.files.encode(indexed_image(PixelFormat.GREY16, 9, 9, 9), strip_height=4),
    ]


@pytest.mark.parametrize("number", range(3))
def test_truncation_at_every_byte_is_refused(number):
    encoded = whole_files()[number]
    for size in range(len(encoded)):
        error = refusal(encoded[:size])
        assert error.offset is not None
        assert error.offset <= size
        with pytest.raises(FormatError):
            kmq.files.info(io.BytesIO(encoded[:size]))
        with pytest.raises(FormatError):
            kmq.files.info(Unseekable(encoded[:size]))


class Unseekable:
    def __init__(self, content):
        self._stream = io.BytesIO(content)

    def read(self, count):
        return self._stream.read(count)


@pytest.mark.parametrize("number", range(3))
def test_every_flipped_bit_is_noticed(number):
    encoded = whole_files()[number]
    for bit in range(8 * len(encoded)):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError) as caught:
            kmq.files.decode(damaged)
        assert not isinstance(caught.value, NewerFormatError)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_both_decoders_agree_on_what_is_a_file(data):
    """CRCs are right here, so that what lies behind them is reached."""
    chunks = list(SOUND)
    position = data.draw(st.integers(0, len(chunks) - 1))
    letter, payload = chunks[position]
    flipped = bytearray(payload or b"\0")
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = data.draw(
        st.sampled_from([payload[:-1], payload + b"\0", bytes(flipped)]) | st.binary(max_size=20)
    )
    chunks[position] = (data.draw(st.sampled_from([letter, letter, "S", "t", "d", "i"])), changed)
    encoded = file_of(*chunks)
    try:
        image = kmq.files.decode(encoded, limits=Limits(pixels=10_000))
    except LimitError:
        return
    except FormatError:
        with pytest.raises(ValueError, match=r"."):
            plain_decoder.decode(encoded)
    else:
        assert same(image, plain_decoder.decode(encoded))


def test_ancillary_chunks_are_counted():
    many = [("q", b"")] * 65_536
    assert len(kmq.files.decode(with_ancillary(*many)).metadata.extra) == 65_536
    assert "more than 65536" in str(refusal(with_ancillary(*many, ("q", b""))))
    with pytest.raises(InputError, match="65537 items"):
        kmq.files.encode(indexed_with(Metadata(extra=(*many, ("q", b"")))))


def test_chunk_info_counts_from_the_signature():
    info = kmq.files.info(io.BytesIO(file_of(*SOUND)))
    assert info.chunks[:2] == (ChunkInfo("H", 8, 6), ChunkInfo("P", 20, len(SOUND[1][1])))
    assert info.strips[1].offset == info.strips[0].offset + info.strips[0].length + 6
