"""Cluster the same rows with several numbers of clusters, and see which each criterion takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from ..kmeans import KMeans
from ._checks import check_count, check_ks, check_lists_ks, check_rows_and_classes
from ._fits import check_estimator, is_seeded, labels_of_fit, with_clusters
from ._gap import BOXES, Box, log_dispersion, reference_of
from ._measures import (
    dispersion,
    draw_sample,
    inertia,
    internal_scores,
    supervised_scores,
)
from ._progress import Line, Progress, Reporter, Stopped, check_progress
from ._sweep_table import CRITERIA, Done, Fit, Plan, SweepTable, table_of

Criterion = Literal["inertia", "silhouette", "calinski_harabasz", "davies_bouldin", "gap"]

_INTERNAL = ("silhouette", "calinski_harabasz", "davies_bouldin")
_DENSE_ONLY = ("calinski_harabasz", "davies_bouldin", "gap")


def sweep(
    X: Any,
    ks: Iterable[int],
    y: npt.ArrayLike | None = None,
    *,
    estimator: Any = None,
    n_seeds: int = 1,
    criteria: Criterion | Iterable[Criterion] | None = None,
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
    criteria : str or iterable of str, optional
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
    for the rest. Memory beside a fit's: a reference, as large as X in its precision; while
    Calinski-Harabasz and Davies-Bouldin are computed, float32 rows once more in float64.

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
    check_lists_ks(ks)
    rows, classes = check_rows_and_classes(X, y)
    numbers = check_ks(ks, rows.shape[0])
    if estimator is None:
        estimator = KMeans()
    _check_estimator_and_seeds(estimator, n_seeds)
    check_count(silhouette_sample, "silhouette_sample", 2)
    _check_gap(gap_references, gap_box)
    keys = _check_criteria(criteria, issparse(rows), gap_references)
    draws = check_random_state(random_state)
    plan = Plan(
        X, rows, classes, numbers, estimator, keys,
        sample=draw_sample(draws, rows.shape[0], silhouette_sample),
        seeds=_draw_seeds(draws, n_seeds),
        reference_seeds=_draw_seeds(draws, gap_references if "gap" in keys else 0),
        box=gap_box,
    )  # fmt: skip
    report = check_progress(progress)
    done = Done()
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
    return table_of(plan, done)


def _draw_seeds(draws: np.random.RandomState, n_seeds: int) -> list[int]:
    seeds: list[int] = draws.randint(np.iinfo(np.int32).max, size=n_seeds).tolist()
    return seeds


def _check_estimator_and_seeds(estimator: Any, n_seeds: int) -> None:
    check_estimator(estimator, "estimator")
    check_count(n_seeds, "n_seeds", 1)
    if n_seeds > 1 and not is_seeded(estimator):
        raise ValueError(
            f"n_seeds must be 1 for {type(estimator).__name__}, which has no random_state; got "
            f"{n_seeds}: its fits would all be the same."
        )


def _check_gap(gap_references: int, gap_box: Box) -> None:
    check_count(gap_references, "gap_references", 0)
    if gap_references == 1:
        raise ValueError("gap_references must be 2 or more, to have a standard error, or 0; got 1.")
    if gap_box not in BOXES:
        raise ValueError(f"gap_box must be one of {list(BOXES)}; got {gap_box!r}.")


def _check_criteria(
    criteria: Iterable[str] | None, is_sparse: bool, gap_references: int
) -> list[str]:
    """Return the keys of the criteria in the table, in its order."""
    if criteria is None:
        left_out = {*(_DENSE_ONLY if is_sparse else ()), *(() if gap_references else ("gap",))}
        return [key for key in CRITERIA if key not in left_out]
    asked = {criteria} if isinstance(criteria, str) else set(criteria)
    unknown = sorted(map(str, asked - set(CRITERIA)))
    if unknown:
        raise ValueError(f"criteria must be of {list(CRITERIA)}; got {unknown}.")
    dense_only = sorted(asked & set(_DENSE_ONLY))
    if is_sparse and dense_only:
        raise ValueError(f"criteria {dense_only} need dense rows: leave them out, or X.toarray().")
    if "gap" in asked and not gap_references:
        raise ValueError("gap_references must be 2 or more where criteria have 'gap'; got 0.")
    return [key for key in CRITERIA if key == "inertia" or key in asked]


def _fit_all(plan: Plan, done: Done, reporter: Reporter) -> None:
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


def _fit(plan: Plan, k: int, seed: int) -> Fit:
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
    return Fit(clusterer, scores, log_dispersion(scatter), len(np.unique(labels)))
