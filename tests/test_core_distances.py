"""Distances in float64: right to rounding, the same bits on every instruction set and thread."""

import core_tools
import numpy as np
import pytest
import reference
from core_tools import DTYPES, ISAS, guards, unchanged

SHAPES = [(1, 1, 1), (2, 3, 2), (9, 7, 8), (17, 15, 9), (33, 16, 31), (65, 17, 33), (70, 31, 65),
          (257, 33, 7), (300, 100, 40), (20, 784, 24)]  # fmt: skip


def own_sq_dists(engine, labels, n):
    with guards() as array, unchanged(labels):
        sq_dists = array(n, np.float64)
        engine.own_sq_dists(labels, sq_dists, 0, n)
    return sq_dists


def all_distances(engine, n, dtype=np.float64):
    with guards() as array:
        out = array((n, engine.k), dtype)
        engine.distances(out, 0, n)
    return out


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i4"])
def test_all_distances_are_the_oracles_bit_for_bit(isa, n, d, k, dtype, rng):
    # First feature to last without fused multiply-add: what cumsum gives. Roots are exact.
    X = (rng.normal(size=(n, d)) * 20 + 30).astype(dtype)
    centroids = rng.normal(size=(k, d)) * 20 + 30
    _, engine = core_tools.make_engine(X, centroids, isa)
    expected = np.sqrt(reference.sq_dists(X, centroids))
    assert np.array_equal(all_distances(engine, n), expected)
    single = all_distances(engine, n, np.float32)
    assert np.array_equal(single, expected.astype(np.float32))


def sums_of_sixteen(X, centroids, labels):
    """Add feature f to partial sum f mod 16, then halves to halves: the order the kernels keep."""
    squares = (X.astype(np.float64) - centroids[labels]) ** 2
    padded = np.zeros((len(X), -(-X.shape[1] // 16) * 16))
    padded[:, : X.shape[1]] = squares
    partial = np.cumsum(padded.reshape(len(X), -1, 16), axis=1)[:, -1]
    for half in (8, 4, 2, 1):
        partial = partial[:, :half] + partial[:, half : 2 * half]
    return partial[:, 0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_own_distances_are_right_and_have_the_bits_of_the_fixed_order(isa, n, d, k, dtype, rng):
    X = (np.abs(rng.normal(size=(n, d))) * 20 + 3).astype(dtype)
    centroids = rng.normal(size=(k, d)) * 20 + 3
    labels = rng.integers(0, k, size=n).astype(np.int32)
    _, engine = core_tools.make_engine(X, centroids, isa)
    sq_dists = own_sq_dists(engine, labels, n)
    expected = reference.sq_dists(X, centroids)[np.arange(n), labels]
    # Both add d squares, none negative: each is within (d + 2) 2^-53 of the truth.
    assert (np.abs(sq_dists - expected) <= 2 * (d + 2) * 2.0**-53 * expected).all()
    assert np.array_equal(sq_dists, sums_of_sixteen(X, centroids, labels))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1"])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 40])
def test_own_distances_do_not_depend_on_layout(isa, dtype, d, tmp_path, rng):
    X = (np.abs(rng.normal(size=(21, d))) * 20 + 3).astype(dtype)
    X[7] = 0
    centroids = rng.normal(size=(5, d)) * 20 + 3
    centroids[1] = X[3]
    labels = rng.integers(0, 5, size=21).astype(np.int32)
    labels[3] = 1
    for name, view in core_tools.layouts(X, tmp_path):
        _, engine = core_tools.make_engine(view, centroids, isa)
        sq_dists = own_sq_dists(engine, labels, 21)
        assert np.array_equal(sq_dists, sums_of_sixteen(view, centroids, labels)), name


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("exponent", [-700, -450, -300, 300, 450, 700])
def test_distances_of_extreme_values_come_scaled(isa, exponent, rng):
    near_one = rng.normal(size=(80, 5))
    centroids = rng.normal(size=(11, 5))
    labels = rng.integers(0, 11, size=80).astype(np.int32)
    X = np.ldexp(near_one, exponent)
    problem, engine = core_tools.make_engine(X, np.ldexp(centroids, exponent), isa)
    # Powers of two change no bit, so the distances are the oracle's up to one such factor.
    factor = np.ldexp(problem.exact_scale, exponent) ** 2
    distances = np.ldexp(np.sqrt(reference.sq_dists(near_one, centroids)), exponent)
    assert np.array_equal(all_distances(engine, 80), distances)
    own = sums_of_sixteen(near_one, centroids, labels) * factor
    assert np.array_equal(own_sq_dists(engine, labels, 80), own)
    assert problem.exact_scale == 1 or 2.0**-20 < factor < 2.0**20


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("isa", ISAS)
def test_distances_do_not_depend_on_n_threads(isa, n_threads, rng):
    X = rng.normal(size=(4300, 40)).astype("f4")
    centroids = rng.normal(size=(100, 40))
    _, engine = core_tools.make_engine(X, centroids, isa, n_threads)
    out = all_distances(engine, 4300)  # enough work for eight threads
    some = [0, 1, 255, 256, 2049, 4299]
    assert np.array_equal(out[some], np.sqrt(reference.sq_dists(X[some], centroids)))
    alone = core_tools.make_engine(X, centroids, "portable")[1]
    assert np.array_equal(out, all_distances(alone, 4300))


@pytest.mark.parametrize("n_threads", [2, 16])
def test_own_distances_do_not_depend_on_n_threads(n_threads, rng):
    X = rng.normal(size=(8000, 700)).astype("f4")  # enough work for three threads
    centroids = rng.normal(size=(3, 700))
    labels = rng.integers(0, 3, size=8000).astype(np.int32)
    _, engine = core_tools.make_engine(X, centroids, n_threads=n_threads)
    expected = sums_of_sixteen(X, centroids, labels)
    assert np.array_equal(own_sq_dists(engine, labels, 8000), expected)


def test_slices_write_their_rows_only(rng):
    X = rng.normal(size=(600, 4))
    _, engine = core_tools.make_engine(X, X[:3])
    sq_dists, out = np.full(600, -1.0), np.full((600, 3), -1.0)
    engine.own_sq_dists(np.zeros(600, np.int32), sq_dists[256:300], 256, 300)
    engine.distances(out, 256, 300)
    assert (np.delete(sq_dists, slice(256, 300)) == -1).all()
    assert (np.delete(out, slice(256, 300), axis=0) == -1).all()
    assert np.array_equal(out[256:300], np.sqrt(reference.sq_dists(X[256:300], X[:3])))
    own = sums_of_sixteen(X[256:300], X[:1], np.zeros(44, dtype=int))
    assert np.array_equal(sq_dists[256:300], own)
