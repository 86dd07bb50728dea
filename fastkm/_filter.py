"""Whether to leave out distances that sketches exclude, and in which directions to sketch.

None of this changes a bit of the result: the filter's bounds are proved, so it only decides what
need not be computed.

References
----------
Bottesch, Bühler and Kächele (2016), "Speeding up k-means by approximating Euclidean distances via
block vectors", ICML: lower bounds by Cauchy-Schwarz from a shorter vector and the rest's norm.
Halko, Martinsson and Tropp (2011), "Finding structure with randomness", SIAM Review, algorithm
4.3: the subspace.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import _core
from ._leads import RowLeads
from ._neighbours import Neighbourhoods, near_order
from ._problem import FloatArray, LabelArray, Problem

# Below these a pass is too cheap for the filter to pay for itself.
LEAST_FEATURES = 64
LEAST_CLUSTERS = 4
LEAST_ROWS = 2048
LEAST_ROUNDS_LEFT = 3
# Each thread keeps the products of a panel with all centroids: 256 bytes a cluster.
MOST_CLUSTERS = 1 << 14
# How many directions to choose from, whole tiles of six; what is kept of a row, two norms and what
# is known of its distances beside them, takes at most this share of what X takes as float32.
N_DIRECTIONS = (24, 42, 66, 90, 126)
FLOATS_BESIDE = 14
MOST_SHARE_OF_X = 0.3
SAMPLE_ROWS = 768
# Nor may they, and finding the directions, which may be in vain, cost more than these shares of
# brute force, nor more directions than the fewest more than the last.
MOST_FOR_SKETCHES, MOST_FOR_DIRECTIONS, MOST_FOR_MORE = 0.2, 0.1, 0.06
N_ITERATIONS = 2
# The centroids' share in the choice of directions, as a multiple of the sampled rows': what of the
# centroids lies outside loosens the bounds most.
WEIGHT_OF_CENTROIDS = 4.0
# Sampled rows on which the choices are tried.
TRIAL_ROWS = 192
# How far the centroids of a late round are from those that the directions were found for, as a
# share of their squared norms.
EXPECTED_DRIFT = 0.03
# With so many clusters rows of one label are brought together, so that tiles of centroids can be
# left out, and anew once this share of them has another label. With fewer, rows are left out.
CLUSTERS_TO_SORT, SORT_AGAIN = 128, 0.2
# What bounds that last leave in a run of EXPECTED_ROUNDS: of the products in sketches, where rows
# are sorted, this over the root of their length (e256, f1000 and g2000: 4.0 to 4.6); else of the
# rows (e64: 0.66 to 0.81); and of the rows and distances that sketches alone would. They say little
# in the first rounds: with fewer rounds they leave more, by these powers of the number, where rows
# are sorted and where not.
SHARE_OF_PRODUCTS, SHARE_OF_ROWS, SHARE_OF_READS = 4.2, 0.75, 0.55
GROWTH_SORTED, GROWTH_BY_ROWS = 0.3, 0.45
# Rounds that a run is expected to have left, at most; and up to which bounds of single rows are
# taken to leave less and less.
EXPECTED_ROUNDS, LONG_RUN = 20, 40
# Shares of the work of brute force: start the filter below the first, end it at once above the
# second, and above the third in two rounds on end. The first rounds are the dearest: those of
# f1000 fall from 1.2 to 0.4, in all 0.7, and with twelve clusters of 130 features from 1.5.
PROMISING, HOPELESS, TOO_DEAR = 0.9, 1.8, 1.4
# What brute force in bytes costs, over its products alone: rows that these leave open are measured.
# Another round of it before the filter if that is this share of float32's.
WITH_WHAT_BYTES_LEAVE, CHEAP_IN_BYTES = 1.2, 0.6

FloatArray32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """What passes cost a thread, in ns; ratios are what matters."""

    product: float = 0.0125  # one multiply-add of the fused kernel
    load: float = 0.3  # bringing one value of a row to the kernel
    read: float = 0.3  # the same of a row here and there
    distance: float = 0.22  # one feature of a distance measured alone
    sketch: float = 50.0  # a row's bounds
    sketch_product: float = 0.021  # one multiply-add of two sketches, kept and compared
    sketched: float = 0.025  # one multiply-add of a sketch, its fresh memory included

    def brute_force(self, n: float, d: int, k: int) -> float:
        return n * d * (self.load + k * self.product)

    def filtered(self, n: float, d: int, products: float, read: float, distances: float) -> float:
        """Cost of a pass over n rows.

        With so many products in the sketches of each, rows that are read and distances measured.
        """
        sketched = n * (self.sketch + products * self.sketch_product)
        return sketched + read * d * self.read + distances * d * self.distance

    def directions(self, n_rows: int, d: int, p: int, n_threads: int) -> float:
        """Cost of finding p directions of so many rows; in parts one thread works alone."""
        shared = N_ITERATIONS * d * p * (2 * n_rows * self.product + 0.35 * p)
        alone = 2.5e6 + N_ITERATIONS * d * p * 0.35 * min(p, 12)
        return shared + n_threads * alone

    def sketches(self, n: float, d: int, p: int) -> float:
        return n * d * (self.load + p * self.sketched)


COST = Cost()


class Pruning:
    """Starts the filter after the first round if it looks worth it, and ends it where it is not.

    "lloyd" computes every distance, "elkan" always starts the filter and keeps it, and "auto"
    decides.

    Parameters
    ----------
    problem : Problem
    engine : _core.Engine
        Labels the points; told to use the filter.
    max_iter : int
        Most rounds of the run.
    algorithm : {"auto", "lloyd", "elkan"}
    """

    def __init__(
        self, problem: Problem, engine: _core.Engine, max_iter: int, algorithm: str
    ) -> None:
        self._problem, self._engine = problem, engine
        self._neighbourhoods = Neighbourhoods(problem, engine, max_iter, algorithm)
        self._leads = RowLeads(problem, engine, max_iter, algorithm)
        n, d, k = problem.n, problem.d, engine.k
        self._decides = algorithm == "auto"
        self._in_bytes = problem.can_be_sketched and engine.in_bytes
        self._share_in_bytes = 1.0
        if self._in_bytes:
            self._share_in_bytes = min(WITH_WHAT_BYTES_LEAVE * engine.least_share_in_bytes, 1.0)
        # Such a round costs less than the filter's first one, and leaves it better directions.
        self._rounds_before = 2 if self._share_in_bytes < CHEAP_IN_BYTES else 1
        n_rounds = max_iter - self._rounds_before
        # Of all runs, which share the sketches.
        self._rounds_left = min(n_rounds, EXPECTED_ROUNDS) * problem.shared.n_runs
        # Few rows are looked at late in a long run, if rows are left out one by one.
        self._is_sorted = k >= CLUSTERS_TO_SORT
        most = EXPECTED_ROUNDS if self._is_sorted else LONG_RUN
        self._rounds_of_run = max(min(n_rounds, most), 1)
        self._brute_force = self._rounds_left * self._cost_of_brute_force()
        self._choices = [
            p
            for p in N_DIRECTIONS
            if p + FLOATS_BESIDE <= MOST_SHARE_OF_X * d
            and COST.sketches(n, d, p) <= MOST_FOR_SKETCHES * self._brute_force
            and self._cost_of_directions(p)
            <= self._brute_force * (MOST_FOR_DIRECTIONS if p == N_DIRECTIONS[0] else MOST_FOR_MORE)
        ]
        is_promising = (
            bool(self._choices)
            and d >= LEAST_FEATURES
            and LEAST_CLUSTERS <= k <= MOST_CLUSTERS
            and n >= LEAST_ROWS
            and max_iter > LEAST_ROUNDS_LEFT
        )
        is_wanted = (algorithm == "elkan" and k > 1) or (self._decides and is_promising)
        self._is_candidate = (
            is_wanted
            and problem.can_be_sketched
            and not self._neighbourhoods.takes_part
            and not problem.shared.is_filter_hopeless
        )
        self._is_on = False
        self._n_dear_rounds = 0

    def after_round(self, centroids: FloatArray, labels: LabelArray, n_changed: int) -> None:
        """Decide on the rounds to come; centroids are the next round's, labels the last round's."""
        if self._neighbourhoods.takes_part:
            self._neighbourhoods.after_round(centroids, labels)
        elif self._is_candidate:
            if self._in_bytes and not self._engine.pays_in_bytes:
                self._give_up_bytes()
            self._rounds_before -= 1
            if self._rounds_before == 0:
                self._is_candidate = False
                self._start(centroids, labels)
        elif self._is_on:
            if self._decides:
                self._judge()
            self._sort(labels, n_changed)
        else:
            self._leads.after_round()

    def _give_up_bytes(self) -> None:
        """Go on as without them; the engine does."""
        self._in_bytes, self._share_in_bytes, self._rounds_before = False, 1.0, 1
        self._brute_force = self._rounds_left * self._cost_of_brute_force()

    def _cost_of_brute_force(self) -> float:
        """Return that of a round, in bytes where these are used."""
        in_floats = COST.brute_force(self._problem.n, self._problem.d, self._engine.k)
        return self._share_in_bytes * in_floats

    def _start(self, centroids: FloatArray, labels: LabelArray) -> None:
        problem, engine, shared = self._problem, self._engine, self._problem.shared
        framed = ((centroids - problem.shift) * problem.scale).astype(np.float32)
        is_first = shared.filter is None
        if is_first:
            shared.filter = self._make_filter(framed)
        if shared.filter is None:
            shared.is_filter_hopeless = True
            return
        if not is_first:
            shared.filter.restart(near_order(_product(problem, framed, shared.filter.basis)))
        if self._is_sorted:
            (shared.filter.place if is_first else shared.filter.sort)(labels)
        else:
            shared.filter.keep_row_gaps()
        engine.set_centroids(centroids)
        engine.use_filter(shared.filter, labels)
        # With few clusters sketches that are there say enough of the distances.
        if is_first or self._is_sorted:
            for start, stop in problem.slices(shared.filter.p):
                engine.sketch(start, stop)
        engine.filter_work()
        self._filter = shared.filter
        self._n_changed = 0
        self._is_on = True

    def _make_filter(self, framed: FloatArray32) -> _core.Filter | None:
        """Choose directions to sketch all rows in, for all runs, if that looks worth it.

        None if not, or if there is no room for the sketches.
        """
        problem, engine = self._problem, self._engine
        sample = sample_rows(problem)
        choices = self._choices or [min(N_DIRECTIONS[0], problem.d)]
        basis = leading_directions(problem, sample, choices[-1], framed)
        n_directions = basis.shape[1]
        if n_directions == 0:
            return None
        if self._decides:
            every = -(-len(sample) // TRIAL_ROWS)
            trial = _Trial(problem, sample[::every], framed, basis)
            n_directions, share = self._choose(trial)
            if not share < PROMISING:
                return None
        order = near_order(_product(problem, framed, basis[:, :n_directions]))
        try:
            return _core.Filter(
                problem.points,
                basis[:, :n_directions],
                engine.k,
                problem.n_threads,
                problem.isa,
                order,
            )
        except MemoryError:  # rounds need none
            return None

    def _choose(self, trial: "_Trial") -> tuple[int, float]:
        """Return the cheapest number of directions, and its cost as a share of brute force's."""
        n, d, k = self._problem.n, self._problem.d, self._engine.k
        choices = [p for p in self._choices if p < trial.p] + [trial.p]
        brevity = EXPECTED_ROUNDS / self._rounds_of_run
        shares = []
        for p in choices:
            n_read, n_distances = trial.left(p)
            n_rows, products = float(n), float(k * (p + 2))
            if self._is_sorted:
                growth = brevity**GROWTH_SORTED
                products *= min(growth * SHARE_OF_PRODUCTS / math.sqrt(p), 1)
            else:
                growth = brevity**GROWTH_BY_ROWS
                n_rows *= min(growth * SHARE_OF_ROWS, 1)
            left = n * growth * SHARE_OF_READS
            a_round = COST.filtered(n_rows, d, products, left * n_read, left * n_distances)
            start = self._cost_of_directions(trial.p) + COST.sketches(n, d, p)
            shares.append((self._rounds_left * a_round + start) / self._brute_force)
        best = int(np.argmin(shares))
        return choices[best], float(shares[best])

    def _cost_of_directions(self, p: int) -> float:
        problem = self._problem
        n_rows = min(problem.n, SAMPLE_ROWS) + self._engine.k
        return COST.directions(n_rows, problem.d, p, problem.n_threads)

    def _sort(self, labels: LabelArray, n_changed: int) -> None:
        """Sort rows by their labels again when many have changed."""
        self._n_changed += n_changed
        if self._is_sorted and self._n_changed > SORT_AGAIN * self._problem.n:
            self._filter.sort(labels)
            self._n_changed = 0

    def _judge(self) -> None:
        n_products, n_read, n_distances, n_forced_rows = self._engine.filter_work()
        n, d, k = self._problem.n, self._problem.d, self._engine.k
        work = COST.filtered(n, d, n_products / n, n_read, n_distances)
        work += COST.brute_force(n_forced_rows, d, k)
        share = work / self._cost_of_brute_force()
        self._n_dear_rounds = self._n_dear_rounds + 1 if share > TOO_DEAR else 0
        if share > HOPELESS or self._n_dear_rounds == 2:
            self._engine.use_filter(None)
            self._is_on = False  # of this run; the sketches are there for the next


