"""What people rely on when they change the import: both estimators beside scikit-learn's."""

import contextlib
import io
import sys

import numpy as np
import pytest
import sklearn.cluster
from beside import (
    assert_same_bits,
    assert_same_fit,
    each_class,
    each_class_beside_theirs,
    theirs_of,
)

from fastkm import KMeans, MiniBatchKMeans, k_means


@pytest.mark.parametrize("algorithm", ["auto", "lloyd", "elkan"])
@pytest.mark.parametrize("tol", [1e-2, 1e-8, 1e-100, 0])
@pytest.mark.parametrize("weighs", [False, True])
def test_n_iter_is_scikit_learns_for_every_algorithm(cloud, rng, algorithm, tol, weighs):
    weights = rng.uniform(0.5, 2, size=len(cloud)) if weighs else None
    ours = KMeans(6, init=cloud[:6], tol=tol, algorithm=algorithm).fit(cloud, None, weights)
    for name in ("lloyd", "elkan"):
        theirs = sklearn.cluster.KMeans(6, init=cloud[:6], tol=tol, algorithm=name)
        assert_same_fit(ours, theirs.fit(cloud, None, weights))


@pytest.mark.parametrize("tol", [1e-2, 1e-8, 1e-100, 0])
def test_algorithms_take_the_same_rounds_where_the_filter_runs(rng, tol):
    # Many features, clusters and rows, variance in few directions: what "auto" and "elkan" need.
    latent = rng.normal(size=(2500, 5)) @ rng.normal(size=(5, 200)) * 3
    X = (latent + rng.normal(size=latent.shape) * 0.1).astype(np.float32)
    fits = [
        KMeans(30, init=X[:30], tol=tol, max_iter=12, algorithm=name).fit(X)
        for name in ("auto", "lloyd", "elkan")
    ]
    for fit in fits[1:]:
        assert_same_bits(fit, fits[0])


@each_class
def test_more_rounds_and_restarts_never_score_worse(cloud, cls):
    if cls is KMeans:
        inertias = [
            cls(8, init=cloud[:8], max_iter=m, tol=0).fit(cloud).inertia_
            for m in (1, 2, 3, 5, 20, 90)
        ]
        assert inertias == sorted(inertias, reverse=True)
        scores = [k_means(cloud, 8, n_init=n, random_state=0)[2] for n in (1, 3, 10)]
        assert scores == sorted(scores, reverse=True)
    else:
        # One batch, whole: each step is a round that cannot lower the score by much.
        one = cls(8, init=cloud[:8], n_init=1, max_iter=1, batch_size=400).fit(cloud)
        many = cls(8, init=cloud[:8], n_init=1, max_iter=50, batch_size=400).fit(cloud)
        assert many.inertia_ < one.inertia_


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strictly_converged_centres_stay(blobs, dtype):
    X = blobs.astype(dtype)
    kmeans = KMeans(6, random_state=0, tol=0).fit(X)
    centres = kmeans.cluster_centers_
    assert len(np.unique(centres, axis=0)) == 6
    assert kmeans.predict(centres).tolist() == list(range(6))
    again = KMeans(6, init=centres, tol=0).fit(X)
    assert np.array_equal(again.cluster_centers_, centres)
    assert np.array_equal(again.labels_, kmeans.labels_)
    assert again.inertia_ == kmeans.inertia_
    # One round moves nothing; rounded centres need a second, to see that no label changes.
    assert again.n_iter_ == (1 if dtype == np.float64 else 2)


@each_class
def test_predict_is_labels_however_the_fit_ended(cloud, rng, cls):
    weights = rng.uniform(0, 2, size=len(cloud))
    for dtype in (np.float32, np.float64):
        X = cloud.astype(dtype)
        for parameters in ({"max_iter": 1}, {"max_iter": 4}, {"tol": 1.0}, {"tol": 0.0}):
            kmeans = cls(9, random_state=0, **parameters).fit(X, sample_weight=weights)
            assert np.array_equal(kmeans.predict(X), kmeans.labels_)
            assert np.array_equal(
                cls(9, random_state=0, **parameters).fit_predict(X, None, weights), kmeans.labels_
            )
            assert kmeans.score(X, sample_weight=weights) == -kmeans.inertia_


@each_class
@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e4, 1), (-300, 1e-3), (0, 1e-18), (0, 1e17)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 50])
def test_distances_are_right_and_zero_on_the_diagonal(rng, cls, offset, scale, dtype, d):
    X = (rng.normal(size=(40, d)) * scale + offset).astype(dtype)
    kmeans = cls(7, random_state=0, max_iter=3).fit(X)
    centres = kmeans.cluster_centers_
    distances = kmeans.transform(X)
    assert distances.dtype == dtype
    difference = X.astype(np.longdouble)[:, None] - centres.astype(np.longdouble)
    expected = np.sqrt((difference**2).sum(axis=2)).astype(np.float64)
    rtol = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(distances, expected, rtol=rtol, atol=0)
    assert (np.diag(kmeans.transform(centres)) == 0).all()


