"""The filter leaves work out and changes no bit: everything is compared with brute force."""

import numpy as np
import pytest
import reference

from fastkm import KMeans, _core, _filter, _lloyd
from fastkm._problem import Problem


class BruteForce:
    """Takes Pruning's place and never starts a filter."""

    def __init__(self, problem, engine, max_iter, algorithm):
        pass

    def after_round(self, centroids, labels, n_changed):
        pass


@pytest.fixture
def force(monkeypatch):
    """Start the filter on any data, keep it on, and count the starts and the work left."""
    seen = {"starts": 0, "products": 0, "read": 0, "distances": 0, "forced": 0}

    class Recorder(_filter.Pruning):
        def _start(self, centroids, labels):
            super()._start(centroids, labels)
            seen["starts"] += self._is_on

        def _judge(self):
            n_products, n_read, n_distances, n_forced_rows = self._engine.filter_work()
            seen["products"] += n_products
            seen["read"] += n_read
            seen["distances"] += n_distances
            seen["forced"] += n_forced_rows

    def start(n_directions, sorts=True):
        for name in ("LEAST_FEATURES", "LEAST_CLUSTERS", "LEAST_ROWS"):
            monkeypatch.setattr(_filter, name, 1)
        for name in (
            "MOST_SHARE_OF_X",
            "MOST_FOR_SKETCHES",
            "MOST_FOR_DIRECTIONS",
            "MOST_FOR_MORE",
            "PROMISING",
        ):
            monkeypatch.setattr(_filter, name, np.inf)
        monkeypatch.setattr(_filter, "N_DIRECTIONS", (n_directions,))
        monkeypatch.setattr(_filter, "CHEAP_IN_BYTES", 0)  # starts after the first round
        monkeypatch.setattr(_filter, "CLUSTERS_TO_SORT", 1 if sorts else np.inf)
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


@pytest.mark.parametrize(
    ("n_directions", "sorts"), [(12, True), (12, False), (30, False), (30, True)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", HOSTILE)
def test_filter_keeps_the_bits_of_brute_force_on_hostile_data(
    kind, dtype, n_directions, sorts, force, monkeypatch
):
    X = HOSTILE[kind](latent(530, 70, 6)).astype(dtype)
    expected = run_by_brute_force(monkeypatch, X, 40)
    seen = force(n_directions, sorts)
    assert run(X, 40) == expected
    assert seen["starts"] == 1 or kind == "all rows equal"  # they may leave no direction


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize(
    ("n_directions", "sorts"), [(6, True), (24, True), (6, False), (24, False)]
)
@pytest.mark.parametrize("seed", range(4))
def test_bounds_that_last_keep_the_bits_over_many_rounds(
    seed, n_directions, sorts, isa, force, monkeypatch
):
    # Centroids creep for 60 rounds: bounds are used up, found anew, and lost with a row's label.
    generator = np.random.default_rng(seed)
    X = latent(2500, 64, 5, seed) + 3 * generator.normal(size=(50, 64))[np.arange(2500) % 50]
    X = X.astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, 60, isa=isa, max_iter=60)
    seen = force(n_directions, sorts)
    assert run(X, 60, isa=isa, max_iter=60) == expected
    n_rounds = expected[-1] - 2
    assert n_rounds > 10
    assert seen["products"] < 0.9 * n_rounds * len(X) * 60 * (n_directions + 1)


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize("sorts", [False, True])
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
    n, d, k, n_directions, sorts, isa, force, monkeypatch
):
    X = latent(n, d, 3, seed=n).astype(np.float32)
    expected = run_by_brute_force(monkeypatch, X, k, isa=isa)
    force(n_directions, sorts)
    assert run(X, k, isa=isa) == expected


