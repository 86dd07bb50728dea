"""Labels: the float64 argmin bit for bit, on every instruction set, whatever X looks like."""

from functools import cache

import core_tools
import numpy as np
import pytest
import reference
from core_tools import DTYPES, ISAS, LABELLERS

# Around one, vectors of 4 to 16 lanes, panels of 8, 16 and 64 points, blocks of 256 rows.
NS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 520, 70]
DS = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129, 784]
KS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 24, 25, 31, 33, 64, 65, 100]
# The lengths share no factor but one, so that every size meets most others.
SIZES = [(NS[i % 23], DS[i % 19], KS[(5 * i) % 17], DTYPES[i % 12]) for i in range(115)]
SIZES += [(257, d, 100, "f4") for d in (3, 17)] + [(300, 4, 65, "f8"), (65, 5, 17, "f2")]


def random_values(generator, shape, dtype):
    if dtype == "?":
        return generator.integers(0, 2, size=shape).astype(bool)
    if dtype in ("f2", "f4", "f8"):
        return generator.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return generator.integers(max(info.min, -300), min(info.max, 300), size=shape).astype(dtype)


@cache
def case(n, d, k, dtype):
    """Return (X, centroids, labels): some centroids are rows, some appear twice."""
    generator = np.random.default_rng([n, d, k])
    X = random_values(generator, (n, d), dtype)
    centroids = random_values(generator, (k, d), "f8") + X.astype(np.float64).mean(axis=0)
    n_rows = min(n, k // 2)
    centroids[:n_rows] = X[:n_rows]
    if k > 3:
        centroids[-1] = centroids[1]
    return X, centroids, reference.assign(X, centroids)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize(("n", "d", "k", "dtype"), SIZES)
def test_labels_are_the_oracles_for_awkward_sizes(labeller, n, d, k, dtype):
    X, centroids, expected = case(n, d, k, dtype)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("d", [1, 3, 4, 19, 70])
@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_do_not_depend_on_layout(labeller, d, dtype, tmp_path):
    X, centroids, _ = case(75, d, 9, dtype)
    for name, view in core_tools.layouts(X, tmp_path):
        expected = reference.assign(view, centroids)
        assert np.array_equal(core_tools.assign(view, centroids, labeller), expected), name


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("dtype", [t for t in DTYPES if t not in ("f2", "f4", "f8", "?")])
def test_integers_over_their_whole_range(labeller, dtype):
    # Sums of squares reach 2^128; in float64 all rows are right all the same.
    info = np.iinfo(dtype)
    generator = np.random.default_rng(3)
    X = generator.integers(info.min, info.max, size=(90, 6), dtype=dtype, endpoint=True)
    X[0], X[1] = info.min, info.max
    centroids = X[::9].astype(np.float64)
    expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("labeller", LABELLERS)
def test_all_finite_halves(labeller):
    X = np.arange(2**16, dtype=np.uint16).view(np.float16)
    X = np.ascontiguousarray(X[np.isfinite(X)][:, None])
    for scale in (1.0, 2.0**-24):  # the second puts all centroids among the denormals
        centroids = np.array([[-60.0], [-3], [0], [2], [5], [900]]) * scale
        expected = reference.assign(X, centroids)
        assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("apart", [1, 3, 5])
def test_twins_that_float32_cannot_tell_apart(labeller, d, apart):
    # Near each other in the order or not: kernels fold centroids by fours and by sixes.
    generator = np.random.default_rng([d, apart])
    X = generator.normal(size=(300, d))
    centroids = generator.normal(size=(75, d))
    for j in range(0, 75 - apart, 2 * apart):
        first, second = slice(j, j + apart), slice(j + apart, min(j + 2 * apart, 75))
        n_twins = second.stop - second.start
        centroids[second] = centroids[first][:n_twins] * (1 + 1e-12)
    expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


def hostile(name):
    """Return (X, centroids) of data that breaks one method or another."""
    g = np.random.default_rng(12)
    n, d, k = 300, 6, 7
    normal = g.normal(size=(n, d))
    blob = np.where(g.integers(0, 2, size=(n, 1)), 1e4, -1e4)
    X = {
        "offset 1e8": normal + 1e8,
        "offset 1e8, float32": (normal * 50 + 1e8).astype("f4"),
        "blobs at 1e4": normal + blob,
        "blobs at 1e4, float32": (normal + blob).astype("f4"),
        "tight blobs": normal * 1e-3 + blob,
        "ties of 8 bits": g.integers(0, 4, size=(n, d)).astype("u1"),
        "all rows equal": np.full((n, d), 0.1),
        "duplicates": normal[g.integers(0, 5, size=n)],
        "denormals": normal * 1e-310,
        "denormals, float32": (normal * 1e-40).astype("f4"),
        "1e-25": (normal * 1e-25).astype("f4"),
        "1e25": (normal * 1e25).astype("f4"),
        "1e-170": normal * 1e-170,
        "1e-200": normal * 1e-200,
        "1e200": normal * 1e200,
        "one huge feature": normal * [1e9, 1, 1, 1, 1, 1],
        "one huge constant": np.where(np.arange(d) == 2, 1e200, normal * 1e-125),
        "mixed magnitudes": normal * 10.0 ** g.integers(-12, 12, size=(n, d)),
        "ends of float32": np.where(g.random((n, d)) < 0.9, 3.3e38, -3.3e38).astype("f4"),
        "ends of float16": (np.sign(normal) * 65504).astype("f2"),
        "near the largest float64": np.where(g.random((n, d)) < 0.9, 8e307, -8e307),
    }[name]
    wide = X.astype(np.float64)
    # Near pairs of centroids, whose midplane runs through the data.
    centroids = wide[g.permutation(n)[:k]]
    centroids[1] = centroids[0] + (wide[5] - centroids[0]) / 1024
    centroids[3] = centroids[2]
    return X, centroids


HOSTILE = [
    "offset 1e8", "offset 1e8, float32", "blobs at 1e4", "blobs at 1e4, float32", "tight blobs",
    "ties of 8 bits", "all rows equal", "duplicates", "denormals", "denormals, float32", "1e-25",
    "1e25", "1e-170", "1e-200", "1e200", "one huge feature", "one huge constant",
    "mixed magnitudes", "ends of float32", "ends of float16", "near the largest float64",
]  # fmt: skip
NEEDS_RECHECK = ["blobs at 1e4", "blobs at 1e4, float32", "tight blobs", "ends of float32",
                 "ends of float16"]  # fmt: skip
# Data whose squares leave float64: the oracle gets it times a power of two that brings it near 1.
RESCALED = {"denormals": 1000, "1e-170": 564, "1e-200": 664, "1e200": -664,
            "one huge constant": 340, "near the largest float64": -1000}  # fmt: skip


def hostile_labels(name):
    X, centroids = hostile(name)
    exponent = RESCALED.get(name, 0)
    with np.errstate(under="ignore"):
        scaled = np.ldexp(X.astype(np.float64), exponent), np.ldexp(centroids, exponent)
    return reference.assign(*scaled)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_labels_of_hostile_data_are_right(labeller, name):
    X, centroids = hostile(name)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), hostile_labels(name))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NEEDS_RECHECK)
