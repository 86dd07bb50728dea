"""The plane seen from above."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly import graph_objects as go

from .. import _drawn as drawn
from .. import _style as style
from . import _look as look

_SIDE = 640.0  # pixels of the plane's width


def regions(what: drawn.Regions, ax: None = None) -> go.Figure:
    """Draw the regions of a plane, its rows as dots and its centroids as boxes."""
    left, right, bottom, top = what.extent
    figure = go.Figure([*_regions(what), _rows(what)])
    if what.centroids is not None:
        for j, (x, y) in enumerate(what.centroids.tolist()):
            _mark_centroid(figure, j, x, y, what)
    one_scale: dict[str, Any] = {"scaleanchor": "x"} if what.has_one_scale else {}
    frame: dict[str, Any] = {"showline": True, "mirror": True, "showticklabels": False}
    x_name, y_name = what.axis_names
    figure.update_xaxes(look.quiet_axis(x_name, range=(left, right), constrain="domain", **frame))
    figure.update_yaxes(
        look.quiet_axis(y_name, range=(bottom, top), constrain="domain", **frame, **one_scale)
    )
    ratio = float(np.clip((top - bottom) / (right - left), 0.5, 1.0))
    size = _SIDE + 60 + 24, _SIDE * ratio + 50
    return look.head(figure, what.title, what.note, size, left=60, bottom=50)


def _regions(what: drawn.Regions) -> list[Any]:
    k = len(what.names)
    colors = [style.mix(color, style.REGION_TINT) for color in style.cluster_colors(k)]
    # Steps in place of a gradient: each colour begins where the one before ends.
    steps = [((j + end) / k, color) for j, color in enumerate(colors) for end in (0, 1)]
    regions = go.Heatmap(
        z=what.grid.astype(np.min_scalar_type(k)),  # a byte a cell, in the usual case
        zmin=-0.5,
        zmax=k - 0.5,
        colorscale=steps,
        hovertemplate="region of cluster %{z}<extra></extra>",
        **_cells(what),
    )
    borders = go.Heatmap(
        z=_border(what.grid).astype(np.uint8),
        zmin=0,
        zmax=1,
        colorscale=[(0, "rgba(255,255,255,0)"), (1, "rgba(255,255,255,1)")],
        hoverinfo="skip",
        **_cells(what),
    )
    return [regions, borders]


def _cells(what: drawn.Regions) -> dict[str, Any]:
    left, right, bottom, top = what.extent
    n_rows, n_columns = what.grid.shape
    width, height = (right - left) / n_columns, (top - bottom) / n_rows
    return {
        "x0": left + width / 2, "dx": width, "y0": bottom + height / 2, "dy": height,
        "showscale": False, "zsmooth": False,
    }  # fmt: skip


def _border(grid: drawn.IntArray) -> Any:
    """Return where a cell's right or upper neighbour is of another cluster."""
    border = np.zeros(grid.shape, dtype=bool)
    border[:, :-1] |= grid[:, :-1] != grid[:, 1:]
    border[:-1] |= grid[:-1] != grid[1:]
    return border


def _rows(what: drawn.Regions) -> Any:
    colors = [style.cluster_color(j) for j in what.labels.tolist()]
    size = float(np.sqrt(np.clip(30_000 / len(what.points), 9, 60)))
    return go.Scattergl(
        x=what.points[:, 0],
        y=what.points[:, 1],
        mode="markers",
        marker={
            "color": colors,
            "size": size,
            "line": {"color": [style.mix(c, style.EDGE_TINT) for c in colors], "width": 0.6},
        },
        text=[
            f"row {i:,}<br>{look.cluster_text(j, what.names[j])}"
            for i, j in zip(what.rows.tolist(), what.labels.tolist(), strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _mark_centroid(figure: go.Figure, j: int, x: float, y: float, what: drawn.Regions) -> None:
    many = what.centroids is not None and len(what.centroids) > 20
    figure.add_annotation(
        text=f"<b>{look.plain(what.names[j] or str(j))}</b>", x=x, y=y, showarrow=False,
        bgcolor="white", bordercolor=style.INK, borderwidth=1, borderpad=1 if many else 3,
        font=look.font(style.TINY_SIZE if many else style.LABEL_SIZE),
        hovertext=f"centroid of {look.cluster_text(j, what.names[j])}",
    )  # fmt: skip
