import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_tree
from images import indexed_image
from kmq.errors import FormatError
from kmq.model.pixel_format import PixelFormat
from kmq.stages.coding import palette_tree


def decoded(coded, palette):
    return palette_tree.decode(coded, len(palette), palette.shape[1], palette.dtype)


def plainly(coded, palette):
    entries = plain_tree.decode_entries(coded, *palette.shape, palette.itemsize)
    return np.array(entries, palette.dtype)


def naive_key(entry, sample_bits):
    order = {1: [0], 2: [1, 0], 3: [1, 0, 2], 4: [3, 1, 0, 2]}[len(entry)]
    bits = [f"{sample:0{sample_bits}b}" for sample in entry]
    return "".join(bits[channel][level] for level in range(sample_bits) for channel in order)


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("n_colors", [1, 2, 3, 64, 300])
def test_entries_in_order_come_back_in_both_decoders(pixel_format, n_colors):
    palette = palette_tree.ascending(indexed_image(pixel_format, n_colors, 1, 1).palette)
    coded = palette_tree.encode(palette)
    assert np.array_equal(decoded(coded, palette), palette)
    assert decoded(coded, palette).dtype == palette.dtype
    assert np.array_equal(plainly(coded, palette), palette)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([PixelFormat.GREY16, PixelFormat.GREY8_ALPHA, PixelFormat.RGB24])
    | st.sampled_from([PixelFormat.RGBA32, PixelFormat.RGBA64]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 16),
)
def test_close_and_equal_entries_come_back(pixel_format, seed, n_colors, n_bits):
    random = np.random.default_rng(seed)
    most = min(1 << n_bits, pixel_format.max_value + 1)
    samples = random.integers(0, most, (n_colors, pixel_format.channels))
    samples[random.random(n_colors) < 0.3] = pixel_format.max_value
    palette = palette_tree.ascending(samples.astype(pixel_format.dtype))
    coded = palette_tree.encode(palette)
    assert np.array_equal(decoded(coded, palette), palette)
    assert np.array_equal(plainly(coded, palette), palette)


@pytest.mark.parametrize(("n_colors", "channels"), [(65_536, 1), (5000, 3)])
def test_large_palettes_come_back(n_colors, channels):
    random = np.random.default_rng(0)
    palette = palette_tree.ascending(
        random.integers(0, 65_536, (n_colors, channels)).astype(np.uint16)
    )
    assert np.array_equal(decoded(palette_tree.encode(palette), palette), palette)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_ascending_is_the_order_of_interleaved_bits(dtype, channels):
    palette = np.random.default_rng(channels).integers(0, 256, (50, channels)).astype(dtype)
    expected = sorted(palette.tolist(), key=lambda entry: naive_key(entry, 8 * palette.itemsize))
    assert palette_tree.ascending(palette).tolist() == expected


def test_entries_in_another_order_are_not_coded():
    palette = np.array([[3], [9], [8]], np.uint8)
    assert palette_tree.encode(palette) is None
    assert palette_tree.encode(palette_tree.ascending(palette)) is not None


def test_a_palette_in_order_takes_what_its_order_leaves():
    random = np.random.default_rng(0)
    palette = palette_tree.ascending(random.integers(0, 256, (256, 3), np.uint8))
    # 768 bytes less log2 256! = 210 of them, and little for what there is to find out
    assert len(palette_tree.encode(palette)) <= 768 - 195


def test_grey_and_opaque_entries_take_little():
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None], 4, axis=1)
    ramp[:, 3] = 255
    assert len(palette_tree.encode(ramp)) < 48


def test_bytes_left_over_are_refused_and_missing_ones_are_zeros():
    palette = palette_tree.ascending(indexed_image(PixelFormat.RGB24, 20, 1, 1).palette)
    coded = palette_tree.encode(palette)
    assert not coded.endswith(b"\0")
    assert np.array_equal(decoded(coded + b"\0", palette), palette)
    with pytest.raises(FormatError, match="bytes follow the last entry"):
        decoded(coded + bytes(8), palette)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 50), st.integers(1, 4), st.sampled_from([1, 2]))
def test_any_bytes_are_the_same_entries_in_both_decoders_or_refused_by_both(
    coded, n_colors, channels, itemsize
):
    dtype = np.dtype(f"u{itemsize}")
    try:
        entries = palette_tree.decode(coded, n_colors, channels, dtype)
    except FormatError:
        with pytest.raises(ValueError, match="bytes after"):
            plain_tree.decode_entries(coded, n_colors, channels, itemsize)
    else:
        plain = plain_tree.decode_entries(coded, n_colors, channels, itemsize)
        assert entries.tolist() == [list(entry) for entry in plain]
        assert np.array_equal(palette_tree.ascending(entries), entries)


def test_the_example_of_the_document():
    palette = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)
    assert palette_tree.encode(palette) == bytes.fromhex("C7 1C 8D C9 55 07")
