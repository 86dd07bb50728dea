"""Both estimators and scikit-learn's, for tests that run one beside the other."""

import numpy as np
import pytest
import sklearn
import sklearn.cluster
from sklearn.utils.fixes import parse_version

from fastkm import KMeans, MiniBatchKMeans

# fastkm draws as the newest scikit-learn does. Before 1.9 a step of MiniBatchKMeans drew its rows
# by other calls of the generator, each as likely as the next, and weighed them afterwards.
compares_batches = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scikit-learn before 1.9 draws other rows for a batch",
)

each_class = pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
each_class_beside_theirs = pytest.mark.parametrize(
    "cls", [KMeans, pytest.param(MiniBatchKMeans, marks=compares_batches)]
)


def theirs_of(cls):
    """scikit-learn's class of the same name."""
    return getattr(sklearn.cluster, cls.__name__)


def assert_same_fit(ours, theirs):
    """Compare with scikit-learn's fit, whose sums and distances round otherwise."""
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=0, atol=1e-9)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)


def assert_same_bits(fit, expected):
    assert np.array_equal(fit.cluster_centers_, expected.cluster_centers_)
    assert np.array_equal(fit.labels_, expected.labels_)
    assert fit.inertia_ == expected.inertia_
    assert fit.n_iter_ == expected.n_iter_
