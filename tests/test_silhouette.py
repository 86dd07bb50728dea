"""Silhouettes beside a float64 oracle and scikit-learn's."""

import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp
from core_tools import DTYPES, ISAS, interrupted_after, layouts, needs_timer, unchanged
from sklearn import metrics

from fastkm import _core
from fastkm.evaluation import _silhouette, silhouette_samples, silhouette_score

# What is promised of every value.
TOLERANCE = 1e-6


def oracle(X, labels, metric="euclidean"):
    """Silhouettes by their definition, all differences in float64."""
    X = np.asarray(X, dtype=np.float64)
    sq_dists = np.array([((X - x) ** 2).sum(axis=1) for x in X])
    distances = np.sqrt(sq_dists) if metric == "euclidean" else sq_dists
    is_in = labels[:, None] == np.unique(labels)
    sums, sizes = distances @ is_in, is_in.sum(axis=0)
    a = sums[is_in] / np.maximum(sizes - 1, 1)[is_in.argmax(axis=1)]
    b = np.where(is_in, np.inf, sums / sizes).min(axis=1)
    largest = np.maximum(a, b)
    is_scored = (sizes > 1)[is_in.argmax(axis=1)] & (largest > 0)
    return np.where(is_scored, (b - a) / np.where(is_scored, largest, 1), 0)


def blobs(rng, n, d, k, spread=0.5):
    labels = rng.permutation(np.arange(n) % k)
    return rng.normal(size=(k, d))[labels] + spread * rng.normal(size=(n, d)), labels


def tight_pair_far_from_a_third(rng):
    """Origins shared with the third cluster lose the pair's digits."""
    centres = np.repeat([[0.0] * 20, [1e-3] * 20, [1e4] * 20], 90, axis=0)
    return centres + 1e-4 * rng.normal(size=centres.shape), np.repeat([0, 1, 2], 90)


def equal_rows(rng):
    """Half of the pairs of a cluster are at distance 0, which products give as 1e-4."""
    return np.repeat(rng.normal(size=(4, 64)), 80, axis=0), np.repeat([0, 0, 1, 1], 80)


def far_from_the_origin(rng):
    X, labels = blobs(rng, 300, 30, 4)
    return X + 1e6, labels


def float32_far_from_the_origin(rng):
    X, labels = blobs(rng, 300, 30, 4)
    return (X + 1e4).astype(np.float32), labels


def tight_groups_of_small_clusters(rng):
    """Small clusters in one group, which is wide beside them."""
    places = np.repeat(rng.normal(size=(3, 16)), 40, axis=0)
    centres = np.repeat(places + 1e-6 * rng.normal(size=places.shape), 3, axis=0)
    return centres + 1e-6 * rng.normal(size=centres.shape), np.repeat(np.arange(120), 3)


def one_feature_many_times(rng):
    """All of a product's terms are equal, and their roundings may be."""
    x = np.repeat([0.1, 0.7, 1.3], 100) + 1e-3 * rng.normal(size=300)
    return np.repeat(x[:, None], 2000, axis=1), np.repeat([0, 1, 2], 100)


def two_balls_in_one_cluster(rng):
    X = 1e4 * np.sign(rng.normal(size=(240, 1))) + rng.normal(size=(240, 24))
    return X, np.where((X[:, 0] > 0) & (rng.random(240) < 0.5), 1, 0)


HOSTILE = [
    tight_pair_far_from_a_third,
    equal_rows,
    far_from_the_origin,
    float32_far_from_the_origin,
    tight_groups_of_small_clusters,
    one_feature_many_times,
    two_balls_in_one_cluster,
]


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.setattr(_core, "DEFAULT_ISA", request.param)
    return request.param


# --- values ------------------------------------------------------------------------------------


# Mutation: no root.
@pytest.mark.parametrize("d", [1, 2, 8, 9, 15, 16, 17, 63, 64, 65, 130])
@pytest.mark.parametrize(("n", "k"), [(3, 2), (65, 4), (300, 70), (330, 2)])
def test_values_are_those_of_the_definition(rng, isa, n, d, k):
    X, labels = blobs(rng, n, d, k)
    for rows in (X, X.astype(np.float32)):
        np.testing.assert_allclose(
            silhouette_samples(rows, labels), oracle(rows, labels), rtol=0, atol=TOLERANCE
        )


