"""CSR rows beside scikit-learn's KMeans, in paired turns: `python -m benchmarks.sparse --check`.

The matrix is like 20 newsgroups' tf-idf: rows of unit length under twenty topics, words by Zipf's
law, about half a percent filled. Each package runs in a process of its own, from the same start
rows for the same number of rounds with tol=0, and then seeded by k-means++ at the defaults; a time
counts only if the labels of both agree.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from . import machine

N_CLUSTERS = 20
ROUNDS = 20
MEASURES = ("same rows", "seeded", "k-means++", "predict", "transform")
# How many times as fast as scikit-learn a fit must be.
FIGURES = {"same rows": 1.0, "seeded": 1.0}


def newsgroups_like(n: int, d: int, density: float = 0.005, seed: int = 0) -> sp.csr_matrix:
    """Return tf-idf rows of unit length, float64, columns ascending."""
    rng = np.random.default_rng(seed)
    per_row = d * density
    topics = np.log(1 / np.arange(1, d + 1)) + rng.normal(0, 1, size=(N_CLUSTERS, d))
    shares = np.cumsum(np.exp(topics), axis=1)
    shares /= shares[:, -1:]
    # Common words come several times and count once, so more are drawn than are kept.
    drawn = (1.45 * per_row * rng.lognormal(-0.18, 0.6, n)).astype(int) + 3
    rows = np.repeat(np.arange(n), drawn)
    topic_of = rng.integers(N_CLUSTERS, size=n)[rows]
    words = np.empty(len(rows), dtype=np.int64)
    for topic in range(N_CLUSTERS):
        mine = topic_of == topic
        words[mine] = np.searchsorted(shares[topic], rng.random(int(mine.sum())))
    X = sp.csr_matrix((np.ones(len(rows)), (rows, np.minimum(words, d - 1))), shape=(n, d))
    X.sum_duplicates()
    frequency = np.bincount(X.indices, minlength=d)
    X.data = (1 + np.log(X.data)) * np.log((1 + n) / (1 + frequency))[X.indices]
    norms = np.sqrt(np.add.reduceat(X.data**2, X.indptr[:-1]))
    X.data /= np.repeat(norms, np.diff(X.indptr))
    return X


def _serve(package: str, path: str, n_threads: int, pipe) -> None:
    """Run measures by name until told to stop."""
    from importlib import import_module
    from warnings import simplefilter

    simplefilter("ignore")
    X = sp.csr_matrix(sp.load_npz(path))
    source = import_module({"fastkm": "fastkm", "scikit-learn": "sklearn.cluster"}[package])
    options = {"n_threads": n_threads} if package == "fastkm" else {}
    start = X[np.random.default_rng(1).choice(X.shape[0], N_CLUSTERS, replace=False)].toarray()

    def fit(**more):
        return source.KMeans(N_CLUSTERS, **options, **more).fit(X)

    fitted = fit(init=start, n_init=1, max_iter=2)
    calls = {
        "same rows": lambda: fit(init=start, n_init=1, max_iter=ROUNDS, tol=0),
        "seeded": lambda: fit(random_state=0),
        "k-means++": lambda: source.kmeans_plusplus(X, N_CLUSTERS, random_state=0, **options)[1],
        "predict": lambda: fitted.predict(X),
        "transform": lambda: fitted.transform(X),
    }
    pipe.send("ready")
    for measure in iter(pipe.recv, None):
        begun = time.perf_counter()
        result = calls[measure]()
        seconds = time.perf_counter() - begun
        if hasattr(result, "labels_"):
            pipe.send((seconds, result.labels_, result.n_iter_))
        else:
            pipe.send((seconds, result, 0))


class Worker:
    """A package in a process of its own."""

    def __init__(self, package: str, path: str, n_threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (package, path, n_threads, theirs)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        self._pipe.recv()

    def run(self, measure: str):
        self._pipe.send(measure)
        return self._pipe.recv()

    def stop(self) -> None:
        self._pipe.send(None)
        self._process.join()


def compare(X: sp.csr_matrix, n_threads: int, turns: int) -> dict[str, dict]:
    """Measure both packages in turns; return medians, and the median ratio of the pairs."""
    os.environ["OMP_NUM_THREADS"] = str(n_threads)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "X.npz")
        sp.save_npz(path, X, compressed=False)
        workers = [Worker(name, path, n_threads) for name in ("fastkm", "scikit-learn")]
        for measure in MEASURES:
            pairs = []
            for turn in range(turns):
                order = workers if turn % 2 == 0 else workers[::-1]
                found = {worker: worker.run(measure) for worker in order}
                ours, theirs = (found[worker] for worker in workers)
                pairs.append((ours[0], theirs[0]))
                _check_same(measure, ours, theirs)
            results[measure] = {
                "fastkm": statistics.median(ours for ours, _ in pairs),
                "scikit-learn": statistics.median(theirs for _, theirs in pairs),
                "ratio": statistics.median(theirs / ours for ours, theirs in pairs),
                "rounds": ours[2],
            }
        for worker in workers:
            worker.stop()
    return results


def _check_same(measure: str, ours: tuple, theirs: tuple) -> None:
    if measure == "transform":
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)
    elif not np.array_equal(ours[1], theirs[1]) or ours[2] != theirs[2]:
        raise RuntimeError(f"{measure}: fastkm and scikit-learn disagree, so no time counts.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=20_000)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the record goes")
    parser.add_argument("--check", action="store_true", help="exit 1 below the figures asked for")
    options = parser.parse_args(arguments)
    X = newsgroups_like(options.rows, options.columns).astype(options.dtype)
    filled = X.nnz / (X.shape[0] * X.shape[1])
    record = {
        **machine.describe(),
        "command": " ".join(["python -m benchmarks.sparse", *sys.argv[1:]]),
        "shape": X.shape,
        "filled": filled,
        "k": N_CLUSTERS,
        "threads": options.threads,
        "dtype": options.dtype,
        "results": compare(X, options.threads, options.turns),
    }
    print(f"{X.shape[0]} x {X.shape[1]}, {filled:.2%} filled, k = {N_CLUSTERS}, {options.dtype},")
    print(f"{options.threads} threads, medians of {options.turns} pairs, {record['cpu']}")
    print(f"{'':12}{'fastkm':>10}{'scikit-learn':>14}{'times as fast':>15}")
    missed = []
    for measure, result in record["results"].items():
        times = f"{result['fastkm']:8.3f} s{result['scikit-learn']:12.3f} s"
        print(f"{measure:12}{times}{result['ratio']:15.2f}")
        if result["ratio"] < FIGURES.get(measure, 0):
            missed.append(measure)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1))
    if options.check and missed:
        print(f"below the figure asked for: {', '.join(missed)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
