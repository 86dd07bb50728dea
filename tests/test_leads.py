"""Leads leave rows out and change no bit: all is compared with brute force and the oracle."""

import numpy as np
import pytest
import reference
from core_tools import ISAS, make_engine
from followers import Gaps, Leads, check_run, is_same_run
from test_neighbours import near_rows

from fastkm import KMeans, _core, _leads, _lloyd
from fastkm._problem import Problem
from fastkm._seed_pruning import make_cells


def test_rows_are_read_again_once_their_lead_is_used_up():
    X, centroids = near_rows(20000, 3, 100, "f8")
    follower = Leads(X, centroids)
    n_read = [follower.move_to(moved)[1][0] for moved in [centroids] * 3]
    assert n_read[0] == len(X)
    assert n_read[2] <= n_read[1] < len(X) / 10
    assert follower.move_to(centroids + 1e-4)[1][0] < len(X) / 10
    assert follower.move_to(centroids[::-1])[1][0] == len(X)


def test_only_rows_near_to_a_centroid_that_moves_are_read():
    # A row of blobs: the last one's centroid moves as far as the blobs are apart, in steps.
    g = np.random.default_rng(0)
    X = np.repeat(10.0 * np.arange(20), 500)[:, None] + g.normal(size=(10000, 1))
    centroids = 10.0 * np.arange(20)[:, None]
    follower = Leads(X, centroids)
    follower.move_to(centroids)
    far = np.zeros(20)
    for _ in range(10):
        centroids = centroids.copy()
        centroids[-1] += 1.0
        labels, (n_read, _) = follower.move_to(centroids)
        assert np.array_equal(labels, reference.assign(X, centroids))
        far += n_read
    # Hamerly's one bound for all, which any centroid's move uses up, would have all read twice.
    assert (far < 0.3 * len(X)).all()


@pytest.mark.parametrize("isa", ISAS)
def test_leads_are_no_longer_for_what_products_round(isa):
    # Rows a thousand times as far from the origin as from two centroids, whose distances differ by
    # a millionth of that: by less than products round. The next step makes the farther the nearer.
    for seed in range(60):
        generator = np.random.default_rng(seed)
        row, *sides = generator.normal(size=(3, 3))
        row /= np.linalg.norm(row)
        X = np.repeat([row, -row], 64, axis=0)
        near, beside = (side / np.linalg.norm(side) * 1e-3 for side in sides)
        centroids = np.vstack([row + near, -row, row + beside * (1 + 1e-6)])
        follower = Leads(X, centroids, isa)
        moved = centroids.copy()
        moved[2] = row + beside * (1 - 1e-6)
        for place in (centroids, moved):
            labels, _ = follower.move_to(place)
            assert np.array_equal(labels, reference.assign(X, place))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", range(4))
def test_many_small_moves_use_leads_up_in_time(isa, seed):
    # Centroids wander over the rows, now one and now all of them, for longer than rings reach.
    g = np.random.default_rng(seed)
    X, centroids = near_rows(2000, 2, 20 + seed, "f8")
    spread = np.ptp(X, axis=0).mean()
    follower = Leads(X, centroids, isa)
    way = g.normal(size=centroids.shape)
    for turn in range(60):
        step = 10.0 ** g.uniform(-4, -1) * spread * (way + g.normal(size=way.shape))
        who = g.random(len(centroids)) < (1.0 if turn % 3 else 0.1)
        centroids = np.where(who[:, None], centroids + step, centroids)
        labels, _ = follower.move_to(centroids)
        assert np.array_equal(labels, reference.assign(X, centroids))


@pytest.fixture
def always(monkeypatch):
    """Use leads in every fit, and never pause them."""
    monkeypatch.setattr(_leads, "is_promising", lambda *_: True)
    never = _leads.BESIDE_BRUTE_FORCE._replace(too_dear=np.inf)
    for name in ("BESIDE_BRUTE_FORCE", "BESIDE_BYTES"):
        monkeypatch.setattr(_leads, name, never)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("k", "d"), [(60, 3), (300, 70)])  # sums of each thread, and shared ones
def test_runs_by_leads_keep_every_bit(n_threads, k, d, always):
    X, init = near_rows(9000, d, k)
    # Centroids without rows are repaired, so labels jump.
    init[3] = 1e3
    for weights in (None, np.random.default_rng(2).uniform(0, 2, size=len(X))):
        problem = Problem(X, weights, n_threads=n_threads)
        check_run(problem, init, max_iter=12)


