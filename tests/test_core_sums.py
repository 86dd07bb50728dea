"""Sums: exact, so that no order, thread, instruction set or history leaves a trace."""

import math
from fractions import Fraction

import core_tools
import numpy as np
import pytest
from core_tools import DTYPES, ISAS, Summing, guards, unchanged, with_label_column

from fastkm import _core
from fastkm._problem import Problem

THREADS = [1, 2, 3, 7, 16]


def fraction_means(X, labels, k, default=-123.25):
    """Means (k, d) from rational numbers, rounded once; labels without rows get the default."""
    X = X.astype(np.float64)
    means = np.full((k, X.shape[1]), default)
    for j in np.unique(labels):
        rows = X[labels == j]
        for f in range(X.shape[1]):
            means[j, f] = float(sum(map(Fraction, rows[:, f].tolist())) / len(rows))
    return means


def values(name, generator, n=400, d=5):
    """Values that two limbs of 50 bits hold: no bit below 2^-90 of the feature's largest."""
    normal = generator.normal(size=(n, d))
    return {
        "float16": lambda: normal.astype("f2"),
        "float32": lambda: normal.astype("f4"),
        "float32 offset": lambda: (normal + 1e6).astype("f4"),
        "uint8": lambda: generator.integers(0, 256, size=(n, d)).astype("u1"),
        "int16": lambda: generator.integers(-(2**15), 2**15, size=(n, d)).astype("i2"),
        "int64": lambda: generator.integers(-(2**60), 2**60, size=(n, d)),
        "float64": lambda: normal,
        "float64 offset": lambda: normal + 1e8,
        "float64 tiny": lambda: normal * 1e-290,
        "float64 huge": lambda: normal * 1e290,
        "cancelling": lambda: np.where(np.arange(n)[:, None] % 2, 1, -1) + normal * 1e-8,
        "one large": lambda: np.where(np.arange(n)[:, None] == 3, 2.0**30, normal),
        "constant": lambda: np.full((n, d), 0.1),
        "zero": lambda: np.zeros((n, d)),
    }[name]()


NAMES = [
    "float16", "float32", "float32 offset", "uint8", "int16", "int64", "float64",
    "float64 offset", "float64 tiny", "float64 huge", "cancelling", "one large", "constant", "zero",
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_mean_of_all_rows_is_the_true_mean_rounded(isa, name, rng):
    X = values(name, rng)
    for n in (1, 2, 3, 7, len(X)):
        summing = Summing(X[:n], 1, isa)
        assert summing.move_to(np.zeros((1, 5))) == n
        expected = fraction_means(X[:n], np.zeros(n, dtype=int), 1)
        assert np.array_equal(summing.means(), expected)
        assert summing.counts().tolist() == [n]


def test_mean_of_values_that_lose_bits_is_right_to_a_part_of_the_largest():
    # Bits below 2^-100 of the largest are lost, half of such a unit a value.
    X = np.array([[1.0], [2.0**-60 + 2.0**-112], [2.0**-150], [-1.0]])
    summing = Summing(X, 1)
    summing.move_to(np.zeros((1, 1)))
    assert abs(summing.means()[0, 0] - float(Fraction(2.0**-60 + 2.0**-112) / 4)) <= 2.0**-99


def test_mean_of_denormals_is_right_to_their_unit(rng):
    X = rng.normal(size=(300, 3)) * 1e-310
    summing = Summing(X, 1)
    summing.move_to(np.zeros((1, 3)))
    expected = fraction_means(X, np.zeros(300, dtype=int), 1)
    assert (np.abs(summing.means() - expected) <= np.finfo(np.float64).smallest_subnormal).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["float32", "float64", "uint8", "cancelling"])
