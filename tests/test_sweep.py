"""Sweeps over the number of clusters, against hand calculation, scikit-learn and the papers."""

import doctest
import io
import itertools
import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import cluster, metrics
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

import fastkm
from fastkm.evaluation import SweepTable, _progress, _sweep, sweep
from fastkm.evaluation import _columns as columns
from fastkm.evaluation._choice import elbow, highest, lowest, within_one_error
from fastkm.evaluation._gap import gap, reference_of, standard_error

CLUSTERERS = [
    fastkm.KMeans(),
    fastkm.MiniBatchKMeans(n_init=3),
    cluster.KMeans(n_init=3),
    cluster.MiniBatchKMeans(n_init=3),
    cluster.BisectingKMeans(),
    GaussianMixture(),
]
NAMES = [f"{type(c).__module__.split('.')[0]}.{type(c).__name__}" for c in CLUSTERERS]
every_clusterer = pytest.mark.parametrize("clusterer", CLUSTERERS, ids=NAMES)

BLOBS, CLASSES = make_blobs(90, centers=[[0, 0], [9, 0], [0, 9]], random_state=4)
WITH_NAN, WITH_INFINITY = BLOBS.copy(), BLOBS.copy()
WITH_NAN[3, 1], WITH_INFINITY[3, 1] = np.nan, np.inf


class Recorder(fastkm.KMeans):
    """Keeps what each fit was given, and the fitted estimators."""

    def __init__(self, n_clusters=2, *, init="random", n_init=1, random_state=None):
        super().__init__(n_clusters, init=init, n_init=n_init, random_state=random_state)

    def fit(self, X, y=None):
        super().fit(X)
        RECORDS.append((self, X))
        return self


RECORDS = []


@pytest.fixture
def records():
    RECORDS.clear()
    return RECORDS


class Told(ClusterMixin, BaseEstimator):
    """Gives the labels it is told, whatever the number of clusters."""

    def __init__(self, n_clusters=2, labels=()):
        self.n_clusters = n_clusters
        self.labels = labels

    def fit(self, X, y=None):
        self.labels_ = np.array(self.labels)
        return self


CLOCK = [0.0]
SECONDS = []


class Clocked(fastkm.KMeans):
    """Each fit takes the next of SECONDS."""

    def fit(self, X, y=None, sample_weight=None):
        CLOCK[0] += SECONDS.pop(0)
        return super().fit(X)


class Forbidden(fastkm.KMeans):
    """Fails a test that fits it."""

    def fit(self, X, y=None, sample_weight=None):
        raise AssertionError("fitted")


def pooled_scatter(X, labels):
    """W_k as the paper's equations 1 and 2 have it: over pairs of rows, without means."""
    total = 0.0
    for j in np.unique(labels):
        points = X[labels == j].astype(np.float64)
        pairs = np.square(points[:, None, :] - points[None, :, :]).sum()
        total += pairs / (2 * len(points))
    return total


