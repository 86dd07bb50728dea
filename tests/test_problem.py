"""What is known of X before a fit: its moments, its coordinates, its slices."""

import math
from itertools import pairwise

import numpy as np
import pytest
from core_tools import DTYPES, ISAS, layouts, unchanged

from fastkm import _core, _problem
from fastkm._problem import Problem, Slices

FACTS = ["mean", "variance", "shift", "sum_scale", "low_scale", "exact_scale", "is_finite"]


def facts(problem):
    return {name: np.asarray(getattr(problem, name)).tolist() for name in FACTS}


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("offset", [0, 1e6])
def test_mean_and_variance_are_the_columns(n, offset, rng):
    X = rng.normal(size=(n, 3)) * [1, 100, 1e-3] + offset
    with unchanged(X):
        problem = Problem(X, n_threads=1)
    for f in range(3):
        column = X[:, f].tolist()
        mean = math.fsum(column) / n
        variance = math.fsum((x - mean) ** 2 for x in column) / n
        # Sums of n differences from a point of the data near its middle: eps each of the largest.
        reach = np.ptp(X[:, f]) + 1e-300
        eps = 2.0**-52
        assert abs(problem.mean[f] - mean) <= n * eps * reach + eps * abs(mean)
        assert abs(problem.variance[f] - variance) <= 4 * n * eps * reach**2 + eps * offset * reach


def test_constant_columns_have_their_mean_and_no_variance():
    X = np.full((1000, 4), [0.1, -3.7, 0.0, 1e17])
    X[:, 2] = np.arange(1000)
    problem = Problem(X, n_threads=1)
    assert problem.mean[[0, 1, 3]].tolist() == [0.1, -3.7, 1e17]
    assert problem.variance[[0, 1, 3]].tolist() == [0, 0, 0]
    assert problem.variance[2] == pytest.approx((1000**2 - 1) / 12, rel=1e-12)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 16])
@pytest.mark.parametrize("isa", ISAS)
def test_nothing_depends_on_n_threads_or_instruction_set(isa, n_threads, rng):
    X = rng.normal(size=(9000, 700))
    expected = facts(Problem(X, n_threads=1, isa="portable"))
    assert facts(Problem(X, n_threads=n_threads, isa=isa)) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_depends_on_dtype_or_layout(dtype, rng, tmp_path):
    X = rng.integers(0, 2, size=(1500, 5)).astype(dtype)
    for name, view in layouts(X, tmp_path):
        expected = facts(Problem(np.ascontiguousarray(view, dtype=np.float64), n_threads=1))
        problem = Problem(view, n_threads=1)
        assert facts(problem) == expected, name
        assert problem.points.is_narrow == (dtype in ("f2", "f4", "i1", "u1", "i2", "u2", "?"))


@pytest.mark.parametrize("n", [1, 2, 4096, 4097, 100_000])
@pytest.mark.parametrize("magnitude", [1e-300, 1e-5, 1.0, 255.0, 3e9, 1e300])
def test_sums_of_all_rows_fit_the_limbs(n, magnitude):
    X = np.full((n, 1), magnitude)
    X[0] = -magnitude
    problem = Problem(X, n_threads=1)
    limb = magnitude * problem.sum_scale[0]
    assert limb <= 2**50
    assert limb * n < 2**62
    # And no bits are given away, but where float64 has no larger scale.
    assert limb > 2**48 / n or problem.sum_scale[0] == 2.0**1023
    assert problem.low_scale <= 2**50
    assert math.frexp(problem.low_scale)[0] == math.frexp(problem.sum_scale[0])[0] == 0.5


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "f4", "f8"])
def test_centring_leaves_integers_exact(dtype, rng):
    # The shift has at most ten bits more than the data's reach: x - shift is exact in float32.
    X = (rng.integers(0, 200, size=(999, 6)) + 17 * (dtype != "u1")).astype(dtype)
    shift = Problem(X, n_threads=1).shift
    centred = X.astype(np.float64) - shift
    assert np.array_equal(centred.astype(np.float32).astype(np.float64), centred)
    assert (np.abs(shift - X.astype(np.float64).mean(axis=0)) < 1).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-130, 1e-25, 1, 1e25, 1e130, 1e200, 8e307])
