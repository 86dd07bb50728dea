"""What a sweep is asked for, what it has done, and the table made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _columns as columns
from ._checks import Classes, IntArray
from ._choice import RULES, within_one_error
from ._gap import Box, gap, standard_error
from ._measures import note_on_silhouette
from ._table import Column, Table

# In the order of the table; the words are those of its notes.
CRITERIA = {
    "inertia": "inertia (elbow)",
    "silhouette": "silhouette",
    "calinski_harabasz": "Calinski-Harabasz",
    "davies_bouldin": "Davies-Bouldin",
    "gap": "gap",
}
_SUPERVISED = (*columns.SUPERVISED, columns.ACCURACY)


@dataclass(frozen=True, repr=False)
class SweepTable(Table):
    """One row per number of clusters: what `sweep` returns.

    ``print(table)`` and notebooks show it rounded; ``table["inertia"]`` is one column unrounded,
    ``table.rows`` a dict per row, ``table.to_pandas()`` a DataFrame.

    Attributes
    ----------
    columns : tuple of Column
        What is shown, from left to right: ``key``, ``heading``, and how a value is written.
    rows : tuple of dict
        One dict per row, from a column's key to the unrounded value.
    notes : tuple of str
        Sentences printed below the rows.
    spread : dict of str to list of float
        For each column but ``k`` and ``gap_se``, the standard deviation over the seeds (divided by
        their number less one), one per row; NaN with one seed.
    chosen : dict of str to int
        The number of clusters that each criterion would choose. A criterion without an answer, such
        as an elbow of two points, has no entry.
    estimators : dict of int to estimator
        For each number of clusters the fitted estimator of lowest inertia.
    is_complete : bool
        Whether all was done; False after Ctrl-C or a `progress` that asked to stop.

    Examples
    --------
    >>> from fastkm.evaluation import sweep
    >>> table = sweep([[0.0], [1.0], [10.0], [11.0]], [1, 2, 3], criteria="silhouette")
    >>> table["k"], table["inertia"][:2], table.chosen["silhouette"]
    ([1, 2, 3], [101.0, 1.0], 2)
    >>> float(table.estimators[2].cluster_centers_.sum())
    11.0
    """

    spread: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)
    estimators: dict[int, Any] = field(default_factory=dict)
    is_complete: bool = True


@dataclass
class Plan:
    """What is asked for, checked; and the random draws it starts from."""

    X: Any
    rows: Any  # X as an array or CSR matrix
    classes: Classes | None
    ks: list[int]
    estimator: Any
    criteria: list[str]
    sample: IntArray  # rows of the silhouette
    seeds: list[int]  # of the fits of X
    reference_seeds: list[int]  # of each reference set and its fits
    box: Box

    @property
    def n_fits(self) -> int:
        """Fits in all."""
        return len(self.ks) * (len(self.seeds) + len(self.reference_seeds))


@dataclass
class Fit:
    """One fit of X: the estimator, its scores by key, and log W for the gap."""

    estimator: Any
    scores: dict[str, float]
    log_w: float = np.nan
    n_found: int = 0


@dataclass
class Done:
    """The fits so far; the last list of each kind may be short."""

    fits: dict[int, list[Fit]] = field(default_factory=dict)
    reference_logs: list[list[float]] = field(default_factory=list)  # log W*, by reference, by k


def _is_all(plan: Plan, done: Done) -> bool:
    n_done = sum(map(len, done.fits.values())) + sum(map(len, done.reference_logs))
    return n_done == plan.n_fits


def table_of(plan: Plan, done: Done) -> SweepTable:
    """Make the table of all numbers of clusters that have all their seeds."""
    is_complete = _is_all(plan, done)
    fits = {k: found for k, found in done.fits.items() if len(found) == len(plan.seeds)}
    # A reference counts once it is clustered for every k.
    logs = [found for found in done.reference_logs if len(found) == len(plan.ks)]
    shown = _columns(plan)
    keys = [column.key for column in shown]
    rows: list[dict[str, Any]] = []
    spread: dict[str, list[float]] = {key: [] for key in keys if key not in ("k", "gap_se")}
    for place, (k, found) in enumerate(fits.items()):
        reference_logs = np.array([log[place] for log in logs])
        values = {key: [fit.scores[key] for fit in found] for key in found[0].scores}
        row: dict[str, Any] = {"k": k}
        if "gap" in keys:
            values["gap"] = [gap(reference_logs, fit.log_w) for fit in found]
            row["gap_se"] = standard_error(reference_logs)
        row |= {key: _middle(key, values[key]) for key in spread}
        rows.append({key: row[key] for key in keys})
        for key, deviations in spread.items():
            deviations.append(_deviation(values[key]))
    chosen = _choose(rows, plan.criteria)
    best = {k: min(found, key=lambda fit: fit.scores["inertia"]) for k, found in fits.items()}
    return SweepTable(
        shown,
        tuple(rows),
        _notes(plan, fits, len(logs), is_complete, rows, chosen),
        spread,
        chosen,
        {k: fit.estimator for k, fit in best.items()},
        is_complete,
    )


def _middle(key: str, values: list[float]) -> float:
    return float(np.median(values) if key == "time" else np.mean(values))


def _deviation(values: list[float]) -> float:
    if len(values) < 2 or not np.isfinite(values).all():
        return float("nan")
    return float(np.std(values, ddof=1))


def _choose(rows: list[dict[str, Any]], criteria: list[str]) -> dict[str, int]:
    ks = [row["k"] for row in rows]
    chosen = {}
    for key in criteria if rows else ():
        values = [row[key] for row in rows]
        if key == "gap":
            k = within_one_error(ks, values, [row["gap_se"] for row in rows])
        else:
            k = RULES[key](ks, values)
        if k is not None:
            chosen[key] = k
    return chosen


def _columns(plan: Plan) -> tuple[Column, ...]:
    every = {
        "silhouette": (columns.SILHOUETTE,),
        "calinski_harabasz": (columns.CALINSKI_HARABASZ,),
        "davies_bouldin": (columns.DAVIES_BOULDIN,),
        "gap": (columns.GAP, columns.GAP_SE),
    }
    asked = [column for key in plan.criteria if key in every for column in every[key]]
    supervised = _SUPERVISED if plan.classes is not None else ()
    return (columns.K, columns.INERTIA, columns.TIME, *asked, *supervised)


def _notes(
    plan: Plan,
    fits: dict[int, list[Fit]],
    n_references: int,
    is_complete: bool,
    rows: list[dict[str, Any]],
    chosen: dict[str, int],
) -> tuple[str, ...]:
    notes = []
    if not is_complete:
        notes.append(f"stopped early: {len(fits)} of {len(plan.ks)} numbers of clusters are done.")
    if chosen:
        choices = ", ".join(f"{k} by {CRITERIA[key]}" for key, k in chosen.items())
        notes.append(f"chosen k: {choices}.")
    if len(plan.seeds) > 1:
        notes.append(f"values: means over {len(plan.seeds)} seeds; time: their median.")
    if "silhouette" in plan.criteria:
        notes.append(note_on_silhouette(len(plan.sample), plan.rows.shape[0]))
    if "gap" in plan.criteria:
        asked = len(plan.reference_seeds)
        of = "" if n_references == asked else f" of {asked}"
        notes.append(f"gap: {n_references}{of} uniform references in the box of the {plan.box}.")
    if rows and chosen.get("gap") == rows[-1]["k"]:
        notes.append("gap: no k before the last meets the rule, so a larger k may be better.")
    for k, found in fits.items():
        n_found = min(fit.n_found for fit in found)
        if n_found < k:
            notes.append(f"k = {k}: only {n_found} clusters have rows.")
    return tuple(notes)