@pytest.mark.parametrize("module", [_sweep, _progress])
def test_examples_of_the_docstrings_run(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


def test_columns_are_in_their_order_and_those_of_classes_need_classes():
    keys = [
        "k", "inertia", "time", "silhouette", "calinski_harabasz", "davies_bouldin", "gap",
        "gap_se",
    ]  # fmt: skip
    supervised = ["homogeneity", "completeness", "v_measure", "ari", "ami", "accuracy"]
    without, with_classes = sweep(BLOBS, [2]), sweep(BLOBS, [2], CLASSES)
    assert [column.key for column in without.columns] == keys
    assert [column.key for column in with_classes.columns] == keys + supervised
    assert set(with_classes.spread) == {*keys, *supervised} - {"k", "gap_se"}
    assert list(with_classes.rows[0]) == keys + supervised


@every_clusterer
def test_every_criterion_and_clusterer_finds_three_far_blobs(clusterer):
    table = sweep(BLOBS, range(1, 6), CLASSES, estimator=clusterer, n_seeds=2)
    assert isinstance(table, SweepTable)
    assert table.is_complete
    assert table.chosen == dict.fromkeys(
        ("inertia", "silhouette", "calinski_harabasz", "davies_bouldin", "gap"), 3
    )
    for key in ("ari", "ami", "v_measure", "homogeneity", "completeness", "accuracy"):
        assert table[key][2] == pytest.approx(1.0)


@every_clusterer
def test_scores_are_those_of_scikit_learn_on_the_labels(clusterer):
    table = sweep(BLOBS, [2, 4], CLASSES, estimator=clusterer, gap_references=0)
    for row in table:
        fitted = table.estimators[row["k"]]
        labels = fitted.labels_ if hasattr(fitted, "labels_") else fitted.predict(BLOBS)
        assert row["silhouette"] == pytest.approx(metrics.silhouette_score(BLOBS, labels))
        assert row["calinski_harabasz"] == metrics.calinski_harabasz_score(BLOBS, labels)
        assert row["davies_bouldin"] == metrics.davies_bouldin_score(BLOBS, labels)
        assert row["ari"] == metrics.adjusted_rand_score(CLASSES, labels)
        if hasattr(fitted, "cluster_centers_"):
            to_centroids = np.square(BLOBS - fitted.cluster_centers_[labels]).sum()
            assert row["inertia"] == pytest.approx(to_centroids, rel=1e-12)
        else:
            assert row["inertia"] == pytest.approx(pooled_scatter(BLOBS, labels), rel=1e-12)


def test_values_are_means_over_the_seeds_with_their_deviations(records):
    table = sweep(BLOBS, [2, 5], estimator=Recorder(), n_seeds=4, gap_references=0)
    for place, k in enumerate([2, 5]):
        inertias = [model.inertia_ for model, _ in records if model.n_clusters == k]
        assert len(inertias) == 4
        assert table["inertia"][place] == pytest.approx(np.mean(inertias))
        deviation = math.sqrt(sum((v - np.mean(inertias)) ** 2 for v in inertias) / 3)
        assert table.spread["inertia"][place] == pytest.approx(deviation, abs=1e-9)
    assert max(table.spread["inertia"]) > 1.0  # or the seeds were all the same
    assert "values: means over 4 seeds" in str(table)


def test_each_number_of_clusters_is_fitted_with_the_same_different_seeds(records):
    sweep(BLOBS, [3, 2], estimator=Recorder(), n_seeds=3, gap_references=0)
    seeds = [[m.random_state for m, _ in records if m.n_clusters == k] for k in (2, 3)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3


def test_estimator_kept_is_the_one_of_lowest_inertia(records):
    table = sweep(BLOBS, [5], estimator=Recorder(), n_seeds=6, gap_references=0)
    inertias = [model.inertia_ for model, _ in records]
    assert len({round(inertia, 6) for inertia in inertias}) > 1
    assert table.estimators[5] is records[int(np.argmin(inertias))][0]


def test_time_is_the_median_over_the_seeds(monkeypatch):
    monkeypatch.setattr(_sweep.time, "perf_counter", lambda: CLOCK[0])
    SECONDS[:] = [1.0, 8.0, 2.0]
    table = sweep(BLOBS, [2], estimator=Clocked(), n_seeds=3, gap_references=0)
    assert table["time"] == [2.0]


def test_one_seed_has_no_spread():
    table = sweep(BLOBS, [2, 3], gap_references=2)
    assert all(math.isnan(value) for values in table.spread.values() for value in values)


def test_gap_and_its_error_are_those_of_the_paper(records):
    n_references, ks = 4, [1, 2, 3]
    table = sweep(BLOBS, ks, estimator=Recorder(), n_seeds=2, gap_references=n_references)
    for place, k in enumerate(ks):
        logs = {"X": [], "reference": []}
        for model, points in records:
            if model.n_clusters == k:
                which = "X" if points is BLOBS else "reference"
                logs[which].append(math.log(pooled_scatter(points, model.labels_)))
        assert len(logs["X"]) == 2
        reference = np.array(logs["reference"])
        assert len(reference) == n_references
        # Rows a clustering stopped by tol need not lie about their means; W_k is of the means.
        gaps = [reference.mean() - log for log in logs["X"]]
        assert table["gap"][place] == pytest.approx(np.mean(gaps), abs=1e-10)
        sd = math.sqrt(np.square(reference - reference.mean()).sum() / n_references)
        assert table["gap_se"][place] == pytest.approx(sd * math.sqrt(1 + 1 / 4), abs=1e-10)
        assert table.spread["gap"][place] == pytest.approx(np.std(gaps, ddof=1), abs=1e-10)


def test_references_are_the_same_for_every_k_and_differ_from_each_other(records):
    sweep(BLOBS, [1, 2], estimator=Recorder(), gap_references=3)
    references = [points for _, points in records if points is not BLOBS]
    assert len(references) == 6
    for one, other in zip(references[::2], references[1::2], strict=True):
        assert one is other
    assert not np.array_equal(references[0], references[2])


def test_reference_fills_the_box_of_the_features_uniformly():
    X = np.array([[-2.0, 5.0], [4.0, 6.0], [0.0, 5.5]])
    n = 20_000
    points = reference_of(X, "features").draw(n, np.random.default_rng(0))
    assert points.shape == (n, 2)
    low, high = np.array([-2.0, 5.0]), np.array([4.0, 6.0])
    assert np.all((points >= low) & (points <= high))
    unit = (points - low) / (high - low)
    # A uniform number has mean 1/2 and standard deviation sqrt(1/12); five errors of either.
    assert np.abs(unit.mean(axis=0) - 0.5).max() < 5 * math.sqrt(1 / 12 / n)
    assert np.abs(unit.std(axis=0) - math.sqrt(1 / 12)).max() < 5 * 0.2 / math.sqrt(n)
    assert np.abs(np.corrcoef(unit.T)[0, 1]) < 5 / math.sqrt(n)


def test_reference_along_principal_axes_follows_correlated_features_where_they_stand():
    # A board around (100, 300, 200), turned: 10 long, 4 wide, 0.2 thick. All eight corners are
    # there, so no two directions are correlated and the board's edges are the principal axes.
    turn = np.array([[2, 2, 1], [-2, 1, 2], [1, -2, 2]]) / 3
    half = np.array([5.0, 2.0, 0.1])
    middle = np.array([100, 300, 200])
    X = half * list(itertools.product([-1, 1], repeat=3)) @ turn + middle
    points = reference_of(X, "principal axes").draw(4000, np.random.default_rng(0))
    inside = (points - middle) @ turn.T / half
    assert np.abs(inside).max() < 1 + 1e-9
    assert np.all(inside.min(axis=0) < -0.98)
    assert np.all(inside.max(axis=0) > 0.98)
    features = reference_of(X, "features").draw(4000, np.random.default_rng(0))
    assert np.abs((features - middle) @ turn.T / half)[:, 2].max() > 10


def test_turning_float32_references_does_not_round_where_they_stand():
    # At 1e6 float32 has a spacing of 1/16, so half of that is the error of a reference's place.
    X = np.random.default_rng(0).normal(size=(500, 60)) + 1e6
    wide = reference_of(X, "principal axes")
    narrow = wide._replace(dtype=np.float32)
    turned = wide.axes.astype(np.float32)
    points = narrow.draw(50, np.random.default_rng(1))
    unit = np.random.default_rng(1).random((50, 60), dtype=np.float32).astype(np.float64)
    exact = (wide.low + unit * (wide.high - wide.low)) @ turned.T.astype(np.float64) + wide.middle
    # And half again for the place of the middle.
    assert np.abs(points - exact).max() < 1 / 16 + 1e-3


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float64),
    ],
)
@pytest.mark.parametrize("box", ["features", "principal axes"])
def test_references_have_the_precision_of_the_rows(dtype, expected, box):
    X = np.array([[0, 1], [3, 5], [7, 2]], dtype=dtype)
    assert reference_of(X, box).draw(5, np.random.default_rng(0)).dtype == expected


