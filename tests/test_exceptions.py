"""Estimators that another version pickled: a warning as scikit-learn's."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.exceptions

import fastkm
from fastkm import KMeans, MiniBatchKMeans
from fastkm.exceptions import InconsistentVersionWarning

each_estimator = pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])


def pickle_of(monkeypatch, kmeans, version):
    with monkeypatch.context() as patched:
        patched.setattr("fastkm._estimator.__version__", version)
        return pickle.dumps(kmeans)


@each_estimator
def test_another_versions_pickle_warns_and_works(monkeypatch, blobs, estimator):
    kmeans = estimator(3, random_state=0).fit(blobs)
    state = pickle_of(monkeypatch, kmeans, "0.0.7")
    with pytest.warns(InconsistentVersionWarning) as caught:
        read = pickle.loads(state)
    assert len(caught) == 1
    warning = caught[0].message
    assert caught[0].filename == __file__
    assert str(warning) == (
        f"Trying to unpickle estimator {estimator.__name__} from version 0.0.7 of fastkm when "
        f"using version {fastkm.__version__}. This might lead to breaking code or invalid "
        "results. Use at your own risk."
    )
    assert warning.estimator_name == estimator.__name__
    assert warning.original_fastkm_version == "0.0.7"
    assert warning.current_fastkm_version == fastkm.__version__
    assert warning.original_sklearn_version == sklearn.__version__
    assert np.array_equal(read.predict(blobs), kmeans.labels_)
    assert vars(read).keys() == vars(kmeans).keys()


@each_estimator
def test_who_filters_scikit_learns_warning_filters_this_one(monkeypatch, estimator):
    state = pickle_of(monkeypatch, estimator(), "0.0.7")
    with warnings.catch_warnings():
        warnings.simplefilter("error", sklearn.exceptions.InconsistentVersionWarning)
        with pytest.raises(sklearn.exceptions.InconsistentVersionWarning):
            pickle.loads(state)
        warnings.simplefilter("ignore", sklearn.exceptions.InconsistentVersionWarning)
        pickle.loads(state)


@each_estimator
def test_a_state_without_a_version_warns(estimator):
    kmeans = estimator(3)
    with pytest.warns(InconsistentVersionWarning, match="from version unknown of fastkm"):
        kmeans.__setstate__({"n_clusters": 5})
    assert kmeans.n_clusters == 5


@each_estimator
def test_the_same_versions_pickles_and_copies_do_not_warn(blobs, estimator):
    for kmeans in (estimator(3), estimator(3, random_state=0).fit(blobs)):
        for twin in (pickle.loads(pickle.dumps(kmeans)), copy.copy(kmeans), copy.deepcopy(kmeans)):
            assert vars(twin).keys() == vars(kmeans).keys()


def test_a_state_is_not_used_up():
    kmeans = KMeans(3)
    state = kmeans.__getstate__()
    before = dict(state)
    kmeans.__setstate__(state)
    assert state == before
