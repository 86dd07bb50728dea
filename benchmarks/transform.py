"""Distances to all centroids beside scikit-learn's: `python -m benchmarks.transform --check`.

Each package runs `transform` in a process of its own, on the same rows under the same centroids, in
paired turns. A time counts only if fastkm's distances are right to 1e-12 (float64) or 1e-6
(float32) of the direct form on some rows, and zero from each centroid to itself.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np

from . import machine
from .process import PACKAGES, Process, in_turn, serve, settle

SHAPES = (
    (60_000, 784, 10),
    (60_000, 784, 64),
    (60_000, 784, 256),
    (100_000, 10, 10),
    (100_000, 10, 100),
    (100_000, 2, 8),
    (1, 784, 64),
    (1, 10, 8),
)
DTYPES = ("float32", "float64")
RTOL = {"float32": 1e-6, "float64": 1e-12}
# How many times scikit-learn's time transform may take.
MOST = 2.0
# A turn lasts so long, in as many calls as that takes: short calls are not told by one.
TURN_SECONDS = 0.05


def data(n: int, d: int, k: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, d) and centroids (k, d) of a cloud away from the origin."""
    rng = np.random.default_rng(0)
    return tuple((rng.normal(size=(m, d)) + 2).astype(dtype) for m in (n, k))


class Worker:
    """One package: the estimator at hand, and its transform, timed."""

    def __init__(self, package: str, n_threads: int) -> None:
        self.source = import_module(PACKAGES[package])
        self.options = {"n_threads": n_threads} if package == "fastkm" else {}

    def take_up(self, shape: list[int], dtype: str) -> dict:
        self.X, self.centroids = data(*shape, dtype)
        kmeans = self.source.KMeans(shape[2], init=self.centroids, max_iter=1, **self.options)
        self.kmeans = kmeans.fit(self.centroids)
        self.kmeans.cluster_centers_ = self.centroids
        self.kmeans.transform(self.X)
        return {}

    def measure(self) -> dict:
        n_calls, begun = 0, time.perf_counter()
        while n_calls == 0 or time.perf_counter() - begun < TURN_SECONDS:
            self.kmeans.transform(self.X)
            n_calls += 1
        return {"seconds": (time.perf_counter() - begun) / n_calls}

    def save(self, path: str) -> dict:
        distances = self.kmeans.transform(some_rows(self.X))
        np.savez(path, distances=distances, own=self.kmeans.transform(self.centroids))
        return {}


def serve_worker() -> None:
    warnings.simplefilter("ignore")
    package, n_threads = sys.argv[1:]
    serve(Worker(package, int(n_threads)))


def some_rows(X: np.ndarray) -> np.ndarray:
    return X[:: max(1, len(X) // 50)]


def check_right(
    distances: np.ndarray, own: np.ndarray, shape: tuple[int, int, int], dtype: str
) -> None:
    """Raise unless fastkm's distances are those of the direct form, in longer floats."""
    X, centroids = (array.astype(np.longdouble) for array in data(*shape, dtype))
    rows = some_rows(X)
    expected = [np.sqrt(((rows - centroid) ** 2).sum(axis=1)) for centroid in centroids]
    expected = np.stack(expected, axis=1).astype(np.float64)
    np.testing.assert_allclose(distances, expected, rtol=RTOL[dtype], atol=0)
    if np.diag(own).any():
        raise RuntimeError("a centroid is not at distance 0 from itself, so no time counts.")


def compare(
    workers: dict[str, Process], shape: tuple[int, int, int], dtype: str, turns: int, folder: Path
) -> dict[str, float]:
    """Return both medians, and the median ratio of the pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in PACKAGES}
    for worker in workers.values():
        worker.ask("take_up", shape=shape, dtype=dtype)
    for turn in range(turns):
        for name in in_turn(PACKAGES, turn):
            settle()
            seconds[name].append(workers[name].ask("measure")["seconds"])
    path = str(folder / "distances.npz")
    workers["fastkm"].ask("save", path=path)
    with np.load(path) as saved:
        check_right(saved["distances"], saved["own"], shape, dtype)
    return {
        **{name: statistics.median(seconds[name]) for name in PACKAGES},
        "ratio": statistics.median(
            ours / theirs for ours, theirs in zip(*seconds.values(), strict=True)
        ),
    }


def compare_all(n_threads: int, turns: int, most_rows: int | None) -> dict[str, dict[str, float]]:
    """Measure every shape and dtype, and print each as it is there."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = dict.fromkeys(names, str(n_threads))
    results = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder)
        workers = {}
        for name in PACKAGES:
            arguments = [name, str(n_threads)]
            workers[name] = Process(
                "benchmarks.transform:serve_worker", arguments, files / f"{name}.err", variables
            )
            stack.callback(workers[name].close)
        for (n, d, k), dtype in itertools.product(SHAPES, DTYPES):
            shape = (min(n, most_rows or n), d, k)
            result = compare(workers, shape, dtype, turns, files)
            name = ", ".join(map(str, [*shape, dtype]))
            results[name] = result
            times = f"{1e3 * result['fastkm']:9.2f} ms{1e3 * result['scikit-learn']:12.2f} ms"
            print(f"{name:28}{times}{result['ratio']:8.2f}", flush=True)
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transform", description=__doc__)
    parser.add_argument("--rows", type=int, help="at most so many, to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where the record goes")
    parser.add_argument("--check", action="store_true", help="exit 1 above the ratio allowed")
    options = parser.parse_args(arguments)
    record = {
        **machine.describe(),
        "command": " ".join(["python -m benchmarks.transform", *sys.argv[1:]]),
        "threads": options.threads,
    }
    print(f"{options.threads} threads, medians of {options.turns} pairs, {record['cpu']}")
    print(f"{'n, d, k, dtype':28}{'fastkm':>12}{'scikit-learn':>15}{'ratio':>8}")
    record["results"] = compare_all(options.threads, options.turns, options.rows)
    missed = [name for name, result in record["results"].items() if result["ratio"] > MOST]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1))
    if options.check and missed:
        print(f"above {MOST:g} times scikit-learn's time: {'; '.join(missed)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