def test_gap_chooses_one_cluster_where_there_are_none():
    X = np.random.default_rng(0).random((200, 2))
    assert sweep(X, range(1, 6)).chosen["gap"] == 1


def test_gap_by_hand():
    assert gap(np.array([1.0, 3.0]), 0.5) == 1.5
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(1.5))
    assert gap(np.array([1.0, 3.0]), -math.inf) == math.inf
    assert math.isnan(gap(np.array([]), 0.5))
    assert math.isnan(standard_error(np.array([1.0])))
    assert math.isnan(gap(np.array([-math.inf, -math.inf]), -math.inf))


def test_gap_of_rows_without_scatter_is_infinite_and_chosen():
    table = sweep(np.repeat([[0.0], [5.0]], 4, axis=0), [1, 2], gap_references=3)
    assert table["inertia"] == [8 * 2.5**2, 0.0]
    assert table["gap"][1] == math.inf
    assert table.chosen["gap"] == 2


@pytest.mark.parametrize(
    ("ks", "values", "chosen"),
    [
        # 1 - x is 1, .75, .5, .25, 0; below the chord by 0, .55, .4, .2, 0.
        ([1, 2, 3, 4, 5], [100, 20, 10, 5, 0], 2),
        # 1 - x is 1, .9, .8, .2, 0; below the chord by 0, .7, .7, .15, 0: a tie.
        ([1, 2, 3, 9, 11], [120, 40, 30, 25, 20], 2),
        # 1 - x is 1, 8/9, 0; a straight line only if the places were equally far apart.
        ([1, 2, 10], [4, 3, 2], 2),
        # Adding a constant, or another unit, changes nothing.
        ([1, 2, 3, 4, 5], [1007, 207, 107, 57, 7], 2),
        ([1, 2, 3], [4, 3, 2], None),  # a straight line
        ([1, 2, 3], [4, 3.5, 2], None),  # above its chord
        ([1, 2], [4, 2], None),
        ([1, 2, 3], [1, 2, 3], None),
        ([1, 2, 3], [2, math.nan, 1], None),
        ([4, 5, 6], [0, 0, 0], None),
    ],
)
def test_elbow_is_the_point_farthest_below_the_chord(ks, values, chosen):
    assert elbow(ks, values) == chosen


