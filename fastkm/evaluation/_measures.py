"""Measure one clustering of some rows: sums of squares here, all else by scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, issparse
from sklearn import metrics

from ._checks import Classes, IntArray
from ._clusters import clustering_accuracy
from ._silhouette import silhouette_score

FloatArray = npt.NDArray[np.float64]

_BLOCK_ROWS = 4096  # rows whose differences to their centroids are in memory at once


def draw_sample(draws: np.random.RandomState, n: int, n_sampled: int) -> IntArray:
    """Return the rows to compute the silhouette on: all, or so many without replacement."""
    if n_sampled >= n:
        return np.arange(n)
    return draws.choice(n, n_sampled, replace=False)


def note_on_silhouette(n_sampled: int, n: int) -> str:
    """Say on how many of the n rows the silhouette was computed."""
    which = f"all {n}" if n_sampled == n else f"a random sample of {n_sampled} of {n}"
    return f"silhouette: on {which} rows."


def inertia(rows: Any, estimator: Any, labels: IntArray) -> float:
    """Return the sum of squared distances to the estimator's own centroids; NaN if it has none."""
    if not hasattr(estimator, "cluster_centers_"):
        return float("nan")
    return _scatter(rows, np.asarray(estimator.cluster_centers_, dtype=np.float64), labels)


def dispersion(rows: Any, labels: IntArray) -> float:
    """Return the sum of squared distances of the rows to the mean of their cluster."""
    return _scatter(rows, _means(rows, labels), labels)


def internal_scores(
    rows: Any, labels: IntArray, sample: IntArray, keys: list[str]
) -> dict[str, float]:
    """Return the scores with these keys that need no classes; NaN where one is not defined.

    All three compare clusters with each other and rows within a cluster, so they need at least two
    clusters and fewer clusters than rows. The silhouette is that of the rows in `sample`.
    """
    return {key: _INTERNAL[key](rows, labels, sample) for key in keys}


def supervised_scores(classes: Classes, labels: IntArray) -> dict[str, float]:
    """Return the scores against classes."""
    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(
        classes.codes, labels
    )
    return {
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "v_measure": float(v_measure),
        "ari": float(metrics.adjusted_rand_score(classes.codes, labels)),
        "ami": float(metrics.adjusted_mutual_info_score(classes.codes, labels)),
        "accuracy": clustering_accuracy(classes.codes, labels),
    }


def _silhouette(rows: Any, labels: IntArray) -> float:
    if issparse(rows):
        return float(metrics.silhouette_score(rows, labels))
    return silhouette_score(rows, labels)


def _silhouette_of_sample(rows: Any, labels: IntArray, sample: IntArray) -> float:
    return _silhouette(rows[sample], labels[sample]) if _is_defined(labels[sample]) else np.nan


def _wide(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats as float64: scikit-learn adds up means in the precision of the rows."""
    return rows.astype(np.float64, copy=False) if rows.dtype.kind == "f" else rows


def _calinski_harabasz(rows: Any, labels: IntArray, _: IntArray) -> float:
    return (
        float(metrics.calinski_harabasz_score(_wide(rows), labels))
        if _is_defined(labels)
        else np.nan
    )


def _davies_bouldin(rows: Any, labels: IntArray, _: IntArray) -> float:
    return (
        float(metrics.davies_bouldin_score(_wide(rows), labels)) if _is_defined(labels) else np.nan
    )


_INTERNAL: dict[str, Callable[[Any, IntArray, IntArray], float]] = {
    "silhouette": _silhouette_of_sample,
    "calinski_harabasz": _calinski_harabasz,
    "davies_bouldin": _davies_bouldin,
}


def _is_defined(labels: IntArray) -> bool:
    return 2 <= len(np.unique(labels)) < len(labels)


def _blocks(rows: Any) -> Iterator[tuple[slice, Any]]:
    for start in range(0, rows.shape[0], _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        yield block, rows[block].toarray() if issparse(rows) else rows[block]


def _scatter(rows: Any, centroids: FloatArray, labels: IntArray) -> float:
    total = 0.0
    for block, points in _blocks(rows):
        total += float(np.square(points - centroids[labels[block]]).sum())
    return total


def _means(rows: Any, labels: IntArray) -> FloatArray:
    """Return the mean of each cluster's rows, shape (k, d); zeros for a cluster without rows."""
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), rows.shape[1]))
    for block, points in _blocks(rows):
        n = len(points)
        members = csr_matrix((np.ones(n), (labels[block], np.arange(n))), shape=(len(counts), n))
        sums += members @ points.astype(np.float64, copy=False)
    means: FloatArray = sums / np.maximum(counts, 1)[:, np.newaxis]
    return means
