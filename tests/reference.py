"""The float64 NumPy oracle: k-means written for obviousness, not for speed.

Distances are the direct form, summed over the features from first to last (`cumsum`), ties go to
the lowest index: the labels that fastkm promises. The loop, its stopping rules and the repair of
empty clusters are scikit-learn's. Sums are exact (`math.fsum`), rounded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def sq_dists(X, centroids):
    """Squared distances (n, k) of rows to centroids, each summed from first feature to last."""
    points = np.asarray(X, dtype=np.float64)
    centroids = np.asarray(centroids, dtype=np.float64)
    columns = [np.cumsum((points - c) ** 2, axis=1)[:, -1] for c in centroids]
    return np.stack(columns, axis=1)


def assign(X, centroids):
    """Index (n,) of each row's nearest centroid; `argmin` takes the first of equals."""
    return np.argmin(sq_dists(X, centroids), axis=1).astype(np.int32)


def inertia(X, labels, centroids, sample_weight=None):
    """Weighted sum of squared distances of the rows to the centroids of their labels."""
    points = np.asarray(X, dtype=np.float64)
    own = np.asarray(centroids, dtype=np.float64)[labels]
    own_sq_dists = np.cumsum((points - own) ** 2, axis=1)[:, -1]
    return math.fsum(own_sq_dists * _weights(points, sample_weight))


def update(X, labels, centroids, sample_weight=None):
    """Centroids (k, d) after one round: means of their rows, empty clusters repaired.

    An empty cluster gets the row farthest from its centroid, which leaves its own cluster; among
    rows of positive weight, ties to the lowest index. If every such row lies on its centroid, or
    none is left to give, the empty cluster joins the heaviest.
    """
    points = np.asarray(X, dtype=np.float64)
    weights = _weights(points, sample_weight)
    n_clusters = len(centroids)
    members = [list(np.flatnonzero((labels == j) & (weights > 0))) for j in range(n_clusters)]
    own_sq_dists = sq_dists(points, centroids)[np.arange(len(points)), labels]
    givers = [i for i in np.argsort(-own_sq_dists, kind="stable") if weights[i] > 0]
    if own_sq_dists[weights > 0].max() > 0:
        empty = [j for j in range(n_clusters) if not members[j]]
        for j, i in zip(empty, givers, strict=False):
            members[labels[i]].remove(i)
            members[j].append(i)
    masses = [math.fsum(weights[rows]) for rows in members]
    means = np.empty((n_clusters, points.shape[1]))
    for j, rows in enumerate(members):
        for feature in range(points.shape[1]):
            products = weights[rows] * points[rows, feature]
            means[j, feature] = math.fsum(products) / masses[j] if rows else math.nan
    for j, rows in enumerate(members):
        if not rows:
            means[j] = means[int(np.argmax(masses))]
    return means


@dataclass
class Fit:
    labels: np.ndarray
    centroids: np.ndarray
    inertia: float
    n_iter: int
    # The smallest gap, relative to the larger of the two, between the squared distances of a row
    # to its best and second best centroid in any round. Where it is far above rounding, every
    # correct implementation takes the same path.
    gap: float


def lloyd(X, init, sample_weight=None, *, max_iter=300, tol=1e-4):
    """Run k-means from `init` as scikit-learn's KMeans runs it."""
    points = np.asarray(X, dtype=np.float64)
    threshold = tol * np.mean(np.var(points, axis=0)) if tol > 0 else 0.0
    centroids = np.array(init, dtype=np.float64)
    labels = None
    gap = math.inf
    for n_iter in range(1, max_iter + 1):  # noqa: B007 (read after the loop)
        previous = labels
        gap = min(gap, smallest_gap(points, centroids))
        labels = assign(points, centroids)
        moved = update(points, labels, centroids, sample_weight)
        shift = float(((moved - centroids) ** 2).sum())
        centroids = moved
        if previous is not None and np.array_equal(labels, previous):
            break
        if shift <= threshold:
            break
    gap = min(gap, smallest_gap(points, centroids))
    labels = assign(points, centroids)
    value = inertia(points, labels, centroids, sample_weight)
    return Fit(labels, centroids, value, n_iter, gap)


def smallest_gap(X, centroids):
    """Smallest relative gap between a row's best and second best squared distance."""
    if len(centroids) == 1:
        return math.inf
    best, second = np.partition(sq_dists(X, centroids), 1, axis=1)[:, :2].T
    scale = np.maximum(second, np.finfo(np.float64).tiny)
    return float(((second - best) / scale).min())


def _weights(points, sample_weight):
    if sample_weight is None:
        return np.ones(len(points))
    return np.asarray(sample_weight, dtype=np.float64)
