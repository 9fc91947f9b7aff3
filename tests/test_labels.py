"""Label maps: exact round trips, what is refused, and that damage never gives wrong labels."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import kmq
import plain_decoder
from images import label_map
from kmq.cli import main
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, LimitError, NewerFormatError
from kmq.model.labels import LABEL_TYPES
from kmq.stages.container.chunks import SIGNATURE, pack_chunk, pack_varint

GOLDEN = sorted((Path(__file__).parent / "golden" / "labels").glob("*.kmq"))
METHODS = (None, "deflate", "rank", "mix", "label")


def assert_exact(labels, again):
    assert again.dtype == labels.dtype.newbyteorder("=")
    assert again.dtype.isnative
    assert again.flags.c_contiguous
    assert again.shape == labels.shape
    assert np.array_equal(again, labels)


def round_trip(labels, **options):
    assert_exact(np.asarray(labels), kmq.decode_labels(kmq.encode_labels(labels, **options)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", LABEL_TYPES, ids=str)
def test_all_types_come_back(dtype, method):
    round_trip(label_map(dtype, (31, 23), 40), method=method)


@pytest.mark.parametrize(
    "shape", [(1,), (50,), (1, 1), (1, 40), (40, 1), (3, 7, 5), (1, 1, 2, 3, 4), (2,) * 7 + (1,)]
)
def test_all_shapes_come_back(shape):
    round_trip(label_map(np.int32, shape, 4))


def test_most_dimensions():
    round_trip(np.zeros((1,) * 31 + (5,), np.int8))
    with pytest.raises(InputError, match="labels has 33 dimensions; a label map has 1 to 32"):
        kmq.encode_labels(np.zeros((1,) * 33, np.int8))


@given(
    arrays.arrays(
        st.sampled_from([dtype.newbyteorder(order) for dtype in LABEL_TYPES for order in "<>"]),
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=9),
    ),
    st.sampled_from(METHODS),
)
@settings(max_examples=60, deadline=None)
def test_any_array_comes_back(labels, method):
    round_trip(labels, method=method)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, ::2],
        lambda a: a.T,
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.tolist(),
    ],
)
def test_any_layout_comes_back(view):
    round_trip(view(label_map(np.int64, (12, 15), 9)))


def test_labels_at_both_ends_of_a_type_come_back():
    for low, high, dtype in ((0, 2**64 - 1, np.uint64), (-(2**63), 2**63 - 1, np.int64)):
        round_trip(np.array([[low, high, high], [low + 1, high - 1, low]], dtype))


@pytest.mark.parametrize("method", ["deflate", "rank", "mix", "label"])
def test_as_many_labels_as_there_can_be(method):
    labels = np.arange(65_536, dtype=np.int32).reshape(256, 256)[::-1] * 3 - 70_000
    round_trip(labels, method=method)
    with pytest.raises(InputError, match="65537 distinct values; a label map holds up to 65536"):
        kmq.encode_labels(np.arange(65_537))


def test_bytes_do_not_depend_on_threads_and_strips_are_whole_slices():
    labels = label_map(np.uint16, (6, 30, 20), 12)
    encoded = kmq.encode_labels(labels, method="deflate", strip_height=60, n_threads=1)
    assert encoded == kmq.encode_labels(labels, method="deflate", strip_height=60, n_threads=2)
    assert len(kmq.info(io.BytesIO(encoded)).strips) == 3
    assert_exact(labels, kmq.decode_labels(encoded, n_threads=2))
    large = np.zeros((9, 300, 250), np.uint8)
    assert kmq.info(io.BytesIO(kmq.encode_labels(large))).strip_height % 300 == 0


def test_label_maps_are_small():
    """Much smaller than what general compressors make of them, at any number of labels."""
    for n_labels in (5, 60, 400):
        labels = label_map(np.uint16, (130, 170), n_labels)
        deflated = len(deflate(labels.tobytes()))
        sizes = [len(kmq.encode_labels(labels, effort=e)) for e in ("fast", "balanced", "best")]
        assert max(sizes) < 0.45 * deflated
        assert sizes == sorted(sizes, reverse=True)


def test_files(tmp_path):
    labels = label_map(np.int16, (9, 14), 5)
    kmq.write_labels(tmp_path / "cells.kmq", labels)
    assert_exact(labels, kmq.read_labels(tmp_path / "cells.kmq"))
    stream = io.BytesIO()
    kmq.write_labels(stream, labels)
    assert stream.getvalue() == (tmp_path / "cells.kmq").read_bytes()
    stream.seek(0)
    assert_exact(labels, kmq.read_labels(stream))
    with pytest.raises(InputError, match="files that write_labels makes"):
        kmq.write_labels(tmp_path / "cells.png", labels)
    with pytest.raises(InputError, match="dtype float64"):
        kmq.write_labels(tmp_path / "none.kmq", np.ones((2, 2)))
    assert not (tmp_path / "none.kmq").exists()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.ones((3, 3)), InputError, "dtype float64; a label map holds bool, or integers"),
        (np.ones((3, 3), complex), InputError, "dtype complex128"),
        (np.array(["a", "b"]), InputError, "dtype <U1"),
        (np.array([None, 1]), InputError, "dtype object"),
        (np.zeros(3, "M8[s]"), InputError, "dtype datetime64"),
        (np.zeros(3, [("a", "i4")]), InputError, "dtype"),
        (np.int32(7), InputError, "labels has 0 dimensions; a label map has 1 to 32"),
        (np.zeros((3, 0), np.uint8), InputError, r"shape \(3, 0\); a label map has at least one"),
        (np.ma.masked_array([1, 2]), TypeError, "masked array"),
    ],
)
def test_what_is_no_label_map_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        kmq.encode_labels(labels)


def test_options_are_checked():
    labels = np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match="there is no method"):
        kmq.encode_labels(labels, method="zip")
    with pytest.raises(InputError, match="effort"):
        kmq.encode_labels(labels, effort="most")
    with pytest.raises(TypeError, match="did you mean"):
        kmq.encode_labels(labels, threads=2)
    with pytest.raises(InputError, match="the limit is 15"):
        kmq.encode_labels(labels, limits=kmq.Limits(pixels=15))
    with pytest.raises(LimitError, match="the limit is 15"):
        kmq.decode_labels(kmq.encode_labels(labels), limits=kmq.Limits(pixels=15))
    with pytest.raises(TypeError, match=r"kmq\.read_labels takes paths"):
        kmq.decode_labels("cells.kmq")


# Pictures are not label maps


def test_pictures_and_label_maps_are_told_apart(tmp_path):
    labels = kmq.encode_labels(np.eye(5, dtype=np.uint8))
    picture = kmq.encode(np.eye(5, dtype=np.uint8), 2)
    message = r"holds a label map, not a picture; kmq\.read_labels reads it"
    for read in (
        lambda: kmq.decode(labels),
        lambda: kmq.decode(labels, on_error="salvage"),
        lambda: kmq.read_region(io.BytesIO(labels), (0, 0, 1, 1)),
    ):
        with pytest.raises(FormatError, match=message):
            read()
    with pytest.raises(FormatError, match="holds a picture, not a label map"):
        kmq.decode_labels(picture)


def test_info_says_what_it_is(tmp_path, capsys):
    labels = label_map(np.int32, (3, 8, 9), 6)
    path = tmp_path / "cells.kmq"
    kmq.write_labels(path, labels)
    facts = kmq.info(path)
    assert facts.labels.shape == labels.shape
    assert set(facts.labels.values.tolist()) == set(labels.ravel().tolist())
    assert facts.memory == labels.nbytes
    assert "label map (3, 8, 9) int32, 6 labels" in repr(facts)
    assert kmq.info(io.BytesIO(kmq.encode(np.eye(3, dtype=np.uint8), 2))).labels is None
    assert main(["info", str(path)]) == 0
    assert "label map, 3 \xd7 8 \xd7 9, int32, 6 labels" in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert '"dtype": "int32"' in capsys.readouterr().out
    assert main(["decode", str(path), "-o", str(tmp_path / "cells.png")]) != 0
    assert "holds a label map" in capsys.readouterr().err
    assert not (tmp_path / "cells.png").exists()


# Golden files, and a second decoder


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_label_map_is_read_as_ever(path):
    expected = np.load(path.with_suffix(".npy"))
    assert_exact(expected, kmq.read_labels(path))
    plain = plain_decoder.decode(path.read_bytes())
    values = np.array(plain["labels"], expected.dtype)
    assert np.array_equal(values[np.array(plain["indices"])].reshape(plain["shape"]), expected)


def test_there_are_golden_label_maps():
    assert len(GOLDEN) >= 15


# Damage


@pytest.mark.parametrize("method", ["deflate", "label"])
def test_no_damaged_byte_gives_wrong_labels(method):
    labels = label_map(np.int16, (2, 6, 7), 5)
    encoded = kmq.encode_labels(labels, method=method, strip_height=6)
    for at in range(len(encoded)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(encoded)
            damaged[at] ^= flip
            with pytest.raises(FormatError):
                kmq.decode_labels(damaged)
        with pytest.raises(FormatError):
            kmq.decode_labels(encoded[:at])


def chunk_of_labels(code=3, shape=(2, 3), method=0, content=None, n_labels=2):
    content = bytes(4 * n_labels) if content is None else content
    sizes = b"".join(map(pack_varint, shape))
    return bytes([code, len(shape)]) + sizes + bytes([method]) + deflate(content)


def file_with(chunk, letter="L", width=3, height=2, n_labels=2, strip=None):
    header = b"\1\n" + b"".join(map(pack_varint, (width, height, n_labels, height)))
    strip = bytes(10) if strip is None else strip
    chunks = (("H", header), (letter, chunk), ("S", strip), ("E", b""))
    return SIGNATURE + b"".join(pack_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (b"\3", FormatError, "the labels end before their shape"),
        (chunk_of_labels(code=9), NewerFormatError, "its labels have type 9"),
        (b"\3\0\0", FormatError, "0 dimensions; they have 1 to 32"),
        (chunk_of_labels(shape=(1,) * 33), FormatError, "33 dimensions"),
        (chunk_of_labels(shape=(3, 2)), FormatError, r"shape \(3, 2\); their strips 2 x 3"),
        (chunk_of_labels(shape=(2**31 - 1,) * 31 + (3,)), FormatError, "their strips 2 x 3"),
        (b"\3\2\2\3", FormatError, "the labels end after their shape"),
        (chunk_of_labels(method=2), NewerFormatError, "its labels are coded by method 2"),
        (chunk_of_labels(content=bytes(7)), FormatError, "chunk 'L'"),
        (chunk_of_labels(content=bytes(10**6)), FormatError, "chunk 'L'"),
        (chunk_of_labels(code=0, content=b"\0\2"), FormatError, "type bool are 0 and 1"),
    ],
)
def test_labels_that_break_a_rule_are_refused(chunk, error, message):
    with pytest.raises(FormatError, match=message) as caught:
        kmq.decode_labels(file_with(chunk))
    assert type(caught.value) is error
    assert caught.value.chunk == "L"
    plain_error = plain_decoder.NewerError if error is NewerFormatError else ValueError
    with pytest.raises(plain_error):
        plain_decoder.decode(file_with(chunk))


def test_a_label_map_without_labels_is_refused():
    with pytest.raises(FormatError, match="chunk 'P' stands where 'L' belongs"):
        kmq.decode_labels(file_with(b"\0" + bytes(4), "P"))


def test_promises_take_no_memory():
    size = 10_000
    chunk = chunk_of_labels(code=8, shape=(size, size), content=bytes(16))
    for method in range(4):
        promise = file_with(chunk, width=size, height=size, strip=bytes([method]) + bytes(40))
        tracemalloc.start()
        with pytest.raises(FormatError, match="cannot hold"):
            kmq.decode_labels(promise)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
