"""What must not change when the data is moved, scaled, permuted or repeated: from given centres.

Values are whole multiples of 2^-10 of at most 20 bits, so that every shift and scale below is exact
in float32 as well. A case in which some row is nearly as close to its second centroid in some round
is left out: there rounding may choose the path, of the oracle as well as of any k-means.
"""

import numpy as np
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastkm import KMeans

# Rounding of the centres is below 1e-12 of the largest magnitude, and after the shifts below the
# largest magnitude is at most 2^13 times the spread.
CLEAR_GAP = 1e-4

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 20), st.integers(1, 9)).filter(
    lambda sizes: sizes[2] <= sizes[0]
)


@st.composite
def problems(draw):
    """Return (X, first centroids, the oracle's fit) with one clear path to the end."""
    n, d, k = draw(SIZES)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = (generator.integers(-(2**10), 2**10, size=(n, d)) / 2**10).astype(dtype)
    init = X[generator.permutation(n)[:k]].astype(np.float64)
    oracle = reference.lloyd(X, init, tol=0, max_iter=30)
    assume(oracle.gap > CLEAR_GAP)
    # No relocation and no doubled centroid: which row an empty cluster gets may be a tie.
    assume(len(np.unique(oracle.labels)) == k)
    assume(len(np.unique(init, axis=0)) == k)
    return X, init, oracle


def fit(X, init, sample_weight=None):
    return KMeans(len(init), init=init, tol=0, max_iter=30).fit(X, sample_weight=sample_weight)


def assert_centres(kmeans, expected, X):
    # float32 centres are rounded once from right to 1e-12: half a unit in the last place and a bit.
    unit = 1e-12 if X.dtype == np.float64 else 2**-23
    bound = unit * np.abs(np.asarray(X, dtype=np.float64)).max(axis=0)
    assert (np.abs(kmeans.cluster_centers_ - expected) <= bound).all()


@given(problem=problems())
@settings(max_examples=60, deadline=None)
def test_result_is_the_oracles(problem):
    X, init, oracle = problem
    kmeans = fit(X, init)
    assert np.array_equal(kmeans.labels_, oracle.labels)
    assert kmeans.n_iter_ == oracle.n_iter
    assert_centres(kmeans, oracle.centroids, X)


@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_permuting_rows_permutes_labels_and_keeps_every_bit_of_the_centres(problem, seed):
    X, init, _ = problem
    order = np.random.default_rng(seed).permutation(len(X))
    kmeans, permuted = fit(X, init), fit(X[order], init)
    assert np.array_equal(permuted.labels_, kmeans.labels_[order])
    assert np.array_equal(permuted.cluster_centers_, kmeans.cluster_centers_)
    assert permuted.n_iter_ == kmeans.n_iter_


@given(n=st.integers(2, 600), d=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_permuting_rows_keeps_every_bit_of_sums_that_round(n, d, seed):
    # Normals fill their mantissas: added one by one in double, their sum depends on the order.
    generator = np.random.default_rng(seed)
    X = generator.normal(loc=3, size=(n, d))
    init = X[: min(n, 3)].copy()
    kmeans, permuted = fit(X, init), fit(X[generator.permutation(n)], init)
    assert np.array_equal(permuted.cluster_centers_, kmeans.cluster_centers_)


@given(problem=problems(), shifts=st.lists(st.integers(-(2**12), 2**12), min_size=20, max_size=20))
@settings(max_examples=60, deadline=None)
def test_translating_moves_the_centres_and_keeps_the_labels(problem, shifts):
    X, init, oracle = problem
    shift = np.array(shifts[: X.shape[1]], dtype=X.dtype)
    moved = X + shift
    assert np.array_equal(moved - shift, X)  # the shift is exact
    kmeans = fit(moved, init + shift)
    assert kmeans.n_iter_ == oracle.n_iter
    assert_centres(kmeans, oracle.centroids + shift, moved)
    if X.dtype == np.float64:  # float32 centres are rounded, and may part a row otherwise
        assert np.array_equal(kmeans.labels_, oracle.labels)


@given(problem=problems(), exponent=st.integers(-60, 60))
@settings(max_examples=60, deadline=None)
def test_scaling_by_a_power_of_two_scales_centres_and_inertia(problem, exponent):
    X, init, _ = problem
    scale = X.dtype.type(2.0**exponent)
    kmeans, scaled = fit(X, init), fit(X * scale, init * 2.0**exponent)
    assert np.array_equal(scaled.labels_, kmeans.labels_)
    assert np.array_equal(scaled.cluster_centers_, kmeans.cluster_centers_ * scale)
    assert scaled.inertia_ == kmeans.inertia_ * 4.0**exponent
    assert scaled.n_iter_ == kmeans.n_iter_


@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_repeating_rows_equals_weighting_them(problem, seed):
    X, init, _ = problem
    times = np.random.default_rng(seed).integers(1, 5, size=len(X))
    oracle = reference.lloyd(X, init, times, tol=0, max_iter=30)
    assume(oracle.gap > CLEAR_GAP)
    assume(len(np.unique(oracle.labels)) == len(init))
    weighted, repeated = fit(X, init, sample_weight=times), fit(np.repeat(X, times, axis=0), init)
    assert np.array_equal(np.repeat(weighted.labels_, times), repeated.labels_)
    assert weighted.n_iter_ == repeated.n_iter_
    assert_centres(weighted, oracle.centroids, X)
    assert_centres(repeated, oracle.centroids, X)
    np.testing.assert_allclose(weighted.inertia_, repeated.inertia_, rtol=1e-12, atol=0)


@given(problem=problems(), exponent=st.integers(-40, 40))
@settings(max_examples=40, deadline=None)
def test_scaling_the_weights_scales_the_inertia_only(problem, exponent):
    X, init, _ = problem
    weights = np.random.default_rng(len(X)).integers(1, 9, size=len(X)).astype(float)
    kmeans, scaled = fit(X, init, weights), fit(X, init, weights * 2.0**exponent)
    assert np.array_equal(scaled.labels_, kmeans.labels_)
    assert np.array_equal(scaled.cluster_centers_, kmeans.cluster_centers_)
    assert scaled.inertia_ == kmeans.inertia_ * 2.0**exponent


@given(problem=problems())
@settings(max_examples=40, deadline=None)
def test_rows_one_by_one_get_the_labels_they_get_together(problem):
    X, init, _ = problem
    kmeans = fit(X, init)
    one_by_one = [kmeans.predict(row[None])[0] for row in X]
    assert np.array_equal(one_by_one, kmeans.labels_)
