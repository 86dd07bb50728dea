"""MiniBatchKMeans on CSR rows: scikit-learn's steps, and the centroids of the same rows dense."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import reference
import scipy.sparse as sp
import sklearn.cluster
from beside import compares_batches
from threadpoolctl import threadpool_limits

from fastkm import MiniBatchKMeans, _core
from fastkm._batches import Rules, State, Stepper, label, run
from fastkm._sparse_problem import SparseProblem, make_problem

Theirs = sklearn.cluster.MiniBatchKMeans

FORMATS = [
    (container, dtype, index)
    for container in (sp.csr_matrix, sp.csr_array)
    for dtype in (np.float32, np.float64)
    for index in (np.int32, np.int64)
]
NO_REASSIGNMENT = Rules(
    batch_size=1,
    n_steps=1,
    tol=0.0,
    max_no_improvement=None,
    reassignment_ratio=0.0,
    verbose=False,
)


def csr(dense, container=sp.csr_array, index=np.int32):
    X = container(dense)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def rows(n, d, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * (rng.random((n, d)) < density)


def topics(n=1500, d=30, seed=3):
    """Counts of words under overlapping topics, weighted: most features rare, no two rows tied."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.2, 1.0, size=(8, d)) + 0.02
    counts = rng.poisson(rates[rng.integers(8, size=n)])
    return counts * rng.uniform(0.5, 1.5, size=(n, d))


@pytest.fixture(scope="module")
def texts():
    return topics()


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """On a machine in use, threads that wait for each other take longer than steps this small."""
    with threadpool_limits(1):
        yield


def assert_same_fit(ours, theirs, X):
    assert ours.n_steps_ == theirs.n_steps_
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-10)
    assert np.array_equal(ours._counts, theirs._counts)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert np.array_equal(ours.labels_, ours.predict(X))
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-10)


def assert_same_bits(sparse, dense):
    """The same steps; distances of CSR rows are right to rounding, and so the inertia."""
    assert sparse.n_steps_ == dense.n_steps_
    assert np.array_equal(sparse.cluster_centers_, dense.cluster_centers_)
    assert sparse.cluster_centers_.dtype == dense.cluster_centers_.dtype
    assert np.array_equal(sparse._counts, dense._counts)
    assert np.array_equal(sparse.labels_, dense.labels_)
    assert sparse.inertia_ == pytest.approx(dense.inertia_, rel=1e-12, abs=1e-300)


SETTINGS = {
    "defaults": {},
    "many small batches": {"batch_size": 20, "max_no_improvement": 20},
    "random rows": {"init": "random", "batch_size": 100},
    "several seedings": {"n_init": 4, "init_size": 60, "batch_size": 50},
    "tol": {"tol": 1e-3, "max_no_improvement": None, "batch_size": 200},
    "all passes": {"max_no_improvement": None, "max_iter": 3, "batch_size": 700},
    "eager reassignment": {"reassignment_ratio": 0.9, "batch_size": 64},
    "more clusters than a batch": {"n_clusters": 40, "batch_size": 10, "max_iter": 1},
    "one step": {"max_iter": 1, "batch_size": 10_000},
    "one cluster": {"n_clusters": 1},
}


@compares_batches
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_same_random_state_takes_scikit_learns_steps(texts, settings, seed, monkeypatch):
    # scikit-learn leaves ties between counts to NumPy's unstable sort; ours go to the lowest index.
    argsort = np.argsort
    monkeypatch.setattr(np, "argsort", lambda a, *args, **kw: argsort(a, *args, kind="stable"))
    parameters = {"n_clusters": 8, "random_state": seed, **settings}
    X = csr(texts, sp.csr_matrix)
    ours, theirs = MiniBatchKMeans(**parameters).fit(X), Theirs(**parameters).fit(X)
    assert_same_fit(ours, theirs, X)
    assert_same_bits(ours, MiniBatchKMeans(**parameters).fit(texts))


@compares_batches
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_same_random_state_takes_scikit_learns_steps_with_weights(texts, rng, init, seed):
    weights = rng.uniform(0, 3, size=len(texts)) * (rng.random(len(texts)) < 0.8)
    parameters = {"init": init, "n_init": 2, "batch_size": 128, "random_state": seed}
    X = csr(texts)
    ours = MiniBatchKMeans(8, **parameters).fit(X, sample_weight=weights)
    assert_same_fit(ours, Theirs(8, **parameters).fit(X, sample_weight=weights), X)
    assert_same_bits(ours, MiniBatchKMeans(8, **parameters).fit(texts, sample_weight=weights))