def test_float32_alone_labels_some_of_it_wrong(isa, name):
    X, centroids = hostile(name)
    labels = core_tools.assign(X, centroids, isa, recheck=False)
    assert not np.array_equal(labels, hostile_labels(name))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", [3, 40, 300])
def test_rows_near_the_midplane_are_right(isa, d):
    # From 1e-10 to 1e-4 off the plane between two centroids: across all that float32 rounds.
    g = np.random.default_rng(d)
    centroids = g.normal(size=(2, d))
    normal = centroids[1] - centroids[0]
    along = g.normal(size=(1000, d))
    along -= (along @ normal)[:, None] * normal / (normal @ normal)
    step = g.choice([-1, 1], size=1000) * 10 ** g.uniform(-10, -4, size=1000)
    X = centroids.mean(axis=0) + along + step[:, None] * normal
    expected = (step > 0).astype(np.int32)
    assert np.array_equal(reference.assign(X, centroids), expected)
    assert np.array_equal(core_tools.assign(X, centroids, isa), expected)
    assert not np.array_equal(core_tools.assign(X, centroids, isa, recheck=False), expected)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("d", [3, 9])
def test_products_that_vanish_in_float32_leave_labels_right(labeller, d, rng):
    # Two rows set the scale; beside them squares and products are at the edge of the denormals.
    for exponent in range(58, 78):
        X = np.ldexp(rng.normal(size=(60, d)), -exponent)
        X[0], X[1] = 1, -1
        centroids = np.ldexp(rng.normal(size=(9, d)), -exponent)
        expected = reference.assign(X, centroids)
        assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", [3, 9])
