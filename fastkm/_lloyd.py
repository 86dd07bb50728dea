"""Lloyd's algorithm: assign, update, repair empty clusters, test for the end.

Python decides and the core computes, a slice of rows at a time, so that Ctrl-C is never far.

References
----------
S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28(2), 1982.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._control import UNWATCHED, Control
from ._filter import Pruning
from ._gaps import Gaps
from ._losers import Losers
from ._problem import FloatArray, LabelArray, Problem


@dataclass(frozen=True)
class Run:
    """The end of one run: labels and inertia belong to the centroids as given here."""

    labels: LabelArray  # (n,)
    centroids: npt.NDArray[np.floating]  # (k, d)
    inertia: float
    n_iter: int
    strict: bool  # stopped because no label changed

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of an estimator that keeps this run."""
        return {
            "cluster_centers_": self.centroids,
            "_n_features_out": len(self.centroids),
            "labels_": self.labels,
            "inertia_": self.inertia,
            "n_iter_": self.n_iter,
        }


class Start:
    """What a run begins with: its engine, its sums, and no labels yet.

    Parameters
    ----------
    problem : Problem
    init : float64 ndarray of shape (k, d)
        Where the centroids start; not written.
    algorithm : {"auto", "lloyd", "elkan"}

    Attributes
    ----------
    is_labelled : bool
        Whether `labels` and the update's sums are those of the first round already.
    """

    def __init__(self, problem: Problem, init: FloatArray, algorithm: str) -> None:
        k = init.shape[0]
        self.centroids = np.array(init, dtype=np.float64, order="C")
        problem.cover(self.centroids)
        self.engine = _engine(problem, k, algorithm)
        update_class = _WeightedUpdate if problem.uniform_weight is None else ExactUpdate
        self.update: ExactUpdate | _WeightedUpdate = update_class(problem, k)
        self.labels = np.full(problem.n, -1, dtype=np.int32)
        self.is_labelled = False


def _engine(problem: Problem, k: int, algorithm: str) -> Any:
    engine = problem.engine(k)
    if algorithm == "lloyd" and problem.can_be_sketched:
        engine.use_bytes(False)
    return engine


def _savings(
    problem: Problem, engine: _core.Engine, centroids: FloatArray, max_iter: int, algorithm: str
) -> tuple[Gaps, Pruning]:
    """Make what leaves distances out; where gaps do, nothing else is tried."""
    gaps = Gaps(problem, engine, centroids, max_iter, algorithm)
    return gaps, Pruning(problem, engine, max_iter, "lloyd" if gaps.take_part else algorithm)


def run(
    problem: Problem,
    init: FloatArray,
    *,
    max_iter: int,
    tol: float,
    verbose: bool = False,
    centroid_dtype: npt.DTypeLike = np.float64,
    algorithm: str = "auto",
    control: Control = UNWATCHED,
    losers: Losers | None = None,
    start: Start | None = None,
) -> Run | None:
    """Run Lloyd's algorithm until labels or centroids stay, max_iter rounds, or control's word.

    Parameters
    ----------
    problem : Problem
        The points and their weights.
    init : float64 ndarray of shape (k, d)
        Where the centroids start; not written.
    max_iter : int
        Most rounds, at least 1.
    tol : float
        Stop once the squared shifts of all centroids sum to at most this, in X's unit squared.
    verbose : bool
        Print each round's inertia and the reason of the end.
    centroid_dtype : float32 or float64
        float32 rounds the centroids at the end, and labels the points under the rounded ones.
    algorithm : {"auto", "lloyd", "elkan"}
        Which distances are computed, never what comes out; see `Pruning`.
    control : Control
        Is told of each round, and may end the run after it.
    losers : Losers, optional
        Knows which runs another one beats; of a problem whose weights are equal.
    start : Start, optional
        Of this init and algorithm, with what is done of the first round; used up.

    Returns
    -------
    run : Run, or None
        None if `losers` has this run, whose inertia is then not measured.

    Notes
    -----
    O(n k d) time a round; O(n) memory for two label arrays and O(k d) for the centroids and their
    sums. The bits of the result do not depend on threads, instruction set, layout or dtype.
    """
    if start is None:
        start = Start(problem, init, algorithm)
    engine, update, centroids, labels = start.engine, start.update, start.centroids, start.labels
    moved = np.empty_like(centroids)
    labels_old = np.empty(problem.n, dtype=np.int32)
    strict = False
    gaps, pruning = _savings(problem, engine, centroids, max_iter, algorithm)
    for n_iter in range(1, max_iter + 1):
        control.begin_round(centroids)
        if n_iter == 1 and start.is_labelled:
            n_changed = problem.n
        else:
            labels, labels_old = labels_old, labels
            n_changed = update.assign(engine, centroids, labels_old, labels)
        update.means(engine, centroids, labels, moved)
        if verbose:
            print(f"Iteration {n_iter - 1}, inertia {problem.inertia_under(engine, labels)}.")
        shift = _core.sq_shift(centroids, moved, problem.isa)
        is_stopped = control.end_round(n_iter, n_changed, shift, moved, labels, update.weights)
        centroids, moved = moved, centroids
        if problem.is_covered:  # by the start; means are among the rows
            problem = update.problem = problem.uncovered()
            engine = _engine(problem, engine.k, algorithm)
            gaps, pruning = _savings(problem, engine, centroids, max_iter, algorithm)
        if n_changed == 0:
            strict = True
            if verbose:
                print(f"Converged at iteration {n_iter - 1}: strict convergence.")
            break
        if is_stopped:
            if verbose:
                print(f"Stopped at iteration {n_iter - 1} by a callback.")
            break
        gaps.after_round(labels)
        pruning.after_round(centroids, labels, n_changed)
        if shift <= tol:
            if verbose:
                reason = f"center shift {shift} within tolerance {tol}."
                print(f"Converged at iteration {n_iter - 1}: {reason}")
            break
    rounded = centroids.astype(centroid_dtype, copy=False)
    final = rounded.astype(np.float64, copy=False)
    if _is_lost(losers, update, engine, (moved, final)):
        return None
    if strict and np.array_equal(final, moved):
        engine.set_centroids(final)
    elif losers is None:
        _assign(problem, engine, final, labels)
    else:
        labels, labels_old = labels_old, labels
        update.assign(engine, final, labels_old, labels)
        if _is_lost(losers, update, engine):
            return None
    return Run(labels, rounded, problem.inertia_under(engine, labels), n_iter, strict)


