"""Parameters, tags, clones, pickles and data frames: what scikit-learn's classes do with them."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from sklearn import config_context
from sklearn.base import clone, is_clusterer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastkm import KMeans, MiniBatchKMeans

PAIRS = [(KMeans, sklearn.cluster.KMeans), (MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans)]
each_pair = pytest.mark.parametrize(
    ("our_class", "their_class"), PAIRS, ids=[pair[0].__name__ for pair in PAIRS]
)


@each_pair
def test_parameters_are_scikit_learns_and_two_more(our_class, their_class):
    ours = inspect.signature(our_class).parameters
    theirs = inspect.signature(their_class).parameters
    assert list(ours) == [*theirs, "n_threads", "callback"]
    assert [p.kind for p in ours.values()][: len(theirs)] == [p.kind for p in theirs.values()]
    differing = [name for name in theirs if ours[name].default != theirs[name].default]
    # "auto" here
    assert differing == (["algorithm"] if our_class is KMeans else [])


@each_pair
@pytest.mark.parametrize(
    "method",
    ["fit", "fit_predict", "fit_transform", "partial_fit", "predict", "transform", "score"],
)
def test_methods_take_scikit_learns_arguments(our_class, their_class, method):
    assert hasattr(our_class, method) == hasattr(their_class, method)
    if hasattr(our_class, method):
        ours = inspect.signature(getattr(our_class, method)).parameters
        theirs = inspect.signature(getattr(their_class, method)).parameters
        assert list(ours) == list(theirs)


@each_pair
def test_fitted_attributes_are_scikit_learns(blobs, our_class, their_class):
    ours = our_class(3, random_state=0).fit(blobs)
    theirs = their_class(3, random_state=0).fit(blobs)

    def public(estimator):
        return {name for name in vars(estimator) if name.endswith("_")}

    assert public(ours) == public(theirs)


@each_pair
def test_tags_say_what_scikit_learns_say(our_class, their_class):
    ours, theirs = our_class().__sklearn_tags__(), their_class().__sklearn_tags__()
    assert ours.input_tags.sparse
    assert ours == theirs
    assert is_clusterer(our_class())


def test_mini_batches_pickled_half_way_go_on_alike(blobs):
    kmeans = MiniBatchKMeans(4, random_state=0).partial_fit(blobs[:300])
    copy = pickle.loads(pickle.dumps(kmeans))
    copy.partial_fit(blobs[300:])
    kmeans.partial_fit(blobs[300:])
    assert np.array_equal(copy.cluster_centers_, kmeans.cluster_centers_)
    assert not hasattr(clone(copy), "n_steps_")


def test_sample_weight_is_routed_to_partial_fit():
    with config_context(enable_metadata_routing=True):
        kmeans = MiniBatchKMeans().set_partial_fit_request(sample_weight=True)
        requests = kmeans.get_metadata_routing().partial_fit.requests
    assert requests == {"sample_weight": True}


def test_clone_and_params(blobs):
    kmeans = KMeans(4, init=blobs[:4], algorithm="elkan", n_threads=2).fit(blobs)
    copy = clone(kmeans)
    assert not hasattr(copy, "labels_")
    assert copy.get_params().keys() == kmeans.get_params().keys()
    assert np.array_equal(copy.fit(blobs).cluster_centers_, kmeans.cluster_centers_)


def test_pickle_predicts_the_same(blobs):
    kmeans = KMeans(4, random_state=0).fit(blobs)
    copy = pickle.loads(pickle.dumps(kmeans))
    assert np.array_equal(copy.predict(blobs), kmeans.labels_)
    assert copy.score(blobs) == kmeans.score(blobs)


def test_fit_predict_and_fit_transform(blobs):
    kmeans = KMeans(4, random_state=0)
    labels = kmeans.fit_predict(blobs)
    assert labels is kmeans.labels_
    distances = clone(kmeans).fit_transform(blobs)
    assert np.array_equal(distances, kmeans.transform(blobs))


def test_weights_reach_fit_predict_and_fit_transform(blobs, rng):
    weights = rng.uniform(0, 5, size=len(blobs))
    kmeans = KMeans(9, random_state=0).fit(blobs, sample_weight=weights)
    again = KMeans(9, random_state=0)
    assert np.array_equal(again.fit_predict(blobs, sample_weight=weights), kmeans.labels_)
    distances = again.fit_transform(blobs, sample_weight=weights)
    assert np.array_equal(distances, kmeans.transform(blobs))


def test_pandas_in_and_out(blobs):
    frame = pd.DataFrame(blobs, columns=list("abcde"))
    kmeans = KMeans(3, random_state=0).set_output(transform="pandas").fit(frame)
    assert kmeans.feature_names_in_.tolist() == list("abcde")
    assert kmeans.get_feature_names_out().tolist() == ["kmeans0", "kmeans1", "kmeans2"]
    out = kmeans.transform(frame)
    assert out.columns.tolist() == ["kmeans0", "kmeans1", "kmeans2"]
    assert out.equals(clone(kmeans).set_output(transform="pandas").fit_transform(frame))
    expected = KMeans(3, random_state=0).fit(blobs)
    assert np.array_equal(out.to_numpy(), expected.transform(blobs))
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)


def test_arrays_leave_and_miss_feature_names_as_in_scikit_learn(blobs):
    frame = pd.DataFrame(blobs, columns=list("abcde"))
    for kmeans in (KMeans(3, n_init=1), sklearn.cluster.KMeans(3, n_init=1)):
        kmeans.fit(frame)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            kmeans.predict(blobs)
        kmeans.fit(blobs[:, :4])
        assert not hasattr(kmeans, "feature_names_in_")
        assert kmeans.n_features_in_ == 4
        with pytest.warns(UserWarning, match="X has feature names"):
            kmeans.predict(frame.iloc[:, :4])


def test_wrong_feature_names_raise_scikit_learns_error(blobs, outcome):
    frame = pd.DataFrame(blobs, columns=list("abcde"))
    other = frame.rename(columns={"a": "z"})
    ours = outcome(KMeans(3).fit(frame).predict, other)
    theirs = outcome(sklearn.cluster.KMeans(3).fit(frame).predict, other)
    assert ours[0] is not None
    assert ours == theirs


def test_sample_weight_is_routed(blobs):
    weights = np.linspace(0, 1, len(blobs))
    with config_context(enable_metadata_routing=True):
        kmeans = KMeans(3, random_state=0).set_fit_request(sample_weight=True)
        kmeans.set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), kmeans)
        pipeline.fit(blobs, sample_weight=weights)
    expected = KMeans(3, random_state=0)
    expected.fit(StandardScaler().fit_transform(blobs), sample_weight=weights)
    assert np.array_equal(pipeline[-1].cluster_centers_, expected.cluster_centers_)


def test_grid_search_chooses_as_with_scikit_learn(blobs):
    grid = {"n_clusters": [2, 4, 8]}
    ours = GridSearchCV(KMeans(random_state=0), grid, cv=3).fit(blobs)
    theirs = GridSearchCV(sklearn.cluster.KMeans(random_state=0), grid, cv=3).fit(blobs)
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-12
    )
    assert ours.best_params_ == theirs.best_params_


def test_memory_mapped_centres_predict(blobs, tmp_path):
    kmeans = KMeans(4, random_state=0).fit(blobs)
    np.save(tmp_path / "centres.npy", kmeans.cluster_centers_)
    kmeans.cluster_centers_ = np.load(tmp_path / "centres.npy", mmap_mode="r")
    assert np.array_equal(kmeans.predict(blobs), kmeans.labels_)
