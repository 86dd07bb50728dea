"""How well rows lie in their clusters: the silhouette plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation import cluster_sizes
from ..evaluation._checks import check_labels, check_same_length
from . import _backends as backends
from . import _drawn as drawn
from . import _style as style
from ._checks import check_cluster_labels, check_whole

_GAPS = 0.35  # share of the bands' length that lies between them
_MOST_LABELS = (
    100  # that fit below each other; with more clusters every second is labelled, or less
)


def plot_silhouette(
    silhouettes: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    n_clusters: int | None = None,
    cluster_labels: Mapping[int, Any] | None = None,
    max_rows: int = 10_000,
    ax: Any = None,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw the silhouette of every row, in one band per cluster from its best row to its worst.

    Parameters
    ----------
    silhouettes : array-like of shape (n,), between -1 and 1
        Silhouette of each row, such as `sklearn.metrics.silhouette_samples` returns.
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    n_clusters : int, optional
        Number of bands. Default: one more than the largest label. A cluster without rows has an
        empty band.
    cluster_labels : mapping of int to class, optional
        From `fastkm.evaluation.infer_cluster_labels`: written beside the clusters' numbers.
    max_rows : int, default=10_000
        Rows drawn; of more, every so many in the order of each band, which is stated. The mean is
        that of all.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    title : str, optional
        Title of the panel.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws; Plotly shows each row's number, cluster and silhouette under the pointer.

    Returns
    -------
    matplotlib.axes.Axes or plotly.graph_objects.Figure

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    ValueError
        If the lengths differ, a silhouette is NaN or not between -1 and 1, fewer than two clusters
        have rows, or `backend` is unknown.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.metrics import silhouette_samples
    >>> from fastkm.plotting import plot_silhouette
    >>> X, _ = load_iris(return_X_y=True)
    >>> labels = KMeans(3, n_init=1, random_state=0).fit(X).labels_
    >>> ax = plot_silhouette(silhouette_samples(X, labels), labels)
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['0', '1', '2']
    """
    drawer = backends.pick(backend, ax)
    check_cluster_labels(cluster_labels)
    max_rows = check_whole(max_rows, "max_rows", 1)
    clusters = check_labels(labels)
    values = _check_silhouettes(silhouettes)
    check_same_length(silhouettes=values, labels=clusters)
    sizes = cluster_sizes(clusters, n_clusters)
    if np.count_nonzero(sizes) < 2:
        raise ValueError(
            "labels must have rows of two clusters or more, as a silhouette compares a row's own "
            f"cluster with the next; all {len(clusters)} rows are in cluster {clusters[0]}."
        )
    n, k = len(values), len(sizes)
    stride = math.ceil(n / max_rows)
    gap = _GAPS * n / k
    order = np.lexsort((-values, clusters))
    members = np.split(order, np.cumsum(sizes)[:-1])
    bands = []
    begin = gap / 2
    length = n + k * gap
    middles = begin + np.cumsum(sizes + gap) - gap - sizes / 2
    label_places = _apart(middles, length / max(k, _MOST_LABELS), length)
    for j, rows in enumerate(members):
        kept = rows[stride // 2 :: stride] if len(rows) > stride else rows[:1]
        bands.append(
            drawn.Band(
                j,
                style.name_of(j, cluster_labels),
                values[kept],
                kept,
                begin + np.linspace(0, len(rows), len(kept) + 1),
                float(values[rows].mean()) if len(rows) else math.nan,
                len(rows),
                float(label_places[j]),
            )
        )
        begin += len(rows) + gap
    mean = float(values.mean())
    note = f"{drawn.text_of_count(n)}; dashed: their mean, {mean:.3f}"
    n_drawn = sum(len(band.rows) for band in bands)
    if n_drawn < n:
        note = f"{n_drawn:,} of {n:,} rows, evenly from each cluster's order; dashed: mean of all, "
        note += f"{mean:.3f}"
    margin = 0.03
    return drawer.bands(
        drawn.Bands(
            bands,
            mean,
            (min(0.0, float(values.min())) - margin, max(0.0, float(values.max())) + margin),
            length,
            math.ceil(k / _MOST_LABELS),
            cluster_labels is not None,
            title or "Silhouettes of the clusters",
            note,
        ),
        ax,
    )


def _check_silhouettes(silhouettes: npt.ArrayLike) -> drawn.FloatArray:
    values = np.asarray(silhouettes, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(
            "silhouettes must have shape (n,), one value per row, as silhouette_samples returns; "
            f"got shape {values.shape}."
        )
    n_bad = int(np.count_nonzero(~(np.abs(values) <= 1)))
    if n_bad:
        raise ValueError(
            f"silhouettes must lie between -1 and 1; {n_bad} of {len(values)} are NaN or outside: "
            "drop those rows from silhouettes and from labels."
        )
    return values


def _apart(places: drawn.FloatArray, distance: float, length: float) -> drawn.FloatArray:
    """Move ascending places as little as need be so that each is at a distance from the next."""
    moved = places.copy()
    for j in range(1, len(moved)):
        moved[j] = max(moved[j], moved[j - 1] + distance)
    # The last may have been pushed off the end: push back from there.
    moved[-1] = min(moved[-1], length - distance / 2)
    for j in range(len(moved) - 2, -1, -1):
        moved[j] = min(moved[j], moved[j + 1] - distance)
    return moved
