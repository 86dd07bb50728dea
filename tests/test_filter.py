"""The filter leaves work out and changes no bit: everything is compared with brute force."""

import numpy as np
import pytest

from fastkm import KMeans, _core, _filter, _lloyd
from fastkm._problem import Problem


class BruteForce:
    """Takes Pruning's place and never starts a filter."""

    def __init__(self, problem, engine, max_iter, algorithm):
        pass

    def after_round(self, centroids, labels):
        pass


@pytest.fixture
def force(monkeypatch):
    """Start the filter on any data, keep it on, and count the starts and the work left."""
    seen = {"starts": 0, "distances": 0, "forced": 0}

    class Recorder(_filter.Pruning):
        def _start(self, centroids, labels):
            super()._start(centroids, labels)
            seen["starts"] += self._is_on

        def _judge(self):
            n_distances, n_forced_rows = self._engine.filter_work()
            seen["distances"] += n_distances
            seen["forced"] += n_forced_rows

    def start(n_directions, oversampling=0):
        for name in ("LEAST_FEATURES", "LEAST_CLUSTERS", "LEAST_ROWS"):
            monkeypatch.setattr(_filter, name, 1)
        monkeypatch.setattr(_filter, "MOST_SHARE_OF_X", np.inf)
        monkeypatch.setattr(_filter, "LEAST_ENERGY", -1.0)
        monkeypatch.setattr(_filter, "N_DIRECTIONS", n_directions)
        monkeypatch.setattr(_filter, "OVERSAMPLING", oversampling)
        monkeypatch.setattr(_lloyd, "Pruning", Recorder)
        return seen

    return start


