"""k-means++ in the core: masks, gains and distances against NumPy, on every instruction set."""

import core_tools
import numpy as np
import pytest
import reference
from core_tools import DTYPES, ISAS, guards, unchanged
from test_core_distances import sums_of_sixteen

from fastkm import _problem
from fastkm._potential import Potential
from fastkm._problem import Problem


class Oracle:
    """The seeder's arrays, computed with NumPy in float64 from distances in the kernels' order."""

    def __init__(self, X, weights):
        self.X, self.weights = X, np.ones(len(X)) if weights is None else weights
        self.closest = np.full(len(X), np.inf)

    def distances(self, candidates):
        zeros = np.zeros(len(self.X), dtype=int)
        columns = [sums_of_sixteen(self.X, c[None], zeros) for c in candidates]
        return np.stack(columns, axis=1)

    def propose(self, candidates):
        """Return (masks, gains of each block)."""
        distances = self.distances(candidates)
        nearer = distances < self.closest[:, None]
        masks = (nearer.astype(np.uint32) << np.arange(len(candidates), dtype=np.uint32)).sum(
            axis=1, dtype=np.uint32
        )
        with np.errstate(invalid="ignore"):
            gains = self.weights[:, None] * (self.closest[:, None] - distances)
        gains = np.where(nearer, gains, 0)
        return masks, _by_block(gains)

    def accept(self, candidate):
        """Return the sums of each block."""
        self.closest = np.minimum(self.closest, self.distances(candidate[None])[:, 0])
        return _by_block(self.weights * self.closest)


def _by_block(values):
    blocks = np.split(values, range(256, len(values), 256))
    return np.stack([np.cumsum(block, axis=0)[-1] for block in blocks])


def _check_rough(gains, expected, errors):
    rounding = 1e-12 * np.sum(expected, axis=0) + 5e-324
    within = np.abs(np.sum(gains, axis=0) - np.sum(expected, axis=0)) <= np.array(errors) + rounding
    assert (within | ~np.isfinite(errors)).all()


def compare(X, isa, n_candidates, n_threads=1, weights=None, rounds=4, seed=0):
    """Seed some rounds with the core and with the oracle, and compare every array."""
    generator = np.random.default_rng(seed)
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    n, n_blocks = len(X), -(-len(X) // 256)
    oracle = Oracle(np.asarray(X, np.float64) * problem.exact_scale, weights)
    with guards() as array, unchanged(X):
        closest = array(n, np.float64, np.inf)
        sums = array(n_blocks, np.float64)
        masks = array(n, np.uint32)
        gains = array((n_blocks, n_candidates), np.float64)
        seeder = problem.seeder(1, weights, n_candidates, closest, sums, masks, gains)
        for round_ in range(rounds):
            rows = generator.integers(n, size=n_candidates)
            candidates = problem.rows(rows)
            expected_masks, expected_gains = oracle.propose(candidates * problem.exact_scale)
            seeder.propose(candidates)
            assert np.array_equal(masks & expected_masks, expected_masks)
            if round_ > 0:
                _check_rough(gains, expected_gains, seeder.errors())
            # What is accepted after either kind of proposal changes the same distances.
            if round_ % 2 == 0:
                seeder.settle()
                assert seeder.gains() == np.add.accumulate(gains)[-1].tolist()
                assert not any(seeder.errors())
                assert np.array_equal(masks, expected_masks)
                assert np.array_equal(gains, expected_gains)
            taken = int(generator.integers(n_candidates))
            seeder.accept(taken)
            expected_sums = oracle.accept(candidates[taken] * problem.exact_scale)
            assert np.array_equal(closest, oracle.closest)
            assert np.array_equal(sums, expected_sums)
    assert (closest[rows[taken]] == 0).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_candidates", [1, 2, 5, 6, 7, 12, 13, 31, 32])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (70, 3), (256, 16), (257, 5), (600, 33)])
def test_masks_gains_and_distances_are_the_oracles(isa, n_candidates, n, d, rng):
    compare(rng.normal(size=(n, d)) + 5, isa, n_candidates)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighs", [False, True])
def test_dtypes_and_weights(isa, dtype, weighs, rng):
    X = (np.abs(rng.normal(size=(300, 7))) * 3).astype(dtype)
    weights = rng.uniform(0, 2, size=300) if weighs else None
    compare(X, isa, 4, weights=weights)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_threads", [2, 3, 16])
def test_seeding_does_not_depend_on_n_threads(isa, n_threads, rng):
    compare(rng.normal(size=(9000, 20)).astype("f4"), isa, 32, n_threads, rounds=2)


def test_accepting_does_not_depend_on_n_threads(rng):
    # Bringing distances up to date wakes threads from 250,000 rows on.
    compare(rng.normal(size=(600_000, 2)).astype("f4"), ISAS[-1], 2, n_threads=3, rounds=2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "name",
    ["offset", "blobs", "ties", "equal", "1e-25", "1e25", "1e-200", "1e200", "ends of float32"],
)
def test_hostile_data(isa, name, rng):
    normal = rng.normal(size=(300, 6))
    blob = np.where(rng.integers(0, 2, size=(300, 1)), 1e4, -1e4)
    X = {
        "offset": (normal + 1e6).astype("f4"),
        "blobs": (normal + blob).astype("f4"),
        "ties": rng.integers(0, 3, size=(300, 6)).astype("u1"),
        "equal": np.full((300, 6), 0.1),
        "1e-25": (normal * 1e-25).astype("f4"),
        "1e25": (normal * 1e25).astype("f4"),
        "1e-200": normal * 1e-200,
        "1e200": normal * 1e200,
        # Centred, the few overflow float32.
        "ends of float32": np.where(rng.random((300, 6)) < 0.9, 3.3e38, -3.3e38).astype("f4"),
    }[name]
    for seed in range(3):
        compare(X, isa, 5, seed=seed)


@pytest.mark.parametrize("isa", ISAS)
def test_rows_as_near_to_the_candidate_as_to_their_seed_change_nothing(isa, rng):
    # Candidate and seed are mirror images: half the rows are nearer to it by little or by nothing.
    g = rng
    X = g.normal(size=(500, 10))
    X[:, 0] = np.where(np.arange(500) % 3, g.normal(size=500) * 1e-9, 0)
    X[0], X[1] = 1, 1
    X[1, 0] = -1
    problem = Problem(X, n_threads=1, isa=isa)
    closest, sums = np.full(500, np.inf), np.empty(2)
    masks, gains = np.zeros(500, np.uint32), np.empty((2, 1))
    seeder = problem.seeder(1, None, 1, closest, sums, masks, gains)
    seeder.propose(problem.rows([0]))
    seeder.accept(0)
    seeder.propose(problem.rows([1]))
    seeder.settle()
    oracle = Oracle(X, None)
    oracle.accept(X[0])
    expected, _ = oracle.propose(X[1:2])
    assert np.array_equal(masks, expected)
    assert 0 < masks.sum() < 400
    assert np.array_equal(np.argmin(reference.sq_dists(X[2:], X[:2]), axis=1) == 1, masks[2:] == 1)
    _, engine = core_tools.make_engine(X, X[:2], isa)
    labels = np.empty(500, np.int32)
    engine.assign(labels, 0, 500)
    assert np.array_equal(labels[2:] == 1, masks[2:] == 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (255, 3), (600, 37)])
