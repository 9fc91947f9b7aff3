import re
import sys
import types

import numpy as np
import pytest

import kmq
from kmq import checks
from kmq.errors import InputError


@pytest.mark.parametrize("value", [1, 10, np.int64(7), np.uint8(3)])
def test_whole_numbers_in_range_pass(value):
    number = checks.whole_number(value, "k", 1, 10)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("value", [0, 11, -5, 10**30])
def test_whole_numbers_out_of_range_are_refused(value):
    with pytest.raises(InputError, match=f"k is {value}; it must be from 1 to 10"):
        checks.whole_number(value, "k", 1, 10)


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_that_python_does_not_write_out_are_out_of_range_too(sign):
    with pytest.raises(InputError, match=r"k is -?0x\w{17,18}…; it must be from 1 to 10"):
        checks.whole_number(sign * 10**5000, "k", 1, 10)


def test_spans_of_time_are_no_numbers():
    with pytest.raises(TypeError, match="tol is timedelta64; it must be a number"):
        checks.tolerance(np.timedelta64(1, "s"))


def test_what_a_mask_hides_is_never_taken_for_values():
    hidden = np.ma.masked_greater(np.arange(12).reshape(4, 3), 10)
    with pytest.raises(InputError, match="X has 1 masked values; kmq takes no masked arrays"):
        checks.float_rows(hidden, "X")
    picture = np.ma.masked_greater(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 9)
    for door in (kmq.quantize, kmq.encode, kmq.error_curve, kmq.ColorHistogram.from_picture):
        with pytest.raises(InputError, match="picture has 2 masked values"):
            door(picture)
    with pytest.raises(InputError, match="weights has 1 masked values"):
        kmq.quantize(picture.data, 2, weights=np.ma.array(np.ones((2, 2)), mask=[[1, 0], [0, 0]]))
    nothing_hidden = np.ma.array(picture.data)
    assert kmq.quantize(nothing_hidden, 4).n_colors == 4


@pytest.mark.parametrize("value", [2.0, "2", None, [2], True, np.True_, np.float64(2)])
def test_other_types_are_no_whole_numbers(value):
    with pytest.raises(TypeError, match=r"k is .*; it must be a whole number from 1 to 10"):
        checks.whole_number(value, "k", 1, 10)


@pytest.mark.parametrize("value", [0, 0.5, 3, np.float32(0.5), np.int8(1)])
def test_tolerances_pass(value):
    assert checks.tolerance(value) == value


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, -1])
def test_negative_and_endless_tolerances_are_refused(value):
    with pytest.raises(InputError, match=r"tol is .*; it must be a finite number of at least 0"):
        checks.tolerance(value)


@pytest.mark.parametrize("value", ["0", None, True, 1j])
def test_other_types_are_no_tolerances(value):
    with pytest.raises(TypeError, match=r"tol is .*; it must be a number"):
        checks.tolerance(value)


def test_init_is_a_known_name_or_centroids():
    assert checks.init_method("random", ("random",), 2, 3) == "random"
    centroids = checks.init_method([[1, 2, 3], [4, 5, 6]], ("random",), 2, 3)
    assert centroids.dtype == np.float64
    assert centroids.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("init", "sentence"),
    [
        ("best", "init is 'best'; it must be 'random', 'var-part' or an array"),
        (np.zeros((3, 3)), "init has shape (3, 3); it must be (2, 3)"),
        (np.zeros((2, 4)), "init has shape (2, 4); it must be (2, 3)"),
        ([[1, 2, np.nan], [1, 2, 3]], "init has a value that is not finite in row 0"),
    ],
)
def test_other_inits_are_refused(init, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        checks.init_method(init, ("random", "var-part"), 2, 3)


@pytest.mark.parametrize(
    ("dtype", "computed"),
    [
        (np.bool_, np.float32),
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.uint16, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.int32, np.float64),
        (np.uint64, np.float64),
        (np.int64, np.float64),
        (np.float64, np.float64),
    ],
)
def test_points_become_floats_that_hold_them(dtype, computed):
    points = np.array([[0, 1], [1, 0], [1, 1]], dtype)
    rows = checks.float_rows(points, "points")
    assert rows.dtype == computed
    assert rows.flags.c_contiguous
    assert rows.tolist() == points.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_that_fit_are_not_copied(dtype):
    points = np.ones((3, 2), dtype)
    assert np.shares_memory(checks.float_rows(points, "points"), points)


