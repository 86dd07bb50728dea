"""Naming clusters, counting rows, and score tables, against hand calculation and scikit-learn."""

import doctest
import itertools
import math

import numpy as np
import pytest
from sklearn import metrics
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.datasets import load_iris, make_blobs
from sklearn.mixture import GaussianMixture

import fastkm
from fastkm.evaluation import (
    _clusters,
    _scores,
    cluster_sizes,
    clustering_accuracy,
    compare,
    confusion_matrix,
    infer_cluster_labels,
    infer_data_labels,
    score_table,
    silhouette_score,
)
from fastkm.evaluation._table import Column, Table, write_seconds

# Three rows of class 0 and two of class 1 in cluster 0; cluster 1 is empty; cluster 2 is all 1s.
LABELS = [0, 0, 0, 0, 0, 2, 2, 2]
Y = [0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("module", [_clusters, _scores])
def test_examples_of_the_docstrings_run(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


def test_cluster_is_named_by_its_majority_class():
    assert infer_cluster_labels(LABELS, Y) == {0: 0, 2: 1}


def test_empty_cluster_has_no_name():
    assert 1 not in infer_cluster_labels(LABELS, Y)


@pytest.mark.parametrize("y", [[5, 3, 3, 5], ["b", "a", "a", "b"], [True, False, False, True]])
def test_tied_majority_goes_to_the_smallest_class(y):
    assert infer_cluster_labels([0, 0, 0, 0], y) == {0: min(y)}


def test_inferred_names_carry_over_to_new_rows():
    names = infer_cluster_labels([0, 0, 1, 3], ["x", "x", "y", "z"])
    assert infer_data_labels([3, 1, 0, 3], names).tolist() == ["z", "y", "x", "z"]


def test_row_of_an_unnamed_cluster_is_refused_without_default():
    with pytest.raises(ValueError, match=r"clusters \[1\] have no name.*default="):
        infer_data_labels([0, 1], {0: 7})
    assert infer_data_labels([0, 1], {0: 7}, default=4).tolist() == [7, 4]


def test_majority_accuracy_by_hand():
    assert clustering_accuracy(Y, LABELS) == 6 / 8


def test_order_of_classes_and_labels_matters_by_majority_alone():
    # Two clusters in a class: its majority lacks one row of five, and the clusters' none.
    y, labels = [0, 0, 0, 1, 1], [0, 0, 1, 2, 2]
    assert clustering_accuracy(y, labels) == 1.0
    assert clustering_accuracy(labels, y) == 4 / 5
    for one, other in [(y, labels), (labels, y)]:
        assert clustering_accuracy(one, other, matching="one-to-one") == 4 / 5
    with pytest.raises(TypeError, match="labels must hold integers"):
        clustering_accuracy(labels, ["a", "a", "a", "b", "b"])


def test_one_to_one_pairs_each_class_with_one_cluster():
    # Majority names both clusters 1 and 2 "b"; one to one only one of them may be, of two rows.
    y, labels = ["a", "a", "b", "b", "b"], [0, 0, 1, 1, 2]
    assert clustering_accuracy(y, labels) == 1.0
    assert clustering_accuracy(y, labels, matching="one-to-one") == 4 / 5


def test_matching_finds_the_best_pairing_where_greedy_pairing_fails():
    # Counts [[5, 4], [4, 0]]: pairing the 5 first leaves 0; the best is 4 + 4.
    y = [0] * 9 + [1] * 4
    labels = [0] * 5 + [1] * 4 + [0] * 4
    assert clustering_accuracy(y, labels, matching="one-to-one") == 8 / 13


def test_accuracy_does_not_depend_on_the_clusters_numbers():
    rng = np.random.default_rng(0)
    y, labels, renumber = rng.integers(4, size=90), rng.integers(6, size=90), rng.permutation(6)
    for matching in ("majority", "one-to-one"):
        before = clustering_accuracy(y, labels, matching)
        assert clustering_accuracy(y, renumber[labels], matching) == before


@pytest.mark.parametrize("function", [clustering_accuracy, infer_cluster_labels])
def test_unknown_matching_is_refused(function):
    with pytest.raises(ValueError, match="'majority' or 'one-to-one'; got 'best'"):
        function(Y, LABELS, matching="best")


# One class fewer than clusters, and one more. Counts [[2, 0, 1], [0, 3, 0]] and their transpose:
# the best pairs hold 2 and 3 of 6 rows, and one cluster, or class, stays alone.
MORE_CLUSTERS = ([0, 0, 1, 1, 1, 2], ["a", "a", "b", "b", "b", "a"])
MORE_CLASSES = ([0, 0, 1, 1, 1, 0], ["a", "a", "b", "b", "b", "c"])


@pytest.mark.parametrize(("labels", "y"), [MORE_CLUSTERS, MORE_CLASSES])
def test_one_to_one_leaves_alone_what_has_no_partner(labels, y):
    assert clustering_accuracy(y, labels, matching="one-to-one") == 5 / 6
    assert infer_cluster_labels(labels, y, matching="one-to-one") == {0: "a", 1: "b"}


def test_one_to_one_names_no_cluster_by_a_class_none_of_its_rows_has():
    # The best pairs, 0 with 4 and 2 with 9, leave cluster 1 with class 5, of which it has no row.
    labels, y = [0, 0, 1, 2, 2, 2, 2], [4, 4, 4, 9, 9, 9, 5]
    assert infer_cluster_labels(labels, y, matching="one-to-one") == {0: 4, 2: 9}


def test_one_to_one_accuracy_is_the_best_over_all_permutations():
    rng = np.random.default_rng(7)
    for n_clusters in (2, 4, 5):
        y, labels = rng.integers(4, size=30), rng.integers(n_clusters, size=30)
        wide = max(4, n_clusters)
        best = max(
            np.mean(np.array(names)[labels] == y) for names in itertools.permutations(range(wide))
        )
        assert clustering_accuracy(y, labels, matching="one-to-one") == best


def test_one_to_one_names_give_the_one_to_one_accuracy():
    rng = np.random.default_rng(8)
    y, labels = rng.integers(3, size=50), rng.integers(6, size=50)
    names = infer_cluster_labels(labels, y, matching="one-to-one")
    assert len(set(names.values())) == len(names)
    inferred = infer_data_labels(labels, names, default=-1)
    assert clustering_accuracy(y, labels, matching="one-to-one") == np.mean(inferred == y)


def test_confusion_by_cluster_keeps_a_column_for_each_empty_cluster():
    matrix = confusion_matrix(Y, LABELS, n_clusters=4)
    assert matrix.counts.tolist() == [[3, 0, 0, 0], [2, 0, 3, 0]]
    assert matrix.columns.tolist() == [0, 1, 2, 3]
    assert matrix.by == "cluster"


def test_confusion_by_inferred_class_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    y, labels = rng.choice(["ant", "bee", "cow"], 60), rng.integers(5, size=60)
    names = infer_cluster_labels(labels, y)
    expected = metrics.confusion_matrix(y, [names[j] for j in labels])
    matrix = confusion_matrix(y, labels, names)
    np.testing.assert_array_equal(matrix.counts, expected)
    assert matrix.classes.tolist() == ["ant", "bee", "cow"]


def test_confusion_has_a_row_for_a_class_only_the_names_know():
    matrix = confusion_matrix([1, 1], [0, 1], {0: 1, 1: 9})
    assert matrix.classes.tolist() == [1, 9]
    assert matrix.counts.tolist() == [[1, 1], [0, 0]]


def test_sizes_count_empty_clusters():
    assert cluster_sizes(LABELS, 4).tolist() == [5, 0, 3, 0]


def test_label_beyond_n_clusters_is_refused():
    with pytest.raises(ValueError, match="n_clusters=2 and a label of 2"):
        cluster_sizes(LABELS, 2)


@pytest.mark.parametrize("function", [infer_cluster_labels, clustering_accuracy, confusion_matrix])
def test_arrays_of_different_length_are_refused(function):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        function([0, 1, 1], [0, 1])


@pytest.mark.parametrize(
    "y", [[1, None], [1.0, math.nan], ["a", None], ["a", math.nan], np.array([0.0, np.nan])]
)
def test_missing_class_is_refused_with_the_cure(y):
    with pytest.raises(ValueError, match=r"1 of 2 entries are missing.*drop those rows"):
        infer_cluster_labels([0, 1], y)


def test_missing_class_of_pandas_is_refused():
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="1 of 2 entries are missing"):
        infer_cluster_labels([0, 1], pd.Series([1, pd.NA], dtype="Int64"))


def test_continuous_and_mixed_classes_are_refused():
    with pytest.raises(ValueError, match=r"continuous values such as 0\.5"):
        infer_cluster_labels([0, 1], [1.0, 0.5])
    with pytest.raises(TypeError, match="mixes strings"):
        infer_cluster_labels([0, 1], ["a", 1])


def test_estimator_in_place_of_labels_is_refused_with_the_cure():
    with pytest.raises(TypeError, match=r"got KMeans: pass its labels_"):
        cluster_sizes(KMeans(2))
    with pytest.raises(TypeError, match=r"y must be an array of classes; got KMeans: pass its"):
        clustering_accuracy(KMeans(2), [0, 1])
    with pytest.raises(TypeError, match=r"labels must .* got KMeans: pass its labels_"):
        silhouette_score([[0.0], [1.0], [2.0]], KMeans(2))


@pytest.mark.parametrize("estimators", [[KMeans(2)], KMeans(2)])
@pytest.mark.parametrize("tabulate", [score_table, lambda e, X: compare(X, 2, estimators=e)])
def test_estimators_without_names_are_refused_with_the_cure(tabulate, estimators):
    with pytest.raises(TypeError, match=r"estimators must map names to estimators, such as \{"):
        tabulate(estimators, [[0.0], [1.0], [2.0]])


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([0.0, 1.0], TypeError, "integers"),
        ([0, -1], ValueError, "noise"),
        ([[0, 1]], ValueError, r"shape \(n,\)"),
        ([], ValueError, "at least one entry"),
    ],
)
def test_labels_that_are_no_labels_are_refused(labels, error, words):
    with pytest.raises(error, match=words):
        cluster_sizes(labels)


