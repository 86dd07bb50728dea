"""The oracle: Lloyd's algorithm and its inertia in float64 NumPy, block by block.

Distances are compared as ``||c||^2 - 2 x.c`` of centred values in float64, which one matrix product
gives; where two are too near each other to tell, in the direct form, summed from the first feature
to the last, ties to the lowest index. The distances that are summed are of the direct form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from .workloads import Problem

_BLOCK_VALUES = 1 << 23  # float64 values of one block's products: 64 MiB


def _blocks(points: np.ndarray, k: int) -> Iterator[slice]:
    step = max(1, _BLOCK_VALUES // max(k, points.shape[1]))
    for begin in range(0, len(points), step):
        yield slice(begin, begin + step)


def assign(points: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,) and squared distances (n,) of points to their nearest centroid."""
    centroids = np.asarray(centroids, dtype=np.float64)
    centre = centroids.mean(axis=0)
    centred = centroids - centre
    sq_norms = np.einsum("jd,jd->j", centred, centred)
    labels = np.empty(len(points), dtype=np.intp)
    sq_dists = np.empty(len(points))
    for rows in _blocks(points, len(centroids)):
        block = points[rows].astype(np.float64)
        labels[rows] = _nearest(block, centroids, block - centre, centred, sq_norms)
        block -= centroids[labels[rows]]
        sq_dists[rows] = np.einsum("id,id->i", block, block)
    return labels, sq_dists


def _nearest(
    block: np.ndarray,
    centroids: np.ndarray,
    centred_block: np.ndarray,
    centred: np.ndarray,
    sq_norms: np.ndarray,
) -> np.ndarray:
    comparable = sq_norms - 2.0 * centred_block @ centred.T
    labels = np.argmin(comparable, axis=1)
    # Far more than the rounding of d products, for any d here: d times 2^-53 times the norms.
    sq_radius = np.einsum("id,id->i", centred_block, centred_block) + sq_norms.max()
    least = np.take_along_axis(comparable, labels[:, None], axis=1)[:, 0]
    is_near = comparable <= (least + 1e-12 * sq_radius)[:, None]
    doubtful = np.flatnonzero(np.count_nonzero(is_near, axis=1) > 1)
    if len(doubtful):
        sq_dists = np.zeros((len(doubtful), len(centroids)))
        for feature in range(block.shape[1]):
            sq_dists += (block[doubtful, feature, None] - centroids[:, feature]) ** 2
        labels[doubtful] = np.argmin(sq_dists, axis=1)
    return labels


def inertia(points: np.ndarray, centroids: np.ndarray) -> float:
    """Return the sum of squared distances to the nearest centroid, as float64."""
    return float(assign(points, centroids)[1].sum())


def lloyd(points: np.ndarray, start: np.ndarray, rounds: int) -> np.ndarray:
    """Return the centroids after ``rounds`` rounds of assigning and averaging.

    A cluster that loses its last row gets the row farthest from its centroid, taken out of that
    row's cluster, as scikit-learn does it.
    """
    centroids = np.asarray(start, dtype=np.float64).copy()
    k, d = centroids.shape
    labels = np.full(len(points), -1)
    for _ in range(rounds):
        last = labels
        labels, sq_dists = assign(points, centroids)
        if np.array_equal(labels, last):
            break
        counts = np.bincount(labels, minlength=k).astype(np.float64)
        sums = np.zeros((k, d))
        for rows in _blocks(points, k):
            block = points[rows].astype(np.float64)
            membership = sparse.csr_array(
                (np.ones(len(block)), labels[rows], np.arange(len(block) + 1)), (len(block), k)
            )
            sums += membership.T @ block
        empty = np.flatnonzero(counts == 0)
        farthest = np.argsort(-sq_dists, kind="stable")[: len(empty)]
        for j, row in zip(empty, farthest, strict=True):
            point = points[row].astype(np.float64)
            sums[labels[row]] -= point
            counts[labels[row]] -= 1
            sums[j], counts[j] = point, 1
        centroids = sums / np.maximum(counts, 1)[:, None]
    return centroids


def reference_inertia(problem: Problem, cache: Path) -> float:
    """Return the oracle's inertia after the workload's rounds, from the cache where it is known.

    The cache is keyed by the digest of the very points and start rows.
    """
    known = json.loads(cache.read_text()) if cache.exists() else {}
    if problem.digest not in known:
        centroids = lloyd(problem.points, problem.start, problem.workload.rounds)
        known[problem.digest] = inertia(problem.points, centroids)
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(known, indent=1))
    return known[problem.digest]


def relative_gap(found: float, expected: float) -> float:
    """Return (found - expected) / expected; 0 where both are 0."""
    return 0.0 if found == expected else (found - expected) / abs(expected or 1.0)


def is_right(gap: float, tolerance: float, is_exact: bool) -> bool:
    """Judge a gap: an exact peer must match from both sides, another must not be worse."""
    return (abs(gap) if is_exact else gap) <= tolerance
