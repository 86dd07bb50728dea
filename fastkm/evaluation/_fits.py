"""Make an estimator for a number of clusters, and read the labels off a fitted one."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from ._checks import IntArray, check_labels

# What scikit-learn's estimators call the number of clusters: mixtures have components.
_NAMES_OF_K = ("n_clusters", "n_components")


def check_estimator(estimator: Any, name: str) -> None:
    """Raise TypeError unless it is an estimator that can be told its number of clusters."""
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise TypeError(
            f"{name} must be an estimator; got {estimator!r}: pass an instance with fit, such as "
            "KMeans()."
        )
    if not hasattr(estimator, "get_params") or _name_of_k(estimator) is None:
        raise TypeError(
            f"{name} must have a parameter {' or '.join(_NAMES_OF_K)}, to be set to each number of "
            f"clusters; {type(estimator).__name__} has none: transform X first, and pass the "
            "clusterer alone."
        )


def is_seeded(estimator: Any) -> bool:
    """Whether the estimator draws random numbers."""
    return "random_state" in estimator.get_params(deep=False)


def with_clusters(estimator: Any, k: int, seed: Any) -> Any:
    """Return an unfitted copy for k clusters, with the seed if it draws random numbers."""
    seeds = {"random_state": seed} if is_seeded(estimator) else {}
    return clone(estimator).set_params(**{str(_name_of_k(estimator)): k}, **seeds)


def _name_of_k(estimator: Any) -> str | None:
    parameters = estimator.get_params(deep=False)
    return next((name for name in _NAMES_OF_K if name in parameters), None)


def labels_of_fit(estimator: Any, X: Any, name: str) -> IntArray:
    """Return the labels of the rows X that the estimator was fitted on."""
    if hasattr(estimator, "labels_"):
        return check_labels(estimator.labels_, f"labels_ of {name!r}")
    return predicted(estimator, X, name, "or labels_ to be scored", "pass a clusterer")


def predicted(estimator: Any, X: Any, name: str, why: str, cure: str) -> IntArray:
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"{name!r} must have predict {why}; {type(estimator).__name__} has none: {cure}."
        )
    return check_labels(estimator.predict(X), f"predict(X) of {name!r}")
