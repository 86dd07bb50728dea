"""CSR rows in place: a Problem whose passes take time in proportion to the entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse

from . import _core
from ._problem import FloatArray, LabelArray, Problem, Slices


def make_problem(
    X: Any,
    sample_weight: FloatArray | None = None,
    *,
    n_threads: int,
    isa: str | None = None,
) -> Problem:
    """Describe X, an ndarray as `Problem` takes it or CSR rows as `SparseProblem` does."""
    kind = SparseProblem if issparse(X) else Problem
    return kind(X, sample_weight, n_threads=n_threads, isa=isa)


class SparseProblem(Problem):
    """CSR rows where the user keeps them, described once.

    Parameters
    ----------
    X : csr_matrix or csr_array of shape (n, d), float32 or float64, columns int32 or int64
        Each row's columns ascending, without duplicates; never copied or written.
    sample_weight, n_threads, isa
        As `Problem` takes them.

    Notes
    -----
    O(entries + d) time and O(n + d) memory. Seeds, labels and the sums of unweighted rows have the
    bits that `Problem` gets from the same rows stored densely. Rows are not centred.
    """

    engine_class: Any = _core.SparseEngine
    batch_class: Any = _core.SparseBatch
    can_be_sketched = False
    is_small = False  # whose points have no panels

    def _take(self, X: Any) -> None:
        self.X = X
        starts = np.ascontiguousarray(X.indptr, dtype=np.int64)
        self.points = _core.SparsePoints(X.data, X.indices, starts, X.shape[1])
        self._row_values = max(1.0, self.points.n_entries / self.points.n)

    def rows(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the rows as a new float64 array of shape (len(indices), d)."""
        return np.ascontiguousarray(self.X[np.asarray(indices)].toarray(), dtype=np.float64)

    def _copy(self, indices: npt.NDArray[np.integer[Any]]) -> Any:
        return self.X[indices]

    def batch_of(self, n: int, k: int) -> tuple[Problem, Any]:
        """Make a batch as `Problem` does. Its X stays empty: only the core's rows are filled."""
        batch = self.of_rows(type(self.X)((n, self.d), dtype=self.X.dtype))
        batch._row_values = self._row_values
        return batch, _core.SparseBatch(batch.points, batch.engine(k), self.points)

    def _origin(self, step: int) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = self.X[np.arange(0, self.n, step)].mean(axis=0, dtype=np.float64)
        origin = np.array(mean, dtype=np.float64).ravel()
        origin[~np.isfinite(origin)] = 0.0
        return origin

    def _describe_segments(self, origin: FloatArray, moments: FloatArray) -> None:
        n_segments = len(moments)
        row_work = 8.0 * (self.d + self._row_values * self.n / n_segments)
        for start, stop in Slices(n_segments, 1, row_work):
            _core.describe_sparse(
                self.points, origin, moments, start, stop, self.n_threads, self.isa
            )

    def _is_finite_between(self, start: int, stop: int) -> bool:
        begin, end = self.X.indptr[start], self.X.indptr[stop]
        return bool(np.isfinite(self.X.data[begin:end]).all())

    def _choose_scales(
        self, shift_f32: npt.NDArray[np.float32], reach: float, largest: float
    ) -> None:
        super()._choose_scales(shift_f32, reach, largest)
        if self.uniform_weight is None:
            self.shift = np.zeros(self.d)  # weighted sums of entries alone

    def seeder(self, n_seeds: int, *arrays: Any) -> Any:
        """Make the seeder over the arrays of `Potential`."""
        seeder: Any = _core.SparseSeeder
        return seeder(self.points, self.frame, *arrays, self.n_threads, self.isa)

    def sq_dists_rounding(self) -> float:
        """Bound the relative error of `own_sq_dists`."""
        return max(2.0**-36, super().sq_dists_rounding())

    def settle_farthest(
        self, engine: Any, labels: LabelArray, sq_dists: FloatArray, n_rows: int
    ) -> None:
        """Give dense bits to the n_rows largest distances and all that might be among them."""
        n_rows = min(n_rows, len(sq_dists))
        least = np.partition(sq_dists, -n_rows)[-n_rows]
        # Of CSR rows' distances and dense ones': see `sq_dists_rounding`.
        near = np.flatnonzero((sq_dists >= least * (1 - 1e-7)) & (sq_dists >= 0))
        engine.own_sq_dists_as_dense(labels, near.astype(np.int64), sq_dists)