def test_straight_line_has_no_elbow_in_spite_of_rounding():
    ks = list(range(2, 30))
    assert elbow(ks, [0.1 * (30 - k) + 0.7 for k in ks]) is None


def test_extremes_skip_missing_values_and_ties_go_to_the_fewest_clusters():
    ks = [1, 2, 3, 4]
    assert highest(ks, [math.nan, 0.3, 0.5, 0.5]) == 3
    assert lowest(ks, [math.nan, 0.3, 0.2, 0.2]) == 3
    assert highest([1], [math.nan]) is None


@pytest.mark.parametrize(
    ("gaps", "errors", "chosen"),
    [
        ([0.1, 0.5, 0.52, 0.6], [0.05] * 4, 4),  # the second has 0.5 >= 0.52 - 0.05
        ([0.1, 0.5, 0.54, 0.5], [0.02] * 4, 5),  # only the third is at or above the next
        ([0.1, 0.2, 0.3, 0.4], [0.01] * 4, 7),  # rises to the end
        ([0.4, 0.6, 0.1, 0.1], [0.3, 0.2, 0.0, 0.0], 2),  # the next one's error counts: 0.6 - 0.2
        ([0.4, 0.6, 0.1, 0.1], [0.3, 0.1, 0.0, 0.0], 4),
        ([0.4, 0.9, math.inf, math.nan], [0.1, 0.1, 0.1, math.nan], 5),
        ([math.nan] * 4, [math.nan] * 4, None),
        ([0.4, math.nan, math.nan, math.nan], [0.1] * 4, None),
        ([0.4, 0.3, 0.2, 0.1], [math.nan] * 4, None),
    ],
)
def test_gap_rule_takes_the_first_within_one_error_of_the_next(gaps, errors, chosen):
    assert within_one_error([2, 4, 5, 7], gaps, errors) == chosen


def test_gap_that_rises_to_the_end_is_told():
    table = sweep(BLOBS, [1, 2, 3], criteria=["gap"])
    assert table.chosen["gap"] == 3
    assert "no k before the last meets the rule" in str(table)
    assert "no k before the last" not in str(sweep(BLOBS, range(1, 6), criteria=["gap"]))


