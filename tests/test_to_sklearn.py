"""to_sklearn(): scikit-learn's estimator, fitted alike."""

import pickle
import queue
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastkm import KMeans, MiniBatchKMeans
from fastkm.callbacks import TimeBudget

PAIRS = [(KMeans, sklearn.cluster.KMeans), (MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans)]
each_pair = pytest.mark.parametrize(
    ("our_class", "their_class"), PAIRS, ids=[pair[0].__name__ for pair in PAIRS]
)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@each_pair
@each_dtype
def test_it_predicts_transforms_and_scores_alike(blobs, rng, our_class, their_class, dtype):
    X, weights = blobs.astype(dtype), rng.uniform(size=len(blobs))
    ours = our_class(4, random_state=0).fit(X)
    theirs = ours.to_sklearn()
    assert type(theirs) is their_class
    rtol = 1e-9 if dtype == np.float64 else 1e-4  # theirs cancels
    new = rng.permutation(X) + dtype(0.1)
    for rows in (X, new):
        assert np.array_equal(theirs.predict(rows), ours.predict(rows))
        np.testing.assert_allclose(theirs.transform(rows), ours.transform(rows), rtol=rtol)
        np.testing.assert_allclose(
            theirs.score(rows, sample_weight=weights),
            ours.score(rows, sample_weight=weights),
            rtol=rtol,
        )
    assert np.array_equal(theirs.predict(scipy.sparse.csr_matrix(X)), ours.labels_)
    assert theirs.cluster_centers_.dtype == dtype
    for name in ("cluster_centers_", "labels_", "inertia_", "n_iter_", "n_features_in_"):
        assert np.array_equal(getattr(theirs, name), getattr(ours, name))


@each_pair
@each_dtype
def test_it_has_what_a_fitted_one_of_scikit_learn_has(blobs, our_class, their_class, dtype):
    X = pd.DataFrame(blobs.astype(dtype), columns=list("abcde"))
    theirs = our_class(4, random_state=0).fit(X).to_sklearn()
    expected = their_class(4, random_state=0).fit(X)
    assert vars(theirs).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        got = getattr(theirs, name)
        assert np.shape(got) == np.shape(value), name
        if isinstance(value, np.ndarray):
            assert got.dtype == value.dtype, name
    assert theirs._n_threads == expected._n_threads
    assert theirs._n_features_out == expected._n_features_out == 4


def test_after_partial_fit_it_has_what_scikit_learns_has(blobs):
    ours = MiniBatchKMeans(4, random_state=0).partial_fit(blobs)
    expected = sklearn.cluster.MiniBatchKMeans(4, random_state=0).partial_fit(blobs)
    # Beside that, what their fit keeps for itself; nothing public.
    more = vars(ours.to_sklearn()).keys() - vars(expected).keys()
    assert vars(expected).keys() <= vars(ours.to_sklearn()).keys()
    assert all(name.startswith("_") for name in more)
    unlabelled = MiniBatchKMeans(4, compute_labels=False).partial_fit(blobs).to_sklearn()
    assert not hasattr(unlabelled, "labels_")


@each_pair
def test_parameters_are_carried_over(blobs, our_class, their_class):
    values = {
        "n_clusters": 3, "init": "random", "n_init": 2, "max_iter": 7, "tol": 0.5, "verbose": 0,
        "random_state": np.random.RandomState(3), "copy_x": False, "algorithm": "elkan",
        "batch_size": 50, "compute_labels": False, "max_no_improvement": 4, "init_size": 60,
        "reassignment_ratio": 0.1,
    }  # fmt: skip
    names = their_class().get_params()
    chosen = {name: values[name] for name in names}
    ours = our_class(**chosen, n_threads=1, callback=TimeBudget(9)).fit(blobs)
    got = ours.to_sklearn().get_params()
    assert got.keys() == names.keys()
    assert got.pop("random_state") is not chosen.pop("random_state")
    assert got == chosen


@each_pair
def test_a_callback_that_cannot_be_copied_stays_behind(blobs, our_class, their_class):
    class Tell:
        def __init__(self):
            self.records = queue.SimpleQueue()  # which copy.deepcopy refuses

        def __call__(self, record):
            self.records.put(record)

    ours = our_class(4, random_state=0, callback=Tell()).fit(blobs)
    assert not ours.callback.records.empty()
    theirs = ours.to_sklearn()
    assert np.array_equal(theirs.predict(blobs), ours.predict(blobs))


@each_pair
def test_fitted_again_it_does_as_scikit_learns(blobs, our_class, their_class):
    options = {"random_state": 3, "max_iter": 9}
    again = our_class(4, **options).fit(blobs).to_sklearn().fit(blobs)
    expected = their_class(4, **options).fit(blobs)
    assert np.array_equal(again.labels_, expected.labels_)
    assert np.array_equal(again.cluster_centers_, expected.cluster_centers_)
    assert clone(again).get_params() == expected.get_params()


