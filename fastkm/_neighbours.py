"""Whether to label rows cell by cell, with the few centroids that can be nearest in each cell.

The rows are cut once, after the first round, into cells of near rows, each in a box. Which
centroids can be nearest to a point of a box is proved anew in each round, so the result stays that
of brute force.

References
----------
D. Pelleg and A. Moore (1999), "Accelerating exact k-means algorithms with geometric reasoning",
KDD: a centroid is out of a box if another one is nearer to all of it.
"""

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, LabelArray, Problem, Slices

# Cells of many features are wide, and what sketches leave out is more.
MOST_FEATURES = 63
LEAST_ROWS = 4096
# On fewer rows a label, cells are far from full.
LEAST_ROWS_A_LABEL = 64
LEAST_ROUNDS_LEFT = 5
# Multiplications of brute force that take as long as a row costs that is read from anywhere: so
# many, and so many for each feature, beside the products that are left. Of the fastest instruction
# set: on others multiplications take so many times as long, and reading a row does not. (NEON's
# is not measured: as wide as SSE2, with fused multiply-adds.)
WORK_OF_ROW, WORK_OF_FEATURE = 750.0, 75.0
TIME_OF_PRODUCT = {
    "avx512vnni": 1.0,
    "avx512": 1.0,
    "avx2": 1.7,
    "neon": 3.0,
    "sse2": 4.5,
    "portable": 5.7,
}
# A product that is left costs as much as so many of brute force: centroids are collected for it.
COST_OF_PRODUCT = 2.0
# Brute force's work must be so many times that of the rows, to pay for cutting them, and what is
# left, of some groups of cells and then of each round, no larger share of it.
LEAST_GAIN, TOO_DEAR = 3.0, 0.8
SAMPLED_GROUPS = 64
# "elkan" takes cells up to so many features, and sketches above.
FEW_FEATURES = 16


class Neighbourhoods:
    """Starts cells after the first round if they look worth it, and ends them where they are not.

    Parameters
    ----------
    problem : Problem
    engine : _core.Engine
        Labels the points; told to use the cells.
    max_iter : int
        Most rounds of the run.
    algorithm : {"auto", "lloyd", "elkan"}
        "lloyd" never starts them, "elkan" always does where there are few features, and keeps them.

    Notes
    -----
    Memory: 4 bytes a row and d / 8 for each row's share of its box; 6 more while rows are cut.
    """

    def __init__(
        self, problem: Problem, engine: _core.Engine, max_iter: int, algorithm: str
    ) -> None:
        self._problem, self._engine = problem, engine
        self._decides = algorithm == "auto"
        is_wanted = (algorithm == "elkan" and engine.k > 1 and problem.d <= FEW_FEATURES) or (
            self._decides and is_promising(problem, engine.k, max_iter)
        )
        self._is_candidate = is_wanted and problem.can_be_sketched
        self._cells: _core.Neighbours | None = None

    @property
    def takes_part(self) -> bool:
        """Whether cells are in use or will be, so that nothing else need be tried."""
        return self._is_candidate or self._cells is not None

    def after_round(self, centroids: FloatArray, labels: LabelArray) -> None:
        """Decide on the rounds to come; centroids are the next round's, labels the last round's."""
        if self._is_candidate:
            self._is_candidate = False
            self._start(centroids, labels)
        elif self._cells is not None and self._decides:
            n_products, _ = self._cells.take_work()
            self._judge(n_products / self._problem.n)

    def _start(self, centroids: FloatArray, labels: LabelArray) -> None:
        problem, engine = self._problem, self._engine
        cells = _core.Neighbours(
            problem.points, problem.frame, labels, engine.k, problem.n_threads, problem.isa
        )
        for start, stop in problem.slices(4):
            cells.find_parts(labels, start, stop)
        cells.cut()
        for start, stop in Slices(cells.n_cells, 1, 64.0 * 4 * problem.d):
            cells.enclose(start, stop)
        engine.set_centroids(centroids)
        engine.use_neighbours(cells)
        self._cells = cells
        if self._decides:
            self._judge(cells.expected_products(engine, SAMPLED_GROUPS))

    def _judge(self, n_products: float) -> None:
        share_left = n_products / self._engine.k
        brute = _core.brute_work(self._engine.k, self._problem.d)
        if _row_work(self._problem) + COST_OF_PRODUCT * share_left * brute > TOO_DEAR * brute:
            self._engine.use_neighbours(None)
            self._cells = None


def is_promising(problem: Problem, k: int, max_iter: int) -> bool:
    """Tell whether brute force costs so much that cells may pay for themselves."""
    return (
        problem.d <= MOST_FEATURES
        and _core.brute_work(k, problem.d) >= LEAST_GAIN * _row_work(problem)
        and problem.n >= max(LEAST_ROWS, LEAST_ROWS_A_LABEL * k)
        and max_iter > LEAST_ROUNDS_LEFT
    )


def _row_work(problem: Problem) -> float:
    work = WORK_OF_ROW + WORK_OF_FEATURE * float(problem.d)
    return work / TIME_OF_PRODUCT.get(problem.isa, 1.0)


def near_order(centroids: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Return the centroids' indices, near ones next to each other.

    They are halved over and over in the feature of the largest variance, down to whole tiles.
    """
    parts = [np.arange(len(centroids), dtype=np.int32)]
    while max(len(part) for part in parts) > _core.TILE_CENTROIDS:
        parts = [half for part in parts for half in _halves(centroids, part)]
    return np.concatenate(parts)


def _halves(
    centroids: npt.NDArray[np.floating], part: npt.NDArray[np.int32]
) -> list[npt.NDArray[np.int32]]:
    tile = _core.TILE_CENTROIDS
    if len(part) <= tile:
        return [part]
    places = centroids[part]
    with np.errstate(over="ignore", invalid="ignore"):
        widest = np.argmax(places.var(axis=0))
    ordered = part[np.argsort(places[:, widest], kind="stable")]
    middle = -(-len(part) // (2 * tile)) * tile
    return [ordered[:middle], ordered[middle:]]
