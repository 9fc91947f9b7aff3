"""Label maps as codecs of numcodecs, Zarr and imagecodecs: every array comes back."""

import doctest
import importlib
import tracemalloc
from importlib.metadata import entry_points

import numpy as np
import pytest

import kmq
from images import label_map
from kmq.codecs import kmq_check, kmq_decode, kmq_encode, kmq_version
from kmq.deflate import deflate
from kmq.errors import FormatError, InputError, LimitError
from kmq.framing import DEFLATED, decode_bytes, decode_chunk, encode_chunk

LABELS = label_map(np.int32, (24, 31), 12)
ARRAYS = {
    "labels": LABELS,
    "big-endian": LABELS.astype(">i4"),
    "bool": LABELS % 2 == 0,
    "stack": label_map(np.uint64, (3, 9, 8), 20),
    "row": label_map(np.int8, (40,), 3),
    "floats": np.linspace(0, 1, 60).reshape(6, 10),
    "big-endian floats": np.linspace(0, 1, 60).reshape(6, 10).astype(">f4"),
    "complex": np.ones((3, 4), complex) * 1j,
    "too many labels": np.arange(70_000, dtype=np.int64).reshape(70, 1000),
}


@pytest.fixture(params=ARRAYS)
def array(request):
    return ARRAYS[request.param]


# Chunks


def test_chunks_come_back(array):
    content = encode_chunk(array, "fast", None)
    again = decode_chunk(content, array.shape, array.dtype)
    assert again.shape == array.shape
    assert np.array_equal(again, array)
    assert decode_bytes(content).tobytes() == array.tobytes()


def test_a_chunk_is_a_file():
    assert np.array_equal(kmq.decode_labels(encode_chunk(LABELS, None, None)), LABELS)


def test_objects_are_refused():
    with pytest.raises(InputError, match="dtype object"):
        encode_chunk(np.array([None, "a"]), None, None)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((31, 24), "i4"), ((24 * 31,), "i4"), ((24, 31), "u4"), ((24, 30), "i4")]
)
@pytest.mark.parametrize("source", [LABELS, LABELS.astype(np.float32)], ids=["labels", "floats"])
def test_chunks_of_another_array_are_refused(source, shape, dtype):
    content = encode_chunk(source, None, None)
    if source is not LABELS and np.prod(shape) == LABELS.size:
        return  # deflated bytes are all that such a chunk says
    with pytest.raises(FormatError):
        decode_chunk(content, shape, np.dtype(dtype))


def test_damaged_chunks_are_refused():
    content = encode_chunk(LABELS.astype(">i4"), "fast", "deflate")
    for at in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[at] ^= 0x55
        with pytest.raises(FormatError):
            decode_bytes(bytes(damaged))
        with pytest.raises(FormatError):
            decode_bytes(content[:at])
    for content in (b"", b"\2", b"\0\0\0", b"\0" + bytes(7)):
        with pytest.raises(FormatError):
            decode_bytes(content)


def test_chunks_are_bounded_before_memory_is_asked_for():
    bomb = bytes([DEFLATED]) + (10**12).to_bytes(8, "little") + deflate(bytes(10**6))
    wide = kmq.encode_labels(np.zeros((3000, 3000), np.int64), method="deflate")
    tracemalloc.start()
    with pytest.raises(LimitError, match="1000000000000 bytes"):
        decode_bytes(bomb)
    with pytest.raises(FormatError, match="1000000000000 bytes; shape"):
        decode_chunk(bomb, (3, 3), np.dtype("i8"))
    with pytest.raises(FormatError, match="the limit is 9"):
        decode_chunk(wide, (3, 3), np.dtype("i8"))
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


# numcodecs


def test_numcodecs(array):
    codec = pytest.importorskip("kmq.numcodecs", exc_type=ImportError).KmqLabels(effort="fast")
    content = codec.encode(array)
    assert np.asarray(codec.decode(content)).tobytes() == array.tobytes()
    out = np.empty_like(array)
    codec.decode(content, out=out)
    assert np.array_equal(out, array)
    assert codec.decode(codec.encode(array.tobytes())).tobytes() == array.tobytes()
    assert codec == type(codec).from_config({"effort": "fast", "method": None})


def test_numcodecs_knows_the_codec():
    numcodecs = pytest.importorskip("numcodecs")
    names = {entry.name for entry in entry_points(group="numcodecs.codecs")}
    if "kmq_labels" not in names:
        pytest.skip("kmq is not installed as a package")
    codec = numcodecs.get_codec({"id": "kmq_labels", "method": "deflate"})
    assert codec.get_config() == {"id": "kmq_labels", "effort": "balanced", "method": "deflate"}
    with pytest.raises(InputError):
        numcodecs.get_codec({"id": "kmq_labels", "effort": "most"})