def test_kept_panels_give_the_bits_of_loaded_ones(isa, n, d, rng, monkeypatch):
    X = rng.normal(size=(n, d)).astype("f4")
    found = []
    for is_kept in (False, True):
        monkeypatch.setattr(
            _problem, "keeps_panels", lambda points, n_seeds, is_kept=is_kept: is_kept
        )
        problem = Problem(X, n_threads=2, isa=isa)
        n_blocks = -(-n // 256)
        arrays = [np.full(n, np.inf), np.empty(n_blocks), np.empty(n, np.uint32)]
        gains = np.empty((n_blocks, 7))
        seeder = problem.seeder(1, None, 7, *arrays, gains)
        for _ in range(2):
            seeder.propose(problem.rows(np.arange(7) % n))
            seeder.accept(0)
        found.append([*arrays, gains, seeder.errors()])
    for loaded, kept in zip(*found, strict=True):
        assert np.array_equal(loaded, kept)


class Counting:
    """A seeder that counts how often float32 left a doubt."""

    def __init__(self, seeder):
        self.seeder, self.n_settled = seeder, 0

    def __getattr__(self, name):
        return getattr(self.seeder, name)

    def settle(self):
        self.n_settled += 1
        self.seeder.settle()


def test_float32_mostly_decides_who_is_best(rng):
    X = rng.normal(size=(3000, 30)) + rng.integers(4, size=(3000, 1))
    problem = Problem(X, n_threads=1)
    potential, exact = Potential(problem, 41), Potential(problem, 41)
    potential.start(0)
    exact.start(0)
    seeder = potential._seeders[5] = Counting(potential._seeder(5))
    for _ in range(40):
        rows = potential.draw(rng.uniform(size=5) * potential.total)
        best = int(np.argmin(potential.propose(rows)))
        assert best == np.argmax(exact._propose(rows.astype(np.int64), exactly=True))
        potential.accept(best)
        exact.propose(rows)
        exact.accept(best)
    assert seeder.n_settled < 10


def test_draws_are_the_first_rows_to_reach_their_thresholds(rng):
    X = rng.normal(size=(1000, 3))
    weights = rng.integers(0, 3, size=1000).astype(float)
    potential = Potential(Problem(X, weights, n_threads=1), 1)
    potential.start(5)
    closest = weights * reference.sq_dists(X, X[[5]])[:, 0]
    thresholds = np.concatenate([rng.uniform(size=50), [0.0, 1.0]]) * potential.total
    rows = potential.draw(thresholds)
    reached = np.cumsum(closest)
    slack = 1e-9 * potential.total
    assert np.all(reached[rows] >= thresholds - slack)
    before = np.where(rows > 0, reached[rows - 1], 0)
    assert np.all((before < thresholds + slack) | (rows == 0))
    assert potential.draw(np.array([potential.total * 2]))[0] == 999  # past the end: the last row
