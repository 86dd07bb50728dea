"""The potential of k-means++: each point's squared distance to its nearest seed, and their sum.

All sums are in units of exact_scale squared, a power of two on which no choice of seeds depends.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, Problem, Slices
from ._seed_pruning import FIRST_CELL_SEED, Sketching, make_cells, uses_cells, uses_sketches


class Potential:
    """What seeds so far leave to gain, and what further seeds would.

    Notes
    -----
    O(n) memory, and 16 MiB at most for small problems' points in the kernel's order, or what
    `_seed_pruning` keeps to leave rows out. A proposal costs at most O(n d) per candidate in
    float32, and O(d) in float64 for each point that the accepted one may be nearer to than its
    nearest seed; for all candidates' points, where float32 leaves open which one is best.
    """

    def __init__(self, problem: Problem, n_seeds: int) -> None:
        self._n_seeds = n_seeds
        n_blocks = -(-problem.n // _core.BLOCK_ROWS)
        self._problem = problem
        self._weights = problem.relative_weights if problem.uniform_weight is None else None
        self._closest = np.full(problem.n, np.inf)
        self._masks = np.zeros(problem.n, dtype=np.uint32)
        self._block_sums = np.empty(n_blocks)
        self._seeders: dict[int, Any] = {}
        self._proposed: list[npt.NDArray[np.intp]] = []
        self._n_accepted = 0
        self._sketching = Sketching(problem, n_seeds)
        self._uses_cells = uses_cells(problem, n_seeds)
        self._cell_seeder: _core.CellSeeder | None = None

    def _seeder(self, n_candidates: int) -> Any:
        if n_candidates not in self._seeders:
            gains = np.empty((len(self._block_sums), n_candidates))
            arrays = self._closest, self._block_sums, self._masks, gains
            # Cells hold the points in the kernel's order already.
            n_seeds = 0 if self._uses_cells else self._n_seeds
            seeder = self._problem.seeder(n_seeds, self._weights, n_candidates, *arrays)
            self._seeders[n_candidates] = seeder
        return self._seeders[n_candidates]

    def _cells_of(self, seeder: _core.Seeder) -> _core.CellSeeder:
        shared = self._problem.shared
        if shared.cells is None:
            shared.cells = make_cells(self._problem)
        if self._cell_seeder is None or self._cell_seeder.seeder is not seeder:
            self._cell_seeder = _core.CellSeeder(shared.cells, seeder)
        return self._cell_seeder

    def _propose(self, rows: npt.NDArray[np.intp], *, exactly: bool) -> FloatArray:
        """Return the gains of at most MAX_CANDIDATES candidates, exact where that may matter."""
        seeder, candidates = self._seeder(len(rows)), self._problem.rows(rows)
        sketches = self._sketching.sketches(self._n_accepted)
        is_sketched = False
        if sketches is not None:
            n_measured = seeder.propose_sketched(sketches, rows, candidates)
            is_sketched = self._sketching.is_worth_it(self._n_accepted, n_measured, len(rows))
        if not is_sketched:
            if self._uses_cells and self._n_accepted >= FIRST_CELL_SEED:
                seeder = self._cells_of(seeder)
            seeder.propose(candidates)
        self._proposer = seeder
        if exactly:
            seeder.settle()
            return np.array(seeder.gains())
        return self._gains_that_decide(candidates, one_by_one=is_sketched)

    def _gains_that_decide(self, candidates: FloatArray, *, one_by_one: bool) -> FloatArray:
        """Return the proposed gains, made exact where the errors leave open which is largest."""
        seeder = self._proposer
        is_exact = np.zeros(len(candidates), dtype=bool)
        while True:
            gains = np.array(seeder.gains())
            # Beside the errors, the rounding of the sums and of the potentials they are taken from.
            margins = np.array(seeder.errors()) + 1e-10 * self.total
            best = int(np.argmax(gains))
            is_rival = ~(gains + margins < gains[best] - margins[best])
            is_same = (candidates == candidates[best]).all(axis=1)
            if np.all(is_same | ~is_rival):
                gains[is_same] = gains[best]  # as they are in float64, and the first of them counts
                return gains
            if np.all(is_exact | ~is_rival):
                return gains
            if not one_by_one:
                seeder.settle()
                return np.array(seeder.gains())
            # The likeliest first: exact, it mostly leaves no other.
            wanted = np.flatnonzero(is_rival & ~is_exact) if is_exact[best] else [best]
            seeder.settle(sum(1 << int(j) for j in wanted))
            is_exact[wanted] = True

    def _accept(self, candidate: int) -> float:
        self._proposer.accept(candidate)
        return self._accepted()

    def _accepted(self) -> float:
        self._n_accepted += 1
        if self._proposer is not self._cell_seeder:
            self._cell_seeder = None  # has missed this seed
        self._cumulative = np.cumsum(self._block_sums)
        self.total = float(self._cumulative[-1])
        return self.total

    def start(self, row: int) -> float:
        """Take the first seed and return the potential."""
        self._begin(row)
        return self._accept(0)

    def _begin(self, row: int) -> Any:
        self._proposer = self._seeder(1)
        self._proposer.begin(self._problem.rows([row]))
        return self._proposer

    def propose(self, rows: npt.NDArray[np.integer]) -> FloatArray:
        """Return the potential (len(rows),) that each row would leave as the next seed.

        The lowest is surely the lowest; float32 may have found the potentials.
        """
        groups = range(0, len(rows), _core.MAX_CANDIDATES)
        self._proposed = [
            np.asarray(rows[g : g + _core.MAX_CANDIDATES], dtype=np.intp) for g in groups
        ]
        several = len(groups) > 1
        gains = [self._propose(group, exactly=several) for group in self._proposed]
        return self.total - np.concatenate(gains)

    def accept(self, candidate: int) -> float:
        """Take that candidate of the last proposal as a seed and return the potential."""
        group, index = divmod(int(candidate), _core.MAX_CANDIDATES)
        if group + 1 < len(self._proposed):  # a later group of candidates has used the masks
            self._propose(self._proposed[group][index : index + 1], exactly=True)
            index = 0
        return self._accept(index)

    def picks(self, n_candidates: int) -> bool:
        """Tell whether `pick` takes so many candidates a seed."""
        return self._uses_cells and n_candidates <= _core.MAX_CANDIDATES

    def pick(
        self, uniforms: FloatArray, rows: npt.NDArray[np.int64], instead: int, n_picked: int
    ) -> None:
        """Write the seeds after the first n_picked, without Python between them.

        Parameters
        ----------
        uniforms : float64 ndarray of shape (n_seeds - 1, n_candidates)
            Draws in [0, 1), a row for each seed after the first.
        rows : int64 ndarray of shape (n_seeds,)
            The seeds; all those before are accepted already.
        instead : int
            The row to take where no potential is left.
        n_picked : int
            How many those are, at least 1.
        """
        n_candidates, problem = uniforms.shape[1], self._problem
        seeder = self._cells_of(self._seeder(n_candidates))
        row_work = float(problem.n * problem.d) * n_candidates / problem.n_threads
        for start, stop in Slices(len(rows) - n_picked, 1, row_work):
            seeder.pick(uniforms, rows, n_picked + start, n_picked + stop, instead)

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


def go_beside(problem: Problem, n_seeds: int, n_candidates: int) -> bool:
    """Tell whether several runs are seeded best in common passes: where each would read all of X.

    Where sketches or cells leave most rows out, the rows that are left differ from run to run.
    """
    return (
        problem.can_be_sketched
        and n_candidates <= _core.MAX_CANDIDATES
        and not uses_sketches(problem, n_seeds)
        and not uses_cells(problem, n_seeds)
    )


class Potentials:
    """The potentials of several runs, which take their seeds in turn.

    Parameters
    ----------
    problem : Problem
    n_seeds, n_candidates : int
        Seeds of each run, and candidates for each but the first.
    n_runs : int
        More than one only if they `go_beside`: then a pass over X serves them all.
    """

    def __init__(self, problem: Problem, n_seeds: int, n_candidates: int, n_runs: int) -> None:
        self._problem = problem
        self.of_runs = [Potential(problem, n_seeds) for _ in range(n_runs)]
        self._beside: _core.SeedersBeside | None = None
        if n_runs > 1:
            seeders = [potential._seeder(n_candidates) for potential in self.of_runs]
            self._beside = _core.SeedersBeside(seeders)

    def start(self, rows: list[int]) -> None:
        """Take each run's first seed."""
        if self._beside is None:
            for potential, row in zip(self.of_runs, rows, strict=True):
                potential.start(row)
            return
        begun = [one._begin(row) for one, row in zip(self.of_runs, rows, strict=True)]
        _core.SeedersBeside(begun).accept([0] * len(begun))
        for potential in self.of_runs:
            potential._accepted()

    def propose(self, rows: list[npt.NDArray[np.intp]]) -> list[FloatArray]:
        """Return what `Potential.propose` returns, for the candidates of each run."""
        if self._beside is None:
            return [one.propose(group) for one, group in zip(self.of_runs, rows, strict=True)]
        candidates = [self._problem.rows(group) for group in rows]
        self._beside.propose(candidates)
        left = []
        for potential, values in zip(self.of_runs, candidates, strict=True):
            potential._proposer = potential._seeder(len(values))
            gains = potential._gains_that_decide(values, one_by_one=False)
            left.append(potential.total - gains)
        return left

    def accept(self, indices: list[int]) -> None:
        """Take that candidate of each run's last proposal as a seed."""
        if self._beside is None:
            for potential, index in zip(self.of_runs, indices, strict=True):
                potential.accept(index)
            return
        self._beside.accept(indices)
        for potential in self.of_runs:
            potential._accepted()
