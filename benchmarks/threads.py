"""What a further thread brings: `python -m benchmarks.threads --plot threads.png`.

Whole fits, float32, from given rows, each number of threads in turn; beside them fits that leave no
product out (``-lloyd``), which memory does not bound, and k-means++ (``-seeding``). Efficiency is
the time of one thread over that of n, over n: the median of the turns. A row is shown only if all
numbers of threads found the same bits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastkm import KMeans, kmeans_plusplus

from . import machine
from .process import in_turn, settle
from .workloads import WORKLOADS, Problem, UnavailableError, Workload, find_mnist, mixture, prepare


@dataclass(frozen=True)
class Row:
    """What is done with a workload: fits by an algorithm, or only the seeding."""

    workload: Workload
    algorithm: str = "auto"
    is_seeding: bool = False

    def run(self, problem: Problem, n_threads: int) -> tuple[np.ndarray, ...]:
        """Do it once and return everything that was found."""
        k = self.workload.k
        if self.is_seeding:
            return kmeans_plusplus(problem.points, k, random_state=0, n_threads=n_threads)
        kmeans = KMeans(
            k,
            init=problem.start,
            n_init=1,
            max_iter=self.workload.rounds,
            tol=0,
            algorithm=self.algorithm,
            n_threads=n_threads,
        ).fit(problem.points)
        return kmeans.labels_, kmeans.cluster_centers_, np.float64(kmeans.inertia_)


# In the order in which they are measured: what a budget cuts off is the longest and the least
# telling.
ROWS = {
    "e64": Row(WORKLOADS["e64"]),
    "e256": Row(WORKLOADS["e256"]),
    "e64-lloyd": Row(WORKLOADS["e64"], algorithm="lloyd"),
    "c64": Row(WORKLOADS["c64"]),
    "b100": Row(WORKLOADS["b100"]),
    "a64": Row(WORKLOADS["a64"]),
    "a1024": Row(WORKLOADS["a1024"]),
    "c1000": Row(WORKLOADS["c1000"]),
    "e10": Row(WORKLOADS["e10"]),
    "c64-lloyd": Row(WORKLOADS["c64"], algorithm="lloyd"),
    "e256-seeding": Row(WORKLOADS["e256"], is_seeding=True),
    "f1000": Row(WORKLOADS["f1000"]),
    "f1000-lloyd": Row(WORKLOADS["f1000"], algorithm="lloyd"),
    "d10": Row(WORKLOADS["d10"]),
    "g2000": Row(WORKLOADS["g2000"]),
}
# The digits are one thread's work whatever is allowed, and g2000 takes minutes.
DEFAULT = tuple(name for name in ROWS if name not in ("d10", "g2000"))


def start_threads(X: np.ndarray, n_threads: int) -> None:
    """Do two short rounds: the threads of the fit before were fewer, or more."""
    k = 64  # 2 million multiplications a round for each of 32 threads: all are woken
    KMeans(k, init=X[:k], n_init=1, max_iter=2, tol=0, n_threads=n_threads).fit(X)


def measure(row: Row, problem: Problem, counts: list[int], turns: int) -> dict[int, list[float]]:
    """Return the seconds of each number of threads, a turn each, if all found the same."""
    X = mixture(2**16, 16, 3, 0)
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    expected = None
    for turn in range(turns):
        for count in in_turn(counts, turn):
            settle()
            start_threads(X, count)
            begun = time.perf_counter()
            found = row.run(problem, count)
            seconds[count].append(time.perf_counter() - begun)
            expected = expected or found
            check_same(found, expected, count)
    return seconds


def check_same(
    found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...], n_threads: int
) -> None:
    """Raise unless all arrays are the same to the bit."""
    pairs = zip(found, expected, strict=True)
    if not all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs):
        raise RuntimeError(f"{n_threads} threads found other bits, so no time counts.")


def efficiencies(seconds: dict[int, list[float]]) -> dict[int, float]:
    """Return, of each number of threads, the median over the turns of t1 / (n tn)."""
    return {
        count: statistics.median(
            one / (count * taken) for one, taken in zip(seconds[1], times, strict=True)
        )
        for count, times in seconds.items()
    }


def together(problem: Problem, row: Row, n_python: int, n_threads: int, turns: int) -> list[float]:
    """Return the time of fits by so many Python threads at once over that of one after the other.

    A ratio each turn. Raises if any found other bits.
    """
    expected = row.run(problem, n_threads)
    ratios = []
    with ThreadPoolExecutor(n_python) as pool:
        for _ in range(turns):
            seconds = []
            for fits in (map, pool.map):
                settle()
                begun = time.perf_counter()
                for found in list(fits(lambda _: row.run(problem, n_threads), range(n_python))):
                    check_same(found, expected, n_threads)
                seconds.append(time.perf_counter() - begun)
            ratios.append(seconds[1] / seconds[0])
    return ratios


def plot(rows: dict[str, dict], path: Path) -> None:
    """Draw the efficiency of each row against the number of threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for index, (name, row) in enumerate(rows.items()):
        if "efficiency" in row:
            style = ("o-", "s--")[index // 10 % 2]  # there are ten colours
            axes.plot(*zip(*row["efficiency"].items(), strict=True), style, label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="threads", ylabel="time of one / (n times the time of n)", ylim=(0, None))
    axes.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=150)


