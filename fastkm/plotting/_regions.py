"""The plane seen from above: decision regions, rows and centroids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_array, check_random_state

from ..evaluation._checks import IntArray, check_labels
from . import _backends as backends
from . import _drawn as drawn
from . import _style as style
from ._checks import centroids_of, check_cluster_labels, check_whole
from ._planes import Plane, dense, draw_rows, plane_of

_PREDICT_VALUES = 4_000_000  # numbers of the lifted grid in memory at once
_MAX_RATIO = 2.5  # of the plane's sides; beyond, the axes get a scale each


def plot_decision_regions(
    estimator: Any,
    X: Any,
    *,
    plane: Any = None,
    cluster_labels: Mapping[int, Any] | None = None,
    max_points: int = 2000,
    resolution: int = 500,
    random_state: Any = 0,
    ax: Any = None,
    title: str | None = None,
    backend: backends.Backend = "matplotlib",
) -> Any:
    """Draw the regions of a plane that go to each cluster, with rows and centroids.

    Rows with two features are their own plane. With more, the plane is that of the first two
    principal components of X, or the one given: the regions are those the estimator predicts for
    points *in* that plane, rows and centroids are projected onto it, and a row's colour is its true
    cluster, so it may lie over a neighbour's region.

    Parameters
    ----------
    estimator : fitted estimator
        Any with ``predict``; its ``cluster_centers_`` or ``means_``, if it has them, are marked.
    X : array-like or sparse matrix of shape (n, d), d >= 2
        Rows of the kind the estimator was fitted to.
    plane : pair of features or fitted transformer, optional
        What spans the plane in place of X's own principal components. Two column numbers, or names
        where X is a data frame: the other features are at their mean. Or a transformer with
        ``transform`` to two columns and ``inverse_transform``, such as a PCA of other rows.
    cluster_labels : mapping of int to class, optional
        From `fastkm.evaluation.infer_cluster_labels`: written on the centroids in place of the
        clusters' numbers.
    max_points : int, default=2000
        Rows shown, drawn at random without replacement and stated in the drawing.
    resolution : int, default=500
        Points predicted along each side of the plane.
    random_state : int, RandomState instance or None, default=0
        Draws the rows shown, and the 10,000 that the principal components are fitted to where X
        has more.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    title : str, optional
        Title of the panel.
    backend : {"matplotlib", "plotly"}, default="matplotlib"
        What draws; Plotly shows each row's number, cluster and label under the pointer.

    Returns
    -------
    matplotlib.axes.Axes or plotly.graph_objects.Figure

    Raises
    ------
    ImportError
        If the backend is not installed; names the pip command.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no ``predict``, or `plane` is neither a pair nor a transformer.
    ValueError
        If X has fewer than two features or not those the estimator was fitted to, or holds NaN; if
        `plane` names no two features of X; or if `backend` is unknown.

    Notes
    -----
    Predicts resolution**2 points, a few MB of them at a time.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import load_iris
    >>> from fastkm.plotting import plot_decision_regions
    >>> X, _ = load_iris(return_X_y=True)
    >>> kmeans = KMeans(3, n_init=1, random_state=0).fit(X)
    >>> ax = plot_decision_regions(kmeans, X, resolution=50)
    >>> ax.get_xlabel()
    'first principal component (92 % of variance)'
    """
    drawer = backends.pick(backend, ax)
    check_cluster_labels(cluster_labels)
    max_points = check_whole(max_points, "max_points", 1)
    resolution = check_whole(resolution, "resolution", 2)
    centroids = centroids_of(estimator)
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"estimator must have predict to colour a plane; {type(estimator).__name__} has none."
        )
    feature_names = [str(name) for name in getattr(X, "columns", ())]
    X = check_array(X, accept_sparse="csr", dtype=None)
    if X.shape[1] < 2:
        raise ValueError(f"X must have at least two features to span a plane; got {X.shape[1]}.")
    rng = check_random_state(random_state)
    shown = draw_rows(rng, X.shape[0], max_points)
    flat = plane_of(plane, X, feature_names, rng)

    rows = dense(X[shown])
    # scikit-learn's predict wants the dtype it was fitted in.
    dtype = rows.dtype if centroids is None else centroids.dtype
    labels = _predict(estimator, rows.astype(dtype))
    points = flat.project(rows)
    centres = None if centroids is None else flat.project(centroids)
    extent = _extent(points if centres is None else np.concatenate([points, centres]))
    grid = _predict_grid(estimator, flat, extent, resolution, X.shape[1], dtype)
    n_named = 0 if centres is None else len(centres)
    n_seen = max(n_named, int(grid.max()) + 1, int(labels.max()) + 1)
    left, right, bottom, top = extent
    return drawer.regions(
        drawn.Regions(
            points,
            shown,
            labels,
            centres,
            style.names_of(n_seen, cluster_labels),
            grid,
            extent,
            flat.axis_names,
            1 / _MAX_RATIO <= (top - bottom) / (right - left) <= _MAX_RATIO,
            title or "Decision regions",
            _note(X.shape[0], len(rows), flat, centres is not None, cluster_labels is not None),
        ),
        ax,
    )


def _note(n: int, n_shown: int, flat: Plane, has_centroids: bool, is_named: bool) -> str:
    note = f"{n:,} rows" if n_shown == n else f"{n_shown:,} of {n:,} rows, at random"
    note += flat.note
    if has_centroids:
        note += "; boxes: centroids, named by "
        note += "the class most of their rows have" if is_named else "cluster"
    return note


def _predict_grid(
    estimator: Any,
    flat: Plane,
    extent: tuple[float, float, float, float],
    resolution: int,
    d: int,
    dtype: Any,
) -> IntArray:
    """Return the cluster of each point of a grid, shape (resolution, resolution)."""
    left, right, bottom, top = extent
    steps = (np.arange(resolution) + 0.5) / resolution  # the middles of the image's pixels
    across, up = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
    grid = np.stack([across, up], axis=-1).reshape(-1, 2)
    block = max(1, _PREDICT_VALUES // d)
    predicted = [
        _predict(estimator, flat.lift(grid[start : start + block]).astype(dtype))
        for start in range(0, len(grid), block)
    ]
    return np.concatenate(predicted).reshape(resolution, resolution)


def _predict(estimator: Any, rows: npt.NDArray[Any]) -> IntArray:
    with warnings.catch_warnings():
        # The points of a plane have no names, whatever the estimator was fitted to.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return check_labels(estimator.predict(rows), "predict(X)")


def _extent(points: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 0.5)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return left, right, bottom, top
