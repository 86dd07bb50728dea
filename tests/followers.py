"""What labels rows by what is known of them from the last centroids, each behind one interface."""

import numpy as np
import reference
from core_tools import make_engine

from fastkm import _core, _lloyd, _neighbours
from fastkm._seed_pruning import make_cells


class Follower:
    """Labels rows while centroids move; what it keeps is begun by `begin`."""

    def __init__(self, X, centroids, isa=None, n_threads=1, labels=None):
        self.problem, self.engine = make_engine(X, centroids, isa, n_threads)
        self.labels = np.full(len(X), -1, np.int32) if labels is None else labels
        self.kept = self.begin(centroids, n_threads)

    def move_to(self, centroids):
        """Return the labels under other centroids, and the work done."""
        self.engine.set_centroids(np.ascontiguousarray(centroids, dtype=np.float64))
        labels_old = self.labels.copy()
        labels = np.full_like(labels_old, -7)
        self.engine.assign(labels, 0, self.problem.n, labels_old)
        self.labels = labels
        return labels, self.kept.take_work()


class Gaps(Follower):
    """Gaps of cells and tiles of centroids."""

    def begin(self, centroids, n_threads):
        cells = make_cells(self.problem)
        order = _neighbours.near_order(centroids)
        gaps = _core.CellGaps(cells, order, n_threads, self.problem.isa)
        self.engine.use_gaps(gaps, self.labels)
        return gaps


class Leads(Follower):
    """Leads of rows over all centroids but their own."""

    def begin(self, centroids, n_threads):
        leads = _core.Leads(self.problem.points, len(centroids), n_threads, self.problem.isa)
        self.engine.use_leads(leads)
        return leads


FOLLOWERS = [Gaps, Leads]


def steps(centroids, seed=0):
    """Centroids that move less and less, then one far away and back, then not at all."""
    g = np.random.default_rng(seed)
    spread = np.ptp(centroids, axis=0)
    yield centroids
    for size in (0.1, 1e-2, 1e-3, 1e-4, 1e-9):
        centroids = centroids + size * spread * g.normal(size=centroids.shape)
        yield centroids
    jumped = centroids.copy()
    jumped[0] = centroids[-1]
    yield jumped
    yield centroids
    yield centroids


def check(follower_class, X, centroids, isa=None, n_threads=1, exponent=0):
    """Compare each step's labels with the oracle's."""
    follower = follower_class(X, centroids, isa, n_threads)
    for moved in steps(centroids):
        labels, _ = follower.move_to(moved)
        expected = reference.assign(
            np.ldexp(X, exponent) if exponent else X, np.ldexp(moved, exponent)
        )
        assert np.array_equal(labels, expected)


def is_same_run(one, other):
    return (
        one.labels.tobytes() == other.labels.tobytes()
        and one.centroids.tobytes() == other.centroids.tobytes()
        and (one.inertia, one.n_iter) == (other.inertia, other.n_iter)
    )


def check_run(problem, init, max_iter):
    """Compare a run that chooses by itself with one that computes every distance, to the bit."""
    expected = _lloyd.run(problem, init, max_iter=max_iter, tol=0.0, algorithm="lloyd")
    assert is_same_run(_lloyd.run(problem, init, max_iter=max_iter, tol=0.0), expected)
