"""Others' code with fastkm's classes where scikit-learn's stood: the same results."""

import importlib

import numpy as np
import pytest
import sklearn.cluster
from beside import compares_batches
from sklearn import config_context
from sklearn.cluster import SpectralClustering
from sklearn.compose import ColumnTransformer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

import fastkm
from fastkm import KMeans, MiniBatchKMeans

# Sums in another order: a few units of 2^-53 times the square root of the rows.
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def labelled():
    """300 rows around 5 centres in 4 dimensions, and which of two classes each centre is of."""
    generator = np.random.default_rng(3)
    centres = generator.uniform(-6, 6, size=(5, 4))
    group = generator.integers(5, size=300)
    return centres[group] + generator.normal(size=(300, 4)), (group < 2).astype(int)


each_pair = pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(KMeans, sklearn.cluster.KMeans, id="KMeans"),
        pytest.param(
            MiniBatchKMeans,
            sklearn.cluster.MiniBatchKMeans,
            id="MiniBatchKMeans",
            marks=compares_batches,
        ),
    ],
)


@each_pair
def test_pipeline(labelled, ours, theirs):
    X, _ = labelled
    pipes = [
        make_pipeline(StandardScaler(), cls(5, random_state=0)).fit(X) for cls in (ours, theirs)
    ]
    assert np.array_equal(pipes[0].predict(X), pipes[1].predict(X))
    np.testing.assert_allclose(pipes[0].transform(X), pipes[1].transform(X), rtol=ROUNDING)
    assert pipes[0].score(X) == pytest.approx(pipes[1].score(X), rel=ROUNDING)
    labels = [
        make_pipeline(StandardScaler(), cls(5, random_state=0)).fit_predict(X)
        for cls in (ours, theirs)
    ]
    assert np.array_equal(*labels)


@each_pair
def test_distances_as_features_of_a_classifier(labelled, ours, theirs):
    X, y = labelled
    scores = [
        cross_val_score(make_pipeline(cls(8, random_state=0), GaussianNB()), X, y, cv=3)
        for cls in (ours, theirs)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-12)
    assert scores[0].mean() > 0.9


@each_pair
def test_grid_search_in_a_pipeline_with_two_processes(labelled, ours, theirs):
    X, _ = labelled
    searches = [
        GridSearchCV(
            Pipeline([("scale", StandardScaler()), ("kmeans", cls(random_state=0))]),
            {"kmeans__n_clusters": [2, 5, 7], "kmeans__init": ["k-means++", "random"]},
            cv=3,
            n_jobs=2,
        ).fit(X)
        for cls in (ours, theirs)
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(*scores, rtol=ROUNDING)
    assert searches[0].best_params_ == searches[1].best_params_
    assert np.array_equal(searches[0].predict(X), searches[1].predict(X))


@each_pair
def test_cross_val_score(labelled, ours, theirs):
    X, _ = labelled
    scores = [cross_val_score(cls(5, random_state=0), X, cv=4) for cls in (ours, theirs)]
    np.testing.assert_allclose(*scores, rtol=ROUNDING)


@each_pair
def test_weights_are_routed_through_cross_validation(labelled, rng, ours, theirs):
    X, _ = labelled
    weights = rng.uniform(0, 3, size=len(X))
    scores = []
    for cls in (ours, theirs):
        with config_context(enable_metadata_routing=True):
            kmeans = cls(5, random_state=0).set_fit_request(sample_weight=True)
            kmeans.set_score_request(sample_weight=True)
            result = cross_validate(kmeans, X, params={"sample_weight": weights}, cv=3)
        scores.append(result["test_score"])
    np.testing.assert_allclose(*scores, rtol=ROUNDING)


@each_pair
def test_grid_search_routes_weights(labelled, rng, ours, theirs):
    X, _ = labelled
    weights = rng.integers(0, 3, size=len(X)).astype(float)
    searches = []
    for cls in (ours, theirs):
        with config_context(enable_metadata_routing=True):
            kmeans = cls(random_state=0).set_fit_request(sample_weight=True)
            kmeans.set_score_request(sample_weight=False)
            search = GridSearchCV(kmeans, {"n_clusters": [2, 5]}, cv=3)
            searches.append(search.fit(X, sample_weight=weights))
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(*scores, rtol=ROUNDING)
    best = [search.best_estimator_ for search in searches]
    assert best[0].inertia_ == pytest.approx(best[1].inertia_, rel=ROUNDING)


@each_pair
def test_feature_union_and_column_transformer(labelled, ours, theirs):
    X, _ = labelled
    outputs = []
    for cls in (ours, theirs):
        columns = ColumnTransformer(
            [("left", cls(3, random_state=0), [0, 1]), ("right", cls(2, random_state=1), [2, 3])]
        )
        union = FeatureUnion([("columns", columns), ("all", cls(4, random_state=2))])
        outputs.append(union.fit_transform(X))
        names = union.get_feature_names_out()
        # scikit-learn's prefix is the class's name in small letters, and so the same.
        assert names[0] == f"columns__left__{theirs.__name__.lower()}0"
    assert outputs[0].shape == (len(X), 9)
    np.testing.assert_allclose(*outputs, rtol=ROUNDING)


@pytest.fixture(scope="module")
def unbalanced():
    """Rows of two classes, 240 against 60, the fewer in three tight groups."""
    generator = np.random.default_rng(8)
    many = generator.normal(size=(240, 3)) * 4
    few = np.repeat([[9.0, 9, 9], [-9, 9, 0], [0, -9, 9]], 20, axis=0)
    X = np.vstack([many, few + generator.normal(size=few.shape) / 2])
    return X, np.repeat([0, 1], [240, 60])


@each_pair
def test_imbalanced_learn_replaces_the_majority_by_centroids(unbalanced, ours, theirs):
    samplers = pytest.importorskip("imblearn.under_sampling", reason="no imbalanced-learn")
    results = []
    for cls in (ours, theirs):
        sampler = samplers.ClusterCentroids(estimator=cls(random_state=0), random_state=0)
        results.append(sampler.fit_resample(*unbalanced))
    assert np.bincount(results[0][1]).tolist() == [60, 60]
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=0, atol=ROUNDING)
    assert np.array_equal(results[0][1], results[1][1])


