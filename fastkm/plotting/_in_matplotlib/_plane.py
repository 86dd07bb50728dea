"""The plane seen from above."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look


def regions(what: drawn.Regions, ax: Axes | None) -> Axes:
    """Draw the regions of a plane, its rows as dots and its centroids as boxes."""
    left, right, bottom, top = what.extent
    ratio = (top - bottom) / (right - left)
    ax = look.one_panel(ax, (7.0, 1.2 + 6.0 * float(np.clip(ratio, 0.5, 1.0))))
    _draw_regions(ax, what)
    _draw_rows(ax, what)
    if what.centroids is not None:
        _mark_centroids(ax, what.centroids, what.names)
    # On one scale a border stands at right angles to the line between its two centroids.
    ax.set_aspect("equal" if what.has_one_scale else "auto")
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_color(style.MUTED)
    look.name_axes(ax, *what.axis_names)
    look.head_axes(ax, what.title, what.note)
    return ax


def _draw_regions(ax: Axes, what: drawn.Regions) -> None:
    found = np.unique(what.grid).tolist()
    tints = np.zeros((found[-1] + 1, 3))
    for j in found:
        color = style.mix(style.cluster_color(j), style.REGION_TINT)
        tints[j] = np.divide(style.channels(color), 255)
    ax.imshow(
        tints[what.grid],
        extent=what.extent,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    for j in found if len(found) > 1 else []:
        ax.contour(
            what.grid == j, levels=[0.5], colors="white", linewidths=1.2,
            extent=what.extent, origin="lower",
        )  # fmt: skip


def _draw_rows(ax: Axes, what: drawn.Regions) -> None:
    colors = [style.cluster_color(j) for j in what.labels.tolist()]
    edges = [style.mix(color, style.EDGE_TINT) for color in colors]
    size = float(np.clip(30_000 / len(what.points), 7, 40))
    x, y = what.points.T
    ax.scatter(x, y, s=size * _scale(ax) ** 2, c=colors, edgecolors=edges, linewidths=0.4, zorder=2)


def _mark_centroids(ax: Axes, centroids: drawn.FloatArray, names: list[str | None]) -> None:
    many = len(centroids) > 20
    size = (style.TINY_SIZE if many else style.LABEL_SIZE) * _scale(ax)
    for j, (x, y) in enumerate(centroids):
        ax.annotate(
            look.plain(names[j] or str(j)), (x, y), ha="center", va="center", zorder=3,
            fontsize=size, fontweight="bold", color=style.INK,
            bbox={"boxstyle": "round,pad=0.22", "facecolor": "white", "edgecolor": style.INK,
                  "linewidth": 0.8 if many else 1.2},
        )  # fmt: skip


def _scale(ax: Axes) -> float:
    """Return by how much marks shrink where the axes are smaller than a figure of their own."""
    return float(np.clip(ax.get_window_extent().width / ax.figure.dpi / 5, 0.5, 1.0))
