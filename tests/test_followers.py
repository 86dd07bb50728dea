"""What labels rows by bounds of the last rounds changes no bit: all is compared with the oracle."""

import numpy as np
import pytest
import reference
from core_tools import DTYPES, ISAS, layouts
from followers import FOLLOWERS, check
from test_core_assign import HOSTILE, RESCALED, hostile
from test_neighbours import near_rows


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_followers_keep_the_oracles_labels_on_hostile_data(follower, isa, kind):
    X, centroids = hostile(kind)
    check(follower, X, np.asarray(centroids, np.float64), isa, exponent=RESCALED.get(kind, 0))


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", range(1, 21))
def test_followers_keep_the_oracles_labels_for_every_small_d(follower, isa, d):
    for n, k in [(1, 1), (3, 2), (64, 1), (65, 7), (257, 17), (1100, 100), (1500, 2)]:
        X, centroids = near_rows(n, d, k)
        check(follower, X, centroids, isa)


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_followers_keep_the_oracles_labels_for_every_dtype_and_layout(
    follower, isa, dtype, tmp_path
):
    X, centroids = near_rows(300, 5, 12, dtype)
    for _, view in layouts(X, tmp_path):
        check(follower, view, centroids, isa)


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_followers_keep_the_oracles_labels_far_from_the_origin(follower, offset, n_threads):
    X, centroids = near_rows(3000, 3, 40, "f8")
    X[:1000] = X[0]  # duplicates
    check(follower, X + offset, centroids + offset, n_threads=n_threads)


@pytest.mark.parametrize("follower", FOLLOWERS)
def test_tight_blobs_far_apart_keep_the_oracles_labels(follower):
    g = np.random.default_rng(0)
    X = (g.choice([-1e4, 1e4], size=(3000, 1)) + 1e-3 * g.normal(size=(3000, 4))).astype("f4")
    check(follower, X, X[::100].astype(np.float64))


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("isa", ISAS)
def test_points_midway_between_centroids_get_the_lowest_index(follower, isa):
    # A grid of rows and a grid of centroids that halves it: rows with up to four equal distances.
    X = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2).astype("f4")
    centroids = X[(X % 4 == 1).all(axis=1)].astype(np.float64) + 1
    for order in (slice(None), slice(None, None, -1)):
        made = follower(X, centroids[order], isa)
        for _ in range(3):
            labels, (_, n_exact) = made.move_to(centroids[order])
            assert np.array_equal(labels, reference.assign(X, centroids[order]))
            assert n_exact > 0


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("d", [1, 3, 16])
def test_a_centroid_that_comes_a_rounding_nearer_than_another_wins(follower, d):
    # Pairs of equal centroids, then one of each pair moves by a rounding of float64.
    g = np.random.default_rng(d)
    X = g.normal(size=(2000, d))
    centroids = np.repeat(X[::100], 2, axis=0)
    made = follower(X, centroids)
    for direction in (np.inf, -np.inf):
        made.move_to(centroids)
        moved = centroids.copy()
        moved[::2] = np.nextafter(centroids[::2], direction)
        labels, _ = made.move_to(moved)
        assert np.array_equal(labels, reference.assign(X, moved))


@pytest.mark.parametrize("follower", FOLLOWERS)
@pytest.mark.parametrize("far", [1e6, 1e18, 1e25, 1e60])
def test_centroids_from_far_away_are_seen_when_they_come(follower, far):
    X, near = near_rows(1500, 5, 20)
    for place in (0, 7, 19):
        made = follower(X, near)
        away = near.copy()
        away[place] = far
        for moved in (away, near, away, away, near):
            labels, _ = made.move_to(moved)
            assert np.array_equal(labels, reference.assign(X, moved))


@pytest.mark.parametrize("follower", FOLLOWERS)
def test_a_step_as_long_as_the_gap_is_not_missed(follower):
    # Rows at 0, their centroid at -1, the other ever nearer from 3: from below 1 on it is nearer.
    X = np.zeros((200, 1))
    X[0] = 8  # so that not all rows are the same
    for step in (0.3, 0.5, 0.999, 1.0):
        centroids = np.array([[-1.0], [3.0]])
        made = follower(X, centroids)
        for _ in range(9):
            labels, _ = made.move_to(centroids)
            assert np.array_equal(labels, reference.assign(X, centroids))
            centroids = centroids - [[0.0], [step]]


@pytest.mark.parametrize("follower", FOLLOWERS)
def test_moves_between_two_passes_add_up(follower):
    X, centroids = near_rows(3000, 2, 30)
    made = follower(X, centroids)
    made.move_to(centroids)
    moved = centroids[::-1].copy()
    made.engine.set_centroids(moved)
    made.engine.set_centroids(moved)  # drifts by nothing
    labels = made.labels.copy()
    made.engine.assign(labels, 0, 512)
    moved_on = np.roll(centroids, 1, axis=0)
    made.engine.set_centroids(moved_on)
    made.engine.set_centroids(moved_on)
    made.labels = labels
    labels, _ = made.move_to(moved_on)
    assert np.array_equal(labels, reference.assign(X, moved_on))