@pytest.mark.parametrize(("container", "dtype", "index"), FORMATS)
def test_every_csr_format_gives_the_dense_fit(texts, container, dtype, index):
    dense = texts.astype(dtype)
    X = csr(dense, container, index)
    parameters = {"batch_size": 100, "reassignment_ratio": 0.3, "random_state": 0, "n_init": 2}
    ours = MiniBatchKMeans(6, **parameters).fit(X)
    assert_same_bits(ours, MiniBatchKMeans(6, **parameters).fit(dense))
    assert ours.cluster_centers_.dtype == dtype
    assert np.array_equal(ours.labels_, reference.assign(dense, ours.cluster_centers_))


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, bool])
def test_other_dtypes_are_converted_to_float64(dtype):
    dense = topics(200, 10).astype(dtype)
    ours = MiniBatchKMeans(3, random_state=0).fit(csr(dense))
    assert ours.cluster_centers_.dtype == np.float64
    assert_same_bits(ours, MiniBatchKMeans(3, random_state=0).fit(dense))


@compares_batches
@pytest.mark.parametrize("form", ["coo", "csc", "lil"])
def test_other_formats_are_converted_as_scikit_learn_converts_them(form):
    dense = topics(300, 10)
    X = sp.csr_array(dense).asformat(form)
    ours = MiniBatchKMeans(3, random_state=0).fit(X)
    assert_same_fit(ours, Theirs(3, random_state=0).fit(X), X)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
def test_partial_fits_take_scikit_learns_steps(texts, rng, init, is_weighted):
    parameters = {"init": texts[:6] if init == "array" else init, "n_init": 1, "random_state": 1}
    kinds = (MiniBatchKMeans, Theirs, MiniBatchKMeans)
    ours, theirs, dense = (kind(6, **parameters) for kind in kinds)
    for begin in range(0, 600, 60):
        batch = texts[begin : begin + 60]
        weights = rng.uniform(0, 2, size=60) if is_weighted else None
        ours.partial_fit(csr(batch), sample_weight=weights)
        theirs.partial_fit(csr(batch), sample_weight=weights)
        dense.partial_fit(batch, sample_weight=weights)
        np.testing.assert_allclose(
            ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-10
        )
        assert np.array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-10)
        assert_same_bits(ours, dense)
    assert np.array_equal(ours.predict(csr(texts)), theirs.predict(csr(texts)))


def test_dense_and_sparse_batches_mix(texts):
    parameters = {"batch_size": 100, "random_state": 1}
    mixed, dense = MiniBatchKMeans(6, **parameters), MiniBatchKMeans(6, **parameters)
    mixed.fit(csr(texts))
    dense.fit(texts)
    for begin in range(0, 600, 60):
        batch = texts[begin : begin + 60]
        mixed.partial_fit(csr(batch) if begin % 120 else batch)
        assert_same_bits(mixed, dense.partial_fit(batch))


def test_float32_centres_become_float64_with_the_first_float64_batch(texts):
    kmeans = MiniBatchKMeans(4, random_state=0).partial_fit(csr(texts.astype(np.float32)))
    assert kmeans.cluster_centers_.dtype == np.float32
    assert kmeans.partial_fit(csr(texts)).cluster_centers_.dtype == np.float64


