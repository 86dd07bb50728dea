"""Runs and seedings in the core: the bits of those that Python takes from round to round."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from core_tools import (
    DTYPES,
    ISAS,
    ISAS_WITH_BYTES,
    LABELLERS,
    interrupted_after,
    needs_timer,
    unchanged,
)

from fastkm import KMeans, _core, _lloyd, _restarts, _solo, seeding
from fastkm._problem import Problem
from fastkm._solo import run_solo
from fastkm._solo_seeding import seed_solo
from fastkm._sparse_problem import make_problem


def _hostile(name, generator):
    """Return (X, init): what runs stumble over."""
    n, d = int(generator.integers(60, 700)), int(generator.integers(1, 21))
    X = generator.normal(size=(n, d))
    if name == "ties":
        X = generator.integers(0, 3, size=(n, d)).astype(float)
    elif name == "far away":
        X += 1e8
    elif name == "tight and far apart":
        X = X * 1e-3 + 1e4 * generator.choice([-1, 1], size=(n, 1))
    elif name == "denormal":
        X *= 1e-310
    elif name == "huge":
        X *= 1e200
    elif name == "all equal":
        X[:] = X[0]
    k = min(len(X), int(generator.choice([1, 2, 6, 7, 25, 40])))
    init = X[generator.permutation(n)[:k]]
    if name == "empty clusters":
        init[k // 2 :] += 1e3
    return X, init


HOSTILE = ["plain", "ties", "far away", "tight and far apart", "denormal", "huge", "all equal",
           "empty clusters"]  # fmt: skip


def assert_same_run(ours, expected):
    assert np.array_equal(ours.labels, expected.labels)
    assert np.array_equal(ours.centroids, expected.centroids)
    assert ours.centroids.dtype == expected.centroids.dtype
    assert ours.inertia == expected.inertia
    assert (ours.n_iter, ours.strict) == (expected.n_iter, expected.strict)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("seed", range(3))
def test_solo_runs_are_the_others_bit_for_bit(name, seed, labeller, monkeypatch):
    isa, _, in_bytes = labeller.partition(", ")
    monkeypatch.setattr(_solo, "LEAST_SHARE", 1.0)  # any row is worth a thread
    generator = np.random.default_rng(seed)
    X, init = _hostile(name, generator)
    inits = [init, init[::-1].copy(), X[: len(init)].copy(), init + 1e-3 * np.abs(init).max()]
    for options in (
        {"max_iter": 300, "tol": 0.0, "centroid_dtype": np.float64},
        {"max_iter": 300, "tol": 0.0, "centroid_dtype": np.float32},
        {"max_iter": 1, "tol": 0.0, "centroid_dtype": np.float64},
        {"max_iter": 7, "tol": 1e-3, "centroid_dtype": np.float64},
    ):
        if name == "huge" and options["centroid_dtype"] == np.float32:
            continue
        problem = Problem(X, n_threads=1, isa=isa)
        expected = [_lloyd.run(problem, start, algorithm="lloyd", **options) for start in inits]
        for n_threads in (1, 2, 3):
            problem = Problem(X, n_threads=n_threads, isa=isa)
            if in_bytes:
                problem.panels().encode(always=True)
            with unchanged(X, *inits):
                runs = run_solo(problem, inits, **options)
            assert _solo.n_sharing(problem, len(init)) == n_threads
            shared = [run_solo(problem, [start], **options)[0] for start in inits]
            for ours, theirs in zip(runs + shared, expected * 2, strict=True):
                assert_same_run(ours, theirs)
                if name not in ("denormal", "huge"):  # whose squares are no numbers
                    assert np.array_equal(ours.labels, reference.assign(X, ours.centroids))


@pytest.mark.parametrize("dtype", [t for t in DTYPES if t != "?"])
@pytest.mark.parametrize("isa", ISAS)
def test_every_dtype_runs_alone(dtype, isa, rng):
    X = np.asfortranarray(rng.integers(0, 100, size=(515, 9)).astype(dtype))
    init = X[:8].astype(np.float64) + rng.uniform(-1, 1, size=(8, 9))
    problem = Problem(X, n_threads=2, isa=isa)
    options = {"max_iter": 50, "tol": 0.0, "centroid_dtype": np.float64}
    (ours,) = run_solo(problem, [init], **options)
    assert_same_run(ours, _lloyd.run(problem, init, **options))
    assert np.array_equal(ours.labels, reference.assign(X, ours.centroids))


def _solo_run(X, init, isa, encodes, always=False):
    """Return a run's labels after at most 20 rounds, what it did in bytes, and the rounds."""
    problem = Problem(X, n_threads=1, isa=isa)
    problem.cover(init)
    panels = problem.panels()
    if encodes:
        panels.encode(always)
    places, n = (init.copy(), np.empty(init.shape)), len(X)
    labels = np.full(n, -1, np.int32), np.empty(n, np.int32)
    scales = problem.sum_scale, problem.low_scale
    run = _core.SoloRun(
        problem.points, problem.frame, panels, *scales, places, labels, np.empty(n), 0.0, 1,
        problem.isa,
    )  # fmt: skip
    _core.SoloRuns([run], 1).advance(20)
    return run.labels, run.byte_work(), run.n_iter


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_solo_runs_label_by_the_points_codes_where_that_pays(isa, rng):
    middles = 2 * rng.normal(size=(20, 160))
    X = middles[np.arange(1500) % 20] + 1.5 * rng.normal(size=(1500, 160))
    init = X[:20].copy()
    expected, nothing, n_iter = _solo_run(X, init, isa, encodes=False)
    labels, (n_tried, n_open, *_), _ = _solo_run(X, init, isa, encodes=True)
    assert np.array_equal(labels, expected)
    assert nothing == (0, 0, 0, 0)
    assert n_tried == n_iter * len(X)
    assert n_open < n_tried / 10


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_solo_runs_leave_codes_that_do_not_tell(isa, rng):
    # One large feature sets the step of all codes, so that the others, which decide, have none.
    X = rng.normal(size=(3000, 64))
    X[:, 0] += 1000 * rng.choice([-1, 1], size=3000)
    init = X[rng.permutation(3000)[:20]]
    expected, _, n_iter = _solo_run(X, init, isa, encodes=False)
    labels, (n_tried, n_open, *_), _ = _solo_run(X, init, isa, encodes=True)
    _, (n_always, *_), _ = _solo_run(X, init, isa, encodes=True, always=True)
    assert np.array_equal(labels, expected)
    assert n_open > n_tried / 2
    assert n_tried < n_iter * len(X) / 10
    assert n_always == n_iter * len(X)


