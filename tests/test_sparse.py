"""CSR rows: the labels, seeds and centres that the same rows give when they are stored densely."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import sklearn.cluster
from sklearn.exceptions import ConvergenceWarning

from fastkm import KMeans, MiniBatchKMeans, _core, _lloyd, k_means, kmeans_plusplus
from fastkm._problem import Problem
from fastkm._sparse_problem import SparseProblem, make_problem
from fastkm._validation import check_points

ISAS = _core.supported_isas()
FORMATS = [
    (container, dtype, index)
    for container in (sp.csr_matrix, sp.csr_array)
    for dtype in (np.float32, np.float64)
    for index in (np.int32, np.int64)
]


def csr(dense, container=sp.csr_array, index=np.int32):
    X = container(dense)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def rows(n, d, density=0.2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * (rng.random((n, d)) < density)).astype(dtype)


def topics(n=900, d=120, seed=3):
    """Counts of words under a few topics: most features rare, few rows near a boundary."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.1, 1.0, size=(6, d))
    return rng.poisson(rates[rng.integers(6, size=n)]).astype(np.float64)


def both(dense, k, weights=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [KMeans(k, **options).fit(X, sample_weight=weights) for X in (csr(dense), dense)]
    return fits


@pytest.mark.parametrize(("container", "dtype", "index"), FORMATS)
def test_every_csr_format_gives_the_dense_fit(container, dtype, index):
    dense = topics().astype(dtype)
    X = csr(dense, container, index)
    assert X.indices.dtype == index
    ours, theirs = KMeans(6, random_state=0).fit(X), KMeans(6, random_state=0).fit(dense)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert np.array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.cluster_centers_.dtype == dtype
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_fit_is_scikit_learns(algorithm, init):
    X = csr(topics(), sp.csr_matrix)
    options = {"init": init, "n_init": 2, "random_state": 1, "algorithm": algorithm}
    ours, theirs = KMeans(6, **options).fit(X), sklearn.cluster.KMeans(6, **options).fit(X)
    assert np.array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-10)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 0])
def test_fit_from_given_centroids_is_the_oracles(tol):
    dense = rows(200, 30)
    oracle = reference.lloyd(dense, dense[:5], tol=tol)
    assert oracle.gap > 1e-9  # so that every right implementation takes this path
    ours = KMeans(5, init=dense[:5], tol=tol).fit(csr(dense))
    assert np.array_equal(ours.labels_, oracle.labels)
    np.testing.assert_allclose(ours.cluster_centers_, oracle.centroids, rtol=1e-14, atol=1e-300)
    assert ours.n_iter_ == oracle.n_iter
    # Sums of at most 30 non-negative terms a row, rounded a few times each.
    assert ours.inertia_ == pytest.approx(oracle.inertia, rel=1e-13)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1, 2, 7, 8, 9, 16, 17, 24, 25, 31, 32, 33, 40, 65])
