"""Silhouettes beside scikit-learn's: `python -m benchmarks.silhouette --check`.

Both packages measure the same rows in processes of their own, in paired turns; a time counts only
if the two agree to 1e-6 on every row. Then MNIST, by fastkm alone, with its peak memory over the
start.
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
from .process import Process, in_turn, serve, settle
from .worker import PeakMemory
from .workloads import MNIST, find_mnist

PACKAGES = {"fastkm": "fastkm.evaluation", "scikit-learn": "sklearn.metrics"}
N, D, K = 20_000, 64, 10
SPEED_AT_LEAST = 8.0
MNIST_SECONDS_AT_MOST = 60.0
MNIST_MB_AT_MOST = 300.0
TOLERANCE = 1e-6


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (n, 64) of ten overlapping clusters, and which each is in."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % K
    return (rng.normal(size=(K, D))[labels] + rng.normal(size=(n, D))).astype(np.float32), labels


def mnist_rows(n: int, mnist: str) -> np.ndarray:
    rows, unit = MNIST.make(n, Path(mnist))
    return rows.astype(np.float32) / np.float32(unit)


class Worker:
    """One package, and its silhouettes, timed."""

    def __init__(self, package: str, n_threads: int) -> None:
        self.samples = import_module(PACKAGES[package]).silhouette_samples
        self.options = {"n_threads": n_threads} if package == "fastkm" else {}
        self.n_threads = n_threads

    def measure(self, n: int, save: str) -> dict:
        X, labels = data(n)
        self.samples(X[:200], labels[:200], **self.options)  # loads, starts threads
        begun = time.perf_counter()
        samples = self.samples(X, labels, **self.options)
        seconds = time.perf_counter() - begun
        np.save(save, samples)
        return {"seconds": seconds}

    def label_mnist(self, n: int, mnist: str, X: str, labels: str) -> dict:
        rows = mnist_rows(n, mnist)
        kmeans = import_module("fastkm").KMeans(K, random_state=0, n_threads=self.n_threads)
        np.save(X, rows)
        np.save(labels, kmeans.fit_predict(rows))
        return {}

    def measure_saved(self, X: str, labels: str) -> dict:
        rows, clusters = np.load(X), np.load(labels)
        peak = PeakMemory()
        peak.start()
        begun = time.perf_counter()
        samples = self.samples(rows, clusters, **self.options)
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "mb": peak.over_start(), "score": float(samples.mean())}


def serve_worker() -> None:
    package, n_threads = sys.argv[1:]
    serve(Worker(package, int(n_threads)))


def check_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise unless the silhouettes agree."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def compare(workers: dict[str, Process], n: int, turns: int, folder: Path) -> dict:
    """Return both medians, and the median ratio of the pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in PACKAGES}
    for turn in range(turns):
        for name in in_turn(PACKAGES, turn):
            settle()
            answer = workers[name].ask("measure", n=n, save=str(folder / f"{name}.npy"))
            seconds[name].append(answer["seconds"])
        check_same(*(np.load(folder / f"{name}.npy") for name in PACKAGES))
    pairs = zip(*seconds.values(), strict=True)
    return {
        **{name: statistics.median(seconds[name]) for name in PACKAGES},
        "speed": statistics.median(theirs / ours for ours, theirs in pairs),
    }


def run(options: argparse.Namespace, mnist: Path | None) -> dict[str, dict]:
    """Measure both parts, and print each as it is there."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = dict.fromkeys(names, str(options.threads))
    results: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder)
        workers = {}
        for name in PACKAGES:
            arguments = [name, str(options.threads)]
            workers[name] = Process(
                "benchmarks.silhouette:serve_worker", arguments, files / f"{name}.err", variables
            )
            stack.callback(workers[name].close)
        n = min(N, options.rows or N)
        row = results["beside"] = compare(workers, n, options.turns, files)
        print(f"{n} x {D}, k = {K}: fastkm {row['fastkm']:.3f} s", end=", ")
        print(f"scikit-learn {row['scikit-learn']:.2f} s, {row['speed']:.1f} times as fast")
        if mnist is None:
            print("MNIST: not measured; name its folder by --mnist or FASTKM_MNIST")
            return results
        n = min(MNIST.n, options.rows or MNIST.n)
        saved = {"X": str(files / "X.npy"), "labels": str(files / "labels.npy")}
        workers["fastkm"].ask("label_mnist", n=n, mnist=str(mnist), **saved)
        # In a process of its own: memory that a fit has given back would hide what is taken here.
        alone = Process(
            "benchmarks.silhouette:serve_worker",
            ["fastkm", str(options.threads)],
            files / "alone.err",
            variables,
        )
        stack.callback(alone.close)
        row = results["MNIST"] = alone.ask("measure_saved", **saved)
        print(f"MNIST, {n} x 784, k = {K}: {row['seconds']:.2f} s", end=", ")
        print(f"{row['mb']:.0f} MB over start, silhouette {row['score']:.4f}")
    return results


def missed(results: dict[str, dict]) -> list[str]:
    """Return what falls short of what is asked."""
    said = []
    if results["beside"]["speed"] < SPEED_AT_LEAST:
        said.append(f"{results['beside']['speed']:.1f} times scikit-learn's speed")
    mnist = results.get("MNIST", {"seconds": 0.0, "mb": 0.0})
    if mnist["seconds"] > MNIST_SECONDS_AT_MOST or mnist["mb"] > MNIST_MB_AT_MOST:
        said.append(f"MNIST in {mnist['seconds']:.1f} s and {mnist['mb']:.0f} MB")
    return said


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and fail if a figure is missed under --check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.silhouette", description=__doc__)
    parser.add_argument("--mnist", help="folder of the IDX files")
    parser.add_argument("--rows", type=int, help="at most so many, to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the record goes")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure is missed")
    options = parser.parse_args(arguments)
    record = {
        **machine.describe(),
        "command": " ".join(["python -m benchmarks.silhouette", *sys.argv[1:]]),
        "threads": options.threads,
    }
    print(f"{options.threads} threads, medians of {options.turns} pairs, {record['cpu']}")
    record["results"] = run(options, find_mnist(options.mnist))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1))
    for line in missed(record["results"]):
        print("missed:", line)
    return 1 if options.check and missed(record["results"]) else 0


if __name__ == "__main__":
    sys.exit(main())