@pytest.mark.parametrize("k", [2, 9, 30])
def test_rows_that_come_and_go_leave_no_trace(isa, name, k, rng):
    X = values(name, rng)
    anywhere = [X[rng.permutation(len(X))[:k]].astype(np.float64) for _ in range(4)]
    summing = Summing(X, k, isa)
    for centroids in anywhere:
        before = summing.labels
        changed = summing.move_to(centroids)
        assert changed == np.count_nonzero(summing.labels != before)
        assert np.array_equal(summing.means(), fraction_means(X, summing.labels, k))
        assert np.array_equal(summing.counts(), np.bincount(summing.labels, minlength=k))
    assert summing.move_to(anywhere[-1]) == 0


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1"])
@pytest.mark.parametrize("d", [1, 2, 16, 63, 64, 65, 150])
def test_rows_of_any_width_and_layout_come_and_go(isa, dtype, d, tmp_path, rng):
    # Every third row has bits below what one limb holds, but for dtypes that have none.
    X = rng.normal(size=(30, d)) * (100.0 if dtype == "u1" else 1.0)
    X[::3] *= 2.0 ** (0 if dtype in ("u1", "f2") else -30)
    X = np.abs(X).astype(dtype)
    for name, view in core_tools.layouts(X, tmp_path):
        summing = Summing(view, 4, isa)
        for start in (0, 7, 14):
            summing.move_to(view[start : start + 4].astype(np.float64))
            expected = fraction_means(view, summing.labels, 4)
            assert np.array_equal(summing.means(), expected), name


@pytest.mark.parametrize("k", [3, 40])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_mean_does_not_depend_on_row_order(k, dtype, rng):
    labels = rng.integers(0, k, size=1500)
    X, centroids = with_label_column(rng.normal(size=(1500, 6)).astype(dtype), labels)
    order = rng.permutation(1500)
    first, second = Summing(X, k, n_threads=2), Summing(X[order], k, n_threads=2)
    first.move_to(centroids(k))
    second.move_to(centroids(k))
    assert np.array_equal(first.labels, labels)
    assert np.array_equal(second.labels, labels[order])
    assert np.array_equal(first.means(), second.means())
    assert np.array_equal(first.means(), fraction_means(X, labels, k))


@pytest.mark.parametrize("isa", ISAS)
def test_mean_does_not_depend_on_dtype(isa, rng):
    labels = rng.integers(0, 2, size=300)
    small = rng.integers(0, 2, size=(300, 9))
    expected = fraction_means(np.column_stack([labels * 64, small]), labels, 2)
    for dtype in [t for t in DTYPES if t != "?"]:
        X, centroids = with_label_column(small.astype(dtype), labels)
        assert X[:, 0].max() == 64
        summing = Summing(X, 2, isa)
        summing.move_to(centroids(2))
        assert np.array_equal(summing.means()[:, 1:], expected[:, 1:]), dtype


