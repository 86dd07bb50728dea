"""Seeding: scikit-learn's draws, the right distribution, every kind of init."""

import numpy as np
import pytest
import reference
import sklearn.cluster
from scipy.stats import chisquare

from fastkm import KMeans, kmeans_plusplus


@pytest.mark.parametrize("n_local_trials", [None, 1, 5])
@pytest.mark.parametrize("seed", range(5))
def test_same_rows_as_scikit_learn(blobs, cloud, seed, n_local_trials):
    for X in (blobs, cloud):
        options = {"random_state": seed, "n_local_trials": n_local_trials}
        centers, indices = kmeans_plusplus(X, 12, **options)
        expected_centers, expected = sklearn.cluster.kmeans_plusplus(X, 12, **options)
        assert indices.tolist() == expected.tolist()
        assert np.array_equal(centers, expected_centers)


@pytest.mark.parametrize("seed", range(5))
def test_same_rows_as_scikit_learn_with_weights(blobs, rng, seed):
    weights = rng.uniform(0, 4, size=len(blobs))
    _, indices = kmeans_plusplus(blobs, 10, sample_weight=weights, random_state=seed)
    _, expected = sklearn.cluster.kmeans_plusplus(
        blobs, 10, sample_weight=weights, random_state=seed
    )
    assert indices.tolist() == expected.tolist()


def test_draws_leave_random_state_where_scikit_learn_leaves_it(blobs):
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    kmeans_plusplus(blobs, 7, random_state=ours)
    sklearn.cluster.kmeans_plusplus(blobs, 7, random_state=theirs)
    assert ours.uniform() == theirs.uniform()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int64])
def test_dtypes_pick_the_rows_of_their_float64_copy(rng, dtype):
    X = rng.integers(0, 200, size=(300, 6)).astype(dtype)
    centers, indices = kmeans_plusplus(X, 9, random_state=1)
    _, expected = sklearn.cluster.kmeans_plusplus(X.astype(np.float64), 9, random_state=1)
    assert indices.tolist() == expected.tolist()
    assert centers.dtype == dtype
    assert np.array_equal(centers, X[indices])


def test_rows_do_not_depend_on_n_threads_or_layout(cloud):
    _, expected = kmeans_plusplus(cloud, 9, random_state=2, n_threads=1)
    for X in (cloud, np.asfortranarray(cloud), cloud.tolist()):
        for n_threads in (2, 3):
            _, indices = kmeans_plusplus(X, 9, random_state=2, n_threads=n_threads)
            assert indices.tolist() == expected.tolist()


def test_second_seed_is_drawn_in_proportion_to_squared_distance():
    # One trial: given seed 0 at 0, rows at 1, 2, 3 come with probability 1/14, 4/14, 9/14.
    X = np.array([[0.0], [1], [2], [3]])
    counts = np.zeros(4)
    random_state = np.random.RandomState(0)
    while counts.sum() < 2000:
        _, rows = kmeans_plusplus(X, 2, n_local_trials=1, random_state=random_state)
        if rows[0] == 0:
            counts[rows[1]] += 1
    assert counts[0] == 0
    # A wrong distribution fails; the right one would in one seed of a thousand.
    assert chisquare(counts[1:], 2000 * np.array([1, 4, 9]) / 14).pvalue > 1e-3


def test_greedy_trial_that_lowers_the_potential_most_is_taken(cloud):
    # The potential after two seeds, over all second rows, is lowest for one row; with more trials
    # than anyone could miss it with, that row is taken.
    _, rows = kmeans_plusplus(cloud, 2, n_local_trials=5_000, random_state=0)
    first = reference.sq_dists(cloud, cloud[rows[:1]])
    potentials = np.minimum(first, reference.sq_dists(cloud, cloud)).sum(axis=0)
    assert rows[1] == np.argmin(potentials)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_zero_weight_rows_are_not_picked(cloud, init):
    weights = np.ones(len(cloud))
    weights[::2] = 0
    for seed in range(20):
        kmeans = KMeans(8, init=init, n_init=1, max_iter=1, random_state=seed, tol=1e300)
        seeds = _first_centroids(kmeans, cloud, weights)
        assert not set(map(tuple, seeds)) & set(map(tuple, cloud[::2]))


def _first_centroids(kmeans, X, weights):
    """The rows that a fit starts from, through the public function or the first draw of random."""
    if kmeans.init == "k-means++":
        return kmeans_plusplus(
            X, kmeans.n_clusters, sample_weight=weights, random_state=kmeans.random_state
        )[0]
    random_state = np.random.RandomState(kmeans.random_state)
    rows = random_state.choice(len(X), kmeans.n_clusters, replace=False, p=weights / weights.sum())
    started = KMeans(kmeans.n_clusters, init=X[rows], max_iter=1).fit(X, sample_weight=weights)
    fitted = kmeans.fit(X, sample_weight=weights)
    assert np.array_equal(fitted.cluster_centers_, started.cluster_centers_)
    return X[rows]


def test_zero_potential_picks_weighty_rows():
    # Rows 1 and 2 are the only ones that weigh, and coincide: the second seed has potential 0.
    X = np.array([[5.0], [1], [1], [7]])
    _, rows = kmeans_plusplus(X, 2, sample_weight=[0, 1, 1, 0], random_state=0)
    assert set(rows) <= {1, 2}


def test_zero_potential_without_weights_equals_scikit_learn():
    X = np.ones((10, 2))
    _, rows = kmeans_plusplus(X, 4, random_state=0)
    _, expected = sklearn.cluster.kmeans_plusplus(X, 4, random_state=0)
    assert rows.tolist() == expected.tolist()


def test_x_squared_norms_are_checked_and_change_nothing(cloud, outcome):
    norms = (cloud**2).sum(axis=1)
    _, rows = kmeans_plusplus(cloud, 4, x_squared_norms=norms, random_state=0)
    assert rows.tolist() == kmeans_plusplus(cloud, 4, random_state=0)[1].tolist()
    ours = outcome(kmeans_plusplus, cloud, 4, x_squared_norms=norms[:3])
    theirs = outcome(sklearn.cluster.kmeans_plusplus, cloud, 4, x_squared_norms=norms[:3])
    assert ours[0] is not None
    assert ours == theirs


def test_callable_gets_rows_where_they_stand_and_cannot_write(cloud):
    seen = {}

    def init(X, n_clusters, random_state):
        seen.update(X=X, n_clusters=n_clusters, random_state=random_state)
        return X[:n_clusters]

    kmeans = KMeans(5, init=init, n_init=1, random_state=3).fit(cloud)
    assert np.shares_memory(seen["X"], cloud)
    assert not seen["X"].flags.writeable
    assert seen["n_clusters"] == 5
    assert isinstance(seen["random_state"], np.random.RandomState)
    expected = KMeans(5, init=cloud[:5]).fit(cloud)
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)
    assert cloud.flags.writeable


def test_callable_draws_as_under_scikit_learn(cloud):
    def init(X, n_clusters, random_state):
        return X[random_state.permutation(len(X))[:n_clusters]]

    ours = KMeans(5, init=init, random_state=3).fit(cloud)
    theirs = sklearn.cluster.KMeans(5, init=init, random_state=3).fit(cloud)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("wrap", [list, np.array, np.asfortranarray, lambda rows: rows.tolist()])
def test_array_likes_start_the_same(cloud, wrap):
    kmeans = KMeans(4, init=wrap(cloud[:4])).fit(cloud)
    expected = KMeans(4, init=cloud[:4].copy()).fit(cloud)
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)
