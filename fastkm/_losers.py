"""Runs that cannot beat the best one so far, found out without measuring their inertia."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._bound import UNIT, error_of_means, weighted_squares
from ._problem import FloatArray, Problem

# Between these exponents of the data's reach and of the weight neither squares nor their sums leave
# float64's range, and what underflows is less than one rounding of the total.
MOST_EXPONENT = 100
# With fewer rows a cluster asking costs about what measuring does: at d = 784 and k = 256 both
# questions take 1.3 ms, and 32768 rows 2.
LEAST_ROWS_A_CLUSTER = 128


def can_tell(problem: Problem, k: int) -> bool:
    """Tell whether `Losers` knows the problem's rows and pays for itself."""
    weight = problem.uniform_weight
    return (
        weight is not None
        and weight > 0
        and all(abs(math.frexp(unit)[1]) <= MOST_EXPONENT for unit in (weight, problem.scale))
        and problem.n >= LEAST_ROWS_A_CLUSTER * k
    )


class Losers:
    """Tells which runs end with a larger inertia than the best run, from sums alone.

    Parameters
    ----------
    problem : Problem
        The points, all of one weight.

    Attributes
    ----------
    least_inertia : float
        Of the best run so far, as measured.

    Notes
    -----
    O(k d) time and memory a question; the points are not read.

    Let labels L have counts N_j and means m_j. Their points' squared distances to any centroids sum
    to no less than those to the means, which for any point a are

        W = T_a - sum_j N_j |m_j - a|^2,   T_a = sum_i |x_i - a|^2 >= T,

    where T is about the mean of all points. So if L are a run's final labels, W bounds its inertia.

    Before the points are labelled for the last time, their labels L are those of the nearest
    centroids b_j, and the run will measure distances to centroids c_j, none farther from b_j than
    D. For any labels M to come, |x_i - c_M(i)| >= |x_i - b_M(i)| - D >= |x_i - b_L(i)| - D, and so,
    as the Euclidean norm has a triangle inequality, too, the inertia is at least

        max(0, sqrt(W) - D sqrt(n))^2.

    Rounding, with u = 2^-53. Moments of the columns are about an origin o. Each is a sum of at most
    n + MAX_SEGMENTS terms that round three times, so it is right to g = (n + 128) u of the sum of
    its terms' magnitudes. With q = sum_i (x_i - o)^2 in a column, n times its variance is q less
    n ((sum_i x_i - o) / n)^2, which is at most q and whose root is right to g sqrt(q / n): n times
    the computed variance is right to 3 g q and terms of higher order, for which 4 g q is taken.
    Clamping it to 0 or to the 0 of a constant column brings it no farther from the true one.

    The computed mean is off m_j by e_jf or less in feature f, see `InertiaBound`, so that
    |m_jf - a_f| is at most what is computed and e_jf. What follows are sums of squares and
    differences of such: right to their number of operations, at most k + d and a few, times u of T
    and of what is taken off it. D is right to d + 8 of them.

    The labels L have the least squared distances as computed, right to r = `sq_dists_rounding`, so
    that |x_i - b_M(i)|^2 >= (1 - 2 r) |x_i - b_L(i)|^2. And the inertia that the run would measure
    is right to r and the BLOCK_ROWS operations of its sums. All this is taken off, at least twice.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.least_inertia = math.inf
        rounding = 2 * (problem.n + 128) * UNIT * problem.sq_moment
        with np.errstate(over="ignore"):
            total = problem.n * float(problem.variance.sum())
        self._total = total * (1 - (problem.d + 8) * UNIT) - rounding

    def has(
        self,
        means: FloatArray,
        counts: npt.NDArray[np.integer[Any]],
        step: tuple[FloatArray, FloatArray] | None = None,
    ) -> bool:
        """Tell whether the run's inertia, if it were measured, would surely be above the least.

        Parameters
        ----------
        means : ndarray of shape (k, d)
            Of the points of each label; where a label has none, any finite values.
        counts : ndarray of shape (k,)
            Of the points of each label.
        step : tuple of two ndarrays of shape (k, d), optional
            The centroids that the labels are of, and the final ones, under which the points have
            yet to be labelled. Without it, the labels are final.
        """
        with np.errstate(over="ignore"):  # of centroids or a constant column far away
            floor = self._within(means, counts)
            if step is not None:
                floor = self._after(step, floor)
        problem = self._problem
        assert problem.uniform_weight is not None, "can_tell was asked"
        rounding = 2 * problem.sq_dists_rounding() + 2 * (int(_core.BLOCK_ROWS) + 64) * UNIT
        return bool(floor * (1 - rounding) * problem.uniform_weight > self.least_inertia)

    def _within(self, means: FloatArray, counts: npt.NDArray[np.integer[Any]]) -> float:
        """Bound W from below."""
        k, d = means.shape
        apart = np.abs(means - self._problem.mean) + error_of_means(self._problem, means)
        between = weighted_squares(apart, counts) * (1 + (k + d + 64) * UNIT)
        least: float = self._total - between - UNIT * (abs(self._total) + between)
        return max(least, 0.0)

    def _after(self, step: tuple[FloatArray, FloatArray], within: float) -> float:
        """Bound from below what the labels to come leave of W."""
        problem = self._problem
        sq_moves = np.sum((step[1] - step[0]) ** 2, axis=1)
        farthest = math.sqrt(float(sq_moves.max())) * (1 + (problem.d + 16) * UNIT)
        nearest = math.sqrt(within * max(1 - 4 * problem.sq_dists_rounding(), 0.0))
        left: float = max(nearest - farthest * math.sqrt(problem.n) - 4 * UNIT * nearest, 0.0)
        return left * left
