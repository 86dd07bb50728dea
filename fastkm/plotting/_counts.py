"""Rows counted: the confusion matrix and the clusters' sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation import ConfusionMatrix, cluster_sizes, confusion_matrix
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_COUNTS_WRITTEN = 450  # cells; above, numbers would be too small to read
_MAX_SIZES_WRITTEN = 24  # bars
_SHORT_NAME = 4  # letters that fit below a bar or a column
_SLANTED: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}


def plot_confusion_matrix(
    y: npt.ArrayLike,
    labels: npt.ArrayLike,
    cluster_labels: Mapping[int, Any] | None = None,
    *,
    n_clusters: int | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
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

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    ValueError
        If the lengths differ, or `y` has missing entries.

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
    confusion = confusion_matrix(y, labels, cluster_labels, n_clusters=n_clusters)
    if confusion.by == "cluster":
        confusion = _diagonal_first(confusion)
    counts, classes, columns, by = confusion
    whole, axis = ("cluster", 0) if by == "cluster" else ("class", 1)
    shares = counts / np.maximum(counts.sum(axis=axis, keepdims=True), 1)
    n_rows, n_columns = counts.shape
    ax = style.one_panel(
        ax, (min(max(0.5 * n_columns + 1.9, 4.6), 16), max(0.48 * n_rows + 1.3, 3.2))
    )
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02, shrink=0.9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.NOTE_SIZE, colors=style.MUTED, labelcolor=style.INK)
    bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    bar.set_label(f"share of the {whole}", fontsize=style.NOTE_SIZE, color=style.INK)
    if counts.size <= _MAX_COUNTS_WRITTEN:
        _write_counts(ax, counts, shares)
    _label_cells(ax, classes, columns)
    ax.set_xlabel(by, fontsize=style.LABEL_SIZE, color=style.INK)
    ax.set_ylabel("class", fontsize=style.LABEL_SIZE, color=style.INK)
    note = f"{counts.sum():,} rows"
    if by == "inferred class":
        note += f", {np.trace(counts) / counts.sum():.1%} on the diagonal"
    style.head_axes(ax, title or f"Classes against {by.replace('class', 'classe')}s", note)
    return ax


def plot_cluster_sizes(
    labels: npt.ArrayLike,
    n_clusters: int | None = None,
    *,
    cluster_labels: Mapping[int, Any] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
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

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    ValueError
        If a label is negative or not below `n_clusters`.

    Examples
    --------
    >>> from fastkm.plotting import plot_cluster_sizes
    >>> ax = plot_cluster_sizes([0, 1, 1, 2])
    >>> [int(bar.get_height()) for bar in ax.patches]
    [1, 2, 1]
    """
    counts = cluster_sizes(labels, n_clusters)
    sizes = counts.tolist()
    k = len(sizes)
    ax = style.one_panel(ax, (min(max(0.55 * k + 1.2, 4.6), 14), 3.8))
    bars = ax.bar(range(k), sizes, color=[style.cluster_color(j) for j in range(k)], width=0.8)
    if k <= _MAX_SIZES_WRITTEN:
        ax.bar_label(
            bars,
            fmt="{:,.0f}",
            padding=3,
            fontsize=style.NOTE_SIZE,
            color=style.INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    mean = counts.mean()
    ax.axhline(mean, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
    style.quiet_axes(ax, grid="y")
    ax.set_xlim(-0.6, k - 0.4)
    ax.margins(y=0.1)
    _label_bars(ax, k, cluster_labels)
    ax.tick_params(axis="x", length=0)
    below = "cluster" if cluster_labels is None else "cluster and inferred class"
    ax.set_xlabel(below, fontsize=style.LABEL_SIZE, color=style.INK)
    ax.set_ylabel("rows", fontsize=style.LABEL_SIZE, color=style.INK)
    note = f"{counts.sum():,} rows in {k} clusters; dashed: equal sizes, {mean:,.0f} each"
    style.head_axes(ax, title or "Rows in each cluster", note)
    return ax


def _label_bars(ax: Axes, k: int, cluster_labels: Mapping[int, Any] | None) -> None:
    size = style.NOTE_SIZE if k <= _MAX_SIZES_WRITTEN else 7
    names = [style.name_of(j, cluster_labels) or "-" for j in range(k)]
    if cluster_labels is None:
        ax.set_xticks(range(k), labels=[str(j) for j in range(k)], fontsize=size)
    elif max(map(len, names)) <= _SHORT_NAME:
        below = [f"{j}\n{name}" for j, name in enumerate(names)]
        ax.set_xticks(range(k), labels=below, fontsize=size)
    else:
        beside = [f"{j}: {name}" for j, name in enumerate(names)]
        ax.set_xticks(range(k), labels=beside, fontsize=size, **_SLANTED)


def _diagonal_first(confusion: ConfusionMatrix) -> ConfusionMatrix:
    """Order the columns by their majority class, the larger count first."""
    order = np.lexsort((-confusion.counts.max(axis=0), confusion.counts.argmax(axis=0)))
    return confusion._replace(counts=confusion.counts[:, order], columns=confusion.columns[order])


def _write_counts(ax: Axes, counts: npt.NDArray[Any], shares: npt.NDArray[Any]) -> None:
    size = 10 if counts.shape[1] <= 16 else 7
    for (i, j), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[i, j] > 0.55 else style.INK
            ax.text(j, i, f"{count}", ha="center", va="center", fontsize=size, color=color)


def _label_cells(ax: Axes, classes: npt.NDArray[Any], columns: npt.NDArray[Any]) -> None:
    def names(values: npt.NDArray[Any]) -> list[str]:
        return [str(value) for value in values.tolist()]

    size = style.NOTE_SIZE if len(columns) <= 30 else 7
    wide = max(map(len, names(columns))) > _SHORT_NAME
    slant = _SLANTED if wide else {}
    ax.set_xticks(range(len(columns)), labels=names(columns), fontsize=size, **slant)
    ax.set_yticks(range(len(classes)), labels=names(classes), fontsize=style.NOTE_SIZE)
    ax.tick_params(length=0, labelcolor=style.INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    # White lines between the cells.
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(classes) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.2)
    ax.tick_params(which="minor", length=0)