@pytest.mark.parametrize(
    "clusterer",
    [
        fastkm.KMeans(3),
        fastkm.MiniBatchKMeans(3, n_init=3),
        KMeans(3, n_init=3),
        MiniBatchKMeans(3, n_init=3),
        BisectingKMeans(3),
        GaussianMixture(3),
    ],
    ids=lambda c: f"{type(c).__module__.split('.')[0]}.{type(c).__name__}",
)
def test_labels_of_every_clusterer_are_named_counted_and_judged(clusterer):
    X, classes = make_blobs([20, 30, 40], centers=[[0, 0], [9, 0], [0, 9]], random_state=1)
    y = np.array(["ant", "bee", "cow"])[classes]
    labels = clone(clusterer).set_params(random_state=0).fit(X).predict(X)
    for matching in ("majority", "one-to-one"):
        names = infer_cluster_labels(labels, y, matching=matching)
        assert sorted(names.values()) == ["ant", "bee", "cow"]
        assert infer_data_labels(labels, names).tolist() == y.tolist()
        assert clustering_accuracy(y, labels, matching) == 1.0
    assert confusion_matrix(y, labels, names).counts.tolist() == np.diag([20, 30, 40]).tolist()
    assert sorted(cluster_sizes(labels)) == [20, 30, 40]
    with pytest.raises(ValueError, match="labels has 89"):
        clustering_accuracy(y, labels[1:])
    with pytest.raises(ValueError, match="1 of 90 entries are missing"):
        clustering_accuracy([None, *y[1:]], labels)
    with pytest.raises(TypeError, match="pass its labels_"):
        clustering_accuracy(y, clusterer)


