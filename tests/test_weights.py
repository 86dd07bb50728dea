"""Weights: what they mean, whatever their scale."""

import numpy as np
import pytest
import scipy.sparse
from beside import (
    assert_same_bits,
    each_class,
    each_class_beside_theirs,
    theirs_of,
)

from fastkm import KMeans, MiniBatchKMeans, kmeans_plusplus


@each_class
@pytest.mark.parametrize(
    "ones", [1, 1.0, np.ones(400), [1] * 400], ids=["int", "float", "array", "list"]
)
def test_no_weights_equal_ones(cloud, cls, ones):
    expected = cls(5, random_state=0).fit(cloud)
    assert_same_bits(cls(5, random_state=0).fit(cloud, sample_weight=ones), expected)
    assert expected.score(cloud, sample_weight=ones) == expected.score(cloud)
    if cls is MiniBatchKMeans:
        expected = cls(5, random_state=0).partial_fit(cloud)
        fit = cls(5, random_state=0).partial_fit(cloud, sample_weight=ones)
        assert np.array_equal(fit.cluster_centers_, expected.cluster_centers_)


@each_class
@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
@pytest.mark.parametrize("scale", [1e-310, 3e-300, 7e-100, 0.1, 3, 1e10, 3e300])
@pytest.mark.parametrize("magnitude", [1e-6, 1, 1e7])
def test_scaling_all_weights_changes_nothing_but_inertia_and_score(
    rng, cls, init, scale, magnitude
):
    X = rng.normal(size=(300, 4)) * magnitude
    weights = rng.uniform(0.1, 3, size=300)
    parameters = {"init": X[:6] if init == "array" else init, "n_init": 1, "random_state": 0}
    expected = cls(6, **parameters).fit(X, sample_weight=weights)
    fit = cls(6, **parameters).fit(X, sample_weight=weights * scale)
    assert np.array_equal(fit.labels_, expected.labels_)
    assert fit.n_iter_ == expected.n_iter_
    # Scaled weights are rounded, at 1e-310 to 13 digits.
    bound = 1e-11 * magnitude
    np.testing.assert_allclose(fit.cluster_centers_, expected.cluster_centers_, rtol=0, atol=bound)
    with np.errstate(over="ignore"):
        inertia = expected.inertia_ * np.float64(scale)
    assert fit.inertia_ == pytest.approx(inertia, rel=1e-10, abs=1e-320)
    assert fit.score(X, sample_weight=weights * scale) == -fit.inertia_


@each_class_beside_theirs
def test_score_weighs_as_scikit_learns(cloud, rng, cls):
    weights = rng.uniform(0, 3, size=len(cloud))
    ours = cls(5, random_state=0).fit(cloud)
    theirs = theirs_of(cls)(5, random_state=0).fit(cloud)
    for given in (None, weights, 2.5):
        score = theirs.score(cloud, sample_weight=given)
        assert ours.score(cloud, sample_weight=given) == pytest.approx(score, rel=1e-12)


def test_weighted_seeds_have_the_distribution_of_repeated_rows():
    # One trial of k-means++ over rows 0, 1, 3 repeated 1, 3 and 2 times: of all pairs of seeds, by
    # hand, P(first) = w / 6 and then in proportion to w * distance^2.
    X, weights = np.array([[0.0], [1.0], [3.0]]), np.array([1, 3, 2])
    gaps = weights * (X - X.T) ** 2
    expected = (weights / 6)[:, None] * gaps / gaps.sum(axis=1, keepdims=True)
    n_draws, random_state = 3000, np.random.RandomState(0)
    owner = np.repeat([0, 1, 2], weights)
    for X_drawn, given, row_of in [(X, weights, np.arange(3)), (X[owner], None, owner)]:
        counts = np.zeros((3, 3))
        for _ in range(n_draws):
            first, second = kmeans_plusplus(
                X_drawn, 2, sample_weight=given, n_local_trials=1, random_state=random_state
            )[1]
            counts[row_of[first], row_of[second]] += 1
        # Five standard deviations of a binomial count.
        bound = 5 * np.sqrt(n_draws * expected * (1 - expected))
        assert (np.abs(counts - n_draws * expected) <= bound).all()