@pytest.mark.parametrize("sorts", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_filter_keeps_the_bits_for_every_number_of_threads(n_threads, sorts, force, monkeypatch):
    X = latent(9000, 80, 5).astype(np.float32)  # tasks of more than one block
    expected = run_by_brute_force(monkeypatch, X, 50)
    force(12, sorts)
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
    seen = force(48)
    for isa in _core.supported_isas():
        assert run(X, 2000, isa=isa, max_iter=5) == expected
    assert seen["starts"] == len(_core.supported_isas())


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_what_the_first_directions_leave_of_a_norm_counts_in_full(isa):
    # Rows and centroids of a group share ten units of length outside of the first third of the
    # directions; there and elsewhere they differ by one. Of a norm that is a fifth too small, the
    # product with such a row's lacks 20 units of squared distance, and the centroid next to a row
    # looks farther than the own one, which has gone by one.
    n_groups, n_members, d, p = 12, 5, 40, 24
    generator = np.random.default_rng(6)
    groups = np.zeros((n_groups, d))
    groups[:, 8:p] = generator.normal(size=(n_groups, p - 8))
    groups *= 10 / np.linalg.norm(groups, axis=1, keepdims=True)
    apart = np.zeros((n_members, n_groups, d))
    apart[..., :p] = generator.normal(size=(n_members, n_groups, p)) / p**0.5
    centroids = groups + apart  # members of one group in tiles of their own
    labels = np.repeat(np.arange(n_members * n_groups, dtype=np.int32), 64)  # a panel of each
    X = centroids.reshape(-1, d)[labels] + 0.02 * generator.normal(size=(len(labels), d))
    problem = Problem(X.astype(np.float32), n_threads=1, isa=isa)
    engine = problem.engine(n_members * n_groups)
    basis = np.eye(d, p, dtype=np.float32)
    filter_ = _core.Filter(problem.points, basis, engine.k, 1, problem.isa)
    engine.set_centroids(centroids.reshape(-1, d).copy())
    engine.use_filter(filter_, labels)
    engine.sketch(0, problem.n)
    moved = np.roll(centroids, 1, axis=0).reshape(-1, d)
    engine.set_centroids(moved)
    found = np.empty_like(labels)
    engine.assign(found, 0, problem.n, labels)
    assert np.array_equal(found, reference.assign(problem.X, moved))
    assert (found != labels).all()


def started(X, k, algorithm="auto", n_threads=1):
    """Pruning after a first round from the first k rows, those rows, and the labels."""
    problem = Problem(X, n_threads=n_threads)
    engine = problem.engine(k)
    engine.use_bytes(False)  # with them the filter starts a round later
    centroids = problem.rows(range(k))
    labels = np.empty(problem.n, dtype=np.int32)
    engine.set_centroids(centroids)
    engine.assign(labels, 0, problem.n)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MOST_FOR_DIRECTIONS", "MOST_FOR_MORE"):
            patch.setattr(_filter, name, np.inf)  # the points are few
        pruning = _filter.Pruning(problem, engine, 100, algorithm)
    pruning.after_round(centroids, labels, len(labels))
    return pruning, centroids, labels


def test_filter_starts_where_few_directions_hold_the_variance_and_declines_isotropic_data():
    isotropic = np.random.default_rng(3).normal(size=(2500, 256)).astype(np.float32)
    assert started(latent(2500, 256, 8).astype(np.float32), 40)[0]._is_on
    assert not started(isotropic, 40)[0]._is_on


def test_directions_are_not_looked_for_where_they_would_cost_more_than_they_save(monkeypatch):
    looked = []
    directions = _filter.leading_directions
    monkeypatch.setattr(
        _filter, "leading_directions", lambda *args: looked.append(1) or directions(*args)
    )
    X = latent(40000, 256, 8).astype(np.float32)
    for n, max_iter in [(40000, 20), (40000, 4), (2500, 20)]:
        KMeans(32, init=X[:32], n_init=1, tol=0, max_iter=max_iter, n_threads=1).fit(X[:n])
    assert len(looked) == 1


def test_more_directions_are_taken_where_the_variance_is_spread():
    chosen = []
    for rank in (4, 60):
        X = latent(4000, 600, rank).astype(np.float32)
        pruning, *_ = started(X + np.repeat(X[:20], 200, axis=0), 64)
        assert pruning._is_on
        chosen.append(pruning._filter.p)
    assert chosen[0] < chosen[1]


def test_trial_foretells_what_the_first_filtered_pass_reads(monkeypatch):
    monkeypatch.setattr(_filter, "EXPECTED_DRIFT", 0.0)
    monkeypatch.setattr(_filter, "N_DIRECTIONS", (24,))
    foretold = []

    class Trial(_filter._Trial):
        def left(self, p):
            foretold.append((p, *super().left(p)))
            return foretold[-1][1:]

    monkeypatch.setattr(_filter, "_Trial", Trial)
    X = latent(6000, 400, 30) + 8 * np.random.default_rng(1).normal(size=(6000, 400))
    pruning, centroids, labels = started(X.astype(np.float32), 50)
    (expected,) = (read for p, read, _ in foretold if p == pruning._filter.p)
    pruning._engine.set_centroids(centroids)
    pruning._engine.assign(labels, 0, len(X), labels)
    _, n_read, n_distances, n_forced = pruning._engine.filter_work()
    # A sample of 192 rows is off by a tenth easily.
    assert 0.1 < expected < 0.9
    assert 0.8 * expected < n_read / len(X) < 1.2 * expected
    assert n_forced == 0
    assert n_distances >= n_read


def test_filter_ends_where_it_does_not_pay(monkeypatch):
    X = np.random.default_rng(3).normal(size=(2500, 800)).astype(np.float32)
    monkeypatch.setattr(_filter, "PROMISING", np.inf)
    monkeypatch.setattr(_filter, "N_DIRECTIONS", (6,))
    pruning, centroids, labels = started(X, 40)
    assert pruning._is_on
    for _ in range(2):
        pruning._engine.set_centroids(centroids)
        pruning._engine.assign(labels, 0, len(X), labels)
        pruning.after_round(centroids, labels, len(labels))
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


def test_directions_are_orthonormal_and_the_first_ones_hold_the_leading_variance():
    X = latent(900, 90, 12)
    problem = Problem(X, n_threads=1)
    basis = _filter.leading_directions(problem, _filter.sample_rows(problem), 20)
    assert basis.shape == (90, 20)
    np.testing.assert_allclose(basis.T @ basis, np.eye(20), atol=1e-6)
    centred = X - X.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    for p, share in [(4, 0.8), (12, 0.999)]:
        inside = np.sum((centred @ basis[:, :p]) ** 2)
        assert share * variances[:p].sum() < inside < (1 + 1e-6) * variances[:p].sum()


def test_directions_hold_the_centroids_before_the_rows():
    X = latent(900, 90, 40)
    problem = Problem(X, n_threads=1)
    sample = _filter.sample_rows(problem)
    centroids = (0.3 * np.random.default_rng(1).normal(size=(6, 90))).astype(np.float32)
    outside = [
        np.linalg.norm(centroids - centroids @ basis @ basis.T)
        for basis in (
            _filter.leading_directions(problem, sample, 12),
            _filter.leading_directions(problem, sample, 12, centroids),
        )
    ]
    assert outside[1] < 0.2 * outside[0]


def test_directions_are_as_many_as_the_rows_have():
    X = np.repeat(np.random.default_rng(0).normal(size=(3, 50)), 20, axis=0)
    problem = Problem(X, n_threads=1)
    sample = _filter.sample_rows(problem)
    sample -= sample.mean(axis=0)
    assert _filter.leading_directions(problem, sample, 10).shape[1] in (2, 3)
    assert _filter.leading_directions(problem, np.zeros_like(sample), 10).shape == (50, 0)


def test_directions_leave_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()
    problem = Problem(latent(100, 20, 3), n_threads=1)
    _filter.leading_directions(problem, _filter.sample_rows(problem), 3)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("isa", _core.supported_isas())
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("n", "d", "p"), [(1, 1, 1), (7, 40, 3), (65, 33, 7), (200, 130, 61)])
def test_multiply_is_the_product(n, d, p, n_threads, isa):
    generator = np.random.default_rng(n)
    a = generator.normal(size=(d, n)).astype(np.float32).T  # not C-ordered
    b = generator.normal(size=(d, p)).astype(np.float32)
    out = np.empty((n, p), dtype=np.float32)
    _core.multiply(a, _core.Basis(b), out, n_threads, isa)
    np.testing.assert_allclose(out, a.astype(float) @ b, atol=1e-5 * d**0.5)