# Sums of up to 512 KiB are one copy a thread; larger ones are shared and parted by centroid. The
# rows suffice for 16 threads.
@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize(("k", "d"), [(300, 40), (400, 100)], ids=["private", "shared"])
@pytest.mark.parametrize("isa", ISAS)
def test_sums_do_not_depend_on_n_threads(isa, k, d, n_threads, rng):
    labels = rng.integers(0, k - 1, size=4400)  # the last label stays empty
    X, centroids = with_label_column(rng.normal(size=(4400, d - 1)), labels)
    summing = Summing(X, k, isa, n_threads)
    assert summing.move_to(centroids(k)) == 4400
    assert np.array_equal(summing.labels, labels)
    assert np.array_equal(summing.counts(), np.bincount(labels, minlength=k))
    means = summing.means()
    few = [0, 1, k // 2, k - 2]
    chosen = np.isin(labels, few)
    expected = fraction_means(X[chosen], labels[chosen], k)
    assert np.array_equal(means[few], expected[few])
    assert (means[k - 1] == -123.25).all()
    # A second move, of some rows: labels in reverse.
    changed = summing.move_to(centroids(k)[::-1])
    assert changed == np.count_nonzero(labels != k - 1 - labels)
    assert np.array_equal(summing.means()[k - 1 - np.array(few)], expected[few])
    assert np.array_equal(summing.counts(), np.bincount(k - 1 - labels, minlength=k))
    one = Summing(X, k, "portable", 1)
    one.move_to(centroids(k))
    assert np.array_equal(one.means(), means)


def test_means_are_formed_by_several_threads(rng):
    # k d large enough to wake threads for the means alone; every tenth label has a row.
    k, d = 1300, 220
    labels = np.arange(0, k, 10)
    X, centroids = with_label_column(rng.integers(0, 99, size=(len(labels), d - 1)), labels)
    for n_threads in (1, 3, 16):
        summing = Summing(X, k, n_threads=n_threads)
        summing.move_to(centroids(k))
        means = summing.means(default=5.0)
        assert np.array_equal(means[labels], X)
        rest = np.setdiff1d(np.arange(k), labels)
        assert (means[rest] == 5.0).all()


def weighted(X, labels, weights, k, isa, n_threads, slices):
    """Return (sums, weights of the labels) and the shift, guards checked, inputs unchanged."""
    problem, engine = core_tools.make_engine(X, np.zeros((k, X.shape[1])), isa, n_threads)
    with guards() as array, unchanged(X, labels, weights, problem.shift):
        sums = array((k, X.shape[1]), np.float64, 0)
        totals = array(k, np.float64, 0)
        for start, stop in slices:
            engine.accumulate_weighted(labels, weights, problem.shift, sums, totals, start, stop)
    return sums, totals, problem.shift


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i8"])
@pytest.mark.parametrize("d", [1, 4, 17])
def test_weighted_sums_are_right(isa, dtype, d, rng):
    n, k = 520, 4
    X = (rng.normal(size=(n, d)) * 9 + 50).astype(dtype)
    labels = rng.integers(0, k, size=n).astype(np.int32)
    weights = rng.uniform(0, 3, size=n)
    weights[::5] = 0
    sums, totals, shift = weighted(X, labels, weights, k, isa, 1, [(0, 256), (256, n)])
    centred = X.astype(np.float64) - shift
    for j in range(k):
        products = (weights[:, None] * centred)[labels == j]
        for f in range(d):
            # A difference, a product and m sums round, each to 2^-53 of the magnitudes' sum.
            magnitude = math.fsum(np.abs(products[:, f]))
            bound = (len(products) + 2) * 2.0**-53 * magnitude
            assert abs(sums[j, f] - math.fsum(products[:, f])) <= bound
        total = math.fsum(weights[labels == j])
        assert abs(totals[j] - total) <= len(products) * 2.0**-53 * total


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("k", [1, 3, 50])
def test_weighted_sums_have_the_same_bits_for_every_n_threads_isa_and_slicing(k, n_threads, rng):
    X = rng.normal(size=(10_000, 900)).astype("f4")  # enough work for five threads
    labels = rng.integers(0, k, size=10_000).astype(np.int32)
    weights = rng.uniform(size=10_000)
    expected = weighted(X, labels, weights, k, "portable", 1, [(0, 10_000)])
    # The oracle's order: ascending rows, one by one.
    rows = np.flatnonzero(labels == k - 1)
    products = weights[rows, None] * (X[rows].astype(np.float64) - expected[2])
    assert np.array_equal(np.cumsum(products, axis=0)[-1], expected[0][k - 1])
    for isa in ISAS[-1:] if n_threads > 1 else ISAS:
        for slices in ([(0, 10_000)], [(0, 5120), (5120, 9984), (9984, 10_000)]):
            sums, totals, _ = weighted(X, labels, weights, k, isa, n_threads, slices)
            assert np.array_equal(sums, expected[0])
            assert np.array_equal(totals, expected[1])


def test_sums_of_many_rows_do_not_overflow():
    # The limbs' width is set for the number of rows: all of them at the largest value.
    X = np.full((2**18, 1), 255, dtype=np.uint8)
    summing = Summing(X, 1, n_threads=2)
    summing.move_to(np.zeros((1, 1)))
    assert summing.means()[0, 0] == 255
    problem = Problem(X, n_threads=1)
    limb = 255 * problem.sum_scale[0]
    assert limb * len(X) < 2**63
    assert limb <= 2**50
    assert isinstance(summing.sums, _core.Sums)
