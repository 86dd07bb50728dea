"""The figures asked of fastkm, and whether a run's record reaches them."""

from __future__ import annotations

from dataclasses import dataclass

from .peers import PEERS

# How many times scikit-learn's speed (its default algorithm) at least, whole fit, paired.
SPEED_OVER_SKLEARN = {
    "d10": 1.0,
    "a64": 6.0,
    "b100": 4.0,
    "c64": 4.0,
    "e10": 1.6,
    "e64": 1.6,
    "e256": 1.6,
}
# How many times the speed of the best exact peer measured beside it.
SPEED_OVER_BEST = {
    "d10": 2.0,
    "a64": 6.0,
    "a1024": 2.0,
    "b100": 8.0,
    "c64": 4.0,
    "c1000": 2.2,
    "e10": 3.0,
    "e64": 3.0,
    "e256": 4.5,
    "f1000": 3.3,
    "g2000": 3.8,
}
# Peak memory of a fit over its start, MB, for input of each of these dtypes: 30, and the sketches
# of MNIST in 90 directions, 60000 x 94 floats.
MEMORY_WORKLOAD = "e256"
MEMORY_LIMIT = 52.6
MEMORY_DTYPES = ("float32", "float64", "uint8")


@dataclass(frozen=True)
class Verdict:
    subject: str
    wanted: str
    found: str
    is_reached: bool

    def __str__(self) -> str:
        word = "reached" if self.is_reached else "MISSED"
        return f"{word:8} {self.subject}: {self.found} (wanted {self.wanted})"


def check(record: dict) -> list[Verdict]:
    """Judge every figure; one whose measurement is absent from the record is missed."""
    return _speeds(record) + _speeds_over_best(record) + _memory(record)


def _speeds(record: dict) -> list[Verdict]:
    verdicts = []
    for name, wanted in SPEED_OVER_SKLEARN.items():
        row = record["workloads"].get(name, {})
        cell = row.get("cells", {}).get("sklearn", {})
        ratio = cell.get("ratio") if record["settings"]["base"] == "fastkm" else None
        found = "not measured" if ratio is None else f"{ratio:.2f} times"
        verdicts.append(
            Verdict(
                f"{name}, speed over scikit-learn",
                f"at least {wanted:g} times",
                found,
                ratio is not None and ratio >= wanted,
            )
        )
    return verdicts


def _speeds_over_best(record: dict) -> list[Verdict]:
    """Of the workloads in the record: the longest take minutes, and may be left out."""
    verdicts = []
    for name, wanted in SPEED_OVER_BEST.items():
        cells = record["workloads"].get(name, {}).get("cells", {})
        ratios = {
            peer: cell["ratio"]
            for peer, cell in cells.items()
            if cell.get("ratio") is not None and peer in PEERS and PEERS[peer].is_exact
        }
        ratios.pop("fastkm", None)
        if not ratios or record["settings"]["base"] != "fastkm":
            continue
        best = min(ratios, key=ratios.__getitem__)
        verdicts.append(
            Verdict(
                f"{name}, speed over the best exact peer, {best}",
                f"at least {wanted:g} times",
                f"{ratios[best]:.2f} times",
                ratios[best] >= wanted,
            )
        )
    return verdicts


def _memory(record: dict) -> list[Verdict]:
    verdicts = []
    for dtype in MEMORY_DTYPES:
        megabytes = record["memory_by_dtype"].get(dtype)
        found = "not measured" if megabytes is None else f"{megabytes:.1f} MB"
        verdicts.append(
            Verdict(
                f"{MEMORY_WORKLOAD} of {dtype}, memory over start",
                f"under {MEMORY_LIMIT:g} MB",
                found,
                megabytes is not None and megabytes < MEMORY_LIMIT,
            )
        )
    return verdicts
