"""Lloyd's driver against the oracle: rounds, repair of empty clusters, the end, interruption."""

import re
import time

import numpy as np
import pytest
import reference
import scipy.sparse
import sklearn.cluster
from core_tools import DTYPES, ISAS, interrupted_after, layouts, needs_timer, unchanged

from fastkm import KMeans, MiniBatchKMeans, _lloyd
from fastkm._problem import Problem


def run(X, init, weights=None, *, max_iter=300, tol=0.0, n_threads=1, isa=None, **options):
    """Run with the oracle's relative tolerance."""
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    absolute = tol * float(np.mean(problem.variance))
    init = np.asarray(init, dtype=np.float64)
    return _lloyd.run(problem, init, max_iter=max_iter, tol=absolute, **options)


def assert_is_the_oracles(result, oracle, X):
    assert np.array_equal(result.labels, oracle.labels)
    assert result.n_iter == oracle.n_iter
    largest = np.abs(np.asarray(X, dtype=np.float64)).max(axis=0)
    assert (np.abs(result.centroids - oracle.centroids) <= 1e-12 * largest).all()
    np.testing.assert_allclose(result.inertia, oracle.inertia, rtol=1e-12, atol=0)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("k", [1, 2, 6, 13])
@pytest.mark.parametrize(("tol", "max_iter"), [(0.0, 300), (1e-2, 300), (0.0, 1), (0.0, 4)])
def test_run_is_the_oracles(isa, weighs, k, tol, max_iter, blobs, cloud, rng):
    for X in (blobs, cloud):
        weights = rng.uniform(0, 2, size=len(X)) if weighs else None
        init = X[rng.permutation(len(X))[:k]]
        oracle = reference.lloyd(X, init, weights, tol=tol, max_iter=max_iter)
        assert oracle.gap > 1e-9  # so that rounding decides nothing
        with unchanged(X, init):
            result = run(X, init, weights, tol=tol, max_iter=max_iter, isa=isa)
        assert_is_the_oracles(result, oracle, X)


@pytest.mark.parametrize("dtype", [t for t in DTYPES if t != "?"])
def test_dtypes_run_as_their_float64_copies(dtype, rng):
    X = rng.integers(0, 100, size=(500, 6)).astype(dtype)
    init = X[:8].astype(np.float64) + rng.uniform(-1, 1, size=(8, 6))
    expected = run(X.astype(np.float64), init)
    result = run(X, init)
    assert np.array_equal(result.labels, expected.labels)
    assert np.array_equal(result.centroids, expected.centroids)
    assert result.inertia == expected.inertia
    assert result.n_iter == expected.n_iter


def test_layouts_threads_and_instruction_sets_give_the_same_bits(tmp_path, rng):
    # Enough rows and work for several threads; layouts that hold the same values.
    X, weights = rng.normal(size=(3000, 20)), rng.uniform(size=3000)
    init = X[:60]
    for sample_weight in (None, weights):
        expected = run(X, init, sample_weight, max_iter=12)
        runs = [
            run(view, init, sample_weight, max_iter=12, n_threads=2)
            for name, view in layouts(X, tmp_path)
            if name != "repeated"
        ]
        runs += [run(X, init, sample_weight, max_iter=12, n_threads=t) for t in (3, 7, 16)]
        runs += [run(X, init, sample_weight, max_iter=12, n_threads=3, isa=i) for i in ISAS]
        for result in runs:
            assert np.array_equal(result.labels, expected.labels)
            assert np.array_equal(result.centroids, expected.centroids)
            assert result.inertia == expected.inertia
            assert (result.n_iter, result.strict) == (expected.n_iter, expected.strict)


def test_any_order_of_init_will_do(cloud):
    expected = run(cloud, cloud[:5])
    result = run(cloud, np.asfortranarray(cloud[:5]))
    assert np.array_equal(result.centroids, expected.centroids)
    assert result.centroids.flags.c_contiguous


def test_strict_means_that_no_label_changed(cloud):
    full = run(cloud, cloud[:6])
    assert full.strict
    assert full.n_iter < 300
    # The last round changes nothing, so one round less ends at the same place, not strictly.
    short = run(cloud, cloud[:6], max_iter=full.n_iter - 1)
    assert not short.strict
    assert np.array_equal(short.centroids, full.centroids)
    loose = run(cloud, cloud[:6], tol=1e9)
    assert (loose.n_iter, loose.strict) == (1, False)