@each_class
def test_rows_without_weight_are_no_rows_to_the_centres(cloud, cls):
    # Zero-weight rows change no draw of given centres, and no mean; MiniBatch draws all its batches
    # from the others.
    far = np.vstack([cloud, np.full((50, 4), 1e3)])
    weights = np.repeat([1.0, 0.0], [400, 50])
    kmeans = cls(4, init=cloud[:4], n_init=1, random_state=0).fit(far, sample_weight=weights)
    assert np.abs(kmeans.cluster_centers_).max() < 10
    if cls is KMeans:
        expected = cls(4, init=cloud[:4], tol=0).fit(cloud)
        kmeans = cls(4, init=cloud[:4], tol=0).fit(far, sample_weight=weights)
        np.testing.assert_allclose(kmeans.cluster_centers_, expected.cluster_centers_, atol=1e-12)
        assert kmeans.n_iter_ == expected.n_iter_


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_no_weight_add_nothing_to_inertia_however_far_they_are(kind):
    # Some of these distances have squares that are infinite in any unit of the rows' own, and
    # infinity times zero is no number.
    X = np.random.default_rng(0).uniform(-1.7, 1.7, size=(63, 1)) * 1e308
    kmeans = KMeans(1, init=[[-1.7551771e307]], n_init=1, max_iter=1).fit([[-1.7551771e307]] * 2)
    weights = np.arange(63) % 4
    assert kmeans.score(kind(X), sample_weight=weights) == -np.inf
    assert kmeans.fit(kind(X), sample_weight=weights).inertia_ == np.inf


# Mutation: weighted sums in X's own unit.
@pytest.mark.parametrize("init", ["array", "k-means++"])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_weighted_rows_near_float64s_limit_are_clustered_as_small_ones(kind, init, rng):
    # Sums of these rows, and differences of two, are more than float64 holds.
    X = rng.uniform(-1, 1, size=(200, 3)) * 1.7e308
    weights = rng.integers(0, 4, size=200)
    # With eight equal seeds, seven clusters are empty at first.
    seeds = np.vstack([X[:4], np.repeat(X[:1], 4, axis=0)]) if init == "array" else init

    def fit(exponent):
        given = np.ldexp(seeds, exponent) if init == "array" else seeds
        kmeans = KMeans(8, init=given, n_init=1, tol=0, random_state=0)
        return kmeans.fit(kind(np.ldexp(X, exponent)), sample_weight=weights)

    large, small = fit(0), fit(-700)
    assert np.array_equal(large.labels_, small.labels_)
    # Weighted sums round, of differences to another point here and there: a round more or less.
    assert abs(large.n_iter_ - small.n_iter_) <= 1
    most = np.abs(small.cluster_centers_).max()
    centres = np.ldexp(large.cluster_centers_, -700)
    np.testing.assert_allclose(centres, small.cluster_centers_, rtol=0, atol=1e-13 * most)


@pytest.mark.parametrize("scale", [1e-310, 3e-300, 1e10, 3e300])
@pytest.mark.parametrize("magnitude", [1e-6, 1, 1e7])
def test_batches_learn_the_same_under_scaled_weights(rng, scale, magnitude):
    X = rng.normal(size=(300, 4)) * magnitude
    weights = rng.uniform(0.1, 3, size=300)

    def learn(weights):
        kmeans = MiniBatchKMeans(6, init=X[:6], n_init=1, random_state=0)
        for begin in range(0, 300, 100):
            batch = slice(begin, begin + 100)
            kmeans.partial_fit(X[batch], sample_weight=weights[batch])
        return kmeans

    scaled, expected = learn(weights * scale), learn(weights)
    assert np.array_equal(scaled.labels_, expected.labels_)
    bound = 1e-11 * magnitude  # scaled weights are rounded, at 1e-310 to 13 digits
    centres = expected.cluster_centers_
    np.testing.assert_allclose(scaled.cluster_centers_, centres, rtol=0, atol=bound)
    np.testing.assert_allclose(scaled._counts, expected._counts * scale, rtol=1e-11)


def test_rows_without_weights_follow_heavy_ones(rng):
    # Beside 1e303 a weight of 1 is nothing, so the centres stay; their products with it overflow.
    X = rng.normal(size=(100, 3)) * 1e6
    kmeans = MiniBatchKMeans(3, random_state=0, reassignment_ratio=0)
    heavy = kmeans.partial_fit(X[:50], sample_weight=np.full(50, 1e303)).cluster_centers_
    for weights in (None, np.ones(50), np.full(50, 2.0)):
        kmeans.partial_fit(X[50:], sample_weight=weights)
        np.testing.assert_allclose(kmeans.cluster_centers_, heavy, rtol=1e-14)
