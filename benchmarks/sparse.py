"""CSR rows beside scikit-learn, in paired turns: `python -m benchmarks.sparse --check`.

The matrix is like 20 newsgroups' tf-idf: rows of unit length under twenty topics, words by Zipf's
law, about half a percent filled. Each package runs in a process of its own, from the same start
rows for the same number of rounds with tol=0, and then seeded by k-means++ at the defaults; a time
counts only if the labels of both agree. Mini-batches run at their defaults, every turn from another
seed, and count if fastkm's inertia, found again in NumPy, is not more than 1 % higher.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from . import machine
from .process import PACKAGES, Process, in_turn, serve, settle

N_CLUSTERS = 20
ROUNDS = 20
MEASURES = ("same rows", "seeded", "mini-batches", "k-means++", "predict", "transform")
# How many times as fast as scikit-learn a fit must be.
FIGURES = {"same rows": 1.0, "seeded": 1.0, "mini-batches": 1.0}
# Both draw the same batches, but in float32 scikit-learn's rounding may choose another row to start
# from, and then every step is another.
INERTIA_TOLERANCE = 0.01


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


class Worker:
    """A package's estimator on one matrix; what `Process` asks."""

    def __init__(self, package: str, path: str, n_threads: int) -> None:
        self.X = sp.csr_matrix(sp.load_npz(path))
        self.source = import_module(PACKAGES[package])
        self.options = {"n_threads": n_threads} if package == "fastkm" else {}
        rows = np.random.default_rng(1).choice(self.X.shape[0], N_CLUSTERS, replace=False)
        self.start = self.X[rows].toarray()
        self.fitted = self._fit(init=self.start, n_init=1, max_iter=2)

    def _fit(self, **options):
        return self.source.KMeans(N_CLUSTERS, **self.options, **options).fit(self.X)

    def _call(self, measure: str, turn: int) -> tuple[np.ndarray, int]:
        """Return what a measure computes, and the rounds it took."""
        if measure == "mini-batches":
            kmeans = self.source.MiniBatchKMeans(N_CLUSTERS, random_state=turn, **self.options)
            fit = kmeans.fit(self.X)
            return fit.cluster_centers_, fit.n_steps_
        if measure == "same rows":
            fit = self._fit(init=self.start, n_init=1, max_iter=ROUNDS, tol=0)
            return fit.labels_, fit.n_iter_
        if measure == "seeded":
            fit = self._fit(random_state=0)
            return fit.labels_, fit.n_iter_
        if measure == "k-means++":
            seeding = self.source.kmeans_plusplus
            return seeding(self.X, N_CLUSTERS, random_state=0, **self.options)[1], 0
        return getattr(self.fitted, measure)(self.X), 0

    def take(self, measure: str, turn: int, save: str) -> dict:
        begun = time.perf_counter()
        result, rounds = self._call(measure, turn)
        seconds = time.perf_counter() - begun
        np.save(save, result)
        return {"seconds": seconds, "rounds": rounds}


def serve_worker() -> None:
    warnings.simplefilter("ignore")
    package, path, n_threads = sys.argv[1:]
    serve(Worker(package, path, int(n_threads)))


def compare(X: sp.csr_matrix, n_threads: int, turns: int) -> dict[str, dict]:
    """Measure both packages in turns; return medians, and the median ratio of the pairs."""
    threads = {"OMP_NUM_THREADS": str(n_threads)}
    results = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = Path(folder)
        sp.save_npz(files / "X.npz", X, compressed=False)
        workers = {}
        for name in PACKAGES:
            arguments = [name, str(files / "X.npz"), str(n_threads)]
            workers[name] = Process(
                "benchmarks.sparse:serve_worker", arguments, files / f"{name}.err", threads
            )
            stack.callback(workers[name].close)
        for measure in MEASURES:
            seconds: dict[str, list[float]] = {name: [] for name in PACKAGES}
            for turn in range(turns):
                answers = {}
                for name in in_turn(PACKAGES, turn):
                    saved = str(files / f"{name}.npy")
                    settle()
                    answers[name] = workers[name].ask(
                        "take", measure=measure, turn=turn, save=saved
                    )
                    seconds[name].append(answers[name]["seconds"])
                _check_same(measure, answers, files, X)
            results[measure] = {
                **{name: statistics.median(seconds[name]) for name in PACKAGES},
                "ratio": statistics.median(
                    theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)
                ),
                "rounds": answers["fastkm"]["rounds"],
            }
    return results


def inertia(X: sp.csr_matrix, centroids: np.ndarray) -> float:
    """Sum the rows' squared distances to the nearest centroids, in float64."""
    X, centroids = X.astype(np.float64), centroids.astype(np.float64)
    offsets = (centroids**2).sum(axis=1) - 2 * (X @ centroids.T)
    return float((X.data**2).sum() + offsets.min(axis=1).sum())


def _check_same(measure: str, answers: dict[str, dict], files: Path, X: sp.csr_matrix) -> None:
    ours, theirs = (np.load(files / f"{name}.npy") for name in PACKAGES)
    rounds = {answer["rounds"] for answer in answers.values()}
    if measure == "transform":
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    elif measure == "mini-batches":
        ratio = inertia(X, ours) / inertia(X, theirs)
        if not ratio <= 1 + INERTIA_TOLERANCE:
            raise RuntimeError(f"{measure}: fastkm's inertia is {ratio:.3f} times scikit-learn's.")
    elif not np.array_equal(ours, theirs) or len(rounds) != 1:
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
