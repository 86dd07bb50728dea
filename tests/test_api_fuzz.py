"""Any call of the estimators: a documented error that leaves no trace, or a right answer.

Hypothesis draws parameters, valid and not, and rows, weights and first centroids of every kind that
Python can hand over. Right is what the float64 oracle of `reference` says of the centroids found;
where squares leave float64's range, what long doubles say to within rounding.

The suite draws the same every time. Others, and more, are drawn by
FASTKM_FUZZ_EXAMPLES=20000 pytest -o faulthandler_timeout=0 tests/test_api_fuzz.py
"""

import os

import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastkm import KMeans, MiniBatchKMeans, kmeans_plusplus

# What is drawn may warn, here and there; the tests of each warning are elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = os.environ.get("FASTKM_FUZZ_EXAMPLES")
many = settings(
    max_examples=int(EXAMPLES or 300),
    derandomize=EXAMPLES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# What the docstrings promise to raise, and what a callable of ours raises.
DOCUMENTED = (ValueError, TypeError)


class CallableError(Exception):
    pass


NUMBERS = ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]
ODD_DTYPES = [">f8", ">f4", ">i2", "g", "O", "c16", "U3", "S2", "m8[s]"]

# Sizes about the edges of the kernels' panels and tiles; now and then what makes work for bounds.
SIZES = st.one_of(
    st.tuples(st.integers(0, 40), st.integers(0, 9)),
    st.tuples(st.sampled_from([63, 64, 65, 255, 256, 257, 700]), st.sampled_from([1, 2, 4, 5, 17])),
    st.tuples(st.sampled_from([1500, 3000]), st.sampled_from([2, 6, 65])),
)


def values(rng, shape, style):
    """Finite float64 values, hostile in one way or another."""
    if style == "integers":  # ties
        return rng.integers(-3, 4, size=shape).astype(float)
    if style == "one":
        return np.full(shape, rng.normal())
    if style == "blobs":
        return rng.integers(0, 5, size=(shape[0], 1)) * 30.0 + rng.normal(size=shape)
    if style == "far":
        return 1e7 + rng.normal(size=shape)
    if style == "scales":
        return rng.normal(size=shape) * 10.0 ** rng.integers(-300, 300, size=shape)
    if style == "huge":
        return rng.uniform(-1, 1, size=shape) * 1.7e308
    if style == "tiny":
        return rng.normal(size=shape) * 1e-310
    return rng.normal(size=shape)


STYLES = ["normal", "integers", "one", "blobs", "far", "scales", "huge", "tiny"]


def cast(X, dtype):
    """X in the dtype, and finite if it is a float."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.clip(X, -np.finfo(dtype).max, np.finfo(dtype).max).astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(X), limits.min / 2, limits.max / 2).astype(dtype)
    if dtype.kind == "m":
        return np.clip(X, -1e9, 1e9).astype(np.int64).astype(dtype)
    return X.astype(dtype)


def laid_out(X, layout):
    """X's values elsewhere in memory."""
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "reversed":
        return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    if layout == "strided":
        wide = np.zeros((2 * X.shape[0], 3 * X.shape[1]), dtype=X.dtype)
        wide[::2, 1::3] = X
        return wide[::2, 1::3]
    if layout == "misaligned":
        storage = np.zeros(X.nbytes + 1, dtype=np.uint8)
        if X.dtype.hasobject:
            return X
        moved = np.frombuffer(storage.data, dtype=X.dtype, offset=1, count=X.size).reshape(X.shape)
        moved[...] = X
        return moved
    if layout == "read-only":
        X = X.copy()
        X.flags.writeable = False
    return X


LAYOUTS = ["C", "F", "reversed", "strided", "misaligned", "read-only"]
CONTAINERS = ["array"] * 6 + ["list", "frame", "1-D", "3-D", "matrix", "masked"]
FORMATS = ["csr", "csr", "csr", "csc", "coo", "lil", "dok"]


