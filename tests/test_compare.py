"""Estimators side by side on the same rows, against hand calculation and scikit-learn."""

import doctest
import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import cluster, metrics
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture

import fastkm
from fastkm.evaluation import _compare, _scores, compare
from fastkm.plotting import plot_comparison

X, Y = load_iris(return_X_y=True)


class Told(ClusterMixin, BaseEstimator):
    """Gives the labels it is told, in as many seconds as it is told by the clock below."""

    def __init__(self, labels=(0, 0, 1, 1), seconds=(1.0,), n_clusters=2):
        self.labels = labels
        self.seconds = seconds
        self.n_clusters = n_clusters

    def fit(self, X, y=None):
        CLOCK[0] += self.seconds[FITS.count(self.seconds) % len(self.seconds)]
        FITS.append(self.seconds)
        self.labels_ = np.array(self.labels)
        return self


CLOCK = [0.0]
FITS = []
PAIRS = np.array([[0.0], [1.0], [10.0], [11.0]])


@pytest.fixture
def fake_clock(monkeypatch):
    FITS.clear()
    monkeypatch.setattr(_scores.time, "perf_counter", lambda: CLOCK[0])


def test_examples_of_the_docstrings_run():
    failed, attempted = doctest.testmod(_compare)
    assert attempted > 0
    assert failed == 0


def test_default_is_fastkm_beside_scikit_learn_from_the_same_rows():
    table = compare(X, 3)
    assert [column.key for column in table.columns] == [
        "name", "time", "speedup", "inertia", "rounds", "agreement",
    ]  # fmt: skip
    assert table["name"] == ["fastkm", "scikit-learn"]
    ours, theirs = table.estimators["fastkm", ""], table.estimators["scikit-learn", ""]
    assert isinstance(ours, fastkm.KMeans)
    assert isinstance(theirs, cluster.KMeans)
    assert not isinstance(theirs, fastkm.KMeans)
    assert table["agreement"] == [1.0, 1.0]
    assert table["rounds"] == [theirs.n_iter_] * 2
    assert table["inertia"] == pytest.approx([theirs.inertia_] * 2, rel=1e-12)
    assert table["speedup"][1] == 1.0
    assert table["speedup"][0] == table["time"][1] / table["time"][0]


def test_every_fit_has_the_seed():
    table = compare(X, 3, random_state=7, n_fits=2)
    assert [fitted.random_state for fitted in table.estimators.values()] == [7, 7]


@pytest.mark.usefixtures("fake_clock")
def test_times_are_medians_of_alternating_turns_and_speedup_is_over_the_last():
    a, b = (16.0, 1.0, 2.0), (4.0, 8.0, 0.0)
    table = compare(PAIRS, 2, estimators={"a": Told(seconds=a), "b": Told(seconds=b)})
    assert [a, b] * 3 == FITS
    assert table["time"] == [2.0, 4.0]
    assert table["speedup"] == [2.0, 1.0]
    assert table.notes[0] == (
        "time: median of 3 fits, taken in turn; speedup: b's time over the row's."
    )


@pytest.mark.usefixtures("fake_clock")
def test_reference_may_be_chosen_and_turns_limited():
    estimators = {"a": Told(seconds=(2.0,)), "b": Told(seconds=(4.0,)), "c": Told(seconds=(1.0,))}
    table = compare(PAIRS, 2, estimators=estimators, reference="a", n_fits=5, max_seconds=7.0)
    assert len(FITS) == 3
    assert table["speedup"] == [1.0, 0.5, 2.0]
    assert "one fit (slow fits: 5 were asked for); speedup: a's" in str(table)


def test_agreement_is_the_rand_index_of_the_two_labellings():
    one, other = (0, 0, 1, 1), (0, 1, 1, 1)
    estimators = {"a": Told(one, (1.0,)), "b": Told(other, (2.0,)), "c": Told((1, 1, 0, 0), (3.0,))}
    table = compare(PAIRS, 2, estimators=estimators)
    # Pairs together in c: 2, in b: 3, in both: 1; by chance 2 * 3 / 6 = 1: no more than by chance.
    assert table["agreement"] == [1.0, 0.0, 1.0]