def test_labels_and_distances_are_the_oracles_on_every_instruction_set(isa, k):
    dense = rows(257, 19, 0.3)
    centroids = rows(k, 19, 0.7, seed=1)
    problem = SparseProblem(csr(dense), n_threads=2, isa=isa)
    labels = _lloyd.assign(problem, centroids)
    expected = reference.sq_dists(dense, centroids)
    assert np.array_equal(labels, np.argmin(expected, axis=1))
    # At most 19 entries each way and a rest that keeps 2^-30 of the norm: far inside 1e-12.
    np.testing.assert_allclose(_lloyd.transform(problem, centroids), np.sqrt(expected), rtol=1e-12)
    own = reference.inertia(dense, labels, centroids)
    assert problem.inertia(labels, centroids) == pytest.approx(own, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_result_depends_on_neither_instruction_set_nor_threads(dtype):
    X = csr(rows(1500, 40, 0.2, dtype=dtype))
    weights = np.random.default_rng(5).uniform(0.5, 2, 1500)
    for weight in (None, weights):
        seen = []
        for isa in ISAS:
            for n_threads in (1, 2, 3):
                problem = SparseProblem(X, weight, n_threads=n_threads, isa=isa)
                run = _lloyd.run(problem, problem.rows(range(20)), max_iter=30, tol=0.0)
                distances = _lloyd.transform(problem, run.centroids)
                arrays = (run.labels, run.centroids, distances, problem.variance)
                seen.append([*(array.tobytes() for array in arrays), run.inertia, run.n_iter])
        assert all(one == seen[0] for one in seen)


def test_recheck_decides_what_products_cannot():
    # All 2^27 away from the origin: ||c||^2 - 2 x.c keeps no bit of what tells the centroids apart.
    rng = np.random.default_rng(2)
    dense = 2.0**27 + rng.integers(-2, 3, size=(300, 3)) * 0.25
    centroids = 2.0**27 + rng.integers(-2, 3, size=(5, 3)) * 0.25 + 0.0625
    problem = SparseProblem(csr(dense), n_threads=1)
    engine = problem.engine(5)
    engine.set_centroids(centroids)
    labels, unchecked = np.empty((2, 300), dtype=np.int32)
    engine.assign(labels, 0, 300)
    assert engine.n_exact > 0
    assert np.array_equal(labels, reference.assign(dense, centroids))
    engine.assign(unchecked, 0, 300, recheck=False)
    assert not np.array_equal(labels, unchecked)


def test_ties_go_to_the_lowest_index():
    dense = rows(100, 12)
    centroids = np.repeat(rows(3, 12, seed=4), 4, axis=0)
    labels = _lloyd.assign(SparseProblem(csr(dense), n_threads=1), centroids)
    assert np.array_equal(labels, reference.assign(dense, centroids))
    assert set(labels) <= {0, 4, 8}


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_ends_of_float_are_the_dense_path(scale):
    dense = topics(150, 20) * scale
    ours, theirs = (make_problem(X, n_threads=1) for X in (csr(dense), dense))
    centroids = dense[:40:5] * 1.25
    labels = _lloyd.assign(ours, centroids)
    assert len(set(labels)) > 4
    assert np.array_equal(labels, _lloyd.assign(theirs, centroids))
    distances = _lloyd.transform(theirs, centroids)
    np.testing.assert_allclose(_lloyd.transform(ours, centroids), distances, rtol=1e-12)
    indices = [kmeans_plusplus(X, 9, random_state=0)[1] for X in (csr(dense), dense)]
    assert np.array_equal(*indices)


@pytest.mark.parametrize(("is_constant", "k"), [(True, 4), (False, 2)])
def test_values_whose_squares_overflow_are_the_dense_path(is_constant, k):
    # CSR rows are not centred: here ||x||^2 is infinite where ||x - c||^2 is not.
    dense = rows(120, 6, 0.7)
    dense[:, 0] = 1e200
    if not is_constant:
        dense[::3, 0] = 0.0
    ours, theirs = (KMeans(k, random_state=0).fit(X) for X in (csr(dense), dense))
    assert len(set(theirs.labels_)) == k
    assert np.array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-7)
    np.testing.assert_allclose(ours.transform(csr(dense)), theirs.transform(dense), rtol=1e-12)
    assert np.array_equal(ours.predict(csr(dense)), ours.labels_)
    ours, theirs = (MiniBatchKMeans(k, random_state=0).fit(X) for X in (csr(dense), dense))
    assert np.array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert np.array_equal(ours.labels_, theirs.labels_)


AWKWARD = {
    "empty rows": np.vstack([np.zeros((9, 6)), rows(30, 6)]),
    "all zero": np.zeros((12, 5)),
    "one column": rows(40, 1, 0.6),
    "one row": rows(1, 7, 0.9),
    "empty columns": np.hstack([np.zeros((30, 4)), rows(30, 5), np.zeros((30, 4))]),
    "nothing but entries": rows(60, 9, 1.0),
    "duplicate rows": np.repeat(rows(6, 8, 0.5), 6, axis=0),
    "a block and one": rows(257, 17),
    "sixteen columns": rows(64, 16, 0.4),
    "integers": topics(80, 33),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("k", [1, 3, 8, "n"])
def test_awkward_shapes_are_the_dense_path(name, k):
    dense = AWKWARD[name]
    k = len(dense) if k == "n" else min(k, len(dense))
    ours, theirs = both(dense, k, random_state=2)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert np.array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12, abs=1e-300)
    assert np.array_equal(ours.predict(csr(dense)), ours.labels_)


def test_empty_clusters_take_the_rows_that_the_dense_path_takes():
    # Rows of equal distance, mathematically: rounding must not choose other rows than there.
    dense = np.vstack([np.eye(24) * 0.3, np.eye(24) * -0.3])
    far = np.vstack([np.zeros((1, 24)), np.full((5, 24), 50.0)])
    ours, theirs = both(dense, 6, init=far, max_iter=1)
    assert np.array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert np.array_equal(ours.labels_, theirs.labels_)


