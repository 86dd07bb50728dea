"""What a unit of work costs as n, d and k grow: `python -m benchmarks.growth --plot growth.png`.

Each of the three doubles over three decades while the other two stay in the middle. A unit is one
feature of one row beside one centroid in one round. A size is marked where its unit costs twice the
one before, or half: overhead, or another way taken; docs/design.md says which.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np

from fastkm import KMeans

from . import machine
from .workloads import mixture

MIDDLE = {"n": 2**15, "d": 32, "k": 32}
SIZES = {
    "n": [2**e for e in range(10, 21)],
    "d": [2**e for e in range(11)],
    "k": [2**e for e in range(11)],
}
ROUNDS = 10
LEAST_TURNS, TURNS = 3, 9
SECONDS_A_POINT = 4.0
MOST_APART = 2.0


def cost(n: int, d: int, k: int, n_threads: int) -> float:
    """Return the nanoseconds of a unit of work in the fastest turn: all else only adds."""
    X = mixture(n, d, 50, 1)
    start = X[:: n // k][:k]
    costs = []
    begun = time.perf_counter()
    while len(costs) < LEAST_TURNS or (
        len(costs) < TURNS and time.perf_counter() - begun < SECONDS_A_POINT
    ):
        turn = time.perf_counter()
        kmeans = KMeans(k, init=start, n_init=1, max_iter=ROUNDS, tol=0, n_threads=n_threads).fit(X)
        seconds = time.perf_counter() - turn
        costs.append(1e9 * seconds / (float(n) * d * k * kmeans.n_iter_))
    return min(costs)


def jumps(costs: list[float]) -> list[bool]:
    """Tell of each size whether its cost is more than MOST_APART times the one before, or less."""
    pairs = itertools.pairwise(costs)
    return [False, *(max(pair) > MOST_APART * min(pair) for pair in pairs)]


def plot(costs: dict[str, list[float]], path: Path) -> None:
    """Draw the three curves, jumps marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, (name, row) in zip(figure.subplots(1, 3, sharey=True), costs.items(), strict=True):
        sizes = np.array(SIZES[name])
        axes.loglog(sizes, row, "o-", color="C0", markersize=3)
        apart = np.array(jumps(row))
        axes.loglog(sizes[apart], np.array(row)[apart], "o", color="C3")
        others = ", ".join(f"{other} = {MIDDLE[other]}" for other in MIDDLE if other != name)
        axes.set(xlabel=name, title=others)
    figure.axes[0].set_ylabel("ns for one n k d a round")
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and draw it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--plot", type=Path, help="where the plot goes")
    parser.add_argument("--json", type=Path, help="where the record goes")
    options = parser.parse_args(arguments)
    KMeans(2, n_init=1, n_threads=options.threads).fit(mixture(50_000, 8, 3, 0))  # starts threads
    costs = {}
    for name, sizes in SIZES.items():
        costs[name] = [cost(**{**MIDDLE, name: size}, n_threads=options.threads) for size in sizes]
        others = ", ".join(f"{other} = {MIDDLE[other]}" for other in MIDDLE if other != name)
        print(f"\n{others}\n{name:>9}{'ns a unit':>12}")
        for size, value, is_jump in zip(sizes, costs[name], jumps(costs[name]), strict=True):
            print(f"{size:9}{value:12.4f}{'  <' if is_jump else ''}", flush=True)
    if options.plot:
        plot(costs, options.plot)
    if options.json:
        record = {"machine": machine.describe(), "threads": options.threads, "costs": costs}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