def assign(problem: Problem, centroids: npt.NDArray[np.floating]) -> LabelArray:
    """Return the label (n,) of each point: the nearest centroid, ties to the lowest index."""
    labels, exact = np.empty(problem.n, dtype=np.int32), _contiguous(centroids)
    problem.cover(exact)
    _assign(problem, problem.engine(len(centroids)), exact, labels)
    return labels


def transform(
    problem: Problem, centroids: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32] | FloatArray:
    """Return the Euclidean distances (n, k) of the points to all centroids, direct form.

    Computed in float64; rounded to float32 if both the points and the centroids are float32.
    """
    k = len(centroids)
    is_single = problem.X.dtype == centroids.dtype == np.float32
    exact = _contiguous(centroids)
    problem.cover(exact, each=True)
    engine = problem.engine(k)
    engine.set_centroids(exact)
    distances = np.empty((problem.n, k), dtype=np.float32 if is_single else np.float64)
    for start, stop in problem.slices(4 * k):
        engine.distances(distances, start, stop)
    return distances


def _contiguous(centroids: npt.NDArray[np.floating]) -> FloatArray:
    return np.ascontiguousarray(centroids, dtype=np.float64)


def _assign(
    problem: Problem,
    engine: _core.Engine,
    centroids: FloatArray,
    labels: LabelArray,
    labels_old: LabelArray | None = None,
) -> None:
    engine.set_centroids(centroids)
    for start, stop in problem.slices(engine.k):
        engine.assign(labels, start, stop, labels_old)


def _is_lost(
    losers: Losers | None,
    update: "ExactUpdate | _WeightedUpdate",
    engine: _core.Engine,
    step: tuple[FloatArray, FloatArray] | None = None,
) -> bool:
    if losers is None:
        return False
    assert isinstance(update, ExactUpdate), "losers are of equal weights"
    return losers.has(*update.exact_means(engine), step)


class ExactUpdate:
    """Means from exact sums, which only rows that changed their label are added to or leave."""

    def __init__(self, problem: Problem, k: int) -> None:
        self.problem = problem
        self.sums = _core.Sums(k, problem.sum_scale, problem.low_scale, problem.n_threads)
        self.weights = np.empty(k, dtype=np.int64)

    def assign(
        self,
        engine: _core.Engine,
        centroids: FloatArray,
        labels_old: LabelArray,
        labels: LabelArray,
    ) -> int:
        """Label all points and return how many labels changed."""
        engine.set_centroids(centroids)
        n_changed = 0
        for start, stop in self.problem.slices(engine.k):
            n_changed += engine.assign(labels, start, stop, labels_old, self.sums)
        return n_changed

    def means(
        self, engine: _core.Engine, centroids: FloatArray, labels: LabelArray, moved: FloatArray
    ) -> None:
        """Write the centroids' new position into moved."""
        engine.means(self.sums, moved)
        if self.sums.counts(self.weights):
            fill_empty(self.problem, engine, labels, self.weights, moved)

    def exact_means(self, engine: _core.Engine) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Return the means of the labels' points, 0 where there are none, and their numbers."""
        means = np.zeros((len(self.weights), self.problem.d))
        engine.means(self.sums, means)
        self.sums.counts(self.weights)
        return means, self.weights