@pytest.mark.skipif(_core.DEFAULT_ISA not in ISAS_WITH_BYTES, reason="fits have no bytes")
def test_fits_of_many_features_keep_codes_and_others_none(rng, monkeypatch):
    kept = []
    panels = _core.Panels

    class Watched(panels):
        def encode(self, always=False):
            kept.append(self)
            super().encode(always)

    monkeypatch.setattr(_core, "Panels", Watched)
    X = rng.normal(size=(1500, 160))
    KMeans(10, n_init=3, random_state=0).fit(X)
    assert len(kept) == 1
    KMeans(10, n_init=3, random_state=0).fit(X[:, :9].copy())  # where products are few
    KMeans(10, n_init=3, random_state=0).fit(X[:30])  # beside which coding centroids is much
    assert len(kept) == 1


def test_equal_weights_scale_the_inertia_of_solo_runs(cloud):
    plain, heavy = (Problem(cloud, w, n_threads=1) for w in (None, np.full(len(cloud), 4.0)))
    options = {"max_iter": 9, "tol": 0.0, "centroid_dtype": np.float64}
    (expected,), (ours,) = (run_solo(p, [cloud[:5]], **options) for p in (plain, heavy))
    assert np.array_equal(ours.labels, expected.labels)
    assert ours.inertia == 4 * expected.inertia


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("seed", range(4))
def test_solo_seedings_pick_the_rows_of_the_others(name, seed, isa):
    X, _ = _hostile(name, np.random.default_rng(100 + seed))
    k = min(len(X), 30)
    problem = Problem(X, n_threads=1, isa=isa)
    for n_trials in (1, 2, 5, 32):
        others = np.random.RandomState(seed)
        expected = []
        for _ in range(3):
            first = others.choice(len(X), p=np.full(len(X), 1 / len(X)))
            draws = [others.uniform(size=n_trials) for _ in range(k - 1)]  # seed by seed
            draws = np.reshape(draws, (k - 1, n_trials))
            expected += seeding._pick_beside(problem, [first], [draws])
        ours = np.random.RandomState(seed)
        firsts, uniforms = [], []
        for _ in range(3):
            firsts.append(ours.choice(len(X), p=np.full(len(X), 1 / len(X))))
            uniforms.append(ours.uniform(size=(k - 1, n_trials)))
        for n_threads in (1, 2, 3):
            rows = seed_solo(Problem(X, n_threads=n_threads, isa=isa), firsts, uniforms)
            assert [r.tolist() for r in rows] == [r.tolist() for r in expected]
        assert ours.uniform() == others.uniform()


