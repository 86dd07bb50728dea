"""What every estimator with centroids does beside fitting: label, measure, score, convert."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.utils.validation import check_is_fitted

from . import _lloyd
from ._problem import Problem
from ._sparse_problem import make_problem
from ._tasks import CallbackSupport, FitTasks
from ._threads import effective_n_threads
from ._validation import (
    check_centroids,
    check_is_finite,
    check_points,
    check_room,
    check_weights,
)
from ._version import __version__
from .exceptions import InconsistentVersionWarning

# scikit-learn's number of runs under n_init="auto" from k-means++ or an array.
_N_INIT_OF_GOOD_SEEDS = 1

# Of a state: which versions made it.
_VERSION, _SKLEARN_VERSION = "_fastkm_version", "_sklearn_version"

# From a helper of `fit` to the line that called `fit`: the helper, fit, two wrappers of fit.
STACKLEVEL_OF_USER = 5


_Fit = TypeVar("_Fit", bound=Callable[..., Any])

# Parameters that scikit-learn has found valid: checking them again takes as long as a small fit.
_VALID_PARAMETERS: set[tuple[Any, ...]] = set()
_MOST_VALID_PARAMETERS = 1024
_NOT_PLAIN = "not plain"


def _plain(value: Any) -> Any:
    """Return what decides whether a parameter is valid; _NOT_PLAIN where only a check can tell."""
    kind = type(value)
    if kind in (bool, int, float, str, type(None)):
        return kind, value
    return kind if kind is np.ndarray and value.ndim == 2 else _NOT_PLAIN


def fit_context(fit_method: _Fit) -> _Fit:
    """Wrap `fit` or `partial_fit` as scikit-learn does: check parameters, then enter its contexts.

    They tell functions called inside not to check theirs, and end callbacks. Where nothing inside
    is the user's they change nothing, and entering them takes as long as two rounds of a small fit.

    A fit that an exception ends, Ctrl-C among them, leaves the estimator as it was.
    """
    in_contexts = _fit_context(prefer_skip_nested_validation=True)(fit_method)
    is_partial = fit_method.__name__ == "partial_fit"

    def checked(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        if not (is_partial and estimator.__sklearn_is_fitted__()):
            estimator._validate_params()
        return fit_method(estimator, *args, **kwargs)

    @functools.wraps(fit_method)
    def fit(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        is_plain = type(estimator.init) in (str, np.ndarray) and estimator.callback is None
        needs_contexts = (
            not is_plain
            or hasattr(estimator, "_skl_callbacks")
            or get_config()["skip_parameter_validation"]
        )
        before = estimator.__dict__.copy()
        try:
            return (in_contexts if needs_contexts else checked)(estimator, *args, **kwargs)
        except BaseException:
            estimator.__dict__ = before
            raise

    return cast(_Fit, fit)


class CentroidEstimator(
    CallbackSupport,  # type: ignore[misc]
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClusterMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Base of the estimators: what follows from `cluster_centers_` alone.

    A subclass has the parameters `n_clusters`, `init`, `n_init`, `n_threads` and `callback`, and a
    `fit` that takes `sample_weight` and sets `cluster_centers_`, `labels_` and `_n_features_out`.

    Under scikit-learn 1.9 and newer it has ``set_callbacks`` too. ``sklearn.callback`` sees `fit`
    as a task and its rounds, or steps, as subtasks, below a task for each run if there are several.
    """

    n_clusters: int
    init: Any
    n_init: int | Literal["auto"]
    _sklearn_name: ClassVar[str]  # the class in sklearn.cluster
    # Private attributes that mean the same in scikit-learn's estimator, the last two in any.
    _sklearn_state: ClassVar[frozenset[str]] = frozenset(
        {"_n_features_out", "_sklearn_output_config", "_metadata_request"}
    )
    n_threads: int | None
    callback: Callable[[Any], bool | None] | None
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
        labels: npt.NDArray[np.int32] = self.fit(X, y, sample_weight=sample_weight).labels_
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
        self.fit(X, y, sample_weight=sample_weight)
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
        return _lloyd.assign(self._problem(X, of_row=4), self.cluster_centers_)

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
        of_row = 4 * len(self.cluster_centers_)  # at least: they may be float64
        return self._distances(self._problem(X, of_row=of_row))

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
        return -problem.inertia(labels, self.cluster_centers_)

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator of the same name, fitted alike.

        Returns
        -------
        estimator : sklearn.cluster.KMeans or sklearn.cluster.MiniBatchKMeans
            With this one's parameters, centroids, labels and all other attributes, as copies. It
            predicts, transforms, scores and pickles without fastkm, and learns on if it is a
            `MiniBatchKMeans`. ``algorithm="auto"`` becomes ``"lloyd"``, which gives the same
            clusters; `n_threads` and `callback` have no counterpart and stay behind.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        from sklearn import cluster  # only here: it takes longer to import than fastkm

        # A fit to one row sets what scikit-learn keeps for itself, whatever its version names it.
        row = np.zeros((1, self.cluster_centers_.shape[1]), self.cluster_centers_.dtype)
        theirs = getattr(cluster, self._sklearn_name)(1, n_init=1).fit(row)
        for name in [name for name in vars(theirs) if name.endswith("_")]:
            delattr(theirs, name)
        parameters = self.get_params(deep=False)
        if parameters.get("algorithm") == "auto":
            parameters["algorithm"] = "lloyd"
        for name in theirs.get_params(deep=False):
            theirs.set_params(**{name: clone(parameters[name], safe=False)})
        for name, value in vars(self).items():
            if name.endswith("_") or name in self._sklearn_state:
                setattr(theirs, name, copy.deepcopy(value))
        return theirs

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all attributes, and the versions."""
        versions = {_VERSION: __version__, _SKLEARN_VERSION: sklearn.__version__}
        return {**super().__getstate__(), **versions}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what was pickled; warn if another version of fastkm did it."""
        state = dict(state)
        version = state.pop(_VERSION, "unknown")
        sklearn_version = state.pop(_SKLEARN_VERSION, "unknown")
        if version != __version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    original_fastkm_version=version,
                    original_sklearn_version=sklearn_version,
                ),
                stacklevel=2,
            )
        super().__setstate__(state)

    def _validate_params(self) -> None:
        """Check the parameters as scikit-learn does, but plain values that were valid only once."""
        key = (type(self), *(_plain(vars(self).get(p)) for p in self._parameter_constraints))
        if key in _VALID_PARAMETERS and _NOT_PLAIN not in key:
            return
        super()._validate_params()
        if len(_VALID_PARAMETERS) >= _MOST_VALID_PARAMETERS:
            _VALID_PARAMETERS.clear()
        _VALID_PARAMETERS.add(key)

    def _tasks(
        self, data: tuple[Any, Any, Any], n_runs: int, n_rounds: int, name: str
    ) -> FitTasks | None:
        """Begin a fit of X, y and weights for scikit-learn's callbacks, if there are any."""
        if not hasattr(self, "_skl_callbacks"):
            return None
        X, y, weights = data
        metadata = None if weights is None else {"sample_weight": weights}
        return FitTasks(self, {"X": X, "y": y, "metadata": metadata}, n_runs, n_rounds, name)

    def _is_init_array(self) -> bool:
        return not (isinstance(self.init, str) or callable(self.init))

    def _check_init(self, points: Any) -> Any:
        """Return `init`, checked and copied if it is an array."""
        if self._is_init_array():
            return check_centroids(self.init, self.n_clusters, points)
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

    def _problem(
        self, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, of_row: int = 12
    ) -> Problem:
        """Check new rows, of each of which the result takes so many bytes, and describe them."""
        points = check_points(X, self, reset=False)
        check_room(points.shape, len(self.cluster_centers_), of_row=of_row, of_centroid_value=8)
        weights = check_weights(sample_weight, points)
        problem = make_problem(points, weights, n_threads=effective_n_threads(self.n_threads))
        check_is_finite(problem.is_finite, points, self)
        return problem

    def __sklearn_is_fitted__(self) -> bool:
        # During a fit the features of X are noted already.
        return hasattr(self, "cluster_centers_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _distances(self, problem: Problem) -> npt.NDArray[Any]:
        return _lloyd.transform(problem, self.cluster_centers_)
