"""Fit, time and score several estimators on the same rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _columns as columns
from ._checks import (
    Classes,
    IntArray,
    check_count,
    check_estimators,
    check_rows_and_classes,
    check_same_length,
)
from ._fits import labels_of_fit, predicted
from ._measures import (
    draw_sample,
    inertia,
    internal_scores,
    note_on_silhouette,
    supervised_scores,
)
from ._table import Column, Table


@dataclass(frozen=True, repr=False)
class ScoreTable(Table):
    """Time and scores of several estimators: what `score_table` returns.

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
    estimators : dict of (name, variant) to estimator
        The fitted estimators behind the rows. ``variant`` is "" where a name has only one.

    Examples
    --------
    >>> from fastkm import KMeans
    >>> from fastkm.evaluation import score_table
    >>> X = [[0.0], [1.0], [10.0], [11.0], [30.0]]
    >>> table = score_table({"two": KMeans(2), "three": KMeans(3)}, X, random_state=0)
    >>> table["name"], table["inertia"][1]
    (['two', 'three'], 1.0)
    >>> table.estimators["three", ""].n_clusters
    3
    """

    estimators: dict[tuple[str, str], Any] = field(default_factory=dict)


@dataclass
class Entry:
    """One row of a table in the making."""

    name: str
    variant: str
    estimator: Any
    is_given_fitted: bool
    seconds: list[float] = field(default_factory=list)

    @property
    def time(self) -> float:
        return float(np.median(self.seconds)) if self.seconds else float("nan")


def score_table(
    estimators: Mapping[str, Any],
    X: Any,
    y: npt.ArrayLike | None = None,
    *,
    n_fits: int = 1,
    max_seconds: float = np.inf,
    reference: str | None = None,
    silhouette_sample: int = 1000,
    random_state: Any = 0,
) -> ScoreTable:
    """Fit, time and score several estimators on the same rows.

    Parameters
    ----------
    estimators : mapping of str to estimator, or of str to mapping of str to estimator
        The rows. A nested mapping puts variants of one name below each other, such as the same
        clustering by two libraries. An unfitted estimator is cloned and fitted; a fitted one is
        scored as it stands, by its ``predict``, and has no time. Any estimator with ``labels_`` or
        ``predict`` will do.
    X : array-like or sparse matrix of shape (n, d)
        The rows to cluster, passed to ``fit`` as they are.
    y : array-like of shape (n,), optional
        Class of each row, integers or strings. Without it the supervised scores are left out.
    n_fits : int, default=1
        Fits of each estimator, taken in turn so that a passing disturbance meets all; the time is
        their median, the scores are the last fit's.
    max_seconds : float, default=inf
        No further turn begins once all fits together have taken this long, in seconds; the first
        turn always ends. The table states how many turns there were.
    reference : str, optional
        The variant (or, without variants, the name) whose time over each row's time is the column
        ``speedup``.
    silhouette_sample : int, default=1000
        Rows on which the silhouette is computed, drawn without replacement, the same for all
        estimators; the table states it. All rows are used when there are no more.
    random_state : int, RandomState instance or None, default=0
        Draws the silhouette's rows.

    Returns
    -------
    ScoreTable
        Columns ``name``, ``variant`` (where there are any), ``time`` in seconds, ``speedup`` (with
        `reference`), ``inertia`` in X's unit squared, ``homogeneity``, ``completeness``,
        ``v_measure``, ``ari``, ``ami`` (with `y`), ``silhouette``. What an estimator cannot have is
        NaN: inertia without ``cluster_centers_``, the silhouette of a single cluster.

    Raises
    ------
    ValueError
        If X and `y` differ in length, `y` has missing entries, X holds NaN (said by the
        estimator), no estimator is given, or `reference` is none of the rows.
    TypeError
        If `estimators` is no mapping, or an entry is no estimator, or has neither ``labels_`` nor
        ``predict``.

    Notes
    -----
    The inertia is computed here, in float64 from the labels and ``cluster_centers_``, so that all
    rows are measured alike. The silhouette is `silhouette_score`, but for sparse rows; all other
    scores are those of ``sklearn.metrics``. The silhouette takes
    O(silhouette_sample**2 d).

    Examples
    --------
    >>> from sklearn.cluster import BisectingKMeans, KMeans
    >>> from fastkm.evaluation import score_table
    >>> X, y = [[0.0], [1.0], [10.0], [11.0]], ["low", "low", "high", "high"]
    >>> table = score_table(
    ...     {
    ...         "full": KMeans(2, n_init=1, random_state=0),
    ...         "bisecting": BisectingKMeans(2, random_state=0),
    ...     }, X, y)
    >>> table["inertia"], table["ari"]
    ([1.0, 1.0], [1.0, 1.0])
    """
    entries = _entries(estimators)
    if reference is not None and not any(reference in (e.name, e.variant) for e in entries):
        known = sorted({e.variant or e.name for e in entries})
        raise ValueError(f"reference must be one of {known}; got {reference!r}.")
    check_count(n_fits, "n_fits", 1)
    check_count(silhouette_sample, "silhouette_sample", 2)
    rows_of_x, classes = check_rows_and_classes(X, y)
    n_turns = fit_in_turn(entries, X, n_fits, max_seconds)
    n = rows_of_x.shape[0]
    sample = draw_sample(check_random_state(random_state), n, silhouette_sample)
    rows = []
    for entry in entries:
        row: dict[str, Any] = {"name": entry.name, "variant": entry.variant, "time": entry.time}
        if reference is not None:
            row["speedup"] = _reference_time(entries, entry, reference) / entry.time
        row |= _scores(entry, X, rows_of_x, classes, sample)
        rows.append(row)
    fitted = {(entry.name, entry.variant): entry.estimator for entry in entries}
    notes = (*note_on_times(n_fits, n_turns, reference), note_on_silhouette(len(sample), n))
    return ScoreTable(_columns(entries, reference, classes), tuple(rows), notes, fitted)


def _entries(estimators: Mapping[str, Any]) -> list[Entry]:
    check_estimators(estimators)
    entries = []
    for name, value in estimators.items():
        variants = value if isinstance(value, Mapping) else {"": value}
        for variant, estimator in variants.items():
            if isinstance(estimator, type) or not hasattr(estimator, "fit"):
                raise TypeError(
                    f"estimators[{name!r}] must be an estimator; got {estimator!r}: "
                    "pass an instance with fit, such as KMeans(n_clusters=10)."
                )
            is_fitted = _is_fitted(estimator)
            ours = estimator if is_fitted else clone(estimator)
            entries.append(Entry(name, variant, ours, is_fitted))
    if not entries:
        raise ValueError("estimators must name at least one estimator; got none.")
    return entries


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def fit_in_turn(entries: list[Entry], X: Any, n_fits: int, max_seconds: float) -> int:
    """Fit all that came unfitted, turn by turn, and return the number of turns."""
    unfitted = [entry for entry in entries if not entry.is_given_fitted]
    if not unfitted:
        return 0
    for turn in range(n_fits):
        if turn and sum(sum(entry.seconds) for entry in unfitted) >= max_seconds:
            return turn
        for entry in unfitted:
            entry.estimator = clone(entry.estimator)
            start = time.perf_counter()
            entry.estimator.fit(X)
            entry.seconds.append(time.perf_counter() - start)
    return n_fits


def _reference_time(entries: list[Entry], entry: Entry, reference: str) -> float:
    """Return the time of the reference variant of the entry's name, or of the reference name."""
    for other in entries:
        if (other.name == entry.name and other.variant == reference) or other.name == reference:
            return other.time
    return float("nan")