def test_multiply_refuses_what_does_not_fit():
    a, basis = np.zeros((5, 4), np.float32), _core.Basis(np.zeros((3, 2), np.float32))
    for wrong in (np.empty((5, 2), np.float32), np.empty((5, 3), np.float32)):
        with pytest.raises(ValueError, match="must fit"):
            _core.multiply(a, basis, wrong, 1, _core.DEFAULT_ISA)
    with pytest.raises(ValueError, match="columns must have shape"):
        _core.Basis(np.zeros((3, 0), np.float32))


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_orthonormalise_leaves_out_what_depends_on_others(isa):
    generator = np.random.default_rng(0)
    independent = generator.normal(size=(5, 37)) * 10.0 ** np.arange(-2, 3)[:, None]
    vectors = np.ascontiguousarray(
        [
            independent[0],
            np.zeros(37),
            independent[1],
            independent[:2].sum(axis=0),
            *independent[2:],
        ]
    )
    assert _core.orthonormalise(vectors, 1, isa) == 5
    np.testing.assert_allclose(vectors[:5] @ vectors[:5].T, np.eye(5), atol=1e-14)
    for j in range(5):  # the first j span what the first j did
        q = vectors[: j + 1]
        np.testing.assert_allclose(independent[j] @ q.T @ q, independent[j], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(19, 3), (20, 0)])
