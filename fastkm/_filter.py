"""Whether to leave out distances that sketches exclude, and in which directions to sketch.

None of this changes a bit of the result: the filter's bounds are proved, so it only decides what
need not be computed.

References
----------
Bottesch, Bühler and Kächele (2016), "Speeding up k-means by approximating Euclidean distances via
block vectors", ICML: lower bounds by Cauchy-Schwarz from a shorter vector and the rest's norm.
Halko, Martinsson and Tropp (2011), "Finding structure with randomness", SIAM Review, algorithm
4.4: the subspace.
"""

import numpy as np
import numpy.typing as npt

from . import _core
from ._problem import FloatArray, LabelArray, Problem

# Below these a pass is too cheap for the filter to pay for itself.
LEAST_FEATURES = 64
LEAST_CLUSTERS = 24
LEAST_ROWS = 2048
LEAST_ROUNDS_LEFT = 3
N_DIRECTIONS = 42
# The sketches take at most a quarter of what X takes as float32.
MOST_SHARE_OF_X = 0.25
SAMPLE_ROWS = 768
OVERSAMPLING = 8
N_POWER_ITERATIONS = 2
# With a smaller share of the variance inside, the bounds exclude too little.
LEAST_ENERGY = 0.25
# A distance in float64, its centroid read for it alone, costs as much as this many in the fused
# kernel.
COST_OF_DISTANCE = 10.0
# Shares of the work of brute force: end the filter at once above the first, and above the second
# in two rounds on end.
HOPELESS, TOO_DEAR = 1.3, 0.9


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
        n, d, k = problem.n, problem.d, engine.k
        self._decides = algorithm == "auto"
        self._n_directions = min(N_DIRECTIONS, d)
        is_promising = (
            d >= LEAST_FEATURES
            and k >= LEAST_CLUSTERS
            and n >= LEAST_ROWS
            and max_iter > LEAST_ROUNDS_LEFT
            and MOST_SHARE_OF_X * d >= N_DIRECTIONS + 4
        )
        is_wanted = (algorithm == "elkan" and k > 1) or (self._decides and is_promising)
        self._is_candidate = is_wanted and problem.can_be_sketched
        self._is_on = False
        self._n_dear_rounds = 0

    def after_round(self, centroids: FloatArray, labels: LabelArray) -> None:
        """Decide on the rounds to come; centroids are the next round's, labels the last round's."""
        if self._is_candidate:
            self._is_candidate = False
            self._start(centroids, labels)
        elif self._is_on and self._decides:
            self._judge()

    def _start(self, centroids: FloatArray, labels: LabelArray) -> None:
        problem, engine = self._problem, self._engine
        basis, energy = principal_directions(problem, self._n_directions)
        if self._decides and not energy >= LEAST_ENERGY:
            return
        exact = basis.astype(np.float64)
        skew = float(np.linalg.norm(exact.T @ exact - np.eye(exact.shape[1]))) + 1e-12
        filter_ = _core.Filter(problem.points, basis, skew, engine.k, problem.isa)
        for start, stop in problem.slices(self._n_directions):
            engine.sketch(filter_, start, stop)
        engine.set_centroids(centroids)
        filter_.set_upper(problem.own_sq_dists(engine, labels), problem.scale / problem.exact_scale)
        engine.use_filter(filter_)
        engine.filter_work()
        self._is_on = True

    def _judge(self) -> None:
        n_distances, n_forced_rows = self._engine.filter_work()
        n, d, k = self._problem.n, self._problem.d, self._engine.k
        work = n * k * (self._n_directions + 1.0) + COST_OF_DISTANCE * n_distances * d
        share = (work + float(n_forced_rows) * k * d) / (float(n) * k * d)
        self._n_dear_rounds = self._n_dear_rounds + 1 if share > TOO_DEAR else 0
        if share > HOPELESS or self._n_dear_rounds == 2:
            self._engine.use_filter(None)
            self._is_on = False


def principal_directions(
    problem: Problem, n_directions: int
) -> tuple[npt.NDArray[np.float32], float]:
    """Return about the leading principal directions (d, n_directions) of a sample of the rows.

    Also returns the share of the sample's variance inside them. The sample is evenly spaced and the
    random start fixed, so the user's random state is not touched.
    """
    chosen = range(0, problem.n, -(-problem.n // SAMPLE_ROWS))
    sample = np.empty((len(chosen), problem.d), dtype=np.float32)
    for row, i in zip(sample, chosen, strict=True):  # one by one: the sample in float64 is large
        row[:] = (problem.rows([i])[0] - problem.shift) * problem.scale
    n_columns = min(n_directions + OVERSAMPLING, problem.d)
    start = np.random.default_rng(0).standard_normal((problem.d, n_columns))
    directions = start.astype(np.float32)
    for _ in range(N_POWER_ITERATIONS):
        directions, _ = np.linalg.qr(sample.T @ (sample @ directions))
    inside = sample @ directions
    variances, rotation = np.linalg.eigh(inside.T @ inside)
    leading = rotation[:, ::-1][:, :n_directions]
    basis = np.linalg.qr((directions @ leading).astype(np.float64))[0].astype(np.float32)
    energy = float(variances[::-1][:n_directions].sum()) / max(
        float(np.vdot(sample, sample)), 1e-37
    )
    return np.ascontiguousarray(basis), energy