def run(X, k, *, weights=None, isa=None, n_threads=1, max_iter=10):
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    init = problem.rows(range(0, len(X), len(X) // k))[:k]
    result = _lloyd.run(problem, init, max_iter=max_iter, tol=0.0, centroid_dtype=X.dtype)
    return result.labels.tobytes(), result.centroids.tobytes(), result.inertia, result.n_iter


def run_by_brute_force(monkeypatch, X, k, **kwargs):
    with monkeypatch.context() as patch:
        patch.setattr(_lloyd, "Pruning", BruteForce)
        return run(X, k, **kwargs)


def latent(n, d, rank, seed=0):
    """Rows in `rank` dimensions, rotated, with a little noise in all others."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(rank, d)) * np.arange(rank, 0, -1)[:, None]
    return generator.normal(size=(n, rank)) @ mixing + 0.1 * generator.normal(size=(n, d))


HOSTILE = {
    "latent": lambda X: X,
    "far from the origin": lambda X: X + 1e6,
    "two tight blobs": lambda X: 1e-3 * X + np.where(np.arange(len(X)) % 2, 1e4, -1e4)[:, None],
    "ties": lambda X: np.round(X / 8),
    "duplicates": lambda X: X[np.arange(len(X)) // 3],
    "tiny": lambda X: X * 1e-30,
    "huge": lambda X: X * 1e30,
    "mixed magnitudes": lambda X: X * 10.0 ** (np.arange(len(X)) % 30 - 15)[:, None],
    "one huge feature": lambda X: X * np.where(np.arange(X.shape[1]) == 1, 1e6, 1),
    "isotropic": lambda X: np.random.default_rng(5).normal(size=X.shape),
    "all rows equal": lambda X: np.repeat(X[:1], len(X), axis=0),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", HOSTILE)
def test_filter_keeps_the_bits_of_brute_force_on_hostile_data(kind, dtype, force, monkeypatch):
    X = HOSTILE[kind](latent(530, 70, 6)).astype(dtype)
    expected = run_by_brute_force(monkeypatch, X, 40)
    seen = force(n_directions=12)
    assert run(X, 40) == expected
    assert seen["starts"] == 1


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize(
    ("n", "d", "k", "n_directions"),
    [
        (64, 5, 2, 1),
        (65, 16, 6, 5),
        (130, 33, 7, 6),
        (257, 64, 13, 7),
        (300, 100, 31, 13),
        (700, 300, 65, 48),
    ],
)
def test_filter_keeps_the_bits_for_every_instruction_set_and_size(
    isa, n, d, k, n_directions, force, monkeypatch
):
    X = latent(n, d, 3, seed=n).astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, k, isa=isa)
    force(n_directions)
    assert run(X, k, isa=isa) == expected


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_filter_keeps_the_bits_for_every_number_of_threads(n_threads, force, monkeypatch):
    X = latent(4000, 80, 5).astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, 50)
    force(n_directions=12)
    assert run(X, 50, n_threads=n_threads) == expected


def test_filter_keeps_the_bits_under_weights(force, monkeypatch):
    X = latent(600, 70, 5)
    weights = np.random.default_rng(1).uniform(0, 2, size=len(X))
    expected = run_by_brute_force(monkeypatch, X, 30, weights=weights)
    seen = force(n_directions=12)
    assert run(X, 30, weights=weights) == expected
    assert seen["starts"] == 1


def test_filter_excludes_most_distances_where_few_directions_hold_the_variance(force):
    X = latent(3000, 128, 4).astype(np.float32)
    seen = force(n_directions=12)
    *_, n_iter = run(X, 60, max_iter=20)
    brute_force = len(X) * 60 * (n_iter - 2)
    assert n_iter > 5
    assert seen["forced"] == 0
    assert 0 < seen["distances"] < brute_force / 10


def test_rows_whose_candidates_overflow_the_list_are_labelled_right(force, monkeypatch):
    # In one direction of isotropic data nothing is excluded: every list of 100 centroids overflows.
    X = np.random.default_rng(2).normal(size=(400, 40)).astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, 100)
    seen = force(n_directions=1)
    assert run(X, 100) == expected
    assert seen["forced"] > 0


def test_lists_too_long_to_keep_are_not_refined_however_many_centroids_there_are(
    force, monkeypatch
):
    # Groups of 100 centroids that differ outside the sketches only: more than a list keeps, and
    # still fewer than a tenth of all.
    generator = np.random.default_rng(0)
    groups = generator.normal(size=(20, 10)) @ generator.normal(size=(10, 120)) * 10
    X = np.tile(groups, (125, 1)) + 0.3 * generator.normal(size=(2500, 120))
    X = X.astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, 2000, max_iter=5)
    seen = force(48, oversampling=8)
    for isa in _core.supported_isas():
        assert run(X, 2000, isa=isa, max_iter=5) == expected
    assert seen["starts"] == len(_core.supported_isas())


def test_filter_declines_isotropic_data():
    X = np.random.default_rng(3).normal(size=(2500, 256)).astype(np.float32)
    problem = Problem(X, n_threads=1)
    _, energy = _filter.principal_directions(problem, _filter.N_DIRECTIONS)
    # The 42 leading of 256 sample variances of 625 rows lie below (1 + sqrt(256 / 625))^2 = 2.69
    # (Marchenko and Pastur 1967), so their share is below 42 * 2.69 / 256 = 0.45.
    assert 42 / 256 < energy < 0.45


def test_filter_ends_where_it_does_not_pay(monkeypatch):
    X = np.random.default_rng(3).normal(size=(2500, 256)).astype(np.float32)
    monkeypatch.setattr(_filter, "LEAST_ENERGY", -1.0)
    problem = Problem(X, n_threads=1)
    engine = problem.engine(40)
    centroids = problem.rows(range(40))
    labels = np.empty(problem.n, dtype=np.int32)
    engine.set_centroids(centroids)
    engine.assign(labels, 0, problem.n)
    pruning = _filter.Pruning(problem, engine, 100, "auto")
    pruning.after_round(centroids, labels)
    assert pruning._is_on
    for _ in range(2):
        engine.set_centroids(centroids)
        engine.assign(labels, 0, problem.n, labels)
        pruning.after_round(centroids, labels)
    assert not pruning._is_on


@pytest.mark.parametrize(("algorithm", "n_starts"), [("lloyd", 0), ("auto", 0), ("elkan", 1)])
def test_algorithm_changes_the_work_and_not_the_bits(algorithm, n_starts, monkeypatch):
    starts = []
    start = _filter.Pruning._start
    monkeypatch.setattr(_filter.Pruning, "_start", lambda *args: starts.append(1) or start(*args))
    X = latent(500, 20, 3)
    fit = KMeans(30, init=X[:30], algorithm=algorithm, n_init=1, tol=0).fit(X)
    problem = Problem(X, n_threads=1)
    expected = _lloyd.run(problem, X[:30], max_iter=300, tol=0.0, algorithm="lloyd")
    assert len(starts) == n_starts
    assert np.array_equal(fit.labels_, expected.labels)
    assert np.array_equal(fit.cluster_centers_, expected.centroids)
    assert fit.inertia_ == expected.inertia
    assert fit.n_iter_ == expected.n_iter


def test_directions_are_orthonormal_and_hold_the_leading_variance():
    X = latent(900, 90, 5)
    problem = Problem(X, n_threads=1)
    basis, energy = _filter.principal_directions(problem, 5)
    assert basis.shape == (90, 5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-6)
    centred = X - X.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    # The subspace is found in float32 from a start at random: right to a part in a thousand.
    assert energy == pytest.approx(variances[:5].sum() / variances.sum(), rel=1e-3)


def test_directions_leave_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()
    _filter.principal_directions(Problem(latent(100, 20, 3), n_threads=1), 3)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("shape", [(19, 3), (20, 0)])
def test_filter_refuses_a_basis_that_does_not_fit(shape):
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis = np.zeros(shape, dtype=np.float32)
    with pytest.raises(ValueError, match="basis must have shape"):
        _core.Filter(problem.points, basis, 0.0, 4, problem.isa)


def test_engine_refuses_a_filter_for_other_centroids():
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis, _ = _filter.principal_directions(problem, 3)
    filter_ = _core.Filter(problem.points, basis, 1e-6, 4, problem.isa)
    with pytest.raises(ValueError, match="must fit"):
        problem.engine(5).use_filter(filter_)


def test_wrong_calls_with_a_filter_are_exceptions():
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis, _ = _filter.principal_directions(problem, 3)
    engine = problem.engine(4)
    engine.set_centroids(problem.rows(range(4)))
    filter_ = _core.Filter(problem.points, basis, 1e-6, 4, problem.isa)
    other = Problem(latent(100, 19, 3), n_threads=1)
    basis, _ = _filter.principal_directions(other, 3)
    for wrong, error in [
        (None, TypeError),
        (_core.Filter(other.points, basis, 1e-6, 4, problem.isa), ValueError),
        (_core.Filter(problem.points, np.zeros((20, 3), "f4"), 0.0, 5, problem.isa), ValueError),
    ]:
        with pytest.raises(error):
            engine.sketch(wrong, 0, 100)
    with pytest.raises(TypeError):
        _core.Filter(None, basis, 0.0, 4, problem.isa)
    engine.sketch(filter_, 0, 100)
    filter_.set_upper(np.zeros(100), 1.0)
    engine.use_filter(filter_)
    labels = np.zeros(100, np.int32)
    for label in (-1, 4, 2**31 - 1):
        labels_old = np.zeros(100, np.int32)
        labels_old[99] = label
        with pytest.raises(ValueError, match="last label of row 99"):
            engine.assign(labels, 0, 100, labels_old)