@each_pair
def test_imbalanced_learn_oversamples_within_clusters(unbalanced, ours, theirs):
    samplers = pytest.importorskip("imblearn.over_sampling", reason="no imbalanced-learn")
    results = []
    for cls in (ours, theirs):
        kmeans = cls(6, random_state=0)
        sampler = samplers.KMeansSMOTE(kmeans_estimator=kmeans, random_state=0)
        results.append(sampler.fit_resample(*unbalanced))
        assert type(sampler.kmeans_estimator_) is cls
    assert (results[0][1] == 1).sum() >= 240
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=0, atol=ROUNDING)


@pytest.fixture
def patch(monkeypatch):
    """Return a function that puts fastkm's thing where a client finds scikit-learn's.

    It returns a list that grows with every use, so that a test can see that the client came by.
    """

    def replace(module, name):
        used = []
        ours = getattr(fastkm, name)

        def counted(*args, **kwargs):
            used.append(name)
            return ours(*args, **kwargs)

        monkeypatch.setattr(importlib.import_module(module), name, counted)
        return used

    return replace


@pytest.mark.parametrize("encode", ["ordinal", "onehot-dense"])
def test_kbins_discretizer_by_kmeans(labelled, patch, encode):
    X, _ = labelled
    # Two edges and their mean round, so a row on an edge might change sides; none is.
    binner = KBinsDiscretizer(5, encode=encode, strategy="kmeans", random_state=0)
    expected = binner.fit_transform(X)
    edges = [edge.copy() for edge in binner.bin_edges_]
    used = patch("sklearn.cluster", "KMeans")
    assert np.array_equal(binner.fit_transform(X), expected)
    for ours, theirs in zip(binner.bin_edges_, edges, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert len(used) == X.shape[1]


def test_kbins_discretizer_by_kmeans_with_weights(labelled, patch, rng):
    X, _ = labelled
    weights = rng.uniform(0, 2, size=len(X))
    binner = KBinsDiscretizer(4, encode="ordinal", strategy="kmeans")
    expected = binner.fit(X, sample_weight=weights).transform(X)
    used = patch("sklearn.cluster", "KMeans")
    assert np.array_equal(binner.fit(X, sample_weight=weights).transform(X), expected)
    assert len(used) == X.shape[1]


def test_spectral_clustering(patch):
    # Two half moons, which k-means alone cannot part.
    angles = np.linspace(0, np.pi, 60)
    moon = np.column_stack([np.cos(angles), np.sin(angles)])
    X = np.vstack([moon, [1, 0.5] - moon])
    client = SpectralClustering(2, gamma=20, random_state=0)
    expected = client.fit_predict(X)
    used = patch("sklearn.cluster._spectral", "k_means")
    labels = client.fit_predict(X)
    assert np.array_equal(labels, expected)
    assert np.array_equal(labels != labels[0], np.repeat([False, True], 60))
    assert used == ["k_means"]


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++"])
def test_gaussian_mixture_starts_from_kmeans(labelled, patch, init_params):
    X, _ = labelled
    client = GaussianMixture(5, init_params=init_params, random_state=0, n_init=2)
    expected = client.fit_predict(X)
    means, n_iter = client.means_.copy(), client.n_iter_
    if init_params == "kmeans":
        used = patch("sklearn.cluster", "KMeans")
    else:
        used = patch("sklearn.mixture._base", "kmeans_plusplus")
    assert np.array_equal(client.fit_predict(X), expected)
    np.testing.assert_allclose(client.means_, means, rtol=1e-9)
    assert client.n_iter_ == n_iter
    assert len(used) == 2
