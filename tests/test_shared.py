"""What runs of a fit share changes no bit: together they give what each gives alone."""

import numpy as np
import pytest
from core_tools import ISAS
from test_filter import BruteForce, force, latent  # noqa: F401  (a fixture)
from test_seed_pruning import HOSTILE, mixture

from fastkm import KMeans, _core, _filter, _lloyd, _restarts
from fastkm import _potential as potentials
from fastkm._first_rounds import begin_beside
from fastkm._potential import Potential, Potentials
from fastkm._problem import Problem


def seed_beside(problem, n_seeds, firsts, draws):
    """Take seeds of all runs in common passes; return rows, distances and potentials of each."""
    together = Potentials(problem, n_seeds, draws[0].shape[1], len(firsts))
    together.start(firsts)
    picked = [[first] for first in firsts]
    for j in range(n_seeds - 1):
        candidates = [
            one.draw(uniforms[j] * one.total)
            for one, uniforms in zip(together.of_runs, draws, strict=True)
        ]
        best = [int(np.argmin(left)) for left in together.propose(candidates)]
        together.accept(best)
        for rows, group, index in zip(picked, candidates, best, strict=True):
            rows.append(int(group[index]))
    return [
        (rows, one._closest.tobytes(), one.total)
        for rows, one in zip(picked, together.of_runs, strict=True)
    ]


def seed_alone(problem, n_seeds, first, uniforms):
    alone = Potential(problem, n_seeds)
    rows = [first]
    alone.start(first)
    for j in range(n_seeds - 1):
        candidates = alone.draw(uniforms[j] * alone.total)
        best = int(np.argmin(alone.propose(candidates)))
        alone.accept(best)
        rows.append(int(candidates[best]))
    return rows, alone._closest.tobytes(), alone.total


def check_seeds(X, n_seeds, *, n_candidates=4, n_runs=3, weights=None, isa=None, n_threads=1):
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    generator = np.random.default_rng(7)
    firsts = generator.integers(len(X), size=n_runs).tolist()
    draws = generator.uniform(size=(n_runs, n_seeds - 1, n_candidates))
    runs = list(zip(firsts, draws, strict=True))
    expected = [seed_alone(problem, n_seeds, first, uniforms) for first, uniforms in runs]
    assert seed_beside(problem, n_seeds, firsts, list(draws)) == expected


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_runs_seeded_side_by_side_get_the_seeds_of_each_alone(name, weighs, isa):
    X = HOSTILE[name](mixture(700, 14))
    weights = np.random.default_rng(2).uniform(0, 3, size=700) if weighs else None
    check_seeds(X, 9, weights=weights, isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("n", "d", "n_candidates", "n_runs"),
    [(1, 1, 1, 2), (63, 2, 6, 3), (257, 33, 7, 2), (1025, 70, 32, 4), (300, 5, 5, 12)],
)
def test_runs_side_by_side_of_every_size(n, d, n_candidates, n_runs, isa):
    X = mixture(n, d, seed=n).astype(np.float32)
    for n_threads in (1, 3):
        check_seeds(
            X,
            min(n, 8),
            n_candidates=n_candidates,
            n_runs=n_runs,
            isa=isa,
            n_threads=n_threads,
        )


def test_seeders_side_by_side_must_fit_each_other():
    X = mixture(300, 5)
    one, other = (Potential(Problem(X, n_threads=1), 4)._seeder(3) for _ in range(2))
    with pytest.raises(ValueError, match="same points"):
        _core.SeedersBeside([one, other])
    with pytest.raises(ValueError, match="must be a seeder"):
        _core.SeedersBeside([])
    beside = _core.SeedersBeside([one])
    with pytest.raises(ValueError, match="not proposed"):
        beside.accept([0])
    with pytest.raises(ValueError, match="shorter"):
        beside.propose([])


