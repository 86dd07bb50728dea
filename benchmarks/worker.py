"""What a peer's process does: ``open`` loads the arrays, ``fit`` times fits and saves the last
one's centroids, ``memory`` does one fit and answers its peak memory over the start.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from .peers import PEERS
from .process import serve

_MB_PER_KIB = 1024 / 1e6


def _status_kib(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


class PeakMemory:
    """Peak resident memory since ``start``, in MB.

    On Linux the kernel's high-water mark is put back first; where that is not possible the
    growth of the process's own maximum stands in, which can only be too small.
    """

    def start(self) -> None:
        self._before = self._maximum_kib()
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status_kib("VmRSS")
            self.is_exact = True
        except OSError:
            self.is_exact = False

    def over_start(self) -> float:
        return (self._maximum_kib() - self._before) * _MB_PER_KIB

    @staticmethod
    def _maximum_kib() -> int:
        if Path("/proc/self/status").exists():
            return _status_kib("VmHWM")
        import resource

        maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return maximum // 1024 if sys.platform == "darwin" else maximum


class Worker:
    def __init__(self, peer: str) -> None:
        self.peer = PEERS[peer]

    def open(self, points: str, start: str, rounds: int, n_threads: int) -> dict:
        """Load the arrays, and warm up on a few rows: imports and thread pools are no fit."""
        if importlib.util.find_spec(self.peer.module) is None:
            return {"error": f"{self.peer.package} is not installed", "missing": True}
        self.points = np.load(points)
        self.start = np.load(start)
        self.rounds, self.n_threads = rounds, n_threads
        k = min(len(self.start), 8)
        self._fit(self.points[: 64 * k], self.start[:k], 2)
        module = sys.modules[self.peer.module]
        return {"version": self._version(), "file": getattr(module, "__file__", None)}

    def _version(self) -> str:
        try:
            return importlib.metadata.version(self.peer.package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed, imported from its sources"

    def fit(self, repeat: int, save: str | None) -> dict:
        seconds = []
        for _ in range(repeat):
            begin = time.perf_counter()
            result = self._fit(self.points, self.start, self.rounds)
            seconds.append(time.perf_counter() - begin)
        if save:
            np.save(save, result.centroids)
        return {"seconds": seconds, "n_iter": result.n_iter}

    def memory(self) -> dict:
        peak = PeakMemory()
        peak.start()
        self._fit(self.points, self.start, self.rounds)
        return {"mb": peak.over_start(), "is_exact": peak.is_exact}

    def _fit(self, points: np.ndarray, start: np.ndarray, rounds: int):
        return self.peer.fit(points, start, rounds, self.n_threads)


def main() -> None:
    warnings.simplefilter("ignore")  # every fit here is one that has not converged yet
    serve(Worker(sys.argv[1]))
