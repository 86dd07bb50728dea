"""n_threads: what OpenMP, the scheduler, the container and a fork allow."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_limits

from fastkm import KMeans, MiniBatchKMeans, _core, _threads
from fastkm._threads import cgroup_cpu_quota, effective_n_threads

SCHEDSTAT = "/proc/thread-self/schedstat"


@pytest.fixture
def limits(monkeypatch):
    """Return a function that sets what each of the three says."""

    def set_limits(openmp=64, cpus=64, quota=math.inf):
        monkeypatch.setattr(_threads, "openmp_max_threads", lambda: openmp)
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


@pytest.mark.parametrize("n_threads", [1, 2, 7, 100])
def test_an_int_is_followed_as_asked(limits, n_threads):
    limits(openmp=2, cpus=2, quota=1.0)
    assert effective_n_threads(n_threads) == n_threads


def test_an_absurd_int_is_cut():
    most = max(256, os.cpu_count())
    assert effective_n_threads(10**30) == most
    assert effective_n_threads(most) == most


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
            os.write(write, fit(0))
            os._exit(0)
        found = [os.read(read, 4096)]
        assert os.waitpid(child, 0)[1] == 0
    """,
    "multiprocessing": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(fit, range(4))
    """,
    "joblib": """
        import joblib
        with joblib.parallel_backend("multiprocessing", n_jobs=2):
            found = joblib.Parallel()(joblib.delayed(fit)(i) for i in range(4))
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("way", FORKS)
def test_children_forked_after_a_fit_on_two_threads_fit_the_same(way):
    # Each of the fits is worth waking OpenMP's threads for, which no child inherits.
    code = """
        import hashlib, os, warnings
        import numpy as np
        from fastkm import KMeans, MiniBatchKMeans
        warnings.simplefilter("ignore")

        X = np.random.default_rng(0).normal(size=(60_000, 16))

        def fit(i):
            bits = hashlib.sha256()
            for estimator in (KMeans(8, max_iter=5), MiniBatchKMeans(8, batch_size=30_000)):
                estimator.set_params(random_state=0, n_init=1, n_threads=2).fit(X)
                for array in (estimator.labels_, estimator.cluster_centers_, estimator.predict(X)):
                    bits.update(array.tobytes())
            return bits.digest()

        if __name__ == "__main__":
            expected = fit(0)
    """
    rest = """
            assert set(found) == {expected}, found
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
