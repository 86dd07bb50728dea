"""X in place and what every pass over it needs: its moments, its coordinates, its threads."""

import copy
import math
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._shared import Shared

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int32]

# A slice of rows is one call without the GIL, and so the longest wait for Ctrl-C.
SLICE_SECONDS = 0.025
# First guess of the multiplications per second, low so that the first slice is short.
FIRST_RATE = 2e9
MAX_SEGMENTS = 64
SEGMENT_ROWS = 1024
SEGMENT_VALUES = 65536
SAMPLE_ROWS = 64
# Largest weights between 2^-this and 2^this keep their products with values within float64's range.
MODERATE_EXPONENT = 32
# Points are kept in the kernel's order up to 16 MiB in float32, and for so many seeds: fresh memory
# costs what some ten passes save.
_MOST_KEPT_VALUES = 2**22
_LEAST_SEEDS_TO_KEEP_FOR = 16
# Squares of smaller numbers can be summed over 2^31 features.
MOST_SQUARED = 2.0**480
# Kept points of at most 1 MiB stay in half of a core's second-level cache.
_MOST_SMALL_VALUES = 2**18
# Distances that are summed before the next are measured: they stay in cache.
_ROWS_SUMMED_AT_ONCE = 2**16

# Products of bytes are for passes beside which a try in vain is short, and are tried where they
# cost at most this share of brute force; what they leave to measure decides on the rest.
_LEAST_BYTE_ROWS, _WORTH_BYTES = 16384, 0.8


class Slices:
    """Ranges of equal tasks that take about SLICE_SECONDS each; every one is timed for the next.

    Parameters
    ----------
    n : int
        Number of rows.
    granule : int
        Every start is a multiple of it, so that slicing leaves the order of float64 sums as it is.
    row_work : float
        Number of multiplications per row.
    """

    def __init__(self, n: int, granule: int, row_work: float) -> None:
        self._n, self._granule = n, granule
        self._granule_work = granule * row_work
        self._rate = FIRST_RATE

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) over all rows; the time until the next is asked for sets its size."""
        start = 0
        while start < self._n:
            n_granules = max(1, int(SLICE_SECONDS * self._rate / self._granule_work))
            stop = min(self._n, start + n_granules * self._granule)
            begun = perf_counter()
            yield start, stop
            seconds = max(perf_counter() - begun, 1e-6)
            self._rate = self._granule_work / self._granule * (stop - start) / seconds
            start = stop


def _exponent(magnitude: npt.ArrayLike) -> npt.NDArray[np.intc]:
    """Return the least e with magnitude < 2^e; 0 for 0."""
    return np.frexp(magnitude)[1]


def keeps_panels(points: _core.Points, n_seeds: int) -> bool:
    """Tell whether seeding keeps the points in the kernel's order, not to load them each time."""
    return n_seeds >= _LEAST_SEEDS_TO_KEEP_FOR and points.n * points.d <= _MOST_KEPT_VALUES


