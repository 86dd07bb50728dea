"""Estimators side by side: a score table as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..evaluation import ScoreTable
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "time": "Time of the fit",
    "inertia": "Inertia",
    "homogeneity": "Homogeneity",
    "completeness": "Completeness",
    "v_measure": "V-measure",
    "ari": "Adjusted Rand index",
    "ami": "Adjusted mutual information",
    "silhouette": "Silhouette",
}
_LOWER_IS_BETTER = ("time", "inertia")
_DEFAULT_METRICS = ("time", "inertia", "v_measure", "ari", "ami", "silhouette")
_MAX_PANELS_PER_ROW = 3


def plot_comparison(
    table: ScoreTable, metrics: Sequence[str] | None = None, *, title: str | None = None
) -> Figure:
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

    Returns
    -------
    matplotlib.figure.Figure
        One panel per metric. Bars start at zero, save for the inertia, whose differences are small
        beside its size: its axis starts above zero, and dots stand in place of bars.

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    ValueError
        If a metric is no column of numbers in the table.

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
    plt = style.pyplot()
    known = [column.key for column in table.columns if column.key in _TITLES]
    if metrics is None:
        metrics = [key for key in _DEFAULT_METRICS if key in known]
    unknown = [key for key in metrics if key not in known]
    if unknown or not metrics:
        raise ValueError(f"metrics must be columns of the table, of {known}; got {list(metrics)}.")
    names = list(dict.fromkeys(row["name"] for row in table))
    variants = list(dict.fromkeys(row["variant"] for row in table))
    n_columns = min(len(metrics), _MAX_PANELS_PER_ROW)
    n_rows = math.ceil(len(metrics) / n_columns)
    height = 0.28 * len(names) * (len(variants) + 0.6) + 0.75
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(3.5 * n_columns + 0.8, n_rows * height + 0.9),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    for ax in axes.flat[len(metrics) :]:
        ax.remove()
    for metric, ax in zip(metrics, axes.flat, strict=False):
        _draw_metric(ax, table, metric, names, variants)
    if len(variants) > 1:
        handles = [
            plt.Rectangle((0, 0), 1, 1, color=_variant_color(v)) for v in range(len(variants))
        ]
        figure.legend(
            handles, variants, loc="outside upper right", ncols=len(variants), frameon=False,
            fontsize=style.LABEL_SIZE, labelcolor=style.INK,
        )  # fmt: skip
    style.head_figure(figure, title or "The estimators compared", " ".join(table.notes))
    return cast("Figure", figure)


def _draw_metric(
    ax: Axes, table: ScoreTable, metric: str, names: list[str], variants: list[str]
) -> None:
    values = np.array(table[metric], dtype=np.float64)
    column = next(column for column in table.columns if column.key == metric)
    places = [
        names.index(row["name"]) + _offset(variants.index(row["variant"]), len(variants))
        for row in table
    ]
    colors = [_variant_color(variants.index(row["variant"])) for row in table]
    known = values[~np.isnan(values)]
    thickness = 0.74 / len(variants)
    if metric == "inertia" and known.size:
        low, high = known.min(), known.max()
        span = (high - low) or abs(high) or 1.0
        ax.set_xlim(low - 0.15 * span, high + 0.6 * span)
        ax.scatter(values, places, s=70, c=colors, zorder=3)
    else:
        ax.barh(places, np.nan_to_num(values), height=thickness * 0.92, color=colors)
        ends = np.append(known, 0.0)
        ax.set_xlim(1.35 * ends.min(), (1.35 * ends.max()) or 1.0)
    for row, value, place in zip(table, values, places, strict=True):
        ax.annotate(
            column.cell(row), (0.0 if np.isnan(value) else max(value, 0.0), place),
            (8 if metric == "inertia" else 4, 0), textcoords="offset points", va="center",
            fontsize=style.NOTE_SIZE, color=style.INK,
        )  # fmt: skip
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_yticks(range(len(names)), labels=names)
    style.quiet_axes(ax, grid="x")
    ax.tick_params(axis="y", length=0, labelsize=style.LABEL_SIZE)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    better = "lower is better" if metric in _LOWER_IS_BETTER else "higher is better"
    if metric == "inertia":
        better += "; axis does not start at 0"
    ax.set_title(_TITLES[metric], loc="left", fontsize=11, fontweight="bold", color=style.INK)
    ax.set_xlabel(better, fontsize=8, color=style.MUTED, loc="left")


def _offset(v: int, n_variants: int) -> float:
    return (v - (n_variants - 1) / 2) * 0.74 / n_variants


def _variant_color(v: int) -> Any:
    return style.cluster_color(v)