# Mutations: one origin for all groups; _LARGEST_REACH infinite (both by the tight pair).
@pytest.mark.parametrize("make", HOSTILE)
def test_no_digits_are_lost_where_they_could_cancel(rng, isa, make):
    X, labels = make(rng)
    np.testing.assert_allclose(
        silhouette_samples(X, labels), oracle(X, labels), rtol=0, atol=TOLERANCE
    )


# Mutations: all clusters' mean scatter; the own row not taken off.
@pytest.mark.parametrize("make", [*HOSTILE, lambda rng: blobs(rng, 500, 7, 30)])
def test_squared_distances_by_means_are_those_of_pairs(rng, make):
    X, labels = make(rng)
    np.testing.assert_allclose(
        silhouette_samples(X, labels, metric="sqeuclidean"),
        oracle(X, labels, "sqeuclidean"),
        rtol=0,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_values_are_those_of_scikit_learn(rng, metric):
    X, labels = blobs(rng, 2000, 20, 12)
    expected = metrics.silhouette_samples(X, labels, metric=metric)
    np.testing.assert_allclose(
        silhouette_samples(X, labels, metric=metric), expected, rtol=0, atol=TOLERANCE
    )
    assert silhouette_score(X, labels, metric=metric) == pytest.approx(
        metrics.silhouette_score(X, labels, metric=metric), abs=TOLERANCE
    )


# Mutation: a slice that begins anywhere, so that tiles and sums have another order.
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize(("d", "k"), [(3, 7), (40, 5), (200, 90)])
def test_bits_depend_neither_on_threads_nor_on_time(rng, monkeypatch, metric, d, k):
    X, labels = blobs(rng, 3000, d, k)
    expected = silhouette_samples(X, labels, metric=metric, n_threads=1)
    for n_threads in (2, 3):
        got = silhouette_samples(X, labels, metric=metric, n_threads=n_threads)
        assert np.array_equal(got, expected)
    monkeypatch.setattr(_silhouette, "SLICE_SECONDS", 0.0)
    assert np.array_equal(silhouette_samples(X, labels, metric=metric), expected)


# Mutation: a scale of 1.
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize("exponent", [-600, -100, 100, 500])
def test_units_do_not_matter(rng, metric, exponent):
    X, labels = blobs(rng, 200, 12, 3)
    rows = [X] if abs(exponent) > 100 else [X, X.astype(np.float32)]
    for here in rows:
        scaled = np.ldexp(here, exponent)
        expected = silhouette_samples(here, labels, metric=metric)
        np.testing.assert_allclose(
            silhouette_samples(scaled, labels, metric=metric), expected, rtol=0, atol=TOLERANCE
        )


# Mutation: means of values and not of differences from a row.
def test_equal_rows_score_zero(isa):
    X = np.repeat([[0.1] * 11], 40, axis=0)
    labels = np.arange(40) % 3
    for metric in ("euclidean", "sqeuclidean"):
        assert not silhouette_samples(X, labels, metric=metric).any()


def test_an_only_row_scores_zero(rng):
    X, labels = blobs(rng, 60, 5, 3)
    labels[7] = 9
    for metric in ("euclidean", "sqeuclidean"):
        samples = silhouette_samples(X, labels, metric=metric)
        assert samples[7] == 0
        assert np.count_nonzero(samples) == 59
        expected = metrics.silhouette_samples(X, labels, metric=metric)
        np.testing.assert_allclose(samples, expected, rtol=0, atol=TOLERANCE)


# --- input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_is_read_where_it_is(rng, tmp_path, dtype):
    values = rng.normal(size=(150, 13)) if dtype[0] == "f" else rng.integers(0, 2, (150, 13))
    X, labels = values.astype(dtype), np.arange(150) % 4
    expected = silhouette_samples(X, labels)
    np.testing.assert_allclose(expected, oracle(X, labels), rtol=0, atol=TOLERANCE)
    for name, laid_out in layouts(X, tmp_path):
        if name == "repeated":
            assert not silhouette_samples(laid_out, labels).any()
            continue
        with unchanged(laid_out, labels):
            assert np.array_equal(silhouette_samples(laid_out, labels), expected), name


def test_labels_are_anything_that_can_be_sorted(rng):
    X, labels = blobs(rng, 90, 6, 3)
    expected = silhouette_samples(X, labels)
    names = np.array(["b", "a", "c"])[labels]
    for same in (names, names.tolist(), names.astype(object), labels * 7 - 3, labels * 2.0):
        np.testing.assert_allclose(silhouette_samples(X, same), expected, rtol=0, atol=1e-12)


def _theirs_and_ours(X, labels):
    errors = []
    for function in (metrics.silhouette_samples, silhouette_samples):
        with pytest.raises((ValueError, TypeError)) as caught:
            function(X, labels)
        errors.append((type(caught.value), str(caught.value)))
    return errors


@pytest.mark.parametrize(
    ("X", "labels"),
    [
        (np.arange(10.0)[:, None], np.zeros(10, dtype=int)),
        (np.arange(10.0)[:, None], np.arange(10)),
        (np.array([[0.0], [np.nan], [1.0], [2.0]]), [0, 0, 1, 1]),
        (np.array([[0.0], [np.inf], [1.0], [2.0]]), [0, 0, 1, 1]),
    ],
    ids=["one cluster", "n clusters", "NaN", "infinity"],
)
def test_messages_are_those_of_scikit_learn(X, labels):
    theirs, ours = _theirs_and_ours(X, labels)
    assert ours[0] is theirs[0]
    assert ours[1].splitlines()[0].removesuffix(".") == theirs[1].splitlines()[0].removesuffix(".")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": [0, 1, 1]}, ValueError, "inconsistent numbers of samples"),
        ({"labels": [0.0, np.nan, 1.0, 1.0]}, ValueError, "labels contains NaN"),
        ({"metric": "cosine"}, ValueError, "metric must be 'euclidean' or 'sqeuclidean'"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"X": sp.csr_array(np.eye(4))}, TypeError, r"toarray\(\).*sklearn.metrics"),
        ({"sample_size": 1}, ValueError, "at least 1 for each of the 2 clusters"),
        ({"sample_size": 2.5}, TypeError, "integer"),
    ],
)
def test_what_is_wrong_is_said(options, error, message):
    arguments = {"X": np.arange(8.0).reshape(4, 2), "labels": [0, 0, 1, 1], **options}
    with pytest.raises(error, match=message):
        silhouette_score(**arguments)


