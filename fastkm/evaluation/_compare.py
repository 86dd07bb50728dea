"""fastkm beside scikit-learn, or any estimators side by side, on the user's own rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import cluster, metrics

from ..kmeans import KMeans
from . import _columns as columns
from ._checks import check_at_most_n, check_count, check_estimators, check_rows_and_classes
from ._fits import check_estimator, labels_of_fit, with_clusters
from ._measures import inertia, supervised_scores
from ._scores import Entry, ScoreTable, fit_in_turn, note_on_times

_SUPERVISED = (columns.V_MEASURE, columns.ARI, columns.AMI, columns.ACCURACY)


def compare(
    X: Any,
    n_clusters: int,
    y: npt.ArrayLike | None = None,
    *,
    estimators: Mapping[str, Any] | None = None,
    reference: str | None = None,
    n_fits: int = 3,
    max_seconds: float = np.inf,
    random_state: Any = 0,
) -> ScoreTable:
    """Time fastkm and scikit-learn on the same rows, and tell whether they agree.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        The rows to cluster, passed to ``fit`` as they are.
    n_clusters : int
        Number of clusters, from 1 to n.
    y : array-like of shape (n,), optional
        Class of each row, integers or strings. Without it the supervised scores are left out.
    estimators : mapping of str to estimator, optional
        What to compare: two or more, cloned for each fit, with ``n_clusters`` (or ``n_components``)
        and ``random_state`` set. Default: ``fastkm.KMeans()`` as "fastkm" and
        ``sklearn.cluster.KMeans()`` as "scikit-learn".
    reference : str, optional
        The one that the others are compared with. Default: the last.
    n_fits : int, default=3
        Fits of each estimator, taken in turn so that a passing disturbance meets all; the time is
        their median, the rest is the last fit's.
    max_seconds : float, default=inf
        No further turn begins once all fits together have taken this long, in seconds; the first
        turn always ends. The table states how many turns there were.
    random_state : int or None, default=0
        Seed of every fit.

    Returns
    -------
    ScoreTable
        Columns ``name``, ``time`` in seconds, ``speedup`` (the reference's time over the row's),
        ``inertia`` in X's unit squared, ``rounds`` (``n_iter_``), ``agreement`` (the adjusted Rand
        index of the labels with the reference's: 1 for the same clusters), and, with `y`,
        ``v_measure``, ``ari``, ``ami`` and ``accuracy`` (by majority). What an estimator cannot
        have is NaN.

    Raises
    ------
    ValueError
        If `n_clusters` is outside 1 to n; X holds NaN or infinity; X and `y` differ in length; `y`
        has missing entries; there are fewer than two estimators; or `reference` is none of them.
    TypeError
        If `estimators` is no mapping, or an entry is no estimator, or has neither ``n_clusters``
        nor ``n_components``.

    See Also
    --------
    score_table : Estimators that differ in more, variants of one name, and fitted ones.

    Notes
    -----
    Different clusters need not be worse ones: k-means ends in a local optimum that depends on where
    it starts, so compare the inertia too. For float64 rows fastkm's and scikit-learn's KMeans start
    from the same rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastkm.evaluation import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> table = compare(X, 3, y)
    >>> table["name"], table["agreement"]
    (['fastkm', 'scikit-learn'], [1.0, 1.0])
    """
    rows_of_x, classes = check_rows_and_classes(X, y)
    if estimators is None:
        estimators = {"fastkm": KMeans(), "scikit-learn": cluster.KMeans()}
    check_estimators(estimators)
    if len(estimators) < 2:
        raise ValueError(f"estimators must be two or more to compare; got {len(estimators)}.")
    check_count(n_clusters, "n_clusters", 1)
    check_at_most_n(n_clusters, "n_clusters", rows_of_x.shape[0])
    check_count(n_fits, "n_fits", 1)
    if reference is None:
        reference = list(estimators)[-1]
    if reference not in estimators:
        raise ValueError(f"reference must be one of {list(estimators)}; got {reference!r}.")
    entries = []
    for name, estimator in estimators.items():
        check_estimator(estimator, f"estimators[{name!r}]")
        entries.append(Entry(name, "", with_clusters(estimator, n_clusters, random_state), False))
    n_turns = fit_in_turn(entries, X, n_fits, max_seconds)
    labels = {entry.name: labels_of_fit(entry.estimator, X, entry.name) for entry in entries}
    reference_time = next(entry.time for entry in entries if entry.name == reference)
    rows = []
    for entry in entries:
        mine = labels[entry.name]
        row = {
            "name": entry.name,
            "variant": entry.variant,
            "time": entry.time,
            "speedup": reference_time / entry.time,
            "inertia": inertia(rows_of_x, entry.estimator, mine),
            "rounds": getattr(entry.estimator, "n_iter_", np.nan),
            "agreement": float(metrics.adjusted_rand_score(labels[reference], mine)),
        }
        if classes is not None:
            against_classes = supervised_scores(classes, mine)
            row |= {column.key: against_classes[column.key] for column in _SUPERVISED}
        rows.append(row)
    shown = (
        columns.NAME,
        columns.TIME,
        columns.SPEEDUP,
        columns.INERTIA,
        columns.ROUNDS,
        columns.AGREEMENT,
        *(_SUPERVISED if classes is not None else ()),
    )
    notes = (
        *note_on_times(n_fits, n_turns, reference),
        f"agreement: adjusted Rand index with {reference}'s labels, 1 for the same clusters.",
    )
    fitted = {(entry.name, ""): entry.estimator for entry in entries}
    return ScoreTable(shown, tuple(rows), notes, fitted)
