"""The plane seen from above: decision regions, rows and centroids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from ..evaluation._checks import IntArray, check_labels
from . import _style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PREDICT_VALUES = 4_000_000  # numbers of the lifted grid in memory at once
_MAX_RATIO = 2.5  # of the plane's sides; beyond, the axes get a scale each
_PCA_ROWS = 10_000  # rows that the plane is fitted to, where there are more


@dataclass(frozen=True)
class _Plane:
    """A plane in feature space, its rows shown, and what is predicted on a grid of it."""

    points: npt.NDArray[Any]  # (m, 2), the rows shown
    labels: IntArray  # (m,)
    centroids: npt.NDArray[Any] | None  # (k, 2)
    grid: IntArray  # (resolution, resolution), from low to high
    extent: tuple[float, float, float, float]
    axis_names: tuple[str, str]
    note: str


def plot_decision_regions(
    estimator: Any,
    X: Any,
    *,
    cluster_labels: Mapping[int, Any] | None = None,
    max_points: int = 2000,
    resolution: int = 500,
    random_state: Any = 0,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the regions of a plane that go to each cluster, with rows and centroids.

    Rows with two features are their own plane. With more, the plane is that of the first two
    principal components of X: the regions are those the estimator predicts for points *in* that
    plane, rows and centroids are projected onto it, and a row's colour is its true cluster, so it
    may lie over a neighbour's region.

    Parameters
    ----------
    estimator : fitted estimator
        Any with ``predict``; its ``cluster_centers_``, if it has them, are marked.
    X : array-like or sparse matrix of shape (n, d), d >= 2
        Rows of the kind the estimator was fitted to.
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

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed; names the pip command.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no ``predict``.
    ValueError
        If X has fewer than two features or not those the estimator was fitted to, or holds NaN.

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
    style.pyplot()
    check_is_fitted(estimator)
    if not hasattr(estimator, "predict"):
        raise TypeError(
            f"estimator must have predict to colour a plane; {type(estimator).__name__} has none."
        )
    plane = _plane(estimator, X, max_points, resolution, check_random_state(random_state))
    left, right, bottom, top = plane.extent
    ratio = (top - bottom) / (right - left)
    has_one_scale = 1 / _MAX_RATIO <= ratio <= _MAX_RATIO
    ax = style.one_panel(ax, (7.0, 1.2 + 6.0 * float(np.clip(ratio, 0.5, 1.0))))
    _draw_regions(ax, plane)
    _draw_rows(ax, plane)
    if plane.centroids is not None:
        _mark_centroids(ax, plane.centroids, cluster_labels)
    # On one scale a border stands at right angles to the line between its two centroids.
    ax.set_aspect("equal" if has_one_scale else "auto")
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_color(style.MUTED)
    ax.set_xlabel(plane.axis_names[0], fontsize=style.LABEL_SIZE, color=style.INK)
    ax.set_ylabel(plane.axis_names[1], fontsize=style.LABEL_SIZE, color=style.INK)
    note = plane.note
    if plane.centroids is not None:
        note += "; boxes: centroids, named by "
        note += "cluster" if cluster_labels is None else "the class most of their rows have"
    style.head_axes(ax, title or "Decision regions", note)
    return ax


def _plane(
    estimator: Any, X: Any, max_points: int, resolution: int, rng: np.random.RandomState
) -> _Plane:
    feature_names = [str(name) for name in getattr(X, "columns", ())]
    X = check_array(X, accept_sparse="csr", dtype=None)
    n, d = X.shape
    if d < 2:
        raise ValueError(f"X must have at least two features to span a plane; got {d}.")
    shown = _draw(rng, n, max_points)
    rows = _dense(X[shown])
    centroids = getattr(estimator, "cluster_centers_", None)
    if d == 2:
        project = lift = _unchanged
        names = feature_names or ["first feature", "second feature"]
    else:
        pca = PCA(2, svd_solver="full").fit(_dense(X[_draw(rng, n, _PCA_ROWS)]))
        project, lift = pca.transform, pca.inverse_transform
        shares = [f"{100 * share:.0f} % of variance" for share in pca.explained_variance_ratio_]
        names = [
            f"{nth} principal component ({share})"
            for nth, share in zip(("first", "second"), shares, strict=True)
        ]
    points = project(rows)
    centres = None if centroids is None else project(np.asarray(centroids))
    extent = _extent(points if centres is None else np.concatenate([points, centres]))
    steps = (np.arange(resolution) + 0.5) / resolution  # the middles of the image's pixels
    steps_x = extent[0] + steps * (extent[1] - extent[0])
    steps_y = extent[2] + steps * (extent[3] - extent[2])
    grid = np.stack(np.meshgrid(steps_x, steps_y), axis=-1).reshape(-1, 2)
    # scikit-learn's predict wants the dtype it was fitted in.
    dtype = rows.dtype if centroids is None else np.asarray(centroids).dtype
    block = max(1, _PREDICT_VALUES // d)
    predicted = [
        _predict(estimator, lift(grid[start : start + block]).astype(dtype))
        for start in range(0, len(grid), block)
    ]
    note = f"{len(rows):,} rows" if len(rows) == n else f"{len(rows):,} of {n:,} rows, at random"
    note += "" if d == 2 else f", projected from {d} dimensions; regions: predictions in that plane"
    return _Plane(
        points,
        _predict(estimator, rows.astype(dtype)),
        centres,
        np.concatenate(predicted).reshape(resolution, resolution),
        extent,
        (names[0], names[1]),
        note,
    )


def _draw_regions(ax: Axes, plane: _Plane) -> None:
    found = np.unique(plane.grid)
    tints = np.zeros((int(found.max()) + 1, 3))
    for j in found.tolist():
        tints[j] = np.divide(style.channels(style.mix(style.cluster_color(j), 0.55)), 255)
    ax.imshow(
        tints[plane.grid],
        extent=plane.extent,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    for j in found.tolist() if len(found) > 1 else []:
        ax.contour(
            plane.grid == j, levels=[0.5], colors="white", linewidths=1.2,
            extent=plane.extent, origin="lower",
        )  # fmt: skip


def _draw_rows(ax: Axes, plane: _Plane) -> None:
    colors = [style.cluster_color(j) for j in plane.labels.tolist()]
    edges = [style.mix(color, -0.4) for color in colors]  # keeps pale dots visible on pale ground
    size = float(np.clip(30_000 / len(plane.points), 7, 40))
    x, y = plane.points.T
    ax.scatter(x, y, s=size * _scale(ax) ** 2, c=colors, edgecolors=edges, linewidths=0.4, zorder=2)


def _mark_centroids(
    ax: Axes, centroids: npt.NDArray[Any], cluster_labels: Mapping[int, Any] | None
) -> None:
    many = len(centroids) > 20
    size = (7 if many else 10) * _scale(ax)
    for j, (x, y) in enumerate(centroids):
        ax.annotate(
            style.name_of(j, cluster_labels) or str(j), (x, y), ha="center", va="center", zorder=3,
            fontsize=size, fontweight="bold", color=style.INK,
            bbox={"boxstyle": "round,pad=0.22", "facecolor": "white", "edgecolor": style.INK,
                  "linewidth": 0.8 if many else 1.2},
        )  # fmt: skip


def _scale(ax: Axes) -> float:
    """Return by how much marks shrink where the axes are smaller than a figure of their own."""
    return float(np.clip(ax.get_window_extent().width / ax.figure.dpi / 5, 0.5, 1.0))


def _predict(estimator: Any, rows: npt.NDArray[Any]) -> IntArray:
    with warnings.catch_warnings():
        # The points of a plane have no names, whatever the estimator was fitted to.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return check_labels(estimator.predict(rows), "predict(X)")


def _draw(rng: np.random.RandomState, n: int, n_wanted: int) -> npt.NDArray[Any]:
    return np.arange(n) if n <= n_wanted else rng.choice(n, n_wanted, replace=False)


def _dense(rows: Any) -> npt.NDArray[Any]:
    dense: npt.NDArray[Any] = rows.toarray() if issparse(rows) else rows
    return dense if dense.dtype.kind == "f" else dense.astype(np.float64)


def _unchanged(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rows


def _extent(points: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 0.5)
    (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    return left, right, bottom, top
