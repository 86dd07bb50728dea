"""Rows that are images: the centroids, and samples of each cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from ..evaluation import cluster_sizes
from ..evaluation._checks import check_labels, check_same_length
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STRIPS_PER_COLUMN = 22  # clusters below each other before a second column of strips begins


def plot_centroids(
    estimator: Any,
    image_shape: tuple[int, ...] | None = None,
    *,
    cluster_labels: Mapping[int, Any] | None = None,
    to_pixels: Callable[[npt.NDArray[Any]], npt.ArrayLike] | None = None,
    n_columns: int | None = None,
    cmap: str = "gray_r",
    title: str | None = None,
) -> Figure:
    """Draw every centroid as an image, framed in its cluster's colour.

    Parameters
    ----------
    estimator : fitted estimator
        Any with ``cluster_centers_`` of shape (k, d).
    image_shape : (height, width) or (height, width, 3), optional
        Shape of one row as an image, grey or RGB. Default: square and grey.
    cluster_labels : mapping of int to class, optional
        From `fastkm.evaluation.infer_cluster_labels`: titles each image with its inferred class.
    to_pixels : callable, optional
        Takes rows to pixels before they are drawn, such as a scaler's ``inverse_transform``.
    n_columns : int, optional
        Images beside each other. Default: such that the grid is wider than high and, if it can be,
        full.
    cmap : str, default="gray_r"
        matplotlib's colour map for grey images; all images share one scale.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per cluster.

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no ``cluster_centers_``.
    ValueError
        If `image_shape` does not hold d pixels.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_digits
    >>> from fastkm.evaluation import infer_cluster_labels
    >>> from fastkm.plotting import plot_centroids
    >>> X, y = load_digits(return_X_y=True)
    >>> kmeans = KMeans(10, n_init=1, random_state=0).fit(X)
    >>> names = infer_cluster_labels(kmeans.labels_, y)
    >>> figure = plot_centroids(kmeans, (8, 8), cluster_labels=names)
    >>> len(figure.axes)
    10
    """
    plt = style.pyplot()
    check_is_fitted(estimator)
    if not hasattr(estimator, "cluster_centers_"):
        raise TypeError(
            f"estimator must have cluster_centers_ to draw; {type(estimator).__name__} has none."
        )
    images = _images(np.asarray(estimator.cluster_centers_), image_shape, to_pixels)
    k = len(images)
    n_columns = n_columns or _n_columns(k)
    n_rows = math.ceil(k / n_columns)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(max(n_columns * 1.05 + 0.3, 4.5), n_rows * 1.42 + 0.6),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.05)
    for ax in axes.flat[k:]:
        ax.remove()
    title_size = _title_size(cluster_labels)
    for j, ax in enumerate(axes.flat[:k]):
        ax.imshow(images[j], cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
        _frame(ax, style.cluster_color(j))
        if cluster_labels is None:
            ax.set_title(f"cluster {j}", fontsize=9, color=style.INK, pad=4)
            continue
        name = style.name_of(j, cluster_labels)
        ax.set_title(
            name or "no rows", fontsize=title_size, fontweight="bold", color=style.INK, pad=4
        )
        ax.set_xlabel(f"cluster {j}", fontsize=8, color=style.MUTED, labelpad=4)
    if title is None:
        title = f"The {k} centroids" if k > 1 else "The centroid"
    note = "" if cluster_labels is None else "above each: the class most of its rows have"
    style.head_figure(figure, title, note)
    return cast("Figure", figure)


def plot_cluster_samples(
    X: Any,
    labels: npt.ArrayLike,
    image_shape: tuple[int, ...] | None = None,
    *,
    n_samples: int = 12,
    n_clusters: int | None = None,
    cluster_labels: Mapping[int, Any] | None = None,
    to_pixels: Callable[[npt.NDArray[Any]], npt.ArrayLike] | None = None,
    cmap: str = "gray_r",
    random_state: Any = 0,
    title: str | None = None,
) -> Figure:
    """Draw some rows of every cluster as images, one strip per cluster.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n, d)
        The rows, images laid out flat.
    labels : array-like of shape (n,), integers >= 0
        Cluster of each row.
    image_shape : (height, width) or (height, width, 3), optional
        Shape of one row as an image, grey or RGB. Default: square and grey.
    n_samples : int, default=12
        Rows drawn per cluster, at random without replacement; all of a smaller cluster.
    n_clusters : int, optional
        Number of strips. Default: one more than the largest label.
    cluster_labels : mapping of int to class, optional
        From `fastkm.evaluation.infer_cluster_labels`: written beside each strip.
    to_pixels : callable, optional
        Takes rows to pixels before they are drawn, such as a scaler's ``inverse_transform``.
    cmap : str, default="gray_r"
        matplotlib's colour map for grey images; all images share one scale.
    random_state : int, RandomState instance or None, default=0
        Draws the rows.
    title : str, optional
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per cluster.

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    ValueError
        If the lengths differ, X holds NaN, or `image_shape` does not hold d pixels.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_digits
    >>> from fastkm.plotting import plot_cluster_samples
    >>> X, _ = load_digits(return_X_y=True)
    >>> kmeans = KMeans(10, n_init=1, random_state=0).fit(X)
    >>> figure = plot_cluster_samples(X, kmeans.labels_, (8, 8), n_samples=5)
    >>> len(figure.axes)
    10
    """
    plt = style.pyplot()
    X = check_array(X, accept_sparse="csr", dtype=None)
    clusters = check_labels(labels)
    check_same_length(X=range(X.shape[0]), labels=clusters)
    if n_samples < 1:
        raise ValueError(f"n_samples must be 1 or more; got {n_samples}.")
    sizes = cluster_sizes(clusters, n_clusters)
    k = len(sizes)
    picks = _pick_rows(clusters, k, n_samples, random_state)
    rows = X[np.concatenate(picks)]
    images = _images(rows.toarray() if issparse(rows) else rows, image_shape, to_pixels)
    strips = np.split(images, np.cumsum([len(pick) for pick in picks])[:-1])

    n_columns = math.ceil(k / _STRIPS_PER_COLUMN)
    n_rows = math.ceil(k / n_columns)
    strip_height = 0.42 if n_columns == 1 else 0.34
    aspect = images.shape[2] / images.shape[1]
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(
            n_columns * (n_samples * strip_height * aspect + 1.35) + 0.2,
            n_rows * (strip_height + 0.08) + 0.9,
        ),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.T.flat[k:]:
        ax.remove()
    for j, ax in enumerate(axes.T.flat[:k]):
        strip = _strip(strips[j], n_samples)
        ax.imshow(strip, cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
        _label_strip(ax, j, int(sizes[j]), cluster_labels)
    drawn = f"at most {n_samples} rows of each cluster, drawn at random of {len(clusters):,} rows"
    style.head_figure(figure, title or "Samples of each cluster", drawn)
    return cast("Figure", figure)


def _pick_rows(
    clusters: npt.NDArray[Any], k: int, n_samples: int, random_state: Any
) -> list[npt.NDArray[Any]]:
    rng = check_random_state(random_state)
    picks = []
    for j in range(k):
        rows = np.flatnonzero(clusters == j)
        picks.append(rng.choice(rows, min(n_samples, len(rows)), replace=False))
    return picks


def _images(
    rows: npt.NDArray[Any],
    image_shape: tuple[int, ...] | None,
    to_pixels: Callable[[npt.NDArray[Any]], npt.ArrayLike] | None,
) -> npt.NDArray[Any]:
    """Return rows as images of shape (m, height, width[, 3]) on one scale from 0 to 1."""
    pixels = np.asarray(rows if to_pixels is None else to_pixels(rows), dtype=np.float64)
    d = pixels.shape[1]
    if image_shape is None:
        side = math.isqrt(d)
        image_shape = (side, side)
        if side * side != d:
            raise ValueError(
                f"image_shape must be given as (height, width): {d} features make no square image."
            )
    is_image = len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] == 3)
    if not is_image or math.prod(image_shape) != d:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, 3) and hold as many pixels as "
            f"X has features; got {tuple(image_shape)} for {d} features."
        )
    low, high = pixels.min(), pixels.max()
    scaled: npt.NDArray[Any] = (pixels - low) / (high - low if high > low else 1.0)
    return scaled.reshape(-1, *image_shape)


def _strip(images: npt.NDArray[Any], n_places: int) -> npt.NDArray[Any]:
    """Lay images side by side with gaps; places without an image stay blank."""
    m, height, width = images.shape[:3]
    gap = max(1, width // 8)
    blank = 1.0 if images.ndim == 4 else np.nan  # NaN is drawn as nothing; RGB has no such value
    strip = np.full((height, n_places * (width + gap) - gap, *images.shape[3:]), blank)
    for place in range(m):
        start = place * (width + gap)
        strip[:, start : start + width] = images[place]
    return strip


def _label_strip(ax: Any, j: int, size: int, cluster_labels: Mapping[int, Any] | None) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
    ax.spines["left"].set_color(style.cluster_color(j))
    ax.spines["left"].set_linewidth(5)
    ax.spines["left"].set_position(("outward", 4))
    name = style.name_of(j, cluster_labels)
    heading = f"cluster {j}" if name is None else f"{name}"
    below = f"{size:,} rows" if size != 1 else "1 row"
    below = below if name is None else f"cluster {j}, {below}"
    for text, offset, options in (
        (heading, 1, {"va": "bottom", "fontsize": 9, "fontweight": "bold", "color": style.INK}),
        (below, -1, {"va": "top", "fontsize": 7.5, "color": style.MUTED}),
    ):
        ax.annotate(
            text, (0, 0.5), (-12, offset), xycoords="axes fraction",
            textcoords="offset points", ha="right", **options,
        )  # fmt: skip


def _frame(ax: Any, color: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(color)
        spine.set_linewidth(3)


def _title_size(cluster_labels: Mapping[int, Any] | None) -> float:
    """Return the size at which the longest class still fits above an image."""
    longest = max((len(str(name)) for name in (cluster_labels or {}).values()), default=1)
    return max(6.0, 11.0 * min(1.0, 8 / longest))


def _n_columns(k: int) -> int:
    """Return the columns of a grid of k images, between square and twice as wide as high."""
    side = math.ceil(math.sqrt(k))
    full = (n for n in range(side, 2 * side + 1) if k % n == 0)
    return next(full, math.ceil(math.sqrt(1.5 * k)))
