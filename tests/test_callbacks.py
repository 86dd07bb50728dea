"""callback=: what it is told is true, and it stops a fit without changing it otherwise."""

import doctest
import pickle
import time
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastkm.callbacks
from fastkm import KMeans, MiniBatchKMeans, k_means
from fastkm.callbacks import Each, History, Round, Step, TimeBudget

ESTIMATORS = [KMeans, MiniBatchKMeans]
ATTRIBUTES = ["cluster_centers_", "labels_", "inertia_", "n_iter_"]


def stop_after(n):
    """A callback that stops at the n-th iteration of any run, and one of its records."""
    return lambda record: record.iteration == n


def assert_same_fit(ours, other):
    for name in ATTRIBUTES:
        assert np.array_equal(getattr(ours, name), getattr(other, name)), name


# ---- what a round tells


def oracle_rounds(X, init, weights, n_rounds):
    """Yield (squared shift, labels changed, labels, centroids after) of each round."""
    centroids, labels = np.asarray(init, dtype=np.float64), np.full(len(X), -1)
    for _ in range(n_rounds):
        previous, labels = labels, reference.assign(X, centroids)
        moved = reference.update(X, labels, centroids, weights)
        sq_shift = ((moved - centroids) ** 2).sum()
        yield sq_shift, np.count_nonzero(labels != previous), labels, moved
        centroids = moved


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("make", [np.array, scipy.sparse.csr_matrix, np.asfortranarray])
def test_rounds_are_the_oracles(cloud, rng, weighs, make):
    weights = rng.uniform(0, 3, size=len(cloud)) if weighs else None
    init = cloud[:7]
    history = History()
    KMeans(7, init=init, tol=0, max_iter=12, callback=history).fit(make(cloud), None, weights)
    assert [r.iteration for r in history.records] == list(range(1, 13))
    assert {r.restart for r in history.records} == {0}
    rounds = oracle_rounds(cloud, init, weights, 12)
    total = reference.inertia(cloud, np.zeros(400, int), [cloud.mean(axis=0)], weights)
    # Each round's bound is no larger than the last one's, but for rounding.
    assert (np.diff(history.as_arrays()["inertia_bound"]) <= 1e-10 * total).all()
    for record, (sq_shift, n_changed, labels, moved) in zip(history.records, rounds, strict=True):
        np.testing.assert_allclose(record.sq_shift, sq_shift, rtol=1e-9)
        assert record.n_changed == n_changed
        # A bound on what labelling anew would give, and no more above the labels' own inertia than
        # rounding: 2^-36 of the total for CSR rows, less for dense ones.
        ended_here = reference.inertia(cloud, reference.assign(cloud, moved), moved, weights)
        own = reference.inertia(cloud, labels, moved, weights)
        assert ended_here <= own <= record.inertia_bound <= own + 1e-10 * total


def test_hand_made_rounds():
    # From 0 and 1: rows 0 | 1 4 7 with means 0 and 4, inertia 9 + 0 + 9. Then 0 1 | 4 7 with means
    # 0.5 and 5.5, inertia 0.5 + 4.5. Then nothing changes.
    history = History()
    KMeans(2, init=[[0], [1]], callback=history).fit([[0], [1], [4], [7]])
    assert [(r.iteration, r.sq_shift, r.n_changed) for r in history.records] == [
        (1, 9.0, 4),
        (2, 2.5, 1),
        (3, 0.0, 0),
    ]
    bounds = [r.inertia_bound for r in history.records]
    np.testing.assert_allclose(bounds, [18, 5, 5], rtol=1e-9)
    assert (np.array(bounds) >= [18, 5, 5]).all()


def exact_inertia(X, weights, labels, centroids):
    total = Fraction(0)
    for row, weight, label in zip(X, weights, labels, strict=True):
        for x, c in zip(row, centroids[label], strict=True):
            total += Fraction(float(weight)) * (Fraction(float(x)) - Fraction(float(c))) ** 2
    return total


