"""Reading X: every dtype, layout and bit pattern, and what every pass over it finds."""

import core_tools
import numpy as np
import pytest
from core_tools import DTYPES, ISAS, guards, unchanged

from fastkm import _core
from fastkm._problem import Problem


def read(X, isa):
    """Return the values as the core reads them: each row a segment, whose minimum it is."""
    n, d = X.shape
    with guards() as array, unchanged(X):
        moments = array((n, 4, d), np.float64)
        _core.describe(_core.Points(X), np.zeros(d), moments, 0, n, 1, isa)
    assert np.array_equal(moments[:, 2], moments[:, 3])
    assert np.isfinite(moments[:, 0]).all()
    return moments[:, 2]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("width", [1, 2, 61])
def test_every_finite_half_is_read_exactly(isa, width):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    X = np.resize(halves, (-(-len(halves) // width), width))
    assert np.array_equal(read(X, isa), X.astype(np.float64))


@pytest.mark.parametrize("isa", ISAS)
def test_nonfinite_halves_are_found_one_by_one(isa):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isfinite(halves)]
    moments = np.empty((len(halves), 4, 1))
    _core.describe(_core.Points(halves[:, None]), np.zeros(1), moments, 0, len(halves), 1, isa)
    assert not np.isfinite(moments[:, 0]).any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [t for t in DTYPES if t != "f2"])
def test_every_dtype_is_read_exactly(isa, dtype, tmp_path, rng):
    shape = (37, 11)
    if dtype[0] == "f":
        X = (rng.normal(size=shape) * 10.0 ** rng.integers(-40, 38, size=shape)).astype(dtype)
        X[0, :4] = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, -0.0, -X[0, 3]
    elif dtype == "?":
        X = rng.integers(0, 2, size=shape).astype(bool)
    else:
        info = np.iinfo(dtype)
        X = rng.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)
        X[0, :2] = info.min, info.max
        # Integers of 64 bits round to float64: to nearest, also where that is a tie.
        X[1] = info.max - np.arange(11, dtype=dtype) * (512 if X.itemsize == 8 else 1)
    for name, view in core_tools.layouts(X, tmp_path):
        assert np.array_equal(read(view, isa), view.astype(np.float64)), name


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 3), (3, 17), (5, 8)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_nonfinite_value_is_found_wherever_it_stands(isa, dtype, shape, order, rng):
    for value in (np.nan, -np.nan, np.inf, -np.inf):
        for i in range(shape[0]):
            for f in range(shape[1]):
                X = np.asarray(rng.normal(size=shape), dtype=dtype, order=order)
                X[i, f] = value
                assert not Problem(X, n_threads=1, isa=isa).is_finite
    assert Problem(X * 0 if np.isfinite(X).all() else np.ones(shape, dtype), n_threads=1).is_finite


@pytest.mark.parametrize("row", [0, 1, 511, 512, 4095, 5000, 8190])
def test_nonfinite_value_is_found_in_any_segment(row):
    X = np.ones((8191, 2), dtype=np.float32)
    assert Problem(X, n_threads=2).is_finite
    X[row, 1] = np.nan
    assert not Problem(X, n_threads=2).is_finite


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize(("n", "d"), [(30_000, 250), (400, 1), (5000, 3), (1000, 7), (999, 9)])
def test_moments_are_numpys_and_do_not_depend_on_threads(isa, n_threads, n, d, rng):
    X = rng.normal(size=(n, d)).astype("f4")  # the first has enough work for four threads
    origin = rng.normal(size=d)
    with guards() as array:
        moments = array((13, 4, d), np.float64)
        _core.describe(_core.Points(X), origin, moments, 0, 13, n_threads, isa)
    for s in range(13):
        rows = X[n * s // 13 : n * (s + 1) // 13].astype(np.float64)
        differences = rows - origin
        # Sums of m values, in whatever order, are within m eps of the sum of the magnitudes.
        bound = len(rows) * 2.0**-52
        magnitudes = np.abs(differences).sum(axis=0)
        assert (np.abs(moments[s, 0] - differences.sum(axis=0)) <= bound * magnitudes).all()
        squares = (differences**2).sum(axis=0)
        assert (np.abs(moments[s, 1] - squares) <= bound * squares).all()
        assert np.array_equal(moments[s, 2], rows.min(axis=0))
        assert np.array_equal(moments[s, 3], rows.max(axis=0))
    alone = np.empty_like(moments)
    _core.describe(_core.Points(np.asfortranarray(X)), origin, alone, 0, 13, 1, "portable")
    assert np.array_equal(moments, alone)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("d", [1, 3, 7, 8, 9, 16, 35])
def test_moments_do_not_depend_on_layout_or_isa(isa, dtype, d, tmp_path, rng):
    X = (rng.normal(size=(200, d)) * 10.0 ** rng.integers(-4, 4, size=(200, d))).astype(dtype)
    X[5, 0], X[70, -1] = -0.0, np.finfo(X.dtype).smallest_subnormal
    origin = rng.normal(size=d)
    for name, view in core_tools.layouts(X, tmp_path):
        converted = np.asfortranarray(view, dtype=np.float64)  # read value by value, and copied
        moments = np.empty((2, 3, 4, d))
        _core.describe(_core.Points(view), origin, moments[0], 0, 3, 1, isa)
        _core.describe(_core.Points(converted), origin, moments[1], 0, 3, 1, "portable")
        assert moments[0].tobytes() == moments[1].tobytes(), name


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (np.zeros(3), ValueError, "2 dimensions; got 1"),
        (np.zeros((2, 2, 2)), ValueError, "2 dimensions; got 3"),
        (np.float64(3), ValueError, "2 dimensions; got 0"),
        (np.zeros((0, 3)), ValueError, "n, d"),
        (np.zeros((3, 0)), ValueError, "n, d"),
        (np.zeros((2, 2), dtype=complex), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype=np.longdouble), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype=">f8"), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype=">i4"), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype="S1"), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype="U1"), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype=[("a", "f8")]), TypeError, "native real dtype"),
        (np.zeros((2, 2), dtype=object), TypeError, "native real dtype"),
        ([[1.0]], TypeError, "bytes-like"),
        (None, TypeError, "bytes-like"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(X, error, words):
    with pytest.raises(error, match=words):
        _core.Points(X)


def test_points_hold_their_array():
    X = np.arange(12.0).reshape(4, 3)
    points = _core.Points(X)
    assert (points.n, points.d) == (4, 3)
    with pytest.raises(ValueError, match="resize"):
        X.resize((400, 3), refcheck=False)
    view = np.array(X)
    points = _core.Points(view)
    del view  # the points keep the memory alive
    moments = np.empty((1, 4, 3))
    _core.describe(points, np.zeros(3), moments, 0, 1, 1, ISAS[0])
    assert moments[0, 3].tolist() == [9, 10, 11]