class _Trial:
    """What sketches would leave of some rows; all in the kernel's coordinates.

    Parameters
    ----------
    rows : float32 ndarray of shape (m, d)
    centroids : float32 ndarray of shape (k, d)
    basis : float32 ndarray of shape (d, p)
    """

    def __init__(
        self,
        problem: Problem,
        rows: FloatArray32,
        centroids: FloatArray32,
        basis: FloatArray32,
    ) -> None:
        self.p = basis.shape[1]
        self._problem, self._rows, self._centroids = problem, rows, centroids
        self._inside = _product(problem, rows, basis)
        self._centroids_inside = _product(problem, centroids, basis)
        self._sq_least = _sq_dists(problem, rows, centroids).min(axis=1, keepdims=True)

    def left(self, p: int) -> tuple[float, float]:
        """Return the share of rows that must be read, and how many distances a row are measured.

        The directions suit the centroids as they are: they are taken to have drifted a little.
        """
        inside, centroids_inside = self._inside[:, :p], self._centroids_inside[:, :p]
        rests = _rest(self._rows, inside)
        share_outside = np.vdot(rests, rests) / np.maximum(_sq_norms(self._rows).sum(), 1e-37)
        sq_drifts = np.float32(EXPECTED_DRIFT * share_outside) * _sq_norms(self._centroids)
        centroid_rests = np.sqrt(_rest(self._centroids, centroids_inside) ** 2 + sq_drifts)
        differences = rests[:, None] - centroid_rests
        sq_dists = _sq_dists(self._problem, inside, centroids_inside)
        is_left = sq_dists + differences**2 <= self._sq_least * np.float32(1 + 1e-4)
        n_others = np.maximum(np.count_nonzero(is_left, axis=1) - 1, 0)
        is_read = n_others > 0
        return float(is_read.mean()), float((n_others + is_read).mean())


