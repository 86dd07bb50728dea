"""KMeans: results, with scikit-learn and the oracle as referees."""

import numpy as np
import pytest
import reference
import sklearn.cluster
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fastkm import KMeans, k_means

ALGORITHMS = ["auto", "lloyd", "elkan"]


def assert_centroids_right(actual, expected, X):
    """Centres of float64 input are right to 1e-12 of the feature's largest magnitude."""
    bound = 1e-12 * np.abs(np.asarray(X, dtype=np.float64)).max(axis=0)
    assert (np.abs(actual - expected) <= bound).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_fit_equals_hand_calculation(algorithm, dtype):
    X = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1]], dtype=dtype)
    init = np.array([[0, 0], [1, 1]], dtype=dtype)
    kmeans = KMeans(2, init=init, algorithm=algorithm).fit(X, sample_weight=[3, 1, 1, 3])
    # Means (3*0 + 0.5)/4 = 0.125 and (0.5 + 3*1)/4 = 0.875; inertia
    # 2 * (3 * 0.125^2 + 0.375^2) = 0.375; the second round changes no label.
    assert kmeans.labels_.tolist() == [0, 0, 1, 1]
    assert kmeans.cluster_centers_.tolist() == [[0.125, 0], [0.875, 1]]
    assert kmeans.inertia_ == 0.375
    assert kmeans.n_iter_ == 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("seed", range(4))
def test_same_random_state_takes_scikit_learns_path(blobs, cloud, algorithm, init, seed):
    for X in (blobs, cloud):
        ours = KMeans(6, init=init, n_init=3, random_state=seed, algorithm=algorithm).fit(X)
        theirs = sklearn.cluster.KMeans(6, init=init, n_init=3, random_state=seed).fit(X)
        assert (ours.labels_ == theirs.labels_).all()
        assert ours.n_iter_ == theirs.n_iter_
        assert_centroids_right(ours.cluster_centers_, theirs.cluster_centers_, X)
        assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("seed", range(4))
def test_same_random_state_takes_scikit_learns_path_with_weights(blobs, rng, init, seed):
    weights = rng.uniform(0.1, 3, size=len(blobs))
    ours = KMeans(6, init=init, n_init=2, random_state=seed).fit(blobs, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(6, init=init, n_init=2, random_state=seed)
    theirs.fit(blobs, sample_weight=weights)
    assert (ours.labels_ == theirs.labels_).all()
    assert ours.n_iter_ == theirs.n_iter_
    assert_centroids_right(ours.cluster_centers_, theirs.cluster_centers_, blobs)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)


def test_random_state_instance_is_left_as_scikit_learn_leaves_it(blobs):
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    KMeans(5, n_init=2, random_state=ours).fit(blobs)
    sklearn.cluster.KMeans(5, n_init=2, random_state=theirs).fit(blobs)
    assert ours.uniform() == theirs.uniform()


@pytest.mark.parametrize("max_iter", [1, 2, 5, 300])
@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8, 1e-100, 0])
def test_n_iter_and_centres_equal_oracle_and_scikit_learn(cloud, max_iter, tol):
    init = cloud[:7]
    ours = KMeans(7, init=init, max_iter=max_iter, tol=tol).fit(cloud)
    oracle = reference.lloyd(cloud, init, max_iter=max_iter, tol=tol)
    theirs = sklearn.cluster.KMeans(7, init=init, max_iter=max_iter, tol=tol).fit(cloud)
    assert ours.n_iter_ == oracle.n_iter == theirs.n_iter_
    assert (ours.labels_ == oracle.labels).all()
    assert_centroids_right(ours.cluster_centers_, oracle.centroids, cloud)
    assert ours.inertia_ == pytest.approx(oracle.inertia, rel=1e-12)


def test_algorithms_give_the_same_bits(cloud):
    fits = [KMeans(7, random_state=0, algorithm=name).fit(cloud) for name in ALGORITHMS]
    for fit in fits[1:]:
        assert np.array_equal(fit.cluster_centers_, fits[0].cluster_centers_)
        assert fit.inertia_ == fits[0].inertia_
        assert fit.n_iter_ == fits[0].n_iter_


