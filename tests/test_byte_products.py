"""Products of bytes leave work out and change no label: their bounds hold, or brute force acts."""

import core_tools
import numpy as np
import pytest
import reference
from core_tools import ISAS_WITH_BYTES

from fastkm import KMeans, _core, _lloyd
from fastkm._filter import Pruning
from fastkm._problem import Problem

pytestmark = pytest.mark.skipif(not ISAS_WITH_BYTES, reason="no products of bytes on this machine")


def clusters(n, d, k, seed=0, spread=1.0):
    """Return rows around k centroids, and these."""
    generator = np.random.default_rng(seed)
    centroids = generator.normal(size=(k, d))
    X = centroids[generator.integers(k, size=n)] + spread * generator.normal(size=(n, d))
    return X.astype(np.float32), centroids


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [
        (1, 1, 2),
        (63, 2, 3),
        (64, 3, 5),
        (65, 4, 6),
        (127, 5, 7),
        (130, 31, 11),
        (257, 32, 12),
        (300, 33, 13),
        (300, 100, 24),
        (300, 257, 25),
        (520, 784, 70),
    ],
)
def test_labels_are_the_oracles_where_codes_cannot_tell(isa, n, d, k):
    # Pairs of centroids that differ by less than a step of their codes, and rows all around.
    X, centroids = clusters(n, d, k, spread=0.3)
    centroids[1::2] = centroids[: 2 * (k // 2) : 2] + 1e-3 * np.random.default_rng(1).normal(
        size=(k // 2, d)
    )
    expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, f"{isa}, bytes"), expected)


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
@pytest.mark.parametrize("side", ["rows", "centroids"])
def test_errors_of_codes_that_add_up_are_within_the_bounds(isa, side):
    # One feature sets the step; all others are nearly half a step off, and to the same side for
    # the centroid that is not the nearest: its product is as wrong as it can be.
    d, largest = 400, 63 if isa == "avx2" else 127
    step = 1 / largest
    off = np.full(d, 0.49 * step)
    off[0] = 0
    peak = np.zeros(d)
    peak[0] = 1.0
    if side == "rows":
        X = np.array([peak + off, peak - off, -peak + off, -peak - off] * 20)
        centroids = np.array([0.9 * off, -0.9 * off, off * 0.5, -0.5 * off, peak, -peak])
    else:
        X = np.array([off, -off, 0.9 * off, -0.9 * off, peak, -peak] * 20)
        centroids = np.array([peak + off, peak - off, -peak + off, -peak - off, 0 * off])
    expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, f"{isa}, bytes"), expected)


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_most_rows_of_clear_data_need_no_distance(isa):
    X, centroids = clusters(2000, 100, 50, spread=0.3)
    _, engine = core_tools.make_engine(X, centroids, f"{isa}, bytes")
    labels = np.empty(len(X), np.int32)
    engine.assign(labels, 0, len(X))
    assert np.array_equal(labels, reference.assign(X, centroids))
    assert engine.byte_work()[3] < len(X) / 20


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_panels_are_left_to_brute_force_where_bytes_leave_too_much(isa):
    # All centroids are as good as one for codes, so that every one is left for every row.
    generator = np.random.default_rng(2)
    X = generator.normal(size=(40_000, 64)).astype(np.float32)
    centroids = 5 + 1e-3 * generator.normal(size=(70, 64))
    _, engine = core_tools.make_engine(X, centroids, f"{isa}, bytes")
    labels = np.empty(len(X), np.int32)
    engine.assign(labels, 0, len(X))
    assert np.array_equal(labels, reference.assign(X, centroids))
    # Of 2500 or 625 panels some tens are tried, a distance a row each.
    assert engine.byte_work()[3] < len(X) / 10