def _fit(X, n_init, **options):
    random_state = np.random.RandomState(3)
    kmeans = KMeans(7, n_init=n_init, random_state=random_state, **options).fit(X)
    state = random_state.uniform()
    return kmeans.labels_, kmeans.cluster_centers_, kmeans.inertia_, kmeans.n_iter_, state


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("n_init", [1, 4])
def test_fits_do_not_depend_on_who_takes_the_rounds(init, n_init, blobs, cloud, monkeypatch):
    taken, solo = [], _solo.run_solo
    monkeypatch.setattr(_restarts, "run_solo", lambda *a, **o: taken.append(1) or solo(*a, **o))
    for X in (blobs, cloud.astype(np.float32)):
        taken.clear()
        fits = [_fit(X, n_init, init=init, n_threads=t) for t in (1, 2, 3)]
        assert len(taken) == 3
        fits.append(_fit(X, n_init, init=init, callback=lambda _: None))  # from round to round
        with monkeypatch.context() as patch:
            patch.setattr(_restarts, "is_solo", lambda *_: False)
            patch.setattr(seeding, "is_seeded_solo", lambda *_: False)
            fits.append(_fit(X, n_init, init=init))
        assert len(taken) == 3
        for fit in fits[1:]:
            assert all(np.array_equal(a, b) for a, b in zip(fit, fits[0], strict=True))


def test_runs_go_in_groups_where_their_labels_would_take_much_memory(cloud, monkeypatch):
    expected = _fit(cloud, 5)
    sizes = []
    monkeypatch.setattr(_solo, "MOST_LABELS", 2 * len(cloud))
    solo = _solo.run_solo
    monkeypatch.setattr(
        _restarts, "run_solo", lambda p, i, **o: sizes.append(len(i)) or solo(p, i, **o)
    )
    fit = _fit(cloud, 5, n_threads=1)
    assert sizes == [2, 2, 1]
    assert all(np.array_equal(a, b) for a, b in zip(fit, expected, strict=True))


def test_large_weighted_and_sparse_problems_are_not_solo(rng):
    small = rng.normal(size=(500, 8))
    problem = Problem(small, n_threads=1)
    assert _solo.is_solo(problem, 9, 1, "auto")
    assert not _solo.is_solo(problem, 9, 1, "elkan")
    assert not Problem(small, rng.uniform(size=500), n_threads=1).is_small
    assert not Problem(np.zeros((2**15 + 1, 8), "u1"), n_threads=1).is_small
    assert not _solo.is_solo(problem, 1600, 1, "auto")  # may do with fewer products
    assert _solo.is_solo(problem, 1600, 2, "auto")
    sparse = make_problem(sp.csr_matrix(small), n_threads=1)
    assert not sparse.is_small


@pytest.mark.parametrize("n_threads", [2, 3, 7, 16])
def test_threads_that_share_a_run_move_its_rows_together_or_alone(n_threads, rng, monkeypatch):
    # Many rows move at first, and each thread sums its own; then few, and one thread sums all.
    # Rows that no thread's share divides, and fewer than there are shares.
    monkeypatch.setattr(_solo, "LEAST_SHARE", 1.0)
    for n, d, k in ((1797, 64, 10), (3001, 2, 5), (65, 3, 2), (20, 1, 4), (4000, 30, 700)):
        X = rng.normal(size=(n, d)).astype(np.float32)
        options = {"max_iter": 30, "tol": 0.0, "centroid_dtype": np.float32}
        problem = Problem(X, n_threads=n_threads)
        init = X[:k].astype(np.float64)
        (ours,) = run_solo(problem, [init], **options)
        assert_same_run(ours, _lloyd.run(Problem(X, n_threads=1), init, **options))


