"""Whether to label the cells that seeding has kept by what is known of them from the last rounds.

The rows of a cell lie near each other, and so do the centroids of a tile. How much farther than the
rows' own centroids those of a tile are, at least, is a number a cell and tile, its gap; while the
centroids move less than that, the tile need not be looked at. All of it is proved, so the result
stays that of brute force.

References
----------
G. Hamerly (2010), "Making k-means even faster", SDM: bounds kept over rounds.
Y. Ding et al. (2015), "Yinyang k-means", ICML: one bound for a group of centroids.
"""

from . import _core
from ._neighbours import is_promising, near_order
from ._problem import FloatArray, LabelArray, Problem

LEAST_ROUNDS_LEFT = 2
# Rounds that compute more of the products than this cost what brute force does. After so many on
# end, the first of which looks at everything, gaps pause until there have been PAUSE times as many.
TOO_DEAR, MOST_DEAR_ROUNDS, PAUSE = 0.6, 2, 3


def uses_gaps(problem: Problem, k: int, max_iter: int, algorithm: str) -> bool:
    """Tell whether a run labels the problem's cells by gaps.

    Where rows are few beside centroids, cells made for the labels exclude more; see `_neighbours`.
    """
    return (
        problem.shared.cells is not None
        and algorithm == "auto"
        and max_iter > LEAST_ROUNDS_LEFT
        and not is_promising(problem, k, max_iter)
    )


class Gaps:
    """Starts gaps after the first round, if a run uses them, and pauses them where they are dear.

    Parameters
    ----------
    problem : Problem
    engine : _core.Engine
        Labels the points; told to use the gaps.
    centroids : float64 ndarray of shape (k, d)
        Where the run starts.
    max_iter : int
        Most rounds of the run.
    algorithm : {"auto", "lloyd", "elkan"}
        Only "auto" uses gaps.

    Notes
    -----
    Memory beside the cells: 4 bytes a row, and k / 96, or 1 if that is less, for the gaps.
    """

    def __init__(
        self,
        problem: Problem,
        engine: _core.Engine,
        centroids: FloatArray,
        max_iter: int,
        algorithm: str,
    ) -> None:
        self._engine = engine
        self._most_products = TOO_DEAR * problem.n * engine.k
        self._n_rounds = self._n_dear = 0
        self._next_start = 1
        self._is_in_use = False
        self._gaps: _core.CellGaps | None = None
        if problem.shared.cells is not None and uses_gaps(problem, engine.k, max_iter, algorithm):
            order = near_order(centroids)
            self._gaps = _core.CellGaps(problem.shared.cells, order, problem.n_threads, problem.isa)

    @property
    def take_part(self) -> bool:
        """Whether there are gaps, so that nothing else need be tried."""
        return self._gaps is not None

    def after_round(self, labels: LabelArray) -> None:
        """Decide on the rounds to come; labels are the last round's."""
        if self._gaps is None:
            return
        self._n_rounds += 1
        if self._is_in_use:
            self._judge(self._gaps.take_work()[0])
        elif self._n_rounds >= self._next_start:
            self._engine.use_gaps(self._gaps, labels)
            self._is_in_use = True

    def _judge(self, n_products: int) -> None:
        self._n_dear = self._n_dear + 1 if n_products > self._most_products else 0
        if self._n_dear == MOST_DEAR_ROUNDS:
            self._engine.use_gaps(None)
            self._is_in_use, self._n_dear = False, 0
            self._next_start = PAUSE * self._n_rounds
