"""One workload, all peers: quality first, then memory, then paired turns.

Every peer has a process of its own, which waits idle while another one's turn is on. A pair is a
fit of the base (fastkm) and a fit of one peer, right after each other, in alternating order; the
ratio of a pair is the peer's time over the base's, and what is reported is the median of pairs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from . import machine, reference
from .peers import Peer, environment
from .process import PeerError, Process, in_turn, settle
from .workloads import Problem

_SHORTEST_TURN = 0.1  # seconds; quicker fits are repeated within their turn
_LEAST_TIME = 5.0  # seconds of turns that a workload gets even when its time is over


@dataclass(frozen=True)
class Settings:
    n_threads: int
    turns: int
    isa: str | None
    base: str
    results: Path  # folder of the oracle's cache
    with_memory: bool = os.name == "posix"  # elsewhere no peak is kept that could be read


@dataclass
class Cell:
    """What one peer did on one workload."""

    status: str = "ok"  # ok | missing | unsupported | failed | wrong
    note: str = ""
    version: str | None = None
    relative_gap: float | None = None  # of the inertia, against the oracle's
    n_iter: int | None = None
    seconds: list[float] = field(default_factory=list)
    base_seconds: list[float] = field(default_factory=list)  # of the same pairs
    memory_mb: float | None = None
    memory_is_exact: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Return the peer's time over the base's: the median of the pairs."""
        pairs = [own / base for own, base in zip(self.seconds, self.base_seconds, strict=True)]
        return statistics.median(pairs) if pairs else None

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None

    def as_record(self) -> dict:
        return asdict(self) | {"ratio": self.ratio, "median": self.median}


class PeerProcess(Process):
    """A peer's process, with the arrays of one problem loaded."""

    def __init__(self, peer: Peer, problem: Problem, files: Path, settings: Settings) -> None:
        variables = environment(peer, settings.n_threads, machine.has_avx512(), settings.isa)
        errors = files / f"{peer.name}.err"
        super().__init__("benchmarks.worker:main", [peer.name], errors, variables)
        try:
            self.opened = self.ask(
                "open",
                points=str(files / "points.npy"),
                start=str(files / "start.npy"),
                rounds=problem.workload.rounds,
                n_threads=settings.n_threads,
            )
        except PeerError:
            self.close()
            raise

    def turn(self, repeat: int) -> float:
        """Return the median seconds of one fit."""
        settle()
        return statistics.median(self.ask("fit", repeat=repeat, save=None)["seconds"])


def run_workload(
    problem: Problem,
    peers: list[Peer],
    settings: Settings,
    deadline: float,
    say: Callable[[str], None],
) -> dict[str, Cell]:
    """Measure the peers; a peer whose result is wrong gets no time.

    ``deadline`` is on the clock of ``time.monotonic``; one pair per peer is run even when it has
    passed, so that no peer is dropped in silence.
    """
    cells = {peer.name: Cell() for peer in peers}
    processes: dict[str, PeerProcess] = {}
    with tempfile.TemporaryDirectory(prefix="fastkm-benchmark-") as folder:
        files = Path(folder)
        np.save(files / "points.npy", problem.points)
        np.save(files / "start.npy", problem.start)
        say("oracle")
        expected = reference.reference_inertia(problem, settings.results / "reference.json")
        try:
            repeats = {}
            for peer in peers:
                say(peer.name)
                cell = cells[peer.name]
                try:
                    repeats[peer.name] = _open_and_judge(
                        peer, problem, expected, files, settings, cell, processes
                    )
                    if settings.with_memory and cell.status == "ok":
                        measure_memory(peer, problem, files, settings, cell)
                except PeerError as error:
                    cell.status = "missing" if error.is_missing else "failed"
                    cell.note = str(error)
            _take_turns(cells, processes, repeats, settings, deadline, say)
        finally:
            for process in processes.values():
                process.close()
    return cells


def _open_and_judge(
    peer: Peer,
    problem: Problem,
    expected: float,
    files: Path,
    settings: Settings,
    cell: Cell,
    processes: dict[str, PeerProcess],
) -> int:
    """Start the peer, judge one fit's inertia, and return the fits that make up a turn."""
    if problem.points.dtype.name not in peer.dtypes:
        cell.status, cell.note = "unsupported", f"takes no {problem.points.dtype}"
        return 0
    processes[peer.name] = process = PeerProcess(peer, problem, files, settings)
    cell.version = process.opened["version"]
    saved = files / f"{peer.name}.npy"
    answer = process.ask("fit", repeat=1, save=str(saved))
    cell.n_iter = answer["n_iter"]
    found = reference.inertia(problem.points, np.load(saved))
    cell.relative_gap = reference.relative_gap(found, expected)
    tolerance = problem.workload.tolerance if peer.tolerance is None else peer.tolerance
    if not reference.is_right(cell.relative_gap, tolerance, peer.is_exact):
        cell.status = "wrong"
        cell.note = f"inertia off by {cell.relative_gap:+.1e}, allowed {tolerance:.0e}"
    quickest = answer["seconds"][0]
    if quickest < _SHORTEST_TURN:  # a first fit may be much slower than those that follow
        quickest = min(process.ask("fit", repeat=5, save=None)["seconds"])
    return max(1, min(100, round(_SHORTEST_TURN / quickest)))


def measure_memory(
    peer: Peer, problem: Problem, files: Path, settings: Settings, cell: Cell
) -> None:
    """Fill in the peak memory of one fit over its start, in a process that did nothing else."""
    process = PeerProcess(peer, problem, files, settings)
    try:
        answer = process.ask("memory")
    finally:
        process.close()
    cell.memory_mb, cell.memory_is_exact = answer["mb"], answer["is_exact"]


def _take_turns(
    cells: dict[str, Cell],
    processes: dict[str, PeerProcess],
    repeats: dict[str, int],
    settings: Settings,
    deadline: float,
    say: Callable[[str], None],
) -> None:
    right = [name for name, cell in cells.items() if cell.status == "ok"]
    if settings.base not in right:
        return
    others = [name for name in right if name != settings.base]
    base = cells[settings.base]
    deadline = max(deadline, time.monotonic() + _LEAST_TIME)
    for turn in range(settings.turns):
        if turn and time.monotonic() > deadline:
            return
        say(f"turn {turn + 1} of {settings.turns}")
        for name in others or [None]:
            pair = [settings.base, name] if name else [settings.base]
            took = {one: processes[one].turn(repeats[one]) for one in in_turn(pair, turn)}
            base.seconds.append(took[settings.base])
            base.base_seconds.append(took[settings.base])
            if name:
                cells[name].seconds.append(took[name])
                cells[name].base_seconds.append(took[settings.base])
