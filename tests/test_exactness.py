"""Every way to label rows gives float64's nearest centroid, on data made to break it.

The oracle is the contract: squared distances summed in float64 from the first feature to the last,
ties to the lowest index. What that is worth is told by rational numbers, which round nothing.
"""

from fractions import Fraction

import followers
import numpy as np
import pytest
import reference
from core_tools import ISAS, ISAS_WITH_BYTES, assign, make_engine
from hostile import DTYPES_OF, KINDS, hostile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from test_neighbours import cells_of

from fastkm import KMeans, _core
from fastkm._filter import leading_directions, sample_rows
from fastkm._neighbours import near_order
from fastkm._sparse_problem import SparseProblem

# Most are small, so that many are tried; some fill blocks of rows and many tiles.
SIZES = st.one_of(
    st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 14)),
    st.tuples(st.integers(200, 600), st.integers(1, 12), st.integers(1, 40)),
    st.tuples(st.integers(65, 140), st.integers(64, 300), st.integers(2, 30)),
    st.tuples(st.integers(1, 40), st.integers(1000, 3000), st.integers(2, 9)),
)
DATA = st.tuples(st.sampled_from(KINDS), st.integers(0, 3), SIZES, st.integers(0, 2**32 - 1))


def make(data):
    kind, of_dtypes, (n, d, k), seed = data
    dtypes = DTYPES_OF[kind]
    return hostile(kind, n, d, k, dtypes[of_dtypes % len(dtypes)], seed)


def positions(centroids, seed=0):
    """Yield centroids, then moved a little, then one put on another and back."""
    g = np.random.default_rng(seed)
    spread = np.ptp(centroids, axis=0)
    yield centroids
    for size in (1e-2, 1e-7):
        centroids = centroids + size * spread * g.uniform(-1, 1, size=centroids.shape)
        yield centroids
    jumped = centroids.copy()
    jumped[0] = centroids[-1]
    yield jumped
    yield centroids


# ---- every technique ---------------------------------------------------------------------------


class Brute:
    """All distances of all rows, by products in float32."""

    in_bytes = False

    def __init__(self, X, centroids, isa):
        labeller = f"{isa}, bytes" if self.in_bytes else isa
        self.problem, self.engine = make_engine(X, centroids, labeller, 2)
        self.labels = np.full(len(X), -7, np.int32)
        self.engine.assign(self.labels, 0, len(X))
        self.begin(centroids)

    def begin(self, centroids):
        pass

    def move_to(self, centroids):
        self.engine.set_centroids(np.ascontiguousarray(centroids))
        old, self.labels = self.labels, np.full(self.problem.n, -7, np.int32)
        self.engine.assign(self.labels, 0, self.problem.n, old)
        return self.labels


class Bytes(Brute):
    """Bounds of the distances from products of bytes, whether they pay or not."""

    in_bytes = True

    def begin(self, centroids):
        self.engine.use_bytes(True, True)


class Filter(Brute):
    """Bounds from sketches; gaps of rows, or of panels and tiles where rows are sorted."""

    sorts = False

    def begin(self, centroids):
        problem, k = self.problem, len(centroids)
        with np.errstate(over="ignore", invalid="ignore"):
            framed = ((centroids - problem.shift) * problem.scale).astype(np.float32)
        n_directions = min(problem.d, 7)
        basis = leading_directions(problem, sample_rows(problem), n_directions, framed)
        if basis.shape[1] == 0:
            return
        order = near_order(centroids)
        made = _core.Filter(problem.points, basis, k, problem.n_threads, problem.isa, order)
        if self.sorts:
            made.place(self.labels)
        else:
            made.keep_row_gaps()
        self.engine.use_filter(made, self.labels)
        self.engine.sketch(0, problem.n)


class SortedFilter(Filter):
    sorts = True


class Cells(Brute):
    """Boxes around cells of rows."""

    def begin(self, centroids):
        self.engine.use_neighbours(cells_of(self.problem, self.labels, len(centroids)))


class Gaps:
    """Gaps of cells and tiles over the rounds."""

    follower = followers.Gaps

    def __init__(self, X, centroids, isa):
        self.made = self.follower(X, centroids, isa, 2)

    def move_to(self, centroids):
        return self.made.move_to(centroids)[0]


class Leads(Gaps):
    """Leads of rows over the rounds."""

    follower = followers.Leads


class Kept(Brute):
    """Rows kept as panels, of a run on one thread: one round from each position."""

    has_codes = False

    def move_to(self, centroids):
        problem, n = self.problem, self.problem.n
        panels = _core.Panels(problem.points, problem.frame, 1, problem.isa)
        if self.has_codes:
            panels.encode(always=True)
        places = np.array(centroids), np.empty(centroids.shape)
        labels = np.full(n, -1, np.int32), np.full(n, -7, np.int32)
        arguments = problem.sum_scale, problem.low_scale, places, labels, np.empty(n), 0.0, 1
        run = _core.SoloRun(problem.points, problem.frame, panels, *arguments, problem.isa)
        _core.SoloRuns([run], 1).advance(1)
        return run.labels


class KeptBytes(Kept):
    """Their codes kept beside them, for bounds from products of bytes."""

    has_codes = True


class Sparse(Brute):
    """CSR rows: products in float64."""

    def __init__(self, X, centroids, isa):
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        self.problem = SparseProblem(csr_matrix(X.astype(dtype)), n_threads=2, isa=isa)
        self.engine = self.problem.engine(len(centroids))
        self.labels = np.full(len(X), -1, np.int32)