# --- samples -----------------------------------------------------------------------------------


# Mutations: no least number; what rounding leaves to the first clusters.
@pytest.mark.parametrize(
    ("sizes", "sample_size", "expected"),
    [
        ([1000, 1000], 100, [50, 50]),
        ([9000, 1000, 4], 100, [86, 10, 4]),  # 96 in proportion, 86.4 and 9.6
        ([9900, 100], 50, [42, 8]),
        ([50, 50, 50, 50], 7, [2, 2, 2, 1]),
        ([1, 1, 1, 500], 4, [1, 1, 1, 1]),
        ([3, 2, 900], 904, [3, 2, 899]),
    ],
)
def test_a_sample_keeps_small_clusters(sizes, sample_size, expected):
    n_sampled = _silhouette.allocate(np.array(sizes), sample_size)
    assert n_sampled.sum() == sample_size
    assert n_sampled.tolist() == expected


# Mutation: equal weights.
def test_a_sample_weights_clusters_by_their_sizes():
    # All rows of a cluster see the same distances, so every sample gives the mean itself.
    crosses = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    places = np.repeat([0, 1, 2, 3], [150, 150, 5, 5])
    X, labels = crosses[places], places // 2
    expected = oracle(X, labels).mean()
    assert silhouette_score(X, labels) == pytest.approx(expected, abs=TOLERANCE)
    # Own distances depend on which rows are alike: of 150 and 150, and of 5 and 5, as many.
    for sample_size in (2, 9, 40):
        got = silhouette_score(X, labels, sample_size=sample_size, random_state=sample_size)
        assert got == pytest.approx(expected, abs=TOLERANCE)


