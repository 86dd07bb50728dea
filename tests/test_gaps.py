"""Gaps leave work out and change no bit: all is compared with brute force and the oracle."""

import numpy as np
import pytest
import reference
from core_tools import ISAS, make_engine
from followers import Gaps, check_run, is_same_run
from test_neighbours import near_rows

from fastkm import KMeans, _core, _gaps, _lloyd, _neighbours
from fastkm._problem import Problem
from fastkm._seed_pruning import make_cells
from fastkm._shared import Shared


def test_centroids_that_rest_cost_nothing():
    X, centroids = near_rows(20000, 3, 100, "f8")
    centroids = centroids + 1e-3 * np.arange(300).reshape(100, 3)  # no two alike
    follower = Gaps(X, centroids)
    work = [follower.move_to(moved)[1][0] for moved in [centroids] * 3]
    assert work[0] == 102 * len(X)  # tiles are filled up to six
    assert work[2] <= work[1] < work[0] / 10
    moved = centroids + 1e-4
    assert follower.move_to(moved)[1][0] < work[0] / 4


@pytest.mark.parametrize("isa", ISAS)
def test_gaps_are_no_wider_for_what_products_round(isa):
    # One row in many copies, a thousand times as far from the origin as from two centroids, whose
    # distances differ by a millionth of that: by less than their products round. What rounding adds
    # to a gap is more than the farther one's next step, which makes it the nearer.
    for seed in range(60):
        generator = np.random.default_rng(seed)
        row, *sides = generator.normal(size=(3, 3))
        row /= np.linalg.norm(row)
        X = np.repeat([row, -row], 64, axis=0)  # two cells
        near, beside = (side / np.linalg.norm(side) * 1e-3 for side in sides)
        far = -row + 0.1 * generator.normal(size=(10, 3))
        # Two tiles, with one of the near centroids each.
        centroids = np.vstack([row + near, far[:5], row + beside * (1 + 1e-6), far[5:]])
        problem, engine = make_engine(X, centroids, isa)
        cells = make_cells(problem)
        gaps = _core.CellGaps(cells, np.arange(12, dtype=np.int32), 1, problem.isa)
        labels = np.full(len(X), -1, np.int32)
        engine.use_gaps(gaps, labels)
        moved = centroids.copy()
        moved[6] = row + beside * (1 - 1e-6)
        for place in (centroids, moved):
            place = np.ascontiguousarray(place)
            engine.set_centroids(place)
            labels_old = labels.copy()
            engine.assign(labels, 0, len(X), labels_old)
            assert np.array_equal(labels, reference.assign(X, place))


def test_gaps_may_begin_with_any_labels():
    X, centroids = near_rows(1000, 4, 25)
    wrong = np.random.default_rng(0).integers(-1, 25, size=1000, dtype=np.int32)
    follower = Gaps(X, centroids, labels=wrong)
    labels, _ = follower.move_to(centroids)
    assert np.array_equal(labels, reference.assign(X, centroids))


def with_cells(X, weights=None, n_threads=1):
    problem = Problem(X, weights, n_threads=n_threads)
    problem.shared.cells = make_cells(problem)
    return problem


@pytest.fixture
def always(monkeypatch):
    """Use gaps wherever there are cells, and never pause them."""
    monkeypatch.setattr(_gaps, "is_promising", lambda *_: False)
    monkeypatch.setattr(_gaps, "TOO_DEAR", np.inf)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("k", "d"), [(60, 3), (1500, 23)])  # sums of each thread, and shared ones
def test_runs_by_gaps_keep_every_bit(n_threads, k, d, always):
    X, init = near_rows(9000, d, k)
    # Centroids without rows are repaired, so labels jump.
    init[3] = 1e3
    for weights in (None, np.random.default_rng(2).uniform(0, 2, size=len(X))):
        problem = with_cells(X, weights, n_threads)
        check_run(problem, init, max_iter=12)


def test_rows_are_added_to_their_sums_once_whatever_the_slices(always, monkeypatch):
    X, init = near_rows(5000, 4, 30)
    problem = with_cells(X, n_threads=2)
    expected = _lloyd.run(problem, init, max_iter=8, tol=0.0, algorithm="lloyd")
    monkeypatch.setattr(
        Problem, "slices", lambda self, k: [(i, min(i + 256, 5000)) for i in range(0, 5000, 256)]
    )
    assert is_same_run(_lloyd.run(problem, init, max_iter=8, tol=0.0), expected)