def test_partial_fit_equals_hand_calculation():
    kmeans = MiniBatchKMeans(2, init=[[0.0, 0], [10, 0]], n_init=1, reassignment_ratio=0)
    kmeans.partial_fit(csr([[1.0, 0], [3, 2], [11, 0]]), sample_weight=[3, 1, 2])
    # The first has learnt 3 * (1, 0) + 1 * (3, 2) = (6, 2) of weight 4, the second (22, 0) of 2.
    assert kmeans.cluster_centers_.tolist() == [[1.5, 0.5], [11.0, 0.0]]
    # Under these centres 3 * (0.25 + 0.25) + 1 * (2.25 + 2.25) + 0.
    assert kmeans.inertia_ == 6.0
    kmeans.partial_fit(csr([[0.0, 0], [0, 0]]))
    # ((1.5, 0.5) * 4 + 2 * (0, 0)) / 6, nothing new for the second.
    np.testing.assert_allclose(kmeans.cluster_centers_[0], [1, 1 / 3], rtol=1e-15)
    assert kmeans.cluster_centers_[1].tolist() == [11, 0]
    assert kmeans._counts.tolist() == [6, 2]


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_step_on_gathered_rows_equals_oracle(rng, n_rows, index, dtype):
    dense = rows(400, 19, 0.3).astype(dtype)
    problem = SparseProblem(csr(dense, index=index), n_threads=2)
    init, counts = rows(7, 19, 0.8, seed=1), rng.integers(0, 9, size=7).astype(float)
    # Twice, as the second batch stands where the first was; rows come more than once.
    stepper = Stepper.on_rows_of(problem, n_rows, 7)
    for _ in range(2):
        drawn = rng.integers(0, 400, size=n_rows)
        state = State(init.copy(), counts)
        inertia = stepper.step(state, None, NO_REASSIGNMENT, drawn)
        batch = dense[drawn].astype(float)
        labels = reference.assign(batch, init)
        assert inertia == pytest.approx(reference.inertia(batch, labels, init), rel=1e-12)
        for j in range(7):
            own = batch[labels == j]
            total = counts[j] + len(own)
            mean = (init[j] * counts[j] + own.sum(axis=0)) / total if len(own) else init[j]
            # A sum of at most 600 terms below 5 in magnitude, which may cancel.
            np.testing.assert_allclose(state.centroids[j], mean, rtol=1e-13, atol=1e-13)
            assert state.counts[j] == total


