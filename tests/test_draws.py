"""Random draws are those of scikit-learn's and NumPy's functions, and nobody shares a source."""

import numpy as np
import pytest

from fastkm import KMeans
from fastkm._draws import Drawing, RowDraw


@pytest.mark.parametrize("seed", [0, 1, np.int64(5), 2**32 - 1])
def test_a_kept_random_state_starts_as_a_new_one_does(seed):
    for _ in range(2):
        with Drawing(seed, stays_inside=True) as random_state:
            theirs = np.random.RandomState(seed)
            assert random_state.normal() == theirs.normal()  # leaves another one for the next
            assert np.array_equal(random_state.random_sample(1000), theirs.random_sample(1000))


def test_fits_at_the_same_time_have_random_states_of_their_own():
    with (
        Drawing(0, stays_inside=True) as outer,
        Drawing(0, stays_inside=True) as inner,
    ):
        assert inner is not outer
        assert inner.random_sample() == outer.random_sample()


def test_a_random_state_that_others_see_is_not_kept():
    with Drawing(0, stays_inside=False) as seen:
        pass
    for _ in range(2):
        with Drawing(0, stays_inside=True) as random_state:
            assert random_state is not seen


def test_a_random_state_is_the_users_own():
    given = np.random.RandomState(3)
    with Drawing(given, stays_inside=True) as random_state:
        assert random_state is given


def test_a_fit_inside_a_fit_changes_no_draw(cloud):
    def fit_another(record):
        KMeans(3, random_state=7, max_iter=2).fit(cloud[:50])

    options = {"n_clusters": 5, "n_init": 3, "random_state": 1, "max_iter": 3}
    alone = KMeans(**options).fit(cloud)
    beside = KMeans(**options, callback=fit_another).fit(cloud)
    assert np.array_equal(alone.labels_, beside.labels_)
    assert alone.inertia_ == beside.inertia_


@pytest.mark.parametrize("n", [1, 2, 3, 1000, 60_000])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_rows_are_drawn_as_random_state_chooses_them(n, is_weighted, rng):
    weights = rng.uniform(size=n) * (rng.random(n) < 0.7) + 1e-9 if is_weighted else None
    share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
    draw = RowDraw(n, weights)
    for size in (1, 10, 5000):
        assert np.array_equal(draw(ours, size), theirs.choice(n, size, p=share, replace=True))
    for _ in range(50):
        assert draw.row(ours.random_sample()) == theirs.choice(n, p=share)
    assert ours.uniform() == theirs.uniform()


def test_uniform_draws_at_the_edges_of_the_shares():
    class Edges:
        """Draws the very numbers at which one row gives way to the next, and their neighbours."""

        def random_sample(self, size):
            return uniforms

    for n in (3, 7, 49, 1000, 30_001):
        cumulative = np.full(n, 1 / n).cumsum()
        cumulative /= cumulative[-1]
        edges = cumulative[:-1]
        uniforms = np.concatenate([[0], np.nextafter(edges, 0), edges, np.nextafter(edges, 1)])
        expected = np.searchsorted(cumulative, uniforms, side="right")
        assert np.array_equal(RowDraw(n, None)(Edges(), len(uniforms)), expected)
        assert [RowDraw(n, None).row(uniform) for uniform in uniforms] == expected.tolist()
