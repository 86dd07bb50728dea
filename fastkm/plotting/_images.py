"""Rows that are images: the centroids, and samples of each cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils import check_array, check_random_state

from ..evaluation import cluster_sizes
from ..evaluation._checks import check_labels, check_same_length, refuse_estimator
from . import _backends as backends
from . import _drawn as drawn
from . import _style as style
from ._checks import centroids_of, check_cluster_labels, check_whole

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
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw every centroid as an image, framed in its cluster's colour.

    Parameters
    ----------
    estimator : fitted estimator
        Any with ``cluster_centers_`` of shape (k, d), or a mixture's ``means_``.
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
        Colour map for grey images, by a name that the backend knows; all images share one scale.
    title : str, optional
        Title of the figure.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        One panel per cluster; with Plotly one for all, where the pointer shows cluster and row.

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no ``cluster_centers_``.
    ValueError
        If `image_shape` does not hold d pixels, a pixel is NaN or infinite, or `backend` is
        unknown.

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
    drawer = backends.pick(backend)
    check_cluster_labels(cluster_labels)
    centroids = centroids_of(estimator)
    if centroids is None:
        raise TypeError(
            f"estimator must have cluster_centers_ to draw; {type(estimator).__name__} has none."
        )
    images = _images(centroids, image_shape, to_pixels)
    k = len(images)
    return drawer.images(
        drawn.Images(
            images,
            style.names_of(k, cluster_labels),
            cluster_labels is not None,
            _n_columns(k) if n_columns is None else check_whole(n_columns, "n_columns", 1),
            cmap,
            title or (f"The {k} centroids" if k > 1 else "The centroid"),
            "" if cluster_labels is None else "above each: the class most of its rows have",
        )
    )


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
    backend: backends.Backend = "matplotlib",
) -> Any:
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
        Colour map for grey images, by a name that the backend knows; all images share one scale.
    random_state : int, RandomState instance or None, default=0
        Draws the rows.
    title : str, optional
        Title of the figure.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws.

    Returns
    -------
    matplotlib.figure.Figure or plotly.graph_objects.Figure
        One panel per cluster; with Plotly one for all, where the pointer shows cluster and row.

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    ValueError
        If the lengths differ, X holds NaN, `image_shape` does not hold d pixels, or `backend` is
        unknown.
    TypeError
        If X is an estimator.

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
    drawer = backends.pick(backend)
    check_cluster_labels(cluster_labels)
    n_samples = check_whole(n_samples, "n_samples", 1)
    refuse_estimator(X, "X must be rows", "give the rows first, then its labels_")
    X = check_array(X, accept_sparse="csr", dtype=None)
    clusters = check_labels(labels)
    check_same_length(X=range(X.shape[0]), labels=clusters)
    sizes = cluster_sizes(clusters, n_clusters)
    k = len(sizes)
    picks = _pick_rows(clusters, k, n_samples, random_state)
    rows = X[np.concatenate(picks)]
    images = _images(rows.toarray() if issparse(rows) else rows, image_shape, to_pixels)
    every = f"all rows of each cluster, {len(clusters):,} in all"
    some = f"at most {n_samples} rows of each cluster, drawn at random of {len(clusters):,} rows"
    return drawer.strips(
        drawn.Strips(
            np.split(images, np.cumsum([len(pick) for pick in picks])[:-1]),
            picks,
            sizes.tolist(),
            style.names_of(k, cluster_labels),
            n_samples,
            math.ceil(k / _STRIPS_PER_COLUMN),
            cmap,
            title or "Samples of each cluster",
            some if sizes.max() > n_samples else every,
        )
    )


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
    if pixels.ndim != 2 or len(pixels) != len(rows):
        raise ValueError(
            f"to_pixels must return one row of pixels for each of {len(rows)} rows; got shape "
            f"{pixels.shape}."
        )
    if not np.isfinite(pixels).all():
        raise ValueError("pixels must be finite to draw them; some are NaN or infinite.")
    d = pixels.shape[1]
    if image_shape is None:
        side = math.isqrt(d)
        image_shape = (side, side)
        if side * side != d:
            raise ValueError(
                f"image_shape must be given as (height, width): {d} features make no square image."
            )
    if not _is_shape_of(image_shape, d):
        raise ValueError(
            "image_shape must be (height, width) or (height, width, 3) and hold as many pixels as "
            f"X has features; got {image_shape} for {d} features."
        )
    low, high = pixels.min(), pixels.max()
    scaled: npt.NDArray[Any] = (pixels - low) / (high - low if high > low else 1.0)
    return scaled.reshape(-1, *image_shape)


def _is_shape_of(image_shape: Any, d: int) -> bool:
    if not isinstance(image_shape, Sequence | np.ndarray):
        return False
    sides = list(image_shape)
    if not all(isinstance(side, int | np.integer) and side >= 1 for side in sides):
        return False
    is_image = len(sides) == 2 or (len(sides) == 3 and sides[2] == 3)
    return is_image and math.prod(sides) == d


def _n_columns(k: int) -> int:
    """Return the columns of a grid of k images, between square and twice as wide as high."""
    side = math.ceil(math.sqrt(k))
    full = (n for n in range(side, 2 * side + 1) if k % n == 0)
    return next(full, math.ceil(math.sqrt(1.5 * k)))