@every_clusterer
def test_one_cluster_has_a_gap_and_no_score_that_compares_clusters(clusterer):
    table = sweep(BLOBS, [1], CLASSES, estimator=clusterer, gap_references=3)
    (row,) = table
    for key in ("silhouette", "calinski_harabasz", "davies_bouldin"):
        assert math.isnan(row[key])
    assert str(table).splitlines()[2].split().count("-") == 3
    assert math.isfinite(row["gap"])
    assert math.isfinite(row["gap_se"])
    assert row["inertia"] == pytest.approx(
        np.square(BLOBS - BLOBS.mean(axis=0)).sum(), rel=0.02 if "Mini" in str(clusterer) else 1e-9
    )
    assert row["accuracy"] == 30 / 90
    assert table.chosen == {}


def test_as_many_clusters_as_rows_leave_nothing_to_compare():
    X = np.array([[0.0], [1.0], [10.0]])
    table = sweep(X, [2, 3], gap_references=2)
    assert table["inertia"] == [0.5, 0.0]
    for key in ("silhouette", "calinski_harabasz", "davies_bouldin", "gap"):
        assert math.isnan(table[key][1])


def test_cluster_of_one_row_counts_zero_in_the_silhouette():
    # {0, 1} and {10}: (10 - 1)/10, (9 - 1)/9 and, by definition, 0.
    table = sweep([[0.0], [1.0], [10.0]], [2], gap_references=0)
    assert table["silhouette"] == [pytest.approx((9 / 10 + 8 / 9) / 3)]


def test_empty_clusters_are_told_and_the_rest_is_scored():
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    table = sweep(X, [2, 3], estimator=Told(labels=[0, 0, 2, 2]), gap_references=0)
    assert table["inertia"] == [1.0, 1.0]
    assert table.notes[-1] == "k = 3: only 2 clusters have rows."
    assert not any(note.startswith("k = 2") for note in table.notes)
    expected = metrics.silhouette_score(X, [0, 0, 1, 1])
    assert table["silhouette"] == [pytest.approx(expected)] * 2


def test_inertia_about_the_means_is_summed_over_blocks_of_rows():
    # 3000 rows at 0 and 2, then 3000 at 100 and 104: 3000 * 2 * 1 + 3000 * 2 * 4 about the means.
    X = np.repeat(np.array([[0.0], [2.0], [100.0], [104.0]]), 3000, axis=0)
    told = Told(labels=np.repeat([0, 1], 6000))
    table = sweep(X, [2], estimator=told, gap_references=0, criteria=["inertia"])
    assert table["inertia"] == [30_000.0]


def test_class_that_no_cluster_is_named_by_lowers_the_accuracy():
    X = np.array([[0.0], [1.0], [10.0], [11.0]])
    table = sweep(X, [2], ["a", "a", "a", "b"], gap_references=0)
    assert table["accuracy"] == [3 / 4]


def test_names_of_classes_do_not_matter():
    words = np.array(["x", "a", "m"])[CLASSES]
    for y in (words, words.tolist(), CLASSES.astype(float), CLASSES == 0):
        found = sweep(BLOBS, [3], y, gap_references=0)
        codes = np.unique(y, return_inverse=True)[1]
        expected = metrics.v_measure_score(codes, found.estimators[3].labels_)
        assert found["v_measure"] == [pytest.approx(expected)]


def test_silhouette_is_computed_on_the_stated_sample(records):
    X, _ = make_blobs(300, centers=3, random_state=0)
    table = sweep(X, [2, 3], estimator=Recorder(), silhouette_sample=50, gap_references=0)
    sample = np.random.RandomState(0).choice(300, 50, replace=False)
    for value, (model, _) in zip(table["silhouette"], records, strict=True):
        assert value == pytest.approx(metrics.silhouette_score(X[sample], model.labels_[sample]))
    assert "a random sample of 50 of 300 rows" in str(table)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_rows_of_other_dtypes_give_the_same_table(dtype):
    X = np.round(10 * (BLOBS - BLOBS.min(axis=0)))
    ours = sweep(X.astype(dtype), [1, 3], gap_references=0)
    wide = sweep(X, [1, 3], gap_references=0)
    for key in ("inertia", "silhouette", "calinski_harabasz", "davies_bouldin"):
        np.testing.assert_allclose(ours[key], wide[key], rtol=1e-5)