# Two pairs, far apart: each pair's centre is 1/2 from both rows, so the inertia is 4 * 0.25.
PAIRS = np.array([[0.0], [1.0], [10.0], [11.0]])


def kmeans(**options):
    return KMeans(2, n_init=1, random_state=0, **options)


def test_table_holds_the_scores_of_scikit_learn():
    X, y = load_iris(return_X_y=True)
    table = score_table({"three": KMeans(3, n_init=1, random_state=0)}, X, y)
    fitted = KMeans(3, n_init=1, random_state=0).fit(X)
    labels = fitted.labels_
    (row,) = table
    assert row["homogeneity"] == metrics.homogeneity_score(y, labels)
    assert row["completeness"] == metrics.completeness_score(y, labels)
    assert row["v_measure"] == metrics.v_measure_score(y, labels)
    assert row["ari"] == metrics.adjusted_rand_score(y, labels)
    assert row["ami"] == metrics.adjusted_mutual_info_score(y, labels)
    # The package's own, of which `silhouette_score` promises 1e-6.
    assert row["silhouette"] == pytest.approx(metrics.silhouette_score(X, labels), abs=1e-6)
    assert row["inertia"] == pytest.approx(fitted.inertia_, rel=1e-12)


def test_inertia_by_hand_whatever_the_input_dtype():
    for dtype in (np.float64, np.float32, np.uint8):
        assert score_table({"k": kmeans()}, PAIRS.astype(dtype))["inertia"] == [1.0]


def test_inertia_of_sparse_rows_is_that_of_dense_ones():
    sparse = pytest.importorskip("scipy.sparse")
    assert score_table({"k": kmeans()}, sparse.csr_matrix(PAIRS))["inertia"] == [1.0]