# Zarr


@pytest.fixture
def zarr():
    zarr = pytest.importorskip("zarr", minversion="3.1")
    from kmq.numcodecs import KmqLabels as OfNumcodecs
    from kmq.zarr import KmqLabels, KmqLabelsBytes

    import numcodecs  # isort: skip

    numcodecs.register_codec(OfNumcodecs)  # as entry points do
    zarr.registry.register_codec("kmq_labels", KmqLabels)
    zarr.registry.register_codec("kmq_labels_bytes", KmqLabelsBytes)
    return zarr


def codecs(kind):
    if kind == "numcodecs":
        from kmq.numcodecs import KmqLabels

        return {"zarr_format": 2, "compressors": KmqLabels(effort="fast")}
    from kmq.zarr import KmqLabels, KmqLabelsBytes

    if kind == "serializer":
        return {"serializer": KmqLabels(), "compressors": None}
    return {"compressors": KmqLabelsBytes(effort="fast")}


KINDS = ("numcodecs", "serializer", "compressor")


@pytest.mark.parametrize("kind", KINDS)
def test_zarr_arrays_come_back(zarr, array, kind, tmp_path):
    chunks = tuple(max(1, size // 2) for size in array.shape)
    stored = zarr.create_array(
        tmp_path, shape=array.shape, chunks=chunks, dtype=array.dtype, **codecs(kind)
    )
    stored[...] = array
    again = zarr.open_array(tmp_path, mode="r")
    assert np.array_equal(again[...], array)
    assert np.array_equal(again[1:3], array[1:3])


@pytest.mark.parametrize("kind", ["serializer", "compressor"])
def test_zarr_shards(zarr, kind, tmp_path):
    stored = zarr.create_array(
        tmp_path, shape=(24, 32), chunks=(6, 8), shards=(12, 16), dtype="i4", **codecs(kind)
    )
    stored[:, :31] = LABELS
    assert np.array_equal(zarr.open_array(tmp_path)[:, :31], LABELS)


@pytest.mark.parametrize("kind", ["numcodecs", "serializer"])
def test_zarr_orders_axes(zarr, kind, tmp_path):
    options = codecs(kind)
    if kind == "serializer":
        options["filters"] = zarr.codecs.TransposeCodec(order=(1, 0))
    else:
        options["order"] = "F"
    stored = zarr.create_array(tmp_path, shape=(24, 31), chunks=(9, 10), dtype="i4", **options)
    stored[...] = LABELS
    assert np.array_equal(zarr.open_array(tmp_path)[...], LABELS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_chunk_is_refused(zarr, kind, tmp_path):
    stored = zarr.create_array(
        tmp_path, shape=(24, 31), chunks=(24, 31), dtype="i4", **codecs(kind)
    )
    stored[...] = LABELS
    path = next(p for p in tmp_path.rglob("*") if p.is_file() and not p.name.startswith((".", "z")))
    for wrong in (
        path.read_bytes()[:-3],
        b"\x00" * 40,
        kmq.encode_labels(np.zeros((5000, 5000), np.int32)) if kind != "numcodecs" else b"\x07",
    ):
        path.write_bytes(wrong)
        with pytest.raises(FormatError):
            zarr.open_array(tmp_path)[...]


# imagecodecs


def test_functions_of_imagecodecs():
    encoded = kmq_encode(LABELS)
    assert kmq_check(encoded)
    assert not kmq_check(b"")
    assert kmq_version() == f"kmq {kmq.__version__}"
    assert np.array_equal(kmq_decode(encoded), LABELS)
    out = np.empty_like(LABELS)
    assert kmq_decode(encoded, 0, out=out) is out
    assert np.array_equal(out, LABELS)
    room = bytearray(10_000)
    filled = kmq_encode(LABELS, 1, numthreads=1, out=room)
    assert np.array_equal(kmq_decode(filled), LABELS)
    for wrong in (
        lambda: kmq_encode(LABELS, 10),
        lambda: kmq_encode(LABELS, out=bytearray(5)),
        lambda: kmq_encode(LABELS.astype(float)),
        lambda: kmq_decode(encoded, 1),
        lambda: kmq_decode(encoded, out=out[1:]),
    ):
        with pytest.raises(InputError):
            wrong()


@pytest.mark.parametrize("module", ["codecs", "numcodecs", "zarr"])
def test_docstrings_show_examples_that_run(module):
    globs = {"np": np}
    if module != "codecs":
        globs[module] = pytest.importorskip(module)
    names = importlib.import_module(f"kmq.{module}")
    ended = doctest.testmod(names, extraglobs=globs, report=True)
    assert ended.attempted
    assert not ended.failed
