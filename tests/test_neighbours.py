"""Cells leave work out and change no bit: all is compared with brute force and the oracle."""

import numpy as np
import pytest
import reference
from core_tools import DTYPES, ISAS, layouts, make_engine
from test_core_assign import HOSTILE, RESCALED, hostile, random_values

from fastkm import KMeans, _core, _filter, _lloyd, _neighbours
from fastkm._problem import Problem


def cells_of(problem, labels, k):
    """Cut the problem's rows into cells that are near each other as far as the labels are right."""
    cells = _core.Neighbours(
        problem.points, problem.frame, labels, k, problem.n_threads, problem.isa
    )
    cells.find_parts(labels, 0, problem.n)
    cells.cut()
    cells.enclose(0, cells.n_cells)
    return cells


def assign_by_cells(X, centroids, isa=None, n_threads=1, first_labels=None):
    """Return the labels under the centroids, by cells cut for other labels, and the work done."""
    k = len(centroids)
    problem, engine = make_engine(X, centroids, isa, n_threads)
    labels = np.empty(problem.n, np.int32)
    engine.assign(labels, 0, problem.n)
    cells = cells_of(problem, labels if first_labels is None else first_labels, k)
    engine.use_neighbours(cells)
    labels[:] = -7
    engine.assign(labels, 0, problem.n)
    return labels, cells.take_work()


def near_rows(n, d, k, dtype="f4", seed=0):
    """Rows about k places, and centroids that are some of the rows; a few lie twice."""
    g = np.random.default_rng([n, d, k, seed])
    places = random_values(g, (k, d), dtype).astype(float)
    X = places[g.integers(0, k, size=n)] + 0.2 * g.normal(size=(n, d))
    X = np.clip(X, 0, None) if np.dtype(dtype).kind in "ub" else X
    X = X.astype(dtype)
    centroids = X[g.integers(0, n, size=k)].astype(np.float64)
    centroids[k // 2] = centroids[0]
    return X, centroids


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_cells_keep_the_oracles_labels_on_hostile_data(isa, kind):
    X, centroids = hostile(kind)
    exponent = RESCALED.get(kind, 0)
    expected = reference.assign(np.ldexp(X, exponent), np.ldexp(centroids, exponent))
    wrong = np.random.default_rng(0).integers(0, len(centroids), size=len(X), dtype=np.int32)
    for first_labels in (None, wrong, np.zeros(len(X), np.int32)):
        labels, _ = assign_by_cells(X, centroids, isa, first_labels=first_labels)
        assert np.array_equal(labels, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", range(1, 21))
def test_cells_keep_the_oracles_labels_for_every_small_d(isa, d):
    for n, k in [(1, 1), (3, 2), (64, 1), (65, 7), (257, 17), (1100, 40), (2500, 2)]:
        X, centroids = near_rows(n, d, k)
        labels, _ = assign_by_cells(X, centroids, isa)
        assert np.array_equal(labels, reference.assign(X, centroids)), (n, k)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_cells_keep_the_oracles_labels_for_every_dtype_and_layout(isa, dtype, tmp_path):
    for d in (2, 17):
        X, centroids = near_rows(300, d, 12, dtype)
        for name, view in layouts(X, tmp_path):
            labels, _ = assign_by_cells(view, centroids, isa)
            assert np.array_equal(labels, reference.assign(view, centroids)), (name, d)


@pytest.mark.parametrize("isa", ISAS)
def test_points_midway_between_centroids_get_the_lowest_index(isa):
    # A grid of rows and a grid of centroids that halves it: rows with up to four equal distances.
    X = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2).astype("f4")
    centroids = X[(X % 4 == 1).all(axis=1)].astype(np.float64) + 1
    expected = reference.assign(X, centroids)
    for order in (slice(None), slice(None, None, -1)):
        labels, (n_products, n_exact) = assign_by_cells(X, centroids[order], isa)
        assert np.array_equal(labels, reference.assign(X, centroids[order]))
        assert 0 < n_exact < len(X)
        assert n_products < len(X) * len(centroids) / 10
    assert len(np.unique(expected)) == len(centroids)


@pytest.mark.parametrize("d", [1, 3, 16])
def test_a_centroid_a_rounding_nearer_than_another_wins(d):
    # Pairs of centroids one float64 rounding apart, and rows between them: float32 sees no pair.
    g = np.random.default_rng(d)
    X = g.normal(size=(2000, d))
    centroids = np.repeat(X[::100], 2, axis=0)
    centroids[1::2] = np.nextafter(centroids[1::2], np.inf)
    labels, (_, n_exact) = assign_by_cells(X, centroids)
    assert np.array_equal(labels, reference.assign(X, centroids))
    assert n_exact > len(X) / 2


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_rows_that_leave_float32_with_their_shift_keep_the_oracles_labels(isa, d):
    # Most values are float32's largest, either way, or near zero, so some less the mean are
    # infinite: no box holds them, and a group's box must not lose them.
    g = np.random.default_rng(d)
    largest = np.finfo("f4").max
    X = g.normal(size=(700, d)) * 10.0 ** g.integers(-300, 300, size=(700, d))
    X = np.clip(X, -largest, largest).astype("f4")
    for k in (2, 4, 9):
        centroids = X[g.integers(0, len(X), size=k)].astype(np.float64)
        for first_labels in (None, np.zeros(len(X), np.int32)):
            labels, _ = assign_by_cells(X, centroids, isa, first_labels=first_labels)
            expected = reference.assign(np.ldexp(X.astype(float), -100), np.ldexp(centroids, -100))
            assert np.array_equal(labels, expected)


@pytest.mark.parametrize("far", [1e6, 1e18, 1e25, 1e60])
def test_centroids_far_from_all_rows_change_nothing(far):
    X, centroids = near_rows(1500, 5, 20)
    centroids = np.vstack([centroids, np.full((3, 5), far), np.full((2, 5), -far)])
    labels, (n_products, _) = assign_by_cells(X, centroids)
    assert np.array_equal(labels, reference.assign(X, centroids))
    if far < 1e18:
        assert n_products < len(X) * len(centroids) / 2


def test_cells_leave_out_most_products_of_rows_near_each_other():
    X, centroids = near_rows(20000, 3, 150)
    _, (n_products, _) = assign_by_cells(X, centroids)
    assert n_products < len(X) * len(centroids) / 10


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("k", "d"), [(60, 3), (1500, 23)])  # sums of each thread, and shared ones
def test_runs_by_cells_keep_every_bit(n_threads, k, d, monkeypatch):
    X, init = near_rows(9000, d, k)
    # Centroids without rows are repaired, so labels jump.
    init[3] = 1e3
    for weights in (None, np.random.default_rng(2).uniform(0, 2, size=len(X))):
        problem = Problem(X, weights, n_threads=n_threads)
        expected = _lloyd.run(problem, init, max_iter=8, tol=0.0, algorithm="lloyd")
        starts = force(monkeypatch)
        result = _lloyd.run(problem, init, max_iter=8, tol=0.0)
        assert starts == [1]
        assert result.labels.tobytes() == expected.labels.tobytes()
        assert result.centroids.tobytes() == expected.centroids.tobytes()
        assert (result.inertia, result.n_iter) == (expected.inertia, expected.n_iter)


