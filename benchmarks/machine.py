"""What a number means nothing without: CPU, system, versions, commit, command and date."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

from .workloads import ROOT


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def has_avx512() -> bool:
    return "avx512f" in _cpuinfo("flags").split()


def n_cpus() -> int:
    """Return the number of CPUs this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def load() -> float | None:
    """Return how many processes the machine was running in the last minute, if it says so."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def describe() -> dict:
    """Return the record that stands beside the figures of a run."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "commit": _commit(),
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "avx512": has_avx512(),
        "n_cpus": n_cpus(),
        "load_before": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
