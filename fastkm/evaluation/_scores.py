"""Fit, time and score several estimators on the same rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn import metrics
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from ._checks import IntArray, check_classes, check_labels, check_same_length
from ._table import Column, Table, write_ratio, write_seconds

_BLOCK_ROWS = 4096  # rows whose differences to their centroids are in memory at once


def _write_score(score: float) -> str:
    return f"{score:.3f}"


def _write_inertia(inertia: float) -> str:
    return f"{inertia:.0f}" if inertia >= 1000 else f"{inertia:.4g}"


_NAME = Column("name", "estimator", is_text=True)
_VARIANT = Column("variant", "by", is_text=True)
_TIME = Column("time", "time", write_seconds)
_SPEEDUP = Column("speedup", "speedup", write_ratio)
_INERTIA = Column("inertia", "inertia", _write_inertia)
_SUPERVISED = (
    Column("homogeneity", "homog.", _write_score),
    Column("completeness", "compl.", _write_score),
    Column("v_measure", "V-meas.", _write_score),
    Column("ari", "ARI", _write_score),
    Column("ami", "AMI", _write_score),
)
_SILHOUETTE = Column("silhouette", "silh.", _write_score)


@dataclass(frozen=True, repr=False)
class ScoreTable(Table):
    """Time and scores of several estimators: what `score_table` returns.

    ``print(table)`` and notebooks show it rounded; ``table["inertia"]`` is one column unrounded,
    ``table.rows`` a dict per row, ``table.to_pandas()`` a DataFrame.

    Attributes
    ----------
    columns, rows, notes
        See the class's bases: what is shown, one dict per row, and the sentences below.
    estimators : dict of (name, variant) to estimator
        The fitted estimators behind the rows. ``variant`` is "" where a name has only one.
    """

    estimators: dict[tuple[str, str], Any] = field(default_factory=dict)


@dataclass
class _Entry:
    """One row in the making."""

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
        If an entry is no estimator, or has neither ``labels_`` nor ``predict``.

    Notes
    -----
    The inertia is computed here, in float64 from the labels and ``cluster_centers_``, so that all
    rows are measured alike. Scores are those of ``sklearn.metrics``. The silhouette takes
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
    if n_fits < 1:
        raise ValueError(f"n_fits must be 1 or more; got {n_fits}.")
    if silhouette_sample < 2:
        raise ValueError(f"silhouette_sample must be 2 or more; got {silhouette_sample}.")
    rows_of_x = check_array(X, accept_sparse="csr", dtype=None)
    codes = None
    if y is not None:
        codes = check_classes(y).codes
        check_same_length(X=range(rows_of_x.shape[0]), y=codes)
    n_turns = _fit(entries, X, n_fits, max_seconds)
    n = rows_of_x.shape[0]
    is_sampled = silhouette_sample < n
    sample = np.arange(n)
    if is_sampled:
        sample = check_random_state(random_state).choice(n, silhouette_sample, replace=False)
    rows = []
    for entry in entries:
        row: dict[str, Any] = {"name": entry.name, "variant": entry.variant, "time": entry.time}
        if reference is not None:
            row["speedup"] = _reference_time(entries, entry, reference) / entry.time
        row |= _scores(entry, X, rows_of_x, codes, sample)
        rows.append(row)
    fitted = {(entry.name, entry.variant): entry.estimator for entry in entries}
    notes = _notes(n_fits, n_turns, reference, len(sample) if is_sampled else None, n)
    return ScoreTable(_columns(entries, reference, codes), tuple(rows), notes, fitted)


def _entries(estimators: Mapping[str, Any]) -> list[_Entry]:
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
            entries.append(_Entry(name, variant, ours, is_fitted))
    if not entries:
        raise ValueError("estimators must name at least one estimator; got none.")
    return entries


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _fit(entries: list[_Entry], X: Any, n_fits: int, max_seconds: float) -> int:
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


def _reference_time(entries: list[_Entry], entry: _Entry, reference: str) -> float:
    """Return the time of the reference variant of the entry's name, or of the reference name."""
    for other in entries:
        if (other.name == entry.name and other.variant == reference) or other.name == reference:
            return other.time
    return float("nan")


def _scores(
    entry: _Entry, X: Any, rows_of_x: Any, codes: IntArray | None, sample: IntArray
) -> dict[str, float]:
    labels = _labels(entry, X)
    check_same_length(X=range(rows_of_x.shape[0]), labels=labels)
    scores = {"inertia": _inertia(rows_of_x, entry.estimator, labels)}
    if codes is not None:
        homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(
            codes, labels
        )
        scores |= {
            "homogeneity": homogeneity,
            "completeness": completeness,
            "v_measure": v_measure,
            "ari": metrics.adjusted_rand_score(codes, labels),
            "ami": metrics.adjusted_mutual_info_score(codes, labels),
        }
    sampled = labels[sample]
    n_found = len(np.unique(sampled))
    scores["silhouette"] = float("nan")
    if 2 <= n_found < len(sample):  # outside, the silhouette is not defined
        scores["silhouette"] = metrics.silhouette_score(rows_of_x[sample], sampled)
    return {key: float(score) for key, score in scores.items()}


def _labels(entry: _Entry, X: Any) -> IntArray:
    # labels_ of an estimator that came fitted may be those of other rows.
    estimator = entry.estimator
    if not entry.is_given_fitted and hasattr(estimator, "labels_"):
        return check_labels(estimator.labels_, f"labels_ of {entry.name!r}")
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"estimators[{entry.name!r}] must have predict to be scored as it stands; "
            f"{type(estimator).__name__} has none: pass it unfitted."
        )
    return check_labels(estimator.predict(X), f"predict(X) of {entry.name!r}")


def _inertia(rows_of_x: Any, estimator: Any, labels: IntArray) -> float:
    if not hasattr(estimator, "cluster_centers_"):
        return float("nan")
    centroids = np.asarray(estimator.cluster_centers_, dtype=np.float64)
    inertia = 0.0
    for start in range(0, len(labels), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        points = rows_of_x[block].toarray() if issparse(rows_of_x) else rows_of_x[block]
        inertia += float(np.square(points - centroids[labels[block]]).sum())
    return inertia


def _columns(
    entries: list[_Entry], reference: str | None, codes: IntArray | None
) -> tuple[Column, ...]:
    return (
        _NAME,
        *([_VARIANT] if any(entry.variant for entry in entries) else []),
        _TIME,
        *([_SPEEDUP] if reference is not None else []),
        _INERTIA,
        *(_SUPERVISED if codes is not None else ()),
        _SILHOUETTE,
    )


def _notes(
    n_fits: int, n_turns: int, reference: str | None, n_sampled: int | None, n: int
) -> tuple[str, ...]:
    silhouette = f"all {n}" if n_sampled is None else f"a random sample of {n_sampled} of {n}"
    silhouette = f"silhouette: on {silhouette} rows."
    if n_turns == 0:
        return (silhouette,)
    times = "time: one fit" if n_turns == 1 else f"time: median of {n_turns} fits, taken in turn"
    if n_turns < n_fits:
        times += f" (slow fits: {n_fits} were asked for)"
    if reference is not None:
        times += f"; speedup: {reference}'s time over the row's"
    return (f"{times}.", silhouette)