def test_inertia_summed_over_blocks_is_that_of_one_block():
    # More rows than a block: n/2 rows at distance 1 on either side of each of two centres.
    X = np.tile([[0.0], [2.0], [100.0], [102.0]], (3000, 1))
    start = np.array([[1.0], [101.0]])
    assert score_table({"k": KMeans(2, init=start, n_init=1)}, X)["inertia"] == [12_000.0]


def test_unfitted_estimator_is_not_touched_and_fitted_one_not_refitted():
    unfitted, fitted = kmeans(), kmeans().fit(PAIRS)
    centroids = fitted.cluster_centers_
    table = score_table({"new": unfitted, "old": fitted}, PAIRS)
    assert not hasattr(unfitted, "labels_")
    assert table.estimators["old", ""] is fitted
    assert fitted.cluster_centers_ is centroids
    assert math.isnan(table["time"][1])
    assert table["time"][0] > 0
    assert table["inertia"] == [1.0, 1.0]


def test_fitted_estimator_is_scored_on_the_rows_given_not_on_those_of_its_fit():
    fitted = kmeans().fit(PAIRS)
    table = score_table({"old": fitted}, PAIRS[::-1] + 2.0, ["b", "b", "a", "a"])
    assert table["ari"] == [1.0]
    assert table["inertia"] == [2 * (2.5**2 + 1.5**2)]


class TimedKMeans(KMeans):
    """Fits that take as long as they are told, by the clock below."""

    def __init__(self, n_clusters=2, *, seconds=(1.0,), n_init=1, random_state=0):
        super().__init__(n_clusters, n_init=n_init, random_state=random_state)
        self.seconds = seconds

    def fit(self, X, y=None):
        n_before = FITS.count(self.seconds)
        FITS.append(self.seconds)
        CLOCK[0] += self.seconds[n_before % len(self.seconds)]
        return super().fit(X)


FITS = []
CLOCK = [0.0]


@pytest.fixture
def fake_clock(monkeypatch):
    FITS.clear()
    monkeypatch.setattr(_scores.time, "perf_counter", lambda: CLOCK[0])


@pytest.mark.usefixtures("fake_clock")
def test_speedup_is_the_reference_variants_time_over_the_rows():
    table = score_table(
        {
            "a": {"fast": TimedKMeans(seconds=(0.5,)), "slow": TimedKMeans(seconds=(2.0,))},
            "b": {"fast": TimedKMeans(seconds=(1.0,)), "slow": TimedKMeans(seconds=(3.0,))},
        },
        PAIRS,
        reference="slow",
    )
    assert table["time"] == [0.5, 2.0, 1.0, 3.0]
    assert table["speedup"] == [4.0, 1.0, 3.0, 1.0]


@pytest.mark.usefixtures("fake_clock")
def test_reference_may_be_a_name_where_there_are_no_variants():
    estimators = {"a": TimedKMeans(seconds=(0.5,)), "b": TimedKMeans(seconds=(2.0,))}
    assert score_table(estimators, PAIRS, reference="b")["speedup"] == [4.0, 1.0]


@pytest.mark.usefixtures("fake_clock")
def test_time_is_the_median_of_fits_taken_in_turn():
    a, b = (16.0, 1.0, 2.0), (4.0, 8.0, 0.0)  # sums of these are exact
    table = score_table({"a": TimedKMeans(seconds=a), "b": TimedKMeans(seconds=b)}, PAIRS, n_fits=3)
    assert [a, b, a, b, a, b] == FITS
    assert table["time"] == [2.0, 4.0]
    assert "median of 3 fits" in str(table)


@pytest.mark.usefixtures("fake_clock")
@pytest.mark.parametrize(
    ("max_seconds", "n_turns", "note"),
    [
        (0.0, 1, "time: one fit (slow fits: 5 were asked for)."),
        (6.0, 2, "time: median of 2 fits, taken in turn (slow fits: 5 were asked for)."),
        (6.5, 3, "time: median of 3 fits, taken in turn (slow fits: 5 were asked for)."),
        (15.0, 5, "time: median of 5 fits, taken in turn."),
    ],
)
def test_no_turn_begins_once_the_fits_took_their_seconds(max_seconds, n_turns, note):
    estimators = {"a": TimedKMeans(seconds=(1.0,)), "b": TimedKMeans(seconds=(2.0,))}
    table = score_table(estimators, PAIRS, n_fits=5, max_seconds=max_seconds)
    assert [(1.0,), (2.0,)] * n_turns == FITS
    assert table.notes[0] == note