def test_stored_zeros_change_nothing():
    dense = topics(100, 20)
    X = csr(dense)
    full = sp.csr_array(np.ones_like(dense))
    full.data[:] = dense.ravel()
    assert full.nnz > X.nnz
    one, other = (KMeans(4, random_state=0).fit(matrix) for matrix in (X, full))
    assert np.array_equal(one.labels_, other.labels_)
    assert np.array_equal(one.cluster_centers_, other.cluster_centers_)


def test_unsorted_and_duplicate_entries_are_summed_in_a_copy():
    data = np.array([3.0, 1.0, 2.0, 5.0, 1.0, 4.0, 9.0])
    indices = np.array([2, 0, 2, 1, 0, 1, 2], dtype=np.int32)
    indptr = np.array([0, 3, 5, 5, 7], dtype=np.int32)
    X = sp.csr_matrix((data, indices, indptr), shape=(4, 3))
    before = [array.copy() for array in (data, indices, indptr)]
    dense = np.array([[1, 0, 5], [1, 5, 0], [0, 0, 0], [0, 4, 9.0]])  # summed by hand
    ours = KMeans(2, init=dense[:2]).fit(X)
    theirs = KMeans(2, init=dense[:2]).fit(dense)
    assert np.array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-14)
    for array, was in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert np.array_equal(array, was)


def test_input_is_taken_without_a_copy_and_left_as_it_is():
    X = csr(topics(), sp.csr_matrix)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    assert check_points(X) is X
    KMeans(3, random_state=0, n_threads=2).fit(X).predict(X)


@pytest.mark.parametrize("form", ["coo", "csc", "lil", "dok", "bsr", "dia"])
def test_other_formats_are_converted_as_scikit_learn_converts_them(form):
    dense = topics(60, 10)
    X = sp.csr_array(dense).asformat(form)
    ours = KMeans(3, random_state=0).fit(X)
    assert np.array_equal(ours.labels_, KMeans(3, random_state=0).fit(dense).labels_)
    assert np.array_equal(ours.labels_, sklearn.cluster.KMeans(3, random_state=0).fit(X).labels_)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, bool])
def test_other_dtypes_are_converted_to_float64(dtype):
    dense = topics(60, 10).astype(dtype)
    ours = KMeans(3, random_state=0).fit(csr(dense))
    assert ours.cluster_centers_.dtype == np.float64
    assert np.array_equal(ours.labels_, KMeans(3, random_state=0).fit(dense).labels_)
    centers, _ = kmeans_plusplus(csr(dense), 3, random_state=0)
    assert centers.dtype == np.float64


