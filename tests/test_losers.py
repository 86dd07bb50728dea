"""Runs are left out where they surely lose: what is kept has the bits that it has without."""

import numpy as np
import pytest
import scipy.sparse

from fastkm import KMeans, _losers, _restarts
from fastkm._losers import Losers, can_tell
from fastkm._problem import Problem
from fastkm._sparse_problem import make_problem
from fastkm.callbacks import Each


def clouds(n, d, n_clouds, seed, spread=0.2):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, size=(n_clouds, d))
    return centres[rng.integers(n_clouds, size=n)] + spread * rng.normal(size=(n, d))


def means_of(X, labels, k):
    """Means and counts of the labels' rows, right to a few units of the last place."""
    X = np.asarray(X, dtype=np.longdouble)
    means = np.zeros((k, X.shape[1]))
    for j in range(k):
        if (labels == j).any():
            means[j] = X[labels == j].mean(axis=0)
    return means, np.bincount(labels, minlength=k)


# What rounding is largest beside: the distances themselves are a small part of what they are
# computed from.
ROWS = {
    "clouds": lambda seed: clouds(700, 5, 4, seed),
    "one feature": lambda seed: clouds(700, 1, 4, seed),
    "float32": lambda seed: clouds(700, 9, 4, seed).astype(np.float32),
    "uint8": lambda seed: (60 * clouds(700, 9, 4, seed) + 99).clip(0, 255).astype(np.uint8),
    "far from 0": lambda seed: clouds(700, 5, 4, seed) + 1e9,
    "tight": lambda seed: clouds(700, 5, 3, seed, spread=1e-7),
    "tighter": lambda seed: clouds(700, 2, 3, seed, spread=3e-9),
    "tight and far from 0": lambda seed: 1e3 + clouds(700, 3, 3, seed, spread=1e-8),
    "one far away": lambda seed: np.vstack([clouds(700, 3, 3, seed), [[1e12, 0, 0]]]),
    "columns unlike": lambda seed: clouds(700, 3, 3, seed) * [1e-30, 1, 1e9],
    "denormal": lambda seed: clouds(700, 3, 3, seed) * 1e-310,
    "small": lambda seed: clouds(700, 3, 3, seed) * 2.0**-90,
    "large": lambda seed: clouds(700, 3, 3, seed) * 2.0**90,
    "equal": lambda seed: np.full((700, 3), 0.1),
    "two values": lambda seed: np.repeat([[0.1, 0.7], [0.3, 0.7]], 350, axis=0),
}


def end_of(X, k, seed, n_iter=8):
    """Return the problem, a fit, and what its run knows after its last labelling."""
    problem = make_problem(X, n_threads=1)
    fit = KMeans(k, init="random", n_init=1, random_state=seed, max_iter=n_iter).fit(X)
    dense = X.toarray() if scipy.sparse.issparse(X) else X
    return problem, fit, *means_of(dense, fit.labels_, k)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("name", ROWS)
def test_no_run_has_more_than_its_own_inertia(name):
    # Red without the rounding of means, and with a sum over clusters that is too small.
    for seed in range(25):
        for X in (ROWS[name](seed), scipy.sparse.csr_matrix(ROWS[name](seed).astype(float))):
            problem, fit, means, counts = end_of(X, 4, seed)
            losers = Losers(problem)
            losers.least_inertia = fit.inertia_
            assert not losers.has(means, counts)
            assert not losers.has(means, counts, (fit.cluster_centers_.astype(float),) * 2)


@pytest.mark.parametrize("name", ["clouds", "one feature", "float32", "uint8", "small", "large"])
def test_a_run_that_is_a_little_worse_is_found_out(name):
    # Red with a total or a sum over clusters that is off, or rounding that is taken too large.
    for seed in range(5):
        X = ROWS[name](seed)
        problem, fit, means, counts = end_of(X, 4, seed, n_iter=300)
        # At the means of its labels, to which float32 does not get.
        losers = Losers(problem)
        losers.least_inertia = problem.inertia(fit.labels_, means) * (1 - 1e-9)
        assert losers.has(means, counts)
        losers.least_inertia *= 1 - 1e-6
        assert losers.has(means, counts, (means, means * (1 + 1e-9)))