def test_scores_of_float32_rows_are_computed_in_float64():
    X = (np.tile(BLOBS, (300, 1)) + 1e5).astype(np.float32)
    labels = np.tile(CLASSES, 300)
    told = Told(labels=labels)
    keys = ["calinski_harabasz", "davies_bouldin"]
    ours = sweep(X, [3], estimator=told, criteria=keys)
    wide = sweep(X.astype(np.float64), [3], estimator=told, criteria=keys)
    for key in ("inertia", *keys):
        assert ours[key] == pytest.approx(wide[key], rel=1e-12)


def test_sparse_rows_have_the_scores_that_scikit_learn_can_compute():
    X = np.where(np.abs(BLOBS) < 1, 0.0, BLOBS)
    sparse, dense = sweep(csr_matrix(X), [2, 3], CLASSES), sweep(X, [2, 3], CLASSES)
    keys = [column.key for column in sparse.columns]
    assert not {"calinski_harabasz", "davies_bouldin", "gap", "gap_se"} & set(keys)
    for key in ("inertia", "ari"):
        np.testing.assert_allclose(sparse[key], dense[key], rtol=1e-9)
    # Of dense rows it is the package's own, of which `silhouette_score` promises 1e-6.
    np.testing.assert_allclose(sparse["silhouette"], dense["silhouette"], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"\['gap'\] need dense rows.*X\.toarray\(\)"):
        sweep(csr_matrix(X), [2, 3], criteria=["inertia", "gap"])


def test_only_the_criteria_asked_for_are_computed(records):
    table = sweep(BLOBS, [2, 3], estimator=Recorder(), criteria=["davies_bouldin"])
    assert [column.key for column in table.columns] == ["k", "inertia", "time", "davies_bouldin"]
    assert set(table.chosen) == {"davies_bouldin"}
    assert len(records) == 2
    assert len(table.notes) == 1


def test_estimator_given_is_not_touched_and_may_have_been_fitted():
    given = fastkm.KMeans(4, random_state=9).fit(BLOBS)
    before = given.labels_
    table = sweep(BLOBS, [2], estimator=given, gap_references=0)
    assert given.labels_ is before
    assert given.get_params()["n_clusters"] == 4
    assert table.estimators[2] is not given


def test_rows_are_not_written_to_and_names_of_features_are_kept():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(BLOBS, columns=["a", "b"])
    table = sweep(frame, [2], estimator=GaussianMixture(), gap_references=2)
    assert table.estimators[2].feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(frame.to_numpy(), BLOBS)
    before = BLOBS.copy()
    sweep(BLOBS, [2], gap_references=2, gap_box="principal axes")
    np.testing.assert_array_equal(BLOBS, before)


def test_same_random_state_gives_the_same_table_and_another_one_another():
    def run(seed):
        return sweep(BLOBS, [2, 4], n_seeds=2, gap_references=3, random_state=seed)

    def values(table):
        return [{**row, "time": 0} for row in table]

    assert values(run(1)) == values(run(1)) == values(run(np.random.RandomState(1)))
    assert values(run(1)) != values(run(2))