def crowded(n, d, n_clusters, seed=3):
    """Return rows of clusters narrow beside their distances, and five of the rows of each."""
    generator = np.random.default_rng(seed)
    middles = generator.uniform(-10, 10, size=(n_clusters, d))
    label = np.arange(n) % n_clusters
    X = (middles[label] + 0.3 * generator.normal(size=(n, d))).astype(np.float32)
    return X, X[: 5 * n_clusters].astype(np.float64)


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
@pytest.mark.parametrize("always", [False, True])
def test_labels_do_not_depend_on_what_is_judged(isa, always):
    X, centroids = crowded(6000, 64, 20)
    _, engine = core_tools.make_engine(X, centroids, isa)
    engine.use_bytes(always=always)
    engine.set_centroids(centroids)
    labels = np.empty(len(X), np.int32)
    engine.assign(labels, 0, len(X))
    n_tried, n_open, *_ = engine.byte_work()
    assert n_open > n_tried / 2
    assert (n_tried == len(X)) == always
    assert np.array_equal(labels, reference.assign(X, centroids))


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_bytes_are_given_up_at_once_and_tried_again_where_they_do_not_pay(isa):
    X, centroids = crowded(20_000, 64, 20)
    problem = Problem(X, n_threads=1, isa=isa)
    engine = problem.engine(len(centroids))
    engine.use_bytes()
    labels = np.empty(len(X), np.int32)
    engine.set_centroids(centroids)
    engine.assign(labels, 0, 4096)
    # Of the first 64 or 256 panels some five.
    first = engine.byte_work()[0]
    assert 0 < first < 4096 / 10
    for _ in range(5):
        engine.assign(labels, 0, len(X))
    n_tried = engine.byte_work()[0] - first
    assert 0 < n_tried < 5 * len(X) / 50
    assert not engine.pays_in_bytes


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_centroids_are_tried_in_bytes_ever_less_until_they_pay(isa):
    X, crowd = crowded(4096, 256, 20)
    problem = Problem(X, n_threads=1, isa=isa)
    engine = problem.engine(len(crowd))
    engine.use_bytes()
    labels = np.empty(len(X), np.int32)
    apart = 3.0 * np.tile(np.arange(5), 20)
    clear = np.repeat(X[:20].astype(np.float64), 5, axis=0) + apart[:, None]

    def n_tried_under(centroids):
        before = engine.byte_work()[0]
        engine.set_centroids(centroids)
        engine.assign(labels, 0, len(X))
        return engine.byte_work()[0] - before

    tries = [n_tried_under(crowd) > 0 for _ in range(30)]
    assert np.flatnonzero(tries).tolist() == [0, 2, 8, 22]
    later = [n_tried_under(clear) for _ in range(40)]
    assert later[-1] == len(X)


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_bytes_are_kept_where_they_pay(isa):
    X, centroids = clusters(20_000, 256, 256, spread=0.3)
    problem = Problem(X, n_threads=1, isa=isa)
    engine = problem.engine(len(centroids))
    assert engine.in_bytes
    engine.set_centroids(centroids)
    engine.assign(np.empty(len(X), np.int32), 0, len(X))
    assert engine.byte_work()[0] == len(X)
    assert engine.pays_in_bytes


def test_the_filter_does_not_wait_for_rounds_in_bytes_that_are_given_up():
    # Rows of 20 clusters, each with five centroids; the filter pays.
    X, centroids = crowded(6000, 256, 20)
    starts = []
    for is_crowded in (False, True):
        problem = Problem(X, n_threads=1, isa=ISAS_WITH_BYTES[-1])
        engine = problem.engine(len(centroids))
        engine.use_bytes()
        engine.set_centroids(centroids)
        pruning = Pruning(problem, engine, 50, "elkan")
        pruning._rounds_before = 2
        labels = np.zeros(len(X), np.int32)
        if is_crowded:
            engine.assign(labels, 0, len(X))
            assert not engine.pays_in_bytes
        pruning.after_round(centroids, labels, len(X))
        starts.append(pruning._is_on)
    assert starts == [False, True]


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_fits_in_bytes_have_the_bits_of_fits_in_floats(isa, n_threads):
    X, centroids = clusters(17_000, 250, 100, spread=1.5)
    results = []
    for algorithm in ("auto", "lloyd"):
        problem = Problem(X, n_threads=n_threads, isa=isa)
        run = _lloyd.run(problem, centroids, max_iter=30, tol=0.0, algorithm=algorithm)
        results.append((run.labels.tobytes(), run.centroids.tobytes(), run.inertia, run.n_iter))
    assert results[0] == results[1]


def test_prediction_uses_bytes_for_many_rows_features_and_clusters(monkeypatch):
    used = []

    class Recorder(Problem):
        def engine(self, k):
            used.append(super().engine(k))
            return used[-1]

    X, centroids = clusters(20_000, 200, 200)
    for n, d, k, expected in [
        (20_000, 200, 200, True),
        (500, 200, 100, False),
        (20_000, 16, 100, False),
        (20_000, 200, 8, False),
    ]:
        problem = Recorder(X[:n, :d], n_threads=1, isa=ISAS_WITH_BYTES[-1])
        _lloyd.assign(problem, centroids[:k, :d])
        assert used[-1].in_bytes == expected


def test_other_instruction_sets_go_on_without(rng):
    for isa in set(_core.supported_isas()) - set(ISAS_WITH_BYTES):
        problem = Problem(rng.normal(size=(100, 64)), n_threads=1, isa=isa)
        engine = problem.engine(30)
        engine.use_bytes()
        assert not engine.in_bytes


def test_predict_and_labels_agree_beyond_what_bytes_can_hold():
    # Rows so far away that their squares leave float32, beside near ones.
    X, centroids = clusters(17_000, 200, 100, spread=0.3)
    model = KMeans(100, init=centroids, n_init=1).fit(X)
    far = X.astype(np.float64)
    far[::7] *= 1e25
    far[::11] = 1e150
    with np.errstate(over="ignore"):
        expected = reference.assign(far, model.cluster_centers_.astype(np.float64))
    assert np.array_equal(model.predict(far), expected)