def force(monkeypatch):
    """Start cells on any data and keep them; returns a list that gets an entry at each start."""
    starts = []
    start = _neighbours.Neighbourhoods._start
    monkeypatch.setattr(_neighbours, "LEAST_ROWS", 1)
    monkeypatch.setattr(_neighbours, "LEAST_ROWS_A_LABEL", 0)
    monkeypatch.setattr(_neighbours, "LEAST_GAIN", 0.0)
    monkeypatch.setattr(_neighbours, "TOO_DEAR", np.inf)
    monkeypatch.setattr(
        _neighbours.Neighbourhoods, "_start", lambda *args: starts.append(1) or start(*args)
    )
    return starts


def test_rows_are_added_to_their_sums_once_whatever_the_slices(monkeypatch):
    X, init = near_rows(5000, 4, 30)
    problem = Problem(X, n_threads=2)
    expected = _lloyd.run(problem, init, max_iter=6, tol=0.0, algorithm="lloyd")
    force(monkeypatch)
    monkeypatch.setattr(
        Problem, "slices", lambda self, k: [(i, min(i + 256, 5000)) for i in range(0, 5000, 256)]
    )
    result = _lloyd.run(problem, init, max_iter=6, tol=0.0)
    assert result.labels.tobytes() == expected.labels.tobytes()
    assert result.centroids.tobytes() == expected.centroids.tobytes()


@pytest.mark.parametrize(("algorithm", "n_starts"), [("lloyd", 0), ("auto", 0), ("elkan", 1)])
def test_algorithm_says_whether_few_rows_are_cut_into_cells(algorithm, n_starts, monkeypatch):
    starts = []
    start = _neighbours.Neighbourhoods._start
    monkeypatch.setattr(
        _neighbours.Neighbourhoods, "_start", lambda *args: starts.append(1) or start(*args)
    )
    X, init = near_rows(600, 5, 20)
    fit = KMeans(20, init=init, algorithm=algorithm, n_init=1, tol=0).fit(X)
    expected = reference.lloyd(X, init, tol=0)
    assert len(starts) == n_starts
    assert np.array_equal(fit.labels_, expected.labels)


