"""Run k-means from several starts and keep the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ._control import UNWATCHED, Control
from ._first_rounds import begin_beside
from ._gaps import uses_gaps
from ._lloyd import Run, Start, run
from ._losers import Losers, can_tell
from ._problem import Problem
from ._solo import is_solo, n_beside, run_solo


def run_restarts(
    problem: Problem,
    seed: Callable[[int], list[npt.NDArray[np.float64]]],
    n_clusters: int,
    n_init: int,
    *,
    max_iter: int,
    tol: float,
    verbose: bool,
    centroid_dtype: npt.DTypeLike,
    algorithm: str,
    control: Control = UNWATCHED,
) -> Run:
    """Run k-means `n_init` times, or until control's word, and keep the lowest inertia.

    Parameters
    ----------
    problem : Problem
        The points and their weights.
    seed : callable
        Takes a number of runs and returns the centroids, of shape (k, d), that each starts from.
        Runs are seeded in order, so that the random draws come in scikit-learn's; some of them
        together, but none ahead of its time where control is watching or verbose.
    n_clusters : int
        k.
    n_init : int
        Number of runs, at least 1.
    max_iter : int
        Most rounds of each run.
    tol : float
        A run stops when the squared centroid shifts sum to no more, in X's unit squared.
    verbose : bool
        Whether to print each run's progress.
    centroid_dtype : dtype
        float32 or float64, of the centroids returned.
    algorithm : {"auto", "lloyd", "elkan"}
        Which distances each run computes, never what comes out.
    control : Control
        Is told of each run and its rounds, and may end the run at hand or all.

    Returns
    -------
    best : Run
        The first run of the lowest inertia. A later run with the same clusters under other names
        does not replace it, though rounding make its inertia smaller.

    Notes
    -----
    Costs what the runs cost, and one pass over two label arrays for each improvement. Unless
    someone watches, a run that ends above the best so far is mostly not measured, see `Losers`.
    """
    if not (verbose or control.is_watching) and is_solo(problem, n_clusters, n_init, algorithm):
        return _best_of_solos(
            problem, seed, n_init, max_iter=max_iter, tol=tol, centroid_dtype=centroid_dtype
        )
    best: Run | None = None
    problem.shared.n_runs = n_init
    # Whoever watches may end the fit before the next seeding, or wants to see what takes how long.
    # Nor may a run end unmeasured before them.
    is_watched = verbose or control.is_watching
    n_together = 1 if is_watched else n_beside(problem, n_init)
    losers = None
    if n_init > 1 and not is_watched and can_tell(problem, n_clusters):
        losers = Losers(problem)
    inits: list[npt.NDArray[np.float64]] = []
    starts: list[Start] = []
    for i in range(n_init):
        control.begin_run()
        if not inits:
            inits = seed(min(n_together, n_init - i))
            if i + n_together >= n_init:
                keeps_cells = uses_gaps(problem, n_clusters, max_iter, algorithm)
                problem.shared.end_seeding(keeps_cells=keeps_cells)
            starts = begin_beside(problem, inits, algorithm)
        init = inits.pop(0)
        if verbose:
            print("Initialization complete")
        candidate = run(
            problem,
            init,
            max_iter=max_iter,
            tol=tol,
            verbose=verbose,
            centroid_dtype=centroid_dtype,
            algorithm=algorithm,
            control=control,
            losers=losers,
            start=starts.pop(0) if starts else None,
        )
        if candidate is None:
            continue
        best = _better(best, candidate)
        if losers is not None:
            losers.least_inertia = best.inertia
        if control.end_run(candidate.attributes):
            break
    assert best is not None, "n_init is at least 1, and the first run beaten by none"
    return best


def _best_of_solos(
    problem: Problem,
    seed: Callable[[int], list[npt.NDArray[np.float64]]],
    n_init: int,
    **options: Any,
) -> Run:
    best: Run | None = None
    n_together = n_beside(problem, n_init)
    for begin in range(0, n_init, n_together):
        inits = seed(min(n_together, n_init - begin))
        if begin + n_together >= n_init:
            problem.shared.end_seeding(keeps_panels=True)
        for candidate in run_solo(problem, inits, **options):
            best = _better(best, candidate)
    assert best is not None, "n_init is at least 1"
    return best


def _better(best: Run | None, candidate: Run) -> Run:
    """Return the run to keep of the best so far and the next one."""
    if best is None or (
        candidate.inertia < best.inertia
        and not is_same_clustering(candidate.labels, best.labels, len(candidate.centroids))
    ):
        return candidate
    return best


def is_same_clustering(
    labels: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]], n_clusters: int
) -> bool:
    """Tell whether two label arrays group the rows alike, under whatever names.

    Parameters
    ----------
    labels, other : ndarray of shape (n,), int
        Labels in [0, n_clusters).
    n_clusters : int
        Bound of the labels.

    Returns
    -------
    is_same : bool
        True if one renaming of the labels, one to one, makes the arrays equal.
    """
    # If a renaming exists, then any row of a cluster shows its other name. Reading it off the last
    # row of each and back makes both directions functions: one to one.
    return _renames(labels, other, n_clusters) and _renames(other, labels, n_clusters)


def _renames(
    labels: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]], n_clusters: int
) -> bool:
    name_in_other = np.zeros(n_clusters, dtype=other.dtype)
    name_in_other[labels] = other
    return np.array_equal(name_in_other[labels], other)