def test_table_of_fitted_estimators_speaks_of_no_fits():
    table = score_table({"a": kmeans().fit(PAIRS)}, PAIRS)
    assert math.isnan(table["time"][0])
    assert table.notes == ("silhouette: on all 4 rows.",)


def test_silhouette_is_computed_on_the_stated_sample():
    X, _ = make_blobs(300, centers=3, random_state=0)
    table = score_table({"k": KMeans(3, n_init=1, random_state=0)}, X, silhouette_sample=50)
    labels = KMeans(3, n_init=1, random_state=0).fit_predict(X)
    sample = np.random.RandomState(0).choice(300, 50, replace=False)
    expected = metrics.silhouette_score(X[sample], labels[sample])
    assert table["silhouette"] == [pytest.approx(expected, abs=1e-6)]
    assert "a random sample of 50 of 300 rows" in str(table)


def test_silhouette_of_one_cluster_is_missing():
    table = score_table({"one": KMeans(1, n_init=1)}, PAIRS)
    assert math.isnan(table["silhouette"][0])
    assert str(table).splitlines()[2].split()[-1] == "-"


def test_any_clusterer_of_scikit_learn_is_scored():
    X, y = make_blobs(60, centers=3, cluster_std=0.1, random_state=3)
    table = score_table(
        {
            "minibatch": MiniBatchKMeans(3, n_init=3, random_state=0),
            "bisecting": BisectingKMeans(3, random_state=0),
            "mixture": GaussianMixture(3, random_state=0),
            "tree": AgglomerativeClustering(3),
        },
        X,
        y,
    )
    assert table["ari"] == [1.0, 1.0, 1.0, 1.0]
    assert [math.isnan(inertia) for inertia in table["inertia"]] == [False, False, True, True]


def test_without_classes_the_supervised_columns_are_left_out():
    keys = [column.key for column in score_table({"k": kmeans()}, PAIRS).columns]
    assert keys == ["name", "time", "inertia", "silhouette"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"estimators": {}}, ValueError, "at least one estimator"),
        ({"estimators": {"k": KMeans}}, TypeError, "pass an instance"),
        ({"estimators": {"k": "KMeans"}}, TypeError, "pass an instance"),
        ({"y": [0, 1]}, ValueError, "inconsistent numbers of samples: X has 4, y has 2"),
        ({"y": [0, 1, None, 1]}, ValueError, "missing"),
        ({"X": [[0.0], [1.0], [math.nan], [2.0]]}, ValueError, r"NaN: drop such rows .*impute"),
        ({"reference": "scikit"}, ValueError, r"one of \['k'\]; got 'scikit'"),
        ({"n_fits": 0}, ValueError, "n_fits must be 1 or more"),
        ({"silhouette_sample": 1}, ValueError, "2 or more"),
    ],
)
def test_bad_arguments_of_score_table_are_refused(change, error, words):
    arguments = {"estimators": {"k": kmeans()}, "X": PAIRS, **change}
    with pytest.raises(error, match=words):
        score_table(**arguments)


def test_fitted_estimator_that_cannot_predict_is_refused():
    tree = AgglomerativeClustering(2).fit(PAIRS)
    with pytest.raises(TypeError, match="AgglomerativeClustering has none: pass it unfitted"):
        score_table({"tree": tree}, PAIRS)


TABLE = Table(
    (Column("name", "name", is_text=True), Column("time", "time", write_seconds)),
    ({"name": "a<b", "time": 0.25}, {"name": "c", "time": math.nan}),
    ("One & all.",),
)


def test_table_aligns_text_left_and_numbers_right():
    assert str(TABLE).splitlines() == [
        "name    time",
        "----  ------",
        "a<b   250 ms",
        "c          -",
        "One & all.",
    ]


def test_table_in_a_notebook_is_escaped_html():
    html = TABLE._repr_html_()
    assert html.count("<tr>") == 3
    assert "a&lt;b</td>" in html
    assert "One &amp; all." in html


def test_table_to_pandas_keeps_the_unrounded_values():
    pytest.importorskip("pandas")
    frame = TABLE.to_pandas()
    assert list(frame.columns) == ["name", "time"]
    assert frame["time"][0] == 0.25


def test_unknown_column_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match="the columns are name, time"):
        TABLE["inertia"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(123.4, "123 s"), (1.0, "1.00 s"), (0.0451, "45.1 ms"), (2.5e-4, "250 us"), (0.0, "0.00 us")],
)
def test_durations_are_written_in_the_unit_that_suits(seconds, text):
    assert write_seconds(seconds) == text
