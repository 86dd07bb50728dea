"""What drawings accept of numbers and of fitted estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted


def check_whole(value: Any, name: str, at_least: int) -> int:
    """Return a whole number, or say what is wrong with it."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number; got {value!r}.")
    if value < at_least:
        raise ValueError(f"{name} must be {at_least} or more; got {value}.")
    return int(value)


def check_cluster_labels(cluster_labels: Any) -> None:
    """Raise TypeError unless these are None or a mapping from clusters to classes."""
    if cluster_labels is not None and not isinstance(cluster_labels, Mapping):
        raise TypeError(
            "cluster_labels must map clusters to classes, as infer_cluster_labels returns; got "
            f"{type(cluster_labels).__name__}."
        )


def check_metrics(
    metrics: Sequence[str] | None, known: Sequence[str], default: Sequence[str]
) -> list[str]:
    """Return the metrics to draw, or say which there are."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a sequence of names, such as [{metrics!r}].")
    chosen = list(default if metrics is None else metrics)
    if not chosen or any(key not in known for key in chosen):
        raise ValueError(f"metrics must be among {list(known)}; got {chosen}.")
    return chosen


def centroids_of(estimator: Any) -> npt.NDArray[Any] | None:
    """Return ``cluster_centers_``, or a mixture's ``means_``; None where there are none.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no estimator.
    """
    if not hasattr(estimator, "fit"):
        raise TypeError(f"estimator must be a fitted estimator; got {type(estimator).__name__}.")
    check_is_fitted(estimator)
    for name in ("cluster_centers_", "means_"):
        if hasattr(estimator, name):
            return np.asarray(getattr(estimator, name))
    return None