def test_labels_and_inertia_belong_to_the_centroids_as_returned(cloud):
    for max_iter in (1, 2, 300):
        result = run(cloud, cloud[:6], max_iter=max_iter)
        assert np.array_equal(result.labels, reference.assign(cloud, result.centroids))
        expected = reference.inertia(cloud, result.labels, result.centroids)
        np.testing.assert_allclose(result.inertia, expected, rtol=1e-13)


def test_labels_belong_to_the_rounded_centroids():
    # 1e4 from the origin float32 is coarse, and rows stand closely: rounding parts some.
    X = 1e4 + np.sort(np.random.default_rng(5).uniform(size=(3000, 1)), axis=0)
    init = X[::100]
    plain = run(X, init, max_iter=5)
    result = run(X, init, max_iter=5, centroid_dtype=np.float32)
    assert result.centroids.dtype == np.float32
    assert np.array_equal(result.centroids, plain.centroids.astype(np.float32))
    assert np.array_equal(result.labels, reference.assign(X, result.centroids))
    assert not np.array_equal(result.labels, plain.labels)
    expected = reference.inertia(X, result.labels, result.centroids)
    np.testing.assert_allclose(result.inertia, expected, rtol=1e-12)


EMPTIES = {
    # name: (X, init, weights)
    "several from several clusters": (
        [[0.0], [1], [2], [7], [50], [53], [60]], [[1.0], [52], [500], [600], [700]], None),
    "several from one cluster": ([[0.0], [1], [5], [100]], [[2.0], [100], [500], [600]], None),
    "ties": ([[0.0], [4], [10], [14]], [[2.0], [12], [500], [600]], None),
    "all rows of a cluster": ([[0.0], [3]], [[1.0], [500]], None),
    "all rows on their centroids": ([[0.0], [0], [7], [7]], [[0.0], [7], [500]], None),
    "all rows equal": ([[5.0]] * 6, [[5.0], [5], [9]], None),
    "weights": ([[0.0], [1], [2], [7], [50], [53]], [[1.0], [52], [500], [600]],
                [1.0, 2, 3, 0.5, 0.25, 4]),
    "the farthest weighs nothing": ([[0.0], [1], [2], [90]], [[1.0], [500], [600]], [1.0, 1, 2, 0]),
    # 0.1 + 0.2 - 0.1 - 0.2 is not 0 in float64, but no row is left.
    "no weight left but rounding's": ([[0.0], [1], [7]], [[0.0], [100], [200]], [0.1, 0.2, 0.0]),
    "more empty clusters than rows that weigh": (
        [[0.0], [1], [7], [9]], [[2.0], [100], [200], [300]], [0.1, 0.0, 0.0, 0.7]),
    "two dimensions": ([[0.0, 1], [2, 3], [4, 1], [2, -5], [8, 8], [10, 6]],
                       [[1.0, 1], [99, 99], [-99, 99], [8, 7]], None),
}  # fmt: skip


@pytest.mark.parametrize("max_iter", [1, 2, 30])
@pytest.mark.parametrize("name", EMPTIES)
def test_empty_clusters_are_repaired_as_the_oracle_repairs_them(name, max_iter):
    X, init, weights = (None if part is None else np.array(part) for part in EMPTIES[name])
    oracle = reference.lloyd(X, init, weights, tol=0, max_iter=max_iter)
    assert_is_the_oracles(run(X, init, weights, max_iter=max_iter), oracle, X)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weighs", [False, True])
def test_random_empty_clusters_are_repaired(seed, weighs):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(60, 3)) + 5
    weights = generator.uniform(size=60) * (generator.random(60) < 0.8) if weighs else None
    init = np.concatenate([X[:4], 1e3 + generator.normal(size=(6, 3))])
    oracle = reference.lloyd(X, init, weights, tol=0)
    assert_is_the_oracles(run(X, init, weights), oracle, X)


def test_relocation_is_scikit_learns():
    X, init, weights = (np.array(part) for part in EMPTIES["weights"])
    ours = KMeans(4, init=init, tol=0, max_iter=1).fit(X, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(4, init=init, n_init=1, tol=0, max_iter=1)
    theirs.fit(X, sample_weight=weights)
    assert np.array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)


NUMBER = re.compile(r"\d+\.\d+(?:e[-+]\d+)?")


