"""Distances to all centroids beside scikit-learn's: `python -m benchmarks.transform --check`.

Each package runs `transform` in a process of its own, on the same rows under the same centroids, in
paired turns. A time counts only if fastkm's distances are right to 1e-12 (float64) or 1e-6
(float32) of the direct form on some rows, and zero from each centroid to itself.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from . import machine

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


def _serve(package: str, n_threads: int, pipe) -> None:
    """Build the estimators that are named and time their transform until told to stop."""
    from importlib import import_module
    from warnings import simplefilter

    simplefilter("ignore")
    source = import_module({"fastkm": "fastkm", "scikit-learn": "sklearn.cluster"}[package])
    options = {"n_threads": n_threads} if package == "fastkm" else {}
    for shape, dtype in iter(pipe.recv, None):
        X, centroids = data(*shape, dtype)
        kmeans = source.KMeans(len(centroids), init=centroids, max_iter=1, **options).fit(centroids)
        kmeans.cluster_centers_ = centroids
        kmeans.transform(X)
        pipe.send("ready")
        while pipe.recv():
            n_calls, begun = 0, time.perf_counter()
            while n_calls == 0 or time.perf_counter() - begun < TURN_SECONDS:
                kmeans.transform(X)
                n_calls += 1
            pipe.send((time.perf_counter() - begun) / n_calls)
        rows = X[:: max(1, len(X) // 50)]
        pipe.send((kmeans.transform(rows), kmeans.transform(centroids)))


class Worker:
    """A package in a process of its own."""

    def __init__(self, package: str, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (package, n_threads, theirs)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()

    def ask(self, message):
        self.pipe.send(message)
        return self.pipe.recv()

    def stop(self) -> None:
        self.pipe.send(None)
        self._process.join()


def check_right(results, shape: tuple[int, int, int], dtype: str) -> None:
    """Raise unless fastkm's distances are those of the direct form, in longer floats."""
    distances, own = results
    X, centroids = (array.astype(np.longdouble) for array in data(*shape, dtype))
    rows = X[:: max(1, len(X) // 50)]
    expected = [np.sqrt(((rows - centroid) ** 2).sum(axis=1)) for centroid in centroids]
    expected = np.stack(expected, axis=1).astype(np.float64)
    np.testing.assert_allclose(distances, expected, rtol=RTOL[dtype], atol=0)
    if np.diag(own).any():
        raise RuntimeError("a centroid is not at distance 0 from itself, so no time counts.")


def compare(workers, shape: tuple[int, int, int], dtype: str, turns: int) -> dict[str, float]:
    """Return both medians, and the median ratio of the pairs."""
    for worker in workers:
        worker.ask((shape, dtype))
    pairs = []
    for turn in range(turns):
        order = workers if turn % 2 == 0 else workers[::-1]
        seconds = {worker: worker.ask(True) for worker in order}
        pairs.append([seconds[worker] for worker in workers])
    ours, _ = (worker.ask(False) for worker in workers)
    check_right(ours, shape, dtype)
    return {
        "fastkm": statistics.median(pair[0] for pair in pairs),
        "scikit-learn": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transform", description=__doc__)
    parser.add_argument("--rows", type=int, help="at most so many, to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where the record goes")
    parser.add_argument("--check", action="store_true", help="exit 1 above the ratio allowed")
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    record = {
        **machine.describe(),
        "command": " ".join(["python -m benchmarks.transform", *sys.argv[1:]]),
        "threads": options.threads,
        "results": {},
    }
    print(
        f"transform, {options.threads} threads, medians of {options.turns} pairs, {record['cpu']}"
    )
    print(f"{'n, d, k, dtype':28}{'fastkm':>12}{'scikit-learn':>15}{'ratio':>8}")
    workers = [Worker(name, options.threads) for name in ("fastkm", "scikit-learn")]
    missed = []
    for n, d, k in SHAPES:
        shape = (min(n, options.rows or n), d, k)
        for dtype in DTYPES:
            result = compare(workers, shape, dtype, options.turns)
            name = ", ".join(map(str, [*shape, dtype]))
            record["results"][name] = result
            times = f"{1e3 * result['fastkm']:9.2f} ms{1e3 * result['scikit-learn']:12.2f} ms"
            print(f"{name:28}{times}{result['ratio']:8.2f}", flush=True)
            if result["ratio"] > MOST:
                missed.append(name)
    for worker in workers:
        worker.stop()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1))
    if options.check and missed:
        print(f"above {MOST:g} times scikit-learn's time: {'; '.join(missed)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
