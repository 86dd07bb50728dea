"""The potential of k-means++ against NumPy: totals, proposals, draws, weights."""

import numpy as np
import pytest
import reference
from core_tools import ISAS

from fastkm import _core
from fastkm._potential import Potential
from fastkm._problem import Problem


class Oracle:
    def __init__(self, X, weights):
        self.X = np.asarray(X, np.float64)
        self.weights = np.ones(len(X)) if weights is None else weights
        self.closest = np.full(len(X), np.inf)

    def take(self, row):
        self.closest = np.minimum(
            self.closest, reference.sq_dists(self.X, self.X[row : row + 1])[:, 0]
        )

    @property
    def total(self):
        return (self.weights * self.closest).sum()

    def potentials(self, rows):
        distances = reference.sq_dists(self.X, self.X[rows])
        return self.weights @ np.minimum(self.closest[:, None], distances)


# Integers: every sum of squared distances is exact in whatever order, so equality is exact.
@pytest.fixture
def integers(rng):
    return rng.integers(-50, 50, size=(1100, 7)).astype(np.float64)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("weighs", [False, True])
@pytest.mark.parametrize("n_candidates", [1, 5, 31, 32, 33, 64, 70])
def test_every_step_is_the_oracles(isa, n_threads, weighs, n_candidates, integers, rng):
    weights = rng.integers(0, 5, size=1100).astype(np.float64) if weighs else None
    oracle = Oracle(integers, weights)
    potential = Potential(Problem(integers, weights, n_threads=n_threads, isa=isa), 1)
    assert potential.start(7) == (oracle.take(7), oracle.total)[1]
    # The candidate accepted is in the first group of 32, in the last, and between.
    for taken in (0, n_candidates - 1, n_candidates // 2, min(31, n_candidates - 1)):
        rows = rng.integers(1100, size=n_candidates)
        expected = oracle.potentials(rows)
        assert np.array_equal(potential.propose(rows), expected)
        assert potential.accept(taken) == expected[taken] == potential.total
        oracle.take(rows[taken])
        assert oracle.total == potential.total


@pytest.mark.parametrize("weighs", [False, True])
def test_draw_is_the_first_row_at_which_the_cumulative_sum_arrives(weighs, integers, rng):
    weights = rng.integers(0, 3, size=1100).astype(np.float64) if weighs else None
    oracle = Oracle(integers, weights)
    potential = Potential(Problem(integers, weights, n_threads=1), 1)
    potential.start(300)
    oracle.take(300)
    cumulative = np.cumsum(oracle.weights * oracle.closest)
    at_blocks = cumulative[[0, 1, 254, 255, 256, 257, 511, 512, 1023, 1024, 1098, 1099]]
    thresholds = np.concatenate(
        [
            [0.0, 0.5],
            at_blocks,
            at_blocks + 0.5,
            at_blocks - 0.5,
            rng.uniform(size=500) * cumulative[-1],
        ]
    )
    expected = np.minimum(np.searchsorted(cumulative, thresholds), 1099)
    assert np.array_equal(potential.draw(thresholds), expected)
    assert potential.draw(np.array([cumulative[-1] * 1.01])).tolist() == [1099]


def test_real_values_are_right_to_rounding(rng):
    X, weights = rng.normal(size=(3000, 20)) + 100, rng.uniform(size=3000)
    oracle, potential = Oracle(X, weights), Potential(Problem(X, weights, n_threads=2), 1)
    oracle.take(5)
    # Sums of 3000 non-negative products of sums of 20 squares, in two orders.
    bound = 2 * 3030 * 2.0**-53
    np.testing.assert_allclose(potential.start(5), oracle.total, rtol=bound)
    rows = rng.integers(3000, size=40)
    expected = oracle.potentials(rows)
    # A gain is taken from the total, whose rounding stays.
    assert (np.abs(potential.propose(rows) - expected) <= 2 * bound * oracle.total).all()
    np.testing.assert_allclose(potential.accept(3), expected[3], rtol=bound)


def test_equal_weights_leave_draws_and_choices_as_they_are(integers):
    plain = Potential(Problem(integers, n_threads=1), 1)
    equal = Potential(Problem(integers, np.full(1100, 0.7), n_threads=1), 1)
    assert plain.start(2) == equal.start(2)
    rows = np.arange(9)
    assert np.array_equal(plain.propose(rows), equal.propose(rows))


def test_a_seed_proposed_again_gains_nothing(integers):
    potential = Potential(Problem(integers, n_threads=1), 1)
    total = potential.start(40)
    assert potential.propose(np.array([40, 41]))[0] == total
    assert potential.accept(0) == total


@pytest.mark.parametrize("name", ["ends of float32", "1e-200", "1e200", "1e308"])
def test_extreme_values_have_a_finite_potential(name, rng):
    X = {
        # The few, centred at the many, overflow float32.
        "ends of float32": np.where(np.arange(300)[:, None] % 9, 3.3e38, -3.3e38).astype("f4"),
        "1e-200": rng.normal(size=(300, 1)) * 1e-200,
        "1e200": rng.normal(size=(300, 1)) * 1e200,
        "1e308": rng.choice([-8e307, 1e307, 8e307], size=(300, 1)),
    }[name]
    problem = Problem(X, n_threads=1)
    scaled = X.astype(np.float64) * problem.exact_scale
    oracle, potential = Oracle(scaled, None), Potential(problem, 1)
    oracle.take(1)
    bound = 400 * 2.0**-53
    assert 0 < potential.start(1) < np.inf
    np.testing.assert_allclose(potential.total, oracle.total, rtol=bound)
    rows = np.array([0, 4, 9])
    expected = oracle.potentials(rows)
    # What float32 proposes need not be right to the last bits, as long as the best is the best.
    assert np.argmin(potential.propose(rows)) == np.argmin(expected)
    exact = potential.total - potential._propose(rows, exactly=True)
    assert (np.abs(exact - expected) <= 2 * bound * oracle.total).all()


def test_groups_are_of_as_many_candidates_as_a_mask_has_bits():
    assert _core.MAX_CANDIDATES == 32