def test_result_does_not_depend_on_n_threads(cloud):
    fits = [KMeans(7, random_state=0, n_threads=n).fit(cloud) for n in (1, 2, 3, 7)]
    for fit in fits[1:]:
        assert np.array_equal(fit.cluster_centers_, fits[0].cluster_centers_)
        assert np.array_equal(fit.labels_, fits[0].labels_)
        assert fit.inertia_ == fits[0].inertia_


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int32, bool])
def test_labels_are_what_predict_returns(rng, dtype):
    X = rng.integers(0, 2 if dtype is bool else 200, size=(300, 3)).astype(dtype)
    for max_iter in (1, 3, 300):
        kmeans = KMeans(4, random_state=0, max_iter=max_iter).fit(X)
        assert (kmeans.predict(X) == kmeans.labels_).all()
        assert (kmeans.labels_ == reference.assign(X, kmeans.cluster_centers_)).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float64),
        (np.uint8, np.float64),
        (np.int64, np.float64),
        (np.uint64, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes_of_attributes_and_results(rng, dtype, expected):
    X = rng.integers(0, 2 if dtype is bool else 50, size=(60, 3)).astype(dtype)
    kmeans = KMeans(3, random_state=0).fit(X)
    assert kmeans.cluster_centers_.dtype == expected
    assert kmeans.transform(X).dtype == expected
    assert kmeans.labels_.dtype == kmeans.predict(X).dtype == np.int32
    assert type(kmeans.inertia_) is float
    assert type(kmeans.n_iter_) is int
    assert type(kmeans.score(X)) is float


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float16])
def test_narrow_dtypes_equal_their_float64_copy(rng, dtype):
    X = rng.integers(0, 100, size=(200, 5)).astype(dtype)
    init = X[:4].astype(np.float64)
    narrow = KMeans(4, init=init).fit(X)
    wide = reference.lloyd(X, init)
    assert wide.gap > 1e-9  # no near tie: one right path
    assert (narrow.labels_ == wide.labels).all()
    assert narrow.n_iter_ == wide.n_iter
    assert_centroids_right(narrow.cluster_centers_, wide.centroids, X)


def _layouts(X):
    padded = np.full((2 * len(X), X.shape[1] + 3), np.nan)
    padded[::2, 1:-2] = X
    locked = X.copy()
    locked.flags.writeable = False
    return {
        "fortran": np.asfortranarray(X),
        "strided": padded[::2, 1:-2],
        "reversed": X[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": locked,
        "big-endian": X.astype(">f8"),
        "packed record": _packed(X),
        "list": X.tolist(),
        "object": X.astype(object),
    }


def _packed(X):
    record = np.zeros(len(X), dtype=[("flag", "u1"), ("row", "f8", X.shape[1])])
    record["row"] = X
    assert not record["row"].flags.aligned
    return record["row"]


@pytest.mark.parametrize("layout", _layouts(np.zeros((2, 2))))
def test_memory_layout_does_not_matter(cloud, layout):
    X = _layouts(cloud)[layout]
    expected = KMeans(5, random_state=0).fit(cloud)
    kmeans = KMeans(5, random_state=0).fit(X)
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)
    assert (kmeans.predict(X) == expected.labels_).all()
    assert np.array_equal(kmeans.transform(X), expected.transform(cloud))
    assert kmeans.score(X) == expected.score(cloud)


def test_memmap_is_read_in_place(cloud, tmp_path):
    np.save(tmp_path / "X.npy", cloud)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    kmeans = KMeans(5, random_state=0).fit(X)
    expected = KMeans(5, random_state=0).fit(cloud)
    assert np.array_equal(kmeans.cluster_centers_, expected.cluster_centers_)