def test_rows_ascend_whatever_the_order_of_ks():
    assert sweep(BLOBS, iter([4, 2, 3]), gap_references=0)["k"] == [2, 3, 4]
    assert sweep(BLOBS, np.array([3, 2]), gap_references=0)["k"] == [2, 3]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"ks": []}, ValueError, "at least one number of clusters"),
        ({"ks": [2, 3, 2]}, ValueError, r"each number of clusters once; got \[2\] repeatedly"),
        ({"ks": [0, 2]}, ValueError, "must be 1 or more; got 0"),
        ({"ks": [2, 91]}, ValueError, "at most the number of rows of X, 90; got 91"),
        ({"ks": 3}, TypeError, "must list numbers of clusters"),
        ({"ks": 2, "y": 10}, TypeError, r"ks must list numbers .*such as range\(2, 11\); got 2"),
        ({"ks": "23"}, TypeError, "must list numbers of clusters"),
        ({"ks": [2.0]}, TypeError, "must be an integer; got 2.0"),
        ({"ks": [True]}, TypeError, "must be an integer; got True"),
        ({"y": CLASSES[1:]}, ValueError, "X has 90, y has 89"),
        ({"y": [None, *CLASSES[1:]]}, ValueError, "1 of 90 entries are missing.*drop those rows"),
        ({"y": CLASSES + 0.5}, ValueError, "continuous"),
        ({"X": WITH_NAN}, ValueError, "NaN: drop such rows"),
        ({"X": WITH_INFINITY}, ValueError, "infinity.*: drop such"),
        ({"X": [["a", "b"]] * 90}, ValueError, "could not convert|dtype='numeric'"),
        ({"X": BLOBS[:, 0]}, ValueError, "Expected 2D array"),
        ({"estimator": cluster.KMeans}, TypeError, "pass an instance"),
        ({"estimator": "kmeans"}, TypeError, "pass an instance"),
        ({"estimator": cluster.DBSCAN()}, TypeError, "n_clusters or n_components.*DBSCAN has none"),
        ({"estimator": make_pipeline(Forbidden())}, TypeError, "Pipeline has none: transform X"),
        ({"estimator": Told(), "n_seeds": 2}, ValueError, "n_seeds must be 1 for Told"),
        ({"n_seeds": 0}, ValueError, "n_seeds must be 1 or more"),
        ({"n_seeds": 1.5}, TypeError, "n_seeds must be an integer"),
        ({"criteria": ["elbow"]}, ValueError, r"criteria must be of \['inertia'.*got \['elbow'\]"),
        ({"criteria": ["gap"], "gap_references": 0}, ValueError, "2 or more where criteria have"),
        ({"gap_references": 1}, ValueError, "to have a standard error, or 0; got 1"),
        ({"gap_references": -1}, ValueError, "0 or more"),
        ({"gap_box": "pca"}, ValueError, r"one of \['features', 'principal axes'\]; got 'pca'"),
        ({"silhouette_sample": 1}, ValueError, "2 or more"),
        ({"progress": 1}, TypeError, "True, a callable"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_fit(change, error, words):
    arguments = {"X": BLOBS, "ks": [2, 3], "estimator": Forbidden(), **change}
    with pytest.raises(error, match=words):
        sweep(**arguments)


def test_estimator_that_gives_no_labels_is_refused():
    with pytest.raises(TypeError, match="PCA has none: pass a clusterer"):
        sweep(BLOBS, [2], estimator=PCA())


def test_progress_is_told_of_each_fit():
    told = []
    sweep(BLOBS, [2, 3], n_seeds=2, gap_references=2, progress=told.append)
    assert [(p.n_done, p.n_fits) for p in told] == [(i, 8) for i in range(1, 9)]
    assert [(p.k, p.rows) for p in told[:4]] == [(2, "X"), (2, "X"), (3, "X"), (3, "X")]
    assert [(p.k, p.rows) for p in told[4:]] == [(2, "reference"), (3, "reference")] * 2
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(told))


def stop_after(n_fits):
    return lambda progress: progress.n_done == n_fits


def interrupt_after(n_fits):
    def interrupt(progress):
        if progress.n_done == n_fits:
            raise KeyboardInterrupt

    return interrupt


@pytest.mark.parametrize("end", [stop_after, interrupt_after])
def test_stopped_sweep_keeps_the_numbers_of_clusters_that_are_done(end):
    # Two seeds each: the fifth fit is the first of k = 4.
    table = sweep(BLOBS, range(2, 7), n_seeds=2, gap_references=2, progress=end(5))
    whole = sweep(BLOBS, range(2, 7), n_seeds=2, gap_references=2)
    assert table["k"] == [2, 3]
    assert list(table.estimators) == [2, 3]
    assert table["inertia"] == whole["inertia"][:2]
    assert all(len(values) == 2 for values in table.spread.values())
    assert all(math.isnan(value) for value in table["gap"])
    assert "gap" not in table.chosen
    assert not table.is_complete
    assert table.notes[0] == "stopped early: 2 of 5 numbers of clusters are done."
    assert whole.is_complete
    assert "stopped" not in str(whole)


