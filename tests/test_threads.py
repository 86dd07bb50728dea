"""n_threads: what OpenMP, the scheduler, the container and a fork allow."""

import collections
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from threadpoolctl import threadpool_limits

from fastkm import KMeans, MiniBatchKMeans, _core, _threads
from fastkm._threads import cgroup_cpu_quota, effective_n_threads

SCHEDSTAT = "/proc/thread-self/schedstat"
TASKS = Path("/proc/self/task")
N_USABLE_CPUS = _threads.n_usable_cpus  # which the other tests do without


@pytest.fixture
def limits(monkeypatch):
    """Return a function that sets what each of the three says."""

    def set_limits(openmp=64, cpus=64, quota=math.inf, openmp_cpus=1):
        monkeypatch.setattr(_threads, "openmp_max_threads", lambda: openmp)
        monkeypatch.setattr(_threads, "openmp_n_procs", lambda: openmp_cpus)
        monkeypatch.setattr(_threads, "n_usable_cpus", N_USABLE_CPUS)
        monkeypatch.setattr(_threads, "n_schedulable_cpus", lambda: cpus)
        monkeypatch.setattr(_threads, "cgroup_cpu_quota", lambda *paths: quota)
        _threads._cgroup_cpus.cache_clear()

    yield set_limits
    _threads._cgroup_cpus.cache_clear()


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ({"openmp": 3}, 3),
        ({"cpus": 5}, 5),
        ({"quota": 2.0}, 2),
        ({"quota": 2.1}, 3),
        ({"quota": 0.5}, 1),
        ({"openmp": 8, "cpus": 6, "quota": 4.5}, 5),
        ({}, 64),
    ],
)
def test_none_takes_the_smallest_limit(limits, allowed, expected):
    limits(**allowed)
    assert effective_n_threads(None) == expected


@pytest.mark.parametrize("n_threads", [1, 2, 7, 64])
def test_an_int_is_followed_as_asked(limits, n_threads):
    limits(openmp=2, cpus=64, quota=1.0)
    assert effective_n_threads(n_threads) == n_threads