def label_alone(problem, init):
    """Return the labels of a first round, their sums' means and counts, and the exact decisions."""
    start = _lloyd.Start(problem, init, "lloyd")
    labels = start.labels.copy()
    n_changed = start.update.assign(start.engine, start.centroids, start.labels, labels)
    assert n_changed == problem.n
    means, counts = start.update.exact_means(start.engine)
    return labels.tobytes(), means.tobytes(), counts.tolist(), start.engine.n_exact


def check_first_rounds(X, k, n_runs, *, isa=None, n_threads=1):
    problem = Problem(X, n_threads=n_threads, isa=isa)
    generator = np.random.default_rng(5)
    inits = [problem.rows(generator.choice(len(X), k, replace=False)) for _ in range(n_runs)]
    starts = begin_beside(problem, inits, "lloyd")
    found = []
    for start in starts:
        assert start.is_labelled
        means, counts = start.update.exact_means(start.engine)
        found.append((start.labels.tobytes(), means.tobytes(), counts.tolist()))
    expected = [label_alone(problem, init) for init in inits]
    assert found == [alone[:3] for alone in expected]
    assert starts[0].engine.n_exact == sum(alone[3] for alone in expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", HOSTILE)
def test_first_rounds_side_by_side_are_those_of_each_alone(name, isa):
    check_first_rounds(HOSTILE[name](mixture(700, 14)), 6, 3, isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("n", "d", "k", "n_runs"),
    [(2, 1, 1, 2), (63, 2, 6, 3), (257, 33, 7, 2), (1025, 70, 31, 4), (4097, 5, 13, 12)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_first_rounds_side_by_side_of_every_size(n, d, k, n_runs, isa, dtype):
    X = mixture(n, d, seed=n).astype(dtype)
    for n_threads in (1, 3):
        check_first_rounds(X, k, n_runs, isa=isa, n_threads=n_threads)


def test_first_rounds_go_alone_where_a_common_pass_gains_little(rows):
    problem = Problem(rows, n_threads=2)
    weighted = Problem(rows, np.linspace(1, 2, len(rows)), n_threads=2)
    assert begin_beside(problem, [problem.rows(range(12))], "auto") == []
    assert begin_beside(problem, [problem.rows(range(100))] * 2, "auto") == []
    assert begin_beside(weighted, [problem.rows(range(12))] * 2, "auto") == []
    assert len(begin_beside(problem, [problem.rows(range(12))] * 2, "auto")) == 2


def test_engines_side_by_side_must_fit_each_other(rows):
    problem, other = Problem(rows, n_threads=1), Problem(rows, n_threads=1)
    starts = [_lloyd.Start(of, rows[:5].astype(float), "lloyd") for of in (problem, other)]
    with pytest.raises(ValueError, match="no centroids yet"):
        _core.EnginesBeside([starts[0].engine])
    for start in starts:
        start.engine.set_centroids(start.centroids)
    with pytest.raises(ValueError, match="same points"):
        _core.EnginesBeside([start.engine for start in starts])
    with pytest.raises(ValueError, match="must be an engine"):
        _core.EnginesBeside([])
    beside = _core.EnginesBeside([starts[0].engine])
    labels, sums = starts[0].labels, starts[0].update.sums
    with pytest.raises(ValueError, match="shorter"):
        beside.assign([labels], [], labels, 0, len(rows))
    with pytest.raises(ValueError, match="must fit the engines"):
        beside.assign([labels[1:]], [sums], labels, 0, len(rows))
    with pytest.raises(ValueError, match="rows"):
        beside.assign([labels], [sums], labels, 0, len(rows) + 1)


def bits(fit):
    return (
        fit.labels_.tobytes(),
        fit.cluster_centers_.tobytes(),
        fit.inertia_,
        fit.n_iter_,
    )


@pytest.fixture(scope="module")
def rows():
    return latent(6000, 130, 7).astype(np.float32) + 2


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_several_runs_keep_the_best_of_as_many_fits(init, n_threads, rows, monkeypatch):
    # Passes over so few rows would not pay for a filter.
    for name in ("MOST_FOR_SKETCHES", "MOST_FOR_DIRECTIONS", "MOST_FOR_MORE", "PROMISING"):
        monkeypatch.setattr(_filter, name, np.inf)
    starts = []
    restart = _filter.Pruning._start
    monkeypatch.setattr(_filter.Pruning, "_start", lambda *args: starts.append(restart(*args)))
    options = {"init": init, "n_threads": n_threads}
    random_state = np.random.RandomState(3)
    singles = [KMeans(12, n_init=1, random_state=random_state, **options) for _ in range(5)]
    fits = [single.fit(rows) for single in singles]
    assert len(starts) == 5
    together_state = np.random.RandomState(3)
    together = KMeans(12, n_init=5, random_state=together_state, **options).fit(rows)
    assert len(starts) == 10
    assert bits(together) == bits(min(fits, key=lambda fit: fit.inertia_))
    assert random_state.uniform() == together_state.uniform()


@pytest.mark.parametrize("sorts", [True, False])
def test_sketches_serve_one_run_after_the_other(sorts, force, monkeypatch):  # noqa: F811
    X = latent(2500, 70, 6).astype(np.float32)
    problem = Problem(X, n_threads=2)
    inits = [problem.rows(range(i, len(X), len(X) // 40))[:40] for i in (0, 7, 30)]
    options = {"max_iter": 25, "tol": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(_lloyd, "Pruning", BruteForce)
        expected = [_lloyd.run(problem, init, **options) for init in inits]
    seen = force(24, sorts)
    made = []
    make = _filter.Pruning._make_filter
    monkeypatch.setattr(
        _filter.Pruning, "_make_filter", lambda *args: made.append(make(*args)) or made[-1]
    )
    for init, wanted in zip(inits, expected, strict=True):
        run = _lloyd.run(problem, init, **options)
        assert run.labels.tobytes() == wanted.labels.tobytes()
        assert run.centroids.tobytes() == wanted.centroids.tobytes()
        assert (run.inertia, run.n_iter) == (wanted.inertia, wanted.n_iter)
    assert seen["starts"] == 3
    assert len(made) == 1


def test_sketches_that_do_not_pay_are_not_tried_again(monkeypatch):
    tries = []
    directions = _filter.leading_directions
    monkeypatch.setattr(
        _filter, "leading_directions", lambda *args: tries.append(1) or directions(*args)
    )
    for name in ("MOST_FOR_SKETCHES", "MOST_FOR_DIRECTIONS", "MOST_FOR_MORE"):
        monkeypatch.setattr(_filter, name, np.inf)
    X = np.random.default_rng(3).normal(size=(3000, 256)).astype(np.float32)
    KMeans(20, init="random", n_init=3, max_iter=10, random_state=0).fit(X)
    assert len(tries) == 1


def test_nobody_who_watches_is_seeded_ahead_of_the_run():
    seedings = []
    X = latent(5000, 60, 5)

    def seed(n_runs):
        seedings.append(n_runs)
        return [X[:4]] * n_runs

    def run(**options):
        seedings.clear()
        _restarts.run_restarts(
            Problem(X, n_threads=1),
            seed,
            4,
            3,
            max_iter=2,
            tol=0,
            centroid_dtype=np.float64,
            algorithm="auto",
            **options,
        )
        return list(seedings)

    assert run(verbose=False) == [3]
    assert run(verbose=True) == [1, 1, 1]


def test_sketches_and_cells_leave_runs_one_by_one():
    few, many = Problem(mixture(6000, 5), n_threads=1), Problem(mixture(6000, 800), n_threads=1)
    for problem in (few, many):
        assert potentials.go_beside(problem, 10, 4)
        assert not potentials.go_beside(problem, 40, 5)
