"""What every estimator with centroids does once it is fitted: label, measure, score."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from . import _lloyd
from ._problem import Problem
from ._sparse_problem import make_problem
from ._threads import effective_n_threads
from ._validation import check_centroids, check_is_finite, check_points, check_weights

# scikit-learn's number of runs under n_init="auto" from k-means++ or an array.
_N_INIT_OF_GOOD_SEEDS = 1

# From a helper of `fit` to the line that called `fit`: the helper, fit, the wrapper of fit.
STACKLEVEL_OF_USER = 4


class CentroidEstimator(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Base of the estimators: what follows from `cluster_centers_` alone.

    A subclass has the parameters `n_clusters`, `init`, `n_init` and `n_threads`, and a `fit` that
    takes `sample_weight` and sets `cluster_centers_`, `labels_` and `_n_features_out`.
    """

    n_clusters: int
    init: Any
    n_init: int | Literal["auto"]
    n_threads: int | None
    cluster_centers_: npt.NDArray[Any]
    labels_: npt.NDArray[np.int32]
    _n_features_out: int

    def fit_predict(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.int32]:
        """Find the clusters of X and return the label of each row.

        Parameters
        ----------
        X, y, sample_weight
            As `fit` takes them.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            `labels_`.
        """
        labels: npt.NDArray[np.int32] = self.fit(X, sample_weight=sample_weight).labels_
        return labels

    def fit_transform(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> npt.NDArray[Any]:
        """Find the clusters of X and return each row's distances to the centroids.

        Parameters
        ----------
        X, y, sample_weight
            As `fit` takes them.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            What ``fit(X).transform(X)`` returns.
        """
        self.fit(X, sample_weight=sample_weight)
        return self._distances(self._problem(X))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Return the index of the nearest centroid of each row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows, of any dtype that `fit` takes.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            In [0, n_clusters); ties go to the lowest index.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X is not finite, or not of `n_features_in_` features.
        """
        check_is_fitted(self)
        return _lloyd.assign(self._problem(X), self.cluster_centers_)

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return each row's distances to the centroids.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows, of any dtype that `fit` takes.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            Euclidean, not squared, in X's unit; float32 if X and the centroids are, else float64.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X is not finite, or not of `n_features_in_` features.
        """
        check_is_fitted(self)
        return self._distances(self._problem(X))

    def score(
        self, X: npt.ArrayLike, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the inertia of X under the centroids, negated: more is better.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows, of any dtype that `fit` takes.
        y : ignored
            For scikit-learn's model selection.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; None weighs each 1.

        Returns
        -------
        score : float
            In the unit of X squared, at most 0.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X or the weights are not what they must be.
        """
        check_is_fitted(self)
        problem = self._problem(X, sample_weight)
        labels = _lloyd.assign(problem, self.cluster_centers_)
        return -_lloyd.inertia(problem, labels, self.cluster_centers_)

    def _is_init_array(self) -> bool:
        return not (isinstance(self.init, str) or callable(self.init))

    def _check_init(self, n_features: int) -> Any:
        """Return `init`, checked and copied if it is an array."""
        if self._is_init_array():
            return check_centroids(self.init, self.n_clusters, n_features)
        return self.init

    def _resolve_n_init(self, n_init_of_cheap_seeds: int) -> int:
        """Return the number of seedings; called by `fit` itself, for the warning's place."""
        is_array = self._is_init_array()
        if self.n_init == "auto":
            is_good = is_array or (isinstance(self.init, str) and self.init == "k-means++")
            return _N_INIT_OF_GOOD_SEEDS if is_good else n_init_of_cheap_seeds
        if is_array and self.n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self.n_init}.",
                RuntimeWarning,
                stacklevel=STACKLEVEL_OF_USER,
            )
            return 1
        return int(self.n_init)

    def _problem(self, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Problem:
        """Check new rows and describe them."""
        points = check_points(X, self, reset=False)
        weights = check_weights(sample_weight, points)
        problem = make_problem(points, weights, n_threads=effective_n_threads(self.n_threads))
        check_is_finite(problem.is_finite, points, self)
        return problem

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _distances(self, problem: Problem) -> npt.NDArray[Any]:
        return _lloyd.transform(problem, self.cluster_centers_)
