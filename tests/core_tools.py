"""What the tests of the compiled core share: guarded buffers, layouts of X, every ISA, bad data,
Ctrl-C."""

import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

from fastkm import _core
from fastkm._problem import Problem

ISAS = _core.supported_isas()
ISAS_WITH_BYTES = [isa for isa in ISAS if isa in ("avx2", "avx512vnni")]
# Every way to label rows: an instruction set, and products of bytes where it has them.
LABELLERS = [*ISAS, *(f"{isa}, bytes" for isa in ISAS_WITH_BYTES)]
DTYPES = ["f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]
GUARD_BYTE = 0xA5
GUARD_ITEMS = 24


@contextmanager
def guards():
    """Yield a function that makes arrays with guard bytes around; at the end they must stand."""
    made = []

    def array(shape, dtype, value=None):
        size = int(np.prod(shape))
        around = np.full((size + 2 * GUARD_ITEMS) * np.dtype(dtype).itemsize, GUARD_BYTE, np.uint8)
        whole = around.view(dtype)
        inside = whole[GUARD_ITEMS : GUARD_ITEMS + size]
        if value is not None:
            inside[:] = value
        made.append(whole)
        return inside.reshape(shape)

    yield array
    for whole in made:
        for side in (whole[:GUARD_ITEMS], whole[-GUARD_ITEMS:]):
            assert (side.view(np.uint8) == GUARD_BYTE).all(), "a kernel wrote outside its buffer"


@contextmanager
def unchanged(*arrays):
    """Assert that the arrays hold the same bytes afterwards."""
    before = [array.tobytes() for array in arrays]
    yield
    for array, kept in zip(arrays, before, strict=True):
        assert array.tobytes() == kept, "a kernel changed its input"


def layouts(X, folder):
    """Yield (name, array) of X's values in every layout that a user can hand in."""
    yield "C", np.ascontiguousarray(X)
    yield "F", np.asfortranarray(X)
    wide = np.zeros((2 * X.shape[0], 3 * X.shape[1]), dtype=X.dtype)
    wide[::2, 1::3] = X
    yield "strided", wide[::2, 1::3]
    padded = np.zeros((X.shape[0], X.shape[1] + 1), dtype=X.dtype)
    padded[:, :-1] = X
    yield "padded rows", padded[:, :-1]
    yield "reversed", np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    yield "repeated", np.broadcast_to(X[:1], X.shape)  # strides of zero; other values
    storage = np.zeros(X.nbytes + 1, dtype=np.uint8)
    misaligned = np.frombuffer(storage.data, dtype=X.dtype, offset=1, count=X.size)
    misaligned = misaligned.reshape(X.shape)
    misaligned[:] = X
    assert X.itemsize == 1 or not misaligned.flags.aligned
    yield "misaligned", misaligned
    locked = X.copy()
    locked.flags.writeable = False
    yield "read-only", locked
    path = folder / f"{X.dtype.name}-{X.shape[0]}-{X.shape[1]}"
    X.tofile(path)
    yield "memmap", np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


def make_engine(X, centroids, labeller=None, n_threads=1, weights=None):
    """Return (problem, engine) with centroids set; the labeller is an instruction set or more."""
    isa, _, in_bytes = (labeller or _core.DEFAULT_ISA).partition(", ")
    problem = Problem(X, weights, n_threads=n_threads, isa=isa)
    engine = problem.engine(len(centroids))
    engine.use_bytes(bool(in_bytes))
    assert engine.in_bytes == (bool(in_bytes) and problem.d <= 2**15)
    engine.set_centroids(np.ascontiguousarray(centroids, dtype=np.float64))
    return problem, engine


def assign(X, centroids, labeller, n_threads=1, recheck=True):
    """Return the core's labels, guards checked and inputs seen unchanged."""
    centroids = np.ascontiguousarray(centroids, dtype=np.float64)
    with guards() as array, unchanged(X, centroids):
        labels = array(len(X), np.int32)
        _, engine = make_engine(X, centroids, labeller, n_threads)
        engine.assign(labels, 0, len(X), recheck=recheck)
    return labels


class Summing:
    """Exact sums of X's rows, moved from label to label by the core as centroids move."""

    def __init__(self, X, k, isa=None, n_threads=1):
        self.problem = Problem(X, n_threads=n_threads, isa=isa)
        self.engine = self.problem.engine(k)
        self.sums = _core.Sums(k, self.problem.sum_scale, self.problem.low_scale, n_threads)
        self.labels = np.full(len(X), -1, dtype=np.int32)
        self.k = k

    def move_to(self, centroids):
        """Label the rows under other centroids and return how many labels changed."""
        self.engine.set_centroids(np.ascontiguousarray(centroids, dtype=np.float64))
        labels_old, n = self.labels, len(self.labels)
        self.labels = np.full(n, -2, dtype=np.int32)
        with unchanged(self.problem.X, labels_old):
            return self.engine.assign(self.labels, 0, n, labels_old, self.sums)

    def means(self, default=-123.25):
        """Return the means (k, d); labels without rows keep the default."""
        with guards() as array:
            means = array((self.k, self.problem.d), np.float64, default)
            self.engine.means(self.sums, means)
        return means

    def counts(self):
        with guards() as array:
            counts = array(self.k, np.int64)
            self.sums.counts(counts)
        return counts


def with_label_column(values, labels):
    """Return (X, centroid_of): a first column that parts the labels, whatever the other values."""
    step = 4.0 * values.shape[1] * max(1.0, float(np.abs(values.astype(np.float64)).max()))
    # A power of two times a small integer: exact in every float.
    step = 2.0 ** np.ceil(np.log2(step))
    column = (labels * step).astype(values.dtype)
    X = np.column_stack([column, values])

    def centroids(k):
        return np.column_stack([np.arange(k) * step, np.zeros((k, values.shape[1]))])

    return X, centroids


needs_timer = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="needs POSIX's interval timer"
)


@contextmanager
def interrupted_after(seconds):
    """Press Ctrl-C so long after the body began; yield the moment when it comes.

    The moment is the timer's: a handler runs only when Python comes back, however late.
    """

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield time.perf_counter() + seconds
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
