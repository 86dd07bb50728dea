"""What a fit takes beside X: in a process of its own each time, so that nothing is there before."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastkm import KMeans, MiniBatchKMeans, _core

resource = pytest.importorskip("resource")

CAN_CLEAR_PEAKS = os.access("/proc/self/clear_refs", os.W_OK)
HAS_LIMIT = sys.platform == "linux"  # RLIMIT_DATA counts private memory that is not a heap as well

N, D, K = 40_000, 256, 8
# Of a row: two labels (8), and of distances, weights and draws, and what orders rows (under 100).
BYTES_OF_ROW = 108
# 512 KiB of sums, scratch and stack of two threads, Python's objects, pages that malloc keeps.
BYTES_BESIDE = 2.5e6
# What the filter keeps, at most: the share of X in float32 that `_filter.MOST_SHARE_OF_X` names.
BYTES_OF_FILTER = 0.3 * 4 * D * N

START = """
    import sys, warnings
    import numpy as np
    from fastkm import KMeans, MiniBatchKMeans, kmeans_plusplus
    warnings.simplefilter("ignore")

    def status(name):
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    def tile(dtype, n, d):
        rng = np.random.default_rng(0)
        centres = rng.integers(0, 150, (12, d))
        return (centres[rng.integers(12, size=n)] + rng.integers(0, 100, (n, d))).astype(dtype)
"""


def _run(code, *arguments):
    program = textwrap.dedent(START) + textwrap.dedent(code)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not CAN_CLEAR_PEAKS, reason="peaks cannot be cleared here")
@pytest.mark.parametrize("layout", ["C", "F", "memmap"])
@pytest.mark.parametrize("dtype", ["float16", "uint8", "float32", "float64"])
def test_peak_over_start_is_that_of_rows_and_not_of_values(dtype, layout, tmp_path):
    code = """
        dtype, layout, path = sys.argv[1:4]
        n, d, k = map(int, sys.argv[4:])
        X = np.empty((n, d), dtype, order="F" if layout == "F" else "C")
        for start in range(0, n, 4000):
            X[start : start + 4000] = tile(dtype, 4000, d)
        if layout == "memmap":
            X.tofile(path)
            X = np.memmap(path, dtype, "r", shape=(n, d))
        X.max()  # a file's pages are there

        def peak(estimator):
            start = status("VmRSS")
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
            estimator.fit(X).predict(X)
            return status("VmHWM") - start

        options = {"n_init": 1, "random_state": 0, "n_threads": 2, "max_iter": 8, "tol": 0}
        KMeans(k, **options).fit(X[:3000])  # modules and threads are there
        estimators = MiniBatchKMeans(k, **options), KMeans(k, algorithm="lloyd", **options)
        print(*map(peak, (*estimators, KMeans(k, **options))))
    """
    in_batches, in_full, filtered = map(int, _run(code, dtype, layout, tmp_path / "X", N, D, K))
    most = N * BYTES_OF_ROW + BYTES_BESIDE
    assert most < N * D  # less than X in bytes: no copy fits
    assert in_batches <= most
    assert in_full <= most
    assert filtered <= most + BYTES_OF_FILTER


@pytest.mark.skipif(not HAS_LIMIT, reason="the limit says nothing here")
def test_a_file_several_times_larger_than_the_memory_allowed_is_fitted(tmp_path):
    # 123 MB in 32 MB, of which 8 are a thread's stack. The seeding of 32 would keep
    # sketches of about as much as the file, and does without: the same is found.
    code = """
        import resource
        path, is_limited = sys.argv[1], sys.argv[2] == "limited"
        n, d, k = 60_000, 2048, 32
        if not is_limited:
            part = tile(np.uint8, 4000, d)
            with open(path, "wb") as file:
                for shift in range(n // 4000):
                    np.roll(part, shift, axis=1).tofile(file)
        X = np.memmap(path, np.uint8, "r", shape=(n, d))
        if is_limited:
            room = status("VmData") + (32 << 20)
            resource.setrlimit(resource.RLIMIT_DATA, (room, room))
            try:
                np.ones(X.nbytes // 2, np.uint8)
            except MemoryError:
                pass
            else:
                raise AssertionError("no limit")
        kmeans = KMeans(k, n_init=1, random_state=0, n_threads=2, max_iter=6).fit(X)
        print(kmeans.inertia_.hex(), kmeans.labels_.astype("i8") @ np.arange(n))
    """
    free = _run(code, tmp_path / "X", "free")
    assert _run(code, tmp_path / "X", "limited") == free


@pytest.mark.skipif(not HAS_LIMIT, reason="the limit says nothing here")
def test_memory_that_cannot_be_had_is_a_memory_error():
    code = """
        import resource
        X = tile(np.float64, 4000, 64)
        KMeans(2, n_init=1, random_state=0).fit(X)
        room = status("VmData") + (16 << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        wide = np.lib.stride_tricks.as_strided(X, (8_000_000, 1), (0, 8))
        for call in (
            KMeans(2, n_init=1, random_state=0, n_threads=1).fit,
            lambda rows: kmeans_plusplus(rows, 2, random_state=0, n_threads=1),
        ):
            try:
                call(wide)
            except MemoryError as error:
                print(len(str(error)) > 0)
        kmeans = KMeans(2, n_init=1, random_state=0, n_threads=1).fit(X)
        print(kmeans.labels_.shape == (4000,))
    """
    assert _run(code) == ["True", "True", "True"]


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_more_rows_than_labels_can_count_are_refused_before_work(cls):
    # Neither of them is in memory: all rows are one.
    rows = np.lib.stride_tricks.as_strided(np.zeros((1, 2)), (2**31, 2), (0, 8))
    with pytest.raises(ValueError, match="1 <= n < 2"):
        cls(2, n_init=1).fit(rows)


def test_rounds_do_without_sketches_that_find_no_room(rng, monkeypatch):
    X = rng.integers(0, 12, (12, 64))[rng.integers(12, size=3000)] + rng.normal(size=(3000, 64))
    options = {"init": X[:8], "max_iter": 10, "tol": 0, "algorithm": "elkan"}
    expected = KMeans(8, **options).fit(X)
    asked = []

    def no_room(*arguments):
        asked.append(arguments)
        raise MemoryError

    monkeypatch.setattr(_core, "Filter", no_room)
    found = KMeans(8, **options).fit(X)
    assert asked
    assert np.array_equal(found.labels_, expected.labels_)
    assert np.array_equal(found.cluster_centers_, expected.cluster_centers_)