@pytest.mark.parametrize("copy_x", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_input_arrays_are_not_written_to(blobs, dtype, copy_x):
    X, init = blobs.astype(dtype), blobs[:6].astype(dtype)
    weights = np.linspace(0.5, 2, len(X))
    before = X.copy(), init.copy(), weights.copy()
    kmeans = KMeans(6, init=init, copy_x=copy_x).fit(X, sample_weight=weights)
    kmeans.predict(X), kmeans.transform(X), kmeans.score(X, sample_weight=weights)
    for array, copy in zip((X, init, weights), before, strict=True):
        assert np.array_equal(array, copy)
    assert not np.shares_memory(kmeans.cluster_centers_, init)


def test_transform_holds_distances(blobs):
    kmeans = KMeans(6, random_state=0).fit(blobs)
    expected = np.sqrt(reference.sq_dists(blobs, kmeans.cluster_centers_))
    # A sum of d squares and a root in another order: a few times d units of 2^-53.
    np.testing.assert_allclose(kmeans.transform(blobs), expected, rtol=1e-14)
    assert (np.diag(kmeans.transform(kmeans.cluster_centers_)) == 0).all()


def test_score_is_the_negated_inertia(blobs, rng):
    weights = rng.uniform(0, 2, size=len(blobs))
    kmeans = KMeans(6, random_state=0).fit(blobs, sample_weight=weights)
    assert kmeans.score(blobs, sample_weight=weights) == pytest.approx(-kmeans.inertia_, rel=1e-12)
    expected = reference.inertia(blobs, kmeans.labels_, kmeans.cluster_centers_)
    assert kmeans.score(blobs) == pytest.approx(-expected, rel=1e-12)


def test_predict_of_other_dtype_than_fitted(blobs):
    kmeans = KMeans(6, random_state=0).fit(blobs.astype(np.float32))
    expected = reference.assign(blobs, kmeans.cluster_centers_)
    assert (kmeans.predict(blobs) == expected).all()
    assert kmeans.transform(blobs).dtype == np.float64


def test_empty_cluster_goes_to_the_farthest_row():
    # The second centre is nearest to nobody. All four rows are sqrt(0.5) or 0.5 away from the
    # first; rows 0 and 3 are farthest, and the lower index moves.
    X = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1.0]])
    kmeans = KMeans(2, init=[[0.5, 0.5], [3, 3]], max_iter=1).fit(X)
    np.testing.assert_allclose(kmeans.cluster_centers_, [[2 / 3, 2 / 3], [0, 0]], rtol=1e-15)


def test_empty_cluster_is_relocated_under_weights():
    kmeans = KMeans(2, init=[[-1], [10]]).fit([[-1], [1]], sample_weight=[1.9, 0.1])
    assert kmeans.cluster_centers_.ravel().tolist() == [-1, 1]


@pytest.mark.parametrize("n_empty", [1, 2, 4])
def test_relocation_of_several_clusters_equals_oracle(cloud, n_empty):
    init = np.vstack([cloud[: 6 - n_empty], 100 + np.arange(4 * n_empty).reshape(n_empty, 4)])
    kmeans = KMeans(6, init=init).fit(cloud)
    oracle = reference.lloyd(cloud, init)
    assert (kmeans.labels_ == oracle.labels).all()
    assert kmeans.n_iter_ == oracle.n_iter


def test_more_clusters_than_distinct_rows_warns_and_ends():
    X = np.array([[0, 0], [1, 1], [1, 1], [1, 0], [0, 1]])
    message = r"Number of distinct clusters \(4\) found smaller than n_clusters \(5\)"
    with pytest.warns(ConvergenceWarning, match=message):
        kmeans = KMeans(5, init=X).fit(X)
    # The rows are whole and small: their means are exact.
    assert kmeans.inertia_ == 0


def test_all_rows_equal():
    X = np.full((20, 3), 0.1)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\)"):
        kmeans = KMeans(3, random_state=0).fit(X)
    assert_centroids_right(kmeans.cluster_centers_, X[:3], X)
    # 60 squares of centres that are right to 1e-12 * 0.1.
    assert kmeans.inertia_ <= 60 * 1e-13**2