@pytest.mark.parametrize("tol", [0, 1e-3])
@pytest.mark.parametrize("weighs", [False, True])
def test_verbose_prints_scikit_learns_lines(tol, weighs, cloud, capsys, rng):
    weights = rng.uniform(1, 2, size=len(cloud)) if weighs else None
    printed = []
    for kind in (KMeans, sklearn.cluster.KMeans):
        kind(5, init=cloud[:5], n_init=1, tol=tol, verbose=1).fit(cloud, sample_weight=weights)
        printed.append(capsys.readouterr().out)
    ours, theirs = printed
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    assert ours.count("\n") > 5
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in printed]
    # Inertias are sums of squares; a shift is a sum of squared differences of centroids.
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-200, 1e-160, 1e155, 1e200])
def test_extreme_values_end_without_a_warning(scale):
    X = np.array([[1.0], [2], [9], [10], [11]]) * scale
    result = run(X, X[[0, 2]])
    expected = np.array([1.5, 10]) * scale
    assert (np.abs(result.centroids[:, 0] - expected) <= 1e-12 * 11 * scale).all()
    assert result.labels.tolist() == [0, 0, 1, 1, 1]
    assert not np.isnan(result.inertia)


# Seeds beside rows of some size, and the exponent with which float64 squares both of them.
FAR_SEEDS = {
    "all are far": (1.0, [[1e150, 0, 1], [-2e150, 1e149, 0], [0, 1e150, -1e140]], 0),
    "one is near": (1.0, [[1e150, 0, 1], [0.5, 0.25, 0], [0, -1e150, 0]], 0),
    "rows are tiny": (1e-160, [[3, 1, 0], [1, 2, 0.5], [-2, 0, 1]], 480),
    "rows are tiny, one seed is": (1e-160, [[3, 1, 0], [1e-160, 0, 0], [-2, 0, 1]], 480),
}


def seeded_far(case, rng, way):
    """Return rows, seeds, what init is, and the exponent."""
    size, seeds, exponent = FAR_SEEDS[case]
    seeds = np.array(seeds)
    init = seeds if way == "array" else lambda X, n_clusters, random_state: seeds
    return rng.normal(size=(90, 3)) * size, seeds, init, exponent


# Mutation: Problem.cover returns at once.
@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
@pytest.mark.parametrize("way", ["array", "callable"])
@pytest.mark.parametrize("case", FAR_SEEDS)
def test_fits_from_seeds_far_outside_the_rows_are_the_oracles(case, way, algorithm, rng):
    X, seeds, init, exponent = seeded_far(case, rng, way)
    oracle = reference.lloyd(np.ldexp(X, exponent), np.ldexp(seeds, exponent), tol=0)
    kmeans = KMeans(3, init=init, n_init=1, tol=0, algorithm=algorithm).fit(X)
    assert np.array_equal(kmeans.labels_, oracle.labels)
    assert kmeans.n_iter_ == oracle.n_iter
    centres = np.ldexp(kmeans.cluster_centers_, exponent)
    largest = np.ldexp(np.abs(X).max(axis=0), exponent)
    assert (np.abs(centres - oracle.centroids) <= 1e-12 * largest).all()
    # Beside 1e-320 a number of float64 is 5e-324.
    expected = np.ldexp(oracle.inertia, -2 * exponent)
    np.testing.assert_allclose(kmeans.inertia_, expected, rtol=1e-12, atol=1e-323)


# Mutation: rounds after the first keep the scale that far seeds asked for.
@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize(("n", "k"), [(63, 5), (3000, 40)])
@pytest.mark.parametrize("weights", [None, 3])
def test_tiny_rows_are_told_apart_once_far_seeds_have_moved(cls, n, k, weights, rng):
    X, seeds = np.vstack([rng.normal(size=(n - 1, 2)), [[0, 0]]]) * 1e-311, rng.normal(size=(k, 2))
    seeds[0] = 0
    if weights is not None:
        weights = rng.integers(1, weights + 1, size=n)
    kmeans = cls(k, init=seeds, n_init=1, random_state=0).fit(X, sample_weight=weights)
    expected = reference.assign(np.ldexp(X, 1000), np.ldexp(kmeans.cluster_centers_, 1000))
    assert len(np.unique(expected)) > k / 2
    for rows in (X, scipy.sparse.csr_array(X)):
        assert np.array_equal(kmeans.predict(rows), expected)
    assert np.array_equal(kmeans.labels_, expected)