def test_squares_stay_in_range(scale, rng):
    X = rng.choice([-1.0, 0.5, 1.0], size=(50, 3)) * scale
    problem = Problem(X, n_threads=1)
    largest = 2 * np.abs(X).max() * problem.exact_scale
    assert 1e-280 < largest**2 * 3 < 1e280
    assert np.isfinite(problem.mean).all()


def test_a_reach_beyond_float64_is_survived():
    X = np.array([[-1.79e308], [1.79e308], [1.79e308]])
    problem = Problem(X, n_threads=1)
    assert problem.is_finite
    assert np.isfinite(problem.mean).all()
    assert (np.abs(X * problem.exact_scale) < 1e100).all()


def test_a_value_large_beside_its_reach_stays_finite(rng):
    X = np.column_stack([np.full(30, 1e200), rng.normal(size=30) * 1e-125])
    problem = Problem(X, n_threads=1)
    assert np.isfinite(X * problem.exact_scale).all()
    assert (problem.variance[1] * problem.exact_scale) * problem.exact_scale > 1e-250


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("weights", [None, "one", "equal", "any"])
def test_weighted_sum_is_the_sum(n, weights, rng):
    sample_weight = {None: None, "one": np.ones(n), "equal": np.full(n, 0.3),
                     "any": rng.uniform(size=n)}[weights]  # fmt: skip
    problem = Problem(rng.normal(size=(n, 2)), sample_weight, n_threads=1)
    sq_dists = rng.uniform(size=n)
    products = sq_dists * (1 if sample_weight is None else sample_weight)
    expected = math.fsum(products)
    # Sums of 256 positive values, and a product.
    assert abs(problem.weighted_sum(sq_dists) - expected) <= 258 * 2.0**-53 * expected
    is_uniform = weights != "any" or n == 1
    assert (problem.uniform_weight is not None) == is_uniform


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_weighted_sum_of_extreme_values_neither_raises_nor_turns_nan(scale):
    problem = Problem(np.array([[1.0], [2.0], [4.0]]) * scale, n_threads=1)
    # Beyond float64's range, as the squares of X's unit are.
    assert problem.weighted_sum(np.ones(3)) == (0 if scale < 1 else math.inf)


@pytest.mark.parametrize("n", [1, 255, 256, 257, 10_000])
@pytest.mark.parametrize("row_work", [1.0, 1e3, 1e12])
def test_slices_cover_the_rows_in_whole_blocks(n, row_work):
    slices = list(Slices(n, _core.BLOCK_ROWS, row_work))
    assert slices[0][0] == 0
    assert slices[-1][1] == n
    for (_, stop), (start, _) in pairwise(slices):
        assert stop == start
        assert start % _core.BLOCK_ROWS == 0


def test_a_slice_takes_its_time_and_no_more(monkeypatch):
    # A clock that a machine of 1e9 multiplications a second moves.
    clock, row_work, n = [0.0], 1e4, 2_000_000
    monkeypatch.setattr(_problem, "perf_counter", lambda: clock[0])
    times = []
    for start, stop in Slices(n, _core.BLOCK_ROWS, row_work):
        times.append((stop - start) * row_work / 1e9)
        clock[0] += times[-1]
    block = _core.BLOCK_ROWS * row_work / 1e9
    assert max(times) <= max(2 * _problem.SLICE_SECONDS, block)
    # Whole blocks from the second slice on; the last one is what is left.
    assert all(t > _problem.SLICE_SECONDS - block for t in times[1:-1])


def test_rows_are_float64_copies(rng):
    X = rng.integers(0, 9, size=(20, 3)).astype("u1")
    problem = Problem(X, n_threads=1)
    rows = problem.rows([3, 3, 19])
    assert rows.dtype == np.float64
    assert np.array_equal(rows, X[[3, 3, 19]])
    rows[:] = -1
    assert X.min() >= 0