def test_points_in_other_orders_are_copied_into_this_one():
    points = np.arange(12.0).reshape(4, 3)
    for other in (np.asfortranarray(points), points.astype(">f8"), np.repeat(points, 2, 0)[::2]):
        rows = checks.float_rows(other, "points")
        assert rows.flags.c_contiguous
        assert rows.dtype.isnative
        assert np.array_equal(rows, points)


@pytest.mark.parametrize("points", [["a"], [[1j]], np.zeros((2, 2), object), [["1", "2"]]])
def test_what_is_no_number_is_refused(points):
    with pytest.raises(TypeError, match=r"points has dtype .*; it must be bool, integer, float"):
        checks.float_rows(points, "points")


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (2, 2, 2)])
def test_points_that_are_no_table_are_refused(shape):
    sentence = f"points has shape {shape}; it must be (n, d) with both above 0"
    with pytest.raises(InputError, match=re.escape(sentence)):
        checks.float_rows(np.zeros(shape), "points")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_points_must_be_finite(dtype, value):
    points = np.zeros((9, 3), dtype)
    points[6, 1] = value
    with pytest.raises(InputError, match="points has a value that is not finite in row 6"):
        checks.float_rows(points, "points")


@pytest.mark.parametrize(
    ("dtype", "fits", "too_large"),
    [
        (np.float32, 1e18, 2e18),
        (np.float64, 1e150, 1e151),
        (np.int64, 2**53, 2**53 + 1),
        (np.uint64, 2**53, 2**64 - 1),
    ],
)
def test_points_must_leave_room_for_distances(dtype, fits, too_large):
    checks.float_rows(np.array([[fits]], dtype), "points")
    with pytest.raises(InputError, match=f"value of magnitude .*{np.dtype(dtype)} goes up to"):
        checks.float_rows(np.array([[too_large]], dtype), "points")
    if np.dtype(dtype).kind != "u":
        with pytest.raises(InputError, match="value of magnitude"):
            checks.float_rows(np.array([[-too_large]], dtype), "points")


@pytest.mark.parametrize("value", [1e19, 1e100, -1e100])
def test_rows_must_fit_the_type_they_are_computed_in(value):
    rows = np.array([[value]])
    assert checks.float_rows(rows, "centroids", np.float64)[0, 0] == value
    with pytest.raises(InputError, match=r"centroids has a value .*; float32 goes up to 1e\+18"):
        checks.float_rows(rows, "centroids", np.float32)


def test_no_weights_are_empty():
    assert checks.point_weights(None, 5).shape == (0,)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_weights_become_float64(dtype):
    weights = checks.point_weights(np.array([0, 1, 1], dtype), 3)
    assert weights.dtype == np.float64
    assert weights.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([1, 2], "weights have shape (2,); they must be (3,)"),
        ([[1, 2, 3]], "weights have shape (1, 3); they must be (3,)"),
        ([1, -1, 1], "weights have a negative or non-finite value"),
        ([1, np.nan, 1], "weights have a negative or non-finite value"),
        ([1, np.inf, 1], "weights have a negative or non-finite value"),
        ([1e308, 1e308, 1e308], "weights have a negative or non-finite value or sum"),
        ([0, 0, 0], "weights are all 0; at least one point must count"),
    ],
)
def test_other_weights_are_refused(weights, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        checks.point_weights(weights, 3)


def test_weights_must_be_numbers():
    with pytest.raises(TypeError, match="weights have dtype <U1; they must be real numbers"):
        checks.point_weights(["1", "2", "3"], 3)


def test_numpys_masks_may_just_be_imported_by_another_thread(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy.ma", types.ModuleType("numpy.ma"))
    assert checks.as_array([1, 2], "values").tolist() == [1, 2]
