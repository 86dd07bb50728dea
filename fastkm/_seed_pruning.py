"""What k-means++ need not look at: rows that sketches or cells show to be far from a candidate.

Many features: sketches bound the distances of rows one by one, and where those leave them open,
codes of a byte a value tell the candidates' gains but for a little. Few features: rows are sorted
into cells of neighbours, and the box around a cell bounds those of all its rows. Either way the
seeds are the same; both are shared by the runs of a fit.
"""

import numpy as np
import numpy.typing as npt

from . import _core
from ._filter import COST, leading_directions, sample_rows
from ._problem import Problem, keeps_panels

# With fewer rows or seeds, what is made first costs more than it spares.
LEAST_ROWS = 4096
LEAST_SEEDS = 32
# The first seeds are near to most rows.
FIRST_SKETCHED_SEED = 6
FIRST_CELL_SEED = 1
# A quarter of d and at most 96: more directions cost as much time as they spare.
MOST_DIRECTIONS, LEAST_DIRECTIONS = 96, 12
# What a row's bounds cost, measuring a pair of a row and a candidate by codes, and each feature of
# it, in ns as `_filter.Cost` has them (MNIST and the embeddings).
COST_OF_BOUNDS, COST_OF_CODES, COST_OF_CODE = 25.0, 25.0, 0.075
# Codes reach this much farther than the sampled rows do, in steps whose squares float32 can hold.
HEADROOM = 1.15
LEAST_STEP, MOST_STEP = 2.0**-40, 2.0**40
# The cells hold the points in float32, up to 64 MiB, and the rows too where both take no more:
# accepted rows are read time and again, and lie anywhere in X. Boxes exclude little in more
# dimensions.
MOST_CELL_BYTES = 2**26
MOST_CELL_FEATURES = 48
# A leaf of the tree that sorts has about this many rows; the tree is made from a sample.
LEAF_ROWS = 96
SAMPLED_ROWS_PER_LEAF = 4


def n_directions(problem: Problem) -> int:
    """Return how many directions sketches of the problem may have: whole tiles of 6."""
    most = min(MOST_DIRECTIONS, int(problem.d) // 4 - 3)
    return most - most % 6


def uses_sketches(problem: Problem, n_seeds: int) -> bool:
    """Tell whether seeding tries sketches."""
    return (
        problem.can_be_sketched
        and n_seeds >= LEAST_SEEDS
        and problem.n >= LEAST_ROWS
        and n_directions(problem) >= LEAST_DIRECTIONS
        and not keeps_panels(problem.points, n_seeds)
    )


def uses_cells(problem: Problem, n_seeds: int) -> bool:
    """Tell whether seeding sorts the rows into cells."""
    return (
        problem.can_be_sketched
        and n_seeds >= LEAST_SEEDS
        and problem.n >= LEAST_ROWS
        and problem.d <= MOST_CELL_FEATURES
        and 4 * problem.n * problem.d <= MOST_CELL_BYTES
    )


class Sketching:
    """Sketches of the rows, from that seed on from which they exclude most of the work."""

    def __init__(self, problem: Problem, n_seeds: int) -> None:
        self._problem = problem
        self._next_try: float = FIRST_SKETCHED_SEED if uses_sketches(problem, n_seeds) else np.inf

    def sketches(self, n_accepted: int) -> _core.Sketches | None:
        """Return the sketches to propose with after so many seeds, or None to do without."""
        if n_accepted < self._next_try:
            return None
        shared = self._problem.shared
        if shared.codes is None:
            shared.codes = make_sketches(self._problem)
            if shared.codes is None:
                self._next_try = np.inf
        return shared.codes

    def is_worth_it(self, n_accepted: int, n_measured: int, n_candidates: int) -> bool:
        """Tell whether so many pairs measured cost less than all; if not, wait for twice the seeds.

        Costs are a pair's: a row is loaded for all candidates.
        """
        problem = self._problem
        brute_force = COST.brute_force(1, problem.d, n_candidates) / n_candidates
        spared = brute_force - COST_OF_BOUNDS / n_candidates
        share = n_measured / (problem.n * n_candidates)
        if share * (COST_OF_CODES + COST_OF_CODE * problem.d) <= spared:
            return True
        self._next_try = 2 * n_accepted
        return False


def make_sketches(problem: Problem) -> _core.Sketches | None:
    """Encode all rows and their sketches, in one pass; None without directions or room."""
    sample = sample_rows(problem)
    basis = leading_directions(problem, sample, n_directions(problem))
    if basis.shape[1] == 0:
        return None
    inside = np.empty((len(sample), basis.shape[1]), dtype=np.float32)
    _core.multiply(sample, _core.Basis(basis), inside, problem.n_threads, problem.isa)
    sq_rests = (sample * sample).sum(axis=1) - (inside * inside).sum(axis=1)
    reaches = np.append(np.abs(inside).max(axis=0), np.sqrt(np.maximum(sq_rests, 0)).max())
    reach = np.abs(sample).max()
    # Of what overflowed nothing is known but that it is open.
    steps = np.fmin(np.fmax(np.append(reaches, reach) * (HEADROOM / 127), LEAST_STEP), MOST_STEP)
    steps = steps.astype(np.float32)
    threads = problem.n_threads, problem.isa
    try:
        sketches = _core.Sketches(
            problem.points, problem.frame, basis, steps[:-1], steps[-1], *threads
        )
    except MemoryError:  # seeding needs none
        return None
    for start, stop in problem.slices(basis.shape[1]):
        sketches.fill(start, stop)
    return sketches


def make_cells(problem: Problem) -> _core.Cells:
    """Sort all rows into cells: two passes."""
    features, thresholds = _median_splits(problem)
    leaves = np.empty(problem.n, dtype=np.uint16)
    threads = problem.n_threads, problem.isa
    for start, stop in problem.slices(8):
        _core.sort_rows(problem.points, features, thresholds, leaves, start, stop, *threads)
    order = np.empty(problem.n, dtype=np.int32)
    _core.order_by_leaf(leaves, len(features), order)
    cells = _empty_cells(problem, order)
    for start, stop in problem.slices(8):
        cells.fill(start, stop)
    return cells


def _empty_cells(problem: Problem, order: npt.NDArray[np.int32]) -> _core.Cells:
    row_bytes = problem.d * (4 + problem.X.dtype.itemsize)
    arguments = problem.points, problem.frame, order
    threads = problem.n_threads, problem.isa
    if problem.n * row_bytes <= MOST_CELL_BYTES:
        try:
            return _core.Cells(*arguments, True, *threads)
        except MemoryError:  # seeding needs no copy
            pass
    return _core.Cells(*arguments, False, *threads)


def _median_splits(problem: Problem) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Split an even sample at medians of the widest features; see `_core.sort_rows`."""
    depth = max(0, min(16, int(np.log2(problem.n / LEAF_ROWS))))
    n_sampled = min(SAMPLED_ROWS_PER_LEAF << depth, problem.n >> depth << depth)
    chosen = np.arange(n_sampled) * (problem.n // n_sampled)
    features = np.zeros(1 << depth, dtype=np.int32)
    thresholds = np.zeros(1 << depth)
    threads = problem.n_threads, problem.isa
    _core.split_rows(problem.points, chosen, depth, features, thresholds, *threads)
    return features, thresholds