def powers_of_two(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, up to `most`."""
    return [2**e for e in range(most.bit_length())]


def measure_all(
    names: Iterable[str], counts: list[int], turns: int, mnist: Path | None, budget: float
) -> Iterable[tuple[str, dict]]:
    """Yield each row's name and record: seconds and efficiencies, or why there are none."""
    end = time.monotonic() + budget
    for name in names:
        if time.monotonic() >= end:
            yield name, {"reason": f"the {budget:g} seconds were spent"}
            continue
        try:
            problem = prepare(ROWS[name].workload, "float32", mnist)
        except UnavailableError as error:
            yield name, {"reason": str(error)}
            continue
        seconds = measure(ROWS[name], problem, counts, turns)
        yield name, {"seconds": seconds, "efficiency": efficiencies(seconds)}


def line(name: str, row: dict) -> str:
    """Return a line of the table: medians in ms, then efficiencies."""
    if "reason" in row:
        return f"{name:14}not measured: {row['reason']}"
    times = "".join(f"{1e3 * statistics.median(t):9.1f}" for t in row["seconds"].values())
    return f"{name:14}{times} {''.join(f'{share:6.2f}' for share in row['efficiency'].values())}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and draw it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=powers_of_two(machine.n_cpus()),
        help="numbers of threads; 1 is always among them")  # fmt: skip
    add("--only", nargs="+", choices=list(ROWS), default=DEFAULT, help="these and no other")
    add("--mnist", help="folder of the IDX files")
    add("--turns", type=int, default=3)
    add("--budget", type=float, default=float("inf"),
        help="seconds after which no further row is begun")  # fmt: skip
    add("--together", type=int, metavar="N",
        help="in place of all that: the first of --only by N Python threads at once, over one "
        "after the other, each on the most of --threads")  # fmt: skip
    add("--plot", type=Path, help="where the plot goes")
    add("--json", type=Path, help="where the record goes, anew after each row")
    options = parser.parse_args(arguments)
    counts = sorted({1, *options.threads})
    if counts[0] < 1 or options.turns < 1:
        parser.error("--threads and --turns must be at least 1")
    if options.together:
        name = options.only[0]
        problem = prepare(ROWS[name].workload, "float32", find_mnist(options.mnist))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fits that have not converged yet
            at_once = (problem, ROWS[name], options.together, counts[-1], options.turns)
            ratios = together(*at_once)
        said = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name}: {options.together} Python threads at once over one by one: {said}")
        return 0
    described = machine.describe()
    described["command"] = " ".join(["python -m benchmarks.threads", *sys.argv[1:]])
    print(f"medians of {options.turns} turns, {described['n_cpus']} CPUs, {described['cpu']}")
    heads = "".join(f"{count:9}" for count in counts), "".join(f"{count:6}" for count in counts)
    print(f"{'threads':14}{heads[0]} {heads[1]}\n{'':14}{'ms':>9}{'efficiency':>{9 * len(counts)}}")
    sys.stdout.flush()
    rows: dict[str, dict] = {}
    asked = (options.only, counts, options.turns, find_mnist(options.mnist), options.budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every fit here is one that has not converged yet
        for name, row in measure_all(*asked):
            rows[name] = row
            print(line(name, row), flush=True)
            if options.json:
                record = {"machine": described, "threads": counts, "rows": rows}
                options.json.write_text(json.dumps(record, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