# OpenMP may have bound the calling thread to one CPU, and knows those of its other threads.
@pytest.mark.parametrize(("cpus", "openmp_cpus"), [(3, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("n_threads", [4, 64, 10**30])
def test_an_int_above_the_cpus_is_cut_to_them(limits, cpus, openmp_cpus, n_threads):
    limits(openmp=64, cpus=cpus, openmp_cpus=openmp_cpus)
    assert effective_n_threads(n_threads) == 3


# Mutation: effective_n_threads without n_usable_cpus.
@pytest.mark.skipif(not TASKS.exists(), reason="reads Linux's list of threads")
@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_no_more_threads_are_started_than_there_are_cpus():
    code = """
        import os
        import numpy as np
        from fastkm import KMeans

        def n_tasks():
            return len(os.listdir("/proc/self/task"))

        X = np.random.default_rng(0).normal(size=(60_000, 16))
        before = n_tasks()
        KMeans(64, init="random", n_init=1, max_iter=2, random_state=0, n_threads=64).fit(X)
        assert n_tasks() - before == len(os.sched_getaffinity(0)) - 1, (before, n_tasks())
    """
    _run_alone(textwrap.dedent(code))


@pytest.mark.parametrize("n_threads", [0, -1, 1.0, "2", math.nan])
def test_what_is_no_positive_int_is_refused(n_threads):
    with pytest.raises(ValueError, match="n_threads must be a positive int or None; got"):
        effective_n_threads(n_threads)


def test_threadpoolctl_limits_none(cloud, limits):
    if not _core.has_openmp():
        pytest.skip("built without OpenMP")
    KMeans(2).fit(cloud)  # the runtime is loaded
    with threadpool_limits(limits=1, user_api="openmp"):
        assert effective_n_threads(None) == 1


@pytest.mark.parametrize("value", ["1", "2"])
def test_omp_num_threads_limits_none(value):
    code = "import fastkm._threads as t; print(t.effective_n_threads(None))"
    env = {**os.environ, "OMP_NUM_THREADS": value}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert 1 <= int(out.stdout) <= int(value)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_none():
    code = (
        "import os, fastkm._threads as t; cpu = min(os.sched_getaffinity(0));"
        "os.sched_setaffinity(0, {cpu}); print(t.n_schedulable_cpus(), t.effective_n_threads(None))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1", "1"]


def _fit_in_child(X, queue):
    def no_call():
        raise AssertionError("OpenMP was asked in a forked child")

    _threads.openmp_max_threads = no_call
    n_threads = [effective_n_threads(None), effective_n_threads(4)]
    queue.put((n_threads, KMeans(3, random_state=0, n_threads=2).fit(X).cluster_centers_))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_uses_one_thread_and_fits_the_same(cloud):
    expected = KMeans(3, random_state=0, n_threads=2).fit(cloud)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_fit_in_child, args=(cloud, queue))
    child.start()
    n_threads, centres = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert n_threads == [1, 1]
    assert (centres == expected.cluster_centers_).all()


FORKS = {
    "os.fork": """
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, repr(fit_and_count(0)).encode())
            os._exit(0)
        found = [eval(os.read(read, 4096))]
        assert os.waitpid(child, 0)[1] == 0
    """,
    "multiprocessing": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(fit_and_count, range(4))
    """,
    "joblib": """
        import joblib
        with joblib.parallel_backend("multiprocessing", n_jobs=2):
            found = joblib.Parallel()(joblib.delayed(fit_and_count)(i) for i in range(4))
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("way", FORKS)
def test_children_forked_after_a_fit_on_two_threads_fit_the_same(way):
    # Each of the fits is worth waking OpenMP's threads for, which no child inherits: one that asks
    # for them may wait for ever, or start others. Mutation: no register_at_fork.
    code = """
        import hashlib, os, time, warnings
        import numpy as np
        from fastkm import KMeans, MiniBatchKMeans, _core
        warnings.simplefilter("ignore")

        X = np.random.default_rng(0).normal(size=(60_000, 16))

        def fit(i):
            bits = hashlib.sha256()
            for estimator in (KMeans(8, max_iter=5), MiniBatchKMeans(8, batch_size=30_000)):
                estimator.set_params(random_state=0, n_init=1, n_threads=2).fit(X)
                for array in (estimator.labels_, estimator.cluster_centers_, estimator.predict(X)):
                    bits.update(array.tobytes())
            return bits.digest()

        def n_tasks():
            tasks = "/proc/self/task"
            return len(os.listdir(tasks)) if os.path.exists(tasks) else 0

        def fit_and_count(i):
            # A busy machine may have had the parent's calls take one thread for the next seconds.
            end = time.monotonic() + 10
            while _core.n_threads_now(2) == 1 and time.monotonic() < end:
                time.sleep(0.01)
            before = n_tasks()
            return fit(i), n_tasks() - before

        if __name__ == "__main__":
            expected, n_started = fit_and_count(0)
            if n_tasks() and len(os.sched_getaffinity(0)) > 1 and _core.has_openmp():
                assert n_started == 1, n_started
    """
    rest = """
            assert set(found) == {(expected, 0)}, found
            assert fit(0) == expected
    """
    program = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(FORKS[way]), "    ")
    program += textwrap.indent(textwrap.dedent(rest), "    ")
    _run_alone(program)


def _run_alone(program, limit=180):
    """Run a program that may hang, and end what it started with it."""
    run = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        errors = run.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        pytest.fail(f"no answer in {limit} seconds")
    assert run.returncode == 0, errors.decode()


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_eight_python_threads_fit_at_once(rng, cls):
    tables = [rng.normal(size=(20_000, 16)) for _ in range(8)]

    def fit(X):
        kmeans = cls(16, max_iter=5, tol=0, n_init=1, random_state=0, n_threads=2)
        kmeans.fit(X)
        return kmeans.labels_.tobytes(), kmeans.cluster_centers_.tobytes(), kmeans.inertia_

    one_by_one = [fit(X) for X in tables]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fit, tables)) == one_by_one


@pytest.mark.skipif(not os.path.exists(SCHEDSTAT), reason="the system tells no waiting for CPUs")
@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_calls_take_one_thread_while_this_one_waits_for_a_cpu():
    code = """
        import os, subprocess, sys, time
        from fastkm import _core

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

        def comes(wanted):
            end = time.monotonic() + 60
            while _core.n_threads_now(2) != wanted:
                if time.monotonic() > end:
                    return False
            return True

        assert _core.n_threads_now(2) == 2
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
        try:
            assert comes(1), "busy"
            assert _core.n_threads_now(2) == 1, "a pause"
        finally:
            for other in others:
                other.kill()
                other.wait()
        assert comes(2), "calm"
    """
    _run_alone(textwrap.dedent(code))


