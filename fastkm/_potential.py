"""The potential of k-means++: each point's squared distance to its nearest seed, and their sum.

All sums are in units of exact_scale squared, a power of two on which no choice of seeds depends.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, Problem


class Potential:
    """What seeds so far leave to gain, and what further seeds would.

    Notes
    -----
    O(n) memory, and 16 MiB at most for small problems' points in the kernel's order. A proposal
    costs O(n d) per candidate in float32, and O(d) in float64 for each point that the accepted one
    may be nearer to than its nearest seed; for all candidates' points, where float32 leaves open
    which one is best.
    """

    def __init__(self, problem: Problem, n_seeds: int) -> None:
        self._n_seeds = n_seeds
        n_blocks = -(-problem.n // _core.BLOCK_ROWS)
        self._problem = problem
        self._weights = problem.relative_weights if problem.uniform_weight is None else None
        self._closest = np.full(problem.n, np.inf)
        self._masks = np.zeros(problem.n, dtype=np.uint32)
        self._block_sums = np.empty(n_blocks)
        self._seeders: dict[int, tuple[Any, FloatArray]] = {}
        self._proposed: list[npt.NDArray[np.intp]] = []

    def _seeder(self, n_candidates: int) -> tuple[Any, FloatArray]:
        if n_candidates not in self._seeders:
            problem = self._problem
            gains = np.empty((len(self._block_sums), n_candidates))
            arrays = self._closest, self._block_sums, self._masks, gains
            seeder = problem.seeder(self._n_seeds, self._weights, n_candidates, *arrays)
            self._seeders[n_candidates] = seeder, gains
        return self._seeders[n_candidates]

    def _gains(self, rows: npt.NDArray[np.intp]) -> FloatArray:
        seeder, gains = self._seeder(len(rows))
        seeder.propose(self._problem.rows(rows))
        return np.asarray(np.add.reduce(gains, axis=0))

    def _rough_gains(self, rows: npt.NDArray[np.intp]) -> FloatArray | None:
        """Gains sooner, where their errors leave no doubt who is best."""
        seeder, gains = self._seeder(len(rows))
        seeder.propose(self._problem.rows(rows), exactly=False)
        rough = np.asarray(np.add.reduce(gains, axis=0))
        # Beside the errors, the rounding of the sums and of the potentials they are taken from.
        margins = np.array(seeder.errors()) + 1e-10 * self.total
        best = int(np.argmax(rough))
        is_surely_less = rough + margins < rough[best] - margins[best]
        return rough if np.all(is_surely_less | (rows == rows[best])) else None

    def _accept(self, n_candidates: int, candidate: int) -> float:
        self._seeder(n_candidates)[0].accept(candidate)
        self._cumulative = np.cumsum(self._block_sums)
        self.total = float(self._cumulative[-1])
        return self.total

    def start(self, row: int) -> float:
        """Take the first seed and return the potential."""
        self._seeder(1)[0].begin(self._problem.rows([row]))
        return self._accept(1, 0)

    def propose(self, rows: npt.NDArray[np.integer]) -> FloatArray:
        """Return the potential (len(rows),) that each row would leave as the next seed.

        The lowest is surely the lowest; float32 may have found the potentials.
        """
        groups = range(0, len(rows), _core.MAX_CANDIDATES)
        self._proposed = [
            np.asarray(rows[g : g + _core.MAX_CANDIDATES], dtype=np.intp) for g in groups
        ]
        if len(groups) == 1:
            gains = self._rough_gains(self._proposed[0])
            if gains is not None:
                return self.total - gains
        return self.total - np.concatenate([self._gains(group) for group in self._proposed])

    def accept(self, candidate: int) -> float:
        """Take that candidate of the last proposal as a seed and return the potential."""
        group, index = divmod(int(candidate), _core.MAX_CANDIDATES)
        rows = self._proposed[group]
        if group + 1 < len(self._proposed):  # a later group of candidates has used the masks
            rows, index = rows[index : index + 1], 0
            self._gains(rows)
        return self._accept(len(rows), index)

    def draw(self, thresholds: FloatArray) -> npt.NDArray[np.intp]:
        """Return the first row at which the cumulative potential reaches each threshold."""
        n_blocks, block_rows = len(self._cumulative), _core.BLOCK_ROWS
        blocks = np.minimum(np.searchsorted(self._cumulative, thresholds), n_blocks - 1)
        before = np.where(blocks > 0, self._cumulative[blocks - 1], 0.0)
        rows = blocks[:, None] * block_rows + np.arange(block_rows)
        last = self._problem.n - 1
        shares = self._closest[np.minimum(rows, last)]
        if self._weights is not None:
            shares *= self._weights[np.minimum(rows, last)]
        is_below = before[:, None] + np.cumsum(shares, axis=1) < thresholds[:, None]
        in_block = np.minimum(np.count_nonzero(is_below, axis=1), block_rows - 1)
        picked: npt.NDArray[np.intp] = np.minimum(rows[:, 0] + in_block, last)
        return picked
