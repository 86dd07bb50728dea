"""An upper bound on the inertia after a round, without a pass over the points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, LabelArray, Problem

UNIT = 2.0**-52  # twice the rounding of one operation, so that products of errors are covered


class InertiaBound:
    """Bounds from above the inertia of a run that ends after the round at hand.

    Parameters
    ----------
    problem : Problem
        The points and their weights.
    centroid_dtype : float32 or float64
        What the centroids are rounded to in the end.

    Notes
    -----
    One pass over the points at the start, in float64: O(n d). Then O(k d) a round.

    For labels L with weights N_j and exact means m_j, and any points a and c_j,

        sum_i w_i |x_i - c_L(i)|^2 = T - sum_j N_j |m_j - a|^2 + sum_j N_j |c_j - m_j|^2,
        T = sum_i w_i |x_i - a|^2,

    as the cross terms vanish at the means. The run, ended here, gives each point its nearest c_j
    and so an inertia that is no larger; c_j is the mean as stored, and a the mean of all points.

    Rounding. The mean at hand is off m_j by e_jf or less in feature f (below), so that

        |m_jf - a_f| >= max(0, |moved_jf - a_f| - e_jf),  |c_jf - m_jf| <= |c_jf - moved_jf| + e_jf.

    What is left are sums of squares: nothing cancels in them, each is right to its number of
    operations times 2^-53, and each is at most T but for the last, D. The distances in T and in the
    fit's own inertia are right to `Problem.sq_dists_rounding`; a sum over the points adds
    BLOCK_ROWS operations, those over clusters at most k + d, different weights n. So what is
    computed lacks less than (T + D) times twice the sum of these, which is added. What underflows
    is below 2^-1022 in all.

    e_jf: exact sums hold a value to 1 / low_scale^2 of its feature's largest magnitude, at most
    |a_f| + 1 / scale, and their quotient is rounded once more. n additions of weighted values round
    by n 2^-53 of that magnitude, as does their weight.

    Where a cluster is empty its centroid is no mean, and those that gave it a point carry rounding
    of another kind: then the labels' inertia under the centroids is measured, in one pass.
    """

    def __init__(self, problem: Problem, centroid_dtype: npt.DTypeLike) -> None:
        self._problem, self._dtype = problem, centroid_dtype
        self._origin = problem.mean
        self._n_rounding = 0 if problem.uniform_weight is not None else problem.n
        self._total = problem.inertia(np.zeros(problem.n, dtype=np.int32), self._origin[None])

    def after_round(
        self,
        labels: LabelArray,
        moved: FloatArray,
        weights: npt.NDArray[np.int64] | FloatArray,
    ) -> float:
        """Return the bound, in the unit of X squared; infinity where squares overflow.

        Parameters
        ----------
        labels : ndarray of shape (n,), int32
            Of the round.
        moved : ndarray of shape (k, d)
            Where the round put the centroids, empty clusters repaired.
        weights : ndarray of shape (k,)
            Number of points of each label or, where weights differ, the sum of their weights.
        """
        problem = self._problem
        k, d = moved.shape
        stored = moved.astype(self._dtype).astype(np.float64)
        rounding = 2 * problem.sq_dists_rounding()
        rounding += 2 * UNIT * (_core.BLOCK_ROWS + k + d + 64 + self._n_rounding)
        with np.errstate(over="ignore", invalid="ignore"):
            if (weights == 0).any():
                bound = problem.inertia(labels, stored) * (1 + rounding)
            else:
                error = error_of_means(problem, moved)
                apart = np.maximum(np.abs(moved - self._origin) - error, 0.0)
                between = self._sum(apart, weights)
                within = self._sum(np.abs(stored - moved) + error, weights)
                bound = max(self._total - between + within, 0.0)
                bound += rounding * (self._total + within)
            bound += np.finfo(np.float64).tiny
        return float(bound) if np.isfinite(bound) else np.inf

    def _sum(self, values: FloatArray, weights: npt.NDArray[np.int64] | FloatArray) -> float:
        weight = self._problem.uniform_weight
        return weighted_squares(values, weights) * (1.0 if weight is None else weight)


def error_of_means(problem: Problem, means: FloatArray) -> FloatArray:
    """Bound how far computed means (k, d) are off the exact ones; see `InertiaBound`."""
    with np.errstate(over="ignore"):
        largest = np.abs(problem.mean) + 8 / problem.scale
    is_exact = problem.uniform_weight is not None
    share = 2 / problem.low_scale**2 if is_exact else (2 * problem.n + 8) * UNIT
    error: FloatArray = 2.0**-51 * np.abs(means) + share * largest
    return error


def weighted_squares(values: FloatArray, weights: npt.NDArray[np.number[Any]]) -> float:
    """Return the sum of all rows' squared norms, each times its weight."""
    return float(np.sum(np.sum(values**2, axis=1) * weights))