def test_weights_scale_the_bound():
    X = ROWS["clouds"](0)
    problem = Problem(X, np.full(len(X), 3.0), n_threads=1)
    fit = KMeans(4, n_init=1, random_state=0).fit(X)
    means, counts = means_of(X, fit.labels_, 4)
    losers = Losers(problem)
    losers.least_inertia = 3 * fit.inertia_ * (1 - 1e-9)
    assert losers.has(means, counts)
    losers.least_inertia = 3 * fit.inertia_
    assert not losers.has(means, counts)


CORNERS = np.array([[0, 0], [0, 2], [6, 0], [6, 2.0]])
STEP = np.array([1.0, 0.0])
GOOD, BAD = np.array([[0, 1], [6, 1.0]]), np.array([[3, 0], [3, 2.0]])


def test_labels_to_come_may_leave_less_than_the_old_ones():
    # Along the long side the inertia is 36, across it 4. Red without the way between them.
    losers = Losers(Problem(CORNERS, n_threads=1))
    losers.least_inertia = 4.0
    along = BAD, np.array([2, 2])
    assert losers.has(*along)
    assert not losers.has(*along, (BAD, GOOD))
    # From (6 - 2 x)^2 = 16: as far as 1, they cannot leave less.
    losers.least_inertia = 15.9
    assert losers.has(*along, (BAD, BAD + STEP))
    losers.least_inertia = 16.0
    assert not losers.has(*along, (BAD, BAD + STEP))


def test_bound_holds_for_whatever_centroids_come_next():
    rng = np.random.default_rng(0)
    for trial in range(200):
        X = clouds(200, 3, 4, trial)
        problem = Problem(X, n_threads=1)
        before = X[rng.choice(200, 4, replace=False)]
        after = before + 10.0 ** rng.uniform(-4, 0) * rng.normal(size=before.shape)
        old, new = (((X[:, None] - c) ** 2).sum(axis=2) for c in (before, after))
        losers = Losers(problem)
        losers.least_inertia = new.min(axis=1).sum() * (1 + 1e-12)
        assert not losers.has(*means_of(X, old.argmin(axis=1), 4), (before, after))


@pytest.fixture
def questions(monkeypatch):
    """Answers to both questions, in turn: before the last labelling and after it."""
    answers = []
    has = Losers.has

    def asked(self, means, counts, step=None):
        assert np.isfinite(means).all()
        answers.append((step is not None, has(self, means, counts, step)))
        return answers[-1][1]

    monkeypatch.setattr(Losers, "has", asked)
    monkeypatch.setattr(_restarts, "is_solo", lambda *args: False)
    return answers


def bits(fit):
    return fit.labels_.tobytes(), fit.cluster_centers_.tobytes(), fit.inertia_, fit.n_iter_


DTYPES = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "uint8": lambda X: (60 * X + 99).clip(0, 255).astype(np.uint8),
    "csr": lambda X: scipy.sparse.csr_matrix(X),
}


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tol", [0, 1e-4, 3e-2])
def test_what_is_kept_has_the_same_bits(dtype, tol, questions, monkeypatch):
    for seed in range(15):
        X = DTYPES[dtype](clouds(1500, 3 + seed % 4, 8, seed))
        options = {"init": "random", "n_init": 6, "random_state": seed, "tol": tol}
        fit = KMeans(7, **options).fit(X)
        with monkeypatch.context() as patch:
            patch.setattr(_restarts, "can_tell", lambda *args: False)
            n_asked = len(questions)
            expected = KMeans(7, **options).fit(X)
            assert len(questions) == n_asked
        assert bits(fit) == bits(expected)
    assert (True, True) in questions
    assert tol == 0 or (False, True) in questions


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("name", ROWS)
def test_hostile_rows_keep_the_same_bits(name, questions, monkeypatch):
    for seed in range(6):
        X = ROWS[name](seed)
        options = {"init": "random", "n_init": 5, "random_state": seed, "max_iter": 5}
        fit = KMeans(4, **options).fit(X)
        with monkeypatch.context() as patch:
            patch.setattr(_restarts, "can_tell", lambda *args: False)
            expected = KMeans(4, **options).fit(X)
        assert bits(fit) == bits(expected)
    assert bool(questions) == (name not in ("denormal",))