def pruning_after_a_round(X, k):
    """Return (engine, labels, pruning) after a round of brute force from the first k rows."""
    problem, engine = make_engine(X, X[:k], n_threads=2)
    labels = np.empty(problem.n, np.int32)
    engine.assign(labels, 0, problem.n)
    pruning = _filter.Pruning(problem, engine, 100, "auto")
    assert pruning._neighbourhoods.takes_part
    pruning.after_round(problem.rows(range(k)), labels, len(X))
    return engine, labels, pruning


def test_cells_are_given_up_where_they_leave_out_too_little():
    # In 16 dimensions of noise every cell is as wide as the data.
    X = np.random.default_rng(3).normal(size=(40000, 16)).astype("f4")
    engine, labels, pruning = pruning_after_a_round(X, 600)
    assert not pruning._neighbourhoods.takes_part
    expected = labels.copy()
    engine.assign(labels, 0, len(X))
    assert np.array_equal(labels, expected)


def test_cells_end_where_centroids_have_become_alike():
    X, _ = near_rows(40000, 4, 600)
    engine, labels, pruning = pruning_after_a_round(X, 600)
    assert pruning._neighbourhoods.takes_part
    alike = np.repeat(X[:1].astype(np.float64), 600, axis=0)
    for is_left in (False, False):
        engine.set_centroids(alike)
        engine.assign(labels, 0, len(X))
        assert not labels.any()
        pruning.after_round(alike, labels, len(X))
        assert pruning._neighbourhoods.takes_part == is_left


def test_wrong_calls_are_exceptions():
    X, centroids = near_rows(600, 3, 10)
    problem, engine = make_engine(X, centroids)
    labels = np.zeros(600, np.int32)

    def make(labels=labels, k=10, frame=problem.frame):
        return _core.Neighbours(problem.points, frame, labels, k, 1, problem.isa)

    with pytest.raises(ValueError, match="labels must be in 0 to 9; got 10 in row 5"):
        make(np.where(np.arange(600) == 5, 10, 0).astype(np.int32))
    with pytest.raises(ValueError, match="do not fit"):
        make(labels[:-1])
    with pytest.raises(ValueError, match="k must be at least 1"):
        make(k=0)
    with pytest.raises(ValueError, match="features"):
        make(frame=Problem(np.zeros((5, 2)), n_threads=1).frame)
    cells = make()
    with pytest.raises(ValueError, match="must be cut"):
        engine.use_neighbours(cells)
    with pytest.raises(ValueError, match="cells 0 to 1"):
        cells.enclose(0, 1)
    with pytest.raises(ValueError, match="in row 599"):
        cells.find_parts(np.where(np.arange(600) == 599, -1, 0).astype(np.int32), 0, 600)
    cells.find_parts(labels, 0, 600)
    cells.cut()
    with pytest.raises(ValueError, match="already"):
        cells.cut()
    with pytest.raises(ValueError, match="already"):
        cells.find_parts(labels, 0, 600)
    with pytest.raises(ValueError, match="cells 0 to 11"):
        cells.enclose(0, cells.n_cells + 1)
    with pytest.raises(ValueError, match="these enclosed"):
        engine.use_neighbours(cells)
    cells.enclose(0, cells.n_cells)
    with pytest.raises(ValueError, match="must use the neighbours"):
        cells.expected_products(engine, 1)
    with pytest.raises(ValueError, match="engine's points"):
        problem.engine(11).use_neighbours(cells)
    if _core.has_openmp():
        engine_of_two = _core.Engine(problem.points, problem.frame, 10, 2, problem.isa)
        with pytest.raises(ValueError, match="for its threads"):
            engine_of_two.use_neighbours(cells)
    with pytest.raises(ValueError, match="engine's points"):
        make_engine(X.copy(), centroids)[1].use_neighbours(cells)


@pytest.mark.parametrize(("isa", "pays"), [("portable", True), ("sse2", True), ("avx2", False)])
def test_cells_pay_sooner_where_products_are_slow(isa, pays):
    # 64 clusters in 16 dimensions: reading rows from anywhere costs as much everywhere.
    if isa not in _core.supported_isas():
        pytest.skip(f"{isa} does not run here")
    X = np.random.default_rng(0).normal(size=(8192, 16)).astype(np.float32)
    problem = Problem(X, n_threads=1, isa=isa)
    assert _neighbours.is_promising(problem, 64, 20) is pays
