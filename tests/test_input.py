"""Every container and memory that people hand over, read and left alone."""

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from beside import (
    assert_same_bits,
    assert_same_fit,
    each_class,
    each_class_beside_theirs,
    theirs_of,
)
from joblib import Parallel, delayed
from scipy.sparse import csr_array
from sklearn.base import clone

from fastkm import KMeans, MiniBatchKMeans, k_means, kmeans_plusplus


@each_class_beside_theirs
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_numpy_strings_name_an_init(cloud, cls, init):
    init = np.array([init])[0]
    assert type(init) is np.str_
    theirs = theirs_of(cls)(5, init=init, n_init=2, random_state=0).fit(cloud)
    assert_same_fit(cls(5, init=init, n_init=2, random_state=0).fit(cloud), theirs)
    if cls is KMeans:
        options = {"init": init, "n_init": 2, "random_state": 0}
        ours, theirs = k_means(cloud, 5, **options), sklearn.cluster.k_means(cloud, 5, **options)
        assert np.array_equal(ours[1], theirs[1])


@each_class_beside_theirs
@pytest.mark.parametrize(
    "wrap",
    [np.asfortranarray, np.ndarray.tolist, pd.DataFrame, np.float32],
    ids=lambda f: f.__name__,
)
def test_any_array_like_is_an_init(cloud, cls, wrap):
    init = wrap(cloud[:4].astype(np.float32).astype(np.float64))
    ours = cls(4, init=init, n_init=1, random_state=0).fit(cloud)
    assert_same_fit(ours, theirs_of(cls)(4, init=init, n_init=1, random_state=0).fit(cloud))


@each_class_beside_theirs
def test_a_callable_may_return_an_array_like(cloud, cls):
    def init(X, n_clusters, random_state):
        return [list(X[i]) for i in random_state.permutation(len(X))[:n_clusters]]

    ours = cls(4, init=init, n_init=3, random_state=0).fit(cloud)
    assert_same_fit(ours, theirs_of(cls)(4, init=init, n_init=3, random_state=0).fit(cloud))


@each_class
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_float32_takes_the_path_of_float64(rng, cls, init):
    # 200,000 rows in one dimension: a float32 cumulative sum of their distances would have lost
    # most of its digits.
    X = rng.normal(size=(200_000, 1)).astype(np.float32)
    parameters = {"init": init, "n_init": 1, "random_state": 3, "max_iter": 5}
    single = cls(7, **parameters).fit(X)
    double = cls(7, **parameters).fit(X.astype(np.float64))
    assert np.array_equal(single.labels_, double.labels_)
    assert np.array_equal(single.cluster_centers_, double.cluster_centers_.astype(np.float32))
    assert single.n_iter_ == double.n_iter_
    if init == "k-means++":
        rows = [kmeans_plusplus(x, 7, random_state=3)[1] for x in (X, X.astype(np.float64))]
        assert np.array_equal(*rows)


@each_class
def test_lists_and_integers_give_float64(cls):
    rows = [[0, 0], [1, 0], [9, 9], [9, 8]]
    expected = cls(2, random_state=0).fit(np.array(rows, dtype=np.float64))
    for X in (rows, np.array(rows, dtype=np.int8), pd.DataFrame(rows), tuple(map(tuple, rows))):
        kmeans = cls(2, random_state=0).fit(X)
        assert kmeans.cluster_centers_.dtype == np.float64
        assert_same_bits(kmeans, expected)
        assert kmeans.transform(X).dtype == np.float64


@each_class
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_given_is_written_to_or_kept(blobs, cls, order, dtype):
    X = np.asarray(blobs, dtype=dtype, order=order)
    init, weights = X[:6].copy(), np.linspace(0.5, 2, len(X))
    given = (X, init, weights)
    before = [array.copy() for array in given]
    kmeans = cls(6, init=init, n_init=1)
    if cls is KMeans:
        kmeans.set_params(copy_x=False)
        k_means(X, 6, init=init, n_init=1, copy_x=False, sample_weight=weights)
    kmeans.fit(X, sample_weight=weights)
    kmeans.score(X, sample_weight=weights)
    centers, _ = kmeans_plusplus(X, 6, sample_weight=weights)
    for array, copy in zip(given, before, strict=True):
        assert np.array_equal(array, copy)
        for result in (kmeans.cluster_centers_, kmeans.labels_, kmeans.transform(X), centers):
            assert not np.shares_memory(result, array)