@pytest.mark.parametrize("end", [stop_after, interrupt_after])
def test_sweep_stopped_among_the_references_has_the_gap_by_those_that_are_done(end):
    # 3 fits of X, then 3 for each reference: the tenth begins the third.
    table = sweep(BLOBS, [1, 2, 3], gap_references=5, progress=end(10))
    two = sweep(BLOBS, [1, 2, 3], gap_references=2)
    assert table["gap"] == two["gap"]
    assert table["gap_se"] == two["gap_se"]
    assert not table.is_complete
    assert "gap: 2 of 5 uniform references" in str(table)


def test_stop_at_the_last_fit_stops_nothing():
    assert sweep(BLOBS, [2, 3], gap_references=0, progress=stop_after(2)).is_complete


def test_stop_before_one_number_of_clusters_is_done_leaves_an_empty_table():
    table = sweep(BLOBS, [2, 3], n_seeds=2, progress=stop_after(1))
    assert len(table) == 0
    assert table.chosen == {}
    assert str(table).splitlines()[0].split()[:3] == ["k", "inertia", "time"]


def test_interrupt_before_one_number_of_clusters_is_done_is_raised():
    with pytest.raises(KeyboardInterrupt):
        sweep(BLOBS, [2, 3], n_seeds=2, progress=interrupt_after(1))


def test_interrupt_within_a_fit_keeps_what_is_done():
    class Interrupted(fastkm.KMeans):
        def fit(self, X, y=None, sample_weight=None):
            if self.n_clusters == 4:
                raise KeyboardInterrupt
            return super().fit(X)

    table = sweep(BLOBS, [2, 3, 4], estimator=Interrupted(), gap_references=2)
    assert table["k"] == [2, 3]


def test_progress_that_answers_otherwise_is_refused():
    with pytest.raises(TypeError, match="must return True to stop"):
        sweep(BLOBS, [2, 3], progress=lambda progress: "no")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_line_is_written_on_a_terminal_only(monkeypatch):
    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    sweep(BLOBS, [2, 3], gap_references=2, progress=True)
    lines = terminal.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[1].startswith("fit 1 of 6: k = 2; ")
    assert lines[6].startswith("fit 6 of 6: k = 3, a gap reference; ")
    assert lines[6].endswith(" s\n")
    assert lines[6].count("\n") == 1
    monkeypatch.setattr("sys.stderr", file)
    sweep(BLOBS, [2, 3], gap_references=2, progress=True)
    assert file.getvalue() == ""
    monkeypatch.setattr("sys.stderr", None)
    sweep(BLOBS, [2], gap_references=0, progress=True)


def test_shorter_progress_line_leaves_nothing_of_a_longer_one(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    line = _progress.Line()
    line(_progress.Progress(1, 2, 3, "reference", 1.0))
    line(_progress.Progress(2, 2, 3, "X", 1.0))
    first, second = terminal.getvalue().split("\r")[1:]
    assert len(second) == len(first)


def test_small_standard_error_is_shown():
    assert columns.GAP_SE.cell({"gap_se": 0.00042}) == "0.00042"
    assert columns.GAP_SE.cell({"gap_se": 0.0314}) == "0.031"


def test_table_is_shown_in_text_html_and_pandas():
    table = sweep(BLOBS, [1, 3], gap_references=2)
    lines = str(table).splitlines()
    assert lines[0].split()[:3] == ["k", "inertia", "time"]
    assert lines[2].split()[0] == "1"
    assert lines[4].startswith("chosen k: 3 by silhouette, 3 by Calinski-Harabasz")
    assert table._repr_html_().count("<tr>") == 3
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert frame["k"].tolist() == [1, 3]
    assert frame["inertia"].tolist() == table["inertia"]
