"""MiniBatchKMeans beside scikit-learn's at their defaults: `python -m benchmarks.minibatch`.

MNIST / 255 in float32. Each package fits in a process of its own; in every turn both fit with the
same seed, one after the other, the first one changing from turn to turn. Speed is the median of the
turns' ratios. Quality is the median over the seeds of the inertia, computed again in float64 from
the centroids by the same NumPy code for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from . import machine
from .process import PACKAGES, Process, in_turn, serve, settle
from .workloads import MNIST, find_mnist

CLUSTERS = (10, 64, 256)
SPEED_AT_LEAST = 3.0
# Both draw alike, but scikit-learn's float32 sums may round to another row to start from, better or
# worse by chance: for one seed in ten at k=64, which moves the median by four parts in 10,000.
INERTIA_TOLERANCE = 1e-3
ROWS_AT_ONCE = 4096


def points(mnist: Path) -> np.ndarray:
    rows, unit = MNIST.make(MNIST.n, mnist)
    return rows.astype(np.float32) / np.float32(unit)


class Worker:
    """A package's estimator on MNIST; what `Process` asks."""

    def __init__(self, package: str, mnist: str) -> None:
        self.estimator = import_module(PACKAGES[package]).MiniBatchKMeans
        self.X = points(Path(mnist))
        self.estimator(2, max_iter=1, random_state=0).fit(self.X[:5000])  # loads, starts threads

    def fit(self, k: int, seed: int, save: str) -> dict:
        begun = time.perf_counter()
        fitted = self.estimator(k, random_state=seed).fit(self.X)
        seconds = time.perf_counter() - begun
        np.save(save, fitted.cluster_centers_)
        return {"seconds": seconds, "steps": fitted.n_steps_}


def serve_worker() -> None:
    serve(Worker(*sys.argv[1:]))


def inertia(X: np.ndarray, centroids: np.ndarray) -> float:
    """Sum the rows' squared distances to the nearest centroids, in float64."""
    total = 0.0
    norms = (centroids**2).sum(axis=1)
    for begin in range(0, len(X), ROWS_AT_ONCE):
        rows = X[begin : begin + ROWS_AT_ONCE].astype(np.float64)
        labels = np.argmin(norms - 2 * rows @ centroids.T, axis=1)
        total += float(((rows - centroids[labels]) ** 2).sum())
    return total


def measure(
    k: int, seeds: range, X: np.ndarray, workers: dict[str, Process], saved: Path
) -> dict[str, object]:
    seconds: dict[str, list[float]] = {name: [] for name in PACKAGES}
    steps: dict[str, list[int]] = {name: [] for name in PACKAGES}
    centroids: dict[str, list[np.ndarray]] = {name: [] for name in PACKAGES}
    for turn, seed in enumerate(seeds):
        for name in in_turn(PACKAGES, turn):
            settle()
            answer = workers[name].ask("fit", k=k, seed=seed, save=str(saved))
            seconds[name].append(answer["seconds"])
            steps[name].append(answer["steps"])
            centroids[name].append(np.load(saved).astype(np.float64))
    # Only now, as it would push the fits' rows out of the caches.
    inertias = {name: [inertia(X, c) for c in centroids[name]] for name in PACKAGES}
    ours, theirs = (inertias[name] for name in PACKAGES)
    ratios = [t / o for o, t in zip(*(seconds[name] for name in PACKAGES), strict=True)]
    return {
        "k": k,
        "seconds": {name: statistics.median(seconds[name]) for name in PACKAGES},
        "speed": statistics.median(ratios),
        "speeds": ratios,
        "steps": {name: statistics.median(steps[name]) for name in PACKAGES},
        "inertia": {name: statistics.median(inertias[name]) for name in PACKAGES},
        "relative_inertia": statistics.median(ours) / statistics.median(theirs) - 1,
    }


def _tell(row: dict) -> None:
    (our_s, their_s), (our_n, their_n), (our_i, their_i) = (
        row[key].values() for key in ("seconds", "steps", "inertia")
    )
    print(
        f"{row['k']:5}{our_s:10.3f}{their_s:11.3f}{row['speed']:8.2f}{our_n:7.0f}{their_n:7.0f}"
        f"{our_i:12.0f}{their_i:12.0f}",
        flush=True,
    )


def main() -> int:
    """Measure, print a table, and fail if a figure is missed under --check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.minibatch", description=__doc__)
    parser.add_argument("--mnist", help="folder of the IDX files")
    parser.add_argument("--clusters", type=int, nargs="*", default=list(CLUSTERS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="fail if a figure is missed")
    arguments = parser.parse_args()
    mnist = find_mnist(arguments.mnist)
    if mnist is None:
        parser.error("no MNIST: name its folder by --mnist or FASTKM_MNIST")
    X = points(mnist)
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder)
        workers = {}
        for name in PACKAGES:
            workers[name] = Process(
                "benchmarks.minibatch:serve_worker", [name, str(mnist)], files / f"{name}.err"
            )
            stack.callback(workers[name].close)
        print(f"{'k':>5}{'fastkm s':>10}{'sklearn s':>11}{'speed':>8}{'steps':>14}{'inertia':>24}")
        for k in arguments.clusters:
            rows.append(measure(k, range(arguments.seeds), X, workers, files / "centroids.npy"))
            _tell(rows[-1])
    if arguments.json:
        record = {"machine": machine.describe(), "rows": rows}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    missed = [
        f"k={row['k']}: {row['speed']:.2f} times as fast, inertia {row['relative_inertia']:+.1e}"
        for row in rows
        if row["speed"] < SPEED_AT_LEAST or row["relative_inertia"] > INERTIA_TOLERANCE
    ]
    for line in missed:
        print("missed:", line)
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