# Mutation: run keeps the scale that far seeds asked for, or keeps it where the first round ends it.
# After one round some of the clusters have no rows, of which fit warns.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("is_stopped", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_ties_of_tiny_rows_are_broken_right_once_far_seeds_have_moved(is_stopped, seed):
    g = np.random.default_rng(seed)
    X, seeds = np.rint(g.normal(size=(900, 1)) * 3) * 1e-311, g.normal(size=(9, 1))
    kmeans = KMeans(9, init=seeds, n_init=1, callback=lambda record: is_stopped).fit(X)
    expected = reference.assign(np.ldexp(X, 1000), np.ldexp(kmeans.cluster_centers_, 1000))
    assert len(np.unique(expected)) > 4
    assert np.array_equal(kmeans.labels_, expected)


@pytest.mark.parametrize("way", ["array", "callable"])
@pytest.mark.parametrize("case", FAR_SEEDS)
def test_a_batch_learnt_from_seeds_far_outside_the_rows_is_the_oracles(case, way, rng):
    X, seeds, init, exponent = seeded_far(case, rng, way)
    rows, seeds = np.ldexp(X, exponent), np.ldexp(seeds, exponent)
    learnt = MiniBatchKMeans(3, init=init, n_init=1, reassignment_ratio=0).partial_fit(X)
    # The first batch makes each seed the mean of its rows; a seed without rows stays.
    labels = reference.assign(rows, seeds)
    means = [rows[labels == j].mean(axis=0) if j in labels else seeds[j] for j in range(3)]
    largest = np.abs(rows).max(axis=0)
    centres = np.ldexp(learnt.cluster_centers_, exponent)
    for j in range(3):
        room = 1e-12 * largest if j in labels else 0
        assert (np.abs(centres[j] - means[j]) <= room).all()
    assert np.array_equal(learnt.labels_, reference.assign(rows, centres))
    expected = np.ldexp(reference.inertia(rows, learnt.labels_, centres), -2 * exponent)
    np.testing.assert_allclose(learnt.inertia_, expected, rtol=1e-12, atol=1e-323)


@needs_timer
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("weighs", [False, True])
def test_ctrl_c_is_heard_during_a_run(n_threads, weighs, rng):
    # Hundreds of rounds of a tenth of a second and more.
    X = rng.normal(size=(150_000, 64)).astype("f4")
    weights = rng.uniform(size=len(X)) if weighs else None
    problem = Problem(X, weights, n_threads=n_threads)
    with interrupted_after(0.4) as pressed_at:
        with pytest.raises(KeyboardInterrupt):
            _lloyd.run(problem, X[:2000].astype(np.float64), max_iter=10**6, tol=-1.0)
        heard_after = time.perf_counter() - pressed_at
    assert heard_after < 5
    # And nothing is left behind.
    small = X[:300].astype(np.float64)
    assert_is_the_oracles(run(small, small[:4]), reference.lloyd(small, small[:4], tol=0), small)


@pytest.mark.parametrize("exponent", [0, -700, 700])
def test_assign_inertia_and_transform(exponent, rng):
    near_one = rng.normal(size=(333, 7))
    centroids = near_one[:9] + 0.01
    X = np.ldexp(near_one, exponent)
    problem = Problem(X, n_threads=2)
    scaled = np.asfortranarray(np.ldexp(centroids, exponent))
    labels = _lloyd.assign(problem, scaled)
    assert np.array_equal(labels, reference.assign(near_one, centroids))
    distances = _lloyd.transform(problem, scaled)
    expected = np.ldexp(np.sqrt(reference.sq_dists(near_one, centroids)), exponent)
    assert np.array_equal(distances, expected)
    inertia = problem.inertia(labels, scaled)
    if exponent == 0:
        np.testing.assert_allclose(inertia, reference.inertia(X, labels, scaled), rtol=1e-13)
    else:  # squares of 2^700 are no numbers
        assert inertia == (0 if exponent < 0 else np.inf)


def test_weighted_rows_fewer_than_clusters_settle():
    # Means of equal rows under weights are an ulp off, which is no reason to move anything.
    X = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]], dtype=np.float64)
    weights = np.array([0.3, 0.3, 2, 2, 1])
    init = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=np.float64)
    problem = Problem(X, weights, n_threads=1)
    result = _lloyd.run(problem, init, max_iter=1000, tol=0.0)
    assert result.n_iter < 10
    assert result.inertia < 1e-28
    assert len(set(result.labels)) == 4
    assert result.labels[0] == result.labels[2]