def test_rows_are_added_to_their_sums_once_whatever_the_slices(always, monkeypatch):
    X, init = near_rows(5000, 4, 30)
    problem = Problem(X, n_threads=2)
    expected = _lloyd.run(problem, init, max_iter=8, tol=0.0, algorithm="lloyd")
    monkeypatch.setattr(
        Problem, "slices", lambda self, k: [(i, min(i + 256, 5000)) for i in range(0, 5000, 256)]
    )
    assert is_same_run(_lloyd.run(problem, init, max_iter=8, tol=0.0), expected)


def watch(monkeypatch):
    """Return a list of whether leads are switched on or off, in order."""
    uses = []
    use_leads = _core.Engine.use_leads

    class Watched(_core.Engine):
        def use_leads(self, leads):
            uses.append(leads is not None)
            use_leads(self, leads)

    monkeypatch.setattr(Problem, "engine_class", Watched)
    return uses


def test_leads_pause_where_they_leave_out_too_little(monkeypatch):
    X = np.random.default_rng(3).normal(size=(60000, 16)).astype("f4")
    uses = watch(monkeypatch)
    problem = Problem(X, n_threads=2)
    init = X[:200].astype(np.float64)
    expected = _lloyd.run(problem, init, max_iter=30, tol=0.0, algorithm="lloyd")
    assert uses == []
    assert is_same_run(_lloyd.run(problem, init, max_iter=30, tol=0.0), expected)
    assert uses[:3] == [True, False, True]


@pytest.mark.parametrize("algorithm", ["auto", "lloyd", "elkan"])
def test_fits_of_given_rows_use_leads_by_themselves(algorithm, monkeypatch):
    uses = watch(monkeypatch)
    X, init = near_rows(60000, 5, 40)
    fit = KMeans(40, init=init, algorithm=algorithm, max_iter=20).fit(X)
    assert uses == ([True] if algorithm == "auto" else [])
    expected = KMeans(40, init=init, algorithm="lloyd", max_iter=20).fit(X)
    assert fit.labels_.tobytes() == expected.labels_.tobytes()
    assert fit.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


def test_what_else_leaves_work_out_ends_leads():
    X, centroids = near_rows(2000, 3, 20)
    follower = Leads(X, centroids)
    follower.move_to(centroids)
    gaps = _core.CellGaps(
        make_cells(follower.problem), np.arange(20, dtype=np.int32), 1, follower.problem.isa
    )
    follower.engine.use_gaps(gaps, follower.labels)
    follower.move_to(centroids[::-1])
    follower.engine.use_gaps(None)
    labels, (n_read, _) = follower.move_to(centroids)  # by no stale lead
    assert n_read == 0
    assert np.array_equal(labels, reference.assign(X, centroids))


def test_wrong_calls_are_exceptions():
    X, centroids = near_rows(600, 3, 10)
    problem, engine = make_engine(X, centroids)
    for k in (0, 2049):
        with pytest.raises(ValueError, match="k must be in 1 to 2048"):
            _core.Leads(problem.points, k, 1, problem.isa)
    leads = _core.Leads(problem.points, 10, 1, problem.isa)
    with pytest.raises(ValueError, match="no centroids yet"):
        problem.engine(10).use_leads(leads)
    with pytest.raises(ValueError, match="engine's points"):
        problem.engine(11).use_leads(leads)
    with pytest.raises(ValueError, match="engine's points"):
        make_engine(X.copy(), centroids)[1].use_leads(leads)
    if _core.has_openmp():
        engine_of_two = _core.Engine(problem.points, problem.frame, 10, 2, problem.isa)
        with pytest.raises(ValueError, match="for its threads"):
            engine_of_two.use_leads(leads)
    gaps = Gaps(X, centroids)
    with pytest.raises(ValueError, match="in brute force alone"):
        gaps.engine.use_leads(_core.Leads(gaps.problem.points, 10, 1, gaps.problem.isa))
    # Labels that are none are as good as no label.
    labels = np.array([-1, 10, 2**31 - 1, -(2**31)] * 150, np.int32)
    engine.use_leads(leads)
    engine.assign(labels, 0, 600)
    assert np.array_equal(labels, reference.assign(X, centroids))