@pytest.mark.parametrize(
    ("offset", "scale"), [(1e6, 1), (1e4, 1e-3), (0, 1e-25), (0, 1e25), (-1e7, 100)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_are_right_far_from_the_origin_and_at_any_scale(rng, offset, scale, dtype):
    X = (rng.normal(size=(300, 4)) * scale + offset).astype(dtype)
    X[:, 2] = X[0, 2]  # a constant column
    kmeans = KMeans(3, init=X[[0, 100, 200]], max_iter=20).fit(X)
    assert (kmeans.labels_ == reference.assign(X, kmeans.cluster_centers_)).all()
    expected = reference.inertia(X, kmeans.labels_, kmeans.cluster_centers_)
    assert kmeans.inertia_ == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tight_blobs_far_apart(rng, dtype):
    side = np.repeat([-1e4, 1e4], 100)[:, None]
    X = (side + rng.normal(scale=1e-2, size=(200, 3))).astype(dtype)
    kmeans = KMeans(8, random_state=0).fit(X)
    assert (kmeans.labels_ == reference.assign(X, kmeans.cluster_centers_)).all()


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (1, 7, 1), (2, 1, 2), (9, 1, 9), (33, 2, 1)])
def test_smallest_shapes(rng, n, d, k):
    X = rng.normal(size=(n, d))
    kmeans = KMeans(k, random_state=0).fit(X)
    if k == n:
        assert sorted(kmeans.labels_) == list(range(n))
        assert_centroids_right(kmeans.cluster_centers_[kmeans.labels_], X, X)
    if k == 1:
        assert_centroids_right(kmeans.cluster_centers_[0], X.mean(axis=0), X)


def test_zero_weight_rows_move_nothing(blobs, rng):
    weights = rng.integers(0, 2, size=len(blobs)).astype(float)
    init = blobs[:6]
    kmeans = KMeans(6, init=init).fit(blobs, sample_weight=weights)
    oracle = reference.lloyd(blobs[weights > 0], init, tol=0)
    assert_centroids_right(kmeans.cluster_centers_, oracle.centroids, blobs)


def test_more_restarts_never_score_worse(cloud):
    inertias = [KMeans(8, n_init=n, random_state=0).fit(cloud).inertia_ for n in (1, 2, 5, 10)]
    assert inertias == sorted(inertias, reverse=True)


def test_verbose_prints_what_scikit_learn_prints(cloud, capsys):
    for tol in (1e-2, 0):
        init = cloud[:5]
        KMeans(5, init=init, verbose=1, tol=tol).fit(cloud)
        ours = capsys.readouterr().out.splitlines()
        sklearn.cluster.KMeans(5, init=init, verbose=1, tol=tol).fit(cloud)
        theirs = capsys.readouterr().out.splitlines()
        assert [_words(line) for line in ours] == [_words(line) for line in theirs]


def _words(line):
    """The line's words, with numbers that are not whole rounded to 9 digits."""
    words = []
    for word in line.split():
        try:
            words.append(f"{float(word.rstrip('.')):.9g}")
        except ValueError:
            words.append(word)
    return words


def test_k_means_function_returns_what_the_estimator_holds(blobs):
    kmeans = KMeans(6, random_state=1).fit(blobs)
    centroid, label, inertia, n_iter = k_means(blobs, 6, random_state=1, return_n_iter=True)
    assert np.array_equal(centroid, kmeans.cluster_centers_)
    assert np.array_equal(label, kmeans.labels_)
    assert (inertia, n_iter) == (kmeans.inertia_, kmeans.n_iter_)
    assert len(k_means(blobs, 6, random_state=1)) == 3


def test_digits_reach_scikit_learns_inertia():
    X = load_digits().data
    ours = KMeans(10, n_init=4, random_state=0).fit(X)
    theirs = sklearn.cluster.KMeans(10, n_init=4, random_state=0).fit(X)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-12)
    assert (ours.labels_ == theirs.labels_).all()
