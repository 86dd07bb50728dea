"""Estimators side by side: a score table as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation import ScoreTable
from . import _backends as backends
from . import _drawn as drawn
from . import _metrics
from . import _style as style
from ._checks import check_metrics

_DEFAULT_METRICS = ("time", "inertia", "v_measure", "ari", "ami", "silhouette")
_GROUP = 0.74  # of the room between two estimators that their bars take


def plot_comparison(
    table: ScoreTable,
    metrics: Sequence[str] | None = None,
    *,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw the time and scores of several estimators, one panel per metric.

    Parameters
    ----------
    table : ScoreTable
        From `fastkm.evaluation.score_table`; a variant, such as a library, is a colour.
    metrics : sequence of str, optional
        Columns of the table to draw. Default: time, inertia, V-measure, ARI, AMI and silhouette,
        as far as the table has them.
    title : str, optional
        Title of the figure.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        One panel per metric. Bars start at zero, save for the inertia, whose differences are small
        beside its size: its axis starts above zero, and dots stand in place of bars.

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    TypeError
        If `table` is no table of `score_table`.
    ValueError
        If a metric is no column of numbers in the table, or `backend` is unknown.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from fastkm.evaluation import score_table
    >>> from fastkm.plotting import plot_comparison
    >>> X, y = load_iris(return_X_y=True)
    >>> seedings = ("k-means++", "random")
    >>> table = score_table(
    ...     {init: KMeans(3, init=init, n_init=1, random_state=0) for init in seedings}, X, y)
    >>> figure = plot_comparison(table, ["inertia", "ari"])
    >>> [ax.get_title(loc="left") for ax in figure.axes]
    ['Inertia', 'Adjusted Rand index']
    """
    drawer = backends.pick(backend)
    if not isinstance(table, ScoreTable):
        raise TypeError(
            f"table must be what fastkm.evaluation.score_table returns; got {type(table).__name__}."
        )
    known = [column.key for column in table.columns if _is_score(column.key)]
    metrics = check_metrics(metrics, known, [key for key in _DEFAULT_METRICS if key in known])
    names = list(dict.fromkeys(row["name"] for row in table))
    variants = list(dict.fromkeys(row["variant"] for row in table))
    variant_of_row = [variants.index(row["variant"]) for row in table]
    offsets = (np.array(variant_of_row) - (len(variants) - 1) / 2) * _GROUP / len(variants)
    return drawer.scores(
        drawn.Scores(
            [_panel(table, metric) for metric in metrics],
            names,
            variants,
            [(row["name"], row["variant"]) for row in table],
            np.array([names.index(row["name"]) for row in table]) + offsets,
            [style.cluster_color(variant) for variant in variant_of_row],
            0.92 * _GROUP / len(variants),
            title or "The estimators compared",
            " ".join(table.notes),
        )
    )


def _is_score(key: str) -> bool:
    return bool(_metrics.better(key))


def _panel(table: ScoreTable, metric: str) -> drawn.ScorePanel:
    column = next(column for column in table.columns if column.key == metric)
    values = np.array(table[metric], dtype=np.float64)
    is_known = ~np.isnan(values)
    subtitle = _metrics.better(metric)
    has_dots = metric == "inertia" and bool(is_known.any())
    if has_dots:
        subtitle += "; axis does not start at 0"
        low, high = float(values[is_known].min()), float(values[is_known].max())
        span = (high - low) or abs(high) or 1.0
        limits = (low - 0.15 * span, high + 0.6 * span)  # on the right there is room for the number
    else:
        ends = np.append(values[is_known], 0.0)
        limits = (1.35 * float(ends.min()), 1.35 * float(ends.max()) or 1.0)
    return drawn.ScorePanel(
        metric,
        _metrics.title_of(metric),
        subtitle,
        values,
        [column.cell(row) for row in table],
        has_dots,
        limits,
    )