@each_class
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_memory_mapped_read_only_input_init_and_weights(rng, cls, dtype, tmp_path):
    X = rng.integers(0, 200, size=(300, 4)).astype(dtype)
    arrays = {"X": X, "init": X[:5], "weights": rng.uniform(0, 2, size=300)}
    mapped = {}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        assert not mapped[name].flags.writeable

    def fit(X, init, weights):
        return cls(5, init=init, n_init=1, random_state=0).fit(X, sample_weight=weights)

    ours, expected = fit(**mapped), fit(**arrays)
    assert_same_bits(ours, expected)
    assert np.array_equal(ours.predict(mapped["X"]), expected.labels_)
    assert np.array_equal(ours.transform(mapped["X"]), expected.transform(X))
    assert ours.score(mapped["X"], None, mapped["weights"]) == -expected.inertia_
    if cls is MiniBatchKMeans:
        ours = cls(5, init=mapped["init"], n_init=1, random_state=0)
        ours.partial_fit(mapped["X"], sample_weight=mapped["weights"])
        expected = cls(5, init=arrays["init"], n_init=1, random_state=0)
        expected.partial_fit(X, sample_weight=arrays["weights"])
        assert np.array_equal(ours.cluster_centers_, expected.cluster_centers_)


def _frame(library, X):
    names = [f"f{i}" for i in range(X.shape[1])]
    if library == "pandas":
        return pd.DataFrame(X, columns=names)
    return pytest.importorskip("polars", reason="no polars").DataFrame(X, schema=names)


@each_class_beside_theirs
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_in_and_out(blobs, cls, library):
    frame = _frame(library, blobs)
    ours, theirs = (
        c(3, random_state=0).set_output(transform=library).fit(frame) for c in (cls, theirs_of(cls))
    )
    assert_same_bits(ours, cls(3, random_state=0).fit(blobs))
    if hasattr(theirs, "feature_names_in_"):  # not of every polars under every scikit-learn
        assert ours.feature_names_in_.tolist() == theirs.feature_names_in_.tolist()
    assert ours.get_feature_names_out().tolist() == theirs.get_feature_names_out().tolist()
    out, expected = ours.transform(frame), theirs.transform(frame)
    assert type(out) is type(expected) is type(frame)
    assert list(out.columns) == list(expected.columns)
    np.testing.assert_allclose(out.to_numpy(), expected.to_numpy(), rtol=1e-9)
    again = clone(ours).set_output(transform=library).fit_transform(frame)
    assert type(again) is type(frame)
    assert np.array_equal(again.to_numpy(), out.to_numpy())
    assert np.array_equal(ours.predict(frame), theirs.predict(frame))


@each_class
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_wrong_feature_names_raise_scikit_learns_words(blobs, cls, outcome, library):
    frame = _frame(library, blobs)
    columns = list(frame.columns)
    fitted = [c(3, random_state=0).fit(frame) for c in (cls, theirs_of(cls))]
    if not hasattr(fitted[1], "feature_names_in_"):
        pytest.skip(f"this scikit-learn reads no names of this {library}")
    swapped = frame[[columns[1], columns[0], *columns[2:]]]
    for method in ("predict", "transform", "score"):
        ours, theirs = (outcome(getattr(kmeans, method), swapped) for kmeans in fitted)
        assert ours == theirs
        assert ours[0] is not None
        # Without names: a warning, of the same words but for the class, whose name is the same.
        ours, theirs = (outcome(getattr(kmeans, method), blobs) for kmeans in fitted)
        assert ours == theirs
        assert "does not have valid feature names" in ours[1][0][1]