def test_ties_of_float64_are_ties_where_float32_sees_none(isa, d, rng):
    # x - c rounds to x in float64, so all distances are equal; centred products tell signs apart.
    half = rng.uniform(0.5, 1, size=(40, d)) * rng.choice([-1, 1], size=(40, d))
    X = np.concatenate([half, -half])
    centroids = np.array([[1e-18], [-1e-18], [0]]) * np.ones(d)
    assert (reference.assign(X, centroids) == 0).all()
    assert (core_tools.assign(X, centroids, isa) == 0).all()
    assert (core_tools.assign(X, centroids, isa, recheck=False) != 0).any()


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("far", [1e3, 1e12, 1e30, 1e300])
def test_one_far_centroid_leaves_labels_right(labeller, far, rng):
    X = rng.normal(size=(200, 9)).astype("f4")
    centroids = np.concatenate([np.full((1, 9), far), X[:5]])
    centroids[3] = centroids[2] + 1e-6
    with np.errstate(over="ignore"):
        expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("d", [2, 20])
def test_recheck_is_rare_on_clear_data_and_total_on_ties(isa, d, rng):
    centroids = 100.0 * np.arange(8)[:, None] * np.ones(d)
    X = centroids[rng.integers(8, size=500)] + rng.normal(size=(500, d))
    for far in (False, True):
        if far:  # one far centroid must not open every row
            centroids = np.concatenate([centroids, np.full((1, d), 1e9)])
        _, engine = core_tools.make_engine(X, centroids, isa)
        engine.assign(np.empty(500, np.int32), 0, 500)
        assert engine.n_exact == 0
    doubled = np.concatenate([centroids[:8], centroids[:8]])
    _, engine = core_tools.make_engine(X, doubled, isa)
    engine.assign(np.empty(500, np.int32), 0, 500)
    assert engine.n_exact == 500


@pytest.mark.parametrize("labeller", LABELLERS)
def test_one_huge_row_of_features(labeller, rng):
    # More features than a panel of a megabyte holds rows for, and several chunks of columns.
    X = rng.normal(size=(37, 70_001)).astype("f4")
    centroids = X[:3].astype(np.float64)
    expected = reference.assign(X, centroids)
    assert np.array_equal(core_tools.assign(X, centroids, labeller), expected)


@pytest.mark.parametrize("labeller", LABELLERS)
@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 16])
def test_labels_do_not_depend_on_n_threads(labeller, n_threads, rng):
    # Enough rows and work for 16 threads; integers, so that ties are common.
    X = rng.integers(0, 6, size=(4500, 12)).astype("u1")
    centroids = X[:700].astype(np.float64)
    expected = _threads_case_labels(X.tobytes(), X.shape, 700)
    assert np.array_equal(core_tools.assign(X, centroids, labeller, n_threads), expected)


@cache
def _threads_case_labels(content, shape, k):
    X = np.frombuffer(content, dtype="u1").reshape(shape)
    return reference.assign(X, X[:k])


@pytest.mark.parametrize("labeller", LABELLERS)
def test_many_centroids_are_packed_by_several_threads(labeller, rng):
    # Rows that are centroids: each one's label is known without arithmetic.
    centroids = rng.integers(0, 256, size=(2500, 1000)).astype(np.float64)
    rows = rng.permutation(2500)[:300]
    X = centroids[rows].astype("u1")
    assert np.array_equal(core_tools.assign(X, centroids, labeller, n_threads=3), rows)


@pytest.mark.parametrize("labeller", LABELLERS)
def test_slices_write_their_rows_only(labeller, rng):
    X = rng.normal(size=(700, 5))
    centroids = X[:4].copy()
    _, engine = core_tools.make_engine(X, centroids, labeller)
    labels = np.full(700, -7, dtype=np.int32)
    engine.assign(labels, 256, 600)
    assert (labels[:256] == -7).all()
    assert (labels[600:] == -7).all()
    assert np.array_equal(labels[256:600], reference.assign(X[256:600], centroids))