def test_filter_refuses_a_basis_that_does_not_fit(shape):
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis = np.zeros(shape, dtype=np.float32)
    with pytest.raises(ValueError, match="basis must have shape"):
        _core.Filter(problem.points, basis, 4, 1, problem.isa)


@pytest.mark.parametrize(
    "order", [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 1, 3], [0, 1, 2, 4], [-1, 0, 1, 2]]
)
def test_filter_refuses_an_order_that_is_none(order):
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis = np.eye(20, 3, dtype=np.float32)
    with pytest.raises(ValueError, match="centroid_order must"):
        _core.Filter(problem.points, basis, 4, 1, problem.isa, np.array(order, dtype=np.int32))


@pytest.mark.parametrize("name", ["place", "sort"])
def test_filter_sorts_by_labels_of_all_rows_and_centroids_only(name):
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis = np.eye(20, 3, dtype=np.float32)
    filter_ = _core.Filter(problem.points, basis, 4, 1, problem.isa)
    sort = getattr(filter_, name)
    with pytest.raises(ValueError, match="must have shape"):
        sort(np.zeros(99, np.int32))
    for label in (-1, 4):
        labels = np.zeros(100, np.int32)
        labels[7] = label
        with pytest.raises(ValueError, match="last label of row 7"):
            sort(labels)


def test_engine_refuses_a_filter_for_other_centroids_or_fewer_threads():
    problem = Problem(latent(100, 20, 3), n_threads=2)
    basis = np.eye(20, 3, dtype=np.float32)
    one_thread_less = [(5, 1)] if _core.has_openmp() else []
    for k, n_threads in [(4, 2), *one_thread_less]:
        filter_ = _core.Filter(problem.points, basis, k, n_threads, problem.isa)
        engine = problem.engine(5)
        engine.set_centroids(problem.rows(range(5)))
        with pytest.raises(ValueError, match="must fit"):
            engine.use_filter(filter_, np.zeros(100, np.int32))


