"""Choose where a run starts: greedy k-means++, random rows, the user's array or callable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_array

from ._draws import RowDraw
from ._potential import Potential, Potentials, go_beside
from ._problem import Problem
from ._solo_seeding import is_seeded_solo, seed_solo
from ._sparse_problem import make_problem
from ._threads import effective_n_threads
from ._validation import (
    check_centroids,
    check_is_finite,
    check_n_samples,
    check_points,
    check_room,
    check_weights,
    read_only_view,
)


@validate_params(  # type: ignore[untyped-decorator]
    {
        "X": ["array-like", "sparse matrix"],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
        "x_squared_norms": ["array-like", None],
        "random_state": ["random_state"],
        "n_local_trials": [Interval(Integral, 1, None, closed="left"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def kmeans_plusplus(
    X: npt.ArrayLike,
    n_clusters: int,
    *,
    sample_weight: npt.ArrayLike | None = None,
    x_squared_norms: npt.ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_local_trials: int | None = None,
    n_threads: int | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Choose rows of X as seeds by greedy k-means++.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        The rows to choose from; read in place, as `KMeans` reads it.
    n_clusters : int
        Number of seeds.
    sample_weight : array-like of shape (n,), default=None
        Weight of each row; None weighs each 1. A row of weight 0 is not chosen.
    x_squared_norms : array-like of shape (n,), default=None
        Taken, checked and not needed, for callers of scikit-learn's function: distances are
        computed from the differences.
    random_state : int, RandomState instance or None, default=None
        Source of the draws.
    n_local_trials : int, default=None
        Candidates drawn for each seed after the first, of which the one that lowers the potential
        most is taken. None draws ``2 + log(n_clusters)``.
    n_threads : int, default=None
        Number of threads; None takes as many as this process may use. The result does not depend
        on it.

    Returns
    -------
    centers : ndarray of shape (n_clusters, d), X's dtype
        The chosen rows.
    indices : ndarray of shape (n_clusters,), int64
        Where they stand in X.

    Raises
    ------
    ValueError
        If X has fewer rows than `n_clusters`, or any argument is not what it must be.
    MemoryError
        If memory runs out; before any work where already the seeds find no room.

    Notes
    -----
    Costs at most O(n d n_clusters n_local_trials) time; rows that a candidate is surely too far
    from are left out, which changes no seed. Memory is O(n), and for 32 seeds and more of 4096 rows
    and more: 1.25 d + 25 bytes a row at most if d >= 60, or for d <= 48 the rows as float32 if
    that takes at most 64 MiB, as they are beside that if both do, and 24 bytes a row. Draws come in
    scikit-learn's order, so that the same `random_state` picks the rows that
    ``sklearn.cluster.kmeans_plusplus`` picks for float64 input, unless rounding decides between
    two.

    References
    ----------
    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA; the
    greedy variant of its section on further work.

    Examples
    --------
    >>> import numpy as np
    >>> from fastkm import kmeans_plusplus
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, indices = kmeans_plusplus(X, n_clusters=2, random_state=0)
    >>> centers
    array([[10,  2],
           [ 1,  0]])
    >>> indices
    array([3, 2])
    """
    points = check_points(X)
    weights = check_weights(sample_weight, points)
    check_n_samples(points.shape[0], n_clusters)
    # Of each row the distance to its nearest seed, and which candidates are nearer; then the seeds.
    check_room(points.shape, n_clusters, of_row=12, of_centroid_value=0)
    check_room(points.shape, n_clusters, of_row=0, of_centroid_value=8)
    if x_squared_norms is not None:
        norms = check_array(x_squared_norms, dtype=np.float64, ensure_2d=False)
        if len(norms) != points.shape[0]:
            raise ValueError(
                f"The length of x_squared_norms {len(norms)} should "
                f"be equal to the length of n_samples {points.shape[0]}."
            )
    problem = make_problem(points, weights, n_threads=effective_n_threads(n_threads))
    check_is_finite(problem.is_finite, points)
    rows = pick_plusplus_rows(problem, n_clusters, check_random_state(random_state), n_local_trials)
    return problem.rows(rows).astype(points.dtype), rows