def _write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V1 = "4:memory:/a\n3:cpu,cpuacct:/box/inner\n1:name=systemd:/x\n"
V1_PLAIN = "2:cpuacct:/box\n1:cpu:/box\n0::/\n"
V2 = "0::/user.slice/app:1.scope\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (V2, {}, math.inf),
        (V2, {"cpu.max": "max 100000\n"}, math.inf),
        (V2, {"cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"user.slice/app:1.scope/cpu.max": "50000 100000\n"}, 0.5),
        # The group may not have more than the group that holds it.
        (
            V2,
            {
                "user.slice/app:1.scope/cpu.max": "400000 100000\n",
                "user.slice/cpu.max": "200000 100000\n",
                "cpu.max": "max 100000\n",
            },
            2.0,
        ),
        # A group outside the mount: what lies there is not this process's.
        (
            "0::/../elsewhere\n",
            {"cpu.max": "300000 100000", "../cpu.max": "100000 100000"},
            3.0,
        ),
        (V2, {"cpu.max": "garbage\n"}, math.inf),
        (V2, {"cpu.max": ""}, math.inf),
        (V2, {"cpu.max": "0 100000"}, math.inf),
        ("", {"cpu.max": "100000 100000"}, math.inf),
        (
            V1,
            {
                "cpu,cpuacct/box/inner/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/box/inner/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        # A container that sees the host's group names: its own group is the mount's root.
        (V1, {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2.0),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "50000"}, math.inf),
        (V1, {"cpu/cpu.cfs_quota_us": "100000"}, math.inf),
        (
            V1_PLAIN,
            {"cpu/box/cpu.cfs_quota_us": "100000", "cpu/box/cpu.cfs_period_us": "100000"},
            1.0,
        ),
    ],
)
def test_cgroup_quota(tmp_path, groups, files, expected):
    mount = tmp_path / "cgroup"
    _write(mount, files)
    (tmp_path / "self").write_text(groups)
    assert cgroup_cpu_quota(tmp_path / "self", mount) == expected


def test_no_cgroups_mean_no_quota(tmp_path):
    assert cgroup_cpu_quota(tmp_path / "nowhere", tmp_path / "nothing") == math.inf


# A group that root may make: as version 1 mounts it, or version 2 with the controller handed down.
GROUP_PARENTS = [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")]


@pytest.fixture
def group():
    """Return the folder of a new control group of CPUs, and take it away again."""
    for parent in GROUP_PARENTS:
        folder = parent / f"fastkm-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / "cpu.cfs_quota_us").exists() or (folder / "cpu.max").exists():
            yield folder
            folder.rmdir()
            return
        folder.rmdir()
    pytest.skip("no control group of CPUs can be made here")


def test_the_systems_own_quota_limits_none(group):
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text("100000 100000")
    else:
        (group / "cpu.cfs_quota_us").write_text("100000")
    code = """
        import os, sys
        open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
        import fastkm._threads as t
        print(t.cgroup_cpu_quota(t.PROC_CGROUP, t.CGROUP_MOUNT), t.effective_n_threads(None))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(group)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ["1.0", "1"]


# ---- one object, several Python threads --------------------------------------------------------


def _at_once(n_threads, function):
    """Call function(i) on so many threads that start together; return the answers."""
    barrier = threading.Barrier(n_threads)

    def start(i):
        barrier.wait()
        return function(i)

    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(start, range(n_threads)))


def _fit(X, cls=KMeans, **options):
    estimator = cls(9, n_init=2, max_iter=7, tol=0, n_threads=2, **options)
    return estimator.fit(X)


def _bits(estimator):
    return estimator.labels_.tobytes(), estimator.cluster_centers_.tobytes(), estimator.inertia_


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_eight_threads_ask_one_estimator_at_once(rng, method, is_sparse):
    X = rng.normal(size=(9000, 8))
    rows = scipy.sparse.csr_array(X) if is_sparse else X
    kmeans = _fit(X, random_state=0)
    expected = getattr(kmeans, method)(rows)
    for answer in _at_once(8, lambda _: getattr(kmeans, method)(rows)):
        assert np.array_equal(answer, expected)


# Seeds below and above what the shared stock of RandomStates and of checked parameters hold.
# Mutation: RandomStates lent by index and not taken off the stock in fastkm/_draws.py.
@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("n", [300, 20_000])
def test_fits_that_share_their_rows_differ_by_their_seeds_alone(rng, cls, n):
    X = rng.normal(size=(n, 8))
    copied = X.copy()
    expected = [_bits(_fit(X, cls, random_state=i)) for i in range(8)]
    assert len(set(expected)) == 8
    for _ in range(3):
        assert _at_once(8, lambda i: _bits(_fit(X, cls, random_state=i))) == expected
    assert np.array_equal(X, copied)


@pytest.mark.parametrize("cls", [KMeans, MiniBatchKMeans])
def test_fits_at_once_may_share_a_callback(rng, cls):
    X = rng.normal(size=(3000, 4))
    told, lock = collections.defaultdict(list), threading.Lock()

    def callback(record):
        with lock:
            told[threading.get_ident()].append((record.iteration, record.sq_shift))

    expected = []
    for seed in range(8):
        _fit(X, cls, random_state=seed, callback=callback)
        expected.append(told.pop(threading.get_ident()))
    _at_once(8, lambda seed: _fit(X, cls, random_state=seed, callback=callback))
    # A thread that ended early may have given its name to another.
    assert sorted(chain(*told.values())) == sorted(chain(*expected))


def test_first_imports_at_once_give_one_module_and_the_same_bits():
    code = """
        import sys, threading
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np

        X = np.random.default_rng(0).normal(size=(400, 4))
        barrier = threading.Barrier(8)

        def first(i):
            barrier.wait()
            if i % 2:
                from fastkm import KMeans
            else:
                from fastkm.evaluation import silhouette_score
                from fastkm.plotting import plot_cluster_sizes
                from fastkm import KMeans
            return id(KMeans), KMeans(3, random_state=0, n_init=2).fit(X).labels_.tobytes()

        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(first, range(8)))
        assert len(found) == 1, found
    """
    _run_alone(textwrap.dedent(code))


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="reads Linux's list of threads")
@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_a_woken_thread_leaves_the_cpu_of_the_one_that_woke_it():
    code = """
        import os, time
        import numpy as np
        from fastkm import _core
        from fastkm._problem import Problem

        def cpu_of(task):
            with open(f"/proc/self/task/{task}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[36]

        X = np.random.default_rng(0).normal(size=(20000, 16))
        cpus, before = os.sched_getaffinity(0), set(os.listdir("/proc/self/task"))
        Problem(X, n_threads=2)
        pair = {str(os.getpid())} | (set(os.listdir("/proc/self/task")) - before)
        n_apart = 0
        for _ in range(10 if len(cpus) > 1 else 0):
            # Both on one CPU, where they fall asleep.
            for allowed in ({min(cpus)}, cpus):
                for task in pair:
                    os.sched_setaffinity(int(task), allowed)
                time.sleep(0.2)
            _core.forget_load()
            Problem(X, n_threads=2)
            n_apart += len(set(map(cpu_of, pair))) == 2
            assert all(os.sched_getaffinity(int(task)) == cpus for task in pair)
        assert len(cpus) == 1 or n_apart > 5, n_apart
    """
    _run_alone(textwrap.dedent(code))


@pytest.mark.skipif(not os.path.exists(SCHEDSTAT), reason="the system tells no waiting for CPUs")
@pytest.mark.skipif(not _core.has_openmp(), reason="built without OpenMP")
def test_a_run_goes_on_alone_when_a_thread_that_shares_it_has_no_cpu():
    code = """
        import os
        import numpy as np
        from fastkm import _core
        from fastkm._problem import Problem

        X = np.random.default_rng(0).normal(size=(1797, 64)).astype(np.float32)
        problem = Problem(X, n_threads=2)
        good = problem.points, problem.frame, problem.panels(), problem.sum_scale, problem.low_scale

        def round_of(n_threads):
            places = X[:10].astype(np.float64), np.empty((10, 64))
            labels = np.full(1797, -1, np.int32), np.empty(1797, np.int32)
            arguments = places, labels, np.empty(1797), 0.0, 2, problem.isa
            run = _core.SoloRun(*good, *arguments)
            _core.SoloRuns([run], n_threads).advance(1)
            return run.labels.tobytes(), run.centroids.tobytes(), run.n_iter

        cpus = os.sched_getaffinity(0)
        expected = round_of(1)
        for _ in range(100 if len(cpus) > 1 else 0):
            _core.forget_load()
            round_of(2)  # the other thread then waits awake
            for task in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(task), {min(cpus)})
            assert round_of(2) == expected
            # So soon after it forgot the thread does not look at its own waiting.
            if _core.n_threads_now(2) == 1:
                break
            for task in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(task), cpus)
        else:
            assert len(cpus) == 1, "the caller has noticed nothing"
    """
    _run_alone(textwrap.dedent(code))