SMALL = np.arange(24.0).reshape(8, 3) ** 2


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_clusters": 0},
        {"n_clusters": 9},
        {"init": SMALL[:3]},
        {"init": SMALL[:4, :2]},
        {"init": "k-mean"},
        {"init": SMALL[:4], "n_init": 3},
        {"n_init": 0},
        {"max_iter": 0},
        {"tol": -1.0},
        {"n_clusters": 1, "algorithm": "elkan"},
        {"sample_weight": np.ones(7)},
        {"return_n_iter": "yes"},
        {"X": SMALL[0]},
    ],
    ids=str,
)
def test_k_means_warns_and_raises_in_scikit_learns_words(parameters, outcome):
    parameters = {"X": SMALL, "n_clusters": 4, **parameters}
    ours, theirs = (outcome(f, **parameters) for f in (k_means, sklearn.cluster.k_means))
    if ours[0] is not None and "{" in ours[0][1]:  # a set of choices, printed in any order
        ours, theirs = (((kind, sorted(text)), caught) for (kind, text), caught in (ours, theirs))
    assert ours == theirs
    assert ours != (None, [])


@each_class_beside_theirs
def test_verbose_prints_through_python(cloud, cls):
    # Not to the file descriptor: whoever redirects sys.stdout gets the lines.
    printed = []
    for c in (cls, theirs_of(cls)):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            c(4, random_state=0, n_init=2, verbose=1).fit(cloud)
            assert sys.stdout is out
        printed.append([line.split()[0] for line in out.getvalue().splitlines()])
    assert printed[0] == printed[1]
    assert len(printed[0]) > 3


@each_class_beside_theirs
@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (1, 7, 1), (2, 1, 2), (9, 1, 9), (33, 2, 1)])
@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
def test_smallest_shapes_equal_scikit_learn(rng, cls, n, d, k, init):
    X = rng.normal(size=(n, d))
    parameters = {"init": X[:k] if init == "array" else init, "n_init": 1, "random_state": 0}
    ours, theirs = (c(k, **parameters).fit(X) for c in (cls, theirs_of(cls)))
    if k == n > 2 and init == "k-means++":
        # The last two rows are nearest to each other and tie exactly; there rounding chooses.
        assert cls is MiniBatchKMeans or sorted(ours.labels_) == list(range(n))
        assert (ours.cluster_centers_[ours.labels_] == X).all() or cls is MiniBatchKMeans
        return
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    assert np.array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.inertia_ == pytest.approx(theirs.inertia_, abs=1e-12)


@each_class_beside_theirs
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_zero_variance_settles(cls, init, outcome):
    # 0.5 and its multiples have exact means.
    X = np.full((20, 3), 0.5)
    kmeans = cls(3, init=init, random_state=0)
    ours = outcome(kmeans.fit, X)
    theirs = outcome(theirs_of(cls)(3, init=init, random_state=0).fit, X)
    assert ours == theirs
    assert (kmeans.cluster_centers_ == 0.5).all()
    assert kmeans.inertia_ == 0
    # All centres tie: the lowest index.
    assert (kmeans.predict(X) == 0).all()


@each_class
def test_ties_go_to_the_lowest_index(cls):
    X = np.array([[0.0], [2.0], [4.0]])
    kmeans = cls(3, init=X, n_init=1, random_state=0).fit(X)
    kmeans.cluster_centers_ = X
    assert kmeans.predict([[1.0], [3.0], [2.0]]).tolist() == [0, 1, 1]
    kmeans.cluster_centers_ = X[[2, 0, 1]]
    assert kmeans.predict([[1.0], [3.0]]).tolist() == [1, 0]


@each_class
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subsets_and_permutations_get_the_same_labels_and_distances(rng, cls, dtype):
    X = rng.normal(size=(700, 5)).astype(dtype)
    kmeans = cls(9, random_state=0).fit(X)
    labels, distances = kmeans.predict(X), kmeans.transform(X)
    order = rng.permutation(700)
    for rows in (order, order[:33], slice(None, None, 3), slice(255, 258), [4]):
        assert np.array_equal(kmeans.predict(X[rows]), labels[rows])
        assert np.array_equal(kmeans.transform(X[rows]), distances[rows])


def test_no_module_uses_scikit_learns_k_means():
    theirs = {**vars(sklearn.cluster), **vars(sklearn.cluster._kmeans)}
    private = {
        id(thing)
        for thing in theirs.values()
        if str(getattr(thing, "__module__", "")).startswith("sklearn.cluster")
    }
    # jobs alone runs scikit-learn's, beside fastkm's own.
    modules = [
        module
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "fastkm" and not name.startswith("fastkm.jobs")
    ]
    assert len(modules) > 5
    for module in modules:
        assert not [name for name, thing in vars(module).items() if id(thing) in private], module
    for cls in (KMeans, MiniBatchKMeans):
        assert not [base for base in cls.__mro__ if base.__module__.startswith("sklearn.cluster")]