def _product(problem: Problem, a: FloatArray32, b: FloatArray32 | _core.Basis) -> FloatArray32:
    """Return a @ b in the problem's own threads."""
    basis = b if isinstance(b, _core.Basis) else _core.Basis(b)
    out = np.empty((len(a), basis.p), dtype=np.float32)
    _core.multiply(a, basis, out, problem.n_threads, problem.isa)
    return out


def _sq_dists(problem: Problem, rows: FloatArray32, centroids: FloatArray32) -> FloatArray32:
    sq_dists: FloatArray32 = _sq_norms(rows)[:, None] + _sq_norms(centroids)
    sq_dists -= 2 * _product(problem, rows, centroids.T)
    np.maximum(sq_dists, 0, out=sq_dists)
    return sq_dists


def _sq_norms(rows: FloatArray32) -> FloatArray32:
    sq_norms: FloatArray32 = np.einsum("ij,ij->i", rows, rows)
    return sq_norms


def _rest(rows: FloatArray32, inside: FloatArray32) -> FloatArray32:
    rests: FloatArray32 = np.sqrt(np.maximum(_sq_norms(rows) - _sq_norms(inside), 0))
    return rests


def sampled(problem: Problem) -> npt.NDArray[np.int64]:
    """Return which rows `sample_rows` takes: evenly spaced, so that no random state is touched."""
    return np.arange(0, problem.n, -(-problem.n // SAMPLE_ROWS))


def sample_rows(problem: Problem) -> FloatArray32:
    """Return some rows in the kernel's coordinates."""
    chosen = sampled(problem)
    sample = np.empty((len(chosen), problem.d), dtype=np.float32)
    dtype = np.float32 if problem.points.is_narrow else np.float64
    shift = (problem.shift * problem.scale).astype(dtype)
    for start in range(0, len(chosen), 64):  # some at a time, which stay in cache
        rows = problem.X[chosen[start : start + 64]].astype(dtype)
        rows *= problem.scale  # first, as differences may be too large for float32
        sample[start : start + 64] = rows - shift
    return sample


def leading_directions(
    problem: Problem,
    sample: FloatArray32,
    n_directions: int,
    centroids: FloatArray32 | None = None,
) -> FloatArray32:
    """Return about the leading directions (d, p) of the sample and the centroids.

    By orthogonal iteration from a fixed random start: those that hold most come first, and no
    oversampling or rotation is needed to choose among the first ones.
    """
    if centroids is not None:
        # Centroids at the origin of rows that are not would make the ratio too large for float32.
        ratio = float(_sq_norms(sample).sum()) / max(float(_sq_norms(centroids).sum()), 1e-37)
        weight = np.float32(math.sqrt(WEIGHT_OF_CENTROIDS * ratio))
        sample = np.concatenate([sample, weight * centroids])
    shape = problem.d, min(n_directions, problem.d)
    directions: FloatArray32 = np.random.default_rng(0).random(shape, dtype=np.float32)
    directions -= np.float32(0.5)
    for _ in range(N_ITERATIONS):
        images = _product(problem, sample.T, _product(problem, sample, directions))
        vectors = np.array(images.T, dtype=np.float64, order="C")
        rank = _core.orthonormalise(vectors, problem.n_threads, problem.isa)
        directions = vectors[:rank].T.astype(np.float32)
        if rank == 0:
            break
    return directions