class Problem:
    """X where the user keeps it, described once.

    Parameters
    ----------
    X : ndarray of shape (n, d), any native real dtype and strides; never copied or written
    sample_weight : float64 ndarray of shape (n,), or None
    n_threads : int, at least 1
    isa : str, optional
        Name of the instruction set; by default the one chosen at import.

    Attributes
    ----------
    mean, variance : float64 ndarrays of shape (d,)
        Of the columns, unweighted; the variance divides by n.
    relative_weights : float64 ndarray of shape (n,), or None
        `sample_weight`, or where that is very large or small a power of two times it.
    sq_moment : float
        Sum of the squared differences of all values from an origin near the data, as computed: what
        the rounding of `variance` is measured by.
    is_finite : bool
        False if any value is NaN or infinite; nothing else may then be asked.
    shared : Shared
        What else the runs of a fit share; made as they need it.

    Notes
    -----
    One pass over X, O(n d) time and O(d) memory. All of it depends on X's values alone, not on its
    dtype, its layout or `n_threads`.
    """

    # What a Problem of another kind of rows replaces.
    engine_class: Any = _core.Engine
    batch_class: Any = _core.Batch
    can_be_sketched = True  # whether its engine takes a filter

    def __init__(
        self,
        X: Any,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int,
        isa: str | None = None,
    ) -> None:
        self.n_threads = n_threads
        self.isa = _core.DEFAULT_ISA if isa is None else isa
        self._hold(X, sample_weight)
        self._describe()

    def _hold(self, X: Any, sample_weight: FloatArray | None) -> None:
        self._take(X)
        self.n, self.d = self.points.n, self.points.d
        self.sample_weight = sample_weight
        self._slices: dict[int, Slices] = {}
        self.shared = Shared()
        # Equal weights change nothing but the inertia, so they need not be carried along.
        self.uniform_weight: float | None = 1.0
        if sample_weight is not None:
            is_uniform = bool(np.all(sample_weight == sample_weight[0]))
            self.uniform_weight = float(sample_weight[0]) if is_uniform else None
        # For means and draws, which do not depend on the weights' scale.
        self.relative_weights, self._weight_exponent = sample_weight, 0
        if sample_weight is not None and self.uniform_weight is None:
            exponent = int(_exponent(sample_weight.max()))
            if abs(exponent) > MODERATE_EXPONENT:
                self._weight_exponent = exponent
                self.relative_weights = np.ldexp(sample_weight, -exponent)

    def of_rows(
        self, X: npt.NDArray[np.generic], sample_weight: FloatArray | None = None
    ) -> "Problem":
        """Return the problem of some of this one's rows, at most n of them, without a pass.

        X holds them now or will when it is read. Moments and coordinates stay those of all rows.
        """
        problem = copy.copy(self)
        problem._hold(X, sample_weight)
        return problem

    def part(self, indices: npt.NDArray[np.integer[Any]]) -> "Problem":
        """Copy rows, with their weights, into a problem of their own."""
        weights = self.sample_weight
        return self.of_rows(self._copy(indices), None if weights is None else weights[indices])

    def _copy(self, indices: npt.NDArray[np.integer[Any]]) -> Any:
        copied = np.empty((len(indices), self.d), dtype=self.X.dtype)
        rows = np.ascontiguousarray(indices, dtype=np.int64)
        _core.gather(self.points, rows, copied.view(np.uint8), self.n_threads, self.isa)
        return copied

    def _take(self, X: Any) -> None:
        self.X = X
        self.points: Any = _core.Points(X)
        self._row_values = float(self.points.d)  # values of a row that a pass reads, on average

    def rows(self, indices: npt.ArrayLike) -> FloatArray:
        """Return the rows as a new float64 array of shape (len(indices), d)."""
        return np.ascontiguousarray(self.X[np.asarray(indices)], dtype=np.float64)

    def _describe(self) -> None:
        """Find the columns' moments, whether all values are finite, and the coordinates."""
        n, d = self.n, self.d
        # Near the data, so that the sums of squares do not cancel.
        origin = self._origin(-(-n // SAMPLE_ROWS))
        n_segments = max(1, min(MAX_SEGMENTS, -(-n // SEGMENT_ROWS), SEGMENT_VALUES // d))
        moments = np.empty((n_segments, 4, d))
        self._describe_segments(origin, moments)
        with np.errstate(over="ignore"):
            self.sq_moment = float(moments[:, 1].sum())
        # Limbs below 2^50 in magnitude, whose sum over all rows stays below 2^63.
        n_bits = min(50, 62 - math.ceil(math.log2(max(n, 2))))
        self.low_scale = math.ldexp(1.0, n_bits)
        columns, shift_f32 = np.empty((4, d)), np.empty(d, dtype=np.float32)
        self.is_finite, reach, largest = _core.join_moments(
            moments, n, origin, n_bits, columns, shift_f32, self.isa
        )
        # A sum of finite values may overflow; only then do the values themselves have to be asked.
        self.is_finite = self.is_finite or all(
            self._is_finite_between(n * s // n_segments, n * (s + 1) // n_segments)
            for s in np.flatnonzero(~np.isfinite(moments[:, 0]).all(axis=1))
        )
        self.mean, self.variance, self.shift, self.sum_scale = columns
        if self.is_finite:
            self._choose_scales(shift_f32, reach, largest)

    def _origin(self, step: int) -> FloatArray:
        origin = np.empty(self.d)
        _core.find_origin(self.points, step, origin, self.isa)
        return origin

    def _describe_segments(self, origin: FloatArray, moments: FloatArray) -> None:
        n_segments = len(moments)
        for start, stop in Slices(n_segments, 1, 8.0 * self.d * self.n / n_segments):
            _core.describe(self.points, origin, moments, start, stop, self.n_threads, self.isa)

    def _is_finite_between(self, start: int, stop: int) -> bool:
        return bool(np.isfinite(self.X[start:stop]).all())

    def _choose_scales(
        self, shift_f32: npt.NDArray[np.float32], reach: float, largest: float
    ) -> None:
        """Scale for float32, whose squares must neither vanish nor overflow.

        A power of two changes no other bit.
        """
        narrow = self.points.is_narrow
        exponent, limit = math.frexp(reach)[1], 126 if narrow else 1000
        self.scale = math.ldexp(1.0, max(-limit, min(limit, -exponent)))
        self._largest_exponent = math.frexp(largest)[1]
        # Nor may a value that is large beside its reach.
        is_extreme = abs(exponent) > 400
        exact_exponent = max(-limit, min(limit, -exponent, limit - self._largest_exponent))
        self.exact_scale = math.ldexp(1.0, exact_exponent) if is_extreme else 1.0
        kernel_shift = shift_f32.astype(np.float64) if narrow else self.shift
        self._shifts = kernel_shift, shift_f32
        self.frame = _core.Frame(*self._shifts, self.scale, self.exact_scale)
        self._own_frame, self._own_exact_scale = self.frame, self.exact_scale

    def cover(self, centroids: FloatArray, *, each: bool = False) -> None:
        """Scale points up no farther, or so far down, that squares of these centroids are finite.

        Before an engine is made. Without `each` the smallest of them decides: it stays finite, and
        so does whatever is nearer. Otherwise all do, though small differences then vanish sooner.
        """
        most = MOST_SQUARED
        if self.exact_scale <= 1 and centroids.max() < most and centroids.min() > -most:
            return
        sizes = np.abs(centroids).max(axis=1)
        size = float(sizes.max() if each else sizes.min())
        if size == 0:
            return
        exponent = math.frexp(MOST_SQUARED)[1] - math.frexp(size)[1]
        scale = math.ldexp(1.0, max(-1000, min(1000, exponent)))
        if scale < self.exact_scale:
            self.exact_scale = scale
            self.frame = _core.Frame(*self._shifts, self.scale, self.exact_scale)
            self.shared = Shared(n_runs=self.shared.n_runs)

    @property
    def is_covered(self) -> bool:
        """Whether `cover` had to scale the points down."""
        return self.exact_scale != self._own_exact_scale

    def uncovered(self) -> "Problem":
        """Return this problem with its points scaled as is best for centroids among them."""
        problem = copy.copy(self)
        problem.frame, problem.exact_scale = self._own_frame, self._own_exact_scale
        problem.shared = Shared(n_runs=self.shared.n_runs)
        return problem

    def scale_of_weighted_sums(self) -> float:
        """Return a power of two, mostly 1, under which no sum of weighted rows overflows."""
        heaviest = 1.0
        if self.uniform_weight is None:
            assert self.relative_weights is not None
            heaviest = float(self.relative_weights.max())
        exponents = self._largest_exponent, math.frexp(heaviest)[1], math.frexp(self.n)[1]
        return math.ldexp(1.0, min(0, 1020 - sum(exponents)))

    def mean_variance(self) -> float:
        """Return what ``np.mean(variance)`` does, at a quarter of its time."""
        mean: float = float(np.add.reduce(self.variance)) / self.d
        return mean

    def engine(self, k: int) -> Any:
        """Make the engine that labels the points under k centroids."""
        engine = self.engine_class(self.points, self.frame, k, self.n_threads, self.isa)
        if (
            self.can_be_sketched
            and self.n >= _LEAST_BYTE_ROWS
            and engine.least_share_in_bytes < _WORTH_BYTES
        ):
            engine.use_bytes()
        return engine

    def batch(self, k: int) -> Any:
        """Make what lets k centroids learn from all rows, where they stand, as one batch."""
        return self.batch_class(self.points, self.engine(k))

    def batch_of(self, n: int, k: int) -> "tuple[Problem, Any]":
        """Make a batch that n of the rows, each of weight 1, are gathered into, and its problem."""
        memory = np.empty((n, self.d), dtype=self.X.dtype)
        batch = self.of_rows(memory)
        engine = batch.engine(k)
        return batch, _core.Batch(batch.points, engine, self.points, memory.view(np.uint8))

    @property
    def is_small(self) -> bool:
        """Whether a run or a seeding is done best by one thread, on points of its core's cache."""
        return self.n * self.d <= _MOST_SMALL_VALUES and self.uniform_weight is not None

    def panels(self) -> _core.Panels:
        """Return the points in the kernel's order, which are kept until seeding ends."""
        shared = self.shared
        if shared.panels is None:
            shared.panels = _core.Panels(self.points, self.frame, self.n_threads, self.isa)
        return shared.panels

    def seeder(self, n_seeds: int, *arrays: Any) -> Any:
        """Make the seeder over the arrays of `Potential`, for so many seeds."""
        panels = self.panels() if keeps_panels(self.points, n_seeds) else self.shared.panels
        seeder: Any = _core.Seeder
        return seeder(self.points, self.frame, panels, *arrays, self.n_threads, self.isa)

    def settle_farthest(
        self, engine: Any, labels: LabelArray, sq_dists: FloatArray, n_rows: int
    ) -> None:
        """Make the order of the n_rows largest distances final; here it is."""

    def slices(self, k: int) -> Slices:
        """Return slices of rows for a pass over k centroids, with the pace learnt so far."""
        if k not in self._slices:
            self._slices[k] = Slices(self.n, _core.BLOCK_ROWS, k * self._row_values)
        return self._slices[k]

    def own_sq_dists(self, engine: _core.Engine, labels: LabelArray) -> FloatArray:
        """Return squared distances (n,) to the labels' centroids, in exact_scale squared."""
        sq_dists = np.empty(self.n)
        for start, stop in self.slices(4):
            engine.own_sq_dists(labels, sq_dists[start:stop], start, stop)
        return sq_dists

    def sq_dists_rounding(self) -> float:
        """Bound the relative error of `own_sq_dists`."""
        return float((self.d + 4) * 2.0**-52)

    def sq_rounding_of_means(self) -> float:
        """Bound a weighted mean's squared distance to the exact one, in exact_scale squared.

        Of n additions each rounds a sum of values within the reach of the data, 1 / scale.
        """
        rounding = (self.n + 4) * 2.0**-52 / self.scale * self.exact_scale
        return float(self.d * rounding**2)

    def inertia(self, labels: LabelArray, centroids: npt.NDArray[np.floating[Any]]) -> float:
        """Return the weighted sum of the squared distances to the labels' centroids."""
        engine = self.engine(len(centroids))
        engine.set_centroids(np.ascontiguousarray(centroids, dtype=np.float64))
        return self.inertia_under(engine, labels)

    def inertia_under(self, engine: Any, labels: LabelArray) -> float:
        """Return the same under the engine's centroids; O(1) memory."""
        sq_dists = np.empty(min(self.n, _ROWS_SUMMED_AT_ONCE))
        sums = []
        for start, stop in self.slices(4):
            for begin in range(start, stop, len(sq_dists)):
                end = min(begin + len(sq_dists), stop)
                here = sq_dists[: end - begin]
                engine.own_sq_dists(labels, here, begin, end)
                sums.append(self._sums_of_blocks(here, begin))
        return self._total(np.concatenate(sums))

    def weighted_sum(self, sq_dists: FloatArray) -> float:
        """Sum all rows' squared distances, in units of exact_scale squared, under the weights.

        Sums of blocks in a fixed order, then their exactly rounded sum: independent of threads.
        """
        return self._total(self._sums_of_blocks(sq_dists, 0))

    def _sums_of_blocks(self, sq_dists: FloatArray, start: int) -> FloatArray:
        """Sum, under the weights, the squared distances of whole blocks from row start on."""
        if self.uniform_weight is None:
            assert self.relative_weights is not None
            weights = self.relative_weights[start : start + len(sq_dists)]
            weighted = np.zeros(len(sq_dists))
            # An infinite distance of no weight is nothing.
            np.multiply(sq_dists, weights, out=weighted, where=weights > 0)
            sq_dists = weighted
        sums: FloatArray = np.add.reduceat(sq_dists, np.arange(0, len(sq_dists), _core.BLOCK_ROWS))
        return sums

    def _total(self, sums: FloatArray) -> float:
        weight = 1.0 if self.uniform_weight is None else self.uniform_weight
        total = math.fsum(sums)
        # All powers of two at once: squares may be out of range that weights bring back.
        mantissa, exponent = math.frexp(weight)
        exponent += self._weight_exponent - 2 * (math.frexp(self.exact_scale)[1] - 1)
        with np.errstate(over="ignore", under="ignore"):
            return float(np.ldexp(total * mantissa, exponent))
