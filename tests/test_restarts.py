"""n_init runs: which one is kept, and when two are the same."""

import numpy as np
import pytest

from fastkm import KMeans, _restarts
from fastkm._lloyd import Run
from fastkm._problem import Problem
from fastkm._restarts import is_same_clustering, run_restarts


@pytest.mark.parametrize(
    ("labels", "other", "expected"),
    [
        ([1, 0, 0, 1, 2, 0, 2, 1], [1, 0, 0, 1, 2, 0, 2, 1], True),
        ([1, 0, 0, 1, 2, 0, 2, 1], [0, 2, 2, 0, 1, 2, 1, 0], True),
        ([1, 0, 0, 1, 2, 0, 2, 1], [1, 0, 0, 2, 2, 0, 2, 1], False),
        ([0, 1, 2], [0, 0, 1], False),  # a refinement is not a renaming
        ([0, 0, 1], [0, 1, 2], False),
        ([2, 2], [0, 0], True),
    ],
)
def test_same_clustering_is_a_renaming_one_to_one(labels, other, expected):
    labels, other = np.array(labels, dtype=np.int32), np.array(other, dtype=np.int32)
    assert is_same_clustering(labels, other, 3) is expected


class _Starts:
    """A callable init that goes through given starts."""

    def __init__(self, *starts):
        self.starts = list(starts)

    def __call__(self, X, n_clusters, random_state):
        return self.starts.pop(0)


# Four corners of a 2 x 6 rectangle: split across the long side the inertia is 4 * 1 = 4, along it
# 4 * 9 = 36; both splits are fixed points.
CORNERS = np.array([[0, 0], [0, 2], [6, 0], [6, 2.0]])
GOOD = [[0, 1], [6, 1]]
GOOD_RENAMED = [[6, 1], [0, 1]]
BAD = [[3, 0], [3, 2]]


@pytest.mark.parametrize(
    ("starts", "labels"),
    [
        ([BAD, GOOD], [0, 0, 1, 1]),
        ([GOOD, BAD], [0, 0, 1, 1]),
        ([GOOD_RENAMED, GOOD], [1, 1, 0, 0]),
        ([BAD, GOOD_RENAMED, GOOD], [1, 1, 0, 0]),
    ],
)
def test_lowest_inertia_is_kept_and_the_first_of_equals(starts, labels):
    kmeans = KMeans(2, init=_Starts(*starts), n_init=len(starts)).fit(CORNERS)
    assert kmeans.inertia_ == 4
    assert kmeans.labels_.tolist() == labels


def _best_of(monkeypatch, *results):
    """Return which of several runs, given by (labels, inertia), is kept."""
    runs = [
        Run(np.array(labels, dtype=np.int32), np.zeros((2, 1)), inertia, 1, True)
        for labels, inertia in results
    ]
    remaining = iter(runs)
    monkeypatch.setattr(_restarts, "is_solo", lambda *args: False)
    monkeypatch.setattr(_restarts, "run", lambda *args, **kwargs: next(remaining))
    best = run_restarts(
        Problem(np.zeros((2, 1)), n_threads=1),
        lambda n_runs: [np.zeros((2, 1))] * n_runs,
        2,
        len(runs),
        max_iter=1,
        tol=0,
        verbose=False,
        centroid_dtype=np.float64,
        algorithm="auto",
    )
    return next(i for i, one in enumerate(runs) if one is best)


@pytest.mark.parametrize(
    ("results", "kept"),
    [
        ([([0, 1, 1], 2.0), ([0, 0, 1], 2.0)], 0),  # a tie: the first
        ([([0, 1, 1], 2.0), ([0, 0, 1], 1.0)], 1),
        ([([0, 1, 1], 2.0), ([1, 0, 0], 2.0 - 1e-15)], 0),  # renamed, and lower by rounding
        ([([0, 0, 0], 2.0), ([0, 0, 1], 1.0)], 1),  # a refinement is another clustering
        ([([0, 1, 1], 2.0), ([0, 0, 1], 3.0), ([0, 1, 0], 1.0)], 2),
    ],
)
def test_ties_and_renamed_runs_keep_the_first(monkeypatch, results, kept):
    assert _best_of(monkeypatch, *results) == kept


@pytest.mark.parametrize(
    ("init", "n_runs"), [("k-means++", 1), ("random", 10), (np.str_("random"), 10)]
)
def test_auto_makes_scikit_learns_number_of_runs(capsys, init, n_runs):
    KMeans(2, init=init, verbose=1, random_state=0).fit(CORNERS)
    assert capsys.readouterr().out.count("Initialization complete") == n_runs


def test_auto_makes_ten_runs_of_a_callable_and_one_of_an_array():
    starts = _Starts(*[GOOD] * 11)
    KMeans(2, init=starts).fit(CORNERS)
    assert len(starts.starts) == 1
    assert KMeans(2, init=GOOD).fit(CORNERS).inertia_ == 4
