"""Seed small problems by greedy k-means++: a thread a run, and no Python between seeds.

Which rows are picked depends on the draws alone, and a run consumes as many whatever it picks. So
the draws of all runs are made before, in scikit-learn's order, and the runs are seeded side by
side. The rows are those that `Potential` leads to.
"""

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, Problem, Slices


def is_seeded_solo(problem: Problem, n_candidates: int) -> bool:
    """Tell whether `seed_solo` takes the problem."""
    return problem.is_small and n_candidates <= _core.MAX_CANDIDATES


def seed_solo(
    problem: Problem, firsts: list[int], uniforms: list[FloatArray]
) -> list[npt.NDArray[np.int64]]:
    """Pick the rows that each run starts from.

    Parameters
    ----------
    problem : Problem
        Small, see `Problem.is_small`.
    firsts : list of int
        Each run's first row.
    uniforms : list of float64 ndarrays of shape (n_seeds - 1, n_candidates)
        Each run's draws in [0, 1), a row for each further seed.

    Returns
    -------
    rows : list of int64 ndarrays of shape (n_seeds,)

    Notes
    -----
    Memory: 12 n bytes a run, and the points in float32, at most 1 MiB.
    """
    panels, n_seeds = problem.panels(), len(uniforms[0]) + 1
    rows = [np.full(n_seeds, first, dtype=np.int64) for first in firsts]
    seedings = [
        _core.SoloSeeding(problem.points, problem.frame, panels, *draws, problem.isa)
        for draws in zip(uniforms, rows, strict=True)
    ]
    together = _core.SoloSeedings(seedings, problem.n_threads)
    row_work = float(problem.n * problem.d) * uniforms[0].shape[1] * len(rows)
    for _, stop in Slices(n_seeds, 1, row_work / problem.n_threads):
        together.advance(stop)
    return rows
