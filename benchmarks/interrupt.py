"""How soon Ctrl-C is answered: `python -m benchmarks.interrupt --check`.

Each kind of call is done once to its end, and then interrupted at moments spread over the time that
took, by a SIGINT that another process sends and times. What counts is the time from there to the
KeyboardInterrupt where the call was made; and that the estimator is afterwards what it was before.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse

from fastkm import KMeans, MiniBatchKMeans, kmeans_plusplus
from fastkm.evaluation import silhouette_samples, sweep

from . import machine
from .workloads import mixture

SECONDS_AT_MOST = 0.2
# A block of rows is one call, and here it takes longer: shown, and not judged.
NOT_PROMISED = ("fit, few rows of many features",)
LONGEST_WAIT = 60  # seconds, for a signal that comes after a call has ended
WORTH_INTERRUPTING = 0.05  # seconds that a call takes
# Its own process, as a signal sent by a thread of this one would wait for the GIL like the answer.
_SENDER = """
import os, signal, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    begun = time.monotonic()
    os.kill(os.getppid(), signal.SIGINT)
    print(begun, flush=True)
"""


@dataclass
class Call:
    """What is interrupted, and the estimator that is to stay as it was, if it has one."""

    do: Callable[[], object]
    estimator: Any = None


class Interrupter:
    """Interrupts calls, and says how long after the signal each ended."""

    def __init__(self) -> None:
        self._sender = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _SENDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds_to_answer(self, do: Callable[[], object], after: float) -> float | None:
        """Return the seconds from the signal to the answer; None if the call ended before it."""
        # A program that a shell runs in the background is started deaf to SIGINT.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self._sender.stdin.write(f"{after}\n")
        self._sender.stdin.flush()
        is_over = False
        try:
            do()
            is_over = True
            time.sleep(LONGEST_WAIT)
            raise AssertionError("the signal did not come")
        except KeyboardInterrupt:
            answered = time.monotonic()
        finally:
            signal.signal(signal.SIGINT, before)
        sent = float(self._sender.stdout.readline())
        return None if is_over else answered - sent

    def close(self) -> None:
        self._sender.stdin.close()
        self._sender.wait()
        self._sender.stdout.close()


def state_of(estimator: Any) -> str:
    """Return a digest of all that an estimator knows, if there is one."""
    return joblib.hash(estimator and vars(estimator))


def cells(n: int, d: int, k: int) -> np.ndarray:
    return mixture(n, d, k, 0)


def noise(n: int, d: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, d), dtype="f4").astype(dtype, copy=False)


def windows(n: int, d: int) -> np.ndarray:
    """Return rows that each begin a number further on in one array: many, in little memory."""
    return np.lib.stride_tricks.sliding_window_view(noise(1, n + d - 1)[0], d)


def sparse_rows(n: int, d: int, density: float) -> scipy.sparse.csr_matrix:
    """Return rows with one entry in each of as many equal stretches of columns."""
    rng, n_entries = np.random.default_rng(0), int(density * d)
    width = d // n_entries
    columns = width * np.arange(n_entries) + rng.integers(width, size=(n, n_entries))
    values = rng.random(columns.size, dtype=np.float32)
    starts = n_entries * np.arange(n + 1)
    return scipy.sparse.csr_matrix((values, columns.ravel(), starts), shape=(n, d))


def fitting(estimator: Any, X: Any, **options: Any) -> Call:
    """Return the fit of an estimator that is fitted already, to other rows."""
    small = np.random.default_rng(1).normal(size=(4 * estimator.n_clusters, 3))
    init, estimator.init = estimator.init, "random"
    estimator.fit(small)
    estimator.init = init
    return Call(lambda: estimator.fit(X, **options), estimator)


def fitted(X: Any, k: int, n_threads: int) -> KMeans:
    kmeans = KMeans(k, init="random", n_init=1, max_iter=1, random_state=0, n_threads=n_threads)
    return kmeans.fit(X)


def whole_sweep(X: np.ndarray, n_threads: int) -> None:
    """Sweep; what stands when Ctrl-C comes is returned, so that is the answer."""
    ks = [20, 30, 40, 50]
    table = sweep(X, ks, estimator=KMeans(random_state=0, n_threads=n_threads))
    if not table.is_complete:
        raise KeyboardInterrupt


def calls(n_threads: int, scale: float) -> dict[str, Callable[[], Call]]:
    """Return what makes each kind of call, by its name."""

    def n(rows: int) -> int:
        return max(2000, int(scale * rows))

    def kmeans(k: int, **options: Any) -> KMeans:
        settled = {"n_init": 1, "max_iter": 30, "tol": 0, "random_state": 0}
        return KMeans(k, **{**settled, "n_threads": n_threads, **options})

    def from_rows(k: int, X: np.ndarray, **options: Any) -> KMeans:
        return kmeans(k, init=X[:k].astype("f8"), **options)

    def minibatch(k: int, **options: Any) -> MiniBatchKMeans:
        settled = {"n_init": 1, "random_state": 0, "max_no_improvement": None}
        return MiniBatchKMeans(k, **{**settled, "n_threads": n_threads, **options})

    def seeding(X: Any, k: int) -> Call:
        return Call(lambda: kmeans_plusplus(X, k, random_state=0, n_threads=n_threads))

    def lloyd(algorithm: str, X: np.ndarray, k: int, **options: Any) -> Call:
        return fitting(from_rows(k, X, algorithm=algorithm), X, **options)

    def partial(X: Any, k: int) -> Call:
        estimator = minibatch(k).partial_fit(X[: 4 * k])
        return Call(lambda: estimator.partial_fit(X), estimator)

    def of_fitted(method: str, X: Any, k: int) -> Call:
        estimator = fitted(X[: 4 * k], k, n_threads)
        return Call(lambda: getattr(estimator, method)(X), estimator)

    def weights(X: Any) -> np.ndarray:
        return np.random.default_rng(2).uniform(size=X.shape[0])

    def weighted() -> Call:
        X = noise(n(100_000), 64)
        return lloyd("lloyd", X, 500, sample_weight=weights(X))

    def silhouette(X: np.ndarray, k: int, metric: str) -> Call:
        labels = np.arange(len(X)) % k
        return Call(lambda: silhouette_samples(X, labels, metric=metric, n_threads=n_threads))

    wide = lambda: noise(n(40_000), 512)  # noqa: E731
    return {
        "seeding, many features": lambda: seeding(wide(), 200),
        "seeding, cells": lambda: seeding(cells(n(1_000_000), 3, 500), 1000),
        "seeding, 10 runs beside": lambda: fitting(
            kmeans(64, n_init=10, max_iter=1), noise(n(200_000), 16)
        ),
        # One pass of these is long, however few the seeds.
        "seeding, many rows": lambda: seeding(windows(n(8_000_000), 256), 10),
        "seeding, many rows, 3 runs": lambda: fitting(
            kmeans(10, n_init=3, max_iter=1), windows(n(4_000_000), 256)
        ),
        "seeding, CSR": lambda: seeding(sparse_rows(n(100_000), 2000, 0.02), 100),
        "lloyd": lambda: lloyd("lloyd", noise(n(100_000), 64), 1000),
        "lloyd, float64": lambda: lloyd("lloyd", noise(n(100_000), 64, "f8"), 1000),
        "lloyd, bytes": lambda: lloyd(
            "lloyd", np.clip(noise(n(100_000), 256) * 40 + 128, 0, 255).astype("u1"), 256
        ),
        "lloyd, weights": weighted,
        "elkan, many features": lambda: lloyd("elkan", wide(), 500),
        "elkan, few features": lambda: lloyd("elkan", cells(n(1_000_000), 3, 500), 1000),
        "auto, many features": lambda: lloyd("auto", wide(), 500),
        "auto, few features": lambda: lloyd("auto", cells(n(1_000_000), 3, 500), 1000),
        "auto, seeded, gaps": lambda: fitting(kmeans(200), cells(n(1_000_000), 8, 100)),
        "restarts": lambda: fitting(kmeans(20, n_init=20), noise(n(50_000), 16)),
        "restarts, small": lambda: fitting(
            kmeans(20, n_init=3000, max_iter=300), noise(n(2000), 8)
        ),
        "fit, CSR": lambda: fitting(
            kmeans(100, init="random"), sparse_rows(n(100_000), 2000, 0.02)
        ),
        "fit, CSR, weights": lambda: fitting(
            kmeans(100, init="random"),
            X := sparse_rows(n(100_000), 2000, 0.02),
            sample_weight=weights(X),
        ),
        "fit, few rows of many features": lambda: fitting(kmeans(4), noise(100, n(500_000))),
        "minibatch": lambda: fitting(
            minibatch(200, batch_size=1024, max_iter=10), noise(n(100_000), 64)
        ),
        "minibatch, large batches": lambda: fitting(
            minibatch(500, batch_size=n(100_000), max_iter=10), noise(n(100_000), 64)
        ),
        "minibatch, CSR": lambda: fitting(
            minibatch(100, batch_size=4096, max_iter=4), sparse_rows(n(100_000), 2000, 0.02)
        ),
        "partial_fit": lambda: partial(noise(n(400_000), 64), 1000),
        "partial_fit, CSR": lambda: partial(sparse_rows(n(200_000), 2000, 0.02), 200),
        "predict": lambda: of_fitted("predict", noise(n(400_000), 64), 1000),
        "predict, CSR": lambda: of_fitted("predict", sparse_rows(n(200_000), 2000, 0.02), 200),
        "transform": lambda: of_fitted("transform", noise(n(200_000), 64), 300),
        "transform, CSR": lambda: of_fitted("transform", sparse_rows(n(200_000), 2000, 0.02), 200),
        "score": lambda: of_fitted("score", noise(n(400_000), 64), 1000),
        "silhouette": lambda: silhouette(noise(n(30_000), 64), 10, "euclidean"),
        "silhouette, squared": lambda: silhouette(noise(n(400_000), 64), 300, "sqeuclidean"),
        "sweep": lambda: Call(lambda: whole_sweep(noise(n(6000), 16), n_threads)),
    }


def measure(call: Call, n_moments: int, interrupter: Interrupter) -> dict:
    """Interrupt a call at moments spread over its time."""
    begun = time.monotonic()
    before = state_of(call.estimator)
    saved = dict(vars(call.estimator)) if call.estimator else None
    call.do()
    whole = time.monotonic() - begun
    if whole < WORTH_INTERRUPTING:
        return {"seconds": whole, "reason": "over too soon to be interrupted"}
    answers = []
    n_changed = 0
    for moment in range(n_moments):
        if saved is not None:
            vars(call.estimator).clear()
            vars(call.estimator).update(saved)
        answer = interrupter.seconds_to_answer(call.do, whole * (moment + 0.5) / n_moments)
        if answer is None:
            continue
        answers.append(answer)
        n_changed += state_of(call.estimator) != before
    if not answers:
        return {"seconds": whole, "reason": "over before each signal"}
    return {"seconds": whole, "answers": answers, "n_changed": n_changed}


def line(name: str, row: dict) -> str:
    """Return a line of the table."""
    if "reason" in row:
        return f"{name:32}{row['seconds']:8.2f}  {row['reason']}"
    answers = row["answers"]
    said = f"{name:32}{row['seconds']:8.2f}{len(answers):6}"
    said += f"{1e3 * statistics.median(answers):9.0f}{1e3 * max(answers):9.0f}"
    return said + (f"  changed {row['n_changed']} times" if row["n_changed"] else "")


def missed(rows: dict[str, dict], at_most: float = SECONDS_AT_MOST) -> list[str]:
    """Return what falls short of what is promised."""
    said = []
    for name, row in rows.items():
        worst = max(row.get("answers", [0.0]))
        if worst > at_most and name not in NOT_PROMISED:
            said.append(f"{name}: answered after {worst:.2f} s")
        if row.get("n_changed"):
            said.append(f"{name}: the estimator was changed")
    return said


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure, print, and fail if a figure is missed under --check."""
    made = calls(2, 1.0)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interrupt", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=list(made), metavar="CALL", help="these calls and no other")
    add("--moments", type=int, default=12, help="how many times each call is interrupted")
    add("--threads", type=int, default=2)
    add("--scale", type=float, default=1.0, help="share of the rows, to see that it runs")
    add("--json", type=Path, help="where the record goes")
    add("--check", action="store_true", help="exit 1 if a figure is missed")
    options = parser.parse_args(arguments)
    described = machine.describe()
    described["command"] = " ".join(["python -m benchmarks.interrupt", *sys.argv[1:]])
    print(f"{options.threads} threads, {options.moments} moments, {described['cpu']}")
    print(
        f"{'':32}{'whole':>8}{'':6}{'median':>9}{'worst':>9}\n{'':32}{'s':>8}{'':6}{'ms':>9}{'ms':>9}"
    )
    made = calls(options.threads, options.scale)
    rows = {}
    interrupter = Interrupter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every fit here is one that has not converged yet
        for name in options.only or made:
            rows[name] = measure(made[name](), options.moments, interrupter)
            print(line(name, rows[name]), flush=True)
    interrupter.close()
    if options.json:
        record = {"machine": described, "threads": options.threads, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    for said in missed(rows):
        print("missed:", said)
    return 1 if options.check and missed(rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
