"""Cluster the same rows with several numbers of clusters, and see which each criterion takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from ..kmeans import KMeans
from . import _columns as columns
from ._checks import Classes, IntArray, check_count, check_ks, check_rows_and_classes
from ._choice import RULES, within_one_error
from ._fits import check_estimator, is_seeded, labels_of_fit, with_clusters
from ._gap import BOXES, Box, gap, log_dispersion, reference_of, standard_error
from ._measures import (
    dispersion,
    draw_sample,
    inertia,
    internal_scores,
    note_on_silhouette,
    supervised_scores,
)
from ._progress import Line, Progress, Reporter, Stopped, check_progress
from ._table import Column, Table

Criterion = Literal["inertia", "silhouette", "calinski_harabasz", "davies_bouldin", "gap"]

# In the order of the table; the words are those of its notes.
_CRITERIA = {
    "inertia": "inertia (elbow)",
    "silhouette": "silhouette",
    "calinski_harabasz": "Calinski-Harabasz",
    "davies_bouldin": "Davies-Bouldin",
    "gap": "gap",
}
_INTERNAL = ("silhouette", "calinski_harabasz", "davies_bouldin")
_DENSE_ONLY = ("calinski_harabasz", "davies_bouldin", "gap")
_SUPERVISED = (
    columns.HOMOGENEITY,
    columns.COMPLETENESS,
    columns.V_MEASURE,
    columns.ARI,
    columns.AMI,
    columns.ACCURACY,
)
_MAX_SEED = np.iinfo(np.int32).max


@dataclass(frozen=True, repr=False)
class SweepTable(Table):
    """One row per number of clusters: what `sweep` returns.

    ``print(table)`` and notebooks show it rounded; ``table["inertia"]`` is one column unrounded,
    ``table.rows`` a dict per row, ``table.to_pandas()`` a DataFrame.

    Attributes
    ----------
    columns, rows, notes
        See the class's bases: what is shown, one dict per row, and the sentences below.
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
    """

    spread: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)
    estimators: dict[int, Any] = field(default_factory=dict)
    is_complete: bool = True


@dataclass
class _Plan:
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
        return len(self.ks) * (len(self.seeds) + len(self.reference_seeds))


@dataclass
class _Fit:
    """One fit of X: the estimator, its scores by key, and log W for the gap."""

    estimator: Any
    scores: dict[str, float]
    log_w: float = np.nan
    n_found: int = 0


@dataclass
class _Done:
    """The fits so far; the last list of each kind may be short."""

    fits: dict[int, list[_Fit]] = field(default_factory=dict)
    reference_logs: list[list[float]] = field(default_factory=list)  # log W*, by reference, by k


def sweep(
    X: Any,
    ks: Iterable[int],
    y: npt.ArrayLike | None = None,
    *,
    estimator: Any = None,
    n_seeds: int = 1,
    criteria: Iterable[Criterion] | None = None,
    silhouette_sample: int = 1000,
    gap_references: int = 10,
    gap_box: Box = "features",
    random_state: Any = 0,
    progress: bool | Callable[[Progress], bool | None] | None = None,
) -> SweepTable:
    """Cluster X with each number of clusters in `ks`, and score what comes out.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        The rows to cluster, passed to ``fit`` as they are.
    ks : iterable of int
        Numbers of clusters, each once, from 1 to n.
    y : array-like of shape (n,), optional
        Class of each row, integers or strings. Without it the supervised scores are left out.
    estimator : estimator, optional
        What clusters: cloned for each fit, with its ``n_clusters`` (or ``n_components``) and its
        ``random_state`` set. It has ``labels_`` once fitted, or ``predict``. Default:
        ``fastkm.KMeans()``.
    n_seeds : int, default=1
        Fits for each number of clusters, with the same different seeds for all.
    criteria : iterable of str, optional
        Which of "inertia", "silhouette", "calinski_harabasz", "davies_bouldin" and "gap" to have in
        the table; the inertia always is. Default: all, but for sparse X only the first two, as the
        others need dense rows.
    silhouette_sample : int, default=1000
        Rows on which the silhouette is computed, drawn without replacement, the same for every fit.
        All rows are used when there are no more.
    gap_references : int, default=10
        Reference sets of the gap statistic, each of n rows and fitted once for every k: they take
        most of the time. 0 leaves the gap out.
    gap_box : {"features", "principal axes"}, default="features"
        The box that reference rows are drawn from, uniformly: the ranges of the features, or those
        along the principal axes of X, which follow correlated features. The latter takes three
        times the memory of X in float64.
    random_state : int, RandomState instance or None, default=0
        Draws the silhouette's rows, the seeds of the fits, and the references.
    progress : True or callable, optional
        Called with a `Progress` after each fit; if it returns True the sweep ends there. True
        writes a line on stderr, where that is a terminal.

    Returns
    -------
    SweepTable
        A row for each k, ascending, with columns ``k``, ``inertia`` in X's unit squared, ``time``
        in seconds, ``silhouette``, ``calinski_harabasz``, ``davies_bouldin``, ``gap``, ``gap_se``,
        and, with `y`, ``homogeneity``, ``completeness``, ``v_measure``, ``ari``, ``ami`` and
        ``accuracy`` (by majority, which grows with k). Values are means over the seeds, but the
        time is their median. What is not defined is NaN: silhouette, Calinski-Harabasz and
        Davies-Bouldin for one cluster or as many clusters as rows.

    Raises
    ------
    ValueError
        If `ks` is empty, repeats a number or has one outside 1 to n; X holds NaN or infinity; X and
        `y` differ in length; `y` has missing entries; a criterion is unknown or needs dense rows; a
        number is too small; or several seeds are asked of an estimator without ``random_state``.
        All this before the first fit.
    TypeError
        If `estimator` is no estimator, or has neither ``n_clusters`` nor ``n_components``; `ks`
        holds no integers; or `progress` answers neither with a bool nor with None.
    KeyboardInterrupt
        If Ctrl-C comes before one k is finished. Later it ends the sweep, which returns the numbers
        of clusters that are finished, and the gap by the references that are; a note tells.

    See Also
    --------
    compare : Several estimators for one number of clusters.

    Notes
    -----
    ``chosen`` takes the largest silhouette and Calinski-Harabasz index and the smallest
    Davies-Bouldin index; for the gap the smallest k with Gap(k) >= Gap(k') - s(k'), k' the next in
    `ks`, or the last k, with a note, where no k meets it; for the inertia the elbow: the point
    farthest below the chord of the curve, both axes scaled to [0, 1], which depends on the range
    that `ks` spans. Ties go to the fewest clusters. The criteria are heuristics that often
    disagree.

    The inertia is computed here, in float64 from the labels and ``cluster_centers_``; for an
    estimator without them, from the means of the clusters, as the gap's W_k always is. The gap's
    references have the rows' precision, float32 for integers of up to 16 bits. X is clustered for
    every k first, then each reference in turn, of which one is in memory at a time.

    Cost: (n_seeds + gap_references) fits for each k; O(silhouette_sample**2 d) a silhouette, O(n d)
    for the rest.

    References
    ----------
    Tibshirani, Walther and Hastie (2001), "Estimating the number of clusters in a data set via the
    gap statistic", Journal of the Royal Statistical Society B 63(2), sections 3.1 and 3.2;
    Satopaa, Albrecht, Irwin and Raghavan (2011), "Finding a 'kneedle' in a haystack", ICDCS
    Workshops, section III: the elbow;
    Rousseeuw (1987), Calinski and Harabasz (1974), Davies and Bouldin (1979): see scikit-learn's
    ``silhouette_score``, ``calinski_harabasz_score`` and ``davies_bouldin_score``.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from fastkm.evaluation import sweep
    >>> X, y = make_blobs(300, centers=[[0, 0], [8, 0], [0, 8]], random_state=0)
    >>> table = sweep(X, range(1, 7), y)
    >>> table.chosen["silhouette"], table.chosen["gap"]
    (3, 3)
    >>> round(table["ari"][2], 3)
    1.0
    """
    plan = _plan(
        X, ks, y, estimator, n_seeds, criteria, silhouette_sample, gap_references, gap_box,
        check_random_state(random_state),
    )  # fmt: skip
    report = check_progress(progress)
    done = _Done()
    try:
        _fit_all(plan, done, Reporter(report, plan.n_fits))
    except Stopped:
        pass
    except KeyboardInterrupt:
        if not any(len(fits) == len(plan.seeds) for fits in done.fits.values()):
            raise
    finally:
        if isinstance(report, Line):
            report.close()
    return _table(plan, done)


def _plan(
    X: Any,
    ks: Iterable[int],
    y: npt.ArrayLike | None,
    estimator: Any,
    n_seeds: int,
    criteria: Iterable[str] | None,
    silhouette_sample: int,
    gap_references: int,
    gap_box: Box,
    draws: np.random.RandomState,
) -> _Plan:
    rows, classes = check_rows_and_classes(X, y)
    n = rows.shape[0]
    if estimator is None:
        estimator = KMeans()
    check_estimator(estimator, "estimator")
    check_count(n_seeds, "n_seeds", 1)
    if n_seeds > 1 and not is_seeded(estimator):
        raise ValueError(
            f"n_seeds must be 1 for {type(estimator).__name__}, which has no random_state; got "
            f"{n_seeds}: its fits would all be the same."
        )
    check_count(silhouette_sample, "silhouette_sample", 2)
    check_count(gap_references, "gap_references", 0)
    if gap_references == 1:
        raise ValueError("gap_references must be 2 or more, to have a standard error, or 0; got 1.")
    if gap_box not in BOXES:
        raise ValueError(f"gap_box must be one of {list(BOXES)}; got {gap_box!r}.")
    keys = _check_criteria(criteria, issparse(rows), gap_references)
    sample = draw_sample(draws, n, silhouette_sample)
    seeds = draws.randint(_MAX_SEED, size=n_seeds).tolist()
    n_references = gap_references if "gap" in keys else 0
    return _Plan(
        X, rows, classes, check_ks(ks, n), estimator, keys, sample, seeds,
        draws.randint(_MAX_SEED, size=n_references).tolist(), gap_box,
    )  # fmt: skip


def _check_criteria(
    criteria: Iterable[str] | None, is_sparse: bool, gap_references: int
) -> list[str]:
    """Return the keys of the criteria in the table, in its order."""
    if criteria is None:
        left_out = {*(_DENSE_ONLY if is_sparse else ()), *(() if gap_references else ("gap",))}
        return [key for key in _CRITERIA if key not in left_out]
    asked = {criteria} if isinstance(criteria, str) else set(criteria)
    unknown = sorted(map(str, asked - set(_CRITERIA)))
    if unknown:
        raise ValueError(f"criteria must be of {list(_CRITERIA)}; got {unknown}.")
    dense_only = sorted(asked & set(_DENSE_ONLY))
    if is_sparse and dense_only:
        raise ValueError(f"criteria {dense_only} need dense rows: leave them out, or X.toarray().")
    if "gap" in asked and not gap_references:
        raise ValueError("gap_references must be 2 or more where criteria have 'gap'; got 0.")
    return [key for key in _CRITERIA if key == "inertia" or key in asked]


def _fit_all(plan: _Plan, done: _Done, reporter: Reporter) -> None:
    for k in plan.ks:
        fits = done.fits.setdefault(k, [])
        for seed in plan.seeds:
            fits.append(_fit(plan, k, seed))
            reporter.tell(k, "X")
    if not plan.reference_seeds:
        return
    reference = reference_of(plan.rows, plan.box)
    for seed in plan.reference_seeds:
        points = reference.draw(plan.rows.shape[0], np.random.default_rng(seed))
        logs: list[float] = []
        done.reference_logs.append(logs)
        for k in plan.ks:
            clusterer = with_clusters(plan.estimator, k, seed).fit(points)
            labels = labels_of_fit(clusterer, points, "estimator")
            logs.append(log_dispersion(dispersion(points, labels)))
            reporter.tell(k, "reference")


def _fit(plan: _Plan, k: int, seed: int) -> _Fit:
    clusterer = with_clusters(plan.estimator, k, seed)
    start = time.perf_counter()
    clusterer.fit(plan.X)
    seconds = time.perf_counter() - start
    labels = labels_of_fit(clusterer, plan.X, "estimator")
    scatter = np.nan
    if "gap" in plan.criteria or not hasattr(clusterer, "cluster_centers_"):
        scatter = dispersion(plan.rows, labels)
    own = inertia(plan.rows, clusterer, labels)
    scores = {"inertia": scatter if np.isnan(own) else own, "time": seconds}
    internal = [key for key in plan.criteria if key in _INTERNAL]
    scores |= internal_scores(plan.rows, labels, plan.sample, internal)
    if plan.classes is not None:
        scores |= supervised_scores(plan.classes, labels)
    return _Fit(clusterer, scores, log_dispersion(scatter), len(np.unique(labels)))


def _is_all(plan: _Plan, done: _Done) -> bool:
    n_done = sum(map(len, done.fits.values())) + sum(map(len, done.reference_logs))
    return n_done == plan.n_fits


def _table(plan: _Plan, done: _Done) -> SweepTable:
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


def _columns(plan: _Plan) -> tuple[Column, ...]:
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
    plan: _Plan,
    fits: dict[int, list[_Fit]],
    n_references: int,
    is_complete: bool,
    rows: list[dict[str, Any]],
    chosen: dict[str, int],
) -> tuple[str, ...]:
    notes = []
    if not is_complete:
        notes.append(f"stopped early: {len(fits)} of {len(plan.ks)} numbers of clusters are done.")
    if chosen:
        choices = ", ".join(f"{k} by {_CRITERIA[key]}" for key, k in chosen.items())
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
