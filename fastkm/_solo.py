"""Run k-means on small problems: many rounds between two steps of Python.

A round of a small problem takes less time than Python's part of it, and less than waking a second
thread. So whole rounds run in the core, over points that stay in the cores' caches in the kernel's
order. Several runs go side by side, a thread each; the threads of one run share its rows, and stay
awake from round to round. The bits are those of `_lloyd.run`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from . import _core, _lloyd
from ._lloyd import Run, fill_empty
from ._problem import FloatArray, Problem, Slices

# Multiplications of a round above which a run alone is better off with all threads, and those above
# which runs beside each other are: there, a round may do with fewer products.
MOST_WORK_ALONE, MOST_WORK = 6e6, 2e7
# Work of a round, in multiplications, from which a thread is worth the waiting for it: 5 us, where
# two threads wait twice 0.3.
LEAST_SHARE = 3e5
# Of brute force's cost, below which products of bytes are tried.
WORTH_BYTES = 0.7
# Labels and distances of runs side by side take at most 16 bytes times this.
MOST_LABELS = 2**20


def is_solo(problem: Problem, k: int, n_runs: int, algorithm: str) -> bool:
    """Tell whether the runs are to take a thread each."""
    work = problem.n * problem.d * k
    is_cheap = work < (MOST_WORK_ALONE if n_runs == 1 else MOST_WORK)
    return is_cheap and problem.is_small and algorithm != "elkan"


def n_sharing(problem: Problem, k: int) -> int:
    """Return how many threads are to share the rows of one run."""
    n_worth = int(problem.n * _core.row_work(k, problem.d) // LEAST_SHARE)
    return min(problem.n_threads, max(1, n_worth))


def n_beside(problem: Problem, n_runs: int) -> int:
    """Return how many of the runs to take side by side."""
    return min(n_runs, max(problem.n_threads, int(MOST_LABELS // problem.n)))


def run_solo(
    problem: Problem,
    inits: list[FloatArray],
    *,
    max_iter: int,
    tol: float,
    centroid_dtype: npt.DTypeLike,
) -> list[Run]:
    """Run Lloyd's algorithm from each start, on a thread each; from one start, on several threads.

    Parameters
    ----------
    problem, max_iter, tol, centroid_dtype
        As `_lloyd.run` takes them.
    inits : list of float64 ndarrays of shape (k, d)
        Where the runs start; not written.

    Returns
    -------
    runs : list of Run
        What `_lloyd.run` returns from each start, bit for bit.

    Notes
    -----
    O(n k d) time a round and run. Memory: the points once more in float32, at most 1 MiB, and
    where products of bytes may pay a quarter of that and 16 n bytes; 16 n bytes and O(k d) a run,
    and O(k d), at most 1 MiB, a thread that shares a run's rows.
    """
    for init in inits:
        problem.cover(init)
    if problem.is_covered:  # which no run remains
        run_alone = partial(_lloyd.run, max_iter=max_iter, tol=tol, centroid_dtype=centroid_dtype)
        return [ended for init in inits if (ended := run_alone(problem, init))]
    panels = problem.panels()
    if panels.least_share_in_bytes(len(inits[0])) < WORTH_BYTES:
        panels.encode()
    sq_dists = [np.empty(problem.n) for _ in inits]
    n_threads_of_run = n_sharing(problem, len(inits[0])) if len(inits) == 1 else 1
    runs = [
        _core.SoloRun(
            problem.points,
            problem.frame,
            panels,
            problem.sum_scale,
            problem.low_scale,
            (np.array(init, dtype=np.float64, order="C"), np.empty(init.shape)),
            (np.full(problem.n, -1, dtype=np.int32), np.empty(problem.n, dtype=np.int32)),
            sq_dists[i],
            tol,
            n_threads_of_run,
            problem.isa,
        )
        for i, init in enumerate(inits)
    ]
    together = _core.SoloRuns(runs, problem.n_threads)
    row_work = float(problem.n) * problem.d * len(inits[0])
    for _, stop in Slices(max_iter, 1, row_work * len(runs) / problem.n_threads):
        together.advance(stop)
        while broken := [run for run in runs if run.is_to_repair]:
            for run in broken:
                _repair(problem, run)
            together.advance(stop)
        if all(run.is_over for run in runs):
            break
    together.finish(centroid_dtype == np.float32)
    return [
        Run(
            run.labels,
            run.centroids.astype(centroid_dtype),
            problem.weighted_sum(sq_dists[i]),
            run.n_iter,
            run.is_strict,
        )
        for i, run in enumerate(runs)
    ]


def _repair(problem: Problem, run: _core.SoloRun) -> None:
    counts = np.empty(len(run.centroids), dtype=np.int64)
    run.counts(counts)
    engine = problem.engine(len(counts))
    engine.set_centroids(run.labelled_by)
    fill_empty(problem, engine, run.labels, counts, run.centroids)