def test_scores_against_classes_are_those_of_scikit_learn():
    table = compare(X, 3, np.array(["u", "v", "w"])[Y], random_state=4)
    labels = cluster.KMeans(3, random_state=4).fit(X).labels_
    assert table["ari"] == pytest.approx([metrics.adjusted_rand_score(Y, labels)] * 2)
    assert table["ami"] == pytest.approx([metrics.adjusted_mutual_info_score(Y, labels)] * 2)
    assert table["v_measure"] == pytest.approx([metrics.v_measure_score(Y, labels)] * 2)
    by_cluster = [np.bincount(Y[labels == j]).max() for j in range(3)]
    assert table["accuracy"] == pytest.approx([sum(by_cluster) / len(Y)] * 2)


@pytest.mark.parametrize(
    "pair",
    [
        {"a": fastkm.MiniBatchKMeans(n_init=3), "b": cluster.MiniBatchKMeans(n_init=3)},
        {"a": cluster.BisectingKMeans(), "b": GaussianMixture()},
        {"a": cluster.AgglomerativeClustering(), "b": fastkm.KMeans()},
    ],
)
def test_any_pair_is_compared_with_the_number_of_clusters_asked_for(pair):
    rows = np.concatenate([PAIRS, PAIRS + 100.0, PAIRS + 200.0])
    table = compare(rows, 3, estimators=pair, n_fits=1)
    assert table["agreement"] == [1.0, 1.0]
    for fitted in table.estimators.values():
        parameters = fitted.get_params()
        assert parameters.get("n_clusters", parameters.get("n_components")) == 3
    for name, given in pair.items():
        assert given is not table.estimators[name, ""]
        assert not hasattr(given, "n_features_in_")


def test_what_an_estimator_cannot_have_is_a_dash():
    pair = {"tree": cluster.AgglomerativeClustering(), "mixture": GaussianMixture()}
    table = compare(PAIRS, 2, estimators=pair, n_fits=1)
    assert [math.isnan(value) for value in table["inertia"]] == [True, True]
    assert [math.isnan(value) for value in table["rounds"]] == [True, False]
    assert str(table).splitlines()[2].split()[-3:-1] == ["-", "-"]


def test_sparse_rows_are_compared():
    table = compare(csr_matrix(PAIRS), 2, n_fits=1)
    assert table["inertia"] == [1.0, 1.0]


def test_table_can_be_drawn():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure = plot_comparison(compare(X, 3, Y, n_fits=1), ["time", "inertia", "ari"])
    plt.close(figure)
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters must be 1 or more; got 0"),
        ({"n_clusters": 5}, ValueError, "n_clusters must be at most the number of rows of X, 4"),
        ({"n_clusters": 2.0}, TypeError, "n_clusters must be an integer"),
        ({"y": [0, 1]}, ValueError, "X has 4, y has 2"),
        ({"y": ["a", None, "a", "b"]}, ValueError, "missing"),
        ({"X": [[0.0], [1.0], [math.nan], [2.0]]}, ValueError, "NaN: drop such rows"),
        ({"estimators": {"a": Told()}}, ValueError, "two or more to compare; got 1"),
        ({"estimators": {"a": Told(), "b": Told}}, TypeError, r"estimators\['b'\].*instance"),
        ({"estimators": {"a": Told(), "b": cluster.DBSCAN()}}, TypeError, "DBSCAN has none"),
        ({"reference": "sklearn"}, ValueError, r"\['fastkm', 'scikit-learn'\]; got 'sklearn'"),
        ({"n_fits": 0}, ValueError, "n_fits must be 1 or more"),
    ],
)
def test_bad_arguments_are_refused(change, error, words):
    with pytest.raises(error, match=words):
        compare(**{"X": PAIRS, "n_clusters": 2, **change})
