"""Mini-batch k-means: centroids that learn from a few rows at a time.

Each centroid is the mean of all rows it was ever given, each counted with its weight: a batch moves
it the less, the more it has learnt from. Stopping rules, reassignment and the order of random draws
are scikit-learn's.

References
----------
D. Sculley, "Web-scale k-means clustering", WWW 2010: algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import _core
from ._control import UNWATCHED, Control
from ._draws import RowDraw, Undoable
from ._problem import MODERATE_EXPONENT, FloatArray, LabelArray, Problem, Slices

# scikit-learn's numbers: clusters of low weight are looked for each time so many rows a cluster
# have been seen, and at most this share of a batch becomes centroids at once.
_ROWS_PER_CLUSTER_BETWEEN_REASSIGNMENTS = 10
_LARGEST_REASSIGNED_SHARE = 0.5


@dataclass
class State:
    """What one batch leaves for the next."""

    centroids: FloatArray  # (k, d)
    counts: FloatArray  # (k,) weight of the rows that each centroid has learnt from
    n_since_reassignment: int = 0  # rows seen since clusters of low weight were looked for


@dataclass(frozen=True)
class Rules:
    """When centroids are reassigned and when learning ends."""

    batch_size: int
    n_steps: int
    tol: float  # of the centroids' squared shift in one step, in X's unit squared; 0: off
    max_no_improvement: int | None
    reassignment_ratio: float
    verbose: bool


@dataclass(frozen=True)
class Run:
    """The end of a run."""

    state: State
    n_steps: int
    mean_inertia: float  # of a row, averaged over the steps with weights that decay


def run(
    problem: Problem,
    init: FloatArray,
    rules: Rules,
    random_state: np.random.RandomState,
    control: Control = UNWATCHED,
) -> Run:
    """Learn from random batches until the rules or control say stop.

    Parameters
    ----------
    problem : Problem
        The points. Rows are drawn with replacement, in proportion to their weights.
    init : float64 ndarray of shape (k, d)
        Where the centroids start; not written.
    rules : Rules
        Batch size, most steps, stopping rules.
    random_state : RandomState
        Advanced by each step as scikit-learn's mini-batch k-means advances it.
    control : Control
        Is told of each step, and may end learning after it.

    Notes
    -----
    O(batch_size k d) time a step; O(n) memory for the cumulative weights that rows are drawn by and
    O(batch_size d) for the batch. The bits do not depend on threads, instruction set or layout.
    """
    k = len(init)
    problem.cover(init)
    stepper = Stepper.on_rows_of(problem, rules.batch_size, k)
    state = State(np.array(init, dtype=np.float64, order="C"), np.zeros(k))
    draw = RowDraw(problem.n, problem.sample_weight)
    progress = _Progress(problem.n, rules)
    for step in range(1, rules.n_steps + 1):
        control.begin_round(state.centroids)
        rows = draw(random_state, rules.batch_size)
        reassigns = is_reassignment_due(state, rules.batch_size)
        inertia = stepper.step(state, random_state if reassigns else None, rules, rows)
        mean_inertia = inertia / rules.batch_size
        looks_at_shift = rules.tol > 0 or control.is_watching
        sq_shift = stepper.sq_shift(state) if looks_at_shift else np.inf
        is_over = progress.is_over(step, mean_inertia, sq_shift)
        is_stopped = control.end_step(
            step, state.centroids, sq_shift, mean_inertia, progress.mean_inertia
        )
        if is_stopped and not is_over and rules.verbose:
            print(f"Stopped by a callback at step {step}/{rules.n_steps}")
        if is_stopped or is_over:
            break
    return Run(state, step, progress.mean_inertia)


def label(problem: Problem, centroids: FloatArray) -> tuple[LabelArray, float]:
    """Return the labels (n,) of the points under the centroids, and the inertia, in one pass."""
    if problem.is_covered:
        problem = problem.uncovered()
    problem.cover(centroids)
    engine = problem.engine(len(centroids))
    engine.set_centroids(centroids)
    labels = np.empty(problem.n, dtype=np.int32)
    sq_dists = np.empty(problem.n)
    for start, stop in problem.slices(engine.k):
        engine.assign_and_measure(labels, sq_dists, start, stop)
    return labels, problem.weighted_sum(sq_dists)


def is_reassignment_due(state: State, batch_size: int) -> bool:
    """Count a batch, and tell whether clusters of low weight should be looked for after it."""
    state.n_since_reassignment += batch_size
    interval = _ROWS_PER_CLUSTER_BETWEEN_REASSIGNMENTS * len(state.counts)
    is_due = bool((state.counts == 0).any()) or state.n_since_reassignment >= interval
    if is_due:
        state.n_since_reassignment = 0
    return is_due


class Stepper:
    """Steps on batches that stand in the same place, one after the other.

    Parameters
    ----------
    batch : Problem
        The rows of the batch at hand, and their weights.
    k : int
        Number of centroids.
    """

    def __init__(self, batch: Problem, k: int) -> None:
        self._take(batch, batch.batch(k), batch)

    @classmethod
    def on_rows_of(cls, problem: Problem, batch_size: int, k: int) -> Stepper:
        """Make one whose batches are gathered from the problem's rows, each of weight 1."""
        batch, core = problem.batch_of(batch_size, k)
        stepper = cls.__new__(cls)
        stepper._take(batch, core, problem)
        return stepper

    def _take(self, batch: Problem, core: _core.Batch, source: Problem) -> None:
        self._batch, self._core, self._source = batch, core, source
        k = core.engine.k
        self._labels = np.empty(batch.n, dtype=np.int32)
        self._sq_dists = np.empty(batch.n)
        self._previous = np.empty((k, batch.d))
        self._cluster_slices = Slices(k, 1, 4.0 * batch.n * batch.d / k)

    def step(
        self,
        state: State,
        random_state: np.random.RandomState | Undoable | None,
        rules: Rules,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> float:
        """Learn from the batch and return its inertia under the centroids as they were.

        Parameters
        ----------
        state : State
            Updated.
        random_state : RandomState, Undoable or None
            For the rows that take the place of centroids of low weight; None leaves them.
        rules : Rules
            The reassignment ratio, and whether to tell.
        rows : ndarray of shape (n,), int64, or None
            The rows to gather; None where the batch stands in its place.
        """
        self._core.engine.set_centroids(state.centroids)
        for start, stop in self._batch.slices(self._core.engine.k):
            self._core.assign(self._labels, start, stop, rows)
        self._core.sort(self._labels)
        moved, counts = self._previous, np.empty_like(state.counts)
        weights, learnt, exponent = _near_one(self._batch, state.counts)
        for start, stop in self._cluster_slices:
            self._core.learn(weights, learnt, moved, counts, self._sq_dists, start, stop)
        state.centroids, self._previous = moved, state.centroids
        state.counts = np.ldexp(counts, exponent) if exponent else counts
        if random_state is not None and rules.reassignment_ratio > 0:
            self._reassign(state, random_state, rules, rows)
        return self._batch.weighted_sum(self._sq_dists)

    def sq_shift(self, state: State) -> float:
        """Return the squared shift of all centroids in the last step, in X's unit squared."""
        return float(np.sum((state.centroids - self._previous) ** 2))

    def _reassign(
        self,
        state: State,
        random_state: np.random.RandomState | Undoable,
        rules: Rules,
        rows: npt.NDArray[np.int64] | None,
    ) -> None:
        """Put rows of the batch in the place of centroids that have learnt from few."""
        counts = state.counts
        least = rules.reassignment_ratio * counts.max()
        if counts.min() >= least:
            return
        is_low = counts < least
        most = int(_LARGEST_REASSIGNED_SHARE * self._batch.n)
        if np.count_nonzero(is_low) > _LARGEST_REASSIGNED_SHARE * self._batch.n:
            is_low[np.argsort(counts, kind="stable")[most:]] = False
        n_low = int(np.count_nonzero(is_low))
        if n_low == 0:  # a batch of one row
            return
        picked = random_state.choice(self._batch.n, replace=False, size=n_low)
        if rules.verbose:
            print(f"[MiniBatchKMeans] Reassigning {n_low} cluster centers.")
        state.centroids[is_low] = self._source.rows(picked if rows is None else rows[picked])
        # As much as the least of the others has, or they would be reassigned again at once.
        if n_low < len(counts):
            counts[is_low] = counts[~is_low].min()


def _near_one(batch: Problem, counts: FloatArray) -> tuple[FloatArray | None, FloatArray, int]:
    """Return the rows' weights and the counts, both times 2^-exponent, and the exponent.

    It is 0 unless the largest is far from 1. What is learnt depends on their ratios alone, and has
    the same bits.
    """
    weights = batch.sample_weight
    largest = max(1.0 if weights is None else weights.max(), counts.max())
    exponent = int(np.frexp(largest)[1])
    if abs(exponent) <= MODERATE_EXPONENT:
        return weights, counts, 0
    if weights is None:
        weights = np.ones(batch.n)
    return np.ldexp(weights, -exponent), np.ldexp(counts, -exponent), exponent


class _Progress:
    """scikit-learn's early stopping: small shifts, or no improvement of the smoothed inertia."""

    def __init__(self, n: int, rules: Rules) -> None:
        self._rules = rules
        self._alpha = min(rules.batch_size * 2.0 / (n + 1), 1)
        self._smoothed: float | None = None
        self._lowest = np.inf
        self._n_without_improvement = 0
        self.mean_inertia = np.nan

    def is_over(self, step: int, inertia: float, sq_shift: float) -> bool:
        """Tell whether step, counted from 1, was the last; tell the user too if asked."""
        rules = self._rules
        place = f"step {step}/{rules.n_steps}"
        if step == 1:  # the inertia is that of the seeds
            self.mean_inertia = inertia
            if rules.verbose:
                print(f"Minibatch {place}: mean batch inertia: {inertia}")
            return False
        if self._smoothed is None:
            self._smoothed = inertia
        else:
            self._smoothed = self._smoothed * (1 - self._alpha) + inertia * self._alpha
        self.mean_inertia = self._smoothed
        if rules.verbose:
            smoothed = f"ewa inertia: {self._smoothed}"
            print(f"Minibatch {place}: mean batch inertia: {inertia}, {smoothed}")
        if sq_shift <= rules.tol and rules.tol > 0:
            if rules.verbose:
                print(f"Converged (small centers change) at {place}")
            return True
        if self._smoothed < self._lowest:
            self._n_without_improvement = 0
            self._lowest = self._smoothed
        else:
            self._n_without_improvement += 1
        most = rules.max_no_improvement
        if most is not None and self._n_without_improvement >= most:
            if rules.verbose:
                print(f"Converged (lack of improvement in inertia) at {place}")
            return True
        return False