@pytest.mark.parametrize("weights", [None, "uniform", "with zeros"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_seeding_draws_the_rows_of_the_dense_path(weights, dtype):
    dense = topics(700, 60).astype(dtype)
    rng = np.random.default_rng(1)
    given = {
        None: None,
        "uniform": rng.uniform(size=700),
        "with zeros": rng.integers(0, 3, 700).astype(float),
    }[weights]
    for seed in range(5):
        options = {"sample_weight": given, "random_state": seed}
        centers, indices = kmeans_plusplus(csr(dense), 25, **options)
        expected_centers, expected = kmeans_plusplus(dense, 25, **options)
        assert np.array_equal(indices, expected)
        assert np.array_equal(centers, expected_centers)
        assert centers.dtype == dtype


def test_seeding_is_scikit_learns():
    X = csr(topics(), sp.csr_matrix)
    for seed in range(5):
        ours = kmeans_plusplus(X, 12, random_state=seed)
        theirs = sklearn.cluster.kmeans_plusplus(X, 12, random_state=seed)
        assert np.array_equal(ours[1], theirs[1])
        assert np.array_equal(ours[0], theirs[0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("offset", [0.0, 1e7])
def test_potentials_have_the_bits_of_the_dense_path(isa, offset):
    # Far from the origin products cannot rank candidates, and the direct form must.
    dense = rows(300, 37, 0.4, seed=9)
    dense[dense != 0] += offset
    seeders = []
    for X in (csr(dense), dense):
        problem = make_problem(X, n_threads=2, isa=isa)
        arrays = [np.full(300, np.inf), np.empty(2), np.zeros(300, np.uint32), np.empty((2, 3))]
        seeder = problem.seeder(1, None, 3, *arrays)
        seeder.propose(problem.rows([3, 50, 200]))
        seeder.accept(1)
        candidates = problem.rows([7, 50, 250])
        seeder.propose(candidates)
        seeder.settle()
        seeder.accept(2)
        seeders.append(arrays)
    for ours, theirs in zip(*seeders, strict=True):
        assert np.array_equal(ours, theirs)


def test_rough_gains_are_right_to_their_errors():
    dense = rows(300, 37, 0.4, seed=9)
    problem = SparseProblem(csr(dense), n_threads=1)
    arrays = [np.full(300, np.inf), np.empty(2), np.zeros(300, np.uint32), np.empty((2, 3))]
    seeder = problem.seeder(1, None, 3, *arrays)
    seeder.propose(problem.rows([3, 50, 200]))
    seeder.accept(1)
    closest = reference.sq_dists(dense, dense[[50]])[:, 0]
    np.testing.assert_allclose(arrays[0], closest, rtol=1e-13)
    seeder.propose(problem.rows([7, 50, 250]))
    expected = [
        math.fsum(np.maximum(closest - reference.sq_dists(dense, dense[[row]])[:, 0], 0))
        for row in (7, 50, 250)
    ]
    errors = np.array(seeder.errors())
    assert np.all(np.abs(arrays[3].sum(axis=0) - expected) <= errors + 1e-13 * np.sum(closest))
    assert np.all(errors < 1e-9 * np.sum(closest))  # small enough to be of use


def test_weights_are_the_dense_paths():
    dense = topics()
    weights = np.random.default_rng(8).integers(0, 4, len(dense)).astype(float)
    ours, theirs = both(dense, 6, weights=weights, random_state=0)
    assert np.array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    assert ours.score(csr(dense), sample_weight=weights) == pytest.approx(-ours.inertia_, rel=1e-12)
    peer = sklearn.cluster.KMeans(6, random_state=0).fit(csr(dense), sample_weight=weights)
    assert np.array_equal(ours.labels_, peer.labels_)


def test_weight_w_is_w_repetitions():
    dense = topics(200, 15)
    weights = np.random.default_rng(8).integers(1, 4, 200)
    repeated = np.repeat(dense, weights, axis=0)
    init = dense[:4]
    ours = KMeans(4, init=init).fit(csr(dense), sample_weight=weights)
    theirs = KMeans(4, init=init).fit(csr(repeated))
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    assert np.array_equal(np.repeat(ours.labels_, weights), theirs.labels_)


def test_distances_of_the_centroids_to_themselves_are_zero():
    for k in (5, 40):
        centroids = rows(k, 50, 0.5, seed=6)
        problem = SparseProblem(csr(centroids), n_threads=1)
        assert np.all(np.diag(_lloyd.transform(problem, centroids)) == 0)
        assert problem.inertia(np.arange(k, dtype=np.int32), centroids) == 0


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_are_the_dense_paths(offset):
    dense = rows(3000, 21, 0.5, seed=2)
    dense[dense[:, 0] != 0, 0] += offset
    dense[:, 1] = offset
    problem = SparseProblem(csr(dense), n_threads=2)
    np.testing.assert_allclose(problem.mean, dense.mean(axis=0), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(problem.variance, dense.var(axis=0), rtol=1e-10)
    assert problem.variance[1] == 0
    assert np.array_equal(problem.shift, Problem(dense, n_threads=1).shift)


def test_transform_keeps_float32():
    X = csr(topics().astype(np.float32))
    fitted = KMeans(4, random_state=0).fit(X)
    distances = fitted.transform(X)
    assert distances.dtype == np.float32
    expected = np.sqrt(reference.sq_dists(X.toarray(), fitted.cluster_centers_))
    np.testing.assert_allclose(distances, expected, rtol=1e-6)
    assert np.array_equal(distances, fitted.fit_transform(X))


def test_dense_and_sparse_predict_alike():
    dense = topics()
    fitted = KMeans(6, random_state=0).fit(csr(dense))
    assert np.array_equal(fitted.predict(csr(dense)), fitted.predict(dense))
    assert fitted.score(csr(dense)) == pytest.approx(fitted.score(dense), rel=1e-12)


def test_k_means_takes_csr():
    X = csr(topics())
    centroid, label, inertia, n_iter = k_means(X, 4, random_state=0, return_n_iter=True)
    fitted = KMeans(4, random_state=0).fit(X)
    assert np.array_equal(centroid, fitted.cluster_centers_)
    assert np.array_equal(label, fitted.labels_)
    assert (inertia, n_iter) == (fitted.inertia_, fitted.n_iter_)


def test_callable_gets_the_rows_and_cannot_write_to_them():
    X = csr(topics())
    seen = []

    def init(rows_of_x, n_clusters, random_state):
        seen.append(rows_of_x)
        return rows_of_x[:n_clusters].toarray()

    ours = KMeans(3, init=init, n_init=1).fit(X)
    assert np.array_equal(ours.labels_, KMeans(3, init=X[:3].toarray()).fit(X).labels_)
    assert sp.issparse(seen[0])
    with pytest.raises(ValueError, match="read-only"):
        seen[0].data[0] = 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("call", ["fit", "predict", "transform", "score"])
def test_values_that_are_not_finite_raise_scikit_learns_words(bad, call, outcome):
    X = csr(topics())
    broken = X.copy()
    broken.data[17] = bad
    calls = [
        getattr(kind(3, random_state=0).fit(X), call) for kind in (KMeans, sklearn.cluster.KMeans)
    ]
    ours, theirs = (outcome(function, broken)[0] for function in calls)
    assert ours == theirs
    assert ours[0] is ValueError


@pytest.mark.parametrize(
    "bad",
    [np.empty((0, 4)), np.empty((4, 0)), np.ones((2, 4)), np.ones((5, 4)) * 1j],
    ids=["no rows", "no columns", "too few rows", "complex"],
)
def test_bad_matrices_raise_scikit_learns_words(bad, outcome):
    bad = sp.csr_array(bad)
    ours, theirs = (outcome(kind(3).fit, bad)[0] for kind in (KMeans, sklearn.cluster.KMeans))
    assert ours == theirs
    assert ours is not None


def test_wrong_number_of_features_raises_scikit_learns_words(outcome):
    X = csr(topics())
    fits = [kind(3, random_state=0).fit(X) for kind in (KMeans, sklearn.cluster.KMeans)]
    ours, theirs = (outcome(fit.predict, X[:, :-1])[0] for fit in fits)
    assert ours == theirs
    assert ours[0] is ValueError


def test_entries_out_of_bounds_are_an_error_and_no_crash():
    data, starts = np.ones(2), np.array([0, 1, 2])
    for columns in ([0, 3], [0, -1]):
        with pytest.raises(ValueError, match="outside"):
            _core.SparsePoints(data, np.array(columns), starts, 3)
    for ends in ([0, 3, 2], [0, 1, 5], [-1, 1, 2]):
        with pytest.raises(ValueError, match="outside"):
            _core.SparsePoints(data, np.array([0, 1]), np.array(ends), 3)
    with pytest.raises(_core.UnsortedError):
        _core.SparsePoints(data, np.array([1, 1]), np.array([0, 2]), 3)
    with pytest.raises(TypeError, match="dtype"):
        _core.SparsePoints(data.astype(np.float16), np.array([0, 1]), starts, 3)
    with pytest.raises(ValueError, match="gaps"):
        _core.SparsePoints(np.ones(4)[::2], np.array([0, 1]), starts, 3)


def test_fit_takes_memory_for_entries_and_not_for_columns():
    # 20,000 x 200,000 float64 are 32 GB; a fit under 1 GB has densified nothing.
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    n, d, per_row = 20_000, 200_000, 10
    width = d // per_row
    columns = rng.integers(0, width, (n, per_row)) + np.arange(per_row) * width
    X = sp.csr_array(
        (rng.random(n * per_row), columns.ravel().astype(np.int32), np.arange(n + 1) * per_row),
        shape=(n, d),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    KMeans(4, random_state=0, max_iter=2).fit(X)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_rows_that_name_a_column_twice_stay_as_they_are(dtype):
    # SciPy before 1.11 adds equal columns up, in place, to convert the values.
    arrays = np.ones(4).astype(dtype), np.array([0, 0, 1, 1]), np.array([0, 2, 4])
    X = sp.csr_matrix(arrays, shape=(2, 2))
    before = [a.copy() for a in (X.data, X.indices, X.indptr)]
    KMeans(2, n_init=1, random_state=0).fit(X)
    kmeans_plusplus(X, 2, random_state=0)
    assert all(map(np.array_equal, (X.data, X.indices, X.indptr), before))