def make_seed(
    init: Any,
    points: npt.NDArray[Any],
    problem: Problem,
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Callable[[int], list[npt.NDArray[np.float64]]]:
    """Return the function that draws the next runs' first centroids.

    Parameters
    ----------
    init : {"k-means++", "random"}, callable or ndarray of shape (k, d)
        As `KMeans` takes it; an array is checked already.
    points : ndarray of shape (n, d)
        The rows. A callable gets a view that it cannot write to.
    problem : Problem
        The same rows, measured.
    n_clusters : int
        k, at most n.
    random_state : RandomState
        Advanced by each run's seeding as scikit-learn's k-means advances it.

    Returns
    -------
    seed : callable
        Takes the number of runs, returns for each the centroids, of shape (k, d), float64.
    """

    def seed(n_runs: int) -> list[npt.NDArray[np.float64]]:
        if isinstance(init, str):
            pick = {"k-means++": _pick_plusplus_rows_of_runs, "random": _pick_random_rows_of_runs}
            picked = pick[init](problem, n_clusters, random_state, n_runs)
            return [problem.rows(rows) for rows in picked]
        if callable(init):
            locked = read_only_view(points)
            return [
                check_centroids(
                    init(locked, n_clusters, random_state=random_state), n_clusters, points
                )
                for _ in range(n_runs)
            ]
        return [init] * n_runs

    return seed


def pick_plusplus_rows(
    problem: Problem,
    n_clusters: int,
    random_state: np.random.RandomState,
    n_local_trials: int | None = None,
) -> npt.NDArray[np.int64]:
    """Pick `n_clusters` rows by greedy k-means++; see `kmeans_plusplus`."""
    (rows,) = _pick_plusplus_rows_of_runs(problem, n_clusters, random_state, 1, n_local_trials)
    return rows


def _pick_plusplus_rows_of_runs(
    problem: Problem,
    n_clusters: int,
    random_state: np.random.RandomState,
    n_runs: int,
    n_local_trials: int | None = None,
) -> list[npt.NDArray[np.int64]]:
    if n_local_trials is None:
        n_local_trials = 2 + int(np.log(n_clusters))
    draw = RowDraw(problem.n, problem.sample_weight)
    if is_seeded_solo(problem, n_local_trials):
        # Of each run the first row's, then the candidates'.
        of_runs = random_state.random_sample((n_runs, 1 + (n_clusters - 1) * n_local_trials))
        firsts = [draw.row(uniform) for uniform in of_runs[:, 0].tolist()]
        shape = n_clusters - 1, n_local_trials
        return seed_solo(problem, firsts, [of_run[1:].reshape(shape) for of_run in of_runs])
    firsts, uniforms = [], []
    for _ in range(n_runs):
        firsts.append(int(draw(random_state, 1)[0]))
        uniforms.append(random_state.uniform(size=(n_clusters - 1, n_local_trials)))
    n_beside = n_runs if go_beside(problem, n_clusters, n_local_trials) else 1
    return [
        rows
        for i in range(0, n_runs, n_beside)
        for rows in _pick_beside(problem, firsts[i : i + n_beside], uniforms[i : i + n_beside])
    ]


def _pick_beside(
    problem: Problem, firsts: list[int], uniforms: list[npt.NDArray[np.float64]]
) -> list[npt.NDArray[np.int64]]:
    n_further, n_local_trials = uniforms[0].shape
    potentials = Potentials(problem, n_further + 1, n_local_trials, len(firsts))
    potentials.start(firsts)
    if len(firsts) == 1 and potentials.of_runs[0].picks(n_local_trials):
        rows = np.full(n_further + 1, firsts[0], dtype=np.int64)
        potentials.of_runs[0].pick(uniforms[0], rows, _first_weighty_row(problem), 1)
        return [rows]
    picked = [[first] for first in firsts]
    for j in range(n_further):
        candidates = [
            _draw(problem, potential, draws[j])
            for potential, draws in zip(potentials.of_runs, uniforms, strict=True)
        ]
        best = [int(np.argmin(left)) for left in potentials.propose(candidates)]
        potentials.accept(best)
        for run, group, index in zip(picked, candidates, best, strict=True):
            run.append(int(group[index]))
    return [np.array(run, dtype=np.int64) for run in picked]


def _draw(
    problem: Problem, potential: Potential, uniforms: npt.NDArray[np.float64]
) -> npt.NDArray[np.intp]:
    candidates = potential.draw(uniforms * potential.total)
    if potential.total == 0:
        # Every row that weighs anything is a seed already. Any of them will do, but row 0, where a
        # threshold of 0 points, may weigh nothing and lie elsewhere.
        candidates[:] = _first_weighty_row(problem)
    return candidates


def pick_random_rows(
    problem: Problem, n_clusters: int, random_state: np.random.RandomState
) -> npt.NDArray[np.int64]:
    """Pick `n_clusters` different rows, each with a chance in proportion to its weight."""
    return random_state.choice(problem.n, size=n_clusters, replace=False, p=_probabilities(problem))


def _pick_random_rows_of_runs(
    problem: Problem, n_clusters: int, random_state: np.random.RandomState, n_runs: int
) -> list[npt.NDArray[np.int64]]:
    return [pick_random_rows(problem, n_clusters, random_state) for _ in range(n_runs)]


def _probabilities(problem: Problem) -> npt.NDArray[np.float64]:
    weights = problem.sample_weight
    if weights is None:
        return np.full(problem.n, 1 / problem.n)
    return np.asarray(weights / weights.sum())


def _first_weighty_row(problem: Problem) -> int:
    weights = problem.sample_weight
    return 0 if weights is None else int(np.argmax(weights > 0))