def test_auto_is_lloyd_there(blobs):
    assert KMeans(2, algorithm="auto").fit(blobs).to_sklearn().algorithm == "lloyd"
    assert KMeans(2, algorithm="elkan").fit(blobs).to_sklearn().algorithm == "elkan"


@each_dtype
@pytest.mark.parametrize("begins", ["fit", "partial_fit"])
def test_learning_goes_on_as_it_would_have_here(blobs, dtype, begins):
    X = blobs.astype(dtype)
    options = {"init": X[:5], "n_init": 1, "random_state": 0, "batch_size": 100}
    ours = getattr(MiniBatchKMeans(5, **options), begins)(X[:300])
    theirs = pickle.loads(pickle.dumps(ours.to_sklearn()))
    n_steps = ours.n_steps_
    estimators = [ours, theirs]
    if begins == "partial_fit":  # the batches that `fit` draws are not those of scikit-learn 1.6
        expected = sklearn.cluster.MiniBatchKMeans(5, **options).partial_fit(X[:300])
        estimators.append(expected)
    for start in (300, 400, 500):
        for kmeans in estimators:
            kmeans.partial_fit(X[start : start + 100])
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    for other in estimators[1:]:
        np.testing.assert_allclose(other.cluster_centers_, ours.cluster_centers_, rtol=rtol)
        assert other.n_steps_ == n_steps + 3
        assert np.array_equal(other.labels_, ours.labels_)
        # What is learnt from is what decides when centroids are reassigned.
        np.testing.assert_allclose(other._counts, ours._counts)
        assert other._n_since_last_reassign == ours._n_since_last_reassign


def test_draws_go_on_too(rng):
    # Far centroids that learn nothing are put on rows drawn at random, at each step.
    X = rng.normal(size=(300, 2))
    init = np.concatenate([X[:2], np.full((2, 2), 1e3)])
    options = {"init": init, "n_init": 1, "random_state": 0, "batch_size": 30}
    ours = MiniBatchKMeans(4, **options).partial_fit(X[:30])
    theirs = ours.to_sklearn()
    for start in range(30, 300, 30):
        ours.partial_fit(X[start : start + 30])
        theirs.partial_fit(X[start : start + 30])
    np.testing.assert_allclose(theirs.cluster_centers_, ours.cluster_centers_, rtol=1e-10)
    assert theirs._random_state is not ours._random_state


@each_pair
def test_it_shares_nothing(blobs, our_class, their_class):
    init = blobs[:4].copy()
    ours = our_class(4, init=init, n_init=1).fit(blobs)
    centroids, labels = ours.cluster_centers_.copy(), ours.labels_.copy()
    theirs = ours.to_sklearn()
    theirs.cluster_centers_ += 1
    theirs.labels_[:] = 0
    theirs.init[:] = 0
    if our_class is MiniBatchKMeans:
        theirs.partial_fit(blobs)
    assert np.array_equal(ours.cluster_centers_, centroids)
    assert np.array_equal(ours.labels_, labels)
    assert np.array_equal(ours.init, blobs[:4])


@each_pair
def test_names_and_output_are_carried_over(blobs, our_class, their_class):
    frame = pd.DataFrame(blobs, columns=list("abcde"))
    ours = our_class(3, random_state=0).set_output(transform="pandas").fit(frame)
    theirs = ours.to_sklearn()
    assert theirs.feature_names_in_.tolist() == list("abcde")
    assert theirs.get_feature_names_out().tolist() == ours.get_feature_names_out().tolist()
    out, expected = theirs.transform(frame), ours.transform(frame)
    assert out.columns.tolist() == expected.columns.tolist()
    np.testing.assert_allclose(out, expected)
    with pytest.raises(ValueError, match="feature names"):
        theirs.predict(frame.rename(columns={"a": "z"}))


@each_pair
def test_it_is_no_more_of_fastkm(blobs, tmp_path, our_class, their_class):
    ours = our_class(3, random_state=0, callback=TimeBudget(9)).fit(blobs)
    (tmp_path / "kmeans.pickle").write_bytes(pickle.dumps(ours.to_sklearn()))
    code = f"""
import pickle, sys
sys.modules["fastkm"] = None
kmeans = pickle.loads(open({str(tmp_path / "kmeans.pickle")!r}, "rb").read())
print(kmeans.predict([[30.0] * 5]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.split() == str(ours.predict([[30.0] * 5])).split(), out.stderr


@each_pair
def test_one_that_is_not_fitted_has_none(blobs, our_class, their_class):
    with pytest.raises(NotFittedError, match=f"This {our_class.__name__} instance is not fitted"):
        our_class().to_sklearn()
    # Nor has one whose fit an exception ended.
    kmeans = our_class(callback=lambda record: "no bool")
    with pytest.raises(TypeError):
        kmeans.fit(blobs)
    with pytest.raises(NotFittedError):
        kmeans.to_sklearn()


def test_subclasses_become_what_they_derive_from(blobs):
    class Mine(KMeans):
        pass

    assert type(Mine(2).fit(blobs).to_sklearn()) is sklearn.cluster.KMeans
