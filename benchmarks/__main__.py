"""The command line: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import figures, machine, report
from .measure import Cell, Settings, measure_memory, run_workload
from .peers import PEERS
from .pool import pool
from .process import PeerError
from .workloads import DTYPES, QUICK, ROOT, WORKLOADS, UnavailableError, find_mnist, prepare

RESULTS = ROOT / "benchmarks" / "results"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure fastkm beside other k-means packages: same start rows, same rounds, "
        "a process for each, every inertia checked in float64 before its time counts.",
    )
    add = parser.add_argument
    add("--workloads", default=",".join(QUICK), help=f"names, or all: {', '.join(WORKLOADS)}")
    add("--peers", default="all", help=f"names, or all: {', '.join(PEERS)}")
    add("--base", default="fastkm", help="the peer that the others are paired with")
    add("--turns", type=int, default=5, help="pairs per peer and workload")
    add("--threads", type=int, default=2)
    add("--seconds", type=float, default=900.0, help="time budget; every peer gets one turn anyhow")
    add("--dtype", choices=DTYPES, default="float32")
    add("--isa", help="FASTKM_ISA for fastkm's process")
    add("--mnist", help="folder of MNIST's IDX files (else FASTKM_MNIST, ../shared/data/mnist)")
    add("--rows", type=int, help="use only so many rows: for trying the benchmark out")
    add("--no-memory", action="store_true", help="leave the memory figures out")
    add("--json", type=Path, default=RESULTS / "latest.json", help="where the record goes")
    add(
        "--from-json", type=Path, nargs="+", help="report earlier records, pooled, and measure none"
    )
    add("--update-readme", action="store_true", help="write the tables into README.md")
    add("--check", action="store_true", help="exit 1 unless the figures asked for are reached")
    options = parser.parse_args(arguments)
    options.workloads = _names(parser, options.workloads, WORKLOADS)
    options.peers = _names(parser, options.peers, PEERS)
    if options.base not in options.peers:
        parser.error(f"--base {options.base} is not among the peers")
    if options.turns < 1 or options.threads < 1:
        parser.error("--turns and --threads must be at least 1")
    if options.update_readme and options.rows:
        parser.error("figures of --rows are no figures of the workloads: not for README")
    return options


def _names(parser: argparse.ArgumentParser, given: str, known: dict) -> list[str]:
    names = list(known) if given == "all" else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            parser.error(f"no {name!r}; there are {', '.join(known)}")
    return names


def _say(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> dict:
    """Run every workload asked for and return the record, saved after each workload."""
    settings = Settings(
        n_threads=options.threads,
        turns=options.turns,
        isa=options.isa,
        base=options.base,
        results=RESULTS,
        with_memory=os.name == "posix" and not options.no_memory,
    )
    record = {
        "machine": machine.describe(),
        "settings": {
            key: getattr(options, key)
            for key in ("dtype", "threads", "turns", "seconds", "isa", "base", "peers", "rows")
        },
        "workloads": {},
        "memory_by_dtype": {},
    }
    if (busy := machine.load()) is not None and busy > 0.5:
        _say(f"other processes keep this machine busy (load {busy:.1f}): times will be noisy")
    mnist = find_mnist(options.mnist)
    end = time.monotonic() + options.seconds
    work_left = sum(WORKLOADS[name].work for name in options.workloads)
    for name in options.workloads:
        workload = WORKLOADS[name]
        _say(name)
        row = {"title": workload.source.title, "d": workload.source.d, "k": workload.k}
        row |= {"n": workload.source.n, "rounds": workload.rounds}
        record["workloads"][name] = row
        begin = time.monotonic()
        share = (end - begin) * workload.work / work_left
        work_left -= workload.work
        if begin > end:
            row["reason"] = f"the {options.seconds:g} seconds were spent"
            continue
        try:
            problem = prepare(workload, options.dtype, mnist, options.rows)
        except UnavailableError as error:
            row["reason"] = str(error)
            continue
        peers = [PEERS[peer] for peer in options.peers]
        cells = run_workload(problem, peers, settings, begin + share, _say)
        row |= {"n": len(problem.points), "digest": problem.digest}
        row["cells"] = {peer: cell.as_record() for peer, cell in cells.items()}
        _save(record, options.json)
    if settings.with_memory and figures.MEMORY_WORKLOAD in options.workloads:
        record["memory_by_dtype"] = _memory_by_dtype(options, settings, mnist)
    _save(record, options.json)
    return record


def _save(record: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def _memory_by_dtype(options: argparse.Namespace, settings: Settings, mnist: Path | None) -> dict:
    """Measure the memory of fastkm's fit for every dtype of input that it must not copy."""
    found = {}
    for dtype in figures.MEMORY_DTYPES:
        _say(f"memory of {figures.MEMORY_WORKLOAD} as {dtype}")
        cell = Cell()
        with tempfile.TemporaryDirectory(prefix="fastkm-benchmark-") as folder:
            files = Path(folder)
            try:
                workload = WORKLOADS[figures.MEMORY_WORKLOAD]
                problem = prepare(workload, dtype, mnist, options.rows)
                np.save(files / "points.npy", problem.points)
                np.save(files / "start.npy", problem.start)
                measure_memory(PEERS["fastkm"], problem, files, settings, cell)
            except (UnavailableError, PeerError) as error:
                _say(f"not measured: {error}")
                continue
        found[dtype] = cell.memory_mb
    return found


def main() -> int:
    options = parse()
    earlier = options.from_json
    record = (
        pool([json.loads(path.read_text()) for path in earlier]) if earlier else measure(options)
    )
    block = report.tables(record)
    print(block)
    if options.update_readme:
        if record["settings"]["rows"]:
            raise SystemExit("this record is of fewer rows than the workloads': not for README")
        report.update_readme(ROOT / "README.md", block)
    if options.check:
        verdicts = figures.check(record)
        print("\n" + "\n".join(map(str, verdicts)))
        return 0 if all(verdict.is_reached for verdict in verdicts) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
