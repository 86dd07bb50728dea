"""The first rounds of several runs in one pass: each row is loaded once, for all of them.

With few clusters a round mostly brings X from memory and into the kernel's order. Later rounds read
few rows, and not the same ones.
"""

from __future__ import annotations

import numpy as np

from . import _core
from ._filter import COST
from ._lloyd import ExactUpdate, Start
from ._problem import FloatArray, Problem

# Of a round, what loading X must be for a common pass to be worth its memory.
LEAST_SHARE = 0.25


def begin_beside(problem: Problem, inits: list[FloatArray], algorithm: str) -> list[Start]:
    """Label the points for the first time, for all runs in one pass; return the runs' starts.

    Parameters
    ----------
    problem : Problem
        The points, and their weights.
    inits : list of float64 ndarrays of shape (k, d)
        Where the runs start; not written.
    algorithm : {"auto", "lloyd", "elkan"}
        Of the runs.

    Returns
    -------
    starts : list of Start
        Empty where a common pass would gain little, or cannot be had: of one run, under weights, of
        many clusters, or where products of bytes or large sums are in the way.

    Notes
    -----
    O(n d) time to load the rows and O(n k d) a run. Memory: 4 n bytes and O(threads k d) a run.
    """
    k = len(inits[0])
    loading = COST.load / (COST.load + k * COST.product)
    if len(inits) == 1 or loading < LEAST_SHARE or not problem.can_be_sketched:
        return []
    for init in inits:  # all first: their engines share the scale
        problem.cover(init)
    starts, sums = [], []
    for init in inits:
        start = Start(problem, init, algorithm)
        update = start.update
        if not isinstance(update, ExactUpdate) or not update.sums.is_private:
            return []
        if start.engine.in_bytes:
            return []
        start.engine.set_centroids(start.centroids)
        starts.append(start)
        sums.append(update.sums)
    beside = _core.EnginesBeside([start.engine for start in starts])
    labels = [start.labels for start in starts]
    none = np.full(problem.n, -1, dtype=np.int32)
    for first, stop in problem.slices(len(starts) * k):
        beside.assign(labels, sums, none, first, stop)
    for start in starts:
        start.is_labelled = True
    return starts
