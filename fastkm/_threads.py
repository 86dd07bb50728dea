"""Turn `n_threads` into one positive number: what OpenMP, the scheduler and the container allow."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral
from pathlib import Path

from fastkm._core import openmp_max_threads, openmp_n_procs

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUP_MOUNT = Path("/sys/fs/cgroup")

_is_forked_child = False


def _note_fork() -> None:
    global _is_forked_child
    _is_forked_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def effective_n_threads(n_threads: int | None) -> int:
    """Return how many threads to use.

    Parameters
    ----------
    n_threads : int or None
        None takes the smallest of OpenMP's own limit (``OMP_NUM_THREADS``, threadpoolctl), the CPUs
        this process may be scheduled on, and the container's CPU quota rounded up. An int of at
        least 1 is followed as asked, up to the CPUs that the process may use; see `n_usable_cpus`.

    Returns
    -------
    n_threads : int
        At least 1. Always 1 in a forked child: an OpenMP runtime used before the fork may hang
        there, so nothing asks it anything.

    Raises
    ------
    ValueError
        If `n_threads` is neither None nor an int of at least 1.

    Notes
    -----
    The number changes the time a result takes, never its bits. On Linux calls take one thread for
    moments where this one has to wait for a CPU: see ``_core_load.pxi``.
    """
    if n_threads is not None and not (isinstance(n_threads, Integral) and n_threads >= 1):
        raise ValueError(
            f"n_threads must be a positive int or None; got {n_threads!r}. None takes as many "
            "threads as this process may use."
        )
    if _is_forked_child:
        return 1
    if n_threads is not None:
        return min(int(n_threads), n_usable_cpus()) if n_threads > 1 else 1
    return max(1, min(openmp_max_threads(), n_schedulable_cpus(), _cgroup_cpus()))


def n_usable_cpus() -> int:
    """Return how many threads have a CPU each: as many as are worth starting, whatever is asked.

    More would take turns, and OpenMP's threads wait for each other in every parallel region. Where
    ``OMP_PROC_BIND`` has left the calling thread one CPU, OpenMP still knows those of its others.
    """
    return max(n_schedulable_cpus(), openmp_n_procs())


def n_schedulable_cpus() -> int:
    """Return how many CPUs the scheduler may run this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _cgroup_cpus() -> int:
    # A quota is set when a container starts, and reading it costs more than a small fit.
    quota = cgroup_cpu_quota(PROC_CGROUP, CGROUP_MOUNT)
    return math.ceil(quota) if math.isfinite(quota) else sys.maxsize


def cgroup_cpu_quota(proc_cgroup: Path, mount: Path) -> float:
    """Return the CPU quota of this process's control groups, in CPUs.

    Parameters
    ----------
    proc_cgroup : Path
        The list of the process's groups, ``/proc/self/cgroup``.
    mount : Path
        Where the groups are mounted, ``/sys/fs/cgroup``.

    Returns
    -------
    quota : float
        The smallest quota of the group and the groups that hold it, in version 1 or 2 of the
        interface; infinity where there is none, or none that can be read.
    """
    quotas = [math.inf]
    for line in _read(proc_cgroup).splitlines():
        _, _, entry = line.partition(":")
        controllers, _, group = entry.partition(":")
        if controllers == "":
            for folder in _folders(mount, group):
                quotas.append(_ratio(*_two_words(_read(folder / "cpu.max"))))
        elif "cpu" in controllers.split(","):
            for hierarchy in {controllers, "cpu"}:
                for folder in _folders(mount / hierarchy, group):
                    quota = _read(folder / "cpu.cfs_quota_us")
                    quotas.append(_ratio(quota, _read(folder / "cpu.cfs_period_us")))
    return min(quotas)


def _folders(root: Path, group: str) -> Iterator[Path]:
    """Yield the folders of a group and of those that hold it, up to `root`.

    Inside a container the group's name may be the host's, which does not exist below `root`; then
    only `root`, the container's own group, can be read.
    """
    names = [name for name in group.split("/") if name]
    if ".." in names:
        names = []
    for depth in range(len(names), -1, -1):
        yield root.joinpath(*names[:depth])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _two_words(text: str) -> tuple[str, str]:
    first, _, second = text.strip().partition(" ")
    return first, second


def _ratio(quota: str, period: str) -> float:
    """Return quota / period; infinity for "max", for -1, and for what is no number."""
    try:
        quota_us, period_us = float(quota), float(period)
    except ValueError:
        return math.inf
    if not (quota_us > 0 and period_us > 0):
        return math.inf
    return quota_us / period_us