@each_class
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_joblib_fits_alike_in_threads_and_processes(cloud, cls, backend):
    estimators = [cls(k, random_state=0) for k in (3, 5, 8)]
    expected = [clone(kmeans).fit(cloud) for kmeans in estimators]
    fits = Parallel(n_jobs=2, backend=backend)(delayed(kmeans.fit)(cloud) for kmeans in estimators)
    for ours, alone in zip(fits, expected, strict=True):
        assert_same_bits(ours, alone)
        assert np.array_equal(ours.predict(cloud), alone.labels_)


TINY = [1e-150, 1e-160, 1e-300, 1e-311]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("size", TINY)
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_tiny_rows_are_labelled_and_measured_under_centroids_that_are_not(rng, size, kind):
    # Beside such centroids the rows are zeros: |c|^2 is each one's squared distance.
    rows = rng.normal(size=(40, 2)) * size
    centroids = np.array([[16.0, 23.5], [9.25, 11.0], [9.5, 11.0]])
    fitted = KMeans(3, init=centroids, n_init=1, max_iter=1).fit(centroids)
    sq_norms = (centroids**2).sum(axis=1)
    assert fitted.predict(kind(rows)).tolist() == [1] * 40
    assert fitted.score(kind(rows)) == -40 * sq_norms[1]
    distances = fitted.transform(kind(rows))
    assert np.allclose(distances, np.sqrt(sq_norms), rtol=1e-15, atol=0)
    once = KMeans(3, init=centroids, n_init=1, max_iter=1).fit(kind(rows))
    assert len(set(once.labels_)) <= 3
    assert np.isfinite(once.inertia_)
    batches = MiniBatchKMeans(3, init=centroids, n_init=1).partial_fit(kind(rows))
    assert np.isfinite(batches.inertia_)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_a_far_centroid_does_not_part_tiny_rows_from_their_own(rng):
    # The nearest ones must still be told apart, though the far one's square is out of range.
    rows = np.repeat([[1e-300, 0], [0, 3e-300]], 5, axis=0)
    centroids = np.array([[0, 3e-300], [1e-300, 0], [5.0, 5.0]])
    fitted = KMeans(3, init=centroids, n_init=1, max_iter=1).fit(centroids)
    fitted.cluster_centers_ = centroids
    assert fitted.predict(rows).tolist() == [1] * 5 + [0] * 5


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("far", [1e150, 1e288])
def test_a_callable_may_place_a_seed_whose_square_is_out_of_range(kind, far):
    # All rows are nearest to the first seed; the empty cluster takes the farthest one, 10.
    rows = kind(np.array([[0.0], [1.0], [9.0], [10.0]]))
    fitted = KMeans(2, init=lambda X, k, random_state: [[0.5], [far]], n_init=2).fit(rows)
    assert fitted.labels_.tolist() == [0, 0, 1, 1]
    assert fitted.cluster_centers_.tolist() == [[0.5], [9.5]]
    assert fitted.inertia_ == 1.0


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("size", [1.0, *TINY])
@pytest.mark.parametrize("seeds", [[[16.0], [9.0]], [[-1e200], [1e150]], [[0.5], [1e288]]])
@each_class
def test_seeds_of_a_callable_are_those_of_an_array(cls, seeds, size, kind, rng):
    rows = kind(rng.normal(size=(50, 1)) * size)
    called = cls(2, init=lambda X, k, random_state: seeds, n_init=1, random_state=0).fit(rows)
    given = cls(2, init=np.array(seeds), n_init=1, random_state=0).fit(rows)
    assert_same_bits(called, given)
    assert np.isfinite(called.inertia_)
    if size == 1.0:
        points = rows.toarray() if kind is csr_array else rows
        distances = np.abs(points - called.cluster_centers_.T)
        assert (distances[np.arange(50), called.labels_] <= distances.min(axis=1)).all()


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_rows_are_labelled_under_centroids_whose_squares_are_out_of_range(kind):
    rows, centroids = np.array([[0.0], [1.0]]), np.array([[-1e288], [1e279]])
    fitted = KMeans(2, init=centroids, n_init=1).fit(centroids)
    assert fitted.predict(kind(rows)).tolist() == [1, 1]
    assert np.allclose(fitted.transform(kind(rows)), [[1e288, 1e279]] * 2, rtol=1e-15)