AWKWARD = {
    "empty rows": np.vstack([np.zeros((9, 6)), rows(30, 6)]),
    "all zero": np.zeros((12, 5)),
    "one column": rows(40, 1, 0.6),
    "one row": rows(1, 7, 0.9),
    "one empty row": np.zeros((1, 3)),
    "empty columns": np.hstack([np.zeros((30, 4)), rows(30, 5), np.zeros((30, 4))]),
    "nothing but entries": rows(60, 9, 1.0),
    "far from the origin": np.where(rows(300, 9, 0.5) == 0, 0, 1e7 + rows(300, 9, 1.0)),
    "duplicate rows": np.repeat(rows(6, 8, 0.5), 6, axis=0),
    "a block and one": rows(257, 17),
    "long rows after short ones": np.vstack([rows(200, 40, 0.02), rows(20, 40, 1.0)]),
    "very small": rows(90, 6, 0.4) * 1e-200,
    "very large": rows(90, 6, 0.4) * 1e200,
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("k", [1, 3, "n"])
def test_awkward_rows_are_the_dense_path(name, k):
    dense = AWKWARD[name]
    k = len(dense) if k == "n" else min(k, len(dense))
    for parameters in ({}, {"batch_size": 7, "init_size": 3 * k, "reassignment_ratio": 0.2}):
        fits = [
            MiniBatchKMeans(k, random_state=2, max_iter=5, **parameters).fit(X)
            for X in (csr(dense), dense)
        ]
        assert_same_bits(*fits)
        partial = [MiniBatchKMeans(k, random_state=2).partial_fit(X) for X in (csr(dense), dense)]
        assert_same_bits(*partial)


def test_stored_zeros_change_nothing(texts):
    full = sp.csr_array(np.ones_like(texts))
    full.data[:] = texts.ravel()
    fits = [MiniBatchKMeans(4, random_state=0).fit(X) for X in (csr(texts), full)]
    assert full.nnz > csr(texts).nnz
    assert np.array_equal(fits[0].cluster_centers_, fits[1].cluster_centers_)
    assert np.array_equal(fits[0].labels_, fits[1].labels_)
    assert fits[0].n_steps_ == fits[1].n_steps_


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_unsorted_and_duplicate_entries_are_summed_in_a_copy(method):
    data = np.array([3.0, 1.0, 2.0, 5.0, 1.0, 4.0, 9.0])
    indices = np.array([2, 0, 2, 1, 0, 1, 2], dtype=np.int32)
    indptr = np.array([0, 3, 5, 5, 7], dtype=np.int32)
    X = sp.csr_matrix((data, indices, indptr), shape=(4, 3))
    before = [array.copy() for array in (data, indices, indptr)]
    dense = np.array([[1, 0, 5], [1, 5, 0], [0, 0, 0], [0, 4, 9.0]])  # summed by hand
    kmeans = [MiniBatchKMeans(2, init=dense[:2], n_init=1, random_state=0) for _ in range(2)]
    assert_same_bits(getattr(kmeans[0], method)(X), getattr(kmeans[1], method)(dense))
    for array, was in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert np.array_equal(array, was)


def test_read_only_input_is_read_in_place(texts):
    X = csr(texts)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    kmeans = MiniBatchKMeans(3, batch_size=100, random_state=0).fit(X).partial_fit(X)
    assert np.array_equal(kmeans.predict(X), kmeans.labels_)


def test_result_depends_on_neither_instruction_set_nor_threads(texts):
    weights = np.random.default_rng(5).uniform(0, 2, len(texts))
    rules = Rules(700, 12, 0.0, None, 0.05, False)
    results = []
    for isa in _core.supported_isas():
        for n_threads in (1, 2, 3, 5):
            problem = make_problem(csr(texts), weights, n_threads=n_threads, isa=isa)
            fit = run(problem, texts[:50].copy(), rules, np.random.RandomState(0))
            # A whole batch in place, with its weights, large enough for every thread.
            inertia = Stepper(problem, 50).step(fit.state, np.random.RandomState(1), rules)
            labels, final = label(problem, fit.state.centroids)
            results.append((fit.state.centroids, fit.state.counts, labels, [inertia, final]))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_rows_of_zero_weight_are_never_learnt_from(texts):
    weights = np.ones(len(texts))
    weights[::2] = 0
    spoilt = texts.copy()
    spoilt[::2] = 1e5
    kmeans = MiniBatchKMeans(5, batch_size=50, random_state=0)
    assert np.abs(kmeans.fit(csr(spoilt), sample_weight=weights).cluster_centers_).max() < 1e3
    kmeans.partial_fit(csr(spoilt), sample_weight=weights)
    assert np.abs(kmeans.cluster_centers_).max() < 1e3


def test_survives_reassigning_more_than_the_batch_holds(texts):
    # All but one centroid are far from every row, so that 39 of 40 are to be reassigned from
    # batches of 10, of which at most 5 are.
    init = np.vstack([texts[:1], np.full((39, texts.shape[1]), 1e6)])
    kmeans = MiniBatchKMeans(40, init=init, n_init=1, batch_size=10, max_iter=1, random_state=0)
    kmeans.fit(csr(texts[:40]))
    # Four steps of at most five reassignments each, ties to the lowest index.
    assert (np.abs(kmeans.cluster_centers_[:6]) < 1e3).all()
    given = {tuple(row) for row in texts[:40]}
    assert any(tuple(centre) in given for centre in kmeans.cluster_centers_)


@compares_batches
@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_methods_of_a_fitted_estimator_are_scikit_learns(texts, method):
    X = csr(texts, sp.csr_matrix)
    fits = [kind(5, random_state=0).fit(X) for kind in (MiniBatchKMeans, Theirs)]
    ours, theirs = (getattr(fit, method)(X) for fit in fits)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_allclose(ours, getattr(fits[0], method)(texts), rtol=1e-12)


def test_callable_init_gets_the_rows_that_scikit_learn_draws(texts):
    seen = []

    def first_rows(X, n_clusters, random_state):
        seen.append(X.toarray())
        return X[:n_clusters].toarray()

    for estimator in (MiniBatchKMeans, Theirs):
        estimator(4, init=first_rows, n_init=2, init_size=30, random_state=0).fit(csr(texts))
    assert len(seen) == 4
    assert np.array_equal(seen[:2], seen[2:])


@compares_batches
def test_random_state_instance_is_left_as_scikit_learn_leaves_it(texts):
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    MiniBatchKMeans(5, batch_size=50, random_state=ours).fit(csr(texts))
    Theirs(5, batch_size=50, random_state=theirs).fit(csr(texts))
    assert ours.uniform() == theirs.uniform()


@compares_batches
@pytest.mark.parametrize(
    "settings",
    [
        {"max_no_improvement": 3},
        {"max_iter": 1, "reassignment_ratio": 0.8, "n_init": 3, "batch_size": 20},
    ],
)
def test_verbose_prints_scikit_learns_lines(texts, capsys, settings):
    number = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")
    printed = []
    for kind in (MiniBatchKMeans, Theirs):
        kind(4, **{"batch_size": 300, "random_state": 0, "verbose": 1, **settings}).fit(csr(texts))
        text = capsys.readouterr().out
        printed.append((number.sub("#", text), [float(x) for x in number.findall(text)]))
    assert printed[0][0] == printed[1][0]
    assert "Minibatch step" in printed[0][0]
    assert printed[0][1] == pytest.approx(printed[1][1], rel=1e-9)


@compares_batches
def test_inertia_estimate_without_labels_is_scikit_learns(texts):
    parameters = {"compute_labels": False, "random_state": 0, "batch_size": 100}
    ours = MiniBatchKMeans(4, **parameters).fit(csr(texts))
    theirs = Theirs(4, **parameters).fit(csr(texts))
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("bad", ["nan", "infinity", "complex", "no rows", "too few rows"])
def test_bad_matrices_raise_scikit_learns_words(texts, outcome, method, bad):
    X = csr(texts[:100])
    if bad in ("nan", "infinity"):
        X.data[17] = np.nan if bad == "nan" else np.inf
    else:
        X = {"complex": X * 1j, "no rows": X[:0], "too few rows": X[:2]}[bad]
    ours, theirs = (outcome(getattr(kind(3), method), X)[0] for kind in (MiniBatchKMeans, Theirs))
    assert ours == theirs
    assert ours[0] is ValueError


def test_fit_takes_memory_for_entries_and_not_for_columns():
    # A dense batch of 1024 x 200,000 float64 is 1.6 GB, the three to seed from are 4.9.
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    n, d, per_row = 20_000, 200_000, 10
    width = d // per_row
    columns = rng.integers(0, width, (n, per_row)) + np.arange(per_row) * width
    X = sp.csr_array(
        (rng.random(n * per_row), columns.ravel().astype(np.int32), np.arange(n + 1) * per_row),
        shape=(n, d),
    )
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kmeans = MiniBatchKMeans(3, random_state=0, max_iter=1).fit(X)
    kmeans.partial_fit(X[:1024])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 400e6


def test_core_refuses_what_does_not_fit():
    dense = rows(300, 4, 0.5)
    problem = SparseProblem(csr(dense), n_threads=1)
    batch, core = problem.batch_of(10, 3)
    labels, sq_dists, counts = np.zeros(10, dtype=np.int32), np.empty(10), np.zeros(3)
    with pytest.raises(ValueError, match="no centroids yet"):
        core.assign(labels, 0, 10, np.zeros(10, dtype=np.int64))
    core.engine.set_centroids(dense[:3].copy())
    for wrong in (300, -1):
        with pytest.raises(ValueError, match="rows must be in 0 to 299"):
            core.assign(labels, 0, 10, np.full(10, wrong))
    with pytest.raises(ValueError, match="rows must be 10 of the source"):
        core.assign(labels, 0, 10, np.zeros(9, dtype=np.int64))
    with pytest.raises(ValueError, match="labels must be in 0 to 2"):
        core.sort(np.full(10, 3, dtype=np.int32))
    with pytest.raises(ValueError, match="arrays must fit"):
        core.learn(None, counts, np.empty((3, 5)), np.empty(3), sq_dists, 0, 3)
    with pytest.raises(ValueError, match="not among the 3"):
        core.learn(None, counts, np.empty((3, 4)), np.empty(3), sq_dists, 0, 4)
    with pytest.raises(ValueError, match="engine must be of the batch's points"):
        _core.SparseBatch(problem.points, core.engine)
    with pytest.raises(ValueError, match="points without entries"):
        _core.SparseBatch(problem.points, problem.engine(3), problem.points)
    narrow = SparseProblem(csr(dense.astype(np.float32)), n_threads=1)
    with pytest.raises(ValueError, match="must be like the batch's"):
        _core.SparseBatch(batch.points, core.engine, narrow.points)
    in_place = problem.batch(3)
    in_place.engine.set_centroids(dense[:3].copy())
    with pytest.raises(ValueError, match="of the source"):
        in_place.assign(np.zeros(300, dtype=np.int32), 0, 300, np.zeros(300, dtype=np.int64))
    with pytest.raises(ValueError, match="one value per point"):
        in_place.engine.assign_and_measure(np.zeros(300, dtype=np.int32), sq_dists, 0, 300)