def check_positions(technique, isa, data):
    X, centroids = make(data)
    labeller = technique(X, centroids, isa)
    for moved in positions(centroids):
        assert np.array_equal(labeller.move_to(moved), reference.assign(X, moved))


TECHNIQUES = [Brute, Bytes, Filter, SortedFilter, Cells, Gaps, Leads, Kept, KeptBytes, Sparse]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("isa", ISAS)
@given(data=DATA)
@settings(max_examples=25, deadline=None)
def test_labels_are_the_oracles(isa, technique, data):
    if technique is Bytes and isa not in ISAS_WITH_BYTES:
        return  # makes no difference there, as another test sees
    check_positions(technique, isa, data)


# Products that are no numbers, in panels that are not full.
@pytest.mark.parametrize("technique", [Filter, SortedFilter])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", [((65, 64, 2), 65), ((11, 1000, 9), 562)])
def test_the_filter_labels_values_near_float32s_largest(isa, technique, case):
    check_positions(technique, isa, ("ends of float32", 0, *case))


# Their squared norms too far from the rows' for float32.
@pytest.mark.parametrize("case", [((6, 1, 1), 1), ((5, 1, 1), 0)])
def test_the_filter_takes_centroids_at_the_origin_of_rows_that_are_not(case):
    check_positions(Filter, ISAS[0], ("cut off at the ends of float32", 0, *case))


@pytest.mark.parametrize("isa", ISAS_WITH_BYTES)
def test_bytes_label_values_near_float32s_largest(isa):
    check_positions(Bytes, isa, ("ends of float32", 0, (65, 64, 2), 65))


def test_fits_label_rows_that_leave_float32_with_their_shift():
    # Clusters far apart, so that products of bytes settle nearly all rows. float32 holds the rows,
    # though not those of eight clusters less the mean of all.
    g, n, d, k = np.random.default_rng(0), 20_000, 64, 256
    seeds = g.uniform(-1, 1, size=(k, d)) * 1.6e38 + 1.7e38
    seeds[1:9, 0] = -3.3e38
    clusters = g.integers(0, k, size=n)
    clusters[:k] = np.arange(k)
    largest = np.finfo(np.float32).max
    X = (seeds[clusters] + g.normal(size=(n, d)) * 1e36).clip(-largest, largest).astype(np.float32)
    km = KMeans(k, init=X[:k], max_iter=1, n_threads=2).fit(X)
    assert np.array_equal(km.labels_, clusters)
    assert np.array_equal(km.predict(X), clusters)


@pytest.mark.parametrize("algorithm", ["auto", "lloyd", "elkan"])
@given(data=DATA)
@settings(max_examples=40, deadline=None)
@pytest.mark.filterwarnings("ignore:algorithm='elkan'", "ignore:Number of distinct clusters")
def test_fits_keep_the_oracles_labels(algorithm, data):
    X, centroids = make(data)
    if len(centroids) > len(X):
        centroids = centroids[: len(X)]
    options = {"init": centroids, "max_iter": 4, "tol": 0, "n_threads": 2}
    km = KMeans(len(centroids), algorithm=algorithm, **options).fit(X)
    expected = reference.assign(X, km.cluster_centers_)
    assert np.array_equal(km.labels_, expected)
    assert np.array_equal(km.predict(X), expected)


# ---- what float64 is worth ---------------------------------------------------------------------

U = Fraction(1, 2**53)  # float64's rounding
TINY = Fraction(1, 2**1074)  # its least number


def exact_sq_dist(x, c):
    return sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, c, strict=True))


@given(data=DATA)
@settings(max_examples=60, deadline=None)
def test_no_centroid_is_nearer_by_more_than_float64_rounds(data):
    # A direct form is a sum of d terms >= 0. Each takes a subtraction, which enters twice, and a
    # product: three factors in [1 - U, 1 + U], and less than TINY where the square underflows
    # (differences do not). Each term goes through at most d - 1 additions, which are exact below
    # float64's normal numbers. So the computed F_j of the true D_j has
    #   (1 - U)^(d+2) D_j - d TINY <= F_j <= (1 + U)^(d+2) D_j + d TINY,
    # and as the label b has the least F, for any j
    #   D_b <= ((1 + U)^(d+2) D_j + 2 d TINY) / (1 - U)^(d+2).
    # All of it is far from overflow here: values are below 2^129.
    X, centroids = make(data)
    d = X.shape[1]
    labels = assign(X, centroids, ISAS[-1])
    rows = np.random.default_rng(0).permutation(len(X))[: max(1, 4000 // (d * len(centroids)))]
    for i in rows[:8]:
        sq_dists = [exact_sq_dist(X[i], c) for c in centroids]
        chosen, least = sq_dists[labels[i]], min(sq_dists)
        assert chosen * (1 - U) ** (d + 2) <= least * (1 + U) ** (d + 2) + 2 * d * TINY


# ---- that the proofs are needed ----------------------------------------------------------------


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", KINDS)
def test_float32_alone_labels_some_of_it_wrong(isa, kind):
    n_wrong = 0
    for seed in range(30):
        dtype = DTYPES_OF[kind][seed % len(DTYPES_OF[kind])]
        X, centroids = hostile(kind, 150, (3, 20, 90)[seed % 3], 12, dtype, seed)
        labels = assign(X, centroids, isa, recheck=False)
        n_wrong += np.count_nonzero(labels != reference.assign(X, centroids))
    assert n_wrong > 0