class _WeightedUpdate:
    """Means under weights: summed anew each round, every centroid's rows in ascending order."""

    def __init__(self, problem: Problem, k: int) -> None:
        self.problem = problem
        self.scale = problem.scale_of_weighted_sums()
        self.shift = problem.shift * self.scale
        self.sums = np.empty((k, problem.d))
        self.weights = np.empty(k)

    def assign(
        self,
        engine: _core.Engine,
        centroids: FloatArray,
        labels_old: LabelArray,
        labels: LabelArray,
    ) -> int:
        """Label all points and return how many labels changed."""
        _assign(self.problem, engine, centroids, labels, labels_old)
        return int(np.count_nonzero(labels != labels_old))

    def means(
        self, engine: _core.Engine, centroids: FloatArray, labels: LabelArray, moved: FloatArray
    ) -> None:
        """Write the centroids' new position into moved."""
        problem = self.problem
        assert problem.relative_weights is not None
        self.sums[:] = 0
        self.weights[:] = 0
        for start, stop in problem.slices(4):
            engine.accumulate_weighted(
                labels,
                problem.relative_weights,
                self.shift,
                self.sums,
                self.weights,
                start,
                stop,
                self.scale,
            )
        has_weight = self.weights > 0
        means = self.shift + self.sums[has_weight] / self.weights[has_weight, None]
        moved[has_weight] = means / self.scale
        fill_empty(problem, engine, labels, self.weights, moved)


def fill_empty(
    problem: Problem,
    engine: _core.Engine,
    labels: LabelArray,
    weights: npt.NDArray[np.int64] | FloatArray,
    moved: FloatArray,
) -> None:
    """Give each empty cluster a point of its own: the farthest first, ties to the lowest row.

    As in scikit-learn, the point leaves the mean of its old cluster but keeps its label until the
    next round. Where no point is off its centroid, or the old cluster is left without weight, the
    centroid goes where the heaviest cluster's is. Means under weights round: points no farther off
    than that are on their centroids, or equal rows would change places for ever.
    """
    empty = np.flatnonzero(weights == 0)
    if empty.size == 0:
        return
    left = weights.astype(np.float64)
    sq_dists = problem.own_sq_dists(engine, labels)
    row_weights = problem.relative_weights if problem.uniform_weight is None else None
    if row_weights is not None:
        sq_dists[row_weights == 0] = -1.0
    rounding = 0.0 if row_weights is None else problem.sq_rounding_of_means()
    if sq_dists.max() > rounding:
        scale = problem.scale_of_weighted_sums()
        shift = problem.shift * scale
        problem.settle_farthest(engine, labels, sq_dists, empty.size)
        sums, n_left = {}, {}
        for cluster, row in zip(empty, _farthest(sq_dists, empty.size), strict=False):
            point = problem.rows([row])[0]
            weight = 1.0 if row_weights is None else float(row_weights[row])
            old = int(labels[row])
            if old not in sums:
                sums[old] = (moved[old] * scale - shift) * left[old]
                n_left[old] = np.count_nonzero((labels == old) & (sq_dists >= 0))
            sums[old] -= (point * scale - shift) * weight
            left[old] -= weight
            n_left[old] -= 1
            moved[cluster] = point
            left[cluster] = weight
        for old, total in sums.items():
            if n_left[old] == 0:
                left[old] = 0.0  # without the trace of weight that rounding leaves
            if left[old] > 0:
                moved[old] = (shift + total / left[old]) / scale
    moved[left <= 0] = moved[np.argmax(left)]


def _farthest(sq_dists: FloatArray, n_rows: int) -> npt.NDArray[np.intp]:
    """Rows of the n_rows largest distances, descending, ties to the lowest row, none negative."""
    n_rows = min(n_rows, len(sq_dists))
    least = max(np.partition(sq_dists, -n_rows)[-n_rows], 0.0)
    rows = np.flatnonzero(sq_dists >= least)
    return rows[np.argsort(-sq_dists[rows], kind="stable")][:n_rows]
