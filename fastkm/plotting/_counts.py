"""Rows counted: the confusion matrix and the clusters' sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation import ConfusionMatrix, cluster_sizes, confusion_matrix
from . import _backends as backends
from . import _drawn as drawn
from . import _style as style
from ._checks import check_cluster_labels


def plot_confusion_matrix(
    y: npt.ArrayLike,
    labels: npt.ArrayLike,
    cluster_labels: Mapping[int, Any] | None = None,
    *,
    n_clusters: int | None = None,
    ax: Any = None,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw how the rows of each class spread over the clusters, or over the inferred classes.

    Numbers are rows. Colours are shares of the class or, where the columns are clusters, shares of
    the cluster: how pure it is.

    Parameters
    ----------
    y : array-like of shape (n,)
        Class of each row.
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    cluster_labels : mapping of int to class, optional
        Names of the clusters, from `fastkm.evaluation.infer_cluster_labels`. With it the columns
        are classes; without it they are clusters, ordered by their majority class so that a good
        clustering shows a diagonal.
    n_clusters : int, optional
        Number of columns when they are clusters. Default: one more than the largest label.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    title : str, optional
        Title of the panel.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.axes.Axes or plotly.graph_objects.Figure

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    ValueError
        If the lengths differ, `y` has missing entries, or `backend` is unknown.

    See Also
    --------
    fastkm.evaluation.confusion_matrix : The counts themselves.

    Examples
    --------
    >>> from fastkm.plotting import plot_confusion_matrix
    >>> ax = plot_confusion_matrix(["a", "a", "b"], [1, 1, 0])
    >>> ax.get_xlabel()
    'cluster'
    """
    drawer = backends.pick(backend, ax)
    check_cluster_labels(cluster_labels)
    confusion = confusion_matrix(y, labels, cluster_labels, n_clusters=n_clusters)
    if confusion.by == "cluster":
        confusion = _diagonal_first(confusion)
    counts, classes, columns, by = confusion
    whole, axis = ("cluster", 0) if by == "cluster" else ("class", 1)
    note = drawn.text_of_count(int(counts.sum()))
    if by == "inferred class":
        note += f", {np.trace(counts) / counts.sum():.1%} on the diagonal"
    return drawer.matrix(
        drawn.Matrix(
            counts,
            counts / np.maximum(counts.sum(axis=axis, keepdims=True), 1),
            [str(value) for value in classes.tolist()],
            [str(value) for value in columns.tolist()],
            by,
            whole,
            title or f"Classes against {by.replace('class', 'classe')}s",
            note,
        ),
        ax,
    )


def plot_cluster_sizes(
    labels: npt.ArrayLike,
    n_clusters: int | None = None,
    *,
    cluster_labels: Mapping[int, Any] | None = None,
    ax: Any = None,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw the number of rows of each cluster as a bar in the cluster's colour.

    Parameters
    ----------
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    n_clusters : int, optional
        Number of bars. Default: one more than the largest label.
    cluster_labels : mapping of int to class, optional
        From `fastkm.evaluation.infer_cluster_labels`: written below the clusters' numbers.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    title : str, optional
        Title of the panel.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.axes.Axes or plotly.graph_objects.Figure

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    ValueError
        If a label is negative or not below `n_clusters`, or `backend` is unknown.

    Examples
    --------
    >>> from fastkm.plotting import plot_cluster_sizes
    >>> ax = plot_cluster_sizes([0, 1, 1, 2])
    >>> [int(bar.get_height()) for bar in ax.patches]
    [1, 2, 1]
    """
    drawer = backends.pick(backend, ax)
    check_cluster_labels(cluster_labels)
    counts = cluster_sizes(labels, n_clusters)
    k, mean = len(counts), float(counts.mean())
    rows, clusters = drawn.text_of_count(int(counts.sum())), drawn.text_of_count(k, "cluster")
    return drawer.bars(
        drawn.Bars(
            counts.tolist(),
            style.names_of(k, cluster_labels),
            cluster_labels is not None,
            mean,
            title or "Rows in each cluster",
            f"{rows} in {clusters}; dashed: equal sizes, {mean:,.0f} each",
        ),
        ax,
    )


def _diagonal_first(confusion: ConfusionMatrix) -> ConfusionMatrix:
    """Order the columns by their majority class, the larger count first."""
    order = np.lexsort((-confusion.counts.max(axis=0), confusion.counts.argmax(axis=0)))
    return confusion._replace(counts=confusion.counts[:, order], columns=confusion.columns[order])
