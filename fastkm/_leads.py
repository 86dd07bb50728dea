"""Whether to keep each row's lead: how much farther all other centroids are than its own.

While moves have not used it up the row keeps its label unread. All of it is proved, so the result
stays that of brute force.

References
----------
G. Hamerly (2010), "Making k-means even faster", SDM: one lower bound a row, kept over rounds.
J. Newling and F. Fleuret (2016), "Fast k-means with accurate bounds", ICML: only centroids near to
a row's own matter, the fewer the nearer the row.
"""

from typing import NamedTuple

import numpy as np

from . import _core
from ._problem import Problem

# Multiplications of a row in brute force that pay for its lead, as far as it is not left out. With
# few features rows are loaded at next to no cost, so that leaving them out spares nothing else.
LEAST_WORK, LEAST_WORK_OF_FEW_FEATURES, FEW_FEATURES = 60, 300, 4
# A round of brute force must take so many times as long as following the labels.
LEAST_GAIN = 20.0
MOST_CLUSTERS = 256
# The first round's moves use most leads up at once.
FIRST_START, LEAST_ROUNDS_LEFT = 2, 4


class Patience(NamedTuple):
    """When leads pause, and for how long."""

    too_dear: float  # share of the rows that a round must look at to cost more than without leads
    n_rounds: int  # so many such rounds on end
    fall: float  # in which that share falls by less than this part of it each
    pause: int  # until there have been so many times as many rounds


# Beside brute force, and beside products of bytes, which take half its time where they pay.
BESIDE_BRUTE_FORCE = Patience(too_dear=0.7, n_rounds=3, fall=0.05, pause=3)
BESIDE_BYTES = Patience(too_dear=0.4, n_rounds=1, fall=0.2, pause=6)


class RowLeads:
    """Starts leads after some rounds if they look worth it, and pauses them where they are not.

    Parameters
    ----------
    problem : Problem
    engine : _core.Engine
        Labels the points; told to use the leads.
    max_iter : int
        Most rounds of the run.
    algorithm : {"auto", "lloyd", "elkan"}
        Only "auto" uses leads.

    Notes
    -----
    Memory: 6 bytes a row.
    """

    def __init__(
        self, problem: Problem, engine: _core.Engine, max_iter: int, algorithm: str
    ) -> None:
        self._problem, self._engine = problem, engine
        self._is_candidate = algorithm == "auto" and is_promising(problem, engine.k, max_iter)
        self._leads: _core.Leads | None = None
        self._is_in_use = False
        self._n_rounds = self._n_dear = 0
        self._next_start = FIRST_START
        self._last_share = np.inf
        self._patience = BESIDE_BRUTE_FORCE

    def after_round(self) -> None:
        """Decide on the rounds to come."""
        if not self._is_candidate:
            return
        self._n_rounds += 1
        if self._is_in_use:
            self._judge()
        elif self._n_rounds >= self._next_start:
            self._start()

    def _start(self) -> None:
        problem = self._problem
        if self._leads is None:
            try:
                self._leads = _core.Leads(
                    problem.points, self._engine.k, problem.n_threads, problem.isa
                )
            except MemoryError:  # rounds need none
                self._is_candidate = False
                return
        self._engine.use_leads(self._leads)
        self._is_in_use, self._last_share = True, np.inf
        self._patience = BESIDE_BYTES if self._engine.pays_in_bytes else BESIDE_BRUTE_FORCE

    def _judge(self) -> None:
        assert self._leads is not None
        n_read, _ = self._leads.take_work()
        share = n_read / self._problem.n
        patience = self._patience
        is_dear = share > patience.too_dear and share > (1 - patience.fall) * self._last_share
        self._n_dear = self._n_dear + 1 if is_dear else 0
        self._last_share = share
        if self._n_dear == patience.n_rounds:
            self._engine.use_leads(None)
            self._is_in_use, self._n_dear = False, 0
            self._next_start = patience.pause * self._n_rounds


def is_promising(problem: Problem, k: int, max_iter: int) -> bool:
    """Tell whether brute force costs so much that leads may pay for themselves."""
    least = LEAST_WORK_OF_FEW_FEATURES if problem.d <= FEW_FEATURES else LEAST_WORK
    brute = _core.brute_work(k, problem.d)
    return (
        problem.can_be_sketched
        and 1 < k <= MOST_CLUSTERS
        and brute >= least
        and problem.n * brute >= LEAST_GAIN * _core.following_work(k, problem.d)
        and max_iter > LEAST_ROUNDS_LEFT
    )