def assert_bounds_hold(X, k, weights=None):
    """Each round's bound is at least the exact inertia of the fit that ends there."""
    history = History()
    init = np.array(X[:k].toarray() if scipy.sparse.issparse(X) else X[:k], dtype=np.float64)
    rows = X.toarray() if scipy.sparse.issparse(X) else X
    options = {"init": init, "tol": 0}
    KMeans(k, callback=history, max_iter=6, **options).fit(X, sample_weight=weights)
    for record in history.records:
        kmeans = KMeans(k, max_iter=record.iteration, **options).fit(X, sample_weight=weights)
        weights_or_ones = np.ones(len(rows)) if weights is None else weights
        exact = exact_inertia(rows, weights_or_ones, kmeans.labels_, kmeans.cluster_centers_)
        assert exact <= Fraction(record.inertia_bound)
        assert kmeans.inertia_ <= record.inertia_bound


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("offset", [0.0, 1e4, 3e7])
@pytest.mark.parametrize("weighs", ["ones", "equal", "various"])
def test_bound_holds_exactly_for_tight_clusters_far_from_the_origin(
    rng, dtype, spread, offset, weighs
):
    centres = np.array([[-1.0, 0, 2], [3, 3, 0], [7, -2, 1]]) + offset
    X = (centres[rng.integers(3, size=60)] + spread * rng.normal(size=(60, 3))).astype(dtype)
    weights = {"ones": None, "equal": np.full(60, 0.3), "various": rng.uniform(size=60)}[weighs]
    assert_bounds_hold(X, 5, weights)
    assert_bounds_hold(scipy.sparse.csr_matrix(X), 5, weights)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_bound_holds_for_whatever_rows(data):
    # Few distinct values: equal rows, empty clusters to repair, cancelling sums.
    n, d = data.draw(st.integers(2, 12)), data.draw(st.integers(1, 3))
    value = st.sampled_from([0.0, 1.0, -1.0, 1 / 3, 1e-8, 1e8, -1e8, 1e8 + 1 / 3, 5e-324, 1e150])
    rows = data.draw(st.lists(st.lists(value, min_size=d, max_size=d), min_size=n, max_size=n))
    weights = data.draw(st.none() | st.lists(st.sampled_from([0, 1, 2.5]), min_size=n, max_size=n))
    if weights is not None and not any(weights):
        weights = None
    weights = None if weights is None else np.array(weights)
    assert_bounds_hold(np.array(rows), data.draw(st.integers(1, min(n, 4))), weights)


def test_bound_holds_where_empty_clusters_are_repaired():
    X = np.array([[0.0], [1], [2], [10], [11], [100]])
    history = History()
    init = [[5.0], [500], [600]]
    kmeans = KMeans(3, init=init, callback=history, max_iter=1).fit(X)
    assert kmeans.inertia_ <= history.records[0].inertia_bound
    # 100 and 11 become centroids, and 3.25 is the mean of the others, 62.75 their inertia. The two
    # still have the label of the round: 96.75^2 and 7.75^2.
    np.testing.assert_allclose(
        history.records[0].inertia_bound, 62.75 + 96.75**2 + 7.75**2, rtol=1e-9
    )


def test_bound_is_infinite_where_squares_overflow():
    history = History()
    X = np.array([[1e200], [-1e200], [3e200]])
    with np.errstate(over="ignore"):
        KMeans(2, init=X[:2], callback=history).fit(X)
    assert [r.inertia_bound for r in history.records] == [np.inf] * len(history.records)


# ---- what a step tells


