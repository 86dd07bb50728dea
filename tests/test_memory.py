"""What a fit takes beside X: in a process of its own each time, so that nothing is there before."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastkm import KMeans, MiniBatchKMeans, _core, kmeans_plusplus
from fastkm._problem import Problem

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


def _run(code, *arguments, tools=""):
    program = "".join(map(textwrap.dedent, (START, tools, code)))
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


PEAKS = """
    from scipy.sparse import csr_matrix
    from fastkm.evaluation import silhouette_score

    def peak(call):
        start = status("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        call()
        return status("VmHWM") - start

    def rows(dtype, n, d):
        X = np.empty((n, d), dtype)
        for start in range(0, n, 1000):
            X[start : start + 1000] = tile(dtype, 1000, d)
        return X

    options = {"n_init": 1, "random_state": 0, "n_threads": 2, "max_iter": 6, "tol": 0}
"""
# What is returned of a row, and what that is made of: a label; a distance to its centroid, as well;
# distances to all. Silhouettes: what a row is among the rows of its cluster (8 numbers), its
# distances and reach, in two orders (10), and itself.
CALLED_K = 64  # distances to all are more than what the bounds leave besides
OF_ROW = {"predict": 4, "score": 4 + 8, "transform": 8 * CALLED_K, "silhouette": 8 * 19}
# Silhouettes of two threads: packed rows of a task and targets (4 MiB and 256 KiB at most).
# Of means: a block of 64 Ki values, three times in float64.
BESIDE_SILHOUETTES = 2 * (1024 * 4 * (D + 1) + 2**18) + 3 * 8 * 2**18


@pytest.mark.skipif(not CAN_CLEAR_PEAKS, reason="peaks cannot be cleared here")
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_peaks_of_calls_are_those_of_what_they_return(dtype):
    code = """
        dtype = sys.argv[1]
        n, d, k = map(int, sys.argv[2:])
        X = rows(dtype, n, d)
        kmeans = KMeans(k, **options).fit(X)
        few, labels = X[:3000], kmeans.labels_
        calls = {
            "predict": kmeans.predict,
            "score": kmeans.score,
            "transform": kmeans.transform,
            "silhouette": lambda X: silhouette_score(X, labels[: len(X)], n_threads=2),
        }
        for name, call in calls.items():
            call(few)  # modules and threads are there
            print(name, peak(lambda: call(X)))
    """
    n = 20_000
    told = _run(code, dtype, n, D, CALLED_K, tools=PEAKS)
    for name, peak in zip(told[::2], map(int, told[1::2]), strict=True):
        most = n * OF_ROW[name] + BYTES_BESIDE
        if name == "silhouette":
            most += BESIDE_SILHOUETTES
            assert most < n * D * 4  # less than X in float32, or than an eighth of all distances
        else:
            assert most - n * OF_ROW[name] < n * D  # less than X in bytes
        assert peak <= most, name
    assert told[::2] == list(OF_ROW)


@pytest.mark.skipif(not CAN_CLEAR_PEAKS, reason="peaks cannot be cleared here")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_peaks_on_sparse_rows_are_those_of_rows_and_not_of_entries(dtype):
    code = """
        n, d, k, n_entries = map(int, sys.argv[2:])
        width = d // n_entries
        columns = np.random.default_rng(0).integers(width, size=(n, n_entries), dtype="i4")
        columns += np.arange(n_entries, dtype="i4") * width
        values = rows(sys.argv[1], n, n_entries)
        starts = np.arange(n + 1, dtype="i4") * n_entries
        X = csr_matrix((values.ravel(), columns.ravel(), starts), shape=(n, d))
        few = X[:3000]
        for cls in KMeans, MiniBatchKMeans:
            kmeans = cls(k, **options).fit(few)
            for call in kmeans.fit, kmeans.predict, kmeans.score:
                print(peak(lambda: call(X)))
    """
    n, d, n_entries = N, 2048, 128
    # As of dense rows, and a row's norm and where its entries begin, in int64.
    # MiniBatchKMeans gathers batches of 1024 rows, and thrice as many for its seeds.
    of_entry = np.dtype(dtype).itemsize + 4
    batches = 2 * 3 * 1024 * n_entries * of_entry
    most = n * (BYTES_OF_ROW + 16) + 120 * K * d + BYTES_BESIDE
    assert most + batches < n * n_entries * 4  # less than a copy of the entries' columns
    peaks = list(map(int, _run(code, dtype, n, d, K, n_entries, tools=PEAKS)))
    assert len(peaks) == 6
    assert max(peaks[:3]) <= most, peaks
    assert max(peaks[3:]) <= most + batches, peaks


@pytest.mark.skipif(not CAN_CLEAR_PEAKS, reason="peaks cannot be cleared here")
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_peaks_with_many_centroids_are_those_of_rows_and_of_centroids(dtype):
    code = """
        n, d, k = map(int, sys.argv[2:])
        X = rows(sys.argv[1], n, d)
        KMeans(8, **options).fit(X[:3000])
        kmeans = KMeans(k, init="random", algorithm="lloyd", **options)
        print(peak(lambda: kmeans.fit(X)), peak(lambda: kmeans.predict(X)))
        print(peak(lambda: KMeans(k, init="random", algorithm="elkan", **options).fit(X)))
        print(peak(lambda: MiniBatchKMeans(k, init="random", **options).fit(X)))
    """
    n, k = 16_000, 1000
    # Of a centroid's value: before and after an update, while it is formed, as the attribute and as
    # first drawn, 5 in float64; sums in two limbs; packed in float32 and float64; in bytes and
    # framed for these.
    of_value = 5 * 8 + 2 * 8 + 12 + 5
    # Of two threads: k lower bounds for each of a panel's 48 rows at most, thrice in the filter.
    most = n * BYTES_OF_ROW + k * D * of_value + 2 * 3 * 48 * 4 * k + BYTES_BESIDE
    # The filter's framed centroids and sketches in float32 and, of two rounds, in float64.
    of_filter = 0.3 * 4 * D * n + k * D * (4 + 0.3 * (4 + 2 * 8))
    batches = 2 * 3 * 1024 * D * np.dtype(dtype).itemsize
    assert most + of_filter < n * k * 4  # less than all distances in float32
    in_full, predicted, filtered, in_batches = map(int, _run(code, dtype, n, D, k, tools=PEAKS))
    assert in_full <= most
    assert predicted <= most - n * (BYTES_OF_ROW - 4) - k * D * (4 * 8 + 2 * 8)  # packed, a copy
    assert filtered <= most + of_filter
    assert in_batches <= most + batches


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


TOO_LARGE = {
    "KMeans": lambda X, k: KMeans(k, n_init=1).fit(X),
    "MiniBatchKMeans": lambda X, k: MiniBatchKMeans(k, n_init=1).fit(X),
    "partial_fit": lambda X, k: MiniBatchKMeans(k, n_init=1).partial_fit(X),
    "kmeans_plusplus": lambda X, k: kmeans_plusplus(X, k),
}


@pytest.mark.parametrize("call", TOO_LARGE)
def test_centroids_that_find_no_room_are_refused_before_any_work(call, monkeypatch):
    # All rows are one; centroids of 8 bytes a value would take 2^57 bytes.
    rows = np.lib.stride_tricks.as_strided(np.zeros((1, 1), "u1"), (2**27, 2**27), (0, 0))
    monkeypatch.setattr(Problem, "_describe", lambda self: pytest.fail("X has been read"))
    with pytest.raises(MemoryError, match=r"n_clusters=134217728 need at least .* GB of memory"):
        TOO_LARGE[call](rows, 2**27)


@pytest.mark.skipif(not HAS_LIMIT, reason="the limit says nothing here")
def test_results_that_find_no_room_are_refused_before_any_work():
    code = """
        import resource
        from fastkm._problem import Problem
        X = tile(np.float32, 4000, 8)
        kmeans = KMeans(400, n_init=1, random_state=0, n_threads=1).fit(X)
        room = status("VmData") + (16 << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        wide = np.lib.stride_tricks.as_strided(X, (8_000_000, 8), (0, 4))
        Problem._describe = None
        for call in (
            KMeans(2, n_init=1, n_threads=1).fit,
            MiniBatchKMeans(2, n_init=1, n_threads=1).fit,
            lambda rows: kmeans_plusplus(rows, 2, n_threads=1),
            kmeans.predict,
            kmeans.score,
            kmeans.transform,
        ):
            try:
                call(wide)
            except MemoryError as error:
                print("beside" in str(error))
    """
    assert _run(code) == ["True"] * 6


@pytest.mark.skipif(not HAS_LIMIT, reason="the limit says nothing here")
def test_threads_that_find_no_room_are_not_started():
    # A runtime of OpenMP ends the process where it cannot start a thread.
    code = """
        import resource
        from fastkm import _threads
        _threads.n_usable_cpus = lambda: 16  # though the machine have fewer
        X = tile(np.float64, 20_000, 16)
        options = {"n_init": 1, "max_iter": 5, "tol": 0, "random_state": 0}
        alone = KMeans(32, n_threads=1, **options).fit(X)
        room = status("VmSize") + (20 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        asked = KMeans(32, n_threads=16, **options).fit(X)
        print(np.array_equal(asked.cluster_centers_, alone.cluster_centers_))
    """
    assert _run(code) == ["True"]


SWEPT = {
    "sketches": "KMeans(140, algorithm='elkan', max_iter=4, **options).fit(wide)",
    "auto": "KMeans(140, max_iter=4, **options).fit(wide)",
    "gaps": "KMeans(64, max_iter=6, **options).fit(narrow)",
    "cells": "KMeans(500, init='random', max_iter=6, **options).fit(narrow)",
    "solo": "KMeans(9, max_iter=6, **(options | {'n_init': 9})).fit(narrow[:9000])",
    "weights": "KMeans(20, max_iter=4, **options).fit(narrow, sample_weight=weights)",
    "batches": "MiniBatchKMeans(100, max_iter=1, **options).fit(wide)",
    "CSR": "KMeans(20, max_iter=4, **options).fit(sparse)",
    "CSR batches": "MiniBatchKMeans(20, max_iter=1, **options).fit(sparse)",
    "seeds": "kmeans_plusplus(wide, 60, random_state=0, n_threads=2)",
    "silhouette": "silhouette_samples(wide[:1500], labels[:1500], n_threads=2)",
    "predict": "kmeans.predict(wide)",
    "transform": "kmeans.transform(wide)",
}


@pytest.mark.skipif(not HAS_LIMIT, reason="the limit says nothing here")
@pytest.mark.parametrize("call", SWEPT)
def test_wherever_memory_ends_the_result_is_right_or_a_memory_error(call):
    # Limits from what is there to what was taken without one; each in a Python thread of its own,
    # for which OpenMP has to start threads anew.
    code = """
        import resource, threading
        from scipy.sparse import csr_matrix
        from fastkm.evaluation import silhouette_samples
        rng = np.random.default_rng(0)
        wide = rng.normal(size=(8000, 6)) @ rng.normal(size=(6, 600))
        wide = (wide + 0.01 * rng.normal(size=wide.shape)).astype(np.float32)
        narrow = rng.normal(size=(90_000, 3))
        sparse = csr_matrix(np.where(rng.random((8000, 300)) < 0.02, wide[:, :300], 0))
        weights, labels = rng.uniform(size=90_000), rng.integers(0, 30, 8000)
        options = {"n_init": 1, "tol": 0, "random_state": 0, "n_threads": 2}
        kmeans = KMeans(50, max_iter=2, **options).fit(wide[:2000])

        def bits(result):
            if isinstance(result, (KMeans, MiniBatchKMeans)):
                result = result.labels_, result.cluster_centers_, np.float64(result.inertia_)
            return [part.tobytes() for part in (result if isinstance(result, tuple) else [result])]

        def attempt(limit, found):
            resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
            try:
                found.append(bits(eval(sys.argv[1])))
            except MemoryError:
                found.append("no memory")
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

        def in_thread(limit):
            found = []
            thread = threading.Thread(target=attempt, args=(limit, found))
            thread.start()
            thread.join()
            return found[0]

        start = status("VmSize")
        expected = in_thread(-1)
        taken = status("VmPeak") - start
        outcomes = []
        for step in range(N_LIMITS):
            # Python's thread has its stack of 8 MiB already.
            found = in_thread(status("VmSize") + (9 << 20) + taken * step // N_LIMITS)
            assert found in (expected, "no memory")
            outcomes.append(found == expected)
            assert KMeans(2, **options).fit(narrow[:500]).n_iter_ > 0
        print(len(outcomes), sum(outcomes))
    """
    code = code.replace("N_LIMITS", "6")
    n_limits, n_right = map(int, _run(code, SWEPT[call]))
    assert n_limits == 6
    assert n_right > 0


@pytest.fixture
def many_values(request):
    """2.3 GB of zeros that the system need not hold, some rows at both ends that differ, labels."""
    n, d = 2_800_000, 784
    assert n * d > 2**31
    try:
        X = np.zeros((n, d), "u1", order=request.param)
    except MemoryError:
        pytest.skip("2.3 GB of memory are not to be had")
    expected = np.zeros(n, np.int32)
    expected[:1000], expected[-3000:] = 1, 2
    X[:1000, -3:], X[-3000:, :5] = 100, 200
    return X, expected


@pytest.mark.parametrize("many_values", ["C"], indirect=True)
def test_more_than_two_to_the_31_values(many_values):
    X, expected = many_values
    three = X[[5000, 5, -5]]
    centres, rows = kmeans_plusplus(X, 3, random_state=0)
    assert np.array_equal(centres, X[rows])
    assert sorted(expected[rows]) == [0, 1, 2]
    kmeans = KMeans(3, init=three * 0.5, n_init=1, max_iter=3).fit(X)
    assert np.array_equal(kmeans.labels_, expected)
    assert np.array_equal(kmeans.cluster_centers_, three)
    assert kmeans.inertia_ == 0


@pytest.mark.parametrize("many_values", ["C", "F"], indirect=True)
def test_more_than_two_to_the_31_values_are_predicted(many_values):
    X, expected = many_values
    three = X[[5000, 5, -5]]
    kmeans = KMeans(3, init=three, n_init=1).fit(three)
    assert np.array_equal(kmeans.predict(X), expected)
