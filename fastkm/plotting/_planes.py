"""Planes in feature space: how rows get onto one, and its points back among the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

Rows = npt.NDArray[Any]

_PCA_ROWS = 10_000  # rows that the plane is fitted to, where there are more


class Plane(NamedTuple):
    """A plane in feature space."""

    project: Callable[[Rows], Rows]  # (m, d) -> (m, 2)
    lift: Callable[[Rows], Rows]  # (m, 2) -> (m, d)
    axis_names: tuple[str, str]
    note: str  # what the drawing says of it, after the number of rows


def plane_of(plane: Any, X: Any, feature_names: list[str], rng: np.random.RandomState) -> Plane:
    """Return the plane of two features, a transformer's or, by default, that of X itself."""
    d = X.shape[1]
    if plane is None and d == 2:
        names = feature_names or ["first feature", "second feature"]
        return Plane(np.asarray, np.asarray, (names[0], names[1]), "")
    if plane is None:
        pca = PCA(2, svd_solver="full").fit(dense(X[draw_rows(rng, X.shape[0], _PCA_ROWS)]))
        first, second = (
            f"{nth} principal component ({100 * share:.0f} % of variance)"
            for nth, share in zip(("first", "second"), pca.explained_variance_ratio_, strict=True)
        )
        return Plane(pca.transform, pca.inverse_transform, (first, second), _projected(d))
    if hasattr(plane, "transform"):
        return _of_transformer(plane, X)
    return _of_features(plane, X, feature_names)


def draw_rows(rng: np.random.RandomState, n: int, n_wanted: int) -> npt.NDArray[np.int64]:
    """Return all row numbers, or so many drawn at random without replacement."""
    rows = np.arange(n) if n <= n_wanted else rng.choice(n, n_wanted, replace=False)
    return rows.astype(np.int64, copy=False)


def dense(rows: Any) -> Rows:
    """Return rows as a dense array of floats."""
    array: Rows = rows.toarray() if issparse(rows) else rows
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _projected(d: int) -> str:
    return f", projected from {d} dimensions; regions: predictions in that plane"


def _of_transformer(transformer: Any, X: Any) -> Plane:
    if not hasattr(transformer, "inverse_transform"):
        raise TypeError(
            "plane must have inverse_transform beside transform, so that points of the plane can "
            f"be predicted; {type(transformer).__name__} has none."
        )
    if isinstance(transformer, BaseEstimator):
        check_is_fitted(transformer)  # PCA itself does so from scikit-learn 1.7 on
    shape = np.shape(transformer.transform(dense(X[:1])))
    if shape != (1, 2):
        raise ValueError(f"plane must transform rows to two columns; got {shape[-1]}.")
    names = _names_out(transformer)
    return Plane(
        lambda rows: np.asarray(transformer.transform(rows)),
        lambda points: np.asarray(transformer.inverse_transform(points)),
        names,
        _projected(X.shape[1]),
    )


def _names_out(transformer: Any) -> tuple[str, str]:
    if not hasattr(transformer, "get_feature_names_out"):
        return "first axis", "second axis"
    first, second = map(str, transformer.get_feature_names_out())
    return first, second


def _of_features(pair: Any, X: Any, feature_names: list[str]) -> Plane:
    d = X.shape[1]
    if isinstance(pair, str) or not hasattr(pair, "__len__"):
        raise TypeError(
            "plane must be a pair of features or a fitted transformer with inverse_transform; got "
            f"{pair!r}."
        )
    columns = [
        feature_names.index(feature) if feature in feature_names else feature for feature in pair
    ]
    are_features = [isinstance(j, int | np.integer) and 0 <= j < d for j in columns]
    if len(columns) != 2 or not all(are_features) or columns[0] == columns[1]:
        known = f"0 to {d - 1}" + (f", or of {feature_names}" if feature_names else "")
        raise ValueError(f"plane must be two different features, of {known}; got {pair!r}.")
    names = [feature_names[j] if feature_names else f"feature {j}" for j in columns]
    mean = np.asarray(X.mean(axis=0), dtype=np.float64).reshape(1, d)

    def lift(points: Rows) -> Rows:
        lifted = np.repeat(mean, len(points), axis=0)
        lifted[:, columns] = points
        return lifted

    others = "; regions: predictions with the other features at their mean" if d > 2 else ""
    return Plane(lambda rows: rows[:, columns], lift, (names[0], names[1]), others)