def test_wrong_calls_with_a_filter_are_exceptions():
    problem = Problem(latent(100, 20, 3), n_threads=1)
    basis = np.eye(20, 3, dtype=np.float32)
    engine = problem.engine(4)
    filter_ = _core.Filter(problem.points, basis, 4, 1, problem.isa)
    labels = np.zeros(100, np.int32)
    with pytest.raises(ValueError, match="set_centroids first"):
        engine.use_filter(filter_, labels)
    engine.set_centroids(problem.rows(range(4)))
    other = Problem(latent(100, 19, 3), n_threads=1)
    for wrong in (
        _core.Filter(other.points, basis[:19], 4, 1, problem.isa),
        _core.Filter(problem.points, basis, 5, 1, problem.isa),
    ):
        with pytest.raises(ValueError, match="must fit"):
            engine.use_filter(wrong, labels)
    with pytest.raises(TypeError):
        _core.Filter(None, basis, 4, 1, problem.isa)
    with pytest.raises(ValueError, match="no filter to sketch for"):
        engine.sketch(0, 100)
    with pytest.raises(ValueError, match="begins with labels"):
        engine.use_filter(filter_)
    with pytest.raises(ValueError, match="must have shape"):
        engine.use_filter(filter_, labels[:99])
    for label in (-1, 4, 2**31 - 1):
        wrong_labels = labels.copy()
        wrong_labels[99] = label
        with pytest.raises(ValueError, match="last label of row 99"):
            engine.use_filter(filter_, wrong_labels)
    engine.use_filter(filter_, labels)
    engine.sketch(0, 100)
    with pytest.raises(ValueError, match="do not fit"):
        engine.sketch(0, 101)
    for label in (-1, 4, 2**31 - 1):
        labels_old = np.zeros(100, np.int32)
        labels_old[99] = label
        with pytest.raises(ValueError, match="last label of row 99"):
            engine.assign(labels, 0, 100, labels_old)


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_ways_outside_of_the_directions_and_ties_are_noticed(isa):
    # The row's own centroid goes from 1 to 9 along the second axis, which the basis does not hold.
    X = np.zeros((100, 2))
    X[:50, 0] = 100
    problem = Problem(X, n_threads=1, isa=isa)
    before = np.array([[0.0, 1.0], [100.0, 3.0], [0.0, -3.0]])
    after = np.array([[0.0, 9.0], [100.0, 3.0], [0.0, -2.0]])
    tied = np.array([[0.0, 2.0], [100.0, 3.0], [0.0, -2.0]])
    engine = problem.engine(3)
    engine.set_centroids(before)
    labels = np.empty(100, np.int32)
    engine.assign(labels, 0, 100)
    assert labels.tolist() == [1] * 50 + [0] * 50
    basis = np.array([[1], [0]], np.float32)
    filter_ = _core.Filter(problem.points, basis, 3, 1, isa)
    engine.use_filter(filter_, labels)
    engine.sketch(0, 100)
    for centroids, near_origin in [(before, 0), (after, 2), (tied, 0), (before, 0)]:
        engine.set_centroids(centroids)
        engine.assign(labels, 0, 100, labels)
        assert labels.tolist() == [1] * 50 + [near_origin] * 50


@pytest.mark.parametrize("isa", _core.supported_isas())
def test_a_centroid_that_rows_have_left_is_looked_at_again(isa):
    # In a tile of its own but for far ones it goes away and comes back.
    X = np.zeros((200, 2))
    X[100:, 0] = 100
    problem = Problem(X, n_threads=1, isa=isa)
    far = [[100.0, 300.0 + j] for j in range(5)]
    centroids = [
        np.array([[0, own], *far, [0, -2.0], [100, 3.0], *far[:4]]) for own in (1.0, 3.0, 1.0, 1.5)
    ]
    engine = problem.engine(12)
    engine.set_centroids(centroids[0])
    labels = np.empty(200, np.int32)
    engine.assign(labels, 0, 200)
    filter_ = _core.Filter(problem.points, np.eye(2, dtype=np.float32), 12, 1, isa)
    engine.use_filter(filter_, labels)
    engine.sketch(0, 200)
    for places, near_origin in zip(centroids, (0, 6, 0, 0), strict=True):
        engine.set_centroids(places)
        engine.assign(labels, 0, 200, labels)
        assert labels.tolist() == [near_origin] * 100 + [7] * 100