def _scores(
    entry: Entry, X: Any, rows_of_x: Any, classes: Classes | None, sample: IntArray
) -> dict[str, float]:
    labels = _labels(entry, X)
    check_same_length(X=range(rows_of_x.shape[0]), labels=labels)
    scores = {"inertia": inertia(rows_of_x, entry.estimator, labels)}
    if classes is not None:
        against_classes = supervised_scores(classes, labels)
        scores |= {column.key: against_classes[column.key] for column in columns.SUPERVISED}
    return scores | internal_scores(rows_of_x, labels, sample, ["silhouette"])


def _labels(entry: Entry, X: Any) -> IntArray:
    # labels_ of an estimator that came fitted may be those of other rows.
    if not entry.is_given_fitted:
        return labels_of_fit(entry.estimator, X, entry.name)
    return predicted(
        entry.estimator, X, entry.name, "to be scored as it stands", "pass it unfitted"
    )


def _columns(
    entries: list[Entry], reference: str | None, classes: Classes | None
) -> tuple[Column, ...]:
    return (
        columns.NAME,
        *([columns.VARIANT] if any(entry.variant for entry in entries) else []),
        columns.TIME,
        *([columns.SPEEDUP] if reference is not None else []),
        columns.INERTIA,
        *(columns.SUPERVISED if classes is not None else ()),
        columns.SILHOUETTE,
    )


def note_on_times(n_fits: int, n_turns: int, reference: str | None) -> tuple[str, ...]:
    """Say what a time is of, and against which the speedup; nothing where there was no fit."""
    if n_turns == 0:
        return ()
    times = "time: one fit" if n_turns == 1 else f"time: median of {n_turns} fits, taken in turn"
    if n_turns < n_fits:
        times += f" (slow fits: {n_fits} were asked for)"
    if reference is not None:
        times += f"; speedup: {reference}'s time over the row's"
    return (f"{times}.",)