def test_gaps_pause_where_they_leave_out_too_little(monkeypatch):
    # In 16 dimensions of noise every cell is as wide as the data.
    X = np.random.default_rng(3).normal(size=(6000, 16)).astype("f4")
    uses = []
    use_gaps = _core.Engine.use_gaps

    class Watched(_core.Engine):
        def use_gaps(self, gaps, labels=None):
            uses.append(gaps is not None)
            use_gaps(self, gaps, labels)

    monkeypatch.setattr(Problem, "engine_class", Watched)
    problem = with_cells(X)
    init = X[:50].astype(np.float64)
    expected = _lloyd.run(problem, init, max_iter=30, tol=0.0, algorithm="lloyd")
    assert uses == []
    assert is_same_run(_lloyd.run(problem, init, max_iter=30, tol=0.0), expected)
    # On after rounds 1 and 9, off after 3 and 11, unless late rounds gain.
    assert uses[:3] == [True, False, True]


@pytest.mark.parametrize(("algorithm", "is_kept"), [("auto", True), ("lloyd", False)])
def test_fits_keep_the_cells_of_seeding_for_gaps(algorithm, is_kept, monkeypatch):
    kept = []

    class Watched(Shared):
        def end_seeding(self, **options):
            super().end_seeding(**options)
            kept.append(self.cells is not None)

    monkeypatch.setattr("fastkm._problem.Shared", Watched)
    X, _ = near_rows(70000, 5, 40)
    fit = KMeans(40, random_state=0, algorithm=algorithm, max_iter=20).fit(X)
    assert kept == [is_kept]
    expected = KMeans(40, random_state=0, algorithm="elkan", max_iter=20).fit(X)
    assert fit.labels_.tobytes() == expected.labels_.tobytes()
    assert fit.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


@pytest.mark.parametrize("k", [1, 2, 6, 7, 12, 13, 100])
def test_order_puts_near_centroids_into_one_tile(k):
    centroids = np.random.default_rng(k).permutation(k).reshape(k, 1).astype(float)
    order = _neighbours.near_order(centroids)
    assert sorted(order) == list(range(k))
    for tile in range(0, k, _core.TILE_CENTROIDS):
        places = centroids[order[tile : tile + _core.TILE_CENTROIDS], 0]
        assert np.ptp(places) == len(places) - 1


def test_wrong_calls_are_exceptions():
    X, centroids = near_rows(600, 3, 10)
    problem, engine = make_engine(X, centroids)
    cells = make_cells(problem)
    order = np.arange(10, dtype=np.int32)
    labels = np.full(600, -1, np.int32)
    for wrong in (10, -1, 3):
        repeated = np.where(order == 7, wrong, order).astype(np.int32)
        with pytest.raises(ValueError, match="each of 10 centroids once"):
            _core.CellGaps(cells, repeated, 1, problem.isa)
    gaps = _core.CellGaps(cells, order, 1, problem.isa)
    with pytest.raises(ValueError, match="begin with labels"):
        engine.use_gaps(gaps)
    with pytest.raises(ValueError, match="one label per point"):
        engine.use_gaps(gaps, labels[:-1])
    with pytest.raises(ValueError, match="got 10 in row 5"):
        engine.use_gaps(gaps, np.where(np.arange(600) == 5, 10, 0).astype(np.int32))
    with pytest.raises(ValueError, match="engine's points"):
        problem.engine(11).use_gaps(gaps, labels)
    with pytest.raises(ValueError, match="engine's points"):
        make_engine(X.copy(), centroids)[1].use_gaps(gaps, labels)
    if _core.has_openmp():
        engine_of_two = _core.Engine(problem.points, problem.frame, 10, 2, problem.isa)
        with pytest.raises(ValueError, match="for its threads"):
            engine_of_two.use_gaps(gaps, labels)
    other_isas = [isa for isa in ISAS if isa != problem.isa]
    if other_isas:
        with pytest.raises(ValueError, match="same instruction set"):
            _core.CellGaps(cells, order, 1, other_isas[0])