@pytest.mark.parametrize("make", [np.array, scipy.sparse.csr_matrix])
def test_steps_are_the_oracles(cloud, make):
    init, n, size = cloud[:3], len(cloud), 100
    history = History()
    options = {"batch_size": size, "init_size": n, "n_init": 1, "random_state": 5, "max_iter": 2}
    kmeans = MiniBatchKMeans(3, init=init, callback=history, **options).fit(make(cloud))
    assert [r.iteration for r in history.records] == list(range(1, kmeans.n_steps_ + 1))
    # scikit-learn's draws: rows to compare seedings on, then a batch.
    random_state = np.random.RandomState(5)
    random_state.randint(0, n, n)
    batch = cloud[random_state.choice(n, size, p=np.full(n, 1 / n), replace=True)]
    labels = reference.assign(batch, init)
    moved = np.array([batch[labels == j].mean(axis=0) for j in range(3)])
    first = history.records[0]
    np.testing.assert_allclose(first.mean_inertia, reference.inertia(batch, labels, init) / size)
    np.testing.assert_allclose(first.sq_shift, ((moved - init) ** 2).sum())
    # The first step sets nothing: from the second on, the mean of the new and the smoothed one.
    alpha, smoothed = 2 * size / (n + 1), history.records[1].mean_inertia
    assert first.smoothed_inertia == first.mean_inertia
    for record in history.records[2:]:
        assert history.records[1].smoothed_inertia == history.records[1].mean_inertia
        smoothed = smoothed * (1 - alpha) + record.mean_inertia * alpha
        np.testing.assert_allclose(record.smoothed_inertia, smoothed)
    assert len(history.records) > 3


# ---- stopping


@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("n", [1, 3])
def test_a_stopped_fit_is_one_of_so_many_rounds(rng, dtype, weighs, n):
    X = rng.integers(0, 200, size=(500, 6)).astype(dtype)
    weights = rng.uniform(size=500) if weighs else None
    stopped = KMeans(9, random_state=0, callback=stop_after(n)).fit(X, sample_weight=weights)
    assert stopped.n_iter_ == n
    assert np.array_equal(stopped.predict(X), stopped.labels_)
    np.testing.assert_allclose(stopped.inertia_, -stopped.score(X, sample_weight=weights))
    expected = KMeans(9, random_state=0, max_iter=n).fit(X, sample_weight=weights)
    assert_same_fit(stopped, expected)


def test_a_stopped_fit_with_the_filter_on_is_one_of_so_many_rounds(rng):
    X = rng.normal(size=(2500, 4)) @ rng.normal(size=(4, 190)).astype(np.float32)
    for n in (1, 2, 4):
        stopped = KMeans(32, random_state=0, callback=stop_after(n)).fit(X)
        expected = KMeans(32, random_state=0, max_iter=n, algorithm="lloyd").fit(X)
        assert_same_fit(stopped, expected)


def test_a_stopped_mini_batch_fit_has_learnt_from_so_many_batches(cloud):
    options = {"batch_size": len(cloud), "random_state": 0}  # as many steps as max_iter
    stopped = MiniBatchKMeans(6, callback=stop_after(4), **options).fit(cloud)
    assert stopped.n_steps_ == stopped.n_iter_ == 4
    assert np.array_equal(stopped.predict(cloud), stopped.labels_)
    assert_same_fit(stopped, MiniBatchKMeans(6, max_iter=4, **options).fit(cloud))


# Four corners of a 2 x 6 rectangle: split across the long side the inertia is 4, along it 36.
CORNERS = np.array([[0, 0], [0, 2], [6, 0], [6, 2.0]])
GOOD, BAD = np.array([[0, 1], [6, 1.0]]), np.array([[3, 0], [3, 2.0]])


@pytest.mark.parametrize(("starts", "kept"), [([GOOD, BAD, BAD], 0), ([BAD, GOOD, BAD], 1)])
def test_stopping_in_the_second_run_keeps_the_better_and_starts_no_third(starts, kept):
    calls, records = [], []

    def init(X, n_clusters, random_state):
        calls.append(len(calls))
        return starts[calls[-1]] + [[0.25, 0]]

    def stop(record):
        records.append(record)
        return record.restart == 1

    kmeans = KMeans(2, init=init, n_init=3, callback=stop).fit(CORNERS)
    assert calls == [0, 1]
    assert kmeans.inertia_ == 4
    assert kmeans.labels_.tolist() == [0, 0, 1, 1]
    assert [(r.restart, r.iteration) for r in records] == [(0, 1), (0, 2), (1, 1)]
    assert kmeans.n_iter_ == [2, 1][kept]