class Starts:
    """A callable init that goes through given starts."""

    def __init__(self, *starts):
        self.starts = list(starts)

    def __call__(self, X, n_clusters, random_state):
        return self.starts.pop(0)


def test_the_same_clusters_under_other_names_keep_the_first(questions):
    # Far from 0 the order of clusters changes how sums round, and so which run seems better.
    X = np.repeat(CORNERS, 200, axis=0) + 1e8 / 3
    for starts in ([GOOD, GOOD[::-1]], [GOOD[::-1], GOOD], [BAD, GOOD[::-1], GOOD]):
        n_asked = len(questions)
        fit = KMeans(2, init=Starts(*(s + 1e8 / 3 for s in starts)), n_init=len(starts)).fit(X)
        assert len(questions) > n_asked
        assert fit.labels_[0] == (1 if starts[-2] is not GOOD else 0)
    assert not any(answer for _, answer in questions)


def test_rounding_of_the_moments_does_not_cost_the_winner(questions):
    # 2^18 rows at 0.95 or -0.95: the computed sum of their squares is 2e-14 of itself too large,
    # which is 5e-9, and the two starts leave 1.8e-11 and 2e-12.
    X = np.where(np.arange(2**18) % 2 == 0, 0.95, -0.95)[:, None]
    X[[0, 2]] += 3e-6
    X[[1, 3]] -= 1e-6
    starts = [[0.95], [-0.95], [-0.95 - 1e-6]], [[0.95], [-0.95], [0.95 + 3e-6]]
    fit = KMeans(3, init=Starts(*map(np.array, starts)), n_init=2).fit(X)
    assert fit.inertia_ == pytest.approx(2e-12, rel=1e-3)
    assert len(questions) == 4


def test_worse_starts_are_left_out(questions):
    X = np.repeat(CORNERS, 200, axis=0)
    fit = KMeans(2, init=Starts(GOOD, BAD, GOOD), n_init=3).fit(X)
    assert fit.inertia_ == 800
    assert [answer for is_before, answer in questions if is_before] == [False, True, False]


def test_nobody_who_watches_misses_an_end(monkeypatch, capsys):
    def fail(*args):
        raise AssertionError("a run may be left out")

    monkeypatch.setattr(_restarts, "Losers", fail)
    monkeypatch.setattr(_restarts, "is_solo", lambda *args: False)
    X = clouds(1500, 3, 5, 0)
    KMeans(5, n_init=3, random_state=0, verbose=1).fit(X)
    KMeans(5, n_init=3, random_state=0, callback=Each(lambda record: None)).fit(X)
    KMeans(5, n_init=1, random_state=0).fit(X)
    with pytest.raises(AssertionError, match="left out"):
        KMeans(5, n_init=3, random_state=0).fit(X)


def test_who_can_be_told():
    X = clouds(1500, 3, 5, 0)

    def tell(X, weights=None, k=5):
        return can_tell(Problem(X, weights, n_threads=1), k)

    assert tell(X)
    assert tell(X, np.full(1500, 2.0))
    assert not tell(X, np.arange(1500.0))
    assert not tell(X, np.full(1500, 1e-300))
    assert not tell(X * 1e-200)
    assert not tell(X * 1e200)
    assert not tell(X, k=1500 // _losers.LEAST_ROWS_A_CLUSTER + 1)