def test_a_run_goes_on_while_any_share_changes_labels(monkeypatch):
    monkeypatch.setattr(_solo, "LEAST_SHARE", 1.0)
    X = np.concatenate([np.zeros(2048), np.linspace(1, 20, 2048)])[:, None]  # the first half rests
    options = {"max_iter": 30, "tol": 0.0, "centroid_dtype": np.float64}
    expected = _lloyd.run(Problem(X, n_threads=1), X[[0, -1]], **options)
    assert expected.n_iter > 3
    (ours,) = run_solo(Problem(X, n_threads=2), [X[[0, -1]]], **options)
    assert_same_run(ours, expected)


def test_a_run_has_as_many_threads_as_its_rounds_are_worth():
    digits = Problem(np.zeros((1797, 64), np.float32), n_threads=16)
    assert _solo.n_sharing(digits, 10) == 4
    assert _solo.n_sharing(digits, 60) == 16
    assert _solo.n_sharing(Problem(np.zeros((1797, 64), np.float32), n_threads=2), 10) == 2
    assert _solo.n_sharing(Problem(np.zeros((150, 4), np.float32), n_threads=16), 3) == 1


@needs_timer
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_is_heard_between_solo_rounds(n_threads, rng):
    X = rng.normal(size=(5000, 4))
    problem = Problem(X, n_threads=n_threads)
    with interrupted_after(0.2) as pressed_at:
        with pytest.raises(KeyboardInterrupt):
            run_solo(
                problem, [X[:900].copy()] * 200, max_iter=10**6, tol=0.0, centroid_dtype=np.float64
            )
        heard_after = time.perf_counter() - pressed_at
    assert heard_after < 2


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's list of threads")
def test_threads_may_run_where_they_might_before(cloud):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU leaves no choice")

    cpus = os.sched_getaffinity(0)
    kmeans = KMeans(8, n_init=4, random_state=0, n_threads=2)
    kmeans.fit(cloud)  # starts the threads
    for _ in range(10):
        # All on one CPU, where they fall asleep.
        for task in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(task.name), {min(cpus)})
            os.sched_setaffinity(int(task.name), cpus)
        time.sleep(0.05)
        kmeans.fit(cloud)
        for task in Path("/proc/self/task").iterdir():
            assert os.sched_getaffinity(int(task.name)) == cpus


def test_wrong_calls_are_exceptions(cloud):
    problem, other = Problem(cloud, n_threads=1), Problem(cloud[:9], n_threads=1)
    n, d = cloud.shape
    rows = np.zeros(3, dtype=np.int64)
    draws = np.zeros((2, 4))
    good = (problem.points, problem.frame, problem.panels())
    _core.SoloSeeding(*good, draws, rows, problem.isa)
    for wrong in (
        (problem.points, problem.frame, other.panels(), draws, rows),
        (*good, np.zeros((2, 33)), rows),
        (*good, draws, rows[:2]),
        (*good, draws, rows + n),
    ):
        with pytest.raises(ValueError, match="must"):
            _core.SoloSeeding(*wrong, problem.isa)

    def solo(k=2, columns=d, length=n, panels=good[2]):
        positions = np.zeros((k, columns)), np.zeros((k, d))
        labels = np.zeros(length, np.int32), np.zeros(n, np.int32)
        scales = problem.sum_scale, problem.low_scale
        return _core.SoloRun(
            *good[:2], panels, *scales, positions, labels, np.zeros(n), 0.0, 1, problem.isa
        )

    run = solo()
    for wrong in ({"columns": d + 1}, {"length": n - 1}, {"panels": other.panels()}):
        with pytest.raises(ValueError, match="must"):
            solo(**wrong)
    with pytest.raises(ValueError, match="out must have shape"):
        run.counts(np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="at least 1"):
        _core.SoloRuns([run], 0)
    with pytest.raises(ValueError, match="at least 1"):
        _core.SoloSeedings([], 1)