def test_stopping_in_a_runs_last_round_starts_no_other(cloud):
    records = []

    def stop(record):
        records.append(record)
        return record.n_changed == 0

    kmeans = KMeans(3, init="random", n_init=5, tol=0, random_state=0, callback=stop).fit(cloud)
    assert {r.restart for r in records} == {0}
    expected = KMeans(3, init="random", n_init=1, tol=0, random_state=0).fit(cloud)
    assert_same_fit(kmeans, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("answer", [None, False, np.False_])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_callback_that_does_not_stop_changes_no_bit(cloud, estimator, answer, n_threads):
    options = {"n_init": 2, "init": "random", "random_state": 0, "n_threads": n_threads}
    watched = estimator(5, callback=lambda record: answer, **options).fit(cloud)
    assert_same_fit(watched, estimator(5, **options).fit(cloud))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("wrap", [lambda callback: callback, lambda callback: Each(callback)])
def test_only_true_stops_and_only_bools_and_none_are_answers(cloud, estimator, wrap):
    for answer in (True, np.True_):
        n = getattr(
            estimator(5, callback=wrap(lambda record, a=answer: a)).fit(cloud),
            "n_steps_" if estimator is MiniBatchKMeans else "n_iter_",
        )
        assert n == 1
    for answer in (0, 1, 1.0, "stop", [], np.array([True])):
        with pytest.raises(TypeError, match="must return True to stop the fit, False or None"):
            estimator(5, callback=wrap(lambda record, a=answer: a)).fit(cloud)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_exception_ends_the_fit_and_leaves_the_estimator_as_it_was(cloud, estimator):
    def fail(record):
        raise KeyError("mine")

    kmeans = estimator(5, random_state=0, callback=fail)
    with pytest.raises(KeyError, match="mine"):
        kmeans.fit(cloud)
    with pytest.raises(NotFittedError):
        kmeans.predict(cloud)
    kmeans.set_params(callback=None).fit(cloud)
    centroids = kmeans.cluster_centers_.copy()
    with pytest.raises(KeyError, match="mine"):
        kmeans.set_params(callback=fail).fit(cloud + 1)
    assert np.array_equal(kmeans.cluster_centers_, centroids)


@pytest.mark.parametrize(
    ("estimator", "line"),
    [
        (KMeans, "Stopped at iteration 1 by a callback."),
        (MiniBatchKMeans, "Stopped by a callback at step 2/"),
    ],
)
def test_verbose_says_that_a_callback_stopped_it(cloud, capsys, estimator, line):
    estimator(5, verbose=1, random_state=0, tol=0, callback=stop_after(2)).fit(cloud)
    assert line in capsys.readouterr().out
    estimator(5, verbose=1, random_state=0, tol=0, callback=lambda record: None).fit(cloud)
    assert "callback" not in capsys.readouterr().out


def test_partial_fit_does_not_call_it(cloud):
    history = History()
    MiniBatchKMeans(5, callback=history).partial_fit(cloud)
    assert history.records == []


# ---- the ready ones


def test_time_budget_stops_once_the_time_is_over(cloud):
    record = Round(0, 3, 1.0, 7, 5.0, seconds=2.5)
    assert [TimeBudget(s)(record) for s in (0, 2.4, 2.5, 2.6, np.inf)] == [True] * 3 + [False] * 2
    assert TimeBudget(1)(Step(3, 1.0, 1.0, 1.0, seconds=1.5))
    assert KMeans(5, random_state=0, callback=TimeBudget(0)).fit(cloud).n_iter_ == 1
    assert MiniBatchKMeans(5, random_state=0, callback=TimeBudget(0)).fit(cloud).n_steps_ == 1
    for seconds in (-1, np.nan):
        with pytest.raises(ValueError, match="seconds must be at least 0"):
            TimeBudget(seconds)
    with pytest.raises(TypeError, match="seconds must be a number; got '60'"):
        TimeBudget("60")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_time_counts_from_the_beginning_of_the_fit(cloud, estimator):
    def init(X, n_clusters, random_state):
        time.sleep(0.06)
        return X[:n_clusters]

    history = History()
    begun = time.perf_counter()
    estimator(4, init=init, n_init=1, tol=0, callback=history).fit(cloud)
    taken = time.perf_counter() - begun
    seconds = history.as_arrays()["seconds"]
    assert seconds[0] >= 0.06
    assert seconds[-1] <= taken
    assert (np.diff(seconds) > 0).all()
    assert estimator(4, init=init, n_init=1, callback=TimeBudget(0.05)).fit(cloud).n_iter_ == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_history_is_that_of_the_latest_fit(cloud, estimator):
    history = History()
    assert history.as_arrays() == {}
    kmeans = estimator(4, init="random", n_init=2, random_state=0, callback=history)
    first = kmeans.fit(cloud).callback.records
    assert kmeans.fit(cloud).callback.records is not first
    restarts = [getattr(r, "restart", 0) for r in history.records]
    assert restarts == sorted(restarts)
    assert [r.iteration for r in history.records] == [r.iteration for r in first]
    table, arrays = pd.DataFrame(history.records), history.as_arrays()
    assert list(table.columns) == list(arrays)
    assert all(np.array_equal(table[name], values) for name, values in arrays.items())
    assert arrays["sq_shift"].dtype == np.float64
    assert repr(history) == f"<History of {len(first)} records>"


def test_each_calls_all_and_stops_when_one_does(cloud):
    first, stop, last = History(), stop_after(2), History()
    kmeans = KMeans(4, random_state=0, callback=Each(first, stop, last)).fit(cloud)
    assert kmeans.n_iter_ == len(first.records) == len(last.records) == 2
    assert repr(Each(TimeBudget(3), stop)).startswith("Each(TimeBudget(seconds=3), <function")


def test_examples_print_what_they_say():
    failed, attempted = doctest.testmod(fastkm.callbacks)
    assert attempted > 10
    assert failed == 0


# ---- the parameter


def test_k_means_takes_it(cloud):
    assert k_means(cloud, 5, callback=stop_after(2), return_n_iter=True)[3] == 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_cannot_be_called_is_refused(cloud, estimator):
    with pytest.raises(ValueError, match=r"'callback' parameter of .* must be a callable or None"):
        estimator(callback=[History()]).fit(cloud)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("callback", [TimeBudget(60), History(), Each(TimeBudget(9), History())])
def test_estimators_with_the_ready_ones_are_cloned_and_pickled(cloud, estimator, callback):
    kmeans = estimator(4, random_state=0, callback=callback)
    unpickled = pickle.loads(pickle.dumps(kmeans))
    for copy in (clone(kmeans), unpickled, pickle.loads(pickle.dumps(kmeans.fit(cloud)))):
        assert repr(copy.callback).split(" ")[0] == repr(callback).split(" ")[0]
        assert_same_fit(copy.fit(cloud), kmeans)


def test_model_selection_leaves_the_history_with_the_best_estimator(blobs):
    history = History()
    search = GridSearchCV(KMeans(random_state=0, callback=history), {"n_clusters": [2, 4]}, cv=2)
    best = search.fit(blobs).best_estimator_
    assert history.records == []
    assert best.callback.records[-1].iteration == best.n_iter_


@parametrize_with_checks(
    [
        KMeans(n_init=2, n_clusters=2, max_iter=5, callback=TimeBudget(1e9)),
        MiniBatchKMeans(n_clusters=2, max_iter=5, batch_size=10, callback=TimeBudget(1e9)),
    ],
    expected_failed_checks=lambda estimator: {
        f"check_sample_weight_equivalence_on_{kind}_data": "as without a callback"
        for kind in ("dense", "sparse")
    },
)
def test_estimator_contract_with_a_callback(estimator, check):
    check(estimator)