@st.composite
def dense(draw, n=None, d=None):
    sizes = draw(SIZES)
    shape = sizes[0] if n is None else n, sizes[1] if d is None else d
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(NUMBERS * 3 + ODD_DTYPES))
    X = cast(values(rng, shape, draw(st.sampled_from(STYLES))), dtype)
    if X.size and X.dtype.kind == "f" and draw(st.integers(0, 5)) == 0:
        X.flat[rng.integers(X.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    X = laid_out(X, draw(st.sampled_from(LAYOUTS)))
    container = draw(st.sampled_from(CONTAINERS))
    if container == "list":
        return X.tolist()
    if container == "frame":
        return pd.DataFrame(np.asarray(X, dtype=X.dtype.newbyteorder("=")))
    if container == "matrix":
        return np.matrix(X)
    if container == "masked":
        return np.ma.masked_array(X)
    return {"1-D": X.ravel(), "3-D": X[None]}.get(container, X)


@st.composite
def sparse(draw, n=None, d=None):
    """CSR with columns in any order, twice, of either width, zeros stored; or broken."""
    sizes = draw(SIZES)
    n, d = sizes[0] if n is None else n, sizes[1] if d is None else d
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = values(rng, (n, d), draw(st.sampled_from(STYLES)))
    X[rng.random((n, d)) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = 0
    dtype = draw(st.sampled_from(["f4", "f8", "f8", "i4", "?", "g"]))
    rows = scipy.sparse.csr_array(cast(X, dtype))
    if draw(st.booleans()):
        rows = scipy.sparse.csr_matrix(rows)
    width = draw(st.sampled_from([np.int32, np.int64]))
    rows.indices, rows.indptr = rows.indices.astype(width), rows.indptr.astype(width)
    order = draw(st.sampled_from(["sorted", "sorted", "reversed", "twice", "read-only"]))
    if order == "reversed":
        for i in range(n):
            here = slice(rows.indptr[i], rows.indptr[i + 1])
            rows.indices[here], rows.data[here] = rows.indices[here][::-1], rows.data[here][::-1]
        rows.has_sorted_indices = False
    if order == "twice" and rows.nnz:
        made = type(rows)(
            (np.repeat(rows.data, 2), np.repeat(rows.indices, 2), 2 * rows.indptr),
            shape=rows.shape,
        )
        made.has_canonical_format = False
        rows = made
    if order == "read-only":
        for array in (rows.data, rows.indices, rows.indptr):
            array.flags.writeable = False
    elif rows.nnz and draw(st.integers(0, 7)) == 0:
        broken = draw(st.sampled_from(["column", "negative", "start", "short", "nan"]))
        at = rng.integers(rows.nnz)
        if broken == "column":
            rows.indices[at] = d + draw(st.integers(0, 10**6))
        elif broken == "negative":
            rows.indices[at] = -1 - draw(st.integers(0, 10**6))
        elif broken == "start":
            rows.indptr[rng.integers(1, n + 1)] = draw(st.sampled_from([-1, 10**9]))
        elif broken == "short":
            rows.data = rows.data[:-1]
        elif rows.dtype.kind == "f":
            rows.data[at] = np.nan
        return rows
    return getattr(rows, "to" + draw(st.sampled_from(FORMATS)))()


def shape_of(X):
    """(n, d) of what is 2-D, else something."""
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    return (*shape, 1, 1)[:2]


@st.composite
def weights(draw, n):
    kind = draw(st.sampled_from(["none"] * 4 + ["good"] * 4 + ["odd", "bad"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "none":
        return None
    if kind == "good":
        made = rng.integers(0, 4, size=n) * draw(st.sampled_from([1, 0.3, 1e-300, 1e290, 2.5]))
        return made.tolist() if draw(st.booleans()) else made
    if kind == "odd":
        return draw(
            st.sampled_from(
                [np.ones(n, "i1"), np.zeros(n), 2, 0, np.ones(n)[::-1], pd.Series(np.ones(n))]
            )
        )
    value = draw(st.sampled_from([np.nan, np.inf, -1.0, "x", None, 1.7e308, 1j]))
    made = [1.0] * n
    if n:
        made[-1] = value
    return draw(st.sampled_from([made, np.ones(n + 1), np.ones((n, 2)), "abc", {}, [1.7e308] * n]))


def good_callable(X, n_clusters, random_state):
    rows = X.toarray() if scipy.sparse.issparse(X) else X
    return rows[random_state.permutation(len(rows))[:n_clusters]]


def short_callable(X, n_clusters, random_state):
    return np.zeros((n_clusters, 99))


def nan_callable(X, n_clusters, random_state):
    return np.full((n_clusters, X.shape[1]), np.nan)


def raising_callable(X, n_clusters, random_state):
    raise CallableError


def writing_callable(X, n_clusters, random_state):
    (X.data if scipy.sparse.issparse(X) else X)[0] = 0
    return np.zeros((n_clusters, X.shape[1]))


CALLABLES = [good_callable, short_callable, nan_callable, raising_callable, writing_callable]


# Of both estimators and of kmeans_plusplus; one that is not asked for spoils nothing.
SPOILABLE = [
    *["n_clusters", "n_init", "max_iter", "tol", "random_state", "n_threads", "init"],
    *["algorithm", "copy_x", "n_local_trials"],
    *["batch_size", "reassignment_ratio", "init_size", "max_no_improvement"],
]


@st.composite
def values_of_parameters(draw):
    """Draw from good values, but for one parameter at most: a call stops at the first bad one."""
    spoilt = draw(st.sampled_from([None] * 30 + SPOILABLE))
    return lambda name, good, bad: draw(st.sampled_from(bad if name == spoilt else good))


@st.composite
def parameters(draw, cls, X):
    one_of = draw(values_of_parameters())
    n, d = shape_of(X)
    n_clusters = one_of(
        "n_clusters",
        [1, 2, 3, 5, 8, 9, np.int64(4), max(n, 1), 33],
        [0, -1, 2.0, "3", None, True, 10**9],
    )
    made = {
        "n_clusters": n_clusters,
        "n_init": one_of("n_init", [1, 2, "auto"], [0, -1, "x", None, 1.0]),
        "max_iter": one_of("max_iter", [1, 2, 20], [0, -1, 1.5, None]),
        "tol": one_of("tol", [0.0, 1e-4, 0.1, 1e300], [-1.0, np.nan, np.inf, "x"]),
        "random_state": one_of("random_state", [0, 1, 2**32 - 1], [-1, "x", 1.5, 2**32]),
        "n_threads": one_of("n_threads", [None, 1, 2, 3], [0, -1, 1.5, "x", 10**7]),
    }
    init = one_of("init", ["k-means++", "random", "array", "array", "callable"], ["bad"])
    if init == "array":
        shape = (n_clusters if type(n_clusters) is int and 0 < n_clusters < 99 else 2), d
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        style, dtype = draw(st.sampled_from(STYLES)), draw(st.sampled_from(["f8", "f4", "i4"]))
        init = cast(values(rng, shape, style), dtype)
        if init.size and init.dtype.kind == "f" and draw(st.integers(0, 9)) == 0:
            init[0, 0] = np.nan
    elif init == "callable":
        init = draw(st.sampled_from([good_callable] * 5 + CALLABLES))
    elif init == "bad":
        init = draw(st.sampled_from(["", "k-means", None, 3, [[1]], np.zeros((0, 0)), np.zeros(3)]))
    made["init"] = init
    if cls is KMeans:
        made["algorithm"] = one_of("algorithm", ["lloyd", "elkan", "auto"], ["full", None])
        made["copy_x"] = one_of("copy_x", [True, False], ["x"])
    else:
        made["batch_size"] = one_of("batch_size", [1, 7, 100, 10**6], [0, -1, 1.5])
        made["reassignment_ratio"] = one_of(
            "reassignment_ratio", [0.0, 0.01, 1.0, 100.0], [-1.0, "x"]
        )
        made["init_size"] = one_of("init_size", [None, 1, 30], [0, "x"])
        made["max_no_improvement"] = one_of("max_no_improvement", [None, 0, 3], [-1, 0.5])
    return made


def bytes_of(given):
    """What must be the same after a call."""
    if scipy.sparse.issparse(given):
        if given.format in ("csr", "csc"):
            return given.data.tobytes(), given.indices.tobytes(), given.indptr.tobytes()
        return bytes_of(given.toarray())
    if isinstance(given, pd.DataFrame | pd.Series):
        return bytes_of(given.to_numpy())
    if isinstance(given, np.ndarray) and given.dtype.char == "g":
        return given.astype(np.float64).tobytes()  # a long double has bytes that say nothing
    if isinstance(given, np.ndarray) and not given.dtype.hasobject:
        return given.tobytes()
    return repr(given)


def state_of(estimator):
    return {
        name: (id(value), bytes_of(value) if isinstance(value, np.ndarray) else repr(value))
        for name, value in vars(estimator).items()
    }


def as_float64(X):
    if scipy.sparse.issparse(X):  # entries of one place are added: as bools by SciPy's conversion
        return X.tocsr().astype(np.float64).toarray()  # to CSR, and as numbers of CSR
    rows = np.asarray(X)
    # scikit-learn's conversion of what is no number yet, long doubles among it, is by way of this.
    return rows.astype(np.float64)


def is_moderate(*arrays):
    """Whether squares and their sums stay far inside float64's range."""
    sizes = np.abs(np.concatenate([np.ravel(array) for array in arrays]))
    sizes = sizes[sizes > 0]
    return bool(sizes.size == 0 or (sizes.max() < 1e100 and sizes.min() > 1e-100))


def long_sq_dists(X, centroids):
    differences = X[:, None].astype(np.longdouble) - centroids[None].astype(np.longdouble)
    return (differences**2).sum(axis=2)


def assert_labels(labels, X, centroids):
    centroids = np.asarray(centroids, dtype=np.float64)
    assert labels.dtype == np.int32
    assert labels.shape == (len(X),)
    assert labels.min() >= 0
    assert labels.max() < len(centroids)
    if is_moderate(X, centroids):
        assert np.array_equal(labels, reference.assign(X, centroids))
        return
    for start in range(0, len(X), 256):
        sq_dists = long_sq_dists(X[start : start + 256], centroids)
        own = sq_dists[np.arange(len(sq_dists)), labels[start : start + 256]]
        least = sq_dists.min(axis=1)
        # (d + 4) roundings of each, and what a common scale sends below float64's least number.
        slack = 2 * (X.shape[1] + 4) * 2.0**-52
        flushed = (np.abs(X).max() + np.abs(centroids).max()).astype(np.longdouble) ** 2 * 2.0**-900
        assert (own <= least * (1 + slack) + X.shape[1] * (flushed + np.finfo(float).tiny)).all()


def long_inertia(X, labels, centroids, sample_weight):
    own = np.asarray(centroids, dtype=np.longdouble)[labels]
    sq_dists = ((X.astype(np.longdouble) - own) ** 2).sum(axis=1)
    if sample_weight is None:
        return sq_dists.sum()
    return (sq_dists * (np.ones(len(X)) * np.asarray(sample_weight, dtype=np.float64))).sum()


def assert_close(value, expected, X, sample_weight):
    """To within rounding; what float64 cannot hold, or not beside the largest, is infinite or 0."""
    with np.errstate(over="ignore"):
        exact, expected = expected, float(expected)
        total = len(X) if sample_weight is None else np.sum(np.ones(len(X)) * sample_weight)
        largest = np.longdouble(np.abs(X).max(initial=1))
        vanished = X.shape[1] * np.longdouble(total) * largest**2 * np.finfo(float).tiny
        if exact <= vanished:
            assert 0 <= value <= 2 * vanished
            return
    vanished = float(min(vanished, 1e300))
    assert value == pytest.approx(expected, rel=1e-7, abs=max(vanished, 1e-300))


def assert_right(estimator, X, sample_weight, is_full, n_clusters):
    rows = as_float64(X)
    centroids = estimator.cluster_centers_
    assert np.isfinite(centroids).all()
    assert centroids.shape == (n_clusters, rows.shape[1])
    assert estimator.n_features_in_ == rows.shape[1]
    assert_labels(estimator.predict(X), rows, centroids)
    assert np.array_equal(estimator.predict(X), estimator.labels_)
    expected = long_inertia(rows, estimator.labels_, centroids, sample_weight)
    if is_full and is_moderate(rows, centroids):
        # float32 centroids are rounded after the inertia has been taken.
        is_single = centroids.dtype == np.float32
        spread = np.abs(rows).max() ** 2 * rows.size if is_single else 0
        assert estimator.inertia_ == pytest.approx(float(expected), rel=1e-7, abs=1e-6 * spread)
    score = estimator.score(X, sample_weight=sample_weight)
    assert_close(-score, expected, rows, sample_weight)
    distances = estimator.transform(X)
    assert distances.shape == (len(rows), n_clusters)
    assert (distances >= 0).all()
    if is_moderate(rows, centroids):
        expected = np.sqrt(reference.sq_dists(rows, centroids))
        most = np.finfo(distances.dtype).max
        assert (distances[expected > 0.9 * most] > 0.8 * most).all()
        near = expected <= 0.9 * most
        spread = 1e-6 * expected[near].max(initial=0)
        assert np.allclose(distances[near], expected[near], rtol=1e-6, atol=spread)


ROWS = st.one_of(dense(), dense(), sparse())


def call(function, *args, **kwargs):
    """Return the documented exception that came, or None."""
    try:
        function(*args, **kwargs)
    except (*DOCUMENTED, CallableError) as error:
        if not str(error) and not isinstance(error, CallableError):
            raise
        return error
    return None


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
@given(data=st.data())
@many
def test_a_fit_is_right_or_an_error_without_a_trace(cls, data):
    X = data.draw(ROWS, label="X")
    sample_weight = data.draw(weights(shape_of(X)[0]), label="weights")
    options = data.draw(parameters(cls, X), label="parameters")
    estimator = cls(**options)
    is_fitted = data.draw(st.booleans(), label="is fitted already")
    if is_fitted:
        estimator.set_params(**cls(2, n_init=1, random_state=0).get_params())
        estimator.fit(np.arange(12.0).reshape(6, 2) ** 2)
        estimator.set_params(**options)
    method = "fit"
    if cls is MiniBatchKMeans and data.draw(st.integers(0, 3)) == 0:
        method = "partial_fit"
    given_bytes = [bytes_of(array) for array in (X, sample_weight, options["init"])]
    before = state_of(estimator)
    error = call(getattr(estimator, method), X, sample_weight=sample_weight)
    assert [bytes_of(array) for array in (X, sample_weight, options["init"])] == given_bytes
    if error is not None:
        assert state_of(estimator) == before
        return
    # A fitted estimator learns on with the centroids that it has.
    n_clusters = 2 if is_fitted and method == "partial_fit" else estimator.n_clusters
    rows = X.copy() if scipy.sparse.issparse(X) else X  # which SciPy before 1.11 might write to
    assert_right(estimator, rows, sample_weight, method == "fit", n_clusters)
    assert [bytes_of(array) for array in (X, sample_weight, options["init"])] == given_bytes


@given(data=st.data())
@many
def test_a_fitted_estimator_labels_rows_rightly_or_says_why_not(data):
    d = data.draw(st.sampled_from([1, 2, 5, 17]))
    k = data.draw(st.sampled_from([1, 2, 7, 40]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    first = cast(
        values(rng, (k + 20, d), data.draw(st.sampled_from(STYLES))),
        data.draw(st.sampled_from(["f4", "f8"])),
    )
    estimator = KMeans(k, n_init=1, max_iter=2, init="random", random_state=0)
    assert call(estimator.fit, first) is None
    X = data.draw(st.one_of(dense(d=d), sparse(d=d), ROWS), label="X")
    sample_weight = data.draw(weights(shape_of(X)[0]), label="weights")
    before, given_bytes = state_of(estimator), bytes_of(X)
    errors = [call(getattr(estimator, name), X) for name in ("predict", "transform", "score")]
    assert len({str(error) for error in errors}) == 1
    weighty = call(estimator.score, X, sample_weight=sample_weight)
    assert state_of(estimator) == before
    assert bytes_of(X) == given_bytes
    if errors[0] is None:
        rows = as_float64(X)
        labels = estimator.predict(X)
        assert_labels(labels, rows, estimator.cluster_centers_)
        if weighty is None:
            expected = long_inertia(rows, labels, estimator.cluster_centers_, sample_weight)
            score = estimator.score(X, sample_weight=sample_weight)
            assert_close(-score, expected, rows, sample_weight)


@given(data=st.data())
@many
def test_seeds_are_rows_or_an_error(data):
    X = data.draw(ROWS, label="X")
    sample_weight = data.draw(weights(shape_of(X)[0]), label="weights")
    one_of = data.draw(values_of_parameters())
    n_clusters = one_of("n_clusters", [1, 2, 5, 40], [0, -1, "x", 2.5, None])
    options = {
        "random_state": one_of("random_state", [0, 1], [-1, "x"]),
        "n_local_trials": one_of("n_local_trials", [None, 1, 5, 40], [0, -1, 1.5]),
        "n_threads": one_of("n_threads", [None, 1, 2], [0, "x"]),
        "sample_weight": sample_weight,
    }
    before, found = bytes_of(X), []
    error = call(lambda: found.extend(kmeans_plusplus(X, n_clusters, **options)))
    assert bytes_of(X) == before
    if error is not None:
        return
    centers, indices = found
    rows = as_float64(X)
    assert np.array_equal(centers.astype(np.float64), rows[indices])
    assert len(indices) == n_clusters
    # As long as there are rows that are at no seed and weigh something, none is drawn twice.
    n_distinct = len(np.unique(rows, axis=0))
    if sample_weight is None and n_distinct >= n_clusters and is_moderate(rows):
        assert len(np.unique(rows[indices], axis=0)) == n_clusters