def test_sampled_rows_are_compared_with_all_rows(rng):
    X, labels = blobs(rng, 700, 9, 4)
    rows = np.sort(rng.permutation(700)[:150]).astype(np.int32)
    clustering = _silhouette._check(X, labels, "euclidean", 2)
    for metric in ("euclidean", "sqeuclidean"):
        got = _silhouette._samples(clustering, metric, rows)
        assert np.array_equal(got, silhouette_samples(X, labels, metric=metric)[rows])


def test_samples_are_drawn_by_random_state(rng):
    X, labels = blobs(rng, 500, 4, 3)
    scores = [
        silhouette_score(X, labels, sample_size=60, random_state=seed) for seed in (0, 0, 1, 2)
    ]
    assert scores[0] == scores[1]
    assert len(set(scores)) == 3
    # Rows differ by some 0.15, so means of 60 by 0.02; and all rows are no sample.
    assert abs(np.mean(scores) - silhouette_score(X, labels)) < 0.06
    assert silhouette_score(X, labels, sample_size=900) == silhouette_score(X, labels)


# --- cost --------------------------------------------------------------------------------------


# Mutation: keep distances of all pairs, or to all clusters of all rows.
def test_memory_grows_with_rows_and_not_with_pairs():
    pytest.importorskip("resource")
    code = """
import resource, sys
import numpy as np
from fastkm.evaluation import silhouette_samples
rng = np.random.default_rng(0)
X = rng.normal(size=(20_000, 8)).astype(np.float32)
labels = np.arange(20_000) % 4000
silhouette_samples(X[:4000], labels[:4000] % 7, n_threads=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for metric in ("euclidean", "sqeuclidean"):
    silhouette_samples(X, labels, metric=metric, n_threads=2)
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    # Half a byte for each pair would be 200 MB, a float for each row and cluster 320.
    assert int(out.stdout) < 50e6


# Mutation: all targets in one call, which takes two threads a second.
@needs_timer
@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_is_heard(rng, n_threads):
    X = rng.normal(size=(40_000, 600)).astype(np.float32)
    labels = np.arange(40_000) % 10
    with interrupted_after(0.5) as pressed_at, pytest.raises(KeyboardInterrupt):
        silhouette_samples(X, labels, n_threads=n_threads)
    assert time.perf_counter() - pressed_at < 0.2


def test_core_refuses_what_does_not_fit(rng):
    problem = _silhouette._check(rng.normal(size=(8, 3)), [0, 1] * 4, "euclidean", 1).problem
    right = {
        "order": np.arange(8, dtype=np.int32),
        "begins": np.array([0, 4, 8]),
        "rows": np.arange(8, dtype=np.int32),
        "clusters": np.repeat([0, 1], 4).astype(np.int32),
        "task_begins": np.array([0, 4, 8]),
        "origins": np.zeros((2, 3)),
        "origins_f32": np.zeros((2, 3), dtype=np.float32),
    }
    make = lambda **wrong: _core.Silhouette(  # noqa: E731
        problem.points, **{**right, **wrong}, scale=1.0, n_threads=1, isa=problem.isa
    )
    silhouette = make()
    for name, wrong in {
        "order": np.full(8, 8, dtype=np.int32),
        "rows": np.full(8, -1, dtype=np.int32),
        "clusters": np.full(8, 2, dtype=np.int32),
        "begins": np.array([0, 8, 8]),
        "task_begins": np.array([1, 4, 8]),
        "origins": np.zeros((2, 2)),
        "origins_f32": np.zeros((1, 3), dtype=np.float32),
    }.items():
        with pytest.raises(ValueError, match=name.removesuffix("_f32")):
            make(**{name: wrong})
    for wrong in ((0, 3, 0, 8), (0, 2, 1, 8), (0, 2, 0, 9), (1, 1, 0, 8)):
        with pytest.raises(ValueError, match="are none"):
            silhouette.measure(*wrong)
    with pytest.raises(ValueError, match="must have shape"):
        silhouette.take(*np.zeros((3, 7)))
